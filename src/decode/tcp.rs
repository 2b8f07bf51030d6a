//! TCP reassembly for BGP (port 179) and for BMP (any port, known by its content), and the facts about a connection that
//! explain why a session went down.
//!
//! Octets reach a stream once and in order, whatever the capture did: started in the middle, lost, doubled or mixed up segments. A hole
//! is waited for in packet time and then told as loss. What is released late is stamped with the time of its release, so that
//! events never go back in time, and with the frame that brought it. Every table is bounded.

mod half;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use self::half::{CapturePoint, Half, Held, Hold, Identity, Place};
use super::frame::prefilter::{BGP_PORT, BMP_VERSION, Ports};
use super::framing::{BgpConnection, BmpStream, looks_like_bmp};
use super::{Emit, Stamp};
use crate::event::frame::Frame;
use crate::event::loss::{Gap, GapKind};
use crate::event::tcp::{TcpEvent, TcpFact};
use crate::event::{EventKind, InputId, SourceId, Timestamp, WireText};

/// Connections followed at once: a large route server has some 1,000 peers in two families. Beyond, closed ones make room first, then those that never
/// carried data (a SYN flood), then one-sided ones, then the longest idle.
const MAX_CONNECTIONS: usize = 4096;
/// Connections that make room together, so that a flood costs a scan for each such batch and not for each segment.
const EVICTED_TOGETHER: usize = MAX_CONNECTIONS / 16;
/// Octets that all connections together may hold behind holes.
const MAX_HELD: usize = 16 << 20;
/// Least time between two reports of a full table.
const FULL_REPORT: Duration = Duration::from_secs(60);
/// Routers whose BMP connections are counted: far more than one station serves. Others' connections all have number 1.
const MAX_BMP_ROUTERS: usize = 1024;

/// One TCP segment.
#[derive(Copy, Clone, Debug)]
pub struct Segment<'a> {
    pub frame: &'a Frame,
    pub src: SocketAddr,
    pub dst: SocketAddr,
    pub seq: u32,
    /// Acknowledgement number, with the ACK flag.
    pub ack: Option<u32>,
    pub syn: bool,
    pub fin: bool,
    pub rst: bool,
    pub window: u16,
    pub payload: &'a [u8],
    /// Octets of the payload that the capture did not keep.
    pub missing: u32,
    /// IPv4 identification, else 0.
    pub ip_id: u16,
}

impl Segment<'_> {
    fn len(&self) -> u32 {
        (self.payload.len() as u32).saturating_add(self.missing)
    }

    fn fact(&self, what: TcpFact) -> EventKind {
        EventKind::Tcp(Box::new(TcpEvent {
            frame: *self.frame,
            src: self.src,
            dst: self.dst,
            what,
        }))
    }
}

/// A connection of one input: both ends, the lower first.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
struct FlowKey {
    input: InputId,
    ends: [(IpAddr, u16); 2],
}

impl FlowKey {
    /// The key, and the index of the segment's sender in it.
    fn of(input: InputId, src: SocketAddr, dst: SocketAddr) -> (FlowKey, usize) {
        let (a, b) = ((src.ip(), src.port()), (dst.ip(), dst.port()));
        let (ends, sender) = if a <= b { ([a, b], 0) } else { ([b, a], 1) };
        (FlowKey { input, ends }, sender)
    }

    fn end(&self, index: usize) -> SocketAddr {
        let (ip, port) = self.ends[index & 1];
        SocketAddr::new(ip, port)
    }
}

/// What a connection carries.
enum App {
    /// Made at the first payload.
    Bgp(Option<Box<BgpConnection>>),
    Bmp {
        stream: Box<BmpStream>,
        /// Index of the router.
        router: usize,
    },
}

struct Flow {
    key: FlowKey,
    halves: [Half; 2],
    app: App,
    last: Timestamp,
    source: SourceId,
    closed: bool,
    /// Its entry in the queue of deadlines.
    armed: Option<Timestamp>,
}

impl Flow {
    fn deliver(
        &mut self,
        sender: usize,
        bytes: &[u8],
        missing: u32,
        frame: &Frame,
        stamp: &Stamp,
        emit: Emit<'_>,
    ) {
        match &mut self.app {
            App::Bgp(connection) => {
                let connection = connection.get_or_insert_with(|| {
                    Box::new(BgpConnection::new(self.key.end(0), self.key.end(1)))
                });
                if !bytes.is_empty() {
                    connection.data(sender == 0, bytes, frame, stamp, emit);
                }
                if missing > 0 {
                    connection.lost(sender == 0, Some(u64::from(missing)), stamp, emit);
                }
            }
            App::Bmp { stream, router } if *router == sender && !self.closed => {
                if !bytes.is_empty() {
                    stream.data(bytes, stamp, emit);
                }
                if missing > 0 {
                    stream.lost(Some(u64::from(missing)), stamp, emit);
                }
            }
            App::Bmp { .. } => {}
        }
    }

    fn lost(&mut self, sender: usize, octets: Option<u64>, stamp: &Stamp, emit: Emit<'_>) {
        match &mut self.app {
            App::Bgp(Some(connection)) => connection.lost(sender == 0, octets, stamp, emit),
            App::Bmp { stream, router } if *router == sender && !self.closed => {
                stream.lost(octets, stamp, emit);
            }
            App::Bgp(None) | App::Bmp { .. } => {}
        }
    }

    /// Delivers what follows without a hole; `at` is the time of the release.
    fn drain(&mut self, sender: usize, at: Timestamp, emit: Emit<'_>) {
        let mut any = false;
        while let Some((held, skip)) = self.halves[sender & 1].ready() {
            any = true;
            let bytes = held.bytes.get(skip as usize..).unwrap_or_default();
            let cut = skip.saturating_sub(held.bytes.len() as u32);
            let missing = held.missing.saturating_sub(cut);
            let from = held.seq.wrapping_add(skip);
            self.halves[sender & 1].advance(from, (bytes.len() as u32).saturating_add(missing));
            let stamp = Stamp { at, ..held.stamp };
            self.deliver(sender, bytes, missing, &held.frame, &stamp, emit);
        }
        if any {
            self.halves[sender & 1].renew_hole(at);
        }
    }

    /// Gives up one direction's first hole.
    fn give_up(&mut self, sender: usize, at: Timestamp, emit: Emit<'_>) -> bool {
        let Some((lost, stamp)) = self.halves[sender & 1].give_up() else {
            return false;
        };
        self.lost(sender, Some(u64::from(lost)), &Stamp { at, ..stamp }, emit);
        self.drain(sender, at, emit);
        true
    }

    /// Gives up every hole.
    fn flush(&mut self, at: Timestamp, emit: Emit<'_>) {
        for sender in 0..2 {
            while self.give_up(sender, at, emit) {}
        }
    }

    /// Gives up the holes whose time is over at `at`.
    fn expire(&mut self, at: Timestamp, emit: Emit<'_>) {
        for sender in 0..2 {
            while self.halves[sender]
                .deadline()
                .is_some_and(|deadline| deadline <= at)
            {
                if !self.give_up(sender, at, emit) {
                    break;
                }
            }
        }
    }

    fn close(&mut self, stamp: &Stamp, emit: Emit<'_>) {
        self.flush(stamp.at, emit);
        if self.closed {
            return;
        }
        self.closed = true;
        match &mut self.app {
            App::Bgp(connection) => *connection = None,
            App::Bmp { stream, .. } => stream.closed(stamp, emit),
        }
    }

    fn held(&self) -> usize {
        self.halves.iter().map(Half::held_octets).sum()
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.halves.iter().filter_map(Half::deadline).min()
    }

    /// Whether a SYN with this sequence number begins another connection between the same ends.
    fn is_replaced_by(&self, sender: usize, seq: u32) -> bool {
        let half = &self.halves[sender & 1];
        half.isn
            .map_or(self.closed || half.next.is_some(), |isn| isn != seq)
    }

    /// Who makes room first.
    fn worth(&self) -> u8 {
        match (self.closed, self.halves[0].spoke, self.halves[1].spoke) {
            (true, ..) => 0,
            (_, false, false) => 1,
            (_, true, true) => 3,
            _ => 2,
        }
    }
}

/// All connections.
#[derive(Default)]
pub struct TcpStreams {
    flows: HashMap<FlowKey, Flow, RandomState>,
    /// Holes by the time at which they are given up; one entry for each flow with a hole.
    deadlines: BTreeSet<(Timestamp, FlowKey)>,
    /// Ports on which BMP was seen.
    bmp_ports: Ports,
    /// BMP connections so far, by router.
    bmp_connections: HashMap<(InputId, IpAddr), u32, RandomState>,
    held: usize,
    full_reported: Option<Timestamp>,
    /// Segments taken.
    pub segments: u64,
    /// Connections that had to make room although they were open.
    pub evicted: u64,
}

impl TcpStreams {
    pub fn new() -> TcpStreams {
        TcpStreams::default()
    }

    /// Ports that the prefilter must let pass.
    pub fn bmp_ports(&self) -> &Ports {
        &self.bmp_ports
    }

    /// The next time at which something happens without a segment.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Lets time pass up to `now`, inclusive: holes whose time is over are given up, each at its own time.
    pub fn advance(&mut self, now: Timestamp, emit: Emit<'_>) {
        while let Some(&(deadline, key)) = self.deadlines.first() {
            if deadline > now {
                break;
            }
            self.deadlines.pop_first();
            self.change(key, |flow| {
                flow.armed = None;
                flow.expire(deadline, emit);
            });
        }
    }

    /// The source lost packets: its holes are not waited for.
    pub fn gap(&mut self, source: SourceId, at: Timestamp, emit: Emit<'_>) {
        for key in self.waiting() {
            self.change(key, |flow| {
                if flow.source == source {
                    flow.flush(at, emit);
                }
            });
        }
    }

    /// End of input: what waits is delivered as it is.
    pub fn finish(&mut self, at: Timestamp, emit: Emit<'_>) {
        for key in self.waiting() {
            self.change(key, |flow| flow.flush(at, emit));
        }
    }

    /// Flows with holes, in an order that does not depend on hashing.
    fn waiting(&self) -> Vec<FlowKey> {
        let mut keys: Vec<FlowKey> = self.deadlines.iter().map(|(_, key)| *key).collect();
        keys.sort_unstable();
        keys
    }

    /// Runs `action` on a flow and puts the books in order: held octets and deadline.
    fn change(&mut self, key: FlowKey, action: impl FnOnce(&mut Flow)) {
        let Some(flow) = self.flows.get_mut(&key) else {
            return;
        };
        let held = flow.held();
        action(flow);
        self.held = (self.held + flow.held()).saturating_sub(held);
        let deadline = flow.deadline();
        if deadline != flow.armed {
            if let Some(old) = flow.armed {
                self.deadlines.remove(&(old, key));
            }
            if let Some(new) = deadline {
                self.deadlines.insert((new, key));
            }
            flow.armed = deadline;
        }
    }

    /// Takes one segment.
    pub fn segment(&mut self, segment: &Segment<'_>, stamp: &Stamp, emit: Emit<'_>) {
        let (key, sender) = FlowKey::of(stamp.locator.input, segment.src, segment.dst);
        if segment.syn
            && self
                .flows
                .get(&key)
                .is_some_and(|flow| flow.is_replaced_by(sender, segment.seq))
        {
            self.remove(key, stamp, emit);
        }
        if !self.flows.contains_key(&key) && !self.open(key, sender, segment, stamp, emit) {
            return;
        }
        self.segments += 1;
        let room = MAX_HELD.saturating_sub(self.held);
        self.change(key, |flow| {
            flow.last = stamp.at;
            flow.source = stamp.source;
            take(flow, sender, segment, room, stamp, emit);
        });
    }

    /// Begins to follow a connection, if it is one of ours.
    fn open(
        &mut self,
        key: FlowKey,
        sender: usize,
        segment: &Segment<'_>,
        stamp: &Stamp,
        emit: Emit<'_>,
    ) -> bool {
        let app = if segment.src.port() == BGP_PORT || segment.dst.port() == BGP_PORT {
            App::Bgp(None)
        } else if segment.payload.first() == Some(&BMP_VERSION) && looks_like_bmp(segment.payload) {
            self.bmp_ports.insert(segment.dst.port());
            let router = (key.input, segment.src.ip());
            let number = match self.bmp_connections.get_mut(&router) {
                Some(number) => {
                    *number = number.saturating_add(1);
                    *number
                }
                None => {
                    if self.bmp_connections.len() < MAX_BMP_ROUTERS {
                        self.bmp_connections.insert(router, 1);
                    }
                    1
                }
            };
            App::Bmp {
                stream: Box::new(BmpStream::new(Some(segment.src), number)),
                router: sender,
            }
        } else {
            return false;
        };
        if self.flows.len() >= MAX_CONNECTIONS {
            self.make_room(stamp, emit);
        }
        self.flows.insert(
            key,
            Flow {
                key,
                halves: Default::default(),
                app,
                last: stamp.at,
                source: stamp.source,
                closed: false,
                armed: None,
            },
        );
        true
    }

    fn remove(&mut self, key: FlowKey, stamp: &Stamp, emit: Emit<'_>) {
        self.change(key, |flow| flow.close(stamp, emit));
        self.flows.remove(&key);
    }

    fn make_room(&mut self, stamp: &Stamp, emit: Emit<'_>) {
        let mut ranked: Vec<(u8, Timestamp, FlowKey)> = self
            .flows
            .values()
            .map(|flow| (flow.worth(), flow.last, flow.key))
            .collect();
        ranked.sort_unstable();
        ranked.truncate(EVICTED_TOGETHER);
        let open = ranked.iter().filter(|(worth, ..)| *worth > 0).count() as u64;
        for (_, _, key) in ranked {
            self.remove(key, stamp, emit);
        }
        self.evicted += open;
        if open > 0
            && self
                .full_reported
                .is_none_or(|last| stamp.at.since(last) >= FULL_REPORT)
        {
            self.full_reported = Some(stamp.at);
            emit(&stamp.event(EventKind::Gap(Box::new(Gap {
                kind: GapKind::StateFull,
                from: stamp.at,
                to: stamp.at,
                lost: Some(open),
                detail: WireText::from("too many TCP connections to or from port 179: the idle ones are no longer followed"),
            }))));
        }
    }
}

/// What one segment does to its connection. `room`: octets that may still be held.
fn take(
    flow: &mut Flow,
    sender: usize,
    segment: &Segment<'_>,
    room: usize,
    stamp: &Stamp,
    emit: Emit<'_>,
) {
    let (sender, receiver) = (sender & 1, 1 - (sender & 1));
    let len = segment.len();
    let flags = u8::from(segment.syn) | u8::from(segment.fin) << 1 | u8::from(segment.rst) << 2;
    if len > 0 || flags != 0 {
        let identity = Identity {
            seq: segment.seq,
            len,
            flags,
        };
        let point = CapturePoint::new(segment.frame, stamp.source);
        if flow.halves[sender].is_copy(identity, stamp.at, point, segment.ip_id) {
            return;
        }
    }
    let tells = matches!(flow.app, App::Bgp(_));
    let tell = |what: TcpFact, emit: Emit<'_>| {
        if tells {
            emit(&stamp.event(segment.fact(what)));
        }
    };

    if segment.rst {
        if flow.halves[sender].is_plausible(segment.seq) {
            tell(TcpFact::Rst, emit);
            flow.close(stamp, emit);
        }
        return;
    }
    let mut seq = segment.seq;
    if segment.syn {
        let half = &mut flow.halves[sender];
        seq = seq.wrapping_add(1);
        if half.next.is_none() {
            half.isn = Some(segment.seq);
            half.next = Some(seq);
        }
        let fact = if segment.ack.is_some() {
            TcpFact::SynAck
        } else {
            TcpFact::Syn
        };
        tell(fact, emit);
    }
    if let Some(ack) = segment.ack
        && flow.halves[receiver].acknowledge(ack)
        && len == 0
        && flags == 0
    {
        tell(TcpFact::Ack, emit);
    }
    let closed = segment.window == 0 && !segment.syn;
    if closed && !flow.halves[sender].window_closed {
        tell(TcpFact::ZeroWindow, emit);
    }
    flow.halves[sender].window_closed = closed;

    if len > 0 {
        if len > flow.halves[sender].longest {
            flow.halves[sender].longest = len;
            tell(TcpFact::FullSize(len), emit);
        }
        let again = payload(flow, sender, seq, segment, room, stamp, emit);
        if again > 0 {
            tell(TcpFact::Retransmission(again), emit);
        }
    }
    if segment.fin {
        let end = seq.wrapping_add(len);
        let half = &mut flow.halves[sender];
        if half.is_plausible(end) && half.fin != Some(end) {
            half.fin = Some(end);
            half.next.get_or_insert(end);
            tell(TcpFact::Fin, emit);
        }
    }
    let finished = match &flow.app {
        App::Bmp { router, .. } => flow.halves[*router & 1].is_finished(),
        App::Bgp(_) => flow.halves.iter().all(Half::is_finished),
    };
    if finished && !flow.closed {
        flow.close(stamp, emit);
    }
}

/// Takes a segment's payload at `seq`; returns how many of its octets were seen before.
fn payload(
    flow: &mut Flow,
    sender: usize,
    seq: u32,
    segment: &Segment<'_>,
    room: usize,
    stamp: &Stamp,
    emit: Emit<'_>,
) -> u32 {
    let len = segment.len();
    flow.halves[sender].spoke = true;
    match flow.halves[sender].place(seq, len) {
        Place::Next { skip } => {
            deliver_now(flow, sender, seq, skip, segment, stamp, emit);
            skip
        }
        Place::Old => len,
        Place::Probe => 0,
        Place::Stray => {
            if flow.halves[sender].resynchronise(seq, len) {
                flow.lost(sender, None, stamp, emit);
                deliver_now(flow, sender, seq, 0, segment, stamp, emit);
            }
            0
        }
        Place::Ahead => {
            let held = Held {
                seq,
                bytes: segment.payload.into(),
                missing: segment.missing,
                frame: *segment.frame,
                stamp: *stamp,
            };
            let hold = if segment.payload.len() > room {
                Hold::Full
            } else {
                flow.halves[sender].hold(held)
            };
            match hold {
                Hold::Held => 0,
                Hold::Known => len,
                Hold::Full => {
                    // The holes before this segment will not be filled any more: what is behind them must go on.
                    while flow.give_up(sender, stamp.at, emit) {}
                    match flow.halves[sender].place(seq, len) {
                        Place::Next { skip } => {
                            deliver_now(flow, sender, seq, skip, segment, stamp, emit);
                            skip
                        }
                        Place::Ahead => {
                            let next = flow.halves[sender].next.unwrap_or(seq);
                            let lost = u64::from(seq.wrapping_sub(next));
                            flow.lost(sender, Some(lost), stamp, emit);
                            deliver_now(flow, sender, seq, 0, segment, stamp, emit);
                            0
                        }
                        Place::Old => len,
                        Place::Probe | Place::Stray => 0,
                    }
                }
            }
        }
    }
}

/// Delivers a segment without its first `skip` octets, and all that waited for it.
fn deliver_now(
    flow: &mut Flow,
    sender: usize,
    seq: u32,
    skip: u32,
    segment: &Segment<'_>,
    stamp: &Stamp,
    emit: Emit<'_>,
) {
    let bytes = segment.payload.get(skip as usize..).unwrap_or_default();
    let cut = skip.saturating_sub(segment.payload.len() as u32);
    let missing = segment.missing.saturating_sub(cut);
    flow.halves[sender].advance(seq, segment.len());
    flow.deliver(sender, bytes, missing, segment.frame, stamp, emit);
    flow.drain(sender, stamp.at, emit);
}

#[cfg(test)]
mod tests;
