//! Packets are built by dhcproto (its encoder is sound) and then broken by hand.

use std::net::Ipv4Addr;

use dhcproto::Encodable;
use dhcproto::v4::{self, DhcpOption, Message};

use super::*;
use crate::event::Prefix;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

fn build(options: &[DhcpOption]) -> Vec<u8> {
    let mut message = Message::default();
    message
        .set_xid(0x0102_0304)
        .set_chaddr(&MAC)
        .set_flags(v4::Flags::default().set_broadcast());
    for option in options {
        message.opts_mut().insert(option.clone());
    }
    message.to_vec().unwrap()
}

/// A client packet with these option octets behind the cookie, nothing added.
fn raw(options: &[u8]) -> Vec<u8> {
    let mut bytes = build(&[]);
    bytes.truncate(FIXED);
    bytes.extend(COOKIE);
    bytes.extend(options);
    bytes
}

fn read(payload: &[u8]) -> Dhcp4 {
    decode(payload, &UdpContext::default()).unwrap()
}

#[test]
fn a_discover_is_read_with_its_fingerprint_in_wire_order() {
    let message = read(&raw(&[
        53, 1, 1, 61, 7, 1, 2, 0, 0, 0, 0, 7, 12, 3, b'w', b'e', b'b', 55, 4, 121, 3, 6, 1, 60, 4,
        b'M', b'S', b'F', b'T', 255,
    ]));
    assert_eq!(message.message_type, Some(MessageType::Discover));
    assert_eq!(message.parameters, [121, 3, 6, 1]);
    assert_eq!(message.options, [53, 61, 12, 55, 60]);
    assert_eq!(
        message.client_id.as_deref(),
        Some(&[1, 2, 0, 0, 0, 0, 7][..])
    );
    assert_eq!(message.client_mac().unwrap().0, MAC);
    assert_eq!(message.xid, 0x0102_0304);
    assert!(message.broadcast);
    assert_eq!(message.flaws, []);
}

#[test]
fn dhcproto_and_we_agree_on_a_plain_ack() {
    let address = |last| Ipv4Addr::new(192, 0, 2, last);
    let options = [
        DhcpOption::MessageType(v4::MessageType::Ack),
        DhcpOption::ServerIdentifier(address(1)),
        DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)),
        DhcpOption::Router(vec![address(1), address(2)]),
        DhcpOption::DomainNameServer(vec![address(53)]),
        DhcpOption::AddressLeaseTime(3600),
        DhcpOption::Renewal(1800),
        DhcpOption::Rebinding(3150),
        DhcpOption::DomainName("example".into()),
        DhcpOption::ClasslessStaticRoute(vec![
            ("198.51.100.0/24".parse().unwrap(), address(9)),
            ("0.0.0.0/0".parse().unwrap(), address(1)),
        ]),
    ];
    let mut bytes = build(&options);
    bytes[0] = 2;
    let message = read(&bytes);
    assert_eq!(message.message_type, Some(MessageType::Ack));
    assert_eq!(message.server_id, Some(address(1)));
    assert_eq!(message.routers, [address(1), address(2)]);
    assert_eq!(message.dns, [address(53)]);
    assert_eq!(message.lease_time, Some(3600));
    assert_eq!((message.t1, message.t2), (Some(1800), Some(3150)));
    assert_eq!(message.domain.unwrap().to_string(), "example");
    let prefix = |text: &str| text.parse::<Prefix>().unwrap();
    assert_eq!(
        message.routes,
        [
            (121, prefix("198.51.100.0/24"), address(9)),
            (121, prefix("0.0.0.0/0"), address(1))
        ]
    );
    assert_eq!(message.flaws, []);
}

#[test]
fn options_in_the_file_and_sname_fields_are_read_in_that_order() {
    let mut bytes = raw(&[53, 1, 1, 52, 1, 3, 255]);
    bytes[FILE.start..FILE.start + 6].copy_from_slice(&[12, 3, b'w', b'e', b'b', 255]);
    bytes[SNAME.start..SNAME.start + 6].copy_from_slice(&[15, 3, b'l', b'a', b'n', 255]);
    let message = read(&bytes);
    assert_eq!(message.options, [53, 52, 12, 15]);
    assert_eq!(message.host_name.unwrap().to_string(), "web");
    assert_eq!(message.domain.unwrap().to_string(), "lan");
    assert_eq!((message.boot_file, message.boot_server), (None, None));
    assert_eq!(message.flaws, []);

    bytes[FILE.start..FILE.start + 4].copy_from_slice(&[52, 1, 2, 255]);
    assert!(read(&bytes).flaws.contains(&Dhcp4Flaw::BadOverload));
}

#[test]
fn a_split_option_is_joined_and_a_contradicting_one_is_a_flaw() {
    let split = read(&raw(&[53, 1, 1, 12, 2, b'a', b'b', 12, 1, b'c', 255]));
    assert_eq!(split.host_name.unwrap().to_string(), "abc");
    assert_eq!(split.flaws, []);

    let twice = read(&raw(&[
        53, 1, 2, 54, 4, 192, 0, 2, 1, 51, 4, 0, 0, 1, 0, 54, 4, 192, 0, 2, 1, 255,
    ]));
    assert_eq!(twice.server_id, Some(Ipv4Addr::new(192, 0, 2, 1)));
    assert!(!twice.flaws.contains(&Dhcp4Flaw::DuplicateOption));

    let contradicting = read(&raw(&[53, 1, 1, 53, 1, 5, 255]));
    assert_eq!(contradicting.message_type, Some(MessageType::Discover));
    assert_eq!(contradicting.flaws, [Dhcp4Flaw::DuplicateOption]);

    let apart = read(&raw(&[53, 1, 1, 12, 1, b'a', 55, 1, 1, 12, 1, b'b', 255]));
    assert_eq!(apart.flaws, [Dhcp4Flaw::DuplicateOption]);
}

#[test]
fn what_the_crate_reads_wrongly_is_read_right() {
    // 108, not 106 (RFC 8925); ASCII names in 81 (Windows); Latin-1 host names; 249 beside 121; everything behind them.
    let message = read(&raw(&[
        53, 1, 3, 81, 6, 0, 0, 0, b'p', b'c', b'1', 12, 2, b'a', 0xe9, 108, 4, 0, 0, 7, 8, 249, 7,
        16, 10, 1, 192, 0, 2, 1, 93, 4, 0, 7, 0, 9, 60, 3, b'a', b'b', b'c', 55, 1, 108, 255,
    ]));
    assert_eq!(message.fqdn.unwrap().to_string(), "pc1");
    assert_eq!(message.host_name.unwrap().octets(), [b'a', 0xe9]);
    assert_eq!(message.ipv6_only_wait, Some(1800));
    assert_eq!(message.architecture, Some(7));
    assert_eq!(
        message.routes,
        [(
            249,
            "10.1.0.0/16".parse().unwrap(),
            Ipv4Addr::new(192, 0, 2, 1)
        )]
    );
    assert_eq!(message.parameters, [108]);
    assert_eq!(message.vendor_class.unwrap().to_string(), "abc");
    assert_eq!(message.flaws, []);
}

#[test]
fn broken_routes_keep_the_good_ones_in_front() {
    for tail in [&[33, 1, 2, 3, 4, 5, 192, 0, 2, 1][..], &[24, 10, 0]] {
        let mut value = vec![8, 10, 192, 0, 2, 1];
        value.extend(tail);
        let mut options = vec![53, 1, 5, 121, value.len() as u8];
        options.extend(value);
        options.push(255);
        let mut bytes = raw(&options);
        bytes[0] = 2;
        let message = read(&bytes);
        assert_eq!(message.routes.len(), 1);
        assert_eq!(message.flaws, [Dhcp4Flaw::BadRoutes]);
    }
}

#[test]
fn the_relay_agent_option_is_taken_apart() {
    let message = read(&raw(&[
        53, 1, 1, 82, 17, 1, 3, b'p', b'/', b'1', 2, 2, 0xde, 0xad, 5, 4, 192, 0, 2, 0, 255, 0, 255,
    ]));
    let agent = message.relay_agent.unwrap();
    assert_eq!(agent.circuit_id.unwrap().to_string(), "p/1");
    assert_eq!(agent.remote_id.unwrap().octets(), [0xde, 0xad]);
    assert_eq!(agent.link_selection, Some(Ipv4Addr::new(192, 0, 2, 0)));
    assert_eq!(message.flaws, []);
    let cut = read(&raw(&[53, 1, 1, 82, 3, 1, 9, b'p', 255]));
    assert_eq!(cut.flaws, [Dhcp4Flaw::BadRelayAgent]);
}

#[test]
fn each_broken_rule_is_named() {
    let good = [53u8, 1, 1, 255];
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = raw(&good);
        change(&mut bytes);
        read(&bytes).flaws
    };
    assert_eq!(with(&|_| ()), []);
    assert_eq!(with(&|b| b[2] = 200), [Dhcp4Flaw::HardwareLength]);
    assert_eq!(with(&|b| b[2] = 5), [Dhcp4Flaw::HardwareLength]);
    assert_eq!(with(&|b| b[0] = 3), [Dhcp4Flaw::BadOp]);
    assert_eq!(with(&|b| b[0] = 2), [Dhcp4Flaw::WrongDirection]);
    assert_eq!(with(&|b| b[239] = 9), [Dhcp4Flaw::BadCookie]);
    assert_eq!(with(&|b| b[28] = 1), [Dhcp4Flaw::BadHardwareAddress]);
    assert_eq!(
        with(&|b| b[28..34].fill(0)),
        [Dhcp4Flaw::BadHardwareAddress]
    );
    assert_eq!(with(&|b| b[242] = 99), [Dhcp4Flaw::UnknownMessageType]);
    assert_eq!(with(&|b| b.truncate(243)), [Dhcp4Flaw::NoEnd]);
    assert_eq!(with(&|b| b[243] = 12), [Dhcp4Flaw::OptionOverrun]);
    assert_eq!(with(&|b| b.extend([0, 0, 7])), [Dhcp4Flaw::AfterEnd]);
    assert_eq!(with(&|b| b.truncate(100)), [Dhcp4Flaw::Truncated]);
    let flaws = |options: &[u8]| read(&raw(options)).flaws;
    assert_eq!(flaws(&[50, 4, 1, 2, 3, 4, 255]), [Dhcp4Flaw::NoMessageType]);
    assert_eq!(
        flaws(&[53, 1, 3, 50, 3, 1, 2, 3, 255]),
        [Dhcp4Flaw::OptionLength]
    );
    assert_eq!(
        flaws(&[53, 1, 3, 3, 6, 1, 2, 3, 4, 5, 6, 255]),
        [Dhcp4Flaw::OptionLength]
    );
    assert_eq!(flaws(&[53, 1, 3, 52, 1, 4, 255]), [Dhcp4Flaw::BadOverload]);
}

#[test]
fn a_bootp_packet_is_no_broken_dhcp_packet() {
    let mut bytes = raw(&[]);
    bytes.truncate(FIXED);
    assert_eq!(read(&bytes).flaws, []);
    bytes.extend([0; 64]);
    assert_eq!(read(&bytes).flaws, []);
    // Vendor extensions behind a cookie (RFC 1497).
    let mut extended = raw(&[1, 4, 255, 255, 255, 0, 255]);
    extended.resize(300, 0);
    assert_eq!(read(&extended).flaws, []);
}

#[test]
fn a_packet_that_the_capture_cut_is_not_called_malformed() {
    let context = UdpContext {
        truncated: true,
        length_mismatch: true,
        checksum: Some(false),
        ..UdpContext::default()
    };
    let whole = raw(&[53, 1, 1, 12, 3, b'w', b'e', b'b', 255]);
    for len in READABLE..=whole.len() {
        let message = decode(&whole[..len], &context).unwrap();
        assert_eq!(message.flaws, [], "{len}");
    }
}

#[test]
fn text_that_acts_on_a_terminal_is_pointed_out_and_binary_classes_are_not() {
    let message = read(&raw(&[
        53, 1, 1, 12, 4, b'a', 0x1b, b'[', b'm', 60, 3, 0, 1, 2, 77, 3, 0x1b, b']', b'0', 255,
    ]));
    assert_eq!(message.hostile_text, [12, 77]);
    let mut bytes = raw(&[53, 1, 1, 255]);
    bytes[FILE.start..FILE.start + 3].copy_from_slice(b"\x1b[m");
    assert_eq!(read(&bytes).hostile_text, [255]);
}

#[test]
fn what_is_no_dhcp_at_all_is_an_error() {
    for payload in [&[][..], &[1; 43], &[0x7f; 300]] {
        assert!(decode(payload, &UdpContext::default()).is_err());
    }
}

#[test]
fn no_mutation_of_a_packet_panics() {
    let seeds = [
        raw(&[
            53, 1, 1, 52, 1, 3, 82, 4, 1, 2, 3, 4, 121, 8, 24, 10, 0, 0, 192, 0, 2, 1, 255,
        ]),
        raw(&[
            81, 6, 4, 0, 0, 2, b'a', b'b', 77, 3, 2, 1, 1, 33, 8, 1, 2, 3, 4, 5, 6, 7, 8,
        ]),
    ];
    let mut random = 0x2545_f491_4f6c_dd1du64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for round in 0..20_000usize {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..next() % 8 {
            let at = next() as usize % bytes.len();
            let at = if next() % 2 == 0 {
                at
            } else {
                FIXED + at % (bytes.len() - FIXED)
            };
            bytes[at] = next() as u8;
        }
        bytes.truncate(bytes.len() - next() as usize % 4);
        let _ = decode(&bytes, &UdpContext::default());
    }
}

#[test]
fn a_packet_full_of_options_stays_bounded() {
    let mut options = Vec::new();
    for at in 0..30_000u32 {
        options.extend([(at % 254 + 1) as u8, 0]);
    }
    let message = read(&raw(&options));
    assert!(message.options.len() <= 1024);
    assert!(message.flaws.contains(&Dhcp4Flaw::DuplicateOption));
}

#[test]
fn times_that_contradict_each_other_and_an_unproven_forcerenew_are_flaws_of_what_is_said() {
    let server = |options: &[u8]| {
        let mut bytes = raw(options);
        bytes[0] = 2;
        bytes[16..20].copy_from_slice(&[192, 0, 2, 9]);
        read(&bytes).flaws
    };
    let times = |lease: u8, t1: u8, t2: u8| {
        server(&[
            53, 1, 5, 51, 4, 0, 0, 0, lease, 58, 4, 0, 0, 0, t1, 59, 4, 0, 0, 0, t2, 255,
        ])
    };
    assert_eq!(times(100, 50, 87), []);
    assert_eq!(times(100, 90, 87), [Dhcp4Flaw::BadLifetimes]);
    assert_eq!(times(100, 50, 101), [Dhcp4Flaw::BadLifetimes]);
    assert_eq!(times(0, 0, 0), [Dhcp4Flaw::BadLifetimes]);
    // dnsmasq gives no T1 and T2 to old clients.
    assert_eq!(server(&[53, 1, 5, 51, 4, 0, 0, 0, 100, 255]), []);
    assert_eq!(server(&[53, 1, 9, 255]), [Dhcp4Flaw::NotAuthenticated]);
    assert_eq!(server(&[53, 1, 9, 90, 3, 3, 1, 0, 255]), []);
}
