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
    let alert = live.opened("link.carrier-lost");
    let name = alert["host"]["name"].as_str().unwrap();
    assert!(name.contains(&two.name), "{name}");
    one.ip("link set up1 down");
    two.far("link set up1 up");
    let alert = live.opened("link.admin-down");
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
        [(&*one, "link.admin-down"), (&*two, "link.carrier-lost")]
    );
    let _ = std::fs::remove_file(&path);
}
