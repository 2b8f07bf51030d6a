//! Clients that ask and are not served, and what must stay quiet beside each.

use super::*;
use crate::detect::Reason;
use crate::event::frame::Checksum;
use crate::state::leases::tests::v6;

/// A client asks `rounds` times, 4 s apart, and is offered an address each time.
fn left_alone(lab: &mut Lab, client: Mac, rounds: i64, change: impl Fn(&mut Dhcp4, &mut Dhcp4)) {
    for nth in 0..rounds {
        let mut ask = message(MessageType::Discover, client, 7);
        ask.secs = nth as u16 * 4;
        ask.checksum = Checksum::Right;
        let mut offer = answer(MessageType::Offer, client, 7, 1, 101, 600);
        change(&mut ask, &mut offer);
        let ms = nth * 4000 + i64::from(client.0[5]);
        lab.hear(ms, ask);
        lab.hear(ms + 1, offer);
    }
}

#[test]
fn offers_that_nobody_takes_are_told_from_the_third_question_behind_one() {
    let mut lab = Lab::new();
    left_alone(&mut lab, mac(1), 3, |_, _| {});
    assert_eq!(lab.loud(), []);
    let mut lab = Lab::new();
    left_alone(&mut lab, mac(1), 4, |_, _| {});
    assert_eq!(lab.loud(), [Kind::DhcpOfferIgnored]);
    let found = lab.one(Kind::DhcpOfferIgnored);
    assert_eq!((found.count, found.reason), (3, Some(Reason::Unknown)));
    // It takes one after all: over.
    lab.hear(20_000, select(mac(1), 7, 1, 101));
    assert!(lab.one(Kind::DhcpOfferIgnored).ended.is_some());
}

#[test]
fn a_boot_rom_may_leave_four_offers_alone() {
    let mut lab = Lab::new();
    left_alone(&mut lab, mac(1), 5, |ask, _| ask.architecture = Some(7));
    assert_eq!(lab.loud(), []);
}

#[test]
fn bad_checksums_are_the_reason_only_where_all_offers_have_one_and_nobody_took_one_like_it() {
    let mut lab = Lab::new();
    left_alone(&mut lab, mac(1), 5, |_, offer| {
        offer.checksum = Checksum::Unfinished
    });
    let found = lab.one(Kind::DhcpOfferIgnored);
    assert_eq!(found.reason, Some(Reason::Checksum));
    assert!(
        found
            .explain
            .contains("those of its own messages are right"),
        "{}",
        found.explain
    );

    let mut lab = Lab::new();
    let mut offer = answer(MessageType::Offer, mac(2), 3, 1, 102, 600);
    offer.checksum = Checksum::Unfinished;
    lab.hear(0, message(MessageType::Discover, mac(2), 3));
    lab.hear(1, offer);
    lab.hear(2, select(mac(2), 3, 1, 102));
    left_alone(&mut lab, mac(9), 5, |_, offer| {
        offer.checksum = Checksum::Unfinished
    });
    assert_eq!(
        lab.one(Kind::DhcpOfferIgnored).reason,
        Some(Reason::Unknown)
    );
}

#[test]
fn offers_in_another_vlan_than_the_question_are_told_with_both() {
    let mut lab = Lab::new();
    left_alone(&mut lab, mac(1), 5, |ask, _| ask.frame.vlans[0] = Some(10));
    let found = lab.one(Kind::DhcpOfferIgnored);
    assert_eq!(found.reason, Some(Reason::Vlan));
    assert!(found.explain.contains("in VLAN 10"), "{}", found.explain);
    assert!(found.explain.contains("untagged"), "{}", found.explain);
    let rows = lab.net.leases.client_rows();
    assert_eq!((rows.len(), rows[0].vlans.clone()), (1, vec![10]));
}

/// A question and its offer as the server's side of a relay shows them.
fn through_relay(ask: &mut Dhcp4, offer: &mut Dhcp4, to: Ipv4Addr) {
    for m in [&mut *ask, &mut *offer] {
        m.giaddr = Ipv4Addr::new(198, 51, 100, 1);
        m.dst_port = 67;
    }
    ask.frame.eth_src = Some(mac(250));
    offer.frame.ip_dst = Some(to.into());
}

#[test]
fn a_relay_whose_clients_never_get_their_offers_is_one_finding_and_no_forger() {
    let giaddr = Ipv4Addr::new(198, 51, 100, 1);
    let mut lab = Lab::new();
    for client in 1..11 {
        left_alone(&mut lab, mac(client), 1, |a, o| through_relay(a, o, giaddr));
    }
    for round in 1..6 {
        for client in 1..11_u8 {
            let mut ask = message(MessageType::Discover, mac(client), 7);
            let mut offer = answer(MessageType::Offer, mac(client), 7, 1, 101, 600);
            through_relay(&mut ask, &mut offer, giaddr);
            let ms = round * 4000 + i64::from(client) * 10;
            lab.hear(ms, ask);
            lab.hear(ms + 1, offer);
        }
    }
    lab.advance(Timestamp(60_000_000_000));
    lab.finish();
    assert_eq!(lab.loud(), [Kind::DhcpRelayDeaf]);
    let found = lab.one(Kind::DhcpRelayDeaf);
    assert_eq!(found.subjects[0], Subject::Address(giaddr.into()));
    assert_eq!((found.count, found.affected.clients.len()), (10, 10));
    // The way back is repaired: the next one takes its offer.
    let mut take = select(mac(1), 7, 1, 101);
    take.giaddr = giaddr;
    lab.hear(61_000, take);
    assert!(lab.one(Kind::DhcpRelayDeaf).ended.is_some());
}

#[test]
fn an_answer_that_does_not_go_to_the_relay_is_named_with_where_it_went() {
    let mut lab = Lab::new();
    left_alone(&mut lab, mac(1), 5, |a, o| {
        through_relay(a, o, Ipv4Addr::new(203, 0, 113, 9));
    });
    let found = lab.one(Kind::DhcpOfferIgnored);
    assert_eq!(found.reason, Some(Reason::Destination));
    assert!(found.explain.contains("203.0.113.9"), "{}", found.explain);
}

#[test]
fn nobody_answers_is_said_only_of_a_port_of_this_host() {
    for own in [true, false] {
        let mut lab = Lab::new();
        for (nth, ms) in [0, 4000, 12_000, 28_000, 60_000].into_iter().enumerate() {
            let mut ask = message(MessageType::Discover, mac(1), 7);
            ask.frame.outgoing = own.then_some(true);
            lab.hear(ms, ask);
            assert_eq!(lab.loud().len(), usize::from(own && nth == 4), "after {ms}");
        }
        if own {
            assert_eq!(lab.one(Kind::DhcpNoServer).count, 5);
            lab.hear(60_500, answer(MessageType::Offer, mac(1), 7, 1, 101, 600));
            assert!(lab.one(Kind::DhcpNoServer).ended.is_some());
        }
    }
}

/// An answer as it goes to one station.
fn to_one(mut m: Dhcp4) -> Dhcp4 {
    m.frame.eth_dst = Some(mac(m.chaddr[5]));
    m
}

#[test]
fn one_client_that_is_passed_over_while_others_are_served_is_told_and_an_outage_is_not_its() {
    let mut lab = Lab::new();
    for round in 0..6_u8 {
        let ms = i64::from(round) * 6000;
        let mut ask = message(MessageType::Discover, mac(9), 7);
        ask.secs = u16::from(round) * 6;
        lab.hear(ms, ask);
        let other = mac(20 + round);
        lab.hear(ms + 1000, message(MessageType::Discover, other, 1));
        lab.hear(
            ms + 1001,
            to_one(answer(MessageType::Offer, other, 1, 1, 120 + round, 600)),
        );
        lab.hear(ms + 1002, select(other, 1, 1, 120 + round));
        lab.hear(
            ms + 1003,
            to_one(answer(MessageType::Ack, other, 1, 1, 120 + round, 600)),
        );
    }
    assert_eq!(lab.loud(), [Kind::DhcpClientRefused]);
    let found = lab.one(Kind::DhcpClientRefused);
    assert_eq!(
        found.subjects[0],
        Subject::Client(mac(9).to_string().into())
    );

    // The server is away for a while and serves another first when it is back.
    let mut lab = Lab::new();
    lab.lease(0, mac(1), 1, 101, 600);
    for ms in [10_000, 14_000, 22_000, 38_000] {
        lab.hear(ms, message(MessageType::Discover, mac(9), 7));
    }
    lab.lease(39_000, mac(2), 1, 102, 600);
    lab.hear(54_000, message(MessageType::Discover, mac(9), 7));
    assert_eq!(lab.board.of_kind(Kind::DhcpClientRefused).count(), 0);
}

#[test]
fn renewals_whose_unicast_fails_are_told_when_the_first_broadcast_is_answered_at_once() {
    let mut lab = Lab::new();
    lab.lease(0, mac(1), 1, 101, 60);
    for ms in [30_000, 34_000, 40_000, 48_000] {
        lab.hear(ms, renewal(mac(1), 9, 1, 101));
    }
    lab.hear(53_000, rebinding(mac(1), 9, 101));
    lab.hear(53_001, answer(MessageType::Ack, mac(1), 9, 1, 101, 60));
    assert_eq!(lab.loud(), [Kind::DhcpRenewalUnanswered]);
    let found = lab.one(Kind::DhcpRenewalUnanswered);
    assert!(
        found.explain.contains("4 unicast renewals"),
        "{}",
        found.explain
    );
    assert!(found.ended.is_some());
}

#[test]
fn renewals_to_an_identifier_that_never_speaks_accuse_no_server() {
    let mut lab = Lab::new();
    let from = |mut m: Dhcp4| {
        m.frame.ip_src = Some(v4(200));
        m
    };
    lab.hear(0, message(MessageType::Discover, mac(1), 5));
    lab.hear(1, from(answer(MessageType::Offer, mac(1), 5, 1, 101, 60)));
    lab.hear(2, select(mac(1), 5, 1, 101));
    lab.hear(3, from(answer(MessageType::Ack, mac(1), 5, 1, 101, 60)));
    for ms in [30_000, 34_000, 40_000] {
        lab.hear(ms, renewal(mac(1), 9, 1, 101));
    }
    for ms in [53_000, 56_000] {
        lab.hear(ms, rebinding(mac(1), 9, 101));
    }
    assert_eq!(lab.loud(), [Kind::DhcpRenewalUnanswered]);
    assert!(
        lab.one(Kind::DhcpRenewalUnanswered)
            .explain
            .contains("192.0.2.200")
    );
}

#[test]
fn an_answer_that_comes_late_shows_the_silence_before_it() {
    let mut lab = Lab::new();
    lab.lease(0, mac(1), 1, 101, 60);
    lab.hear(30_000, renewal(mac(1), 9, 1, 101));
    lab.hear(40_000, renewal(mac(1), 9, 1, 101));
    assert_eq!(lab.loud(), []);
    lab.hear(47_000, answer(MessageType::Ack, mac(1), 9, 1, 101, 60));
    let found = lab.one(Kind::DhcpServerUnresponsive);
    assert_eq!(found.first, Timestamp(30_000_000_000));
    assert_eq!(found.ended, Some(Timestamp(47_000_000_000)));
}

#[test]
fn a_server_without_prefixes_says_so_and_one_refusal_is_a_note_at_most() {
    let mut lab = Lab::new();
    for nth in 0..3_u32 {
        let ms = i64::from(nth) * 4000;
        let mut solicit = v6(1, 7, 0);
        solicit.addresses.clear();
        let mut refusal = v6(2, 7, 0);
        refusal.addresses.clear();
        refusal.status = vec![(6, "none left".into())];
        for (later, m) in [(0, solicit), (1, refusal)] {
            lab.frame += 1;
            let hello = message(MessageType::Discover, mac(1), 1);
            let mut e = event(ms + later, 0, lab.frame, hello);
            e.kind = EventKind::Dhcp6(Box::new(m));
            lab.handle(e);
        }
        assert_eq!(lab.loud().len(), usize::from(nth == 2));
    }
    let found = lab.one(Kind::DhcpPoolExhausted);
    assert_eq!(found.reason, Some(Reason::NoPrefix));
    assert!(found.explain.contains("none left"), "{}", found.explain);
}

#[test]
fn a_release_that_passed_no_router_and_is_not_its_clients_own_frame_is_forged() {
    for (hops, found) in [(64, 1), (63, 0)] {
        let mut lab = Lab::new();
        let mut m = renewal(mac(1), 8, 1, 101);
        m.message_type = Some(MessageType::Release);
        m.frame.eth_src = Some(mac(66));
        m.frame.hop_limit = Some(hops);
        lab.hear(5000, m);
        assert_eq!(lab.loud().len(), found);
    }
}

#[test]
fn a_client_whose_release_was_forged_makes_no_outage_of_its_server() {
    let mut lab = Lab::new();
    lab.lease(0, mac(1), 1, 101, 600);
    let mut m = renewal(mac(1), 8, 1, 101);
    m.message_type = Some(MessageType::Release);
    m.frame.eth_src = Some(mac(66));
    lab.hear(5000, m);
    for ms in [10_000, 12_000, 15_000, 20_000, 26_000] {
        lab.hear(ms, renewal(mac(1), 9, 1, 101));
    }
    assert!(
        lab.loud()
            .iter()
            .all(|kind| *kind == Kind::DhcpReleaseSpoofed)
    );
}

#[test]
fn two_programs_on_one_interface_are_a_note_with_both_leases() {
    let mut lab = Lab::new();
    for (nth, id) in [None, Some(vec![1, 2, 0, 0x5e, 0x10, 0, 1])]
        .into_iter()
        .enumerate()
    {
        let ms = nth as i64 * 1000;
        let with = |mut m: Dhcp4| {
            m.client_id.clone_from(&id);
            m
        };
        let (xid, addr) = (nth as u32, 101 + nth as u8);
        lab.hear(ms, with(message(MessageType::Discover, mac(1), xid)));
        // This server does not repeat the identifier.
        lab.hear(ms + 1, answer(MessageType::Offer, mac(1), xid, 1, addr, 60));
        lab.hear(ms + 2, with(select(mac(1), xid, 1, addr)));
        lab.hear(ms + 3, answer(MessageType::Ack, mac(1), xid, 1, addr, 60));
    }
    assert_eq!(lab.loud(), []);
    let found = lab.one(Kind::DhcpIdentityConflict);
    assert!(found.explain.contains("192.0.2.101") && found.explain.contains("192.0.2.102"));
    let rows = lab.net.leases.client_rows();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row.lease.is_some() && row.acks == 1));
}

#[test]
fn advertisements_for_another_duid_are_told_by_the_station_they_go_to() {
    use crate::event::dhcp6::Duid;
    for misnamed in [true, false] {
        let mut lab = Lab::new();
        for (nth, ms) in [0, 1000, 3000, 7000, 15_000].into_iter().enumerate() {
            let mut solicit = v6(1, 7, 0);
            solicit.elapsed_ms = Some(ms as u32);
            let mut advertise = v6(2, 7, 600);
            advertise.frame.ip_dst = solicit.frame.ip_src;
            if misnamed {
                advertise.client = Some(Duid(vec![0, 3, 0, 1, 2, 0, 0x5e, 0x10, 0, 99].into()));
            }
            for (later, m) in [(0, solicit), (1, advertise)] {
                lab.frame += 1;
                let hello = message(MessageType::Discover, mac(1), 1);
                let mut e = event(ms + later, 0, lab.frame, hello);
                e.kind = EventKind::Dhcp6(Box::new(m));
                lab.handle(e);
            }
            assert_eq!(lab.loud().len(), usize::from(nth >= 3), "after {ms}");
        }
        let found = lab.one(Kind::DhcpOfferIgnored);
        let reason = if misnamed {
            Reason::Identity
        } else {
            Reason::Unknown
        };
        assert_eq!(found.reason, Some(reason));
        assert_eq!(lab.net.leases.client_rows().len(), 1);
    }
}

#[test]
fn many_clients_that_take_no_offer_of_one_server_are_one_finding() {
    let mut lab = Lab::new();
    for round in 0..6 {
        for client in 1..9_u8 {
            let ms = round * 4000 + i64::from(client) * 10;
            lab.hear(ms, message(MessageType::Discover, mac(client), 7));
            lab.hear(
                ms + 1,
                answer(MessageType::Offer, mac(client), 7, 1, 101, 600),
            );
        }
    }
    assert_eq!(lab.loud(), [Kind::DhcpOfferIgnored]);
    let found = lab.one(Kind::DhcpOfferIgnored);
    assert_eq!(found.subjects[0], Subject::Server(v4(1)));
    assert_eq!(found.count, 8);
}
