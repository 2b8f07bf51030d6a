//! What was watched, from when to when, and where the holes are: without it nothing may be said not to have happened.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::fact::Channel;
use crate::event::loss::{Gap, GapKind};
use crate::event::{InputId, SourceId, SourceInfo, SourceKind, Timestamp};

/// Holes remembered for each kind of input; later ones grow into the last.
const MAX_HOLES: usize = 64;
/// Sources and inputs told apart: a run has a handful; what comes later counts as of unknown kind.
const MAX_SOURCES: usize = 4096;
/// Number of channels.
const CHANNELS: usize = Channel::ALL.len();

/// What is known of one kind of input: a netlink socket or a capture shows a class only from its own first record on.
#[derive(Clone, Default)]
struct Input {
    began: Option<Timestamp>,
    last: Option<Timestamp>,
    holes: SmallVec<[(Timestamp, Timestamp); 4]>,
}

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Watches {
    kernel: Input,
    packets: Input,
    /// Whether an event of this channel was ever seen: a socket that was not subscribed to addresses shows none.
    heard: [bool; CHANNELS],
    /// Kinds of each source, for its gaps.
    sources: BTreeMap<SourceId, SourceKind>,
    /// Whether an input gives netlink, and whether it gives packets: one file with both goes on for both.
    gives: BTreeMap<InputId, [bool; 2]>,
}

impl Watches {
    /// A source was announced.
    pub(super) fn source(&mut self, info: &SourceInfo) {
        if self.sources.len() < MAX_SOURCES {
            self.sources.insert(info.id, info.kind);
        }
    }

    /// An event of this channel came.
    pub(super) fn heard(&mut self, channel: Channel, input: InputId, at: Timestamp) {
        if let Some(heard) = self.heard.get_mut(channel as usize) {
            *heard = true;
        }
        let kernel = channel.is_kernel();
        let known = if kernel {
            &mut self.kernel
        } else {
            &mut self.packets
        };
        known.began.get_or_insert(at);
        if self.gives.len() < MAX_SOURCES || self.gives.contains_key(&input) {
            self.gives.entry(input).or_default()[usize::from(!kernel)] = true;
        }
        self.alive(input, at);
    }

    /// Time went on for this input.
    pub(super) fn alive(&mut self, input: InputId, at: Timestamp) {
        let gives = self.gives.get(&input).copied().unwrap_or_default();
        for (known, given) in [&mut self.kernel, &mut self.packets].into_iter().zip(gives) {
            if given {
                known.last = known.last.max(Some(at));
            }
        }
    }

    /// Something of this source may be missing.
    pub(super) fn hole(&mut self, source: SourceId, gap: &Gap) {
        // Octets missing from one TCP stream hide no other packet, and a feed is neither.
        if matches!(gap.kind, GapKind::TcpLoss | GapKind::FeedLost) {
            return;
        }
        let inputs = match self.sources.get(&source) {
            Some(SourceKind::Netlink) => [Some(&mut self.kernel), None],
            Some(SourceKind::Packets) => [Some(&mut self.packets), None],
            Some(_) => return,
            None => [Some(&mut self.kernel), Some(&mut self.packets)],
        };
        for input in inputs.into_iter().flatten() {
            if input.holes.len() < MAX_HOLES {
                input.holes.push((gap.from, gap.to));
            } else if let Some(last) = input.holes.last_mut() {
                last.0 = last.0.min(gap.from);
                last.1 = last.1.max(gap.to);
            }
        }
    }

    /// From when to when this channel was watched.
    pub(super) fn span(&self, channel: Channel) -> Option<(Timestamp, Timestamp)> {
        let heard = self.heard.get(channel as usize).copied().unwrap_or(false);
        let input = self.input(channel);
        input.began.zip(input.last).filter(|_| heard)
    }

    /// Whether something may be missing inside.
    pub(super) fn holed(&self, channel: Channel, from: Timestamp, to: Timestamp) -> bool {
        let holes = &self.input(channel).holes;
        holes.iter().any(|(a, b)| *a <= to && *b >= from)
    }

    fn input(&self, channel: Channel) -> &Input {
        if channel.is_kernel() {
            &self.kernel
        } else {
            &self.packets
        }
    }
}
