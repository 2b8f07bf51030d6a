//! Streams in any cut, loss, restarts, and what OPENs agree.

use super::*;
use crate::decode::bgp::tests::{NET, attr, framed, open_of, update_of, usual};
use crate::event::bgp::{BgpMessage, Family, Update};
use crate::event::bmp::{BmpMessage, Rib};
use crate::event::frame::Frame;
use crate::event::source::Unit;
use crate::event::{InputId, Locator, SourceId};

fn stamp(at: i64) -> Stamp {
    Stamp {
        at: Timestamp(at),
        source: SourceId(0),
        locator: Locator {
            input: InputId(0),
            unit: Unit::Frame,
            number: 1,
            offset: 0,
        },
    }
}

fn connection() -> BgpConnection {
    BgpConnection::new(
        "192.0.2.1:40000".parse().unwrap(),
        "192.0.2.2:179".parse().unwrap(),
    )
}

/// One word for each event.
fn word(event: &Event) -> String {
    match &event.kind {
        EventKind::Bgp(bgp) => match &bgp.message {
            BgpMessage::Update(update) => routes(update),
            BgpMessage::Open(_) => "open".into(),
            BgpMessage::Keepalive => "keepalive".into(),
            other => format!("{other:?}"),
        },
        EventKind::Bmp(bmp) => match &bmp.message {
            BmpMessage::RouteMonitoring(update) => routes(update),
            BmpMessage::PeerUp { .. } => "up".into(),
            BmpMessage::PeerDown { reason, .. } => format!("down {reason}"),
            BmpMessage::Initiation { .. } => "initiation".into(),
            BmpMessage::Connected => "connected".into(),
            BmpMessage::Disconnected => "disconnected".into(),
            other => format!("{other:?}"),
        },
        EventKind::Gap(_) => "gap".into(),
        EventKind::Malformed(_) => "malformed".into(),
        other => format!("{other:?}"),
    }
}

fn routes(update: &Update) -> String {
    let keys = |sign: &str, keys: &[crate::event::bgp::Nlri]| -> String {
        keys.iter()
            .map(|key| format!("{sign}{}#{}", key.prefix, key.path_id))
            .collect()
    };
    keys("+", &update.announced) + &keys("-", &update.withdrawn)
}

fn bgp_words(connection: &mut BgpConnection, from_a: bool, bytes: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    connection.data(from_a, bytes, &Frame::default(), &stamp(1), &mut |event| {
        words.push(word(event));
    });
    words
}

#[test]
fn any_cut_gives_the_same_messages() {
    let stream = [
        open_of(&[65, 4, 0, 0, 0xfd, 0xe9]),
        framed(4, &[]),
        update_of(&[], &usual(), &NET),
        update_of(&NET, &[], &[]),
        framed(4, &[]),
    ]
    .concat();
    let expected = [
        "open",
        "keepalive",
        "+198.51.100.0/24#0",
        "-198.51.100.0/24#0",
        "keepalive",
    ];
    for size in 1..=stream.len() {
        let mut connection = connection();
        let words: Vec<String> = stream
            .chunks(size)
            .flat_map(|chunk| bgp_words(&mut connection, true, chunk))
            .collect();
        assert_eq!(words, expected, "cut into {size}");
    }
}

#[test]
fn a_stream_entered_in_the_middle_starts_with_the_first_whole_message() {
    let stream = [update_of(&[], &usual(), &NET), framed(4, &[])].concat();
    for size in 1..20 {
        let mut connection = connection();
        let words: Vec<String> = stream[5..]
            .chunks(size)
            .flat_map(|chunk| bgp_words(&mut connection, false, chunk))
            .collect();
        assert_eq!(words, ["keepalive"], "cut into {size}");
    }
}

#[test]
fn after_loss_the_next_marker_is_found() {
    let mut connection = connection();
    let message = update_of(&[], &usual(), &NET);
    assert!(bgp_words(&mut connection, true, &message[..30]).is_empty());
    let mut gaps = Vec::new();
    connection.lost(true, Some(7), &stamp(5), &mut |event| {
        if let EventKind::Gap(gap) = &event.kind {
            gaps.push((gap.kind, gap.from.0, gap.to.0, gap.lost));
        }
    });
    assert_eq!(gaps, [(GapKind::TcpLoss, 1, 5, Some(7))]);
    let rest = [&message[37..], &framed(4, &[])].concat();
    assert_eq!(bgp_words(&mut connection, true, &rest), ["keepalive"]);
}

#[test]
fn damage_is_told_and_followed_by_the_next_message() {
    let mut connection = connection();
    let stream = [framed(4, &[]), b"garbage".to_vec(), framed(4, &[])].concat();
    assert_eq!(
        bgp_words(&mut connection, true, &stream),
        ["keepalive", "malformed", "keepalive"]
    );
}

#[test]
fn both_opens_decide_how_updates_are_written() {
    let can_send = [&[65, 4, 0, 0, 0xfd, 0xe9][..], &[69, 4, 0, 1, 1, 2]].concat();
    let can_receive = [&[65, 4, 0, 0, 0xfd, 0xea][..], &[69, 4, 0, 1, 1, 1]].concat();
    let mut connection = connection();
    bgp_words(&mut connection, true, &open_of(&can_send));
    bgp_words(&mut connection, false, &open_of(&can_receive));
    let with_id = update_of(&[], &usual(), &[&[0, 0, 0, 9][..], &NET].concat());
    assert_eq!(
        bgp_words(&mut connection, true, &with_id),
        ["+198.51.100.0/24#9"]
    );
    let without = update_of(&[], &usual(), &NET);
    assert_eq!(
        bgp_words(&mut connection, false, &without),
        ["+198.51.100.0/24#0"]
    );
    // A new connection forgets it.
    connection.restarted(true);
    connection.restarted(false);
    assert_eq!(
        bgp_words(&mut connection, true, &without),
        ["+198.51.100.0/24#0"]
    );
}

/// A BMP message of a global peer 192.0.2.9 in AS 65001.
pub(super) fn bmp_of(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut peer = vec![0, flags, 0, 0, 0, 0, 0, 0, 0, 0];
    peer.extend([0; 12]);
    peer.extend([192, 0, 2, 9, 0, 0, 0xfd, 0xe9, 192, 0, 2, 9]);
    peer.extend([0, 0, 0, 7, 0, 0, 0, 5]);
    let mut out = vec![3];
    out.extend(((6 + peer.len() + body.len()) as u32).to_be_bytes());
    out.push(kind);
    out.extend(peer);
    out.extend(body);
    out
}

fn initiation() -> Vec<u8> {
    vec![3, 0, 0, 0, 12, 4, 0, 2, 0, 2, b'r', b'1']
}

fn peer_up(sent: &[u8], received: &[u8]) -> Vec<u8> {
    let local = [&[0; 12][..], &[192, 0, 2, 1], &[0, 179, 0x9c, 0x40]].concat();
    bmp_of(3, 0, &[local, open_of(sent), open_of(received)].concat())
}

fn bmp_words(stream: &mut BmpStream, bytes: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    stream.data(bytes, &stamp(1), &mut |event| words.push(word(event)));
    words
}

#[test]
fn bmp_messages_come_whole_from_any_cut() {
    let as4 = [65, 4, 0, 0, 0xfd, 0xe9];
    let stream = [
        initiation(),
        peer_up(&as4, &as4),
        bmp_of(0, 0, &update_of(&[], &usual(), &NET)),
        bmp_of(2, 0, &[&[3][..], &framed(3, &[6, 2])].concat()),
    ]
    .concat();
    assert!(looks_like_bmp(&stream));
    for size in 1..=stream.len() {
        let mut bmp = BmpStream::new(None, 1);
        let words: Vec<String> = stream
            .chunks(size)
            .flat_map(|chunk| bmp_words(&mut bmp, chunk))
            .collect();
        assert_eq!(
            words,
            [
                "connected",
                "initiation",
                "up",
                "+198.51.100.0/24#0",
                "down 3"
            ],
            "cut into {size}"
        );
    }
}

#[test]
fn flags_of_the_peer_header_name_the_rib_and_the_stamp_is_the_routers() {
    let withdraw = update_of(&NET, &[], &[]);
    for (flags, rib) in [
        (0, Rib::AdjInPre),
        (0x40, Rib::AdjInPost),
        (0x10, Rib::AdjOutPre),
        (0x50, Rib::AdjOutPost),
    ] {
        let mut seen = Vec::new();
        BmpStream::new(None, 1).data(&bmp_of(0, flags, &withdraw), &stamp(1), &mut |event| {
            if let EventKind::Bmp(bmp) = &event.kind {
                seen.push((bmp.peer.unwrap().rib, event.origin_at));
            }
        });
        assert_eq!(seen, [(rib, Some(Timestamp(7_000_005_000)))]);
    }
}

#[test]
fn a_peer_ups_capabilities_apply_to_that_peers_routes() {
    let send = [69, 4, 0, 1, 1, 2];
    let receive = [69, 4, 0, 1, 1, 1];
    let mut bmp = BmpStream::new(None, 1);
    bmp_words(&mut bmp, &peer_up(&receive, &send));
    let with_id = update_of(&[], &usual(), &[&[0, 0, 0, 9][..], &NET].concat());
    assert_eq!(
        bmp_words(&mut bmp, &bmp_of(0, 0, &with_id)),
        ["+198.51.100.0/24#9"]
    );
    // FRR leaves the identifiers out although they were negotiated.
    let without = update_of(&[], &usual(), &NET);
    assert_eq!(
        bmp_words(&mut bmp, &bmp_of(0, 0, &without)),
        ["+198.51.100.0/24#0"]
    );
}

#[test]
fn a_peer_up_with_an_empty_open_is_still_a_peer_up() {
    let local = [&[0; 12][..], &[192, 0, 2, 1], &[0, 179, 0x9c, 0x40]].concat();
    let bytes = bmp_of(3, 0, &[local, open_of(&[]), framed(1, &[])].concat());
    assert_eq!(bmp_words(&mut BmpStream::new(None, 1), &bytes), ["up"]);
}

#[test]
fn the_a_flag_means_two_octet_as_numbers() {
    let two = [
        attr(0x40, 1, &[0]),
        attr(0x40, 2, &[2, 2, 0xfd, 0xe9, 0xfd, 0xea]),
        attr(0x40, 3, &[192, 0, 2, 1]),
    ]
    .concat();
    let mut paths = Vec::new();
    BmpStream::new(None, 1).data(
        &bmp_of(0, 0x20, &update_of(&[], &two, &NET)),
        &stamp(1),
        &mut |event| {
            if let EventKind::Bmp(bmp) = &event.kind
                && let BmpMessage::RouteMonitoring(update) = &bmp.message
            {
                paths.push(update.attributes.as_path.to_string());
            }
        },
    );
    assert_eq!(paths, ["65001 65002"]);
}

#[test]
fn bmp_finds_its_place_again_after_loss() {
    let routes = bmp_of(0, 0, &update_of(&[], &usual(), &NET));
    let mut bmp = BmpStream::new(None, 1);
    bmp_words(&mut bmp, &initiation());
    let mut words = Vec::new();
    bmp.lost(None, &stamp(2), &mut |event| words.push(word(event)));
    words.extend(bmp_words(&mut bmp, &routes[20..]));
    words.extend(bmp_words(&mut bmp, &routes));
    words.extend(bmp_words(&mut bmp, &routes));
    bmp.closed(&stamp(3), &mut |event| words.push(word(event)));
    assert_eq!(
        words,
        [
            "gap",
            "+198.51.100.0/24#0",
            "+198.51.100.0/24#0",
            "disconnected"
        ]
    );
}

#[test]
fn other_traffic_does_not_look_like_bmp() {
    for payload in [
        &b"GET / HTTP/1.1\r\n"[..],
        &[3, 0, 0, 0, 22, 23, 0],
        &[3, 0, 0, 0],
        &[0x16, 3, 1, 0, 200, 1],
        &framed(4, &[]),
    ] {
        assert!(!looks_like_bmp(payload), "{payload:?}");
    }
    let cut = &bmp_of(0, 0, &update_of(&[], &usual(), &NET))[..70];
    assert!(looks_like_bmp(cut));
}

#[test]
fn iso_transport_and_a_lone_header_are_no_bmp() {
    // A remote desktop's answer; as BMP it would be a Peer Up of 11,008 octets.
    let answer = [3, 0, 0, 11, 0, 3, 0, 0x80, 1, 0, 0];
    assert!(!looks_like_bmp(&answer));
    assert!(!looks_like_bmp(&[answer, answer].concat()));
    assert!(
        !looks_like_bmp(&[3, 0, 0, 0, 90, 3, 0, 0x80, 1]),
        "a header promises and shows nothing"
    );
    // Whole messages begin with the same octets.
    assert!(looks_like_bmp(&initiation()));
    assert!(looks_like_bmp(&peer_up(&[], &[])));
    let mut no_zeros = bmp_of(0, 0, &update_of(&[], &usual(), &NET));
    no_zeros[20] = 7;
    assert!(
        !looks_like_bmp(&no_zeros),
        "an IPv4 peer stands behind zeros"
    );
}

#[test]
fn a_station_withdraws_nothing_that_the_router_has() {
    // Neither NEXT_HOP nor four octets for each AS number, and no A flag.
    let flawed = [
        attr(0x40, 1, &[0]),
        attr(0x40, 2, &[2, 2, 0xfd, 0xe9, 0xfd, 0xea]),
    ]
    .concat();
    let mut seen = Vec::new();
    BmpStream::new(None, 1).data(
        &bmp_of(0, 0, &update_of(&[], &flawed, &NET)),
        &stamp(1),
        &mut |event| {
            if let EventKind::Bmp(bmp) = &event.kind
                && let BmpMessage::RouteMonitoring(update) = &bmp.message
            {
                let flaws: Vec<u8> = update.errors.iter().map(|e| e.attribute).collect();
                seen.push((
                    routes(update),
                    update.attributes.as_path.to_string(),
                    update.inferred,
                    flaws,
                ));
            }
        },
    );
    assert_eq!(
        seen,
        [(
            "+198.51.100.0/24#0".to_owned(),
            "65001 65002".to_owned(),
            true,
            vec![3]
        )]
    );
}

#[test]
fn identifiers_that_no_open_offers_are_found_in_bmp() {
    let as4 = [65, 4, 0, 0, 0xfd, 0xe9];
    let mut bmp = BmpStream::new(None, 1);
    bmp_words(&mut bmp, &peer_up(&as4, &as4));
    let with_id = update_of(&[], &usual(), &[&[0, 0, 0, 1][..], &NET].concat());
    for _ in 0..2 {
        assert_eq!(
            bmp_words(&mut bmp, &bmp_of(0, 0, &with_id)),
            ["+198.51.100.0/24#1"]
        );
    }
    let gone = update_of(&[&[0, 0, 0, 1][..], &NET].concat(), &[], &[]);
    assert_eq!(
        bmp_words(&mut bmp, &bmp_of(0, 0, &gone)),
        ["-198.51.100.0/24#1"]
    );
}

#[test]
fn a_table_that_is_no_longer_reported_has_its_name() {
    let mut message = bmp_of(2, 0, &[6, 0, 3, 0, 4, b'b', b'l', b'u', b'e']);
    message[6] = 3; // Loc-RIB
    let mut tables = Vec::new();
    BmpStream::new(None, 1).data(&message, &stamp(1), &mut |event| {
        if let EventKind::Bmp(bmp) = &event.kind
            && let BmpMessage::PeerDown { reason, table, .. } = &bmp.message
        {
            tables.push((*reason, table.as_ref().map(ToString::to_string)));
        }
    });
    assert_eq!(tables, [(6, Some("blue".to_owned()))]);
}

#[test]
fn statistics_keep_families_apart() {
    let body = [
        &[0, 0, 0, 3][..],
        &[0, 1, 0, 4, 0, 0, 0, 5],
        &[0, 7, 0, 8, 0, 0, 0, 0, 0, 0, 0, 6],
        &[0, 9, 0, 11, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 7],
    ]
    .concat();
    let mut seen = Vec::new();
    BmpStream::new(None, 1).data(&bmp_of(1, 0, &body), &stamp(1), &mut |event| {
        if let EventKind::Bmp(bmp) = &event.kind {
            seen.push(bmp.message.clone());
        }
    });
    assert_eq!(
        seen,
        [BmpMessage::Statistics {
            counters: vec![(1, 5), (7, 6)],
            family_counters: vec![(9, Family::IPV6_UNICAST.afi, 1, 7)],
        }]
    );
}

mod totality {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_octets_in_any_cut_break_the_streams(
            bytes in prop::collection::vec(prop_oneof![Just(0xff_u8), Just(3), Just(0), any::<u8>()], 0..400),
            cut in 1_usize..50,
            loss: bool,
        ) {
            let mut bgp = connection();
            let mut bmp = BmpStream::new(None, 1);
            for chunk in bytes.chunks(cut) {
                bgp.data(true, chunk, &Frame::default(), &stamp(1), &mut |_| {});
                bmp.data(chunk, &stamp(1), &mut |_| {});
                if loss {
                    bgp.lost(true, None, &stamp(1), &mut |_| {});
                    bmp.lost(None, &stamp(1), &mut |_| {});
                }
            }
        }
    }
}
