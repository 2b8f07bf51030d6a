//! Who announces: one BGP speaker, whatever its sessions and whoever observes them.

use std::net::IpAddr;

use crate::event::frame::Mac;
use crate::state::sessions::End;

/// A speaker as far as one of its sessions shows it.
#[derive(Copy, Clone, Debug)]
pub(super) struct Speaker {
    pub addr: IpAddr,
    /// BGP identifier; 0 where no OPEN was seen.
    pub router_id: u32,
    /// 0 where unknown.
    pub asn: u32,
    mac: Option<Mac>,
}

impl Speaker {
    pub fn of(end: &End) -> Speaker {
        Speaker {
            addr: end.addr,
            router_id: end.router_id,
            asn: end.asn,
            mac: end.mac,
        }
    }

    /// One speaker has an address on each of its sessions: its identifier tells. Without it, two addresses of one family behind different
    /// link-layer addresses are two hosts (one host has one session of a family with one neighbor), and else the AS must do.
    pub fn is(&self, other: &Speaker) -> bool {
        if self.addr == other.addr {
            return true;
        }
        if self.router_id != 0 && other.router_id != 0 {
            return self.router_id == other.router_id;
        }
        let apart = self.addr.is_ipv4() == other.addr.is_ipv4()
            && self.mac.zip(other.mac).is_some_and(|(a, b)| a != b);
        !apart && self.asn != 0 && self.asn == other.asn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaker(addr: &str, router_id: u32, asn: u32, mac: Option<u8>) -> Speaker {
        Speaker {
            addr: addr.parse().unwrap(),
            router_id,
            asn,
            mac: mac.map(|last| Mac([2, 0, 0, 0, 0, last])),
        }
    }

    #[test]
    fn a_speaker_is_known_by_its_identifier_else_by_what_is_behind_its_address() {
        let one = speaker("192.0.2.1", 7, 64501, Some(1));
        assert!(one.is(&speaker("2001:db8::1", 7, 64501, Some(1))));
        assert!(!one.is(&speaker("192.0.2.2", 8, 64501, Some(1))));
        // Without identifiers: hosts of one AS behind MACs of their own.
        let unknown = |addr, mac| speaker(addr, 0, 64501, mac);
        assert!(!unknown("192.0.2.1", Some(1)).is(&unknown("192.0.2.2", Some(2))));
        assert!(unknown("192.0.2.1", Some(1)).is(&unknown("2001:db8::1", Some(3))));
        assert!(unknown("192.0.2.1", None).is(&unknown("192.0.2.2", Some(2))));
        assert!(!speaker("192.0.2.1", 0, 0, None).is(&speaker("192.0.2.2", 0, 0, None)));
    }
}
