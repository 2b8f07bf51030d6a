//! Frames are read with what their session agreed on, however long ago that was.

use super::*;
use crate::commands::evidence::Finder;
use crate::event::source::Unit;
use crate::event::{InputId, Locator, SourceKind, Timestamp};
use crate::input::Format;
use crate::input::live::LiveRecord;
use crate::input::synthetic::{Connection, Sender};

const RAW_IP: u16 = 101;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut octets = vec![0xff; 16];
    octets.extend(u16::try_from(19 + body.len()).unwrap().to_be_bytes());
    octets.push(kind);
    octets.extend(body);
    octets
}

/// An OPEN of AS 64511 with ADD-PATH (send and receive) for IPv4 unicast and four-octet AS numbers.
fn open() -> Vec<u8> {
    let mut body = vec![4, 0xfb, 0xff, 0, 90, 192, 0, 2, 2];
    let capabilities = [
        69, 4, 0, 1, 1, 3, // RFC 7911
        65, 4, 0, 0, 0xfb, 0xff, // RFC 6793
    ];
    body.extend([14, 2, 12]);
    body.extend(capabilities);
    message(1, &body)
}

/// An UPDATE that announces 198.51.100.0/24 with path identifier 7: without knowing of ADD-PATH, other prefixes are read.
fn update() -> Vec<u8> {
    let mut body = vec![0, 0, 0, 20];
    body.extend([0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfb, 0xff]);
    body.extend([0x40, 3, 4, 192, 0, 2, 2]);
    body.extend([0, 0, 0, 7, 24, 198, 51, 100]);
    message(2, &body)
}

#[test]
fn an_update_whose_open_is_no_longer_kept_is_read_as_its_session_agreed() {
    let (mut recent, mut decoder) = (Recent::default(), Decoder::new());
    let mut number = 0;
    let mut take = |recent: &mut Recent, bytes: &[u8]| {
        number += 1;
        let place = Locator {
            input: InputId(0),
            unit: Unit::Frame,
            number,
            offset: 0,
        };
        let item = LiveItem::Record(LiveRecord {
            at: Timestamp(i64::try_from(number).unwrap() * 1_000_000),
            source: SourceId(1),
            locator: place,
            format: Format::Packet(RAW_IP),
            wire_len: u32::try_from(bytes.len()).unwrap(),
            bytes: bytes.into(),
        });
        decoder.item(&item.as_item().unwrap(), &mut |_| {});
        recent.push(item, &decoder);
        Place::of(&place)
    };
    let info = SourceInfo {
        id: SourceId(1),
        input: InputId(0),
        kind: SourceKind::Packets,
        interface: None,
        host: None,
        role: None,
    };
    recent.push(LiveItem::Source(info), &Decoder::new());
    let remote = "192.0.2.2:40000".parse().unwrap();
    let local = "192.0.2.1:179".parse().unwrap();
    let (mut stream, packets) = Connection::open(remote, local, Timestamp(0));
    let mut said: Vec<Box<[u8]>> = packets;
    said.extend(stream.data(Sender::Remote, &open()));
    said.extend(stream.data(Sender::Local, &open()));
    let first = said.len();
    for packet in said {
        take(&mut recent, &packet);
    }
    // A flood of what else there is pushes the OPENs out.
    let noise = vec![0; 60_000];
    for _ in 0..600 {
        take(&mut recent, &noise);
    }
    let places: Vec<Place> = stream
        .data(Sender::Remote, &update())
        .iter()
        .map(|packet| take(&mut recent, packet))
        .collect();
    assert!(recent.octets <= MAX_OCTETS);
    let kept = recent.items().count();
    assert!(kept < 600 + first, "the OPENs are still there: {kept}");
    let (decoder, mut items) = recent.around(&places);
    let mut finder = Finder::with(decoder, places.clone());
    assert!(items.any(|item| finder.item(&item)));
    let found = finder.finish();
    let text = format!("{found:?}");
    assert!(text.contains("198.51.100.0/24"), "{text}");
    assert!(found.iter().all(|found| found.missing.is_none()), "{text}");
}
