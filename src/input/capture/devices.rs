//! Which interfaces are captured when none is named: a pure rule over what the kernel says about each device.
//!
//! The rule: Ethernet-like uplinks (a device of the machine stands behind them), bonds, teams and bridges. What passes one of those
//! anyway stays out, so that no frame is seen twice: ports of bridges and bonds, VLANs, macvlans. So do loopback, tunnels, dummies, and what
//! container runtimes make. A container or namespace has only veths: they count as uplinks when nothing else is there.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

/// `ARPHRD_ETHER` (linux/if_arp.h).
const ARPHRD_ETHER: u16 = 1;
/// `ARPHRD_LOOPBACK`.
const ARPHRD_LOOPBACK: u16 = 772;
/// `IFF_UP`, `IFF_NOARP` (linux/if.h).
const IFF_UP: u32 = 1;
const IFF_NOARP: u32 = 0x80;

/// Beginnings of names that container runtimes and overlays use: Docker's own bridge, Calico, CNI's bridge and Podman's, LXC and
/// Cilium, Flannel, VXLAN, Cilium, kube-proxy's IPVS dummy, node-local DNS, libvirt's taps, Open vSwitch's datapath.
const RUNTIME_NAMES: [&str; 15] = [
    "docker",
    "cali",
    "cni",
    "podman",
    "lxc",
    "flannel",
    "vxlan",
    "cilium_",
    "kube-ipvs",
    "nodelocaldns",
    "vnet",
    "tap",
    "tunl",
    "ovs-system",
    "virbr0-nic",
];

/// Docker names the bridges of its networks `br-` and twelve hexadecimal digits.
const DOCKER_BRIDGE: (&str, usize) = ("br-", 12);

/// A network device as `/sys/class/net` describes it.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Device {
    pub name: String,
    /// `ARPHRD_*`.
    pub kind: u16,
    pub is_up: bool,
    /// A device of the machine (PCI, USB, virtio, a hypervisor's) stands behind it.
    pub is_hardware: bool,
    pub is_bridge: bool,
    pub is_bond: bool,
    /// `DEVTYPE` of its driver: `vlan`, `bridge`, `bond`, `vxlan`, `wlan` …; empty for many.
    pub devtype: String,
    /// The device it is a port of.
    pub master: Option<String>,
    /// Devices below it.
    pub lower: Vec<String>,
    /// It has an other end (veth) or a lower device, perhaps in another namespace.
    pub is_paired: bool,
}

/// Why a device is not captured.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Why {
    Loopback,
    NotEthernet,
    PortOf(String),
    StackedOn(String),
    ContainerRuntime,
    /// Veth, tap, dummy: no device of the machine behind it.
    Virtual,
    Down,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Loopback => f.write_str("loopback"),
            Why::NotEthernet => f.write_str("not Ethernet"),
            Why::PortOf(master) => write!(f, "port of {master}"),
            Why::StackedOn(lower) => write!(f, "on top of {lower}"),
            Why::ContainerRuntime => f.write_str("containers'"),
            Why::Virtual => f.write_str("virtual"),
            Why::Down => f.write_str("down"),
        }
    }
}

/// What the rule chose.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Choice {
    /// Names, sorted.
    pub chosen: Vec<String>,
    /// The others, sorted.
    pub left_out: Vec<(String, Why)>,
}

/// Names shown of each reason; a node with 200 pods must still fit a line.
const SHOWN: usize = 4;

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.chosen.is_empty() {
            f.write_str("capturing on no interface")?;
        } else {
            write!(f, "capturing on {}", self.chosen.join(", "))?;
        }
        let mut reasons: Vec<String> = Vec::new();
        for (_, why) in &self.left_out {
            let why = why.to_string();
            if !reasons.contains(&why) {
                reasons.push(why);
            }
        }
        for (index, reason) in reasons.iter().enumerate() {
            let names: Vec<&str> = self
                .left_out
                .iter()
                .filter(|(_, why)| why.to_string() == *reason)
                .map(|(name, _)| name.as_str())
                .collect();
            f.write_str(if index == 0 { "; left out: " } else { ", " })?;
            f.write_str(
                &names
                    .iter()
                    .take(SHOWN)
                    .copied()
                    .collect::<Vec<_>>()
                    .join(" "),
            )?;
            if names.len() > SHOWN {
                write!(f, " and {} more", names.len() - SHOWN)?;
            }
            write!(f, " ({reason})")?;
        }
        Ok(())
    }
}

/// The rule. The order of `devices` does not matter.
pub fn choose(devices: &[Device]) -> Choice {
    let mut choice = pick(devices, false);
    if choice.chosen.is_empty() {
        choice = pick(devices, true);
    }
    choice
}

fn pick(devices: &[Device], virtual_too: bool) -> Choice {
    // Frames of ports and of stacked devices pass these.
    let carriers: BTreeSet<&str> = devices
        .iter()
        .filter(|device| alone(device, virtual_too).is_none())
        .map(|device| device.name.as_str())
        .collect();
    let mut choice = Choice::default();
    for device in devices {
        // A VRF or Open vSwitch's datapath is no carrier: its ports are captured themselves.
        let master = device.master.as_deref();
        let why = master
            .filter(|master| carriers.contains(master))
            .map(|master| Why::PortOf(master.to_owned()))
            .or_else(|| alone(device, virtual_too));
        match why {
            None => choice.chosen.push(device.name.clone()),
            Some(why) => choice.left_out.push((device.name.clone(), why)),
        }
    }
    choice.chosen.sort_unstable();
    choice.left_out.sort_by(|a, b| a.0.cmp(&b.0));
    choice
}

/// What speaks against a device, whatever the others are.
fn alone(device: &Device, virtual_too: bool) -> Option<Why> {
    let gathers = device.is_bridge || device.is_bond || device.devtype == "team";
    if device.kind == ARPHRD_LOOPBACK {
        return Some(Why::Loopback);
    }
    if device.kind != ARPHRD_ETHER {
        return Some(Why::NotEthernet);
    }
    if is_runtimes(&device.name) {
        return Some(Why::ContainerRuntime);
    }
    if !gathers && let Some(lower) = device.lower.first() {
        return Some(Why::StackedOn(lower.clone()));
    }
    let uplink = device.is_hardware || (virtual_too && device.is_paired);
    if !gathers && !uplink {
        return Some(Why::Virtual);
    }
    (!device.is_up).then_some(Why::Down)
}

fn is_runtimes(name: &str) -> bool {
    let (prefix, digits) = DOCKER_BRIDGE;
    RUNTIME_NAMES.iter().any(|known| name.starts_with(known))
        || name.strip_prefix(prefix).is_some_and(|rest| {
            rest.len() == digits && rest.bytes().all(|octet| octet.is_ascii_hexdigit())
        })
}

/// The interfaces of the caller's network namespace, whatever `/sys` shows.
pub const TABLE: &str = "/proc/thread-self/net/dev";

const CLASS: &str = "/sys/class/net";

/// Devices of this network namespace. Their names come from [`TABLE`]; `/sys` may show another namespace's, then nothing more than the
/// name is known.
pub fn list() -> std::io::Result<Vec<Device>> {
    let text = fs::read_to_string(TABLE)?;
    Ok(names(&text)
        .map(|name| describe(Path::new(CLASS), name))
        .collect())
}

/// Whether a device is up now.
pub fn is_up(name: &str) -> bool {
    let flags = fs::read_to_string(Path::new(CLASS).join(name).join("flags"));
    flags_of(&flags.unwrap_or_default()) & IFF_UP != 0
}

fn flags_of(text: &str) -> u32 {
    u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).unwrap_or_default()
}

/// Whether a device has another end. A pair's ends may have the same number, each in its namespace (the first interface of a
/// container and of the host's side): then it looks like a dummy but for the flag that dummies and IFBs have, and like a tap but for
/// the file.
fn is_paired(iflink: &str, ifindex: &str, flags: u32, is_tap: bool) -> bool {
    iflink != ifindex || (flags & IFF_NOARP == 0 && !is_tap)
}

/// The names in [`TABLE`]: two lines of heading, then `NAME: counters`.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .skip(2)
        .filter_map(|line| line.rsplit_once(':').map(|(name, _)| name.trim()))
}

fn describe(class: &Path, name: &str) -> Device {
    let folder = class.join(name);
    let text = |file: &str| {
        let read = fs::read_to_string(folder.join(file)).unwrap_or_default();
        read.trim().to_owned()
    };
    let lower = fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut lower: Vec<String> = lower
        .filter_map(|entry| {
            let file = entry.file_name();
            Some(file.to_str()?.strip_prefix("lower_")?.to_owned())
        })
        .collect();
    lower.sort_unstable();
    let master = fs::read_link(folder.join("master")).ok();
    let flags = flags_of(&text("flags"));
    Device {
        name: name.to_owned(),
        kind: text("type").parse().unwrap_or_default(),
        is_up: flags & IFF_UP != 0,
        is_hardware: folder.join("device").exists(),
        is_bridge: folder.join("bridge").is_dir(),
        is_bond: folder.join("bonding").is_dir(),
        devtype: text("uevent")
            .lines()
            .find_map(|line| line.strip_prefix("DEVTYPE="))
            .unwrap_or_default()
            .to_owned(),
        master: master.and_then(|path| Some(path.file_name()?.to_str()?.to_owned())),
        lower,
        is_paired: is_paired(
            &text("iflink"),
            &text("ifindex"),
            flags,
            folder.join("tun_flags").exists(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ether(name: &str) -> Device {
        Device {
            name: name.into(),
            kind: ARPHRD_ETHER,
            is_up: true,
            ..Device::default()
        }
    }

    fn nic(name: &str) -> Device {
        Device {
            is_hardware: true,
            ..ether(name)
        }
    }

    fn bridge(name: &str) -> Device {
        Device {
            is_bridge: true,
            devtype: "bridge".into(),
            ..ether(name)
        }
    }

    fn veth(name: &str) -> Device {
        Device {
            is_paired: true,
            ..ether(name)
        }
    }

    fn port(device: Device, master: &str) -> Device {
        Device {
            master: Some(master.into()),
            ..device
        }
    }

    fn stacked(device: Device, lower: &str) -> Device {
        Device {
            lower: vec![lower.into()],
            is_paired: true,
            ..device
        }
    }

    fn loopback() -> Device {
        Device {
            kind: ARPHRD_LOOPBACK,
            ..ether("lo")
        }
    }

    fn chosen(devices: &[Device]) -> Vec<String> {
        choose(devices).chosen
    }

    #[test]
    fn each_kind_of_host_is_captured_where_its_frames_pass_once() {
        let bond = Device {
            is_bond: true,
            lower: vec!["eth0".into(), "eth1".into()],
            ..ether("bond0")
        };
        let uplinked = Device {
            lower: vec!["bond0".into(), "vnet3".into()],
            ..bridge("vmbr0")
        };
        let table: [(&str, Vec<Device>, &[&str]); 9] = [
            ("a plain server", vec![loopback(), nic("eth0")], &["eth0"]),
            (
                "a bond",
                vec![
                    port(nic("eth0"), "bond0"),
                    port(nic("eth1"), "bond0"),
                    bond.clone(),
                ],
                &["bond0"],
            ),
            (
                "a hypervisor: bond below a bridge, VLAN on it, a VM's tap",
                vec![
                    port(nic("eth0"), "bond0"),
                    port(nic("eth1"), "bond0"),
                    port(bond, "vmbr0"),
                    uplinked,
                    stacked(ether("vmbr0.30"), "vmbr0"),
                    port(ether("vnet3"), "vmbr0"),
                ],
                &["vmbr0"],
            ),
            (
                "a Kubernetes node",
                vec![
                    loopback(),
                    nic("ens3"),
                    veth("cali0123456789a"),
                    veth("lxc_health"),
                    bridge("docker0"),
                    bridge("br-0123456789ab"),
                    ether("flannel.1"),
                    ether("vxlan.calico"),
                    ether("kube-ipvs0"),
                ],
                &["ens3"],
            ),
            (
                "VLANs",
                vec![nic("eth0"), stacked(ether("eth0.100"), "eth0")],
                &["eth0"],
            ),
            (
                "a router with VRFs",
                vec![
                    port(nic("eth0"), "blue"),
                    port(nic("eth1"), "red"),
                    Device {
                        kind: ARPHRD_ETHER,
                        lower: vec!["eth0".into()],
                        ..ether("blue")
                    },
                    Device {
                        kind: ARPHRD_ETHER,
                        lower: vec!["eth1".into()],
                        ..ether("red")
                    },
                ],
                &["eth0", "eth1"],
            ),
            (
                "Open vSwitch",
                vec![
                    port(nic("eth0"), "ovs-system"),
                    ether("ovs-system"),
                    ether("br-int"),
                ],
                &["eth0"],
            ),
            (
                "Hyper-V: the accelerated function is a port of the synthetic one",
                vec![nic("eth0"), port(nic("enP1s1"), "eth0")],
                &["eth0"],
            ),
            ("a container", vec![loopback(), veth("eth0")], &["eth0"]),
        ];
        for (host, mut devices, expected) in table {
            assert_eq!(chosen(&devices), expected, "{host}");
            devices.reverse();
            assert_eq!(chosen(&devices), expected, "{host}, in another order");
        }
    }

    #[test]
    fn what_is_down_waits_and_a_dummy_never_counts() {
        let down = Device {
            is_up: false,
            ..nic("eth1")
        };
        let choice = choose(&[nic("eth0"), down, ether("dummy0")]);
        assert_eq!(choice.chosen, ["eth0"]);
        assert_eq!(
            choice.left_out,
            [("dummy0".into(), Why::Virtual), ("eth1".into(), Why::Down)]
        );
        assert!(chosen(&[loopback(), ether("dummy0")]).is_empty());
    }

    #[test]
    fn one_line_says_what_was_chosen_and_what_was_not() {
        let mut devices = vec![
            loopback(),
            nic("eth0"),
            port(nic("eth1"), "br0"),
            bridge("br0"),
        ];
        devices.extend((0..6).map(|pod| veth(&format!("cali{pod}"))));
        assert_eq!(
            choose(&devices).to_string(),
            "capturing on br0, eth0; left out: cali0 cali1 cali2 cali3 and 2 more (containers'), eth1 (port of br0), lo (loopback)"
        );
        assert_eq!(choose(&[]).to_string(), "capturing on no interface");
    }

    #[test]
    fn an_end_of_a_pair_is_known_though_the_other_end_has_its_number() {
        const UP: u32 = 0x1003; // up, broadcast, multicast
        assert!(is_paired("7", "2", UP, false));
        assert!(is_paired("2", "2", UP, false));
        assert!(!is_paired("2", "2", UP | IFF_NOARP, false), "a dummy");
        assert!(!is_paired("2", "2", UP, true), "a tap");
    }

    #[test]
    fn names_are_read_from_the_kernels_table() {
        let table = "Inter-|   Receive\n face |bytes\n    lo: 0 0 0\n eth0: 17 1\nvlan:7: 1 2\n";
        assert_eq!(names(table).collect::<Vec<_>>(), ["lo", "eth0", "vlan:7"]);
    }
}
