//! The raw stream: the last events, oldest at the top, the newest (or the one looked at) at the bottom.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::{empty, line, lines, rule, span};
use crate::output::report::{clock, grouped};
use crate::tui::model::Model;
use crate::tui::text::{cut, left, right, width, wrap};
use crate::tui::theme::Role;

/// Lines below the stream for the whole text of the event under the cursor, and the rule above them.
const WHOLE: u16 = 4;

/// Lines of events on the screen.
pub fn rows(area: Rect) -> u16 {
    let rows = area.height.saturating_sub(1);
    // On the smallest screen the stream has all.
    if rows > 4 * WHOLE - 2 {
        rows - WHOLE
    } else {
        rows
    }
}

/// Paints the view.
pub fn paint(model: &Model, area: Rect, buffer: &mut Buffer) {
    let look = model.look;
    let page = &model.log.page;
    let mut title = if page.matched == page.kept {
        format!("EVENTS  {}", grouped(page.kept))
    } else {
        format!(
            "EVENTS  {} of {}",
            grouped(page.matched),
            grouped(page.kept)
        )
    };
    if let Some(reach) = page.reach {
        title.push_str(&format!(" since {}", clock(reach)));
    }
    if model.log.back > 0 {
        title.push_str(&format!(
            " · {} newer ones below, G follows again",
            grouped(u64::from(model.log.back))
        ));
    }
    line(
        buffer,
        Rect { height: 1, ..area },
        rule(look, &title, usize::from(area.width), true),
    );
    let rows = Rect {
        y: area.y + 1,
        height: self::rows(area),
        ..area
    };
    if page.entries.is_empty() {
        return empty::events(model, rows, buffer);
    }
    let columns = usize::from(area.width);
    // Source and place where there is room for them.
    let source = if columns >= 100 { 12 } else { 0 };
    let place = if columns >= 120 { 9 } else { 0 };
    let room = columns.saturating_sub(1 + 12 + 2 + 9 + source + place);
    let last = page.entries.len().saturating_sub(1);
    let skip = page.entries.len().saturating_sub(usize::from(rows.height));
    let all = page
        .entries
        .iter()
        .enumerate()
        .skip(skip)
        .map(|(at, entry)| {
            let selected = at == last;
            let role = match entry.plane.as_str() {
                "gap" => Role::Warning,
                "damage" => Role::Critical,
                _ => Role::Text,
            };
            let mut style = look.style(role);
            if selected {
                style = style.add_modifier(Modifier::BOLD | Modifier::REVERSED);
            }
            let text = if entry.skipped > 0 {
                format!(
                    "[{} events before this were too many to write out] {}",
                    grouped(entry.skipped),
                    entry.text
                )
            } else {
                entry.text.clone()
            };
            let mut spans = vec![
                span(look, Role::Accent, if selected { "▌" } else { " " }),
                span(look, Role::Muted, clock(entry.at) + "  "),
                span(look, Role::Accent, left(&entry.plane, 9)),
            ];
            if source > 0 {
                let name = if width(&entry.source) < source {
                    entry.source.as_str()
                } else {
                    ""
                };
                spans.push(span(look, Role::Muted, left(name, source)));
            }
            if place > 0 {
                spans.push(span(
                    look,
                    Role::Muted,
                    right(&entry.place.to_string(), place - 1) + " ",
                ));
            }
            spans.push(Span::styled(cut(&text, room), style));
            Line::from(spans)
        });
    lines(buffer, rows, all);
    let below = Rect {
        y: rows.bottom(),
        height: area.bottom().saturating_sub(rows.bottom()),
        ..area
    };
    if let Some(entry) = page.entries.last().filter(|_| below.height > 1) {
        let subject = entry.subject.as_deref().unwrap_or_default();
        let title = format!("{}  {}  {subject}", entry.place, entry.source);
        let texts = wrap(&entry.text, columns.saturating_sub(2));
        let cut_off = texts.len() >= usize::from(below.height);
        let mut whole = vec![rule(look, title.trim_end(), columns, false)];
        whole.extend(
            texts
                .into_iter()
                .map(|text| Line::from(span(look, Role::Text, format!(" {text}")))),
        );
        if cut_off && let Some(last) = whole.get_mut(usize::from(below.height) - 1) {
            last.spans.push(span(look, Role::Accent, " …"));
        }
        lines(buffer, below, whole);
    }
}
