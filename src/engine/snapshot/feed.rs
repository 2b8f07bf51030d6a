//! What each source gave: the engine counts it, the Sources screen shows it.

use serde::{Deserialize, Serialize};

use crate::event::loss::Gap;
use crate::event::{SourceId, SourceInfo, SourceKind, Timestamp};

/// Sources counted one by one; the ids are dense and small, more would be a feed that opens connections without end.
const MAX_FEEDS: usize = 4096;

/// Spans of a rate: a minute of two seconds each, as many as a sparkline has columns.
const RATES: usize = 30;
const SPAN: i64 = 2_000_000_000;

/// One source.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Feed {
    pub source: u32,
    /// The input it belongs to.
    pub input: u16,
    pub kind: String,
    /// Interface, namespace or router, where known.
    pub name: Option<String>,
    pub host: Option<String>,
    pub events: u64,
    /// First and last event.
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
    pub gaps: u64,
    /// Known to be lost.
    pub lost: u64,
    pub malformed: u64,
    /// The last loss, in words, with its time.
    pub last_gap: Option<(Timestamp, String)>,
    /// Events in each span of the last minute, and the number of the latest span.
    pub rate: [u32; RATES],
    pub rate_at: i64,
}

impl Feed {
    /// Events in each span of the last minute before `now`, oldest first.
    pub fn rates(&self, now: Timestamp) -> Vec<u32> {
        let last = now.0.div_euclid(SPAN);
        let spans = (1..=RATES as i64).rev().map(|back| last + 1 - back);
        let count = |span: i64| {
            let kept = span <= self.rate_at && span > self.rate_at - RATES as i64;
            let at = usize::try_from(span.rem_euclid(RATES as i64)).unwrap_or(0);
            self.rate.get(at).filter(|_| kept).copied().unwrap_or(0)
        };
        spans.map(count).collect()
    }

    /// Events a second over the last whole spans.
    pub fn per_second(&self, now: Timestamp) -> f64 {
        /// Ten seconds: one sees a burst, and a KEEPALIVE does not flicker.
        const SPANS: usize = 5;
        let rates = self.rates(now);
        // The latest span is not over yet.
        let whole = rates.iter().rev().skip(1).take(SPANS);
        let sum: u64 = whole.map(|n| u64::from(*n)).sum();
        sum as f64 / (SPANS as f64 * (SPAN / 1_000_000_000) as f64)
    }

    fn count(&mut self, at: Timestamp) {
        let span = at.0.div_euclid(SPAN);
        let index = |span: i64| usize::try_from(span.rem_euclid(RATES as i64)).unwrap_or(0);
        if span > self.rate_at {
            // Spans in which nothing came.
            let idle = (span - self.rate_at).min(RATES as i64);
            for passed in 0..idle {
                if let Some(count) = self.rate.get_mut(index(span - passed)) {
                    *count = 0;
                }
            }
            self.rate_at = span;
        }
        if span > self.rate_at - RATES as i64
            && let Some(count) = self.rate.get_mut(index(span))
        {
            *count = count.saturating_add(1);
        }
    }
}

/// Counts by source.
#[derive(Clone, Default)]
pub struct Feeds(Vec<Option<Feed>>);

impl Feeds {
    /// A source is there.
    pub fn announce(&mut self, info: &SourceInfo) {
        let at = info.id.0 as usize;
        if at >= MAX_FEEDS {
            return;
        }
        if self.0.len() <= at {
            self.0.resize(at + 1, None);
        }
        let kind = match info.kind {
            SourceKind::Netlink => "netlink",
            SourceKind::Packets => "packets",
            SourceKind::Bmp => "bmp",
            SourceKind::Mrt => "mrt",
        };
        if let Some(feed) = self.0.get_mut(at) {
            *feed = Some(Feed {
                source: info.id.0,
                input: info.input.0,
                kind: info
                    .own_feed()
                    .map_or(kind, |own| own.name().trim_start_matches("flapscope-"))
                    .to_owned(),
                name: info.interface.as_deref().map(str::to_owned),
                host: info.host.as_deref().map(str::to_owned),
                events: 0,
                first: None,
                last: None,
                gaps: 0,
                lost: 0,
                malformed: 0,
                last_gap: None,
                rate: [0; RATES],
                rate_at: i64::MIN / 2,
            });
        }
    }

    fn of(&mut self, source: SourceId) -> Option<&mut Feed> {
        self.0.get_mut(source.0 as usize)?.as_mut()
    }

    /// An event came.
    pub fn event(&mut self, source: SourceId, at: Timestamp) {
        if let Some(feed) = self.of(source) {
            feed.events += 1;
            feed.first.get_or_insert(at);
            feed.last = Some(at);
            feed.count(at);
        }
    }

    /// Something was lost.
    pub fn gap(&mut self, source: SourceId, gap: &Gap) {
        if let Some(feed) = self.of(source) {
            feed.gaps += 1;
            feed.lost = feed.lost.saturating_add(gap.lost.unwrap_or(0));
            feed.last_gap = Some((gap.from, gap.detail.to_string()));
        }
    }

    /// Something could not be read.
    pub fn malformed(&mut self, source: SourceId) {
        if let Some(feed) = self.of(source) {
            feed.malformed += 1;
        }
    }

    /// All sources by their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Feed> {
        self.0.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::InputId;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn a_rate_covers_the_last_minute_and_forgets_what_was_before() {
        let mut feeds = Feeds::default();
        let info = SourceInfo {
            id: SourceId(0),
            input: InputId(0),
            kind: SourceKind::Bmp,
            interface: None,
            host: None,
            role: None,
        };
        feeds.announce(&info);
        for second in 0..100 {
            feeds.event(SourceId(0), Timestamp(second * SECOND));
        }
        let feed = feeds.iter().next().unwrap();
        let now = Timestamp(99 * SECOND);
        assert_eq!(feed.rates(now), vec![2; RATES]);
        assert!((feed.per_second(now) - 1.0).abs() < 1e-9);
        let later = Timestamp(139 * SECOND);
        assert_eq!(feed.rates(later).iter().sum::<u32>(), 20);
        assert_eq!(feed.rates(Timestamp(i64::MAX)).iter().sum::<u32>(), 0);
        // A time that went back a little is counted where it belongs, one that went back far nowhere.
        feeds.event(SourceId(0), Timestamp(98 * SECOND));
        feeds.event(SourceId(0), Timestamp(0));
        let feed = feeds.iter().next().unwrap();
        assert_eq!(feed.rates(now).iter().sum::<u32>(), 61);
    }
}
