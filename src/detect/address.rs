//! `address.removed`, `address.flap`, `address.dad-failed`: the kernel's view of the host's own addresses.
//!
//! A removal waits [`SETTLE`], because promotion of a secondary address deletes and adds it. Addresses that go with their link are
//! the link's business, and link-local ones are nobody's unless BGP uses them; what an operator or program removes is information, unless it repeats. An address that is back
//! within [`SETTLE`] is told where routes went with it and did not return: Linux removes an interface's IPv4 routes with its last address
//! silently (measured, `knowledge/routing.md`), and a DHCP client's hook that flushes and adds at each renewal costs every static route.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::link::kernel::{actor, head, list, quoted, seconds, times};
use super::route::writers;
use super::{
    Board, Detector, Fidelity, Finding, FindingKey, Kind, Reason, Settings, Severity, Subject,
    Touch,
};
use crate::event::netlink::RTPROT_KERNEL;
use crate::event::{Classes, Event, Timestamp};
use crate::state::addresses::{AddressChange, AddressDelta};
use crate::state::ledger::{Class, Key, What};
use crate::state::{NetState, Observation};

/// Promotion of secondaries takes less than 10 ms (measured 33 µs); a script that deletes and adds needs two process starts.
const SETTLE: Duration = Duration::from_millis(100);
/// A client that gives its lease back removes the address in the same breath (networkd, dhclient and dhcpcd: within milliseconds).
const RELEASED: Duration = Duration::from_secs(1);
/// Two removals within this time are a flap: a VRRP or kube-vip fail-over and its way back take minutes at least when planned.
const FLAP_WINDOW: Duration = Duration::from_secs(600);
/// Addresses watched: as many as the state tracks.
const MAX_WATCHED: usize = crate::state::addresses::MAX_ADDRESSES;
/// The kernel tells of a failed detection at once; both feeds' stamps differ by less than a probe's interval (RFC 4862 RetransTimer, 1 s).
const ECHOED: Duration = Duration::from_secs(1);
/// Addresses named in a sentence.
const MAX_NAMED: usize = 4;
/// `RT_SCOPE_LINK`: from here on an address is not for others.
const SCOPE_LINK: u8 = 253;

/// Adds this family's detectors.
pub fn register(_settings: &Settings, detectors: &mut Vec<Box<dyn Detector>>) {
    detectors.push(Box::new(AddressDetector::default()));
}

#[derive(Clone)]
struct Watch {
    key: FindingKey,
    last: Timestamp,
}

/// A removal that may still turn out to be half of a change.
#[derive(Clone)]
struct Waiting {
    /// When it came back, if it did.
    back: Option<Timestamp>,
    delta: AddressDelta,
    event: Event,
    touches: Vec<Touch>,
}

#[derive(Clone, Default)]
struct AddressDetector {
    waiting: BTreeMap<(Timestamp, IpAddr), Waiting>,
    /// The same by address: its return takes back its removals.
    removals: BTreeSet<(IpAddr, Timestamp)>,
    watched: BTreeMap<IpAddr, Watch>,
    /// Findings about interfaces whose own probes come back:
    /// one about the addresses that others reach it by, and one about link-local ones while only they fail.
    loops: BTreeMap<(u32, bool), FindingKey>,
}

impl Detector for AddressDetector {
    fn name(&self) -> &'static str {
        "address"
    }

    fn wants(&self) -> Classes {
        Classes::ADDRESS.and(Classes::LINK).and(Classes::DUMP_DONE)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        for delta in &seen.changes.addresses {
            match delta.change {
                AddressChange::Added => self.added(delta, seen.event, board),
                AddressChange::Removed => {
                    // With its link down or gone the address is an effect; the link's finding names it.
                    // Link-local ones come and go with links, bridges and MAC addresses: they matter where BGP uses them (unnumbered sessions).
                    let own = (delta.scope < SCOPE_LINK || carries_a_session(delta.addr, net))
                        && !delta.addr.is_loopback()
                        && net.links.usable(delta.ifindex)
                        // The kernel replaces temporary addresses by the day; another one is there already.
                        && !(delta.temporary && delta.by == 0 && !delta.last);
                    if own && self.waiting.len() < MAX_WATCHED {
                        let waiting = Waiting {
                            back: None,
                            delta: delta.clone(),
                            event: head(seen.event),
                            touches: touches(delta, net),
                        };
                        let at = delta.at + SETTLE;
                        self.removals.insert((delta.addr, at));
                        self.waiting.insert((at, delta.addr), waiting);
                    }
                }
                AddressChange::DadFailed => self.dad_failed(delta, seen.event, net, board),
            }
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let ((at, addr), waiting) = entry.remove_entry();
            self.removals.remove(&(addr, at));
            self.removed(&waiting, net, board);
        }
    }

    fn finish(&mut self, _now: Timestamp, net: &NetState, board: &mut Board) {
        self.removals.clear();
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            self.removed(&waiting, net, board);
        }
    }
}

impl AddressDetector {
    fn added(&mut self, delta: &AddressDelta, event: &Event, board: &mut Board) {
        // Flushed and put back: told only where something did not come back with it.
        let addr = delta.addr;
        let all = (addr, Timestamp::MIN)..=(addr, Timestamp::MAX);
        for (_, at) in self.removals.range(all) {
            if let Some(waiting) = self.waiting.get_mut(&(*at, addr)) {
                waiting.back = Some(delta.at);
            }
        }
        let Some(watch) = self.watched.get(&delta.addr) else {
            return;
        };
        board.update(watch.key, |finding| {
            if finding.occurrences.last().is_none_or(|o| o.until.is_some()) {
                return;
            }
            finding.broken.subject = false;
            finding.recovered(event.at);
            finding.support(event);
            finding.ended = Some(event.at);
            if let Some(last) = finding.occurrences.last() {
                let after = seconds(event.at.since(last.at));
                finding.explain = format!("{} It came back after {after}.", finding.explain);
            }
        });
    }

    fn removed(&mut self, waiting: &Waiting, net: &NetState, board: &mut Board) {
        let Waiting {
            delta,
            event,
            touches,
            back,
        } = waiting;
        let watched = self
            .watched
            .get(&delta.addr)
            .is_some_and(|watch| event.at.since(watch.last) <= FLAP_WINDOW);
        if back.is_some() && !watched && lost_with(delta, net) == 0 {
            return;
        }
        let key = match self.watched.get_mut(&delta.addr) {
            Some(watch) if event.at.since(watch.last) <= FLAP_WINDOW => {
                watch.last = event.at;
                board.update(watch.key, |finding| {
                    finding.again(event);
                    finding.kind = Kind::AddressFlap;
                    finding.severity = finding.severity.max(Severity::Warning);
                });
                watch.key
            }
            _ => {
                let severity = if by_somebody(delta) {
                    Severity::Info
                } else {
                    Severity::Warning
                };
                let subject = Subject::Address(delta.addr);
                let finding = Finding::new(Kind::AddressRemoved, severity, subject, event);
                let key = board.raise(finding);
                if self.watched.len() >= MAX_WATCHED {
                    self.watched.pop_first();
                }
                let last = event.at;
                self.watched.insert(delta.addr, Watch { key, last });
                key
            }
        };
        let name = net.links.name(delta.ifindex);
        board.update(key, |finding| {
            // What an operator or program takes away once is meant to be away.
            finding.broken.subject = !by_somebody(delta) || finding.count > 1;
            finding.planned = by_somebody(delta) && finding.count == 1;
            finding.actor = (!delta.unnamed).then(|| actor(net, delta.by, None));
            released(finding, net, delta);
            if delta.by != 0 {
                writers::manager(finding, net, delta.by);
                writers::renewal(finding, net, event.at);
            }
            for touch in touches {
                finding.touch(touch.clone());
            }
            if delta.inferred {
                finding.fidelity = finding.fidelity.max(Fidelity::Inferred);
            }
            finding.explain = explain(finding, delta, &name, net);
            if let Some(back) = back {
                finding.explain = format!(
                    "{} It was put back {} later, but not all routes that went with it.",
                    finding.explain,
                    seconds(back.since(delta.at))
                );
                finding.broken.subject = false;
                finding.recovered(*back);
            }
            let name = quoted(&name);
            finding.advice = vec![
                format!("ip address show dev {name}"),
                "journalctl -b --no-pager -n 50 -u systemd-networkd -u NetworkManager -u keepalived".to_owned(),
            ];
        });
    }
}

/// Routes of others than the kernel that went with the address from its interface and are not back: what a flush costs, however short it is.
fn lost_with(delta: &AddressDelta, net: &NetState) -> usize {
    let gone = net.ledger.within(
        Class::RouteGone,
        &Key::Interface(delta.ifindex),
        delta.at,
        delta.at + SETTLE,
    );
    gone.filter(|fact| match &fact.what {
        What::RouteGone { prefix, old, .. } => {
            old.protocol != RTPROT_KERNEL
                && prefix.is_ipv6() == delta.addr.is_ipv6()
                && net.routes.best(*prefix).is_none()
        }
        _ => false,
    })
    .count()
}

/// Adds that the address's client gave its lease back at the same time: who stops, or forgets its lease, takes the address away itself.
fn released(finding: &mut Finding, net: &NetState, delta: &AddressDelta) {
    let around = net.ledger.within(
        Class::LeaseReleased,
        &Key::Address(delta.addr),
        delta.at - RELEASED,
        delta.at + RELEASED,
    );
    if let Some(fact) = around.last() {
        let known = format!(
            "its DHCP client gave the lease back at {} (RELEASE)",
            fact.at.clock()
        );
        if !finding.explanations.contains(&known) {
            finding.explanations.push(known);
        }
    }
}

/// Whether a BGP session was seen that ends at this address. Asked when an address goes, which is rare.
fn carries_a_session(addr: IpAddr, net: &NetState) -> bool {
    net.sessions
        .iter()
        .any(|(_, session)| session.end_of(addr).is_some() && session.feed.is_none())
}

/// Whether a process took the address away, not the kernel.
fn by_somebody(delta: &AddressDelta) -> bool {
    delta.by != 0 || delta.unnamed
}

fn explain(finding: &Finding, delta: &AddressDelta, name: &str, net: &NetState) -> String {
    let last = finding.occurrences.last().map_or(finding.last, |o| o.at);
    let how_often = times(finding.count, finding.first, last);
    let why = match (delta.expired, delta.by) {
        (true, _) => "its lifetime ran out and nobody renewed it".to_owned(),
        (false, 0) if delta.unnamed => {
            "by a process (for IPv6 the kernel does not say which)".to_owned()
        }
        (false, 0) => "by the kernel".to_owned(),
        (false, pid) => format!("by {}", actor(net, pid, None)),
    };
    let and = match (delta.last, delta.addr.is_ipv6()) {
        (true, false) => {
            "; it was the last IPv4 address there, so every IPv4 route of the interface went with it"
        }
        (true, true) => "; it was the last IPv6 address there",
        (false, _) => "",
    };
    let (addr, len) = (delta.addr, delta.prefix_len);
    format!("{addr}/{len} was removed from {name} {how_often}: {why}{and}.")
}

impl AddressDetector {
    /// Duplicate address detection failed. Where the host's own probe came back to it, nobody else has the address: frames loop (RFC 7527), and
    /// every address of that interface fails by one fault.
    fn dad_failed(
        &mut self,
        delta: &AddressDelta,
        event: &Event,
        net: &NetState,
        board: &mut Board,
    ) {
        let name = net.links.name(delta.ifindex);
        let subject = Subject::Address(delta.addr);
        let own = |mac| {
            net.links
                .get(delta.ifindex)
                .is_none_or(|link| link.mac == Some(mac))
        };
        let echo = net.who.echo(delta.addr).filter(|echo| {
            own(echo.mac) && event.at.minus(echo.at.1).abs() <= ECHOED.as_nanos() as i64
        });
        let serves = delta.scope < SCOPE_LINK;
        let of = |serves| self.loops.get(&(delta.ifindex, serves)).copied();
        let known = echo.and_then(|_| of(true).or_else(|| of(false).filter(|_| !serves)));
        let known = known.filter(|key| board.get(*key).is_some());
        let link_local_too = serves && of(false).is_some();
        let key = known.unwrap_or_else(|| {
            let kind = Kind::AddressDadFailed;
            // Nobody reaches the host by its link-local address alone.
            let severity = if echo.is_some() && !serves {
                Severity::Info
            } else {
                Severity::Warning
            };
            let mut finding = Finding::new(kind, severity, subject.clone(), event);
            finding.broken.subject = severity == Severity::Warning;
            finding.actor = Some("the kernel".to_owned());
            finding.advice = vec![format!(
                "ip -6 address show dev {} dadfailed",
                quoted(&name)
            )];
            board.raise(finding)
        });
        if echo.is_some() && self.loops.len() < MAX_WATCHED {
            self.loops.entry((delta.ifindex, serves)).or_insert(key);
        }
        board.update(key, |finding| {
            if known.is_some() {
                finding.again(event);
                finding.also(subject.clone());
            }
            for touch in touches(delta, net) {
                finding.touch(touch);
            }
            let Some(echo) = echo else {
                finding.explain = format!(
                    "{} on {name} is unusable: duplicate address detection heard another claim to it.",
                    delta.addr
                );
                finding.explanations = vec![
                    "another host has the address; or the host's own probe came back to it (a loop, a port in hairpin mode)".into(),
                ];
                finding.advice.push(format!("ip -6 neigh show {}", delta.addr));
                return;
            };
            finding.reason = Some(Reason::Loop);
            finding.also(Subject::Link(name.as_ref().into()));
            for locator in [echo.frames.0, echo.frames.1] {
                finding.evidence.add(locator);
            }
            finding.first = finding.first.min(echo.at.0);
            let addresses = finding.subjects.iter().filter_map(|subject| match subject {
                Subject::Address(addr) => Some(addr.to_string()),
                _ => None,
            });
            let back = echo.at.1.since(echo.at.0);
            finding.explain = format!(
                "The own probes of {name} come back to it ({:.3} ms later, from its own MAC {}): frames loop, and no second host is involved. \
                 The kernel takes the echo for another host (RFC 7527) and leaves unusable: {}.",
                back.as_secs_f64() * 1000.0,
                echo.mac,
                list(addresses, MAX_NAMED),
            );
            finding.explanations = vec![
                "the bridge or switch port that the host is on reflects frames (hairpin mode, a loop behind it)".into(),
            ];
            if link_local_too {
                finding
                    .explanations
                    .push("its link-local address failed in the same way before".into());
            }
            finding.advice = vec![
                format!("ip -6 address show dev {} dadfailed", quoted(&name)),
                "bridge -d link show   (on the bridge that the host is on: hairpin on)".into(),
                format!("sysctl net.ipv6.conf.{name}.enhanced_dad"),
            ];
        });
    }
}

fn touches(delta: &AddressDelta, net: &NetState) -> Vec<Touch> {
    let mut touches = vec![
        Touch::Address(delta.addr),
        Touch::Interface(net.links.name(delta.ifindex)),
    ];
    let on_link = delta.on_link();
    if delta.scope < SCOPE_LINK && !on_link.is_host() {
        touches.push(Touch::OnLink(on_link));
    }
    let gateways = net.routes.gateways_via(delta.ifindex);
    let lost = gateways.into_iter().filter(|gw| on_link.contains(*gw));
    touches.extend(lost.map(Touch::Gateway));
    touches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::route::lab::Lab;
    use crate::event::EventKind;
    use crate::event::netlink::{Action, AddressEvent, IFF_LOWER_UP, IFF_RUNNING, IFF_UP};
    use crate::state::routes::testing::{address_event, link_event};

    fn lab() -> Lab {
        let mut lab = Lab::new();
        let up = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;
        lab.at(0, EventKind::Link(Box::new(link_event(5, "eth0", up))));
        lab
    }

    fn address(lab: &mut Lab, ms: i64, action: Action, pid: u32) {
        let mut address = AddressEvent {
            valid: Some(10),
            ..address_event(action, 5, "192.0.2.7", 24)
        };
        address.meta.pid = pid;
        lab.at(ms, EventKind::Address(Box::new(address)));
    }

    #[test]
    fn an_expired_address_is_a_warning_until_it_returns() {
        let mut lab = lab();
        address(&mut lab, 0, Action::New, 7);
        address(&mut lab, 10_300, Action::Del, 0);
        lab.advance(Timestamp(20_000_000_000));
        let found = lab.findings(Kind::AddressRemoved);
        assert_eq!((found.len(), found[0].severity), (1, Severity::Warning));
        assert!(found[0].broken.subject && found[0].explain.contains("lifetime ran out"));
        address(&mut lab, 30_000, Action::New, 7);
        let found = lab.findings(Kind::AddressRemoved);
        assert!(!found[0].broken.subject && found[0].ended.is_some());
    }

    #[test]
    fn promotion_renewal_and_a_planned_removal_are_quiet() {
        let mut lab = lab();
        address(&mut lab, 0, Action::New, 7);
        address(&mut lab, 5_000, Action::New, 7);
        address(&mut lab, 6_000, Action::Del, 0);
        address(&mut lab, 6_001, Action::New, 0);
        lab.advance(Timestamp(7_000_000_000));
        assert_eq!(lab.board.iter().count(), 0);
        address(&mut lab, 8_000, Action::Del, 4242);
        lab.finish();
        let found = lab.findings(Kind::AddressRemoved);
        assert_eq!(found[0].severity, Severity::Info);
        assert_eq!(found[0].actor.as_deref(), Some("pid 4242"));
    }

    #[test]
    fn a_permanent_ipv6_address_was_taken_away_by_somebody_and_one_with_a_lifetime_was_not() {
        const PERMANENT: u32 = 0x80;
        for (flags, valid, severity) in [
            (PERMANENT, None, Severity::Info),
            (0, Some(3600), Severity::Warning),
        ] {
            let mut lab = lab();
            for (ms, action) in [(0, Action::New), (5_000, Action::Del)] {
                let mut address = AddressEvent {
                    flags,
                    valid,
                    ..address_event(action, 5, "2001:db8::7", 128)
                };
                // What the kernel sends whoever asks.
                address.meta.pid = 0;
                lab.at(ms, EventKind::Address(Box::new(address)));
            }
            lab.finish();
            let found = lab.findings(Kind::AddressRemoved);
            assert_eq!((found.len(), found[0].severity), (1, severity));
            assert_eq!(found[0].actor.is_none(), severity == Severity::Info);
        }
    }

    #[test]
    fn a_second_removal_makes_the_same_finding_a_flap() {
        let mut lab = lab();
        for ms in [0, 20_000, 40_000] {
            address(&mut lab, ms, Action::New, 7);
            address(&mut lab, ms + 5_000, Action::Del, 7);
        }
        lab.finish();
        assert!(lab.findings(Kind::AddressRemoved).is_empty());
        let found = lab.findings(Kind::AddressFlap);
        assert_eq!((found.len(), found[0].count), (1, 3));
        assert_eq!(found[0].severity, Severity::Warning);
    }

    /// Linux removes an interface's IPv4 routes silently with its last address. The twin loses nothing but its connected route.
    #[test]
    fn an_address_flushed_and_put_back_is_told_where_a_route_did_not_come_back() {
        use crate::state::routes::testing::route_event;
        for (with_route, told) in [(true, 1), (false, 0)] {
            let mut lab = lab();
            address(&mut lab, 0, Action::New, 7);
            if with_route {
                let route = route_event(Action::New, "198.51.100.0/24", 4, &["192.0.2.1@5"]);
                lab.at(10, EventKind::Route(Box::new(route)));
            }
            for round in 1..4 {
                address(&mut lab, round * 10_000, Action::Del, 7);
                address(&mut lab, round * 10_000 + 5, Action::New, 7);
            }
            lab.advance(Timestamp(60_000_000_000));
            let found: Vec<&Finding> = lab
                .board
                .iter()
                .map(|(_, finding)| finding)
                .filter(|finding| finding.kind.layer() == "address")
                .collect();
            assert_eq!(found.len(), told, "{found:?}");
            if let Some(finding) = found.first() {
                assert_eq!((finding.kind, finding.count), (Kind::AddressFlap, 3));
                assert!(finding.explain.contains("put back"), "{}", finding.explain);
            }
        }
    }

    #[test]
    fn addresses_that_go_with_their_link_are_left_to_the_link() {
        let mut lab = lab();
        address(&mut lab, 0, Action::New, 7);
        lab.at(1_000, EventKind::Link(Box::new(link_event(5, "eth0", 0))));
        address(&mut lab, 1_001, Action::Del, 0);
        lab.finish();
        assert!(lab.findings(Kind::AddressRemoved).is_empty());
    }

    /// C25. The benign twin: the same removal without a renewal right before it says nothing of one.
    #[test]
    fn a_foreign_address_that_goes_right_after_a_renewal_says_so() {
        use crate::event::dhcp4::MessageType;
        use crate::state::leases::tests::{answer, event, mac, renewal};

        for (renewed_at, explained) in [(9_000, true), (2_000, false)] {
            let mut lab = lab();
            let mut own = address_event(Action::New, 5, "192.0.2.7", 24);
            own.meta.pid = 7;
            lab.at(0, EventKind::Address(Box::new(own)));
            let vip = address_event(Action::New, 5, "192.0.2.200", 32);
            lab.at(100, EventKind::Address(Box::new(vip)));
            let client = mac(1);
            lab.event(&event(renewed_at, 0, 1, renewal(client, 5, 1, 7)));
            let acknowledged = answer(MessageType::Ack, client, 5, 1, 7, 600);
            lab.event(&event(renewed_at + 1, 0, 2, acknowledged));
            let mut gone = address_event(Action::Del, 5, "192.0.2.200", 32);
            gone.meta.pid = 7;
            lab.at(10_000, EventKind::Address(Box::new(gone)));
            lab.finish();
            let found = lab.findings(Kind::AddressRemoved);
            let told = found[0].explanations.join("");
            assert_eq!(
                told.contains("DHCP lease of 192.0.2.7"),
                explained,
                "{told}"
            );
        }
    }
}
