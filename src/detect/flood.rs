//! `neighbor.flood`, `dhcp.flood`: one link is filled with messages of far more senders than a link has, or of one sender that never stops.
//!
//! Such tools fill the switches' address tables (macof), hosts' neighbor caches, or a server's pool, and a flood that nobody answers leaves no
//! other trace: no address is taken and no cache flips. So what is counted is the flood itself, by link, in constant memory: messages of each
//! second, and their senders in a bitmap from which the number of different ones is estimated (linear counting: Whang, Vander-Zanden and
//! Taylor, 1990). Floods of router advertisements are `ra.flood`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Board, Detector, Finding, FindingKey, Kind, Settings, Severity, Subject, Touch};
use crate::event::frame::Mac;
use crate::event::lan::NdMessage;
use crate::event::{Classes, Event, EventKind, Locator, Timestamp};
use crate::state::hosts::Scope;
use crate::state::{NetState, Observation};

/// Senders within [`SECONDS`] that no link has: the largest subnets in use for one broadcast domain (/22) have 1,022 addresses, and not all of
/// their hosts speak within the same three seconds.
const SENDERS: u32 = 1024;
/// Messages within [`SECONDS`] that no link needs, whoever sends them: 5,000 a second. Fast scanners (nmap, arp-scan) stay below 2,000, switches
/// police ARP at some hundreds.
const MESSAGES: u64 = 15_000;
/// The window, in whole seconds.
const SECONDS: usize = 3;
/// Over when the last second of flood is this long ago.
const QUIET: Duration = Duration::from_secs(10);
/// Links watched at once; each costs 6 KiB for each class once it is busy.
const MAX_WATCHED: usize = 512;
/// Messages of one second below which no sender is noted: quiet links cost nothing.
const BUSY: u64 = 64;
/// Bits of a second's map. Linear counting tells some 60,000 senders apart with it; more are "more than that".
const BITS: u32 = 16_384;
const WORDS: usize = BITS as usize / 64;
/// A flood in progress is looked at after so many messages as well as each second.
const LOOK: u64 = 256;

/// Adds this family's detectors.
pub fn register(_settings: &Settings, detectors: &mut Vec<Box<dyn Detector>>) {
    detectors.push(Box::<Floods>::default());
}

/// What floods.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
enum What {
    Arp,
    Nd,
    Dhcp4,
    Dhcp6,
}

impl What {
    fn kind(self) -> Kind {
        match self {
            What::Arp | What::Nd => Kind::NeighborFlood,
            What::Dhcp4 | What::Dhcp6 => Kind::DhcpFlood,
        }
    }

    fn messages(self) -> &'static str {
        match self {
            What::Arp => "ARP messages",
            What::Nd => "neighbor discovery messages",
            What::Dhcp4 => "DHCP requests",
            What::Dhcp6 => "DHCPv6 requests",
        }
    }

    fn filter(self) -> &'static str {
        match self {
            What::Arp => "arp",
            What::Nd => "icmp6",
            What::Dhcp4 => "udp port 67",
            What::Dhcp6 => "udp port 547",
        }
    }
}

type Key = (Scope, What);

/// One second's count.
#[derive(Clone, Default)]
struct Second {
    messages: u64,
    /// Senders, once the second is busy.
    senders: Vec<u64>,
}

/// One link and class.
#[derive(Clone, Default)]
struct Watch {
    /// The second at hand, counted from 1970.
    now: i64,
    /// By second, modulo [`SECONDS`].
    seconds: [Second; SECONDS],
    first: Option<(Timestamp, Locator)>,
    /// Answers of a server since then.
    answers: u64,
    open: Option<Open>,
}

#[derive(Copy, Clone)]
struct Open {
    key: FindingKey,
    /// All messages of the flood.
    messages: u64,
    senders: u32,
    one: Option<Mac>,
    until: Timestamp,
}

/// The detector.
#[derive(Clone, Default)]
struct Floods {
    links: BTreeMap<Key, Watch>,
    ends: BTreeSet<(Timestamp, Key)>,
}

impl Detector for Floods {
    fn name(&self) -> &'static str {
        "flood"
    }

    fn wants(&self) -> Classes {
        Classes::ARP
            .and(Classes::ND)
            .and(Classes::DHCP4)
            .and(Classes::DHCP6)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        // A broadcast that a host sees on each port of its bridge is one. Whoever repeats one frame unchanged is counted once in 2 ms.
        if seen.changes.copy {
            return;
        }
        let event = seen.event;
        let Some((key, sender)) = sender(event, net) else {
            return;
        };
        if self.links.len() >= MAX_WATCHED && !self.links.contains_key(&key) {
            return; // more VLANs than a trunk carries: those seen first are watched
        }
        let watch = self.links.entry(key).or_default();
        let Some(sender) = sender else {
            watch.answers += 1;
            return;
        };
        let turned = watch.turn(event);
        let counted = watch.count(sender);
        if let Some(open) = &mut watch.open {
            open.messages += 1;
            open.one = open.one.filter(|one| *one == sender);
        }
        if turned || counted.is_multiple_of(LOOK) {
            self.look(key, event, sender, net, board);
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.ends.first().map(|(at, _)| *at)
    }

    fn expire(&mut self, now: Timestamp, _net: &NetState, board: &mut Board) {
        while let Some(&(at, key)) = self.ends.first().filter(|(at, _)| *at <= now) {
            self.ends.remove(&(at, key));
            let open = self.links.get_mut(&key).and_then(|watch| watch.open.take());
            if let Some(open) = open {
                board.update(open.key, |finding| {
                    finding.recovered(finding.last);
                    finding.ended = Some(at);
                });
            }
        }
    }
}

impl Floods {
    fn look(&mut self, key: Key, event: &Event, sender: Mac, net: &NetState, board: &mut Board) {
        let Some(watch) = self.links.get_mut(&key) else {
            return;
        };
        let (messages, senders) = watch.sum();
        let (scope, what) = key;
        let floods = senders >= SENDERS || messages >= MESSAGES;
        let until = event.at + QUIET;
        match &mut watch.open {
            Some(open) => {
                open.senders = open.senders.max(senders);
                if floods {
                    self.ends.remove(&(open.until, key));
                    open.until = until;
                    self.ends.insert((until, key));
                }
            }
            None if floods => {
                let (first, locator) = watch.first.unwrap_or((event.at, event.locator));
                let interface = net.sources.get(&scope.source);
                let interface = interface.and_then(|source| source.interface.as_deref());
                let subject = match interface {
                    Some(name) => Subject::Link(name.into()),
                    None => Subject::Source("packets".into()),
                };
                let mut finding = Finding::at(what.kind(), Severity::Warning, subject, first);
                finding.evidence.add(locator);
                if let Some(name) = interface {
                    finding.touch(Touch::Interface(name.into()));
                }
                // Few senders within a window that is full are one that never stops.
                let one = (senders <= 1).then_some(sender);
                if let Some(mac) = one {
                    finding.also(Subject::Mac(mac));
                    finding.touch(Touch::Mac(mac));
                }
                let on = super::link::kernel::quoted(interface.unwrap_or("IFACE"));
                finding.advice = vec![
                    "bridge fdb show | sort -k3 | uniq -c -f2   # which port has the many addresses".into(),
                    format!("tcpdump -eni {on} -c 50 {}", what.filter()),
                ];
                watch.open = Some(Open {
                    key: board.raise(finding),
                    messages,
                    senders,
                    one,
                    until,
                });
                self.ends.insert((until, key));
            }
            None => return,
        }
        let Some(open) = watch.open else { return };
        // Who takes addresses by it is told by name already: one flood is one finding.
        let named = |kind: Kind| {
            let mut of = board.of_kind(kind);
            of.any(|(_, finding)| finding.ended.is_none() && finding.last + QUIET >= event.at)
        };
        if what.kind() == Kind::DhcpFlood && named(Kind::DhcpStarvation) {
            watch.open = None;
            self.ends.remove(&(open.until, key));
            board.retract(open.key);
            return;
        }
        let answers = watch.answers;
        board.update(open.key, |finding| {
            finding.count = open.messages;
            finding.last = event.at;
            finding.support(event);
            finding.explain = explain(finding, key, &open, answers);
        });
    }
}

impl Watch {
    /// Comes to the second of an event; whether it is another one.
    fn turn(&mut self, event: &Event) -> bool {
        let second = event.at.0.div_euclid(1_000_000_000);
        if self.first.is_none() {
            self.now = second;
        }
        // Backwards: a clock was stepped, or two sources differ; what is counted stays in the second at hand.
        let ahead = second.saturating_sub(self.now).max(0);
        if ahead == 0 {
            self.first.get_or_insert((event.at, event.locator));
            return false;
        }
        for step in 1..=ahead.min(SECONDS as i64) {
            let next = (self.now + step).rem_euclid(SECONDS as i64) as usize;
            if let Some(second) = self.seconds.get_mut(next) {
                second.messages = 0;
                second.senders.clear();
            }
        }
        self.now = second;
        if self.open.is_none() && self.seconds.iter().all(|second| second.messages < BUSY) {
            self.first = Some((event.at, event.locator));
            self.answers = 0;
        }
        true
    }

    /// Counts a message of this second; how many there are.
    fn count(&mut self, sender: Mac) -> u64 {
        let at = self.now.rem_euclid(SECONDS as i64) as usize;
        let Some(second) = self.seconds.get_mut(at) else {
            return 0;
        };
        second.messages += 1;
        if second.messages > BUSY {
            second.senders.resize(WORDS, 0);
            let bit = spread(sender) % u64::from(BITS);
            if let Some(word) = second.senders.get_mut((bit / 64) as usize) {
                *word |= 1 << (bit % 64);
            }
        }
        second.messages
    }

    /// Messages and different senders of the window.
    fn sum(&self) -> (u64, u32) {
        let messages = self.seconds.iter().map(|second| second.messages).sum();
        let word = |at: usize| {
            let words = self.seconds.iter().filter_map(|s| s.senders.get(at));
            words.fold(0, |all, word| all | word)
        };
        let set: u32 = (0..WORDS).map(|at| word(at).count_ones()).sum();
        (messages, estimate(set))
    }
}

/// Different senders behind so many set bits.
fn estimate(set: u32) -> u32 {
    let bits = f64::from(BITS);
    let empty = (bits - f64::from(set)).max(1.0);
    (bits * (bits / empty).ln()).round() as u32
}

/// A fixed hash: the same input gives the same sentence everywhere (law 13). FNV-1a, finished so that its low bits depend on all octets.
fn spread(mac: Mac) -> u64 {
    let hash = mac.0.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x100_0000_01b3)
    });
    (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

/// The link and class of a message, and who sent it; no sender: a server's answer. `None`: nothing that is counted here.
fn sender(event: &Event, net: &NetState) -> Option<(Key, Option<Mac>)> {
    match &event.kind {
        EventKind::Arp(arp) => {
            let key = (Scope::of(event, &arp.frame), What::Arp);
            Some((key, Some(arp.sender_mac)))
        }
        EventKind::Nd(nd) if !matches!(nd.message, NdMessage::RouterAdvertisement(_)) => {
            let key = (Scope::of(event, &nd.frame), What::Nd);
            let mac = nd.frame.eth_src.or(nd.source_mac).or(nd.target_mac)?;
            Some((key, Some(mac)))
        }
        EventKind::Dhcp4(_) | EventKind::Dhcp6(_) => {
            let message = &net.leases.seen().filter(|seen| !seen.copy)?.message;
            let what = if message.v6 { What::Dhcp6 } else { What::Dhcp4 };
            let key = (Scope::of(event, &message.frame), what);
            if message.verb.is_answer() {
                return Some((key, None));
            }
            // Behind a relay are many links: what it passes on says nothing about one.
            let mac = message.client_mac.filter(|_| message.is_direct())?;
            Some((key, Some(mac)))
        }
        _ => None,
    }
}

fn explain(finding: &Finding, (scope, what): Key, open: &Open, answers: u64) -> String {
    /// From here on nearly all bits are set, and the estimate is a guess.
    const MANY: u32 = 60_000;
    let seconds = finding.last.since(finding.first).as_secs_f64();
    let rate = open.messages as f64 / seconds.max(1.0);
    let senders = match (open.one, open.senders) {
        (Some(mac), _) => format!("the one sender {mac}"),
        (None, n) if n > MANY => format!("more than {MANY} senders within {SECONDS} s"),
        (None, n) => format!("about {n} senders within {SECONDS} s"),
    };
    let vlans: Vec<String> = scope.vlans.iter().flatten().map(u16::to_string).collect();
    let vlan = if vlans.is_empty() {
        String::new()
    } else {
        format!(" in VLAN {}", vlans.join("."))
    };
    let answered = match (what, answers) {
        (What::Dhcp4 | What::Dhcp6, 0) => "; no server was seen to answer",
        _ => "",
    };
    format!(
        "{} {} in {seconds:.1} s{vlan} ({rate:.0} a second) from {senders}{answered}.",
        open.messages,
        what.messages(),
    )
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::event::frame::Frame;
    use crate::event::lan::Arp;
    use crate::event::source::Unit;
    use crate::event::{InputId, SourceId};
    use crate::state::Changes;

    #[derive(Default)]
    struct Rig {
        net: NetState,
        changes: Changes,
        floods: Floods,
        board: Board,
        frames: u64,
    }

    impl Rig {
        fn announce(&mut self, us: i64, sender: u32) {
            self.frames += 1;
            let [_, a, b, c] = sender.to_be_bytes();
            let mac = Mac([2, 0, 0, a, b, c]);
            // Each claims another address: the same frame within 2 ms would be a mirror's copy.
            let [.., high, low] = (self.frames as u32).to_be_bytes();
            let addr = Ipv4Addr::new(10, c, high, low);
            let arp = Arp {
                frame: Frame {
                    eth_src: Some(mac),
                    ..Frame::default()
                },
                op: 2,
                sender_mac: mac,
                sender_ip: addr,
                target_mac: mac,
                target_ip: addr,
            };
            self.event(us, EventKind::Arp(Box::new(arp)));
        }

        fn event(&mut self, us: i64, kind: EventKind) {
            let event = Event {
                at: Timestamp(us * 1_000),
                origin_at: None,
                source: SourceId(1),
                locator: Locator {
                    input: InputId(0),
                    unit: Unit::Frame,
                    number: self.frames,
                    offset: 0,
                },
                kind,
            };
            while let Some(at) = self.floods.next_deadline().filter(|at| *at <= event.at) {
                self.floods.expire(at, &self.net, &mut self.board);
            }
            self.net.apply(&event, &mut self.changes);
            let seen = Observation {
                event: &event,
                changes: &self.changes,
            };
            self.floods.observe(&seen, &self.net, &mut self.board);
        }

        fn ask(&mut self, us: i64, sender: u32) {
            self.frames += 1;
            let [_, a, b, c] = sender.to_be_bytes();
            let mut octets = vec![1, 1, 6, 0, 0, a, b, c];
            octets.resize(28, 0);
            octets.extend([2, 0, 0, a, b, c]);
            octets.resize(236, 0);
            octets.extend([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255]);
            octets.resize(300, 0);
            let context = crate::decode::UdpContext {
                frame: Frame {
                    eth_src: Some(Mac([2, 0, 0, a, b, c])),
                    ..Frame::default()
                },
                src_port: 68,
                dst_port: 67,
                ..Default::default()
            };
            let message = crate::decode::dhcp4::decode(&octets, &context).unwrap();
            self.event(us, EventKind::Dhcp4(Box::new(message)));
        }

        fn found(&self) -> Vec<&Finding> {
            self.board.iter().map(|(_, finding)| finding).collect()
        }
    }

    #[test]
    fn a_flood_of_invented_senders_is_one_finding_within_three_seconds_and_ends() {
        let mut rig = Rig::default();
        for n in 0..6_000 {
            rig.announce(i64::from(n) * 500, n);
            let told = !rig.found().is_empty();
            assert!(told || n < 4_000, "2,000 a second are told within two");
        }
        let found = rig.found();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].kind, found[0].ended), (Kind::NeighborFlood, None));
        assert!(found[0].explain.contains("(20"), "{}", found[0].explain);
        assert!(found[0].explain.contains("about 5"), "{}", found[0].explain);
        rig.announce(30_000_000, 1);
        assert!(rig.found()[0].ended.is_some());
    }

    #[test]
    fn a_flood_of_requests_that_nobody_answers_says_so() {
        let mut rig = Rig::default();
        for n in 0..5_000 {
            rig.ask(i64::from(n) * 500, n);
        }
        let found = rig.found();
        assert_eq!((found.len(), found[0].kind), (1, Kind::DhcpFlood));
        let explain = &found[0].explain;
        assert!(
            explain.ends_with("no server was seen to answer."),
            "{explain}"
        );
    }

    #[test]
    fn one_sender_that_never_stops_is_named() {
        let mut rig = Rig::default();
        for n in 0..40_000 {
            rig.announce(n * 100, 7);
        }
        let found = rig.found();
        assert_eq!(found.len(), 1);
        let explain = &found[0].explain;
        assert!(
            explain.contains("the one sender 02:00:00:00:00:07"),
            "{explain}"
        );
    }

    #[test]
    fn a_large_subnet_that_wakes_up_and_a_router_that_announces_its_addresses_are_quiet() {
        let mut rig = Rig::default();
        // A /22 after a power cut: everybody speaks three times within ten seconds.
        for n in 0..3_000_u32 {
            rig.announce(i64::from(n) * 3_300, n % 1000);
        }
        // A fail-over: one sender, two thousand addresses within a second.
        for n in 0..2_000 {
            rig.announce(60_000_000 + n * 500, 7);
        }
        assert_eq!(rig.board.iter().count(), 0);
    }

    #[test]
    fn the_estimate_is_near_the_truth() {
        for n in [100_u32, 1_000, 10_000, 40_000] {
            let mut bits = vec![false; BITS as usize];
            for sender in 0..n {
                let [_, a, b, c] = sender.wrapping_mul(2_654_435_761).to_be_bytes();
                bits[(spread(Mac([2, 1, 9, a, b, c])) % u64::from(BITS)) as usize] = true;
            }
            let told = estimate(bits.iter().filter(|bit| **bit).count() as u32);
            assert!(told.abs_diff(n) <= n / 12, "{told} of {n}");
        }
    }
}
