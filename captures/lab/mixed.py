"""Scenarios in which DHCP and BGP meet on one host."""
import threading
import time

from . import daemons
from .catalogue import DEFAULT_LOST, LINK, kinds, scenario, session
from .daemons import Frr
from .fabric import PORT, STATION, Fabric, Plan
from .net import wait
from .segment import GATEWAY, POOL, SUBNET, Segment


@scenario("dual-fault", "two faults that have nothing to do with each other, 1 s apart: a customer's prefix flaps, and the DHCP server of the guests dies",
          root=kinds("prefix.flap", subject=r"prefix:203\.0\.113\.240/32$", count=[11, 13]), most=2, findings=[kinds("dhcp.server-unresponsive", subject=r"192\.0\.2\.129$")],
          also=[{"root": kinds("dhcp.server-unresponsive", subject=r"192\.0\.2\.129$")}],
          **{"not": [LINK, kinds("session.flap", "session.down")]})
def dual_fault(net, s):
    fabric = Fabric(net, s)
    lan = Segment(net, s, host="leaf", guests=("vm1", "vm2"), new_host=False)
    kea = lan.server((120, 5, 90))
    fabric.record("vmbr0")
    daemons.dhclient(net, "vm1", "eth0")
    lan.bound("vm1")
    time.sleep(2)
    with s.fault():
        flapping = threading.Thread(target=fabric.flap_origin, args=("flap4", 12, 0.7, 0.7))
        flapping.start()
        time.sleep(1)
        s.did("server_kill", f"dh1 {GATEWAY}: kea-dhcp4")
        daemons.kill(kea)
        daemons.dhclient(net, "vm2", "eth0")
        flapping.join()
    time.sleep(3)


@scenario("lease-expiry-breaks-bgp", "the DHCP server dies, the host's 12 s lease ends, its address goes and with it the BGP session that used it",
          root=kinds("dhcp.lease-expired", "dhcp.server-unresponsive"), most=1,
          effects=[kinds("address.removed"), session(r"peer:192\.0\.2\.(129|16\d)$", "address-lost|hold-timer-expired|tcp-closed|tcp-reset")],
          **{"not": [LINK, kinds("session.flap", "session.down", reason="admin")]})
def lease_expiry_breaks_bgp(net, s):
    for name in ("hv", "dh1", "mon"):
        net.ns(name)
    mac = net.mac()
    net.cable("hv", "oob0", "dh1", "lan0", a_mac=mac)
    net.cable("dh1", "mgt", "mon", "brm")
    net.addr("dh1", "lan0", f"{GATEWAY}/25")
    net.addr("dh1", "mgt", "198.51.100.141/25")
    net.addr("mon", "brm", f"{STATION}/25")
    s.topology = {"nodes": {"hv": {"mac": mac, "as": 64750}, "dh1": {"address": GATEWAY, "as": 64700}, "mon": {"bmp_station": f"{STATION}:{PORT}"}}, "links": [["hv:oob0", "dh1:lan0"]]}
    net.spawn("mon", "/usr/bin/python3", __file__.replace("mixed.py", "bmp.py"), STATION, PORT, log="station")
    kea = daemons.kea4(net, "dh1", "lan0", SUBNET, POOL, GATEWAY, (12, 4, 8))
    common = " no bgp ebgp-requires-policy\n timers bgp 3 9\n"
    routes = "".join(f"  network 203.0.113.{n}/32\n" for n in range(12))
    net.ip("dh1", "route", "add", "blackhole", "203.0.113.0/24")
    Frr(net, "dh1", f"router bgp 64700\n bgp router-id {GATEWAY}\n{common} no bgp network import-check\n neighbor 192.0.2.160 remote-as 64750\n"
        f" neighbor 192.0.2.160 timers connect 1\n neighbor 192.0.2.160 passive\n address-family ipv4 unicast\n{routes} exit-address-family\n"
        f" bmp targets mon\n  bmp connect {STATION} port {PORT} min-retry 1000 max-retry 2000\n  bmp monitor ipv4 unicast post-policy\n exit\n")
    s.record("hv", ["oob0"], station=("mon", "brm", PORT))
    daemons.dhclient(net, "hv", "oob0")
    wait("a lease", daemons.has_address(net, "hv", "oob0"))
    host = Frr(net, "hv", f"router bgp 64750\n bgp router-id 198.51.100.8\n{common} neighbor {GATEWAY} remote-as 64700\n neighbor {GATEWAY} timers connect 1\n")
    wait("the session", host.established(GATEWAY, least=12))
    time.sleep(6)
    with s.fault():
        s.did("server_kill", f"dh1 {GATEWAY}: kea-dhcp4")
        daemons.kill(kea)
        wait("the end of the lease", lambda: not daemons.has_address(net, "hv", "oob0")())
        time.sleep(14)


@scenario("benign-lease-and-hold-truncated", "nothing is wrong yet: the capture ends 2 s into a silence that neither the lease (40 s) nor the hold time (30 s) has outlived")
def benign_lease_and_hold_truncated(net, s):
    fabric = Fabric(net, s, Plan(hold=30))
    lan = Segment(net, s, host="leaf", guests=("vm1",), new_host=False)
    kea = lan.server((40, 5, 30))
    fabric.record("vmbr0")
    daemons.dhclient(net, "vm1", "eth0")
    lan.bound("vm1")
    time.sleep(12)
    with s.fault():
        s.did("packet_loss_start", "all IP between leaf and spa, 2 s before the end")
        net.drop("spa", "lab", '$if "swp1"')
        s.did("server_stop", f"dh1 {GATEWAY}: SIGSTOP, 2 s before the end")
        kea.send_signal(19)
        time.sleep(2)
