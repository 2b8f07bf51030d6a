//! `dhcp.identity-conflict`, as a note: one host name under ever other link-layer addresses, or one address under ever other faces.
//!
//! A host whose port and bridge ask by turns at each boot, and thus gets another address each time (survey D17, X2); machines cloned with their
//! name; several systems behind one link-layer address (D33). None of it breaks anything by itself, so it is information only.

use std::time::Duration;

use smallvec::SmallVec;

use super::watch::{Quiet, Watched};
use super::{DHCP, client_subject, heard_once, touch_all};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::dhcp4::Dhcp4;
use crate::event::frame::Mac;
use crate::event::{Classes, Event, EventKind, Locator, Timestamp};
use crate::state::leases::LeaseDelta;
use crate::state::leases::identity;
use crate::state::leases::message::{ClientId, Message, Verb};
use crate::state::leases::scope::ScopeId;
use crate::state::{NetState, Observation};

/// The time in which it must happen: hosts reboot some times a day at most.
const WINDOW: Duration = Duration::from_secs(86_400);
/// A host with several ports configures them within one boot; only a lease this much later is another boot's.
const ONE_BOOT: Duration = Duration::from_secs(60);
/// Link-layer addresses under one name: a replaced card makes two.
const MACS: usize = 3;
/// Changes between two of them: replaced and put back are two.
const TURNS: usize = 3;
/// Leases remembered of one name.
const MAX_LEASES: usize = 8;
/// Fingerprints of one client: boot ROM, boot loader, installer and system are four (survey D33).
const FACES: usize = 5;
/// Octets of a name that are compared.
const MAX_NAME: usize = 64;
/// Names that machines have by default (survey D17): they say nothing about who it is.
const DEFAULT_NAMES: &[&str] = &[
    "localhost",
    "localhost.localdomain",
    "ubuntu",
    "debian",
    "centos",
    "fedora",
    "rocky",
    "almalinux",
    "rhel",
    "archlinux",
    "archiso",
    "alpine",
    "raspberrypi",
    "kali",
    "nixos",
    "talos",
    "rancher",
    "flatcar",
    "coreos",
    "openwrt",
    "host",
    "pc",
    "linux",
    "unknown",
    "android",
    "iphone",
    "ipad",
    "cloudimg",
    "installer",
    "live",
    "pxe",
    "busybox",
    "vm",
];

#[derive(Copy, Clone)]
struct Lease {
    at: Timestamp,
    mac: Mac,
    locator: Locator,
}

#[derive(Clone, Default)]
struct Name {
    leases: SmallVec<[Lease; 2]>,
    /// Two of them were in use at the same time: several machines.
    several: bool,
    key: Option<FindingKey>,
}

#[derive(Clone, Default)]
struct Faces {
    /// Option 55, in wire order.
    known: SmallVec<[SmallVec<[u8; 20]>; 1]>,
    since: Timestamp,
    frames: SmallVec<[Locator; 2]>,
    key: Option<FindingKey>,
}

/// The detector.
#[derive(Clone)]
pub struct Names {
    names: Watched<(ScopeId, Vec<u8>), Name>,
    faces: Watched<(ScopeId, ClientId), Faces>,
    quiet: Quiet,
}

impl Default for Names {
    fn default() -> Names {
        Names {
            names: Watched::new(WINDOW),
            faces: Watched::new(WINDOW),
            quiet: Quiet::default(),
        }
    }
}

impl Detector for Names {
    fn name(&self) -> &'static str {
        "dhcp.names"
    }

    fn wants(&self) -> Classes {
        DHCP
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(heard) = heard_once(seen, net) else {
            return;
        };
        let m = &heard.message;
        if m.v6 || m.flawed || m.boots {
            return; // one DUID for all ports of a host is DHCPv6's intention
        }
        if let EventKind::Dhcp4(wire) = &seen.event.kind
            && matches!(m.verb, Verb::Discover | Verb::Select | Verb::Reboot)
        {
            self.face(seen.event, heard.scope, wire, m, net, board);
        }
        let renews = m.verb == Verb::Renew;
        let granted = seen.changes.leases.iter().any(|delta| {
            matches!(
                delta,
                LeaseDelta::Granted { .. } | LeaseDelta::Restarted { .. }
            )
        });
        if renews || granted {
            self.lease(seen.event, heard.scope, m, granted, net, board);
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.quiet.next()
    }

    fn expire(&mut self, now: Timestamp, _net: &NetState, board: &mut Board) {
        self.quiet.expire(now, board);
    }
}

impl Names {
    fn lease(
        &mut self,
        event: &Event,
        scope: ScopeId,
        m: &Message,
        granted: bool,
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(client) = net.leases.clients.get(scope, &m.client) else {
            return;
        };
        let (Some(text), Some(mac)) = (&client.host_name, client.mac) else {
            return;
        };
        let name = text.octets().to_ascii_lowercase();
        let usual = DEFAULT_NAMES
            .iter()
            .any(|default| default.as_bytes() == name);
        // Phones take another address for each network, and forget networks.
        let phone = matches!(identity::class(client), Some(("Android" | "Apple", _)));
        if name.is_empty() || name.len() > MAX_NAME || usual || phone || mac.is_virtual_router() {
            return;
        }
        let Some(entry) = self.names.at((scope, name), event.at) else {
            return;
        };
        entry
            .leases
            .retain(|lease| event.at.since(lease.at) <= WINDOW);
        let last = entry.leases.last().copied();
        if !granted {
            // Who renews is in use; whoever got a lease behind its back is another machine.
            entry.several |= last.is_some_and(|last| last.mac != mac);
            return;
        }
        if last.is_some_and(|last| last.mac == mac || event.at.since(last.at) < ONE_BOOT) {
            return;
        }
        if entry.leases.len() == MAX_LEASES {
            entry.leases.remove(0);
        }
        entry.leases.push(Lease {
            at: event.at,
            mac,
            locator: event.locator,
        });
        let mut macs: Vec<Mac> = entry.leases.iter().map(|lease| lease.mac).collect();
        macs.sort_unstable();
        macs.dedup();
        let turns = entry.leases.len() - 1;
        if macs.len() < MACS && turns < TURNS {
            return;
        }
        let key = match entry
            .key
            .filter(|key| board.get(*key).is_some_and(|f| f.ended.is_none()))
        {
            Some(key) => {
                board.update(key, |f| f.again(event));
                key
            }
            None => {
                let mut changes = entry.leases.iter().skip(1);
                let first = changes.next().map_or(event.at, |lease| lease.at);
                let kind = Kind::DhcpIdentityConflict;
                let mut f = Finding::at(kind, Severity::Info, client_subject(&m.client), first);
                changes.for_each(|lease| f.again_at(lease.at));
                for lease in &entry.leases {
                    f.evidence.add(lease.locator);
                }
                board.raise(f)
            }
        };
        entry.key = Some(key);
        self.quiet.until(key, event.at + WINDOW);
        let several = entry.several;
        let by_turns = macs.len() < MACS && !several;
        board.update(key, |f| {
            touch_all(f, event, m, net);
            for mac in &macs {
                f.also(Subject::Mac(*mac));
                f.touch(Touch::Mac(*mac));
            }
            let addresses: Vec<String> = macs.iter().map(Mac::to_string).collect();
            f.explain = format!(
                "The host name {text} takes leases under {} link-layer addresses ({}): {} changes, and another IP address with each.",
                macs.len(),
                addresses.join(", "),
                f.count,
            );
            let why = if by_turns {
                "a host whose port and bridge ask by turns (NetworkManager beside Open vSwitch, br-ex): give the bridge the port's address"
            } else if several {
                "several machines with one name, as clones of one image have it"
            } else {
                "machines cloned with their name, or a host that invents a link-layer address at each boot"
            };
            f.explanations = vec![why.into()];
            f.advice = vec!["hostnamectl; ip -br link   (on each of them)".into()];
        });
    }

    fn face(
        &mut self,
        event: &Event,
        scope: ScopeId,
        wire: &Dhcp4,
        m: &Message,
        net: &NetState,
        board: &mut Board,
    ) {
        if wire.parameters.is_empty() {
            return;
        }
        let Some(faces) = self.faces.at((scope, m.client.clone()), event.at) else {
            return;
        };
        if event.at.since(faces.since) > WINDOW {
            *faces = Faces {
                since: event.at,
                ..Faces::default()
            };
        }
        // What a class says may be made up anew each time; what a stack asks for is its own.
        let face = wire.parameters.as_slice();
        let known = faces.known.iter().any(|known| known.as_slice() == face);
        if known || faces.known.len() >= MAX_LEASES {
            return;
        }
        faces.known.push(SmallVec::from_slice(face));
        faces.frames.push(event.locator);
        if faces.known.len() < FACES {
            return;
        }
        let key = match faces.key {
            Some(key) => {
                board.update(key, |f| f.again(event));
                key
            }
            None => {
                let kind = Kind::DhcpIdentityConflict;
                let mut f = Finding::new(kind, Severity::Info, client_subject(&m.client), event);
                faces.frames.iter().for_each(|frame| f.evidence.add(*frame));
                f.first = faces.since;
                f.explanations = vec!["several systems behind one link-layer address: virtual machines behind address translation, containers, or a copied address".into()];
                f.advice = vec![format!("bridge fdb show | grep -i {}", m.client)];
                board.raise(f)
            }
        };
        faces.key = Some(key);
        self.quiet.until(key, event.at + WINDOW);
        let count = faces.known.len();
        board.update(key, |f| {
            touch_all(f, event, m, net);
            f.explain = format!(
                "Client {} asked in {count} different ways (option 55) within a day.",
                m.client
            );
        });
    }
}
