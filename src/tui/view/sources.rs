//! What is seen: each source with its counts and losses, and the blind spots in words.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::{lines, rule, span};
use crate::output::report::{clock, grouped};
use crate::tui::model::Model;
use crate::tui::text::{age, left, right, wrap};
use crate::tui::theme::Role;

/// Paints the view.
pub fn paint(model: &Model, area: Rect, buffer: &mut Buffer) {
    let look = model.look;
    let columns = usize::from(area.width);
    let snapshot = &model.snapshot;
    let mut all = vec![rule(
        look,
        &format!("SOURCES  {}", snapshot.feeds.len()),
        columns,
        true,
    )];
    let wide = columns >= 100;
    let mut head = format!(
        " {}{}{}{}{}",
        left("KIND", 9),
        left("NAME", 18),
        right("EVENTS", 12),
        right("LAST", 7),
        right("LOST", 10)
    );
    if wide {
        head.push_str(&format!("{}  LAST LOSS", right("DAMAGED", 9)));
    }
    all.push(Line::from(span(look, Role::Muted, head)));
    for (at, feed) in snapshot.feeds.iter().enumerate() {
        let selected = at == model.sources.at;
        let role = if feed.gaps > 0 {
            Role::Warning
        } else {
            Role::Text
        };
        let mut style = look.style(role);
        if selected {
            style = style.add_modifier(Modifier::BOLD | Modifier::REVERSED);
        }
        let last = feed
            .last
            .map_or("never".to_owned(), |at| age(snapshot.at.minus(at)));
        let lost = match (feed.gaps, feed.lost) {
            (0, _) => "-".to_owned(),
            (gaps, 0) => format!("{gaps} gaps"),
            (_, lost) => grouped(lost),
        };
        let mut text = format!(
            "{}{}{}{}{}",
            left(&feed.kind, 9),
            left(feed.name.as_deref().unwrap_or("-"), 18),
            right(&grouped(feed.events), 12),
            right(&last, 7),
            right(&lost, 10)
        );
        if wide {
            let loss = feed
                .last_gap
                .as_ref()
                .map(|(at, why)| format!("{} {why}", clock(*at)));
            text.push_str(&format!(
                "{}  {}",
                right(&grouped(feed.malformed), 9),
                loss.unwrap_or_default()
            ));
        }
        all.push(Line::from(vec![
            span(look, Role::Accent, if selected { "▌" } else { " " }),
            Span::styled(text, style),
        ]));
    }
    for (title, role, texts) in [
        ("WATCHED", Role::Text, &snapshot.watched),
        ("BLIND SPOTS", Role::Warning, &snapshot.blind),
        ("NOTES", Role::Muted, &snapshot.notes),
    ] {
        if texts.is_empty() {
            continue;
        }
        all.push(Line::default());
        all.push(rule(look, title, columns, false));
        for text in texts
            .iter()
            .flat_map(|text| wrap(text, columns.saturating_sub(3)))
        {
            all.push(Line::from(span(look, role, format!("  {text}"))));
        }
    }
    lines(buffer, area, all);
}
