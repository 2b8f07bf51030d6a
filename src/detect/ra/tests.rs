//! Hand-made advertisements, and the benign twin of each fault.

use super::*;
use crate::detect::{Kind, Severity, Subject};
use crate::event::frame::Frame;
use crate::event::lan::{Nd, PrefixInformation, RouterAdvertisement};
use crate::event::loss::Gap;
use crate::event::source::Unit;
use crate::event::{InputId, Locator, SourceId};
use crate::state::Changes;

/// Made from its MAC: fe80::5000:ff:fe00:1.
const ROUTER: &str = "fe80::5000:ff:fe00:1";
const REAL: Mac = Mac([0x52, 0, 0, 0, 0, 1]);
const FORGER: Mac = Mac([0x52, 9, 9, 9, 9, 9]);
const OTHER: &str = "fe80::2";
const OTHER_MAC: Mac = Mac([0x52, 0, 0, 0, 0, 2]);

/// Feeds events through the tables into the detector, as the engine does.
#[derive(Default)]
struct Rig {
    net: NetState,
    changes: Changes,
    detector: Advertisements,
    board: Board,
    frame: u64,
    source: Option<SourceId>,
}

fn ra(lifetime: u16) -> RouterAdvertisement {
    RouterAdvertisement {
        cur_hop_limit: 64,
        preference: Some(0),
        lifetime,
        prefixes: vec![pio("2001:db8:1::/64")],
        options: vec![1, 3],
        ..RouterAdvertisement::default()
    }
}

fn pio(prefix: &str) -> PrefixInformation {
    PrefixInformation {
        prefix: prefix.parse().unwrap(),
        on_link: true,
        autonomous: true,
        valid: 3600,
        preferred: 1800,
    }
}

impl Rig {
    fn event(&mut self, seconds: f64, kind: EventKind) {
        self.frame += 1;
        let at = Timestamp((seconds * 1e9) as i64);
        let event = Event {
            at,
            origin_at: None,
            source: self.source.unwrap_or(SourceId(1)),
            locator: Locator {
                input: InputId(0),
                unit: Unit::Frame,
                number: self.frame,
                offset: 0,
            },
            kind,
        };
        self.until(at);
        self.net.apply(&event, &mut self.changes);
        let seen = Observation {
            event: &event,
            changes: &self.changes,
        };
        self.detector.observe(&seen, &self.net, &mut self.board);
    }

    fn until(&mut self, to: Timestamp) {
        while let Some(at) = self.detector.next_deadline().filter(|at| *at <= to) {
            self.detector.expire(at, &self.net, &mut self.board);
            assert!(self.detector.next_deadline().is_none_or(|next| next > at));
        }
    }

    fn nd(&mut self, seconds: f64, router: &str, macs: (Mac, Option<Mac>), message: NdMessage) {
        let nd = Nd {
            frame: Frame {
                eth_src: Some(macs.0),
                ip_src: Some(router.parse().unwrap()),
                ip_dst: Some("ff02::1".parse().unwrap()),
                hop_limit: Some(255),
                ..Frame::default()
            },
            message,
            source_mac: macs.1,
            target_mac: None,
            flaws: vec![],
        };
        self.event(seconds, EventKind::Nd(Box::new(nd)));
    }

    fn advertise(&mut self, seconds: f64, router: &str, mac: Mac, ra: RouterAdvertisement) {
        let message = NdMessage::RouterAdvertisement(Box::new(ra));
        self.nd(seconds, router, (mac, Some(mac)), message);
    }

    /// Something that says nothing but that the link is still captured.
    fn heard(&mut self, seconds: f64) {
        let mac = Mac([0x52, 7, 7, 7, 7, 7]);
        self.nd(
            seconds,
            "fe80::77",
            (mac, None),
            NdMessage::RouterSolicitation,
        );
    }

    fn found(&self) -> Vec<(Kind, Severity, u64)> {
        self.board
            .iter()
            .map(|(_, f)| (f.kind, f.severity, f.count))
            .collect()
    }

    fn only(&self) -> &Finding {
        let mut all = self.board.iter();
        let (Some((_, finding)), None) = (all.next(), all.next()) else {
            panic!("not one finding: {:?}", self.found())
        };
        finding
    }
}

#[test]
fn a_frame_that_carries_another_mac_beside_the_real_router_is_forged() {
    for forged_first in [true, false] {
        let mut rig = Rig::default();
        for round in 0..4 {
            let at = f64::from(round) * 10.0;
            let forge = |rig: &mut Rig, at| {
                let message = NdMessage::RouterAdvertisement(Box::new(ra(0)));
                rig.nd(at, ROUTER, (FORGER, Some(REAL)), message);
            };
            if forged_first {
                forge(&mut rig, at);
            }
            rig.advertise(at + 1.0, ROUTER, REAL, ra(30));
            if !forged_first {
                forge(&mut rig, at + 2.0);
            }
        }
        let finding = rig.only();
        assert_eq!((finding.kind, finding.count), (Kind::RaSpoofed, 4));
        assert_eq!(
            finding.subjects,
            [
                Subject::Router(ROUTER.parse().unwrap()),
                Subject::Mac(FORGER)
            ]
        );
        assert_eq!(finding.occurrences.len(), 4);
        assert!(finding.occurrences[0].until.is_some());
        assert_eq!(finding.broken.default_route, !forged_first);
        rig.until(Timestamp(4_000_000_000_000));
        assert!(rig.only().ended.is_some());
    }
}

#[test]
fn a_sender_that_imitates_everything_but_the_mac_is_caught_by_taking_turns() {
    let mut rig = Rig::default();
    for round in 0..4 {
        let at = f64::from(round) * 10.0;
        rig.advertise(at, ROUTER, REAL, ra(1800));
        rig.advertise(at + 1.0, ROUTER, FORGER, ra(0));
    }
    let finding = rig.only();
    assert_eq!((finding.kind, finding.count), (Kind::RaSpoofed, 4));
    assert!(finding.subjects.contains(&Subject::Mac(FORGER)));
}

#[test]
fn a_router_whose_mac_changes_once_failed_over() {
    let mut rig = Rig::default();
    for round in 0..10 {
        let mac = if round < 5 { REAL } else { OTHER_MAC };
        rig.advertise(f64::from(round) * 10.0, ROUTER, mac, ra(1800));
    }
    assert_eq!(rig.found(), []);
}

#[test]
fn a_shutdown_with_its_final_advertisements_is_one_withdrawal() {
    let mut rig = Rig::default();
    for round in 0..5 {
        rig.advertise(f64::from(round) * 10.0, ROUTER, REAL, ra(1800));
    }
    for final_one in 0..3 {
        rig.advertise(50.0 + f64::from(final_one), ROUTER, REAL, ra(0));
    }
    rig.heard(5000.0);
    let finding = rig.only();
    assert_eq!(
        (finding.kind, finding.severity, finding.count),
        (Kind::RaRouterWithdrawn, Severity::Warning, 1)
    );
    assert!(finding.broken.default_route && finding.ended.is_none());
}

#[test]
fn a_shutdown_beside_another_router_is_a_note_and_a_restart_ends_it() {
    let mut rig = Rig::default();
    for round in 0..5 {
        let at = f64::from(round) * 10.0;
        rig.advertise(at, ROUTER, REAL, ra(1800));
        rig.advertise(at + 1.0, OTHER, OTHER_MAC, ra(1800));
    }
    rig.advertise(60.0, ROUTER, REAL, ra(0));
    assert_eq!(rig.found(), [(Kind::RaRouterWithdrawn, Severity::Info, 1)]);
    rig.advertise(63.0, ROUTER, REAL, ra(1800));
    assert!(rig.only().ended.is_some() && !rig.only().broken.subject);
}

#[test]
fn a_router_that_goes_and_comes_flaps() {
    let mut rig = Rig::default();
    for round in 0..4 {
        let at = f64::from(round) * 60.0;
        rig.advertise(at, ROUTER, REAL, ra(1800));
        rig.advertise(at + 30.0, ROUTER, REAL, ra(0));
    }
    rig.advertise(240.0, ROUTER, REAL, ra(1800));
    let finding = rig.only();
    assert_eq!((finding.kind, finding.count), (Kind::RaFlap, 4));
    assert_eq!(finding.first, Timestamp(30_000_000_000));
    assert!(!finding.broken.subject);
    rig.until(Timestamp(2_000_000_000_000));
    assert!(rig.only().ended.is_some());
}

#[test]
fn withdrawals_in_one_breath_that_are_built_unlike_the_others_are_forged() {
    let mut rig = Rig::default();
    for round in 0..5 {
        let at = f64::from(round) * 5.0;
        rig.advertise(at, ROUTER, REAL, ra(1800));
        let bare = RouterAdvertisement {
            prefixes: vec![],
            options: vec![1],
            ..ra(0)
        };
        rig.advertise(at + 1.0, ROUTER, REAL, bare);
    }
    assert_eq!(rig.only().kind, Kind::RaSpoofed);
    assert_eq!(rig.only().count, 5);
}

#[test]
fn a_router_without_a_default_role_withdraws_nothing() {
    let mut rig = Rig::default();
    for round in 0..10 {
        rig.advertise(f64::from(round) * 10.0, ROUTER, REAL, ra(0));
    }
    assert_eq!(rig.found(), []);
}

#[test]
fn silence_over_the_whole_lifetime_is_told_when_the_link_is_heard_again() {
    let mut rig = Rig::default();
    rig.advertise(0.0, ROUTER, REAL, ra(30));
    rig.advertise(10.0, ROUTER, REAL, ra(30));
    rig.until(Timestamp(100_000_000_000));
    assert_eq!(rig.found(), []);
    rig.heard(100.0);
    let finding = rig.only();
    assert_eq!(finding.kind, Kind::RaExpired);
    assert_eq!(finding.first, Timestamp(40_000_000_000));
    rig.advertise(110.0, ROUTER, REAL, ra(30));
    assert!(rig.only().ended.is_some());
}

#[test]
fn nothing_is_said_about_silence_in_a_gap_or_behind_the_end() {
    let mut gap = Rig::default();
    gap.advertise(0.0, ROUTER, REAL, ra(30));
    gap.advertise(10.0, ROUTER, REAL, ra(30));
    gap.event(
        20.0,
        EventKind::Gap(Box::new(Gap {
            kind: GapKind::CaptureDrops,
            from: Timestamp(15_000_000_000),
            to: Timestamp(20_000_000_000),
            lost: Some(9),
            detail: "drops".into(),
        })),
    );
    gap.heard(100.0);
    assert_eq!(gap.found(), []);

    let mut end = Rig::default();
    end.advertise(0.0, ROUTER, REAL, ra(30));
    end.advertise(10.0, ROUTER, REAL, ra(30));
    end.until(Timestamp(50_000_000_000));
    end.detector
        .finish(Timestamp(50_000_000_000), &end.net, &mut end.board);
    assert_eq!(end.found(), []);
}

#[test]
fn a_newcomer_that_takes_over_is_rogue_and_one_that_agrees_is_a_note() {
    let late = 3000.0;
    let settle = |rig: &mut Rig| {
        for round in 0..16 {
            rig.advertise(f64::from(round) * 200.0, ROUTER, REAL, ra(1800));
        }
    };
    let verdict = |newcomer: RouterAdvertisement| {
        let mut rig = Rig::default();
        settle(&mut rig);
        rig.advertise(late, OTHER, OTHER_MAC, newcomer);
        let finding = rig.only();
        assert_eq!(finding.kind, Kind::RaRogueRouter);
        finding.severity
    };
    assert_eq!(verdict(ra(1800)), Severity::Info);
    let preferred = RouterAdvertisement {
        preference: Some(1),
        ..ra(1800)
    };
    assert_eq!(verdict(preferred), Severity::Warning);
    let foreign = RouterAdvertisement {
        prefixes: vec![pio("2001:db8:bad::/64")],
        ..ra(1800)
    };
    assert_eq!(verdict(foreign), Severity::Warning);
    let injecting = RouterAdvertisement {
        routes: vec![("::/1".parse().unwrap(), 0, 600)],
        ..ra(0)
    };
    assert_eq!(verdict(injecting), Severity::Warning);
}

#[test]
fn a_router_that_the_host_had_not_learned_is_new_however_soon_it_is_heard() {
    use crate::event::netlink::{Action, DumpDone, Dumped};
    let foreign = RouterAdvertisement {
        prefixes: vec![pio("2001:db8:bad::/64")],
        ..ra(1800)
    };
    let run = |known: bool| {
        let mut rig = Rig::default();
        if known {
            let EventKind::Route(mut route) = learned(Action::New, 0) else {
                panic!("a route")
            };
            route.meta.dump = true;
            rig.event(0.5, EventKind::Route(route));
            rig.event(
                0.6,
                EventKind::DumpDone(DumpDone {
                    what: Dumped::Routes,
                    seq: 0,
                    family: None,
                }),
            );
        }
        rig.advertise(2.0, OTHER, OTHER_MAC, foreign.clone());
        rig.advertise(4.0, ROUTER, REAL, ra(1800));
        rig.advertise(6.0, OTHER, OTHER_MAC, foreign.clone());
        rig.found()
    };
    assert_eq!(run(true), [(Kind::RaRogueRouter, Severity::Warning, 1)]);
    // Without the host's routes nobody can say who was there first.
    assert_eq!(run(false), []);
}

#[test]
fn routers_heard_while_learning_are_the_links_own() {
    let mut rig = Rig::default();
    for round in 0..5 {
        let at = f64::from(round) * 300.0;
        rig.advertise(at, ROUTER, REAL, ra(1800));
        rig.advertise(at + 290.0, OTHER, OTHER_MAC, ra(1800));
    }
    assert_eq!(rig.found(), []);
}

#[test]
fn routers_that_disagree_about_the_link_are_noted_once() {
    let mut rig = Rig::default();
    let other = RouterAdvertisement {
        managed: true,
        mtu: Some(1400),
        ..ra(1800)
    };
    for round in 0..5 {
        let at = f64::from(round) * 10.0;
        rig.advertise(at, ROUTER, REAL, ra(1800));
        rig.advertise(at + 1.0, OTHER, OTHER_MAC, other.clone());
    }
    assert_eq!(rig.found(), [(Kind::RaInconsistent, Severity::Info, 1)]);
}

#[test]
fn a_flood_of_routers_is_one_finding() {
    let mut rig = Rig::default();
    for n in 0..600u32 {
        let mac = Mac([0x52, 3, 3, 3, (n >> 8) as u8, n as u8]);
        let mut advertisement = ra(1800);
        advertisement.prefixes = vec![pio(&format!("2001:db8:{n:x}::/64"))];
        rig.advertise(
            f64::from(n) * 0.02,
            &format!("fe80::{:x}", n + 1),
            mac,
            advertisement,
        );
    }
    assert_eq!(rig.only().kind, Kind::RaFlood);
    rig.until(Timestamp(4_000_000_000_000));
    assert!(rig.only().ended.is_some());
}

#[test]
fn advertisements_that_were_routed_or_hidden_are_attempts() {
    for (flaw, severity) in [
        (NdFlaw::HopLimit, Severity::Warning),
        (NdFlaw::Evasive, Severity::Warning),
        (NdFlaw::SourceNotLinkLocal, Severity::Info),
    ] {
        let mut rig = Rig::default();
        for second in 0..3 {
            let nd = Nd {
                frame: Frame {
                    eth_src: Some(FORGER),
                    ip_src: Some(OTHER.parse().unwrap()),
                    ..Frame::default()
                },
                message: NdMessage::RouterAdvertisement(Box::new(ra(1800))),
                source_mac: None,
                target_mac: None,
                flaws: vec![flaw],
            };
            rig.event(f64::from(second), EventKind::Nd(Box::new(nd)));
        }
        assert_eq!(rig.found(), [(Kind::RaSpoofed, severity, 3)]);
    }
}

/// What the kernel tells of the default route that it learned from [`ROUTER`].
fn learned(action: crate::event::netlink::Action, pid: u32) -> EventKind {
    use crate::event::netlink::{Hop, Meta, RouteEvent};
    EventKind::Route(Box::new(RouteEvent {
        meta: Meta {
            pid,
            ..Meta::default()
        },
        action,
        table: 254,
        prefix: Prefix::v6([0; 16], 0),
        metric: 1024,
        tos: 0,
        protocol: 9,
        scope: 0,
        kind: 1,
        flags: 0,
        prefsrc: None,
        hops: vec![Hop {
            gateway: Some(ROUTER.parse().unwrap()),
            ifindex: Some(4),
            weight: 1,
            flags: 0,
        }],
        nhid: None,
        expires: None,
    }))
}

/// A router that is heard once at 1 s, for 30 s, and a route that is deleted at `seconds`.
fn dropped(seconds: f64, pid: u32, last_lifetime: Option<u16>) -> Rig {
    use crate::event::netlink::Action;
    let mut rig = Rig::default();
    rig.advertise(1.0, ROUTER, REAL, ra(30));
    rig.event(1.1, learned(Action::New, 0));
    if let Some(lifetime) = last_lifetime {
        rig.advertise(2.0, ROUTER, REAL, ra(lifetime));
    }
    rig.event(seconds, learned(Action::Del, pid));
    rig.until(Timestamp(200_000_000_000));
    let now = Timestamp((seconds * 1e9) as i64);
    rig.detector.finish(now, &rig.net, &mut rig.board);
    rig
}

#[test]
fn the_kernels_deletion_of_a_learned_route_proves_the_expiry_of_a_router_heard_once() {
    let rig = dropped(45.0, 0, None);
    let finding = rig.only();
    assert_eq!(finding.kind, Kind::RaExpired);
    assert_eq!(finding.first, Timestamp(31_000_000_000));
}

#[test]
fn routes_that_go_early_late_by_hand_or_after_a_farewell_prove_no_expiry() {
    assert_eq!(dropped(20.0, 0, None).found(), []);
    assert_eq!(dropped(120.0, 0, None).found(), []);
    assert_eq!(dropped(45.0, 4711, None).found(), []);
    let farewell = dropped(45.0, 0, Some(0));
    assert_eq!(
        farewell.found(),
        [(Kind::RaRouterWithdrawn, Severity::Warning, 1)]
    );
}

#[test]
fn another_interface_of_the_same_capture_shows_that_it_goes_on_and_another_file_does_not() {
    for (input, expected) in [(0, 1), (1, 0)] {
        let mut rig = Rig::default();
        for (id, input) in [(1, 0), (2, input)] {
            let info = crate::event::SourceInfo {
                id: SourceId(id),
                input: InputId(input),
                kind: crate::event::SourceKind::Packets,
                interface: None,
                host: None,
                role: None,
            };
            rig.net.sources.insert(SourceId(id), info);
        }
        rig.advertise(0.0, ROUTER, REAL, ra(30));
        rig.advertise(10.0, ROUTER, REAL, ra(30));
        rig.source = Some(SourceId(2));
        rig.heard(100.0);
        assert_eq!(rig.found().len(), expected, "input {input}");
    }
}

fn with_dns(server: &str) -> RouterAdvertisement {
    RouterAdvertisement {
        rdnss: vec![(1800, vec![server.parse().unwrap()])],
        ..ra(1800)
    }
}

#[test]
fn other_name_servers_are_a_note_and_ones_that_alternate_a_fault() {
    let mut rig = Rig::default();
    rig.advertise(0.0, ROUTER, REAL, with_dns("2001:db8::53"));
    rig.advertise(10.0, ROUTER, REAL, with_dns("2001:db8::54"));
    assert_eq!(rig.found(), [(Kind::RaInconsistent, Severity::Info, 1)]);
    let told = &rig.only().explain;
    assert!(
        told.contains("name servers 2001:db8::54 instead of 2001:db8::53"),
        "{told}"
    );
    for round in 2..6 {
        let server = if round % 2 == 0 {
            "2001:db8::53"
        } else {
            "2001:db8::54"
        };
        rig.advertise(f64::from(round) * 10.0, ROUTER, REAL, with_dns(server));
    }
    assert_eq!(rig.found(), [(Kind::RaInconsistent, Severity::Warning, 5)]);
}

#[test]
fn a_router_that_splits_what_it_says_or_repeats_itself_changes_nothing() {
    let mut rig = Rig::default();
    for round in 0..10 {
        let at = f64::from(round) * 10.0;
        rig.advertise(at, ROUTER, REAL, with_dns("2001:db8::53"));
        rig.advertise(at + 1.0, ROUTER, REAL, ra(1800));
    }
    assert_eq!(rig.found(), []);
}

#[test]
fn a_known_router_that_takes_everybodys_traffic_by_a_wide_route_is_told_at_once() {
    let mut rig = Rig::default();
    rig.advertise(0.0, ROUTER, REAL, ra(1800));
    let mut wide = ra(1800);
    wide.routes = vec![("8000::/1".parse().unwrap(), 1, 600)];
    rig.advertise(10.0, ROUTER, REAL, wide);
    assert_eq!(rig.found(), [(Kind::RaInconsistent, Severity::Warning, 1)]);
    // A route into the site is everyday.
    let mut rig = Rig::default();
    rig.advertise(0.0, ROUTER, REAL, ra(1800));
    let mut site = ra(1800);
    site.routes = vec![("2001:db8:77::/48".parse().unwrap(), 0, 600)];
    rig.advertise(10.0, ROUTER, REAL, site);
    assert_eq!(rig.found(), []);
}

/// The LAN's prefixes with their valid and preferred lifetimes.
fn with_prefixes(prefixes: &[(&str, u32, u32)]) -> RouterAdvertisement {
    RouterAdvertisement {
        prefixes: prefixes
            .iter()
            .map(|(prefix, valid, preferred)| PrefixInformation {
                valid: *valid,
                preferred: *preferred,
                ..pio(prefix)
            })
            .collect(),
        ..ra(1800)
    }
}

const OLD: &str = "2001:db8:1::/64";
const NEW: &str = "2001:db8:2::/64";

/// R5: a prefix is taken back. With another one it is a renumbering, without one the hosts lose their addresses.
#[test]
fn lifetimes_that_a_router_takes_back_are_told_and_loud_where_no_prefix_is_left() {
    for (after, severity) in [
        (&[(OLD, 60, 0), (NEW, 86_400, 14_400)][..], Severity::Info),
        (&[(OLD, 60, 0)][..], Severity::Warning),
    ] {
        let mut rig = Rig::default();
        rig.advertise(0.0, ROUTER, REAL, with_prefixes(&[(OLD, 86_400, 14_400)]));
        rig.advertise(60.0, ROUTER, REAL, with_prefixes(&[(OLD, 86_400, 14_400)]));
        rig.advertise(120.0, ROUTER, REAL, with_prefixes(after));
        assert_eq!(rig.found(), [(Kind::RaInconsistent, severity, 1)]);
        let told = rig.only();
        assert!(
            told.explain
                .contains("2001:db8:1::/64 is preferred for 0 s more instead of for 14340 s, and valid for 60 s instead of for 86340 s"),
            "{}",
            told.explain
        );
        let cut = told.affected.routes.iter().map(ToString::to_string);
        assert_eq!(cut.collect::<Vec<_>>(), [OLD]);
    }
}

#[test]
fn lifetimes_that_count_down_or_shrink_a_little_are_not_taken_back() {
    let mut rig = Rig::default();
    for second in (0..=3600).step_by(200) {
        let left = 3600 - second;
        let advertisement = with_prefixes(&[(OLD, left, left / 2), (NEW, 86_400, 14_400)]);
        rig.advertise(f64::from(second), ROUTER, REAL, advertisement);
    }
    assert_eq!(rig.found(), []);
    let mut rig = Rig::default();
    rig.advertise(0.0, ROUTER, REAL, with_prefixes(&[(OLD, 86_400, 14_400)]));
    rig.advertise(60.0, ROUTER, REAL, with_prefixes(&[(OLD, 64_800, 10_800)]));
    assert_eq!(rig.found(), []);
}

/// The delegated prefix changes, and the LAN's prefix with it.
#[test]
fn a_lan_that_is_renumbered_by_prefix_delegation_says_so() {
    use crate::event::dhcp6::IaPrefix;
    use crate::state::leases::tests::v6;

    let mut rig = Rig::default();
    rig.advertise(0.0, ROUTER, REAL, with_prefixes(&[(OLD, 86_400, 14_400)]));
    for kind in [3, 7] {
        let mut message = v6(kind, 9, 86_400);
        message.addresses.clear();
        message.prefixes = vec![IaPrefix {
            iaid: 1,
            prefix: "2001:db8:2::/56".parse().unwrap(),
            preferred: 14_400,
            valid: 86_400,
            t1: 0,
            t2: 0,
        }];
        rig.event(100.0, EventKind::Dhcp6(Box::new(message)));
    }
    rig.advertise(
        108.0,
        ROUTER,
        REAL,
        with_prefixes(&[(OLD, 7200, 0), (NEW, 86_400, 14_400)]),
    );
    let told = rig.only();
    assert_eq!(
        told.explanations,
        [
            "DHCPv6 prefix delegation renumbers the LAN: 2001:db8:2::/56 was delegated 8 s before (RFC 8415 §6.3, RFC 9096)"
        ]
    );
}

fn advertisement(router: bool) -> NdMessage {
    NdMessage::NeighborAdvertisement {
        target: ROUTER.parse().unwrap(),
        router,
        solicited: true,
        overriding: true,
    }
}

#[test]
fn a_router_flag_that_goes_withdraws_the_router_until_it_advertises_again() {
    let mut rig = Rig::default();
    rig.advertise(0.0, ROUTER, REAL, ra(1800));
    rig.nd(5.0, ROUTER, (REAL, Some(REAL)), advertisement(true));
    rig.nd(9.0, ROUTER, (REAL, Some(REAL)), advertisement(false));
    assert_eq!(
        rig.found(),
        [(Kind::RaRouterWithdrawn, Severity::Warning, 1)]
    );
    assert!(rig.only().broken.default_route);
    rig.advertise(12.0, ROUTER, REAL, ra(1800));
    assert!(rig.only().ended.is_some() && !rig.only().broken.default_route);
    // Benign: a host never was a router, and one that advertises lifetime 0 is none by its own word.
    let mut rig = Rig::default();
    rig.advertise(0.0, OTHER, OTHER_MAC, ra(1800));
    for at in [1.0, 2.0, 3.0] {
        rig.nd(at, ROUTER, (REAL, Some(REAL)), advertisement(false));
    }
    assert_eq!(rig.found(), []);
    let mut rig = Rig::default();
    rig.advertise(0.0, ROUTER, REAL, ra(0));
    rig.nd(1.0, ROUTER, (REAL, Some(REAL)), advertisement(false));
    assert_eq!(rig.found(), []);
    // Sent by somebody else.
    let mut rig = Rig::default();
    rig.advertise(0.0, ROUTER, REAL, ra(1800));
    rig.nd(5.0, ROUTER, (REAL, Some(REAL)), advertisement(true));
    rig.nd(9.0, ROUTER, (FORGER, Some(FORGER)), advertisement(false));
    assert_eq!(rig.found(), [(Kind::RaSpoofed, Severity::Warning, 1)]);
}

#[test]
fn a_router_whose_flag_goes_after_each_advertisement_flaps_and_is_one_finding() {
    let mut rig = Rig::default();
    for round in 0..4 {
        let at = f64::from(round) * 10.0;
        // The advertisement with a lifetime says that it is a router; no flag was seen before.
        rig.advertise(at, ROUTER, REAL, ra(1800));
        rig.nd(at + 5.0, ROUTER, (REAL, Some(REAL)), advertisement(false));
    }
    assert_eq!(rig.found(), [(Kind::RaFlap, Severity::Warning, 4)]);
    assert!(rig.only().broken.default_route);
    rig.advertise(40.0, ROUTER, REAL, ra(1800));
    assert!(!rig.only().broken.default_route);
}

#[test]
fn redirects_from_a_foreign_sender_are_forged_and_the_routers_own_are_not() {
    let redirect = || NdMessage::Redirect {
        target: "fe80::66".parse().unwrap(),
        destination: "2001:db8:9::1".parse().unwrap(),
    };
    let mut rig = Rig::default();
    rig.advertise(0.0, ROUTER, REAL, ra(1800));
    rig.nd(1.0, ROUTER, (REAL, None), redirect());
    rig.nd(1.5, OTHER, (OTHER_MAC, None), redirect());
    assert_eq!(rig.found(), []);
    rig.nd(2.0, ROUTER, (FORGER, None), redirect());
    assert_eq!(rig.found(), [(Kind::RaSpoofed, Severity::Info, 1)]);
    rig.nd(3.0, ROUTER, (FORGER, None), redirect());
    assert_eq!(rig.found(), [(Kind::RaSpoofed, Severity::Warning, 2)]);
    assert!(rig.only().subjects.contains(&Subject::Mac(FORGER)));
}

fn flagged(router: &str) -> NdMessage {
    NdMessage::NeighborAdvertisement {
        target: router.parse().unwrap(),
        router: true,
        solicited: true,
        overriding: true,
    }
}

/// RFC 4861 §6.2.5, RFC 4291 §2.5.1. The benign twin: the router itself ends its role.
#[test]
fn an_end_of_the_role_from_another_mac_than_the_address_is_made_of_is_forged() {
    let mut rig = Rig::default();
    rig.advertise(0.0, ROUTER, REAL, ra(1800));
    let message = NdMessage::RouterAdvertisement(Box::new(ra(0)));
    rig.nd(3.0, ROUTER, (FORGER, None), message.clone());
    assert_eq!(rig.found(), [(Kind::RaSpoofed, Severity::Warning, 1)]);
    assert!(rig.only().subjects.contains(&Subject::Mac(FORGER)));
    let mut rig = Rig::default();
    rig.advertise(0.0, ROUTER, REAL, ra(1800));
    rig.nd(3.0, ROUTER, (REAL, None), message);
    assert_eq!(
        rig.found(),
        [(Kind::RaRouterWithdrawn, Severity::Warning, 1)]
    );
}

/// The benign twin: a partner that took the address over, gives it back and ends its own part of the role.
#[test]
fn a_router_that_goes_on_refutes_the_end_that_another_told() {
    let mut rig = Rig::default();
    rig.advertise(0.0, OTHER, OTHER_MAC, ra(1800));
    let message = NdMessage::RouterAdvertisement(Box::new(ra(0)));
    rig.nd(3.0, OTHER, (FORGER, None), message.clone());
    assert_eq!(
        rig.found(),
        [(Kind::RaRouterWithdrawn, Severity::Warning, 1)]
    );
    rig.nd(4.0, OTHER, (OTHER_MAC, None), flagged(OTHER));
    assert_eq!(rig.found(), [(Kind::RaSpoofed, Severity::Warning, 1)]);
    assert!(!rig.only().broken.default_route);
    let mut rig = Rig::default();
    rig.advertise(0.0, OTHER, OTHER_MAC, ra(1800));
    rig.advertise(10.0, OTHER, FORGER, ra(1800));
    rig.nd(20.0, OTHER, (FORGER, None), message);
    rig.nd(21.0, OTHER, (OTHER_MAC, None), flagged(OTHER));
    assert!(
        rig.found()
            .iter()
            .all(|(kind, ..)| *kind != Kind::RaSpoofed)
    );
}
