//! All that a screen knows: what the engine told, where the reader is, what was asked. Plain data; only [`super::update`] changes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ratatui::crossterm::event::KeyEvent;
use serde::{Deserialize, Serialize};

use super::link::{Bytes, Reply, Request};
use super::theme::Look;
use crate::engine::query::card::Card;
use crate::engine::query::{Order, Page, Query, Row, Table};
use crate::engine::snapshot::case::Case;
use crate::engine::snapshot::{Mode, Snapshot};
use crate::event::Timestamp;
use crate::filter::Filter;
use crate::output::log::{Entry, LogPage};

/// The smallest screen that can say something useful.
pub const LEAST: (u16, u16) = (60, 16);

/// What happens to a screen.
#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    Key(KeyEvent),
    Paste(String),
    Resize(u16, u16),
    /// Lines scrolled with the wheel, up is negative.
    Scroll(i16),
    /// A click, by column and row.
    Click(u16, u16),
    Snapshot(Arc<Snapshot>),
    Reply(Box<Reply>),
}

/// What a screen makes happen.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    Quit,
    Suspend,
    /// Clear and draw all anew.
    Redraw,
    Ask(Request),
    /// Into the clipboard of whoever sits at the terminal (OSC 52).
    Copy {
        label: String,
        text: String,
    },
    Mouse(bool),
}

/// Where a replay goes on.
#[derive(Copy, Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Control {
    Play,
    Pause,
    /// Seconds of the recording in a second.
    Speed(f64),
    /// To this time, forwards or by running again from the begin.
    Seek(Timestamp),
    /// So many events on (or back).
    Step(i64),
    End,
}

/// The views, in the order of their keys.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum View {
    Incidents,
    Routes,
    Dhcp,
    Bgp,
    Events,
    Sources,
}

impl View {
    /// All of them with their names.
    pub const ALL: [(View, &'static str); 6] = [
        (View::Incidents, "Incidents"),
        (View::Routes, "Routes"),
        (View::Dhcp, "DHCP"),
        (View::Bgp, "BGP"),
        (View::Events, "Events"),
        (View::Sources, "Sources"),
    ];

    /// The tables of a view, one for each of its panes.
    pub const fn tables(self) -> &'static [Table] {
        match self {
            View::Routes => &[Table::Prefixes, Table::Routes],
            View::Dhcp => &[
                Table::Clients,
                Table::Leases,
                Table::Servers,
                Table::Routers,
                Table::Neighbors,
            ],
            View::Bgp => &[Table::Sessions, Table::Bfd],
            View::Incidents | View::Events | View::Sources => &[],
        }
    }
}

/// A list of which a part is on the screen.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Cursor {
    pub at: usize,
    /// First one on the screen.
    pub top: usize,
}

impl Cursor {
    /// Moves by `by` in a list of `len` of which `rows` are on the screen.
    pub fn step(&mut self, by: i64, len: usize, rows: usize) {
        let last = len.saturating_sub(1);
        let at = i64::try_from(self.at)
            .unwrap_or(i64::MAX)
            .saturating_add(by);
        self.at = usize::try_from(at.max(0)).unwrap_or(0).min(last);
        self.follow(len, rows);
    }

    /// Keeps the cursor on the screen.
    pub fn follow(&mut self, len: usize, rows: usize) {
        self.at = self.at.min(len.saturating_sub(1));
        let rows = rows.max(1);
        if self.at < self.top {
            self.top = self.at;
        } else if self.at >= self.top + rows {
            self.top = self.at + 1 - rows;
        }
        self.top = self.top.min(len.saturating_sub(rows.min(len)));
    }
}

/// A table of the engine's.
#[derive(Clone, PartialEq, Debug)]
pub struct TableState {
    pub order: Order,
    pub reverse: bool,
    pub cursor: Cursor,
    pub page: Page,
    /// The question under way, and what was asked in the page shown.
    pub asked: Option<(u64, Query)>,
    pub shown: Option<Query>,
    /// Number of the snapshot for which the page was asked.
    pub seq: u64,
}

impl TableState {
    fn new(table: Table) -> TableState {
        TableState {
            order: table.orders().first().copied().unwrap_or(Order::Name),
            reverse: false,
            cursor: Cursor::default(),
            page: Page::default(),
            asked: None,
            shown: None,
            seq: 0,
        }
    }

    /// The row under the cursor, when it is on the page.
    pub fn row(&self) -> Option<&Row> {
        let offset = self.page.offset as usize;
        self.page.rows.get(self.cursor.at.checked_sub(offset)?)
    }
}

/// The event log.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Log {
    pub page: LogPage,
    /// Matching entries between the cursor and the end; 0 follows the stream.
    pub back: u32,
    pub asked: Option<u64>,
    pub seq: u64,
    /// What is shown was asked with this.
    pub wanted: Option<crate::output::log::LogQuery>,
}

/// Everything about the row under the cursor: beside the tables where there is room, alone on the screen when it was opened.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct CardState {
    pub open: bool,
    /// First line on the screen, when open.
    pub top: usize,
    pub card: Card,
    /// The question under way, and about what.
    pub asked: Option<(u64, String)>,
    /// Number of the snapshot for which it was asked.
    pub seq: u64,
}

/// How deep a reader looks into a finding.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug, Default)]
pub enum Depth {
    #[default]
    Sentence,
    Fields,
    Bytes,
}

impl Depth {
    /// One deeper; the last one leads back to the first.
    pub fn next(self) -> Depth {
        match self {
            Depth::Sentence => Depth::Fields,
            Depth::Fields => Depth::Bytes,
            Depth::Bytes => Depth::Sentence,
        }
    }
}

/// A line that is being typed.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Line {
    pub text: String,
    /// Octets before the cursor.
    pub at: usize,
}

/// What lies over the view.
#[derive(Clone, PartialEq, Debug)]
pub enum Overlay {
    Help {
        find: Line,
        top: usize,
    },
    /// A command by name.
    Palette {
        line: Line,
        at: usize,
    },
    /// A frame or message, its exchange beside it.
    Detail(Detail),
}

/// What is looked at closely.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Detail {
    pub title: String,
    pub depth: Depth,
    /// As an exchange between two parties: its messages, once they are known.
    pub ladder: Option<Vec<Entry>>,
    pub found: Vec<Bytes>,
    pub top: usize,
    pub asked: Option<u64>,
}

/// What is typed into.
#[derive(Clone, PartialEq, Debug)]
pub enum Edit {
    Filter(Line),
    Find(Line),
    Time(Line),
}

/// The filter: what is typed, and the last one that could be understood.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct FilterState {
    /// As it is typed.
    pub text: String,
    /// The last one that could be understood.
    pub applied: Filter,
    /// Why what is being typed is not applied.
    pub error: Option<String>,
}

/// The screen.
#[derive(Clone, PartialEq, Debug)]
pub struct Model {
    pub size: (u16, u16),
    pub look: Look,
    pub view: View,
    /// What is shown.
    pub snapshot: Arc<Snapshot>,
    /// Frozen: what came since.
    pub frozen: Option<Arc<Snapshot>>,
    /// Live: the moment looked back to; replays move themselves.
    pub moment: Option<Timestamp>,
    pub filter: FilterState,
    /// `type:value` that every view is narrowed to.
    pub subject: Option<String>,
    pub find: String,
    pub edit: Option<Edit>,
    pub overlay: Option<Overlay>,
    /// The pane that keys go to: 0 is the list.
    pub pane: usize,
    pub zoom: bool,
    /// Lanes instead of the chain, where there is no room for both.
    pub lanes: bool,
    pub mouse: bool,
    /// Id of the incident under the cursor: it stays when others come.
    pub chosen: Option<String>,
    pub cases: Cursor,
    /// Step of the chain under the cursor.
    pub step: Cursor,
    /// First line of the chain on the screen.
    pub scroll: usize,
    pub tables: BTreeMap<Table, TableState>,
    pub card: CardState,
    pub log: Log,
    pub sources: Cursor,
    pub depth: Depth,
    /// What was said last, for the reader.
    pub status: Option<String>,
    /// The time shown when it was said: it gives way to the keys after a while.
    pub said_at: Timestamp,
    /// Numbers questions.
    pub asked: u64,
}

impl Model {
    /// Before anything is known.
    pub fn new(size: (u16, u16), look: Look) -> Model {
        let tables = View::ALL
            .iter()
            .flat_map(|(view, _)| view.tables())
            .map(|table| (*table, TableState::new(*table)))
            .collect();
        Model {
            size,
            look,
            view: View::Incidents,
            snapshot: Arc::default(),
            frozen: None,
            moment: None,
            filter: FilterState::default(),
            subject: None,
            find: String::new(),
            edit: None,
            overlay: None,
            pane: 0,
            zoom: false,
            lanes: false,
            mouse: false,
            chosen: None,
            cases: Cursor::default(),
            step: Cursor::default(),
            scroll: 0,
            tables,
            card: CardState::default(),
            log: Log::default(),
            sources: Cursor::default(),
            depth: Depth::default(),
            status: None,
            said_at: Timestamp::default(),
            asked: 0,
        }
    }

    /// Whether there is room for anything.
    pub fn fits(&self) -> bool {
        self.size.0 >= LEAST.0 && self.size.1 >= LEAST.1
    }

    /// The moment that is shown.
    pub fn now(&self) -> Timestamp {
        self.moment.unwrap_or(self.snapshot.at)
    }

    /// Whether files are replayed.
    pub fn replays(&self) -> bool {
        matches!(self.snapshot.mode, Mode::Replay(_))
    }

    /// The incidents that are shown, worst and newest first.
    pub fn shown(&self) -> Vec<&Arc<Case>> {
        super::select::shown(self)
    }

    /// The incident under the cursor.
    pub fn case(&self) -> Option<&Arc<Case>> {
        let shown = self.shown();
        let chosen = self.chosen.as_deref();
        shown
            .iter()
            .find(|case| Some(case.id.as_str()) == chosen)
            .or_else(|| shown.first())
            .copied()
    }

    /// The table that keys go to.
    pub fn table(&self) -> Option<Table> {
        let tables = self.view.tables();
        tables
            .get(self.pane.min(tables.len().saturating_sub(1)))
            .copied()
    }
}
