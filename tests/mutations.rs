//! Every way in under mutated bytes, on the stable toolchain: nothing panics, hangs or grows, whatever is cut, flipped, spliced or repeated.
//!
//! What `cargo fuzz` finds with coverage on a nightly toolchain, this keeps from coming back in every build. Seeds are the repository's own
//! captures; each run is a number, so that a failure names what repeats it. `FLAPSCOPE_MUTATIONS` is the number of inputs of each way in (10,000,000
//! once for a release; some hundred here, as a build of a developer is slow). `FLAPSCOPE_MUTATION` runs a single one again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that cannot go on ends here
#![allow(clippy::disallowed_methods)] // a hang is told from slowness by a clock

mod support;

use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use flapscope::config::Config;
use flapscope::control::protocol::Request;
use flapscope::decode::Decoder;
use flapscope::detect::Settings;
use flapscope::engine::Engine;
use flapscope::filter::Filter;
use flapscope::input::file::OpenOptions;
use flapscope::input::merge::InputSet;
use flapscope::input::vrps;
use flapscope::output::alert::{Alert, Host};
use support::{Random, inputs_of, own_scenarios};

/// Inputs of each way in, where nothing else is asked for.
const FEW: u64 = 300;
/// Octets of a seed that are kept: headers and the first packets are where decoders differ.
const SEED: usize = 16 << 10;
/// No input of this size may take so long, in a slow build on a busy machine either.
const HANG: Duration = Duration::from_secs(20);

fn how_many() -> (u64, u64) {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    match number("FLAPSCOPE_MUTATION") {
        Some(one) => (one, one + 1),
        None => (0, number("FLAPSCOPE_MUTATIONS").unwrap_or(FEW)),
    }
}

fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    const EDGES: [&[u8]; 8] = [
        &[0],
        &[0xff],
        &[0x7f, 0xff],
        &[0xff, 0xff],
        &[0, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff],
        &[0x80, 0, 0, 0],
        &[0xff; 8],
    ];
    let pick = |random: &mut Random| &seeds[random.below(seeds.len() as u64) as usize];
    let mut bytes = pick(random).clone();
    for _ in 0..=random.below(6) {
        let len = bytes.len().max(1) as u64;
        let at = random.below(len) as usize;
        match random.below(8) {
            0 | 1 => {
                if let Some(octet) = bytes.get_mut(at) {
                    *octet ^= 1 << random.below(8);
                }
            }
            2 => bytes.truncate(at),
            3 => {
                let edge = EDGES[random.below(8) as usize];
                for (to, from) in bytes.iter_mut().skip(at).zip(edge) {
                    *to = *from;
                }
            }
            4 => {
                let end = (at + random.below(64) as usize).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            5 => {
                let end = (at + random.below(512) as usize).min(bytes.len());
                let piece = bytes[at.min(end)..end].to_vec();
                let to = random.below(len) as usize;
                bytes.splice(to.min(bytes.len())..to.min(bytes.len()), piece);
            }
            6 => {
                let other = pick(random);
                let from = random.below(other.len().max(1) as u64) as usize;
                let piece = other[from..(from + 256).min(other.len())].to_vec();
                let end = (at + piece.len()).min(bytes.len());
                bytes.splice(at.min(end)..end, piece);
            }
            _ => {
                if let Some(octet) = bytes.get_mut(at) {
                    *octet = random.next() as u8;
                }
            }
        }
    }
    bytes.truncate(2 * SEED);
    bytes
}

/// Runs `way` over mutated seeds; names the number of whatever it cannot bear.
fn bear(name: &str, seeds: &[Vec<u8>], way: impl Fn(&[u8])) {
    assert!(!seeds.is_empty(), "{name}: no seeds");
    let (from, to) = how_many();
    for number in from..to {
        let mut random = Random(number);
        let bytes = mutate(&mut random, seeds);
        let begun = Instant::now();
        let borne = catch_unwind(AssertUnwindSafe(|| way(&bytes)));
        assert!(borne.is_ok(), "{name}: FLAPSCOPE_MUTATION={number} panics");
        let took = begun.elapsed();
        assert!(
            took < HANG,
            "{name}: FLAPSCOPE_MUTATION={number} took {took:?}"
        );
    }
}

/// The first octets of the captures, as they are and unpacked.
fn captures() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for directory in own_scenarios() {
        for (name, bytes) in inputs_of(&directory) {
            let mut plain = bytes.clone();
            if name.ends_with(".gz") {
                plain.clear();
                let packed = flate2::read::MultiGzDecoder::new(bytes.as_slice());
                packed.take(SEED as u64).read_to_end(&mut plain).unwrap();
                seeds.push(bytes[..bytes.len().min(SEED)].to_vec());
            }
            plain.truncate(SEED);
            seeds.push(plain);
        }
    }
    seeds
}

#[test]
fn whole_files_of_every_container_through_the_whole_pipeline() {
    bear("files", &captures(), |bytes| {
        let reader: Box<dyn Read + Send> = Box::new(Cursor::new(bytes.to_vec()));
        let readers = vec![("in".to_owned(), reader)];
        let Ok(mut inputs) = InputSet::from_readers(readers, &OpenOptions::default()) else {
            return;
        };
        let (mut engine, mut decoder) = (Engine::new(&Settings::default()), Decoder::new());
        let mut told = Vec::new();
        while let Some(item) = inputs.next() {
            decoder.item(&item, &mut |event| engine.handle(event, &mut told));
        }
        decoder.finish(&mut |event| engine.handle(event, &mut told));
        engine.finish(&mut told);
        for told in &told {
            let line = serde_json::to_string(&Alert::new(told, &Host::default())).unwrap();
            // Law 11: what acts on a terminal is an escape by now.
            assert!(!line.chars().any(char::is_control), "{line}");
        }
    });
}

#[test]
fn requests_at_the_control_socket() {
    let seeds: Vec<Vec<u8>> = [
        r#"{"do":"incidents","filter":"kind:link and severity>=warning"}"#,
        r#"{"do":"subscribe","filter":"prefix:192.0.2.0/24"}"#,
        r#"{"do":"show","id":"i-123456"}"#,
        r#"{"do":"annotate","annotation":{"text":"maintenance"}}"#,
        r#"{"do":"attach","screen":1}"#,
        r#"{"do":[[[[[[[[{"a":1e999}]]]]]]]]}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    bear("control", &seeds, |bytes| {
        let _ = serde_json::from_slice::<Request>(bytes);
    });
}

#[test]
fn configurations() {
    let seeds: Vec<Vec<u8>> = [
        "own-prefixes = [\"192.0.2.0/24\"]\nown-as = [65001]\n",
        "[[maintenance]]\nfrom = 2026-01-01T00:00:00Z\nto = 2026-01-01T01:00:00Z\n",
        "dhcp-servers = [\"192.0.2.1\"]\nrouters = [\"fe80::1\"]\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    bear("config", &seeds, |bytes| {
        if let Err(error) = Config::parse(&String::from_utf8_lossy(bytes), "in") {
            let told = error.to_string();
            assert!(told.len() < 4096, "{told}");
        }
    });
}

#[test]
fn filters() {
    let seeds: Vec<Vec<u8>> = [
        "kind:link.flap and not severity>=warning",
        "(prefix:192.0.2.0/24 or peer:192.0.2.1) and src:eth0",
        "not (not (as:65001 or \"quoted text\"))",
        "((((((((((((((((a))))))))))))))))",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    bear("filter", &seeds, |bytes| {
        let _ = String::from_utf8_lossy(bytes).parse::<Filter>();
    });
}

#[test]
fn lists_of_vrps() {
    let seeds: Vec<Vec<u8>> = [
        r#"{"roas":[{"asn":"AS65001","prefix":"192.0.2.0/24","maxLength":24,"ta":"test"}]}"#,
        r#"{"metadata":{"generated":1},"roas":[{"asn":65001,"prefix":"2001:db8::/32","maxLength":48}]}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    bear("vrps", &seeds, |bytes| {
        let _ = vrps::json::parse(bytes);
    });
}
