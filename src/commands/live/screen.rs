//! A live run's screen: pictures at most ten times a second and only when something happened, questions answered between batches.

use std::sync::Arc;

use super::recent::Recent;
use crate::commands::evidence::{self, Bundle, Finder};
use crate::commands::screen::Screen;
use crate::decode::Decoder;
use crate::engine::Engine;
use crate::engine::rooms::Rooms;
use crate::event::{Event, Timestamp};
use crate::input::live::LiveItem;
use crate::tui::link::{Publisher, Reply, Request, link};

/// Ten pictures a second: more the eye does not read.
const PICTURE: i64 = 100_000_000;
/// Without news: ages go on by the second.
const QUIET: i64 = 1_000_000_000;
/// Incidents and totals are looked at anew this often at most, unless one was told.
const THOROUGH: i64 = 500_000_000;
/// Sentences of the collectors that are kept.
const NOTES: usize = 50;
/// Screens elsewhere at once: each costs a picture written out ten times a second.
const VIEWERS: usize = 4;

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
    recent: Recent,
    /// It has this program's terminal; else all who look are elsewhere.
    pub here: bool,
    /// Screens elsewhere, attached over the control socket.
    viewers: Vec<Publisher>,
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
            here: true,
            viewers: Vec::new(),
        }
    }

    /// For screens elsewhere only. Until the first of them comes it keeps less: whoever comes after an incident finds its frames and
    /// lines all the same, and a service that nobody looks at pays little for screens.
    pub fn elsewhere(host: Option<String>) -> LiveScreen {
        let (publisher, requests, _) = link();
        let mut screen = LiveScreen {
            here: false,
            ..LiveScreen::new(Screen::new(publisher, requests), host)
        };
        screen.sleep(true);
        screen
    }

    /// Lets a screen elsewhere look on, or says why not.
    pub fn enter(&mut self, viewer: Publisher) -> Result<(), String> {
        self.viewers.retain(|viewer| !viewer.is_left());
        if self.viewers.len() >= VIEWERS {
            return Err(format!("{VIEWERS} screens are attached already"));
        }
        self.viewers.push(viewer);
        self.sleep(false);
        // It is shown something at once.
        self.pictured = Timestamp::MIN;
        self.told = true;
        Ok(())
    }

    fn sleep(&mut self, asleep: bool) {
        self.screen.log.asleep = asleep;
        self.recent.asleep = asleep;
    }

    /// An event that was judged, for the log.
    pub fn keep(&mut self, event: &Event, engine: &Engine) {
        self.screen.log.keep(event, engine);
    }

    /// An item that was judged, for its bytes.
    pub fn push(&mut self, item: LiveItem, decoder: &Decoder) {
        self.recent.push(item, decoder);
    }

    /// Nothing more will come.
    pub fn end(&self) {
        self.everybody().for_each(Publisher::end);
    }

    fn everybody(&self) -> impl Iterator<Item = &Publisher> {
        let here = self.here.then_some(&self.screen.publisher);
        here.into_iter().chain(&self.viewers)
    }

    /// What is watched.
    pub fn begin(&mut self, watched: &[String]) {
        self.watched = watched.to_vec();
    }

    /// A sentence from a collector.
    pub fn note(&mut self, text: &str) {
        let text = crate::event::text::sanitized(text);
        self.everybody()
            .for_each(|screen| screen.reply(Reply::Said(text.clone())));
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
        let events = engines.iter().map(|(_, e)| e.counts().events).sum();
        self.viewers.retain(|viewer| !viewer.is_left());
        if self.everybody().next().is_none() {
            self.sleep(true);
            return;
        }
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
        let snapshot = Arc::new(snapshot);
        self.everybody()
            .for_each(|screen| screen.share(snapshot.clone()));
        (self.pictured, self.events, self.told) = (now, events, false);
    }

    /// Answers a question of a screen elsewhere.
    pub fn ask_from(&mut self, viewer: Publisher, request: Request, rooms: &Rooms) {
        if let Request::Bundle { id } = &request {
            // Written here it would be with our rights; so the screen writes it, with those of who looks.
            return viewer.reply(self.parcel(id, rooms));
        }
        let here = std::mem::replace(&mut self.screen.publisher, viewer);
        self.ask(request, rooms);
        self.screen.publisher = here;
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
                let (decoder, mut items) = self.recent.around(&places);
                let mut finder = Finder::with(decoder, places.clone());
                let _ = items.any(|item| finder.item(&item));
                drop(items);
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

    fn parcel(&self, id: &str, rooms: &Rooms) -> Reply {
        let Some((room, incident)) = evidence::incident(&rooms.engines(), id) else {
            return Reply::Said(format!("{id} is not known any more"));
        };
        let items = self.recent.items();
        match evidence::parcel(&incident, room.as_deref(), self.host.as_deref(), items) {
            Ok(parcel) => Reply::Parcel(parcel),
            Err(error) => Reply::Said(format!("the service cannot make a bundle: {error}")),
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
