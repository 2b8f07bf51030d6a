//! Rows of the kernel's routes.

use super::Seen::{Bmp, Netlink, Packets};
use super::{Row, detected};
use crate::detect::Kind;

const ROUTE: &[&str] = &[
    "ip route show PREFIX",
    "ip -t monitor route",
    "vtysh -c 'show ip route PREFIX'",
];
const DEFAULT: &[&str] = &[
    "ip route show default table all",
    "ip -6 route show default table all",
    "ip -t monitor route",
];
const KERNEL: &[super::Seen] = &[Netlink];

pub(super) const ROWS: &[Row] = &[
    detected(
        Kind::RouteFlap,
        KERNEL,
        [
            "3 deletions of a route within 60 s, or 5 within 900 s.",
            "RFC 2439 §4.2 (half-life of 15 min).",
            "What falls with its link or as one of many is told there; quiet for 60 s ends it.",
        ],
        ROUTE,
    ),
    detected(
        Kind::RouteWithdrawn,
        KERNEL,
        [
            "A route that is no routing daemon's is deleted from the main table; or 10 and more of one owner go at once, which is one finding.",
            "Linux rtnetlink; measured batches of FRR and BIRD (200 ms of quiet end one).",
            "Single ones are information, and one that a routing daemon withdraws is its work; default routes have their own kinds; what falls with its link is the link's.",
        ],
        ROUTE,
    ),
    detected(
        Kind::RouteSilentLoss,
        KERNEL,
        [
            "Routes vanish without a notification because their interface fell, or a dump lacks them, and are not back within 1 s.",
            "Measured: Linux deletes IPv4 routes of a downed interface without RTM_DELROUTE; FRR and BIRD put back theirs within 100 ms.",
            "Connected routes are the address's; default routes have their own kinds.",
        ],
        ROUTE,
    ),
    detected(
        Kind::RouteDefaultLost,
        KERNEL,
        [
            "No default route of a family is left in the main table; one that is back within 1 s was rewritten and is information.",
            "Measured: scripts rewrite a default route in two process starts.",
            "Members of a multipath default that come and go leave it working.",
        ],
        DEFAULT,
    ),
    detected(
        Kind::RouteDefaultFlap,
        KERNEL,
        [
            "The default route is lost twice within 600 s, or its gateway changes 3 times, the last time back to one used before.",
            "Planned router changes are rarer.",
            "Two changes of gateway are a fail-over and its way back.",
        ],
        DEFAULT,
    ),
    detected(
        Kind::RouteNexthopChurn,
        KERNEL,
        [
            "5 changes of a route's gateways within 60 s; or 10 and more routes change their next hop at once, which is one finding about it.",
            "No protocol converges that way.",
            "Default routes have their own kinds.",
        ],
        ROUTE,
    ),
    detected(
        Kind::RouteEcmpShrunk,
        KERNEL,
        [
            "A multipath route is replaced by one with a part of its gateways.",
            "Linux rtnetlink (RTA_MULTIPATH).",
            "Members that return end it; other gateways are a change of next hop.",
        ],
        ROUTE,
    ),
    detected(
        Kind::RouteShadowed,
        KERNEL,
        [
            "A route of no routing daemon takes the traffic of a daemon's: more specific, same prefix with a better metric, or halves (/1) that \
             cover the default route.",
            "Longest-prefix match; CVE-2024-3661 for the halves.",
            "More specific than a default route alone is no shadow; static routes are an operator's choice: information.",
        ],
        &[
            "ip route get ADDRESS",
            "ip route show match PREFIX",
            "ip -t monitor route",
        ],
    ),
    detected(
        Kind::RouteForeignDelete,
        KERNEL,
        [
            "A process deletes 5 routes of a routing daemon within 1 s that another process installed or puts back, or three processes do; \
             or two processes delete and write the same routes in 3 rounds; or a process deletes a connected route while the address \
             that made it stays and no other connected route takes its place.",
            "systemd-networkd's ManageForeignRoutes; two daemons on one table; measured with the ports (pids) of netlink messages.",
            "The installer must have been seen, put the routes back, or the deleters be many; a link that changed within 2 s explains \
             deletions; one or two are an operator; a network manager's own connected route replaces the kernel's.",
        ],
        &[
            "ip -t monitor route",
            "ss -f netlink -ap",
            "systemd-analyze cat-config systemd/networkd.conf",
        ],
    ),
    detected(
        Kind::RoutePeerPath,
        &[Netlink, Packets],
        [
            "A BGP session is lost without anybody's word, and within its hold time before that a process deleted the connected route to the peer, a more \
             specific route came over the peer's address, its segments moved to another interface, or ICMP errors quoted them.",
            "Longest-prefix match; RFC 4271 §5.1.3 and RFC 5082 (a peer on the link is one hop away); RFC 792, RFC 4443.",
            "What the kernel does with a link or an address that goes has findings of its own; a way that changes while the session lives is none.",
        ],
        &[
            "ip route get PEER",
            "ip route show table all match PEER",
            "tcpdump -ni any 'port 179 or icmp or icmp6'",
        ],
    ),
    detected(
        Kind::RouteOwnershipWar,
        KERNEL,
        [
            "Owners (rtm_protocol) take one route from each other 3 times within 60 s.",
            "Linux rtnetlink (NLM_F_REPLACE).",
            "One change of owner is a hand-over.",
        ],
        ROUTE,
    ),
    detected(
        Kind::RouteReassertStorm,
        KERNEL,
        [
            "30 identical writes of one route within 60 s.",
            "BIRD scans each 60 s by default, each 2 s at the fastest in use.",
            "Slower periodic rewrites are a daemon's habit.",
        ],
        ROUTE,
    ),
    detected(
        Kind::RouteFibMissing,
        &[Packets, Bmp, Netlink],
        [
            "A daemon's route that the kernel itself or another process removed is still missing 5 s later, while a neighbor that is up announces it \
             unchanged and its next hop is reachable: information, and a warning after 65 s. Or a best route (BMP Loc-RIB) is not in the kernel \
             after 5 s while 90 % of at least 10 others are.",
            "Survey D41 (FRR #23277, #22774, #18680).",
            "What the daemon removes itself follows its policy. BIRD's scan (60 s by default) restores lost routes.",
        ],
        &[
            "ip route show table all PREFIX",
            "vtysh -c 'show ip route PREFIX'",
            "birdc show route for PREFIX all",
        ],
    ),
    detected(
        Kind::RouteFibStale,
        &[Packets, Bmp, Netlink],
        [
            "The kernel keeps a routing daemon's route 10 s after the neighbor it leads to withdrew it or was lost (graceful restart: its restart \
             time more), and no session of this host announces it.",
            "Survey D42 (FRR #21824); RFC 4724 §4.2.",
            "Graceful restart is waited for, long-lived graceful restart (RFC 9494) excluded. The announcement and its end must have been seen.",
        ],
        &[
            "ip route show table all PREFIX",
            "vtysh -c 'show bgp PREFIX'",
            "birdc show route for PREFIX all",
        ],
    ),
    detected(
        Kind::RouteRuleLost,
        &[Netlink],
        [
            "A policy rule was deleted and is not back, and no rule that is known leads into its table: `local` or `main` without conditions, 1 s later; \
             another table in which routes still stand, 5 s later.",
            "ip-rule(8); the kernel's Documentation/networking/vrf.rst; systemd's networkd.conf(5), ManageForeignRoutingPolicyRules.",
            "A rule that is rewritten, or moved to another priority, leads into its table again; who takes a table down empties it.",
        ],
        &[
            "ip rule show",
            "ip -6 rule show",
            "ip route show table TABLE",
        ],
    ),
];
