//! A live run's screen: pictures at most ten times a second and only when something happened, questions answered between batches.

use super::recent::Recent;
use crate::commands::evidence::{self, Bundle, Finder};
use crate::commands::screen::Screen;
use crate::engine::rooms::Rooms;
use crate::event::Timestamp;
use crate::tui::link::{Reply, Request};

/// Ten pictures a second: more the eye does not read.
const PICTURE: i64 = 100_000_000;
/// Without news: ages go on by the second.
const QUIET: i64 = 1_000_000_000;
/// Incidents and totals are looked at anew this often at most, unless one was told.
const THOROUGH: i64 = 500_000_000;
/// Sentences of the collectors that are kept.
const NOTES: usize = 50;

/// The screen, and when it was last served.
pub struct LiveScreen {
    pub screen: Screen,
    watched: Vec<String>,
    notes: Vec<String>,
    host: Option<String>,
    pictured: Timestamp,
    thorough: Timestamp,
    events: u64,
    /// An incident was told: it is shown at once.
    told: bool,
    /// The last minutes, as they came.
    pub recent: Recent,
}

impl LiveScreen {
    /// A screen of this host.
    pub fn new(screen: Screen, host: Option<String>) -> LiveScreen {
        LiveScreen {
            screen,
            watched: Vec::new(),
            notes: Vec::new(),
            host,
            pictured: Timestamp::MIN,
            thorough: Timestamp::MIN,
            events: 0,
            told: false,
            recent: Recent::default(),
        }
    }

    /// What is watched.
    pub fn begin(&mut self, watched: &[String]) {
        self.watched = watched.to_vec();
    }

    /// A sentence from a collector.
    pub fn note(&mut self, text: &str) {
        let text = crate::event::text::sanitized(text);
        self.screen.publisher.reply(Reply::Said(text.clone()));
        if self.notes.len() >= NOTES {
            self.notes.remove(0);
        }
        self.notes.push(text);
    }

    /// Something was told about incidents.
    pub fn told(&mut self) {
        self.told = true;
    }

    /// Serves the screen at wall clock time `now`.
    pub fn turn(&mut self, rooms: &Rooms, now: Timestamp) {
        self.screen.log.turn();
        let engines = rooms.engines();
        if self.screen.is_busy() {
            self.screen.slice(&engines);
        }
        let events = engines.iter().map(|(_, e)| e.counts().events).sum();
        let since = now.minus(self.pictured);
        let news = events != self.events || self.told;
        if since < PICTURE || (!news && since < QUIET) {
            return;
        }
        let thorough =
            self.told || (news && now.minus(self.thorough) >= THOROUGH) || since >= QUIET;
        if thorough {
            self.thorough = now;
        }
        let mut snapshot = self.screen.shoot(&engines, thorough);
        snapshot.host.clone_from(&self.host);
        snapshot.watched.clone_from(&self.watched);
        snapshot.notes.clone_from(&self.notes);
        self.screen.publisher.publish(snapshot);
        (self.pictured, self.events, self.told) = (now, events, false);
    }

    /// Answers a question.
    pub fn ask(&mut self, request: Request, rooms: &Rooms) {
        match self.screen.answer(request, &rooms.engines()) {
            None => {}
            Some(Request::Control(_)) => {
                let text = "this is live: only a replay can be wound".to_owned();
                self.screen.publisher.reply(Reply::Said(text));
            }
            Some(Request::Bytes { id, places }) => {
                let mut finder = Finder::new(places);
                let _ = self.recent.items().any(|item| finder.item(&item));
                let found = finder.finish();
                self.screen.publisher.reply(Reply::Bytes { id, found });
            }
            Some(Request::Exchange {
                id,
                exchange,
                around,
            }) => {
                let entries = self.screen.log.iter();
                let of_it = entries.filter(|e| e.exchange.as_ref() == Some(&exchange));
                let mut rungs: Vec<_> = of_it.cloned().collect();
                evidence::nearest(&mut rungs, around);
                self.screen.publisher.reply(Reply::Exchange { id, rungs });
            }
            Some(Request::Bundle { id }) => {
                let said = self.bundle(&id, rooms);
                self.screen.publisher.reply(Reply::Said(said));
            }
            Some(
                Request::Page { .. }
                | Request::Card { .. }
                | Request::Log { .. }
                | Request::Alert { .. },
            ) => {}
        }
    }

    fn bundle(&self, id: &str, rooms: &Rooms) -> String {
        let Some((room, incident)) = evidence::incident(&rooms.engines(), id) else {
            return format!("{id} is not known any more");
        };
        let place = std::path::Path::new(".");
        match Bundle::begin(place, &incident, room.as_deref(), self.host.as_deref()) {
            Ok(mut bundle) => {
                self.recent.items().for_each(|item| bundle.item(&item));
                bundle.finish()
            }
            Err(error) => format!("cannot write the bundle here: {error}"),
        }
    }
}
