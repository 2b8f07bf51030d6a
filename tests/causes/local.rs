//! Scenes of links, paths, neighbors and addresses.

use flapscope::detect::Kind::*;
use flapscope::detect::finding::Reason;

use crate::scene::{F, Scene, apart, f, pair};

pub fn wan(kind: flapscope::detect::Kind) -> F {
    f(kind, "link:wan0", 1.0).touches(&["net:192.0.2.0/24"])
}

/// A session with somebody on wan0, and one with somebody on lan0.
pub fn session(kind: flapscope::detect::Kind, peer: &str, seconds: f64) -> F {
    f(kind, &format!("peer:{peer}"), seconds).reach(9)
}

pub fn all() -> Vec<Scene> {
    let mut all = Vec::new();
    let down =
        |peer: &str, seconds| session(SessionDown, peer, seconds).why(Reason::HoldTimerExpired);

    // --- link ---
    all.extend(pair(
        "link-down-drops-session",
        wan(LinkCarrierLost),
        down("192.0.2.1", 1.3),
        down("198.51.100.1", 1.3),
        15.0,
    ));
    all.push(apart(
        "a session that was shut down on purpose did not fall with the link",
        &[
            wan(LinkCarrierLost),
            session(SessionDown, "192.0.2.1", 1.3).why(Reason::AdminShutdown),
        ],
    ));
    all.push(apart(
        "a session that mostly falls without the link is not the link's",
        &[
            wan(LinkCarrierLost),
            down("192.0.2.1", 1.3).again(&[60.0, 120.0, 180.0]),
        ],
    ));
    all.push(apart(
        "a link that fails after its session is not the cause",
        &[wan(LinkCarrierLost), down("192.0.2.1", 0.5)],
    ));
    let mut watch = Scene::new("the kernel tells a loss of carrier up to a second late");
    let late = watch.root(wan(LinkCarrierLost).why(Reason::Carrier));
    watch.caused(down("192.0.2.1", 0.2), late, "link-down-drops-session");
    all.push(watch);
    all.push(apart(
        "but not later than that",
        &[
            wan(LinkCarrierLost).why(Reason::Carrier).later(1.0),
            down("192.0.2.1", 0.2),
        ],
    ));
    let bfd = |peer: &str, seconds| f(BfdDown, &format!("peer:{peer}"), seconds).reach(1);
    all.extend(pair(
        "link-down-drops-bfd",
        wan(LinkFlap),
        bfd("192.0.2.1", 1.9),
        bfd("198.51.100.1", 1.9),
        5.0,
    ));
    let removed =
        |link: &str, seconds| f(AddressRemoved, "address:192.0.2.10", seconds).touches(&[link]);
    let quiet_net = |kind| f(kind, "link:wan0", 1.0);
    all.extend(pair(
        "link-down-removes-address",
        quiet_net(LinkAdminDown),
        removed("link:wan0", 1.05),
        removed("link:lan0", 1.05),
        4.0,
    ));
    let lost =
        |link: &str, seconds| f(RouteSilentLoss, link, seconds).touches(&["prefix:203.0.113.0/24"]);
    all.extend(pair(
        "link-down-loses-routes",
        wan(LinkRemoved),
        lost("link:wan0", 1.01),
        lost("link:lan0", 1.01),
        8.0,
    ));
    let mute = |addr: &str, seconds| f(NeighborUnreachable, &format!("neighbor:{addr}"), seconds);
    all.extend(pair(
        "link-down-loses-neighbor",
        wan(LinkCarrierLost),
        mute("192.0.2.1", 6.0),
        mute("198.51.100.1", 6.0),
        60.0,
    ));
    let storm = |link: &str, seconds| {
        f(DhcpRequestStorm, "client:02:00:5e:00:53:01", seconds).touches(&[link])
    };
    all.extend(pair(
        "link-flap-restarts-dhcp",
        wan(LinkFlap),
        storm("link:wan0", 4.0),
        storm("link:lan0", 4.0),
        60.0,
    ));

    // --- path, neighbors ---
    let path = f(PathLoss, "link:wan0", 1.0)
        .touches(&["peer:192.0.2.1", "id:7"])
        .reach(9);
    all.extend(pair(
        "path-loss-expires-session",
        path.clone(),
        down("192.0.2.1", 4.0),
        down("198.51.100.1", 4.0),
        30.0,
    ));
    all.push(apart(
        "a reset by an administrator is no loss of the path",
        &[
            path,
            session(SessionDown, "192.0.2.1", 4.0).why(Reason::AdminReset),
        ],
    ));
    let because_of_bfd = |peer, seconds| session(SessionFlap, peer, seconds).why(Reason::BfdDown);
    all.extend(pair(
        "bfd-down-drops-session",
        bfd("192.0.2.1", 1.0),
        because_of_bfd("192.0.2.1", 1.1),
        because_of_bfd("192.0.2.2", 1.1),
        8.0,
    ));
    all.push(apart(
        "a session that says why it ended and does not mean BFD",
        &[
            bfd("192.0.2.1", 1.0),
            session(SessionDown, "192.0.2.1", 1.1).why(Reason::MaxPrefix),
        ],
    ));
    let tight = f(BfdMismatch, "peer:192.0.2.1", 1.0);
    all.extend(pair(
        "bfd-settings-too-tight",
        tight.clone(),
        bfd("192.0.2.1", 200.0).lasts(4.0),
        bfd("192.0.2.2", 200.0).lasts(4.0),
        900.0,
    ));
    all.push(apart(
        "a loss that lasts is none that tight settings make",
        &[tight.clone(), bfd("192.0.2.1", 200.0).lasts(60.0)],
    ));
    all.extend(pair(
        "same-settings-other-bfd",
        tight.touches(&["id:7"]),
        f(BfdMismatch, "peer:2001:db8::1", 2.0).touches(&["id:7"]),
        f(BfdMismatch, "peer:2001:db8::9", 2.0).touches(&["id:9"]),
        900.0,
    ));
    all.extend(pair(
        "neighbor-unreachable-drops-session",
        mute("192.0.2.1", 1.0),
        down("192.0.2.1", 6.0),
        down("198.51.100.1", 6.0),
        40.0,
    ));
    all.push(apart(
        "an unreachable neighbor does not shut sessions down",
        &[
            mute("192.0.2.1", 1.0),
            session(SessionDown, "192.0.2.1", 6.0).why(Reason::AdminShutdown),
        ],
    ));
    let flips = |addr: &str, seconds| f(NeighborMacFlip, &format!("neighbor:{addr}"), seconds);
    let conflict = |addr: &str, seconds| f(AddressConflict, &format!("address:{addr}"), seconds);
    all.extend(pair(
        "conflict-flips-neighbor",
        conflict("192.0.2.30", 1.0),
        flips("192.0.2.30", 2.0),
        flips("192.0.2.31", 2.0),
        90.0,
    ));
    let failed = |addr: &str, seconds| f(AddressDadFailed, &format!("address:{addr}"), seconds);
    all.extend(pair(
        "conflict-fails-detection",
        conflict("192.0.2.30", 1.0),
        failed("192.0.2.30", 2.0),
        failed("192.0.2.31", 2.0),
        90.0,
    ));
    all.push(apart(
        "conflicts at two addresses are two",
        &[conflict("192.0.2.30", 1.0), conflict("192.0.2.31", 9.0)],
    ));
    let mut again = Scene::new("a conflict that is told again at its address goes on");
    let begun = again.root(conflict("192.0.2.30", 1.0));
    again.caused(conflict("192.0.2.30", 9.0), begun, "goes-on");
    all.push(again);
    let silent = |addr: &str, seconds| f(NeighborUnreachable, &format!("neighbor:{addr}"), seconds);
    all.extend(pair(
        "flip-seen-twice",
        flips("192.0.2.30", 1.0),
        silent("192.0.2.30", 2.0),
        silent("192.0.2.31", 2.0),
        90.0,
    ));
    all.push(apart(
        "a cache that flips is never the cause of the conflict that it shows",
        &[flips("192.0.2.30", 1.0), conflict("192.0.2.30", 2.0)],
    ));
    let mut order = Scene::new(
        "of two views of one conflict the earlier one is the cause, whichever was raised first",
    );
    let early = order.root(conflict("192.0.2.30", 1.0));
    order.caused(flips("192.0.2.30", 1.05), early, "conflict-flips-neighbor");
    order.findings.reverse();
    order.causes = vec![Some((1, "conflict-flips-neighbor")), None];
    all.push(order);
    let moved = |addr: &str, seconds| f(AddressMoved, &format!("address:{addr}"), seconds);
    all.extend(pair(
        "address-move-flips-neighbor",
        moved("192.0.2.30", 1.0),
        flips("192.0.2.30", 3.0),
        flips("192.0.2.31", 3.0),
        90.0,
    ));

    // --- virtual routers ---
    let virtual_router = |kind, addr: &str, seconds| f(kind, &format!("address:{addr}"), seconds);
    all.extend(pair(
        "conflict-is-two-masters",
        conflict("192.0.2.30", 1.0),
        virtual_router(VrrpTwoMasters, "192.0.2.30", 2.0),
        virtual_router(VrrpTwoMasters, "192.0.2.31", 2.0),
        90.0,
    ));
    all.extend(pair(
        "mastership-moves-address",
        virtual_router(VrrpMoved, "192.0.2.30", 1.0),
        flips("192.0.2.30", 2.0),
        flips("192.0.2.31", 2.0),
        90.0,
    ));

    // --- a MAC address at two ports of the bridge ---
    let port = |mac: &str, seconds| f(LinkMacMove, "link:lan0", seconds).touches(&[mac]);
    all.extend(pair(
        "forged-frames-move-the-entry",
        f(RaSpoofed, "router:fe80::1", 1.0).touches(&["mac:02:00:5e:00:53:01"]),
        port("mac:02:00:5e:00:53:01", 2.0),
        port("mac:02:00:5e:00:53:02", 2.0),
        90.0,
    ));
    let shared = |mac: &str, seconds| {
        f(DhcpIdentityConflict, &format!("client:{mac}"), seconds).touches(&[&format!("mac:{mac}")])
    };
    all.extend(pair(
        "one-mac-two-machines",
        port("mac:02:00:5e:00:53:01", 1.0),
        shared("02:00:5e:00:53:01", 200.0),
        shared("02:00:5e:00:53:02", 200.0),
        900.0,
    ));

    // --- the way to a peer ---
    let way = |peer: &str, seconds| f(RoutePeerPath, &format!("peer:{peer}"), seconds);
    all.extend(pair(
        "route-change-moves-peer-path",
        f(RouteForeignDelete, "prefix:192.0.2.0/24", 1.0),
        way("192.0.2.1", 1.5),
        way("198.51.100.1", 1.5),
        30.0,
    ));
    all.extend(pair(
        "peer-path-drops-session",
        way("192.0.2.1", 1.0),
        down("192.0.2.1", 5.0),
        down("198.51.100.1", 5.0),
        60.0,
    ));
    all.push(apart(
        "a session that was reset by hand did not miss its way",
        &[
            way("192.0.2.1", 1.0),
            session(SessionDown, "192.0.2.1", 5.0).why(Reason::AdminReset),
        ],
    ));

    // --- addresses ---
    let own =
        f(AddressRemoved, "address:192.0.2.10", 1.0).touches(&["link:wan0", "net:192.0.2.0/24"]);
    let speaks =
        |addr: &str, seconds| down("192.0.2.1", seconds).touches(&[&format!("address:{addr}")]);
    all.extend(pair(
        "address-loss-drops-session",
        own.clone(),
        speaks("192.0.2.10", 1.4),
        speaks("192.0.2.11", 1.4),
        30.0,
    ));
    all.push(apart(
        "an address that is no end of the session may go without harm to it",
        &[
            f(AddressRemoved, "address:192.0.2.100", 1.0).touches(&["gateway:192.0.2.1"]),
            down("192.0.2.1", 5.4).ends("192.0.2.10", "192.0.2.1"),
        ],
    ));
    all.push(apart(
        "a session that was closed on purpose did not miss its address",
        &[
            own.clone(),
            speaks("192.0.2.10", 1.4).why(Reason::PeerDeconfigured),
        ],
    ));
    let rule = f(RouteRuleLost, "prefix:0.0.0.0/0", 1.0).touches(&["peer:192.0.2.10"]);
    all.extend(pair(
        "rule-loss-drops-session",
        rule.clone(),
        speaks("192.0.2.10", 2.0),
        speaks("192.0.2.11", 2.0),
        60.0,
    ));
    all.push(apart(
        "a session that was shut down by hand did not miss the rule",
        &[rule, speaks("192.0.2.10", 2.0).why(Reason::AdminShutdown)],
    ));
    let swept = |addr: &str, link: &str, seconds| {
        f(AddressRemoved, &format!("address:{addr}"), seconds).touches(&[link])
    };
    all.extend(pair(
        "one-sweep-of-an-interface",
        swept("192.0.2.10", "link:wan0", 1.0),
        swept("203.0.113.7", "link:wan0", 1.5),
        swept("203.0.113.7", "link:lan0", 1.5),
        5.0,
    ));
    all.push(apart(
        "of two addresses that go in the same instant neither took the other one along",
        &[
            swept("192.0.2.10", "link:wan0", 1.0),
            swept("203.0.113.7", "link:wan0", 1.0),
        ],
    ));
    let withdrawn =
        |link: &str, seconds| f(RouteWithdrawn, "prefix:203.0.113.0/24", seconds).touches(&[link]);
    all.extend(pair(
        "address-loss-loses-routes",
        own,
        withdrawn("link:wan0", 1.01),
        withdrawn("link:lan0", 1.01),
        9.0,
    ));
    let vip = |kind| f(kind, "address:203.0.113.7", 1.0);
    let flaps = |prefix: &str, seconds| f(PrefixFlap, &format!("prefix:{prefix}"), seconds);
    all.extend(pair(
        "address-loss-withdraws-prefix",
        vip(AddressFlap),
        flaps("203.0.113.7/32", 2.0),
        flaps("203.0.113.8/32", 2.0),
        20.0,
    ));
    let announced = |prefix: &str, seconds| f(PrefixZombie, &format!("prefix:{prefix}"), seconds);
    all.extend(pair(
        "address-gone-but-announced",
        vip(AddressRemoved),
        announced("203.0.113.7/32", 31.0),
        announced("203.0.113.8/32", 31.0),
        90.0,
    ));
    all.extend(pair(
        "withdrawn-address-is-claimed-elsewhere",
        flaps("203.0.113.7/32", 1.0),
        f(AddressMoved, "address:203.0.113.7", 5.0),
        f(AddressMoved, "address:203.0.113.8", 5.0),
        90.0,
    ));
    all
}
