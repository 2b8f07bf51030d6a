//! BGP events in the layout of `bgpdump -m`: one line for each prefix, fields between bars.
//!
//! Owns the layout only. What a line's events have in common is formatted once for each message, into buffers that are reused, so that
//! a prefix costs two copies and its own digits. Text from the wire never gets here: every field is a number, an address or a word of
//! ours.

use std::io::{self, Write};
use std::net::IpAddr;

use crate::event::bgp::{
    AS_CONFED_SEQUENCE, AS_CONFED_SET, AS_SET, AsPath, Attributes, BgpEvent, BgpMessage, Nlri,
};
use crate::event::{Event, EventKind, Prefix};

/// Octets gathered before they are written.
const FLUSH_AT: usize = 1 << 16;

/// MRT types that change the layout (RFC 6396 §4).
const MRT_BGP: u16 = 5;
const MRT_TABLE_DUMP: u16 = 12;
const MRT_BGP4MP: u16 = 16;
const MRT_BGP4MP_ET: u16 = 17;

/// What a record's type and subtype change in its lines.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
struct Style {
    kind: u16,
    /// The collector sent the message (RFC 6396 §4.4.5): the lines name the peer all the same.
    local: bool,
    /// A path identifier stands behind the prefix (RFC 8050).
    path_id: bool,
}

impl Style {
    fn of(kind: u16, subtype: u16) -> Style {
        let message = matches!(kind, MRT_BGP4MP | MRT_BGP4MP_ET);
        let table = !message && kind != MRT_BGP && kind != MRT_TABLE_DUMP;
        Style {
            kind,
            local: message && matches!(subtype, 6 | 7 | 10 | 11),
            path_id: message && matches!(subtype, 8..=11) || table && matches!(subtype, 8..=12),
        }
    }
}

/// Writes events as lines.
#[derive(Debug)]
pub struct BgpdumpWriter<W: Write> {
    out: W,
    buffer: Vec<u8>,
    /// What stands before the prefix in each line of a message, and behind it.
    before: Vec<u8>,
    behind: Vec<u8>,
    style: Style,
}

impl<W: Write> BgpdumpWriter<W> {
    pub fn new(out: W) -> BgpdumpWriter<W> {
        BgpdumpWriter {
            out,
            buffer: Vec::with_capacity(2 * FLUSH_AT),
            before: Vec::new(),
            behind: Vec::new(),
            style: Style::default(),
        }
    }

    /// Tells type and subtype of the MRT record whose events come next: the layout depends on them. Without one, BGP4MP is assumed.
    pub fn mrt_record(&mut self, record: Option<(u16, u16)>) {
        self.style = record.map_or_else(Style::default, |(kind, subtype)| Style::of(kind, subtype));
    }

    /// Writes the lines of one event; events other than BGP have none.
    pub fn event(&mut self, event: &Event) -> io::Result<()> {
        let EventKind::Bgp(bgp) = &event.kind else {
            return Ok(());
        };
        match &bgp.message {
            BgpMessage::Update(update) => {
                self.lines(event, bgp, b"W", &update.withdrawn, None);
                self.lines(
                    event,
                    bgp,
                    b"A",
                    &update.announced,
                    Some(&update.attributes),
                );
            }
            BgpMessage::TableEntry(update) => {
                self.lines(
                    event,
                    bgp,
                    b"B",
                    &update.announced,
                    Some(&update.attributes),
                );
            }
            BgpMessage::StateChange { old, new } => {
                self.head(event, bgp, b"STATE");
                self.buffer.extend_from_slice(&self.before);
                decimal(&mut self.buffer, u32::from(*old));
                self.buffer.push(b'|');
                decimal(&mut self.buffer, u32::from(*new));
                self.buffer.push(b'\n');
            }
            _ => {}
        }
        if self.buffer.len() >= FLUSH_AT {
            self.flush_buffer()?;
        }
        Ok(())
    }

    /// Writes what is left and gives the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush_buffer()?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn flush_buffer(&mut self) -> io::Result<()> {
        let result = self.out.write_all(&self.buffer);
        self.buffer.clear();
        result
    }

    fn lines(
        &mut self,
        event: &Event,
        bgp: &BgpEvent,
        letter: &[u8],
        keys: &[Nlri],
        attributes: Option<&Attributes>,
    ) {
        if keys.is_empty() {
            return;
        }
        self.head(event, bgp, letter);
        self.behind.clear();
        if let Some(attributes) = attributes {
            tail(&mut self.behind, attributes, self.style.kind != MRT_BGP);
        }
        self.behind.push(b'\n');
        for key in keys {
            self.buffer.extend_from_slice(&self.before);
            prefix(&mut self.buffer, &key.prefix);
            if self.style.path_id {
                self.buffer.push(b'|');
                decimal(&mut self.buffer, key.path_id);
            }
            self.buffer.extend_from_slice(&self.behind);
        }
    }

    /// `TYPE|TIME|LETTER|PEER|AS|` into `before`.
    fn head(&mut self, event: &Event, bgp: &BgpEvent, letter: &[u8]) {
        let head = &mut self.before;
        head.clear();
        let table = matches!(bgp.message, BgpMessage::TableEntry(_));
        head.extend_from_slice(match (self.style.kind, table) {
            (MRT_TABLE_DUMP, _) => b"TABLE_DUMP",
            (_, true) => b"TABLE_DUMP2",
            (MRT_BGP, false) => b"BGP",
            (MRT_BGP4MP_ET, false) => b"BGP4MP_ET",
            (_, false) => b"BGP4MP",
        });
        if self.style.local {
            head.extend_from_slice(b"_LOCAL");
        }
        if self.style.path_id {
            head.extend_from_slice(b"_AP");
        }
        head.push(b'|');
        let (seconds, nanos) = (
            event.at.0.div_euclid(1_000_000_000),
            event.at.0.rem_euclid(1_000_000_000),
        );
        match u32::try_from(seconds) {
            Ok(seconds) => decimal(head, seconds),
            Err(_) => shown(head, seconds),
        }
        if self.style.kind == MRT_BGP4MP_ET {
            shown(head, format_args!(".{:06}", nanos / 1000));
        }
        head.push(b'|');
        head.extend_from_slice(letter);
        head.push(b'|');
        let session = &bgp.session;
        let (peer, asn) = if self.style.local {
            (session.to, session.to_as)
        } else {
            (session.from, session.from_as)
        };
        address(head, peer);
        head.push(b'|');
        decimal(head, asn);
        head.push(b'|');
    }
}

/// `|PATH|ORIGIN|NEXTHOP|LOCAL_PREF|MED|COMMUNITIES|AG|AGGREGATOR|`. In lines of the old MRT type BGP no bar parts MED and communities.
fn tail(out: &mut Vec<u8>, attributes: &Attributes, bar_after_med: bool) {
    out.push(b'|');
    as_path(out, &attributes.as_path);
    out.push(b'|');
    out.extend_from_slice(match attributes.origin {
        Some(0) => b"IGP",
        Some(1) => b"EGP",
        _ => b"INCOMPLETE",
    });
    out.push(b'|');
    match attributes.next_hop {
        Some(next_hop) => address(out, next_hop),
        None => out.extend_from_slice(b"0.0.0.0"),
    }
    out.push(b'|');
    decimal(out, attributes.local_pref.unwrap_or(0));
    out.push(b'|');
    decimal(out, attributes.med.unwrap_or(0));
    if bar_after_med {
        out.push(b'|');
    }
    for (at, value) in attributes.communities.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        community(out, *value);
    }
    out.push(b'|');
    out.extend_from_slice(if attributes.atomic_aggregate {
        b"AG|"
    } else {
        b"NAG|"
    });
    if let Some((asn, addr)) = attributes.aggregator {
        decimal(out, asn);
        out.push(b' ');
        address(out, addr);
    }
    out.push(b'|');
}

fn as_path(out: &mut Vec<u8>, path: &AsPath) {
    for (at, (kind, numbers)) in path.segments().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        let (open, separator, close): (&[u8], u8, &[u8]) = match kind {
            AS_SET => (b"{", b',', b"}"),
            AS_CONFED_SEQUENCE => (b"(", b' ', b")"),
            AS_CONFED_SET => (b"[", b',', b"]"),
            _ => (b"", b' ', b""),
        };
        out.extend_from_slice(open);
        for (at, number) in numbers.iter().enumerate() {
            if at > 0 {
                out.push(separator);
            }
            decimal(out, *number);
        }
        out.extend_from_slice(close);
    }
}

/// Well-known communities by bgpdump's names (RFC 1997), others as two halves.
fn community(out: &mut Vec<u8>, value: u32) {
    match value {
        0xffff_ff01 => out.extend_from_slice(b"no-export"),
        0xffff_ff02 => out.extend_from_slice(b"no-advertise"),
        0xffff_ff03 => out.extend_from_slice(b"local-AS"),
        _ => {
            decimal(out, value >> 16);
            out.push(b':');
            decimal(out, value & 0xffff);
        }
    }
}

fn prefix(out: &mut Vec<u8>, prefix: &Prefix) {
    address(out, prefix.addr());
    out.push(b'/');
    decimal(out, u32::from(prefix.len()));
}

fn address(out: &mut Vec<u8>, addr: IpAddr) {
    match addr {
        IpAddr::V4(addr) => {
            let [a, b, c, d] = addr.octets();
            octet(out, a);
            out.push(b'.');
            octet(out, b);
            out.push(b'.');
            octet(out, c);
            out.push(b'.');
            octet(out, d);
        }
        IpAddr::V6(addr) => match addr.segments() {
            // As inet_ntop writes IPv4-compatible addresses; Rust writes only mapped ones so.
            [0, 0, 0, 0, 0, 0, high, _] if high != 0 => {
                let [.., a, b, c, d] = addr.octets();
                out.extend_from_slice(b"::");
                address(out, IpAddr::from([a, b, c, d]));
            }
            _ => shown(out, addr),
        },
    }
}

fn octet(out: &mut Vec<u8>, value: u8) {
    if value >= 100 {
        out.push(b'0' + value / 100);
    }
    if value >= 10 {
        out.push(b'0' + value / 10 % 10);
    }
    out.push(b'0' + value % 10);
}

/// Digits by hand: `write!` costs five times as much, and this is most of what the layout consists of.
fn decimal(out: &mut Vec<u8>, mut value: u32) {
    const MAX_DIGITS: usize = 10;
    let mut digits = [0; MAX_DIGITS];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        used += 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[MAX_DIGITS - used..]);
}

fn shown(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    let _ = write!(out, "{value}"); // writing to a Vec cannot fail
}

#[cfg(test)]
mod tests;
