//! Wherever a replay is wound to, and however often: it shows what a fresh run to there shows, to the byte.

use std::path::{Path, PathBuf};

use super::checkpoints::{Checkpoints, Goal};
use super::run::{Run, Script};
use super::*;
use crate::detect::Settings;
use crate::engine::snapshot::Camera;
use crate::input::file::OpenOptions;
use crate::output::log::{Log, LogQuery};

fn script(files: Vec<PathBuf>) -> Script {
    Script {
        files,
        opening: OpenOptions::default(),
        settings: Settings::default(),
    }
}

fn captures(folder: &str, files: &[&str]) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("captures")
        .join(folder);
    files.iter().map(|file| folder.join(file)).collect()
}

/// What a reader can see at this moment.
fn seen(run: &Run, log: &Log) -> String {
    let mut picture = Camera::default().shoot(&run.rooms.engines(), true);
    picture.seq = 0;
    let page = log.page(&LogQuery {
        limit: u16::MAX,
        ..LogQuery::default()
    });
    let findings: Vec<String> = run
        .rooms
        .all()
        .iter()
        .flat_map(|room| room.engine.findings())
        .map(|(key, finding, incident)| format!("{key:?} {finding:?} {incident:?}"))
        .collect();
    serde_json::to_string(&(picture, page, findings)).unwrap()
}

/// What a run from the begin to there shows.
fn fresh(script: &Script, goal: Goal) -> String {
    let (mut run, mut log) = (Run::open(script).unwrap(), Log::default());
    let until = match goal {
        Goal::Until(at) => at,
        Goal::Events(_) => Timestamp::MAX,
    };
    loop {
        let there = matches!(goal, Goal::Events(count) if run.events() >= count);
        if there || !run.step(until, &mut log) {
            break;
        }
    }
    seen(&run, &log)
}

/// Numbers that look like chance, and are the same each time.
fn chance(state: &mut u64, below: u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    let mixed = (*state ^ (*state >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 4) % below.max(1)
}

/// Winds a replay back and forth; how many of its ways did not begin at the begin.
fn wound(files: Vec<PathBuf>, apart: u64, winds: u32) -> usize {
    let script = script(files);
    let run = Run::open(&script).unwrap();
    let (publisher, requests, _link) = link();
    let mut replay = Replay::new(script, run, Screen::new(publisher, requests));
    replay.checkpoints = Checkpoints::every(apart, crate::output::log::MAX_LINES as u64);
    replay.go(Goal::Until(Timestamp::MAX)).unwrap();
    let (from, to) = (replay.run.from().unwrap(), replay.run.now());
    let events = replay.run.events();
    let first = seen(&replay.run, &replay.screen.log);
    assert!(first == fresh(&replay.script, Goal::Until(Timestamp::MAX)));
    let (mut state, mut short) = (7, 0);
    for wind in 0..winds {
        let goal = if wind % 3 == 2 {
            Goal::Events(1 + chance(&mut state, events - 1))
        } else {
            let span = u64::try_from(to.minus(from)).unwrap();
            Goal::Until(Timestamp(
                from.0 + i64::try_from(chance(&mut state, span)).unwrap(),
            ))
        };
        short += usize::from(replay.checkpoints.nearest(goal).is_some());
        replay.go(goal).unwrap();
        let here = seen(&replay.run, &replay.screen.log);
        assert!(
            here == fresh(&replay.script, goal),
            "wind {wind} to {goal:?} shows something else than a fresh run"
        );
    }
    // And to the end again.
    replay.go(Goal::Until(Timestamp::MAX)).unwrap();
    let end = seen(&replay.run, &replay.screen.log);
    assert!(end == fresh(&replay.script, Goal::Until(Timestamp::MAX)));
    short
}

#[test]
fn a_replay_wound_anywhere_shows_what_a_fresh_run_shows() {
    let files = captures("link-flap-under-bgp", &["h.nl.pcap.gz", "h.pcapng.gz"]);
    assert!(wound(files, 16, 40) > 30);
}

/// An MRT record of a BGP message between 192.0.2.2 (AS 64511) and 192.0.2.1.
fn mrt(seconds: u32, message: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    // BGP4MP_MESSAGE_AS4: peer and local AS, interface, AFI, addresses.
    body.extend(64_511_u32.to_be_bytes());
    body.extend(64_512_u32.to_be_bytes());
    body.extend([0, 0, 0, 1, 192, 0, 2, 2, 192, 0, 2, 1]);
    body.extend([0xff; 16]);
    body.extend(u16::try_from(19 + message.len() - 1).unwrap().to_be_bytes());
    body.extend(message);
    let mut record = Vec::new();
    record.extend(seconds.to_be_bytes());
    record.extend([0, 16, 0, 4]);
    record.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    record.extend(body);
    record
}

#[test]
fn the_log_is_whole_after_winding_through_more_than_it_keeps() {
    let mut octets = Vec::new();
    // 28,000 messages, more than the log keeps: 5,000 prefixes come and go.
    for number in 0_u32..28_000 {
        let [.., high, low] = (number % 5_000).to_be_bytes();
        let prefix = [32, 198, 18 + (high >> 7), high, low];
        let mut message = vec![2];
        if number / 5_000 % 2 == 0 {
            message.extend([
                0, 0, 0, 20, 0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfb, 0xff,
            ]);
            message.extend([0x40, 3, 4, 192, 0, 2, 2]);
            message.extend(prefix);
        } else {
            message.extend([0, 5]);
            message.extend(prefix);
            message.extend([0, 0]);
        }
        octets.extend(mrt(1_700_000_000 + number / 50, &message));
    }
    let path = std::env::temp_dir().join(format!("flapscope-wound-{}.mrt", std::process::id()));
    std::fs::write(&path, octets).unwrap();
    let short = wound(vec![path.clone()], 1_000, 5);
    std::fs::remove_file(&path).unwrap();
    assert!(short > 2, "{short}");
}

#[test]
fn copies_are_few_however_long_the_recording_is() {
    let script = script(captures(
        "link-flap-under-bgp",
        &["h.nl.pcap.gz", "h.pcapng.gz"],
    ));
    let (mut run, mut log) = (Run::open(&script).unwrap(), Log::default());
    let mut checkpoints = Checkpoints::every(1, 1);
    while run.step(Timestamp::MAX, &mut log) {
        checkpoints.pass(&run, &log);
    }
    assert!(run.items > 200);
    let places = checkpoints.places();
    assert!((16..=32).contains(&places.len()), "{places:?}");
    let apart = places.windows(2).map(|pair| pair[1] - pair[0]);
    assert_eq!(apart.clone().min(), apart.max(), "evenly: {places:?}");
}
