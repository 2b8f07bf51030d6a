//! What each BGP speaker announces to each other one, as each observer shows it. The hot path: one UPDATE becomes a reused slice of
//! small plain deltas.
//!
//! One RIB per (session, sender, kind): packets and BMP copies of one stream are different RIBs and are never added up; pre- and
//! post-policy copies are no duplicates of each other. A lost session invalidates its RIBs by a counter, in constant time. While a
//! table is transferred, the first announcement of each prefix is no churn.

pub mod attributes;
pub mod churn;
pub mod damping;
pub mod hot;
pub mod table;
pub mod transfer;
mod update;

use std::collections::BTreeSet;

use crate::event::bgp::{Attributes, BgpMessage, Nlri};
use crate::event::bmp::{BmpMessage, Rib as BmpRib};
use crate::event::{Event, EventKind, Prefix, Timestamp};

use super::sessions::{Current, DownCause, Observer, Session, SessionDelta, SessionId, Sessions};
use attributes::{AttrId, AttributeStore, Digest, What};
use hot::{Hot, HotStore};
use table::{Cold, Slot, Table};
use transfer::{Transfer, Why};

/// Routes tracked over all RIBs: twenty full IPv4 tables; at most 120 octets each.
pub const MAX_ROUTES: usize = 20_000_000;

/// Handle of a RIB; never reused.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct RibId(pub u32);

/// Which copy of a stream of routes this is.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum RibKind {
    /// BGP packets: exact.
    Packets,
    /// BMP Adj-RIB-In, before and after policy.
    BmpPre,
    BmpPost,
    /// BMP Adj-RIB-Out.
    BmpOutPre,
    BmpOutPost,
    /// BMP Loc-RIB.
    BmpLoc,
    /// MRT BGP4MP: exact.
    Mrt,
}

impl RibKind {
    const COUNT: usize = 7;

    /// Whether every message is seen; BMP may collapse intermediate states.
    pub const fn is_exact(self) -> bool {
        matches!(self, RibKind::Packets | RibKind::Mrt)
    }

    /// The observer that fills it.
    pub const fn observer(self) -> Observer {
        match self {
            RibKind::Packets => Observer::Packets,
            RibKind::Mrt => Observer::Mrt,
            _ => Observer::Bmp,
        }
    }
}

/// What happened to a route.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum RouteChange {
    /// Announced for the first time.
    New,
    /// Announced after a withdrawal.
    Reannounced,
    /// Announced after its session was lost.
    Returned,
    /// First repetition inside a table transfer, unchanged.
    Refreshed,
    /// Announced again with the same attributes.
    Duplicate,
    /// Announced with other attributes.
    Changed,
    Withdrawn,
    /// Withdrawn, though it was not announced.
    Spurious,
}

/// A change of one route. `old` and `before` name sets only while the event is being observed.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct RouteDelta {
    pub slot: Slot,
    pub change: RouteChange,
    /// It is part of a table transfer.
    pub transfer: bool,
    /// Attributes before this event; `NONE` when it was not announced.
    pub old: AttrId,
    /// Attributes now; `NONE` when withdrawn.
    pub new: AttrId,
    /// Attributes before `old` (for a withdrawn route: those that were withdrawn).
    pub before: AttrId,
    /// When it changed before, in tenths of a second since the RIB's birth (see [`Rib::time`]).
    pub last: u32,
    /// Its hot record after this change plus one; 0 where there is none.
    pub hot: u32,
}

/// A change of a whole RIB.
#[derive(Clone, Debug)]
pub enum RibEvent {
    /// A table transfer began.
    TransferStarted { rib: RibId, why: Why },
    /// A table transfer is over.
    TransferDone { rib: RibId, transfer: Transfer },
    /// The session is lost, with so many routes. `since_epoch` is for [`Ribs::lost`]; `retained` when graceful restart keeps them.
    Lost {
        rib: RibId,
        routes: u32,
        since_epoch: u32,
        retained: bool,
    },
}

/// Changes of one event. All routes belong to one RIB.
#[derive(Clone, Debug, Default)]
pub struct RibDeltas {
    /// The RIB of `routes`.
    pub rib: Option<RibId>,
    pub routes: Vec<RouteDelta>,
    pub events: Vec<RibEvent>,
}

impl RibDeltas {
    /// Empties it, keeping buffers.
    pub fn clear(&mut self) {
        self.rib = None;
        self.routes.clear();
        self.events.clear();
    }

    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.events.is_empty()
    }
}

/// One RIB.
#[derive(Clone)]
pub struct Rib {
    pub session: SessionId,
    /// Which end of the session announces.
    pub sender: usize,
    pub kind: RibKind,
    /// When its first route was seen.
    pub born: Timestamp,
    /// Routes announced now.
    pub present: u32,
    /// Its begin was seen (Peer Up, OPEN, dump): a withdrawal of an unknown prefix is spurious, not unexplained.
    pub complete: bool,
    /// Totals since birth.
    pub announcements: u64,
    pub withdrawals: u64,
    pub duplicates: u64,
    /// Transfers so far.
    pub transfers: u32,
    transfer: Option<Transfer>,
    /// When the receiver asked for it last (ROUTE-REFRESH).
    asked: Option<Timestamp>,
    epoch: u32,
    valid_from: u32,
    table: Table,
}

impl Rib {
    /// The transfer in progress.
    pub fn transfer(&self) -> Option<&Transfer> {
        self.transfer.as_ref()
    }

    /// The key in a slot.
    pub fn nlri(&self, slot: Slot) -> Option<Nlri> {
        self.table.nlri(slot)
    }

    /// The prefix in a slot.
    pub fn prefix(&self, slot: Slot) -> Option<Prefix> {
        self.table.nlri(slot).map(|nlri| nlri.prefix)
    }

    /// The record in a slot.
    pub fn cold(&self, slot: Slot) -> Option<&Cold> {
        self.table.cold(slot)
    }

    /// Current attributes of a key.
    pub fn current(&self, cold: &Cold) -> AttrId {
        if cold.epoch >= self.valid_from {
            cold.attrs
        } else {
            AttrId::NONE
        }
    }

    /// A time in tenths of a second since birth.
    pub fn time(&self, tenths: u32) -> Timestamp {
        from_tenths(self.born, tenths)
    }

    /// When a record last changed.
    pub fn last_change(&self, cold: &Cold) -> Timestamp {
        from_tenths(self.born, cold.last)
    }

    /// When a record was first seen.
    pub fn first_seen(&self, cold: &Cold) -> Timestamp {
        from_tenths(self.born, cold.first)
    }

    /// All keys with their records.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, Nlri, &Cold)> {
        self.table.iter()
    }

    /// At most `most` records, from the `from`th on: a table is looked through in parts.
    pub fn part(&self, from: usize, most: usize) -> impl Iterator<Item = (Slot, &Cold)> {
        self.table.part(from, most)
    }

    /// Keys ever seen.
    pub fn known(&self) -> usize {
        self.table.len()
    }
}

const TENTH: i64 = 100_000_000;

fn tenths(born: Timestamp, at: Timestamp) -> u32 {
    u32::try_from(at.minus(born).max(0) / TENTH).unwrap_or(u32::MAX)
}

fn from_tenths(born: Timestamp, tenths: u32) -> Timestamp {
    Timestamp(born.0.saturating_add(i64::from(tenths) * TENTH))
}

/// The RIBs.
#[derive(Clone, Default)]
pub struct Ribs {
    ribs: Vec<Rib>,
    /// By session: [`RibKind::COUNT`] for each end; `u32::MAX` where there is none.
    by_session: Vec<[u32; RibKind::COUNT * 2]>,
    attributes: AttributeStore,
    hasher: foldhash::fast::RandomState,
    hot: HotStore,
    routes: usize,
    /// See [`Ribs::is_internet`].
    internet: bool,
    /// Public AS numbers whose updates MRT recorded, until there are [`COLLECTOR_PEERS`].
    recorded_peers: BTreeSet<u32>,
    ends: BTreeSet<(Timestamp, RibId)>,
    /// Routes not tracked because the tables are full.
    pub refused: u64,
}

/// Distinct attribute sets from which on routes come from the Internet, whether its table or only its updates are seen: an operator's
/// own routes share few paths and communities (the 360 prefixes of our labs come with under 20 sets), five minutes of RIS updates bring
/// tens of thousands, a full table more.
const INTERNET_SETS: usize = 4_096;
/// Updates of so many public neighbor ASes in MRT records were recorded by a route collector or at an exchange: RIS's and RouteViews'
/// smallest have a dozen; a router with three public neighbors sees the Internet too.
const COLLECTOR_PEERS: usize = 3;

impl Ribs {
    /// A RIB by its handle.
    pub fn get(&self, id: RibId) -> Option<&Rib> {
        self.ribs.get(id.0 as usize)
    }

    /// All RIBs in the order in which they were first seen.
    pub fn iter(&self) -> impl Iterator<Item = (RibId, &Rib)> {
        self.ribs
            .iter()
            .enumerate()
            .map(|(at, rib)| (RibId(at as u32), rib))
    }

    /// The RIBs of a session.
    pub fn of_session(&self, id: SessionId) -> impl Iterator<Item = (RibId, &Rib)> {
        let slots = self
            .by_session
            .get(id.0 as usize)
            .copied()
            .unwrap_or([u32::MAX; RibKind::COUNT * 2]);
        slots
            .into_iter()
            .filter_map(|at| Some((RibId(at), self.ribs.get(at as usize)?)))
    }

    /// Whether what was received is (a good part of) the Internet's table. Once said it stays said.
    pub fn is_internet(&self) -> bool {
        self.internet
    }

    /// Attributes by id.
    pub fn attributes(&self, id: AttrId) -> Option<&Attributes> {
        self.attributes.get(id)
    }

    /// The digest of attributes by id.
    pub fn digest(&self, id: AttrId) -> Option<&Digest> {
        self.attributes.digest(id)
    }

    /// The hot record that a delta names.
    pub fn hot(&self, delta: &RouteDelta) -> Option<&Hot> {
        self.hot.get(delta.hot.checked_sub(1)?)
    }

    /// All hot records and the damping profiles of their penalties.
    pub fn hot_records(&self) -> &HotStore {
        &self.hot
    }

    /// Damps (in observe mode) as these profiles do; penalties of what was seen before are kept as they are.
    pub fn set_damping(&mut self, profiles: [damping::Profile; damping::PROFILES]) {
        self.hot.set_profiles(profiles);
    }

    /// What differs between two sets; nothing when one is unknown.
    pub fn differences(&self, a: AttrId, b: AttrId) -> What {
        match (self.attributes.digest(a), self.attributes.digest(b)) {
            (Some(a), Some(b)) => a.differences(b),
            _ => What::default(),
        }
    }

    /// Current attributes of an exact key in a RIB.
    pub fn lookup(&self, rib: RibId, nlri: &Nlri) -> Option<(Slot, AttrId)> {
        let rib = self.get(rib)?;
        let slot = rib.table.find(nlri, &self.hasher)?;
        Some((slot, rib.current(rib.table.cold(slot)?)))
    }

    /// Prefixes that a RIB lost with its session (see [`RibEvent::Lost`]).
    pub fn lost(&self, id: RibId, since_epoch: u32) -> impl Iterator<Item = Prefix> {
        let rib = self.get(id);
        rib.into_iter().flat_map(move |rib| {
            rib.table
                .iter()
                .filter(move |(_, nlri, cold)| {
                    cold.attrs.is_some()
                        && cold.epoch >= since_epoch
                        && cold.epoch < rib.valid_from
                        && nlri.is_prefix()
                })
                .map(|(_, nlri, _)| nlri.prefix)
        })
    }

    /// Routes tracked.
    pub fn len(&self) -> usize {
        self.routes
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.routes == 0
    }

    /// Applies an event after the sessions have.
    pub fn apply(
        &mut self,
        event: &Event,
        sessions: &Sessions,
        session_deltas: &[SessionDelta],
        out: &mut RibDeltas,
    ) {
        self.internet |= self.attributes.len() >= INTERNET_SETS || self.attributes.is_public();
        self.sweep();
        for delta in session_deltas {
            self.session_change(event, sessions, delta, out);
        }
        let Some(current) = sessions.current() else {
            return;
        };
        match &event.kind {
            EventKind::Bgp(bgp) => {
                let kind = if current.observer == Observer::Mrt {
                    RibKind::Mrt
                } else {
                    RibKind::Packets
                };
                match &bgp.message {
                    BgpMessage::Update(update) => {
                        self.update(event.at, sessions, current, kind, update, out)
                    }
                    BgpMessage::TableEntry(update) => {
                        if let Some(id) = self.rib(event.at, sessions, current, kind) {
                            if self.ribs[id.0 as usize].transfer.is_none() {
                                self.start(id, Why::Dump, event.at, out);
                            }
                            self.announce_all(event.at, id, update, &update.attributes, out);
                        }
                    }
                    BgpMessage::RouteRefresh { subtype, .. } => {
                        self.refresh(event.at, sessions, current, kind, *subtype, out)
                    }
                    _ => {}
                }
            }
            EventKind::Bmp(bmp) => {
                let Some(peer) = &bmp.peer else { return };
                match &bmp.message {
                    BmpMessage::RouteMonitoring(update) => {
                        let kind = match peer.rib {
                            BmpRib::AdjInPre => RibKind::BmpPre,
                            BmpRib::AdjInPost => RibKind::BmpPost,
                            BmpRib::AdjOutPre => RibKind::BmpOutPre,
                            BmpRib::AdjOutPost => RibKind::BmpOutPost,
                            BmpRib::Loc | BmpRib::LocFiltered => RibKind::BmpLoc,
                        };
                        self.update(event.at, sessions, current, kind, update, out);
                    }
                    BmpMessage::PeerUp { .. } => {
                        for id in self.reported(current, peer.rib) {
                            // Mid-life this is a feed that repeats itself; otherwise the session's own table.
                            let rib = &self.ribs[id.0 as usize];
                            let why = if rib.present > 0 || rib.kind == RibKind::BmpLoc {
                                Why::Feed
                            } else {
                                Why::SessionUp
                            };
                            self.start(id, why, event.at, out);
                        }
                    }
                    BmpMessage::PeerDown { .. } => {
                        for id in self.reported(current, peer.rib) {
                            self.lose(id, false, out);
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// Earliest deadline: the end of a transfer.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// Fires deadlines.
    pub fn expire(&mut self, now: Timestamp, out: &mut RibDeltas) {
        while let Some((at, id)) = self.ends.first().copied().filter(|(at, _)| *at <= now) {
            self.ends.remove(&(at, id));
            let Some(rib) = self.ribs.get_mut(id.0 as usize) else {
                continue;
            };
            let Some(transfer) = &mut rib.transfer else {
                continue;
            };
            let end = transfer.end();
            if end > now {
                self.ends.insert((end, id));
                continue;
            }
            let transfer = transfer.clone();
            rib.transfer = None;
            rib.complete = true;
            if transfer.why.replaces() {
                // What was not repeated is gone.
                rib.valid_from = rib.epoch;
                let (from, table) = (rib.valid_from, &rib.table);
                rib.present = table
                    .iter()
                    .filter(|(_, _, c)| c.attrs.is_some() && c.epoch >= from)
                    .count() as u32;
            }
            out.events
                .push(RibEvent::TransferDone { rib: id, transfer });
        }
    }

    fn session_change(
        &mut self,
        event: &Event,
        sessions: &Sessions,
        delta: &SessionDelta,
        out: &mut RibDeltas,
    ) {
        match delta {
            SessionDelta::Up { id, observer } if *observer != Observer::Bmp => {
                for rib in self.ids(*id, *observer) {
                    self.start(rib, Why::SessionUp, event.at, out);
                }
            }
            SessionDelta::Down { id, cause, .. } => {
                let Some(session) = sessions.get(*id) else {
                    return;
                };
                for (rib, sender) in self
                    .of_session(*id)
                    .map(|(rib, r)| (rib, r.sender))
                    .collect::<Vec<_>>()
                {
                    let retained = keeps_routes(session, sender, cause);
                    self.lose(rib, retained, out);
                }
            }
            _ => {}
        }
    }

    fn ids(&self, session: SessionId, observer: Observer) -> Vec<RibId> {
        self.of_session(session)
            .filter(|(_, rib)| rib.kind.observer() == observer && rib.kind != RibKind::BmpLoc)
            .map(|(id, _)| id)
            .collect()
    }

    /// The RIBs that the router tells which reports the event at hand. The other end of the session may be a BMP router too; what it told stays.
    fn reported(&self, current: Current, header: BmpRib) -> Vec<RibId> {
        let peer = match header {
            BmpRib::AdjOutPre | BmpRib::AdjOutPost => 1 - (current.sender & 1),
            _ => current.sender & 1,
        };
        self.of_session(current.session)
            .filter(|(_, rib)| match rib.kind {
                RibKind::BmpPre | RibKind::BmpPost => rib.sender == peer,
                RibKind::BmpOutPre | RibKind::BmpOutPost => rib.sender != peer,
                RibKind::BmpLoc => matches!(header, BmpRib::Loc | BmpRib::LocFiltered),
                _ => false,
            })
            .map(|(id, _)| id)
            .collect()
    }

    fn lose(&mut self, id: RibId, retained: bool, out: &mut RibDeltas) {
        let Some(rib) = self.ribs.get_mut(id.0 as usize) else {
            return;
        };
        if let Some(transfer) = rib.transfer.take() {
            self.ends.remove(&(transfer.end(), id));
        }
        let since_epoch = rib.valid_from;
        let routes = std::mem::take(&mut rib.present);
        rib.epoch = rib.epoch.saturating_add(1);
        rib.valid_from = rib.epoch;
        if routes > 0 {
            out.events.push(RibEvent::Lost {
                rib: id,
                routes,
                since_epoch,
                retained,
            });
        }
    }

    fn start(&mut self, id: RibId, why: Why, at: Timestamp, out: &mut RibDeltas) {
        let Some(rib) = self.ribs.get_mut(id.0 as usize) else {
            return;
        };
        if let Some(running) = &rib.transfer {
            self.ends.remove(&(running.end(), id));
        }
        rib.epoch = rib.epoch.saturating_add(1);
        rib.transfers = rib.transfers.saturating_add(1);
        let transfer = Transfer::new(why, at);
        self.ends.insert((transfer.end(), id));
        rib.transfer = Some(transfer);
        out.events.push(RibEvent::TransferStarted { rib: id, why });
    }

    fn refresh(
        &mut self,
        at: Timestamp,
        sessions: &Sessions,
        current: Current,
        kind: RibKind,
        subtype: u8,
        out: &mut RibDeltas,
    ) {
        // RFC 2918: a request makes the other end send; RFC 7313: the sender marks begin (1) and end (2).
        let sender = if subtype == 0 {
            1 - current.sender
        } else {
            current.sender
        };
        let Some(id) = self.existing(current.session, sender, kind) else {
            return;
        };
        let Some(rib) = self.ribs.get_mut(id.0 as usize) else {
            return;
        };
        // Marks alone prove no request where the receiver's side is watched: a sender that repeats its table unasked sets them too (BIRD's
        // `reload out`).
        let watched = kind == RibKind::Packets
            && sessions
                .get(current.session)
                .is_some_and(|session| session.ends[1 - sender].last_message.is_some());
        let asked = rib
            .asked
            .is_some_and(|asked| at.since(asked) <= transfer::ANSWERED_WITHIN);
        match subtype {
            0 | 1 => {
                if subtype == 0 {
                    rib.asked = Some(at);
                } else if watched && !asked {
                    return;
                }
                if rib.transfer.is_none() {
                    self.start(id, Why::Refresh, at, out);
                }
            }
            2 => self.end_of_rib(id),
            _ => {}
        }
    }

    fn end_of_rib(&mut self, id: RibId) {
        let Some(transfer) = self
            .ribs
            .get_mut(id.0 as usize)
            .and_then(|rib| rib.transfer.as_mut())
        else {
            return;
        };
        self.ends.remove(&(transfer.end(), id));
        transfer.end_of_rib = true;
        self.ends.insert((transfer.end(), id));
    }

    fn existing(&self, session: SessionId, sender: usize, kind: RibKind) -> Option<RibId> {
        let at = *self
            .by_session
            .get(session.0 as usize)?
            .get(sender * RibKind::COUNT + kind as usize)?;
        (at != u32::MAX).then_some(RibId(at))
    }

    /// The RIB of the event at hand, made when there is none.
    fn rib(
        &mut self,
        at: Timestamp,
        sessions: &Sessions,
        current: Current,
        kind: RibKind,
    ) -> Option<RibId> {
        if let Some(id) = self.existing(current.session, current.sender, kind) {
            return Some(id);
        }
        let session = sessions.get(current.session)?;
        let index = current.session.0 as usize;
        if self.by_session.len() <= index {
            self.by_session
                .resize(index + 1, [u32::MAX; RibKind::COUNT * 2]);
        }
        if kind == RibKind::Mrt && !self.internet {
            let (from, to) = (
                session.ends[current.sender & 1].asn,
                session.ends[1 - (current.sender & 1)].asn,
            );
            if from != to && attributes::is_public(from) {
                self.recorded_peers.insert(from);
            }
            self.internet = self.recorded_peers.len() >= COLLECTOR_PEERS;
        }
        let id = RibId(self.ribs.len() as u32);
        *self
            .by_session
            .get_mut(index)?
            .get_mut(current.sender * RibKind::COUNT + kind as usize)? = id.0;
        self.ribs.push(Rib {
            session: current.session,
            sender: current.sender,
            kind,
            born: at,
            present: 0,
            complete: false,
            announcements: 0,
            withdrawals: 0,
            duplicates: 0,
            transfers: 0,
            asked: None,
            transfer: None,
            epoch: 1,
            valid_from: 1,
            table: Table::default(),
        });
        // A session that was seen to come up sends its table first, and so does a new feed. One that was up before we looked does not.
        let came_up = session.ups > 0
            && session
                .up_since
                .is_some_and(|up| at.since(up) <= transfer::QUIET);
        let why = match (came_up, current.fresh_feed) {
            // No session came up: the router tells what is in its own table.
            (true, _) if session.is_table => Some(Why::Feed),
            (true, _) => Some(Why::SessionUp),
            (false, true) => Some(Why::Feed),
            (false, false) => None,
        };
        if let Some(why) = why {
            let rib = &mut self.ribs[id.0 as usize];
            rib.epoch += 1;
            rib.complete = true;
            rib.transfers = 1;
            let transfer = Transfer::new(why, at);
            self.ends.insert((transfer.end(), id));
            rib.transfer = Some(transfer);
        }
        Some(id)
    }
}

/// Whether graceful restart (RFC 4724, RFC 8538) makes the receiver keep the routes of a lost sender.
pub fn keeps_routes(session: &Session, sender: usize, cause: &DownCause) -> bool {
    let gr = |end: usize| {
        session.ends[end]
            .open
            .as_ref()
            .and_then(|open| open.graceful_restart.as_ref())
    };
    let (Some(own), Some(other)) = (gr(sender), gr(1 - sender)) else {
        return false;
    };
    if own.families.is_empty() {
        return false; // helper only: its own routes are not kept
    }
    match cause {
        DownCause::Tcp { .. } | DownCause::Superseded => true,
        DownCause::Silence { .. } => own.notification && other.notification,
        DownCause::Notification { notification, .. } => {
            own.notification && other.notification && notification.inner.is_none()
        }
        DownCause::Bmp { .. } | DownCause::StateChange { .. } => false,
    }
}

#[cfg(test)]
mod tests;
