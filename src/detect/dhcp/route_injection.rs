//! `dhcp.route-injection`: a server hands out routes that take over traffic (options 121, 249, 33; RFC 3442, CVE-2024-3661).
//!
//! Judged by content, never by presence: clouds hand out host routes and defaults in option 121 every day (GCE: gateway/32 on-link and
//! a default; OpenStack: 169.254.169.254/32; OVN and KubeVirt the like). A default route in option 121 replaces option 3 by RFC 3442.

use std::net::IpAddr;
use std::time::Duration;

use super::watch::{Quiet, Watched};
use super::{DHCP, client_subject, heard, server_subject, touch_all, touch_server};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::{Classes, Prefix, Timestamp};
use crate::state::leases::message::{Message, ServerId, Verb};
use crate::state::leases::scope::ScopeId;
use crate::state::routes::Route;
use crate::state::{NetState, Observation};

/// A prefix this short or shorter, but no default route, exists only to override one (0.0.0.0/1 and 128.0.0.0/1, or quarters).
const OVERRIDES_DEFAULT: u8 = 2;
/// Prefixes named and joined of one server's injection.
const MAX_PREFIXES: usize = 32;
/// Routes inside an injected prefix that are looked at: a wide prefix covers a whole table, of which any route serves as an example.
const MAX_LOOKED_AT: usize = 256;
/// `rtm_protocol` of routing daemons: FRR's zebra (older, and its common number), BIRD, FRR's BGP (rtnetlink.h; iproute2's rt_protos).
const RTPROT_ZEBRA: u8 = 11;
const RTPROT_BIRD: u8 = 12;
const RTPROT_BGP: u8 = 186;
/// The finding stays open while the server answers: clients hold its routes for a lease, and most leases are renewed within this.
const QUIET: Duration = Duration::from_secs(3600);

/// The detector.
#[derive(Clone)]
pub struct RouteInjection {
    servers: Watched<(ScopeId, ServerId), Option<FindingKey>>,
    quiet: Quiet,
}

impl Default for RouteInjection {
    fn default() -> RouteInjection {
        RouteInjection {
            servers: Watched::new(QUIET),
            quiet: Quiet::default(),
        }
    }
}

/// Why a route takes over traffic.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Why {
    /// It overrides the default route without being one.
    OverridesDefault,
    /// It leads to the server itself, which is not the gateway it names.
    ViaServer,
    /// It is more specific than a route of a routing daemon, or covers one.
    TakesFromBgp(Prefix),
}

impl Detector for RouteInjection {
    fn name(&self) -> &'static str {
        "dhcp.route-injection"
    }

    fn wants(&self) -> Classes {
        DHCP
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(heard) = heard(seen, net) else {
            return;
        };
        let m = &heard.message;
        let (Verb::Offer | Verb::Ack, Some(server)) = (m.verb, &m.server) else {
            return;
        };
        if m.config.routes.is_empty() {
            return;
        }
        let bad: Vec<(Prefix, IpAddr, Why)> = m
            .config
            .routes
            .iter()
            .take(MAX_PREFIXES)
            .filter_map(|(prefix, gateway)| {
                judge(*prefix, *gateway, m, net).map(|why| (*prefix, *gateway, why))
            })
            .collect();
        if bad.is_empty() {
            return;
        }
        let Some(slot) = self
            .servers
            .at((heard.scope, server.clone()), seen.event.at)
        else {
            return;
        };
        let taken = m.verb == Verb::Ack;
        let key = match *slot {
            Some(key) if board.get(key).is_some() => {
                board.update(key, |f| {
                    // An OFFER and the ACK behind it are one injection: the ACKs count.
                    if taken && !f.affected.clients.is_empty() {
                        f.again(seen.event);
                    } else {
                        f.support(seen.event);
                    }
                });
                key
            }
            _ => {
                let mut f = Finding::new(
                    Kind::DhcpRouteInjection,
                    Severity::Warning,
                    server_subject(net, heard.scope, server),
                    seen.event,
                );
                f.advice = vec![
                    "ip route show proto dhcp; ip route get 192.0.2.1".into(),
                    format!("tcpdump -nvei any 'udp port 67 and host {server}'"),
                    "let clients ignore option 121 where a VPN must hold (networkd: UseRoutes=no)"
                        .into(),
                ];
                board.raise(f)
            }
        };
        *slot = Some(key);
        self.quiet.until(key, seen.event.at + QUIET);
        board.update(key, |f| {
            for (prefix, gateway, why) in &bad {
                if f.subjects.len() <= MAX_PREFIXES {
                    f.also(Subject::Prefix(*prefix));
                }
                f.touch(Touch::Prefix(*prefix));
                f.touch(Touch::Gateway(*gateway));
                f.affected.prefix(*prefix);
                if let Why::TakesFromBgp(covered) = why {
                    f.touch(Touch::Prefix(*covered));
                    f.affected.prefix(*covered);
                }
            }
            // What else it hands out acts together with these.
            for (prefix, gateway) in m.config.routes.iter().take(MAX_PREFIXES) {
                f.touch(Touch::Prefix(*prefix));
                f.touch(Touch::Gateway(*gateway));
            }
            touch_all(f, seen.event, m, net);
            touch_server(f, net, heard.scope, server);
            if taken {
                f.severity = Severity::Critical;
                f.affected.clients.insert(client_subject(&m.client));
            }
            f.explain = explain(server, &bad, f.affected.clients.len());
        });
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.quiet.next()
    }

    fn expire(&mut self, now: Timestamp, _net: &NetState, board: &mut Board) {
        self.quiet.expire(now, board);
    }
}

fn judge(prefix: Prefix, gateway: IpAddr, m: &Message, net: &NetState) -> Option<Why> {
    if prefix.is_default() {
        return None; // replaces option 3 (RFC 3442); another gateway is `dhcp.gateway-changed`
    }
    if prefix.len() <= OVERRIDES_DEFAULT {
        return Some(Why::OverridesDefault);
    }
    let link_local = match prefix.addr() {
        IpAddr::V4(addr) => addr.is_link_local(),
        IpAddr::V6(_) => false,
    };
    if link_local || gateway.is_unspecified() {
        return None; // metadata services; routes to the gateway itself
    }
    if let Some(covered) = from_bgp(prefix, net) {
        return Some(Why::TakesFromBgp(covered));
    }
    let names_another = !m.config.routers.is_empty() && !m.config.routers.contains(&gateway);
    let private = match prefix.addr() {
        IpAddr::V4(addr) => addr.is_private(),
        IpAddr::V6(_) => false,
    };
    // A private network behind the server's host is how small sites connect two LANs.
    (Some(gateway) == m.server_addr && names_another && !private).then_some(Why::ViaServer)
}

/// The kernel route of a routing daemon whose traffic `prefix` takes: the longest that covers it, or one that it covers or equals.
fn from_bgp(prefix: Prefix, net: &NetState) -> Option<Prefix> {
    let daemons = |route: &Route| matches!(route.protocol, RTPROT_ZEBRA | RTPROT_BIRD | RTPROT_BGP);
    net.routes
        .covering(prefix)
        .filter(|(key, _)| !key.prefix.is_default())
        .chain(net.routes.inside(prefix).take(MAX_LOOKED_AT))
        .find(|(_, route)| daemons(route))
        .map(|(key, _)| key.prefix)
}

fn explain(server: &ServerId, bad: &[(Prefix, IpAddr, Why)], clients: usize) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (prefix, gateway, why) in bad.iter().take(4) {
        parts.push(match why {
            Why::OverridesDefault => {
                format!("{prefix} via {gateway} overrides every default route, tunnels included")
            }
            Why::ViaServer => format!("{prefix} leads to the server itself instead of the gateway"),
            Why::TakesFromBgp(route) => {
                format!("{prefix} via {gateway} takes the traffic of {route}, which a routing daemon brought")
            }
        });
    }
    let more = bad.len().saturating_sub(parts.len());
    if more > 0 {
        parts.push(format!("and {more} more"));
    }
    format!(
        "DHCP server {server} hands out {}: {}. {} took it.",
        super::plural(bad.len() as u64, "route"),
        parts.join("; "),
        super::plural(clients as u64, "client"),
    )
}
