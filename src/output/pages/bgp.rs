//! Rows of routes and sessions: what BGP says and what the kernel has side by side, sessions with the reason of their last loss and BFD.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::since;
use crate::detect::prefix::rows;
use crate::engine::Engine;
use crate::engine::query::{Mood, Row};
use crate::event::netlink::protocol_name;
use crate::event::{Prefix, Timestamp};
use crate::output::bars::{bars, second, short};
use crate::output::cards::ways;
use crate::output::report::clock;
use crate::output::tables::cell;
use crate::state::rib::RibId;
use crate::state::rib::table::Slot;
use crate::state::routes::{Route, RouteKey};
use crate::state::sessions::SessionId;

/// Columns of a sparkline in a table.
const SPARK: usize = 8;

pub const PREFIXES: [&str; 13] = [
    "prefix",
    "peer",
    "next hop",
    "origin",
    "rov",
    "churn",
    "withdrawn",
    "changed",
    "every",
    "penalty",
    "damped until",
    "kernel",
    "kernel via",
];

pub const ROUTES: [&str; 9] = [
    "prefix",
    "via",
    "device",
    "owner",
    "metric",
    "table",
    "since",
    "bgp paths",
    "bgp best",
];

pub const SESSIONS: [&str; 13] = [
    "peer",
    "as",
    "local",
    "state",
    "since",
    "losses",
    "last loss",
    "heard",
    "hold",
    "bfd",
    "in",
    "out",
    "seen by",
];

pub const BFD: [&str; 6] = [
    "one end",
    "other end",
    "state",
    "since",
    "losses",
    "detects in",
];

/// A prefix of a peer, and what the kernel has of it.
pub fn prefix(engine: &Engine, rib: RibId, slot: Slot) -> Option<Row> {
    let (net, now) = (engine.net(), engine.now());
    let row = rows::prefix(net, rib, slot, now)?;
    let here = net.rib.get(rib)?;
    let cold = here.cold(slot)?;
    let current = here.current(cold);
    let withdrawn = !current.is_some();
    let attrs = if withdrawn { cold.before } else { current };
    let next_hop = net.rib.attributes(attrs).and_then(|attrs| attrs.next_hop);
    // The first profile that would suppress it, FRR's before the others.
    let damped = row.damping.iter().find(|d| d.suppressed);
    let until = damped.map(|d| {
        let until = d.reuse_at.map(|at| second(now, at)).unwrap_or_default();
        match d.profile {
            "frr" => until,
            other => format!("{until} {other}"),
        }
    });
    let store = net.rib.hot_records();
    let hot = cold.hot.checked_sub(1).and_then(|at| store.get(at));
    let kernel = net.routes.best(row.prefix);
    let unknown = net.routes.is_empty();
    Some(Row {
        key: format!("{}@{}#{}@{}", row.prefix, row.peer, row.path_id, rib.0),
        subject: format!("prefix:{}", row.prefix),
        mood: match (damped.is_some(), withdrawn) {
            (true, _) => Mood::Warning,
            (_, true) => Mood::Faded,
            _ => Mood::Plain,
        },
        cells: vec![
            row.prefix.to_string(),
            row.peer.to_string(),
            match (withdrawn, next_hop) {
                (true, _) => "withdrawn".to_owned(),
                (_, Some(next_hop)) => next_hop.to_string(),
                _ => "-".to_owned(),
            },
            cell(row.origin.map(|asn| format!("AS{asn}")).unwrap_or_default()),
            cell(row.rov.unwrap_or_default().to_owned()),
            hot.map_or_else(|| "-".to_owned(), |hot| bars(&hot.churn.until(now, SPARK))),
            row.withdrawals.to_string(),
            row.attr_changes.to_string(),
            cell(row.period.map(|p| format!("{p:.1} s")).unwrap_or_default()),
            cell(
                row.damping
                    .first()
                    .map(|d| d.penalty.to_string())
                    .unwrap_or_default(),
            ),
            cell(until.unwrap_or_default()),
            match kernel {
                Some((_, route)) => protocol_name(route.protocol),
                // Without netlink nothing is known, which is not the same as none.
                None if unknown => "-".to_owned(),
                None => "none".to_owned(),
            },
            cell(
                kernel
                    .map(|(_, route)| via(engine, route))
                    .unwrap_or_default(),
            ),
        ],
        details: vec![
            (
                "now".to_owned(),
                if withdrawn { "withdrawn" } else { "announced" }.to_owned(),
            ),
            ("first change".to_owned(), clock(row.first)),
            ("last change".to_owned(), clock(row.last)),
        ],
    })
}

/// Where a kernel route leads: its gateways, else its devices.
pub fn via(engine: &Engine, route: &Route) -> String {
    let hops = route
        .hops
        .iter()
        .map(|hop| match (hop.gateway, hop.ifindex) {
            (Some(gateway), _) => gateway.to_string(),
            (None, Some(index)) => format!("dev {}", engine.net().links.name(index)),
            (None, None) => String::new(),
        });
    joined(hops)
}

/// A kernel route, and what BGP says of its prefix.
pub fn route(engine: &Engine, key: &RouteKey) -> Option<Row> {
    let net = engine.net();
    let route = net.routes.get(key)?;
    let devices = route.hops.iter().filter_map(|hop| hop.ifindex);
    let ways = ways::of(engine, key.prefix);
    let heard = ways
        .iter()
        .filter(|way| way.received && way.attrs.is_some());
    let best = ways.iter().find(|way| way.best);
    let dead = !route.hops.is_empty()
        && route.hops.iter().all(|hop| {
            hop.ifindex
                .is_some_and(|index| net.links.get(index).is_some() && !net.links.usable(index))
        });
    Some(Row {
        key: format!("{key:?}"),
        subject: format!("prefix:{}", key.prefix),
        mood: if dead { Mood::Warning } else { Mood::Plain },
        cells: vec![
            key.prefix.to_string(),
            cell(via(engine, route)),
            cell(joined(
                devices.map(|index| net.links.name(index).to_string()),
            )),
            protocol_name(route.protocol),
            key.metric.to_string(),
            match key.table {
                crate::state::routes::TABLE_MAIN => "main".to_owned(),
                crate::state::routes::TABLE_LOCAL => "local".to_owned(),
                table => table.to_string(),
            },
            since(route.since).unwrap_or_else(|| "-".to_owned()),
            match heard.count() {
                0 => "-".to_owned(),
                n => n.to_string(),
            },
            cell(best.map(|way| way.peer.to_string()).unwrap_or_default()),
        ],
        details: Vec::new(),
    })
}

/// Texts with commas, each once.
fn joined(texts: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = Vec::new();
    for text in texts.filter(|text| !text.is_empty()) {
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all.join(",")
}

/// The last loss of each peer's session: when, and why in words.
pub type Losses = BTreeMap<IpAddr, (Timestamp, String)>;

/// What the detectors found about losses of sessions.
pub fn losses(engine: &Engine) -> Losses {
    let mut all = Losses::new();
    for (_, finding, _) in engine.findings() {
        let Some((at, words)) = loss(finding) else {
            continue;
        };
        let ends = finding.subjects.iter().filter_map(|subject| match subject {
            crate::detect::Subject::Peer(addr, _) => Some(*addr),
            _ => None,
        });
        for end in ends {
            let last = all.entry(end).or_insert((Timestamp::MIN, String::new()));
            if last.0 <= at {
                *last = (at, words.clone());
            }
        }
    }
    all
}

/// The last loss that a finding tells of a session, in words: what was said where something was, else the judged reason.
pub fn loss(finding: &crate::detect::Finding) -> Option<(Timestamp, String)> {
    let layer = finding.kind.as_str().split('.').next();
    let reason = finding.reason.filter(|_| layer == Some("session"))?;
    let words = crate::correlate::explain::reason_words(reason);
    let said = finding.notification.as_ref().map(|(said, _)| {
        let (code, subcode) = said.cause();
        let meaning = match (said.text.as_ref(), said.meaning()) {
            (Some(text), _) => format!(" \"{text}\""),
            (None, "") => String::new(),
            (None, meaning) => format!(" {meaning}"),
        };
        format!("{code}/{subcode}{meaning}")
    });
    Some((
        finding.last,
        match said {
            Some(said) => format!("{words} ({said})"),
            None => words.to_owned(),
        },
    ))
}

/// A session.
pub fn session(engine: &Engine, id: SessionId, losses: Option<&Losses>) -> Option<Row> {
    let (net, now) = (engine.net(), engine.now());
    let row = rows::session(net, engine.perspective(), id)?;
    let session = net.sessions.get(id)?;
    let far = engine.perspective().far_end(&net.sessions, session);
    let remote = session.ends.get(far)?;
    let up = row.state == "established";
    let hold = session.hold_time().filter(|hold| !hold.is_zero());
    let silence = remote.last_message.filter(|_| up).map(|at| now.minus(at));
    // Two thirds of the hold time without a word: two KEEPALIVEs are missing (RFC 4271 §4.4).
    let late = matches!((silence, hold), (Some(silence), Some(hold))
        if i128::from(silence) * 3 > hold.as_nanos() as i128 * 2);
    let loss = [row.remote, row.local]
        .iter()
        .find_map(|end| losses?.get(end))
        .filter(|_| row.downs > 0 || !up);
    let bfd = net.sessions.bfd().get(row.local, row.remote);
    Some(Row {
        key: format!("session {}", id.0),
        subject: format!("peer:{}", row.remote),
        mood: match (up, row.downs) {
            (true, _) if late => Mood::Warning,
            (true, 0) => Mood::Plain,
            (true, _) => Mood::Warning,
            (false, _) => Mood::Critical,
        },
        cells: vec![
            row.remote.to_string(),
            cell(
                row.remote_as
                    .map(|asn| format!("AS{asn}"))
                    .unwrap_or_default(),
            ),
            row.local.to_string(),
            row.state.to_owned(),
            clock(row.since),
            row.downs.to_string(),
            cell(loss.map(|(_, words)| words.clone()).unwrap_or_default()),
            cell(silence.map(short).unwrap_or_default()),
            cell(row.hold_time.map(|s| format!("{s} s")).unwrap_or_default()),
            match bfd {
                Some(bfd) if bfd.up => "up".to_owned(),
                Some(_) => "down".to_owned(),
                None => "-".to_owned(),
            },
            row.prefixes_received.to_string(),
            row.prefixes_sent.to_string(),
            if session.feed.is_some() {
                "our listener".to_owned()
            } else {
                cell(row.observers.join(","))
            },
        ],
        details: vec![("offers".to_owned(), cell(row.capabilities.join(", ")))],
    })
}

/// A BFD session.
pub fn bfd(engine: &Engine, a: IpAddr, b: IpAddr) -> Option<Row> {
    let session = engine.net().sessions.bfd().get(a, b)?;
    let detects = session.slowest_detection();
    Some(Row {
        key: format!("{a} {b}"),
        subject: format!("peer:{b}"),
        cells: vec![
            a.to_string(),
            b.to_string(),
            if session.up { "up" } else { "down" }.to_owned(),
            clock(session.since),
            session.downs.to_string(),
            cell(
                detects
                    .map(|d| format!("{} ms", d.as_millis()))
                    .unwrap_or_default(),
            ),
        ],
        mood: match (session.up, session.downs) {
            (true, 0) => Mood::Plain,
            (true, _) => Mood::Warning,
            (false, _) => Mood::Critical,
        },
        details: Vec::new(),
    })
}

/// The kernel's best route to a prefix and those that cover it, for cards.
pub fn covering(engine: &Engine, prefix: Prefix) -> Option<(RouteKey, Route)> {
    let mut all = engine.net().routes.covering(prefix);
    all.find(|(key, _)| key.table == crate::state::routes::TABLE_MAIN)
        .map(|(key, route)| (*key, route.clone()))
}
