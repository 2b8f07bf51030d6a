//! What was learned in earlier runs: the DHCP servers, relays, gateways and routers of a network that behaved. A baseline makes a newcomer
//! worth a note at once, and a known server more credible than an unknown one; it never makes anybody guilty by itself.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Board, Kind, Severity, Subject};
use crate::state::NetState;

/// Addresses of each kind: more than any host's links have; a flood of inventions ends here.
pub const MAX_EACH: usize = 1024;

/// Known addresses, by role.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Baseline {
    pub dhcp_servers: BTreeSet<IpAddr>,
    pub dhcp_relays: BTreeSet<IpAddr>,
    pub routers: BTreeSet<IpAddr>,
    pub gateways: BTreeSet<IpAddr>,
}

impl Baseline {
    /// Nothing was learned.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Addresses of all roles.
    pub fn len(&self) -> usize {
        let Baseline {
            dhcp_servers,
            dhcp_relays,
            routers,
            gateways,
        } = self;
        [dhcp_servers, dhcp_relays, routers, gateways]
            .into_iter()
            .map(BTreeSet::len)
            .sum()
    }

    /// Adds what the model shows, except who a finding of warning or above is about: what attacked once is not known as good.
    pub fn learn(&mut self, net: &NetState, board: &Board) {
        let accused: BTreeSet<IpAddr> = board
            .iter()
            .filter(|(_, finding)| {
                finding.severity > Severity::Info
                    && matches!(
                        finding.kind,
                        Kind::DhcpRogueServer
                            | Kind::DhcpRouteInjection
                            | Kind::DhcpRelaySpoofed
                            | Kind::DhcpGatewayChanged
                            | Kind::RaRogueRouter
                            | Kind::RaSpoofed
                            | Kind::RaFlood
                            | Kind::DhcpFlood
                    )
            })
            .flat_map(|(_, finding)| &finding.subjects)
            .filter_map(|subject| match subject {
                Subject::Server(addr) | Subject::Router(addr) => Some(*addr),
                _ => None,
            })
            .collect();
        let add = |known: &mut BTreeSet<IpAddr>, addr: IpAddr| {
            if known.len() < MAX_EACH && !addr.is_unspecified() && !accused.contains(&addr) {
                known.insert(addr);
            }
        };
        let servers = net.leases.servers.iter();
        for server in servers.filter(|server| server.acks > 0 && !server.proxy) {
            let Some(addr) = server.addr.filter(|addr| !accused.contains(addr)) else {
                continue;
            };
            add(&mut self.dhcp_servers, addr);
            for gateway in &server.config.routers {
                add(&mut self.gateways, *gateway);
            }
        }
        // In an order of their own, so that a full set holds the same ones each time.
        for client in net.leases.clients.sorted() {
            for relay in client.relays.iter().filter(|_| client.lease.is_some()) {
                add(&mut self.dhcp_relays, *relay);
            }
        }
        for (addr, _) in net.routers.iter() {
            add(&mut self.routers, IpAddr::V6(addr));
        }
    }
}
