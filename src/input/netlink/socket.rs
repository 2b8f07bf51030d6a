//! The netlink socket: opened in its namespace, with its groups, a large buffer and strict checks; read with its control messages.
//!
//! Opening is all that needs privilege; what was asked for and not granted is told as a note, not as an error.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, NetlinkAddr, recvmsg, setsockopt};

use crate::event::source::NETNS;

/// Multicast groups (linux/rtnetlink.h): link, neigh, IPv4 address, route and rule, IPv6 address, route and rule, netconf of both, mdb, nexthop.
const GROUPS: &[u32] = &[1, 3, 5, 7, 8, 9, 11, 19, 24, 25, 26, 32];
/// Ids of namespaces: they come, go, and are given to others.
const GROUP_NSID: u32 = 28;
/// Receive buffer asked for: a notification takes some 800 octets of it, the kernel makes 60,000 a second (measured), so this is
/// about a second of a full-speed burst.
pub const BUFFER: usize = 32 << 20;
/// The least buffer that survived 2,000,000 notifications without a loss when measured was 1 MiB; below eight times that a note is due.
const BUFFER_ENOUGH: usize = 8 << 20;
/// `NETLINK_LISTEN_ALL_NSID`, as the type of the control message.
const CMSG_NSID: libc::c_int = libc::NETLINK_LISTEN_ALL_NSID;

/// Which network namespace to watch.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub enum Namespace {
    /// The one this process is in.
    #[default]
    Own,
    /// Named with `ip netns`.
    Named(String),
    /// That of a process.
    Process(u32),
}

impl Namespace {
    /// From `--netns NAME|PID`: digits are a process, unless a namespace has that name.
    pub fn parse(given: &str) -> Result<Namespace, String> {
        if given.is_empty() || given.contains('/') || given == "." || given == ".." {
            return Err(format!(
                "{:?} is neither a namespace name (see `ip netns`) nor a process id",
                crate::event::text::sanitized(given)
            ));
        }
        let named = Namespace::Named(given.to_owned());
        Ok(match given.parse() {
            Ok(pid) if !named.path().is_some_and(|path| path.exists()) => Namespace::Process(pid),
            _ => named,
        })
    }

    /// Where it can be entered.
    pub(super) fn path(&self) -> Option<PathBuf> {
        match self {
            Namespace::Own => None,
            Namespace::Named(name) => Some(PathBuf::from("/run/netns").join(name)),
            Namespace::Process(pid) => Some(PathBuf::from(format!("/proc/{pid}/ns/net"))),
        }
    }

    /// What it is now, as long as it exists: device and inode. `None` for our own, which nobody can take away.
    pub fn identity(&self) -> Option<(u64, u64)> {
        let meta = std::fs::metadata(self.path()?).ok()?;
        Some((meta.dev(), meta.ino()))
    }

    /// Whether what was `identity` has gone from where it was found. What we may not look at is still there.
    pub fn has_gone(&self, identity: (u64, u64)) -> bool {
        let Some(path) = self.path() else {
            return false;
        };
        match std::fs::metadata(path) {
            Ok(meta) => (meta.dev(), meta.ino()) != identity,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// How it is shown and recorded; `None` for our own.
    pub fn label(&self) -> Option<String> {
        match self {
            Namespace::Own => None,
            Namespace::Named(name) => Some(format!("{NETNS}{name}")),
            Namespace::Process(pid) => Some(format!("{NETNS}of {pid}")),
        }
    }

    /// Runs `open` inside the namespace: on a thread of its own, since a thread that has entered a namespace stays there.
    pub fn enter<T: Send>(&self, open: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let Some(path) = self.path() else {
            return open();
        };
        let at =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let namespace = File::open(&path).map_err(at)?;
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| at(errno.into()))?;
                    open()
                })
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace ended")))
        })
    }
}

/// An open socket and what was not granted.
pub struct Opened {
    pub socket: NetlinkSocket,
    pub notes: Vec<String>,
}

/// What one read gave.
#[derive(Debug)]
pub enum Received {
    /// So many octets from the kernel, of this other namespace if one is named.
    Messages { octets: usize, nsid: Option<i32> },
    /// A message was larger than the buffer and is lost; this size would have held it.
    Truncated(usize),
    /// The kernel dropped messages (`ENOBUFS`).
    Overrun,
    /// Not from the kernel: ignored.
    Foreign,
    /// Nothing there.
    Empty,
}

/// A non-blocking rtnetlink socket that is a member of all groups that are followed.
pub struct NetlinkSocket {
    socket: Socket,
    port: u32,
    control: Vec<u8>,
}

impl AsRawFd for NetlinkSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for NetlinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl NetlinkSocket {
    /// Opens it in `namespace`. `buffer`: octets of the receive buffer ([`BUFFER`]).
    pub fn open(namespace: &Namespace, all_nsid: bool, buffer: usize) -> io::Result<Opened> {
        namespace.enter(|| NetlinkSocket::open_here(all_nsid, buffer))
    }

    fn open_here(all_nsid: bool, buffer: usize) -> io::Result<Opened> {
        let mut notes = Vec::new();
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        socket.set_non_blocking(true)?;
        if setsockopt(&socket, RcvBufForce, &buffer).is_err() {
            setsockopt(&socket, RcvBuf, &buffer)?;
            // The kernel tells twice what it grants, for its bookkeeping.
            let got = socket.get_rx_buf_sz()? / 2;
            if got < buffer.min(BUFFER_ENOUGH) {
                notes.push(format!(
                    "the netlink buffer is {} KiB (no CAP_NET_ADMIN): bursts of route changes may be lost and are read again; \
                     `sysctl -w net.core.rmem_max={BUFFER}` fixes it",
                    got >> 10
                ));
            }
        }
        // Without strict checks the kernel ignores what a dump asks for; with them unknown fields are errors. Since Linux 4.20.
        if socket.set_netlink_get_strict_chk(true).is_err() {
            notes.push("this kernel filters no dumps (older than 4.20)".to_owned());
        }
        let _ = socket.set_ext_ack(true); // since Linux 4.12; without it errors have no text
        let _ = socket.set_cap_ack(true); // errors need not quote the request
        if all_nsid {
            socket.set_listen_all_namespaces(true).map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("watching all namespaces needs CAP_NET_BROADCAST: {error}"),
                )
            })?;
        }
        let ids: &[u32] = if all_nsid { &[GROUP_NSID] } else { &[] };
        for group in GROUPS.iter().chain(ids) {
            if let Err(error) = socket.add_membership(*group) {
                notes.push(format!("netlink group {group} is not available: {error}"));
            }
        }
        Ok(Opened {
            socket: NetlinkSocket {
                socket,
                port,
                control: nix::cmsg_space!(i32),
            },
            notes,
        })
    }

    /// Our port: the kernel puts it into answers.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Sends a request to the kernel.
    pub fn send(&self, request: &[u8]) -> io::Result<()> {
        self.socket
            .send_to(request, &SocketAddr::new(0, 0), 0)
            .map(|_| ())
    }

    /// Reads one datagram into `buffer`.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let fd = self.socket.as_raw_fd();
        let size = buffer.len();
        let mut parts = [IoSliceMut::new(buffer)];
        // MSG_TRUNC as a wish: the true length is told even when the buffer was too small.
        let got = match recvmsg::<NetlinkAddr>(
            fd,
            &mut parts,
            Some(&mut self.control),
            MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(got) => got,
            Err(Errno::ENOBUFS) => return Ok(Received::Overrun),
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Received::Empty),
            Err(errno) => return Err(errno.into()),
        };
        if got.address.is_none_or(|from| from.pid() != 0) {
            return Ok(Received::Foreign);
        }
        if got.bytes > size {
            return Ok(Received::Truncated(got.bytes));
        }
        let nsid = got.cmsgs().ok().and_then(|mut all| {
            all.find_map(|message| match message {
                ControlMessageOwned::Unknown(unknown)
                    if unknown.cmsg_header.cmsg_level == libc::SOL_NETLINK
                        && unknown.cmsg_header.cmsg_type == CMSG_NSID =>
                {
                    let octets = unknown.data_bytes.first_chunk::<4>()?;
                    Some(i32::from_ne_bytes(*octets))
                }
                _ => None,
            })
        });
        Ok(Received::Messages {
            octets: got.bytes,
            nsid,
        })
    }
}
