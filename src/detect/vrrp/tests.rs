//! Hand-made advertisements, and the benign twin of each fault.

use super::*;
use crate::event::frame::Frame;
use crate::event::lan::Arp;
use crate::event::source::Unit;
use crate::event::vrrp::Vrrp;
use crate::event::{InputId, Locator, SourceId};
use crate::state::Changes;

const VIP: [u8; 4] = [192, 0, 2, 100];

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

#[derive(Default)]
struct Rig {
    net: NetState,
    changes: Changes,
    detector: VirtualRouters,
    board: Board,
    frame: u64,
}

impl Rig {
    fn event(&mut self, ms: i64, kind: EventKind) {
        self.frame += 1;
        let event = Event {
            at: Timestamp(ms * 1_000_000),
            origin_at: None,
            source: SourceId(1),
            locator: Locator {
                input: InputId(0),
                unit: Unit::Frame,
                number: self.frame,
                offset: 0,
            },
            kind,
        };
        self.net.apply(&event, &mut self.changes);
        let seen = Observation {
            event: &event,
            changes: &self.changes,
        };
        self.detector.observe(&seen, &self.net, &mut self.board);
    }

    fn says(&mut self, ms: i64, last: u8, priority: u8) {
        let said = Vrrp {
            frame: Frame {
                eth_src: Some(mac(last)),
                ip_src: Some([192, 0, 2, last].into()),
                hop_limit: Some(255),
                ..Frame::default()
            },
            version: 2,
            vrid: 7,
            priority,
            interval_ms: 1000,
            authentication: 0,
            addresses: vec![VIP.into()],
        };
        self.event(ms, EventKind::Vrrp(Box::new(said)));
    }

    fn announces(&mut self, ms: i64, last: u8) {
        let arp = Arp {
            frame: Frame {
                eth_src: Some(mac(last)),
                eth_dst: Some(Mac::BROADCAST),
                ..Frame::default()
            },
            op: 1,
            sender_mac: mac(last),
            sender_ip: VIP.into(),
            target_mac: Mac([0; 6]),
            target_ip: VIP.into(),
        };
        self.event(ms, EventKind::Arp(Box::new(arp)));
    }

    fn found(&self, kind: Kind) -> Vec<&Finding> {
        let all = self.board.iter().filter(|(_, f)| f.kind == kind);
        all.map(|(_, finding)| finding).collect()
    }
}

/// RFC 9568 §6.4.3. The benign twins follow.
#[test]
fn two_masters_that_do_not_hear_each_other_are_told_with_the_address_that_both_hold() {
    let mut rig = Rig::default();
    for second in 0..5 {
        rig.says(second * 1000, 1, 150);
    }
    for second in 5..15 {
        rig.says(second * 1000, 1, 150);
        if second == 5 {
            rig.announces(5_300, 2);
        }
        rig.says(second * 1000 + 400, 2, 100);
    }
    let conflict = rig.found(Kind::AddressConflict);
    assert_eq!(conflict.len(), 1);
    assert_eq!(conflict[0].first, Timestamp(5_400_000_000));
    let text = &conflict[0].explain;
    assert!(
        text.contains("192.0.2.1 (02:00:00:00:00:01, priority 150)"),
        "{text}"
    );
    assert_eq!(rig.found(Kind::VrrpTwoMasters).len(), 1);
    assert!(rig.found(Kind::VrrpMoved).is_empty());
    // One gives up, and the other one, which never stopped, announces nothing: caches are wrong until it does.
    for second in 15..22 {
        rig.says(second * 1000, 1, 150);
    }
    let over = rig.found(Kind::AddressConflict)[0];
    assert!(
        over.broken.subject && over.ended.is_none(),
        "{}",
        over.explain
    );
    assert!(
        over.explain.contains("has not announced it since"),
        "{}",
        over.explain
    );
    rig.announces(23_000, 1);
    let over = rig.found(Kind::AddressConflict)[0];
    assert!(!over.broken.subject && over.ended.is_some());
}

#[test]
fn a_preemption_and_a_fail_over_are_moves_and_no_second_master() {
    // A better one begins while the other runs; both speak once more before the old one hears it.
    let mut rig = Rig::default();
    for second in 0..4 {
        rig.says(second * 1000, 1, 100);
    }
    rig.says(3_500, 2, 150);
    rig.says(4_000, 1, 100);
    for second in 4..9 {
        rig.says(second * 1000 + 500, 2, 150);
    }
    assert!(rig.found(Kind::VrrpTwoMasters).is_empty());
    let moved = rig.found(Kind::VrrpMoved);
    assert_eq!((moved.len(), moved[0].severity), (1, Severity::Info));
    // It dies: the first one takes over after three intervals.
    for second in 12..16 {
        rig.says(second * 1000, 1, 100);
    }
    assert_eq!(rig.found(Kind::VrrpMoved)[0].count, 2);
    assert!(rig.found(Kind::AddressConflict).is_empty());
}

#[test]
fn a_master_that_changes_a_third_time_within_minutes_flaps() {
    let mut rig = Rig::default();
    for turn in 0..4 {
        for second in 0..5 {
            rig.says(turn * 10_000 + second * 1000, 1 + (turn % 2) as u8, 100);
        }
    }
    let flap = rig.found(Kind::VrrpFlap);
    assert_eq!((flap.len(), flap[0].count), (1, 3));
    assert_eq!(flap[0].severity, Severity::Warning);
    assert!(rig.found(Kind::VrrpTwoMasters).is_empty());
}
