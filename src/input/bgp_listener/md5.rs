//! TCP MD5 signatures (RFC 2385) on the listening socket: Linux checks them before a connection reaches us.
//!
//! `nix` writes the system call for options that it does not know itself; the structure is the kernel's `struct tcp_md5sig`. TCP-AO (RFC
//! 5925, Linux 6.7) has no such structure in the libraries used here and is not offered.

use std::io;
use std::net::{IpAddr, TcpListener};

use nix::errno::Errno;
use nix::sys::socket::setsockopt;

use super::config::Password;

/// `struct tcp_md5sig` of linux/tcp.h.
#[repr(C)]
#[derive(Clone)]
struct Signature {
    /// `struct sockaddr_storage`.
    addr: [u8; 128],
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    ifindex: u32,
    key: [u8; KEY],
}

/// `TCP_MD5SIG_MAXKEYLEN`.
const KEY: usize = 80;

/// The option.
#[derive(Copy, Clone, Debug)]
struct Md5Signature;

nix::setsockopt_impl!(
    Md5Signature,
    libc::IPPROTO_TCP,
    libc::TCP_MD5SIG,
    Signature,
    nix::sys::socket::sockopt::SetStruct<'_, Signature>
);

/// Whether this kernel signs with MD5, by asking it to: `CONFIG_TCP_MD5SIG`.
pub fn has_md5() -> io::Result<bool> {
    let listener = TcpListener::bind((IpAddr::from([127, 0, 0, 1]), 0))?;
    let password = Password::probe();
    match expect(&listener, IpAddr::from([127, 0, 0, 2]), &password) {
        Ok(()) => Ok(true),
        Err(_) => Ok(false),
    }
}

/// Whether this kernel has TCP-AO (RFC 5925): it knows the option and finds our structure too short, or does not know it.
pub fn has_ao() -> io::Result<bool> {
    let listener = TcpListener::bind((IpAddr::from([127, 0, 0, 1]), 0))?;
    Ok(setsockopt(&listener, AoKey, &0) != Err(Errno::ENOPROTOOPT))
}

/// `TCP_AO_ADD_KEY` of linux/tcp.h; libc has no name for it.
const TCP_AO_ADD_KEY: libc::c_int = 38;

/// The option, with a value that is never a key.
#[derive(Copy, Clone, Debug)]
struct AoKey;

nix::setsockopt_impl!(
    AoKey,
    libc::IPPROTO_TCP,
    TCP_AO_ADD_KEY,
    u32,
    nix::sys::socket::sockopt::SetStruct<'_, u32>
);

/// Connections from `peer` must be signed with this key.
pub fn expect(listener: &TcpListener, peer: IpAddr, password: &Password) -> io::Result<()> {
    let v6_socket = listener.local_addr()?.is_ipv6();
    let mut addr = [0; 128];
    let place = |addr: &mut [u8; 128], family: libc::c_int, at: usize, octets: &[u8]| {
        if let Some(field) = addr.get_mut(..2) {
            field.copy_from_slice(&(family as u16).to_ne_bytes());
        }
        if let Some(field) = addr.get_mut(at..at + octets.len()) {
            field.copy_from_slice(octets);
        }
    };
    // Offsets of sin_addr and sin6_addr.
    match peer {
        IpAddr::V4(peer) if v6_socket => place(
            &mut addr,
            libc::AF_INET6,
            8,
            &peer.to_ipv6_mapped().octets(),
        ),
        IpAddr::V4(peer) => place(&mut addr, libc::AF_INET, 4, &peer.octets()),
        IpAddr::V6(_) if !v6_socket => return Ok(()), // cannot call this socket
        IpAddr::V6(peer) => place(&mut addr, libc::AF_INET6, 8, &peer.octets()),
    }
    let mut signature = Signature {
        addr,
        flags: 0,
        prefix_length: 0,
        key_length: 0,
        ifindex: 0,
        key: [0; KEY],
    };
    let octets = password.octets();
    if let Some(field) = signature.key.get_mut(..octets.len()) {
        field.copy_from_slice(octets);
        signature.key_length = octets.len() as u16;
    }
    setsockopt(listener, Md5Signature, &signature).map_err(|errno| {
        let error = io::Error::from(errno);
        io::Error::new(
            error.kind(),
            format!("cannot set the TCP MD5 password of {peer}: {error}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::bgp_listener::config::Peer;

    #[test]
    fn the_kernel_takes_the_structure() {
        assert_eq!(std::mem::size_of::<Signature>(), 216);
        let peer: Peer = "127.0.0.9,password=secret".parse().unwrap();
        let password = peer.password.unwrap();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                continue; // no IPv6 here
            };
            let other = "::2".parse().unwrap();
            for peer in [peer.addr, other] {
                // A kernel without the option says so; it never finds the structure wrong.
                if let Err(error) = expect(&listener, peer, &password) {
                    assert_ne!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
                }
            }
        }
    }
}
