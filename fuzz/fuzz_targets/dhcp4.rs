//! One DHCPv4 payload.
#![no_main]

use flapscope::decode::{UdpContext, dhcp4};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = dhcp4::decode(bytes, &UdpContext::default());
});
