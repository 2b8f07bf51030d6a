//! DHCPv4 and BOOTP: the fixed part, and what it says about the packet as a whole.
//!
//! A packet with flaws is still returned with all that can be read, because what a broken packet says is what matters about it;
//! `Err` is kept for bytes that are no DHCP at all. The options are walked in `options` (bounded, RFC 3396, overload) and typed in
//! `values`. No octet is read without a bound: every slice below is a checked `get`.

mod options;
#[cfg(test)]
mod tests;
mod values;

use std::net::Ipv4Addr;

use super::UdpContext;
use crate::event::WireText;
use crate::event::dhcp4::{Dhcp4, Dhcp4Flaw, MessageType};
use crate::event::loss::{Malformed, Protocol};
use options::{Field, Walk};
pub(super) use values::domain_name;

/// Octets of the fixed part up to and with chaddr (RFC 2131 §2): less than that names neither client nor exchange.
const READABLE: usize = 44;
/// Octets of the whole fixed part (RFC 2131 §2), and where sname and file lie in it.
const FIXED: usize = 236;
const SNAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..FIXED;
/// RFC 2131 §3: 99.130.83.99.
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Octets of a BOOTP vendor area behind the cookie (RFC 951 §3).
const BOOTP_VENDOR: usize = 60;
/// Octets of chaddr (RFC 2131 §2).
const CHADDR: usize = 16;
/// Highest message type assigned by IANA (DHCPTLS, RFC 7724).
const LAST_MESSAGE_TYPE: u8 = 18;
/// RFC 3118.
const AUTHENTICATION: u8 = 90;
/// Octets of undecodable bytes that are shown.
const HEAD: usize = 32;

/// Decodes the payload of a UDP datagram to or from port 67 or 68.
pub fn decode(payload: &[u8], context: &UdpContext) -> Result<Dhcp4, Malformed> {
    let Some(fixed) = payload.get(..READABLE) else {
        return Err(malformed("shorter than the addresses of a header", payload));
    };
    let has_cookie = payload.get(FIXED..FIXED + 4) == Some(&COOKIE);
    let op = fixed[0];
    if !matches!(op, 1 | 2) && !has_cookie {
        return Err(malformed(
            "neither a BOOTP operation nor a DHCP cookie",
            payload,
        ));
    }

    let mut message = header(fixed, context);
    let mut flaws = Flaws::default();
    context_flaws(context, &mut flaws);
    if payload.len() < FIXED {
        flaws.add_unless(context.truncated, Dhcp4Flaw::Truncated);
    } else if !has_cookie && !is_plain_bootp(payload) {
        flaws.add_unless(context.truncated, Dhcp4Flaw::BadCookie);
    }
    // Without the cookie the vendor area is not options (RFC 2132 §2), and servers drop the packet.
    let (vendor, sname, file) = (
        payload.get(FIXED + 4..).unwrap_or_default(),
        payload.get(SNAME).unwrap_or_default(),
        payload.get(FILE).unwrap_or_default(),
    );
    let walk = if has_cookie {
        Walk::over(vendor, file, sname, context.truncated, &mut flaws)
    } else {
        Walk::default()
    };
    message.options = walk.codes().collect();
    values::fill(&mut message, &walk, &mut flaws);
    boot_fields(&mut message, &walk, sname, file);
    hardware_flaws(&message, &mut flaws);
    if has_cookie {
        let room = context.truncated || vendor.len() >= BOOTP_VENDOR;
        type_flaws(&message, &walk, room, &mut flaws);
    }
    message.flaws = flaws.list;
    Ok(message)
}

/// The flaws found so far, each once, in the order in which they were found.
#[derive(Default)]
struct Flaws {
    list: Vec<Dhcp4Flaw>,
}

impl Flaws {
    fn add(&mut self, flaw: Dhcp4Flaw) {
        if !self.list.contains(&flaw) {
            self.list.push(flaw);
        }
    }

    /// Bytes that the capture cut off are no flaw of the packet.
    fn add_unless(&mut self, excused: bool, flaw: Dhcp4Flaw) {
        if !excused {
            self.add(flaw);
        }
    }
}

fn malformed(why: &'static str, payload: &[u8]) -> Malformed {
    Malformed {
        protocol: Protocol::Dhcp4,
        why: WireText::from(why),
        head: payload.iter().take(HEAD).copied().collect(),
    }
}

/// The fixed part; `fixed` has [`READABLE`] octets.
fn header(fixed: &[u8], context: &UdpContext) -> Dhcp4 {
    let word = |at: usize| {
        let octet = |n: usize| fixed.get(at + n).copied().unwrap_or_default();
        [octet(0), octet(1), octet(2), octet(3)]
    };
    let [op, htype, hlen, hops] = word(0);
    let [secs_high, secs_low, flags_high, _] = word(8);
    Dhcp4 {
        frame: context.frame,
        src_port: context.src_port,
        dst_port: context.dst_port,
        checksum: context.sum,
        op,
        htype,
        hlen,
        hops,
        xid: u32::from_be_bytes(word(4)),
        secs: u16::from_be_bytes([secs_high, secs_low]),
        broadcast: flags_high & 0x80 != 0,
        ciaddr: Ipv4Addr::from(word(12)),
        yiaddr: Ipv4Addr::from(word(16)),
        siaddr: Ipv4Addr::from(word(20)),
        giaddr: Ipv4Addr::from(word(24)),
        chaddr: fixed[28..28 + usize::from(hlen).min(CHADDR)].to_vec(),
        message_type: None,
        client_id: None,
        server_id: None,
        requested_ip: None,
        lease_time: None,
        t1: None,
        t2: None,
        subnet_mask: None,
        routers: Vec::new(),
        dns: Vec::new(),
        routes: Vec::new(),
        host_name: None,
        vendor_class: None,
        user_class: None,
        fqdn: None,
        domain: None,
        message: None,
        parameters: Vec::new(),
        relay_agent: None,
        architecture: None,
        ipv6_only_wait: None,
        boot_file: None,
        boot_server: None,
        options: Vec::new(),
        flaws: Vec::new(),
        hostile_text: Vec::new(),
    }
}

/// What the layers below saw.
fn context_flaws(context: &UdpContext, flaws: &mut Flaws) {
    if context.length_mismatch {
        flaws.add_unless(context.truncated, Dhcp4Flaw::UdpLength);
    }
    if context.fragmented {
        flaws.add(Dhcp4Flaw::Fragmented);
    }
    if context.checksum == Some(false) {
        flaws.add_unless(context.truncated, Dhcp4Flaw::Checksum);
    }
}

/// A BOOTP packet without vendor area: nothing but zeros behind the fixed part (RFC 951 has 64 octets there, often unused).
fn is_plain_bootp(payload: &[u8]) -> bool {
    payload.iter().skip(FIXED).all(|octet| *octet == 0)
}

fn hardware_flaws(message: &Dhcp4, flaws: &mut Flaws) {
    const ETHERNET: u8 = 1;
    if !matches!(message.op, 1 | 2) {
        flaws.add(Dhcp4Flaw::BadOp);
    }
    // InfiniBand sends hlen 0 with htype 32 (RFC 4390 §2.1): only Ethernet's length is known to be 6.
    if usize::from(message.hlen) > CHADDR || (message.htype == ETHERNET && message.hlen != 6) {
        flaws.add(Dhcp4Flaw::HardwareLength);
    }
    let group = message.chaddr.first().is_some_and(|first| first & 1 != 0);
    // A lease query by address or client id has none (RFC 4388 §6.2), nor has its answer.
    let none = message.chaddr.iter().all(|octet| *octet == 0)
        && !matches!(
            message.message_type,
            Some(
                MessageType::LeaseQuery
                    | MessageType::LeaseUnassigned
                    | MessageType::LeaseUnknown
                    | MessageType::LeaseActive
            )
        );
    if message.htype == ETHERNET && message.hlen > 0 && (group || none) {
        flaws.add(Dhcp4Flaw::BadHardwareAddress);
    }
}

/// Flaws that need the message type. A BOOTP packet may carry vendor extensions behind a cookie (RFC 1497): only options that DHCP
/// alone defines (RFC 2132 §9) make a packet without option 53 a broken one, or a vendor area too small for BOOTP (not `roomy`).
fn type_flaws(message: &Dhcp4, walk: &Walk<'_>, roomy: bool, flaws: &mut Flaws) {
    const DHCP_ONLY: std::ops::RangeInclusive<u8> = 50..=61;
    let Some(message_type) = message.message_type else {
        if walk.codes().any(|code| DHCP_ONLY.contains(&code)) || (walk.is_empty() && !roomy) {
            flaws.add(Dhcp4Flaw::NoMessageType);
        }
        return;
    };
    let from_client = match message_type {
        MessageType::Discover
        | MessageType::Request
        | MessageType::Decline
        | MessageType::Release
        | MessageType::Inform
        | MessageType::LeaseQuery => true,
        MessageType::Offer
        | MessageType::Ack
        | MessageType::Nak
        | MessageType::ForceRenew
        | MessageType::LeaseUnassigned
        | MessageType::LeaseUnknown
        | MessageType::LeaseActive => false,
        MessageType::Other(code) => {
            if code == 0 || code > LAST_MESSAGE_TYPE {
                flaws.add(Dhcp4Flaw::UnknownMessageType);
            }
            return;
        }
    };
    let expected = if from_client { 1 } else { 2 };
    if matches!(message.op, 1 | 2) && message.op != expected {
        flaws.add(Dhcp4Flaw::WrongDirection);
    }
    if message_type == MessageType::ForceRenew && !walk.codes().any(|code| code == AUTHENTICATION) {
        flaws.add(Dhcp4Flaw::NotAuthenticated);
    }
    if matches!(message_type, MessageType::Offer | MessageType::Ack)
        && let Some(lease) = message.lease_time
    {
        let t2 = message.t2.unwrap_or(lease);
        let nothing = lease == 0 && !message.yiaddr.is_unspecified();
        if nothing || t2 > lease || message.t1.is_some_and(|t1| t1 > t2) {
            flaws.add(Dhcp4Flaw::BadLifetimes);
        }
    }
}

/// Names to boot from: options 66 and 67, or the fixed fields where these do not hold options.
fn boot_fields(message: &mut Dhcp4, walk: &Walk<'_>, sname: &[u8], file: &[u8]) {
    const SNAME_CODE: u8 = 0;
    const FILE_CODE: u8 = 255;
    // Fixed fields end at the first NUL; what follows it is left-over memory of many senders, not text.
    let text = |field: &[u8]| {
        let end = field.iter().position(|octet| *octet == 0);
        let text = WireText::new(field.get(..end.unwrap_or(field.len())).unwrap_or_default());
        (!text.is_empty()).then_some(text)
    };
    for (holds_options, field, code, target) in [
        (
            walk.overloads(Field::Sname),
            sname,
            SNAME_CODE,
            &mut message.boot_server,
        ),
        (
            walk.overloads(Field::File),
            file,
            FILE_CODE,
            &mut message.boot_file,
        ),
    ] {
        if holds_options {
            continue;
        }
        if let Some(text) = text(field) {
            if text.is_hostile() {
                message.hostile_text.push(code);
            }
            target.get_or_insert(text);
        }
    }
}
