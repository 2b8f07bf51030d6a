//! ARP for Ethernet and IPv4 (RFC 826). Other hardware or protocol types are not ours to judge and give `None`.

use std::net::Ipv4Addr;

use crate::event::WireText;
use crate::event::frame::{Frame, Mac};
use crate::event::lan::Arp;
use crate::event::loss::{Malformed, Protocol};

const ETHERNET: [u8; 2] = [0, 1];
const IPV4: [u8; 2] = [8, 0];
/// Octets of hardware and protocol addresses of Ethernet and IPv4.
const LENGTHS: [u8; 2] = [6, 4];
/// Octets of undecodable bytes that are shown.
const HEAD: usize = 32;

/// Decodes an ARP packet (the bytes behind Ethertype 0x0806).
pub fn decode(bytes: &[u8], frame: &Frame) -> Result<Option<Arp>, Malformed> {
    let fail = |why| {
        Err(Malformed {
            protocol: Protocol::Arp,
            why: WireText::from(why),
            head: bytes.iter().take(HEAD).copied().collect(),
        })
    };
    let Some((&[h0, h1, p0, p1, hlen, plen, o0, o1], rest)) = bytes.split_first_chunk::<8>() else {
        return fail("shorter than its header");
    };
    if [h0, h1] != ETHERNET || [p0, p1] != IPV4 {
        return Ok(None);
    }
    if [hlen, plen] != LENGTHS {
        return fail("address lengths are not those of Ethernet and IPv4");
    }
    let op = u16::from_be_bytes([o0, o1]);
    if !matches!(op, 1 | 2) {
        return Ok(None); // reverse and inverse ARP: no claim of an address
    }
    let addresses = rest.split_first_chunk::<10>().and_then(|(sender, rest)| {
        let (target, _) = rest.split_first_chunk::<10>()?;
        Some((pair(sender), pair(target)))
    });
    let Some(((sender_mac, sender_ip), (target_mac, target_ip))) = addresses else {
        return fail("shorter than its addresses");
    };
    Ok(Some(Arp {
        frame: *frame,
        op,
        sender_mac,
        sender_ip,
        target_mac,
        target_ip,
    }))
}

fn pair(octets: &[u8; 10]) -> (Mac, Ipv4Addr) {
    let [a, b, c, d, e, f, w, x, y, z] = *octets;
    (Mac([a, b, c, d, e, f]), Ipv4Addr::new(w, x, y, z))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet() -> Vec<u8> {
        let mut bytes = vec![0, 1, 8, 0, 6, 4, 0, 2];
        bytes.extend([2, 0, 0, 0, 0, 1, 192, 0, 2, 1]);
        bytes.extend([2, 0, 0, 0, 0, 9, 192, 0, 2, 9]);
        bytes
    }

    #[test]
    fn a_reply_tells_who_has_which_address() {
        let mut bytes = packet();
        bytes.extend([0; 18]); // Ethernet padding
        let arp = decode(&bytes, &Frame::default()).unwrap().unwrap();
        assert_eq!(arp.op, 2);
        assert_eq!(arp.sender_ip, Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(arp.sender_mac, Mac([2, 0, 0, 0, 0, 1]));
        assert_eq!(arp.target_ip, Ipv4Addr::new(192, 0, 2, 9));
    }

    #[test]
    fn a_cut_packet_is_malformed_and_another_protocol_is_none_of_our_business() {
        let bytes = packet();
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len], &Frame::default()).is_err(), "{len}");
        }
        for (at, value) in [(1, 32), (3, 6), (7, 8)] {
            let mut other = packet();
            other[at] = value;
            assert!(decode(&other, &Frame::default()).unwrap().is_none());
        }
        let mut wrong = packet();
        wrong[4] = 16;
        assert!(decode(&wrong, &Frame::default()).is_err());
    }
}
