//! `flapscope explain`: what a kind means, from the tables that the code runs.

use std::io::{self, Write};

use anyhow::bail;

use crate::correlate::rule::Rule;
use crate::correlate::rules::RULES;
use crate::correlate::{survey, timers};
use crate::detect::Kind;
use crate::detect::catalogue::matrix::{self, Family, Proof};
use crate::detect::catalogue::{self, Row, Seen};
use crate::event::text;

/// Columns of a page: a terminal's.
const WIDTH: usize = 80;

/// The begin of `docs/detections.md`.
const HEAD: &str = "\
# What flapscope detects

Generated from `src/detect/catalogue` and `src/correlate/rules.rs` (`BLESS=1 cargo test --test catalogue`); `flapscope explain KIND` prints
the same.

The matrix: from which input a kind is detected, for IPv4 (4) and IPv6 (6) where it is about addresses. ● a capture of this repository shows it,
from that input alone or not without it (`src/detect/catalogue/proofs.txt`, checked by `tests/matrix.rs`); ◐ a scene of hand-made events or a unit test shows it; ○ it should
be seen there, and nothing proves it yet.

";

/// Explains one kind, or lists all.
pub fn run(kind: Option<&str>) -> anyhow::Result<u8> {
    let mut out = io::stdout().lock();
    let Some(name) = kind else {
        for kind in Kind::ALL {
            writeln!(out, "{:<30}{}", kind.as_str(), kind.meaning().trim())?;
        }
        return Ok(0);
    };
    let Some(kind) = Kind::parse(name) else {
        bail!(
            "{} is no kind: `flapscope explain` lists them",
            text::sanitized(name)
        );
    };
    out.write_all(page(kind).as_bytes())?;
    Ok(0)
}

/// The catalog of the journal (`/usr/lib/systemd/catalog/flapscope.catalog`): `journalctl -x` explains each alert under its line.
pub fn journal_catalog() -> String {
    let mut out = String::new();
    for kind in Kind::ALL {
        let id = crate::deliver::sink::journald::message_id(kind.as_str());
        let meaning = kind.meaning().trim();
        out.push_str(&format!(
            "-- {id}\nSubject: flapscope: {kind}\nDefined-By: flapscope\nDocumentation: man:flapscope(1)\n\n{meaning}\n\n"
        ));
        if let Some(row) = catalogue::row(*kind) {
            out.push_str(&format!("{}\n\n", row.logic.trim()));
            if !row.false_alarms.trim().is_empty() {
                out.push_str(&format!(
                    "Harmless look-alikes: {}\n\n",
                    row.false_alarms.trim()
                ));
            }
            for command in row.check {
                out.push_str(&format!("  {command}\n"));
            }
            out.push('\n');
        }
    }
    out
}

/// The page of one kind, at most [`WIDTH`] columns wide (commands apart, which must stay whole).
pub fn page(kind: Kind) -> String {
    let mut page = format!("{kind}\n");
    wrapped(&mut page, kind.meaning());
    if let Some(row) = catalogue::row(kind) {
        described(&mut page, row);
    }
    let timers: Vec<String> = timers::TIMERS
        .iter()
        .filter(|timer| timer.of.concerns(kind))
        .map(|timer| format!("{} ({} s)", timer.name, timer.seconds))
        .collect();
    if !timers.is_empty() {
        page.push_str("\nIts period is compared with\n");
        wrapped(&mut page, &timers.join("; "));
    }
    section(
        &mut page,
        "Can be caused by",
        RULES.iter().filter(|rule| rule.effects.contains(&kind)),
        |rule| rule.causes,
    );
    section(
        &mut page,
        "Can cause",
        RULES.iter().filter(|rule| rule.causes.contains(&kind)),
        |rule| rule.effects,
    );
    page.push_str(&format!(
        "\nMore\n  docs/troubleshooting/{}.md\n",
        kind.layer()
    ));
    page
}

fn described(page: &mut String, row: &Row) {
    for (title, text) in [
        ("Detected when", row.logic),
        ("Source", row.source),
        ("Looks like it and is not", row.false_alarms),
    ] {
        page.push_str(&format!("\n{title}\n"));
        wrapped(page, text);
    }
    if !row.seen_in.is_empty() {
        let names: Vec<&str> = row.seen_in.iter().map(|seen| seen.as_str()).collect();
        page.push_str(&format!("\nSeen in\n  {}\n", names.join(", ")));
    }
    if !row.check.is_empty() {
        page.push_str("\nCheck with\n");
        for command in row.check {
            page.push_str(&format!("  {command}\n"));
        }
    }
}

fn section(
    page: &mut String,
    title: &str,
    rules: impl Iterator<Item = &'static Rule>,
    others: fn(&Rule) -> &'static [Kind],
) {
    for (n, rule) in rules.enumerate() {
        if n == 0 {
            page.push_str(&format!("\n{title}\n"));
        }
        let kinds: Vec<&str> = others(rule).iter().map(|kind| kind.as_str()).collect();
        wrapped(page, &kinds.join(", "));
        let only: Vec<&str> = rule.when.iter().map(|condition| condition.says).collect();
        let only = if only.is_empty() {
            String::new()
        } else {
            format!("; only if {}", only.join(" and "))
        };
        let why = format!(
            "{} ({:?}; joined by {}; within {}{only})",
            rule.because,
            rule.grade,
            rule.join.says(),
            rule.window.says()
        );
        indented(page, "    ", &why);
        if let Some(look) = rule.absent {
            let asked = format!("Looked at to reject it: {}.", look.says());
            indented(page, "    ", &asked);
        }
    }
}

fn wrapped(page: &mut String, text: &str) {
    indented(page, "  ", text);
}

/// Breaks `text` between words.
fn indented(page: &mut String, indent: &str, text: &str) {
    let mut column = 0;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width <= WIDTH {
            page.push(' ');
            column += 1 + width;
        } else {
            if column > 0 {
                page.push('\n');
            }
            page.push_str(indent);
            column = indent.len() + width;
        }
        page.push_str(word);
    }
    page.push('\n');
}

/// `docs/detections.md`: the matrix of kinds and inputs, and the page of each kind.
pub fn document() -> String {
    let mut text = String::from(HEAD);
    text.push_str("| kind |");
    for seen in Seen::ALL {
        text.push_str(&format!(" {} |", seen.as_str()));
    }
    text.push_str(" |\n|---|");
    text.push_str(&":-:|".repeat(Seen::ALL.len()));
    text.push_str("---|\n");
    for kind in Kind::ALL {
        let Some(row) = catalogue::row(*kind) else {
            continue;
        };
        text.push_str(&format!("| [`{kind}`](#{}) |", anchor(*kind)));
        for seen in Seen::ALL {
            text.push_str(&format!(" {} |", cell(row, seen)));
        }
        text.push_str(" |\n");
    }
    open(&mut text);
    causes(&mut text);
    periods(&mut text);
    for kind in Kind::ALL {
        let page = page(*kind);
        let body = page.split_once('\n').map_or("", |(_, body)| body);
        text.push_str(&format!("\n## {kind}\n\n```text\n{body}```\n"));
    }
    text
}

/// Why some cells are empty circles.
fn open(text: &mut String) {
    text.push_str("\nWhat stands behind each ○:\n\n");
    for (kind, seen, why) in matrix::OPEN {
        text.push_str(&format!("- `{kind}` by {}: {why}\n", seen.as_str()));
    }
}

/// A cell of the matrix: each family with what proves it.
fn cell(row: &Row, seen: Seen) -> String {
    let mark = |family: Option<Family>| {
        let proven = match matrix::proof(row.kind, seen, family) {
            Proof::Capture(_) => "●",
            Proof::Scene(_) | Proof::UnitTest(_) => "◐",
            Proof::None => "○",
        };
        match family {
            Some(Family::Ipv4) => format!("4{proven}"),
            Some(Family::Ipv6) => format!("6{proven}"),
            None => proven.to_owned(),
        }
    };
    let marks: Vec<String> = matrix::cells(row)
        .filter(|(of, _)| *of == seen)
        .map(|(_, family)| mark(family))
        .collect();
    marks.join(" ")
}

/// The causal links as one table, and the survey's links that no row stands for.
fn causes(text: &mut String) {
    text.push_str(
        "\n## What causes what\n\nEvery causal link that is known, in the order in which rows win. An effect begins after its cause, inside the window, and at \
         least half of its\noccurrences must follow the cause. Numbers are those of the project's survey.\n\n\
         | rule | causes | effects | in common | within | grade | only if | because | survey |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    let kinds = |kinds: &[Kind]| {
        let names: Vec<String> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
        names.join(" ")
    };
    for rule in RULES {
        let only: Vec<&str> = rule.when.iter().map(|condition| condition.says).collect();
        text.push_str(&format!(
            "| `{}` | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            rule.name,
            kinds(rule.causes),
            kinds(rule.effects),
            rule.join.says(),
            rule.window.says(),
            format!("{:?}", rule.grade).to_lowercase(),
            only.join(" and "),
            rule.because,
            rule.survey.join(" "),
        ));
    }
    text.push_str("\nLinks of the survey that are no row of the table, and what stands for them:\n\n| survey | link | what stands for it |\n|---|---|---|\n");
    for link in survey::ELSEWHERE {
        text.push_str(&format!(
            "| {} | {} | {} |\n",
            link.number, link.link, link.instead
        ));
    }
}

/// The timers that periods are compared with.
fn periods(text: &mut String) {
    text.push_str(
        "\n## Periods and timers\n\nA finding that repeats steadily (at least three times, spread below 5 %) is compared with what the input itself shows, then with known\n\
         defaults; if several fit alike, all are named. Waits that double are a back-off.\n\n| timer | s | source |\n|---|---|---|\n",
    );
    for (name, source) in timers::COMPUTED {
        text.push_str(&format!("| {name} | as seen | {source} |\n"));
    }
    for timer in timers::TIMERS {
        text.push_str(&format!(
            "| {} | {} | {} |\n",
            timer.name, timer.seconds, timer.source
        ));
    }
    for wait in timers::BACK_OFFS {
        text.push_str(&format!(
            "| {}, doubling | {} to {} | {} |\n",
            wait.name, wait.first, wait.last, wait.source
        ));
    }
}

/// The heading's anchor as GitHub makes it: the dot goes.
fn anchor(kind: Kind) -> String {
    kind.as_str().replace('.', "")
}
