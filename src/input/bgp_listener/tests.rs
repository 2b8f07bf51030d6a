//! Whole connections over pipes, judged by what the decoder and the engine make of them.

use tokio::io::duplex;
use tokio::sync::{mpsc, watch};

use super::open::message;
use super::*;
use crate::decode::Decoder;
use crate::detect::{Kind, Settings};
use crate::engine::Engine;
use crate::event::EventKind;
use crate::event::bgp::BgpMessage;
use crate::input::live::channel;

const REMOTE: &str = "192.0.2.1:40000";
const LOCAL: &str = "192.0.2.2:1790";

fn open_message() -> Vec<u8> {
    message(
        open::OPEN,
        &[
            4, 0xfd, 0xe9, 0, 90, 192, 0, 2, 1, 8, 2, 6, 65, 4, 0, 0, 0xfd, 0xe9,
        ],
    )
}

fn keepalive() -> Vec<u8> {
    message(session::KEEPALIVE, &[])
}

/// Announces 198.51.`third`.0/24.
fn announcement(third: u8) -> Vec<u8> {
    let attributes = [
        0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9, 0x40, 3, 4, 192, 0, 2, 1,
    ];
    let mut body = vec![0, 0, 0, attributes.len() as u8];
    body.extend_from_slice(&attributes);
    body.extend_from_slice(&[24, 198, 51, third]);
    message(session::UPDATE, &body)
}

fn room(config: Config) -> (Room, mpsc::Receiver<LiveItem>) {
    let (out, receiver) = channel();
    let room = Room {
        desk: Desk::new(OwnFeed::Bgp.name(), SourceIds::default(), out),
        config,
        sessions: Mutex::default(),
    };
    (room, receiver)
}

/// Lets one router say this and hang up.
async fn call(room: &Room, octets: &[u8]) {
    let (_stopper, stop) = watch::channel(false);
    let (mut router, listener) = duplex(1 << 16);
    router.write_all(octets).await.unwrap();
    router.shutdown().await.unwrap();
    let (remote, local) = (REMOTE.parse().unwrap(), LOCAL.parse().unwrap());
    serve(listener, remote, local, room, stop).await;
}

fn drained(receiver: &mut mpsc::Receiver<LiveItem>) -> Vec<LiveItem> {
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}

fn words(items: &[LiveItem]) -> Vec<String> {
    let mut decoder = Decoder::new();
    let mut words = Vec::new();
    for item in items {
        if let LiveItem::Note(note) = item
            && note.contains("turned")
        {
            words.push(format!("note: {note}"));
        }
        let Some(item) = item.as_item() else { continue };
        decoder.item(&item, &mut |event| match &event.kind {
            EventKind::Bgp(bgp) => {
                let what = match &bgp.message {
                    BgpMessage::Open(_) => "open",
                    BgpMessage::Update(_) => "update",
                    BgpMessage::Keepalive => "keepalive",
                    BgpMessage::Notification(_) => "notification",
                    _ => "other",
                };
                words.push(format!(
                    "{}:{} {what}",
                    bgp.session.from, bgp.session.from_port
                ));
            }
            EventKind::Gap(gap) => words.push(format!("gap: {}", gap.detail)),
            _ => {}
        });
    }
    words
}

#[tokio::test]
async fn a_session_goes_on_as_packets_of_port_179_in_both_directions() {
    let (room, mut receiver) = room(Config::new(64_512));
    call(
        &room,
        &[open_message(), keepalive(), announcement(100)].concat(),
    )
    .await;
    assert_eq!(
        words(&drained(&mut receiver)),
        [
            "192.0.2.2:179 open",
            "192.0.2.1:40000 open",
            "192.0.2.1:40000 keepalive",
            "192.0.2.1:40000 update",
            "192.0.2.2:179 keepalive",
            "gap: the BGP feed of 192.0.2.1 was closed by the router",
        ]
    );
}

#[tokio::test]
async fn strangers_leave_notes() {
    let (room, mut receiver) = room(Config::new(64_512));
    call(&room, b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(
        words(&drained(&mut receiver)),
        [
            "note: flapscope-bgp: turned 192.0.2.1:40000 away: we sent NOTIFICATION 1/1, connection not synchronised"
        ]
    );
}

#[tokio::test]
async fn a_router_of_another_as_than_told_is_refused() {
    let mut config = Config::new(64_512);
    config.peers.push("192.0.2.1,as=65002".parse().unwrap());
    let (room, mut receiver) = room(config);
    call(&room, &open_message()).await;
    assert_eq!(
        words(&drained(&mut receiver)),
        ["note: flapscope-bgp: turned 192.0.2.1:40000 away: we sent NOTIFICATION 2/2, bad peer AS"]
    );
}

#[tokio::test]
async fn garbage_inside_a_session_is_answered_and_told() {
    let (room, mut receiver) = room(Config::new(64_512));
    call(&room, &[open_message(), keepalive(), vec![7; 40]].concat()).await;
    let words = words(&drained(&mut receiver));
    assert_eq!(
        words[words.len() - 2..],
        [
            "192.0.2.2:179 notification",
            "gap: the BGP feed of 192.0.2.1 was cut off: we sent NOTIFICATION 1/1, connection not synchronised"
        ]
    );
}

#[tokio::test]
async fn losing_the_session_is_a_gap_and_its_return_no_churn() {
    let (room, mut receiver) = room(Config::new(64_512));
    let table: Vec<u8> = (0..200).flat_map(announcement).collect();
    for _ in 0..3 {
        call(
            &room,
            &[open_message(), keepalive(), table.clone()].concat(),
        )
        .await;
    }
    let mut engine = Engine::new(&Settings::default());
    let mut decoder = Decoder::new();
    let mut out = Vec::new();
    for item in drained(&mut receiver) {
        if let Some(item) = item.as_item() {
            decoder.item(&item, &mut |event| engine.handle(event, &mut out));
        }
    }
    engine.finish(&mut out);
    let mut kinds: Vec<Kind> = engine
        .findings()
        .map(|(_, finding, _)| finding.kind)
        .collect();
    kinds.sort();
    kinds.dedup();
    assert!(kinds.contains(&Kind::FeedGap) && kinds.contains(&Kind::FeedRestarted));
    let quiet = [
        Kind::FeedGap,
        Kind::FeedRestarted,
        Kind::PrefixTableTransfer,
    ];
    assert!(
        kinds.iter().all(|kind| quiet.contains(kind)),
        "{kinds:?} from a feed that came and went"
    );
}

#[tokio::test]
async fn a_router_that_opens_another_session_has_lost_the_first() {
    let (room, _receiver) = room(Config::new(64_512));
    let router = "192.0.2.1".parse().unwrap();
    let first = room.register(router, 1);
    let second = room.register(router, 2);
    first.notified().await;
    room.forget(router, 1);
    assert!(room.sessions.lock().unwrap().contains_key(&router));
    room.forget(router, 2);
    assert!(room.sessions.lock().unwrap().is_empty());
    drop(second);
}

#[test]
fn a_caller_from_our_own_address_is_told_to_use_another() {
    assert!(
        distinct(
            "127.0.0.1:1".parse().unwrap(),
            "127.0.0.1:2".parse().unwrap()
        )
        .is_err()
    );
    assert!(
        distinct(
            "127.0.0.1:1".parse().unwrap(),
            "127.0.0.2:2".parse().unwrap()
        )
        .is_ok()
    );
}

#[test]
fn an_identifier_is_never_zero() {
    assert_eq!(
        identifier("::ffff:192.0.2.9".parse().unwrap()),
        Ipv4Addr::new(192, 0, 2, 9)
    );
    assert_eq!(
        identifier("2001:db8::".parse().unwrap()),
        Ipv4Addr::new(0, 0, 0, 1)
    );
}
