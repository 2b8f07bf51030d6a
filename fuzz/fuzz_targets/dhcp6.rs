//! One DHCPv6 payload.
#![no_main]

use flapscope::decode::{UdpContext, dhcp6};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = dhcp6::decode(bytes, &UdpContext::default());
});
