//! Scenes of the kernel's routes.

use flapscope::detect::Kind::*;
use flapscope::detect::finding::Reason;

use crate::local::session;
use crate::scene::{Scene, apart, f, pair};

const TABLE: &[&str] = &["203.0.113.0/25", "203.0.113.128/25"];
const OTHERS: &[&str] = &["198.18.0.0/24", "198.18.1.0/24"];

pub fn all() -> Vec<Scene> {
    let mut all = Vec::new();
    let prefix = |kind, prefix: &str, seconds| f(kind, &format!("prefix:{prefix}"), seconds);
    let down =
        |peer: &str, seconds| session(SessionDown, peer, seconds).why(Reason::HoldTimerExpired);
    let through = |link: &str| prefix(RouteDefaultLost, "0.0.0.0/0", 1.1).touches(&[link]);
    all.extend(pair(
        "route-loss-takes-default",
        prefix(RouteWithdrawn, "198.18.0.0/24", 1.0).touches(&["link:wan0"]),
        through("link:wan0"),
        through("link:lan0"),
        5.0,
    ));
    let war = |kind, prefixes: &[&str]| f(kind, "nexthop:192.0.2.77", 1.0).affects(prefixes);
    let flap =
        |prefixes: &[&str], seconds| f(RouteFlap, "nexthop:192.0.2.78", seconds).affects(prefixes);
    all.extend(pair(
        "writers-fight-over-routes",
        war(RouteOwnershipWar, TABLE),
        flap(TABLE, 5.0),
        flap(OTHERS, 5.0),
        30.0,
    ));
    all.push(apart(
        "two storms over the same routes are two storms",
        &[
            war(RouteReassertStorm, TABLE),
            f(RouteReassertStorm, "nexthop:192.0.2.78", 9.0).affects(TABLE),
        ],
    ));
    let deletes = || f(RouteForeignDelete, "link:wan0", 1.0).actor("networkd (pid 7)");
    let loses = |link: &str, who: &str| {
        f(AddressRemoved, "address:203.0.113.7", 1.5)
            .touches(&[link])
            .actor(who)
    };
    all.extend(pair(
        "one-actor-clears-the-interface",
        deletes(),
        loses("link:wan0", "networkd (pid 7)"),
        loses("link:lan0", "networkd (pid 7)"),
        5.0,
    ));
    all.push(apart(
        "another process removed the address",
        &[deletes(), loses("link:wan0", "ip (pid 9)")],
    ));
    let taken = || f(RouteForeignDelete, "nexthop:192.0.2.1", 1.0);
    all.extend(pair(
        "foreign-write-drops-session",
        taken(),
        down("192.0.2.1", 7.0),
        down("192.0.2.2", 7.0),
        30.0,
    ));
    all.push(apart(
        "a session that was closed on purpose did not miss its route",
        &[
            taken(),
            session(SessionDown, "192.0.2.1", 7.0).why(Reason::AdminShutdown),
        ],
    ));
    let unrouted = || prefix(RouteWithdrawn, "203.0.113.0/24", 1.0);
    all.extend(pair(
        "route-loss-drops-session",
        unrouted(),
        down("203.0.113.9", 7.0),
        down("198.51.100.9", 7.0),
        30.0,
    ));
    all.push(apart(
        "a session beyond a lost route that was closed on purpose",
        &[
            unrouted(),
            session(SessionDown, "203.0.113.9", 7.0).why(Reason::MaxPrefix),
        ],
    ));
    all.extend(pair(
        "kernel-route-change-announced",
        prefix(RouteFlap, "203.0.113.0/24", 1.0),
        prefix(PrefixFlap, "203.0.113.0/24", 3.5),
        prefix(PrefixFlap, "198.18.0.0/24", 3.5),
        30.0,
    ));
    let mut first = Scene::new(
        "the announcement came first: the kernel's route follows it, though both could cause each other",
    );
    let announced = first.root(prefix(PrefixFlap, "203.0.113.0/24", 1.0));
    first.caused(
        prefix(RouteFlap, "203.0.113.0/24", 1.05),
        announced,
        "withdrawal-removes-kernel-routes",
    );
    all.push(first);
    all.push(apart(
        "what was withdrawn before two writers began to fight was not withdrawn because of them",
        &[
            prefix(PrefixFlap, "203.0.113.0/24", 1.0),
            prefix(RouteOwnershipWar, "203.0.113.0/24", 1.05),
        ],
    ));
    all.extend(pair(
        "one-change-many-views",
        prefix(RouteNexthopChurn, "203.0.113.0/24", 1.0),
        prefix(RouteEcmpShrunk, "203.0.113.0/24", 1.5),
        prefix(RouteEcmpShrunk, "198.18.0.0/24", 1.5),
        9.0,
    ));
    all.push(apart(
        "two changes of one kind to one prefix in two tables are two findings",
        &[
            prefix(RouteShadowed, "203.0.113.0/24", 1.0),
            f(RouteShadowed, "nexthop:192.0.2.9", 1.5).affects(&["203.0.113.0/24"]),
        ],
    ));
    all
}
