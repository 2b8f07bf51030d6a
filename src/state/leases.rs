//! Leases and who is behind them: clients, servers, scopes, exchanges, for DHCPv4 and DHCPv6 alike.
//!
//! Owns the model of what DHCP messages changed; judges nothing. A lease is what an ACK or REPLY says; only servers' messages create
//! leases, only their end, a RELEASE or a DECLINE removes them, so a flood of clients' messages cannot displace what it is judged by.

pub mod client;
pub mod identity;
pub mod message;
pub mod quest;
pub mod rows;
pub mod scope;
pub mod server;
mod talks;
#[cfg(test)]
pub mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::event::{Event, Prefix, Timestamp};
use client::Clients;
use message::{ClientId, Config, Grant, Message, ServerId, Verb};
use quest::{GIVEN_UP, Quest};
use scope::{Placed, ScopeId, Scopes};
use server::Servers;
use talks::Talks;

/// Leases held. A /16 of clients; beyond it the lease that ends first makes room.
const MAX_LEASES: usize = 65_536;

/// A hash that is the same in every run (law 13), for comparing contents; tables use seeded ones.
fn fixed_hash(value: &impl Hash) -> u64 {
    use std::hash::BuildHasher;
    foldhash::fast::FixedState::with_seed(0x6468_6370).hash_one(value)
}

/// Kinds of terms remembered: a network hands out a handful of lease times.
const MAX_TERMS: usize = 64;

/// What servers hand out: seconds until T1, T2 and the end.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub struct Term {
    pub t1: u32,
    pub t2: u32,
    pub valid: u32,
}

/// A lease of an address or a delegated prefix.
#[derive(Clone, Debug)]
pub struct Lease {
    pub client: ClientId,
    pub server: ServerId,
    pub granted: Timestamp,
    /// Last confirmation.
    pub renewed: Timestamp,
    /// When the client should turn to its server (T1), then to anyone (T2), and when it must stop using the address.
    pub t1: Timestamp,
    pub t2: Timestamp,
    pub until: Timestamp,
    /// We saw how it was granted; otherwise it is older than what we saw.
    pub seen_granted: bool,
}

/// What a message (or the end of a lease) changed.
#[derive(Clone, Debug)]
pub enum LeaseDelta {
    /// The message is another sight of a packet that was already counted.
    Duplicate,
    /// A server answered for the first time in this scope.
    ServerSeen { scope: ScopeId, server: ServerId },
    /// A client spoke for the first time in this scope.
    ClientSeen { scope: ScopeId, client: ClientId },
    /// A client asked; `tries` times since `since` without an answer.
    Asked {
        scope: ScopeId,
        client: ClientId,
        verb: Verb,
        tries: u32,
        since: Timestamp,
    },
    /// A server offered.
    Offered {
        scope: ScopeId,
        client: ClientId,
        server: ServerId,
        prefix: Prefix,
    },
    /// A new lease, or one of which we did not know.
    Granted {
        scope: ScopeId,
        client: ClientId,
        server: ServerId,
        prefix: Prefix,
    },
    /// The client's lease was prolonged.
    Renewed {
        scope: ScopeId,
        client: ClientId,
        server: ServerId,
        prefix: Prefix,
        /// When it had been confirmed before.
        before: Timestamp,
    },
    /// A client that holds a lease asked for one anew, and was served: it forgot what it had. Once for each exchange.
    Restarted {
        scope: ScopeId,
        client: ClientId,
        addr: IpAddr,
        /// It knew its address still (INIT-REBOOT).
        remembered: bool,
    },
    /// The same server gives the same client another configuration than before.
    Reconfigured {
        scope: ScopeId,
        client: ClientId,
        server: ServerId,
        before: Box<Config>,
    },
    /// An address was given to a client although another one still held it until `until`.
    Collision {
        scope: ScopeId,
        prefix: Prefix,
        holder: ClientId,
        /// The former lease's length and what was left of it.
        length: Duration,
        left: Duration,
    },
    /// A client gave its lease back; `held` when it had it.
    Released {
        scope: ScopeId,
        client: ClientId,
        addr: Option<IpAddr>,
        held: bool,
    },
    /// A client refused an address.
    Declined {
        scope: ScopeId,
        client: ClientId,
        addr: Option<IpAddr>,
    },
    /// A client was refused.
    Naked {
        scope: ScopeId,
        client: ClientId,
        server: Option<ServerId>,
    },
    /// A lease ended without being renewed. Stamped with the deadline's own time.
    Expired {
        scope: ScopeId,
        prefix: Prefix,
        lease: Box<Lease>,
    },
}

/// The message at hand, in common form.
#[derive(Clone, Debug)]
pub struct Seen {
    pub scope: ScopeId,
    pub message: Message,
    /// Another sight of a packet that was already counted.
    pub copy: bool,
    /// It was heard on the other side of a relay as well: what is counted there must not be counted here again.
    pub twin: bool,
}

/// Where a message belongs.
struct Way {
    scope: ScopeId,
    /// Its question was asked in another VLAN.
    elsewhere: bool,
    /// An answer on its way from a server to a relay: the clients' side was not heard.
    from_server: bool,
}

/// The tables.
#[derive(Clone, Default)]
pub struct Leases {
    pub scopes: Scopes,
    talks: Talks,
    pub servers: Servers,
    pub clients: Clients,
    leases: HashMap<(ScopeId, Prefix), Lease, RandomState>,
    ends: BTreeSet<(Timestamp, ScopeId, Prefix)>,
    /// Each term with the first address that had it.
    terms: BTreeMap<Term, Prefix>,
    /// Scope of the relay behind which a client got its lease: it renews and releases it by unicast, past the relay. As many as leases.
    homes: HashMap<ClientId, ScopeId, RandomState>,
    seen: Option<Box<Seen>>,
}

impl Leases {
    /// Applies an event.
    pub fn apply(&mut self, event: &Event, out: &mut Vec<LeaseDelta>) {
        self.seen = None;
        let Some(mut message) = Message::of(event) else {
            return;
        };
        let Placed { scope, copy, twin } = self.scopes.place(event, &message);
        let heard_in = scope;
        self.identify(scope, event, &mut message);
        let Way {
            scope,
            elsewhere,
            from_server,
        } = self.way(scope, event, &message);
        let scope = self.home(&message).unwrap_or(scope);
        if message.verb.is_question() {
            self.talks.ask(&message, scope, event.at);
        }
        if copy {
            out.push(LeaseDelta::Duplicate);
        } else {
            let serves = if elsewhere { heard_in } else { scope };
            self.count(scope, serves, event, &message, out);
            self.seek(scope, event, &message, elsewhere, from_server);
        }
        self.seen = Some(Box::new(Seen {
            scope,
            message,
            copy,
            twin,
        }));
    }

    /// Under which identity a message belongs to its client, where it does not repeat the identifier itself.
    fn identify(&self, scope: ScopeId, event: &Event, m: &mut Message) {
        if m.v6 {
            // RFC 8415 §16.3: a client drops what names another one.
            if m.verb.is_answer()
                && self.talks.of(m, event.at).is_none()
                && let Some(talk) = self.talks.at_station(m, event.at)
            {
                m.client = talk.client.clone();
                m.misnamed = true;
            }
            return;
        }
        if m.client.is_identified() || m.client.octets().is_empty() {
            return;
        }
        if let Some(talk) = self.talks.of(m, event.at) {
            m.client = talk.client.clone();
            return;
        }
        let named = m.grants.first().map(|grant| grant.prefix);
        if let Some(prefix) = named.or(m.wanted.map(Prefix::host))
            && let Some(lease) = self.leases.get(&(scope, prefix))
            && lease.client.machine() == m.client
        {
            m.client = lease.client.clone();
        } else if m.verb.is_answer()
            && let Some(known) = self.clients.newest_of(&m.client)
        {
            m.client = known.clone();
        }
    }

    /// Where an answer belongs: to the scope of its question, though it came in another VLAN or from a relay that left its own address in it.
    fn way(&self, scope: ScopeId, event: &Event, m: &Message) -> Way {
        let mut way = Way {
            scope,
            elsewhere: false,
            from_server: false,
        };
        if !m.verb.is_answer() {
            return way;
        }
        let Some(talk) = self.talks.of(m, event.at) else {
            return way;
        };
        let vlan = |asked: &&ScopeId| self.scopes.differ_by_vlan(**asked, scope);
        if talk.scopes.contains(&scope) {
            // A port and its VLAN interface: the place that heard it first is the client's.
            way.scope = talk
                .scopes
                .iter()
                .find(vlan)
                .copied()
                .unwrap_or(scope)
                .min(scope);
        } else if let Some(asked) = talk.scopes.iter().find(vlan) {
            way.scope = *asked;
            way.elsewhere = true;
        } else if m.to_client
            && let Some(asked) = talk.scopes.first()
            && self.scopes.differ_by_relay(*asked, scope)
            && self.scopes.relay(*asked).is_none()
        {
            way.scope = *asked;
        }
        let relayed = |asked: &ScopeId| self.scopes.relay(*asked).is_some();
        way.from_server = talk.scopes.iter().all(relayed);
        way
    }

    /// What a message means for what its client is after.
    fn seek(
        &mut self,
        scope: ScopeId,
        event: &Event,
        m: &Message,
        elsewhere: bool,
        from_server: bool,
    ) {
        let Some(client) = self.clients.get_mut(scope, &m.client) else {
            return;
        };
        if m.verb == Verb::Select
            && let Some(quest) = &client.quest
            && quest.offers.unfinished > 0
            && let Some(server) = &quest.offers.server
            && let Some(server) = self.servers.get_mut(scope, server)
        {
            server.unfinished_taken += 1;
        }
        match m.verb {
            verb if verb.is_question() => {
                let over = |quest: &mut Box<Quest>| event.at.since(quest.last) > GIVEN_UP;
                client.quest.take_if(over);
                client
                    .quest
                    .get_or_insert_with(|| Box::new(Quest::new(event, m)))
                    .asks(event, m);
            }
            Verb::Offer if !m.proxy => {
                if let Some(quest) = &mut client.quest {
                    quest.offered(event, m, elsewhere, from_server);
                }
            }
            Verb::Nak => {
                if let Some(quest) = &mut client.quest {
                    quest.refused(event, m);
                }
            }
            Verb::Ack => {
                client.quest = None;
                client.gave_back = None;
            }
            Verb::Release => {
                client.quest = None;
                client.gave_back = m.wanted.map(|addr| (event.at, addr));
            }
            _ => {}
        }
    }

    /// The terms of leases granted so far, each with the first address or prefix that had it.
    pub fn terms(&self) -> impl Iterator<Item = (Term, Prefix)> {
        self.terms.iter().map(|(term, prefix)| (*term, *prefix))
    }

    /// The DHCP message that was applied last, in common form.
    pub fn seen(&self) -> Option<&Seen> {
        self.seen.as_deref()
    }

    /// All leases held, the one that ends first first.
    pub fn held(&self) -> impl Iterator<Item = (ScopeId, Prefix, &Lease)> {
        let ends = self.ends.iter();
        ends.filter_map(|(_, scope, prefix)| {
            Some((*scope, *prefix, self.leases.get(&(*scope, *prefix))?))
        })
    }

    /// The lease of an address or prefix.
    pub fn lease(&self, scope: ScopeId, prefix: Prefix) -> Option<&Lease> {
        self.leases.get(&(scope, prefix))
    }

    /// The scope of a lease that was granted through a relay, for what its client and server say about it past the relay (RFC 2131 §4.3.2:
    /// renewals are unicast, and their answers too).
    fn home(&self, m: &Message) -> Option<ScopeId> {
        if !m.is_direct() || m.v6 || self.homes.is_empty() {
            return None;
        }
        let addr = match m.verb {
            Verb::Renew | Verb::Release => m.wanted.map(Prefix::host),
            Verb::Ack => m.grants.first().map(|grant| grant.prefix),
            _ => None,
        }?;
        let scope = *self.homes.get(&m.client)?;
        let lease = self.leases.get(&(scope, addr))?;
        (lease.client == m.client).then_some(scope)
    }

    /// Whether a message passes by the relay through which its lease was granted.
    pub fn past_relay(&self, m: &Message) -> bool {
        self.home(m).is_some()
    }

    /// Counts a message of a client's scope; `serves` is the network in which its server, if it is one's, was heard.
    fn count(
        &mut self,
        scope: ScopeId,
        serves: ScopeId,
        event: &Event,
        m: &Message,
        out: &mut Vec<LeaseDelta>,
    ) {
        if m.verb == Verb::Other {
            return;
        }
        if m.verb.is_answer()
            && self.servers.learn(serves, event, m) == Some(true)
            && let Some(server) = m.server.clone()
        {
            out.push(LeaseDelta::ServerSeen {
                scope: serves,
                server,
            });
        }
        let Some((client, new)) = self.clients.learn(scope, event, m) else {
            return;
        };
        if new && !m.verb.is_answer() {
            out.push(LeaseDelta::ClientSeen {
                scope,
                client: m.client.clone(),
            });
        }
        if m.verb.is_question() {
            let (tries, since) = client.asks(event.at, m);
            out.push(LeaseDelta::Asked {
                scope,
                client: m.client.clone(),
                verb: m.verb,
                tries,
                since,
            });
            return;
        }
        match m.verb {
            Verb::Offer | Verb::Ack => self.given(scope, event, m, out),
            Verb::Nak => {
                client.answered(event.at, m.xid);
                client.refused = Some(event.at);
                let held = client.lease.map(Prefix::host);
                let holder = held.and_then(|prefix| self.leases.get(&(scope, prefix)));
                if let (Some(lease), Some(server)) = (holder, &m.server)
                    && lease.server != *server
                    && let Some(server) = self.servers.get_mut(scope, server)
                {
                    server.foreign_naks += 1;
                }
                out.push(LeaseDelta::Naked {
                    scope,
                    client: m.client.clone(),
                    server: m.server.clone(),
                });
            }
            Verb::Release | Verb::Decline => self.returned(scope, m, out),
            _ => {}
        }
    }

    /// An OFFER or ACK, ADVERTISE or REPLY.
    fn given(&mut self, scope: ScopeId, event: &Event, m: &Message, out: &mut Vec<LeaseDelta>) {
        let (Some(client), Some(server)) =
            (self.clients.get_mut(scope, &m.client), m.server.clone())
        else {
            return;
        };
        let asked = client.answered(event.at, m.xid).map(|exchange| {
            if m.verb == Verb::Offer
                && let Some(grant) = m.grants.first()
            {
                exchange.offered = Some((server.clone(), grant.prefix.addr()));
            }
            (exchange.verb, exchange.began)
        });
        if m.grants.is_empty() || m.proxy {
            return;
        }
        if m.verb == Verb::Ack
            && let Some((verb @ (Verb::Discover | Verb::Select | Verb::Reboot), began)) = asked
            && let Some(addr) = client.lease
            // Containers may share one link-layer address under client ids of their own; each gets another address.
            && let Some(again) = m.grants.iter().find(|grant| grant.prefix.addr() == addr)
            && let Some(held) = self.leases.get(&(scope, again.prefix))
            && held.client == m.client
            // Confirmed by this very exchange (a repeated ACK, a second server's), or taken away by a refusal: no restart.
            && held.renewed < began
            && client.refused.is_none_or(|refused| refused < held.renewed)
        {
            out.push(LeaseDelta::Restarted {
                scope,
                client: m.client.clone(),
                addr,
                remembered: verb == Verb::Reboot,
            });
        }
        let before = client.configured(event.at, &server, &m.config);
        if m.verb == Verb::Ack
            && let Some(before) = before
            && before != m.config
        {
            out.push(LeaseDelta::Reconfigured {
                scope,
                client: m.client.clone(),
                server: server.clone(),
                before: Box::new(before),
            });
        }
        for grant in &m.grants {
            if m.verb == Verb::Offer {
                out.push(LeaseDelta::Offered {
                    scope,
                    client: m.client.clone(),
                    server: server.clone(),
                    prefix: grant.prefix,
                });
            } else if grant.valid > 0 {
                let asked = asked.map(|(verb, _)| verb);
                self.grant(scope, event.at, m, &server, grant, asked, out);
            } else {
                self.remove(scope, grant.prefix);
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // one call site; the parts of one fact
    fn grant(
        &mut self,
        scope: ScopeId,
        at: Timestamp,
        m: &Message,
        server: &ServerId,
        grant: &Grant,
        asked: Option<Verb>,
        out: &mut Vec<LeaseDelta>,
    ) {
        let after = |seconds: u32| {
            if seconds == u32::MAX {
                Timestamp::MAX
            } else {
                at + Duration::from_secs(u64::from(seconds))
            }
        };
        let term = Term {
            t1: grant.t1,
            t2: grant.t2,
            valid: grant.valid,
        };
        if self.terms.len() < MAX_TERMS {
            self.terms.entry(term).or_insert(grant.prefix);
        }
        let renewal = matches!(asked, Some(Verb::Renew | Verb::Rebind | Verb::Reboot));
        let relayed = !m.is_direct() || self.homes.get(&m.client) == Some(&scope);
        let old = self.remove(scope, grant.prefix);
        let mut lease = Lease {
            client: m.client.clone(),
            server: server.clone(),
            granted: at,
            renewed: at,
            t1: after(grant.t1),
            t2: after(grant.t2),
            until: after(grant.valid),
            seen_granted: !renewal,
        };
        match old {
            Some(old) if old.client == m.client => {
                lease.granted = old.granted;
                lease.seen_granted = old.seen_granted;
                out.push(LeaseDelta::Renewed {
                    scope,
                    client: m.client.clone(),
                    server: server.clone(),
                    prefix: grant.prefix,
                    before: old.renewed,
                });
            }
            old => {
                if let Some(old) = old.filter(|old| old.until > at) {
                    out.push(LeaseDelta::Collision {
                        scope,
                        prefix: grant.prefix,
                        holder: old.client,
                        length: old.until.since(old.renewed),
                        left: old.until.since(at),
                    });
                }
                out.push(LeaseDelta::Granted {
                    scope,
                    client: m.client.clone(),
                    server: server.clone(),
                    prefix: grant.prefix,
                });
            }
        }
        if let Some(known) = self.servers.get_mut(scope, server) {
            known.leases += 1;
            // Only the client's own unicast proves that it had chosen this server before.
            if asked == Some(Verb::Renew) && !lease.seen_granted {
                known.old_renewals += 1;
            }
        }
        if self.leases.len() >= MAX_LEASES
            && let Some(&(_, scope, prefix)) = self.ends.first()
        {
            self.remove(scope, prefix);
        }
        self.ends.insert((lease.until, scope, grant.prefix));
        if relayed && self.homes.len() < MAX_LEASES {
            self.homes.insert(m.client.clone(), scope);
        }
        self.leases.insert((scope, grant.prefix), lease);
        self.clients.confirm(scope, &m.client);
        if let Some(client) = self.clients.get_mut(scope, &m.client) {
            client.lease = Some(grant.prefix.addr());
        }
    }

    /// A RELEASE or DECLINE.
    fn returned(&mut self, scope: ScopeId, m: &Message, out: &mut Vec<LeaseDelta>) {
        let mut held = false;
        for prefix in &m.named_prefixes {
            let owned = self.leases.get(&(scope, *prefix));
            if owned.is_none_or(|lease| lease.client != m.client) {
                continue;
            }
            held = true;
            self.remove(scope, *prefix);
            if let Some(client) = self.clients.get_mut(scope, &m.client)
                && client.lease == Some(prefix.addr())
            {
                client.lease = None;
            }
        }
        let client = m.client.clone();
        let addr = m.wanted;
        out.push(if m.verb == Verb::Release {
            LeaseDelta::Released {
                scope,
                client,
                addr,
                held,
            }
        } else {
            LeaseDelta::Declined {
                scope,
                client,
                addr,
            }
        });
    }

    fn remove(&mut self, scope: ScopeId, prefix: Prefix) -> Option<Lease> {
        let lease = self.leases.remove(&(scope, prefix))?;
        if self.homes.get(&lease.client) == Some(&scope) {
            self.homes.remove(&lease.client);
        }
        self.ends.remove(&(lease.until, scope, prefix));
        if let Some(server) = self.servers.get_mut(scope, &lease.server) {
            server.leases = server.leases.saturating_sub(1);
        }
        Some(lease)
    }

    /// Earliest deadline: the end of a lease.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let (at, ..) = self.ends.first()?;
        (*at < Timestamp::MAX).then_some(*at)
    }

    /// Fires deadlines.
    pub fn expire(&mut self, now: Timestamp, out: &mut Vec<LeaseDelta>) {
        self.seen = None;
        while let Some(&(at, scope, prefix)) = self.ends.first()
            && at <= now
            && at < Timestamp::MAX
        {
            let Some(lease) = self.remove(scope, prefix) else {
                self.ends.remove(&(at, scope, prefix));
                continue;
            };
            if let Some(client) = self.clients.get_mut(scope, &lease.client)
                && client.lease == Some(prefix.addr())
            {
                client.lease = None;
            }
            out.push(LeaseDelta::Expired {
                scope,
                prefix,
                lease: Box::new(lease),
            });
        }
    }

    /// The lease of an address, or of the delegated prefix that begins with it.
    fn held_at(&self, scope: ScopeId, addr: IpAddr) -> Option<(Prefix, &Lease)> {
        let longest = Prefix::host(addr).len();
        (1..=longest).rev().find_map(|len| {
            let prefix = Prefix::new(addr, len);
            let lease = self.lease(scope, prefix);
            lease
                .filter(|_| prefix.addr() == addr)
                .map(|lease| (prefix, lease))
        })
    }
}
