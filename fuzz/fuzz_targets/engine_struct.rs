//! The engine by a stream of operations with right lengths: frames of Ethernet behind a kind, a time step and an interface, netlink messages
//! with their header, BGP messages inside MRT records, gaps. Random octets rarely get past a length or a type; these do.
#![no_main]

mod common;

use flapscope::decode::Decoder;
use flapscope::detect::Settings;
use flapscope::engine::Engine;
use flapscope::event::source::Unit;
use flapscope::event::{InputId, Locator, SourceId, Timestamp};
use flapscope::input::{Format, Item, Record};
use libfuzzer_sys::fuzz_target;

const ETHERNET: u16 = 1;

fuzz_target!(|bytes: &[u8]| {
    let (mut engine, mut decoder) = (Engine::new(&Settings::default()), Decoder::new());
    let (mut told, mut now, mut number) = (Vec::new(), 1_700_000_000_000_000_000_i64, 0);
    let mut rest = bytes;
    while let Some((&[what, step, length], after)) = rest.split_first_chunk::<3>() {
        let (body, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        number += 1;
        // From a microsecond to some hours, forwards and now and then backwards.
        let ns = 1_000_i64 << (step & 0x1f).min(33);
        now = if step & 0xe0 == 0xe0 { now - ns } else { now + ns };
        let (format, octets) = made(what, body);
        let record = Record {
            at: Timestamp(now),
            source: SourceId(u32::from(what >> 6)),
            locator: Locator {
                input: InputId(0),
                unit: Unit::Frame,
                number,
                offset: 0,
            },
            format,
            bytes: &octets,
            wire_len: octets.len() as u32,
        };
        decoder.item(&Item::Record(record), &mut |event| {
            engine.handle(event, &mut told);
        });
    }
    decoder.finish(&mut |event| engine.handle(event, &mut told));
    engine.finish(&mut told);
});

fn made(what: u8, body: &[u8]) -> (Format, Vec<u8>) {
    match what & 0x0f {
        0 => (Format::Netlink, netlink(body)),
        1 => (Format::Mrt, mrt(body)),
        2 => (Format::Packet(ETHERNET), ethernet(0x0806, body)),
        3 => (Format::Packet(ETHERNET), ethernet(0x86dd, &ip6(58, body))),
        4 => (Format::Packet(ETHERNET), ethernet(0x0800, &udp4(68, 67, body))),
        5 => (Format::Packet(ETHERNET), ethernet(0x0800, &udp4(67, 68, body))),
        6 => (Format::Packet(ETHERNET), ethernet(0x86dd, &ip6(17, &udp(546, 547, body)))),
        7 => (Format::Packet(ETHERNET), ethernet(0x0800, &udp4(49152, 3784, body))),
        8 => (Format::Packet(ETHERNET), ethernet(0x0800, &ip4(6, &tcp(body)))),
        _ => (Format::Packet(ETHERNET), body.to_vec()),
    }
}

fn ethernet(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, body.first().copied().unwrap_or(1)]);
    frame.extend(kind.to_be_bytes());
    frame.extend(body);
    frame
}

fn ip4(protocol: u8, body: &[u8]) -> Vec<u8> {
    let length = (20 + body.len()) as u16;
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 255, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet.extend(body);
    packet
}

fn ip6(next: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 255];
    packet[4..6].copy_from_slice(&(body.len() as u16).to_be_bytes());
    packet.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend(body);
    packet
}

fn udp(from: u16, to: u16, body: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    for field in [from, to, (8 + body.len()) as u16, 0] {
        datagram.extend(field.to_be_bytes());
    }
    datagram.extend(body);
    datagram
}

fn udp4(from: u16, to: u16, body: &[u8]) -> Vec<u8> {
    ip4(17, &udp(from, to, body))
}

/// The first octet: flags and direction, the second: where in the stream.
fn tcp(body: &[u8]) -> Vec<u8> {
    let (flags, at) = (body.first().copied().unwrap_or(0x18), body.get(1).copied().unwrap_or(0));
    let ports = if flags & 0x80 == 0 { [40000, 179] } else { [179, 40000_u16] };
    let mut segment = Vec::new();
    ports.iter().for_each(|port| segment.extend(port.to_be_bytes()));
    segment.extend((u32::from(at) * 19).to_be_bytes());
    segment.extend([0, 0, 0, 1, 0x50, flags & 0x3f, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(bgp(body.get(2..).unwrap_or_default()));
    segment
}

fn bgp(body: &[u8]) -> Vec<u8> {
    let mut message = vec![0xff; 16];
    message.extend(((18 + body.len().max(1)) as u16).to_be_bytes());
    message.extend(if body.is_empty() { &[4] } else { body });
    message
}

fn netlink(body: &[u8]) -> Vec<u8> {
    let (kind, body) = body.split_first().map_or((16, body), |(kind, body)| (*kind, body));
    let mut message = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend(u16::from(kind).to_ne_bytes());
    message.extend([0; 10]);
    message.extend(body);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

fn mrt(body: &[u8]) -> Vec<u8> {
    let message = bgp(body);
    let mut record = vec![0x65, 0x53, 0xf1, 0, 0, 16, 0, 4];
    record.extend(((20 + message.len()) as u32).to_be_bytes());
    record.extend([0, 0, 0xfd, 0xe9, 0, 0, 0xfd, 0xe8, 0, 0, 0, 1, 192, 0, 2, 1, 192, 0, 2, 2]);
    record.extend(message);
    record
}
