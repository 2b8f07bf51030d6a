//! One BFD payload.
#![no_main]

use flapscope::decode::{UdpContext, bfd};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = bfd::decode(bytes, &UdpContext::default());
});
