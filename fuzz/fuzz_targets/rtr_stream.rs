//! An RTR session in any cut: the first octet is the size of the segments, its lowest bit who sends.
#![no_main]

mod common;

use flapscope::decode::framing::{RtrStream, looks_like_rtr};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else {
        return;
    };
    let _ = looks_like_rtr(bytes);
    let cache = std::net::SocketAddr::from(([192, 0, 2, 1], 323));
    let mut stream = RtrStream::new(cache, None);
    let stamp = common::stamp();
    let from_cache = cut & 1 == 0;
    for chunk in bytes.chunks(usize::from(*cut).max(1)) {
        stream.data(from_cache, chunk, &stamp, &mut |_| {});
    }
    stream.lost(from_cache, None, &stamp, &mut |_| {});
    stream.data(!from_cache, bytes, &stamp, &mut |_| {});
    stream.closed(true, None, &stamp, &mut |_| {});
});
