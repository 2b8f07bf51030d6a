//! The spool: what was handed over, on disk, until every sink has it.
//!
//! Segments `NUMBER.spool` hold records one behind the other: length and CRC-32 (4 octets each, little endian), JSON, a line feed (`strings`
//! shows them). Records are numbered through; a segment's name is the number of its first. The sum covers number and text, so a record
//! that a torn write left half, or that belongs elsewhere, is none. Segments are only ever appended to; one that every cursor is behind is
//! removed. A cursor is a small file of its own, replaced whole: a sink's next number, written after its receiver took a record.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A segment is left for a new one at this size: small enough to be removed soon, large enough that a storm makes a handful.
const SEGMENT: u64 = 4 << 20;
/// Octets of a record that are believed: a hundred times a large alert.
const MAX_RECORD: u32 = 4 << 20;
const HEADER: usize = 8;
const SUFFIX: &str = "spool";
/// Alerts tell about a network; nobody but the service reads them here.
const MODE: u32 = 0o600;

/// Where a record is.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Place {
    /// The number of its segment's first record.
    segment: u64,
    offset: u64,
    len: u32,
}

#[derive(Debug)]
struct Segment {
    first: u64,
    records: u64,
    octets: u64,
}

/// A spool directory.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    segments: Vec<Segment>,
    head: Option<File>,
    next: u64,
    dirty: bool,
    limit: u64,
}

/// Hears of each whole record: number, place, text.
pub type Hears<'a> = &'a mut dyn FnMut(u64, Place, &str);

/// How far a sink is.
#[derive(Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Cursor {
    /// The first number that it does not have.
    pub next: u64,
    /// Since when its receiver is told to be dead, and under which id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<String>,
}

impl Spool {
    /// Opens the spool in `folder` and tells what is in it. It keeps at most `limit` octets. The number beside it: octets at the ends of
    /// segments that are no records, torn by a crash or damaged.
    pub fn open(folder: &Path, limit: u64, hears: Hears<'_>) -> io::Result<(Spool, u64)> {
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let mut numbers: Vec<u64> = fs::read_dir(folder)?
            .filter_map(|entry| {
                let name = entry.ok()?.file_name();
                let (number, suffix) = name.to_str()?.split_once('.')?;
                (suffix == SUFFIX).then(|| number.parse().ok()).flatten()
            })
            .collect();
        numbers.sort_unstable();
        let mut spool = Spool {
            folder: folder.to_owned(),
            segments: Vec::new(),
            head: None,
            next: 1,
            dirty: false,
            limit,
        };
        let mut damaged = 0;
        for first in numbers {
            damaged += spool.scan(first, hears)?;
        }
        Ok((spool, damaged))
    }

    /// Reads a segment up to its end, or to the first thing that is no record.
    fn scan(&mut self, first: u64, hears: Hears<'_>) -> io::Result<u64> {
        let mut octets = Vec::new();
        let path = self.path(first);
        // Twice a segment and a record: what is larger was not written by us, and its rest is not read.
        let most = 2 * SEGMENT + u64::from(MAX_RECORD);
        File::open(&path)?.take(most).read_to_end(&mut octets)?;
        let mut at = 0;
        let mut number = first;
        while let Some(len) = octets.get(at..).and_then(|rest| record(rest, number)) {
            let from = at + HEADER;
            let text = octets.get(from..from + len).unwrap_or_default();
            let place = Place {
                segment: first,
                offset: from as u64,
                len: len as u32,
            };
            if let Ok(text) = std::str::from_utf8(text) {
                hears(number, place, text);
            }
            number += 1;
            at = from + len + 1;
        }
        self.segments.push(Segment {
            first,
            records: number - first,
            octets: at as u64,
        });
        self.next = self.next.max(number);
        Ok((octets.len() - at) as u64)
    }

    fn path(&self, first: u64) -> PathBuf {
        self.folder.join(format!("{first:020}.{SUFFIX}"))
    }

    /// The number of the next record.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The next number is no lower than this: a cursor remembers more than an emptied folder does, and what is kept elsewhere while the
    /// disk is full has its number, too.
    pub fn begin_at(&mut self, number: u64) {
        if number > self.next {
            self.next = number;
            // A segment's numbers have no holes.
            self.head = None;
        }
    }

    /// Octets on disk.
    pub fn octets(&self) -> u64 {
        self.segments.iter().map(|segment| segment.octets).sum()
    }

    /// Adds a record. A failed write leaves no trace: what was written of it is cut off, or its segment is not used any more.
    pub fn append(&mut self, text: &str) -> io::Result<(u64, Place)> {
        let len = u32::try_from(text.len())
            .ok()
            .filter(|len| *len <= MAX_RECORD)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let number = self.next;
        if self.head.is_none() || self.segments.last().is_some_and(|s| s.octets >= SEGMENT) {
            self.begin_segment()?;
        }
        let (Some(head), Some(segment)) = (&self.head, self.segments.last_mut()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mut octets = Vec::with_capacity(text.len() + HEADER + 1);
        octets.extend(len.to_le_bytes());
        octets.extend(sum(number, text.as_bytes()).to_le_bytes());
        octets.extend(text.as_bytes());
        octets.push(b'\n');
        if let Err(error) = head.write_all_at(&octets, segment.octets) {
            let cut = head.set_len(segment.octets);
            if segment.octets == 0 {
                // An empty segment for each try would be left behind.
                let _ = fs::remove_file(self.path(number)); // as good as empty
                self.segments.pop();
                self.head = None;
            } else if cut.is_err() {
                self.head = None;
            }
            return Err(error);
        }
        let place = Place {
            segment: segment.first,
            offset: segment.octets + HEADER as u64,
            len,
        };
        segment.octets += octets.len() as u64;
        segment.records += 1;
        self.next += 1;
        self.dirty = true;
        Ok((number, place))
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        self.sync()?;
        let first = self.next;
        let head = OpenOptions::new()
            .write(true)
            .create(true)
            // A segment of that name holds nothing that could be read.
            .truncate(true)
            .mode(MODE)
            .open(self.path(first))?;
        // The name must survive, too.
        File::open(&self.folder)?.sync_all()?;
        self.segments.retain(|segment| segment.first != first);
        self.segments.push(Segment {
            first,
            records: 0,
            octets: 0,
        });
        self.head = Some(head);
        Ok(())
    }

    /// Waits until everything appended would survive a power cut.
    pub fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.dirty)
            && let Some(head) = &self.head
            && let Err(error) = head.sync_data()
        {
            self.dirty = true;
            return Err(error);
        }
        Ok(())
    }

    /// Whether something would not survive a power cut.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Removes segments that hold nothing from `number` on; the one in use stays.
    pub fn forget_before(&mut self, number: u64) {
        let in_use = self
            .head
            .as_ref()
            .and(self.segments.last())
            .map(|s| s.first);
        let folder = &self.folder;
        self.segments.retain(|segment| {
            let over = segment.first + segment.records <= number && in_use != Some(segment.first);
            if over {
                // If it cannot be removed it is read again and found to be delivered.
                let _ = fs::remove_file(folder.join(format!("{:020}.{SUFFIX}", segment.first)));
            }
            !over
        });
    }

    /// Makes room: the number from which on records are kept when the spool is over its limit.
    pub fn over_limit(&self) -> Option<u64> {
        let oldest = self.segments.first()?;
        (self.octets() > self.limit && self.segments.len() > 1)
            .then_some(oldest.first + oldest.records)
    }

    /// Reads a record.
    pub fn read(folder: &Path, place: Place) -> io::Result<String> {
        let file = File::open(folder.join(format!("{:020}.{SUFFIX}", place.segment)))?;
        let mut octets = vec![0; place.len as usize];
        file.read_exact_at(&mut octets, place.offset)?;
        String::from_utf8(octets).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

/// The length of the record that `octets` begin with, if they do.
fn record(octets: &[u8], number: u64) -> Option<usize> {
    let (len, rest) = octets.split_first_chunk::<4>()?;
    let (expected, rest) = rest.split_first_chunk::<4>()?;
    let len = u32::from_le_bytes(*len);
    if len > MAX_RECORD {
        return None;
    }
    let len = len as usize;
    let text = rest.get(..len)?;
    let whole = rest.get(len) == Some(&b'\n') && sum(number, text) == u32::from_le_bytes(*expected);
    whole.then_some(len)
}

fn sum(number: u64, text: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(text);
    hasher.finalize()
}

/// Replaces a small file whole: a kill leaves the old one or the new one. After a power cut it may be gone, unless it was `sync`ed.
pub fn replace(path: &Path, octets: &[u8], sync: bool) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(MODE)
        .open(&beside)?;
    file.write_all(octets)?;
    if sync {
        file.sync_data()?;
    }
    fs::rename(&beside, path)
}

impl Cursor {
    /// Of the sink `name`; `None` where it has none yet, or an unreadable one.
    pub fn read(folder: &Path, name: &str) -> Option<Cursor> {
        serde_json::from_slice(&fs::read(Cursor::path(folder, name)).ok()?).ok()
    }

    /// Keeps it. Not waiting for the disk: one that a power cut takes makes a receiver hear twice what it knows.
    pub fn write(&self, folder: &Path, name: &str) -> io::Result<()> {
        replace(
            &Cursor::path(folder, name),
            &serde_json::to_vec(self)?,
            false,
        )
    }

    fn path(folder: &Path, name: &str) -> PathBuf {
        folder.join(format!("{name}.cursor"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("flapscope-spool-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn open(folder: &Path) -> (Spool, Vec<(u64, String)>) {
        let mut found = Vec::new();
        let (spool, _) = Spool::open(folder, SEGMENT, &mut |number, _, text| {
            found.push((number, text.to_owned()));
        })
        .unwrap();
        (spool, found)
    }

    #[test]
    fn what_was_appended_is_found_again_and_a_torn_record_is_none() {
        let folder = folder("torn");
        let (mut spool, found) = open(&folder);
        assert!(found.is_empty());
        let (_, place) = spool.append("{\"a\":1}").unwrap();
        spool.append("{\"b\":2}").unwrap();
        spool.sync().unwrap();
        assert_eq!(Spool::read(&folder, place).unwrap(), "{\"a\":1}");
        drop(spool);
        let segment = folder.join("00000000000000000001.spool");
        let whole = fs::read(&segment).unwrap();
        for cut in 0..whole.len() {
            fs::write(&segment, &whole[..cut]).unwrap();
            let (mut spool, found) = open(&folder);
            let expected = if cut < 16 { 0 } else { 1 };
            assert_eq!(found.len(), expected, "cut at {cut}");
            assert_eq!(spool.next(), 1 + expected as u64);
            // The next record goes behind what is whole, in a segment of its own.
            let (number, _) = spool.append("{\"c\":3}").unwrap();
            drop(spool);
            let (_, found) = open(&folder);
            let last = found.last().unwrap();
            assert_eq!((last.0, last.1.as_str()), (number, "{\"c\":3}"));
            for extra in [1, 2] {
                let _ = fs::remove_file(folder.join(format!("{extra:020}.spool")));
            }
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_flipped_bit_anywhere_never_yields_another_text() {
        let folder = folder("flip");
        let (mut spool, _) = open(&folder);
        spool.append("{\"a\":1}").unwrap();
        drop(spool);
        let segment = folder.join("00000000000000000001.spool");
        let whole = fs::read(&segment).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut octets = whole.clone();
            octets[bit / 8] ^= 1 << (bit % 8);
            fs::write(&segment, &octets).unwrap();
            let (_, found) = open(&folder);
            assert!(found.is_empty(), "bit {bit}");
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn segments_that_everybody_has_are_removed_and_numbers_go_on() {
        let folder = folder("forget");
        let (mut spool, _) = open(&folder);
        let text = "x".repeat(1 << 20);
        for _ in 0..10 {
            spool.append(&text).unwrap();
        }
        assert!(spool.segments.len() >= 2);
        assert!(spool.over_limit().is_some());
        spool.forget_before(spool.next());
        assert_eq!(spool.segments.len(), 1, "the one in use stays");
        assert_eq!(spool.over_limit(), None);
        let next = spool.next();
        drop(spool);
        let (spool, _) = open(&folder);
        assert_eq!(spool.next(), next);
        let cursor = Cursor {
            next: 7,
            dead: None,
        };
        cursor.write(&folder, "ops").unwrap();
        assert_eq!(Cursor::read(&folder, "ops"), Some(cursor));
        assert_eq!(Cursor::read(&folder, "other"), None);
        fs::remove_dir_all(folder).unwrap();
    }
}
