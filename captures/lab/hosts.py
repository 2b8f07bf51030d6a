"""What happens on the host itself, or between it and its neighbor, in both address families: writers of the kernel's tables, addresses and announcements
that no longer match, next hops, neighbors that fall silent, links that stay down."""
import os
import signal
import time

from .catalogue import LINK, SESSION, TO_SPA, TO_SPB, kinds, scenario, session
from .daemons import kill
from .fabric import ASN, Fabric, Plan, four, six
from .net import wait
from .segment import GATEWAY, PREFIX6, Segment

VIA6 = six(1, 0)


def batch(net, ns, family, lines):
    """Many commands of one `ip` process."""
    file = net.dir / "batch"
    file.write_text("\n".join(lines) + "\n")
    net.ip(ns, family, "-batch", file)


@scenario("routes-taken-from-bird", "a script deletes 8 IPv4 and 8 IPv6 routes that BIRD installed; BIRD reads the kernel's table again only after 10 min, so they stay away while the neighbors announce them",
          root=kinds("route.foreign-delete"), most=2, findings=[kinds("route.fib-missing")], **{"not": [SESSION, LINK, kinds("prefix.flap")]})
def routes_taken_from_bird(net, s):
    fabric = Fabric(net, s, Plan(leaf="bird", bring_up=False))
    plain = fabric.bird_leaf
    fabric.bird_leaf = lambda: plain().replace("protocol kernel {", "protocol kernel { scan time 600;")
    fabric.start()
    leaf = fabric.routers["leaf"]
    fabric.record()
    # The tables are told again, so that the packets show what is announced.
    for name in ("spa4", "spa6", "spb4", "spb6"):
        leaf.birdc("reload", "in", name)
    time.sleep(4)
    with s.fault():
        s.did("route_delete", "leaf: 8 IPv4 and 8 IPv6 routes of BIRD, by a script")
        batch(net, "leaf", "-4", [f"route del 203.0.113.{n}/32" for n in range(8)])
        batch(net, "leaf", "-6", [f"route del 3fff:100:{n:x}::/48" for n in range(8)])
        time.sleep(75)


@scenario("zebra-hangs", "zebra of the host stands still while the transit withdraws its whole table: the kernel keeps routes of both families that nobody announces; 20 s later it goes on",
          root=kinds("prefix.mass-withdrawal"), most=1, findings=[kinds("route.fib-stale")], **{"not": [SESSION, LINK, kinds("prefix.flap")]})
def zebra_hangs(net, s):
    fabric = Fabric(net, s, Plan(bmp=("leaf",), hold=30, prefixes4=60, prefixes6=60))
    fabric.record()
    zebra = next(process for process, log in net.processes if log.name == "zebra-leaf.log")
    with s.fault():
        s.did("process_stop", "leaf: zebra (SIGSTOP)")
        os.killpg(zebra.pid, signal.SIGSTOP)
        time.sleep(1)
        s.did("withdraw", "tra: 60 IPv4 and 60 IPv6 prefixes")
        for name in ("static1", "static2"):
            fabric.routers["tra"].birdc("disable", name)
        time.sleep(20)
        s.did("process_continue", "leaf: zebra")
        os.killpg(zebra.pid, signal.SIGCONT)
    time.sleep(5)


@scenario("writers-ipv6", "scripts on a host write IPv6 routes: two take one from each other, one writes the same route again and again, one shrinks a multipath route, "
          "one covers a part of what BGP carries, one deletes twelve at once, and a nexthop object is deleted under two routes; only rtnetlink is there",
          root=kinds("route.ownership-war", subject="prefix:3fff:abc:1::/48$"), most=4, inputs=["h.nl.pcap"],
          also=[{"root": kinds("route.silent-loss")}], findings=[kinds("route.reassert-storm", subject="prefix:3fff:abc:2::/48$")], **{"not": [SESSION, LINK]})
def writers_ipv6(net, s):
    fabric = Fabric(net, s, Plan(mid_session=True))
    war, storm, shrunk, many = "3fff:abc:1::/48", "3fff:abc:2::/48", "3fff:abc:3::/48", [f"3fff:abc:{n:x}::/48" for n in range(16, 28)]
    tracked = ["3fff:abc:4::/48", "3fff:abc:5::/48"]
    net.sysctl("leaf", **{"net.ipv4.nexthop_compat_mode": 0})
    batch(net, "leaf", "-6", [f"route add {p} via {VIA6} proto static" for p in (war, storm, *many)])
    net.ip("leaf", "-6", "route", "add", shrunk, "proto", "static", "nexthop", "via", six(0, 0), "nexthop", "via", VIA6)
    net.ip("leaf", "nexthop", "add", "id", "77", "via", VIA6, "dev", "pe1")
    batch(net, "leaf", "-6", [f"route add {p} nhid 77 proto static" for p in tracked])
    fabric.record()
    with s.fault():
        s.did("route_war", war)
        for cycle in range(8):
            net.ip("leaf", "-6", "route", "replace", war, "via", six(cycle % 2, 0), "proto", ("99", "static")[cycle % 2])
            time.sleep(0.4)
        s.did("route_rewrite", storm)
        for _ in range(40):
            net.ip("leaf", "-6", "route", "replace", storm, "via", VIA6, "proto", "static")
            time.sleep(0.1)
        time.sleep(2)
        s.did("ecmp_shrink", shrunk)
        net.ip("leaf", "-6", "route", "replace", shrunk, "proto", "static", "via", VIA6)
        time.sleep(3)
        s.did("route_shadow", "3fff:100:3:1::/64")
        net.ip("leaf", "-6", "route", "add", "3fff:100:3:1::/64", "via", VIA6, "proto", "dhcp")
        time.sleep(3)
        s.did("route_delete", "12 static routes at once")
        batch(net, "leaf", "-6", [f"route del {p}" for p in many])
        time.sleep(3)
        s.did("nexthop_delete", "id 77")
        net.ip("leaf", "nexthop", "del", "id", "77")
        time.sleep(4)
        # What a collector does when it knows that the kernel is silent; here the dump that follows shows the loss.
        s.did("route_add", "3fff:abc:6::/48")
        net.ip("leaf", "-6", "route", "add", "3fff:abc:6::/48", "via", VIA6, "proto", "static")
    time.sleep(3)


@scenario("elastic-addresses-dual-stack", "two elastic addresses of each family: of one the address is deleted while it stays announced; of the other the announcement flaps 4 times and stays away while the address remains",
          root=kinds("prefix.blackholed", "address.removed"), most=4, findings=[kinds("prefix.blackholed", subject=r"198\.51\.100\.7/32$"), kinds("prefix.blackholed", subject="3fff:e1a::7/128$"),
                                                                              kinds("address.unannounced", subject=r"198\.51\.100\.8$"), kinds("address.unannounced", subject="3fff:e1a::8$")],
          also=[{"root": kinds("prefix.flap", "address.unannounced")}], **{"not": [SESSION, LINK]})
def elastic_addresses(net, s):
    fabric = Fabric(net, s, Plan(bmp=("spa", "leaf")))
    leaf = fabric.routers["leaf"]
    net.addr("leaf", "lo", "198.51.100.8/32", "3fff:e1a::8/128")
    leaf.configure(f"router bgp {ASN['leaf']}", "no bgp network import-check", "address-family ipv4 unicast", "network 198.51.100.8/32", "exit-address-family",
                   "address-family ipv6 unicast", "network 3fff:e1a::8/128")
    time.sleep(3)
    fabric.record()

    def announced(word):
        leaf.configure(f"router bgp {ASN['leaf']}", "address-family ipv4 unicast", f"{word} network 198.51.100.8/32".strip(), "exit-address-family", "address-family ipv6 unicast", f"{word} network 3fff:e1a::8/128".strip())
    with s.fault():
        s.did("address_delete", "leaf: 198.51.100.7/32 and 3fff:e1a::7/128 on lo, which stay announced")
        for address in ("198.51.100.7/32", "3fff:e1a::7/128"):
            net.ip("leaf", "addr", "del", address, "dev", "lo")
        time.sleep(3)
        for cycle in range(4):
            s.did("withdraw", "leaf: 198.51.100.8/32 and 3fff:e1a::8/128", cycle=cycle)
            announced("no")
            time.sleep(2)
            if cycle < 3:
                s.did("announce", "leaf: 198.51.100.8/32 and 3fff:e1a::8/128", cycle=cycle)
                announced("")
                time.sleep(2)
        time.sleep(32)


@scenario("nexthop-lost-dual-stack", "a script on the leaf deletes the two static routes that resolve the next hops of 16 IPv4 and 16 IPv6 routes of BGP, and adds them after 9 s; no BGP message tells it",
          root=kinds("route.withdrawn", "route.foreign-delete", "prefix.nexthop-unresolved"), most=2, findings=[kinds("prefix.nexthop-unresolved")], **{"not": [SESSION, LINK, kinds("prefix.flap")]})
def nexthop_lost(net, s):
    fabric = Fabric(net, s, Plan(bmp=("leaf",)))
    far4, far6 = "192.0.2.250", "fd5a:1f:fa::1"
    net.addr("spb", "lo", f"{far4}/32", f"{far6}/128")
    routes = [("-4", f"{far4}/32", four(1, 0)), ("-6", f"{far6}/128", six(1, 0))]
    for family, route, via in routes:
        net.ip("leaf", family, "route", "add", route, "via", via, "proto", "static")
    for index, name in enumerate(("spa", "spb")):
        fabric.routers[name].configure(
            "ip prefix-list far seq 5 permit 203.0.113.0/28 ge 32", "ipv6 prefix-list far6 seq 5 permit 3fff:100::/44 ge 48",
            "route-map far permit 10", "match ip address prefix-list far", f"set ip next-hop {far4}", "route-map far permit 20",
            "route-map far6 permit 10", "match ipv6 address prefix-list far6", f"set ipv6 next-hop global {far6}", "route-map far6 permit 20",
            f"router bgp {ASN[name]}", f"neighbor {four(index, 1)} ebgp-multihop 3", f"neighbor {six(index, 1)} ebgp-multihop 3",
            "address-family ipv4 unicast", f"neighbor {four(index, 1)} route-map far out", "exit-address-family", "address-family ipv6 unicast", f"neighbor {six(index, 1)} route-map far6 out")
        fabric.routers["leaf"].configure(f"router bgp {ASN['leaf']}", f"neighbor {four(index, 0)} ebgp-multihop 3", f"neighbor {six(index, 0)} ebgp-multihop 3")
    time.sleep(6)
    wait("routes through the far next hops", lambda: "203.0.113.5" in net.ip("leaf", "route") and "3fff:100:5::/48" in net.ip("leaf", "-6", "route"))
    fabric.record()
    with s.fault():
        s.did("route_delete", f"leaf: {far4}/32 and {far6}/128")
        for family, route, _ in routes:
            net.ip("leaf", family, "route", "del", route)
        time.sleep(9)
        s.did("route_add", f"leaf: {far4}/32 and {far6}/128")
        for family, route, via in routes:
            net.ip("leaf", family, "route", "add", route, "via", via, "proto", "static")
    time.sleep(5)


@scenario("gateway-mute", "the gateway of a host answers neither ARP nor neighbor solicitations for 7 s, 3 times; a second router of a static IPv6 route falls silent once",
          root=kinds("neighbor.flap", "neighbor.unreachable", subject=r"192\.0\.2\.129$|fd5a:67:1::1$"), most=3,
          findings=[kinds("neighbor.flap", subject=r"192\.0\.2\.129$"), kinds("neighbor.flap", subject="fd5a:67:1::1$"), kinds("neighbor.unreachable", subject="fd5a:67:1::2$")], **{"not": [LINK, SESSION]})
def gateway_mute(net, s):
    lan = Segment(net, s, guests=(), second=True)
    net.addr("hv", "vmbr0", f"{PREFIX6}::130/64")
    net.addr("dh2", "eth0", f"{PREFIX6}::2/64")
    for way in (("-4", "default", GATEWAY), ("-6", "default", f"{PREFIX6}::1"), ("-6", "3fff:abc:9::/48", f"{PREFIX6}::2")):
        net.ip("hv", way[0], "route", "add", way[1], "via", way[2], "proto", "static")
    # The kernel's defaults take half a minute to notice; a laboratory does not wait that long.
    for family in ("ipv4", "ipv6"):
        net.sysctl("hv", **{f"net.{family}.neigh.vmbr0.base_reachable_time_ms": 1500, f"net.{family}.neigh.vmbr0.delay_first_probe_time": 1, f"net.{family}.neigh.vmbr0.retrans_time_ms": 500})
    pings = [net.spawn("hv", "ping", "-i", "0.5", address, log=f"ping-{index}") for index, address in enumerate(("203.0.113.9", "3fff:f00::9", "3fff:abc:9::9"))]
    time.sleep(2)
    lan.record()
    time.sleep(3)
    mute = ["netdev", "mute"]
    with s.fault():
        for cycle in range(3):
            s.did("mute", "dh1: eth0 hears nothing", cycle=cycle)
            deaf(net, "dh1", "eth0")
            if cycle == 1:
                s.did("mute", "dh2: eth0 hears nothing")
                deaf(net, "dh2", "eth0")
            time.sleep(7)
            s.did("unmute", "dh1", cycle=cycle)
            net.sh("dh1", "nft", "delete", "table", *mute)
            if cycle == 1:
                net.sh("dh2", "nft", "delete", "table", *mute)
            time.sleep(6)
    for ping in pings:
        ping.meant = True


def deaf(net, ns, port):
    """Drops every frame that arrives at a port, ARP too."""
    file = net.dir / f"mute-{ns}.nft"
    file.write_text(f'table netdev mute {{\n chain in {{ type filter hook ingress device "{port}" priority 0; policy drop; }}\n}}\n')
    net.sh(ns, "nft", "-f", file)


@scenario("neighbor-mute-under-bgp", "spa's port hears nothing for 14 s, ARP neither, on a host with IPv4 alone: its entry fails, the session's hold time of 9 s ends; carrier stays",
          root=kinds("neighbor.unreachable", "session.down", subject=r"192\.0\.2\.[01]$"), most=1, findings=[session(r"peer:192\.0\.2\.[01]$", "hold-timer|neighbor")],
          **{"not": [LINK, session(r"peer:192\.0\.2\.[23]$")]})
def neighbor_mute(net, s):
    fabric = Fabric(net, s, Plan(ipv6=False))
    net.sysctl("leaf", **{"net.ipv4.neigh.pe0.base_reachable_time_ms": 1500, "net.ipv4.neigh.pe0.delay_first_probe_time": 1, "net.ipv4.neigh.pe0.retrans_time_ms": 500})
    ping = net.spawn("leaf", "ping", "-i", "0.5", four(0, 0), log="ping")
    fabric.record()
    with s.fault():
        s.did("mute", "spa: swp1 hears nothing")
        deaf(net, "spa", "swp1")
        time.sleep(14)
        s.did("unmute", "spa: swp1")
        net.sh("spa", "nft", "delete", "table", "netdev", "mute")
        wait("the session again", fabric.routers["spa"].established(four(0, 1)))
    time.sleep(4)
    ping.meant = True


@scenario("link-down-long-with-bfd", "the carrier of an uplink with BFD is lost for 7 s, twice, and then an operator sets the port down for 3 s, which takes its IPv6 address too",
          root=kinds("link.flap", subject="link:pe0$", count=[3, 3]), most=1, effects=[session(TO_SPA, "link-down|bfd-down|address-lost"), kinds("bfd.flap", "bfd.down")],
          **{"not": [session(TO_SPB)]})
def link_down_long(net, s):
    fabric = Fabric(net, s, Plan(bfd=True, bfd6=True))
    net.sysctl("leaf", **{"net.ipv6.conf.all.keep_addr_on_down": 0, "net.ipv6.conf.pe0.keep_addr_on_down": 0})
    fabric.record()
    spa = fabric.routers["spa"]
    with s.fault():
        for cycle in range(2):
            s.did("carrier_down", "leaf:pe0 (spa:swp1 set down)", cycle=cycle)
            net.ip("spa", "link", "set", "swp1", "down")
            time.sleep(7)
            s.did("carrier_up", "leaf:pe0 (spa:swp1 set up)", cycle=cycle)
            net.ip("spa", "link", "set", "swp1", "up")
            wait("the sessions again", spa.established(four(0, 1), six(0, 1)))
            time.sleep(2)
        s.did("admin_down", "leaf: pe0")
        net.ip("leaf", "link", "set", "pe0", "down")
        time.sleep(3)
        s.did("admin_up", "leaf: pe0, and its IPv6 address")
        net.ip("leaf", "link", "set", "pe0", "up")
        net.addr("leaf", "pe0", f"{six(0, 1)}/64")
        wait("the sessions again", spa.established(four(0, 1), six(0, 1)))
    time.sleep(4)


@scenario("restart-gives-up", "spa's bgpd dies and does not come back within its restart time of 8 s: the host kept its routes for it and flushes them then",
          root=kinds("session.speaker-restarted", "session.restarted", "session.down", subject=TO_SPA), most=1, **{"not": [LINK, session(TO_SPB)]})
def restart_gives_up(net, s):
    fabric = Fabric(net, s, Plan(graceful=True, bring_up=False, bmp=("leaf",)))
    plain = fabric.frr
    fabric.frr = lambda *words, **more: plain(*words, **more).replace(" bgp graceful-restart\n", " bgp graceful-restart\n bgp graceful-restart restart-time 8\n")
    fabric.start()
    fabric.record()
    spa = fabric.routers["spa"]
    with s.fault():
        s.did("process_kill", "spa: bgpd, graceful restart negotiated, restart time 8 s")
        kill(spa.bgpd)
        (spa.dir / "bgpd.vty").unlink(missing_ok=True)
        time.sleep(16)
        s.did("process_start", "spa: bgpd")
        spa.start_bgp()
        wait("the sessions again", spa.established(four(0, 1), six(0, 1)))
    time.sleep(6)
