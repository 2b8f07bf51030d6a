//! syslog, RFC 5424, with structured data: over UDP (RFC 5426), TCP with octet counting (RFC 6587 §3.4.1) or TLS (RFC 5425).
//!
//! TCP says nothing about what the other end read. A connection that was closed meanwhile is found before each message and made anew,
//! which saves the message that a restarted syslog would otherwise swallow; what is lost behind a cut cable is lost (RFC 6587 §5.1).

use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};

use super::{Failure, Outcome, Reason, Sink};
use crate::deliver::{Notice, http};

const PATIENCE: Duration = Duration::from_secs(8);
/// Octets of a message: what every receiver takes is 2,048 (RFC 5424 §6.1: SHOULD); rsyslog takes 8,096 by default.
const MOST: usize = 2048;
/// Enterprise number of the structured data's name; 32473 is the one for examples (RFC 5612). Yours may stand in the configuration.
pub const EXAMPLE_ENTERPRISE: u32 = 32473;

/// Where, and as what.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    pub address: Address,
    pub facility: u8,
    pub enterprise: u32,
    /// Trusted instead of the system's certificates.
    pub ca: Option<PathBuf>,
}

/// `udp://HOST[:PORT]`, `tcp://…`, `tls://…`.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Address {
    over: Over,
    host: String,
    port: u16,
}

#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Over {
    Udp,
    Tcp,
    Tls,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(given: &str) -> Result<Address, String> {
        let wrong = || "write udp://HOST[:PORT], tcp://HOST[:PORT] or tls://HOST[:PORT]".to_owned();
        let (over, rest) = given.split_once("://").ok_or_else(wrong)?;
        let (over, usual) = match over {
            "udp" => (Over::Udp, 514),
            "tcp" => (Over::Tcp, 514),
            "tls" => (Over::Tls, 6514),
            _ => return Err(wrong()),
        };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong())?)
            }
            _ => (rest, usual),
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        if host.is_empty() || host.contains('/') {
            return Err(wrong());
        }
        Ok(Address { over, host, port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = match self.over {
            Over::Udp => "udp",
            Over::Tcp => "tcp",
            Over::Tls => "tls",
        };
        if self.host.contains(':') {
            write!(f, "{over}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{over}://{}:{}", self.host, self.port)
        }
    }
}

impl Address {
    /// The port that is called with TCP.
    pub fn tcp_port(&self) -> Option<u16> {
        (self.over != Over::Udp).then_some(self.port)
    }

    /// Whether its host must be looked up.
    pub fn is_named(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }
}

/// Names of facilities as rsyslog spells them (RFC 5424 §6.2.1).
pub fn facility(name: &str) -> Option<u8> {
    const NAMES: [&str; 12] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
        "authpriv", "ftp",
    ];
    let local = name
        .strip_prefix("local")
        .and_then(|n| n.parse::<u8>().ok());
    match local {
        Some(n) if n < 8 => Some(16 + n),
        _ => NAMES
            .iter()
            .position(|known| *known == name)
            .map(|at| at as u8),
    }
}

enum Wire {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A way to a receiver.
pub struct Syslog {
    settings: Settings,
    tls: Option<Arc<ClientConfig>>,
    wire: Option<Wire>,
}

impl Syslog {
    /// Reads certificates; connects when there is something to say.
    pub fn open(settings: &Settings) -> io::Result<Syslog> {
        let tls = match settings.address.over {
            Over::Tls => Some(Arc::new(trust(settings)?)),
            _ => None,
        };
        Ok(Syslog {
            settings: settings.clone(),
            tls,
            wire: None,
        })
    }

    fn connect(&self) -> io::Result<Wire> {
        let Address { over, host, port } = &self.settings.address;
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in (host.as_str(), *port).to_socket_addrs()? {
            if *over == Over::Udp {
                let any: IpAddr = match address.ip() {
                    IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
                    IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
                };
                let socket = UdpSocket::bind((any, 0))?;
                socket.connect(address)?;
                return Ok(Wire::Udp(socket));
            }
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => {
                    stream.set_write_timeout(Some(PATIENCE))?;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    return self.wrap(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn wrap(&self, stream: TcpStream) -> io::Result<Wire> {
        let Some(config) = &self.tls else {
            return Ok(Wire::Tcp(stream));
        };
        let name = ServerName::try_from(self.settings.address.host.clone())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let connection =
            ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Wire::Tls(Box::new(StreamOwned::new(connection, stream))))
    }

    fn send(&mut self, message: &str) -> io::Result<()> {
        if self.wire.as_ref().is_some_and(Wire::is_over) {
            self.wire = None;
        }
        let wire = match self.wire.take() {
            Some(wire) => wire,
            None => self.connect()?,
        };
        // Whatever happens halfway, the next message begins on a new connection.
        self.wire = Some(wire.send(message)?);
        Ok(())
    }
}

impl Wire {
    /// The other end has closed it.
    fn is_over(&self) -> bool {
        let stream = match self {
            Wire::Udp(_) => return false,
            Wire::Tcp(stream) => stream,
            Wire::Tls(stream) => stream.get_ref(),
        };
        let mut octet = [0];
        if stream.set_nonblocking(true).is_err() {
            return true;
        }
        let peeked = stream.peek(&mut octet);
        let blocking = stream.set_nonblocking(false);
        match peeked {
            Ok(0) => true,
            Ok(_) => blocking.is_err(),
            Err(error) => error.kind() != io::ErrorKind::WouldBlock || blocking.is_err(),
        }
    }

    fn send(mut self, message: &str) -> io::Result<Wire> {
        match &mut self {
            // One that nobody listened to is told by the next send (ICMP).
            Wire::Udp(socket) => {
                if socket.send(message.as_bytes()).is_err() {
                    socket.send(message.as_bytes())?;
                }
            }
            Wire::Tcp(stream) => write!(stream, "{} {message}", message.len())?,
            Wire::Tls(stream) => {
                write!(stream, "{} {message}", message.len())?;
                stream.flush()?;
            }
        }
        Ok(self)
    }
}

impl Sink for Syslog {
    fn deliver(&mut self, notice: &Notice) -> Outcome {
        let message = message(notice, &self.settings);
        match self.send(&message) {
            Ok(()) => Outcome::Done(format!("{} octets sent", message.len())),
            // It is closed over the same way again and again: a certificate that is not trusted.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let why = format!("{}: TLS: {error}", self.settings.address);
                Outcome::Again(Failure::new(Reason::Other, why), None)
            }
            Err(error) => Outcome::of_io(&error, &self.settings.address.to_string()),
        }
    }
}

fn trust(settings: &Settings) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in http::roots(settings.ca.as_deref())? {
        let der = certificate.der().to_vec();
        // One odd certificate in a bundle is not ours to judge.
        let _ = roots.add(der.into());
    }
    let provider = Arc::new(crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// `<PRI>1 TIME HOST APP PROCID MSGID [SD] MSG`.
fn message(notice: &Notice, settings: &Settings) -> String {
    let mut data = String::new();
    let rev = notice.rev.to_string();
    let fixed = [
        ("incident", notice.id.as_str()),
        ("rev", &rev),
        ("state", notice.stage.as_str()),
        ("severity", notice.urgency.as_str()),
        ("kind", &notice.kind),
    ];
    let facts = notice
        .facts
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in fixed.into_iter().chain(facts) {
        // RFC 5424 §6.3.3: three characters are escaped.
        let mut escaped = String::with_capacity(value.len());
        for c in value.chars() {
            if matches!(c, '"' | '\\' | ']') {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        data.push_str(&format!(" {}=\"{escaped}\"", name_of(name, 32)));
    }
    let test = if notice.test { "TEST: " } else { "" };
    let mut message = format!(
        "<{}>1 {} {} flapscope {} {} [flapscope@{}{data}] {test}{}: {}",
        settings.facility * 8 + notice.urgency.syslog(),
        // At most six digits of a second (§6.2.3).
        micros(&notice.at),
        name_of(notice.host.as_deref().unwrap_or("-"), 255),
        std::process::id(),
        name_of(&notice.kind, 32),
        settings.enterprise,
        notice.stage.as_str(),
        notice.title,
    );
    let mut end = message.len().min(MOST);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    message
}

/// Printable US-ASCII without what ends a name.
fn name_of(given: &str, most: usize) -> String {
    let name: String = given
        .chars()
        .filter(|c| c.is_ascii_graphic() && !matches!(c, '=' | ']' | '"'))
        .take(most)
        .collect();
    if name.is_empty() {
        "-".to_owned()
    } else {
        name
    }
}

fn micros(at: &str) -> String {
    match at.split_once('.') {
        Some((seconds, rest)) => {
            let digits: String = rest.chars().take(6).collect();
            format!("{seconds}.{}Z", digits.trim_end_matches('Z'))
        }
        None => at.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;
    use crate::deliver::Stage;
    use crate::deliver::notice::sample;

    fn settings(address: &str) -> Settings {
        Settings {
            address: address.parse().unwrap(),
            facility: facility("local0").unwrap(),
            enterprise: EXAMPLE_ENTERPRISE,
            ca: None,
        }
    }

    #[test]
    fn a_message_has_the_form_of_rfc_5424_and_values_cannot_leave_theirs() {
        let mut notice = sample("i-1", 2, Stage::Opened);
        notice
            .facts
            .push(("interface".to_owned(), "up\"1]\\".to_owned()));
        let said = message(&notice, &settings("udp://192.0.2.9"));
        let pid = std::process::id();
        assert_eq!(
            said,
            format!(
                "<130>1 2026-12-01T01:02:03.000000Z edge1 flapscope {pid} session.down [flapscope@32473 incident=\"i-1\" rev=\"2\" state=\"opened\" severity=\"critical\" kind=\"session.down\" peer=\"192.0.2.1\" interface=\"up\\\"1\\]\\\\\"] opened: session to 192.0.2.1 (AS64501) went down"
            )
        );
        notice.title = "ü".repeat(4000);
        assert!(message(&notice, &settings("udp://192.0.2.9")).len() <= MOST);
    }

    #[test]
    fn addresses_have_a_protocol_and_perhaps_a_port() {
        let shown = |given: &str| given.parse::<Address>().map(|a| a.to_string());
        assert_eq!(
            shown("tls://logs.example.net").unwrap(),
            "tls://logs.example.net:6514"
        );
        assert_eq!(
            shown("tcp://[2001:db8::1]:1514").unwrap(),
            "tcp://[2001:db8::1]:1514"
        );
        assert_eq!(shown("udp://192.0.2.1").unwrap(), "udp://192.0.2.1:514");
        assert!(
            shown("192.0.2.1").is_err()
                && shown("tcp://:5").is_err()
                && shown("tcp://h:x").is_err()
        );
        assert_eq!(
            (facility("daemon"), facility("local7"), facility("local8")),
            (Some(3), Some(23), None)
        );
    }

    #[test]
    fn a_receiver_that_was_restarted_misses_nothing_over_tcp() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut sink = Syslog::open(&settings(&format!("tcp://127.0.0.1:{port}"))).unwrap();
        let mut heard = String::new();
        for round in 1..=3 {
            let notice = sample("i-1", round, Stage::Updated);
            assert!(matches!(sink.deliver(&notice), Outcome::Done(_)));
            let (mut stream, _) = listener.accept().unwrap();
            let mut octets = [0; 4096];
            let got = stream.read(&mut octets).unwrap();
            heard.push_str(&String::from_utf8_lossy(&octets[..got]));
            drop(stream); // it is restarted
            std::thread::park_timeout(Duration::from_millis(50));
        }
        for round in 1..=3 {
            assert_eq!(heard.matches(&format!("rev=\"{round}\"")).count(), 1);
        }
        let length: usize = heard.split(' ').next().unwrap().parse().unwrap();
        assert!(heard[..].split_once(' ').unwrap().1.as_bytes()[length - 1] == b'n');
    }
}
