"""Several faults at once: what has nothing to do with each other stays apart, what has one cause stays together."""
import threading
import time

from . import daemons
from .catalogue import LINK, SESSION, TO_SPA, TO_SPB, kinds, scenario, session
from .fabric import ASN, FLAPPER6, Fabric, Plan, four
from .guests import FORGE
from .net import wait
from .segment import GATEWAY, SECOND, Segment

TO_SPB4 = r"peer:192\.0\.2\.[23]$"


@scenario("link-flap-and-origin-flap", "two faults 1 s apart: the carrier of pe1 flaps 3 times, and a customer's IPv6 prefix flaps 12 times behind the transit",
          root=kinds("link.flap", subject="link:pe1$", count=[3, 3]), effects=[session(TO_SPB, "link-down")], most=2,
          also=[{"root": kinds("prefix.flap", subject="prefix:3fff:f00:1::/48$")}], **{"not": [session(TO_SPA)]})
def link_flap_and_origin_flap(net, s):
    fabric = Fabric(net, s)
    fabric.record()
    with s.fault():
        flapping = threading.Thread(target=fabric.flap_origin, args=("flap6", 14, 0.8, 0.8))
        flapping.start()
        time.sleep(1)
        for cycle in range(3):
            s.did("carrier_down", "leaf:pe1 (spb:swp1 set down)", cycle=cycle)
            net.ip("spb", "link", "set", "swp1", "down")
            time.sleep(2)
            s.did("carrier_up", "leaf:pe1 (spb:swp1 set up)", cycle=cycle)
            net.ip("spb", "link", "set", "swp1", "up")
            time.sleep(5)
        flapping.join()
    time.sleep(1)


@scenario("two-sessions-two-causes", "two faults 1 s apart: spa's operator clears the leaf's IPv4 session 3 times, and spb announces more prefixes than the leaf allows it",
          root=session(TO_SPA, "admin-reset"), most=2, also=[{"root": kinds("session.max-prefix", "session.down", "session.flap", subject=TO_SPB4)}], **{"not": [LINK]})
def two_sessions_two_causes(net, s):
    fabric = Fabric(net, s)
    fabric.routers["leaf"].configure(f"router bgp {ASN['leaf']}", "address-family ipv4 unicast", f"neighbor {four(1, 0)} maximum-prefix 48")
    fabric.routers["spb"].configure("router bgp 64802", "no bgp network import-check")
    time.sleep(2)
    fabric.record()
    with s.fault():
        for cycle in range(3):
            s.did("admin_reset", "spa: clear bgp of the leaf's IPv4 session", cycle=cycle)
            fabric.routers["spa"].vtysh(f"clear bgp {four(0, 1)}")
            if cycle == 0:
                time.sleep(1)
                s.did("announce", "spb: 12 more IPv4 prefixes; the leaf allows 48 from spb")
                fabric.routers["spb"].configure("router bgp 64802", "address-family ipv4 unicast", *[f"network 198.51.100.{n}/32" for n in range(192, 204)])
            time.sleep(6)


@scenario("rogue-server-and-arp-spoof", "two faults 1 s apart on one segment: a rogue DHCP server starts, and another guest claims a third guest's address by gratuitous ARP",
          root=kinds("dhcp.rogue-server", subject=r"192\.0\.2\.254$|02:00:5e:00:53:"), most=2,
          also=[{"root": kinds("neighbor.mac-flip", "address.conflict", subject=r"192\.0\.2\.140$")}], **{"not": [LINK, kinds("dhcp.starvation")]})
def rogue_server_and_arp_spoof(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2", "vm3", "vm4"), second=True)
    lan.server((60, 15, 40))
    net.addr("vm3", "eth0", "192.0.2.140/25")
    net.sh("hv", "ping", "-c1", "-W1", "192.0.2.140", check=False)
    lan.record()
    daemons.udhcpc(net, "vm1", "eth0")
    lan.bound("vm1")
    time.sleep(3)
    with s.fault():
        s.did("rogue_server_start", f"dh2 {SECOND}", router=SECOND, dns=SECOND)
        daemons.dnsmasq(net, "dh2", "eth0", "--dhcp-range=192.0.2.200,192.0.2.220,255.255.255.128,2m", "--dhcp-authoritative", f"--dhcp-option=3,{SECOND}", f"--dhcp-option=6,{SECOND}", "--no-ping")
        daemons.dhclient(net, "vm2", "eth0")
        time.sleep(1)
        s.did("garp_spoof_start", "vm4 claims 192.0.2.140, which vm3 has")
        ping = net.spawn("hv", "ping", "-i", "1", "192.0.2.140")
        spoof = net.spawn("vm4", "/usr/bin/python3", FORGE, "eth0", "garp", 20, "192.0.2.140")
        for _ in range(5):
            time.sleep(2)
            net.sh("vm3", "arping", "-c1", "-A", "-I", "eth0", "192.0.2.140", check=False)
        spoof.wait(20)
        daemons.stop(ping)


@scenario("link-flap-and-server-death", "two faults 1 s apart: the DHCP server of the guests dies, and an uplink's carrier flaps 3 times on the same host (BIRD)",
          root=kinds("link.flap", subject="link:pe0$", count=[3, 3]), effects=[session(TO_SPA, "link-down")], most=2,
          also=[{"root": kinds("dhcp.server-unresponsive", subject=r"192\.0\.2\.129$")}], **{"not": [session(TO_SPB)]})
def link_flap_and_server_death(net, s):
    fabric = Fabric(net, s, Plan(leaf="bird", mid_session=True))
    lan = Segment(net, s, host="leaf", guests=("vm1", "vm2"), new_host=False)
    kea = lan.server((120, 5, 90))
    fabric.record("vmbr0")
    daemons.dhclient(net, "vm1", "eth0")
    lan.bound("vm1")
    time.sleep(2)
    with s.fault():
        s.did("server_kill", f"dh1 {GATEWAY}: kea-dhcp4")
        daemons.kill(kea)
        daemons.dhclient(net, "vm2", "eth0")
        time.sleep(1)
        for cycle in range(3):
            s.did("carrier_down", "leaf:pe0 (spa:swp1 set down)", cycle=cycle)
            net.ip("spa", "link", "set", "swp1", "down")
            time.sleep(2)
            s.did("carrier_up", "leaf:pe0 (spa:swp1 set up)", cycle=cycle)
            net.ip("spa", "link", "set", "swp1", "up")
            time.sleep(5)


@scenario("two-origins-flap", "two prefixes of different origins flap at different pace, begun 1 s apart: a customer's every 1.2 s, and one of spb's own every 2 s",
          root=kinds("prefix.flap", subject=FLAPPER6 + "$"), most=2, also=[{"root": kinds("prefix.flap", subject=r"prefix:198\.51\.100\.201/32$")}], **{"not": [LINK, SESSION]})
def two_origins_flap(net, s):
    fabric = Fabric(net, s)
    spb = fabric.routers["spb"]
    spb.configure("router bgp 64802", "no bgp network import-check", "address-family ipv4 unicast", "network 198.51.100.201/32")
    wait("the prefix of spb", lambda: "198.51.100.201" in net.ip("leaf", "route"))
    fabric.record()
    with s.fault():
        flapping = threading.Thread(target=fabric.flap_origin, args=("flap6", 14, 0.6, 0.6))
        flapping.start()
        time.sleep(1)
        for cycle in range(8):
            s.did("withdraw", "spb: 198.51.100.201/32", cycle=cycle)
            spb.configure("router bgp 64802", "address-family ipv4 unicast", "no network 198.51.100.201/32")
            time.sleep(1)
            s.did("announce", "spb: 198.51.100.201/32", cycle=cycle)
            spb.configure("router bgp 64802", "address-family ipv4 unicast", "network 198.51.100.201/32")
            time.sleep(1)
        flapping.join()
    time.sleep(1)
