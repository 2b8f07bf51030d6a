//! What this host announces as its own against what it can serve: `prefix.blackholed` and `address.unannounced`.
//!
//! An ElasticIP or service address is announced as a host route. Announced while no address, no route and no on-link network of this host
//! takes its packets, they end nowhere. Configured while its announcement was withdrawn, nobody reaches it. RFC 7999's community asks for
//! a black hole; RFC 8326's announces a drain.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::{Host, Role, established};
use crate::detect::{
    Board, Fidelity, Finding, FindingKey, Kind, Settings, Severity, Subject, Touch,
};
use crate::event::{Event, Locator, Prefix, Timestamp};
use crate::state::NetState;
use crate::state::addresses::{AddressChange, AddressDelta};
use crate::state::rib::{RouteChange, RouteDelta as RibDelta};
use crate::state::routes::{RouteChange as KernelChange, RouteDelta, TABLE_MAIN};

/// C39: announcement and address of a move lie within 5 s of each other.
const SERVE_WITHIN: Duration = Duration::from_secs(5);
/// C40: an address that is left behind, or not announced yet, for longer than 30 s; MetalLB's and FRR's debounces are 3 s.
const ANNOUNCE_WITHIN: Duration = Duration::from_secs(30);
/// Host routes watched at once: a hypervisor with thousands of ElasticIPs.
const MAX_WATCHED: usize = 16_384;
/// What follows the one before within this is the same act: measured, FRR and BIRD leave no more than 200 ms between the UPDATEs of a batch.
const AT_ONCE: Duration = Duration::from_millis(200);
/// Prefixes named in one finding.
const MAX_SUBJECTS: usize = 16;
/// BLACKHOLE (RFC 7999 §5).
pub(super) const BLACKHOLE: u32 = 0xffff_029a;
/// `RTN_BLACKHOLE`, `RTN_UNREACHABLE`, `RTN_PROHIBIT`.
const RTN_DROPS: std::ops::RangeInclusive<u8> = 6..=8;

#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd)]
enum Question {
    /// Announced: is it served?
    Served,
    /// Here: is it announced?
    Announced,
}

#[derive(Copy, Clone)]
struct Sign {
    at: Timestamp,
    locator: Locator,
    /// This host announced it once.
    withdrawn: bool,
    /// It was being drained.
    drained: bool,
}

/// The prefixes that one of the two findings is about now. What comes up at once is one finding: a filter or a script that was wrong about
/// thousands of addresses is one fault.
#[derive(Clone, Default)]
struct Group {
    of: BTreeMap<Prefix, FindingKey>,
    /// How many of a finding's prefixes are still as it says.
    open: BTreeMap<FindingKey, usize>,
    /// For each family: the finding that others may still join, when it was last joined, and what it says of its first prefix.
    latest: [Option<(FindingKey, Timestamp, String)>; 2],
}

impl Group {
    fn has(&self, prefix: Prefix) -> bool {
        self.of.contains_key(&prefix)
    }

    fn is_full(&self) -> bool {
        self.of.len() >= MAX_WATCHED
    }

    /// Adds `finding`, about this prefix alone, or lets it be part of the one that was raised just before.
    fn add(&mut self, prefix: Prefix, sign: Sign, finding: Finding, board: &mut Board) {
        let family = usize::from(prefix.is_ipv6());
        let together = self
            .latest
            .get_mut(family)
            .and_then(Option::take)
            .filter(|(key, at, _)| {
                sign.at.since(*at) <= AT_ONCE
                    && self.open.contains_key(key)
                    && board
                        .get(*key)
                        .is_some_and(|known| known.severity == finding.severity)
            });
        let (key, says) = match together {
            Some((key, _, says)) => {
                let count = self.open.get(&key).map_or(1, |open| open + 1);
                board.update(key, |known| {
                    if known.subjects.len() < MAX_SUBJECTS {
                        known.subjects.extend(
                            finding
                                .subjects
                                .iter()
                                .filter(|s| !matches!(s, Subject::Peer(..)))
                                .cloned(),
                        );
                        finding
                            .touches
                            .iter()
                            .for_each(|touch| known.touch(touch.clone()));
                    }
                    known.affected.prefix(prefix);
                    known.evidence.add(sign.locator);
                    known.last = known.last.max(sign.at);
                    known.explain = format!("{says}; the same holds for {} more", count - 1);
                });
                (key, says)
            }
            None => {
                let says = finding.explain.clone();
                (board.raise(finding), says)
            }
        };
        self.of.insert(prefix, key);
        *self.open.entry(key).or_default() += 1;
        if let Some(latest) = self.latest.get_mut(family) {
            *latest = Some((key, sign.at, says));
        }
    }

    /// This prefix is in order again; with its last one the finding is over.
    fn over(&mut self, prefix: Prefix, sign: Sign, board: &mut Board) {
        let Some(key) = self.of.remove(&prefix) else {
            return;
        };
        let left = self.open.get(&key).map_or(0, |open| open.saturating_sub(1));
        if left > 0 {
            self.open.insert(key, left);
        } else {
            self.open.remove(&key);
            board.update(key, |finding| over(finding, sign));
        }
    }
}

/// The detector's books.
#[derive(Clone)]
pub(super) struct Origins {
    own: Vec<Prefix>,
    questions: BTreeMap<(Timestamp, Prefix, Question), Sign>,
    blackholed: Group,
    unannounced: Group,
    /// When the loss of an address or route is to be judged: before that no earlier sign is, lest the state begins before what made it.
    lost: BTreeMap<Prefix, Timestamp>,
    /// Host routes that this host announced: their addresses and routes are watched.
    announced: BTreeSet<Prefix>,
}

impl Origins {
    pub fn new(settings: &Settings) -> Origins {
        Origins {
            own: settings.own_prefixes.clone(),
            questions: BTreeMap::new(),
            blackholed: Group::default(),
            unannounced: Group::default(),
            announced: BTreeSet::new(),
            lost: BTreeMap::new(),
        }
    }

    fn ask(&mut self, at: Timestamp, prefix: Prefix, question: Question, sign: Sign) {
        if self.questions.len() < MAX_WATCHED {
            self.questions.insert((at, prefix, question), sign);
        }
    }

    fn is_own(&self, prefix: Prefix) -> bool {
        self.own.iter().any(|own| own.covers(&prefix))
    }

    /// A route that this host announces or withdraws.
    pub fn outbound(&mut self, delta: &RibDelta, prefix: Prefix, event: &Event, net: &NetState) {
        if !prefix.is_host() {
            return;
        }
        let sign = Sign {
            at: event.at,
            locator: event.locator,
            withdrawn: delta.change == RouteChange::Withdrawn,
            drained: crate::detect::session::drain::is_marked(net, delta.old),
        };
        match delta.change {
            RouteChange::Withdrawn if delta.old.is_some() && is_originated(net, delta.old) => {
                self.ask(
                    event.at + ANNOUNCE_WITHIN,
                    prefix,
                    Question::Announced,
                    sign,
                );
            }
            RouteChange::New
            | RouteChange::Reannounced
            | RouteChange::Returned
            | RouteChange::Changed
                if is_originated(net, delta.new) =>
            {
                if self.announced.len() < MAX_WATCHED {
                    self.announced.insert(prefix);
                }
                if self.unannounced.has(prefix) {
                    self.ask(event.at, prefix, Question::Announced, sign);
                }
                self.ask(event.at + SERVE_WITHIN, prefix, Question::Served, sign);
            }
            _ => {}
        }
    }

    /// A change of this host's addresses.
    pub fn address(&mut self, delta: &AddressDelta) {
        let prefix = Prefix::host(delta.addr);
        let sign = Sign {
            at: delta.at,
            locator: delta.locator,
            withdrawn: false,
            drained: false,
        };
        match delta.change {
            AddressChange::Removed if self.announced.contains(&prefix) => {
                self.ask(delta.at + SERVE_WITHIN, prefix, Question::Served, sign);
                self.lost.insert(prefix, delta.at + SERVE_WITHIN);
                if self.unannounced.has(prefix) {
                    self.ask(delta.at, prefix, Question::Announced, sign);
                }
            }
            AddressChange::Added => {
                if self.blackholed.has(prefix) {
                    self.ask(delta.at, prefix, Question::Served, sign);
                }
                // Addresses of networks need no announcement of their own.
                if delta.on_link().is_host() && self.is_own(prefix) {
                    let at = delta.at + ANNOUNCE_WITHIN;
                    self.ask(at, prefix, Question::Announced, sign);
                }
            }
            _ => {}
        }
    }

    /// A change of the kernel's table.
    pub fn route(&mut self, delta: &RouteDelta, now: Timestamp) {
        let prefix = delta.key.prefix;
        if delta.key.table != TABLE_MAIN || !self.announced.contains(&prefix) {
            return;
        }
        let wait = if self.blackholed.has(prefix) && delta.change != KernelChange::Removed {
            Duration::ZERO
        } else {
            SERVE_WITHIN
        };
        let sign = Sign {
            at: delta.at,
            locator: delta.locator,
            withdrawn: false,
            drained: false,
        };
        let due = (delta.at + wait).max(now);
        if delta.change == KernelChange::Removed {
            self.lost.insert(prefix, due);
        }
        self.ask(due, prefix, Question::Served, sign);
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.questions.first_key_value().map(|((at, ..), _)| *at)
    }

    pub fn expire(&mut self, now: Timestamp, host: &Host, net: &NetState, board: &mut Board) {
        while let Some(entry) = self.questions.first_entry().filter(|e| e.key().0 <= now) {
            let (due, prefix, question) = *entry.key();
            let sign = entry.remove();
            if question == Question::Served {
                match self.lost.get(&prefix) {
                    Some(later) if *later > due => continue,
                    Some(_) => _ = self.lost.remove(&prefix),
                    None => {}
                }
            }
            if host.paths || !net.routes.has_baseline(prefix.is_ipv6()) || net.addresses.is_empty()
            {
                continue;
            }
            // Announced since, and withdrawn again: that withdrawal has its own time.
            let later = question == Question::Announced
                && !sign.withdrawn
                && self.announced.contains(&prefix);
            match question {
                _ if later && !self.unannounced.has(prefix) => {}
                Question::Served => self.served(prefix, sign, host, net, board),
                Question::Announced => self.announced(prefix, sign, now, host, net, board),
            }
        }
    }

    fn served(
        &mut self,
        prefix: Prefix,
        sign: Sign,
        host: &Host,
        net: &NetState,
        board: &mut Board,
    ) {
        let announced = host
            .holding(net, Role::Outbound, prefix)
            .find(|(_, rib, attrs)| established(net, rib.session) && is_originated(net, *attrs))
            .map(|(_, rib, attrs)| (rib.session, rib.sender, attrs));
        let wanted = announced.is_some_and(|(.., attrs)| has_community(net, attrs, BLACKHOLE));
        let nowhere = nowhere(prefix, wanted, net);
        let (Some((session, sender, _)), Some(nowhere)) = (announced, nowhere) else {
            self.blackholed.over(prefix, sign, board);
            return;
        };
        if self.blackholed.has(prefix) || self.blackholed.is_full() {
            return;
        }
        let severity = if wanted {
            Severity::Info
        } else {
            Severity::Warning
        };
        let mut finding = about(
            Kind::PrefixBlackholed,
            severity,
            Subject::Prefix(prefix),
            prefix,
            sign,
        );
        if let Some(session) = net.sessions.get(session) {
            finding.also(Subject::Peer(session.ends[1 - (sender & 1)].addr, None));
            for end in &session.ends {
                finding.touch(Touch::Peer(end.addr));
            }
        }
        finding.broken.subject = !wanted;
        if wanted {
            finding
                .explanations
                .push("asked for with the BLACKHOLE community (RFC 7999)".to_owned());
        }
        finding.explain =
            format!("this host announces {prefix}, but {nowhere}: packets to it end here");
        finding.advice = vec![
            format!("ip route get {}", prefix.addr()),
            format!("ip address show to {}", prefix.addr()),
            format!("vtysh -c 'show bgp {prefix}' # or birdc show route for {prefix} all"),
        ];
        self.blackholed.add(prefix, sign, finding, board);
    }

    fn announced(
        &mut self,
        prefix: Prefix,
        sign: Sign,
        now: Timestamp,
        host: &Host,
        net: &NetState,
        board: &mut Board,
    ) {
        let address = prefix.addr();
        let here = net.addresses.owner(address);
        let covered = host.ribs(net, Role::Outbound).any(|(id, rib)| {
            // Its own host route, or an aggregate of this host (RFC 4271 §9.2.2.2) at the usual lengths.
            (1..=prefix.len()).any(|len| {
                let nlri = crate::event::bgp::Nlri::unicast(Prefix::new(address, len));
                net.rib
                    .lookup(id, &nlri)
                    .is_some_and(|(_, attrs)| attrs.is_some() && is_originated(net, attrs))
            }) && established(net, rib.session)
        });
        let Some(ifindex) = here.filter(|_| !covered) else {
            self.unannounced.over(prefix, sign, board);
            return;
        };
        // Sessions that are down say why nothing is announced; of sessions whose table was sent before we looked nothing is known.
        let sure = sign.withdrawn
            || host
                .ribs(net, Role::Outbound)
                .any(|(_, rib)| rib.complete && established(net, rib.session));
        if !sure || !host.talks(net) || self.unannounced.has(prefix) || self.unannounced.is_full() {
            return;
        }
        let elsewhere = host
            .holding(net, Role::Inbound, prefix)
            .find_map(|(_, rib, _)| Some(net.sessions.get(rib.session)?.ends[rib.sender & 1].addr));
        let own = self.is_own(prefix);
        let loud = own && elsewhere.is_none() && !sign.drained;
        let severity = if loud {
            Severity::Warning
        } else {
            Severity::Info
        };
        let mut finding = about(
            Kind::AddressUnannounced,
            severity,
            Subject::Address(address),
            prefix,
            sign,
        );
        finding.broken.subject = loud;
        finding.broken.last_path = loud;
        finding.planned = sign.drained;
        let name = net
            .links
            .get(ifindex)
            .map(|link| link.name.to_string())
            .unwrap_or_else(|| ifindex.to_string());
        if let Some(link) = net.links.get(ifindex) {
            finding.touch(Touch::Interface(link.name.clone()));
        }
        let what = match (sign.withdrawn, elsewhere) {
            (_, Some(by)) => {
                format!("{by} announces it now: it moved, and the address was left behind")
            }
            (true, None) => "this host withdrew it, and nobody else announces it here".to_owned(),
            (false, None) => "no session of this host announces it".to_owned(),
        };
        if sign.drained {
            finding
                .explanations
                .push(crate::detect::session::drain::DRAINED.to_owned());
        }
        finding.explain = format!(
            "{address} has been on {name} for {:.0} s without an announcement: {what}",
            now.since(sign.at).as_secs_f64()
        );
        finding.advice = vec![
            format!("ip address show to {address}"),
            format!("vtysh -c 'show bgp {prefix}' # or birdc show route for {prefix} all"),
        ];
        self.unannounced.add(prefix, sign, finding, board);
    }
}

fn about(kind: Kind, severity: Severity, subject: Subject, prefix: Prefix, sign: Sign) -> Finding {
    let mut finding = Finding::at(kind, severity, subject, sign.at);
    finding.evidence.add(sign.locator);
    finding.fidelity = Fidelity::Inferred;
    finding.touch(Touch::Prefix(prefix));
    finding.touch(Touch::Address(prefix.addr()));
    finding.affected.prefix(prefix);
    finding
}

fn over(finding: &mut Finding, sign: Sign) {
    finding.recovered(sign.at);
    finding.ended = Some(sign.at);
    finding.broken = Default::default();
    finding.last = finding.last.max(sign.at);
    finding.evidence.add(sign.locator);
}

/// Whether this host itself originates a route: nobody else's AS number is in its path.
fn is_originated(net: &NetState, attrs: crate::state::rib::attributes::AttrId) -> bool {
    net.rib.attributes(attrs).is_some_and(|attributes| {
        let mut numbers = attributes
            .as_path
            .segments()
            .flat_map(|(_, numbers)| numbers.iter());
        let first = numbers.next();
        numbers.all(|asn| Some(asn) == first)
    })
}

fn has_community(
    net: &NetState,
    attrs: crate::state::rib::attributes::AttrId,
    community: u32,
) -> bool {
    net.rib
        .attributes(attrs)
        .is_some_and(|a| a.communities.contains(&community))
}

/// Why packets to this host route end here, if they do: a clause. A null route of exactly this address was written by somebody: what FRR
/// and BIRD originate addresses from that are translated or balanced before they are routed (`static … blackhole`), or a black hole that
/// was meant; that is told only where BGP calls it one.
fn nowhere(prefix: Prefix, wanted: bool, net: &NetState) -> Option<String> {
    let address: IpAddr = prefix.addr();
    if net.addresses.owner(address).is_some() {
        return None;
    }
    match net.routes.lookup(address) {
        None => Some("it has neither the address nor a route to it".to_owned()),
        Some((key, route)) if RTN_DROPS.contains(&route.kind) && key.prefix.is_host() => {
            wanted.then(|| format!("its kernel drops what goes to {}", key.prefix))
        }
        Some((key, route)) if RTN_DROPS.contains(&route.kind) => {
            Some(format!("it has no address or route for it, and its kernel drops what goes to {}", key.prefix))
        }
        Some((key, _)) if key.prefix.is_default() => {
            Some("it has neither the address nor a route to it but the default route, which leads back out".to_owned())
        }
        Some(_) => None,
    }
}
