//! Files as inputs: what they are, how they were packed, whose they are, and what is told about them.
//!
//! Recognised by content, never by name. Nothing here decodes: records leave as bytes with a time and a place (`merge::InputSet`
//! puts the files of one call in one order).

pub mod bytes;
pub mod chain;
pub mod compress;
pub mod detect;
pub mod foreign;
pub mod packets;
pub mod pcap;
pub mod pcapng;
pub mod prefilter;
pub mod role;
pub mod stream;
pub mod unread;

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

pub use compress::Compression;
pub use detect::Container;
pub use role::{RoleError, RoleSpec};

use crate::event::source::Role;
use crate::event::{InputId, Timestamp};

/// How files are opened.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// `--role FILE=NAME[:host|router|bmp]`.
    pub roles: Vec<RoleSpec>,
    /// Records before it are left out.
    pub since: Option<Timestamp>,
    /// Records at it and later are left out.
    pub until: Option<Timestamp>,
    /// Hand out every packet of a known link type, not only those that a decoder could use.
    pub every_packet: bool,
}

impl OpenOptions {
    fn bounds(&self) -> Bounds {
        Bounds {
            since: self.since.unwrap_or(Timestamp::MIN),
            until: self.until,
        }
    }
}

/// The time asked for.
#[derive(Copy, Clone, Debug)]
pub struct Bounds {
    since: Timestamp,
    until: Option<Timestamp>,
}

impl Bounds {
    /// Whether `at` lies in it: from `since` on, before `until`.
    pub fn holds(&self, at: Timestamp) -> bool {
        at >= self.since && self.until.is_none_or(|until| at < until)
    }
}

/// What an input is: container and compression. Prints as `pcapng.gz`.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct InputKind {
    pub container: Container,
    pub compression: Option<Compression>,
}

impl fmt::Display for InputKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.container {
            Container::Pcap => "pcap",
            Container::Pcapng => "pcapng",
            Container::Mrt => "mrt",
            Container::Bmp => "bmp",
            Container::Rtmon => "rtmon",
        })?;
        match self.compression {
            Some(compression) => write!(f, ".{}", compression.suffix()),
            None => Ok(()),
        }
    }
}

impl Serialize for InputKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What is known about an input; complete when all was read. The `inputs[]` of the report.
#[derive(Clone, Debug, Serialize)]
pub struct InputInfo {
    pub id: InputId,
    /// As given on the command line, sanitised.
    pub name: String,
    pub kind: InputKind,
    pub role: Option<Role>,
    pub host: Option<Box<str>>,
    /// Time of the first record within `--since` and `--until`.
    pub from: Option<Timestamp>,
    /// Time of the last one.
    pub to: Option<Timestamp>,
    /// Frames or records in it, also those that nothing was decoded from.
    pub records: u64,
    /// Losses that the input itself shows.
    pub gaps: u64,
    /// Sentences for the reader: damage, other clocks, link types not decoded.
    pub notes: Vec<String>,
    /// It could not be read to its end.
    #[serde(skip)]
    pub damaged: bool,
}

/// Why the inputs cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{}: cannot be read at byte {byte}: {source}", .path.display())]
    Read {
        path: PathBuf,
        byte: u64,
        #[source]
        source: std::io::Error,
    },
    #[error("{}: is empty (nothing at byte 0)", .path.display())]
    Empty { path: PathBuf },
    #[error(
        "{}: neither pcap, pcapng, MRT, BMP nor rtmon at byte 0 ({packed}content begins {head})",
        .path.display()
    )]
    Unrecognised {
        path: PathBuf,
        packed: &'static str,
        head: String,
    },
    #[error("{} is {name}, which is not read; {way}", .path.display())]
    Foreign {
        path: PathBuf,
        name: &'static str,
        way: String,
    },
    #[error("-: standard input can be given only once")]
    StdinTwice,
    #[error("more than {} inputs in one call", u16::MAX)]
    TooMany,
    #[error("--role {0}: no such input")]
    RoleWithoutInput(String),
}
