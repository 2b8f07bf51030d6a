//! What the BMP station and the BGP listener share: who may connect, the places that routers get in the pipeline, what is told of
//! those that were turned away.
//!
//! Each place is one ordered source. A router takes the lowest free place when its first message proved it to be one, and leaves it with
//! its connection: places are bounded, whatever strangers do.

mod callers;
pub mod tap;

pub use callers::{Serve, serve_all};

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::live::{LiveItem, LiveSender, SourceIds};
use crate::event::bounded::{Bounded, Worth};
use crate::event::{SourceId, SourceInfo, SourceKind};

/// Routers served at once: more than any network sends to one station; each costs a buffer of 60 KiB.
const MAX_PLACES: usize = 512;
/// Connections open at once, those included that have not proved anything yet.
const MAX_OPEN: usize = 1024;
/// Connections open at once from one address: a router's instances and VRFs, and a dead connection or two that nobody noticed.
const MAX_OPEN_OF_ONE: u32 = 8;
/// Connections from one address in a [`MINUTE`]. FRR and BIRD try each 30 s or slower, GoBGP each 5 s at first.
const MAX_CALLS: u32 = 30;
const MINUTE: Duration = Duration::from_secs(60);
/// Addresses remembered for [`MAX_CALLS`]; those that called longest ago and are not connected give way.
const MAX_CALLERS: usize = 4096;
/// Connections open at once of addresses that never proved to be routers: the rest is for those that did.
const MAX_STRANGERS: usize = MAX_OPEN / 2;
/// Addresses known as routers', those that fed us longest ago give way.
const MAX_KNOWN: usize = 4096;
/// See [`Desk::promise_every`].
const PROMISE: Duration = Duration::from_millis(100);
/// Five hundred routers wake us a thousand times a second with it.
const PROMISE_OF_MANY: Duration = Duration::from_millis(400);
/// Connections up to which each promises often.
const FEW: usize = 16;
/// Least time between two notes about connections that were turned away.
const NOTE_EVERY: Duration = MINUTE;

/// Time since the station was opened, from a clock that nobody sets.
#[derive(Copy, Clone, Debug)]
pub struct Clock(tokio::time::Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "time-outs of a live socket")]
    pub fn start() -> Clock {
        Clock(tokio::time::Instant::now())
    }

    pub fn now(&self) -> Duration {
        self.0.elapsed()
    }

    pub fn at(&self, time: Duration) -> tokio::time::Instant {
        self.0 + time
    }

    /// Waits so long.
    pub async fn pause(&self, time: Duration) {
        tokio::time::sleep_until(self.at(self.now() + time)).await;
    }
}

/// Opens listening sockets; before privileges are dropped, and without a runtime.
pub fn bind(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    addresses
        .iter()
        .map(|address| {
            let listener = TcpListener::bind(address)
                .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })
        .collect()
}

#[derive(Default)]
struct Caller {
    open: u32,
    /// Begin of the minute in which `calls` were counted.
    since: Duration,
    calls: u32,
    /// How many of the open ones came in as a stranger's.
    strange: u32,
}

/// Who is connected, and who called how often.
pub struct Admission {
    callers: Bounded<IpAddr, Caller>,
    /// Addresses that fed us before: strangers cannot keep them out.
    known: Bounded<IpAddr, ()>,
    open: usize,
    strangers: usize,
}

impl Default for Admission {
    fn default() -> Admission {
        Admission {
            callers: Bounded::new(MAX_CALLERS),
            known: Bounded::new(MAX_KNOWN),
            open: 0,
            strangers: 0,
        }
    }
}

impl Admission {
    /// Whether this address may connect now. What is admitted must [`leave`](Self::leave).
    pub fn enter(&mut self, addr: IpAddr, now: Duration) -> Result<(), &'static str> {
        if self.open >= MAX_OPEN {
            return Err("too many connections are open");
        }
        let stranger = self.known.get(&addr).is_none();
        if stranger && self.strangers >= MAX_STRANGERS {
            return Err("too many connections of strangers are open");
        }
        // Whoever calls from ever new addresses only makes us forget how often those called.
        let connected = |_: &IpAddr, caller: &Caller| match caller.open {
            0 => Worth::Spent,
            _ => Worth::Kept,
        };
        let Some(caller) = self.callers.at(addr, connected) else {
            return Err("too many addresses are connected");
        };
        if caller.calls == 0 || now >= caller.since + MINUTE {
            caller.since = now;
            caller.calls = 0;
        }
        caller.calls = caller.calls.saturating_add(1);
        if caller.calls > MAX_CALLS {
            return Err("it connects more than 30 times a minute");
        }
        if caller.open >= MAX_OPEN_OF_ONE {
            return Err("it has 8 connections open");
        }
        caller.open += 1;
        self.open += 1;
        if stranger {
            caller.strange += 1;
            self.strangers += 1;
        }
        Ok(())
    }

    /// This address proved to be a router's.
    pub fn proved(&mut self, addr: IpAddr) {
        self.known.at(addr, |_, ()| Worth::Spent);
        if let Some(caller) = self.callers.get_mut(&addr) {
            let strange = std::mem::take(&mut caller.strange);
            self.strangers = self.strangers.saturating_sub(strange as usize);
        }
    }

    pub fn leave(&mut self, addr: IpAddr) {
        if let Some(caller) = self.callers.get_mut(&addr) {
            caller.open = caller.open.saturating_sub(1);
            self.open = self.open.saturating_sub(1);
            if caller.strange > caller.open {
                caller.strange -= 1;
                self.strangers = self.strangers.saturating_sub(1);
            }
        }
    }
}

/// A router's place.
#[derive(Debug)]
pub struct Place {
    index: usize,
    pub source: SourceId,
    /// Number of the last record of its source.
    pub number: u64,
    /// Counts the connections of all places from 1.
    pub connection: u32,
    /// To be sent before the first record, when the place is new.
    pub announce: Option<SourceInfo>,
}

#[derive(Default)]
struct Places {
    free: BTreeSet<usize>,
    all: Vec<(SourceId, u64)>,
    connections: u32,
}

#[derive(Default)]
struct Refusals {
    last_told: Option<Duration>,
    untold: u32,
}

/// What the connections of a station share.
pub struct Desk {
    /// The interface name of its sources, see [`crate::event::source::OwnFeed`].
    name: &'static str,
    ids: SourceIds,
    pub out: LiveSender,
    pub clock: Clock,
    admission: Mutex<Admission>,
    places: Mutex<Places>,
    refusals: Mutex<Refusals>,
}

impl Desk {
    pub fn new(name: &'static str, ids: SourceIds, out: LiveSender) -> Desk {
        Desk {
            name,
            ids,
            out,
            clock: Clock::start(),
            admission: Mutex::default(),
            places: Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    pub fn enter(&self, addr: IpAddr) -> Result<(), &'static str> {
        locked(&self.admission).enter(addr, self.clock.now())
    }

    pub fn leave(&self, addr: IpAddr) {
        locked(&self.admission).leave(addr);
    }

    /// The lowest free place for a router at `addr`, which has proved to be one; `None` when all are taken.
    pub fn take_place(&self, addr: IpAddr) -> Option<Place> {
        locked(&self.admission).proved(addr);
        let places = &mut *locked(&self.places);
        let mut announce = None;
        let index = match places.free.pop_first() {
            Some(index) => index,
            None if places.all.len() < MAX_PLACES => {
                let name = format!("{}-{}", self.name, places.all.len() + 1);
                let info = self.ids.announce(SourceKind::Packets, Some(&name));
                places.all.push((info.id, 0));
                announce = Some(info);
                places.all.len() - 1
            }
            None => return None,
        };
        let (source, number) = *places.all.get(index)?;
        places.connections = places.connections.wrapping_add(1);
        Some(Place {
            index,
            source,
            number,
            connection: places.connections,
            announce,
        })
    }

    /// How long a connection may say nothing before it promises that nothing waits: the merge then need not wait for it. Many quiet routers
    /// shall not cost what one does; the merge's own patience does for them.
    pub fn promise_every(&self) -> Duration {
        let places = &*locked(&self.places);
        if places.all.len().saturating_sub(places.free.len()) <= FEW {
            PROMISE
        } else {
            PROMISE_OF_MANY
        }
    }

    /// Its connection is over; `number` is its source's last record.
    pub fn leave_place(&self, place: &Place, number: u64) {
        let places = &mut *locked(&self.places);
        if let Some((_, last)) = places.all.get_mut(place.index) {
            *last = number;
            places.free.insert(place.index);
        }
    }

    /// Tells the operator that a router feeds us, or no longer does. Only routers that proved to be some get here.
    pub async fn note(&self, router: SocketAddr, what: &str) {
        let text = format!("{}: {} {what}", self.name, router.ip());
        let _ = self.out.send(LiveItem::Note(text)).await; // nobody is left to tell when the channel is gone
    }

    /// Tells the operator of a connection that was turned away before it was a feed; rarely, strangers decide how many there are.
    pub async fn refused(&self, addr: SocketAddr, why: &str) {
        let now = self.clock.now();
        let more = {
            let refusals = &mut *locked(&self.refusals);
            if refusals
                .last_told
                .is_some_and(|told| now < told + NOTE_EVERY)
            {
                refusals.untold = refusals.untold.saturating_add(1);
                return;
            }
            refusals.last_told = Some(now);
            std::mem::take(&mut refusals.untold)
        };
        let name = self.name;
        let more = match more {
            0 => String::new(),
            more => format!(" ({more} more were turned away since the last such note)"),
        };
        let _ = self
            .out
            .send(LiveItem::Note(format!(
                "{name}: turned {addr} away: {why}{more}"
            )))
            .await; // nobody is left to tell when the channel is gone
    }
}

/// A poisoned lock guards plain counters here: they are still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::live::channel;

    #[test]
    fn an_address_has_a_bounded_number_of_connections_and_calls() {
        let mut admission = Admission::default();
        let (one, two) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let now = Duration::ZERO;
        for _ in 0..MAX_OPEN_OF_ONE {
            admission.enter(one, now).unwrap();
        }
        assert!(admission.enter(one, now).is_err());
        admission.enter(two, now).unwrap();
        admission.leave(one);
        admission.enter(one, now).unwrap();
        admission.leave(one);
        for _ in 0..MAX_CALLS {
            if admission.enter(one, now).is_ok() {
                admission.leave(one);
            }
        }
        assert!(admission.enter(one, now).is_err());
        admission.enter(one, MINUTE).unwrap();
    }

    #[test]
    fn callers_from_everywhere_do_not_fill_memory() {
        let mut admission = Admission::default();
        for n in 0..6_000u32 {
            let addr = IpAddr::V4(n.into());
            if admission.enter(addr, Duration::ZERO).is_ok() {
                admission.leave(addr);
            }
        }
        assert_eq!(admission.callers.len(), MAX_CALLERS);
        // Nor do they keep anybody out, within the same minute.
        let late = IpAddr::V4(6_001.into());
        admission.enter(late, Duration::ZERO).unwrap();
        assert_eq!(admission.callers.len(), MAX_CALLERS);
    }

    #[test]
    fn strangers_that_hold_connections_do_not_keep_routers_out() {
        let mut admission = Admission::default();
        let router = "192.0.2.1".parse().unwrap();
        admission.enter(router, Duration::ZERO).unwrap();
        admission.proved(router);
        admission.leave(router);
        for n in 0..4_000u32 {
            let addr = IpAddr::V4((0x0a00_0000 + n).into());
            assert_eq!(
                admission.enter(addr, Duration::ZERO).is_ok(),
                (n as usize) < MAX_STRANGERS
            );
        }
        admission.enter(router, Duration::ZERO).unwrap();
        admission.leave(IpAddr::V4(0x0a00_0000.into()));
        admission
            .enter("198.51.100.1".parse().unwrap(), Duration::ZERO)
            .unwrap();
    }

    #[tokio::test]
    async fn places_are_used_again_and_go_on_counting() {
        let (out, _in) = channel();
        let desk = Desk::new("station", SourceIds::default(), out);
        let router = "192.0.2.1".parse().unwrap();
        let first = desk.take_place(router).unwrap();
        let second = desk.take_place(router).unwrap();
        assert_eq!(
            first.announce.as_ref().and_then(|i| i.interface.as_deref()),
            Some("station-1")
        );
        assert_ne!(first.source, second.source);
        desk.leave_place(&first, 17);
        let again = desk.take_place(router).unwrap();
        assert_eq!((again.source, again.number), (first.source, 17));
        assert!(again.announce.is_none());
        assert_eq!(again.connection, 3);
    }
}
