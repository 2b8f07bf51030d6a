//! ICMP errors that quote a segment of a BGP connection: somebody on the way could not deliver it, and says so.
//!
//! A quote is no traffic: only who sent the lost segment, to whom, and why it did not arrive is taken from it (RFC 792, RFC 4443 §3).

use std::net::{IpAddr, SocketAddr};

use super::frame::be16;
use super::frame::ip::protocol;
use crate::event::frame::Frame;
use crate::event::ports;
use crate::event::tcp::{TcpEvent, TcpFact};

/// Type, code, checksum and a word that depends on the type stand before the quote.
const HEADER: usize = 8;
/// ICMP: destination unreachable, time exceeded.
const V4_ERRORS: [u8; 2] = [3, 11];
/// ICMPv6: destination unreachable, packet too big, time exceeded.
const V6_ERRORS: [u8; 3] = [1, 2, 3];

/// Whether a message is such an error, by a few octets of it.
pub fn quotes_bgp(message: &[u8], v6: bool) -> bool {
    ends(message, v6).is_some()
}

/// The segment that an error is about.
pub fn quoted(message: &[u8], v6: bool, frame: &Frame) -> Option<TcpEvent> {
    let (src, dst) = ends(message, v6)?;
    let (kind, code) = (*message.first()?, *message.get(1)?);
    Some(TcpEvent {
        frame: *frame,
        src,
        dst,
        auth: None,
        what: TcpFact::Icmp { kind, code },
    })
}

fn ends(message: &[u8], v6: bool) -> Option<(SocketAddr, SocketAddr)> {
    let kind = message.first()?;
    let error = if v6 {
        V6_ERRORS.contains(kind)
    } else {
        V4_ERRORS.contains(kind)
    };
    let packet = message.get(HEADER..).filter(|_| error)?;
    let version = packet.first()? >> 4;
    let (src, dst, segment): (IpAddr, IpAddr, &[u8]) = if v6 {
        let (src, dst): (&[u8; 16], &[u8; 16]) = (
            packet.get(8..)?.first_chunk()?,
            packet.get(24..)?.first_chunk()?,
        );
        if version != 6 || *packet.get(6)? != protocol::TCP {
            return None;
        }
        ((*src).into(), (*dst).into(), packet.get(40..)?)
    } else {
        let (src, dst): (&[u8; 4], &[u8; 4]) = (
            packet.get(12..)?.first_chunk()?,
            packet.get(16..)?.first_chunk()?,
        );
        // Only the first fragment has ports.
        if version != 4 || *packet.get(9)? != protocol::TCP || be16(packet, 6)? & 0x1fff != 0 {
            return None;
        }
        let header = usize::from(packet.first()? & 0xf) * 4;
        ((*src).into(), (*dst).into(), packet.get(header.max(20)..)?)
    };
    let (from, to) = (be16(segment, 0)?, be16(segment, 2)?);
    (from == ports::BGP || to == ports::BGP)
        .then(|| (SocketAddr::new(src, from), SocketAddr::new(dst, to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error of this type about a segment from 192.0.2.1 to 198.51.100.1.
    fn error(kind: u8, protocol: u8, ports: [u16; 2]) -> Vec<u8> {
        let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
        message.extend([
            0x45, 0, 0, 40, 0, 1, 0x40, 0, 1, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 1,
        ]);
        message.extend(ports.into_iter().flat_map(u16::to_be_bytes));
        message.extend([0, 0, 0, 1]);
        message
    }

    #[test]
    fn an_error_about_a_bgp_segment_names_both_ends_and_others_are_left_alone() {
        let found = quoted(&error(11, 6, [40_000, 179]), false, &Frame::default());
        let found = found.expect("it quotes a segment to port 179");
        assert_eq!(found.src.to_string(), "192.0.2.1:40000");
        assert_eq!(found.dst.to_string(), "198.51.100.1:179");
        assert_eq!(found.what, TcpFact::Icmp { kind: 11, code: 0 });
        // An echo reply, a UDP datagram, another port, and every cut of it.
        assert!(!quotes_bgp(&error(0, 6, [40_000, 179]), false));
        assert!(!quotes_bgp(&error(11, 17, [40_000, 179]), false));
        assert!(!quotes_bgp(&error(11, 6, [40_000, 443]), false));
        let whole = error(3, 6, [179, 40_000]);
        for cut in 0..whole.len() - 4 {
            assert!(!quotes_bgp(&whole[..cut], false), "{cut}");
        }
    }
}
