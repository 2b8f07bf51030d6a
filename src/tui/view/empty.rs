//! What the views say when there is nothing to show: what is watched, what is missing and the command that helps. A blank screen says nothing.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{lines, span};
use crate::engine::query::Table;
use crate::engine::snapshot::Mode;
use crate::output::report::{clock, grouped};
use crate::tui::model::Model;
use crate::tui::select;
use crate::tui::text::{length, wrap};
use crate::tui::theme::Role;

fn say(model: &Model, area: Rect, buffer: &mut Buffer, texts: Vec<(Role, String)>) {
    let room = usize::from(area.width).saturating_sub(4);
    let mut all = vec![Line::default()];
    for (role, text) in texts {
        for text in wrap(&text, room) {
            all.push(Line::from(span(model.look, role, format!("  {text}"))));
        }
    }
    lines(buffer, area, all);
}

fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(n), if n == 1 { one } else { many })
}

/// No incidents: what is watched, since when; or that the filter hides them.
pub fn incidents(model: &Model, area: Rect, buffer: &mut Buffer) {
    let snapshot = &model.snapshot;
    let filter = select::filter(model);
    let total = snapshot
        .cases
        .iter()
        .filter(|c| c.merged_into.is_none())
        .count();
    if total > 0 && !filter.is_empty() {
        return say(
            model,
            area,
            buffer,
            vec![(
                Role::Text,
                format!("0 of {total} match \"{filter}\". esc clears."),
            )],
        );
    }
    if total > 0 {
        return say(
            model,
            area,
            buffer,
            vec![(
                Role::Text,
                format!(
                    "No incident before {}. L goes back to now.",
                    clock(model.now())
                ),
            )],
        );
    }
    let tally = &snapshot.tally;
    let lasted = snapshot.from.map_or(0, |from| model.now().minus(from));
    let mut texts = Vec::new();
    match &snapshot.mode {
        _ if snapshot.seq == 0 => texts.push((Role::Muted, "Opening the sources …".to_owned())),
        Mode::Live | Mode::Attached(_) => {
            let watching = format!(
                "Watching {}, {}, {}.",
                counted(tally.links, "link", "links"),
                counted(tally.routes, "route", "routes"),
                counted(tally.sessions, "BGP session", "BGP sessions"),
            );
            let verdict = if lasted < 600_000_000_000 {
                format!("Nothing wrong yet ({}).", length(lasted))
            } else {
                format!("No incidents in {}.", length(lasted))
            };
            texts.push((Role::Ok, format!("{watching} {verdict}")));
            if let Some(last) = snapshot.feeds.iter().filter_map(|feed| feed.last).max() {
                texts.push((
                    Role::Muted,
                    format!(
                        "Last event {} ago. 5 shows them.",
                        length(snapshot.at.minus(last))
                    ),
                ));
            }
        }
        Mode::Replay(replay) if replay.reading.is_some() => {
            texts.push((
                Role::Muted,
                format!("Reading {} …", replay.files.join(", ")),
            ));
        }
        Mode::Replay(replay) => texts.push((
            Role::Ok,
            format!(
                "No incidents in {} of {}.",
                length(lasted),
                replay.files.join(", ")
            ),
        )),
    }
    if tally.noticed > 0 {
        texts.push((
            Role::Text,
            format!(
                "{} noticed that {} no incident.",
                counted(tally.noticed, "thing was", "things were"),
                if tally.noticed == 1 { "is" } else { "are" }
            ),
        ));
    }
    // What the program gave up of its rights is for the Sources view.
    let watched = snapshot.watched.iter();
    for watched in watched.filter(|text| !text.starts_with("confined")) {
        texts.push((Role::Muted, format!("· {watched}")));
    }
    for spot in &snapshot.blind {
        texts.push((Role::Warning, format!("· {spot}")));
    }
    if !snapshot.blind.is_empty() {
        texts.push((Role::Muted, "6 tells what would lift that.".to_owned()));
    }
    say(model, area, buffer, texts);
}

/// No rows: why, and what would bring some.
pub fn table(model: &Model, table: Table, area: Rect, buffer: &mut Buffer) {
    let Some(state) = model.tables.get(&table) else {
        return;
    };
    if state.shown.is_none() {
        return say(model, area, buffer, vec![(Role::Muted, "…".to_owned())]);
    }
    let filter = select::filter(model);
    if state.page.total > 0 && !filter.is_empty() {
        let text = format!(
            "0 of {} match \"{filter}\". esc clears.",
            grouped(state.page.total)
        );
        return say(model, area, buffer, vec![(Role::Text, text)]);
    }
    let live = !model.replays();
    let text = match (table, live) {
        (Table::Prefixes | Table::Sessions, true) => {
            "No BGP seen. Point a router's BMP at this host and start with --bmp 0.0.0.0:11019, let it send BGP (--bgp-listen), or capture where its packets pass (-i IF)."
        }
        (Table::Prefixes | Table::Sessions, false) => "No BGP, BMP or MRT in these files.",
        (Table::Bfd, _) => "No BFD seen.",
        (Table::Routes, true) => {
            "No kernel routes. Is this namespace empty, or netlink out of reach?"
        }
        (Table::Routes, false) => {
            "No netlink in these files: kernel routes are not known. `flapscope record -w FILE` records them too."
        }
        (Table::Routers, _) => {
            "No IPv6 router advertises itself. Routers do that every few minutes (RFC 4861: at most 30 min), and when a host asks."
        }
        (Table::Neighbors, true) => "The kernel has no neighbors here.",
        (Table::Neighbors, false) => {
            "No netlink in these files: the kernel's neighbors are not known."
        }
        (Table::Leases, _) => {
            "No lease was seen. A client that holds one speaks again at half its time (T1); until then it is not known."
        }
        (Table::Servers | Table::Clients, true) => {
            "No DHCP seen. Clients speak when they start and at half their lease time; is the right interface captured (-i IF)?"
        }
        (Table::Servers | Table::Clients, false) => "No DHCP in these files.",
    };
    say(model, area, buffer, vec![(Role::Muted, text.to_owned())]);
}

/// No events.
pub fn events(model: &Model, area: Rect, buffer: &mut Buffer) {
    let filter = select::filter(model);
    let page = &model.log.page;
    let text = if model.log.wanted.is_none() || model.snapshot.seq == 0 {
        "…".to_owned()
    } else if page.kept > 0 && !filter.is_empty() {
        format!(
            "0 of {} match \"{filter}\". esc clears.",
            grouped(page.kept)
        )
    } else if page.kept > 0 {
        format!(
            "No events before {}: older ones are not kept.",
            clock(model.now())
        )
    } else {
        "No events yet.".to_owned()
    };
    say(model, area, buffer, vec![(Role::Muted, text)]);
}
