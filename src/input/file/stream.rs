//! One opened input: its bytes, its walker, its sources and what is told about it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bytes::Bytes;
use super::chain::{Chain, Kind};
use super::compress::{Compression, unpack};
use super::detect::{Container, PEEK, recognise};
use super::packets::{self, Packets};
use super::pcap;
use super::pcapng::{self, PcapNg};
use super::prefilter::{FNV_BASIS, FNV_PRIME};
use super::{Bounds, InputInfo, InputKind, OpenError, OpenOptions};
use crate::event::loss::{Gap, GapKind};
use crate::event::source::{Locator, Unit};
use crate::event::text::sanitized;
use crate::event::{InputId, OwnFeed, SourceId, SourceInfo, SourceKind, Timestamp};
use crate::input::{Item, Record};

/// Octets of a source's first record that break ties.
const TIE_OCTETS: usize = 512;

/// Notes kept of one input; each is one sentence, and a file cannot make more than a few kinds of them.
const MAX_NOTES: usize = 32;

/// An ordered source inside a file.
pub struct Source {
    kind: SourceKind,
    interface: Option<Box<str>>,
    /// A station of ours wrote it.
    own: bool,
    /// Kind, then name, then content: what breaks ties in time. Known from its first record on.
    tie: Option<u128>,
    /// Its id, once it was announced.
    pub id: Option<SourceId>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    previous: Option<Timestamp>,
}

/// What walkers tell about the input while they read it.
pub struct Shared {
    pub info: InputInfo,
    pub bounds: Bounds,
    pub sources: Vec<Source>,
    /// Up to when the engine watched that made this recording; its deadlines until then have passed.
    pub watched: Option<Timestamp>,
    cut: u64,
    steps: u64,
}

/// The next item of a stream.
#[derive(Clone)]
pub struct Head {
    pub at: Timestamp,
    pub tie: u128,
    pub source: u32,
    pub number: u64,
    pub offset: u64,
    pub body: Body,
}

/// Where its content is.
#[derive(Clone)]
pub enum Body {
    /// In the reorder window.
    Held,
    /// So many octets at the read position.
    Span(usize),
    Gap(Gap),
}

/// What orders sources at the same time, live too: kind, name of the interface, time and content of the first record.
pub fn tie(kind: u8, name: &str, at: Timestamp, data: &[u8]) -> u128 {
    let name = name.as_bytes();
    let mut first = [0u8; 7];
    for (to, from) in first.iter_mut().zip(name) {
        *to = *from;
    }
    let [a, b, c, d, e, f, g] = first;
    let high = u64::from_be_bytes([kind, a, b, c, d, e, f, g]);
    let low = name
        .iter()
        .chain(&at.0.to_be_bytes())
        .chain(data.iter().take(TIE_OCTETS))
        .fold(FNV_BASIS, |hash, octet| {
            (hash ^ u64::from(*octet)).wrapping_mul(FNV_PRIME)
        });
    u128::from(high) << 64 | u128::from(low)
}

impl Shared {
    /// Adds an ordered source; its index is the number of those before it.
    pub fn add_source(&mut self, kind: SourceKind, interface: Option<String>) {
        let interface: Option<Box<str>> = interface.map(|name| sanitized(&name).into());
        self.sources.push(Source {
            kind,
            own: OwnFeed::of(kind, interface.as_deref()).is_some(),
            interface,
            tie: None,
            id: None,
            first: None,
            last: None,
            previous: None,
        });
    }

    /// Whether a station of ours wrote this source.
    pub fn is_own_feed(&self, source: u32) -> bool {
        self.sources
            .get(source as usize)
            .is_some_and(|source| source.own)
    }

    /// A source to hang a fact about the whole file on: the first, made up if there is none.
    pub fn any_source(&mut self) -> u32 {
        if self.sources.is_empty() {
            self.add_source(SourceKind::Packets, None);
        }
        0
    }

    /// Counts a record at `at`; whether it lies within the time asked for.
    pub fn count(&mut self, at: Option<Timestamp>, analysed: bool) -> bool {
        let within = at.is_none_or(|at| self.bounds.holds(at));
        self.info.records = self.info.records.saturating_add(1);
        if !within {
            self.cut += 1;
        } else if let (Some(at), true) = (at, analysed) {
            self.info.from = Some(self.info.from.map_or(at, |from| from.min(at)));
            self.info.to = Some(self.info.to.map_or(at, |to| to.max(at)));
        }
        within
    }

    /// Remembers when a source was heard.
    pub fn seen(&mut self, source: u32, at: Timestamp) {
        if let Some(source) = self.sources.get_mut(source as usize) {
            source.first.get_or_insert(at);
            source.previous = source.last.replace(at);
        }
    }

    /// When a source was first heard.
    pub fn first_of(&self, source: u32) -> Option<Timestamp> {
        self.sources.get(source as usize)?.first
    }

    /// When it was heard before the last time.
    pub fn previous_of(&self, source: u32) -> Option<Timestamp> {
        self.sources.get(source as usize)?.previous
    }

    /// What breaks ties between this source and others: its kind, the name of its interface, the content of its first record.
    /// Never the order or the names of files (law 13).
    pub fn tie(&mut self, source: u32, at: Timestamp, data: &[u8]) -> u128 {
        let Some(source) = self.sources.get_mut(source as usize) else {
            return u128::MAX;
        };
        let name = source.interface.as_deref().unwrap_or_default();
        *source
            .tie
            .get_or_insert_with(|| tie(source.kind as u8, name, at, data))
    }

    /// The clock went back.
    pub fn clock_step(&mut self, back: i64, lone: bool, at: Timestamp) -> Gap {
        self.steps += 1;
        let seconds = back as f64 / 1e9;
        let detail = if lone {
            format!("one record's stamp was {seconds:.3} s ahead of its neighbours and was ignored")
        } else {
            format!("the clock was set back by {seconds:.3} s; times go on from where they were")
        };
        if self.steps == 1 {
            self.note(detail.clone());
        }
        Gap {
            kind: GapKind::ClockStep,
            from: at,
            to: at,
            lost: None,
            detail: detail.as_str().into(),
        }
    }

    /// The input cannot be read at `offset`.
    pub fn damage(&mut self, why: &str, offset: u64) -> Gap {
        let detail = format!("damaged at byte {offset}: {why}");
        self.info.damaged = true;
        self.note(detail.clone());
        Gap {
            kind: GapKind::DamagedInput,
            from: Timestamp::MIN,
            to: Timestamp::MIN,
            lost: None,
            detail: detail.as_str().into(),
        }
    }

    /// Adds a sentence for the reader.
    pub fn note(&mut self, note: String) {
        if self.info.notes.len() < MAX_NOTES {
            self.info.notes.push(note);
        }
    }

    fn note_end(&mut self) {
        if self.cut > 0 {
            self.note(format!(
                "{} records outside --since and --until were not analysed; what was set up before is not known",
                self.cut
            ));
        }
        if self.steps > 1 {
            self.note(format!("{} clock steps in all", self.steps));
        }
    }
}

enum Walker {
    Packets(Box<Packets>),
    Chain(Box<Chain>),
}

/// An opened input.
pub struct Stream {
    bytes: Bytes,
    walker: Walker,
    pub shared: Shared,
    pub head: Option<Head>,
    read: Arc<AtomicU64>,
    done: bool,
}

/// Counts what is read, for the progress bar.
struct Counted<R> {
    reader: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(buf)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// What a stream is read with.
pub struct Reading {
    /// Octets of one read.
    pub capacity: usize,
    /// Whether decompressors get a thread.
    pub threaded: bool,
}

impl Stream {
    /// Opens `path` (`-` is standard input) and recognises what is in it.
    pub fn open(
        id: InputId,
        path: &Path,
        options: &OpenOptions,
        reading: &Reading,
    ) -> Result<(Stream, Option<u64>), OpenError> {
        let failed = |source| OpenError::Read {
            path: path.to_path_buf(),
            byte: 0,
            source,
        };
        let (raw, size): (Box<dyn Read + Send>, _) = if path.as_os_str() == "-" {
            (Box::new(std::io::stdin()), None)
        } else {
            let file = std::fs::File::open(path).map_err(failed)?;
            let meta = file.metadata().map_err(failed)?;
            let size = meta.is_file().then_some(meta.len());
            (Box::new(file), size)
        };
        let stream = Stream::from_reader(id, path, raw, options, reading)?;
        Ok((stream, size))
    }

    /// The same for anything that can be read.
    pub fn from_reader(
        id: InputId,
        path: &Path,
        raw: Box<dyn Read + Send>,
        options: &OpenOptions,
        reading: &Reading,
    ) -> Result<Stream, OpenError> {
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            reader: raw,
            count: Arc::clone(&read),
        };
        let (plain, compression) =
            unpack(Box::new(counted), reading.threaded).map_err(|source| OpenError::Read {
                path: path.to_path_buf(),
                byte: 0,
                source,
            })?;
        let mut bytes = Bytes::new(plain, reading.capacity);
        let whole = !bytes.want(PEEK);
        let container = recognise(bytes.data(), whole)
            .ok_or_else(|| unrecognised(path, &bytes, compression))?;
        let role = options.roles.iter().find(|role| role.is_for(path));
        let mut shared = Shared {
            info: InputInfo {
                id,
                name: sanitized(&path.to_string_lossy()),
                kind: InputKind {
                    container,
                    compression,
                },
                role: role.and_then(|role| role.role),
                host: role
                    .map(|role| role.host.clone())
                    .or_else(|| pcapng::recorded_on(bytes.data()))
                    .map(|host| sanitized(&host).into()),
                from: None,
                to: None,
                records: 0,
                gaps: 0,
                notes: Vec::new(),
                damaged: false,
            },
            bounds: options.bounds(),
            sources: Vec::new(),
            watched: None,
            cut: 0,
            steps: 0,
        };
        let mut packets = |container, bytes: &mut Bytes| {
            let filter = !options.every_packet;
            Walker::Packets(Box::new(Packets::new(
                container,
                filter,
                bytes,
                &mut shared,
            )))
        };
        let walker = match container {
            Container::Pcap => match pcap::Header::parse(bytes.data()) {
                Some(header) => packets(packets::Container::Pcap(header), &mut bytes),
                None => return Err(unrecognised(path, &bytes, compression)),
            },
            Container::Pcapng => packets(packets::Container::PcapNg(PcapNg::default()), &mut bytes),
            Container::Mrt => {
                Walker::Chain(Box::new(Chain::new(Kind::Mrt, &mut bytes, &mut shared)))
            }
            Container::Bmp => {
                Walker::Chain(Box::new(Chain::new(Kind::Bmp, &mut bytes, &mut shared)))
            }
            Container::Rtmon => {
                Walker::Chain(Box::new(Chain::new(Kind::Rtmon, &mut bytes, &mut shared)))
            }
        };
        Ok(Stream {
            bytes,
            walker,
            shared,
            head: None,
            read,
            done: false,
        })
    }

    /// Whether nothing in it says when it was.
    pub fn is_untimed(&self) -> bool {
        matches!(&self.walker, Walker::Chain(chain) if chain.untimed)
    }

    /// Where an untimed stream begins.
    pub fn place(&mut self, at: Timestamp) {
        if let Walker::Chain(chain) = &mut self.walker {
            chain.place(at);
        }
    }

    /// Makes the next head ready; false at the end.
    pub fn advance(&mut self) -> bool {
        self.head = if self.done {
            None
        } else {
            match &mut self.walker {
                Walker::Packets(packets) => packets.advance(&mut self.bytes, &mut self.shared),
                Walker::Chain(chain) => chain.advance(&mut self.bytes, &mut self.shared),
            }
        };
        if self.head.is_none() && !self.done {
            self.done = true;
            self.shared.note_end();
        }
        self.head.is_some()
    }

    /// Announces the source of the head if that was not done yet.
    pub fn announce(&mut self, next: &mut u32) -> Option<SourceInfo> {
        let head = self.head.as_ref()?;
        let source = self.shared.sources.get_mut(head.source as usize)?;
        if source.id.is_some() {
            return None;
        }
        let id = SourceId(*next);
        *next = next.saturating_add(1);
        source.id = Some(id);
        Some(SourceInfo {
            id,
            input: self.shared.info.id,
            kind: source.kind,
            interface: source.interface.clone(),
            host: self.shared.info.host.clone(),
            role: self.shared.info.role,
        })
    }

    /// The head as an item.
    pub fn item(&self) -> Option<Item<'_>> {
        let head = self.head.as_ref()?;
        let source = self.shared.sources.get(head.source as usize)?.id?;
        let (format, bytes, wire_len) = match (&head.body, &self.walker) {
            (Body::Gap(gap), walker) => {
                return Some(Item::Gap {
                    at: head.at,
                    source,
                    locator: self.locator(head, walker),
                    gap: gap.clone(),
                });
            }
            (Body::Span(length), Walker::Chain(chain)) => chain.lent(*length, &self.bytes),
            (_, Walker::Packets(packets)) => packets.lent()?,
            (Body::Held, Walker::Chain(_)) => return None,
        };
        Some(Item::Record(Record {
            at: head.at,
            source,
            locator: self.locator(head, &self.walker),
            format,
            bytes,
            wire_len,
        }))
    }

    fn locator(&self, head: &Head, walker: &Walker) -> Locator {
        Locator {
            input: self.shared.info.id,
            unit: match walker {
                Walker::Packets(_) => Unit::Frame,
                Walker::Chain(_) => Unit::Record,
            },
            number: head.number,
            offset: head.offset,
        }
    }

    /// Octets read from the file, before decompression.
    pub fn octets_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

fn unrecognised(path: &Path, bytes: &Bytes, compression: Option<Compression>) -> OpenError {
    let path = PathBuf::from(sanitized(&path.to_string_lossy()));
    if let super::bytes::End::Failed(error) = bytes.end() {
        return OpenError::Read {
            path,
            byte: bytes.data().len() as u64,
            source: std::io::Error::new(error.kind(), error.to_string()),
        };
    }
    if bytes.data().is_empty() {
        return OpenError::Empty { path };
    }
    if let Some(foreign) = super::foreign::recognise(bytes.data()) {
        let way = foreign.way.command(&path.to_string_lossy());
        return OpenError::Foreign {
            path,
            name: foreign.name,
            way,
        };
    }
    let mut head = String::new();
    for octet in bytes.data().iter().take(8) {
        head.push_str(&format!("{octet:02x} "));
    }
    OpenError::Unrecognised {
        path,
        packed: compression.map_or("", |_| "unpacked "),
        head: head.trim_end().into(),
    }
}
