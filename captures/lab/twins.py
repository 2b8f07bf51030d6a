"""The families of `bgp.py` and `policy.py` in another dress: other daemons, the other address family, another place to listen, fewer inputs."""
import time

from .catalogue import LINK, PREFIX_FLAP, SESSION, TO_SPA, TO_SPB, kinds, scenario, session
from .daemons import Frr, kill
from .fabric import ASN, FLAPPER6, Fabric, Plan, four, six
from .net import wait
from .speakers import Exabgp

TO_SPA4, TO_SPA6 = r"peer:192\.0\.2\.[01]$", r"peer:fd5a:1f:1::[12]$"
GROUP = [f"198.51.100.{n}/32" for n in range(192, 212)]


@scenario("origin-group-flap", "20 prefixes of one origin are withdrawn and announced together 6 times, every 2.4 s (ExaBGP, seen by a BIRD host): one cause",
          root=kinds("prefix.flap", subject=r"prefix:198\.51\.100\.(19\d|20\d|21[01])/32$|origin:AS64999$|as:AS64999$"), most=1, affected=20, **{"not": [SESSION, LINK]})
def origin_group_flap(net, s):
    fabric = Fabric(net, s, Plan(leaf="bird", customer="exabgp"))
    cust = fabric.routers["cust"]
    cust.say(*[f"announce route {p} next-hop self" for p in GROUP])
    time.sleep(2)
    fabric.record()
    with s.fault():
        for cycle in range(6):
            s.did("withdraw", "20 prefixes of AS64999", cycle=cycle)
            cust.say(*[f"withdraw route {p} next-hop self" for p in GROUP])
            time.sleep(1.2)
            s.did("announce", "20 prefixes of AS64999", cycle=cycle)
            cust.say(*[f"announce route {p} next-hop self" for p in GROUP])
            time.sleep(1.2)
    time.sleep(1)


@scenario("origin-flap-at-load", "a prefix flaps 14 times while the host's daemons start and load their tables",
          root=kinds("prefix.flap", subject=r"prefix:203\.0\.113\.240/32$"), most=1, **{"not": [SESSION, LINK]})
def origin_flap_at_load(net, s):
    fabric = Fabric(net, s, Plan(prefixes4=120, prefixes6=40, bring_up=False))
    fabric.start_transit()
    for name, uplink in (("spa", 0), ("spb", 1)):
        fabric.start_spine(name, uplink)
    wait("the tables of the spines", lambda: all(fabric.routers[n].established(four(i + 4, 0), six(i + 4, 0), least=40)() for i, n in enumerate(("spa", "spb"))))
    fabric.record()
    with s.fault():
        s.did("daemons_start", "leaf: zebra, bgpd")
        fabric.start_leaf()
        fabric.flap_origin("flap4", 14, 0.6, 0.6)
    time.sleep(1)


@scenario("med-oscillation-ipv6", "the MED of an IPv6 prefix alternates 16 times at spb's own customer (ExaBGP); path and reachability stay",
          root=kinds("prefix.attribute-oscillation", subject="prefix:3fff:f00:1::/48$"), most=1, **{"not": [PREFIX_FLAP, SESSION, LINK]})
def med_oscillation_ipv6(net, s):
    fabric = Fabric(net, s, Plan(customer="exabgp", bmp=("spb",)))
    # MED does not survive a second AS.
    own = fabric.site()
    own.say(f"announce route {FLAPPER6} next-hop self med 10")
    time.sleep(2)
    fabric.record()
    with s.fault():
        for cycle in range(16):
            s.did("change", FLAPPER6, med=(20, 10)[cycle % 2], cycle=cycle)
            own.say(f"announce route {FLAPPER6} next-hop self med {(20, 10)[cycle % 2]}")
            time.sleep(0.7)
    time.sleep(1)


@scenario("duplicate-announcements-bird", "a BIRD spine sends its unchanged tables to the leaf again 6 times, every 2 s (reload out): duplicates only",
          root=kinds("prefix.duplicate-updates", subject=r"peer:(192\.0\.2\.2|fd5a:1f:2::1)$|prefix:"), most=1, affected=40, **{"not": [PREFIX_FLAP, SESSION, LINK]})
def duplicate_announcements_bird(net, s):
    fabric = Fabric(net, s, Plan(spb="bird", mid_session=True))
    fabric.record()
    with s.fault():
        for cycle in range(6):
            s.did("reload_out", "spb: both sessions to the leaf", cycle=cycle)
            for protocol in ("leaf4", "leaf6"):
                fabric.routers["spb"].birdc("reload", "out", protocol)
            time.sleep(2)


@scenario("path-hunting-ipv6", "an origin withdraws an IPv6 prefix behind a chain of three FRR transits that each have it directly too and hear of it one after the other: longer and longer paths, then the withdrawal; twice",
          most=1, findings=[kinds("prefix.path-hunting", subject="prefix:3fff:f00:9::/48$")], **{"not": [kinds("prefix.path-oscillation"), SESSION, LINK]})
def path_hunting_ipv6(net, s):
    fabric = Fabric(net, s)
    mesh, target = ("ma", "mb", "mc"), "3fff:f00:9::/48"
    asn = {"ma": 64911, "mb": 64912, "mc": 64913, "org": 64990}
    for name in (*mesh, "org"):
        net.ns(name)
    links, peers = [("tra", "ma"), ("ma", "mb"), ("mb", "mc"), ("org", "ma"), ("org", "mb"), ("org", "mc")], {n: [] for n in (*mesh, "org", "tra")}
    for index, (a, b) in enumerate(links):
        here, there = f"fd5a:2f:{index + 1:x}::1", f"fd5a:2f:{index + 1:x}::2"
        net.cable(a, f"x-{b}", b, f"x-{a}")
        net.addr(a, f"x-{b}", f"{here}/64")
        net.addr(b, f"x-{a}", f"{there}/64")
        peers[a].append((here, there, b))
        peers[b].append((there, here, a))
    for name in mesh:
        lines = [f"router bgp {asn[name]}", f" bgp router-id 198.51.100.{160 + mesh.index(name)}", " no bgp ebgp-requires-policy", " no bgp default ipv4-unicast"]
        for _, far, other in peers[name]:
            lines += [f" neighbor {far} remote-as {asn.get(other, ASN['tra'])}", f" neighbor {far} timers connect 1", f" neighbor {far} advertisement-interval 0"]
        lines += [" address-family ipv6 unicast", *[f"  neighbor {far} activate" for _, far, _ in peers[name]], " exit-address-family"]
        fabric.routers[name] = Frr(net, name, "\n".join(lines) + "\n")
    tra = fabric.routers["tra"]
    here, there, _ = peers["tra"][0]
    tra.conf.write_text(tra.conf.read_text() + f"protocol bgp mesh6 {{ local {here} as {ASN['tra']}; neighbor {there} as {asn['ma']}; hold time 30; connect retry time 1; error wait time 1, 2; "
                        "ipv6 { import all; export none; }; }\n")
    tra.birdc("configure")
    org = Exabgp(net, "org", asn["org"], "192.0.2.19", [(local, far, asn[other]) for local, far, other in peers["org"]])
    wait("the mesh at the transit", tra.established("mesh6"))
    for name in mesh:
        wait(f"the sessions of {name}", fabric.routers[name].established(*[far for _, far, other in peers[name] if other != "tra"]))
    org.say(f"announce route {target} next-hop self")
    wait("the prefix on the leaf", lambda: target in net.ip("leaf", "-6", "route"))
    time.sleep(8)
    fabric.record()
    with s.fault():
        for cycle in range(2):
            s.did("withdraw", target, cycle=cycle)
            # As MRAI does in a real mesh: each neighbor of the origin hears of it later than the one before.
            for _, far, _ in peers["org"]:
                org.say(f"neighbor {far} withdraw route {target} next-hop self")
                time.sleep(1.5)
            time.sleep(6)
            s.did("announce", target, cycle=cycle)
            org.say(f"announce route {target} next-hop self")
            time.sleep(10)


@scenario("admin-reset-bird-ipv6", "an operator of the BIRD host restarts its IPv6 protocol to spa 3 times; only the host's packets are there",
          root=session(TO_SPA6, "admin"), most=1, inputs=["h.pcapng"], **{"not": [LINK, session(TO_SPA4), session(TO_SPB), kinds("session.flap", "session.down", reason="hold-timer")]})
def admin_reset_bird_ipv6(net, s):
    fabric = Fabric(net, s, Plan(leaf="bird", mid_session=True))
    fabric.record()
    with s.fault():
        for cycle in range(3):
            s.did("admin_reset", "leaf: birdc restart spa6", cycle=cycle)
            fabric.routers["leaf"].birdc("restart", "spa6")
            time.sleep(6)


@scenario("hold-expiry-gobgp", "all IP between a GoBGP host and spa is lost for 12 s, twice (hold time 6 s); the carrier stays",
          root=kinds("path.loss", "session.flap", "session.down", subject=TO_SPA + "|link:pe0$"), most=1,
          effects=[session(TO_SPA, "hold-timer-expired")], **{"not": [LINK, session(TO_SPB), kinds("session.flap", "session.down", reason="admin")]})
def hold_expiry_gobgp(net, s):
    fabric = Fabric(net, s, Plan(leaf="gobgp", hold=6))
    fabric.record()
    with s.fault():
        for cycle in range(2):
            s.did("packet_loss_start", "all IP between leaf and spa", cycle=cycle)
            net.drop("spa", "lab", '$if "swp1"')
            time.sleep(12)
            s.did("packet_loss_end", "all IP between leaf and spa", cycle=cycle)
            net.undrop("spa", "lab")
            wait("the sessions again", fabric.routers["spa"].established(four(0, 1), six(0, 1)), 60)
            time.sleep(4)


@scenario("bfd-down-ipv6-bird", "BFD control packets of the IPv6 session between a BIRD host and spa are dropped for 2 s, 3 times; TCP is untouched",
          root=kinds("bfd.flap", "bfd.down", subject=TO_SPA6), most=1, effects=[session(TO_SPA6, "bfd-down")],
          **{"not": [LINK, session(TO_SPA4), kinds("session.flap", "session.down", reason="hold-timer")]})
def bfd_down_ipv6_bird(net, s):
    fabric = Fabric(net, s, Plan(leaf="bird", bfd6=True))
    fabric.record()
    with s.fault():
        for cycle in range(3):
            s.did("packet_loss_start", "udp/3784 between leaf and spa", cycle=cycle)
            net.drop("spa", "lab", '$if "swp1" udp dport 3784')
            time.sleep(2)
            s.did("packet_loss_end", "udp/3784 between leaf and spa", cycle=cycle)
            net.undrop("spa", "lab")
            time.sleep(6)
    time.sleep(1)


@scenario("ipv6-session-flap-on-router", "only the IPv6 session leaf-spa flaps (tcp6/179 dropped for 9 s, twice; hold time 6 s); captured on the router spa instead of the host",
          root=session(TO_SPA6, "hold-timer-expired|tcp"), most=1, **{"not": [LINK, session(TO_SPA4), session(r"peer:(192\.0\.2\.[89]|fd5a:1f:5::[12])$")]})
def ipv6_session_flap_on_router(net, s):
    fabric = Fabric(net, s, Plan(leaf="bird", hold=6, mid_session=True))
    fabric.record(host="spa")
    with s.fault():
        for cycle in range(2):
            s.did("packet_loss_start", "tcp/179 between leaf and spa over IPv6", cycle=cycle)
            net.drop("leaf", "lab", '$if "pe0" ip6 nexthdr tcp tcp dport 179', '$if "pe0" ip6 nexthdr tcp tcp sport 179')
            time.sleep(9)
            s.did("packet_loss_end", "tcp/179 between leaf and spa over IPv6", cycle=cycle)
            net.undrop("leaf", "lab")
            wait("the session again", fabric.routers["spa"].established(six(0, 1)))
            time.sleep(4)


@scenario("transit-dies-on-router", "the transit's BGP process is killed; captured on the router spa, which loses its sessions to it and withdraws the table from the leaf",
          root=kinds("session.flap", "session.down", "session.speaker-restarted", "prefix.mass-withdrawal", subject=r"peer:(192\.0\.2\.[89]|fd5a:1f:5::[12])$|as:AS64900$"), most=1,
          findings=[kinds("prefix.mass-withdrawal")], **{"not": [LINK, session(TO_SPA)]})
def transit_dies_on_router(net, s):
    fabric = Fabric(net, s)
    fabric.record(host="spa")
    with s.fault():
        s.did("process_kill", "tra: bird")
        kill(fabric.routers["tra"].process)
        time.sleep(5)
        s.did("process_start", "tra: bird")
        fabric.routers["tra"].socket.unlink(missing_ok=True)
        fabric.routers["tra"].start()
        time.sleep(6)


@scenario("kernel-route-churn-ipv6", "a process on the host adds and deletes a static IPv6 route 20 times, every 0.6 s; only rtnetlink is there",
          root=kinds("route.flap", subject="prefix:3fff:abc:5::/48$", count=[19, 21]), most=1, inputs=["h.nl.pcap"], **{"not": [PREFIX_FLAP, SESSION, LINK]})
def kernel_route_churn_ipv6(net, s):
    fabric = Fabric(net, s, Plan(mid_session=True))
    fabric.record()
    with s.fault():
        for cycle in range(20):
            s.did("route_add", "leaf: 3fff:abc:5::/48", cycle=cycle)
            net.ip("leaf", "route", "add", "3fff:abc:5::/48", "via", six(1, 0), "proto", "static")
            time.sleep(0.3)
            s.did("route_del", "leaf: 3fff:abc:5::/48", cycle=cycle)
            net.ip("leaf", "route", "del", "3fff:abc:5::/48", "via", six(1, 0), "proto", "static")
            time.sleep(0.3)


@scenario("link-flap-netlink-only", "carrier of the uplink is lost and comes back 5 times on a BIRD host; only rtnetlink is there",
          root=kinds("link.flap", subject="link:pe0$", count=[5, 5]), most=1, inputs=["h.nl.pcap"], **{"not": [PREFIX_FLAP, kinds("link.admin-down")]})
def link_flap_netlink_only(net, s):
    fabric = Fabric(net, s, Plan(leaf="bird", mid_session=True))
    fabric.record()
    with s.fault():
        for cycle in range(5):
            s.did("carrier_down", "leaf:pe0 (spa:swp1 set down)", cycle=cycle)
            net.ip("spa", "link", "set", "swp1", "down")
            time.sleep(1.5)
            s.did("carrier_up", "leaf:pe0 (spa:swp1 set up)", cycle=cycle)
            net.ip("spa", "link", "set", "swp1", "up")
            time.sleep(3.5)


@scenario("elastic-ping-pong", "an elastic IPv4 address is announced by the customer and by spb in turns, 8 moves, every 2 s: two hosts fight over it",
          root=kinds("prefix.move-flap", "prefix.flap", "prefix.path-oscillation", "prefix.origin-conflict", subject=r"prefix:203\.0\.113\.250/32$"), most=1, **{"not": [SESSION, LINK]})
def elastic_ping_pong(net, s):
    fabric = Fabric(net, s)
    spb, cust = fabric.routers["spb"], fabric.routers["cust"]
    spb.configure("router bgp 64802", "no bgp network import-check")
    time.sleep(1)
    fabric.record()
    with s.fault():
        for cycle in range(4):
            s.did("move", "203.0.113.250/32: cust -> spb", cycle=cycle)
            cust.birdc("disable", "eip4")
            spb.configure("router bgp 64802", "address-family ipv4 unicast", "network 203.0.113.250/32")
            time.sleep(2)
            s.did("move", "203.0.113.250/32: spb -> cust", cycle=cycle)
            spb.configure("router bgp 64802", "address-family ipv4 unicast", "no network 203.0.113.250/32")
            cust.birdc("enable", "eip4")
            time.sleep(2)


@scenario("max-prefix-bmp-only", "the transit announces 16 prefixes more than the leaf allows its IPv4 session to spb; seen only by the BMP station, from the leaf",
          root=kinds("session.max-prefix", "session.down", "session.flap", subject=r"peer:192\.0\.2\.[23]$"), most=1, inputs=["mon-bmp.pcap"], **{"not": [LINK, session(TO_SPA)]})
def max_prefix_bmp_only(net, s):
    fabric = Fabric(net, s, Plan(bmp=("leaf",)))
    fabric.routers["leaf"].configure(f"router bgp {ASN['leaf']}", "address-family ipv4 unicast", f"neighbor {four(1, 0)} maximum-prefix 48")
    time.sleep(2)
    fabric.record()
    with s.fault():
        s.did("announce", "tra: 16 more IPv4 prefixes; the leaf allows 48 from spb")
        fabric.routers["tra"].birdc("enable", "extra4")
        time.sleep(10)
