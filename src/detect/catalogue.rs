//! What is known about each kind: how it is detected, by which rule, what looks like it and is not, and which inputs can show it.
//!
//! One row for each kind, in files by layer; that every kind has exactly one is checked when this is compiled. `explain` and
//! `docs/detections.md` print it. Figures are those of the detectors' constants; `tests/catalogue.rs` compares the two.

mod bgp;
mod dhcp;
mod kernel;
mod lan;
pub mod matrix;

use super::Kind;

/// Inputs that can show a kind.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub enum Seen {
    /// Captured packets.
    Packets,
    /// A BMP stream.
    Bmp,
    /// MRT records.
    Mrt,
    /// The kernel's notifications.
    Netlink,
}

impl Seen {
    /// All, in the order of the matrix.
    pub const ALL: [Seen; 4] = [Seen::Packets, Seen::Bmp, Seen::Mrt, Seen::Netlink];

    /// Its name for users.
    pub const fn as_str(self) -> &'static str {
        match self {
            Seen::Packets => "packets",
            Seen::Bmp => "BMP",
            Seen::Mrt => "MRT",
            Seen::Netlink => "netlink",
        }
    }
}

/// What is known about one kind.
#[derive(Debug)]
pub struct Row {
    pub kind: Kind,
    /// What exactly is detected, with its thresholds.
    pub logic: &'static str,
    /// Where the rule comes from: RFC sections, measured facts, rows (D1, C39 …) of the project's survey.
    pub source: &'static str,
    /// What looks like it and is harmless, and what keeps that quiet.
    pub false_alarms: &'static str,
    /// Commands to check it by hand; none changes anything.
    pub check: &'static [&'static str],
    /// Inputs that can show it.
    pub seen_in: &'static [Seen],
}

/// The row of a kind.
pub fn row(kind: Kind) -> Option<&'static Row> {
    rows().find(|row| row.kind == kind)
}

/// All rows, in the order of the tables.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    TABLES.into_iter().flatten()
}

const TABLES: [&[Row]; 4] = [lan::ROWS, dhcp::ROWS, bgp::ROWS, kernel::ROWS];

const _: () = assert!(
    each_kind_has_one_row(),
    "a kind has no row in the catalogue, or two"
);

const fn each_kind_has_one_row() -> bool {
    let mut kind = 0;
    while kind < Kind::ALL.len() {
        let mut found = 0;
        let mut table = 0;
        while table < TABLES.len() {
            let mut row = 0;
            while row < TABLES[table].len() {
                if TABLES[table][row].kind as usize == Kind::ALL[kind] as usize {
                    found += 1;
                }
                row += 1;
            }
            table += 1;
        }
        if found != 1 {
            return false;
        }
        kind += 1;
    }
    true
}

/// A kind that is detected.
const fn detected(
    kind: Kind,
    seen_in: &'static [Seen],
    [logic, source, false_alarms]: [&'static str; 3],
    check: &'static [&'static str],
) -> Row {
    Row {
        kind,
        logic,
        source,
        false_alarms,
        check,
        seen_in,
    }
}
