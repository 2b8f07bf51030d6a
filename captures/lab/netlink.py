"""Records rtnetlink as nlmon would: LINKTYPE_NETLINK (253) with the 16-byte cooked header, dumps first, then notifications.

usage: netlink.py FILE.pcap   (ends with SIGTERM)
"""
import os
import select
import signal
import socket
import struct
import sys
import time

NETLINK_ROUTE = 0
SOL_NETLINK, ADD_MEMBERSHIP, SO_RCVBUFFORCE = 270, 1, 33
# RTNLGRP_*: link, neigh, IPv4 address, route and rule, IPv6 address, route and rule, nexthop.
GROUPS = (1, 3, 5, 7, 8, 9, 11, 19, 32)
# RTM_GET*: links, addresses, routes, neighbors, rules, nexthops; with the length of each family header.
DUMPS = ((18, 16), (22, 8), (26, 12), (30, 12), (34, 12), (106, 8))
REQUEST_DUMP = 0x301
DONE, ERROR = 3, 2
# Packet type 4 (outgoing) and ARPHRD_NETLINK, as nlmon stamps what the kernel sends; then the netlink family.
COOKED = struct.pack(">HH10xH", 4, 824, NETLINK_ROUTE)
SNAP = 0x40000


def main(path):
    out = open(path, "wb", buffering=0)
    out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, SNAP, 253))

    def record(data):
        second, part = divmod(time.time_ns(), 1_000_000_000)
        size = len(COOKED) + len(data)
        out.write(struct.pack("<IIII", second, part, size, size) + COOKED + data)

    def opened():
        s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE)
        s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        s.bind((0, 0))
        return s

    # Subscribed before the dumps: nothing between dump and subscription is lost.
    listener, asker = opened(), opened()
    for group in GROUPS:
        listener.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, group)
    for sequence, (kind, header) in enumerate(DUMPS, 1):
        asker.send(struct.pack("<IHHII", 16 + header, kind, REQUEST_DUMP, sequence, 0) + bytes(header))
        ended = False
        while not ended:
            data = asker.recv(1 << 20)
            record(data)
            at = 0
            while at + 16 <= len(data):
                size, message = struct.unpack_from("<IH", data, at)
                ended |= message in (DONE, ERROR)
                at += max(16, size + 3 & ~3)
    open(path + ".ready", "w").close()

    alive = True

    def leave(*_):
        nonlocal alive
        alive = False

    signal.signal(signal.SIGTERM, leave)
    while alive:
        if select.select([listener], [], [], 0.2)[0]:
            record(listener.recv(1 << 20))
    os.fsync(out.fileno())


main(sys.argv[1])
