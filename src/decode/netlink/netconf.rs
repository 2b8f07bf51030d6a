//! `RTM_NEWNETCONF` and `RTM_DELNETCONF` (linux/netconf.h), which `netlink-packet-route` does not decode: what an interface does with
//! packets (forwarding, reverse path filter, routes without carrier).

use super::attributes::{Walk, word};
use crate::event::EventKind;
use crate::event::netlink::{Action, Meta, NetconfEvent, NetconfOf};

/// `struct netconfmsg` (the family), aligned.
const HEADER: usize = 4;
const NETCONFA_IFINDEX: u16 = 1;
const NETCONFA_FORWARDING: u16 = 2;
const NETCONFA_RP_FILTER: u16 = 3;
const NETCONFA_MC_FORWARDING: u16 = 4;
const NETCONFA_PROXY_NEIGH: u16 = 5;
const NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN: u16 = 6;
/// Pseudo interfaces (linux/netconf.h).
const ALL: i32 = -1;
const DEFAULT: i32 = -2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Decodes the payload behind the netlink header; `None` for families that are not ours.
pub(super) fn decode(
    payload: &[u8],
    meta: Meta,
    action: Action,
) -> Result<Option<EventKind>, &'static str> {
    let (header, rest) = payload
        .split_first_chunk::<HEADER>()
        .ok_or("netconf message shorter than its header")?;
    let ipv6 = match header[0] {
        AF_INET => false,
        AF_INET6 => true,
        _ => return Ok(None),
    };
    let mut of = None;
    let mut netconf = NetconfEvent {
        meta,
        action,
        ipv6,
        of: NetconfOf::All,
        forwarding: None,
        rp_filter: None,
        mc_forwarding: None,
        proxy_neigh: None,
        ignore_linkdown: None,
    };
    for attribute in Walk::new(rest, "netconf attribute runs over its message") {
        let (kind, value) = attribute?;
        let number = word(value);
        let switch = number.map(|number| number != 0);
        match kind {
            NETCONFA_IFINDEX => of = number.map(|number| number as i32),
            NETCONFA_FORWARDING => netconf.forwarding = switch,
            NETCONFA_RP_FILTER => netconf.rp_filter = number,
            NETCONFA_MC_FORWARDING => netconf.mc_forwarding = switch,
            NETCONFA_PROXY_NEIGH => netconf.proxy_neigh = switch,
            NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN => netconf.ignore_linkdown = switch,
            _ => {}
        }
    }
    netconf.of = match of.ok_or("netconf message without an interface")? {
        ALL => NetconfOf::All,
        DEFAULT => NetconfOf::Default,
        index => NetconfOf::Link(u32::try_from(index).map_err(|_| "netconf of no interface")?),
    };
    Ok(Some(EventKind::Netconf(Box::new(netconf))))
}
