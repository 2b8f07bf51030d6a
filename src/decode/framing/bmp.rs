//! One BMP stream: octets to messages, events with the router's name.

use std::net::SocketAddr;

use super::splitter::{Begin, Found, Head, Rules, Splitter};
use super::tcp_gap;
use crate::decode::bgp::damaged;
use crate::decode::bmp::{self, BmpDecoder, COMMON_HEADER, PER_PEER_HEADER};
use crate::decode::{Emit, Stamp};
use crate::event::bmp::{BmpEvent, BmpMessage};
use crate::event::loss::{Gap, GapKind, Protocol};
use crate::event::{Event, EventKind, Timestamp, WireText};

/// Messages in a row that must look like BMP after a loss. One header has 48 bits of which some 24 are fixed; two agree by
/// accident once in 2^48.
const CHAIN: usize = 2;

/// Where the peer's address stands: behind common header, type, flags and distinguisher.
const ADDRESS_AT: usize = COMMON_HEADER + 10;

/// One connection of a router to a BMP station.
#[derive(Clone, Debug)]
pub struct BmpStream {
    router: Option<SocketAddr>,
    connection: u32,
    splitter: Splitter,
    decoder: BmpDecoder,
    /// The event of Route Monitoring, reused.
    routes: Option<Event>,
    last: Option<Timestamp>,
    /// The peer table's being full was told.
    full_told: bool,
}

impl BmpStream {
    /// Octets that a copy takes, roughly.
    pub fn weight(&self) -> usize {
        self.decoder.weight()
    }

    /// `connection` counts the connections of this router from 1.
    pub fn new(router: Option<SocketAddr>, connection: u32) -> BmpStream {
        BmpStream {
            router,
            connection,
            splitter: Splitter::default(),
            decoder: BmpDecoder::default(),
            routes: None,
            last: None,
            full_told: false,
        }
    }

    /// Takes the next octets, in order, in any cut.
    pub fn data(&mut self, bytes: &[u8], stamp: &Stamp, emit: Emit<'_>) {
        self.last = Some(stamp.at);
        let mut splitter = std::mem::take(&mut self.splitter);
        splitter.feed(bytes, &BmpRules, |found| match found {
            Found::Message(bytes) => self.message(bytes, stamp, emit),
            Found::Damage(bytes) => {
                let malformed = damaged(Protocol::Bmp, bytes, "not a BMP header where one must be");
                emit(&stamp.event(EventKind::Malformed(Box::new(malformed))));
            }
        });
        self.splitter = splitter;
        if self.decoder.is_full() && !self.full_told {
            self.full_told = true;
            emit(&stamp.event(EventKind::Gap(Box::new(Gap {
                kind: GapKind::StateFull,
                from: stamp.at,
                to: stamp.at,
                lost: None,
                detail: WireText::from(
                    "more BMP peers than are tracked; the encoding of the others' routes is assumed",
                ),
            }))));
        }
    }

    /// Octets are missing.
    pub fn lost(&mut self, octets: Option<u64>, stamp: &Stamp, emit: Emit<'_>) {
        self.splitter.lose();
        emit(&tcp_gap(stamp, self.last, octets, "a BMP stream"));
        self.last = Some(stamp.at);
    }

    /// The connection ended.
    pub fn closed(&mut self, stamp: &Stamp, emit: Emit<'_>) {
        self.splitter.lose();
        self.emit_plain(BmpMessage::Disconnected, None, stamp, emit);
    }

    fn message(&mut self, bytes: &[u8], stamp: &Stamp, emit: Emit<'_>) {
        if bytes.get(COMMON_HEADER - 1) == Some(&bmp::ROUTE_MONITORING) {
            self.routes(bytes, stamp, emit);
            return;
        }
        match self.decoder.message(bytes) {
            Ok((peer, message)) => {
                // RFC 7854 §4.3: it is the first message of a connection.
                if matches!(message, BmpMessage::Initiation { .. }) {
                    self.emit_plain(BmpMessage::Connected, None, stamp, emit);
                }
                self.emit_plain(message, peer, stamp, emit);
            }
            Err(malformed) => emit(&stamp.event(EventKind::Malformed(Box::new(malformed)))),
        }
    }

    fn routes(&mut self, bytes: &[u8], stamp: &Stamp, emit: Emit<'_>) {
        let event = self.routes.get_or_insert_with(|| {
            stamp.event(EventKind::Bmp(Box::new(BmpEvent {
                router: self.router,
                connection: self.connection,
                peer: None,
                message: BmpMessage::RouteMonitoring(Box::default()),
            })))
        });
        event.at = stamp.at;
        event.source = stamp.source;
        event.locator = stamp.locator;
        let EventKind::Bmp(body) = &mut event.kind else {
            return;
        };
        let BmpMessage::RouteMonitoring(update) = &mut body.message else {
            return;
        };
        match self.decoder.routes(bytes, update) {
            Ok(peer) => {
                event.origin_at = origin(peer.stamp);
                body.peer = Some(peer);
                emit(event);
            }
            Err(malformed) => emit(&stamp.event(EventKind::Malformed(Box::new(malformed)))),
        }
    }

    fn emit_plain(
        &self,
        message: BmpMessage,
        peer: Option<crate::event::bmp::PerPeer>,
        stamp: &Stamp,
        emit: Emit<'_>,
    ) {
        let mut event = stamp.event(EventKind::Bmp(Box::new(BmpEvent {
            router: self.router,
            connection: self.connection,
            peer,
            message,
        })));
        event.origin_at = peer.and_then(|peer| origin(peer.stamp));
        emit(&event);
    }
}

/// The per-peer stamp; zero means that the router has none (RFC 7854 §4.2).
fn origin(stamp: Timestamp) -> Option<Timestamp> {
    (stamp != Timestamp(0)).then_some(stamp)
}

/// Whether a segment's payload begins with a BMP message, and goes on with another where it is long enough. Strict: it decides
/// which TCP connections are followed at all.
pub fn looks_like_bmp(payload: &[u8]) -> bool {
    if payload.len() < COMMON_HEADER || is_tpkt(payload) || begin(payload) == Begin::No {
        return false;
    }
    // A header that is alone proves nothing: what it promises must be there, or enough of it to be checked.
    match bmp::head(payload) {
        Ok((_, length)) => payload.len() >= length.min(COMMON_HEADER + PER_PEER_HEADER),
        Err(_) => false,
    }
}

/// ISO transport over TCP (RFC 1006 §6: 3, 0, a length of 16 bits) begins like BMP: remote desktop, S7comm, MMS, H.323. Its packets fill segments
/// exactly; as a BMP length the same octets promise 256 times as much.
fn is_tpkt(payload: &[u8]) -> bool {
    let mut rest = payload;
    while let Some(&[3, 0, high, low]) = rest.first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        match rest.get(length..) {
            Some([]) => return true,
            Some(more) if length >= 7 => rest = more,
            _ => return false,
        }
    }
    false
}

/// Whether [`CHAIN`] messages begin here, or fewer that end exactly with the octets.
fn begin(bytes: &[u8]) -> Begin {
    let mut at = 0;
    for _ in 0..CHAIN {
        let Some(rest) = bytes.get(at..) else {
            return Begin::Unknown;
        };
        if rest.is_empty() && at > 0 {
            return Begin::Yes;
        }
        match bmp::head(rest) {
            Ok((kind, length)) => {
                if !consistent(kind, rest) {
                    return Begin::No;
                }
                at = at.saturating_add(length);
            }
            Err(Some(_)) => return Begin::Unknown,
            Err(None) => return Begin::No,
        }
    }
    Begin::Yes
}

/// What else a message of this type must show, as far as it is there: a known peer type, and a marker where a BGP message begins.
fn consistent(kind: u8, bytes: &[u8]) -> bool {
    let peer_type = bytes.get(COMMON_HEADER);
    let per_peer = !matches!(kind, bmp::INITIATION | bmp::TERMINATION);
    if per_peer && peer_type.is_some_and(|peer_type| *peer_type > bmp::MAX_PEER_TYPE) {
        return false;
    }
    // RFC 7854 §4.2: an IPv4 address stands in the last four octets, behind zeros; the V flag is the highest.
    let v4 = bytes
        .get(COMMON_HEADER + 1)
        .is_some_and(|flags| flags & 0x80 == 0);
    let address = bytes.get(ADDRESS_AT..).unwrap_or_default();
    if per_peer && v4 && address.iter().take(12).any(|octet| *octet != 0) {
        return false;
    }
    let marker_at = COMMON_HEADER
        + PER_PEER_HEADER
        + match kind {
            bmp::ROUTE_MONITORING => 0,
            bmp::PEER_UP => bmp::PEER_UP_FIXED,
            _ => return true,
        };
    bytes
        .get(marker_at..)
        .unwrap_or_default()
        .iter()
        .take(16)
        .all(|octet| *octet == 0xff)
}

#[derive(Clone)]
struct BmpRules;

impl Rules for BmpRules {
    fn head(&self, bytes: &[u8]) -> Head {
        match bmp::head(bytes) {
            Ok((_, length)) => Head::Message(length),
            Err(Some(needed)) => Head::Short(needed),
            Err(None) => Head::Not,
        }
    }

    fn begin(&self, bytes: &[u8]) -> Begin {
        begin(bytes)
    }
}
