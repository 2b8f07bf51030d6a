//! One BGP message under every encoding, and the inference between them.
#![no_main]

use flapscope::decode::bgp::infer::Inference;
use flapscope::decode::bgp::{Encoding, FamilySet, message};
use flapscope::event::bgp::{BgpMessage, Update};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut out = BgpMessage::Keepalive;
    for as4 in [false, true] {
        for set in [FamilySet::EMPTY, FamilySet::ALL] {
            let _ = message(bytes, &Encoding::known(as4, set), &mut out);
        }
    }
    let mut inference = Inference::default();
    let mut update = Update::default();
    for doubt in [false, true] {
        let _ = inference.update(bytes, &Encoding::default(), doubt, &mut update);
    }
});
