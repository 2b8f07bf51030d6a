//! Table dumps: TABLE_DUMP (RFC 6396 §4.2) and TABLE_DUMP_V2 (§4.3, RFC 8050 §4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{MrtDecoder, TABLE_DUMP, TABLE_DUMP_V2, between, target};
use crate::decode::bgp::nlri::{self, Layout};
use crate::decode::bgp::{Cursor, attributes};
use crate::decode::{Emit, Stamp};
use crate::event::bgp::{Family, Nlri, Update};
use crate::event::{Prefix, Timestamp};

/// A peer of the index table.
#[derive(Copy, Clone, Debug)]
pub(super) struct Peer {
    asn: u32,
    addr: IpAddr,
}

const PEER_INDEX_TABLE: u16 = 1;
const CUT: &str = "table entry exceeds its record";

impl MrtDecoder {
    /// One entry a record. The earliest dumps (until 2000) pack many entries behind one view and sequence number.
    pub(super) fn table_dump(
        &mut self,
        subtype: u16,
        body: &[u8],
        stamp: &Stamp,
        emit: Emit<'_>,
    ) -> Result<(), &'static str> {
        let v6 = match subtype {
            1 => false,
            2 => true,
            _ => {
                self.count(TABLE_DUMP, subtype);
                return Ok(());
            }
        };
        let mut cursor = Cursor(body);
        cursor.u32().ok_or(CUT)?; // view and sequence number
        while !cursor.is_empty() {
            let (prefix, originated, peer, value) = entry_v1(&mut cursor, v6).ok_or(CUT)?;
            self.entry.origin_at = time(originated);
            let to = (0, unspecified(v6));
            let key = Nlri::unicast(prefix);
            if let Some(update) = target(&mut self.entry, between((peer.asn, peer.addr), to), stamp)
            {
                fill(update, key, value, false);
                emit(&self.entry);
            }
        }
        Ok(())
    }

    pub(super) fn table_dump_v2(
        &mut self,
        subtype: u16,
        body: &[u8],
        stamp: &Stamp,
        emit: Emit<'_>,
    ) -> Result<(), &'static str> {
        let mut cursor = Cursor(body);
        if subtype == PEER_INDEX_TABLE {
            return self.peer_index(&mut cursor);
        }
        let family = |afi, safi| Some(Family { afi, safi });
        // RFC 8050 §4: the subtypes of RFC 6396 §4.3 again, with path identifiers.
        let add_path = matches!(subtype, 8..=12);
        let family = match subtype {
            2 | 8 => family(1, 1),
            3 | 9 => family(1, 2),
            4 | 10 => family(2, 1),
            5 | 11 => family(2, 2),
            6 | 12 => None,
            _ => {
                self.count(TABLE_DUMP_V2, subtype);
                return Ok(());
            }
        };
        cursor.u32().ok_or(CUT)?; // sequence number
        let family = match family {
            Some(family) => family,
            None => attributes::family(&mut cursor).ok_or(CUT)?,
        };
        let layout = Layout::of(family);
        if layout == Layout::Other {
            self.count(TABLE_DUMP_V2, subtype);
            return Ok(());
        }
        let key = nlri::one(&mut cursor, layout)?;
        let count = cursor.u16().ok_or(CUT)?;
        for _ in 0..count {
            let peer = usize::from(cursor.u16().ok_or(CUT)?);
            let originated = cursor.u32().ok_or(CUT)?;
            let path_id = if add_path {
                cursor.u32().ok_or(CUT)?
            } else {
                0
            };
            let value = cursor.counted16().ok_or(CUT)?;
            let peer = self
                .peers
                .get(peer)
                .copied()
                .ok_or("table entry of a peer that is not in the index")?;
            let Some(key) = key else { continue };
            self.entry.origin_at = time(originated);
            let to = (0, unspecified(peer.addr.is_ipv6()));
            if let Some(update) = target(&mut self.entry, between((peer.asn, peer.addr), to), stamp)
            {
                fill(update, Nlri { path_id, ..key }, value, true);
                emit(&self.entry);
            }
        }
        Ok(())
    }

    fn peer_index(&mut self, cursor: &mut Cursor<'_>) -> Result<(), &'static str> {
        const CUT: &str = "peer index exceeds its record";
        self.peers.clear();
        cursor.u32().ok_or(CUT)?; // collector's identifier
        cursor.counted16().ok_or(CUT)?; // view name
        let count = cursor.u16().ok_or(CUT)?;
        for _ in 0..count {
            self.peers.push(peer(cursor).ok_or(CUT)?);
        }
        Ok(())
    }
}

/// An entry of the index: flags (1 IPv6, 2 four-octet AS), identifier, address, AS.
fn peer(cursor: &mut Cursor<'_>) -> Option<Peer> {
    let flags = cursor.u8()?;
    cursor.u32()?;
    let addr = cursor.addr(flags & 1 != 0)?;
    let asn = if flags & 2 != 0 {
        cursor.u32()?
    } else {
        u32::from(cursor.u16()?)
    };
    Some(Peer { asn, addr })
}

fn entry_v1<'a>(cursor: &mut Cursor<'a>, v6: bool) -> Option<(Prefix, u32, Peer, &'a [u8])> {
    let addr = cursor.addr(v6)?;
    let len = cursor.u8()?;
    cursor.u8()?; // status, always 1
    let originated = cursor.u32()?;
    let addr_of_peer = cursor.addr(v6)?;
    let asn = u32::from(cursor.u16()?);
    let value = cursor.counted16()?;
    let peer = Peer {
        asn,
        addr: addr_of_peer,
    };
    Some((Prefix::new(addr, len), originated, peer, value))
}

fn unspecified(v6: bool) -> IpAddr {
    if v6 {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    }
}

/// When the collector says the entry last changed.
fn time(seconds: u32) -> Option<Timestamp> {
    (seconds != 0).then(|| Timestamp::from_parts(i64::from(seconds), 0))
}

fn fill(update: &mut Update, key: Nlri, value: &[u8], as4: bool) {
    update.clear();
    update.announced.push(key);
    let found = attributes::read(value, as4, &mut update.attributes, &mut update.errors);
    update.attributes.next_hop = found.next_hop;
    if let Some(value) = found.mp_reach
        && let Some((global, link_local)) = attributes::next_hops(next_hop_of(value))
    {
        update.attributes.next_hop = global.or(update.attributes.next_hop);
        update.attributes.next_hop_link_local = link_local;
    }
}

/// The next hop field of an MP_REACH in a table: the whole attribute with its family first (old Quagga), or only length and next hop
/// (RFC 6396 §4.3.4). An AFI begins with a zero, a next hop's length is never zero.
fn next_hop_of(value: &[u8]) -> &[u8] {
    let mut cursor = Cursor(value);
    if value.first() == Some(&0) {
        cursor.take(3);
    }
    cursor.counted8().unwrap_or_default()
}
