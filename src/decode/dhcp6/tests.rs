//! Packets are built by hand: dhcproto can neither write nor read a relayed message.

use super::*;
use crate::event::dhcp6::{Duid, IaAddress};

fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = code.to_be_bytes().to_vec();
    bytes.extend((value.len() as u16).to_be_bytes());
    bytes.extend(value);
    bytes
}

fn message(message_type: u8, options: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![message_type, 0x0a, 0x0b, 0x0c];
    bytes.extend(options.concat());
    bytes
}

fn relayed(hops: u8, inner: &[u8], more: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![12, hops];
    bytes.extend([0x20; 16]);
    bytes.extend([0xfe; 16]);
    bytes.extend(option(9, inner));
    bytes.extend(more.concat());
    bytes
}

fn address_option(last: u8, preferred: u32, valid: u32) -> Vec<u8> {
    let mut value = vec![0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    value.extend(preferred.to_be_bytes());
    value.extend(valid.to_be_bytes());
    option(5, &value)
}

fn association(inner: &[Vec<u8>]) -> Vec<u8> {
    let mut value = vec![0, 0, 0, 1, 0, 0, 0, 50, 0, 0, 0, 80];
    value.extend(inner.concat());
    option(3, &value)
}

fn client() -> Vec<u8> {
    option(1, &[0, 3, 0, 1, 2, 0, 0, 0, 0, 7])
}

fn server() -> Vec<u8> {
    option(2, &[0, 3, 0, 1, 2, 0, 0, 0, 0, 1])
}

fn read(payload: &[u8]) -> Dhcp6 {
    decode(payload, &UdpContext::default()).unwrap()
}

#[test]
fn a_reply_is_read_with_its_addresses_prefixes_and_status() {
    let mut delegation = vec![0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut prefix = 100u32.to_be_bytes().to_vec();
    prefix.extend(200u32.to_be_bytes());
    prefix.push(56);
    prefix.extend([0x20, 1, 0x0d, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    delegation.extend(option(26, &prefix));
    let reply = read(&message(
        7,
        &[
            client(),
            server(),
            association(&[address_option(5, 100, 200)]),
            option(25, &delegation),
            option(13, b"\0\x02no addresses"),
            option(23, &[0x20; 32]),
            option(7, &[255]),
            option(14, &[]),
        ],
    ));
    assert_eq!(reply.name(), "REPLY");
    assert_eq!(reply.xid, 0x0a0b0c);
    assert_eq!(
        reply.client.as_ref().map(Duid::to_string).as_deref(),
        Some("00:03:00:01:02:00:00:00:00:07")
    );
    assert_eq!(
        reply.addresses,
        [IaAddress {
            iaid: 1,
            addr: "2001:db8::5".parse().unwrap(),
            preferred: 100,
            valid: 200,
            t1: 50,
            t2: 80
        }]
    );
    assert_eq!(reply.prefixes[0].prefix.to_string(), "2001:db8:9::/56");
    assert_eq!(reply.prefixes[0].valid, 200);
    assert_eq!(reply.status[0].0, 2);
    assert_eq!(reply.status[0].1.to_string(), "no addresses");
    assert_eq!(reply.dns.len(), 2);
    assert_eq!(reply.preference, Some(255));
    assert!(reply.rapid_commit);
    assert_eq!(reply.options, [1, 2, 3, 25, 13, 23, 7, 14]);
    assert_eq!(reply.flaws, []);
}

#[test]
fn a_relayed_message_is_unwrapped_from_the_outermost_envelope() {
    let solicit = message(
        1,
        &[client(), option(6, &[0, 23, 0, 24]), option(8, &[0, 7])],
    );
    let inner = relayed(0, &solicit, &[option(18, b"ge-0/1")]);
    let outer = relayed(1, &inner, &[option(37, b"\0\0\0\x09id")]);
    let read = read(&outer);
    assert_eq!(read.name(), "SOLICIT");
    assert_eq!(read.requested, [23, 24]);
    assert_eq!(read.elapsed_ms, Some(70));
    assert_eq!(read.relays.len(), 2);
    assert_eq!((read.relays[0].hop_count, read.relays[1].hop_count), (1, 0));
    assert_eq!(read.relays[0].remote_id.as_ref().unwrap().to_string(), "id");
    assert_eq!(
        read.relays[1].interface_id.as_ref().unwrap().to_string(),
        "ge-0/1"
    );
    assert_eq!(read.flaws, []);
}

#[test]
fn envelopes_beyond_the_hop_limit_are_noted_and_not_followed() {
    let mut wire = message(1, &[client()]);
    for hops in 0..40 {
        wire = relayed(hops, &wire, &[]);
    }
    let read = read(&wire);
    assert_eq!(read.relays.len(), MAX_RELAYS + 1);
    assert_eq!(read.flaws, [Dhcp6Flaw::TooDeep]);
}

#[test]
fn thousands_of_nested_options_neither_recurse_nor_pass() {
    let mut nested = Vec::new();
    for _ in 0..4000 {
        let mut value = vec![0; 12];
        value.extend(&nested);
        if value.len() > 60_000 {
            break;
        }
        nested = option(3, &value);
    }
    let read = read(&message(1, &[client(), nested]));
    assert_eq!(read.flaws, [Dhcp6Flaw::TooDeep]);
}

#[test]
fn each_broken_rule_is_named() {
    let flaws = |wire: &[u8]| read(wire).flaws;
    assert_eq!(flaws(&message(1, &[])), [Dhcp6Flaw::MissingIdentifier]);
    assert_eq!(
        flaws(&message(3, &[client()])),
        [Dhcp6Flaw::MissingIdentifier]
    );
    assert_eq!(
        flaws(&message(99, &[client()])),
        [Dhcp6Flaw::UnknownMessageType]
    );
    assert_eq!(
        flaws(&message(11, &[client(), vec![0, 6, 0, 9, 1]])),
        [Dhcp6Flaw::OptionOverrun]
    );
    assert_eq!(
        flaws(&message(11, &[option(8, &[1])])),
        [Dhcp6Flaw::OptionLength]
    );
    assert_eq!(flaws(&message(11, &[option(1, &[])])), [Dhcp6Flaw::BadDuid]);
    assert_eq!(
        flaws(&message(
            7,
            &[server(), association(&[address_option(1, 9, 8)])]
        )),
        [Dhcp6Flaw::BadLifetimes]
    );
    assert_eq!(flaws(&[1, 2]), [Dhcp6Flaw::Truncated]);
    let mut empty = relayed(0, &[], &[]);
    empty.truncate(34);
    assert_eq!(flaws(&empty), [Dhcp6Flaw::NoRelayMessage]);
    let inner = message(11, &[]);
    assert_eq!(
        flaws(&relayed(0, &inner, &[option(9, &inner)])),
        [Dhcp6Flaw::NoRelayMessage]
    );
}

#[test]
fn hostile_names_are_pointed_out() {
    let name = [0, 4, b'a', 0x1b, b'[', b'm', 0];
    let read = read(&message(11, &[option(39, &name)]));
    assert_eq!(read.hostile_text, [39]);
    assert_eq!(read.fqdn.unwrap().to_string(), "a\\e[m");
}

#[test]
fn no_truncation_or_mutation_panics_and_a_cut_capture_is_no_flaw() {
    let solicit = message(
        3,
        &[
            client(),
            server(),
            association(&[address_option(1, 1, 2), option(13, b"\0\0ok")]),
            option(16, &[0, 0, 0, 9, 0, 2, b'a', b'b']),
        ],
    );
    let wire = relayed(0, &solicit, &[option(18, b"x")]);
    let cut = UdpContext {
        truncated: true,
        ..UdpContext::default()
    };
    for len in 1..wire.len() {
        assert_eq!(decode(&wire[..len], &cut).unwrap().flaws, [], "{len}");
    }
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..20_000 {
        let mut bytes = wire.clone();
        for _ in 0..next() % 8 {
            let at = next() as usize % bytes.len();
            bytes[at] = next() as u8;
        }
        bytes.truncate(bytes.len() - next() as usize % 9);
        let _ = decode(&bytes, &UdpContext::default());
    }
}
