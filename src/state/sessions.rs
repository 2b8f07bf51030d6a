//! BGP sessions, each once, however many observers see it: packets of both directions, BMP of either router, MRT.
//!
//! A session is the unordered pair of its addresses (and a VRF). What an observer reports is folded into one state: a loss counts
//! once, with the evidence of everybody who saw it. Nothing is judged here; causes are raw facts in [`DownCause`].
//! Correctness rests on [`Views`](view::Views): an observer that reports a loss late is matched to the loss that is already known.

mod attempts;
pub mod bfd;
mod bmp;
mod connection;
mod delta;
mod hold;
mod messages;
mod view;

use std::net::IpAddr;
use std::time::Duration;

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::event::bgp::{Open, Rd};
use crate::event::frame::Mac;
use crate::event::loss::GapKind;
use crate::event::{Event, EventKind, InputId, SourceId, Timestamp};

pub use attempts::{LastUpdate, Opening, Undelivered, Via};
use connection::Connection;
pub use delta::{Current, DownCause, SessionDelta};
use hold::SilentHold;
pub use view::Views;

/// Sessions tracked at once. A route server has a few thousand; forged SYNs beyond this are counted in [`Sessions::refused`].
pub const MAX_SESSIONS: usize = 16_384;
/// Interfaces remembered per session: two uplinks and a change of each.
const MAX_SOURCES: usize = 4;
/// A connection counts as alive again when both ends send new messages on it this long after it was declared dead: longer than
/// FRR's batching of BMP and the flight of a last KEEPALIVE, shorter than the smallest hold time (3 s, RFC 4271 §4.2).
const REVIVAL: Duration = Duration::from_secs(2);
/// Without an OPEN the hold time is three times the KEEPALIVE interval (RFC 4271 §10 suggests a third; FRR and BIRD do so).
const KEEPALIVES_PER_HOLD: u32 = 3;

/// Handle of a session; never reused.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct SessionId(pub u32);

/// Who saw something.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Observer {
    Packets,
    Bmp,
    Mrt,
}

impl Observer {
    /// All observers.
    pub const ALL: [Observer; 3] = [Observer::Packets, Observer::Bmp, Observer::Mrt];

    /// Its name in the JSON contract.
    pub const fn name(self) -> &'static str {
        match self {
            Observer::Packets => "packets",
            Observer::Bmp => "bmp",
            Observer::Mrt => "mrt",
        }
    }
}

/// The FSM as far as it can be told from outside.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default)]
pub enum State {
    /// Nothing known, or down.
    #[default]
    Idle,
    /// A TCP connection was tried or made.
    Connect,
    /// An OPEN was sent.
    OpenSent,
    Established,
}

/// One end of a session.
#[derive(Clone, Debug)]
pub struct End {
    pub addr: IpAddr,
    /// AS number from OPEN, BMP or MRT, else the first AS of its paths; 0 where unknown.
    pub asn: u32,
    /// BGP identifier; 0 where unknown.
    pub router_id: u32,
    pub mac: Option<Mac>,
    /// Its last OPEN.
    pub open: Option<Box<Open>>,
    /// Last BGP message from it that was seen in packets.
    pub last_message: Option<Timestamp>,
    /// Its last KEEPALIVE and the longest distance between two of them.
    pub last_keepalive: Option<Timestamp>,
    pub keepalive_gap: Option<Duration>,
    /// Since when it repeats segments that nobody acknowledges, and how often it did.
    pub unanswered: Option<Timestamp>,
    pub retransmissions: u32,
    /// Since when its receive window is closed.
    pub zero_window: Option<Timestamp>,
    /// Connection attempts (SYN) since the session was last up.
    pub attempts: u32,
    /// What became of its attempts since the session was last up or lost.
    pub opening: Opening,
    /// When it last acknowledged octets without sending any: its kernel lives.
    pub last_ack: Option<Timestamp>,
    /// Where its segments were last seen, and where before.
    pub via: Option<Via>,
    pub via_before: Option<Via>,
    /// The latest ICMP error about a segment of its.
    pub undelivered: Option<Undelivered>,
    /// Its last UPDATE seen in packets.
    pub last_update: Option<LastUpdate>,
    /// This end runs on the analysed host, because a capture marked its packets as outgoing.
    pub outgoing: bool,
    /// BMP or MRT says that this end is the one that reports.
    pub reports: bool,
}

impl End {
    fn new(addr: IpAddr) -> End {
        End {
            addr,
            asn: 0,
            router_id: 0,
            mac: None,
            open: None,
            last_message: None,
            last_keepalive: None,
            keepalive_gap: None,
            unanswered: None,
            retransmissions: 0,
            zero_window: None,
            attempts: 0,
            opening: Opening::default(),
            last_ack: None,
            via: None,
            via_before: None,
            undelivered: None,
            last_update: None,
            outgoing: false,
            reports: false,
        }
    }
}

/// A capture source on which packets of a session were seen.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct SeenOn {
    pub source: SourceId,
    pub input: InputId,
    /// Interface index inside an `any` capture.
    pub ifindex: Option<u32>,
    pub last: Timestamp,
}

/// A BGP session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Ends in the order of their addresses.
    pub ends: [End; 2],
    /// BMP peer distinguisher; 0 is the global instance.
    pub vrf: u64,
    pub state: State,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// Since when it is (or, when down, was) established.
    pub up_since: Option<Timestamp>,
    /// It was already established when it was first seen.
    pub mid_stream: bool,
    pub ups: u32,
    pub downs: u32,
    /// When it last went down.
    pub down_at: Option<Timestamp>,
    /// Which observers saw it, and what each of them believes.
    pub views: Views,
    /// Negotiated hold time (the lesser offer), where OPENs were seen.
    pub hold: Option<Duration>,
    /// It is no session but a router's own table (BMP Loc-RIB, RFC 9069): one end is the router, the other nobody.
    pub is_table: bool,
    /// It ends at our own BGP listener: the index of the router's end. Its loss is a loss of sight, not of a route.
    pub feed: Option<usize>,
    /// Sources that carried its packets, latest last.
    pub seen_on: SmallVec<[SeenOn; MAX_SOURCES]>,
    connections: SmallVec<[Connection; 2]>,
    /// A FIN of a connection of which nothing was seen before, and its sender: what it ended, later frames may tell.
    unseen_end: Option<(Timestamp, usize)>,
    /// Its next look at the hold timer is scheduled then.
    hold_check: Option<Timestamp>,
    /// Messages of each end after it was declared dead, for [`REVIVAL`].
    after_death: u8,
}

impl Session {
    /// Negotiated hold time, else three times the longest KEEPALIVE interval seen.
    pub fn hold_time(&self) -> Option<Duration> {
        self.hold.or_else(|| {
            let gap = self.ends.iter().filter_map(|e| e.keepalive_gap).max()?;
            // Whole seconds are negotiated; the measured gap jitters by milliseconds.
            Some(Duration::from_secs_f64(gap.as_secs_f64().round().max(1.0)) * KEEPALIVES_PER_HOLD)
        })
    }

    /// The index of the end with this address.
    pub fn end_of(&self, addr: IpAddr) -> Option<usize> {
        self.ends.iter().position(|end| end.addr == addr)
    }

    /// Whether packets of it were ever seen.
    pub fn in_packets(&self) -> bool {
        self.views.of(Observer::Packets).seen
    }

    /// The names of its observers.
    pub fn observers(&self) -> Vec<&'static str> {
        Observer::ALL
            .into_iter()
            .filter(|o| self.views.of(*o).seen)
            .map(Observer::name)
            .collect()
    }

    /// The route distinguisher of its VRF as it is written; `None` in the global table.
    pub fn distinguisher(&self) -> Option<String> {
        (self.vrf != 0).then(|| Rd(self.vrf).to_string())
    }

    /// Both ends are in one AS.
    pub fn is_internal(&self) -> bool {
        self.ends[0].asn != 0 && self.ends[0].asn == self.ends[1].asn
    }

    /// When the longer silent end was last heard in packets, and which end that is.
    pub fn quietest(&self) -> Option<(usize, Timestamp)> {
        let [a, b] = [self.ends[0].last_message?, self.ends[1].last_message?];
        Some(if a <= b { (0, a) } else { (1, b) })
    }

    fn negotiate(&mut self) {
        if let (Some(a), Some(b)) = (&self.ends[0].open, &self.ends[1].open) {
            // RFC 4271 §4.2: the smaller of the two; zero switches timers off.
            self.hold = Some(Duration::from_secs(u64::from(a.hold_time.min(b.hold_time))));
        }
    }

    fn enter(&mut self, state: State, at: Timestamp) {
        if self.state != state {
            self.state = state;
            self.since = at;
        }
    }
}

/// The table.
#[derive(Clone, Default)]
pub struct Sessions {
    sessions: Vec<Session>,
    by_key: HashMap<(IpAddr, IpAddr, u64), SessionId, foldhash::fast::RandomState>,
    /// All ends of sessions.
    end_addresses: std::collections::BTreeSet<IpAddr>,
    /// The last direction looked up: updates come in runs.
    cached: Option<(IpAddr, IpAddr, SessionId, usize)>,
    current: Option<Current>,
    feeds: bmp::Feeds,
    /// Sources that are our own BGP listener's.
    listener: std::collections::BTreeSet<SourceId>,
    bfd: bfd::BfdTable,
    /// Looks at hold timers, by time.
    checks: std::collections::BTreeSet<(Timestamp, SessionId)>,
    /// Hold times that passed in silence; told when the input proves to be alive.
    silent: Vec<SilentHold>,
    /// No silence before this counts: capture was lossy until then.
    blind_until: Option<Timestamp>,
    /// When each input with sessions gave its latest event: the silence of all of it is no peer's. One for each input, of which there are few.
    given: std::collections::BTreeMap<crate::event::InputId, Timestamp>,
    /// Sessions that an input left alone for a hold time together with everything else: do they go on as if nothing had been?
    woken: std::collections::BTreeMap<SessionId, hold::Pause>,
    /// When each of them gave its first.
    began: std::collections::BTreeMap<InputId, Timestamp>,
    /// Sessions not tracked because the table was full.
    pub refused: u64,
}

impl Sessions {
    /// A session by its handle.
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(id.0 as usize)
    }

    /// The session between two addresses outside of VRFs, and the index of the end that is `from`.
    pub fn between(&self, from: IpAddr, to: IpAddr) -> Option<(SessionId, usize)> {
        let (low, high) = if from <= to { (from, to) } else { (to, from) };
        let id = *self.by_key.get(&(low, high, 0))?;
        Some((id, usize::from(from != low)))
    }

    /// All sessions in the order in which they were first seen.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions
            .iter()
            .enumerate()
            .map(|(at, session)| (SessionId(at as u32), session))
    }

    /// The sessions of this source end at our own BGP listener.
    pub fn own_listener(&mut self, source: SourceId) {
        self.listener.insert(source);
    }

    /// The BFD sessions.
    pub fn bfd(&self) -> &bfd::BfdTable {
        &self.bfd
    }

    /// Whether a session with this end is known.
    pub fn is_end(&self, addr: IpAddr) -> bool {
        self.end_addresses.contains(&addr)
    }

    /// What the event at hand was about.
    pub fn current(&self) -> Option<Current> {
        self.current
    }

    /// Applies an event.
    pub fn apply(&mut self, event: &Event, out: &mut Vec<SessionDelta>) {
        self.current = None;
        if !self.silent.is_empty() {
            self.confirm_silence(event, out);
        }
        let before = self.given.insert(event.locator.input, event.at);
        self.began.entry(event.locator.input).or_insert(event.at);
        self.bfd.confirm_silence(event, before, out);
        self.wake(event, before);
        match &event.kind {
            EventKind::Bgp(bgp) => self.bgp(event, bgp, out),
            EventKind::Bmp(bmp) => self.bmp(event, bmp, out),
            EventKind::Tcp(tcp) => self.tcp(event, tcp, out),
            EventKind::Bfd(bfd) => self.bfd.apply(event, bfd, out),
            EventKind::Gap(gap) => match gap.kind {
                GapKind::CaptureDrops
                | GapKind::TcpLoss
                | GapKind::DamagedInput
                | GapKind::ClockStep => {
                    self.blind_until = self.blind_until.max(Some(gap.to));
                    self.bfd.blind(gap.to);
                    self.silent.clear();
                    // The hole is told already.
                    self.woken.clear();
                }
                GapKind::NetlinkOverrun | GapKind::FeedLost | GapKind::StateFull => {}
            },
            _ => {}
        }
    }

    /// Earliest deadline.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let hold = self.checks.first().map(|(at, _)| *at);
        [hold, self.bfd.next_deadline()].into_iter().flatten().min()
    }

    /// Fires deadlines. A hold time that passes is only noted here: it counts once the same input shows a later packet, because
    /// captures end inside hold times.
    pub fn expire(&mut self, now: Timestamp, out: &mut Vec<SessionDelta>) {
        self.current = None;
        self.bfd.expire(now, out);
        while let Some((at, id)) = self.checks.first().copied().filter(|(at, _)| *at <= now) {
            self.checks.remove(&(at, id));
            self.look_at_hold(id, now);
        }
    }

    /// The session between two addresses, made when there is none. `None` when the table is full.
    fn session(
        &mut self,
        from: IpAddr,
        to: IpAddr,
        vrf: u64,
        at: Timestamp,
    ) -> Option<(SessionId, usize)> {
        if vrf == 0
            && let Some((a, b, id, sender)) = self.cached
        {
            if a == from && b == to {
                return Some((id, sender));
            }
            if a == to && b == from {
                return Some((id, 1 - sender));
            }
        }
        let (low, high) = if from <= to { (from, to) } else { (to, from) };
        let sender = usize::from(from != low);
        let id = match self.by_key.get(&(low, high, vrf)) {
            Some(id) => *id,
            None => {
                if self.sessions.len() >= MAX_SESSIONS {
                    self.refused += 1;
                    return None;
                }
                let id = SessionId(self.sessions.len() as u32);
                self.sessions.push(Session {
                    ends: [End::new(low), End::new(high)],
                    vrf,
                    state: State::Idle,
                    since: at,
                    first_seen: at,
                    up_since: None,
                    mid_stream: false,
                    ups: 0,
                    downs: 0,
                    down_at: None,
                    views: Views::default(),
                    hold: None,
                    is_table: false,
                    feed: None,
                    seen_on: SmallVec::new(),
                    connections: SmallVec::new(),
                    unseen_end: None,
                    hold_check: None,
                    after_death: 0,
                });
                self.by_key.insert((low, high, vrf), id);
                self.end_addresses.extend([low, high]);
                id
            }
        };
        if vrf == 0 {
            self.cached = Some((from, to, id, sender));
        }
        Some((id, sender))
    }

    /// An observer says that the session is up.
    fn up(
        &mut self,
        id: SessionId,
        at: Timestamp,
        observer: Observer,
        out: &mut Vec<SessionDelta>,
    ) {
        let session = &mut self.sessions[id.0 as usize];
        session.views.of_mut(observer).up(at, session.downs);
        if session.state == State::Established {
            return;
        }
        session.enter(State::Established, at);
        session.up_since = Some(at);
        session.ups = session.ups.saturating_add(1);
        session.after_death = 0;
        for end in &mut session.ends {
            end.attempts = 0;
            end.opening = Opening::default();
            end.undelivered = None;
            end.unanswered = None;
            end.retransmissions = 0;
            end.zero_window = None;
        }
        out.push(SessionDelta::Up { id, observer });
        if let Some(router) = session.feed {
            out.push(SessionDelta::FeedUp {
                router: Some(session.ends[router & 1].addr),
                again: session.downs > 0,
            });
        }
    }

    /// An observer says that the session went down at `at`.
    fn down(
        &mut self,
        id: SessionId,
        at: Timestamp,
        observer: Observer,
        cause: DownCause,
        out: &mut Vec<SessionDelta>,
    ) {
        let session = &mut self.sessions[id.0 as usize];
        let lag = session.hold_time().unwrap_or_default();
        let known = session.state != State::Established
            || session.views.of(observer).reports_known_loss(
                session.downs,
                session.down_at,
                at,
                lag,
            );
        session
            .views
            .of_mut(observer)
            .down(at, session.downs.saturating_add(u32::from(!known)));
        if known {
            out.push(SessionDelta::DownSeen {
                id,
                observer,
                cause,
            });
            return;
        }
        session.enter(State::Idle, at);
        session.downs = session.downs.saturating_add(1);
        session.down_at = Some(at);
        session.after_death = 0;
        for end in &mut session.ends {
            end.opening = Opening::default();
        }
        session.bury_connections();
        let feed = session.feed.map(|router| session.ends[router & 1].addr);
        out.push(SessionDelta::Down {
            id,
            at,
            observer,
            cause,
        });
        if let Some(router) = feed {
            out.push(SessionDelta::FeedDown {
                router: Some(router),
            });
        }
    }
}
