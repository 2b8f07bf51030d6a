//! All inputs of one call as one ordered timeline.
//!
//! Each stream is in order by itself; the one whose head is oldest goes next. Ties are broken by content (kind of source, interface,
//! first bytes), never by the order or the names of files, so permuting, renaming or packing them gives the same items.

pub mod clock;
pub mod live;
pub mod reorder;

use std::path::{Path, PathBuf};

use super::Item;
use super::file::bytes::READ_SIZE;
use super::file::stream::{Reading, Stream};
use super::file::{InputInfo, OpenError, OpenOptions};
use crate::event::{InputId, Timestamp};

/// Read buffers of all inputs together.
const BUFFERS: usize = 32 << 20;

/// A buffer has at least this many octets; smaller reads cost more than they save.
const LEAST_BUFFER: usize = 64 << 10;

/// Up to so many inputs each get a thread for decompression.
const MAX_THREADS: usize = 16;

/// Inputs further apart than this are told to be: they cannot explain each other, or a clock was wrong.
const APART: i64 = 3_600_000_000_000;

/// Stamps before 1990-01-01 come from a host whose clock was never set.
const CLOCK_UNSET: Timestamp = Timestamp(631_152_000_000_000_000);

/// The inputs of one call.
pub struct InputSet {
    streams: Vec<Stream>,
    /// Streams with a head, the oldest first.
    order: Vec<usize>,
    infos: Vec<InputInfo>,
    next_source: u32,
    /// The first stream's head was handed out.
    lent: bool,
    started: bool,
    ended: bool,
    total: Option<u64>,
}

impl InputSet {
    /// Opens all of `paths` (`-` is standard input). Fails with the first that cannot be read or recognised.
    pub fn open(paths: &[PathBuf], options: &OpenOptions) -> Result<InputSet, OpenError> {
        let is_stdin = |path: &&PathBuf| path.as_os_str() == "-";
        if paths.iter().filter(is_stdin).count() > 1 {
            return Err(OpenError::StdinTwice);
        }
        if let Some(role) = options
            .roles
            .iter()
            .find(|role| !paths.iter().any(|path| role.is_for(path)))
        {
            return Err(OpenError::RoleWithoutInput(role.file.clone()));
        }
        let reading = reading(paths.len());
        let (mut streams, mut total) = (Vec::new(), Some(0u64));
        let mut empty = Vec::new();
        for path in paths {
            let id = InputId(u16::try_from(streams.len()).map_err(|_| OpenError::TooMany)?);
            let (stream, size) = match Stream::open(id, path, options, &reading) {
                // What a killed recorder leaves of a ring: the others are whole.
                Err(OpenError::Empty { path }) if paths.len() > 1 => {
                    empty.push(path);
                    continue;
                }
                opened => opened?,
            };
            total = total
                .zip(size)
                .map(|(total, size)| total.saturating_add(size));
            streams.push(stream);
        }
        let Some(first) = streams.first_mut() else {
            return match empty.pop() {
                Some(path) => Err(OpenError::Empty { path }),
                None => Ok(InputSet::over(streams, total)),
            };
        };
        for path in empty {
            let note = format!("{} beside it is empty and was left out", path.display());
            first.shared.info.notes.push(note);
        }
        Ok(InputSet::over(streams, total))
    }

    /// The same over readers, each with the name it is shown under.
    pub fn from_readers(
        readers: Vec<(String, Box<dyn std::io::Read + Send>)>,
        options: &OpenOptions,
    ) -> Result<InputSet, OpenError> {
        let reading = reading(readers.len());
        let mut streams = Vec::new();
        for (index, (name, reader)) in readers.into_iter().enumerate() {
            let id = InputId(u16::try_from(index).map_err(|_| OpenError::TooMany)?);
            streams.push(Stream::from_reader(
                id,
                Path::new(&name),
                reader,
                options,
                &reading,
            )?);
        }
        Ok(InputSet::over(streams, None))
    }

    fn over(streams: Vec<Stream>, total: Option<u64>) -> InputSet {
        let infos = streams
            .iter()
            .map(|stream| stream.shared.info.clone())
            .collect();
        InputSet {
            streams,
            order: Vec::new(),
            infos,
            next_source: 0,
            lent: false,
            started: false,
            ended: false,
            total,
        }
    }

    /// What is known about the inputs: complete once [`next`](Self::next) has returned `None`, else as of the opening.
    pub fn inputs(&self) -> &[InputInfo] {
        &self.infos
    }

    /// After the end: the inputs were damaged and gave nothing at all (exit code 2).
    pub fn nothing_readable(&self) -> bool {
        self.ended
            && self
                .infos
                .iter()
                .all(|info| info.records == 0 && info.damaged)
    }

    /// After the end: up to when the engines watched that made these recordings. Time passes until then although no record tells so;
    /// captures of others end with their last record.
    pub fn watched_until(&self) -> Option<Timestamp> {
        let streams = self.streams.iter().map(|stream| stream.shared.watched);
        let until = streams.max().flatten()?;
        self.bounds_hold(until).then_some(until)
    }

    fn bounds_hold(&self, at: Timestamp) -> bool {
        self.streams
            .iter()
            .all(|stream| stream.shared.bounds.holds(at))
    }

    /// Octets read so far, before decompression.
    pub fn octets_read(&self) -> u64 {
        self.streams
            .iter()
            .fold(0, |sum, stream| sum.saturating_add(stream.octets_read()))
    }

    /// Octets to read in all; not known where standard input or a pipe is among the inputs.
    pub fn octets_total(&self) -> Option<u64> {
        self.total
    }

    /// The time of what [`next`](Self::next) will give; `None` at the end.
    pub fn next_at(&mut self) -> Option<Timestamp> {
        if !self.started {
            self.start();
        } else if self.lent {
            self.move_on();
        }
        self.key(*self.order.first()?).map(|(at, _)| at)
    }

    /// The next item, in the order of time. A source is announced before its first record. Lends: an item lives until the next call.
    #[allow(clippy::should_implement_trait)] // an iterator cannot lend
    pub fn next(&mut self) -> Option<Item<'_>> {
        if !self.started {
            self.start();
        } else if self.lent {
            self.move_on();
        }
        let Some(&first) = self.order.first() else {
            self.finish();
            return None;
        };
        let stream = self.streams.get_mut(first)?;
        if let Some(info) = stream.announce(&mut self.next_source) {
            return Some(Item::Source(info));
        }
        self.lent = true;
        stream.item()
    }

    /// Reads each stream's head; streams without any time of their own begin where the others do.
    fn start(&mut self) {
        self.started = true;
        for stream in self
            .streams
            .iter_mut()
            .filter(|stream| !stream.is_untimed())
        {
            stream.advance();
        }
        let begin = self
            .streams
            .iter()
            .filter_map(|s| s.head.as_ref())
            .map(|head| head.at)
            .min();
        for stream in self.streams.iter_mut().filter(|stream| stream.is_untimed()) {
            stream.place(begin.unwrap_or(Timestamp(0)));
            stream.advance();
        }
        self.order = (0..self.streams.len())
            .filter(|&index| self.key(index).is_some())
            .collect();
        let mut order = std::mem::take(&mut self.order);
        order.sort_by_key(|&index| self.key(index));
        self.order = order;
    }

    fn key(&self, index: usize) -> Option<(Timestamp, u128)> {
        let head = self.streams.get(index)?.head.as_ref()?;
        Some((head.at, head.tie))
    }

    /// Advances the first stream and puts it where its new head belongs: mostly to the front again.
    fn move_on(&mut self) {
        self.lent = false;
        let Some(&first) = self.order.first() else {
            return;
        };
        if !self.streams.get_mut(first).is_some_and(Stream::advance) {
            self.order.remove(0);
            return;
        }
        if self.order.len() > 1 {
            let key = self.key(first);
            let behind = self.order.get(1..).unwrap_or_default();
            let count = behind.partition_point(|&other| self.key(other) < key);
            if let Some(part) = self.order.get_mut(..=count) {
                part.rotate_left(1);
            }
        }
    }

    /// Takes over what the streams have learnt, and looks at the inputs side by side.
    fn finish(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.infos = self
            .streams
            .iter()
            .map(|stream| stream.shared.info.clone())
            .collect();
        let spans: Vec<Option<(Timestamp, Timestamp)>> = self
            .infos
            .iter()
            .map(|info| info.from.zip(info.to))
            .collect();
        for (index, info) in self.infos.iter_mut().enumerate() {
            let Some((from, to)) = info.from.zip(info.to) else {
                continue;
            };
            if from < CLOCK_UNSET {
                info.notes
                    .push("its times lie before 1990: the clock was not set".into());
            }
            let nearest = spans
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index)
                .filter_map(|(_, span)| *span)
                .map(|(other_from, other_to)| from.minus(other_to).max(other_from.minus(to)).max(0))
                .min();
            if let Some(distance) = nearest.filter(|distance| *distance > APART) {
                info.notes.push(format!(
                    "{:.1} h apart from every other input: another time, or another clock",
                    distance as f64 / 3.6e12
                ));
            }
        }
    }
}

fn reading(inputs: usize) -> Reading {
    Reading {
        capacity: (BUFFERS / inputs.max(1)).clamp(LEAST_BUFFER, READ_SIZE),
        threaded: inputs <= MAX_THREADS,
    }
}
