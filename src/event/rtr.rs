//! The RPKI-to-Router protocol (RFC 6810, RFC 8210, draft-ietf-sidrops-8210bis): what a cache tells a router, and what the router asks.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::{Prefix, WireText};

/// A message of an RTR session, and between whom.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RtrEvent {
    /// The cache's end.
    pub cache: SocketAddr,
    /// The router's end; `None` where it is ourselves.
    pub router: Option<SocketAddr>,
    /// Protocol version of the message; of the last one, where the event is none.
    pub version: u8,
    pub message: RtrMessage,
}

/// One message, or a run of prefix messages.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RtrMessage {
    /// The TCP connection is open.
    Connected,
    /// It ended, or never came to be; with the reason where one is known.
    Disconnected { why: Option<WireText> },
    /// Octets of the session are missing: what the cache said in them is unknown.
    Lost,
    /// The cache has news.
    SerialNotify { session: u16, serial: u32 },
    /// The router asks for what changed since `serial`.
    SerialQuery { session: u16, serial: u32 },
    /// The router asks for everything.
    ResetQuery,
    /// The cache begins to answer.
    CacheResponse { session: u16 },
    /// Prefix messages that came together, in their order.
    Prefixes(Vec<VrpChange>),
    /// The answer is complete. Timers are those of version 1 and above.
    EndOfData {
        session: u16,
        serial: u32,
        timers: Option<Timers>,
    },
    /// The cache cannot tell what changed: the router must ask for everything.
    CacheReset,
    /// A router key (BGPsec); counted, not kept.
    RouterKey { announce: bool, asn: u32 },
    /// The providers of an AS (version 2).
    Aspa {
        announce: bool,
        customer: u32,
        providers: Vec<u32>,
    },
    /// An error, from either end.
    ErrorReport {
        from_cache: bool,
        /// RFC 8210 §12.
        code: u16,
        text: WireText,
    },
}

/// A validated ROA payload (RFC 6811 §2): this AS may originate this prefix, and parts of it down to a length.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
pub struct Vrp {
    pub prefix: Prefix,
    /// At least the prefix's length, at most what the family has.
    pub max_len: u8,
    pub asn: u32,
}

/// A VRP that is announced or withdrawn.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
pub struct VrpChange {
    pub vrp: Vrp,
    pub announce: bool,
}

/// The timers of End of Data (RFC 8210 §6), as sent.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Timers {
    /// Seconds until the router asks again.
    pub refresh: u32,
    /// Seconds until it repeats a question that failed.
    pub retry: u32,
    /// Seconds for which the data may be used without news.
    pub expire: u32,
}

impl Timers {
    /// What holds where the cache sends none (RFC 8210 §6: the values that it recommends).
    pub const DEFAULT: Timers = Timers {
        refresh: 3600,
        retry: 600,
        expire: 7200,
    };

    /// Inside the bounds of RFC 8210 §6, with expire above the others as it demands.
    pub fn bounded(self) -> Timers {
        let (refresh, retry) = (self.refresh.clamp(1, 86_400), self.retry.clamp(1, 7200));
        let expire = self.expire.clamp(600, 172_800);
        Timers {
            refresh,
            retry,
            expire: expire
                .max(refresh.saturating_add(1))
                .max(retry.saturating_add(1)),
        }
    }

    /// For how long the data may be used.
    pub fn lifetime(self) -> Duration {
        Duration::from_secs(u64::from(self.bounded().expire))
    }
}

impl std::fmt::Display for Vrp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.prefix)?;
        if self.max_len > self.prefix.len() {
            write!(f, "-{}", self.max_len)?;
        }
        write!(f, " AS{}", self.asn)
    }
}
