//! The stream of one file that is a chain of records without frames: MRT, a BMP byte stream, rtmon.
//!
//! One ordered source each; records are lent from the read window without a copy. Order in the file is the order: MRT stamps are often
//! whole seconds, and a BMP stream has no arrival times at all.

use std::collections::BTreeMap;

use super::bytes::{Bytes, End, MAX_RECORD, Order, be16, be32};
use super::detect::{MAX_MRT, NLMSG_TSTAMP, PEEK, TSTAMP_LEN, bmp_length, find_bmp, mrt_excess};
use super::stream::{Body, Head, Shared};
use crate::event::loss::Gap;
use crate::event::{SourceKind, Timestamp, mrt_type};
use crate::input::Format;
use crate::input::merge::clock::Clock;
use crate::input::merge::reorder::WINDOW;

/// BMP per-peer stamps outside these years are not believed: some speakers put an uptime or zero there.
const PLAUSIBLE: std::ops::Range<u32> = 946_684_800..4_102_444_800; // 2000 to 2100

/// MRT types that are counted apart: the headers that are believed allow for about fifty that are not read.
const MAX_UNREAD: usize = 64;

/// Length of `struct nlmsghdr`.
const NLMSG_HEADER: usize = 16;

/// What the records are.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Kind {
    Mrt,
    Bmp,
    Rtmon,
}

/// The stream.
pub struct Chain {
    kind: Kind,
    clock: Clock,
    /// Records so far.
    records: u64,
    /// Octets lent, to be consumed before the next record.
    lent: usize,
    /// Time reached; what has no stamp gets it.
    reached: Timestamp,
    /// A BMP stream without any plausible stamp so far.
    pub untimed: bool,
    /// MRT records of types that are not decoded, by type and subtype.
    unread: BTreeMap<(u16, u16), u64>,
    /// A gap, and the record that waits behind it.
    waiting: Option<Head>,
    ended: bool,
}

/// One step along the chain.
enum Link {
    /// A record of this length (with padding), the octets that are its own, and its stamp if it has one.
    Record {
        block: usize,
        length: usize,
        raw: Option<Timestamp>,
    },
    /// A stamp for what follows.
    Stamp {
        block: usize,
        raw: Timestamp,
    },
    /// Octets that make no sense, and sense behind them.
    Lost {
        block: usize,
    },
    /// The end.
    End,
    Damaged(String),
}

impl Chain {
    /// At the first octet.
    pub fn new(kind: Kind, bytes: &mut Bytes, shared: &mut Shared) -> Chain {
        shared.add_source(
            match kind {
                Kind::Mrt => SourceKind::Mrt,
                Kind::Bmp => SourceKind::Bmp,
                Kind::Rtmon => SourceKind::Netlink,
            },
            None,
        );
        let mut chain = Chain {
            kind,
            clock: Clock::new(WINDOW),
            records: 0,
            lent: 0,
            reached: Timestamp(0),
            untimed: false,
            unread: BTreeMap::new(),
            waiting: None,
            ended: false,
        };
        if kind == Kind::Bmp {
            bytes.want(PEEK);
            match first_stamp(bytes.data()) {
                Some(stamp) => {
                    chain.reached = stamp;
                    shared.note("a BMP stream has no arrival times: its order is exact, its times are the router's per-peer stamps, never going back".into());
                }
                None => {
                    chain.untimed = true;
                    shared.note("this BMP stream has no usable times: its messages are placed at the beginning of the other inputs".into());
                }
            }
        }
        chain
    }

    /// Where an untimed stream begins.
    pub fn place(&mut self, at: Timestamp) {
        self.reached = at;
    }

    /// Makes the next item ready.
    pub fn advance(&mut self, bytes: &mut Bytes, shared: &mut Shared) -> Option<Head> {
        if let Some(head) = self.waiting.take() {
            return Some(head);
        }
        bytes.consume(std::mem::take(&mut self.lent));
        while !self.ended {
            let link = match self.kind {
                Kind::Mrt => mrt(bytes),
                Kind::Bmp => bmp(bytes),
                Kind::Rtmon => rtmon(bytes),
            };
            match link {
                Link::Record { block, length, raw } => {
                    self.records += 1;
                    let gap = raw.and_then(|raw| self.set_time(raw, shared));
                    let at = self.reached;
                    let within = shared.count(Some(at), true);
                    if !within {
                        bytes.consume(block);
                        continue;
                    }
                    self.lent = block;
                    if self.kind == Kind::Mrt {
                        self.count_unread(bytes.data());
                    }
                    let head = self.head(length, bytes, shared);
                    return Some(match gap {
                        Some(gap) => {
                            let gap = Head {
                                body: Body::Gap(gap),
                                ..head.clone()
                            };
                            self.waiting = Some(head);
                            gap
                        }
                        None => head,
                    });
                }
                Link::Stamp { block, raw } => {
                    let gap = self.set_time(raw, shared);
                    self.lent = block;
                    match gap {
                        Some(gap) if shared.bounds.holds(self.reached) => {
                            return Some(self.gap_head(gap, bytes, shared));
                        }
                        _ => bytes.consume(std::mem::take(&mut self.lent)),
                    }
                }
                Link::Lost { block } => {
                    let gap =
                        shared.damage(&format!("{block} octets are no message"), bytes.offset());
                    shared.info.gaps += 1;
                    if !shared.bounds.holds(self.reached) {
                        bytes.consume(block);
                        continue;
                    }
                    self.lent = block;
                    return Some(self.gap_head(self.here(gap, Some(block as u64)), bytes, shared));
                }
                Link::End => {
                    self.ended = true;
                    self.note_unread(shared);
                }
                Link::Damaged(why) => {
                    self.ended = true;
                    self.note_unread(shared);
                    let gap = shared.damage(&why, bytes.offset());
                    shared.info.gaps += 1;
                    if shared.bounds.holds(self.reached) {
                        return Some(self.gap_head(self.here(gap, None), bytes, shared));
                    }
                }
            }
        }
        None
    }

    /// The record of the head that [`advance`](Self::advance) returned last.
    pub fn lent<'a>(&self, length: usize, bytes: &'a Bytes) -> (Format, &'a [u8], u32) {
        let data = bytes.data().get(..length).unwrap_or_default();
        let format = match self.kind {
            Kind::Mrt => Format::Mrt,
            Kind::Bmp => Format::BmpStream,
            Kind::Rtmon => Format::Netlink,
        };
        (format, data, data.len() as u32) // at most MAX_RECORD
    }

    fn count_unread(&mut self, record: &[u8]) {
        let (Some(kind), Some(subtype)) = (be16(record, 4), be16(record, 6)) else {
            return;
        };
        if !mrt_type::is_read(kind, subtype)
            && (self.unread.len() < MAX_UNREAD || self.unread.contains_key(&(kind, subtype)))
        {
            let count = self.unread.entry((kind, subtype)).or_default();
            *count = count.saturating_add(1);
        }
    }

    fn note_unread(&self, shared: &mut Shared) {
        for ((kind, subtype), count) in &self.unread {
            let name = mrt_type::described(*kind, *subtype);
            shared.note(match count {
                1 => format!("1 MRT record of type {name} was not decoded"),
                _ => format!("{count} MRT records of type {name} were not decoded"),
            });
        }
    }

    fn here(&self, gap: Gap, lost: Option<u64>) -> Gap {
        Gap {
            from: self.reached,
            to: self.reached,
            lost,
            ..gap
        }
    }

    fn head(&self, length: usize, bytes: &Bytes, shared: &mut Shared) -> Head {
        let data = bytes.data().get(..length).unwrap_or_default();
        Head {
            at: self.reached,
            tie: shared.tie(0, self.reached, data),
            source: 0,
            number: self.records,
            offset: bytes.offset(),
            body: Body::Span(length),
        }
    }

    fn gap_head(&self, gap: Gap, bytes: &Bytes, shared: &mut Shared) -> Head {
        Head {
            body: Body::Gap(gap),
            ..self.head(0, bytes, shared)
        }
    }

    /// Moves on to the stamp `raw`, never back; tells of a clock step.
    fn set_time(&mut self, raw: Timestamp, shared: &mut Shared) -> Option<Gap> {
        if self.kind == Kind::Bmp {
            // Routes carry the time at which they were received: older than the message before them means nothing.
            self.reached = self.reached.max(raw);
            return None;
        }
        let (at, step) = self.clock.read(0, raw);
        self.reached = self.reached.max(at);
        step.map(|step| {
            shared.info.gaps += 1;
            shared.clock_step(step.back, false, self.reached)
        })
    }
}

/// RFC 6396 §2 and §3: a header of 12 octets; the extended types begin with microseconds.
fn mrt(bytes: &mut Bytes) -> Link {
    if !bytes.want(12) {
        return end_of(bytes, "a record header");
    }
    let data = bytes.data();
    let (Some(seconds), Some(kind), Some(length)) = (be32(data, 0), be16(data, 4), be32(data, 8))
    else {
        return Link::End;
    };
    let length = length as usize;
    if length > MAX_MRT - 12 {
        return Link::Damaged(format!("a record claims {length} octets"));
    }
    let mut block = length + 12;
    if !bytes.want(block) {
        return end_of(bytes, "a record");
    }
    if kind == 12 {
        block += if bytes.want(block + 17) {
            mrt_excess(bytes.data(), 0, block)
        } else {
            // The last record of such a file leaves the same four octets.
            usize::from(bytes.data().len() == block + 4) * 4
        };
    }
    let micros = match kind {
        17 | 33 | 49 if length >= 4 => be32(bytes.data(), 12).unwrap_or_default(),
        _ => 0,
    };
    Link::Record {
        block,
        length: block,
        raw: Some(Timestamp::from_parts(
            i64::from(seconds),
            i64::from(micros) * 1000,
        )),
    }
}

/// RFC 7854 §4.1; octets that are no header are skipped up to the next chain of headers.
fn bmp(bytes: &mut Bytes) -> Link {
    if !bytes.want(6) {
        return end_of(bytes, "a message header");
    }
    let Some(length) = bmp_length(bytes.data(), 0) else {
        let whole = !bytes.want(PEEK);
        let data = bytes.data().get(..PEEK).unwrap_or(bytes.data());
        return match find_bmp(data, whole) {
            Some(block) => Link::Lost { block },
            None if whole => Link::Damaged("what follows is no BMP message".into()),
            None => Link::Lost { block: PEEK },
        };
    };
    if !bytes.want(length) {
        return end_of(bytes, "a message");
    }
    Link::Record {
        block: length,
        length,
        raw: peer_stamp(bytes.data()),
    }
}

/// The stamp of the per-peer header (RFC 7854 §4.2), if there is one and it is plausible.
fn peer_stamp(message: &[u8]) -> Option<Timestamp> {
    if matches!(message.get(5)?, 4 | 5) {
        return None;
    }
    let (seconds, micros) = (be32(message, 40)?, be32(message, 44)?);
    PLAUSIBLE
        .contains(&seconds)
        .then(|| Timestamp::from_parts(i64::from(seconds), i64::from(micros.min(999_999)) * 1000))
}

/// The first plausible stamp of the messages at hand.
fn first_stamp(data: &[u8]) -> Option<Timestamp> {
    let mut at = match bmp_length(data, 0) {
        Some(_) => 0,
        None => find_bmp(data, true)?,
    };
    while let Some(length) = bmp_length(data, at) {
        if let Some(stamp) = data.get(at..at + length).and_then(peer_stamp) {
            return Some(stamp);
        }
        at += length;
    }
    None
}

/// rtnetlink messages as `rtmon` writes them: each batch behind a message of type 15 with the time.
fn rtmon(bytes: &mut Bytes) -> Link {
    if !bytes.want(NLMSG_HEADER) {
        return end_of(bytes, "a message header");
    }
    let data = bytes.data();
    // The length of a message is a small number in one order only.
    let is_little = Order::Little
        .u32(data, 0)
        .is_some_and(|length| length as usize <= MAX_RECORD);
    let order = if is_little { Order::Little } else { Order::Big };
    let (Some(length), Some(kind)) = (order.u32(data, 0), order.u16(data, 4)) else {
        return Link::End;
    };
    let length = length as usize;
    if !(NLMSG_HEADER..=MAX_RECORD - 4).contains(&length) {
        return Link::Damaged(format!("a message claims {length} octets"));
    }
    let block = length.next_multiple_of(4);
    if !bytes.want(block) && !bytes.want(length) {
        return end_of(bytes, "a message");
    }
    if kind == NLMSG_TSTAMP && length == TSTAMP_LEN as usize {
        let field = |at| order.u32(bytes.data(), at).unwrap_or_default();
        return Link::Stamp {
            block,
            raw: Timestamp::from_parts(
                i64::from(field(NLMSG_HEADER)),
                i64::from(field(NLMSG_HEADER + 4)) * 1000,
            ),
        };
    }
    Link::Record {
        block,
        length,
        raw: None,
    }
}

fn end_of(bytes: &Bytes, what: &str) -> Link {
    match bytes.end() {
        End::Failed(error) => Link::Damaged(error.to_string()),
        _ if bytes.data().is_empty() => Link::End,
        _ => Link::Damaged(format!("the file ends inside {what}")),
    }
}
