//! What the table of sessions reports: changes, and the raw facts of a loss. Nothing is judged here.

use std::net::IpAddr;
use std::time::Duration;

use crate::event::Timestamp;
use crate::event::bgp::Notification;

use super::{Observer, SessionId, bfd};

/// What an observer saw of a session's end.
#[derive(Clone, Debug)]
pub enum DownCause {
    /// A NOTIFICATION on the wire, by this end.
    Notification {
        from: usize,
        notification: Notification,
    },
    /// TCP RST (or FIN) of the session's connection, by this end.
    Tcp { from: usize, reset: bool },
    /// Nothing was heard from this end for the hold time.
    Silence {
        silent: usize,
        last: Timestamp,
        hold: Duration,
    },
    /// The session was opened anew although nobody had seen it end.
    Superseded,
    /// BMP Peer Down.
    Bmp {
        reason: u8,
        fsm_event: Option<u16>,
        notification: Option<Notification>,
    },
    /// MRT state change out of Established.
    StateChange { new: u16 },
}

/// A change in this table. Times are the event's unless the change carries its own.
#[derive(Clone, Debug)]
pub enum SessionDelta {
    /// Seen for the first time; `established` when it was up before we looked.
    Appeared { id: SessionId, established: bool },
    /// It is established (again).
    Up { id: SessionId, observer: Observer },
    /// It is no longer established since `at`, which a silent loss puts before the event.
    Down {
        id: SessionId,
        at: Timestamp,
        observer: Observer,
        cause: DownCause,
    },
    /// Another observer, or a late packet, tells about a loss that is already known.
    DownSeen {
        id: SessionId,
        observer: Observer,
        cause: DownCause,
    },
    /// Everything of an input paused for longer than the session's hold time, and then both ends went on as if nothing had been.
    ClockAhead {
        id: SessionId,
        from: Timestamp,
        to: Timestamp,
        hold: Duration,
    },
    /// One end asked for a connection (SYN) while it is not established.
    Tried { id: SessionId, end: usize },
    /// An attempt to open it was refused.
    Refused { id: SessionId, cause: DownCause },
    /// Its receiver's window closed.
    ZeroWindow { id: SessionId, end: usize },
    /// A message came later than two thirds of the hold time after the one before, and the session survived.
    Late {
        id: SessionId,
        end: usize,
        gap: Duration,
        hold: Duration,
    },
    /// A BMP feed (or our BGP listener's) connected; `again` when the same router was connected before and repeats its state now.
    FeedUp { router: Option<IpAddr>, again: bool },
    /// Such a feed was cut: what its peers do is not seen any more.
    FeedDown { router: Option<IpAddr> },
    /// A BFD session changed.
    Bfd {
        pair: bfd::BfdPair,
        change: bfd::BfdChange,
    },
}

/// What a BGP or BMP event was about, so that the RIBs need not search again.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Current {
    pub session: SessionId,
    /// The end whose routes the message carries.
    pub sender: usize,
    pub observer: Observer,
    /// It came over a BMP feed that connected a moment ago and still repeats what was before.
    pub fresh_feed: bool,
    /// It came over a BMP feed that is seen from its beginning.
    pub whole_feed: bool,
}
