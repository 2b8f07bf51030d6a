//! One ARP packet.
#![no_main]

use flapscope::decode::arp;
use flapscope::event::frame::Frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = arp::decode(bytes, &Frame::default());
});
