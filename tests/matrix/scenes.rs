//! The scenes: what no daemon of the laboratory does, or takes too long over, told by each kind of input that can show it, in both families.
//! Each has a quiet twin, one step below the threshold or with what makes it harmless.

use flapscope::detect::Kind;
use flapscope::detect::catalogue::Seen::{self, Bmp, Mrt, Netlink, Packets};
use flapscope::event::loss::GapKind;
use flapscope::event::netlink::Action;

use super::stage::{Says, Stage, by};

/// A kind on the stage.
pub struct Scene {
    pub name: &'static str,
    pub kind: Kind,
    pub views: &'static [Seen],
    /// With `true` its quiet twin.
    pub play: fn(&mut Stage, bool),
}

const ROUTES: &[Seen] = &[Packets, Bmp, Mrt];
const HOST: &[Seen] = &[Packets, Bmp, Netlink];

pub const SCENES: &[Scene] = &[
    Scene {
        name: "surge",
        kind: Kind::PrefixSurge,
        views: ROUTES,
        play: surge,
    },
    Scene {
        name: "zombie",
        kind: Kind::PrefixZombie,
        views: ROUTES,
        play: zombie,
    },
    Scene {
        name: "duplicates",
        kind: Kind::PrefixDuplicateUpdates,
        views: &[Packets, Mrt],
        play: duplicates,
    },
    Scene {
        name: "mass-withdrawal",
        kind: Kind::PrefixMassWithdrawal,
        views: ROUTES,
        play: mass,
    },
    Scene {
        name: "flap",
        kind: Kind::PrefixFlap,
        views: ROUTES,
        play: flap,
    },
    Scene {
        name: "path-oscillation",
        kind: Kind::PrefixPathOscillation,
        views: ROUTES,
        play: swing,
    },
    Scene {
        name: "attribute-oscillation",
        kind: Kind::PrefixAttributeOscillation,
        views: ROUTES,
        play: attributes,
    },
    Scene {
        name: "path-hunting",
        kind: Kind::PrefixPathHunting,
        views: ROUTES,
        play: hunting,
    },
    Scene {
        name: "moved",
        kind: Kind::PrefixMoved,
        views: ROUTES,
        play: moved,
    },
    Scene {
        name: "move-flap",
        kind: Kind::PrefixMoveFlap,
        views: ROUTES,
        play: ping_pong,
    },
    Scene {
        name: "more-specific",
        kind: Kind::PrefixMoreSpecific,
        views: ROUTES,
        play: more_specific,
    },
    Scene {
        name: "origin-conflict",
        kind: Kind::PrefixOriginConflict,
        views: ROUTES,
        play: conflict,
    },
    Scene {
        name: "rpki-invalid",
        kind: Kind::PrefixRpkiInvalid,
        views: ROUTES,
        play: invalid,
    },
    Scene {
        name: "leak",
        kind: Kind::PrefixLeak,
        views: &[Packets, Bmp],
        play: leak,
    },
    Scene {
        name: "empty",
        kind: Kind::SessionEmpty,
        views: &[Packets, Bmp],
        play: empty,
    },
    Scene {
        name: "implausible",
        kind: Kind::FeedImplausible,
        views: &[Bmp],
        play: implausible,
    },
    Scene {
        name: "clock-step",
        kind: Kind::FeedClockStep,
        views: &Seen::ALL,
        play: step,
    },
    Scene {
        name: "gap",
        kind: Kind::FeedGap,
        views: &Seen::ALL,
        play: gap,
    },
    Scene {
        name: "nexthop-unresolved",
        kind: Kind::PrefixNexthopUnresolved,
        views: HOST,
        play: unresolved,
    },
    Scene {
        name: "blackholed",
        kind: Kind::PrefixBlackholed,
        views: HOST,
        play: blackholed,
    },
    Scene {
        name: "unannounced",
        kind: Kind::AddressUnannounced,
        views: HOST,
        play: unannounced,
    },
    Scene {
        name: "fib-missing",
        kind: Kind::RouteFibMissing,
        views: HOST,
        play: missing,
    },
    Scene {
        name: "fib-stale",
        kind: Kind::RouteFibStale,
        views: HOST,
        play: stale,
    },
];

/// Neighbor `n` with a table of `count` prefixes, there long enough for its transfer to be over.
fn table(stage: &mut Stage, n: u8, count: u32) {
    stage.up(1.0, n, None, None);
    let all = stage.nets(0..count);
    stage.announce(2.0, n, &[64510], &all);
    stage.alive(30.0, n);
}

fn surge(stage: &mut Stage, quiet: bool) {
    table(stage, 1, 40);
    let new = stage.nets(1000..if quiet { 1999 } else { 2000 });
    for (at, part) in new.chunks(100).enumerate() {
        stage.announce(60.0 + at as f64, 1, &[64510], part);
    }
    stage.alive(200.0, 1);
}

fn zombie(stage: &mut Stage, quiet: bool) {
    let ghost = stage.host(7);
    for n in 1..=4 {
        stage.up(f64::from(n), n, None, None);
    }
    for n in 1..=4 {
        stage.announce(10.0 + f64::from(n), n, &[64900, 64510], &[ghost]);
    }
    // The quiet twin: the last one has a backup path by another first hop.
    if quiet {
        stage.announce(40.0, 4, &[64901, 64510], &[ghost]);
    }
    for n in 1..=3 {
        stage.withdraw(100.0 + f64::from(n), n, &[ghost]);
    }
    for minute in 2..9 {
        for n in 1..=4 {
            stage.alive(f64::from(minute) * 60.0 + f64::from(n), n);
        }
    }
}

fn duplicates(stage: &mut Stage, quiet: bool) {
    table(stage, 1, 30);
    let all = stage.nets(0..30);
    for again in 0..if quiet { 2 } else { 3 } {
        stage.announce(60.0 + f64::from(again) * 5.0, 1, &[64510], &all);
    }
    stage.alive(120.0, 1);
}

fn mass(stage: &mut Stage, quiet: bool) {
    table(stage, 1, 200);
    let gone = stage.nets(0..if quiet { 49 } else { 50 });
    stage.withdraw(60.0, 1, &gone);
    stage.alive(120.0, 1);
}

fn flap(stage: &mut Stage, quiet: bool) {
    table(stage, 1, 40);
    let one = [stage.net(3)];
    for cycle in 0..if quiet { 2 } else { 3 } {
        stage.withdraw(60.0 + f64::from(cycle) * 8.0, 1, &one);
        stage.announce(64.0 + f64::from(cycle) * 8.0, 1, &[64510], &one);
    }
    stage.alive(120.0, 1);
}

fn swing(stage: &mut Stage, quiet: bool) {
    table(stage, 1, 40);
    let one = [stage.net(3)];
    for cycle in 0..if quiet { 5 } else { 6 } {
        let path: &[u32] = if cycle % 2 == 0 {
            &[64900, 64510]
        } else {
            &[64510]
        };
        stage.announce(60.0 + f64::from(cycle) * 5.0, 1, path, &one);
    }
    stage.alive(120.0, 1);
}

fn attributes(stage: &mut Stage, quiet: bool) {
    table(stage, 1, 40);
    let one = [stage.net(3)];
    for cycle in 0..if quiet { 5 } else { 6 } {
        let says = Says {
            path: &[64501, 64510],
            med: (cycle % 2 == 0).then_some(50),
            ..Says::default()
        };
        stage.tell(60.0 + f64::from(cycle) * 5.0, 1, &says, &one);
    }
    stage.alive(120.0, 1);
}

fn hunting(stage: &mut Stage, quiet: bool) {
    table(stage, 1, 40);
    let one = [stage.net(3)];
    let longer: &[&[u32]] = &[
        &[64901, 64510],
        &[64901, 64902, 64510],
        &[64901, 64902, 64903, 64510],
    ];
    for (at, path) in longer.iter().take(if quiet { 1 } else { 3 }).enumerate() {
        stage.announce(60.0 + at as f64, 1, path, &one);
    }
    stage.withdraw(64.0, 1, &one);
    stage.alive(120.0, 1);
}

fn moves(stage: &mut Stage, times: u32, back: bool) {
    let elastic = [stage.host(9)];
    for n in [1, 2] {
        stage.up(f64::from(n), n, None, None);
    }
    stage.announce(4.0, 1, &[], &elastic);
    for cycle in 0..times {
        // The quiet twin: the host itself announces it again.
        let (old, new) = match (back, cycle % 2) {
            (true, _) => (1, 1),
            (false, 0) => (1, 2),
            _ => (2, 1),
        };
        let at = 60.0 + f64::from(cycle) * 60.0;
        stage.withdraw(at, old, &elastic);
        stage.announce(at + 0.5, new, &[], &elastic);
    }
    stage.alive(600.0, 1);
}

fn moved(stage: &mut Stage, quiet: bool) {
    moves(stage, 1, quiet);
}

fn ping_pong(stage: &mut Stage, quiet: bool) {
    moves(stage, if quiet { 2 } else { 3 }, false);
}

fn more_specific(stage: &mut Stage, quiet: bool) {
    let (whole, part) = if stage.v6 {
        ("3fff:a00::/32", "3fff:a00:1::/48")
    } else {
        ("203.0.113.0/24", "203.0.113.64/26")
    };
    let (whole, part) = (whole.parse().unwrap(), part.parse().unwrap());
    table(stage, 1, 40);
    stage.announce(3.0, 1, &[64510], &[whole]);
    stage.alive(40.0, 1);
    // The quiet twin: a part of one's own network.
    stage.announce(60.0, 1, if quiet { &[64510] } else { &[64509] }, &[part]);
    stage.alive(120.0, 1);
}

fn conflict(stage: &mut Stage, quiet: bool) {
    let one = [stage.net(3)];
    table(stage, 1, 40);
    // The quiet twin: the only one who told of the old origin tells of the new one.
    let by = if quiet { 1 } else { 2 };
    if !quiet {
        table(stage, 2, 40);
    }
    stage.announce(60.0, by, &[64509], &one);
    stage.alive(120.0, 1);
}

fn invalid(stage: &mut Stage, quiet: bool) {
    let one = stage.net(90);
    stage.vrp(one, if quiet { 64510 } else { 64508 });
    table(stage, 1, 40);
    stage.announce(60.0, 1, &[64510], &[one]);
    stage.alive(120.0, 1);
}

fn leak(stage: &mut Stage, quiet: bool) {
    // RFC 9234 §4.1: 3 is a customer.
    stage.up(1.0, 1, Some(3), None);
    stage.alive(30.0, 1);
    let one = [stage.net(3)];
    let says = Says {
        path: &[64501, 64900, 64510],
        otc: (!quiet).then_some(64900),
        ..Says::default()
    };
    stage.tell(60.0, 1, &says, &one);
    stage.alive(120.0, 1);
}

fn empty(stage: &mut Stage, quiet: bool) {
    table(stage, 1, 20);
    stage.down(100.0, 1, false);
    stage.up(110.0, 1, None, None);
    // Half of what it held is enough.
    let back = stage.nets(0..if quiet { 10 } else { 9 });
    stage.announce(111.0, 1, &[64510], &back);
    stage.alive(130.0, 1);
    stage.alive(150.0, 1);
    stage.alive(180.0, 1);
}

fn implausible(stage: &mut Stage, quiet: bool) {
    stage.up(1.0, 1, None, None);
    let all = stage.nets(0..if quiet { 999 } else { 1000 });
    for (at, part) in all.chunks(100).enumerate() {
        stage.withdraw(10.0 + at as f64, 1, part);
    }
    stage.alive(60.0, 1);
}

fn step(stage: &mut Stage, quiet: bool) {
    if !quiet {
        stage.gap(60.0, GapKind::ClockStep);
    }
}

fn gap(stage: &mut Stage, quiet: bool) {
    let lost = match stage.view {
        Packets => GapKind::CaptureDrops,
        Bmp => GapKind::FeedLost,
        Mrt => GapKind::DamagedInput,
        Netlink => GapKind::NetlinkOverrun,
    };
    if !quiet {
        stage.gap(60.0, lost);
    }
}

/// The host of the kernel's scenes: neighbor 1 tells a table, the daemon installs it.
fn host(stage: &mut Stage) {
    stage.kernel();
    table(stage, 1, 20);
    let (via, all) = (stage.peer(1), stage.nets(0..20));
    stage.installed(2.1, via, &all);
}

fn unresolved(stage: &mut Stage, quiet: bool) {
    host(stage);
    let far: flapscope::event::Prefix = if stage.v6 {
        "2001:db8:fa::1/128"
    } else {
        "198.51.100.77/32"
    }
    .parse()
    .unwrap();
    let (via, beyond) = (stage.peer(1), stage.nets(100..110));
    stage.route(3.0, Action::New, far, 4, Some(via), by(0));
    stage.beyond(40.0, 1, far.addr(), &beyond);
    stage.installed(40.1, via, &beyond);
    stage.alive(60.0, 1);
    if !quiet {
        stage.route(70.0, Action::Del, far, 4, Some(via), by(700));
        stage.taken(70.1, via, 500, &beyond);
    }
    stage.alive(90.0, 1);
    stage.alive(100.0, 1);
}

fn blackholed(stage: &mut Stage, quiet: bool) {
    host(stage);
    let own = stage.host(9);
    stage.address(3.0, Action::New, own);
    stage.originate(40.0, 1, &[own], &[]);
    stage.alive(60.0, 1);
    if !quiet {
        stage.address(70.0, Action::Del, own);
    }
    stage.alive(80.0, 1);
    stage.alive(90.0, 1);
}

fn unannounced(stage: &mut Stage, quiet: bool) {
    host(stage);
    let own = stage.host(9);
    stage.address(3.0, Action::New, own);
    stage.originate(40.0, 1, &[own], &[]);
    stage.originate(60.0, 1, &[], &[own]);
    // Within half a minute is in time.
    if quiet {
        stage.originate(89.0, 1, &[own], &[]);
    }
    stage.alive(80.0, 1);
    stage.alive(100.0, 1);
    stage.alive(120.0, 1);
}

fn missing(stage: &mut Stage, quiet: bool) {
    host(stage);
    let (via, some) = (stage.peer(1), stage.nets(0..6));
    stage.taken(60.0, via, 700, &some);
    if quiet {
        stage.installed(64.0, via, &some);
    }
    for at in [65.5, 80.0, 100.0, 130.0] {
        stage.alive(at, 1);
    }
}

fn stale(stage: &mut Stage, quiet: bool) {
    host(stage);
    let (via, some) = (stage.peer(1), stage.nets(0..6));
    stage.withdraw(60.0, 1, &some);
    if quiet {
        stage.taken(69.0, via, 500, &some);
    }
    for at in [70.5, 80.0, 100.0] {
        stage.alive(at, 1);
    }
}
