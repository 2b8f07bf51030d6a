//! DHCPv6 options in typed form: a walk for each container, three containers deep and no deeper.
//!
//! dhcproto reads single values whose length was checked here, never a container: its containers recurse without limit.

use std::net::Ipv6Addr;

use dhcproto::Decodable;
use dhcproto::v6::DhcpOption;
use smallvec::SmallVec;

use super::Flaws;
use crate::decode::dhcp4::domain_name;
use crate::event::dhcp6::{Dhcp6, Dhcp6Flaw, Duid, IaAddress, IaPrefix};
use crate::event::{Prefix, WireText};

/// Option codes (RFC 8415 §24 unless noted).
mod code {
    pub const CLIENT_ID: u16 = 1;
    pub const SERVER_ID: u16 = 2;
    pub const IA_NA: u16 = 3;
    pub const IA_TA: u16 = 4;
    pub const IA_ADDR: u16 = 5;
    pub const ORO: u16 = 6;
    pub const PREFERENCE: u16 = 7;
    pub const ELAPSED: u16 = 8;
    pub const RELAY_MESSAGE: u16 = 9;
    pub const AUTH: u16 = 11;
    pub const STATUS: u16 = 13;
    pub const RAPID_COMMIT: u16 = 14;
    pub const VENDOR_CLASS: u16 = 16;
    /// RFC 3646.
    pub const DNS: u16 = 23;
    pub const IA_PD: u16 = 25;
    pub const IA_PREFIX: u16 = 26;
    /// RFC 4704.
    pub const FQDN: u16 = 39;
    /// RFC 4833, RFC 5970, RFC 8910.
    pub const TEXTS: [u16; 4] = [41, 42, 59, 103];
}

/// Addresses, prefixes and status codes kept of one message, each. A CMTS or BNG relays a handful for one client.
const MAX_ITEMS: usize = 64;
/// Options walked in one container. A 64 KB datagram can hold 16 384 empty ones; a real message has some twenty.
const MAX_OPTIONS: usize = 512;
/// RFC 8415 §11.1: a DUID is at most 128 octets behind its 2-octet type.
const MAX_DUID: usize = 130;

/// The options of one container, as code and value.
#[derive(Default)]
pub(super) struct Options<'a> {
    list: SmallVec<[(u16, &'a [u8]); 16]>,
}

impl<'a> Options<'a> {
    /// Walks a container to its end, or to the first option that runs past it.
    pub(super) fn of(mut rest: &'a [u8], flaws: &mut Flaws) -> Options<'a> {
        let mut options = Options::default();
        while !rest.is_empty() {
            let parts = rest
                .split_first_chunk::<4>()
                .and_then(|(&[c0, c1, l0, l1], after)| {
                    let (value, after) =
                        after.split_at_checked(u16::from_be_bytes([l0, l1]).into())?;
                    Some((u16::from_be_bytes([c0, c1]), value, after))
                });
            let Some((code, value, after)) = parts else {
                flaws.cut(Dhcp6Flaw::OptionOverrun);
                break;
            };
            if options.list.len() == MAX_OPTIONS {
                flaws.add(Dhcp6Flaw::TooDeep);
                break;
            }
            options.list.push((code, value));
            rest = after;
        }
        options
    }
}

impl<'a> IntoIterator for Options<'a> {
    type Item = (u16, &'a [u8]);
    type IntoIter = smallvec::IntoIter<[(u16, &'a [u8]); 16]>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

/// Fills the message from its options.
pub(super) fn fill(message: &mut Dhcp6, wire: &[u8], flaws: &mut Flaws) {
    for (code, value) in Options::of(wire, flaws) {
        message.options.push(code);
        match code {
            code::CLIENT_ID => duid(&mut message.client, value, flaws),
            code::SERVER_ID => duid(&mut message.server, value, flaws),
            code::IA_NA | code::IA_TA | code::IA_PD => association(code, value, message, flaws),
            code::ORO => {
                let (codes, rest) = value.as_chunks::<2>();
                flaws.expect(rest.is_empty());
                let codes = codes.iter().map(|code| u16::from_be_bytes(*code));
                message.requested.extend(codes.take(MAX_OPTIONS));
            }
            code::PREFERENCE => match typed(code, value, 1, flaws) {
                Some(DhcpOption::Preference(preference)) => message.preference = Some(preference),
                _ => continue,
            },
            code::ELAPSED => match typed(code, value, 2, flaws) {
                // Hundredths of a second (RFC 8415 §21.9).
                Some(DhcpOption::ElapsedTime(time)) => {
                    message.elapsed_ms = Some(u32::from(time) * 10);
                }
                _ => continue,
            },
            code::AUTH => message.authenticated = true,
            code::STATUS => status(value, message, flaws),
            code::RAPID_COMMIT => {
                flaws.expect(value.is_empty());
                message.rapid_commit = true;
            }
            code::VENDOR_CLASS => vendor_class(value, message, flaws),
            code::DNS => {
                flaws.expect(!value.is_empty() && value.len() % 16 == 0);
                let whole = (value.len() / 16).min(MAX_ITEMS) * 16;
                let checked = value.get(..whole).unwrap_or_default();
                if let Some(DhcpOption::DomainNameServers(servers)) =
                    typed(code, checked, whole, flaws)
                {
                    message.dns = servers;
                }
            }
            code::FQDN => fqdn(value, message, flaws),
            // A relay message option in something that is no relay message is nested where nothing may be.
            code::RELAY_MESSAGE | code::IA_ADDR | code::IA_PREFIX => flaws.add(Dhcp6Flaw::TooDeep),
            _ if code::TEXTS.contains(&code) => hostile(code, &WireText::new(value), message),
            _ => {}
        }
    }
}

impl Flaws {
    /// Notes a wrong option length unless `good`.
    fn expect(&mut self, good: bool) {
        if !good {
            self.add(Dhcp6Flaw::OptionLength);
        }
    }

    /// Notes lifetimes that contradict each other: receivers ignore the address or prefix (RFC 8415 §21.6, §21.22).
    fn lifetimes(&mut self, preferred: u32, valid: u32) {
        if preferred > valid {
            self.add(Dhcp6Flaw::BadLifetimes);
        }
    }
}

/// One value of exactly `length` octets, typed by dhcproto. Only for options without options inside.
fn typed(code: u16, value: &[u8], length: usize, flaws: &mut Flaws) -> Option<DhcpOption> {
    let (true, Ok(len)) = (value.len() == length, u16::try_from(value.len())) else {
        flaws.add(Dhcp6Flaw::OptionLength);
        return None;
    };
    let mut wire: SmallVec<[u8; 64]> = SmallVec::new();
    wire.extend_from_slice(&code.to_be_bytes());
    wire.extend_from_slice(&len.to_be_bytes());
    wire.extend_from_slice(value);
    DhcpOption::decode(&mut dhcproto::Decoder::new(&wire)).ok()
}

fn duid(target: &mut Option<Duid>, value: &[u8], flaws: &mut Flaws) {
    if value.is_empty() || value.len() > MAX_DUID {
        flaws.add(Dhcp6Flaw::BadDuid);
    }
    if target.is_none() && !value.is_empty() {
        *target = Some(Duid(value.iter().take(MAX_DUID).copied().collect()));
    }
}

/// IA_NA, IA_TA (without T1 and T2) or IA_PD, with the addresses or prefixes in it.
fn association(code: u16, value: &[u8], message: &mut Dhcp6, flaws: &mut Flaws) {
    let Some((iaid, rest)) = value.split_first_chunk::<4>() else {
        return flaws.cut(Dhcp6Flaw::OptionLength);
    };
    let iaid = u32::from_be_bytes(*iaid);
    let (t1, t2, rest) = if code == code::IA_TA {
        (0, 0, rest)
    } else {
        match words::<2>(rest) {
            Some(([t1, t2], rest)) => (t1, t2, rest),
            None => return flaws.cut(Dhcp6Flaw::OptionLength),
        }
    };
    // Zero leaves the time to the client (RFC 8415 §14.2).
    if t1 > t2 && t2 > 0 {
        flaws.add(Dhcp6Flaw::BadLifetimes);
    }
    for (inner, value) in Options::of(rest, flaws) {
        match inner {
            code::IA_ADDR if code != code::IA_PD => {
                let Some((addr, rest)) = value.split_first_chunk::<16>() else {
                    flaws.add(Dhcp6Flaw::OptionLength);
                    continue;
                };
                let Some(([preferred, valid], rest)) = words::<2>(rest) else {
                    flaws.add(Dhcp6Flaw::OptionLength);
                    continue;
                };
                flaws.lifetimes(preferred, valid);
                statuses(rest, message, flaws);
                if message.addresses.len() < MAX_ITEMS {
                    message.addresses.push(IaAddress {
                        iaid,
                        addr: Ipv6Addr::from(*addr),
                        preferred,
                        valid,
                        t1,
                        t2,
                    });
                }
            }
            code::IA_PREFIX if code == code::IA_PD => {
                let parts = words::<2>(value).and_then(|(times, rest)| {
                    let (&len, rest) = rest.split_first()?;
                    let (bits, rest) = rest.split_first_chunk::<16>()?;
                    Some((times, len, *bits, rest))
                });
                let Some(([preferred, valid], len, bits, rest)) = parts else {
                    flaws.add(Dhcp6Flaw::OptionLength);
                    continue;
                };
                flaws.lifetimes(preferred, valid);
                flaws.expect(len <= 128);
                statuses(rest, message, flaws);
                if message.prefixes.len() < MAX_ITEMS {
                    message.prefixes.push(IaPrefix {
                        iaid,
                        prefix: Prefix::v6(bits, len),
                        preferred,
                        valid,
                        t1,
                        t2,
                    });
                }
            }
            code::STATUS => status(value, message, flaws),
            code::IA_NA | code::IA_TA | code::IA_PD | code::RELAY_MESSAGE => {
                flaws.add(Dhcp6Flaw::TooDeep);
            }
            _ => {}
        }
    }
}

/// Status codes inside an address or prefix; anything that nests further does not belong there.
fn statuses(wire: &[u8], message: &mut Dhcp6, flaws: &mut Flaws) {
    for (code, value) in Options::of(wire, flaws) {
        match code {
            code::STATUS => status(value, message, flaws),
            code::IA_NA | code::IA_TA | code::IA_PD | code::IA_ADDR | code::IA_PREFIX => {
                flaws.add(Dhcp6Flaw::TooDeep);
            }
            _ => {}
        }
    }
}

fn status(value: &[u8], message: &mut Dhcp6, flaws: &mut Flaws) {
    let Some((code, text)) = value.split_first_chunk::<2>() else {
        return flaws.add(Dhcp6Flaw::OptionLength);
    };
    let text = WireText::new(text);
    hostile(code::STATUS, &text, message);
    if message.status.len() < MAX_ITEMS {
        message.status.push((u16::from_be_bytes(*code), text));
    }
}

/// Enterprise number, then length-prefixed data of which the first names the client (RFC 8415 §21.16).
fn vendor_class(value: &[u8], message: &mut Dhcp6, flaws: &mut Flaws) {
    let data = value.get(4..).and_then(|rest| {
        let (len, rest) = rest.split_first_chunk::<2>()?;
        rest.get(..u16::from_be_bytes(*len).into())
    });
    message.enterprise = value.first_chunk::<4>().map(|n| u32::from_be_bytes(*n));
    match data {
        Some(data) => {
            let text = WireText::new(data);
            hostile(code::VENDOR_CLASS, &text, message);
            message.vendor_class = Some(text);
        }
        None => flaws.add(Dhcp6Flaw::OptionLength),
    }
}

/// Flags and a name in DNS wire format (RFC 4704 §4).
fn fqdn(value: &[u8], message: &mut Dhcp6, flaws: &mut Flaws) {
    let Some((_, name)) = value.split_first() else {
        return flaws.add(Dhcp6Flaw::OptionLength);
    };
    let name = domain_name(name).unwrap_or_else(|| {
        flaws.add(Dhcp6Flaw::OptionLength);
        name.to_vec()
    });
    let text = WireText::new(&name);
    hostile(code::FQDN, &text, message);
    message.fqdn = (!text.is_empty()).then_some(text);
}

fn hostile(code: u16, text: &WireText, message: &mut Dhcp6) {
    if text.is_hostile() && !message.hostile_text.contains(&code) {
        message.hostile_text.push(code);
    }
}

/// `N` 32-bit numbers and what follows them.
fn words<const N: usize>(wire: &[u8]) -> Option<([u32; N], &[u8])> {
    let (chunks, _) = wire.as_chunks::<4>();
    let words = chunks.first_chunk::<N>()?;
    Some((words.map(u32::from_be_bytes), wire.get(N * 4..)?))
}
