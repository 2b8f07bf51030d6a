//! Clients that ask and are not served, by what the packets show of it: `dhcp.offer-ignored`, `dhcp.relay-deaf`, `dhcp.no-server`,
//! `dhcp.client-refused`.
//!
//! The state is kept in `state::leases::quest`, whatever the client's back-off; here it is judged at each question. A server that answers
//! nobody is `dhcp.server-unresponsive`. Whoever may have been answered where the capture does not look is not told to be unanswered.

use std::collections::BTreeSet;
use std::time::Duration;

use super::offers::{self, Ignored};
use super::watch::{Quiet, Watched};
use super::{
    DHCP, client_subject, heard_once, own, plural, sees_answers, server_subject, touch_all,
};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Reason, Severity, Subject, Touch};
use crate::event::loss::GapKind;
use crate::event::{Classes, Event, EventKind, Timestamp};
use crate::state::leases::Seen;
use crate::state::leases::client::Client;
use crate::state::leases::message::{ClientId, ServerId, Verb};
use crate::state::leases::quest::Quest;
use crate::state::leases::scope::ScopeId;
use crate::state::leases::server::Server;
use crate::state::{NetState, Observation};

/// Questions without any answer on this host's own port: RFC 2131 §4.1 has four within 28 s, RFC 8415 §15 within 7 s …
const ALONE: u32 = 4;
/// … over this long: twice the forward delay of a bridge port that has just come up (IEEE 802.1D, 15 s), which forwards nothing meanwhile.
const ALONE_FOR: Duration = Duration::from_secs(30);
/// Questions of one client that a server leaves unanswered while it answers others, and over how long: two rounds of back-off more than a
/// busy server needs.
const REFUSED: u32 = 4;
const REFUSED_FOR: Duration = Duration::from_secs(15);
/// … in two pauses between its questions at least: in one, an outage may have ended.
const PASSED_OVER: u32 = 2;
/// REQUESTs for offers that are never confirmed: one may be lost, a second go to a server whose offer lapsed.
const UNCONFIRMED: u32 = 3;
/// Clients on the link, or networks behind relays, that take no offer of one server: then it is no client's or relay's own trouble.
const CROWD: usize = 3;
/// Clients behind one relay that get nothing: the second cannot have the first one's trouble.
const DEAF: usize = 2;
/// Silent for longer than dhclient's pause between two rounds (300 s): it gave up.
const QUIET: Duration = Duration::from_secs(330);
/// Clients named of one finding; more are counted as affected.
const MAX_NAMED: usize = 16;

/// What is told of one client.
#[derive(Clone, Default)]
struct Told {
    key: Option<FindingKey>,
    kind: Option<Kind>,
    /// Since when it asks, when it asked last, and how often the server answered others between two questions of it.
    since: Timestamp,
    asked: Timestamp,
    passed: u32,
}

/// What is known of one relay.
#[derive(Clone, Default)]
struct Relay {
    /// When somebody behind it took an offer last.
    took: Option<Timestamp>,
    deaf: BTreeSet<ClientId>,
    key: Option<FindingKey>,
}

/// Clients that take none of one server's offers: from a number on the server (or what lies before it) is the subject, not each client.
#[derive(Clone, Default)]
struct Crowd {
    clients: BTreeSet<(ScopeId, ClientId)>,
    /// What was told of single ones and of relays.
    single: BTreeSet<FindingKey>,
    key: Option<FindingKey>,
}

/// The detector.
#[derive(Clone)]
pub struct Unserved {
    clients: Watched<(ScopeId, ClientId), Told>,
    relays: Watched<ScopeId, Relay>,
    /// The finding of a server's refused clients.
    refused: Watched<ServerId, Option<FindingKey>>,
    /// Clients that take none of a server's offers.
    crowds: Watched<ServerId, Crowd>,
    quiet: Quiet,
    lossy_until: Timestamp,
}

impl Default for Unserved {
    fn default() -> Unserved {
        Unserved {
            clients: Watched::new(QUIET),
            relays: Watched::new(QUIET),
            refused: Watched::new(QUIET),
            crowds: Watched::new(QUIET),
            quiet: Quiet::default(),
            lossy_until: Timestamp::MIN,
        }
    }
}

impl Detector for Unserved {
    fn name(&self) -> &'static str {
        "dhcp.unserved"
    }

    fn wants(&self) -> Classes {
        DHCP.and(Classes::GAP)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        if let EventKind::Gap(gap) = &seen.event.kind {
            if matches!(
                gap.kind,
                GapKind::CaptureDrops | GapKind::DamagedInput | GapKind::ClockStep
            ) {
                self.lossy_until = self.lossy_until.max(gap.to);
            }
            return;
        }
        let Some(heard) = heard_once(seen, net) else {
            return;
        };
        let m = &heard.message;
        if matches!(m.verb, Verb::Select | Verb::Ack) && !m.is_direct() {
            self.took(heard.scope, seen.event, board);
        }
        match m.verb {
            Verb::Ack | Verb::Release => self.over(heard, seen.event, &[], board),
            Verb::Select => self.over(heard, seen.event, &[Kind::DhcpOfferIgnored], board),
            Verb::Offer if !m.proxy => {
                self.over(heard, seen.event, &[Kind::DhcpNoServer], board);
            }
            Verb::Nak => self.over(
                heard,
                seen.event,
                &[Kind::DhcpNoServer, Kind::DhcpClientRefused],
                board,
            ),
            _ => {}
        }
        if m.verb.is_question()
            && !m.flawed
            && let Some(client) = net.leases.clients.get(heard.scope, &m.client)
            && let Some(quest) = &client.quest
        {
            self.judge(seen.event, heard, client, quest, net, board);
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.quiet.next()
    }

    fn expire(&mut self, now: Timestamp, _net: &NetState, board: &mut Board) {
        self.quiet.expire(now, board);
    }
}

impl Unserved {
    fn judge(
        &mut self,
        event: &Event,
        heard: &Seen,
        client: &Client,
        quest: &Quest,
        net: &NetState,
        board: &mut Board,
    ) {
        if let Some(ignored) = offers::ignored(heard, client, quest, net) {
            return self.ignores(event, heard, quest, &ignored, net, board);
        }
        if quest.since <= self.lossy_until {
            return;
        }
        let scope = heard.scope;
        let unconfirmed = quest.selects >= UNCONFIRMED && quest.refusals == 0;
        if unconfirmed && quest.verb == Verb::Discover {
            let servers = net
                .leases
                .servers
                .of_scope(scope)
                .filter(|server| !server.proxy);
            if let Some(server) = servers.max_by_key(|server| server.last) {
                self.refuses(event, heard, quest, server, net, board);
            }
            return;
        }
        if quest.offers.heard > 0 || quest.refusals > 0 {
            return;
        }
        let servers = net
            .leases
            .servers
            .of_scope(scope)
            .filter(|server| !server.proxy);
        if let Some(server) = servers.max_by_key(|server| server.last) {
            let passed = self.passed_over(event, heard, quest, server);
            if quest.asked >= REFUSED
                && quest.span() >= REFUSED_FOR
                && passed >= PASSED_OVER
                && !holds(quest)
                && sees_answers(heard, net)
            {
                self.refuses(event, heard, quest, server, net, board);
            }
        } else if quest.asked >= ALONE && quest.span() >= ALONE_FOR && own(heard, net) {
            self.alone(event, heard, quest, net, board);
        }
    }

    /// Counts the times that the server answered others between two questions of this client. One such time is also the end of an outage.
    fn passed_over(&mut self, event: &Event, heard: &Seen, quest: &Quest, server: &Server) -> u32 {
        let who = (heard.scope, heard.message.client.clone());
        let Some(told) = self.clients.at(who, event.at) else {
            return 0;
        };
        if told.since != quest.since {
            (told.since, told.passed) = (quest.since, 0);
        } else if server.last > told.asked {
            told.passed += 1;
        }
        told.asked = event.at;
        told.passed
    }

    /// The client takes no offer: its own trouble, or that of the relay before it.
    fn ignores(
        &mut self,
        event: &Event,
        heard: &Seen,
        quest: &Quest,
        ignored: &Ignored,
        net: &NetState,
        board: &mut Board,
    ) {
        let m = &heard.message;
        let scope = heard.scope;
        if self.crowd(event, heard, quest, ignored, net, board) {
            return;
        }
        if let Some(giaddr) = m.relay
            && let Some(relay) = self.relays.at(scope, event.at)
            && relay.took.is_none_or(|took| took < quest.since)
        {
            if relay.deaf.len() < super::watch::MAX_WATCHED {
                relay.deaf.insert(m.client.clone());
            }
            if relay.deaf.len() >= DEAF {
                for client in &relay.deaf {
                    if let Some(told) = self.clients.remove(&(scope, client.clone()))
                        && let Some(single) = told.key
                    {
                        board.retract(single);
                    }
                }
                let key = match relay.key.filter(|key| board.get(*key).is_some()) {
                    Some(key) => {
                        board.update(key, |f| f.support(event));
                        key
                    }
                    None => {
                        let mut f = Finding::at(
                            Kind::DhcpRelayDeaf,
                            Severity::Warning,
                            Subject::Address(giaddr),
                            quest.since,
                        );
                        for (_, locator) in &quest.frames {
                            f.evidence.add(*locator);
                        }
                        f.last = event.at;
                        let key = board.raise(f);
                        relay.key = Some(key);
                        key
                    }
                };
                self.quiet.until(key, event.at + QUIET);
                if let Some(server) = &quest.offers.server
                    && let Some(crowd) = self.crowds.get_mut(server)
                {
                    crowd.single.insert(key);
                }
                let clients = relay.deaf.len() as u64;
                let offered: u64 = relay
                    .deaf
                    .iter()
                    .filter_map(|client| net.leases.clients.get(scope, client)?.quest.as_ref())
                    .map(|quest| u64::from(quest.offers.heard))
                    .sum();
                board.update(key, |f| {
                    touch_all(f, event, m, net);
                    f.touch(Touch::Address(giaddr));
                    f.also(client_subject(&m.client));
                    f.affected.clients.insert(client_subject(&m.client));
                    f.reason = Some(ignored.reason);
                    f.broken.subject = true;
                    f.count = clients;
                    f.explain = format!(
                        "Relay {giaddr} passes on the questions of {}; {} for them and not one was taken, although they ask again and again{}.",
                        plural(clients, "client"),
                        if offered == 1 { "1 offer was made".into() } else { format!("{offered} offers were made") },
                        ignored.why,
                    );
                    if f.advice.is_empty() {
                        f.advice = vec![
                            format!("tcpdump -ni any 'udp port 67 and host {giaddr}'   # on the relay: do the answers arrive?"),
                            "nft list ruleset | grep -nE '6[78]|drop|reject'   # on the relay".into(),
                        ];
                    }
                });
                return;
            }
        }
        let kind = Kind::DhcpOfferIgnored;
        let Some(key) = self.tell(event, heard, quest, kind, quest.left, board) else {
            return;
        };
        if let Some(server) = &quest.offers.server
            && let Some(crowd) = self.crowds.get_mut(server)
            && crowd.single.len() < super::watch::MAX_WATCHED
        {
            crowd.single.insert(key);
        }
        board.update(key, |f| {
            touch_all(f, event, m, net);
            super::known::explain(f, heard, event, net);
            if let Some(server) = &quest.offers.server {
                f.also(server_subject(net, scope, server));
                super::touch_server(f, net, scope, server);
            }
            if let Some(relay) = m.relay {
                f.touch(Touch::Address(relay));
            }
            f.reason = Some(ignored.reason);
            f.explain.clone_from(&ignored.explain);
            if f.advice.is_empty() {
                f.advice.clone_from(&ignored.advice);
            }
        });
    }

    /// Counts a client among those that take no offer of its server; tells them as one when they are many.
    fn crowd(
        &mut self,
        event: &Event,
        heard: &Seen,
        quest: &Quest,
        ignored: &Ignored,
        net: &NetState,
        board: &mut Board,
    ) -> bool {
        let m = &heard.message;
        let Some(server) = &quest.offers.server else {
            return false;
        };
        let Some(crowd) = self.crowds.at(server.clone(), event.at) else {
            return false;
        };
        if crowd.key.is_some_and(|key| board.get(key).is_none()) {
            *crowd = Crowd::default();
        }
        if crowd.clients.len() < super::watch::MAX_WATCHED {
            crowd.clients.insert((heard.scope, m.client.clone()));
        }
        // Sorted by scope: one network's clients stand together.
        let mut networks = 0;
        let mut last = None;
        for (scope, _) in &crowd.clients {
            networks += usize::from(last.replace(*scope) != Some(*scope));
            if networks >= CROWD {
                break;
            }
        }
        let many = networks >= CROWD || (m.is_direct() && crowd.clients.len() >= CROWD);
        if crowd.key.is_none() && !many {
            return false;
        }
        let mut first = quest.since;
        for single in std::mem::take(&mut crowd.single) {
            if let Some(told) = board.get(single) {
                first = first.min(told.first);
            }
            board.retract(single);
        }
        let key = crowd.key.unwrap_or_else(|| {
            let subject = server_subject(net, heard.scope, server);
            let mut f = Finding::at(Kind::DhcpOfferIgnored, Severity::Warning, subject, first);
            for (_, locator) in &quest.frames {
                f.evidence.add(*locator);
            }
            f.broken.subject = true;
            f.advice.clone_from(&ignored.advice);
            board.raise(f)
        });
        crowd.key = Some(key);
        self.quiet.until(key, event.at + QUIET);
        let clients = crowd.clients.len() as u64;
        board.update(key, |f| {
            // They gave up, and ask in vain again: the same trouble.
            if f.ended.is_some() {
                f.again_at(event.at);
            }
            f.support(event);
            touch_all(f, event, m, net);
            super::touch_server(f, net, heard.scope, server);
            if f.affected.clients.len() < super::watch::MAX_WATCHED {
                f.affected.clients.insert(client_subject(&m.client));
            }
            f.count = clients;
            if f.reason.is_none_or(|reason| reason == ignored.reason) {
                f.reason = Some(ignored.reason);
            } else {
                f.reason = Some(Reason::Unknown);
            }
            f.explain = format!(
                "{} were offered addresses by server {} and take none, although they ask again and again; the last of them, {}, asked {} times in {:.0} s.",
                plural(clients, "client"),
                m.server_addr
                    .or_else(|| super::server_addr(net, heard.scope, server))
                    .map_or_else(|| server.to_string(), |addr| addr.to_string()),
                m.client,
                quest.asked,
                quest.span().as_secs_f64(),
            );
        });
        true
    }

    /// A server serves others and leaves this client without an answer.
    fn refuses(
        &mut self,
        event: &Event,
        heard: &Seen,
        quest: &Quest,
        server: &Server,
        net: &NetState,
        board: &mut Board,
    ) {
        let m = &heard.message;
        let addr = server.addr;
        let empty = |f: &Finding| {
            f.ended.is_none()
                && f.touches
                    .iter()
                    .any(|touch| matches!(touch, Touch::Server(a) if Some(*a) == addr))
        };
        let told = [Kind::DhcpPoolExhausted, Kind::DhcpStarvation];
        if told
            .iter()
            .any(|kind| board.of_kind(*kind).any(|(_, f)| empty(f)))
        {
            return;
        }
        let of_scope = self.refused.at(server.id.clone(), event.at);
        let common = of_scope
            .as_deref()
            .copied()
            .flatten()
            .filter(|key| board.get(*key).is_some_and(|f| f.ended.is_none()));
        let kind = Kind::DhcpClientRefused;
        let key = match common {
            Some(key) => {
                if let Some(told) = self.clients.at((heard.scope, m.client.clone()), event.at) {
                    told.key = Some(key);
                    told.kind = Some(kind);
                }
                self.quiet.until(key, event.at + QUIET);
                board.update(key, |f| f.support(event));
                key
            }
            None => {
                let Some(key) = self.tell(event, heard, quest, kind, quest.asked, board) else {
                    return;
                };
                if let Some(slot) = self.refused.at(server.id.clone(), event.at) {
                    *slot = Some(key);
                }
                key
            }
        };
        let name = addr.map_or_else(|| server.id.to_string(), |addr| addr.to_string());
        let step = quest.verb.name(m.v6);
        board.update(key, |f| {
            touch_all(f, event, m, net);
            super::touch_server(f, net, heard.scope, &server.id);
            if f.subjects.len() < MAX_NAMED {
                f.also(client_subject(&m.client));
            }
            f.also(server_subject(net, heard.scope, &server.id));
            f.affected.clients.insert(client_subject(&m.client));
            let seconds = quest.span().as_secs_f64();
            f.explain = if quest.offers.heard > 0 || quest.selects >= UNCONFIRMED {
                format!(
                    "Server {name} answers the {} of client {} and never its {} ({} in {seconds:.0} s).",
                    Verb::Discover.name(m.v6),
                    m.client,
                    Verb::Select.name(m.v6),
                    plural(u64::from(quest.selects), "request"),
                )
            } else {
                format!(
                    "Client {} sent {} in {seconds:.0} s (last: {step}) and got no answer, while server {name} answered others.",
                    m.client,
                    plural(u64::from(quest.asked), "question"),
                )
            };
            if let Some(sender) = quest.sender {
                f.reason = Some(Reason::Identity);
                f.explain.push_str(&format!(
                    " Its frames come from {sender}, not from the link-layer address it names: switches and servers that compare the two drop them."
                ));
            }
            if f.advice.is_empty() {
                f.advice = vec![
                    format!("journalctl on the DHCP server for {}   # filter, class, host reservation, no free address", m.client),
                    format!("tcpdump -nvei any 'udp port 67 or udp port 547' | grep -i {}", m.client),
                ];
            }
        });
    }

    /// Nobody answers, and nobody ever did.
    fn alone(
        &mut self,
        event: &Event,
        heard: &Seen,
        quest: &Quest,
        net: &NetState,
        board: &mut Board,
    ) {
        let m = &heard.message;
        let Some(key) = self.tell(event, heard, quest, Kind::DhcpNoServer, quest.asked, board)
        else {
            return;
        };
        let promised = m.v6.then(|| offers::promised(event, m, net)).flatten();
        let addressed = !m.v6 && has_address(heard, net);
        board.update(key, |f| {
            touch_all(f, event, m, net);
            super::known::explain(f, heard, event, net);
            let quiet = addressed || (m.v6 && promised.is_none());
            f.severity = if quiet { Severity::Info } else { Severity::Warning };
            f.broken.subject = !quiet;
            f.explain = format!(
                "Client {} on this host's own port sent {} in {:.0} s; nothing answered, and no server was heard on that network.",
                m.client,
                plural(u64::from(quest.asked), Verb::Discover.name(m.v6)),
                quest.span().as_secs_f64(),
            );
            if let Some(router) = promised {
                f.explain.push_str(&format!(
                    " Router {router} advertises that addresses come from DHCPv6 (M flag)."
                ));
                f.also(Subject::Router(router.into()));
            }
            if f.advice.is_empty() {
                let port = if m.v6 { 547 } else { 67 };
                f.advice = vec![
                    "bridge vlan show   # and the switch port: is it in the VLAN of the server or relay?".into(),
                    format!("tcpdump -nei any udp port {port}"),
                ];
            }
        });
    }

    /// Raises a client's finding of this kind, or counts on in it.
    fn tell(
        &mut self,
        event: &Event,
        heard: &Seen,
        quest: &Quest,
        kind: Kind,
        count: u32,
        board: &mut Board,
    ) -> Option<FindingKey> {
        let m = &heard.message;
        let told = self.clients.at((heard.scope, m.client.clone()), event.at)?;
        let open = |key: &FindingKey| board.get(*key).is_some_and(|f| f.ended.is_none());
        let known = told.key.filter(|_| told.kind == Some(kind)).filter(open);
        let key = match known {
            Some(key) => {
                board.update(key, |f| {
                    f.support(event);
                    f.count = f.count.max(u64::from(count));
                });
                key
            }
            None => {
                let subject = client_subject(&m.client);
                let mut f = Finding::at(kind, Severity::Warning, subject, quest.since);
                for (_, locator) in &quest.frames {
                    f.evidence.add(*locator);
                }
                f.last = event.at;
                f.count = u64::from(count);
                f.broken.subject = true;
                f.affected.clients.insert(client_subject(&m.client));
                board.raise(f)
            }
        };
        told.key = Some(key);
        told.kind = Some(kind);
        self.quiet.until(key, event.at + QUIET);
        Some(key)
    }

    /// What was told of this client is over, if it is of these kinds (all, if none is named).
    fn over(&mut self, heard: &Seen, event: &Event, kinds: &[Kind], board: &mut Board) {
        let who = (heard.scope, heard.message.client.clone());
        let Some(told) = self.clients.get_mut(&who) else {
            return;
        };
        if !kinds.is_empty() && !told.kind.is_some_and(|kind| kinds.contains(&kind)) {
            return;
        }
        if let Some(key) = told.key.take() {
            end(key, event, board);
        }
    }

    /// Somebody behind the relay took an offer: answers reach it.
    fn took(&mut self, scope: ScopeId, event: &Event, board: &mut Board) {
        let Some(relay) = self.relays.at(scope, event.at) else {
            return;
        };
        relay.took = Some(event.at);
        relay.deaf.clear();
        if let Some(key) = relay.key.take() {
            end(key, event, board);
        }
    }
}

fn end(key: FindingKey, event: &Event, board: &mut Board) {
    board.update(key, |f| {
        f.support(event);
        f.recovered(event.at);
        f.broken.subject = false;
        f.ended = Some(event.at);
    });
}

/// It holds a lease and wants to keep it: `dhcp.renewal-unanswered` and `dhcp.server-unresponsive` judge that.
fn holds(quest: &Quest) -> bool {
    quest.renewals + quest.rebinds > 0
}

/// The port it asks from has an IPv4 address besides.
fn has_address(heard: &Seen, net: &NetState) -> bool {
    let Some(mac) = heard.message.frame.eth_src else {
        return false;
    };
    let mut ports = net.links.iter().filter(|link| link.mac == Some(mac));
    ports.any(|link| {
        let mut on = net.addresses.on(link.ifindex);
        on.any(|(addr, _)| matches!(addr, std::net::IpAddr::V4(a) if !a.is_link_local()))
    })
}
