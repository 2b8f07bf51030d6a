//! The two OPENs: ours is written, the router's is checked as RFC 4271 §6.2 wants it. What it offers beyond that is the decoder's business.

use std::net::Ipv4Addr;

use super::session::{Notification, Speaker};

/// Marker, length, type.
pub const HEADER: usize = 19;
pub const OPEN: u8 = 1;

const VERSION: u8 = 4;
/// Stands in the 2-octet field for an AS that does not fit (RFC 6793 §9).
const AS_TRANS: u16 = 23_456;
/// Optional parameter: capabilities (RFC 5492 §4); the code of the extended format (RFC 9072 §2).
const CAPABILITIES: u8 = 2;
const EXTENDED_PARAMETERS: u8 = 255;

const MULTIPROTOCOL: u8 = 1;
const ROUTE_REFRESH: u8 = 2;
const EXTENDED_NEXT_HOP: u8 = 5;
const EXTENDED_MESSAGES: u8 = 6;
const FOUR_OCTET_AS: u8 = 65;
const ADD_PATH: u8 = 69;
/// RFC 7911 §4.
const RECEIVE: u8 = 1;

/// AFI and SAFI of what is decoded to keys: unicast, labeled, VPN, EVPN. The router picks those that it has.
const FAMILIES: [(u16, u8); 7] = [(1, 1), (2, 1), (1, 4), (2, 4), (1, 128), (2, 128), (25, 70)];
/// IPv4 families whose next hop may be an IPv6 address (RFC 8950 §4).
const IPV6_NEXT_HOPS: [(u16, u16); 3] = [(1, 1), (1, 4), (1, 128)];

/// Hold times below are refused, zero apart (RFC 4271 §4.2).
const LEAST_HOLD: u16 = 3;

/// OPEN message errors (RFC 4271 §4.5, RFC 5492 §5).
pub const OPEN_ERROR: u8 = 2;
const UNSUPPORTED_VERSION: u8 = 1;
const BAD_PEER_AS: u8 = 2;
const BAD_IDENTIFIER: u8 = 3;
const UNSUPPORTED_PARAMETER: u8 = 4;
const UNACCEPTABLE_HOLD_TIME: u8 = 6;

/// A message: marker, length, type, body.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![0xff; 16];
    message.extend_from_slice(&((HEADER + body.len()) as u16).to_be_bytes());
    message.push(kind);
    message.extend_from_slice(body);
    message
}

/// Our OPEN. It offers nothing to send, and no graceful restart: a helper would keep routes that are gone.
pub fn ours(us: &Speaker) -> Vec<u8> {
    let mut capabilities = Vec::new();
    for (afi, safi) in FAMILIES {
        let [a, b] = afi.to_be_bytes();
        capabilities.extend_from_slice(&[MULTIPROTOCOL, 4, a, b, 0, safi]);
    }
    capabilities.extend_from_slice(&[ROUTE_REFRESH, 0]);
    capabilities.extend_from_slice(&[EXTENDED_NEXT_HOP, 6 * IPV6_NEXT_HOPS.len() as u8]);
    for (afi, safi) in IPV6_NEXT_HOPS {
        for word in [afi, safi, 2] {
            capabilities.extend_from_slice(&word.to_be_bytes());
        }
    }
    capabilities.extend_from_slice(&[EXTENDED_MESSAGES, 0, FOUR_OCTET_AS, 4]);
    capabilities.extend_from_slice(&us.asn.to_be_bytes());
    capabilities.extend_from_slice(&[ADD_PATH, 4 * FAMILIES.len() as u8]);
    for (afi, safi) in FAMILIES {
        let [a, b] = afi.to_be_bytes();
        capabilities.extend_from_slice(&[a, b, safi, RECEIVE]);
    }
    let short = u16::try_from(us.asn).unwrap_or(AS_TRANS);
    let mut body = vec![VERSION];
    body.extend_from_slice(&short.to_be_bytes());
    body.extend_from_slice(&us.hold.to_be_bytes());
    body.extend_from_slice(&us.router_id.octets());
    // 100 octets of capabilities: one parameter in the old format holds them.
    body.extend_from_slice(&[
        capabilities.len() as u8 + 2,
        CAPABILITIES,
        capabilities.len() as u8,
    ]);
    body.extend_from_slice(&capabilities);
    message(OPEN, &body)
}

/// What a session must know of the router's OPEN.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Theirs {
    pub asn: u32,
    pub hold: u16,
    pub router_id: Ipv4Addr,
    pub extended_messages: bool,
}

fn refusal(subcode: u8, data: &[u8]) -> Notification {
    Notification {
        code: OPEN_ERROR,
        subcode,
        data: data.to_vec(),
    }
}

/// Reads the body of the router's OPEN; the error is what to answer.
pub fn theirs(body: &[u8], us: &Speaker, expected_as: Option<u32>) -> Result<Theirs, Notification> {
    let malformed = || refusal(0, &[]);
    let (fixed, parameters) = body.split_first_chunk::<10>().ok_or_else(malformed)?;
    let &[version, as1, as2, hold1, hold2, a, b, c, d, length] = fixed;
    if version != VERSION {
        return Err(refusal(UNSUPPORTED_VERSION, &[0, VERSION]));
    }
    let mut open = Theirs {
        asn: u32::from(u16::from_be_bytes([as1, as2])),
        hold: u16::from_be_bytes([hold1, hold2]),
        router_id: Ipv4Addr::new(a, b, c, d),
        extended_messages: false,
    };
    let extended =
        length == EXTENDED_PARAMETERS && parameters.first() == Some(&EXTENDED_PARAMETERS);
    let mut rest = if extended {
        counted(parameters.get(1..).unwrap_or_default(), true)
    } else {
        parameters
            .get(..usize::from(length))
            .map(|it| (it, &[][..]))
    }
    .ok_or_else(malformed)?
    .0;
    while let Some((kind, tail)) = rest.split_first() {
        let (value, tail) = counted(tail, extended).ok_or_else(malformed)?;
        rest = tail;
        if *kind != CAPABILITIES {
            return Err(refusal(UNSUPPORTED_PARAMETER, &[]));
        }
        let mut capabilities = value;
        while let Some((code, tail)) = capabilities.split_first() {
            let (value, tail) = counted(tail, false).ok_or_else(malformed)?;
            capabilities = tail;
            match (*code, value) {
                (FOUR_OCTET_AS, &[a, b, c, d]) => open.asn = u32::from_be_bytes([a, b, c, d]),
                (EXTENDED_MESSAGES, _) => open.extended_messages = true,
                _ => {}
            }
        }
    }
    // RFC 7607 §2: nobody has AS 0.
    if open.asn == 0 || expected_as.is_some_and(|expected| expected != open.asn) {
        return Err(refusal(BAD_PEER_AS, &[]));
    }
    // RFC 6286 §2.2: not zero, and not ours inside one AS.
    let internal = open.asn == us.asn;
    if open.router_id.is_unspecified() || (internal && open.router_id == us.router_id) {
        return Err(refusal(BAD_IDENTIFIER, &[]));
    }
    if open.hold != 0 && open.hold < LEAST_HOLD {
        return Err(refusal(UNACCEPTABLE_HOLD_TIME, &[]));
    }
    Ok(open)
}

/// A value behind its length of one octet, or two, and what follows it.
fn counted(octets: &[u8], two: bool) -> Option<(&[u8], &[u8])> {
    let (length, rest) = if two {
        let (length, rest) = octets.split_first_chunk::<2>()?;
        (usize::from(u16::from_be_bytes(*length)), rest)
    } else {
        let (length, rest) = octets.split_first()?;
        (usize::from(*length), rest)
    };
    rest.split_at_checked(length)
}
