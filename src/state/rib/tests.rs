use super::*;
use crate::event::bgp::{AS_SEQUENCE, BgpEvent, Direction, Notification, Open, Update};
use crate::event::frame::Frame;
use crate::event::source::Unit;
use crate::event::{InputId, Locator, SourceId};

pub(crate) struct Feed {
    pub sessions: Sessions,
    pub ribs: Ribs,
    pub deltas: Vec<SessionDelta>,
    pub out: RibDeltas,
    number: u64,
}

impl Feed {
    pub fn new() -> Feed {
        Feed {
            sessions: Sessions::default(),
            ribs: Ribs::default(),
            deltas: Vec::new(),
            out: RibDeltas::default(),
            number: 0,
        }
    }

    /// A message from R (192.0.2.1) to H (192.0.2.2), or back, at `ms` milliseconds.
    pub fn bgp(&mut self, ms: i64, from_r: bool, port: u16, message: BgpMessage) {
        self.number += 1;
        let (r, h): (std::net::IpAddr, std::net::IpAddr) =
            ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let session = if from_r {
            Direction {
                from: r,
                to: h,
                from_port: 179,
                to_port: port,
                from_as: 0,
                to_as: 0,
            }
        } else {
            Direction {
                from: h,
                to: r,
                from_port: port,
                to_port: 179,
                from_as: 0,
                to_as: 0,
            }
        };
        let event = Event {
            at: Timestamp(ms * 1_000_000),
            origin_at: None,
            source: SourceId(1),
            locator: Locator {
                input: InputId(0),
                unit: Unit::Frame,
                number: self.number,
                offset: 0,
            },
            kind: EventKind::Bgp(Box::new(BgpEvent {
                frame: Frame::default(),
                session,
                message,
            })),
        };
        self.feed(&event);
    }

    pub fn feed(&mut self, event: &Event) {
        self.deltas.clear();
        self.out.clear();
        while let Some(at) = [self.sessions.next_deadline(), self.ribs.next_deadline()]
            .into_iter()
            .flatten()
            .min()
        {
            if at > event.at {
                break;
            }
            self.sessions.expire(at, &mut self.deltas);
            self.ribs.expire(at, &mut self.out);
        }
        self.sessions.apply(event, &mut self.deltas);
        self.ribs
            .apply(event, &self.sessions, &self.deltas, &mut self.out);
    }
}

fn update(announced: &[&str], withdrawn: &[&str], path: &[u32], med: Option<u32>) -> BgpMessage {
    let nlri = |p: &&str| Nlri::unicast(p.parse().unwrap());
    let mut update = Update {
        announced: announced.iter().map(nlri).collect(),
        withdrawn: withdrawn.iter().map(nlri).collect(),
        ..Update::default()
    };
    update
        .attributes
        .as_path
        .push_segment(AS_SEQUENCE, path.len());
    update.attributes.as_path.0.extend(path);
    update.attributes.med = med;
    BgpMessage::Update(Box::new(update))
}

fn changes(feed: &Feed) -> Vec<RouteChange> {
    feed.out.routes.iter().map(|d| d.change).collect()
}

#[test]
fn each_kind_of_update_is_told_apart() {
    let mut feed = Feed::new();
    feed.bgp(
        0,
        true,
        4000,
        update(&["198.51.100.0/24"], &[], &[65001], None),
    );
    assert_eq!(changes(&feed), [RouteChange::New]);
    feed.bgp(
        1,
        true,
        4000,
        update(&["198.51.100.0/24"], &[], &[65001], None),
    );
    assert_eq!(changes(&feed), [RouteChange::Duplicate]);
    feed.bgp(
        2,
        true,
        4000,
        update(&["198.51.100.0/24"], &[], &[65001], Some(5)),
    );
    assert_eq!(changes(&feed), [RouteChange::Changed]);
    let delta = feed.out.routes[0];
    assert_eq!(feed.ribs.differences(delta.old, delta.new), What::MED);
    feed.bgp(3, true, 4000, update(&[], &["198.51.100.0/24"], &[], None));
    assert_eq!(changes(&feed), [RouteChange::Withdrawn]);
    feed.bgp(4, true, 4000, update(&[], &["198.51.100.0/24"], &[], None));
    assert_eq!(changes(&feed), [RouteChange::Spurious]);
    feed.bgp(
        5,
        true,
        4000,
        update(&["198.51.100.0/24"], &[], &[65001], None),
    );
    assert_eq!(changes(&feed), [RouteChange::Reannounced]);
    assert_eq!(feed.ribs.iter().next().unwrap().1.present, 1);
}

#[test]
fn a_withdrawal_counts_when_the_begin_of_the_table_was_not_seen() {
    let mut feed = Feed::new();
    feed.bgp(0, true, 4000, BgpMessage::Keepalive);
    feed.bgp(1, true, 4000, update(&[], &["198.51.100.0/24"], &[], None));
    assert_eq!(changes(&feed), [RouteChange::Withdrawn]);
}

fn open(router_id: u32) -> BgpMessage {
    BgpMessage::Open(Box::new(Open {
        asn: 65000 + router_id,
        hold_time: 3,
        router_id,
        ..Open::default()
    }))
}

fn establish(feed: &mut Feed, ms: i64, port: u16) {
    feed.bgp(ms, false, port, open(2));
    feed.bgp(ms + 1, true, port, open(1));
    feed.bgp(ms + 2, false, port, BgpMessage::Keepalive);
    feed.bgp(ms + 3, true, port, BgpMessage::Keepalive);
}

#[test]
fn a_lost_session_loses_its_routes_at_once_and_their_return_is_a_transfer() {
    let mut feed = Feed::new();
    establish(&mut feed, 0, 4000);
    assert!(
        matches!(feed.deltas[..], [SessionDelta::Up { .. }]),
        "{:?}",
        feed.deltas
    );
    feed.bgp(
        10,
        true,
        4000,
        update(&["198.51.100.0/24", "203.0.113.0/24"], &[], &[65001], None),
    );
    assert!(feed.out.routes.iter().all(|d| d.transfer));
    let note = Notification {
        code: 6,
        subcode: 4,
        inner: None,
        text: None,
        max_prefix: None,
        data: Vec::new(),
    };
    feed.bgp(1000, true, 4000, BgpMessage::Notification(note));
    assert!(
        matches!(feed.deltas[..], [SessionDelta::Down { .. }]),
        "{:?}",
        feed.deltas
    );
    let Some(RibEvent::Lost {
        rib,
        routes: 2,
        since_epoch,
        retained: false,
    }) = feed.out.events.first()
    else {
        panic!("{:?}", feed.out.events)
    };
    assert_eq!(feed.ribs.lost(*rib, *since_epoch).count(), 2);
    establish(&mut feed, 2000, 4001);
    feed.bgp(
        2010,
        true,
        4001,
        update(&["198.51.100.0/24"], &[], &[65001], None),
    );
    assert_eq!(changes(&feed), [RouteChange::Returned]);
    assert!(feed.out.routes[0].transfer);
    // A flap inside the transfer is a flap.
    feed.bgp(
        2100,
        true,
        4001,
        update(&[], &["198.51.100.0/24"], &[], None),
    );
    feed.bgp(
        2200,
        true,
        4001,
        update(&["198.51.100.0/24"], &[], &[65001], None),
    );
    assert!(!feed.out.routes[0].transfer);
    feed.bgp(7500, true, 4001, BgpMessage::Keepalive);
    assert!(
        feed.out.events.iter().any(
            |e| matches!(e, RibEvent::TransferDone { transfer, .. } if transfer.prefixes == 1)
        )
    );
}

#[test]
fn a_session_without_a_word_is_lost_at_its_hold_time_once_the_input_goes_on() {
    let mut feed = Feed::new();
    establish(&mut feed, 0, 4000);
    for second in 1..4 {
        feed.bgp(second * 1000, true, 4000, BgpMessage::Keepalive);
        feed.bgp(second * 1000 + 5, false, 4000, BgpMessage::Keepalive);
    }
    for second in 4..8 {
        feed.bgp(second * 1000, false, 4000, BgpMessage::Keepalive);
        if let Some(SessionDelta::Down { at, cause, .. }) = feed.deltas.first() {
            assert_eq!(*at, Timestamp(6_000_000_000));
            assert!(matches!(cause, DownCause::Silence { .. }));
            assert_eq!(second, 7, "not before something follows the deadline");
            return;
        }
    }
    panic!("never lost");
}

#[test]
fn a_collision_at_the_start_is_no_loss() {
    let mut feed = Feed::new();
    feed.bgp(0, false, 4000, open(2));
    feed.bgp(1, true, 4000, open(1));
    feed.bgp(2, true, 5000, open(1));
    let note = Notification {
        code: 6,
        subcode: 7,
        inner: None,
        text: None,
        max_prefix: None,
        data: Vec::new(),
    };
    feed.bgp(3, true, 5000, BgpMessage::Notification(note));
    assert!(
        matches!(feed.deltas[..], [SessionDelta::Refused { .. }]),
        "{:?}",
        feed.deltas
    );
    feed.bgp(4, false, 4000, BgpMessage::Keepalive);
    feed.bgp(5, true, 4000, BgpMessage::Keepalive);
    assert!(
        matches!(feed.deltas[..], [SessionDelta::Up { .. }]),
        "{:?}",
        feed.deltas
    );
}
