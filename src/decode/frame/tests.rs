//! Each link type from hand-made bytes, and the IP headers behind it.

use std::net::IpAddr;

use super::ip::{Content, packet, protocol};
use super::prefilter::{Ports, wanted};
use super::*;

const IP4: [u8; 20] = [
    0x45, 0, 0, 20, 0, 9, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
];

fn ip6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend([next, 255]);
    for end in [1, 2] {
        bytes.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, end]);
    }
    bytes.extend(payload);
    bytes
}

fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

/// The network layer in `bytes`, which must have it.
fn inside(link_type: u16, bytes: &[u8]) -> (u16, Vec<u8>, Frame) {
    match link(link_type, bytes) {
        Link::Network {
            ethertype,
            payload,
            header,
            frame,
        } => {
            assert_eq!(bytes[header..], *payload);
            (ethertype, payload.to_vec(), frame)
        }
        other => panic!("link type {link_type}: {other:?}"),
    }
}

#[test]
fn ethernet_with_up_to_three_tags() {
    let tags: [&[u8]; 3] = [
        &[0x88, 0xa8, 0, 100],
        &[0x91, 0, 0, 200],
        &[0x81, 0, 0xe1, 44],
    ];
    for count in 0..=3 {
        let mut bytes = MACS.to_vec();
        for tag in &tags[..count] {
            bytes.extend(*tag);
        }
        bytes.extend(cat(&[&[0x08, 0], &IP4]));
        let (kind, payload, frame) = inside(linktype::ETHERNET, &bytes);
        assert_eq!((kind, payload.as_slice()), (ethertype::IPV4, &IP4[..]));
        assert_eq!(frame.eth_dst, Some(Mac([2, 0, 0, 0, 0, 1])));
        assert_eq!(frame.eth_src, Some(Mac([2, 0, 0, 0, 0, 2])));
        let ids = [Some(100), Some(200), Some(300)];
        for (slot, id) in ids.into_iter().enumerate() {
            assert_eq!(frame.vlans[slot], if slot < count { id } else { None });
        }
    }
    let four = cat(&[&MACS, tags[0], tags[1], tags[2], tags[2], &[0x08, 0], &IP4]);
    assert_eq!(inside(linktype::ETHERNET, &four).0, ethertype::VLAN);
}

#[test]
fn cooked_captures_know_the_direction_and_the_interface() {
    let sll = |kind: u8| {
        let head = [0, kind, 0, 1, 0, 6, 2, 0, 0, 0, 0, 2, 0, 0, 8, 0];
        inside(linktype::LINUX_SLL, &cat(&[&head, &IP4])).2
    };
    assert_eq!(sll(4).outgoing, Some(true));
    assert_eq!(sll(0).outgoing, Some(false));
    assert_eq!(sll(0).eth_src, Some(Mac([2, 0, 0, 0, 0, 2])));
    let head = [8, 0, 0, 0, 0, 0, 0, 12, 0, 1, 4, 6, 2, 0, 0, 0, 0, 2, 0, 0];
    let (kind, payload, frame) = inside(linktype::LINUX_SLL2, &cat(&[&head, &IP4]));
    assert_eq!((kind, payload.as_slice()), (ethertype::IPV4, &IP4[..]));
    assert_eq!((frame.outgoing, frame.ifindex), (Some(true), Some(12)));
    assert_eq!(frame.eth_src, Some(Mac([2, 0, 0, 0, 0, 2])));
    assert_eq!(frame.eth_dst, None);
}

#[test]
fn netlink_is_taken_from_its_cooked_headers_and_only_routing() {
    let head = |hardware: u16, family: u8| {
        let [high, low] = hardware.to_be_bytes();
        [0, 4, high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, family]
    };
    let message = [1, 2, 3, 4];
    for link_type in [linktype::NETLINK, linktype::LINUX_SLL] {
        let bytes = cat(&[&head(824, 0), &message]);
        assert!(matches!(link(link_type, &bytes), Link::Netlink(m) if m == message));
        let bytes = cat(&[&head(824, 16), &message]);
        assert!(matches!(link(link_type, &bytes), Link::Foreign));
    }
}

#[test]
fn raw_loopback_hdlc_and_ppp() {
    let v6 = ip6(59, &[]);
    let cases: [(u16, &[u8], bool); 19] = [
        (linktype::RAW, &[], false),
        (linktype::RAW, &[], true),
        (linktype::RAW_BSD, &[], false),
        (linktype::RAW_OPENBSD, &[], true),
        (linktype::IPV4, &[], false),
        (linktype::IPV6, &[], true),
        (linktype::NULL, &[2, 0, 0, 0], false),
        (linktype::NULL, &[0, 0, 0, 2], false),
        (linktype::NULL, &[30, 0, 0, 0], true),
        (linktype::LOOP, &[0, 0, 0, 24], true),
        (linktype::C_HDLC, &[0x0f, 0, 8, 0], false),
        (linktype::C_HDLC, &[0x0f, 0, 0x86, 0xdd], true),
        (
            linktype::C_HDLC,
            &[0x0f, 0, 0x88, 0x47, 0, 1, 0, 64, 0, 2, 1, 64],
            true,
        ),
        (linktype::PPP, &[0, 0x21], false),
        (linktype::PPP, &[0x57], true),
        (linktype::PPP, &[0x02, 0x81, 0, 1, 1, 64], false),
        (linktype::PPP_HDLC, &[0xff, 3, 0, 0x57], true),
        (
            linktype::ETHERNET,
            &[
                2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0x64, 0x11, 0, 0, 1, 0, 22, 0, 0x21,
            ],
            false,
        ),
        (
            linktype::ETHERNET,
            &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd],
            true,
        ),
    ];
    for (link_type, head, is_v6) in cases {
        let ip: &[u8] = if is_v6 { &v6 } else { &IP4 };
        let (kind, payload, _) = inside(link_type, &cat(&[head, ip]));
        let want = if is_v6 {
            ethertype::IPV6
        } else {
            ethertype::IPV4
        };
        assert_eq!(
            (kind, payload.as_slice()),
            (want, ip),
            "{link_type} {head:x?}"
        );
    }
}

#[test]
fn what_ends_early_or_is_unknown_says_so() {
    assert!(matches!(link(9999, &IP4), Link::UnknownLinkType));
    assert!(matches!(link(linktype::ETHERNET, &MACS), Link::Short));
    let llc = cat(&[&MACS, &[0, 40, 0x42, 0x42, 3]]);
    assert!(matches!(link(linktype::ETHERNET, &llc), Link::Foreign));
    assert!(matches!(link(linktype::LINUX_SLL2, &[8; 19]), Link::Short));
}

#[test]
fn ipv4_payload_is_without_padding_and_tells_what_is_missing() {
    let mut bytes = cat(&[&IP4, b"payload-", &[0; 18]]);
    bytes[3] = 28;
    let whole = packet(ethertype::IPV4, &bytes, bytes.len()).unwrap();
    assert_eq!(whole.src, IpAddr::from([192, 0, 2, 1]));
    assert_eq!((whole.hop_limit, whole.id, whole.missing), (64, 9, 0));
    let Content::Whole(transport) = whole.content else {
        panic!()
    };
    assert_eq!(transport.payload, b"payload-");
    assert_eq!(
        (transport.protocol, transport.extended),
        (protocol::UDP, false)
    );
    assert_eq!(
        packet(ethertype::IPV4, &bytes[..23], 46).unwrap().missing,
        5
    );
    // Left open by segmentation offload: the frame says how long.
    bytes[3] = 0;
    assert_eq!(
        packet(ethertype::IPV4, &bytes[..30], 46).unwrap().missing,
        16
    );
    for broken in [(0, 0x44), (0, 0x65), (3, 19)] {
        let mut bytes = IP4;
        bytes[broken.0] = broken.1;
        assert!(packet(ethertype::IPV4, &bytes, 20).is_err());
    }
}

#[test]
fn ipv4_fragments_carry_offset_identification_and_more() {
    let mut bytes = cat(&[&IP4, b"12345678"]);
    bytes[3] = 28;
    bytes[6..8].copy_from_slice(&(0x2000u16 | 3).to_be_bytes());
    let Content::Fragment(fragment) = packet(ethertype::IPV4, &bytes, 28).unwrap().content else {
        panic!()
    };
    assert_eq!((fragment.offset, fragment.id, fragment.more), (24, 9, true));
    assert_eq!(fragment.payload, b"12345678");
}

#[test]
fn ipv6_fragment_header_is_read_bit_by_bit_and_never_behind_it() {
    // Next header: destination options, which must not be looked for in a later fragment. Offset 185 × 8, M set (RFC 8200 §4.5).
    let header = [60, 0, 0x05, 0xc9, 0xde, 0xad, 0xbe, 0xef];
    let bytes = ip6(44, &cat(&[&header, &[0xff; 16]]));
    let Content::Fragment(fragment) = packet(ethertype::IPV6, &bytes, bytes.len())
        .unwrap()
        .content
    else {
        panic!()
    };
    assert_eq!((fragment.offset, fragment.more), (1480, true));
    assert_eq!((fragment.id, fragment.protocol), (0xdead_beef, 60));
    assert_eq!(fragment.payload, [0xff; 16]);
}

#[test]
fn ipv6_extension_headers_are_walked_and_marked() {
    let options = [43, 0, 1, 4, 0, 0, 0, 0];
    let routing = [44, 0, 0, 0, 0, 0, 0, 0];
    let atomic = [60, 0, 0, 0, 0, 0, 0, 1];
    let last = [58, 0, 1, 4, 0, 0, 0, 0];
    let bytes = ip6(0, &cat(&[&options, &routing, &atomic, &last, b"icmp"]));
    let Content::Whole(transport) = packet(ethertype::IPV6, &bytes, bytes.len())
        .unwrap()
        .content
    else {
        panic!()
    };
    assert_eq!(
        (transport.protocol, transport.extended),
        (protocol::ICMPV6, true)
    );
    assert_eq!(transport.payload, b"icmp");
    let endless = ip6(60, &[60, 0, 1, 4, 0, 0, 0, 0].repeat(20));
    assert!(packet(ethertype::IPV6, &endless, endless.len()).is_err());
}

#[test]
fn the_prefilter_lets_pass_what_is_for_us_and_little_else() {
    let mut ports = Ports::default();
    let v4 = |proto: u8, transport: &[u8]| {
        let mut bytes = cat(&[&IP4, transport]);
        bytes[3] = bytes.len() as u8;
        bytes[9] = proto;
        bytes
    };
    let udp = |src: u16, dst: u16| {
        let ports = [src.to_be_bytes(), dst.to_be_bytes()].concat();
        v4(17, &cat(&[&ports, &[0, 8, 0, 0]]))
    };
    let tcp = |src: u16, dst: u16, payload: &[u8]| {
        let mut bytes = [src.to_be_bytes(), dst.to_be_bytes()].concat();
        bytes.extend([0; 8]);
        bytes.extend([0x50, 0x10, 1, 1, 0, 0, 0, 0]);
        v4(6, &cat(&[&bytes, payload]))
    };
    let want = |bytes: &[u8], ports: &Ports| wanted(ethertype::IPV4, bytes, ports);
    for (src, dst) in [
        (68, 67),
        (67, 68),
        (5, 546),
        (5, 547),
        (5, 3784),
        (5, 4784),
        (67, 999),
    ] {
        assert!(want(&udp(src, dst), &ports), "{src} {dst}");
    }
    assert!(!want(&udp(53, 5000), &ports));
    assert!(want(&tcp(179, 5000, b""), &ports) && want(&tcp(5000, 179, b""), &ports));
    assert!(!want(&tcp(443, 5000, b"x"), &ports));
    assert!(want(&tcp(443, 5000, b"\x03"), &ports));
    assert!(!want(&tcp(443, 11019, b""), &ports));
    ports.insert(11019);
    assert!(want(&tcp(443, 11019, b""), &ports));
    // ICMP errors quote; they are never looked into.
    assert!(!want(
        &v4(1, &cat(&[&[3, 3, 0, 0, 0, 0, 0, 0], &udp(68, 67)])),
        &ports
    ));
    let quote = ip6(58, &cat(&[&[1, 4, 0, 0, 0, 0, 0, 0], &udp(546, 547)]));
    assert!(!wanted(ethertype::IPV6, &quote, &ports));
    assert!(wanted(ethertype::IPV6, &ip6(58, &[134, 0, 0, 0]), &ports));
    let mut later = udp(1, 1);
    later[7] = 9;
    assert!(want(&later, &ports), "a fragment's ports are elsewhere");
    assert!(!wanted(0x88cc, &[0; 60], &ports));
}
