//! The ways that BGP offers to a prefix, each peer's once, and which of them is the best as far as what was seen tells.

use std::cmp::Reverse;
use std::net::IpAddr;

use crate::engine::Engine;
use crate::event::Prefix;
use crate::event::bgp::Nlri;
use crate::state::rib::attributes::AttrId;
use crate::state::rib::table::Slot;
use crate::state::rib::{Rib, RibId};

/// RIBs looked into for one prefix: a hash lookup or a few each. Beyond it the table itself is the better answer.
const MAX_RIBS: usize = 1_024;
/// Path identifiers tried where ADD-PATH is in use: FRR and BIRD count from 1, and offer a handful of ways.
const PATH_IDS: u32 = 8;
/// RFC 4271 §9.1.1: what is not said by an external peer is set by policy; 100 is every implementation's default.
const LOCAL_PREF: u32 = 100;

/// What a peer says of a prefix.
pub struct Way {
    pub rib: RibId,
    pub slot: Slot,
    /// Who says it, and to whom.
    pub peer: IpAddr,
    pub to: IpAddr,
    pub path_id: u32,
    /// What it announces now; [`AttrId::NONE`] when it is withdrawn.
    pub attrs: AttrId,
    /// What it announced last.
    pub last: AttrId,
    /// It is told to the analysed host (or router), not by it.
    pub received: bool,
    /// The best of those received by RFC 4271 §9.1.2.2 a) to c): preference, length, origin, MED.
    pub best: bool,
}

/// All ways to a prefix, the best first.
pub fn of(engine: &Engine, prefix: Prefix) -> Vec<Way> {
    let net = engine.net();
    let mut all: Vec<Way> = Vec::new();
    for (id, rib) in net.rib.iter().take(MAX_RIBS) {
        let mut misses = 0;
        for path_id in 0..PATH_IDS {
            let nlri = Nlri {
                path_id,
                ..Nlri::unicast(prefix)
            };
            match net.rib.lookup(id, &nlri) {
                Some((slot, _)) => all.extend(way(engine, id, rib, slot, path_id)),
                None => misses += 1,
            }
            // Neither the plain key nor the first identifiers: nothing here.
            if misses >= 3 {
                break;
            }
        }
    }
    // Copies of one announcement (packets, BMP before and after policy): the one that is present, then the first.
    all.sort_by_key(|way| {
        (
            way.peer,
            way.to,
            way.path_id,
            !way.received,
            !way.attrs.is_some(),
            way.rib,
        )
    });
    all.dedup_by_key(|way| (way.peer, way.to, way.path_id, way.received));
    all.sort_by_key(|way| (!way.received, rank(engine, way), way.peer, way.path_id));
    if let Some(first) = all.first_mut() {
        first.best = first.received && first.attrs.is_some();
    }
    all
}

fn way(engine: &Engine, id: RibId, rib: &Rib, slot: Slot, path_id: u32) -> Option<Way> {
    let net = engine.net();
    let session = net.sessions.get(rib.session)?;
    let cold = rib.cold(slot)?;
    let attrs = rib.current(cold);
    Some(Way {
        rib: id,
        slot,
        peer: session.ends.get(rib.sender)?.addr,
        to: session.ends.get(1 - rib.sender.min(1))?.addr,
        path_id,
        attrs,
        last: if attrs.is_some() { attrs } else { cold.before },
        received: engine.perspective().far_end(&net.sessions, session) == rib.sender,
        best: false,
    })
}

type Rank = (bool, Reverse<u32>, usize, u8, u32);

fn rank(engine: &Engine, way: &Way) -> Rank {
    let attrs = engine.net().rib.attributes(way.attrs);
    (
        attrs.is_none(),
        Reverse(attrs.and_then(|a| a.local_pref).unwrap_or(LOCAL_PREF)),
        attrs.map_or(usize::MAX, |a| a.as_path.hops()),
        attrs.and_then(|a| a.origin).unwrap_or(u8::MAX),
        attrs.and_then(|a| a.med).unwrap_or(0),
    )
}
