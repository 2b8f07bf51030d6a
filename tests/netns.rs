//! The live program against the kernel, in network namespaces of its own. Needs root (or CAP_SYS_ADMIN and CAP_NET_ADMIN): without, the
//! tests say SKIPPED; with `REQUIRE_NETNS=1` that is a failure.
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
    pub mod live;
    pub mod watcher;
}

use std::collections::BTreeSet;
use std::time::Duration;

use flapscope::event::loss::GapKind;
use netns::host::{Host, possible};
use netns::live::{BAR, Live, seconds, wall};
use netns::watcher::Watcher;
use serde_json::Value;

macro_rules! need_namespaces {
    () => {
        if !possible() {
            return;
        }
    };
}

/// A host with two uplinks whose far ends are in another namespace, addresses of both families, and routes of every kind.
fn host(name: &str) -> Host {
    let host = Host::new(name);
    host.uplink("up1", "192.0.2.1/24", "2001:db8:1::1/64");
    host.uplink("up2", "198.51.100.1/24", "2001:db8:2::1/64");
    host.ip("route add default via 192.0.2.254");
    host.ip("route add 203.0.113.0/28 via 192.0.2.254 metric 20 proto bird");
    host.ip("route add 203.0.113.16/28 via 198.51.100.254 proto bgp");
    host.ip("route add 203.0.113.32/28 nexthop via 192.0.2.7 weight 2 nexthop via 198.51.100.7");
    host.ip("nexthop add id 10 via 192.0.2.9 dev up1");
    host.ip("nexthop add id 11 via 198.51.100.9 dev up2");
    host.ip("nexthop add id 20 group 10/11");
    host.ip("route add 203.0.113.48/28 nhid 10 proto bgp");
    host.ip("route add 203.0.113.64/28 nhid 20 proto bgp");
    host.ip("route add 203.0.113.80/28 via 192.0.2.254 table 100");
    host.ip("-6 route add 2001:db8:10::/48 via 2001:db8:1::9");
    host.ip("-6 route add 2001:db8:11::/48 nexthop via 2001:db8:1::8 nexthop via 2001:db8:2::8");
    host.ip("-6 nexthop add id 30 via 2001:db8:1::9 dev up1");
    host.ip("-6 route add 2001:db8:12::/48 nhid 30 proto bgp");
    host.ip("route add blackhole 203.0.113.128/25");
    host
}

#[test]
fn the_shadow_fib_is_the_kernels_after_each_of_its_silent_removals() {
    need_namespaces!();
    let host = host("fib");
    let mut watcher = Watcher::start(&host, 1 << 20);
    watcher.until("the baseline", |w| w.equals_kernel());
    let before = watcher.routes().len();
    assert!(before >= 20, "{before} routes");
    type Deed = (&'static str, fn(&Host));
    let deeds: &[Deed] = &[
        ("carrier loss", |h| h.far("link set up1 down")),
        ("carrier back", |h| h.far("link set up1 up")),
        ("admin down", |h| h.ip("link set up1 down")),
        ("admin up", |h| h.ip("link set up1 up")),
        ("routes again", |h| {
            h.ip("route add default via 192.0.2.254");
            h.ip("nexthop add id 12 via 192.0.2.12 dev up1");
            h.ip("route add 203.0.113.96/28 nhid 12");
        }),
        ("nexthop object deleted", |h| h.ip("nexthop del id 12")),
        ("last address", |h| h.ip("-4 addr flush dev up1")),
        ("address of the other family", |h| {
            h.ip("-6 addr flush dev up2")
        }),
        ("multipath leg down", |h| h.ip("link set up2 down")),
        ("device deleted", |h| h.ip("link del up2")),
        ("everything flushed", |h| {
            h.ip("-4 route flush table main");
            h.ip("link del up1");
        }),
    ];
    for (what, deed) in deeds {
        deed(&host);
        watcher.until(what, |w| w.equals_kernel());
        watcher.until("the dumps", |w| w.is_quiet(Duration::from_millis(2700)));
        assert!(watcher.equals_kernel(), "after {what}");
    }
    assert!(!watcher.gap(GapKind::NetlinkOverrun));
}

#[test]
fn a_tiny_buffer_loses_says_so_and_the_shadow_fib_is_right_again_afterwards() {
    need_namespaces!();
    let host = host("tiny");
    let mut watcher = Watcher::start(&host, 4096);
    watcher.until("the baseline", |w| w.equals_kernel());
    let adds: String = (0..4000u32)
        .map(|n| format!("route add 198.18.{}.{}/32 dev up1\n", n >> 8, n & 255))
        .collect();
    let dels: String = (0..4000u32)
        .filter(|n| n % 3 != 0)
        .map(|n| format!("route del 198.18.{}.{}/32 dev up1\n", n >> 8, n & 255))
        .collect();
    // Nobody reads meanwhile: the buffer must overflow.
    host.batch(&(adds + &dels));
    watcher.until("the resync", |w| {
        w.gap(GapKind::NetlinkOverrun) && w.equals_kernel()
    });
}

#[test]
fn a_process_and_a_name_lead_into_the_same_namespace() {
    need_namespaces!();
    let host = host("pid");
    let mut inside = host.process();
    let pid = inside.id();
    let mut watcher = Watcher::of(&pid.to_string(), &host, 1 << 20);
    watcher.until("the baseline", |w| w.equals_kernel());
    drop(inside.stdin.take());
    let _ = inside.wait();
}

fn baseline_is_read(live: &mut Live) {
    live.note("read the kernel");
}

fn opened(alert: &Value) -> bool {
    alert["type"] == "incident.opened"
}

#[test]
fn an_incident_is_told_within_two_seconds_of_its_evidence() {
    need_namespaces!();
    for (name, kind, deed) in [
        ("carr", "link.carrier-lost", "far link set up1 down"),
        ("admin", "link.admin-down", "ip link set up1 down"),
        (
            "addr",
            "address.removed",
            "ip addr del 192.0.2.1/24 dev up1",
        ),
    ] {
        let host = host(name);
        let mut live = Live::start(&["--netns", &host.name]);
        baseline_is_read(&mut live);
        let began = wall();
        match deed.split_once(' ').unwrap() {
            ("far", command) => host.far(command),
            (_, command) => host.ip(command),
        }
        let (at, alert) = live
            .wait(opened)
            .unwrap_or_else(|| panic!("no alert after {deed}"));
        assert_eq!(alert["incident"]["kind"], kind, "{alert:#}");
        // The kernel tells of a lost carrier up to a second late: the evidence is there when it has spoken.
        let evidence = seconds(&alert["incident"]["root"]["first"]);
        let own = seconds(&alert["at"]) - evidence;
        let (took, since) = (at - evidence, at - began);
        eprintln!(
            "{deed}: told {took:.2} s after the evidence, {since:.2} s after the deed; {own:.2} s to let the incident grow"
        );
        // What the engine's own windows take is exact; what the way to us adds depends on how busy the machine is.
        assert!(own <= 1.6, "{deed}: {own}");
        assert!(took < 2.0 * BAR, "{deed}: {took}");
        let chain: BTreeSet<&str> = alert["incident"]["chain"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|effect| effect["kind"].as_str())
            .collect();
        assert!(
            chain.iter().any(|kind| kind.starts_with("route.")),
            "{deed}: {chain:?}"
        );
    }
}

#[test]
fn the_loss_of_a_nexthop_object_is_told_with_the_routes_it_took_along() {
    need_namespaces!();
    let host = host("nho");
    host.ip("nexthop add id 40 via 192.0.2.40 dev up1");
    for n in 0..20 {
        host.ip(&format!("route add 198.18.{n}.0/24 nhid 40 proto bgp"));
    }
    let mut live = Live::start(&["--netns", &host.name]);
    baseline_is_read(&mut live);
    host.ip("nexthop del id 40");
    let (_, alert) = live.wait(opened).expect("an alert");
    assert_eq!(alert["incident"]["affected"]["routes"], 20, "{alert:#}");
}

#[test]
fn the_end_is_orderly_on_sigterm_and_sigint_and_what_is_pending_is_told() {
    need_namespaces!();
    for (name, signal, code) in [("term", "-TERM", 0), ("int", "-INT", 130)] {
        let host = host(name);
        let mut live = Live::start(&["--netns", &host.name]);
        baseline_is_read(&mut live);
        host.ip("link set up1 down");
        live.signal(signal);
        let (_, alert) = live.wait(|_| true).expect("the incident at the end");
        assert_eq!(alert["incident"]["root"]["kind"], "link.admin-down");
        assert_eq!(live.child.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn a_recording_of_the_run_gives_the_same_alerts_offline() {
    need_namespaces!();
    let host = host("rec");
    let file = std::env::temp_dir().join(format!("{}.pcapng", host.name));
    let path = file.to_str().unwrap();
    let mut live = Live::start(&["--netns", &host.name, "-w", path]);
    baseline_is_read(&mut live);
    host.far("link set up2 down");
    host.ip("route del default");
    host.ip("addr del 192.0.2.1/24 dev up1");
    live.wait(opened).expect("an alert");
    live.end_and_replay(path);
    let _ = std::fs::remove_file(&file);
}
