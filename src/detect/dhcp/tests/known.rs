//! The known explanations (class X of the survey), one by one: each with what must not be explained so.

use super::*;
use crate::detect::dhcp::known;
use crate::detect::{Finding, Subject};
use crate::event::WireText;
use crate::event::{InputId, SourceId, SourceInfo, SourceKind};
use crate::state::NetState;

/// What is said of a finding about the last of these messages, heard on this interface.
fn told(interface: &str, messages: Vec<Dhcp4>) -> String {
    let mut net = NetState::default();
    let mut changes = Changes::default();
    let info = SourceInfo {
        id: SourceId(0),
        input: InputId(0),
        kind: SourceKind::Packets,
        interface: Some(interface.into()),
        host: None,
        role: None,
    };
    net.sources.insert(SourceId(0), info);
    let mut finding = Finding::at(
        Kind::DhcpRequestStorm,
        Severity::Warning,
        Subject::Client("02:00:5e:10:00:01".into()),
        Timestamp(0),
    );
    for (nth, message) in messages.into_iter().enumerate() {
        let event = event(nth as i64 * 1000, 0, nth as u64 + 1, message);
        net.apply(&event, &mut changes);
        let seen = net.leases.seen().cloned();
        finding.explanations.clear();
        if let Some(seen) = seen {
            known::explain(&mut finding, &seen, &event, &net);
        }
    }
    finding.explanations.join("\n")
}

fn discover(client: Mac) -> Dhcp4 {
    message(MessageType::Discover, client, 7)
}

#[test]
fn x1_the_hosts_own_client_on_a_pods_interface_is_named_and_a_guests_is_not() {
    let sent = |outgoing| {
        let mut m = discover(mac(1));
        m.frame.outgoing = Some(outgoing);
        vec![m]
    };
    for interface in ["cali0123456789a", "vethab12", "lxc12", "docker0", "br-1234"] {
        let own = told(interface, sent(true));
        assert!(own.contains("container networking"), "{interface}: {own}");
    }
    assert_eq!(told("cali0123456789a", sent(false)), "");
    assert_eq!(told("eth0", sent(true)), "");
}

#[test]
fn x4_network_boot_is_named_and_an_installed_system_is_not() {
    for class in ["PXEClient:Arch:00007:UNDI:003016", "HTTPClient:Arch:00016"] {
        let mut m = discover(mac(1));
        m.vendor_class = Some(WireText::new(class.as_bytes()));
        let text = told("eth0", vec![m]);
        assert!(text.contains("network boot"), "{class}: {text}");
    }
    let mut m = discover(mac(1));
    m.vendor_class = Some(WireText::new(b"dhcpcd-9.4.1:Linux"));
    assert_eq!(told("eth0", vec![m]), "");
}

#[test]
fn x5_kube_vip_is_named_by_its_link_layer_addresses() {
    let service = Mac([0, 0, 0x6c, 1, 2, 3]);
    assert!(told("eth0", vec![discover(service)]).contains("kube-vip"));
    assert_eq!(told("eth0", vec![discover(Mac([0, 0, 0x6d, 1, 2, 3]))]), "");
}

#[test]
fn x6_a_server_for_one_pod_with_a_lease_of_years_is_kubevirts_and_a_long_lease_for_many_is_not() {
    const YEARS: u32 = 999 * 86_400;
    let exchange = |client: Mac, addr: u8, seconds: u32| {
        vec![
            discover(client),
            answer(MessageType::Offer, client, 7, 1, addr, seconds),
            select(client, 7, 1, addr),
            answer(MessageType::Ack, client, 7, 1, addr, seconds),
        ]
    };
    let pod = told("k6t-eth0", exchange(mac(1), 101, YEARS));
    assert!(pod.contains("KubeVirt"), "{pod}");
    assert_eq!(told("eth0", exchange(mac(1), 101, 86_400)), "");
    let mut many = exchange(mac(1), 101, YEARS);
    many.extend(exchange(mac(2), 102, YEARS));
    assert_eq!(told("eth0", many), "");
}

#[test]
fn x8_a_client_that_was_granted_ipv6_only_gives_up_ipv4_by_design() {
    let exchange = |asked: bool, granted: bool| {
        let mut request = discover(mac(1));
        if asked {
            request.parameters.push(108);
        }
        let mut offer = answer(MessageType::Offer, mac(1), 7, 1, 101, 600);
        offer.ipv6_only_wait = granted.then_some(1800);
        let mut again = request.clone();
        again.xid = 8;
        vec![request, offer, again]
    };
    let text = told("eth0", exchange(true, true));
    assert!(text.contains("option 108"), "{text}");
    assert_eq!(told("eth0", exchange(true, false)), "");
    assert_eq!(told("eth0", exchange(false, true)), "");
}

/// X3: systemd's identity says where it comes from, another one does not.
#[test]
fn x3_a_cloned_machine_id_is_named_where_the_identity_is_made_from_it() {
    for (identity, named) in [
        (vec![255, 1, 2, 3, 4, 0, 2, 0, 0, 0xab, 0x11, 9], true),
        (vec![255, 1, 2, 3, 4, 0, 1, 0, 1, 9, 9, 9, 9], false),
    ] {
        let mut lab = Lab::new();
        for (nth, client) in [1, 2, 1, 2, 1, 2].into_iter().enumerate() {
            let mut m = renewal(mac(client), nth as u32, 1, 101);
            m.client_id = Some(identity.clone());
            lab.hear(nth as i64 * 10_000, m);
        }
        let found = lab.one(Kind::DhcpIdentityConflict);
        let told = found.explanations.join("");
        assert_eq!(told.contains("machine-id"), named, "{told}");
    }
}

/// X7: two servers of one network with one configuration are a pair, whoever answers first; another gateway makes the second one a stranger.
#[test]
fn x7_a_pair_of_servers_is_quiet_and_a_second_one_with_another_gateway_is_not() {
    for (gateway, strange) in [(1, false), (66, true)] {
        let mut lab = Lab::new();
        for nth in 0..6u8 {
            let (client, at) = (mac(10 + nth), i64::from(nth) * 10_000);
            let xid = u32::from(nth) + 1;
            lab.hear(at, message(MessageType::Discover, client, xid));
            lab.hear(
                at + 1,
                answer(MessageType::Offer, client, xid, 1, 100 + nth, 600),
            );
            if nth >= 2 {
                let mut second = answer(MessageType::Offer, client, xid, 2, 150 + nth, 600);
                second.routers = vec![server(gateway)];
                second.dns = vec![server(1)];
                lab.hear(at + 2, second);
            }
            lab.hear(at + 3, select(client, xid, 1, 100 + nth));
            lab.hear(
                at + 4,
                answer(MessageType::Ack, client, xid, 1, 100 + nth, 600),
            );
        }
        let rogues = lab.board.of_kind(Kind::DhcpRogueServer);
        let loud = rogues.filter(|(_, f)| f.severity > Severity::Info).count() > 0;
        assert_eq!(loud, strange, "gateway {gateway}: {:?}", lab.loud());
    }
}

/// The benign twin: a machine that was renamed once.
#[test]
fn one_mac_that_asks_under_two_names_by_turns_is_two_machines() {
    for (names, told) in [
        (["blue", "red", "blue", "red"], 1),
        (["blue", "blue", "red", "red"], 0),
    ] {
        let mut lab = Lab::new();
        for (nth, name) in (0..).zip(names) {
            let mut m = renewal(mac(1), nth, 1, 7);
            m.host_name = Some(crate::event::WireText::from(name));
            lab.hear(i64::from(nth) * 10_000, m);
        }
        let found = lab.board.iter().map(|(_, finding)| finding);
        let found: Vec<_> = found
            .filter(|f| f.kind == Kind::DhcpIdentityConflict && f.severity == Severity::Warning)
            .collect();
        assert_eq!(found.len(), told, "{names:?}");
        assert!(
            found
                .iter()
                .all(|f| f.explain.starts_with("blue and red use"))
        );
    }
}
