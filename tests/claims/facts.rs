//! What the captures of one scenario show, in the plainest form: lists of things that happened, with their times.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::read::{self, Frame, Input};

/// `IFF_UP`, `IFF_RUNNING`.
const UP: u32 = 1;
const RUNNING: u32 = 0x40;

/// A message about an interface.
pub struct Link {
    pub at: i64,
    pub index: u32,
    pub usable: bool,
    pub notified: bool,
}

/// A message about an address.
pub struct Address {
    pub at: i64,
    pub index: u32,
    pub addr: IpAddr,
    pub gone: bool,
}

/// A message about a default route.
pub struct Default {
    pub at: i64,
    pub v6: bool,
    pub gone: bool,
    pub way: (u32, Option<IpAddr>, Option<u32>),
    /// The table.
    pub table: u32,
    pub replaces: bool,
}

/// A DHCPv4 message.
pub struct Dhcp {
    pub at: i64,
    pub kind: u8,
    pub yours: IpAddr,
    pub mine: IpAddr,
    pub mac: [u8; 6],
    pub server: Option<IpAddr>,
    pub lease: u32,
    pub routers: Vec<u8>,
    pub routes: Vec<u8>,
}

/// A segment of a BGP connection.
pub struct Segment {
    pub at: i64,
    pub src: IpAddr,
    pub dst: IpAddr,
    /// Types of the BGP messages that begin its payload.
    pub messages: Vec<u8>,
    pub octets: usize,
}

/// Everything.
#[derive(std::default::Default)]
pub struct Facts {
    pub names: BTreeMap<String, u32>,
    pub links: Vec<Link>,
    pub addresses: Vec<Address>,
    pub defaults: Vec<Default>,
    pub dhcp: Vec<Dhcp>,
    pub routers: Vec<(i64, IpAddr, u16)>,
    /// Neighbor advertisements: target, R flag.
    pub neighbors: Vec<(i64, IpAddr, bool)>,
    pub segments: Vec<Segment>,
    /// ARP answers: the sender's MAC and address.
    pub arp: Vec<([u8; 6], IpAddr)>,
    /// BFD: source, destination, state.
    pub bfd: Vec<(i64, IpAddr, IpAddr, u8)>,
    pub netlink: bool,
    pub netlink_span: Option<(i64, i64)>,
    pub bmp: bool,
    /// Some input could not be read here.
    pub opaque: bool,
}

impl Facts {
    /// Collects what all inputs show.
    pub fn of(inputs: &[Input]) -> Facts {
        let mut facts = Facts::default();
        for input in inputs {
            facts.opaque |= input.opaque;
            for frame in &input.frames {
                if frame.link == 253 {
                    facts.netlink(frame);
                } else {
                    facts.packet(frame);
                }
            }
        }
        facts.links.sort_by_key(|x| x.at);
        facts.addresses.sort_by_key(|x| x.at);
        facts.defaults.sort_by_key(|x| x.at);
        facts.dhcp.sort_by_key(|x| x.at);
        facts
    }

    fn netlink(&mut self, frame: &Frame) {
        for message in read::netlink(frame) {
            self.netlink = true;
            let (from, to) = self.netlink_span.unwrap_or((frame.at, frame.at));
            self.netlink_span = Some((from.min(frame.at), to.max(frame.at)));
            let dump = message.flags & 2 != 0;
            let body = message.body;
            match message.kind {
                16 | 17 if body.first() == Some(&0) && body.len() >= 16 => {
                    let (Some(index), Some(flags)) =
                        (read::number(&body[4..]), read::number(&body[8..]))
                    else {
                        continue;
                    };
                    for (kind, value) in read::attributes(body, 16) {
                        if kind == 3 {
                            let name = value.split(|b| *b == 0).next().unwrap_or_default();
                            let name = String::from_utf8_lossy(name).into_owned();
                            self.names.insert(name, index);
                        }
                    }
                    self.links.push(Link {
                        at: frame.at,
                        index,
                        usable: message.kind == 16 && flags & UP != 0 && flags & RUNNING != 0,
                        notified: !dump,
                    });
                }
                20 | 21 if body.len() >= 8 => {
                    let attributes = read::attributes(body, 8);
                    let one = |kind: u16| {
                        let found = attributes.iter().find(|(k, _)| *k == kind);
                        found.and_then(|(_, value)| read::address(value))
                    };
                    if let (Some(addr), Some(index)) =
                        (one(2).or_else(|| one(1)), read::number(&body[4..]))
                    {
                        self.addresses.push(Address {
                            at: frame.at,
                            index,
                            addr,
                            gone: message.kind == 21,
                        });
                    }
                }
                24 | 25 if body.len() >= 12 && body[1] == 0 && body[7] == 1 => {
                    let attributes = read::attributes(body, 12);
                    let get = |kind: u16| attributes.iter().find(|(k, _)| *k == kind);
                    let table = get(15)
                        .and_then(|(_, v)| read::number(v))
                        .unwrap_or(u32::from(body[4]));
                    self.defaults.push(Default {
                        at: frame.at,
                        v6: body[0] == 10,
                        gone: message.kind == 25,
                        way: (
                            get(6).and_then(|(_, v)| read::number(v)).unwrap_or(0),
                            get(5).and_then(|(_, v)| read::address(v)),
                            get(4).and_then(|(_, v)| read::number(v)),
                        ),
                        table,
                        replaces: message.flags & 0x100 != 0 && !dump,
                    });
                }
                _ => {}
            }
        }
    }

    fn packet(&mut self, frame: &Frame) {
        self.arp.extend(read::arp_answer(frame));
        let Some(ip) = read::ip(frame) else { return };
        if let Some((from, to, payload)) = read::udp(&ip) {
            match (from, to) {
                (67 | 68, 67 | 68) => self.dhcp.extend(dhcp(frame.at, payload)),
                (_, 3784 | 4784) if payload.len() >= 24 => {
                    self.bfd.push((frame.at, ip.src, ip.dst, payload[1] >> 6));
                }
                _ => {}
            }
        }
        if let Some((from, to, _, payload)) = read::tcp(&ip) {
            if from == 179 || to == 179 {
                self.segments.push(Segment {
                    at: frame.at,
                    src: ip.src,
                    dst: ip.dst,
                    messages: bgp(payload),
                    octets: payload.len(),
                });
            } else if let [3, 0, 0, _, _, 0..=6, ..] = payload {
                self.bmp = true;
            }
        }
        if ip.proto == 58 {
            match ip.payload {
                [134, 0, _, _, _, _, a, b, ..] => {
                    self.routers
                        .push((frame.at, ip.src, u16::from_be_bytes([*a, *b])));
                }
                [136, 0, _, _, flags, _, _, _, rest @ ..] if rest.len() >= 16 => {
                    if let Some(target) = read::address(&rest[..16]) {
                        self.neighbors.push((frame.at, target, flags & 0x80 != 0));
                    }
                }
                _ => {}
            }
        }
    }
}

fn bgp(payload: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    let mut b = payload;
    while b.len() >= 19 && b[..16] == [0xff; 16] {
        kinds.push(b[18]);
        let length = usize::from(u16::from_be_bytes([b[16], b[17]])).max(19);
        b = b.get(length..).unwrap_or_default();
    }
    kinds
}

fn dhcp(at: i64, b: &[u8]) -> Option<Dhcp> {
    let four = |at: usize| -> Option<IpAddr> { read::address(b.get(at..at + 4)?) };
    if b.get(236..240)? != [99, 130, 83, 99] {
        return None;
    }
    let mut message = Dhcp {
        at,
        kind: 0,
        yours: four(16)?,
        mine: four(12)?,
        mac: b.get(28..34)?.try_into().ok()?,
        server: None,
        lease: 0,
        routers: Vec::new(),
        routes: Vec::new(),
    };
    let mut o = 240;
    while let Some(code) = b.get(o).copied().filter(|code| *code != 255) {
        if code == 0 {
            o += 1;
            continue;
        }
        let length = usize::from(*b.get(o + 1)?);
        let value = b.get(o + 2..o + 2 + length)?;
        match (code, value) {
            (53, [kind]) => message.kind = *kind,
            (54, _) => message.server = read::address(value),
            (51, [a, b, c, d]) => message.lease = u32::from_be_bytes([*a, *b, *c, *d]),
            (3, _) => message.routers = value.to_vec(),
            (121 | 249 | 33, _) => message.routes.extend_from_slice(value),
            _ => {}
        }
        o += 2 + length;
    }
    Some(message)
}
