//! Every directory of `captures/` through the built program: its verdict against `expect.json`, its output against the goldens.
//!
//! `BLESS=1 cargo test --test captures` writes the goldens anew; read their diff before committing it. `CAPTURE=NAME` looks at one only.
//! Runs in the scenario's directory, so that inputs have the same names on every machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "captures/judge.rs"]
mod judge;
#[path = "captures/pattern.rs"]
mod pattern;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What is stored beside a capture, and the format that makes it.
const GOLDENS: [(&str, &str); 2] = [("alerts.ndjson", "ndjson"), ("report.txt", "text")];

/// `captures/record.py` stores nothing above it: the repository stays quick to clone.
const LARGEST_CAPTURE: u64 = 200 << 10;

fn scenarios() -> Vec<PathBuf> {
    let only = std::env::var("CAPTURE").ok();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let mut found: Vec<PathBuf> = std::fs::read_dir(&root)
        .expect("captures/ is part of the repository")
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| path.join("expect.json").exists())
        .filter(|path| only.as_deref().is_none_or(|name| path.ends_with(name)))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no scenario in {}", root.display());
    found
}

fn name(folder: &Path) -> String {
    folder
        .file_name()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn inputs(expect: &Value) -> Vec<&str> {
    judge::list(expect, "inputs")
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

/// The program's standard output, or what went wrong.
fn analyze(folder: &Path, files: &[&str], format: &str) -> Result<String, String> {
    let done = Command::new(env!("CARGO_BIN_EXE_flapscope"))
        .current_dir(folder)
        .env_clear()
        .args(["analyze", "--format", format])
        .args(files)
        .output()
        .map_err(|e| e.to_string())?;
    if !done.status.success() {
        return Err(format!(
            "analyze --format {format}: {}: {}",
            done.status,
            String::from_utf8_lossy(&done.stderr)
        ));
    }
    String::from_utf8(done.stdout).map_err(|e| format!("analyze --format {format}: {e}"))
}

/// Judges all scenarios, on all cores, and fails with everything that is wrong at once.
fn each(check: impl Fn(&Path, &Value) -> Vec<String> + Sync) {
    let folders = scenarios();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let problems = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(folder) =
                    folders.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let found = check(folder, &json(&folder.join("expect.json")));
                    let mut all = problems
                        .lock()
                        .expect("no checker panics while it holds the list");
                    all.extend(found.into_iter().map(|p| format!("{}: {p}", name(folder))));
                }
            });
        }
    });
    let mut problems = problems
        .into_inner()
        .expect("no checker panics while it holds the list");
    problems.sort();
    assert!(
        problems.is_empty(),
        "{} problems in {} scenarios:\n  {}",
        problems.len(),
        folders.len(),
        problems.join("\n  ")
    );
}

#[test]
fn every_scenario_gets_the_verdict_of_a_competent_engineer() {
    each(|folder, expect| {
        let files = inputs(expect);
        let judged = analyze(folder, &files, "json").and_then(|text| {
            let report: Value =
                serde_json::from_str(&text).map_err(|e| format!("the report is no JSON: {e}"))?;
            let lines = analyze(folder, &files, "ndjson")?;
            let alerts = lines
                .lines()
                .map(serde_json::from_str)
                .collect::<Result<Vec<Value>, _>>()
                .map_err(|e| format!("an alert is no JSON: {e}"))?;
            Ok(judge::judge(
                expect,
                &json(&folder.join("label.json")),
                &report,
                &alerts,
            ))
        });
        judged.unwrap_or_else(|e| vec![e])
    });
}

#[test]
fn alerts_and_report_are_those_that_were_blessed() {
    let bless = std::env::var_os("BLESS").is_some();
    each(|folder, expect| {
        let files = inputs(expect);
        GOLDENS
            .iter()
            .filter_map(|(golden, format)| {
                let path = folder.join(golden);
                let got = match analyze(folder, &files, format) {
                    Ok(got) => got,
                    Err(problem) => return Some(problem),
                };
                if bless {
                    return std::fs::write(&path, got)
                        .err()
                        .map(|e| format!("{golden}: {e}"));
                }
                let Ok(want) = std::fs::read_to_string(&path) else {
                    return Some(format!(
                        "{golden} was never blessed: BLESS=1 cargo test --test captures"
                    ));
                };
                first_difference(&want, &got).map(|d| format!("{golden}: {d}"))
            })
            .collect()
    });
}

#[test]
fn the_order_of_inputs_and_their_number_of_readings_change_no_alert() {
    each(|folder, expect| {
        let files = inputs(expect);
        let reversed: Vec<&str> = files.iter().rev().copied().collect();
        let ids = |text: &str| {
            let mut ids: Vec<String> = text
                .lines()
                .filter_map(|l| serde_json::from_str::<Value>(l).ok())
                .map(|a| a["incident"]["id"].to_string())
                .collect();
            ids.sort();
            ids
        };
        let runs = analyze(folder, &files, "ndjson").and_then(|a| {
            Ok((
                analyze(folder, &files, "ndjson")?,
                analyze(folder, &reversed, "ndjson")?,
                a,
            ))
        });
        match runs {
            Err(problem) => vec![problem],
            Ok((again, _, first)) if again != first => {
                vec!["a second run gave other alerts".to_owned()]
            }
            Ok((_, other, first)) if ids(&other) != ids(&first) => {
                vec!["inputs in another order gave other incidents".to_owned()]
            }
            Ok(_) => Vec::new(),
        }
    });
}

#[test]
fn captures_are_small_complete_and_labelled() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/SOURCES.md");
    let sources = std::fs::read_to_string(sources).expect("captures/SOURCES.md is there");
    each(|folder, expect| {
        let mut problems = Vec::new();
        let label = json(&folder.join("label.json"));
        if !sources.contains(&format!("| `{}` |", name(folder))) {
            problems.push("captures/SOURCES.md does not say how it was made".to_owned());
        }
        for phase in ["record_start", "record_end"] {
            if judge::phase(&label, phase).is_none() {
                problems.push(format!("label.json has no phase {phase}"));
            }
        }
        if label["benign"] == Value::Bool(expect.get("root").is_some()) {
            problems.push("label.json and expect.json disagree on whether it is benign".to_owned());
        }
        for file in inputs(expect) {
            match std::fs::metadata(folder.join(file)) {
                Err(e) => problems.push(format!("{file}: {e}")),
                Ok(meta) if meta.len() > LARGEST_CAPTURE => problems.push(format!(
                    "{file}: {} octets, more than {LARGEST_CAPTURE}",
                    meta.len()
                )),
                Ok(_) => {}
            }
        }
        for want in judge::wishes(expect) {
            for field in ["subject", "reason"] {
                if let Some(text) = want.get(field).and_then(Value::as_str)
                    && let Err(why) = pattern::Pattern::new(text)
                {
                    problems.push(format!("{field} {text}: {why}"));
                }
            }
        }
        problems
    });
}

/// Where two texts part, in words for a test's message.
fn first_difference(want: &str, got: &str) -> Option<String> {
    if want == got {
        return None;
    }
    let (mut wanted, mut given) = (want.lines(), got.lines());
    let mut line = 1;
    loop {
        match (wanted.next(), given.next()) {
            (Some(a), Some(b)) if a == b => line += 1,
            (None, None) => return Some("line ends differ".to_owned()),
            (a, b) => {
                return Some(format!(
                    "line {line} differs\n    blessed: {}\n    now:     {}",
                    a.unwrap_or("(end)"),
                    b.unwrap_or("(end)")
                ));
            }
        }
    }
}
