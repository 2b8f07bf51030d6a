//! Routers good and bad, over pipes and over loopback; what goes on is judged by what the decoder makes of it.

use tokio::io::{AsyncWriteExt, duplex};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::*;
use crate::decode::Decoder;
use crate::event::EventKind;
use crate::event::bmp::BmpMessage;
use crate::input::live::channel;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![3];
    message.extend_from_slice(&(6 + body.len() as u32).to_be_bytes());
    message.push(kind);
    message.extend_from_slice(body);
    message
}

fn initiation() -> Vec<u8> {
    let mut body = vec![0, 2, 0, 2];
    body.extend_from_slice(b"r1");
    message(4, &body)
}

/// A Statistics Report of peer 192.0.2.9 without counters.
fn statistics() -> Vec<u8> {
    let mut body = vec![0; 42 + 4];
    body[22..26].copy_from_slice(&[192, 0, 2, 9]);
    message(1, &body)
}

/// What the decoder tells of the items, and the notes among them.
fn words(items: Vec<LiveItem>) -> Vec<String> {
    let mut decoder = Decoder::new();
    let mut words = Vec::new();
    for item in &items {
        if let LiveItem::Note(note) = item
            && note.contains("turned")
        {
            words.push(format!("note: {note}"));
        }
        let Some(item) = item.as_item() else { continue };
        decoder.item(&item, &mut |event| {
            words.push(match &event.kind {
                EventKind::Source(info) => {
                    format!("source {}", info.interface.as_deref().unwrap_or_default())
                }
                EventKind::Bmp(bmp) => {
                    let what = match &bmp.message {
                        BmpMessage::Connected => "connected",
                        BmpMessage::Disconnected => "disconnected",
                        BmpMessage::Initiation { .. } => "initiation",
                        BmpMessage::Statistics { .. } => "statistics",
                        _ => "other",
                    };
                    let router = bmp.router.map(|r| r.ip().to_string());
                    format!("{} #{} {what}", router.unwrap_or_default(), bmp.connection)
                }
                EventKind::Gap(gap) => format!("gap: {}", gap.detail),
                EventKind::Malformed(malformed) => format!("malformed: {}", malformed.why),
                other => format!("{other:?}"),
            });
        });
    }
    words
}

fn drained(receiver: &mut mpsc::Receiver<LiveItem>) -> Vec<LiveItem> {
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}

/// Lets one router say `pieces` and hang up.
async fn told(pieces: &[&[u8]]) -> Vec<String> {
    let (out, mut receiver) = channel();
    let desk = Desk::new(OwnFeed::Bmp.name(), SourceIds::default(), out);
    let (_stopper, stop) = watch::channel(false);
    let (mut router, station) = duplex(1 << 16);
    for piece in pieces {
        router.write_all(piece).await.unwrap();
    }
    drop(router);
    let (remote, local) = ("192.0.2.1:40000", "192.0.2.2:11019");
    serve(
        station,
        remote.parse().unwrap(),
        local.parse().unwrap(),
        &desk,
        stop,
    )
    .await;
    words(drained(&mut receiver))
}

#[tokio::test]
async fn a_router_is_heard_and_its_leaving_is_a_gap() {
    assert_eq!(
        told(&[&initiation(), &statistics()]).await,
        [
            "source flapscope-bmp-1",
            "192.0.2.1 #1 connected",
            "192.0.2.1 #1 initiation",
            "192.0.2.1 #1 statistics",
            "gap: the BMP feed of 192.0.2.1 was closed by the router",
            "192.0.2.1 #1 disconnected",
        ]
    );
}

/// A whole BGP message.
fn bgp(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![0xff; 16];
    message.extend_from_slice(&(19 + body.len() as u16).to_be_bytes());
    message.push(kind);
    message.extend_from_slice(body);
    message
}

/// The per-peer header of 192.0.2.9, AS 65009, pre-policy, without a stamp; then `rest`.
fn of_peer(kind: u8, rest: &[&[u8]]) -> Vec<u8> {
    let mut body = vec![0; 42];
    body[22..26].copy_from_slice(&[192, 0, 2, 9]);
    body[26..30].copy_from_slice(&65_009u32.to_be_bytes());
    body[30..34].copy_from_slice(&[192, 0, 2, 9]);
    rest.iter().for_each(|part| body.extend_from_slice(part));
    message(kind, &body)
}

fn peer_up() -> Vec<u8> {
    let open = |asn: u16, id: u8| {
        let [a, b] = asn.to_be_bytes();
        let capability = [2, 6, 65, 4, 0, 0, a, b];
        bgp(
            1,
            &[&[4, a, b, 0, 90, 192, 0, 2, id, 8][..], &capability].concat(),
        )
    };
    let mut fixed = vec![0; 16];
    fixed[12..].copy_from_slice(&[192, 0, 2, 1]);
    fixed.extend_from_slice(&[0, 179, 0xaf, 0xc8]);
    of_peer(3, &[&fixed, &open(65_001, 1), &open(65_009, 9)])
}

/// Kinds of what is found when a router says this.
async fn found(pieces: &[&[u8]]) -> Vec<crate::detect::Kind> {
    let (out, mut receiver) = channel();
    let desk = Desk::new(OwnFeed::Bmp.name(), SourceIds::default(), out);
    let (_stopper, stop) = watch::channel(false);
    let (mut router, station) = duplex(1 << 20);
    router.write_all(&pieces.concat()).await.unwrap();
    drop(router);
    let (remote, local) = ("192.0.2.1:40000", "192.0.2.2:11019");
    serve(
        station,
        remote.parse().unwrap(),
        local.parse().unwrap(),
        &desk,
        stop,
    )
    .await;
    let mut decoder = Decoder::new();
    let mut engine = crate::engine::Engine::new(&crate::detect::Settings::default());
    let mut told = Vec::new();
    for item in drained(&mut receiver) {
        if let Some(item) = item.as_item() {
            decoder.item(&item, &mut |event| engine.handle(event, &mut told));
        }
    }
    engine.finish(&mut told);
    engine
        .findings()
        .map(|(_, finding, _)| finding.kind)
        .collect()
}

#[tokio::test]
async fn a_feed_of_withdrawals_alone_is_not_believed() {
    use crate::detect::Kind;
    let withdrawals: Vec<u8> = (0..1200u16)
        .flat_map(|n| {
            let [a, b] = n.to_be_bytes();
            of_peer(0, &[&bgp(2, &[0, 4, 24, 10, a, b, 0, 0])])
        })
        .collect();
    let kinds = found(&[&initiation(), &peer_up(), &withdrawals]).await;
    assert!(kinds.contains(&Kind::FeedImplausible), "{kinds:?}");
    assert!(!kinds.contains(&Kind::PrefixMassWithdrawal), "{kinds:?}");
    assert!(!kinds.contains(&Kind::PrefixFlap), "{kinds:?}");
}

#[tokio::test]
async fn peer_downs_repeated_by_the_router_are_one_loss() {
    use crate::detect::Kind;
    let down = of_peer(2, &[&[4]]);
    let kinds = found(&[&initiation(), &peer_up(), &down, &down, &down]).await;
    assert!(
        kinds
            .iter()
            .filter(|kind| **kind == Kind::SessionDown)
            .count()
            <= 1
            && !kinds.contains(&Kind::SessionFlap),
        "{kinds:?}"
    );
}

#[tokio::test]
async fn garbage_cuts_the_feed_off_with_its_reason() {
    let words = told(&[&initiation(), b"garbage", &statistics()]).await;
    assert_eq!(
        words[words.len() - 2..],
        [
            "gap: the BMP feed of 192.0.2.1 was cut off: octet 12 of the stream begins no BMP message",
            "192.0.2.1 #1 disconnected",
        ]
    );
}

#[tokio::test]
async fn who_is_no_router_leaves_a_note_and_nothing_else() {
    assert_eq!(
        told(&[b"GET / HTTP/1.1\r\n\r\n"]).await,
        ["note: flapscope-bmp: turned 192.0.2.1:40000 away: it does not speak BMP version 3"]
    );
    assert_eq!(
        told(&[&statistics()]).await,
        [
            "note: flapscope-bmp: turned 192.0.2.1:40000 away: its first message has type 1, not 4, Initiation (RFC 7854, section 4.3)"
        ]
    );
    assert!(told(&[]).await.is_empty());
}

#[tokio::test]
async fn a_half_sent_initiation_holds_no_place() {
    let initiation = initiation();
    assert_eq!(
        told(&[&initiation[..8]]).await,
        [
            "note: flapscope-bmp: turned 192.0.2.1:40000 away: it closed the connection inside its first message"
        ]
    );
}

#[tokio::test]
async fn a_router_that_connects_again_is_a_new_connection_in_the_same_place() {
    let (out, mut receiver) = channel();
    let (stopper, stop) = watch::channel(false);
    let station = BmpStation::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = station.addresses()[0];
    let station = tokio::spawn(station.run(SourceIds::default(), out, stop));
    let mut items = Vec::new();
    for _ in 0..2 {
        let mut router = TcpStream::connect(address).await.unwrap();
        router.write_all(&initiation()).await.unwrap();
        router.shutdown().await.unwrap();
        let mut ends = 0;
        // Both sides' FIN packets end a connection.
        while ends < 2 {
            let item = receiver.recv().await.unwrap();
            if let LiveItem::Record(record) = &item {
                ends += u8::from(record.bytes.get(33).is_some_and(|flags| flags & 1 != 0));
            }
            items.push(item);
        }
    }
    stopper.send(true).unwrap();
    station.await.unwrap().unwrap();
    assert_eq!(
        words(items),
        [
            "source flapscope-bmp-1",
            "127.0.0.1 #1 connected",
            "127.0.0.1 #1 initiation",
            "gap: the BMP feed of 127.0.0.1 was closed by the router",
            "127.0.0.1 #1 disconnected",
            "127.0.0.1 #2 connected",
            "127.0.0.1 #2 initiation",
            "gap: the BMP feed of 127.0.0.1 was closed by the router",
            "127.0.0.1 #2 disconnected",
        ]
    );
}

#[tokio::test]
async fn many_routers_are_served_at_once_and_each_has_its_source() {
    let (out, mut receiver) = channel();
    let (stopper, stop) = watch::channel(false);
    let station = BmpStation::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = station.addresses()[0];
    let station = tokio::spawn(station.run(SourceIds::default(), out, stop));
    let mut routers = Vec::new();
    for n in 1..=MANY {
        let from = std::net::Ipv4Addr::new(127, 0, 2, n);
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut router = socket.connect(address).await.unwrap();
        router.write_all(&initiation()).await.unwrap();
        routers.push(router);
    }
    let mut sources = std::collections::BTreeSet::new();
    let mut data = 0;
    while data < MANY {
        if let LiveItem::Record(record) = receiver.recv().await.unwrap() {
            sources.insert(record.source);
            data += u8::from(record.bytes.len() > 44);
        }
    }
    assert_eq!(sources.len(), usize::from(MANY));
    stopper.send(true).unwrap();
    station.await.unwrap().unwrap();
}

const MANY: u8 = 100;

#[tokio::test]
async fn stopping_is_no_loss_of_a_feed() {
    let (out, mut receiver) = channel();
    let desk = Desk::new(OwnFeed::Bmp.name(), SourceIds::default(), out);
    let (stopper, stop) = watch::channel(false);
    let (mut router, station) = duplex(1 << 16);
    router.write_all(&initiation()).await.unwrap();
    let (remote, local) = ("192.0.2.1:40000", "192.0.2.2:11019");
    let serving = async {
        serve(
            station,
            remote.parse().unwrap(),
            local.parse().unwrap(),
            &desk,
            stop,
        )
        .await;
    };
    let ((), first) = tokio::join!(serving, async {
        let first = receiver.recv().await;
        // The note, the source, the handshake, the Initiation; then the end.
        for _ in 0..5 {
            receiver.recv().await;
        }
        stopper.send(true).unwrap();
        first
    });
    assert!(matches!(first, Some(LiveItem::Note(_))));
    assert!(drained(&mut receiver).is_empty());
}
