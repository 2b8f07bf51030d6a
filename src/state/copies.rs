//! Copies of one ARP or neighbor discovery frame at one place: a mirror of both directions, or a bridge's and its port's view in a capture of all
//! interfaces, hands every frame out twice. The second one says nothing that the first did not.
//!
//! DHCP has its own, in `leases::scope`, because its copies also join the places at which they are seen.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use super::hosts::Scope;
use crate::event::lan::NdMessage;
use crate::event::{Event, EventKind, Timestamp};

/// Copies at one place are handed out together: measured below 0.1 ms; the same figure as for DHCP's.
const TOGETHER_NS: i64 = 2_000_000;
/// Frames remembered: a flood of 100 k frames a second brings 200 in that time.
const MAX_RECENT: usize = 256;

/// Frames seen a moment ago.
#[derive(Clone, Default)]
pub(super) struct Copies {
    recent: VecDeque<(Timestamp, u64)>,
}

impl Copies {
    /// Whether this very frame was seen at this place a moment ago.
    pub(super) fn seen(&mut self, event: &Event) -> bool {
        let Some(content) = content(event) else {
            return false;
        };
        while let Some((at, _)) = self.recent.front()
            && (event.at.minus(*at).abs() > TOGETHER_NS || self.recent.len() >= MAX_RECENT)
        {
            self.recent.pop_front();
        }
        if self.recent.iter().any(|(_, known)| *known == content) {
            return true;
        }
        self.recent.push_back((event.at, content));
        false
    }
}

/// Hash of what a frame says and between whom, the same in every run (law 13).
fn content(event: &Event) -> Option<u64> {
    let fixed = foldhash::fast::FixedState::with_seed(0x6172_7070);
    Some(match &event.kind {
        EventKind::Arp(arp) => fixed.hash_one((
            Scope::of(event, &arp.frame),
            (arp.frame.eth_src, arp.frame.eth_dst, arp.op),
            (arp.sender_mac, arp.sender_ip, arp.target_mac, arp.target_ip),
        )),
        EventKind::Nd(nd) => {
            let said = match &nd.message {
                NdMessage::RouterSolicitation => (133, None, None, 0),
                // Rare enough, and much of it, to be compared as text.
                NdMessage::RouterAdvertisement(ra) => (134, None, Some(format!("{ra:?}")), 0),
                NdMessage::NeighborSolicitation { target } => {
                    (135, Some((*target, *target)), None, 0)
                }
                NdMessage::NeighborAdvertisement {
                    target,
                    router,
                    solicited,
                    overriding,
                } => {
                    let flags =
                        u8::from(*router) | u8::from(*solicited) << 1 | u8::from(*overriding) << 2;
                    (136, Some((*target, *target)), None, flags)
                }
                NdMessage::Redirect {
                    target,
                    destination,
                } => (137, Some((*target, *destination)), None, 0),
            };
            fixed.hash_one((
                Scope::of(event, &nd.frame),
                (
                    nd.frame.eth_src,
                    nd.frame.eth_dst,
                    nd.frame.ip_src,
                    nd.frame.ip_dst,
                ),
                (nd.source_mac, nd.target_mac, said),
            ))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::frame::{Frame, Mac};
    use crate::event::lan::Arp;

    #[test]
    fn the_same_frame_a_moment_later_is_a_copy_and_another_or_a_later_one_is_none() {
        let arp = |ns: i64, last: u8, vlan: Option<u16>| {
            let mut event = Event::deadline(Timestamp(ns));
            event.kind = EventKind::Arp(Box::new(Arp {
                frame: Frame {
                    vlans: [vlan, None, None],
                    ..Frame::default()
                },
                op: 1,
                sender_mac: Mac([2, 0, 0, 0, 0, last]),
                sender_ip: [192, 0, 2, last].into(),
                target_mac: Mac([0; 6]),
                target_ip: [192, 0, 2, 1].into(),
            }));
            event
        };
        let mut copies = Copies::default();
        assert!(!copies.seen(&arp(0, 7, None)));
        assert!(copies.seen(&arp(30_000, 7, None)));
        assert!(!copies.seen(&arp(40_000, 8, None)));
        assert!(!copies.seen(&arp(50_000, 7, Some(100))));
        assert!(!copies.seen(&arp(3_000_000, 7, None)));
        for nth in 0..1000 {
            copies.seen(&arp(3_000_000 + nth, nth as u8, Some(nth as u16)));
        }
        assert!(copies.recent.len() <= MAX_RECENT);
    }
}
