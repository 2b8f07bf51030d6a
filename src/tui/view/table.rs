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
use crate::tui::text::{left, right, width};
use crate::tui::theme::Role;

/// Lines above the rows: title and head.
pub const HEAD: u16 = 2;

/// A column: its width, its priority (1 stays longest), whether numbers stand at the right.
struct Column {
    width: usize,
    priority: u8,
    number: bool,
    order: Option<Order>,
}

const fn column(width: usize, priority: u8) -> Column {
    Column {
        width,
        priority,
        number: false,
        order: None,
    }
}

const fn number(width: usize, priority: u8) -> Column {
    Column {
        width,
        priority,
        number: true,
        order: None,
    }
}

const fn sorted(column: Column, order: Order) -> Column {
    Column {
        order: Some(order),
        ..column
    }
}

/// Columns of a table, in the order of [`pages::head`]. IPv6 prefixes of providers take at most 24 columns mostly; what is longer takes what it takes.
const fn columns(table: Table) -> &'static [Column] {
    match table {
        Table::Prefixes => {
            const {
                &[
                    sorted(column(24, 1), Order::Name),
                    sorted(column(18, 2), Order::Peer),
                    sorted(number(9, 3), Order::Changes),
                    number(9, 6),
                    number(7, 7),
                    number(10, 10),
                    number(8, 5),
                    sorted(number(13, 4), Order::Worst),
                    column(12, 8),
                    column(12, 4),
                    column(11, 9),
                ]
            }
        }
        Table::Routes => {
            const {
                &[
                    sorted(column(24, 1), Order::Name),
                    column(24, 2),
                    column(12, 3),
                    column(10, 4),
                    number(6, 6),
                    number(5, 7),
                    sorted(column(12, 5), Order::Latest),
                ]
            }
        }
        Table::Sessions => {
            const {
                &[
                    sorted(column(24, 1), Order::Name),
                    column(10, 4),
                    column(24, 8),
                    sorted(column(11, 2), Order::Worst),
                    sorted(column(12, 3), Order::Latest),
                    sorted(number(6, 5), Order::Changes),
                    number(6, 7),
                    number(8, 6),
                    number(8, 9),
                    column(11, 10),
                ]
            }
        }
        Table::Bfd => {
            const {
                &[
                    sorted(column(24, 1), Order::Name),
                    column(24, 2),
                    sorted(column(6, 3), Order::Worst),
                    sorted(column(12, 4), Order::Latest),
                    sorted(number(6, 5), Order::Changes),
                    number(10, 6),
                ]
            }
        }
        Table::Servers => {
            const {
                &[
                    sorted(column(24, 1), Order::Name),
                    column(17, 4),
                    number(6, 5),
                    sorted(number(5, 3), Order::Changes),
                    number(4, 2),
                    number(6, 6),
                    column(10, 7),
                    column(16, 8),
                    column(16, 9),
                    sorted(column(12, 3), Order::Latest),
                ]
            }
        }
        Table::Clients => {
            const {
                &[
                    sorted(column(20, 1), Order::Name),
                    column(18, 5),
                    sorted(number(5, 4), Order::Changes),
                    number(4, 6),
                    number(4, 3),
                    number(8, 7),
                    column(18, 2),
                    column(12, 3),
                    column(22, 9),
                ]
            }
        }
    }
}

/// The tables of the view, each with its area: one below the other, the one that keys go to gets the larger part.
pub fn panes(model: &Model, area: Rect) -> Vec<(Table, Rect)> {
    let tables = model.view.tables();
    let chosen = model.table();
    if model.zoom || area.height < 16 {
        return chosen.map(|table| (table, area)).into_iter().collect();
    }
    let most = area.height * 3 / 5;
    let mut y = area.y;
    let mut all = Vec::new();
    for (at, table) in tables.iter().enumerate() {
        let rest = area.bottom() - y;
        let height = match (at + 1 == tables.len(), Some(*table) == chosen) {
            (true, _) => rest,
            (false, true) => most,
            (false, false) => area.height - most,
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
    }
}

/// Which columns find room in `total`, with their widths.
fn chosen(table: Table, total: usize, rows: &[Row]) -> Vec<(usize, usize)> {
    let all = columns(table);
    let head = pages::head(table);
    // As wide as its kind says, and as its widest cell on this page where that is more: an address is whole or not there.
    let wide = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.cells.get(at));
        let named = head.get(at).map_or(0, |name| width(name) + 2);
        let least = all.get(at).map_or(0, |column| column.width).max(named);
        cells
            .map(|cell| width(cell))
            .fold(least, usize::max)
            .min(total)
    };
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|at| all.get(*at).map_or(u8::MAX, |column| column.priority));
    let mut left = total;
    let mut taken = Vec::new();
    for at in order {
        let columns = wide(at);
        if columns < left {
            left -= columns + 1;
            taken.push((at, columns));
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
    if kind.is_some_and(|kind| kind.number) {
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
