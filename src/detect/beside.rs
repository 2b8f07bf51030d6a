//! What went on beside a loss: the other address family to the same neighbor, BGP beside BFD, BFD beside BGP, the other default route.
//!
//! These are observations, no findings: they are told as explanations of the loss, since they say where to look. Only what was seen to go on
//! counts (messages from both ends after the loss); what merely was not told to be down is no evidence.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::{Board, Detector, Finding, FindingKey, Kind, Reason, Settings};
use crate::event::{Classes, Prefix, Timestamp};
use crate::state::routes::{RouteChange, TABLE_MAIN};
use crate::state::sessions::bfd::{BfdChange, BfdPair};
use crate::state::sessions::{Session, SessionDelta, SessionId, State};
use crate::state::{NetState, Observation};

/// Losses without a NOTIFICATION are judged 800 ms after they were seen; then there is a finding to explain.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// D36: BGP that is alive 2 s after BFD went down does not follow it.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Keepalives come each third of the hold time; a session whose hold time is unknown has the default of RFC 4271 §10.
const DEFAULT_HOLD: Duration = Duration::from_secs(90);
/// Two sessions that fell within this were lost together: half of the longest usual hold time, and longer than a connect timer.
const RECENTLY: Duration = Duration::from_secs(90);
/// Stamps of two sources differ by up to this (measured; design law 7).
const SKEW: Duration = Duration::from_millis(100);
/// Losses waited for at once.
const MAX_WAITING: usize = 4096;

/// How the explanations begin: each is there once.
const OTHER_FAMILY: &str = "dual-stack: ";
const BFD_HELD: &str = "BFD to it stayed up: ";
const BGP_HELD: &str = "BGP over the same path stayed up and talked on: ";

/// Adds this family's detectors.
pub fn register(_settings: &Settings, detectors: &mut Vec<Box<dyn Detector>>) {
    detectors.push(Box::new(Beside::default()));
}

#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd)]
enum Lost {
    Session(SessionId),
    Bfd(BfdPair),
    /// A default route; whether the IPv6 one.
    Default(bool),
}

#[derive(Clone, Default)]
struct Beside {
    /// When to look, at what; and when it was lost.
    looks: BTreeMap<(Timestamp, Lost), Timestamp>,
}

impl Detector for Beside {
    fn name(&self) -> &'static str {
        "beside a loss"
    }

    fn wants(&self) -> Classes {
        Classes::BGP
            .and(Classes::BMP)
            .and(Classes::TCP)
            .and(Classes::BFD)
            .and(Classes::ROUTE)
            .and(Classes::LINK)
    }

    fn observe(&mut self, seen: &Observation<'_>, _net: &NetState, _board: &mut Board) {
        for delta in &seen.changes.sessions {
            match delta {
                SessionDelta::Down { id, at, .. } => self.lost(Lost::Session(*id), *at, seen),
                SessionDelta::Bfd {
                    pair,
                    change: BfdChange::Down { at, .. },
                } => self.lost(Lost::Bfd(*pair), *at, seen),
                _ => {}
            }
        }
        for delta in &seen.changes.routes {
            let prefix = delta.key.prefix;
            if delta.change == RouteChange::Removed
                && prefix.is_default()
                && delta.key.table == TABLE_MAIN
            {
                self.lost(Lost::Default(prefix.is_ipv6()), delta.at, seen);
            }
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.looks.first_key_value().map(|((at, _), _)| *at)
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        while let Some(entry) = self.looks.first_entry().filter(|e| e.key().0 <= now) {
            let (_, lost) = *entry.key();
            let at = entry.remove();
            let again = match lost {
                Lost::Session(id) => session(id, at, now, net, board),
                Lost::Bfd(pair) => bfd(pair, at, now, net, board),
                Lost::Default(v6) => {
                    default(v6, at, net, board);
                    false
                }
            };
            if again {
                self.looks.insert((now + LOOK_AGAIN, lost), at);
            }
        }
    }
}

impl Beside {
    fn lost(&mut self, lost: Lost, at: Timestamp, seen: &Observation<'_>) {
        if self.looks.len() >= MAX_WAITING {
            return;
        }
        // One look for one loss: what waits for the same thing is superseded.
        let waiting: Vec<Timestamp> = self
            .looks
            .keys()
            .filter(|(_, other)| *other == lost)
            .map(|(when, _)| *when)
            .collect();
        for when in waiting {
            self.looks.remove(&(when, lost));
        }
        let when = at.max(seen.event.at) + FIRST_LOOK;
        self.looks.insert((when, lost), at);
    }
}

/// Whether to look again.
fn session(
    id: SessionId,
    at: Timestamp,
    now: Timestamp,
    net: &NetState,
    board: &mut Board,
) -> bool {
    let Some(lost) = net.sessions.get(id).filter(|s| s.feed.is_none()) else {
        return false;
    };
    let Some((key, far)) = finding_of(lost, board) else {
        return false;
    };
    let ends = &lost.ends;
    let bfd = net
        .sessions
        .bfd()
        .get(ends[0].addr, ends[1].addr)
        .filter(|bfd| bfd.up);
    let beside = bfd.is_some_and(|bfd| {
        bfd.ends
            .iter()
            .all(|end| end.last.is_some_and(|last| last > at + SKEW))
    });
    // Its next packets may be on their way still.
    let waits = bfd.is_some() && !beside && now.since(at) <= LOOK_AGAIN * 2;
    if beside {
        board.update(key, |finding| {
            if matches!(
                finding.reason,
                Some(Reason::HoldTimerExpired | Reason::SendHoldExpired | Reason::Unknown)
            ) {
                explain(finding, BFD_HELD, format!(
                    "{BFD_HELD}the path forwards packets, so look at TCP port 179 and at the daemons (a stuck process, a filter, large segments)"
                ));
            }
        });
    }
    let twin = net
        .sessions
        .iter()
        .map(|(_, other)| other)
        .find(|other| is_twin(lost, other));
    let Some(twin) = twin else { return waits };
    let hold = twin.hold_time().unwrap_or(DEFAULT_HOLD);
    let waited = now.since(at) > hold + LOOK_AGAIN;
    let up = stayed_up(twin, at);
    // Of a session that only BMP shows, its hold time must have passed.
    let talks = twin
        .ends
        .iter()
        .all(|end| end.last_message.is_some_and(|last| last > at + SKEW));
    let held = up && (talks || !twin.in_packets() && now.since(at) > hold);
    let family = |v6: bool| if v6 { "IPv6" } else { "IPv4" };
    let v6 = ends[far].addr.is_ipv6();
    board.update(key, |finding| {
        if held {
            explain(finding, OTHER_FAMILY, format!(
                "{OTHER_FAMILY}the {} session to the same neighbor stayed up and talked on: only {} is affected",
                family(!v6),
                family(v6)
            ));
        } else if !up {
            finding
                .explanations
                .retain(|known| !known.starts_with(OTHER_FAMILY));
        }
    });
    waits || up && !held && !waited
}

fn bfd(pair: BfdPair, at: Timestamp, now: Timestamp, net: &NetState, board: &mut Board) -> bool {
    let Some(beside) = net
        .sessions
        .between(pair.0, pair.1)
        .and_then(|(id, _)| net.sessions.get(id))
        .filter(|session| session.feed.is_none() && stayed_up(session, at))
    else {
        return false;
    };
    if net.sessions.bfd().get(pair.0, pair.1).is_none_or(|b| b.up) && now.since(at) > LOOK_AGAIN {
        return false;
    }
    let talks = beside
        .ends
        .iter()
        .all(|end| end.last_message.is_some_and(|last| last > at + SKEW));
    let follows = now.since(at) < LOOK_AGAIN;
    if !talks || follows {
        return now.since(at) <= beside.hold_time().unwrap_or(DEFAULT_HOLD);
    }
    let found = [Kind::BfdDown, Kind::BfdFlap]
        .into_iter()
        .flat_map(|kind| board.of_kind(kind))
        .filter(|(_, finding)| {
            let peers: Vec<IpAddr> = finding
                .subjects
                .iter()
                .filter_map(super::Subject::peer)
                .collect();
            peers.contains(&pair.0) && peers.contains(&pair.1)
        })
        .map(|(key, _)| key)
        .last();
    if let Some(key) = found {
        board.update(key, |finding| {
            explain(finding, BGP_HELD, format!(
                "{BGP_HELD}the speaker does not follow BFD (`neighbor … bfd` is missing there), or only BFD's packets are lost (a filter or a limit on UDP 3784)"
            ));
        });
    }
    false
}

fn default(v6: bool, at: Timestamp, net: &NetState, board: &mut Board) {
    let of = |v6: bool| {
        let unspecified: IpAddr = if v6 {
            std::net::Ipv6Addr::UNSPECIFIED.into()
        } else {
            std::net::Ipv4Addr::UNSPECIFIED.into()
        };
        net.routes.best(Prefix::new(unspecified, 0))
    };
    // A default route that came up only now held nothing.
    let held = of(!v6).is_some_and(|(_, route)| route.since < at);
    if of(v6).is_some() || !held {
        return;
    }
    let found = [Kind::RouteDefaultLost, Kind::RouteDefaultFlap]
        .into_iter()
        .flat_map(|kind| board.of_kind(kind))
        .filter(|(_, finding)| finding.ended.is_none())
        .filter(|(_, finding)| {
            matches!(finding.subjects.first(), Some(super::Subject::Prefix(p)) if p.is_ipv6() == v6)
        })
        .map(|(key, _)| key)
        .last();
    let (lost, stays) = if v6 {
        ("IPv6", "IPv4")
    } else {
        ("IPv4", "IPv6")
    };
    if let Some(key) = found {
        board.update(key, |finding| {
            explain(finding, OTHER_FAMILY, format!(
                "{OTHER_FAMILY}the {stays} default route stays: only {lost} is cut off, and what has both falls back (RFC 8305)"
            ));
        });
    }
}

/// The finding of this session's losses, and which end is the far one.
fn finding_of(session: &Session, board: &Board) -> Option<(FindingKey, usize)> {
    [Kind::SessionDown, Kind::SessionFlap]
        .into_iter()
        .flat_map(|kind| board.of_kind(kind))
        .filter_map(|(key, finding)| {
            let ends = finding.session.as_ref()?;
            let far = session.end_of(ends.remote)?;
            (session.end_of(ends.local) == Some(1 - far)).then_some((key, far))
        })
        .max_by_key(|(key, _)| *key)
}

/// Whether a session is up and did not fall with what was lost, nor shortly before it: one that fell and is back held nothing.
fn stayed_up(session: &Session, lost: Timestamp) -> bool {
    let fell = session.down_at.is_some_and(|down| down + RECENTLY >= lost);
    session.state == State::Established && !fell && session.up_since.is_none_or(|up| up < lost)
}

/// Another family's session between the same two speakers: the same identifiers, or the same link-layer addresses where no OPEN was seen.
fn is_twin(lost: &Session, other: &Session) -> bool {
    let [a, b] = &lost.ends;
    if other.feed.is_some() || a.addr.is_ipv4() == other.ends[0].addr.is_ipv4() {
        return false;
    }
    let same = |x: &crate::state::sessions::End, y: &crate::state::sessions::End| {
        if x.router_id != 0 && y.router_id != 0 {
            x.router_id == y.router_id
        } else {
            x.mac.is_some() && x.mac == y.mac
        }
    };
    let [c, d] = &other.ends;
    same(a, c) && same(b, d) || same(a, d) && same(b, c)
}

fn explain(finding: &mut Finding, begin: &str, text: String) {
    if !finding
        .explanations
        .iter()
        .any(|known| known.starts_with(begin))
    {
        finding.explanations.push(text);
    }
}

#[cfg(test)]
mod tests;
