//! BFD control packets (RFC 5880 §4.1), taken only when they pass the checks a receiver must make (§6.8.6) and, on a single hop, the
//! generalised TTL check (RFC 5881 §5). Holds no state: sessions are `state`'s.

use super::UdpContext;
use super::frame::be32;
use crate::event::bfd::{Bfd, BfdState};
use crate::event::loss::{Malformed, Protocol};

/// The mandatory section.
const HEADER: usize = 24;
/// The shortest authentication section: type and length.
const AUTHENTICATION: usize = 2;
/// Multihop (RFC 5883): the one port where a packet may have been routed.
const MULTIHOP: u16 = 4784;

/// Decodes a UDP payload to one of BFD's ports.
pub fn decode(payload: &[u8], context: &UdpContext) -> Result<Bfd, Malformed> {
    read(payload, context).map_err(|why| super::malformed(Protocol::Bfd, why, payload))
}

fn read(payload: &[u8], context: &UdpContext) -> Result<Bfd, &'static str> {
    let &[first, flags, detect_mult, length, ..] = payload else {
        return Err("shorter than its header");
    };
    let word = |at| be32(payload, at).ok_or("shorter than its header");
    if first >> 5 != 1 {
        return Err("version is not 1");
    }
    let authentication = flags & 0x04 != 0;
    let shortest = HEADER + if authentication { AUTHENTICATION } else { 0 };
    let length = usize::from(length);
    if length < shortest {
        return Err("length field below the header's");
    }
    if length > payload.len() && !context.truncated {
        return Err("length field exceeds the payload");
    }
    if detect_mult == 0 {
        return Err("detection multiplier is zero");
    }
    if flags & 0x01 != 0 {
        return Err("multipoint bit is set");
    }
    let my_discriminator = word(4)?;
    if my_discriminator == 0 {
        return Err("my discriminator is zero");
    }
    let state = match flags >> 6 {
        0 => BfdState::AdminDown,
        1 => BfdState::Down,
        2 => BfdState::Init,
        _ => BfdState::Up,
    };
    let your_discriminator = word(8)?;
    if your_discriminator == 0 && !matches!(state, BfdState::Down | BfdState::AdminDown) {
        return Err("your discriminator is zero in state Init or Up");
    }
    if context.dst_port != MULTIHOP
        && !authentication
        && context.frame.hop_limit.is_some_and(|ttl| ttl != 255)
    {
        return Err("single hop, but TTL is not 255: it was routed or forged");
    }
    Ok(Bfd {
        frame: context.frame,
        port: context.dst_port,
        diag: first & 0x1f,
        state,
        poll: flags & 0x20 != 0,
        is_final: flags & 0x10 != 0,
        control_plane_independent: flags & 0x08 != 0,
        authentication,
        demand: flags & 0x02 != 0,
        detect_mult,
        my_discriminator,
        your_discriminator,
        desired_min_tx_us: word(12)?,
        required_min_rx_us: word(16)?,
        required_min_echo_rx_us: word(20)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::frame::Frame;

    fn context(port: u16, ttl: u8) -> UdpContext {
        UdpContext {
            dst_port: port,
            frame: Frame {
                hop_limit: Some(ttl),
                ..Frame::default()
            },
            ..UdpContext::default()
        }
    }

    fn packet() -> Vec<u8> {
        let mut bytes = vec![0x20 | 1, 0xc0 | 0x20 | 0x08, 3, 24];
        for word in [7u32, 9, 300_000, 200_000, 50_000] {
            bytes.extend(word.to_be_bytes());
        }
        bytes
    }

    #[test]
    fn every_field_is_read() {
        let bfd = decode(&packet(), &context(3784, 255)).unwrap();
        assert_eq!(
            (bfd.diag, bfd.state, bfd.poll, bfd.is_final),
            (1, BfdState::Up, true, false)
        );
        assert!(bfd.control_plane_independent && !bfd.demand && !bfd.authentication);
        assert_eq!((bfd.detect_mult, bfd.port), (3, 3784));
        assert_eq!((bfd.my_discriminator, bfd.your_discriminator), (7, 9));
        assert_eq!(
            (
                bfd.desired_min_tx_us,
                bfd.required_min_rx_us,
                bfd.required_min_echo_rx_us
            ),
            (300_000, 200_000, 50_000)
        );
    }

    #[test]
    fn what_a_receiver_must_discard_is_malformed() {
        let cases: [(usize, u8); 6] = [
            (0, 0x40), // version 2
            (3, 23),   // length below the header's
            (3, 25),   // length beyond the payload
            (2, 0),    // multiplier
            (1, 0xc1), // multipoint
            (1, 0xc4), // authentication without its section
        ];
        for (at, octet) in cases {
            let mut bytes = packet();
            bytes[at] = octet;
            assert!(decode(&bytes, &context(3784, 255)).is_err(), "octet {at}");
        }
        let mut bytes = packet();
        bytes[4..8].fill(0);
        assert!(decode(&bytes, &context(3784, 255)).is_err());
        let mut bytes = packet();
        bytes[8..12].fill(0);
        assert!(decode(&bytes, &context(3784, 255)).is_err());
        bytes[1] = 0x40;
        assert!(
            decode(&bytes, &context(3784, 255)).is_ok(),
            "Down may not know the other"
        );
        for len in 0..24 {
            assert!(decode(&packet()[..len], &context(3784, 255)).is_err());
        }
    }

    #[test]
    fn only_multihop_packets_may_have_been_routed() {
        assert!(decode(&packet(), &context(3784, 254)).is_err());
        assert!(decode(&packet(), &context(6784, 254)).is_err());
        assert!(decode(&packet(), &context(4784, 61)).is_ok());
    }
}
