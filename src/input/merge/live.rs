//! The live merge: what collectors hand over, as one ordered timeline.
//!
//! Each source is in order by itself. Its oldest item goes out once no other source can bring an older one: all of them have something
//! newer waiting, have promised so ([`LiveItem::Idle`]), or had [`WATERMARK`] of time. What comes later than that gets the time of the
//! last item that went out, is counted, and is recorded with that time (law 2). Ties are broken as in the merge of files (law 13). A
//! clock that is set back is a step within its source: time goes on from where it was.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::clock::{Clock, Step};
use crate::event::loss::{Gap, GapKind};
use crate::event::{SourceId, SourceInfo, Timestamp};
use crate::input::live::{LiveItem, locator};

/// How long an item waits for sources that say nothing: netlink stamps lag packet stamps by up to 100 ms, interfaces of one capture
/// by 200 ms (both measured in the lab); twice that and a bit.
pub const WATERMARK: Duration = Duration::from_millis(500);
/// A new source may begin this far behind the others; more is a clock step.
const BEHIND: i64 = 2_000_000_000;
/// Items held at most: beyond, the oldest goes out early.
const MAX_HELD: usize = 1 << 16;
/// Octets held at most.
const MAX_OCTETS: usize = 64 << 20;

#[derive(Default)]
struct Lane {
    /// Not handed out yet: a source is announced right before its first item.
    info: Option<SourceInfo>,
    tie: Option<u128>,
    kind: u8,
    name: Box<str>,
    queue: VecDeque<(Timestamp, u64, LiveItem)>,
    /// Nothing older will come.
    promise: Option<Timestamp>,
    closed: bool,
}

/// The merge.
pub struct LiveMerge {
    lanes: BTreeMap<SourceId, Lane>,
    /// The oldest item of each lane that holds some.
    heads: BTreeSet<(Timestamp, u128, u64, SourceId)>,
    clock: Clock,
    sequence: u64,
    released: Timestamp,
    held: usize,
    octets: usize,
    late: u64,
}

impl Default for LiveMerge {
    fn default() -> LiveMerge {
        LiveMerge {
            lanes: BTreeMap::new(),
            heads: BTreeSet::new(),
            clock: Clock::new(BEHIND),
            sequence: 0,
            released: Timestamp::MIN,
            held: 0,
            octets: 0,
            late: 0,
        }
    }
}

impl LiveMerge {
    /// Takes an item in.
    pub fn push(&mut self, item: LiveItem) {
        let Some(source) = item.source() else {
            return;
        };
        match item {
            LiveItem::Source(info) => {
                let lane = self.lanes.entry(source).or_default();
                lane.kind = info.kind as u8;
                lane.name = info.interface.clone().unwrap_or_default();
                lane.info = Some(info);
            }
            LiveItem::Idle { until, .. } => {
                let shifted = Timestamp(until.0.saturating_add(self.clock.offset()));
                let rests = until == Timestamp::MAX;
                let until = if rests { until } else { shifted };
                if let Some(lane) = self.lanes.get_mut(&source) {
                    lane.promise = lane.promise.max(Some(until));
                }
            }
            LiveItem::Closed { .. } => {
                if let Some(lane) = self.lanes.get_mut(&source) {
                    lane.closed = true;
                    if lane.queue.is_empty() {
                        self.lanes.remove(&source);
                    }
                }
            }
            LiveItem::Record(_) | LiveItem::Gap { .. } => self.place(source, item),
            LiveItem::Note(_) => {}
        }
    }

    fn place(&mut self, source: SourceId, item: LiveItem) {
        let (read, step) = self
            .clock
            .read(source.0 as usize, item.at().unwrap_or(self.released));
        if let Some(step) = step {
            let at = read.max(self.released);
            self.enqueue(source, at, stepped(source, at, step));
        }
        if read < self.released {
            self.late = self.late.saturating_add(1);
        }
        self.enqueue(source, read, item);
    }

    fn enqueue(&mut self, source: SourceId, at: Timestamp, mut item: LiveItem) {
        let lane = self.lanes.entry(source).or_default();
        let behind = lane.queue.back().map_or(Timestamp::MIN, |(at, ..)| *at);
        let at = at.max(behind).max(self.released);
        match &mut item {
            LiveItem::Record(record) => {
                record.at = at;
                self.octets = self.octets.saturating_add(record.bytes.len());
            }
            LiveItem::Gap { at: stamp, .. } => *stamp = at,
            _ => {}
        }
        self.sequence += 1;
        self.held += 1;
        // Who rested is awake.
        let promised = lane.promise.filter(|until| *until != Timestamp::MAX);
        lane.promise = promised.max(Some(at));
        if lane.queue.is_empty() {
            let tie = lane.tie(at, &item);
            self.heads.insert((at, tie, self.sequence, source));
        }
        lane.queue.push_back((at, self.sequence, item));
    }

    /// The next item in the order of time that nothing can precede any more, at wall clock time `now`.
    pub fn pop(&mut self, now: Timestamp) -> Option<LiveItem> {
        let (at, _, _, _) = *self.heads.first()?;
        let full = self.held > MAX_HELD || self.octets > MAX_OCTETS;
        if !full && at >= self.bound(now) {
            return None;
        }
        self.take()
    }

    /// The next item without waiting for any other: at the end.
    pub fn drain(&mut self) -> Option<LiveItem> {
        self.take()
    }

    fn take(&mut self) -> Option<LiveItem> {
        let (at, tie, sequence, source) = *self.heads.first()?;
        let lane = self.lanes.get_mut(&source)?;
        if let Some(info) = lane.info.take() {
            return Some(LiveItem::Source(info));
        }
        self.heads.remove(&(at, tie, sequence, source));
        let (_, _, item) = lane.queue.pop_front()?;
        match lane.queue.front() {
            Some((next, sequence, _)) => {
                self.heads.insert((*next, tie, *sequence, source));
            }
            None if lane.closed => {
                self.lanes.remove(&source);
            }
            None => {}
        }
        self.held -= 1;
        if let LiveItem::Record(record) = &item {
            self.octets = self.octets.saturating_sub(record.bytes.len());
        }
        self.released = self.released.max(at);
        Some(item)
    }

    /// Nothing older than this will go out any more: what sources promise, at worst [`WATERMARK`] before `now`.
    fn bound(&self, now: Timestamp) -> Timestamp {
        let promised = self
            .lanes
            .values()
            .filter(|lane| lane.queue.is_empty() && !lane.closed)
            .map(|lane| lane.promise.unwrap_or(Timestamp::MIN))
            .min()
            .unwrap_or(Timestamp::MAX);
        let now = Timestamp(now.0.saturating_add(self.clock.offset()));
        promised.min(now).max(now - WATERMARK)
    }

    /// Up to where the engine may advance at `now` once [`pop`](Self::pop) has nothing more.
    pub fn horizon(&self, now: Timestamp) -> Timestamp {
        let bound = Timestamp(self.bound(now).0.saturating_sub(1));
        self.heads.first().map_or(bound, |(at, ..)| {
            bound.min(Timestamp(at.0.saturating_sub(1)))
        })
    }

    /// Items that came too late for the watermark and were given a later time.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Items that wait.
    pub fn held(&self) -> usize {
        self.held
    }
}

impl Lane {
    /// What breaks ties in time: kind, name, first content, as `file::stream` does it.
    fn tie(&mut self, at: Timestamp, item: &LiveItem) -> u128 {
        let (kind, name) = (self.kind, &self.name);
        *self.tie.get_or_insert_with(|| {
            let data: &[u8] = match item {
                LiveItem::Record(record) => &record.bytes,
                LiveItem::Gap { gap, .. } => gap.detail.octets(),
                _ => &[],
            };
            crate::input::file::stream::tie(kind, name, at, data)
        })
    }
}

fn stepped(source: SourceId, at: Timestamp, step: Step) -> LiveItem {
    let detail = format!(
        "the clock was set back by {:.3} s; times go on from where they were",
        step.back as f64 / 1e9
    );
    LiveItem::Gap {
        at,
        source,
        locator: locator(0),
        gap: Gap {
            kind: GapKind::ClockStep,
            from: at,
            to: at,
            lost: None,
            detail: detail.as_str().into(),
        },
    }
}

#[cfg(test)]
mod tests;
