//! Probes that are answered: a host wants to use an address that another one has (RFC 5227, RFC 4862 §5.4).
//!
//! Once is what the check is for, and worth a note; again and again means that somebody hands out an address in use. One machine that
//! answers the probes for address after address is one statement about that machine: proxy ARP makes good addresses unusable.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::QUIET;
use crate::detect::{Board, Finding, FindingKey, Kind, Reason, Severity, Subject, Touch};
use crate::event::frame::Mac;
use crate::event::{Event, Timestamp};
use crate::state::NetState;
use crate::state::hosts::{HostDelta, Scope};

/// Answered probes of one address that are no coincidence any more.
const REPEATED: u64 = 2;
/// Answers within this time belong to one check (RFC 5227 §2.1.1 sends three probes 1 to 2 s apart, and gives up at the first answer).
const ONE_CHECK: Duration = Duration::from_secs(1);
/// Addresses that one MAC answers for, from which on it answers for others (proxy ARP, RFC 1027; a switch's device tracking); routers with a
/// handful of addresses stay below.
pub(super) const PROXY: usize = 16;
/// Different addresses whose probes one machine answered: a static address in a pool is one, a forgotten host with an alias has two.
const MANY: usize = 3;
/// Addresses watched at once, addresses counted of one machine, addresses named in a finding.
const MAX_WATCHED: usize = 512;
const MAX_COUNTED: usize = 256;
const MAX_NAMED: usize = 8;

#[derive(Copy, Clone, Debug)]
struct Watched {
    finding: FindingKey,
    last: Timestamp,
}

/// A machine that answers probes.
#[derive(Clone, Default)]
struct Defender {
    addresses: BTreeSet<IpAddr>,
    /// The one finding about all of them.
    finding: Option<FindingKey>,
    last: Timestamp,
}

/// Answered probes by address and by who answers.
#[derive(Clone, Default)]
pub(super) struct Probes {
    watched: BTreeMap<(Scope, IpAddr), Watched>,
    deadlines: BTreeSet<(Timestamp, (Scope, IpAddr))>,
    defenders: BTreeMap<(Scope, Mac), Defender>,
}

impl Probes {
    /// `delta.mac` answered a probe of `by` for `delta.addr`.
    pub(super) fn defended(
        &mut self,
        event: &Event,
        delta: &HostDelta,
        by: Mac,
        net: &NetState,
        board: &mut Board,
    ) {
        if let IpAddr::V4(addr) = delta.addr
            && addr.is_link_local()
        {
            return; // that is how hosts choose one of these (RFC 3927 §2.2.1)
        }
        if self.many(event, delta, by, net, board) {
            return;
        }
        let key = (delta.scope, delta.addr);
        if let Some(watched) = self.watched.get_mut(&key) {
            let another = event.at.since(watched.last) > ONE_CHECK;
            self.deadlines.remove(&(watched.last + QUIET, key));
            watched.last = event.at;
            board.update(watched.finding, |f| {
                if another {
                    f.again(event);
                } else {
                    f.support(event);
                }
                if f.count >= REPEATED {
                    f.severity = Severity::Warning;
                }
                f.explain = sentence(delta, by, f.count);
                f.also(Subject::Mac(by));
                prober(f, by);
            });
        } else if self.watched.len() < MAX_WATCHED {
            let subject = Subject::Address(delta.addr);
            // An IPv6 host gives the address up for good at the first answer (RFC 4862 §5.4.5); a DHCPv4 client declines it and takes another.
            let severity = if delta.addr.is_ipv6() {
                Severity::Warning
            } else {
                Severity::Info
            };
            let mut finding = Finding::new(Kind::AddressConflict, severity, subject, event);
            finding.explain = sentence(delta, by, 1);
            finding.also(Subject::Mac(delta.mac));
            finding.also(Subject::Mac(by));
            finding.touch(Touch::Address(delta.addr));
            finding.touch(Touch::Mac(delta.mac));
            prober(&mut finding, by);
            if net.who.was_offered(delta.addr) && net.role_of(delta.scope, delta.mac).is_none() {
                finding.explanations.push(
                    "a static address inside a DHCP pool: a server offered it, and another host has it".into(),
                );
            }
            finding
                .advice
                .push(format!("arping -D -c 3 {}", delta.addr));
            finding.advice.push(super::where_is(delta.mac, net));
            let finding = board.raise(super::on_link(finding, delta.scope, net));
            self.watched.insert(
                key,
                Watched {
                    finding,
                    last: event.at,
                },
            );
        } else {
            return;
        }
        self.deadlines.insert((event.at + QUIET, key));
    }

    /// Whether the machine answers for so many addresses that they are one story; tells it.
    fn many(
        &mut self,
        event: &Event,
        delta: &HostDelta,
        by: Mac,
        net: &NetState,
        board: &mut Board,
    ) -> bool {
        let key = (delta.scope, delta.mac);
        if self.defenders.len() >= MAX_WATCHED && !self.defenders.contains_key(&key) {
            return false;
        }
        let defender = self.defenders.entry(key).or_default();
        if event.at.since(defender.last) > QUIET {
            *defender = Defender::default();
        }
        defender.last = event.at;
        if defender.addresses.len() < MAX_COUNTED {
            defender.addresses.insert(delta.addr);
        }
        let many = net.hosts.addresses_of(delta.scope, delta.mac) >= PROXY;
        if defender.addresses.len() < MANY && !many {
            return false;
        }
        let finding = *defender.finding.get_or_insert_with(|| {
            // What was told of single addresses is part of it.
            let mut told: Option<Finding> = None;
            for addr in &defender.addresses {
                let Some(watched) = self.watched.remove(&(delta.scope, *addr)) else {
                    continue;
                };
                let place = (watched.last + QUIET, (delta.scope, *addr));
                self.deadlines.remove(&place);
                match (&mut told, board.get(watched.finding).cloned()) {
                    (Some(whole), Some(part)) => absorb(whole, &part),
                    (None, part) => told = part,
                    _ => {}
                }
                board.retract(watched.finding);
            }
            let subject = Subject::Mac(delta.mac);
            let mut finding = told.unwrap_or_else(|| {
                Finding::new(Kind::AddressConflict, Severity::Warning, subject.clone(), event)
            });
            finding.kind = Kind::AddressConflict;
            finding.severity = Severity::Warning;
            finding.subjects.retain(|other| *other != subject);
            finding.subjects.insert(0, subject);
            finding.broken.subject = true;
            finding.reason = Some(Reason::ProxyArp);
            finding.explanations.clear();
            finding.advice = vec![
                "sysctl net.ipv4.conf.all.proxy_arp net.ipv4.conf.all.proxy_arp_pvlan   (on the machine that answers)".into(),
                super::where_is(delta.mac, net),
            ];
            board.raise(super::on_link(finding, delta.scope, net))
        });
        let place = (delta.scope, delta.addr);
        let now = Watched {
            finding,
            last: event.at,
        };
        if let Some(before) = self.watched.insert(place, now) {
            self.deadlines.remove(&(before.last + QUIET, place));
        }
        self.deadlines.insert((event.at + QUIET, place));
        let count = defender.addresses.len();
        let role = net.role_of(delta.scope, delta.mac);
        board.update(finding, |f| {
            f.again(event);
            if f.subjects.len() <= MAX_NAMED {
                f.also(Subject::Address(delta.addr));
            }
            f.also(Subject::Mac(by));
            f.touch(Touch::Address(delta.addr));
            f.touch(Touch::Mac(delta.mac));
            prober(f, by);
            f.explain = format!(
                "{}{} answers the probes for every address that {by} checks ({count} so far, the last {}): {by} can use none of them",
                delta.mac,
                role.map_or_else(String::new, |role| format!(", {role},")),
                delta.addr,
            );
            f.explanations = vec![
                "proxy ARP (RFC 1027), ARP suppression or a switch's device tracking answers for addresses that nobody has".into(),
            ];
            if role.is_none() {
                f.explanations
                    .push("or the machine has all these addresses itself".into());
            }
        });
        true
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
            if let Some(watched) = self.watched.remove(&key) {
                let over = board
                    .get(watched.finding)
                    .is_some_and(|f| f.last + QUIET <= now);
                if over {
                    board.update(watched.finding, |f| {
                        f.broken = Default::default();
                        f.ended = Some(now);
                    });
                }
            }
        }
    }
}

/// Takes what was found of another address into a finding.
fn absorb(whole: &mut Finding, part: &Finding) {
    for occurrence in &part.occurrences {
        whole.again_at(occurrence.at);
    }
    whole.first = whole.first.min(part.first);
    whole.occurrences.sort_by_key(|occurrence| occurrence.at);
    for locator in part.evidence.kept() {
        whole.evidence.add(*locator);
    }
    for subject in &part.subjects {
        whole.also(subject.clone());
    }
    for touch in &part.touches {
        whole.touch(touch.clone());
    }
}

fn sentence(delta: &HostDelta, by: Mac, count: u64) -> String {
    let gives_up = if delta.addr.is_ipv6() {
        "; duplicate address detection fails, and it cannot use the address"
    } else {
        ""
    };
    let times = if count == 1 {
        "once".to_string()
    } else {
        format!("{count} times")
    };
    format!(
        "{by} wanted to use {}, which {} has: its probes were answered {times}{gives_up}",
        delta.addr, delta.mac
    )
}

fn prober(finding: &mut Finding, by: Mac) {
    finding.touch(Touch::Mac(by));
    finding.touch(Touch::Client(by.to_string().into()));
}
