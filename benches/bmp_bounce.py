#!/usr/bin/env python3
"""100 peers with 3,000 routes each bounce: how long until `flapscope live --bmp` has taken it all in, and at what cost.

Usage: benches/bmp_bounce.py BINARY [PEERS [ROUTES [PACK]]]      (PACK prefixes in an UPDATE)
One BMP stream: all peers up with their tables; then all down, up again and re-announced. Streams are built before the clock starts. Taken in
is when the program's CPU time first stands still for 0.3 s; what it does later (the windows of 0.5 to 1.5 s after which incidents are judged and told)
is the last time that it grew. Python's standard library only.
"""
import socket, struct, subprocess, sys, tempfile, time

binary = sys.argv[1]
peers, routes, pack = (int(a) for a in (sys.argv[2:] + ["100", "3000", "10"][len(sys.argv) - 2:])[:3])
MARK = b"\xff" * 16


def bmp(kind, body):
    return struct.pack("!BIB", 3, 6 + len(body), kind) + body


def peer_header(p):
    # Global instance, IPv4, pre-policy; address, AS, identifier, time (RFC 7854 section 4.2).
    address = bytes([0] * 12 + [10, 99, p >> 8, p & 255])
    return struct.pack("!BB8s16sI4sII", 0, 0, bytes(8), address, 64600 + p, bytes([10, 99, p >> 8, p & 255]), int(time.time()), 0)


def message(kind, body):
    return MARK + struct.pack("!HB", 19 + len(body), kind) + body


def peer_up(p):
    capability = b"\x41\x04" + struct.pack("!I", 64600 + p)
    optional = b"\x02" + bytes([len(capability)]) + capability
    opening = message(1, struct.pack("!BHH4sB", 4, 23456, 90, bytes([10, 99, p >> 8, p & 255]), len(optional)) + optional)
    return bmp(3, peer_header(p) + bytes(12) + bytes([10, 98, 0, 1]) + struct.pack("!HH", 179, 40000) + opening + opening)


def table(p):
    out, header = [], peer_header(p)
    path = b"\x02\x02" + struct.pack("!II", 64600 + p, 210000 + p)
    attributes = b"\x40\x01\x01\x00" + b"\x40\x02" + bytes([len(path)]) + path + b"\x40\x03\x04" + bytes([10, 99, p >> 8, p & 255])
    for first in range(0, routes, pack):
        nlri = b"".join(b"\x18" + struct.pack("!I", 0x010000 + p * routes + i)[1:] for i in range(first, min(first + pack, routes)))
        out.append(bmp(0, header + message(2, b"\0\0" + struct.pack("!H", len(attributes)) + attributes + nlri)))
    return b"".join(out)


load = bmp(4, b"\0\1\0\5bench\0\2\0\2r1") + b"".join(peer_up(p) + table(p) for p in range(peers))
bounce = b"".join(bmp(2, peer_header(p) + b"\4") for p in range(peers)) + b"".join(peer_up(p) + table(p) for p in range(peers))

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
out = tempfile.TemporaryFile()
program = subprocess.Popen([binary, "live", "--no-packets", "--format", "json", "--bmp", f"127.0.0.1:{port}"], stdout=out, stderr=out)


def cpu():
    with open(f"/proc/{program.pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def settled(start):
    """When its CPU time first stood still for 0.3 s, and when it last grew before a quiet of 1.5 s, in seconds after `start`."""
    last, grew, taken = cpu(), time.monotonic(), None
    while time.monotonic() - grew < 1.5:
        time.sleep(0.01)
        if cpu() > last + 0.015:
            last, grew = cpu(), time.monotonic()
        elif taken is None and time.monotonic() - grew > 0.3:
            taken = grew - start
    return taken, grew - start


try:
    time.sleep(1)
    router = socket.create_connection(("127.0.0.1", port))
    for name, stream in (("load", load), ("bounce", bounce)):
        before, start = cpu(), time.monotonic()
        router.sendall(stream)
        sent = time.monotonic() - start
        took, judged = settled(start)
        used = cpu() - before
        millions = peers * routes / 1e6
        with open(f"/proc/{program.pid}/status") as file:
            rss = next(int(line.split()[1]) // 1024 for line in file if line.startswith("VmRSS"))
        print(f"{name}: {len(stream) / 1e6:.1f} MB sent in {sent:.2f} s, taken in after {took:.2f} s, judged and told by {judged:.2f} s, {used:.2f} CPU-s ({used / millions:.2f} per million), RSS {rss} MB")
        time.sleep(2)
finally:
    program.terminate()
    program.wait()
