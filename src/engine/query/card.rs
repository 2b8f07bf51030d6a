//! Everything about one thing, as a screen shows it beside a table: plain text in sections. What is asked for is a subject, not a row, so that
//! a card of a prefix tells what BGP says and what the kernel has; how it reads is `output::cards`' matter.

use serde::{Deserialize, Serialize};

use super::Mood;
use crate::engine::snapshot::case::Place;
use crate::event::Timestamp;

/// A card.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Card {
    /// `type:value`.
    pub subject: String,
    pub sections: Vec<Section>,
    /// The exchange of messages that it is part of, and the moment in it that matters.
    pub exchange: Option<(String, Timestamp)>,
    /// Its last frames.
    pub places: Vec<Place>,
}

/// Lines under a title.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Section {
    pub title: String,
    pub lines: Vec<CardLine>,
}

/// A name and what is to be said; without a name the text has the whole width.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct CardLine {
    pub name: String,
    pub text: String,
    pub mood: Mood,
}

impl Section {
    /// Empty.
    pub fn new(title: impl Into<String>) -> Section {
        Section {
            title: title.into(),
            lines: Vec::new(),
        }
    }

    /// One more line; one without text is left out.
    pub fn put(&mut self, name: &str, text: impl Into<String>, mood: Mood) {
        let text = text.into();
        if !text.is_empty() {
            self.lines.push(CardLine {
                name: name.to_owned(),
                text,
                mood,
            });
        }
    }

    /// One more plain line.
    pub fn say(&mut self, name: &str, text: impl Into<String>) {
        self.put(name, text, Mood::Plain);
    }
}
