//! What is seen: each source with its counts, rate and losses; what was lost last and where; the blind spots in words, each with the command
//! that lifts it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::{lines, rule, span};
use crate::engine::blind;
use crate::engine::snapshot::feed::Feed;
use crate::output::bars::bars;
use crate::output::report::{clock, grouped};
use crate::tui::model::Model;
use crate::tui::text::{age, left, right, width, wrap};
use crate::tui::theme::Role;

/// Sources shown at least, however much else there is to say.
const LEAST: usize = 4;

/// Rows of sources on the screen: what the rest leaves.
pub fn rows(model: &Model, area: Rect) -> usize {
    let height = usize::from(area.height).saturating_sub(2);
    let rest = below(model, usize::from(area.width)).len();
    height.saturating_sub(rest).max(LEAST).min(height)
}

/// Paints the view.
pub fn paint(model: &Model, area: Rect, buffer: &mut Buffer) {
    let look = model.look;
    let columns = usize::from(area.width);
    let feeds = &model.snapshot.feeds;
    let room = rows(model, area);
    let hidden = feeds.len().saturating_sub(model.sources.top + room);
    let more = match (model.sources.top, hidden) {
        (0, 0) => String::new(),
        (above, hidden) => format!(" · {above} above, {hidden} below"),
    };
    let title = format!("SOURCES  {}{more}", feeds.len());
    let mut all = vec![rule(look, &title, columns, true)];
    all.push(head(model, columns));
    for (at, feed) in feeds.iter().enumerate().skip(model.sources.top).take(room) {
        all.push(row(model, feed, at == model.sources.at, columns));
    }
    all.extend(below(model, columns));
    lines(buffer, area, all);
}

/// Columns of the name, of the counts and of the sparkline, and whether damage has a column.
const fn layout(columns: usize) -> (usize, usize, usize, bool) {
    match columns {
        0..=71 => (14, 10, 0, false),
        72..=99 => (18, 12, 10, false),
        100..=139 => (22, 14, 15, true),
        _ => (40, 14, 30, true),
    }
}

/// Interface, namespace or router; else the number of its input, which `WATCHED` names.
fn named(feed: &Feed, live: bool) -> String {
    match (&feed.name, &feed.host) {
        (None, None) if feed.kind == "netlink" && live => "this host".to_owned(),
        (Some(name), Some(host)) => format!("{host} {name}"),
        (Some(name), None) | (None, Some(name)) => name.clone(),
        (None, None) => format!("input {}", feed.input),
    }
}

fn head(model: &Model, columns: usize) -> Line<'static> {
    let (name, count, spark, damaged) = layout(columns);
    let mut head = format!(
        " {}{}{}{}",
        left("KIND", 9),
        left("NAME", name),
        right("EVENTS", count),
        right("RATE", 9),
    );
    if spark > 0 {
        head.push_str(&format!("  {}", left("LAST MIN", spark)));
    }
    head.push_str(&right("LAST", 7));
    head.push_str(&right("LOST", 10));
    if damaged {
        head.push_str(&right("DAMAGED", 9));
    }
    Line::from(span(model.look, Role::Muted, head))
}

fn row(model: &Model, feed: &Feed, selected: bool, columns: usize) -> Line<'static> {
    let look = model.look;
    let now = model.snapshot.at;
    let (name, count, spark, damaged) = layout(columns);
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
        .map_or("never".to_owned(), |at| age(now.minus(at)));
    let lost = match (feed.gaps, feed.lost) {
        (0, _) => "-".to_owned(),
        (1, 0) => "1 gap".to_owned(),
        (gaps, 0) => format!("{gaps} gaps"),
        (_, lost) => grouped(lost),
    };
    let rate = match feed.per_second(now) {
        0.0 => "-".to_owned(),
        rate if rate < 10.0 => format!("{rate:.1}/s"),
        rate => format!("{}/s", grouped(rate as u64)),
    };
    let mut text = format!(
        "{}{}{}{}",
        left(&feed.kind, 9),
        left(&named(feed, !model.replays()), name),
        right(&grouped(feed.events), count),
        right(&rate, 9),
    );
    if spark > 0 {
        let rates = feed.rates(now);
        let together = rates.len().div_ceil(spark).max(1);
        let rates: Vec<u32> = rates
            .chunks(together)
            .map(|part| part.iter().fold(0_u32, |sum, n| sum.saturating_add(*n)))
            .collect();
        text.push_str(&format!("  {}", left(&bars(&rates), spark)));
    }
    text.push_str(&right(&last, 7));
    text.push_str(&right(&lost, 10));
    if damaged {
        text.push_str(&right(&grouped(feed.malformed), 9));
    }
    Line::from(vec![
        span(look, Role::Accent, if selected { "▌" } else { " " }),
        Span::styled(text, style),
    ])
}

/// Losses, what is watched, what is not, what the collectors said.
fn below(model: &Model, columns: usize) -> Vec<Line<'static>> {
    let look = model.look;
    let snapshot = &model.snapshot;
    let mut all = Vec::new();
    let section = |title: &str, all: &mut Vec<Line<'static>>| {
        all.push(rule(look, title, columns, false));
    };
    let put = |indent: usize, role: Role, text: &str, all: &mut Vec<Line<'static>>| {
        for text in wrap(text, columns.saturating_sub(indent + 1)) {
            let text = format!("{}{text}", " ".repeat(indent));
            all.push(Line::from(span(look, role, text)));
        }
    };
    let lossy = |feed: &&Feed| feed.last_gap.is_some();
    if snapshot.feeds.iter().any(|feed| lossy(&feed)) {
        section("LAST LOSSES", &mut all);
    }
    for feed in snapshot.feeds.iter().filter(lossy) {
        if let Some((at, why)) = &feed.last_gap {
            let text = format!(
                "{} {} {}: {why}",
                clock(*at),
                feed.kind,
                named(feed, !model.replays())
            );
            put(2, Role::Warning, &text, &mut all);
        }
    }
    let live = !model.replays() && snapshot.seq > 0;
    let packets = snapshot.feeds.iter().any(|feed| feed.kind == "packets");
    let unseen = (live && !packets).then_some(blind::NO_PACKETS);
    let spots = snapshot.blind.iter().map(String::as_str).chain(unseen);
    let spots: Vec<&str> = spots.collect();
    if !spots.is_empty() {
        section("BLIND SPOTS, and what lifts them", &mut all);
    }
    for spot in spots {
        put(2, Role::Warning, spot, &mut all);
        if let Some(lift) = blind::lift(spot, !model.replays()) {
            put(4, Role::Accent, lift, &mut all);
        }
    }
    for (title, role, texts) in [
        ("NOTES", Role::Text, &snapshot.notes),
        ("WATCHED", Role::Muted, &snapshot.watched),
    ] {
        if texts.is_empty() {
            continue;
        }
        section(title, &mut all);
        // The latest note says most.
        for at in 0..texts.len() {
            let at = if title == "NOTES" {
                texts.len() - 1 - at
            } else {
                at
            };
            put(2, role, texts.get(at).map_or("", String::as_str), &mut all);
        }
    }
    if !model.replays() && snapshot.seq > 0 {
        let text = "flapscope doctor   # everything this host lets us see, and what is missing";
        if width(text) + 3 <= columns {
            put(2, Role::Muted, text, &mut all);
        }
    }
    all
}
