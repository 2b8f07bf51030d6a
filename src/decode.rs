//! Bytes to events: pure, total, without clock or I/O.
//!
//! [`Decoder`] takes what `input` hands over, in the order of time, and keeps for each source what its decoder must remember. The modules
//! know one protocol each; none panics, loops or grows without bound, whatever the bytes.

pub mod annotation;
pub mod arp;
pub mod bfd;
pub mod bgp;
pub mod bmp;
pub mod checksum;
pub mod defrag;
pub mod dhcp4;
pub mod dhcp6;
pub mod frame;
pub mod framing;
pub mod icmp;
pub mod mrt;
pub mod nd;
pub mod netlink;
pub mod packets;
pub mod rtr;
pub mod stats;
pub mod tcp;
pub mod vrrp;

use std::collections::BTreeMap;

pub use stats::DecodeStats;

use framing::BmpStream;
use mrt::MrtDecoder;
use netlink::NetlinkDecoder;
use packets::Packets;

use crate::event::frame::{Checksum, Frame};
use crate::event::loss::{GapKind, Malformed, Protocol};
use crate::event::source::Unit;
use crate::event::{Event, EventKind, Locator, SourceId, SourceInfo, Timestamp, WireText};
use crate::input::{Format, Item, Record};

/// When and where the bytes at hand were seen: becomes the head of each event decoded from them.
#[derive(Copy, Clone, Debug)]
pub struct Stamp {
    pub at: Timestamp,
    pub source: SourceId,
    pub locator: Locator,
}

impl Stamp {
    /// An event of this time and place.
    pub fn event(&self, kind: EventKind) -> Event {
        Event {
            at: self.at,
            origin_at: None,
            source: self.source,
            locator: self.locator,
            kind,
        }
    }
}

/// Where decoders put their events. By reference: hot decoders reuse one event and its buffers.
pub type Emit<'a> = &'a mut dyn FnMut(&Event);

/// What the layers below said about a UDP payload.
#[derive(Copy, Clone, Debug, Default)]
pub struct UdpContext {
    /// The frame that carried it (its last fragment, when it came in fragments).
    pub frame: Frame,
    pub src_port: u16,
    pub dst_port: u16,
    /// It was put together from IP fragments.
    pub fragmented: bool,
    /// Whether the checksum is right; `None` when that cannot be judged (absent, cut frame, unfinished offload).
    pub checksum: Option<bool>,
    /// The same with what an unfinished one looks like.
    pub sum: Checksum,
    /// The UDP length field disagrees with the IP payload.
    pub length_mismatch: bool,
    /// The capture's snap length cut the payload.
    pub truncated: bool,
}

/// What the layers below said about an ICMPv6 message.
#[derive(Copy, Clone, Debug, Default)]
pub struct NdContext {
    /// The frame that carried it.
    pub frame: Frame,
    /// It came in fragments (atomic ones included) or behind extension headers (RFC 6980, RFC 7113).
    pub evasive: bool,
    /// Whether the checksum is right; `None` when that cannot be judged (cut frame, unfinished offload).
    pub checksum: Option<bool>,
    /// The capture's snap length cut the message.
    pub truncated: bool,
}

/// First octets of malformed bytes that are kept as evidence: two lines of a hex dump.
const HEAD: usize = 32;

/// Malformed bytes, described.
pub(crate) fn malformed(protocol: Protocol, why: &str, bytes: &[u8]) -> Malformed {
    Malformed {
        protocol,
        why: WireText::from(why),
        head: bytes.get(..HEAD).unwrap_or(bytes).to_vec(),
    }
}

/// What is remembered of one source. Each kind is made when it is first needed: a capture may mix link types.
#[derive(Clone, Default)]
struct SourceDecoder {
    netlink: Option<Box<NetlinkDecoder>>,
    mrt: Option<Box<MrtDecoder>>,
    bmp: Option<Box<BmpStream>>,
}

/// Turns records into events.
#[derive(Clone, Default)]
pub struct Decoder {
    /// As many as the inputs have.
    sources: BTreeMap<SourceId, SourceDecoder>,
    packets: Packets,
    stats: DecodeStats,
    /// Time of the last record or gap; none came yet while it is `None`.
    now: Option<Timestamp>,
    /// Sources that were announced before the first record: a source has no time of its own, so they wait for that.
    announced: Vec<SourceInfo>,
}

impl Decoder {
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Octets that a copy of it takes, roughly: for who keeps copies.
    pub fn weight(&self) -> usize {
        let streams = self
            .sources
            .values()
            .filter_map(|source| source.bmp.as_ref());
        streams.fold(self.packets.tcp.weight(), |sum, stream| {
            sum + stream.weight()
        })
    }

    /// What was done so far.
    pub fn stats(&self) -> &DecodeStats {
        &self.stats
    }

    /// Decodes one item; all that it tells is emitted before this returns, except what waits for missing TCP segments or fragments.
    pub fn item(&mut self, item: &Item<'_>, emit: Emit<'_>) {
        let events = &mut self.stats.events;
        let emit = &mut |event: &Event| {
            if events.admit(event) {
                emit(event);
            }
        };
        match item {
            Item::Source(info) => {
                if let Some(feed) = info.own_feed() {
                    self.packets.tcp.own_feed(info.id, feed);
                }
                match self.now {
                    Some(now) => emit(&announcement(info.clone(), now)),
                    None => self.announced.push(info.clone()),
                }
            }
            Item::Record(record) => {
                let stamp = Stamp {
                    at: record.at,
                    source: record.source,
                    locator: record.locator,
                };
                announce(&mut self.announced, record.at, emit);
                self.now = Some(record.at);
                self.packets.tcp.advance(record.at, emit);
                self.stats.records += 1;
                let netlink = match record.format {
                    Format::Packet(link_type) => {
                        self.packets
                            .frame(link_type, record, &stamp, &mut self.stats.packets, emit)
                    }
                    Format::Netlink => Some(record.bytes),
                    Format::Mrt | Format::BmpStream => None,
                };
                let source = match record.format {
                    Format::Packet(_) if netlink.is_none() => return,
                    _ => self.sources.entry(record.source).or_default(),
                };
                source.record(record, netlink, &stamp, emit);
            }
            Item::Gap {
                at,
                source,
                locator,
                gap,
            } => {
                let stamp = Stamp {
                    at: *at,
                    source: *source,
                    locator: *locator,
                };
                announce(&mut self.announced, *at, emit);
                self.now = Some(*at);
                self.packets.tcp.advance(*at, emit);
                emit(&stamp.event(EventKind::Gap(Box::new(gap.clone()))));
                // A stepped clock loses nothing, and a full table of ours is not the streams' matter.
                if matches!(
                    gap.kind,
                    GapKind::CaptureDrops
                        | GapKind::DamagedInput
                        | GapKind::TcpLoss
                        | GapKind::FeedLost
                ) {
                    self.packets.tcp.gap(*source, *at, emit);
                    if let Some(stream) = self
                        .sources
                        .get_mut(source)
                        .and_then(|source| source.bmp.as_mut())
                    {
                        stream.lost(gap.lost, &stamp, emit);
                    }
                }
            }
        }
    }

    /// End of input: what waits in reassembly is decoded as it is, stamped with the last time seen.
    pub fn finish(&mut self, emit: Emit<'_>) {
        let events = &mut self.stats.events;
        let emit = &mut |event: &Event| {
            if events.admit(event) {
                emit(event);
            }
        };
        let now = self.now.unwrap_or_default();
        announce(&mut self.announced, now, emit);
        self.packets.tcp.finish(now, emit);
    }
}

/// Announces the sources that wait for a time.
fn announce(announced: &mut Vec<SourceInfo>, at: Timestamp, emit: Emit<'_>) {
    for info in announced.drain(..) {
        emit(&announcement(info, at));
    }
}

fn announcement(info: SourceInfo, at: Timestamp) -> Event {
    let stamp = Stamp {
        at,
        source: info.id,
        locator: Locator {
            input: info.input,
            unit: Unit::Record,
            number: 0,
            offset: 0,
        },
    };
    stamp.event(EventKind::Source(Box::new(info)))
}

impl SourceDecoder {
    /// Decodes a record of a stateful source; `netlink` are the messages in it, if it holds some.
    fn record(
        &mut self,
        record: &Record<'_>,
        netlink: Option<&[u8]>,
        stamp: &Stamp,
        emit: Emit<'_>,
    ) {
        if let Some(messages) = netlink {
            self.netlink
                .get_or_insert_with(|| Box::new(NetlinkDecoder::new()))
                .messages(messages, stamp, emit);
            return;
        }
        match record.format {
            Format::Mrt => self
                .mrt
                .get_or_insert_with(|| Box::new(MrtDecoder::new()))
                .record(record.bytes, stamp, emit),
            Format::BmpStream => self
                .bmp
                .get_or_insert_with(|| Box::new(BmpStream::new(None, 1)))
                .data(record.bytes, stamp, emit),
            Format::Packet(_) | Format::Netlink => {}
        }
    }
}

#[cfg(test)]
mod tests;
