//! Several network namespaces under one `flapscope live`: each has its own model, live and from the recording. Needs root: without, the
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
}

use netns::host::{Host, possible};
use netns::live::{Live, analyze};
use serde_json::Value;

fn host(name: &str) -> Host {
    let host = Host::new(name);
    host.uplink("up1", "192.0.2.1/24", "2001:db8:1::1/64");
    host.ip("route add default via 192.0.2.254");
    host.ip("route add 203.0.113.0/24 via 192.0.2.254 proto bird");
    host
}

fn recording(name: &str) -> String {
    let file = std::env::temp_dir().join(format!("{name}-{}.pcapng", std::process::id()));
    file.to_str().unwrap().to_owned()
}

#[test]
fn interfaces_of_one_name_in_two_namespaces_are_told_apart_also_from_the_recording() {
    if !possible() {
        return;
    }
    let (one, two) = (host("sev1"), host("sev2"));
    let path = recording("several");
    let args = ["--netns", &one.name, "--netns", &two.name, "-w", &path];
    let mut live = Live::start(&args);
    live.note(&format!("read the kernel of netns {}", one.name));
    live.note(&format!("read the kernel of netns {}", two.name));
    two.far("link set up1 down");
    let alert = live.opened(&["link.carrier-lost"]);
    let name = alert["host"]["name"].as_str().unwrap();
    assert!(name.contains(&two.name), "{name}");
    one.ip("link set up1 down");
    two.far("link set up1 up");
    let alert = live.opened(&["link.admin-down"]);
    let name = alert["host"]["name"].as_str().unwrap();
    assert!(name.contains(&one.name), "{name}");
    live.end_and_replay(&path);
    let report: Value = serde_json::from_str(&analyze(&["--format", "json", &path])).unwrap();
    let found: Vec<(&str, &str)> = report["incidents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| {
            (
                i["namespace"].as_str().unwrap(),
                i["kind"].as_str().unwrap(),
            )
        })
        .collect();
    let (one, two) = (format!("netns {}", one.name), format!("netns {}", two.name));
    assert_eq!(
        found,
        [(&*two, "link.carrier-lost"), (&*one, "link.admin-down")]
    );
    let _ = std::fs::remove_file(&path);
}

/// A cable inside the namespace at the far end.
fn inner_cable(host: &Host) {
    for command in [
        "link add in1 type veth peer name in2",
        "addr add 198.51.100.1/24 dev in1",
        "link set in1 up",
        "link set in2 up",
        "route add 203.0.113.0/24 via 198.51.100.9",
    ] {
        host.far(command);
    }
}

#[test]
fn a_flap_in_a_namespace_known_by_its_id_is_told_with_the_routes_that_were_there_before() {
    if !possible() {
        return;
    }
    let host = host("nsid");
    inner_cable(&host);
    let path = recording("nsid");
    // The cable between them gave the far namespace an id in this one.
    let mut live = Live::start(&["--netns", &host.name, "--all-nsid", "-w", &path]);
    let far = format!("netns {}", host.far);
    live.note(&format!("read the kernel of {far}"));
    live.note(&format!("read the kernel of netns {}", host.name));
    host.far("link set in1 down");
    let alert = live.opened(&["link.admin-down"]);
    assert!(alert["host"]["name"].as_str().unwrap().contains(&far));
    assert!(
        alert["incident"]["affected"]["routes"].as_u64() >= Some(1),
        "{alert:#}"
    );

    // One that comes later is heard from its first message on.
    let young = Host::new("young");
    host.ip(&format!(
        "link add up9 type veth peer name up9 netns {}",
        young.name
    ));
    for command in ["addr add 192.0.2.129/25 dev up9", "link set up9 up"] {
        young.ip(command);
    }
    live.note("is heard from now on");
    host.ip("link set up9 up");
    // A cable that was never up loses nothing: the kernel tells of a carrier up to a second late.
    young.until("-o link show up9", "LOWER_UP");
    host.ip("link set up9 down");
    let found = live.wait(|alert| {
        alert["type"] == "incident.opened"
            && alert["incident"]["kind"] == "link.carrier-lost"
            && alert["host"]["name"].as_str().unwrap().contains("nsid ")
    });
    assert!(found.is_some(), "{}", live.summary());
    live.end_and_replay(&path);
    let _ = std::fs::remove_file(&path);
}

#[test]
fn a_namespace_that_only_we_keep_is_let_go() {
    if !possible() {
        return;
    }
    let host = Host::new("gone");
    let mut live = Live::start(&["--netns", &host.name]);
    live.note("read the kernel");
    drop(host);
    live.note("is gone and is not watched any more");
    assert_eq!(live.child.wait().unwrap().code(), Some(0));
}
