//! A clock that steps, or a machine that sleeps, in the middle of calm: no absence is concluded from the time that nobody saw.
//!
//! The benign captures of `captures/` with every stamp of their second half moved: an hour back, and an hour ahead (a suspend looks alike).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Captures whose calm is made of timers that an hour ends by right: a graceful restart that is not over within its restart time.
const TIMED: [&str; 1] = ["benign-graceful-restart"];
const HOUR: i64 = 3600;
/// Block types and the option of draft-ietf-opsawg-pcapng.
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const IF_TSRESOL: u16 = 9;

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Ticks per second of an interface description.
fn resolution(block: &[u8]) -> i64 {
    let mut at = 16;
    while at + 4 < block.len() - 4 {
        let head = word(block, at);
        let (code, length) = (head as u16, (head >> 16) as usize);
        match code {
            0 => break,
            IF_TSRESOL => return 10i64.pow(u32::from(block[at + 4])),
            _ => at += 4 + length.next_multiple_of(4),
        }
    }
    1_000_000
}

/// The stamps behind the middle of a pcapng file, moved by `seconds`.
fn stepped(mut bytes: Vec<u8>, seconds: i64) -> Vec<u8> {
    let (mut at, mut ticks, mut packets) = (0, Vec::new(), Vec::new());
    while at + 12 <= bytes.len() {
        let length = word(&bytes, at + 4) as usize;
        match word(&bytes, at) {
            INTERFACE => ticks.push(resolution(&bytes[at..at + length])),
            PACKET => {
                let per_second = ticks[word(&bytes, at + 8) as usize];
                let stamp =
                    (i64::from(word(&bytes, at + 12)) << 32) | i64::from(word(&bytes, at + 16));
                let nanos = i128::from(stamp) * 1_000_000_000 / i128::from(per_second);
                packets.push((at, nanos, stamp + seconds * per_second));
            }
            _ => {}
        }
        at += length;
    }
    let first = packets.iter().map(|(_, nanos, _)| *nanos).min().unwrap();
    let last = packets.iter().map(|(_, nanos, _)| *nanos).max().unwrap();
    for (at, nanos, moved) in packets {
        if nanos >= first + (last - first) / 2 {
            bytes[at + 12..at + 16].copy_from_slice(&((moved >> 32) as u32).to_le_bytes());
            bytes[at + 16..at + 20].copy_from_slice(&(moved as u32).to_le_bytes());
        }
    }
    bytes
}

fn benign() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let mut found: Vec<PathBuf> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("benign-")
                && !TIMED.contains(&name.as_str())
                && path.join("h.pcapng").exists()
        })
        .collect();
    found.sort();
    assert!(found.len() > 10, "{found:?}");
    found
}

fn report(file: &Path) -> Value {
    let done = Command::new(env!("CARGO_BIN_EXE_flapscope"))
        .env_clear()
        .args(["analyze", "--format", "json"])
        .arg(file)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    serde_json::from_slice(&done.stdout).unwrap()
}

/// Severity and kind of each incident.
fn incidents(file: &Path) -> Vec<(String, String)> {
    let report = report(file);
    let text = |incident: &Value, key: &str| incident[key].as_str().unwrap_or_default().to_owned();
    let all = report["incidents"].as_array().unwrap();
    all.iter()
        .map(|i| (text(i, "severity"), text(i, "kind")))
        .collect()
}

#[test]
fn a_step_of_the_clock_in_a_calm_capture_alarms_nobody() {
    let mut wrong = Vec::new();
    for folder in benign() {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        for seconds in [-HOUR, HOUR] {
            let file =
                Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}{seconds}.pcapng"));
            let bytes = std::fs::read(folder.join("h.pcapng")).unwrap();
            std::fs::write(&file, stepped(bytes, seconds)).unwrap();
            let found = incidents(&file);
            if found.iter().any(|(severity, _)| severity != "info") {
                wrong.push(format!("{name} by {seconds} s: {found:?}"));
            }
            std::fs::remove_file(&file).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_clock_set_back_is_told_as_such() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let bytes = std::fs::read(root.join("benign-route-replace/h.pcapng")).unwrap();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("told.pcapng");
    std::fs::write(&file, stepped(bytes, -HOUR)).unwrap();
    let told = report(&file).to_string();
    assert!(told.contains("clock-step"), "{told}");
}
