//! What is known about each server of a scope.

use std::collections::BTreeMap;
use std::net::IpAddr;

use smallvec::SmallVec;

use super::message::{Config, Message, ServerId, Verb};
use super::scope::ScopeId;
use crate::event::frame::Mac;
use crate::event::{Event, Locator, Timestamp};

/// Servers of one scope: a real one has two, a sender that invents them ends here.
const MAX_PER_SCOPE: usize = 256;
/// Servers of all scopes.
const MAX_SERVERS: usize = 4096;
/// Link-layer addresses kept of one server, newest last.
const MAX_MACS: usize = 4;

/// A server as its answers show it.
#[derive(Clone, Debug)]
pub struct Server {
    pub scope: ScopeId,
    pub id: ServerId,
    /// Address to show and join by.
    pub addr: Option<IpAddr>,
    /// Link-layer sources of its answers (of the relay's or router's port where it is not on the link).
    pub macs: SmallVec<[Mac; 1]>,
    /// How often its answers came again from a link-layer address that another one had followed.
    pub returns: u64,
    /// Its first answer.
    pub first: Timestamp,
    pub first_locator: Locator,
    /// Its last answer.
    pub last: Timestamp,
    /// Its last offer, and the IP source of an answer on the link that was not the identifier it names.
    pub last_offer: Option<Timestamp>,
    pub source: Option<IpAddr>,
    /// Answers to single stations: whoever sees those sees what it sends to one client.
    pub unicasts: u64,
    /// Offers with an unfinished checksum that were taken all the same.
    pub unfinished_taken: u64,
    pub offers: u64,
    pub acks: u64,
    pub naks: u64,
    /// Leases it holds now.
    pub leases: u64,
    /// Unicast renewals it confirmed for leases that were granted before any server was seen: it was here before us.
    pub old_renewals: u64,
    /// Refusals of clients that held another server's lease.
    pub foreign_naks: u64,
    /// What it handed out last.
    pub config: Config,
    pub lease_time: Option<u32>,
    /// Options in its last OFFER or ACK.
    pub options: usize,
    /// It only adds boot options (ProxyDHCP): no competitor.
    pub proxy: bool,
}

/// The servers, by scope.
#[derive(Clone, Default)]
pub struct Servers {
    known: BTreeMap<(ScopeId, ServerId), Server>,
    /// Servers that found no room.
    pub refused: u64,
}

impl Servers {
    /// Learns from an answer; returns whether the server is new. Answers that name nobody teach nothing.
    pub fn learn(&mut self, scope: ScopeId, event: &Event, message: &Message) -> Option<bool> {
        let id = message.server.clone()?;
        let key = (scope, id);
        let new = !self.known.contains_key(&key);
        if new && (self.known.len() >= MAX_SERVERS || self.of_scope(scope).count() >= MAX_PER_SCOPE)
        {
            self.refused += 1;
            return None;
        }
        let server = self.known.entry(key.clone()).or_insert_with(|| Server {
            scope,
            id: key.1,
            addr: message.server_addr,
            macs: SmallVec::new(),
            returns: 0,
            first: event.at,
            first_locator: event.locator,
            last: event.at,
            last_offer: None,
            source: None,
            unicasts: 0,
            unfinished_taken: 0,
            offers: 0,
            acks: 0,
            naks: 0,
            leases: 0,
            old_renewals: 0,
            foreign_naks: 0,
            config: Config::default(),
            lease_time: None,
            options: 0,
            proxy: message.proxy,
        });
        server.last = server.last.max(event.at);
        server.addr = message.server_addr.or(server.addr);
        if message.verb == Verb::Offer {
            server.last_offer = Some(event.at);
        }
        // DHCPv6 names servers by DUID, and answers through a relay come from the relay.
        if !message.v6 && message.is_direct() {
            let other = |ip: &IpAddr| message.server_addr.is_some_and(|named| named != *ip);
            server.source = message.frame.ip_src.filter(other);
        }
        let single = |mac: Mac| !mac.is_group();
        server.unicasts += u64::from(message.frame.eth_dst.is_some_and(single));
        server.proxy &= message.proxy;
        // Only offers tell the server's own port: answers to unicast renewals may come through a router, or through two by turns.
        let own = message.verb == Verb::Offer || server.macs.is_empty();
        if let Some(mac) = message.frame.eth_src.filter(|_| own)
            && server.macs.last() != Some(&mac)
        {
            server.returns += u64::from(server.macs.contains(&mac));
            server.macs.retain(|known| *known != mac);
            if server.macs.len() == MAX_MACS {
                server.macs.remove(0);
            }
            server.macs.push(mac);
        }
        match message.verb {
            Verb::Offer => server.offers += 1,
            Verb::Ack => server.acks += 1,
            Verb::Nak => server.naks += 1,
            _ => {}
        }
        if let Some(grant) = message.grants.first() {
            server.config = message.config.clone();
            server.lease_time = Some(grant.valid);
            server.options = message.options;
        }
        Some(new)
    }

    /// One server.
    pub fn get(&self, scope: ScopeId, id: &ServerId) -> Option<&Server> {
        self.known.get(&(scope, id.clone()))
    }

    /// One server, to change it.
    pub(super) fn get_mut(&mut self, scope: ScopeId, id: &ServerId) -> Option<&mut Server> {
        self.known.get_mut(&(scope, id.clone()))
    }

    /// Servers of a scope in the order of their ids.
    pub fn of_scope(&self, scope: ScopeId) -> impl Iterator<Item = &Server> {
        let from = (scope, ServerId::V4(IpAddr::from([0, 0, 0, 0])));
        self.known
            .range(from..)
            .take_while(move |((at, _), _)| *at == scope)
            .map(|(_, server)| server)
    }

    /// All servers.
    pub fn iter(&self) -> impl Iterator<Item = &Server> {
        self.known.values()
    }
}
