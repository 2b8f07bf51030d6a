//! What RPKI caches say: their sessions, and the validated ROA payloads (VRPs) that are in force by it.
//!
//! An answer counts when it is complete (End of Data), and only from a cache whose whole table was seen; VRPs of all caches are united.
//! They stay in force when a connection is lost, until they expire (RFC 8210 §6). Learns from RTR events alone: a file of VRPs is told
//! as RTR too.

pub mod table;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::event::rtr::{RtrEvent, RtrMessage, Timers, Vrp, VrpChange};
use crate::event::{Event, EventKind, OwnFeed, Prefix, SourceId, SourceInfo, Timestamp, WireText};
use table::{Caches, RowId, Table};

/// Caches whose VRPs are united: a bit of each row for each. Routers have two or three.
pub const MAX_CACHES: usize = Caches::BITS as usize;
/// Changed VRPs that are listed of one answer; more are counted. A refresh of all RPKI after ten minutes changes some hundred.
pub const MAX_LISTED: usize = 4096;
/// Answers that may come into force at once, and the time in which one more may: each costs a look at all routes. Routers ask at most
/// every few seconds; a captured session that answers more often is not believed until it sends everything again.
const BURST: u32 = 20;
const ONE_MORE_AFTER: Duration = Duration::from_secs(1);

/// Handle of a cache; reused only for one that is forgotten.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct CacheId(pub u8);

impl CacheId {
    fn bit(self) -> Caches {
        1u16.checked_shl(u32::from(self.0)).unwrap_or(0)
    }
}

/// What tells caches apart.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
enum CacheKey {
    /// A session of our own client: each cache is a source.
    Own(SourceId),
    /// A session of a router that we only see.
    Seen(SocketAddr, IpAddr),
}

/// A cache.
#[derive(Clone, Debug)]
pub struct Cache {
    pub addr: SocketAddr,
    /// The router that uses it; `None` where it is ourselves.
    pub router: Option<IpAddr>,
    /// It is a file.
    pub is_file: bool,
    /// Name of the source, where it is our own.
    pub name: Option<Box<str>>,
    pub connected: bool,
    /// Since when it is not connected.
    pub lost_at: Option<Timestamp>,
    /// Why, as far as it was told.
    pub why: Option<WireText>,
    /// Its whole table was seen, and is in force.
    pub complete: bool,
    pub session: u16,
    pub serial: u32,
    /// Last End of Data.
    pub fresh_at: Option<Timestamp>,
    /// When its data may no longer be used.
    pub expires_at: Option<Timestamp>,
    /// VRPs in force.
    pub vrps: usize,
    /// Connections so far.
    pub connections: u32,
    answer: Option<Answer>,
    asked_all: bool,
    tokens: u32,
    spent_at: Timestamp,
    key: CacheKey,
}

/// An answer that is coming.
#[derive(Clone, Debug)]
struct Answer {
    session: u16,
    full: bool,
    touched: Vec<RowId>,
}

/// A change of what is in force, or of a cache.
#[derive(Clone, Debug)]
pub enum VrpDelta {
    /// The connection to a cache is open again, or for the first time.
    Connected(CacheId),
    /// It ended or cannot be opened. `first`: it was not known to be lost.
    Disconnected { cache: CacheId, first: bool },
    /// An answer came into force.
    Fresh {
        cache: CacheId,
        /// The cache had no data in force before.
        first: bool,
        added: usize,
        removed: usize,
    },
    /// A cache's data ran out.
    Expired { cache: CacheId, removed: usize },
}

/// The caches and their VRPs.
#[derive(Clone, Default)]
pub struct Vrps {
    table: Table,
    caches: BTreeMap<CacheId, Cache>,
    by_key: BTreeMap<CacheKey, CacheId>,
    names: BTreeMap<SourceId, (Box<str>, OwnFeed)>,
    /// VRPs that changed with the last event, ordered, at most [`MAX_LISTED`].
    changed: Vec<VrpChange>,
    more_changed: usize,
    /// Sessions that found no place.
    pub refused: u64,
}

/// What RFC 6811 makes of a route.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Rov {
    Valid,
    NotFound,
    /// Covered, and the origin is in a covering VRP, but the prefix is longer than it allows.
    InvalidLength,
    /// Covered, and no covering VRP is for this origin.
    InvalidOrigin,
}

impl Rov {
    /// RFC 6811's three states, as the JSON contract names them.
    pub const fn as_str(self) -> &'static str {
        match self {
            Rov::Valid => "valid",
            Rov::NotFound => "not-found",
            Rov::InvalidLength | Rov::InvalidOrigin => "invalid",
        }
    }

    /// Either kind of invalid.
    pub const fn is_invalid(self) -> bool {
        matches!(self, Rov::InvalidLength | Rov::InvalidOrigin)
    }
}

impl Vrps {
    /// Whether there is anything to validate with.
    pub fn is_usable(&self) -> bool {
        !self.table.is_empty()
    }

    /// VRPs in force.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// None in force.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The set itself.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// All caches.
    pub fn caches(&self) -> impl Iterator<Item = (CacheId, &Cache)> {
        self.caches.iter().map(|(id, cache)| (*id, cache))
    }

    /// A cache.
    pub fn cache(&self, id: CacheId) -> Option<&Cache> {
        self.caches.get(&id)
    }

    /// VRPs that changed with the last event (the first of them), and how many more did.
    pub fn changed(&self) -> (&[VrpChange], usize) {
        (&self.changed, self.more_changed)
    }

    /// The state of a route with this origin; `None` is the origin of a path that ends in a set, which no VRP matches (RFC 6811 §2).
    #[inline]
    pub fn validate(&self, prefix: &Prefix, origin: Option<u32>) -> Rov {
        let len = prefix.len();
        let mut state = Rov::NotFound;
        self.table.covering(prefix, |max_len, asn| {
            // AS 0 authorises nobody (RFC 6483 §4, RFC 6811 §2).
            let same = origin == Some(asn) && asn != 0;
            state = match (same, len <= max_len) {
                (true, true) => Rov::Valid,
                (true, false) => Rov::InvalidLength,
                (false, _) if state == Rov::NotFound => Rov::InvalidOrigin,
                (false, _) => state,
            };
            state != Rov::Valid
        });
        state
    }

    /// Hears of a source: our own client's caches and files have names.
    pub fn source(&mut self, info: &SourceInfo) {
        if let (Some(feed), Some(name)) = (info.own_feed(), &info.interface)
            && feed.is_rtr()
        {
            self.names.insert(info.id, (name.clone(), feed));
        }
    }

    /// The VRPs that this event puts in force or takes out: to be known before it is applied. `None`: no VRP changes by it.
    pub fn apply(&mut self, event: &Event, out: &mut Vec<VrpDelta>) {
        self.changed.clear();
        self.more_changed = 0;
        let EventKind::Rtr(rtr) = &event.kind else {
            return;
        };
        let Some(id) = self.cache_of(event, rtr) else {
            return;
        };
        match &rtr.message {
            RtrMessage::Connected => self.connected(id, out),
            RtrMessage::Disconnected { why } => {
                self.abort(id);
                if let Some(cache) = self.caches.get_mut(&id) {
                    let first = cache.lost_at.is_none();
                    cache.connected = false;
                    cache.lost_at.get_or_insert(event.at);
                    if why.is_some() || first {
                        cache.why.clone_from(why);
                    }
                    out.push(VrpDelta::Disconnected { cache: id, first });
                }
            }
            RtrMessage::Lost => {
                // What was said in the hole is unknown: nothing of it counts until the next whole answer.
                self.abort(id);
                if let Some(cache) = self.caches.get_mut(&id)
                    && cache.router.is_some()
                {
                    self.forget(id);
                }
            }
            RtrMessage::ResetQuery => self.asked(id, true, out),
            RtrMessage::SerialQuery { .. } => self.asked(id, false, out),
            RtrMessage::CacheResponse { session } => self.begin(id, *session, out),
            RtrMessage::Prefixes(changes) => self.prefixes(id, changes),
            RtrMessage::EndOfData {
                session,
                serial,
                timers,
            } => self.end_of_data(id, event.at, (*session, *serial), *timers, out),
            RtrMessage::ErrorReport {
                from_cache: true,
                code,
                text,
            } => {
                self.abort(id);
                if let Some(cache) = self.caches.get_mut(&id) {
                    let text = format!("error {code} from the cache: {text}");
                    cache.why = Some(WireText::from(text.as_str()));
                }
            }
            RtrMessage::CacheReset
            | RtrMessage::SerialNotify { .. }
            | RtrMessage::RouterKey { .. }
            | RtrMessage::Aspa { .. }
            | RtrMessage::ErrorReport { .. } => {}
        }
    }

    /// When the next cache's data run out.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.caches.values().filter_map(|c| c.expires_at).min()
    }

    /// Data that ran out at `now` leave force.
    pub fn expire(&mut self, now: Timestamp, out: &mut Vec<VrpDelta>) {
        self.changed.clear();
        self.more_changed = 0;
        let over: Vec<CacheId> = self
            .caches
            .iter()
            .filter(|(_, cache)| cache.expires_at.is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            let removed = self.caches.get(&id).map_or(0, |cache| cache.vrps);
            self.forget(id);
            out.push(VrpDelta::Expired { cache: id, removed });
        }
    }

    fn cache_of(&mut self, event: &Event, rtr: &RtrEvent) -> Option<CacheId> {
        let named = self.names.get(&event.source);
        let key = match (&rtr.router, named) {
            (Some(router), _) => CacheKey::Seen(rtr.cache, router.ip()),
            (None, _) => CacheKey::Own(event.source),
        };
        if let Some(id) = self.by_key.get(&key) {
            // A name may lead to another address tomorrow.
            if let Some(cache) = self.caches.get_mut(id) {
                cache.addr = rtr.cache;
            }
            return Some(*id);
        }
        let free = (0..MAX_CACHES as u8)
            .map(CacheId)
            .find(|id| !self.caches.contains_key(id))
            .or_else(|| {
                // A session that was only seen, and is over and has nothing in force, makes room.
                let (id, key) = self
                    .caches
                    .iter()
                    .find(|(_, c)| c.router.is_some() && !c.connected && c.expires_at.is_none())
                    .map(|(id, c)| (*id, c.key))?;
                self.caches.remove(&id);
                self.by_key.remove(&key);
                Some(id)
            });
        let Some(id) = free else {
            self.refused += 1;
            return None;
        };
        self.by_key.insert(key, id);
        self.caches.insert(
            id,
            Cache {
                addr: rtr.cache,
                router: rtr.router.map(|router| router.ip()),
                is_file: named.is_some_and(|(_, feed)| *feed == OwnFeed::Vrps),
                name: named.map(|(name, _)| name.clone()),
                connected: false,
                lost_at: None,
                why: None,
                complete: false,
                session: 0,
                serial: 0,
                fresh_at: None,
                expires_at: None,
                vrps: 0,
                connections: 0,
                answer: None,
                asked_all: false,
                tokens: BURST,
                spent_at: event.at,
                key,
            },
        );
        Some(id)
    }

    fn connected(&mut self, id: CacheId, out: &mut Vec<VrpDelta>) {
        self.abort(id);
        let Some(cache) = self.caches.get_mut(&id).filter(|cache| !cache.connected) else {
            return;
        };
        cache.connected = true;
        cache.connections = cache.connections.saturating_add(1);
        // Whether it is of use is seen when it answers: `lost_at` stays until then.
        out.push(VrpDelta::Connected(id));
    }

    fn asked(&mut self, id: CacheId, all: bool, out: &mut Vec<VrpDelta>) {
        self.connected(id, out);
        self.abort(id);
        if let Some(cache) = self.caches.get_mut(&id) {
            cache.asked_all = all;
        }
    }

    fn begin(&mut self, id: CacheId, session: u16, out: &mut Vec<VrpDelta>) {
        self.connected(id, out);
        self.abort(id);
        let Some(cache) = self.caches.get_mut(&id) else {
            return;
        };
        let full = cache.asked_all;
        // News about a table that we do not have, or another one, mean nothing.
        if !full && (!cache.complete || cache.session != session) {
            return;
        }
        let mut touched = Vec::new();
        if full {
            touched = self.table.of_cache(id.bit());
            self.table.unsay_all(id.bit());
        }
        cache.answer = Some(Answer {
            session,
            full,
            touched,
        });
    }

    fn prefixes(&mut self, id: CacheId, changes: &[VrpChange]) {
        let Some(answer) = self
            .caches
            .get_mut(&id)
            .and_then(|cache| cache.answer.as_mut())
        else {
            return;
        };
        for change in changes {
            if let Some(row) = self.table.say(id.bit(), &change.vrp, change.announce) {
                answer.touched.push(row);
            }
        }
        // A cache that says and takes back the same again and again must not grow this.
        if answer.touched.len() > 2 * table::MAX_VRPS {
            answer.touched.sort_unstable();
            answer.touched.dedup();
        }
    }

    fn end_of_data(
        &mut self,
        id: CacheId,
        at: Timestamp,
        (session, serial): (u16, u32),
        timers: Option<Timers>,
        out: &mut Vec<VrpDelta>,
    ) {
        let Some(cache) = self.caches.get_mut(&id) else {
            return;
        };
        let Some(answer) = cache.answer.take() else {
            return;
        };
        if answer.session != session || !cache.afford(at) {
            cache.answer = Some(answer);
            self.abort(id);
            self.forget(id);
            return;
        }
        let first = !cache.complete;
        (cache.session, cache.serial, cache.complete) = (session, serial, true);
        cache.fresh_at = Some(at);
        let timers = timers.unwrap_or(Timers::DEFAULT);
        // A file without a time of its own holds until it is replaced.
        let lasts = cache.is_file && timers.expire == u32::MAX;
        cache.expires_at = (!lasts).then(|| at + timers.lifetime());
        (cache.lost_at, cache.why) = (None, None);
        cache.asked_all = false;
        let full = answer.full;
        let (added, removed) = self.settle(id, &answer.touched, true);
        let counted = (full || first).then(|| self.table.count(id.bit()));
        if let Some(cache) = self.caches.get_mut(&id) {
            cache.vrps = counted.unwrap_or_else(|| (cache.vrps + added).saturating_sub(removed));
        }
        out.push(VrpDelta::Fresh {
            cache: id,
            first,
            added,
            removed,
        });
    }

    /// Settles rows; how many VRPs came into force and left it. They are listed.
    fn settle(&mut self, id: CacheId, rows: &[RowId], commit: bool) -> (usize, usize) {
        let (mut added, mut removed) = (0, 0);
        for row in rows {
            let Some((vrp, announce)) = self.table.settle(id.bit(), *row, commit) else {
                continue;
            };
            if announce {
                added += 1;
            } else {
                removed += 1;
            }
            if self.changed.len() < MAX_LISTED {
                self.changed.push(VrpChange { vrp, announce });
            } else {
                self.more_changed += 1;
            }
        }
        self.changed.sort_unstable();
        (added, removed)
    }

    /// What was said and is not complete is taken back.
    fn abort(&mut self, id: CacheId) {
        let answer = self
            .caches
            .get_mut(&id)
            .and_then(|cache| cache.answer.take());
        if let Some(answer) = answer {
            for row in answer.touched {
                self.table.settle(id.bit(), row, false);
            }
        }
    }

    /// A cache's data leave force.
    fn forget(&mut self, id: CacheId) {
        self.abort(id);
        let rows = self.table.of_cache(id.bit());
        self.table.unsay_all(id.bit());
        self.settle(id, &rows, true);
        if let Some(cache) = self.caches.get_mut(&id) {
            cache.complete = false;
            cache.expires_at = None;
            cache.vrps = 0;
        }
    }
}

impl Cache {
    /// Takes a token of the bucket, if one is left.
    fn afford(&mut self, at: Timestamp) -> bool {
        let passed = at.since(self.spent_at).as_secs() / ONE_MORE_AFTER.as_secs().max(1);
        if passed > 0 {
            let more = u32::try_from(passed).unwrap_or(u32::MAX);
            self.tokens = self.tokens.saturating_add(more).min(BURST);
            self.spent_at = at;
        }
        let left = self.tokens.checked_sub(1);
        self.tokens = left.unwrap_or(0);
        left.is_some()
    }

    /// How an operator names it.
    pub fn label(&self) -> String {
        match (&self.name, self.is_file) {
            (Some(name), true) => format!("the VRP file ({name})"),
            _ => format!("the cache {}", self.addr),
        }
    }
}

/// The VRPs of a list that cover a prefix.
pub fn covering<'a>(
    changes: &'a [VrpChange],
    prefix: &'a Prefix,
) -> impl Iterator<Item = &'a VrpChange> {
    changes
        .iter()
        .filter(move |change| change.vrp.prefix.covers(prefix))
}

/// The words for a list of VRPs: at most `most` of them.
pub fn listed(vrps: &[Vrp], most: usize) -> String {
    let mut words: Vec<String> = vrps.iter().take(most).map(ToString::to_string).collect();
    if vrps.len() > most {
        words.push(format!("{} more", vrps.len() - most));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests;
