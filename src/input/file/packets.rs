//! The stream of one capture file: walk, filter, put in order, hand out.
//!
//! The walkers say what the next block is; here frames are counted as Wireshark counts them, stamps go through the file's clock, and
//! what passes the prefilter waits in the reorder window. Everything else costs its header only.

use std::collections::BTreeMap;

use super::bytes::{Bytes, End};
use super::pcap;
use super::pcapng::PcapNg;
use super::prefilter::{Prefilter, link};
use super::stream::{Body, Head, Shared};
use super::unread::Unread;
use crate::event::loss::{Gap, GapKind};
use crate::event::{SourceKind, Timestamp};
use crate::input::Format;
use crate::input::merge::clock::Clock;
use crate::input::merge::reorder::{Key, Reorder, WINDOW};

/// A frame as a walker found it; `start` and `length` are relative to the block.
pub struct Frame {
    /// Index among the file's sources.
    pub source: Option<u32>,
    pub link_type: u16,
    /// `None`: the block has no stamp.
    pub raw: Option<Timestamp>,
    pub start: usize,
    pub length: usize,
    pub wire_len: u32,
    /// Octets of the whole block.
    pub block: usize,
    /// Packets that were lost before it, as the block says.
    pub lost: u64,
}

/// What a walker found.
pub enum Walked {
    /// A packet.
    Frame(Frame),
    /// A block that Wireshark numbers as a frame although it is no packet (custom blocks, journal entries, system calls).
    Foreign { block: usize },
    /// Nothing to see.
    Skip { block: usize },
    /// A new source.
    Interface {
        block: usize,
        link_type: u16,
        name: Option<String>,
        /// What it is, where the file says more than the link type.
        kind: Option<SourceKind>,
    },
    /// A loss, as a recording of ours tells it.
    Lost {
        block: usize,
        source: u32,
        at: Timestamp,
        gap: Box<Gap>,
    },
    /// The time up to which a recording's engine watched.
    Watched { block: usize, at: Timestamp },
    /// The capture lost packets.
    Drops {
        block: usize,
        source: u32,
        from: Option<Timestamp>,
        at: Timestamp,
        lost: u64,
    },
    /// The file ended where it may.
    End,
    /// It cannot be read from here on.
    Damaged(String),
}

impl Walked {
    /// What an end of the stream before `what` is complete means.
    pub fn end_of(bytes: &Bytes, what: &str) -> Walked {
        match bytes.end() {
            End::Failed(error) => Walked::Damaged(error.to_string()),
            _ if bytes.data().is_empty() => Walked::End,
            _ => Walked::Damaged(format!("the file ends inside {what}")),
        }
    }
}

/// Either container.
pub enum Container {
    Pcap(pcap::Header),
    PcapNg(PcapNg),
}

/// What waits in the window.
enum Held {
    Frame {
        source: u32,
        number: u64,
        link_type: u16,
        wire_len: u32,
        tie: u128,
    },
    Gap {
        source: u32,
        number: u64,
        gap: Box<Gap>,
        tie: u128,
    },
}

/// The stream.
pub struct Packets {
    container: Container,
    clock: Clock,
    window: Reorder<Held>,
    prefilter: Option<Prefilter>,
    frames: u64,
    sequence: u64,
    /// Sequence number of each source's last frame if it was held: a wild stamp is mended while it waits.
    last_held: Vec<Option<u64>>,
    unknown_links: BTreeMap<u16, u64>,
    /// Frames that did not pass, as long as none did.
    unread: Unread,
    /// The first stamp: frames before it that have none are given it.
    floor: Option<Timestamp>,
    ended: bool,
    lent: Option<Key>,
}

impl Packets {
    /// A stream whose magic was recognised. Without `filter` every packet of a known link type is handed out.
    pub fn new(container: Container, filter: bool, bytes: &mut Bytes, shared: &mut Shared) -> Self {
        if let Container::Pcap(header) = &container {
            bytes.consume(pcap::HEADER);
            shared.add_source(source_kind(header.link_type), None);
        }
        Packets {
            container,
            clock: Clock::new(WINDOW),
            window: Reorder::default(),
            prefilter: filter.then(Prefilter::default),
            frames: 0,
            sequence: 0,
            last_held: Vec::new(),
            unknown_links: BTreeMap::new(),
            unread: Unread::default(),
            floor: None,
            ended: false,
            lent: None,
        }
    }

    /// Makes the next item ready.
    pub fn advance(&mut self, bytes: &mut Bytes, shared: &mut Shared) -> Option<Head> {
        if let Some(key) = self.lent.take() {
            self.window.release(&key);
        }
        loop {
            if let Some(key) = self.window.pop(self.clock.newest(), self.ended) {
                self.lent = Some(key);
                if let Some(head) = self.head(&key) {
                    return Some(head);
                }
            } else if self.ended {
                return None;
            }
            // A handful of blocks at a time: most are filtered, and the window is asked again only after one that passed.
            while !self.ended && !self.step(bytes, shared) {}
        }
    }

    fn head(&self, key: &Key) -> Option<Head> {
        let (held, _) = self.window.get(key)?;
        let (source, number, tie, gap) = match held {
            Held::Frame {
                source,
                number,
                tie,
                ..
            } => (*source, *number, *tie, None),
            Held::Gap {
                source,
                number,
                gap,
                tie,
            } => (*source, *number, *tie, Some((**gap).clone())),
        };
        Some(Head {
            at: key.at.max(self.floor.unwrap_or(Timestamp(0))),
            tie,
            source,
            number,
            offset: 0,
            body: match gap {
                Some(gap) => Body::Gap(gap),
                None => Body::Held,
            },
        })
    }

    /// The packet of the head that [`advance`](Self::advance) returned: format, bytes, length on the wire.
    pub fn lent(&self) -> Option<(Format, &[u8], u32)> {
        let (held, bytes) = self.window.get(self.lent.as_ref()?)?;
        match held {
            Held::Frame {
                link_type,
                wire_len,
                ..
            } => Some((Format::Packet(*link_type), bytes, *wire_len)),
            Held::Gap { .. } => None,
        }
    }

    /// Walks one block. True if something new is in the window or the input has ended.
    fn step(&mut self, bytes: &mut Bytes, shared: &mut Shared) -> bool {
        let walked = match &mut self.container {
            Container::Pcap(header) => header.walk(bytes),
            Container::PcapNg(walker) => walker.walk(bytes),
        };
        let (block, held) = match walked {
            Walked::Frame(frame) => (frame.block, self.frame(&frame, bytes, shared)),
            Walked::Foreign { block } => {
                self.frames += 1;
                (block, false)
            }
            Walked::Skip { block } => (block, false),
            Walked::Interface {
                block,
                link_type,
                name,
                kind,
            } => {
                shared.add_source(kind.unwrap_or_else(|| source_kind(link_type)), name);
                (block, false)
            }
            Walked::Lost {
                block,
                source,
                at,
                gap,
            } => {
                self.floor.get_or_insert(at);
                self.hold_gap(at, source, *gap, shared);
                (block, true)
            }
            Walked::Watched { block, at } => {
                shared.watched = shared.watched.max(Some(at));
                (block, false)
            }
            Walked::Drops {
                block,
                source,
                from,
                at,
                lost,
            } => {
                let gap = Gap {
                    kind: GapKind::CaptureDrops,
                    from: from.or(shared.first_of(source)).unwrap_or(at).min(at),
                    to: at,
                    lost: Some(lost),
                    detail: "the capture's own counter of packets it lost".into(),
                };
                // The counters' stamp is no packet's: it moves no clock.
                let at = match self.clock.newest() {
                    Timestamp::MIN => at,
                    newest => at.min(newest),
                };
                self.hold_gap(at, source, gap, shared);
                (block, true)
            }
            Walked::End => {
                self.ended = true;
                (0, true)
            }
            Walked::Damaged(why) => {
                self.ended = true;
                self.damaged(&why, bytes, shared);
                (0, true)
            }
        };
        bytes.consume(block);
        if self.ended {
            self.note_end(shared);
        }
        held
    }

    fn frame(&mut self, frame: &Frame, bytes: &Bytes, shared: &mut Shared) -> bool {
        self.frames += 1;
        let Some(source) = frame.source else {
            return false;
        };
        let before = self.clock.offset();
        let (mut at, step) = match frame.raw {
            Some(raw) => self.clock.read(source as usize, raw),
            None => (self.clock.newest(), None),
        };
        if frame.raw.is_some() {
            self.floor.get_or_insert(at);
        }
        let mut gap = None;
        if let (Some(step), Some(raw)) = (step, frame.raw) {
            let mended = step.lone
                && match self.last_held.get(source as usize).copied().flatten() {
                    // Nobody saw the frame.
                    None => true,
                    Some(sequence) if step.before == Timestamp::MIN => {
                        self.window.retime(sequence, raw)
                    }
                    Some(sequence) => self.window.retime(sequence, step.before),
                };
            if mended {
                self.clock.forget_wild(source as usize, step.before, before);
                at = self.clock.read(source as usize, raw).0;
                self.floor = self.floor.map(|floor| floor.min(at));
                shared.info.to = shared.info.to.map(|to| to.min(self.clock.newest()));
            }
            gap = Some(shared.clock_step(step.back, mended, at));
        }
        if self.last_held.len() <= source as usize {
            self.last_held.resize(source as usize + 1, None);
        }
        if let Some(last) = self.last_held.get_mut(source as usize) {
            *last = None;
        }
        let stamped = frame.raw.is_some() || at != Timestamp::MIN;
        let within = shared.count(stamped.then_some(at), true);
        shared.seen(source, at);
        if let Some(gap) = gap {
            self.hold_gap(at, source, gap, shared);
        }
        if frame.lost > 0 {
            let gap = Gap {
                kind: GapKind::CaptureDrops,
                from: shared.previous_of(source).unwrap_or(at),
                to: at,
                lost: Some(frame.lost),
                detail: "packets lost before this one, says the capture".into(),
            };
            self.hold_gap(at, source, gap, shared);
        }
        if !link::is_known(frame.link_type) {
            let count = self.unknown_links.entry(frame.link_type).or_default();
            *count = count.saturating_add(1);
            return true;
        }
        let data = bytes
            .data()
            .get(frame.start..frame.start.saturating_add(frame.length))
            .unwrap_or_default();
        // What our own stations wrote is all wanted, also handshakes and resets on ports that mean nothing to others.
        let own = shared.is_own_feed(source);
        if !within {
            return false;
        }
        if !own
            && self
                .prefilter
                .as_mut()
                .is_some_and(|filter| !filter.passes(frame.link_type, data))
        {
            if self.sequence == 0 {
                self.unread.add(frame.link_type, data);
            }
            return false;
        }
        if self.sequence == 0 {
            self.unread.clear();
        }
        let tie = shared.tie(source, at, data);
        self.sequence += 1;
        if let Some(last) = self.last_held.get_mut(source as usize) {
            *last = Some(self.sequence);
        }
        let held = Held::Frame {
            source,
            number: self.frames,
            link_type: frame.link_type,
            wire_len: frame.wire_len,
            tie,
        };
        let place = self.place(tie);
        self.window.push(at, place, self.sequence, held, data);
        true
    }

    fn hold_gap(&mut self, at: Timestamp, source: u32, gap: Gap, shared: &mut Shared) {
        shared.info.gaps += 1;
        if !shared.bounds.holds(at) {
            return;
        }
        let tie = shared.tie(source, at, gap.detail.octets());
        self.sequence += 1;
        let held = Held::Gap {
            source,
            number: self.frames,
            gap: Box::new(gap),
            tie,
        };
        let place = self.place(tie);
        self.window.push(at, place, self.sequence, held, &[]);
    }

    /// What orders records of one time among each other: content, but in our own recordings the order in which they were taken.
    fn place(&self, tie: u128) -> u128 {
        match &self.container {
            Container::PcapNg(walker) if walker.is_recording => 0,
            _ => tie,
        }
    }

    fn damaged(&mut self, why: &str, bytes: &Bytes, shared: &mut Shared) {
        let gap = shared.damage(why, bytes.offset());
        let at = self.clock.newest().max(Timestamp(0));
        let source = shared.any_source();
        let gap = Gap {
            from: at,
            to: at,
            ..gap
        };
        self.hold_gap(at, source, gap, shared);
    }

    fn note_end(&mut self, shared: &mut Shared) {
        for (link_type, count) in &self.unknown_links {
            shared.note(format!(
                "{count} frames of link type {} were not decoded",
                link::described(*link_type)
            ));
        }
        if let Some(note) = self.unread.note() {
            shared.note(note);
        }
        if self.frames == 0 && !shared.info.damaged {
            shared.note("there are no packets in it".into());
        }
        if let Container::PcapNg(walker) = &self.container
            && walker.sections > 1
        {
            shared.note(format!("{} sections", walker.sections));
        }
        if self.window.late() > 0 {
            shared.note(format!(
                "{} frames came more than 2 s late and were given the time reached",
                self.window.late()
            ));
        }
    }
}

fn source_kind(link_type: u16) -> SourceKind {
    if link_type == link::NETLINK {
        SourceKind::Netlink
    } else {
        SourceKind::Packets
    }
}
