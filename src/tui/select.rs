//! What belongs to what is looked for: the filter, the subject and the moment applied to incidents.

use std::sync::Arc;

use super::model::{Model, View};
use crate::detect::Severity;
use crate::engine::snapshot::case::Case;
use crate::output::log::Entry;

/// Incidents that are shown: open ones first, then the worst, then the newest.
pub fn shown(model: &Model) -> Vec<&Arc<Case>> {
    let now = model.now();
    let mut all: Vec<&Arc<Case>> = model
        .snapshot
        .cases
        .iter()
        .filter(|case| case.merged_into.is_none())
        .filter(|case| model.moment.is_none() || case.root.first <= now)
        .filter(|case| matches(model, case))
        .collect();
    all.sort_by_key(|case| {
        let severity = match case.severity {
            Severity::Critical => 0,
            Severity::Warning => 1,
            Severity::Info => 2,
        };
        (
            !case.open,
            severity,
            std::cmp::Reverse(case.root.first),
            case.id.clone(),
        )
    });
    all
}

fn matches(model: &Model, case: &Case) -> bool {
    let wanted = model
        .filter
        .text
        .split(' ')
        .chain(model.subject.as_deref())
        .filter(|word| !word.is_empty());
    let mut texts = case
        .steps()
        .flat_map(|step| step.subjects.iter().chain([&step.headline, &step.kind]))
        .chain([&case.title, &case.id]);
    let words: Vec<String> = wanted.map(str::to_lowercase).collect();
    words.is_empty() || {
        let all: Vec<String> = texts.by_ref().map(|text| text.to_lowercase()).collect();
        words
            .iter()
            .all(|word| all.iter().any(|text| text.contains(word)))
    }
}

/// What `f` would narrow every view to: the subject under the cursor.
pub fn subject(model: &Model) -> Option<String> {
    match model.view {
        View::Incidents => {
            let case = model.case()?;
            let step = match model.pane {
                0 => Some(&case.root),
                _ => case.steps().nth(model.step.at),
            };
            step?.subjects.first().cloned()
        }
        View::Events => {
            let entry = log_entry(model)?;
            entry.subject.clone()
        }
        View::Sources => {
            let feed = model.snapshot.feeds.get(model.sources.at)?;
            feed.name.as_ref().map(|name| format!("link:{name}"))
        }
        View::Routes | View::Dhcp | View::Bgp => {
            let row = model.tables.get(&model.table()?)?.row()?;
            Some(row.subject.clone()).filter(|subject| !subject.is_empty())
        }
    }
}

/// The event under the cursor: the last one on the page.
pub fn log_entry(model: &Model) -> Option<&Entry> {
    model.log.page.entries.last()
}

/// What the engine's side is asked to leave out: the filter with the subject.
pub fn filter(model: &Model) -> String {
    let mut parts: Vec<&str> = vec![model.filter.text.trim()];
    parts.extend(model.subject.as_deref());
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}
