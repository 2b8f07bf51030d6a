//! A buffer of netlink messages, in either byte order (the first length says which), twice: dumps are remembered.
#![no_main]

mod common;

use flapscope::decode::netlink::NetlinkDecoder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = NetlinkDecoder::new();
    for _ in 0..2 {
        decoder.messages(bytes, &common::stamp(), &mut |_| {});
    }
});
