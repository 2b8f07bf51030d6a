//! `flapscope record`: what `live` sees, written down and not judged. The same collectors, the same merge, another end.

use super::live::{self, Purpose};
use crate::cli::{Live, RecordOptions};
use crate::input::netlink;

/// Records until ^C, SIGTERM, hang-up or the end of `--for`.
pub fn run(options: &RecordOptions) -> anyhow::Result<u8> {
    let options = Live {
        capture: options.capture.clone(),
        netns: options.netns.clone(),
        bmp: options.bmp.clone(),
        write: Some(options.write.clone()),
        ring: options.ring.clone(),
        duration: options.duration,
        headless: true,
        netlink_buffer: netlink::BUFFER,
        ..Live::default()
    };
    live::run_for(&options, Purpose::Record)
}
