//! `dhcp.rogue-server` by boot options: two servers tell one machine to boot from different files, and agree in all else.
//!
//! Who boots a machine owns it (survey D24, RFC 4578). What one server says changes legitimately, as ROM, boot loader and system ask by turns, so only
//! answers to one and the same question are compared; the next server's address says nothing, because many fill in their own. A ProxyDHCP beside
//! a server with a file of its own is a usual set-up: a note.

use std::time::Duration;

use smallvec::SmallVec;

use super::watch::{Quiet, Watched};
use super::{DHCP, client_subject, heard_once, server_subject, touch_all, touch_server};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Severity};
use crate::event::{Classes, EventKind, Locator, Timestamp, WireText};
use crate::state::leases::message::{ClientId, ServerId, Verb};
use crate::state::leases::scope::ScopeId;
use crate::state::{NetState, Observation};

/// Answers to one question come within it: RFC 2131 §4.1's first back-off is 4 s, a client collects no longer.
const TOGETHER: Duration = Duration::from_secs(10);
/// Machines boot one after the other; quiet for longer is over.
const QUIET: Duration = Duration::from_secs(600);
/// Servers whose answers to one question are kept.
const MAX_ANSWERS: usize = 4;

/// Answers to one question.
#[derive(Clone, Default)]
struct Question {
    xid: u32,
    at: Timestamp,
    answers: SmallVec<[(ServerId, WireText, bool, Locator); 2]>,
}

/// The detector.
#[derive(Clone)]
pub struct BootServers {
    questions: Watched<(ScopeId, ClientId), Question>,
    pairs: Watched<(ScopeId, ServerId, ServerId), Option<FindingKey>>,
    quiet: Quiet,
}

impl Default for BootServers {
    fn default() -> BootServers {
        BootServers {
            questions: Watched::new(TOGETHER),
            pairs: Watched::new(QUIET),
            quiet: Quiet::default(),
        }
    }
}

impl Detector for BootServers {
    fn name(&self) -> &'static str {
        "dhcp.boot-servers"
    }

    fn wants(&self) -> Classes {
        DHCP
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(heard) = heard_once(seen, net) else {
            return;
        };
        let (m, event) = (&heard.message, seen.event);
        let EventKind::Dhcp4(wire) = &event.kind else {
            return;
        };
        let (Some(server), Some(file)) = (&m.server, &wire.boot_file) else {
            return;
        };
        // Only who boots reads the file.
        let client = net.leases.clients.get(heard.scope, &m.client);
        let boots = client.is_some_and(|client| client.architecture.is_some());
        if m.verb != Verb::Offer || !boots || file.is_empty() {
            return;
        }
        let Some(question) = self.questions.at((heard.scope, m.client.clone()), event.at) else {
            return;
        };
        if question.xid != m.xid || event.at.since(question.at) > TOGETHER {
            *question = Question {
                xid: m.xid,
                at: event.at,
                ..Question::default()
            };
        }
        let other = question
            .answers
            .iter()
            .find(|(other, told, ..)| other != server && told != file)
            .cloned();
        if question.answers.len() < MAX_ANSWERS {
            question
                .answers
                .push((server.clone(), file.clone(), m.proxy, event.locator));
        }
        let Some((other, told, proxy, locator)) = other else {
            return;
        };
        // Where they contradict each other in more than that, `rogue_server` tells it.
        let otherwise = client
            .and_then(|client| client.configs.iter().find(|(id, ..)| *id == other))
            .is_some_and(|(_, config, _)| !m.proxy && config.contradicts(&m.config, false));
        if otherwise {
            return;
        }
        let pair = (server.min(&other).clone(), server.max(&other).clone());
        let Some(open) = self.pairs.at((heard.scope, pair.0, pair.1), event.at) else {
            return;
        };
        let key = match open.filter(|key| board.get(*key).is_some_and(|f| f.ended.is_none())) {
            Some(key) => {
                board.update(key, |f| f.again(event));
                key
            }
            None => {
                let severity = if proxy || m.proxy {
                    Severity::Info
                } else {
                    Severity::Warning
                };
                let subject = server_subject(net, heard.scope, server);
                let mut f = Finding::new(Kind::DhcpRogueServer, severity, subject, event);
                f.evidence.add(locator);
                f.also(server_subject(net, heard.scope, &other));
                if proxy || m.proxy {
                    f.explanations.push("a ProxyDHCP beside a server with a boot file of its own: the proxy's counts (PXE specification)".into());
                }
                f.advice = vec![
                    "compare options 66 and 67 (next-server, filename) of both servers".into(),
                ];
                board.raise(f)
            }
        };
        *open = Some(key);
        self.quiet.until(key, event.at + QUIET);
        board.update(key, |f| {
            touch_all(f, event, m, net);
            touch_server(f, net, heard.scope, server);
            touch_server(f, net, heard.scope, &other);
            f.affected.clients.insert(client_subject(&m.client));
            f.explain = format!(
                "Servers {server} and {other} tell {} to boot from different files ({file} and {told}); which one it takes is a race.",
                super::plural(f.affected.clients.len() as u64, "machine"),
            );
        });
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.quiet.next()
    }

    fn expire(&mut self, now: Timestamp, _net: &NetState, board: &mut Board) {
        self.quiet.expire(now, board);
    }
}
