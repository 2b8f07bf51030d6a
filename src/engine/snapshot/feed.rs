//! What each source gave: the engine counts it, the Sources screen shows it.

use serde::{Deserialize, Serialize};

use crate::event::loss::Gap;
use crate::event::{SourceId, SourceInfo, SourceKind, Timestamp};

/// Sources counted one by one; the ids are dense and small, more would be a feed that opens connections without end.
const MAX_FEEDS: usize = 4096;

/// One source.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Feed {
    pub source: u32,
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
