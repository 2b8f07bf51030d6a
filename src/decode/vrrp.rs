//! VRRP advertisements, taken only when they pass the checks that a receiver must make (RFC 5798 §7.1, RFC 3768 §7.1). Holds no state.
//!
//! CARP shares the protocol number; its header has another length and is not read.

use std::net::IpAddr;

use super::checksum;
use super::frame::be16;
use crate::event::frame::Frame;
use crate::event::vrrp::Vrrp;

/// Fixed part of both versions.
const HEADER: usize = 8;
/// Version 2's authentication data, always there (RFC 3768 §5.3.10).
const AUTHENTICATION: usize = 8;
/// The one message type.
const ADVERTISEMENT: u8 = 1;
/// Virtual addresses kept; keepalived advertises at most 20 of a group.
const MAX_ADDRESSES: usize = 32;
/// Version 3 counts the interval in hundredths of a second, in 12 bits.
const CENTISECOND_MS: u32 = 10;

/// Decodes the payload of an IP packet of protocol 112. `None`: not an advertisement that a receiver would take.
pub fn decode(payload: &[u8], frame: &Frame, whole: bool) -> Option<Vrrp> {
    // A packet from beyond the link is discarded.
    if frame.hop_limit != Some(255) {
        return None;
    }
    let (src, dst) = (frame.ip_src?, frame.ip_dst?);
    let &[first, vrid, priority, count, fifth, sixth, ..] = payload else {
        return None;
    };
    let (version, kind) = (first >> 4, first & 0xf);
    if kind != ADVERTISEMENT || vrid == 0 {
        return None;
    }
    let size = if src.is_ipv6() { 16 } else { 4 };
    let end = HEADER + usize::from(count) * size;
    let (interval_ms, authentication, length) = match version {
        2 if src.is_ipv4() => (u32::from(sixth) * 1000, fifth, end + AUTHENTICATION),
        3 => {
            let centiseconds = be16(payload, 4)? & 0x0fff;
            (u32::from(centiseconds) * CENTISECOND_MS, 0, end)
        }
        _ => return None,
    };
    let message = payload.get(..length)?;
    if interval_ms == 0 || (whole && !checksum::of_vrrp(src, dst, version, message)) {
        return None;
    }
    let addresses = message.get(HEADER..end)?.chunks_exact(size);
    let addresses = addresses.take(MAX_ADDRESSES).filter_map(|octets| {
        let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
        v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
            .ok()
    });
    Some(Vrrp {
        frame: *frame,
        version,
        vrid,
        priority,
        interval_ms,
        authentication,
        addresses: addresses.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(hop_limit: u8) -> Frame {
        Frame {
            ip_src: Some([192, 0, 2, 2].into()),
            ip_dst: Some([224, 0, 0, 18].into()),
            hop_limit: Some(hop_limit),
            ..Frame::default()
        }
    }

    fn sealed(mut message: Vec<u8>) -> Vec<u8> {
        let words = message.chunks(2);
        let sum: u32 = words
            .map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0)))
            .sum();
        let folded = !(((sum >> 16) + (sum & 0xffff)) as u16);
        message[6..8].copy_from_slice(&folded.to_be_bytes());
        message
    }

    #[test]
    fn both_versions_tell_master_priority_interval_and_addresses() {
        let v2 = [
            0x21, 7, 150, 1, 0, 1, 0, 0, 192, 0, 2, 100, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        let got = decode(&sealed(v2.to_vec()), &frame(255), true).unwrap();
        assert_eq!((got.version, got.vrid, got.priority), (2, 7, 150));
        assert_eq!(got.interval_ms, 1000);
        assert_eq!(got.addresses, [IpAddr::from([192, 0, 2, 100])]);
        // Version 3 without the pseudo header, as some stacks send it.
        let v3 = [0x31, 7, 0, 1, 0, 100, 0, 0, 192, 0, 2, 100];
        let got = decode(&sealed(v3.to_vec()), &frame(255), true).unwrap();
        assert_eq!((got.version, got.priority, got.interval_ms), (3, 0, 1000));
    }

    #[test]
    fn what_a_receiver_discards_is_no_advertisement() {
        let v2 = [
            0x21, 7, 150, 1, 0, 1, 0, 0, 192, 0, 2, 100, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert!(decode(&sealed(v2.to_vec()), &frame(64), true).is_none());
        assert!(decode(&v2, &frame(255), true).is_none()); // checksum
        assert!(decode(&v2[..15], &frame(255), false).is_none());
        // CARP: 36 octets, "authentication length" 7 where VRRP counts addresses.
        let mut carp = vec![0x21, 7, 0, 7, 0, 1, 0, 0];
        carp.resize(36, 1);
        assert!(decode(&sealed(carp), &frame(255), true).is_none());
    }
}
