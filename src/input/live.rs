//! What live collectors hand over, and the little they share: ids of sources, the channel, the clock.
//!
//! A collector stamps bytes when it receives them, hands them over in order within its source, and waits when the channel is full:
//! loss then happens in the kernel, which counts it (law 12). It ends when its [`Stop`] says so or when the channel is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{mpsc, watch};

use super::{Format, Item, Record};
use crate::event::loss::Gap;
use crate::event::source::Unit;
use crate::event::{InputId, Locator, SourceId, SourceInfo, SourceKind, Timestamp};

/// Items that may wait between the collectors and the engine.
pub const CHANNEL: usize = 1024;

/// The one input of a live run: this host.
pub const LIVE_INPUT: InputId = InputId(0);

/// The owned twin of [`Item`], and what the merge needs to know beside it.
#[derive(Debug)]
pub enum LiveItem {
    /// A source is about to be used. Comes before anything else of it.
    Source(SourceInfo),
    /// Bytes as they came.
    Record(LiveRecord),
    /// Something was lost.
    Gap {
        at: Timestamp,
        source: SourceId,
        locator: Locator,
        gap: Gap,
    },
    /// Nothing older than `until` will come from this source: the merge need not wait for it. With `MAX` the source rests until its next item.
    Idle { source: SourceId, until: Timestamp },
    /// The source has ended; nothing more comes from it.
    Closed { source: SourceId },
    /// A sentence for whoever runs the program (stderr); neither judged nor recorded.
    Note(String),
}

/// Bytes as they came, owned.
#[derive(Clone, Debug)]
pub struct LiveRecord {
    pub at: Timestamp,
    pub source: SourceId,
    pub locator: Locator,
    pub format: Format,
    /// The bytes; for packets possibly cut by the snap length.
    pub bytes: Box<[u8]>,
    /// Length on the wire (packets), else the length of `bytes`.
    pub wire_len: u32,
}

impl LiveItem {
    /// The source it is about.
    pub fn source(&self) -> Option<SourceId> {
        match self {
            LiveItem::Source(info) => Some(info.id),
            LiveItem::Record(record) => Some(record.source),
            LiveItem::Gap { source, .. }
            | LiveItem::Idle { source, .. }
            | LiveItem::Closed { source } => Some(*source),
            LiveItem::Note(_) => None,
        }
    }

    /// Tells where its bytes are found again.
    pub fn place(&mut self, place: Locator) {
        match self {
            LiveItem::Record(record) => record.locator = place,
            LiveItem::Gap { locator, .. } => *locator = place,
            _ => {}
        }
    }

    /// Its time; sources have none of their own, promises are about the time to come.
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            LiveItem::Record(record) => Some(record.at),
            LiveItem::Gap { at, .. } => Some(*at),
            LiveItem::Source(_)
            | LiveItem::Idle { .. }
            | LiveItem::Closed { .. }
            | LiveItem::Note(_) => None,
        }
    }

    /// The same as the decoder takes it; `None` for what only concerns the merge.
    pub fn as_item(&self) -> Option<Item<'_>> {
        match self {
            LiveItem::Source(info) => Some(Item::Source(info.clone())),
            LiveItem::Record(record) => Some(Item::Record(Record {
                at: record.at,
                source: record.source,
                locator: record.locator,
                format: record.format,
                bytes: &record.bytes,
                wire_len: record.wire_len,
            })),
            LiveItem::Gap {
                at,
                source,
                locator,
                gap,
            } => Some(Item::Gap {
                at: *at,
                source: *source,
                locator: *locator,
                gap: gap.clone(),
            }),
            LiveItem::Idle { .. } | LiveItem::Closed { .. } | LiveItem::Note(_) => None,
        }
    }
}

/// Where collectors send to; bounded by [`CHANNEL`].
pub type LiveSender = mpsc::Sender<LiveItem>;

/// The channel between collectors and the engine.
pub fn channel() -> (LiveSender, mpsc::Receiver<LiveItem>) {
    mpsc::channel(CHANNEL)
}

/// Tells collectors to end: `true` once they shall. Async: `stop.wait_for(|stop| *stop).await`; sync: `*stop.borrow()`.
/// An error of `wait_for` (the other side is gone) means the same.
pub type Stop = watch::Receiver<bool>;

/// What a collector's thread is there for: it keeps the rights of its duty and no others.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Duty {
    /// Reads the kernel's messages, and looks up in /proc who made them.
    Kernel,
    /// Opens interfaces that come later.
    Interfaces,
    /// Reads one open interface.
    Packets,
}

/// What a collector's thread does first: gives up what its duty does not need. Does nothing unless told otherwise; a thread that
/// fails here must not go on.
#[derive(Clone, Default)]
pub struct Confine(Option<Arc<Confining>>);

type Confining = dyn Fn(Duty) -> std::io::Result<()> + Send + Sync;

impl Confine {
    /// By calling this on the thread.
    pub fn with(by: impl Fn(Duty) -> std::io::Result<()> + Send + Sync + 'static) -> Confine {
        Confine(Some(Arc::new(by)))
    }

    /// Confines the calling thread.
    pub fn enter(&self, duty: Duty) -> std::io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |by| by(duty))
    }
}

/// Numbers the sources of a live run.
#[derive(Clone, Debug, Default)]
pub struct SourceIds(Arc<AtomicU32>);

impl SourceIds {
    /// A new ordered source. Send it as [`LiveItem::Source`] before its first record.
    pub fn announce(&self, kind: SourceKind, interface: Option<&str>) -> SourceInfo {
        SourceInfo {
            id: SourceId(self.0.fetch_add(1, Ordering::Relaxed)),
            input: LIVE_INPUT,
            kind,
            interface: interface.map(|name| crate::event::text::sanitized(name).into()),
            host: None,
            role: None,
        }
    }
}

/// Where record `number` (from 1, counted by each collector within its source) of a live run is found again.
pub fn locator(number: u64) -> Locator {
    Locator {
        input: LIVE_INPUT,
        unit: Unit::Record,
        number,
        offset: 0,
    }
}

/// The time now. Only collectors and the live driver may ask.
#[expect(
    clippy::disallowed_methods,
    reason = "live collectors stamp what they receive"
)]
pub fn now() -> Timestamp {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(Timestamp(0), |since| {
            Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
        })
}
