//! A table of the engine's, one page of it. Widths come from the kind of column and the width of the screen only; columns that find no room are
//! left out by their priority, addresses are never cut.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::{empty, line, lines, rule, span};
use crate::engine::query::{Mood, Order, Row, Table};
use crate::output::pages;
use crate::output::report::grouped;
use crate::tui::model::{Model, View};
use crate::tui::text::{clause, left, right, width};
use crate::tui::theme::Role;

/// Lines above the rows: title and head.
pub const HEAD: u16 = 2;

/// A column: its width, its priority (1 stays longest), whether numbers stand at the right.
#[derive(Copy, Clone)]
struct Column {
    width: usize,
    priority: u8,
    number: bool,
    /// Prose may be cut, and grows where there is room.
    prose: bool,
    order: Option<Order>,
}

const fn column(width: usize, priority: u8) -> Column {
    Column {
        width,
        priority,
        number: false,
        prose: false,
        order: None,
    }
}

const fn number(width: usize, priority: u8) -> Column {
    Column {
        number: true,
        ..column(width, priority)
    }
}

const fn prose(width: usize, priority: u8) -> Column {
    Column {
        prose: true,
        ..column(width, priority)
    }
}

const fn sorted(column: Column, order: Order) -> Column {
    Column {
        order: Some(order),
        ..column
    }
}

const PREFIXES: [Column; 13] = [
    sorted(column(18, 1), Order::Name),
    sorted(column(15, 2), Order::Peer),
    column(15, 7),
    column(7, 8),
    column(7, 10),
    column(8, 6),
    sorted(number(9, 9), Order::Changes),
    number(7, 11),
    number(7, 13),
    sorted(number(7, 3), Order::Worst),
    column(8, 4),
    column(7, 5),
    column(15, 12),
];
const ROUTES: [Column; 9] = [
    sorted(column(18, 1), Order::Name),
    column(15, 2),
    column(8, 4),
    column(8, 3),
    number(6, 7),
    column(5, 8),
    sorted(column(12, 6), Order::Latest),
    number(9, 9),
    column(15, 5),
];
const SESSIONS: [Column; 13] = [
    sorted(column(15, 1), Order::Name),
    column(8, 7),
    column(15, 11),
    sorted(column(11, 2), Order::Worst),
    sorted(column(12, 5), Order::Latest),
    sorted(number(6, 4), Order::Changes),
    prose(20, 3),
    number(7, 8),
    number(6, 10),
    column(4, 6),
    number(6, 9),
    number(6, 12),
    column(11, 13),
];
const BFD: [Column; 6] = [
    sorted(column(15, 1), Order::Name),
    column(15, 2),
    sorted(column(6, 3), Order::Worst),
    sorted(column(12, 4), Order::Latest),
    sorted(number(6, 5), Order::Changes),
    number(10, 6),
];
const SERVERS: [Column; 10] = [
    sorted(column(15, 1), Order::Name),
    column(17, 4),
    number(6, 5),
    sorted(number(5, 3), Order::Changes),
    number(4, 2),
    number(6, 6),
    column(10, 7),
    column(15, 8),
    column(15, 9),
    sorted(column(12, 3), Order::Latest),
];
const CLIENTS: [Column; 13] = [
    sorted(column(17, 1), Order::Name),
    column(15, 2),
    column(8, 3),
    column(13, 4),
    sorted(number(5, 9), Order::Changes),
    number(4, 10),
    number(4, 7),
    prose(14, 5),
    column(10, 8),
    column(18, 6),
    column(15, 11),
    sorted(column(9, 12), Order::Latest),
    prose(20, 13),
];
const LEASES: [Column; 9] = [
    sorted(column(15, 1), Order::Name),
    sorted(column(17, 2), Order::Peer),
    sorted(column(8, 3), Order::Worst),
    column(9, 4),
    column(9, 5),
    column(8, 7),
    column(15, 6),
    column(12, 8),
    sorted(column(12, 9), Order::Latest),
];
const ROUTERS: [Column; 9] = [
    sorted(column(24, 1), Order::Name),
    column(8, 2),
    sorted(column(8, 3), Order::Worst),
    column(17, 5),
    column(19, 4),
    column(5, 6),
    number(5, 8),
    number(6, 7),
    sorted(column(12, 9), Order::Latest),
];
const NEIGHBORS: [Column; 5] = [
    sorted(column(24, 1), Order::Name),
    sorted(column(10, 2), Order::Worst),
    column(17, 3),
    sorted(column(10, 4), Order::Peer),
    column(10, 5),
];

/// Columns of a table, in the order of [`pages::head`]. IPv6 takes what it takes: a column is as wide as its widest cell on the page.
const fn columns(table: Table) -> &'static [Column] {
    match table {
        Table::Prefixes => &PREFIXES,
        Table::Routes => &ROUTES,
        Table::Sessions => &SESSIONS,
        Table::Bfd => &BFD,
        Table::Servers => &SERVERS,
        Table::Clients => &CLIENTS,
        Table::Leases => &LEASES,
        Table::Routers => &ROUTERS,
        Table::Neighbors => &NEIGHBORS,
    }
}

/// The tables of the view, each with its area: one below the other, the one that keys go to gets the larger part.
pub fn panes(model: &Model, area: Rect) -> Vec<(Table, Rect)> {
    let tables = model.view.tables();
    let chosen = model.table();
    if model.zoom || area.height < 16 {
        return chosen.map(|table| (table, area)).into_iter().collect();
    }
    // Two stand one below the other. Of more the others are their titles only (an accordion, as lazygit's), until there is room for some rows.
    let others = u16::try_from(tables.len().saturating_sub(1)).unwrap_or(0);
    let shared = (area.height * 2 / 5).checked_div(others).unwrap_or(0);
    let small = if shared > HEAD + 1 { shared } else { 1 };
    let mut y = area.y;
    let mut all = Vec::new();
    for table in tables {
        let height = if Some(*table) == chosen {
            area.height.saturating_sub(small * others)
        } else {
            small
        };
        all.push((*table, Rect { y, height, ..area }));
        y += height;
    }
    all
}

/// A table's title.
pub const fn title(table: Table) -> &'static str {
    match table {
        Table::Prefixes => "BGP PREFIXES",
        Table::Routes => "KERNEL ROUTES",
        Table::Sessions => "BGP SESSIONS",
        Table::Bfd => "BFD",
        Table::Servers => "DHCP SERVERS",
        Table::Clients => "DHCP CLIENTS",
        Table::Leases => "LEASES",
        Table::Routers => "IPV6 ROUTERS",
        Table::Neighbors => "NEIGHBORS (kernel)",
    }
}

/// Which columns find room in `total`, with their widths.
fn chosen(table: Table, total: usize, rows: &[Row]) -> Vec<(usize, usize)> {
    let all = columns(table);
    let head = pages::head(table);
    let widest = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.cells.get(at));
        cells.map(|cell| width(cell)).max().unwrap_or(0)
    };
    // As wide as its kind says, and as its widest cell on this page where that is more: an address is whole or not there.
    let wide = |at: usize, column: &Column| {
        let named = head.get(at).map_or(0, |name| width(name));
        // Room for the arrow of the order.
        let named = named + if column.order.is_some() { 2 } else { 0 };
        let least = column.width.max(named);
        let most = if column.prose {
            least
        } else {
            widest(at).max(least)
        };
        most.min(total)
    };
    let mut order: Vec<(usize, &Column)> = all.iter().enumerate().collect();
    order.sort_by_key(|(_, column)| column.priority);
    let mut left = total;
    let mut taken = Vec::new();
    for (at, column) in order {
        let columns = wide(at, column);
        if columns < left {
            left -= columns + 1;
            taken.push((at, columns));
        }
    }
    // What is left goes to prose, as much as it has to say.
    for (at, columns) in &mut taken {
        if all.get(*at).is_some_and(|column| column.prose) {
            let more = widest(*at).saturating_sub(*columns).min(left);
            *columns += more;
            left -= more;
        }
    }
    taken.sort_unstable();
    taken
}

/// Paints a table.
pub fn paint(model: &Model, table: Table, focused: bool, area: Rect, buffer: &mut Buffer) {
    let look = model.look;
    let Some(state) = model.tables.get(&table) else {
        return;
    };
    let page = &state.page;
    let count = if page.matched == page.total {
        grouped(page.total)
    } else {
        format!("{} of {}", grouped(page.matched), grouped(page.total))
    };
    let at = if page.matched > 0 {
        format!(" · row {}", grouped(state.cursor.at as u64 + 1))
    } else {
        String::new()
    };
    let mut name = format!("{}  {count}{at}", title(table));
    if table == Table::Prefixes && area.width >= 100 {
        name.push_str(" · penalties are what a router that damps would give");
    }
    if model.moment.is_some() {
        name.push_str(
            " · AS OF NOW: a table as of then needs a recording (-w FILE, then analyze --tui FILE)",
        );
    }
    line(
        buffer,
        Rect { height: 1, ..area },
        rule(look, &name, usize::from(area.width), focused),
    );
    if area.height < HEAD {
        return;
    }
    if page.rows.is_empty() {
        let below = Rect {
            y: area.y + 1,
            height: area.height.saturating_sub(1),
            ..area
        };
        return empty::table(model, table, below, buffer);
    }
    let taken = chosen(table, usize::from(area.width).saturating_sub(1), &page.rows);
    let head = pages::head(table);
    let kinds = columns(table);
    let mut spans = vec![Span::raw(" ")];
    for (at, columns) in &taken {
        let kind = kinds.get(*at);
        let sorts = kind.is_some_and(|kind| kind.order == Some(state.order));
        let name = head.get(*at).copied().unwrap_or_default().to_uppercase();
        let name = match (sorts, state.reverse) {
            (true, false) => format!("{name} ↓"),
            (true, true) => format!("{name} ↑"),
            _ => name,
        };
        let role = if sorts { Role::Accent } else { Role::Muted };
        spans.push(span(look, role, fitted(&name, *columns, kind)));
        spans.push(Span::raw(" "));
    }
    line(
        buffer,
        Rect {
            y: area.y + 1,
            height: 1,
            ..area
        },
        Line::from(spans),
    );
    let rows = Rect {
        y: area.y + HEAD,
        height: area.height.saturating_sub(HEAD),
        ..area
    };
    let offset = page.offset as usize;
    let all = page
        .rows
        .iter()
        .enumerate()
        .skip(state.cursor.top.saturating_sub(offset));
    let all = all.map(|(at, row)| {
        let selected = at + offset == state.cursor.at;
        let role = match row.mood {
            Mood::Plain => Role::Text,
            Mood::Good => Role::Ok,
            Mood::Warning => Role::Warning,
            Mood::Critical => Role::Critical,
            Mood::Faded => Role::Muted,
        };
        let mut style = look.style(role);
        if selected {
            style = style.add_modifier(Modifier::BOLD);
            if focused {
                style = style.add_modifier(Modifier::REVERSED);
            }
        }
        let mut spans = vec![span(look, Role::Accent, if selected { "▌" } else { " " })];
        for (at, columns) in &taken {
            let cell = row.cells.get(*at).map_or("", String::as_str);
            spans.push(Span::styled(
                fitted(cell, *columns, kinds.get(*at)) + " ",
                style,
            ));
        }
        Line::from(spans)
    });
    lines(buffer, rows, all);
}

fn fitted(text: &str, columns: usize, kind: Option<&Column>) -> String {
    if kind.is_some_and(|kind| kind.prose) {
        left(&clause(text, columns), columns)
    } else if kind.is_some_and(|kind| kind.number) {
        right(text, columns)
    } else {
        left(text, columns)
    }
}

/// A row with its column names, for the clipboard.
pub fn named(table: Table, row: &Row) -> serde_json::Value {
    let cells = pages::head(table).iter().zip(&row.cells);
    let mut all: serde_json::Map<String, serde_json::Value> = cells
        .map(|(name, cell)| ((*name).to_owned(), cell.clone().into()))
        .collect();
    all.insert("subject".to_owned(), row.subject.clone().into());
    for (name, value) in &row.details {
        all.insert(name.clone(), value.clone().into());
    }
    all.into()
}

/// Whether a view consists of tables.
pub fn is_of(view: View) -> bool {
    !view.tables().is_empty()
}
