//! Who we are to BGP speakers, and who may call.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// Hold time offered when none is given, seconds (RFC 4271 §10). A router that dies silently is noticed after this.
pub const HOLD: u16 = 90;
/// `TCP_MD5SIG_MAXKEYLEN` of Linux.
const MAX_PASSWORD: usize = 80;

/// The listener's settings.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Config {
    pub asn: u32,
    /// BGP identifier; the called address where none is given.
    pub router_id: Option<Ipv4Addr>,
    /// Hold time offered, seconds: 0 or 3 and more.
    pub hold: u16,
    /// Who may call; anybody when empty.
    pub peers: Vec<Peer>,
}

impl Config {
    pub fn new(asn: u32) -> Config {
        Config {
            asn,
            router_id: None,
            hold: HOLD,
            peers: Vec::new(),
        }
    }

    fn peer(&self, addr: IpAddr) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.addr == addr)
    }

    /// Whether this address may call.
    pub fn admits(&self, addr: IpAddr) -> Result<(), &'static str> {
        if self.peers.is_empty() || self.peer(addr).is_some() {
            Ok(())
        } else {
            Err("no --bgp-peer names it")
        }
    }

    /// The AS that a router at this address must have, where one was told.
    pub fn as_of(&self, addr: IpAddr) -> Option<u32> {
        self.peer(addr)?.asn
    }
}

/// A router that may call: `ADDR[,as=N][,password=TEXT]`; the password takes the rest of the text, commas included.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Peer {
    pub addr: IpAddr,
    pub asn: Option<u32>,
    pub password: Option<Password>,
}

/// A TCP MD5 key (RFC 2385). Never shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Password(Box<[u8]>);

impl Password {
    /// A key that protects nothing: to see whether the kernel takes keys.
    pub fn probe() -> Password {
        Password(Box::from(*b"probe"))
    }

    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Peer, String> {
        let (addr, mut rest) = text.split_once(',').unwrap_or((text, ""));
        let addr: IpAddr = addr
            .parse()
            .map_err(|_| format!("{addr} is not an IP address"))?;
        let mut peer = Peer {
            addr: addr.to_canonical(),
            asn: None,
            password: None,
        };
        while !rest.is_empty() {
            if let Some(password) = rest.strip_prefix("password=") {
                if password.is_empty() || password.len() > MAX_PASSWORD {
                    return Err(format!("a password has 1 to {MAX_PASSWORD} octets"));
                }
                peer.password = Some(Password(password.as_bytes().into()));
                break;
            }
            let (part, tail) = rest.split_once(',').unwrap_or((rest, ""));
            rest = tail;
            let asn = part
                .strip_prefix("as=")
                .ok_or_else(|| format!("{part}: only as=N and password=TEXT may follow"))?;
            let asn: u32 = asn
                .parse()
                .map_err(|_| format!("{asn} is not an AS number"))?;
            peer.asn = Some(asn);
        }
        Ok(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_an_address_with_what_is_known_of_it() {
        let peer: Peer = "192.0.2.1,as=65001,password=a,b=c".parse().unwrap();
        assert_eq!(peer.asn, Some(65001));
        assert_eq!(peer.password.as_ref().unwrap().octets(), b"a,b=c");
        assert!(!format!("{peer:?}").contains("a,b"));
        let plain: Peer = "2001:db8::1".parse().unwrap();
        assert_eq!((plain.asn, plain.password), (None, None));
        for bad in [
            "",
            "r1",
            "192.0.2.1,as=x",
            "192.0.2.1,foo",
            "192.0.2.1,password=",
        ] {
            assert!(bad.parse::<Peer>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_of_peers_keeps_others_out() {
        let mut config = Config::new(64512);
        let (one, two) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert!(config.admits(two).is_ok());
        config.peers.push("192.0.2.1,as=65001".parse().unwrap());
        assert!(config.admits(one).is_ok());
        assert!(config.admits(two).is_err());
        assert_eq!(config.as_of(one), Some(65001));
    }
}
