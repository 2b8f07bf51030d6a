//! RTR messages (RFC 6810 §5, RFC 8210 §5, draft-ietf-sidrops-8210bis §5): one PDU at a time, pure and total.
//!
//! Knows layouts only. Where a PDU begins and ends is [`head`]'s word; order, sessions and versions are the state's matter.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::decode::bgp::damaged;
use crate::event::loss::{Malformed, Protocol};
use crate::event::rtr::{RtrMessage, Timers, Vrp, VrpChange};
use crate::event::{Prefix, WireText};

/// Version, type, session id (or flags, or error code), length.
pub const HEADER: usize = 8;
/// Versions 0 (RFC 6810), 1 (RFC 8210) and 2 (8210bis).
pub const MAX_VERSION: u8 = 2;
/// Longest PDU that is believed: an Error Report quotes one PDU and a text, an ASPA with 16,000 providers has 64,012 octets. A full
/// ASPA of 2^14 providers and more is in no validator's output (rpki-client drops those above 10,000).
pub const MAX_PDU: usize = 65_536;

/// PDU types.
pub mod kind {
    pub const SERIAL_NOTIFY: u8 = 0;
    pub const SERIAL_QUERY: u8 = 1;
    pub const RESET_QUERY: u8 = 2;
    pub const CACHE_RESPONSE: u8 = 3;
    pub const IPV4_PREFIX: u8 = 4;
    pub const IPV6_PREFIX: u8 = 6;
    pub const END_OF_DATA: u8 = 7;
    pub const CACHE_RESET: u8 = 8;
    pub const ROUTER_KEY: u8 = 9;
    pub const ERROR_REPORT: u8 = 10;
    pub const ASPA: u8 = 11;
}

/// Flags: bit 0 is announcement.
const ANNOUNCE: u8 = 1;

/// Type and length of the PDU that begins here. `Err(Some(n))`: n octets are needed to know; `Err(None)`: no PDU begins so.
pub fn head(bytes: &[u8]) -> Result<(u8, usize), Option<usize>> {
    let Some(&[version, kind, _, _, a, b, c, d]) = bytes.first_chunk::<HEADER>() else {
        let fits = bytes.first().is_none_or(|version| *version <= MAX_VERSION)
            && bytes
                .get(1)
                .is_none_or(|kind| *kind <= kind::ASPA && *kind != 5);
        return Err(fits.then_some(HEADER));
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let right = match kind {
        kind::SERIAL_NOTIFY | kind::SERIAL_QUERY => length == 12,
        kind::RESET_QUERY | kind::CACHE_RESPONSE | kind::CACHE_RESET => length == HEADER,
        kind::IPV4_PREFIX => length == 20,
        kind::IPV6_PREFIX => length == 32,
        // RFC 6810 has no timers.
        kind::END_OF_DATA => length == if version == 0 { 12 } else { 24 },
        kind::ROUTER_KEY => version >= 1 && (32..=MAX_PDU).contains(&length),
        kind::ERROR_REPORT => (16..=MAX_PDU).contains(&length),
        kind::ASPA => version >= 2 && (12..=MAX_PDU).contains(&length) && length.is_multiple_of(4),
        _ => false,
    };
    if version <= MAX_VERSION && right {
        Ok((kind, length))
    } else {
        Err(None)
    }
}

/// Whether this type comes from the router; Error Reports come from both ends.
pub fn from_router(kind: u8) -> Option<bool> {
    match kind {
        kind::SERIAL_QUERY | kind::RESET_QUERY => Some(true),
        kind::ERROR_REPORT => None,
        _ => Some(false),
    }
}

/// A prefix PDU; `None` when it is none, `Err` when its lengths contradict each other (RFC 8210 §5.6: corrupt data).
#[inline]
pub fn prefix(pdu: &[u8]) -> Option<Result<VrpChange, Malformed>> {
    let kind = *pdu.get(1)?;
    let (v6, addr, rest) = match kind {
        kind::IPV4_PREFIX => (false, pdu.get(12..16)?, pdu.get(16..20)?),
        kind::IPV6_PREFIX => (true, pdu.get(12..28)?, pdu.get(28..32)?),
        _ => return None,
    };
    let &[flags, len, max_len, _] = pdu.get(8..12)?.first_chunk::<4>()?;
    let bits = if v6 { 128 } else { 32 };
    if len > max_len || max_len > bits {
        return Some(Err(damaged(
            Protocol::Rtr,
            pdu,
            "prefix PDU whose lengths contradict each other",
        )));
    }
    let prefix = if v6 {
        Prefix::new(Ipv6Addr::from(*addr.first_chunk::<16>()?).into(), len)
    } else {
        Prefix::new(Ipv4Addr::from(*addr.first_chunk::<4>()?).into(), len)
    };
    Some(Ok(VrpChange {
        vrp: Vrp {
            prefix,
            max_len,
            asn: u32::from_be_bytes(*rest.first_chunk::<4>()?),
        },
        announce: flags & ANNOUNCE != 0,
    }))
}

/// Any other PDU, whole, as [`head`] cut it.
pub fn message(pdu: &[u8], from_cache: bool) -> Result<RtrMessage, Malformed> {
    parse(pdu, from_cache).ok_or_else(|| damaged(Protocol::Rtr, pdu, "RTR PDU of unknown layout"))
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u16::from_be_bytes(*b))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u32::from_be_bytes(*b))
}

fn parse(pdu: &[u8], from_cache: bool) -> Option<RtrMessage> {
    let session = be16(pdu, 2)?;
    let announce = pdu.get(2).is_some_and(|flags| flags & ANNOUNCE != 0);
    Some(match *pdu.get(1)? {
        kind::SERIAL_NOTIFY => RtrMessage::SerialNotify {
            session,
            serial: be32(pdu, 8)?,
        },
        kind::SERIAL_QUERY => RtrMessage::SerialQuery {
            session,
            serial: be32(pdu, 8)?,
        },
        kind::RESET_QUERY => RtrMessage::ResetQuery,
        kind::CACHE_RESPONSE => RtrMessage::CacheResponse { session },
        kind::END_OF_DATA => RtrMessage::EndOfData {
            session,
            serial: be32(pdu, 8)?,
            timers: match (be32(pdu, 12), be32(pdu, 16), be32(pdu, 20)) {
                (Some(refresh), Some(retry), Some(expire)) => Some(Timers {
                    refresh,
                    retry,
                    expire,
                }),
                _ => None,
            },
        },
        kind::CACHE_RESET => RtrMessage::CacheReset,
        // RFC 8210 §5.10: flags in the third octet, the AS number behind the key identifier of 20 octets.
        kind::ROUTER_KEY => RtrMessage::RouterKey {
            announce,
            asn: be32(pdu, 28)?,
        },
        kind::ASPA => RtrMessage::Aspa {
            announce,
            customer: be32(pdu, 8)?,
            providers: pdu
                .get(12..)?
                .as_chunks::<4>()
                .0
                .iter()
                .map(|provider| u32::from_be_bytes(*provider))
                .collect(),
        },
        // RFC 8210 §5.11: the quoted PDU with its length, the text with its.
        kind::ERROR_REPORT => {
            let quoted = be32(pdu, 8)? as usize;
            let rest = pdu.get(12..)?.get(quoted..)?;
            let text = rest.get(4..)?.get(..be32(rest, 0)? as usize)?;
            RtrMessage::ErrorReport {
                from_cache,
                code: session,
                text: WireText::new(text),
            }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PDU from its parts.
    fn pdu(version: u8, kind: u8, field: u16, body: &[u8]) -> Vec<u8> {
        let mut pdu = vec![version, kind];
        pdu.extend(field.to_be_bytes());
        pdu.extend((HEADER as u32 + body.len() as u32).to_be_bytes());
        pdu.extend_from_slice(body);
        pdu
    }

    #[test]
    fn prefixes_of_both_families_are_read_as_they_were_sent() {
        let v4 = pdu(
            1,
            kind::IPV4_PREFIX,
            0,
            &[1, 24, 26, 0, 192, 0, 2, 0, 0, 0, 0xfd, 0xe8],
        );
        assert_eq!(head(&v4), Ok((kind::IPV4_PREFIX, 20)));
        let change = prefix(&v4).unwrap().unwrap();
        assert_eq!(change.vrp.to_string(), "192.0.2.0/24-26 AS65000");
        assert!(change.announce);
        let mut body = vec![0, 32, 32, 0];
        body.extend("2001:db8::".parse::<Ipv6Addr>().unwrap().octets());
        body.extend(65_001u32.to_be_bytes());
        let change = prefix(&pdu(0, kind::IPV6_PREFIX, 0, &body))
            .unwrap()
            .unwrap();
        assert_eq!(change.vrp.to_string(), "2001:db8::/32 AS65001");
        assert!(!change.announce);
    }

    #[test]
    fn lengths_that_contradict_each_other_are_corrupt_data() {
        for (len, max_len) in [(24, 23), (24, 33), (33, 33)] {
            let bad = pdu(
                1,
                kind::IPV4_PREFIX,
                0,
                &[1, len, max_len, 0, 192, 0, 2, 0, 0, 0, 0, 1],
            );
            assert!(prefix(&bad).unwrap().is_err());
        }
    }

    #[test]
    fn a_header_of_another_protocol_is_none() {
        for bytes in [
            &b"GET / HTTP/1.1"[..],
            b"SSH-2.0-OpenSSH",
            &[22, 3, 1, 0, 1, 1, 0, 0, 1],
        ] {
            assert_eq!(head(bytes), Err(None));
        }
        assert_eq!(head(&[1]), Err(Some(HEADER)));
        assert_eq!(head(&pdu(3, kind::RESET_QUERY, 0, &[])), Err(None));
        // Version 0 knows no timers, the others no End of Data without.
        assert!(head(&pdu(0, kind::END_OF_DATA, 1, &[0; 4])).is_ok());
        assert_eq!(head(&pdu(0, kind::END_OF_DATA, 1, &[0; 16])), Err(None));
        assert_eq!(head(&pdu(1, kind::END_OF_DATA, 1, &[0; 4])), Err(None));
        let mut endless = pdu(1, kind::ERROR_REPORT, 0, &[0; 8]);
        endless[4] = 0x7f;
        assert_eq!(head(&endless), Err(None));
    }

    #[test]
    fn an_error_report_gives_its_text_whatever_it_quotes() {
        let quoted = pdu(2, kind::RESET_QUERY, 0, &[]);
        let mut body = (quoted.len() as u32).to_be_bytes().to_vec();
        body.extend(&quoted);
        body.extend(7u32.to_be_bytes());
        body.extend(b"too new");
        let RtrMessage::ErrorReport { code, text, .. } =
            message(&pdu(1, kind::ERROR_REPORT, 4, &body), true).unwrap()
        else {
            panic!("no error report")
        };
        assert_eq!((code, text.to_string().as_str()), (4, "too new"));
        // Lengths inside that lead out of it are damage.
        body[0] = 0xff;
        assert!(message(&pdu(1, kind::ERROR_REPORT, 4, &body), true).is_err());
    }

    #[test]
    fn timers_are_bounded_as_the_rfc_says() {
        let wild = Timers {
            refresh: 0,
            retry: u32::MAX,
            expire: 1,
        };
        assert_eq!(
            wild.bounded(),
            Timers {
                refresh: 1,
                retry: 7200,
                expire: 7201
            }
        );
    }
}
