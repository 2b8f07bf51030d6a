//! `flapscope live` on a host whose BGP really breaks: FRR and BIRD, BFD, BMP and the BGP listener, in namespaces. Each incident must be told
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

const FRR: &[&str] = &["zebra", "bgpd", "bfdd", "bird", "nft", "vtysh"];
const BIRD: &[&str] = &["bird", "birdc", "nft"];
/// Routes that the far router announces.
const ROUTES: usize = 40;

/// A host `h` (AS64512) with an uplink to the router `r` (AS64801), and a cable of their own for BMP.
fn cables(lab: &Lab) {
    lab.cable(
        ("h", "up1", &["192.0.2.1/31"]),
        ("r", "dn1", &["192.0.2.0/31"]),
    );
    lab.cable(
        ("h", "mgt", &["192.0.2.129/30"]),
        ("r", "mgt", &["192.0.2.130/30"]),
    );
}

fn frr_config(own: u32, address: &str, peer: &str, peer_as: u32, bfd: bool, more: &str) -> String {
    let bfd = if bfd {
        format!(" neighbor {peer} bfd profile fast\n")
    } else {
        String::new()
    };
    format!(
        "router bgp {own}\n bgp router-id {address}\n no bgp ebgp-requires-policy\n no bgp network import-check\n timers bgp 1 3\n \
         neighbor {peer} remote-as {peer_as}\n neighbor {peer} timers connect 1\n neighbor {peer} advertisement-interval 0\n{bfd}{more}"
    )
}

const FAST: &str =
    "bfd\n profile fast\n  detect-multiplier 3\n  receive-interval 100\n  transmit-interval 100\n";

/// FRR at both ends; the router tells of its routes by BMP and is the one that announces.
fn frr_pair(lab: &mut Lab, bfd: bool) {
    // What the host announces is served there: it is no black hole.
    lab.sh("h", "ip address add 198.51.100.7/32 dev lo");
    let networks: String = (0..ROUTES)
        .map(|n| format!("  network 203.0.113.{n}/32\n"))
        .collect();
    let bmp = format!(
        " address-family ipv4 unicast\n{networks}  neighbor 192.0.2.1 soft-reconfiguration inbound\n exit-address-family\n \
         bmp targets t\n  bmp connect 192.0.2.129 port 11019 min-retry 1000 max-retry 2000\n  bmp monitor ipv4 unicast pre-policy\n exit\n"
    );
    let host = " address-family ipv4 unicast\n  network 198.51.100.7/32\n exit-address-family\n";
    lab.frr(
        "r",
        &frr_config(64801, "192.0.2.0", "192.0.2.1", 64512, bfd, &bmp),
        bfd.then_some(FAST),
    );
    lab.frr(
        "h",
        &frr_config(64512, "192.0.2.1", "192.0.2.0", 64801, bfd, host),
        bfd.then_some(FAST),
    );
}

/// The kernel of the host has the table.
fn table_is_there(lab: &Lab) {
    lab.until("the table", |lab| {
        lab.sh("h", "ip route").lines().count() >= ROUTES
    });
}

/// The program on the host, when it sees all there is.
fn watch(lab: &Lab, recording: &str, more: &[&str]) -> Live {
    let args = [&["-i", "up1", "-w", recording][..], more].concat();
    let mut live = Live::inside(&lab.ns("h"), &args);
    live.note("read the kernel");
    live
}

#[test]
fn a_link_that_flaps_under_frr_is_one_incident_with_its_session_and_routes() {
    let Some(mut lab) = Lab::new("lf", &["h", "r"], FRR) else {
        return;
    };
    cables(&lab);
    frr_pair(&mut lab, false);
    table_is_there(&lab);
    let path = lab.file("live.pcapng");
    let mut live = watch(&lab, &path, &["--bmp", "192.0.2.129:11019"]);
    live.note("is connected");
    std::thread::sleep(std::time::Duration::from_secs(3));
    lab.ip("r", "link set dn1 down");
    let alert = live.opened(&["link.carrier-lost", "link.flap"]);
    assert_eq!(alert["incident"]["root"]["subjects"][0], "link:up1");
    lab.ip("r", "link set dn1 up");
    table_is_there(&lab);
    let told = live.later(&alert, |incident| {
        kinds(incident)
            .iter()
            .any(|kind| kind.starts_with("session."))
    });
    assert!(
        kinds(&told).iter().any(|kind| kind.starts_with("route.")),
        "{told:#}"
    );
    live.only(&[&alert]);
    live.end_and_replay(&path);
}

#[test]
fn a_bfd_session_that_is_lost_is_the_cause_of_the_bgp_session_that_falls() {
    let Some(mut lab) = Lab::new("bf", &["h", "r"], FRR) else {
        return;
    };
    cables(&lab);
    frr_pair(&mut lab, true);
    table_is_there(&lab);
    lab.until("BFD", |lab| {
        lab.vtysh("h", "show bfd peers").contains("Status: up")
    });
    let path = lab.file("live.pcapng");
    let mut live = watch(&lab, &path, &["--bmp", "192.0.2.129:11019"]);
    live.note("is connected");
    std::thread::sleep(std::time::Duration::from_secs(3));
    lab.drop_packets("r", &["udp dport 3784"]);
    let alert = live.opened(&["bfd.down"]);
    assert!(
        kinds(&alert["incident"]).contains(&"session.down".to_owned()),
        "{alert:#}"
    );
    live.only(&[&alert]);
    live.end_and_replay(&path);
}

#[test]
fn a_path_that_loses_everything_expires_the_hold_timer_while_the_link_stays() {
    let Some(mut lab) = Lab::new("he", &["h", "r"], FRR) else {
        return;
    };
    cables(&lab);
    frr_pair(&mut lab, false);
    table_is_there(&lab);
    let path = lab.file("live.pcapng");
    let mut live = watch(&lab, &path, &["--bmp", "192.0.2.129:11019"]);
    live.note("is connected");
    std::thread::sleep(std::time::Duration::from_secs(3));
    lab.drop_packets("r", &["tcp dport 179", "tcp sport 179"]);
    let alert = live.opened(&["session.down", "path.loss"]);
    let text = alert["incident"].to_string();
    assert!(text.contains("hold-timer-expired"), "{alert:#}");
    live.only(&[&alert]);
    live.end_and_replay(&path);
}

/// BIRD 2.0 has no BMP: it feeds the BGP listener.
fn bird_host(lab: &mut Lab) {
    let host = "router id 192.0.2.1;\nprotocol device { scan time 1; }\nprotocol kernel { ipv4 { export where source = RTS_BGP; }; }\n\
        protocol static { ipv4; route 198.51.100.7/32 blackhole; }\nprotocol direct { ipv4; interface \"up1\"; }\n\
        protocol bfd { interface \"up1\" { interval 100 ms; multiplier 3; }; }\n\
        protocol bgp up { local 192.0.2.1 as 64512; neighbor 192.0.2.0 as 64801; hold time 3; connect retry time 1; error wait time 1, 2; bfd yes;\n \
        ipv4 { import all; export where source = RTS_STATIC; }; }\n\
        protocol bgp flapscope { local 127.0.0.1 port 1791 as 64512; neighbor 127.0.0.2 port 1790 as 64512; multihop; rr client; connect delay time 1;\n \
        connect retry time 1; error wait time 1, 2; ipv4 { import none; export all; }; }\n";
    let routes: String = (0..ROUTES)
        .map(|n| format!("route 203.0.113.{n}/32 blackhole; "))
        .collect();
    let router = format!(
        "router id 192.0.2.0;\nprotocol device {{}}\nprotocol static table1 {{ ipv4; {routes} }}\nprotocol static more {{ ipv4; route 203.0.113.200/32 blackhole; }}\n\
         protocol direct {{ ipv4; interface \"dn1\"; }}\nprotocol bfd {{ interface \"dn1\" {{ interval 100 ms; multiplier 3; }}; }}\n\
         protocol bgp h {{ local 192.0.2.0 as 64801; neighbor 192.0.2.1 as 64512; hold time 3; connect retry time 1; error wait time 1, 2; bfd yes;\n \
         ipv4 {{ import all; export where source = RTS_STATIC; }}; }}\n"
    );
    lab.bird("r", &router);
    lab.bird("h", host);
    table_is_there(lab);
    lab.until("BFD", |lab| {
        lab.birdc("h", &["show", "bfd", "sessions"]).contains("Up")
    });
}

const LISTENER: &[&str] = &["--bgp-listen", "127.0.0.2:1790", "--as", "64512"];

#[test]
fn birds_link_goes_down_and_the_listener_sees_what_went_with_it() {
    let Some(mut lab) = Lab::new("bl", &["h", "r"], BIRD) else {
        return;
    };
    cables(&lab);
    bird_host(&mut lab);
    let path = lab.file("live.pcapng");
    let mut live = watch(&lab, &path, LISTENER);
    live.note("is connected");
    std::thread::sleep(std::time::Duration::from_secs(3));
    lab.ip("h", "link set up1 down");
    let alert = live.opened(&["link.admin-down"]);
    assert!(
        kinds(&alert["incident"])
            .iter()
            .any(|kind| kind.starts_with("route.")),
        "{alert:#}"
    );
    live.only(&[&alert]);
    live.end_and_replay(&path);
}

#[test]
fn birds_bfd_session_is_lost_and_a_prefix_that_flaps_behind_it_is_another_matter() {
    let Some(mut lab) = Lab::new("bb", &["h", "r"], BIRD) else {
        return;
    };
    cables(&lab);
    bird_host(&mut lab);
    let path = lab.file("live.pcapng");
    let mut live = watch(&lab, &path, LISTENER);
    live.note("is connected");
    std::thread::sleep(std::time::Duration::from_secs(3));
    for _ in 0..6 {
        lab.birdc("r", &["disable", "more"]);
        std::thread::sleep(std::time::Duration::from_millis(400));
        lab.birdc("r", &["enable", "more"]);
        std::thread::sleep(std::time::Duration::from_millis(400));
    }
    let flap = live.opened(&["prefix.flap"]);
    assert_eq!(
        flap["incident"]["root"]["subjects"][0],
        "prefix:203.0.113.200/32"
    );
    lab.drop_packets("r", &["udp dport 3784"]);
    let lost = live.opened(&["bfd.down"]);
    assert!(
        kinds(&lost["incident"]).contains(&"session.down".to_owned()),
        "{lost:#}"
    );
    live.only(&[&flap, &lost]);
    live.end_and_replay(&path);
}
