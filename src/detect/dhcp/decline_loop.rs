//! `dhcp.decline-loop`: a client declines what it is given, because somebody uses it (RFC 2131 §4.4.4, RFC 5227; RFC 8415 §18.2.8).
//!
//! Each DECLINE takes an address out of the pool until its probation ends; a proxy-ARP gateway that answers for every address empties
//! a pool in seconds. Who answered is the address detectors' knowledge; they join by the declined address.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::watch::{Hits, Quiet, Watched};
use super::{DHCP, client_subject, heard_once, touch_all};
use crate::detect::{Board, Detector, Finding, Kind, Severity, Touch};
use crate::event::{Classes, Timestamp};
use crate::state::leases::LeaseDelta;
use crate::state::leases::message::ClientId;
use crate::state::leases::scope::ScopeId;
use crate::state::{NetState, Observation};

/// DECLINEs of one client within [`WINDOW`]: one is a static address inside the pool, found and remembered by the server.
const ENOUGH: usize = 3;
/// Servers keep a declined address back for 10 minutes or more (dnsmasq 600 s); inside it every DECLINE costs another address.
const WINDOW: Duration = Duration::from_secs(600);
/// RFC 2131 §3.1: a client waits at least 10 s after a DECLINE; two minutes without one are an end.
const QUIET: Duration = Duration::from_secs(120);
/// Declined addresses named of one client.
const MAX_NAMED: usize = 8;

#[derive(Clone, Default)]
struct Loop {
    hits: Hits,
    addresses: BTreeSet<IpAddr>,
}

/// The detector.
#[derive(Clone)]
pub struct DeclineLoop {
    clients: Watched<(ScopeId, ClientId), Loop>,
    quiet: Quiet,
}

impl Default for DeclineLoop {
    fn default() -> DeclineLoop {
        DeclineLoop {
            clients: Watched::new(WINDOW),
            quiet: Quiet::default(),
        }
    }
}

impl Detector for DeclineLoop {
    fn name(&self) -> &'static str {
        "dhcp.decline-loop"
    }

    fn wants(&self) -> Classes {
        DHCP
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(heard) = heard_once(seen, net) else {
            return;
        };
        let m = &heard.message;
        let Some(LeaseDelta::Declined { addr, .. }) = seen
            .changes
            .leases
            .iter()
            .find(|delta| matches!(delta, LeaseDelta::Declined { .. }))
        else {
            return;
        };
        let Some(entry) = self
            .clients
            .at((heard.scope, m.client.clone()), seen.event.at)
        else {
            return;
        };
        if let Some(addr) = addr
            && entry.addresses.len() < MAX_NAMED
        {
            entry.addresses.insert(*addr);
        }
        let hit = entry.hits.hit(seen.event, WINDOW, ENOUGH, board, |first| {
            Finding::at(
                Kind::DhcpDeclineLoop,
                Severity::Warning,
                client_subject(&m.client),
                first,
            )
        });
        let Some(key) = hit.key() else {
            return;
        };
        self.quiet.until(key, seen.event.at + QUIET);
        let addresses = &entry.addresses;
        board.update(key, |finding| {
            touch_all(finding, seen.event, m, net);
            super::known::explain(finding, heard, seen.event, net);
            for addr in addresses {
                finding.touch(Touch::Address(*addr));
            }
            finding.affected.clients.insert(client_subject(&m.client));
            let named: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            finding.explain = format!(
                "Client {} declined its address {} times in {:.1} s ({}): somebody else on the link answers for what the server offers.",
                m.client,
                finding.count,
                finding.last.since(finding.first).as_secs_f64(),
                named.join(", "),
            );
            finding.advice = addresses
                .iter()
                .map(|addr| {
                    if addr.is_ipv6() {
                        format!("ip -6 neigh show {addr}")
                    } else {
                        format!("arping -D -c 2 -I IFACE {addr}")
                    }
                })
                .take(3)
                .collect();
        });
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.quiet.next()
    }

    fn expire(&mut self, now: Timestamp, _net: &NetState, board: &mut Board) {
        self.quiet.expire(now, board);
    }
}
