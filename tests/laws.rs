//! The laws of the design as properties over the project's own captures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that cannot go on ends here

mod support;

use std::io::Read;

use flapscope::correlate::rules::Grade;
use flapscope::detect::Fidelity;
use flapscope::event::Timestamp;
use support::{Random, analyze, inputs_of, own_scenarios, plain};

#[test]
fn ticks_between_events_change_no_output() {
    for directory in own_scenarios() {
        let files = inputs_of(&directory);
        let plain = plain(&files).alerts;
        let mut random = Random(7);
        let mut last = None;
        let ticked = analyze(&files, |engine, event, told| {
            // Several advances at random places between the last event and this one.
            if let Some(last) = last {
                let span = event.at.minus(last).max(0);
                let mut to = last;
                for _ in 0..random.below(4) {
                    to = Timestamp(to.0 + (random.below(span.max(1) as u64) as i64) / 2);
                    if to <= event.at {
                        engine.advance(to, told);
                    }
                }
            }
            last = Some(event.at);
        });
        assert_eq!(plain, ticked.alerts, "{}", directory.display());
    }
}

#[test]
fn the_order_and_the_names_of_files_change_no_verdict() {
    for directory in own_scenarios() {
        let files = inputs_of(&directory);
        let verdicts = |files: &[(String, Vec<u8>)]| -> Vec<String> {
            let mut ids: Vec<String> = plain(files)
                .engine
                .incidents()
                .iter()
                .map(|i| format!("{} {} {}", i.id, i.title, i.chain.len()))
                .collect();
            ids.sort();
            ids
        };
        let mut renamed: Vec<(String, Vec<u8>)> = files
            .iter()
            .rev()
            .enumerate()
            .map(|(n, (_, bytes))| (format!("{n}"), bytes.clone()))
            .collect();
        assert_eq!(
            verdicts(&files),
            verdicts(&renamed),
            "{}",
            directory.display()
        );
        renamed.rotate_left(1);
        assert_eq!(
            verdicts(&files),
            verdicts(&renamed),
            "{}",
            directory.display()
        );
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    for directory in own_scenarios() {
        let files = inputs_of(&directory);
        assert_eq!(
            plain(&files).alerts,
            plain(&files).alerts,
            "{}",
            directory.display()
        );
    }
}

#[test]
fn a_capture_cut_into_parts_gives_the_verdict_of_the_whole() {
    for directory in own_scenarios() {
        let files = inputs_of(&directory);
        let mut parts = Vec::new();
        for (name, bytes) in &files {
            match split_pcap(&unpacked(bytes)) {
                Some((first, second)) => {
                    parts.push((format!("{name}.1"), first));
                    parts.push((format!("{name}.2"), second));
                }
                None => parts.push((name.clone(), bytes.clone())),
            }
        }
        let ids = |files: &[(String, Vec<u8>)]| -> Vec<String> {
            plain(files)
                .engine
                .incidents()
                .iter()
                .map(|i| i.id.clone())
                .collect()
        };
        assert_eq!(ids(&files), ids(&parts), "{}", directory.display());
    }
}

/// A classic pcap as two of them, cut in the middle of its records; `None` for other formats.
fn split_pcap(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let magic = bytes.get(..4)?;
    if magic != [0xd4, 0xc3, 0xb2, 0xa1] && magic != [0x4d, 0x3c, 0xb2, 0xa1] {
        return None;
    }
    let mut cuts = vec![24];
    while let Some(header) = bytes.get(*cuts.last()?..*cuts.last()? + 16) {
        let len = u32::from_le_bytes(header[8..12].try_into().ok()?) as usize;
        cuts.push(cuts.last()? + 16 + len);
    }
    let middle = cuts[cuts.len() / 2];
    let mut second = bytes[..24].to_vec();
    second.extend(&bytes[middle..]);
    Some((bytes[..middle].to_vec(), second))
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut out = Vec::new();
        flate2::read::MultiGzDecoder::new(bytes)
            .read_to_end(&mut out)
            .unwrap();
        return out;
    }
    bytes.to_vec()
}

#[test]
fn alerts_never_go_back_in_time_and_causes_precede_their_effects() {
    for directory in own_scenarios() {
        let outcome = plain(&inputs_of(&directory));
        let times: Vec<String> = outcome
            .alerts
            .iter()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["at"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert!(times.is_sorted(), "{}", directory.display());
        for incident in outcome.engine.incidents() {
            let first_of = |id: &str| {
                std::iter::once(&incident.root)
                    .chain(incident.chain.iter().map(|e| &e.finding))
                    .find(|f| f.id() == id)
            };
            for effect in incident.chain.iter().filter(|e| e.grade == Grade::Certain) {
                let cause = first_of(&effect.cause).unwrap_or_else(|| {
                    panic!(
                        "{}: cause {} is not in the incident",
                        directory.display(),
                        effect.cause
                    )
                });
                // Clocks differ by 100 ms; the kernel tells a loss of carrier up to a second late (law 7).
                let late = if cause.kind.layer() == "link" {
                    1_100_000_000
                } else {
                    100_000_000
                };
                assert!(
                    cause.first.minus(effect.finding.first) <= late,
                    "{}: {} begins before its cause",
                    directory.display(),
                    effect.finding.kind
                );
            }
        }
    }
}

#[test]
fn every_finding_has_evidence_inside_its_time_or_is_inferred() {
    for directory in own_scenarios() {
        let outcome = plain(&inputs_of(&directory));
        for (_, finding, _) in outcome.engine.findings() {
            assert!(
                !finding.evidence.kept().is_empty() || finding.fidelity == Fidelity::Inferred,
                "{}: {} has no evidence",
                directory.display(),
                finding.kind
            );
            assert!(
                finding.first <= finding.last,
                "{}: {}",
                directory.display(),
                finding.kind
            );
            assert!(
                !finding.explain.is_empty(),
                "{}: {} explains nothing",
                directory.display(),
                finding.kind
            );
            assert!(
                !finding.subjects.is_empty(),
                "{}: {} has no subject",
                directory.display(),
                finding.kind
            );
        }
    }
}

/// Damage at random places: no panic, no hang, and what comes out is still valid.
#[test]
fn damaged_captures_are_analysed_as_far_as_they_go() {
    let mut random = Random(42);
    for directory in own_scenarios() {
        for (name, bytes) in inputs_of(&directory) {
            let mut bytes = unpacked(&bytes);
            let keep = bytes.len().min(64);
            for _ in 0..24 {
                let at = keep + random.below((bytes.len() - keep) as u64) as usize;
                bytes[at] = random.next() as u8;
            }
            bytes.truncate(bytes.len() - random.below(bytes.len() as u64 / 4) as usize);
            let outcome = plain(&[(name, bytes)]);
            for alert in outcome.alerts {
                serde_json::from_str::<serde_json::Value>(&alert).unwrap();
            }
        }
    }
}

/// The end of input is not the end of time (law 3): a capture that ends early accuses nobody whom the whole capture does not accuse.
#[test]
fn an_early_end_invents_no_absence() {
    let absences = [
        "dhcp.server-unresponsive",
        "dhcp.lease-expired",
        "ra.expired",
        "bfd.down",
        "bfd.flap",
        "session.down",
        "session.flap",
        "session.restarted",
        "path.loss",
    ];
    for directory in own_scenarios() {
        let files: Vec<(String, Vec<u8>)> = inputs_of(&directory)
            .into_iter()
            .map(|(name, bytes)| (name, unpacked(&bytes)))
            .collect();
        let accused = |files: &[(String, Vec<u8>)]| -> std::collections::BTreeSet<String> {
            let outcome = plain(files);
            let found = outcome
                .engine
                .findings()
                .filter(|(_, f, _)| absences.contains(&f.kind.as_str()));
            // A loss that repeats changes its kind from down to flap, and which end is ours may show late: the layer and the session (or
            // the subject) are what is accused.
            found
                .map(|(_, f, _)| {
                    let ends = f
                        .session
                        .as_ref()
                        .map(|s| (s.local.min(s.remote), s.local.max(s.remote)));
                    match ends {
                        Some((a, b)) => format!("{} {a} {b}", f.kind.layer()),
                        None => format!("{} {}", f.kind.layer(), f.subjects[0]),
                    }
                })
                .collect()
        };
        let whole = accused(&files);
        for share in [3, 5, 7, 9] {
            let cut: Vec<(String, Vec<u8>)> = files
                .iter()
                .map(|(name, bytes)| (name.clone(), bytes[..bytes.len() * share / 10].to_vec()))
                .collect();
            let early = accused(&cut);
            assert!(
                early.is_subset(&whole),
                "{} cut at {share}/10: {:?}",
                directory.display(),
                early.difference(&whole)
            );
        }
    }
}
