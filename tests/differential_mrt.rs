//! Differential tests of the MRT decoder: every prefix line equals bgpdump's, and the sums equal bgpkit-parser's.
//!
//! Needs a directory of real MRT files: `FLAPSCOPE_CORPUS` names one that holds them under `real/mrt`. Where bgpdump itself errs,
//! `tests/data/bgpdump-differences.md` says how and why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what cannot go on ends here
#![allow(clippy::print_stdout, clippy::print_stderr)] // its output is for people

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use flapscope::decode::Stamp;
use flapscope::decode::mrt::{HEADER, MrtDecoder, record_time, record_type};
use flapscope::event::bgp::BgpMessage;
use flapscope::event::source::Unit;
use flapscope::event::{Event, EventKind, InputId, Locator, SourceId};
use flapscope::output::bgpdump::BgpdumpWriter;

/// The real MRT files, or `None` (said aloud, and fatal with REQUIRE_CORPUS=1) where there are none.
fn corpus() -> Option<Vec<PathBuf>> {
    let skip = |why: &str| {
        assert!(
            std::env::var_os("REQUIRE_CORPUS").is_none_or(|v| v != "1"),
            "{why}, and REQUIRE_CORPUS=1 forbids skipping"
        );
        eprintln!("SKIPPED: {why}");
        None
    };
    let Some(root) = std::env::var_os("FLAPSCOPE_CORPUS") else {
        return skip("FLAPSCOPE_CORPUS does not name a corpus");
    };
    let Ok(entries) = std::fs::read_dir(Path::new(&root).join("real/mrt")) else {
        return skip("the corpus has no directory real/mrt");
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    Some(files)
}

fn unpacked(path: &Path) -> Vec<u8> {
    let raw = std::fs::read(path).unwrap();
    let mut bytes = Vec::new();
    match path.extension().and_then(|e| e.to_str()) {
        Some("gz") => flate2::read::MultiGzDecoder::new(&raw[..])
            .read_to_end(&mut bytes)
            .map(|_| ())
            .unwrap(),
        Some("bz2") => bzip2::read::MultiBzDecoder::new(&raw[..])
            .read_to_end(&mut bytes)
            .map(|_| ())
            .unwrap(),
        _ => bytes = raw,
    }
    bytes
}

/// Whole records of an MRT file, until one exceeds it. Tables of 2000 have four octets more than they count.
fn records(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let header: [u8; HEADER] = bytes.get(..HEADER)?.try_into().unwrap();
        let length = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        let mut length = HEADER + length as usize;
        let begins_at =
            |at: usize| bytes.len() == at || bytes.get(at + 4..at + 8) == Some(&header[4..8]);
        if header[4..6] == [0, 12] && !begins_at(length) && begins_at(length + 4) {
            length += 4;
        }
        let (record, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        Some(record)
    })
}

fn decode(bytes: &[u8], mut emit: impl FnMut((u16, u16), &Event)) {
    let mut decoder = MrtDecoder::new();
    for (number, record) in records(bytes).enumerate() {
        let kind = record_type(record).unwrap_or_default();
        let stamp = Stamp {
            at: record_time(record).unwrap(),
            source: SourceId(0),
            locator: Locator {
                input: InputId(0),
                unit: Unit::Record,
                number: number as u64 + 1,
                offset: 0,
            },
        };
        decoder.record(record, &stamp, &mut |event| emit(kind, event));
    }
}

fn ours(bytes: &[u8]) -> Vec<u8> {
    let mut writer = BgpdumpWriter::new(Vec::new());
    decode(bytes, |kind, event| {
        writer.mrt_record(Some(kind));
        writer.event(event).unwrap();
    });
    writer.finish().unwrap()
}

/// Lines sorted, state changes left out: bgpdump invents fields in some of those.
fn comparable(text: &[u8]) -> Vec<&str> {
    let mut lines: Vec<&str> = std::str::from_utf8(text)
        .unwrap()
        .lines()
        .filter(|line| !line.contains("|STATE|"))
        .collect();
    lines.sort_unstable();
    lines
}

/// Repeats bgpdump's errors that `tests/data/bgpdump-differences.md` lists: in withdrawals of the old type BGP it prints the peer's
/// address in place of the prefix's.
fn with_known_errors(text: &[u8]) -> Vec<u8> {
    let mut out = String::new();
    for line in std::str::from_utf8(text).unwrap().lines() {
        let fields: Vec<&str> = line.split('|').collect();
        match fields[..] {
            ["BGP", time, "W", peer, asn, prefix] => {
                let (_, length) = prefix.split_once('/').unwrap();
                out += &format!("BGP|{time}|W|{peer}|{asn}|{peer}/{length}");
            }
            _ => out += line,
        }
        out.push('\n');
    }
    out.into_bytes()
}

fn bgpdump(path: &Path) -> Option<Vec<u8>> {
    let output = Command::new("bgpdump").arg("-m").arg(path).output().ok()?;
    Some(output.stdout)
}

#[test]
fn every_prefix_line_equals_bgpdumps() {
    let Some(files) = corpus() else { return };
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(theirs) = bgpdump(&path) else {
            assert!(
                std::env::var_os("REQUIRE_CORPUS").is_none_or(|v| v != "1"),
                "bgpdump is not installed"
            );
            eprintln!("SKIPPED: bgpdump is not installed");
            return;
        };
        let ours = ours(&unpacked(&path));
        let ours = with_known_errors(&ours);
        let (ours, theirs) = (comparable(&ours), comparable(&theirs));
        if let Some(dir) = std::env::var_os("FLAPSCOPE_KEEP") {
            for (lines, end) in [(&ours, "ours"), (&theirs, "theirs")] {
                let mut file =
                    std::fs::File::create(Path::new(&dir).join(format!("{name}.{end}"))).unwrap();
                writeln!(file, "{}", lines.join("\n")).unwrap();
            }
        }
        let differing = ours.iter().zip(&theirs).find(|(a, b)| a != b);
        eprintln!("{name}: {} lines, bgpdump {}", ours.len(), theirs.len());
        if theirs.len() == 1 && ours.len() > 1 {
            // tests/data/bgpdump-differences.md: tables of 1999 and 2000.
            assert!(ours.contains(&theirs[0]), "{name}: {}", theirs[0]);
            continue;
        }
        assert_eq!(differing, None, "{name}");
        assert_eq!(ours.len(), theirs.len(), "{name}");
    }
}

#[test]
fn sums_equal_bgpkit_parsers() {
    let Some(files) = corpus() else { return };
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.contains("updates") {
            continue;
        }
        let bytes = unpacked(&path);
        let mut ours = [0_u64; 2];
        decode(&bytes, |_, event| {
            if let EventKind::Bgp(bgp) = &event.kind
                && let BgpMessage::Update(update) = &bgp.message
            {
                ours[0] += update.announced.len() as u64;
                ours[1] += update.withdrawn.len() as u64;
            }
        });
        let mut theirs = [0_u64; 2];
        for elem in bgpkit_parser::BgpkitParser::from_reader(&bytes[..]) {
            match elem.elem_type {
                bgpkit_parser::models::ElemType::ANNOUNCE => theirs[0] += 1,
                bgpkit_parser::models::ElemType::WITHDRAW => theirs[1] += 1,
            }
        }
        eprintln!("{name}: {ours:?}, bgpkit-parser {theirs:?}");
        assert_eq!(ours, theirs, "{name}: announced, withdrawn");
    }
}
