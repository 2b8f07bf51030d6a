//! Between the engine's side and the screen's: snapshots one way (the newest replaces the older), questions the other way (few, bounded).
//!
//! Nothing here ever makes the engine wait for a terminal: what it says lies in one slot until the screen takes it.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::model::{Control, Message};
use crate::engine::query::card::Card;
use crate::engine::query::{Page, Query};
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::case::Place;
use crate::event::Timestamp;
use crate::output::log::{Entry, LogPage, LogQuery};

/// Questions that may wait: a screen has one of each kind under way.
const QUESTIONS: usize = 8;
/// Keys that may wait for a frame: more than anybody types, less than a paste; the reader of the terminal then waits.
const KEYS: usize = 256;

/// What the screen asks of the engine's side.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// A page of a big table.
    Page { id: u64, query: Query },
    /// Everything about one subject.
    Card { id: u64, subject: String },
    /// A page of the event log.
    Log { id: u64, query: LogQuery },
    /// The incident as the alert that machines get.
    Alert { id: String },
    /// Fields and octets of these places.
    Bytes { id: u64, places: Vec<Place> },
    /// The messages of an exchange around a moment.
    Exchange {
        id: u64,
        exchange: String,
        around: Timestamp,
    },
    /// Write everything that belongs to an incident into files.
    Bundle { id: String },
    /// Where a replay goes on.
    Control(Control),
}

/// What it answers.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    Page {
        id: u64,
        page: Page,
    },
    Card {
        id: u64,
        card: Box<Card>,
    },
    Log {
        id: u64,
        page: LogPage,
    },
    /// JSON of an incident, for the clipboard.
    Alert {
        id: String,
        json: Option<String>,
    },
    Bytes {
        id: u64,
        found: Vec<Bytes>,
    },
    Exchange {
        id: u64,
        rungs: Vec<Entry>,
    },
    /// A sentence about what was done or could not be done.
    Said(String),
}

/// A frame or message: what it says, its fields and its octets.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Bytes {
    pub place: Option<Place>,
    pub at: Timestamp,
    /// One line for each event decoded from it.
    pub lines: Vec<String>,
    /// Name and value, as decoded.
    pub fields: Vec<(String, String)>,
    pub octets: Vec<u8>,
    /// The exchange that it is part of.
    pub exchange: Option<String>,
    /// Why there is nothing to show.
    pub missing: Option<String>,
}

/// What wakes the screen.
#[derive(Debug)]
pub enum Wake {
    /// From the terminal.
    Message(Message),
    /// Look into the slot.
    Slot,
    /// Stop here and let the shell go on.
    Suspend,
    /// We are in the foreground again.
    Resumed,
    /// The engine's side has ended, or the terminal has.
    End,
}

#[derive(Default)]
struct Slot {
    snapshot: Option<Arc<Snapshot>>,
    replies: Vec<Reply>,
}

/// The engine's end.
#[derive(Clone)]
pub struct Publisher {
    slot: Arc<Mutex<Slot>>,
    wake: SyncSender<Wake>,
}

/// The screen's end.
pub struct Link {
    slot: Arc<Mutex<Slot>>,
    pub wake: SyncSender<Wake>,
    pub woken: Receiver<Wake>,
    requests: mpsc::Sender<Request>,
}

/// Both ends, and the questions.
pub fn link() -> (Publisher, mpsc::Receiver<Request>, Link) {
    let slot = Arc::<Mutex<Slot>>::default();
    let (wake, woken) = sync_channel(KEYS);
    let (requests, asked) = mpsc::channel(QUESTIONS);
    (
        Publisher {
            slot: slot.clone(),
            wake: wake.clone(),
        },
        asked,
        Link {
            slot,
            wake,
            woken,
            requests,
        },
    )
}

impl Publisher {
    /// Shows what is known now.
    pub fn publish(&self, snapshot: Snapshot) {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.snapshot = Some(Arc::new(snapshot));
        drop(slot);
        self.nudge(Wake::Slot);
    }

    /// Answers.
    pub fn reply(&self, reply: Reply) {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.replies.push(reply);
        drop(slot);
        self.nudge(Wake::Slot);
    }

    /// Nothing more will come: the screen is put away.
    pub fn end(&self) {
        // A screen that is gone, or one that is stuck in a write: `Tui::join` does not wait for that one.
        let _ = self.wake.try_send(Wake::End);
    }

    fn nudge(&self, wake: Wake) {
        match self.wake.try_send(wake) {
            // Full: it wakes anyway, and looks into the slot after each wake.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

impl Link {
    /// What lies in the slot, as messages.
    pub fn take(&self) -> Vec<Message> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = slot.snapshot.take().map(Message::Snapshot);
        let replies = std::mem::take(&mut slot.replies);
        drop(slot);
        let replies = replies
            .into_iter()
            .map(|reply| Message::Reply(Box::new(reply)));
        snapshot.into_iter().chain(replies).collect()
    }

    /// Asks; false when too much is asked already, or nobody is there to answer.
    pub fn ask(&self, request: Request) -> bool {
        self.requests.try_send(request).is_ok()
    }
}
