//! One MRT record twice (the peer index is remembered), and its lines in bgpdump's layout.
#![no_main]

mod common;

use flapscope::decode::mrt::{MrtDecoder, record_time, record_type};
use flapscope::output::bgpdump::BgpdumpWriter;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = record_time(bytes);
    let mut decoder = MrtDecoder::new();
    let mut writer = BgpdumpWriter::new(std::io::sink());
    writer.mrt_record(record_type(bytes));
    for _ in 0..2 {
        decoder.record(bytes, &common::stamp(), &mut |event| {
            let _ = writer.event(event);
        });
    }
});
