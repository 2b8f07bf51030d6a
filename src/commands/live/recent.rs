//! The last minutes of a live run with a screen, as they came: what lies behind an incident can be looked at and written out although nobody
//! asked for a recording beforehand.
//!
//! They lie in pieces, each with the decoder as it stood before its first item: frames are then read with what sessions agreed on long
//! before (RFC 7911, RFC 6793), and only from their piece on.

use std::collections::{BTreeMap, VecDeque};

use crate::decode::Decoder;
use crate::engine::snapshot::case::Place;
use crate::event::{SourceId, SourceInfo};
use crate::input::Item;
use crate::input::live::LiveItem;

/// Octets kept: with the engine's own 64 MB at rest this leaves a small host enough, and holds minutes of a router's control traffic.
const MAX_OCTETS: usize = 32 << 20;
/// The same while nobody looks.
const ASLEEP_OCTETS: usize = 16 << 20;
/// Octets of a piece: decoded in milliseconds, and few decoders.
const PIECE: usize = 2 << 20;
/// Octets that the pieces' decoders may take together; sessions that are followed without their OPEN and holes in streams make them large.
/// Beyond, a piece begins without: what was agreed is then inferred.
const MAX_DECODERS: usize = 8 << 20;
/// What an item costs beside its bytes.
const OVERHEAD: usize = 96;

/// Consecutive items.
#[derive(Default)]
struct Piece {
    before: Decoder,
    weight: usize,
    items: Vec<LiveItem>,
    octets: usize,
}

/// The ring.
#[derive(Default)]
pub struct Recent {
    sources: BTreeMap<SourceId, SourceInfo>,
    pieces: VecDeque<Piece>,
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
    /// Keeps an item that was judged; `decoder` has taken it.
    pub fn push(&mut self, item: LiveItem, decoder: &Decoder) {
        match item {
            LiveItem::Source(info) => {
                self.sources.insert(info.id, info);
            }
            LiveItem::Record(_) | LiveItem::Gap { .. } => self.keep(item, decoder),
            LiveItem::Idle { .. } | LiveItem::Closed { .. } | LiveItem::Note(_) => {}
        }
    }

    fn keep(&mut self, item: LiveItem, decoder: &Decoder) {
        if self.pieces.is_empty() {
            self.pieces.push_back(Piece::default());
        }
        if let Some(last) = self.pieces.back_mut() {
            last.octets += cost(&item);
            self.octets += cost(&item);
            last.items.push(item);
            if last.octets < PIECE {
                return;
            }
        }
        let most = if self.asleep {
            ASLEEP_OCTETS
        } else {
            MAX_OCTETS
        };
        while self.octets + PIECE > most
            && let Some(old) = self.pieces.pop_front()
        {
            self.octets -= old.octets;
        }
        let weight = decoder.weight();
        let all = self.pieces.iter().fold(weight, |sum, p| sum + p.weight);
        self.pieces.push_back(match all <= MAX_DECODERS {
            true => Piece {
                before: decoder.clone(),
                weight,
                ..Piece::default()
            },
            false => Piece::default(),
        });
    }

    fn sources(&self) -> impl Iterator<Item = Item<'_>> {
        self.sources.values().cloned().map(Item::Source)
    }

    /// All of it in order, sources first.
    pub fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let items = self.pieces.iter().flat_map(|piece| &piece.items);
        self.sources().chain(items.filter_map(LiveItem::as_item))
    }

    /// What is needed to read the frames at `places`: a decoder that knows what was before, and the items from there on, sources first.
    pub fn around(&self, places: &[Place]) -> (Decoder, impl Iterator<Item = Item<'_>>) {
        let holds = |piece: &Piece| {
            let mut locators = piece.items.iter().filter_map(|item| match item {
                LiveItem::Record(record) => Some(&record.locator),
                LiveItem::Gap { locator, .. } => Some(locator),
                _ => None,
            });
            locators.any(|locator| places.contains(&Place::of(locator)))
        };
        let first = self.pieces.iter().position(holds);
        let before = first.and_then(|at| self.pieces.get(at));
        let decoder = before.map(|piece| piece.before.clone()).unwrap_or_default();
        let pieces = self.pieces.iter().skip(first.unwrap_or(usize::MAX));
        let items = pieces.flat_map(|piece| &piece.items);
        (
            decoder,
            self.sources().chain(items.filter_map(LiveItem::as_item)),
        )
    }
}

#[cfg(test)]
mod tests;
