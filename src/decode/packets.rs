//! From a captured frame to the decoder of the message it carries: prefilter, link layer, IP, fragments, transport.
//!
//! Owns the state that packets need (fragments, TCP connections), nothing of what messages mean. ICMP errors quote the packets
//! they are about; quotes are not traffic: beyond neighbor discovery, ICMP is only asked whose BGP segment did not arrive.

use std::net::SocketAddr;

use etherparse::{TcpSlice, UdpHeaderSlice};

use super::checksum;
use super::defrag::{self, Defrag};
use super::frame::ip::{self, Content, Packet, Transport, Trouble, protocol};
use super::frame::prefilter;
use super::frame::{Link, ethertype, link};
use super::stats::PacketCounters;
use super::tcp::{Segment, TcpStreams};
use super::{
    Emit, NdContext, Stamp, UdpContext, annotation, arp, bfd, dhcp4, dhcp6, icmp, malformed, nd,
    vrrp,
};
use crate::event::EventKind;
use crate::event::annotation::LINK_TYPE;
use crate::event::frame::Frame;
use crate::event::loss::{Malformed, Protocol};
use crate::event::ports::{self, DHCP4_CLIENT, DHCP4_SERVER, DHCP6_CLIENT, DHCP6_SERVER};
use crate::input::Record;

/// UDP's header.
const UDP_HEADER: usize = 8;
/// Offset and value of the magic cookie that makes BOOTP DHCP (RFC 2131 §3).
const MAGIC_COOKIE: (usize, u32) = (236, 0x6382_5363);

/// The packet side of a decoder.
#[derive(Clone, Default)]
pub struct Packets {
    defrag: Defrag,
    pub tcp: TcpStreams,
}

/// What the packet around a transport payload said.
struct Around {
    frame: Frame,
    ip_id: u16,
    fragmented: bool,
    missing: usize,
}

impl Packets {
    /// Decodes one frame. Returns the netlink messages in it, if it is one of nlmon's: they belong to another decoder.
    pub fn frame<'a>(
        &mut self,
        link_type: u16,
        record: &Record<'a>,
        stamp: &Stamp,
        stats: &mut PacketCounters,
        emit: Emit<'_>,
    ) -> Option<&'a [u8]> {
        let (bytes, wire) = (record.bytes, record.wire_len as usize);
        stats.packets += 1;
        if link_type == LINK_TYPE {
            match annotation::decode(bytes, record.at) {
                Some(said) => emit(&stamp.event(EventKind::Annotation(Box::new(said)))),
                None => stats.unwanted += 1,
            }
            return None;
        }
        let is_cut = wire > bytes.len();
        stats.cut += u64::from(is_cut);
        match link(link_type, bytes) {
            Link::Network {
                ethertype,
                payload,
                header,
                frame,
            } => {
                let wire = wire.max(bytes.len()).saturating_sub(header);
                self.network(ethertype, payload, wire, frame, stamp, stats, emit);
            }
            Link::Netlink(messages) => return Some(messages),
            Link::Short => {
                if !is_cut {
                    stats.short += 1;
                    report(
                        malformed(Protocol::Frame, "ends inside its headers", bytes),
                        stamp,
                        emit,
                    );
                }
            }
            Link::Foreign => stats.unwanted += 1,
            Link::UnknownLinkType => stats.unknown_link_types.add(link_type),
        }
        None
    }

    #[allow(clippy::too_many_arguments)] // the layers of one packet, each needed once
    fn network(
        &mut self,
        ethertype: u16,
        payload: &[u8],
        wire: usize,
        mut frame: Frame,
        stamp: &Stamp,
        stats: &mut PacketCounters,
        emit: Emit<'_>,
    ) {
        match ethertype {
            ethertype::ARP => {
                match arp::decode(payload, &frame) {
                    Ok(Some(arp)) => emit(&stamp.event(EventKind::Arp(Box::new(arp)))),
                    Ok(None) => stats.unwanted += 1,
                    Err(_) if wire > payload.len() => {}
                    Err(why) => report(why, stamp, emit),
                }
                return;
            }
            ethertype::IPV4 | ethertype::IPV6 => {}
            _ => return stats.unknown_ethertypes.add(ethertype),
        }
        if !self.tcp.is_own(stamp.source)
            && !prefilter::wanted(ethertype, payload, self.tcp.known_ports())
        {
            stats.unwanted += 1;
            return;
        }
        let packet = match ip::packet(ethertype, payload, wire) {
            Ok(packet) => packet,
            Err(trouble) => {
                return trouble_in_ip(trouble, payload, wire > payload.len(), stamp, stats, emit);
            }
        };
        frame.ip_src = Some(packet.src);
        frame.ip_dst = Some(packet.dst);
        frame.hop_limit = Some(packet.hop_limit);
        let around = Around {
            frame,
            ip_id: packet.id,
            fragmented: false,
            missing: packet.missing,
        };
        match packet.content {
            Content::Whole(transport) => {
                self.transport(&packet, transport, &around, stamp, stats, emit);
            }
            Content::Fragment(_) => self.fragment(&packet, around, stamp, stats, emit),
        }
    }

    fn fragment(
        &mut self,
        packet: &Packet<'_>,
        around: Around,
        stamp: &Stamp,
        stats: &mut PacketCounters,
        emit: Emit<'_>,
    ) {
        let Content::Fragment(fragment) = packet.content else {
            return;
        };
        stats.fragments += 1;
        if packet.missing > 0 {
            return; // its datagram will never be whole
        }
        let is_v4 = packet.src.is_ipv4();
        let key = defrag::Key {
            source: stamp.source,
            ifindex: around.frame.ifindex,
            vlans: around.frame.vlans,
            src: packet.src,
            dst: packet.dst,
            id: fragment.id,
            protocol: is_v4.then_some(fragment.protocol),
        };
        let outcome = self.defrag.fragment(key, &fragment, stamp.at);
        stats.fragments_evicted = self.defrag.evicted;
        let (first, datagram) = match outcome {
            defrag::Outcome::Complete(first, datagram) => (first, datagram),
            defrag::Outcome::Discarded(why) => {
                return report(malformed(Protocol::Ip, why, fragment.payload), stamp, emit);
            }
            defrag::Outcome::Waiting | defrag::Outcome::Ignored => return,
        };
        stats.reassembled += 1;
        let content = if is_v4 {
            ip::v4_transport(first, &datagram).map(Content::Whole)
        } else {
            ip::v6_content(first, &datagram, true)
        };
        let around = Around {
            fragmented: true,
            ..around
        };
        match content {
            Ok(Content::Whole(transport)) => {
                self.transport(packet, transport, &around, stamp, stats, emit);
            }
            Ok(Content::Fragment(_)) => {} // cannot be: refused by v6_content
            Err(trouble) => trouble_in_ip(trouble, &datagram, false, stamp, stats, emit),
        }
    }

    fn transport(
        &mut self,
        packet: &Packet<'_>,
        transport: Transport<'_>,
        around: &Around,
        stamp: &Stamp,
        stats: &mut PacketCounters,
        emit: Emit<'_>,
    ) {
        match transport.protocol {
            protocol::UDP => udp(packet, transport.payload, around, stamp, stats, emit),
            protocol::ICMPV6 if packet.src.is_ipv6() => {
                icmpv6(packet, &transport, around, stamp, stats, emit);
            }
            protocol::TCP => self.tcp(packet, transport.payload, around, stamp, stats, emit),
            protocol::ICMP if packet.src.is_ipv4() => {
                match icmp::quoted(transport.payload, false, &around.frame) {
                    Some(error) => emit(&stamp.event(EventKind::Tcp(Box::new(error)))),
                    None => stats.unwanted += 1,
                }
            }
            protocol::VRRP if !around.fragmented => {
                match vrrp::decode(transport.payload, &around.frame, around.missing == 0) {
                    Some(said) => emit(&stamp.event(EventKind::Vrrp(Box::new(said)))),
                    None => stats.unwanted += 1,
                }
            }
            _ => stats.unwanted += 1,
        }
    }

    fn tcp(
        &mut self,
        packet: &Packet<'_>,
        segment: &[u8],
        around: &Around,
        stamp: &Stamp,
        stats: &mut PacketCounters,
        emit: Emit<'_>,
    ) {
        let Ok(tcp) = TcpSlice::from_slice(segment) else {
            if around.missing == 0 {
                stats.short += 1;
                report(
                    malformed(Protocol::Tcp, "broken header", segment),
                    stamp,
                    emit,
                );
            }
            return;
        };
        let segment = Segment {
            frame: &around.frame,
            src: SocketAddr::new(packet.src, tcp.source_port()),
            dst: SocketAddr::new(packet.dst, tcp.destination_port()),
            seq: tcp.sequence_number(),
            ack: tcp.ack().then(|| tcp.acknowledgment_number()),
            syn: tcp.syn(),
            fin: tcp.fin(),
            rst: tcp.rst(),
            window: tcp.window_size(),
            payload: tcp.payload(),
            missing: u32::try_from(around.missing).unwrap_or(u32::MAX),
            ip_id: around.ip_id,
            auth: tcp
                .syn()
                .then(|| super::tcp::authentication(tcp.options()))
                .flatten(),
        };
        self.tcp.segment(&segment, stamp, emit);
        stats.tcp_segments = self.tcp.segments;
        stats.tcp_evicted = self.tcp.evicted;
    }
}

fn udp(
    packet: &Packet<'_>,
    datagram: &[u8],
    around: &Around,
    stamp: &Stamp,
    stats: &mut PacketCounters,
    emit: Emit<'_>,
) {
    let Ok(header) = UdpHeaderSlice::from_slice(datagram) else {
        if around.missing == 0 {
            stats.short += 1;
        }
        return;
    };
    let length = usize::from(header.length());
    let wire = datagram.len().saturating_add(around.missing);
    // A length beyond the packet, or below the header, says nothing: then all of the packet is payload.
    let said = if (UDP_HEADER..=wire).contains(&length) {
        length
    } else {
        wire
    };
    let whole = datagram.len() >= said;
    let datagram = datagram.get(..said).unwrap_or(datagram);
    let payload = datagram.get(UDP_HEADER..).unwrap_or_default();
    let sum = checksum::judged(
        packet.src,
        packet.dst,
        protocol::UDP,
        datagram,
        around.frame.outgoing,
        whole && length == said,
    );
    let context = UdpContext {
        frame: around.frame,
        src_port: header.source_port(),
        dst_port: header.destination_port(),
        fragmented: around.fragmented,
        checksum: checksum::sound(sum),
        sum,
        length_mismatch: length != wire,
        truncated: !whole,
    };
    let event = match (context.src_port, context.dst_port) {
        (_, DHCP4_SERVER | DHCP4_CLIENT) => {
            dhcp4::decode(payload, &context).map(|m| EventKind::Dhcp4(Box::new(m)))
        }
        (_, DHCP6_CLIENT | DHCP6_SERVER) => {
            dhcp6::decode(payload, &context).map(|m| EventKind::Dhcp6(Box::new(m)))
        }
        (_, port) if ports::BFD.contains(&port) => {
            bfd::decode(payload, &context).map(|m| EventKind::Bfd(Box::new(m)))
        }
        // A server's answer to a relay that uses another port (RFC 8357), if it looks like one.
        (DHCP4_SERVER, _)
            if super::frame::be32(payload, MAGIC_COOKIE.0) == Some(MAGIC_COOKIE.1) =>
        {
            dhcp4::decode(payload, &context).map(|m| EventKind::Dhcp4(Box::new(m)))
        }
        (DHCP6_SERVER, _) if payload.first() == Some(&RELAY_REPLY) => {
            dhcp6::decode(payload, &context).map(|m| EventKind::Dhcp6(Box::new(m)))
        }
        _ => {
            stats.unwanted += 1;
            return;
        }
    };
    match event {
        Ok(kind) => emit(&stamp.event(kind)),
        Err(why) => report(why, stamp, emit),
    }
}

/// DHCPv6's message from a server to a relay (RFC 8415 §7.3).
const RELAY_REPLY: u8 = 13;

fn icmpv6(
    packet: &Packet<'_>,
    transport: &Transport<'_>,
    around: &Around,
    stamp: &Stamp,
    stats: &mut PacketCounters,
    emit: Emit<'_>,
) {
    let message = transport.payload;
    // The type decides before anything else looks at it: errors quote whole packets.
    if !message
        .first()
        .is_some_and(|kind| prefilter::ND_TYPES.contains(kind))
    {
        match icmp::quoted(message, true, &around.frame) {
            Some(error) => emit(&stamp.event(EventKind::Tcp(Box::new(error)))),
            None => stats.unwanted += 1,
        }
        return;
    }
    let truncated = around.missing > 0;
    let context = NdContext {
        frame: around.frame,
        evasive: around.fragmented || transport.extended,
        checksum: checksum::verdict(
            packet.src,
            packet.dst,
            protocol::ICMPV6,
            message,
            around.frame.outgoing,
            !truncated,
        ),
        truncated,
    };
    match nd::decode(message, &context) {
        Ok(Some(message)) => emit(&stamp.event(EventKind::Nd(Box::new(message)))),
        Ok(None) => stats.unwanted += 1,
        Err(why) => report(why, stamp, emit),
    }
}

fn trouble_in_ip(
    trouble: Trouble,
    bytes: &[u8],
    is_cut: bool,
    stamp: &Stamp,
    stats: &mut PacketCounters,
    emit: Emit<'_>,
) {
    let why = match trouble {
        Trouble::Short if is_cut => return,
        Trouble::Short => {
            stats.short += 1;
            "ends inside its headers"
        }
        Trouble::Broken(why) => why,
    };
    report(malformed(Protocol::Ip, why, bytes), stamp, emit);
}

fn report(what: Malformed, stamp: &Stamp, emit: Emit<'_>) {
    emit(&stamp.event(EventKind::Malformed(Box::new(what))));
}
