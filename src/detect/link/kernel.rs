//! Words and small sums that the detectors of the kernel's tables share.

use std::fmt::{Display, Write};
use std::time::Duration;

use crate::event::netlink::protocol_name;
use crate::event::{Event, EventKind, Locator, Timestamp};
use crate::state::NetState;
use crate::state::routes::Route;

/// Interface names of containers and virtual machines: their coming and going is scheduling, not failure.
const CONTAINER_PREFIXES: &[&str] = &[
    "veth",
    "cali",
    "lxc",
    "cni",
    "vnet",
    "tap",
    "fwpr",
    "fwln",
    "fwbr",
    "nodelocaldns",
];
/// Linux's PID_MAX_LIMIT: netlink ports above it were chosen by the kernel for a process's second socket.
pub(in crate::detect) const PID_MAX: u32 = 4_194_304;

/// Whether an interface belongs to a container or virtual machine, by its name.
pub(in crate::detect) fn is_container(name: &str) -> bool {
    CONTAINER_PREFIXES.iter().any(|prefix| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty())
    })
}

/// Who acted, from `nlmsg_pid`, the name behind it where the collector found it, and, where routes are concerned, their owner.
pub(in crate::detect) fn actor(net: &NetState, pid: u32, protocol: Option<u8>) -> String {
    let owner = protocol.map(protocol_name);
    let process = net
        .actors
        .name(pid)
        .map(|name| match net.actors.process(pid) {
            Some(process) => format!("{name} (pid {process})"),
            None if pid <= PID_MAX => format!("{name} (pid {pid})"),
            None => format!("{name} (netlink port {pid})"),
        });
    match (pid, process, owner) {
        (0, _, _) => "the kernel".to_owned(),
        (_, Some(process), None) => process,
        (_, Some(process), Some(owner)) => format!("{process}, {owner} routes"),
        (pid, None, None) if pid <= PID_MAX => format!("pid {pid}"),
        (pid, None, None) => format!("a process (netlink port {pid})"),
        (pid, None, Some(owner)) if pid <= PID_MAX => format!("pid {pid} ({owner} routes)"),
        (_, None, Some(owner)) => format!("the owner of the {owner} routes"),
    }
}

/// A command that shows the process behind a netlink port. A process's first socket has its number; ports above the largest one are the
/// kernel's choice and belong to whoever holds the socket.
pub(in crate::detect) fn process_advice(net: &NetState, port: u32) -> String {
    let process = net.actors.process(port);
    if let Some(process) = process.or((port <= PID_MAX).then_some(port)) {
        format!("ps -fp {process}")
    } else {
        format!("ss -f netlink -ap | grep -w {port} # who holds this socket")
    }
}

/// "a, b and 3 more".
pub(in crate::detect) fn list<T: Display>(
    items: impl IntoIterator<Item = T>,
    shown: usize,
) -> String {
    let mut out = String::new();
    let mut total = 0usize;
    for item in items {
        total += 1;
        if total <= shown {
            let comma = if total > 1 { ", " } else { "" };
            let _ = write!(out, "{comma}{item}"); // writing to a String cannot fail
        }
    }
    if total > shown {
        let _ = write!(out, " and {} more", total - shown);
    }
    out
}

/// Seconds with the digits that matter.
pub(in crate::detect) fn seconds(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1000.0)
    } else if seconds < 100.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{seconds:.0} s")
    }
}

/// "once", "4 times in 12.0 s".
pub(in crate::detect) fn times(count: u64, first: Timestamp, last: Timestamp) -> String {
    match count {
        0 | 1 => "once".to_owned(),
        n => format!("{n} times in {}", seconds(last.since(first))),
    }
}

/// A name as an argument of a shell command: quoted when it holds anything a shell could act on.
pub(in crate::detect) fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:@".contains(c);
    if !name.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', "'\\''"))
    }
}

/// Time and place of an event, without its content: to be put into evidence later.
pub(in crate::detect) fn head(event: &Event) -> Event {
    placed(event.at, event.locator)
}

/// An event of this time and place without content.
pub(in crate::detect) fn placed(at: Timestamp, locator: Locator) -> Event {
    Event {
        locator,
        kind: EventKind::Deadline,
        ..Event::deadline(at)
    }
}

/// Names of the interfaces that a route leaves through.
pub(in crate::detect) fn interfaces(net: &NetState, route: &Route) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = route
        .hops
        .iter()
        .filter_map(|hop| hop.ifindex)
        .map(|ifindex| net.links.name(ifindex))
        .collect();
    names.dedup();
    names
}

/// "via 192.0.2.1 dev eth0", "dev eth0", "nowhere" for routes without a hop.
pub(in crate::detect) fn way(net: &NetState, route: &Route) -> String {
    if route.hops.is_empty() {
        return "nowhere".to_owned();
    }
    let hops = route.hops.iter().map(|hop| {
        let dev = hop.ifindex.map(|i| format!("dev {}", net.links.name(i)));
        match (hop.gateway, dev) {
            (Some(gateway), Some(dev)) => format!("via {gateway} {dev}"),
            (Some(gateway), None) => format!("via {gateway}"),
            (None, dev) => dev.unwrap_or_default(),
        }
    });
    list(hops, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_interfaces_are_known_by_name_and_uplinks_are_not() {
        for name in ["veth12ab", "cali0123456789a", "lxc_health", "tap0", "vnet3"] {
            assert!(is_container(name), "{name}");
        }
        for name in ["eth0", "ens3f0np0", "bond0", "veth", "vlan10", "br-ex"] {
            assert!(!is_container(name), "{name}");
        }
    }

    #[test]
    fn names_that_a_shell_could_act_on_are_quoted() {
        assert_eq!(quoted("eth0.10"), "eth0.10");
        assert_eq!(quoted("e;id"), "'e;id'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
