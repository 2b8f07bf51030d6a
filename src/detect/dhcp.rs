//! Detectors of the DHCP family, for DHCPv4 and DHCPv6 alike: one file for each kind of finding.
//!
//! They read the common form of a message and what it changed from `state::leases`; a packet that was seen at several places of one
//! host counts once. What they keep is bounded by [`watch::MAX_WATCHED`] entries each.

mod boot_servers;
mod boot_storm;
mod client_churn;
mod decline_loop;
mod duplicate_lease;
mod gateway_changed;
mod hostile_text;
mod identity_conflict;
mod known;
mod lease_expired;
mod lease_query;
mod malformed;
mod nak_storm;
mod names;
mod offers;
mod pool;
mod relay_spoofed;
mod release_spoofed;
mod request_storm;
mod rogue_server;
mod route_injection;
mod server_unresponsive;
mod starvation;
mod surge;
#[cfg(test)]
mod tests;
mod unserved;
mod watch;

use std::net::IpAddr;

use super::{Detector, Settings, Subject, Touch};
use crate::detect::Finding;
use crate::event::{Classes, Event, EventKind};
use crate::state::leases::Seen;
use crate::state::leases::message::{ClientId, Message, ServerId};
use crate::state::leases::scope::ScopeId;
use crate::state::{NetState, Observation};

/// What every detector here wants to see.
const DHCP: Classes = Classes::DHCP4.and(Classes::DHCP6);

/// Adds this family's detectors.
pub fn register(settings: &Settings, detectors: &mut Vec<Box<dyn Detector>>) {
    detectors.push(Box::new(rogue_server::RogueServer::new(settings)));
    detectors.push(Box::<starvation::Starvation>::default());
    detectors.push(Box::<pool::Pool>::default());
    detectors.push(Box::<server_unresponsive::ServerUnresponsive>::default());
    detectors.push(Box::<unserved::Unserved>::default());
    detectors.push(Box::<lease_expired::LeaseExpired>::default());
    detectors.push(Box::<nak_storm::NakStorm>::default());
    detectors.push(Box::<decline_loop::DeclineLoop>::default());
    detectors.push(Box::<duplicate_lease::DuplicateLease>::default());
    detectors.push(Box::<identity_conflict::IdentityConflict>::default());
    detectors.push(Box::<route_injection::RouteInjection>::default());
    detectors.push(Box::new(gateway_changed::GatewayChanged::new(settings)));
    detectors.push(Box::<client_churn::ClientChurn>::default());
    detectors.push(Box::<request_storm::RequestStorm>::default());
    detectors.push(Box::<release_spoofed::ReleaseSpoofed>::default());
    detectors.push(Box::new(relay_spoofed::RelaySpoofed::new(settings)));
    detectors.push(Box::<malformed::Malformed>::default());
    detectors.push(Box::<hostile_text::HostileText>::default());
    detectors.push(Box::<boot_storm::BootStorm>::default());
    detectors.push(Box::<names::Names>::default());
    detectors.push(Box::new(lease_query::LeaseQuery::new(settings)));
    detectors.push(Box::<boot_servers::BootServers>::default());
}

/// The DHCP message of an observation, unless it is another sight of one already counted.
fn heard<'a>(seen: &Observation<'_>, net: &'a NetState) -> Option<&'a Seen> {
    match seen.event.kind {
        EventKind::Dhcp4(_) | EventKind::Dhcp6(_) => net.leases.seen().filter(|seen| !seen.copy),
        _ => None,
    }
}

/// The same, unless the message was counted on the other side of its relay.
fn heard_once<'a>(seen: &Observation<'_>, net: &'a NetState) -> Option<&'a Seen> {
    heard(seen, net).filter(|seen| !seen.twin)
}

/// Whether this client takes or holds what no answer was seen of: a mirror of one direction, or a port to which answers are not flooded.
fn unseen(heard: &Seen, net: &NetState) -> bool {
    let client = net.leases.clients.get(heard.scope, &heard.message.client);
    client.is_some_and(|client| client.counts.offers + client.counts.acks + client.counts.naks == 0)
}

/// The client speaks from a port of the analysed host: whatever is sent to it is seen.
fn own(heard: &Seen, net: &NetState) -> bool {
    let m = &heard.message;
    let here = |mac| m.is_direct() && net.links.is_own(mac);
    m.frame.outgoing == Some(true) || m.frame.eth_src.is_some_and(here)
}

/// Answers to this client would be seen: it is here, it wants them broadcast, they go to a relay that is watched, or the capture shows
/// what servers send to single stations.
fn sees_answers(heard: &Seen, net: &NetState) -> bool {
    let reaches_us = heard.message.broadcast || !heard.message.is_direct();
    let mut servers = net.leases.servers.of_scope(heard.scope);
    own(heard, net) || servers.any(|server| reaches_us || server.unicasts > 0)
}

/// The interface on which an event was captured.
fn interface(event: &Event, net: &NetState) -> Option<Touch> {
    let name = net.sources.get(&event.source)?.interface.as_deref()?;
    Some(Touch::Interface(name.into()))
}

fn client_subject(client: &ClientId) -> Subject {
    Subject::Client(client.to_string().into())
}

/// Join keys of a message: its client, its server, its addresses, and where it was seen.
fn touch_all(finding: &mut Finding, event: &Event, message: &Message, net: &NetState) {
    touch_client(finding, message);
    if let Some(addr) = message.server_addr {
        finding.touch(Touch::Server(addr));
    }
    if let Some(touch) = interface(event, net) {
        finding.touch(touch);
    }
}

fn touch_client(finding: &mut Finding, message: &Message) {
    finding.touch(Touch::Client(message.client.to_string().into()));
    if let Some(mac) = message.client_mac {
        finding.touch(Touch::Mac(mac));
    }
}

/// A server's address: by what it said, or by what it is called.
fn server_addr(net: &NetState, scope: ScopeId, server: &ServerId) -> Option<IpAddr> {
    match server {
        ServerId::V4(addr) => Some(*addr),
        ServerId::V6(_) => net.leases.servers.get(scope, server)?.addr,
    }
}

/// The subject for a server: its address, else (DHCPv6, never heard) its DUID.
fn server_subject(net: &NetState, scope: ScopeId, server: &ServerId) -> Subject {
    match server_addr(net, scope, server) {
        Some(addr) => Subject::Server(addr),
        None => Subject::Client(server.to_string().into()),
    }
}

/// "3 clients", "1 client".
fn plural(n: u64, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

/// Join keys and subjects of a server.
fn touch_server(finding: &mut Finding, net: &NetState, scope: ScopeId, server: &ServerId) {
    if let Some(addr) = server_addr(net, scope, server) {
        finding.touch(Touch::Server(addr));
    }
    if let Some(known) = net.leases.servers.get(scope, server) {
        for mac in &known.macs {
            finding.touch(Touch::Mac(*mac));
        }
    }
}
