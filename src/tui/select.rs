//! What belongs to what is looked for: the filter, the subject and the moment applied to incidents.

use std::net::IpAddr;
use std::sync::Arc;

use super::model::{Model, View};
use crate::detect::Severity;
use crate::engine::snapshot::case::Case;
use crate::event::Prefix;
use crate::event::frame::Mac;
use crate::filter::{Fact, Facts, Filter, Key};
use crate::output::log::Entry;

/// Incidents that are shown: open ones first, then the worst, then what still lasts, then what hit most, then the newest.
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
            about.as_ref().is_none_or(|about| {
                about.matches(case.as_ref()) || has(case, model.subject.as_deref())
            })
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
            // What still lasts comes before what is over, what hit many before what hit few: by powers of ten, so that rows do not hop about
            // while counts grow.
            case.still_down() == 0,
            std::cmp::Reverse(case.affected.most().checked_ilog10().map_or(0, |n| n + 1)),
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

/// The prefix that a subject is: on its card only itself counts, where a filter takes what it contains too.
pub fn exact(subject: &str) -> Option<Prefix> {
    subject.strip_prefix("prefix:")?.parse().ok()
}

/// Whether exactly this prefix is among its facts.
fn names(of: &impl Facts, prefix: Prefix) -> bool {
    of.any(
        Key::Prefix,
        &mut |fact| matches!(fact, Fact::Prefix(named) if named == prefix),
    )
}

/// The subject is one of its findings' own.
fn has(case: &Case, subject: Option<&str>) -> bool {
    let mut named = case.steps().flat_map(|step| &step.subjects);
    named.any(|named| Some(named.as_str()) == subject)
}

/// Incidents that name a subject, as [`shown`] orders them but whatever the filter.
pub fn naming<'m>(model: &'m Model, subject: &str) -> Vec<&'m Arc<Case>> {
    let about: Filter = of_subject(subject).parse().unwrap_or_default();
    let exact = exact(subject);
    let names = |case: &Case| match exact {
        Some(prefix) => names(case, prefix),
        None => about.matches(case) || has(case, Some(subject)),
    };
    let mut all: Vec<&Arc<Case>> = model
        .snapshot
        .cases
        .iter()
        .filter(|case| case.merged_into.is_none() && names(case))
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
        // A server without an address is known by its DUID only.
        "server" | "router" if value.parse::<IpAddr>().is_ok() => format!("prefix:{value}"),
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
