//! Routing and address daemons that run here, from /proc: what of them is seen anyway, and how to make them tell more.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::event::text::sanitized;
use crate::output::doctor::{Area, Check, Daemon};

/// Processes looked at: more than any host has that we should read all of.
const MAX_PROCESSES: usize = 65_536;
/// BIRD greets at once.
const PATIENCE: Duration = Duration::from_millis(500);
/// Longest greeting that is read.
const GREETING: usize = 256;

/// A process.
pub struct Process {
    pub pid: u32,
    /// Its name, at most 15 octets (`TASK_COMM_LEN`).
    pub name: String,
}

/// All processes that can be seen.
pub fn processes() -> impl Iterator<Item = Process> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .take(MAX_PROCESSES)
        .filter_map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            Some(Process {
                pid,
                name: name.trim_end().to_owned(),
            })
        })
}

/// How a program's view comes to us.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Feed {
    /// FRR's bgpd: BMP, when its module is loaded.
    Frr,
    /// BIRD: BMP since 2.14.
    Bird,
    /// BMP.
    Bmp,
    /// The kernel and the wire show what it does.
    None,
}

/// Names of processes, their program, what it does, and how it feeds us.
const KNOWN: [(&str, &str, &str, Feed); 31] = [
    ("bgpd", "FRR", "BGP", Feed::Frr),
    ("zebra", "FRR", "routes into the kernel", Feed::None),
    ("bfdd", "FRR", "BFD", Feed::None),
    ("ospfd", "FRR", "OSPF", Feed::None),
    ("ospf6d", "FRR", "OSPFv3", Feed::None),
    ("isisd", "FRR", "IS-IS", Feed::None),
    ("bird", "BIRD", "BGP", Feed::Bird),
    ("bird6", "BIRD", "BGP for IPv6", Feed::Bird),
    ("gobgpd", "GoBGP", "BGP", Feed::Bmp),
    ("exabgp", "ExaBGP", "BGP", Feed::None),
    ("openbgpd", "OpenBGPD", "BGP", Feed::None),
    ("calico-node", "Calico", "routes of pods", Feed::None),
    ("calico-felix", "Calico", "routes of pods", Feed::None),
    ("cilium-agent", "Cilium", "routes of pods", Feed::None),
    ("flanneld", "Flannel", "routes of pods", Feed::None),
    ("kube-router", "kube-router", "routes of pods", Feed::None),
    (
        "metallb-speaker",
        "MetalLB",
        "addresses of services",
        Feed::None,
    ),
    ("keepalived", "keepalived", "VRRP addresses", Feed::None),
    ("radvd", "radvd", "router advertisements", Feed::None),
    ("dnsmasq", "dnsmasq", "DHCP server", Feed::None),
    ("kea-dhcp4", "Kea", "DHCPv4 server", Feed::None),
    ("kea-dhcp6", "Kea", "DHCPv6 server", Feed::None),
    ("dhcpd", "ISC DHCP", "DHCP server", Feed::None),
    ("dhclient", "dhclient", "DHCP client", Feed::None),
    ("dhcpcd", "dhcpcd", "DHCP client", Feed::None),
    ("udhcpc", "udhcpc", "DHCP client", Feed::None),
    (
        "systemd-network",
        "systemd-networkd",
        "addresses and routes",
        Feed::None,
    ),
    (
        "NetworkManager",
        "NetworkManager",
        "addresses and routes",
        Feed::None,
    ),
    ("stayrtr", "StayRTR", "RPKI cache", Feed::None),
    ("routinator", "Routinator", "RPKI cache", Feed::None),
    ("rpki-client", "rpki-client", "RPKI validator", Feed::None),
];

/// What runs here.
pub struct Found {
    pub daemons: Vec<Daemon>,
    pub checks: Vec<Check>,
    /// The AS of FRR's configuration, where it can be read.
    pub asn: Option<u32>,
}

/// Looks for daemons.
pub fn find() -> Found {
    let own = fs::read_link("/proc/self/ns/net").ok();
    let mut found = Found {
        daemons: Vec::new(),
        checks: Vec::new(),
        asn: None,
    };
    for process in processes() {
        let Some((_, program, role, feed)) = KNOWN.iter().find(|(name, ..)| process.name == *name)
        else {
            continue;
        };
        let theirs = fs::read_link(format!("/proc/{}/ns/net", process.pid)).ok();
        let mut daemon = Daemon {
            program: (*program).into(),
            process: process.name.clone(),
            pid: process.pid,
            role: (*role).into(),
            daemon_version: None,
            own_namespace: theirs.and_then(|theirs| Some(theirs == *own.as_ref()?)),
            feed: None,
        };
        if let Some(check) = speaker(&mut daemon, *feed) {
            found.checks.push(check);
        }
        if *feed == Feed::Frr {
            found.asn = found.asn.or_else(|| asn(process.pid));
        }
        found.daemons.push(daemon);
    }
    found
        .daemons
        .sort_by(|a, b| (&a.program, a.pid).cmp(&(&b.program, b.pid)));
    found.checks.extend(others(&found.daemons));
    found
}

/// A BGP speaker: what would make it tell us what it hears.
fn speaker(daemon: &mut Daemon, feed: Feed) -> Option<Check> {
    let elsewhere = daemon.own_namespace == Some(false);
    let who = format!(
        "{} (process {}{})",
        daemon.process,
        daemon.pid,
        if elsewhere {
            ", in another network namespace"
        } else {
            ""
        }
    );
    let name = daemon.program.clone();
    let bmp = Some("flapscope live --bmp 0.0.0.0:11019".to_owned());
    let (feed, says, fix) = match feed {
        Feed::None => return None,
        Feed::Bmp => (
            "bmp",
            format!("{who} tells what it hears with BMP: paste the lines below, then"),
            bmp,
        ),
        Feed::Frr if loads_bmp(daemon.pid) => (
            "bmp",
            format!("{who} has its BMP module: paste the lines below, then"),
            bmp,
        ),
        Feed::Frr => (
            "bmp",
            format!(
                "{who} runs without its BMP module: it can be loaded at its start only, which resets its sessions"
            ),
            Some("sudo sed -i '/^bgpd_options=/s/\"$/ -M bmp\"/' /etc/frr/daemons".to_owned()),
        ),
        Feed::Bird => {
            daemon.daemon_version = bird_version(daemon.pid);
            match daemon.daemon_version.as_deref().map(has_bmp) {
                Some(true) => (
                    "bmp",
                    format!("{who} tells what it hears with BMP: paste the lines below, then"),
                    bmp,
                ),
                Some(false) => (
                    "bgp-listener",
                    format!(
                        "{who} has no BMP (since BIRD 2.14) and can feed the BGP listener: paste the lines below, then"
                    ),
                    Some("flapscope live --bgp-listen 127.0.0.2:1790 --as AS".to_owned()),
                ),
                None => (
                    "bgp-listener",
                    format!(
                        "{who} does not tell us its version; before 2.14 it can feed the BGP listener, from 2.14 on also BMP"
                    ),
                    Some("birdc show status".to_owned()),
                ),
            }
        }
    };
    daemon.feed = Some(feed.into());
    Some(Check::limited(Area::Daemons, &name, says, fix))
}

/// Daemons whose deeds are seen without their help, by program.
fn others(daemons: &[Daemon]) -> Vec<Check> {
    let mut programs: BTreeMap<&str, Vec<&Daemon>> = BTreeMap::new();
    for daemon in daemons.iter().filter(|daemon| daemon.feed.is_none()) {
        programs.entry(&daemon.program).or_default().push(daemon);
    }
    let mut checks = Vec::new();
    for (program, all) in programs {
        let mut what: Vec<String> = all
            .iter()
            .map(|daemon| format!("{} ({})", daemon.process, daemon.role))
            .collect();
        what.sort_unstable();
        what.dedup();
        let away = all
            .iter()
            .filter(|daemon| daemon.own_namespace == Some(false))
            .map(|daemon| daemon.pid)
            .collect::<Vec<_>>();
        checks.push(match away.first() {
            None => Check::ok(
                Area::Daemons,
                program,
                format!(
                    "{} runs here: seen on the wire and in the kernel",
                    what.join(", ")
                ),
            ),
            Some(pid) => Check::limited(
                Area::Daemons,
                program,
                format!(
                    "{} runs in another network namespace ({} of {})",
                    what.join(", "),
                    away.len(),
                    all.len()
                ),
                Some(format!("sudo flapscope live --netns {pid}")),
            ),
        });
    }
    if checks.is_empty() && daemons.is_empty() {
        checks.push(Check::ok(
            Area::Daemons,
            "none",
            "no routing or address daemon that we know runs here",
        ));
    }
    checks
}

/// Whether FRR's bgpd was started with `-M bmp`.
fn loads_bmp(pid: u32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    let arguments: Vec<&str> = line.split('\0').collect();
    arguments.iter().enumerate().any(|(at, argument)| {
        let module = match argument.strip_prefix("-M") {
            Some("") => arguments.get(at + 1).copied(),
            given => given,
        };
        module.is_some_and(|module| module.split(':').next() == Some("bmp"))
    })
}

/// The AS of the first `router bgp N` in FRR's configuration, as this process sees it.
fn asn(pid: u32) -> Option<u32> {
    ["frr.conf", "bgpd.conf"].iter().find_map(|file| {
        let path = format!("/proc/{pid}/root/etc/frr/{file}");
        let text = fs::read_to_string(path).ok()?;
        text.lines().find_map(|line| {
            line.strip_prefix("router bgp ")?
                .split(' ')
                .next()?
                .parse()
                .ok()
        })
    })
}

/// BIRD's version, from the greeting of its control socket: where its command line says, or where packages put it.
fn bird_version(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    let given = line
        .split('\0')
        .skip_while(|argument| *argument != "-s")
        .nth(1)
        .map(PathBuf::from);
    let usual = [
        "/run/bird/bird.ctl",
        "/run/bird.ctl",
        "/run/bird/bird6.ctl",
        "/var/run/calico/bird.ctl",
        "/var/run/calico/bird6.ctl",
    ];
    given
        .into_iter()
        .chain(usual.iter().map(PathBuf::from))
        .find_map(|socket| {
            let root = PathBuf::from(format!("/proc/{pid}/root"));
            let inside = root.join(socket.strip_prefix("/").unwrap_or(&socket));
            greeting(&inside)
        })
}

fn greeting(socket: &Path) -> Option<String> {
    let stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut octets = Vec::new();
    let mut buffer = [0; GREETING];
    // One line comes at once; what follows it is for who asks.
    let mut stream = stream.take(GREETING as u64);
    while !octets.contains(&b'\n') {
        match stream.read(&mut buffer) {
            Ok(read @ 1..) => octets.extend_from_slice(buffer.get(..read)?),
            _ => break,
        }
    }
    version(&String::from_utf8_lossy(&octets))
}

/// From `0001 BIRD 2.0.12 ready.`; Calico's is `0001 BIRD v0.3.3+birdv1.6.8 ready.`.
fn version(greeting: &str) -> Option<String> {
    let version = greeting.strip_prefix("0001 BIRD ")?.split(' ').next()?;
    Some(sanitized(version))
}

/// Whether this version of BIRD speaks BMP.
fn has_bmp(version: &str) -> bool {
    let version = version
        .rsplit_once("birdv")
        .map_or(version, |(_, version)| version);
    let mut parts = version
        .split(['.', '-'])
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    major == 2 && minor >= 14
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn birds_greeting_tells_whether_it_speaks_bmp() {
        for (greeting, told, bmp) in [
            ("0001 BIRD 2.0.12 ready.\n", "2.0.12", false),
            ("0001 BIRD 2.14 ready.\n", "2.14", true),
            ("0001 BIRD 2.15.1 ready.\n", "2.15.1", true),
            (
                "0001 BIRD v0.3.3+birdv1.6.8 ready.\n",
                "v0.3.3+birdv1.6.8",
                false,
            ),
        ] {
            let version = version(greeting).unwrap();
            assert_eq!(version, told);
            assert_eq!(has_bmp(&version), bmp, "{greeting}");
        }
        assert_eq!(version("hello"), None);
    }

    #[test]
    fn names_of_processes_are_as_the_kernel_cuts_them() {
        for (name, ..) in KNOWN {
            assert!(name.len() <= 15, "{name}");
        }
    }
}
