//! Neighbor discovery options (RFC 4861 §4.6): type, length in units of 8 octets, value.

use std::net::Ipv6Addr;

use crate::event::frame::Mac;
use crate::event::lan::{Nd, NdMessage, PrefixInformation, RouterAdvertisement};
use crate::event::{Prefix, WireText};

const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;
const PREFIX_INFORMATION: u8 = 3;
const MTU: u8 = 5;
/// RFC 4191 §2.3.
const ROUTE_INFORMATION: u8 = 24;
/// RFC 8106 §5.1.
const RDNSS: u8 = 25;
/// RFC 8106 §5.2.
const DNSSL: u8 = 31;
/// RFC 8910 §2.3.
const CAPTIVE_PORTAL: u8 = 37;
/// Octets of a label at most (RFC 1035 §3.1).
const MAX_LABEL: u8 = 63;
/// RFC 8781 §4.
const PREF64: u8 = 38;
/// Octets of an option's unit of length.
const UNIT: usize = 8;
/// Prefixes, routes and DNS options kept of one advertisement, each. Linux takes 16 addresses of an interface at most; floods of the
/// thc-ipv6 kind put some 30 in one packet, and must be seen as what they are.
const MAX_ITEMS: usize = 128;

/// Walks the options; `false` where one has length 0 or runs past the end (the receiver discards the message then, RFC 4861 §6.1.2).
pub(super) fn fill(nd: &mut Nd, mut rest: &[u8]) -> bool {
    while let Some(&[code, units]) = rest.first_chunk::<2>() {
        let len = usize::from(units) * UNIT;
        let Some((option, after)) = (len > 0).then(|| rest.split_at_checked(len)).flatten() else {
            return false;
        };
        rest = after;
        let value = option.get(2..).unwrap_or_default();
        match code {
            SOURCE_LINK_ADDRESS => nd.source_mac = mac(value),
            TARGET_LINK_ADDRESS => nd.target_mac = mac(value),
            _ => {}
        }
        if let NdMessage::RouterAdvertisement(ra) = &mut nd.message {
            if ra.options.len() < MAX_ITEMS {
                ra.options.push(code);
            }
            // An option too short for its type is ignored, as receivers do.
            let _ = router_option(code, value, ra);
        }
    }
    rest.is_empty()
}

/// Two bits of preference at 0x18 (RFC 4191 §2.1); the reserved value is `None`.
pub(super) const fn preference(flags: u8) -> Option<i8> {
    match flags >> 3 & 3 {
        0 => Some(0),
        1 => Some(1),
        3 => Some(-1),
        _ => None,
    }
}

/// `None` where the value is too short.
fn router_option(code: u8, value: &[u8], ra: &mut RouterAdvertisement) -> Option<()> {
    match code {
        PREFIX_INFORMATION => {
            let (&[len, flags], rest) = value.split_first_chunk::<2>()?;
            let bits = value.get(14..)?.first_chunk::<16>()?;
            if ra.prefixes.len() < MAX_ITEMS {
                ra.prefixes.push(PrefixInformation {
                    prefix: Prefix::v6(*bits, len),
                    on_link: flags & 0x80 != 0,
                    autonomous: flags & 0x40 != 0,
                    valid: word(rest, 0)?,
                    preferred: word(rest, 4)?,
                });
            }
        }
        MTU => ra.mtu = Some(word(value, 2)?),
        ROUTE_INFORMATION => {
            let &[len, flags] = value.first_chunk::<2>()?;
            let lifetime = word(value, 2)?;
            // The prefix takes 0, 8 or 16 octets, as its length needs.
            let given = value.get(6..)?;
            let needed = usize::from(len.min(128)).div_ceil(8);
            let mut bits = [0; 16];
            for (to, from) in bits.iter_mut().zip(given) {
                *to = *from;
            }
            // A reserved preference makes a receiver ignore the option (RFC 4191 §2.3).
            let preference = preference(flags)?;
            if len <= 128 && given.len() >= needed && ra.routes.len() < MAX_ITEMS {
                ra.routes
                    .push((Prefix::v6(bits, len), preference, lifetime));
            }
        }
        RDNSS => {
            let lifetime = word(value, 2)?;
            let (servers, _) = value.get(6..)?.as_chunks::<16>();
            if !servers.is_empty() && ra.rdnss.len() < MAX_ITEMS {
                let servers = servers.iter().map(|octets| Ipv6Addr::from(*octets));
                ra.rdnss.push((lifetime, servers.collect()));
            }
        }
        DNSSL => names(value.get(6..)?, &mut ra.search),
        // Padded with zeros to the unit.
        CAPTIVE_PORTAL => {
            let end = value.iter().position(|c| *c == 0).unwrap_or(value.len());
            ra.captive = Some(WireText::new(value.get(..end)?));
        }
        PREF64 => {
            let (scaled, rest) = value.split_first_chunk::<2>()?;
            let scaled = u16::from_be_bytes(*scaled);
            // Low three bits: prefix length code; the rest counts units of 8 seconds.
            let len = match scaled & 7 {
                0 => 96,
                1 => 64,
                2 => 56,
                3 => 48,
                4 => 40,
                5 => 32,
                _ => return None,
            };
            let high = rest.first_chunk::<12>()?;
            let mut bits = [0; 16];
            for (to, from) in bits.iter_mut().zip(high) {
                *to = *from;
            }
            ra.pref64 = Some((Prefix::v6(bits, len), scaled & !7));
        }
        _ => {}
    }
    Some(())
}

/// Names in the wire format of DNS without compression, padded with zeros; what does not parse ends the list.
fn names(mut rest: &[u8], out: &mut Vec<WireText>) {
    let mut name: Vec<u8> = Vec::new();
    while let Some((&len, after)) = rest.split_first() {
        if len == 0 {
            if !name.is_empty() && out.len() < MAX_ITEMS {
                out.push(WireText::new(&std::mem::take(&mut name)));
            }
            rest = after;
            continue;
        }
        let Some((label, after)) = after.split_at_checked(len.into()) else {
            return;
        };
        if len > MAX_LABEL {
            return;
        }
        if !name.is_empty() {
            name.push(b'.');
        }
        name.extend_from_slice(label);
        rest = after;
    }
}

fn mac(value: &[u8]) -> Option<Mac> {
    value.first_chunk::<6>().copied().map(Mac)
}

fn word(value: &[u8], at: usize) -> Option<u32> {
    let octets = value.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*octets))
}
