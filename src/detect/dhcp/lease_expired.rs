//! `dhcp.lease-expired`: a lease ran out although its client asked to renew it.
//!
//! By deadline: the end that the last ACK promised passes while renewals go unanswered. A client that was switched off does not ask,
//! and its lease's end is nobody's loss. The kernel's removal of the address is the address detectors' finding.

use std::net::IpAddr;
use std::time::Duration;

use super::watch::{Quiet, Watched};
use super::{DHCP, client_subject, heard, plural, server_addr, touch_all, touch_client};
use crate::detect::{
    Board, Detector, Finding, FindingKey, Kind, Occurrence, Severity, Subject, Touch,
};
use crate::event::loss::GapKind;
use crate::event::{Classes, EventKind, Locator, Prefix, Timestamp};
use crate::state::leases::message::{ClientId, Message, ServerId, Verb};
use crate::state::leases::scope::ScopeId;
use crate::state::leases::{Lease, LeaseDelta};
use crate::state::{NetState, Observation};

/// Unanswered renewals that show that the client wanted to keep its lease and could not. One may be lost on the way.
const TRIES: usize = 2;
/// A lease that ends is followed this long for the client's return, and ends of one server's leases are one finding.
const FOLLOWED: Duration = Duration::from_secs(600);

/// A client's unanswered renewals.
#[derive(Clone, Default)]
struct Trying {
    at: Vec<(Timestamp, Locator)>,
    tries: usize,
    message: Option<Message>,
    interface: Option<Touch>,
}

/// The detector.
#[derive(Clone)]
pub struct LeaseExpired {
    trying: Watched<(ScopeId, ClientId), Trying>,
    /// The finding of a server's expired leases.
    told: Watched<(ScopeId, ServerId), Option<FindingKey>>,
    /// Whose return ends it.
    gone: Watched<(ScopeId, ClientId), Option<(FindingKey, Timestamp)>>,
    quiet: Quiet,
    lossy_until: Timestamp,
}

impl Default for LeaseExpired {
    fn default() -> LeaseExpired {
        LeaseExpired {
            trying: Watched::new(Duration::from_secs(86_400)),
            told: Watched::new(FOLLOWED),
            gone: Watched::new(FOLLOWED),
            quiet: Quiet::default(),
            lossy_until: Timestamp::MIN,
        }
    }
}

impl Detector for LeaseExpired {
    fn name(&self) -> &'static str {
        "dhcp.lease-expired"
    }

    fn wants(&self) -> Classes {
        DHCP.and(Classes::GAP)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        for delta in &seen.changes.leases {
            if let LeaseDelta::Expired {
                scope,
                prefix,
                lease,
            } = delta
            {
                self.ends(*scope, *prefix, lease, net, board);
            }
        }
        if let EventKind::Gap(gap) = &seen.event.kind {
            if matches!(
                gap.kind,
                GapKind::CaptureDrops | GapKind::DamagedInput | GapKind::ClockStep
            ) {
                self.lossy_until = self.lossy_until.max(gap.to);
            }
            return;
        }
        let Some(heard) = heard(seen, net) else {
            return;
        };
        let m = &heard.message;
        let who = (heard.scope, m.client.clone());
        match m.verb {
            Verb::Renew | Verb::Rebind => {
                let interface = super::interface(seen.event, net);
                if let Some(trying) = self.trying.at(who, seen.event.at) {
                    trying.tries += 1;
                    if trying.at.len() == 4 {
                        trying.at.remove(2); // the first two and the last two tell enough
                    }
                    trying.at.push((seen.event.at, seen.event.locator));
                    trying.message = Some(m.clone());
                    trying.interface = interface;
                }
            }
            Verb::Ack | Verb::Nak => {
                self.trying.remove(&who);
                if m.verb == Verb::Ack
                    && let Some(Some((key, _))) = self.gone.remove(&who)
                {
                    board.update(key, |f| {
                        f.support(seen.event);
                        f.recovered(seen.event.at);
                        f.broken.subject = false;
                        f.ended = Some(seen.event.at);
                    });
                }
            }
            // It gave up; its tries of before still show that it wanted to keep the lease.
            Verb::Discover => {
                if let Some(Some((key, until))) = self.gone.get_mut(&who)
                    && seen.event.at.since(*until) < FOLLOWED
                {
                    let key = *key;
                    board.update(key, |f| {
                        f.support(seen.event);
                        touch_all(f, seen.event, m, net);
                    });
                }
            }
            Verb::Release => {
                self.trying.remove(&who);
            }
            _ => {}
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.quiet.next()
    }

    fn expire(&mut self, now: Timestamp, _net: &NetState, board: &mut Board) {
        self.quiet.expire(now, board);
    }
}

impl LeaseExpired {
    fn ends(
        &mut self,
        scope: ScopeId,
        prefix: Prefix,
        lease: &Lease,
        net: &NetState,
        board: &mut Board,
    ) {
        let who = (scope, lease.client.clone());
        let Some(trying) = self.trying.remove(&who) else {
            return;
        };
        let (Some(&(first, _)), Some(message)) = (trying.at.first(), trying.message) else {
            return;
        };
        // Tries of an earlier lease, too few of them, or a loss in which the answer may have been.
        if trying.tries < TRIES || first < lease.renewed || self.lossy_until >= first {
            return;
        }
        let until = lease.until;
        let addr = prefix.addr();
        let about = if prefix.is_host() {
            Subject::Address(addr)
        } else {
            Subject::Prefix(prefix)
        };
        let told = self.told.at((scope, lease.server.clone()), until);
        let known = told.as_ref().and_then(|told| **told);
        let key = match known {
            Some(key) => {
                board.update(key, |f| {
                    f.again_at(until);
                    f.also(client_subject(&lease.client));
                });
                key
            }
            None => {
                let mut f = Finding::at(
                    Kind::DhcpLeaseExpired,
                    Severity::Warning,
                    client_subject(&lease.client),
                    first,
                );
                // It begins with the first unanswered renewal, and happens when the lease ends.
                f.last = until;
                f.occurrences = vec![Occurrence {
                    at: until,
                    until: None,
                }];
                f.reach = Some(until.since(lease.renewed));
                f.advice = vec![
                    format!("ip -d address show to {addr}"),
                    "journalctl -b | grep -iE 'dhclient|dhcpcd|networkd|NetworkManager' | tail"
                        .into(),
                ];
                let key = board.raise(f);
                if let Some(told) = told {
                    *told = Some(key);
                }
                key
            }
        };
        if let Some(slot) = self.gone.at(who, until) {
            *slot = Some((key, until));
        }
        self.quiet.until(key, until + FOLLOWED);
        let server = server_addr(net, scope, &lease.server);
        board.update(key, |f| {
            f.also(about);
            touch_client(f, &message);
            f.touch(Touch::Address(addr));
            if !prefix.is_host() {
                f.touch(Touch::Prefix(prefix));
            }
            for hop in net
                .leases
                .servers
                .get(scope, &lease.server)
                .into_iter()
                .flat_map(|server| server.config.routers.iter())
            {
                f.touch(Touch::Gateway(*hop));
            }
            if let Some(server) = server {
                f.touch(Touch::Server(server));
            }
            if let Some(interface) = trying.interface {
                f.touch(interface);
            }
            for (_, locator) in &trying.at {
                f.evidence.add(*locator);
            }
            f.affected.clients.insert(client_subject(&lease.client));
            f.broken.subject = true;
            let name = server.map_or_else(|| lease.server.to_string(), |a: IpAddr| a.to_string());
            f.explain = format!(
                "The lease of {prefix} for client {} ended {:.1} s after its last confirmation; {} to {name} went unanswered before.",
                lease.client,
                until.since(lease.renewed).as_secs_f64(),
                plural(trying.tries as u64, "renewal"),
            );
        });
    }
}
