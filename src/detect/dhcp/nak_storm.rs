//! `dhcp.nak-storm`: a client is refused again and again.
//!
//! One NAK is how a roaming client learns that it moved (RFC 2131 §4.3.2); a server that comes back authoritative sends every client
//! one. Only repetition at one client is a fault: its configuration and the server's do not fit. "Nothing left" (NoAddrsAvail, NoPrefixAvail) is `dhcp.pool-exhausted`.

use std::time::Duration;

use super::watch::{Hit, Hits, Quiet, Watched};
use super::{DHCP, client_subject, heard_once, server_subject, touch_all};
use crate::detect::{Board, Detector, Finding, Kind, Reason, Severity};
use crate::event::{Classes, Timestamp};
use crate::state::leases::LeaseDelta;
use crate::state::leases::message::{ClientId, Verb};
use crate::state::leases::scope::ScopeId;
use crate::state::{NetState, Observation};

/// Refusals of one client within [`WINDOW`] that make a storm: roaming gives one, a second try may still be the same move.
const ENOUGH: usize = 3;
/// DHCP clients' longest pause between tries is far below it (RFC 2131 §4.1 ends at 64 s).
const WINDOW: Duration = Duration::from_secs(600);
/// Silent for this long: over. Twice the longest back-off of 64 s.
const QUIET: Duration = Duration::from_secs(128);

/// The detector.
#[derive(Clone)]
pub struct NakStorm {
    clients: Watched<(ScopeId, ClientId), Hits>,
    quiet: Quiet,
}

impl Default for NakStorm {
    fn default() -> NakStorm {
        NakStorm {
            clients: Watched::new(WINDOW),
            quiet: Quiet::default(),
        }
    }
}

impl Detector for NakStorm {
    fn name(&self) -> &'static str {
        "dhcp.nak-storm"
    }

    fn wants(&self) -> Classes {
        DHCP
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(heard) = heard_once(seen, net) else {
            return;
        };
        let m = &heard.message;
        let Some(LeaseDelta::Naked { server, .. }) = seen
            .changes
            .leases
            .iter()
            .find(|delta| matches!(delta, LeaseDelta::Naked { .. }))
        else {
            return;
        };
        if m.v6 && matches!(m.status, Some(2 | 6)) {
            return; // nothing left to give: `dhcp.pool-exhausted`
        }
        let Some(hits) = self
            .clients
            .at((heard.scope, m.client.clone()), seen.event.at)
        else {
            return;
        };
        let hit = hits.hit(seen.event, WINDOW, ENOUGH, board, |first| {
            Finding::at(
                Kind::DhcpNakStorm,
                Severity::Warning,
                client_subject(&m.client),
                first,
            )
        });
        let Some(key) = hit.key() else {
            return;
        };
        self.quiet.until(key, seen.event.at + QUIET);
        let client = net.leases.clients.get(heard.scope, &m.client);
        let step = client
            .and_then(|client| client.quest.as_ref())
            .map(|quest| quest.verb);
        board.update(key, |finding| {
            touch_all(finding, seen.event, m, net);
            super::known::explain(finding, heard, seen.event, net);
            if let Some(server) = server
                && matches!(hit, Hit::Raised(_))
            {
                finding.also(server_subject(net, heard.scope, server));
            }
            finding.affected.clients.insert(client_subject(&m.client));
            let seconds = finding.last.since(finding.first).as_secs_f64();
            let who = m
                .server_addr
                .map_or("its server".to_owned(), |a| a.to_string());
            let says = match (&m.says, m.status) {
                (Some(text), Some(code)) => format!(" (status {code}: {text})"),
                (Some(text), None) => format!(" ({text})"),
                (None, Some(code)) => format!(" (status {code})"),
                (None, None) => String::new(),
            };
            let asks = step.map_or(String::new(), |verb| {
                format!("; it asks on ({})", verb.name(m.v6))
            });
            finding.reason = match m.status {
                Some(3) => Some(Reason::NoBinding),
                Some(4) => Some(Reason::NotOnLink),
                _ => finding.reason,
            };
            finding.explain = format!(
                "{who} refused client {} {} times in {seconds:.1} s{says}{asks}.",
                m.client, finding.count
            );
            if finding.advice.is_empty() {
                let port = if m.v6 { 547 } else { 67 };
                // Only what it remembers from before can be of another network.
                if matches!(step, Some(Verb::Reboot | Verb::Renew | Verb::Rebind)) {
                    let old =
                        "look up the client's old lease file (an address of another network?)";
                    finding.advice.push(old.into());
                }
                finding
                    .advice
                    .push(format!("journalctl on the DHCP server for {}", m.client));
                finding
                    .advice
                    .push(format!("tcpdump -nvi any 'udp port {port}'"));
            }
        });
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.quiet.next()
    }

    fn expire(&mut self, now: Timestamp, _net: &NetState, board: &mut Board) {
        self.quiet.expire(now, board);
    }
}
