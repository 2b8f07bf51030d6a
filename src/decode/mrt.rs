//! MRT records (RFC 6396, RFC 8050) to events: updates, state changes, table entries.
//!
//! Takes one whole record with its header; where records begin is the input's business. Keeps the peer index of a TABLE_DUMP_V2 and
//! one event of each hot kind, whose buffers are reused. Types that hold no BGP are counted, not decoded.

mod table;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::bgp::infer::{self, Inference};
use super::bgp::{self, Cursor, Encoding, FamilySet};
use super::{Emit, Stamp};
use crate::event::bgp::{BgpEvent, BgpMessage, Direction, Update};
use crate::event::frame::Frame;
use crate::event::loss::{Malformed, Protocol};
use crate::event::{Event, EventKind, InputId, Locator, SourceId, Timestamp};

/// Time, type, subtype, length (RFC 6396 §2).
pub const HEADER: usize = 12;

/// The deprecated type BGP (RFC 6396 Appendix B.2.1): RIS used it until 2002.
const BGP: u16 = 5;
const TABLE_DUMP: u16 = 12;
const TABLE_DUMP_V2: u16 = 13;
const BGP4MP: u16 = 16;
const BGP4MP_ET: u16 = 17;

/// Peers whose records are written otherwise than their subtype says: each costs up to 30 kB, and a collector that writes so has at most a few dozen.
const MAX_INFERRED: usize = 256;

/// Distinct (type, subtype) pairs that are counted apart; RFC 6396 and its appendix name fewer.
const OTHER_KINDS: usize = 64;

/// Decodes MRT records. One for each input: the peer index belongs to a file.
#[derive(Clone, Debug)]
pub struct MrtDecoder {
    /// The event of UPDATEs, reused.
    update: Event,
    /// The event of table entries, reused.
    entry: Event,
    peers: Vec<table::Peer>,
    /// Senders that wrote path identifiers under a subtype without them (RFC 8050 came after the writers), and what their messages have shown.
    inferred: BTreeMap<IpAddr, Box<Inference>>,
    other: Vec<(u16, u16, u64)>,
}

impl Default for MrtDecoder {
    fn default() -> MrtDecoder {
        MrtDecoder::new()
    }
}

impl MrtDecoder {
    pub fn new() -> MrtDecoder {
        MrtDecoder {
            update: reusable(BgpMessage::Update(Box::default())),
            entry: reusable(BgpMessage::TableEntry(Box::default())),
            peers: Vec::new(),
            inferred: BTreeMap::new(),
            other: Vec::new(),
        }
    }

    /// Decodes one whole record, header included.
    pub fn record(&mut self, bytes: &[u8], stamp: &Stamp, emit: Emit<'_>) {
        let mut cursor = Cursor(bytes);
        let head = (|| {
            cursor.u32()?;
            Some((cursor.u16()?, cursor.u16()?, cursor.u32()?))
        })();
        let Some((kind, subtype, length)) = head else {
            damaged(stamp, bytes, "shorter than an MRT header", emit);
            return;
        };
        let Some(body) = usize::try_from(length)
            .ok()
            .and_then(|length| cursor.0.get(..length))
        else {
            damaged(stamp, bytes, "length of the MRT header does not fit", emit);
            return;
        };
        let result = match kind {
            BGP4MP => self.bgp4mp(subtype, body, stamp, emit),
            // The microseconds are part of the body, and of the stamp (RFC 6396 §3).
            BGP4MP_ET => match body.split_at_checked(4) {
                Some((_, body)) => self.bgp4mp(subtype, body, stamp, emit),
                None => Err("extended time stamp is missing"),
            },
            // Collectors of 2000 wrote four octets more than they counted; the input hands those over too.
            TABLE_DUMP => self.table_dump(subtype, cursor.0, stamp, emit),
            TABLE_DUMP_V2 => self.table_dump_v2(subtype, body, stamp, emit),
            BGP => self.legacy(subtype, body, stamp, emit),
            _ => {
                self.count(kind, subtype);
                Ok(())
            }
        };
        if let Err(why) = result {
            damaged(stamp, bytes, why, emit);
        }
    }

    /// Records of types that are not decoded, as (type, subtype, count); the first [`OTHER_KINDS`] kinds, in order of appearance.
    pub fn other_records(&self) -> &[(u16, u16, u64)] {
        &self.other
    }

    fn count(&mut self, kind: u16, subtype: u16) {
        let mut known = self.other.iter_mut();
        if let Some((.., count)) = known.find(|(k, s, _)| (*k, *s) == (kind, subtype)) {
            *count = count.saturating_add(1);
        } else if self.other.len() < OTHER_KINDS {
            self.other.push((kind, subtype, 1));
        }
    }

    /// BGP4MP (RFC 6396 §4.4, RFC 8050 §3).
    fn bgp4mp(
        &mut self,
        subtype: u16,
        body: &[u8],
        stamp: &Stamp,
        emit: Emit<'_>,
    ) -> Result<(), &'static str> {
        let as4 = match subtype {
            0 | 1 | 6 | 8 | 10 => false,
            4 | 5 | 7 | 9 | 11 => true,
            _ => {
                self.count(BGP4MP, subtype);
                return Ok(());
            }
        };
        let mut cursor = Cursor(body);
        let local = matches!(subtype, 6 | 7 | 10 | 11);
        let direction =
            session(&mut cursor, as4, local).ok_or("BGP4MP record shorter than its peer header")?;
        if matches!(subtype, 0 | 5) {
            return state_change(&mut cursor, direction, stamp, emit);
        }
        let add_path = if matches!(subtype, 8..=11) {
            FamilySet::ALL
        } else {
            FamilySet::EMPTY
        };
        let encoding = Encoding::known(as4, add_path);
        self.message(cursor.0, &encoding, direction, stamp, emit);
        Ok(())
    }

    fn message(
        &mut self,
        bytes: &[u8],
        encoding: &Encoding,
        direction: Direction,
        stamp: &Stamp,
        emit: Emit<'_>,
    ) {
        if bytes.get(bgp::HEADER - 1) == Some(&bgp::UPDATE) {
            let Some(update) = target(&mut self.update, direction, stamp) else {
                return;
            };
            match read(&mut self.inferred, bytes, encoding, direction.from, update) {
                Ok(()) => emit(&self.update),
                Err(malformed) => emit(&stamp.event(EventKind::Malformed(Box::new(malformed)))),
            }
            return;
        }
        let mut message = BgpMessage::Keepalive;
        match bgp::message(bytes, encoding, &mut message) {
            Ok(()) => emit(&stamp.event(whole(direction, message))),
            Err(malformed) => emit(&stamp.event(EventKind::Malformed(Box::new(malformed)))),
        }
    }

    /// The deprecated type BGP: peer and local as AS and IPv4 address, then messages without their header.
    fn legacy(
        &mut self,
        subtype: u16,
        body: &[u8],
        stamp: &Stamp,
        emit: Emit<'_>,
    ) -> Result<(), &'static str> {
        const UPDATE: u16 = 1;
        const STATE_CHANGE: u16 = 3;
        const OPEN: u16 = 5;
        const KEEPALIVE: u16 = 7;
        const SHORT: &str = "record of the old type BGP shorter than its peer header";
        if !matches!(subtype, UPDATE | STATE_CHANGE | OPEN..=KEEPALIVE) {
            self.count(BGP, subtype);
            return Ok(());
        }
        let mut cursor = Cursor(body);
        let peer = end(&mut cursor).ok_or(SHORT)?;
        if subtype == STATE_CHANGE {
            let local = (0, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            return state_change(&mut cursor, between(peer, local), stamp, emit);
        }
        let direction = between(peer, end(&mut cursor).ok_or(SHORT)?);
        match subtype {
            UPDATE => {
                if let Some(update) = target(&mut self.update, direction, stamp) {
                    let encoding = Encoding::known(false, FamilySet::EMPTY);
                    bgp::bare_update(cursor.0, &encoding, update);
                    emit(&self.update);
                }
            }
            KEEPALIVE => emit(&stamp.event(whole(direction, BgpMessage::Keepalive))),
            // OPEN and NOTIFICATION of those days are kept with or without their header; none says anything of use today.
            _ => self.count(BGP, subtype),
        }
        Ok(())
    }
}

/// Reads an UPDATE as its subtype says, until the octets refute it; from then on what the sender writes is read as it fits.
fn read(
    inferred: &mut BTreeMap<IpAddr, Box<Inference>>,
    bytes: &[u8],
    encoding: &Encoding,
    sender: IpAddr,
    update: &mut Update,
) -> Result<(), Malformed> {
    let open = Encoding {
        add_path: None,
        ..*encoding
    };
    let is_plain = encoding.add_path.is_some_and(FamilySet::is_empty);
    if is_plain
        && !inferred.is_empty()
        && let Some(inference) = inferred.get_mut(&sender)
    {
        return inference.recorded(bytes, &open, false, update);
    }
    if !infer::recorded(bytes, encoding, update)? || !is_plain || inferred.len() >= MAX_INFERRED {
        return Ok(());
    }
    let mut inference = Box::<Inference>::default();
    inference.recorded(bytes, &open, false, update)?;
    // Damage is no encoding: only a message that the other reading makes sound begins this.
    if update.errors.is_empty() {
        inferred.insert(sender, inference);
        return Ok(());
    }
    infer::recorded(bytes, encoding, update).map(|_| ())
}

/// Type and subtype in an MRT header.
pub fn record_type(bytes: &[u8]) -> Option<(u16, u16)> {
    let mut cursor = Cursor(bytes);
    cursor.u32()?;
    Some((cursor.u16()?, cursor.u16()?))
}

/// The time in an MRT header, with the microseconds of the extended types.
pub fn record_time(bytes: &[u8]) -> Option<Timestamp> {
    let mut cursor = Cursor(bytes);
    let seconds = cursor.u32()?;
    let kind = cursor.u16()?;
    cursor.take(6)?;
    // BGP4MP_ET, ISIS_ET, OSPFv3_ET (RFC 6396 §4).
    let micros = if matches!(kind, 17 | 33 | 49) {
        cursor.u32().unwrap_or_default()
    } else {
        0
    };
    Some(Timestamp::from_parts(
        i64::from(seconds),
        i64::from(micros) * 1000,
    ))
}

/// An event to be filled again and again.
fn reusable(message: BgpMessage) -> Event {
    let nobody = (0, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    Event {
        at: Timestamp::MIN,
        origin_at: None,
        source: SourceId(0),
        locator: Locator {
            input: InputId(0),
            unit: crate::event::source::Unit::Record,
            number: 0,
            offset: 0,
        },
        kind: whole(between(nobody, nobody), message),
    }
}

fn whole(session: Direction, message: BgpMessage) -> EventKind {
    EventKind::Bgp(Box::new(BgpEvent {
        frame: Frame::default(),
        session,
        message,
    }))
}

/// Puts stamp and session into a reusable event and lends its update.
fn target<'a>(event: &'a mut Event, direction: Direction, stamp: &Stamp) -> Option<&'a mut Update> {
    event.at = stamp.at;
    event.source = stamp.source;
    event.locator = stamp.locator;
    let EventKind::Bgp(bgp) = &mut event.kind else {
        return None;
    };
    bgp.session = direction;
    match &mut bgp.message {
        BgpMessage::Update(update) | BgpMessage::TableEntry(update) => Some(update),
        _ => None,
    }
}

fn damaged(stamp: &Stamp, bytes: &[u8], why: &str, emit: Emit<'_>) {
    let malformed = bgp::damaged(Protocol::Mrt, bytes, why);
    emit(&stamp.event(EventKind::Malformed(Box::new(malformed))));
}

/// AS number and address of one end.
type End = (u32, IpAddr);

fn between((from_as, from): End, (to_as, to): End) -> Direction {
    Direction {
        from,
        to,
        from_port: 0,
        to_port: 0,
        from_as,
        to_as,
    }
}

/// An end in the old type BGP.
fn end(cursor: &mut Cursor<'_>) -> Option<End> {
    Some((u32::from(cursor.u16()?), cursor.v4()?))
}

/// The peer header of BGP4MP. With `local` the local end sent the message (RFC 6396 §4.4.5).
fn session(cursor: &mut Cursor<'_>, as4: bool, local: bool) -> Option<Direction> {
    let (peer_as, local_as) = if as4 {
        (cursor.u32()?, cursor.u32()?)
    } else {
        (u32::from(cursor.u16()?), u32::from(cursor.u16()?))
    };
    cursor.u16()?; // interface index of the collector
    let v6 = match cursor.u16()? {
        1 => false,
        2 => true,
        _ => return None,
    };
    let peer = (peer_as, cursor.addr(v6)?);
    let here = (local_as, cursor.addr(v6)?);
    Some(if local {
        between(here, peer)
    } else {
        between(peer, here)
    })
}

fn state_change(
    cursor: &mut Cursor<'_>,
    direction: Direction,
    stamp: &Stamp,
    emit: Emit<'_>,
) -> Result<(), &'static str> {
    let (Some(old), Some(new)) = (cursor.u16(), cursor.u16()) else {
        return Err("state change without states");
    };
    emit(&stamp.event(whole(direction, BgpMessage::StateChange { old, new })));
    Ok(())
}

#[cfg(test)]
mod tests;
