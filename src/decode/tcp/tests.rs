//! The table of connections: which one a segment belongs to, and who makes room for whom.

use super::*;
use crate::event::source::{Locator, Unit};
use crate::event::{Event, EventKind};

struct Table {
    streams: TcpStreams,
    events: Vec<Event>,
    ms: i64,
}

fn end(last: u32, port: u16) -> SocketAddr {
    let [_, _, high, low] = last.to_be_bytes();
    SocketAddr::new([198, 51, high, low].into(), port)
}

fn keepalive() -> Vec<u8> {
    [&[0xff; 16][..], &[0, 19, 4]].concat()
}

impl Table {
    fn new() -> Table {
        Table {
            streams: TcpStreams::new(),
            events: Vec::new(),
            ms: 0,
        }
    }

    /// One segment in one input, a millisecond after the last.
    fn send(
        &mut self,
        input: u16,
        ends: (SocketAddr, SocketAddr),
        seq: u32,
        syn: bool,
        payload: &[u8],
    ) {
        self.ms += 1;
        let stamp = Stamp {
            at: Timestamp(self.ms * 1_000_000),
            source: SourceId(u32::from(input)),
            locator: Locator {
                input: InputId(input),
                unit: Unit::Frame,
                number: self.ms as u64,
                offset: 0,
            },
        };
        let segment = Segment {
            frame: &Frame::default(),
            src: ends.0,
            dst: ends.1,
            seq,
            ack: None,
            syn,
            fin: false,
            rst: false,
            window: 1000,
            payload,
            missing: 0,
            ip_id: 0,
            auth: None,
        };
        let events = &mut self.events;
        self.streams
            .segment(&segment, &stamp, &mut |event| events.push(event.clone()));
    }

    fn count(&self, wanted: fn(&EventKind) -> bool) -> usize {
        self.events
            .iter()
            .filter(|event| wanted(&event.kind))
            .count()
    }
}

fn is_bgp(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Bgp(_))
}

fn is_gap(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Gap(_))
}

#[test]
fn a_reused_port_is_another_connection() {
    let ends = (end(1, 50_000), end(2, 179));
    let mut table = Table::new();
    table.send(0, ends, 99, true, b"");
    table.send(0, ends, 100, false, &keepalive()[..10]);
    // The half message of the old connection must not meet the new one's octets.
    table.send(0, ends, 7_000_000, true, b"");
    table.send(0, ends, 7_000_001, false, &keepalive());
    assert_eq!(table.count(is_bgp), 1);
    assert_eq!(table.count(is_gap), 0);
    assert_eq!(table.streams.flows.len(), 1);
}

#[test]
fn the_same_addresses_in_two_inputs_are_two_views() {
    let ends = (end(1, 50_000), end(2, 179));
    let mut table = Table::new();
    for input in [0, 1] {
        table.send(input, ends, 100, false, &keepalive());
    }
    assert_eq!(table.count(is_bgp), 2);
    assert_eq!(table.streams.flows.len(), 2);
}

#[test]
fn a_flood_of_syns_does_not_push_out_sessions_that_speak() {
    let (ours, theirs) = (end(1, 50_000), end(2, 179));
    let mut table = Table::new();
    table.send(0, (ours, theirs), 100, false, &keepalive());
    table.send(0, (theirs, ours), 500, false, &keepalive()[..7]);
    for n in 0..3 * MAX_CONNECTIONS as u32 {
        table.send(0, (end(n, 1000), theirs), n, true, b"");
    }
    assert!(table.streams.flows.len() <= MAX_CONNECTIONS);
    assert!(table.streams.evicted >= 2 * MAX_CONNECTIONS as u64);
    let before = table.count(is_bgp);
    table.send(0, (theirs, ours), 507, false, &keepalive()[7..]);
    assert_eq!(
        table.count(is_bgp),
        before + 1,
        "it still knows the first seven octets"
    );
}

#[test]
fn what_all_connections_hold_together_is_bounded_and_the_books_agree() {
    let mut table = Table::new();
    let big = vec![0xff; 60_000];
    for n in 0..400 {
        let ends = (end(n, 1000), end(9999, 179));
        table.send(0, ends, 1, true, b"");
        for part in 0..4 {
            table.send(0, ends, 100 + part * 70_000, false, &big);
        }
        assert!(table.streams.held <= MAX_HELD);
    }
    let held: usize = table
        .streams
        .flows
        .values()
        .map(|flow| flow.connection.held())
        .sum();
    assert_eq!(table.streams.held, held);
    let waiting = table
        .streams
        .flows
        .values()
        .filter(|flow| flow.connection.deadline().is_some())
        .count();
    assert_eq!(table.streams.deadlines.len(), waiting);
    let mut last = Timestamp::MIN;
    table.streams.advance(Timestamp::MAX, &mut |event| {
        assert!(event.at >= last, "time goes back");
        last = event.at;
    });
    assert_eq!((table.streams.held, table.streams.deadlines.len()), (0, 0));
}

#[test]
fn each_router_counts_its_own_bmp_connections() {
    let initiation = [3, 0, 0, 0, 11, 4, 0, 2, 0, 1, b'r'];
    let mut table = Table::new();
    for (router, port) in [(1, 40_000), (2, 40_000), (1, 40_001)] {
        table.send(0, (end(router, port), end(9, 5000)), 1, false, &initiation);
    }
    let mut numbers: Vec<u32> = table
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Bmp(bmp) => Some(bmp.connection),
            _ => None,
        })
        .collect();
    numbers.dedup();
    assert_eq!(numbers, [1, 2]);
}
