//! Names, faces, boot files, lease queries and times: what is told of them, and their benign twins.

use super::*;
use crate::event::WireText;
use crate::event::frame::Frame;
use crate::state::leases::tests::v6;

const HOUR: i64 = 3_600_000;

impl Lab {
    /// A lease of a client that tells a name.
    fn named(&mut self, ms: i64, client: Mac, name: &str, addr: u8) {
        let xid = ms as u32 ^ u32::from(addr) << 24;
        let mut hello = message(MessageType::Discover, client, xid);
        hello.host_name = Some(WireText::from(name));
        self.hear(ms, hello);
        let offer = answer(MessageType::Offer, client, xid, 1, addr, 600);
        self.hear(ms + 1, offer);
        self.hear(ms + 2, select(client, xid, 1, addr));
        let ack = answer(MessageType::Ack, client, xid, 1, addr, 600);
        self.hear(ms + 3, ack);
    }

    fn notes(&self, kind: Kind) -> usize {
        self.board.of_kind(kind).count()
    }
}

#[test]
fn a_host_whose_port_and_bridge_ask_by_turns_is_a_note() {
    let mut lab = Lab::new();
    for boot in 0..4_i64 {
        let client = mac(if boot % 2 == 0 { 1 } else { 2 });
        lab.named(boot * HOUR, client, "node-7", 10 + (boot % 2) as u8);
    }
    let told = lab.one(Kind::DhcpIdentityConflict);
    assert_eq!((told.severity, told.count), (Severity::Info, 3));
    assert!(
        told.explain.contains("node-7") && told.explanations[0].contains("bridge"),
        "{told:?}"
    );
    assert_eq!(lab.loud(), []);
}

#[test]
fn one_name_under_three_addresses_is_a_note_and_default_names_ports_and_a_replaced_card_are_none() {
    let mut lab = Lab::new();
    for nth in 0..3_i64 {
        lab.named(nth * HOUR, mac(nth as u8 + 1), "web", nth as u8 + 10);
    }
    assert_eq!(lab.notes(Kind::DhcpIdentityConflict), 1);
    for (name, pause, clients) in [
        ("ubuntu", HOUR, [1, 2, 3]),
        // Three ports of one host, at one boot.
        ("router-1", 500, [1, 2, 3]),
        // A card was replaced.
        ("db", HOUR, [1, 2, 2]),
    ] {
        let mut lab = Lab::new();
        for (nth, client) in clients.into_iter().enumerate() {
            lab.named(nth as i64 * pause, mac(client), name, nth as u8 + 10);
        }
        assert_eq!(lab.notes(Kind::DhcpIdentityConflict), 0, "{name}");
    }
}

#[test]
fn the_fifth_face_of_one_client_is_a_note_and_four_are_how_machines_boot() {
    let mut lab = Lab::new();
    for face in 0..5_u8 {
        assert_eq!(lab.notes(Kind::DhcpIdentityConflict), 0);
        let mut hello = message(MessageType::Discover, mac(1), u32::from(face));
        hello.parameters = vec![1, 3, 6, 100 + face];
        lab.hear(i64::from(face) * 100_000, hello);
    }
    let told = lab.one(Kind::DhcpIdentityConflict);
    assert_eq!(told.severity, Severity::Info);
    assert!(
        told.explain.contains("5 different ways"),
        "{}",
        told.explain
    );
}

#[test]
fn two_servers_with_different_boot_files_are_told_and_equal_files_or_a_boot_loaders_next_step_are_not()
 {
    let boots = |lab: &mut Lab, ms: i64, files: [&str; 2]| {
        let xid = ms as u32 + 1;
        let mut hello = message(MessageType::Discover, mac(1), xid);
        hello.architecture = Some(7);
        lab.hear(ms, hello);
        for (nth, file) in files.into_iter().enumerate() {
            let from = nth as u8 + 1;
            let mut offer = answer(MessageType::Offer, mac(1), xid, from, 10 + from, 600);
            offer.boot_file = Some(WireText::from(file));
            // An HA pair: one gateway.
            offer.routers = vec![server(9)];
            offer.dns = vec![server(9)];
            lab.hear(ms + 10 * i64::from(from), offer);
        }
    };
    let mut lab = Lab::new();
    boots(&mut lab, 0, ["undionly.kpxe", "undionly.kpxe"]);
    boots(&mut lab, 5_000, ["script.ipxe", "script.ipxe"]);
    assert_eq!(lab.notes(Kind::DhcpRogueServer), 0);
    boots(&mut lab, 60_000, ["undionly.kpxe", "evil.efi"]);
    let told = lab.one(Kind::DhcpRogueServer);
    assert_eq!(told.severity, Severity::Warning);
    assert!(told.explain.contains("evil.efi"), "{}", told.explain);
}

#[test]
fn lease_queries_of_a_stranger_are_a_note_and_a_few_are_nothing() {
    let mut lab = Lab::new();
    let query = |xid: u32| {
        let mut query = message(MessageType::LeaseQuery, mac(1), xid);
        query.giaddr = server(77);
        query
    };
    for xid in 0..10 {
        lab.hear(i64::from(xid) * 100, query(xid));
    }
    assert_eq!(lab.notes(Kind::DhcpRequestStorm), 0);
    for xid in 10..20 {
        lab.hear(i64::from(xid) * 100, query(xid));
    }
    let told = lab.one(Kind::DhcpRequestStorm);
    assert_eq!((told.severity, told.count), (Severity::Info, 20));
    assert!(
        told.explain.contains("no relay that was seen"),
        "{}",
        told.explain
    );
    for xid in 20..1100 {
        lab.hear(2_000 + i64::from(xid) * 10, query(xid));
    }
    assert_eq!(lab.one(Kind::DhcpRequestStorm).severity, Severity::Warning);
}

#[test]
fn times_that_contradict_each_other_are_a_note_at_once_and_never_an_alarm() {
    let mut lab = Lab::new();
    for nth in 0..6_u8 {
        let mut ack = answer(MessageType::Ack, mac(1), u32::from(nth), 1, 10, 600);
        ack.flaws = vec![Dhcp4Flaw::BadLifetimes];
        lab.hear(i64::from(nth) * 1000, ack);
    }
    let told = lab.one(Kind::DhcpMalformed);
    assert_eq!((told.severity, told.count), (Severity::Info, 6));
    assert!(told.explain.contains("bad lifetimes"), "{}", told.explain);
}

#[test]
fn a_reconfigure_without_authentication_is_a_note() {
    let mut lab = Lab::new();
    let mut wire = v6(10, 1, 0);
    wire.flaws = vec![crate::event::dhcp6::Dhcp6Flaw::NotAuthenticated];
    wire.frame = Frame {
        eth_src: Some(mac(200)),
        ..wire.frame
    };
    let mut heard = event(0, 0, 1, message(MessageType::Discover, mac(1), 1));
    heard.kind = EventKind::Dhcp6(Box::new(wire));
    lab.handle(heard);
    assert_eq!(lab.one(Kind::DhcpMalformed).severity, Severity::Info);
}

#[test]
fn where_answers_are_not_captured_renewals_are_no_silence_and_what_a_client_says_of_its_wait_is() {
    // A mirror of what clients send: each renewal begins anew, the transaction id stays (udhcpc, networkd).
    let mut lab = Lab::new();
    lab.hear(0, message(MessageType::Discover, mac(1), 7));
    lab.hear(5, select(mac(1), 7, 1, 10));
    for nth in 1..10 {
        lab.hear(nth * 5_000, renewal(mac(1), 7, 1, 10));
    }
    lab.hear(51_000, rebinding(mac(1), 7, 10));
    assert_eq!(lab.loud(), []);
    // The same capture, and a client that counts the seconds it waits.
    for (ms, secs) in [(60_000, 0), (62_000, 2), (65_000, 5)] {
        let mut ask = renewal(mac(1), 7, 1, 10);
        ask.secs = secs;
        lab.hear(ms, ask);
    }
    // One client's unicast may be lost on its way; what it asks of everybody decides.
    assert_eq!(
        (lab.loud(), lab.notes(Kind::DhcpServerUnresponsive)),
        (vec![], 1)
    );
    for ms in [70_000, 74_000] {
        lab.hear(ms, rebinding(mac(1), 7, 10));
    }
    assert_eq!(lab.loud(), [Kind::DhcpServerUnresponsive]);
}

#[test]
fn a_crash_loop_shows_in_what_the_client_sends_alone() {
    let mut lab = Lab::new();
    for nth in 0..6_i64 {
        let ms = nth * 30_000;
        lab.hear(ms, message(MessageType::Discover, mac(1), ms as u32));
        lab.hear(ms + 5, select(mac(1), ms as u32, 1, 10));
        let mut release = message(MessageType::Release, mac(1), ms as u32 + 1);
        release.ciaddr = server(10);
        lab.hear(ms + 10_000, release);
    }
    assert_eq!(lab.loud(), [Kind::DhcpClientChurn]);
    assert_eq!(lab.one(Kind::DhcpClientChurn).count, 6);
}

#[test]
fn a_capture_that_ends_before_a_forged_relays_clients_could_answer_tells_a_crowd_and_not_a_few() {
    for (crowd, told) in [(20_u8, 1), (10, 0)] {
        let mut lab = Lab::new();
        for nth in 0..crowd {
            let ms = i64::from(nth) * 100;
            let behind = |mut m: Dhcp4| {
                m.giaddr = server(77);
                m
            };
            let xid = u32::from(nth) + 1;
            lab.hear(ms, behind(message(MessageType::Discover, mac(nth), xid)));
            let offer = answer(MessageType::Offer, mac(nth), xid, 1, 100 + nth, 600);
            lab.hear(ms + 1, behind(offer));
        }
        lab.finish();
        assert_eq!(lab.notes(Kind::DhcpRelaySpoofed), told, "{crowd}");
        assert!(lab.board.iter().all(|(_, f)| f.truncated));
    }
}
