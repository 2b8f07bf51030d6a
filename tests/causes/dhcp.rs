//! Scenes of DHCP and router advertisements.

use flapscope::detect::Kind::*;
use flapscope::detect::Subject;
use flapscope::detect::finding::Reason;

use crate::scene::{F, Scene, apart, f, pair};

const HERE: &str = "client:02:00:5e:00:53:01";
const THERE: &str = "client:02:00:5e:00:53:02";

pub fn all() -> Vec<Scene> {
    let mut all = Vec::new();
    let of = |kind, subject: &str, seconds| f(kind, subject, seconds);
    let address = |kind, last: u8, seconds| f(kind, &format!("address:198.51.100.{last}"), seconds);

    all.extend(pair(
        "conflict-makes-clients-decline",
        address(AddressConflict, 50, 1.0),
        of(DhcpDeclineLoop, HERE, 3.0).touches(&["address:198.51.100.50"]),
        of(DhcpDeclineLoop, HERE, 3.0).touches(&["address:198.51.100.51"]),
        40.0,
    ));
    all.extend(pair(
        "decline-shows-conflict",
        of(DhcpDeclineLoop, HERE, 1.0).touches(&["server:198.51.100.1"]),
        of(DhcpPoolExhausted, "server:198.51.100.1", 20.0),
        of(DhcpPoolExhausted, "server:198.51.100.2", 20.0),
        100.0,
    ));
    all.extend(pair(
        "duplicate-lease-conflicts",
        address(DhcpDuplicateLease, 50, 1.0),
        address(AddressConflict, 50, 200.0),
        address(AddressConflict, 51, 200.0),
        900.0,
    ));
    all.extend(pair(
        "starvation-empties-pool",
        of(DhcpStarvation, "link:lan0", 1.0),
        of(DhcpPoolExhausted, "server:198.51.100.1", 30.0).touches(&["link:lan0"]),
        of(DhcpPoolExhausted, "server:192.0.2.1", 30.0).touches(&["link:wan0"]),
        300.0,
    ));
    all.extend(pair(
        "pool-exhausted-silences-server",
        of(DhcpPoolExhausted, "server:198.51.100.1", 1.0),
        of(DhcpServerUnresponsive, "server:198.51.100.1", 30.0),
        of(DhcpServerUnresponsive, "server:198.51.100.2", 30.0),
        300.0,
    ));
    let hoarded = |client: &str| {
        let mut pool = of(DhcpPoolExhausted, "server:198.51.100.1", 30.0)
            .touches(&[client])
            .why(Reason::ManyIdentities);
        pool.0
            .also(Subject::Client(client.trim_start_matches("client:").into()));
        pool
    };
    all.extend(pair(
        "new-identities-empty-pool",
        of(DhcpClientChurn, HERE, 1.0),
        hoarded(HERE),
        hoarded(THERE),
        300.0,
    ));
    all.push(apart(
        "a client that loops explains no empty pool whose leases are others'",
        &[
            of(DhcpClientChurn, HERE, 1.0).touches(&["server:198.51.100.1"]),
            of(DhcpPoolExhausted, "server:198.51.100.1", 30.0),
        ],
    ));
    // A DHCPv6 server whose address nobody heard is called by its DUID, and so is the client on the same machine: it has one DUID (RFC 8415 §11).
    let router = "client:00:03:00:01:02:00:5e:00:53:09";
    let mut pool = of(DhcpPoolExhausted, router, 30.0).why(Reason::ManyIdentities);
    pool.0.touches.clear();
    pool.0
        .also(Subject::Client(THERE.trim_start_matches("client:").into()));
    all.push(apart(
        "a router that loops as a client did not take the leases that another one hoards",
        &[of(DhcpClientChurn, router, 1.0), pool.touches(&[THERE])],
    ));
    all.extend(pair(
        "unserved-client-insists",
        of(DhcpNoServer, HERE, 1.0),
        of(DhcpRequestStorm, HERE, 40.0),
        of(DhcpRequestStorm, THERE, 40.0),
        300.0,
    ));
    all.extend(pair(
        "rogue-server-misleads-clients",
        of(DhcpRogueServer, "server:198.51.100.66", 1.0),
        of(DhcpGatewayChanged, "server:198.51.100.66", 2.0),
        of(DhcpGatewayChanged, "server:198.51.100.1", 2.0),
        300.0,
    ));
    all.extend(pair(
        "route-injection-by-server",
        of(DhcpRouteInjection, "server:198.51.100.66", 1.0),
        of(DhcpGatewayChanged, "server:198.51.100.66", 2.0),
        of(DhcpGatewayChanged, "server:198.51.100.1", 2.0),
        300.0,
    ));
    all.extend(pair(
        "unanswered-renewal-expires-lease",
        of(DhcpServerUnresponsive, "server:198.51.100.1", 1.0),
        of(DhcpLeaseExpired, HERE, 200.0)
            .touches(&["server:198.51.100.1"])
            .reach(300),
        of(DhcpLeaseExpired, HERE, 200.0)
            .touches(&["server:198.51.100.2"])
            .reach(300),
        400.0,
    ));
    all.extend(pair(
        "lease-end-removes-address",
        of(DhcpLeaseExpired, HERE, 1.0).touches(&["address:198.51.100.50"]),
        address(AddressRemoved, 50, 1.5),
        address(AddressRemoved, 51, 1.5),
        120.0,
    ));
    let leased = || of(DhcpLeaseExpired, HERE, 1.0).touches(&["address:198.51.100.50"]);
    let session = |local: &str| {
        f(SessionDown, "peer:192.0.2.9", 9.0)
            .touches(&[local])
            .why(flapscope::detect::finding::Reason::HoldTimerExpired)
    };
    all.extend(pair(
        "lease-end-drops-session",
        leased(),
        session("peer:198.51.100.50"),
        session("peer:198.51.100.51"),
        120.0,
    ));
    all.push(apart(
        "a lease ran out, and the session from its address was shut down by hand",
        &[
            leased(),
            session("peer:198.51.100.50").why(flapscope::detect::finding::Reason::AdminShutdown),
        ],
    ));
    all.extend(pair(
        "dhcp-changes-default-route",
        of(DhcpGatewayChanged, "server:198.51.100.1", 1.0).touches(&["gateway:198.51.100.254"]),
        of(RouteDefaultFlap, "prefix:0.0.0.0/0", 1.2).touches(&["gateway:198.51.100.254"]),
        of(RouteDefaultFlap, "prefix:0.0.0.0/0", 1.2).touches(&["gateway:192.0.2.254"]),
        30.0,
    ));
    all.extend(pair(
        "dhcp-moves-address",
        of(DhcpGatewayChanged, "server:198.51.100.1", 1.0).touches(&["address:198.51.100.50"]),
        address(AddressRemoved, 50, 2.0),
        address(AddressRemoved, 51, 2.0),
        30.0,
    ));
    all.extend(pair(
        "delegation-end-removes-route",
        of(DhcpLeaseExpired, HERE, 1.0).touches(&["prefix:2001:db8:100::/56"]),
        of(RouteWithdrawn, "prefix:2001:db8:100::/56", 2.0),
        of(RouteWithdrawn, "prefix:2001:db8:200::/56", 2.0),
        200.0,
    ));
    let storm = || of(DhcpRequestStorm, HERE, 1.0).touches(&["link:lan0"]);
    let host = |link: &str| of(RouteFlap, "prefix:198.51.100.50/32", 2.0).touches(&[link]);
    all.extend(pair(
        "request-storm-churns-routes",
        storm(),
        host("link:lan0"),
        host("link:wan0"),
        30.0,
    ));
    all.push(apart(
        "a storm of clients explains no route that is no client's",
        &[
            storm(),
            of(RouteFlap, "prefix:203.0.113.0/24", 2.0).touches(&["link:lan0"]),
        ],
    ));
    all.extend(pair(
        "dhcp-routes-shadow",
        of(DhcpRouteInjection, "server:198.51.100.66", 1.0).touches(&["prefix:203.0.113.0/25"]),
        of(RouteShadowed, "prefix:203.0.113.0/24", 1.5),
        of(RouteShadowed, "prefix:192.0.2.0/24", 1.5),
        30.0,
    ));
    let sender = |kind: flapscope::detect::Kind, mac: &str, seconds| {
        of(kind, HERE, seconds).touches(&[&format!("mac:{mac}")])
    };
    let evil = |kind, seconds| f(kind, "link:lan0", seconds).touches(&["mac:02:00:5e:00:53:66"]);
    all.extend(pair(
        "same-sender-breaks-dhcp",
        evil(DhcpMalformed, 1.0),
        evil(DhcpHostileText, 2.0),
        f(DhcpHostileText, "link:lan0", 2.0).touches(&["mac:02:00:5e:00:53:67"]),
        120.0,
    ));
    all.push(apart(
        "two malformed senders behind one address are two findings",
        &[
            sender(DhcpMalformed, "02:00:5e:00:53:66", 1.0),
            of(DhcpMalformed, THERE, 2.0).touches(&["mac:02:00:5e:00:53:66"]),
        ],
    ));

    // --- router advertisements ---
    let router = |kind, last: u8, seconds| f(kind, &format!("router:fe80::{last}"), seconds);
    let default = |last: u8, seconds| -> F {
        f(RouteDefaultLost, "prefix:::/0", seconds).touches(&[&format!("gateway:fe80::{last}")])
    };
    all.extend(pair(
        "ra-changes-default-route",
        router(RaRouterWithdrawn, 1, 1.0),
        default(1, 1.01),
        default(2, 1.01),
        10.0,
    ));
    all.extend(pair(
        "ra-expiry-is-collected",
        router(RaExpired, 1, 1.0),
        default(1, 30.0),
        default(2, 30.0),
        120.0,
    ));
    all.extend(pair(
        "ra-one-sender",
        router(RaSpoofed, 1, 1.0),
        router(RaFlap, 1, 3.0),
        router(RaFlap, 2, 3.0),
        120.0,
    ));
    all.push(apart(
        "two routers that advertise unexpectedly are two findings, though one MAC sends both",
        &[
            router(RaRogueRouter, 1, 1.0).touches(&["mac:02:00:5e:00:53:66"]),
            router(RaRogueRouter, 2, 3.0).touches(&["mac:02:00:5e:00:53:66"]),
        ],
    ));
    let gone = |link: &str| f(AddressRemoved, "address:2001:db8:1::5", 3.0).touches(&[link]);
    all.extend(pair(
        "router-change-renumbers",
        router(RaExpired, 1, 1.0).touches(&["link:lan0"]),
        gone("link:lan0"),
        gone("link:wan0"),
        40.0,
    ));
    // --- a prefix is taken back ---
    let cut = || {
        let mut cut = router(RaInconsistent, 1, 1.0)
            .touches(&["link:lan0"])
            .reach(7200);
        cut.0
            .touch(flapscope::detect::Touch::OnLink(OLD.parse().unwrap()));
        cut.0.affected.routes.insert(OLD.parse().unwrap());
        cut
    };
    let address =
        |addr: &str| f(AddressRemoved, &format!("address:{addr}"), 30.0).touches(&["link:lan0"]);
    all.extend(pair(
        "prefix-cut-removes-address",
        cut(),
        address("2001:db8:1::5"),
        address("2001:db8:9::5"),
        8000.0,
    ));
    let route = |prefix: &str| {
        let mut route = f(RouteWithdrawn, &format!("prefix:{prefix}"), 30.0);
        route.0.affected.routes.insert(prefix.parse().unwrap());
        route
    };
    all.extend(pair(
        "prefix-cut-removes-route",
        cut(),
        route(OLD),
        route("2001:db8:9::/64"),
        8000.0,
    ));
    let delegation = |prefix: &str| {
        f(DhcpLeaseExpired, "client:02:00:5e:00:53:01", 0.5).touches(&[&format!("prefix:{prefix}")])
    };
    let mut together =
        Scene::new("the delegated prefix ends, and the LAN's prefix and an address with it");
    let end = together.root(delegation("2001:db8:1::/56"));
    let taken = together.caused(cut(), end, "delegation-cuts-prefix");
    together.caused(
        address("2001:db8:1::5"),
        taken,
        "prefix-cut-removes-address",
    );
    all.push(together);
    all.push(apart(
        "another delegation ends",
        &[delegation("2001:db8:77::/56"), cut()],
    ));
    let mut soon = cut();
    soon.0.reach = None;
    all.push(apart(
        "a delegation that ended long before cuts nothing",
        &[delegation("2001:db8:1::/56"), soon.later(200.0)],
    ));
    all
}

const OLD: &str = "2001:db8:1::/64";
