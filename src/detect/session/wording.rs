//! What a lost session's finding says: subjects, join keys, kind, severity and the sentence; and which causes its evidence rejects.

use std::time::Duration;

use crate::detect::finding::SessionEnds;
use crate::detect::{Finding, Kind, Reason, Severity, Subject, Touch};
use crate::state::sessions::Session;

use super::Loss;
use super::reason::Judgement;

pub(super) fn rejections(verdict: &Judgement) -> Vec<(Kind, Option<Reason>, String)> {
    let mut rejected = Vec::new();
    // That a link kept its carrier is the ledger's to say.
    if let Some((name, _)) = &verdict.link {
        rejected.push((
            Kind::SessionDown,
            Some(Reason::HoldTimerExpired),
            format!("{name} was down when the session was lost; the timer that the wire shows ran out because of it"),
        ));
    }
    rejected
}

pub(super) fn describe(
    finding: &mut Finding,
    session: &Session,
    far: usize,
    interfaces: &[Box<str>],
    loss: &Loss,
    verdict: &Judgement,
) {
    let (remote, local) = (&session.ends[far], &session.ends[1 - far]);
    let link_local = matches!(remote.addr, std::net::IpAddr::V6(a) if a.is_unicast_link_local());
    let scope = interfaces.first().filter(|_| link_local).cloned();
    finding.subjects.clear();
    finding.also(Subject::Peer(remote.addr, scope));
    if !local.addr.is_unspecified() {
        finding.also(Subject::Peer(local.addr, None));
        finding.touch(Touch::Peer(local.addr));
    }
    finding.touch(Touch::Peer(remote.addr));
    finding
        .affected
        .sessions
        .insert(Subject::Peer(remote.addr, None));
    if remote.router_id != 0 {
        finding.touch(Touch::RouterId(remote.router_id));
    }
    if remote.asn != 0 {
        finding.touch(Touch::As(remote.asn));
    }
    if let Some(mac) = remote.mac {
        finding.touch(Touch::Mac(mac));
    }
    for name in interfaces {
        finding.touch(Touch::Interface(name.clone()));
    }
    finding.reach = session.hold_time().filter(|hold| !hold.is_zero());
    let restart_time = |end: &crate::state::sessions::End| {
        let open = end.open.as_ref()?;
        let graceful = open.graceful_restart.as_ref()?;
        Some(Duration::from_secs(graceful.restart_time.into()))
    };
    if loss.retained {
        // RFC 4724 §4.2: the receiver flushes what it kept when the restart time of the lost end is over.
        finding.keeps = session.ends.iter().filter_map(restart_time).max();
    }
    let known = |asn: u32| (asn != 0).then_some(asn);
    finding.session = Some(SessionEnds {
        local: local.addr,
        remote: remote.addr,
        local_as: known(local.asn),
        remote_as: known(remote.asn),
        vrf: session.distinguisher(),
        observers: session.observers(),
    });
    let restarting = loss.retained && !loss.gave_up;
    finding.kind = if restarting && finding.count == 1 {
        Kind::SessionRestarted
    } else if finding.reason == Some(Reason::MaxPrefix) {
        Kind::SessionMaxPrefix
    } else if finding.count > 1 {
        Kind::SessionFlap
    } else {
        Kind::SessionDown
    };
    let quiet = finding.count == 1 && (finding.planned || restarting);
    finding.severity = if quiet {
        Severity::Info
    } else {
        Severity::Warning
    };
    let neighbor = match known(remote.asn) {
        Some(asn) => format!("{} (AS{asn})", remote.addr),
        None => remote.addr.to_string(),
    };
    let times = match finding.count {
        1 => "went down".to_owned(),
        n => format!(
            "went down {n} times in {:.1} s",
            finding.last.since(finding.first).as_secs_f64()
        ),
    };
    let late = match finding.keeps.filter(|_| loss.gave_up) {
        Some(kept) => format!(
            "; it did not come back within its restart time of {} s, for which its routes were kept",
            kept.as_secs()
        ),
        None => String::new(),
    };
    let mut clauses = format!("{}{late}", verdict.because);
    if let Some((update, text)) = &loss.trigger {
        clauses.push_str(&format!("; {text}"));
        if let Some(route) = update.route {
            finding.also(Subject::Prefix(route.prefix));
        }
    }
    for clause in loss
        .defeated
        .iter()
        .chain(loss.stays.iter().map(|(text, _)| text))
    {
        clauses.push_str(&format!("; {clause}"));
    }
    if let Some((_, Some(why))) = &loss.stays
        && *why == Reason::Auth
    {
        // What ended it is over; what keeps it down is what to mend.
        finding.reason = Some(*why);
    }
    finding.explain = format!("The BGP session to {neighbor} {times}: {clauses}");
    finding.advice = vec![
        format!("vtysh -c 'show bgp neighbors {}'", remote.addr),
        "birdc show protocols all".to_owned(),
    ];
    match finding.reason {
        Some(Reason::HoldTimerExpired) => {
            finding.advice.push(format!("ping -c 3 {}", remote.addr));
        }
        Some(Reason::ProcessHung | Reason::ProcessLate) => {
            finding.advice = vec![
                "ps -eo pid,stat,wchan:20,etime,time,args | grep -E 'bgpd|bird|gobgpd|exabgp'".to_owned(),
                "ss -tno '( sport = :179 or dport = :179 )' # Recv-Q: what the process has not read".to_owned(),
            ];
        }
        Some(Reason::Auth) => finding.advice.push(
            "nstat -az TcpExtTCPMD5NotFound TcpExtTCPMD5Unexpected TcpExtTCPMD5Failure # on both ends".to_owned(),
        ),
        _ => {}
    }
    if let Some((name, _)) = &verdict.link {
        finding.advice.push(format!("ip -s link show dev {name}"));
    }
}
