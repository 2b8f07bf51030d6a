//! Byte streams that we were one end of, as the packets of a TCP connection.
//!
//! A BMP station and a BGP listener read from sockets, where no packets are. As raw IP packets with handshake, sequence numbers and
//! checksums their streams go the way of captured ones: the decoders reassemble them, the recording holds them, Wireshark follows them,
//! and `analyze` of that recording sees what the live run saw (law 13).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::event::Timestamp;

/// `LINKTYPE_RAW`: the packet begins with its IP header.
pub const LINK_TYPE: u16 = 101;

/// Octets of payload in one packet: below what an IPv4 packet holds (65,495), and whole pages.
pub const SEGMENT: usize = 61_440;

/// Octets of a reset's sentence at most.
const MAX_TEXT: usize = 200;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// Window scale told in the handshake, the largest (RFC 7323 §2.3), and the window: nothing is acknowledged until the end.
const SCALE: u8 = 14;
const WINDOW: u16 = u16::MAX;

const TCP: u8 = 6;
const HOP_LIMIT: u8 = 64;

/// Which end sends.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Sender {
    Remote,
    Local,
}

/// A connection, as packets.
#[derive(Clone, Debug)]
pub struct Connection {
    remote: SocketAddr,
    local: SocketAddr,
    /// Next sequence numbers, the remote's first.
    next: [u32; 2],
    ids: u16,
    over: bool,
}

impl Connection {
    /// A connection that `remote` opens to `local` at a time, and the packets of its handshake. The first sequence number follows the
    /// clock, 4 µs a step (RFC 6528 §3): a router that comes back with the same port is a new connection.
    pub fn open(remote: SocketAddr, local: SocketAddr, at: Timestamp) -> (Self, Vec<Box<[u8]>>) {
        let first = (at.0 >> 12) as u32;
        let (remote, local) = same_family(remote, local);
        let mut connection = Connection {
            remote,
            local,
            next: [first, !first],
            ids: 0,
            over: false,
        };
        let handshake = vec![
            connection.packet(Sender::Remote, SYN, &[]),
            connection.packet(Sender::Local, SYN | ACK, &[]),
            connection.packet(Sender::Remote, ACK, &[]),
        ];
        (connection, handshake)
    }

    /// A connection that `remote` wanted to open, and that came to nothing: the call, and a reset with the reason.
    pub fn refused(
        remote: SocketAddr,
        local: SocketAddr,
        at: Timestamp,
        why: &str,
    ) -> Vec<Box<[u8]>> {
        let (mut connection, mut packets) = Connection::open(remote, local, at);
        packets.truncate(1);
        packets.extend(connection.reset_because(Sender::Local, why));
        packets
    }

    /// The next octets that one end sent, in as many packets as they need.
    pub fn data(&mut self, sender: Sender, bytes: &[u8]) -> Vec<Box<[u8]>> {
        if self.over {
            return Vec::new();
        }
        let segments = bytes.chunks(SEGMENT);
        segments
            .map(|segment| self.packet(sender, PSH | ACK, segment))
            .collect()
    }

    /// The end in good order, begun by `sender`.
    pub fn close(&mut self, sender: Sender) -> Vec<Box<[u8]>> {
        if std::mem::replace(&mut self.over, true) {
            return Vec::new();
        }
        let other = match sender {
            Sender::Remote => Sender::Local,
            Sender::Local => Sender::Remote,
        };
        vec![
            self.packet(sender, FIN | ACK, &[]),
            self.packet(other, FIN | ACK, &[]),
            self.packet(sender, ACK, &[]),
        ]
    }

    /// The end by error, told by `sender`.
    pub fn reset(&mut self, sender: Sender) -> Vec<Box<[u8]>> {
        if std::mem::replace(&mut self.over, true) {
            return Vec::new();
        }
        vec![self.packet(sender, RST | ACK, &[])]
    }

    /// The end by error, with the sentence that RFC 9293 §3.5.3 lets a reset carry.
    pub fn reset_because(&mut self, sender: Sender, why: &str) -> Vec<Box<[u8]>> {
        if std::mem::replace(&mut self.over, true) {
            return Vec::new();
        }
        let text = why.as_bytes();
        let text = text.get(..MAX_TEXT).unwrap_or(text);
        vec![self.packet(sender, RST | ACK, text)]
    }

    fn packet(&mut self, sender: Sender, flags: u8, payload: &[u8]) -> Box<[u8]> {
        let [remote, local] = self.next;
        let (from, to, seq, ack) = match sender {
            Sender::Remote => (self.remote, self.local, remote, local),
            Sender::Local => (self.local, self.remote, local, remote),
        };
        let ack = if flags & ACK == 0 { 0 } else { ack };
        let tcp = segment(from, to, seq, ack, flags, payload);
        let used = payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0);
        let [remote, local] = &mut self.next;
        match sender {
            Sender::Remote => *remote = remote.wrapping_add(used),
            Sender::Local => *local = local.wrapping_add(used),
        }
        self.ids = self.ids.wrapping_add(1);
        ip(from.ip(), to.ip(), self.ids, &tcp).into()
    }
}

/// A socket for both families says `::ffff:192.0.2.1`; where only one end is IPv4, both become IPv6.
fn same_family(remote: SocketAddr, local: SocketAddr) -> (SocketAddr, SocketAddr) {
    let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    let (remote, local) = (plain(remote), plain(local));
    if remote.is_ipv4() == local.is_ipv4() {
        return (remote, local);
    }
    let mapped = |end: SocketAddr| match end.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), end.port()),
        IpAddr::V6(_) => end,
    };
    (mapped(remote), mapped(local))
}

fn segment(
    from: SocketAddr,
    to: SocketAddr,
    seq: u32,
    ack: u32,
    flags: u8,
    payload: &[u8],
) -> Vec<u8> {
    // The scale option (RFC 7323 §2.2), padded to a word, stands in the handshake only.
    let options: &[u8] = if flags & SYN != 0 {
        &[1, 3, 3, SCALE]
    } else {
        &[]
    };
    let words = (20 + options.len() as u8) / 4;
    let mut tcp = Vec::with_capacity(24 + payload.len());
    tcp.extend(from.port().to_be_bytes());
    tcp.extend(to.port().to_be_bytes());
    tcp.extend(seq.to_be_bytes());
    tcp.extend(ack.to_be_bytes());
    tcp.extend([words << 4, flags]);
    tcp.extend(WINDOW.to_be_bytes());
    tcp.extend([0; 4]);
    tcp.extend(options);
    tcp.extend(payload);
    let mut sum = Sum::default();
    sum.address(from.ip());
    sum.address(to.ip());
    sum.add(&u32::from(TCP).to_be_bytes());
    sum.add(&(tcp.len() as u32).to_be_bytes());
    sum.add(&tcp);
    let checksum = sum.finish();
    if let Some(place) = tcp.get_mut(16..18) {
        place.copy_from_slice(&checksum.to_be_bytes());
    }
    tcp
}

fn ip(from: IpAddr, to: IpAddr, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(40 + payload.len());
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            // SEGMENT keeps it below 2^16.
            let total = u16::try_from(20 + payload.len()).unwrap_or(u16::MAX);
            packet.extend([0x45, 0]);
            packet.extend(total.to_be_bytes());
            packet.extend(id.to_be_bytes());
            packet.extend([0x40, 0, HOP_LIMIT, TCP, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            let mut sum = Sum::default();
            sum.add(&packet);
            let checksum = sum.finish();
            if let Some(place) = packet.get_mut(10..12) {
                place.copy_from_slice(&checksum.to_be_bytes());
            }
        }
        (from, to) => {
            let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
            packet.extend([0x60, 0, 0, 0]);
            packet.extend(length.to_be_bytes());
            packet.extend([TCP, HOP_LIMIT]);
            packet.extend(v6(from).octets());
            packet.extend(v6(to).octets());
        }
    }
    packet.extend(payload);
    packet
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// The Internet checksum (RFC 1071). What is added must be of even length, but for the last.
#[derive(Default)]
struct Sum(u64);

impl Sum {
    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => self.add(&v4.octets()),
            IpAddr::V6(v6) => self.add(&v6.octets()),
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        // 32 bits at a time: 2^16 octets cannot overflow 64 bits.
        let (words, rest) = bytes.as_chunks::<4>();
        let sum: u64 = words
            .iter()
            .map(|word| u64::from(u32::from_be_bytes(*word)))
            .sum();
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        self.0 += sum + u64::from(u32::from_be_bytes(last));
    }

    fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{SlicedPacket, TransportSlice};

    use super::*;

    fn checked(packet: &[u8]) -> etherparse::TcpHeader {
        let sliced = SlicedPacket::from_ip(packet).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else {
            panic!("no TCP")
        };
        let right = match sliced.net.unwrap() {
            etherparse::NetSlice::Ipv4(v4) => {
                let header = v4.header().to_header();
                assert_eq!(header.header_checksum, header.calc_header_checksum());
                tcp.calc_checksum_ipv4(v4.header().source(), v4.header().destination())
            }
            etherparse::NetSlice::Ipv6(v6) => {
                tcp.calc_checksum_ipv6(v6.header().source(), v6.header().destination())
            }
            _ => panic!("no IP"),
        };
        assert_eq!(tcp.checksum(), right.unwrap());
        tcp.to_header()
    }

    fn run(remote: &str, local: &str) {
        let at = Timestamp::from_parts(1_700_000_000, 0);
        let (mut connection, handshake) =
            Connection::open(remote.parse().unwrap(), local.parse().unwrap(), at);
        let [syn, answer, ack] = [0, 1, 2].map(|index| checked(&handshake[index]));
        assert!(syn.syn && !syn.ack && answer.syn && answer.ack && ack.ack && !ack.syn);
        assert_eq!(
            answer.acknowledgment_number,
            syn.sequence_number.wrapping_add(1)
        );
        let octets: Vec<u8> = (0..150_001u32).map(|n| n as u8).collect();
        let mut next = ack.sequence_number;
        let mut seen = Vec::new();
        for packet in connection.data(Sender::Remote, &octets) {
            let tcp = checked(&packet);
            assert_eq!(tcp.sequence_number, next);
            let payload = &packet[packet.len() - (packet.len() - header(&packet))..];
            next = next.wrapping_add(payload.len() as u32);
            seen.extend_from_slice(payload);
        }
        assert_eq!(seen, octets);
        let end = connection.close(Sender::Remote);
        let [fin, answer, last] = [0, 1, 2].map(|index| checked(&end[index]));
        assert!(fin.fin && answer.fin && !last.fin);
        assert_eq!(fin.sequence_number, next);
        assert_eq!(answer.acknowledgment_number, next.wrapping_add(1));
        assert!(connection.data(Sender::Remote, &[1]).is_empty());
        assert!(connection.reset(Sender::Local).is_empty());
    }

    fn header(packet: &[u8]) -> usize {
        if packet[0] >> 4 == 4 { 40 } else { 60 }
    }

    #[test]
    fn a_stream_becomes_a_connection_with_right_numbers_and_checksums() {
        run("192.0.2.1:40000", "192.0.2.2:11019");
        run("[2001:db8::1]:40000", "[2001:db8::2]:11019");
        run("[::ffff:192.0.2.1]:40000", "192.0.2.2:11019");
        run("[::ffff:192.0.2.1]:40000", "[2001:db8::2]:11019");
    }
}
