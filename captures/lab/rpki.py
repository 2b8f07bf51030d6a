"""Scenarios of route origin validation: an edge router (BIRD) that asks a cache (StayRTR) and drops what is invalid.

    up (AS64900, BIRD) ---- edge (AS64801, BIRD, the analysed host) ---- leaf (AS4200000101, BIRD)
    other (AS64777, BIRD) --/        \\---- val (StayRTR)

All sessions begin in the capture: the edge is told to open them when the recording runs.
"""
import json
import time

from .catalogue import LINK, SESSION, kinds, scenario
from .daemons import Bird, kill
from .net import wait

CABLES = [("up", 0), ("other", 1), ("leaf", 2), ("val", 3)]
ASN = {"up": 64900, "other": 64777, "leaf": 4200000101, "edge": 64801}
OURS, OURS6, COVER = "203.0.113.0/24", "3fff:f00::/32", "203.0.112.0/22"
ROAS = [(OURS, 24, ASN["up"]), (COVER, 22, 64999), (OURS6, 48, ASN["up"])]


def near(index):
    return f"192.0.2.{2 * index}"


def far(index):
    return f"192.0.2.{2 * index + 1}"


class Edge:
    def __init__(self, net, s, roas=ROAS):
        self.net, self.s, self.file = net, s, net.dir / "vrps.json"
        net.ns("edge")
        for name, index in CABLES:
            net.ns(name)
            net.cable("edge", f"e-{name}", name, "x0")
            net.addr("edge", f"e-{name}", f"{near(index)}/31")
            net.addr(name, "x0", f"{far(index)}/31")
        self.serve(roas)
        self.start_cache()
        routes = f"route {OURS} blackhole; route 198.51.100.0/24 blackhole;"
        self.up = Bird(net, "up", self.neighbor("up", 0, routes))
        self.other = Bird(net, "other", self.neighbor("other", 1, f"route {OURS} blackhole;", "disabled;"))
        self.leaf = Bird(net, "leaf", self.neighbor("leaf", 2, ""))
        self.edge = Bird(net, "edge", self.config())
        s.topology = {"nodes": {**{n: {"as": a} for n, a in ASN.items()}, "val": {"rtr": f"{far(3)}:323"}},
                      "links": [[f"edge:e-{n}", f"{n}:x0", near(i), far(i)] for n, i in CABLES]}

    def neighbor(self, name, index, routes, disabled=""):
        return (f"router id 198.51.100.{10 + index};\nprotocol device {{}}\nprotocol static pool {{ {disabled} ipv4; {routes} }}\n"
                f"protocol bgp edge {{ local {far(index)} as {ASN[name]}; neighbor {near(index)} as {ASN['edge']}; connect retry time 1; error wait time 1, 2; "
                "ipv4 { import all; export where source = RTS_STATIC; }; }\n")

    def config(self):
        # `other` is a customer whose routes are not filtered, as happens.
        filters = {"up": "import where roa_check(roas4, net, bgp_path.last) != ROA_INVALID; export none;", "other": "import all; export none;",
                   "leaf": "import none; export where source = RTS_BGP;"}
        peers = "".join(f"protocol bgp to_{name} {{ disabled; local {near(index)} as {ASN['edge']}; neighbor {far(index)} as {ASN[name]}; connect retry time 1; "
                        f"error wait time 1, 2; ipv4 {{ {filters[name]} }}; }}\n" for name, index in CABLES if name in filters)
        return ("router id 198.51.100.1;\nroa4 table roas4;\nroa6 table roas6;\nprotocol device {}\n"
                f"protocol rpki cache {{ disabled; roa4 {{ table roas4; }}; roa6 {{ table roas6; }}; remote {far(3)} port 323; retry keep 2; refresh keep 5; expire keep 7200; }}\n"
                f"{peers}")

    def serve(self, roas):
        new = self.net.dir / "vrps.new"
        new.write_text(json.dumps({"metadata": {}, "roas": [{"prefix": p, "maxLength": m, "asn": f"AS{a}", "ta": "lab"} for p, m, a in roas]}))
        new.rename(self.file)

    def start_cache(self):
        self.cache = self.net.spawn("val", "stayrtr", "-bind", f"{far(3)}:323", "-cache", self.file, "-refresh", "1", "-checktime=false", "-metrics.addr", "")
        wait("the cache", lambda: ":323" in self.net.sh("val", "ss", "-Hltn"))

    def record(self):
        self.s.record("edge", [f"e-{name}" for name, _ in CABLES])
        self.edge.birdc("enable", "cache")
        wait("the ROAs at the edge", lambda: self.count() == len(ROAS))
        peers = ["to_up", "to_other", "to_leaf"]
        for peer in peers:
            self.edge.birdc("enable", peer)
        wait("the sessions of the edge", self.edge.established(*peers))
        wait("the route at the leaf", lambda: OURS in self.leaf.birdc("show", "route"))
        time.sleep(4)

    def count(self):
        shown = self.edge.birdc("show", "route", "table", "roas4", "count") + self.edge.birdc("show", "route", "table", "roas6", "count")
        return sum(int(line.split()[0]) for line in shown.splitlines() if " of " in line)


@scenario("rpki-roa-withdrawn", "the ROA of 203.0.113.0/24 is withdrawn while one for another AS still covers it: the route is invalid, and the edge drops it",
          root=kinds("rpki.vrp-changed"), most=1, findings=[kinds("prefix.rpki-invalid", subject=r"prefix:203\.0\.113\.0/24$")],
          **{"not": [LINK, SESSION, kinds("prefix.flap"), kinds("rpki.cache-lost")]})
def roa_withdrawn(net, s):
    lab = Edge(net, s)
    lab.record()
    with s.fault():
        s.did("roa_withdraw", f"{OURS} AS{ASN['up']}")
        lab.serve(ROAS[1:])
        # BIRD 2.0 judges again when it is asked to.
        wait("the news at the edge", lambda: lab.count() == len(ROAS) - 1)
        lab.edge.birdc("reload", "in", "to_up")
        wait("the loss at the leaf", lambda: OURS not in lab.leaf.birdc("show", "route"))
        time.sleep(6)


@scenario("rpki-origin-hijacked", "another AS announces 203.0.113.0/24 as well, over a session that nobody validates; its ROA forbids that",
          root=kinds("prefix.origin-conflict", "prefix.rpki-invalid"), most=1, findings=[kinds("prefix.rpki-invalid", subject=r"prefix:203\.0\.113\.0/24$")],
          **{"not": [LINK, SESSION, kinds("prefix.flap"), kinds("rpki.vrp-changed")]})
def origin_hijacked(net, s):
    lab = Edge(net, s)
    lab.record()
    with s.fault():
        s.did("announce", f"other: {OURS}")
        lab.other.birdc("enable", "pool")
        time.sleep(7)


@scenario("benign-rpki-cache-restart", "the cache restarts within a second and has the same ROAs in a new session: no route changes")
def cache_restart(net, s):
    lab = Edge(net, s)
    lab.record()
    with s.fault():
        s.did("process_restart", "val: stayrtr")
        kill(lab.cache)
        time.sleep(0.5)
        lab.start_cache()
        time.sleep(12)


@scenario("benign-roa-rollover", "a ROA is replaced by a wider one for the same AS, first the new one, then the old one goes: the route stays valid")
def roa_rollover(net, s):
    lab = Edge(net, s)
    lab.record()
    with s.fault():
        s.did("roa_add", f"{COVER} up to 24, AS{ASN['up']}")
        lab.serve([*ROAS, (COVER, 24, ASN["up"])])
        time.sleep(4)
        s.did("roa_withdraw", f"{OURS} AS{ASN['up']}")
        lab.serve([*ROAS[1:], (COVER, 24, ASN["up"])])
        time.sleep(6)
