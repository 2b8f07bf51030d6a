//! An own reading of captures: pcap and pcapng records, frames down to UDP and TCP payloads, rtnetlink messages. None of flapscope's code.
//!
//! Times are nanoseconds since 1970. Frames are numbered as Wireshark does. What it cannot read it counts in [`Input::opaque`], so that a check
//! knows what it may not conclude from.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// A packet or netlink datagram.
pub struct Frame {
    pub at: i64,
    pub link: u32,
    pub data: Vec<u8>,
}

/// A file.
#[derive(Default)]
pub struct Input {
    pub frames: Vec<Frame>,
    /// It is not a capture that is read here (compressed, MRT, a raw BMP stream, rtmon).
    pub opaque: bool,
}

fn u16_at(b: &[u8], at: usize, big: bool) -> Option<u16> {
    let x: [u8; 2] = b.get(at..at + 2)?.try_into().ok()?;
    Some(if big {
        u16::from_be_bytes(x)
    } else {
        u16::from_le_bytes(x)
    })
}

fn u32_at(b: &[u8], at: usize, big: bool) -> Option<u32> {
    let x: [u8; 4] = b.get(at..at + 4)?.try_into().ok()?;
    Some(if big {
        u32::from_be_bytes(x)
    } else {
        u32::from_le_bytes(x)
    })
}

/// Reads a file.
pub fn file(path: &Path) -> Input {
    let mut bytes = std::fs::read(path).unwrap_or_default();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        let _ = flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain);
        bytes = plain;
    }
    let read = match bytes.get(..4) {
        Some([0x0a, 0x0d, 0x0d, 0x0a]) => pcapng(&bytes),
        Some([0xd4, 0xc3, 0xb2, 0xa1]) => pcap(&bytes, false, 1_000),
        Some([0x4d, 0x3c, 0xb2, 0xa1]) => pcap(&bytes, false, 1),
        Some([0xa1, 0xb2, 0xc3, 0xd4]) => pcap(&bytes, true, 1_000),
        Some([0xa1, 0xb2, 0x3c, 0x4d]) => pcap(&bytes, true, 1),
        _ => None,
    };
    read.unwrap_or(Input {
        frames: Vec::new(),
        opaque: true,
    })
}

fn pcap(b: &[u8], big: bool, unit: i64) -> Option<Input> {
    let link = u32_at(b, 20, big)? & 0x0fff_ffff;
    let mut input = Input::default();
    let mut at = 24;
    while let (Some(seconds), Some(part), Some(length)) = (
        u32_at(b, at, big),
        u32_at(b, at + 4, big),
        u32_at(b, at + 8, big),
    ) {
        let Some(data) = b.get(at + 16..at + 16 + length as usize) else {
            break;
        };
        input.frames.push(Frame {
            at: i64::from(seconds) * 1_000_000_000 + i64::from(part) * unit,
            link,
            data: data.to_vec(),
        });
        at += 16 + length as usize;
    }
    Some(input)
}

fn pcapng(b: &[u8]) -> Option<Input> {
    let mut input = Input::default();
    let mut big = false;
    let mut interfaces: Vec<(u32, i64, i64)> = Vec::new();
    let mut at = 0;
    while let Some(kind) = u32_at(b, at, big) {
        if kind == 0x0a0d_0d0a {
            big = b.get(at + 8..at + 12)? == [0x1a, 0x2b, 0x3c, 0x4d];
            interfaces.clear();
        }
        let Some(total) = u32_at(b, at + 4, big).map(|n| n as usize) else {
            break;
        };
        let Some(body) = (total >= 12)
            .then(|| b.get(at + 8..at + total - 4))
            .flatten()
        else {
            break;
        };
        match kind {
            1 => {
                let (mut resolution, mut offset) = (1_000i64, 0i64);
                let mut o = 8;
                while let (Some(code), Some(len)) = (u16_at(body, o, big), u16_at(body, o + 2, big))
                {
                    let value = body.get(o + 4..o + 4 + len as usize)?;
                    match (code, value) {
                        (0, _) => break,
                        (9, [r]) if r & 0x80 == 0 => {
                            resolution = 10i64.checked_pow(9u32.saturating_sub(u32::from(*r)))?;
                        }
                        (14, v) if v.len() == 8 => {
                            let x: [u8; 8] = v.try_into().ok()?;
                            offset = if big {
                                i64::from_be_bytes(x)
                            } else {
                                i64::from_le_bytes(x)
                            };
                        }
                        _ => {}
                    }
                    o += 4 + (len as usize).div_ceil(4) * 4;
                }
                interfaces.push((u32::from(u16_at(body, 0, big)?), resolution, offset));
            }
            6 => {
                let interface = u32_at(body, 0, big)? as usize;
                let stamp =
                    i64::from(u32_at(body, 4, big)?) << 32 | i64::from(u32_at(body, 8, big)?);
                let length = u32_at(body, 12, big)? as usize;
                let (link, unit, offset) = *interfaces.get(interface)?;
                input.frames.push(Frame {
                    at: stamp * unit + offset * 1_000_000_000,
                    link,
                    data: body.get(20..20 + length)?.to_vec(),
                });
            }
            3 => input.frames.push(Frame {
                at: input.frames.last().map_or(0, |frame| frame.at),
                link: interfaces.first()?.0,
                data: body.get(4..)?.to_vec(),
            }),
            _ => {}
        }
        at += total;
    }
    Some(input)
}

/// A packet's IP payload.
pub struct Ip<'a> {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub proto: u8,
    pub payload: &'a [u8],
}

/// The EtherType of a frame and where its payload begins.
fn payload(frame: &Frame) -> Option<(u16, usize)> {
    let b = frame.data.as_slice();
    let (mut ether, mut at) = match frame.link {
        1 => (u16_at(b, 12, true)?, 14),
        113 => (u16_at(b, 14, true)?, 16),
        276 => (u16_at(b, 0, true)?, 20),
        101 | 12 | 14 | 228 | 229 => (if b.first()? >> 4 == 6 { 0x86dd } else { 0x0800 }, 0),
        _ => return None,
    };
    while matches!(ether, 0x8100 | 0x88a8) {
        ether = u16_at(b, at + 2, true)?;
        at += 4;
    }
    Some((ether, at))
}

/// The IP packet in a frame; fragments and extension headers are left alone.
pub fn ip(frame: &Frame) -> Option<Ip<'_>> {
    let (ether, at) = payload(frame)?;
    let b = frame.data.get(at..)?;
    match ether {
        0x0800 => {
            let header = usize::from(b.first()? & 15) * 4;
            let total = usize::from(u16_at(b, 2, true)?);
            if u16_at(b, 6, true)? & 0x1fff != 0 {
                return None;
            }
            let four = |at: usize| -> Option<IpAddr> {
                let x: [u8; 4] = b.get(at..at + 4)?.try_into().ok()?;
                Some(Ipv4Addr::from(x).into())
            };
            let end = if total >= header {
                total.min(b.len())
            } else {
                b.len()
            };
            Some(Ip {
                src: four(12)?,
                dst: four(16)?,
                proto: *b.get(9)?,
                payload: b.get(header..end)?,
            })
        }
        0x86dd => {
            let six = |at: usize| -> Option<IpAddr> {
                let x: [u8; 16] = b.get(at..at + 16)?.try_into().ok()?;
                Some(Ipv6Addr::from(x).into())
            };
            let end = (40 + usize::from(u16_at(b, 4, true)?)).min(b.len());
            Some(Ip {
                src: six(8)?,
                dst: six(24)?,
                proto: *b.get(6)?,
                payload: b.get(40..end)?,
            })
        }
        _ => None,
    }
}

/// An ARP answer: the sender's MAC and address.
pub fn arp_answer(frame: &Frame) -> Option<([u8; 6], IpAddr)> {
    let (ether, start) = payload(frame)?;
    let b = frame.data.get(start..)?;
    if ether != 0x0806 || b.get(7) != Some(&2) {
        return None;
    }
    Some((b.get(8..14)?.try_into().ok()?, address(b.get(14..18)?)?))
}

/// UDP: ports and payload.
pub fn udp<'a>(ip: &Ip<'a>) -> Option<(u16, u16, &'a [u8])> {
    (ip.proto == 17).then_some(())?;
    let b = ip.payload;
    Some((u16_at(b, 0, true)?, u16_at(b, 2, true)?, b.get(8..)?))
}

/// TCP: ports, flags and payload.
pub fn tcp<'a>(ip: &Ip<'a>) -> Option<(u16, u16, u8, &'a [u8])> {
    (ip.proto == 6).then_some(())?;
    let b = ip.payload;
    let header = usize::from(b.get(12)? >> 4) * 4;
    Some((
        u16_at(b, 0, true)?,
        u16_at(b, 2, true)?,
        *b.get(13)?,
        b.get(header..)?,
    ))
}

/// A netlink message: type, flags, port, body.
pub struct Netlink<'a> {
    pub kind: u16,
    pub flags: u16,
    pub body: &'a [u8],
}

/// The rtnetlink messages of a frame (LINKTYPE_NETLINK, little-endian hosts).
pub fn netlink(frame: &Frame) -> Vec<Netlink<'_>> {
    let mut messages = Vec::new();
    let family = u16_at(&frame.data, 14, true);
    if frame.link != 253 || family != Some(0) {
        return messages;
    }
    let b = &frame.data[16.min(frame.data.len())..];
    let mut at = 0;
    while let (Some(length), Some(kind), Some(flags)) = (
        u32_at(b, at, false).map(|n| n as usize),
        u16_at(b, at + 4, false),
        u16_at(b, at + 6, false),
    ) {
        let Some(body) = (length >= 16)
            .then(|| b.get(at + 16..at + length))
            .flatten()
        else {
            break;
        };
        messages.push(Netlink { kind, flags, body });
        at += length.div_ceil(4) * 4;
    }
    messages
}

/// Attributes behind the fixed part.
pub fn attributes(body: &[u8], fixed: usize) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    let mut at = fixed;
    while let (Some(length), Some(kind)) = (
        u16_at(body, at, false).map(usize::from),
        u16_at(body, at + 2, false),
    ) {
        let Some(value) = (length >= 4)
            .then(|| body.get(at + 4..at + length))
            .flatten()
        else {
            break;
        };
        found.push((kind & 0x3fff, value));
        at += length.div_ceil(4) * 4;
    }
    found
}

/// An address in an attribute.
pub fn address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(value).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(value).ok()?)),
        _ => None,
    }
}

/// A number of four octets in host order.
pub fn number(value: &[u8]) -> Option<u32> {
    u32_at(value, 0, false)
}
