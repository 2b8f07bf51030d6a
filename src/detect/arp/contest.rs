//! The evidence about one address that more than one MAC claims.

use std::collections::VecDeque;
use std::time::Duration;

use smallvec::SmallVec;

use super::probes::PROXY;
use super::{Party, WINDOW};
use crate::detect::FindingKey;
use crate::event::frame::Mac;
use crate::event::{Event, Locator, Timestamp};
use crate::state::NetState;
use crate::state::hosts::{Audience, HostDelta, Proof};

/// Changes before one audience that make a conflict: there (1), back (2), there again (3). One is a move and two a move and its return,
/// as a fail-over and fail-back make them.
const FLIPS: usize = 3;
/// Questions that both answered. One can be the instant of a fail-over; two are two hosts with one address.
const DOUBLE_ANSWERS: u32 = 2;
/// Two answers to one question come within this time of each other (measured: microseconds; a sleeping host: hundreds of ms).
const TOGETHER: Duration = Duration::from_secs(1);
/// Announcements that nobody asked for, sent to one host, against what everybody hears: a bond in balance-alb sends a few when a slave
/// fails, arpspoof sends one each second or two.
const PUSHES: u32 = 5;
/// Changes whose times are kept, frames kept for evidence, audiences kept.
const MAX_FLIPS: usize = 64;
const MAX_FRAMES: usize = 8;
const MAX_AUDIENCES: usize = 8;

/// What was made of it so far.
#[derive(Copy, Clone, Debug)]
pub(super) enum Verdict {
    Open,
    Moved(FindingKey),
    Conflict(Party),
}

/// One change of the MAC.
#[derive(Copy, Clone, Debug)]
pub(super) struct Flip {
    pub at: Timestamp,
    pub locator: Locator,
    pub to: Mac,
}

/// The contest for one address on one link.
#[derive(Clone, Debug)]
pub(super) struct Contest {
    pub verdict: Verdict,
    pub due: Option<Timestamp>,
    /// Who had it when the contest began.
    pub owner: Mac,
    pub last_flip: Timestamp,
    flips: VecDeque<Flip>,
    /// The first frames of it.
    pub frames: SmallVec<[(Timestamp, Locator); MAX_FRAMES]>,
    /// What each audience heard last.
    heard: SmallVec<[(Audience, Mac); 4]>,
    answered: Option<(Audience, Mac, Timestamp)>,
    double_answers: u32,
    pushes: u32,
    /// An announcement was among the claims of the newcomer.
    pub announced: bool,
    /// A frame whose own source was another MAC than the one it claims.
    pub disguised: Option<Mac>,
}

impl Contest {
    pub(super) fn new(owner: Mac, audience: Audience) -> Contest {
        Contest {
            verdict: Verdict::Open,
            due: None,
            owner,
            last_flip: Timestamp::MIN,
            flips: VecDeque::new(),
            frames: SmallVec::new(),
            heard: SmallVec::from_slice(&[(audience, owner)]),
            answered: None,
            double_answers: 0,
            pushes: 0,
            announced: false,
            disguised: None,
        }
    }

    /// Changes inside the window.
    pub(super) fn flips(&self) -> usize {
        self.flips.len()
    }

    /// The changes inside the window, oldest first.
    pub(super) fn flipped(&self) -> impl Iterator<Item = &Flip> {
        self.flips.iter()
    }

    /// The latest change.
    pub(super) fn latest(&self) -> Option<&Flip> {
        self.flips.back()
    }

    /// Takes a claim; whether the audience now hears another MAC than before.
    pub(super) fn claim(&mut self, event: &Event, delta: &HostDelta) -> bool {
        if self.frames.len() < MAX_FRAMES {
            self.frames.push((event.at, event.locator));
        }
        self.announced |= delta.proof == Proof::Announcement && delta.mac != self.owner;
        if delta.mac != self.owner {
            self.disguised = self.disguised.or(delta.other_sender);
        }
        self.answers(event.at, delta);
        let flipped = self.hears(delta);
        self.pushed(delta);
        while self
            .flips
            .front()
            .is_some_and(|flip| event.at.since(flip.at) > WINDOW)
        {
            self.flips.pop_front();
        }
        if flipped {
            if self.flips.len() == MAX_FLIPS {
                self.flips.pop_front();
            }
            self.last_flip = event.at;
            self.flips.push_back(Flip {
                at: event.at,
                locator: event.locator,
                to: delta.mac,
            });
        }
        flipped
    }

    /// Whether caches that knew the owner were told of its successor: by an announcement, or, for IPv4, by anything that all hear. ARP
    /// updates what a cache has from every packet's sender (RFC 826); a neighbor solicitation reaches one solicited-node group only.
    pub(super) fn told_everybody(&self, ipv6: bool) -> bool {
        let heard = || {
            self.heard
                .iter()
                .any(|(audience, mac)| *audience == Audience::Everybody && *mac != self.owner)
        };
        self.announced || (!ipv6 && heard())
    }

    fn answers(&mut self, at: Timestamp, delta: &HostDelta) {
        if delta.proof != Proof::Answer {
            return;
        }
        if let Some((audience, mac, before)) = self.answered
            && audience == delta.audience
            && mac != delta.mac
            && at.since(before) <= TOGETHER
        {
            self.double_answers = self.double_answers.saturating_add(1);
        }
        self.answered = Some((delta.audience, delta.mac, at));
    }

    /// Remembers what the audience hears; whether that contradicts what it heard before.
    fn hears(&mut self, delta: &HostDelta) -> bool {
        let others_differ = self.heard.iter().any(|(_, mac)| *mac != delta.mac);
        if delta.audience == Audience::Everybody {
            // What everybody hears is the last word for each of them too.
            self.heard
                .retain(|(audience, _)| *audience == Audience::Everybody);
        }
        let known = self
            .heard
            .iter_mut()
            .find(|(audience, _)| *audience == delta.audience);
        if let Some((_, mac)) = known {
            return std::mem::replace(mac, delta.mac) != delta.mac;
        }
        if self.heard.len() < MAX_AUDIENCES {
            self.heard.push((delta.audience, delta.mac));
        }
        // One host that is told something else than the others: no contradiction before anybody yet, but the first of it may be a move.
        let first_ever = self.last_flip == Timestamp::MIN && delta.mac != self.owner;
        others_differ && (first_ever || delta.audience == Audience::Everybody)
    }

    /// Counts what is told to one host unasked, against what others hear.
    fn pushed(&mut self, delta: &HostDelta) {
        let unasked = delta.proof == Proof::Announcement
            && matches!(delta.audience, Audience::One(to) if !to.is_unspecified());
        let others_differ = self
            .heard
            .iter()
            .any(|(audience, mac)| *audience != delta.audience && *mac != delta.mac);
        if unasked && others_differ && !same_machine(self.owner, delta.mac) {
            self.pushes = self.pushes.saturating_add(1);
        }
    }

    /// Whether this is a conflict by now.
    pub(super) fn is_conflict(&self, delta: &HostDelta, net: &NetState) -> bool {
        if self.flips.len() >= FLIPS || self.pushes >= PUSHES {
            return true;
        }
        // A proxy answers beside the owner without harm; it never announces.
        let by_proxy = || {
            !self.announced
                && self
                    .heard
                    .iter()
                    .any(|(_, mac)| net.hosts.addresses_of(delta.scope, *mac) >= PROXY)
        };
        self.double_answers >= DOUBLE_ANSWERS && !by_proxy()
    }
}

/// MACs that differ in the last octet only: ports of one adapter, as bonds use them.
fn same_machine(a: Mac, b: Mac) -> bool {
    a.0.first_chunk::<5>() == b.0.first_chunk::<5>()
}
