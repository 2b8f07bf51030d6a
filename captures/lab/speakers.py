"""ExaBGP and GoBGP in a namespace: speakers that say what no routing daemon would."""
import json
import os

from .net import run, wait


class Exabgp:
    """ExaBGP that says what `say` tells it, line by line."""

    def __init__(self, net, ns, local_as, router_id, peers):
        """`peers` is [(local address, peer address, peer's AS)]."""
        self.net, self.ns = net, ns
        fifo, pump, conf = (net.dir / f"exabgp-{ns}{end}" for end in (".fifo", ".sh", ".conf"))
        os.mkfifo(fifo)
        pump.write_text(f"#!/bin/sh\nexec 3<>{fifo}\nexec cat <&3\n")
        pump.chmod(0o755)
        text = [f"process pump {{ run {pump}; encoder text; }}"]
        for local, peer, asn in peers:
            family = "ipv6" if ":" in peer else "ipv4"
            text.append(f"neighbor {peer} {{ router-id {router_id}; local-address {local}; local-as {local_as}; peer-as {asn}; hold-time 30; "
                        f"adj-rib-out false; family {{ {family} unicast; }} api {{ processes [ pump ]; }} }}")
        conf.write_text("\n".join(text) + "\n")
        self.process = net.spawn(ns, "exabgp", conf, env={"exabgp_daemon_user": "root", "exabgp_api_ack": "false", "exabgp_api_cli": "false", "exabgp_tcp_delay": "0"})
        # Opened for both directions, so that neither end ever waits for the other.
        self.pipe = os.open(fifo, os.O_RDWR)

    def say(self, *lines):
        for line in lines:
            os.write(self.pipe, line.encode() + b"\n")


class Gobgp:
    """gobgpd without a kernel: it keeps its own tables and installs nothing."""

    def __init__(self, net, ns, local_as, router_id, peers, hold, bmp=None):
        """`peers` is [(address, AS)]; `bmp` (address, port) of a station."""
        self.net, self.ns = net, ns
        conf = net.dir / f"gobgp-{ns}.toml"
        text = ["[global.config]", f" as = {local_as}", f' router-id = "{router_id}"']
        for peer, asn in peers:
            family = "ipv6-unicast" if ":" in peer else "ipv4-unicast"
            text += ["[[neighbors]]", " [neighbors.config]", f'  neighbor-address = "{peer}"', f"  peer-as = {asn}", " [neighbors.timers.config]",
                     f"  hold-time = {hold}", f"  keepalive-interval = {max(1, hold // 3)}", "  connect-retry = 1", "  idle-hold-time-after-reset = 1",
                     " [[neighbors.afi-safis]]", "  [neighbors.afi-safis.config]", f'   afi-safi-name = "{family}"']
        if bmp:
            text += ["[[bmp-servers]]", " [bmp-servers.config]", f'  address = "{bmp[0]}"', f"  port = {bmp[1]}", '  route-monitoring-policy = "pre-policy"']
        conf.write_text("\n".join(text) + "\n")
        self.process = net.spawn(ns, "gobgpd", "-f", conf, "--api-hosts", "127.0.0.1:50051", "--pprof-disable")
        wait(f"gobgpd of {ns}", lambda: ":50051 " in net.sh(ns, "ss", "-Hant", "state", "listening"))

    def gobgp(self, *words, check=True):
        return run("ip", "netns", "exec", self.net.tag + self.ns, "gobgp", *words, check=check)

    def established(self, *peers, least=0):
        """gobgp's state 6 is Established."""
        def test():
            try:
                got = {n["state"]["neighbor_address"]: n for n in json.loads(self.gobgp("-j", "neighbor", check=False))}
            except (ValueError, KeyError, TypeError):
                return False
            return all(got.get(p, {}).get("state", {}).get("session_state") == 6 for p in peers)
        return test
