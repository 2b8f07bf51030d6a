use super::super::tests::{Lab, notification};
use crate::detect::{Kind, Reason, Severity};
use crate::event::bgp::{
    BgpMessage, ErrorAction, Family, GracefulRestart, Nlri, Open, Update, UpdateError,
};
use crate::event::tcp::{TcpAuth, TcpFact};

/// The peer talks on, the host says nothing and its kernel acknowledges or not, until the peer's timer (3 s) runs out.
fn host_falls_silent(acknowledged: bool) -> Lab {
    let mut lab = Lab::settled();
    for second in 9..12 {
        lab.bgp(second * 1000, true, 4000, BgpMessage::Keepalive);
        if acknowledged {
            lab.tcp(second * 1000 + 1, false, 4000, TcpFact::Ack, None);
        } else {
            lab.tcp(
                second * 1000 + 1,
                true,
                4000,
                TcpFact::Retransmission(19),
                None,
            );
        }
    }
    lab.bgp(11_100, true, 4000, notification(4, 0, None, None));
    lab.tcp(12_500, true, 4000, TcpFact::Fin, None);
    lab
}

#[test]
fn a_kernel_that_acknowledges_while_its_process_says_nothing_is_a_hung_process() {
    let lab = host_falls_silent(true);
    assert_eq!(lab.only().reason, Some(Reason::ProcessHung));
    assert!(
        lab.only().explain.contains("on this host hung"),
        "{}",
        lab.only().explain
    );
    assert!(
        lab.only()
            .advice
            .iter()
            .all(|command| !command.starts_with("ping"))
    );
    // The benign twin in cause, not in effect: nothing comes back at all, which is the path's.
    let lab = host_falls_silent(false);
    assert_eq!(lab.only().reason, Some(Reason::HoldTimerExpired));
}

#[test]
fn a_timer_that_runs_out_after_a_message_arrived_is_a_late_process() {
    let mut lab = Lab::settled();
    // The peer's KEEPALIVE of 8.0 s is the last; the host's own timer cannot have run out at 9.5 s.
    lab.bgp(9500, false, 4000, notification(4, 0, None, None));
    lab.tcp(10_800, false, 4000, TcpFact::Fin, None);
    assert_eq!(lab.only().reason, Some(Reason::ProcessLate));
    // Where nobody knows whether it arrived, nothing is said.
    let mut lab = Lab::settled();
    lab.bgp(9500, true, 4000, notification(4, 0, None, None));
    lab.tcp(10_800, false, 4000, TcpFact::Fin, None);
    assert_eq!(lab.only().reason, Some(Reason::HoldTimerExpired));
}

#[test]
fn a_last_word_on_the_old_connection_after_many_attempts_is_no_second_session() {
    let mut lab = Lab::settled();
    lab.bgp(8500, true, 4000, notification(4, 0, None, None));
    // More attempts than connections are remembered.
    for n in 0..6 {
        lab.tcp(9000 + n * 500, true, 5000 + n as u16, TcpFact::Syn, None);
        lab.tcp(9001 + n * 500, false, 5000 + n as u16, TcpFact::Rst, None);
    }
    lab.bgp(12_500, false, 4000, BgpMessage::Keepalive);
    lab.tcp(12_501, true, 4000, TcpFact::Rst, None);
    lab.establish(13_000, 4001);
    lab.talk(14_000, 20_000, 4001);
    assert_eq!(lab.only().count, 1);
}

/// The session is reset, and then both ends ask in vain, with these options.
fn asked_in_vain(host: Option<TcpAuth>, peer: Option<TcpAuth>) -> Lab {
    let mut lab = Lab::settled();
    lab.bgp(8500, true, 4000, notification(6, 6, None, None));
    for n in 0..4 {
        lab.tcp(
            10_000 + n * 2000,
            false,
            5000 + n as u16,
            TcpFact::Syn,
            host,
        );
        lab.tcp(11_000 + n * 2000, true, 6000 + n as u16, TcpFact::Syn, peer);
    }
    lab
}

#[test]
fn segments_with_a_key_that_nobody_answers_are_an_authentication_failure() {
    let md5 = Some(TcpAuth::Md5);
    let lab = asked_in_vain(md5, md5);
    assert_eq!(lab.only().reason, Some(Reason::Auth));
    assert!(
        lab.only().explain.contains("8 SYNs"),
        "{}",
        lab.only().explain
    );
    let lab = asked_in_vain(md5, None);
    assert!(
        lab.only().explain.contains("one end has a key"),
        "{}",
        lab.only().explain
    );
    // Without an option the reset stays the reason, and the silence is told.
    let lab = asked_in_vain(None, None);
    assert_eq!(lab.only().reason, Some(Reason::ConfigChange));
    assert!(lab.only().explain.contains("no answer at all"));
    // It comes back: nothing of that remains.
    let mut lab = asked_in_vain(md5, md5);
    lab.establish(30_000, 4001);
    assert_eq!(lab.only().reason, Some(Reason::ConfigChange));
}

#[test]
fn a_session_that_never_comes_up_says_why_and_one_that_starts_late_is_quiet() {
    let mut lab = Lab::new();
    for n in 0..6 {
        lab.tcp(n * 4000, false, 5000 + n as u16, TcpFact::Syn, None);
        lab.tcp(n * 4000 + 1, true, 5000 + n as u16, TcpFact::Rst, None);
    }
    let found = lab.troubles.of_kind(Kind::SessionUnestablished).next();
    let (_, finding) = found.expect("it is told");
    assert_eq!(finding.reason, Some(Reason::Refused));
    lab.establish(40_000, 4001);
    let found = lab.troubles.of_kind(Kind::SessionUnestablished).next();
    assert!(found.is_some_and(|(_, finding)| finding.ended.is_some()));

    let mut lab = Lab::new();
    for n in 0..3 {
        lab.tcp(n * 1000, false, 5000 + n as u16, TcpFact::Syn, None);
    }
    lab.establish(5000, 5003);
    assert!(lab.troubles.is_empty());
}

#[test]
fn the_update_that_a_notification_answers_is_named() {
    let mut lab = Lab::settled();
    let update = Update {
        errors: vec![UpdateError {
            action: ErrorAction::AfiSafiDisable,
            attribute: 14,
            why: "next hop has a wrong length",
        }],
        lost: Some(Nlri::unicast("2001:db8:5::/48".parse().unwrap())),
        ..Update::default()
    };
    lab.bgp(8500, true, 4000, BgpMessage::Update(Box::new(update)));
    lab.bgp(8501, false, 4000, notification(3, 1, None, None));
    let told = lab.only();
    assert!(
        told.explain.contains("about 2001:db8:5::/48"),
        "{}",
        told.explain
    );
    assert!(told.explain.contains("MP_REACH_NLRI"), "{}", told.explain);
    assert!(
        told.subjects
            .iter()
            .any(|s| s.to_string() == "prefix:2001:db8:5::/48")
    );
    assert_eq!(told.evidence.total, 2);
    // An UPDATE long before is none that it answers.
    let mut lab = Lab::settled();
    lab.bgp(8100, true, 4000, BgpMessage::Update(Box::default()));
    lab.talk(9000, 12_000, 4000);
    lab.bgp(12_500, false, 4000, notification(3, 1, None, None));
    assert!(!lab.only().explain.contains("answers an UPDATE"));
}

/// Two losses by Cease 6/3 with ten routes each, of a session with graceful restart.
fn deconfigured_twice(routes: u8) -> Lab {
    let mut lab = Lab::new();
    for (round, port) in [(0, 4000), (20_000, 4001)] {
        for from_peer in [false, true] {
            let open = Open {
                asn: 64502 - u32::from(from_peer),
                hold_time: 3,
                router_id: 1 + u32::from(from_peer),
                graceful_restart: Some(GracefulRestart {
                    restarting: false,
                    notification: false,
                    restart_time: 20,
                    families: vec![(Family::IPV4_UNICAST, true)],
                }),
                ..Open::default()
            };
            lab.bgp(round, from_peer, port, BgpMessage::Open(Box::new(open)));
        }
        lab.bgp(round + 2, false, port, BgpMessage::Keepalive);
        lab.bgp(round + 3, true, port, BgpMessage::Keepalive);
        let update = Update {
            announced: (0..routes)
                .map(|n| Nlri::unicast(format!("198.51.{n}.0/24").parse().unwrap()))
                .collect(),
            ..Update::default()
        };
        if routes > 0 {
            lab.bgp(round + 10, true, port, BgpMessage::Update(Box::new(update)));
        }
        lab.talk(round + 1000, round + 8000, port);
        lab.bgp(round + 8500, true, port, notification(6, 3, None, None));
    }
    lab
}

#[test]
fn routes_that_go_again_and_again_are_lost_whatever_the_code_says_and_a_defeated_restart_is_told() {
    let lab = deconfigured_twice(10);
    let told = lab.only();
    assert_eq!((told.severity, told.planned), (Severity::Warning, false));
    assert!(
        told.explain.contains("graceful restart was negotiated"),
        "{}",
        told.explain
    );
    // Nothing was lost: the word stands.
    let lab = deconfigured_twice(0);
    assert!(lab.only().planned);
    assert!(!lab.only().explain.contains("graceful restart"));
}
