//! The flight recorder: everything a live run sees, in one pcapng that Wireshark opens and `analyze` replays to the same verdict.
//!
//! It stands behind the live merge: what it writes has the order and the times that the engine sees (law 13). A full disk interrupts the
//! recording, loudly, and never the engine: it goes on when there is room again, with the loss written down.

pub mod note;
pub mod pcapng;
pub mod ring;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use ring::{Ring, RingError, RingOption};

use self::pcapng::{Origin, Statistics};
use self::ring::Files;
use super::{Format, Item, Record};
use crate::event::loss::Gap;
use crate::event::source::Unit;
use crate::event::{Locator, SourceId, SourceInfo, SourceKind, Timestamp};

/// Blocks wait in memory for this much time of records, so that a killed recorder misses little …
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// … and up to this many octets, so that a flood is written in large pieces.
const FLUSH_OCTETS: usize = 256 << 10;

/// How soon a recording that found the disk full tries again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Octets of one frame that readers believe (`WTAP_MAX_PACKET_SIZE_STANDARD`).
const MAX_FRAME: usize = 262_144;

/// `LINKTYPE_ETHERNET`, `LINKTYPE_NETLINK`.
const ETHERNET: u16 = 1;
const NETLINK: u16 = 253;

/// The header of a LINKTYPE_NETLINK frame: packet type "to us" (0), `ARPHRD_NETLINK` (824), no address, family NETLINK_ROUTE (0).
const NETLINK_HEADER: [u8; 16] = [0, 0, 0x03, 0x38, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// `struct nlmsghdr`.
const MESSAGE_HEADER: usize = 16;

/// What is recorded where.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `-w`; `-` is standard output.
    pub path: PathBuf,
    /// `-b`
    pub ring: Ring,
    /// `--freeze-on-alert`: time before an incident that is kept when the ring goes on.
    pub freeze: Option<Duration>,
    /// The name of this host, as alerts bear it.
    pub host: Option<String>,
}

/// What was recorded of one source.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Recorded {
    /// As the file names it.
    pub name: String,
    pub frames: u64,
    /// Frames or messages known to be lost.
    pub lost: u64,
}

/// The sum of a recording.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Summary {
    pub sources: Vec<Recorded>,
    pub frames: u64,
    pub files: u32,
    /// Why it ended early.
    pub trouble: Option<String>,
    /// Frames that found no room on the disk.
    pub shed: u64,
}

/// An interface of the file.
struct Interface {
    link_type: u16,
    name: String,
    kind: SourceKind,
    /// In the current section; `None` until it is described there.
    index: Option<u32>,
    /// Counters over all files, and of the current one.
    frames: u64,
    lost: u64,
    here: Statistics,
    /// Told at the next frame, for the eyes of whoever reads it.
    remark: Option<String>,
}

/// The recorder.
pub struct Recorder {
    files: Files,
    is_ring: bool,
    freeze: Option<Duration>,
    origin: Origin,
    /// By source and link type: a source may change its (a reopened tunnel).
    interfaces: BTreeMap<(SourceId, u16), Interface>,
    infos: BTreeMap<SourceId, SourceInfo>,
    next_index: u32,
    /// Whole blocks not yet written.
    blocks: Vec<u8>,
    frames: u64,
    flushed: Timestamp,
    newest: Timestamp,
    /// Up to where the engine was told that time has passed; records from which nothing was decoded do not move it.
    watched: Timestamp,
    trouble: Option<String>,
    /// Whoever read the recording went away (standard output).
    unread: bool,
    /// Not told yet.
    news: Vec<String>,
    full: Option<Full>,
    shed: u64,
    /// Frames among `blocks`.
    waiting: u64,
}

/// The disk is full.
#[derive(Copy, Clone)]
struct Full {
    since: Timestamp,
    again: Timestamp,
    /// Frames not recorded since then.
    lost: u64,
}

impl Recorder {
    /// Opens the file, or tries the folder of a ring.
    pub fn create(settings: &Settings) -> io::Result<Recorder> {
        if settings.freeze.is_some() && !settings.ring.is_ring() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "keeping the time before an alert needs a ring: -b filesize:KIB or -b duration:SECONDS",
            ));
        }
        let files = Files::create(&settings.path, settings.ring)?;
        Ok(Recorder {
            is_ring: settings.ring.is_ring(),
            freeze: settings.freeze,
            ..Recorder::into(files, settings.host.as_deref())
        })
    }

    /// Records into memory: what is bounded already, for somebody else to write.
    pub fn in_memory(host: Option<&str>) -> Recorder {
        Recorder::into(Files::in_memory(), host)
    }

    /// What was recorded into memory, after [`finish`](Self::finish).
    pub fn into_octets(self) -> Vec<u8> {
        self.files.into_octets()
    }

    fn into(files: Files, host: Option<&str>) -> Recorder {
        Recorder {
            files,
            is_ring: false,
            freeze: None,
            origin: origin(host),
            interfaces: BTreeMap::new(),
            infos: BTreeMap::new(),
            next_index: 0,
            blocks: Vec::new(),
            frames: 0,
            flushed: Timestamp::MIN,
            newest: Timestamp::MIN,
            watched: Timestamp::MIN,
            trouble: None,
            unread: false,
            news: Vec::new(),
            full: None,
            shed: 0,
            waiting: 0,
        }
    }

    /// Why nothing is recorded any more; `BrokenPipe` when nobody reads it.
    pub fn ended(&self) -> Option<io::Error> {
        let trouble = self.trouble.as_deref()?;
        Some(if self.unread {
            io::ErrorKind::BrokenPipe.into()
        } else {
            io::Error::other(trouble)
        })
    }

    /// Records an item as the engine gets it. Returns where it is found in the recording: frames are counted over all its files.
    pub fn write(&mut self, item: &Item<'_>) -> Option<Locator> {
        if self.trouble.is_some() {
            return None;
        }
        if let Item::Source(info) = item {
            self.infos.insert(info.id, info.clone());
            return None;
        }
        if let Item::Record(Record { at, .. }) | Item::Gap { at, .. } = item
            && !self.has_room(*at)
        {
            return None;
        }
        let before = self.frames;
        match item {
            Item::Source(_) => {}
            Item::Record(record) => {
                self.start(record.at);
                self.record(record);
            }
            Item::Gap {
                at, source, gap, ..
            } => {
                self.start(*at);
                self.gap(*at, *source, gap);
            }
        }
        self.settle();
        if self.trouble.is_some() {
            return None;
        }
        let is_frame = self.frames > before;
        // A loss stands behind the frame before it, as readers count it.
        Some(frame(if is_frame { before + 1 } else { before }))
    }

    /// The engine's time has come to `at` without an item. Tell it regularly: what waits is written then.
    pub fn advance(&mut self, at: Timestamp) {
        self.watched = self.watched.max(at);
        self.newest = self.newest.max(at);
        self.settle();
    }

    /// The engine said something at its time `at`: writes that time down, so that a replay comes as far even if this recorder is
    /// killed. When an incident was `opened`, the segments of the time before are kept.
    pub fn told(&mut self, at: Timestamp, opened: bool) {
        if self.trouble.is_some() || self.full.is_some() {
            return;
        }
        self.watched = self.watched.max(at);
        self.newest = self.newest.max(at);
        let described = self.interfaces.values().find_map(|known| known.index);
        if let Some(index) = described {
            pcapng::statistics(&mut self.blocks, index, self.watched, note::WATCHED, None);
        }
        self.flush();
        let Some(time) = self.freeze.filter(|_| opened && self.trouble.is_none()) else {
            return;
        };
        match self.files.freeze(at - time) {
            Ok(Some(folder)) => self.news.push(format!(
                "the recording before the incident is kept in {}",
                folder.display()
            )),
            Ok(None) => {}
            Err(error) => {
                self.news.push(format!(
                    "the recording before the incident cannot be kept: {error}"
                ));
            }
        }
    }

    /// What the user must hear, once: a full disk, segments kept.
    pub fn news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.news)
    }

    /// Ends the recording: counters of each interface, and up to when the engine watched.
    pub fn finish(&mut self) -> Summary {
        if self.full.is_none() && self.trouble.is_none() && self.newest != Timestamp::MIN {
            self.start(self.newest);
            self.end_section();
            self.flush();
        } else if self.full.is_none() && self.trouble.is_none() && !self.is_ring {
            // Nothing came: still a file that opens.
            pcapng::section(&mut self.blocks, &self.origin);
            self.flush();
        }
        let sources = self.interfaces.values().map(|interface| Recorded {
            name: interface.name.clone(),
            frames: interface.frames,
            lost: interface.lost,
        });
        Summary {
            sources: sources.collect(),
            frames: self.frames,
            files: self.files.begun(),
            trouble: self.trouble.clone(),
            shed: self.shed,
        }
    }

    /// Whether there is room on the disk, as far as is known; when it was full and the time has come, it is tried again. Until then what
    /// comes is counted.
    fn has_room(&mut self, at: Timestamp) -> bool {
        let Some(full) = &mut self.full else {
            return true;
        };
        if at < full.again && at >= full.since {
            full.lost += 1;
            self.shed += 1;
            return false;
        }
        let Full { since, lost, .. } = *full;
        self.newest = self.newest.max(at);
        // The blocks that were lost described interfaces: what follows begins a section of its own.
        if self.is_ring
            && let Err(error) = self.files.begin(at)
        {
            self.found_full(&error, at, since, lost + 1);
            self.shed += 1;
            return false;
        }
        self.section();
        let gap = Gap {
            kind: crate::event::loss::GapKind::FeedLost,
            from: since,
            to: at,
            lost: Some(lost),
            detail: "the recorder's disk was full".into(),
        };
        let sources: Vec<SourceId> = self.interfaces.keys().map(|(source, _)| *source).collect();
        for source in sources {
            self.gap(at, source, &gap);
        }
        if let Err(error) = self.files.write(&self.blocks, at) {
            self.found_full(&error, at, since, lost + 1);
            self.shed += 1;
            return false;
        }
        self.blocks.clear();
        self.flushed = at;
        self.full = None;
        self.news.push(format!(
            "{}: there is room again, and recording goes on; {lost} frames were not recorded",
            self.files.current().display()
        ));
        true
    }

    /// No room: what waits is dropped and counted, and nothing is tried before a while.
    fn found_full(&mut self, error: &io::Error, at: Timestamp, since: Timestamp, lost: u64) {
        self.blocks = Vec::new();
        if self.full.is_none() {
            self.news.push(format!(
                "{}: {error}; nothing is recorded until there is room again",
                self.files.current().display()
            ));
        }
        self.full = Some(Full {
            since,
            again: at + TRY_AGAIN,
            lost,
        });
    }

    /// Begins the next file when it is time.
    fn start(&mut self, at: Timestamp) {
        if !self.files.is_due(at) {
            self.newest = self.newest.max(at);
            return;
        }
        if self.files.begun() > 0 {
            self.end_section();
            self.flush();
        }
        self.newest = self.newest.max(at);
        if let Err(error) = self.files.begin(at) {
            return self.fail(&error);
        }
        self.flushed = at;
        self.section();
    }

    /// Begins a section.
    fn section(&mut self) {
        pcapng::section(&mut self.blocks, &self.origin);
        // A segment describes the interfaces that are there; others follow with their first frame.
        self.next_index = 0;
        let keys: Vec<(SourceId, u16)> = self.interfaces.keys().copied().collect();
        for interface in self.interfaces.values_mut() {
            interface.index = None;
            interface.here = Statistics::default();
        }
        for (source, link_type) in keys {
            self.interface(source, link_type);
        }
    }

    fn record(&mut self, record: &Record<'_>) {
        let (source, at) = (record.source, record.at);
        match record.format {
            Format::Packet(link_type) => {
                let parts = [record.bytes, &[][..]];
                self.frame(source, link_type, at, parts, Some(record.wire_len));
            }
            Format::Netlink => {
                for messages in frames_of(record.bytes) {
                    self.frame(source, NETLINK, at, [&NETLINK_HEADER, messages], None);
                }
            }
            // Come from files only: stations of ours hand their streams over as packets.
            Format::BmpStream | Format::Mrt => {}
        }
    }

    fn frame(
        &mut self,
        source: SourceId,
        link_type: u16,
        at: Timestamp,
        parts: [&[u8]; 2],
        wire_len: Option<u32>,
    ) {
        let index = self.interface(source, link_type);
        let [head, body] = parts;
        let kept = body
            .get(..MAX_FRAME.saturating_sub(head.len()))
            .unwrap_or(body);
        let head = head.get(..MAX_FRAME).unwrap_or(head);
        let length = head.len().saturating_add(body.len());
        let wire_len = wire_len.unwrap_or_else(|| u32::try_from(length).unwrap_or(u32::MAX));
        let mut remark = None;
        if let Some(interface) = self.interfaces.get_mut(&(source, link_type)) {
            interface.count(at);
            remark = interface.remark.take();
        }
        self.frames += 1;
        self.waiting += 1;
        pcapng::packet(
            &mut self.blocks,
            index,
            at,
            [head, kept],
            wire_len,
            remark.as_deref().unwrap_or_default(),
        );
    }

    fn gap(&mut self, at: Timestamp, source: SourceId, gap: &Gap) {
        let link_type = self
            .interfaces
            .keys()
            .rev()
            .find(|(known, _)| *known == source)
            .map(|(_, link_type)| *link_type)
            .unwrap_or_else(|| match self.infos.get(&source).map(|info| info.kind) {
                Some(SourceKind::Netlink) => NETLINK,
                _ => ETHERNET,
            });
        let index = self.interface(source, link_type);
        if let Some(interface) = self.interfaces.get_mut(&(source, link_type)) {
            let lost = gap.lost.unwrap_or_default();
            interface.lost = interface.lost.saturating_add(lost);
            interface.here.dropped = interface.here.dropped.saturating_add(lost);
            interface.remark = Some(format!("lost before this frame: {}", gap.detail));
        }
        pcapng::statistics(&mut self.blocks, index, at, &note::gap(gap), None);
    }

    /// The index of an interface in the current section; it is described when it is new there.
    fn interface(&mut self, source: SourceId, link_type: u16) -> u32 {
        let info = self.infos.get(&source);
        let interface = self
            .interfaces
            .entry((source, link_type))
            .or_insert_with(|| {
                let kind = info.map_or(SourceKind::Packets, |info| info.kind);
                let name = info.and_then(|info| info.interface.as_deref());
                Interface {
                    link_type,
                    name: note::interface(kind, name),
                    kind,
                    index: None,
                    frames: 0,
                    lost: 0,
                    here: Statistics::default(),
                    remark: None,
                }
            });
        if let Some(index) = interface.index {
            return index;
        }
        let index = self.next_index;
        self.next_index = index.saturating_add(1);
        interface.index = Some(index);
        pcapng::interface(
            &mut self.blocks,
            interface.link_type,
            &interface.name,
            &self.origin.os,
            &note::source(interface.kind),
        );
        index
    }

    /// The counters of the current file.
    fn end_section(&mut self) {
        let newest = self.newest;
        for interface in self.interfaces.values() {
            if let Some(index) = interface.index {
                let mut counters = interface.here;
                if counters.received == 0 {
                    counters.from = newest;
                }
                counters.to = newest;
                let (at, comment) = if self.watched == Timestamp::MIN {
                    (newest, "")
                } else {
                    (self.watched, note::WATCHED)
                };
                pcapng::statistics(&mut self.blocks, index, at, comment, Some(&counters));
            }
        }
    }

    /// Writes what waits, when it is time or much.
    fn settle(&mut self) {
        if self.blocks.len() >= FLUSH_OCTETS || self.newest.since(self.flushed) >= FLUSH_EVERY {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.flushed = self.newest;
        if self.trouble.is_some() || self.blocks.is_empty() {
            return;
        }
        let result = self.files.write(&self.blocks, self.newest);
        self.blocks.clear();
        match result {
            Ok(()) => self.waiting = 0,
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &io::Error) {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) {
            let at = self.newest;
            // They are not in the file, and the next one takes the first one's number.
            let lost = std::mem::take(&mut self.waiting);
            self.frames = self.frames.saturating_sub(lost);
            self.shed += lost;
            return self.found_full(error, at, at, lost);
        }
        let trouble = format!(
            "{}: {error}; nothing is recorded any more",
            self.files.current().display()
        );
        self.blocks = Vec::new();
        self.unread = error.kind() == io::ErrorKind::BrokenPipe;
        self.news.push(trouble.clone());
        self.trouble = Some(trouble);
    }
}

impl Interface {
    fn count(&mut self, at: Timestamp) {
        self.frames += 1;
        if self.here.received == 0 {
            self.here.from = at;
        }
        self.here.received += 1;
    }
}

/// Where frame `number` of a recording is found; the recording is the only input.
fn frame(number: u64) -> Locator {
    Locator {
        input: super::live::LIVE_INPUT,
        unit: Unit::Frame,
        number,
        offset: 0,
    }
}

/// Netlink messages as pieces that fit a frame each, cut between messages. Mostly one.
fn frames_of(mut messages: &[u8]) -> impl Iterator<Item = &[u8]> {
    let room = MAX_FRAME - NETLINK_HEADER.len();
    std::iter::from_fn(move || {
        if messages.is_empty() {
            return None;
        }
        let mut end = messages.len();
        if end > room {
            end = 0;
            while let Some(length) = message_length(messages.get(end..).unwrap_or_default()) {
                if end > 0 && end + length > room {
                    break;
                }
                end += length;
            }
            if end == 0 {
                end = messages.len(); // no message: for the decoder to say so
            }
        }
        let (piece, rest) = messages.split_at_checked(end)?;
        messages = rest;
        Some(piece)
    })
}

/// Octets of the first message with its padding.
fn message_length(messages: &[u8]) -> Option<usize> {
    let length = u32::from_ne_bytes(*messages.first_chunk()?) as usize;
    (length >= MESSAGE_HEADER && length <= messages.len())
        .then(|| length.next_multiple_of(4).min(messages.len()))
}

/// The host, as far as it says.
fn origin(host: Option<&str>) -> Origin {
    let line = |path: &str| {
        let text = fs::read_to_string(Path::new(path)).unwrap_or_default();
        text.trim().to_owned()
    };
    let cpus = line("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|text| text.strip_prefix("model name")?.split_once(": "));
    Origin {
        hardware: model.map_or_else(String::new, |(_, model)| model.to_owned()),
        os: format!("Linux {}", line("/proc/sys/kernel/osrelease")),
        application: format!("{}{}", note::APPLICATION, env!("CARGO_PKG_VERSION")),
        comment: note::host(host),
    }
}

#[cfg(test)]
mod tests;
