"""Scenarios in which nothing is wrong although much happens: planned work, crowds, routine."""
import time

from . import daemons
from .catalogue import scenario
from .daemons import Bird, stop
from .dhcp import RA, has_default6, listen
from .fabric import ASN, Fabric, Plan, four, six
from .guests import FORGE
from .net import wait
from .segment import PREFIX6, Segment


@scenario("benign-anycast", "two anycast prefixes of two origin ASes, there from the start (BMP tells both): one site is drained for 6 s and comes back")
def benign_anycast(net, s):
    fabric = Fabric(net, s, Plan(bmp=("spa", "spb")))
    site, prefixes = fabric.site(), ("203.0.113.250/32", "3fff:100:3::/48")
    site.say(*[f"announce route {p} next-hop self" for p in prefixes])
    time.sleep(3)
    fabric.record()
    with s.fault():
        s.did("site_drained", "AS64998: both prefixes (AS64999 and AS64900 announce them too)")
        site.say(*[f"withdraw route {p} next-hop self" for p in prefixes])
        time.sleep(6)
        s.did("site_returns", "AS64998")
        site.say(*[f"announce route {p} next-hop self" for p in prefixes])
        time.sleep(6)


@scenario("benign-pxe-nearly-empty", "29 machines of one rack boot by PXE within 10 s; 2 of the pool's 31 addresses are left, and a guest still gets one")
def benign_pxe_nearly_empty(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2"))
    lan.server((600, 300, 500))
    lan.record()
    with s.fault():
        s.did("power_on", "29 machines behind vm1's port")
        net.sh("vm1", "/usr/bin/python3", FORGE, "eth0", "pxe", 29)
        s.did("client_start", "vm2")
        daemons.udhcpc(net, "vm2", "eth0")
        lan.bound("vm2")
    time.sleep(4)


@scenario("benign-pod-rollout", "a roll-out of 100 pods on a BGP host: 100 veths come with their /32 routes, half of them are replaced by others within seconds")
def benign_pod_rollout(net, s):
    fabric = Fabric(net, s, Plan(mid_session=True))
    net.ns("pods")

    def start(numbers):
        for n in numbers:
            # Calico gives its host ends one and the same address.
            net.cable("leaf", f"cali{n:04x}", "pods", f"e{n}", a_mac="ee:ee:ee:ee:ee:ee", b_mac=f"02:00:5e:01:00:{n:02x}")
            net.ip("leaf", "route", "add", f"198.18.0.{n}/32", "dev", f"cali{n:04x}", "scope", "link")

    def end(numbers):
        for n in numbers:
            net.ip("leaf", "link", "del", f"cali{n:04x}")
    fabric.record()
    with s.fault():
        s.did("rollout_start", "100 pods")
        start(range(100))
        time.sleep(1)
        for batch in range(5):
            s.did("replace", "10 pods", batch=batch)
            end(range(batch * 10, batch * 10 + 10))
            start(range(100 + batch * 10, 110 + batch * 10))
        time.sleep(3)


@scenario("benign-release-through-router", "a guest behind a relay gets a lease, renews it through the router and releases it: the server sees the router's MAC and a source that is not on its link")
def benign_release_through_router(net, s):
    # vm1 -- rl (relay and router: 203.0.113.193, 198.51.100.90) -- hv (server 198.51.100.91, captured)
    for name in ("vm1", "rl", "hv"):
        net.ns(name, forward=name == "rl")
    net.cable("rl", "lan0", "vm1", "eth0")
    net.cable("rl", "core0", "hv", "eth0")
    net.addr("rl", "lan0", "203.0.113.193/27")
    net.addr("rl", "core0", "198.51.100.90/26")
    net.addr("hv", "eth0", "198.51.100.91/26")
    net.ip("hv", "route", "add", "203.0.113.192/27", "via", "198.51.100.90")
    s.topology = {"nodes": {"rl": {"relay": True, "giaddr": "203.0.113.193"}, "hv": {"address": "198.51.100.91"}}, "links": []}
    daemons.kea4(net, "hv", "eth0", "203.0.113.192/27", "203.0.113.200 - 203.0.113.210", "203.0.113.193", (16, 5, 12))
    daemons.dhcrelay(net, "rl", ["lan0"], ["core0"], "198.51.100.91")
    s.record("hv", ["eth0"])
    with s.fault():
        for cycle in range(2):
            client = daemons.dhclient(net, "vm1", "eth0")
            wait("a lease", daemons.has_address(net, "vm1", "eth0"))
            # The first one longer than the lease: it lives by its renewals.
            time.sleep((24, 9)[cycle])
            s.did("release", "vm1: dhclient -r", cycle=cycle)
            stop(client)
            files = [net.dir / f"dhclient-vm1-eth0-4.{kind}" for kind in ("leases", "pid")]
            etc = net.dir / "etc"
            net.sh("vm1", "unshare", "-m", "-u", "sh", "-c", f'mount --bind {etc} /etc && exec "$@"', "sh", "dhclient", "-4", "-r", "-lf", files[0], "-pf", files[1], "eth0", check=False)
            time.sleep(3)
        # No lease is left: nothing will be missed.


@scenario("benign-vip-failover-bgp", "two load balancers announce one address by BGP as long as keepalived gives it to them: one planned fail-over, and back")
def benign_vip_failover_bgp(net, s):
    # Both are behind the spines: lba at spa, lbb at spb, joined by a segment on which VRRP runs.
    fabric = Fabric(net, s)
    address, speakers = "198.51.100.250", []
    for name, spine, index in (("lba", "spa", 8), ("lbb", "spb", 9)):
        net.ns(name)
        net.cable(name, "up0", spine, f"x-{name}")
        net.addr(name, "up0", f"{four(index, 1)}/31")
        net.addr(spine, f"x-{name}", f"{four(index, 0)}/31")
        fabric.routers[spine].configure(f"router bgp {ASN[spine]}", f"neighbor {four(index, 1)} remote-as 64990", "address-family ipv4 unicast", f"neighbor {four(index, 1)} activate")
    net.cable("lba", "ha0", "lbb", "ha0")
    for name, last in (("lba", 33), ("lbb", 34)):
        net.addr(name, "ha0", f"192.0.2.{last}/28")
    for name, spine, index in (("lba", "spa", 8), ("lbb", "spb", 9)):
        text = (f"router id {four(index, 1)}; protocol device {{ scan time 1; }} protocol direct {{ ipv4; interface \"lo\"; }}"
                f" protocol bgp up {{ local {four(index, 1)} as 64990; neighbor {four(index, 0)} as {ASN[spine]}; hold time 9; connect retry time 1; error wait time 1, 2;"
                f" ipv4 {{ import none; export where source = RTS_DEVICE && net = {address}/32; }}; }}")
        speakers.append(Bird(net, name, text))
    first = daemons.keepalived(net, "lba", "ha0", 120, f"{address}/32 dev lo")
    daemons.keepalived(net, "lbb", "ha0", 100, f"{address}/32 dev lo")
    for speaker in speakers:
        wait("the load balancers' sessions", speaker.established("up"))
    wait("the address on the leaf", lambda: address in net.ip("leaf", "route"))
    time.sleep(5)
    fabric.record()
    with s.fault():
        s.did("failover", "lba's keepalived stops, lbb takes the address")
        stop(first)
        time.sleep(9)
        s.did("return", "lba's keepalived starts, takes the address again")
        daemons.keepalived(net, "lba", "ha0", 120, f"{address}/32 dev lo")
        time.sleep(9)


@scenario("benign-rebind-by-broadcast", "a firewall on the router drops unicast renewals: two guests behind a relay renew at T2 by broadcast, as they should, and keep their leases")
def benign_rebind_by_broadcast(net, s):
    # vm1, vm2 -- hv (relay and router) -- dh1 (server)
    for name in ("hv", "dh1"):
        net.ns(name)
    for guest in ("vm1", "vm2"):
        net.ns(guest, forward=False)
        net.cable("hv", f"tap-{guest}", guest, "eth0")
    net.bridge("hv", "vmbr0", ["tap-vm1", "tap-vm2"])
    net.cable("hv", "core0", "dh1", "eth0")
    net.addr("hv", "vmbr0", "203.0.113.193/27")
    net.addr("hv", "core0", "198.51.100.90/26")
    net.addr("dh1", "eth0", "198.51.100.91/26")
    net.ip("dh1", "route", "add", "203.0.113.192/27", "via", "198.51.100.90")
    s.topology = {"nodes": {"hv": {"relay": True, "giaddr": "203.0.113.193"}, "dh1": {"address": "198.51.100.91"}}, "links": []}
    net.sh("hv", "nft", "add table inet lab; add chain inet lab f { type filter hook forward priority 0; policy accept; }; add rule inet lab f udp dport 67 drop")
    daemons.kea4(net, "dh1", "eth0", "203.0.113.192/27", "203.0.113.200 - 203.0.113.210", "203.0.113.193", (40, 6, 10))
    daemons.dhcrelay(net, "hv", ["vmbr0"], ["core0"], "198.51.100.91")
    s.record("hv", ["vmbr0", "core0"])
    with s.fault():
        for guest in ("vm1", "vm2"):
            daemons.dhclient(net, guest, "eth0")
        for guest in ("vm1", "vm2"):
            wait(f"an address of {guest}", daemons.has_address(net, guest, "eth0"))
        time.sleep(32)


@scenario("benign-bird-reload", "an operator reloads the transit's BIRD twice with a changed filter that touches nothing announced, and refreshes spa's routes")
def benign_bird_reload(net, s):
    fabric = Fabric(net, s, Plan(leaf="bird"))
    tra = fabric.routers["tra"]
    fabric.record()
    with s.fault():
        for cycle in range(2):
            s.did("configure", "tra: birdc configure", cycle=cycle)
            tra.conf.write_text(tra.conf.read_text().replace("import all;", "import filter { if net ~ 198.18.0.0/15 then reject; accept; };" if cycle == 0 else "import all;", 1))
            tra.birdc("configure")
            time.sleep(4)
        s.did("reload_in", "leaf: birdc reload in spa4, spa6")
        for protocol in ("spa4", "spa6"):
            fabric.routers["leaf"].birdc("reload", "in", protocol)
        time.sleep(5)


@scenario("benign-clear-soft", "an operator of the host clears all its sessions softly, in and out, once each, after a change of policy")
def benign_clear_soft(net, s):
    fabric = Fabric(net, s)
    leaf = fabric.routers["leaf"]
    fabric.record()
    with s.fault():
        s.did("clear_soft", "leaf: clear bgp * soft out")
        leaf.vtysh("clear bgp * soft out")
        time.sleep(4)
        s.did("clear_soft", "leaf: clear bgp * soft in")
        leaf.vtysh("clear bgp ipv4 unicast * soft in")
        leaf.vtysh("clear bgp ipv6 unicast * soft in")
        time.sleep(4)
        s.did("clear_soft", "spa: clear bgp * soft out")
        fabric.routers["spa"].vtysh("clear bgp * soft out")
        time.sleep(4)


@scenario("benign-drain", "planned maintenance of spb: it drains itself with GRACEFUL_SHUTDOWN (RFC 8326), then shuts its sessions to the leaf with a message, and comes back")
def benign_drain(net, s):
    fabric = Fabric(net, s)
    spb, peers = fabric.routers["spb"], (four(1, 1), six(1, 1))
    fabric.routers["leaf"].configure(
        "bgp community-list standard gshut permit graceful-shutdown", "route-map in permit 5", "match community gshut", "set local-preference 0", "route-map in permit 10",
        f"router bgp {ASN['leaf']}", "address-family ipv4 unicast", f"neighbor {four(1, 0)} route-map in in", "address-family ipv6 unicast", f"neighbor {six(1, 0)} route-map in in")
    time.sleep(3)
    fabric.record()
    with s.fault():
        s.did("drain", "spb: graceful-shutdown community on all it announces")
        spb.configure("route-map gshut permit 10", "set community graceful-shutdown additive", "router bgp 64802",
                      "address-family ipv4 unicast", f"neighbor {peers[0]} route-map gshut out", "address-family ipv6 unicast", f"neighbor {peers[1]} route-map gshut out")
        time.sleep(4)
        s.did("admin_shutdown", "spb: sessions to the leaf", text="CHG-3310 firmware")
        spb.configure("router bgp 64802", *[f"neighbor {a} shutdown message CHG-3310 firmware" for a in peers])
        time.sleep(6)
        s.did("admin_enable", "spb: sessions to the leaf")
        spb.configure("router bgp 64802", *[f"no neighbor {a} shutdown" for a in peers],
                      "address-family ipv4 unicast", f"no neighbor {peers[0]} route-map gshut out", "address-family ipv6 unicast", f"no neighbor {peers[1]} route-map gshut out")
        wait("the sessions again", spb.established(*peers))
        time.sleep(6)


@scenario("benign-bmp-reconnect-gobgp", "the BMP station is restarted twice; GoBGP on the host tells it all again, nothing happened in the network")
def benign_bmp_reconnect_gobgp(net, s):
    fabric = Fabric(net, s, Plan(leaf="gobgp", bmp=("leaf",)))
    fabric.record()
    time.sleep(6)
    with s.fault():
        for cycle in range(2):
            s.did("station_stop", "mon", cycle=cycle)
            stop(fabric.station)
            time.sleep(3)
            s.did("station_start", "mon", cycle=cycle)
            fabric.start_station()
            time.sleep(12)


@scenario("benign-dual-routers", "two routers advertise the same prefix on one link, one of them with the default route at low preference; both stay")
def benign_dual_routers(net, s):
    lan = listen(net, s)
    net.sysctl("vm1", **{"net.ipv6.conf.all.forwarding": 1})
    net.addr("vm1", "eth0", f"{PREFIX6}::3/64")
    daemons.radvd(net, "dh1", RA % 60)
    daemons.radvd(net, "vm1", (RA % 60).replace("AdvSendAdvert on;", "AdvSendAdvert on; AdvDefaultPreference low;"))
    wait("two IPv6 default routes", lambda: net.ip("hv", "-6", "route", "show", "default").count("fe80") == 2)
    lan.record()
    with s.fault():
        time.sleep(20)


@scenario("benign-second-router", "a second IPv6 router of the same prefix is put into service beside the first while the host watches")
def benign_second_router(net, s):
    lan = listen(net, s)
    net.sysctl("vm1", **{"net.ipv6.conf.all.forwarding": 1})
    net.addr("vm1", "eth0", f"{PREFIX6}::3/64")
    daemons.radvd(net, "dh1", RA % 60)
    wait("an IPv6 default route", has_default6(net, "hv"))
    lan.record()
    time.sleep(5)
    with s.fault():
        s.did("router_start", "vm1: radvd, the same prefix")
        daemons.radvd(net, "vm1", RA % 60)
        time.sleep(14)


@scenario("benign-privacy-addresses", "a host with IPv6 privacy extensions makes new temporary addresses and drops old ones, every few seconds")
def benign_privacy_addresses(net, s):
    lan = listen(net, s)
    net.sysctl("hv", **{"net.ipv6.conf.vmbr0.use_tempaddr": 2, "net.ipv6.conf.vmbr0.temp_prefered_lft": 8, "net.ipv6.conf.vmbr0.temp_valid_lft": 16,
                        "net.ipv6.conf.vmbr0.max_desync_factor": 1, "net.ipv6.conf.vmbr0.regen_max_retry": 3})
    daemons.radvd(net, "dh1", RA % 60)
    wait("an IPv6 default route", has_default6(net, "hv"))
    lan.record()
    with s.fault():
        time.sleep(32)


@scenario("benign-vm-restart", "three guests are restarted one after the other: their tap ports go and come, they ask for their leases again")
def benign_vm_restart(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2", "vm3"))
    lan.server((60, 15, 40))
    clients = {guest: daemons.udhcpc(net, guest, "eth0") for guest in ("vm1", "vm2", "vm3")}
    lan.bound("vm1", "vm2", "vm3")
    lan.record()
    with s.fault():
        for guest, mac in ((g, lan.nodes[g]["mac"]) for g in ("vm1", "vm2", "vm3")):
            s.did("guest_stop", guest)
            stop(clients[guest])
            net.ip("hv", "link", "del", f"tap-{guest}")
            time.sleep(2)
            s.did("guest_start", guest)
            net.cable("hv", f"tap-{guest}", guest, "eth0", b_mac=mac)
            net.ip("hv", "link", "set", f"tap-{guest}", "master", "vmbr0")
            daemons.udhcpc(net, guest, "eth0")
            lan.bound(guest)
            time.sleep(2)


@scenario("benign-new-peer", "a third session is configured on the host and brings its table; nothing else changes")
def benign_new_peer(net, s):
    fabric = Fabric(net, s)
    net.ns("spc")
    net.cable("leaf", "pe2", "spc", "swp1")
    net.addr("leaf", "pe2", f"{four(10, 1)}/31")
    net.addr("spc", "swp1", f"{four(10, 0)}/31")
    routes = " ".join(f"route 203.0.113.{n}/32 blackhole;" for n in range(64, 96))
    Bird(net, "spc", f"router id {four(10, 0)}; protocol device {{}} protocol static {{ ipv4; {routes} }} protocol bgp leaf {{ local {four(10, 0)} as 64803; neighbor {four(10, 1)} as {ASN['leaf']}; "
         "hold time 9; connect retry time 1; error wait time 1, 2; passive; ipv4 { import all; export all; }; }")
    fabric.record("pe2")
    with s.fault():
        s.did("configure", f"leaf: neighbor {four(10, 0)}")
        fabric.routers["leaf"].configure(f"router bgp {ASN['leaf']}", f"neighbor {four(10, 0)} remote-as 64803", f"neighbor {four(10, 0)} timers connect 1",
                                         "address-family ipv4 unicast", f"neighbor {four(10, 0)} activate", f"neighbor {four(10, 0)} prefix-list own-ipv4 out")
        wait("the new session", fabric.routers["leaf"].established(four(10, 0), least=32))
        time.sleep(5)


@scenario("benign-more-specific", "a provider announces a part of its customer's prefix beside the whole (traffic engineering), and keeps it")
def benign_more_specific(net, s):
    fabric = Fabric(net, s, Plan(customer="exabgp"))
    fabric.routers["cust"].say("announce route 198.51.100.176/28 next-hop self")
    time.sleep(2)
    fabric.record()
    with s.fault():
        s.did("announce", "spb: 198.51.100.184/30 (AS64999 has 198.51.100.176/28)")
        fabric.routers["spb"].configure("router bgp 64802", "no bgp network import-check", "address-family ipv4 unicast", "network 198.51.100.184/30")
        time.sleep(9)
