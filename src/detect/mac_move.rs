//! `link.mac-move`: a bridge's forwarding entry that moves between ports again and again.
//!
//! A bridge sends what is for a MAC address to the port from which that address spoke last. Two machines with one address (a cloned VM)
//! take the entry from each other with every frame; a loop does it to many addresses at once, between the same two ports.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::link::kernel::{list, quoted, times};
use super::{
    Board, Detector, Finding, FindingKey, Kind, Reason, Settings, Severity, Subject, Touch,
};
use crate::event::frame::Mac;
use crate::event::{Classes, Timestamp};
use crate::state::who::forwarding::{PortDelta, WINDOW};
use crate::state::{NetState, Observation};

/// Moves within [`WINDOW`] that are a duplicate: N = 5 in M = 180 s (RFC 7432 §15.1). A live migration is one, a migration and its way back two.
const MOVES: usize = 5;
/// Addresses that move between the same two ports: one or two are shared by mistake, more circle.
const LOOP: usize = 3;
/// A condition is over when it was quiet for twice its window.
const QUIET: Duration = Duration::from_secs(2 * WINDOW.as_secs());
/// Pairs of ports with a finding, and addresses named in one.
const MAX_PAIRS: usize = 256;
const MAX_NAMED: usize = 8;

/// Adds this family's detectors.
pub fn register(_settings: &Settings, detectors: &mut Vec<Box<dyn Detector>>) {
    detectors.push(Box::new(MacMoves::default()));
}

/// A bridge and two of its ports.
type Pair = (u32, u32, u32);

#[derive(Clone)]
struct Story {
    key: FindingKey,
    macs: BTreeSet<Mac>,
    last: Timestamp,
}

#[derive(Clone, Default)]
struct MacMoves {
    stories: BTreeMap<Pair, Story>,
    deadlines: BTreeSet<(Timestamp, Pair)>,
}

impl Detector for MacMoves {
    fn name(&self) -> &'static str {
        "link.mac-move"
    }

    fn wants(&self) -> Classes {
        Classes::NEIGHBOR
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        for delta in &seen.changes.ports {
            self.moved(seen, delta, net, board);
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    fn expire(&mut self, now: Timestamp, _net: &NetState, board: &mut Board) {
        while let Some((at, pair)) = self.deadlines.first().copied() {
            if at > now {
                break;
            }
            self.deadlines.pop_first();
            if let Some(story) = self.stories.remove(&pair) {
                board.update(story.key, |f| {
                    f.recovered(story.last);
                    f.broken = Default::default();
                    f.ended = Some(now);
                });
            }
        }
    }
}

impl MacMoves {
    fn moved(
        &mut self,
        seen: &Observation<'_>,
        delta: &PortDelta,
        net: &NetState,
        board: &mut Board,
    ) {
        let (from, to) = (delta.moved.from, delta.moved.to);
        let pair = (delta.bridge, from.min(to), from.max(to));
        let Some(entry) = net.who.forwarding.entry(delta.bridge, delta.mac) else {
            return;
        };
        let between = |m: &&crate::state::who::forwarding::Move| {
            (m.from.min(m.to), m.from.max(m.to)) == (pair.1, pair.2)
        };
        let known = self
            .stories
            .get(&pair)
            .is_some_and(|story| story.macs.contains(&delta.mac));
        if !known && entry.moves.iter().filter(between).count() < MOVES {
            return;
        }
        if !self.stories.contains_key(&pair) && self.stories.len() >= MAX_PAIRS {
            return;
        }
        let at = seen.event.at;
        let story = self.stories.entry(pair).or_insert_with(|| {
            let mut moves = entry.moves.iter().filter(between);
            let begin = moves.next().map_or(at, |first| first.at);
            let subject = Subject::Mac(delta.mac);
            let mut finding = Finding::at(Kind::LinkMacMove, Severity::Warning, subject, begin);
            for earlier in entry.moves.iter().filter(between) {
                if earlier.at > begin && earlier.locator != seen.event.locator {
                    finding.again_at(earlier.at);
                }
                finding.evidence.add(earlier.locator);
            }
            Story {
                key: board.raise(finding),
                macs: BTreeSet::new(),
                last: at,
            }
        });
        self.deadlines.remove(&(story.last + QUIET, pair));
        story.last = at;
        self.deadlines.insert((at + QUIET, pair));
        if story.macs.len() < MAX_NAMED {
            story.macs.insert(delta.mac);
        }
        let (bridge, ports) = (
            net.links.name(delta.bridge),
            [net.links.name(pair.1), net.links.name(pair.2)],
        );
        let (macs, circles) = (&story.macs, story.macs.len() >= LOOP);
        board.update(story.key, |f| {
            f.again(seen.event);
            f.broken.subject = true;
            f.also(Subject::Mac(delta.mac));
            f.touch(Touch::Mac(delta.mac));
            f.touch(Touch::Client(delta.mac.to_string().into()));
            for port in &ports {
                f.also(Subject::Link(port.as_ref().into()));
            }
            f.touch(Touch::Interface(bridge.as_ref().into()));
            let names = list(macs.iter().map(Mac::to_string), 4);
            let ports = ports.join(" and ");
            let often = times(f.count, f.first, f.last);
            if circles {
                let subject = Subject::Link(bridge.as_ref().into());
                f.reason = Some(Reason::Loop);
                f.subjects.retain(|other| *other != subject);
                f.subjects.insert(0, subject);
                f.explain = format!(
                    "Many MAC addresses ({names}) come in by {ports} of {bridge} in turn; their forwarding entries moved {often}."
                );
                f.explanations = vec![
                    "frames circle: a loop behind these ports, or a redundant path that switches back and forth".into(),
                ];
            } else {
                f.explain = format!(
                    "{names} speaks behind {ports} of {bridge} in turn: its forwarding entry moved {often}, so frames for it go to whoever spoke last."
                );
                f.explanations = vec![
                    "two machines with one MAC address (a cloned VM or container), or a loop".into(),
                ];
            }
            f.advice = vec![
                format!("bridge monitor fdb   (on {bridge})"),
                format!("bridge fdb show br {} | grep {}", quoted(&bridge), delta.mac),
            ];
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::route::lab::Lab;
    use crate::event::EventKind;
    use crate::event::netlink::{IFF_LOWER_UP, IFF_RUNNING, IFF_UP, NUD_REACHABLE};
    use crate::state::routes::testing::{link_event, neighbor_event};

    fn bridge() -> Lab {
        let mut lab = Lab::new();
        let up = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;
        for (index, name, master) in [(1, "br0", None), (2, "tap0", Some(1)), (3, "tap1", Some(1))]
        {
            let mut link = link_event(index, name, up);
            link.master = master;
            lab.at(0, EventKind::Link(Box::new(link)));
        }
        lab
    }

    fn learned(lab: &mut Lab, ms: i64, port: u32, last: u8) {
        let mac = Some(Mac([0x52, 0x54, 0, 0, 0, last]));
        let mut entry = neighbor_event(port, "192.0.2.1", NUD_REACHABLE, mac, 0);
        (entry.addr, entry.family) = (None, 7);
        lab.at(ms, EventKind::Neighbor(Box::new(entry)));
    }

    /// RFC 7432 §15.1. The benign twin: a migration there and back.
    #[test]
    fn an_address_that_speaks_behind_two_ports_in_turn_is_one_finding_and_a_migration_is_none() {
        let mut lab = bridge();
        for nth in 0..12 {
            learned(&mut lab, 1_000 * i64::from(nth), 2 + nth % 2, 9);
        }
        let found = lab.findings(Kind::LinkMacMove);
        assert_eq!(
            (found.len(), found[0].count, found[0].reason),
            (1, 11, None)
        );
        assert!(
            found[0].explain.contains("tap0 and tap1 of br0"),
            "{}",
            found[0].explain
        );
        let mut lab = bridge();
        for (ms, port) in [(0, 2), (5_000, 3), (60_000, 2)] {
            learned(&mut lab, ms, port, 9);
        }
        assert!(lab.findings(Kind::LinkMacMove).is_empty());
    }

    #[test]
    fn many_addresses_that_move_between_the_same_ports_are_a_loop_and_one_finding() {
        let mut lab = bridge();
        for nth in 0..12 {
            for last in 0..5 {
                learned(&mut lab, 1_000 * i64::from(nth), 2 + nth % 2, last);
            }
        }
        let found = lab.findings(Kind::LinkMacMove);
        assert_eq!((found.len(), found[0].reason), (1, Some(Reason::Loop)));
        assert_eq!(found[0].subjects[0].to_string(), "link:br0");
    }
}
