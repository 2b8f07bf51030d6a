//! Whether routers and caches could feed us: addresses to listen at are bound and freed again, caches are called.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use crate::output::doctor::{Area, Check};

/// A cache that says nothing within this is not there for us.
const PATIENCE: Duration = Duration::from_secs(3);

/// A Reset Query of RTR version 1 (RFC 8210 §5.4).
const RESET_QUERY: [u8; 8] = [1, 2, 0, 0, 0, 0, 0, 8];
/// Kinds of answers (RFC 8210 §5.5, §5.9, §5.10).
const CACHE_RESPONSE: u8 = 3;
const CACHE_RESET: u8 = 8;
const ERROR_REPORT: u8 = 10;

/// The checks.
pub fn checks(bmp: &[SocketAddr], listener: &[SocketAddr], rtr: &[String]) -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, addresses, option) in [
        ("BMP", bmp, "--bmp"),
        ("BGP listener", listener, "--as N --bgp-listen"),
    ] {
        for address in addresses {
            checks.push(address_check(name, *address, option));
        }
    }
    for cache in rtr {
        checks.push(cache_check(cache));
    }
    if rtr.is_empty() {
        checks.push(Check::limited(
            Area::Feeds,
            "RPKI",
            "no cache was named: origins of announcements are not validated",
            Some("flapscope doctor --rtr HOST:PORT".into()),
        ));
    }
    checks
}

fn address_check(name: &str, address: SocketAddr, option: &str) -> Check {
    let port = address.port();
    match TcpListener::bind(address) {
        Ok(_) => {
            let from = if address.ip().is_loopback() {
                "from this host only"
            } else {
                "if no firewall forbids it"
            };
            Check::ok(
                Area::Feeds,
                name,
                format!(
                    "{address} is free: `flapscope live {option} {address}` lets routers connect, {from}"
                ),
            )
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => Check::missing(
            Area::Feeds,
            name,
            format!("{address} is in use by another program, perhaps by flapscope itself"),
            Some(format!("sudo ss -Hltnp 'sport = :{port}'")),
        ),
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => Check::missing(
            Area::Feeds,
            name,
            format!("{address}: no interface of this host has that address"),
            Some("ip -brief address".into()),
        ),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Check::missing(
            Area::Feeds,
            name,
            format!("{address}: ports below 1024 need CAP_NET_BIND_SERVICE"),
            Some(format!(
                "flapscope live {option} {}",
                SocketAddr::new(address.ip(), 11_019)
            )),
        ),
        Err(error) => Check::missing(Area::Feeds, name, format!("{address}: {error}"), None),
    }
}

fn cache_check(cache: &str) -> Check {
    let fix = || {
        let (host, port) = cache.rsplit_once(':').unwrap_or((cache, "323"));
        Some(format!("nc -vz {} {port}", host.trim_matches(['[', ']'])))
    };
    match ask(cache) {
        Ok((version, CACHE_RESPONSE | CACHE_RESET)) => Check::ok(
            Area::Feeds,
            "RPKI",
            format!("{cache} speaks RTR, version {version}, and has data or will soon"),
        ),
        Ok((version, ERROR_REPORT)) => Check::limited(
            Area::Feeds,
            "RPKI",
            format!(
                "{cache} speaks RTR, version {version}, and answers with an error: it may have no data yet"
            ),
            None,
        ),
        Ok(_) => Check::missing(
            Area::Feeds,
            "RPKI",
            format!("{cache} answers, but not with RTR (is it TLS?)"),
            None,
        ),
        Err(error) => Check::missing(
            Area::Feeds,
            "RPKI",
            format!("{cache} does not answer: {error}"),
            fix(),
        ),
    }
}

/// Version and kind of a cache's first answer.
fn ask(cache: &str) -> io::Result<(u8, u8)> {
    let mut last = io::Error::new(ErrorKind::NotFound, "its name has no address");
    for address in cache.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.write_all(&RESET_QUERY)?;
                let mut head = [0; 2];
                stream.read_exact(&mut head).map_err(quiet)?;
                let [version, kind] = head;
                return Ok((version, kind));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A time-out of a socket reads "resource temporarily unavailable".
fn quiet(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => io::Error::new(
            ErrorKind::TimedOut,
            format!("it said nothing for {} s", PATIENCE.as_secs()),
        ),
        ErrorKind::UnexpectedEof => io::Error::new(
            ErrorKind::UnexpectedEof,
            "it closed the connection without a word",
        ),
        _ => error,
    }
}

/// The address that this host calls others from. Nothing is sent: a UDP socket only looks up its route.
pub fn outward() -> Option<IpAddr> {
    /// TEST-NET-1 (RFC 5737): by the default route, to nobody.
    const FAR: ([u8; 4], u16) = ([192, 0, 2, 1], 9);
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(SocketAddr::from(FAR)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
