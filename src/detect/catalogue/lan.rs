//! Rows of feeds, links, addresses, neighbors and router advertisements.

use super::Seen::{Bmp, Mrt, Netlink, Packets};
use super::{Row, detected};
use crate::detect::Kind;

const LINK: &[&str] = &[
    "ip -s -d link show dev IFACE",
    "ip monitor link",
    "ethtool IFACE",
];
const ADDRESS: &[&str] = &["ip -d address show dev IFACE", "ip monitor address"];
const NEIGHBOR: &[&str] = &[
    "ip -s neigh show ADDRESS",
    "bridge fdb show | grep MAC",
    "tcpdump -eni IFACE 'arp or icmp6'",
];
const VRRP: &[&str] = &[
    "tcpdump -veni IFACE ip proto 112",
    "journalctl -b -u keepalived",
    "vtysh -c 'show vrrp'",
];
const RA: &[&str] = &[
    "ip -6 route show default",
    "tcpdump -veni IFACE 'icmp6 and ip6[40] == 134'",
    "bridge fdb show | grep MAC",
];
const BMP: &[&str] = &["vtysh -c 'show bmp'", "ss -tnp | grep BMP-PORT"];

pub(super) const ROWS: &[Row] = &[
    detected(
        Kind::FeedGap,
        &[Packets, Bmp, Mrt, Netlink],
        [
            "An input reports loss: drop counters of the capture, ENOBUFS on netlink, missing octets of a TCP stream, a feed that was cut, \
             unreadable bytes, or a table of ours that is full.",
            "Counters and errors of the inputs themselves; no threshold.",
            "The normal end of a file is none. Repeated losses of one source and kind are one finding.",
        ],
        &[
            "ip -s -s link show dev IFACE",
            "grep -H . /proc/net/netlink",
        ],
    ),
    detected(
        Kind::FeedRestarted,
        &[Bmp],
        [
            "A router opens its BMP stream again and repeats its state.",
            "RFC 7854 §3.3 (a new stream begins with Initiation and the whole state).",
            "Information only: what the repetition brings is taken for a table transfer and counts as no flap.",
        ],
        BMP,
    ),
    detected(
        Kind::FeedImplausible,
        &[Bmp],
        [
            "A pre-policy BMP view has sent 1000 withdrawals or more and not a single announcement.",
            "Survey D48; FRR #22588: without soft-reconfiguration inbound it sends such feeds (1,966,176 withdrawals were seen).",
            "An outage withdraws what was announced before; one announcement makes the feed plausible.",
        ],
        BMP,
    ),
    detected(
        Kind::FeedClockStep,
        &[Packets, Bmp, Mrt, Netlink],
        [
            "The clock of a source steps by more than a second.",
            "Design law: time comes from events, so a step makes durations across it doubtful.",
            "Slewing (chrony, ntpd) makes no step. Detectors of absence drop what they wait for across it.",
        ],
        &["chronyc tracking", "timedatectl show-timesync"],
    ),
    detected(
        Kind::LinkCarrierLost,
        &[Netlink],
        [
            "An interface that is administratively up loses IFF_RUNNING or its carrier; also seen from jumps of carrier_changes.",
            "Linux operstate and carrier counters (Documentation/networking/operstates).",
            "Interfaces of containers and unused ports are information only. One finding for each interface and episode.",
        ],
        LINK,
    ),
    detected(
        Kind::LinkAdminDown,
        &[Netlink],
        [
            "IFF_UP of an interface goes away; the process that did it is named where the recording tells.",
            "Linux rtnetlink: IFF_UP is configuration, the carrier is not.",
            "A carrier that falls because of it is the same finding. Containers' interfaces are information only.",
        ],
        LINK,
    ),
    detected(
        Kind::LinkRemoved,
        &[Netlink],
        [
            "RTM_DELLINK of an interface that was up; a loss within 1 s before it is part of the removal.",
            "Measured: ip link del sends the two 2 ms apart.",
            "Containers and virtual machines that stop remove their interfaces: information only.",
        ],
        LINK,
    ),
    detected(
        Kind::LinkFlap,
        &[Netlink],
        [
            "2 losses of an interface within 60 s, or 3 within 600 s; losses between two messages are counted from carrier_changes.",
            "The usual carrier-flap rule: three transitions within a minute.",
            "A single cable pull or reboot has one loss. A counter that jumps by more than 1000 was reset and counts nothing.",
        ],
        LINK,
    ),
    detected(
        Kind::LinkMacMove,
        &[Netlink],
        [
            "A bridge's forwarding entry moves 5 times within 180 s between two ports; 3 addresses or more between the same two are a loop.",
            "RFC 7432 §15.1 (N = 5, M = 180 s).",
            "A live migration is one move, its way back another. Entries of the bridge's own ports are permanent and do not count.",
        ],
        &["bridge fdb show br BRIDGE", "bridge monitor fdb"],
    ),
    detected(
        Kind::PathLoss,
        &[Packets, Bmp, Netlink],
        [
            "The IPv4 and the IPv6 session to one neighbor expire together (hold time, send hold time or BFD, at least half of their losses \
             within the longer hold time of each other) while netlink was watched and told of no loss of the link.",
            "The survey's chains of local carrier loss against loss beyond the link (C3): the same BMP reason, told apart by netlink only.",
            "One session alone is left to the session; without netlink nothing is concluded; a link that went down explains it instead.",
        ],
        LINK,
    ),
    detected(
        Kind::AddressRemoved,
        &[Netlink],
        [
            "An address goes from an interface and is not back within 100 ms, or is back and routes of others that went with it are not.",
            "Measured: promotion of a secondary address deletes and adds it within 33 µs.",
            "Link-local addresses, and addresses that go with their link, are left to the link. What a program or operator removes is \
             information unless it repeats.",
        ],
        ADDRESS,
    ),
    detected(
        Kind::AddressFlap,
        &[Netlink],
        [
            "2 removals of one address within 600 s.",
            "A planned VRRP or kube-vip fail-over and its way back take minutes.",
            "One removal and return is address.removed that ended.",
        ],
        ADDRESS,
    ),
    detected(
        Kind::AddressMoved,
        &[Packets],
        [
            "An address is announced by another MAC than before, before the same audience, and that stands for 5 s; or an own address goes \
             and another host announces it within 60 s.",
            "RFC 5227 §3; keepalived repeats its announcements after 5 s; ElasticIP hand-overs measured up to 3 s.",
            "Addresses whose owner was silent for 10 min are reuse and are not told. A move and its return are two moves, no conflict.",
        ],
        NEIGHBOR,
    ),
    detected(
        Kind::AddressConflict,
        &[Packets],
        [
            "Both MACs answered the same question (two answers within 1 s) at least twice, while the address alternates; or a probe for an \
             address (RFC 5227, DAD) is answered by its owner: once is a note, 2 checks are a fault, and one MAC that answers the probes for 3 addresses is one \
             statement about that MAC (proxy ARP). Two VRRP masters of an address are one, too.",
            "RFC 5227 §2.1.1, RFC 4862 §5.4.",
            "A MAC that answers for 16 addresses or more is proxy ARP or device tracking; one double answer may be a fail-over's instant.",
        ],
        NEIGHBOR,
    ),
    detected(
        Kind::AddressArpFlux,
        &[Packets],
        [
            "Two MACs answer the same questions within 200 µs of each other for 2 addresses or more, or both are interfaces of this host, and an \
             address of theirs alternates between them.",
            "Linux arp_ignore (Documentation/networking/ip-sysctl): any port answers for any address of the host.",
            "Two hosts that share one address by mistake answer together for that one only: address.conflict.",
        ],
        &[
            "sysctl net.ipv4.conf.all.arp_ignore net.ipv4.conf.all.arp_announce",
            "tcpdump -eni IFACE arp",
        ],
    ),
    detected(
        Kind::AddressDadFailed,
        &[Netlink],
        [
            "The kernel sets IFA_F_DADFAILED on an address. Where the own probe was seen to come back within 0.5 s the reason is a loop, and all \
             addresses of the interface are one finding.",
            "RFC 4862 §5.4.5, RFC 7527.",
            "Tentative addresses are no failure. A mirror that doubles frames to single hosts as well is no loop.",
        ],
        &[
            "ip -6 address show dadfailed",
            "tcpdump -eni IFACE 'icmp6 and ip6[40] == 136'",
        ],
    ),
    detected(
        Kind::AddressUnannounced,
        &[Packets, Bmp, Netlink],
        [
            "30 s after this host withdrew its own host route, or (inside --own-prefix) got a host address, the address is configured and no \
             session that is up announces it or an aggregate of it. A warning for own prefixes that nobody else announces here either.",
            "Survey C40; RFC 8326.",
            "An address that another host announces now was moved and left behind, and one drained with GRACEFUL_SHUTDOWN is meant: information.",
        ],
        &[
            "ip address show to ADDRESS",
            "vtysh -c 'show bgp PREFIX'",
            "birdc show route for PREFIX all",
        ],
    ),
    detected(
        Kind::VrrpTwoMasters,
        &[Packets],
        [
            "Two senders advertise one virtual router in turn 3 times while both go on (4 intervals without an advertisement end one).",
            "RFC 9568 §6.4.3: a master that hears a better one is silent at once, a backup that hears a master never speaks.",
            "Taking over a running master makes 2 turns; fail-overs none. It is told with the address.conflict that it makes.",
        ],
        VRRP,
    ),
    detected(
        Kind::VrrpFlap,
        &[Packets],
        [
            "3 changes of a virtual router's master within 300 s of each other.",
            "RFC 9568 §6.1 (a backup takes over after 3 intervals and a skew).",
            "A fail-over and its way back are two: vrrp.moved.",
        ],
        VRRP,
    ),
    detected(
        Kind::VrrpMoved,
        &[Packets],
        [
            "Another sender advertises a virtual router than before, and the one before gave up (priority 0), is silent, or has the lower priority.",
            "RFC 9568 §6.4.",
            "Information only.",
        ],
        VRRP,
    ),
    detected(
        Kind::NeighborUnreachable,
        &[Packets, Netlink],
        [
            "The kernel's entry of a route's gateway or of a BGP peer becomes FAILED. Without netlink: 3 questions for a gateway that DHCP or router \
             advertisements hand out, or for a BGP peer, stay unanswered for 5 s, by whom this capture saw answered before.",
            "RFC 4861 §7.3, Linux NUD states; survey A7.",
            "Other hosts may be switched off. FAILED entries with a pid are an operator's flush. Within 10 s of the link's return, failing is \
             part of its recovery. Where answers were never seen (a mirror of one direction), or the capture ends or lost packets, silence proves nothing.",
        ],
        NEIGHBOR,
    ),
    detected(
        Kind::NeighborFlap,
        &[Packets, Netlink],
        [
            "3 failures of a gateway or BGP peer within 300 s.",
            "Linux NUD states; one probe cycle takes 3 s.",
            "As neighbor.unreachable.",
        ],
        NEIGHBOR,
    ),
    detected(
        Kind::NeighborMacFlip,
        &[Packets, Netlink],
        [
            "3 changes of a neighbor's MAC within 300 s that lead back to one seen before; on the wire also 5 announcements that nobody asked \
             for, sent to single hosts, against what everybody hears.",
            "One change is a fail-over, two are a fail-over and its way back; arpwatch's flip-flop.",
            "Virtual router MACs (VRRP, HSRP) are meant to move. bond balance-alb sends a few unicast announcements, fewer than 5.",
        ],
        NEIGHBOR,
    ),
    detected(
        Kind::NeighborFlood,
        &[Packets],
        [
            "1024 different senders on one link within 3 s, or 15,000 messages. Looked at each second; over after 10 s below that.",
            "The largest subnets in use for one broadcast domain (/22) have 1,022 addresses; fast scanners send 2,000 messages a second.",
            "A link that wakes up after a power cut, a scan, and a fail-over that announces thousands of addresses stay below.",
        ],
        NEIGHBOR,
    ),
    detected(
        Kind::RaRogueRouter,
        &[Packets],
        [
            "A router advertises for the first time more than 600 s after the link's first advertisement. It is a warning when it takes over \
             by preference, by injected routes, or makes hosts take addresses of a foreign prefix.",
            "RFC 4861 §6.2.1 (MaxRtrAdvInterval's default is 600 s), RFC 6104.",
            "A router that agrees with the others, and virtual router MACs, are information. Before 600 s nobody is a stranger.",
        ],
        RA,
    ),
    detected(
        Kind::RaSpoofed,
        &[Packets],
        [
            "Frames whose sender contradicts the link-layer address they carry, beside a sender for whom both agree; senders that take turns \
             3 times; an advertisement with lifetime 0 from another MAC than the one that the address is made from, or which the router itself refutes \
             by its next neighbor advertisement with the router flag; 2 withdrawals within 60 s by advertisements built unlike the router's others; or flawed ones (hop limit not 255, source \
             not link-local, evasive headers); 2 redirects, or a neighbor advertisement without router flag, in a router's name from a foreign sender.",
            "RFC 4861 §6.1.2, §7.2.5, §8.1, RFC 6980, RFC 7113.",
            "One change of sender is a fail-over, a change and its return a fail-back: both stay quiet.",
        ],
        RA,
    ),
    detected(
        Kind::RaRouterWithdrawn,
        &[Packets],
        [
            "An advertisement with router lifetime 0 follows one with a lifetime, or a neighbor advertisement without the router flag comes \
             from who is a router: by its advertisement with a lifetime, by the flag before, or as the kernel's default route. It is a warning when no other default router is left.",
            "RFC 4861 §6.2.5, §7.2.5.",
            "Routers that never were default routers advertise 0 all the time; another default router makes it information.",
        ],
        RA,
    ),
    detected(
        Kind::RaExpired,
        &[Packets],
        [
            "The lifetime of a router's last advertisement ends without another one while its capture demonstrably goes on (any packet of the \
             same capture), if 2 advertisements or more were heard; or netlink beside the packets tells that the kernel itself deleted the \
             default route learned from it, at most 60 s after the lifetime's end, on a link that is up.",
            "RFC 4861 §6.3.5; Linux deletes expired routes at its garbage collection (gc_interval 30 s).",
            "The end of the capture proves nothing, nor does silence inside a gap; one advertisement may have been an answer; a final lifetime \
             of 0 is ra.router-withdrawn; deletions by a process are its own.",
        ],
        RA,
    ),
    detected(
        Kind::RaFlap,
        &[Packets],
        [
            "2 withdrawals (lifetime 0) of one router within 300 s.",
            "RFC 4861 §6.2.1: the default lifetime is 30 min; faults repeat within minutes.",
            "One withdrawal is a restart. While a router is forged or the link flooded, nothing milder is said.",
        ],
        RA,
    ),
    detected(
        Kind::RaInconsistent,
        &[Packets],
        [
            "Two default routers of one link, each heard 2 times, differ in hop limit, M or O flag, reachable time, retransmission timer or MTU; or \
             one router contradicts what it said before about these, name servers, search list, captive portal or NAT64 prefix, or takes back lifetimes \
             of a prefix (to less than half of what was left, where that was more than 120 s). 4 such changes within 3600 s, a new route to a prefix of \
             at most 3 bits, or a prefix taken back while no other is preferred, are a fault.",
            "RFC 4861 §6.2.7, RFC 8106, RFC 4862 §5.5.3, RFC 9096; survey R4, R5, R8, R9, R11, V6, V9.",
            "Values of 0 mean unspecified; prefixes and routes may differ; what an advertisement leaves out says nothing (RFC 4861 §6.2.3). One \
             change is an administrator's: information.",
        ],
        RA,
    ),
    detected(
        Kind::RaFlood,
        &[Packets],
        [
            "More than 10 multicast advertisements in a second, or in a minute more than 5 new routers (15 in the link's first) or 16 new \
             prefixes.",
            "RFC 4861 §10: a router sends at most one in 3 s; Linux takes 16 addresses on an interface.",
            "Ten routers that answer one solicitation stay below.",
        ],
        RA,
    ),
];
