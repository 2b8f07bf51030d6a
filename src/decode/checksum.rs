//! Internet checksums of UDP and ICMPv6: whether a datagram arrived as it was sent.
//!
//! Captures on the sending host hold checksums that the card has yet to compute. Linux leaves the sum over the pseudo header
//! in the field (`CHECKSUM_PARTIAL`); such a checksum is unfinished, which says nothing about the datagram.

use std::net::IpAddr;

use super::frame::ip::protocol;
use crate::event::frame::Checksum;

/// Judges the checksum of a whole transport datagram (header and payload) that is carried by `protocol`.
pub fn check(src: IpAddr, dst: IpAddr, protocol: u8, datagram: &[u8]) -> Checksum {
    let at = match protocol {
        protocol::UDP => 6,
        protocol::TCP => 16,
        protocol::ICMPV6 => 2,
        _ => return Checksum::Absent,
    };
    let Some(field) = super::frame::be16(datagram, at) else {
        return Checksum::Absent;
    };
    if protocol == protocol::UDP && field == 0 {
        // Over IPv6 zero is forbidden but for tunnels (RFC 8200 §8.1); Linux drops it.
        return if src.is_ipv4() {
            Checksum::Absent
        } else {
            Checksum::Wrong
        };
    }
    let pseudo = pseudo_header(src, dst, protocol, datagram.len());
    if fold(pseudo + octets(datagram)) == 0xffff {
        Checksum::Right
    } else if field == fold(pseudo) {
        Checksum::Unfinished
    } else {
        Checksum::Wrong
    }
}

/// Whether a VRRP message arrived as it was sent: version 2 sums the message alone, version 3 the pseudo header too (RFC 5798 §5.2.8). Over
/// IPv4 implementations differ about that, and receivers take both.
pub fn of_vrrp(src: IpAddr, dst: IpAddr, version: u8, message: &[u8]) -> bool {
    let sum = octets(message);
    let alone = fold(sum) == 0xffff;
    let whole = fold(sum + pseudo_header(src, dst, protocol::VRRP, message.len())) == 0xffff;
    (alone && src.is_ipv4()) || (whole && version > 2)
}

/// What can be said of a datagram's checksum. `outgoing`: the host sent it itself. `whole`: nothing is missing.
pub fn judged(
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    datagram: &[u8],
    outgoing: Option<bool>,
    whole: bool,
) -> Checksum {
    if !whole || outgoing == Some(true) {
        return Checksum::Absent;
    }
    check(src, dst, protocol, datagram)
}

/// The verdict for a decoder: `None` where nothing can be said.
pub fn verdict(
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    datagram: &[u8],
    outgoing: Option<bool>,
    whole: bool,
) -> Option<bool> {
    sound(judged(src, dst, protocol, datagram, outgoing, whole))
}

/// Whether a checksum is right; `None` where that cannot be said.
pub fn sound(sum: Checksum) -> Option<bool> {
    match sum {
        Checksum::Right => Some(true),
        Checksum::Wrong => Some(false),
        Checksum::Unfinished | Checksum::Absent => None,
    }
}

/// Sum over the pseudo header (RFC 768, RFC 8200 §8.1).
fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, len: usize) -> u64 {
    address(src) + address(dst) + u64::from(protocol) + (len as u64 >> 16) + (len as u64 & 0xffff)
}

fn address(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(a) => octets(&a.octets()),
        IpAddr::V6(a) => octets(&a.octets()),
    }
}

/// Sum of 16-bit words, an odd octet padded with zero. Cannot overflow: a datagram has less than 2^32 octets.
fn octets(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(2);
    let odd = words.remainder().first().map_or(0, |o| u64::from(*o) << 8);
    words.fold(odd, |sum, word| match word {
        [a, b] => sum + u64::from(u16::from_be_bytes([*a, *b])),
        _ => sum,
    })
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn datagram() -> Vec<u8> {
        let builder = etherparse::UdpHeader::with_ipv4_checksum(
            1000,
            67,
            &etherparse::Ipv4Header::new(
                11,
                64,
                etherparse::IpNumber::UDP,
                [192, 0, 2, 1],
                [192, 0, 2, 2],
            )
            .unwrap(),
            b"abc",
        )
        .unwrap();
        [&builder.to_bytes()[..], b"abc"].concat()
    }

    #[test]
    fn a_right_checksum_is_right_and_a_flipped_bit_is_seen() {
        let mut bytes = datagram();
        assert_eq!(check(A, B, protocol::UDP, &bytes), Checksum::Right);
        assert_eq!(verdict(A, B, protocol::UDP, &bytes, None, true), Some(true));
        bytes[9] ^= 1;
        assert_eq!(check(A, B, protocol::UDP, &bytes), Checksum::Wrong);
        assert_eq!(
            verdict(A, B, protocol::UDP, &bytes, Some(false), true),
            Some(false)
        );
    }

    #[test]
    fn unfinished_and_absent_checksums_and_own_or_cut_frames_are_not_judged() {
        let mut bytes = datagram();
        let partial = fold(pseudo_header(A, B, protocol::UDP, bytes.len()));
        bytes[6..8].copy_from_slice(&partial.to_be_bytes());
        assert_eq!(check(A, B, protocol::UDP, &bytes), Checksum::Unfinished);
        assert_eq!(verdict(A, B, protocol::UDP, &bytes, None, true), None);
        bytes[6] ^= 0x55;
        assert_eq!(verdict(A, B, protocol::UDP, &bytes, Some(true), true), None);
        assert_eq!(verdict(A, B, protocol::UDP, &bytes, None, false), None);
        bytes[6..8].fill(0);
        assert_eq!(check(A, B, protocol::UDP, &bytes), Checksum::Absent);
        assert_eq!(check(A, B, protocol::UDP, &bytes[..5]), Checksum::Absent);
    }
}
