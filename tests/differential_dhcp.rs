//! Differential tests of the DHCP decoders: option codes, message types and addresses equal tshark's on every frame of the real captures.
//!
//! Needs tshark and a directory of captures: `FLAPSCOPE_CORPUS` names one that holds them under `real`.

#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test stops at what it cannot read, and says aloud what it skips

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use flapscope::decode::Decoder;
use flapscope::event::dhcp4::Dhcp4Flaw;
use flapscope::event::{Event, EventKind};
use flapscope::input::file::OpenOptions;
use flapscope::input::merge::InputSet;

/// Captures larger than this hold no DHCP worth tshark's minutes.
const MAX_OCTETS: u64 = 60 << 20;

/// The captures, or `None` (said aloud, and fatal with REQUIRE_CORPUS=1) where something is missing.
fn captures() -> Option<Vec<PathBuf>> {
    let skip = |why: &str| {
        assert!(
            std::env::var_os("REQUIRE_CORPUS").is_none_or(|v| v != "1"),
            "{why}, and REQUIRE_CORPUS=1 forbids skipping"
        );
        eprintln!("SKIPPED: {why}");
        None
    };
    if Command::new("tshark").arg("--version").output().is_err() {
        return skip("there is no tshark");
    }
    let Some(root) = std::env::var_os("FLAPSCOPE_CORPUS") else {
        return skip("FLAPSCOPE_CORPUS does not name a corpus");
    };
    let mut found = Vec::new();
    let mut directories = vec![Path::new(&root).join("real")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
            if path.is_dir() {
                directories.push(path);
            } else if ["pcap", "pcapng", "cap"].contains(&extension)
                && entry.metadata().is_ok_and(|m| m.len() <= MAX_OCTETS)
            {
                found.push(path);
            }
        }
    }
    found.sort();
    if found.is_empty() {
        return skip("the corpus has no captures under real");
    }
    Some(found)
}

/// tshark's fields by frame number; the first field is the frame's.
fn tshark(path: &Path, filter: &str, fields: &[&str]) -> BTreeMap<u64, Vec<String>> {
    let mut command = Command::new("tshark");
    command.args([
        "-Y",
        filter,
        "-T",
        "fields",
        "-E",
        "separator=|",
        "-e",
        "frame.number",
    ]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.arg("-r").arg(path).output().unwrap();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut parts = line.split('|').map(str::to_string);
            Some((parts.next()?.parse().ok()?, parts.collect()))
        })
        .collect()
}

fn decoded(path: &Path, mut each: impl FnMut(&Event)) {
    let bytes = std::fs::read(path).unwrap();
    let reader = Box::new(Cursor::new(bytes)) as Box<dyn std::io::Read + Send>;
    let readers = vec![(path.display().to_string(), reader)];
    let Ok(mut inputs) = InputSet::from_readers(readers, &OpenOptions::default()) else {
        return; // not a capture after all
    };
    let mut decoder = Decoder::new();
    while let Some(item) = inputs.next() {
        decoder.item(&item, &mut each);
    }
    decoder.finish(&mut each);
}

fn numbers<T: std::str::FromStr + Ord>(list: &str) -> Vec<T> {
    list.split(',').filter_map(|n| n.parse().ok()).collect()
}

#[test]
fn dhcpv4_option_codes_equal_tsharks() {
    let Some(captures) = captures() else { return };
    let (mut frames, mut wrong) = (0u64, Vec::new());
    for path in captures {
        let fields = ["dhcp.option.type", "frame.len", "frame.cap_len"];
        let theirs = tshark(&path, "dhcp && !icmp", &fields);
        if theirs.is_empty() {
            continue;
        }
        decoded(&path, |event| {
            let EventKind::Dhcp4(message) = &event.kind else {
                return;
            };
            // tshark reads nothing of a packet that the capture cut, and hides what it takes for something else.
            let Some(row) = theirs.get(&event.locator.number) else {
                return;
            };
            if row.get(1) != row.get(2) {
                return;
            }
            let mut expected: Vec<u8> = numbers(row.first().map_or("", String::as_str));
            expected.retain(|code| !matches!(code, 0 | 255));
            // tshark lists overloaded fields where option 52 stands, we after the main field: the same options, another order.
            let mut ours = message.options.clone();
            if ours.contains(&52) {
                ours.sort_unstable();
                expected.sort_unstable();
            }
            // The code of an option that runs past the end is no option to us.
            if message.flaws.contains(&Dhcp4Flaw::OptionOverrun) {
                expected.truncate(ours.len());
            }
            frames += 1;
            if ours != expected {
                wrong.push(format!(
                    "{} frame {}: {ours:?}, tshark {expected:?}",
                    path.display(),
                    event.locator.number
                ));
            }
        });
    }
    assert!(frames > 0, "no DHCPv4 frame was compared");
    assert!(wrong.is_empty(), "{} of {frames}: {wrong:#?}", wrong.len());
    eprintln!("{frames} DHCPv4 frames have tshark's option codes");
}

#[test]
fn dhcpv6_message_types_and_addresses_equal_tsharks() {
    let Some(captures) = captures() else { return };
    let (mut frames, mut wrong) = (0u64, Vec::new());
    for path in captures {
        let fields = ["dhcpv6.msgtype", "dhcpv6.iaaddr.ip", "_ws.malformed"];
        let theirs = tshark(&path, "dhcpv6 && !icmpv6", &fields);
        if theirs.is_empty() {
            continue;
        }
        decoded(&path, |event| {
            let EventKind::Dhcp6(message) = &event.kind else {
                return;
            };
            let Some(row) = theirs.get(&event.locator.number) else {
                return;
            };
            if row.get(2).is_some_and(|malformed| !malformed.is_empty())
                || !message.flaws.is_empty()
            {
                return;
            }
            let types: Vec<u8> = numbers(row.first().map_or("", String::as_str));
            let addresses: Vec<String> = message
                .addresses
                .iter()
                .map(|a| a.addr.to_string())
                .collect();
            let expected = row.get(1).map_or("", String::as_str);
            frames += 1;
            if types.len() != message.relays.len() + 1
                || types.last() != Some(&message.message_type)
                || addresses.join(",") != expected
            {
                wrong.push(format!(
                    "{} frame {}: {} behind {} relays with {addresses:?}, tshark {row:?}",
                    path.display(),
                    event.locator.number,
                    message.message_type,
                    message.relays.len()
                ));
            }
        });
    }
    assert!(frames > 0, "no DHCPv6 frame was compared");
    assert!(wrong.is_empty(), "{} of {frames}: {wrong:#?}", wrong.len());
    eprintln!("{frames} DHCPv6 frames have tshark's message types and addresses");
}
