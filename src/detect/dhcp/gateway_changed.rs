//! `dhcp.gateway-changed`: a renewal gives the same client, by the same server, another gateway (or other name servers).
//!
//! Where classless routes are given they decide alone (RFC 3442): a server that begins to send them without a default takes the gateway away
//! from clients that know the option, though option 3 is as before.
//!
//! One change is a planned move: all clients follow and nothing comes back; it stays at `info`. A gateway that changes again is a
//! fault: two configurations alternate, and with them the client's default route.

use std::net::IpAddr;
use std::time::Duration;

use super::watch::{Quiet, Watched};
use super::{DHCP, client_subject, heard, server_subject, touch_all, touch_server};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Settings, Severity, Touch};
use crate::event::{Classes, Locator, Timestamp};
use crate::state::leases::LeaseDelta;
use crate::state::leases::message::{ClientId, Config, ServerId, Verb};
use crate::state::leases::scope::ScopeId;
use crate::state::ledger::DhcpChange;
use crate::state::{NetState, Observation};

/// Changes within [`WINDOW`] that are more than a move.
const ENOUGH: u64 = 2;
/// Two changes further apart than an hour are two maintenance works.
const WINDOW: Duration = Duration::from_secs(3600);

/// The last ACK of a client, where it was the first one we saw of a lease from before we watched: which gateway it replaced is unknown.
#[derive(Clone, Default)]
struct Last {
    before: Option<(Timestamp, Locator)>,
}

/// A server's finding, when it changed last, and the client that is counted.
type Told = (FindingKey, Timestamp, ClientId);

/// The detector.
#[derive(Clone)]
pub struct GatewayChanged {
    /// Gateways that may be handed out; any when empty.
    declared: Vec<IpAddr>,
    last: Watched<(ScopeId, ClientId), Last>,
    servers: Watched<(ScopeId, ServerId), Option<Told>>,
    quiet: Quiet,
}

impl GatewayChanged {
    /// With the gateways that the operator declared.
    pub fn new(settings: &Settings) -> GatewayChanged {
        GatewayChanged {
            declared: settings.gateways.clone(),
            last: Watched::new(WINDOW),
            servers: Watched::new(WINDOW),
            quiet: Quiet::default(),
        }
    }
}

impl Detector for GatewayChanged {
    fn name(&self) -> &'static str {
        "dhcp.gateway-changed"
    }

    fn wants(&self) -> Classes {
        DHCP
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(heard) = heard(seen, net) else {
            return;
        };
        let m = &heard.message;
        if m.verb != Verb::Ack || m.v6 {
            return; // DHCPv6 gives no gateway
        }
        let event = seen.event;
        let Some(last) = self.last.at((heard.scope, m.client.clone()), event.at) else {
            return;
        };
        let older = seen.changes.leases.iter().any(|delta| match delta {
            LeaseDelta::Granted { scope, prefix, .. } => net
                .leases
                .lease(*scope, *prefix)
                .is_some_and(|lease| !lease.seen_granted),
            _ => false,
        });
        let before_at = std::mem::take(&mut last.before);
        last.before = older.then_some((event.at, event.locator));
        for delta in &seen.changes.leases {
            let LeaseDelta::Reconfigured { server, before, .. } = delta else {
                continue;
            };
            let (was, is) = (DhcpChange::gateway(before), DhcpChange::gateway(&m.config));
            // The routers alone decide while no classless routes are given; with them only their default route does (RFC 3442).
            if before.routers == m.config.routers && was == is {
                continue;
            }
            let Some(slot) = self.servers.at((heard.scope, server.clone()), event.at) else {
                continue;
            };
            let known = slot
                .take()
                .filter(|(_, at, _)| event.at.since(*at) <= WINDOW);
            let key = match known {
                // Other clients of the same change support it; the count is the first client's.
                Some((key, _, ref client)) if *client != m.client => {
                    board.update(key, |f| f.support(event));
                    key
                }
                Some((key, ..)) => {
                    board.update(key, |f| f.again(event));
                    key
                }
                None => {
                    // A lease from before we watched may have changed with the first answer already: it begins there.
                    let first = before_at.map_or(event.at, |(at, _)| at);
                    let mut f = Finding::at(
                        Kind::DhcpGatewayChanged,
                        Severity::Info,
                        server_subject(net, heard.scope, server),
                        first,
                    );
                    f.occurrences.clear();
                    f.count = 0;
                    if let Some((_, locator)) = before_at {
                        f.evidence.add(locator);
                    }
                    f.again(event);
                    f.advice = vec![
                        "ip -ts monitor route".into(),
                        "compare the option 3 (routers) of the server's configurations: subnet, class, host, HA peer".into(),
                    ];
                    board.raise(f)
                }
            };
            let first_client = known.map_or_else(|| m.client.clone(), |(.., client)| client);
            *slot = Some((key, event.at, first_client));
            self.quiet.until(key, event.at + WINDOW);
            let declared = &self.declared;
            board.update(key, |f| {
                touch_all(f, event, m, net);
                touch_server(f, net, heard.scope, server);
                for gateway in before.routers.iter().chain(&m.config.routers) {
                    f.touch(Touch::Gateway(*gateway));
                }
                if let Ok(default) = "0.0.0.0/0".parse() {
                    f.touch(Touch::Prefix(default));
                }
                if let Some(addr) = m.wanted {
                    f.touch(Touch::Address(addr));
                }
                f.affected.clients.insert(client_subject(&m.client));
                // A gateway that nobody declared is no planned move.
                let foreign = !declared.is_empty()
                    && m.config.routers.iter().any(|gateway| !declared.contains(gateway));
                if f.count >= ENOUGH || foreign {
                    f.severity = Severity::Warning;
                }
                f.explain = if before.routers == m.config.routers {
                    classless(server, &m.client, before, &m.config)
                } else {
                    format!(
                        "Server {server} gives client {} gateway {} where it gave {} before: {} in {:.0} s.",
                        m.client,
                        names(&m.config.routers),
                        names(&before.routers),
                        super::plural(f.count, "change"),
                        f.last.since(f.first).as_secs_f64(),
                    )
                };
            });
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.quiet.next()
    }

    fn expire(&mut self, now: Timestamp, _net: &NetState, board: &mut Board) {
        self.quiet.expire(now, board);
    }
}

/// The routers are as before; what classless routes say about the default route changed.
fn classless(server: &ServerId, client: &ClientId, before: &Config, now: &Config) -> String {
    let default = |config: &Config| DhcpChange::gateway(config);
    match (
        before.routes.is_empty(),
        now.routes.is_empty(),
        default(now),
    ) {
        (true, false, None) => format!(
            "Server {server} gives client {client} classless static routes (option 121 or 249) for the first time, and no default route among \
             them: a client that knows the option ignores gateway {} of option 3 (RFC 3442).",
            names(&now.routers)
        ),
        (true, false, Some(gateway)) => format!(
            "Server {server} gives client {client} classless static routes (option 121 or 249) for the first time, with default route {gateway} \
             in place of gateway {} of option 3 (RFC 3442).",
            names(&now.routers)
        ),
        (_, _, gateway) => format!(
            "Server {server} changes the classless static routes of client {client}: default route {} where it gave {} before (RFC 3442).",
            names(&gateway.into_iter().collect::<Vec<_>>()),
            names(&default(before).into_iter().collect::<Vec<_>>())
        ),
    }
}

fn names(addresses: &[std::net::IpAddr]) -> String {
    if addresses.is_empty() {
        return "none".into();
    }
    let names: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    names.join(", ")
}
