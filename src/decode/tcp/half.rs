//! One direction of a TCP connection: where its next octet is, what came too early, and what was seen before.
//!
//! Sequence arithmetic wraps: positions are only ever compared as distances from the next expected octet. Nothing in here emits
//! events or knows what the octets mean.

use std::collections::VecDeque;
use std::time::Duration;

use crate::decode::Stamp;
use crate::event::frame::{Frame, Mac};
use crate::event::{SourceId, Timestamp};

/// Farther from the expected octet nothing honest is: Linux lets a receive window grow to 6 MiB (tcp_rmem), routers use less.
/// RFC 7323 would allow 1 GiB, but then a forged segment would pass one time in two.
const WINDOW: u32 = 16 << 20;
/// Octets that may wait behind a hole: BGP speakers' windows are 16 to 64 KiB on routers, Linux's start at 64 KiB; more than this behind a hole means that the
/// capture lost the rest.
const HELD_OCTETS: usize = 256 * 1024;
/// Segments that may wait: as many octets in segments of 1 KiB, and an end to floods of tiny ones.
const HELD_SEGMENTS: usize = 256;
/// How long a hole may stay open: Linux retransmits after 200 ms, then doubles, so three tries fit.
const HOLE_PATIENCE: Duration = Duration::from_secs(2);
/// How long it may stay open once the receiver has acknowledged it: only a capture that mixes up the order of packets can still fill it.
const ACKED_PATIENCE: Duration = Duration::from_millis(10);
/// Copies of one frame on several interfaces of a host (bridge and port) lie microseconds apart, retransmissions a round trip at least.
const COPY_WINDOW: Duration = Duration::from_millis(1);
/// Segments remembered to know copies by: bursts in which interfaces take turns are seldom longer.
const REMEMBERED: usize = 16;

/// Where and how a segment was captured: differs between the copies of one frame that a host's interfaces see.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct CapturePoint {
    source: SourceId,
    ifindex: Option<u32>,
    vlan: Option<u16>,
    eth_dst: Option<Mac>,
    hop_limit: Option<u8>,
    outgoing: Option<bool>,
}

impl CapturePoint {
    pub fn new(frame: &Frame, source: SourceId) -> CapturePoint {
        CapturePoint {
            source,
            ifindex: frame.ifindex,
            vlan: frame.vlans[0],
            eth_dst: frame.eth_dst,
            hop_limit: frame.hop_limit,
            outgoing: frame.outgoing,
        }
    }
}

/// What tells segments apart.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Identity {
    pub seq: u32,
    pub len: u32,
    pub flags: u8,
}

#[derive(Copy, Clone, Debug)]
struct Seen {
    identity: Identity,
    at: Timestamp,
    point: CapturePoint,
    ip_id: u16,
}

/// Where a segment with payload lies.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Place {
    /// It brings the next octet; the first `skip` ones are old.
    Next { skip: u32 },
    /// All of it was seen before.
    Old,
    /// A keep-alive probe: one octet, or none, before the next (RFC 9293 §3.8.4).
    Probe,
    /// Octets before it are missing.
    Ahead,
    /// Implausibly far away.
    Stray,
}

/// A segment that came too early.
#[derive(Clone, Debug)]
pub struct Held {
    pub seq: u32,
    pub bytes: Box<[u8]>,
    /// Octets behind `bytes` that the capture cut off.
    pub missing: u32,
    pub frame: Frame,
    pub stamp: Stamp,
}

impl Held {
    fn len(&self) -> u32 {
        (self.bytes.len() as u32).saturating_add(self.missing)
    }
}

/// Whether a segment could be held.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Hold {
    Held,
    /// All of it is held already.
    Known,
    /// No room.
    Full,
}

/// One direction.
#[derive(Clone, Debug, Default)]
pub struct Half {
    /// Initial sequence number, where the SYN was seen.
    pub isn: Option<u32>,
    /// The next octet we expect.
    pub next: Option<u32>,
    /// How far the receiver acknowledged.
    pub acked: Option<u32>,
    /// Sequence number behind the last octet, once a FIN was seen.
    pub fin: Option<u32>,
    /// Its own receive window is closed.
    pub window_closed: bool,
    /// Longest payload so far.
    pub longest: u32,
    /// Payload was delivered.
    pub spoke: bool,
    /// The SYN itself carried payload, and nothing followed yet.
    pub spoke_with_syn: bool,
    /// Something was sent again or is missing, and no acknowledgement moved since.
    pub struggles: bool,
    held: VecDeque<Held>,
    held_octets: usize,
    hole_since: Timestamp,
    /// Where an implausible segment ended: a second one that goes on there is believed.
    stray: Option<u32>,
    seen: VecDeque<Seen>,
}

impl Half {
    /// Whether this segment is a copy of one just seen elsewhere; remembers it if not.
    pub fn is_copy(
        &mut self,
        identity: Identity,
        at: Timestamp,
        point: CapturePoint,
        ip_id: u16,
    ) -> bool {
        let copy = self.seen.iter().any(|seen| {
            seen.identity == identity
                && at.since(seen.at) <= COPY_WINDOW
                && (seen.point != point || (ip_id != 0 && seen.ip_id == ip_id))
        });
        if !copy {
            if self.seen.len() >= REMEMBERED {
                self.seen.pop_front();
            }
            self.seen.push_back(Seen {
                identity,
                at,
                point,
                ip_id,
            });
        }
        copy
    }

    /// Where `len` (more than 0) octets at `seq` lie.
    pub fn place(&self, seq: u32, len: u32) -> Place {
        let Some(next) = self.next else {
            return Place::Next { skip: 0 };
        };
        let ahead = seq.wrapping_sub(next);
        let back = next.wrapping_sub(seq);
        if ahead == 0 {
            Place::Next { skip: 0 }
        } else if ahead <= WINDOW {
            Place::Ahead
        } else if back > WINDOW {
            Place::Stray
        } else if back == 1 && self.spoke_with_syn && len > 1 {
            // Generated captures often send data with the SYN and forget that the SYN counts as one.
            Place::Next { skip: 0 }
        } else if back == 1 && len <= 1 {
            Place::Probe
        } else if len > back {
            Place::Next { skip: back }
        } else {
            Place::Old
        }
    }

    /// Whether a control segment at `seq` can be of this connection.
    pub fn is_plausible(&self, seq: u32) -> bool {
        self.next
            .is_none_or(|next| seq.wrapping_sub(next) <= WINDOW || next.wrapping_sub(seq) <= WINDOW)
    }

    /// `len` octets at `seq` were taken.
    pub fn advance(&mut self, seq: u32, len: u32) {
        self.next = Some(seq.wrapping_add(len));
        self.stray = None;
        self.spoke_with_syn = false;
    }

    /// Keeps a segment that came too early.
    pub fn hold(&mut self, segment: Held) -> Hold {
        let next = self.next.unwrap_or(segment.seq);
        let start = segment.seq.wrapping_sub(next);
        let end = start.saturating_add(segment.len());
        let at = self
            .held
            .partition_point(|held| held.seq.wrapping_sub(next) <= start);
        let covers = |held: &Held| held.seq.wrapping_sub(next).saturating_add(held.len()) >= end;
        if at
            .checked_sub(1)
            .and_then(|before| self.held.get(before))
            .is_some_and(covers)
        {
            return Hold::Known;
        }
        if self.held.len() >= HELD_SEGMENTS || self.held_octets + segment.bytes.len() > HELD_OCTETS
        {
            return Hold::Full;
        }
        if self.held.is_empty() {
            self.hole_since = segment.stamp.at;
        }
        self.held_octets += segment.bytes.len();
        self.held.insert(at, segment);
        Hold::Held
    }

    /// The next segment whose turn has come, with the number of its octets that are old.
    pub fn ready(&mut self) -> Option<(Held, u32)> {
        loop {
            let next = self.next?;
            let front = self.held.front()?;
            let skip = match next.wrapping_sub(front.seq) {
                back if back <= WINDOW => back,
                _ => return None, // still ahead
            };
            let held = self.held.pop_front()?;
            self.held_octets = self.held_octets.saturating_sub(held.bytes.len());
            if skip < held.len() {
                return Some((held, skip));
            }
        }
    }

    /// After segments were taken: what is still held waits at a newer hole.
    pub fn renew_hole(&mut self, at: Timestamp) {
        self.hole_since = at;
    }

    /// Gives up the first hole: the octets that are missing, and when and where the segment behind it was seen.
    pub fn give_up(&mut self) -> Option<(u32, Stamp)> {
        let front = self.held.front()?;
        let lost = front.seq.wrapping_sub(self.next.unwrap_or(front.seq));
        let stamp = front.stamp;
        self.next = Some(front.seq);
        Some((lost, stamp))
    }

    /// Until when the open hole is waited for, if there is one.
    pub fn deadline(&self) -> Option<Timestamp> {
        let front = self.held.front()?;
        let acked = self
            .acked
            .is_some_and(|acked| acked.wrapping_sub(front.seq) <= WINDOW);
        let patience = if acked { ACKED_PATIENCE } else { HOLE_PATIENCE };
        Some(self.hole_since + patience)
    }

    /// An implausible segment: believed, and true, when it continues the one before.
    pub fn resynchronise(&mut self, seq: u32, len: u32) -> bool {
        if self.stray == Some(seq) {
            self.held.clear();
            self.held_octets = 0;
            self.next = Some(seq);
            self.stray = None;
            true
        } else {
            self.stray = Some(seq.wrapping_add(len));
            false
        }
    }

    /// Takes the receiver's acknowledgement; whether it moved forward.
    pub fn acknowledge(&mut self, ack: u32) -> bool {
        let Some(acked) = self.acked else {
            self.acked = Some(ack);
            return false;
        };
        let forward = ack.wrapping_sub(acked);
        if forward == 0 || acked.wrapping_sub(ack) <= WINDOW {
            return false;
        }
        self.acked = Some(ack);
        forward <= WINDOW
    }

    /// Whether exactly one segment is held: the hole before it is new.
    pub fn holds_one(&self) -> bool {
        self.held.len() == 1
    }

    /// Octets that are held.
    pub fn held_octets(&self) -> usize {
        self.held_octets
    }

    /// Whether the sender's last octet was taken.
    pub fn is_finished(&self) -> bool {
        self.fin.is_some() && self.fin == self.next
    }
}
