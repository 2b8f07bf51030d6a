use crate::detect::{Board, Detector, Finding, Kind, Settings, Severity};
use crate::event::bgp::*;
use crate::event::frame::Frame;
use crate::event::netlink::{Action, DumpDone, Dumped, Meta, RouteEvent};
use crate::event::{EventKind, Timestamp};
use crate::state::routes::testing::{self, address_event, link_event, route_event};
use crate::state::{Changes, NetState, Observation};

const HOST: &str = "192.0.2.2";
const PEER: &str = "192.0.2.1";
const HOST6: &str = "2001:db8:0:1::2";
const PEER6: &str = "2001:db8:0:1::1";
/// `RTPROT_BGP` of FRR.
const BGP: u8 = 186;

/// A host with an uplink to 192.0.2.1, whose routes were dumped, and a session with it over which everything is seen.
struct Lab {
    net: NetState,
    board: Board,
    detectors: Vec<Box<dyn Detector>>,
    changes: Changes,
    host: &'static str,
    peer: &'static str,
}

impl Lab {
    fn new(own: &[&str]) -> Lab {
        Lab::with(own, HOST, PEER)
    }

    fn with(own: &[&str], host: &'static str, peer: &'static str) -> Lab {
        let settings = Settings {
            own_prefixes: own.iter().map(|p| p.parse().unwrap()).collect(),
            ..Settings::default()
        };
        let mut detectors = Vec::new();
        super::register(&settings, &mut detectors);
        let mut lab = Lab {
            net: NetState::default(),
            board: Board::default(),
            detectors,
            changes: Changes::default(),
            host,
            peer,
        };
        lab.at(0, EventKind::Link(Box::new(link_event(9, "eth9", 0x11043))));
        let (v4, v6) = ("192.0.2.0/24", "2001:db8:0:1::/64");
        for (addr, len) in [(HOST, 24), (HOST6, 64)] {
            lab.at(
                0,
                EventKind::Address(Box::new(address_event(Action::New, 9, addr, len))),
            );
        }
        for (prefix, protocol, hop) in [
            ("0.0.0.0/0", 4, "192.0.2.254@9"),
            (v4, 2, "@9"),
            ("::/0", 4, "2001:db8:0:1::fe@9"),
            (v6, 2, "@9"),
        ] {
            let mut route = route_event(Action::New, prefix, protocol, &[hop]);
            route.meta = Meta {
                dump: true,
                seq: 1,
                ..Meta::default()
            };
            lab.at(0, EventKind::Route(Box::new(route)));
        }
        let done = DumpDone {
            what: Dumped::Routes,
            seq: 1,
            family: None,
        };
        lab.at(0, EventKind::DumpDone(done));
        lab.opens(0);
        lab
    }

    fn at(&mut self, ms: i64, kind: EventKind) {
        let event = testing::event(ms * 1_000_000, kind);
        self.advance(event.at);
        self.net.apply(&event, &mut self.changes);
        let seen = Observation {
            event: &event,
            changes: &self.changes,
        };
        for detector in &mut self.detectors {
            detector.observe(&seen, &self.net, &mut self.board);
        }
    }

    fn advance(&mut self, to: Timestamp) {
        loop {
            let model = self.net.next_deadline();
            let own = self
                .detectors
                .iter()
                .filter_map(|d| d.next_deadline())
                .min();
            let Some(next) = model.into_iter().chain(own).min().filter(|t| *t <= to) else {
                return;
            };
            if model == Some(next) {
                self.net.expire(next, &mut self.changes);
                let deadline = crate::event::Event::deadline(next);
                let seen = Observation {
                    event: &deadline,
                    changes: &self.changes,
                };
                for detector in &mut self.detectors {
                    detector.observe(&seen, &self.net, &mut self.board);
                }
                continue;
            }
            for detector in &mut self.detectors {
                detector.expire(next, &self.net, &mut self.board);
                assert!(detector.next_deadline().is_none_or(|t| t > next), "stuck");
            }
        }
    }

    fn until(&mut self, ms: i64) {
        self.advance(Timestamp(ms * 1_000_000));
    }

    fn bgp(&mut self, ms: i64, from_peer: bool, message: BgpMessage) {
        let (host, peer) = (self.host.parse().unwrap(), self.peer.parse().unwrap());
        let (from, to) = if from_peer {
            (peer, host)
        } else {
            (host, peer)
        };
        let session = Direction {
            from,
            to,
            from_port: if from_peer { 179 } else { 4000 },
            to_port: if from_peer { 4000 } else { 179 },
            from_as: 0,
            to_as: 0,
        };
        let event = BgpEvent {
            frame: Frame::default(),
            session,
            message,
        };
        self.at(ms, EventKind::Bgp(Box::new(event)));
    }

    fn opens(&mut self, ms: i64) {
        for from_peer in [false, true] {
            let open = Open {
                asn: 64502 - u32::from(from_peer),
                hold_time: 240,
                router_id: 1 + u32::from(from_peer),
                ..Open::default()
            };
            self.bgp(ms, from_peer, BgpMessage::Open(Box::new(open)));
        }
        for from_peer in [false, true] {
            self.bgp(ms + 1, from_peer, BgpMessage::Keepalive);
        }
    }

    fn announces(
        &mut self,
        ms: i64,
        from_peer: bool,
        prefix: &str,
        nexthop: &str,
        communities: &[u32],
    ) {
        let mut as_path = AsPath::default();
        as_path.push_segment(AS_SEQUENCE, 1);
        as_path.0.push(if from_peer { 64501 } else { 64502 });
        let update = Update {
            announced: vec![Nlri::unicast(prefix.parse().unwrap())],
            attributes: Attributes {
                as_path,
                next_hop: Some(nexthop.parse().unwrap()),
                communities: communities.to_vec(),
                ..Attributes::default()
            },
            ..Update::default()
        };
        self.bgp(ms, from_peer, BgpMessage::Update(Box::new(update)));
    }

    fn withdraws(&mut self, ms: i64, from_peer: bool, prefix: &str) {
        let update = Update {
            withdrawn: vec![Nlri::unicast(prefix.parse().unwrap())],
            ..Update::default()
        };
        self.bgp(ms, from_peer, BgpMessage::Update(Box::new(update)));
    }

    fn kernel(&mut self, ms: i64, action: Action, prefix: &str, protocol: u8, hop: &str, pid: u32) {
        let route = route_event(action, prefix, protocol, &[hop]);
        let meta = Meta {
            pid,
            ..Meta::default()
        };
        self.at(ms, EventKind::Route(Box::new(RouteEvent { meta, ..route })));
    }

    fn address(&mut self, ms: i64, action: Action, addr: &str) {
        let len = if addr.contains(':') { 128 } else { 32 };
        self.at(
            ms,
            EventKind::Address(Box::new(address_event(action, 9, addr, len))),
        );
    }

    fn all(&self) -> Vec<&Finding> {
        self.board.iter().map(|(_, finding)| finding).collect()
    }

    fn only(&self, kind: Kind) -> &Finding {
        let all = self.all();
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(all[0].kind, kind);
        all[0]
    }
}

/// Both families, each on its own session.
fn both(test: impl Fn(Lab, [&str; 4])) {
    test(
        Lab::with(&["203.0.113.0/24"], HOST, PEER),
        ["203.0.113.7/32", "203.0.113.7", PEER, "198.51.100.0/24"],
    );
    test(
        Lab::with(&["2001:db8:e1a5::/48"], HOST6, PEER6),
        [
            "2001:db8:e1a5::7/128",
            "2001:db8:e1a5::7",
            PEER6,
            "2001:db8:beef::/48",
        ],
    );
}

#[test]
fn a_daemons_route_that_somebody_else_took_is_missing_until_it_is_back() {
    both(|mut lab, [_, _, peer, prefix]| {
        let hop = format!("{peer}@9");
        lab.announces(1000, true, prefix, peer, &[]);
        lab.kernel(1100, Action::New, prefix, BGP, &hop, 500);
        lab.until(20_000);
        assert!(lab.all().is_empty());
        lab.kernel(20_000, Action::Del, prefix, BGP, &hop, 7777);
        lab.until(24_000);
        assert!(lab.all().is_empty(), "the daemon has 5 s");
        lab.until(26_000);
        assert_eq!(lab.only(Kind::RouteFibMissing).severity, Severity::Info);
        lab.until(90_000);
        let missing = lab.only(Kind::RouteFibMissing);
        assert_eq!(
            (missing.severity, missing.first),
            (Severity::Warning, Timestamp(20_000_000_000))
        );
        assert_eq!(missing.subjects[0].to_string(), format!("prefix:{prefix}"));
        lab.kernel(91_000, Action::New, prefix, BGP, &hop, 500);
        assert!(lab.only(Kind::RouteFibMissing).ended.is_some());
    });
}

#[test]
fn what_the_daemon_removes_or_bgp_no_longer_has_is_not_missing() {
    let mut lab = Lab::new(&[]);
    for prefix in ["198.51.100.0/24", "198.51.101.0/24", "198.51.102.0/24"] {
        lab.announces(1000, true, prefix, PEER, &[]);
        lab.kernel(1100, Action::New, prefix, BGP, "192.0.2.1@9", 500);
    }
    // Its own decision.
    lab.kernel(
        5000,
        Action::Del,
        "198.51.100.0/24",
        BGP,
        "192.0.2.1@9",
        500,
    );
    // Withdrawn at the same time.
    lab.withdraws(5000, true, "198.51.101.0/24");
    lab.kernel(
        5050,
        Action::Del,
        "198.51.101.0/24",
        BGP,
        "192.0.2.1@9",
        7777,
    );
    // Another owner has it now.
    lab.kernel(5100, Action::New, "198.51.102.0/24", 4, "192.0.2.9@9", 7777);
    lab.until(120_000);
    assert!(lab.all().is_empty(), "{:?}", lab.all());
}

#[test]
fn a_withdrawn_route_that_stays_in_the_kernel_is_stale() {
    both(|mut lab, [_, _, peer, prefix]| {
        let hop = format!("{peer}@9");
        lab.announces(1000, true, prefix, peer, &[]);
        lab.kernel(1100, Action::New, prefix, BGP, &hop, 500);
        lab.withdraws(20_000, true, prefix);
        lab.until(29_000);
        assert!(lab.all().is_empty());
        lab.until(31_000);
        assert!(lab.only(Kind::RouteFibStale).broken.subject);
        lab.kernel(40_000, Action::Del, prefix, BGP, &hop, 500);
        lab.until(41_000);
        assert!(lab.only(Kind::RouteFibStale).ended.is_some());
    });
}

#[test]
fn routes_that_follow_or_that_another_neighbor_gave_are_not_stale() {
    let mut lab = Lab::new(&[]);
    for prefix in ["198.51.100.0/24", "198.51.101.0/24"] {
        lab.announces(1000, true, prefix, PEER, &[]);
    }
    lab.kernel(
        1100,
        Action::New,
        "198.51.100.0/24",
        BGP,
        "192.0.2.1@9",
        500,
    );
    lab.kernel(
        1100,
        Action::New,
        "198.51.101.0/24",
        BGP,
        "192.0.2.77@9",
        500,
    );
    lab.withdraws(20_000, true, "198.51.100.0/24");
    lab.kernel(
        20_100,
        Action::Del,
        "198.51.100.0/24",
        BGP,
        "192.0.2.1@9",
        500,
    );
    // This one leads to a neighbor whose table was sent before we looked.
    lab.withdraws(20_000, true, "198.51.101.0/24");
    lab.until(60_000);
    assert!(lab.all().is_empty(), "{:?}", lab.all());
}

#[test]
fn a_lost_route_to_a_next_hop_hides_its_prefixes_until_it_returns() {
    let mut lab = Lab::new(&[]);
    lab.kernel(500, Action::New, "192.0.2.250/32", 4, "192.0.2.1@9", 600);
    lab.announces(1000, true, "198.51.100.0/24", "192.0.2.250", &[]);
    // Resolved by what is left of the connected network: nothing to say.
    lab.until(20_000);
    lab.kernel(20_000, Action::Del, "192.0.2.250/32", 4, "192.0.2.1@9", 600);
    lab.until(25_000);
    assert!(lab.all().is_empty());

    let mut lab = Lab::new(&[]);
    lab.kernel(500, Action::New, "10.255.0.0/24", 4, "192.0.2.1@9", 600);
    lab.announces(1000, true, "198.51.100.0/24", "10.255.0.9", &[]);
    lab.kernel(
        1100,
        Action::New,
        "198.51.100.0/24",
        BGP,
        "192.0.2.1@9",
        500,
    );
    lab.until(20_000);
    assert!(lab.all().is_empty());
    lab.kernel(20_000, Action::Del, "10.255.0.0/24", 4, "192.0.2.1@9", 600);
    lab.kernel(
        20_080,
        Action::Del,
        "198.51.100.0/24",
        BGP,
        "192.0.2.1@9",
        500,
    );
    lab.until(23_000);
    let finding = lab.only(Kind::PrefixNexthopUnresolved);
    assert_eq!(finding.subjects[0].to_string(), "nexthop:10.255.0.9");
    assert!(
        finding
            .affected
            .prefixes
            .contains(&"198.51.100.0/24".parse().unwrap())
    );
    lab.kernel(30_000, Action::New, "10.255.0.0/24", 4, "192.0.2.1@9", 600);
    assert!(lab.only(Kind::PrefixNexthopUnresolved).ended.is_some());
}

#[test]
fn a_next_hop_that_never_had_a_route_is_told_where_the_daemon_installs_others() {
    let mut lab = Lab::new(&[]);
    lab.announces(1000, true, "198.51.100.0/24", "10.255.0.9", &[]);
    lab.until(20_000);
    assert!(
        lab.all().is_empty(),
        "a host that installs nothing misses nothing"
    );

    let mut lab = Lab::new(&[]);
    lab.announces(1000, true, "198.51.101.0/24", PEER, &[]);
    lab.kernel(
        1100,
        Action::New,
        "198.51.101.0/24",
        BGP,
        "192.0.2.1@9",
        500,
    );
    lab.announces(1200, true, "198.51.100.0/24", "10.255.0.9", &[]);
    lab.until(20_000);
    assert!(
        lab.only(Kind::PrefixNexthopUnresolved)
            .explain
            .contains("no route but a default one")
    );
}

#[test]
fn an_elastic_ip_announced_without_its_address_is_a_black_hole() {
    both(|mut lab, [prefix, addr, ..]| {
        let host = lab.host;
        lab.announces(1000, false, prefix, host, &[]);
        lab.until(5000);
        assert!(lab.all().is_empty(), "the address may follow");
        lab.until(7000);
        assert!(lab.only(Kind::PrefixBlackholed).broken.subject);
        lab.address(8000, Action::New, addr);
        lab.until(9000);
        assert!(lab.only(Kind::PrefixBlackholed).ended.is_some());
    });
}

#[test]
fn addresses_guests_and_wanted_black_holes_are_none() {
    let mut lab = Lab::new(&[]);
    // On the host itself; to a guest; on an on-link network; asked for; passed on for somebody else.
    lab.address(500, Action::New, "203.0.113.1");
    lab.announces(1000, false, "203.0.113.1/32", HOST, &[]);
    lab.kernel(500, Action::New, "203.0.113.2/32", 4, "@12", 600);
    lab.announces(1000, false, "203.0.113.2/32", HOST, &[]);
    lab.announces(1000, false, "192.0.2.77/32", HOST, &[]);
    // Originated from a null route of exactly this address: somebody wrote it.
    let mut null = route_event(Action::New, "203.0.113.4/32", 196, &[]);
    null.kind = 6;
    lab.at(500, EventKind::Route(Box::new(null)));
    lab.announces(1000, false, "203.0.113.4/32", HOST, &[]);
    lab.until(10_000);
    assert!(lab.all().is_empty(), "{:?}", lab.all());
    lab.announces(
        11_000,
        false,
        "203.0.113.3/32",
        HOST,
        &[super::origin::BLACKHOLE],
    );
    lab.until(20_000);
    let wanted = lab.only(Kind::PrefixBlackholed);
    assert_eq!(
        (wanted.severity, wanted.explanations.len()),
        (Severity::Info, 1)
    );
}

#[test]
fn an_own_address_whose_announcement_was_withdrawn_is_told_after_half_a_minute() {
    both(|mut lab, [prefix, addr, ..]| {
        let host = lab.host;
        lab.address(500, Action::New, addr);
        lab.announces(1000, false, prefix, host, &[]);
        lab.withdraws(20_000, false, prefix);
        lab.until(49_000);
        assert!(lab.all().is_empty());
        lab.until(51_000);
        let finding = lab.only(Kind::AddressUnannounced);
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(finding.subjects[0].to_string(), format!("address:{addr}"));
        lab.announces(60_000, false, prefix, host, &[]);
        lab.address(61_000, Action::Del, addr);
        lab.until(70_000);
    });
}

#[test]
fn moved_drained_and_foreign_addresses_are_information() {
    // Another host announces it now.
    let mut lab = Lab::new(&["203.0.113.0/24"]);
    lab.address(500, Action::New, "203.0.113.7");
    lab.announces(1000, false, "203.0.113.7/32", HOST, &[]);
    lab.withdraws(20_000, false, "203.0.113.7/32");
    lab.announces(21_000, true, "203.0.113.7/32", PEER, &[]);
    lab.until(60_000);
    assert_eq!(lab.only(Kind::AddressUnannounced).severity, Severity::Info);
    // Drained before.
    let mut lab = Lab::new(&["203.0.113.0/24"]);
    lab.address(500, Action::New, "203.0.113.7");
    lab.announces(1000, false, "203.0.113.7/32", HOST, &[]);
    lab.announces(2000, false, "203.0.113.7/32", HOST, &[GRACEFUL_SHUTDOWN]);
    lab.withdraws(20_000, false, "203.0.113.7/32");
    lab.until(60_000);
    assert_eq!(lab.only(Kind::AddressUnannounced).severity, Severity::Info);
    // The address went with it, or was announced all the time.
    let mut lab = Lab::new(&["203.0.113.0/24"]);
    lab.address(500, Action::New, "203.0.113.7");
    lab.announces(1000, false, "203.0.113.7/32", HOST, &[]);
    lab.address(500, Action::New, "203.0.113.8");
    lab.announces(1000, false, "203.0.113.8/32", HOST, &[]);
    lab.withdraws(20_000, false, "203.0.113.7/32");
    lab.address(21_000, Action::Del, "203.0.113.7");
    lab.until(60_000);
    assert!(lab.all().is_empty(), "{:?}", lab.all());
}

#[test]
fn a_missing_route_of_a_node_names_who_should_have_kept_it() {
    let mut lab = Lab::new(&[]);
    let node = crate::event::netlink::IFF_UP | crate::event::netlink::IFF_RUNNING;
    let bridge = crate::state::routes::testing::link_event(12, "kube-ipvs0", node);
    lab.at(500, EventKind::Link(Box::new(bridge)));
    let (prefix, hop) = ("198.51.100.0/24", "192.0.2.1@9");
    lab.announces(1000, true, prefix, PEER, &[]);
    lab.kernel(1100, Action::New, prefix, BGP, hop, 500);
    lab.kernel(20_000, Action::Del, prefix, BGP, hop, 7777);
    lab.until(26_000);
    let missing = lab.only(Kind::RouteFibMissing);
    assert!(
        missing.explanations[0].starts_with("FRR on a Kubernetes node"),
        "{:?}",
        missing.explanations
    );
}
