//! Which end of a session was late, hung, or cannot be reached: what the frames around its loss say about the two speakers and their
//! kernels. Nothing is concluded from a silence alone: a kernel that acknowledges proves the path, a message that arrived proves its sender.

use std::time::Duration;

use crate::detect::Reason;
use crate::event::Timestamp;
use crate::event::bgp::Open;
use crate::event::tcp::TcpAuth;
use crate::state::NetState;
use crate::state::sessions::{DownCause, End, LastUpdate, Session, State};

use super::reason::Judgement;

/// A message that came so much earlier than the hold timer's end was not read in time: timers of two ends differ by the flight of a
/// message and by FRR's resolution of a second.
const LATE: Duration = Duration::from_secs(1);
/// So many unanswered attempts make a state: a lost SYN is repeated after 1 s, 3 s and 7 s (Linux), so this is one attempt in vain.
const ATTEMPTS: u32 = 4;
/// An UPDATE that is answered with a NOTIFICATION is read at once; a process that was busy took a second in the lab.
const ANSWERED: Duration = Duration::from_secs(2);

/// What was known of one end when the session went down.
#[derive(Copy, Clone, Debug, Default)]
pub struct Clock {
    last_message: Option<Timestamp>,
    last_keepalive: Option<Timestamp>,
    last_ack: Option<Timestamp>,
    retransmissions: u32,
}

impl Clock {
    pub fn of(end: &End) -> Clock {
        Clock {
            last_message: end.last_message,
            last_keepalive: end.last_keepalive,
            last_ack: end.last_ack,
            retransmissions: end.retransmissions,
        }
    }
}

/// Looks at an expired hold timer again: the process of one end hung or was late where kernels and wire were not.
pub fn refine(
    verdict: &mut Judgement,
    session: &Session,
    near: usize,
    at: Timestamp,
    clocks: &[Clock; 2],
    causes: &[DownCause],
) {
    if verdict.reason != Reason::HoldTimerExpired || verdict.link.is_some() {
        return;
    }
    let Some(hold) = session.hold_time().filter(|hold| !hold.is_zero()) else {
        return;
    };
    let told_by = verdict.notification.as_ref().map(|(_, from)| *from);
    let silent = causes.iter().find_map(|cause| match cause {
        DownCause::Silence { silent, .. } => Some(*silent),
        _ => None,
    });
    let Some(quiet) = told_by.map(|from| 1 - (from & 1)).or(silent) else {
        return;
    };
    let other = 1 - (quiet & 1);
    let (mute, waiting) = (&clocks[quiet & 1], &clocks[other]);
    let Some(last) = mute.last_message.filter(|last| *last <= at) else {
        return;
    };
    let place = |end: usize| {
        if end == near {
            "on this host".to_owned()
        } else {
            format!("at {}", session.ends[end & 1].addr)
        }
    };
    let (its, others) = (session.ends[quiet & 1].addr, session.ends[other].addr);
    let silence = at.since(last);
    // Hung: the kernel acknowledged what the other end sent long after the process had last said anything.
    let acknowledged = mute.last_ack.filter(|ack| {
        ack.since(last) * 3 >= hold
            && waiting
                .last_keepalive
                .is_some_and(|sent| sent > last && sent <= *ack)
    });
    if let Some(ack) = acknowledged
        && silence * 3 >= hold * 2
        && waiting.retransmissions == 0
    {
        verdict.reason = Reason::ProcessHung;
        verdict.because = format!(
            "the BGP process {} hung: {its} sent nothing for {:.1} s while its kernel acknowledged the KEEPALIVEs of {others}, up to {}: the \
             path is sound. {}",
            place(quiet),
            silence.as_secs_f64(),
            ack.clock(),
            capital(&verdict.because),
        );
        return;
    }
    // Late: the other end's timer ran out although a message had arrived there.
    let arrived = other == near || waiting.last_ack.is_some_and(|ack| ack >= last);
    if told_by == Some(other) && arrived && silence + LATE < hold && silence * 3 <= hold * 2 {
        verdict.reason = Reason::ProcessLate;
        verdict.because = format!(
            "the BGP process {} came too late: a message of {its} had arrived {:.1} s before, and yet {}",
            place(other),
            silence.as_secs_f64(),
            verdict.because,
        );
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// Why a session that is down does not come up: a clause with its numbers, and the reason where the frames prove one.
pub fn stays_down(net: &NetState, session: &Session) -> Option<(String, Option<Reason>)> {
    let [a, b] = [&session.ends[0].opening, &session.ends[1].opening];
    let total = a.syns + b.syns;
    if session.state == State::Established || total < ATTEMPTS {
        return None;
    }
    let times: Vec<Timestamp> = [a.first, a.last, b.first, b.last]
        .into_iter()
        .flatten()
        .map(|(at, _)| at)
        .collect();
    let span = match (times.iter().min(), times.iter().max()) {
        (Some(first), Some(last)) => last.since(*first),
        _ => Duration::ZERO,
    };
    let counted = format!("{total} SYNs in {:.1} s", span.as_secs_f64());
    let asking: Vec<usize> = (0..2)
        .filter(|end| session.ends[*end].opening.syns > 0)
        .collect();
    if let Some(end) = asking
        .iter()
        .find(|end| session.ends[**end].opening.reset * 2 >= session.ends[**end].opening.syns)
    {
        let of = &session.ends[*end];
        return Some((
            format!(
                "since then {} of {} SYNs of {} were answered by RST: nobody listens at {}",
                of.opening.reset,
                of.opening.syns,
                of.addr,
                session.ends[1 - end].addr
            ),
            Some(Reason::Refused),
        ));
    }
    if let Some(lost) = asking.iter().find_map(|end| {
        let of = &session.ends[*end];
        of.undelivered.filter(|_| of.opening.undelivered > 0)
    }) {
        let by = lost.by.map_or("somebody".to_owned(), |by| by.to_string());
        return Some((
            format!(
                "since then SYNs of {} did not arrive: {by} answered them with ICMP {}",
                session
                    .ends
                    .iter()
                    .find(|end| end.undelivered == Some(lost))
                    .map_or(session.ends[0].addr, |end| end.addr),
                lost.says()
            ),
            Some(Reason::Unanswered),
        ));
    }
    if !asking
        .iter()
        .all(|end| session.ends[*end].opening.unanswered())
    {
        return None;
    }
    let auth = asking
        .iter()
        .find_map(|end| session.ends[*end].opening.auth);
    let both = asking.len() == 2;
    let name = auth.map_or("", TcpAuth::name);
    let signed: Vec<bool> = asking
        .iter()
        .map(|end| session.ends[*end].opening.authenticated == session.ends[*end].opening.syns)
        .collect();
    let (text, reason) = match (auth, both) {
        // What arrives and is not answered, not even refused, was dropped by the kernel that it reached.
        (Some(_), true) if signed.iter().all(|signed| *signed) => (
            format!(
                "since then {counted}, from both ends, got no answer at all, and each carries the {name} option: the keys of the two ends differ, \
                 so that each kernel drops the other's segments"
            ),
            Some(Reason::Auth),
        ),
        (Some(_), true) => {
            let with = asking.iter().zip(&signed).find(|(_, signed)| **signed);
            let who = with.map_or(session.ends[0].addr, |(end, _)| session.ends[*end].addr);
            (
                format!(
                    "since then {counted}, from both ends, got no answer at all, and only those of {who} carry the {name} option: one end has a key \
                     that the other has not"
                ),
                Some(Reason::Auth),
            )
        }
        (Some(_), false) if other_session_lives(net, session) => (
            format!(
                "since then {counted} got no answer at all, each with the {name} option, while another session with the same neighbor lives: the other \
                 end has another key, or none"
            ),
            Some(Reason::Auth),
        ),
        (Some(_), false) => (
            format!("since then {counted}, each with the {name} option, got no answer at all"),
            Some(Reason::Unanswered),
        ),
        (None, true) => (
            format!("since then {counted}, from both ends, got no answer at all"),
            Some(Reason::Unanswered),
        ),
        (None, false) => (
            format!(
                "since then {counted} of {} got no answer at all",
                session.ends[asking.first().copied().unwrap_or(0)].addr
            ),
            Some(Reason::Unanswered),
        ),
    };
    Some((text, reason))
}

/// Another session between the same two machines is established: the way between them is sound.
fn other_session_lives(net: &NetState, session: &Session) -> bool {
    let macs = |s: &Session| {
        let mut macs = [s.ends[0].mac, s.ends[1].mac];
        macs.sort_unstable();
        macs
    };
    let ours = macs(session);
    ours.iter().all(Option::is_some)
        && net
            .sessions
            .iter()
            .take(MOST_COMPARED)
            .any(|(_, other)| other.state == State::Established && macs(other) == ours)
}

/// Sessions looked at for a sound neighbor: a host has a handful; on a route server nobody asks.
const MOST_COMPARED: usize = 256;

/// The UPDATE that provoked a NOTIFICATION of class 3, and the words for it.
pub fn trigger(
    session: &Session,
    verdict: &Judgement,
    at: Timestamp,
) -> Option<(LastUpdate, String)> {
    const UPDATE_ERROR: u8 = 3;
    let (notification, from) = verdict.notification.as_ref()?;
    if notification.cause().0 != UPDATE_ERROR {
        return None;
    }
    let sender = &session.ends[1 - (from & 1)];
    let update = sender.last_update?;
    if update.at > at || at.since(update.at) > ANSWERED {
        return None;
    }
    let about = update
        .route
        .map_or(String::new(), |route| format!(" about {}", route.prefix));
    let more = match update.routes {
        0 | 1 => String::new(),
        n => format!(" and {} more", n - 1),
    };
    let flaw = match update.flaw {
        Some((0, why)) => format!(": {why}"),
        Some((attribute, why)) => format!(
            ": attribute {attribute} ({}), {why}",
            attribute_name(attribute)
        ),
        None => String::new(),
    };
    let text = format!(
        "it answers an UPDATE of {}{about}{more} {:.1} ms before{flaw}",
        sender.addr,
        at.since(update.at).as_secs_f64() * 1000.0
    );
    Some((update, text))
}

/// IANA: BGP path attributes.
fn attribute_name(code: u8) -> &'static str {
    match code {
        1 => "ORIGIN",
        2 => "AS_PATH",
        3 => "NEXT_HOP",
        4 => "MULTI_EXIT_DISC",
        5 => "LOCAL_PREF",
        6 => "ATOMIC_AGGREGATE",
        7 => "AGGREGATOR",
        8 => "COMMUNITIES",
        9 => "ORIGINATOR_ID",
        10 => "CLUSTER_LIST",
        14 => "MP_REACH_NLRI",
        15 => "MP_UNREACH_NLRI",
        16 => "EXTENDED COMMUNITIES",
        17 => "AS4_PATH",
        18 => "AS4_AGGREGATOR",
        32 => "LARGE_COMMUNITY",
        35 => "ONLY_TO_CUSTOMER",
        40 => "BGP Prefix-SID",
        _ => "unnamed",
    }
}

/// Whether one end says, with the OPEN by which the session came back, that it restarted and kept forwarding (RFC 4724 §3: Restart State,
/// Forwarding State), to one that helps. Only asked where what they had agreed on before was not seen: FRR also says so after a lost link.
pub fn returned_gracefully(session: &Session) -> bool {
    let graceful = |end: usize| session.ends[end].open.as_ref()?.graceful_restart.as_ref();
    (0..2).any(|end| {
        graceful(end).is_some_and(|gr| gr.restarting && gr.families.iter().any(|(_, kept)| *kept))
            && (session.ends[1 - end].open.is_none() || graceful(1 - end).is_some())
    })
}

/// Graceful restart that both ends had agreed on and that did not keep the routes, as a clause (RFC 4724 §4, RFC 8538 §3).
pub fn restart_defeated(session: &Session, causes: &[DownCause]) -> Option<String> {
    let graceful = |open: &Option<Box<Open>>| {
        open.as_ref()
            .and_then(|open| open.graceful_restart.as_ref())
            .map(|gr| (gr.restart_time, !gr.families.is_empty(), gr.notification))
    };
    let (a, b) = (
        graceful(&session.ends[0].open)?,
        graceful(&session.ends[1].open)?,
    );
    if !(a.1 || b.1) {
        return None;
    }
    let notification = causes.iter().find_map(|cause| match cause {
        DownCause::Notification { notification, .. } => Some(notification),
        DownCause::Bmp {
            notification: Some(notification),
            ..
        } => Some(notification),
        _ => None,
    })?;
    let why = if a.2 && b.2 {
        notification.inner?;
        "a Hard Reset ends it (RFC 8538 §3)"
    } else {
        "a NOTIFICATION ends the session for good (RFC 4724 §4)"
    };
    Some(format!(
        "graceful restart was negotiated (restart time {} s) and did not help, because {why}",
        if a.1 {
            a.0.max(if b.1 { b.0 } else { 0 })
        } else {
            b.0
        }
    ))
}

#[cfg(test)]
mod tests;
