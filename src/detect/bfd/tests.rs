use super::*;
use crate::event::bfd::{Bfd, BfdState};
use crate::event::frame::Frame;
use crate::event::source::Unit;
use crate::event::{Event, InputId, Locator, SourceId};
use crate::state::Changes;

struct Lab {
    net: NetState,
    changes: Changes,
    losses: BfdLosses,
    board: Board,
}

impl Lab {
    fn new() -> Lab {
        Lab {
            net: NetState::default(),
            changes: Changes::default(),
            losses: BfdLosses::default(),
            board: Board::default(),
        }
    }

    /// Two ends of a session, 192.0.2.1 (number 7) and 192.0.2.2 (number 9), up since 0.
    fn up() -> Lab {
        let mut lab = Lab::new();
        for n in 0..5 {
            lab.says(n * 300, false, BfdState::Up, [7, 9], 0);
            lab.says(n * 300 + 5, true, BfdState::Up, [9, 7], 0);
        }
        lab
    }

    fn says(&mut self, ms: i64, second: bool, state: BfdState, numbers: [u32; 2], diag: u8) {
        let (a, b) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let (src, dst) = if second { (b, a) } else { (a, b) };
        let bfd = Bfd {
            frame: Frame {
                ip_src: Some(src),
                ip_dst: Some(dst),
                ..Frame::default()
            },
            port: 3784,
            diag,
            state,
            poll: false,
            is_final: false,
            control_plane_independent: false,
            authentication: false,
            demand: false,
            detect_mult: 3,
            my_discriminator: numbers[0],
            your_discriminator: numbers[1],
            desired_min_tx_us: 300_000,
            required_min_rx_us: 300_000,
            required_min_echo_rx_us: 0,
        };
        let event = Event {
            at: Timestamp(ms * 1_000_000),
            origin_at: None,
            source: SourceId(0),
            locator: Locator {
                input: InputId(0),
                unit: Unit::Frame,
                number: ms as u64 + 1,
                offset: 0,
            },
            kind: EventKind::Bfd(Box::new(bfd)),
        };
        self.net.apply(&event, &mut self.changes);
        let seen = Observation {
            event: &event,
            changes: &self.changes,
        };
        self.losses.observe(&seen, &self.net, &mut self.board);
    }
}

#[test]
fn a_session_under_another_discriminator_was_created_anew_and_lost_nothing() {
    let mut lab = Lab::up();
    lab.says(1500, false, BfdState::Down, [8, 0], 0);
    let (_, told) = lab.board.iter().next().expect("it is told");
    assert_eq!(told.reason, Some(Reason::Recreated));
    assert!(
        told.explain
            .contains("192.0.2.1 created its BFD session anew"),
        "{}",
        told.explain
    );
    // One that keeps its number lost packets.
    let mut lab = Lab::up();
    lab.says(2500, false, BfdState::Down, [7, 0], 1);
    let (_, told) = lab.board.iter().next().expect("it is told");
    assert_eq!(told.reason, Some(Reason::DetectionExpired));
}

#[test]
fn a_session_that_is_created_anew_while_it_opens_was_not_lost() {
    let mut lab = Lab::new();
    lab.says(0, false, BfdState::Down, [7, 0], 0);
    lab.says(400, true, BfdState::Init, [9, 7], 0);
    lab.says(401, false, BfdState::Up, [7, 9], 0);
    lab.says(402, true, BfdState::Up, [9, 7], 0);
    lab.says(404, true, BfdState::Down, [9, 7], 3);
    lab.says(405, false, BfdState::Down, [8, 0], 0);
    assert!(lab.board.is_empty());
    // Up again, and lost for good.
    lab.says(1400, true, BfdState::Up, [9, 8], 0);
    lab.says(1401, false, BfdState::Up, [8, 9], 0);
    lab.says(9000, true, BfdState::Down, [9, 0], 1);
    assert_eq!(lab.board.len(), 1);
}

#[test]
fn of_one_direction_alone_each_return_is_seen() {
    let mut lab = Lab::new();
    for round in 0..3 {
        let at = round * 10_000;
        for n in 0..5 {
            lab.says(at + n * 300, false, BfdState::Up, [7, 9], 0);
        }
        lab.says(at + 3000, false, BfdState::Down, [7, 0], 1);
        lab.says(at + 4000, false, BfdState::Init, [7, 9], 0);
    }
    let (_, told) = lab.board.iter().next().expect("it is told");
    assert_eq!((told.kind, told.count), (Kind::BfdFlap, 3));
}
