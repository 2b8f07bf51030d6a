use super::*;
use crate::event::bgp::{BgpEvent, BgpMessage, Direction, GRACEFUL_SHUTDOWN, Notification, Open};
use crate::event::bmp::{BmpEvent, BmpMessage, PerPeer, Rib};
use crate::event::frame::Frame;
use crate::event::netlink::RouteEvent;
use crate::event::netlink::{Action, AddressEvent, IFF_LOWER_UP, IFF_UP, LinkEvent, Meta};
use crate::event::source::Unit;
use crate::event::tcp::{TcpAuth, TcpEvent, TcpFact};
use crate::event::{EventKind, InputId, SourceId, SourceInfo, SourceKind, WireText};
use crate::state::Changes;
use std::net::{IpAddr, SocketAddr};

/// The analysed host 192.0.2.2 (AS64502) and its neighbor 192.0.2.1 (AS64501) on `eth9`.
pub(super) struct Lab {
    net: NetState,
    detector: SessionLosses,
    board: Board,
    trouble: trouble::Trouble,
    /// What `trouble` found.
    pub(super) troubles: Board,
    paths: path::PeerPaths,
    gone: gone::SpeakerGone,
    /// What these two found.
    pub(super) found: Board,
    changes: Changes,
    number: u64,
}

impl Lab {
    pub(super) fn new() -> Lab {
        let mut lab = Lab {
            net: NetState::default(),
            detector: SessionLosses::default(),
            board: Board::default(),
            trouble: trouble::Trouble::default(),
            troubles: Board::default(),
            paths: path::PeerPaths::default(),
            gone: gone::SpeakerGone::default(),
            found: Board::default(),
            changes: Changes::default(),
            number: 0,
        };
        lab.event(
            0,
            EventKind::Source(Box::new(SourceInfo {
                id: SourceId(0),
                input: InputId(0),
                kind: SourceKind::Packets,
                interface: Some("eth9".into()),
                host: None,
                role: None,
            })),
        );
        lab.event(
            0,
            EventKind::Address(Box::new(AddressEvent {
                meta: Meta::default(),
                action: Action::New,
                ifindex: 9,
                addr: "192.0.2.2".parse().unwrap(),
                prefix_len: 24,
                flags: 0x80,
                scope: 0,
                preferred: None,
                valid: None,
                protocol: None,
            })),
        );
        lab.link(0, true);
        lab
    }

    pub(super) fn event(&mut self, ms: i64, kind: EventKind) {
        self.number += 1;
        let event = Event {
            at: Timestamp(ms * 1_000_000),
            origin_at: None,
            source: SourceId(0),
            locator: Locator {
                input: InputId(0),
                unit: Unit::Frame,
                number: self.number,
                offset: 0,
            },
            kind,
        };
        loop {
            let model = self.net.next_deadline().filter(|at| *at <= event.at);
            let detector = [self.detector.next_deadline(), self.gone.next_deadline()];
            let detector = detector.into_iter().flatten().min();
            let detector = detector.filter(|at| *at <= event.at);
            let Some(now) = [model, detector].into_iter().flatten().min() else {
                break;
            };
            if model == Some(now) {
                self.net.expire(now, &mut self.changes);
                let deadline = Event::deadline(now);
                let seen = Observation {
                    event: &deadline,
                    changes: &self.changes,
                };
                self.detector.observe(&seen, &self.net, &mut self.board);
                self.paths.observe(&seen, &self.net, &mut self.found);
                self.gone.observe(&seen, &self.net, &mut self.found);
            }
            self.gone.expire(now, &self.net, &mut self.found);
            self.detector.expire(now, &self.net, &mut self.board);
        }
        self.net.apply(&event, &mut self.changes);
        let seen = Observation {
            event: &event,
            changes: &self.changes,
        };
        self.detector.observe(&seen, &self.net, &mut self.board);
        self.trouble.observe(&seen, &self.net, &mut self.troubles);
        self.paths.observe(&seen, &self.net, &mut self.found);
        self.gone.observe(&seen, &self.net, &mut self.found);
    }

    /// A fact about a segment of the peer's or the host's.
    pub(super) fn tcp(
        &mut self,
        ms: i64,
        from_peer: bool,
        port: u16,
        what: TcpFact,
        auth: Option<TcpAuth>,
    ) {
        let (peer, host) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let (peer, host) = (SocketAddr::new(peer, 179), SocketAddr::new(host, port));
        let (src, dst) = if from_peer {
            (peer, host)
        } else {
            (host, peer)
        };
        let event = TcpEvent {
            frame: Frame::default(),
            src,
            dst,
            auth,
            what,
        };
        self.event(ms, EventKind::Tcp(Box::new(event)));
    }

    pub(super) fn route(&mut self, ms: i64, pid: u32, mut route: RouteEvent) {
        route.meta.pid = pid;
        self.event(ms, EventKind::Route(Box::new(route)));
    }

    pub(super) fn link(&mut self, ms: i64, carrier: bool) {
        let flags = IFF_UP | if carrier { IFF_LOWER_UP } else { 0 };
        self.event(
            ms,
            EventKind::Link(Box::new(LinkEvent {
                meta: Meta::default(),
                action: Action::New,
                family: 0,
                ifindex: 9,
                name: "eth9".into(),
                flags,
                operstate: None,
                carrier: Some(carrier),
                carrier_changes: None,
                carrier_up_count: None,
                carrier_down_count: None,
                master: None,
                lower: None,
                mac: None,
                mtu: None,
                link_kind: None,
            })),
        );
    }

    pub(super) fn bgp(&mut self, ms: i64, from_peer: bool, port: u16, message: BgpMessage) {
        let (peer, host) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let session = if from_peer {
            Direction {
                from: peer,
                to: host,
                from_port: 179,
                to_port: port,
                from_as: 0,
                to_as: 0,
            }
        } else {
            Direction {
                from: host,
                to: peer,
                from_port: port,
                to_port: 179,
                from_as: 0,
                to_as: 0,
            }
        };
        self.event(
            ms,
            EventKind::Bgp(Box::new(BgpEvent {
                frame: Frame::default(),
                session,
                message,
            })),
        );
    }

    pub(super) fn establish(&mut self, ms: i64, port: u16) {
        self.open(ms, port);
        self.bgp(ms + 2, false, port, BgpMessage::Keepalive);
        self.bgp(ms + 3, true, port, BgpMessage::Keepalive);
    }

    fn open(&mut self, ms: i64, port: u16) {
        for (n, from_peer) in [(0, false), (1, true)] {
            let open = Open {
                asn: 64502 - u32::from(from_peer),
                hold_time: 3,
                router_id: 1 + n as u32,
                ..Open::default()
            };
            self.bgp(ms + n, from_peer, port, BgpMessage::Open(Box::new(open)));
        }
    }

    /// Established long enough to be no start-up.
    pub(super) fn settled() -> Lab {
        let mut lab = Lab::new();
        lab.establish(0, 4000);
        lab.talk(1000, 8000, 4000);
        lab
    }

    pub(super) fn talk(&mut self, from: i64, to: i64, port: u16) {
        for ms in (from..=to).step_by(1000) {
            self.bgp(ms, true, port, BgpMessage::Keepalive);
            self.bgp(ms + 1, false, port, BgpMessage::Keepalive);
        }
    }

    pub(super) fn only(&self) -> &Finding {
        let mut all = self.board.iter();
        let (_, finding) = all.next().expect("a finding");
        assert!(all.next().is_none(), "only one finding");
        finding
    }
}

pub(super) fn notification(
    code: u8,
    subcode: u8,
    inner: Option<(u8, u8)>,
    text: Option<&str>,
) -> BgpMessage {
    BgpMessage::Notification(Notification {
        code,
        subcode,
        inner,
        text: text.map(WireText::from),
        max_prefix: None,
        data: Vec::new(),
    })
}

fn peer_down() -> EventKind {
    bmp(BmpMessage::PeerDown {
        reason: 2,
        fsm_event: Some(0),
        notification: None,
        table: None,
    })
}

fn bmp(message: BmpMessage) -> EventKind {
    EventKind::Bmp(Box::new(BmpEvent {
        router: Some("198.51.100.1:5000".parse().unwrap()),
        connection: 1,
        peer: Some(PerPeer {
            peer_type: 0,
            rib: Rib::AdjInPre,
            distinguisher: 0,
            addr: "192.0.2.2".parse().unwrap(),
            asn: 64502,
            router_id: 1,
            legacy_as_path: false,
            stamp: Timestamp(0),
        }),
        message,
    }))
}

#[test]
fn a_peer_down_in_a_feed_joined_in_its_middle_is_a_loss_and_of_a_peer_that_never_was_up_is_none() {
    let mut lab = Lab::new();
    let notified = bmp(BmpMessage::PeerDown {
        reason: 3,
        fsm_event: None,
        notification: match notification(6, 4, None, None) {
            BgpMessage::Notification(n) => Some(n),
            _ => None,
        },
        table: None,
    });
    lab.event(1000, notified);
    lab.event(3000, peer_down());
    lab.event(9000, peer_down());
    assert_eq!((lab.only().kind, lab.only().count), (Kind::SessionDown, 1));
    // FRR says "local, event 0" at each failed attempt of a peer that was not up: that alone proves nothing.
    let mut lab = Lab::new();
    lab.event(1000, peer_down());
    lab.event(3000, peer_down());
    assert!(lab.board.is_empty());
    // The feed told from its beginning who is up.
    let mut lab = Lab::new();
    let EventKind::Bmp(mut initiation) = bmp(BmpMessage::Initiation {
        sys_name: None,
        sys_descr: None,
        text: None,
    }) else {
        unreachable!()
    };
    initiation.peer = None;
    lab.event(1000, EventKind::Bmp(initiation));
    lab.event(1100, peer_down());
    lab.event(9000, peer_down());
    lab.event(20_000, peer_down());
    assert!(lab.board.is_empty());
}

#[test]
fn a_hard_reset_tells_its_inner_reason_and_a_second_one_makes_a_flap() {
    let mut lab = Lab::settled();
    lab.bgp(8500, true, 4000, notification(6, 9, Some((6, 4)), None));
    assert_eq!(
        (lab.only().kind, lab.only().reason, lab.only().count),
        (Kind::SessionDown, Some(Reason::AdminReset), 1)
    );
    assert_eq!(lab.only().subjects[0].to_string(), "peer:192.0.2.1");
    assert!(lab.only().broken.subject);
    lab.establish(9000, 4001);
    assert!(!lab.only().broken.subject);
    lab.talk(10_000, 12_000, 4001);
    lab.bgp(12_500, true, 4001, notification(6, 4, None, None));
    assert_eq!((lab.only().kind, lab.only().count), (Kind::SessionFlap, 2));
}

#[test]
fn a_planned_shutdown_is_information() {
    let mut lab = Lab::settled();
    lab.bgp(
        8500,
        true,
        4000,
        notification(6, 2, None, Some("maintenance")),
    );
    assert_eq!(
        (lab.only().severity, lab.only().planned),
        (Severity::Info, true)
    );
}

/// An UPDATE of the neighbor's about ten /24s, or the first `n` of them.
fn announce(n: u8, marked: bool) -> BgpMessage {
    let mut update = crate::event::bgp::Update {
        announced: (0..n)
            .map(|i| crate::event::bgp::Nlri::unicast(format!("203.0.{i}.0/24").parse().unwrap()))
            .collect(),
        ..Default::default()
    };
    if marked {
        update.attributes.communities = vec![GRACEFUL_SHUTDOWN];
    }
    BgpMessage::Update(Box::new(update))
}

/// The neighbor announces ten routes, then says this, and its process dies.
fn dies_after(said: Vec<BgpMessage>) -> Lab {
    let mut lab = Lab::settled();
    for (n, message) in [announce(10, false)].into_iter().chain(said).enumerate() {
        lab.bgp(8100 + n as i64, true, 4000, message);
    }
    lab.bgp(8500, true, 4000, notification(6, 4, None, None));
    lab
}

#[test]
fn a_session_that_was_drained_before_is_planned_whatever_ends_it() {
    let withdraw = || {
        let BgpMessage::Update(update) = announce(10, false) else {
            unreachable!()
        };
        BgpMessage::Update(Box::new(crate::event::bgp::Update {
            withdrawn: update.announced.clone(),
            ..Default::default()
        }))
    };
    for said in [
        vec![announce(10, true)],
        // Withdrawn after the drain, before the session goes.
        vec![announce(10, true), withdraw()],
    ] {
        let mut lab = dies_after(said);
        let only = lab.only();
        assert_eq!((only.severity, only.planned), (Severity::Info, true));
        assert_eq!(only.explanations, [drain::DRAINED]);
        // It returns and falls without another drain.
        lab.establish(9000, 4001);
        lab.talk(10_000, 30_000, 4001);
        lab.bgp(30_500, true, 4001, notification(6, 4, None, None));
        let only = lab.only();
        assert_eq!((only.severity, only.planned), (Severity::Warning, false));
    }
}

#[test]
fn a_session_of_which_little_was_drained_or_no_longer_is_not_planned() {
    for said in [
        vec![],
        vec![announce(4, true)],
        vec![announce(10, true), announce(10, false)],
    ] {
        let lab = dies_after(said);
        let only = lab.only();
        assert_eq!((only.severity, only.planned), (Severity::Warning, false));
        assert!(only.explanations.is_empty());
    }
}

#[test]
fn routes_that_were_always_marked_are_not_drained() {
    let mut lab = Lab::settled();
    lab.bgp(8100, true, 4000, announce(10, true));
    lab.bgp(8500, true, 4000, notification(6, 4, None, None));
    assert!(!lab.only().planned);
}

/// The drain began before anybody watched: the feed's first table shows the mark.
#[test]
fn a_drain_that_was_under_way_before_the_watching_began_makes_what_follows_planned() {
    for (marked, planned) in [(true, true), (false, false)] {
        let mut lab = Lab::new();
        let open = |asn, router_id| {
            Box::new(crate::event::bgp::Open {
                version: 4,
                asn,
                hold_time: 9,
                router_id,
                ..Default::default()
            })
        };
        lab.event(
            0,
            bmp(BmpMessage::PeerUp {
                local: "192.0.2.1".parse().unwrap(),
                local_port: 179,
                remote_port: 4000,
                sent_open: open(64501, 2),
                received_open: open(64502, 1),
            }),
        );
        let BgpMessage::Update(update) = announce(10, marked) else {
            unreachable!()
        };
        lab.event(100, bmp(BmpMessage::RouteMonitoring(update)));
        lab.event(
            60_000,
            bmp(BmpMessage::PeerDown {
                reason: 4,
                fsm_event: None,
                notification: None,
                table: None,
            }),
        );
        lab.event(70_000, EventKind::Deadline);
        let (_, down) = lab.board.of_kind(Kind::SessionDown).next().unwrap();
        assert_eq!(down.planned, planned, "marked: {marked}");
    }
}

#[test]
fn a_link_without_carrier_explains_what_bmp_cannot() {
    let mut lab = Lab::settled();
    lab.link(8500, false);
    lab.event(8510, peer_down());
    lab.event(8600, peer_down()); // FRR repeats itself
    lab.link(9500, true);
    assert_eq!(
        (lab.only().reason, lab.only().count),
        (Some(Reason::LinkDown), 1)
    );
    assert!(
        lab.only()
            .rejected
            .iter()
            .any(|(_, reason, _)| *reason == Some(Reason::HoldTimerExpired))
    );
}

#[test]
fn silence_for_the_hold_time_with_the_link_up_is_a_hold_timer() {
    let mut lab = Lab::settled();
    // Only the host still talks.
    for ms in (9000..13_000).step_by(1000) {
        lab.bgp(ms, false, 4000, BgpMessage::Keepalive);
    }
    lab.bgp(13_000, false, 4000, BgpMessage::Keepalive);
    assert_eq!(lab.only().reason, Some(Reason::HoldTimerExpired));
    assert_eq!(
        lab.only().first,
        Timestamp(11_000_000_000),
        "last heard plus hold time"
    );
}

#[test]
fn a_session_that_falls_while_starting_is_no_finding() {
    let mut lab = Lab::new();
    lab.establish(0, 4000);
    lab.bgp(500, true, 4000, notification(5, 1, None, None));
    lab.establish(1000, 4001);
    lab.talk(2000, 9000, 4001);
    assert_eq!(lab.board.iter().count(), 0);
}

#[test]
fn an_open_that_is_refused_again_and_again_after_a_loss_has_its_own_finding() {
    // AS number refused (RFC 4271 §6.2); the daemon that is being reconfigured; collisions.
    for (code, subcode, times, expected) in [(2, 2, 4, 1), (2, 2, 2, 0), (6, 5, 4, 0), (6, 7, 8, 0)]
    {
        let mut lab = Lab::settled();
        lab.bgp(8500, true, 4000, notification(6, 6, None, None));
        for n in 0..times {
            let (at, port) = (10_000 + n * 1000, 4001 + n as u16);
            lab.open(at, port);
            lab.bgp(at + 10, true, port, notification(code, subcode, None, None));
        }
        let found: Vec<(Kind, u64)> = lab
            .troubles
            .iter()
            .map(|(_, f)| (f.kind, f.count))
            .collect();
        let refused = found
            .iter()
            .filter(|(kind, _)| *kind == Kind::SessionOpenRejected);
        assert_eq!(
            refused.count(),
            expected,
            "{code}/{subcode} x {times}: {found:?}"
        );
        assert_eq!(lab.only().kind, Kind::SessionDown);
    }
}

/// A BGP4MP state change of the neighbor's session as a collector at `local` writes it.
fn state_change(lab: &mut Lab, ms: i64, local: &str, old: u16, new: u16) {
    lab.event(
        ms,
        EventKind::Bgp(Box::new(BgpEvent {
            frame: Frame::default(),
            session: Direction {
                from: "192.0.2.1".parse().unwrap(),
                to: local.parse().unwrap(),
                from_port: 0,
                to_port: 0,
                from_as: 64501,
                to_as: 64502,
            },
            message: BgpMessage::StateChange { old, new },
        })),
    );
}

#[test]
fn a_state_change_without_the_collectors_address_ends_the_session_that_is_known() {
    let losses = |lab: &Lab| -> Vec<u32> {
        let sessions = lab.net.sessions.iter();
        sessions.map(|(_, session)| session.downs).collect()
    };
    let mut lab = Lab::new();
    state_change(&mut lab, 1_000, "192.0.2.2", 5, 6);
    state_change(&mut lab, 5_000, "0.0.0.0", 6, 1);
    assert_eq!(losses(&lab), [1]);

    // Where nothing else tells of it, it is evidence all the same.
    let mut alone = Lab::new();
    state_change(&mut alone, 5_000, "0.0.0.0", 6, 1);
    assert_eq!(losses(&alone), [1]);
}

#[test]
fn a_collector_that_tries_to_connect_has_no_session_yet() {
    let mut lab = Lab::new();
    for (n, (old, new)) in [(3, 2), (2, 4), (4, 3)].into_iter().enumerate() {
        state_change(&mut lab, 1_000 * n as i64, "0.0.0.0", old, new);
    }
    assert_eq!(lab.net.sessions.iter().count(), 0);
    assert_eq!(lab.board.iter().count(), 0);
}

/// A record of an MRT file: the neighbor's message to the collector, or its answer.
fn recorded(lab: &mut Lab, ms: i64, from_neighbor: bool, message: BgpMessage) {
    let (neighbor, collector) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    let (from, to) = match from_neighbor {
        true => (neighbor, collector),
        false => (collector, neighbor),
    };
    lab.event(
        ms,
        EventKind::Bgp(Box::new(BgpEvent {
            frame: Frame::default(),
            session: Direction {
                from,
                to,
                from_port: 0,
                to_port: 0,
                from_as: 64501,
                to_as: 64502,
            },
            message,
        })),
    );
}

#[test]
fn an_open_that_mrt_shows_refused_again_and_again_is_told() {
    for (times, expected) in [(7, 1), (1, 0)] {
        let mut lab = Lab::new();
        for n in 0..times {
            let at = 1_000 + n * 5_000;
            let open = Open {
                version: 4,
                asn: 64501,
                router_id: 1,
                ..Open::default()
            };
            recorded(&mut lab, at, true, BgpMessage::Open(Box::new(open)));
            recorded(&mut lab, at + 20, false, notification(2, 2, None, None));
        }
        let refused = lab
            .troubles
            .iter()
            .filter(|(_, finding)| finding.kind == Kind::SessionOpenRejected);
        assert_eq!(refused.count(), expected, "{times} times");
        assert_eq!(lab.board.iter().count(), 0, "what never was up is not lost");
    }
}

#[test]
fn a_router_that_no_longer_reports_its_own_table_lost_no_session() {
    let table = |message| {
        EventKind::Bmp(Box::new(BmpEvent {
            router: Some("198.51.100.1:5000".parse().unwrap()),
            connection: 1,
            peer: Some(PerPeer {
                peer_type: 3,
                rib: Rib::Loc,
                distinguisher: 65_000 << 32 | 7,
                addr: "0.0.0.0".parse().unwrap(),
                asn: 64501,
                router_id: 9,
                legacy_as_path: false,
                stamp: Timestamp(0),
            }),
            message,
        }))
    };
    let mut lab = Lab::new();
    let open = || Box::<Open>::default();
    lab.event(
        10_000,
        table(BmpMessage::PeerUp {
            local: "0.0.0.0".parse().unwrap(),
            local_port: 0,
            remote_port: 0,
            sent_open: open(),
            received_open: open(),
        }),
    );
    lab.event(
        60_000,
        table(BmpMessage::PeerDown {
            reason: 6,
            fsm_event: None,
            notification: None,
            table: None,
        }),
    );
    lab.event(90_000, EventKind::Deadline);
    assert_eq!(lab.board.iter().count() + lab.troubles.iter().count(), 0);
    let (_, session) = lab.net.sessions.iter().next().unwrap();
    assert!(session.is_table && session.downs == 0);
}
