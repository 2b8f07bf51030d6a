//! `dhcp.request-storm` by lease queries (RFC 4388, RFC 5007): somebody asks a server who holds which lease.
//!
//! Relays and access concentrators do that after a restart. From anybody else it is reconnaissance, worth a note; so many that a server suffers
//! are a storm, whoever sends them.

use std::net::IpAddr;
use std::time::Duration;

use super::watch::{Hits, Quiet, Watched};
use super::{DHCP, heard, interface};
use crate::detect::{Board, Detector, Finding, Kind, Settings, Severity, Subject, Touch};
use crate::event::dhcp4::MessageType;
use crate::event::{Classes, EventKind, Timestamp};
use crate::state::leases::scope::ScopeId;
use crate::state::{NetState, Observation};

/// LEASEQUERY of RFC 5007 §4.1.
const LEASEQUERY_V6: u8 = 14;
/// Queries within [`WINDOW`] that are more than somebody looking up one client.
const ENOUGH: usize = 16;
const WINDOW: Duration = Duration::from_secs(60);
/// … that make a server suffer: dnsmasq and ISC's dhcpd answer some hundred requests a second, and each query may walk their leases.
const STORM: u64 = 1000;
/// Silent for this long: over.
const QUIET: Duration = Duration::from_secs(120);

/// The detector.
#[derive(Clone)]
pub struct LeaseQuery {
    relays: Vec<IpAddr>,
    askers: Watched<(ScopeId, IpAddr), Hits>,
    quiet: Quiet,
}

impl LeaseQuery {
    /// With the relays that the operator declared.
    pub fn new(settings: &Settings) -> LeaseQuery {
        LeaseQuery {
            relays: settings.dhcp_relays.clone(),
            askers: Watched::new(WINDOW),
            quiet: Quiet::default(),
        }
    }
}

impl Detector for LeaseQuery {
    fn name(&self) -> &'static str {
        "dhcp.lease-query"
    }

    fn wants(&self) -> Classes {
        DHCP
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let event = seen.event;
        let asker = match &event.kind {
            EventKind::Dhcp4(m) if m.message_type == Some(MessageType::LeaseQuery) => {
                // The asker puts its own address there (RFC 4388 §6.3).
                Some(m.giaddr)
                    .filter(|a| !a.is_unspecified())
                    .map(IpAddr::V4)
                    .or(m.frame.ip_src)
            }
            EventKind::Dhcp6(m) if m.message_type == LEASEQUERY_V6 => m.frame.ip_src,
            _ => return,
        };
        let (Some(asker), Some(heard)) = (asker, heard(seen, net)) else {
            return;
        };
        let Some(hits) = self.askers.at((heard.scope, asker), event.at) else {
            return;
        };
        let hit = hits.hit(event, WINDOW, ENOUGH, board, |first| {
            Finding::at(
                Kind::DhcpRequestStorm,
                Severity::Info,
                Subject::Address(asker),
                first,
            )
        });
        let Some(key) = hit.key() else {
            return;
        };
        self.quiet.until(key, event.at + QUIET);
        let relay = self.relays.contains(&asker)
            || net
                .leases
                .clients
                .unordered()
                .any(|client| client.relays.contains(&asker));
        let frame = heard.message.frame;
        board.update(key, |f| {
            f.touch(Touch::Address(asker));
            f.touch(Touch::Server(asker));
            if let Some(mac) = frame.eth_src {
                f.also(Subject::Mac(mac));
                f.touch(Touch::Mac(mac));
            }
            if let Some(touch) = interface(event, net) {
                f.touch(touch);
            }
            let seconds = f.last.since(f.first);
            let rate = f.count as f64 / seconds.as_secs_f64().max(WINDOW.as_secs_f64());
            if rate * WINDOW.as_secs_f64() >= STORM as f64 {
                f.severity = Severity::Warning;
            }
            f.explain = format!(
                "{asker} asked for other clients' leases {} times in {:.0} s (LEASEQUERY){}.",
                f.count,
                seconds.as_secs_f64(),
                if relay {
                    "; it is a relay here, and relays ask so after a restart"
                } else {
                    ", and is no relay that was seen or declared"
                },
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
