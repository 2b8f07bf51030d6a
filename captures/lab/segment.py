"""The DHCP laboratory: a hypervisor `hv` with a bridge `vmbr0`, servers and guests on it.

    hv:vmbr0 192.0.2.130 -- dh1 192.0.2.129 (gateway, Kea)   vm1, vm2, … (clients)   dh2 192.0.2.254 (a second server)

Captures are taken on the bridge, which sees all of the segment.
"""
from . import daemons
from .net import wait

SUBNET, GATEWAY, HOST, SECOND = "192.0.2.128/25", "192.0.2.129", "192.0.2.130", "192.0.2.254"
POOL = "192.0.2.160 - 192.0.2.190"
PREFIX6 = "fd5a:67:1"


class Segment:
    def __init__(self, net, scenario, host="hv", guests=("vm1",), second=False, address=True, new_host=True):
        self.net, self.s, self.host = net, scenario, host
        members = {"dh1": GATEWAY, **({"dh2": SECOND} if second else {}), **{g: None for g in guests}}
        if new_host:
            net.ns(host)
        nodes = {host: {"bridge": "vmbr0", "address": HOST if address else None}}
        for name, own in members.items():
            net.ns(name, forward=own is not None)
            mac = net.mac()
            net.cable(host, f"tap-{name}", name, "eth0", b_mac=mac)
            nodes[name] = {"address": own, "mac": mac, "bridge_port": f"tap-{name}"}
        net.bridge(host, "vmbr0", [f"tap-{n}" for n in members])
        if address:
            net.addr(host, "vmbr0", f"{HOST}/25")
        for name, own in members.items():
            if own:
                net.addr(name, "eth0", f"{own}/25")
        net.addr("dh1", "eth0", f"{PREFIX6}::1/64")
        self.nodes = nodes
        scenario.topology = {"nodes": {**scenario.topology.get("nodes", {}), **nodes}, "links": scenario.topology.get("links", [])}

    def server(self, lease, ns="dh1", pool=POOL, router=GATEWAY, dns=GATEWAY, **more):
        return daemons.kea4(self.net, ns, "eth0", SUBNET, pool, router, lease, dns, **more)

    def bound(self, *guests, family=4):
        for guest in guests:
            wait(f"an address of {guest}", daemons.has_address(self.net, guest, "eth0", family))

    def record(self, *more_ports):
        self.s.record(self.host, ["vmbr0", *more_ports])
