//! `dhcp.server-unresponsive`: a server that used to answer does not answer any more.
//!
//! A detector of absence. A missing answer may be the capture's fault, so the clients' own retransmissions are the proof: a client that
//! was answered does not repeat its message. And there must be a server that is known to answer here: it did so before, or a client
//! that holds its lease turns to it by name. Any answer of that server since, or a loss in the capture, takes the suspicion back.

use std::collections::BTreeMap;
use std::time::Duration;

use super::watch::Watched;
use super::{DHCP, client_subject, heard, plural, server_addr, server_subject, touch_all};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Reason, Severity};
use crate::event::loss::GapKind;
use crate::event::{Classes, EventKind, Locator, Timestamp};
use crate::state::leases::message::{ClientId, Message, ServerId, Verb};
use crate::state::leases::scope::ScopeId;
use crate::state::leases::{LeaseDelta, Seen};
use crate::state::{NetState, Observation};

/// Transmissions of one client without an answer: RFC 2131 §4.1 has the second after 4 s, udhcpc sends 3 in 6 s, dhclient 3 in 4 s.
const TRIES: u32 = 3;
/// … spread over at least this long: the first back-off of RFC 2131 §4.1. A busy server answers within it.
const SPAN: Duration = Duration::from_secs(4);
/// A client that holds a lease, or was just offered one, waits for nothing that takes time: dnsmasq's conflict check of 3 s comes before
/// an OFFER only. Where it asks briskly (dhclient renews each second), a fourth try this late proves it, so that short outages show.
const BRISK_TRIES: u32 = 4;
const BRISK_SPAN: Duration = Duration::from_millis(2500);
/// A server may refuse one client by silence (filters, unknown class). Strangers that only broadcast prove an outage from this many
/// tries of one, or when a second client waits too (knowledge D8); a client that was served before proves it alone.
const STRANGER_TRIES: u32 = 5;
/// Unicast renewals may be lost where the server is well: by a firewall between, for they do not pass the relay. Where the server is not on
/// the link, and never answered one, what a client asks of everybody, from T2 on, decides: so many requests, over more time than an answer
/// takes (Kea's conflict checks: half a second).
const TO_ALL: u32 = 2;
const TO_ALL_SPAN: Duration = Duration::from_secs(1);
/// An answer to a repeated question that comes so late is none that a busy server gives: dnsmasq's conflict check takes 3 s, Kea's half a
/// second; REN_TIMEOUT and REB_TIMEOUT are 10 s (RFC 8415 §7.6).
const LATE: Duration = Duration::from_secs(8);
/// A server that is there answers a renewal within this time: there is no conflict check in it.
const AT_ONCE: Duration = Duration::from_secs(1);
/// A client that is silent for longer than RFC 2131 §4.1's longest back-off (64 s) and once more has given up.
const GIVEN_UP: Duration = Duration::from_secs(130);
/// Outages of one server that are closer than this are one finding with several occurrences.
const SAME_OUTAGE: Duration = Duration::from_secs(600);
/// A server answered "lately": within a day, as long as leases usually last (knowledge G6).
const LATELY: Duration = Duration::from_secs(86_400);

/// A client that waits for an answer.
#[derive(Clone, Default)]
struct Waiting {
    since: Timestamp,
    last: Timestamp,
    tries: u32,
    discovers: u32,
    xid: u32,
    /// What it asked last.
    verb: Option<Verb>,
    /// Those of them that were not unicast, and the first of these.
    to_all: u32,
    to_all_since: Timestamp,
    /// The server it asks by name.
    server: Option<ServerId>,
    first: Option<Locator>,
}

/// How a server answers.
#[derive(Clone, Default)]
struct Heard {
    /// It answered a unicast renewal: the way to it is open.
    open: bool,
    /// Its last answer to anybody, and the last one before the present burst: what waited for a server is answered all at once.
    last: Option<Timestamp>,
    before: Option<Timestamp>,
}

impl Heard {
    /// Its last answer before those of this moment.
    fn before(&self, now: Timestamp) -> Option<Timestamp> {
        match self.last {
            Some(last) if now.since(last) <= AT_ONCE => self.before,
            last => last,
        }
    }
}

/// Behind relays one server serves many scopes, and its outage is one; on the link an address is the scope's own (tenants reuse them).
fn outage_key(scope: ScopeId, m: &Message, server: &ServerId) -> (Option<ScopeId>, ServerId) {
    (m.is_direct().then_some(scope), server.clone())
}

#[derive(Clone)]
struct Outage {
    key: FindingKey,
    open: bool,
    last: Timestamp,
}

/// The detector.
#[derive(Clone)]
pub struct ServerUnresponsive {
    waiting: Watched<(ScopeId, ClientId), Waiting>,
    /// What is known of each server's way of answering.
    heard: Watched<(ScopeId, ServerId), Heard>,
    outages: BTreeMap<(Option<ScopeId>, ServerId), Outage>,
    /// End of the last loss: what was asked before it may have been answered in it.
    lossy_until: Timestamp,
}

impl Default for ServerUnresponsive {
    fn default() -> ServerUnresponsive {
        ServerUnresponsive {
            waiting: Watched::new(GIVEN_UP),
            heard: Watched::new(LATELY),
            outages: BTreeMap::new(),
            lossy_until: Timestamp::MIN,
        }
    }
}

impl Detector for ServerUnresponsive {
    fn name(&self) -> &'static str {
        "dhcp.server-unresponsive"
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
        let Some(heard) = heard(seen, net) else {
            return;
        };
        let m = &heard.message;
        let who = (heard.scope, m.client.clone());
        if m.verb.is_answer() {
            let asked = self.waiting.remove(&who);
            if let Some(server) = &m.server {
                if let Some(asked) = &asked {
                    self.late(seen, heard, server, asked, net, board);
                }
                if let Some(known) = self.heard.at((heard.scope, server.clone()), seen.event.at) {
                    known.open |= asked
                        .as_ref()
                        .is_some_and(|asked| asked.tries > 0 && asked.to_all == 0);
                    known.before = known.before(seen.event.at);
                    known.last = Some(seen.event.at);
                }
                let key = outage_key(heard.scope, m, server);
                self.answers(seen, m, asked.as_ref(), key, board);
            }
            return;
        }
        if m.flawed || !m.verb.is_question() {
            return; // a server drops a broken message in silence, as it should
        }
        let client = net.leases.clients.get(heard.scope, &m.client);
        let renews = matches!(m.verb, Verb::Renew | Verb::Rebind);
        let gave_back = client.and_then(|client| client.gave_back);
        if renews && gave_back.is_some_and(|(_, addr)| Some(addr) == m.wanted) {
            return; // the server has no such lease any more, and need not answer: `dhcp.release-spoofed`
        }
        let Some(waiting) = self.waiting.at(who, seen.event.at) else {
            return;
        };
        // Since when it asks without an answer, whatever the transaction: some clients begin a new one each few tries.
        let again = waiting.xid == m.xid || m.waits || super::sees_answers(heard, net);
        if waiting.tries == 0 || seen.event.at.since(waiting.last) > GIVEN_UP || !again {
            *waiting = Waiting {
                since: seen.event.at,
                first: Some(seen.event.locator),
                ..Waiting::default()
            };
        }
        // Where no server (or not the one it names) was ever heard, perhaps none can be (a mirror of one direction), unless it asks from here.
        let visible = super::own(heard, net)
            || match &m.server {
                Some(named) => net.leases.servers.get(heard.scope, named).is_some(),
                None => net.leases.servers.of_scope(heard.scope).next().is_some(),
            };
        // There a client's own steps tell what it was answered: an offer before it takes one, a lease before it begins to renew it.
        let progress = match m.verb {
            Verb::Renew => !m.waits,
            Verb::Select => waiting.verb != Some(Verb::Select),
            _ => false,
        };
        if !visible && progress {
            *waiting = Waiting {
                since: seen.event.at,
                first: Some(seen.event.locator),
                server: waiting.server.take(),
                ..Waiting::default()
            };
        }
        waiting.xid = m.xid;
        waiting.discovers += u32::from(m.verb == Verb::Discover);
        waiting.verb = Some(m.verb);
        waiting.tries = waiting.tries.saturating_add(1);
        waiting.last = seen.event.at;
        // DHCPv6 renews by multicast.
        if m.v6 || m.verb != Verb::Renew {
            if waiting.to_all == 0 {
                waiting.to_all_since = seen.event.at;
            }
            waiting.to_all = waiting.to_all.saturating_add(1);
        }
        let sure =
            waiting.to_all >= TO_ALL && seen.event.at.since(waiting.to_all_since) >= TO_ALL_SPAN;
        if matches!(m.verb, Verb::Renew | Verb::Select) {
            waiting.server = m.server.clone().or(waiting.server.take());
        }
        // Then only repetitions of one transaction are repetitions.
        let same = seen.changes.leases.iter().find_map(|delta| match delta {
            LeaseDelta::Asked { tries, since, .. } => Some((*tries, *since)),
            _ => None,
        });
        let (tries, since) = match same {
            Some(same) if !visible => (same.0.min(waiting.tries), same.1.max(waiting.since)),
            _ => (waiting.tries, waiting.since),
        };
        let span = seen.event.at.since(since);
        let brisk = m.verb != Verb::Discover && tries >= BRISK_TRIES && span >= BRISK_SPAN;
        if (tries >= TRIES && span >= SPAN || brisk) && since > self.lossy_until {
            let named = waiting.server.clone();
            let served = net
                .leases
                .clients
                .get(heard.scope, &m.client)
                .is_some_and(|client| client.counts.acks > 0);
            if named.is_some() || served || tries >= STRANGER_TRIES || self.others_wait(seen, heard)
            {
                self.conclude(seen, heard, since, named, sure, net, board);
            }
        } else if self.joins(seen, heard, net, board) {
            // counted as one more client of an outage that is already known
        }
    }
}

impl ServerUnresponsive {
    /// Whether a second client of the scope repeats itself.
    fn others_wait(&mut self, seen: &Observation<'_>, heard: &Seen) -> bool {
        self.waiting.iter_mut().any(|((scope, client), waiting)| {
            *scope == heard.scope
                && *client != heard.message.client
                && waiting.tries >= 2
                && seen.event.at.since(waiting.last) <= GIVEN_UP
        })
    }

    /// A client waited too long: whose fault is it?
    #[allow(clippy::too_many_arguments)] // one call site; the parts of one fact
    fn conclude(
        &mut self,
        seen: &Observation<'_>,
        heard: &Seen,
        since: Timestamp,
        named: Option<ServerId>,
        sure: bool,
        net: &NetState,
        board: &mut Board,
    ) {
        let scope = heard.scope;
        let now = seen.event.at;
        let mut servers: Vec<ServerId> = Vec::new();
        match named {
            // It is named by a client that holds its lease: it used to answer.
            Some(server) => servers.push(server),
            // Every server that used to answer in this scope must be silent.
            None => {
                for server in net.leases.servers.of_scope(scope) {
                    if server.proxy || now.since(server.last) > LATELY {
                        continue;
                    }
                    servers.push(server.id.clone());
                }
            }
        }
        servers.retain(|id| !answered_since(net, scope, id, since));
        if servers.is_empty() || self.pool_is_empty(seen, scope, net, board) {
            return;
        }
        // If another server of the scope answered since, the client would have it; then the fault is at the client or its address.
        let other_answers =
            net.leases.servers.of_scope(scope).any(|server| {
                !server.proxy && server.last >= since && !servers.contains(&server.id)
            });
        if other_answers && matches!(heard.message.verb, Verb::Discover | Verb::Rebind) {
            return;
        }
        let past_relay = !heard.message.is_direct() || net.leases.past_relay(&heard.message);
        let crowd = !past_relay && self.others_wait(seen, heard);
        for server in servers.into_iter().take(4) {
            // A server that was heard here without a relay is on the link, where nothing stands between.
            let here = !past_relay && net.leases.servers.get(scope, &server).is_some();
            let sure = sure
                || here
                || crowd
                || self
                    .heard
                    .get_mut(&(scope, server.clone()))
                    .is_some_and(|known| known.open);
            self.silent(seen, scope, &server, &heard.message, sure, net, board);
        }
    }

    /// Silence towards new clients only, right behind a run on the pool: `dhcp.pool-exhausted` says it better.
    fn pool_is_empty(
        &self,
        seen: &Observation<'_>,
        scope: ScopeId,
        net: &NetState,
        board: &Board,
    ) -> bool {
        let addrs: Vec<_> = net
            .leases
            .servers
            .of_scope(scope)
            .filter_map(|server| server.addr)
            .collect();
        let renewing = seen.changes.leases.iter().any(|delta| {
            matches!(
                delta,
                LeaseDelta::Asked {
                    verb: Verb::Renew | Verb::Rebind | Verb::Select,
                    ..
                }
            )
        });
        !renewing
            && board.of_kind(Kind::DhcpPoolExhausted).any(|(_, finding)| {
                finding.ended.is_none()
                    && finding.touches.iter().any(|touch| {
                        matches!(touch, crate::detect::Touch::Server(a) if addrs.contains(a))
                    })
            })
    }

    #[allow(clippy::too_many_arguments)] // one call site; the parts of one fact
    fn silent(
        &mut self,
        seen: &Observation<'_>,
        scope: ScopeId,
        server: &ServerId,
        m: &Message,
        sure: bool,
        net: &NetState,
        board: &mut Board,
    ) {
        let at = seen.event.at;
        let discovers = self
            .waiting
            .get_mut(&(scope, m.client.clone()))
            .map_or(0, |waiting| waiting.discovers);
        // All that wait for it, oldest first.
        let mut begin = at;
        let mut first = seen.event.locator;
        let mut clients = Vec::new();
        for ((in_scope, client), waiting) in self.waiting.iter_mut() {
            let its = waiting.server.as_ref().is_none_or(|named| named == server);
            let recent = at.since(waiting.last) <= GIVEN_UP;
            if *in_scope != scope || !its || !recent || waiting.since <= self.lossy_until {
                continue;
            }
            if waiting.since < begin {
                begin = waiting.since;
                first = waiting.first.unwrap_or(first);
            }
            if waiting.tries >= 2 {
                clients.push(client_subject(client));
            }
        }
        let key = outage_key(scope, m, server);
        let known = self
            .outages
            .get(&key)
            .filter(|outage| at.since(outage.last) <= SAME_OUTAGE)
            .map(|outage| (outage.key, outage.open));
        let finding = match known {
            Some((finding, true)) => {
                board.update(finding, |f| f.support(seen.event));
                finding
            }
            Some((finding, false)) => {
                board.update(finding, |f| {
                    f.again_at(begin);
                    f.evidence.add(first);
                    f.support(seen.event);
                });
                finding
            }
            None => {
                let subject = server_subject(net, scope, server);
                let mut f =
                    Finding::at(Kind::DhcpServerUnresponsive, Severity::Info, subject, begin);
                f.evidence.add(first);
                f.support(seen.event);
                f.advice = advice(m);
                super::touch_server(&mut f, net, scope, server);
                board.raise(f)
            }
        };
        if self.outages.len() >= super::watch::MAX_WATCHED {
            self.outages
                .retain(|_, outage| outage.open || at.since(outage.last) <= SAME_OUTAGE);
        }
        if self.outages.len() < super::watch::MAX_WATCHED || known.is_some() {
            self.outages.insert(
                key,
                Outage {
                    key: finding,
                    open: true,
                    last: at,
                },
            );
        }
        let name = server_addr(net, scope, server)
            .map_or_else(|| server.to_string(), |addr| addr.to_string());
        // What answers under this identifier speaks from another address: that unicast to the identifier fails says nothing of the server.
        let known = net.leases.servers.get(scope, server);
        let elsewhere = known
            .and_then(|server| server.source)
            .filter(|_| discovers < TRIES);
        board.update(finding, |f| {
            touch_all(f, seen.event, m, net);
            f.affected.clients.extend(clients);
            if sure {
                f.severity = f.severity.max(Severity::Warning);
            }
            f.broken.subject = f.severity > Severity::Info;
            if let Some(addr) = m.wanted {
                f.touch(crate::detect::Touch::Address(addr));
            }
            if let Some(source) = elsewhere {
                f.kind = Kind::DhcpRenewalUnanswered;
                f.reason = Some(Reason::Identity);
                f.touch(crate::detect::Touch::Server(source));
                f.explain = format!(
                    "Renewals to server identifier {name} were not answered for {:.1} s. The server that named itself so speaks from {source}.",
                    at.since(begin).as_secs_f64(),
                );
                return;
            }
            f.kind = Kind::DhcpServerUnresponsive;
            f.explain = format!(
                "DHCP server {name} has not answered for {:.1} s; requests of {} are repeated.",
                at.since(begin).as_secs_f64(),
                plural(f.affected.clients.len() as u64, "client"),
            );
        });
    }

    /// A request of a client that has not waited long, during a known outage, belongs to it.
    fn joins(
        &mut self,
        seen: &Observation<'_>,
        heard: &Seen,
        net: &NetState,
        board: &mut Board,
    ) -> bool {
        let Some(tries) = seen.changes.leases.iter().find_map(|delta| match delta {
            LeaseDelta::Asked { tries, .. } => Some(*tries),
            _ => None,
        }) else {
            return false;
        };
        if tries < 2 {
            return false;
        }
        let mut joined = false;
        for ((scope, server), outage) in &mut self.outages {
            let here = scope.is_none_or(|scope| scope == heard.scope);
            if !here || scope.is_none() == heard.message.is_direct() || !outage.open {
                continue;
            }
            if heard
                .message
                .server
                .as_ref()
                .is_some_and(|named| named != server)
            {
                continue;
            }
            outage.last = seen.event.at;
            joined = true;
            board.update(outage.key, |f| {
                f.support(seen.event);
                touch_all(f, seen.event, &heard.message, net);
                f.affected
                    .clients
                    .insert(client_subject(&heard.message.client));
            });
        }
        joined
    }

    /// The server is heard again: its outage is over, or there was none.
    fn answers(
        &mut self,
        seen: &Observation<'_>,
        m: &Message,
        asked: Option<&Waiting>,
        key: (Option<ScopeId>, ServerId),
        board: &mut Board,
    ) {
        let Some(outage) = self.outages.get_mut(&key) else {
            return;
        };
        if !outage.open {
            return;
        }
        let at = seen.event.at;
        outage.open = false;
        outage.last = at;
        // Unicast failed for long, and the first thing it asked of everybody was answered at once: the server was there all the time.
        let unicast = asked.filter(|asked| {
            asked.to_all == 1
                && asked.tries > TRIES
                && at.since(asked.last) <= AT_ONCE
                && asked.verb.is_some()
        });
        let one = client_subject(&m.client);
        board.update(outage.key, |f| {
            f.support(seen.event);
            f.recovered(at);
            f.broken.subject = false;
            f.ended = Some(at);
            let alone = f.affected.clients.iter().all(|client| *client == one);
            if let Some(asked) = unicast.filter(|_| alone) {
                let server = f.subjects.first().map(server_name).unwrap_or_default();
                f.kind = Kind::DhcpRenewalUnanswered;
                f.explain = format!(
                    "{} of client {} to {server} went unanswered for {:.1} s; the first thing it asked of everybody ({}) was answered after {:.0} ms.",
                    plural(u64::from(asked.tries - 1), "unicast renewal"),
                    m.client,
                    asked.last.since(asked.since).as_secs_f64(),
                    asked.verb.map(|verb| verb.name(m.v6)).unwrap_or_default(),
                    at.since(asked.last).as_secs_f64() * 1000.0,
                );
                return;
            }
            let began = f.occurrences.last().map_or(f.first, |o| o.at);
            let after = at.since(began).as_secs_f64();
            let last = asked.and_then(|asked| Some((asked.last, asked.verb?)));
            let told = match last.filter(|_| f.kind == Kind::DhcpRenewalUnanswered) {
                Some((last, verb)) => format!(
                    " A {} was answered within {:.0} ms.",
                    verb.name(m.v6),
                    (at.since(last).as_secs_f64() * 1000.0).ceil()
                ),
                None => format!(" It answered again after {after:.1} s."),
            };
            f.explain.push_str(&told);
        });
    }

    /// An answer that comes so late, to a question that was repeated meanwhile, shows a silence that too few tries had shown before.
    fn late(
        &mut self,
        seen: &Observation<'_>,
        heard: &Seen,
        server: &ServerId,
        asked: &Waiting,
        net: &NetState,
        board: &mut Board,
    ) {
        let at = seen.event.at;
        let m = &heard.message;
        let key = outage_key(heard.scope, m, server);
        let open = self.outages.get(&key).is_some_and(|outage| outage.open);
        let before = self
            .heard
            .get_mut(&(heard.scope, server.clone()))
            .and_then(|known| known.before(at));
        let named = asked.server.as_ref().is_none_or(|named| named == server);
        // It was there before (it answered, or somebody holds its lease), and answered nobody meanwhile: a server that comes up for the first
        // time was not silent.
        let silent = match before {
            Some(before) => before < asked.since,
            None => asked.server.is_some(),
        };
        if open || !silent || !named || asked.tries < 2 || asked.since <= self.lossy_until {
            return;
        }
        // Its last question was not answered at once either: a question that came by a second relay as well is answered once, and waits on.
        if at.since(asked.since) < LATE || at.since(asked.last) <= AT_ONCE {
            return;
        }
        if let Some(waiting) = self.waiting.at((heard.scope, m.client.clone()), at) {
            *waiting = asked.clone();
        }
        self.silent(seen, heard.scope, server, m, true, net, board);
        self.waiting.remove(&(heard.scope, m.client.clone()));
    }
}

/// A server's name without its type.
fn server_name(subject: &crate::detect::Subject) -> String {
    let text = subject.to_string();
    text.split_once(':')
        .map_or(text.clone(), |(_, name)| name.to_owned())
}

/// Whether a server was heard since then, here or (as the same machine) in another scope.
fn answered_since(net: &NetState, scope: ScopeId, id: &ServerId, since: Timestamp) -> bool {
    let here = net.leases.servers.get(scope, id);
    net.leases.servers.iter().any(|server| {
        let same = server.id == *id
            && (server.scope == scope
                || here.is_none_or(|here| {
                    here.addr == server.addr
                        && here.macs.iter().any(|mac| server.macs.contains(mac))
                }));
        same && server.last >= since
    })
}

fn advice(m: &Message) -> Vec<String> {
    let port = if m.v6 { 547 } else { 67 };
    let mut advice = vec![format!("ss -lunp 'sport = :{port}'   # on the server")];
    if let Some(addr) = m.server_addr {
        advice.push(format!("ping -c 3 {addr}"));
    }
    advice.push(format!("tcpdump -ni any udp port {port}"));
    advice
}
