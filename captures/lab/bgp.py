"""Scenarios of the fabric: links, sessions, BFD and prefixes."""
import time

from .catalogue import LINK, PREFIX_FLAP, SESSION, TO_SPA, TO_SPB, kinds, scenario, session
from .daemons import kill
from .fabric import Fabric, Plan, four, six
from .net import wait


def flap_link(fabric, cycles, down, up):
    """The far port of the leaf's first uplink goes down: the leaf loses carrier, its own port stays up."""
    for cycle in range(cycles):
        fabric.s.did("carrier_down", "leaf:pe0 (spa:swp1 set down)", cycle=cycle)
        fabric.net.ip("spa", "link", "set", "swp1", "down")
        time.sleep(down)
        fabric.s.did("carrier_up", "leaf:pe0 (spa:swp1 set up)", cycle=cycle)
        fabric.net.ip("spa", "link", "set", "swp1", "up")
        time.sleep(up)


@scenario("link-flap-under-bgp", "carrier of the leaf's uplink pe0 is lost and comes back 3 times; FRR at both ends",
          root=kinds("link.flap", subject="link:pe0$", count=[3, 3]), most=1, affected=40,
          effects=[session(TO_SPA, "link-down")], **{"not": [session(TO_SPB), PREFIX_FLAP]})
def link_flap_under_bgp(net, s):
    fabric = Fabric(net, s)
    fabric.record()
    with s.fault():
        flap_link(fabric, 3, 2.0, 6.0)
    time.sleep(1)


@scenario("link-flap-under-bird", "carrier of the leaf's uplink pe0 is lost and comes back 3 times; BIRD on the leaf",
          root=kinds("link.flap", subject="link:pe0$", count=[3, 3]), most=1, affected=40,
          effects=[session(TO_SPA, "link-down")], **{"not": [session(TO_SPB), PREFIX_FLAP]})
def link_flap_under_bird(net, s):
    fabric = Fabric(net, s, Plan(leaf="bird", mid_session=True))
    fabric.record()
    with s.fault():
        flap_link(fabric, 3, 2.0, 6.0)
    time.sleep(1)


@scenario("link-flap-ipv6-only", "the same flap where the leaf has only IPv6 sessions and routes",
          root=kinds("link.flap", subject="link:pe0$", count=[3, 3]), most=1, affected=16,
          effects=[session(TO_SPA, "link-down")], **{"not": [session(TO_SPB), PREFIX_FLAP]})
def link_flap_ipv6_only(net, s):
    fabric = Fabric(net, s, Plan(ipv4=False))
    fabric.record()
    with s.fault():
        flap_link(fabric, 3, 2.0, 6.0)
    time.sleep(1)


@scenario("origin-flap", "a customer behind the transit withdraws and announces one prefix 12 times, once a second (BIRD, seen through FRR)",
          root=kinds("prefix.flap", subject=r"prefix:203\.0\.113\.240/32$", count=[11, 13]), most=1, **{"not": [SESSION, LINK]})
def origin_flap(net, s):
    fabric = Fabric(net, s)
    fabric.record()
    with s.fault():
        fabric.flap_origin("flap4", 12, 0.5, 0.5)
    time.sleep(1)


@scenario("origin-flap-slow-ipv6", "a customer's IPv6 prefix flaps 7 times, every 5 s",
          root=kinds("prefix.flap", subject="prefix:3fff:f00:1::/48$", count=[6, 8]), most=1, **{"not": [SESSION, LINK]})
def origin_flap_slow_ipv6(net, s):
    fabric = Fabric(net, s, Plan(mid_session=True))
    fabric.record()
    with s.fault():
        fabric.flap_origin("flap6", 7, 2.0, 3.0)
    time.sleep(1)


@scenario("hold-expiry", "tcp/179 of the IPv4 session leaf-spa is dropped both ways for 9 s (hold time 6 s); carrier and IPv6 untouched",
          root=session(TO_SPA, "hold-timer-expired"), most=1, effects=[],
          **{"not": [LINK, kinds("session.flap", "session.down", subject=TO_SPB), kinds("session.flap", "session.down", reason="admin")]})
def hold_expiry(net, s):
    fabric = Fabric(net, s, Plan(hold=6, mid_session=True))
    fabric.record()
    with s.fault():
        s.did("packet_loss_start", "tcp/179 between leaf and spa over IPv4")
        net.drop("spa", "lab", '$if "swp1" ip protocol tcp tcp dport 179', '$if "swp1" ip protocol tcp tcp sport 179')
        time.sleep(9)
        s.did("packet_loss_end", "tcp/179 between leaf and spa over IPv4")
        net.undrop("spa", "lab")
        wait("the session again", fabric.routers["spa"].established(four(0, 1)))
    time.sleep(4)


@scenario("path-loss", "everything between leaf and spa is dropped for 10 s (hold time 6 s), the carrier stays: both sessions expire together",
          root=kinds("path.loss", "session.flap", "session.down", subject=TO_SPA + "|link:pe0$"), most=1,
          effects=[session(TO_SPA, "hold-timer-expired")], **{"not": [LINK, session(TO_SPB), kinds("session.flap", "session.down", reason="admin")]})
def path_loss(net, s):
    fabric = Fabric(net, s, Plan(hold=6))
    fabric.record()
    with s.fault():
        s.did("packet_loss_start", "all IP between leaf and spa")
        net.drop("spa", "lab", '$if "swp1"')
        time.sleep(10)
        s.did("packet_loss_end", "all IP between leaf and spa")
        net.undrop("spa", "lab")
        wait("the sessions again", fabric.routers["spa"].established(four(0, 1), six(0, 1)))
    time.sleep(4)


@scenario("bfd-down", "BFD control packets between leaf and spa are dropped for 2 s, twice; TCP is untouched",
          root=kinds("bfd.flap", "bfd.down", subject=r"peer:192\.0\.2\.[01]$"), most=1, effects=[session(r"peer:192\.0\.2\.[01]$", "bfd-down")],
          **{"not": [LINK, kinds("session.flap", "session.down", reason="hold-timer")]})
def bfd_down(net, s):
    fabric = Fabric(net, s, Plan(bfd=True))
    fabric.record()
    with s.fault():
        for cycle in range(2):
            s.did("packet_loss_start", "udp/3784 between leaf and spa", cycle=cycle)
            net.drop("spa", "lab", '$if "swp1" udp dport 3784')
            time.sleep(2)
            s.did("packet_loss_end", "udp/3784 between leaf and spa", cycle=cycle)
            net.undrop("spa", "lab")
            time.sleep(6)
    time.sleep(1)


@scenario("nexthop-withdrawn", "a script on the leaf deletes and adds the static route that resolves the next hop of 16 BGP routes, 4 times; no BGP message tells it",
          root=kinds("route.foreign-delete", "route.withdrawn", "route.nexthop-churn", "route.flap", "prefix.nexthop-unresolved"), most=1,
          **{"not": [SESSION, LINK, PREFIX_FLAP]})
def nexthop_withdrawn(net, s):
    fabric = Fabric(net, s)
    # spb tells prefixes with a next hop (its loopback) that only a static route of the leaf resolves.
    net.addr("spb", "lo", "192.0.2.250/32")
    net.ip("leaf", "route", "add", "192.0.2.250/32", "via", four(1, 0), "proto", "static")
    for name in ("spa", "spb"):
        fabric.routers[name].configure(
            "ip prefix-list far seq 5 permit 203.0.113.0/28 ge 32", "route-map far permit 10", "match ip address prefix-list far", "set ip next-hop 192.0.2.250", "route-map far permit 20",
            f"router bgp {64801 if name == 'spa' else 64802}", f"neighbor {four(0 if name == 'spa' else 1, 1)} ebgp-multihop 3",
            "address-family ipv4 unicast", f"neighbor {four(0 if name == 'spa' else 1, 1)} route-map far out")
    for index in (0, 1):
        fabric.routers["leaf"].configure("router bgp 4200000101", f"neighbor {four(index, 0)} ebgp-multihop 3")
    time.sleep(6)
    wait("routes through the far next hop", lambda: "203.0.113.5" in net.ip("leaf", "route"))
    fabric.record()
    with s.fault():
        for cycle in range(4):
            s.did("route_delete", "leaf: 192.0.2.250/32", cycle=cycle)
            net.ip("leaf", "route", "del", "192.0.2.250/32")
            time.sleep(2)
            s.did("route_add", "leaf: 192.0.2.250/32", cycle=cycle)
            net.ip("leaf", "route", "add", "192.0.2.250/32", "via", four(1, 0), "proto", "static")
            time.sleep(3)


@scenario("transit-dies", "the transit's BGP process is killed: both spines withdraw the whole table; it comes back after 5 s",
          root=kinds("prefix.mass-withdrawal", "session.flap", "session.down"), most=1, affected=40, findings=[kinds("prefix.mass-withdrawal")],
          **{"not": [LINK, kinds("session.flap", "session.down", subject=TO_SPA), kinds("session.flap", "session.down", subject=TO_SPB)]})
def transit_dies(net, s):
    fabric = Fabric(net, s)
    fabric.record()
    with s.fault():
        s.did("process_kill", "tra: bird")
        kill(fabric.routers["tra"].process)
        time.sleep(5)
        s.did("process_start", "tra: bird")
        fabric.routers["tra"].socket.unlink(missing_ok=True)
        fabric.routers["tra"].start()
        time.sleep(6)


@scenario("benign-table-load", "the capture runs before the leaf's daemons start: initial load of 241 IPv4 and 61 IPv6 prefixes", findings=[kinds("prefix.table-transfer")])
def benign_table_load(net, s):
    fabric = Fabric(net, s, Plan(prefixes4=240, prefixes6=60, bring_up=False))
    from .daemons import Frr
    fabric.start_transit()
    for name, uplink in (("spa", 0), ("spb", 1)):
        fabric.routers[name] = Frr(net, name, fabric.spine(name, uplink))
        wait(f"the table of {name}", fabric.routers[name].established(four(uplink + 4, 0), six(uplink + 4, 0), least=60))
    time.sleep(2)
    fabric.record()
    with s.fault():
        s.did("daemons_start", "leaf: zebra, bgpd")
        fabric.start_leaf()
        fabric.ready()
    time.sleep(2)


@scenario("benign-maintenance-shutdown", "planned maintenance: spa shuts both sessions to the leaf down with a message (6/2, RFC 9003), back after 7 s",
          findings=[kinds("session.down", subject=TO_SPA, reason="admin-shutdown")])
def benign_maintenance_shutdown(net, s):
    fabric = Fabric(net, s)
    fabric.record()
    spa = fabric.routers["spa"]
    with s.fault():
        s.did("admin_shutdown", "spa: sessions to the leaf", text="CHG-2207 line card swap, back in 10 minutes")
        spa.configure("router bgp 64801", *[f"neighbor {a} shutdown message CHG-2207 line card swap, back in 10 minutes" for a in (four(0, 1), six(0, 1))])
        time.sleep(7)
        s.did("admin_enable", "spa: sessions to the leaf")
        spa.configure("router bgp 64801", *[f"no neighbor {a} shutdown" for a in (four(0, 1), six(0, 1))])
        wait("the sessions again", spa.established(four(0, 1), six(0, 1)))
    time.sleep(4)


@scenario("benign-neigh-flush", "an operator flushes the neighbor tables of both uplinks, twice; sessions stay")
def benign_neigh_flush(net, s):
    fabric = Fabric(net, s)
    fabric.record()
    with s.fault():
        for cycle in range(2):
            for port in ("pe0", "pe1"):
                s.did("neigh_flush", f"leaf: ip neigh flush dev {port}", cycle=cycle)
                net.ip("leaf", "neigh", "flush", "dev", port)
            time.sleep(4)


@scenario("benign-route-replace", "an operator moves two static routes to the other uplink and back with ip route replace")
def benign_route_replace(net, s):
    fabric = Fabric(net, s)
    routes = ("198.51.100.16/28", "198.51.100.32/28")
    for route in routes:
        net.ip("leaf", "route", "add", route, "via", four(0, 0), "proto", "static")
    fabric.record()
    with s.fault():
        for index in (1, 0):
            for route in routes:
                s.did("route_replace", f"leaf: {route} via {four(index, 0)}")
                net.ip("leaf", "route", "replace", route, "via", four(index, 0), "proto", "static")
            time.sleep(4)
