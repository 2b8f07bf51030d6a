//! Compression, recognised by content: gzip, bzip2, zstd, xz, each with concatenated members.
//!
//! The decompressor runs on a thread of its own behind a short bounded channel, so that it overlaps with the analysis (bzip2 gives
//! 50 MB/s per core, everything behind it is faster). A damaged tail is an `Err` after all octets before it.

use std::io::{self, Cursor, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use serde::Serialize;

/// Memory the xz decoder may take for one block: `xz -9` needs 65 MiB.
const XZ_LIMIT_KIB: u32 = 128 << 10;

/// Decompressed octets in one message from the thread.
const CHUNK: usize = 256 << 10;

/// Messages in flight: enough to hide a hiccup of either side, 1 MiB in all.
const DEPTH: usize = 4;

/// How a file is packed.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    Gzip,
    Bzip2,
    Zstd,
    Xz,
}

impl Compression {
    /// By the first octets (10 suffice).
    pub fn recognise(head: &[u8]) -> Option<Compression> {
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Compression::Gzip),
            // A block's magic (the digits of pi) or, for an empty file, the trailer's (of its square root).
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, ..] => {
                Some(Compression::Bzip2)
            }
            // A frame (RFC 8878 §3.1.1) or a skippable frame before it (§3.1.2).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                Some(Compression::Zstd)
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Compression::Xz),
            _ => None,
        }
    }

    /// Its name, as in file suffixes.
    pub fn suffix(self) -> &'static str {
        match self {
            Compression::Gzip => "gz",
            Compression::Bzip2 => "bz2",
            Compression::Zstd => "zst",
            Compression::Xz => "xz",
        }
    }
}

/// Looks at the first octets of `raw` and puts the decompressor behind it, on a thread if `threaded`.
pub fn unpack(
    mut raw: Box<dyn Read + Send>,
    threaded: bool,
) -> io::Result<(Box<dyn Read + Send>, Option<Compression>)> {
    let mut head = Vec::with_capacity(10);
    raw.by_ref().take(10).read_to_end(&mut head)?;
    let compression = Compression::recognise(&head);
    let whole = Cursor::new(head).chain(raw);
    let plain: Box<dyn Read + Send> = match compression {
        None => return Ok((Box::new(whole), None)),
        Some(Compression::Gzip) => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        Some(Compression::Bzip2) => Box::new(bzip2::read::MultiBzDecoder::new(whole)),
        Some(Compression::Zstd) => Box::new(zstd::stream::read::Decoder::new(whole)?),
        Some(Compression::Xz) => Box::new(lzma_rust2::XzReader::new_mem_limit(
            io::BufReader::with_capacity(CHUNK, whole),
            true,
            XZ_LIMIT_KIB,
        )),
    };
    let plain = if threaded {
        Box::new(Threaded::new(plain)?)
    } else {
        plain
    };
    Ok((plain, compression))
}

/// A reader that another thread drives.
struct Threaded {
    full: Receiver<io::Result<Vec<u8>>>,
    empty: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    position: usize,
}

impl Threaded {
    fn new(reader: Box<dyn Read + Send>) -> io::Result<Threaded> {
        let (send_full, full) = sync_channel(DEPTH);
        let (empty, take_empty) = channel();
        std::thread::Builder::new()
            .name("unpack".into())
            .spawn(move || pump(reader, &send_full, &take_empty))?;
        Ok(Threaded {
            full,
            empty,
            chunk: Vec::new(),
            position: 0,
        })
    }
}

/// Decompresses until the end, an error, or until nobody listens any more.
fn pump(
    mut reader: Box<dyn Read + Send>,
    full: &SyncSender<io::Result<Vec<u8>>>,
    empty: &Receiver<Vec<u8>>,
) {
    loop {
        let mut chunk = empty.try_recv().unwrap_or_default();
        chunk.resize(CHUNK, 0);
        let mut filled = 0;
        let mut failed = None;
        let mut ended = false;
        while let Some(room) = chunk.get_mut(filled..).filter(|room| !room.is_empty()) {
            match reader.read(room) {
                Ok(0) => {
                    ended = true;
                    break;
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        chunk.truncate(filled);
        if filled > 0 && full.send(Ok(chunk)).is_err() {
            return;
        }
        if let Some(error) = failed {
            let _ = full.send(Err(error)); // nobody listens: nobody wants to know
            return;
        }
        if ended {
            return;
        }
    }
}

impl Read for Threaded {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.chunk.len() {
            match self.full.recv() {
                Ok(next) => {
                    let old = std::mem::replace(&mut self.chunk, next?);
                    self.position = 0;
                    let _ = self.empty.send(old); // the thread has ended: it needs no buffer
                }
                Err(_) => return Ok(0),
            }
        }
        let rest = self.chunk.get(self.position..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        let (Some(to), Some(from)) = (buf.get_mut(..count), rest.get(..count)) else {
            return Ok(0);
        };
        to.copy_from_slice(from);
        self.position += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn read(packed: Vec<u8>, threaded: bool) -> (Vec<u8>, bool) {
        let (mut reader, _) = unpack(Box::new(Cursor::new(packed)), threaded).unwrap();
        let mut out = Vec::new();
        let failed = reader.read_to_end(&mut out).is_err();
        (out, failed)
    }

    #[test]
    fn concatenated_members_are_read_to_the_last() {
        let bz = |data: &[u8]| {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        };
        let zst = |data: &[u8]| zstd::stream::encode_all(data, 1).unwrap();
        for pack in [&gzip as &dyn Fn(&[u8]) -> Vec<u8>, &bz, &zst] {
            for threaded in [false, true] {
                let packed = [pack(b"one "), pack(b"two")].concat();
                assert_eq!(read(packed, threaded), (b"one two".to_vec(), false));
            }
        }
    }

    #[test]
    fn a_cut_member_gives_what_it_has_and_then_an_error() {
        let plain: Vec<u8> = (0..200_000u32).flat_map(u32::to_be_bytes).collect();
        let mut packed = gzip(&plain);
        packed.truncate(packed.len() / 2);
        for threaded in [false, true] {
            let (out, failed) = read(packed.clone(), threaded);
            assert!(failed && !out.is_empty() && plain.starts_with(&out));
        }
    }
}
