//! Two hosts at once: a second host begins to announce a host route while the first one goes on. Packets for an ElasticIP then reach either of
//! them, as hashes fall.
//!
//! Load balancers share an address on purpose, and BGP cannot tell the two apart by looks. So what was shared from the start, came up together, or was
//! shared before is never told; loud is only what has shown that it belongs to one host (it moved before), or is declared own where nothing else is shared.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Scene;
use super::instance::Instance;
use super::speaker::Speaker;
use super::weather::Weather;
use crate::detect::link::kernel::placed;
use crate::detect::session::drain;
use crate::detect::{
    Board, Fidelity, Finding, FindingKey, Kind, Settings, Severity, Subject, Touch,
};
use crate::event::bounded::{Bounded, Worth};
use crate::event::{Locator, Prefix, Timestamp};
use crate::state::NetState;
use crate::state::rib::attributes::AttrId;
use crate::state::rib::{Rib, RibKind, RouteChange, RouteDelta};
use crate::state::sessions::{Session, State};

/// C39: an overlap longer than this is no make-before-break any more (5 s are usual, debounces and health checks add some).
const OVERLAP: Duration = Duration::from_secs(30);
/// Members of one roll-out announce a new address within this of each other: ten times MetalLB's and FRR's debounce of 3 s, and a rolling
/// restart's readiness probes.
const ROLL_OUT: Duration = Duration::from_secs(300);
/// Announcements waited for at once; in a storm beyond them nothing is asked.
const MAX_WAITING: usize = 8192;
/// Addresses known to be shared.
const MAX_SHARED: usize = 65_536;
/// Open findings.
const MAX_OPEN: usize = 256;
/// Host routes of the older host that are asked whether anybody shares them, and routes of it that are looked at for them.
const HABIT: usize = 256;
const LOOKED_AT: usize = 4096;

#[derive(Clone)]
struct Claim {
    host: Speaker,
    since: Timestamp,
    kind: RibKind,
    drained: bool,
}

#[derive(Clone)]
struct Sign {
    at: Timestamp,
    locator: Locator,
    host: Speaker,
}

/// `prefix.origin-conflict` of one host route that two hosts announce.
#[derive(Clone)]
pub(super) struct Twice {
    own: Vec<Prefix>,
    weather: Weather,
    checks: BTreeMap<(Timestamp, Prefix), Sign>,
    /// Addresses that nobody had before, by when they came up.
    born: Bounded<Prefix, Timestamp>,
    shared: BTreeSet<Prefix>,
    open: BTreeMap<Prefix, FindingKey>,
    /// The table whose prefixes these are.
    pub instance: Instance,
}

/// The host that originates what this sender announces, if it is the sender itself: its AS alone is in the path, or (inside one AS) none and
/// no reflector passed it on.
fn host_of(net: &NetState, session: &Session, rib: &Rib, attrs: AttrId) -> Option<Speaker> {
    let end = &session.ends[rib.sender & 1];
    let attributes = net.rib.attributes(attrs)?;
    let mut path = attributes
        .as_path
        .segments()
        .flat_map(|(_, numbers)| numbers);
    if !path.all(|asn| *asn == end.asn) {
        return None;
    }
    let mut host = Speaker::of(end);
    host.router_id = attributes.originator_id.unwrap_or(host.router_id);
    Some(host)
}

/// Who announces a host route as its own now.
fn claims(net: &NetState, instance: Instance, prefix: Prefix) -> Vec<Claim> {
    let nlri = instance.key(prefix);
    instance
        .ribs(net)
        .filter(|(_, rib)| matches!(rib.kind, RibKind::Packets | RibKind::BmpPre | RibKind::Mrt))
        .filter_map(|(id, rib)| {
            let session = net
                .sessions
                .get(rib.session)
                .filter(|s| s.feed.is_none() && s.state == State::Established)?;
            let (slot, attrs) = net.rib.lookup(id, &nlri).filter(|(_, a)| a.is_some())?;
            let cold = rib.cold(slot)?;
            Some(Claim {
                host: host_of(net, session, rib, attrs)?,
                since: rib.last_change(cold),
                kind: rib.kind,
                drained: drain::is_marked(net, attrs),
            })
        })
        .collect()
}

/// Whether both ends of an origin conflict are hosts beside their routers: what [`Twice`] judges by its overlap.
pub(super) fn between_hosts(net: &NetState, instance: Instance, prefix: Prefix) -> bool {
    let claims = claims(net, instance, prefix);
    let Some(first) = claims.first() else {
        return false;
    };
    prefix.is_host() && claims.iter().any(|claim| !claim.host.is(&first.host))
}

impl Twice {
    pub fn new(settings: &Settings) -> Twice {
        Twice {
            own: settings.own_prefixes.clone(),
            weather: Weather::new(settings),
            checks: BTreeMap::new(),
            born: Bounded::new(MAX_WAITING),
            shared: BTreeSet::new(),
            open: BTreeMap::new(),
            instance: Instance::GLOBAL,
        }
    }

    pub fn route(&mut self, scene: &Scene<'_>, delta: &RouteDelta, board: &mut Board) {
        let fresh = match delta.change {
            RouteChange::Withdrawn => false,
            RouteChange::New | RouteChange::Reannounced if !delta.transfer => true,
            _ => return,
        };
        if fresh && self.checks.len() >= MAX_WAITING {
            return;
        }
        let Some(prefix) = scene.rib.prefix(delta.slot).filter(Prefix::is_host) else {
            return;
        };
        let now = scene.event.at;
        if !fresh {
            return self.withdrawn(scene, prefix, delta.old, board);
        }
        let host = scene
            .net
            .sessions
            .get(scene.rib.session)
            .filter(|session| session.feed.is_none())
            .and_then(|session| host_of(scene.net, session, scene.rib, delta.new));
        let Some(host) = host else { return };
        if delta.change == RouteChange::New {
            let first = claims(scene.net, self.instance, prefix)
                .iter()
                .all(|c| c.host.is(&host));
            if first && self.born.get(&prefix).is_none() {
                let worth = |_: &Prefix, at: &Timestamp| match now.since(*at) <= ROLL_OUT {
                    true => Worth::Fresh,
                    false => Worth::Spent,
                };
                if let Some(born) = self.born.at(prefix, worth) {
                    *born = now;
                }
            }
        }
        self.checks
            .entry((now + OVERLAP, prefix))
            .or_insert_with(|| Sign {
                at: now,
                locator: scene.event.locator,
                host,
            });
    }

    /// One of two hosts is gone. What they both announced for long is shared, unless it was told as a fault.
    fn withdrawn(&mut self, scene: &Scene<'_>, prefix: Prefix, old: AttrId, board: &mut Board) {
        let now = scene.event.at;
        if let Some(key) = self.open.get(&prefix).copied() {
            if !between_hosts(scene.net, self.instance, prefix) {
                self.open.remove(&prefix);
                board.update(key, |finding| {
                    finding.support(scene.event);
                    finding.recovered(now);
                    finding.ended = Some(now);
                    finding.broken.subject = false;
                });
            }
            return;
        }
        let session = scene.net.sessions.get(scene.rib.session);
        let gone = session.and_then(|session| host_of(scene.net, session, scene.rib, old));
        let Some(gone) = gone.filter(|_| self.shared.len() < MAX_SHARED) else {
            return;
        };
        let since = scene
            .net
            .rib
            .lookup(scene.id, &self.instance.key(prefix))
            .and_then(|(slot, _)| scene.rib.cold(slot))
            .map(|cold| scene.rib.first_seen(cold));
        let overlapped = claims(scene.net, self.instance, prefix)
            .iter()
            .any(|claim| {
                !claim.host.is(&gone)
                    && now.since(claim.since) > OVERLAP
                    && since.is_some_and(|since| now.since(since) > OVERLAP)
            });
        if overlapped {
            self.shared.insert(prefix);
        }
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.checks.first_key_value().map(|((at, _), _)| *at)
    }

    /// `known`: whether an address was seen to change hosts; nothing where its conflict is told already.
    pub fn expire(
        &mut self,
        now: Timestamp,
        net: &NetState,
        known: impl Fn(&Prefix) -> Option<bool>,
        board: &mut Board,
    ) {
        while let Some(entry) = self.checks.first_entry().filter(|e| e.key().0 <= now) {
            let (_, prefix) = *entry.key();
            let sign = entry.remove();
            if let Some(moved) = known(&prefix) {
                self.judge(prefix, &sign, moved, net, board);
            }
        }
    }

    fn judge(
        &mut self,
        prefix: Prefix,
        sign: &Sign,
        moved: bool,
        net: &NetState,
        board: &mut Board,
    ) {
        if self.open.contains_key(&prefix) || self.open.len() >= MAX_OPEN {
            return;
        }
        let claims = claims(net, self.instance, prefix);
        let stays = claims.iter().any(|claim| claim.host.is(&sign.host));
        let mut others: Vec<&Claim> = Vec::new();
        for claim in claims.iter().filter(|c| !c.host.is(&sign.host)) {
            if !others.iter().any(|known| known.host.is(&claim.host)) {
                others.push(claim);
            }
        }
        let [older] = others[..] else {
            // Nobody else; or so many that it is shared.
            if others.len() > 1 && self.shared.len() < MAX_SHARED {
                self.shared.insert(prefix);
            }
            return;
        };
        let together = !moved
            && self
                .born
                .get(&prefix)
                .is_some_and(|born| sign.at.since(*born) <= ROLL_OUT);
        // Who of them came last is judged when its own time is up.
        let newer = self
            .checks
            .iter()
            .any(|((_, of), later)| *of == prefix && later.host.is(&older.host));
        if !stays || newer || older.drained || together || self.shared.contains(&prefix) {
            if together && stays && self.shared.len() < MAX_SHARED {
                self.shared.insert(prefix);
            }
            return;
        }
        let own = self.own.iter().any(|own| own.covers(&prefix));
        let habit = shares_others(net, self.instance, older, prefix);
        let loud = moved || own && !habit;
        let severity = if loud {
            self.weather.severity(net, prefix, older.host.asn)
        } else {
            Severity::Info
        };
        let mut finding = Finding::new(
            Kind::PrefixOriginConflict,
            severity,
            Subject::Prefix(prefix),
            &placed(sign.at, sign.locator),
        );
        for host in [sign.host, older.host] {
            finding.also(Subject::Peer(host.addr, None));
            finding.touch(Touch::Peer(host.addr));
        }
        finding.touch(Touch::Prefix(prefix));
        finding.touch(Touch::Address(prefix.addr()));
        finding.affected.prefix(prefix);
        finding.broken.subject = loud;
        finding.fidelity = if older.kind.is_exact() {
            Fidelity::Exact
        } else {
            Fidelity::Compressed
        };
        finding.explain = format!(
            "{} announces {prefix} as its own, and {} still does {:.0} s later: two hosts have it at once, and packets reach either of them",
            sign.host.addr,
            older.host.addr,
            OVERLAP.as_secs_f64()
        );
        if moved {
            finding
                .explain
                .push_str("; it belonged to one host at a time before");
        }
        if !loud {
            finding.explanations.push(
                "load balancers that share a service address look the same; --own-prefix and an earlier move tell an ElasticIP".to_owned(),
            );
        }
        finding.advice = vec![
            format!("vtysh -c 'show bgp {prefix}' # or birdc show route for {prefix} all"),
            format!("ip address show to {} # on both hosts", prefix.addr()),
        ];
        self.open.insert(prefix, board.raise(finding));
    }
}

/// Whether the older host shares another host route with anybody: then sharing is what these hosts do.
fn shares_others(net: &NetState, instance: Instance, older: &Claim, but: Prefix) -> bool {
    let of = instance.ribs(net).find(|(_, rib)| {
        rib.kind == older.kind
            && net
                .sessions
                .get(rib.session)
                .is_some_and(|session| session.ends[rib.sender & 1].addr == older.host.addr)
    });
    of.into_iter()
        .flat_map(|(_, rib)| rib.iter().take(LOOKED_AT))
        .map(|(_, nlri, _)| nlri.prefix)
        .filter(|prefix| prefix.is_host() && *prefix != but)
        .take(HABIT)
        .any(|prefix| between_hosts(net, instance, prefix))
}

#[cfg(test)]
mod tests;
