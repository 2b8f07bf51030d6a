//! What belongs to what is looked for: the filter, the subject and the moment applied to incidents.

use std::sync::Arc;

use super::model::{Model, View};
use crate::detect::Severity;
use crate::engine::snapshot::case::Case;
use crate::event::frame::Mac;
use crate::filter::Filter;
use crate::output::log::Entry;

/// Incidents that are shown: open ones first, then the worst, then the newest.
pub fn shown(model: &Model) -> Vec<&Arc<Case>> {
    let now = model.now();
    let about = about(model);
    let mut all: Vec<&Arc<Case>> = model
        .snapshot
        .cases
        .iter()
        .filter(|case| case.merged_into.is_none())
        .filter(|case| model.moment.is_none() || case.root.first <= now)
        .filter(|case| model.filter.applied.matches(case.as_ref()))
        .filter(|case| {
            about
                .as_ref()
                .is_none_or(|about| about.matches(case.as_ref()))
        })
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

/// Incidents that name a subject, as [`shown`] orders them but whatever the filter.
pub fn naming<'m>(model: &'m Model, subject: &str) -> Vec<&'m Arc<Case>> {
    let about: Filter = of_subject(subject).parse().unwrap_or_default();
    let mut all: Vec<&Arc<Case>> = model
        .snapshot
        .cases
        .iter()
        .filter(|case| case.merged_into.is_none() && about.matches(case.as_ref()))
        .collect();
    all.sort_by_key(|case| (!case.open, std::cmp::Reverse(case.root.first)));
    all
}

/// The filter that the subject is.
fn about(model: &Model) -> Option<Filter> {
    let subject = model.subject.as_deref()?;
    Some(of_subject(subject).parse().unwrap_or_default())
}

/// The filter that leaves what is about a subject, in every table: an interface, prefix, address, peer, AS or client.
pub fn of_subject(subject: &str) -> String {
    let (kind, value) = subject.split_once(':').unwrap_or(("", subject));
    match kind {
        "link" => format!("if:\"{value}\""),
        "prefix" | "address" | "neighbor" | "nexthop" => format!("prefix:{value}"),
        "peer" => format!("peer:{value}"),
        "origin" | "as" => format!("asn:{}", value.trim_start_matches("AS")),
        "mac" => format!("mac:{value}"),
        "client" if value.parse::<Mac>().is_ok() => format!("mac:{value}"),
        _ => format!("subject:\"{subject}\""),
    }
}

/// What the engine's side is asked to leave out: the filter with the subject.
pub fn filter(model: &Model) -> String {
    let subject = model.subject.as_deref().map(of_subject);
    let mut parts: Vec<&str> = vec![model.filter.applied.as_str().trim()];
    parts.extend(subject.as_deref());
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}
