//! Hand-made messages, after the RFCs' figures.

use super::*;
use crate::event::Prefix;
use crate::event::bgp::{AS_CONFED_SEQUENCE, AS_SEQUENCE, AS_SET, ErrorAction, Notification, Safi};

/// A message of this type with a correct header.
pub(crate) fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0xff; 16];
    out.extend(((body.len() + HEADER) as u16).to_be_bytes());
    out.push(kind);
    out.extend(body);
    out
}

/// An UPDATE of three fields.
pub(crate) fn update_of(withdrawn: &[u8], attributes: &[u8], announced: &[u8]) -> Vec<u8> {
    let mut body = (withdrawn.len() as u16).to_be_bytes().to_vec();
    body.extend(withdrawn);
    body.extend((attributes.len() as u16).to_be_bytes());
    body.extend(attributes);
    body.extend(announced);
    framed(UPDATE, &body)
}

/// One attribute.
pub(crate) fn attr(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![flags, code, value.len() as u8];
    out.extend(value);
    out
}

/// ORIGIN IGP, AS_PATH 65001 65002 in four octets, NEXT_HOP 192.0.2.1.
pub(crate) fn usual() -> Vec<u8> {
    [
        attr(0x40, 1, &[0]),
        attr(0x40, 2, &[2, 2, 0, 0, 0xfd, 0xe9, 0, 0, 0xfd, 0xea]),
        attr(0x40, 3, &[192, 0, 2, 1]),
    ]
    .concat()
}

/// 198.51.100.0/24.
pub(crate) const NET: [u8; 4] = [24, 198, 51, 100];

pub(crate) fn open_of(capabilities: &[u8]) -> Vec<u8> {
    let mut body = vec![4, 0xfd, 0xe9, 0, 90, 192, 0, 2, 1];
    body.push(capabilities.len() as u8 + 2);
    body.extend([2, capabilities.len() as u8]);
    body.extend(capabilities);
    framed(OPEN, &body)
}

fn four() -> Encoding {
    Encoding::known(true, FamilySet::EMPTY)
}

fn read(bytes: &[u8], encoding: &Encoding) -> Update {
    let mut out = Update::default();
    update(bytes, encoding, &mut out).unwrap();
    out
}

fn prefixes(keys: &[crate::event::bgp::Nlri]) -> Vec<String> {
    keys.iter().map(|key| key.prefix.to_string()).collect()
}

#[test]
fn an_update_is_read_whole() {
    let attributes = [
        usual(),
        attr(0x80, 4, &[0, 0, 0, 7]),
        attr(0x40, 5, &[0, 0, 0, 100]),
        attr(0x40, 6, &[]),
        attr(0xc0, 7, &[0, 0, 0xfd, 0xe9, 192, 0, 2, 9]),
        attr(0xc0, 8, &[0xfd, 0xe9, 0, 1, 0xff, 0xff, 0xff, 1]),
        attr(0x80, 9, &[192, 0, 2, 7]),
        attr(0x80, 10, &[0, 0, 0, 1]),
        attr(0xc0, 16, &[0, 2, 0, 1, 0, 0, 0, 5]),
        attr(0xc0, 32, &[0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3]),
        attr(0xc0, 35, &[0, 0, 0xfd, 0xe9]),
        attr(0x80, 26, &[1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 9]),
        attr(0xc0, 99, &[1, 2, 3]),
    ]
    .concat();
    let bytes = update_of(&[8, 10], &attributes, &[NET.as_slice(), &[0]].concat());
    let out = read(&bytes, &four());
    assert_eq!(out.errors, []);
    assert_eq!(prefixes(&out.withdrawn), ["10.0.0.0/8"]);
    assert_eq!(prefixes(&out.announced), ["198.51.100.0/24", "0.0.0.0/0"]);
    let a = &out.attributes;
    assert_eq!(a.as_path.to_string(), "65001 65002");
    assert_eq!(
        (a.origin, a.med, a.local_pref, a.atomic_aggregate),
        (Some(0), Some(7), Some(100), true)
    );
    assert_eq!(a.next_hop, Some("192.0.2.1".parse().unwrap()));
    assert_eq!(a.communities, [0xfde9_0001, 0xffff_ff01]);
    assert_eq!(a.large_communities, [[65_536, 2, 3]]);
    assert_eq!((a.otc, a.aigp), (Some(65_001), Some(9)));
    assert_eq!(a.cluster_list, [1]);
    assert_eq!(a.unknown.len(), 1);
    assert_eq!(usize::from(out.size), bytes.len());
    assert!(!out.inferred);
}

#[test]
fn the_order_of_attributes_on_the_wire_makes_no_difference() {
    let parts = [usual(), attr(0xc0, 99, &[1]), attr(0xc0, 98, &[2])];
    let forward = read(&update_of(&[], &parts.concat(), &NET), &four());
    let [a, b, c] = parts;
    let backward = read(&update_of(&[], &[c, b, a].concat(), &NET), &four());
    assert_eq!(forward.attributes, backward.attributes);
}

#[test]
fn as4_path_replaces_the_tail_of_a_two_octet_path() {
    let trans = (as_path::AS_TRANS as u16).to_be_bytes();
    let old_path = [&[2, 3, 0xfd, 0xe9][..], &trans, &[0xfd, 0xea]].concat();
    let new_path = [2, 2, 0, 1, 0, 1, 0, 0, 0xfd, 0xea];
    let base = [attr(0x40, 1, &[0]), attr(0x40, 3, &[192, 0, 2, 1])].concat();
    let two = Encoding::known(false, FamilySet::EMPTY);
    let merged = [
        base.clone(),
        attr(0x40, 2, &old_path),
        attr(0xc0, 17, &new_path),
    ]
    .concat();
    let out = read(&update_of(&[], &merged, &NET), &two);
    assert_eq!(out.attributes.as_path.to_string(), "65001 65537 65002");
    assert_eq!(out.attributes.as_path.segments().count(), 1);
    // An AGGREGATOR that is not AS_TRANS says that AS4_PATH is stale.
    let stale = [
        merged,
        attr(0xc0, 7, &[0xfd, 0xea, 192, 0, 2, 9]),
        attr(0xc0, 18, &[0, 1, 0, 1, 192, 0, 2, 9]),
    ]
    .concat();
    let out = read(&update_of(&[], &stale, &NET), &two);
    assert_eq!(out.attributes.as_path.to_string(), "65001 23456 65002");
    assert_eq!(out.attributes.aggregator.unwrap().0, 65_002);
    // A longer AS4_PATH is ignored (RFC 6793 §4.2.3).
    let longer = [
        base,
        attr(0x40, 2, &[2, 1, 0xfd, 0xe9]),
        attr(0xc0, 17, &new_path),
    ]
    .concat();
    let out = read(&update_of(&[], &longer, &NET), &two);
    assert_eq!(out.attributes.as_path.to_string(), "65001");
}

#[test]
fn sets_and_confederations_survive_the_merge() {
    let mut path = crate::event::bgp::AsPath::default();
    path.push_segment(AS_CONFED_SEQUENCE, 1);
    path.0.push(64_600);
    path.push_segment(AS_SEQUENCE, 2);
    path.0.extend([65_001, as_path::AS_TRANS]);
    path.push_segment(AS_SET, 2);
    path.0.extend([as_path::AS_TRANS, 65_003]);
    let new = [
        2, 1, 0, 1, 0, 1, // 65537
        1, 2, 0, 1, 0, 2, 0, 0, 0xfd, 0xeb,
    ];
    as_path::merge(&mut path, &new).unwrap();
    assert_eq!(path.to_string(), "(64600) 65001 65537 {65538,65003}");
}

#[test]
fn multiprotocol_families_become_keys() {
    let all = Encoding::known(true, FamilySet::EMPTY);
    let next_hop: Vec<u8> = "2001:db8::1"
        .parse::<std::net::Ipv6Addr>()
        .unwrap()
        .octets()
        .to_vec();
    let reach = |afi: u16, safi: u8, next_hop: &[u8], routes: &[u8]| {
        let mut value = afi.to_be_bytes().to_vec();
        value.extend([safi, next_hop.len() as u8]);
        value.extend(next_hop);
        value.push(0);
        value.extend(routes);
        [usual(), attr(0x80, 14, &value)].concat()
    };
    let v6 = [32, 0x20, 1, 0xd, 0xb8];
    let out = read(&update_of(&[], &reach(2, 1, &next_hop, &v6), &[]), &all);
    assert_eq!(prefixes(&out.announced), ["2001:db8::/32"]);
    assert_eq!(
        out.attributes.next_hop,
        Some("2001:db8::1".parse().unwrap())
    );

    // Two labels, the second with the bottom of the stack.
    let labeled = [72, 0, 1, 0, 0, 2, 1, 198, 51, 100];
    let out = read(
        &update_of(&[], &reach(1, 4, &[192, 0, 2, 1], &labeled), &[]),
        &all,
    );
    assert_eq!(prefixes(&out.announced), ["198.51.100.0/24"]);
    assert_eq!(out.announced[0].safi, Safi::Labeled);

    let rd = [0, 0, 0xfd, 0xe9, 0, 0, 0, 1];
    let vpn = [&[112, 0, 1, 1][..], &rd, &[198, 51, 100]].concat();
    let vpn_hop = [&[0; 8][..], &[192, 0, 2, 1]].concat();
    let out = read(&update_of(&[], &reach(1, 128, &vpn_hop, &vpn), &[]), &all);
    assert_eq!(prefixes(&out.announced), ["198.51.100.0/24"]);
    assert_eq!(out.announced[0].rd, u64::from_be_bytes(rd));

    let mac = [2, 0, 0, 0, 0, 1];
    let type2 = [
        &rd[..],
        &[0; 10],
        &[0; 4],
        &[48],
        &mac,
        &[32, 192, 0, 2, 7],
        &[0, 1, 1],
    ]
    .concat();
    let type3 = [&rd[..], &[0; 4], &[32, 192, 0, 2, 8]].concat();
    let type5 = [
        &rd[..],
        &[0; 10],
        &[0; 4],
        &[24, 198, 51, 100, 0],
        &[0; 4],
        &[0, 1, 1],
    ]
    .concat();
    let mut routes = Vec::new();
    for (kind, route) in [(2, &type2), (3, &type3), (5, &type5), (1, &vec![0; 25])] {
        routes.extend([kind, route.len() as u8]);
        routes.extend(route);
    }
    let out = read(
        &update_of(&[], &reach(25, 70, &[192, 0, 2, 1], &routes), &[]),
        &all,
    );
    assert_eq!(out.errors, []);
    assert_eq!(
        out.announced.iter().map(|key| key.safi).collect::<Vec<_>>(),
        [Safi::Evpn2, Safi::Evpn3, Safi::Evpn5]
    );
    assert_eq!(
        prefixes(&out.announced),
        ["192.0.2.7/32", "192.0.2.8/32", "198.51.100.0/24"]
    );
    assert_eq!(out.announced[0].mac().map(|mac| mac.0), Some(mac));
    assert_eq!(out.announced[1].mac(), None);
    assert_eq!(out.other_families, [(Family { afi: 25, safi: 70 }, 27)]);

    let out = read(
        &update_of(&[], &reach(1, 133, &[], &[3, 1, 8, 10]), &[]),
        &all,
    );
    assert_eq!(out.announced, []);
    assert_eq!(out.other_families, [(Family { afi: 1, safi: 133 }, 4)]);
}

#[test]
fn distinguishers_of_each_type_are_written_as_everybody_writes_them() {
    use crate::event::bgp::Rd;
    let rd = |octets: [u8; 8]| Rd(u64::from_be_bytes(octets)).to_string();
    assert_eq!(rd([0, 0, 0xfd, 0xe8, 0, 0, 0, 11]), "65000:11");
    assert_eq!(rd([0, 1, 192, 0, 2, 9, 0, 100]), "192.0.2.9:100");
    assert_eq!(rd([0, 2, 0, 1, 0, 0, 0, 7]), "65536:7");
    assert_eq!(rd([9, 9, 0, 0, 0, 0, 0, 1]), "type 2313:000000000001");
}

#[test]
fn mobility_and_targets_are_read_from_extended_communities() {
    let communities = [
        [6, 0, 1, 0, 0, 0, 0, 12],
        [0, 2, 0xfd, 0xe8, 0, 0, 0, 100],
        [1, 2, 192, 0, 2, 1, 0, 7],
        [3, 12, 0, 0, 0, 0, 0, 8],
    ]
    .concat();
    let out = read(
        &update_of(&[], &[usual(), attr(0xc0, 16, &communities)].concat(), &NET),
        &four(),
    );
    assert_eq!(out.attributes.mac_mobility(), Some((12, true)));
    assert_eq!(out.attributes.route_targets().collect::<Vec<_>>(), [100, 7]);
}

#[test]
fn end_of_rib_markers_name_their_family() {
    let out = read(&update_of(&[], &[], &[]), &four());
    assert_eq!(out.end_of_rib, Some(Family::IPV4_UNICAST));
    let out = read(&update_of(&[], &attr(0x80, 15, &[0, 2, 1]), &[]), &four());
    assert_eq!(out.end_of_rib, Some(Family::IPV6_UNICAST));
    let withdraw = attr(0x80, 15, &[0, 2, 1, 32, 0x20, 1, 0xd, 0xb8]);
    let out = read(&update_of(&[], &withdraw, &[]), &four());
    assert_eq!(out.end_of_rib, None);
    assert_eq!(prefixes(&out.withdrawn), ["2001:db8::/32"]);
}

#[test]
fn path_identifiers_are_read_where_negotiated() {
    let mut set = FamilySet::EMPTY;
    set.insert(Family::IPV4_UNICAST);
    let nlri = [&[0, 0, 0, 9][..], &NET].concat();
    let out = read(
        &update_of(&[], &usual(), &nlri),
        &Encoding::known(true, set),
    );
    assert_eq!(out.announced[0].path_id, 9);
    assert_eq!(prefixes(&out.announced), ["198.51.100.0/24"]);
}

#[test]
fn damage_is_judged_by_rfc_7606() {
    use ErrorAction::*;
    let with = |extra: Vec<u8>| [usual(), extra].concat();
    let without = |code: u8| {
        let mut cursor = Cursor(&[]);
        let usual = usual();
        cursor.0 = &usual;
        let mut kept = Vec::new();
        while let Some((flags, kind, value)) = attributes::next(&mut cursor) {
            if kind != code {
                kept.extend(attr(flags, kind, value));
            }
        }
        kept
    };
    let cases: Vec<(&str, Vec<u8>, Vec<u8>, ErrorAction)> = vec![
        (
            "origin 3",
            [without(1), attr(0x40, 1, &[3])].concat(),
            NET.into(),
            TreatAsWithdraw,
        ),
        (
            "path overrun",
            [without(2), attr(0x40, 2, &[2, 9, 0, 0])].concat(),
            NET.into(),
            TreatAsWithdraw,
        ),
        ("no origin", without(1), NET.into(), TreatAsWithdraw),
        ("no path", without(2), NET.into(), TreatAsWithdraw),
        ("no next hop", without(3), NET.into(), TreatAsWithdraw),
        (
            "community 5",
            with(attr(0xc0, 8, &[0; 5])),
            NET.into(),
            TreatAsWithdraw,
        ),
        (
            "large 13",
            with(attr(0xc0, 32, &[0; 13])),
            NET.into(),
            TreatAsWithdraw,
        ),
        (
            "flags",
            with(attr(0x00, 4, &[0; 4])),
            NET.into(),
            TreatAsWithdraw,
        ),
        (
            "attribute overrun",
            with(vec![0x80, 4, 200, 0]),
            NET.into(),
            TreatAsWithdraw,
        ),
        (
            "aggregator 5",
            with(attr(0xc0, 7, &[0; 5])),
            NET.into(),
            AttributeDiscard,
        ),
        (
            "atomic 1",
            with(attr(0x40, 6, &[0])),
            NET.into(),
            AttributeDiscard,
        ),
        (
            "twice",
            with(attr(0x40, 1, &[0])),
            NET.into(),
            AttributeDiscard,
        ),
        ("prefix 33", usual(), vec![33, 1, 2, 3, 4, 5], SessionReset),
        ("prefix cut", usual(), vec![24, 1], SessionReset),
        (
            "two MP_UNREACH",
            with([attr(0x80, 15, &[0, 2, 1]), attr(0x80, 15, &[0, 2, 1])].concat()),
            NET.into(),
            SessionReset,
        ),
        (
            "MP_UNREACH /129",
            with(attr(0x80, 15, &[0, 2, 1, 129, 1])),
            NET.into(),
            AfiSafiDisable,
        ),
        (
            "MP_REACH next hop 5",
            with(attr(0x80, 14, &[0, 2, 1, 5, 0, 0, 0, 0, 0, 0])),
            NET.into(),
            AfiSafiDisable,
        ),
    ];
    for (name, attributes, nlri, worst) in cases {
        let out = read(&update_of(&[], &attributes, &nlri), &four());
        let found = out.errors.iter().map(|error| error.action).max();
        assert_eq!(found, Some(worst), "{name}");
        let (announced, withdrawn) = match worst {
            AttributeDiscard | AfiSafiDisable => (1, 0),
            TreatAsWithdraw => (0, 1),
            SessionReset => (0, 0),
        };
        assert_eq!(
            (out.announced.len(), out.withdrawn.len()),
            (announced, withdrawn),
            "{name}"
        );
    }
}

#[test]
fn an_open_tells_its_capabilities() {
    let capabilities = [
        &[1, 4, 0, 1, 0, 1][..],
        &[2, 0],
        &[6, 0],
        &[9, 1, 3],
        &[64, 6, 0xc0, 120, 0, 1, 1, 0x80],
        &[65, 4, 0, 1, 0, 1],
        &[69, 4, 0, 1, 1, 3],
        &[70, 0],
        &[71, 7, 0, 1, 1, 0, 0, 14, 16],
        &[73, 4, 2, b'r', b'1', 0],
    ]
    .concat();
    let mut message_out = BgpMessage::Keepalive;
    message(&open_of(&capabilities), &four(), &mut message_out).unwrap();
    let BgpMessage::Open(open) = message_out else {
        panic!("not an OPEN")
    };
    assert_eq!((open.asn, open.hold_time), (65_537, 90));
    assert!(open.four_octet_as && open.extended_messages && open.route_refresh);
    assert!(open.enhanced_route_refresh);
    assert_eq!(open.role, Some(3));
    assert_eq!(open.families, [Family::IPV4_UNICAST]);
    assert_eq!(open.add_path, [(Family::IPV4_UNICAST, 3)]);
    assert_eq!(open.long_lived, [(Family::IPV4_UNICAST, 3600)]);
    let graceful = open.graceful_restart.unwrap();
    assert!(graceful.restarting && graceful.notification);
    assert_eq!(graceful.restart_time, 120);
    assert_eq!(open.host_name.unwrap().to_string(), "r1");
    assert_eq!(open.capabilities.len(), 10);
}

#[test]
fn extended_optional_parameters_are_read() {
    let body = [
        &[4, 0xfd, 0xe9, 0, 90, 192, 0, 2, 1, 255, 255, 0, 9][..],
        &[2, 0, 6, 65, 4, 0, 1, 0, 1],
    ]
    .concat();
    let mut out = BgpMessage::Keepalive;
    message(&framed(OPEN, &body), &four(), &mut out).unwrap();
    assert!(matches!(out, BgpMessage::Open(open) if open.asn == 65_537));
}

#[test]
fn notifications_tell_their_true_reason() {
    let read = |body: &[u8]| -> Notification {
        let mut out = BgpMessage::Keepalive;
        message(&framed(NOTIFICATION, body), &four(), &mut out).unwrap();
        match out {
            BgpMessage::Notification(notification) => notification,
            other => panic!("{other:?}"),
        }
    };
    let hard = read(&[6, 9, 6, 2, 3, b'b', b'y', b'e']);
    assert_eq!(hard.cause(), (6, 2));
    assert_eq!(hard.text.unwrap().to_string(), "bye");
    let limit = read(&[6, 1, 0, 1, 1, 0, 0, 0, 100]);
    assert_eq!(limit.max_prefix, Some((Family::IPV4_UNICAST, 100)));
    assert_eq!(read(&[4, 0]).cause(), (4, 0));
}

#[test]
fn negotiation_takes_what_both_ends_can() {
    let mut one = Offer {
        as4: true,
        extended: true,
        ..Offer::default()
    };
    one.sends.insert(Family::IPV4_UNICAST);
    one.sends.insert(Family::IPV6_UNICAST);
    let mut two = Offer {
        as4: true,
        ..Offer::default()
    };
    two.receives.insert(Family::IPV4_UNICAST);
    let forth = Encoding::negotiated(Some(&one), Some(&two));
    assert_eq!((forth.as4, forth.extended), (Some(true), Some(false)));
    assert!(forth.add_path.unwrap().contains(Family::IPV4_UNICAST));
    assert!(!forth.add_path.unwrap().contains(Family::IPV6_UNICAST));
    let back = Encoding::negotiated(Some(&two), Some(&one));
    assert_eq!(back.add_path, Some(FamilySet::EMPTY));
    // One OPEN alone can only exclude.
    let half = Encoding::negotiated(Some(&two), None);
    assert_eq!((half.as4, half.add_path), (None, Some(FamilySet::EMPTY)));
    assert_eq!(Encoding::negotiated(Some(&one), None).add_path, None);
}

mod inference {
    use super::*;
    use crate::decode::bgp::infer::Inference;

    fn infer(inference: &mut Inference, bytes: &[u8]) -> Update {
        let mut out = Update::default();
        inference
            .update(bytes, &Encoding::default(), false, &mut out)
            .unwrap();
        out
    }

    #[test]
    fn as_size_is_found_and_kept() {
        let mut inference = Inference::default();
        let two = [
            attr(0x40, 1, &[0]),
            attr(0x40, 2, &[2, 2, 0xfd, 0xe9, 0xfd, 0xea]),
            attr(0x40, 3, &[192, 0, 2, 1]),
        ]
        .concat();
        let out = infer(&mut inference, &update_of(&[], &two, &NET));
        assert_eq!(out.attributes.as_path.to_string(), "65001 65002");
        assert!(out.inferred);
        let out = infer(&mut Inference::default(), &update_of(&[], &usual(), &NET));
        assert_eq!(out.attributes.as_path.to_string(), "65001 65002");
    }

    #[test]
    fn add_path_is_not_guessed_while_the_plain_reading_is_sound() {
        // Both readings consume these exactly: 0.0.0.0/0 is no prefix a speaker repeats, so 1.0.0.0/8 … is the plain one.
        let plain = [8, 1, 8, 2, 8, 3, 8, 4];
        let out = infer(&mut Inference::default(), &update_of(&plain, &[], &[]));
        assert_eq!(out.withdrawn.len(), 4);
        assert!(out.withdrawn.iter().all(|key| key.path_id == 0));
    }

    #[test]
    fn add_path_is_found_when_only_it_consumes_the_message() {
        let mut inference = Inference::default();
        let nlri = [&[0, 0, 0, 1][..], &NET, &[0, 0, 0, 2], &[24, 203, 0, 113]].concat();
        let out = infer(&mut inference, &update_of(&[], &usual(), &nlri));
        assert_eq!(
            prefixes(&out.announced),
            ["198.51.100.0/24", "203.0.113.0/24"]
        );
        assert_eq!(out.announced[1].path_id, 2);
        // The decision stays for a message that alone could be read either way.
        let nlri = [&[0, 0, 0, 1][..], &[24, 10, 0, 0]].concat();
        let out = infer(&mut inference, &update_of(&[], &usual(), &nlri));
        assert_eq!(prefixes(&out.announced), ["10.0.0.0/24"]);
    }

    #[test]
    fn a_negotiated_add_path_that_is_not_there_is_noticed() {
        let mut set = FamilySet::EMPTY;
        set.insert(Family::IPV4_UNICAST);
        let encoding = Encoding::known(true, set);
        let mut out = Update::default();
        Inference::default()
            .update(&update_of(&[], &usual(), &NET), &encoding, true, &mut out)
            .unwrap();
        assert_eq!(prefixes(&out.announced), ["198.51.100.0/24"]);
        assert!(out.inferred);
    }
}

mod totality {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_octets_break_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0_u8..7, as4: bool, ids: bool) {
            let encoding = Encoding::known(as4, if ids { FamilySet::ALL } else { FamilySet::EMPTY });
            let mut out = BgpMessage::Keepalive;
            let _ = message(&bytes, &encoding, &mut out);
            let _ = message(&framed(kind, &bytes), &encoding, &mut out);
            let mut update = Update::default();
            let _ = infer::Inference::default().update(&framed(UPDATE, &bytes), &Encoding::default(), true, &mut update);
        }

        #[test]
        fn prefixes_written_are_prefixes_read(octets: [u8; 4], len in 0_u8..=32) {
            let prefix = Prefix::v4(octets, len);
            let mut nlri = vec![len];
            nlri.extend(&octets[..usize::from(len).div_ceil(8)]);
            let out = read(&update_of(&[], &usual(), &nlri), &four());
            prop_assert_eq!(out.announced[0].prefix, prefix);
        }
    }
}
