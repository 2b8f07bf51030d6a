//! Whole tables: mass withdrawals, duplicate storms, surges, and transfers.

mod mass;
mod repeats;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::detect::session::present;
use crate::detect::{Board, Fidelity, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::{Locator, Prefix, Timestamp};
use crate::state::NetState;
use crate::state::rib::transfer::Why;
use crate::state::rib::{RibEvent, RibId, RibKind, RouteChange, RouteDelta};

use super::Scene;

/// D5: duplicates within the window that make a storm, and their share of all announcements.
const DUPLICATES: u32 = 100;
const DUPLICATE_SHARE: u32 = 30;
const DUPLICATE_WINDOW: Duration = Duration::from_secs(300);
/// A storm without whole re-sends must last: a single burst has an innocent cause.
const STORM_LASTS: Duration = Duration::from_secs(60);
/// Unsolicited re-sends of the table that are no accident (design §6).
const RESENDS: u32 = 3;
/// A burst of duplicates ends with this much quiet.
const BURST_GAP: Duration = Duration::from_millis(500);
/// Smallest burst that counts as a re-send of the table, and its share of the table.
const RESEND_LEAST: u32 = 20;
const RESEND_SHARE: u32 = 2;
/// New prefixes within a minute that are a surge: at least this many, and half of what was there.
const SURGE: u32 = 1000;
const SURGE_WINDOW: Duration = Duration::from_secs(60);
/// Transfers this close are one: all sessions of a router that starts, all peers of a BMP feed.
const TRANSFERS_TOGETHER: Duration = Duration::from_secs(10);
/// RIBs watched: sessions times directions times copies.
const MAX_RIBS: usize = 65_536;
/// Peers named in one finding.
const MAX_PEERS: usize = 16;

#[derive(Clone, Default)]
struct Storm {
    since: Option<Timestamp>,
    announced: u32,
    duplicates: u32,
    first: Option<(Timestamp, Locator)>,
    burst: u32,
    burst_began: Option<(Timestamp, Locator)>,
    burst_last: Option<Timestamp>,
    burst_counted: bool,
    resends: Vec<(Timestamp, Locator)>,
    key: Option<FindingKey>,
}

#[derive(Clone, Default)]
struct Table {
    storm: Storm,
    repeats: repeats::Repeats,
    mass: mass::Window,
    surge_since: Option<Timestamp>,
    surge_new: u32,
    surge_base: u32,
    surge: Option<FindingKey>,
    /// First and last frame of the running transfer.
    transfer: Option<(Locator, Locator)>,
}

#[derive(Clone)]
struct TransferGroup {
    key: FindingKey,
    last: Timestamp,
}

/// `prefix.mass-withdrawal`, `prefix.duplicate-updates`, `prefix.surge`, `prefix.table-transfer`.
#[derive(Clone, Default)]
pub(super) struct Peers {
    /// By RIB: its handle is an index.
    tables: Vec<Table>,
    transfers: BTreeMap<Why, TransferGroup>,
    mass: mass::Masses,
}

impl Peers {
    /// Whether a withdrawal of this RIB is part of a mass withdrawal, which tells about it already.
    pub fn in_mass(&self, id: RibId, now: Timestamp) -> bool {
        self.mass.covers(id, now)
    }

    /// Takes back mass withdrawals of small tables whose prefixes flap.
    pub fn give_way(
        &mut self,
        scene: &Scene<'_>,
        flaps: impl Fn(&Prefix) -> bool,
        board: &mut Board,
    ) {
        self.mass.give_way(scene, flaps, board);
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.mass.next_deadline()
    }

    pub fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        self.mass.expire(now, net, board);
    }

    pub fn finish(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        self.mass.flush(now, net, board);
    }

    /// Looks at one UPDATE's deltas.
    pub fn updates(&mut self, scene: &Scene<'_>, deltas: &[RouteDelta], board: &mut Board) {
        let at = scene.id.0 as usize;
        if at >= MAX_RIBS {
            return;
        }
        if at >= self.tables.len() {
            self.tables.resize_with(at + 1, Table::default);
        }
        let table = &mut self.tables[at];
        let (mut withdrawn, mut duplicates, mut announced, mut new, mut transfer) =
            (0u32, 0u32, 0u32, 0u32, false);
        for delta in deltas {
            match delta.change {
                RouteChange::Withdrawn => withdrawn += 1,
                RouteChange::Spurious => {}
                change => {
                    announced += 1;
                    transfer |= delta.transfer;
                    duplicates += u32::from(change == RouteChange::Duplicate);
                    new += u32::from(change == RouteChange::New && !delta.transfer);
                }
            }
        }
        if transfer {
            let here = scene.event.locator;
            table.transfer = Some((table.transfer.map_or(here, |(first, _)| first), here));
        }
        if withdrawn > 0 {
            self.mass
                .withdrawn(&mut table.mass, scene, deltas, withdrawn, board);
        }
        if announced > 0 {
            self.mass.announced(scene, deltas);
            // BMP repeats what it likes: only packets and MRT show what a speaker really sends.
            if scene.rib.kind.is_exact() {
                table.storm.announced(scene, announced, duplicates, board);
                table.repeats.update(scene, deltas, duplicates, board);
            }
            if new > 0 && scene.rib.complete {
                table.surged(scene, new, board);
            }
        }
    }

    pub fn rib_event(&mut self, event: &RibEvent, net: &NetState, board: &mut Board) {
        match event {
            RibEvent::TransferDone { rib, transfer } => {
                let frames = self
                    .tables
                    .get_mut(rib.0 as usize)
                    .and_then(|table| table.transfer.take());
                if transfer.prefixes == 0 {
                    return;
                }
                let Some(of) = net.rib.get(*rib) else { return };
                let Some(session) = net.sessions.get(of.session) else {
                    return;
                };
                let sender = session.ends[of.sender].addr;
                let known = self
                    .transfers
                    .get_mut(&transfer.why)
                    .filter(|group| transfer.started.since(group.last) <= TRANSFERS_TOGETHER);
                let key = match known {
                    Some(group) => {
                        group.last = group.last.max(transfer.last);
                        group.key
                    }
                    None => {
                        let finding = Finding::at(
                            Kind::PrefixTableTransfer,
                            Severity::Info,
                            Subject::Peer(sender, None),
                            transfer.started,
                        );
                        let key = board.raise(finding);
                        self.transfers.insert(
                            transfer.why,
                            TransferGroup {
                                key,
                                last: transfer.last,
                            },
                        );
                        key
                    }
                };
                let prefixes = present(&net.rib, *rib);
                board.update(key, |finding| {
                    finding.first = finding.first.min(transfer.started);
                    finding.last = finding.last.max(transfer.last);
                    if finding.subjects.len() < MAX_PEERS {
                        finding.also(Subject::Peer(sender, None));
                        finding.touch(Touch::Peer(sender));
                        finding.touch(Touch::Peer(session.ends[1 - of.sender].addr));
                    }
                    if let Some((first, last)) = frames {
                        finding.evidence.add(first);
                        finding.evidence.add(last);
                    }
                    finding.fidelity = if finding.evidence.total > 0 {
                        Fidelity::Exact
                    } else {
                        Fidelity::Inferred
                    };
                    prefixes
                        .into_iter()
                        .for_each(|prefix| finding.affected.prefix(prefix));
                    finding.ended = Some(finding.last);
                    finding.explain = format!(
                        "{} sent {} in {:.1} s because {}",
                        plural(finding.subjects.len(), "peer"),
                        match finding.affected.prefixes.len() as u64
                            + finding.affected.more_prefixes
                        {
                            1 => "1 prefix".to_owned(),
                            n => format!("{n} prefixes"),
                        },
                        finding.last.since(finding.first).as_secs_f64(),
                        transfer.why.describe()
                    );
                });
            }
            RibEvent::TransferStarted { rib, .. } => {
                if let Some(table) = self.tables.get_mut(rib.0 as usize) {
                    table.transfer = None;
                }
            }
            RibEvent::Lost { rib, .. } => {
                if let Some(table) = self.tables.get_mut(rib.0 as usize) {
                    table.storm.forget();
                    table.mass = mass::Window::default();
                }
            }
        }
    }
}

fn plural(n: usize, what: &str) -> String {
    if n == 1 {
        format!("1 {what}")
    } else {
        format!("{n} {what}s")
    }
}

/// A finding about a sender's table.
fn about(kind: Kind, scene: &Scene<'_>, at: Timestamp) -> Finding {
    let mut finding = Finding::at(
        kind,
        Severity::Warning,
        Subject::Peer(scene.sender, None),
        at,
    );
    finding.touch(Touch::Peer(scene.sender));
    finding.touch(Touch::Peer(scene.receiver));
    if let Some(session) = scene.net.sessions.get(scene.rib.session) {
        let sender = &session.ends[scene.rib.sender];
        if sender.asn != 0 {
            finding.touch(Touch::As(sender.asn));
        }
    }
    finding.fidelity = if scene.rib.kind.is_exact() {
        Fidelity::Exact
    } else {
        Fidelity::Compressed
    };
    finding.advice = vec![format!(
        "vtysh -c 'show bgp neighbors {} routes'",
        scene.sender
    )];
    finding
}

impl Storm {
    fn forget(&mut self) {
        let key = self.key;
        *self = Storm {
            key,
            ..Storm::default()
        };
    }

    fn announced(&mut self, scene: &Scene<'_>, announced: u32, duplicates: u32, board: &mut Board) {
        let (now, here) = (scene.event.at, scene.event.locator);
        if self
            .since
            .is_none_or(|since| now.since(since) > DUPLICATE_WINDOW)
        {
            let key = self.key;
            *self = Storm {
                since: Some(now),
                key,
                ..Storm::default()
            };
        }
        self.announced = self.announced.saturating_add(announced);
        if duplicates == 0 {
            return;
        }
        self.first.get_or_insert((now, here));
        self.duplicates = self.duplicates.saturating_add(duplicates);
        if self
            .burst_last
            .is_none_or(|last| now.since(last) > BURST_GAP)
        {
            self.burst = 0;
            self.burst_counted = false;
            self.burst_began = Some((now, here));
        }
        self.burst_last = Some(now);
        self.burst = self.burst.saturating_add(duplicates);
        let whole = RESEND_LEAST.max(scene.rib.present / RESEND_SHARE);
        if self.burst >= whole && !self.burst_counted {
            self.burst_counted = true;
            self.resends.extend(self.burst_began);
            self.tell(scene, board);
        } else if self.key.is_none() && self.duplicates > DUPLICATES {
            self.tell(scene, board);
        }
    }

    fn tell(&mut self, scene: &Scene<'_>, board: &mut Board) {
        let now = scene.event.at;
        if let Some(key) = self.key {
            if let Some((at, locator)) = self.resends.pop() {
                let n = self.duplicates;
                board.update(key, |finding| {
                    finding.again_at(at);
                    finding.evidence.add(locator);
                    finding.last = finding.last.max(now);
                    explain_storm(finding, scene, n);
                });
            }
            return;
        }
        let share = u64::from(self.duplicates) * 100
            >= u64::from(self.announced) * u64::from(DUPLICATE_SHARE);
        let lasts = self
            .first
            .is_some_and(|(first, _)| now.since(first) >= STORM_LASTS);
        let resent = self.resends.len() as u32 >= RESENDS;
        if !(resent || (self.duplicates > DUPLICATES && share && lasts)) {
            return;
        }
        let Some((first, locator)) = self.first else {
            return;
        };
        let mut finding = about(Kind::PrefixDuplicateUpdates, scene, first);
        finding.evidence.add(locator);
        // At a collector's peers up to 86 % are duplicates at busy times (Park et al., PAM 2010): the Internet's weather.
        if scene.net.rib.is_internet() && scene.rib.kind == RibKind::Mrt {
            finding.severity = Severity::Info;
        }
        if resent {
            finding.occurrences.clear();
            finding.count = 0;
            for (at, locator) in self.resends.drain(..) {
                finding.again_at(at);
                finding.evidence.add(locator);
            }
        }
        finding.support(scene.event);
        for prefix in present(&scene.net.rib, scene.id) {
            finding.affected.prefix(prefix);
        }
        explain_storm(&mut finding, scene, self.duplicates);
        self.key = Some(board.raise(finding));
    }
}

fn explain_storm(finding: &mut Finding, scene: &Scene<'_>, duplicates: u32) {
    let span = finding.last.since(finding.first).as_secs_f64();
    finding.explain = format!(
        "{} repeated announcements without any change: {duplicates} duplicates in {span:.1} s, its whole table {} times; nobody asked for a refresh",
        scene.sender, finding.count
    );
}

impl Table {
    fn surged(&mut self, scene: &Scene<'_>, new: u32, board: &mut Board) {
        let now = scene.event.at;
        if self
            .surge_since
            .is_none_or(|since| now.since(since) > SURGE_WINDOW)
        {
            self.surge_since = Some(now);
            self.surge_new = 0;
            self.surge_base = scene.rib.present.saturating_sub(new);
        }
        self.surge_new = self.surge_new.saturating_add(new);
        if self.surge_new < SURGE.max(self.surge_base / 2) || self.surge.is_some() {
            return;
        }
        let Some(since) = self.surge_since else {
            return;
        };
        let mut finding = about(Kind::PrefixSurge, scene, since);
        finding.support(scene.event);
        finding.explain = format!(
            "{} announced {} new prefixes in {:.0} s; before there were {}",
            scene.sender,
            self.surge_new,
            now.since(since).as_secs_f64(),
            self.surge_base
        );
        self.surge = Some(board.raise(finding));
    }
}

/// The prefixes of some deltas.
fn prefixes<'a>(
    scene: &'a Scene<'_>,
    deltas: &'a [RouteDelta],
    test: impl Fn(RouteChange) -> bool + 'a,
) -> impl Iterator<Item = Prefix> + 'a {
    deltas
        .iter()
        .filter(move |delta| test(delta.change))
        .filter_map(|delta| scene.rib.prefix(delta.slot))
}

/// An address as a subject and join key.
fn name_peer(finding: &mut Finding, addr: IpAddr) {
    if finding.subjects.len() < MAX_PEERS {
        finding.also(Subject::Peer(addr, None));
        finding.touch(Touch::Peer(addr));
    }
}
