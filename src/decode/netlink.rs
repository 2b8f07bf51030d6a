//! rtnetlink messages to events: a bounded walk over a buffer of messages and a switch on their type.
//!
//! Links, addresses, routes, neighbors and rules are parsed by `netlink-packet-route` (see [`convert`]); nexthop objects, interface settings
//! and bridges' multicast entries, which that crate does not know, by [`nexthop`], [`netconf`] and [`mdb`]. What keeps it correct: every length is checked before use, a buffer that ends inside a
//! message becomes one `Malformed` event, and the only state is which table each running dump lists.

mod attributes;
mod convert;
mod mdb;
mod netconf;
mod nexthop;
mod order;

use std::collections::BTreeMap;

use netlink_packet_core::ParseableParametrized;
use netlink_packet_route::RouteNetlinkMessage;

use super::{Emit, Stamp};
use crate::event::loss::{Gap, GapKind, Malformed, Protocol};
use crate::event::netlink::{ACTOR_MAGIC, Action, Actor, DumpDone, Dumped, Meta, NLMSG_ACTOR};
use crate::event::text::sanitized;
use crate::event::{EventKind, SourceId, WireText};

/// `struct nlmsghdr`: length, type, flags, sequence, port (linux/netlink.h).
const HEADER: usize = 16;
/// `NLMSG_ALIGNTO`.
const ALIGN: usize = 4;
/// Message types (linux/netlink.h, linux/rtnetlink.h).
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
/// What rtmon and `ip monitor` write between messages; the container reads the time from it.
const NLMSG_TSTAMP: u16 = 15;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_GETNEIGH: u16 = 30;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const RTM_GETRULE: u16 = 34;
const RTM_NEWNETCONF: u16 = 80;
const RTM_DELNETCONF: u16 = 81;
const RTM_GETNETCONF: u16 = 82;
const RTM_NEWMDB: u16 = 84;
const RTM_DELMDB: u16 = 85;
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const RTM_GETNEXTHOP: u16 = 106;
const IFLA_EXT_MASK: u8 = 29;
const NLM_F_MULTI: u16 = 0x02;
/// The table changed while it was dumped: absence from the dump proves nothing.
const NLM_F_DUMP_INTR: u16 = 0x10;
/// The dump lists only what its request's filter let through.
const NLM_F_DUMP_FILTERED: u16 = 0x20;
const NLM_F_REPLACE: u16 = 0x100;
/// `NLM_F_ROOT | NLM_F_MATCH` of a request.
const NLM_F_DUMP: u16 = 0x300;
/// Dumps running at once; one socket runs one dump at a time, so this is a bound on sockets, not on tables.
const MAX_DUMPS: usize = 64;
/// `TASK_COMM_LEN` less its end.
const MAX_NAME: usize = 15;
/// Octets of a bad message that are shown.
const HEAD_SHOWN: usize = 32;

/// A running dump.
#[derive(Copy, Clone, Debug, Default)]
struct Dump {
    /// What it lists; `None` until that is known.
    what: Option<Dumped>,
    /// The family whose whole table was asked for.
    family: Option<u8>,
    /// The table changed meanwhile, or the listing failed: absence proves nothing.
    broken: bool,
}

/// Decodes rtnetlink messages of any number of sources.
#[derive(Clone, Debug, Default)]
pub struct NetlinkDecoder {
    /// The dumps of this source and sequence.
    dumps: BTreeMap<(SourceId, u32), Dump>,
    ignored: u64,
}

impl NetlinkDecoder {
    /// Without running dumps.
    pub fn new() -> NetlinkDecoder {
        NetlinkDecoder::default()
    }

    /// Messages of types that are not decoded (acknowledgements, traffic control, multicast database …).
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Decodes a buffer of whole messages, each aligned to four octets, all in one byte order.
    pub fn messages(&mut self, bytes: &[u8], stamp: &Stamp, emit: Emit<'_>) {
        let turned = order::is_foreign(bytes).then(|| order::turned(bytes));
        let mut rest = turned.as_deref().unwrap_or(bytes);
        while !rest.is_empty() {
            let Some(header) = Header::parse(rest) else {
                // Up to three octets of padding behind the last message are harmless.
                if rest.len() >= ALIGN || rest.iter().any(|octet| *octet != 0) {
                    malformed("ends inside a message header", rest, stamp, emit);
                }
                return;
            };
            let length = header.length as usize;
            let Some(payload) = rest.get(HEADER..length) else {
                let why = if length < HEADER {
                    "message length below its header's"
                } else {
                    "ends inside a message"
                };
                malformed(why, rest, stamp, emit);
                return;
            };
            self.message(&header, payload, stamp, emit);
            let next = length.next_multiple_of(ALIGN).min(rest.len());
            rest = rest.get(next..).unwrap_or_default();
        }
    }

    fn message(&mut self, header: &Header, payload: &[u8], stamp: &Stamp, emit: Emit<'_>) {
        let dump = header.flags & NLM_F_MULTI != 0;
        let meta = Meta {
            pid: if dump { 0 } else { header.pid },
            seq: header.seq,
            dump,
            replace: header.flags & NLM_F_REPLACE != 0,
            nsid: None,
        };
        let (dumped, action) = match header.kind {
            NLMSG_DONE => {
                let dump = self
                    .dumps
                    .remove(&(stamp.source, header.seq))
                    .unwrap_or_default();
                // A dump that failed ends with an errno.
                let failed = payload
                    .first_chunk()
                    .is_some_and(|status| i32::from_ne_bytes(*status) < 0);
                let broken = dump.broken || failed || header.flags & NLM_F_DUMP_INTR != 0;
                let done = DumpDone {
                    what: dump.what.filter(|_| !broken).unwrap_or(Dumped::Unknown),
                    seq: header.seq,
                    family: dump.family.filter(|_| !broken),
                };
                return emit(&stamp.event(EventKind::DumpDone(done)));
            }
            NLMSG_OVERRUN => {
                let gap = Gap {
                    kind: GapKind::NetlinkOverrun,
                    from: stamp.at,
                    to: stamp.at,
                    lost: None,
                    detail: WireText::from("the kernel reports lost netlink messages"),
                };
                return emit(&stamp.event(EventKind::Gap(Box::new(gap))));
            }
            NLMSG_TSTAMP => return,
            NLMSG_ACTOR => {
                match actor(payload) {
                    Some(actor) => emit(&stamp.event(EventKind::Actor(Box::new(actor)))),
                    None => self.ignored = self.ignored.saturating_add(1),
                }
                return;
            }
            RTM_GETLINK | RTM_GETADDR | RTM_GETROUTE | RTM_GETNEIGH | RTM_GETRULE
            | RTM_GETNEXTHOP | RTM_GETNETCONF => return self.asked(header, payload, stamp.source),
            RTM_NEWLINK => (Dumped::Links, Action::New),
            RTM_DELLINK => (Dumped::Links, Action::Del),
            RTM_NEWADDR => (Dumped::Addresses, Action::New),
            RTM_DELADDR => (Dumped::Addresses, Action::Del),
            RTM_NEWROUTE => (Dumped::Routes, Action::New),
            RTM_DELROUTE => (Dumped::Routes, Action::Del),
            RTM_NEWNEIGH => (Dumped::Neighbors, Action::New),
            RTM_DELNEIGH => (Dumped::Neighbors, Action::Del),
            RTM_NEWRULE => (Dumped::Rules, Action::New),
            RTM_DELRULE => (Dumped::Rules, Action::Del),
            RTM_NEWNEXTHOP => (Dumped::Nexthops, Action::New),
            RTM_DELNEXTHOP => (Dumped::Nexthops, Action::Del),
            RTM_NEWNETCONF => (Dumped::Netconf, Action::New),
            RTM_DELNETCONF => (Dumped::Netconf, Action::Del),
            RTM_NEWMDB => (Dumped::Mdb, Action::New),
            RTM_DELMDB => (Dumped::Mdb, Action::Del),
            _ => {
                self.ignored = self.ignored.saturating_add(1);
                return;
            }
        };
        if meta.dump {
            let dump = self.dump(header, stamp.source);
            dump.what = Some(dumped);
            dump.broken |= header.flags & NLM_F_DUMP_INTR != 0;
            // What a filter let through is not all.
            if header.flags & NLM_F_DUMP_FILTERED != 0 {
                dump.family = None;
            }
        }
        let event = match dumped {
            Dumped::Nexthops => nexthop::decode(payload, meta, action)
                .map(Some)
                .map_err(String::from),
            Dumped::Netconf => netconf::decode(payload, meta, action).map_err(String::from),
            Dumped::Mdb => match mdb::decode(payload, meta, action, stamp, emit) {
                Ok(()) => return,
                Err(why) => Err(why.to_owned()),
            },
            _ => RouteNetlinkMessage::parse_with_param(payload, header.kind)
                .map(|message| convert::event(message, meta, action))
                .map_err(|error| error.to_string()),
        };
        match event {
            Ok(Some(kind)) => emit(&stamp.event(kind)),
            // Families that are not ours: multicast routes, MPLS, CAN …
            Ok(None) => self.ignored = self.ignored.saturating_add(1),
            Err(why) => malformed(&why, payload, stamp, emit),
        }
    }

    /// A request for a dump: what will be listed, also if the list is empty.
    fn asked(&mut self, header: &Header, payload: &[u8], source: SourceId) {
        if header.flags & NLM_F_DUMP != NLM_F_DUMP {
            return;
        }
        let (what, fixed) = match header.kind {
            RTM_GETLINK => (Dumped::Links, 16),
            RTM_GETADDR => (Dumped::Addresses, 8),
            RTM_GETROUTE => (Dumped::Routes, 12),
            RTM_GETNEIGH => (Dumped::Neighbors, 12),
            RTM_GETRULE => (Dumped::Rules, 12),
            RTM_GETNETCONF => (Dumped::Netconf, 4),
            _ => (Dumped::Nexthops, 8),
        };
        let attributes = payload.get(fixed..).unwrap_or_default();
        // A mask of what to leave out of each link is no filter of links.
        let mask = matches!(
            attributes,
            [8, 0, IFLA_EXT_MASK, 0, ..] | [0, 8, 0, IFLA_EXT_MASK, ..]
        ) && attributes.len() == 8
            && what == Dumped::Links;
        let whole = (attributes.is_empty() || mask)
            && payload
                .get(1..fixed)
                .is_some_and(|rest| rest.iter().all(|octet| *octet == 0));
        let family = payload.first().copied().filter(|_| whole);
        let dump = self.dump(header, source);
        *dump = Dump {
            what: Some(what),
            family,
            broken: false,
        };
    }

    fn dump(&mut self, header: &Header, source: SourceId) -> &mut Dump {
        let key = (source, header.seq);
        if self.dumps.len() >= MAX_DUMPS && !self.dumps.contains_key(&key) {
            self.dumps.pop_first();
        }
        self.dumps.entry(key).or_default()
    }
}

/// `struct nlmsghdr` in the byte order of the host, as the kernel wrote it.
struct Header {
    length: u32,
    kind: u16,
    flags: u16,
    seq: u32,
    pid: u32,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Header> {
        let (head, _) = bytes.split_first_chunk::<HEADER>()?;
        let [
            l0,
            l1,
            l2,
            l3,
            k0,
            k1,
            f0,
            f1,
            s0,
            s1,
            s2,
            s3,
            p0,
            p1,
            p2,
            p3,
        ] = *head;
        Some(Header {
            length: u32::from_ne_bytes([l0, l1, l2, l3]),
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            seq: u32::from_ne_bytes([s0, s1, s2, s3]),
            pid: u32::from_ne_bytes([p0, p1, p2, p3]),
        })
    }
}

/// What the live collector noted about a port.
fn actor(payload: &[u8]) -> Option<Actor> {
    let (pid, name) = payload
        .strip_prefix(ACTOR_MAGIC)?
        .split_first_chunk::<4>()?;
    let mut parts = name.split(|octet| *octet == 0);
    let (name, number) = (parts.next().unwrap_or_default(), parts.next());
    let name = String::from_utf8_lossy(name.get(..MAX_NAME).unwrap_or(name));
    Some(Actor {
        pid: u32::from_ne_bytes(*pid),
        name: sanitized(&name).into(),
        process: number.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()),
    })
}

fn malformed(why: &str, bytes: &[u8], stamp: &Stamp, emit: Emit<'_>) {
    let bad = Malformed {
        protocol: Protocol::Netlink,
        why: WireText::from(why),
        head: bytes.iter().take(HEAD_SHOWN).copied().collect(),
    };
    emit(&stamp.event(EventKind::Malformed(Box::new(bad))));
}

#[cfg(test)]
mod tests;
