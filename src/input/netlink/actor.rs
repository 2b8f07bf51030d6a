//! Who is behind a netlink port: looked up in /proc at once, since an `ip route add` is gone a millisecond later.
//!
//! A port is usually the process id of who opened the socket, but a second socket gets a number of the kernel's choice, and inside a
//! container it is the id there. So a name is only told when that process holds that very socket. Who holds a socket whose port is no
//! process id is found the other way round: the table of sockets gives its inode, and the open files of all processes who has it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::event::Timestamp;
use crate::event::netlink::{ACTOR_MAGIC, NLMSG_ACTOR};

/// PID_MAX_LIMIT of Linux: greater ports are no process ids.
const PID_MAX: u32 = 4_194_304;
/// A process id may be another process after this; also how soon a failed look-up is repeated.
const FRESH: Duration = Duration::from_secs(10);
/// Ports remembered; a script that runs `ip` a thousand times has a thousand of them.
const MAX_PORTS: usize = 1024;
/// Open files of a process that are looked through.
const MAX_FILES: usize = 4096;
/// Processes and open files that one search looks through: a hypervisor's, in some 100 ms; beyond it nobody is named.
const MAX_PROCESSES: usize = 8192;
const MAX_SEARCHED: usize = 200_000;
/// Least time between two searches: a daemon keeps its socket, so the next message finds it as well.
const SEARCHES: Duration = Duration::from_secs(2);

/// Looks ports up, each once in a while.
#[derive(Default)]
pub struct Actors {
    looked: BTreeMap<u32, Timestamp>,
    searched: Option<Timestamp>,
}

/// A process, and its id where the port says another number.
struct Holder {
    name: String,
    process: Option<u32>,
}

impl Actors {
    /// The control message that names who is behind `port`, if that is not known yet and can be found.
    pub fn introduce(&mut self, port: u32, at: Timestamp) -> Option<Vec<u8>> {
        if port == 0 {
            return None;
        }
        let is_process = port <= PID_MAX;
        let too_soon = |searched: &Timestamp| at.since(*searched) < SEARCHES;
        if !is_process && self.searched.as_ref().is_some_and(too_soon) {
            return None;
        }
        if self
            .looked
            .get(&port)
            .is_some_and(|looked| at.since(*looked) < FRESH)
        {
            return None;
        }
        if self.looked.len() >= MAX_PORTS {
            self.looked.retain(|_, looked| at.since(*looked) < FRESH);
            if self.looked.len() >= MAX_PORTS {
                self.looked.clear();
            }
        }
        self.looked.insert(port, at);
        let found = if is_process {
            holder(port).map(|name| Holder {
                name,
                process: None,
            })
        } else {
            self.searched = Some(at);
            search(port)
        };
        Some(message(port, &found?))
    }
}

/// The name of the process of this id, if it holds the rtnetlink socket of this port, or is just exiting and holds nothing any more.
fn holder(port: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{port}/comm")).ok()?;
    let name = name.trim_end().to_owned();
    // Its own view: the table of the network namespace it is in. An exiting process has none.
    let table = fs::read_to_string(format!("/proc/{port}/net/netlink")).unwrap_or_default();
    let wanted = inode(&table, port).map(|inode| format!("socket:[{inode}]"));
    let mut files = 0u32;
    let held = fs::read_dir(format!("/proc/{port}/fd"))
        .ok()?
        .take(MAX_FILES)
        .filter_map(Result::ok)
        .inspect(|_| files += 1)
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|target| {
            wanted
                .as_ref()
                .is_some_and(|w| target.as_os_str() == w.as_str())
        });
    (held || files == 0).then_some(name)
}

/// The process that holds the rtnetlink socket of this port in the network namespace of this thread.
fn search(port: u32) -> Option<Holder> {
    let table = fs::read_to_string("/proc/thread-self/net/netlink").ok()?;
    let wanted = format!("socket:[{}]", inode(&table, port)?);
    let mut files = 0usize;
    for entry in fs::read_dir("/proc").ok()?.take(MAX_PROCESSES).flatten() {
        let Some(process) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // Processes of others than ours need a privilege; without it nobody is named.
        let Ok(open) = fs::read_dir(entry.path().join("fd")) else {
            continue;
        };
        for file in open.take(MAX_FILES).flatten() {
            files += 1;
            if files > MAX_SEARCHED {
                return None;
            }
            let held = fs::read_link(file.path());
            if held.is_ok_and(|target| target.as_os_str() == wanted.as_str()) {
                let name = fs::read_to_string(entry.path().join("comm")).ok()?;
                return Some(Holder {
                    name: name.trim_end().to_owned(),
                    process: Some(process),
                });
            }
        }
    }
    None
}

/// The inode of the rtnetlink socket with this port in /proc/net/netlink (columns: sk, protocol, port, …, inode).
fn inode(table: &str, port: u32) -> Option<&str> {
    let port = port.to_string();
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let (protocol, id) = (columns.nth(1)?, columns.next()?);
        (protocol == "0" && id == port)
            .then(|| columns.last())
            .flatten()
    })
}

fn message(port: u32, holder: &Holder) -> Vec<u8> {
    let number = holder.process.map(|process| format!("\0{process}"));
    let name = format!("{}{}", holder.name, number.unwrap_or_default());
    let payload = ACTOR_MAGIC.len() + 4 + name.len();
    let length = u32::try_from(16 + payload).unwrap_or(0); // a name has at most 15 octets, a number 10
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&NLMSG_ACTOR.to_ne_bytes());
    out.extend_from_slice(&[0; 10]); // flags, sequence, port: none
    out.extend_from_slice(ACTOR_MAGIC);
    out.extend_from_slice(&port.to_ne_bytes());
    out.extend_from_slice(name.as_bytes());
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Stamp;
    use crate::decode::netlink::NetlinkDecoder;
    use crate::event::{EventKind, SourceId};
    use crate::input::live::locator;

    #[test]
    fn our_own_socket_is_ours_and_a_port_of_nobody_is_nobodys() {
        let mut socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE).unwrap();
        let port = socket.bind_auto().unwrap().port_number();
        if port == std::process::id() {
            assert!(holder(port).is_some());
        }
        assert_eq!(Actors::default().introduce(0, Timestamp(0)), None);
        assert_eq!(Actors::default().introduce(u32::MAX, Timestamp(0)), None);
    }

    #[test]
    fn a_second_socket_whose_port_is_no_process_id_is_found_by_its_inode() {
        let mut sockets = Vec::new();
        for _ in 0..2 {
            let mut socket =
                netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE).unwrap();
            let port = socket.bind_auto().unwrap().port_number();
            sockets.push((socket, port));
        }
        for (_, port) in &sockets {
            if *port > PID_MAX {
                let found = search(*port).expect("we hold it");
                assert_eq!(found.process, Some(std::process::id()));
            }
        }
        assert!(search(u32::MAX).is_none());
    }

    #[test]
    fn the_table_of_sockets_is_read_by_protocol_and_port() {
        let table = "sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode\n\
                     a 0 0 00000000 0 0 0 2 0 4\n\
                     b 4 77 00000000 0 0 0 2 0 5\n\
                     c 0 77 000405d1 0 0 0 2 0 6\n";
        assert_eq!(inode(table, 77), Some("6"));
        assert_eq!(inode(table, 78), None);
        assert_eq!(inode("", 77), None);
    }

    #[test]
    fn what_is_noted_is_what_the_decoder_reads() {
        let stamp = Stamp {
            at: Timestamp(0),
            source: SourceId(0),
            locator: locator(1),
        };
        let mut told = Vec::new();
        for process in [None, Some(815)] {
            let holder = Holder {
                name: "ip".to_owned(),
                process,
            };
            NetlinkDecoder::new().messages(&message(4711, &holder), &stamp, &mut |event| {
                told.push(event.kind.clone());
            });
        }
        let [EventKind::Actor(first), EventKind::Actor(second)] = told.as_slice() else {
            panic!("{told:?}");
        };
        assert_eq!((first.pid, &*first.name, first.process), (4711, "ip", None));
        assert_eq!((&*second.name, second.process), ("ip", Some(815)));
    }

    #[test]
    fn a_port_is_looked_up_once_in_a_while() {
        let mut actors = Actors::default();
        for port in 1..5000 {
            actors.introduce(port * 800, Timestamp(0));
            assert!(actors.looked.len() <= MAX_PORTS);
        }
    }
}
