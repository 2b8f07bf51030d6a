//! The envelopes of every link type around any octets, and what is said of a frame that nothing was read from.
#![no_main]

use flapscope::event::link_type;
use flapscope::input::file::unread::Unread;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&link, frame)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let link = u16::from_be_bytes(link) % 320;
    let _ = link_type::inside(link, frame);
    let mut unread = Unread::default();
    unread.add(link, frame);
    let _ = unread.note();
});
