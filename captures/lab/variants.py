"""Families of the other modules recorded as somebody else would: long hold times, a capture that begins between two keepalives, hosts behind transits,
floods that nobody follows up, two faults a second apart."""
import time

from . import daemons
from .catalogue import LINK, PREFIX_FLAP, SESSION, TO_SPA, TO_SPB, kinds, scenario, session
from .bgp import flap_link
from .dhcp import STARVED
from .fabric import ASN, ELASTIC4, Fabric, PORT, Plan, four, six
from .forged import forge
from .net import wait
from .segment import GATEWAY, Segment

HOLD_TIMER = kinds("session.flap", "session.down", reason="hold-timer")
TO_SPA4 = r"peer:192\.0\.2\.[01]$"
TO_SPB4 = r"peer:192\.0\.2\.[23]$"
OWN6 = "3fff:e1a::7/128"


def begin(fabric):
    """The capture begins a second before the fault: with long hold times no KEEPALIVE was seen by then."""
    fabric.s.record("leaf", ["pe0", "pe1"], station=("mon", "brm", PORT))
    if not fabric.plan.mid_session:
        fabric.start_station()
        time.sleep(2.5)
    time.sleep(1)


def originate(fabric, prefix, on):
    """spb announces a host route itself, or no longer."""
    family = "ipv6" if ":" in prefix else "ipv4"
    fabric.routers["spb"].configure(f"router bgp {ASN['spb']}", f"address-family {family} unicast", f"{'' if on else 'no '}network {prefix}")


@scenario("admin-reset-slow-keepalives", "an operator clears both sessions on spa 3 times; hold time 90 s, the capture begins between two keepalives",
          root=session(TO_SPA, "admin-reset"), most=1, **{"not": [LINK, HOLD_TIMER]})
def admin_reset_slow_keepalives(net, s):
    fabric = Fabric(net, s, Plan(hold=90, mid_session=True))
    begin(fabric)
    with s.fault():
        for cycle in range(3):
            s.did("admin_reset", "spa: both sessions to the leaf", cycle=cycle)
            fabric.routers["spa"].vtysh(f"clear bgp ipv4 unicast {four(0, 1)}", f"clear bgp ipv6 unicast {six(0, 1)}")
            time.sleep(5)
    time.sleep(2)


@scenario("bfd-flap-told-by-bgp", "BFD control packets between leaf and spa are lost 3 times for 1.5 s: spa closes BGP with 6/10 before the leaf's own detection time ends (hold time 90 s)",
          root=kinds("bfd.flap", "bfd.down", subject=TO_SPA4), most=1, effects=[session(TO_SPA4, "bfd-down")], **{"not": [LINK, HOLD_TIMER]})
def bfd_flap_told_by_bgp(net, s):
    fabric = Fabric(net, s, Plan(hold=90, bfd=True, mid_session=True))
    begin(fabric)
    with s.fault():
        for cycle in range(3):
            s.did("packet_loss_start", "udp/3784 between leaf and spa", cycle=cycle)
            net.drop("spa", "lab", '$if "swp1" udp dport 3784')
            time.sleep(1.5)
            s.did("packet_loss_end", "udp/3784 between leaf and spa", cycle=cycle)
            net.undrop("spa", "lab")
            time.sleep(5)
    time.sleep(1)


@scenario("benign-maintenance-slow-keepalives", "spb (BIRD) disables both sessions to the leaf for 6 s, once; hold time 90 s, the capture begins between two keepalives",
          findings=[kinds("session.down", subject=TO_SPB, reason="admin-shutdown")])
def benign_maintenance_slow_keepalives(net, s):
    fabric = Fabric(net, s, Plan(hold=90, mid_session=True, spb="bird"))
    begin(fabric)
    spb = fabric.routers["spb"]
    with s.fault():
        for verb in ("disable", "enable"):
            s.did(f"admin_{verb}", "spb: both sessions to the leaf")
            for protocol in ("leaf4", "leaf6"):
                spb.birdc(verb, protocol)
            time.sleep(6)


@scenario("benign-eip-overlap", "an elastic address moves from the customer behind the transit to spb, which announces it 1 s before the customer withdraws it",
          findings=[kinds("prefix.moved", "address.moved", subject=r"203\.0\.113\.250(/32)?$")])
def benign_eip_overlap(net, s):
    fabric = Fabric(net, s)
    fabric.routers["spb"].configure(f"router bgp {ASN['spb']}", "no bgp network import-check")
    time.sleep(1)
    begin(fabric)
    with s.fault():
        s.did("eip_add", f"spb: {ELASTIC4}")
        originate(fabric, ELASTIC4, True)
        time.sleep(1)
        s.did("eip_remove", f"cust: {ELASTIC4}")
        fabric.routers["cust"].birdc("disable", "eip4")
        time.sleep(9)


@scenario("benign-eip-move-ipv6", "the leaf gives its own IPv6 address up, and spb announces it 1 s later",
          findings=[kinds("prefix.moved", "address.moved", subject=r"3fff:e1a::7(/128)?$")])
def benign_eip_move_ipv6(net, s):
    fabric = Fabric(net, s)
    fabric.routers["spb"].configure(f"router bgp {ASN['spb']}", "no bgp network import-check")
    time.sleep(1)
    begin(fabric)
    with s.fault():
        s.did("eip_remove", f"leaf: {OWN6}")
        net.ip("leaf", "addr", "del", OWN6, "dev", "lo")
        fabric.routers["leaf"].configure(f"router bgp {ASN['leaf']}", "address-family ipv6 unicast", f"no network {OWN6}")
        time.sleep(1)
        s.did("eip_add", f"spb: {OWN6}")
        originate(fabric, OWN6, True)
        time.sleep(9)


@scenario("link-flap-at-load", "the leaf's uplink pe0 loses carrier 3 times while its daemons still load 241 IPv4 and 61 IPv6 prefixes",
          root=kinds("link.flap", subject="link:pe0$", count=[3, 3]), most=1, **{"not": [PREFIX_FLAP, session(TO_SPB)]})
def link_flap_at_load(net, s):
    fabric = Fabric(net, s, Plan(mid_session=True, prefixes4=240, prefixes6=60, bring_up=False))
    fabric.start_transit()
    for name, uplink in (("spa", 0), ("spb", 1)):
        fabric.start_spine(name, uplink)
    wait("the tables of the spines", lambda: all(fabric.routers[n].established(four(i + 4, 0), six(i + 4, 0), least=60)() for i, n in enumerate(("spa", "spb"))))
    begin(fabric)
    with s.fault():
        s.did("daemons_start", "leaf: zebra, bgpd")
        fabric.start_leaf()
        time.sleep(1.5)
        flap_link(fabric, 3, 1.5, 4)
    time.sleep(2)


@scenario("two-faults-a-second-apart", "carrier of pe0 is lost 3 times; each time, a second later, an operator of spb clears the IPv4 session on the other uplink",
          root=kinds("link.flap", subject="link:pe0$"), most=2, effects=[session(TO_SPA, "link-down")], findings=[session(TO_SPB4, "admin-reset")], **{"not": [PREFIX_FLAP]})
def two_faults_a_second_apart(net, s):
    fabric = Fabric(net, s, Plan(mid_session=True))
    begin(fabric)
    with s.fault():
        for cycle in range(3):
            s.did("carrier_down", "leaf:pe0 (spa:swp1 set down)", cycle=cycle)
            net.ip("spa", "link", "set", "swp1", "down")
            time.sleep(1)
            s.did("admin_reset", "spb: IPv4 session to the leaf", cycle=cycle)
            fabric.routers["spb"].vtysh(f"clear bgp ipv4 unicast {four(1, 1)}")
            time.sleep(1)
            s.did("carrier_up", "leaf:pe0 (spa:swp1 set up)", cycle=cycle)
            net.ip("spa", "link", "set", "swp1", "up")
            time.sleep(6)


@scenario("origin-group-flap-packets-only", "20 prefixes of one origin flap together 5 times, every 2 s; only the host's packets are there, from the middle of its sessions",
          root=kinds("prefix.flap", subject=r"prefix:198\.51\.100\.(19\d|20\d|21[01])/32$|AS64999$"), most=1, affected=20, inputs=["h.pcapng"], **{"not": [SESSION, LINK]})
def origin_group_flap_packets_only(net, s):
    fabric = Fabric(net, s, Plan(customer="exabgp", mid_session=True))
    cust, group = fabric.routers["cust"], [f"198.51.100.{n}/32" for n in range(192, 212)]
    cust.say(*[f"announce route {p} next-hop self" for p in group])
    time.sleep(3)
    begin(fabric)
    with s.fault():
        for cycle in range(5):
            for verb in ("withdraw", "announce"):
                s.did(verb, "20 prefixes of AS64999", cycle=cycle)
                cust.say(*[f"{verb} route {p} next-hop self" for p in group])
                time.sleep(1)
    time.sleep(2)


@scenario("dhcp-discover-flood", "a guest sends 120 DISCOVERs a hundredth of a second apart, each for another made-up client, and follows no offer up",
          root=kinds("dhcp.starvation"), most=1, **{"not": [kinds("dhcp.rogue-server"), LINK]})
def dhcp_discover_flood(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2"))
    lan.server((120, 40, 90))
    lan.record()
    with s.fault():
        s.did("discover_flood", "vm1: 120 made-up clients")
        forge(net, "vm1", "discovers", 120)
        s.did("client_start", "vm2")
        daemons.udhcpc(net, "vm2", "eth0")
        time.sleep(6)


@scenario("dhcp-relay-spoofed-unanswered", "a guest sends 30 DISCOVERs in 3 s as if it relayed for 203.0.113.129, where no server has addresses for; the capture ends 3 s later",
          root=kinds("dhcp.relay-spoofed"), most=1, **{"not": [kinds("dhcp.rogue-server"), STARVED, LINK]})
def dhcp_relay_spoofed_unanswered(net, s):
    lan = Segment(net, s, guests=("vm1",))
    daemons.dnsmasq(net, "dh1", "eth0", "--dhcp-range=192.0.2.160,192.0.2.190,255.255.255.128,2m", "--dhcp-authoritative", "--no-ping", f"--dhcp-option=3,{GATEWAY}")
    lan.record()
    with s.fault():
        s.did("giaddr_spoof", "vm1: giaddr 203.0.113.129", count=30)
        forge(net, "vm1", "relay", 30, "203.0.113.129", 0.1)
    time.sleep(3)
