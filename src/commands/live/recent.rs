//! The last minutes of a live run with a screen, as they came: what lies behind an incident can be looked at and written out although nobody
//! asked for a recording beforehand.

use std::collections::{BTreeMap, VecDeque};

use crate::event::{SourceId, SourceInfo};
use crate::input::Item;
use crate::input::live::LiveItem;

/// Octets kept: with the engine's own 64 MB at rest this leaves a small host enough, and holds minutes of a router's control traffic.
const MAX_OCTETS: usize = 32 << 20;
/// The same while nobody looks.
const ASLEEP_OCTETS: usize = 16 << 20;
/// What an item costs beside its bytes.
const OVERHEAD: usize = 96;

/// The ring.
#[derive(Default)]
pub struct Recent {
    sources: BTreeMap<SourceId, SourceInfo>,
    items: VecDeque<LiveItem>,
    octets: usize,
    /// Nobody looks: less is kept.
    pub asleep: bool,
}

fn cost(item: &LiveItem) -> usize {
    OVERHEAD
        + match item {
            LiveItem::Record(record) => record.bytes.len(),
            _ => 0,
        }
}

impl Recent {
    /// Keeps an item that was judged.
    pub fn push(&mut self, item: LiveItem) {
        match item {
            LiveItem::Source(info) => {
                self.sources.insert(info.id, info);
            }
            LiveItem::Record(_) | LiveItem::Gap { .. } => {
                self.octets += cost(&item);
                self.items.push_back(item);
                let most = if self.asleep {
                    ASLEEP_OCTETS
                } else {
                    MAX_OCTETS
                };
                while self.octets > most
                    && let Some(old) = self.items.pop_front()
                {
                    self.octets -= cost(&old);
                }
            }
            LiveItem::Idle { .. } | LiveItem::Closed { .. } | LiveItem::Note(_) => {}
        }
    }

    /// All of it in order, sources first.
    pub fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let sources = self.sources.values().cloned().map(Item::Source);
        sources.chain(self.items.iter().filter_map(LiveItem::as_item))
    }
}
