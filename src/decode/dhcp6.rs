//! DHCPv6: relay envelopes unwrapped one after the other, then the innermost message with its options.
//!
//! Nothing recurses: envelopes are a loop of bounded depth, and options nest only as deep as RFC 8415 defines (IA → address or
//! prefix → status), so that no packet can exhaust the stack. `Err` is kept for bytes that are no DHCPv6 at all.

mod options;
#[cfg(test)]
mod tests;

use std::net::Ipv6Addr;

use super::UdpContext;
use crate::event::WireText;
use crate::event::dhcp6::{Dhcp6, Dhcp6Flaw, Relay};
use crate::event::loss::{Malformed, Protocol};
use options::{Options, fill};

const RELAY_FORW: u8 = 12;
const RELAY_REPL: u8 = 13;
const RECONFIGURE: u8 = 10;
/// Octets of a message's header: type and transaction id (RFC 8415 §8).
const HEADER: usize = 4;
/// Octets of a relay message's header (RFC 8415 §9).
const RELAY_HEADER: usize = 34;
/// HOP_COUNT_LIMIT (RFC 8415 §7.6): more envelopes than this are a flaw; one more is still read, to show who added it.
const MAX_RELAYS: usize = 8;
const RELAY_MESSAGE: u16 = 9;
const INTERFACE_ID: u16 = 18;
/// RFC 4649.
const REMOTE_ID: u16 = 37;
/// Octets of undecodable bytes that are shown.
const HEAD: usize = 32;

/// Decodes the payload of a UDP datagram to or from port 546 or 547.
pub fn decode(payload: &[u8], context: &UdpContext) -> Result<Dhcp6, Malformed> {
    let Some(&message_type) = payload.first() else {
        return Err(malformed("empty", payload));
    };
    if !known(message_type) && payload.len() < HEADER {
        return Err(malformed("no message type and no transaction id", payload));
    }
    let mut message = empty(message_type, context);
    let mut flaws = Flaws {
        list: Vec::new(),
        snapped: context.truncated,
    };
    let mut inner = payload;
    loop {
        let Some(&message_type) = inner.first() else {
            flaws.cut(Dhcp6Flaw::Truncated);
            break;
        };
        message.message_type = message_type;
        if !matches!(message_type, RELAY_FORW | RELAY_REPL) {
            innermost(inner, &mut message, &mut flaws);
            break;
        }
        if message.relays.len() > MAX_RELAYS {
            break; // TooDeep was noted with the envelope before
        }
        match envelope(inner, &mut message, &mut flaws) {
            Some(next) => inner = next,
            None => break,
        }
    }
    message.flaws = flaws.list;
    Ok(message)
}

/// The flaws found so far, each once.
struct Flaws {
    list: Vec<Dhcp6Flaw>,
    /// The capture cut the packet: missing ends are not the sender's doing.
    snapped: bool,
}

impl Flaws {
    fn add(&mut self, flaw: Dhcp6Flaw) {
        if !self.list.contains(&flaw) {
            self.list.push(flaw);
        }
    }

    /// A flaw that a cut capture makes too.
    fn cut(&mut self, flaw: Dhcp6Flaw) {
        if !self.snapped {
            self.add(flaw);
        }
    }
}

fn malformed(why: &'static str, payload: &[u8]) -> Malformed {
    Malformed {
        protocol: Protocol::Dhcp6,
        why: WireText::from(why),
        head: payload.iter().take(HEAD).copied().collect(),
    }
}

/// Message types of RFC 8415 §7.3, lease query (RFC 5007, 5460), failover (RFC 8156), DHCPv4-over-DHCPv6 (RFC 7341) and address
/// registration (RFC 9686).
const fn known(message_type: u8) -> bool {
    matches!(message_type, 1..=37)
}

fn empty(message_type: u8, context: &UdpContext) -> Dhcp6 {
    Dhcp6 {
        frame: context.frame,
        src_port: context.src_port,
        dst_port: context.dst_port,
        checksum: context.sum,
        relays: Vec::new(),
        message_type,
        xid: 0,
        client: None,
        server: None,
        addresses: Vec::new(),
        prefixes: Vec::new(),
        status: Vec::new(),
        requested: Vec::new(),
        vendor_class: None,
        enterprise: None,
        fqdn: None,
        rapid_commit: false,
        preference: None,
        elapsed_ms: None,
        dns: Vec::new(),
        authenticated: false,
        options: Vec::new(),
        flaws: Vec::new(),
        hostile_text: Vec::new(),
    }
}

/// Reads one relay envelope and returns what it carries, if it can be read and there is room to go deeper.
fn envelope<'a>(wire: &'a [u8], message: &mut Dhcp6, flaws: &mut Flaws) -> Option<&'a [u8]> {
    let Some((header, rest)) = wire.split_first_chunk::<RELAY_HEADER>() else {
        flaws.cut(Dhcp6Flaw::Truncated);
        return None;
    };
    let [_, hop_count, addresses @ ..] = header;
    let (link, peer) = addresses.split_first_chunk::<16>()?;
    let peer: [u8; 16] = peer.try_into().ok()?;
    let mut relay = Relay {
        hop_count: *hop_count,
        link_address: Ipv6Addr::from(*link),
        peer_address: Ipv6Addr::from(peer),
        interface_id: None,
        remote_id: None,
    };
    let mut carried = None;
    for (code, value) in Options::of(rest, flaws) {
        match code {
            RELAY_MESSAGE if carried.is_some() => flaws.add(Dhcp6Flaw::NoRelayMessage),
            RELAY_MESSAGE => carried = Some(value),
            INTERFACE_ID => relay.interface_id = Some(WireText::new(value)),
            // Enterprise number first (RFC 4649 §3).
            REMOTE_ID => match value.get(4..) {
                Some(id) => relay.remote_id = Some(WireText::new(id)),
                None => flaws.add(Dhcp6Flaw::OptionLength),
            },
            _ => {}
        }
    }
    message.relays.push(relay);
    if carried.is_none() {
        flaws.cut(Dhcp6Flaw::NoRelayMessage);
    }
    if message.relays.len() > MAX_RELAYS {
        flaws.add(Dhcp6Flaw::TooDeep);
    }
    carried
}

/// Reads the innermost message.
fn innermost(wire: &[u8], message: &mut Dhcp6, flaws: &mut Flaws) {
    let Some((&[message_type, a, b, c], rest)) = wire.split_first_chunk::<HEADER>() else {
        flaws.cut(Dhcp6Flaw::Truncated);
        return;
    };
    message.xid = u32::from_be_bytes([0, a, b, c]);
    if !known(message_type) {
        flaws.add(Dhcp6Flaw::UnknownMessageType);
    }
    fill(message, rest, flaws);
    identifiers(message, flaws);
}

/// Identifiers that RFC 8415 §16 demands; receivers discard the message without them.
fn identifiers(message: &Dhcp6, flaws: &mut Flaws) {
    let (client, server) = match message.message_type {
        // SOLICIT, CONFIRM, REBIND
        1 | 4 | 6 => (true, false),
        // ADVERTISE, REQUEST, RENEW, RELEASE, DECLINE, RECONFIGURE
        2 | 3 | 5 | 8 | 9 | 10 => (true, true),
        // REPLY: the client's only where the request had it (INFORMATION-REQUEST may not).
        7 => (false, true),
        _ => (false, false),
    };
    if (client && message.client.is_none()) || (server && message.server.is_none()) {
        flaws.cut(Dhcp6Flaw::MissingIdentifier);
    }
    if message.message_type == RECONFIGURE && !message.authenticated {
        flaws.cut(Dhcp6Flaw::NotAuthenticated);
    }
}
