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
        crate::detect::mac_move::register(&settings, &mut detectors);
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

/// Octets of messages changed at random (but the same in every run) reach decoder, tables and detectors without a panic.
#[test]
fn damaged_messages_are_survived() {
    let ends = [("192.0.2.1@3", 3u32), ("203.0.113.1@4", 4)];
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut buffers: Vec<Vec<u8>> = Vec::new();
    for kind in [16u16, 17, 20, 21, 24, 25, 28, 29, 32, 33, 104, 105] {
        for length in [0usize, 8, 12, 16, 40, 64, 120] {
            let mut message = ((16 + length) as u32).to_ne_bytes().to_vec();
            message.extend(kind.to_ne_bytes());
            message.extend([0; 10]);
            message.extend(std::iter::repeat_n(0u8, length));
            buffers.push(message);
        }
    }
    let mut lab = Lab::new();
    for (_, ifindex) in ends {
        let up = crate::event::netlink::IFF_UP | crate::event::netlink::IFF_RUNNING;
        let link = testing::link_event(ifindex, "eth", up);
        lab.at(0, EventKind::Link(Box::new(link)));
    }
    let mut decoder = NetlinkDecoder::new();
    for round in 0..20_000i64 {
        let mut message = buffers[random() as usize % buffers.len()].clone();
        let families = [2u8, 10, 7, 0];
        if let Some(family) = message.get_mut(16) {
            *family = families[random() as usize % families.len()];
        }
        // Plausible attributes at plausible places, then a few changed octets.
        let mut at = 28;
        while at + 8 <= message.len() {
            let size = [8u16, 8, 20][random() as usize % 3];
            message[at..at + 2].copy_from_slice(&size.to_ne_bytes());
            message[at + 2] = random() as u8 % 32;
            message[at + 4] = random() as u8 % 8;
            at += usize::from(size);
        }
        for _ in 0..random() % 4 {
            let at = random() as usize % message.len();
            message[at] = random() as u8;
        }
        let event = testing::event(round * 3_000_000, EventKind::Deadline);
        let stamp = Stamp {
            at: event.at,
            source: SourceId(0),
            locator: event.locator,
        };
        let mut events = Vec::new();
        decoder.messages(&message, &stamp, &mut |event| events.push(event.clone()));
        events.iter().for_each(|event| lab.event(event));
    }
    lab.finish();
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
