//! Drives the kernel's tables and their detectors in tests: with hand-made events, or with captures (`FLAPSCOPE_CORPUS`).

use std::io::Read;

use crate::decode::Stamp;
use crate::decode::netlink::NetlinkDecoder;
use crate::detect::{Board, Detector, Finding, Kind, Settings, address, link, neighbor, route};
use crate::event::source::Unit;
use crate::event::{Event, EventKind, InputId, Locator, SourceId, Timestamp};
use crate::state::routes::testing;
use crate::state::{Changes, NetState, Observation};

/// State, detectors and board, driven as the engine does.
pub(crate) struct Lab {
    pub(crate) net: NetState,
    pub(crate) board: Board,
    detectors: Vec<Box<dyn Detector>>,
    changes: Changes,
    now: Timestamp,
}

impl Lab {
    pub(crate) fn new() -> Lab {
        let settings = Settings::default();
        let mut detectors = Vec::new();
        link::register(&settings, &mut detectors);
        address::register(&settings, &mut detectors);
        neighbor::register(&settings, &mut detectors);
        route::register(&settings, &mut detectors);
        Lab {
            net: NetState::default(),
            board: Board::default(),
            detectors,
            changes: Changes::default(),
            now: Timestamp(0),
        }
    }

    /// Feeds one event at `ms` milliseconds.
    pub(crate) fn at(&mut self, ms: i64, kind: EventKind) {
        self.event(&testing::event(ms * 1_000_000, kind));
    }

    pub(crate) fn event(&mut self, event: &Event) {
        self.advance(event.at);
        self.net.apply(event, &mut self.changes);
        self.observe(event);
        self.now = event.at;
    }

    /// Fires every deadline up to `to`, earliest first, the model's before the detectors'.
    pub(crate) fn advance(&mut self, to: Timestamp) {
        loop {
            let model = self.net.next_deadline();
            let own = self
                .detectors
                .iter()
                .filter_map(|d| d.next_deadline())
                .min();
            let Some(next) = model.into_iter().chain(own).min().filter(|t| *t <= to) else {
                return;
            };
            if model == Some(next) {
                self.net.expire(next, &mut self.changes);
                if !self.changes.is_empty() {
                    self.observe(&Event::deadline(next));
                }
                continue;
            }
            for detector in &mut self.detectors {
                if detector.next_deadline().is_some_and(|t| t <= next) {
                    detector.expire(next, &self.net, &mut self.board);
                    assert!(detector.next_deadline().is_none_or(|t| t > next), "stuck");
                }
            }
        }
    }

    pub(crate) fn finish(&mut self) {
        for detector in &mut self.detectors {
            detector.finish(self.now, &self.net, &mut self.board);
        }
    }

    pub(crate) fn findings(&self, kind: Kind) -> Vec<&Finding> {
        self.board
            .of_kind(kind)
            .map(|(_, finding)| finding)
            .collect()
    }

    fn observe(&mut self, event: &Event) {
        let seen = Observation {
            event,
            changes: &self.changes,
        };
        let class = event.kind.class();
        let always = matches!(event.kind, EventKind::Deadline);
        for detector in &mut self.detectors {
            if always || detector.wants().meets(class) {
                detector.observe(&seen, &self.net, &mut self.board);
            }
        }
    }
}

/// Prints what is found in every netlink capture below `$FLAPSCOPE_CORPUS`; without it there is nothing to do.
#[test]
fn captures_of_the_corpus_can_be_read_aloud() {
    let Ok(corpus) = std::env::var("FLAPSCOPE_CORPUS") else {
        return;
    };
    let mut scenarios: Vec<_> = std::fs::read_dir(corpus)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    scenarios.sort();
    for scenario in scenarios {
        for name in ["h.nl.pcap", "h.nl.pcap.gz"] {
            let Ok(mut bytes) = std::fs::read(scenario.join(name)) else {
                continue;
            };
            if name.ends_with("gz") {
                let mut plain = Vec::new();
                flate2::read::GzDecoder::new(&bytes[..])
                    .read_to_end(&mut plain)
                    .unwrap();
                bytes = plain;
            }
            println!("== {}", scenario.file_name().unwrap().to_string_lossy());
            read_aloud(&bytes);
        }
    }
}

fn read_aloud(bytes: &[u8]) {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut lab = Lab::new();
    let mut decoder = NetlinkDecoder::new();
    let (mut at, mut number, mut start) = (24, 0, None);
    while at + 16 <= bytes.len() {
        let time = Timestamp::from_parts(i64::from(word(at)), i64::from(word(at + 4)));
        let size = word(at + 8) as usize;
        number += 1;
        start.get_or_insert(time);
        let stamp = Stamp {
            at: time,
            source: SourceId(0),
            locator: Locator {
                input: InputId(0),
                unit: Unit::Frame,
                number,
                offset: 0,
            },
        };
        let messages = &bytes[at + 32..at + 16 + size];
        decoder.messages(messages, &stamp, &mut |event| {
            assert!(!matches!(event.kind, EventKind::Malformed(_)), "{event:?}");
            lab.event(event);
        });
        at += 16 + size;
    }
    lab.finish();
    let start = start.unwrap_or_default();
    for (_, f) in lab.board.iter() {
        let subjects: Vec<String> = f.subjects.iter().take(6).map(|s| s.to_string()).collect();
        let evidence: Vec<u64> = f.evidence.kept().iter().map(|l| l.number).collect();
        println!(
            "  {:?} {} x{} {:.3}..{:.3} {:?} {:?} {subjects:?} ended={:?} broken={:?} routes={} ev={evidence:?}\n     {}  [{}]",
            f.severity,
            f.kind,
            f.count,
            f.first.since(start).as_secs_f64(),
            f.last.since(start).as_secs_f64(),
            f.reason,
            f.fidelity,
            f.ended.map(|t| t.since(start).as_secs_f64()),
            f.broken,
            f.affected.routes.len(),
            f.explain,
            f.actor.as_deref().unwrap_or("-"),
        );
        assert!(f.first <= f.last);
        assert!(f.evidence.total > 0 || f.fidelity == crate::detect::Fidelity::Inferred);
    }
}
