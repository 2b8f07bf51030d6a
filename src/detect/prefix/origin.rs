//! Origin conflicts: a prefix that another AS begins to originate while the old origin still does; and more specific prefixes of
//! another origin that appear inside a known one.
//!
//! What several origins announced from the start (anycast) is no conflict, and an origin that the old one made room for is a move.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::Duration;

use hashbrown::HashTable;

use crate::detect::{
    Board, Fidelity, Finding, FindingKey, Kind, Settings, Severity, Subject, Touch,
};
use crate::event::netlink::is_routing_daemon;
use crate::event::{Event, Locator, Prefix, Timestamp};
use crate::state::NetState;
use crate::state::rib::attributes::{AttrId, What};
use crate::state::rib::{Rib, RouteChange, RouteDelta};
use crate::state::vrps::Rov;

use super::Scene;
use super::instance::Instance;
use super::moved::Moves;
use super::twice;
use super::weather::Weather;
use crate::detect::link::kernel::placed;
use crate::detect::rpki::state_of;

/// Prefixes whose origin is remembered: one and a half full tables of both families; 32 octets each.
const MAX_ORIGINS: usize = 2_000_000;
/// Findings of either kind; more conflicts at once are a table from another world.
const MAX_CONFLICTS: usize = 512;
/// D10: one peer's word is enough on one's own routers; on a collector with this many peers three must say so (BGPalerter's default).
const COLLECTOR_PEERS: usize = 6;
const COLLECTOR_WITNESSES: usize = 3;
/// Moves of host routes that are told from their origins alone.
const MAX_MOVED: usize = 4096;
/// Suspected conflicts that wait for witnesses.
const MAX_SUSPECTS: usize = 4096;
/// Shortest covering prefixes that are looked for: shorter ones are allocations, not routes.
const SHORTEST_V4: u8 = 8;
const SHORTEST_V6: u8 = 19;
/// C39: two hosts may overlap for so long while an ElasticIP moves from one to the other (make before break).
const MAKE_BEFORE_BREAK: Duration = Duration::from_secs(5);
/// What overlapped for no longer than this was a slow move.
const SLOW_MOVE: Duration = Duration::from_secs(30);
/// A drained site comes back within this: maintenance windows are hours.
const RETURNS: Duration = Duration::from_secs(4 * 3600);
/// RFC 7999 and common practice: a blackhole route is meant to be more specific.
const BLACKHOLE: u32 = 0xffff_029a;

#[derive(Copy, Clone)]
struct Known {
    prefix: Prefix,
    origin: u32,
    /// Several origins announced it from the start.
    anycast: bool,
    /// The speaker that is watched announces it itself.
    own: bool,
}

/// Whether more than [`COLLECTOR_PEERS`] sessions are seen message by message. Both ends of a session and its copies in packets and MRT are one.
fn is_collector(scene: &Scene<'_>) -> bool {
    let mut sessions = BTreeSet::new();
    scene
        .net
        .rib
        .iter()
        .filter(|(_, rib)| rib.kind.is_exact())
        .any(|(_, rib)| sessions.insert(rib.session) && sessions.len() > COLLECTOR_PEERS)
}

/// The AS that originates a route, and whether the watched speaker itself does: its path is empty then. FRR tells its own routes as those of a
/// peer without address and AS; the speaker's AS is what it said in its OPENs.
fn origin_of(net: &NetState, rib: &Rib, origin: u32) -> Option<(u32, bool)> {
    if origin != 0 {
        return Some((origin, false));
    }
    let session = net.sessions.get(rib.session)?;
    let sender = session.ends.get(rib.sender)?;
    if !sender.addr.is_unspecified() {
        return (sender.asn != 0).then_some((sender.asn, false));
    }
    let mut reporters = net
        .sessions
        .iter()
        .flat_map(|(_, session)| session.ends.iter())
        .filter(|end| end.reports && end.asn != 0)
        .map(|end| end.asn);
    let asn = reporters.next()?;
    // Two routers of different ASes report: whose route this is stays open.
    reporters.all(|other| other == asn).then_some((asn, true))
}

/// A conflict as it was first seen.
#[derive(Copy, Clone)]
struct Sight {
    at: Timestamp,
    locator: Locator,
    sender: IpAddr,
    exact: bool,
    old: u32,
    new: u32,
    /// See [`Origins::note_unseen`].
    returned: bool,
}

/// `prefix.origin-conflict`, `prefix.more-specific`.
#[derive(Clone)]
pub(super) struct Origins {
    index: HashTable<u32>,
    rows: Vec<Known>,
    hasher: foldhash::fast::RandomState,
    findings: BTreeMap<(Prefix, u32), FindingKey>,
    suspects: BTreeMap<(Prefix, u32), BTreeSet<IpAddr>>,
    /// See [`Origins::note_unseen`].
    unseen: BTreeMap<(crate::state::rib::RibId, Prefix), Timestamp>,
    /// Host routes whose change of origin was told as a move.
    moved: BTreeSet<Prefix>,
    /// Conflicts of host routes that may be moves under way.
    deferred: BTreeMap<(Timestamp, Prefix, u32), Sight>,
    own: Vec<Prefix>,
    own_as: Vec<u32>,
    weather: Weather,
    /// The table whose prefixes these are.
    pub instance: Instance,
}

impl Origins {
    pub fn new(settings: &Settings) -> Origins {
        Origins {
            index: HashTable::new(),
            rows: Vec::new(),
            hasher: foldhash::fast::RandomState::default(),
            findings: BTreeMap::new(),
            suspects: BTreeMap::new(),
            unseen: BTreeMap::new(),
            moved: BTreeSet::new(),
            deferred: BTreeMap::new(),
            own: settings.own_prefixes.clone(),
            own_as: settings.own_as.clone(),
            weather: Weather::new(settings),
            instance: Instance::GLOBAL,
        }
    }

    fn find(&self, prefix: &Prefix) -> Option<usize> {
        let rows = &self.rows;
        let hash = self.hasher.hash_one(prefix);
        self.index
            .find(hash, |at| {
                rows.get(*at as usize)
                    .is_some_and(|known| known.prefix == *prefix)
            })
            .map(|at| *at as usize)
    }

    /// Whether a conflict of this prefix was told.
    pub fn has_told(&self, prefix: &Prefix) -> bool {
        self.findings
            .range((*prefix, 0)..=(*prefix, u32::MAX))
            .next()
            .is_some()
    }

    pub fn route(
        &mut self,
        scene: &Scene<'_>,
        delta: &RouteDelta,
        moves: &Moves,
        board: &mut Board,
    ) {
        let news = match delta.change {
            RouteChange::New | RouteChange::Returned => true,
            RouteChange::Reannounced => scene
                .net
                .rib
                .differences(delta.before, delta.new)
                .has(What::ORIGIN_AS),
            RouteChange::Changed => scene
                .net
                .rib
                .differences(delta.old, delta.new)
                .has(What::ORIGIN_AS),
            RouteChange::Withdrawn => return self.withdrawn(scene, delta, board),
            _ => false,
        };
        if !news {
            return;
        }
        if delta.change == RouteChange::New && !delta.transfer {
            self.note_unseen(scene, delta);
        }
        let Some((origin, own)) = scene
            .net
            .rib
            .digest(delta.new)
            .and_then(|d| origin_of(scene.net, scene.rib, d.origin_as))
        else {
            return;
        };
        let Some(prefix) = scene.rib.prefix(delta.slot) else {
            return;
        };
        match self.find(&prefix) {
            None => {
                if !delta.transfer {
                    self.more_specific(scene, delta, prefix, origin, board);
                }
                if self.rows.len() < MAX_ORIGINS {
                    let at = self.rows.len() as u32;
                    self.rows.push(Known {
                        prefix,
                        origin,
                        anycast: false,
                        own,
                    });
                    let (rows, hasher) = (&self.rows, &self.hasher);
                    self.index.insert_unique(hasher.hash_one(prefix), at, |at| {
                        hasher.hash_one(rows[*at as usize].prefix)
                    });
                }
            }
            Some(at) => {
                let known = self.rows[at];
                if known.origin == origin || known.anycast {
                    return;
                }
                if delta.transfer {
                    // Two origins in what was there before we looked.
                    self.rows[at].anycast = true;
                    return;
                }
                if still_announced(scene.net, self.instance, prefix, known.origin) {
                    let unseen = self.unseen.get(&(scene.id, prefix));
                    let sight = Sight {
                        at: scene.event.at,
                        locator: scene.event.locator,
                        sender: scene.sender,
                        exact: scene.rib.kind.is_exact(),
                        old: known.origin,
                        new: origin,
                        returned: delta.change == RouteChange::Changed
                            && unseen.is_some_and(|at| scene.event.at.since(*at) <= RETURNS),
                    };
                    self.conflict(scene, prefix, sight, moves, board);
                } else {
                    self.rows[at].origin = origin;
                    if prefix.is_host() {
                        self.made_room(scene, prefix, (known.origin, origin), moves, board);
                    }
                }
            }
        }
    }

    /// Nobody announces the old origin any more, whether it withdrew or routers on the way chose the new one: a host route moved.
    fn made_room(
        &mut self,
        scene: &Scene<'_>,
        prefix: Prefix,
        (old, new): (u32, u32),
        moves: &Moves,
        board: &mut Board,
    ) {
        if let Some(key) = self.findings.get(&(prefix, new)).copied() {
            return board.update(key, |finding| slow_move(finding, scene.event));
        }
        let waited = |((_, of, by), sight): (&(Timestamp, Prefix, u32), &Sight)| {
            ((*of, *by) == (prefix, new)).then_some((sight.at, sight.locator))
        };
        let since = self.deferred.iter().find_map(waited);
        // The receiver's own AS at the end of a path that a peer sends it is its own route said back: nobody took it over.
        let receiver = scene
            .net
            .sessions
            .get(scene.rib.session)
            .map_or(0, |session| session.ends[1 - (scene.rib.sender & 1)].asn);
        if receiver != 0 && receiver == new {
            return;
        }
        if moves.has_moved(&prefix) || self.moved.len() >= MAX_MOVED || !self.moved.insert(prefix) {
            return;
        }
        let mut finding = Finding::at(
            Kind::PrefixMoved,
            Severity::Info,
            Subject::Prefix(prefix),
            since.map_or(scene.event.at, |(at, _)| at),
        );
        if let Some((_, locator)) = since {
            finding.evidence.add(locator);
        }
        finding.support(scene.event);
        finding.also(Subject::Origin(new));
        finding.also(Subject::Origin(old));
        for touch in [Touch::Prefix(prefix), Touch::Address(prefix.addr())] {
            finding.touch(touch);
        }
        finding.affected.prefix(prefix);
        finding.fidelity = match scene.rib.kind.is_exact() {
            true => Fidelity::Exact,
            false => Fidelity::Compressed,
        };
        finding.ended = Some(scene.event.at);
        finding.explain = format!(
            "{prefix} moved from AS{old} to AS{new}: no router that is seen has the old origin any more"
        );
        board.raise(finding);
    }

    /// How loud a conflict is: what RPKI authorises is planned, whatever it looks like; what it forbids, of the operator's own prefixes, is a
    /// hijack.
    fn loudness(
        &self,
        net: &NetState,
        prefix: Prefix,
        old: u32,
        new: u32,
        rov: [Option<Rov>; 2],
    ) -> Severity {
        let weather = self.weather.severity(net, prefix, old);
        let own = self.own.iter().any(|own| own.covers(&prefix));
        let ours = self.own_as.contains(&new);
        match rov {
            [Some(Rov::Valid), _] if !own || ours => Severity::Info,
            [Some(state), Some(Rov::Valid)] if state.is_invalid() && own && !ours => {
                Severity::Critical
            }
            _ => weather,
        }
    }

    /// A session that was up before we looked changes a route: what it was before nobody saw, and what comes after this change may be the same
    /// again (an anycast site that was drained and returns). Where the kernel's table is seen, it must have had the route over that session.
    fn note_unseen(&mut self, scene: &Scene<'_>, delta: &RouteDelta) {
        if scene.rib.complete || self.unseen.len() >= MAX_SUSPECTS {
            return;
        }
        let Some(prefix) = scene.rib.prefix(delta.slot) else {
            return;
        };
        let had = || {
            let (_, route) = scene.net.routes.best(prefix)?;
            let on_link = scene.net.addresses.interface_of(scene.sender);
            let mut hops = route.hops.iter();
            hops.any(|hop| {
                hop.gateway == Some(scene.sender) || hop.ifindex.is_some() && hop.ifindex == on_link
            })
            .then_some(())
        };
        if scene.net.routes.is_empty() || had().is_some() {
            self.unseen.insert((scene.id, prefix), scene.event.at);
        }
    }

    fn conflict(
        &mut self,
        scene: &Scene<'_>,
        prefix: Prefix,
        sight: Sight,
        moves: &Moves,
        board: &mut Board,
    ) {
        let (old, new) = (sight.old, sight.new);
        // The old origin's own update after a conflict is the same conflict.
        let told = self
            .findings
            .get(&(prefix, new))
            .or_else(|| self.findings.get(&(prefix, old)));
        if let Some(key) = told {
            board.update(*key, |finding| {
                finding.support(scene.event);
                finding.touch(Touch::Peer(scene.sender));
                if scene.rib.kind.is_exact() {
                    finding.fidelity = Fidelity::Exact;
                }
            });
            return;
        }
        let own = self.is_own(&prefix);
        if !own && is_link(&prefix) {
            return;
        }
        if !own && is_collector(scene) {
            if self.suspects.len() >= MAX_SUSPECTS && !self.suspects.contains_key(&(prefix, new)) {
                return;
            }
            let witnesses = self.suspects.entry((prefix, new)).or_default();
            witnesses.insert(scene.sender);
            if witnesses.len() < COLLECTOR_WITNESSES {
                return;
            }
            self.suspects.remove(&(prefix, new));
        }
        // An ElasticIP between hosts with ASes of their own: a move, until it lasts. What RPKI forbids needs no patience.
        let forbidden = state_of(scene.net, &prefix, new).is_some_and(Rov::is_invalid);
        if prefix.is_host() && !forbidden {
            // One that moved before between hosts that are seen is judged by its overlap alone.
            let judged =
                moves.has_moved(&prefix) && twice::between_hosts(scene.net, self.instance, prefix);
            if !judged && self.deferred.len() < MAX_SUSPECTS {
                let at = sight.at + MAKE_BEFORE_BREAK;
                let waits = self
                    .deferred
                    .keys()
                    .any(|(_, of, by)| (*of, *by) == (prefix, new));
                if !waits {
                    self.deferred.insert((at, prefix, new), sight);
                }
            }
            return;
        }
        self.tell(scene.net, prefix, sight, board);
    }

    fn is_own(&self, prefix: &Prefix) -> bool {
        self.own.iter().any(|own| own.covers(prefix))
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deferred.first_key_value().map(|((at, ..), _)| *at)
    }

    pub fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        while let Some(entry) = self.deferred.first_entry().filter(|e| e.key().0 <= now) {
            let (_, prefix, _) = *entry.key();
            let sight = entry.remove();
            let both = [sight.old, sight.new];
            if both
                .iter()
                .all(|origin| still_announced(net, self.instance, prefix, *origin))
            {
                self.tell(net, prefix, sight, board);
            }
        }
    }

    fn tell(&mut self, net: &NetState, prefix: Prefix, sight: Sight, board: &mut Board) {
        if self.findings.len() >= MAX_CONFLICTS {
            return;
        }
        let (old, new, sender) = (sight.old, sight.new, sight.sender);
        let own = self.is_own(&prefix);
        let rov = [new, old].map(|origin| state_of(net, &prefix, origin));
        let forbidden = rov[0].is_some_and(Rov::is_invalid);
        let returned = sight.returned && !forbidden;
        let severity = match self.loudness(net, prefix, old, new, rov) {
            Severity::Warning if returned && !own => Severity::Info,
            loud => loud,
        };
        let event = placed(sight.at, sight.locator);
        let mut finding = Finding::new(
            Kind::PrefixOriginConflict,
            severity,
            Subject::Prefix(prefix),
            &event,
        );
        finding.also(Subject::Origin(new));
        finding.also(Subject::Origin(old));
        finding.also(Subject::Peer(sender, None));
        finding.touch(Touch::Prefix(prefix));
        finding.touch(Touch::As(new));
        finding.touch(Touch::As(old));
        finding.touch(Touch::Peer(sender));
        finding.affected.prefix(prefix);
        finding.broken.subject = !returned;
        if returned {
            finding
                .explanations
                .push("anycast: the session was up before the watching began, and what it announced before its first change nobody saw".to_owned());
        }
        finding.fidelity = if sight.exact {
            Fidelity::Exact
        } else {
            Fidelity::Compressed
        };
        finding.explain = format!(
            "AS{new} announces {prefix} over {sender}, while AS{old}, which originated it before, still does{}",
            judgement(new, old, rov)
        );
        if rov == [Some(Rov::Valid), Some(Rov::Valid)] {
            let both = "RPKI authorises both origins".to_owned();
            finding.explanations.push(both);
        }
        finding.advice = vec![
            format!(
                "vtysh -c 'show bgp ipv{} unicast {prefix}'",
                if prefix.is_ipv6() { 6 } else { 4 }
            ),
            format!("whois -h whois.radb.net {prefix}"),
        ];
        self.findings.insert((prefix, new), board.raise(finding));
    }

    fn withdrawn(&mut self, scene: &Scene<'_>, delta: &RouteDelta, board: &mut Board) {
        if self.findings.is_empty() {
            return;
        }
        let Some(origin) = scene.net.rib.digest(delta.old).map(|d| d.origin_as) else {
            return;
        };
        let Some(prefix) = scene.rib.prefix(delta.slot) else {
            return;
        };
        if still_announced(scene.net, self.instance, prefix, origin) {
            return;
        }
        if let Some(key) = self.findings.get(&(prefix, origin)).copied() {
            board.update(key, |finding| over(finding, scene.event));
            return;
        }
        // The old origin made room after all. Its own withdrawal does not tell an old hijack from a new owner: only a host route moves so.
        let by_another = self
            .findings
            .range((prefix, 0)..=(prefix, u32::MAX))
            .next()
            .map(|((_, new), key)| (*new, *key))
            .filter(|(new, _)| {
                prefix.is_host() && still_announced(scene.net, self.instance, prefix, *new)
            });
        if let Some((new, key)) = by_another {
            if let Some(at) = self.find(&prefix) {
                self.rows[at].origin = new;
            }
            board.update(key, |finding| slow_move(finding, scene.event));
        }
    }

    fn more_specific(
        &mut self,
        scene: &Scene<'_>,
        delta: &RouteDelta,
        prefix: Prefix,
        origin: u32,
        board: &mut Board,
    ) {
        let shortest = if prefix.is_ipv6() {
            SHORTEST_V6
        } else {
            SHORTEST_V4
        };
        // Host routes inside somebody's prefix are ElasticIPs and blackholes.
        if prefix.is_host() || prefix.len() <= shortest || self.findings.len() >= MAX_CONFLICTS {
            return;
        }
        let covering = (shortest..prefix.len())
            .rev()
            .map(|len| Prefix::new(prefix.addr(), len))
            .find_map(|covering| self.find(&covering));
        // What a table whose begin was not seen announces may be as old as the table, unless it takes what is ours.
        let Some(covering) = covering
            .map(|at| self.rows[at])
            .filter(|c| c.origin != origin && !c.anycast && (scene.rib.complete || c.own))
        else {
            return;
        };
        let blackhole = scene
            .net
            .rib
            .attributes(delta.new)
            .is_some_and(|a| a.communities.contains(&BLACKHOLE));
        if blackhole {
            return;
        }
        let own = self.is_own(&prefix) || covering.own;
        let severity = if own {
            Severity::Warning
        } else {
            Severity::Info
        };
        let mut finding = Finding::new(
            Kind::PrefixMoreSpecific,
            severity,
            Subject::Prefix(prefix),
            scene.event,
        );
        finding.also(Subject::Origin(origin));
        finding.also(Subject::Peer(scene.sender, None));
        finding.touch(Touch::Prefix(prefix));
        finding.touch(Touch::As(origin));
        finding.touch(Touch::Peer(scene.sender));
        finding.affected.prefix(prefix);
        finding.broken.subject = own;
        finding.fidelity = if scene.rib.kind.is_exact() {
            Fidelity::Exact
        } else {
            Fidelity::Compressed
        };
        let state = state_of(scene.net, &prefix, origin);
        if own && state.is_some_and(Rov::is_invalid) {
            finding.severity = Severity::Critical;
        }
        finding.explain = format!(
            "AS{origin} announces {prefix}, a part of {}, which AS{} originates{}",
            covering.prefix,
            covering.origin,
            match state {
                Some(Rov::Valid) => "; RPKI authorises it",
                Some(Rov::NotFound) => "; no ROA covers it",
                Some(Rov::InvalidLength) => "; RPKI says that it is too long",
                Some(Rov::InvalidOrigin) =>
                    "; RPKI says that this AS may not: a hijack by every sign",
                None => "",
            }
        );
        self.findings.insert((prefix, origin), board.raise(finding));
    }
}

/// Whether the kernel has an address or a route of its own for what this host originates. FRR never takes back what it told a station of its own
/// routes.
fn is_here(net: &NetState, prefix: Prefix) -> bool {
    let route = || {
        let best = net.routes.best(prefix);
        best.is_some_and(|(_, route)| !is_routing_daemon(route.protocol))
    };
    prefix.is_host() && net.addresses.owner(prefix.addr()).is_some() || route()
}

/// Whether an origin is announced on any session now.
fn still_announced(net: &NetState, instance: Instance, prefix: Prefix, origin: u32) -> bool {
    let nlri = instance.key(prefix);
    instance.ribs(net).any(|(id, rib)| {
        let attrs = net
            .rib
            .lookup(id, &nlri)
            .map_or(AttrId::NONE, |(_, attrs)| attrs);
        net.rib.digest(attrs).is_some_and(|digest| {
            digest.origin_as == origin
                || digest.origin_as == 0
                    && origin_of(net, rib, 0)
                        .is_some_and(|(of, own)| of == origin && (!own || is_here(net, prefix)))
        })
    })
}

fn over(finding: &mut Finding, event: &Event) {
    finding.recovered(event.at);
    finding.ended = Some(event.at);
    finding.broken.subject = false;
}

/// The old origin made room for the new one after all.
fn slow_move(finding: &mut Finding, event: &Event) {
    let overlap = event.at.since(finding.first);
    over(finding, event);
    if overlap <= SLOW_MOVE {
        finding.severity = Severity::Info;
        finding.explanations.push(format!(
            "a move: the old origin withdrew it {:.0} s later",
            overlap.as_secs_f64()
        ));
    }
}

/// What RPKI says about two origins, in words; nothing without ROAs.
fn judgement(new: u32, old: u32, rov: [Option<Rov>; 2]) -> String {
    let [Some(now), Some(before)] = rov else {
        return String::new();
    };
    match (now, before) {
        (Rov::NotFound, Rov::NotFound) => "; no ROA covers it".to_owned(),
        (Rov::Valid, Rov::Valid) => "; RPKI authorises both".to_owned(),
        (Rov::Valid, _) => format!("; RPKI authorises AS{new} and not AS{old}"),
        (_, Rov::Valid) => format!("; RPKI authorises AS{old} only: a hijack by every sign"),
        _ => "; RPKI authorises neither".to_owned(),
    }
}

/// The size of a link between two routers: both ends redistribute what they are connected to, so two origins are normal. Seen in public
/// captures of plain eBGP adjacencies.
fn is_link(prefix: &Prefix) -> bool {
    /// Links between routers are /29 at most, or a /64 (which is no prefix that crosses operators' borders either).
    const LINK_V4: u8 = 29;
    const LINK_V6: u8 = 64;
    prefix.len() >= if prefix.is_ipv6() { LINK_V6 } else { LINK_V4 } && !prefix.is_host()
}
