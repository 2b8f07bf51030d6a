//! What this process may do: tried where it can be tried, read from its capabilities where not.

use std::fs;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::output::doctor::{Area, Check};
use crate::privilege::{Capability, Rights};

/// What the process has, and how it could have more.
pub struct Held {
    rights: Rights,
    /// A packet socket could be opened.
    pub captures: bool,
    /// How rights are given to this program here.
    way: Way,
}

enum Way {
    /// `setcap` on the program.
    Program(PathBuf),
    /// Nothing on this side helps: the container, the service or the parent must allow it.
    Parent,
}

/// Everything that `live` can make use of.
const ALL: &str = "cap_net_raw,cap_net_admin,cap_sys_ptrace,cap_dac_read_search";

impl Held {
    /// Looks.
    pub fn look() -> io::Result<Held> {
        let rights = Rights::of_this_thread()?;
        let opened = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            None,
        );
        let captures = !matches!(opened, Err(Errno::EPERM | Errno::EACCES));
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let program = std::env::current_exe().ok();
        let way = match program {
            Some(program) if may_gain(&status) => Way::Program(program),
            _ => Way::Parent,
        };
        Ok(Held {
            rights,
            captures,
            way,
        })
    }

    /// The command that gives all that `live` can use.
    pub fn grant(&self) -> Option<String> {
        match &self.way {
            Way::Program(program) => Some(format!("sudo setcap {ALL}=ep {}", program.display())),
            Way::Parent => None,
        }
    }

    /// Why that would not do, as the end of a sentence.
    fn hint(&self) -> &'static str {
        match self.way {
            Way::Program(_) => "",
            Way::Parent => {
                " (its parent forbids capabilities: give them to the container or the service)"
            }
        }
    }

    /// The checks.
    pub fn checks(&self) -> Vec<Check> {
        let mut checks = vec![self.capture()];
        let admin = self.rights.permitted(Capability::CAP_NET_ADMIN);
        checks.push(if admin {
            Check::ok(
                Area::Rights,
                "buffers",
                "CAP_NET_ADMIN: netlink buffers may be as large as a burst of routes needs",
            )
        } else {
            Check::limited(
                Area::Rights,
                "buffers",
                format!(
                    "without CAP_NET_ADMIN netlink buffers end at net.core.rmem_max{}",
                    self.hint()
                ),
                self.grant(),
            )
        });
        let traces = self.rights.permitted(Capability::CAP_SYS_PTRACE)
            && self.rights.permitted(Capability::CAP_DAC_READ_SEARCH);
        checks.push(if traces {
            Check::ok(
                Area::Rights,
                "actors",
                "the process behind a route change can be named",
            )
        } else {
            Check::limited(
                Area::Rights,
                "actors",
                format!(
                    "without CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH only our own user's processes are named when they change routes{}",
                    self.hint()
                ),
                self.grant(),
            )
        });
        checks.push(if self.rights.permitted(Capability::CAP_SYS_ADMIN) {
            Check::ok(
                Area::Rights,
                "namespaces",
                namespaces("can be watched with --netns NAME|PID"),
            )
        } else {
            Check::limited(
                Area::Rights,
                "namespaces",
                namespaces("cannot be entered without CAP_SYS_ADMIN (--netns)"),
                Some("sudo flapscope live --netns NAME".into()),
            )
        });
        checks
    }

    fn capture(&self) -> Check {
        if self.captures {
            return Check::ok(
                Area::Rights,
                "capture",
                "CAP_NET_RAW: DHCP, RA, ARP, ND, BFD and BGP on the wire can be seen",
            );
        }
        Check::missing(
            Area::Rights,
            "capture",
            format!(
                "without CAP_NET_RAW no packet is seen: no DHCP, RA, ARP, BFD, no BGP sessions; the kernel's side remains{}",
                self.hint()
            ),
            self.grant(),
        )
    }
}

/// Whether capabilities on the program's file would take effect: not with no_new_privs, nor past the bounding set (containers).
fn may_gain(status: &str) -> bool {
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    };
    let bounding = field("CapBnd").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    let raw = Capability::CAP_NET_RAW.bitmask();
    field("NoNewPrivs") != Some("1") && bounding.is_none_or(|set| set & raw != 0)
}

/// How many namespaces have a name, and what can be done with them.
fn namespaces(what: &str) -> String {
    let named = fs::read_dir("/run/netns").map_or(0, Iterator::count);
    match named {
        0 => format!("other network namespaces {what}"),
        1 => format!("other network namespaces (1 has a name) {what}"),
        named => format!("other network namespaces ({named} have names) {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_capabilities_help_only_where_the_parent_lets_them() {
        let status = |nnp: u8, bounding: &str| {
            format!("Name:\tx\nCapBnd:\t{bounding}\nNoNewPrivs:\t{nnp}\n")
        };
        assert!(may_gain(&status(0, "000001ffffffffff")));
        assert!(!may_gain(&status(1, "000001ffffffffff")));
        assert!(!may_gain(&status(0, "0000000000000000")));
        assert!(may_gain(""));
    }
}
