//! A clock that steps, or a machine that sleeps, in the middle of calm: no absence is concluded from the time that nobody saw.
//!
//! The benign captures of `captures/` with every stamp of their second half moved: an hour back, and an hour ahead (a suspend looks alike).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Read;
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

#[test]
fn a_clock_set_ahead_is_told_where_sessions_go_on_that_should_have_ended() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let bytes = std::fs::read(root.join("benign-route-replace/h.pcapng")).unwrap();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ahead.pcapng");
    for (seconds, told) in [(HOUR, true), (0, false)] {
        std::fs::write(&file, stepped(bytes.clone(), seconds)).unwrap();
        let report = report(&file);
        let findings = report["findings"].as_array().unwrap();
        let found: Vec<&Value> = findings
            .iter()
            .filter(|f| f["kind"] == "feed.clock-step")
            .collect();
        assert_eq!(found.len(), usize::from(told), "{found:?}");
        let said = found.iter().all(|f| {
            f["explain"]
                .as_str()
                .unwrap()
                .contains("set ahead by about 360")
        });
        assert!(said, "{found:?}");
    }
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut packed = flate2::read::MultiGzDecoder::new(bytes);
        packed.read_to_end(&mut out).unwrap();
    } else {
        out.extend(bytes);
    }
    out
}

/// The blocks of a pcapng file up to the first packet at or behind a time.
fn before(bytes: &[u8], seconds: f64) -> Vec<u8> {
    let (mut at, mut ticks) = (0, Vec::new());
    while at + 12 <= bytes.len() {
        let length = word(bytes, at + 4) as usize;
        match word(bytes, at) {
            INTERFACE => ticks.push(resolution(&bytes[at..at + length])),
            PACKET => {
                let per_second = ticks[word(bytes, at + 8) as usize];
                let stamp =
                    (i64::from(word(bytes, at + 12)) << 32) | i64::from(word(bytes, at + 16));
                if stamp as f64 / per_second as f64 >= seconds {
                    break;
                }
            }
            _ => {}
        }
        at += length;
    }
    bytes[..at].to_vec()
}

#[test]
fn bfd_is_not_lost_while_the_whole_input_sleeps() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/bfd-down");
    let label = std::fs::read_to_string(root.join("label.json")).unwrap();
    let label: Value = serde_json::from_str(&label).unwrap();
    let fault = label["phases"]["fault_start"]["t"].as_f64().unwrap();
    let name = ["h.pcapng", "h.pcapng.gz"]
        .into_iter()
        .find(|name| root.join(name).exists());
    let bytes = unpacked(&std::fs::read(root.join(name.unwrap())).unwrap());
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("asleep.pcapng");
    std::fs::write(&file, stepped(before(&bytes, fault), HOUR)).unwrap();
    let report = report(&file);
    let lost: Vec<&Value> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| f["kind"].as_str().unwrap().starts_with("bfd."))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
}
