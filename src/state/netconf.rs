//! Settings of interfaces that decide what becomes of packets: who forwards, who ignores routes without carrier. Learnt from netconf messages;
//! what makes it worth keeping is that a sysctl explains losses that no route, link or session shows.

use std::collections::BTreeMap;

use crate::event::netlink::{Action, NetconfEvent, NetconfOf};
use crate::event::{Event, EventKind, Timestamp};

use super::links::MAX_LINKS;

/// What is known of one interface (or of `all`, `default`) in one family.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Settings {
    pub forwarding: Option<bool>,
    /// When forwarding was switched, if that was seen.
    pub switched: Option<Timestamp>,
    pub rp_filter: Option<u32>,
    pub ignore_linkdown: Option<bool>,
}

/// All interfaces' settings.
#[derive(Clone, Debug, Default)]
pub struct Netconf {
    /// By family (true is IPv6) and interface; at most twice [`MAX_LINKS`].
    table: BTreeMap<(bool, NetconfOf), Settings>,
}

impl Netconf {
    /// Takes in a netconf message.
    pub fn apply(&mut self, event: &Event) {
        let EventKind::Netconf(netconf) = &event.kind else {
            return;
        };
        let key = (netconf.ipv6, netconf.of);
        if netconf.action == Action::Del {
            self.table.remove(&key);
        } else if self.table.len() < 2 * MAX_LINKS || self.table.contains_key(&key) {
            self.table.entry(key).or_default().learn(netconf, event.at);
        }
    }

    /// What is known of an interface.
    pub fn of(&self, ipv6: bool, of: NetconfOf) -> Option<&Settings> {
        self.table.get(&(ipv6, of))
    }

    /// Forwarding was switched to `on` for this interface, itself or with all, at or after `since`.
    pub fn switched(&self, ipv6: bool, ifindex: u32, on: bool, since: Timestamp) -> bool {
        [NetconfOf::All, NetconfOf::Link(ifindex)]
            .into_iter()
            .filter_map(|of| self.of(ipv6, of))
            .any(|s| s.forwarding == Some(on) && s.switched.is_some_and(|at| at >= since))
    }
}

impl Settings {
    /// Only what a message names changes.
    fn learn(&mut self, netconf: &NetconfEvent, at: Timestamp) {
        if let Some(on) = netconf.forwarding {
            if self.forwarding.is_some_and(|before| before != on) {
                self.switched = Some(at);
            }
            self.forwarding = Some(on);
        }
        self.rp_filter = netconf.rp_filter.or(self.rp_filter);
        self.ignore_linkdown = netconf.ignore_linkdown.or(self.ignore_linkdown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::netlink::Meta;

    fn forwarding(table: &mut Netconf, at: i64, of: NetconfOf, on: bool) {
        let mut event = Event::deadline(Timestamp(at));
        event.kind = EventKind::Netconf(Box::new(NetconfEvent {
            meta: Meta::default(),
            action: Action::New,
            ipv6: true,
            of,
            forwarding: Some(on),
            rp_filter: None,
            mc_forwarding: None,
            proxy_neigh: None,
            ignore_linkdown: None,
        }));
        table.apply(&event);
    }

    #[test]
    fn a_switch_is_a_change_of_what_was_known_and_all_means_each() {
        let mut table = Netconf::default();
        forwarding(&mut table, 1, NetconfOf::All, false);
        assert!(!table.switched(true, 3, false, Timestamp(0)));
        forwarding(&mut table, 5, NetconfOf::All, true);
        assert!(table.switched(true, 3, true, Timestamp(5)));
        assert!(!table.switched(true, 3, true, Timestamp(6)));
        assert!(!table.switched(false, 3, true, Timestamp(0)));
    }
}
