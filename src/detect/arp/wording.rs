//! What the detector of claims says: findings, their sentences and their keys.

use std::net::IpAddr;

use super::Party;
use super::contest::Contest;
use crate::detect::{Finding, Kind, Occurrence, Severity, Subject, Touch};
use crate::event::frame::Mac;
use crate::event::{Event, Locator, Timestamp};
use crate::state::NetState;
use crate::state::hosts::{Host, HostDelta, Scope, Use};
use crate::state::who::OneMachine;

/// A finding about a change that settled; `None` when it is not worth one (nobody announced it and its owner was gone).
pub(super) fn moved(
    addr: IpAddr,
    contest: &Contest,
    truncated: bool,
    net: &NetState,
) -> Option<Finding> {
    let first = contest.flipped().next()?;
    let latest = contest.latest()?;
    let mut finding = Finding::at(
        Kind::AddressMoved,
        Severity::Info,
        Subject::Address(addr),
        first.at,
    );
    for flip in contest.flipped().skip(1) {
        finding.again_at(flip.at);
    }
    evidence(&mut finding, contest);
    let how = if contest.announced {
        "announced by its new owner"
    } else {
        "without an announcement"
    };
    finding.explain = if latest.to == contest.owner {
        format!(
            "{addr} moved from {} to another host and back",
            contest.owner
        )
    } else {
        format!(
            "{addr} moved from {} to {}, {how}",
            contest.owner, latest.to
        )
    };
    if latest.to.is_virtual_router() || contest.owner.is_virtual_router() {
        finding
            .explanations
            .push("a virtual router's address (VRRP, HSRP, GLBP): a fail-over".into());
    } else if contest.announced {
        finding
            .explanations
            .push("a planned move of the address (ElasticIP) or a fail-over".into());
    } else if !truncated && latest.to != contest.owner && !contest.told_everybody(addr.is_ipv6()) {
        finding.explanations.push(unannounced(addr));
    }
    finding.truncated = truncated;
    finding.ended = Some(latest.at);
    finding.also(Subject::Mac(latest.to));
    keys(&mut finding, addr, &[contest.owner, latest.to], net);
    Some(finding)
}

/// A move that nobody told the caches of: the link is watched (its claims are what this was seen by), and none came while it settled.
fn unannounced(addr: IpAddr) -> String {
    let (announcement, caches) = if addr.is_ipv6() {
        (
            "unsolicited neighbor advertisement",
            "neighbor caches keep the old MAC until they probe it",
        )
    } else {
        (
            "gratuitous ARP",
            "ARP caches keep the old MAC until they age out, routers' for up to 4 hours",
        )
    };
    format!(
        "no {announcement} was seen on this link within {} s of the move: {caches}",
        super::SETTLED.as_secs()
    )
}

/// The sentence once it moves again.
pub(super) fn moved_again(delta: &HostDelta) -> String {
    format!("{} moved again, to {}", delta.addr, delta.mac)
}

/// An address that left the analysed host and is announced by another one.
pub(super) fn handed_over(
    delta: &HostDelta,
    left: Timestamp,
    locator: Locator,
    event: &Event,
    net: &NetState,
) -> Finding {
    let mut finding = Finding::at(
        Kind::AddressMoved,
        Severity::Info,
        Subject::Address(delta.addr),
        left,
    );
    finding.evidence.add(locator);
    finding.support(event);
    finding.ended = Some(event.at);
    finding.explain = format!(
        "{} was removed from this host and announced by {} {} ms later",
        delta.addr,
        delta.mac,
        event.at.since(left).as_millis()
    );
    finding
        .explanations
        .push("a planned move of the address (ElasticIP) or a fail-over".into());
    finding.also(Subject::Mac(delta.mac));
    keys(&mut finding, delta.addr, &[delta.mac], net);
    finding
}

/// A finding about an address that two hosts claim. Where both answer questions they share it by mistake; where one only ever announces, it
/// takes the other's place in the caches: then the neighbor is the subject and the announcer the intruder.
pub(super) fn conflict(
    scope: Scope,
    addr: IpAddr,
    contest: &Contest,
    host: &Host,
    net: &NetState,
) -> (Party, Finding) {
    let rival_mac = contest
        .flipped()
        .map(|flip| flip.to)
        .find(|mac| *mac != contest.owner)
        .unwrap_or(contest.owner);
    let find = |mac: Mac| host.uses.iter().find(|user| user.mac == mac);
    let (owner, rival) = (find(contest.owner), find(rival_mac));
    let answers = |user: Option<&Use>| user.map_or(0, |user| user.answers);
    // Nobody asks who has its own address: who does, and claims it, takes another's place.
    let asks = |user: Option<&Use>| user.is_some_and(|user| user.asked > 0);
    let poisoner = asks(owner) != asks(rival);
    let both_answer = answers(owner) > 0 && answers(rival) > 0 && !poisoner;
    // Hosts that live at an address ask and answer; who only announces is the intruder. What vouches for one of them counts more: it asks for
    // what it claims, or it is who the address's other roles say. In doubt the one who came later.
    let lives =
        |user: Option<&Use>| user.map_or(0, |user| user.claims.saturating_sub(user.announcements));
    let rightful =
        |mac: Mac, user: Option<&Use>| (!asks(user), net.vouched(scope, addr, mac), lives(user));
    let (real, intruder) = if rightful(rival_mac, rival) > rightful(contest.owner, owner) {
        (rival_mac, contest.owner)
    } else {
        (contest.owner, rival_mac)
    };
    let (kind, subject, party) = if both_answer {
        let (low, high) = (real.min(intruder), real.max(intruder));
        (
            Kind::AddressConflict,
            Subject::Address(addr),
            Party::Pair(low, high),
        )
    } else {
        (
            Kind::NeighborMacFlip,
            Subject::Neighbor(addr),
            Party::Intruder(intruder),
        )
    };
    let first = contest.flipped().next().map(|flip| flip.at);
    let begin = first.unwrap_or(contest.last_flip);
    let mut finding = Finding::at(kind, Severity::Warning, subject, begin);
    finding.occurrences.clear();
    finding.count = 0;
    for flip in contest.flipped() {
        finding.again_at(flip.at);
    }
    // Pushed to single hosts without a change that everybody saw: the contest itself is the one occurrence.
    finding.count = finding.count.max(1);
    if finding.occurrences.is_empty() {
        finding.occurrences.push(Occurrence {
            at: begin,
            until: None,
        });
    }
    evidence(&mut finding, contest);
    finding.broken.subject = true;
    finding.explain = if both_answer {
        format!("Two hosts answer for {addr}: {real} and {intruder}")
    } else {
        let how = if poisoner {
            "asks for it itself"
        } else {
            "never answers for it"
        };
        format!("{intruder} announces {addr}, which {real} uses, and {how}")
    };
    if let Some(sender) = contest.disguised {
        finding.explain.push_str(&format!(
            " (its frames come from {sender}, which is not the MAC they claim)"
        ));
    }
    finding.explanations = vec![
        "the same address configured twice (a clone, a static address inside a DHCP pool)".into(),
        "two VRRP or keepalived masters that do not hear each other".into(),
    ];
    if !both_answer {
        finding.explanations.insert(
            0,
            "ARP or ND spoofing: traffic to the address is redirected".into(),
        );
    }
    recount(&mut finding);
    keys(&mut finding, addr, &[real, intruder], net);
    finding.also(Subject::Mac(intruder));
    if both_answer {
        finding.also(Subject::Mac(real));
    }
    if let Party::Pair(a, b) = party {
        one_machine(&mut finding, scope, (a, b), net);
    }
    (party, finding)
}

/// Makes a conflict what it is where both addresses are one machine's.
pub(super) fn one_machine(f: &mut Finding, scope: Scope, (a, b): (Mac, Mac), net: &NetState) {
    let Some(one) = net.one_machine(scope, a, b) else {
        return;
    };
    f.kind = Kind::AddressArpFlux;
    f.severity = Severity::Info;
    f.broken = Default::default();
    let both = net.who.machines.addresses(scope, a, b);
    for addr in both {
        f.also(Subject::Address(*addr));
        f.touch(Touch::Address(*addr));
    }
    let why = match one {
        OneMachine::Own => "both are interfaces of this host".to_owned(),
        OneMachine::AnswersTogether(_) => {
            let list: Vec<String> = both.iter().map(IpAddr::to_string).collect();
            format!(
                "the same pair answers together for {}, so it is one host with two ports in one subnet, not two hosts",
                list.join(" and ")
            )
        }
    };
    f.explain = format!("{a} and {b} answer for the same addresses: {why}");
    recount(f);
    f.explanations = vec![
        "ARP flux: Linux answers for any of its addresses on any port (arp_ignore=0); caches alternate between the ports".into(),
    ];
    f.advice = vec![
        "sysctl net.ipv4.conf.all.arp_ignore net.ipv4.conf.all.arp_announce   (on that host: 1 and 2 stop it)".into(),
        super::where_is(a, net),
        super::where_is(b, net),
    ];
}

/// The frames since the first change, in the order of their times.
fn evidence(finding: &mut Finding, contest: &Contest) {
    let mut frames: Vec<(Timestamp, Locator)> = contest
        .flipped()
        .map(|flip| (flip.at, flip.locator))
        .chain(contest.frames.iter().copied())
        .filter(|(at, _)| *at >= finding.first)
        .collect();
    frames.sort_unstable();
    frames.dedup();
    for (at, locator) in frames {
        finding.last = finding.last.max(at);
        finding.evidence.add(locator);
    }
}

/// Brings the numbers at the end of the sentence up to date.
pub(super) fn recount(finding: &mut Finding) {
    const NUMBERS: &str = "; the MAC changed ";
    let end = finding.explain.find(NUMBERS);
    finding
        .explain
        .truncate(end.unwrap_or(finding.explain.len()));
    let times = match finding.count {
        1 => "once".to_string(),
        count => format!("{count} times"),
    };
    let seconds = finding.last.since(finding.first).as_secs_f64();
    finding
        .explain
        .push_str(&format!("{NUMBERS}{times} in {seconds:.0} s"));
}

/// Keys for joins, and what to look at next.
fn keys(finding: &mut Finding, addr: IpAddr, macs: &[Mac], net: &NetState) {
    finding.touch(Touch::Address(addr));
    finding.touch(Touch::Gateway(addr));
    for mac in macs {
        finding.touch(Touch::Mac(*mac));
    }
    finding.advice.push(format!("ip neigh show {addr}"));
    finding.advice.push(if addr.is_ipv4() {
        format!("arping -c 3 {addr}   (two MACs in the answers: two hosts)")
    } else {
        format!("ndisc6 {addr} IFACE   (two MACs in the answers: two hosts)")
    });
    for mac in macs {
        finding.advice.push(super::where_is(*mac, net));
    }
}
