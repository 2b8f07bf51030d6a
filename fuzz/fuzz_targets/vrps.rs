//! A list of VRPs as validators write it.
#![no_main]

use flapscope::input::vrps;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = vrps::json::parse(bytes);
});
