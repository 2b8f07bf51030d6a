//! `dhcp.duplicate-lease`: one address is leased to two clients at once.
//!
//! Two servers with overlapping pools, a restored lease database. A lease that is nearly over may be given on by a server whose clock
//! or grace differs, and a machine that changed its identity keeps its link-layer address: neither is this.

use std::time::Duration;

use super::watch::{Hits, Quiet, Watched};
use super::{DHCP, client_subject, heard, touch_all};
use crate::detect::{Board, Detector, Finding, Kind, Severity, Subject, Touch};
use crate::event::{Classes, Prefix, Timestamp};
use crate::state::leases::LeaseDelta;
use crate::state::leases::scope::ScopeId;
use crate::state::{NetState, Observation};

/// Part of the former lease that must be left, in percent (knowledge D14).
const LEFT_PERCENT: u128 = 5;
/// Both leases of the pair are over by then in most networks.
const QUIET: Duration = Duration::from_secs(3600);

/// The detector.
#[derive(Clone)]
pub struct DuplicateLease {
    addresses: Watched<(ScopeId, Prefix), Hits>,
    quiet: Quiet,
}

impl Default for DuplicateLease {
    fn default() -> DuplicateLease {
        DuplicateLease {
            addresses: Watched::new(QUIET),
            quiet: Quiet::default(),
        }
    }
}

impl Detector for DuplicateLease {
    fn name(&self) -> &'static str {
        "dhcp.duplicate-lease"
    }

    fn wants(&self) -> Classes {
        DHCP
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(heard) = heard(seen, net) else {
            return;
        };
        let m = &heard.message;
        for delta in &seen.changes.leases {
            let LeaseDelta::Collision {
                scope,
                prefix,
                holder,
                length,
                left,
            } = delta
            else {
                continue;
            };
            if left.as_nanos() * 100 <= length.as_nanos() * LEFT_PERCENT {
                continue;
            }
            let mac = |id| {
                net.leases
                    .clients
                    .get(*scope, id)
                    .and_then(|client| client.mac)
            };
            let (old, new) = (mac(holder), mac(&m.client));
            if old.is_some() && old == new {
                continue;
            }
            let Some(hits) = self.addresses.at((*scope, *prefix), seen.event.at) else {
                continue;
            };
            let hit = hits.hit(seen.event, QUIET, 1, board, |first| {
                let subject = if prefix.is_host() {
                    Subject::Address(prefix.addr())
                } else {
                    Subject::Prefix(*prefix)
                };
                Finding::at(Kind::DhcpDuplicateLease, Severity::Warning, subject, first)
            });
            let Some(key) = hit.key() else {
                continue;
            };
            self.quiet.until(key, seen.event.at + QUIET);
            board.update(key, |f| {
                touch_all(f, seen.event, m, net);
                f.touch(Touch::Address(prefix.addr()));
                f.touch(Touch::Client(holder.to_string().into()));
                for client in [holder, &m.client] {
                    f.also(client_subject(client));
                    f.affected.clients.insert(client_subject(client));
                }
                f.explain = format!(
                    "{prefix} was given to client {} while client {holder} holds it for another {:.0} s.",
                    m.client,
                    left.as_secs_f64()
                );
                f.advice = vec![
                    format!("arping -D -c 3 -I IFACE {}", prefix.addr()),
                    "compare the pools and lease databases of the servers".into(),
                ];
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
