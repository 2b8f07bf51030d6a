//! The card of a row: incidents that name it, then its sections. Names at the left, texts wrapped beside them; where a name is longer than its
//! column (an IPv6 peer), the text stands below, for nothing is cut.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{chain, lines as put, rule, span};
use crate::engine::query::Mood;
use crate::engine::query::card::{CardLine, Section};
use crate::tui::model::Model;
use crate::tui::select;
use crate::tui::text::{age, left, width, wrap};
use crate::tui::theme::Role;

/// Incidents named on a card.
const MAX_CASES: usize = 5;
/// Widest column of names.
const NAMES: usize = 18;

/// Paints it, with a line towards the tables beside it.
pub fn paint(model: &Model, area: Rect, buffer: &mut Buffer) {
    let look = model.look;
    let mut at = area;
    if area.x > 0 {
        for y in area.top()..area.bottom() {
            buffer.set_string(area.x - 1, y, "│", look.style(Role::Muted));
        }
    }
    let subject = match &model.card.asked {
        Some((_, subject)) if !model.card.open => subject.clone(),
        _ => model.card.card.subject.clone(),
    };
    let keys = match (model.card.open, model.card.card.exchange.is_some()) {
        (true, true) => " · ⏎ messages · x frames · esc back",
        (true, false) => " · x frames · esc back",
        (false, _) => " · ⏎ opens",
    };
    let title = if subject.is_empty() {
        "nothing under the cursor".to_owned()
    } else {
        let shown = subject
            .split_once(':')
            .map_or(subject.as_str(), |(_, value)| value);
        format!("{shown}{keys}")
    };
    let head = rule(look, &title, usize::from(area.width), model.card.open);
    super::line(buffer, Rect { height: 1, ..area }, head);
    at.y += 1;
    at.height = at.height.saturating_sub(1);
    let all = lines(model, usize::from(area.width));
    let top = if model.card.open { model.card.top } else { 0 };
    let more = all.len().saturating_sub(top + usize::from(at.height));
    put(buffer, at, all.into_iter().skip(top));
    if more > 0 && at.height > 0 && model.card.open {
        let text = format!(" ↓ {more} more ");
        let x = at
            .right()
            .saturating_sub(u16::try_from(width(&text)).unwrap_or(0));
        let style = look.style(Role::Accent);
        let style = style.add_modifier(ratatui::style::Modifier::REVERSED);
        buffer.set_string(x, at.bottom() - 1, text, style);
    }
}

/// The last line that it could be scrolled to.
pub fn length(model: &Model) -> usize {
    let rows = usize::from(super::areas(model).body.height.saturating_sub(1));
    lines(model, usize::from(model.size.0))
        .len()
        .saturating_sub(rows)
}

/// All lines.
pub fn lines(model: &Model, columns: usize) -> Vec<Line<'static>> {
    let look = model.look;
    let card = &model.card.card;
    let mut all = Vec::new();
    if !card.subject.is_empty() {
        cases(model, &card.subject, columns, &mut all);
    }
    if card.sections.is_empty() {
        let text = if card.subject.is_empty() {
            ""
        } else {
            "  looking …"
        };
        all.push(Line::from(span(look, Role::Muted, text)));
    }
    for part in &card.sections {
        section(model, part, columns, &mut all);
    }
    all
}

fn cases(model: &Model, subject: &str, columns: usize, all: &mut Vec<Line<'static>>) {
    let look = model.look;
    let named = select::naming(model, subject);
    if named.is_empty() {
        return;
    }
    all.push(rule(
        look,
        &format!("INCIDENTS  {}", named.len()),
        columns,
        false,
    ));
    for case in named.iter().take(MAX_CASES) {
        let (word, role) = chain::severity(case);
        let ago = age(model.now().minus(case.root.first));
        let texts = wrap(&case.title, columns.saturating_sub(13));
        for (row, text) in texts.into_iter().enumerate() {
            let (word, ago) = if row == 0 {
                (word, ago.as_str())
            } else {
                ("", "")
            };
            all.push(Line::from(vec![
                span(look, role, format!("  {}", left(word, 5))),
                span(look, Role::Muted, left(ago, 5)),
                span(look, Role::Text, text),
            ]));
        }
    }
}

fn section(model: &Model, section: &Section, columns: usize, all: &mut Vec<Line<'static>>) {
    let look = model.look;
    all.push(rule(look, &section.title, columns, false));
    let most = NAMES.min(columns / 3);
    let names = section.lines.iter().map(|line| width(&line.name));
    let names = names.filter(|wide| *wide <= most).max().unwrap_or(0);
    for CardLine { name, text, mood } in &section.lines {
        let role = match mood {
            Mood::Plain => Role::Text,
            Mood::Good => Role::Ok,
            Mood::Warning => Role::Warning,
            Mood::Critical => Role::Critical,
            Mood::Faded => Role::Muted,
        };
        let below = width(name) > names;
        if below {
            all.push(Line::from(span(look, Role::Strong, format!("  {name}"))));
        }
        let indent = match (name.is_empty(), below) {
            (true, _) => 2,
            (false, true) => 4,
            (false, false) => names + 4,
        };
        for (row, text) in wrap(text, columns.saturating_sub(indent + 1))
            .into_iter()
            .enumerate()
        {
            let start = if row == 0 && !below && !name.is_empty() {
                format!("  {}  ", left(name, names))
            } else {
                " ".repeat(indent)
            };
            all.push(Line::from(vec![
                span(look, Role::Muted, start),
                span(look, role, text),
            ]));
        }
    }
}
