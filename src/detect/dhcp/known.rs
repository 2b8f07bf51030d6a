//! Known explanations of odd but explicable DHCP clients: attached to findings, so that nobody has to look them up at night.

use std::net::IpAddr;

use crate::detect::{Finding, Touch};
use crate::event::frame::Mac;
use crate::event::{Event, EventKind};
use crate::state::NetState;
use crate::state::leases::Seen;

/// Interfaces that container networking makes: a DHCP client of the host has no business on them.
const CONTAINER: [&str; 9] = [
    "cali",
    "veth",
    "cni",
    "lxc",
    "flannel",
    "vxlan.calico",
    "docker",
    "br-",
    "nodelocaldns",
];
/// KubeVirt's in-pod server leases for 999 days and more.
const KUBEVIRT_LEASE: u32 = 999 * 86_400;
/// Option 108, IPv6-Only Preferred (RFC 8925).
const V6_ONLY: u16 = 108;

/// Adds what is known about this client and server to a finding, once.
pub fn explain(finding: &mut Finding, seen: &Seen, event: &Event, net: &NetState) {
    for text in explanations(seen, event, net) {
        if !finding.explanations.iter().any(|known| known == text) {
            finding.explanations.push(text.into());
        }
    }
}

fn explanations(seen: &Seen, event: &Event, net: &NetState) -> Vec<&'static str> {
    let m = &seen.message;
    let mut texts = Vec::new();
    let container = match super::interface(event, net) {
        Some(Touch::Interface(name)) => CONTAINER.iter().any(|start| name.starts_with(start)),
        _ => false,
    };
    if container && m.frame.outgoing == Some(true) && !m.verb.is_answer() {
        texts.push(
            "the host's own DHCP client (NetworkManager, networkd, dhclient) runs on an interface of container networking: set it unmanaged",
        );
    }
    // kube-vip makes a macvlan interface for each service.
    if let Some(Mac([0, 0, 0x6c, ..])) = m.client_mac {
        texts.push("kube-vip asks for an address for each service, from its own 00:00:6c link-layer addresses");
    }
    if m.boots {
        texts.push(
            "network boot: ROM, boot loader and system each ask anew, under their own identities",
        );
    }
    let Some(client) = net.leases.clients.get(seen.scope, &m.client) else {
        return texts;
    };
    if client.v6_only && client.fingerprint.contains(&V6_ONLY) {
        texts.push("the client asked for IPv6-only operation (option 108, RFC 8925) and was granted it: giving up IPv4 is by design");
    }
    if let EventKind::Dhcp4(m) = &event.kind
        && m.lease_time
            .is_some_and(|seconds| seconds >= KUBEVIRT_LEASE)
        && m.server_id
            .is_some_and(|server| m.routers.contains(&server))
    {
        let alone = net
            .leases
            .servers
            .of_scope(seen.scope)
            .any(|server| server.addr == m.server_id.map(IpAddr::V4) && server.leases <= 1);
        if alone {
            texts.push("a server for one client with a lease of years: KubeVirt's, inside the pod");
        }
    }
    texts
}
