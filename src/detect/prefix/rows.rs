//! The report's tables `prefixes[]` and `sessions[]` as plain rows, straight from the model.

use std::net::IpAddr;

use serde::Serialize;

use crate::detect::Fidelity;
use crate::detect::session::perspective::Perspective;
use crate::event::bgp::{Nlri, Rd, Safi};
use crate::event::{Prefix, Timestamp};
use crate::state::NetState;
use crate::state::rib::table::{Cold, Slot};
use crate::state::rib::{Rib, RibId};
use crate::state::sessions::{SessionId, State};

/// What a damping profile makes of a prefix.
#[derive(Clone, Debug, Serialize)]
pub struct DampingRow {
    pub profile: &'static str,
    pub penalty: u32,
    pub suppressed: bool,
    pub reuse_at: Option<Timestamp>,
}

/// An unstable prefix as one peer announces it.
#[derive(Clone, Debug, Serialize)]
pub struct PrefixRow {
    pub prefix: Prefix,
    /// Who announces it.
    pub peer: IpAddr,
    pub path_id: u32,
    /// The distinguisher of its VRF or VPN, where it is not in the main table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rd: Option<String>,
    pub withdrawals: u64,
    pub announcements: u64,
    pub duplicates: u64,
    pub attr_changes: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    pub fidelity: Fidelity,
    /// Median seconds between withdrawals, where there are at least three.
    pub period: Option<f64>,
    pub damping: Vec<DampingRow>,
    /// Route origin validation state; `None` (null) as long as no validated ROAs are given.
    pub rov: Option<&'static str>,
    pub origin: Option<u32>,
}

/// The `top` most unstable (peer, prefix) pairs at `now`, worst first by FRR's penalty; one row for all copies of a pair.
pub fn prefixes(net: &NetState, now: Timestamp, top: usize) -> Vec<PrefixRow> {
    let store = net.rib.hot_records();
    /// Prefix, peer, path identifier and routing instance.
    type Pair = (Prefix, IpAddr, u32, u64);
    let mut best: std::collections::BTreeMap<Pair, (u32, u64, PrefixRow)> =
        std::collections::BTreeMap::new();
    for hot in store.iter() {
        let Some(rib) = net.rib.get(hot.rib) else {
            continue;
        };
        let (Some(nlri), Some(session)) = (rib.nlri(hot.slot), net.sessions.get(rib.session))
        else {
            continue;
        };
        // MACs and VTEPs are no prefixes.
        if !nlri.is_prefix() {
            continue;
        }
        let peer = session.ends[rib.sender].addr;
        let penalty = hot.penalties[0].value(&store.profiles()[0], now);
        let events = u64::from(hot.withdrawals) + u64::from(hot.changes);
        let key = (nlri.prefix, peer, nlri.path_id, nlri.rd ^ session.vrf);
        if best.get(&key).is_some_and(|(_, seen, _)| *seen >= events) {
            continue;
        }
        if let Some(row) = prefix(net, hot.rib, hot.slot, now) {
            best.insert(key, (penalty, events, row));
        }
    }
    let mut rows: Vec<(u32, u64, PrefixRow)> = best.into_values().collect();
    rows.sort_by(|a, b| (b.0, b.1, a.2.prefix, a.2.peer).cmp(&(a.0, a.1, b.2.prefix, b.2.peer)));
    rows.truncate(top);
    rows.into_iter().map(|(_, _, row)| row).collect()
}

/// One route of one RIB, also one that never changed: it has no history then, and the counts of its cold record.
pub fn prefix(net: &NetState, rib: RibId, slot: Slot, now: Timestamp) -> Option<PrefixRow> {
    let store = net.rib.hot_records();
    let rib = net.rib.get(rib)?;
    let (nlri, cold) = (rib.nlri(slot)?, rib.cold(slot)?);
    let session = net.sessions.get(rib.session)?;
    let peer = session.ends[rib.sender].addr;
    let hot = cold.hot.checked_sub(1).and_then(|at| store.get(at));
    let damping = hot.map(|hot| {
        hot.penalties
            .iter()
            .zip(store.profiles())
            .map(|(p, profile)| DampingRow {
                profile: profile.name,
                penalty: p.value(profile, now),
                suppressed: p.suppressed(profile, now),
                reuse_at: p.reuse_at(profile, now),
            })
    });
    Some(PrefixRow {
        prefix: nlri.prefix,
        peer,
        path_id: nlri.path_id,
        rd: [nlri.rd, session.vrf]
            .into_iter()
            .find(|rd| *rd != 0)
            .map(|rd| Rd(rd).to_string()),
        withdrawals: hot.map_or(u64::from(cold.withdrawals), |hot| {
            u64::from(hot.withdrawals)
        }),
        announcements: u64::from(cold.announcements),
        duplicates: u64::from(cold.duplicates),
        attr_changes: hot.map_or(u64::from(cold.changes), |hot| u64::from(hot.changes)),
        first: hot.map_or_else(|| rib.first_seen(cold), |hot| hot.first),
        last: hot.map_or_else(|| rib.last_change(cold), |hot| hot.last),
        fidelity: if rib.kind.is_exact() {
            Fidelity::Exact
        } else {
            Fidelity::Compressed
        },
        period: hot.and_then(|hot| period(hot.times())),
        damping: damping.into_iter().flatten().collect(),
        rov: rov(net, rib, &nlri, cold),
        origin: match hot {
            Some(hot) => (hot.origin_as != 0).then_some(hot.origin_as),
            None => net
                .rib
                .digest(cold.attrs)
                .map(|digest| digest.origin_as)
                .filter(|asn| *asn != 0),
        },
    })
}

/// The state of a route as it is announced, or was announced last.
fn rov(net: &NetState, rib: &Rib, nlri: &Nlri, cold: &Cold) -> Option<&'static str> {
    if !net.vrps.is_usable() || nlri.safi != Safi::Unicast {
        return None;
    }
    let session = net.sessions.get(rib.session)?;
    let sender = session.ends[rib.sender & 1].asn;
    let current = rib.current(cold);
    let attrs = if current.is_some() {
        current
    } else {
        cold.before
    };
    let origin = crate::state::rov::origin(net.rib.digest(attrs)?, sender)?;
    Some(net.vrps.validate(&nlri.prefix, origin).as_str())
}

fn period(times: &[Timestamp]) -> Option<f64> {
    let mut gaps: Vec<f64> = times
        .windows(2)
        .map(|w| w[1].since(w[0]).as_secs_f64())
        .collect();
    if gaps.len() < 2 {
        return None;
    }
    gaps.sort_by(f64::total_cmp);
    Some(gaps[gaps.len() / 2])
}

/// A BGP session.
#[derive(Clone, Debug, Serialize)]
pub struct SessionRow {
    pub local: IpAddr,
    pub remote: IpAddr,
    pub local_as: Option<u32>,
    pub remote_as: Option<u32>,
    pub vrf: Option<String>,
    /// `established`, `open-sent`, `connect` or `idle`.
    pub state: &'static str,
    /// Since when it is in this state; for an established session that was up before, when it was first seen.
    pub since: Timestamp,
    pub downs: u32,
    /// Seconds.
    pub hold_time: Option<u64>,
    /// What the remote end offered in its OPEN.
    pub capabilities: Vec<&'static str>,
    /// Prefixes that each end announces now (the copy that shows most).
    pub prefixes_received: u32,
    pub prefixes_sent: u32,
    pub observers: Vec<&'static str>,
}

/// All sessions in the order in which they were first seen, at most `top`. `perspective` tells which end is the host's own.
pub fn sessions(net: &NetState, perspective: &Perspective, top: usize) -> Vec<SessionRow> {
    let row = |(id, _)| session(net, perspective, id);
    let sessions = net.sessions.iter().filter(|(_, session)| !session.is_table);
    sessions.take(top).filter_map(row).collect()
}

/// One session.
pub fn session(net: &NetState, perspective: &Perspective, id: SessionId) -> Option<SessionRow> {
    let session = net.sessions.get(id)?;
    Some({
        let far = perspective.far_end(&net.sessions, session);
        let (remote, local) = (&session.ends[far], &session.ends[1 - far]);
        let known = |asn: u32| (asn != 0).then_some(asn);
        let held = |sender: usize| {
            net.rib
                .of_session(id)
                .filter(|(_, rib)| rib.sender == sender)
                .map(|(_, rib)| rib.present)
                .max()
                .unwrap_or(0)
        };
        let mut capabilities = Vec::new();
        if let Some(open) = &remote.open {
            let offers = [
                (open.four_octet_as, "4-octet AS"),
                (!open.add_path.is_empty(), "ADD-PATH"),
                (open.route_refresh, "route refresh"),
                (open.enhanced_route_refresh, "enhanced route refresh"),
                (open.graceful_restart.is_some(), "graceful restart"),
                (!open.long_lived.is_empty(), "long-lived graceful restart"),
                (open.extended_messages, "extended messages"),
                (!open.extended_next_hop.is_empty(), "extended next hop"),
                (open.role.is_some(), "role"),
            ];
            capabilities.extend(
                offers
                    .into_iter()
                    .filter(|(on, _)| *on)
                    .map(|(_, name)| name),
            );
        }
        SessionRow {
            local: local.addr,
            remote: remote.addr,
            local_as: known(local.asn),
            remote_as: known(remote.asn),
            vrf: session.distinguisher(),
            state: match session.state {
                State::Idle => "idle",
                State::Connect => "connect",
                State::OpenSent => "open-sent",
                State::Established => "established",
            },
            since: session.since,
            downs: session.downs,
            hold_time: session.hold_time().map(|hold| hold.as_secs()),
            capabilities,
            prefixes_received: held(far),
            prefixes_sent: held(1 - far),
            observers: session.observers(),
        }
    })
}
