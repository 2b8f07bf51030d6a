use super::super::tests::Lab;
use super::*;
use crate::detect::Kind;
use crate::event::EventKind;
use crate::event::bgp::BgpMessage;
use crate::event::frame::Frame;
use crate::event::tcp::TcpEvent;

/// A fact about a segment of the connection from the host's `port` to the peer's 179.
fn tcp(lab: &mut Lab, ms: i64, from_peer: bool, port: u16, what: TcpFact) {
    let (peer, host) = (
        "192.0.2.1:179".parse().unwrap(),
        format!("192.0.2.2:{port}").parse().unwrap(),
    );
    let (src, dst) = if from_peer {
        (peer, host)
    } else {
        (host, peer)
    };
    lab.event(
        ms,
        EventKind::Tcp(Box::new(TcpEvent {
            frame: Frame::default(),
            src,
            dst,
            auth: None,
            what,
        })),
    );
}

/// Opens, sends something large at `ms` + 1 s that is repeated `times` times, and dies by the peer's hold timer at + 4 s.
fn dies(lab: &mut Lab, ms: i64, port: u16, octets: u32, times: i64) {
    lab.establish(ms, port);
    for n in 0..times {
        tcp(
            lab,
            ms + 1200 + n * 200,
            false,
            port,
            TcpFact::Retransmission(octets),
        );
    }
    lab.bgp(ms + 3000, true, port, BgpMessage::Keepalive);
    lab.bgp(
        ms + 4000,
        true,
        port,
        super::super::tests::notification(4, 0, None, None),
    );
}

fn found(lab: &Lab) -> Vec<&Finding> {
    let kind = Kind::SessionMtuBlackhole;
    lab.troubles.of_kind(kind).map(|(_, f)| f).collect()
}

#[test]
fn two_deaths_behind_a_large_segment_are_a_black_hole() {
    let mut lab = Lab::new();
    dies(&mut lab, 0, 4000, 1448, 5);
    assert!(found(&lab).is_empty(), "once may be plain loss");
    dies(&mut lab, 10_000, 4001, 1448, 5);
    let all = found(&lab);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].count, 2);
    assert_eq!(all[0].subjects[0].to_string(), "peer:192.0.2.1");
    assert_eq!(all[0].first, Timestamp(1_200_000_000));
    assert!(all[0].broken.subject && all[0].explain.contains("1448 octets"));
    dies(&mut lab, 20_000, 4002, 1448, 5);
    assert_eq!(found(&lab)[0].count, 3);
    // The path was repaired: the next large segment is acknowledged.
    lab.establish(30_000, 4003);
    tcp(&mut lab, 31_000, false, 4003, TcpFact::FullSize(1448));
    tcp(&mut lab, 31_100, true, 4003, TcpFact::Ack);
    assert!(!found(&lab)[0].broken.subject && found(&lab)[0].ended.is_some());
}

#[test]
fn at_the_receiver_a_large_hole_with_something_small_behind_it_tells_the_same() {
    let mut lab = Lab::new();
    for (ms, port) in [(0, 4000), (10_000, 4001)] {
        lab.establish(ms, port);
        tcp(&mut lab, ms + 1000, true, port, TcpFact::Hole(1448));
        lab.bgp(ms + 2000, false, port, BgpMessage::Keepalive);
        lab.bgp(
            ms + 4000,
            false,
            port,
            super::super::tests::notification(4, 0, None, None),
        );
    }
    assert_eq!(found(&lab).len(), 1);
    assert!(found(&lab)[0].explain.contains("never arrived"));
}

#[test]
fn small_segments_acknowledged_ones_and_silent_peers_are_no_black_hole() {
    let mut lab = Lab::new();
    // KEEPALIVEs are lost too: the path is dead.
    dies(&mut lab, 0, 4000, 19, 6);
    dies(&mut lab, 10_000, 4001, 19, 6);
    // Loss that heals: the session dies later of something else.
    for (ms, port) in [(20_000, 4002), (30_000, 4003)] {
        lab.establish(ms, port);
        for n in 0..4 {
            tcp(
                &mut lab,
                ms + 1000 + n * 200,
                false,
                port,
                TcpFact::Retransmission(1448),
            );
        }
        tcp(&mut lab, ms + 2000, true, port, TcpFact::Ack);
        lab.bgp(ms + 2500, true, port, BgpMessage::Keepalive);
        lab.bgp(
            ms + 4000,
            true,
            port,
            super::super::tests::notification(6, 4, None, None),
        );
    }
    // The other end says nothing either.
    for (ms, port) in [(40_000, 4004), (50_000, 4005)] {
        lab.establish(ms, port);
        for n in 0..4 {
            tcp(
                &mut lab,
                ms + 1000 + n * 200,
                false,
                port,
                TcpFact::Retransmission(1448),
            );
        }
        lab.bgp(
            ms + 4000,
            false,
            port,
            super::super::tests::notification(4, 0, None, None),
        );
    }
    assert!(found(&lab).is_empty());
}
