//! rtnetlink of a host with the other byte order (s390x, MIPS routers; or a file from a PC read there): turned round before anything reads it.
//!
//! Numbers are in the byte order of the host, addresses in that of the network, so a message can only be turned by knowing its parts: the tables
//! below have those that the decoders use, and attributes that are not in them are left out. Only foreign buffers come here; the copy is no longer
//! than they are.

use super::{
    ALIGN, HEADER, NLMSG_DONE, RTM_DELADDR, RTM_DELLINK, RTM_DELMDB, RTM_DELNEIGH, RTM_DELNETCONF,
    RTM_DELNEXTHOP, RTM_DELROUTE, RTM_DELRULE, RTM_GETADDR, RTM_GETLINK, RTM_GETNEIGH,
    RTM_GETNETCONF, RTM_GETNEXTHOP, RTM_GETROUTE, RTM_GETRULE, RTM_NEWADDR, RTM_NEWLINK,
    RTM_NEWMDB, RTM_NEWNEIGH, RTM_NEWNETCONF, RTM_NEWNEXTHOP, RTM_NEWROUTE, RTM_NEWRULE,
};

/// Octets of `struct rtattr`.
const ATTRIBUTE: usize = 4;
/// The type without its flags.
const TYPE_MASK: u16 = 0x3fff;
/// Nested attributes that are followed: multicast entries have three.
const MAX_DEPTH: usize = 4;

/// How an attribute's value is laid out.
#[derive(Copy, Clone)]
enum Form {
    /// Octets: addresses, names.
    Octets,
    /// Numbers of four octets, one or several.
    Words,
    /// A number of two octets, then octets: an address family and an address, a VLAN.
    Half,
    Nested(&'static [(u16, Form)]),
    /// `struct rtnexthop`s with attributes of their own.
    Hops,
    /// `struct nexthop_grp`: a number of four octets, then four octets.
    Members,
    /// `struct br_mdb_entry`: interface, state and flags, VLAN, then what is in network order.
    Entry,
}

/// The fields in front of a message's attributes, by their octets, and its attributes.
type Shape = (&'static [usize], &'static [(u16, Form)]);

use Form::{Entry, Half, Hops, Members, Nested, Octets, Words};

/// `ifinfomsg`.
const LINK: Shape = (
    &[1, 1, 2, 4, 4, 4],
    &[
        (1, Octets),
        (2, Octets),
        (3, Octets),
        (4, Words),
        (5, Words),
        (10, Words),
        (16, Octets),
        (18, Nested(&[(1, Octets)])),
        (29, Words),
        (33, Octets),
        (35, Words),
        (47, Words),
        (48, Words),
    ],
);
/// `ifaddrmsg`.
const ADDRESS: Shape = (
    &[1, 1, 1, 1, 4],
    &[
        (1, Octets),
        (2, Octets),
        (3, Octets),
        (6, Words),
        (8, Words),
        (11, Octets),
    ],
);
/// `rtmsg`.
const ROUTE: Shape = (
    &[1, 1, 1, 1, 1, 1, 1, 1, 4],
    &[
        (1, Octets),
        (2, Octets),
        (4, Words),
        (5, Octets),
        (6, Words),
        (7, Octets),
        (9, Hops),
        (12, Words),
        (15, Words),
        (18, Half),
        (20, Octets),
        (23, Words),
        (30, Words),
    ],
);
/// `ndmsg`.
const NEIGHBOR: Shape = (
    &[1, 1, 2, 4, 2, 1, 1],
    &[(1, Octets), (2, Octets), (5, Half)],
);
/// `fib_rule_hdr`.
const RULE: Shape = (
    &[1, 1, 1, 1, 1, 1, 1, 1, 4],
    &[
        (1, Octets),
        (2, Octets),
        (3, Octets),
        (6, Words),
        (10, Words),
        (14, Words),
        (15, Words),
        (16, Words),
        (17, Octets),
        (21, Octets),
    ],
);
/// `nhmsg`.
const NEXTHOP: Shape = (
    &[1, 1, 1, 1, 4],
    &[
        (1, Words),
        (2, Members),
        (4, Octets),
        (5, Words),
        (6, Octets),
    ],
);
/// `netconfmsg`.
const NETCONF: Shape = (
    &[1, 1, 1, 1],
    &[
        (1, Words),
        (2, Words),
        (3, Words),
        (4, Words),
        (5, Words),
        (6, Words),
    ],
);
/// `br_port_msg`.
const MDB: Shape = (
    &[1, 1, 1, 1, 4],
    &[(1, Nested(&[(1, Nested(&[(1, Entry)]))]))],
);

fn shape(kind: u16) -> Option<Shape> {
    Some(match kind {
        RTM_NEWLINK | RTM_DELLINK | RTM_GETLINK => LINK,
        RTM_NEWADDR | RTM_DELADDR | RTM_GETADDR => ADDRESS,
        RTM_NEWROUTE | RTM_DELROUTE | RTM_GETROUTE => ROUTE,
        RTM_NEWNEIGH | RTM_DELNEIGH | RTM_GETNEIGH => NEIGHBOR,
        RTM_NEWRULE | RTM_DELRULE | RTM_GETRULE => RULE,
        RTM_NEWNEXTHOP | RTM_DELNEXTHOP | RTM_GETNEXTHOP => NEXTHOP,
        RTM_NEWNETCONF | RTM_DELNETCONF | RTM_GETNETCONF => NETCONF,
        RTM_NEWMDB | RTM_DELMDB => MDB,
        NLMSG_DONE => (&[4], &[]),
        _ => return None,
    })
}

/// Whether the messages are in the other order: the first length makes no sense in ours and does in the other. Both can't: a length in the wrong order
/// is a multiple of 65,536 or has its low octets above.
pub(super) fn is_foreign(bytes: &[u8]) -> bool {
    let Some(length) = bytes.first_chunk::<4>() else {
        return false;
    };
    let fits = |length: u32| (HEADER..=bytes.len()).contains(&(length as usize));
    let length = u32::from_ne_bytes(*length);
    !fits(length) && fits(length.swap_bytes())
}

/// The messages in our order. One that is cut, and what follows it, is left as it is: the decoder will say so.
pub(super) fn turned(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    while let Some((head, _)) = bytes.split_first_chunk::<HEADER>() {
        let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]).swap_bytes() as usize;
        let Some(payload) = bytes.get(HEADER..length) else {
            break;
        };
        let begin = out.len();
        fields(&[4, 2, 2, 4, 4], head, &mut out);
        let kind = u16::from_ne_bytes([head[4], head[5]]).swap_bytes();
        match shape(kind) {
            Some((fixed, forms)) => {
                let rest = fields(fixed, payload, &mut out);
                attributes(rest, forms, 0, &mut out);
            }
            None => out.extend_from_slice(payload),
        }
        pad(&mut out);
        length_at(begin, 4, &mut out);
        let next = length.next_multiple_of(ALIGN).min(bytes.len());
        bytes = bytes.get(next..).unwrap_or_default();
    }
    out.extend_from_slice(bytes);
    out
}

/// Turns fields of these widths round; returns what is behind them.
fn fields<'a>(widths: &[usize], mut bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    for width in widths {
        let Some((field, rest)) = bytes.split_at_checked(*width) else {
            out.extend_from_slice(bytes);
            return &[];
        };
        out.extend(field.iter().rev());
        bytes = rest;
    }
    bytes
}

/// Attributes that the table has, turned round; the others are left out.
fn attributes(mut bytes: &[u8], forms: &[(u16, Form)], depth: usize, out: &mut Vec<u8>) {
    if depth >= MAX_DEPTH {
        return;
    }
    while let Some((head, _)) = bytes.split_first_chunk::<ATTRIBUTE>() {
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]).swap_bytes());
        let kind = u16::from_ne_bytes([head[2], head[3]]).swap_bytes() & TYPE_MASK;
        let Some(value) = bytes.get(ATTRIBUTE..length) else {
            return;
        };
        if let Some((_, form)) = forms.iter().find(|(known, _)| *known == kind) {
            let begin = out.len();
            fields(&[2, 2], head, out);
            self::value(value, *form, depth, out);
            length_at(begin, 2, out);
            pad(out);
        }
        let next = length.next_multiple_of(ALIGN).min(bytes.len());
        bytes = bytes.get(next..).unwrap_or_default();
    }
}

fn value(value: &[u8], form: Form, depth: usize, out: &mut Vec<u8>) {
    match form {
        Octets => out.extend_from_slice(value),
        Words => {
            for word in value.chunks(4) {
                out.extend(word.iter().rev());
            }
        }
        Half => {
            let rest = fields(&[2], value, out);
            out.extend_from_slice(rest);
        }
        Nested(forms) => attributes(value, forms, depth + 1, out),
        Hops => hops(value, depth, out),
        Members => {
            for member in value.chunks(8) {
                let rest = fields(&[4], member, out);
                out.extend_from_slice(rest);
            }
        }
        Entry => {
            let rest = fields(&[4, 1, 1, 2], value, out);
            out.extend_from_slice(rest);
        }
    }
}

/// Length (2), flags, weight, interface (4), attributes.
fn hops(mut bytes: &[u8], depth: usize, out: &mut Vec<u8>) {
    const HOP: usize = 8;
    while bytes.len() >= HOP {
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]).swap_bytes());
        let Some(hop) = bytes.get(..length).filter(|hop| hop.len() >= HOP) else {
            return;
        };
        let begin = out.len();
        let rest = fields(&[2, 1, 1, 4], hop, out);
        attributes(rest, ROUTE.1, depth + 1, out);
        length_at(begin, 2, out);
        let next = length.next_multiple_of(ALIGN).min(bytes.len());
        bytes = bytes.get(next..).unwrap_or_default();
    }
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(ALIGN), 0);
}

/// Writes the length of what begins at `begin` there.
fn length_at(begin: usize, width: usize, out: &mut [u8]) {
    let length = (out.len() - begin) as u32;
    let octets = length.to_ne_bytes();
    let octets = if width == 2 {
        let half = length as u16;
        half.to_ne_bytes().to_vec()
    } else {
        octets.to_vec()
    };
    if let Some(place) = out.get_mut(begin..begin + width) {
        place.copy_from_slice(&octets);
    }
}
