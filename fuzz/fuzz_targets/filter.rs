//! The filter language.
#![no_main]

use flapscope::filter::Filter;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = String::from_utf8_lossy(bytes).parse::<Filter>();
});
