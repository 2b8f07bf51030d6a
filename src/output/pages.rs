//! Rows of a screen's tables as text: what one looks for first at the left, how each row stands. What does not fit is on its card
//! ([`super::cards`]).
//!
//! Answers questions ([`crate::engine::query`]) without changing anything; a row that is gone meanwhile is left out.

mod bgp;
mod lan;

pub(super) use self::bgp::{covering, loss, via};
use crate::engine::Engine;
use crate::engine::query::{At, Page, Row, RowRef, Scan, Table};
use crate::event::Timestamp;
use crate::output::report::clock;

/// Heads of a table's cells.
pub fn head(table: Table) -> &'static [&'static str] {
    match table {
        Table::Prefixes => &bgp::PREFIXES,
        Table::Routes => &bgp::ROUTES,
        Table::Sessions => &bgp::SESSIONS,
        Table::Bfd => &bgp::BFD,
        Table::Servers => &lan::SERVERS,
        Table::Clients => &lan::CLIENTS,
        Table::Leases => &lan::LEASES,
        Table::Routers => &lan::ROUTERS,
        Table::Neighbors => &lan::NEIGHBORS,
    }
}

/// The page that a finished search found.
pub fn page(scan: Scan, rooms: &[&Engine]) -> Page {
    let (offset, table) = (scan.query().offset, scan.query().table);
    let (found, matched, total) = scan.finish();
    let losses: Vec<bgp::Losses> = match table {
        Table::Sessions => rooms.iter().map(|engine| bgp::losses(engine)).collect(),
        _ => Vec::new(),
    };
    Page {
        offset,
        rows: found
            .iter()
            .filter_map(|at| row(at, rooms, &losses))
            .collect(),
        matched,
        total,
    }
}

fn row(found: &RowRef, rooms: &[&Engine], losses: &[bgp::Losses]) -> Option<Row> {
    let engine = rooms.get(found.room)?;
    let mut row = match &found.at {
        At::Prefix(rib, slot) => bgp::prefix(engine, *rib, *slot)?,
        At::Route(key) => bgp::route(engine, key)?,
        At::Session(id) => bgp::session(engine, *id, losses.get(found.room))?,
        At::Bfd(a, b) => bgp::bfd(engine, *a, *b)?,
        At::Server(scope, id) => lan::server(engine, *scope, id)?,
        At::Client(scope, id) => lan::client(engine, *scope, id)?,
        At::Lease(scope, prefix) => lan::lease(engine, *scope, *prefix)?,
        At::Router(scope, addr) => lan::router(engine, *scope, *addr)?,
        At::Neighbor(index, addr) => lan::neighbor(engine, *index, *addr)?,
    };
    // Ids and keys are ours, names may be the wire's: whatever a screen shows is printable.
    row.key = format!("{} {}", found.room, crate::event::text::sanitized(&row.key));
    Some(row)
}

/// A time that is known; the first dump's routes are older than anything we saw.
pub(super) fn since(at: Timestamp) -> Option<String> {
    (at > Timestamp(0)).then(|| clock(at))
}
