//! Reassembly against captures that lose, double, cut and mix up segments.

use std::net::SocketAddr;

use super::*;
use crate::event::source::{InputId, Locator, SourceId, Unit};

const MS: i64 = 1_000_000;
const ROOM: usize = 1 << 20;

/// What came out, in words; direction 0 only speaks unless told otherwise.
#[derive(Default)]
struct Wire {
    connection: Connection,
    out: Vec<String>,
    holes: Vec<u32>,
    at: i64,
    frame: Frame,
    source: u32,
    ip_id: u16,
}

#[derive(Default, Clone)]
struct Seg<'a> {
    sender: usize,
    seq: u32,
    ack: Option<u32>,
    flags: &'a str,
    payload: &'a str,
    missing: u32,
    window: u16,
}

fn addr(index: usize) -> SocketAddr {
    SocketAddr::new(
        std::net::Ipv4Addr::new(192, 0, 2, 1 + index as u8).into(),
        if index == 0 { 50_000 } else { 179 },
    )
}

fn word(output: &Output<'_>) -> String {
    match output {
        Output::Fact(fact) => format!("{fact:?}"),
        Output::Data {
            sender,
            bytes,
            stamp,
            ..
        } => {
            let text = String::from_utf8_lossy(bytes);
            format!("{sender}:{text}@{}", stamp.at.0 / MS)
        }
        Output::Lost { sender, octets, .. } => format!("{sender}:lost {octets:?}"),
        Output::Closed(_) => "closed".into(),
    }
}

impl Wire {
    fn new() -> Wire {
        Wire {
            connection: Connection::new([true, true]),
            ..Wire::default()
        }
    }

    fn stamp(&self) -> Stamp {
        Stamp {
            at: Timestamp(self.at * MS),
            source: SourceId(self.source),
            locator: Locator {
                input: InputId(0),
                unit: Unit::Frame,
                number: 1,
                offset: 0,
            },
        }
    }

    fn seg(&mut self, seg: Seg<'_>) -> &mut Wire {
        let stamp = self.stamp();
        let frame = self.frame;
        let segment = Segment {
            frame: &frame,
            src: addr(seg.sender),
            dst: addr(1 - seg.sender),
            seq: seg.seq,
            ack: seg.ack,
            syn: seg.flags.contains('S'),
            fin: seg.flags.contains('F'),
            rst: seg.flags.contains('R'),
            window: if seg.flags.contains('0') {
                0
            } else {
                1000 + seg.window
            },
            payload: seg.payload.as_bytes(),
            missing: seg.missing,
            ip_id: self.ip_id,
            auth: None,
        };
        let (out, holes) = (&mut self.out, &mut self.holes);
        self.connection.take(
            seg.sender,
            &segment,
            ROOM,
            &stamp,
            &mut |output| match output {
                Output::Fact(TcpFact::FullSize(_)) => {}
                Output::Fact(TcpFact::Hole(octets)) => holes.push(octets),
                other => out.push(word(&other)),
            },
        );
        self
    }

    /// Payload of direction 0 at `seq`, a millisecond later than the last.
    fn data(&mut self, seq: u32, payload: &str) -> &mut Wire {
        self.at += 1;
        self.seg(Seg {
            seq,
            payload,
            ..Seg::default()
        })
    }

    fn ack(&mut self, ack: u32) -> &mut Wire {
        self.at += 1;
        self.seg(Seg {
            sender: 1,
            ack: Some(ack),
            ..Seg::default()
        })
    }

    fn syn(&mut self, seq: u32) -> &mut Wire {
        self.seg(Seg {
            seq,
            flags: "S",
            ..Seg::default()
        })
    }

    fn expire(&mut self, at: i64) -> &mut Wire {
        self.at = at;
        let out = &mut self.out;
        self.connection
            .expire(Timestamp(at * MS), &mut |output| out.push(word(&output)));
        self
    }

    /// What came out since the last call.
    fn said(&mut self) -> String {
        std::mem::take(&mut self.out).join(" ")
    }
}

#[test]
fn octets_in_order_pass_at_once() {
    let mut wire = Wire::new();
    wire.syn(99).data(100, "abc").data(103, "def");
    assert_eq!(wire.said(), "Syn 0:abc@1 0:def@2");
}

#[test]
fn a_stream_can_start_in_the_middle() {
    let mut wire = Wire::new();
    wire.data(77_000, "abc").data(77_003, "d");
    assert_eq!(wire.said(), "0:abc@1 0:d@2");
}

#[test]
fn sequence_numbers_wrap() {
    let mut wire = Wire::new();
    wire.syn(u32::MAX - 3)
        .data(u32::MAX - 2, "abc")
        .data(3, "ghi")
        .data(0, "def")
        .data(6, "j");
    assert_eq!(wire.said(), "Syn 0:abc@1 0:def@3 0:ghi@3 0:j@4");
}

#[test]
fn mixed_up_segments_are_put_in_order_and_stamped_with_their_release() {
    let mut wire = Wire::new();
    wire.syn(99)
        .data(109, "jkl")
        .data(103, "def")
        .data(106, "ghi")
        .data(100, "abc")
        .data(112, "m");
    assert_eq!(wire.said(), "Syn 0:abc@4 0:def@4 0:ghi@4 0:jkl@4 0:m@5");
    assert_eq!(wire.connection.held(), 0);
}

#[test]
fn what_is_sent_again_is_told_and_delivered_once() {
    let mut wire = Wire::new();
    wire.syn(99).data(100, "abcdef").data(100, "abcdef");
    assert_eq!(wire.said(), "Syn 0:abcdef@1 Retransmission(6)");
    wire.data(103, "defghi");
    assert_eq!(wire.said(), "0:ghi@3 Retransmission(3)");
    wire.data(120, "xyz").data(120, "xyz");
    assert_eq!(wire.said(), "Retransmission(3)");
    wire.data(109, "jklmnopqrstuvw");
    assert_eq!(wire.said(), "0:jklmnopqrstuvw@6", "xyz lies inside it");
    wire.data(100, "abcdefghijklmnopqrstuvw!");
    assert_eq!(wire.said(), "0:!@7 Retransmission(23)");
}

#[test]
fn overlapping_early_segments_are_delivered_once() {
    let mut wire = Wire::new();
    wire.syn(99)
        .data(102, "cdef")
        .data(104, "efgh")
        .data(100, "abc");
    assert_eq!(wire.said(), "Syn 0:abc@3 0:def@3 0:gh@3");
}

#[test]
fn a_hole_is_given_up_after_two_seconds() {
    let mut wire = Wire::new();
    wire.syn(99)
        .data(100, "abc")
        .data(113, "xyz")
        .data(120, "q");
    assert_eq!(wire.connection.deadline(), Some(Timestamp((2 + 2000) * MS)));
    wire.expire(2001);
    assert_eq!(wire.said(), "Syn 0:abc@1");
    wire.expire(2002);
    assert_eq!(wire.said(), "0:lost Some(10) 0:xyz@2002");
    wire.expire(4002);
    assert_eq!(wire.said(), "0:lost Some(4) 0:q@4002");
    assert_eq!(wire.connection.deadline(), None);
}

#[test]
fn a_hole_that_the_receiver_acknowledged_is_a_loss_of_the_capture() {
    let mut wire = Wire::new();
    wire.syn(99)
        .data(100, "abc")
        .data(113, "xyz")
        .data(116, "z");
    assert_eq!(wire.holes, [10], "each hole is told once");
    wire.at = 2;
    wire.ack(103).ack(113);
    assert_eq!(wire.connection.deadline(), Some(Timestamp(12 * MS)));
    wire.expire(12);
    assert_eq!(
        wire.said(),
        "Syn 0:abc@1 Ack 0:lost Some(10) 0:xyz@12 0:z@12"
    );
}

#[test]
fn a_late_retransmission_fills_a_hole() {
    let mut wire = Wire::new();
    wire.syn(99).data(100, "abc").data(106, "ghi");
    wire.at = 1500;
    wire.data(103, "def");
    assert_eq!(wire.said(), "Syn 0:abc@1 0:def@1501 0:ghi@1501");
    wire.expire(9000);
    assert_eq!(wire.said(), "");
}

#[test]
fn too_much_behind_a_hole_ends_the_waiting() {
    let mut wire = Wire::new();
    wire.syn(99);
    let kib = "k".repeat(1024);
    for n in 0..300 {
        wire.data(200 + n * 1024, &kib);
    }
    let said = wire.said();
    assert!(
        said.starts_with("Syn 0:lost Some(100) 0:kkk"),
        "{:.60}",
        said
    );
    assert_eq!(said.matches("lost").count(), 1);
    assert_eq!(said.matches('k').count(), 300 * 1024);
    assert_eq!(wire.connection.held(), 0);
    // And a flood of tiny segments with holes everywhere.
    let mut wire = Wire::new();
    wire.syn(99);
    for n in 0..10_000 {
        wire.data(200 + n * 2, "t");
    }
    assert!(wire.connection.held() <= 256);
}

#[test]
fn keep_alive_probes_and_window_probes_are_no_retransmissions() {
    let mut wire = Wire::new();
    wire.syn(99).data(100, "abc").data(102, "c");
    wire.seg(Seg {
        seq: 102,
        ..Seg::default()
    });
    assert_eq!(wire.said(), "Syn 0:abc@1");
}

#[test]
fn data_with_the_syn_counts_with_or_without_the_syn_itself() {
    for follow in [103, 104] {
        let mut wire = Wire::new();
        wire.seg(Seg {
            seq: 100,
            flags: "S",
            payload: "abc",
            ..Seg::default()
        });
        wire.data(follow, "def").data(follow + 3, "g");
        assert_eq!(wire.said(), "Syn 0:abc@0 0:def@1 0:g@2");
    }
}

#[test]
fn a_closed_window_is_told_once_until_it_opens() {
    let mut wire = Wire::new();
    for flags in ["", "0", "0", "", "0"] {
        wire.seg(Seg {
            sender: 1,
            ack: Some(5),
            flags,
            ..Seg::default()
        });
    }
    assert_eq!(wire.said(), "ZeroWindow ZeroWindow");
}

#[test]
fn only_acknowledgements_that_move_forward_without_payload_are_told() {
    let mut wire = Wire::new();
    wire.ack(100).ack(100).ack(119).ack(119).ack(110);
    assert_eq!(wire.said(), "Ack");
    wire.seg(Seg {
        sender: 1,
        seq: 1,
        ack: Some(138),
        payload: "p",
        ..Seg::default()
    });
    assert_eq!(wire.said(), "1:p@5");
}

#[test]
fn copies_on_another_interface_are_not_retransmissions() {
    let mut wire = Wire::new();
    wire.syn(99).data(100, "abc");
    wire.source = 1;
    wire.data(100, "abc");
    assert_eq!(wire.said(), "Syn 0:abc@1");
    // Two interfaces of one cooked capture.
    wire.frame.ifindex = Some(2);
    wire.data(103, "def");
    wire.frame.ifindex = Some(3);
    wire.at -= 1;
    wire.data(103, "def");
    assert_eq!(wire.said(), "0:def@3");
    // The same identification: one packet, wherever it was seen.
    wire.ip_id = 7;
    wire.data(106, "ghi").data(106, "ghi");
    assert_eq!(wire.said(), "0:ghi@4");
    // Later than a copy can be.
    wire.at += 200;
    wire.source = 0;
    wire.data(106, "ghi");
    assert_eq!(wire.said(), "Retransmission(3)");
}

#[test]
fn copies_of_syn_fin_and_rst_are_told_once() {
    let mut wire = Wire::new();
    for flags in ["S", "F", "R"] {
        for source in 0..2 {
            wire.source = source;
            wire.seg(Seg {
                seq: if flags == "S" { 99 } else { 100 },
                flags,
                ..Seg::default()
            });
        }
    }
    assert_eq!(wire.said(), "Syn Fin Rst closed");
}

#[test]
fn octets_that_the_snap_length_cut_off_are_lost() {
    let mut wire = Wire::new();
    wire.syn(99)
        .seg(Seg {
            seq: 100,
            payload: "abc",
            missing: 7,
            ..Seg::default()
        })
        .data(110, "klm");
    assert_eq!(wire.said(), "Syn 0:abc@0 0:lost Some(7) 0:klm@1");
}

#[test]
fn a_fin_ends_its_direction_and_two_end_the_connection() {
    let mut wire = Wire::new();
    wire.syn(99).data(100, "abc");
    wire.seg(Seg {
        seq: 103,
        payload: "de",
        flags: "F",
        ..Seg::default()
    });
    assert_eq!(wire.said(), "Syn 0:abc@1 0:de@1 Fin");
    wire.seg(Seg {
        sender: 1,
        seq: 500,
        flags: "F",
        ..Seg::default()
    });
    assert_eq!(wire.said(), "Fin closed");
    assert!(wire.connection.is_replaced_by(0, 7000));
    assert!(!wire.connection.is_replaced_by(0, 99));
}

#[test]
fn a_reset_delivers_what_waits_and_a_forged_one_far_off_is_ignored() {
    let mut wire = Wire::new();
    wire.syn(99).data(100, "abc").data(106, "ghi");
    wire.seg(Seg {
        seq: 0x4000_0000,
        flags: "R",
        ..Seg::default()
    });
    assert_eq!(wire.said(), "Syn 0:abc@1");
    wire.seg(Seg {
        seq: 109,
        flags: "R",
        ..Seg::default()
    });
    assert_eq!(wire.said(), "Rst 0:lost Some(3) 0:ghi@2 closed");
}

#[test]
fn one_stray_segment_is_ignored_and_two_that_fit_together_are_believed() {
    let mut wire = Wire::new();
    wire.syn(99).data(100, "abc");
    wire.data(0x5000_0000, "forged").data(103, "def");
    assert_eq!(wire.said(), "Syn 0:abc@1 0:def@3");
    wire.data(0x5000_0000, "skip").data(0x5000_0004, "on");
    assert_eq!(wire.said(), "0:lost None 0:on@5");
    wire.data(0x5000_0006, "!");
    assert_eq!(wire.said(), "0:!@6");
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_the_order_each_octet_comes_once_and_in_order(
            isn in any::<u32>(),
            cuts in proptest::collection::vec(1usize..40, 1..20),
            order in proptest::collection::vec((0usize..20, any::<bool>()), 1..60),
        ) {
            let total: usize = cuts.iter().sum();
            let text: String = (0..total).map(|n| char::from(b'!' + (n % 90) as u8)).collect();
            let mut pieces = Vec::new();
            let mut at = 0;
            for cut in &cuts {
                pieces.push((at, &text[at..at + cut]));
                at += cut;
            }
            let mut wire = Wire::new();
            wire.syn(isn);
            // Some in any order and again, then all.
            let shuffled = order.iter().filter_map(|(n, _)| pieces.get(*n)).chain(pieces.iter());
            for (offset, piece) in shuffled {
                wire.data(isn.wrapping_add(1).wrapping_add(*offset as u32), piece);
            }
            let got: String = wire.out.iter()
                .filter_map(|word| word.strip_prefix("0:"))
                .map(|word| word.rsplit_once('@').map_or(word, |(text, _)| text))
                .collect();
            prop_assert_eq!(got, text);
            prop_assert_eq!(wire.connection.held(), 0);
        }

        #[test]
        fn any_segments_leave_books_in_order(
            segments in proptest::collection::vec(
                (0usize..2, any::<u32>(), any::<Option<u32>>(), 0usize..16, 0u32..5, 0u8..8, 0i64..3000), 0..80),
        ) {
            let mut wire = Wire::new();
            for (sender, seq, ack, len, missing, flags, wait) in segments {
                wire.at += wait;
                let text = "abcdefghijklmnop";
                let flags: String = "SFR".chars().enumerate()
                    .filter(|(bit, _)| flags >> bit & 1 == 1).map(|(_, c)| c).collect();
                // Near the start or anywhere.
                let seq = if seq & 1 == 0 { seq >> 24 } else { seq };
                wire.seg(Seg { sender, seq, ack, flags: &flags, payload: &text[..len], missing, window: 0 });
                let at = wire.at;
                wire.expire(at);
            }
            wire.expire(i64::MAX / MS);
            let mut left = 0;
            wire.connection.flush(Timestamp::MAX, &mut |_| left += 1);
            prop_assert_eq!(wire.connection.held(), 0);
            prop_assert_eq!(wire.connection.deadline(), None);
        }
    }
}
