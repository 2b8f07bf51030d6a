//! Files of every kind through the public door: self-made bytes in, one ordered timeline out.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::io::{Cursor, Read, Write};

use flapscope::event::loss::GapKind;
use flapscope::event::source::Unit;
use flapscope::event::{SourceKind, Timestamp};
use flapscope::input::file::{OpenError, OpenOptions};
use flapscope::input::merge::InputSet;
use flapscope::input::{Format, Item};
use proptest::prelude::*;

/// 2024-03-01T00:00:00Z.
const T0: i64 = 1_709_251_200;

/// An item without what differs when files are permuted: the ids of inputs.
#[derive(Clone, PartialEq, Debug)]
enum Seen {
    Source(u32, SourceKind, Option<String>),
    Record {
        at: i64,
        source: u32,
        unit: Unit,
        number: u64,
        offset: u64,
        format: Format,
        bytes: Vec<u8>,
        wire_len: u32,
    },
    Gap {
        at: i64,
        kind: GapKind,
        lost: Option<u64>,
        detail: String,
    },
}

fn read(set: &mut InputSet) -> Vec<Seen> {
    let mut out = Vec::new();
    let mut last = i64::MIN;
    while let Some(item) = set.next() {
        out.push(match item {
            Item::Source(info) => Seen::Source(
                info.id.0,
                info.kind,
                info.interface.map(|name| name.to_string()),
            ),
            Item::Record(record) => {
                assert!(record.at.0 >= last, "time went back");
                last = record.at.0;
                Seen::Record {
                    at: record.at.0,
                    source: record.source.0,
                    unit: record.locator.unit,
                    number: record.locator.number,
                    offset: record.locator.offset,
                    format: record.format,
                    bytes: record.bytes.to_vec(),
                    wire_len: record.wire_len,
                }
            }
            Item::Gap { at, gap, .. } => {
                assert!(at.0 >= last, "time went back");
                last = at.0;
                Seen::Gap {
                    at: at.0,
                    kind: gap.kind,
                    lost: gap.lost,
                    detail: gap.detail.to_string(),
                }
            }
        });
    }
    out
}

fn open(files: &[Vec<u8>], options: &OpenOptions) -> Result<InputSet, OpenError> {
    let readers = files
        .iter()
        .enumerate()
        .map(|(index, file)| {
            let reader: Box<dyn Read + Send> = Box::new(Cursor::new(file.clone()));
            (format!("file{index}"), reader)
        })
        .collect();
    InputSet::from_readers(readers, options)
}

fn items(files: &[Vec<u8>]) -> Vec<Seen> {
    read(&mut open(files, &OpenOptions::default()).unwrap())
}

fn times(items: &[Seen]) -> Vec<i64> {
    items
        .iter()
        .filter_map(|item| match item {
            Seen::Record { at, .. } => Some(*at),
            _ => None,
        })
        .collect()
}

fn numbers(items: &[Seen]) -> Vec<u64> {
    items
        .iter()
        .filter_map(|item| match item {
            Seen::Record { number, .. } => Some(*number),
            _ => None,
        })
        .collect()
}

fn gaps(items: &[Seen]) -> Vec<&Seen> {
    items
        .iter()
        .filter(|item| matches!(item, Seen::Gap { .. }))
        .collect()
}

/// An Ethernet frame with ARP inside: passes every filter. `mark` tells it from others.
fn arp(mark: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, mark, 2, 0, 0, 0, 0, 1, 8, 6];
    frame.resize(42, mark);
    frame
}

/// A raw IPv4 packet to a DHCP server's port.
fn dhcp(mark: u8) -> Vec<u8> {
    let mut packet = vec![
        0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, mark, 198, 51, 100, 1,
    ];
    packet.extend([0, 68, 0, 67, 0, 9, 0, 0, mark]);
    packet
}

/// A frame that nobody decodes.
fn noise() -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([0x88, 0xcc, 0, 0]);
    frame
}

#[derive(Copy, Clone, PartialEq)]
enum End {
    Big,
    Little,
}

impl End {
    fn u16(self, value: u16) -> [u8; 2] {
        match self {
            End::Big => value.to_be_bytes(),
            End::Little => value.to_le_bytes(),
        }
    }
    fn u32(self, value: u32) -> [u8; 4] {
        match self {
            End::Big => value.to_be_bytes(),
            End::Little => value.to_le_bytes(),
        }
    }
}

fn pcap_header(end: End, magic: u32, link_type: u32) -> Vec<u8> {
    let mut file = end.u32(magic).to_vec();
    file.extend(end.u16(2));
    file.extend(end.u16(4));
    file.extend([0; 8]);
    file.extend(end.u32(65_535));
    file.extend(end.u32(link_type));
    file
}

fn pcap_record(end: End, magic: u32, seconds: i64, fraction: u32, data: &[u8]) -> Vec<u8> {
    let mut record = end.u32(seconds as u32).to_vec();
    record.extend(end.u32(fraction));
    record.extend(end.u32(data.len() as u32));
    record.extend(end.u32(data.len() as u32 + 7));
    if magic == 0xa1b2_cd34 {
        record.extend([0; 8]);
    }
    record.extend(data);
    record
}

const MICRO: u32 = 0xa1b2_c3d4;

/// A little-endian Ethernet capture of frames at milliseconds after [`T0`].
fn pcap(frames: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut file = pcap_header(End::Little, MICRO, 1);
    for (millis, frame) in frames {
        let (seconds, rest) = (T0 + millis.div_euclid(1000), millis.rem_euclid(1000));
        file.extend(pcap_record(
            End::Little,
            MICRO,
            seconds,
            rest as u32 * 1000,
            frame,
        ));
    }
    file
}

fn block(end: End, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let total = end.u32(padded as u32 + 12);
    let mut block = end.u32(kind).to_vec();
    block.extend(total);
    block.extend(body);
    block.resize(8 + padded, 0);
    block.extend(total);
    block
}

fn section(end: End) -> Vec<u8> {
    let mut body = end.u32(0x1a2b_3c4d).to_vec();
    body.extend(end.u16(1));
    body.extend(end.u16(0));
    body.extend([0xff; 8]);
    block(end, 0x0a0d_0d0a, &body)
}

fn option(end: End, code: u16, value: &[u8]) -> Vec<u8> {
    let mut option = end.u16(code).to_vec();
    option.extend(end.u16(value.len() as u16));
    option.extend(value);
    option.resize(4 + value.len().next_multiple_of(4), 0);
    option
}

fn interface(end: End, link_type: u16, options: &[Vec<u8>]) -> Vec<u8> {
    let mut body = end.u16(link_type).to_vec();
    body.extend([0; 6]);
    body.extend(options.concat());
    block(end, 1, &body)
}

fn enhanced(end: End, interface: u32, units: u64, data: &[u8]) -> Vec<u8> {
    let mut body = end.u32(interface).to_vec();
    body.extend(end.u32((units >> 32) as u32));
    body.extend(end.u32(units as u32));
    body.extend(end.u32(data.len() as u32));
    body.extend(end.u32(data.len() as u32));
    body.extend(data);
    block(end, 6, &body)
}

fn mrt(seconds: i64, micros: Option<u32>, body: &[u8]) -> Vec<u8> {
    let mut record = (seconds as u32).to_be_bytes().to_vec();
    record.extend(if micros.is_some() { 17u16 } else { 16 }.to_be_bytes());
    record.extend(4u16.to_be_bytes());
    let extra = micros.map_or(0, |_| 4);
    record.extend((body.len() as u32 + extra).to_be_bytes());
    if let Some(micros) = micros {
        record.extend(micros.to_be_bytes());
    }
    record.extend(body);
    record
}

fn bmp_statistics(seconds: u32) -> Vec<u8> {
    let mut message = vec![3, 0, 0, 0, 52, 1];
    message.resize(52, 0);
    message[40..44].copy_from_slice(&seconds.to_be_bytes());
    message
}

const INITIATION: [u8; 10] = [3, 0, 0, 0, 10, 4, 0, 2, 0, 0];

fn netlink(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut message = (16 + body.len() as u32).to_le_bytes().to_vec();
    message.extend(kind.to_le_bytes());
    message.extend([0; 10]);
    message.extend(body);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

fn rtmon_stamp(seconds: i64, micros: u32) -> Vec<u8> {
    netlink(
        15,
        &[(seconds as u32).to_le_bytes(), micros.to_le_bytes()].concat(),
    )
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_flavour_of_pcap_gives_the_same_packet() {
    for end in [End::Big, End::Little] {
        for (magic, fraction) in [(MICRO, 5), (0xa1b2_3c4d, 5000), (0xa1b2_cd34, 5)] {
            let mut file = pcap_header(end, magic, 1);
            file.extend(pcap_record(end, magic, T0, fraction, &arp(1)));
            let items = items(&[file]);
            assert_eq!(items[0], Seen::Source(0, SourceKind::Packets, None));
            let Seen::Record {
                at,
                format,
                bytes,
                wire_len,
                ..
            } = &items[1]
            else {
                panic!("no record");
            };
            assert_eq!(*at, T0 * 1_000_000_000 + 5000);
            assert_eq!(
                (*format, bytes, *wire_len),
                (Format::Packet(1), &arp(1), 49)
            );
        }
    }
}

#[test]
fn sections_and_interfaces_have_their_own_order_link_type_and_resolution() {
    let (big, little) = (End::Big, End::Little);
    let file = [
        section(big),
        interface(big, 1, &[option(big, 2, b"eth0"), option(big, 9, &[9])]),
        interface(big, 253, &[option(big, 2, b"nl"), option(big, 9, &[6])]),
        enhanced(big, 0, T0 as u64 * 1_000_000_000 + 3, &arp(1)),
        enhanced(big, 1, T0 as u64 * 1_000_000 + 1, b"netlink bytes"),
        section(little),
        interface(
            little,
            101,
            &[
                option(little, 2, b"tun0"),
                option(little, 9, &[0x80 | 1]),
                option(little, 14, &T0.to_le_bytes()),
            ],
        ),
        enhanced(little, 0, 3, &dhcp(1)),
    ]
    .concat();
    let items = items(&[file]);
    let source = |id, kind, name: &str| Seen::Source(id, kind, Some(name.into()));
    assert_eq!(items[0], source(0, SourceKind::Packets, "eth0"));
    assert_eq!(items[2], source(1, SourceKind::Netlink, "nl"));
    assert_eq!(items[4], source(2, SourceKind::Packets, "tun0"));
    let base = T0 * 1_000_000_000;
    assert_eq!(times(&items), [base + 3, base + 1000, base + 1_500_000_000]);
    assert_eq!(numbers(&items), [1, 2, 3]);
}

#[test]
fn frames_are_counted_as_wireshark_counts_them_even_when_filtered() {
    let file = [
        section(End::Little),
        interface(End::Little, 1, &[]),
        interface(End::Little, 147, &[]),
        enhanced(End::Little, 0, T0 as u64 * 1_000_000, &noise()),
        enhanced(End::Little, 1, T0 as u64 * 1_000_000 + 1, b"who knows"),
        block(End::Little, 0x0bad, b"custom"),
        block(End::Little, 4, b"names"),
        enhanced(End::Little, 0, T0 as u64 * 1_000_000 + 2, &arp(1)),
    ]
    .concat();
    let mut set = open(&[file], &OpenOptions::default()).unwrap();
    // Wireshark numbers custom blocks, too.
    assert_eq!(numbers(&read(&mut set)), [4]);
    let info = &set.inputs()[0];
    assert_eq!(info.records, 3);
    assert_eq!(info.from, Some(Timestamp(T0 * 1_000_000_000)));
    assert!(info.notes.iter().any(|note| note.contains("USER0")));
}

#[test]
fn drop_counters_become_gaps_by_what_they_grew() {
    let statistics = |seconds: i64, dropped: u64| {
        let units = seconds as u64 * 1_000_000;
        let mut body = 0u32.to_le_bytes().to_vec();
        body.extend(((units >> 32) as u32).to_le_bytes());
        body.extend((units as u32).to_le_bytes());
        body.extend(option(End::Little, 5, &dropped.to_le_bytes()));
        block(End::Little, 5, &body)
    };
    let file = [
        section(End::Little),
        interface(End::Little, 1, &[]),
        enhanced(End::Little, 0, T0 as u64 * 1_000_000, &arp(1)),
        statistics(T0 + 1, 5),
        enhanced(End::Little, 0, (T0 as u64 + 9) * 1_000_000, &arp(2)),
        statistics(T0 + 10, 5),
        statistics(T0 + 11, 8),
    ]
    .concat();
    let items = items(&[file]);
    let lost: Vec<_> = gaps(&items)
        .into_iter()
        .map(|gap| match gap {
            Seen::Gap { kind, lost, .. } => (*kind, *lost),
            _ => unreachable!(),
        })
        .collect();
    assert_eq!(
        lost,
        [
            (GapKind::CaptureDrops, Some(5)),
            (GapKind::CaptureDrops, Some(3))
        ]
    );
}

#[test]
fn interfaces_that_lag_behind_each_other_are_put_in_order() {
    let at = |millis: u64| T0 as u64 * 1_000_000 + millis * 1000;
    let file = [
        section(End::Little),
        interface(End::Little, 1, &[option(End::Little, 2, b"a")]),
        interface(End::Little, 1, &[option(End::Little, 2, b"b")]),
        enhanced(End::Little, 0, at(300), &arp(1)),
        enhanced(End::Little, 0, at(310), &arp(2)),
        enhanced(End::Little, 1, at(100), &arp(3)),
        enhanced(End::Little, 1, at(305), &arp(4)),
        enhanced(End::Little, 0, at(320), &arp(5)),
    ]
    .concat();
    let items = items(&[file]);
    assert_eq!(numbers(&items), [3, 1, 4, 2, 5]);
    assert!(gaps(&items).is_empty());
}

#[test]
fn a_truncated_tail_is_read_as_far_as_it_goes_and_told() {
    let whole = pcap(&[(0, arp(1)), (10, arp(2))]);
    for cut in whole.len() - 57..whole.len() {
        let items = items(&[whole[..cut].to_vec()]);
        assert_eq!(numbers(&items), [1], "cut at {cut}");
        let gaps = gaps(&items);
        assert!(matches!(
            gaps[..],
            [Seen::Gap {
                kind: GapKind::DamagedInput,
                ..
            }]
        ));
        assert!(format!("{gaps:?}").contains("byte 82"), "{gaps:?}");
    }
}

#[test]
fn absurd_lengths_end_the_file_and_nothing_else() {
    let mut file = pcap(&[(0, arp(1)), (10, arp(2))]);
    file[24 + 58 + 8..24 + 58 + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    let seen = items(&[file]);
    assert_eq!((numbers(&seen).len(), gaps(&seen).len()), (1, 1));

    for absurd in [0, 8, 13, 0xffff_fffc] {
        let mut file = [
            section(End::Little),
            interface(End::Little, 1, &[]),
            enhanced(End::Little, 0, T0 as u64 * 1_000_000, &arp(1)),
        ]
        .concat();
        let mut bad = enhanced(End::Little, 0, 0, &arp(2));
        bad[4..8].copy_from_slice(&u32::to_le_bytes(absurd));
        file.extend(bad);
        let items = items(&[file]);
        assert_eq!((numbers(&items).len(), gaps(&items).len()), (1, 1));
    }

    let mut file = [mrt(T0, None, &[1; 30]), mrt(T0, None, &[2; 30])].concat();
    file[42 + 8..42 + 12].copy_from_slice(&u32::MAX.to_be_bytes());
    let items = items(&[file]);
    assert_eq!((numbers(&items).len(), gaps(&items).len()), (1, 1));
}

#[test]
fn mrt_records_keep_their_order_and_extended_ones_their_microseconds() {
    let file = [
        mrt(T0, None, b"first"),
        mrt(T0, Some(250_000), b"second"),
        mrt(T0, None, b"third, whole second"),
        mrt(T0 + 2, None, b"fourth"),
    ]
    .concat();
    let items = items(std::slice::from_ref(&file));
    let base = T0 * 1_000_000_000;
    assert_eq!(
        times(&items),
        [
            base,
            base + 250_000_000,
            base + 250_000_000,
            base + 2_000_000_000
        ]
    );
    assert!(gaps(&items).is_empty());
    let Seen::Record {
        unit,
        offset,
        bytes,
        number,
        ..
    } = &items[2]
    else {
        panic!("no record");
    };
    assert_eq!((*unit, *number, *offset), (Unit::Record, 2, 17));
    assert_eq!(bytes[..], file[17..17 + 22]);
}

#[test]
fn a_bmp_stream_takes_the_routers_stamps_where_they_make_sense() {
    let seconds = T0 as u32;
    let file = [
        INITIATION.to_vec(),
        bmp_statistics(seconds),
        bmp_statistics(17),
        bmp_statistics(seconds + 5),
        bmp_statistics(seconds + 1),
    ]
    .concat();
    let items = items(&[file]);
    let base = T0 * 1_000_000_000;
    let later = base + 5_000_000_000;
    assert_eq!(times(&items), [base, base, base, later, later]);
    assert!(gaps(&items).is_empty());
}

#[test]
fn a_bmp_stream_without_times_begins_with_the_other_inputs() {
    let stream = [INITIATION.to_vec(), bmp_statistics(0)].concat();
    let items = items(&[stream, pcap(&[(0, arp(1))])]);
    assert_eq!(times(&items), [T0 * 1_000_000_000; 3]);
}

#[test]
fn a_bmp_stream_may_begin_and_break_anywhere() {
    let seconds = T0 as u32;
    let message = bmp_statistics(seconds);
    let chain = message.repeat(4);
    let file = [&chain[20..], b"garbage".as_slice(), &chain].concat();
    let items = items(&[file]);
    assert_eq!(numbers(&items).len(), 7);
    let lost: Vec<_> = gaps(&items)
        .into_iter()
        .filter_map(|gap| match gap {
            Seen::Gap { lost, .. } => *lost,
            _ => None,
        })
        .collect();
    assert_eq!(lost, [32, 7]);
}

#[test]
fn rtmon_messages_have_the_time_of_the_stamp_before_them() {
    let file = [
        rtmon_stamp(T0, 5),
        netlink(16, b"a link"),
        netlink(20, b"an address"),
        rtmon_stamp(T0 + 1, 0),
        netlink(24, b"a route"),
    ]
    .concat();
    let items = items(&[file]);
    assert_eq!(items[0], Seen::Source(0, SourceKind::Netlink, None));
    let base = T0 * 1_000_000_000;
    assert_eq!(
        times(&items),
        [base + 5000, base + 5000, base + 1_000_000_000]
    );
    assert!(items[1..].iter().all(|item| matches!(
        item,
        Seen::Record {
            format: Format::Netlink,
            ..
        }
    )));
}

#[test]
fn packed_files_are_read_through_all_members_and_damage_is_told() {
    let file = pcap(&[(0, arp(1)), (10, arp(2)), (20, arp(3))]);
    let plain = items(std::slice::from_ref(&file));
    let (head, tail) = file.split_at(100);
    let mut bz = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bz.write_all(&file).unwrap();
    let packed = [
        [gzip(head), gzip(tail)].concat(),
        bz.finish().unwrap(),
        [
            zstd::stream::encode_all(head, 1).unwrap(),
            zstd::stream::encode_all(tail, 1).unwrap(),
        ]
        .concat(),
    ];
    for packed in packed {
        assert_eq!(items(&[packed]), plain);
    }

    let mut cut = [gzip(&file), gzip(&file[24..])].concat();
    cut.truncate(cut.len() - 6);
    let items = items(&[cut]);
    assert!(numbers(&items).len() >= 3);
    assert_eq!(gaps(&items).len(), 1);
}

#[test]
fn a_clock_set_back_is_told_once_and_time_goes_on() {
    let hour = 3_600_000;
    let file = pcap(&[
        (hour, arp(1)),
        (hour + 1000, arp(2)),
        (0, arp(3)),
        (5000, arp(4)),
    ]);
    let items = items(&[file]);
    assert_eq!(numbers(&items), [1, 2, 3, 4]);
    let gaps = gaps(&items);
    assert!(matches!(
        gaps[..],
        [Seen::Gap {
            kind: GapKind::ClockStep,
            ..
        }]
    ));
    let times = times(&items);
    assert_eq!(times[3] - times[2], 5_000_000_000);
}

#[test]
fn one_wild_stamp_does_not_move_the_clock() {
    let file = pcap(&[
        (0, arp(1)),
        (10, arp(2)),
        (99_000_000, arp(3)),
        (20, arp(4)),
        (9000, arp(5)),
    ]);
    let items = items(&[file]);
    assert_eq!(gaps(&items).len(), 1);
    assert_eq!(numbers(&items), [1, 2, 3, 4, 5]);
    let base = T0 * 1_000_000_000;
    assert_eq!(times(&items).last(), Some(&(base + 9_000_000_000)));
}

#[test]
fn a_wild_stamp_does_not_move_the_clock_even_at_the_start_or_on_a_filtered_frame() {
    let base = T0 * 1_000_000_000;
    for wild in [noise(), arp(9)] {
        let frame = (99_000_000, wild);
        let first = pcap(&[frame.clone(), (20, arp(4)), (9000, arp(5))]);
        let later = pcap(&[(10, arp(2)), frame, (20, arp(4)), (9000, arp(5))]);
        for file in [first, later] {
            let mut set = open(&[file], &OpenOptions::default()).unwrap();
            let items = read(&mut set);
            let end = base + 9_000_000_000;
            assert_eq!(times(&items).last(), Some(&end));
            assert_eq!(gaps(&items).len(), 1);
            assert_eq!(set.inputs()[0].to, Some(Timestamp(end)));
        }
    }
}

#[test]
fn damage_before_the_first_record_leaves_nothing_readable() {
    let whole = pcap(&[(0, arp(1))]);
    for (cut, nothing) in [(24, false), (60, true), (whole.len(), false)] {
        let mut set = open(&[whole[..cut].to_vec()], &OpenOptions::default()).unwrap();
        read(&mut set);
        assert_eq!(set.nothing_readable(), nothing, "cut at {cut}");
    }
}

#[test]
fn a_pause_is_no_gap() {
    assert!(gaps(&items(&[pcap(&[(0, arp(1)), (86_400_000, arp(2))])])).is_empty());
}

#[test]
fn since_is_inclusive_and_until_is_not() {
    let file = pcap(&[(0, arp(1)), (10, arp(2)), (20, arp(3)), (30, arp(4))]);
    let at = |millis: i64| Some(Timestamp(T0 * 1_000_000_000 + millis * 1_000_000));
    let options = OpenOptions {
        since: at(10),
        until: at(30),
        ..OpenOptions::default()
    };
    let mut set = open(&[file], &options).unwrap();
    assert_eq!(numbers(&read(&mut set)), [2, 3]);
    let info = &set.inputs()[0];
    assert_eq!((info.from, info.to, info.records), (at(10), at(20), 4));
    assert!(
        info.notes
            .iter()
            .any(|note| note.contains("2 records outside"))
    );
}

#[test]
fn ties_in_time_go_by_content_and_files_hours_apart_are_told() {
    let packets = pcap(&[(0, arp(1)), (0, arp(2))]);
    let other = pcap(&[(0, arp(3))]);
    let routes = mrt(T0, None, b"update");
    let stream = [INITIATION.to_vec(), bmp_statistics(T0 as u32)].concat();
    let kernel = [rtmon_stamp(T0, 0), netlink(16, b"a link")].concat();
    let files = [packets, other, routes, stream, kernel];
    let expected = items(&files);
    let kinds: Vec<SourceKind> = expected
        .iter()
        .filter_map(|item| match item {
            Seen::Source(_, kind, _) => Some(*kind),
            _ => None,
        })
        .collect();
    assert!(kinds.is_sorted() && kinds.len() == 5);
    let mut turned = files.clone();
    for _ in 0..files.len() {
        turned.rotate_left(1);
        assert_eq!(items(&turned), expected);
        let packed: Vec<Vec<u8>> = turned.iter().map(|file| gzip(file)).collect();
        assert_eq!(items(&packed), expected);
    }

    let far = [pcap(&[(0, arp(1))]), pcap(&[(7_200_000, arp(2))])];
    let mut set = open(&far, &OpenOptions::default()).unwrap();
    read(&mut set);
    assert!(set.inputs()[0].notes[0].starts_with("2.0 h apart"));
}

#[test]
fn what_is_no_input_is_refused_in_one_line() {
    for (file, word) in [
        (b"".to_vec(), "empty"),
        (b"time,event\n1,up\n".to_vec(), "neither"),
        (gzip(b"time,event\n"), "unpacked"),
        (vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0], "neither"),
    ] {
        let error = open(&[file], &OpenOptions::default()).err().unwrap();
        let line = error.to_string();
        assert!(line.contains(word) && line.contains("file0") && !line.contains('\n'));
        assert!(line.contains("byte 0"), "{line}");
    }
}

#[test]
fn no_cut_and_no_flip_of_any_file_hangs_or_panics() {
    let files = [
        pcap(&[(0, arp(1)), (10, arp(2))]),
        [
            section(End::Big),
            interface(End::Big, 1, &[option(End::Big, 2, b"eth0")]),
            enhanced(End::Big, 0, T0 as u64 * 1_000_000, &arp(1)),
        ]
        .concat(),
        [mrt(T0, Some(1), b"first"), mrt(T0, None, b"second")].concat(),
        [INITIATION.to_vec(), bmp_statistics(T0 as u32).repeat(3)].concat(),
        [rtmon_stamp(T0, 5), netlink(16, b"a link")].concat(),
    ];
    for file in &files {
        for at in 0..file.len() {
            let mut tries = vec![file[..at].to_vec()];
            for flip in [0x01, 0x80, 0xff] {
                let mut flipped = file.clone();
                flipped[at] ^= flip;
                tries.push(flipped);
            }
            for file in tries {
                if let Ok(mut set) = open(&[file], &OpenOptions::default()) {
                    read(&mut set);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn permuted_files_give_the_same_items_and_lose_none(
        files in proptest::collection::vec(proptest::collection::vec((-300i64..5000, 0u8..4), 1..40), 2..5),
        turn in 0usize..5,
    ) {
        let files: Vec<Vec<u8>> = files
            .into_iter()
            .enumerate()
            .map(|(index, mut frames)| {
                // Disorder of up to 300 ms around an ordered walk, marks that make each file another.
                frames.sort_by_key(|(at, _)| at.div_euclid(300));
                let frames: Vec<_> = frames
                    .into_iter()
                    .map(|(at, mark)| (at, arp(mark + 16 * index as u8)))
                    .collect();
                pcap(&frames)
            })
            .collect();
        let expected = items(&files);
        let mut turned = files.clone();
        let length = turned.len();
        turned.rotate_left(turn % length);
        turned.reverse();
        prop_assert_eq!(&items(&turned), &expected);
        let frames: usize = files.iter().map(|file| (file.len() - 24) / 58).sum();
        prop_assert_eq!(numbers(&expected).len(), frames);
        prop_assert!(times(&expected).is_sorted());
    }
}
