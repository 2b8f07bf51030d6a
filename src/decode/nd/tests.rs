//! Messages built by hand, broken by hand.

use super::*;
use crate::event::Prefix;
use crate::event::frame::{Frame, Mac};

fn context() -> NdContext {
    NdContext {
        frame: Frame {
            ip_src: Some("fe80::1".parse().unwrap()),
            hop_limit: Some(255),
            ..Frame::default()
        },
        ..NdContext::default()
    }
}

fn read(wire: &[u8]) -> Nd {
    decode(wire, &context()).unwrap().unwrap()
}

fn advertisement() -> Vec<u8> {
    let mut wire = vec![134, 0, 0, 0, 64, 0xc8, 0x07, 0x08, 0, 0, 0, 5, 0, 0, 0, 6];
    wire.extend([1, 1, 2, 0, 0, 0, 0, 1]);
    wire.extend([5, 1, 0, 0, 0, 0, 0x05, 0xdc]);
    wire.extend([
        3, 4, 64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x07, 0x08, 0, 0, 0, 0,
    ]);
    wire.extend([0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    wire.extend([
        24, 2, 48, 0x18, 0, 0, 0, 60, 0x20, 1, 0x0d, 0xb8, 0, 9, 0, 0,
    ]);
    wire.extend([24, 1, 0, 0x08, 0, 0, 0, 60]);
    wire.extend([25, 3, 0, 0, 0, 0, 1, 0]);
    wire.extend([0x20; 16]);
    wire.extend([
        38, 2, 0x07, 0x08, 0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0,
    ]);
    wire
}

#[test]
fn a_router_advertisement_is_read_with_all_that_makes_routes() {
    let nd = read(&advertisement());
    assert_eq!(nd.flaws, []);
    assert_eq!(nd.source_mac, Some(Mac([2, 0, 0, 0, 0, 1])));
    let NdMessage::RouterAdvertisement(ra) = nd.message else {
        panic!("not an advertisement")
    };
    assert_eq!((ra.cur_hop_limit, ra.lifetime), (64, 1800));
    assert_eq!((ra.managed, ra.other), (true, true));
    assert_eq!(ra.preference, Some(1));
    assert_eq!((ra.reachable_ms, ra.retrans_ms), (5, 6));
    assert_eq!(ra.mtu, Some(1500));
    let prefix = |text: &str| text.parse::<Prefix>().unwrap();
    let pio = ra.prefixes[0];
    assert_eq!(pio.prefix, prefix("2001:db8:1::/64"));
    assert_eq!((pio.valid, pio.preferred), (3600, 1800));
    assert!(pio.on_link && pio.autonomous);
    assert_eq!(
        ra.routes,
        [(prefix("2001:db8:9::/48"), -1, 60), (prefix("::/0"), 1, 60)]
    );
    assert_eq!(ra.rdnss[0].0, 256);
    assert_eq!(ra.pref64, Some((prefix("64:ff9b::/96"), 0x708)));
    assert_eq!(ra.options, [1, 5, 3, 24, 24, 25, 38]);
}

#[test]
fn the_reserved_preference_is_told_apart_from_medium() {
    let mut wire = advertisement();
    wire[5] = 0x10;
    let NdMessage::RouterAdvertisement(ra) = read(&wire).message else {
        panic!("not an advertisement")
    };
    assert_eq!(ra.preference, None);
}

#[test]
fn neighbor_messages_name_their_target_and_link_addresses() {
    let mut wire = vec![136, 0, 0, 0, 0xa0, 0, 0, 0];
    wire.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    wire.extend([2, 1, 2, 0, 0, 0, 0, 9]);
    let nd = read(&wire);
    assert_eq!(nd.target_mac, Some(Mac([2, 0, 0, 0, 0, 9])));
    assert_eq!(
        nd.message,
        NdMessage::NeighborAdvertisement {
            target: "2001:db8::9".parse().unwrap(),
            router: true,
            solicited: false,
            overriding: true
        }
    );
}

#[test]
fn each_broken_rule_is_named() {
    let wire = advertisement();
    let with = |change: &dyn Fn(&mut NdContext)| {
        let mut context = context();
        change(&mut context);
        decode(&wire, &context).unwrap().unwrap().flaws
    };
    assert_eq!(with(&|c| c.frame.hop_limit = Some(64)), [NdFlaw::HopLimit]);
    assert_eq!(
        with(&|c| c.frame.ip_src = Some("2001:db8::1".parse().unwrap())),
        [NdFlaw::SourceNotLinkLocal]
    );
    assert_eq!(with(&|c| c.checksum = Some(false)), [NdFlaw::Checksum]);
    assert_eq!(with(&|c| c.evasive = true), [NdFlaw::Evasive]);
    let mut code = wire.clone();
    code[1] = 1;
    assert_eq!(read(&code).flaws, [NdFlaw::Code]);
    let mut zero = wire.clone();
    zero[17] = 0;
    assert_eq!(read(&zero).flaws, [NdFlaw::Truncated]);
    assert_eq!(read(&wire[..wire.len() - 4]).flaws, [NdFlaw::Truncated]);
}

#[test]
fn other_icmp_is_not_ours_and_a_cut_capture_is_no_flaw() {
    assert!(decode(&[128, 0, 0, 0], &context()).unwrap().is_none());
    assert!(decode(&[134, 0, 0], &context()).is_err());
    let cut = NdContext {
        truncated: true,
        ..context()
    };
    let wire = advertisement();
    for len in 0..wire.len() {
        if let Some(nd) = decode(&wire[..len], &cut).unwrap() {
            assert_eq!(nd.flaws, [], "{len}");
        }
    }
}

#[test]
fn no_mutation_panics() {
    let wire = advertisement();
    let mut random = 0x853c_49e6_748f_ea9bu64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..20_000 {
        let mut bytes = wire.clone();
        for _ in 0..next() % 6 {
            let at = next() as usize % bytes.len();
            bytes[at] = next() as u8;
        }
        bytes.truncate(bytes.len() - next() as usize % 9);
        let _ = decode(&bytes, &context());
    }
}

#[test]
fn search_lists_and_captive_portals_are_read_and_broken_ones_end_the_list() {
    let mut wire = advertisement();
    wire.extend([31, 4, 0, 0, 0, 0, 1, 0]);
    wire.extend(b"\x02ab\x07example\0\x03lan\0");
    wire.extend([0; 7]);
    wire.extend([37, 2]);
    wire.extend(b"https://a.b\0\0\0");
    let NdMessage::RouterAdvertisement(ra) = read(&wire).message else {
        panic!("not an advertisement")
    };
    let names: Vec<String> = ra.search.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["ab.example", "lan"]);
    assert_eq!(ra.captive.unwrap().to_string(), "https://a.b");
    let mut wire = advertisement();
    wire.extend([31, 2, 0, 0, 0, 0, 1, 0]);
    wire.extend([64; 8]);
    let NdMessage::RouterAdvertisement(ra) = read(&wire).message else {
        panic!("not an advertisement")
    };
    assert_eq!(ra.search.len(), 0);
}
