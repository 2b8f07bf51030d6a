//! `dhcp.pool-exhausted`: a server has no address left for new clients.
//!
//! DHCPv6 says so (NoAddrsAvail). DHCPv4 says nothing: new clients get no offer while the server is known to live, either because it
//! answers others meanwhile or because it fell silent right behind a run on its pool. Silence towards everybody is
//! `dhcp.server-unresponsive`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::surge::{NO_OFFER, Surges};
use super::watch::{Quiet, Watched};
use super::{DHCP, client_subject, heard, interface, plural, server_subject, touch_server};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Reason, Severity, Touch};
use crate::event::{Classes, EventKind, Timestamp};
use crate::state::leases::message::{ClientId, ServerId, Verb};
use crate::state::leases::scope::ScopeId;
use crate::state::{NetState, Observation};

/// Different new clients without an offer; one or two may be refused for reasons of their own (filters, classes).
const LEFT_OUT: usize = 3;
/// Newcomers served within a minute that make a run on the pool.
const RUN: usize = 10;
/// Newcomers that were served shortly before, to know that the server serves newcomers at all.
const SERVED_BEFORE: usize = 3;
/// Refusals of one client that insists: with the third back-off step (RFC 8415 §15) it needs what is not there.
const INSISTS: u32 = 3;
/// Leases of one machine under different identities that say why the pool is empty: boot ROM, boot loader, installer and system are four
/// (knowledge D33); and it must be at least half of what the server has leased.
const OF_ONE: usize = 5;
/// No client was left out for this long: over (two rounds of RFC 2131 §4.1's longest back-off).
const QUIET: Duration = Duration::from_secs(130);

/// The detector.
#[derive(Clone)]
pub struct Pool {
    surges: Surges,
    told: Watched<ScopeId, Option<FindingKey>>,
    checks: BTreeSet<(Timestamp, ScopeId)>,
    quiet: Quiet,
}

impl Default for Pool {
    fn default() -> Pool {
        Pool {
            surges: Surges::default(),
            told: Watched::new(QUIET),
            checks: BTreeSet::new(),
            quiet: Quiet::default(),
        }
    }
}

impl Detector for Pool {
    fn name(&self) -> &'static str {
        "dhcp.pool-exhausted"
    }

    fn wants(&self) -> Classes {
        DHCP
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(heard) = heard(seen, net) else {
            return;
        };
        let m = &heard.message;
        if m.flawed {
            return;
        }
        let now = seen.event.at;
        if let EventKind::Dhcp6(reply) = &seen.event.kind {
            // RFC 8415 §21.13: 2 NoAddrsAvail, 6 NoPrefixAvail, in answer to SOLICIT, REQUEST or RENEW.
            let empty = m.verb == Verb::Nak && reply.status.iter().any(|(c, _)| matches!(c, 2 | 6));
            if empty && let Some(server) = &m.server {
                self.refused(seen, heard.scope, server, net, board);
            }
        }
        let Some((surge, new)) = self.surges.observe(seen, heard, net) else {
            return;
        };
        if new
            && surge.newcomers.len() >= LEFT_OUT
            && let Some(at) = surge.look_later(now)
        {
            self.checks.insert((at, heard.scope));
        }
        // A newcomer that is offered something ends it.
        if m.verb == Verb::Offer
            && !m.grants.is_empty()
            && let Some(slot) = self.told.get_mut(&heard.scope)
            && let Some(key) = slot.take()
        {
            board.update(key, |f| {
                f.support(seen.event);
                f.recovered(now);
                f.broken.subject = false;
                f.ended = Some(now);
            });
        }
        // Clients that were left out before and ask again belong to it.
        if m.verb == Verb::Discover
            && let Some(Some(key)) = self.told.get_mut(&heard.scope)
        {
            let key = *key;
            self.quiet.until(key, now + QUIET);
            board.update(key, |f| {
                f.support(seen.event);
                f.affected.clients.insert(client_subject(&m.client));
                super::touch_client(f, m);
            });
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let checks = self.checks.first().map(|(at, _)| *at);
        [checks, self.quiet.next()].into_iter().flatten().min()
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        while let Some(&(at, scope)) = self.checks.first()
            && at <= now
        {
            self.checks.remove(&(at, scope));
            self.check(at, scope, net, board);
        }
        self.quiet.expire(now, board);
    }
}

impl Pool {
    fn check(&mut self, now: Timestamp, scope: ScopeId, net: &NetState, board: &mut Board) {
        let Some(surge) = self.surges.scopes.get_mut(&scope) else {
            return;
        };
        surge.due = None;
        // Those who came just now have not waited long enough: another look.
        if let Some(at) = surge.look_again(now) {
            self.checks.insert((at, scope));
        }
        if matches!(self.told.get_mut(&scope), Some(Some(_))) {
            return;
        }
        let left: Vec<_> = surge.left_out(now).collect();
        let Some(first) = left.first().map(|n| n.at) else {
            return;
        };
        let granted = surge.granted();
        let Some(server) = net
            .leases
            .servers
            .of_scope(scope)
            .filter(|server| !server.proxy)
            .max_by_key(|server| server.last)
        else {
            return;
        };
        let lives = server.last >= first + NO_OFFER && granted >= SERVED_BEFORE;
        let run = granted >= RUN && first.since(server.last) <= NO_OFFER * 4;
        if left.len() < LEFT_OUT || !(lives || run) {
            return;
        }
        let mut f = Finding::at(
            Kind::DhcpPoolExhausted,
            Severity::Critical,
            server_subject(net, scope, &server.id),
            first,
        );
        for newcomer in &left {
            f.evidence.add(newcomer.locator);
            f.last = f.last.max(newcomer.at);
            f.affected.clients.insert(client_subject(&newcomer.client));
        }
        touch_server(&mut f, net, scope, &server.id);
        if let Some(touch) = &surge.interface {
            f.touch(touch.clone());
        }
        f.broken.subject = true;
        let one = hoarder(net, scope, &server.id);
        f.explain = format!(
            "{} offers nothing to {} in a row after {} were served{}: no address is left.",
            server.id,
            plural(left.len() as u64, "new client"),
            granted,
            if lives {
                ", while it still answers others"
            } else {
                " within a minute"
            },
        );
        if let Some((machine, its, all)) = one {
            f.reason = Some(Reason::ManyIdentities);
            f.also(client_subject(&machine));
            f.touch(Touch::Client(machine.to_string().into()));
            f.explain.push_str(&format!(
                " {its} of its {} are held by one machine, {machine}, under as many client identifiers.",
                plural(all as u64, "lease"),
            ));
        }
        f.advice = advice();
        let key = board.raise(f);
        self.quiet.until(key, now + QUIET);
        if let Some(slot) = self.told.at(scope, now) {
            *slot = Some(key);
        }
    }

    /// DHCPv6: the server says it.
    fn refused(
        &mut self,
        seen: &Observation<'_>,
        scope: ScopeId,
        server: &ServerId,
        net: &NetState,
        board: &mut Board,
    ) {
        // A server that only gives options answers every SOLICIT like this, by design (knowledge V2): a note, until somebody insists.
        let gave = net
            .leases
            .servers
            .get(scope, server)
            .is_some_and(|server| server.offers + server.acks > 0);
        let now = seen.event.at;
        let Some(heard) = net.leases.seen() else {
            return;
        };
        let m = &heard.message;
        let Some(slot) = self.told.at(scope, now) else {
            return;
        };
        let quest = net
            .leases
            .clients
            .get(scope, &m.client)
            .and_then(|client| client.quest.as_ref());
        let insists = quest.is_some_and(|quest| quest.refusals >= INSISTS);
        if !gave && !insists {
            return;
        }
        let key = match *slot {
            Some(key) => {
                // One state, however often it is said: the times are the client's back-off.
                board.update(key, |f| {
                    f.support(seen.event);
                    f.count += 1;
                });
                key
            }
            None => {
                let subject = server_subject(net, scope, server);
                let mut f =
                    Finding::new(Kind::DhcpPoolExhausted, Severity::Info, subject, seen.event);
                if let Some(quest) = quest {
                    for (at, locator) in &quest.frames {
                        f.first = f.first.min(*at);
                        f.evidence.add(*locator);
                    }
                    f.count = u64::from(quest.refusals);
                }
                touch_server(&mut f, net, scope, server);
                f.advice = advice();
                board.raise(f)
            }
        };
        *slot = Some(key);
        self.quiet.until(key, now + QUIET);
        let client = client_subject(&m.client);
        let (status, what, reason) = if m.status == Some(6) {
            ("NoPrefixAvail", "prefix to delegate", Reason::NoPrefix)
        } else {
            ("NoAddrsAvail", "address", Reason::NoAddress)
        };
        let name = m
            .server_addr
            .map_or_else(|| server.to_string(), |addr| addr.to_string());
        board.update(key, |f| {
            f.affected.clients.insert(client.clone());
            f.also(client);
            f.reason = Some(reason);
            super::touch_client(f, m);
            if f.affected.clients.len() >= LEFT_OUT {
                f.severity = Severity::Critical;
            } else if insists {
                f.severity = f.severity.max(Severity::Warning);
            }
            f.broken.subject = f.severity > Severity::Info;
            f.explain = format!(
                "Server {name} says that it has no {what} ({status}{}): {} in {:.1} s to {}.",
                m.says
                    .as_ref()
                    .filter(|text| !text.octets().is_empty())
                    .map_or_else(String::new, |text| format!(": {text}")),
                plural(f.count, "refusal"),
                f.last.since(f.first).as_secs_f64(),
                plural(f.affected.clients.len() as u64, "client"),
            );
            if let Some(touch) = interface(seen.event, net) {
                f.touch(touch);
            }
        });
    }
}

/// The machine that holds most of a server's leases under ever other identities, how many, and of how many. Walks the leases: asked once for
/// each finding.
fn hoarder(net: &NetState, scope: ScopeId, server: &ServerId) -> Option<(ClientId, usize, usize)> {
    let mut by_machine: BTreeMap<ClientId, usize> = BTreeMap::new();
    let its = net
        .leases
        .held()
        .filter(|(at, _, lease)| *at == scope && lease.server == *server);
    for (_, _, lease) in its {
        *by_machine.entry(lease.client.machine()).or_default() += 1;
    }
    let all = by_machine.values().sum();
    let (machine, most) = by_machine.into_iter().max_by_key(|(_, n)| *n)?;
    (most >= OF_ONE && most * 2 >= all).then_some((machine, most, all))
}

fn advice() -> Vec<String> {
    vec![
        "count the leases on the server (kea-shell lease4-get-all, wc -l dhcpd.leases)".into(),
        "look for one port with many clients: bridge fdb show".into(),
    ]
}
