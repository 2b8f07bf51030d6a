//! The netlink collector: what the kernel notifies, what it answers to dumps, and what was lost between, in the kernel's own order.
//!
//! One socket for each namespace carries notifications *and* dumps: the kernel queues both in the order of its tables' changes, so that a
//! dump never brings back what was deleted while it ran. Requests are handed over like everything else: they tell the decoder what a
//! dump was about to list, also when the list turns out empty, and a recording replays to the same (law 13).

mod actor;
pub mod dump;
mod namespaces;
mod scan;
pub mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::actor::Actors;
use self::dump::Dumps;
use self::scan::{Found, Scan};
pub use self::socket::{BUFFER, Namespace};
use self::socket::{NetlinkSocket, Opened, Received};
use super::Format;
use super::live::{Confine, Duty, LiveItem, LiveRecord, LiveSender, SourceIds, Stop, locator, now};
use crate::event::loss::{Gap, GapKind};
use crate::event::{SourceId, SourceInfo, SourceKind, Timestamp, WireText};

/// Octets read together become one record, so that a flood is not a flood of channel items. A quiet kernel's messages stay apart.
const BATCH: usize = 16 << 10;
/// What one datagram may need at first: the kernel cuts dumps at 32 KiB, notifications are smaller but for huge multipath sets.
const DATAGRAM: usize = 64 << 10;
/// The buffer grows up to this when a message did not fit.
const DATAGRAM_MOST: usize = 4 << 20;
/// How often due dumps are looked for and the merge is told that nothing waits.
const TICK: Duration = Duration::from_millis(100);
/// After so many wake-ups in a row, each within [`PACE`] of the last, …
const HOT: u32 = 16;
/// … the socket is left to fill for this long before it is read again: a flood is then read in large pieces. A wake-up for each
/// message costs more than the message (measured). Its buffer holds a hundred times more; stamps are late by at most this.
const PACE: Duration = Duration::from_millis(2);
/// Batches read before stop and due dumps are looked at again.
const TURN: usize = 64;
/// Other namespaces that are entered: each has a thread that wakes ten times a second.
const MAX_ENTERED: usize = 64;
/// How often it is looked whether a namespace is still there. A socket in it keeps it alive, with its ends of cables.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Other namespaces that are told apart by id.
const MAX_NSIDS: usize = 256;

/// What to watch.
#[derive(Clone, Debug)]
pub struct Config {
    /// The namespace.
    pub namespace: Namespace,
    /// Also the other namespaces that have an id here (`ip monitor all-nsid`). Those that are there already are entered and watched like
    /// this one ([`Collector::others`]); one that gets its id later is young then, and is heard from outside, without dumps.
    pub all_nsid: bool,
    /// Octets of the socket's receive buffer.
    pub buffer: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            namespace: Namespace::Own,
            all_nsid: false,
            buffer: BUFFER,
        }
    }
}

/// An open collector that does not run yet: opening needs privilege, running needs none.
pub struct Collector {
    socket: NetlinkSocket,
    namespace: Namespace,
    /// The ids of the namespaces that have a collector of their own.
    entered: BTreeSet<i32>,
    /// Collectors of other namespaces that have an id in this one.
    pub others: Vec<Collector>,
    /// What was asked for and not granted, as sentences.
    pub notes: Vec<String>,
}

/// Opens the socket.
pub fn open(config: &Config) -> io::Result<Collector> {
    let Opened { socket, notes } =
        NetlinkSocket::open(&config.namespace, config.all_nsid, config.buffer)?;
    let mut collector = Collector {
        socket,
        namespace: config.namespace.clone(),
        entered: BTreeSet::new(),
        others: Vec::new(),
        notes,
    };
    if config.all_nsid {
        collector.enter_others(config);
    }
    Ok(collector)
}

/// A running collector.
pub struct Running {
    /// The source of the namespace itself.
    pub source: SourceId,
    pub thread: JoinHandle<io::Result<()>>,
}

impl Collector {
    /// Enters the namespaces that have an id in ours.
    fn enter_others(&mut self, config: &Config) {
        let found = match namespaces::with_ids(&config.namespace) {
            Ok(found) => found,
            Err(error) => {
                let note = format!("other namespaces are heard, but not known: {error}");
                return self.notes.push(note);
            }
        };
        for (id, namespace) in found.into_iter().take(MAX_ENTERED) {
            let label = namespace.label().unwrap_or_default();
            let opened = open(&Config {
                namespace,
                all_nsid: false,
                buffer: config.buffer,
            });
            match opened {
                Ok(other) => {
                    self.entered.insert(id);
                    self.others.push(other);
                }
                Err(error) => {
                    let note = format!("{label} is heard as nsid {id}, but not known: {error}");
                    self.notes.push(note);
                }
            }
        }
    }

    /// This one and those of the other namespaces.
    pub fn and_others(mut self) -> impl Iterator<Item = Collector> {
        let others = std::mem::take(&mut self.others);
        std::iter::once(self).chain(others)
    }

    /// What is watched, for people.
    pub fn label(&self) -> Option<String> {
        self.namespace.label()
    }

    /// Runs until `stop`, on a thread of its own: a runtime would be woken by every message, also while a flood is left to gather.
    pub fn spawn(
        self,
        sender: LiveSender,
        ids: SourceIds,
        stop: Stop,
        confine: Confine,
    ) -> io::Result<Running> {
        let info = ids.announce(SourceKind::Netlink, self.namespace.label().as_deref());
        let source = info.id;
        let begin = now();
        let work = Work {
            port: self.socket.port(),
            socket: self.socket,
            sender,
            ids,
            label: self.namespace.label(),
            identity: self.namespace.identity(),
            namespace: self.namespace,
            looked: begin,
            entered: self.entered,
            own: Lane::new(source),
            others: BTreeMap::new(),
            dumps: Dumps::default(),
            scan: Scan::default(),
            actors: Actors::default(),
            buffer: vec![0; DATAGRAM],
            heard: None,
            begin: Some(begin),
            fresh: true,
        };
        let thread = thread::Builder::new()
            .name("netlink".into())
            .spawn(move || {
                let sender = work.sender.clone();
                let result = confine
                    .enter(Duty::Kernel)
                    .and_then(|()| work.run(info, &stop));
                if let Err(error) = &result {
                    let note = format!("the kernel is no longer watched: {error}");
                    let _ = sender.blocking_send(LiveItem::Note(note)); // nobody listens: nobody needs to know
                }
                result
            })?;
        Ok(Running { source, thread })
    }
}

/// One ordered source.
struct Lane {
    source: SourceId,
    number: u64,
}

impl Lane {
    fn new(source: SourceId) -> Lane {
        Lane { source, number: 0 }
    }

    fn record(&mut self, at: Timestamp, bytes: &[u8]) -> LiveItem {
        self.number += 1;
        LiveItem::Record(LiveRecord {
            at,
            source: self.source,
            locator: locator(self.number),
            format: Format::Netlink,
            bytes: bytes.into(),
            wire_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        })
    }

    fn gap(&mut self, at: Timestamp, from: Timestamp, detail: &str) -> LiveItem {
        self.number += 1;
        LiveItem::Gap {
            at,
            source: self.source,
            locator: locator(self.number),
            gap: Gap {
                kind: GapKind::NetlinkOverrun,
                from,
                to: at,
                lost: None,
                detail: WireText::from(detail),
            },
        }
    }
}

struct Work {
    socket: NetlinkSocket,
    port: u32,
    sender: LiveSender,
    ids: SourceIds,
    label: Option<String>,
    namespace: Namespace,
    /// What the namespace was when it was entered.
    identity: Option<(u64, u64)>,
    /// When it was last looked whether it is still there.
    looked: Timestamp,
    /// Other namespaces' ids that are not heard here, since they have collectors.
    entered: BTreeSet<i32>,
    own: Lane,
    others: BTreeMap<i32, Lane>,
    dumps: Dumps,
    scan: Scan,
    actors: Actors,
    buffer: Vec<u8>,
    /// When the last datagram was read: a loss lies between then and its report.
    heard: Option<Timestamp>,
    /// Stamp of the first record: namespaces begin in the order in which they were asked for, however threads run.
    begin: Option<Timestamp>,
    /// The baseline is not told complete yet.
    fresh: bool,
}

/// Lets a flood gather.
#[expect(
    clippy::disallowed_methods,
    reason = "not waiting for anything: the kernel's queue shall fill"
)]
fn pause() {
    thread::sleep(PACE);
}

/// The engine is gone: nobody wants what we collect.
struct Unwanted;

impl Work {
    fn run(mut self, info: SourceInfo, stop: &Stop) -> io::Result<()> {
        if self.sender.blocking_send(LiveItem::Source(info)).is_err() {
            return Ok(());
        }
        self.dumps.baseline();
        let mut result = self.watch(stop);
        // What the kernel has queued already belongs to the time before the stop.
        if matches!(result, Ok(Ok(()))) {
            result = self.drain().map(|drained| drained.map(|_| ()));
        }
        let lanes = std::iter::once(&self.own).chain(self.others.values());
        for source in lanes.map(|lane| lane.source) {
            // Nobody there to hear it: nobody waits for it either.
            let _ = self.sender.blocking_send(LiveItem::Closed { source });
        }
        result.map(|_| ())
    }

    fn watch(&mut self, stop: &Stop) -> io::Result<Result<(), Unwanted>> {
        let mut more = true;
        let (mut hot, mut last) = (0u32, Timestamp::MIN);
        // The other side of `stop` is gone with the run that it belongs to.
        while !*stop.borrow() && stop.has_changed().is_ok() {
            if !more {
                self.wait()?;
            }
            hot = if now().since(last) < PACE {
                hot.saturating_add(1)
            } else {
                0
            };
            if hot > HOT {
                pause();
            }
            if self.has_gone() {
                return Ok(Ok(()));
            }
            match self.step()? {
                Ok(waits) => more = waits,
                Err(Unwanted) => return Ok(Err(Unwanted)),
            }
            last = now();
        }
        Ok(Ok(()))
    }

    /// Whether nobody but us keeps the namespace.
    fn has_gone(&mut self) -> bool {
        let (Some(identity), at) = (self.identity, now()) else {
            return false;
        };
        if at.since(self.looked) < LOOK_EVERY {
            return false;
        }
        self.looked = at;
        let gone = self.namespace.has_gone(identity);
        if gone {
            let label = self.label.as_deref().unwrap_or("the namespace");
            let note = format!("{label} is gone and is not watched any more");
            let _ = self.sender.blocking_send(LiveItem::Note(note)); // nobody listens: nobody needs to know
        }
        gone
    }

    /// Waits for a message, but not beyond the next tick.
    fn wait(&self) -> io::Result<()> {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let tick = PollTimeout::try_from(TICK).unwrap_or(PollTimeout::ZERO);
        match poll(&mut fds, tick) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Reads all that waits, asks for dumps that are due, promises the rest of time.
    fn step(&mut self) -> io::Result<Result<bool, Unwanted>> {
        let before = now();
        let mut more = match self.drain()? {
            Ok(more) => more,
            Err(Unwanted) => return Ok(Err(Unwanted)),
        };
        while let Some((table, seq)) = self.dumps.next(now()) {
            let request = table.request(seq, self.port);
            let stamp = self.begin.take().unwrap_or_else(now);
            let item = self.own.record(stamp, &request);
            if self.sender.blocking_send(item).is_err() {
                return Ok(Err(Unwanted));
            }
            self.socket.send(&request)?;
            // The first part of the answer is there when the request returns.
            match self.drain()? {
                Ok(waits) => more = waits,
                Err(Unwanted) => return Ok(Err(Unwanted)),
            }
        }
        if more {
            return Ok(Ok(true));
        }
        if self.fresh && self.dumps.is_settled() {
            self.fresh = false;
            let of = self.label.as_ref().map(|label| format!(" of {label}"));
            let note = format!("read the kernel{}", of.unwrap_or_default());
            if self.sender.blocking_send(LiveItem::Note(note)).is_err() {
                return Ok(Err(Unwanted));
            }
        }
        let sources: Vec<SourceId> = std::iter::once(&self.own)
            .chain(self.others.values())
            .map(|lane| lane.source)
            .collect();
        for source in sources {
            // Stamps are taken when we read: what was not there before is younger.
            let promise = LiveItem::Idle {
                source,
                until: before,
            };
            if self.sender.blocking_send(promise).is_err() {
                return Ok(Err(Unwanted));
            }
        }
        Ok(Ok(false))
    }

    /// Reads until nothing is left, or its turn is over (then `true`). Waits when the engine is slower than the kernel: the kernel then counts the loss (law 12).
    fn drain(&mut self) -> io::Result<Result<bool, Unwanted>> {
        let mut items = Vec::new();
        for _ in 0..TURN {
            let more = self.batch(&mut items)?;
            for item in items.drain(..) {
                if self.sender.blocking_send(item).is_err() {
                    return Ok(Err(Unwanted));
                }
            }
            if !more {
                return Ok(Ok(false));
            }
        }
        Ok(Ok(true))
    }

    /// Reads up to [`BATCH`] octets of one namespace into a record; whether more may wait.
    fn batch(&mut self, items: &mut Vec<LiveItem>) -> io::Result<bool> {
        let mut used = 0;
        let mut found = Found::default();
        let mut at = None;
        let more = loop {
            let room = self.buffer.get_mut(used..).unwrap_or_default();
            match self.socket.receive(room)? {
                Received::Empty => break false,
                Received::Foreign => {}
                Received::Messages { octets, nsid } => {
                    let stamp = *at.get_or_insert_with(now);
                    self.heard = Some(stamp);
                    let end = used.saturating_add(octets);
                    let datagram = self.buffer.get(used..end).unwrap_or_default();
                    if let Some(nsid) = nsid {
                        let other = datagram.to_vec();
                        self.flush(at, used, items);
                        used = 0;
                        self.other(nsid, stamp, &other, items);
                    } else {
                        self.scan
                            .messages(datagram, stamp, &mut self.dumps, &mut found);
                        if let Some(port) = found.port.take().filter(|port| *port != self.port)
                            && let Some(note) = self.actors.introduce(port, stamp)
                        {
                            items.push(self.own.record(stamp, &note));
                        }
                        used = end.next_multiple_of(4);
                        for nsid in found.left.drain(..) {
                            self.left(nsid, items);
                        }
                    }
                    if used >= BATCH || items.len() >= 16 {
                        break true;
                    }
                }
                Received::Overrun => {
                    self.flush(at, used, items);
                    let stamp = now();
                    self.dumps.overrun(stamp);
                    let from = self.heard.unwrap_or(stamp);
                    items.push(self.own.gap(
                        stamp,
                        from,
                        "the kernel dropped netlink messages (ENOBUFS); all tables are read again",
                    ));
                    self.heard = Some(stamp);
                    return Ok(true);
                }
                Received::Truncated(size) => {
                    self.flush(at, used, items);
                    let stamp = now();
                    self.dumps.overrun(stamp);
                    let grown = size
                        .saturating_add(BATCH)
                        .next_power_of_two()
                        .min(DATAGRAM_MOST);
                    if grown > self.buffer.len() {
                        self.buffer.resize(grown, 0);
                    }
                    items.push(self.own.gap(
                        stamp,
                        stamp,
                        "a netlink message did not fit the buffer; all tables are read again",
                    ));
                    return Ok(true);
                }
            }
        };
        self.flush(at, used, items);
        items.extend(found.notes.into_iter().map(LiveItem::Note));
        Ok(more)
    }

    fn flush(&mut self, at: Option<Timestamp>, used: usize, items: &mut Vec<LiveItem>) {
        if let (Some(at), Some(bytes)) = (at, self.buffer.get(..used))
            && used > 0
        {
            items.push(self.own.record(at, bytes));
        }
    }

    /// An id is nobody's any more: the next namespace that gets it is another one.
    fn left(&mut self, nsid: i32, items: &mut Vec<LiveItem>) {
        self.entered.remove(&nsid);
        if let Some(Lane { source, .. }) = self.others.remove(&nsid) {
            items.push(LiveItem::Closed { source });
        }
    }

    /// A datagram of another namespace: a source of its own, as interface numbers repeat between namespaces.
    fn other(&mut self, nsid: i32, at: Timestamp, datagram: &[u8], items: &mut Vec<LiveItem>) {
        if self.entered.contains(&nsid) {
            return;
        }
        if !self.others.contains_key(&nsid) {
            if self.others.len() >= MAX_NSIDS {
                return;
            }
            let label = match &self.label {
                Some(label) => format!("{label}, nsid {nsid}"),
                None => format!("nsid {nsid}"),
            };
            let info = self.ids.announce(SourceKind::Netlink, Some(&label));
            self.others.insert(nsid, Lane::new(info.id));
            items.push(LiveItem::Source(info));
            let note = format!("{label} is heard from now on; what it had before is not known");
            items.push(LiveItem::Note(note));
        }
        if let Some(lane) = self.others.get_mut(&nsid) {
            items.push(lane.record(at, datagram));
        }
    }
}
