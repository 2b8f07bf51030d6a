"""Namespaces, cables and bridges.

Everything is made under a prefix of this process (`fl<pid>-`), so that two runs never meet and a crashed run can be told from a
live one. Only what a `Net` made is removed by it; processes are ended by their own pid.
"""
import itertools
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

PREFIX = re.compile(r"^fl(\d+)-")
SCRATCH = "flapscope-lab-"


def run(*words, check=True, **more):
    """Runs a command to its end; its output is shown only when it fails."""
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, **more)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-400:]}")
    return done.stdout


def wait(what, test, seconds=30.0):
    """Polls `test` until it is true. A laboratory that does not come up is an error, not a capture."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if test():
            return
        time.sleep(0.05)
    raise RuntimeError(f"waited {seconds:.0f} s in vain for {what}")


class Net:
    """One laboratory: its namespaces, processes and scratch directory."""

    def __init__(self):
        self.tag = f"fl{os.getpid()}-"
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-"))
        self.dir.chmod(0o755)
        self.names, self.processes, self.macs = [], [], itertools.count(0x11)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process, _ in reversed(self.processes):
            stop(process)
        for name in reversed(self.names):
            clear(self.tag + name)
        shutil.rmtree(self.dir, ignore_errors=True)

    def ns(self, name, forward=True):
        """A namespace with loopback up. Duplicate address detection is off: addresses are usable at once."""
        full = self.tag + name
        run("ip", "netns", "add", full)
        self.names.append(name)
        self.ip(name, "link", "set", "lo", "up")
        self.sysctl(name, **{
            "net.ipv6.conf.all.accept_dad": 0, "net.ipv6.conf.default.accept_dad": 0,
            "net.ipv6.conf.all.keep_addr_on_down": 1, "net.ipv6.conf.default.keep_addr_on_down": 1,
            "net.ipv4.ip_forward": int(forward), "net.ipv6.conf.all.forwarding": int(forward),
            "net.ipv4.fib_multipath_hash_policy": 1,
        })
        return name

    def sysctl(self, ns, **values):
        self.sh(ns, "sysctl", "-qw", *(f"{k}={v}" for k, v in values.items()))

    def sh(self, ns, *words, check=True):
        """Runs a command inside a namespace."""
        return run("ip", "netns", "exec", self.tag + ns, *words, check=check)

    def ip(self, ns, *words):
        return run("ip", "-n", self.tag + ns, *words)

    def mac(self):
        """Locally administered addresses, after RFC 7042's 00-00-5E-00-53-xx for documentation."""
        return f"02:00:5e:00:53:{next(self.macs):02x}"

    def cable(self, a, a_port, b, b_port, a_mac=None, b_mac=None):
        """A veth pair between two namespaces, both ends up."""
        run("ip", "link", "add", a_port, "netns", self.tag + a, "address", a_mac or self.mac(), "type", "veth",
            "peer", "name", b_port, "netns", self.tag + b, "address", b_mac or self.mac())
        # Checksum offload stays on, as on hosts out there: captures hold unfinished checksums, which are no evidence of anything.
        self.ip(a, "link", "set", a_port, "up")
        self.ip(b, "link", "set", b_port, "up")

    def bridge(self, ns, name, ports):
        self.ip(ns, "link", "add", name, "address", self.mac(), "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        for port in ports:
            self.ip(ns, "link", "set", port, "master", name)
        self.ip(ns, "link", "set", name, "up")

    def addr(self, ns, port, *addresses):
        for address in addresses:
            self.ip(ns, "addr", "add", address, "dev", port)

    def spawn(self, ns, *words, log=None, env=None, wrap=()):
        """Starts a process inside a namespace; it is ended with the laboratory. `wrap` goes before `ip netns exec`."""
        path = self.dir / f"{log or pathlib.Path(str(words[0])).name}-{ns}.log"
        process = subprocess.Popen(
            [*wrap, "ip", "netns", "exec", self.tag + ns, *map(str, words)], stdin=subprocess.DEVNULL,
            stdout=path.open("ab"), stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}, start_new_session=True)
        self.processes.append((process, path))
        return process

    def alive(self):
        """Raises when a daemon that should run has ended; `stop` takes those ended on purpose off the list."""
        for process, log in self.processes:
            if process.poll() not in (None, 0) and not getattr(process, "meant", False):
                raise RuntimeError(f"{log.name} ended with {process.returncode}: {log.read_text(errors='replace')[-600:]}")

    def drop(self, ns, table, *rules):
        """Drops packets with nft rules in an own table; `undrop` ends it. Rules see a packet before (in) or after (out) the stack."""
        text = [f"table inet {table} {{"]
        for hook in ("input", "output"):
            text.append(f"chain {hook} {{ type filter hook {hook} priority 0; policy accept;")
            text += [rule.replace("$if", "iifname" if hook == "input" else "oifname") + " drop;" for rule in rules]
            text.append("}")
        file = self.dir / f"{table}-{ns}.nft"
        file.write_text("\n".join(text) + "\n}\n")
        self.sh(ns, "nft", "-f", file)

    def undrop(self, ns, table):
        self.sh(ns, "nft", "delete", "table", "inet", table)


def stop(process, how=signal.SIGTERM, seconds=4.0):
    """Ends a process we started, and its session (dhclient's scripts), harder if it does not listen."""
    process.meant = True
    for blow in (how, signal.SIGKILL):
        if process.poll() is not None:
            return
        try:
            os.killpg(process.pid, signal.SIGCONT)
            os.killpg(process.pid, blow)
            process.wait(seconds)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def clear(full):
    """Removes one of our namespaces and ends what still runs inside it (daemons that left our session)."""
    for pid in run("ip", "netns", "pids", full, check=False).split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
    run("ip", "netns", "del", full, check=False)


def clean():
    """Removes namespaces and scratch directories of laboratories whose process is gone, and says which."""
    for line in run("ip", "netns", "list").splitlines():
        name = line.split()[0]
        found = PREFIX.match(name)
        if found and not pathlib.Path("/proc", found[1]).exists():
            yield name
            clear(name)
    for path in pathlib.Path(tempfile.gettempdir()).glob(f"{SCRATCH}*-*"):
        pid = path.name.removeprefix(SCRATCH).split("-")[0]
        if pid.isdigit() and not pathlib.Path("/proc", pid).exists():
            yield path.name
            shutil.rmtree(path, ignore_errors=True)
