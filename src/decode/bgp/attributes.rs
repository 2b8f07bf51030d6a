//! Path attributes, with the judgement of RFC 7606 (and of each attribute's own RFC) on damaged ones.
//!
//! Reads into [`Attributes`]; MP_REACH and MP_UNREACH are only located here (their NLRI are keys of the update, not attributes).

use std::net::IpAddr;

use super::{Cursor, as_path};
use crate::event::bgp::{Attributes, ErrorAction, Family, UpdateError};

const ORIGIN: u8 = 1;
pub(crate) const AS_PATH: u8 = 2;
const NEXT_HOP: u8 = 3;
const MED: u8 = 4;
const LOCAL_PREF: u8 = 5;
const ATOMIC_AGGREGATE: u8 = 6;
pub(crate) const AGGREGATOR: u8 = 7;
const COMMUNITIES: u8 = 8;
const ORIGINATOR_ID: u8 = 9;
const CLUSTER_LIST: u8 = 10;
pub(crate) const MP_REACH: u8 = 14;
pub(crate) const MP_UNREACH: u8 = 15;
const EXTENDED_COMMUNITIES: u8 = 16;
const AS4_PATH: u8 = 17;
const AS4_AGGREGATOR: u8 = 18;
const IPV6_EXTENDED_COMMUNITIES: u8 = 25;
const AIGP: u8 = 26;
const LARGE_COMMUNITIES: u8 = 32;
const ONLY_TO_CUSTOMER: u8 = 35;

const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const EXTENDED_LENGTH: u8 = 0x10;

/// Type codes that take part in duplicate detection: a bit each. Higher ones are unassigned (IANA, 2026) and only hashed.
const TRACKED: u8 = 64;

/// What the walk found besides the attributes themselves.
#[derive(Default)]
pub(crate) struct Found<'a> {
    pub mp_reach: Option<&'a [u8]>,
    pub mp_unreach: Option<&'a [u8]>,
    /// NEXT_HOP, which MP_REACH's next hop may replace.
    pub next_hop: Option<IpAddr>,
    as4_path: Option<&'a [u8]>,
    as4_aggregator: Option<&'a [u8]>,
    /// Bit per type code below [`TRACKED`].
    seen: u64,
}

impl Found<'_> {
    fn has(&self, code: u8) -> bool {
        self.seen & 1 << code != 0
    }

    /// The first well-known attribute that RFC 4271 §5 demands with announced routes and that is missing.
    pub fn missing(&self, body_nlri: bool) -> Option<u8> {
        [ORIGIN, AS_PATH, NEXT_HOP]
            .into_iter()
            .find(|code| !self.has(*code) && (*code != NEXT_HOP || body_nlri))
    }

    /// Only MP_UNREACH: what an End-of-RIB marker consists of.
    pub fn only_unreach(&self) -> bool {
        self.seen == 1 << MP_UNREACH
    }
}

/// Walks the attributes. `errors` takes what is wrong; the walk goes on behind a damaged attribute as long as lengths allow.
pub(crate) fn read<'a>(
    bytes: &'a [u8],
    as4: bool,
    into: &mut Attributes,
    errors: &mut Vec<UpdateError>,
) -> Found<'a> {
    let mut found = Found::default();
    let mut cursor = Cursor(bytes);
    while !cursor.is_empty() {
        let Some((flags, code, value)) = next(&mut cursor) else {
            // RFC 7606 §4: an overrun of the attribute field, while the NLRI behind it can still be located.
            note(
                errors,
                ErrorAction::TreatAsWithdraw,
                0,
                "attribute exceeds the attribute field",
            );
            break;
        };
        if code < TRACKED {
            let bit = 1 << code;
            if found.seen & bit != 0 {
                // RFC 7606 §3 g: the first one counts; MP_REACH and MP_UNREACH must not come twice.
                let action = match code {
                    MP_REACH | MP_UNREACH => ErrorAction::SessionReset,
                    _ => ErrorAction::AttributeDiscard,
                };
                note(errors, action, code, "attribute appears twice");
                continue;
            }
            found.seen |= bit;
        }
        if let Some(wanted) = wanted_flags(code)
            && flags & (OPTIONAL | TRANSITIVE) != wanted
        {
            // RFC 7606 §3 c. AS4_PATH and AS4_AGGREGATOR with wrong flags are discarded like otherwise damaged ones (RFC 6793 §6).
            let action = match code {
                AS4_PATH | AS4_AGGREGATOR | AIGP => ErrorAction::AttributeDiscard,
                _ => ErrorAction::TreatAsWithdraw,
            };
            note(
                errors,
                action,
                code,
                "attribute flags conflict with its type",
            );
            if action == ErrorAction::AttributeDiscard {
                continue;
            }
        }
        if let Err((action, why)) = attribute(flags, code, value, as4, into, &mut found) {
            note(errors, action, code, why);
        }
    }
    if !as4 {
        merge_as4(into, &found, errors);
    }
    found
}

/// Flags, type code and value of the next attribute.
#[inline]
pub(crate) fn next<'a>(cursor: &mut Cursor<'a>) -> Option<(u8, u8, &'a [u8])> {
    let &[flags, code] = cursor.array()?;
    let value = if flags & EXTENDED_LENGTH != 0 {
        cursor.counted16()?
    } else {
        cursor.counted8()?
    };
    Some((flags, code, value))
}

fn note(errors: &mut Vec<UpdateError>, action: ErrorAction, attribute: u8, why: &'static str) {
    // A message holds up to 21,845 attributes; one error of each kind tells enough.
    let error = UpdateError {
        action,
        attribute,
        why,
    };
    if !errors.contains(&error) {
        errors.push(error);
    }
}

/// The optional and transitive bits that a known type must have; `None` for types we only hash.
#[inline]
fn wanted_flags(code: u8) -> Option<u8> {
    match code {
        ORIGIN | AS_PATH | NEXT_HOP | LOCAL_PREF | ATOMIC_AGGREGATE => Some(TRANSITIVE),
        MED | ORIGINATOR_ID | CLUSTER_LIST | MP_REACH | MP_UNREACH | AIGP => Some(OPTIONAL),
        AGGREGATOR
        | COMMUNITIES
        | EXTENDED_COMMUNITIES
        | AS4_PATH
        | AS4_AGGREGATOR
        | IPV6_EXTENDED_COMMUNITIES
        | LARGE_COMMUNITIES
        | ONLY_TO_CUSTOMER => Some(OPTIONAL | TRANSITIVE),
        _ => None,
    }
}

type Judgement = Result<(), (ErrorAction, &'static str)>;

fn attribute<'a>(
    flags: u8,
    code: u8,
    value: &'a [u8],
    as4: bool,
    into: &mut Attributes,
    found: &mut Found<'a>,
) -> Judgement {
    const WITHDRAW: ErrorAction = ErrorAction::TreatAsWithdraw;
    const DISCARD: ErrorAction = ErrorAction::AttributeDiscard;
    const LENGTH: &str = "attribute has a wrong length";
    let word = || match value.try_into() {
        Ok(octets) => Ok(u32::from_be_bytes(octets)),
        Err(_) => Err((WITHDRAW, LENGTH)),
    };
    match code {
        ORIGIN => match value {
            &[origin @ 0..=2] => into.origin = Some(origin),
            [_] => return Err((WITHDRAW, "ORIGIN is none of IGP, EGP, INCOMPLETE")),
            _ => return Err((WITHDRAW, LENGTH)),
        },
        AS_PATH => as_path::read(value, as4, &mut into.as_path).map_err(|why| (WITHDRAW, why))?,
        NEXT_HOP => found.next_hop = Some(IpAddr::V4(word()?.into())),
        MED => into.med = Some(word()?),
        LOCAL_PREF => into.local_pref = Some(word()?),
        ATOMIC_AGGREGATE => {
            if !value.is_empty() {
                return Err((DISCARD, LENGTH));
            }
            into.atomic_aggregate = true;
        }
        AGGREGATOR => {
            let aggregator = aggregator(value, as4).ok_or((DISCARD, LENGTH))?;
            into.aggregator = Some(aggregator);
        }
        COMMUNITIES => {
            let values = records::<4>(value).ok_or((WITHDRAW, LENGTH))?;
            into.communities
                .extend(values.iter().map(|octets| u32::from_be_bytes(*octets)));
        }
        ORIGINATOR_ID => into.originator_id = Some(word()?),
        CLUSTER_LIST => {
            let values = records::<4>(value).ok_or((WITHDRAW, LENGTH))?;
            into.cluster_list
                .extend(values.iter().map(|octets| u32::from_be_bytes(*octets)));
        }
        MP_REACH => found.mp_reach = Some(value),
        MP_UNREACH => found.mp_unreach = Some(value),
        EXTENDED_COMMUNITIES => {
            let values = records::<8>(value).ok_or((WITHDRAW, LENGTH))?;
            into.extended_communities.extend_from_slice(values);
        }
        // RFC 6793 §4.1: a speaker of four octets ignores them.
        AS4_PATH if as4 => {}
        AS4_PATH => found.as4_path = Some(value),
        AS4_AGGREGATOR if as4 => {}
        AS4_AGGREGATOR => found.as4_aggregator = Some(value),
        IPV6_EXTENDED_COMMUNITIES => {
            let values = records::<20>(value).ok_or((WITHDRAW, LENGTH))?;
            into.ipv6_extended_communities.extend_from_slice(values);
        }
        AIGP => into.aigp = Some(aigp(value).ok_or((DISCARD, "AIGP without a metric"))?),
        LARGE_COMMUNITIES => {
            let values = records::<12>(value).ok_or((WITHDRAW, LENGTH))?;
            into.large_communities.extend(values.iter().map(|octets| {
                let [a, b, c, d, e, f, g, h, i, j, k, l] = *octets;
                [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_be_bytes)
            }));
        }
        ONLY_TO_CUSTOMER => into.otc = Some(word()?),
        code => {
            // Sorted, so that the order on the wire makes no difference.
            let hash = hash(hash(HASH_SEED, &[flags & !EXTENDED_LENGTH]), value);
            let at = into.unknown.partition_point(|(known, _)| *known <= code);
            into.unknown.insert(at, (code, hash));
        }
    }
    Ok(())
}

/// The value as records of N octets; `None` when empty or not a multiple (RFC 7606 §7.8 and its likes).
#[inline]
fn records<const N: usize>(value: &[u8]) -> Option<&[[u8; N]]> {
    let (records, rest) = value.as_chunks();
    (rest.is_empty() && !records.is_empty()).then_some(records)
}

fn aggregator(value: &[u8], as4: bool) -> Option<(u32, IpAddr)> {
    let mut cursor = Cursor(value);
    let asn = if as4 {
        cursor.u32()?
    } else {
        u32::from(cursor.u16()?)
    };
    let addr = cursor.v4()?;
    cursor.is_empty().then_some((asn, addr))
}

/// The first AIGP TLV (type 1, length 11, metric: RFC 7311 §3).
fn aigp(value: &[u8]) -> Option<u64> {
    let mut cursor = Cursor(value);
    loop {
        let kind = cursor.u8()?;
        let length = cursor.u16()?;
        let value = cursor.take(usize::from(length).checked_sub(3)?)?;
        if kind == 1 {
            return value.try_into().ok().map(u64::from_be_bytes);
        }
    }
}

/// Folds AS4_PATH and AS4_AGGREGATOR in (RFC 6793 §4.2.3).
fn merge_as4(into: &mut Attributes, found: &Found<'_>, errors: &mut Vec<UpdateError>) {
    // An AGGREGATOR that is not AS_TRANS was written by an old speaker behind the new one: what the new one said is stale.
    if found.as4_aggregator.is_some()
        && into
            .aggregator
            .is_some_and(|(asn, _)| asn != as_path::AS_TRANS)
    {
        return;
    }
    if let (Some(value), Some(_)) = (found.as4_aggregator, into.aggregator) {
        match aggregator(value, true) {
            Some(aggregator) => into.aggregator = Some(aggregator),
            None => note(
                errors,
                ErrorAction::AttributeDiscard,
                AS4_AGGREGATOR,
                "attribute has a wrong length",
            ),
        }
    }
    if let Some(value) = found.as4_path
        && let Err(why) = as_path::merge(&mut into.as_path, value)
    {
        note(errors, ErrorAction::AttributeDiscard, AS4_PATH, why);
    }
}

/// Next hops of an MP_REACH: the address and the link-local one, by the length alone (RFC 4760, 2545, 4659, 8950, 7432).
/// Route distinguishers in front of VPN next hops are always zero and skipped.
pub(crate) fn next_hops(value: &[u8]) -> Option<(Option<IpAddr>, Option<IpAddr>)> {
    let mut cursor = Cursor(value);
    Some(match value.len() {
        0 => (None, None), // FlowSpec (RFC 8955 §4)
        4 => (cursor.v4(), None),
        16 => (cursor.v6(), None),
        32 => (cursor.v6(), cursor.v6()),
        12 => {
            cursor.u64()?;
            (cursor.v4(), None)
        }
        24 => {
            cursor.u64()?;
            (cursor.v6(), None)
        }
        48 => {
            cursor.u64()?;
            let global = cursor.v6();
            cursor.u64()?;
            (global, cursor.v6())
        }
        _ => return None,
    })
}

/// AFI and SAFI in front of MP_REACH and MP_UNREACH.
pub(crate) fn family(cursor: &mut Cursor<'_>) -> Option<Family> {
    let afi = cursor.u16()?;
    let safi = cursor.u8()?;
    Some(Family { afi, safi })
}

/// FNV-1a's offset basis.
pub(crate) const HASH_SEED: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a: unkeyed on purpose, since equal attributes must hash alike on every run (law 13). A chosen collision hides one change of
/// an attribute nobody decodes.
pub(crate) fn hash(seed: u64, octets: &[u8]) -> u64 {
    octets.iter().fold(seed, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
