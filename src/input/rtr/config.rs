//! What `--rtr` takes: `HOST[:PORT]`, `tcp://HOST[:PORT]`, `tls://HOST[:PORT]`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// RFC 8210 §13.1, §13.2.
const TCP_PORT: u16 = 323;
const TLS_PORT: u16 = 324;

/// A cache to ask.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Target {
    /// A name or an address.
    pub host: String,
    pub port: u16,
    pub tls: bool,
}

impl Target {
    /// The host as an address, where it is one.
    pub fn addr(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "tls://" } else { "" };
        match self.addr() {
            Some(IpAddr::V6(addr)) => write!(f, "{scheme}[{addr}]:{}", self.port),
            _ => write!(f, "{scheme}{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let bad = |what: &str| {
            format!(
                "{text:?} {what}: write HOST:PORT, [IPV6]:PORT or tls://HOST:PORT, like rpki.example:323"
            )
        };
        let (tls, rest) = match text.split_once("://") {
            Some(("tls", rest)) => (true, rest),
            Some(("tcp" | "rtr", rest)) => (false, rest),
            Some(_) => return Err(bad("has a scheme that is neither tcp nor tls")),
            None => (false, text),
        };
        let standard = if tls { TLS_PORT } else { TCP_PORT };
        let (host, port) = if let Some(rest) = rest.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or_else(|| bad("lacks a ]"))?;
            host.parse::<Ipv6Addr>()
                .map_err(|_| bad("has no IPv6 address in its brackets"))?;
            match port {
                "" => (host, None),
                port => (
                    host,
                    Some(
                        port.strip_prefix(':')
                            .ok_or_else(|| bad("has something other than a port behind its ]"))?,
                    ),
                ),
            }
        } else if rest.parse::<Ipv6Addr>().is_ok() {
            (rest, None)
        } else {
            match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            }
        };
        let port = match port {
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| bad("has no port number behind the colon"))?,
            None => standard,
        };
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        if host.is_empty() || !host.chars().all(name) {
            return Err(bad("names no host"));
        }
        Ok(Target {
            host: host.to_owned(),
            port,
            tls,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_operators_write_is_understood_and_printed_back() {
        for (given, printed) in [
            ("192.0.2.1:8282", "192.0.2.1:8282"),
            ("rpki.example", "rpki.example:323"),
            ("tls://rpki.example", "tls://rpki.example:324"),
            ("tcp://rpki.example:3323", "rpki.example:3323"),
            ("[2001:db8::1]:323", "[2001:db8::1]:323"),
            ("2001:db8::1", "[2001:db8::1]:323"),
            ("tls://[2001:db8::1]", "tls://[2001:db8::1]:324"),
        ] {
            let target: Target = given.parse().unwrap();
            assert_eq!(target.to_string(), printed);
            assert_eq!(printed.parse::<Target>().unwrap(), target);
        }
        for bad in [
            "",
            ":323",
            "host:",
            "host:0",
            "host:99999",
            "ssh://host",
            "[2001:db8::1",
            "ho st:1",
            "[x]:1",
        ] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
