//! BGP-4 messages to words: OPEN, UPDATE (RFC 7606 judged), NOTIFICATION, ROUTE-REFRESH, KEEPALIVE.
//!
//! Owns the reading of one whole message; where messages begin is `framing`'s business, which of two readings is right where no
//! OPEN was seen is [`infer`]'s. The hot path fills one reused [`Update`] and allocates nothing once its buffers have grown.
//! Every read goes through [`Cursor`], which cannot leave its slice: that keeps it total.

pub(crate) mod as_path;
pub(crate) mod attributes;
pub(crate) mod cursor;
pub mod infer;
pub(crate) mod nlri;
mod notification;
mod open;
mod update;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use cursor::Cursor;

use crate::event::WireText;
use crate::event::bgp::{BgpMessage, Family, Open, Update};
use crate::event::loss::{Malformed, Protocol};

/// Marker, length and type (RFC 4271 §4.1).
pub const HEADER: usize = 19;
/// Longest message without RFC 8654 (RFC 4271 §4.1).
pub const MAX_MESSAGE: usize = 4096;
/// Longest message with RFC 8654.
pub const MAX_EXTENDED: usize = 65_535;
/// Octets of offending bytes kept as evidence: a header and the begin of what follows.
const HEAD_KEPT: usize = 32;

/// Message type codes.
pub const OPEN: u8 = 1;
pub const UPDATE: u8 = 2;
pub const NOTIFICATION: u8 = 3;
pub const KEEPALIVE: u8 = 4;
pub const ROUTE_REFRESH: u8 = 5;

/// How the two ends agreed to write UPDATEs. `None` where it is not known, because no OPEN was seen.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Encoding {
    /// AS numbers in AS_PATH and AGGREGATOR have four octets (RFC 6793).
    pub as4: Option<bool>,
    /// Families whose NLRI carry path identifiers (RFC 7911).
    pub add_path: Option<FamilySet>,
    /// Messages may be longer than 4,096 octets (RFC 8654).
    pub extended: Option<bool>,
    /// A router tells what is in its table (BMP). What RFC 7606 §2 makes of a flawed UPDATE is for the speaker who receives it from its neighbor; the
    /// router has the route in spite of the flaw, so a station withdraws nothing.
    pub reported: bool,
}

impl Encoding {
    /// Nothing is left to infer.
    pub const fn known(as4: bool, add_path: FamilySet) -> Encoding {
        Encoding {
            as4: Some(as4),
            add_path: Some(add_path),
            extended: None,
            reported: false,
        }
    }

    /// What two OPENs together (or one, as far as it excludes things) say about the UPDATEs from `sender` to `receiver`.
    pub fn negotiated(sender: Option<&Offer>, receiver: Option<&Offer>) -> Encoding {
        let both = |pick: fn(&Offer) -> bool| match (sender.map(pick), receiver.map(pick)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
        let add_path = match (sender.map(|o| o.sends), receiver.map(|o| o.receives)) {
            (Some(sends), Some(receives)) => Some(sends.meet(receives)),
            (Some(set), None) | (None, Some(set)) if set.is_empty() => Some(set),
            _ => None,
        };
        Encoding {
            as4: both(|o| o.as4),
            add_path,
            extended: both(|o| o.extended),
            reported: false,
        }
    }
}

/// What one OPEN offers that changes how UPDATEs are written.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Offer {
    pub as4: bool,
    pub extended: bool,
    /// Families it is able to send with path identifiers.
    pub sends: FamilySet,
    /// Families it is able to receive with path identifiers.
    pub receives: FamilySet,
}

impl Offer {
    /// The offer of an OPEN.
    pub fn of(open: &Open) -> Offer {
        let mut offer = Offer {
            as4: open.four_octet_as,
            extended: open.extended_messages,
            ..Offer::default()
        };
        // RFC 7911 §4: 1 receive, 2 send, 3 both; other values are to be ignored.
        for (family, mode) in &open.add_path {
            if matches!(mode, 1 | 3) {
                offer.receives.insert(*family);
            }
            if matches!(mode, 2 | 3) {
                offer.sends.insert(*family);
            }
        }
        offer
    }
}

/// A set of the families that are decoded to keys (others have no keys, so it does not matter how theirs are written).
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct FamilySet(u16);

impl FamilySet {
    pub const EMPTY: FamilySet = FamilySet(0);
    pub const ALL: FamilySet = FamilySet(u16::MAX);

    const fn bit(family: Family) -> u16 {
        let row = match family.afi {
            1 => 0,
            2 => 1,
            25 if family.safi == 70 => return 1 << 8,
            _ => return 0,
        };
        match family.safi {
            1 => 1 << row,
            2 => 1 << (2 + row),
            4 => 1 << (4 + row),
            128 => 1 << (6 + row),
            _ => 0,
        }
    }

    pub fn insert(&mut self, family: Family) {
        self.0 |= FamilySet::bit(family);
    }

    pub fn remove(&mut self, family: Family) {
        self.0 &= !FamilySet::bit(family);
    }

    pub const fn contains(self, family: Family) -> bool {
        self.0 & FamilySet::bit(family) != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The families in both.
    pub const fn meet(self, other: FamilySet) -> FamilySet {
        FamilySet(self.0 & other.0)
    }
}

/// A message's type code and its length as the header says, when the header is one: 16 octets of marker, a known type and a length
/// that this type can have (RFC 4271 §6.1), at most `max`. `None` also when fewer than 19 octets are there.
pub fn header(bytes: &[u8], max: usize) -> Option<(u8, usize)> {
    let head: &[u8; HEADER] = bytes.first_chunk()?;
    let (marker, rest) = head.split_at(16);
    let &[high, low, kind] = rest else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    // RFC 8654 §4: OPEN and KEEPALIVE never exceed 4,096.
    let range = match kind {
        OPEN => 29..=max.min(MAX_MESSAGE),
        UPDATE => 23..=max,
        NOTIFICATION => 21..=max,
        KEEPALIVE => 19..=19,
        ROUTE_REFRESH => 23..=max,
        _ => return None,
    };
    (marker.iter().all(|octet| *octet == 0xff) && range.contains(&length)).then_some((kind, length))
}

/// Reads one whole message with its header into `out`, reusing the buffers of an [`Update`] that is already there.
///
/// What `encoding` leaves open is read as today's usual encoding (four-octet AS numbers, no path identifiers); use
/// [`infer::Inference`] where it should be found out. An UPDATE that is damaged inside is no `Err`: RFC 7606 decides, see
/// [`Update::errors`]. Under treat-as-withdraw its announced keys stand in `withdrawn`; under AFI/SAFI disable the keys of the
/// damaged attribute are absent; under session reset nothing of it is used.
pub fn message(bytes: &[u8], encoding: &Encoding, out: &mut BgpMessage) -> Result<(), Malformed> {
    let (kind, body) = split(bytes)?;
    if kind == UPDATE {
        if !matches!(out, BgpMessage::Update(_)) {
            *out = BgpMessage::Update(Box::default());
        }
        if let BgpMessage::Update(update) = out {
            update::body(body, &Reading::of(encoding), update);
        }
        return Ok(());
    }
    *out = match kind {
        OPEN => BgpMessage::Open(Box::new(
            open::body(body).map_err(|why| malformed(bytes, why))?,
        )),
        NOTIFICATION => BgpMessage::Notification(
            notification::body(body)
                .ok_or_else(|| malformed(bytes, "NOTIFICATION without code and subcode"))?,
        ),
        KEEPALIVE => BgpMessage::Keepalive,
        ROUTE_REFRESH => {
            let &[a, b, subtype, safi, ..] = body else {
                return Err(malformed(bytes, "ROUTE-REFRESH shorter than its family"));
            };
            let family = Family {
                afi: u16::from_be_bytes([a, b]),
                safi,
            };
            BgpMessage::RouteRefresh { family, subtype }
        }
        other => BgpMessage::Unknown(other),
    };
    Ok(())
}

/// Reads a whole UPDATE message, header included, into `out`; see [`message`].
pub fn update(bytes: &[u8], encoding: &Encoding, out: &mut Update) -> Result<(), Malformed> {
    match split(bytes)? {
        (UPDATE, body) => {
            update::body(body, &Reading::of(encoding), out);
            Ok(())
        }
        _ => Err(malformed(bytes, "not an UPDATE")),
    }
}

/// Reads an UPDATE that comes without its header (the old MRT type BGP).
pub(crate) fn bare_update(body: &[u8], encoding: &Encoding, out: &mut Update) {
    update::body(body, &Reading::of(encoding), out);
}

/// Type code and body of a whole message. The marker is not looked at: RFC 4271 §4.1 wants ones, but MRT and BMP tools write others.
pub(crate) fn split(bytes: &[u8]) -> Result<(u8, &[u8]), Malformed> {
    let Some((head, body)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(malformed(bytes, "shorter than a BGP header"));
    };
    let [.., high, low, kind] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let Some(body) = length
        .checked_sub(HEADER)
        .and_then(|length| body.get(..length))
    else {
        return Err(malformed(bytes, "length of the BGP header does not fit"));
    };
    Ok((kind, body))
}

/// How one UPDATE is read: an [`Encoding`] with nothing left open.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Reading {
    pub as4: bool,
    pub add_path: FamilySet,
    pub inferred: bool,
    /// See [`Encoding::reported`].
    pub reported: bool,
}

impl Reading {
    pub(crate) fn of(encoding: &Encoding) -> Reading {
        Reading {
            as4: encoding.as4.unwrap_or(true),
            add_path: encoding.add_path.unwrap_or_default(),
            inferred: encoding.as4.is_none() || encoding.add_path.is_none(),
            reported: encoding.reported,
        }
    }
}

/// A [`Malformed`] of BGP with the first octets as evidence.
pub(crate) fn malformed(bytes: &[u8], why: &str) -> Malformed {
    damaged(Protocol::Bgp, bytes, why)
}

/// A [`Malformed`] with the first octets as evidence.
pub(crate) fn damaged(protocol: Protocol, bytes: &[u8], why: &str) -> Malformed {
    Malformed {
        protocol,
        why: WireText::from(why),
        head: bytes.iter().take(HEAD_KEPT).copied().collect(),
    }
}
