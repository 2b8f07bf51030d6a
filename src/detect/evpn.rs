//! EVPN: MACs that change their VTEP. Once is a machine that moved; again and again is one MAC behind two VTEPs, or a loop behind them.
//!
//! RFC 7432 §15 says when a MAC moved: a MAC/IP route of another VTEP with a higher sequence number in its MAC Mobility community (§7.7), or the
//! first route after the old VTEP withdrew its own. Two VTEPs with one sequence number share an Ethernet segment (§15.1). §15.1 says, too, from when on
//! it is a duplicate: 5 moves within 180 s, which VTEPs take as their default (FRR: `dup-addr-detection max-moves 5 time 180`). A MAC may be in two
//! services at once (virtual routers' MACs are in all of them): only routes with a route target in common are compared.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use smallvec::SmallVec;

use crate::event::bgp::{Attributes, Nlri, Safi};
use crate::event::frame::Mac;
use crate::event::{Classes, Event, EventKind, Timestamp};
use crate::state::rib::{Rib, RouteChange, RouteDelta};
use crate::state::{NetState, Observation};

use super::{
    Board, Detector, Fidelity, Finding, FindingKey, Kind, Settings, Severity, Subject, Touch,
};

/// N and M of RFC 7432 §15.1.
const DUPLICATE_MOVES: usize = 5;
const DUPLICATE_WINDOW: Duration = Duration::from_secs(180);
/// MACs followed at once: a large fabric has some tens of thousands; some 150 octets each. A flood of new ones leaves those that moved.
const MAX_MACS: usize = 65_536;
/// Route targets of a route that are compared: one of the MAC-VRF and one of the IP-VRF are usual (RFC 9135 §5.2).
const TARGETS: usize = 4;
/// VTEPs named in a finding.
const MAX_NAMED: usize = 8;

/// Adds this family's detectors.
pub fn register(_settings: &Settings, detectors: &mut Vec<Box<dyn Detector>>) {
    detectors.push(Box::new(Macs::default()));
}

/// A MAC in the broadcast domain of an Ethernet tag, as keys have it.
type Place = u64;

/// Who has it.
#[derive(Clone)]
struct Holder {
    vtep: IpAddr,
    sequence: u32,
    targets: SmallVec<[u32; TARGETS]>,
    /// It withdrew its route.
    gone: bool,
}

#[derive(Clone)]
struct Watch {
    holder: Holder,
    /// The latest moves, oldest first.
    moves: SmallVec<[Timestamp; DUPLICATE_MOVES]>,
    key: Option<FindingKey>,
    /// Sequence number before the first move that was seen.
    from: u32,
    /// An IP address was told with the MAC.
    has_address: bool,
}

/// `evpn.mac-move`, `evpn.duplicate-mac`.
#[derive(Clone, Default)]
struct Macs {
    watched: BTreeMap<Place, Watch>,
}

impl Detector for Macs {
    fn name(&self) -> &'static str {
        "evpn"
    }

    fn wants(&self) -> Classes {
        Classes::BGP.and(Classes::BMP)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let changes = &seen.changes.rib;
        if matches!(seen.event.kind, EventKind::Deadline) {
            return;
        }
        let Some(rib) = changes.rib.and_then(|id| net.rib.get(id)) else {
            return;
        };
        for delta in &changes.routes {
            if delta.slot.is_unicast() {
                continue;
            }
            let nlri = rib.nlri(delta.slot);
            if let Some(nlri) = nlri.filter(|nlri| nlri.safi == Safi::Evpn2) {
                self.route(seen.event, net, rib, delta, &nlri, board);
            }
        }
    }
}

impl Macs {
    fn route(
        &mut self,
        event: &Event,
        net: &NetState,
        rib: &Rib,
        delta: &RouteDelta,
        nlri: &Nlri,
        board: &mut Board,
    ) {
        let Some(mac) = nlri.mac() else { return };
        if delta.change == RouteChange::Withdrawn {
            let vtep = net.rib.attributes(delta.old).and_then(|a| a.next_hop);
            if let Some(watch) = self.watched.get_mut(&nlri.extra) {
                watch.holder.gone |= Some(watch.holder.vtep) == vtep;
            }
            return;
        }
        if !delta.new.is_some() {
            return;
        }
        let Some((attributes, holder)) = net
            .rib
            .attributes(delta.new)
            .and_then(|attributes| Some((attributes, holder(attributes)?)))
        else {
            return;
        };
        let full = self.watched.len() >= MAX_MACS;
        let Some(watch) = self.watched.get_mut(&nlri.extra) else {
            if full {
                self.watched.retain(|_, watch| watch.key.is_some());
            }
            if self.watched.len() < MAX_MACS {
                let watch = Watch {
                    from: holder.sequence,
                    holder,
                    moves: SmallVec::new(),
                    key: None,
                    has_address: false,
                };
                self.watched.insert(nlri.extra, watch);
            }
            return;
        };
        let before = &watch.holder;
        let same_service = before.targets.is_empty()
            || holder.targets.is_empty()
            || before.targets.iter().any(|t| holder.targets.contains(t));
        if !same_service {
            return;
        }
        let moved = before.vtep != holder.vtep
            && !delta.transfer
            && (holder.sequence > before.sequence || before.gone);
        let old = before.vtep;
        // An older number is a copy that comes late, unless nobody has it any more.
        if holder.sequence >= before.sequence || before.gone {
            let shared = holder.sequence == before.sequence && !before.gone;
            if !shared {
                watch.holder = holder.clone();
            }
        }
        let addr = nlri.prefix.is_host().then(|| nlri.prefix.addr());
        if !moved {
            // A VTEP announces the MAC alone and with its address: one move, and the second route names the host.
            if let (Some(key), Some(addr), false) = (watch.key, addr, watch.has_address) {
                watch.has_address = true;
                board.update(key, |finding| name(finding, addr));
            }
            return;
        }
        watch.has_address |= addr.is_some();
        let now = event.at;
        if watch.moves.len() == DUPLICATE_MOVES {
            watch.moves.remove(0);
        }
        watch.moves.push(now);
        let duplicate = watch.moves.len() == DUPLICATE_MOVES
            && watch
                .moves
                .first()
                .is_some_and(|first| now.since(*first) <= DUPLICATE_WINDOW);
        let sticky = attributes.mac_mobility().is_some_and(|(_, sticky)| sticky);
        let told = Told {
            mac,
            nlri,
            old,
            new: &holder,
            from: watch.from,
            duplicate,
            sticky,
        };
        match watch.key {
            Some(key) => board.update(key, |finding| {
                finding.again(event);
                told.describe(finding);
            }),
            None => {
                let mut finding =
                    Finding::new(Kind::EvpnMacMove, Severity::Info, Subject::Mac(mac), event);
                finding.touch(Touch::Mac(mac));
                finding.fidelity = if rib.kind.is_exact() {
                    Fidelity::Exact
                } else {
                    Fidelity::Compressed
                };
                told.describe(&mut finding);
                watch.key = Some(board.raise(finding));
            }
        }
    }
}

/// The host behind the MAC.
fn name(finding: &mut Finding, addr: IpAddr) {
    finding.also(Subject::Address(addr));
    finding.touch(Touch::Address(addr));
}

fn holder(attributes: &Attributes) -> Option<Holder> {
    Some(Holder {
        vtep: attributes.next_hop?,
        sequence: attributes
            .mac_mobility()
            .map_or(0, |(sequence, _)| sequence),
        targets: attributes.route_targets().take(TARGETS).collect(),
        gone: false,
    })
}

/// What is said of a move.
struct Told<'a> {
    mac: Mac,
    nlri: &'a Nlri,
    old: IpAddr,
    new: &'a Holder,
    /// Sequence number when it was first seen.
    from: u32,
    duplicate: bool,
    sticky: bool,
}

impl Told<'_> {
    fn describe(&self, finding: &mut Finding) {
        let mac = self.mac;
        let addr = self.nlri.prefix.is_host().then(|| self.nlri.prefix.addr());
        if let Some(addr) = addr {
            name(finding, addr);
        }
        for vtep in [self.old, self.new.vtep] {
            if finding.subjects.len() < MAX_NAMED {
                finding.also(Subject::Nexthop(vtep));
                finding.touch(Touch::Gateway(vtep));
            }
        }
        let with = addr.map(|addr| format!(" ({addr})")).unwrap_or_default();
        let span = finding.last.since(finding.first).as_secs_f64();
        let numbers = match (self.from, self.new.sequence) {
            (0, 0) => String::new(),
            (from, to) => format!("; its mobility sequence went from {from} to {to}"),
        };
        if self.duplicate {
            finding.kind = Kind::EvpnDuplicateMac;
            finding.severity = Severity::Warning;
            finding.broken.subject = true;
        }
        finding.explain = if finding.count == 1 {
            format!(
                "{mac}{with} moved from VTEP {} to VTEP {} (EVPN MAC/IP route){numbers}",
                self.old, self.new.vtep
            )
        } else {
            format!(
                "{mac}{with} moved {} times in {span:.1} s between VTEPs, last from {} to {} (EVPN MAC/IP routes){numbers}{}",
                finding.count,
                self.old,
                self.new.vtep,
                if finding.kind == Kind::EvpnDuplicateMac {
                    ": one MAC behind two VTEPs, or a loop behind them; VTEPs stop at 5 moves in 180 s (RFC 7432 §15.1)"
                } else {
                    ""
                }
            )
        };
        finding.explanations = match (self.sticky, finding.kind) {
            (true, _) => vec!["the MAC is marked sticky: it must not move (RFC 7432 §15.2)".into()],
            (false, Kind::EvpnMacMove) => {
                vec!["a virtual machine that migrates, or a station that roams, moves so".into()]
            }
            _ => Vec::new(),
        };
        finding.advice = vec![
            format!("vtysh -c 'show evpn mac vni all mac {mac}'"),
            "vtysh -c 'show bgp l2vpn evpn route type macip'".to_owned(),
            format!("bridge fdb show | grep -i {mac} # on both VTEPs"),
        ];
    }
}

#[cfg(test)]
mod tests;
