//! `dhcp.hostile-text`: text in DHCP options that would act on the terminal or log that shows it.
//!
//! Host names, vendor classes and the like go from clients into logs, leases files and dashboards. One finding for each scope, with the
//! clients as subjects; the sample is sanitised. What servers echo is not counted again.

use std::collections::BTreeSet;
use std::time::Duration;

use super::watch::{Quiet, Watched};
use super::{DHCP, client_subject, heard_once, plural, touch_all};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Severity, Subject};
use crate::event::dhcp4::Dhcp4;
use crate::event::dhcp6::Dhcp6;
use crate::event::{Classes, EventKind, Timestamp, WireText};
use crate::state::leases::message::ClientId;
use crate::state::leases::scope::ScopeId;
use crate::state::{NetState, Observation};

/// Clients named in one finding.
const MAX_NAMED: usize = 16;
/// No hostile text for this long: over.
const QUIET: Duration = Duration::from_secs(300);
/// Characters of the sample.
const SAMPLE: usize = 80;

#[derive(Clone, Default)]
struct Told {
    key: Option<FindingKey>,
    first: Option<ClientId>,
    clients: BTreeSet<ClientId>,
    messages: u64,
    last: Timestamp,
}

/// The detector.
#[derive(Clone)]
pub struct HostileText {
    scopes: Watched<ScopeId, Told>,
    quiet: Quiet,
}

impl Default for HostileText {
    fn default() -> HostileText {
        HostileText {
            scopes: Watched::new(QUIET),
            quiet: Quiet::default(),
        }
    }
}

impl Detector for HostileText {
    fn name(&self) -> &'static str {
        "dhcp.hostile-text"
    }

    fn wants(&self) -> Classes {
        DHCP
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let sample = match &seen.event.kind {
            EventKind::Dhcp4(m) if !m.hostile_text.is_empty() => sample4(m),
            EventKind::Dhcp6(m) if !m.hostile_text.is_empty() => sample6(m),
            _ => return,
        };
        let Some(heard) = heard_once(seen, net) else {
            return;
        };
        let m = &heard.message;
        let from_server = match &seen.event.kind {
            EventKind::Dhcp4(m) => m.op == 2,
            _ => m.verb.is_answer(),
        };
        if from_server {
            return;
        }
        let now = seen.event.at;
        let Some(told) = self.scopes.at(heard.scope, now) else {
            return;
        };
        if now.since(told.last) > QUIET {
            *told = Told::default();
        }
        told.last = now;
        told.messages += 1;
        if told.clients.len() < super::watch::MAX_WATCHED {
            told.clients.insert(m.client.clone());
        }
        let key = match told.key.filter(|key| board.get(*key).is_some()) {
            Some(key) => {
                let own = told.first.as_ref() == Some(&m.client);
                board.update(key, |f| {
                    if own {
                        f.again(seen.event);
                    } else {
                        f.support(seen.event);
                    }
                });
                key
            }
            None => {
                told.first = Some(m.client.clone());
                let subject = client_subject(&m.client);
                let mut f = Finding::new(
                    Kind::DhcpHostileText,
                    Severity::Warning,
                    subject,
                    seen.event,
                );
                f.explain = sample.map_or_else(String::new, |(option, text)| {
                    format!(" First: {option} \"{text}\".")
                });
                f.advice = vec![
                    "do not print leases files or logs of this network raw: use cat -v".into(),
                ];
                board.raise(f)
            }
        };
        told.key = Some(key);
        self.quiet.until(key, now + QUIET);
        let (clients, messages) = (told.clients.len() as u64, told.messages);
        board.update(key, |f| {
            if f.subjects.len() < MAX_NAMED {
                f.also(client_subject(&m.client));
            }
            if f.touches.len() < 4 * MAX_NAMED {
                touch_all(f, seen.event, m, net);
            }
            if let Some(mac) = m.frame.eth_src.filter(|mac| Some(*mac) != m.client_mac)
                && m.is_direct()
            {
                f.also(Subject::Mac(mac));
            }
            let sample = f
                .explain
                .find(" First: ")
                .map(|at| f.explain.split_off(at))
                .unwrap_or_default();
            f.explain = format!(
                "{} sent {} with text that would act on a terminal or forge log lines.{sample}",
                plural(clients, "client"),
                plural(messages, "message"),
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

fn sample4(m: &Dhcp4) -> Option<(&'static str, String)> {
    first_hostile(&[
        ("host name", &m.host_name),
        ("vendor class", &m.vendor_class),
        ("user class", &m.user_class),
        ("FQDN", &m.fqdn),
        ("domain", &m.domain),
        ("message", &m.message),
        ("boot file", &m.boot_file),
        ("boot server", &m.boot_server),
    ])
}

fn sample6(m: &Dhcp6) -> Option<(&'static str, String)> {
    first_hostile(&[("FQDN", &m.fqdn), ("vendor class", &m.vendor_class)])
}

fn first_hostile(texts: &[(&'static str, &Option<WireText>)]) -> Option<(&'static str, String)> {
    texts.iter().find_map(|(name, text)| {
        let text = text.as_ref().filter(|text| text.is_hostile())?;
        Some((*name, text.to_string().chars().take(SAMPLE).collect()))
    })
}
