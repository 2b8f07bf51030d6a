//! Hand-made records of every type that is decoded; real files are compared in `tests/differential_mrt.rs`.

use super::*;
use crate::decode::bgp::tests::{NET, attr, framed, update_of, usual};
use crate::event::source::Unit;

fn stamp() -> Stamp {
    Stamp {
        at: Timestamp::from_parts(1_000, 0),
        source: SourceId(0),
        locator: Locator {
            input: InputId(0),
            unit: Unit::Record,
            number: 1,
            offset: 0,
        },
    }
}

fn record_of(kind: u16, subtype: u16, body: &[u8]) -> Vec<u8> {
    let mut out = 1_000_u32.to_be_bytes().to_vec();
    out.extend(kind.to_be_bytes());
    out.extend(subtype.to_be_bytes());
    out.extend((body.len() as u32).to_be_bytes());
    out.extend(body);
    out
}

/// AS 65001 at 192.0.2.1 (peer), AS 65002 at 192.0.2.2 (local).
fn session_of(as4: bool) -> Vec<u8> {
    let asn: fn(u16) -> Vec<u8> = if as4 {
        |n| u32::from(n).to_be_bytes().to_vec()
    } else {
        |n| n.to_be_bytes().to_vec()
    };
    let mut out = [asn(65_001), asn(65_002)].concat();
    out.extend([0, 0, 0, 1, 192, 0, 2, 1, 192, 0, 2, 2]);
    out
}

fn events(decoder: &mut MrtDecoder, record: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    decoder.record(record, &stamp(), &mut |event| events.push(event.clone()));
    events
}

/// The one BGP event of a record.
fn only(record: &[u8]) -> BgpEvent {
    let events = events(&mut MrtDecoder::new(), record);
    let [event] = &events[..] else {
        panic!("{events:?}")
    };
    match &event.kind {
        EventKind::Bgp(bgp) => (**bgp).clone(),
        other => panic!("{other:?}"),
    }
}

fn announced(event: &BgpEvent) -> Vec<(String, u32)> {
    match &event.message {
        BgpMessage::Update(update) | BgpMessage::TableEntry(update) => update
            .announced
            .iter()
            .map(|key| (key.prefix.to_string(), key.path_id))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_message_subtype_says_who_spoke_and_how() {
    let two = [
        attr(0x40, 1, &[0]),
        attr(0x40, 2, &[2, 1, 0xfd, 0xe9]),
        attr(0x40, 3, &[192, 0, 2, 1]),
    ]
    .concat();
    let with_id = [&[0, 0, 0, 9][..], &NET].concat();
    for (subtype, as4, local, ids) in [
        (1, false, false, false),
        (4, true, false, false),
        (6, false, true, false),
        (7, true, true, false),
        (8, false, false, true),
        (9, true, false, true),
        (10, false, true, true),
        (11, true, true, true),
    ] {
        let attributes = if as4 { usual() } else { two.clone() };
        let message = update_of(&[], &attributes, if ids { &with_id } else { &NET });
        let body = [session_of(as4), message].concat();
        for kind in [BGP4MP, BGP4MP_ET] {
            let body = match kind {
                BGP4MP_ET => [&[0, 0, 0, 5][..], &body].concat(),
                _ => body.clone(),
            };
            let event = only(&record_of(kind, subtype, &body));
            let id = if ids { 9 } else { 0 };
            assert_eq!(announced(&event), [("198.51.100.0/24".to_string(), id)]);
            let (from, from_as) = if local {
                ("192.0.2.2", 65_002)
            } else {
                ("192.0.2.1", 65_001)
            };
            assert_eq!(event.session.from, from.parse::<IpAddr>().unwrap());
            assert_eq!(event.session.from_as, from_as);
        }
    }
}

#[test]
fn state_changes_and_other_messages_are_events() {
    let body = [session_of(true), vec![0, 6, 0, 1]].concat();
    let event = only(&record_of(BGP4MP, 5, &body));
    assert_eq!(event.message, BgpMessage::StateChange { old: 6, new: 1 });
    let body = [session_of(true), framed(4, &[])].concat();
    assert_eq!(
        only(&record_of(BGP4MP, 4, &body)).message,
        BgpMessage::Keepalive
    );
}

#[test]
fn a_table_dump_v2_names_peers_by_its_index() {
    let mut decoder = MrtDecoder::new();
    let index = [
        &[192, 0, 2, 99, 0, 0, 0, 2][..],
        &[2, 192, 0, 2, 1, 192, 0, 2, 1, 0, 0, 0xfd, 0xe9],
        &[3, 192, 0, 2, 2],
        &[
            0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0xfd, 0xea,
        ],
    ]
    .concat();
    assert!(events(&mut decoder, &record_of(TABLE_DUMP_V2, 1, &index)).is_empty());
    let attributes = usual();
    let entry = |peer: u8, id: &[u8]| {
        let mut out = vec![0, peer, 0, 0, 0, 7];
        out.extend(id);
        out.extend((attributes.len() as u16).to_be_bytes());
        out.extend(&attributes);
        out
    };
    let plain = [&[0; 4][..], &NET, &[0, 2], &entry(0, &[]), &entry(1, &[])].concat();
    let found = events(&mut decoder, &record_of(TABLE_DUMP_V2, 2, &plain));
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].origin_at, Some(Timestamp::from_parts(7, 0)));
    let EventKind::Bgp(bgp) = &found[1].kind else {
        panic!()
    };
    assert_eq!(bgp.session.from_as, 65_002);
    assert!(bgp.session.from.is_ipv6());
    assert!(matches!(bgp.message, BgpMessage::TableEntry(_)));

    let ids = [&[0; 4][..], &NET, &[0, 1], &entry(0, &[0, 0, 0, 5])].concat();
    let generic = [&[0, 0, 0, 0, 0, 1, 1][..], &NET, &[0, 1], &entry(0, &[])].concat();
    for (subtype, body, id) in [(8, ids, 5), (6, generic, 0)] {
        let found = events(&mut decoder, &record_of(TABLE_DUMP_V2, subtype, &body));
        let EventKind::Bgp(bgp) = &found[0].kind else {
            panic!()
        };
        assert_eq!(announced(bgp), [("198.51.100.0/24".to_string(), id)]);
    }
    // A peer beyond the index.
    let beyond = [&[0; 4][..], &NET, &[0, 1], &entry(9, &[])].concat();
    let found = events(&mut decoder, &record_of(TABLE_DUMP_V2, 2, &beyond));
    assert!(matches!(found[0].kind, EventKind::Malformed(_)));
}

#[test]
fn old_tables_may_pack_many_entries_into_one_record() {
    let attributes = [
        attr(0x40, 1, &[0]),
        attr(0x40, 2, &[2, 1, 0xfd, 0xe9]),
        attr(0x40, 3, &[192, 0, 2, 1]),
    ]
    .concat();
    let mut entry = vec![198, 51, 100, 0, 24, 1, 0, 0, 0, 7, 192, 0, 2, 1, 0xfd, 0xe9];
    entry.extend((attributes.len() as u16).to_be_bytes());
    entry.extend(attributes);
    let body = [&[0; 4][..], &entry, &entry].concat();
    let found = events(&mut MrtDecoder::new(), &record_of(TABLE_DUMP, 1, &body));
    assert_eq!(found.len(), 2);
}

#[test]
fn records_of_other_types_are_counted() {
    let mut decoder = MrtDecoder::new();
    for _ in 0..2 {
        assert!(events(&mut decoder, &record_of(48, 0, &[1])).is_empty());
    }
    assert_eq!(decoder.other_records(), [(48, 0, 2)]);
}

#[test]
fn identifiers_under_a_subtype_without_them_are_found() {
    let record =
        |update: &[u8]| record_of(BGP4MP, 4, &[session_of(true), update.to_vec()].concat());
    let mut decoder = MrtDecoder::new();
    let mut keys = |bytes: &[u8]| {
        let events = events(&mut decoder, bytes);
        match &events[0].kind {
            EventKind::Bgp(bgp) => announced(bgp),
            other => panic!("{other:?}"),
        }
    };
    let with_id = update_of(&[], &usual(), &[&[0, 0, 0, 1][..], &NET].concat());
    for _ in 0..2 {
        assert_eq!(keys(&record(&with_id)), [("198.51.100.0/24".to_owned(), 1)]);
    }
    // Damage is none.
    let mut fresh = MrtDecoder::new();
    let broken = update_of(&[], &usual(), &[33, 1, 2, 3, 4, 5]);
    let found = events(&mut fresh, &record(&broken));
    let EventKind::Bgp(bgp) = &found[0].kind else {
        panic!("{found:?}")
    };
    let BgpMessage::Update(update) = &bgp.message else {
        panic!("{bgp:?}")
    };
    assert!(update.announced.is_empty() && !update.errors.is_empty());
    assert!(fresh.inferred.is_empty());
}

#[test]
fn what_is_said_to_be_read_is_read() {
    for kind in 0..=50 {
        for subtype in 0..=16 {
            let mut decoder = MrtDecoder::new();
            events(&mut decoder, &record_of(kind, subtype, &[0; 64]));
            let read = crate::event::mrt_type::is_read(kind, subtype);
            // Families without keys of a generic table are counted too.
            let generic = kind == TABLE_DUMP_V2 && matches!(subtype, 6 | 12);
            assert!(
                read == decoder.other_records().is_empty() || generic,
                "{kind}/{subtype}"
            );
        }
    }
}

#[test]
fn a_record_that_is_cut_is_malformed() {
    let body = [session_of(true), update_of(&[], &usual(), &NET)].concat();
    let whole = record_of(BGP4MP, 4, &body);
    for length in 0..whole.len() {
        let found = events(&mut MrtDecoder::new(), &whole[..length]);
        assert!(matches!(
            found[..],
            [Event {
                kind: EventKind::Malformed(_),
                ..
            }]
        ));
    }
}

#[test]
fn extended_times_have_microseconds() {
    let record = record_of(BGP4MP_ET, 4, &[0, 0, 0, 5]);
    assert_eq!(record_time(&record), Some(Timestamp(1_000_000_005_000)));
    assert_eq!(
        record_time(&record_of(BGP4MP, 4, &[])),
        Some(Timestamp(1_000_000_000_000))
    );
    assert_eq!(record_time(&record[..11]), None);
}

#[test]
fn mutated_records_never_break_the_decoder() {
    // A fixed seed and a fixed number of rounds: a law, not a hunt. The hunt is `fuzz/`.
    const ROUNDS: usize = 200_000;
    let attributes = [
        usual(),
        attr(
            0x80,
            14,
            &[
                0, 2, 1, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0, 32, 1, 2, 3,
                4,
            ],
        ),
        attr(
            0x80,
            15,
            &[0, 1, 128, 112, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 2, 10, 0, 0],
        ),
        attr(0xc0, 17, &[2, 1, 0, 0, 0xfd, 0xe9]),
        attr(0xc0, 8, &[0, 1, 0, 2]),
    ]
    .concat();
    let message = update_of(&[8, 10], &attributes, &NET);
    let seeds = [
        record_of(BGP4MP, 4, &[session_of(true), message.clone()].concat()),
        record_of(BGP4MP, 1, &[session_of(false), message].concat()),
        record_of(
            TABLE_DUMP_V2,
            1,
            &[
                192, 0, 2, 99, 0, 0, 0, 1, 2, 192, 0, 2, 1, 192, 0, 2, 1, 0, 0, 0xfd, 0xe9,
            ],
        ),
        record_of(
            TABLE_DUMP_V2,
            2,
            &[
                &[0; 4][..],
                &NET,
                &[0, 1, 0, 0, 0, 0, 0, 7, 0, 4],
                &attr(0x40, 1, &[0]),
            ]
            .concat(),
        ),
        record_of(TABLE_DUMP, 1, &[0; 40]),
        record_of(BGP, 1, &[0; 40]),
    ];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    let mut decoder = MrtDecoder::new();
    let mut seen = 0_usize;
    for round in 0..ROUNDS {
        let mut record = seeds[round % seeds.len()].clone();
        for _ in 0..1 + next() % 4 {
            let at = next() % record.len();
            record[at] = match next() % 3 {
                0 => 0xff,
                1 => 0,
                _ => next() as u8,
            };
        }
        // Damage behind the header is the more telling one: mend the length in most rounds.
        if next() % 4 != 0 {
            let length = (record.len() - HEADER) as u32;
            record[8..12].copy_from_slice(&length.to_be_bytes());
        }
        decoder.record(&record, &stamp(), &mut |_| seen += 1);
    }
    assert!(seen > ROUNDS / 4, "{seen}");
}
