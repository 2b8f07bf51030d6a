//! One page of a big table: which rows, in which order. Owns the questions a screen may ask and the search for the rows; how a row reads is
//! `output::pages`' matter.
//!
//! A million rows are never sorted and never copied: a [`Scan`] walks the table in slices between batches of events and keeps the best
//! `offset + limit` rows it has met, by keys that do not change with time (penalties by `ln(penalty) + λt`, design §3). Between slices the
//! table may change; a page is what was true while it was made.

pub mod card;
mod facts;
mod rows;

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use self::rows::{At, RowRef};
use super::Engine;
use crate::event::Prefix;
use crate::filter::Filter;

/// Rows that can be reached by scrolling; behind them a filter or another order helps more than a key held down. Bounds what a scan keeps.
pub const REACH: u32 = 10_000;

/// Entries looked at in one slice: at 20–100 ns each well below 2 ms, which no capture buffer notices.
pub const SLICE: usize = 16_384;

/// The same where each row is asked by a filter: up to 0.3 µs each, as text has to be printed to be searched.
const FILTERED_SLICE: usize = 8_192;

/// The big tables.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// What BGP peers announce.
    Prefixes,
    /// The kernel's routes.
    Routes,
    Sessions,
    Bfd,
    Servers,
    Clients,
    /// Addresses and prefixes that clients hold.
    Leases,
    /// Who advertises itself as an IPv6 router.
    Routers,
    /// The kernel's neighbors (ARP, ND).
    Neighbors,
}

impl Table {
    /// The orders it can be shown in, the default first.
    pub const fn orders(self) -> &'static [Order] {
        match self {
            Table::Prefixes => &[
                Order::Worst,
                Order::Name,
                Order::Peer,
                Order::Changes,
                Order::Latest,
            ],
            Table::Routes => &[Order::Name, Order::Latest],
            Table::Sessions => &[Order::Worst, Order::Name, Order::Changes, Order::Latest],
            Table::Bfd => &[Order::Worst, Order::Name, Order::Changes, Order::Latest],
            Table::Servers => &[Order::Name, Order::Changes, Order::Latest],
            Table::Clients => &[Order::Latest, Order::Name, Order::Changes],
            // What ends first is what an operator waits for.
            Table::Leases => &[Order::Worst, Order::Name, Order::Peer, Order::Latest],
            Table::Routers => &[Order::Worst, Order::Name, Order::Latest],
            Table::Neighbors => &[Order::Worst, Order::Name, Order::Peer],
        }
    }
}

/// Orders of rows.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// What is down or least stable first.
    Worst,
    /// Prefix, address or id.
    Name,
    Peer,
    /// Most changes first.
    Changes,
    /// Last changed first.
    Latest,
}

/// What is asked for.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Query {
    pub table: Table,
    pub order: Order,
    pub reverse: bool,
    /// In the filter language; empty takes all.
    pub filter: String,
    pub offset: u32,
    pub limit: u16,
}

/// A page of rows as text.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Page {
    /// Index of the first row among those that match.
    pub offset: u32,
    pub rows: Vec<Row>,
    /// Rows that match, and rows there are.
    pub matched: u64,
    pub total: u64,
}

/// A row as text.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    /// Tells rows of a table apart.
    pub key: String,
    /// What `f` hooks every view to: `prefix:192.0.2.0/24`.
    pub subject: String,
    pub cells: Vec<String>,
    pub mood: Mood,
    /// What does not fit into a table: name and value.
    pub details: Vec<(String, String)>,
}

/// How a row stands.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mood {
    #[default]
    Plain,
    Good,
    Warning,
    Critical,
    /// Over, withdrawn, idle.
    Faded,
}

/// What rows are sorted by; smaller comes first.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
enum Key {
    Number(i64),
    Prefix(Prefix),
    Address(IpAddr),
    Text(Box<str>),
}

/// A row that may be shown. The largest one is the first to go.
#[derive(Clone, Eq, PartialEq, Debug)]
struct Candidate {
    key: Key,
    row: RowRef,
    reverse: bool,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Candidate) -> Ordering {
        let keys = self.key.cmp(&other.key);
        let keys = if self.reverse { keys.reverse() } else { keys };
        keys.then_with(|| self.row.cmp(&other.row))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Candidate) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A search in progress.
pub struct Scan {
    query: Query,
    filter: Filter,
    /// Rooms are searched one after the other.
    room: usize,
    position: rows::Position,
    best: BinaryHeap<Candidate>,
    matched: u64,
    total: u64,
}

impl Scan {
    /// Begins.
    pub fn new(query: Query) -> Scan {
        Scan {
            // What is no filter takes all: who asks has checked it.
            filter: query.filter.parse().unwrap_or_default(),
            query,
            room: 0,
            position: rows::Position::default(),
            best: BinaryHeap::new(),
            matched: 0,
            total: 0,
        }
    }

    /// The question.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Looks at the next [`SLICE`] entries of `rooms`; true when all were looked at.
    pub fn advance(&mut self, rooms: &[&Engine]) -> bool {
        let Some(engine) = rooms.get(self.room) else {
            return true;
        };
        let keep = self
            .query
            .offset
            .saturating_add(u32::from(self.query.limit))
            .min(REACH) as usize;
        let (query, filter, best, matched, total) = (
            &self.query,
            &self.filter,
            &mut self.best,
            &mut self.matched,
            &mut self.total,
        );
        let room = self.room;
        let most = if filter.is_empty() {
            SLICE
        } else {
            FILTERED_SLICE
        };
        let ended = rows::walk(engine, query, &mut self.position, most, &mut |key, at| {
            *total += 1;
            if !filter.is_empty() && !facts::matches(engine, &at, filter) {
                return;
            }
            *matched += 1;
            let candidate = Candidate {
                key,
                row: RowRef { room, at },
                reverse: query.reverse,
            };
            if best.len() < keep {
                best.push(candidate);
            } else if let Some(mut worst) = best.peek_mut()
                && candidate < *worst
            {
                *worst = candidate;
            }
        });
        if ended {
            self.room += 1;
            self.position = rows::Position::default();
        }
        self.room >= rooms.len()
    }

    /// The rows of the page in order, rows that match, rows there are.
    pub fn finish(self) -> (Vec<RowRef>, u64, u64) {
        let rows = self.best.into_sorted_vec();
        let page = rows
            .into_iter()
            .skip(self.query.offset as usize)
            .map(|candidate| candidate.row)
            .collect();
        (page, self.matched, self.total)
    }
}
