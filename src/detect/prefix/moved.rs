//! Host routes that move: an ElasticIP withdrawn by one speaker and announced by another. Once is a move, again and again is ping-pong.

use std::time::Duration;

use crate::detect::{Board, Fidelity, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::bounded::{Bounded, Worth};
use crate::event::{Event, Locator, Prefix, Timestamp};
use crate::state::rib::attributes::{AttrId, What};
use crate::state::rib::{RouteChange, RouteDelta};

use super::Scene;
use super::speaker::Speaker;
use super::weather::Weather;

/// C39: withdrawal and announcement of one move lie within this; beyond it an outage lies between them.
const WITHIN: Duration = Duration::from_secs(30);
/// The copies of one move (other sessions, BMP) follow within this.
const ONE_MOVE: Duration = Duration::from_secs(5);
/// C39: moves within the window that are ping-pong.
const PING_PONG: u32 = 3;
const PING_PONG_WINDOW: Duration = Duration::from_secs(600);
/// Host routes watched at once.
const MAX_WATCHED: usize = 8192;

#[derive(Copy, Clone)]
struct Sight {
    at: Timestamp,
    by: Speaker,
    /// The originating AS, and whether the speaker itself is it.
    origin: u32,
    direct: bool,
    locator: Locator,
}

impl Sight {
    /// One origin seen through two transit neighbors: they pass on its flap one after the other, nothing moved.
    fn same_distant_origin(&self, other: &Sight) -> bool {
        let same = self.origin == other.origin || self.origin == 0 || other.origin == 0;
        same && !self.direct && !other.direct
    }
}

#[derive(Clone, Default)]
struct Watch {
    withdrawn: Option<Sight>,
    announced: Option<Sight>,
    moved_at: Option<Timestamp>,
    first_move: Option<Timestamp>,
    moves: u32,
    key: Option<FindingKey>,
}

impl Watch {
    /// A move that could still be seen must not be forgotten, nor one that is being told about.
    fn worth(&self, now: Timestamp) -> Worth {
        let sights = [self.withdrawn, self.announced].into_iter().flatten();
        match sights.map(|sight| sight.at).max() {
            Some(at) if now.since(at) <= WITHIN => Worth::Fresh,
            _ if self.key.is_some() => Worth::Kept,
            _ => Worth::Spent,
        }
    }
}

/// `prefix.moved`, `prefix.move-flap`.
#[derive(Clone)]
pub(super) struct Moves {
    weather: Weather,
    watched: Bounded<Prefix, Watch>,
}

impl Moves {
    pub fn new(weather: Weather) -> Moves {
        Moves {
            weather,
            watched: Bounded::new(MAX_WATCHED),
        }
    }

    /// Whether an address was seen to change hosts: it belongs to one at a time.
    pub fn has_moved(&self, prefix: &Prefix) -> bool {
        self.watched
            .get(prefix)
            .is_some_and(|watch| watch.moves > 0)
    }

    pub fn route(&mut self, scene: &Scene<'_>, delta: &RouteDelta, board: &mut Board) {
        let session = scene.net.sessions.get(scene.rib.session);
        // What a daemon of ours passes on to our listener is a copy of what others said to it.
        if session.is_some_and(|session| session.feed.is_some()) {
            return;
        }
        let withdrawn = match delta.change {
            RouteChange::Withdrawn => true,
            RouteChange::New | RouteChange::Reannounced if !delta.transfer => false,
            RouteChange::Changed
                if !delta.transfer
                    && scene
                        .net
                        .rib
                        .differences(delta.old, delta.new)
                        .has(What::NEXT_HOP) =>
            {
                false
            }
            _ => return,
        };
        let Some(prefix) = scene.rib.prefix(delta.slot).filter(Prefix::is_host) else {
            return;
        };
        let now = scene.event.at;
        let Some(session) = session else { return };
        let by = Speaker::of(&session.ends[scene.rib.sender & 1]);
        let attributes = if withdrawn { delta.old } else { delta.new };
        if is_echo(
            scene,
            session.ends[1 - (scene.rib.sender & 1)].asn,
            attributes,
        ) {
            return;
        }
        // A capture that starts in mid-stream shows withdrawals of routes it never saw: their origin is unknown.
        let digest = scene.net.rib.digest(attributes).copied();
        let sight = Sight {
            origin: digest.map_or(0, |d| d.origin_as),
            direct: digest.is_some_and(|d| d.hops <= 1),
            at: now,
            by,
            locator: scene.event.locator,
        };
        let Some(watch) = self.watched.at(prefix, |_, watch| watch.worth(now)) else {
            return;
        };
        // The same speaker again is a flap, not a move; a first withdrawal and the first announcement count.
        let (old, new) = if withdrawn {
            watch.withdrawn = Some(sight);
            (Some(sight), watch.announced)
        } else {
            watch.announced = Some(sight);
            (watch.withdrawn, Some(sight))
        };
        let (Some(old), Some(new)) = (old, new) else {
            return;
        };
        let gap = old.at.since(new.at).max(new.at.since(old.at));
        // A re-announcement by the speaker that withdrew is its own affair; a receiver's echo is none.
        if old.by.is(&new.by)
            || old.same_distant_origin(&new)
            || gap > WITHIN
            || watch
                .moved_at
                .is_some_and(|last| now.since(last) <= ONE_MOVE)
        {
            return;
        }
        let back = watch
            .first_move
            .is_some_and(|first| now.since(first) <= PING_PONG_WINDOW);
        watch.moves = if back { watch.moves + 1 } else { 1 };
        watch.first_move = watch.first_move.filter(|_| back).or(Some(now));
        watch.moved_at = Some(now);
        match watch.key.filter(|_| back) {
            Some(key) => {
                let moves = watch.moves;
                let severity = self.weather.severity(scene.net, prefix, 0);
                board.update(key, |finding| {
                    finding.again(scene.event);
                    if moves >= PING_PONG {
                        finding.kind = Kind::PrefixMoveFlap;
                        finding.severity = severity;
                        finding.explain = format!(
                            "{prefix} moved {moves} times in {:.0} s between speakers",
                            finding.last.since(finding.first).as_secs_f64()
                        );
                    }
                });
            }
            None => {
                watch.key = Some(board.raise(moved(
                    prefix,
                    scene.event,
                    old,
                    new,
                    scene.rib.kind.is_exact(),
                )))
            }
        }
    }
}

/// Whether the receiver's own AS is in the path: a neighbor without an outbound filter says the receiver's own route back to it (FRR's default),
/// and the receiver drops it (RFC 4271 §9.1.2, AS loop). Nobody else has the address.
fn is_echo(scene: &Scene<'_>, receiver: u32, attrs: AttrId) -> bool {
    let attributes = scene.net.rib.attributes(attrs);
    receiver != 0
        && attributes.is_some_and(|attributes| {
            attributes
                .as_path
                .segments()
                .flat_map(|(_, numbers)| numbers.iter())
                .any(|asn| *asn == receiver)
        })
}

fn moved(prefix: Prefix, event: &Event, old: Sight, new: Sight, exact: bool) -> Finding {
    let mut finding = Finding::at(
        Kind::PrefixMoved,
        Severity::Info,
        Subject::Prefix(prefix),
        old.at.min(new.at),
    );
    finding.evidence.add(if old.at <= new.at {
        old.locator
    } else {
        new.locator
    });
    finding.support(event);
    for by in [old.by.addr, new.by.addr] {
        finding.also(Subject::Peer(by, None));
        finding.touch(Touch::Peer(by));
    }
    finding.touch(Touch::Prefix(prefix));
    finding.touch(Touch::Address(prefix.addr()));
    finding.affected.prefix(prefix);
    finding.fidelity = if exact {
        Fidelity::Exact
    } else {
        Fidelity::Compressed
    };
    finding.ended = Some(event.at);
    let gap = new.at.minus(old.at);
    let how = if gap >= 0 {
        format!("{} ms after", gap / 1_000_000)
    } else {
        format!("{} ms before", -gap / 1_000_000)
    };
    finding.explain = format!(
        "{prefix} moved: {} announced it {how} {} had withdrawn it",
        new.by.addr, old.by.addr
    );
    finding
}
