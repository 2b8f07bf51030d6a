//! The thread of one handle: packets into the channel, promises when it is quiet, the kernel's drop counter as gaps.
//!
//! Waits where the channel is full; what the ring cannot take meanwhile the kernel drops and counts. `pcap_breakloop` makes it look up:
//! the supervisor calls it at each tick, to let it promise and count, and to end it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pcap::Error;

use super::{HANDOVER_MS, Handle};
use crate::event::loss::{Gap, GapKind};
use crate::event::{SourceId, SourceInfo, Timestamp, WireText};
use crate::input::Format;
use crate::input::live::{LiveItem, LiveRecord, LiveSender, locator, now};

/// How far a promise of silence stays behind the clock: what came within the hand-over time may still lie in the ring, and the
/// kernel's timer and this thread may each be late.
const MARGIN: Duration = Duration::from_millis(2 * HANDOVER_MS as u64 + 50);

/// Time between two looks at the drop counters.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Why a reader ended.
pub enum Ended {
    /// It was told to, or nobody listens any more.
    Stopped,
    /// The interface cannot be read any more.
    Failed(String),
}

pub struct Reader {
    pub handle: Handle,
    pub info: SourceInfo,
    pub sender: LiveSender,
    pub stop: Arc<AtomicBool>,
    /// Since when the interface was not captured although it had been before.
    pub blind_since: Option<Timestamp>,
}

/// What was counted so far.
struct Counted {
    /// Packets handed over.
    packets: u64,
    /// libpcap's counter of packets that the ring had no room for, as last seen.
    dropped: u32,
    at: Timestamp,
    /// Nothing older may leave: time of the last packet, or a promise.
    floor: Timestamp,
}

impl Reader {
    /// Reads until told to end.
    pub fn run(mut self) -> Ended {
        let source = self.info.id;
        let started = now();
        let mut counted = Counted {
            packets: 0,
            dropped: 0,
            at: started,
            floor: Timestamp::MIN,
        };
        let mut ended = self.begin(source, started, &mut counted);
        // Told to stop: what was captured before that is still handed over. A break may come with packets waiting, a second one
        // without any in between does not.
        let (mut until, mut broken) = (None, false);
        while ended.is_none() {
            ended = match self.handle.capture.next_packet() {
                Ok(packet) => {
                    let time = packet.header.ts;
                    // With nanosecond precision the field of microseconds holds nanoseconds.
                    let at = Timestamp::from_parts(time.tv_sec, time.tv_usec);
                    broken = false;
                    if until.is_none() && self.stop.load(Ordering::Relaxed) {
                        until = Some(now());
                    }
                    counted.packets += 1;
                    counted.floor = counted.floor.max(at);
                    let record = LiveRecord {
                        at,
                        source,
                        locator: locator(counted.packets),
                        format: Format::Packet(self.handle.link_type),
                        bytes: packet.data.into(),
                        wire_len: packet.header.len,
                    };
                    let sent = self.sender.blocking_send(LiveItem::Record(record));
                    if sent.is_err() || until.is_some_and(|until| at >= until) {
                        Some(Ended::Stopped)
                    } else if at.since(counted.at) >= COUNT_EVERY {
                        self.count(source, at, &mut counted)
                    } else {
                        None
                    }
                }
                // A tick, or the end.
                Err(Error::NoMorePackets | Error::TimeoutExpired) => {
                    if !self.stop.load(Ordering::Relaxed) {
                        self.idle(source, &mut counted)
                    } else if std::mem::replace(&mut broken, true) {
                        Some(Ended::Stopped)
                    } else {
                        until = until.or(Some(now()));
                        None
                    }
                }
                Err(error) => Some(Ended::Failed(error.to_string())),
            };
        }
        let end = now().max(counted.floor);
        let _ = self.count(source, end, &mut counted);
        let _ = self.sender.blocking_send(LiveItem::Closed { source });
        ended.unwrap_or(Ended::Stopped)
    }

    fn begin(&self, source: SourceId, at: Timestamp, counted: &mut Counted) -> Option<Ended> {
        let announced = self
            .sender
            .blocking_send(LiveItem::Source(self.info.clone()));
        let Some(from) = self.blind_since else {
            return announced.err().map(|_| Ended::Stopped);
        };
        counted.floor = at;
        let detail = format!("{} was not captured", self.handle.name);
        self.gap(source, from, at, None, &detail, counted)
    }

    /// Nothing is there: says so, and looks at the counters.
    fn idle(&mut self, source: SourceId, counted: &mut Counted) -> Option<Ended> {
        let time = now();
        let until = time - MARGIN;
        if until > counted.floor {
            counted.floor = until;
            let sent = self.sender.blocking_send(LiveItem::Idle { source, until });
            if sent.is_err() {
                return Some(Ended::Stopped);
            }
        }
        if time.since(counted.at) >= COUNT_EVERY {
            return self.count(source, time, counted);
        }
        None
    }

    /// Looks at the drop counter (32 bits, wrapping). Drops of the network card itself are not counted: the host did not get those
    /// packets either, so we saw what it saw.
    fn count(&mut self, source: SourceId, at: Timestamp, counted: &mut Counted) -> Option<Ended> {
        let from = std::mem::replace(&mut counted.at, at);
        let Ok(stats) = self.handle.capture.stats() else {
            return None;
        };
        let lost = stats.dropped.wrapping_sub(counted.dropped);
        counted.dropped = stats.dropped;
        if lost == 0 {
            return None;
        }
        let detail = format!(
            "{}: the kernel's buffer was full, {lost} packets lost",
            self.handle.name
        );
        self.gap(source, from, at, Some(lost.into()), &detail, counted)
    }

    fn gap(
        &self,
        source: SourceId,
        from: Timestamp,
        to: Timestamp,
        lost: Option<u64>,
        detail: &str,
        counted: &Counted,
    ) -> Option<Ended> {
        let gap = LiveItem::Gap {
            // In order within the source; the ring may hold packets older than the clock.
            at: counted.floor.max(from),
            source,
            locator: locator(counted.packets),
            gap: Gap {
                kind: GapKind::CaptureDrops,
                from,
                to,
                lost,
                detail: WireText::from(detail),
            },
        };
        let sent = self.sender.blocking_send(gap);
        sent.err().map(|_| Ended::Stopped)
    }
}
