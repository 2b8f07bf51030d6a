//! A frame or message closely: what was decoded, its fields, its octets.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{lines as put, rule, span};
use crate::output::report::clock;
use crate::tui::link::Bytes;
use crate::tui::model::{Depth, Detail, Model};
use crate::tui::text::{cut, left, width, wrap};
use crate::tui::theme::{Look, Role};

/// Paints it.
pub fn paint(model: &Model, detail: &Detail, area: Rect, buffer: &mut Buffer) {
    let depth = match detail.depth {
        Depth::Sentence => "sentence",
        Depth::Fields => "fields",
        Depth::Bytes => "octets",
    };
    let title = format!(
        "{} · {depth} (x) · esc back",
        cut(&detail.title, usize::from(area.width) / 2)
    );
    let head = rule(model.look, &title, usize::from(area.width), true);
    let all = lines(detail, model.look, area.width)
        .into_iter()
        .skip(detail.top);
    put(buffer, area, std::iter::once(head).chain(all));
}

/// All lines.
pub fn lines(detail: &Detail, look: Look, columns: u16) -> Vec<Line<'static>> {
    let columns = usize::from(columns);
    if detail.asked.is_some() {
        return vec![Line::from(span(
            look,
            Role::Muted,
            "  looking for the frames …",
        ))];
    }
    let mut all = Vec::new();
    for found in &detail.found {
        let place = found
            .place
            .map(|place| place.to_string())
            .unwrap_or_default();
        let text = match &found.missing {
            Some(why) => format!(" {place}  {why}"),
            None => format!(
                " {place}  {}  {} octets",
                clock(found.at),
                found.octets.len()
            ),
        };
        all.push(Line::from(span(look, Role::Strong, cut(&text, columns))));
        for text in found
            .lines
            .iter()
            .flat_map(|l| wrap(l, columns.saturating_sub(5)))
        {
            all.push(Line::from(span(look, Role::Text, format!("    {text}"))));
        }
        if detail.depth >= Depth::Fields {
            fields(found, look, columns, &mut all);
        }
        if detail.depth >= Depth::Bytes {
            octets(found, look, &mut all);
        }
    }
    all
}

fn fields(found: &Bytes, look: Look, columns: usize, all: &mut Vec<Line<'static>>) {
    let names = found
        .fields
        .iter()
        .map(|(name, _)| width(name))
        .max()
        .unwrap_or(0)
        .min(columns / 2);
    for (name, value) in &found.fields {
        for (row, text) in wrap(value, columns.saturating_sub(names + 8))
            .into_iter()
            .enumerate()
        {
            let name = if row == 0 { name.as_str() } else { "" };
            all.push(Line::from(vec![
                span(look, Role::Muted, format!("      {}  ", left(name, names))),
                span(look, Role::Text, text),
            ]));
        }
    }
}

/// Sixteen octets a line: offset, hexadecimal, printable.
fn octets(found: &Bytes, look: Look, all: &mut Vec<Line<'static>>) {
    for (row, chunk) in found.octets.chunks(16).enumerate() {
        let hex: String = chunk.iter().map(|octet| format!("{octet:02x} ")).collect();
        let text: String = chunk
            .iter()
            .map(|octet| {
                if (0x20..0x7f).contains(octet) {
                    char::from(*octet)
                } else {
                    '.'
                }
            })
            .collect();
        all.push(Line::from(vec![
            span(look, Role::Muted, format!("      {:04x}  ", row * 16)),
            span(look, Role::Text, left(&hex, 48)),
            span(look, Role::Muted, format!(" {text}")),
        ]));
    }
}
