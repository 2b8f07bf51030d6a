//! Which pages the view needs now: asked for when they differ from what is shown or have grown old.

use super::log_query;
use crate::engine::query::{Query, Table};
use crate::tui::link::Request;
use crate::tui::model::{Effect, Model, View};
use crate::tui::{select, view};

/// Above so many rows a search costs tens of milliseconds of the engine's time.
const BIG: u64 = 50_000;
/// Snapshots (ten a second at most) between two searches of a big table.
const SELDOM: u64 = 20;
/// Rows asked for around the screen, so that a step does not need a new page.
const SPARE: usize = 40;

/// Questions to put.
pub fn asked(model: &mut Model) -> Vec<Effect> {
    if !model.fits() {
        return Vec::new();
    }
    match model.view {
        View::Events => log(model),
        view => {
            let tables = view.tables().iter();
            let mut all: Vec<Effect> = tables.filter_map(|table| page(model, *table)).collect();
            all.extend(card(model));
            all
        }
    }
}

/// The card of the row under the cursor, where it is seen.
fn card(model: &mut Model) -> Option<Effect> {
    /// Snapshots between two looks at the same card: a second.
    const STALE: u64 = 10;
    view::card_area(model)?;
    let subject = match model.card.open {
        // What was opened stays, whatever comes into the table.
        true => model.card.card.subject.clone(),
        false => select::subject(model)?,
    };
    let (seq, id) = (model.snapshot.seq, model.asked + 1);
    let state = &mut model.card;
    let known = state.card.subject == subject && !state.card.sections.is_empty();
    if state.asked.is_some() || subject.is_empty() || (known && seq < state.seq + STALE) {
        return None;
    }
    state.seq = seq;
    state.asked = Some((id, subject.clone()));
    model.asked = id;
    Some(Effect::Ask(Request::Card { id, subject }))
}

fn page(model: &mut Model, table: Table) -> Option<Effect> {
    let rows = view::table_rows(model, table);
    let filter = select::filter(model);
    let (seq, id) = (model.snapshot.seq, model.asked + 1);
    let state = model.tables.get_mut(&table)?;
    if state.asked.is_some() {
        return None;
    }
    let len = usize::try_from(state.page.matched).unwrap_or(usize::MAX);
    state.cursor.follow(len.max(state.cursor.at + 1), rows);
    let offset = state.cursor.top.saturating_sub(SPARE);
    let query = Query {
        table,
        order: state.order,
        reverse: state.reverse,
        filter,
        offset: u32::try_from(offset).unwrap_or(u32::MAX),
        limit: u16::try_from(rows + 2 * SPARE).unwrap_or(u16::MAX),
    };
    let apart = if state.page.total > BIG { SELDOM } else { 1 };
    let same = state.shown.as_ref().is_some_and(|shown| {
        let last = shown.offset as usize + usize::from(shown.limit);
        let covers = shown.offset as usize <= state.cursor.top && state.cursor.top + rows <= last;
        covers
            && (shown.order, shown.reverse, &shown.filter)
                == (query.order, query.reverse, &query.filter)
    });
    if same && seq < state.seq + apart {
        return None;
    }
    state.seq = seq;
    state.asked = Some((id, query.clone()));
    model.asked = id;
    Some(Effect::Ask(Request::Page { id, query }))
}

fn log(model: &mut Model) -> Vec<Effect> {
    let wanted = log_query(model, view::log_rows(model));
    let (seq, id) = (model.snapshot.seq, model.asked + 1);
    let log = &mut model.log;
    if log.asked.is_some() || (log.wanted.as_ref() == Some(&wanted) && log.seq == seq) {
        return Vec::new();
    }
    // Who scrolled back reads: what he reads must not move. Entries are counted from the end, so it would.
    if log.back > 0 && log.wanted.as_ref() == Some(&wanted) {
        return Vec::new();
    }
    (log.seq, log.asked, log.wanted) = (seq, Some(id), Some(wanted.clone()));
    model.asked = id;
    vec![Effect::Ask(Request::Log { id, query: wanted })]
}

/// The next order of the table under the keys.
pub fn sort(model: &mut Model) {
    let Some(table) = model.table() else { return };
    let Some(state) = model.tables.get_mut(&table) else {
        return;
    };
    let orders = table.orders();
    let at = orders.iter().position(|order| *order == state.order);
    let next = at.map_or(0, |at| (at + 1) % orders.len());
    if let Some(order) = orders.get(next) {
        state.order = *order;
        state.reverse = false;
        state.cursor = Default::default();
    }
}
