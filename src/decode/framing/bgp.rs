//! One BGP connection: both directions' octets to messages, and what the OPENs agreed.

use std::net::{IpAddr, SocketAddr};

use super::splitter::{Begin, Found, Head, Rules, Splitter};
use super::tcp_gap;
use crate::decode::bgp::infer::{INFERENCE_WEIGHT, Inference};
use crate::decode::bgp::{self, Encoding, HEADER, MAX_EXTENDED, MAX_MESSAGE, Offer};
use crate::decode::{Emit, Stamp};
use crate::event::bgp::{BgpEvent, BgpMessage, Direction};
use crate::event::frame::Frame;
use crate::event::{Event, EventKind, Timestamp};

/// A BGP connection between `a` and `b`.
#[derive(Clone, Debug)]
pub struct BgpConnection {
    /// From a, from b.
    halves: [Half; 2],
}

#[derive(Clone, Debug)]
struct Half {
    direction: Direction,
    splitter: Splitter,
    /// What this side's OPEN offered.
    offer: Option<Offer>,
    /// How this side writes its UPDATEs.
    encoding: Encoding,
    /// Made when something is to be inferred.
    inference: Option<Box<Inference>>,
    /// The event of this side's UPDATEs, reused.
    update: Option<Event>,
    last: Option<Timestamp>,
}

impl Half {
    fn new(from: SocketAddr, to: SocketAddr) -> Half {
        Half {
            direction: Direction {
                from: canonical(from.ip()),
                to: canonical(to.ip()),
                from_port: from.port(),
                to_port: to.port(),
                from_as: 0,
                to_as: 0,
            },
            splitter: Splitter::default(),
            offer: None,
            encoding: Encoding::default(),
            inference: None,
            update: None,
            last: None,
        }
    }

    /// Decodes an UPDATE into the reused event.
    fn update(&mut self, bytes: &[u8], frame: &Frame, stamp: &Stamp, emit: Emit<'_>) {
        let direction = self.direction;
        let event = self.update.get_or_insert_with(|| {
            stamp.event(EventKind::Bgp(Box::new(BgpEvent {
                frame: *frame,
                session: direction,
                message: BgpMessage::Update(Box::default()),
            })))
        });
        event.at = stamp.at;
        event.source = stamp.source;
        event.locator = stamp.locator;
        let EventKind::Bgp(body) = &mut event.kind else {
            return;
        };
        body.frame = *frame;
        let BgpMessage::Update(update) = &mut body.message else {
            return;
        };
        let known = self.encoding.as4.is_some() && self.encoding.add_path.is_some();
        let result = if known {
            bgp::update(bytes, &self.encoding, update)
        } else {
            let inference = self.inference.get_or_insert_default();
            inference.update(bytes, &self.encoding, false, update)
        };
        match result {
            Ok(()) => emit(event),
            Err(malformed) => emit(&stamp.event(EventKind::Malformed(Box::new(malformed)))),
        }
    }
}

/// An IPv4 address that came mapped into IPv6, as itself.
fn canonical(addr: IpAddr) -> IpAddr {
    addr.to_canonical()
}

impl BgpConnection {
    pub fn new(a: SocketAddr, b: SocketAddr) -> BgpConnection {
        BgpConnection {
            halves: [Half::new(a, b), Half::new(b, a)],
        }
    }

    /// Takes the next octets of one direction, in order, in any cut.
    pub fn data(
        &mut self,
        from_a: bool,
        bytes: &[u8],
        frame: &Frame,
        stamp: &Stamp,
        emit: Emit<'_>,
    ) {
        let [a, b] = &mut self.halves;
        let (sender, receiver) = if from_a { (a, b) } else { (b, a) };
        sender.last = Some(stamp.at);
        let rules = BgpRules {
            max: match sender.encoding.extended {
                Some(false) => MAX_MESSAGE,
                // Where no OPEN was seen, long messages are possible; the marker says enough.
                Some(true) | None => MAX_EXTENDED,
            },
        };
        // Apart from its half while messages change that.
        let mut splitter = std::mem::take(&mut sender.splitter);
        splitter.feed(bytes, &rules, |found| match found {
            Found::Message(bytes) if bytes.get(HEADER - 1) == Some(&bgp::UPDATE) => {
                sender.update(bytes, frame, stamp, emit);
            }
            Found::Message(bytes) => other(sender, receiver, bytes, frame, stamp, emit),
            Found::Damage(bytes) => {
                let malformed = bgp::malformed(bytes, "not a BGP header where one must be");
                emit(&stamp.event(EventKind::Malformed(Box::new(malformed))));
            }
        });
        sender.splitter = splitter;
    }

    /// Octets that a copy takes, roughly.
    pub fn weight(&self) -> usize {
        let inferring = |half: &&Half| half.inference.is_some();
        2 * MAX_MESSAGE + self.halves.iter().filter(inferring).count() * INFERENCE_WEIGHT
    }

    /// Octets of one direction are missing.
    pub fn lost(&mut self, from_a: bool, octets: Option<u64>, stamp: &Stamp, emit: Emit<'_>) {
        let [a, b] = &mut self.halves;
        let half = if from_a { a } else { b };
        half.splitter.lose();
        emit(&tcp_gap(stamp, half.last, octets, "a BGP session"));
        half.last = Some(stamp.at);
    }

    /// One side begins a new connection between the same ports: what it offered before is void.
    pub fn restarted(&mut self, from_a: bool) {
        let [a, b] = &mut self.halves;
        let (half, other) = if from_a { (a, b) } else { (b, a) };
        half.splitter.lose();
        half.offer = None;
        half.last = None;
        half.inference = None;
        negotiate(half, other);
    }
}

/// Messages other than UPDATE: rare, so each gets an event of its own.
fn other(
    sender: &mut Half,
    receiver: &mut Half,
    bytes: &[u8],
    frame: &Frame,
    stamp: &Stamp,
    emit: Emit<'_>,
) {
    let mut message = BgpMessage::Keepalive;
    if let Err(malformed) = bgp::message(bytes, &sender.encoding, &mut message) {
        emit(&stamp.event(EventKind::Malformed(Box::new(malformed))));
        return;
    }
    if let BgpMessage::Open(open) = &message {
        sender.offer = Some(Offer::of(open));
        negotiate(sender, receiver);
    }
    emit(&stamp.event(EventKind::Bgp(Box::new(BgpEvent {
        frame: *frame,
        session: sender.direction,
        message,
    }))));
}

fn negotiate(one: &mut Half, two: &mut Half) {
    one.encoding = Encoding::negotiated(one.offer.as_ref(), two.offer.as_ref());
    two.encoding = Encoding::negotiated(two.offer.as_ref(), one.offer.as_ref());
}

#[derive(Clone)]
struct BgpRules {
    max: usize,
}

impl Rules for BgpRules {
    fn head(&self, bytes: &[u8]) -> Head {
        if bytes.len() < HEADER {
            return if bytes.iter().take(16).all(|octet| *octet == 0xff) {
                Head::Short(HEADER)
            } else {
                Head::Not
            };
        }
        match bgp::header(bytes, self.max) {
            Some((_, length)) => Head::Message(length),
            None => Head::Not,
        }
    }

    fn begin(&self, bytes: &[u8]) -> Begin {
        match self.head(bytes) {
            Head::Message(_) => Begin::Yes,
            Head::Short(_) => Begin::Unknown,
            Head::Not => Begin::No,
        }
    }
}
