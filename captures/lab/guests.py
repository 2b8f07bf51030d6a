"""Scenarios of the DHCP segment in which guests misbehave, and a crowd of guests that does not."""
import pathlib
import time

from . import daemons
from .catalogue import LINK, kinds, scenario
from .segment import Segment

FORGE = pathlib.Path(__file__).with_name("forge.py")


@scenario("dhcp-starvation", "a guest takes all 31 addresses of the pool in the name of 45 made-up clients; an honest guest then gets none",
          root=kinds("dhcp.starvation"), most=1, findings=[kinds("dhcp.pool-exhausted", "dhcp.server-unresponsive")], **{"not": [kinds("dhcp.rogue-server"), LINK]})
def dhcp_starvation(net, s):
    lan = Segment(net, s, guests=("vm1", "vm2"))
    lan.server((600, 300, 500))
    lan.record()
    with s.fault():
        s.did("starvation", "vm1: 45 made-up clients")
        net.sh("vm1", "/usr/bin/python3", FORGE, "eth0", "starvation", 45)
        s.did("client_start", "vm2")
        daemons.udhcpc(net, "vm2", "eth0")
        time.sleep(8)


@scenario("dhcp-nak-storm", "a guest asks 24 times for an address of another network and is refused each time",
          root=kinds("dhcp.nak-storm", count=[22, 24]), most=1, **{"not": [kinds("dhcp.starvation", "dhcp.rogue-server"), LINK]})
def dhcp_nak_storm(net, s):
    lan = Segment(net, s, guests=("vm1",))
    lan.server((600, 300, 500))
    lan.record()
    with s.fault():
        s.did("requests", "vm1: 24 REQUESTs for 203.0.113.99")
        net.sh("vm1", "/usr/bin/python3", FORGE, "eth0", "nak", 24, "203.0.113.99")
        time.sleep(2)


@scenario("dhcp-client-churn", "a guest in a crash loop asks for a lease anew 14 times, about once a second, and never releases it (udhcpc)",
          root=kinds("dhcp.client-churn", "dhcp.request-storm", count=[12, 14]), most=1, **{"not": [kinds("dhcp.starvation"), LINK]})
def dhcp_client_churn(net, s):
    lan = Segment(net, s, guests=("vm1",))
    lan.server((120, 60, 90))
    lan.record()
    with s.fault():
        for cycle in range(14):
            s.did("client_run", "vm1: udhcpc -q", cycle=cycle)
            client = daemons.udhcpc(net, "vm1", "eth0", "-q", "-n")
            client.wait(10)
            time.sleep(0.8)


@scenario("benign-boot-storm", "20 guests boot at once after a power cut and get leases")
def benign_boot_storm(net, s):
    guests = tuple(f"vm{n}" for n in range(1, 21))
    lan = Segment(net, s, guests=guests)
    lan.server((120, 60, 90))
    lan.record()
    with s.fault():
        s.did("power_on", "vm1 to vm20")
        for guest in guests:
            daemons.udhcpc(net, guest, "eth0")
        lan.bound(*guests)
    time.sleep(3)
