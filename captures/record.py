#!/usr/bin/env python3
"""Record the captures of this directory again, with real daemons in network namespaces (root, Linux).

usage: record.py [--list] [--clean] [--out DIR] [SCENARIO...]
"""
import argparse
import importlib
import os
import pathlib
import signal
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from lab import net as lab_net  # noqa: E402
from lab.catalogue import SCENARIOS  # noqa: E402
from lab.scenario import Scenario  # noqa: E402

for family in ("bgp", "policy", "rpki", "twins", "dhcp", "guests", "forged", "mixed", "several", "calm", "views", "hosts", "variants"):
    importlib.import_module(f"lab.{family}")


def record(entry, out):
    with lab_net.Net() as net:
        s = Scenario(net, entry.name, entry.summary, benign="root" not in entry.expect)
        try:
            entry.play(net, s)
            return s.end(out, entry.expect)
        except Exception:
            for _, log in net.processes:
                tail = log.read_text(errors="replace").strip().splitlines()[-4:]
                print(f"--- {log.name}", *tail, sep="\n    ", file=sys.stderr)
            raise


def interrupt(*_):
    raise KeyboardInterrupt


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--list", action="store_true", help="print the scenarios and leave")
    args.add_argument("--rows", action="store_true", help="print the scenarios as rows of the table in SOURCES.md, and leave")
    args.add_argument("--clean", action="store_true", help="remove namespaces that a killed run left behind, and leave")
    args.add_argument("--out", type=pathlib.Path, default=HERE)
    args.add_argument("scenarios", nargs="*")
    args = args.parse_args()
    unknown = [n for n in args.scenarios if n not in SCENARIOS]
    if unknown:
        args_error = ", ".join(unknown)
        print(f"record.py: no such scenario: {args_error}", file=sys.stderr)
        return 2
    if args.list:
        for entry in SCENARIOS.values():
            print(f"{entry.name:34} {entry.summary}")
        return 0
    if args.rows:
        for entry in SCENARIOS.values():
            root = entry.expect.get("root")
            verdict = " or ".join(f"`{kind}`" for kind in root["kinds"]) if root else "benign"
            print(f"| `{entry.name}` | {entry.summary} | {verdict} |")
        return 0
    if os.geteuid() != 0:
        print("record.py: namespaces and captures need root (sudo make captures)", file=sys.stderr)
        return 2
    if args.clean:
        for name in lab_net.clean():
            print(f"removing {name}")
        return 0
    signal.signal(signal.SIGTERM, interrupt)
    failed = []
    for name in args.scenarios or SCENARIOS:
        began = time.monotonic()
        try:
            folder = record(SCENARIOS[name], args.out)
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        sizes = ", ".join(f"{f.name} {f.stat().st_size // 1024 + 1} kB" for f in sorted(folder.iterdir()) if "pcap" in f.name)
        print(f"{name}: {sizes} ({time.monotonic() - began:.0f} s)", flush=True)
    if failed:
        print(f"record.py: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


sys.exit(main())
