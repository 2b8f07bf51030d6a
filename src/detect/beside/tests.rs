use super::*;
use crate::event::bfd::{Bfd, BfdState};
use crate::event::bgp::{BgpEvent, BgpMessage, Direction, Open};
use crate::event::frame::Frame;
use crate::event::source::Unit;
use crate::event::{Event, EventKind, InputId, Locator, SourceId};
use crate::state::Changes;

const PEER4: &str = "192.0.2.1";
const HOST4: &str = "192.0.2.2";
const PEER6: &str = "2001:db8::1";
const HOST6: &str = "2001:db8::2";

/// Two speakers with a session of each family and BFD on the IPv4 one, under all detectors.
struct Lab {
    net: NetState,
    detectors: Vec<Box<dyn Detector>>,
    board: Board,
    changes: Changes,
    number: u64,
}

impl Lab {
    fn new() -> Lab {
        let mut lab = Lab {
            net: NetState::default(),
            detectors: crate::detect::all(&Settings::default()),
            board: Board::default(),
            changes: Changes::default(),
            number: 0,
        };
        for (peer, host) in [(PEER4, HOST4), (PEER6, HOST6)] {
            for (n, from_peer) in [(0, false), (1, true)] {
                let open = Open {
                    version: 4,
                    asn: 64502 - u32::from(from_peer),
                    hold_time: 9,
                    router_id: 1 + n,
                    ..Open::default()
                };
                lab.bgp(0, (peer, host), from_peer, BgpMessage::Open(Box::new(open)));
            }
            for from_peer in [false, true] {
                lab.bgp(1, (peer, host), from_peer, BgpMessage::Keepalive);
            }
        }
        lab
    }

    fn at(&mut self, ms: i64, kind: EventKind) {
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
        self.until(event.at);
        self.net.apply(&event, &mut self.changes);
        self.observe(&event);
    }

    fn observe(&mut self, event: &Event) {
        let seen = Observation {
            event,
            changes: &self.changes,
        };
        for detector in &mut self.detectors {
            detector.observe(&seen, &self.net, &mut self.board);
        }
    }

    fn until(&mut self, to: Timestamp) {
        loop {
            let model = self.net.next_deadline();
            let own = self
                .detectors
                .iter()
                .filter_map(|d| d.next_deadline())
                .min();
            let Some(next) = model.into_iter().chain(own).min().filter(|at| *at <= to) else {
                return;
            };
            if model == Some(next) {
                self.net.expire(next, &mut self.changes);
                self.observe(&Event::deadline(next));
                continue;
            }
            for detector in &mut self.detectors {
                if detector.next_deadline().is_some_and(|at| at <= next) {
                    detector.expire(next, &self.net, &mut self.board);
                }
            }
        }
    }

    fn bgp(&mut self, ms: i64, (peer, host): (&str, &str), from_peer: bool, message: BgpMessage) {
        let (peer, host) = (peer.parse().unwrap(), host.parse().unwrap());
        let (from, to) = if from_peer {
            (peer, host)
        } else {
            (host, peer)
        };
        let (from_port, to_port) = if from_peer { (179, 4000) } else { (4000, 179) };
        let session = Direction {
            from,
            to,
            from_port,
            to_port,
            from_as: 0,
            to_as: 0,
        };
        self.at(
            ms,
            EventKind::Bgp(Box::new(BgpEvent {
                frame: Frame::default(),
                session,
                message,
            })),
        );
    }

    /// Both ends say something of this session every second.
    fn talks(&mut self, ms: i64, ends: (&str, &str)) {
        for from_peer in [true, false] {
            self.bgp(ms, ends, from_peer, BgpMessage::Keepalive);
        }
    }

    fn bfd(&mut self, ms: i64, state: BfdState) {
        for from_peer in [true, false] {
            let (from, to) = if from_peer {
                (PEER4, HOST4)
            } else {
                (HOST4, PEER4)
            };
            let frame = Frame {
                ip_src: Some(from.parse().unwrap()),
                ip_dst: Some(to.parse().unwrap()),
                ..Frame::default()
            };
            self.at(
                ms,
                EventKind::Bfd(Box::new(Bfd {
                    frame,
                    port: 3784,
                    diag: u8::from(state == BfdState::Down),
                    state,
                    poll: false,
                    is_final: false,
                    control_plane_independent: false,
                    authentication: false,
                    demand: false,
                    detect_mult: 3,
                    my_discriminator: 1 + u32::from(from_peer),
                    your_discriminator: 2 - u32::from(from_peer),
                    desired_min_tx_us: 1_000_000,
                    required_min_rx_us: 1_000_000,
                    required_min_echo_rx_us: 0,
                })),
            );
        }
    }

    fn told(&self, kind: Kind) -> String {
        let found = self.board.of_kind(kind).next();
        found
            .map(|(_, finding)| finding.explanations.join("\n"))
            .unwrap_or_default()
    }
}

const IPV4: (&str, &str) = (PEER4, HOST4);
const IPV6: (&str, &str) = (PEER6, HOST6);

#[test]
fn one_family_that_falls_while_the_other_talks_on_is_told_and_both_that_fall_are_not() {
    for (other_holds, expected) in [(true, true), (false, false)] {
        let mut lab = Lab::new();
        for second in 1..60 {
            lab.talks(
                second * 1000,
                if second < 20 || other_holds {
                    IPV6
                } else {
                    IPV4
                },
            );
            if second < 20 {
                lab.talks(second * 1000, IPV4);
            } else {
                // The host hears nothing and still talks.
                lab.bgp(second * 1000, IPV4, false, BgpMessage::Keepalive);
            }
        }
        lab.until(Timestamp(60_000_000_000));
        let told = lab.told(Kind::SessionDown);
        assert_eq!(
            told.contains("dual-stack: the IPv6 session"),
            expected,
            "{told}"
        );
    }
}

#[test]
fn bfd_that_stays_up_beside_an_expired_session_says_that_the_path_works() {
    for (bfd_stays, expected) in [(true, true), (false, false)] {
        let mut lab = Lab::new();
        for second in 1..45 {
            if second < 20 {
                lab.talks(second * 1000, IPV4);
            } else {
                lab.bgp(second * 1000, IPV4, false, BgpMessage::Keepalive);
            }
            lab.talks(second * 1000, IPV6);
            if bfd_stays || second < 20 {
                lab.bfd(second * 1000 + 1, BfdState::Up);
            }
        }
        lab.until(Timestamp(45_000_000_000));
        let told = lab.told(Kind::SessionDown);
        assert_eq!(told.contains("BFD to it stayed up"), expected, "{told}");
    }
}

#[test]
fn bgp_that_does_not_follow_bfd_is_told_and_bgp_that_does_is_not() {
    for (follows, expected) in [(false, true), (true, false)] {
        let mut lab = Lab::new();
        for second in 1..40 {
            if second < 20 || !follows {
                lab.talks(second * 1000, IPV4);
            }
            let state = if second < 20 {
                BfdState::Up
            } else {
                BfdState::Down
            };
            lab.bfd(second * 1000 + 1, state);
        }
        lab.until(Timestamp(40_000_000_000));
        let told = lab.told(Kind::BfdDown);
        assert_eq!(
            told.contains("BGP over the same path stayed up"),
            expected,
            "{told}"
        );
    }
}
