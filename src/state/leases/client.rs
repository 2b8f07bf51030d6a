//! What is known about each client: who it is, what it asked for, what it got.
//!
//! Bounded against senders that invent clients: those whom a server gave a lease are *confirmed*; the others are *tentative*, have a
//! room of their own, and no link-layer source fills more than its share of it. A flood never displaces a confirmed client.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::message::{ClientId, Config, Message, ServerId, Verb};
use super::quest::Quest;
use super::scope::ScopeId;
use crate::event::dhcp4::Dhcp4;
use crate::event::frame::Mac;
use crate::event::{Event, EventKind, Timestamp, WireText};

/// Clients with a lease: as many as leases.
const MAX_CONFIRMED: usize = 65_536;
/// Clients without: a quarter.
const MAX_TENTATIVE: usize = 16_384;
/// Tentative clients of one link-layer source: a hypervisor port has some, a flooding tool has thousands.
const MAX_PER_SOURCE: u32 = 64;
/// Exchanges remembered of one client.
const MAX_EXCHANGES: usize = 4;
/// Servers whose configuration is remembered of one client.
const MAX_CONFIGS: usize = 4;

/// Clients remembered of one interface: containers on one address are some, a machine that invents an identity at each boot has more than
/// any pool it empties needs to be told by.
const MAX_ON_MACHINE: usize = 64;

/// RFC 8415 §7.6: HOP_COUNT_LIMIT.
const MAX_RELAYS: usize = 8;

/// Messages with one transaction id.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub xid: u32,
    pub began: Timestamp,
    /// What the client asked last.
    pub verb: Verb,
    /// How often it sent that without an answer since, and the first time.
    pub tries: u32,
    pub since: Timestamp,
    /// Server and address of the last offer.
    pub offered: Option<(ServerId, IpAddr)>,
    /// Last answer of any server.
    pub answered: Option<Timestamp>,
}

/// What a client did, by message.
#[derive(Copy, Clone, Debug, Default)]
pub struct Counts {
    pub discovers: u64,
    pub offers: u64,
    pub requests: u64,
    pub acks: u64,
    pub naks: u64,
    pub declines: u64,
    pub releases: u64,
    pub informs: u64,
}

/// A client.
#[derive(Clone, Debug)]
pub struct Client {
    pub scope: ScopeId,
    pub id: ClientId,
    pub mac: Option<Mac>,
    /// It was seen sending from its own link-layer address on this link.
    pub on_link: bool,
    pub vendor_class: Option<WireText>,
    pub host_name: Option<WireText>,
    /// Option 77: which boot loader.
    pub user_class: Option<WireText>,
    /// DHCPv6: the enterprise number in front of the vendor class.
    pub enterprise: Option<u32>,
    /// Option 93: the architecture that a boot ROM names.
    pub architecture: Option<u16>,
    /// Option 55 or the option request option, in wire order.
    pub fingerprint: SmallVec<[u16; 16]>,
    pub circuit_id: Option<WireText>,
    pub remote_id: Option<WireText>,
    /// Relays that its last message passed, the one next to it first: DHCPv4's giaddr, DHCPv6's link addresses.
    pub relays: SmallVec<[IpAddr; 1]>,
    /// Option 61, or DUID and IAID, where it says more than [`Client::id`].
    pub identity: Option<ClientId>,
    /// It speaks DHCPv6.
    pub v6: bool,
    /// What it asked last, and for which address.
    pub asked: Option<(Verb, Option<IpAddr>)>,
    /// What it was answered last.
    pub got: Option<Verb>,
    pub first: Timestamp,
    pub last: Timestamp,
    pub counts: Counts,
    pub exchanges: SmallVec<[Exchange; 1]>,
    /// The address it holds, as far as seen.
    pub lease: Option<IpAddr>,
    /// The last refusal: what it held before, it must not use any more (RFC 2131 §3.1).
    pub refused: Option<Timestamp>,
    /// What it is after and has not got.
    pub quest: Option<Box<Quest>>,
    /// A RELEASE in its name, not followed by a lease yet: when, and of which address.
    pub gave_back: Option<(Timestamp, IpAddr)>,
    /// Configuration it was offered or given, by server, newest last.
    pub configs: SmallVec<[(ServerId, Config, Timestamp); 1]>,
    /// It asked for IPv6-only operation (option 108, RFC 8925) and was told to wait.
    pub v6_only: bool,
    confirmed: bool,
    source: Option<Mac>,
}

/// The clients, by scope.
#[derive(Clone, Default)]
pub struct Clients {
    known: HashMap<(ScopeId, ClientId), Client, RandomState>,
    tentative: VecDeque<(ScopeId, ClientId)>,
    confirmed: VecDeque<(ScopeId, ClientId)>,
    by_source: BTreeMap<Mac, u32>,
    /// The clients on one interface, newest last.
    machines: HashMap<ClientId, SmallVec<[(ScopeId, ClientId); 1]>, RandomState>,
    /// Clients that found no room.
    pub refused: u64,
}

impl Clients {
    /// The client of a message, created when a client speaks (or a server answers one we did not hear).
    pub fn learn(
        &mut self,
        scope: ScopeId,
        event: &Event,
        message: &Message,
    ) -> Option<(&mut Client, bool)> {
        let key = (scope, message.client.clone());
        let new = !self.known.contains_key(&key);
        if new {
            let source = message.frame.eth_src.filter(|_| message.is_direct());
            if let Some(mac) = source {
                if self.by_source.get(&mac).copied().unwrap_or(0) >= MAX_PER_SOURCE
                    && !message.verb.is_answer()
                {
                    self.refused += 1;
                    return None;
                }
                *self.by_source.entry(mac).or_insert(0) += 1;
            }
            if self.tentative.len() >= MAX_TENTATIVE {
                self.drop_tentative();
            }
            self.tentative.push_back(key.clone());
            if !message.v6 {
                let on = self.machines.entry(message.client.machine()).or_default();
                if on.len() == MAX_ON_MACHINE {
                    on.remove(0);
                }
                on.push(key.clone());
            }
            self.known
                .insert(key.clone(), Client::new(scope, message, event.at, source));
        }
        let client = self.known.get_mut(&key)?;
        client.hear(event, message);
        Some((client, new))
    }

    /// A server gave it a lease: it is real, and is kept before others.
    pub fn confirm(&mut self, scope: ScopeId, id: &ClientId) {
        let key = (scope, id.clone());
        let Some(client) = self.known.get_mut(&key) else {
            return;
        };
        if client.confirmed {
            return;
        }
        client.confirmed = true;
        let source = client.source.take();
        self.release_source(source);
        self.confirmed.push_back(key);
        if self.confirmed.len() > MAX_CONFIRMED
            && let Some(oldest) = self.confirmed.pop_front()
        {
            self.forget(&oldest);
        }
    }

    fn drop_tentative(&mut self) {
        while let Some(key) = self.tentative.pop_front() {
            let Some(client) = self.known.get(&key) else {
                continue;
            };
            if client.confirmed {
                continue; // it moved to the other room
            }
            let source = client.source;
            self.forget(&key);
            self.release_source(source);
            self.refused += 1;
            return;
        }
    }

    fn forget(&mut self, key: &(ScopeId, ClientId)) {
        self.known.remove(key);
        let machine = key.1.machine();
        if let Some(on) = self.machines.get_mut(&machine) {
            on.retain(|known| known != key);
            if on.is_empty() {
                self.machines.remove(&machine);
            }
        }
    }

    /// The client that spoke from this interface first heard last, under whatever identity.
    pub(super) fn newest_of(&self, machine: &ClientId) -> Option<&ClientId> {
        self.machines.get(machine)?.last().map(|(_, id)| id)
    }

    /// The clients of a scope on the same interface as this one, itself included, oldest first.
    pub fn on_machine(&self, scope: ScopeId, id: &ClientId) -> impl Iterator<Item = &Client> {
        self.machines
            .get(&id.machine())
            .into_iter()
            .flatten()
            .filter(move |(at, _)| *at == scope)
            .filter_map(|key| self.known.get(key))
    }

    fn release_source(&mut self, source: Option<Mac>) {
        if let Some(mac) = source
            && let Some(count) = self.by_source.get_mut(&mac)
        {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&mac);
            }
        }
    }

    /// One client.
    pub fn get(&self, scope: ScopeId, id: &ClientId) -> Option<&Client> {
        self.known.get(&(scope, id.clone()))
    }

    pub(super) fn get_mut(&mut self, scope: ScopeId, id: &ClientId) -> Option<&mut Client> {
        self.known.get_mut(&(scope, id.clone()))
    }

    /// Number of clients.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// All clients in no order: for whoever sorts by a key of theirs.
    pub fn unordered(&self) -> impl Iterator<Item = &Client> {
        self.known.values()
    }

    /// All clients in the order of their ids.
    pub fn sorted(&self) -> Vec<&Client> {
        let mut all: Vec<&Client> = self.known.values().collect();
        all.sort_unstable_by(|a, b| (&a.id, a.scope).cmp(&(&b.id, b.scope)));
        all
    }
}

impl Client {
    fn new(scope: ScopeId, message: &Message, at: Timestamp, source: Option<Mac>) -> Client {
        Client {
            scope,
            id: message.client.clone(),
            mac: message.client_mac,
            on_link: false,
            vendor_class: None,
            host_name: None,
            user_class: None,
            enterprise: None,
            architecture: None,
            fingerprint: SmallVec::new(),
            circuit_id: None,
            remote_id: None,
            relays: SmallVec::new(),
            identity: None,
            v6: message.v6,
            asked: None,
            got: None,
            first: at,
            last: at,
            counts: Counts::default(),
            exchanges: SmallVec::new(),
            lease: None,
            refused: None,
            quest: None,
            gave_back: None,
            configs: SmallVec::new(),
            v6_only: false,
            confirmed: false,
            source,
        }
    }

    /// Counts a message and learns who the client is.
    fn hear(&mut self, event: &Event, message: &Message) {
        self.last = self.last.max(event.at);
        self.mac = self.mac.or(message.client_mac);
        let counts = &mut self.counts;
        *match message.verb {
            Verb::Discover => &mut counts.discovers,
            Verb::Offer => &mut counts.offers,
            Verb::Select | Verb::Reboot | Verb::Renew | Verb::Rebind => &mut counts.requests,
            Verb::Ack => &mut counts.acks,
            Verb::Nak => &mut counts.naks,
            Verb::Decline => &mut counts.declines,
            Verb::Release => &mut counts.releases,
            Verb::Inform => &mut counts.informs,
            Verb::Other => return,
        } += 1;
        if message.verb.is_answer() {
            self.got = Some(message.verb);
            if let EventKind::Dhcp4(m) = &event.kind {
                self.v6_only |= m.ipv6_only_wait.is_some();
            }
            return;
        }
        self.asked = Some((message.verb, message.wanted));
        if message.identity.is_some() && message.identity.as_ref() != Some(&self.id) {
            self.identity.clone_from(&message.identity);
        }
        self.on_link |= message.is_direct() && message.frame.eth_src == self.mac;
        match &event.kind {
            EventKind::Dhcp4(m) => self.who(m),
            EventKind::Dhcp6(m) => {
                keep(&mut self.vendor_class, &m.vendor_class);
                keep(&mut self.host_name, &m.fqdn);
                self.enterprise = m.enterprise.or(self.enterprise);
                if !m.requested.is_empty() {
                    self.fingerprint = m.requested.iter().copied().take(255).collect();
                }
                self.relays = m
                    .relays
                    .iter()
                    .rev()
                    .take(MAX_RELAYS)
                    .map(|relay| IpAddr::V6(relay.link_address))
                    .collect();
                if let Some(relay) = m.relays.last() {
                    keep(&mut self.circuit_id, &relay.interface_id);
                    keep(&mut self.remote_id, &relay.remote_id);
                }
            }
            _ => {}
        }
    }

    fn who(&mut self, m: &Dhcp4) {
        keep(&mut self.vendor_class, &m.vendor_class);
        keep(&mut self.user_class, &m.user_class);
        self.architecture = m.architecture.or(self.architecture);
        keep(&mut self.host_name, &m.fqdn);
        keep(&mut self.host_name, &m.host_name);
        if !m.parameters.is_empty() {
            self.fingerprint = m
                .parameters
                .iter()
                .map(|code| u16::from(*code))
                .take(255)
                .collect();
        }
        self.relays = m
            .is_relayed()
            .then_some(IpAddr::V4(m.giaddr))
            .into_iter()
            .collect();
        if let Some(agent) = &m.relay_agent {
            keep(&mut self.circuit_id, &agent.circuit_id);
            keep(&mut self.remote_id, &agent.remote_id);
        }
    }

    /// The client asks: opens an exchange or counts another try of it. Returns how often it asked unanswered, and since when.
    pub(super) fn asks(&mut self, at: Timestamp, message: &Message) -> (u32, Timestamp) {
        let found = self.exchanges.iter_mut().find(|e| e.xid == message.xid);
        if let Some(exchange) = found {
            let answered = exchange.answered.is_some_and(|t| t >= exchange.since);
            if answered || !same_step(exchange.verb, message.verb) {
                exchange.tries = 0;
                exchange.since = at;
            }
            // Boot ROMs and simple clients use one transaction id for ever; a question behind an answer begins a new exchange.
            if answered && !matches!(message.verb, Verb::Select) {
                exchange.began = at;
            }
            exchange.verb = message.verb;
            exchange.tries = exchange.tries.saturating_add(1);
            return (exchange.tries, exchange.since);
        }
        if self.exchanges.len() == MAX_EXCHANGES {
            self.exchanges.remove(0);
        }
        self.exchanges.push(Exchange {
            xid: message.xid,
            began: at,
            verb: message.verb,
            tries: 1,
            since: at,
            offered: None,
            answered: None,
        });
        (1, at)
    }

    /// A server answers: returns the exchange it belongs to.
    pub(super) fn answered(&mut self, at: Timestamp, xid: u32) -> Option<&mut Exchange> {
        let exchange = self.exchanges.iter_mut().find(|e| e.xid == xid)?;
        exchange.answered = Some(at);
        Some(exchange)
    }

    /// Remembers what a server gives it; returns the server's former configuration for it.
    pub(super) fn configured(
        &mut self,
        at: Timestamp,
        server: &ServerId,
        config: &Config,
    ) -> Option<Config> {
        if let Some((_, known, seen)) = self.configs.iter_mut().find(|(id, ..)| id == server) {
            *seen = at;
            return Some(std::mem::replace(known, config.clone()));
        }
        if self.configs.len() == MAX_CONFIGS {
            self.configs.remove(0);
        }
        self.configs.push((server.clone(), config.clone(), at));
        None
    }
}

/// Renewing turns into rebinding without an answer in between; other steps follow answers.
fn same_step(a: Verb, b: Verb) -> bool {
    let renews = |v| matches!(v, Verb::Renew | Verb::Rebind);
    a == b || (renews(a) && renews(b))
}

fn keep(slot: &mut Option<WireText>, text: &Option<WireText>) {
    if text.is_some() && slot != text {
        slot.clone_from(text);
    }
}
