//! `dhcp.request-storm`: a client asks far more often than the protocol's back-off allows, and gets nothing by it.
//!
//! RFC 2131 §4.1 lets a client send at most 5 DISCOVERs a minute (4, 8, 16, 32 s apart), udhcpc's bursts make 9, RFC 8415 §15 fewer.
//! Storms that have a better name are left to it: refusals, declines, churn, and silence of the server.

use std::time::Duration;

use super::watch::{Hits, Quiet, Watched};
use super::{DHCP, client_subject, heard, touch_all, unseen};
use crate::detect::{Board, Detector, Finding, Kind, Severity};
use crate::event::{Classes, Timestamp};
use crate::state::leases::message::{ClientId, Verb};
use crate::state::leases::scope::ScopeId;
use crate::state::{NetState, Observation};

/// Requests for an address within [`WINDOW`] (knowledge D4).
const ENOUGH: usize = 16;
/// Requests for options only: Windows repeats INFORM for WPAD, up to 20 a minute are its habit (knowledge D30).
const ENOUGH_INFORM: usize = 21;
const WINDOW: Duration = Duration::from_secs(60);
/// Twice RFC 2131's longest back-off without a request: over.
const QUIET: Duration = Duration::from_secs(128);

/// The detector.
#[derive(Clone)]
pub struct RequestStorm {
    clients: Watched<(ScopeId, ClientId, bool), Hits>,
    quiet: Quiet,
}

impl Default for RequestStorm {
    fn default() -> RequestStorm {
        RequestStorm {
            clients: Watched::new(WINDOW),
            quiet: Quiet::default(),
        }
    }
}

impl Detector for RequestStorm {
    fn name(&self) -> &'static str {
        "dhcp.request-storm"
    }

    fn wants(&self) -> Classes {
        DHCP
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(heard) = heard(seen, net) else {
            return;
        };
        let m = &heard.message;
        let inform = m.verb == Verb::Inform;
        if m.flawed {
            return; // `dhcp.malformed` counts those
        }
        match m.verb {
            Verb::Discover | Verb::Inform => {}
            // It got what it wanted (or a plain no, which `dhcp.nak-storm` counts): start anew.
            Verb::Ack | Verb::Nak => {
                self.clients.remove(&(heard.scope, m.client.clone(), false));
                return;
            }
            // It takes an offer that nobody saw: the capture shows one direction only.
            Verb::Select if unseen(heard, net) => {
                self.clients.remove(&(heard.scope, m.client.clone(), false));
                return;
            }
            _ => return,
        }
        let client = net.leases.clients.get(heard.scope, &m.client);
        let quest = client.and_then(|client| client.quest.as_ref());
        if !inform && quest.is_some_and(|quest| quest.offers.heard > 0) {
            return; // offered and not taken is a state of its own: `dhcp.offer-ignored`
        }
        let Some(hits) = self
            .clients
            .at((heard.scope, m.client.clone(), inform), seen.event.at)
        else {
            return;
        };
        let (enough, severity) = if inform {
            (ENOUGH_INFORM, Severity::Info)
        } else {
            (ENOUGH, Severity::Warning)
        };
        let hit = hits.hit(seen.event, WINDOW, enough, board, |first| {
            let subject = client_subject(&m.client);
            Finding::at(Kind::DhcpRequestStorm, severity, subject, first)
        });
        let Some(key) = hit.key() else {
            return;
        };
        self.quiet.until(key, seen.event.at + QUIET);
        board.update(key, |f| {
            touch_all(f, seen.event, m, net);
            super::known::explain(f, heard, seen.event, net);
            f.affected.clients.insert(client_subject(&m.client));
            let seconds = f.last.since(f.first).as_secs_f64();
            f.explain = if inform {
                format!(
                    "Client {} asked for options {} times in {seconds:.0} s.",
                    m.client, f.count
                )
            } else {
                format!(
                    "Client {} asked for an address {} times in {seconds:.0} s and was offered none.",
                    m.client, f.count
                )
            };
            if f.advice.is_empty() {
                f.advice = vec![format!("tcpdump -nvi any 'udp port 67 and ether host {}'", m.client)];
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
