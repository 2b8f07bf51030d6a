//! `dhcp.rogue-server`: a server that nobody expected answers clients.
//!
//! Who came first proves nothing: a rogue is often faster than the real server. Declared servers (`Settings::dhcp_servers`) settle it.
//! Without them the sign is contradiction: two servers that give one client different gateways, name servers, routes or networks are no
//! HA pair, whose options agree. Which of the two is the rogue is judged by evidence, below; when it does not decide, both are named.

mod evidence;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::watch::{Quiet, Watched};
use super::{DHCP, client_subject, heard, plural, server_subject, touch_all, touch_server};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Settings, Severity, Touch};
use crate::event::frame::Mac;
use crate::event::{Classes, Event, Locator, Prefix, Timestamp};
use crate::state::leases::message::{Message, ServerId, Verb};
use crate::state::leases::scope::ScopeId;
use crate::state::leases::server::Server;
use crate::state::{NetState, Observation};
use evidence::{ESTABLISHED, explain, legitimacy, takes_over};

/// Evidence this clear decides at once: one strong sign more than the other server has.
const CLEAR: i32 = 3;
/// Otherwise judgement waits this long for renewals of older leases, the strongest sign: two T1 of the shortest leases in use.
const PATIENCE: Duration = Duration::from_secs(30);
/// Configurations of one client that are further apart are a change of plan, not a contradiction.
const TOGETHER: Duration = Duration::from_secs(600);
/// A rogue that is silent for longer than this has gone; as long as two retransmission periods of all its clients.
const QUIET: Duration = Duration::from_secs(600);

/// Two servers that contradict each other.
#[derive(Clone, Default)]
struct Conflict {
    since: Timestamp,
    /// Answers of both before the judgement, for the finding's count and evidence.
    answers: Vec<(Timestamp, Locator, Option<ServerId>)>,
    clients: BTreeSet<crate::detect::Subject>,
    touches: Vec<Touch>,
    judged: Option<(FindingKey, ServerId)>,
}

/// Returns to a link-layer address that was left before: one may be a fail-over and its end (knowledge D3: 3 changes).
const RETURNS: u64 = 2;

/// Answers kept until the judgement.
const MAX_ANSWERS: usize = 64;

/// The detector.
#[derive(Clone)]
pub struct RogueServer {
    declared: BTreeSet<IpAddr>,
    /// Servers of earlier runs.
    known: BTreeSet<IpAddr>,
    /// Findings about servers that earlier runs did not see.
    newcomers: Watched<(ScopeId, ServerId), Option<FindingKey>>,
    conflicts: Watched<(ScopeId, ServerId, ServerId), Conflict>,
    /// Findings about servers that are not among the declared ones.
    undeclared: Watched<(ScopeId, ServerId), Option<FindingKey>>,
    waiting: BTreeSet<(Timestamp, ScopeId, ServerId, ServerId)>,
    quiet: Quiet,
}

impl RogueServer {
    /// With the servers that the operator declared.
    pub fn new(settings: &Settings) -> RogueServer {
        RogueServer {
            declared: settings.dhcp_servers.iter().copied().collect(),
            known: settings.baseline.dhcp_servers.clone(),
            newcomers: Watched::new(TOGETHER),
            conflicts: Watched::new(TOGETHER),
            undeclared: Watched::new(TOGETHER),
            waiting: BTreeSet::new(),
            quiet: Quiet::default(),
        }
    }
}

impl Detector for RogueServer {
    fn name(&self) -> &'static str {
        "dhcp.rogue-server"
    }

    fn wants(&self) -> Classes {
        DHCP
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(heard) = heard(seen, net) else {
            return;
        };
        let m = &heard.message;
        let Some(server) = &m.server else {
            return;
        };
        if !m.verb.is_answer() || m.proxy {
            return;
        }
        if !self.declared.is_empty() {
            let known = m
                .server_addr
                .is_some_and(|addr| self.declared.contains(&addr));
            if !known {
                self.undeclared(seen.event, heard.scope, server, m, net, board);
            }
            return;
        }
        if !self.known.is_empty() {
            self.newcomer(seen.event, heard.scope, server, m, net, board);
        }
        self.impersonated(seen.event, heard.scope, server, m, net, board);
        self.compare(seen.event, heard.scope, server, m, net);
        // Each answer of either server is new evidence for the conflicts it has part in.
        let parts: Vec<(ScopeId, ServerId, ServerId)> = self
            .conflicts
            .iter_mut()
            .filter(|((scope, a, b), _)| *scope == heard.scope && (a == server || b == server))
            .map(|(key, _)| key.clone())
            .collect();
        for key in parts {
            self.answer(&key, seen.event, server, m, net, board);
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let waiting = self.waiting.first().map(|(at, ..)| *at);
        [waiting, self.quiet.next()].into_iter().flatten().min()
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        while let Some((at, scope, a, b)) = self.waiting.first().cloned()
            && at <= now
        {
            self.waiting.remove(&(at, scope, a.clone(), b.clone()));
            self.judge(&(scope, a, b), true, net, board);
        }
        self.quiet.expire(now, board);
    }

    fn finish(&mut self, _now: Timestamp, net: &NetState, board: &mut Board) {
        let waiting = std::mem::take(&mut self.waiting);
        for (_, scope, a, b) in waiting {
            if let Some(key) = self.judge(&(scope, a, b), true, net, board) {
                board.update(key, |f| f.truncated = true);
            }
        }
    }
}

impl RogueServer {
    fn undeclared(
        &mut self,
        event: &Event,
        scope: ScopeId,
        server: &ServerId,
        m: &Message,
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(slot) = self.undeclared.at((scope, server.clone()), event.at) else {
            return;
        };
        let key = match *slot {
            Some(key) => {
                board.update(key, |f| f.again(event));
                key
            }
            None => {
                let subject = server_subject(net, scope, server);
                let mut f = Finding::new(Kind::DhcpRogueServer, Severity::Warning, subject, event);
                f.advice = advice(m);
                board.raise(f)
            }
        };
        *slot = Some(key);
        self.quiet.until(key, event.at + QUIET);
        board.update(key, |f| {
            touch_all(f, event, m, net);
            if let Some(heard) = net.leases.seen() {
                super::known::explain(f, heard, event, net);
            }
            touch_server(f, net, scope, server);
            if let Some(mac) = m.frame.eth_src.filter(|_| m.is_direct()) {
                f.also(crate::detect::Subject::Mac(mac));
            }
            took(f, m);
            f.explain = format!(
                "{server} answers DHCP clients and is none of the declared servers; {} took a lease from it.",
                plural(f.affected.clients.len() as u64, "client"),
            );
        });
    }

    /// A server that no earlier run saw: worth one note, and no more until it contradicts another.
    fn newcomer(
        &mut self,
        event: &Event,
        scope: ScopeId,
        server: &ServerId,
        m: &Message,
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(addr) = m.server_addr.filter(|addr| !self.known.contains(addr)) else {
            return;
        };
        // As long as it goes on answering it is the same newcomer.
        let Some(slot) = self.newcomers.at((scope, server.clone()), event.at) else {
            return;
        };
        if slot.is_some() {
            return;
        }
        let subject = server_subject(net, scope, server);
        let mut f = Finding::new(Kind::DhcpRogueServer, Severity::Info, subject, event);
        touch_server(&mut f, net, scope, server);
        f.explain = format!(
            "{addr} answers DHCP clients and is not in the baseline, which knows {}.",
            plural(self.known.len() as u64, "server")
        );
        f.advice = vec!["declare it: dhcp-servers in the configuration file".into()];
        *slot = Some(board.raise(f));
    }

    /// Two machines answer under one server's identity by turns. A fail-over changes the link-layer address once, and back once.
    fn impersonated(
        &mut self,
        event: &Event,
        scope: ScopeId,
        server: &ServerId,
        m: &Message,
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(known) = net.leases.servers.get(scope, server) else {
            return;
        };
        if known.returns < RETURNS
            || !m.is_direct()
            || known.macs.iter().any(Mac::is_virtual_router)
        {
            return;
        }
        let Some(slot) = self.undeclared.at((scope, server.clone()), event.at) else {
            return;
        };
        let key = match *slot {
            Some(key) => {
                board.update(key, |f| f.again(event));
                key
            }
            None => {
                let subject = server_subject(net, scope, server);
                let mut f = Finding::new(Kind::DhcpRogueServer, Severity::Warning, subject, event);
                f.advice = advice(m);
                board.raise(f)
            }
        };
        *slot = Some(key);
        self.quiet.until(key, event.at + QUIET);
        let macs: Vec<String> = known.macs.iter().map(Mac::to_string).collect();
        board.update(key, |f| {
            touch_all(f, event, m, net);
            touch_server(f, net, scope, server);
            for mac in &known.macs {
                f.also(crate::detect::Subject::Mac(*mac));
            }
            took(f, m);
            f.explain = format!(
                "Two machines answer as DHCP server {server} by turns ({}): one of them forges the identity.",
                macs.join(", ")
            );
        });
    }

    /// Whether this answer contradicts what another server gave the same client.
    fn compare(
        &mut self,
        event: &Event,
        scope: ScopeId,
        server: &ServerId,
        m: &Message,
        net: &NetState,
    ) {
        let Some(client) = net.leases.clients.get(scope, &m.client) else {
            return;
        };
        let lives = |other: &ServerId| {
            net.leases
                .servers
                .get(scope, other)
                .is_some_and(|o| !o.proxy && event.at.since(o.last) <= TOGETHER)
        };
        // It refuses a client that holds the lease of another server (knowledge D12); an HA pair shares its leases.
        let holder = client
            .lease
            .filter(|_| m.verb == Verb::Nak)
            .and_then(|addr| net.leases.lease(scope, Prefix::host(addr)))
            .map(|lease| &lease.server);
        let contradicted = client
            .configs
            .iter()
            .filter(|(_, config, at)| {
                !m.grants.is_empty()
                    && event.at.since(*at) <= TOGETHER
                    && config.contradicts(&m.config, m.v6)
            })
            .map(|(other, ..)| other);
        for other in contradicted.chain(holder) {
            if other == server || !lives(other) {
                continue;
            }
            let (a, b) = (server.min(other).clone(), server.max(other).clone());
            let Some(conflict) = self.conflicts.at((scope, a.clone(), b.clone()), event.at) else {
                continue;
            };
            conflict.clients.insert(client_subject(&m.client));
            if conflict.judged.is_none() && conflict.answers.is_empty() {
                conflict.since = event.at;
                // What each of them said first lies before the contradiction.
                for id in [&a, &b] {
                    if let Some(known) = net.leases.servers.get(scope, id)
                        && event.at.since(known.first) <= TOGETHER
                    {
                        let first = (known.first, known.first_locator, Some(id.clone()));
                        conflict.answers.push(first);
                    }
                }
                self.waiting.insert((event.at + PATIENCE, scope, a, b));
            }
        }
    }

    fn answer(
        &mut self,
        key: &(ScopeId, ServerId, ServerId),
        event: &Event,
        server: &ServerId,
        m: &Message,
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(conflict) = self.conflicts.at(key.clone(), event.at) else {
            return;
        };
        if let Some((finding, rogue)) = conflict.judged.clone() {
            if rogue == *server {
                self.quiet.until(finding, event.at + QUIET);
                board.update(finding, |f| {
                    f.again(event);
                    touch_all(f, event, m, net);
                    took(f, m);
                    gives(f, m);
                });
            }
            return;
        }
        if conflict.answers.len() < MAX_ANSWERS {
            let known = conflict.answers.iter().any(|(_, l, _)| *l == event.locator);
            if !known {
                conflict
                    .answers
                    .push((event.at, event.locator, Some(server.clone())));
            }
        }
        let mut about = Finding::at(
            Kind::DhcpRogueServer,
            Severity::Warning,
            client_subject(&m.client),
            event.at,
        );
        touch_all(&mut about, event, m, net);
        conflict.touches.extend(
            about
                .touches
                .into_iter()
                .filter(|t| matches!(t, Touch::Client(_) | Touch::Interface(_)))
                .take(MAX_ANSWERS),
        );
        conflict.touches.truncate(4 * MAX_ANSWERS);
        self.judge(key, false, net, board);
    }

    /// Which of the two is the rogue? Raises when that is clear, or at the latest when patience ends.
    fn judge(
        &mut self,
        key: &(ScopeId, ServerId, ServerId),
        late: bool,
        net: &NetState,
        board: &mut Board,
    ) -> Option<FindingKey> {
        let conflict = self.conflicts.get_mut(key)?;
        if conflict.judged.is_some() {
            return None;
        }
        let a = net.leases.servers.get(key.0, &key.1)?;
        let b = net.leases.servers.get(key.0, &key.2)?;
        let (mut for_a, mut signs_a) = legitimacy(a, b);
        let (mut for_b, mut signs_b) = legitimacy(b, a);
        let known = |server: &Server| server.addr.is_some_and(|addr| self.known.contains(&addr));
        for (one, other, score, signs) in [
            (a, b, &mut for_a, &mut signs_a),
            (b, a, &mut for_b, &mut signs_b),
        ] {
            if known(one) && !known(other) {
                *score += CLEAR;
                signs.push("earlier runs knew it (the baseline) and not the other");
            }
        }
        let difference = for_a - for_b;
        if difference.abs() < CLEAR && !late {
            return None;
        }
        // A draw names both; the one that came later first.
        let a_real = difference > 0 || (difference == 0 && a.first <= b.first);
        let (rogue, real, signs) = if a_real {
            (b, a, signs_a)
        } else {
            (a, b, signs_b)
        };
        let decided = difference != 0;
        let mut answers: Vec<(Timestamp, Locator)> = conflict
            .answers
            .iter()
            .filter(|(.., id)| id.as_ref() == Some(&rogue.id))
            .map(|(at, locator, _)| (*at, *locator))
            .collect();
        answers.sort_unstable();
        let first = answers.first().map_or(conflict.since, |(at, _)| *at);
        let mut f = Finding::at(
            Kind::DhcpRogueServer,
            Severity::Warning,
            server_subject(net, key.0, &rogue.id),
            first,
        );
        for (nth, (at, locator)) in answers.into_iter().enumerate() {
            if nth > 0 {
                f.again_at(at);
            }
            f.evidence.add(locator);
        }
        for mac in &rogue.macs {
            f.also(crate::detect::Subject::Mac(*mac));
        }
        if !decided {
            f.also(server_subject(net, key.0, &real.id));
        }
        touch_server(&mut f, net, key.0, &rogue.id);
        for touch in conflict.touches.drain(..) {
            f.touch(touch);
        }
        for gateway in &rogue.config.routers {
            f.touch(Touch::Gateway(*gateway));
        }
        for (prefix, gateway) in rogue.config.routes.iter().take(32) {
            f.touch(Touch::Prefix(*prefix));
            f.touch(Touch::Gateway(*gateway));
        }
        for client in std::mem::take(&mut conflict.clients) {
            f.affected.clients.insert(client);
        }
        let settled = |server: &Server| {
            server.old_renewals > 0 || conflict.since.since(server.first) >= ESTABLISHED
        };
        if !decided && settled(rogue) && settled(real) {
            f.severity = Severity::Info;
            f.explanations
                .push("two long-standing servers whose configurations drifted apart".into());
        } else if takes_over(rogue) && rogue.acks > 0 {
            f.severity = Severity::Critical;
        }
        f.explain = explain(rogue, real, &signs, decided);
        f.advice = vec![
            match rogue.macs.last() {
                Some(mac) => format!("bridge fdb show | grep -i {mac}   # which port it is on"),
                None => "bridge fdb show".into(),
            },
            "tell the legitimate servers with --dhcp-server".into(),
        ];
        let rogue = rogue.id.clone();
        // What was a note about it is this finding now.
        let noted = self.newcomers.get_mut(&(key.0, rogue.clone()));
        if let Some(note) = noted.and_then(Option::take) {
            board.retract(note);
        }
        let last = f.last;
        let finding = board.raise(f);
        conflict.judged = Some((finding, rogue));
        conflict.answers.clear();
        let due = (
            conflict.since + PATIENCE,
            key.0,
            key.1.clone(),
            key.2.clone(),
        );
        self.waiting.remove(&due);
        self.quiet.until(finding, last + QUIET);
        Some(finding)
    }
}

fn took(f: &mut Finding, m: &Message) {
    if m.verb == Verb::Ack {
        f.affected.clients.insert(client_subject(&m.client));
        let own = m
            .server_addr
            .is_some_and(|addr| m.config.routers.contains(&addr) || m.config.dns.contains(&addr));
        if own || !m.config.routes.is_empty() {
            f.severity = Severity::Critical;
        }
    }
}

fn gives(f: &mut Finding, m: &Message) {
    for gateway in &m.config.routers {
        f.touch(Touch::Gateway(*gateway));
    }
}

fn advice(m: &Message) -> Vec<String> {
    match m.frame.eth_src {
        Some(mac) => vec![format!(
            "bridge fdb show | grep -i {mac}   # which port it is on"
        )],
        None => vec!["bridge fdb show".into()],
    }
}
