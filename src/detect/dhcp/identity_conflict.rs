//! `dhcp.identity-conflict`: two machines use one DHCP identity (option 61, or DUID and IAID; or one MAC address, and then the names that they
//! call themselves by tell them apart).
//!
//! Almost always a cloned image with one /etc/machine-id. One change of hardware behind an identity is a replaced network card, a
//! fail-over of a bond or a migration; two machines show themselves by alternating.

use std::time::Duration;

use smallvec::SmallVec;

use super::watch::{Hits, Quiet, Watched};
use super::{DHCP, client_subject, heard, touch_all};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Reason, Severity, Subject, Touch};
use crate::event::frame::Mac;
use crate::event::{Classes, Event, EventKind, Timestamp, WireText};
use crate::state::leases::client::Client;
use crate::state::leases::identity;
use crate::state::leases::message::{ClientId, Verb};
use crate::state::leases::scope::ScopeId;
use crate::state::leases::{LeaseDelta, Seen};
use crate::state::{NetState, Observation};

/// Changes of hardware behind one identity: there, back, and there again.
const ENOUGH: usize = 2;
/// Two machines renew within a lease; an hour covers the usual ones.
const WINDOW: Duration = Duration::from_secs(3600);
/// Hardware addresses remembered of one identity.
const MAX_MACS: usize = 4;
/// Identities in use, for the table of those; an identity costs a hundred octets.
const STALE: Duration = Duration::from_secs(7200);

#[derive(Clone, Default)]
struct Identity {
    macs: SmallVec<[Mac; 1]>,
    last: Option<Mac>,
    hits: Hits,
}

/// The names that one client calls itself by.
#[derive(Clone, Default)]
struct Names {
    all: SmallVec<[WireText; 2]>,
    last: Option<WireText>,
    hits: Hits,
}

/// The detector.
#[derive(Clone)]
pub struct IdentityConflict {
    identities: Watched<(ScopeId, ClientId), Identity>,
    /// The note about a machine that holds several leases.
    several: Watched<(ScopeId, ClientId), Option<FindingKey>>,
    names: Watched<(ScopeId, ClientId), Names>,
    quiet: Quiet,
}

impl Default for IdentityConflict {
    fn default() -> IdentityConflict {
        IdentityConflict {
            identities: Watched::new(STALE),
            several: Watched::new(STALE),
            names: Watched::new(STALE),
            quiet: Quiet::default(),
        }
    }
}

impl Detector for IdentityConflict {
    fn name(&self) -> &'static str {
        "dhcp.identity-conflict"
    }

    fn wants(&self) -> Classes {
        DHCP
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(heard) = heard(seen, net) else {
            return;
        };
        let m = &heard.message;
        self.several(seen, heard, net, board);
        // Only requests for a lease count: a DISCOVER costs nothing to forge, and boot ROMs share firmware identities.
        if m.flawed
            || m.boots
            || !m.is_direct()
            || !matches!(m.verb, Verb::Select | Verb::Renew | Verb::Rebind)
        {
            return;
        }
        self.named(heard, seen.event, net, board);
        let (Some(identity), Some(mac)) = (&m.identity, m.client_mac) else {
            return;
        };
        if mac.is_virtual_router() {
            return;
        }
        let Some(known) = self
            .identities
            .at((heard.scope, identity.clone()), seen.event.at)
        else {
            return;
        };
        if !known.macs.contains(&mac) && known.macs.len() < MAX_MACS {
            known.macs.push(mac);
        }
        if known.last.replace(mac).is_none_or(|last| last == mac) {
            return;
        }
        let hit = known.hits.hit(seen.event, WINDOW, ENOUGH, board, |first| {
            let subject = if m.v6 {
                client_subject(&m.client)
            } else {
                client_subject(identity)
            };
            Finding::at(
                Kind::DhcpIdentityConflict,
                Severity::Warning,
                subject,
                first,
            )
        });
        let Some(key) = hit.key() else {
            return;
        };
        self.quiet.until(key, seen.event.at + WINDOW);
        let macs = known.macs.clone();
        board.update(key, |f| {
            touch_all(f, seen.event, m, net);
            for mac in &macs {
                f.also(Subject::Mac(*mac));
                f.touch(Touch::Mac(*mac));
                f.affected.clients.insert(Subject::Client(mac.to_string().into()));
            }
            if let Some(addr) = m.wanted {
                f.touch(Touch::Address(addr));
            }
            let names: Vec<String> = macs.iter().map(Mac::to_string).collect();
            f.explain = format!(
                "{} use the one DHCP identity {identity} by turns ({} changes): each gets the other's lease.",
                names.join(" and "),
                f.count
            );
            // RFC 4361: type 255, IAID, DUID-EN; 43793 (0xab11) is systemd's enterprise number.
            let systemd = identity.octets().windows(6).any(|w| w == [0, 2, 0, 0, 0xab, 0x11]);
            if systemd && f.explanations.is_empty() {
                f.explanations
                    .push("cloned /etc/machine-id: the DUID is made from it (systemd)".into());
            }
            f.advice = vec![
                "compare /etc/machine-id of the machines (systemd-machine-id-setup makes a new one)".into(),
                "networkctl status | grep -i duid".into(),
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

impl IdentityConflict {
    /// Several clients on one interface, each with a lease of its own (knowledge D16): two DHCP programs, containers on one address, or a
    /// machine that invents an identifier at each boot. A note; boot ROMs leave such a lease behind as a matter of course.
    fn several(&mut self, seen: &Observation<'_>, heard: &Seen, net: &NetState, board: &mut Board) {
        let m = &heard.message;
        let granted = |delta: &LeaseDelta| matches!(delta, LeaseDelta::Granted { .. });
        if m.v6 || !seen.changes.leases.iter().any(granted) {
            return;
        }
        let holders: SmallVec<[&Client; 4]> = net
            .leases
            .clients
            .on_machine(heard.scope, &m.client)
            .filter(|client| client.lease.is_some() && !boots(client))
            .collect();
        if holders.len() < 2 || m.client_mac.is_some_and(|mac| mac.is_virtual_router()) {
            return;
        }
        let machine = m.client.machine();
        let Some(slot) = self
            .several
            .at((heard.scope, machine.clone()), seen.event.at)
        else {
            return;
        };
        let key = match slot.filter(|key| board.get(*key).is_some_and(|f| f.ended.is_none())) {
            Some(key) => {
                board.update(key, |f| f.again(seen.event));
                key
            }
            None => {
                let kind = Kind::DhcpIdentityConflict;
                let subject = client_subject(&machine);
                let mut f = Finding::new(kind, Severity::Info, subject, seen.event);
                f.reason = Some(Reason::ManyIdentities);
                f.advice = vec![
                    "ps -e | grep -E 'dhclient|dhcpcd|udhcpc|networkd|NetworkManager'".into(),
                    "ip -d address show".into(),
                ];
                board.raise(f)
            }
        };
        *slot = Some(key);
        self.quiet.until(key, seen.event.at + WINDOW);
        let leases: Vec<String> = holders
            .iter()
            .take(MAX_NAMED)
            .filter_map(|client| Some(format!("{} ({})", client.lease?, identified(client))))
            .collect();
        let more = holders.len().saturating_sub(leases.len());
        let more = if more == 0 {
            String::new()
        } else {
            format!(" and {more} more")
        };
        board.update(key, |f| {
            touch_all(f, seen.event, m, net);
            for client in &holders {
                if let Some(addr) = client.lease {
                    f.touch(Touch::Address(addr));
                }
            }
            f.explain = format!(
                "{} DHCP clients on {machine} hold a lease each: {}{more}. The server keeps them apart by their client identifiers.",
                holders.len(),
                leases.join(", "),
            );
        });
    }

    /// One MAC address that asks under two host names (option 12) by turns: a machine has one name at a time, and a renamed one does not go back.
    fn named(&mut self, heard: &Seen, event: &Event, net: &NetState, board: &mut Board) {
        let m = &heard.message;
        let EventKind::Dhcp4(wire) = &event.kind else {
            return;
        };
        let Some(name) = &wire.host_name else {
            return;
        };
        let Some(known) = self.names.at((heard.scope, m.client.clone()), event.at) else {
            return;
        };
        if !known.all.contains(name) && known.all.len() < MAX_MACS {
            known.all.push(name.clone());
        }
        if known
            .last
            .replace(name.clone())
            .is_none_or(|last| last == *name)
        {
            return;
        }
        let hit = known.hits.hit(event, WINDOW, ENOUGH, board, |first| {
            let (kind, subject) = (Kind::DhcpIdentityConflict, client_subject(&m.client));
            Finding::at(kind, Severity::Warning, subject, first)
        });
        let Some(key) = hit.key() else {
            return;
        };
        self.quiet.until(key, event.at + WINDOW);
        let names: Vec<String> = known.all.iter().map(WireText::to_string).collect();
        board.update(key, |f| {
            touch_all(f, event, m, net);
            if let Some(mac) = m.client_mac {
                f.also(Subject::Mac(mac));
                f.touch(Touch::Mac(mac));
            }
            if let Some(addr) = m.wanted {
                f.touch(Touch::Address(addr));
            }
            f.affected.clients.insert(client_subject(&m.client));
            f.explain = format!(
                "{} use the identity {} by turns ({} changes of the name): the server takes them for one client and gives them one lease.",
                names.join(" and "),
                m.client,
                f.count
            );
            f.explanations = vec!["two machines with one MAC address (a cloned VM or container)".into()];
            f.advice = vec![match m.client_mac {
                Some(mac) => format!("bridge fdb show | grep {mac}   (on which ports it is)"),
                None => "bridge monitor fdb".into(),
            }];
        });
    }
}

/// Leases named in one sentence.
const MAX_NAMED: usize = 4;

fn boots(client: &Client) -> bool {
    client.architecture.is_some() || client.user_class.is_some()
}

/// By what a client differs from the others on its interface.
fn identified(client: &Client) -> String {
    match (&client.identity, identity::class(client)) {
        (None, _) => "without an identifier".into(),
        (Some(identity), None) => format!("identifier {identity}"),
        (Some(identity), Some((class, _))) => format!("identifier {identity}, {class}"),
    }
}
