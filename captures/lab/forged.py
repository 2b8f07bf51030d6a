"""Scenarios of the DHCP segment with a hostile or broken neighbor, and those of `dhcp.py` for IPv6 or with other daemons."""
import time

from . import daemons
from .catalogue import LINK, SESSION, kinds, scenario
from .dhcp import RA, STARVED, has_default6, listen, uplink
from .fabric import Fabric, Plan
from .guests import FORGE
from .net import wait
from .segment import GATEWAY, POOL, PREFIX6, SECOND, SUBNET, Segment


def forge(net, guest, *words):
    net.sh(guest, "/usr/bin/python3", FORGE, "eth0", *words)


@scenario("dhcp-decline-loop", "every address of the pool is in use by a static guest: udhcpc finds the conflict by ARP and declines what it is given, again and again",
          root=kinds("dhcp.decline-loop", "address.conflict"), most=1, findings=[kinds("dhcp.decline-loop", subject="client:02:00:5e:00:53:")], **{"not": [STARVED, kinds("dhcp.rogue-server"), LINK]})
def dhcp_decline_loop(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2"))
    net.addr("vm1", "eth0", "192.0.2.170/25", "192.0.2.171/25", "192.0.2.172/25")
    lan.server((60, 15, 40), pool="192.0.2.170 - 192.0.2.172", probation=2)
    lan.record()
    with s.fault():
        s.did("client_start", "vm2: udhcpc -a", conflict="192.0.2.170 to .172 are static on vm1")
        client = daemons.udhcpc(net, "vm2", "eth0", "-a")
        time.sleep(30)
        daemons.stop(client)


@scenario("dhcp-gateway-flip", "every renewal of a host brings another gateway (dnsmasq is told .129 and .254 in turns): its default route flips 6 times",
          root=kinds("dhcp.gateway-changed", "dhcp.route-injection", subject=r"server:192\.0\.2\.129$"), most=1, effects=[kinds("route.default-flap", subject="0.0.0.0/0$")], **{"not": [LINK]})
def dhcp_gateway_flip(net, s):
    uplink(net, s)
    net.addr("dh1", "lan0", f"{SECOND}/25")
    options = net.dir / "dhcp-options"
    options.write_text(f"option:router,{GATEWAY}\n")
    server = daemons.dnsmasq(net, "dh1", "lan0", "--dhcp-range=192.0.2.160,192.0.2.190,255.255.255.128,2m", "--dhcp-authoritative", "--no-ping", f"--dhcp-optsfile={options}",
                             f"--listen-address={GATEWAY}")
    s.record("hv", ["oob0"])
    client = daemons.udhcpc(net, "hv", "oob0")
    wait("a lease", daemons.has_address(net, "hv", "oob0"))
    time.sleep(3)
    with s.fault():
        for cycle in range(6):
            gateway = (SECOND, GATEWAY)[cycle % 2]
            s.did("server_config_change", f"dnsmasq: router {gateway}", cycle=cycle)
            options.write_text(f"option:router,{gateway}\n")
            server.send_signal(1)
            time.sleep(0.5)
            # As the hook scripts of NetworkManager and networkd do: the old gateway's route goes with the new lease.
            client.send_signal(10)
            time.sleep(0.7)
            net.sh("hv", "ip", "route", "del", "default", "via", (GATEWAY, SECOND)[cycle % 2], check=False)
            time.sleep(2.5)


@scenario("dhcp-relay-spoofed", "a guest sends 24 DISCOVERs as if it relayed for 203.0.113.129, every second one with option 82; nobody relays there",
          root=kinds("dhcp.relay-spoofed"), most=1, **{"not": [kinds("dhcp.rogue-server"), LINK]})
def dhcp_relay_spoofed(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2"))
    lan.server((60, 15, 40))
    lan.record()
    daemons.dhclient(net, "vm1", "eth0")
    lan.bound("vm1")
    time.sleep(2)
    with s.fault():
        s.did("giaddr_spoof", "vm2: giaddr 203.0.113.129", count=24)
        forge(net, "vm2", "relay", 24, "203.0.113.129")
    time.sleep(1)


@scenario("dhcp-hostile-names", "udhcpc sends host names and vendor classes with terminal escapes, line breaks, a bidirectional override and HTML",
          root=kinds("dhcp.hostile-text"), most=1, forbid_text=["(?m)^CRITICAL: all is lost"], **{"not": [STARVED, LINK]})
def dhcp_hostile_names(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2"))
    lan.server((60, 15, 40))
    lan.record()
    with s.fault():
        texts = ["\x1b[2J\x1b[1;1Hroot@hv:~# ", "a\r\nCRITICAL: all is lost", "abc\u202ecod.exe", "<img src=x onerror=alert(1)>\x07", "\x1b]0;pwned\x07name"]
        for text in texts:
            s.did("client_run", f"vm1: host name {text!r}")
            client = daemons.udhcpc(net, "vm1", "eth0", "-q", "-n", "-V", text, "-x", "0x0c:" + text.encode().hex())
            client.wait(10)
            time.sleep(2)
    time.sleep(1)


@scenario("dhcp-malformed", "a guest sends 39 DHCP packets that are broken in 13 ways: lengths that lie, no type, unknown overload, bad routes",
          root=kinds("dhcp.malformed"), most=2, **{"not": [STARVED, kinds("dhcp.rogue-server"), LINK]})
def dhcp_malformed(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2"))
    lan.server((60, 15, 40))
    lan.record()
    daemons.dhclient(net, "vm1", "eth0")
    lan.bound("vm1")
    with s.fault():
        s.did("malformed_start", "vm2")
        forge(net, "vm2", "malformed", 39)
    time.sleep(1)


@scenario("dhcp-option121-takeover", "a second DHCP server (dnsmasq) answers a booting host faster than the first and gives it two /1 routes by option 121: all its traffic goes there",
          root=kinds("dhcp.route-injection", "dhcp.rogue-server", subject=r"192\.0\.2\.254$|(0|128)\.0\.0\.0/1$|02:00:5e:00:53:"), most=1, findings=[kinds("dhcp.route-injection")], **{"not": [LINK]})
def dhcp_option121_takeover(net, s):
    lan = Segment(net, s, guests=("vm1",), second=True, address=False)
    kea = lan.server((60, 15, 40))
    lan.record()
    daemons.dhclient(net, "vm1", "eth0")
    lan.bound("vm1")
    time.sleep(2)
    with s.fault():
        s.did("rogue_server_start", f"dh2 {SECOND}", option121=f"0.0.0.0/1, 128.0.0.0/1 via {SECOND}")
        daemons.dnsmasq(net, "dh2", "eth0", "--dhcp-range=192.0.2.200,192.0.2.220,255.255.255.128,2m", "--dhcp-authoritative", "--no-ping",
                        f"--dhcp-option=3,{GATEWAY}", f"--dhcp-option-force=121,0.0.0.0/1,{SECOND},128.0.0.0/1,{SECOND}")
        # It answers first because the other is busy.
        kea.send_signal(19)
        s.did("client_start", "hv:vmbr0 udhcpc")
        daemons.udhcpc(net, "hv", "vmbr0")
        wait("a lease", daemons.has_address(net, "hv", "vmbr0"))
        kea.send_signal(18)
        time.sleep(6)


@scenario("dhcp-route-shadows-bgp-ipv4", "a BGP host takes a lease whose option 121 holds a /32 that BGP carries inside a /28: the traffic leaves by the DHCP network",
          root=kinds("dhcp.route-injection", "dhcp.rogue-server", "route.shadowed"), most=1, findings=[kinds("dhcp.route-injection"), kinds("route.shadowed", subject=r"198\.51\.100\.18[0-9](/\d+)?$|198\.51\.100\.176/28$")],
          **{"not": [SESSION, kinds("prefix.flap"), LINK]})
def dhcp_route_shadows_bgp_ipv4(net, s):
    fabric = Fabric(net, s, Plan(customer="exabgp"))
    lan = Segment(net, s, host="leaf", guests=("vm1",), new_host=False, address=False)
    fabric.routers["cust"].say("announce route 198.51.100.176/28 next-hop self")
    daemons.kea4(net, "dh1", "eth0", SUBNET, POOL, None, (60, 15, 40), options=[{"name": "classless-static-route", "code": 121, "csv-format": False, "data": "20C63364B4C0000281"}])
    wait("the /28", lambda: "198.51.100.176/28" in net.ip("leaf", "route"))
    fabric.record("vmbr0")
    with s.fault():
        s.did("client_start", "leaf:vmbr0 udhcpc", option121="198.51.100.180/32 via 192.0.2.129")
        daemons.udhcpc(net, "leaf", "vmbr0", "-O", "staticroutes")
        wait("a lease", daemons.has_address(net, "leaf", "vmbr0"))
        time.sleep(8)


@scenario("arp-gateway-spoofed", "a guest claims the gateway's IPv4 address with gratuitous ARP twice a second while the gateway lives",
          root=kinds("neighbor.mac-flip", "address.conflict", subject=r"192\.0\.2\.129$"), most=1, **{"not": [LINK]})
def arp_gateway_spoofed(net, s):
    Segment(net, s, guests=("vm1", "vm2")).record()
    with s.fault():
        s.did("garp_spoof_start", f"vm2 claims {GATEWAY}")
        ping = net.spawn("hv", "ping", "-i", "1", GATEWAY)
        spoof = net.spawn("vm2", "/usr/bin/python3", FORGE, "eth0", "garp", 20, GATEWAY)
        for _ in range(5):
            time.sleep(2)
            net.sh("dh1", "arping", "-c1", "-A", "-I", "eth0", GATEWAY, check=False)
        spoof.wait(20)
        daemons.stop(ping)


@scenario("nd-gateway-spoofed", "a guest claims the gateway's IPv6 address with overriding neighbor advertisements twice a second while the gateway lives",
          root=kinds("neighbor.mac-flip", "address.conflict", subject=f"{PREFIX6}::1$"), most=1, **{"not": [LINK]})
def nd_gateway_spoofed(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2"))
    net.addr("hv", "vmbr0", f"{PREFIX6}::2/64")
    net.sh("hv", "ping", "-c1", "-W1", f"{PREFIX6}::1", check=False)
    lan.record()
    with s.fault():
        s.did("na_spoof_start", f"vm2 claims {PREFIX6}::1")
        ping = net.spawn("hv", "ping", "-i", "1", f"{PREFIX6}::1")
        spoof = net.spawn("vm2", "/usr/bin/python3", FORGE, "eth0", "na", 20, f"{PREFIX6}::1")
        for _ in range(5):
            time.sleep(2)
            net.ip("hv", "neigh", "flush", "dev", "vmbr0")
        spoof.wait(20)
        daemons.stop(ping)


@scenario("duplicate-ip-ipv6", "one IPv6 address is configured on two guests at once: solicitations for it are answered with two MACs",
          root=kinds("address.conflict", "neighbor.mac-flip", subject=f"{PREFIX6}::140$"), most=1, **{"not": [LINK]})
def duplicate_ip_ipv6(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2"))
    net.addr("hv", "vmbr0", f"{PREFIX6}::2/64")
    net.addr("vm1", "eth0", f"{PREFIX6}::140/64")
    net.sh("hv", "ping", "-c1", "-W1", f"{PREFIX6}::140", check=False)
    lan.record()
    with s.fault():
        s.did("address_add", f"vm2: {PREFIX6}::140 (vm1 has it)")
        net.addr("vm2", "eth0", f"{PREFIX6}::140/64")
        for _ in range(6):
            net.ip("hv", "neigh", "flush", "dev", "vmbr0")
            net.sh("hv", "ping", "-c2", "-i0.3", "-W1", f"{PREFIX6}::140", check=False)
            time.sleep(1.5)


@scenario("ra-lifetime0-spoofed", "a guest sends RAs of lifetime 0 in the router's name, 4 times: the host's IPv6 default route goes and comes back with the next real RA",
          root=kinds("ra.spoofed", "ra.flap", subject=r"fe80::|02:00:5e:00:53:"), most=1, effects=[kinds("route.default-flap", "route.default-lost", subject="::/0$")], **{"not": [LINK]})
def ra_lifetime0_spoofed(net, s):
    lan = listen(net, s)
    daemons.radvd(net, "dh1", RA % 60)
    wait("an IPv6 default route", has_default6(net, "hv"))
    router = next(word for word in net.ip("hv", "-6", "route", "show", "default").split() if word.startswith("fe80"))
    lan.record()
    time.sleep(5)
    with s.fault():
        s.did("forged_ra", f"vm1 as {router}", lifetime=0, count=4)
        forge(net, "vm1", "ra", 4, router, 0)
    time.sleep(2)


@scenario("ra-rogue-router", "a guest begins to advertise itself as IPv6 router (radvd, another prefix) beside the real one: the host takes a second default route",
          root=kinds("ra.rogue-router"), most=1, **{"not": [LINK, kinds("ra.spoofed")]})
def ra_rogue_router(net, s):
    lan = listen(net, s)
    daemons.radvd(net, "dh1", RA % 60)
    wait("an IPv6 default route", has_default6(net, "hv"))
    lan.record()
    time.sleep(5)
    with s.fault():
        s.did("rogue_router_start", "vm1: radvd, fd5a:bad:1::/64, preference high")
        net.addr("vm1", "eth0", "fd5a:bad:1::1/64")
        net.sysctl("vm1", **{"net.ipv6.conf.all.forwarding": 1})
        daemons.radvd(net, "vm1", (RA % 60).replace(PREFIX6, "fd5a:bad:1").replace("AdvSendAdvert on;", "AdvSendAdvert on; AdvDefaultPreference high;"))
        time.sleep(12)


@scenario("dad-failed", "a guest has the IPv6 address that the host configures: duplicate address detection fails, the address stays unusable",
          root=kinds("address.dad-failed", "address.conflict", subject=f"{PREFIX6}::55"), most=1, **{"not": [LINK]})
def dad_failed(net, s):
    lan = Segment(net, s, guests=("vm1",))
    net.addr("vm1", "eth0", f"{PREFIX6}::55/64")
    net.sysctl("hv", **{"net.ipv6.conf.all.accept_dad": 1, "net.ipv6.conf.vmbr0.accept_dad": 1})
    lan.record()
    with s.fault():
        s.did("address_add", f"hv: {PREFIX6}::55 (vm1 has it)")
        net.addr("hv", "vmbr0", f"{PREFIX6}::55/64")
        time.sleep(6)


@scenario("dhcpv6-lease-expired", "the DHCPv6 server dies; the host's 16 s lease ends and its IPv6 address goes",
          root=kinds("dhcp.lease-expired", "dhcp.server-unresponsive"), most=1, effects=[kinds("address.removed")], **{"not": [LINK]})
def dhcpv6_lease_expired(net, s):
    uplink(net, s)
    daemons.radvd(net, "dh1", RA.replace("eth0", "lan0").replace("AdvSendAdvert on;", "AdvSendAdvert on; AdvManagedFlag on;").replace("AdvAutonomous on", "AdvAutonomous off") % 60)
    kea = daemons.kea6(net, "dh1", "lan0", f"{PREFIX6}::/64", f"{PREFIX6}::1000-{PREFIX6}::1fff", (16, 4, 9))
    s.record("hv", ["oob0"])
    daemons.dhclient(net, "hv", "oob0", family="-6")
    wait("a lease", daemons.has_address(net, "hv", "oob0", 6))
    time.sleep(7)
    with s.fault():
        s.did("server_kill", "dh1: kea-dhcp6")
        daemons.kill(kea)
        wait("the end of the lease", lambda: not daemons.has_address(net, "hv", "oob0", 6)(), 60)
        time.sleep(5)


@scenario("dhcpv6-server-unresponsive", "the DHCPv6 server is stopped for 25 s while one guest renews and another asks for its first lease",
          root=kinds("dhcp.server-unresponsive"), most=1, **{"not": [STARVED, kinds("dhcp.rogue-server"), LINK]})
def dhcpv6_server_unresponsive(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2"))
    daemons.radvd(net, "dh1", RA.replace("AdvSendAdvert on;", "AdvSendAdvert on; AdvManagedFlag on;").replace("AdvAutonomous on", "AdvAutonomous off") % 60)
    kea = daemons.kea6(net, "dh1", "eth0", f"{PREFIX6}::/64", f"{PREFIX6}::1000-{PREFIX6}::1fff", (120, 6, 60))
    lan.record()
    daemons.dhclient(net, "vm1", "eth0", family="-6")
    lan.bound("vm1", family=6)
    time.sleep(8)
    with s.fault():
        s.did("server_stop", "dh1: kea-dhcp6 (SIGSTOP)")
        kea.send_signal(19)
        daemons.dhclient(net, "vm2", "eth0", family="-6")
        time.sleep(25)
        s.did("server_continue", "dh1: kea-dhcp6 (SIGCONT)")
        kea.send_signal(18)
        time.sleep(6)


@scenario("dhcpv6-rogue-server", "a second DHCPv6 server (dnsmasq) with other addresses and itself as DNS appears; a guest boots during it",
          root=kinds("dhcp.rogue-server"), most=1, **{"not": [STARVED, LINK]})
def dhcpv6_rogue_server(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2"), second=True)
    net.addr("dh2", "eth0", f"{PREFIX6}::254/64")
    daemons.radvd(net, "dh1", RA.replace("AdvSendAdvert on;", "AdvSendAdvert on; AdvManagedFlag on;").replace("AdvAutonomous on", "AdvAutonomous off") % 60)
    daemons.kea6(net, "dh1", "eth0", f"{PREFIX6}::/64", f"{PREFIX6}::1000-{PREFIX6}::1fff", (120, 6, 60))
    lan.record()
    daemons.dhclient(net, "vm1", "eth0", family="-6")
    lan.bound("vm1", family=6)
    time.sleep(8)
    with s.fault():
        s.did("rogue_server_start", "dh2: dnsmasq", dns=f"{PREFIX6}::254")
        daemons.dnsmasq(net, "dh2", "eth0", f"--dhcp-range={PREFIX6}::9000,{PREFIX6}::9fff,64,2m", f"--dhcp-option=option6:dns-server,[{PREFIX6}::254]")
        daemons.dhclient(net, "vm2", "eth0", family="-6")
        lan.bound("vm2", family=6)
        time.sleep(8)


@scenario("dhcp-starvation-hidden", "made-up clients with made-up Ethernet sources empty a dnsmasq pool of 31 from one port; an honest guest then gets none",
          root=kinds("dhcp.starvation", "dhcp.pool-exhausted"), most=1, findings=[kinds("dhcp.pool-exhausted", "dhcp.server-unresponsive")], **{"not": [kinds("dhcp.rogue-server"), LINK]})
def dhcp_starvation_hidden(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2"))
    daemons.dnsmasq(net, "dh1", "eth0", "--dhcp-range=192.0.2.160,192.0.2.190,255.255.255.128,10m", "--dhcp-authoritative", "--no-ping", f"--dhcp-option=3,{GATEWAY}")
    lan.record()
    with s.fault():
        s.did("starvation", "vm1: 60 made-up clients, each with an Ethernet source of its own")
        forge(net, "vm1", "hidden-starvation", 60)
        s.did("client_start", "vm2")
        daemons.udhcpc(net, "vm2", "eth0")
        time.sleep(10)


@scenario("dhcp-server-unresponsive-dnsmasq", "dnsmasq is killed while two udhcpc guests hold leases and a third boots; it does not come back",
          root=kinds("dhcp.server-unresponsive", subject=r"192\.0\.2\.129$"), most=1, **{"not": [STARVED, kinds("dhcp.rogue-server"), LINK]})
def dhcp_server_unresponsive_dnsmasq(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2", "vm3"))
    server = daemons.dnsmasq(net, "dh1", "eth0", "--dhcp-range=192.0.2.160,192.0.2.190,255.255.255.128,2m", "--dhcp-authoritative", "--no-ping", f"--dhcp-option=3,{GATEWAY}")
    lan.record()
    clients = [daemons.udhcpc(net, guest, "eth0") for guest in ("vm1", "vm2")]
    lan.bound("vm1", "vm2")
    time.sleep(2)
    with s.fault():
        s.did("server_kill", "dh1: dnsmasq")
        daemons.kill(server)
        s.did("client_start", "vm3")
        daemons.udhcpc(net, "vm3", "eth0")
        time.sleep(4)
        for client in clients:
            client.send_signal(10)
        time.sleep(20)


@scenario("cloned-machine-id", "two guests cloned from one image ask with one client identifier: the server gives both the same address and they fight over it",
          root=kinds("dhcp.identity-conflict", "dhcp.duplicate-lease", "address.conflict"), most=1, **{"not": [STARVED, LINK]})
def cloned_machine_id(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2"))
    lan.server((60, 15, 40))
    lan.record()
    # An RFC 4361 client identifier: IAID, then a DUID-EN of systemd's enterprise number and a hash of /etc/machine-id.
    identity = "0x3d:ff00000001000200" + "00ab11" + "5e4c0b1f2a3d4e5f"
    with s.fault():
        for cycle in range(4):
            for guest in ("vm1", "vm2"):
                s.did("client_run", f"{guest}: udhcpc with the shared identifier", cycle=cycle)
                client = daemons.udhcpc(net, guest, "eth0", "-q", "-n", "-C", "-x", identity)
                client.wait(10)
                net.sh(guest, "ping", "-c1", "-W1", GATEWAY, check=False)
                time.sleep(1.5)
