use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::event::dhcp4::{Dhcp4, MessageType};
use crate::event::frame::{Checksum, Frame, Mac};
use crate::event::source::Unit;
use crate::event::{EventKind, InputId, Locator, SourceId};

/// Makes DHCPv4 messages of one network, 192.0.2.0/24, and applies them.
#[derive(Default)]
pub struct Lan {
    pub leases: Leases,
    pub deltas: Vec<LeaseDelta>,
    frame: u64,
}

/// The nth client's link-layer address.
pub fn mac(nth: u8) -> Mac {
    Mac([0x02, 0x00, 0x5e, 0x10, 0, nth])
}

pub fn server(nth: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, nth)
}

/// A bare message of a client.
pub fn message(kind: MessageType, client: Mac, xid: u32) -> Dhcp4 {
    let answer = matches!(
        kind,
        MessageType::Offer | MessageType::Ack | MessageType::Nak
    );
    Dhcp4 {
        frame: Frame {
            eth_src: Some(client),
            eth_dst: Some(Mac::BROADCAST),
            ip_src: Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            ip_dst: Some(IpAddr::V4(Ipv4Addr::BROADCAST)),
            ..Frame::default()
        },
        src_port: if answer { 67 } else { 68 },
        dst_port: if answer { 68 } else { 67 },
        checksum: Checksum::default(),
        op: if answer { 2 } else { 1 },
        htype: 1,
        hlen: 6,
        hops: 0,
        xid,
        secs: 0,
        broadcast: false,
        ciaddr: Ipv4Addr::UNSPECIFIED,
        yiaddr: Ipv4Addr::UNSPECIFIED,
        siaddr: Ipv4Addr::UNSPECIFIED,
        giaddr: Ipv4Addr::UNSPECIFIED,
        chaddr: client.0.to_vec(),
        message_type: Some(kind),
        client_id: None,
        server_id: None,
        requested_ip: None,
        lease_time: None,
        t1: None,
        t2: None,
        subnet_mask: None,
        routers: Vec::new(),
        dns: Vec::new(),
        routes: Vec::new(),
        host_name: None,
        vendor_class: None,
        user_class: None,
        fqdn: None,
        domain: None,
        message: None,
        parameters: vec![1, 3, 6],
        relay_agent: None,
        architecture: None,
        ipv6_only_wait: None,
        boot_file: None,
        boot_server: None,
        options: vec![53],
        flaws: Vec::new(),
        hostile_text: Vec::new(),
    }
}

/// A server's answer that gives 192.0.2.`addr` for `lease` seconds.
pub fn answer(kind: MessageType, client: Mac, xid: u32, from: u8, addr: u8, lease: u32) -> Dhcp4 {
    let mut m = message(kind, client, xid);
    m.frame.eth_src = Some(Mac([0x02, 0, 0x5e, 0x20, 0, from]));
    m.frame.ip_src = Some(server(from).into());
    m.server_id = Some(server(from));
    if kind != MessageType::Nak {
        m.yiaddr = Ipv4Addr::new(192, 0, 2, addr);
        m.lease_time = Some(lease);
        m.subnet_mask = Some(Ipv4Addr::new(255, 255, 255, 0));
        m.routers = vec![server(from)];
        m.dns = vec![server(from)];
    }
    m
}

/// A client's unicast renewal.
pub fn renewal(client: Mac, xid: u32, to: u8, addr: u8) -> Dhcp4 {
    let mut m = message(MessageType::Request, client, xid);
    m.ciaddr = Ipv4Addr::new(192, 0, 2, addr);
    m.frame.ip_src = Some(m.ciaddr.into());
    m.frame.ip_dst = Some(server(to).into());
    m
}

/// A client's broadcast from T2 on.
pub fn rebinding(client: Mac, xid: u32, addr: u8) -> Dhcp4 {
    let mut m = renewal(client, xid, 0, addr);
    m.frame.ip_dst = Some(Ipv4Addr::BROADCAST.into());
    m
}

/// A client's choice of an offer.
pub fn select(client: Mac, xid: u32, from: u8, addr: u8) -> Dhcp4 {
    let mut m = message(MessageType::Request, client, xid);
    m.server_id = Some(server(from));
    m.requested_ip = Some(Ipv4Addr::new(192, 0, 2, addr));
    m
}

pub fn event(ms: i64, source: u32, number: u64, message: Dhcp4) -> Event {
    Event {
        at: Timestamp(ms * 1_000_000),
        origin_at: None,
        source: SourceId(source),
        locator: Locator {
            input: InputId(0),
            unit: Unit::Frame,
            number,
            offset: 0,
        },
        kind: EventKind::Dhcp4(Box::new(message)),
    }
}

impl Lan {
    fn hear(&mut self, ms: i64, message: Dhcp4) -> &[LeaseDelta] {
        self.hear_at(ms, 0, message)
    }

    fn hear_at(&mut self, ms: i64, source: u32, message: Dhcp4) -> &[LeaseDelta] {
        self.frame += 1;
        self.deltas.clear();
        let event = event(ms, source, self.frame, message);
        self.leases.apply(&event, &mut self.deltas);
        &self.deltas
    }

    fn scope(&self) -> ScopeId {
        self.leases.seen().unwrap().scope
    }
}

fn addr(nth: u8) -> Prefix {
    Prefix::host(IpAddr::V4(Ipv4Addr::new(192, 0, 2, nth)))
}

#[test]
fn four_messages_make_a_lease_and_a_renewal_prolongs_it() {
    let mut lan = Lan::default();
    lan.hear(0, message(MessageType::Discover, mac(1), 7));
    lan.hear(1, answer(MessageType::Offer, mac(1), 7, 1, 100, 60));
    lan.hear(2, select(mac(1), 7, 1, 100));
    let granted = lan.hear(3, answer(MessageType::Ack, mac(1), 7, 1, 100, 60));
    assert!(
        matches!(granted, [LeaseDelta::Granted { .. }]),
        "{granted:?}"
    );
    lan.hear(30_000, renewal(mac(1), 8, 1, 100));
    let mut ack = answer(MessageType::Ack, mac(1), 8, 1, 100, 60);
    ack.ciaddr = Ipv4Addr::new(192, 0, 2, 100);
    let renewed = lan.hear(30_001, ack);
    assert!(
        matches!(renewed, [LeaseDelta::Renewed { .. }]),
        "{renewed:?}"
    );
    let scope = lan.scope();
    let lease = lan.leases.lease(scope, addr(100)).unwrap();
    assert_eq!(lease.until, Timestamp(90_001_000_000));
    assert!(lease.seen_granted);
    let rows = lan.leases.client_rows();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].lease.as_ref().unwrap().server, "192.0.2.1");
    assert_eq!(
        (rows[0].discovers, rows[0].requests, rows[0].acks),
        (1, 2, 2)
    );
    assert_eq!(rows[0].fingerprint, "1,3,6");
    let servers = lan.leases.server_rows();
    assert_eq!((servers.len(), servers[0].leases), (1, 1));
}

#[test]
fn a_lease_ends_at_its_own_deadline() {
    let mut lan = Lan::default();
    lan.hear(0, select(mac(1), 7, 1, 100));
    lan.hear(10, answer(MessageType::Ack, mac(1), 7, 1, 100, 60));
    assert_eq!(lan.leases.next_deadline(), Some(Timestamp(60_010_000_000)));
    let mut out = Vec::new();
    lan.leases.expire(Timestamp(60_009_999_999), &mut out);
    assert!(out.is_empty());
    lan.leases.expire(Timestamp(60_010_000_000), &mut out);
    assert!(matches!(out.as_slice(), [LeaseDelta::Expired { .. }]));
    assert_eq!(lan.leases.next_deadline(), None);
}

#[test]
fn a_lease_that_lasts_forever_has_no_deadline() {
    let mut lan = Lan::default();
    lan.hear(0, select(mac(1), 7, 1, 100));
    lan.hear(10, answer(MessageType::Ack, mac(1), 7, 1, 100, u32::MAX));
    assert_eq!(lan.leases.next_deadline(), None);
}

#[test]
fn a_packet_seen_at_a_bridge_and_at_its_port_counts_once() {
    let mut lan = Lan::default();
    let discover = message(MessageType::Discover, mac(1), 7);
    lan.hear_at(0, 1, discover.clone());
    let first = lan.scope();
    let second = lan.hear_at(1, 2, discover);
    assert!(matches!(second, [LeaseDelta::Duplicate]));
    assert_eq!(lan.scope(), first);
    // The server's port is a third place: the answer to a known question joins it.
    let offer = answer(MessageType::Offer, mac(1), 7, 1, 100, 60);
    lan.hear_at(2, 3, offer.clone());
    assert_eq!(lan.scope(), first);
    let copy = lan.hear_at(3, 2, offer);
    assert!(matches!(copy, [LeaseDelta::Duplicate]));
    assert_eq!(lan.leases.client_rows().len(), 1);
    assert_eq!(lan.leases.server_rows()[0].offers, 1);
}

#[test]
fn a_retransmission_at_one_place_is_no_copy() {
    let mut lan = Lan::default();
    let discover = message(MessageType::Discover, mac(1), 7);
    lan.hear(0, discover.clone());
    let again = lan.hear(10, discover);
    assert!(
        matches!(again, [LeaseDelta::Asked { tries: 2, .. }]),
        "{again:?}"
    );
}

#[test]
fn vlans_and_relays_are_scopes_of_their_own() {
    let mut lan = Lan::default();
    lan.hear(0, message(MessageType::Discover, mac(1), 7));
    let plain = lan.scope();
    let mut tagged = message(MessageType::Discover, mac(1), 7);
    tagged.frame.vlans[0] = Some(100);
    lan.hear(1, tagged);
    let vlan = lan.scope();
    let mut relayed = message(MessageType::Discover, mac(1), 7);
    relayed.giaddr = Ipv4Addr::new(198, 51, 100, 1);
    lan.hear(2, relayed);
    let relay = lan.scope();
    assert!(plain != vlan && vlan != relay && plain != relay);
}

#[test]
fn a_flood_from_one_source_displaces_no_confirmed_client() {
    let mut lan = Lan::default();
    lan.hear(0, select(mac(1), 7, 1, 100));
    lan.hear(1, answer(MessageType::Ack, mac(1), 7, 1, 100, 3600));
    let scope = lan.scope();
    for nth in 0..1000_u32 {
        let mut m = message(MessageType::Discover, mac(2), nth);
        m.chaddr = vec![2, 9, 9, 9, (nth >> 8) as u8, nth as u8];
        lan.hear(2 + i64::from(nth), m);
    }
    assert!(
        lan.leases
            .clients
            .get(scope, &ClientId::new(&mac(1).0))
            .is_some()
    );
    assert!(lan.leases.client_rows().len() < 100);
    assert!(lan.leases.clients.refused > 900);
}

#[test]
fn one_address_for_two_clients_is_a_collision() {
    let mut lan = Lan::default();
    lan.hear(0, select(mac(1), 7, 1, 100));
    lan.hear(1, answer(MessageType::Ack, mac(1), 7, 1, 100, 3600));
    lan.hear(1000, select(mac(2), 8, 1, 100));
    let deltas = lan.hear(1001, answer(MessageType::Ack, mac(2), 8, 1, 100, 3600));
    assert!(matches!(
        deltas,
        [LeaseDelta::Collision { .. }, LeaseDelta::Granted { .. }]
    ));
}

#[test]
fn configurations_of_an_ha_pair_do_not_contradict() {
    let config = |routers: &[u8], dns: &[u8]| Config {
        routers: routers.iter().map(|n| server(*n).into()).collect(),
        dns: dns.iter().map(|n| server(*n).into()).collect(),
        ..Config::default()
    };
    assert!(!config(&[1], &[1, 2]).contradicts(&config(&[1], &[2, 3]), false));
    assert!(config(&[1], &[1]).contradicts(&config(&[9], &[1]), false));
    assert!(config(&[1], &[1]).contradicts(&config(&[1], &[9]), false));
}

#[test]
fn copies_in_a_capture_of_all_interfaces_count_once() {
    let mut lan = Lan::default();
    let discover = message(MessageType::Discover, mac(1), 7);
    lan.hear(0, discover.clone());
    assert!(matches!(lan.hear(1, discover), [LeaseDelta::Duplicate]));
}

/// A DHCPv6 message between one client and one server.
pub fn v6(kind: u8, xid: u32, valid: u32) -> crate::event::dhcp6::Dhcp6 {
    use crate::event::dhcp6::{Dhcp6, Duid, IaAddress};
    let answer = matches!(kind, 2 | 7);
    Dhcp6 {
        frame: Frame {
            eth_src: Some(mac(if answer { 200 } else { 1 })),
            ip_src: Some(if answer { "fe80::1" } else { "fe80::2" }.parse().unwrap()),
            ..Frame::default()
        },
        src_port: 546,
        dst_port: 547,
        checksum: Checksum::default(),
        relays: Vec::new(),
        message_type: kind,
        xid,
        client: Some(Duid(vec![0, 3, 0, 1, 2, 0, 0x5e, 0x10, 0, 1].into())),
        server: (kind != 1).then(|| Duid(vec![0, 3, 0, 1, 2, 0, 0x5e, 0x20, 0, 1].into())),
        addresses: vec![IaAddress {
            iaid: 1,
            addr: "2001:db8::100".parse().unwrap(),
            preferred: valid / 2,
            valid,
            t1: 0,
            t2: 0,
        }],
        prefixes: Vec::new(),
        status: Vec::new(),
        requested: vec![23],
        enterprise: None,
        vendor_class: None,
        fqdn: None,
        rapid_commit: false,
        preference: None,
        elapsed_ms: None,
        dns: Vec::new(),
        authenticated: false,
        options: Vec::new(),
        flaws: Vec::new(),
        hostile_text: Vec::new(),
    }
}

#[test]
fn dhcpv6_exchanges_make_leases_like_dhcpv4() {
    let mut leases = Leases::default();
    let mut deltas = Vec::new();
    let mut hear = |leases: &mut Leases, ms: i64, m| {
        let mut event = event(ms, 0, ms as u64, message(MessageType::Discover, mac(1), 1));
        event.kind = EventKind::Dhcp6(Box::new(m));
        deltas.clear();
        leases.apply(&event, &mut deltas);
        deltas.clone()
    };
    hear(&mut leases, 0, v6(1, 1, 0));
    let offered = hear(&mut leases, 1, v6(2, 1, 100));
    assert!(matches!(offered.last(), Some(LeaseDelta::Offered { .. })));
    hear(&mut leases, 2, v6(3, 2, 0));
    let granted = hear(&mut leases, 3, v6(7, 2, 100));
    assert!(matches!(granted.as_slice(), [LeaseDelta::Granted { .. }]));
    assert_eq!(leases.next_deadline(), Some(Timestamp(100_003_000_000)));
    let row = &leases.server_rows()[0];
    assert_eq!(row.address, Some("fe80::1".parse().unwrap()));
    assert_eq!(leases.client_rows()[0].id, "00:03:00:01:02:00:5e:10:00:01");
    // A refusal is a NAK, a lifetime of zero takes the lease back.
    hear(&mut leases, 10, v6(5, 3, 0));
    hear(&mut leases, 11, v6(7, 3, 0));
    assert_eq!(leases.next_deadline(), None);
    let mut refusal = v6(7, 4, 0);
    refusal.status = vec![(2, "full".into())];
    hear(&mut leases, 20, v6(3, 4, 0));
    assert!(matches!(
        hear(&mut leases, 21, refusal).as_slice(),
        [LeaseDelta::Naked { .. }]
    ));
}

#[test]
fn a_lease_from_behind_a_relay_lives_by_the_renewals_that_pass_the_relay_by() {
    let mut lan = Lan::default();
    let relayed = |mut m: Dhcp4| {
        m.giaddr = "192.0.2.126".parse().unwrap();
        m
    };
    let client = Mac([2, 0, 0, 0, 0, 7]);
    lan.hear(0, relayed(message(MessageType::Discover, client, 1)));
    lan.hear(
        1,
        relayed(answer(MessageType::Offer, client, 1, 1, 101, 20)),
    );
    lan.hear(2, relayed(select(client, 1, 1, 101)));
    lan.hear(3, relayed(answer(MessageType::Ack, client, 1, 1, 101, 20)));
    for round in 1..4_i64 {
        lan.hear(round * 10_000, renewal(client, 2, 1, 101));
        let found = lan.hear(
            round * 10_000 + 1,
            answer(MessageType::Ack, client, 2, 1, 101, 20),
        );
        assert!(matches!(found, [LeaseDelta::Renewed { .. }]), "{found:?}");
    }
}

#[test]
fn a_delegated_prefix_that_is_given_back_is_no_lease_any_more() {
    use crate::event::dhcp6::IaPrefix;
    let mut leases = Leases::default();
    let mut out = Vec::new();
    let delegated = |kind, valid| {
        let mut message = v6(kind, 9, valid);
        message.addresses.clear();
        message.prefixes = vec![IaPrefix {
            iaid: 1,
            prefix: "2001:db8:100::/56".parse().unwrap(),
            preferred: valid / 2,
            valid,
            t1: 0,
            t2: 0,
        }];
        message
    };
    for (ms, m) in [
        (0, delegated(3, 0)),
        (1, delegated(7, 3600)),
        (2, delegated(8, 0)),
    ] {
        let hello = message(MessageType::Discover, mac(1), 1);
        let mut event = event(ms, 0, ms as u64 + 1, hello);
        event.kind = EventKind::Dhcp6(Box::new(m));
        leases.apply(&event, &mut out);
    }
    let released = out.last();
    assert!(
        matches!(released, Some(LeaseDelta::Released { held: true, .. })),
        "{released:?}"
    );
    let rows = leases.client_rows();
    assert!(rows[0].lease.is_none());
    assert_eq!(rows[0].identifier.as_ref().unwrap().kind, "DUID-LL");
}
