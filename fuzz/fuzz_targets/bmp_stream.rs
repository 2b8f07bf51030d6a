//! A BMP stream in any cut: the first octet is the size of the segments.
#![no_main]

mod common;

use flapscope::decode::framing::{BmpStream, looks_like_bmp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else {
        return;
    };
    let _ = looks_like_bmp(bytes);
    let mut stream = BmpStream::new(None, 1);
    let stamp = common::stamp();
    for chunk in bytes.chunks(usize::from(*cut).max(1)) {
        stream.data(chunk, &stamp, &mut |_| {});
    }
    stream.lost(None, &stamp, &mut |_| {});
    stream.data(bytes, &stamp, &mut |_| {});
    stream.closed(&stamp, &mut |_| {});
});
