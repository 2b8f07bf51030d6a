//! The engine's side of a screen: snapshots at a bounded rate, pages in slices, incidents as JSON. What live runs and replays have in common.

use std::collections::VecDeque;

use tokio::sync::mpsc::Receiver;

use crate::engine::Engine;
use crate::engine::query::Scan;
use crate::engine::snapshot::{Camera, Snapshot};
use crate::output::alert::IncidentView;
use crate::output::log::Log;
use crate::output::{cards, pages};
use crate::tui::link::{Publisher, Reply, Request};
use crate::tui::select;

/// Searches of one screen that may wait: it has one of each table under way, and there are six.
const SCANS: usize = 8;

/// Engines with the names of their network namespaces.
pub type Rooms<'a> = [(Option<&'a str>, &'a Engine)];

/// What a screen is fed from.
pub struct Screen {
    pub publisher: Publisher,
    pub requests: Receiver<Request>,
    /// Every event as a line.
    pub log: Log,
    camera: Camera,
    scans: VecDeque<(Publisher, u64, Scan)>,
}

impl Screen {
    /// For a link's other end.
    pub fn new(publisher: Publisher, requests: Receiver<Request>) -> Screen {
        Screen {
            publisher,
            requests,
            log: Log::default(),
            camera: Camera::default(),
            scans: VecDeque::new(),
        }
    }

    /// Takes a picture; with `thorough` incidents are looked at anew.
    pub fn shoot(&mut self, rooms: &Rooms<'_>, thorough: bool) -> Snapshot {
        self.camera.shoot(rooms, thorough)
    }

    /// Whether a search waits for its next slice.
    pub fn is_busy(&self) -> bool {
        !self.scans.is_empty()
    }

    /// Goes on with the search that waits longest, by one slice: several screens take turns.
    pub fn slice(&mut self, rooms: &Rooms<'_>) {
        self.scans.retain(|(asker, ..)| !asker.is_left());
        let engines: Vec<&Engine> = rooms.iter().map(|(_, engine)| *engine).collect();
        let Some((asker, id, mut scan)) = self.scans.pop_front() else {
            return;
        };
        if scan.advance(&engines) {
            let page = pages::page(scan, &engines);
            asker.reply(Reply::Page { id, page });
        } else {
            self.scans.push_back((asker, id, scan));
        }
    }

    /// Answers what the engines and the log know; gives back what somebody else must answer.
    pub fn answer(&mut self, request: Request, rooms: &Rooms<'_>) -> Option<Request> {
        match request {
            Request::Page { .. }
                if self
                    .scans
                    .iter()
                    .filter(|(asker, ..)| asker.is(&self.publisher))
                    .count()
                    >= SCANS =>
            {
                let text = "too many searches at once".to_owned();
                self.publisher.reply(Reply::Said(text));
            }
            Request::Page { id, query } => {
                let asker = self.publisher.clone();
                self.scans.push_back((asker, id, Scan::new(query)));
            }
            Request::Card { id, subject } => {
                let mut card = cards::card(&subject, rooms);
                let about = select::of_subject(&subject).parse().unwrap_or_default();
                let exact = select::exact(&subject);
                let page = self.log.history(&about, exact, cards::HISTORY);
                cards::history(&mut card, &page);
                let card = Box::new(card);
                self.publisher.reply(Reply::Card { id, card });
            }
            Request::Log { id, query } => {
                let page = self.log.page(&query);
                self.publisher.reply(Reply::Log { id, page });
            }
            Request::Alert { id } => {
                let json = self.incident(&id, rooms);
                self.publisher.reply(Reply::Alert { id, json });
            }
            other => return Some(other),
        }
        None
    }

    /// An incident as machines get it.
    pub fn incident(&self, id: &str, rooms: &Rooms<'_>) -> Option<String> {
        let all = rooms.iter().flat_map(|(_, engine)| engine.incidents());
        let incident = all.into_iter().find(|incident| incident.id == id)?;
        serde_json::to_string_pretty(&IncidentView::new(&incident)).ok()
    }
}
