//! Between the engine's side and the screen's: snapshots one way (the newest replaces the older), questions the other way (few, bounded).
//!
//! Nothing here ever makes the engine wait for a terminal: what it says lies in one slot until the screen takes it.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};

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
/// Answers that may lie unread; then the oldest goes: who asked has stopped reading.
const REPLIES: usize = 64;

/// What the screen asks of the engine's side.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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

impl Request {
    /// The number by which its answer is known, where it has one.
    pub fn number(&self) -> Option<u64> {
        match self {
            Request::Page { id, .. }
            | Request::Card { id, .. }
            | Request::Log { id, .. }
            | Request::Bytes { id, .. }
            | Request::Exchange { id, .. } => Some(*id),
            Request::Alert { .. } | Request::Bundle { .. } | Request::Control(_) => None,
        }
    }
}

/// What it answers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    /// An incident's bundle, for a screen elsewhere to write where it is.
    Parcel(Parcel),
    /// A sentence about what was done or could not be done.
    Said(String),
}

impl Reply {
    /// The number of what it answers, where that had one.
    pub fn number(&self) -> Option<u64> {
        match self {
            Reply::Page { id, .. }
            | Reply::Card { id, .. }
            | Reply::Log { id, .. }
            | Reply::Bytes { id, .. }
            | Reply::Exchange { id, .. } => Some(*id),
            Reply::Alert { .. } | Reply::Parcel(_) | Reply::Said(_) => None,
        }
    }
}

/// Everything about an incident, not yet written anywhere.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Parcel {
    /// Of the incident.
    pub id: String,
    pub rev: u64,
    pub alert: String,
    pub story: String,
    /// Its slice as pcapng, in base64.
    pub packets: String,
    pub frames: u64,
}

/// A frame or message: what it says, its fields and its octets.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
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
    ended: bool,
    /// Nobody looks into it any more.
    left: bool,
}

/// Who looks into the slot, and how it is woken.
#[derive(Clone)]
enum Bell {
    Screen(SyncSender<Wake>),
    /// A task that hands on to a screen elsewhere.
    Wire(Arc<Notify>),
}

/// The engine's end.
#[derive(Clone)]
pub struct Publisher {
    slot: Arc<Mutex<Slot>>,
    bell: Bell,
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
            bell: Bell::Screen(wake.clone()),
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

/// The end of a screen that is elsewhere: a task takes what lies in the slot and sends it on.
pub struct Wire {
    slot: Arc<Mutex<Slot>>,
    bell: Arc<Notify>,
}

/// What lay in the slot.
#[derive(Default)]
pub struct Taken {
    pub snapshot: Option<Arc<Snapshot>>,
    pub replies: Vec<Reply>,
    /// Nothing more will come.
    pub ended: bool,
}

/// Both ends for a screen that is elsewhere.
pub fn wire() -> (Publisher, Wire) {
    let slot = Arc::<Mutex<Slot>>::default();
    let bell = Arc::<Notify>::default();
    let publisher = Publisher {
        slot: slot.clone(),
        bell: Bell::Wire(bell.clone()),
    };
    (publisher, Wire { slot, bell })
}

impl Wire {
    /// Waits until something lies in the slot. Nothing is lost when this is dropped halfway.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    /// What lies in the slot.
    pub fn take(&self) -> Taken {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        Taken {
            snapshot: slot.snapshot.take(),
            replies: std::mem::take(&mut slot.replies),
            ended: slot.ended,
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Slot {
            left: true,
            ..Slot::default()
        };
    }
}

impl Publisher {
    /// Whether the screen elsewhere has gone.
    pub fn is_left(&self) -> bool {
        self.slot
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .left
    }

    /// Whether both speak to the same screen.
    pub fn is(&self, other: &Publisher) -> bool {
        Arc::ptr_eq(&self.slot, &other.slot)
    }

    /// Shows what is known now.
    pub fn publish(&self, snapshot: Snapshot) {
        self.share(Arc::new(snapshot));
    }

    /// Shows what others are shown, too.
    pub fn share(&self, snapshot: Arc<Snapshot>) {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.snapshot = Some(snapshot);
        drop(slot);
        self.nudge(Wake::Slot);
    }

    /// Answers.
    pub fn reply(&self, reply: Reply) {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.replies.len() >= REPLIES {
            slot.replies.remove(0);
        }
        slot.replies.push(reply);
        drop(slot);
        self.nudge(Wake::Slot);
    }

    /// Nothing more will come: the screen is put away.
    pub fn end(&self) {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.ended = true;
        drop(slot);
        // A screen that is gone, or one that is stuck in a write: `Tui::join` does not wait for that one.
        self.nudge(Wake::End);
    }

    fn nudge(&self, wake: Wake) {
        match &self.bell {
            Bell::Screen(screen) => match screen.try_send(wake) {
                // Full: it wakes anyway, and looks into the slot after each wake.
                Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
            },
            Bell::Wire(bell) => bell.notify_one(),
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

    /// Asks; gives the question back when too much is asked already, or nobody is there to answer.
    pub fn ask(&self, request: Request) -> Result<(), Box<Request>> {
        self.requests.try_send(request).map_err(|error| {
            let (mpsc::error::TrySendError::Full(request)
            | mpsc::error::TrySendError::Closed(request)) = error;
            Box::new(request)
        })
    }
}
