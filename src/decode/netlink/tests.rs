//! Hand-made messages, and the shapes the kernel was seen to send.

use super::*;
use crate::event::netlink::{Group, LinkEvent, NetconfOf, RouteEvent};
use crate::event::{Event, InputId, Locator, Timestamp, source::Unit};

pub(super) fn stamp() -> Stamp {
    Stamp {
        at: Timestamp(1_000),
        source: SourceId(0),
        locator: Locator {
            input: InputId(0),
            unit: Unit::Frame,
            number: 1,
            offset: 0,
        },
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut out = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn message(kind: u16, flags: u16, seq: u32, parts: &[Vec<u8>]) -> Vec<u8> {
    let payload = parts.concat();
    let mut out = ((payload.len() + HEADER) as u32).to_ne_bytes().to_vec();
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(seq.to_ne_bytes());
    out.extend(77u32.to_ne_bytes());
    out.extend(payload);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn route_header(family: u8, len: u8, protocol: u8) -> Vec<u8> {
    vec![family, len, 0, 0, 254, protocol, 0, 1, 0, 0, 0, 0]
}

fn decode(decoder: &mut NetlinkDecoder, bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    decoder.messages(bytes, &stamp(), &mut |event| events.push(event.clone()));
    events
}

fn route(event: &Event) -> &RouteEvent {
    match &event.kind {
        EventKind::Route(route) => route,
        other => panic!("not a route: {other:?}"),
    }
}

#[test]
fn a_multipath_route_keeps_each_hop_with_its_weight_and_flags() {
    let leg = |weight: u8, flags: u8, index: u32, gateway: [u8; 4]| {
        let gateway = attribute(5, &gateway);
        let mut out = ((gateway.len() + 8) as u16).to_ne_bytes().to_vec();
        out.extend([flags, weight - 1]);
        out.extend(index.to_ne_bytes());
        out.extend(gateway);
        out
    };
    let legs = [leg(1, 0, 3, [192, 0, 2, 1]), leg(4, 16, 4, [192, 0, 2, 2])].concat();
    let bytes = message(
        RTM_NEWROUTE,
        NLM_F_REPLACE,
        9,
        &[
            route_header(2, 24, 186),
            attribute(1, &[198, 51, 100, 0]),
            attribute(15, &1000u32.to_ne_bytes()),
            attribute(6, &20u32.to_ne_bytes()),
            attribute(30, &42u32.to_ne_bytes()),
            attribute(9, &legs),
        ],
    );
    let events = decode(&mut NetlinkDecoder::new(), &bytes);
    let route = route(&events[0]);
    assert_eq!(route.prefix.to_string(), "198.51.100.0/24");
    assert_eq!((route.table, route.metric, route.protocol), (1000, 20, 186));
    assert_eq!((route.nhid, route.meta.pid), (Some(42), 77));
    assert!(route.meta.replace && !route.meta.dump);
    let hops: Vec<_> = route
        .hops
        .iter()
        .map(|h| (h.ifindex, h.weight, h.flags))
        .collect();
    assert_eq!(hops, [(Some(3), 1, 0), (Some(4), 4, 16)]);
    assert_eq!(route.hops[1].gateway, Some("192.0.2.2".parse().unwrap()));
}

#[test]
fn a_missing_destination_is_the_default_route_and_via_is_a_gateway_of_the_other_family() {
    let mut via = 10u16.to_ne_bytes().to_vec();
    via.extend(
        "2001:db8::1"
            .parse::<std::net::Ipv6Addr>()
            .unwrap()
            .octets(),
    );
    let bytes = message(
        RTM_NEWROUTE,
        0,
        0,
        &[
            route_header(2, 0, 16),
            attribute(4, &3u32.to_ne_bytes()),
            attribute(18, &via),
        ],
    );
    let events = decode(&mut NetlinkDecoder::new(), &bytes);
    let route = route(&events[0]);
    assert!(route.prefix.is_default() && !route.prefix.is_ipv6());
    assert_eq!(route.hops[0].gateway, Some("2001:db8::1".parse().unwrap()));
}

#[test]
fn the_end_of_a_dump_says_what_was_dumped_unless_it_was_interrupted() {
    let entry = |flags| message(RTM_NEWROUTE, flags, 5, &[route_header(2, 0, 2)]);
    let done = |flags| message(NLMSG_DONE, flags, 5, &[vec![0; 4]]);
    let mut decoder = NetlinkDecoder::new();
    let what = |events: Vec<Event>| match events.last().unwrap().kind {
        EventKind::DumpDone(done) => done.what,
        _ => panic!("no end of dump"),
    };
    let whole = [entry(NLM_F_MULTI), done(NLM_F_MULTI)].concat();
    assert_eq!(what(decode(&mut decoder, &whole)), Dumped::Routes);
    let cut = [entry(NLM_F_MULTI | NLM_F_DUMP_INTR), done(NLM_F_MULTI)].concat();
    assert_eq!(what(decode(&mut decoder, &cut)), Dumped::Unknown);
    assert_eq!(
        what(decode(&mut decoder, &done(NLM_F_MULTI))),
        Dumped::Unknown
    );
}

#[test]
fn nexthop_objects_and_groups_are_decoded() {
    let plain = message(
        RTM_NEWNEXTHOP,
        0,
        0,
        &[
            vec![2, 0, 186, 0, 0, 0, 0, 0],
            attribute(1, &7u32.to_ne_bytes()),
            attribute(5, &3u32.to_ne_bytes()),
            attribute(6, &[192, 0, 2, 1]),
        ],
    );
    let members = [8u32.to_ne_bytes(), [0; 4], 7u32.to_ne_bytes(), [4, 0, 0, 0]].concat();
    let group = message(
        RTM_DELNEXTHOP,
        0,
        0,
        &[
            vec![0; 8],
            attribute(1, &9u32.to_ne_bytes()),
            attribute(2, &members),
        ],
    );
    let events = decode(&mut NetlinkDecoder::new(), &[plain, group].concat());
    let [EventKind::Nexthop(plain), EventKind::Nexthop(group)] = [&events[0].kind, &events[1].kind]
    else {
        panic!("not nexthops");
    };
    assert_eq!((plain.id, plain.ifindex), (7, Some(3)));
    assert_eq!(plain.gateway, Some("192.0.2.1".parse().unwrap()));
    assert_eq!(group.action, Action::Del);
    assert_eq!(group.group, [(8, 1), (7, 5)]);
}

#[test]
fn an_interface_name_cannot_act_on_a_terminal() {
    let mut header = vec![0, 0, 1, 0];
    header.extend(4u32.to_ne_bytes());
    header.extend(0x11043u32.to_ne_bytes());
    header.extend(0u32.to_ne_bytes());
    let bytes = message(RTM_NEWLINK, 0, 0, &[header, attribute(3, b"e\x1b[2Jx\0")]);
    let events = decode(&mut NetlinkDecoder::new(), &bytes);
    let EventKind::Link(link) = &events[0].kind else {
        panic!("not a link");
    };
    let LinkEvent { name, flags, .. } = &**link;
    assert_eq!((&**name, *flags), ("e\\e[2Jx", 0x11043));
}

#[test]
fn damage_is_reported_once_and_nothing_is_read_beyond_the_end() {
    let good = message(RTM_NEWROUTE, 0, 0, &[route_header(2, 0, 2)]);
    for cut in 1..good.len() {
        let bytes = [&good[..], &good[..cut]].concat();
        let events = decode(&mut NetlinkDecoder::new(), &bytes);
        assert_eq!(events.len(), 2, "cut at {cut}");
        assert!(matches!(events[1].kind, EventKind::Malformed(_)));
    }
    for length in [0u32, 3, 15, u32::MAX] {
        let mut bytes = good.clone();
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        let events = decode(&mut NetlinkDecoder::new(), &bytes);
        assert!(matches!(
            events[..],
            [Event {
                kind: EventKind::Malformed(_),
                ..
            }]
        ));
    }
}

#[test]
fn time_stamps_and_foreign_types_are_no_events() {
    let mut decoder = NetlinkDecoder::new();
    let bytes = [
        message(NLMSG_TSTAMP, 0, 0, &[vec![0; 8]]),
        message(36, 0, 0, &[vec![0; 20]]),
    ]
    .concat();
    assert!(decode(&mut decoder, &bytes).is_empty());
    assert_eq!(decoder.ignored(), 1);
}

fn done(decoder: &mut NetlinkDecoder, request: &[Vec<u8>], kind: u16, answer: &[u8]) -> DumpDone {
    let ask = message(kind, NLM_F_DUMP | 1, 9, request);
    assert!(decode(decoder, &ask).is_empty());
    match decode(decoder, answer)
        .last()
        .map(|event| event.kind.clone())
    {
        Some(EventKind::DumpDone(done)) => done,
        other => panic!("no end: {other:?}"),
    }
}

#[test]
fn the_request_tells_what_an_empty_dump_would_have_listed() {
    let end = message(NLMSG_DONE, NLM_F_MULTI, 9, &[vec![0; 4]]);
    let mut decoder = NetlinkDecoder::new();
    let whole = vec![10u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let v6 = done(
        &mut decoder,
        std::slice::from_ref(&whole),
        RTM_GETROUTE,
        &end,
    );
    assert_eq!((v6.what, v6.family), (Dumped::Routes, Some(10)));
    assert!(v6.complete(true) && !v6.complete(false));
    let links = [vec![0; 16], attribute(29, &8u32.to_ne_bytes())];
    let links = done(&mut decoder, &links, RTM_GETLINK, &end);
    assert!(links.complete(true) && links.complete(false));
    // A filter: by table, or by an attribute.
    let mut table = whole.clone();
    table[4] = 254;
    assert_eq!(
        done(&mut decoder, &[table], RTM_GETROUTE, &end).family,
        None
    );
    let by_link = [whole.clone(), attribute(4, &3u32.to_ne_bytes())];
    assert_eq!(
        done(&mut decoder, &by_link, RTM_GETROUTE, &end).family,
        None
    );
    // The kernel's refusal, and a table that changed meanwhile, prove nothing.
    let refused = message(
        NLMSG_DONE,
        NLM_F_MULTI,
        9,
        &[(-95i32).to_ne_bytes().to_vec()],
    );
    let broken = message(NLMSG_DONE, NLM_F_MULTI | NLM_F_DUMP_INTR, 9, &[vec![0; 4]]);
    for end in [refused, broken] {
        let end = done(
            &mut decoder,
            std::slice::from_ref(&whole),
            RTM_GETROUTE,
            &end,
        );
        assert_eq!((end.what, end.family), (Dumped::Unknown, None));
    }
}

#[test]
fn who_asks_for_a_dump_is_not_who_made_what_it_lists() {
    let listed = message(RTM_NEWROUTE, NLM_F_MULTI, 9, &[route_header(2, 0, 4)]);
    let told = message(RTM_NEWROUTE, 0, 9, &[route_header(2, 0, 4)]);
    let mut decoder = NetlinkDecoder::new();
    assert_eq!(route(&decode(&mut decoder, &listed)[0]).meta.pid, 0);
    assert_eq!(route(&decode(&mut decoder, &told)[0]).meta.pid, 77);
}

#[test]
fn settings_of_interfaces_are_told_with_what_they_name() {
    let netconf = |index: i32, parts: &[Vec<u8>]| {
        let header = vec![10u8, 0, 0, 0];
        let index = attribute(1, &index.to_ne_bytes());
        message(80, 0, 0, &[vec![header, index], parts.to_vec()].concat())
    };
    let on = attribute(2, &1i32.to_ne_bytes());
    let mut decoder = NetlinkDecoder::new();
    for (index, of) in [
        (-1, NetconfOf::All),
        (-2, NetconfOf::Default),
        (7, NetconfOf::Link(7)),
    ] {
        let events = decode(&mut decoder, &netconf(index, std::slice::from_ref(&on)));
        let [EventKind::Netconf(netconf)] = events.iter().map(|e| &e.kind).collect::<Vec<_>>()[..]
        else {
            panic!("{events:?}");
        };
        assert_eq!((netconf.of, netconf.ipv6), (of, true));
        assert_eq!((netconf.forwarding, netconf.rp_filter), (Some(true), None));
    }
    for bad in [netconf(-3, &[]), message(80, 0, 0, &[vec![2, 0, 0, 0]])] {
        let events = decode(&mut decoder, &bad);
        assert!(matches!(events[0].kind, EventKind::Malformed(_)));
    }
}

#[test]
fn each_entry_of_a_multicast_database_is_a_fact() {
    let entry = |group: &[u8; 16], proto: u16| {
        let mut entry = 5u32.to_ne_bytes().to_vec();
        entry.extend([1, 0]);
        entry.extend(7u16.to_ne_bytes());
        entry.extend(group);
        entry.extend(proto.to_be_bytes());
        entry.extend([0, 0]);
        attribute(1, &entry)
    };
    let mut four = [0u8; 16];
    four[..4].copy_from_slice(&[239, 1, 2, 3]);
    let entries = [entry(&four, 0x0800), entry(&[0xff; 16], 0x86dd)];
    let table = attribute(1, &attribute(1, &entries.concat()));
    let header = [&[7u8, 0, 0, 0][..], &9u32.to_ne_bytes()].concat();
    let bytes = message(84, 0, 0, &[header, table]);
    let events = decode(&mut NetlinkDecoder::new(), &bytes);
    let groups: Vec<_> = events
        .iter()
        .map(|event| match &event.kind {
            EventKind::Mdb(mdb) => (mdb.bridge, mdb.port, mdb.vlan, mdb.group),
            other => panic!("{other:?}"),
        })
        .collect();
    let all = Group::Address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap());
    assert_eq!(
        groups[0],
        (9, 5, 7, Group::Address("239.1.2.3".parse().unwrap()))
    );
    assert_eq!(groups[1].3, all);
    for end in 16..bytes.len() {
        decode(&mut NetlinkDecoder::new(), &bytes[..end]);
    }
}

/// The same message as a host of the other byte order writes it: numbers turned, octets not.
fn foreign(kind: u16, seq: u32, fixed: &[&[u8]], attributes: &[(u16, Vec<u8>, bool)]) -> Vec<u8> {
    let turn = |octets: &[u8]| octets.iter().rev().copied().collect::<Vec<u8>>();
    let mut payload: Vec<u8> = fixed.iter().flat_map(|field| turn(field)).collect();
    for (kind, value, is_number) in attributes {
        payload.extend(turn(&((value.len() + 4) as u16).to_ne_bytes()));
        payload.extend(turn(&kind.to_ne_bytes()));
        payload.extend(if *is_number {
            turn(value)
        } else {
            value.clone()
        });
        payload.resize(payload.len().next_multiple_of(4), 0);
    }
    let mut out = turn(&((payload.len() + HEADER) as u32).to_ne_bytes());
    out.extend(turn(&kind.to_ne_bytes()));
    out.extend(turn(&0u16.to_ne_bytes()));
    out.extend(turn(&seq.to_ne_bytes()));
    out.extend(turn(&77u32.to_ne_bytes()));
    out.extend(payload);
    out
}

#[test]
fn messages_of_a_host_with_the_other_byte_order_say_the_same() {
    let header = route_header(2, 24, 186);
    let parts = [
        header.clone(),
        attribute(1, &[198, 51, 100, 0]),
        attribute(5, &[192, 0, 2, 1]),
        attribute(4, &3u32.to_ne_bytes()),
        attribute(6, &20u32.to_ne_bytes()),
        attribute(15, &1000u32.to_ne_bytes()),
    ];
    let ours = message(RTM_NEWROUTE, 0, 9, &parts);
    let (singles, flags) = header.split_at(8);
    let mut fixed: Vec<&[u8]> = singles.chunks(1).collect();
    fixed.push(flags);
    let theirs = foreign(
        RTM_NEWROUTE,
        9,
        &fixed,
        &[
            (1, vec![198, 51, 100, 0], false),
            (5, vec![192, 0, 2, 1], false),
            (4, 3u32.to_ne_bytes().to_vec(), true),
            (6, 20u32.to_ne_bytes().to_vec(), true),
            // Metrics are nested and not needed: left out, not misread.
            (8, vec![0xff; 12], false),
            (15, 1000u32.to_ne_bytes().to_vec(), true),
        ],
    );
    let (ours, theirs) = (
        decode(&mut NetlinkDecoder::new(), &ours),
        decode(
            &mut NetlinkDecoder::new(),
            &[theirs.clone(), theirs].concat(),
        ),
    );
    assert_eq!((ours.len(), theirs.len()), (1, 2));
    assert_eq!(route(&ours[0]), route(&theirs[0]));
    assert_eq!(route(&ours[0]), route(&theirs[1]));
}

#[test]
fn no_octets_in_the_other_order_break_the_turn() {
    let mut state = 7u32;
    let mut octet = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    for kind in [16u16, 20, 24, 28, 32, 84, 80, 104, 3] {
        for length in 0..120u32 {
            let mut bytes: Vec<u8> = (length + HEADER as u32)
                .to_ne_bytes()
                .into_iter()
                .rev()
                .collect();
            bytes.extend(kind.to_ne_bytes().iter().rev());
            bytes.extend((0..length + 10).map(|_| octet() & 0x1f));
            decode(&mut NetlinkDecoder::new(), &bytes);
        }
    }
}
