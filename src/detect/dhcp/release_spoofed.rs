//! `dhcp.release-spoofed`: a RELEASE that did not come from the lease's owner.
//!
//! A RELEASE is unicast and may be routed, so another link-layer source alone proves nothing. It does where the owner was seen on this
//! very link, by DHCP or ARP; and whoever renews a lease, or answers ARP for it, after "its" RELEASE did not send that (RFC 2131 §4.4.6: a
//! released lease is not used any more). A RELEASE implies the lease: how that was granted need not have been seen.

use std::net::IpAddr;
use std::time::Duration;

use super::watch::{Hits, Quiet, Watched};
use super::{DHCP, client_subject, heard, touch_all};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::frame::Mac;
use crate::event::{Classes, Event, Locator, Prefix, Timestamp};
use crate::state::hosts::{HostChange, HostDelta, Scope};
use crate::state::leases::LeaseDelta;
use crate::state::leases::message::{ClientId, Verb};
use crate::state::leases::scope::ScopeId;
use crate::state::{NetState, Observation};

/// A renewal this long after a RELEASE is the same lease's; later ones may be a restart's INIT-REBOOT.
const AFTER: Duration = Duration::from_secs(3600);
/// A client that gives its lease back takes the address off its interface at once; whoever answers ARP for it this much later uses it still.
const STILL: Duration = Duration::from_secs(2);
/// Forged RELEASEs come in one sweep over the network.
const QUIET: Duration = Duration::from_secs(120);

/// A RELEASE that was believed so far.
#[derive(Clone, Default)]
struct Believed {
    at: Timestamp,
    locator: Option<Locator>,
    addr: Option<IpAddr>,
    /// It came from another link-layer address than the client's.
    sender: Option<Mac>,
    client_mac: Option<Mac>,
}

/// The detector.
#[derive(Clone)]
pub struct ReleaseSpoofed {
    believed: Watched<(ScopeId, ClientId), Believed>,
    /// Whose address it was, for what ARP says of it.
    by_addr: Watched<IpAddr, Option<(ScopeId, ClientId)>>,
    senders: Watched<(ScopeId, Option<Mac>), Hits>,
    quiet: Quiet,
}

impl Default for ReleaseSpoofed {
    fn default() -> ReleaseSpoofed {
        ReleaseSpoofed {
            believed: Watched::new(AFTER),
            by_addr: Watched::new(AFTER),
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
        DHCP.and(Classes::ARP)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        for claim in &seen.changes.hosts {
            self.used(seen.event, claim, net, board);
        }
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
                let client = net.leases.clients.get(heard.scope, &m.client);
                let taken = m.wanted.and_then(|addr| {
                    let lease = net.leases.lease(heard.scope, Prefix::host(addr))?;
                    Some(lease.client != m.client)
                });
                // Nobody else holds it, and no lease of this client was seen to begin or end: it had one from before.
                let implied = taken.is_none()
                    && client.is_some_and(|client| {
                        client.counts.acks == 0 && client.counts.releases == 1
                    });
                let held = held || implied;
                let uses = m.wanted.and_then(|addr| {
                    let host = net.hosts.get(Scope::of(event, &m.frame), addr)?;
                    host.current().map(|user| user.mac)
                });
                let owner_here = client.is_some_and(|client| client.on_link)
                    || uses.is_some_and(|mac| Some(mac) == m.client_mac);
                let sender = m.frame.eth_src.filter(|_| m.is_direct());
                let foreign =
                    !m.v6 && m.client_mac.is_some() && sender.is_some() && sender != m.client_mac;
                let other_ip = !m.v6
                    && m.wanted.is_some()
                    && m.frame
                        .ip_src
                        .is_some_and(|ip| !ip.is_unspecified() && Some(ip) != m.wanted);
                // Straight from its sender: no router has counted the hop limit down from what systems begin with (64, 128, 255). And its
                // sender is no bridge that lends this client its address in everything.
                let straight = foreign
                    && matches!(m.frame.hop_limit, Some(64 | 128 | 255))
                    && client.is_some_and(|c| c.counts.discovers + c.counts.requests == 0);
                if held && ((owner_here && (foreign || other_ip)) || straight) {
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
                        let why = if owner_here {
                            "the owners were seen on this link under their own addresses".to_owned()
                        } else {
                            format!(
                                "it is their sender's own frame and passed no router (hop limit {})",
                                m.frame.hop_limit.unwrap_or_default()
                            )
                        };
                        f.explain = format!(
                            "{from} gave back {} in the name of others ({}); {why}.",
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
                        sender: sender.filter(|_| foreign),
                        client_mac: m.client_mac,
                    };
                    if let Some(addr) = m.wanted
                        && let Some(slot) = self.by_addr.at(addr, event.at)
                    {
                        *slot = Some((heard.scope, m.client.clone()));
                    }
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
                let how = format!(
                    "Client {} renews the lease that a RELEASE in its name gave back {:.1} s before",
                    m.client,
                    event.at.since(believed.at).as_secs_f64()
                );
                let Some(key) = self.tell(event, &who, &believed, locator, how, board) else {
                    return;
                };
                board.update(key, |f| touch_all(f, event, m, net));
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

impl ReleaseSpoofed {
    /// A RELEASE that was believed did not come from the owner.
    fn tell(
        &mut self,
        event: &Event,
        who: &(ScopeId, ClientId),
        believed: &Believed,
        locator: Locator,
        how: String,
        board: &mut Board,
    ) -> Option<FindingKey> {
        let addr = believed.addr?;
        let subject = believed
            .sender
            .map_or_else(|| client_subject(&who.1), Subject::Mac);
        let mut f = Finding::at(
            Kind::DhcpReleaseSpoofed,
            Severity::Warning,
            subject,
            believed.at,
        );
        f.evidence.add(locator);
        f.support(event);
        f.also(client_subject(&who.1));
        f.touch(Touch::Client(who.1.to_string().into()));
        f.touch(Touch::Address(addr));
        f.affected.clients.insert(client_subject(&who.1));
        let from = believed.sender.map_or_else(String::new, |mac| {
            f.touch(Touch::Mac(mac));
            f.advice = vec![format!("bridge fdb show | grep -i {mac}")];
            format!(" It came from {mac}.")
        });
        f.explain = format!("{how}: it did not send that RELEASE.{from}");
        let key = board.raise(f);
        self.quiet.until(key, event.at + QUIET);
        Some(key)
    }

    /// Somebody uses an address: its owner, although it gave it back?
    fn used(&mut self, event: &Event, claim: &HostDelta, net: &NetState, board: &mut Board) {
        if matches!(claim.change, HostChange::Probed | HostChange::Ignored) {
            return;
        }
        let Some(who) = self
            .by_addr
            .get_mut(&claim.addr)
            .and_then(|slot| slot.clone())
        else {
            return;
        };
        let Some(believed) = self.believed.get_mut(&who).cloned() else {
            return;
        };
        let late = event.at.since(believed.at);
        let owner = believed.client_mac == Some(claim.mac) && believed.addr == Some(claim.addr);
        // Routed RELEASEs come from a router; what shows that this one is forged is that its owner is here and goes on.
        if !owner || believed.sender.is_none() || late < STILL || late > AFTER {
            return;
        }
        let Some(locator) = believed.locator else {
            return;
        };
        self.believed.remove(&who);
        self.by_addr.remove(&claim.addr);
        let how = format!(
            "{} still uses {} {:.1} s after a RELEASE in its name gave it back",
            claim.mac,
            claim.addr,
            late.as_secs_f64()
        );
        if let Some(key) = self.tell(event, &who, &believed, locator, how, board) {
            board.update(key, |f| {
                f.touch(Touch::Mac(claim.mac));
                if let Some(touch) = super::interface(event, net) {
                    f.touch(touch);
                }
            });
        }
    }
}
