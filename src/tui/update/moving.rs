//! Moving about: rows, panes, places found, and time.

use super::editing::seek;
use crate::event::Timestamp;
use crate::tui::link::Request;
use crate::tui::model::{Control, Effect, Model, Overlay, View};
use crate::tui::{select, view};

/// `by` rows or lines up or down.
pub fn step(model: &mut Model, by: i64) -> Vec<Effect> {
    if let Some(Overlay::Detail(detail)) = &mut model.overlay {
        let lines = view::detail::lines(detail, model.look, model.size.0).len();
        let top = i64::try_from(detail.top).unwrap_or(0).saturating_add(by);
        detail.top = usize::try_from(top.max(0))
            .unwrap_or(0)
            .min(lines.saturating_sub(1));
        return Vec::new();
    }
    if model.card.open {
        let lines = view::card::length(model);
        let top = i64::try_from(model.card.top)
            .unwrap_or(0)
            .saturating_add(by);
        model.card.top = usize::try_from(top.max(0)).unwrap_or(0).min(lines);
        return Vec::new();
    }
    match model.view {
        View::Incidents if model.pane == 0 => {
            let shown: Vec<String> = model.shown().iter().map(|case| case.id.clone()).collect();
            let rows = view::case_rows(model);
            model.cases.step(by, shown.len(), rows);
            model.chosen = shown.get(model.cases.at).cloned();
            model.step.at = 0;
            model.scroll = 0;
        }
        View::Incidents => {
            let steps = model.case().map_or(0, |case| case.steps().count());
            // Past the last step the rest of the text scrolls: rejected causes, gaps, commands.
            let last = model.step.at + 1 >= steps;
            if by.abs() == 1
                && ((last && by > 0)
                    || (model.scroll > 0 && by < 0 && last && view::scrolled_past(model)))
            {
                let scroll = i64::try_from(model.scroll).unwrap_or(0) + by;
                model.scroll = usize::try_from(scroll.max(0))
                    .unwrap_or(0)
                    .min(view::scroll_end(model));
            } else {
                model.step.step(by, steps, steps);
                view::follow_step(model);
            }
        }
        View::Events => {
            let matched = i64::try_from(model.log.page.matched).unwrap_or(i64::MAX);
            let back = i64::from(model.log.back).saturating_sub(by);
            model.log.back = u32::try_from(back.clamp(0, (matched - 1).max(0))).unwrap_or(u32::MAX);
        }
        View::Sources => {
            let feeds = model.snapshot.feeds.len();
            let rows = view::source_rows(model);
            model.sources.step(by, feeds, rows);
        }
        View::Routes | View::Dhcp | View::Bgp => {
            let Some(table) = model.table() else {
                return Vec::new();
            };
            let rows = view::table_rows(model, table);
            if let Some(state) = model.tables.get_mut(&table) {
                let len = usize::try_from(state.page.matched).unwrap_or(usize::MAX);
                let reach = crate::engine::query::REACH as usize;
                state.cursor.step(by, len.min(reach), rows);
            }
        }
    }
    Vec::new()
}

/// Pages up or down.
pub fn page(model: &mut Model, by: i64) -> Vec<Effect> {
    let rows = match model.view {
        _ if model.card.open => usize::from(model.size.1.saturating_sub(4)),
        View::Incidents if model.pane == 0 => view::case_rows(model),
        View::Events => view::log_rows(model),
        View::Routes | View::Dhcp | View::Bgp => model
            .table()
            .map_or(1, |table| view::table_rows(model, table)),
        _ => usize::from(model.size.1 / 2),
    };
    let rows = i64::try_from(rows.max(2) - 1).unwrap_or(1);
    step(model, by * rows)
}

/// The next or previous pane.
pub fn pane(model: &mut Model, by: i64) {
    model.card.open = false;
    let panes = match model.view {
        View::Incidents => 2,
        view => view.tables().len().max(1),
    };
    let panes = i64::try_from(panes).unwrap_or(1);
    let pane = i64::try_from(model.pane).unwrap_or(0) + by;
    model.pane = usize::try_from(pane.rem_euclid(panes)).unwrap_or(0);
}

/// Keeps cursors on what is there after what is there has changed.
pub fn settle(model: &mut Model) {
    let ids: Vec<String> = model.shown().iter().map(|case| case.id.clone()).collect();
    let at = model
        .chosen
        .as_ref()
        .and_then(|chosen| ids.iter().position(|id| id == chosen));
    match at {
        Some(at) => model.cases.at = at,
        // Nobody has moved yet, or what was chosen is gone: the worst one is looked at.
        None => {
            model.cases.at = 0;
            if model.chosen.take().is_some() {
                model.step.at = 0;
                model.scroll = 0;
            }
        }
    }
    let rows = view::case_rows(model);
    model.cases.follow(ids.len(), rows);
    let steps = model.case().map_or(0, |case| case.steps().count());
    model.step.follow(steps, steps);
    model.scroll = model.scroll.min(view::scroll_end(model));
}

/// A click chooses a row; the layout says which.
pub fn click(model: &mut Model, column: u16, row: u16) -> Vec<Effect> {
    if model.overlay.is_some() {
        return Vec::new();
    }
    match view::hit(model, column, row) {
        Some(view::Hit::View(to)) => {
            model.view = to;
            model.pane = 0;
        }
        Some(view::Hit::Row(pane, index)) => {
            model.pane = pane;
            let at = i64::try_from(index).unwrap_or(0);
            let now = match model.view {
                View::Incidents if pane == 0 => model.cases.at,
                View::Sources => model.sources.at,
                _ => model
                    .table()
                    .and_then(|table| model.tables.get(&table))
                    .map_or(0, |state| state.cursor.at),
            };
            return step(model, at - i64::try_from(now).unwrap_or(0));
        }
        None => {}
    }
    Vec::new()
}

/// To the next or previous row that holds what is looked for.
pub fn find(model: &mut Model, on: bool) {
    let wanted = model.find.to_lowercase();
    if wanted.is_empty() {
        return;
    }
    let (texts, at): (Vec<String>, usize) = match model.view {
        View::Incidents if model.pane == 0 => (
            model
                .shown()
                .iter()
                .map(|case| {
                    format!(
                        "{} {} {} {}",
                        case.id,
                        case.title,
                        case.subject(),
                        case.impact
                    )
                })
                .collect(),
            model.cases.at,
        ),
        View::Incidents => (
            model.case().map_or_else(Vec::new, |case| {
                case.steps()
                    .map(|step| format!("{} {} {}", step.kind, step.headline, step.explain))
                    .collect()
            }),
            model.step.at,
        ),
        View::Events => {
            let entries = &model.log.page.entries;
            let texts = entries.iter().map(|entry| entry.text.clone()).collect();
            (texts, entries.len().saturating_sub(1))
        }
        View::Sources => (
            model
                .snapshot
                .feeds
                .iter()
                .map(|feed| format!("{} {}", feed.kind, feed.name.as_deref().unwrap_or_default()))
                .collect(),
            model.sources.at,
        ),
        View::Routes | View::Dhcp | View::Bgp => {
            match model.table().and_then(|table| model.tables.get(&table)) {
                Some(state) => (
                    state
                        .page
                        .rows
                        .iter()
                        .map(|row| row.cells.join(" "))
                        .collect(),
                    state.cursor.at.saturating_sub(state.page.offset as usize),
                ),
                None => return,
            }
        }
    };
    let len = texts.len();
    let hit = (1..=len)
        .map(|distance| {
            if on {
                (at + distance) % len
            } else {
                (at + len - distance) % len
            }
        })
        .find(|index| {
            texts
                .get(*index)
                .is_some_and(|text| text.to_lowercase().contains(&wanted))
        });
    match hit {
        Some(hit) => {
            let by = i64::try_from(hit).unwrap_or(0) - i64::try_from(at).unwrap_or(0);
            if by != 0 {
                step(model, by);
            }
        }
        None => {
            // Of a big table only the rows around the cursor are here.
            let table = model.table().and_then(|table| model.tables.get(&table));
            let more = table.is_some_and(|state| state.page.matched > state.page.rows.len() as u64);
            model.status = Some(if more {
                format!(
                    "{:?} is not near the cursor: / looks through all rows",
                    model.find
                )
            } else {
                format!("{:?} is not in this view", model.find)
            });
        }
    }
}

/// To a moment.
pub fn to(model: &mut Model, at: Timestamp) -> Vec<Effect> {
    let effects = seek(model, at);
    settle(model);
    effects
}

/// One event (replay, Events) or one step of the incident (live) on or back.
pub fn time_step(model: &mut Model, by: i64) -> Vec<Effect> {
    if model.replays() {
        return vec![Effect::Ask(Request::Control(Control::Step(by)))];
    }
    if model.view == View::Events {
        return step(model, by);
    }
    let now = model.now();
    let times = model.case().map(|case| {
        let steps = case.steps().flat_map(|step| {
            let spans = step.spans.iter().flat_map(|s| [Some(s.at), s.until]);
            spans.flatten().chain([step.first])
        });
        steps.collect::<Vec<_>>()
    });
    let times = times.unwrap_or_default().into_iter();
    let next = if by < 0 {
        times.filter(|at| *at < now).max()
    } else {
        times.filter(|at| *at > now).min()
    };
    match next {
        Some(at) => to(model, at),
        None => {
            model.status = Some("no step of this incident there".to_owned());
            Vec::new()
        }
    }
}

/// To the begin of the next or previous incident.
pub fn case_step(model: &mut Model, on: bool) -> Vec<Effect> {
    let now = model.now();
    let moment = std::mem::take(&mut model.moment);
    let begins: Vec<(Timestamp, String)> = select::shown(model)
        .iter()
        .map(|case| (case.root.first, case.id.clone()))
        .collect();
    model.moment = moment;
    let next = if on {
        begins.into_iter().filter(|(at, _)| *at > now).min()
    } else {
        begins.into_iter().filter(|(at, _)| *at < now).max()
    };
    match next {
        Some((at, id)) => {
            let effects = to(model, at);
            model.chosen = Some(id);
            settle(model);
            effects
        }
        None => {
            model.status = Some("no incident begins there".to_owned());
            Vec::new()
        }
    }
}
