//! Speed of the MRT decoder and of bgpdump's layout, on a real updates file taken forty times (285 MB).
//!
//! `FLAPSCOPE_CORPUS=… cargo bench --bench decode`; without the corpus it says so and ends. Prints thread CPU seconds, best of five.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what cannot go on ends here
#![allow(clippy::print_stdout, clippy::print_stderr)] // its output is for people

use std::fs;
use std::hint::black_box;
use std::io::Read;

use flapscope::decode::Stamp;
use flapscope::decode::mrt::{HEADER, MrtDecoder, record_time, record_type};
use flapscope::event::bgp::BgpMessage;
use flapscope::event::source::Unit;
use flapscope::event::{Event, EventKind, InputId, Locator, SourceId, Timestamp};
use flapscope::output::bgpdump::BgpdumpWriter;

const COPIES: usize = 40;
const ROUNDS: usize = 5;

fn main() {
    let Some(path) = newest_updates() else {
        eprintln!("SKIPPED: FLAPSCOPE_CORPUS names no corpus with real/mrt");
        return;
    };
    let mut one = Vec::new();
    let packed = fs::File::open(&path).expect("the file was listed");
    flate2::read::MultiGzDecoder::new(packed)
        .read_to_end(&mut one)
        .expect("a whole gzip file");
    let bytes = one.repeat(COPIES);
    println!("{}, {} octets", path.display(), bytes.len());

    let mut sums = [0_u64; 4];
    let seconds = best(|| {
        sums = [0; 4];
        decode(&bytes, |_, event| add(&mut sums, event));
    });
    let [announced, withdrawn, numbers, communities] = sums;
    println!(
        "decode   {seconds:.3} CPU s: {announced} announced, {withdrawn} withdrawn, sums {numbers} {communities}; {:.1} M prefixes/s",
        (announced + withdrawn) as f64 / seconds / 1e6
    );
    let seconds = best(|| {
        let mut writer = BgpdumpWriter::new(std::io::sink());
        decode(&bytes, |kind, event| {
            writer.mrt_record(Some(kind));
            writer.event(event).expect("a sink takes everything");
        });
        black_box(writer.finish().is_ok());
    });
    println!("bgpdump  {seconds:.3} CPU s");
}

fn newest_updates() -> Option<std::path::PathBuf> {
    let root = std::env::var_os("FLAPSCOPE_CORPUS")?;
    let mut files: Vec<_> = fs::read_dir(std::path::Path::new(&root).join("real/mrt"))
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains("ris-updates"))
        .collect();
    files.sort();
    files.pop()
}

fn decode(mut bytes: &[u8], mut emit: impl FnMut((u16, u16), &Event)) {
    let mut decoder = MrtDecoder::new();
    let mut number = 0;
    while let Some(length) = bytes.get(8..HEADER) {
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let Some((record, rest)) = bytes.split_at_checked(HEADER + length) else {
            return;
        };
        bytes = rest;
        number += 1;
        let stamp = Stamp {
            at: record_time(record).unwrap_or(Timestamp(0)),
            source: SourceId(0),
            locator: Locator {
                input: InputId(0),
                unit: Unit::Record,
                number,
                offset: 0,
            },
        };
        let kind = record_type(record).unwrap_or_default();
        decoder.record(record, &stamp, &mut |event| emit(kind, event));
    }
}

/// Looks at every prefix, AS number and community, so that nothing can be left out.
fn add(sums: &mut [u64; 4], event: &Event) {
    if let EventKind::Bgp(bgp) = &event.kind
        && let BgpMessage::Update(update) = &bgp.message
    {
        sums[0] += update.announced.len() as u64;
        sums[1] += update.withdrawn.len() as u64;
        for key in update.announced.iter().chain(&update.withdrawn) {
            sums[2] = sums[2].wrapping_add(u64::from(key.prefix.len()));
        }
        for word in &update.attributes.as_path.0 {
            sums[2] = sums[2].wrapping_add(u64::from(*word));
        }
        for community in &update.attributes.communities {
            sums[3] = sums[3].wrapping_add(u64::from(*community));
        }
    }
}

fn best(mut run: impl FnMut()) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let before = cpu();
            run();
            cpu() - before
        })
        .fold(f64::INFINITY, f64::min)
}

/// CPU seconds of this thread.
fn cpu() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos: f64 = text
        .split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or_default();
    nanos / 1e9
}
