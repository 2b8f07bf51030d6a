"""Scenarios of the fabric in which policy, configuration or a process is at fault, and planned work that looks alike."""
import time

from .catalogue import LINK, PREFIX_FLAP, SESSION, TO_SPA, TO_SPB, kinds, scenario, session
from .daemons import kill, stop
from .fabric import ASN, ELASTIC4, FLAPPER4, Fabric, Plan, four, six
from .net import wait

TO_SPA4, TO_SPA6 = r"peer:192\.0\.2\.[01]$", r"peer:fd5a:1f:1::[12]$"


@scenario("max-prefix-exceeded", "the transit announces 16 prefixes more than the leaf allows its IPv4 session to spa: NOTIFICATION 6/1, the session stays down",
          root=kinds("session.max-prefix", "session.down", "session.flap", subject=TO_SPA4), most=1, findings=[kinds("session.max-prefix", subject=TO_SPA4)],
          **{"not": [LINK, session(TO_SPB), kinds("session.flap", "session.down", reason="hold-timer|admin")]})
def max_prefix_exceeded(net, s):
    fabric = Fabric(net, s)
    fabric.routers["leaf"].configure(f"router bgp {ASN['leaf']}", "address-family ipv4 unicast", f"neighbor {four(0, 0)} maximum-prefix 48")
    time.sleep(3)
    fabric.record()
    with s.fault():
        s.did("announce", "tra: 16 more IPv4 prefixes; the leaf allows 48 from spa")
        fabric.routers["tra"].birdc("enable", "extra4")
        time.sleep(9)


@scenario("open-rejected", "spa is told a wrong AS number for the leaf's IPv4 session: each OPEN is refused (2/2), until it is put right after 10 s",
          root=kinds("session.open-rejected", "session.down", "session.flap", subject=TO_SPA4), most=1, findings=[kinds("session.open-rejected", subject=TO_SPA4)],
          **{"not": [LINK, session(TO_SPB), kinds("session.flap", "session.down", reason="hold-timer")]})
def open_rejected(net, s):
    fabric = Fabric(net, s)
    fabric.record()
    spa = fabric.routers["spa"]
    with s.fault():
        s.did("wrong_as", f"spa: neighbor {four(0, 1)} remote-as 64999")
        spa.configure("router bgp 64801", f"neighbor {four(0, 1)} remote-as 64999")
        time.sleep(10)
        s.did("right_as", f"spa: neighbor {four(0, 1)} remote-as {ASN['leaf']}")
        spa.configure("router bgp 64801", f"neighbor {four(0, 1)} remote-as {ASN['leaf']}")
        wait("the session again", spa.established(four(0, 1)))
    time.sleep(3)


@scenario("mtu-blackhole", "packets above 1000 octets from spa to the leaf are lost: keepalives pass until a large UPDATE blocks the IPv6 session's stream",
          root=kinds("session.mtu-blackhole", "session.flap", "session.down", "session.stalled", subject=TO_SPA6), most=1,
          **{"not": [LINK, session(TO_SPB), kinds("session.flap", "session.down", reason="admin")]})
def mtu_blackhole(net, s):
    fabric = Fabric(net, s)
    fabric.record()
    with s.fault():
        s.did("packet_loss_start", "spa -> leaf: packets above 1000 octets")
        net.drop("spa", "lab", 'oifname "swp1" meta length > 1000')
        time.sleep(2)
        s.did("announce", "tra: 250 more IPv6 prefixes")
        fabric.routers["tra"].birdc("enable", "extra6")
        time.sleep(26)


@scenario("speaker-killed", "spa's bgpd is killed (the kernel closes its connections) and started again 4 s later",
          root=kinds("session.speaker-restarted", subject=TO_SPA), most=1,
          **{"not": [LINK, session(TO_SPB), kinds("session.flap", "session.down", reason="hold-timer|admin|link-down")]})
def speaker_killed(net, s):
    fabric = Fabric(net, s)
    fabric.record()
    spa = fabric.routers["spa"]
    with s.fault():
        s.did("process_kill", "spa: bgpd")
        kill(spa.bgpd)
        (spa.dir / "bgpd.vty").unlink(missing_ok=True)
        time.sleep(4)
        s.did("process_start", "spa: bgpd")
        spa.start_bgp()
        wait("the sessions again", spa.established(four(0, 1), six(0, 1)))
    time.sleep(5)


@scenario("address-removed-under-bgp", "an operator deletes the leaf's IPv4 address on pe0: the session that used it goes; back after 12 s",
          root=kinds("address.removed", "address.flap", subject=r"192\.0\.2\.1(/31)?$|link:pe0$"), most=1, effects=[session(TO_SPA4, "address-lost")],
          **{"not": [LINK, session(TO_SPB), session(TO_SPA6)]})
def address_removed_under_bgp(net, s):
    fabric = Fabric(net, s)
    fabric.record()
    with s.fault():
        s.did("address_delete", f"leaf: {four(0, 1)}/31 on pe0")
        net.ip("leaf", "addr", "del", f"{four(0, 1)}/31", "dev", "pe0")
        time.sleep(12)
        s.did("address_add", f"leaf: {four(0, 1)}/31 on pe0")
        net.addr("leaf", "pe0", f"{four(0, 1)}/31")
        wait("the session again", fabric.routers["spa"].established(four(0, 1)))
    time.sleep(3)


@scenario("default-withdrawn", "the transit withdraws the IPv4 default route and nothing else; it does not come back",
          root=kinds("route.default-lost", "prefix.mass-withdrawal", "prefix.flap", subject=r"0\.0\.0\.0/0$"), most=1,
          findings=[kinds("route.default-lost", subject=r"prefix:0\.0\.0\.0/0$")], **{"not": [LINK, SESSION]})
def default_withdrawn(net, s):
    fabric = Fabric(net, s)
    fabric.record()
    with s.fault():
        s.did("withdraw", "tra: 0.0.0.0/0")
        fabric.routers["tra"].birdc("disable", "default4")
        time.sleep(10)


def oscillate(fabric, states, cycles=12, pause=0.8):
    """The customer changes what it says of its prefix, again and again, between two statements of BIRD's filter language."""
    cust = fabric.routers["cust"]
    for cycle in range(cycles):
        fabric.s.did("attribute_change", f"cust: {FLAPPER4} {states[cycle % 2]}", cycle=cycle)
        cust.conf.write_text(fabric.customer(states[cycle % 2]))
        cust.birdc("configure")
        time.sleep(pause)


@scenario("path-oscillation", "the AS path of a customer's prefix alternates between two lengths, 12 times; it is never withdrawn",
          root=kinds("prefix.path-oscillation", subject=r"prefix:203\.0\.113\.240/32$"), most=1, **{"not": [PREFIX_FLAP, SESSION, LINK]})
def path_oscillation(net, s):
    fabric = Fabric(net, s)
    fabric.record()
    with s.fault():
        oscillate(fabric, ("bgp_path.prepend(64999);", "bgp_path.prepend(64999); bgp_path.prepend(64999);"))
    time.sleep(1)


@scenario("community-oscillation", "a community of a customer's prefix alternates, 12 times; path, reachability and kernel stay",
          root=kinds("prefix.attribute-oscillation", subject=r"prefix:203\.0\.113\.240/32$"), most=1, **{"not": [PREFIX_FLAP, SESSION, LINK]})
def community_oscillation(net, s):
    fabric = Fabric(net, s)
    fabric.record()
    with s.fault():
        oscillate(fabric, ("bgp_community.add((64999,10));", "bgp_community.add((64999,20));"))
    time.sleep(1)


@scenario("origin-conflict", "spb begins to originate a prefix that the transit originates too (two origin ASes for one prefix)",
          root=kinds("prefix.origin-conflict", subject=r"prefix:203\.0\.113\.12/32$"), most=1, **{"not": [PREFIX_FLAP, SESSION, LINK]})
def origin_conflict(net, s):
    fabric = Fabric(net, s)
    fabric.record()
    with s.fault():
        s.did("announce", "spb: 203.0.113.12/32")
        fabric.routers["spb"].configure("router bgp 64802", "no bgp network import-check", "address-family ipv4 unicast", "network 203.0.113.12/32")
        time.sleep(8)


@scenario("link-admin-down-bird", "the leaf's own uplink is set down and up 3 times; its static IPv4 routes over it go without a word of the kernel (BIRD)",
          root=kinds("link.flap", "link.admin-down", subject="link:pe0$"), most=1, effects=[session(TO_SPA, "link-down")],
          findings=[kinds("route.silent-loss", subject=r"198\.51\.100\.(16|32)/28$")], **{"not": [session(TO_SPB)]})
def link_admin_down_bird(net, s):
    fabric = Fabric(net, s, Plan(leaf="bird"))
    routes = ("198.51.100.16/28", "198.51.100.32/28")

    def add():
        for route in routes:
            net.ip("leaf", "route", "replace", route, "via", four(0, 0), "proto", "static")
    add()
    fabric.record()
    with s.fault():
        for cycle in range(3):
            s.did("admin_down", "leaf: pe0", cycle=cycle)
            net.ip("leaf", "link", "set", "pe0", "down")
            time.sleep(2)
            s.did("admin_up", "leaf: pe0", cycle=cycle)
            net.ip("leaf", "link", "set", "pe0", "up")
            time.sleep(1)
            add()
            time.sleep(5)


@scenario("bmp-only-admin-reset", "spa's operator clears the leaf's IPv4 session 3 times; only the BMP station's capture is there",
          root=session(TO_SPA4), most=1, inputs=["mon-bmp.pcap"], **{"not": [session(TO_SPA6), session(TO_SPB), LINK]})
def bmp_only_admin_reset(net, s):
    fabric = Fabric(net, s, Plan(bmp=("spa", "leaf"), mid_session=True))
    fabric.record()
    with s.fault():
        for cycle in range(3):
            s.did("admin_reset", f"spa: clear bgp {four(0, 1)}", cycle=cycle)
            fabric.routers["spa"].vtysh(f"clear bgp {four(0, 1)}")
            time.sleep(6)


@scenario("benign-bmp-reconnect", "only the BMP station is restarted: spa sends its whole table again, nothing happened in the network",
          findings=[kinds("feed.restarted", "feed.gap", "prefix.table-transfer")])
def benign_bmp_reconnect(net, s):
    fabric = Fabric(net, s)
    fabric.record()
    with s.fault():
        s.did("station_stop", "mon")
        stop(fabric.station)
        time.sleep(3)
        s.did("station_start", "mon")
        fabric.start_station()
        time.sleep(6)


@scenario("benign-graceful-restart", "spa's bgpd is restarted under graceful restart within 3 s; the leaf keeps its routes meanwhile")
def benign_graceful_restart(net, s):
    fabric = Fabric(net, s, Plan(graceful=True, mrt=("leaf",)))
    fabric.record()
    spa = fabric.routers["spa"]
    with s.fault():
        s.did("process_restart", "spa: bgpd, graceful restart negotiated")
        kill(spa.bgpd)
        (spa.dir / "bgpd.vty").unlink(missing_ok=True)
        time.sleep(1.5)
        spa.start_bgp()
        wait("the sessions again", spa.established(four(0, 1), six(0, 1)))
    time.sleep(6)


@scenario("benign-eip-move", "an elastic address moves as planned: the customer withdraws it, spb announces it 0.3 s later", findings=[kinds("prefix.moved", subject=r"203\.0\.113\.250(/32)?$")])
def benign_eip_move(net, s):
    fabric = Fabric(net, s)
    fabric.routers["spb"].configure("router bgp 64802", "no bgp network import-check")
    time.sleep(1)
    fabric.record()
    with s.fault():
        s.did("withdraw", f"cust: {ELASTIC4}")
        fabric.routers["cust"].birdc("disable", "eip4")
        time.sleep(0.3)
        s.did("announce", f"spb: {ELASTIC4}")
        fabric.routers["spb"].configure("router bgp 64802", "address-family ipv4 unicast", f"network {ELASTIC4}")
        time.sleep(8)
