//! `dhcp.client-churn`: a client takes a lease and gives it back, or forgets it and asks anew, in a loop.
//!
//! A crash-looping virtual machine, a container that is restarted, an interface that is brought up and down by two managers. One
//! RELEASE is a shutdown. A cycle is a lease followed by its holder's RELEASE, or (what dies in a crash gives nothing back) by a whole
//! new exchange of its holder while the lease still runs, where a healthy client would renew it.

use std::time::Duration;

use super::watch::{Hits, Quiet, Watched};
use super::{DHCP, client_subject, heard_once, touch_all, unseen};
use crate::detect::{Board, Detector, Finding, Kind, Severity, Touch};
use crate::event::{Classes, Timestamp};
use crate::state::leases::LeaseDelta;
use crate::state::leases::message::{ClientId, Verb};
use crate::state::leases::scope::ScopeId;
use crate::state::{NetState, Observation};

/// Cycles within [`WINDOW`]: a PXE ROM, its boot loader and the installer each may release once (at most 4 in 2 minutes).
const ENOUGH: usize = 5;
/// … of a client that remembers its address and has it confirmed, as phones do whenever they roam to another access point.
const ENOUGH_REMEMBERED: usize = 8;
/// The time in which they must fall: five in ten minutes is a restart every two minutes.
const WINDOW: Duration = Duration::from_secs(600);
/// Crash loops back off to 5 minutes (Kubernetes' limit); quiet for longer is over.
const QUIET: Duration = Duration::from_secs(330);

/// The detector.
#[derive(Clone)]
pub struct ClientChurn {
    clients: Watched<(ScopeId, ClientId), Hits>,
    /// Clients that took an offer which was not seen, and have not given the lease back.
    took: Watched<(ScopeId, ClientId), bool>,
    quiet: Quiet,
}

impl Default for ClientChurn {
    fn default() -> ClientChurn {
        ClientChurn {
            clients: Watched::new(WINDOW),
            took: Watched::new(WINDOW),
            quiet: Quiet::default(),
        }
    }
}

impl Detector for ClientChurn {
    fn name(&self) -> &'static str {
        "dhcp.client-churn"
    }

    fn wants(&self) -> Classes {
        DHCP
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(heard) = heard_once(seen, net) else {
            return;
        };
        let m = &heard.message;
        let who = (heard.scope, m.client.clone());
        if m.verb == Verb::Select
            && unseen(heard, net)
            && let Some(took) = self.took.at(who.clone(), seen.event.at)
        {
            *took = true;
        }
        let gives_unseen =
            m.verb == Verb::Release && self.took.remove(&who) == Some(true) && unseen(heard, net);
        let cycle = seen.changes.leases.iter().find_map(|delta| match delta {
            // `held`: it had been granted the lease, and had not given it back yet.
            LeaseDelta::Released {
                addr, held: true, ..
            } => Some((*addr, true, ENOUGH)),
            LeaseDelta::Restarted {
                addr, remembered, ..
            } => {
                let enough = if *remembered {
                    ENOUGH_REMEMBERED
                } else {
                    ENOUGH
                };
                Some((Some(*addr), false, enough))
            }
            LeaseDelta::Released { addr, .. } if gives_unseen => Some((*addr, true, ENOUGH)),
            _ => None,
        });
        let Some((addr, gave_back, enough)) = cycle else {
            return;
        };
        let Some(hits) = self
            .clients
            .at((heard.scope, m.client.clone()), seen.event.at)
        else {
            return;
        };
        let hit = hits.hit(seen.event, WINDOW, enough, board, |first| {
            Finding::at(
                Kind::DhcpClientChurn,
                Severity::Warning,
                client_subject(&m.client),
                first,
            )
        });
        let Some(key) = hit.key() else {
            return;
        };
        self.quiet.until(key, seen.event.at + QUIET);
        board.update(key, |finding| {
            touch_all(finding, seen.event, m, net);
            super::known::explain(finding, heard, seen.event, net);
            if let Some(addr) = addr {
                finding.touch(Touch::Address(addr));
            }
            finding.affected.clients.insert(client_subject(&m.client));
            let seconds = finding.last.since(finding.first).as_secs_f64();
            finding.explain = format!(
                "Client {} took a lease and {} {} times, every {:.1} s: it restarts in a loop.",
                m.client,
                if gave_back {
                    "gave it back"
                } else {
                    "asked for one anew, as if it had none,"
                },
                finding.count,
                seconds / (finding.count.max(2) - 1) as f64,
            );
            finding.advice = vec![
                "look at what runs on the client (crash loop, two network managers)".into(),
                "journalctl -u systemd-networkd -u NetworkManager -u dhclient --since -1h".into(),
            ];
        });
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.quiet.next()
    }

    fn expire(&mut self, now: Timestamp, _net: &NetState, board: &mut Board) {
        self.quiet.expire(now, board);
    }
}
