//! Routing instances: which table a prefix is one of.
//!
//! A route distinguisher in front of a prefix, or of a BMP peer, says that two customers may use the same addresses (RFC 4364 §4.1, RFC 7854 §4.2,
//! RFC 9136 §3): what is in different tables is never compared.

use crate::event::Prefix;
use crate::event::bgp::{Nlri, Rd, Safi};
use crate::state::NetState;
use crate::state::rib::{Rib, RibId};

/// A routing instance.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub(super) struct Instance {
    /// The distinguisher of the BMP peer; 0 for sessions of the global instance.
    vrf: u64,
    /// The distinguisher of the route; 0 in families without.
    rd: u64,
    safi: Safi,
}

impl Instance {
    /// The Internet's, or whatever the routers' main table holds.
    pub const GLOBAL: Instance = Instance {
        vrf: 0,
        rd: 0,
        safi: Safi::Unicast,
    };

    /// The instance of a route that a peer in `vrf` announced. Labeled and multicast routes stand beside the unicast ones of one table.
    pub fn of(vrf: u64, nlri: &Nlri) -> Instance {
        let safi = match nlri.safi {
            Safi::Labeled | Safi::Multicast => Safi::Unicast,
            other => other,
        };
        Instance {
            vrf,
            rd: nlri.rd,
            safi,
        }
    }

    /// How it is called in a sentence; nothing for the global one.
    pub fn label(&self) -> Option<Box<str>> {
        let text = match (self.rd, self.vrf, self.safi) {
            (0, 0, _) => return None,
            (0, vrf, _) => format!("VRF {}", Rd(vrf)),
            (rd, _, Safi::Evpn5) => format!("EVPN (RD {})", Rd(rd)),
            (rd, ..) => format!("the VPN with RD {}", Rd(rd)),
        };
        Some(text.into())
    }

    /// The key of a prefix in it.
    pub fn key(&self, prefix: Prefix) -> Nlri {
        Nlri {
            rd: self.rd,
            safi: self.safi,
            ..Nlri::unicast(prefix)
        }
    }

    /// The RIBs whose routes may be of it.
    pub fn ribs<'a>(&self, net: &'a NetState) -> impl Iterator<Item = (RibId, &'a Rib)> {
        let vrf = self.vrf;
        net.rib.iter().filter(move |(_, rib)| {
            net.sessions
                .get(rib.session)
                .is_some_and(|session| session.vrf == vrf)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_prefix_in_two_instances_has_two_keys_and_two_names() {
        let prefix: Prefix = "198.51.100.0/24".parse().unwrap();
        let vpn = |rd: u64| Nlri {
            rd,
            safi: Safi::Vpn,
            ..Nlri::unicast(prefix)
        };
        let (one, other) = (
            Instance::of(0, &vpn(65_000 << 32 | 11)),
            Instance::of(0, &vpn(65_000 << 32 | 12)),
        );
        assert_ne!(one, other);
        assert_eq!(one.label().as_deref(), Some("the VPN with RD 65000:11"));
        assert_eq!(one.key(prefix), vpn(65_000 << 32 | 11));
        let of_peer = Instance::of(1 << 48 | 0xc000_0201_0064, &Nlri::unicast(prefix));
        assert_eq!(of_peer.label().as_deref(), Some("VRF 192.0.2.1:100"));
        let labeled = Nlri {
            safi: Safi::Labeled,
            ..Nlri::unicast(prefix)
        };
        assert_eq!(Instance::of(0, &labeled), Instance::GLOBAL);
        assert_eq!(Instance::GLOBAL.label(), None);
    }
}
