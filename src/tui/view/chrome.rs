//! What surrounds every view: the tabs and the state of time above, what can be typed below.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{line, span};
use crate::engine::snapshot::{Attached, Mode};
use crate::output::report::{clock, grouped};
use crate::tui::keymap::{self, Action, BINDINGS};
use crate::tui::model::{Edit, Model, View};
use crate::tui::text::{cut, length, width};
use crate::tui::theme::Role;

/// Name of the program, at the left of the tabs.
const NAME: &str = " flapscope ";

/// Characters of a service's socket in the first line.
const SOCKET: usize = 32;

/// The names of the views with their columns.
fn tabs(model: &Model) -> Vec<(View, u16, String)> {
    let right: usize = state(model).iter().map(|s| width(&s.content)).sum();
    let fits = |all: &[(View, u16, String)]| {
        all.last().is_none_or(|(_, at, text)| {
            usize::from(*at) + width(text) + right + 2 <= usize::from(model.size.0)
        })
    };
    // When it gets narrow the program's name goes first, then the names of the views that are not shown.
    let layouts = [(NAME, false), (" ", false), (NAME, true), (" ", true)];
    let mut all = layouts
        .into_iter()
        .map(|(name, short)| laid_out(model, name, short));
    let first = all.find(|all| fits(all));
    first.unwrap_or_else(|| laid_out(model, " ", true))
}

fn laid_out(model: &Model, name: &str, short: bool) -> Vec<(View, u16, String)> {
    let gap = if model.size.0 >= 100 { 2 } else { 1 };
    let mut at = width(name) + gap - 1;
    let mut all = Vec::new();
    for (number, (view, name)) in View::ALL.into_iter().enumerate() {
        let text = if short && model.view != view {
            format!("{}", number + 1)
        } else {
            format!("{} {name}", number + 1)
        };
        let next = at + width(&text) + gap;
        all.push((view, u16::try_from(at).unwrap_or(u16::MAX), text));
        at = next;
    }
    all
}

/// The view whose tab is in this column.
pub fn tab_at(model: &Model, column: u16) -> Option<View> {
    tabs(model)
        .into_iter()
        .find(|(_, at, text)| {
            (*at..*at + u16::try_from(width(text)).unwrap_or(0)).contains(&column)
        })
        .map(|(view, _, _)| view)
}

/// Two lines: where we are, and how things stand.
pub fn head(model: &Model, area: Rect, buffer: &mut Buffer) {
    let look = model.look;
    let top = Rect { height: 1, ..area };
    let tabs = tabs(model);
    if tabs
        .first()
        .is_some_and(|(_, at, _)| usize::from(*at) >= width(NAME))
    {
        line(buffer, top, Line::from(span(look, Role::Strong, NAME)));
    }
    for (view, at, text) in tabs {
        let role = if view == model.view {
            Role::Accent
        } else {
            Role::Muted
        };
        let mut style = look.style(role);
        if view == model.view {
            style = style.add_modifier(
                ratatui::style::Modifier::UNDERLINED | ratatui::style::Modifier::BOLD,
            );
        }
        buffer.set_string(area.x + at, area.y, &text, style);
    }
    let state = state(model);
    let wide: usize = state.iter().map(|s| width(&s.content)).sum();
    let at = area
        .right()
        .saturating_sub(u16::try_from(wide).unwrap_or(0) + 1);
    buffer.set_line(at, area.y, &Line::from(state), area.width);

    let second = Rect {
        y: area.y + 1,
        height: 1,
        ..area
    };
    let left = if model.filter.text.is_empty() && model.subject.is_none() {
        counts(model)
    } else {
        narrowed(model)
    };
    let used: usize = left.iter().map(|s| width(&s.content)).sum();
    line(buffer, second, Line::from(left));
    let planes = planes(model, usize::from(area.width).saturating_sub(used + 3));
    let wide: usize = planes.iter().map(|s| width(&s.content)).sum();
    let at = area
        .right()
        .saturating_sub(u16::try_from(wide).unwrap_or(0) + 1);
    buffer.set_line(at, second.y, &Line::from(planes), area.width);
}

/// Live, frozen, looking back, playing …
fn state(model: &Model) -> Vec<Span<'static>> {
    let look = model.look;
    // Whatever else is shown: it is old news.
    let newest = model.frozen.as_ref().unwrap_or(&model.snapshot);
    if let Mode::Attached(Attached {
        away: Some(away), ..
    }) = &newest.mode
    {
        let text = format!(
            " SERVICE {} FOR {}s ",
            away.how.to_uppercase(),
            away.seconds
        );
        return vec![span(look, Role::Critical, text)];
    }
    if let Some(latest) = &model.frozen {
        let behind = latest.at.minus(model.snapshot.at);
        let new = latest
            .tally
            .events
            .saturating_sub(model.snapshot.tally.events);
        return vec![span(
            look,
            Role::Frozen,
            format!(" FROZEN −{} · {} new ", length(behind), grouped(new)),
        )];
    }
    if let Some(moment) = model.moment {
        return vec![span(
            look,
            Role::Frozen,
            format!(" AS OF {} · L now ", clock(moment)),
        )];
    }
    match &model.snapshot.mode {
        Mode::Live | Mode::Attached(_) if model.snapshot.seq == 0 => {
            vec![span(look, Role::Muted, "starting")]
        }
        Mode::Live => vec![span(look, Role::Ok, "● LIVE")],
        Mode::Attached(service) => attached(model, &service.socket),
        Mode::Replay(replay) => {
            if let Some((read, total)) = replay.reading {
                let part = total
                    .filter(|total| *total > 0)
                    .map(|total| format!(" {} %", read.saturating_mul(100) / total))
                    .unwrap_or_default();
                return vec![span(look, Role::Accent, format!("READING{part}"))];
            }
            let speed = if replay.speed >= 1.0 {
                format!("{:.0}×", replay.speed)
            } else {
                format!("{:.2}×", replay.speed)
            };
            let (word, role) = match replay.playing {
                true => (format!("▶ PLAY {speed} "), Role::Ok),
                false if Some(model.snapshot.at) >= replay.to => ("END ".to_owned(), Role::Muted),
                false => (format!("PAUSED {speed} "), Role::Accent),
            };
            vec![
                span(look, role, word),
                span(look, Role::Strong, moment(model)),
            ]
        }
    }
}

/// That a service watches, and which; its socket's path where there is room.
fn attached(model: &Model, socket: &str) -> Vec<Span<'static>> {
    let mut spans = vec![span(model.look, Role::Ok, "● ATTACHED")];
    if model.size.0 >= 100 {
        // Its end tells sockets apart.
        let skip = socket.chars().count().saturating_sub(SOCKET);
        let end: String = socket.chars().skip(skip).collect();
        spans.push(span(model.look, Role::Muted, format!(" {end}")));
    }
    spans
}

/// The moment of a replay, with milliseconds where there is room.
fn moment(model: &Model) -> String {
    let text = clock(model.snapshot.at);
    if model.size.0 >= 100 {
        return text;
    }
    text.get(..8).unwrap_or_default().to_owned()
}

fn counts(model: &Model) -> Vec<Span<'static>> {
    let look = model.look;
    let cases = || {
        model
            .snapshot
            .cases
            .iter()
            .filter(|c| c.merged_into.is_none())
    };
    let open = cases().filter(|case| case.open).count();
    let closed = cases().count() - open;
    let tally = &model.snapshot.tally;
    let role = match cases().filter(|c| c.open).map(|c| c.severity).max() {
        Some(crate::detect::Severity::Critical) => Role::Critical,
        Some(crate::detect::Severity::Warning) => Role::Warning,
        _ => Role::Ok,
    };
    let mut spans = vec![span(look, role, format!(" {open} open"))];
    spans.push(span(look, Role::Muted, format!(" · {closed} closed")));
    if tally.suppressed > 0 {
        spans.push(span(
            look,
            Role::Warning,
            match tally.suppressed {
                1 => " · 1 prefix would be damped".to_owned(),
                n => format!(" · {} prefixes would be damped", grouped(n)),
            },
        ));
    }
    if tally.noticed > 0 && model.size.0 >= 100 {
        spans.push(span(
            look,
            Role::Muted,
            format!(" · {} noticed, no incident", grouped(tally.noticed)),
        ));
    }
    spans
}

fn narrowed(model: &Model) -> Vec<Span<'static>> {
    let look = model.look;
    let mut spans = Vec::new();
    if let Some(subject) = &model.subject {
        spans.push(span(look, Role::Muted, " subject "));
        spans.push(span(look, Role::Accent, subject.clone()));
    }
    if !model.filter.text.is_empty() {
        let role = if model.filter.error.is_some() {
            Role::Critical
        } else {
            Role::Accent
        };
        spans.push(span(look, Role::Muted, " filter "));
        spans.push(span(
            look,
            role,
            cut(&model.filter.text, usize::from(model.size.0) / 3),
        ));
    }
    let total = model
        .snapshot
        .cases
        .iter()
        .filter(|c| c.merged_into.is_none())
        .count();
    let (shown, total) = match model.view {
        View::Events => (model.log.page.matched, model.log.page.kept),
        View::Incidents | View::Sources => (model.shown().len() as u64, total as u64),
        View::Routes | View::Dhcp | View::Bgp => model
            .table()
            .and_then(|table| model.tables.get(&table))
            .map_or((0, 0), |state| (state.page.matched, state.page.total)),
    };
    spans.push(span(
        look,
        Role::Muted,
        format!(" {}/{}", grouped(shown), grouped(total)),
    ));
    spans
}

/// What each plane says: ok, silent, or its losses. In as many columns as there are, the most telling first.
fn planes(model: &Model, columns: usize) -> Vec<Span<'static>> {
    let look = model.look;
    let tally = &model.snapshot.tally;
    let feeds = &model.snapshot.feeds;
    let seen = |kind: &str| feeds.iter().any(|feed| feed.kind == kind);
    let lost = |kind: &str| -> u64 {
        feeds
            .iter()
            .filter(|feed| feed.kind == kind)
            .map(|feed| feed.gaps)
            .sum()
    };
    let mut all: Vec<(Role, String)> = Vec::new();
    let mut add = |name: &str, there: bool, events: u64, gaps: u64| {
        all.push(match (there, gaps, events) {
            (false, ..) => (Role::Muted, format!("{name} off")),
            (_, 1, _) => (Role::Warning, format!("{name} 1 gap")),
            (_, 2.., _) => (Role::Warning, format!("{name} {gaps} gaps")),
            (_, _, 0) => (Role::Muted, format!("{name} silent")),
            _ => (Role::Ok, format!("{name} ok")),
        });
    };
    let packets = seen("packets");
    add("netlink", seen("netlink"), tally.netlink, lost("netlink"));
    add("dhcp", packets, tally.dhcp, 0);
    add(
        "bgp",
        packets || seen("mrt") || seen("bgp"),
        tally.bgp,
        lost("packets") + lost("mrt"),
    );
    add("bmp", seen("bmp") || tally.bmp > 0, tally.bmp, lost("bmp"));
    add("bfd", packets, tally.bfd, 0);
    all.sort_by_key(|(role, _)| match role {
        Role::Warning => 0,
        Role::Ok => 1,
        _ => 2,
    });
    let mut used = 0;
    let mut spans = Vec::new();
    for (role, text) in all {
        let wide = width(&text) + 2;
        if used + wide > columns {
            break;
        }
        used += wide;
        if !spans.is_empty() {
            spans.push(Span::raw("  "));
        }
        spans.push(span(look, role, text));
    }
    spans
}

/// What can be typed now; or what is typed; or what was said.
pub fn foot(model: &Model, area: Rect, buffer: &mut Buffer) {
    let look = model.look;
    let columns = usize::from(area.width);
    if let Some(edit) = &model.edit {
        let (name, typed, hint) = match edit {
            Edit::Filter(typed) => ("/", typed, "⏎ keeps · esc drops"),
            Edit::Find(typed) => ("find ", typed, "⏎ finds · esc drops"),
            Edit::Time(typed) => ("go to ", typed, "12:04 · 12:04:07.5 · -5m · +30s"),
        };
        let hint = match (&model.filter.error, edit) {
            (Some(error), Edit::Filter(_)) => (Role::Critical, error.as_str()),
            _ => (Role::Muted, hint),
        };
        let room = columns.saturating_sub(width(name) + 4);
        let (before, behind) = typed.text.split_at(typed.at.min(typed.text.len()));
        let under: String = behind.chars().take(1).collect();
        let rest: String = behind.chars().skip(1).collect();
        // The end of a long line is what is typed.
        let skipped = width(before).saturating_sub(room.saturating_sub(12));
        let before: String = before.chars().skip(skipped).collect();
        let mut spans = vec![
            span(look, Role::Accent, format!(" {name}")),
            span(look, Role::Text, before),
            Span::styled(
                if under.is_empty() {
                    " ".to_owned()
                } else {
                    under
                },
                look.style(Role::Frozen),
            ),
            span(look, Role::Text, rest),
        ];
        let used: usize = spans.iter().map(|s| width(&s.content)).sum();
        let left = columns.saturating_sub(used + 3);
        spans.push(span(look, hint.0, format!("  {}", cut(hint.1, left))));
        return line(buffer, area, Line::from(spans));
    }
    if let Some(status) = &model.status {
        let text = cut(status, columns.saturating_sub(2));
        return line(
            buffer,
            area,
            Line::from(span(look, Role::Accent, format!(" {text}"))),
        );
    }
    line(buffer, area, keys(model, columns));
}

fn keys(model: &Model, columns: usize) -> Line<'static> {
    let look = model.look;
    let mut wanted: Vec<_> = BINDINGS
        .iter()
        .filter(|b| b.footer > 0 && (b.ready)(model).is_ok())
        .collect();
    wanted.sort_by_key(|binding| binding.footer);
    let label = |binding: &keymap::Binding| {
        let key = binding.shown.split(' ').next().unwrap_or_default();
        let name = match binding.action {
            Action::Freeze if model.replays() => "play",
            Action::Freeze if model.frozen.is_some() => "resume",
            _ => binding.name,
        };
        (key.to_owned(), name.to_owned())
    };
    let mut used = 1;
    let mut taken = Vec::new();
    for binding in wanted {
        let (key, name) = label(binding);
        let wide = width(&key) + width(&name) + 3;
        if used + wide <= columns {
            used += wide;
            taken.push(binding);
        }
    }
    // In the order of the table, so that keys do not change places; help and quit at the end.
    taken.sort_by_key(|taken| {
        BINDINGS
            .iter()
            .position(|binding| binding.action == taken.action)
    });
    let mut spans = vec![Span::raw(" ")];
    for binding in taken {
        let (key, name) = label(binding);
        spans.push(span(look, Role::Accent, key));
        spans.push(span(look, Role::Muted, format!(" {name}  ")));
    }
    Line::from(spans)
}
