//! Table transfers: why a whole table comes, and when it has come.

use std::time::Duration;

use crate::event::Timestamp;

/// A transfer is over when nothing new came for this long. Five times FRR's advertisement interval of a second; the peers' measured
/// tables arrive in bursts far denser.
pub const QUIET: Duration = Duration::from_secs(5);
/// After an End-of-RIB marker only other families' remains are waited for.
const QUIET_AFTER_END: Duration = Duration::from_secs(1);

/// A refresh is asked for and begun within this time, or the beginning is no answer: as long as a session's default hold time, in which a
/// speaker that is alive must say something (RFC 4271 §10).
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(90);

/// Why a table is sent.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Why {
    /// The session came up.
    SessionUp,
    /// ROUTE-REFRESH.
    Refresh,
    /// A BMP feed repeats its state.
    Feed,
    /// MRT TABLE_DUMP.
    Dump,
}

impl Why {
    /// What the transfer does not repeat is gone.
    pub const fn replaces(self) -> bool {
        matches!(self, Why::Feed | Why::Dump)
    }

    /// For sentences.
    pub const fn describe(self) -> &'static str {
        match self {
            Why::SessionUp => "the session came up",
            Why::Refresh => "a route refresh was requested",
            Why::Feed => "the BMP feed repeats its state",
            Why::Dump => "an MRT table dump",
        }
    }
}

/// A table transfer.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Transfer {
    pub why: Why,
    pub started: Timestamp,
    /// The last announcement of a prefix that the transfer had not brought before.
    pub last: Timestamp,
    /// Prefixes it brought.
    pub prefixes: u32,
    /// An End-of-RIB marker was seen.
    pub end_of_rib: bool,
}

impl Transfer {
    pub(super) fn new(why: Why, at: Timestamp) -> Transfer {
        Transfer {
            why,
            started: at,
            last: at,
            prefixes: 0,
            end_of_rib: false,
        }
    }

    /// When it is over unless more comes.
    pub fn end(&self) -> Timestamp {
        self.last
            + if self.end_of_rib {
                QUIET_AFTER_END
            } else {
                QUIET
            }
    }

    pub(super) fn progress(&mut self, at: Timestamp, prefixes: u32) {
        self.last = self.last.max(at);
        self.prefixes = self.prefixes.saturating_add(prefixes);
    }
}
