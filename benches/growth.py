#!/usr/bin/env python3
"""Whether an event costs the same however full the tables are: every table is grown past its bound by a hostile sender.

    benches/growth.py [--time] [--only NAME,…] [--base N] [--list] PROGRAM

For each kind of key that a sender can invent (routes, neighbors, clients, routers, sessions, …) three inputs are made, with N, 4 N and
16 N of them, and `PROGRAM analyze` is run on each. What one more event costs is the difference between two runs, so that start-up and the
report do not count: (16 N - 4 N) against (4 N - N). Instructions are counted by valgrind (cachegrind without caches), which makes the
figures the same on every machine; --time takes CPU seconds instead, for a look. A table that is walked for each event shows a ratio near 4.
Exit code 1 when a ratio is above the bar.
"""

import argparse
import os
import re
import resource
import struct
import subprocess
import sys
import tempfile

# A tree grows by its logarithm (one to two more steps from N to 16 N); a table that is walked by its size.
BAR = 1.6
# Most tables hold 4,096 to 16,384: 16 N is past all of these bounds, N is within some and at others.
BASE = 8192
START = 1_700_000_000 * 10**9
STEP = 500_000  # 2,000 events a second: a flood, and slow enough that windows of seconds pass within the input


def mac(n, first=2):
    return bytes([first, 0]) + struct.pack(">I", n)


def ip4(n, net=10):
    return struct.pack(">I", (net << 24) + n)


def ip6(n, net=0x20010DB8):
    return struct.pack(">IIII", net, 0, 0, n + 1)


def local6(n):
    return struct.pack(">IIII", 0xFE800000, 0, 0, n + 1)


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


ALL = b"\xff" * 6


def ethernet(source, target, kind, payload):
    return target + source + struct.pack(">H", kind) + payload


def udp4(source, target, ports, payload, macs, ttl=64):
    udp = struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload
    return packet4(source, target, 17, udp, macs, ttl)


def packet4(source, target, protocol, payload, macs, ttl=64, ident=0, fragment=0):
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0xC0, 20 + len(payload), ident, fragment, ttl, protocol, 0, source, target)
    head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    return ethernet(*macs, 0x800, head + payload)


def packet6(source, target, protocol, payload, macs, hops=255):
    head = struct.pack(">IHBB16s16s", 0x6C000000, len(payload), protocol, hops, source, target)
    return ethernet(*macs, 0x86DD, head + payload)


def icmp6(source, target, body, macs):
    pseudo = source + target + struct.pack(">II", len(body), 58)
    body = body[:2] + struct.pack(">H", checksum(pseudo + body)) + body[4:]
    return packet6(source, target, 58, body, macs)


def udp6(source, target, ports, payload, macs):
    udp = struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload
    pseudo = source + target + struct.pack(">II", len(udp), 17)
    udp = udp[:6] + struct.pack(">H", checksum(pseudo + udp) or 0xFFFF) + udp[8:]
    return packet6(source, target, 17, udp, macs, 64)


def dhcp4(op, kind, client, xid, your=bytes(4), relay=bytes(4), server=None, requested=None, extra=b""):
    options = bytes([53, 1, kind])
    if server:
        options += b"\x36\x04" + server
    if requested:
        options += b"\x32\x04" + requested
    if op == 2 and kind == 5:
        options += b"\x33\x04" + struct.pack(">I", 3600) + b"\x01\x04\xff\xff\x00\x00" + b"\x03\x04" + ip4(1)
    options += extra + b"\xff"
    head = struct.pack(">BBBBIHH4s4s4s4s", op, 1, 6, 0, xid, 0, 0, bytes(4), your, bytes(4), relay)
    return head + client + bytes(10) + bytes(192) + b"\x63\x82\x53\x63" + options


def from_client(message, client):
    return udp4(bytes(4), b"\xff" * 4, (68, 67), message, (client, ALL))


def from_server(message, server, smac=mac(1, 6)):
    return udp4(server, b"\xff" * 4, (67, 68), message, (smac, ALL))


# ---- what a sender can invent; each yields frames of Ethernet


def discovers(n):
    for i in range(n):
        yield from_client(dhcp4(1, 1, mac(i), i), mac(i))


def leases(n):
    server = ip4(2)
    for i in range(n // 4):
        yield from_client(dhcp4(1, 1, mac(i), i), mac(i))
        yield from_server(dhcp4(2, 2, mac(i), i, ip4(256 + i), server=server), server)
        yield from_client(dhcp4(1, 3, mac(i), i, server=server, requested=ip4(256 + i)), mac(i))
        yield from_server(dhcp4(2, 5, mac(i), i, ip4(256 + i), server=server), server)


def servers(n):
    for i in range(n // 2):
        yield from_client(dhcp4(1, 1, mac(i % 64), i), mac(i % 64))
        yield from_server(dhcp4(2, 2, mac(i % 64), i, ip4(9), server=ip4(i, 11)), ip4(i, 11), mac(i, 6))


def acks(n):
    for i in range(n // 2):
        client = mac(i % 64)
        yield from_client(dhcp4(1, 3, client, i, server=ip4(i, 11), requested=ip4(9)), client)
        yield from_server(dhcp4(2, 5, client, i, ip4(9 + i % 64), server=ip4(i, 11)), ip4(i, 11), mac(i, 6))


def naks(n):
    server = ip4(2)
    for i in range(n // 2):
        yield from_client(dhcp4(1, 3, mac(i), i, requested=ip4(256 + i)), mac(i))
        yield from_server(dhcp4(2, 6, mac(i), i, server=server), server)


def declines(n):
    for i in range(n):
        yield from_client(dhcp4(1, 4, mac(i), i, server=ip4(2), requested=ip4(256 + i)), mac(i))


def releases(n):
    for i in range(n):
        yield udp4(ip4(256 + i), ip4(2), (68, 67), dhcp4(1, 7, mac(i), i, server=ip4(2)), (mac(i), mac(1, 6)))


def relays(n):
    for i in range(n):
        message = dhcp4(1, 1, mac(i % 64), i, relay=ip4(i, 12))
        yield udp4(ip4(i, 12), ip4(2), (67, 67), message, (mac(i, 6), mac(1, 6)))


def names(n):
    for i in range(n // 2):
        name = f"h{i}".encode()
        extra = bytes([12, len(name)]) + name
        yield from_client(dhcp4(1, 3, mac(i), i, server=ip4(2), requested=ip4(256 + i), extra=extra), mac(i))
        yield from_server(dhcp4(2, 5, mac(i), i, ip4(256 + i), server=ip4(2)), ip4(2))


def same_address(n):
    """Every address is given to two clients."""
    server = ip4(2)
    for i in range(n // 4):
        for k in (0, 1):
            client = mac(2 * i + k)
            yield from_client(dhcp4(1, 3, client, i, server=server, requested=ip4(256 + i)), client)
            yield from_server(dhcp4(2, 5, client, i, ip4(256 + i), server=server), server)


def dhcp6(kind, xid, client, server=None, address=None):
    duid = b"\x00\x03\x00\x01" + client
    options = struct.pack(">HH", 1, len(duid)) + duid
    if server:
        options += struct.pack(">HH", 2, len(server)) + server
    inner = struct.pack(">HH16sII", 5, 24, address, 1800, 3600) if address else b""
    options += struct.pack(">HHIII", 3, 12 + len(inner), 1, 900, 1440) + inner
    return struct.pack(">I", kind << 24 | xid & 0xFFFFFF) + options


AGENTS = bytes.fromhex("ff020000000000000000000000010002")
NODES = bytes.fromhex("ff020000000000000000000000000001")
ROUTERS6 = bytes.fromhex("ff020000000000000000000000000002")
TO_AGENTS = bytes.fromhex("333300010002")
TO_NODES = bytes.fromhex("333300000001")


def solicits(n):
    for i in range(n):
        yield udp6(local6(i), AGENTS, (546, 547), dhcp6(1, i, mac(i)), (mac(i), TO_AGENTS))


def leases6(n):
    for i in range(n // 2):
        duid = b"\x00\x03\x00\x01" + mac(1, 6)
        yield udp6(local6(i), AGENTS, (546, 547), dhcp6(3, i, mac(i), duid, ip6(i)), (mac(i), TO_AGENTS))
        yield udp6(local6(1 << 24), local6(i), (547, 546), dhcp6(7, i, mac(i), duid, ip6(i)), (mac(1, 6), mac(i)))


def servers6(n):
    for i in range(n // 2):
        duid = b"\x00\x03\x00\x01" + mac(i, 6)
        client = i % 64
        yield udp6(local6(client), AGENTS, (546, 547), dhcp6(1, i, mac(client)), (mac(client), TO_AGENTS))
        yield udp6(local6(4096 + i), local6(client), (547, 546), dhcp6(2, i, mac(client), duid, ip6(i)), (mac(i, 6), mac(client)))


def arp(op, sender, source, target, wanted, to=ALL):
    body = struct.pack(">HHBBH6s4s6s4s", 1, 0x800, 6, 4, op, sender, source, target, wanted)
    return ethernet(sender, to, 0x806, body)


def arp_replies(n):
    for i in range(n):
        yield arp(2, mac(i), ip4(i), ALL, ip4(i))


def arp_requests(n):
    for i in range(n):
        yield arp(1, mac(7), ip4(7), bytes(6), ip4(256 + i))


def arp_askers(n):
    for i in range(n):
        yield arp(1, mac(i), ip4(256 + i), bytes(6), ip4(1))


def arp_probes(n):
    for i in range(n):
        yield arp(1, mac(i), bytes(4), bytes(6), ip4(256 + i))


def arp_conflicts(n):
    for i in range(n // 4):
        for k in (0, 1, 0, 1):
            yield arp(2, mac(i, 2 + 4 * k), ip4(i), ALL, ip4(i))


def neighbor_advertisements(n):
    for i in range(n):
        body = struct.pack(">BBHI16sBB6s", 136, 0, 0, 0x20000000, ip6(i), 2, 1, mac(i))
        yield icmp6(ip6(i), NODES, body, (mac(i), TO_NODES))


def neighbor_conflicts(n):
    for i in range(n // 4):
        for k in (0, 1, 0, 1):
            body = struct.pack(">BBHI16sBB6s", 136, 0, 0, 0x20000000, ip6(i), 2, 1, mac(i, 2 + 4 * k))
            yield icmp6(ip6(i), NODES, body, (mac(i, 2 + 4 * k), TO_NODES))


def neighbor_solicitations(n):
    for i in range(n):
        target = ip6(i)
        group = bytes.fromhex("ff0200000000000000000001ff") + target[13:]
        body = struct.pack(">BBHI16sBB6s", 135, 0, 0, 0, target, 1, 1, mac(7))
        yield icmp6(ip6(1 << 24), group, body, (mac(7), b"\x33\x33\xff" + target[13:]))


def duplicate_detection(n):
    for i in range(n):
        target = ip6(i)
        group = bytes.fromhex("ff0200000000000000000001ff") + target[13:]
        body = struct.pack(">BBHI16s", 135, 0, 0, 0, target)
        yield icmp6(bytes(16), group, body, (mac(i), b"\x33\x33\xff" + target[13:]))


def ra(router, sender, lifetime=1800, prefix=0):
    option = struct.pack(">BBBBIII16s", 3, 4, 64, 0xC0, 3600, 1800, 0, struct.pack(">IIII", 0x20010DB8, prefix, 0, 0))
    body = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, lifetime, 0, 0) + option + b"\x01\x01" + sender
    return icmp6(router, NODES, body, (sender, TO_NODES))


def router_advertisements(n):
    for i in range(n):
        yield ra(local6(i), mac(i))


def router_farewells(n):
    for i in range(n // 2):
        yield ra(local6(i), mac(i))
        yield ra(local6(i), mac(i), 0)


def router_senders(n):
    for i in range(n):
        yield ra(local6(1), mac(i))


def router_prefixes(n):
    for i in range(n):
        yield ra(local6(1), mac(1), 1800, i)


def router_solicitations(n):
    for i in range(n):
        yield icmp6(local6(i), ROUTERS6, struct.pack(">BBHI", 133, 0, 0, 0), (mac(i), bytes.fromhex("333300000002")))


def redirects(n):
    for i in range(n):
        body = struct.pack(">BBHI16s16s", 137, 0, 0, 0, local6(i), ip6(i))
        yield icmp6(local6(1 << 24), ip6(1), body, (mac(i), mac(1)))


def vrrp(n):
    for i in range(n):
        body = struct.pack(">BBBBBBH4s", 0x31, i % 255 + 1, 100, 1, 0, 100, 0, ip4(i, 11))
        source = ip4(256 + i)
        pseudo = source + bytes([224, 0, 0, 18]) + struct.pack(">HH", 112, len(body))
        body = body[:6] + struct.pack(">H", checksum(pseudo + body)) + body[8:]
        yield packet4(source, bytes([224, 0, 0, 18]), 112, body, (mac(i), bytes.fromhex("01005e000012")), 255)


def bfd(n):
    for i in range(n // 4):
        for state, yours in ((1, 0), (2, 5), (3, 5), (1, 5)):
            body = struct.pack(">BBBBIIIII", 0x20, state << 6, 3, 24, i + 1, yours, 300000, 300000, 0)
            yield udp4(ip4(256 + i), ip4(1), (49152, 3784), body, (mac(i), mac(1)), 255)


def tcp(source, target, ports, sequence, flags, payload=b"", macs=None):
    head = struct.pack(">HHIIBBHHH", *ports, sequence, 1, 0x50, flags, 65535, 0, 0)
    pseudo = source + target + struct.pack(">HH", 6, len(head) + len(payload))
    total = checksum(pseudo + head + payload)
    head = head[:16] + struct.pack(">H", total) + head[18:]
    return packet4(source, target, 6, head + payload, macs or (mac(2), mac(1)), 64)


def bgp(kind, body=b""):
    return b"\xff" * 16 + struct.pack(">HB", 19 + len(body), kind) + body


def connections(n):
    for i in range(n):
        yield tcp(ip4(256 + i), ip4(1), (40000, 179), 1, 2)


def sessions(n):
    opening = bgp(1, struct.pack(">BHH4sB", 4, 65001, 90, ip4(3), 0))
    for i in range(n // 4):
        source = ip4(256 + i)
        yield tcp(source, ip4(1), (40000, 179), 1, 2)
        yield tcp(source, ip4(1), (40000, 179), 2, 24, opening)
        yield tcp(source, ip4(1), (40000, 179), 2 + len(opening), 24, bgp(4))
        yield tcp(source, ip4(1), (40000, 179), 21 + len(opening), 24, bgp(3, b"\x06\x02"))


def resets(n):
    for i in range(n // 2):
        yield tcp(ip4(256 + i), ip4(1), (40000, 179), 1, 2)
        yield tcp(ip4(256 + i), ip4(1), (40000, 179), 2, 4)


def holes(n):
    for i in range(n // 2):
        yield tcp(ip4(256 + i), ip4(1), (40000, 179), 1, 2)
        yield tcp(ip4(256 + i), ip4(1), (40000, 179), 100, 24, bgp(4))


def fragments(n):
    for i in range(n):
        yield packet4(ip4(256 + i), ip4(1), 17, bytes(64), (mac(2), mac(1)), 64, i & 0xFFFF, 0x2000)


# ---- the kernel's messages


def attribute(kind, body):
    return struct.pack("=HH", 4 + len(body), kind) + body + bytes(-len(body) % 4)


def message(kind, body, pid=0, seq=0):
    return struct.pack("=IHHII", 16 + len(body), kind, 0x400, seq, pid) + body


def neighbors(n):
    for i in range(n):
        body = struct.pack("=BxxxIHBB", 2, 2, 2, 0, 1) + attribute(1, ip4(i)) + attribute(2, mac(i))
        yield message(28, body)


def failed_neighbors(n):
    for i in range(n // 2):
        yield message(28, struct.pack("=BxxxIHBB", 2, 2, 2, 0, 1) + attribute(1, ip4(i)) + attribute(2, mac(i)))
        yield message(28, struct.pack("=BxxxIHBB", 2, 2, 0x20, 0, 1) + attribute(1, ip4(i)))


def link(i, up=True, kind=16):
    flags = 0x11043 if up else 0x1003
    body = struct.pack("=BxHIII", 0, 1, i, flags, 0xFFFFFFFF)
    return message(kind, body + attribute(3, f"e{i}".encode() + b"\0") + attribute(16, bytes([6 if up else 2])) + attribute(1, mac(i)))


def links(n):
    for i in range(n):
        yield link(i + 1)


def flapping_links(n):
    for i in range(n // 4):
        for up in (True, False, True, False):
            yield link(i + 1, up)


def gone_links(n):
    for i in range(n // 2):
        yield link(i + 1)
        yield link(i + 1, False, 17)


def addresses(n):
    for i in range(n):
        yield message(20, struct.pack("=BBBBI", 2, 32, 0x80, 0, 2) + attribute(1, ip4(i)) + attribute(2, ip4(i)))


def gone_addresses(n):
    for i in range(n // 2):
        for kind in (20, 21):
            yield message(kind, struct.pack("=BBBBI", 2, 32, 0x80, 0, 2) + attribute(1, ip4(i)) + attribute(2, ip4(i)))


def route(kind, i, gateway=None, protocol=186, pid=500, length=32, nexthop=None):
    body = struct.pack("=BBBBBBBBI", 2, length, 0, 0, 254, protocol, 0, 1, 0) + attribute(1, ip4(i, 11))
    if nexthop:
        body += attribute(30, struct.pack("=I", nexthop))
    else:
        body += attribute(5, gateway or ip4(1)) + attribute(4, struct.pack("=I", 2))
    return message(kind, body, pid)


def routes(n):
    yield link(2)
    for i in range(n):
        yield route(24, i)


def churned_routes(n):
    yield link(2)
    for i in range(n // 4):
        for kind in (24, 25, 24, 25):
            yield route(kind, i)


def rounds_of_routes(n):
    yield link(2)
    for _ in range(2):
        for i in range(n // 4):
            yield route(24, i)
        for i in range(n // 4):
            yield route(25, i)


def moved_routes(n):
    yield link(2)
    for i in range(n // 4):
        for gateway in (1, 2, 1, 2):
            yield route(24, i, ip4(gateway))


def gateways(n):
    yield link(2)
    for i in range(n):
        yield route(24, i, ip4(i))


def processes(n):
    yield link(2)
    for i in range(n // 2):
        yield route(24, i, pid=1000 + i)
        yield route(25, i, pid=1000 + i)


def nexthops(n):
    yield link(2)
    for i in range(n):
        body = struct.pack("=BBBBI", 2, 0, 186, 0, 0) + attribute(1, struct.pack("=I", i + 1)) + attribute(5, struct.pack("=I", 2))
        yield message(104, body + attribute(6, ip4(i)))


def gone_nexthops(n):
    yield link(2)
    for kind in (104, 105):
        for i in range(n // 2):
            body = struct.pack("=BBBBI", 2, 0, 186, 0, 0) + attribute(1, struct.pack("=I", i + 1))
            if kind == 104:
                body += attribute(5, struct.pack("=I", 2)) + attribute(6, ip4(i))
            yield message(kind, body)


# ---- MRT and BMP: whole BGP


def path_attributes(path, nexthop=ip4(1), extra=b""):
    segment = struct.pack(f">BB{len(path)}I", 2, len(path), *path)
    return b"\x40\x01\x01\x00" + b"\x40\x02" + bytes([len(segment)]) + segment + b"\x40\x03\x04" + nexthop + extra


def update(prefixes, withdrawn=False, path=(65001,), length=24, extra=b""):
    octets = (length + 7) // 8
    nlri = b"".join(bytes([length]) + prefix[:octets] for prefix in prefixes)
    if withdrawn:
        return bgp(2, struct.pack(">H", len(nlri)) + nlri + bytes(2))
    attributes = path_attributes(path, extra=extra)
    return bgp(2, bytes(2) + struct.pack(">H", len(attributes)) + attributes + nlri)


def many(n, length, rounds=2, path=lambda i, round: (65001, 65002)):
    shift = 32 - length
    for turn in range(rounds):
        for withdrawn in (False, True):
            for i in range(n // (2 * rounds)):
                yield 0, update([ip4(i << shift, 20)], withdrawn, path(i, turn), length)


def prefixes(n):
    return many(n, 24 if n < 2**18 else 28)


def host_routes(n):
    return many(n, 32)


def churned_prefixes(n):
    for i in range(n // 8):
        for turn in range(4):
            for withdrawn in (False, True):
                yield 0, update([ip4(i << 4, 20)], withdrawn, length=28)


def origins(n):
    for i in range(n // 2):
        yield 0, update([ip4(i << 4, 20)], path=(65001, 65002), length=28)
        yield 1, update([ip4(i << 4, 20)], path=(65003, 65004), length=28)


def changing_paths(n):
    for i in range(n // 4):
        for turn in (0, 1, 0, 1):
            yield 0, update([ip4(i << 4, 20)], path=(65001, 65002 + turn), length=28)


def attribute_sets(n):
    for i in range(n):
        yield 0, update([ip4((i % 4096) << 4, 20)], path=(65001, 100000 + i), length=28)


def more_specifics(n):
    for i in range(n // 2):
        yield 0, update([ip4(i << 5, 20)], path=(65001, 65002), length=27)
        yield 0, update([ip4(i << 5, 20)], path=(65001, 65003), length=28)


def moved_hosts(n):
    for i in range(n // 4):
        for peer in (0, 1):
            yield peer, update([ip4(i, 20)], path=(65001 + peer,), length=32)
            yield peer, update([ip4(i, 20)], True, length=32)


def peers(n):
    for i in range(n // 2):
        yield i, update([ip4(i % 64 << 8, 20)])
        yield i, update([ip4(i % 64 << 8, 20)], True)


def peer_states(n):
    for i in range(n // 2):
        yield i, (6, 1)
        yield i, (1, 6)


def mrt(items):
    for k, (peer, body) in enumerate(items):
        at = START + k * STEP
        head = struct.pack(">IIHH4s4s", 65001 + peer, 65000, 0, 1, ip4(256 + peer, 30), ip4(1, 30))
        kind = 4
        if isinstance(body, tuple):
            body, kind = struct.pack(">HH", *body), 5
        micros = at % 10**9 // 1000
        yield struct.pack(">IHHII", at // 10**9, 17, kind, 4 + len(head) + len(body), micros) + head + body


def bmp(items):
    yield struct.pack(">BIB", 3, 6 + 8, 4) + struct.pack(">HH", 2, 4) + b"rout"
    known = set()
    for k, (peer, body) in enumerate(items):
        at = START + k * STEP
        address = bytes(12) + ip4(256 + peer, 30)
        head = struct.pack(">BBQ16sI4sII", 0, 0, 0, address, 65001 + peer, ip4(1, 30), at // 10**9, at % 10**9 // 1000)
        if peer not in known:
            known.add(peer)
            opening = bgp(1, struct.pack(">BHH4sB", 4, 65000, 90, ip4(3), 8) + b"\x02\x06\x41\x04" + struct.pack(">I", 65000))
            up = bytes(12) + ip4(1, 30) + struct.pack(">HH", 179, 4000) + opening + opening
            yield struct.pack(">BIB", 3, 6 + len(head) + len(up), 3) + head + up
        if isinstance(body, tuple):
            down = b"\x04"
            yield struct.pack(">BIB", 3, 6 + len(head) + len(down), 2) + head + down
            known.discard(peer)
        else:
            yield struct.pack(">BIB", 3, 6 + len(head) + len(body), 0) + head + body


def pcap(frames, link_type):
    yield struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, link_type)
    for k, frame in enumerate(frames):
        at = START + k * STEP
        if link_type == 253:
            frame = struct.pack(">HH12x", 0, 4) + frame
        yield struct.pack("=IIII", at // 10**9, at % 10**9, len(frame), len(frame)) + frame


PACKETS = [discovers, leases, servers, acks, naks, declines, releases, relays, names, same_address, solicits, leases6, servers6,
           arp_replies, arp_requests, arp_askers, arp_probes, arp_conflicts, neighbor_advertisements, neighbor_conflicts,
           neighbor_solicitations, duplicate_detection, router_advertisements, router_farewells, router_senders, router_prefixes,
           router_solicitations, redirects, vrrp, bfd, connections, sessions, resets, holes, fragments]
KERNEL = [neighbors, failed_neighbors, links, flapping_links, gone_links, addresses, gone_addresses, routes, churned_routes,
          rounds_of_routes, moved_routes, gateways, processes, nexthops, gone_nexthops]
ROUTING = [prefixes, host_routes, churned_prefixes, origins, changing_paths, attribute_sets, more_specifics, moved_hosts, peers,
           peer_states]


def inputs():
    for maker in PACKETS:
        yield maker.__name__, lambda n, maker=maker: pcap(maker(n), 1)
    for maker in KERNEL:
        yield maker.__name__, lambda n, maker=maker: pcap(maker(n), 253)
    for maker in ROUTING:
        yield "mrt_" + maker.__name__, lambda n, maker=maker: mrt(maker(n))
        yield "bmp_" + maker.__name__, lambda n, maker=maker: bmp(maker(n))


def seconds(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=100)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def instructions(command):
    tool = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    run = subprocess.run(tool + command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True, text=True)
    return int(re.search(r"I +refs: +([\d,]+)", run.stderr).group(1).replace(",", ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", action="store_true", help="CPU seconds instead of instructions")
    parser.add_argument("--only", help="names, with commas")
    parser.add_argument("--base", type=int, default=BASE)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("program", nargs="?")
    arguments = parser.parse_args()
    only = arguments.only and arguments.only.split(",")
    if arguments.list or not arguments.program:
        return print("\n".join(name for name, _ in inputs()))
    count = seconds if arguments.time else instructions
    unit, scale = ("us", 1e6) if arguments.time else ("instructions", 1)
    bad = []
    for name, maker in inputs():
        if only and name not in only:
            continue
        costs = []
        for times in (1, 4, 16):
            n = arguments.base * times
            with tempfile.NamedTemporaryFile(suffix=".bin") as file:
                for piece in maker(n):
                    file.write(piece)
                file.flush()
                try:
                    costs.append(count([arguments.program, "analyze", "--no-config", file.name]))
                except subprocess.TimeoutExpired:
                    costs.append(float("inf"))
                except subprocess.CalledProcessError as error:
                    print(f"{name:26} {n} failed: {error.returncode}")
                    costs.append(float("nan"))
        few = (costs[1] - costs[0]) / (3 * arguments.base) * scale
        much = (costs[2] - costs[1]) / (12 * arguments.base) * scale
        ratio = much / few if few > 0 else float("inf")
        held = ratio <= BAR or (arguments.time and much < 5)
        print(f"{name:26} {few:12.1f} {much:12.1f} {unit} for one more event, ratio {ratio:5.2f}{'' if held else '   GROWS'}", flush=True)
        if not held:
            bad.append(name)
    if bad:
        sys.exit(f"cost for each event grows with the table: {', '.join(bad)}")


if __name__ == "__main__":
    main()
