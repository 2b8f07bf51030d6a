//! Option values in typed form.
//!
//! Lengths are checked here before dhcproto sees a value, and it sees one value at a time: fed with whole packets it drops every
//! option behind the first one it cannot read, and it panics on some lengths. What it reads wrongly or not at all (33, 77, 81, 82,
//! 108, 249, non-UTF-8 text) is read here.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use dhcproto::Decodable;
use dhcproto::v4::DhcpOption;
use smallvec::SmallVec;

use super::Flaws;
use super::options::{Pieces, Walk};
use crate::event::dhcp4::{Dhcp4, Dhcp4Flaw, MessageType, RelayAgent};
use crate::event::{Prefix, WireText};

/// Option codes (RFC 2132 unless noted).
mod code {
    pub const SUBNET_MASK: u8 = 1;
    pub const ROUTER: u8 = 3;
    pub const DNS: u8 = 6;
    pub const HOST_NAME: u8 = 12;
    pub const DOMAIN: u8 = 15;
    pub const STATIC_ROUTES: u8 = 33;
    pub const REQUESTED_IP: u8 = 50;
    pub const LEASE_TIME: u8 = 51;
    pub const MESSAGE_TYPE: u8 = 53;
    pub const SERVER_ID: u8 = 54;
    pub const PARAMETERS: u8 = 55;
    pub const MESSAGE: u8 = 56;
    pub const T1: u8 = 58;
    pub const T2: u8 = 59;
    pub const VENDOR_CLASS: u8 = 60;
    pub const CLIENT_ID: u8 = 61;
    pub const BOOT_SERVER: u8 = 66;
    pub const BOOT_FILE: u8 = 67;
    /// RFC 3004.
    pub const USER_CLASS: u8 = 77;
    /// RFC 4702.
    pub const FQDN: u8 = 81;
    /// RFC 3046.
    pub const RELAY_AGENT: u8 = 82;
    /// RFC 4578 §2.1.
    pub const ARCHITECTURE: u8 = 93;
    /// RFC 8925 §3.
    pub const IPV6_ONLY: u8 = 108;
    /// RFC 3442.
    pub const CLASSLESS_ROUTES: u8 = 121;
    /// Microsoft's copy of 121, from before it was assigned.
    pub const CLASSLESS_ROUTES_MS: u8 = 249;
}

/// Options whose length is fixed, with it (RFC 2132; 108: RFC 8925): they cannot be split, so a second one is a contradiction.
const FIXED_LENGTH: &[(u8, usize)] = &[
    (code::SUBNET_MASK, 4),
    (code::REQUESTED_IP, 4),
    (code::LEASE_TIME, 4),
    (code::MESSAGE_TYPE, 1),
    (code::SERVER_ID, 4),
    (57, 2),
    (code::T1, 4),
    (code::T2, 4),
    (code::IPV6_ONLY, 4),
];

/// Text options that are looked at for characters that act on a terminal, beside those the event carries: merit dump file, root path,
/// extensions path, NIS domain, NetBIOS scope, NetWare and NIS+ domains, time zones (RFC 4833), captive portal (RFC 8910), WPAD.
const OTHER_TEXT: &[u8] = &[14, 17, 18, 40, 47, 62, 64, 100, 101, 114, 252];

/// Addresses and routes kept of one option. Windows reads 25 gateways, dhclient a few hundred; nothing legitimate comes near.
const MAX_ADDRESSES: usize = 64;
const MAX_ROUTES: usize = 128;

/// Fills the typed fields from the options.
pub(super) fn fill(message: &mut Dhcp4, walk: &Walk<'_>, flaws: &mut Flaws) {
    repetitions(walk, flaws);
    message.message_type = fixed::<1>(walk, code::MESSAGE_TYPE).map(|[t]| MessageType::from(t));
    message.server_id = fixed(walk, code::SERVER_ID).map(Ipv4Addr::from);
    message.requested_ip = fixed(walk, code::REQUESTED_IP).map(Ipv4Addr::from);
    message.subnet_mask = fixed(walk, code::SUBNET_MASK).map(Ipv4Addr::from);
    message.lease_time = fixed(walk, code::LEASE_TIME).map(u32::from_be_bytes);
    message.t1 = fixed(walk, code::T1).map(u32::from_be_bytes);
    message.t2 = fixed(walk, code::T2).map(u32::from_be_bytes);
    message.ipv6_only_wait = fixed(walk, code::IPV6_ONLY).map(u32::from_be_bytes);
    message.routers = addresses(walk, code::ROUTER, flaws);
    message.dns = addresses(walk, code::DNS, flaws);
    for code in [code::CLASSLESS_ROUTES, code::CLASSLESS_ROUTES_MS] {
        if let Some(value) = walk.joined(code) {
            classless_routes(code, &value, message, flaws);
        }
    }
    if let Some(value) = walk.joined(code::STATIC_ROUTES) {
        static_routes(&value, message, flaws);
    }
    message.parameters = walk
        .joined(code::PARAMETERS)
        .map(Cow::into_owned)
        .unwrap_or_default();
    if walk.first(code::PARAMETERS).is_some() && message.parameters.is_empty() {
        flaws.add(Dhcp4Flaw::OptionLength);
    }
    message.client_id = walk.joined(code::CLIENT_ID).map(Cow::into_owned);
    // RFC 2132 §9.14: at least a type and one octet.
    if message.client_id.as_ref().is_some_and(|id| id.len() < 2) {
        flaws.add(Dhcp4Flaw::OptionLength);
    }
    message.architecture = architecture(walk, flaws);
    message.relay_agent = walk
        .joined(code::RELAY_AGENT)
        .map(|value| relay_agent(&value, flaws));
    texts(message, walk, flaws);
}

/// Lengths of fixed options, and repetitions that receivers read differently.
fn repetitions(walk: &Walk<'_>, flaws: &mut Flaws) {
    for (code, length) in FIXED_LENGTH {
        if walk
            .first(*code)
            .is_some_and(|value| value.len() != *length)
        {
            flaws.add(Dhcp4Flaw::OptionLength);
        }
        if walk.pieces(*code) != Pieces::One {
            flaws.add(Dhcp4Flaw::DuplicateOption);
        }
    }
    // Each repeated code is judged once, at its second occurrence: judging is a walk of its own.
    let mut seen = [0u8; 256];
    for code in walk.codes() {
        let Some(times) = seen.get_mut(usize::from(code)) else {
            continue;
        };
        *times = times.saturating_add(1);
        if *times == 2 && walk.pieces(code) == Pieces::Ambiguous {
            flaws.add(Dhcp4Flaw::DuplicateOption);
            return;
        }
    }
}

/// A fixed-length option's value; `None` where its length is wrong.
fn fixed<const N: usize>(walk: &Walk<'_>, code: u8) -> Option<[u8; N]> {
    walk.first(code)?.try_into().ok()
}

/// One checked value, typed by dhcproto. Values over 255 octets are handed over as RFC 3396 splits them.
fn typed(code: u8, value: &[u8]) -> Option<DhcpOption> {
    let mut wire: SmallVec<[u8; 264]> = SmallVec::new();
    for piece in value.chunks(usize::from(u8::MAX)) {
        wire.push(code);
        wire.push(piece.len() as u8); // chunks of at most 255
        wire.extend_from_slice(piece);
    }
    DhcpOption::decode(&mut dhcproto::Decoder::new(&wire)).ok()
}

/// A list of addresses; a length that is not a multiple of 4, or none, is a flaw, and what is whole is still read.
fn addresses(walk: &Walk<'_>, code: u8, flaws: &mut Flaws) -> Vec<Ipv4Addr> {
    let Some(value) = walk.joined(code) else {
        return Vec::new();
    };
    if value.is_empty() || value.len() % 4 != 0 {
        flaws.add(Dhcp4Flaw::OptionLength);
    }
    let whole = (value.len() / 4).min(MAX_ADDRESSES) * 4;
    match value.get(..whole).and_then(|value| typed(code, value)) {
        Some(DhcpOption::Router(list) | DhcpOption::DomainNameServer(list)) => list,
        _ => Vec::new(),
    }
}

/// RFC 3442: width, the octets of the destination that the width needs, gateway. Checked in full before dhcproto reads it, which
/// would silently stop at a width over 32; the readable routes in front of a broken one are kept, as clients do.
fn classless_routes(code: u8, value: &[u8], message: &mut Dhcp4, flaws: &mut Flaws) {
    let mut good = 0;
    let mut count = 0;
    while let Some(&width) = value.get(good) {
        let end = good + 1 + usize::from(width).div_ceil(8) + 4;
        if width > 32 || end > value.len() || count == MAX_ROUTES {
            break;
        }
        (good, count) = (end, count + 1);
    }
    if good != value.len() || value.is_empty() {
        flaws.add(Dhcp4Flaw::BadRoutes);
    }
    let checked = value.get(..good).unwrap_or_default();
    if let Some(DhcpOption::ClasslessStaticRoute(routes)) = typed(code::CLASSLESS_ROUTES, checked) {
        message
            .routes
            .extend(routes.into_iter().map(|(net, gateway)| {
                let prefix = Prefix::v4(net.addr().octets(), net.prefix_len());
                (code, prefix, gateway)
            }));
    }
}

/// RFC 2132 §5.8: destination and gateway, without mask: the class tells it, and 0.0.0.0 is not allowed.
fn static_routes(value: &[u8], message: &mut Dhcp4, flaws: &mut Flaws) {
    let (pairs, rest) = value.as_chunks::<8>();
    if !rest.is_empty() || pairs.is_empty() || pairs.len() > MAX_ROUTES {
        flaws.add(Dhcp4Flaw::BadRoutes);
    }
    for [a, b, c, d, gateway @ ..] in pairs.iter().take(MAX_ROUTES) {
        let destination = [*a, *b, *c, *d];
        if destination == [0; 4] {
            flaws.add(Dhcp4Flaw::BadRoutes);
            continue;
        }
        // A destination with bits beyond its class is taken for a host, as clients do.
        let width = match destination {
            [0..=127, 0, 0, 0] => 8,
            [128..=191, _, 0, 0] => 16,
            [192..=223, _, _, 0] => 24,
            _ => 32,
        };
        message.routes.push((
            code::STATIC_ROUTES,
            Prefix::v4(destination, width),
            Ipv4Addr::from(*gateway),
        ));
    }
}

/// The first architecture of option 93: a list of 16-bit numbers.
fn architecture(walk: &Walk<'_>, flaws: &mut Flaws) -> Option<u16> {
    let value = walk.joined(code::ARCHITECTURE)?;
    if value.is_empty() || value.len() % 2 != 0 {
        flaws.add(Dhcp4Flaw::OptionLength);
    }
    value.first_chunk().map(|first| u16::from_be_bytes(*first))
}

/// RFC 3046 §2.0: sub-options with code and length, without end. Identifiers are the relay's own business and often binary: kept raw.
fn relay_agent(value: &[u8], flaws: &mut Flaws) -> RelayAgent {
    let mut agent = RelayAgent::default();
    let mut rest = value;
    if value.is_empty() {
        flaws.add(Dhcp4Flaw::BadRelayAgent);
    }
    while let Some((&sub, after)) = rest.split_first() {
        let parts = after
            .split_first()
            .and_then(|(&len, after)| after.split_at_checked(len.into()));
        let Some((value, after)) = parts else {
            flaws.add(Dhcp4Flaw::BadRelayAgent);
            break;
        };
        rest = after;
        let mut address = || {
            let address = <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from);
            if address.is_none() {
                flaws.add(Dhcp4Flaw::BadRelayAgent);
            }
            address
        };
        match sub {
            1 => agent.circuit_id = Some(WireText::new(value)),
            2 => agent.remote_id = Some(WireText::new(value)),
            5 => agent.link_selection = address(),
            11 => agent.server_id_override = address(),
            _ => {}
        }
    }
    agent
}

/// Text options, and which of them could act on a terminal.
fn texts(message: &mut Dhcp4, walk: &Walk<'_>, flaws: &mut Flaws) {
    let mut hostile = Vec::new();
    let mut text = |code: u8| {
        let text = WireText::new(&walk.joined(code)?);
        if text.is_hostile() {
            hostile.push(code);
        }
        Some(text)
    };
    message.host_name = text(code::HOST_NAME);
    message.domain = text(code::DOMAIN);
    message.message = text(code::MESSAGE);
    message.boot_server = text(code::BOOT_SERVER);
    message.boot_file = text(code::BOOT_FILE);
    for code in OTHER_TEXT {
        text(*code);
    }
    // RFC 2132 §3.14: at least one octet.
    if message.host_name.as_ref().is_some_and(WireText::is_empty) {
        flaws.add(Dhcp4Flaw::OptionLength);
    }

    // Opaque by definition (RFC 2132 §9.13, RFC 3004 §4): binary values are legitimate, an escape sequence or line break is not.
    let mut opaque = |code: u8, value: Option<Vec<u8>>| {
        let text = WireText::new(&value?);
        if drives_a_terminal(text.octets()) {
            hostile.push(code);
        }
        Some(text)
    };
    message.vendor_class = opaque(
        code::VENDOR_CLASS,
        walk.joined(code::VENDOR_CLASS).map(Cow::into_owned),
    );
    message.user_class = opaque(
        code::USER_CLASS,
        walk.joined(code::USER_CLASS)
            .map(|value| user_class(&value)),
    );

    if let Some(value) = walk.joined(code::FQDN) {
        match fqdn(&value) {
            Some(name) => {
                let name = WireText::new(&name);
                if name.is_hostile() {
                    hostile.push(code::FQDN);
                }
                message.fqdn = (!name.is_empty()).then_some(name);
            }
            None => flaws.add(Dhcp4Flaw::OptionLength),
        }
    }
    message.hostile_text = hostile;
}

/// An escape sequence (ESC with `[`, `]`, `P`, `_` or `^`) or a line break in the middle.
fn drives_a_terminal(octets: &[u8]) -> bool {
    octets.windows(2).any(|pair| {
        matches!(
            pair,
            [0x1b, b'[' | b']' | b'P' | b'_' | b'^'] | [b'\r', b'\n']
        )
    })
}

/// RFC 3004 §4 has length-prefixed instances; iPXE and most others send bare text. Taken as instances only where the lengths fit exactly.
fn user_class(value: &[u8]) -> Vec<u8> {
    let mut joined = Vec::new();
    let mut rest = value;
    while let Some((&len, after)) = rest.split_first() {
        match after.split_at_checked(len.into()) {
            Some((instance, after)) if len > 0 => {
                if !joined.is_empty() {
                    joined.push(b',');
                }
                joined.extend_from_slice(instance);
                rest = after;
            }
            _ => return value.to_vec(),
        }
    }
    joined
}

/// RFC 4702 §2: flags, two return codes, and a name, in wire format where the E flag is set, else the deprecated ASCII (Windows). `None`
/// where it is too short.
fn fqdn(value: &[u8]) -> Option<Vec<u8>> {
    const WIRE_FORMAT: u8 = 0x04;
    let (&[flags, _, _], name) = value.split_first_chunk()?;
    if flags & WIRE_FORMAT == 0 {
        return Some(name.to_vec());
    }
    Some(domain_name(name).unwrap_or_else(|| name.to_vec()))
}

/// A name in DNS wire format as dotted text; a name without the final root label is a partial one (RFC 4702 §2.3.1). `None` where a label
/// runs past the end or is a compression pointer, which is not allowed here.
pub(in crate::decode) fn domain_name(wire: &[u8]) -> Option<Vec<u8>> {
    const LONGEST_LABEL: u8 = 63;
    let mut name = Vec::new();
    let mut rest = wire;
    while let Some((&len, after)) = rest.split_first() {
        if len == 0 {
            break;
        }
        if len > LONGEST_LABEL {
            return None;
        }
        let (label, after) = after.split_at_checked(len.into())?;
        if !name.is_empty() {
            name.push(b'.');
        }
        name.extend_from_slice(label);
        rest = after;
    }
    Some(name)
}
