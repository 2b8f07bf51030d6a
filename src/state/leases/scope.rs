//! Scopes: where one set of servers serves one set of clients. A scope is a segment, its VLANs and the relay, if any.
//!
//! One LAN is often captured at several places (a bridge and its ports, both ends of a veth pair). Such places are joined as soon as
//! one packet, or a question and its answer, is seen at both; a packet's second sight counts for nothing.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::fixed_hash;
use super::message::Message;
use crate::event::{Event, EventKind, SourceId, Timestamp};

/// Scopes tracked; 4,096 VLANs are all a switch has. Later ones share the last id.
const MAX_SCOPES: usize = 4096;
/// Copies of one packet at the places of one host differ by its forwarding time: measured below 1 ms, ring buffers may add 10 ms.
const COPY_WINDOW_NS: i64 = 20_000_000;
/// A cooked capture of all interfaces does not say which one a copy is from; no client repeats itself within this (RFC 2131: seconds).
const SAME_PLACE_NS: i64 = 2_000_000;
/// A question and its answer belong together for this long (RFC 2131 §4.1: delays end at 64 s).
const ANSWER_WINDOW_NS: i64 = 64_000_000_000;
/// A relay forwards at once; it keeps nothing back for longer than this.
const FORWARD_NS: i64 = 1_000_000_000;
/// Recent packets remembered for both; a flood only shortens the memory.
const MAX_RECENT: usize = 8192;

/// Handle of a scope; stable for the run.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default)]
pub struct ScopeId(pub u32);

/// A place of capture: source and interface index where a cooked capture has one.
type Place = (SourceId, u32);

/// What makes a scope.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
struct ScopeKey {
    segment: u32,
    vlans: [Option<u16>; 3],
    relay: Option<IpAddr>,
    v6: bool,
}

/// Where a message belongs.
#[derive(Copy, Clone, Debug)]
pub struct Placed {
    pub scope: ScopeId,
    /// Another sight of a packet already seen.
    pub copy: bool,
    /// The same message was heard on the other side of its relay, in that side's scope.
    pub twin: bool,
}

/// Table of scopes and recent packets.
#[derive(Clone, Default)]
pub struct Scopes {
    places: BTreeMap<Place, u32>,
    /// Segment → the segment it was joined to (itself at first).
    joined: Vec<u32>,
    scopes: BTreeMap<ScopeKey, ScopeId>,
    /// The same by id.
    keys: Vec<ScopeKey>,
    recent: HashMap<u64, (Timestamp, Place), RandomState>,
    order: VecDeque<u64>,
}

impl Scopes {
    /// The scope of a message, and whether it was seen before in this one or in another.
    pub fn place(&mut self, event: &Event, message: &Message) -> Placed {
        let place = (event.source, message.frame.ifindex.unwrap_or(0));
        let content = content(event);
        let mut copy = false;
        if let Some(&(at, other)) = self.recent.get(&content)
            && event.at.minus(at).abs()
                <= if other == place {
                    SAME_PLACE_NS
                } else {
                    COPY_WINDOW_NS
                }
        {
            copy = true;
            self.join(place, other);
        }
        // On the way through a relay a message changes; its copies beyond it are another scope's.
        if message.is_direct() {
            let talk = fixed_hash(&(message.v6, &message.client, message.xid));
            if let Some(&(at, other)) = self.recent.get(&talk)
                && other != place
                && event.at.minus(at).abs() <= ANSWER_WINDOW_NS
                && message.verb.is_answer()
            {
                self.join(place, other);
            }
            self.remember(talk, event.at, place);
        }
        if !copy {
            self.remember(content, event.at, place);
        }
        let twin = self.twin(event, message, place);
        let key = ScopeKey {
            segment: self.segment(place),
            vlans: message.frame.vlans,
            relay: message.relay,
            v6: message.v6,
        };
        let next = self.scopes.len();
        let id = match self.scopes.get(&key) {
            Some(id) => *id,
            None if next >= MAX_SCOPES => ScopeId(MAX_SCOPES as u32),
            None => {
                let id = ScopeId(next as u32);
                self.keys.push(key.clone());
                self.scopes.insert(key, id);
                id
            }
        };
        Placed {
            scope: id,
            copy,
            twin,
        }
    }

    /// The VLANs of a scope, from the outermost.
    pub fn vlans(&self, id: ScopeId) -> impl Iterator<Item = u16> {
        let key = self.keys.get(id.0 as usize);
        key.into_iter().flat_map(|key| key.vlans).flatten()
    }

    /// The relay in front of a scope.
    pub fn relay(&self, id: ScopeId) -> Option<IpAddr> {
        self.keys.get(id.0 as usize)?.relay
    }

    /// Whether two scopes are one wire and differ in nothing but their VLANs.
    pub(super) fn differ_by_vlan(&self, a: ScopeId, b: ScopeId) -> bool {
        let pair = (self.keys.get(a.0 as usize), self.keys.get(b.0 as usize));
        let (Some(a), Some(b)) = pair else {
            return false;
        };
        (a.v6, a.relay) == (b.v6, b.relay)
            && self.root(a.segment) == self.root(b.segment)
            && a.vlans != b.vlans
    }

    /// Whether two scopes are the clients' and the servers' side of one relay on one wire.
    pub(super) fn differ_by_relay(&self, a: ScopeId, b: ScopeId) -> bool {
        let pair = (self.keys.get(a.0 as usize), self.keys.get(b.0 as usize));
        let (Some(a), Some(b)) = pair else {
            return false;
        };
        a.v6 == b.v6
            && a.relay.is_none() != b.relay.is_none()
            && a.vlans == b.vlans
            && self.root(a.segment) == self.root(b.segment)
    }

    /// Whether a host that sees both sides of a relay heard this message on the other side. The clients' side is the one that counts; in
    /// DHCPv4 the answers keep giaddr on their way to the client, so that they all are of the relay's scope: there the servers' side does.
    fn twin(&mut self, event: &Event, m: &Message, place: Place) -> bool {
        let answer = m.verb.is_answer();
        let asked = fixed_hash(&(1_u8, m.v6, &m.client, m.xid, m.verb));
        let doubled = fixed_hash(&(2_u8, m.v6, &m.client, m.xid));
        let lately = |recent: &HashMap<u64, (Timestamp, Place), RandomState>, hash, within| {
            recent
                .get(&hash)
                .is_some_and(|(at, _)| event.at.minus(*at).abs() <= within)
        };
        if m.is_direct() {
            if !answer {
                self.remember(asked, event.at, place);
            }
            return false;
        }
        if !answer {
            let twin = lately(&self.recent, asked, FORWARD_NS);
            if twin {
                self.remember(doubled, event.at, place);
            }
            return twin;
        }
        let to_client = match &event.kind {
            EventKind::Dhcp4(m) => m.dst_port == 68,
            _ => true,
        };
        to_client && lately(&self.recent, doubled, ANSWER_WINDOW_NS)
    }

    fn remember(&mut self, hash: u64, at: Timestamp, place: Place) {
        if self.recent.insert(hash, (at, place)).is_none() {
            self.order.push_back(hash);
            if self.order.len() > MAX_RECENT
                && let Some(old) = self.order.pop_front()
            {
                self.recent.remove(&old);
            }
        }
    }

    fn segment(&mut self, place: Place) -> u32 {
        let next = self.joined.len() as u32;
        if next as usize >= MAX_SCOPES && !self.places.contains_key(&place) {
            return 0; // interface indexes are the file's word; past all plausible numbers they share a segment
        }
        let own = *self.places.entry(place).or_insert(next);
        if own == next {
            self.joined.push(own);
        }
        self.root(own)
    }

    fn root(&self, mut segment: u32) -> u32 {
        while let Some(&up) = self.joined.get(segment as usize) {
            if up == segment {
                break;
            }
            segment = up;
        }
        segment
    }

    /// Joins two places; the older segment stays, so that what was learned under it stays.
    fn join(&mut self, a: Place, b: Place) {
        let (a, b) = (self.segment(a), self.segment(b));
        let (old, new) = (a.min(b), a.max(b));
        if let Some(slot) = self.joined.get_mut(new as usize) {
            *slot = old;
        }
    }
}

/// Hash of what a message says, without the link layer: equal for the copies of one packet.
fn content(event: &Event) -> u64 {
    match &event.kind {
        EventKind::Dhcp4(m) => fixed_hash(&(
            (m.xid, m.secs, m.op, m.hops, m.message_type),
            (&m.chaddr, m.ciaddr, m.yiaddr, m.giaddr),
            (&m.options, m.server_id, m.requested_ip, m.lease_time),
            (m.frame.ip_src, m.frame.ip_dst, m.src_port, m.dst_port),
            (&m.client_id, &m.routers, &m.host_name),
        )),
        EventKind::Dhcp6(m) => fixed_hash(&(
            (m.xid, m.message_type, m.relays.len(), m.elapsed_ms),
            (&m.client, &m.server, &m.options),
            (m.frame.ip_src, m.frame.ip_dst),
            m.addresses.first().map(|a| (a.addr, a.valid)),
        )),
        _ => 0,
    }
}
