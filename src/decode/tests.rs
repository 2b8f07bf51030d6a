//! The decoder from items to events: what it keeps for each source, what it drops, and that no bytes upset it.

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;
use crate::decode::frame::linktype;
use crate::event::bgp::BgpMessage;
use crate::event::bmp::BmpEvent;
use crate::event::loss::Gap;
use crate::event::source::{InputId, SourceInfo, SourceKind};
use crate::event::tcp::TcpFact;

const A: [u8; 4] = [192, 0, 2, 1];
const B: [u8; 4] = [192, 0, 2, 2];

/// A decoder with a frame counter.
struct Bench {
    decoder: Decoder,
    events: Vec<Event>,
    number: u64,
    ms: i64,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            decoder: Decoder::new(),
            events: Vec::new(),
            number: 0,
            ms: 0,
        }
    }

    fn locator(&mut self) -> Locator {
        self.number += 1;
        Locator {
            input: InputId(0),
            unit: Unit::Frame,
            number: self.number,
            offset: 0,
        }
    }

    fn item(&mut self, item: &Item<'_>) {
        let events = &mut self.events;
        self.decoder
            .item(item, &mut |event| events.push(event.clone()));
    }

    fn record(&mut self, source: u32, format: Format, bytes: &[u8], wire_len: usize) {
        let locator = self.locator();
        self.ms += 5;
        self.item(&Item::Record(Record {
            at: Timestamp(self.ms * 1_000_000),
            source: SourceId(source),
            locator,
            format,
            bytes,
            wire_len: wire_len as u32,
        }));
    }

    fn ethernet(&mut self, bytes: &[u8]) {
        self.record(0, Format::Packet(linktype::ETHERNET), bytes, bytes.len());
    }

    fn tcp(&mut self, from_a: bool, ports: (u16, u16), seq: u32, payload: &[u8]) {
        let (src, dst) = if from_a { (A, B) } else { (B, A) };
        let (from, to) = if from_a { ports } else { (ports.1, ports.0) };
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(src, dst, 64)
            .tcp(from, to, seq, 1000)
            .ack(1);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, payload).unwrap();
        self.ethernet(&bytes);
    }

    fn words(&mut self) -> Vec<String> {
        self.events.drain(..).map(|event| word(&event)).collect()
    }
}

fn word(event: &Event) -> String {
    match &event.kind {
        EventKind::Bgp(bgp) => match &bgp.message {
            BgpMessage::Keepalive => "keepalive".into(),
            other => format!("{other:?}").chars().take(12).collect(),
        },
        EventKind::Tcp(tcp) => match tcp.what {
            TcpFact::FullSize(_) => "size".into(),
            what => format!("{what:?}"),
        },
        EventKind::Gap(gap) => format!("{:?} {:?}", gap.kind, gap.lost),
        EventKind::Malformed(bad) => format!("bad {:?}", bad.protocol),
        EventKind::Bmp(bmp) => bmp_word(bmp),
        other => format!("{:?}", other.class()),
    }
}

fn bmp_word(bmp: &BmpEvent) -> String {
    let word: String = format!("{:?}", bmp.message)
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect();
    format!("{word} #{}", bmp.connection)
}

fn keepalive() -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    bytes.extend([0, 19, 4]);
    bytes
}

fn udp(src_port: u16, dst_port: u16, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(A, B, ttl)
        .udp(src_port, dst_port);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    bytes
}

fn bfd() -> Vec<u8> {
    let mut bytes = vec![0x20, 0xc0, 3, 24];
    for word in [7u32, 9, 300_000, 200_000, 50_000] {
        bytes.extend(word.to_be_bytes());
    }
    bytes
}

#[test]
fn bgp_messages_cut_over_segments_come_whole_and_once() {
    let mut bench = Bench::new();
    let two = [keepalive(), keepalive()].concat();
    bench.tcp(true, (50_000, 179), 1000, &two[..7]);
    bench.tcp(true, (50_000, 179), 1030, &two[30..]);
    assert_eq!(bench.words(), ["size", "size", "Hole(23)"]);
    bench.tcp(true, (50_000, 179), 1007, &two[7..30]);
    assert_eq!(bench.words(), ["size", "keepalive", "keepalive"]);
}

#[test]
fn a_hole_is_told_as_loss_at_its_own_time_before_what_follows() {
    let mut bench = Bench::new();
    bench.tcp(true, (50_000, 179), 1000, &keepalive());
    bench.tcp(true, (50_000, 179), 1038, &keepalive());
    assert_eq!(bench.words(), ["size", "keepalive", "Hole(19)"]);
    bench.ms += 5000;
    bench.ethernet(&udp(49_152, 3784, 255, &bfd()));
    let times: Vec<i64> = bench
        .events
        .iter()
        .map(|event| event.at.0 / 1_000_000)
        .collect();
    assert_eq!(times, [2010, 2010, 5015]);
    assert_eq!(bench.events[1].locator.number, 2);
    let EventKind::Bfd(packet) = &bench.events[2].kind else {
        panic!("{:?}", bench.events)
    };
    assert_eq!(packet.frame.ip_src, Some(A.into()));
    assert_eq!(packet.frame.hop_limit, Some(255));
    let want = ["TcpLoss Some(19)", "keepalive", "Classes(16384)"];
    assert_eq!(bench.words(), want);
}

#[test]
fn the_end_of_input_and_lost_packets_end_the_waiting() {
    for gap in [false, true] {
        let mut bench = Bench::new();
        bench.tcp(true, (50_000, 179), 1000, &keepalive());
        bench.tcp(true, (50_000, 179), 1038, &keepalive());
        bench.words();
        if gap {
            let locator = bench.locator();
            let at = Timestamp(bench.ms * 1_000_000);
            bench.item(&Item::Gap {
                at,
                source: SourceId(0),
                locator,
                gap: Gap {
                    kind: GapKind::CaptureDrops,
                    from: at,
                    to: at,
                    lost: Some(4),
                    detail: WireText::from("dropped"),
                },
            });
            assert_eq!(
                bench.events.remove(0).kind.class(),
                crate::event::Classes::GAP
            );
        } else {
            let events = &mut bench.events;
            bench
                .decoder
                .finish(&mut |event| events.push(event.clone()));
        }
        assert_eq!(bench.words(), ["TcpLoss Some(19)", "keepalive"]);
    }
}

#[test]
fn bmp_is_known_by_its_content_on_any_port_and_its_connections_are_counted() {
    // Initiation with sysName "r" (RFC 7854 §4.3).
    let initiation = [3, 0, 0, 0, 11, 4, 0, 2, 0, 1, b'r'];
    let mut bench = Bench::new();
    for (port, number) in [(40_000, 1), (40_001, 2)] {
        bench.tcp(true, (port, 5000), 1, &initiation);
        let said = bench.words().join(" ");
        assert!(said.contains(&format!("Initiation #{number}")), "{said}");
    }
    // Not BMP, and another's.
    bench.tcp(true, (40_002, 5001), 1, b"GET / HTTP/1.1\r\n");
    bench.tcp(true, (40_003, 5001), 1, b"\x03\x00\x00\x13\x0e\xe0\x00\x00");
    assert!(bench.words().is_empty());
}

#[test]
fn a_bmp_connection_ends_with_its_router() {
    let initiation = [3, 0, 0, 0, 11, 4, 0, 2, 0, 1, b'r'];
    let mut bench = Bench::new();
    bench.tcp(true, (40_000, 5000), 1, &initiation);
    bench.words();
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(A, B, 64)
        .tcp(40_000, 5000, 12, 1000)
        .fin()
        .write(&mut bytes, &[])
        .unwrap();
    bench.ethernet(&bytes);
    assert_eq!(bench.words(), ["Disconnected #1"]);
}

#[test]
fn icmp_errors_quote_packets_that_are_no_traffic() {
    let quoted = &udp(68, 67, 64, &[1; 300])[14..];
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(B, A, 64)
        .icmpv4_raw(3, 3, [0; 4])
        .write(&mut bytes, quoted)
        .unwrap();
    let mut bench = Bench::new();
    bench.ethernet(&bytes);
    assert!(bench.words().is_empty());
    assert_eq!(bench.decoder.stats().packets.unwanted, 1);
}

#[test]
fn fragments_of_bfd_are_put_together_and_the_ttl_is_checked() {
    let whole = udp(49_152, 4784, 64, &bfd());
    let cut = |from: usize, to: usize, more: bool| {
        let mut bytes = whole[..34].to_vec();
        bytes.extend(&whole[34 + from..34 + to]);
        bytes[16..18].copy_from_slice(&((20 + to - from) as u16).to_be_bytes());
        let flags = (from / 8) as u16 | if more { 0x2000 } else { 0 };
        bytes[20..22].copy_from_slice(&flags.to_be_bytes());
        bytes
    };
    // BFD's ports pass the check on the first fragment.
    let mut bench = Bench::new();
    bench.ethernet(&cut(16, 32, false));
    bench.ethernet(&cut(0, 16, true));
    assert_eq!(bench.words(), ["Classes(16384)"]);
    assert_eq!(bench.decoder.stats().packets.reassembled, 1);
    bench.ethernet(&udp(49_152, 3784, 64, &bfd()));
    assert_eq!(bench.words(), ["bad Bfd"]);
}

#[test]
fn malformed_events_are_bounded_but_all_are_counted() {
    let mut bench = Bench::new();
    let bad = udp(49_152, 3784, 255, &[0; 24]);
    for _ in 0..1000 {
        bench.ms -= 5;
        bench.ethernet(&bad);
    }
    assert_eq!(bench.words().len(), 100);
    let events = &bench.decoder.stats().events;
    assert_eq!(events.malformed.get(&Protocol::Bfd), Some(&1000));
    assert_eq!(events.malformed_withheld, 900);
    bench.ms += 1000;
    bench.ethernet(&bad);
    assert_eq!(bench.words().len(), 1);
}

#[test]
fn unknown_link_types_and_ethertypes_are_counted() {
    let mut bench = Bench::new();
    bench.record(0, Format::Packet(147), &[0; 60], 60);
    let mut lldp = vec![2; 12];
    lldp.extend([0x88, 0xcc, 0, 0]);
    bench.ethernet(&lldp);
    assert!(bench.words().is_empty());
    let packets = &bench.decoder.stats().packets;
    assert_eq!(packets.unknown_link_types.by_type.get(&147), Some(&1));
    assert_eq!(packets.unknown_ethertypes.by_type.get(&0x88cc), Some(&1));
}

#[test]
fn a_source_is_announced_where_time_stands_or_begins() {
    let info = |id| {
        Item::Source(SourceInfo {
            id: SourceId(id),
            input: InputId(0),
            kind: SourceKind::Packets,
            interface: None,
            host: None,
            role: None,
        })
    };
    let mut bench = Bench::new();
    bench.item(&info(0));
    assert!(bench.events.is_empty(), "no time is known yet");
    bench.ethernet(&udp(49_152, 3784, 255, &bfd()));
    bench.item(&info(1));
    let seen: Vec<_> = bench
        .events
        .iter()
        .map(|event| (event.source.0, event.at.0, event.kind.class().0))
        .collect();
    let (source, bfd) = (
        crate::event::Classes::SOURCE.0,
        crate::event::Classes::BFD.0,
    );
    assert_eq!(
        seen,
        [
            (0, 5_000_000, source),
            (0, 5_000_000, bfd),
            (1, 5_000_000, source)
        ]
    );
}

#[test]
fn the_table_of_connections_is_bounded_and_says_when_it_is_full() {
    let mut bench = Bench::new();
    for n in 0..5000u32 {
        let [_, _, high, low] = n.to_be_bytes();
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([198, 51, high, low], B, 64)
            .tcp(50_000, 179, n, 1000)
            .syn()
            .write(&mut bytes, &[])
            .unwrap();
        bench.ethernet(&bytes);
    }
    let full = bench
        .words()
        .iter()
        .filter(|word| word.starts_with("StateFull"))
        .count();
    assert_eq!(full, 1);
    assert!(bench.decoder.stats().packets.tcp_evicted > 900);
}

const LINK_TYPES: [u16; 16] = [
    0, 1, 9, 12, 14, 50, 101, 104, 108, 113, 228, 229, 253, 276, 147, 65_535,
];

/// Packets that reach deep, for mutation.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![udp(68, 67, 64, &[1; 300]), udp(49_152, 3784, 255, &bfd())];
    let end = |last: u16| {
        let mut octets = [0u8; 16];
        octets[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        octets[14..].copy_from_slice(&last.to_be_bytes());
        octets
    };
    for payload in [keepalive(), vec![3, 0, 0, 0, 11, 4, 0, 2, 0, 1, b'r']] {
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv6(end(1), end(2), 255)
            .tcp(50_000, 179, 7, 1000)
            .write(&mut bytes, &payload)
            .unwrap();
        seeds.push(bytes);
    }
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6(end(1), end(2), 255)
        .udp(547, 546)
        .write(&mut bytes, &[7, 1, 2, 3, 0, 1, 0, 4, 1, 2, 3, 4])
        .unwrap();
    seeds.push(bytes);
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6(end(1), end(2), 255)
        .icmpv6_raw(134, 0, [64, 0, 7, 8])
        .write(&mut bytes, &[0; 24])
        .unwrap();
    seeds.push(bytes);
    seeds
}

proptest! {
    #[test]
    fn any_bytes_of_any_link_type_are_survived(
        kind in 0usize..LINK_TYPES.len(),
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        more in 0usize..100,
    ) {
        let mut bench = Bench::new();
        let wire = bytes.len() + more;
        bench.record(0, Format::Packet(LINK_TYPES[kind]), &bytes, wire);
        for format in [Format::Netlink, Format::Mrt, Format::BmpStream] {
            bench.record(1, format, &bytes, bytes.len());
        }
        bench.decoder.finish(&mut |_| {});
    }

    #[test]
    fn damaged_packets_are_survived(
        damage in proptest::collection::vec(
            (0usize..6, any::<prop::sample::Index>(), any::<u8>(), 0usize..400), 1..40),
    ) {
        let seeds = seeds();
        let mut bench = Bench::new();
        for (seed, at, octet, keep) in damage {
            let mut bytes = seeds[seed].clone();
            let index = at.index(bytes.len());
            bytes[index] ^= octet;
            let wire = bytes.len();
            bytes.truncate(keep.max(1));
            bench.record(0, Format::Packet(linktype::ETHERNET), &bytes, wire);
        }
        bench.decoder.finish(&mut |_| {});
    }
}
