//! The catalogue tells the truth: what it calls detected is raised by a detector, its figures are the detectors', and the page is current.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use flapscope::commands::explain;
use flapscope::detect::{Kind, catalogue};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Sources of detectors: neither tests, nor the tables that name every kind.
fn detectors(at: &Path, sources: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        if ["tests", "catalogue", "kind", "lab"].contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            detectors(&path, sources);
        } else {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            sources.push((path, code.to_string()));
        }
    }
}

#[test]
fn what_is_called_detected_is_what_detectors_name() {
    let mut sources = Vec::new();
    detectors(&root().join("src/detect"), &mut sources);
    // The one finding that the correlator makes itself.
    let path = root().join("src/correlate/path.rs");
    sources.push((path.clone(), fs::read_to_string(path).unwrap()));
    let named: BTreeSet<String> = sources
        .iter()
        .flat_map(|(_, code)| {
            code.match_indices("Kind::").filter_map(|(at, _)| {
                let own = !code[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
                let rest = &code[at + "Kind::".len()..];
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric())?;
                own.then(|| rest[..end].to_string())
            })
        })
        .collect();
    for row in catalogue::rows() {
        let variant = format!("{:?}", row.kind);
        assert!(
            named.contains(&variant),
            "{}: the catalogue tells of it and no detector names it",
            row.kind
        );
    }
}

#[test]
fn every_row_is_complete_and_its_commands_change_nothing() {
    for row in catalogue::rows() {
        assert!(!row.logic.is_empty(), "{}", row.kind);
        assert!(!row.source.is_empty(), "{}", row.kind);
        assert!(!row.false_alarms.is_empty(), "{}", row.kind);
        assert!(!row.seen_in.is_empty(), "{}", row.kind);
        assert!((2..=3).contains(&row.check.len()), "{}", row.kind);
        for command in row.check {
            let writes = [
                " add ", " del", " set ", " flush", "clear ", "restart", "conf t",
            ];
            assert!(!writes.iter().any(|w| command.contains(w)), "{command}");
        }
    }
}

#[test]
fn pages_fit_a_terminal() {
    for kind in Kind::ALL {
        for line in explain::page(*kind).lines() {
            let command = catalogue::row(*kind)
                .is_some_and(|row| row.check.iter().any(|check| line.trim() == *check));
            assert!(command || line.chars().count() <= 80, "{kind}: {line}");
        }
    }
}

/// Figures that the catalogue tells, and the lines of source that they are told of.
const FIGURES: &[(Kind, &str, &str, &[&str])] = &[
    (
        Kind::FeedImplausible,
        "1000 withdrawals",
        "feed.rs",
        &["WITHDRAWALS: u64 = 1000"],
    ),
    (
        Kind::LinkFlap,
        "within 60 s, or 3 within 600 s",
        "link.rs",
        &[
            "FLAP_WINDOW: Duration = Duration::from_secs(60)",
            "SLOW_WINDOW: Duration = Duration::from_secs(600)",
            "REMEMBERED: usize = 3",
        ],
    ),
    (
        Kind::LinkRemoved,
        "within 1 s",
        "link.rs",
        &["REMOVAL: Duration = Duration::from_secs(1)"],
    ),
    (
        Kind::AddressRemoved,
        "100 ms",
        "address.rs",
        &["SETTLE: Duration = Duration::from_millis(100)"],
    ),
    (
        Kind::AddressFlap,
        "within 600 s",
        "address.rs",
        &["FLAP_WINDOW: Duration = Duration::from_secs(600)"],
    ),
    (
        Kind::AddressMoved,
        "stands for 5 s",
        "arp.rs",
        &["SETTLED: Duration = Duration::from_secs(5)"],
    ),
    (
        Kind::AddressMoved,
        "within 60 s",
        "arp.rs",
        &["HAND_OVER: Duration = Duration::from_secs(60)"],
    ),
    (
        Kind::AddressMoved,
        "10 min",
        "arp.rs",
        &["STALE_OWNER: Duration = Duration::from_secs(10 * 60)"],
    ),
    (
        Kind::AddressConflict,
        "at least twice",
        "arp/contest.rs",
        &[
            "DOUBLE_ANSWERS: u32 = 2",
            "TOGETHER: Duration = Duration::from_secs(1)",
        ],
    ),
    (
        Kind::AddressConflict,
        "16 addresses or more",
        "arp/probes.rs",
        &["PROXY: usize = 16"],
    ),
    (
        Kind::AddressConflict,
        "2 checks",
        "arp/probes.rs",
        &["REPEATED: u64 = 2"],
    ),
    (
        Kind::NeighborFlap,
        "3 failures",
        "neighbor.rs",
        &[
            "FLAPS: usize = 3",
            "FLAP_WINDOW: Duration = Duration::from_secs(300)",
        ],
    ),
    (
        Kind::NeighborUnreachable,
        "Within 10 s",
        "neighbor.rs",
        &["AFTER_LINK: Duration = Duration::from_secs(10)"],
    ),
    (
        Kind::NeighborMacFlip,
        "3 changes",
        "neighbor.rs",
        &[
            "FLIPS: usize = 3",
            "FLIP_WINDOW: Duration = Duration::from_secs(300)",
        ],
    ),
    (
        Kind::NeighborMacFlip,
        "5 announcements",
        "arp/contest.rs",
        &["PUSHES: u32 = 5", "FLIPS: usize = 3"],
    ),
    (
        Kind::RaRogueRouter,
        "600 s",
        "ra/strangers.rs",
        &["LEARNING: Duration = Duration::from_secs(600)"],
    ),
    (
        Kind::RaInconsistent,
        "heard 2 times",
        "ra/strangers.rs",
        &["STEADY: u64 = 2"],
    ),
    (
        Kind::RaSpoofed,
        "3 times",
        "ra/identity.rs",
        &["TURNS: u32 = 3"],
    ),
    (
        Kind::RaSpoofed,
        "within 60 s",
        "ra/role.rs",
        &["SAME_BREATH: Duration = Duration::from_secs(60)"],
    ),
    (
        Kind::RaExpired,
        "2 advertisements",
        "ra/role.rs",
        &["SPOKEN: u64 = 2"],
    ),
    (
        Kind::RaExpired,
        "60 s",
        "ra/witness.rs",
        &["COLLECTED: Duration = Duration::from_secs(60)"],
    ),
    (
        Kind::RaFlap,
        "2 withdrawals",
        "ra/role.rs",
        &["FLAPS: usize = 2"],
    ),
    (
        Kind::RaFlap,
        "300 s",
        "ra.rs",
        &["WINDOW: Duration = Duration::from_secs(5 * 60)"],
    ),
    (
        Kind::RaFlood,
        "More than 10",
        "ra/flood.rs",
        &[
            "MOST_IN_SECOND: usize = 10",
            "MOST_ROUTERS: usize = 5",
            "MOST_ROUTERS_AT_FIRST: usize = 15",
            "MOST_PREFIXES: usize = 16",
        ],
    ),
    (
        Kind::DhcpRogueServer,
        "600 s",
        "dhcp/rogue_server.rs",
        &[
            "TOGETHER: Duration = Duration::from_secs(600)",
            "PATIENCE: Duration = Duration::from_secs(30)",
        ],
    ),
    (
        Kind::DhcpServerUnresponsive,
        "3 times over 4 s",
        "dhcp/server_unresponsive.rs",
        &[
            "TRIES: u32 = 3",
            "SPAN: Duration = Duration::from_secs(4)",
            "STRANGER_TRIES: u32 = 5",
        ],
    ),
    (
        Kind::DhcpStarvation,
        "10 new client addresses",
        "dhcp/starvation.rs",
        &[
            "FROM_ONE: usize = 10",
            "CROWD: usize = 16",
            "LEFT_OUT: usize = 3",
        ],
    ),
    (
        Kind::DhcpPoolExhausted,
        "3 new clients",
        "dhcp/pool.rs",
        &["LEFT_OUT: usize = 3", "RUN: usize = 10"],
    ),
    (
        Kind::DhcpNakStorm,
        "3 NAKs to one client within 600 s",
        "dhcp/nak_storm.rs",
        &[
            "ENOUGH: usize = 3",
            "WINDOW: Duration = Duration::from_secs(600)",
        ],
    ),
    (
        Kind::DhcpDeclineLoop,
        "3 DECLINEs of one client within 600 s",
        "dhcp/decline_loop.rs",
        &[
            "ENOUGH: usize = 3",
            "WINDOW: Duration = Duration::from_secs(600)",
        ],
    ),
    (
        Kind::DhcpLeaseExpired,
        "2 renewals",
        "dhcp/lease_expired.rs",
        &["TRIES: usize = 2"],
    ),
    (
        Kind::DhcpDuplicateLease,
        "5 %",
        "dhcp/duplicate_lease.rs",
        &["LEFT_PERCENT: u128 = 5"],
    ),
    (
        Kind::DhcpRouteInjection,
        "length 1 or 2",
        "dhcp/route_injection.rs",
        &["OVERRIDES_DEFAULT: u8 = 2"],
    ),
    (
        Kind::DhcpGatewayChanged,
        "2 changes within 3600 s",
        "dhcp/gateway_changed.rs",
        &[
            "ENOUGH: u64 = 2",
            "WINDOW: Duration = Duration::from_secs(3600)",
        ],
    ),
    (
        Kind::DhcpClientChurn,
        "5 cycles",
        "dhcp/client_churn.rs",
        &[
            "ENOUGH: usize = 5",
            "WINDOW: Duration = Duration::from_secs(600)",
        ],
    ),
    (
        Kind::DhcpRequestStorm,
        "16 requests of one client within 60 s, or 21",
        "dhcp/request_storm.rs",
        &[
            "ENOUGH: usize = 16",
            "ENOUGH_INFORM: usize = 21",
            "WINDOW: Duration = Duration::from_secs(60)",
        ],
    ),
    (
        Kind::DhcpReleaseSpoofed,
        "3600 s",
        "dhcp/release_spoofed.rs",
        &["AFTER: Duration = Duration::from_secs(3600)"],
    ),
    (
        Kind::DhcpRelaySpoofed,
        "8 clients",
        "dhcp/relay_spoofed.rs",
        &[
            "ENOUGH: usize = 8",
            "TAKES: Duration = Duration::from_secs(2)",
        ],
    ),
    (
        Kind::DhcpIdentityConflict,
        "2 changes within 3600 s",
        "dhcp/identity_conflict.rs",
        &[
            "ENOUGH: usize = 2",
            "WINDOW: Duration = Duration::from_secs(3600)",
        ],
    ),
    (
        Kind::DhcpMalformed,
        "3 packets",
        "dhcp/malformed.rs",
        &[
            "PACKETS: u64 = 3",
            "KINDS: usize = 2",
            "LESSER: usize = 5",
            "WINDOW: Duration = Duration::from_secs(60)",
        ],
    ),
    (
        Kind::DhcpBootStorm,
        "20 new clients",
        "dhcp/boot_storm.rs",
        &["ENOUGH: usize = 20", "SERVED_TENTHS: usize = 8"],
    ),
    (
        Kind::BfdFlap,
        "600 s",
        "bfd.rs",
        &["FLAP_WINDOW: Duration = Duration::from_secs(600)"],
    ),
    (
        Kind::BfdNearMiss,
        "3 packets",
        "bfd.rs",
        &["NEAR_MISSES: u32 = 3"],
    ),
    (
        Kind::BfdMismatch,
        "factor of 4, or one is shorter than 300 ms",
        "bfd.rs",
        &[
            "MISMATCH: u32 = 4",
            "TOO_TIGHT: Duration = Duration::from_millis(300)",
        ],
    ),
    (
        Kind::SessionDown,
        "800 ms",
        "session.rs",
        &[
            "SETTLE: Duration = Duration::from_millis(800)",
            "STARTUP: Duration = Duration::from_secs(5)",
            "MAX_STARTUP_FAILURES: u32 = 3",
        ],
    ),
    (
        Kind::SessionFlap,
        "15 min",
        "session.rs",
        &["FLAP_WINDOW: Duration = Duration::from_secs(15 * 60)"],
    ),
    (
        Kind::SessionOpenRejected,
        "5 NOTIFICATIONs within 600 s",
        "session/trouble.rs",
        &[
            "REFUSALS: usize = 5",
            "REFUSAL_WINDOW: Duration = Duration::from_secs(600)",
        ],
    ),
    (
        Kind::SessionStalled,
        "30 s",
        "session/trouble.rs",
        &["STALL: Duration = Duration::from_secs(30)"],
    ),
    (
        Kind::SessionEmpty,
        "60 s after",
        "session/trouble.rs",
        &[
            "EMPTY_AFTER: Duration = Duration::from_secs(60)",
            "EMPTY_SHARE: u32 = 2",
            "EMPTY_LEAST: u32 = 10",
        ],
    ),
    (
        Kind::PrefixTableTransfer,
        "within 10 s",
        "prefix/peer.rs",
        &["TRANSFERS_TOGETHER: Duration = Duration::from_secs(10)"],
    ),
    (
        Kind::PrefixMassWithdrawal,
        "Within 10 s a peer withdraws 50 prefixes",
        "prefix/peer/mass.rs",
        &[
            "LEAST: u32 = 50",
            "SHARE_PERCENT: u32 = 20",
            "WINDOW: Duration = Duration::from_secs(10)",
        ],
    ),
    (
        Kind::PrefixSurge,
        "1000 new prefixes",
        "prefix/peer.rs",
        &[
            "SURGE: u32 = 1000",
            "SURGE_WINDOW: Duration = Duration::from_secs(60)",
        ],
    ),
    (
        Kind::PrefixDuplicateUpdates,
        "more than 100 duplicates within 300 s that are 30 %",
        "prefix/peer.rs",
        &[
            "DUPLICATES: u32 = 100",
            "DUPLICATE_SHARE: u32 = 30",
            "DUPLICATE_WINDOW: Duration = Duration::from_secs(300)",
            "STORM_LASTS: Duration = Duration::from_secs(60)",
            "RESENDS: u32 = 3",
            "RESEND_LEAST: u32 = 20",
            "RESEND_SHARE: u32 = 2",
        ],
    ),
    (
        Kind::PrefixFlap,
        "3 withdrawals of a prefix within 60 s, or 4 within 6 h",
        "prefix.rs",
        &[
            "FAST: usize = 3",
            "FAST_WINDOW: Duration = Duration::from_secs(60)",
            "SLOW: usize = 4",
            "SLOW_WINDOW: Duration = Duration::from_secs(6 * 3600)",
        ],
    ),
    (
        Kind::PrefixFlap,
        "within 60 s of a session's loss or 30 s of its return",
        "prefix/excuse.rs",
        &[
            "AFTER_LOSS: Duration = Duration::from_secs(60)",
            "AFTER_RETURN: Duration = Duration::from_secs(30)",
        ],
    ),
    (
        Kind::PrefixPathOscillation,
        "6 changes of path within 600 s",
        "prefix.rs",
        &[
            "SWITCHES: u32 = 6",
            "SWITCH_WINDOW: Duration = Duration::from_secs(600)",
        ],
    ),
    (
        Kind::PrefixPathOscillation,
        "at most 3 paths",
        "../state/rib/hot.rs",
        &["STATES: usize = 3"],
    ),
    (
        Kind::PrefixAttributeOscillation,
        "20 where only communities",
        "prefix.rs",
        &["COMMUNITY_SWITCHES: u32 = 20"],
    ),
    (
        Kind::PrefixPathHunting,
        "3 different paths",
        "prefix/hunting.rs",
        &["PATHS: u8 = 3"],
    ),
    (
        Kind::PrefixOriginConflict,
        "with 6 peers, 3",
        "prefix/origin.rs",
        &[
            "COLLECTOR_PEERS: usize = 6",
            "COLLECTOR_WITNESSES: usize = 3",
        ],
    ),
    (
        Kind::PrefixMoreSpecific,
        "/8 and /19",
        "prefix/origin.rs",
        &["SHORTEST_V4: u8 = 8", "SHORTEST_V6: u8 = 19"],
    ),
    (
        Kind::PrefixMoved,
        "within 30 s; copies within 5 s",
        "prefix/moved.rs",
        &[
            "WITHIN: Duration = Duration::from_secs(30)",
            "ONE_MOVE: Duration = Duration::from_secs(5)",
        ],
    ),
    (
        Kind::PrefixMoveFlap,
        "3 moves of one host route within 600 s",
        "prefix/moved.rs",
        &[
            "PING_PONG: u32 = 3",
            "PING_PONG_WINDOW: Duration = Duration::from_secs(600)",
        ],
    ),
    (
        Kind::RouteFlap,
        "within 60 s, or 5 within 900 s",
        "route/prefixes.rs",
        &[
            "FAST: (usize, Duration) = (3, Duration::from_secs(60))",
            "SLOW: (usize, Duration) = (5, Duration::from_secs(900))",
            "QUIET: Duration = Duration::from_secs(60)",
        ],
    ),
    (
        Kind::RouteWithdrawn,
        "10 and more",
        "route/churn/batch.rs",
        &[
            "MASS: usize = 10",
            "QUIET: Duration = Duration::from_millis(200)",
        ],
    ),
    (
        Kind::RouteSilentLoss,
        "within 1 s",
        "route/silent.rs",
        &["SETTLE: Duration = Duration::from_secs(1)"],
    ),
    (
        Kind::RouteDefaultLost,
        "1 s",
        "route/default.rs",
        &["REWRITE: Duration = Duration::from_secs(1)"],
    ),
    (
        Kind::RouteDefaultFlap,
        "within 600 s, or its gateway changes 3 times",
        "route/default.rs",
        &[
            "FLAP_WINDOW: Duration = Duration::from_secs(600)",
            "GATEWAY_CHANGES: usize = 3",
        ],
    ),
    (
        Kind::RouteNexthopChurn,
        "5 changes of a route's gateways within 60 s",
        "route/prefixes.rs",
        &[
            "NEXTHOP_CHANGES: usize = 5",
            "NEXTHOP_WINDOW: Duration = Duration::from_secs(60)",
        ],
    ),
    (
        Kind::RouteForeignDelete,
        "5 routes of a routing daemon within 1 s",
        "route/foreign.rs",
        &[
            "SWEEP: usize = 5",
            "WINDOW: Duration = Duration::from_secs(1)",
            "LINK: Duration = Duration::from_secs(2)",
        ],
    ),
    (
        Kind::SessionUnestablished,
        "6 times (SYN) and for 15 s",
        "session/trouble.rs",
        &[
            "IN_VAIN: u32 = 6",
            "IN_VAIN_FOR: Duration = Duration::from_secs(15)",
        ],
    ),
    (
        Kind::RouteOwnershipWar,
        "3 times within 60 s",
        "route/prefixes.rs",
        &[
            "OWNER_CHANGES: usize = 3",
            "OWNER_WINDOW: Duration = Duration::from_secs(60)",
        ],
    ),
    (
        Kind::RouteReassertStorm,
        "30 identical writes of one route within 60 s",
        "route/prefixes.rs",
        &[
            "REASSERTS: u32 = 30",
            "REASSERT_WINDOW: Duration = Duration::from_secs(60)",
        ],
    ),
    (
        Kind::RouteRuleLost,
        "1 s later; another table in which routes still stand, 5 s later",
        "route/rules.rs",
        &[
            "REWRITE: Duration = Duration::from_secs(1)",
            "TEARDOWN: Duration = Duration::from_secs(5)",
        ],
    ),
    (
        Kind::EvpnDuplicateMac,
        "5 moves of one MAC between VTEPs within 180 s",
        "evpn.rs",
        &[
            "DUPLICATE_MOVES: usize = 5",
            "DUPLICATE_WINDOW: Duration = Duration::from_secs(180)",
        ],
    ),
];

#[test]
fn figures_are_those_of_the_detectors() {
    for (kind, says, file, lines) in FIGURES {
        let row = catalogue::row(*kind).unwrap();
        let told = format!("{} {}", row.logic, row.false_alarms);
        assert!(told.contains(says), "{kind} does not say {says:?}");
        let code = fs::read_to_string(root().join("src/detect").join(file)).unwrap();
        for line in *lines {
            assert!(
                code.contains(&format!("const {line};")),
                "{file} no longer has {line}: the catalogue's row of {kind} says {says:?}"
            );
        }
    }
}

#[test]
fn the_documentation_is_current() {
    let path = root().join("docs/detections.md");
    let wanted = explain::document();
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/detections.md is not what the tables say: run with BLESS=1"
    );
}
