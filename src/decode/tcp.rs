//! TCP reassembly for BGP (port 179), for BMP and RTR (any port, known by their content), and the facts about a connection that
//! explain why a session went down.
//!
//! Octets reach a stream once and in order, whatever the capture did: started in the middle, lost, doubled or mixed up segments. A hole
//! is waited for in packet time and then told as loss. What is released late is stamped with the time of its release, so that
//! events never go back in time, and with the frame that brought it. Every table is bounded.

mod connection;
mod half;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use self::connection::{Connection, Out, Output};
use super::frame::prefilter::{BMP_VERSION, Ports};
use super::framing::{BgpConnection, BmpStream, RtrStream, looks_like_bmp, looks_like_rtr};
use super::{Emit, Stamp};
use crate::event::frame::Frame;
use crate::event::loss::{Gap, GapKind};
use crate::event::ports;
use crate::event::tcp::{TcpAuth, TcpEvent, TcpFact};
use crate::event::{Event, EventKind, InputId, OwnFeed, SourceId, Timestamp, WireText};

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
    /// What a SYN is authenticated with.
    pub auth: Option<TcpAuth>,
}

/// The authentication option among a header's options (kinds: IANA TCP parameters; 0 ends, 1 pads, others carry their length).
pub fn authentication(mut options: &[u8]) -> Option<TcpAuth> {
    const MD5: u8 = 19;
    const AO: u8 = 29;
    loop {
        let (kind, rest) = options.split_first()?;
        match *kind {
            0 => return None,
            1 => options = rest,
            MD5 => return Some(TcpAuth::Md5),
            AO => return Some(TcpAuth::Ao),
            _ => options = options.get(usize::from(*rest.first()?).max(2)..)?,
        }
    }
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
            auth: self.auth,
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
#[derive(Clone)]
enum App {
    /// Made at the first payload.
    Bgp(Option<Box<BgpConnection>>),
    Bmp {
        stream: Box<BmpStream>,
        /// Index of the router.
        router: usize,
        /// Its end was told.
        over: bool,
    },
    Rtr {
        stream: Box<RtrStream>,
        /// Index of the cache.
        cache: usize,
    },
}

#[derive(Clone)]
struct Flow {
    key: FlowKey,
    connection: Connection,
    app: App,
    last: Timestamp,
    source: SourceId,
    /// It ends at a station of ours, which hands on its octets; what a capture sees of it is a copy.
    own: bool,
    /// Its entry in the queue of deadlines.
    armed: Option<Timestamp>,
}

impl App {
    /// Hands a connection's output to what it carries. `segment` is the one at hand, which facts are about.
    fn take(
        &mut self,
        key: &FlowKey,
        output: Output<'_>,
        segment: Option<(&Segment<'_>, &Stamp)>,
        emit: Emit<'_>,
    ) {
        match (self, output) {
            (App::Bgp(_), Output::Fact(what)) => {
                if let Some((segment, stamp)) = segment {
                    emit(&stamp.event(segment.fact(what)));
                }
            }
            (
                App::Bgp(bgp),
                Output::Data {
                    sender,
                    bytes,
                    frame,
                    stamp,
                },
            ) => bgp
                .get_or_insert_with(|| Box::new(BgpConnection::new(key.end(0), key.end(1))))
                .data(sender == 0, bytes, frame, &stamp, emit),
            (
                App::Bgp(bgp),
                Output::Lost {
                    sender,
                    octets,
                    stamp,
                },
            ) => bgp
                .get_or_insert_with(|| Box::new(BgpConnection::new(key.end(0), key.end(1))))
                .lost(sender == 0, octets, &stamp, emit),
            (App::Bgp(bgp), Output::Closed(_)) => *bgp = None,
            (
                App::Bmp {
                    stream,
                    router,
                    over: false,
                },
                Output::Data {
                    sender,
                    bytes,
                    stamp,
                    ..
                },
            ) if *router == sender => {
                stream.data(bytes, &stamp, emit);
            }
            (
                App::Bmp {
                    stream,
                    router,
                    over: false,
                },
                Output::Lost {
                    sender,
                    octets,
                    stamp,
                },
            ) if *router == sender => {
                stream.lost(octets, &stamp, emit);
            }
            (App::Bmp { stream, over, .. }, Output::Closed(stamp)) => {
                *over = true;
                stream.closed(&stamp, emit);
            }
            // Facts of BMP connections, the station's side, and what follows the end tell nothing.
            (App::Bmp { .. }, _) => {}
            (
                App::Rtr { stream, cache },
                Output::Data {
                    sender,
                    bytes,
                    stamp,
                    ..
                },
            ) => stream.data(sender == *cache, bytes, &stamp, emit),
            (
                App::Rtr { stream, cache },
                Output::Lost {
                    sender,
                    octets,
                    stamp,
                },
            ) => stream.lost(sender == *cache, octets, &stamp, emit),
            (App::Rtr { stream, .. }, Output::Fact(TcpFact::SynAck)) => {
                if let Some((_, stamp)) = segment {
                    stream.connected(stamp, emit);
                }
            }
            (App::Rtr { stream, .. }, Output::Closed(stamp)) => {
                let why = segment
                    .filter(|(segment, _)| segment.rst)
                    .map(|(segment, _)| match segment.payload {
                        [] => WireText::from("the connection was reset"),
                        text => WireText::new(text),
                    });
                stream.closed(segment.is_some(), why, &stamp, emit);
            }
            (App::Rtr { .. }, Output::Fact(_)) => {}
        }
    }
}

/// A router's connection to a station of ours ended: what it does next is not seen. `segment` is the one that ended it.
fn feed_lost(
    app: &App,
    key: &FlowKey,
    segment: Option<(&Segment<'_>, &Stamp)>,
    stamp: &Stamp,
) -> Option<Event> {
    let (what, router) = match app {
        // Not a loss of sight: what a cache said stays good for a time, and its end is an event of its own.
        App::Rtr { .. } => return None,
        App::Bmp { router, .. } => ("BMP", key.end(*router)),
        // The listener is passive: port 179 is ours.
        App::Bgp(_) => ("BGP", key.end(usize::from(key.end(0).port() == ports::BGP))),
    };
    let why = match segment {
        Some((segment, _)) if segment.rst => {
            let by = if segment.src == router {
                "broke"
            } else {
                "was cut off"
            };
            // RFC 9293 §3.5.3: a reset may say why; our stations' resets do.
            format!("{by}: {}", WireText::new(segment.payload))
        }
        // A station that ends a connection resets it: who closes in good order is the router.
        Some(_) => "was closed by the router".to_owned(),
        None => "ended".to_owned(),
    };
    let detail = format!("the {what} feed of {} {why}", router.ip());
    Some(stamp.event(EventKind::Gap(Box::new(Gap {
        kind: GapKind::FeedLost,
        from: stamp.at,
        to: stamp.at,
        lost: None,
        detail: WireText::from(detail.as_str()),
    }))))
}

/// All connections.
#[derive(Clone, Default)]
pub struct TcpStreams {
    flows: HashMap<FlowKey, Flow, RandomState>,
    /// Holes by the time at which they are given up; one entry for each flow with a hole.
    deadlines: BTreeSet<(Timestamp, FlowKey)>,
    /// Ports on which BMP or RTR was seen.
    known_ports: Ports,
    /// BMP connections so far, by router.
    bmp_connections: HashMap<(InputId, IpAddr), u32, RandomState>,
    /// Sources that are our own stations'.
    own: BTreeMap<SourceId, OwnFeed>,
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

    /// This source's connections end at a station of ours: their end is a loss of sight.
    pub fn own_feed(&mut self, source: SourceId, feed: OwnFeed) {
        self.own.insert(source, feed);
    }

    /// Whether it is.
    pub fn is_own(&self, source: SourceId) -> bool {
        self.own.contains_key(&source)
    }

    /// Octets that a copy takes, roughly.
    pub fn weight(&self) -> usize {
        /// A flow without what it carries.
        const FLOW: usize = 1 << 10;
        let flows = self.flows.values().map(|flow| {
            FLOW + match &flow.app {
                App::Bgp(connection) => connection.as_ref().map_or(0, |c| c.weight()),
                App::Bmp { stream, .. } => stream.weight(),
                App::Rtr { .. } => 0,
            }
        });
        flows.fold(self.held, |sum, weight| sum + weight)
    }

    /// Ports that the prefilter must let pass.
    pub fn known_ports(&self) -> &Ports {
        &self.known_ports
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
            self.change(key, None, emit, |connection, out| {
                connection.expire(deadline, out);
            });
        }
    }

    /// The source lost packets: its holes are not waited for.
    pub fn gap(&mut self, source: SourceId, at: Timestamp, emit: Emit<'_>) {
        for key in self.waiting(Some(source)) {
            self.change(key, None, emit, |connection, out| connection.flush(at, out));
        }
    }

    /// End of input: what waits is delivered as it is.
    pub fn finish(&mut self, at: Timestamp, emit: Emit<'_>) {
        for key in self.waiting(None) {
            self.change(key, None, emit, |connection, out| connection.flush(at, out));
        }
    }

    /// Connections with holes (of one source, or all), in an order that does not depend on hashing.
    fn waiting(&self, source: Option<SourceId>) -> Vec<FlowKey> {
        let of_source = |key: &FlowKey| {
            source.is_none_or(|id| self.flows.get(key).is_some_and(|flow| flow.source == id))
        };
        let mut keys: Vec<FlowKey> = self.deadlines.iter().map(|(_, key)| *key).collect();
        keys.retain(of_source);
        keys.sort_unstable();
        keys
    }

    /// Runs `action` on a connection, hands on what it puts out, and keeps the books: held octets and deadline.
    fn change(
        &mut self,
        key: FlowKey,
        segment: Option<(&Segment<'_>, &Stamp)>,
        emit: Emit<'_>,
        action: impl FnOnce(&mut Connection, Out<'_>),
    ) {
        let Some(flow) = self.flows.get_mut(&key) else {
            return;
        };
        if let Some((_, stamp)) = segment {
            flow.last = stamp.at;
            flow.source = stamp.source;
        }
        let held = flow.connection.held();
        let (app, own) = (&mut flow.app, flow.own);
        action(&mut flow.connection, &mut |output| {
            if let (true, Output::Closed(stamp)) = (own, &output)
                && let Some(event) = feed_lost(app, &key, segment, stamp)
            {
                emit(&event);
            }
            app.take(&key, output, segment, emit);
        });
        self.held = (self.held + flow.connection.held()).saturating_sub(held);
        let deadline = flow.connection.deadline();
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
        if let Some(flow) = self.flows.get(&key).filter(|flow| flow.own)
            && flow.source != stamp.source
            && !self.is_own(stamp.source)
        {
            return;
        }
        if segment.syn
            && self
                .flows
                .get(&key)
                .is_some_and(|flow| flow.connection.is_replaced_by(sender, segment.seq))
        {
            self.remove(key, stamp, emit);
        }
        if !self.flows.contains_key(&key) && !self.open(key, sender, segment, stamp, emit) {
            return;
        }
        self.segments += 1;
        let room = MAX_HELD.saturating_sub(self.held);
        self.change(key, Some((segment, stamp)), emit, |connection, out| {
            connection.take(sender, segment, room, stamp, out);
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
        let (app, deciding) = if segment.src.port() == ports::BGP
            || segment.dst.port() == ports::BGP
        {
            (App::Bgp(None), [true, true])
        } else if let Some(router) = self.rtr(sender, segment, stamp) {
            let (cache, app) = (
                1 - router,
                App::Rtr {
                    stream: Box::new(RtrStream::new(
                        key.end(1 - router),
                        (!self.is_own(stamp.source)).then(|| key.end(router)),
                    )),
                    cache: 1 - router,
                },
            );
            self.known_ports.insert(key.end(cache).port());
            // Whoever ends it, the cache's end follows.
            (app, [cache == 0, cache == 1])
        } else if segment.payload.first() == Some(&BMP_VERSION) && looks_like_bmp(segment.payload) {
            self.known_ports.insert(segment.dst.port());
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
            let app = App::Bmp {
                stream: Box::new(BmpStream::new(Some(segment.src), number)),
                router: sender,
                over: false,
            };
            (app, [sender == 0, sender == 1])
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
                connection: Connection::new(deciding),
                app,
                last: stamp.at,
                source: stamp.source,
                own: self.is_own(stamp.source),
                armed: None,
            },
        );
        true
    }

    /// The index of the router's end, when this segment belongs to an RTR session: of our own client's at once, of others' when its
    /// content says so.
    fn rtr(&self, sender: usize, segment: &Segment<'_>, stamp: &Stamp) -> Option<usize> {
        if self
            .own
            .get(&stamp.source)
            .is_some_and(|feed| feed.is_rtr())
        {
            return (segment.syn && segment.ack.is_none()).then_some(sender);
        }
        let from_cache = looks_like_rtr(segment.payload)?;
        Some(if from_cache { 1 - sender } else { sender })
    }

    fn remove(&mut self, key: FlowKey, stamp: &Stamp, emit: Emit<'_>) {
        self.change(key, None, emit, |connection, out| {
            connection.close(stamp, out)
        });
        self.flows.remove(&key);
    }

    fn make_room(&mut self, stamp: &Stamp, emit: Emit<'_>) {
        let mut ranked: Vec<(u8, Timestamp, FlowKey)> = self
            .flows
            .values()
            .map(|flow| (flow.connection.worth(), flow.last, flow.key))
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

#[cfg(test)]
mod tests;
