//! Frames of any link type: the first two octets are the link type, then frames behind two octets of length.
#![no_main]

mod common;

use flapscope::decode::Decoder;
use flapscope::input::{Format, Item, Record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&link, mut bytes)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let stamp = common::stamp();
    let mut decoder = Decoder::new();
    while let Some((&length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(length)).min(rest.len());
        let (frame, rest) = rest.split_at(length);
        bytes = rest;
        let record = Record {
            at: stamp.at,
            source: stamp.source,
            locator: stamp.locator,
            format: Format::Packet(u16::from_be_bytes(link)),
            bytes: frame,
            wire_len: frame.len() as u32,
        };
        decoder.item(&Item::Record(record), &mut |_| {});
    }
    decoder.finish(&mut |_| {});
});
