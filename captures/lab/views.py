"""What BGP shows, seen for both address families by packets, BMP and MRT of one host at once: what each of them alone tells must be the same."""
import os
import signal
import time

from .catalogue import LINK, SESSION, TO_SPA, TO_SPB, kinds, scenario, session
from .daemons import kill
from .fabric import ASN, Fabric, Plan, four, six
from .net import wait

# What the customer (ExaBGP) says of its prefixes, for each family: one that flaps, one whose path swings, one whose ORIGIN swings, one that is hunted, one
# that moves to another site and back, one that the other site claims too.
FLAPS = ("203.0.113.240/32", "3fff:f00:1::/48")
SWINGS = ("203.0.113.241/32", "3fff:f00:2::/48")
ATTRIBUTES = ("203.0.113.242/32", "3fff:f00:3::/48")
HUNTED = ("203.0.113.243/32", "3fff:f00:4::/48")
MOVES = ("203.0.113.244/32", "3fff:f00:5::5/128")
CLAIMED = ("203.0.113.245/32", "3fff:f00:6::/48")
COVERED = (("203.0.113.192/27", "203.0.113.200/29"), ("3fff:f00:8::/45", "3fff:f00:9::/48"))
TOLD = Plan(customer="exabgp", bmp=("leaf",), mrt=("leaf",), hold=30, prefixes4=24, prefixes6=24)


def path(*hops):
    return f"as-path [ {' '.join(map(str, hops))} ]"


def announce(speaker, prefixes, how=""):
    speaker.say(*[f"announce route {prefix} next-hop self {how}".strip() for prefix in prefixes])


def withdraw(speaker, prefixes):
    speaker.say(*[f"withdraw route {prefix} next-hop self" for prefix in prefixes])


@scenario("unrest-dual-stack", "a customer's prefixes of both families flap, swing between two paths or two ORIGINs, are hunted and withdrawn; an address of each moves to another site and back, "
          "and that site claims a prefix and a part of one: told by packets, BMP and MRT of the host",
          root=kinds("prefix.flap", subject=r"prefix:203\.0\.113\.240/32$"), most=16,
          also=[{"root": kinds("prefix.move-flap", subject=r"prefix:203\.0\.113\.244/32$")}, {"root": kinds("prefix.origin-conflict", subject=r"prefix:203\.0\.113\.245/32$")}],
          **{"not": [SESSION, LINK]})
def unrest_dual_stack(net, s):
    fabric = Fabric(net, s, TOLD)
    cust, site = fabric.routers["cust"], fabric.site()
    home, away = ASN["cust"], 64998
    for prefixes in (FLAPS, SWINGS, HUNTED, MOVES, CLAIMED, [whole for whole, _ in COVERED]):
        announce(cust, prefixes)
    announce(cust, ATTRIBUTES, "origin igp")
    wait("the customer's prefixes", lambda: "203.0.113.245" in net.ip("leaf", "route") and "3fff:f00:6::/48" in net.ip("leaf", "-6", "route"))
    time.sleep(3)
    fabric.record()
    with s.fault():
        s.did("flap", " ".join(FLAPS))
        s.did("swing", " ".join(SWINGS))
        s.did("swing_origin", " ".join(ATTRIBUTES))
        for cycle in range(14):
            (withdraw if cycle % 2 == 0 else announce)(cust, FLAPS)
            announce(cust, SWINGS, path(home, *[home] * (2 if cycle % 2 == 0 else 0)))
            announce(cust, ATTRIBUTES, f"origin {('incomplete', 'igp')[cycle % 2]}")
            time.sleep(0.9)
        for cycle in range(2):
            s.did("hunt", " ".join(HUNTED), cycle=cycle)
            for longer in (1, 2, 3, 4):
                announce(cust, HUNTED, path(home, *range(64990, 64990 + longer), home))
                time.sleep(0.8)
            withdraw(cust, HUNTED)
            time.sleep(2)
            announce(cust, HUNTED)
            time.sleep(1)
        for cycle in range(4):
            old, new = (cust, site) if cycle % 2 == 0 else (site, cust)
            s.did("move", " ".join(MOVES), cycle=cycle)
            withdraw(old, MOVES)
            time.sleep(0.3)
            announce(new, MOVES)
            time.sleep(6.5)
        s.did("claim", " ".join(CLAIMED))
        announce(site, CLAIMED, path(away))
        time.sleep(2)
        s.did("claim_part", " ".join(part for _, part in COVERED))
        announce(site, [part for _, part in COVERED])
        time.sleep(8)


@scenario("tables-dual-stack", "the transit withdraws 60 prefixes of each family and announces them again; then a BIRD spine sends its unchanged tables again 5 times: told by packets, BMP and MRT of the host",
          root=kinds("prefix.mass-withdrawal"), most=3, also=[{"root": kinds("prefix.duplicate-updates", subject=TO_SPB)}], **{"not": [SESSION, LINK, kinds("prefix.flap")]})
def tables_dual_stack(net, s):
    fabric = Fabric(net, s, Plan(spb="bird", bmp=("leaf",), mrt=("leaf",), hold=30, prefixes4=60, prefixes6=60))
    fabric.record()
    tra, spb = fabric.routers["tra"], fabric.routers["spb"]
    with s.fault():
        s.did("withdraw", "tra: 60 IPv4 and 60 IPv6 prefixes")
        for name in ("static1", "static2"):
            tra.birdc("disable", name)
        time.sleep(8)
        s.did("announce", "tra: 60 IPv4 and 60 IPv6 prefixes")
        for name in ("static1", "static2"):
            tra.birdc("enable", name)
        time.sleep(15)
        for cycle in range(5):
            s.did("reload_out", "spb: both sessions to the leaf", cycle=cycle)
            for name in ("leaf4", "leaf6"):
                spb.birdc("reload", "out", name)
            time.sleep(2.5)
    time.sleep(2)


@scenario("crash-loop-graceful", "spa's bgpd is killed and started again, 3 times within a minute, under graceful restart: the first restart keeps the routes, the next ones make it a crash loop; "
          "told by packets, BMP and MRT of the host",
          root=kinds("session.speaker-restarted", subject=TO_SPA), most=1, **{"not": [LINK, session(TO_SPB), kinds("session.flap", "session.down", reason="hold-timer|admin|link-down")]})
def crash_loop_graceful(net, s):
    fabric = Fabric(net, s, Plan(graceful=True, bmp=("leaf",), mrt=("leaf",)))
    fabric.record()
    spa = fabric.routers["spa"]
    with s.fault():
        for cycle in range(3):
            s.did("process_kill", "spa: bgpd, graceful restart negotiated", cycle=cycle)
            kill(spa.bgpd)
            (spa.dir / "bgpd.vty").unlink(missing_ok=True)
            time.sleep(2)
            s.did("process_start", "spa: bgpd", cycle=cycle)
            spa.start_bgp()
            wait("the sessions again", spa.established(four(0, 1), six(0, 1)))
            time.sleep(12)


@scenario("refused-ipv6", "two faults of IPv6 sessions 1 s apart: spa announces more prefixes than the leaf allows (6/1), and spb is told a wrong AS number for the leaf: each OPEN is refused; "
          "told by packets, BMP and MRT of the host",
          root=kinds("session.max-prefix", subject=r"peer:fd5a:1f:1::[12]$"), most=2,
          also=[{"root": kinds("session.open-rejected", "session.down", "session.flap", subject=r"peer:fd5a:1f:2::[12]$")}], **{"not": [LINK, kinds("session.flap", "session.down", reason="hold-timer")]})
def refused_ipv6(net, s):
    fabric = Fabric(net, s, Plan(bmp=("spa", "leaf"), mrt=("leaf",)))
    fabric.routers["leaf"].configure(f"router bgp {ASN['leaf']}", "address-family ipv6 unicast", f"neighbor {six(0, 0)} maximum-prefix 40")
    time.sleep(3)
    fabric.record()
    with s.fault():
        s.did("wrong_as", f"spb: neighbor {six(1, 1)} remote-as 64999")
        fabric.routers["spb"].configure("router bgp 64802", f"neighbor {six(1, 1)} remote-as 64999")
        time.sleep(1)
        s.did("announce", "spa: 32 more IPv6 prefixes; the leaf allows 40 from it")
        fabric.routers["spa"].configure("router bgp 64801", "no bgp network import-check", "address-family ipv6 unicast", *[f"network 3fff:300:{n:x}::/48" for n in range(32)])
        time.sleep(16)


def freeze(process, seconds):
    """The process stands still, as a paused virtual machine does."""
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGCONT)


@scenario("bfd-too-tight", "BFD detects a loss after 180 ms on a router whose virtual machine pauses: 8 pauses of 105 ms are survived, one of 0.6 s ends the sessions of both families",
          root=kinds("bfd.down", "bfd.flap", "bfd.mismatch"), most=1, effects=[session(TO_SPA, "bfd-down")], findings=[kinds("bfd.mismatch"), kinds("bfd.near-miss")],
          **{"not": [LINK, session(TO_SPB), kinds("session.flap", "session.down", reason="hold-timer")]})
def bfd_too_tight(net, s):
    fabric = Fabric(net, s, Plan(bfd=True, bfd6=True, bfd_interval=60, mid_session=True))
    # What is wrong is there from the begin.
    with s.fault():
        fabric.record()
        bfdd = next(process for process, log in net.processes if log.name == "bfdd-spa.log")
        for cycle in range(8):
            s.did("pause", "spa: bfdd, 105 ms", cycle=cycle)
            freeze(bfdd, 0.105)
            time.sleep(1.1)
        s.did("pause", "spa: bfdd, 0.6 s")
        freeze(bfdd, 0.6)
        wait("the sessions again", fabric.routers["spa"].established(four(0, 1), six(0, 1)))
    time.sleep(4)


@scenario("session-near-miss", "the BGP process of spa stands still for 4.7 s, 4 times, with a hold time of 9 s: both sessions survive", findings=[kinds("session.near-miss", subject=TO_SPA)])
def session_near_miss(net, s):
    fabric = Fabric(net, s, Plan(bmp=("leaf",)))
    fabric.record()
    with s.fault():
        for cycle in range(4):
            s.did("pause", "spa: bgpd, 4.7 s", cycle=cycle)
            freeze(fabric.routers["spa"].bgpd, 4.7)
            time.sleep(4)
    time.sleep(2)


@scenario("session-stalled", "spa's BGP process stands still while the host sends it 620 more routes of each family: the TCP windows of both sessions stay closed for more than half a minute",
          root=kinds("session.stalled", subject=TO_SPA), most=2, **{"not": [LINK, session(TO_SPB)]})
def session_stalled(net, s):
    fabric = Fabric(net, s, Plan(leaf="bird", hold=180, bring_up=False))
    plain = fabric.bird_leaf
    # Twenty large communities make a table of a few hundred kilobytes of few routes.
    bulk = "bgp_large_community.add((4200000101, {0}, {1}));"
    several = lambda n: "".join(bulk.format(n, part) for part in range(20))
    routes4 = " ".join(f"route 198.18.{n // 64}.{n % 64 * 4}/30 blackhole {{ {several(n)} }};" for n in range(620))
    routes6 = " ".join(f"route 3fff:400:{n:x}::/48 blackhole {{ {several(n)} }};" for n in range(620))
    fabric.bird_leaf = lambda: plain() + f"protocol static bulk4 {{ disabled; ipv4; {routes4} }}\nprotocol static bulk6 {{ disabled; ipv6; {routes6} }}\n"
    fabric.start()
    leaf = fabric.routers["leaf"]
    s.record("leaf", ["pe0"])
    # Keepalives come each minute; the tables are asked for again, so that both ends are heard.
    for name in ("spa4", "spa6"):
        leaf.birdc("reload", name)
    time.sleep(4)
    with s.fault():
        s.did("process_stop", "spa: bgpd (SIGSTOP)")
        os.killpg(fabric.routers["spa"].bgpd.pid, signal.SIGSTOP)
        s.did("announce", "leaf: 620 prefixes of each family")
        for name in ("bulk4", "bulk6"):
            leaf.birdc("enable", name)
        time.sleep(42)
        s.did("process_continue", "spa: bgpd")
        os.killpg(fabric.routers["spa"].bgpd.pid, signal.SIGCONT)
        time.sleep(8)


@scenario("transit-restarts-bmp", "the transit's BGP process is killed and started again 1.5 s later; both spines and the host tell it by BMP, and nothing else is there",
          root=kinds("session.speaker-restarted", "session.down", "prefix.mass-withdrawal", subject="AS64900$|peer:(192\\.0\\.2\\.(8|10)|fd5a:1f:[56]::1)$"), most=1, inputs=["mon-bmp.pcap"], **{"not": [LINK]})
def transit_restarts(net, s):
    fabric = Fabric(net, s, Plan(bmp=("spa", "spb", "leaf")))
    fabric.record()
    tra = fabric.routers["tra"]
    with s.fault():
        s.did("process_kill", "tra: bird")
        kill(tra.process)
        time.sleep(1.5)
        s.did("process_start", "tra: bird")
        tra.socket.unlink(missing_ok=True)
        tra.start()
        time.sleep(10)
