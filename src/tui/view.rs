//! The whole screen from the model: pure, painted into a buffer. Layout by width only (60, 80, 100, 120 columns), so that nothing jumps about
//! when contents change. The areas are computed by one function that painting, scrolling and clicking share.

pub mod card;
pub mod chain;
pub mod chrome;
pub mod detail;
pub mod empty;
pub mod events;
pub mod help;
pub mod incidents;
pub mod lanes;
pub mod sources;
pub mod table;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::model::{LEAST, Model, Overlay, View};
use super::theme::{self, Look, Role};
use crate::engine::query::Table;

/// Where things are.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Areas {
    pub head: Rect,
    pub body: Rect,
    pub foot: Rect,
}

/// Head (two lines), body, footer (one line).
pub fn areas(model: &Model) -> Areas {
    let (columns, rows) = model.size;
    let body = rows.saturating_sub(3);
    Areas {
        head: Rect::new(0, 0, columns, 2),
        body: Rect::new(0, 2, columns, body),
        foot: Rect::new(0, rows.saturating_sub(1), columns, 1),
    }
}

/// Paints the screen.
pub fn view(model: &Model, frame: &mut Frame<'_>) {
    let buffer = frame.buffer_mut();
    paint(model, buffer);
}

/// Paints into any buffer of the model's size.
pub fn paint(model: &Model, buffer: &mut Buffer) {
    if model.fits() {
        let areas = areas(model);
        chrome::head(model, areas.head, buffer);
        match &model.overlay {
            Some(Overlay::Help { find, top }) => help::help(model, find, *top, areas.body, buffer),
            Some(Overlay::Palette { line, at }) => {
                help::palette(model, line, *at, areas.body, buffer)
            }
            Some(Overlay::Detail(detail)) => detail::paint(model, detail, areas.body, buffer),
            None => body(model, areas.body, buffer),
        }
        chrome::foot(model, areas.foot, buffer);
    } else {
        let (columns, rows) = model.size;
        let text = format!(
            "needs {}×{}, is {columns}×{rows}; q quits",
            LEAST.0, LEAST.1
        );
        let at = Rect::new(0, rows / 2, columns, 1.min(rows));
        line(
            buffer,
            at,
            Line::from(super::text::cut(&text, usize::from(columns))),
        );
    }
    tame(buffer);
    if model.look.ascii {
        theme::to_ascii(buffer);
    }
}

/// A cell holds a character and few marks: a name with a tower of combining marks would cover the lines above and below on some terminals.
fn tame(buffer: &mut Buffer) {
    /// No script needs more than two marks on a letter in names of hosts and interfaces.
    const MOST: usize = 3;
    for cell in &mut buffer.content {
        // Most cells are one octet: counting is for the others.
        if cell.symbol().len() > 4 && cell.symbol().chars().count() > MOST {
            let tamed: String = cell.symbol().chars().take(MOST).collect();
            cell.set_symbol(&tamed);
        }
    }
}

fn body(model: &Model, area: Rect, buffer: &mut Buffer) {
    match model.view {
        View::Incidents => incidents::paint(model, area, buffer),
        View::Events => events::paint(model, area, buffer),
        View::Sources => sources::paint(model, area, buffer),
        View::Routes | View::Dhcp | View::Bgp => {
            if let Some(at) = card_area(model) {
                card::paint(model, at, buffer);
            }
            if model.card.open {
                return;
            }
            for (pane, (name, at)) in table::panes(model, tables_area(model))
                .into_iter()
                .enumerate()
            {
                table::paint(model, name, pane == model.pane, at, buffer);
            }
        }
    }
}

/// Where the card of the row under the cursor is: beside the tables from 120 columns, alone when it was opened.
pub fn card_area(model: &Model) -> Option<Rect> {
    let body = areas(model).body;
    if model.view.tables().is_empty() {
        return None;
    }
    if model.card.open {
        return Some(body);
    }
    if body.width < 120 || model.zoom {
        return None;
    }
    let width = (body.width * 36 / 100).clamp(44, 88);
    Some(Rect {
        x: body.right() - width,
        width,
        ..body
    })
}

/// Where the tables are: what the card beside them leaves.
fn tables_area(model: &Model) -> Rect {
    let body = areas(model).body;
    match card_area(model) {
        Some(card) if !model.card.open => Rect {
            width: body.width.saturating_sub(card.width + 1),
            ..body
        },
        _ => body,
    }
}

/// What was clicked.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Hit {
    View(View),
    /// A row of a pane, by its index.
    Row(usize, usize),
}

/// What is at this place of the screen.
pub fn hit(model: &Model, column: u16, row: u16) -> Option<Hit> {
    let areas = areas(model);
    if row == 0 {
        return chrome::tab_at(model, column).map(Hit::View);
    }
    if model.view == View::Incidents {
        let panes = incidents::panes(model, areas.body);
        let list = panes.list?;
        // The first line is the head of the list.
        let inside = list.contains((column, row).into()) && row > list.y;
        let each = incidents::case_lines(&panes);
        return inside.then(|| Hit::Row(0, model.cases.top + usize::from(row - list.y - 1) / each));
    }
    if model.card.open {
        return None;
    }
    let tables = table::panes(model, tables_area(model));
    tables
        .into_iter()
        .enumerate()
        .find_map(|(pane, (name, at))| {
            let state = model.tables.get(&name)?;
            let inside = at.contains((column, row).into()) && row >= at.y + table::HEAD;
            inside.then(|| {
                Hit::Row(
                    pane,
                    state.cursor.top + usize::from(row - at.y - table::HEAD),
                )
            })
        })
}

/// Rows of incidents on the screen.
pub fn case_rows(model: &Model) -> usize {
    let panes = incidents::panes(model, areas(model).body);
    panes.list.map_or(1, |at| {
        usize::from(at.height.saturating_sub(1)) / incidents::case_lines(&panes)
    })
}

/// Rows of a table on the screen.
pub fn table_rows(model: &Model, wanted: Table) -> usize {
    table::panes(model, tables_area(model))
        .into_iter()
        .find(|(name, _)| *name == wanted)
        .map_or(1, |(_, at)| {
            usize::from(at.height.saturating_sub(table::HEAD))
        })
}

/// Rows of sources on the screen.
pub fn source_rows(model: &Model) -> usize {
    sources::rows(model, areas(model).body)
}

/// Lines of events on the screen.
pub fn log_rows(model: &Model) -> usize {
    usize::from(events::rows(areas(model).body))
}

/// The first line that the chain could begin with.
pub fn scroll_end(model: &Model) -> usize {
    let (lines, rows) = chain_lines(model);
    lines.len().saturating_sub(rows)
}

fn chain_lines(model: &Model) -> (Vec<chain::ChainLine>, usize) {
    let panes = incidents::panes(model, areas(model).body);
    match (model.case(), panes.chain) {
        (Some(case), Some(at)) => (chain::fitted(model, case, at), usize::from(at.height)),
        _ => (Vec::new(), 0),
    }
}

/// Line of the step under the cursor, and rows of the pane.
fn step_line(model: &Model) -> (usize, usize) {
    let (lines, rows) = chain_lines(model);
    let at = lines.iter().position(|l| l.step == Some(model.step.at));
    (at.unwrap_or(0), rows)
}

/// Whether the chain is scrolled further than its cursor needs.
pub fn scrolled_past(model: &Model) -> bool {
    let (at, rows) = step_line(model);
    model.scroll > (at + 1).saturating_sub(rows)
}

/// Scrolls the chain so that the step under the cursor is on the screen.
pub fn follow_step(model: &mut Model) {
    let (at, rows) = step_line(model);
    if at < model.scroll {
        model.scroll = at;
    } else if at >= model.scroll + rows {
        model.scroll = (at + 1).saturating_sub(rows);
    }
    if model.step.at == 0 {
        model.scroll = 0;
    }
}

/// Lines without their colours.
fn plain(lines: Vec<Line<'_>>) -> String {
    let lines = lines.iter().map(|line| {
        let text: String = line.spans.iter().map(|s| s.content.as_ref()).collect();
        text.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

/// What is looked at, as text for the clipboard: its name and its lines.
pub fn text_of(model: &Model) -> (String, String) {
    /// Columns of copied text: a mail's or a ticket's.
    const WIDTH: u16 = 100;
    if let Some(Overlay::Detail(detail)) = &model.overlay {
        return (
            "this".to_owned(),
            plain(detail::lines(detail, model.look, WIDTH)),
        );
    }
    if model.card.open {
        return (
            format!("{} as text", model.card.card.subject),
            plain(card::lines(model, usize::from(WIDTH))),
        );
    }
    match model.view {
        View::Incidents => match model.case() {
            Some(case) => (format!("{} as text", case.id), chain::story(case)),
            None => ("nothing".to_owned(), String::new()),
        },
        _ => {
            // The screen as it is, without head and footer.
            let mut buffer = Buffer::empty(Rect::new(0, 0, model.size.0, model.size.1));
            paint(model, &mut buffer);
            let lines = areas(model).body.rows().map(|row| {
                let line: String = row
                    .columns()
                    .filter_map(|at| buffer.cell((at.x, at.y)))
                    .map(|cell| cell.symbol())
                    .collect();
                line.trim_end().to_owned() + "\n"
            });
            ("this view as text".to_owned(), lines.collect())
        }
    }
}

/// What is under the cursor, as JSON for the clipboard.
pub fn json_of(model: &Model) -> (String, String) {
    let value = match model.view {
        _ if model.card.open => serde_json::to_value(&model.card.card),
        View::Events => serde_json::to_value(super::select::log_entry(model)),
        View::Sources => serde_json::to_value(model.snapshot.feeds.get(model.sources.at)),
        View::Incidents | View::Routes | View::Dhcp | View::Bgp => {
            let table = model.table();
            let row = table.and_then(|name| Some((name, model.tables.get(&name)?.row()?)));
            serde_json::to_value(row.map(|(name, row)| table::named(name, row)))
        }
    };
    let value = value.unwrap_or_default();
    (
        "this row as JSON".to_owned(),
        serde_json::to_string_pretty(&value).unwrap_or_default(),
    )
}

/// A piece of text in a role.
pub fn span(look: Look, role: Role, text: impl Into<String>) -> Span<'static> {
    Span::styled(text.into(), look.style(role))
}

/// Puts a line into the first row of an area; what is too long is not painted.
pub fn line(buffer: &mut Buffer, area: Rect, line: Line<'_>) {
    if area.height > 0 {
        buffer.set_line(area.x, area.y, &line, area.width);
    }
}

/// Puts lines below one another.
pub fn lines<'a>(buffer: &mut Buffer, area: Rect, all: impl IntoIterator<Item = Line<'a>>) {
    for (row, text) in area.rows().zip(all) {
        line(buffer, row, text);
    }
}

/// A thin rule with a title.
pub fn rule(look: Look, title: &str, columns: usize, strong: bool) -> Line<'static> {
    let role = if strong { Role::Accent } else { Role::Strong };
    let title = super::text::cut(title, columns.saturating_sub(2));
    let rest = columns.saturating_sub(super::text::width(&title) + 2);
    Line::from(vec![
        span(look, role, format!(" {title} ")),
        span(look, Role::Muted, "─".repeat(rest)),
    ])
}
