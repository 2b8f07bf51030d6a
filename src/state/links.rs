//! Network interfaces of the analysed host: administrative state, carrier, names, and how often the carrier was lost.
//!
//! Learns from `RTM_NEWLINK`/`RTM_DELLINK` of family AF_UNSPEC only: the AF_INET6 and AF_BRIDGE copies lack the carrier attributes,
//! and an AF_BRIDGE `DELLINK` means "left the bridge". A notification that changes nothing (the kernel sends some when a capture on
//! the interface ends) makes no delta.

use std::collections::BTreeMap;

use crate::event::frame::Mac;
use crate::event::netlink::{
    Action, Dumped, IFF_LOOPBACK, IFF_LOWER_UP, IFF_RUNNING, IFF_UP, LinkEvent,
};
use crate::event::{Event, EventKind, Locator, Timestamp};

/// Interfaces tracked at once: a node with the densest pod packing in use (a few thousand veths) sixteen times over.
pub const MAX_LINKS: usize = 65_536;
/// AF_UNSPEC.
const AF_UNSPEC: u8 = 0;

/// What decides whether packets can leave through an interface.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct LinkState {
    /// `IFF_UP`: administratively up.
    pub up: bool,
    /// The driver signals carrier (`IFLA_CARRIER`, else `IFF_LOWER_UP`).
    pub carrier: bool,
    /// `IFF_RUNNING`: operationally up (RFC 2863), as linkwatch sees it.
    pub running: bool,
    /// Bridge, bond or VRF it belongs to.
    pub master: Option<u32>,
}

impl LinkState {
    /// Packets can leave: up and running.
    pub fn usable(&self) -> bool {
        self.up && self.running
    }
}

/// An interface.
#[derive(Clone, Debug)]
pub struct Link {
    pub ifindex: u32,
    /// Sanitised.
    pub name: Box<str>,
    pub state: LinkState,
    /// `IFF_LOOPBACK`.
    pub loopback: bool,
    /// veth, bridge, bond, vlan …
    pub kind: Option<Box<str>>,
    /// Lower device or peer.
    pub lower: Option<u32>,
    pub mtu: Option<u32>,
    /// Its link-layer address.
    pub mac: Option<Mac>,
    /// `IFLA_CARRIER_DOWN_COUNT`, or half of `IFLA_CARRIER_CHANGES` on older kernels.
    pub losses: Option<u32>,
    /// When `state` became what it is; [`Timestamp::MIN`] while it is as the first dump found it.
    pub since: Timestamp,
    /// Generation of the last message that mentioned it (see [`Links::apply`]).
    generation: u32,
}

/// A change of an interface.
#[derive(Clone, Debug)]
pub struct LinkDelta {
    pub at: Timestamp,
    pub locator: Locator,
    pub ifindex: u32,
    pub name: Box<str>,
    /// `None`: it was not there, or not known.
    pub before: Option<LinkState>,
    /// `None`: it was removed.
    pub after: Option<LinkState>,
    /// Carrier losses that the kernel counted and that no notification showed (law 5: `compressed`).
    pub missed: u32,
    /// `nlmsg_pid`: 0 is the kernel.
    pub by: u32,
    /// Found by comparing a dump, not notified.
    pub from_dump: bool,
}

impl LinkDelta {
    /// It was usable and is not any more, for whatever reason.
    pub fn lost(&self) -> bool {
        self.before.is_some_and(|b| b.usable()) && !self.after.is_some_and(|a| a.usable())
    }

    /// It was set down.
    pub fn admin_down(&self) -> bool {
        self.before.is_some_and(|b| b.up) && self.after.is_some_and(|a| !a.up)
    }

    /// It stayed administratively up and stopped running.
    pub fn carrier_lost(&self) -> bool {
        self.lost() && self.after.is_some_and(|a| a.up)
    }

    /// It was removed.
    pub fn removed(&self) -> bool {
        self.after.is_none()
    }

    /// It became usable.
    pub fn recovered(&self) -> bool {
        !self.before.is_some_and(|b| b.usable()) && self.after.is_some_and(|a| a.usable())
    }
}

/// The table.
#[derive(Clone, Default)]
pub struct Links {
    links: BTreeMap<u32, Link>,
    /// Link-layer addresses of interfaces, and how many have each (a bridge takes that of a port).
    macs: BTreeMap<Mac, u32>,
    /// Names of removed interfaces, for sentences about what went with them.
    former: BTreeMap<u32, Box<str>>,
    /// Counts dumps, to tell what a finished dump did not repeat.
    generation: u32,
    dump: Option<u32>,
    /// Interfaces that were not taken because the table was full.
    pub refused: u64,
}

impl Links {
    /// Applies an event.
    pub fn apply(&mut self, event: &Event, out: &mut Vec<LinkDelta>) {
        match &event.kind {
            EventKind::Link(link) if link.family == AF_UNSPEC => {
                if link.meta.dump && self.dump != Some(link.meta.seq) {
                    self.dump = Some(link.meta.seq);
                    self.generation = self.generation.wrapping_add(1);
                }
                match link.action {
                    Action::New => self.learn(link, event, out),
                    Action::Del => self.remove(link.ifindex, event, link.meta.pid, false, out),
                }
            }
            EventKind::DumpDone(done) if done.what == Dumped::Links => {
                if self.dump.take() != Some(done.seq) {
                    return;
                }
                let gone: Vec<u32> = self
                    .links
                    .values()
                    .filter(|link| link.generation != self.generation)
                    .map(|link| link.ifindex)
                    .collect();
                for ifindex in gone {
                    self.remove(ifindex, event, 0, true, out);
                }
            }
            _ => {}
        }
    }

    fn learn(&mut self, seen: &LinkEvent, event: &Event, out: &mut Vec<LinkDelta>) {
        let state = LinkState {
            up: seen.flags & IFF_UP != 0,
            carrier: seen.carrier.unwrap_or(seen.flags & IFF_LOWER_UP != 0),
            running: seen.flags & IFF_RUNNING != 0,
            master: seen.master,
        };
        let losses = seen
            .carrier_down_count
            .or(seen.carrier_changes.map(|changes| changes / 2));
        let known = self.links.get_mut(&seen.ifindex);
        let mut delta = LinkDelta {
            at: event.at,
            locator: event.locator,
            ifindex: seen.ifindex,
            name: seen.name.clone(),
            before: None,
            after: Some(state),
            missed: 0,
            by: seen.meta.pid,
            from_dump: seen.meta.dump,
        };
        let Some(link) = known else {
            if self.links.len() >= MAX_LINKS {
                self.refused += 1;
                return;
            }
            let link = Link {
                ifindex: seen.ifindex,
                name: seen.name.clone(),
                state,
                loopback: seen.flags & IFF_LOOPBACK != 0,
                kind: seen.link_kind.clone(),
                lower: seen.lower,
                mtu: seen.mtu,
                mac: seen.mac,
                losses,
                since: if seen.meta.dump {
                    Timestamp::MIN
                } else {
                    event.at
                },
                generation: self.generation,
            };
            self.own(None, seen.mac);
            self.links.insert(seen.ifindex, link);
            self.former.remove(&seen.ifindex);
            if !seen.meta.dump {
                out.push(delta);
            }
            return;
        };
        delta.before = Some(link.state);
        let counted = match (losses, link.losses) {
            (Some(now), Some(then)) => now.saturating_sub(then),
            _ => 0,
        };
        // The loss that this very message shows is no missed one.
        delta.missed = counted.saturating_sub(u32::from(delta.lost()));
        let renamed = !seen.name.is_empty() && seen.name != link.name;
        if renamed {
            link.name.clone_from(&seen.name);
        }
        delta.name.clone_from(&link.name);
        link.losses = losses.or(link.losses);
        link.lower = seen.lower.or(link.lower);
        link.mtu = seen.mtu.or(link.mtu);
        let macs = (link.mac, seen.mac.or(link.mac));
        link.mac = macs.1;
        if seen.link_kind.is_some() {
            link.kind.clone_from(&seen.link_kind);
        }
        link.generation = self.generation;
        let changed = link.state != state;
        if changed {
            link.state = state;
            link.since = event.at;
        }
        if changed || delta.missed > 0 || renamed {
            out.push(delta);
        }
        self.own(macs.0, macs.1);
    }

    /// Whether a link-layer address is that of an interface of the analysed host.
    pub fn is_own(&self, mac: Mac) -> bool {
        self.macs.contains_key(&mac)
    }

    /// An interface's link-layer address, before and now.
    fn own(&mut self, before: Option<Mac>, now: Option<Mac>) {
        if before == now {
            return;
        }
        if let Some(before) = before
            && let Some(count) = self.macs.get_mut(&before)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.macs.remove(&before);
            }
        }
        if let Some(now) = now.filter(|mac| !mac.is_zero()) {
            *self.macs.entry(now).or_default() += 1;
        }
    }

    fn remove(
        &mut self,
        ifindex: u32,
        event: &Event,
        by: u32,
        from_dump: bool,
        out: &mut Vec<LinkDelta>,
    ) {
        let Some(link) = self.links.remove(&ifindex) else {
            return;
        };
        self.own(link.mac, None);
        if self.former.len() >= MAX_LINKS {
            self.former.pop_first();
        }
        self.former.insert(ifindex, link.name.clone());
        out.push(LinkDelta {
            at: event.at,
            locator: event.locator,
            ifindex,
            name: link.name,
            before: Some(link.state),
            after: None,
            missed: 0,
            by,
            from_dump,
        });
    }

    /// An interface by name. Looks at all of them: for sentences, not for every event.
    pub fn named(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| *link.name == *name)
    }

    /// An interface by index.
    pub fn get(&self, ifindex: u32) -> Option<&Link> {
        self.links.get(&ifindex)
    }

    /// Its name; the last one it had when it was removed; `if7` when it was never seen.
    pub fn name(&self, ifindex: u32) -> Box<str> {
        let known = self.links.get(&ifindex).map(|link| &link.name);
        match known.or_else(|| self.former.get(&ifindex)) {
            Some(name) if !name.is_empty() => name.clone(),
            _ => format!("if{ifindex}").into(),
        }
    }

    /// Names of the links there are.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.links.values().map(|link| &*link.name)
    }

    /// An interface by name.
    pub fn by_name(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| &*link.name == name)
    }

    /// Whether packets can leave through it; an interface that was never seen gets the benefit of the doubt.
    pub fn usable(&self, ifindex: u32) -> bool {
        match self.links.get(&ifindex) {
            Some(link) => link.loopback || link.state.usable(),
            None => !self.former.contains_key(&ifindex),
        }
    }

    /// Whether it is administratively up and there; see [`Links::usable`] for unknown ones.
    pub fn admin_up(&self, ifindex: u32) -> bool {
        match self.links.get(&ifindex) {
            Some(link) => link.state.up,
            None => !self.former.contains_key(&ifindex),
        }
    }

    /// All interfaces in the order of their indexes.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// Number of interfaces.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// No interface is known.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Earliest deadline: none, links change by events only.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// Fires deadlines: none.
    pub fn expire(&mut self, _now: Timestamp, _out: &mut Vec<LinkDelta>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::routes::testing::{self, link_event};

    fn apply(links: &mut Links, at: i64, event: LinkEvent) -> Vec<LinkDelta> {
        let mut out = Vec::new();
        links.apply(
            &testing::event(at, EventKind::Link(Box::new(event))),
            &mut out,
        );
        out
    }

    const UP: u32 = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;

    #[test]
    fn a_carrier_loss_and_an_admin_down_are_told_apart() {
        let mut links = Links::default();
        assert_eq!(apply(&mut links, 0, link_event(3, "eth1", UP)).len(), 1);
        let lost = apply(&mut links, 1, link_event(3, "eth1", IFF_UP));
        assert!(lost[0].carrier_lost() && !lost[0].admin_down());
        let back = apply(&mut links, 2, link_event(3, "eth1", UP));
        assert!(back[0].recovered());
        let down = apply(&mut links, 3, link_event(3, "eth1", 0));
        assert!(down[0].admin_down() && down[0].lost() && !down[0].carrier_lost());
    }

    #[test]
    fn an_unchanged_notification_and_copies_of_other_families_change_nothing() {
        let mut links = Links::default();
        apply(&mut links, 0, link_event(3, "eth1", UP));
        assert!(apply(&mut links, 1, link_event(3, "eth1", UP)).is_empty());
        for family in [7, 10] {
            let copy = LinkEvent {
                family,
                ..link_event(3, "", 0)
            };
            assert!(apply(&mut links, 2, copy.clone()).is_empty());
            let gone = LinkEvent {
                action: Action::Del,
                ..copy
            };
            assert!(apply(&mut links, 2, gone).is_empty());
        }
        assert!(links.usable(3));
    }

    #[test]
    fn losses_that_only_the_counter_saw_are_missed_ones() {
        let counted = |flags, losses| LinkEvent {
            carrier_down_count: Some(losses),
            ..link_event(3, "eth1", flags)
        };
        let mut links = Links::default();
        apply(&mut links, 0, counted(UP, 1));
        let jump = apply(&mut links, 1, counted(UP, 4));
        assert_eq!((jump.len(), jump[0].missed), (1, 3));
        assert!(!jump[0].lost());
        assert_eq!(apply(&mut links, 2, counted(IFF_UP, 5))[0].missed, 0);
        assert_eq!(apply(&mut links, 3, counted(UP, 5))[0].missed, 0);
    }

    #[test]
    fn a_dump_is_no_change_and_what_the_next_dump_lacks_is_gone() {
        let mut links = Links::default();
        let dumped = |seq, ifindex, name: &str| {
            let mut event = link_event(ifindex, name, UP);
            event.meta.dump = true;
            event.meta.seq = seq;
            event
        };
        assert!(apply(&mut links, 0, dumped(1, 3, "eth1")).is_empty());
        assert!(apply(&mut links, 0, dumped(1, 4, "eth2")).is_empty());
        let mut out = Vec::new();
        links.apply(&testing::dump_done(1, Dumped::Links, 1), &mut out);
        assert!(out.is_empty());
        apply(&mut links, 2, dumped(2, 3, "eth1"));
        links.apply(&testing::dump_done(3, Dumped::Links, 2), &mut out);
        assert_eq!(out.len(), 1);
        assert!(out[0].removed() && out[0].from_dump);
        assert_eq!(&*links.name(4), "eth2");
    }
}
