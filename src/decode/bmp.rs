//! BMP version 3 messages (RFC 7854, 8671, 9069) to words.
//!
//! Owns one whole message and what Peer Ups said about the encoding of each peer's routes; framing is `framing`'s business. The table
//! of peers is bounded by [`MAX_PEERS`].

use std::net::IpAddr;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::bgp::infer::{INFERENCE_WEIGHT, Inference, recorded};
use super::bgp::{self, Cursor, Encoding, FamilySet, Offer, damaged};
use crate::event::bgp::{BgpMessage, Notification, Open, Update};
use crate::event::bmp::{BmpMessage, PerPeer, Rib};
use crate::event::loss::{Malformed, Protocol};
use crate::event::{Timestamp, WireText};

/// Version, length, type (RFC 7854 §4.1).
pub const COMMON_HEADER: usize = 6;
/// RFC 7854 §4.2.
pub const PER_PEER_HEADER: usize = 42;
/// Local address, ports (RFC 7854 §4.10).
pub(crate) const PEER_UP_FIXED: usize = 20;

/// Message types.
pub(crate) const ROUTE_MONITORING: u8 = 0;
const STATISTICS: u8 = 1;
const PEER_DOWN: u8 = 2;
pub(crate) const PEER_UP: u8 = 3;
pub(crate) const INITIATION: u8 = 4;
pub(crate) const TERMINATION: u8 = 5;
const ROUTE_MIRRORING: u8 = 6;

/// Peer types: global, RD, local (RFC 7854), Loc-RIB (RFC 9069).
pub(crate) const MAX_PEER_TYPE: u8 = LOC_RIB;
const LOC_RIB: u8 = 3;

/// Peer Down reason of RFC 9069 §5.3, and the TLV in it that names the VRF or table.
const TLV_FOLLOWS: u8 = 6;
const TABLE_NAME: u16 = 3;

/// Longest message admitted: two extended BGP messages (a Peer Up, a mirrored pair) and as much again for TLVs. RFC 7854 sets no
/// limit, but a length beyond this is damage, and would make us wait for it.
pub const MAX_MESSAGE: usize = 4 * 65_536;

/// Peers whose encoding is remembered: ten times what the largest route servers have, at some 100 octets each.
const MAX_PEERS: usize = 10_000;
/// Peers for which encodings are inferred (no Peer Up seen, or ADD-PATH in doubt): each costs up to 30 kB.
const MAX_INFERRED: usize = 256;

/// Type and length of the message that begins here. `Err(Some(n))`: n octets are needed to tell; `Err(None)`: none begins here.
pub fn head(bytes: &[u8]) -> Result<(u8, usize), Option<usize>> {
    match bytes.first() {
        Some(3) | None => {}
        Some(_) => return Err(None),
    }
    let Some(&[_, a, b, c, d, kind]) = bytes.first_chunk::<COMMON_HEADER>() else {
        return Err(Some(COMMON_HEADER));
    };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| None)?;
    let with_peer = COMMON_HEADER + PER_PEER_HEADER;
    let least = match kind {
        ROUTE_MONITORING => with_peer + bgp::HEADER,
        STATISTICS => with_peer + 4,
        PEER_DOWN => with_peer + 1,
        PEER_UP => with_peer + PEER_UP_FIXED,
        INITIATION | TERMINATION => COMMON_HEADER,
        ROUTE_MIRRORING => with_peer,
        _ => return Err(None),
    };
    (least..=MAX_MESSAGE)
        .contains(&length)
        .then_some((kind, length))
        .ok_or(None)
}

/// Decodes the messages of one BMP connection.
#[derive(Clone, Debug, Default)]
pub struct BmpDecoder {
    /// Looked up only, never listed.
    peers: HashMap<PeerKey, Peer, RandomState>,
    inferred: usize,
    full: bool,
}

type PeerKey = (u8, u64, IpAddr);

/// How routes of a peer are written: those it sent, and those sent to it (Adj-RIB-Out).
#[derive(Clone, Debug, Default)]
struct Peer {
    received: Encoding,
    sent: Encoding,
    inference: Option<Box<Inference>>,
}

impl BmpDecoder {
    /// Octets that a copy takes, roughly.
    pub fn weight(&self) -> usize {
        /// A peer's key and its encodings.
        const PEER: usize = 200;
        self.peers.len() * PEER + self.inferred * INFERENCE_WEIGHT
    }

    /// The table of peers was full when another came.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Decodes one whole message other than Route Monitoring.
    pub fn message(&mut self, bytes: &[u8]) -> Result<(Option<PerPeer>, BmpMessage), Malformed> {
        let bad = |why: &str| damaged(Protocol::Bmp, bytes, why);
        let mut cursor = Cursor(bytes);
        let kind = (|| {
            cursor.take(COMMON_HEADER - 1)?;
            cursor.u8()
        })()
        .ok_or_else(|| bad("shorter than a BMP header"))?;
        match kind {
            INITIATION => return Ok((None, initiation(cursor))),
            TERMINATION => return Ok((None, termination(cursor))),
            STATISTICS | PEER_DOWN | PEER_UP | ROUTE_MIRRORING => {}
            other => return Ok((None, BmpMessage::Unknown(other))),
        }
        let peer = per_peer(&mut cursor).ok_or_else(|| bad("per-peer header is cut or unknown"))?;
        let message = match kind {
            STATISTICS => statistics(cursor).ok_or_else(|| bad("statistics exceed the message")),
            PEER_DOWN => self
                .peer_down(&peer, cursor)
                .ok_or_else(|| bad("Peer Down without what its reason demands")),
            PEER_UP => self.peer_up(&peer, cursor),
            _ => Ok(mirroring(cursor)),
        }?;
        Ok((Some(peer), message))
    }

    /// Decodes one whole Route Monitoring message into `update`.
    pub fn routes(&mut self, bytes: &[u8], update: &mut Update) -> Result<PerPeer, Malformed> {
        let bad = |why: &str| damaged(Protocol::Bmp, bytes, why);
        let mut cursor = Cursor(bytes);
        cursor.take(COMMON_HEADER);
        let peer = per_peer(&mut cursor).ok_or_else(|| bad("per-peer header is cut or unknown"))?;
        let outgoing = matches!(peer.rib, Rib::AdjOutPre | Rib::AdjOutPost);
        let known = self.peers.get_mut(&key(&peer));
        let mut encoding = match &known {
            Some(known) if outgoing => known.sent,
            Some(known) => known.received,
            None => Encoding::default(),
        };
        // RFC 7854 §4.2: the A flag speaks for this message, whatever was negotiated. Routers convert to four octets otherwise.
        encoding.as4 = Some(!peer.legacy_as_path);
        encoding.reported = true;
        // FRR negotiates ADD-PATH with its peers and leaves the identifiers out of BMP: only the octets tell.
        let sure = encoding.add_path.is_some_and(FamilySet::is_empty);
        let doubted = known.is_some_and(|known| known.inference.is_some());
        // Others write identifiers that no OPEN in the Peer Up offers.
        if sure && !doubted && !recorded(cursor.0, &encoding, update)? {
            return Ok(peer);
        }
        if sure {
            encoding.add_path = None;
        }
        match self.inference(&peer) {
            Some(inference) => inference.recorded(cursor.0, &encoding, true, update)?,
            None => {
                recorded(cursor.0, &encoding, update)?;
            }
        }
        Ok(peer)
    }

    /// The peer's inference, if there is room for one.
    fn inference(&mut self, peer: &PerPeer) -> Option<&mut Inference> {
        let room = self.inferred < MAX_INFERRED;
        let entry = self.entry(peer)?;
        let fresh = entry.inference.is_none();
        if fresh && !room {
            return None;
        }
        if fresh {
            entry.inference = Some(Box::default());
            self.inferred += 1;
        }
        self.peers
            .get_mut(&key(peer))
            .and_then(|entry| entry.inference.as_deref_mut())
    }

    fn entry(&mut self, peer: &PerPeer) -> Option<&mut Peer> {
        let key = key(peer);
        if !self.peers.contains_key(&key) && self.peers.len() >= MAX_PEERS {
            self.full = true;
            return None;
        }
        Some(self.peers.entry(key).or_default())
    }

    /// Peer Up (RFC 7854 §4.10): the OPENs say how this peer's routes will be written.
    fn peer_up(&mut self, peer: &PerPeer, cursor: Cursor<'_>) -> Result<BmpMessage, Malformed> {
        let bytes = cursor.0;
        let (local, local_port, remote_port, opens) = peer_up_fixed(peer, cursor)
            .ok_or_else(|| damaged(Protocol::Bmp, bytes, "Peer Up shorter than its fixed part"))?;
        let (sent_open, rest) = open(opens)?;
        let (received_open, _) = open(rest)?;
        let (sent, received) = (offer(&sent_open), offer(&received_open));
        self.forget(peer);
        if let Some(entry) = self.entry(peer) {
            entry.received = Encoding::negotiated(received.as_ref(), sent.as_ref());
            entry.sent = Encoding::negotiated(sent.as_ref(), received.as_ref());
        }
        Ok(BmpMessage::PeerUp {
            local,
            local_port,
            remote_port,
            sent_open,
            received_open,
        })
    }

    /// Peer Down (RFC 7854 §4.9).
    fn peer_down(&mut self, peer: &PerPeer, mut cursor: Cursor<'_>) -> Option<BmpMessage> {
        self.forget(peer);
        let reason = cursor.u8()?;
        let fsm_event = match reason {
            2 => Some(cursor.u16()?),
            _ => None,
        };
        let notification = match reason {
            1 | 3 => notification(cursor.0),
            _ => None,
        };
        let mut table = None;
        while let Some((kind, value)) = tlv(&mut cursor).filter(|_| reason == TLV_FOLLOWS) {
            if kind == TABLE_NAME {
                table.get_or_insert_with(|| WireText::new(value));
            }
        }
        Some(BmpMessage::PeerDown {
            reason,
            fsm_event,
            notification,
            table,
        })
    }

    fn forget(&mut self, peer: &PerPeer) {
        if let Some(old) = self.peers.remove(&key(peer))
            && old.inference.is_some()
        {
            self.inferred = self.inferred.saturating_sub(1);
        }
    }
}

fn key(peer: &PerPeer) -> PeerKey {
    (peer.peer_type, peer.distinguisher, peer.addr)
}

/// The per-peer header (RFC 7854 §4.2; O flag RFC 8671 §4; F flag RFC 9069 §4.2).
fn per_peer(cursor: &mut Cursor<'_>) -> Option<PerPeer> {
    const V6: u8 = 0x80;
    const POST_POLICY: u8 = 0x40;
    const LEGACY_AS_PATH: u8 = 0x20;
    const ADJ_RIB_OUT: u8 = 0x10;
    const FILTERED: u8 = 0x80; // in place of V for Loc-RIB peers
    let peer_type = cursor.u8()?;
    if peer_type > MAX_PEER_TYPE {
        return None;
    }
    let flags = cursor.u8()?;
    let distinguisher = cursor.u64()?;
    let addr = address(cursor, peer_type != LOC_RIB && flags & V6 != 0)?;
    let asn = cursor.u32()?;
    let router_id = cursor.u32()?;
    let (seconds, micros) = (cursor.u32()?, cursor.u32()?);
    let set = |flag| flags & flag != 0;
    let rib = if peer_type == LOC_RIB {
        if set(FILTERED) {
            Rib::LocFiltered
        } else {
            Rib::Loc
        }
    } else {
        match (set(ADJ_RIB_OUT), set(POST_POLICY)) {
            (false, false) => Rib::AdjInPre,
            (false, true) => Rib::AdjInPost,
            (true, false) => Rib::AdjOutPre,
            (true, true) => Rib::AdjOutPost,
        }
    };
    Some(PerPeer {
        peer_type,
        rib,
        distinguisher,
        addr,
        asn,
        router_id,
        legacy_as_path: peer_type != LOC_RIB && set(LEGACY_AS_PATH),
        stamp: Timestamp::from_parts(i64::from(seconds), i64::from(micros) * 1000),
    })
}

/// A 16-octet address field: IPv4 addresses stand in its last four octets.
fn address(cursor: &mut Cursor<'_>, v6: bool) -> Option<IpAddr> {
    if v6 {
        return cursor.v6();
    }
    cursor.take(12)?;
    cursor.v4()
}

type PeerUpFixed<'a> = (IpAddr, u16, u16, &'a [u8]);

fn peer_up_fixed<'a>(peer: &PerPeer, mut cursor: Cursor<'a>) -> Option<PeerUpFixed<'a>> {
    let local = address(&mut cursor, peer.addr.is_ipv6())?;
    Some((local, cursor.u16()?, cursor.u16()?, cursor.0))
}

/// The OPEN that begins here, and what follows it. FRR writes an OPEN that it does not have as a bare header: it becomes an empty
/// [`Open`] (version 0).
fn open(bytes: &[u8]) -> Result<(Box<Open>, &[u8]), Malformed> {
    let (kind, body) = bgp::split(bytes)?;
    let rest = bytes.get(bgp::HEADER + body.len()..).unwrap_or_default();
    if kind == bgp::OPEN && body.is_empty() {
        return Ok((Box::default(), rest));
    }
    let mut message = BgpMessage::Keepalive;
    bgp::message(bytes, &Encoding::default(), &mut message)?;
    match message {
        BgpMessage::Open(open) => Ok((open, rest)),
        _ => Err(damaged(Protocol::Bmp, bytes, "Peer Up without its OPENs")),
    }
}

/// What an OPEN offers; `None` for an empty one.
fn offer(open: &Open) -> Option<Offer> {
    (open.version != 0).then(|| Offer::of(open))
}

fn notification(bytes: &[u8]) -> Option<Notification> {
    let mut message = BgpMessage::Keepalive;
    bgp::message(bytes, &Encoding::default(), &mut message).ok()?;
    match message {
        BgpMessage::Notification(notification) => Some(notification),
        _ => None,
    }
}

/// The next TLV; `None` at the end or where one is cut.
fn tlv<'a>(cursor: &mut Cursor<'a>) -> Option<(u16, &'a [u8])> {
    Some((cursor.u16()?, cursor.counted16()?))
}

fn initiation(mut cursor: Cursor<'_>) -> BmpMessage {
    let (mut sys_name, mut sys_descr, mut text) = (None, None, None);
    while let Some((kind, value)) = tlv(&mut cursor) {
        let slot = match kind {
            0 => &mut text,
            1 => &mut sys_descr,
            2 => &mut sys_name,
            _ => continue,
        };
        // Strings may repeat (RFC 7854 §4.4); the first is kept.
        slot.get_or_insert_with(|| WireText::new(value));
    }
    BmpMessage::Initiation {
        sys_name,
        sys_descr,
        text,
    }
}

fn termination(mut cursor: Cursor<'_>) -> BmpMessage {
    let (mut reason, mut text) = (None, None);
    while let Some((kind, value)) = tlv(&mut cursor) {
        match (kind, value) {
            (0, value) => text = Some(WireText::new(value)),
            (1, &[high, low]) => reason = Some(u16::from_be_bytes([high, low])),
            _ => {}
        }
    }
    BmpMessage::Termination { reason, text }
}

/// Statistics (RFC 7854 §4.8): 32-bit counters, 64-bit gauges, and gauges behind a family.
fn statistics(mut cursor: Cursor<'_>) -> Option<BmpMessage> {
    let count = cursor.u32()?;
    let (mut counters, mut family_counters) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (kind, value) = tlv(&mut cursor)?;
        let mut value = Cursor(value);
        match value.0.len() {
            4 => counters.push((kind, u64::from(value.u32()?))),
            8 => counters.push((kind, value.u64()?)),
            11 => family_counters.push((kind, value.u16()?, value.u8()?, value.u64()?)),
            _ => {}
        }
    }
    Some(BmpMessage::Statistics {
        counters,
        family_counters,
    })
}

/// Route Mirroring (RFC 7854 §4.7): type 0 a BGP message, type 1 information (1: messages lost).
fn mirroring(mut cursor: Cursor<'_>) -> BmpMessage {
    let (mut bgp_type, mut lost) = (None, false);
    while let Some((kind, value)) = tlv(&mut cursor) {
        match kind {
            0 => bgp_type = value.get(bgp::HEADER - 1).copied(),
            1 => lost |= value == [0, 1],
            _ => {}
        }
    }
    BmpMessage::RouteMirroring { bgp_type, lost }
}
