//! NLRI to keys: plain prefixes (RFC 4271), labeled (RFC 8277), VPN (RFC 4364, 4659), EVPN types 2, 3 and 5 (RFC 7432, 9136).

use super::Cursor;
use crate::event::Prefix;
use crate::event::bgp::{Family, Nlri, Safi};

/// Octets of an MPLS label in NLRI.
const LABEL: u8 = 3;
/// A label field that stands for "withdrawn" (RFC 8277 §2.4), and the zeros that old speakers send: no stack follows.
const NO_STACK: [[u8; 3]; 2] = [[0x80, 0, 0], [0, 0, 0]];

const OVERRUN: &str = "NLRI exceeds its field";
const TOO_LONG: &str = "prefix longer than its family allows";

/// Whether an error says that NLRI do not parse as they were read.
pub(crate) fn is_why(why: &str) -> bool {
    [OVERRUN, TOO_LONG].contains(&why)
}

/// How the NLRI of a family are read.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Layout {
    Plain {
        v6: bool,
        safi: Safi,
    },
    Labeled {
        v6: bool,
    },
    Vpn {
        v6: bool,
    },
    Evpn,
    /// No keys: only counted.
    Other,
}

impl Layout {
    pub fn of(family: Family) -> Layout {
        let v6 = family.afi == 2;
        match (family.afi, family.safi) {
            (1 | 2, 1) => Layout::Plain {
                v6,
                safi: Safi::Unicast,
            },
            (1 | 2, 2) => Layout::Plain {
                v6,
                safi: Safi::Multicast,
            },
            (1 | 2, 4) => Layout::Labeled { v6 },
            (1 | 2, 128) => Layout::Vpn { v6 },
            (25, 70) => Layout::Evpn,
            _ => Layout::Other,
        }
    }
}

/// Appends the keys in `bytes` to `out`. Returns the octets of NLRI that have no key (EVPN types 1, 4 and others; all of an unknown
/// family's). On `Err` the keys before the damage have been appended.
pub(crate) fn read(
    bytes: &[u8],
    layout: Layout,
    add_path: bool,
    out: &mut Vec<Nlri>,
) -> Result<u32, &'static str> {
    match layout {
        Layout::Plain { v6: false, safi } => plain_v4(bytes, safi, add_path, out).map(|()| 0),
        Layout::Other => Ok(bytes.len() as u32),
        _ => {
            let mut cursor = Cursor(bytes);
            let mut keyless = 0;
            while !cursor.is_empty() {
                let before = cursor.0.len();
                let path_id = if add_path {
                    cursor.u32().ok_or(OVERRUN)?
                } else {
                    0
                };
                match one(&mut cursor, layout)? {
                    Some(key) => out.push(Nlri { path_id, ..key }),
                    None => keyless += (before - cursor.0.len()) as u32,
                }
            }
            Ok(keyless)
        }
    }
}

/// The hot case, apart from the others.
#[inline]
fn plain_v4(
    bytes: &[u8],
    safi: Safi,
    add_path: bool,
    out: &mut Vec<Nlri>,
) -> Result<(), &'static str> {
    let mut cursor = Cursor(bytes);
    while !cursor.is_empty() {
        let path_id = if add_path {
            cursor.u32().ok_or(OVERRUN)?
        } else {
            0
        };
        let prefix = prefix_v4(&mut cursor)?;
        out.push(Nlri {
            prefix,
            path_id,
            rd: 0,
            extra: 0,
            safi,
        });
    }
    Ok(())
}

#[inline]
fn prefix_v4(cursor: &mut Cursor<'_>) -> Result<Prefix, &'static str> {
    // With four more octets there, no branch depends on the length: `Prefix::v4` masks what is not the prefix's.
    if let Some(&[len @ 0..=32, a, b, c, d]) = cursor.0.first_chunk()
        && let Some(rest) = cursor.0.get(1 + usize::from(len).div_ceil(8)..)
    {
        cursor.0 = rest;
        return Ok(Prefix::v4([a, b, c, d], len));
    }
    let len = cursor.u8().ok_or(OVERRUN)?;
    let octets = match len {
        0 => [0; 4],
        1..=8 => {
            let [a] = *cursor.array().ok_or(OVERRUN)?;
            [a, 0, 0, 0]
        }
        9..=16 => {
            let [a, b] = *cursor.array().ok_or(OVERRUN)?;
            [a, b, 0, 0]
        }
        17..=24 => {
            let [a, b, c] = *cursor.array().ok_or(OVERRUN)?;
            [a, b, c, 0]
        }
        25..=32 => *cursor.array().ok_or(OVERRUN)?,
        _ => return Err(TOO_LONG),
    };
    Ok(Prefix::v4(octets, len))
}

/// One NLRI without its path identifier; `None` for one that has no key.
pub(crate) fn one(cursor: &mut Cursor<'_>, layout: Layout) -> Result<Option<Nlri>, &'static str> {
    match layout {
        Layout::Plain { v6: false, safi } => {
            let prefix = prefix_v4(cursor)?;
            Ok(Some(key(prefix, 0, 0, safi)))
        }
        Layout::Plain { v6: true, safi } => {
            let len = cursor.u8().ok_or(OVERRUN)?;
            let prefix = prefix_bits(cursor, len, true)?;
            Ok(Some(key(prefix, 0, 0, safi)))
        }
        Layout::Labeled { v6 } => {
            let len = labels(cursor)?;
            let prefix = prefix_bits(cursor, len, v6)?;
            Ok(Some(key(prefix, 0, 0, Safi::Labeled)))
        }
        Layout::Vpn { v6 } => {
            let len = labels(cursor)?
                .checked_sub(64)
                .ok_or("VPN prefix without route distinguisher")?;
            let rd = cursor.u64().ok_or(OVERRUN)?;
            let prefix = prefix_bits(cursor, len, v6)?;
            Ok(Some(key(prefix, rd, 0, Safi::Vpn)))
        }
        Layout::Evpn => evpn(cursor),
        Layout::Other => {
            cursor.0 = &[];
            Ok(None)
        }
    }
}

fn key(prefix: Prefix, rd: u64, extra: u64, safi: Safi) -> Nlri {
    Nlri {
        prefix,
        path_id: 0,
        rd,
        extra,
        safi,
    }
}

/// Reads the length and steps over the label stack; returns the bits that are left.
fn labels(cursor: &mut Cursor<'_>) -> Result<u8, &'static str> {
    const MISSING: &str = "labeled prefix without label";
    let mut bits = cursor.u8().ok_or(OVERRUN)?;
    loop {
        bits = bits.checked_sub(8 * LABEL).ok_or(MISSING)?;
        let label: &[u8; 3] = cursor.array().ok_or(OVERRUN)?;
        if label[2] & 1 == 1 || NO_STACK.contains(label) {
            return Ok(bits);
        }
    }
}

fn prefix_bits(cursor: &mut Cursor<'_>, len: u8, v6: bool) -> Result<Prefix, &'static str> {
    let max = if v6 { 128 } else { 32 };
    if len > max {
        return Err(TOO_LONG);
    }
    let bytes = cursor.take(usize::from(len).div_ceil(8)).ok_or(OVERRUN)?;
    let mut octets = [0; 16];
    for (to, from) in octets.iter_mut().zip(bytes) {
        *to = *from;
    }
    let [a, b, c, d, ..] = octets;
    Ok(if v6 {
        Prefix::v6(octets, len)
    } else {
        Prefix::v4([a, b, c, d], len)
    })
}

/// One EVPN route. What is in its key besides RD and address (RFC 7432 §7, RFC 9136 §3) is packed beside them; ESI, gateway and labels are not in it.
fn evpn(cursor: &mut Cursor<'_>) -> Result<Option<Nlri>, &'static str> {
    const BAD: &str = "EVPN route does not fit its type";
    let kind = cursor.u8().ok_or(OVERRUN)?;
    let mut route = Cursor(cursor.counted8().ok_or(OVERRUN)?);
    let key = match kind {
        2 => evpn_mac_ip(&mut route),
        3 => evpn_multicast(&mut route),
        5 => evpn_prefix(&mut route),
        _ => return Ok(None),
    };
    key.map(Some).ok_or(BAD)
}

fn evpn_mac_ip(route: &mut Cursor<'_>) -> Option<Nlri> {
    let rd = route.u64()?;
    route.take(10)?; // ESI: an attribute of the route, not part of its key (RFC 7432 §7.2)
    let tag = route.u32()?;
    let 48 = route.u8()? else { return None };
    let mac = route.array::<6>()?;
    let extra = Nlri::evpn_mac(*mac, tag);
    let prefix = match route.u8()? {
        0 => {
            let mut octets = [0; 16];
            octets[..6].copy_from_slice(mac);
            Prefix::v6(octets, 48)
        }
        32 => Prefix::host(route.v4()?),
        128 => Prefix::host(route.v6()?),
        _ => return None,
    };
    Some(key(prefix, rd, extra, Safi::Evpn2))
}

fn evpn_multicast(route: &mut Cursor<'_>) -> Option<Nlri> {
    let rd = route.u64()?;
    let extra = u64::from(route.u32()?);
    let prefix = match route.u8()? {
        32 => Prefix::host(route.v4()?),
        128 => Prefix::host(route.v6()?),
        _ => return None,
    };
    Some(key(prefix, rd, extra, Safi::Evpn3))
}

fn evpn_prefix(route: &mut Cursor<'_>) -> Option<Nlri> {
    // RFC 9136 §3.1: 34 octets for IPv4, 58 for IPv6; nothing else tells the family.
    let v6 = match route.0.len() {
        34 => false,
        58 => true,
        _ => return None,
    };
    let rd = route.u64()?;
    route.take(10)?;
    let extra = u64::from(route.u32()?);
    let len = route.u8()?;
    let addr = route.addr(v6)?;
    (len <= if v6 { 128 } else { 32 }).then(|| key(Prefix::new(addr, len), rd, extra, Safi::Evpn5))
}

/// How a field of NLRI looks under one reading, for the inference where no OPEN was seen.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub(crate) enum Fit {
    /// It does not parse to the end.
    No,
    /// It does, but no speaker writes so: bits set behind a prefix's length, or one key twice in a message.
    Strange,
    Clean,
}

/// Judges plain NLRI under one reading.
pub(crate) fn fit(bytes: &[u8], v6: bool, add_path: bool) -> Fit {
    let mut cursor = Cursor(bytes);
    let mut fit = Fit::Clean;
    let mut previous: Option<(u32, &[u8])> = None;
    while !cursor.is_empty() {
        let Some((path_id, octets, len)) = (|| {
            let path_id = if add_path { cursor.u32()? } else { 0 };
            let whole = cursor.0;
            let len = cursor.u8()?;
            let count = usize::from(len).div_ceil(8);
            cursor.take(count)?;
            (len <= if v6 { 128 } else { 32 }).then_some(())?;
            Some((path_id, whole.get(..=count)?, len))
        })() else {
            return Fit::No;
        };
        let spare = 8 * (octets.len() as u32 - 1) - u32::from(len);
        let behind = octets.last().map_or(0, |last| last & !(0xff_u8 << spare));
        if len > 0 && behind != 0 || previous == Some((path_id, octets)) {
            fit = Fit::Strange;
        }
        previous = Some((path_id, octets));
    }
    fit
}
