//! Captures as a test takes them apart and puts them together again: pcap and pcapng, little-endian, as our recorders write them.

use std::io::Read;
use std::path::Path;

/// LINKTYPE_ETHERNET, LINKTYPE_LINUX_SLL2 and LINKTYPE_NETLINK of the list of link types at tcpdump.org.
pub const ETHERNET: u16 = 1;
pub const SLL2: u16 = 276;
pub const NETLINK: u16 = 253;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED: u32 = 6;
/// if_tsresol (pcapng draft, 4.2).
const RESOLUTION: u16 = 9;

/// One frame. Times are nanoseconds since the epoch.
#[derive(Clone)]
pub struct Frame {
    pub at: i128,
    pub link: u16,
    pub data: Vec<u8>,
    interface: u32,
    /// Length on the wire minus what was kept of it.
    cut: u32,
    /// Options of an enhanced packet block, as they were.
    options: Vec<u8>,
}

#[derive(Clone)]
enum Item {
    Frame(Frame),
    /// A block of pcapng that is no packet, whole.
    Block(Vec<u8>),
}

/// A capture file in memory.
#[derive(Clone)]
pub struct Capture {
    /// The header of a classic file, and nanoseconds in a unit of its stamps; `None` for pcapng.
    classic: Option<(Vec<u8>, i128)>,
    /// Nanoseconds in a unit of the stamps of each interface of a pcapng, and its link type.
    interfaces: Vec<(i128, u16)>,
    items: Vec<Item>,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// The octets of a file, unpacked.
pub fn octets(path: &Path) -> Vec<u8> {
    let raw = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if !raw.starts_with(&[0x1f, 0x8b]) {
        return raw;
    }
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(&raw[..])
        .read_to_end(&mut plain)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    plain
}

impl Capture {
    /// `None` for what is no little-endian pcap or pcapng.
    pub fn read(bytes: &[u8]) -> Option<Capture> {
        match word(bytes, 0)? {
            0xa1b2_c3d4 => Capture::classic(bytes, 1000),
            0xa1b2_3c4d => Capture::classic(bytes, 1),
            SECTION => Capture::blocks(bytes),
            _ => None,
        }
    }

    fn classic(bytes: &[u8], unit: i128) -> Option<Capture> {
        let link = word(bytes, 20)? as u16;
        let (mut items, mut at) = (Vec::new(), 24);
        while let Some(length) = word(bytes, at + 8) {
            let data = bytes.get(at + 16..at + 16 + length as usize)?.to_vec();
            items.push(Item::Frame(Frame {
                at: i128::from(word(bytes, at)?) * 1_000_000_000
                    + i128::from(word(bytes, at + 4)?) * unit,
                link,
                interface: 0,
                cut: word(bytes, at + 12)?.saturating_sub(length),
                options: Vec::new(),
                data,
            }));
            at += 16 + length as usize;
        }
        Some(Capture {
            classic: Some((bytes.get(..24)?.to_vec(), unit)),
            interfaces: Vec::new(),
            items,
        })
    }

    fn blocks(bytes: &[u8]) -> Option<Capture> {
        if word(bytes, 8)? != 0x1a2b_3c4d {
            return None;
        }
        let (mut items, mut interfaces, mut at) = (Vec::new(), Vec::new(), 0);
        while let (Some(kind), Some(size)) = (word(bytes, at), word(bytes, at + 4)) {
            let block = bytes
                .get(at..at + size as usize)
                .filter(|b| b.len() >= 12)?;
            let body = &block[8..block.len() - 4];
            match kind {
                INTERFACE => {
                    interfaces.push((unit(body.get(8..)?), half(body, 0)?));
                    items.push(Item::Block(block.to_vec()));
                }
                ENHANCED => {
                    let interface = word(body, 0)?;
                    let (unit, link) = *interfaces.get(interface as usize)?;
                    let length = word(body, 12)? as usize;
                    let stamp = i128::from(word(body, 4)?) << 32 | i128::from(word(body, 8)?);
                    items.push(Item::Frame(Frame {
                        at: stamp * unit,
                        link,
                        interface,
                        cut: word(body, 16)?.saturating_sub(length as u32),
                        options: body.get(20 + length.next_multiple_of(4)..)?.to_vec(),
                        data: body.get(20..20 + length)?.to_vec(),
                    }));
                }
                // One section a file, as dumpcap and our recorder write them.
                SECTION if at > 0 => return None,
                _ => items.push(Item::Block(block.to_vec())),
            }
            at += size as usize;
        }
        Some(Capture {
            classic: None,
            interfaces,
            items,
        })
    }

    /// The file again.
    pub fn write(&self) -> Vec<u8> {
        let mut out = self.classic.as_ref().map_or_else(Vec::new, |c| c.0.clone());
        for item in &self.items {
            match (item, &self.classic) {
                (Item::Block(block), _) => out.extend(block),
                (Item::Frame(frame), Some((_, unit))) => {
                    let length = frame.data.len() as u32;
                    for value in [
                        (frame.at / 1_000_000_000) as u32,
                        (frame.at % 1_000_000_000 / unit) as u32,
                        length,
                        length + frame.cut,
                    ] {
                        out.extend(value.to_le_bytes());
                    }
                    out.extend(&frame.data);
                }
                (Item::Frame(frame), None) => {
                    let unit = self.interfaces[frame.interface as usize].0;
                    let (stamp, length) = (frame.at / unit, frame.data.len());
                    let padded = length.next_multiple_of(4);
                    let size = (32 + padded + frame.options.len()) as u32;
                    for value in [
                        ENHANCED,
                        size,
                        frame.interface,
                        (stamp >> 32) as u32,
                        stamp as u32,
                        length as u32,
                        length as u32 + frame.cut,
                    ] {
                        out.extend(value.to_le_bytes());
                    }
                    out.extend(&frame.data);
                    out.resize(out.len() + padded - length, 0);
                    out.extend(&frame.options);
                    out.extend(size.to_le_bytes());
                }
            }
        }
        out
    }

    /// Its frames, in the order of the file.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.items.iter().filter_map(|item| match item {
            Item::Frame(frame) => Some(frame),
            Item::Block(_) => None,
        })
    }

    /// Puts other frames into the place of each.
    pub fn each(&mut self, mut change: impl FnMut(Frame) -> Vec<Frame>) {
        let items = std::mem::take(&mut self.items);
        self.items = items
            .into_iter()
            .flat_map(|item| match item {
                Item::Frame(frame) => change(frame).into_iter().map(Item::Frame).collect(),
                block => vec![block],
            })
            .collect();
    }
}

/// Nanoseconds in a unit of an interface's stamps, from its options.
fn unit(mut options: &[u8]) -> i128 {
    while let (Some(code), Some(length)) = (half(options, 0), half(options, 2)) {
        if code == RESOLUTION {
            return match options.get(4) {
                Some(9) => 1,
                _ => 1000,
            };
        }
        let Some(rest) = options.get(4 + usize::from(length).next_multiple_of(4)..) else {
            break;
        };
        options = rest;
    }
    1000
}

impl Frame {
    /// Netlink messages, not packets of a wire.
    pub fn is_kernel(&self) -> bool {
        self.link == NETLINK
    }

    /// The station that sent it.
    pub fn sender(&self) -> Option<[u8; 6]> {
        let at = match self.link {
            ETHERNET => 6,
            // SLL2: protocol 2, reserved 2, interface 4, ARPHRD 2, packet type 1, length 1, address 8.
            SLL2 => 12,
            _ => return None,
        };
        self.data.get(at..at + 6)?.try_into().ok()
    }
}
