use super::super::tests::Lab;
use crate::detect::{Kind, Reason};
use crate::event::netlink::Action;
use crate::event::tcp::TcpFact;
use crate::state::routes::testing::route_event;

const BIRD: u8 = 12;

/// The host closes its only session, and its neighbor asks again.
fn closed(answer: TcpFact) -> Lab {
    let mut lab = Lab::settled();
    for route in ["198.51.100.0/24", "203.0.113.0/24"] {
        lab.route(
            8100,
            500,
            route_event(Action::New, route, BIRD, &["192.0.2.1@9"]),
        );
    }
    lab.tcp(8500, false, 4000, TcpFact::Fin, None);
    // The neighbor's SYN goes to port 179 here: in this lab the host's port is the other one.
    lab.tcp(10_000, true, 5000, TcpFact::Syn, None);
    lab.tcp(10_001, false, 5000, answer, None);
    lab
}

#[test]
fn a_speaker_that_closes_everything_and_does_not_listen_any_more_is_gone_and_its_routes_are_stale()
{
    let mut lab = closed(TcpFact::Rst);
    lab.tcp(20_000, true, 5001, TcpFact::Syn, None);
    let (_, gone) = lab
        .found
        .of_kind(Kind::SessionDown)
        .next()
        .expect("it is gone");
    assert_eq!(gone.reason, Some(Reason::SpeakerGone));
    let (_, stale) = lab
        .found
        .of_kind(Kind::RouteFibStale)
        .next()
        .expect("they forward on");
    assert_eq!(stale.affected.routes.len(), 2);
    assert!(
        stale.explain.contains("2 IPv4 routes of bird"),
        "{}",
        stale.explain
    );
    // It is back.
    lab.establish(30_000, 5002);
    assert!(lab.found.iter().all(|(_, finding)| finding.ended.is_some()));
}

#[test]
fn a_speaker_that_is_back_or_listens_or_lost_one_session_is_not_gone() {
    let mut lab = closed(TcpFact::Rst);
    lab.establish(12_000, 5002);
    lab.talk(13_000, 30_000, 5002);
    assert!(lab.found.is_empty());
    let mut lab = closed(TcpFact::SynAck);
    lab.tcp(30_000, true, 5001, TcpFact::Syn, None);
    assert!(lab.found.is_empty());
    // The neighbor closed it.
    let mut lab = Lab::settled();
    lab.tcp(8500, true, 4000, TcpFact::Fin, None);
    lab.tcp(30_000, true, 5001, TcpFact::Syn, None);
    assert!(lab.found.is_empty());
}
