//! Which program of a Kubernetes node writes a route, in words: from its owner (`rtm_protocol`), its interfaces, the node's interfaces and
//! the name of the process behind the message.
//!
//! A name is said only where it follows: BIRD or FRR on a plain router stay BIRD and FRR. Sources: the projects' defaults, beside each rule.

use std::time::Duration;

use crate::detect::Finding;
use crate::event::Timestamp;
use crate::event::netlink::RTPROT_KERNEL;
use crate::state::NetState;
use crate::state::leases::message::Verb;
use crate::state::routes::Route;

/// `RTPROT_BOOT`: Felix leaves it on the host routes of its pods (`DeviceRouteProtocol` of Calico's FelixConfiguration).
const RTPROT_BOOT: u8 = 3;
const RTPROT_ZEBRA: u8 = 11;
const RTPROT_BIRD: u8 = 12;
/// Assigned to mrouted; kube-router's routes were seen with it (its issue 1815).
const RTPROT_KUBE_ROUTER: u8 = 17;
/// Felix's VXLAN and blackhole routes.
const RTPROT_FELIX: u8 = 80;
/// FRR's zebra marks what bgpd computed with it.
const RTPROT_BGP: u8 = 186;
/// kube-vip's routing table mode: `vip_routingtableprotocol`, 248 unless changed, in table 198.
const RTPROT_KUBE_VIP: u8 = 248;
const TABLE_KUBE_VIP: u32 = 198;

/// Calico's interfaces: pods, its VXLAN devices, and `tunl0` of IPIP mode.
const CALICO: [&str; 3] = ["cali", "vxlan.calico", "vxlan-v6.calico"];
const CALICO_TUNNEL: &str = "tunl0";
/// Cilium's: `lxc` is a pod's, and LXC's bridge is `lxcbr`.
const CILIUM: [&str; 3] = ["cilium_", "lxc_health", "lxc"];
const LXC_BRIDGE: &str = "lxcbr";
const KUBE_ROUTER: [&str; 2] = ["kube-bridge", "kube-dummy-if"];
/// What kube-proxy and the usual pod networks leave on every node.
const NODE: [&str; 6] = [
    "kube-ipvs0",
    "cni0",
    "flannel.",
    "nodelocaldns",
    "cilium_",
    "cali",
];

/// Programs that remove routes and addresses which they did not make when they start, reload or renew a lease, unless told otherwise: what
/// systemd-networkd does since version 243 (ManageForeignRoutes=, its issues 25451 and 29716), NetworkManager on devices that it manages,
/// and dhcpcd on a lease that goes. A process's name has 15 characters at most.
const MANAGERS: [(&str, &str); 3] = [
    (
        "systemd-network",
        "systemd-networkd removes what it did not make when it starts, reloads or renews a lease: ManageForeignRoutes=no, ManageForeignNextHops=no and \
         ManageForeignRoutingPolicyRules=no in networkd.conf, KeepConfiguration= for addresses",
    ),
    (
        "NetworkManager",
        "NetworkManager takes over what it finds on a device that it manages: set the device unmanaged (unmanaged-devices= in its [keyfile] section)",
    ),
    (
        "dhcpcd",
        "dhcpcd removes what it finds on an interface whose lease changes: denyinterfaces in dhcpcd.conf",
    ),
];

/// C25: what a network manager prunes after a renewal goes within this (systemd issue 12050, keepalived issue 1268).
const AFTER_RENEWAL: Duration = Duration::from_secs(3);

/// Adds that a lease of this host was renewed right before somebody took away what is not his, once.
pub(in crate::detect) fn renewal(finding: &mut Finding, net: &NetState, at: Timestamp) {
    let renewed = net
        .leases
        .clients
        .unordered()
        .filter(|client| client.got == Some(Verb::Ack))
        .filter_map(|client| {
            let lease = client.lease?;
            let ifindex = net.addresses.owner(lease)?;
            let answered = client.exchanges.iter().filter_map(|e| e.answered).max()?;
            let right_before = answered <= at && at.since(answered) <= AFTER_RENEWAL;
            right_before.then_some((answered, lease, ifindex))
        })
        .max();
    let Some((answered, lease, ifindex)) = renewed else {
        return;
    };
    const RENEWED: &str = "the DHCP lease of ";
    if !finding
        .explanations
        .iter()
        .any(|known| known.starts_with(RENEWED))
    {
        finding.explanations.push(format!(
            "{RENEWED}{lease} on {} was acknowledged {:.1} s before: network managers remove what they did not make when a lease renews",
            net.links.name(ifindex),
            at.since(answered).as_secs_f64()
        ));
    }
}

/// Adds why a network manager removes what others made, once.
pub(in crate::detect) fn manager(finding: &mut Finding, net: &NetState, by: u32) {
    let process = net.actors.name(by).unwrap_or_default();
    let known = MANAGERS.iter().find(|(name, _)| *name == process);
    if let Some((_, text)) = known
        && !finding.explanations.iter().any(|known| known == text)
    {
        finding.explanations.push((*text).to_owned());
    }
}

/// A program that writes routes on Kubernetes nodes.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Writer {
    CalicoBird,
    Felix,
    Cilium,
    KubeRouter,
    NodeFrr,
    KubeVip,
}

impl Writer {
    fn explanation(self) -> &'static str {
        match self {
            Writer::CalicoBird => {
                "written by Calico's BIRD (calico-node): it follows the node mesh and its peers; `kubectl -n calico-system logs ds/calico-node -c calico-node | grep bird`"
            }
            Writer::Felix => {
                "written by Felix, Calico's agent on the node: it follows pods and address blocks; `kubectl -n calico-system logs ds/calico-node -c calico-node`"
            }
            Writer::Cilium => {
                "written by the Cilium agent, which marks its routes as the kernel's: it follows nodes and pods; `kubectl -n kube-system logs ds/cilium`"
            }
            Writer::KubeRouter => {
                "written by kube-router: it follows its BGP peers, nodes and services; `kubectl -n kube-system logs ds/kube-router`"
            }
            Writer::NodeFrr => {
                "FRR on a Kubernetes node: MetalLB's (containers `frr` of its speaker or of frr-k8s) unless the host runs one of its own; `kubectl -n metallb-system get pods -o wide`"
            }
            Writer::KubeVip => {
                "written by kube-vip: it follows services and the election of their leader; `kubectl -n kube-system logs ds/kube-vip-ds`"
            }
        }
    }
}

/// Adds who writes this route on a Kubernetes node, once, where that can be told.
pub(in crate::detect) fn name(
    finding: &mut Finding,
    net: &NetState,
    by: u32,
    route: &Route,
    table: u32,
) {
    let devices = route
        .hops
        .iter()
        .filter_map(|hop| hop.ifindex)
        .map(|ifindex| net.links.name(ifindex));
    let devices: Vec<Box<str>> = devices.collect();
    add(finding, net, by, route.protocol, table, &devices);
}

/// The same for many routes of one owner, by the interfaces that they leave through.
pub(in crate::detect) fn name_batch(
    finding: &mut Finding,
    net: &NetState,
    by: u32,
    protocol: u8,
    devices: &[Box<str>],
) {
    add(
        finding,
        net,
        by,
        protocol,
        crate::state::routes::TABLE_MAIN,
        devices,
    );
}

fn add(
    finding: &mut Finding,
    net: &NetState,
    by: u32,
    protocol: u8,
    table: u32,
    devices: &[Box<str>],
) {
    let process = net.actors.name(by).unwrap_or_default();
    let Some(writer) = writer(net, (by, process), protocol, table, devices) else {
        return;
    };
    let text = writer.explanation();
    if !finding.explanations.iter().any(|known| known == text) {
        finding.explanations.push(text.to_owned());
    }
}

fn writer(
    net: &NetState,
    (by, process): (u32, &str),
    protocol: u8,
    table: u32,
    devices: &[Box<str>],
) -> Option<Writer> {
    // A process says itself what it is; Felix and its companions run as `calico-node -felix`.
    match process {
        "cilium-agent" => return Some(Writer::Cilium),
        "kube-router" => return Some(Writer::KubeRouter),
        "kube-vip" => return Some(Writer::KubeVip),
        "calico-node" | "calico-felix" => return Some(Writer::Felix),
        _ => {}
    }
    let leaves_by = |names: &[&str]| devices.iter().any(|device| starts(device, names));
    let has = |names: &[&str]| net.links.names().any(|name| starts(name, names));
    match protocol {
        RTPROT_FELIX => Some(Writer::Felix),
        RTPROT_BOOT if leaves_by(&CALICO) => Some(Writer::Felix),
        // Other BIRDs may use an IPIP tunnel or live beside Calico's pods: their own device or Calico's tunnel must come together with pods.
        RTPROT_BIRD if leaves_by(&CALICO) => Some(Writer::CalicoBird),
        RTPROT_BIRD
            if has(&CALICO)
                && (leaves_by(&[CALICO_TUNNEL]) || matches!(process, "bird" | "bird6" | "")) =>
        {
            Some(Writer::CalicoBird)
        }
        // The kernel's own routes have no process.
        RTPROT_KERNEL if by != 0 && leaves_by(&CILIUM) && has(&["cilium_"]) => Some(Writer::Cilium),
        RTPROT_KUBE_ROUTER if has(&KUBE_ROUTER) => Some(Writer::KubeRouter),
        RTPROT_ZEBRA | RTPROT_BGP if has(&NODE) && matches!(process, "zebra" | "") => {
            Some(Writer::NodeFrr)
        }
        RTPROT_KUBE_VIP if table == TABLE_KUBE_VIP || has(&NODE) => Some(Writer::KubeVip),
        _ => None,
    }
}

fn starts(name: &str, with: &[&str]) -> bool {
    !name.starts_with(LXC_BRIDGE) && with.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;
    use crate::event::netlink::{Actor, IFF_RUNNING, IFF_UP};
    use crate::state::Changes;
    use crate::state::routes::testing::{event, link_event};

    fn node(links: &[&str], process: &str) -> NetState {
        let mut net = NetState::default();
        let mut changes = Changes::default();
        for (index, name) in links.iter().enumerate() {
            let link = link_event(index as u32 + 1, name, IFF_UP | IFF_RUNNING);
            net.apply(&event(0, EventKind::Link(Box::new(link))), &mut changes);
        }
        if !process.is_empty() {
            let actor = Actor {
                pid: 500,
                name: process.into(),
                process: None,
            };
            net.apply(&event(0, EventKind::Actor(Box::new(actor))), &mut changes);
        }
        net
    }

    fn told(links: &[&str], process: &str, protocol: u8, device: &str) -> Option<Writer> {
        let net = node(links, process);
        let table = crate::state::routes::TABLE_MAIN;
        writer(&net, (500, process), protocol, table, &[device.into()])
    }

    #[test]
    fn the_writers_of_a_kubernetes_node_are_told_by_owner_interface_and_process() {
        let calico = ["eth0", "tunl0", "cali0123456789a"];
        assert_eq!(told(&calico, "", 12, "tunl0"), Some(Writer::CalicoBird));
        assert_eq!(told(&calico, "bird", 12, "eth0"), Some(Writer::CalicoBird));
        assert_eq!(told(&calico, "", 80, "vxlan.calico"), Some(Writer::Felix));
        assert_eq!(told(&calico, "", 3, "cali0123456789a"), Some(Writer::Felix));
        let cilium = ["eth0", "cilium_host", "lxc12ab"];
        assert_eq!(told(&cilium, "", 2, "cilium_host"), Some(Writer::Cilium));
        assert_eq!(told(&cilium, "", 2, "lxc12ab"), Some(Writer::Cilium));
        assert_eq!(
            told(&["eth0"], "cilium-agent", 2, "eth0"),
            Some(Writer::Cilium)
        );
        assert_eq!(
            told(&["eth0", "kube-bridge"], "", 17, "eth0"),
            Some(Writer::KubeRouter)
        );
        assert_eq!(
            told(&["eth0", "kube-ipvs0"], "zebra", 186, "eth0"),
            Some(Writer::NodeFrr)
        );
        assert_eq!(
            told(&["eth0", "kube-ipvs0"], "", 248, "eth0"),
            Some(Writer::KubeVip)
        );
    }

    #[test]
    fn daemons_of_plain_hosts_keep_their_names() {
        let plain = ["eth0", "tunl0", "lxcbr0", "veth12ab"];
        for protocol in [2, 3, 4, 11, 12, 16, 17, 186, 248] {
            assert_eq!(told(&plain, "", protocol, "eth0"), None, "{protocol}");
            assert_eq!(told(&plain, "", protocol, "tunl0"), None, "{protocol}");
            assert_eq!(told(&plain, "", protocol, "lxcbr0"), None, "{protocol}");
        }
        // What an operator or a DHCP client writes on a node is theirs.
        let node = ["eth0", "kube-ipvs0", "cali0123456789a", "cilium_host"];
        assert_eq!(told(&node, "ip", 4, "eth0"), None);
        assert_eq!(told(&node, "systemd-network", 16, "eth0"), None);
        assert_eq!(told(&node, "", 2, "eth0"), None);
    }
}
