"""The routed laboratory: a host with two uplinks, two top-of-rack routers, a transit and a customer behind it.

    leaf (AS4200000101) --pe0-- spa (AS64801) --\\
         198.51.100.7/32                          tra (AS64900, BIRD) --- cust (AS64999, BIRD)
                        --pe1-- spb (AS64802) --/
                mon: BMP station 198.51.100.129:11019 on a management bridge

IPv4 and IPv6 have sessions of their own. Addresses are those for documentation (RFC 5737, RFC 9637) and ULA, AS numbers private.
"""
import dataclasses
import time

from .daemons import Bird, Frr
from .net import wait
from .speakers import Exabgp, Gobgp

STATION, PORT = "198.51.100.129", 11019
ASN = {"leaf": 4200000101, "spa": 64801, "spb": 64802, "tra": 64900, "cust": 64999}
# Of each cable: both ends, and the index of its /31 and /64.
CABLES = [("leaf", "pe0", "spa", "swp1", 0), ("leaf", "pe1", "spb", "swp1", 1), ("spa", "swp49", "tra", "xa", 4), ("spb", "swp49", "tra", "xb", 5), ("tra", "cu0", "cust", "tr0", 6)]
MANAGEMENT = {"leaf": 140, "spa": 141, "spb": 142}
FLAPPER4, FLAPPER6 = "203.0.113.240/32", "3fff:f00:1::/48"
# An address of the customer's that can move elsewhere.
ELASTIC4 = "203.0.113.250/32"


def four(index, side):
    """Side 0 is the router further up, 1 the one further down."""
    return f"192.0.2.{2 * index + side}"


def six(index, side):
    return f"fd5a:1f:{index + 1:x}::{side + 1}"


@dataclasses.dataclass
class Plan:
    """What of the fabric a scenario wants."""
    # frr, bird or gobgp (which installs no route).
    leaf: str = "frr"
    # The second spine: frr or bird.
    spb: str = "frr"
    # The customer: bird or exabgp.
    customer: str = "bird"
    hold: int = 9
    ipv4: bool = True
    ipv6: bool = True
    bfd: bool = False
    # BFD on the IPv6 session to spa instead.
    bfd6: bool = False
    prefixes4: int = 40
    prefixes6: int = 16
    bmp: tuple = ("spa",)
    # FRR routers that dump all their BGP messages and state changes as MRT, from their start; each becomes an input `NAME.mrt`.
    mrt: tuple = ()
    # BFD's interval in milliseconds, with a multiplier of 3.
    bfd_interval: int = 200
    bring_up: bool = True
    graceful: bool = False
    # The BMP station is there before the recording: the tables were told before it began, as in most captures out there.
    mid_session: bool = False


class Fabric:
    def __init__(self, net, scenario, plan=Plan()):
        self.net, self.s, self.plan = net, scenario, plan
        self.routers = {}
        for name in ("leaf", "spa", "spb", "tra", "cust", "mon"):
            net.ns(name)
        for a, a_port, b, b_port, index in CABLES:
            net.cable(a, a_port, b, b_port)
            up, down = ((b, b_port), (a, a_port)) if a != "tra" else ((a, a_port), (b, b_port))
            # Counted from the customer's side, tra is up; from the leaf's, the spines and tra are.
            for side, (ns, port) in enumerate((up, down)):
                net.addr(ns, port, f"{four(index, side)}/31", f"{six(index, side)}/64")
        for name, last in MANAGEMENT.items():
            net.cable(name, "mgt", "mon", f"m-{name}")
            net.addr(name, "mgt", f"198.51.100.{last}/25")
        net.bridge("mon", "brm", [f"m-{n}" for n in MANAGEMENT])
        net.addr("mon", "brm", f"{STATION}/25")
        net.addr("leaf", "lo", "198.51.100.7/32", "3fff:e1a::7/128")
        if plan.mid_session:
            self.start_station()
        scenario.topology = {
            "nodes": {n: {"as": a} for n, a in ASN.items()} | {"mon": {"bmp_station": f"{STATION}:{PORT}"}},
            "links": [[f"{a}:{ap}", f"{b}:{bp}", four(i, 0), four(i, 1), six(i, 0), six(i, 1)] for a, ap, b, bp, i in CABLES],
        }
        if plan.bring_up:
            self.start()

    def start_station(self):
        self.station = self.net.spawn("mon", "/usr/bin/python3", __file__.replace("fabric.py", "bmp.py"), STATION, PORT, log="station")

    def start(self):
        """All daemons, and waits until the leaf has both tables."""
        self.start_transit()
        for name, uplink in (("spa", 0), ("spb", 1)):
            self.start_spine(name, uplink)
        self.start_leaf()
        self.ready()

    def start_spine(self, name, uplink):
        if name == "spb" and self.plan.spb == "bird":
            self.routers[name] = Bird(self.net, name, self.bird_spine(name, uplink))
        else:
            self.routers[name] = Frr(self.net, name, self.spine(name, uplink), bfd=self.bfd())

    def ready(self):
        for index, name in enumerate(("spa", "spb")):
            wait(f"the sessions of {name}", self.spine_up(name, index))
        if self.plan.leaf == "gobgp":
            time.sleep(3)
            return
        wait("the kernel routes of the leaf", lambda: (not self.plan.ipv4 or len(self.net.ip("leaf", "-4", "route").splitlines()) > self.plan.prefixes4)
             and (not self.plan.ipv6 or len(self.net.ip("leaf", "-6", "route").splitlines()) > self.plan.prefixes6))
        # Route refreshes and collisions of the start are over; the recording begins in a quiet network.
        time.sleep(2.5)

    def spine_up(self, name, index):
        spine = self.routers[name]
        if isinstance(spine, Bird):
            return spine.established(*[f"{far}{family}" for far in ("leaf", "tra") for family, on in ((4, self.plan.ipv4), (6, self.plan.ipv6)) if on])
        return spine.established(*[a(index, 1) for a in self.families()], *[a(index + 4, 0) for a in self.families()])

    def families(self):
        return [address for address, on in ((four, self.plan.ipv4), (six, self.plan.ipv6)) if on]

    def bfd(self):
        return "bfd\n profile fast\n  detect-multiplier 3\n  receive-interval {0}\n  transmit-interval {0}\n".format(self.plan.bfd_interval) if self.plan.bfd or self.plan.bfd6 else None

    def frr(self, name, neighbors, networks, outbound=None):
        """bgpd.conf. `neighbors` is [(address, AS, BFD)]; an own `outbound` list keeps a host from becoming transit."""
        keep = max(1, self.plan.hold // 3)
        lines = [f"router bgp {ASN[name]}", f" bgp router-id 198.51.100.{MANAGEMENT[name]}", " no bgp ebgp-requires-policy", " no bgp default ipv4-unicast",
                 " bgp bestpath as-path multipath-relax", f" timers bgp {keep} {self.plan.hold}"]
        for address, asn, bfd in neighbors:
            lines += [f" neighbor {address} remote-as {asn}", f" neighbor {address} timers connect 1", f" neighbor {address} advertisement-interval 0"]
            lines += [f" neighbor {address} bfd profile fast"] if bfd else []
        lines += [" bgp graceful-restart", " bgp graceful-restart preserve-fw-state"] if self.plan.graceful else []
        for family, mine in (("ipv4", lambda a: ":" not in a), ("ipv6", lambda a: ":" in a)):
            lines.append(f" address-family {family} unicast")
            lines += [f"  network {n}" for n in networks if mine(n)]
            for address, _, _ in neighbors:
                if mine(address):
                    lines += [f"  neighbor {address} activate", f"  neighbor {address} soft-reconfiguration inbound"]
                    lines += [f"  neighbor {address} prefix-list {outbound}-{family} out"] if outbound else []
            lines += ["  maximum-paths 4", " exit-address-family"]
        if name in self.plan.bmp:
            lines += [" bmp targets mon", f"  bmp connect {STATION} port {PORT} min-retry 1000 max-retry 2000",
                      *[f"  bmp monitor {f} unicast {p}" for f in ("ipv4", "ipv6") for p in ("pre-policy", "post-policy")], " exit"]
        if name in self.plan.mrt:
            self.s.attach(f"{name}.mrt", self.net.dir / f"frr-{name}" / "dump.mrt")
            lines.append(f"dump bgp all-et {self.net.dir}/frr-{name}/dump.mrt")
        if outbound:
            lines += [f"ip prefix-list {outbound}-ipv4 seq 5 permit 198.51.100.0/25 ge 32", f"ipv6 prefix-list {outbound}-ipv6 seq 5 permit 3fff:e1a::/32 ge 128"]
        return "\n".join(lines) + "\n"

    def wanted(self, neighbors):
        return [n for n in neighbors if (self.plan.ipv6 if ":" in n[0] else self.plan.ipv4)]

    def spine(self, name, uplink):
        north = uplink + 4
        return self.frr(name, self.wanted([
            (four(uplink, 1), ASN["leaf"], self.plan.bfd and name == "spa"), (six(uplink, 1), ASN["leaf"], self.plan.bfd6 and name == "spa"),
            (four(north, 0), ASN["tra"], False), (six(north, 0), ASN["tra"], False)]), [])

    def bird_spine(self, name, uplink):
        """bird.conf of a spine: it passes on what it hears and resolves next hops itself."""
        text = [f"router id 198.51.100.{MANAGEMENT[name]};", "protocol device {}", "protocol direct { ipv4; ipv6; }"]
        for far, index, side, timers in (("leaf", uplink, 0, f"hold time {self.plan.hold};"), ("tra", uplink + 4, 1, f"hold time {max(30, self.plan.hold)};")):
            for family, address in (("ipv4", four), ("ipv6", six)):
                if getattr(self.plan, family):
                    text.append(f"protocol bgp {far}{family[-1]} {{ local {address(index, side)} as {ASN[name]}; neighbor {address(index, 1 - side)} as {ASN[far]}; "
                                f"{timers} connect retry time 1; error wait time 1, 2; {family} {{ import all; export where source = RTS_BGP; }}; }}")
        return "\n".join(text) + "\n"

    def start_leaf(self):
        if self.plan.leaf == "bird":
            self.routers["leaf"] = Bird(self.net, "leaf", self.bird_leaf())
            return
        if self.plan.leaf == "gobgp":
            peers = [(address(index, 0), ASN[spine]) for index, spine in enumerate(("spa", "spb")) for address in self.families()]
            self.routers["leaf"] = Gobgp(self.net, "leaf", ASN["leaf"], "198.51.100.140", peers, self.plan.hold, (STATION, PORT) if "leaf" in self.plan.bmp else None)
            return
        peers = self.wanted([(four(0, 0), ASN["spa"], self.plan.bfd), (six(0, 0), ASN["spa"], self.plan.bfd6), (four(1, 0), ASN["spb"], False), (six(1, 0), ASN["spb"], False)])
        self.routers["leaf"] = Frr(self.net, "leaf", self.frr("leaf", peers, ["198.51.100.7/32", "3fff:e1a::7/128"], outbound="own"), bfd=self.bfd())

    def bird_leaf(self):
        text = ["router id 198.51.100.140;", "protocol device { scan time 2; }",
                "protocol kernel { ipv4 { export where source = RTS_BGP; }; merge paths on; }",
                "protocol kernel { ipv6 { export where source = RTS_BGP; }; merge paths on; }",
                "protocol static { ipv4; route 198.51.100.7/32 blackhole; }", "protocol static { ipv6; route 3fff:e1a::7/128 blackhole; }", "protocol direct { interface \"pe*\"; ipv4; ipv6; }"]
        if self.bfd():
            text.append('protocol bfd { interface "pe*" { min rx interval 200 ms; min tx interval 200 ms; multiplier 3; }; }')
        for index, spine in enumerate(("spa", "spb")):
            for family, address, watched in (("ipv4", four, self.plan.bfd), ("ipv6", six, self.plan.bfd6)):
                if getattr(self.plan, family):
                    bfd = "bfd on; " if watched and spine == "spa" else ""
                    text.append(f"protocol bgp {spine}{family[-1]} {{ local {address(index, 1)} as {ASN['leaf']}; neighbor {address(index, 0)} as {ASN[spine]}; {bfd}"
                                f"hold time {self.plan.hold}; connect retry time 1; error wait time 1, 2; {family} {{ import all; export where source = RTS_STATIC; }}; }}")
        return "\n".join(text) + "\n"

    def start_transit(self):
        """tra originates the table, cust one prefix of each family that can be disabled (`flap4`, `flap6`)."""
        routes4 = " ".join(f"route 203.0.113.{n}/32 blackhole;" for n in range(self.plan.prefixes4))
        routes6 = " ".join(f"route 3fff:100:{n:x}::/48 blackhole;" for n in range(self.plan.prefixes6))
        # More prefixes, for scenarios that enable them.
        extra4 = " ".join(f"route 203.0.113.{n}/32 blackhole;" for n in range(128, 144))
        extra6 = " ".join(f"route 3fff:200:{n:x}::/48 blackhole;" for n in range(250))
        text = ["router id 192.0.2.9;", "protocol device {}", f"protocol static {{ ipv4; {routes4} }}", f"protocol static {{ ipv6; {routes6} }}",
                "protocol static default4 { ipv4; route 0.0.0.0/0 blackhole; }", "protocol static default6 { ipv6; route ::/0 blackhole; }",
                f"protocol static extra4 {{ disabled; ipv4; {extra4} }}", f"protocol static extra6 {{ disabled; ipv6; {extra6} }}"]
        for name, index, side, far in (("spa", 4, 0, "spa"), ("spb", 5, 0, "spb"), ("cust", 6, 0, "cust")):
            for family, address in (("ipv4", four), ("ipv6", six)):
                if getattr(self.plan, family):
                    text.append(f"protocol bgp {name}{family[-1]} {{ local {address(index, side)} as {ASN['tra']}; neighbor {address(index, 1 - side)} as {ASN[far]}; "
                                f"hold time {max(30, self.plan.hold)}; connect retry time 1; error wait time 1, 2; {family} {{ import all; export all; }}; }}")
        self.routers["tra"] = Bird(self.net, "tra", "\n".join(text) + "\n")
        if self.plan.customer == "exabgp":
            self.routers["cust"] = Exabgp(self.net, "cust", ASN["cust"], "192.0.2.13", [(a(6, 1), a(6, 0), ASN["tra"]) for a in self.families()])
            wait("ExaBGP at the transit", self.routers["tra"].established(*[f"cust{family}" for family, on in ((4, self.plan.ipv4), (6, self.plan.ipv6)) if on]))
        else:
            self.routers["cust"] = Bird(self.net, "cust", self.customer())

    def customer(self, statement=""):
        """bird.conf of the customer; `statement` is applied to what it says of its IPv4 prefix."""
        text = ["router id 192.0.2.13;", "protocol device {}", f"protocol static flap4 {{ ipv4; route {FLAPPER4} blackhole; }}", f"protocol static flap6 {{ ipv6; route {FLAPPER6} blackhole; }}",
                f"protocol static eip4 {{ ipv4; route {ELASTIC4} blackhole; }}"]
        for family, address in (("ipv4", four), ("ipv6", six)):
            if getattr(self.plan, family):
                text.append(f"protocol bgp tra{family[-1]} {{ local {address(6, 1)} as {ASN['cust']}; neighbor {address(6, 0)} as {ASN['tra']}; "
                            f"hold time 30; connect retry time 1; error wait time 1, 2; {family} {{ import none; export filter {{ if net = {FLAPPER4 if family == 'ipv4' else FLAPPER6} then {{ {statement if family == 'ipv4' else ''} }} if source = RTS_STATIC then accept; reject; }}; }}; }}")
        return "\n".join(text) + "\n"

    def record(self, *more_ports, host="leaf"):
        """On the leaf, or on spa (`host`): a router sees both its sides."""
        self.s.record(host, [*(["pe0", "pe1"] if host == "leaf" else ["swp1", "swp49"]), *more_ports], station=("mon", "brm", PORT))
        if not self.plan.mid_session:
            # Routers try again every 1 to 2 s, then tell their whole tables.
            self.start_station()
            time.sleep(2.5)
        # Keepalives of every session are seen before anything happens: a capture that starts with the fault knows nothing of what was there.
        time.sleep(self.plan.hold / 3)

    def site(self):
        """A speaker (ExaBGP, AS64998) that is a customer of spb alone, with sessions of both families."""
        self.net.ns("site")
        self.net.cable("site", "sp0", "spb", "cu0")
        ends = [("192.0.2.32", "192.0.2.33", "31", "ipv4"), ("fd5a:1f:9::1", "fd5a:1f:9::2", "64", "ipv6")]
        for up, down, length, family in ends:
            self.net.addr("site", "sp0", f"{down}/{length}")
            self.net.addr("spb", "cu0", f"{up}/{length}")
            self.routers["spb"].configure(f"router bgp {ASN['spb']}", f"neighbor {down} remote-as 64998", f"address-family {family} unicast", f"neighbor {down} activate",
                                          f"neighbor {down} soft-reconfiguration inbound")
        site = Exabgp(self.net, "site", 64998, "192.0.2.17", [(down, up, ASN["spb"]) for up, down, _, _ in ends])
        wait("the customer of spb", self.routers["spb"].established(*[down for _, down, _, _ in ends]))
        return site

    def flap_origin(self, protocol, cycles, down, up):
        """The customer withdraws and announces its prefix."""
        cust = self.routers["cust"]
        target = FLAPPER4 if protocol.endswith("4") else FLAPPER6
        for cycle in range(cycles):
            self.s.did("withdraw", target, cycle=cycle)
            cust.birdc("disable", protocol)
            time.sleep(down)
            self.s.did("announce", target, cycle=cycle)
            cust.birdc("enable", protocol)
            time.sleep(up)
