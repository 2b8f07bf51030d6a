//! Swim-lanes: link, address, neighbor, BFD, session, prefixes, kernel route and DHCP on one time axis, so that the eye sees what came first.
//!
//! A lane is drawn from when its findings say that something was wrong; where a plane said nothing it has no lane.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{line, rule, span};
use crate::engine::snapshot::case::Case;
use crate::event::Timestamp;
use crate::output::report::clock;
use crate::tui::model::Model;
use crate::tui::text::left;
use crate::tui::theme::Role;

/// Lanes in the order in which failures travel: layer of the kinds, and name.
const LANES: [(&str, &str); 9] = [
    ("feed", "feed"),
    ("link", "link"),
    ("path", "path"),
    ("address", "address"),
    ("neighbor", "neighbor"),
    ("bfd", "bfd"),
    ("session", "session"),
    ("prefix", "prefixes"),
    ("route", "kernel"),
];
/// These share a lane: both are how a host gets its address and gateway.
const LEASES: [&str; 2] = ["dhcp", "ra"];
const LEASE_LANE: &str = "dhcp/ra";

/// Columns of the names.
const NAME: u16 = 10;

/// Layers of an incident that have a lane, with their names.
fn of(case: &Case) -> Vec<(Vec<&'static str>, &'static str)> {
    let has = |layer: &str| case.steps().any(|step| step.layer() == layer);
    let mut all: Vec<(Vec<&str>, &str)> = LANES
        .iter()
        .filter(|(layer, _)| has(layer))
        .map(|(layer, name)| (vec![*layer], *name))
        .collect();
    if LEASES.iter().any(|layer| has(layer)) {
        all.push((LEASES.to_vec(), LEASE_LANE));
    }
    all
}

/// Rows that the lanes of an incident take: a rule, the axis, the lanes, the legend.
pub fn height(case: &Case, model: &Model) -> u16 {
    if model.size.0 < 80 {
        return 0;
    }
    u16::try_from(of(case).len()).unwrap_or(0) + 3
}

/// The time that is shown: the incident with a margin on both sides.
fn window(case: &Case, now: Timestamp) -> (i64, i64) {
    /// Less would draw milliseconds as minutes.
    const LEAST: i64 = 100_000_000;
    let (from, mut to) = case.span();
    if case.open && case.still_down() > 0 {
        // What is still down goes on until now, unless that squeezes the begin into one column.
        let lasted = to.minus(from).max(LEAST);
        to = to.max(now.min(Timestamp(to.0.saturating_add(lasted))));
    }
    let length = to.minus(from).max(LEAST);
    (
        from.0.saturating_sub(length / 12),
        to.0.saturating_add(length / 12),
    )
}

/// Paints them.
pub fn paint(case: &Case, model: &Model, area: Rect, buffer: &mut Buffer) {
    let look = model.look;
    let columns = area.width.saturating_sub(NAME + 1);
    if area.height < 3 || columns < 20 {
        return;
    }
    let (from, to) = window(case, model.now());
    let length = i128::from(to.saturating_sub(from).max(1));
    let column = |at: Timestamp| -> i64 {
        let offset = i128::from(at.0) - i128::from(from);
        i64::try_from(offset * i128::from(columns) / length).unwrap_or(i64::MAX)
    };
    let mut rows = area.rows();
    if let Some(row) = rows.next() {
        line(
            buffer,
            row,
            rule(look, "ORDER OF EVENTS", usize::from(area.width), false),
        );
    }
    if let Some(row) = rows.next() {
        axis(from, to, columns, row, model, buffer);
    }
    let limit = i64::from(columns);
    for ((layers, name), row) in of(case).into_iter().zip(&mut rows) {
        let mut cells = vec![("━", Role::Ok); usize::from(columns)];
        let mut put = |at: i64, glyph: &'static str, role: Role| {
            if let Some(cell) = usize::try_from(at).ok().and_then(|at| cells.get_mut(at)) {
                *cell = (glyph, role);
            }
        };
        for gap in &case.gaps {
            for at in column(gap.from).max(0)..=column(gap.to).min(limit - 1) {
                put(at, "▒", Role::Warning);
            }
        }
        let steps = || case.steps().filter(|step| layers.contains(&step.layer()));
        let now = model.now();
        for step in steps() {
            for span in step.spans.iter().filter(|span| span.at <= now) {
                let end = span.until.or(step.ended).or(step.down.then_some(now));
                let to = end.map_or(column(span.at), |end| column(end.min(now)));
                for at in column(span.at).max(0)..to.min(limit) {
                    put(at, "╌", Role::Muted);
                }
            }
        }
        // Ends first: a fall in the same column is what matters.
        for step in steps() {
            for span in &step.spans {
                if let Some(until) = span.until.filter(|until| *until <= now) {
                    put(column(until), "o", Role::Ok);
                }
            }
        }
        for step in steps() {
            for span in step.spans.iter().filter(|span| span.at <= now) {
                put(column(span.at), "x", Role::Critical);
            }
        }
        // Nobody knows yet what comes after now.
        let ahead = usize::try_from(column(now).saturating_add(1)).unwrap_or(0);
        cells
            .iter_mut()
            .skip(ahead)
            .for_each(|cell| *cell = (" ", Role::Muted));
        let mut spans = vec![span(
            look,
            Role::Text,
            format!(" {}", left(name, usize::from(NAME - 1))),
        )];
        // Runs of one role are one span.
        let mut run = String::new();
        let mut role = Role::Ok;
        for (glyph, of) in cells {
            if of != role && !run.is_empty() {
                spans.push(span(look, role, std::mem::take(&mut run)));
            }
            role = of;
            run.push_str(glyph);
        }
        spans.push(span(look, role, run));
        line(buffer, row, Line::from(spans));
    }
    if let Some(row) = rows.next() {
        let mut marks = vec![Span::raw(" ".repeat(usize::from(NAME)))];
        let root = column(case.root.first);
        let moment = model.moment.map(&column);
        let mut text: Vec<char> = vec![' '; usize::from(columns)];
        let mut write = |at: i64, words: &str| {
            let at = usize::try_from(at.max(0)).unwrap_or(0);
            for (offset, c) in words.chars().enumerate() {
                if let Some(cell) = text.get_mut(at + offset) {
                    *cell = c;
                }
            }
        };
        write(root, "▲ root");
        if let Some(at) = moment {
            write(at, "▲ here");
        }
        let legend = "x fails  o back  ╌ down  ▒ gap";
        let at = limit - i64::try_from(legend.chars().count()).unwrap_or(0) - 1;
        if root + 8 < at && moment.is_none_or(|moment| moment + 8 < at) {
            write(at, legend);
        }
        marks.push(span(
            look,
            Role::Muted,
            text.into_iter().collect::<String>(),
        ));
        line(buffer, row, Line::from(marks));
    }
}

/// Times at round columns, as exact as the distance between them.
fn axis(from: i64, to: i64, columns: u16, row: Rect, model: &Model, buffer: &mut Buffer) {
    /// Columns for a time with its distance to the next.
    const APART: u16 = 20;
    let marks = (columns / APART).max(1);
    let step = (to - from) / i64::from(marks);
    for mark in 0..marks {
        let at = Timestamp(from.saturating_add(step.saturating_mul(i64::from(mark))));
        let text = clock(at);
        let text = if step >= 10_000_000_000 {
            text.get(..8).unwrap_or_default()
        } else {
            text.as_str()
        };
        let x = row.x + NAME + mark * APART * columns / (marks * APART).max(1);
        buffer.set_string(x, row.y, format!("│{text}"), model.look.style(Role::Muted));
    }
}
