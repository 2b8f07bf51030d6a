//! The true proximate reason of a session's loss, rebuilt from evidence (what BMP says is the last resort: FRR and BIRD report most
//! causes with the same or a wrong code, `knowledge` on routing, table 5.3).

use std::time::Duration;

use super::super::Reason;
use super::perspective::{LinkLoss, Perspective};
use crate::event::Timestamp;
use crate::event::bgp::Notification;
use crate::state::NetState;
use crate::state::sessions::{DownCause, Session};

/// A link's loss is stamped in user space, up to 100 ms after packets (measured); both ends' BMP may be earlier.
const LINK_SLACK: Duration = Duration::from_millis(500);
/// BFD's loss precedes BGP's: FRR and BIRD act at once (C4: 0 … 1 s).
const BFD_BEFORE: Duration = Duration::from_secs(2);
/// The other end may tell of its BFD loss a moment after BGP's.
const BFD_AFTER: Duration = Duration::from_secs(1);
/// RFC 4271 §8.1: HoldTimer_Expires and TcpConnectionFails.
const FSM_HOLD_TIMER: u16 = 10;
const FSM_TCP_FAILS: u16 = 18;

/// The verdict on a loss.
#[derive(Clone, Debug)]
pub struct Judgement {
    pub reason: Reason,
    /// When the session was really lost.
    pub at: Timestamp,
    /// The NOTIFICATION, and the end that sent it.
    pub notification: Option<(Notification, usize)>,
    pub link: Option<(Box<str>, LinkLoss)>,
    /// The observation behind the reason, as a clause.
    pub because: String,
}

/// What a NOTIFICATION means.
pub fn of_notification(notification: &Notification) -> Reason {
    match notification.cause() {
        (1, _) => Reason::HeaderError,
        (2, _) => Reason::OpenError,
        (3, _) => Reason::UpdateError,
        (4, _) => Reason::HoldTimerExpired,
        (5, _) => Reason::FsmError,
        (6, 1) => Reason::MaxPrefix,
        (6, 2) => Reason::AdminShutdown,
        (6, 3) => Reason::PeerDeconfigured,
        (6, 4) => Reason::AdminReset,
        (6, 5) => Reason::Rejected,
        (6, 6) => Reason::ConfigChange,
        (6, 7) => Reason::Collision,
        (6, 8) => Reason::Resources,
        (6, 10) => Reason::BfdDown,
        (8, _) => Reason::SendHoldExpired,
        _ => Reason::Unknown,
    }
}

/// A NOTIFICATION among what was told about a loss; packets before BMP.
fn notification_of(causes: &[DownCause], far: usize) -> Option<(Notification, usize)> {
    let wire = causes.iter().find_map(|cause| match cause {
        DownCause::Notification { from, notification } => Some((notification.clone(), *from)),
        _ => None,
    });
    wire.or_else(|| {
        causes.iter().find_map(|cause| match cause {
            DownCause::Bmp {
                reason,
                notification: Some(notification),
                ..
            } => {
                // 1: sent by the reporting router, 3: received by it (RFC 7854 §4.9). Which end that is, is only known roughly.
                Some((
                    notification.clone(),
                    if *reason == 3 { far } else { 1 - far },
                ))
            }
            _ => None,
        })
    })
}

/// Judges a loss at `at` from everything that was told about it so far.
pub fn judge(
    net: &NetState,
    perspective: &Perspective,
    session: &Session,
    far: usize,
    at: Timestamp,
    causes: &[DownCause],
) -> Judgement {
    let notification = notification_of(causes, far);
    let spoken = notification.as_ref().map(|(n, _)| of_notification(n));
    let hold = session.hold_time().filter(|hold| !hold.is_zero());
    let silence = causes.iter().find_map(|cause| match cause {
        DownCause::Silence { last, .. } => Some(*last),
        _ => None,
    });
    let heard = silence.unwrap_or(at);
    let mut verdict = Judgement {
        reason: Reason::Unknown,
        at,
        notification,
        link: None,
        because: String::new(),
    };

    // A link that is down explains everything but an operator's word that came over it. The wire may show a hold timer's expiry,
    // or nothing: fast external fail-over needs no packet.
    if matches!(
        spoken,
        None | Some(Reason::HoldTimerExpired | Reason::BfdDown | Reason::Unknown)
    ) {
        for name in perspective.interfaces(net, session) {
            if let Some(loss) = perspective.link_loss(&name, heard - LINK_SLACK, at + LINK_SLACK) {
                verdict.reason = Reason::LinkDown;
                verdict.at = if silence.is_some() {
                    loss.at
                } else {
                    at.max(loss.at)
                };
                let how = if loss.admin {
                    "was set down"
                } else {
                    "lost its carrier"
                };
                verdict.because = format!("{name} {how} {}", relative(loss.at, at));
                verdict.link = Some((name, loss));
                return verdict;
            }
        }
        let own = &session.ends[1 - far];
        if let Some(lost) = perspective.address_loss(own.addr, heard - LINK_SLACK, at + LINK_SLACK)
        {
            verdict.reason = Reason::AddressLost;
            verdict.because = format!(
                "the local address {} was removed {}",
                own.addr,
                relative(lost, at)
            );
            return verdict;
        }
    }
    let bfd = net
        .sessions
        .bfd()
        .get(session.ends[0].addr, session.ends[1].addr);
    let bfd_lost = bfd
        .and_then(|b| b.down_at)
        .filter(|down| *down >= at - BFD_BEFORE && *down <= at + BFD_AFTER);
    if let Some(reason) = spoken {
        let names_bfd = reason == Reason::Unknown && bfd_lost.is_some();
        verdict.reason = if names_bfd { Reason::BfdDown } else { reason };
        if let Some((n, from)) = &verdict.notification {
            let (code, subcode) = n.cause();
            let meaning = match n.meaning() {
                "" => String::new(),
                name => format!(" ({name})"),
            };
            let wrapped = if n.inner.is_some() {
                " inside a Hard Reset"
            } else {
                ""
            };
            let text = n
                .text
                .as_ref()
                .filter(|t| !t.is_empty())
                .map(|t| format!(" \"{t}\""))
                .unwrap_or_default();
            verdict.because = format!(
                "{} sent NOTIFICATION {code}/{subcode}{meaning}{wrapped}{text}",
                session.ends[*from].addr
            );
        }
        return verdict;
    }
    if let Some(down) = bfd_lost {
        verdict.reason = Reason::BfdDown;
        verdict.because = format!(
            "BFD between the same addresses was lost {}",
            relative(down, at)
        );
        return verdict;
    }
    if let (Some(last), Some(hold)) = (silence, hold) {
        verdict.reason = Reason::HoldTimerExpired;
        let silent = causes.iter().find_map(|c| {
            if let DownCause::Silence { silent, .. } = c {
                Some(*silent)
            } else {
                None
            }
        });
        let who = silent.map_or(session.ends[far].addr, |end| session.ends[end].addr);
        verdict.because = format!(
            "nothing was heard from {who} for the hold time of {} s since {}{}",
            hold.as_secs(),
            last.clock(),
            unanswered(session)
        );
        return verdict;
    }
    if let Some((from, reset)) = causes.iter().find_map(|c| {
        if let DownCause::Tcp { from, reset } = c {
            Some((*from, *reset))
        } else {
            None
        }
    }) {
        verdict.reason = if reset {
            Reason::TcpReset
        } else {
            Reason::TcpClosed
        };
        let what = if reset { "reset" } else { "closed" };
        verdict.because = format!(
            "{} {what} the TCP connection without a NOTIFICATION",
            session.ends[from].addr
        );
        return verdict;
    }
    // BMP alone told, and packets show the end nearly silent for a hold time: the router's timer ran while its packets were lost.
    if let (Some(hold), Some((end, last))) = (hold, session.quietest()) {
        let quiet = at.since(last);
        let struggling = session.ends.iter().any(|e| e.retransmissions > 0);
        // One KEEPALIVE interval (a third) may separate the two ends' timers.
        if struggling && quiet * 3 >= hold * 2 || quiet >= hold {
            verdict.reason = Reason::HoldTimerExpired;
            verdict.because = format!(
                "nothing was heard from {} for {:.1} s of the hold time of {} s{}",
                session.ends[end].addr,
                quiet.as_secs_f64(),
                hold.as_secs(),
                unanswered(session)
            );
            return verdict;
        }
    }
    for cause in causes {
        if let DownCause::Bmp {
            reason, fsm_event, ..
        } = cause
        {
            let (found, because) = match (reason, fsm_event) {
                (2, Some(FSM_HOLD_TIMER)) => (
                    Reason::HoldTimerExpired,
                    "BMP says that the hold timer expired",
                ),
                (2, Some(FSM_TCP_FAILS)) => {
                    (Reason::TcpClosed, "BMP says that the TCP connection failed")
                }
                (4, _) => (
                    Reason::TcpClosed,
                    "BMP says that the remote end closed the connection",
                ),
                (5, _) => (
                    Reason::PeerDeconfigured,
                    "BMP says that the peer was removed from the configuration",
                ),
                _ => continue,
            };
            verdict.reason = found;
            verdict.because = because.to_owned();
            return verdict;
        }
    }
    verdict.because = "nothing that was captured tells why".to_owned();
    verdict
}

fn unanswered(session: &Session) -> String {
    session
        .ends
        .iter()
        .find(|end| end.retransmissions > 0)
        .map(|end| {
            format!(
                "; {} repeated segments {} times without an answer",
                end.addr, end.retransmissions
            )
        })
        .unwrap_or_default()
}

fn relative(cause: Timestamp, effect: Timestamp) -> String {
    let ns = effect.minus(cause);
    let lag = match ns.unsigned_abs() / 1_000_000 {
        0 => return "at the same moment".to_owned(),
        ms if ms >= 10_000 => format!("{} s", ms / 1000),
        ms if ms >= 1000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        ms => format!("{ms} ms"),
    };
    // Sources lag: the kernel's report of a lost carrier may come after the session noticed.
    if ns > 0 {
        format!("{lag} before")
    } else {
        format!("at that time (reported {lag} later)")
    }
}
