//! The files of a recording: one, or dumpcap's ring of segments; segments before an incident are kept aside.
//!
//! Whole blocks only reach a file, so that a killed recorder leaves one that opens. Time is that of the records, never a clock.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::event::Timestamp;

/// Segments kept aside at most: an alert storm must not fill the disk.
const MAX_FROZEN: usize = 256;

/// Captures hold what others send: for their owner only, as dumpcap does.
const MODE: u32 = 0o600;

/// When to begin a new file, and how many to keep (dumpcap's `-b`).
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Ring {
    /// A file has at least so many KiB before the next begins.
    pub file_size: Option<u64>,
    /// Files kept; the oldest is deleted.
    pub files: Option<u32>,
    /// A file covers this time.
    pub duration: Option<Duration>,
}

impl Ring {
    /// Whether there is more than one file.
    pub fn is_ring(&self) -> bool {
        self.file_size.is_some() || self.duration.is_some()
    }

    /// Takes the options of a command line together, as dumpcap does: the last of a kind wins.
    pub fn of(options: &[RingOption]) -> Result<Ring, RingError> {
        let mut ring = Ring::default();
        for option in options {
            match *option {
                RingOption::FileSize(size) => ring.file_size = Some(size),
                RingOption::Files(files) => ring.files = Some(files),
                RingOption::Duration(duration) => ring.duration = Some(duration),
            }
        }
        if ring.files.is_some() && !ring.is_ring() {
            return Err(RingError::FilesOnly);
        }
        Ok(ring)
    }
}

/// One `-b` option.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum RingOption {
    /// `filesize:KiB`
    FileSize(u64),
    /// `files:N`
    Files(u32),
    /// `duration:S`
    Duration(Duration),
}

/// Why `-b` options are none.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum RingError {
    #[error("`{0}` is not filesize:KIB, files:N or duration:SECONDS (each at least 1)")]
    Shape(String),
    #[error("-b files:N needs -b filesize:KIB or -b duration:SECONDS: else there is one file only")]
    FilesOnly,
}

impl FromStr for RingOption {
    type Err = RingError;

    fn from_str(text: &str) -> Result<RingOption, RingError> {
        let shape = || RingError::Shape(text.into());
        let (what, value) = text.split_once(':').ok_or_else(shape)?;
        let number: u32 = value.parse().map_err(|_| shape())?;
        match what {
            _ if number == 0 => Err(shape()),
            "filesize" => Ok(RingOption::FileSize(number.into())),
            "files" => Ok(RingOption::Files(number)),
            "duration" => Ok(RingOption::Duration(Duration::from_secs(number.into()))),
            _ => Err(shape()),
        }
    }
}

/// A file that was begun.
struct Segment {
    path: PathBuf,
    /// Time of its first record and of its last.
    from: Timestamp,
    to: Timestamp,
    frozen: bool,
}

enum Target {
    File(File),
    Stdout(io::Stdout),
    Memory(Vec<u8>),
}

impl Write for Target {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Target::File(file) => file.write(buf),
            Target::Stdout(stdout) => stdout.write(buf),
            Target::Memory(octets) => octets.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Target::File(file) => file.flush(),
            Target::Stdout(stdout) => stdout.flush(),
            Target::Memory(_) => Ok(()),
        }
    }
}

/// The files.
pub struct Files {
    path: PathBuf,
    ring: Ring,
    target: Option<Target>,
    /// Octets in the current file, all of them whole blocks.
    written: u64,
    segments: VecDeque<Segment>,
    begun: u32,
    frozen: usize,
}

impl Files {
    /// Files at `path` (`-` is standard output). A single file is created at once: while there is the right to, and to fail early.
    pub fn create(path: &Path, ring: Ring) -> io::Result<Files> {
        let mut files = Files {
            path: path.to_path_buf(),
            ring,
            target: None,
            written: 0,
            segments: VecDeque::new(),
            begun: 0,
            frozen: 0,
        };
        if path.as_os_str() == "-" {
            if ring.is_ring() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "-b needs files, not standard output",
                ));
            }
            files.target = Some(Target::Stdout(io::stdout()));
        } else if ring.is_ring() {
            // The names of segments tell their time, which is not known yet: try the folder.
            let probe = named(path, "probe");
            open(&probe)?;
            fs::remove_file(&probe)?;
        } else {
            files.target = Some(Target::File(open(path)?));
        }
        Ok(files)
    }

    /// One file in memory: of what is bounded already.
    pub fn in_memory() -> Files {
        Files {
            path: PathBuf::new(),
            ring: Ring::default(),
            target: Some(Target::Memory(Vec::new())),
            written: 0,
            segments: VecDeque::new(),
            begun: 0,
            frozen: 0,
        }
    }

    /// What was written into memory.
    pub fn into_octets(self) -> Vec<u8> {
        match self.target {
            Some(Target::Memory(octets)) => octets,
            _ => Vec::new(),
        }
    }

    /// Whether a record at `at` belongs into a new file, which then is begun with `head`'s octets.
    pub fn is_due(&self, at: Timestamp) -> bool {
        let Some(segment) = self.segments.back() else {
            return true;
        };
        let full = self
            .ring
            .file_size
            .is_some_and(|kib| self.written >= kib.saturating_mul(1024));
        let over = self
            .ring
            .duration
            .is_some_and(|duration| at.since(segment.from) >= duration);
        full || over
    }

    /// Begins the next file.
    pub fn begin(&mut self, at: Timestamp) -> io::Result<()> {
        self.begun = self.begun.saturating_add(1);
        let path = if self.ring.is_ring() {
            let path = named(&self.path, &format!("{:05}_{}", self.begun, digits(at)));
            self.target = Some(Target::File(open(&path)?));
            path
        } else {
            self.path.clone()
        };
        self.written = 0;
        self.segments.push_back(Segment {
            path,
            from: at,
            to: at,
            frozen: false,
        });
        while let Some(keep) = self.ring.files
            && self.segments.len() > keep as usize
        {
            if let Some(oldest) = self.segments.pop_front() {
                fs::remove_file(&oldest.path)?;
            }
        }
        Ok(())
    }

    /// Writes whole blocks, the last of them from `to`. What a failed write left behind is taken off again.
    pub fn write(&mut self, blocks: &[u8], to: Timestamp) -> io::Result<()> {
        let Some(target) = &mut self.target else {
            return Ok(());
        };
        let result = target.write_all(blocks).and_then(|()| target.flush());
        match result {
            Ok(()) => {
                self.written = self.written.saturating_add(blocks.len() as u64);
                if let Some(segment) = self.segments.back_mut() {
                    segment.to = segment.to.max(to);
                }
            }
            Err(_) => {
                if let Target::File(file) = target {
                    // Best effort: the disk may be gone altogether.
                    let _ = file.set_len(self.written);
                }
            }
        }
        result
    }

    /// Keeps what was recorded since `since` aside, under the folder that is returned; the ring may go on over it. A segment is
    /// linked, not copied: what the current one still takes in is kept too. `None`: nothing new to keep.
    pub fn freeze(&mut self, since: Timestamp) -> io::Result<Option<PathBuf>> {
        let folder = named(&self.path, "frozen").with_extension("");
        let mut kept = false;
        for segment in self
            .segments
            .iter_mut()
            .filter(|segment| segment.to >= since && !segment.frozen)
        {
            let Some(name) = segment.path.file_name() else {
                continue;
            };
            if self.frozen >= MAX_FROZEN {
                return Err(io::Error::other(format!(
                    "{MAX_FROZEN} files are kept already; move them away"
                )));
            }
            fs::create_dir_all(&folder)?;
            let aside = folder.join(name);
            if fs::hard_link(&segment.path, &aside).is_err() {
                fs::copy(&segment.path, &aside)?;
            }
            segment.frozen = true;
            self.frozen += 1;
            kept = true;
        }
        Ok(kept.then_some(folder))
    }

    /// Files begun so far.
    pub fn begun(&self) -> u32 {
        self.begun
    }

    /// Where the current file is.
    pub fn current(&self) -> &Path {
        self.segments
            .back()
            .map_or(&self.path, |segment| &segment.path)
    }
}

fn open(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(MODE)
        // Whoever may write into the folder must not choose what a recorder with more rights overwrites.
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path);
    opened.map_err(|error| match error.raw_os_error() {
        Some(nix::libc::ELOOP) => io::Error::new(
            io::ErrorKind::InvalidInput,
            "is a symbolic link, which a recording does not follow: name the file itself",
        ),
        _ => error,
    })
}

/// `DIR/STEM_WHAT.EXT`.
fn named(path: &Path, what: &str) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_os_string();
    name.push("_");
    name.push(what);
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// `YYYYMMDDhhmmss`, in UTC.
fn digits(at: Timestamp) -> String {
    at.to_string()
        .chars()
        .take_while(|c| *c != '.')
        .filter(char::is_ascii_digit)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_options_are_dumpcaps() {
        let ring = |texts: &[&str]| {
            let options: Result<Vec<RingOption>, _> = texts.iter().map(|t| t.parse()).collect();
            options.and_then(|options| Ring::of(&options))
        };
        assert_eq!(
            ring(&["filesize:100", "files:3", "duration:60", "files:4"]),
            Ok(Ring {
                file_size: Some(100),
                files: Some(4),
                duration: Some(Duration::from_secs(60)),
            })
        );
        assert_eq!(ring(&["files:3"]), Err(RingError::FilesOnly));
        for bad in ["filesize", "filesize:0", "files:x", "packets:5", ""] {
            assert!(matches!(ring(&[bad]), Err(RingError::Shape(_))), "{bad}");
        }
    }

    #[test]
    fn segments_are_named_as_dumpcap_names_them() {
        let at = Timestamp(1_709_210_096_000_000_007);
        assert_eq!(
            named(
                Path::new("/x/a.b.pcapng"),
                &format!("{:05}_{}", 7, digits(at))
            ),
            Path::new("/x/a.b_00007_20240229123456.pcapng")
        );
        assert_eq!(named(Path::new("f"), "00001"), Path::new("f_00001"));
    }
}
