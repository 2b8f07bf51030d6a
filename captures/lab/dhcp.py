"""Scenarios of the DHCP segment, and of router advertisements."""
import time

from . import daemons
from .catalogue import DEFAULT_LOST, LINK, SESSION, kinds, scenario
from .net import wait
from .segment import GATEWAY, HOST, POOL, PREFIX6, SECOND, SUBNET, Segment

ROGUE_FINDINGS = kinds("dhcp.rogue-server")
STARVED = kinds("dhcp.starvation")


def uplink(net, s, address=None):
    """A host whose only way out is DHCP: hv:oob0 to dh1:lan0, no bridge."""
    net.ns("hv", forward=False)
    net.ns("dh1")
    mac = net.mac()
    net.cable("hv", "oob0", "dh1", "lan0", a_mac=mac)
    net.addr("dh1", "lan0", f"{GATEWAY}/25", f"{PREFIX6}::1/64")
    if address:
        net.addr("hv", "oob0", address)
    s.topology = {"nodes": {"hv": {"mac": mac}, "dh1": {"address": GATEWAY}}, "links": [["hv:oob0", "dh1:lan0"]]}


@scenario("lease-expiry-costs-route", "the DHCP server dies; the host's 12 s lease ends: its address goes and the default route with it",
          root=kinds("dhcp.lease-expired", "dhcp.server-unresponsive"), most=1, effects=[kinds("address.removed"), DEFAULT_LOST], **{"not": [LINK]})
def lease_expiry_costs_route(net, s):
    uplink(net, s)
    kea = daemons.kea4(net, "dh1", "lan0", SUBNET, POOL, GATEWAY, (12, 4, 8), GATEWAY)
    s.record("hv", ["oob0"])
    daemons.dhclient(net, "hv", "oob0")
    wait("a lease", daemons.has_address(net, "hv", "oob0"))
    time.sleep(6)
    with s.fault():
        s.did("server_kill", f"dh1 {GATEWAY}: kea-dhcp4")
        daemons.kill(kea)
        wait("the end of the lease", lambda: not daemons.has_address(net, "hv", "oob0")())
        time.sleep(6)


@scenario("lease-not-extended", "the DHCP server dies and its 20 s lease ends on a host that keeps a static second address: the default route from DHCP goes",
          root=kinds("dhcp.lease-expired", "dhcp.server-unresponsive"), most=1, effects=[kinds("address.removed")], **{"not": [LINK]})
def lease_not_extended(net, s):
    uplink(net, s, address="198.51.100.65/26")
    kea = daemons.kea4(net, "dh1", "lan0", SUBNET, POOL, GATEWAY, (20, 6, 14), GATEWAY)
    s.record("hv", ["oob0"])
    daemons.dhclient(net, "hv", "oob0")
    wait("a lease", daemons.has_address(net, "hv", "oob0"))
    time.sleep(8)
    with s.fault():
        s.did("server_kill", f"dh1 {GATEWAY}: kea-dhcp4")
        daemons.kill(kea)
        wait("the end of the lease", lambda: "192.0.2.1" not in net.ip("hv", "-4", "addr", "show", "oob0"))
        time.sleep(5)


@scenario("rogue-dhcp-server", "a second DHCP server (dnsmasq, 192.0.2.254) starts to offer itself as gateway and DNS; two clients boot during it",
          root=kinds("dhcp.rogue-server", subject=r"192\.0\.2\.254$|02:00:5e:00:53:"), most=1, **{"not": [STARVED]})
def rogue_dhcp_server(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2", "vm3"), second=True)
    lan.server((60, 15, 40))
    lan.record()
    daemons.udhcpc(net, "vm1", "eth0")
    lan.bound("vm1")
    time.sleep(3)
    with s.fault():
        s.did("rogue_server_start", f"dh2 {SECOND}", router=SECOND, dns=SECOND)
        rogue = daemons.dnsmasq(net, "dh2", "eth0", "--dhcp-range=192.0.2.200,192.0.2.220,255.255.255.128,2m", "--dhcp-authoritative",
                                f"--dhcp-option=3,{SECOND}", f"--dhcp-option=6,{SECOND}", "--no-ping")
        for guest in ("vm2", "vm3"):
            daemons.dhclient(net, guest, "eth0")
            time.sleep(4)
        s.did("rogue_server_stop", f"dh2 {SECOND}")
        daemons.stop(rogue)
    time.sleep(2)


@scenario("dhcp-server-unresponsive", "Kea is stopped for 20 s while two clients want leases and renewals; no lease ends",
          root=kinds("dhcp.server-unresponsive", subject=r"192\.0\.2\.129$"), most=1, **{"not": [STARVED, kinds("dhcp.rogue-server")]})
def dhcp_server_unresponsive(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2"))
    kea = lan.server((120, 6, 90))
    lan.record()
    daemons.dhclient(net, "vm1", "eth0")
    lan.bound("vm1")
    time.sleep(2)
    with s.fault():
        s.did("server_stop", f"dh1 {GATEWAY}: SIGSTOP")
        kea.send_signal(19)
        daemons.udhcpc(net, "vm2", "eth0")
        time.sleep(20)
        s.did("server_continue", f"dh1 {GATEWAY}: SIGCONT")
        kea.send_signal(18)
        lan.bound("vm2")
    time.sleep(3)


@scenario("address-moved-silently", "a guest's address is configured on a second guest too, while the first keeps it: ARP answers with two MACs",
          root=kinds("address.conflict", "neighbor.mac-flip", subject=r"192\.0\.2\.140$"), most=1)
def address_moved_silently(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2"))
    net.addr("vm1", "eth0", "192.0.2.140/25")
    net.sh("hv", "ping", "-c1", "-W1", "192.0.2.140", check=False)
    lan.record()
    with s.fault():
        s.did("address_add", "vm2: 192.0.2.140 (vm1 has it)")
        net.addr("vm2", "eth0", "192.0.2.140/25")
        for _ in range(4):
            for guest in ("vm1", "vm2"):
                net.sh(guest, "arping", "-c1", "-A", "-I", "eth0", "192.0.2.140", check=False)
            net.ip("hv", "neigh", "flush", "192.0.2.140")
            net.sh("hv", "ping", "-c1", "-W1", "192.0.2.140", check=False)
            time.sleep(1)


RA = f"""interface eth0 {{ AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultLifetime %d;
 prefix {PREFIX6}::/64 {{ AdvOnLink on; AdvAutonomous on; AdvValidLifetime 3600; AdvPreferredLifetime 1800; }}; }};
"""


def listen(net, s):
    """A segment whose host and guest take RAs."""
    lan = Segment(net, s, guests=("vm1",), address=False)
    net.sysctl("hv", **{"net.ipv6.conf.all.forwarding": 0, "net.ipv6.conf.vmbr0.accept_ra": 2})
    return lan


def has_default6(net, ns):
    return lambda: "default" in net.ip(ns, "-6", "route")


@scenario("ra-router-withdrawn", "radvd ends and says so with a last RA of lifetime 0: the host's IPv6 default route goes",
          root=kinds("ra.router-withdrawn", "route.default-lost"), most=1, findings=[kinds("ra.router-withdrawn")], **{"not": [LINK, kinds("ra.spoofed", "ra.rogue-router")]})
def ra_router_withdrawn(net, s):
    lan = listen(net, s)
    daemon = daemons.radvd(net, "dh1", RA % 60)
    wait("an IPv6 default route", has_default6(net, "hv"))
    lan.record()
    time.sleep(5)
    with s.fault():
        s.did("router_stop", "dh1: radvd (SIGTERM, final RA)")
        daemons.stop(daemon)
        time.sleep(6)


@scenario("ra-expired", "radvd dies without a word: the host's IPv6 default route ends with the 12 s router lifetime",
          root=kinds("ra.expired", "route.default-lost"), most=1, findings=[kinds("ra.expired")], **{"not": [LINK, kinds("ra.spoofed", "ra.rogue-router")]})
def ra_expired(net, s):
    lan = listen(net, s)
    daemon = daemons.radvd(net, "dh1", RA % 12)
    wait("an IPv6 default route", has_default6(net, "hv"))
    lan.record()
    time.sleep(5)
    with s.fault():
        s.did("router_kill", "dh1: radvd (SIGKILL)")
        daemons.kill(daemon)
        wait("the end of the default route", lambda: not has_default6(net, "hv")(), 40)
        time.sleep(3)


@scenario("benign-renewals", "three guests (two dhclient, one udhcpc) get 36 s leases and renew them")
def benign_renewals(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2", "vm3"))
    lan.server((36, 6, 24))
    lan.record()
    with s.fault():
        daemons.dhclient(net, "vm1", "eth0")
        daemons.dhclient(net, "vm2", "eth0")
        daemons.udhcpc(net, "vm3", "eth0")
        lan.bound("vm1", "vm2", "vm3")
        time.sleep(28)


@scenario("benign-renewals-v6", "a guest gets an IPv6 address from Kea by DHCPv6 and renews it; routes come by RA")
def benign_renewals_v6(net, s):
    lan = Segment(net, s, guests=("vm1",))
    daemons.radvd(net, "dh1", RA.replace("AdvSendAdvert on;", "AdvSendAdvert on; AdvManagedFlag on;").replace("AdvAutonomous on", "AdvAutonomous off") % 60)
    daemons.kea6(net, "dh1", "eth0", f"{PREFIX6}::/64", f"{PREFIX6}::1000-{PREFIX6}::1fff", (40, 6, 20))
    lan.record()
    with s.fault():
        daemons.dhclient(net, "vm1", "eth0", family="-6")
        lan.bound("vm1", family=6)
        time.sleep(20)


@scenario("benign-release-and-return", "a guest releases its lease at shutdown and comes back 4 s later, twice")
def benign_release_and_return(net, s):
    lan = Segment(net, s, guests=("vm1",))
    lan.server((60, 15, 40))
    lan.record()
    with s.fault():
        for cycle in range(2):
            # -R: RELEASE at the end, as an orderly shutdown does.
            client = daemons.udhcpc(net, "vm1", "eth0", "-R")
            lan.bound("vm1")
            time.sleep(3)
            s.did("release", "vm1", cycle=cycle)
            daemons.stop(client)
            time.sleep(4)
        daemons.udhcpc(net, "vm1", "eth0", "-R")
        lan.bound("vm1")
    time.sleep(2)


@scenario("benign-two-servers", "two Kea servers share a subnet with split pools and the same options (as an HA pair does): three guests take leases from either and renew them")
def benign_two_servers(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2", "vm3"), second=True)
    lan.server((60, 8, 30))
    lan.server((60, 8, 30), ns="dh2", pool="192.0.2.200 - 192.0.2.230")
    lan.record()
    with s.fault():
        for guest in ("vm1", "vm2", "vm3"):
            daemons.dhclient(net, guest, "eth0")
            time.sleep(1)
        lan.bound("vm1", "vm2", "vm3")
        time.sleep(20)


@scenario("benign-relay-other-source", "a relay whose packets to the server have another source than their giaddr; two guests behind it get and renew leases")
def benign_relay_other_source(net, s):
    # vm1, vm2 -- hv (relay: vmbr0 203.0.113.193, core0 198.51.100.90) -- dh1 (server, behind another network)
    net.ns("hv")
    net.ns("dh1")
    for guest in ("vm1", "vm2"):
        net.ns(guest, forward=False)
        net.cable("hv", f"tap-{guest}", guest, "eth0")
    net.bridge("hv", "vmbr0", ["tap-vm1", "tap-vm2"])
    net.cable("hv", "core0", "dh1", "eth0")
    net.addr("hv", "vmbr0", "203.0.113.193/27")
    net.addr("hv", "core0", "198.51.100.90/26")
    net.addr("dh1", "eth0", "198.51.100.91/26")
    net.ip("dh1", "route", "add", "203.0.113.192/27", "via", "198.51.100.90")
    s.topology = {"nodes": {"hv": {"relay": True, "giaddr": "203.0.113.193", "source": "198.51.100.90"}, "dh1": {"address": "198.51.100.91"}}, "links": []}
    daemons.kea4(net, "dh1", "eth0", "203.0.113.192/27", "203.0.113.200 - 203.0.113.210", "203.0.113.193", (40, 6, 20))
    daemons.dhcrelay(net, "hv", ["vmbr0"], ["core0"], "198.51.100.91")
    s.record("hv", ["vmbr0", "core0"])
    with s.fault():
        for guest in ("vm1", "vm2"):
            daemons.dhclient(net, guest, "eth0")
        for guest in ("vm1", "vm2"):
            wait(f"an address of {guest}", daemons.has_address(net, guest, "eth0"))
        time.sleep(16)


@scenario("benign-vrrp-failover", "keepalived moves a gateway address from one router to another, once, and back",
          findings=[])
def benign_vrrp_failover(net, s):
    lan = Segment(net, s, guests=("vm1",), second=True)
    net.addr("vm1", "eth0", "192.0.2.140/25")
    net.ip("vm1", "route", "add", "default", "via", "192.0.2.135")
    net.ip("hv", "route", "add", "default", "via", "192.0.2.135")
    first = daemons.keepalived(net, "dh1", "eth0", 120, "192.0.2.135/25")
    daemons.keepalived(net, "dh2", "eth0", 100, "192.0.2.135/25")
    wait("the virtual address on dh1", lambda: "192.0.2.135" in net.ip("dh1", "addr"))
    time.sleep(4)
    ping = net.spawn("hv", "ping", "-i", "0.5", "192.0.2.135")
    lan.record()
    with s.fault():
        s.did("vrrp_failover", "dh1 stops, dh2 takes 192.0.2.135")
        daemons.stop(first)
        time.sleep(6)
        s.did("vrrp_return", "dh1 is back and takes 192.0.2.135")
        daemons.keepalived(net, "dh1", "eth0", 120, "192.0.2.135/25")
        time.sleep(6)
    daemons.stop(ping)
