//! Rows of a screen's tables as text: the cells of the report's tables, what does not fit into them, and how each row stands.
//!
//! Answers questions ([`crate::engine::query`]) without changing anything; a row that is gone meanwhile is left out.

use crate::detect::prefix::rows;
use crate::engine::Engine;
use crate::engine::query::{At, Mood, Page, Row, RowRef, Scan, Table};
use crate::event::Timestamp;
use crate::output::report::clock;
use crate::output::tables::{self, cell};

/// Heads of a table's cells.
pub fn head(table: Table) -> &'static [&'static str] {
    match table {
        Table::Prefixes => &tables::PREFIX_HEAD,
        Table::Routes => &[
            "prefix", "via", "device", "owner", "metric", "table", "since",
        ],
        Table::Sessions => &tables::SESSION_HEAD,
        Table::Bfd => &[
            "one end",
            "other end",
            "state",
            "since",
            "losses",
            "detects in",
        ],
        Table::Servers => &tables::SERVER_HEAD,
        Table::Clients => &tables::CLIENT_HEAD,
    }
}

/// The page that a finished search found.
pub fn page(scan: Scan, rooms: &[&Engine]) -> Page {
    let offset = scan.query().offset;
    let (found, matched, total) = scan.finish();
    Page {
        offset,
        rows: found.iter().filter_map(|at| row(at, rooms)).collect(),
        matched,
        total,
    }
}

fn row(found: &RowRef, rooms: &[&Engine]) -> Option<Row> {
    let engine = rooms.get(found.room)?;
    let net = engine.net();
    let mut row = match &found.at {
        At::Prefix(rib, slot) => {
            let row = rows::prefix(net, *rib, *slot, engine.now())?;
            let here = net.rib.get(*rib)?;
            let withdrawn =
                here.current(here.cold(*slot)?) == crate::state::rib::attributes::AttrId::NONE;
            let damped = row.damping.iter().any(|d| d.suppressed);
            Row {
                key: format!("{}@{}#{}@{}", row.prefix, row.peer, row.path_id, rib.0),
                subject: format!("prefix:{}", row.prefix),
                mood: match (damped, withdrawn) {
                    (true, _) => Mood::Warning,
                    (_, true) => Mood::Faded,
                    _ => Mood::Plain,
                },
                cells: tables::prefix_cells(&row),
                details: vec![
                    (
                        "now".to_owned(),
                        if withdrawn { "withdrawn" } else { "announced" }.to_owned(),
                    ),
                    ("first change".to_owned(), clock(row.first)),
                    ("last change".to_owned(), clock(row.last)),
                ],
            }
        }
        At::Route(key) => {
            let route = net.routes.get(key)?;
            let dash = || "-".to_owned();
            let hops = |of: &dyn Fn(&crate::event::netlink::Hop) -> Option<String>| {
                let all: Vec<String> = route.hops.iter().filter_map(of).collect();
                cell(all.join(","))
            };
            Row {
                key: format!("{key:?}"),
                subject: format!("prefix:{}", key.prefix),
                cells: vec![
                    key.prefix.to_string(),
                    hops(&|hop| hop.gateway.map(|g| g.to_string())),
                    hops(&|hop| hop.ifindex.map(|index| net.links.name(index).to_string())),
                    crate::event::netlink::protocol_name(route.protocol),
                    key.metric.to_string(),
                    key.table.to_string(),
                    since(route.since).unwrap_or_else(dash),
                ],
                ..Row::default()
            }
        }
        At::Session(id) => {
            let row = rows::session(net, engine.perspective(), *id)?;
            let up = row.state == "established";
            Row {
                key: format!("session {}", id.0),
                subject: format!("peer:{}", row.remote),
                cells: tables::session_cells(&row),
                mood: match (up, row.downs) {
                    (true, 0) => Mood::Plain,
                    (true, _) => Mood::Warning,
                    (false, _) => Mood::Critical,
                },
                details: vec![("offers".to_owned(), cell(row.capabilities.join(", ")))],
            }
        }
        At::Bfd(a, b) => {
            let session = net.sessions.bfd().get(*a, *b)?;
            let detects = session.slowest_detection();
            Row {
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
            }
        }
        At::Server(scope, id) => {
            let server = net.leases.servers.get(*scope, id)?;
            let row = crate::state::leases::rows::ServerRow::of(server);
            let named = row.address.as_ref().map(ToString::to_string);
            Row {
                key: format!("{scope:?} {}", row.id),
                subject: format!("server:{}", named.unwrap_or_else(|| row.id.clone())),
                cells: tables::server_cells(&row),
                ..Row::default()
            }
        }
        At::Client(scope, id) => {
            let client = net.leases.clients.get(*scope, id)?;
            let row = net.leases.client_row(client);
            Row {
                key: format!("{scope:?} {}", row.id),
                subject: format!("client:{}", row.id),
                mood: if row.naks + row.declines > 0 {
                    Mood::Warning
                } else {
                    Mood::Plain
                },
                cells: tables::client_cells(&row),
                details: Vec::new(),
            }
        }
    };
    // Ids and keys are ours, names may be the wire's: whatever a screen shows is printable.
    row.key = crate::event::text::sanitized(&row.key);
    Some(row)
}

/// A time that is known; the first dump's routes are older than anything we saw.
fn since(at: Timestamp) -> Option<String> {
    (at > Timestamp(0)).then(|| clock(at))
}
