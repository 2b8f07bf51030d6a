//! The report's tables as cells of text: unstable prefixes, sessions, DHCP servers and clients.

use super::selection::Selection;
use crate::detect::prefix::rows::{PrefixRow, SessionRow};
use crate::engine::Engine;
use crate::output::report::clock;
use crate::state::leases::rows::{ClientRow, LeaseRow, ServerRow};

/// A table with all its cells as text.
pub struct Table {
    pub title: &'static str,
    pub head: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
    /// Rows left out.
    pub more: Option<usize>,
}

/// Every table, with the rows of it that `selection` leaves.
pub fn all(engine: &Engine, selection: &Selection) -> Vec<Table> {
    vec![
        prefixes(engine, selection),
        sessions(engine, selection),
        servers(engine, selection),
        clients(engine, selection),
    ]
}

fn table(
    title: &'static str,
    head: &[&'static str],
    mut rows: Vec<Vec<String>>,
    top: usize,
) -> Table {
    let more = rows.len().checked_sub(top).filter(|more| *more > 0);
    rows.truncate(top);
    Table {
        title,
        head: head.to_vec(),
        rows,
        more,
    }
}

/// Heads of [`prefix_cells`].
pub const PREFIX_HEAD: [&str; 11] = [
    "prefix",
    "peer",
    "withdrawn",
    "announced",
    "changed",
    "duplicates",
    "every",
    "penalty (frr)",
    "damped by",
    "until (frr)",
    "origin",
];

/// A prefix of a peer.
pub fn prefix_cells(row: &PrefixRow) -> Vec<String> {
    let frr = row.damping.first();
    let until = frr
        .filter(|d| d.suppressed)
        .and_then(|d| d.reuse_at)
        .map(clock);
    let by: Vec<&str> = row
        .damping
        .iter()
        .filter(|d| d.suppressed)
        .map(|d| d.profile)
        .collect();
    vec![
        match &row.rd {
            Some(rd) => format!("{} ({rd})", row.prefix),
            None => row.prefix.to_string(),
        },
        row.peer.to_string(),
        row.withdrawals.to_string(),
        row.announcements.to_string(),
        row.attr_changes.to_string(),
        row.duplicates.to_string(),
        cell(row.period.map(|p| format!("{p:.1} s")).unwrap_or_default()),
        frr.map(|d| d.penalty.to_string()).unwrap_or_default(),
        cell(by.join(",")),
        cell(until.unwrap_or_default()),
        cell(row.origin.map(|asn| format!("AS{asn}")).unwrap_or_default()),
    ]
}

fn prefixes(engine: &Engine, selection: &Selection) -> Table {
    let rows = selection.prefixes(engine);
    let rows = rows.iter().map(prefix_cells).collect();
    table(
        "UNSTABLE PREFIXES (damping in observe mode: what a router with that profile would do)",
        &PREFIX_HEAD,
        rows,
        selection.top,
    )
}

/// Heads of [`session_cells`].
pub const SESSION_HEAD: [&str; 10] = [
    "peer", "as", "local", "state", "since", "losses", "hold", "received", "sent", "seen by",
];

/// A BGP session.
pub fn session_cells(row: &SessionRow) -> Vec<String> {
    let named = |asn: Option<u32>| asn.map(|asn| format!("AS{asn}")).unwrap_or_default();
    vec![
        match &row.vrf {
            Some(vrf) => format!("{} ({vrf})", row.remote),
            None => row.remote.to_string(),
        },
        cell(named(row.remote_as)),
        row.local.to_string(),
        row.state.to_owned(),
        clock(row.since),
        row.downs.to_string(),
        cell(row.hold_time.map(|s| format!("{s} s")).unwrap_or_default()),
        row.prefixes_received.to_string(),
        row.prefixes_sent.to_string(),
        cell(row.observers.join(",")),
    ]
}

fn sessions(engine: &Engine, selection: &Selection) -> Table {
    let rows = selection.sessions(engine, selection.top.saturating_add(1));
    let rows = rows.iter().map(session_cells).collect();
    table("BGP SESSIONS", &SESSION_HEAD, rows, selection.top)
}

/// Heads of [`server_cells`].
pub const SERVER_HEAD: [&str; 10] = [
    "server",
    "mac",
    "offers",
    "acks",
    "naks",
    "leases",
    "lease time",
    "routers",
    "dns",
    "last seen",
];

/// A DHCP server.
pub fn server_cells(server: &ServerRow) -> Vec<String> {
    let named = server.address.as_ref().map(ToString::to_string);
    vec![
        cell(in_vlan(
            named.unwrap_or_else(|| server.id.clone()),
            &server.vlans,
        )),
        cell(server.mac.map(|mac| mac.to_string()).unwrap_or_default()),
        server.offers.to_string(),
        server.acks.to_string(),
        server.naks.to_string(),
        server.leases.to_string(),
        cell(server.lease_time.map(lease).unwrap_or_default()),
        cell(joined(&server.routers)),
        cell(joined(&server.dns)),
        clock(server.last),
    ]
}

fn servers(engine: &Engine, selection: &Selection) -> Table {
    let rows = selection.servers(engine);
    let rows = rows.iter().map(server_cells).collect();
    table("DHCP SERVERS", &SERVER_HEAD, rows, selection.top)
}

/// Heads of [`client_cells`].
pub const CLIENT_HEAD: [&str; 13] = [
    "client",
    "who",
    "made by, is",
    "via (relay, port)",
    "first seen",
    "asked",
    "acks",
    "naks",
    "declines",
    "last",
    "lease",
    "until",
    "fingerprint (option 55 or 6)",
];

/// A DHCP client.
pub fn client_cells(client: &ClientRow) -> Vec<String> {
    let who: Option<String> = [&client.hostname, &client.vendor_class]
        .into_iter()
        .flatten()
        .map(ToString::to_string)
        .reduce(|name, class| format!("{name} ({class})"));
    let lease = client.lease.as_ref();
    let until = lease.and_then(|lease| lease.until).map(clock);
    vec![
        cell(client.id.clone()),
        cell(who.unwrap_or_default()),
        cell(what(client)),
        cell(via(client)),
        clock(client.first),
        (client.discovers + client.requests).to_string(),
        client.acks.to_string(),
        client.naks.to_string(),
        client.declines.to_string(),
        cell(last_words(client)),
        cell(lease.map(leased).unwrap_or_default()),
        cell(until.unwrap_or_default()),
        cell(client.fingerprint.clone()),
    ]
}

fn clients(engine: &Engine, selection: &Selection) -> Table {
    let rows = selection.clients(engine);
    let rows = rows.iter().map(client_cells).collect();
    table("DHCP CLIENTS", &CLIENT_HEAD, rows, selection.top)
}

/// "192.0.2.1 vlan 10": where one wire carries several networks.
fn in_vlan(name: String, vlans: &[u16]) -> String {
    let tags: Vec<String> = vlans.iter().map(u16::to_string).collect();
    if tags.is_empty() {
        return name;
    }
    format!("{name} vlan {}", tags.join("."))
}

/// The VLAN a client's messages came in, the relays they passed, the one next to the client first, and the port that one names.
pub fn via(client: &ClientRow) -> String {
    let port = client.circuit_id.as_ref().or(client.remote_id.as_ref());
    let vlan = in_vlan(String::new(), &client.vlans);
    let parts = [
        vlan.trim().to_owned(),
        joined(&client.relays),
        port.cloned().unwrap_or_default(),
    ];
    let told = parts.into_iter().filter(|part| !part.is_empty());
    told.collect::<Vec<_>>().join(" ")
}

/// Who made its interface, what runs there, and (DHCPv6, where clients have no address yet) what its DUID is.
fn what(client: &ClientRow) -> String {
    let made = client.oui.clone();
    let duid = client
        .identifier
        .as_ref()
        .filter(|_| client.protocol == "dhcpv6");
    let parts = [
        made,
        client.class.map(str::to_owned),
        duid.map(ToString::to_string),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn leased(lease: &LeaseRow) -> String {
    match lease.prefix {
        Some(prefix) => prefix.to_string(),
        None => lease.address.to_string(),
    }
}

/// What it asked last, and what it got.
fn last_words(client: &ClientRow) -> String {
    match (client.asked, client.got) {
        (Some(asked), Some(got)) => format!("{asked}, {got}"),
        (asked, got) => asked.or(got).unwrap_or_default().to_owned(),
    }
}

/// An empty cell is a dash: a hole in a table looks like a mistake.
pub fn cell(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

fn joined(items: &[impl ToString]) -> String {
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

/// A lease time in few columns.
pub fn lease(seconds: u32) -> String {
    match seconds {
        u32::MAX => "forever".to_owned(),
        s if s < 600 => format!("{s} s"),
        s if s < 36_000 => format!("{} min", s / 60),
        s => format!("{} h", s / 3600),
    }
}
