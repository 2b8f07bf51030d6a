//! The claim checker: every rejected, blind and known sentence of every incident, and the times and numbers beside them, held against an own
//! reading of the inputs (`claims/read`). Nothing of flapscope's decoders or state is used: the program runs, its JSON is read, its words
//! are taken at their word. One false sentence fails; so does a sentence of a shape that nobody checks yet.
//!
//! Reads `captures/`, and below `FLAPSCOPE_CORPUS` the folders `lab` and `field` (SKIPPED without it, fatal with REQUIRE_CORPUS=1).
//! `CLAIMS=NAME` looks at one scenario only.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)] // a test that cannot go on ends here, and says what it looked at

#[path = "claims/facts.rs"]
mod facts;
#[path = "claims/read.rs"]
mod read;
#[path = "claims/sentences.rs"]
mod sentences;
#[path = "claims/time.rs"]
mod time;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use facts::Facts;
use read::Input;
use sentences::About;

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value
        .get(field)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Folders with an `expect.json` or `label.json` that names inputs.
fn scenarios() -> Vec<PathBuf> {
    let only = std::env::var("CLAIMS").ok();
    let mut roots = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")];
    match std::env::var_os("FLAPSCOPE_CORPUS").map(PathBuf::from) {
        Some(corpus) => roots.extend([corpus.join("lab"), corpus.join("field")]),
        None => {
            assert!(
                std::env::var_os("REQUIRE_CORPUS").is_none_or(|v| v != "1"),
                "no FLAPSCOPE_CORPUS, and REQUIRE_CORPUS=1 forbids skipping"
            );
            println!("SKIPPED: lab and field, FLAPSCOPE_CORPUS is not set");
        }
    }
    let mut found: Vec<PathBuf> = roots
        .iter()
        .filter_map(|root| std::fs::read_dir(root).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| !inputs(path).is_empty())
        .filter(|path| only.as_deref().is_none_or(|name| path.ends_with(name)))
        .collect();
    found.sort();
    found
}

fn inputs(folder: &Path) -> Vec<String> {
    let named = ["expect.json", "label.json"].iter().find_map(|name| {
        let text = std::fs::read_to_string(folder.join(name)).ok()?;
        let value: Value = serde_json::from_str(&text).ok()?;
        let names: Vec<String> = list(&value, "inputs")
            .iter()
            .filter_map(|input| Some(input.as_str()?.to_owned()))
            .collect();
        (!names.is_empty()).then_some(names)
    });
    let names = named.unwrap_or_default();
    if names.iter().all(|name| folder.join(name).is_file()) {
        names
    } else {
        Vec::new()
    }
}

fn report(folder: &Path, files: &[String]) -> Result<Value, String> {
    let done = Command::new(env!("CARGO_BIN_EXE_flapscope"))
        .current_dir(folder)
        .env_clear()
        .args(["analyze", "--no-config", "--format", "json"])
        .args(files)
        .output()
        .map_err(|e| e.to_string())?;
    serde_json::from_slice(&done.stdout).map_err(|e| format!("analyze: {}: {e}", done.status))
}

/// Frames named as evidence exist, and lie between first and last of their finding.
fn evidence(finding: &Value, inputs: &[Input], problems: &mut Vec<String>) {
    let (first, last) = (
        time::rfc3339(text(finding, "first")),
        time::rfc3339(text(finding, "last")),
    );
    for item in list(finding, "evidence") {
        let input = item.get("input").and_then(Value::as_u64).unwrap_or(0) as usize;
        let Some(frame) = item.get("frame").and_then(Value::as_u64) else {
            continue;
        };
        let Some(input) = inputs.get(input).filter(|input| !input.opaque) else {
            continue;
        };
        let Some(frame_at) = (frame as usize)
            .checked_sub(1)
            .and_then(|at| input.frames.get(at))
            .map(|frame| frame.at)
        else {
            problems.push(format!("{}: no frame {item}", text(finding, "id")));
            continue;
        };
        // A merge may set a source's clock right by what it measured; a second is more than any of that.
        if frame_at < first - 1_000_000_000 || frame_at > last + 1_000_000_000 {
            problems.push(format!(
                "{} {}: evidence {item} lies outside of {} … {}",
                text(finding, "kind"),
                text(finding, "id"),
                text(finding, "first"),
                text(finding, "last")
            ));
        }
    }
}

/// A period must fit the count and the span that stand beside it.
fn period(finding: &Value, problems: &mut Vec<String>) {
    let Some(seconds) = finding.pointer("/period/s").and_then(Value::as_f64) else {
        return;
    };
    let span =
        (time::rfc3339(text(finding, "last")) - time::rfc3339(text(finding, "first"))) as f64 / 1e9;
    let spread = finding
        .pointer("/period/spread")
        .and_then(Value::as_f64)
        .unwrap_or(1.0);
    let doubling = finding
        .pointer("/period/match")
        .and_then(Value::as_str)
        .is_some_and(|text| text.ends_with("each wait is twice the one before"));
    if doubling {
        return; // the first wait, and no period
    }
    if seconds <= 0.0 || seconds > span.max(0.001) * 1.01 || spread >= 0.3 {
        problems.push(format!(
            "{}: period {seconds} s with spread {spread} in {span} s",
            text(finding, "kind")
        ));
    }
}

/// The NOTIFICATION that is named was sent by whom it is said to be from.
fn notification(finding: &Value, facts: &Facts, problems: &mut Vec<String>) {
    let Some(from) = finding
        .pointer("/notification/from")
        .and_then(Value::as_str)
        .and_then(|from| from.strip_prefix("peer:"))
        .and_then(|from| from.parse::<std::net::IpAddr>().ok())
    else {
        return;
    };
    if facts.opaque || facts.bmp || facts.segments.is_empty() {
        return; // it may come from BMP or MRT
    }
    let told = facts
        .segments
        .iter()
        .any(|s| s.src == from && s.messages.contains(&3));
    if !told {
        problems.push(format!(
            "{}: no NOTIFICATION of {from} is in the frames",
            text(finding, "kind")
        ));
    }
}

/// What the impact sentence says about now.
fn impact(incident: &Value, facts: &Facts, problems: &mut Vec<String>) {
    let impact = text(incident, "impact");
    let mut down = None;
    for part in impact.split("; ") {
        if part == "the default route is still missing" && facts.netlink {
            let v6_only = |finding: &Value| {
                list(finding, "subjects")
                    .iter()
                    .any(|s| s.as_str() == Some("prefix:::/0"))
            };
            let v4_only = |finding: &Value| {
                list(finding, "subjects")
                    .iter()
                    .any(|s| s.as_str() == Some("prefix:0.0.0.0/0"))
            };
            let all = || std::iter::once(&incident["root"]).chain(list(incident, "chain"));
            let families = [(false, all().any(v4_only)), (true, all().any(v6_only))];
            let asked: Vec<bool> = families
                .iter()
                .filter(|(_, named)| *named)
                .map(|(v6, _)| *v6)
                .collect();
            if !asked.is_empty() && asked.iter().all(|v6| facts.has_default(*v6)) {
                problems.push(format!("`{part}`, and the kernel has one"));
            }
        }
        if let Some(n) = part
            .strip_suffix(" session is still down")
            .or_else(|| part.strip_suffix(" sessions are still down"))
        {
            down = n.parse::<u64>().ok();
        }
        if let Some(list) = part.strip_suffix(" affected") {
            for item in list.split(" and ").flat_map(|item| item.split(", ")) {
                if let Some(n) = item
                    .strip_suffix(" sessions")
                    .or_else(|| item.strip_suffix(" session"))
                    && let (Ok(n), Some(down)) = (n.parse::<u64>(), down)
                    && down > n
                {
                    problems.push(format!("`{impact}`: more are down than were affected"));
                }
            }
        }
    }
}

fn judge(folder: &Path) -> (usize, Vec<String>) {
    let files = inputs(folder);
    let report = match report(folder, &files) {
        Ok(report) => report,
        Err(why) => return (0, vec![why]),
    };
    let read: Vec<Input> = files
        .iter()
        .map(|name| read::file(&folder.join(name)))
        .collect();
    // The program numbers its inputs by name or order; its own table says which is which.
    let order: Vec<Input> = list(&report, "inputs")
        .iter()
        .map(|input| read::file(&folder.join(text(input, "name"))))
        .collect();
    let facts = Facts::of(&read);
    let mut problems = Vec::new();
    let mut checked = 0;
    for finding in list(&report, "findings") {
        evidence(finding, &order, &mut problems);
        period(finding, &mut problems);
        notification(finding, &facts, &mut problems);
        checked += 1;
    }
    for incident in list(&report, "incidents") {
        let root = &incident["root"];
        let about = About {
            facts: &facts,
            first: time::rfc3339(text(root, "first")),
            last: time::rfc3339(text(root, "last")),
        };
        impact(incident, &facts, &mut problems);
        let rejected = list(incident, "rejected")
            .iter()
            .map(|rejected| text(rejected, "because"));
        for sentence in rejected {
            checked += 1;
            problems.extend(about.rejected(sentence));
        }
        for sentence in list(incident, "blind").iter().filter_map(Value::as_str) {
            checked += 1;
            problems.extend(about.blind(sentence));
        }
        for finding in std::iter::once(root).chain(list(incident, "chain")) {
            for sentence in list(finding, "explanations")
                .iter()
                .filter_map(Value::as_str)
            {
                checked += 1;
                problems.extend(about.known(sentence));
            }
        }
    }
    (checked, problems)
}

#[test]
fn every_sentence_of_every_incident_is_true_of_its_inputs() {
    let folders = scenarios();
    assert!(!folders.is_empty(), "no scenario found");
    let (next, checked) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let problems = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, std::num::NonZero::get) {
            scope.spawn(|| {
                while let Some(folder) = folders.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (looked, found) = judge(folder);
                    checked.fetch_add(looked, Ordering::Relaxed);
                    let name = folder.file_name().unwrap_or_default().to_string_lossy();
                    let told = found.into_iter().map(|why| format!("{name}: {why}"));
                    problems.lock().unwrap().extend(told);
                }
            });
        }
    });
    let mut problems = problems.into_inner().unwrap();
    problems.sort();
    println!(
        "{} claims of {} scenarios checked",
        checked.into_inner(),
        folders.len()
    );
    assert!(
        problems.is_empty(),
        "{} false or unchecked claims:\n{}",
        problems.len(),
        problems.join("\n")
    );
}
