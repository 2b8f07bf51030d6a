//! The flight recorder from outside: what was written reads back the same, other programs open it, the ring turns, a full disk is told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use flapscope::event::loss::{Gap, GapKind};
use flapscope::event::source::Unit;
use flapscope::event::{InputId, Locator, SourceId, SourceInfo, SourceKind, Timestamp};
use flapscope::input::file::OpenOptions;
use flapscope::input::merge::InputSet;
use flapscope::input::record::{Recorder, Ring, Settings};
use flapscope::input::{Format, Item, Record};
use proptest::prelude::*;

const START: Timestamp = Timestamp(1_760_000_000_000_000_000);

/// An empty folder of this test alone.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("record-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn locator(number: u64) -> Locator {
    Locator {
        input: InputId(0),
        unit: Unit::Record,
        number,
        offset: 0,
    }
}

fn info(id: u32, kind: SourceKind, interface: Option<&str>) -> SourceInfo {
    SourceInfo {
        id: SourceId(id),
        input: InputId(0),
        kind,
        interface: interface.map(Into::into),
        host: None,
        role: None,
    }
}

/// Names that share their first letters: what breaks ties elsewhere must not reorder a recording.
fn sources() -> Vec<(SourceInfo, u16)> {
    vec![
        (info(0, SourceKind::Netlink, None), 253),
        (info(1, SourceKind::Netlink, Some("blue")), 253),
        (info(2, SourceKind::Packets, Some("enp3s0f0np1")), 1),
        (info(3, SourceKind::Packets, Some("enp3s0f0np0")), 1),
        (info(4, SourceKind::Packets, Some("any")), 276),
        (info(5, SourceKind::Bmp, None), 101),
    ]
}

#[derive(Clone, Debug)]
enum What {
    Bytes(Vec<u8>, u32),
    Lost(GapKind, Option<u64>),
}

/// Source, time after the item before, content.
type Step = (usize, u64, What);

fn step() -> impl Strategy<Value = Step> {
    let bytes = (
        proptest::collection::vec(any::<u8>(), 0..80),
        prop_oneof![Just(0u32), 0u32..2000],
    )
        .prop_map(|(bytes, more)| What::Bytes(bytes, more));
    let lost = (
        prop_oneof![
            Just(GapKind::CaptureDrops),
            Just(GapKind::NetlinkOverrun),
            Just(GapKind::FeedLost),
            Just(GapKind::ClockStep)
        ],
        proptest::option::of(any::<u64>()),
    )
        .prop_map(|(kind, lost)| What::Lost(kind, lost));
    let passed = prop_oneof![3 => Just(0u64), 3 => 1u64..1000, 2 => 0u64..3_000_000_000];
    (0usize..6, passed, prop_oneof![5 => bytes, 1 => lost])
}

/// An item as it can be compared: time, name of the source, content.
type Seen = (Timestamp, SourceKind, Option<String>, String);

fn seen(at: Timestamp, info: &SourceInfo, content: String) -> Seen {
    (
        at,
        info.kind,
        info.interface.as_deref().map(Into::into),
        content,
    )
}

fn content(record: &Record<'_>) -> String {
    // A netlink frame has a header that a socket's messages have not.
    match record.format {
        Format::Netlink => format!("{:02x?}", record.bytes),
        Format::Packet(253) => format!("{:02x?}", &record.bytes[16..]),
        format => format!("{format:?} {} {:02x?}", record.wire_len, record.bytes),
    }
}

fn write(recorder: &mut Recorder, steps: &[Step]) -> Vec<Seen> {
    let sources = sources();
    let mut expected = Vec::new();
    for (info, _) in &sources {
        recorder.write(&Item::Source(info.clone()));
    }
    let mut at = START;
    for (number, (source, passed, what)) in steps.iter().enumerate() {
        let (info, link_type) = &sources[*source];
        at = at + Duration::from_nanos(*passed);
        match what {
            What::Bytes(bytes, more) => {
                let format = match info.kind {
                    SourceKind::Netlink => Format::Netlink,
                    _ => Format::Packet(*link_type),
                };
                if format == Format::Netlink && bytes.is_empty() {
                    continue;
                }
                let record = Record {
                    at,
                    source: info.id,
                    locator: locator(number as u64),
                    format,
                    bytes,
                    wire_len: bytes.len() as u32 + more,
                };
                let place = recorder.write(&Item::Record(record)).unwrap();
                let records = expected
                    .iter()
                    .filter(|(_, _, _, c): &&Seen| !c.starts_with("Gap"));
                assert_eq!(place.number, records.count() as u64 + 1);
                expected.push(seen(at, info, content(&record)));
            }
            What::Lost(kind, lost) => {
                let gap = Gap {
                    kind: *kind,
                    from: at - Duration::from_secs(1),
                    to: at,
                    lost: *lost,
                    detail: "as the test says".into(),
                };
                expected.push(seen(at, info, format!("{gap:?}")));
                recorder.write(&Item::Gap {
                    at,
                    source: info.id,
                    locator: locator(number as u64),
                    gap,
                });
            }
        }
    }
    expected
}

fn read(paths: &[PathBuf]) -> (Vec<Seen>, Option<Timestamp>) {
    let options = OpenOptions {
        every_packet: true,
        ..OpenOptions::default()
    };
    let mut inputs = InputSet::open(paths, &options).unwrap();
    let mut sources: Vec<SourceInfo> = Vec::new();
    let mut items = Vec::new();
    while let Some(item) = inputs.next() {
        match item {
            Item::Source(info) => sources.push(info),
            Item::Record(record) => {
                let info = &sources[record.source.0 as usize];
                items.push(seen(record.at, info, content(&record)));
            }
            Item::Gap {
                at, source, gap, ..
            } => {
                let info = &sources[source.0 as usize];
                items.push(seen(at, info, format!("{gap:?}")));
            }
        }
    }
    (items, inputs.watched_until())
}

fn settings(path: &Path) -> Settings {
    Settings {
        path: path.to_path_buf(),
        ..Settings::default()
    }
}

/// Fails where tshark or capinfos find something wrong with a file; skipped where they are not installed.
fn opens_elsewhere(path: &Path) {
    for (program, arguments) in [
        ("capinfos", &["-M"][..]),
        (
            "tshark",
            &["-n", "-T", "fields", "-e", "frame.number", "-r"][..],
        ),
    ] {
        let Ok(output) = Command::new(program).args(arguments).arg(path).output() else {
            println!("SKIPPED: {program} is not installed");
            continue;
        };
        let errors: String = String::from_utf8_lossy(&output.stderr)
            .lines()
            .filter(|line| !line.contains("Running as user"))
            .collect();
        assert!(output.status.success(), "{program}: {errors}");
        assert!(errors.is_empty(), "{program}: {errors}");
    }
}

fn tshark(path: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("tshark");
    let output = command
        .arg("-n")
        .arg("-r")
        .arg(path)
        .args(arguments)
        .output()
        .ok()?;
    assert!(output.status.success());
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_reads_back_in_the_same_order_with_the_same_times(steps in proptest::collection::vec(step(), 1..120)) {
        let path = folder("round").join("all.pcapng");
        let mut recorder = Recorder::create(&settings(&path)).unwrap();
        let expected = write(&mut recorder, &steps);
        let until = expected.last().map_or(START, |(at, ..)| *at) + Duration::from_secs(5);
        recorder.advance(until);
        let summary = recorder.finish();
        prop_assert_eq!(summary.trouble, None);
        let (items, watched) = read(&[path]);
        prop_assert_eq!(&items, &expected);
        if !expected.is_empty() {
            prop_assert_eq!(watched, Some(until));
        }
    }
}

fn steps(count: usize, passed: u64) -> Vec<Step> {
    (0..count)
        .map(|index| match index % 7 {
            6 => (2, passed, What::Lost(GapKind::CaptureDrops, Some(3))),
            source => (source % 6, passed, What::Bytes(vec![index as u8; 60], 0)),
        })
        .collect()
}

#[test]
fn other_programs_open_a_recording_and_see_names_counters_and_comments() {
    let path = folder("open").join("f.pcapng");
    let mut recorder = Recorder::create(&settings(&path)).unwrap();
    write(&mut recorder, &steps(70, 1_000_000));
    let summary = recorder.finish();
    opens_elsewhere(&path);
    assert_eq!(summary.frames, 60);
    let dropped = summary
        .sources
        .iter()
        .find(|source| source.name == "enp3s0f0np1");
    assert_eq!(dropped.map(|source| source.lost), Some(30));
    if let Some(fields) = tshark(
        &path,
        &[
            "-T",
            "fields",
            "-e",
            "frame.interface_name",
            "-e",
            "frame.comment",
        ],
    ) {
        let lines: Vec<&str> = fields.lines().collect();
        assert_eq!(lines.len(), 60);
        assert!(lines.iter().any(|line| line.starts_with("netlink@blue")));
        assert!(
            lines
                .iter()
                .any(|line| line.contains("lost before this frame: as the test says"))
        );
    }
}

#[test]
fn an_empty_recording_and_one_without_records_open_too() {
    let folder = folder("empty");
    let path = folder.join("nothing.pcapng");
    Recorder::create(&settings(&path)).unwrap().finish();
    opens_elsewhere(&path);
    let path = folder.join("gap.pcapng");
    let mut recorder = Recorder::create(&settings(&path)).unwrap();
    write(
        &mut recorder,
        &[(0, 0, What::Lost(GapKind::NetlinkOverrun, None))],
    );
    recorder.finish();
    opens_elsewhere(&path);
    assert_eq!(read(&[path]).0.len(), 1);
}

#[test]
fn a_killed_recorder_leaves_a_file_that_opens() {
    let path = folder("killed").join("f.pcapng");
    let mut recorder = Recorder::create(&settings(&path)).unwrap();
    let expected = write(&mut recorder, &steps(70, 100_000_000));
    std::mem::forget(recorder);
    opens_elsewhere(&path);
    let (items, _) = read(&[path]);
    // The last second may be missing, nothing else.
    assert!(items.len() >= expected.len() - 11 && expected.starts_with(&items));
}

#[test]
fn the_ring_turns_by_time_and_keeps_the_newest_files() {
    let folder = folder("ring");
    let mut recorder = Recorder::create(&Settings {
        ring: Ring {
            duration: Some(Duration::from_secs(10)),
            files: Some(3),
            ..Ring::default()
        },
        ..settings(&folder.join("f.pcapng"))
    })
    .unwrap();
    let expected = write(&mut recorder, &steps(700, 100_000_000));
    assert_eq!(recorder.finish().files, 7);
    let files = listed(&folder);
    assert_eq!(
        files
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap())
            .collect::<Vec<_>>(),
        [
            "f_00005_20251009085400.pcapng",
            "f_00006_20251009085410.pcapng",
            "f_00007_20251009085420.pcapng"
        ]
    );
    for path in &files {
        opens_elsewhere(path);
    }
    let mut items = Vec::new();
    for path in files {
        items.extend(read(&[path]).0);
    }
    assert_eq!(items, expected[expected.len() - items.len()..]);
    assert_eq!(items.len(), 300);
}

#[test]
fn the_ring_turns_by_size() {
    let folder = folder("size");
    let mut recorder = Recorder::create(&Settings {
        ring: Ring {
            file_size: Some(8),
            ..Ring::default()
        },
        ..settings(&folder.join("f.pcapng"))
    })
    .unwrap();
    write(&mut recorder, &steps(700, 100_000_000));
    recorder.finish();
    let files = listed(&folder);
    assert!(files.len() > 5);
    for path in &files[..files.len() - 1] {
        let size = fs::metadata(path).unwrap().len();
        assert!((8 << 10..12 << 10).contains(&size), "{size}");
    }
}

#[test]
fn the_minutes_before_an_incident_outlive_the_ring() {
    let folder = folder("freeze");
    let ring = Ring {
        duration: Some(Duration::from_secs(10)),
        files: Some(2),
        ..Ring::default()
    };
    let with_freeze = |ring| Settings {
        ring,
        freeze: Some(Duration::from_secs(12)),
        ..settings(&folder.join("f.pcapng"))
    };
    assert!(Recorder::create(&with_freeze(Ring::default())).is_err());
    let mut recorder = Recorder::create(&with_freeze(ring)).unwrap();
    let before = write(&mut recorder, &steps(350, 100_000_000));
    let at = before.last().unwrap().0;
    recorder.told(at, true);
    recorder.told(at, true);
    let news = recorder.news();
    assert_eq!(news.len(), 1, "{news:?}");
    let later: Vec<Step> = steps(700, 100_000_000);
    let mut at = at;
    for (number, (_, passed, _)) in later.iter().enumerate() {
        at = at + Duration::from_nanos(*passed);
        recorder.write(&Item::Record(Record {
            at,
            source: SourceId(2),
            locator: locator(number as u64),
            format: Format::Packet(1),
            bytes: &[0xee; 60],
            wire_len: 60,
        }));
    }
    recorder.finish();
    let kept = listed(&folder.join("f_frozen"));
    let first = read(&kept[..1]).0;
    assert_eq!(kept.len(), 2);
    assert!(first[0].0 <= before.last().unwrap().0 - Duration::from_secs(12));
    assert_eq!(
        listed(&folder).iter().filter(|path| path.is_file()).count(),
        2
    );
}

#[test]
fn a_full_disk_is_told_once_and_what_it_cost_is_counted() {
    // Linux's device that is always full.
    let mut recorder = Recorder::create(&settings(Path::new("/dev/full"))).unwrap();
    write_ignoring(&mut recorder);
    let news = recorder.news();
    assert_eq!(news.len(), 1, "{news:?}");
    assert!(news[0].contains("No space left"), "{news:?}");
    write_ignoring(&mut recorder);
    assert!(recorder.news().is_empty());
    let summary = recorder.finish();
    assert!(summary.shed > 0 && summary.trouble.is_none());
}

fn write_ignoring(recorder: &mut Recorder) {
    for second in 0..5 {
        recorder.write(&Item::Record(Record {
            at: START + Duration::from_secs(second),
            source: SourceId(2),
            locator: locator(second),
            format: Format::Packet(1),
            bytes: &[0xee; 60],
            wire_len: 60,
        }));
    }
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}
