"""FRR, BIRD, Kea, dnsmasq, dhclient, udhcpc and radvd in a namespace, without systemd. Each function starts one and waits until it listens."""
import json
import os
import pathlib
import shutil

from .net import run, stop, wait

FRR = pathlib.Path("/usr/lib/frr")


class Frr:
    """zebra, bgpd and, where wanted, bfdd of one namespace, with their sockets in a directory of their own."""

    def __init__(self, net, ns, bgp, bfd=None):
        self.net, self.ns = net, ns
        self.dir = net.dir / f"frr-{ns}"
        self.dir.mkdir()
        shutil.chown(self.dir, "frr", "frr")
        (self.dir / "zebra.conf").write_text(f"hostname {ns}\n")
        (self.dir / "bgpd.conf").write_text(f"hostname {ns}\n{bgp}")
        self.daemon("zebra")
        wait(f"zebra of {ns}", (self.dir / "zserv.api").exists)
        if bfd is not None:
            (self.dir / "bfdd.conf").write_text(f"hostname {ns}\n{bfd}")
            self.daemon("bfdd", "--bfdctl", self.dir / "bfdd.sock")
        self.start_bgp()

    def daemon(self, name, *more):
        return self.net.spawn(self.ns, FRR / name, "-f", self.dir / f"{name}.conf", "-i", self.dir / f"{name}.pid", "-z", self.dir / "zserv.api",
                              "--vty_socket", self.dir, "-A", "127.0.0.1", "-P", "0", *more)

    def start_bgp(self):
        self.bgpd = self.daemon("bgpd", "-M", "bmp")
        wait(f"bgpd of {self.ns}", (self.dir / "bgpd.vty").exists)

    def vtysh(self, *commands):
        return run("vtysh", "--vty_socket", self.dir, *(word for c in commands for word in ("-c", c)))

    def configure(self, *commands):
        self.vtysh("configure terminal", *commands)

    def bgp(self):
        """Sessions: {address: (state, prefixes received)}."""
        summary = json.loads(self.vtysh("show bgp summary json"))
        return {peer: (p["state"], p.get("pfxRcd", 0)) for family in summary.values() if "peers" in family for peer, p in family["peers"].items()}

    def established(self, *peers, least=0):
        def test():
            got = self.bgp()
            return all(got.get(p, ("", 0))[0] == "Established" and got[p][1] >= least for p in peers)
        return test


class Bird:
    def __init__(self, net, ns, config):
        self.net, self.ns = net, ns
        self.conf, self.socket = net.dir / f"bird-{ns}.conf", net.dir / f"bird-{ns}.ctl"
        self.conf.write_text(config)
        self.start()

    def start(self):
        self.process = self.net.spawn(self.ns, "bird", "-f", "-c", self.conf, "-s", self.socket, "-P", self.net.dir / f"bird-{self.ns}.pid")
        wait(f"bird of {self.ns}", self.socket.exists)

    def birdc(self, *words):
        return run("birdc", "-s", self.socket, *words)

    def established(self, *protocols):
        return lambda: all("Established" in self.birdc("show", "protocols", p) for p in protocols)


def kea4(net, ns, port, subnet, pool, router, lease, dns=None, options=(), probation=None):
    """Kea for IPv4. `lease` is (valid, renew, rebind) in seconds; a declined address rests for `probation` seconds."""
    conf = net.dir / f"kea4-{ns}.json"
    data = [{"name": "routers", "data": router}] if router else []
    data += [{"name": "domain-name-servers", "data": dns}] if dns else []
    conf.write_text(json.dumps({"Dhcp4": {
        "interfaces-config": {"interfaces": [port], "service-sockets-max-retries": 20, "service-sockets-retry-wait-time": 200},
        "lease-database": {"type": "memfile", "persist": False},
        "valid-lifetime": lease[0], "renew-timer": lease[1], "rebind-timer": lease[2], "authoritative": True,
        "subnet4": [{"subnet": subnet, "pools": [{"pool": pool}], "option-data": [*data, *options]}],
        **({"decline-probation-period": probation, "expired-leases-processing": {"reclaim-timer-wait-time": 1, "flush-reclaimed-timer-wait-time": 1}} if probation else {}),
        "loggers": [{"name": "kea-dhcp4", "output_options": [{"output": "stdout"}], "severity": "INFO"}],
    }}))
    return _kea(net, ns, "kea-dhcp4", conf, port, ":67 ")


def kea6(net, ns, port, subnet, pool, lease):
    conf = net.dir / f"kea6-{ns}.json"
    conf.write_text(json.dumps({"Dhcp6": {
        "interfaces-config": {"interfaces": [port], "service-sockets-max-retries": 20, "service-sockets-retry-wait-time": 200},
        "server-id": {"type": "LL", "persist": False}, "lease-database": {"type": "memfile", "persist": False},
        "valid-lifetime": lease[0], "preferred-lifetime": lease[0], "renew-timer": lease[1], "rebind-timer": lease[2],
        "subnet6": [{"subnet": subnet, "interface": port, "pools": [{"pool": pool}]}],
        "loggers": [{"name": "kea-dhcp6", "output_options": [{"output": "stdout"}], "severity": "INFO"}],
    }}))
    return _kea(net, ns, "kea-dhcp6", conf, port, ":547 ")


def _kea(net, ns, program, conf, port, listening):
    # Kea opens no socket on an interface that is not running yet.
    wait(f"{port} of {ns}", lambda: json.loads(net.ip(ns, "-j", "link", "show", port))[0]["operstate"] == "UP")
    scratch = net.dir / f"{program}-{ns}"
    scratch.mkdir(exist_ok=True)
    process = net.spawn(ns, program, "-c", conf, env={"KEA_PIDFILE_DIR": str(scratch), "KEA_LOCKFILE_DIR": str(scratch)})
    wait(f"{program} of {ns}", lambda: listening in net.sh(ns, "ss", "-Hanpu") or "packet" in net.sh(ns, "ss", "-Hap0") and listening == ":67 ")
    return process


def dnsmasq(net, ns, port, *options):
    process = net.spawn(ns, "dnsmasq", "-k", "--conf-file=/dev/null", "--user=root", "--log-facility=-", "--log-dhcp", "--port=0",
                        f"--interface={port}", "--bind-dynamic", f"--dhcp-leasefile={net.dir}/dnsmasq-{ns}.leases", f"--pid-file={net.dir}/dnsmasq-{ns}.pid", *options)
    wait(f"dnsmasq of {ns}", lambda: "dnsmasq" in net.sh(ns, "ss", "-Hanpu"))
    return process


def dhclient(net, ns, port, *options, family="-4"):
    """ISC dhclient with Debian's own script, which edits /etc: it gets a private copy of it."""
    etc = net.dir / "etc"
    if not etc.exists():
        etc.mkdir()
        for name in ("dhcp", "resolv.conf", "nsswitch.conf", "passwd", "group", "hosts", "services", "protocols", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives"):
            source = pathlib.Path("/etc", name)
            if source.is_dir():
                shutil.copytree(source, etc / name, symlinks=True)
            elif source.exists():
                shutil.copy(source, etc / name)
        # Debian's script reads it before it touches resolv.conf; without it the client DECLINEs what it was given.
        (etc / "fstab").touch()
        conf = etc / "dhcp" / "dhclient.conf"
        # A laboratory does not wait the default 300 s for another try, nor up to 10 s before the first.
        conf.write_text(conf.read_text() + "\nretry 4;\ninitial-interval 1;\nbackoff-cutoff 4;\n" if conf.exists() else "retry 4;\n")
    files = [net.dir / f"dhclient-{ns}-{port}{family}.{kind}" for kind in ("leases", "pid")]
    return net.spawn(ns, "unshare", "-m", "-u", "sh", "-c", f'mount --bind {etc} /etc && hostname {ns} && exec "$@"', "sh",
                     "dhclient", "-d", family, "-lf", files[0], "-pf", files[1], *options, port, log=f"dhclient{family}")


UDHCPC_SCRIPT = """#!/bin/sh
# As networkd and dhcpcd do: protocol dhcp, metric 1024.
case $1 in
deconfig) ip -4 addr flush dev $interface ;;
bound|renew)
  ip addr replace $ip/$mask valid_lft $lease preferred_lft $lease dev $interface
  set -- $staticroutes
  while [ $# -ge 2 ]; do ip route replace $1 via $2 dev $interface proto dhcp metric 1024; shift 2; done
  for r in $router; do ip route replace default via $r dev $interface proto dhcp metric 1024; done ;;
esac
exit 0
"""


def udhcpc(net, ns, port, *options):
    script = net.dir / "udhcpc.sh"
    if not script.exists():
        script.write_text(UDHCPC_SCRIPT)
        script.chmod(0o755)
    return net.spawn(ns, "udhcpc", "-f", "-i", port, "-s", script, "-t", "10", "-T", "2", "-A", "2", *options)


def radvd(net, ns, config):
    conf = net.dir / f"radvd-{ns}.conf"
    conf.write_text(config)
    return net.spawn(ns, "radvd", "-n", "-m", "stderr", "-C", conf, "-p", net.dir / f"radvd-{ns}.pid", "--username=root")


def has_address(net, ns, port, family=4):
    """Whether a client's interface has an address of global scope."""
    kind = "inet" if family == 4 else "inet6"
    def test():
        return any(a["family"] == kind and a["scope"] == "global" for a in json.loads(net.ip(ns, "-j", "addr", "show", "dev", port))[0]["addr_info"])
    return test


def kill(process):
    """A server that dies without a word."""
    stop(process, 9)


def dhcrelay(net, ns, down, up, server):
    """ISC dhcrelay: its source is the address of the way to the server, its giaddr that of the guests' side."""
    words = [w for port in down for w in ("-id", port)] + [w for port in up for w in ("-iu", port)]
    process = net.spawn(ns, "dhcrelay", "-d", "-4", *words, "-pf", net.dir / f"dhcrelay-{ns}.pid", server)
    wait(f"dhcrelay of {ns}", lambda: ":67 " in net.sh(ns, "ss", "-Hanpu"))
    return process


def keepalived(net, ns, port, priority, address):
    conf = net.dir / f"keepalived-{ns}.conf"
    conf.write_text(f"vrrp_instance gw {{\n state BACKUP\n interface {port}\n virtual_router_id 53\n priority {priority}\n advert_int 1\n virtual_ipaddress {{\n  {address}\n }}\n}}\n")
    return net.spawn(ns, "keepalived", "-n", "-l", "-P", "-f", conf, "-p", net.dir / f"keepalived-{ns}.pid", "-r", net.dir / f"keepalived-{ns}.vrrp")
