//! One ICMPv6 message.
#![no_main]

use flapscope::decode::{NdContext, nd};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = nd::decode(bytes, &NdContext::default());
});
