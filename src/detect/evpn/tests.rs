//! MAC/IP routes of two VTEPs, as packets, BMP and MRT bring them.

use super::*;
use crate::event::bgp::{BgpEvent, BgpMessage, Direction, Update};
use crate::event::bmp::{BmpEvent, BmpMessage, PerPeer, Rib as BmpRib};
use crate::event::frame::Frame;
use crate::event::source::Unit;
use crate::event::{InputId, Locator, Prefix, SourceId};
use crate::state::Changes;

const MAC: [u8; 6] = [2, 0, 0, 0, 0x53, 9];

#[derive(Copy, Clone, Debug)]
enum By {
    Packets,
    Bmp,
    Mrt,
}

const ALL: [By; 3] = [By::Packets, By::Bmp, By::Mrt];

struct Lab {
    net: NetState,
    detector: Macs,
    board: Board,
    changes: Changes,
    number: u64,
    by: By,
}

/// A MAC/IP route of a VTEP: its sequence number and its route target.
fn route(vtep: u8, sequence: u32, target: u16) -> Update {
    let mut update = Update {
        announced: vec![key(vtep)],
        ..Update::default()
    };
    let [a, b, c, d] = sequence.to_be_bytes();
    let [high, low] = target.to_be_bytes();
    update.attributes.next_hop = Some(IpAddr::from([192, 0, 2, vtep]));
    update.attributes.extended_communities = vec![
        [0, 2, 0xfd, 0xe8, 0, 0, high, low],
        [6, 0, 0, 0, a, b, c, d],
    ];
    update
}

fn key(vtep: u8) -> Nlri {
    Nlri {
        prefix: "198.51.100.7/32".parse::<Prefix>().unwrap(),
        path_id: 0,
        rd: 1 << 48 | 0xc000_0200_0000 | u64::from(vtep) << 16 | 100,
        extra: Nlri::evpn_mac(MAC, 0),
        safi: Safi::Evpn2,
    }
}

impl Lab {
    fn new(by: By) -> Lab {
        Lab {
            net: NetState::default(),
            detector: Macs::default(),
            board: Board::default(),
            changes: Changes::default(),
            number: 0,
            by,
        }
    }

    fn say(&mut self, ms: i64, vtep: u8, update: Update) {
        self.number += 1;
        let peer = IpAddr::from([192, 0, 2, vtep]);
        let us = IpAddr::from([192, 0, 2, 254]);
        let ports = match self.by {
            By::Packets => (179, 4000),
            _ => (0, 0),
        };
        let kind = match self.by {
            By::Bmp => EventKind::Bmp(Box::new(BmpEvent {
                router: Some((us, 4000).into()),
                connection: 1,
                peer: Some(PerPeer {
                    peer_type: 0,
                    rib: BmpRib::AdjInPre,
                    distinguisher: 0,
                    addr: peer,
                    asn: 64500,
                    router_id: u32::from(vtep),
                    legacy_as_path: false,
                    stamp: Timestamp(0),
                }),
                message: BmpMessage::RouteMonitoring(Box::new(update)),
            })),
            _ => EventKind::Bgp(Box::new(BgpEvent {
                frame: Frame::default(),
                session: Direction {
                    from: peer,
                    to: us,
                    from_port: ports.0,
                    to_port: ports.1,
                    from_as: 64500,
                    to_as: 64500,
                },
                message: BgpMessage::Update(Box::new(update)),
            })),
        };
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
        while let Some(at) = self.net.next_deadline().filter(|at| *at <= event.at) {
            self.net.expire(at, &mut self.changes);
        }
        self.net.apply(&event, &mut self.changes);
        let seen = Observation {
            event: &event,
            changes: &self.changes,
        };
        self.detector.observe(&seen, &self.net, &mut self.board);
    }

    fn withdraw(&mut self, ms: i64, vtep: u8) {
        let update = Update {
            withdrawn: vec![key(vtep)],
            ..Update::default()
        };
        self.say(ms, vtep, update);
    }

    fn finding(&self, kind: Kind) -> Option<&Finding> {
        self.board.of_kind(kind).next().map(|(_, finding)| finding)
    }
}

/// Behind what a feed lists when it is joined.
const LATER: i64 = 60_000;

#[test]
fn a_mac_that_moved_once_is_told_and_is_no_alarm() {
    for by in ALL {
        let mut lab = Lab::new(by);
        lab.say(0, 1, route(1, 0, 7));
        lab.say(LATER, 2, route(2, 1, 7));
        lab.withdraw(LATER + 50, 1);
        let moved = lab.finding(Kind::EvpnMacMove).expect("a move");
        assert_eq!((moved.count, moved.severity), (1, Severity::Info), "{by:?}");
        assert_eq!(moved.subjects[0], Subject::Mac(Mac(MAC)));
        assert!(
            moved
                .explain
                .contains("from VTEP 192.0.2.1 to VTEP 192.0.2.2")
        );
    }
}

#[test]
fn a_mac_that_moves_five_times_in_three_minutes_is_a_duplicate() {
    for by in ALL {
        let mut lab = Lab::new(by);
        for n in 0..7u8 {
            let vtep = 1 + n % 2;
            lab.say(
                LATER * i64::from(n > 0) + i64::from(n) * 1500,
                vtep,
                route(vtep, u32::from(n), 7),
            );
        }
        let told = lab.finding(Kind::EvpnDuplicateMac).expect("a duplicate");
        assert_eq!(
            (told.count, told.severity),
            (6, Severity::Warning),
            "{by:?}"
        );
        assert!(
            told.explain.contains("went from 0 to 6"),
            "{}",
            told.explain
        );
    }
}

#[test]
fn moves_that_are_slow_or_of_another_service_and_shared_segments_are_no_duplicate() {
    let mut slow = Lab::new(By::Packets);
    for n in 0..9u8 {
        let vtep = 1 + n % 2;
        slow.say(LATER * i64::from(n), vtep, route(vtep, u32::from(n), 7));
    }
    assert!(slow.finding(Kind::EvpnDuplicateMac).is_none());
    let mut shared = Lab::new(By::Packets);
    let mut other = Lab::new(By::Packets);
    for n in 0..9u8 {
        let vtep = 1 + n % 2;
        // One segment at two VTEPs: both announce, with one number.
        shared.say(LATER + i64::from(n) * 1000, vtep, route(vtep, 0, 7));
        // A virtual router's MAC in two services.
        other.say(
            LATER + i64::from(n) * 1000,
            vtep,
            route(vtep, u32::from(n), u16::from(vtep)),
        );
    }
    assert_eq!(shared.board.iter().count() + other.board.iter().count(), 0);
}
