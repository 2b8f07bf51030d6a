#!/usr/bin/env python3
"""From a key to the screen: keys are written to a pty on which the program runs, and the time until it paints is taken.

    benches/keys.py [--idle SECONDS] [--keys N] PROGRAM [ARGUMENT…]

Prints the CPU time that the idle screen takes, and median, p99 and longest time from a key to the first octets of its frame. Load is
whatever the caller sends to the program meanwhile.
"""

import argparse
import fcntl
import os
import pty
import random
import select
import struct
import sys
import termios
import time


def cpu(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def drain(master, seconds):
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([master], [], [], left)[0]:
            try:
                os.read(master, 65536)
            except OSError:  # the program has ended
                return


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--idle", type=float, default=60)
    parser.add_argument("--keys", type=int, default=300)
    parser.add_argument("--wait", type=float, default=3, help="seconds before anything is measured")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    pid, master = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", LANG="C.UTF-8")
        os.execvp(options.command[0], options.command)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    begun = time.monotonic()
    select.select([master], [], [], 10)
    os.read(master, 65536)
    print(f"first octets after {(time.monotonic() - begun) * 1e3:.0f} ms")
    drain(master, options.wait)
    if options.idle:
        before = cpu(pid)
        drain(master, options.idle)
        print(f"idle: {(cpu(pid) - before) / options.idle * 100:.2f} % of a core over {options.idle:.0f} s")
    times = []
    # Views and help by turns: every key changes the whole screen.
    keys = [b"2", b"1", b"5", b"4", b"1", b"6"]
    for n in range(options.keys):
        drain(master, random.uniform(0.02, 0.12))
        written = time.monotonic()
        os.write(master, keys[n % len(keys)])
        # A frame that was on its way when the key was pressed is not its answer: the head names the view that is shown.
        if select.select([master], [], [], 5)[0]:
            os.read(master, 65536)
            times.append(time.monotonic() - written)
    times.sort()
    at = lambda part: times[min(len(times) - 1, int(len(times) * part))] * 1e3
    print(f"key to screen: median {at(0.5):.1f} ms, p99 {at(0.99):.1f} ms, longest {times[-1] * 1e3:.1f} ms, {len(times)} keys")
    os.write(master, b"q")
    drain(master, 1)
    sys.exit(0)


if __name__ == "__main__":
    main()
