//! Connections that end at one of our own stations, written as the packets that a capture of them would hold.
//!
//! So a recording is an ordinary capture, every tool can read it, and `analyze` decodes it on the way that the live run took (law 13).
//! Octets and times are those of the socket; headers, sequence numbers and segment borders are made here. The stations talk to this
//! through [`Tap`]; nobody else needs to know that the packets were never on a wire.

use std::net::{IpAddr, SocketAddr};

use super::Format;
use super::live::{LiveItem, LiveRecord, LiveSender, locator};
use crate::event::{SourceId, Timestamp};

/// LINKTYPE_RAW: packets begin with their IP header.
pub const LINK_TYPE: u16 = 101;
/// Octets of one segment at most: an IPv4 packet holds 65,535 with headers.
pub const MAX_SEGMENT: usize = 60 * 1024;
/// Octets of a reset's text at most (RFC 9293 §3.5.3 lets a reset say why).
const MAX_TEXT: usize = 200;

const TCP: u8 = 6;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const TCP_HEADER: usize = 20;
/// Never on a wire, so no router counted it down.
const HOP_LIMIT: u8 = 64;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// Who sends a segment.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum End {
    Remote,
    Local,
}

/// The headers' state of one connection.
#[derive(Debug)]
pub struct Packets {
    /// Remote, local; of one family.
    ends: [SocketAddr; 2],
    next: [u32; 2],
    id: u16,
}

impl Packets {
    /// `number` tells connections with the same ports apart: it is the initial sequence number of both sides.
    pub fn new(remote: SocketAddr, local: SocketAddr, number: u32) -> Packets {
        let canonical = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
        Packets {
            ends: [canonical(remote), canonical(local)],
            next: [number; 2],
            id: 0,
        }
    }

    /// The handshake's first two segments: the router called, we answered.
    pub fn open(&mut self) -> [Vec<u8>; 2] {
        let syn = self.segment(End::Remote, SYN, &[]);
        let answer = self.segment(End::Local, SYN | ACK, &[]);
        [syn, answer]
    }

    /// Octets, at most [`MAX_SEGMENT`] of them.
    pub fn data(&mut self, from: End, octets: &[u8]) -> Vec<u8> {
        let octets = octets.get(..MAX_SEGMENT).unwrap_or(octets);
        self.segment(from, PSH | ACK, octets)
    }

    /// An orderly end.
    pub fn fin(&mut self, from: End) -> Vec<u8> {
        self.segment(from, FIN | ACK, &[])
    }

    /// An end with a reason.
    pub fn reset(&mut self, from: End, why: &str) -> Vec<u8> {
        let text = why.as_bytes();
        self.segment(from, RST | ACK, text.get(..MAX_TEXT).unwrap_or(text))
    }

    fn segment(&mut self, from: End, flags: u8, payload: &[u8]) -> Vec<u8> {
        let (sender, receiver) = match from {
            End::Remote => (0, 1),
            End::Local => (1, 0),
        };
        let (src, dst) = (self.ends[sender], self.ends[receiver]);
        let ack = if flags & ACK != 0 {
            self.next[receiver]
        } else {
            0
        };
        let mut tcp = Vec::with_capacity(TCP_HEADER);
        tcp.extend_from_slice(&src.port().to_be_bytes());
        tcp.extend_from_slice(&dst.port().to_be_bytes());
        tcp.extend_from_slice(&self.next[sender].to_be_bytes());
        tcp.extend_from_slice(&ack.to_be_bytes());
        let words = (TCP_HEADER / 4) as u8;
        tcp.extend_from_slice(&[words << 4, flags]);
        tcp.extend_from_slice(&u16::MAX.to_be_bytes()); // window
        tcp.extend_from_slice(&[0; 4]); // checksum, urgent pointer
        let taken = (payload.len() as u32).wrapping_add(u32::from(flags & (SYN | FIN) != 0));
        self.next[sender] = self.next[sender].wrapping_add(taken);
        self.id = self.id.wrapping_add(1);
        packet(src.ip(), dst.ip(), self.id, tcp, payload)
    }
}

/// The whole packet: IP header, TCP header with its checksum, payload.
fn packet(src: IpAddr, dst: IpAddr, id: u16, mut tcp: Vec<u8>, payload: &[u8]) -> Vec<u8> {
    let length = tcp.len() + payload.len();
    let mut sum = Sum::default();
    let mut packet = Vec::with_capacity(IPV6_HEADER + length);
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let total = (IPV4_HEADER + length) as u16;
            packet.extend_from_slice(&[0x45, 0]);
            packet.extend_from_slice(&total.to_be_bytes());
            packet.extend_from_slice(&id.to_be_bytes());
            packet.extend_from_slice(&[0x40, 0, HOP_LIMIT, TCP, 0, 0]); // do not fragment
            packet.extend_from_slice(&src.octets());
            packet.extend_from_slice(&dst.octets());
            let mut header = Sum::default();
            header.add(&packet);
            if let Some(field) = packet.get_mut(10..12) {
                field.copy_from_slice(&header.finish().to_be_bytes());
            }
            sum.add(&src.octets());
            sum.add(&dst.octets());
        }
        // Both ends of a socket are of one family; a mapped address beside a real one would be read as IPv6.
        (src, dst) => {
            let (src, dst) = (v6(src), v6(dst));
            packet.extend_from_slice(&[0x60, 0, 0, 0]);
            packet.extend_from_slice(&(length as u16).to_be_bytes());
            packet.extend_from_slice(&[TCP, HOP_LIMIT]);
            packet.extend_from_slice(&src);
            packet.extend_from_slice(&dst);
            sum.add(&src);
            sum.add(&dst);
        }
    }
    sum.add(&[0, TCP]);
    sum.add(&(length as u16).to_be_bytes());
    sum.add(&tcp);
    sum.add(payload);
    if let Some(field) = tcp.get_mut(16..18) {
        field.copy_from_slice(&sum.finish().to_be_bytes());
    }
    packet.extend_from_slice(&tcp);
    packet.extend_from_slice(payload);
    packet
}

fn v6(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped().octets(),
        IpAddr::V6(addr) => addr.octets(),
    }
}

/// The Internet checksum (RFC 1071).
#[derive(Default)]
struct Sum(u64);

impl Sum {
    /// Only the last piece may have an odd length.
    fn add(&mut self, octets: &[u8]) {
        let mut words = octets.chunks_exact(4);
        for word in &mut words {
            if let &[a, b, c, d] = word {
                self.0 += u64::from(u32::from_be_bytes([a, b, c, d]));
            }
        }
        self.0 += match *words.remainder() {
            [a] => u64::from(u16::from_be_bytes([a, 0])),
            [a, b] => u64::from(u16::from_be_bytes([a, b])),
            [a, b, c] => u64::from(u32::from_be_bytes([a, b, c, 0])),
            _ => 0,
        };
    }

    fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }
}

/// The pipeline is gone: nobody listens any more.
#[derive(Debug)]
pub struct Gone;

/// One connection's way into the pipeline. Waits when the pipeline is full (law 12).
#[derive(Debug)]
pub struct Tap {
    packets: Packets,
    source: SourceId,
    /// Records of the source so far, over all its connections.
    number: u64,
    out: LiveSender,
}

impl Tap {
    /// Tells of a connection that was opened at `at`. `number` is the source's last record number.
    pub async fn open(
        mut packets: Packets,
        source: SourceId,
        number: u64,
        at: Timestamp,
        out: LiveSender,
    ) -> Result<Tap, Gone> {
        let handshake = packets.open();
        let mut tap = Tap {
            packets,
            source,
            number,
            out,
        };
        for packet in handshake {
            tap.send(at, packet).await?;
        }
        Ok(tap)
    }

    /// Octets that one side sent.
    pub async fn data(&mut self, at: Timestamp, from: End, octets: &[u8]) -> Result<(), Gone> {
        for piece in octets.chunks(MAX_SEGMENT) {
            let packet = self.packets.data(from, piece);
            self.send(at, packet).await?;
        }
        Ok(())
    }

    /// One side closed the connection, with or without a reason; with one it is a reset. Returns the source's last record number.
    pub async fn close(mut self, at: Timestamp, from: End, why: Option<&str>) -> Result<u64, Gone> {
        let packets = match why {
            Some(why) => vec![self.packets.reset(from, why)],
            None => {
                let other = match from {
                    End::Remote => End::Local,
                    End::Local => End::Remote,
                };
                vec![self.packets.fin(from), self.packets.fin(other)]
            }
        };
        for packet in packets {
            self.send(at, packet).await?;
        }
        Ok(self.number)
    }

    async fn send(&mut self, at: Timestamp, packet: Vec<u8>) -> Result<(), Gone> {
        self.number = self.number.saturating_add(1);
        let record = LiveRecord {
            at,
            source: self.source,
            locator: locator(self.number),
            format: Format::Packet(LINK_TYPE),
            wire_len: packet.len() as u32,
            bytes: packet.into_boxed_slice(),
        };
        self.out
            .send(LiveItem::Record(record))
            .await
            .map_err(|_| Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(octets: &[u8]) -> u16 {
        let mut sum = Sum::default();
        sum.add(octets);
        sum.finish()
    }

    #[test]
    fn headers_carry_right_checksums_lengths_and_sequence_numbers() {
        let mut packets = Packets::new(
            "192.0.2.1:40000".parse().unwrap(),
            "192.0.2.2:179".parse().unwrap(),
            7,
        );
        let [syn, answer] = packets.open();
        assert_eq!((syn[33], answer[33]), (SYN, SYN | ACK));
        let data = packets.data(End::Remote, b"abc");
        assert_eq!(folded(&data[..20]), 0);
        assert_eq!(data.len(), 43);
        assert_eq!(data[2..4], 43u16.to_be_bytes());
        assert_eq!(data[24..28], 8u32.to_be_bytes());
        assert_eq!(data[28..32], 8u32.to_be_bytes());
        // Pseudo header, segment: the sum over all of it is zero.
        let mut whole = data[12..20].to_vec();
        whole.extend_from_slice(&[0, TCP, 0, 23]);
        whole.extend_from_slice(&data[20..]);
        assert_eq!(folded(&whole), 0);
        let fin = packets.fin(End::Remote);
        assert_eq!(fin[24..28], 11u32.to_be_bytes());
        let reset = packets.reset(End::Local, "because");
        assert_eq!(&reset[40..], b"because");
        assert_eq!(reset[28..32], 12u32.to_be_bytes());
    }

    #[test]
    fn an_ipv4_router_on_a_dual_stack_socket_is_written_as_ipv4() {
        let mut packets = Packets::new(
            "[::ffff:192.0.2.1]:40000".parse().unwrap(),
            "[::ffff:192.0.2.2]:11019".parse().unwrap(),
            1,
        );
        assert_eq!(packets.data(End::Remote, &[3])[0], 0x45);
        let mut packets = Packets::new(
            "[2001:db8::1]:40000".parse().unwrap(),
            "[2001:db8::2]:11019".parse().unwrap(),
            1,
        );
        let data = packets.data(End::Remote, &[3, 0, 0]);
        assert_eq!((data[0], data.len()), (0x60, 63));
        let mut whole = data[8..40].to_vec();
        whole.extend_from_slice(&[0, TCP, 0, 23]);
        whole.extend_from_slice(&data[40..]);
        assert_eq!(folded(&whole), 0);
    }
}
