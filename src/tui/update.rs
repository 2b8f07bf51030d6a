//! All behaviour: a message comes, the model changes, effects come out. No terminal, no clock, no I/O, so that a table can test it.

mod editing;
mod moving;
mod wants;

use std::sync::Arc;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::keymap::{self, Action};
use super::link::{Reply, Request};
use super::model::{Control, Depth, Detail, Edit, Effect, Line, Message, Model, Overlay, View};
use super::select;
use crate::engine::query::card::Card;
use crate::engine::snapshot::{Mode, Snapshot};
use crate::output::log::LogQuery;

/// Frames that a ladder leads to at once.
const LADDER_FRAMES: usize = 64;

/// What happens to the model, and what it makes happen.
pub fn update(model: &mut Model, message: Message) -> Vec<Effect> {
    let said = model.status.clone();
    let mut effects = match message {
        Message::Key(key) if key.kind == KeyEventKind::Release => Vec::new(),
        Message::Key(key) => self::key(model, key),
        Message::Paste(text) => editing::paste(model, &text),
        Message::Resize(columns, rows) => {
            model.size = (columns, rows);
            Vec::new()
        }
        Message::Scroll(lines) => moving::step(model, i64::from(lines)),
        Message::Click(column, row) => moving::click(model, column, row),
        Message::Snapshot(snapshot) => {
            self::snapshot(model, snapshot);
            Vec::new()
        }
        Message::Reply(reply) => self::reply(model, *reply),
    };
    if model.status != said {
        model.said_at = model.snapshot.at;
    }
    effects.extend(wants::asked(model));
    effects
}

fn snapshot(model: &mut Model, snapshot: Arc<Snapshot>) {
    if model.frozen.is_some() {
        model.frozen = Some(snapshot);
        return;
    }
    // What was said is read within this time; then the keys are there again.
    const READ: i64 = 6_000_000_000;
    if model.status.is_some() && snapshot.at.minus(model.said_at).abs() > READ {
        model.status = None;
    }
    model.snapshot = snapshot;
    moving::settle(model);
}

fn reply(model: &mut Model, reply: Reply) -> Vec<Effect> {
    match reply {
        Reply::Page { id, page } => {
            for table in model.tables.values_mut() {
                if let Some((_, query)) = table.asked.take_if(|(asked, _)| *asked == id) {
                    table.shown = Some(query);
                    table.page = page;
                    let len = usize::try_from(table.page.matched).unwrap_or(usize::MAX);
                    table.cursor.at = table.cursor.at.min(len.saturating_sub(1));
                    break;
                }
            }
        }
        Reply::Card { id, card } => {
            let state = &mut model.card;
            if state.asked.take_if(|(asked, _)| *asked == id).is_some() {
                state.card = *card;
            }
        }
        Reply::Log { id, page } => {
            if model.log.asked == Some(id) {
                model.log.asked = None;
                model.log.back = model
                    .log
                    .back
                    .min(u32::try_from(page.matched.saturating_sub(1)).unwrap_or(u32::MAX));
                model.log.page = page;
            }
        }
        Reply::Alert { id, json } => match json {
            Some(text) => {
                return vec![Effect::Copy {
                    label: format!("{id} as JSON"),
                    text,
                }];
            }
            None => model.status = Some(format!("{id} is not known any more")),
        },
        Reply::Bytes { id, found } => {
            if let Some(Overlay::Detail(detail)) = &mut model.overlay
                && detail.asked == Some(id)
            {
                detail.asked = None;
                detail.found = found;
            }
        }
        Reply::Exchange { id, rungs } => {
            if let Some(Overlay::Detail(detail)) = &mut model.overlay
                && detail.asked == Some(id)
            {
                detail.asked = None;
                detail.ladder = Some(rungs);
            }
        }
        // Whoever hands answers on to a screen elsewhere has written it.
        Reply::Parcel(_) => {}
        Reply::Said(text) => model.status = Some(text),
    }
    Vec::new()
}

fn key(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    // Where nothing can be drawn, nothing is done that cannot be seen (lazygit#3176).
    if !model.fits() {
        let quits = keymap::find(key).is_some_and(|b| b.action == Action::Quit);
        return if quits {
            vec![Effect::Quit]
        } else {
            Vec::new()
        };
    }
    model.status = None;
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let typing = model.edit.is_some()
        || matches!(
            model.overlay,
            Some(Overlay::Help { .. } | Overlay::Palette { .. })
        );
    if typing && !(control && matches!(key.code, KeyCode::Char('c' | 'z' | 'l'))) {
        return editing::key(model, key);
    }
    let Some(binding) = keymap::find(key) else {
        return Vec::new();
    };
    run(model, binding)
}

/// Runs what a key stands for, or says why it does nothing.
pub(super) fn run(model: &mut Model, binding: &keymap::Binding) -> Vec<Effect> {
    if let Err(why) = (binding.ready)(model) {
        model.status = Some(format!("{}: {why}", binding.name));
        return Vec::new();
    }
    act(model, binding.action)
}

fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    match action {
        Action::View(view) => {
            model.overlay = None;
            model.card.open = false;
            if model.view != view {
                model.view = view;
                model.pane = 0;
                model.zoom = false;
            }
        }
        Action::NextPane => moving::pane(model, 1),
        Action::PreviousPane => moving::pane(model, -1),
        Action::Up => return moving::step(model, -1),
        Action::Down => return moving::step(model, 1),
        Action::PageUp => return moving::page(model, -1),
        Action::PageDown => return moving::page(model, 1),
        Action::Top => return moving::step(model, i64::MIN / 2),
        Action::Bottom => return moving::step(model, i64::MAX / 2),
        Action::Enter => return enter(model),
        Action::Back => back(model),
        Action::Filter => {
            let text = model.filter.text.clone();
            model.edit = Some(Edit::Filter(Line::of(text)));
        }
        Action::Find => model.edit = Some(Edit::Find(Line::of(model.find.clone()))),
        Action::FindNext => moving::find(model, true),
        Action::FindPrevious => moving::find(model, false),
        Action::Subject => {
            model.subject = select::subject(model);
            moving::settle(model);
        }
        Action::ClearSubject => {
            model.subject = None;
            moving::settle(model);
        }
        Action::Freeze => return freeze(model),
        Action::StepBack => return moving::time_step(model, -1),
        Action::StepOn => return moving::time_step(model, 1),
        Action::CaseBack => return moving::case_step(model, false),
        Action::CaseOn => return moving::case_step(model, true),
        Action::Time => model.edit = Some(Edit::Time(Line::default())),
        Action::Now => {
            model.moment = None;
            if let Some(latest) = model.frozen.take() {
                model.snapshot = latest;
            }
            moving::settle(model);
            if model.replays() {
                return control(Control::End);
            }
        }
        Action::Slower => return speed(model, 0.5),
        Action::Faster => return speed(model, 2.0),
        Action::Sort => wants::sort(model),
        Action::Reverse => {
            if let Some(state) = model.table().and_then(|table| model.tables.get_mut(&table)) {
                state.reverse = !state.reverse;
            }
        }
        Action::Deeper => match &mut model.overlay {
            Some(Overlay::Detail(detail)) => {
                detail.depth = detail.depth.next();
                detail.top = 0;
            }
            _ => return deeper(model),
        },
        Action::CopyJson => return copy_json(model),
        Action::CopyText => {
            let (label, text) = super::view::text_of(model);
            return vec![Effect::Copy { label, text }];
        }
        Action::Bundle => return bundle(model),
        Action::Lanes => model.lanes = !model.lanes,
        Action::Zoom => model.zoom = !model.zoom,
        Action::Mouse => {
            model.mouse = !model.mouse;
            let word = if model.mouse { "on" } else { "off" };
            model.status = Some(format!("mouse {word}"));
            return vec![Effect::Mouse(model.mouse)];
        }
        Action::Palette => {
            model.overlay = Some(Overlay::Palette {
                line: Line::default(),
                at: 0,
            });
        }
        Action::Help => {
            model.overlay = Some(Overlay::Help {
                find: Line::default(),
                top: 0,
            });
        }
        Action::Redraw => return vec![Effect::Redraw],
        Action::Suspend => return vec![Effect::Suspend],
        Action::Quit => return vec![Effect::Quit],
    }
    Vec::new()
}

fn control(control: Control) -> Vec<Effect> {
    vec![Effect::Ask(Request::Control(control))]
}

fn freeze(model: &mut Model) -> Vec<Effect> {
    if let Mode::Replay(replay) = &model.snapshot.mode {
        return control(if replay.playing {
            Control::Pause
        } else {
            Control::Play
        });
    }
    match model.frozen.take() {
        Some(latest) => {
            model.snapshot = latest;
            moving::settle(model);
        }
        None => model.frozen = Some(model.snapshot.clone()),
    }
    Vec::new()
}

fn speed(model: &Model, factor: f64) -> Vec<Effect> {
    /// From a hundredth to a day in a second.
    const SPEEDS: (f64, f64) = (0.01, 86_400.0);
    match &model.snapshot.mode {
        Mode::Replay(replay) => control(Control::Speed(
            (replay.speed * factor).clamp(SPEEDS.0, SPEEDS.1),
        )),
        Mode::Live | Mode::Attached(_) => Vec::new(),
    }
}

fn enter(model: &mut Model) -> Vec<Effect> {
    if let Some(Overlay::Detail(detail)) = &mut model.overlay {
        detail.top = 0;
        if let Some(rungs) = detail.ladder.take() {
            if !detail.found.is_empty() {
                return Vec::new();
            }
            // It was opened as a ladder: its frames are looked for now, the last ones where there are many.
            let late = rungs.len().saturating_sub(LADDER_FRAMES);
            let places = rungs.iter().skip(late).map(|entry| entry.place).collect();
            model.asked += 1;
            detail.asked = Some(model.asked);
            return vec![Effect::Ask(Request::Bytes {
                id: model.asked,
                places,
            })];
        }
        let mut found = detail.found.iter();
        let exchange = found.find_map(|found| Some((found.exchange.clone()?, found.at)));
        let Some((exchange, around)) = exchange else {
            model.status = Some("this is no part of an exchange (DHCP, BGP)".to_owned());
            return Vec::new();
        };
        model.asked += 1;
        detail.asked = Some(model.asked);
        return vec![Effect::Ask(Request::Exchange {
            id: model.asked,
            exchange,
            around,
        })];
    }
    match model.view {
        View::Incidents if model.case().is_some() && model.pane == 0 => {
            model.pane = 1;
            model.step.at = 0;
            moving::settle(model);
            Vec::new()
        }
        View::Incidents => deeper(model),
        View::Events => deeper(model),
        View::Sources => {
            // Into a source: its events.
            match select::subject(model) {
                Some(subject) => {
                    model.subject = Some(subject);
                    model.view = View::Events;
                    model.log.back = 0;
                }
                None => {
                    let why = "this source has no name to narrow to; 5 shows all events";
                    model.status = Some(why.to_owned());
                }
            }
            Vec::new()
        }
        View::Routes | View::Dhcp | View::Bgp if model.card.open => ladder(model),
        View::Routes | View::Dhcp | View::Bgp => {
            if let Some(subject) = select::subject(model) {
                open_card(model, subject);
            }
            Vec::new()
        }
    }
}

/// Shows the card of a subject alone. What is known of another one is not shown under its name.
fn open_card(model: &mut Model, subject: String) {
    let card = &mut model.card;
    if card.card.subject != subject {
        card.card = Card {
            subject,
            ..Card::default()
        };
        card.asked = None;
    }
    (card.open, card.top, card.seq) = (true, 0, 0);
}

/// The exchange that the card's subject is part of, as a ladder; its frames where it is none.
fn ladder(model: &mut Model) -> Vec<Effect> {
    let Some((exchange, around)) = model.card.card.exchange.clone() else {
        return deeper(model);
    };
    model.asked += 1;
    model.overlay = Some(Overlay::Detail(Detail {
        title: exchange.clone(),
        depth: Depth::Fields,
        asked: Some(model.asked),
        ..Detail::default()
    }));
    vec![Effect::Ask(Request::Exchange {
        id: model.asked,
        exchange,
        around,
    })]
}

/// One step out.
fn back(model: &mut Model) {
    if model.overlay.take().is_some() {
        return;
    }
    if model.card.open {
        model.card.open = false;
    } else if model.zoom {
        model.zoom = false;
    } else if model.pane > 0 {
        model.pane = 0;
    } else if !model.filter.text.is_empty() {
        model.filter = Default::default();
    } else if model.subject.take().is_none() && model.moment.take().is_none() {
        model.view = View::Incidents;
    }
    moving::settle(model);
}

/// The frames behind what is under the cursor.
fn deeper(model: &mut Model) -> Vec<Effect> {
    let (title, places) = match model.view {
        View::Incidents => {
            let Some(step) = model
                .case()
                .and_then(|case| case.steps().nth(model.step.at).cloned())
            else {
                return Vec::new();
            };
            (step.headline, step.evidence)
        }
        View::Events => match select::log_entry(model) {
            Some(entry) => (entry.text.clone(), vec![entry.place]),
            None => return Vec::new(),
        },
        View::Routes | View::Dhcp | View::Bgp if !model.card.card.places.is_empty() => {
            let card = &model.card.card;
            (card.subject.clone(), card.places.clone())
        }
        View::Routes | View::Dhcp | View::Bgp => {
            model.status = Some("⏎ opens the row; then x shows its last frames".to_owned());
            return Vec::new();
        }
        View::Sources => return Vec::new(),
    };
    if places.is_empty() {
        model.status = Some(
            "no frame shows it: it was concluded from time or from what was missing".to_owned(),
        );
        return Vec::new();
    }
    model.asked += 1;
    model.overlay = Some(Overlay::Detail(Detail {
        title,
        depth: Depth::Fields,
        asked: Some(model.asked),
        ..Detail::default()
    }));
    vec![Effect::Ask(Request::Bytes {
        id: model.asked,
        places,
    })]
}

fn copy_json(model: &mut Model) -> Vec<Effect> {
    if model.view == View::Incidents {
        return match model.case().map(|case| case.id.clone()) {
            Some(id) => vec![Effect::Ask(Request::Alert { id })],
            None => {
                model.status = Some("nothing to copy".to_owned());
                Vec::new()
            }
        };
    }
    let (label, text) = super::view::json_of(model);
    vec![Effect::Copy { label, text }]
}

fn bundle(model: &mut Model) -> Vec<Effect> {
    let Some(case) = model.case() else {
        return Vec::new();
    };
    let id = case.id.clone();
    model.status = Some(format!("writing {id} …"));
    vec![Effect::Ask(Request::Bundle { id })]
}

/// The log as it is wanted now.
fn log_query(model: &Model, rows: usize) -> LogQuery {
    LogQuery {
        filter: select::filter(model),
        until: model.moment,
        back: model.log.back,
        limit: u16::try_from(rows).unwrap_or(u16::MAX),
    }
}
