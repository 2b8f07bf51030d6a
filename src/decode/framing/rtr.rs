//! One RTR session: both directions' octets to PDUs, prefix PDUs that come together to one event.

use std::net::SocketAddr;

use super::splitter::{Begin, Found, Head, Rules, Splitter};
use super::tcp_gap;
use crate::decode::bgp::damaged;
use crate::decode::rtr::{self, HEADER, kind};
use crate::decode::{Emit, Stamp};
use crate::event::loss::Protocol;
use crate::event::rtr::{RtrEvent, RtrMessage, VrpChange};
use crate::event::{EventKind, Timestamp, WireText};

/// PDUs in a row that must look like RTR after a loss: each header has at least 40 fixed bits.
const CHAIN: usize = 2;
/// Prefix messages in one event: what one segment of a recording holds (61,440 octets of 20).
const BATCH: usize = 3072;

/// One connection of a router to a cache.
#[derive(Clone, Debug)]
pub struct RtrStream {
    cache: SocketAddr,
    router: Option<SocketAddr>,
    /// From the router, from the cache.
    splitters: [Splitter; 2],
    version: u8,
    batch: Vec<VrpChange>,
    last: Option<Timestamp>,
}

impl RtrStream {
    /// A connection of `router` (`None`: of ourselves).
    pub fn new(cache: SocketAddr, router: Option<SocketAddr>) -> RtrStream {
        RtrStream {
            cache,
            router,
            splitters: Default::default(),
            version: 0,
            batch: Vec::new(),
            last: None,
        }
    }

    /// The connection was accepted.
    pub fn connected(&mut self, stamp: &Stamp, emit: Emit<'_>) {
        self.emit(RtrMessage::Connected, stamp, emit);
    }

    /// Takes the next octets of one direction, in order, in any cut.
    pub fn data(&mut self, from_cache: bool, bytes: &[u8], stamp: &Stamp, emit: Emit<'_>) {
        self.last = Some(stamp.at);
        let Some(place) = self.splitters.get_mut(usize::from(from_cache)) else {
            return;
        };
        let mut splitter = std::mem::take(place);
        splitter.feed(bytes, &RtrRules { from_cache }, |found| match found {
            Found::Message(pdu) => self.pdu(from_cache, pdu, stamp, emit),
            Found::Damage(bytes) => {
                self.flush(stamp, emit);
                let malformed = damaged(Protocol::Rtr, bytes, "no RTR header where one must be");
                emit(&stamp.event(EventKind::Malformed(Box::new(malformed))));
                // What the cache said in the octets that are skipped now is unknown.
                self.emit(RtrMessage::Lost, stamp, emit);
            }
        });
        self.flush(stamp, emit);
        if let Some(place) = self.splitters.get_mut(usize::from(from_cache)) {
            *place = splitter;
        }
    }

    /// Octets are missing.
    pub fn lost(&mut self, from_cache: bool, octets: Option<u64>, stamp: &Stamp, emit: Emit<'_>) {
        if let Some(splitter) = self.splitters.get_mut(usize::from(from_cache)) {
            splitter.lose();
        }
        emit(&tcp_gap(stamp, self.last, octets, "an RTR session"));
        self.emit(RtrMessage::Lost, stamp, emit);
        self.last = Some(stamp.at);
    }

    /// The connection ended, or was given up by us (`seen` is false: nobody knows how it goes on).
    pub fn closed(&mut self, seen: bool, why: Option<WireText>, stamp: &Stamp, emit: Emit<'_>) {
        self.splitters.iter_mut().for_each(Splitter::lose);
        let message = if seen {
            RtrMessage::Disconnected { why }
        } else {
            RtrMessage::Lost
        };
        self.emit(message, stamp, emit);
    }

    fn pdu(&mut self, from_cache: bool, pdu: &[u8], stamp: &Stamp, emit: Emit<'_>) {
        self.version = pdu.first().copied().unwrap_or_default();
        let message = match rtr::prefix(pdu) {
            Some(Ok(change)) => {
                self.batch.push(change);
                if self.batch.len() >= BATCH {
                    self.flush(stamp, emit);
                }
                return;
            }
            Some(Err(malformed)) => Err(malformed),
            None => rtr::message(pdu, from_cache),
        };
        self.flush(stamp, emit);
        match message {
            Ok(message) => self.emit(message, stamp, emit),
            Err(malformed) => emit(&stamp.event(EventKind::Malformed(Box::new(malformed)))),
        }
    }

    fn flush(&mut self, stamp: &Stamp, emit: Emit<'_>) {
        if !self.batch.is_empty() {
            let batch = std::mem::take(&mut self.batch);
            self.emit(RtrMessage::Prefixes(batch), stamp, emit);
        }
    }

    fn emit(&self, message: RtrMessage, stamp: &Stamp, emit: Emit<'_>) {
        emit(&stamp.event(EventKind::Rtr(Box::new(RtrEvent {
            cache: self.cache,
            router: self.router,
            version: self.version,
            message,
        }))));
    }
}

/// Whether a segment's payload is RTR from its begin on, and who sent it then: `Some(true)` is the cache. Strict, as it decides which
/// connections are followed at all: either it ends exactly with a PDU, or two PDUs and more chain.
pub fn looks_like_rtr(payload: &[u8]) -> Option<bool> {
    if begin(payload, None) != Begin::Yes {
        return None;
    }
    let kind = *payload.get(1)?;
    // Sessions begin with a query or go on with what a cache sends; an Error Report alone tells nobody's place.
    Some(!rtr::from_router(kind)?)
}

/// Whether [`CHAIN`] PDUs begin here, or fewer that end exactly with the octets.
fn begin(bytes: &[u8], from_cache: Option<bool>) -> Begin {
    let mut at = 0;
    let version = bytes.first();
    for _ in 0..CHAIN {
        let Some(rest) = bytes.get(at..) else {
            return Begin::Unknown;
        };
        if rest.is_empty() && at > 0 {
            return Begin::Yes;
        }
        match rtr::head(rest) {
            Ok((kind, length)) => {
                let other = from_cache
                    .zip(rtr::from_router(kind))
                    .is_some_and(|(cache, router)| cache == router);
                if other || rest.first() != version || !consistent(kind, rest) {
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

/// What else a PDU of this type must show: fields that are zero, flags and lengths that can be.
fn consistent(kind: u8, pdu: &[u8]) -> bool {
    let zero = pdu.get(2..4) == Some(&[0, 0]);
    match kind {
        kind::RESET_QUERY | kind::CACHE_RESET => zero,
        kind::IPV4_PREFIX | kind::IPV6_PREFIX => {
            zero && pdu.get(8).is_none_or(|flags| *flags <= 1)
                && pdu.get(11).is_none_or(|zero| *zero == 0)
                && !matches!(rtr::prefix(pdu), Some(Err(_)))
        }
        _ => true,
    }
}

#[derive(Clone)]
struct RtrRules {
    from_cache: bool,
}

impl Rules for RtrRules {
    fn head(&self, bytes: &[u8]) -> Head {
        match rtr::head(bytes) {
            Ok((kind, length)) => {
                // A PDU that only the other end may send.
                if rtr::from_router(kind) == Some(self.from_cache) {
                    Head::Not
                } else {
                    Head::Message(length)
                }
            }
            Err(Some(needed)) => Head::Short(needed.max(HEADER)),
            Err(None) => Head::Not,
        }
    }

    fn begin(&self, bytes: &[u8]) -> Begin {
        begin(bytes, Some(self.from_cache))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::source::Unit;
    use crate::event::{InputId, Locator, SourceId};

    fn stamp() -> Stamp {
        Stamp {
            at: Timestamp(1),
            source: SourceId(0),
            locator: Locator {
                input: InputId(0),
                unit: Unit::Frame,
                number: 1,
                offset: 0,
            },
        }
    }

    fn pdu(kind: u8, field: u16, body: &[u8]) -> Vec<u8> {
        let mut pdu = vec![1, kind];
        pdu.extend(field.to_be_bytes());
        pdu.extend((8 + body.len() as u32).to_be_bytes());
        pdu.extend_from_slice(body);
        pdu
    }

    fn answer() -> Vec<u8> {
        let mut octets = pdu(kind::CACHE_RESPONSE, 7, &[]);
        for third in 0..5 {
            let body = [1, 24, 24, 0, 198, 51, third, 0, 0, 0, 0xfd, 0xe8];
            octets.extend(pdu(kind::IPV4_PREFIX, 0, &body));
        }
        let timers = [0u32, 9, 3600, 600, 7200].map(u32::to_be_bytes).concat();
        octets.extend(pdu(kind::END_OF_DATA, 7, timers.get(4..).unwrap()));
        octets
    }

    fn words(events: &[EventKind]) -> Vec<String> {
        let word = |kind: &EventKind| match kind {
            EventKind::Rtr(rtr) => match &rtr.message {
                RtrMessage::Prefixes(changes) => format!("{} prefixes", changes.len()),
                other => format!("{other:?}"),
            },
            other => format!("{:?}", other.class()),
        };
        events.iter().map(word).collect()
    }

    fn run(cut: usize, octets: &[u8]) -> Vec<EventKind> {
        let cache = "192.0.2.1:323".parse().unwrap();
        let mut stream = RtrStream::new(cache, None);
        let mut events = Vec::new();
        for piece in octets.chunks(cut) {
            stream.data(true, piece, &stamp(), &mut |event| {
                events.push(event.kind.clone())
            });
        }
        events
    }

    #[test]
    fn an_answer_says_the_same_in_any_cut() {
        let octets = answer();
        let whole = words(&run(octets.len(), &octets));
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[1], "5 prefixes");
        let changes = |events: &[EventKind]| -> usize {
            let count = |kind: &EventKind| match kind {
                EventKind::Rtr(rtr) => match &rtr.message {
                    RtrMessage::Prefixes(changes) => changes.len(),
                    _ => 0,
                },
                _ => panic!("{kind:?}"),
            };
            events.iter().map(count).sum()
        };
        for cut in 1..octets.len() {
            assert_eq!(changes(&run(cut, &octets)), 5, "cut {cut}");
        }
    }

    #[test]
    fn garbage_is_told_and_the_next_chain_is_found_again() {
        let mut octets = answer();
        octets.extend([9, 9, 9]);
        octets.extend(answer());
        let words = words(&run(octets.len(), &octets));
        assert!(words.contains(&"Lost".to_owned()), "{words:?}");
        assert_eq!(words.last(), run_last(&answer()).as_ref(), "{words:?}");
    }

    fn run_last(octets: &[u8]) -> Option<String> {
        words(&run(octets.len(), octets)).pop()
    }

    #[test]
    fn sessions_are_known_by_their_content_and_others_are_not() {
        assert_eq!(looks_like_rtr(&pdu(kind::RESET_QUERY, 0, &[])), Some(false));
        assert_eq!(
            looks_like_rtr(&pdu(kind::SERIAL_QUERY, 5, &[0, 0, 0, 1])),
            Some(false)
        );
        assert_eq!(looks_like_rtr(&answer()), Some(true));
        assert_eq!(looks_like_rtr(answer().get(8..).unwrap()), Some(true));
        for other in [
            &b"GET / HTTP/1.1\r\n"[..],
            &[0; 64],
            &[1; 64],
            &[],
            &[2],
            // DNS over TCP, and SMB's keep-alive.
            &[0, 29, 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0],
            &[0, 0, 0, 85, 0xff, b'S', b'M', b'B', 0, 0, 0, 0],
        ] {
            assert_eq!(looks_like_rtr(other), None, "{other:?}");
        }
    }
}
