//! A frame or message closely: what was decoded, its fields, its octets.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{lines as put, rule, span};
use crate::output::log::Entry;
use crate::output::report::clock;
use crate::tui::link::Bytes;
use crate::tui::model::{Depth, Detail, Model};
use crate::tui::text::{cut, left, length, right, width, wrap};
use crate::tui::theme::{Look, Role};

/// Silence worth a line: half of the shortest hold time (RFC 4271 §4.2: 3 s), and a DHCP client's first patience (RFC 2131 §4.1: 4 s ± 1).
const SILENCE: i64 = 1_500_000_000;

/// Paints it.
pub fn paint(model: &Model, detail: &Detail, area: Rect, buffer: &mut Buffer) {
    let depth = match detail.depth {
        _ if detail.ladder.is_some() => "⏎ frames · Y text · esc back",
        Depth::Sentence => "sentence · x deeper · esc back",
        Depth::Fields => "fields · x deeper · esc back",
        Depth::Bytes => "octets · x sentence · esc back",
    };
    let room = usize::from(area.width).saturating_sub(width(depth) + 6);
    let title = format!("{} · {depth}", cut(&detail.title, room));
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
    if let Some(rungs) = &detail.ladder {
        return ladder(rungs, look, columns);
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

/// Two parties, time downwards: offsets from the first message, arrows, what matters of each.
fn ladder(rungs: &[Entry], look: Look, columns: usize) -> Vec<Line<'static>> {
    let Some((first, rung)) = rungs.iter().find_map(|e| Some((e, e.rung.as_ref()?))) else {
        return vec![Line::from(span(
            look,
            Role::Muted,
            "  its messages are not kept any more",
        ))];
    };
    // The arrow has what the time (12), the label (14) and the notes leave.
    let arrow = columns.saturating_sub(12 + 14 + 38).clamp(8, 34);
    let mut all = vec![Line::from(vec![
        span(look, Role::Muted, format!(" {}  ", clock(first.at))),
        span(look, Role::Strong, rung.left.clone()),
    ])];
    let mut last: Option<&Entry> = None;
    let mut other: Option<&String> = None;
    for entry in rungs {
        let Some(rung) = &entry.rung else { continue };
        let offset = format!("{:+.3}", entry.at.minus(first.at) as f64 / 1e9);
        // Long silence is what one looks for: it gets a line of its own.
        if let Some(before) = last {
            let silence = entry.at.minus(before.at);
            if silence >= SILENCE {
                let text = format!("{}┆ {}", " ".repeat(14), length(silence));
                all.push(Line::from(span(look, Role::Warning, text)));
            }
        }
        last = Some(entry);
        let role = match rung.label.as_str() {
            "NOTIFICATION" | "RST" | "NAK" | "DHCPNAK" | "DECLINE" | "DHCPDECLINE" | "FIN" => {
                Role::Critical
            }
            "ACK" | "DHCPACK" | "OPEN" | "REPLY" => Role::Ok,
            _ => Role::Text,
        };
        // The other party is named where it is another one than before (a broadcast, then a server).
        let party = other.replace(&rung.right) != Some(&rung.right);
        let line = "─".repeat(arrow.saturating_sub(1));
        let line = if rung.forth {
            format!("{line}▶")
        } else {
            format!("◀{line}")
        };
        let mut head = vec![
            span(look, Role::Muted, format!(" {} ", right(&offset, 11))),
            span(look, role, left(&rung.label, 14)),
            span(look, Role::Muted, line),
        ];
        if party {
            head.push(span(look, Role::Accent, format!(" {}", rung.right)));
        }
        let used: usize = head.iter().map(|part| width(&part.content)).sum();
        let note = rung.note.trim();
        if used + 2 + width(note) <= columns {
            head.push(span(look, Role::Text, format!("  {note}")));
            all.push(Line::from(head));
        } else {
            all.push(Line::from(head));
            for text in wrap(note, columns.saturating_sub(28)) {
                let text = format!("{}{text}", " ".repeat(27));
                all.push(Line::from(span(look, Role::Text, text)));
            }
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
