//! Who really speaks in a router's name.
//!
//! A frame whose own source contradicts the link-layer address it carries, beside a sender for whom both agree, is forged at once.
//! Where both look alike, senders must keep taking turns: one change is a fail-over, a change and its return may be a fail-back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use smallvec::SmallVec;

use super::{Key, Open, QUIET, another_default, keys};
use crate::detect::{Board, Finding, Kind, Severity, Subject, Touch};
use crate::event::frame::Mac;
use crate::event::lan::{Nd, NdFlaw};
use crate::event::{Event, Locator, Timestamp};
use crate::state::NetState;
use crate::state::hosts::Scope;
use crate::state::routers::{Router, RouterDelta, Sender};

/// Changes of sender that no fail-over makes: there, back, and there again.
const TURNS: u32 = 3;
/// Frames remembered of each sender, so that what was forged before it was known as such is evidence too.
const MAX_FRAMES: usize = 8;
/// Senders remembered.
const MAX_VOICES: usize = 4;
/// Sources of invalid advertisements with a finding of their own.
const MAX_INVALID: usize = 64;

/// One advertisement, as far as it is evidence.
#[derive(Copy, Clone, Debug)]
struct Heard {
    at: Timestamp,
    locator: Locator,
    lifetime: u16,
}

/// What one sender said in the router's name.
#[derive(Clone, Debug)]
struct Voice {
    mac: Mac,
    count: u64,
    frames: SmallVec<[Heard; MAX_FRAMES]>,
}

/// The senders in one router's name.
#[derive(Clone, Default, Debug)]
pub(super) struct Identity {
    voices: SmallVec<[Voice; 2]>,
    turns: u32,
    spoof: Option<(Open, Mac)>,
}

impl Identity {
    /// Takes an advertisement; whether somebody forges advertisements of this router.
    pub(super) fn advertised(
        &mut self,
        event: &Event,
        delta: &RouterDelta,
        router: &Router,
        net: &NetState,
        board: &mut Board,
    ) -> bool {
        let Some(mac) = delta.sender else {
            return false; // cooked captures do not say who sent it
        };
        if delta.other_sender.is_some() {
            self.turns = self.turns.saturating_add(1);
        }
        self.hear(mac, event, delta.lifetime.1);
        if let Some((mut open, forger)) = self.spoof {
            let alone = !another_default(net, delta.scope, delta.router, event.at);
            let takes_away = delta.lifetime.1 == 0 && alone;
            let forged = mac == forger;
            if forged {
                open.last = event.at;
                self.spoof = Some((open, forger));
            }
            board.update(open.key, |f| {
                if forged {
                    f.again(event);
                    f.broken.default_route = takes_away;
                    f.explain = sentence(delta.router, forger, self.real(forger), f.count);
                } else if delta.lifetime.1 > 0 {
                    f.recovered(event.at);
                    f.broken.default_route = false;
                }
            });
            return true;
        }
        let Some(forger) = forger(delta.router, router, &self.voices, self.turns, None) else {
            return false;
        };
        let at = (delta.scope, delta.router);
        let Some(finding) = self.finding(at, forger, mac, event, net) else {
            return false;
        };
        let last = finding.last;
        let key = board.raise(finding);
        self.spoof = Some((Open { key, last }, forger));
        true
    }

    /// The router itself, from `mac`, says that it is one (the router flag of its neighbor advertisement): whether that refutes an
    /// advertisement by which another sender ended its role.
    pub(super) fn lives(
        &mut self,
        mac: Mac,
        event: &Event,
        at: Key,
        router: &Router,
        net: &NetState,
        board: &mut Board,
    ) -> bool {
        if let Some((open, forger)) = self.spoof {
            if mac != forger {
                board.update(open.key, |f| {
                    f.support(event);
                    f.recovered(event.at);
                    f.broken.default_route = false;
                });
            }
            return mac != forger;
        }
        let Some(forger) = forger(at.1, router, &self.voices, self.turns, Some(mac)) else {
            return false;
        };
        let Some(finding) = self.finding(at, forger, mac, event, net) else {
            return false;
        };
        let last = finding.last;
        let key = board.raise(finding);
        self.spoof = Some((Open { key, last }, forger));
        true
    }

    /// When the spoofing counts as over.
    pub(super) fn quiet_at(&self) -> Option<Timestamp> {
        self.spoof.map(|(open, _)| open.last + QUIET)
    }

    /// Ends a finding whose time has come.
    pub(super) fn quiet(&mut self, now: Timestamp, board: &mut Board) {
        if self.quiet_at().is_some_and(|at| at <= now)
            && let Some((open, _)) = self.spoof.take()
        {
            self.voices.clear();
            self.turns = 0;
            board.update(open.key, |f| {
                f.recovered(now);
                f.broken = Default::default();
                f.ended = Some(now);
            });
        }
    }

    fn hear(&mut self, mac: Mac, event: &Event, lifetime: u16) {
        let heard = Heard {
            at: event.at,
            locator: event.locator,
            lifetime,
        };
        let known = self.voices.iter().position(|voice| voice.mac == mac);
        let index = known.unwrap_or_else(|| {
            if self.voices.len() == MAX_VOICES {
                self.voices.remove(1);
            }
            self.voices.push(Voice {
                mac,
                count: 0,
                frames: SmallVec::new(),
            });
            self.voices.len() - 1
        });
        if let Some(voice) = self.voices.get_mut(index) {
            voice.count = voice.count.saturating_add(1);
            if voice.frames.len() == MAX_FRAMES {
                voice.frames.remove(MAX_FRAMES / 2);
            }
            voice.frames.push(heard);
        }
    }

    /// The sender beside the forger that was heard most.
    fn real(&self, forger: Mac) -> Option<Mac> {
        let others = self.voices.iter().filter(|voice| voice.mac != forger);
        others
            .max_by_key(|voice| voice.count)
            .map(|voice| voice.mac)
    }

    fn finding(
        &self,
        (scope, router): Key,
        forger: Mac,
        mac: Mac,
        event: &Event,
        net: &NetState,
    ) -> Option<Finding> {
        let voice = self.voices.iter().find(|voice| voice.mac == forger)?;
        let first = voice.frames.first()?;
        let subject = Subject::Router(IpAddr::V6(router));
        let mut finding = Finding::at(Kind::RaSpoofed, Severity::Warning, subject, first.at);
        finding.evidence.add(first.locator);
        let real = self.real(forger);
        // A real advertisement behind a forged one restores what that took away.
        let restored = self
            .voices
            .iter()
            .filter(|voice| voice.mac != forger)
            .flat_map(|voice| voice.frames.iter())
            .filter(|heard| heard.lifetime > 0)
            .map(|heard| heard.at);
        let restored: BTreeSet<Timestamp> = restored.collect();
        let recover = |finding: &mut Finding, from: Timestamp, to: Timestamp| {
            if let Some(at) = restored.range(from..to).next() {
                finding.recovered(*at);
            }
        };
        let mut before = first.at;
        for heard in voice.frames.iter().skip(1) {
            recover(&mut finding, before, heard.at);
            finding.again_at(heard.at);
            finding.evidence.add(heard.locator);
            before = heard.at;
        }
        recover(&mut finding, before, Timestamp::MAX);
        finding.count = voice.count;
        if mac != forger {
            finding.support(event);
        }
        let takes_away = voice.frames.last().is_some_and(|heard| heard.lifetime == 0);
        finding.broken.default_route =
            mac == forger && takes_away && !another_default(net, scope, router, event.at);
        finding.explain = sentence(router, forger, real, voice.count);
        finding.also(Subject::Mac(forger));
        let macs: SmallVec<[Mac; 2]> = [Some(forger), real].into_iter().flatten().collect();
        keys(&mut finding, net, scope, router, &macs);
        Some(finding)
    }
}

fn sentence(router: Ipv6Addr, forger: Mac, real: Option<Mac>, count: u64) -> String {
    let real = real.map_or_else(String::new, |mac| format!(", which is {mac}"));
    format!("{forger} sent {count} router advertisements in the name of {router}{real}")
}

/// See [`genuine`].
const MADE: u8 = 3;

/// How much a frame's own source speaks for a sender being who it says: its address is made from its MAC (RFC 4291 §2.5.1), it names its
/// own MAC or none, or it names somebody else's.
fn genuine(router: Ipv6Addr, sender: &Sender) -> u8 {
    let Some(mac) = sender.mac else { return 1 };
    let [a, b, c, d, e, f] = mac.0;
    let interface_id = [a ^ 2, b, c, 0xff, 0xfe, d, e, f];
    if router.octets().last_chunk::<8>() == Some(&interface_id) {
        MADE
    } else if mac.is_virtual_router() {
        2
    } else if sender.source_mac.is_none_or(|named| named == mac) {
        1
    } else {
        0
    }
}

/// A sender that only ever ended the role: a partner that takes over and gives back has announced it as well.
fn only_ends(voices: &[Voice], mac: Option<Mac>) -> bool {
    let mut theirs = voices.iter().filter(|voice| Some(voice.mac) == mac);
    theirs.any(|voice| voice.frames.iter().all(|heard| heard.lifetime == 0))
}

/// The sender who forges, if there is one.
fn forger(
    router: Ipv6Addr,
    entry: &Router,
    voices: &[Voice],
    turns: u32,
    lives: Option<Mac>,
) -> Option<Mac> {
    let rank = |sender: &Sender| (genuine(router, sender), std::cmp::Reverse(sender.first));
    let real = entry.senders.iter().max_by_key(|sender| rank(sender))?;
    let other = entry
        .senders
        .iter()
        .filter(|sender| sender.mac.is_some() && sender.mac != real.mac)
        .min_by_key(|sender| rank(sender))?;
    // A router's address that is made from one MAC is that one's: another that ends its role in its name is nobody's fail-over partner.
    let ends_it = genuine(router, real) == MADE && other.ra.lifetime == 0;
    // After somebody ended the role in its name the router itself, from the MAC of its earlier advertisements, goes on being one.
    let refuted = lives.is_some() && lives == real.mac && only_ends(voices, other.mac);
    let caught = genuine(router, other) == 0 && genuine(router, real) > 0
        || (ends_it || refuted) && !other.mac.is_some_and(|mac| mac.is_virtual_router());
    let fail_over = other.mac.is_some_and(|mac| mac.is_virtual_router());
    (caught || (turns >= TURNS && !fail_over)).then_some(other.mac)?
}

/// Advertisements that receivers must discard and that no honest router sends: routed ones (RFC 4861 §6.1.2), and fragmented ones or such
/// behind extension headers, which slip past RA guards (RFC 6980, RFC 7113).
#[derive(Clone, Default)]
pub(super) struct Invalid {
    open: BTreeMap<(Scope, Option<IpAddr>), Open>,
    deadlines: BTreeSet<(Timestamp, (Scope, Option<IpAddr>))>,
}

impl Invalid {
    pub(super) fn seen(&mut self, event: &Event, nd: &Nd, net: &NetState, board: &mut Board) {
        let scope = net.who.link(event, &nd.frame);
        let key = (scope, nd.frame.ip_src);
        if let Some(open) = self.open.get_mut(&key) {
            self.deadlines.remove(&(open.last + QUIET, key));
            open.last = event.at;
            board.update(open.key, |f| f.again(event));
        } else if self.open.len() < MAX_INVALID {
            let Some(IpAddr::V6(router)) = nd.frame.ip_src else {
                return;
            };
            let subject = Subject::Router(IpAddr::V6(router));
            // Receivers discard all of these; only the last kind is as likely a broken stack as an attempt.
            let attempt =
                nd.flaws.contains(&NdFlaw::Evasive) || nd.flaws.contains(&NdFlaw::HopLimit);
            let severity = if attempt {
                Severity::Warning
            } else {
                Severity::Info
            };
            let mut finding = Finding::new(Kind::RaSpoofed, severity, subject, event);
            let what = if nd.flaws.contains(&NdFlaw::Evasive) {
                "hidden in fragments or behind extension headers, as no router sends them"
            } else if nd.flaws.contains(&NdFlaw::HopLimit) {
                "that came from beyond the link (hop limit below 255)"
            } else {
                "from an address that is not link-local"
            };
            finding.explain = format!("router advertisements in the name of {router} {what}");
            let macs: SmallVec<[Mac; 1]> = nd.frame.eth_src.into_iter().collect();
            keys(&mut finding, net, scope, router, &macs);
            for mac in macs {
                finding.also(Subject::Mac(mac));
                finding.touch(Touch::Mac(mac));
            }
            let finding = board.raise(finding);
            self.open.insert(
                key,
                Open {
                    key: finding,
                    last: event.at,
                },
            );
        } else {
            return;
        }
        self.deadlines.insert((event.at + QUIET, key));
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(super) fn expire(&mut self, now: Timestamp, board: &mut Board) {
        while let Some((at, key)) = self.deadlines.first().copied() {
            if at > now {
                break;
            }
            self.deadlines.pop_first();
            if let Some(open) = self.open.remove(&key) {
                board.update(open.key, |f| f.ended = Some(now));
            }
        }
    }
}
