//! Cards: everything about one subject in words, from all rooms: of a prefix what BGP says and what the kernel has, of a session its timers and
//! what its ends offered, of a client who it is and what it holds. Reads the model and changes nothing.

mod lan;
mod prefix;
mod session;
pub mod ways;

use std::net::IpAddr;

use crate::engine::Engine;
use crate::engine::query::Mood;
use crate::engine::query::card::{Card, CardLine, Section};
use crate::engine::snapshot::case::Place;
use crate::event::{Prefix, Timestamp};
use crate::output::bars::bars;
use crate::output::log::LogPage;
use crate::output::report::clock;

/// Events of its history on a card.
pub const HISTORY: u16 = 40;
/// Frames that a card leads to: its latest.
const FRAMES: usize = 8;
/// Columns of a sparkline on a card.
const SPARK: usize = 24;

/// The card of a subject, without its history: the log knows that.
pub fn card(subject: &str, rooms: &[(Option<&str>, &Engine)]) -> Card {
    let mut card = Card {
        subject: subject.to_owned(),
        ..Card::default()
    };
    let (kind, value) = subject.split_once(':').unwrap_or(("", subject));
    for (label, engine) in rooms {
        let before = card.sections.len();
        match kind {
            "prefix" => {
                if let Ok(prefix) = value.parse::<Prefix>() {
                    prefix::put(engine, prefix, &mut card);
                }
            }
            "peer" => {
                if let Ok(peer) = value.split('%').next().unwrap_or(value).parse::<IpAddr>() {
                    session::put(engine, peer, &mut card);
                }
            }
            "client" => lan::client(engine, value, &mut card),
            "server" => lan::server(engine, value, &mut card),
            "router" => lan::router(engine, value, &mut card),
            "neighbor" | "address" => lan::neighbor(engine, value, &mut card),
            "link" => lan::link(engine, value, &mut card),
            _ => {}
        }
        // Where several namespaces know it, each section says whose it is.
        if let Some(label) = label.filter(|_| rooms.len() > 1) {
            for section in card.sections.iter_mut().skip(before) {
                section.title = format!("{} [{label}]", section.title);
            }
        }
    }
    card
}

/// What happened to it, as far as the log reaches.
pub fn history(card: &mut Card, page: &LogPage) {
    let mut section = Section::new(match page.matched {
        0 => "HISTORY".to_owned(),
        n if n > page.entries.len() as u64 => {
            format!("HISTORY  the last {} of {n} events", page.entries.len())
        }
        n => format!("HISTORY  {n} events"),
    });
    if let (Some(first), Some(last)) = (page.entries.first(), page.entries.last())
        && page.entries.len() > 2
    {
        let span = last.at.minus(first.at).max(1);
        let mut counts = vec![0_u32; SPARK];
        for entry in &page.entries {
            let at = i128::from(entry.at.minus(first.at)) * (SPARK as i128 - 1) / i128::from(span);
            if let Some(count) = usize::try_from(at).ok().and_then(|at| counts.get_mut(at)) {
                *count += 1;
            }
        }
        let text = format!("{} {}–{}", bars(&counts), clock(first.at), clock(last.at));
        section.say("", text);
    }
    for entry in page.entries.iter().rev() {
        section.lines.push(CardLine {
            name: clock(entry.at),
            text: entry.text.clone(),
            mood: match entry.plane.as_str() {
                "gap" => Mood::Warning,
                _ => Mood::Plain,
            },
        });
    }
    if page.entries.is_empty() {
        let reach = page.reach.map(|at| format!(" since {}", clock(at)));
        section.put(
            "",
            format!("no event named it{}", reach.unwrap_or_default()),
            Mood::Faded,
        );
    }
    let latest = page.entries.iter().rev().take(FRAMES);
    let mut places: Vec<Place> = latest.map(|entry| entry.place).collect();
    places.reverse();
    card.places = places;
    if card.exchange.is_none() {
        let mut latest = page.entries.iter().rev();
        card.exchange = latest.find_map(|entry| Some((entry.exchange.clone()?, entry.at)));
    }
    card.sections.push(section);
}

/// A time, or what is older than all that was seen.
fn when(at: Timestamp) -> String {
    if at > Timestamp(0) {
        clock(at)
    } else {
        "before we looked".to_owned()
    }
}

/// Texts with commas.
fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    all.join(", ")
}
