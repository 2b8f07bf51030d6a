//! BGP messages of every real capture: as many as tshark finds, and every file where the counts differ is named with its reason in
//! `tests/data/tshark-bgp-differences.tsv`. Needs tshark and FLAPSCOPE_CORPUS; with REQUIRE_CORPUS=1 skipping is a failure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)] // it says what it skips

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn captures(at: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            captures(&path, found);
        } else if path
            .extension()
            .is_some_and(|e| e == "pcap" || e == "pcapng" || e == "cap")
        {
            found.push(path);
        }
    }
}

fn tshark(path: &Path) -> Option<usize> {
    let done = Command::new("tshark")
        .args(["-r"])
        .arg(path)
        .args(["-Y", "bgp", "-T", "fields", "-e", "bgp.type"])
        .output()
        .ok()?;
    Some(
        String::from_utf8_lossy(&done.stdout)
            .split([',', '\n'])
            .filter(|kind| !kind.is_empty())
            .count(),
    )
}

fn ours(path: &Path) -> usize {
    let done = Command::new(env!("CARGO_BIN_EXE_flapscope"))
        .args(["decode", "--format", "json"])
        .arg(path)
        .output()
        .unwrap();
    String::from_utf8_lossy(&done.stdout)
        .lines()
        .filter(|line| line.contains("\"kind\":{\"bgp\":"))
        .count()
}

#[test]
fn as_many_bgp_messages_as_tshark_finds() {
    let corpus = std::env::var_os("FLAPSCOPE_CORPUS")
        .map(|root| PathBuf::from(root).join("real"))
        .filter(|root| root.is_dir());
    let Some(root) = corpus.filter(|_| Command::new("tshark").arg("-v").output().is_ok()) else {
        assert!(
            std::env::var_os("REQUIRE_CORPUS").is_none_or(|v| v != "1"),
            "no tshark or no FLAPSCOPE_CORPUS, and REQUIRE_CORPUS=1 forbids skipping"
        );
        eprintln!("SKIPPED: needs tshark and FLAPSCOPE_CORPUS");
        return;
    };
    let table = include_str!("data/tshark-bgp-differences.tsv");
    let known: BTreeMap<&str, &str> = table
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.split('\t').next().zip(l.split('\t').nth(1)))
        .collect();
    let mut paths = Vec::new();
    captures(&root, &mut paths);
    let (mut compared, mut wrong) = (0, Vec::new());
    for path in paths {
        let theirs = tshark(&path).unwrap();
        if theirs == 0 {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let ours = ours(&path);
        compared += 1;
        let verdict = match ours.cmp(&theirs) {
            std::cmp::Ordering::Less => Some("less"),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some("more"),
        };
        if verdict != known.get(name.as_str()).copied() {
            wrong.push(format!("{name}: tshark {theirs}, ours {ours}"));
        }
    }
    assert!(compared > 20, "only {compared} captures with BGP found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
