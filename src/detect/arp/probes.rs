//! Probes that are answered: a host wants to use an address that another one has (RFC 5227, RFC 4862 §5.4).
//!
//! Once is what the check is for, and worth a note; again and again means that somebody hands out an address in use.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::QUIET;
use crate::detect::{Board, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::frame::Mac;
use crate::event::{Event, Timestamp};
use crate::state::NetState;
use crate::state::hosts::{HostDelta, Scope};

/// Answered probes of one address that are no coincidence any more.
const REPEATED: u64 = 2;
/// Answers within this time belong to one check (RFC 5227 §2.1.1 sends three probes 1 to 2 s apart, and gives up at the first answer).
const ONE_CHECK: Duration = Duration::from_secs(1);
/// One MAC that answers for so many addresses answers for others: proxy ARP, or a switch's device tracking, which makes clients decline good
/// addresses.
const PROXY: usize = 16;
/// Addresses watched at once.
const MAX_WATCHED: usize = 512;

#[derive(Copy, Clone, Debug)]
struct Watched {
    finding: FindingKey,
    last: Timestamp,
}

/// Answered probes by address.
#[derive(Clone, Default)]
pub(super) struct Probes {
    watched: BTreeMap<(Scope, IpAddr), Watched>,
    deadlines: BTreeSet<(Timestamp, (Scope, IpAddr))>,
}

impl Probes {
    /// `delta.mac` answered a probe of `by` for `delta.addr`.
    pub(super) fn defended(
        &mut self,
        event: &Event,
        delta: &HostDelta,
        by: Mac,
        net: &NetState,
        board: &mut Board,
    ) {
        if let IpAddr::V4(addr) = delta.addr
            && addr.is_link_local()
        {
            return; // that is how hosts choose one of these (RFC 3927 §2.2.1)
        }
        let key = (delta.scope, delta.addr);
        if let Some(watched) = self.watched.get_mut(&key) {
            let another = event.at.since(watched.last) > ONE_CHECK;
            self.deadlines.remove(&(watched.last + QUIET, key));
            watched.last = event.at;
            board.update(watched.finding, |f| {
                if another {
                    f.again(event);
                } else {
                    f.support(event);
                }
                if f.count >= REPEATED {
                    f.severity = Severity::Warning;
                }
                f.explain = sentence(delta, by, f.count);
                f.also(Subject::Mac(by));
                prober(f, by);
            });
        } else if self.watched.len() < MAX_WATCHED {
            let mut finding = Finding::new(
                Kind::AddressConflict,
                Severity::Info,
                Subject::Address(delta.addr),
                event,
            );
            finding.explain = sentence(delta, by, 1);
            finding.also(Subject::Mac(delta.mac));
            finding.also(Subject::Mac(by));
            finding.touch(Touch::Address(delta.addr));
            finding.touch(Touch::Mac(delta.mac));
            prober(&mut finding, by);
            if net.hosts.addresses_of(delta.scope, delta.mac, PROXY) >= PROXY {
                finding.explanations.push(format!(
                    "{} answers for many addresses: proxy ARP or device tracking makes clients give up good addresses",
                    delta.mac
                ));
            }
            finding
                .explanations
                .push("a static address inside a DHCP pool".into());
            finding
                .advice
                .push(format!("arping -D -c 3 {}", delta.addr));
            finding.advice.push(format!(
                "bridge fdb show | grep {}   (the port of the host that has it)",
                delta.mac
            ));
            let finding = board.raise(super::on_link(finding, delta.scope, net));
            self.watched.insert(
                key,
                Watched {
                    finding,
                    last: event.at,
                },
            );
        } else {
            return;
        }
        self.deadlines.insert((event.at + QUIET, key));
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(super) fn expire(&mut self, now: Timestamp, board: &mut Board) {
        while let Some((at, key)) = self.deadlines.first().copied() {
            if at > now {
                break;
            }
            self.deadlines.pop_first();
            if let Some(watched) = self.watched.remove(&key) {
                board.update(watched.finding, |f| f.ended = Some(now));
            }
        }
    }
}

fn sentence(delta: &HostDelta, by: Mac, count: u64) -> String {
    let times = if count == 1 {
        "once".to_string()
    } else {
        format!("{count} times")
    };
    format!(
        "{by} wanted to use {}, which {} has: its probes were answered {times}",
        delta.addr, delta.mac
    )
}

fn prober(finding: &mut Finding, by: Mac) {
    finding.touch(Touch::Mac(by));
    finding.touch(Touch::Client(by.to_string().into()));
}
