//! A BGP connection in any cut: the first octet is the size of the segments, its lowest bit puts losses between them.
#![no_main]

mod common;

use flapscope::decode::framing::BgpConnection;
use flapscope::event::frame::Frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else {
        return;
    };
    let ends = ([192, 0, 2, 1], 40_000).into();
    let mut connection = BgpConnection::new(ends, ([192, 0, 2, 2], 179).into());
    let stamp = common::stamp();
    for (at, chunk) in bytes.chunks(usize::from(*cut).max(1)).enumerate() {
        connection.data(at % 2 == 0, chunk, &Frame::default(), &stamp, &mut |_| {});
        if cut & 1 == 1 {
            connection.lost(at % 2 == 0, None, &stamp, &mut |_| {});
        }
    }
});
