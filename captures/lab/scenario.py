"""One recorded scenario: its captures, its phases, what was injected and when. Writes the directory when it ends well."""
import contextlib
import datetime
import gzip
import json
import pathlib
import shutil
import signal
import time

from .net import stop, wait

HERE = pathlib.Path(__file__).resolve().parent
# Above this a capture is stored compressed; below, Wireshark opens it at a click.
PLAIN = 24 << 10
# A pcap that holds no packet: a router with nothing to say.
HEADER = 24
# A capture of this repository stays small.
LIMIT = 200 << 10
# After the first capture started: what starts with it (promiscuous mode, its own NEWLINKs) is over.
SETTLE = 1.0


def stamp(t):
    return {"t": round(t, 6), "iso": datetime.datetime.fromtimestamp(t, datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")}


class Scenario:
    def __init__(self, net, name, summary, benign):
        self.net, self.name, self.summary, self.benign = net, name, summary, benign
        self.phases, self.injected, self.notes, self.captures, self.files, self.topology = {}, [], [], [], [], {}
        self.phase("setup_start")

    def phase(self, name):
        self.phases[name] = stamp(time.time())

    def did(self, action, target, **more):
        """Call just before the action."""
        now = stamp(time.time())
        self.injected.append({"t": now["t"], "t_iso": now["iso"], "action": action, "target": target, **more})

    def record(self, host, ports, station=None):
        """Starts the captures: packets and rtnetlink of `host`, BMP as packets at `station` (namespace, port, TCP port)."""
        raw = self.net.dir / "capture"
        raw.mkdir()
        netlink = self.net.spawn(host, "/usr/bin/python3", HERE / "netlink.py", raw / "h.nl.pcap", log="netlink")
        self.captures.append(("h.nl.pcap", netlink))
        wait("the dumps of rtnetlink", (raw / "h.nl.pcap.ready").exists)
        self.captures.append(("h.pcapng", self.capture(host, ports, raw / "h.pcapng")))
        if station:
            ns, port, tcp = station
            self.captures.append(("mon-bmp.pcap", self.capture(ns, [port], raw / "mon-bmp.pcap", "-P", "-f", f"tcp port {tcp}")))
        self.phase("record_start")
        time.sleep(SETTLE)

    def attach(self, name, path):
        """A file that a daemon writes by itself (an MRT dump) becomes an input too."""
        self.files.append((name, path))

    def capture(self, ns, ports, path, *options):
        words = [w for port in ports for w in ("-i", port)]
        process = self.net.spawn(ns, "dumpcap", "-q", *options, *words, "-w", path, log=f"dumpcap-{path.name}")
        log = self.net.dir / f"dumpcap-{path.name}-{ns}.log"
        wait(f"dumpcap in {ns}", lambda: "File:" in log.read_text(errors="replace") or path.exists() and path.stat().st_size > 0)
        return process

    @contextlib.contextmanager
    def fault(self):
        """The part in which what is recorded happens (in a benign scenario: the planned thing)."""
        self.phase("fault_start")
        yield
        self.phase("fault_end")

    def end(self, out, expect):
        """Stops the captures and writes the directory; an `expect` with `inputs` keeps only those captures."""
        self.phase("record_end")
        self.net.alive()
        for name, path in self.files:
            shutil.copy(path, self.net.dir / "capture" / name)
        for _, process in self.captures:
            stop(process, signal.SIGTERM if process.args[5:6] != ["dumpcap"] else signal.SIGINT)
        self.phase("end")
        folder = out / self.name
        keep = {}
        if folder.exists():
            keep = {g: (folder / g).read_bytes() for g in ("alerts.ndjson", "report.txt") if (folder / g).exists()}
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        for name, data in keep.items():
            (folder / name).write_bytes(data)
        taken = ["h.pcapng", "h.nl.pcap", "mon-bmp.pcap", *(name for name, _ in self.files)]
        inputs, wanted = [], expect.get("inputs", taken)
        for name in sorted((name for name, _ in [*self.captures, *self.files]), key=taken.index):
            if name not in wanted:
                continue
            data = (self.net.dir / "capture" / name).read_bytes()
            if len(data) <= HEADER:
                continue
            if len(data) > PLAIN:
                name, data = name + ".gz", gzip.compress(data, 9, mtime=0)
            if len(data) > LIMIT:
                raise RuntimeError(f"{self.name}/{name}: {len(data)} octets, more than {LIMIT}")
            (folder / name).write_bytes(data)
            inputs.append(name)
        label = {"scenario": self.name, "summary": self.summary, "benign": self.benign, "clock": "CLOCK_REALTIME, one kernel, UTC",
                 "phases": self.phases, "topology": self.topology, "injected": self.injected, "notes": self.notes}
        (folder / "label.json").write_text(json.dumps(label, indent=1) + "\n")
        (folder / "expect.json").write_text(json.dumps({"summary": self.summary, **expect, "inputs": inputs}, indent=1) + "\n")
        return folder
