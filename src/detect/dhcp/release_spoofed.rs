//! `dhcp.release-spoofed`: a RELEASE that did not come from the lease's owner.
//!
//! A RELEASE is unicast and may be routed, so another link-layer source alone proves nothing. It does where the owner was seen on this
//! very link; and whoever renews a lease after "its" RELEASE did not send that (RFC 2131 §4.4.6: a released lease is not renewed).

use std::time::Duration;

use super::watch::{Hits, Quiet, Watched};
use super::{DHCP, client_subject, heard, touch_all};
use crate::detect::{Board, Detector, Finding, Kind, Severity, Subject, Touch};
use crate::event::{Classes, Locator, Timestamp};
use crate::state::leases::LeaseDelta;
use crate::state::leases::message::{ClientId, Verb};
use crate::state::leases::scope::ScopeId;
use crate::state::{NetState, Observation};

/// A renewal this long after a RELEASE is the same lease's; later ones may be a restart's INIT-REBOOT.
const AFTER: Duration = Duration::from_secs(3600);
/// Forged RELEASEs come in one sweep over the network.
const QUIET: Duration = Duration::from_secs(120);

/// A RELEASE that was believed so far.
#[derive(Clone, Default)]
struct Believed {
    at: Timestamp,
    locator: Option<Locator>,
    addr: Option<std::net::IpAddr>,
}

/// The detector.
#[derive(Clone)]
pub struct ReleaseSpoofed {
    believed: Watched<(ScopeId, ClientId), Believed>,
    senders: Watched<(ScopeId, Option<crate::event::frame::Mac>), Hits>,
    quiet: Quiet,
}

impl Default for ReleaseSpoofed {
    fn default() -> ReleaseSpoofed {
        ReleaseSpoofed {
            believed: Watched::new(AFTER),
            senders: Watched::new(QUIET),
            quiet: Quiet::default(),
        }
    }
}

impl Detector for ReleaseSpoofed {
    fn name(&self) -> &'static str {
        "dhcp.release-spoofed"
    }

    fn wants(&self) -> Classes {
        DHCP
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(heard) = heard(seen, net) else {
            return;
        };
        let m = &heard.message;
        let who = (heard.scope, m.client.clone());
        let event = seen.event;
        match m.verb {
            Verb::Release => {
                let held = seen
                    .changes
                    .leases
                    .iter()
                    .any(|delta| matches!(delta, LeaseDelta::Released { held: true, .. }));
                let owner_here = net
                    .leases
                    .clients
                    .get(heard.scope, &m.client)
                    .is_some_and(|client| client.on_link);
                let sender = m.frame.eth_src.filter(|_| m.is_direct());
                let foreign =
                    !m.v6 && m.client_mac.is_some() && sender.is_some() && sender != m.client_mac;
                let other_ip = !m.v6
                    && m.wanted.is_some()
                    && m.frame
                        .ip_src
                        .is_some_and(|ip| !ip.is_unspecified() && Some(ip) != m.wanted);
                if held && owner_here && (foreign || other_ip) {
                    let Some(hits) = self.senders.at((heard.scope, sender), event.at) else {
                        return;
                    };
                    let hit = hits.hit(event, QUIET, 1, board, |first| {
                        let subject =
                            sender.map_or_else(|| client_subject(&m.client), Subject::Mac);
                        Finding::at(Kind::DhcpReleaseSpoofed, Severity::Warning, subject, first)
                    });
                    let Some(key) = hit.key() else {
                        return;
                    };
                    self.quiet.until(key, event.at + QUIET);
                    board.update(key, |f| {
                        touch_all(f, event, m, net);
                        if f.subjects.len() < 16 {
                            f.also(client_subject(&m.client));
                        }
                        if let Some(addr) = m.wanted {
                            f.touch(Touch::Address(addr));
                        }
                        f.affected.clients.insert(client_subject(&m.client));
                        let from = sender.map_or_else(|| "another host".into(), |mac| mac.to_string());
                        f.explain = format!(
                            "{from} gave back {} in the name of others ({}); the owners were seen on this link under their own addresses.",
                            super::plural(f.count, "lease"),
                            super::plural(f.affected.clients.len() as u64, "client"),
                        );
                        f.advice = vec![format!("bridge fdb show | grep -i {from}")];
                    });
                } else if held && let Some(believed) = self.believed.at(who, event.at) {
                    *believed = Believed {
                        at: event.at,
                        locator: Some(event.locator),
                        addr: m.wanted,
                    };
                }
            }
            Verb::Renew | Verb::Rebind => {
                let Some(believed) = self.believed.remove(&who) else {
                    return;
                };
                let Some(locator) = believed.locator else {
                    return;
                };
                if event.at.since(believed.at) > AFTER || believed.addr != m.wanted {
                    return;
                }
                let mut f = Finding::at(
                    Kind::DhcpReleaseSpoofed,
                    Severity::Warning,
                    client_subject(&m.client),
                    believed.at,
                );
                f.evidence.add(locator);
                f.support(event);
                touch_all(&mut f, event, m, net);
                if let Some(addr) = m.wanted {
                    f.touch(Touch::Address(addr));
                }
                f.affected.clients.insert(client_subject(&m.client));
                f.explain = format!(
                    "Client {} renews the lease that a RELEASE in its name gave back {:.1} s before: it did not send that RELEASE.",
                    m.client,
                    event.at.since(believed.at).as_secs_f64()
                );
                let key = board.raise(f);
                self.quiet.until(key, event.at + QUIET);
            }
            // It really started over.
            Verb::Discover | Verb::Reboot => {
                self.believed.remove(&who);
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
