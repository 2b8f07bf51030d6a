//! Rows of what gives addresses on a link: DHCP clients, leases and servers, IPv6 routers, the kernel's neighbors.

use std::net::{IpAddr, Ipv6Addr};

use crate::engine::Engine;
use crate::engine::query::{Mood, Row};
use crate::event::{Prefix, Timestamp};
use crate::output::bars::{ahead, second, short};
use crate::output::report::clock;
use crate::output::tables::{self, cell};
use crate::state::hosts::Scope;
use crate::state::leases::message::{ClientId, ServerId};
use crate::state::leases::scope::ScopeId;
use crate::state::oui;

pub use crate::output::tables::SERVER_HEAD as SERVERS;

pub const CLIENTS: [&str; 13] = [
    "client",
    "lease",
    "left",
    "asked, got",
    "asked",
    "acks",
    "naks",
    "who",
    "made by",
    "via (relay, port)",
    "server",
    "heard",
    "fingerprint",
];

pub const LEASES: [&str; 9] = [
    "lease", "client", "left", "t1", "t2", "ends", "server", "granted", "renewed",
];

pub const ROUTERS: [&str; 9] = [
    "router", "default", "left", "mac", "prefixes", "flags", "sent", "every", "last",
];

pub const NEIGHBORS: [&str; 5] = ["neighbor", "state", "mac", "device", "made by"];

/// A server.
pub fn server(engine: &Engine, scope: ScopeId, id: &ServerId) -> Option<Row> {
    let server = engine.net().leases.servers.get(scope, id)?;
    let row = crate::state::leases::rows::ServerRow::of(server);
    let named = row.address.as_ref().map(ToString::to_string);
    Some(Row {
        key: format!("{scope:?} {}", row.id),
        subject: format!("server:{}", named.unwrap_or_else(|| row.id.clone())),
        cells: tables::server_cells(&row),
        mood: if row.naks > 0 {
            Mood::Warning
        } else {
            Mood::Plain
        },
        ..Row::default()
    })
}

/// How a lease stands: it wears out after T2, when nobody confirmed it (RFC 2131 §4.4.5).
fn worn(now: Timestamp, t2: Timestamp, until: Timestamp) -> Mood {
    match () {
        () if until <= now => Mood::Critical,
        () if t2 <= now => Mood::Warning,
        () => Mood::Plain,
    }
}

/// A client: what it has, what it asked and got, who it is.
pub fn client(engine: &Engine, scope: ScopeId, id: &ClientId) -> Option<Row> {
    let (net, now) = (engine.net(), engine.now());
    let client = net.leases.clients.get(scope, id)?;
    let row = net.leases.client_row(client);
    let lease = row.lease.as_ref();
    let left = lease.map(|lease| match lease.until {
        Some(until) => ahead(now, until),
        None => "forever".to_owned(),
    });
    let unanswered = row
        .exchanges
        .iter()
        .any(|exchange| exchange.answered.is_none() && exchange.tries > 1);
    let last = match (row.asked, row.got) {
        (Some(asked), Some(got)) => format!("{asked}, {got}"),
        (Some(asked), None) => format!("{asked}, nothing"),
        (None, got) => got.unwrap_or_default().to_owned(),
    };
    let who = [&row.hostname, &row.vendor_class]
        .into_iter()
        .flatten()
        .map(ToString::to_string)
        .reduce(|name, class| format!("{name} ({class})"));
    Some(Row {
        key: format!("{scope:?} {}", row.id),
        subject: format!("client:{}", row.id),
        mood: if row.naks + row.declines > 0 || unanswered {
            Mood::Warning
        } else {
            Mood::Plain
        },
        cells: vec![
            row.id.clone(),
            cell(
                lease
                    .map(|lease| lease.address.to_string())
                    .unwrap_or_default(),
            ),
            cell(left.unwrap_or_default()),
            cell(last),
            (row.discovers + row.requests).to_string(),
            row.acks.to_string(),
            row.naks.to_string(),
            cell(who.unwrap_or_default()),
            cell(row.oui.clone().unwrap_or_default()),
            cell(tables::via(&row)),
            cell(lease.map(|lease| lease.server.clone()).unwrap_or_default()),
            format!("{} ago", short(now.minus(row.last))),
            cell(row.fingerprint.clone()),
        ],
        details: Vec::new(),
    })
}

/// A lease with its timers.
pub fn lease(engine: &Engine, scope: ScopeId, prefix: Prefix) -> Option<Row> {
    let (net, now) = (engine.net(), engine.now());
    let lease = net.leases.lease(scope, prefix)?;
    let whole = prefix == Prefix::host(prefix.addr());
    let server = net.leases.servers.get(scope, &lease.server);
    let forever = lease.until == Timestamp::MAX;
    let timer = |at: Timestamp| match (at, at > now) {
        (Timestamp::MAX, _) => "-".to_owned(),
        (at, true) => ahead(now, at),
        (at, false) => second(now, at),
    };
    Some(Row {
        key: format!("{scope:?} {prefix}"),
        subject: format!("client:{}", lease.client),
        mood: worn(now, lease.t2, lease.until),
        cells: vec![
            if whole {
                prefix.addr().to_string()
            } else {
                prefix.to_string()
            },
            lease.client.to_string(),
            if forever {
                "forever".to_owned()
            } else {
                ahead(now, lease.until)
            },
            timer(lease.t1),
            timer(lease.t2),
            if forever {
                "-".to_owned()
            } else {
                second(now, lease.until)
            },
            server
                .and_then(|server| server.addr)
                .map_or_else(|| lease.server.to_string(), |addr| addr.to_string()),
            if lease.seen_granted {
                clock(lease.granted)
            } else {
                "before".to_owned()
            },
            clock(lease.renewed),
        ],
        details: Vec::new(),
    })
}

/// An IPv6 router.
pub fn router(engine: &Engine, scope: Scope, addr: Ipv6Addr) -> Option<Row> {
    let (net, now) = (engine.net(), engine.now());
    let router = net.routers.get(scope, addr)?;
    let sender = router.current()?;
    let default = router.is_default(now);
    let mut flags: Vec<String> = Vec::new();
    flags.extend(sender.ra.managed.then(|| "M".to_owned()));
    flags.extend(sender.ra.other.then(|| "O".to_owned()));
    flags.extend(match sender.ra.preference {
        Some(1) => Some("high".to_owned()),
        Some(-1) => Some("low".to_owned()),
        _ => None,
    });
    let prefixes = sender
        .ra
        .prefixes
        .iter()
        .map(|told| told.prefix.to_string());
    Some(Row {
        key: format!("{scope:?} {addr}"),
        subject: format!("router:{addr}"),
        mood: match (default, router.senders.len()) {
            (false, _) if sender.ra.lifetime > 0 => Mood::Critical,
            (_, 2..) => Mood::Warning,
            (false, _) => Mood::Faded,
            _ => Mood::Plain,
        },
        cells: vec![
            addr.to_string(),
            match (default, sender.ra.lifetime) {
                (true, _) => "yes",
                (false, 0) => "no",
                (false, _) => "ran out",
            }
            .to_owned(),
            cell(
                router
                    .expires()
                    .map(|at| ahead(now, at))
                    .unwrap_or_default(),
            ),
            cell(sender.mac.map(|mac| mac.to_string()).unwrap_or_default()),
            cell(prefixes.collect::<Vec<_>>().join(",")),
            cell(flags.join(",")),
            router.seen.to_string(),
            cell(
                router
                    .interval
                    .and_then(|gap| i64::try_from(gap.as_nanos()).ok())
                    .map(short)
                    .unwrap_or_default(),
            ),
            clock(router.last),
        ],
        details: Vec::new(),
    })
}

/// A neighbor as the kernel knows it.
pub fn neighbor(engine: &Engine, index: u32, addr: IpAddr) -> Option<Row> {
    let net = engine.net();
    let state = net.neighbors.get(index, addr)?;
    let maker = state
        .mac
        .map(|mac| oui::vendor(mac).map_or_else(|| oui::block(mac), str::to_owned));
    Some(Row {
        key: format!("{index} {addr}"),
        subject: format!("neighbor:{addr}"),
        mood: match () {
            () if state.failed() => Mood::Critical,
            () if state.incomplete() => Mood::Warning,
            () => Mood::Plain,
        },
        cells: vec![
            addr.to_string(),
            state.word().to_owned(),
            cell(state.mac.map(|mac| mac.to_string()).unwrap_or_default()),
            net.links.name(index).to_string(),
            cell(maker.unwrap_or_default()),
        ],
        details: Vec::new(),
    })
}
