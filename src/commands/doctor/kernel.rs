//! What the kernel can do for us: netlink as `live` opens it, signatures on TCP, the buffer's limit.

use std::fs;

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;

use super::rights::Held;
use crate::input::bgp_listener::{has_ao, has_md5};
use crate::input::netlink;
use crate::output::doctor::{Area, Check};

/// The checks.
pub fn checks(rights: &Held) -> Vec<Check> {
    let mut checks = Vec::new();
    match netlink::open(&netlink::Config::default()) {
        Ok(collector) => {
            checks.push(groups(&collector.notes));
            checks.push(buffer(&collector.notes, rights));
        }
        Err(error) => checks.push(Check::missing(
            Area::Kernel,
            "netlink",
            format!("the kernel's links, addresses and routes cannot be watched: {error}"),
            None,
        )),
    }
    checks.extend(errors());
    checks.push(match has_md5() {
        Ok(true) => Check::ok(
            Area::Kernel,
            "TCP MD5",
            "--bgp-peer ADDR,password=… works: this kernel signs TCP with MD5",
        ),
        _ => Check::limited(
            Area::Kernel,
            "TCP MD5",
            "this kernel has no TCP MD5: a session with a password cannot come to --bgp-listen",
            None,
        ),
    });
    checks.push(match has_ao() {
        Ok(true) => Check::ok(
            Area::Kernel,
            "TCP-AO",
            "this kernel has TCP-AO (flapscope's listener signs with MD5 only)",
        ),
        _ => Check::limited(
            Area::Kernel,
            "TCP-AO",
            "this kernel has no TCP-AO (CONFIG_TCP_AO, from Linux 6.7): sessions that use it are seen on the wire only",
            None,
        ),
    });
    checks
}

/// Which groups could be joined; the collector notes those that could not.
fn groups(notes: &[String]) -> Check {
    let refused: Vec<&String> = notes
        .iter()
        .filter(|note| !note.contains("buffer"))
        .collect();
    if refused.is_empty() {
        return Check::ok(
            Area::Kernel,
            "netlink",
            "links, addresses, neighbors, rules, routes and nexthop objects are notified, and dumps filtered",
        );
    }
    let told: Vec<&str> = refused.iter().map(|note| note.as_str()).collect();
    Check::limited(Area::Kernel, "netlink", told.join("; "), None)
}

/// The receive buffer that was really granted.
fn buffer(notes: &[String], rights: &Held) -> Check {
    let limit = fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap_or_default();
    match notes.iter().find(|note| note.contains("buffer")) {
        None => Check::ok(
            Area::Kernel,
            "netlink buffer",
            format!(
                "{} MiB were granted: a burst of some 60,000 route changes fits",
                netlink::BUFFER >> 20
            ),
        ),
        Some(_) => Check::limited(
            Area::Kernel,
            "netlink buffer",
            format!(
                "net.core.rmem_max is {}: bursts of route changes may be lost; they are noticed, and the tables read again",
                limit.trim()
            ),
            rights.grant().or_else(|| {
                Some(format!(
                    "sudo sysctl -w net.core.rmem_max={}",
                    netlink::BUFFER
                ))
            }),
        ),
    }
}

/// Options that older kernels lack.
fn errors() -> Option<Check> {
    let socket = Socket::new(NETLINK_ROUTE).ok()?;
    let check = if socket.set_ext_ack(true).is_err() {
        Check::limited(
            Area::Kernel,
            "netlink errors",
            "this kernel says no reason when it refuses something (older than 4.12)",
            None,
        )
    } else if socket.set_netlink_get_strict_chk(true).is_err() {
        Check::limited(
            Area::Kernel,
            "netlink dumps",
            "this kernel filters no dumps (older than 4.20): reading tables again costs more",
            None,
        )
    } else {
        Check::ok(
            Area::Kernel,
            "netlink checks",
            "strict dump checking and extended acknowledgements are on",
        )
    };
    Some(check)
}
