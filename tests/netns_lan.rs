//! `flapscope live` on a host whose DHCP server or router fails it: Kea and dhclient, dnsmasq, radvd, in namespaces. Each incident must be told
//! while it happens, within the bar, and the analysis of the recording must tell the same (law 13). Needs root and the daemons: without
//! them tests say SKIPPED; with `REQUIRE_NETNS=1` that is a failure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    dead_code
)] // a test's helpers fail loudly, say what they skip, and measure on the wall

mod netns {
    pub mod host;
    pub mod lab;
    pub mod live;
}

use netns::lab::Lab;
use netns::live::{Live, kinds};

/// The program on the host, when it sees all there is.
fn watch(lab: &Lab, recording: &str) -> Live {
    let mut live = Live::inside(&lab.ns("h"), &["-i", "up1", "-w", recording]);
    live.note("read the kernel");
    live
}

fn has_address(lab: &Lab, space: &str, family: &str) -> bool {
    let command = format!("ip {family} -o addr show dev up1 scope global");
    !lab.sh(space, &command).trim().is_empty()
}

#[test]
fn a_lease_that_nobody_renews_costs_the_address_and_the_default_route() {
    let programs = ["kea-dhcp4", "dhclient"];
    let Some(mut lab) = Lab::new("le", &["h", "s"], &programs) else {
        return;
    };
    lab.cable(("h", "up1", &[]), ("s", "lan", &["192.0.2.1/25"]));
    lab.kea(
        "s",
        "lan",
        "192.0.2.0/25",
        "192.0.2.20 - 192.0.2.40",
        "192.0.2.1",
        9,
    );
    let path = lab.file("live.pcapng");
    let mut live = watch(&lab, &path);
    lab.dhclient("h", "up1");
    lab.until("a lease", |lab| has_address(lab, "h", "-4"));
    // One renewal is answered: a client that never got one proves nothing.
    std::thread::sleep(std::time::Duration::from_secs(5));
    lab.signal("s", "kea", "-KILL");
    let alert = live.opened(&["dhcp.server-unresponsive", "dhcp.lease-expired"]);
    let wanted =
        |incident: &serde_json::Value| kinds(incident).contains(&"address.removed".to_owned());
    let told = live.later(&alert, wanted);
    let text = told.to_string();
    assert!(text.contains("dhcp.lease-expired"), "{told:#}");
    assert!(text.contains("route.default-lost"), "{told:#}");
    live.only(&[&alert]);
    live.end_and_replay(&path);
}

#[test]
fn a_second_dhcp_server_that_answers_is_told_as_a_rogue() {
    let programs = ["kea-dhcp4", "dhclient", "dnsmasq", "udhcpc"];
    let Some(mut lab) = Lab::new("rg", &["h", "s", "x"], &programs) else {
        return;
    };
    // The host's uplink leads to a switch with the real server behind it, and one that nobody asked for.
    lab.ip("s", "link add br0 type bridge");
    lab.cable(("h", "up1", &[]), ("s", "p1", &[]));
    lab.cable(("s", "p2", &[]), ("x", "e0", &["192.0.2.99/25"]));
    for command in [
        "link set p1 master br0",
        "link set p2 master br0",
        "addr add 192.0.2.1/25 dev br0",
        "link set br0 up",
    ] {
        lab.ip("s", command);
    }
    lab.kea(
        "s",
        "br0",
        "192.0.2.0/25",
        "192.0.2.20 - 192.0.2.40",
        "192.0.2.1",
        12,
    );
    // The lease is older than the watch, and is renewed in it: the sign of the real server.
    lab.dhclient("h", "up1");
    lab.until("a lease", |lab| has_address(lab, "h", "-4"));
    let path = lab.file("live.pcapng");
    let mut live = watch(&lab, &path);
    std::thread::sleep(std::time::Duration::from_secs(6));
    lab.dnsmasq("x", "e0", "192.0.2.100,192.0.2.110,2m");
    // Another client asks, again and again: both answer, however long the second server takes to begin.
    let ask = "udhcpc -n -q -f -t 4 -T 2 -i up1 -s /bin/true -x hostname:second";
    for _ in 0..4 {
        lab.sh("h", ask);
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    let alert = live.opened(&["dhcp.rogue-server"]);
    let subjects = alert["incident"]["root"]["subjects"].to_string();
    assert!(subjects.contains("192.0.2.99"), "{alert:#}");
    live.only(&[&alert]);
    live.end_and_replay(&path);
}

const RA: &str = "interface lan { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultLifetime 6;\n \
    prefix 2001:db8:7::/64 { AdvOnLink on; AdvAutonomous on; AdvValidLifetime 3600; AdvPreferredLifetime 1800; }; };\n";

/// A host that learns its default route from radvd.
fn advertised(tag: &str) -> Option<(Lab, Live, String)> {
    let mut lab = Lab::new(tag, &["h", "s"], &["radvd"])?;
    lab.cable(("h", "up1", &[]), ("s", "lan", &["2001:db8:7::1/64"]));
    lab.sysctl("s", "net.ipv6.conf.all.forwarding=1");
    lab.sysctl("h", "net.ipv6.conf.up1.accept_ra=2");
    let path = lab.file("live.pcapng");
    let live = watch(&lab, &path);
    lab.radvd("s", RA);
    lab.until("a default route", |lab| {
        lab.sh("h", "ip -6 route show default").contains("proto ra")
    });
    Some((lab, live, path))
}

#[test]
fn a_router_that_withdraws_itself_takes_the_default_route_along() {
    let Some((mut lab, mut live, path)) = advertised("rw") else {
        return;
    };
    // radvd says good-bye: router lifetime 0 (RFC 4861 §6.2.5).
    lab.signal("s", "radvd", "-TERM");
    let alert = live.opened(&["ra.router-withdrawn"]);
    let lost = kinds(&alert["incident"]);
    assert!(lost.contains(&"route.default-lost".to_owned()), "{alert:#}");
    live.only(&[&alert]);
    live.end_and_replay(&path);
}

#[test]
fn a_router_that_falls_silent_expires_with_the_default_route() {
    let Some((mut lab, mut live, path)) = advertised("re") else {
        return;
    };
    // A second advertisement proves that it repeats itself.
    std::thread::sleep(std::time::Duration::from_secs(5));
    lab.signal("s", "radvd", "-KILL");
    let alert = live.opened(&["ra.expired"]);
    let lost = kinds(&alert["incident"]);
    assert!(lost.contains(&"route.default-lost".to_owned()), "{alert:#}");
    live.only(&[&alert]);
    live.end_and_replay(&path);
}

#[test]
fn a_host_that_becomes_a_router_loses_its_default_route_and_is_told_why() {
    let Some(mut lab) = Lab::new("fw", &["h", "s"], &["radvd"]) else {
        return;
    };
    lab.cable(("h", "up1", &[]), ("s", "lan", &["2001:db8:7::1/64"]));
    lab.sysctl("s", "net.ipv6.conf.all.forwarding=1");
    let path = lab.file("live.pcapng");
    let mut live = watch(&lab, &path);
    lab.radvd("s", RA);
    lab.until("a default route", |lab| {
        lab.sh("h", "ip -6 route show default").contains("proto ra")
    });
    std::thread::sleep(std::time::Duration::from_secs(1));
    lab.sysctl("h", "net.ipv6.conf.all.forwarding=1");
    let alert = live.opened(&["route.default-lost"]);
    let why = alert["incident"]["root"]["explanations"].to_string();
    assert!(why.contains("IPv6 forwarding was switched on"), "{alert:#}");
    live.only(&[&alert]);
    live.end_and_replay(&path);
}
