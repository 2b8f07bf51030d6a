//! IP prefixes: canonical (host bits cleared), 18 bytes, ordered, printed as RFC 5952.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Serialize, Serializer};

mod set;

pub use set::PrefixSet;

/// An IPv4 or IPv6 prefix in canonical form. IPv4 addresses lie in the first four octets of `bits`.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Prefix {
    v6: bool,
    bits: [u8; 16],
    len: u8,
}

impl Prefix {
    /// A prefix of `addr` with `len` bits; host bits are cleared, a length beyond the family's maximum is cut to it.
    pub fn new(addr: IpAddr, len: u8) -> Prefix {
        match addr {
            IpAddr::V4(a) => Prefix::v4(a.octets(), len),
            IpAddr::V6(a) => Prefix::v6(a.octets(), len),
        }
    }

    /// An IPv4 prefix; see [`Prefix::new`].
    pub fn v4(octets: [u8; 4], len: u8) -> Prefix {
        let len = len.min(32);
        let mask = if len == 0 { 0 } else { u32::MAX << (32 - len) };
        let mut bits = [0; 16];
        bits[..4].copy_from_slice(&(u32::from_be_bytes(octets) & mask).to_be_bytes());
        Prefix {
            v6: false,
            bits,
            len,
        }
    }

    /// An IPv6 prefix; see [`Prefix::new`].
    pub fn v6(octets: [u8; 16], len: u8) -> Prefix {
        let len = len.min(128);
        let mask = if len == 0 {
            0
        } else {
            u128::MAX << (128 - len)
        };
        Prefix {
            v6: true,
            bits: (u128::from_be_bytes(octets) & mask).to_be_bytes(),
            len,
        }
    }

    /// The prefix that holds exactly `addr` (/32 or /128).
    pub fn host(addr: IpAddr) -> Prefix {
        Prefix::new(addr, if addr.is_ipv6() { 128 } else { 32 })
    }

    /// Number of leading bits that count.
    #[allow(clippy::len_without_is_empty)] // the field's word; a prefix is never "empty"
    pub fn len(&self) -> u8 {
        self.len
    }

    /// Whether it is IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.v6
    }

    /// The first address.
    pub fn addr(&self) -> IpAddr {
        if self.v6 {
            IpAddr::V6(Ipv6Addr::from(self.bits))
        } else {
            IpAddr::V4(Ipv4Addr::new(
                self.bits[0],
                self.bits[1],
                self.bits[2],
                self.bits[3],
            ))
        }
    }

    /// `0.0.0.0/0` or `::/0`.
    pub fn is_default(&self) -> bool {
        self.len == 0
    }

    /// A host route: /32 or /128.
    pub fn is_host(&self) -> bool {
        self.len == if self.v6 { 128 } else { 32 }
    }

    /// The address bits, left aligned.
    pub fn bits(&self) -> u128 {
        u128::from_be_bytes(self.bits)
    }

    /// Whether `addr` lies in this prefix; false across families.
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.covers(&Prefix::host(addr))
    }

    /// Whether `other` is this prefix or a more specific one of it; false across families.
    pub fn covers(&self, other: &Prefix) -> bool {
        self.v6 == other.v6
            && self.len <= other.len
            && (self.len == 0 || (self.bits() ^ other.bits()) >> (128 - u32::from(self.len)) == 0)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr(), self.len)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Parses `ADDRESS/LENGTH`, or a bare address as a host prefix.
impl FromStr for Prefix {
    type Err = String;
    fn from_str(text: &str) -> Result<Prefix, String> {
        let bad = || {
            format!(
                "{text:?} is not a prefix: write ADDRESS/LENGTH, like 192.0.2.0/24 or 2001:db8::/32"
            )
        };
        let (addr, len) = match text.split_once('/') {
            Some((addr, len)) => (addr, Some(len.parse::<u8>().map_err(|_| bad())?)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| bad())?;
        let max = if addr.is_ipv6() { 128 } else { 32 };
        match len.unwrap_or(max) {
            len if len > max => Err(bad()),
            len => Ok(Prefix::new(addr, len)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_cleared_and_printing_round_trips() {
        for (given, canonical) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("2001:DB8:0:0:1::9/64", "2001:db8::/64"),
            ("::/0", "::/0"),
        ] {
            let prefix: Prefix = given.parse().unwrap();
            assert_eq!(prefix.to_string(), canonical);
            assert_eq!(prefix.to_string().parse::<Prefix>().unwrap(), prefix);
        }
        assert!("10.0.0.0/33".parse::<Prefix>().is_err());
    }

    #[test]
    fn covering_respects_family_and_length() {
        let p = |s: &str| s.parse::<Prefix>().unwrap();
        assert!(p("10.0.0.0/8").covers(&p("10.9.0.0/16")));
        assert!(!p("10.9.0.0/16").covers(&p("10.0.0.0/8")));
        assert!(p("0.0.0.0/0").covers(&p("192.0.2.1/32")));
        assert!(!p("0.0.0.0/0").covers(&p("2001:db8::/32")));
        assert!(p("2001:db8::1/128").contains("2001:db8::1".parse().unwrap()));
    }
}
