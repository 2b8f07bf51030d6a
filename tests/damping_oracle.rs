//! Damping in observe mode against FRR's own figures: FRR 8.4 with damping on was polled once a second while five prefixes flapped; the
//! same packets through our pipeline give the same penalty at every poll.
//!
//! Needs the recording `oracle-frr-dampening` below `FLAPSCOPE_CORPUS` (else below `../shared/corpus`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use flapscope::decode::Decoder;
use flapscope::event::bgp::{AS_SEQUENCE, BgpEvent, BgpMessage, Direction, Nlri, Update};
use flapscope::event::frame::Frame;
use flapscope::event::source::Unit;
use flapscope::event::{Event, EventKind, InputId, Locator, Prefix, SourceId, Timestamp};
use flapscope::input::file::OpenOptions;
use flapscope::input::merge::InputSet;
use flapscope::state::rib::damping::Profile;
use flapscope::state::rib::hot::Hot;
use flapscope::state::{Changes, NetState};

/// `bgp dampening 1 750 2000 4`: half-life and longest suppression in seconds.
const HALF_LIFE: u32 = 60;
const REUSE: u32 = 750;
const SUPPRESS: u32 = 2000;
const MAX_SUPPRESS: u32 = 240;
/// A poll is stamped before the router is asked; asking takes up to this long, and its packets may be a moment old.
const POLL: Duration = Duration::from_millis(350);
/// FRR first walks its reuse list when a penalty is within 5 % of the limit; from there on its step clock starts anew (design: up to 20 s late).
const NEAR_REUSE: u64 = 5;
/// FRR counts whole seconds of a clock that begins with the machine's start, so that its seconds end somewhere inside ours.
const PHASES: u32 = 10;

/// The recording, or `None` (said aloud, and fatal with REQUIRE_CORPUS=1) where there is none.
fn recording() -> Option<PathBuf> {
    let root = std::env::var_os("FLAPSCOPE_CORPUS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"),
        PathBuf::from,
    );
    let found = root.join("oracle-frr-dampening");
    if found.join("r1-any.pcap").exists() {
        return Some(found);
    }
    assert!(
        std::env::var_os("REQUIRE_CORPUS").is_none_or(|v| v != "1"),
        "there is no oracle-frr-dampening below FLAPSCOPE_CORPUS, and REQUIRE_CORPUS=1 forbids skipping"
    );
    eprintln!("SKIPPED: there is no oracle-frr-dampening below FLAPSCOPE_CORPUS");
    None
}

/// What FRR said about a prefix at a poll.
struct Said {
    at: Timestamp,
    penalty: u64,
    suppressed: bool,
    /// Withdrawals and changes so far.
    flaps: u64,
    /// It is withdrawn: FRR calls its path history, never suppressed.
    history: bool,
}

/// FRR's polls by prefix, up to its first reuse check of that prefix.
fn polls(samples: &[Value]) -> BTreeMap<Prefix, Vec<Said>> {
    let mut said: BTreeMap<Prefix, Vec<Said>> = BTreeMap::new();
    for sample in samples {
        let at = Timestamp((sample["t"].as_f64().unwrap() * 1e9) as i64);
        for (prefix, paths) in sample["detail"].as_object().unwrap() {
            let path = &paths[0];
            let flag = |name: &str| path[name].as_bool().unwrap_or(false);
            said.entry(prefix.parse().unwrap()).or_default().push(Said {
                at,
                penalty: path["dampeningPenalty"].as_u64().unwrap_or(0),
                suppressed: flag("dampeningSuppressed"),
                flaps: path["dampeningFlapCount"].as_u64().unwrap_or(0),
                history: flag("dampeningHistoryEntry"),
            });
        }
    }
    for polls in said.values_mut() {
        // The record falls to the reuse limit: the check is due.
        let peak = polls.iter().map(|p| p.penalty).max().unwrap_or(0);
        let end = polls
            .iter()
            .rposition(|poll| poll.penalty == peak)
            .map_or(0, |top| {
                let below = polls[top..]
                    .iter()
                    .position(|poll| poll.penalty * 100 <= u64::from(REUSE) * (100 + NEAR_REUSE));
                below.map_or(polls.len(), |at| top + at)
            });
        if peak >= u64::from(SUPPRESS) {
            polls.truncate(end);
        }
    }
    said
}

/// The table that FRR held at its first poll, as UPDATEs just before the recording: what the first change in it changes.
fn table(sample: &Value, to: IpAddr, before: Timestamp) -> Vec<Event> {
    let mut events = Vec::new();
    for (number, (prefix, paths)) in sample["detail"].as_object().unwrap().iter().enumerate() {
        let path = &paths[0];
        let hops: Vec<u32> = path["aspath"]["segments"][0]["list"]
            .as_array()
            .unwrap()
            .iter()
            .map(|asn| asn.as_u64().unwrap() as u32)
            .collect();
        let mut update = Update {
            announced: [Nlri::unicast(prefix.parse().unwrap())]
                .into_iter()
                .collect(),
            ..Update::default()
        };
        update
            .attributes
            .as_path
            .push_segment(AS_SEQUENCE, hops.len());
        update.attributes.as_path.0.extend(hops);
        update.attributes.med = path["metric"].as_u64().map(|med| med as u32);
        events.push(Event {
            at: before,
            origin_at: None,
            source: SourceId(0),
            locator: Locator {
                input: InputId(0),
                unit: Unit::Frame,
                number: number as u64 + 1,
                offset: 0,
            },
            kind: EventKind::Bgp(Box::new(BgpEvent {
                frame: Frame::default(),
                session: Direction {
                    from: path["peer"]["peerId"].as_str().unwrap().parse().unwrap(),
                    to,
                    from_port: 179,
                    to_port: 4000,
                    from_as: 0,
                    to_as: 0,
                },
                message: BgpMessage::Update(Box::new(update)),
            })),
        });
    }
    events
}

/// Our records of every prefix of one sender after each event that changed it.
fn replay(
    name: &str,
    pcap: &[u8],
    samples: &[Value],
    profile: &Profile,
    phase: Duration,
) -> BTreeMap<Prefix, Vec<(Timestamp, Hot)>> {
    let reader = Box::new(Cursor::new(pcap.to_vec())) as Box<dyn Read + Send>;
    let mut inputs =
        InputSet::from_readers(vec![(name.to_owned(), reader)], &OpenOptions::default())
            .unwrap_or_else(|error| panic!("{error}"));
    let mut events = Vec::new();
    let mut decoder = Decoder::new();
    while let Some(item) = inputs.next() {
        decoder.item(&item, &mut |event| events.push(event.clone()));
    }
    decoder.finish(&mut |event| events.push(event.clone()));

    let sample = &samples[0];
    let peer: IpAddr = sample["detail"]
        .as_object()
        .unwrap()
        .values()
        .next()
        .unwrap()[0]["peer"]["peerId"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let router = events
        .iter()
        .find_map(|event| match &event.kind {
            EventKind::Bgp(bgp) if bgp.session.from == peer => Some(bgp.session.to),
            _ => None,
        })
        .expect("the damping router's session is in the packets");
    let first = events.first().unwrap().at;
    let mut all = table(sample, router, first - Duration::from_secs(1));
    all.append(&mut events);

    let mut net = NetState::default();
    net.rib.set_damping([
        profile.clone(),
        profile.clone(),
        profile.clone(),
        profile.clone(),
    ]);
    let mut changes = Changes::default();
    let mut records: BTreeMap<Prefix, Vec<(Timestamp, Hot)>> = BTreeMap::new();
    for event in &mut all {
        event.at = event.at + phase;
        let event = &*event;
        while let Some(due) = net.next_deadline().filter(|due| *due <= event.at) {
            net.expire(due, &mut changes);
        }
        net.apply(event, &mut changes);
        let Some(rib) = changes.rib.rib.and_then(|id| net.rib.get(id)) else {
            continue;
        };
        let sender = net.sessions.get(rib.session).unwrap().ends[rib.sender].addr;
        for delta in changes.rib.routes.iter().filter(|_| sender == peer) {
            if let (Some(prefix), Some(hot)) = (rib.prefix(delta.slot), net.rib.hot(delta)) {
                records
                    .entry(prefix)
                    .or_default()
                    .push((event.at, hot.clone()));
            }
        }
    }
    records
}

/// What FRR itself said of its penalties, poll after poll.
fn oracle(recording: &Path) -> Value {
    let packed = std::fs::read(recording.join("dampening.json.gz")).unwrap();
    let mut json = String::new();
    flate2::read::GzDecoder::new(&packed[..])
        .read_to_string(&mut json)
        .unwrap();
    serde_json::from_str(&json).unwrap()
}

/// The profile that the recorded router was given.
fn frr() -> Profile {
    Profile::new(
        "frr",
        [1000, 0, 500],
        SUPPRESS,
        REUSE,
        HALF_LIFE,
        MAX_SUPPRESS,
    )
}

#[test]
fn penalties_and_suppression_are_those_of_frr_at_every_poll_up_to_the_first_reuse_check() {
    let Some(recording) = recording() else { return };
    let oracle = oracle(&recording);
    let samples = oracle["samples"].as_array().unwrap();
    let frr = frr();
    // Its blows and limits are those of the profile that is shown; only the times differ.
    let shown = &Profile::all()[0];
    assert_eq!(
        (shown.name, shown.suppress, shown.reuse),
        (frr.name, frr.suppress, frr.reuse)
    );

    let pcap = std::fs::read(recording.join("r1-any.pcap")).unwrap();
    let polls = polls(samples);
    // One of these phases of FRR's clock explains every poll.
    let tried: Vec<Result<Agreement, String>> = (0..PHASES)
        .map(|n| Duration::from_secs(1) * n / PHASES)
        .map(|phase| {
            compare(
                &polls,
                &replay("r1-any.pcap", &pcap, samples, &frr, phase),
                &frr,
                phase,
            )
        })
        .collect();
    let Some(agreement) = tried.iter().find_map(|t| t.as_ref().ok()) else {
        panic!("no phase of the clock explains FRR's figures: {tried:#?}");
    };
    assert!(
        agreement.nonzero > 100 && agreement.suppressed > 50,
        "the recording shows damping: {agreement:?}"
    );
    eprintln!("{agreement:?}");
}

/// Polls that were compared.
#[derive(Debug, Default)]
struct Agreement {
    polls: u32,
    nonzero: u32,
    suppressed: u32,
}

/// Our records against FRR's polls; the first poll that differs is an error.
fn compare(
    polls: &BTreeMap<Prefix, Vec<Said>>,
    records: &BTreeMap<Prefix, Vec<(Timestamp, Hot)>>,
    frr: &Profile,
    phase: Duration,
) -> Result<Agreement, String> {
    let mut agreement = Agreement::default();
    for (prefix, polls) in polls {
        let history = records.get(prefix).map_or(&[][..], Vec::as_slice);
        for poll in polls {
            let asked = poll.at + phase;
            // The state at the poll, or after whatever came while it was being answered.
            let state = |at: Timestamp| {
                let record = history.iter().rev().find(|(seen, _)| *seen <= at);
                record.map_or((0, false), |(_, hot)| {
                    let penalty = &hot.penalties[0];
                    (
                        u64::from(penalty.value(frr, at)),
                        penalty.suppressed(frr, at),
                    )
                })
            };
            // A route gets its record with the second change, the first one counted in: before that there is nothing to compare.
            let recorded = history.first().is_some_and(|(at, _)| *at <= asked);
            if poll.flaps == 1 && !recorded {
                continue;
            }
            let during = history.iter().map(|(seen, _)| *seen);
            let ours: Vec<(u64, bool)> = [asked, asked + POLL]
                .into_iter()
                .chain(during.filter(|seen| *seen > asked && *seen < asked + POLL))
                .map(state)
                .collect();
            let agrees = |(penalty, is_suppressed): &(u64, bool)| {
                *penalty == poll.penalty && (poll.history || *is_suppressed == poll.suppressed)
            };
            if !ours.iter().any(agrees) {
                return Err(format!(
                    "{prefix} at {}: FRR says {} (suppressed {}, history {}), we say {ours:?}",
                    poll.at, poll.penalty, poll.suppressed, poll.history
                ));
            }
            agreement.polls += 1;
            agreement.nonzero += u32::from(poll.penalty > 0);
            agreement.suppressed += u32::from(poll.suppressed);
        }
    }
    Ok(agreement)
}

/// FRR walks its reuse list every 15 s and restarts its step clock there (measured: up to this much later than computed).
const LATE: Duration = Duration::from_secs(20);

#[test]
fn both_the_packets_and_the_mrt_file_give_frrs_suppressions_and_their_ends() {
    let Some(recording) = recording() else { return };
    let oracle = oracle(&recording);
    let samples = oracle["samples"].as_array().unwrap();
    let frr = frr();
    for (name, stamps) in [("r1-any.pcap", 0), ("r1-frr-all.mrt", 1)] {
        // MRT stamps whole seconds: what happened may be up to one later.
        let slack = Duration::from_secs(stamps) + POLL;
        let bytes = std::fs::read(recording.join(name)).unwrap();
        let records = replay(name, &bytes, samples, &frr, Duration::ZERO);
        let mut ended = 0;
        let prefixes: Vec<String> = samples[0]["detail"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        for prefix in prefixes {
            let polled: Vec<(Timestamp, bool, u64)> = samples
                .iter()
                .filter_map(|sample| {
                    let path = &sample["detail"].get(&prefix)?[0];
                    let at = Timestamp((sample["t"].as_f64().unwrap() * 1e9) as i64);
                    let is = path["dampeningSuppressed"].as_bool().unwrap_or(false);
                    Some((at, is, path["dampeningPenalty"].as_u64().unwrap_or(0)))
                })
                .collect();
            let highest = polled
                .iter()
                .map(|(.., penalty)| *penalty)
                .max()
                .unwrap_or(0);
            let Some(last) = polled.iter().rposition(|(_, is, _)| *is) else {
                assert!(highest < u64::from(SUPPRESS), "{prefix}");
                continue;
            };
            let history = records.get(&prefix.parse().unwrap()).unwrap();
            let (at, hot) = history.last().unwrap();
            let penalty = &hot.penalties[0];
            assert!(
                penalty.suppressed(&frr, *at),
                "{name} {prefix}: suppressed by its last announcement"
            );
            let end = penalty.reuse_at(&frr, *at).unwrap();
            if let Some((seen, ..)) = polled.get(last + 1) {
                // FRR let it go between two polls.
                let held = polled[last].0;
                assert!(
                    *seen + slack >= end && held.since(end) <= LATE + slack,
                    "{name} {prefix}: computed {end}, FRR held it at {held} and not at {seen}"
                );
                ended += 1;
            }
        }
        assert!(ended >= 3, "{name}: {ended} suppressions ended");
    }
}
