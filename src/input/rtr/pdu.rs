//! RTR PDUs as the client needs them: headers to read, and those that it (or a file that speaks as a cache) writes.
//!
//! What the cache's data mean is the decoder's business; here a PDU is a length, a type and a few numbers.

use std::net::IpAddr;

use crate::event::rtr::{Timers, VrpChange};

/// Version, type, session or code, length.
pub const HEADER: usize = 8;
/// Longest PDU admitted, as in the decoder.
pub const MAX_PDU: usize = 65_536;

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

/// Error codes (RFC 8210 §12).
pub const CORRUPT_DATA: u16 = 0;
pub const NO_DATA: u16 = 2;
pub const INVALID_REQUEST: u16 = 3;
pub const UNSUPPORTED_VERSION: u16 = 4;
pub const UNSUPPORTED_PDU: u16 = 5;
pub const UNEXPECTED_VERSION: u16 = 8;

/// The first octets of a PDU.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Header {
    pub version: u8,
    pub kind: u8,
    /// Session id, flags or error code.
    pub field: u16,
    /// Of the whole PDU.
    pub length: u32,
}

impl Header {
    /// Reads it, if it is all there.
    pub fn read(bytes: &[u8]) -> Option<Header> {
        let &[version, kind, f, g, a, b, c, d] = bytes.first_chunk::<HEADER>()?;
        Some(Header {
            version,
            kind,
            field: u16::from_be_bytes([f, g]),
            length: u32::from_be_bytes([a, b, c, d]),
        })
    }
}

/// The 32-bit number at an offset.
pub fn number(pdu: &[u8], at: usize) -> Option<u32> {
    pdu.get(at..)?.first_chunk().map(|n| u32::from_be_bytes(*n))
}

/// A PDU from its parts.
fn pdu(version: u8, kind: u8, field: u16, body: &[&[u8]]) -> Vec<u8> {
    let length = HEADER + body.iter().map(|part| part.len()).sum::<usize>();
    let mut pdu = Vec::with_capacity(length);
    pdu.extend([version, kind]);
    pdu.extend(field.to_be_bytes());
    pdu.extend((length as u32).to_be_bytes());
    for part in body {
        pdu.extend_from_slice(part);
    }
    pdu
}

pub fn reset_query(version: u8) -> Vec<u8> {
    pdu(version, RESET_QUERY, 0, &[])
}

pub fn serial_query(version: u8, session: u16, serial: u32) -> Vec<u8> {
    pdu(version, SERIAL_QUERY, session, &[&serial.to_be_bytes()])
}

pub fn cache_response(version: u8, session: u16) -> Vec<u8> {
    pdu(version, CACHE_RESPONSE, session, &[])
}

pub fn end_of_data(version: u8, session: u16, serial: u32, timers: Timers) -> Vec<u8> {
    let numbers = [serial, timers.refresh, timers.retry, timers.expire].map(u32::to_be_bytes);
    let count = if version == 0 { 4 } else { 16 };
    let body = numbers.concat();
    pdu(
        version,
        END_OF_DATA,
        session,
        &[body.get(..count).unwrap_or(&body)],
    )
}

pub fn prefix(version: u8, change: &VrpChange) -> Vec<u8> {
    let vrp = &change.vrp;
    let head = [u8::from(change.announce), vrp.prefix.len(), vrp.max_len, 0];
    let asn = vrp.asn.to_be_bytes();
    match vrp.prefix.addr() {
        IpAddr::V4(addr) => pdu(version, IPV4_PREFIX, 0, &[&head, &addr.octets(), &asn]),
        IpAddr::V6(addr) => pdu(version, IPV6_PREFIX, 0, &[&head, &addr.octets(), &asn]),
    }
}

/// An Error Report about a PDU, of which at most the header is quoted.
pub fn error_report(version: u8, code: u16, about: &[u8], text: &str) -> Vec<u8> {
    let quoted = about.get(..HEADER).unwrap_or(about);
    let parts = [
        &(quoted.len() as u32).to_be_bytes()[..],
        quoted,
        &(text.len() as u32).to_be_bytes(),
        text.as_bytes(),
    ];
    pdu(version, ERROR_REPORT, code, &parts)
}
