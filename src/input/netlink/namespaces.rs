//! The namespaces that have an id in ours, and where each is found: a name under /run/netns, or a process that is in it.
//!
//! A socket that listens to all of them (`NETLINK_LISTEN_ALL_NSID`) hears changes, but can dump only its own: whoever wants to know what
//! was there before must enter. A socket inside keeps its namespace alive, so [`Namespace::identity`] is looked at again and again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::socket::Namespace;

/// linux/rtnetlink.h.
const RTM_NEWNSID: u16 = 88;
const RTM_GETNSID: u16 = 90;
const NLM_F_REQUEST: u16 = 1;
/// linux/net_namespace.h.
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
/// Header of a message, and `struct rtgenmsg` with its padding.
const HEADER: usize = 16;
const FAMILY: usize = 4;
/// Processes looked at: many more than a host has namespaces.
const MAX_PROCESSES: usize = 32_768;

/// The namespaces that have an id in `base`, by that id.
pub fn with_ids(base: &Namespace) -> io::Result<BTreeMap<i32, Namespace>> {
    // /proc and /run/netns are the same everywhere; ids are those of the namespace that asks.
    let candidates = candidates(base);
    base.enter(move || {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        let mut found = BTreeMap::new();
        for (namespace, path) in candidates {
            let Ok(file) = File::open(path) else { continue };
            if let Some(id) = ask(&socket, &file)? {
                found.entry(id).or_insert(namespace);
            }
        }
        Ok(found)
    })
}

/// One way into each namespace but `base`: names first, since they stay.
fn candidates(base: &Namespace) -> Vec<(Namespace, PathBuf)> {
    let own = Namespace::Process(std::process::id());
    let base = match base {
        Namespace::Own => own.identity(),
        other => other.identity(),
    };
    let mut seen: Vec<_> = base.into_iter().collect();
    let mut found = Vec::new();
    let names = entries("/run/netns").map(Namespace::Named);
    let processes = entries("/proc")
        .filter_map(|name| name.parse().ok().map(Namespace::Process))
        .take(MAX_PROCESSES);
    for namespace in names.chain(processes) {
        let Some(identity) = namespace.identity() else {
            continue;
        };
        if let (false, Some(path)) = (seen.contains(&identity), namespace.path()) {
            seen.push(identity);
            found.push((namespace, path));
        }
    }
    found
}

/// Names in a directory, in order.
fn entries(directory: &str) -> impl Iterator<Item = String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    names.into_iter()
}

/// The id of the namespace of `file` with us, if it has one.
fn ask(socket: &Socket, file: &File) -> io::Result<Option<i32>> {
    let mut request = Vec::with_capacity(HEADER + FAMILY + 8);
    request.extend_from_slice(&28u32.to_ne_bytes());
    request.extend_from_slice(&RTM_GETNSID.to_ne_bytes());
    request.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    request.extend_from_slice(&[0; 8 + FAMILY]);
    request.extend_from_slice(&8u16.to_ne_bytes());
    request.extend_from_slice(&NETNSA_FD.to_ne_bytes());
    request.extend_from_slice(&file.as_raw_fd().to_ne_bytes());
    socket.send_to(&request, &SocketAddr::new(0, 0), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    Ok(id_in(&answer))
}

fn id_in(answer: &[u8]) -> Option<i32> {
    (half(answer, 4)? == RTM_NEWNSID).then(|| id_of(answer.get(HEADER..)?))?
}

/// The id that a message about a namespace's id names; a namespace without one has -1.
pub(super) fn id_of(payload: &[u8]) -> Option<i32> {
    let mut rest = payload.get(FAMILY..)?;
    loop {
        let length = usize::from(half(rest, 0)?);
        let value = rest.get(4..length)?;
        if half(rest, 2)? == NETNSA_NSID {
            let id = i32::from_ne_bytes(*value.first_chunk()?);
            return (id >= 0).then_some(id);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let octets = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_from_answers_and_nothing_from_garbage() {
        let mut answer = 28u32.to_ne_bytes().to_vec();
        answer.extend(RTM_NEWNSID.to_ne_bytes());
        answer.extend([0; 10 + FAMILY]);
        answer.extend(8u16.to_ne_bytes());
        answer.extend(NETNSA_NSID.to_ne_bytes());
        answer.extend(7i32.to_ne_bytes());
        assert_eq!(id_in(&answer), Some(7));
        let unassigned = [&answer[..24], &(-1i32).to_ne_bytes()].concat();
        assert_eq!(id_in(&unassigned), None);
        for end in 0..answer.len() {
            assert_eq!(id_in(&answer[..end]), None);
        }
    }

    #[test]
    fn our_own_namespace_is_none_of_the_others() {
        let own = Namespace::Process(std::process::id()).identity();
        assert!(own.is_some());
        let others = candidates(&Namespace::Own);
        assert!(others.iter().all(|(other, _)| other.identity() != own));
    }
}
