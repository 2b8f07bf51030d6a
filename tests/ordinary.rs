//! Ordinary traffic: every incident of warning or above over all benign captures of the repository and over the public captures of the outside
//! corpus, as one list. Each entry of `tests/data/ordinary.json` says why it is right; an incident that is not in it, or is gone, fails.
//!
//! `BLESS=1` writes the list anew and keeps the reasons of what stayed; new entries have none, which fails until somebody gives one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

/// By file or scenario, its loud incidents.
type Seen = BTreeMap<String, Vec<Value>>;

/// The public captures, or `None` (said aloud, and fatal with REQUIRE_CORPUS=1) where there are none.
fn public() -> Option<PathBuf> {
    let real = std::env::var_os("FLAPSCOPE_CORPUS").map(|root| Path::new(&root).join("real"));
    if let Some(real) = real.filter(|real| real.is_dir()) {
        return Some(real);
    }
    assert!(
        std::env::var_os("REQUIRE_CORPUS").is_none_or(|v| v != "1"),
        "no FLAPSCOPE_CORPUS with a directory real, and REQUIRE_CORPUS=1 forbids skipping"
    );
    eprintln!("SKIPPED: needs FLAPSCOPE_CORPUS");
    None
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ordinary.json")
}

/// Incidents of warning or above of one run; a file that holds nothing readable has none.
fn loud(folder: &Path, files: &[String]) -> Vec<Value> {
    let done = Command::new(env!("CARGO_BIN_EXE_flapscope"))
        .current_dir(folder)
        .env_clear()
        .args(["analyze", "--format", "json"])
        .args(files)
        .output()
        .unwrap();
    let Ok(report) = serde_json::from_slice::<Value>(&done.stdout) else {
        assert_eq!(done.status.code(), Some(2), "{files:?}: {done:?}");
        return Vec::new();
    };
    let mut found: Vec<(String, u64)> = report["incidents"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|incident| incident["severity"] != "info")
        .map(|incident| {
            let subjects = incident["root"]["subjects"].as_array().map_or(0, Vec::len);
            (
                incident["kind"].as_str().unwrap().to_owned(),
                subjects as u64,
            )
        })
        .collect();
    found.sort();
    found
        .into_iter()
        .map(|(kind, subjects)| json!({"kind": kind, "subjects": subjects}))
        .collect()
}

/// Runs all on all cores.
fn run(all: &[(String, PathBuf, Vec<String>)]) -> Seen {
    let (next, seen) = (AtomicUsize::new(0), Mutex::new(Seen::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((name, folder, files)) =
                    all.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let found = loud(folder, files);
                    if !found.is_empty() {
                        seen.lock().unwrap().insert(name.clone(), found);
                    }
                }
            });
        }
    });
    seen.into_inner().unwrap()
}

/// What was found, without the reasons.
fn bare(list: &[Value]) -> Vec<(String, u64)> {
    list.iter()
        .map(|entry| {
            (
                entry["kind"].as_str().unwrap_or_default().to_owned(),
                entry["subjects"].as_u64().unwrap_or(0),
            )
        })
        .collect()
}

#[test]
fn benign_captures_raise_no_incident_above_info() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let folder = entry.unwrap().path();
        let Ok(text) = std::fs::read_to_string(folder.join("expect.json")) else {
            continue;
        };
        let expect: Value = serde_json::from_str(&text).unwrap();
        if expect.get("root").is_none() && expect["max"] == 0 {
            let files = expect["inputs"].as_array().unwrap();
            let files = files
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            all.push((
                folder.file_name().unwrap().to_string_lossy().into_owned(),
                folder,
                files,
            ));
        }
    }
    assert!(all.len() >= 25, "{} benign captures", all.len());
    assert_eq!(run(&all), Seen::new());
}

#[test]
fn every_incident_in_public_captures_is_listed_with_why_it_is_right() {
    let Some(real) = public() else { return };
    let mut all = Vec::new();
    let mut folders = vec![real.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|end| end != "tsv") {
                let name = path
                    .strip_prefix(&real)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                all.push((name.clone(), real.clone(), vec![name]));
            }
        }
    }
    let seen = run(&all);
    let text = std::fs::read_to_string(golden()).unwrap_or_else(|_| "{}".to_owned());
    let known: Seen = serde_json::from_str(&text).unwrap();
    if std::env::var_os("BLESS").is_some() {
        let mut blessed = seen;
        for (name, list) in &mut blessed {
            for entry in list {
                let same = known
                    .get(name)
                    .and_then(|list| list.iter().find(|old| old["kind"] == entry["kind"]));
                entry["because"] = same.map_or(json!(""), |old| old["because"].clone());
            }
        }
        let text = serde_json::to_string_pretty(&blessed).unwrap() + "\n";
        std::fs::write(golden(), text).unwrap();
        return;
    }
    let mut problems = Vec::new();
    for name in seen.keys().chain(known.keys()) {
        let (now, then) = (seen.get(name), known.get(name));
        let (now, then) = (
            now.map_or(vec![], |l| bare(l)),
            then.map_or(vec![], |l| bare(l)),
        );
        if now != then {
            problems.push(format!("{name}: {now:?}, listed are {then:?}"));
        }
    }
    for (name, list) in &known {
        if list
            .iter()
            .any(|entry| entry["because"].as_str().is_none_or(str::is_empty))
        {
            problems.push(format!("{name}: an incident without a reason"));
        }
    }
    problems.dedup();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
