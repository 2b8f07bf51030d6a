//! The cause/effect table: every causal link that flapscope knows, one row each. `explain`, the docs and the correlator read this table.
//!
//! A row says which kinds cause which, what both must have in common, in which window the effect may begin, how sure that makes us,
//! and why. Windows come from negotiated timers where there are any ([`Window::Reach`]). Order matters: of two rows that explain an
//! effect equally well the earlier one wins. Numbers like C5 or L4 name the rows of the project's survey of causal links.

use std::time::Duration;

use serde::Serialize;

use crate::detect::Kind;
use crate::detect::Kind::*;
use crate::detect::finding::{Finding, Reason};

/// How sure a causal link is.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Time or statistics only.
    Possible,
    /// Same path, inside the computed window.
    Likely,
    /// Same object, consequence mandated by the kernel or an RFC.
    Certain,
}

/// What a cause and its effect must have in common.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Join {
    /// The same interface, or the effect's peer, address or gateway is on-link at the cause's interface.
    Interface,
    /// One of the cause's peers or addresses is one of the effect's peers, addresses or gateways.
    Peer,
    /// Two findings about one neighbor: same BGP identifier, MAC, or peer.
    Neighbor,
    /// The effect's prefixes are (mostly) among those that the cause affected, or equal to its prefix.
    AffectedPrefix,
    /// The same prefix, or one covers the other.
    Prefix,
    /// The same address, server, client or MAC.
    Host,
    /// The same next hop or gateway: the cause's server, gateway or router is the effect's gateway.
    Gateway,
    /// The same feed.
    Feed,
}

/// When an effect may begin, counted from an occurrence of the cause (or while it lasts).
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Window {
    /// At most this long after.
    After(Duration),
    /// The longer of the two findings' own timers (hold time, BFD detection time, lease) and the given least time, and this much more.
    Reach { least: Duration, plus: Duration },
}

/// A row of the table.
pub struct Rule {
    /// Its name in alerts (`chain[].rule`).
    pub name: &'static str,
    pub causes: &'static [Kind],
    pub effects: &'static [Kind],
    pub join: Join,
    pub window: Window,
    pub grade: Grade,
    /// Must hold as well: what tells this link from a coincidence.
    pub when: fn(cause: &Finding, effect: &Finding) -> bool,
    /// Why the cause has this effect, one sentence.
    pub because: &'static str,
    /// What to say when the cause was looked for and not found, though it would have been seen; empty where nobody would ask.
    pub absent: &'static str,
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn always(_: &Finding, _: &Finding) -> bool {
    true
}

/// A session's reason does not contradict that its path died: nobody closed it on purpose.
fn path_reason(_: &Finding, effect: &Finding) -> bool {
    !matches!(
        effect.reason,
        Some(
            Reason::AdminShutdown
                | Reason::AdminReset
                | Reason::MaxPrefix
                | Reason::PeerDeconfigured
                | Reason::ConfigChange
                | Reason::Rejected
                | Reason::OpenError
                | Reason::UpdateError
                | Reason::HeaderError
                | Reason::Auth
        )
    )
}

/// The BFD session is what the speaker named, or nothing else explains the session's end.
fn bfd_reason(_: &Finding, effect: &Finding) -> bool {
    matches!(
        effect.reason,
        None | Some(
            Reason::BfdDown
                | Reason::Unknown
                | Reason::TcpClosed
                | Reason::TcpReset
                | Reason::LinkDown
        )
    )
}

/// The origin that a finding is about first.
fn origin_of(finding: &Finding) -> Option<u32> {
    finding.subjects.iter().find_map(|subject| match subject {
        crate::detect::Subject::Origin(asn) => Some(*asn),
        _ => None,
    })
}

/// Both fell for the same reason (or one of them has none).
fn same_reason(cause: &Finding, effect: &Finding) -> bool {
    match (cause.reason, effect.reason) {
        (Some(a), Some(b)) => {
            a == b
                || a == Reason::Unknown
                || b == Reason::Unknown
                || is_transport(a) && is_transport(b)
        }
        _ => true,
    }
}

/// Reasons by which one dead path can show on two sessions.
fn is_transport(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::HoldTimerExpired
            | Reason::SendHoldExpired
            | Reason::TcpClosed
            | Reason::TcpReset
            | Reason::BfdDown
            | Reason::LinkDown
            | Reason::NeighborUnreachable
            | Reason::AddressLost
            | Reason::NexthopLost
    )
}

const LINK: &[Kind] = &[LinkFlap, LinkCarrierLost, LinkAdminDown, LinkRemoved];
const SESSION: &[Kind] = &[SessionDown, SessionFlap, SessionRestarted, SessionMaxPrefix];
const BFD: &[Kind] = &[BfdDown, BfdFlap];
const KERNEL_ROUTES: &[Kind] = &[
    RouteSilentLoss,
    RouteWithdrawn,
    RouteDefaultLost,
    RouteDefaultFlap,
    RouteNexthopChurn,
    RouteEcmpShrunk,
    RouteFlap,
    RouteShadowed,
    RouteForeignDelete,
    RouteReassertStorm,
];
const PREFIXES: &[Kind] = &[
    PrefixMassWithdrawal,
    PrefixFlap,
    PrefixPathOscillation,
    PrefixAttributeOscillation,
    PrefixPathHunting,
    PrefixMoved,
    PrefixMoveFlap,
    PrefixSurge,
    PrefixNexthopUnresolved,
    PrefixBlackholed,
    PrefixDuplicateUpdates,
    PrefixTableTransfer,
];

/// The table.
pub const RULES: &[Rule] = &[
    // --- our own feeds first: what they do wrong is nobody's fault ---
    Rule {
        name: "feed-restart-repeats-state",
        causes: &[FeedRestarted, FeedGap],
        effects: &[PrefixTableTransfer, PrefixDuplicateUpdates, PrefixSurge],
        join: Join::Feed,
        window: Window::After(secs(60)),
        grade: Grade::Certain,
        when: always,
        because: "a BMP feed that connects again repeats every route it knows (RFC 7854 §3.3)",
        absent: "",
    },
    // --- link ---
    Rule {
        name: "link-down-drops-session",
        causes: LINK,
        effects: SESSION,
        join: Join::Interface,
        window: Window::Reach {
            least: secs(3),
            plus: secs(5),
        },
        grade: Grade::Certain,
        when: path_reason,
        because: "a session whose packets leave through a dead link ends at once (fast external fail-over) or when its hold time runs out (C2, C3)",
        absent: "the link carrying the session kept its carrier and was not set down",
    },
    Rule {
        name: "link-down-drops-bfd",
        causes: LINK,
        effects: BFD,
        join: Join::Interface,
        window: Window::Reach {
            least: secs(1),
            plus: secs(1),
        },
        grade: Grade::Certain,
        when: always,
        because: "BFD packets no longer arrive, so the detection time runs out (C1, RFC 5880 §6.8.4)",
        absent: "the link carrying BFD kept its carrier and was not set down",
    },
    Rule {
        name: "link-down-removes-address",
        causes: LINK,
        effects: &[AddressRemoved, AddressFlap],
        join: Join::Interface,
        window: Window::After(secs(2)),
        grade: Grade::Certain,
        when: always,
        because: "the kernel removes IPv6 addresses of a link that goes down, and daemons remove theirs (L10)",
        absent: "",
    },
    Rule {
        name: "link-down-loses-routes",
        causes: LINK,
        effects: KERNEL_ROUTES,
        join: Join::Interface,
        window: Window::Reach {
            least: secs(3),
            plus: secs(2),
        },
        grade: Grade::Certain,
        when: always,
        because: "routes over a dead link are removed by the kernel, silently for IPv4, or moved away by their owner (C9, L10)",
        absent: "the interface kept its carrier and was not set down",
    },
    Rule {
        name: "link-down-loses-neighbor",
        causes: LINK,
        effects: &[NeighborUnreachable, NeighborFlap],
        join: Join::Interface,
        window: Window::After(secs(30)),
        grade: Grade::Certain,
        when: always,
        because: "neighbors behind a dead link do not answer (RFC 4861 §7.3)",
        absent: "",
    },
    Rule {
        name: "link-flap-restarts-dhcp",
        causes: LINK,
        effects: &[
            DhcpRequestStorm,
            DhcpClientChurn,
            DhcpLeaseExpired,
            DhcpServerUnresponsive,
        ],
        join: Join::Interface,
        window: Window::After(secs(30)),
        grade: Grade::Likely,
        when: always,
        because: "clients ask again when their link comes back, and cannot renew while it is down (C29)",
        absent: "",
    },
    // --- path beyond the link, neighbors ---
    Rule {
        name: "path-loss-expires-session",
        causes: &[PathLoss],
        effects: &[
            SessionDown,
            SessionFlap,
            BfdDown,
            BfdFlap,
            NeighborUnreachable,
            NeighborFlap,
        ],
        join: Join::Neighbor,
        window: Window::Reach {
            least: secs(3),
            plus: secs(5),
        },
        grade: Grade::Certain,
        when: path_reason,
        because: "packets to the neighbor are lost beyond the local link, so its timers run out (C3)",
        absent: "",
    },
    Rule {
        name: "bfd-down-drops-session",
        causes: BFD,
        effects: SESSION,
        join: Join::Peer,
        window: Window::After(secs(3)),
        grade: Grade::Certain,
        when: bfd_reason,
        because: "a speaker that relies on BFD closes the session when BFD goes down (C4, RFC 5882 §4.3, RFC 9384)",
        absent: "BFD stayed up",
    },
    Rule {
        name: "neighbor-unreachable-drops-session",
        causes: &[
            NeighborUnreachable,
            NeighborFlap,
            NeighborMacFlip,
            AddressConflict,
        ],
        effects: &[SessionDown, SessionFlap, BfdDown, BfdFlap],
        join: Join::Peer,
        window: Window::Reach {
            least: secs(10),
            plus: secs(5),
        },
        grade: Grade::Likely,
        when: path_reason,
        because: "packets to the peer go nowhere or to the wrong host, so its timers run out (L13, L14)",
        absent: "",
    },
    Rule {
        name: "conflict-flips-neighbor",
        causes: &[AddressConflict, NeighborMacFlip],
        effects: &[
            NeighborMacFlip,
            AddressConflict,
            NeighborUnreachable,
            NeighborFlap,
        ],
        join: Join::Host,
        window: Window::After(secs(30)),
        grade: Grade::Certain,
        when: always,
        because: "two link-layer addresses claim one IP address, so caches alternate between them (A1)",
        absent: "",
    },
    // --- DHCP ---
    Rule {
        name: "conflict-makes-clients-decline",
        causes: &[AddressConflict],
        effects: &[DhcpDeclineLoop, DhcpDuplicateLease],
        join: Join::Host,
        window: Window::After(secs(15)),
        grade: Grade::Certain,
        when: always,
        because: "a client that finds its offered address in use declines it (L3, RFC 2131 §4.4.1, RFC 5227)",
        absent: "",
    },
    Rule {
        name: "decline-shows-conflict",
        causes: &[DhcpDeclineLoop],
        effects: &[
            AddressConflict,
            AddressMoved,
            DhcpPoolExhausted,
            DhcpServerUnresponsive,
            DhcpRequestStorm,
        ],
        join: Join::Host,
        window: Window::After(secs(60)),
        grade: Grade::Likely,
        when: always,
        because: "each declined address is in use by somebody and is lost to the pool until its probation ends (L3)",
        absent: "",
    },
    Rule {
        name: "duplicate-lease-conflicts",
        causes: &[DhcpDuplicateLease, DhcpIdentityConflict],
        effects: &[
            AddressConflict,
            NeighborMacFlip,
            DhcpNakStorm,
            DhcpDeclineLoop,
            DhcpDuplicateLease,
        ],
        join: Join::Host,
        window: Window::After(secs(600)),
        grade: Grade::Certain,
        when: always,
        because: "two clients that hold one address both answer for it (C30, L14)",
        absent: "",
    },
    Rule {
        name: "starvation-empties-pool",
        causes: &[DhcpStarvation, DhcpBootStorm],
        effects: &[
            DhcpPoolExhausted,
            DhcpServerUnresponsive,
            DhcpRequestStorm,
            DhcpNakStorm,
            DhcpIdentityConflict,
        ],
        join: Join::Interface,
        window: Window::After(secs(120)),
        grade: Grade::Likely,
        when: always,
        because: "every address that is taken in an invented name is missing from the pool",
        absent: "",
    },
    Rule {
        name: "pool-exhausted-silences-server",
        causes: &[DhcpPoolExhausted],
        effects: &[DhcpServerUnresponsive, DhcpRequestStorm, DhcpNakStorm],
        join: Join::Host,
        window: Window::After(secs(120)),
        grade: Grade::Likely,
        when: always,
        because: "a server without free addresses does not answer new clients",
        absent: "",
    },
    Rule {
        name: "rogue-server-misleads-clients",
        causes: &[DhcpRogueServer],
        effects: &[
            DhcpRouteInjection,
            DhcpGatewayChanged,
            DhcpNakStorm,
            DhcpDuplicateLease,
            AddressConflict,
            DhcpServerUnresponsive,
        ],
        join: Join::Host,
        window: Window::After(secs(120)),
        grade: Grade::Certain,
        when: always,
        because: "the server that sent this is one that nobody expected (C31)",
        absent: "",
    },
    Rule {
        name: "route-injection-by-server",
        causes: &[DhcpRouteInjection],
        effects: &[DhcpRogueServer, DhcpGatewayChanged],
        join: Join::Host,
        window: Window::After(secs(120)),
        grade: Grade::Likely,
        when: always,
        because: "the injected routes come from this server",
        absent: "",
    },
    Rule {
        name: "unanswered-renewal-expires-lease",
        causes: &[DhcpServerUnresponsive],
        effects: &[DhcpLeaseExpired, DhcpRequestStorm],
        join: Join::Host,
        window: Window::Reach {
            least: secs(60),
            plus: secs(60),
        },
        grade: Grade::Certain,
        when: always,
        because: "a client whose renewals go unanswered must give up its address at the end of the lease (RFC 2131 §4.4.5)",
        absent: "",
    },
    Rule {
        name: "lease-end-removes-address",
        causes: &[DhcpLeaseExpired, DhcpNakStorm, DhcpServerUnresponsive],
        effects: &[AddressRemoved, AddressFlap],
        join: Join::Host,
        window: Window::Reach {
            least: secs(10),
            plus: secs(60),
        },
        grade: Grade::Certain,
        when: always,
        because: "the client or the kernel removes the address when its lease ends (C27, L4)",
        absent: "no lease ended",
    },
    Rule {
        name: "dhcp-changes-default-route",
        causes: &[
            DhcpGatewayChanged,
            DhcpRouteInjection,
            DhcpRogueServer,
            DhcpClientChurn,
        ],
        effects: &[
            RouteDefaultFlap,
            RouteDefaultLost,
            RouteNexthopChurn,
            RouteFlap,
            RouteWithdrawn,
            RouteShadowed,
        ],
        join: Join::Gateway,
        window: Window::After(secs(10)),
        grade: Grade::Likely,
        when: always,
        because: "the client installs the routes that DHCP hands out (C26, L2)",
        absent: "DHCP gave no other gateway or routes",
    },
    Rule {
        name: "dhcp-routes-shadow",
        causes: &[DhcpRouteInjection],
        effects: &[RouteShadowed, PrefixBlackholed, RouteOwnershipWar],
        join: Join::Prefix,
        window: Window::After(secs(10)),
        grade: Grade::Certain,
        when: always,
        because: "a more specific route from DHCP takes the traffic of the covered one (RFC 3442, CVE-2024-3661)",
        absent: "",
    },
    Rule {
        name: "same-sender-breaks-dhcp",
        causes: &[
            DhcpMalformed,
            DhcpStarvation,
            DhcpRelaySpoofed,
            DhcpHostileText,
            DhcpRogueServer,
        ],
        effects: &[
            DhcpMalformed,
            DhcpHostileText,
            DhcpRelaySpoofed,
            DhcpReleaseSpoofed,
            DhcpRequestStorm,
            DhcpIdentityConflict,
            DhcpClientChurn,
            DhcpServerUnresponsive,
        ],
        join: Join::Host,
        window: Window::After(secs(60)),
        grade: Grade::Likely,
        when: |cause, effect| cause.kind != effect.kind,
        because: "one sender does both",
        absent: "",
    },
    // --- router advertisements ---
    Rule {
        name: "ra-changes-default-route",
        causes: &[
            RaSpoofed,
            RaRogueRouter,
            RaFlap,
            RaRouterWithdrawn,
            RaExpired,
            RaInconsistent,
        ],
        effects: &[
            RouteDefaultFlap,
            RouteDefaultLost,
            RouteFlap,
            RouteWithdrawn,
            RouteNexthopChurn,
            AddressRemoved,
            AddressFlap,
        ],
        join: Join::Gateway,
        window: Window::After(secs(2)),
        grade: Grade::Certain,
        when: always,
        because: "a router lifetime of 0 deletes the default route at once, the next advertisement brings it back (C32, L6b, RFC 4861 §6.3.4)",
        absent: "no router withdrew itself",
    },
    Rule {
        name: "ra-expiry-is-collected",
        causes: &[RaExpired],
        effects: &[RouteDefaultLost, RouteDefaultFlap, RouteWithdrawn],
        join: Join::Gateway,
        window: Window::After(secs(60)),
        grade: Grade::Certain,
        when: always,
        because: "an expired default route stays in the kernel's table until its next garbage collection, up to 60 s later (RFC 4861 §6.3.5)",
        absent: "",
    },
    Rule {
        name: "ra-one-sender",
        causes: &[RaSpoofed, RaRogueRouter, RaFlood],
        effects: &[
            RaFlap,
            RaRouterWithdrawn,
            RaInconsistent,
            RaRogueRouter,
            RaSpoofed,
            RaFlood,
            NeighborMacFlip,
            AddressConflict,
        ],
        join: Join::Host,
        window: Window::After(secs(60)),
        grade: Grade::Likely,
        when: |cause, effect| cause.kind != effect.kind,
        because: "the same advertisements show both",
        absent: "",
    },
    // --- addresses ---
    Rule {
        name: "address-loss-drops-session",
        causes: &[
            AddressRemoved,
            AddressFlap,
            AddressMoved,
            AddressConflict,
            AddressDadFailed,
        ],
        effects: SESSION,
        join: Join::Peer,
        window: Window::Reach {
            least: secs(3),
            plus: secs(5),
        },
        grade: Grade::Certain,
        when: path_reason,
        because: "a session whose local address is gone ends at once or when its hold time runs out (L11)",
        absent: "the local address stayed",
    },
    Rule {
        name: "address-loss-loses-routes",
        causes: &[AddressRemoved, AddressFlap],
        effects: KERNEL_ROUTES,
        join: Join::Interface,
        window: Window::After(secs(3)),
        grade: Grade::Certain,
        when: always,
        because: "with the last address of an interface the kernel drops its routes, silently for those without preferred source (C27, L4)",
        absent: "no address was removed",
    },
    Rule {
        name: "address-loss-withdraws-prefix",
        causes: &[AddressRemoved, AddressFlap, AddressMoved],
        effects: &[
            PrefixFlap,
            PrefixMoved,
            PrefixMoveFlap,
            PrefixMassWithdrawal,
        ],
        join: Join::Prefix,
        window: Window::After(secs(5)),
        grade: Grade::Likely,
        when: always,
        because: "a daemon withdraws the prefix of an address that is gone (C23, C38)",
        absent: "",
    },
    // --- sessions ---
    Rule {
        name: "same-neighbor-other-session",
        causes: SESSION,
        effects: SESSION,
        join: Join::Neighbor,
        window: Window::Reach {
            least: secs(5),
            plus: secs(5),
        },
        grade: Grade::Likely,
        when: same_reason,
        because: "IPv4 and IPv6 sessions to one neighbor, or both ends of one session, show one failure",
        absent: "",
    },
    Rule {
        name: "same-neighbor-other-bfd",
        causes: BFD,
        effects: BFD,
        join: Join::Neighbor,
        window: Window::Reach {
            least: secs(1),
            plus: secs(2),
        },
        grade: Grade::Likely,
        when: same_reason,
        because: "BFD sessions to one neighbor show one failure",
        absent: "",
    },
    Rule {
        name: "speaker-restart-drops-sessions",
        causes: &[SessionSpeakerRestarted],
        effects: &[
            SessionDown,
            SessionFlap,
            SessionRestarted,
            PrefixMassWithdrawal,
            PrefixTableTransfer,
        ],
        join: Join::Neighbor,
        window: Window::After(secs(10)),
        grade: Grade::Certain,
        when: always,
        because: "a speaker that restarts loses all its sessions",
        absent: "",
    },
    Rule {
        name: "session-down-withdraws-prefixes",
        causes: SESSION,
        effects: PREFIXES,
        join: Join::AffectedPrefix,
        window: Window::After(secs(35)),
        grade: Grade::Certain,
        when: always,
        because: "every prefix learned over a session is withdrawn with it and sent again when it returns (C5, RFC 4271 §6.7)",
        absent: "the session stayed up",
    },
    Rule {
        name: "session-down-resends-table",
        causes: SESSION,
        effects: &[
            PrefixTableTransfer,
            PrefixDuplicateUpdates,
            PrefixSurge,
            SessionEmpty,
            SessionOpenRejected,
            SessionNearMiss,
            SessionStalled,
        ],
        join: Join::Peer,
        window: Window::After(secs(60)),
        grade: Grade::Certain,
        when: always,
        because: "a session that comes back sends its whole table (RFC 4271 §9.4)",
        absent: "",
    },
    Rule {
        name: "session-down-moves-kernel-routes",
        causes: SESSION,
        effects: KERNEL_ROUTES,
        join: Join::Gateway,
        window: Window::After(secs(5)),
        grade: Grade::Certain,
        when: always,
        because: "the daemon takes the routes of a lost session out of the kernel or moves them to another next hop (C7)",
        absent: "no BGP session went down",
    },
    // --- prefixes ---
    Rule {
        name: "same-upstream-failure",
        causes: &[PrefixMassWithdrawal],
        effects: &[
            PrefixMassWithdrawal,
            PrefixFlap,
            PrefixPathHunting,
            PrefixPathOscillation,
            PrefixSurge,
            PrefixMoved,
        ],
        join: Join::AffectedPrefix,
        window: Window::After(secs(35)),
        grade: Grade::Likely,
        when: always,
        because: "the same prefixes went on several sessions at once: the failure lies where their paths meet (Feldmann et al., SIGCOMM 2004)",
        absent: "",
    },
    Rule {
        name: "withdrawal-removes-kernel-routes",
        causes: &[
            PrefixMassWithdrawal,
            PrefixFlap,
            PrefixPathOscillation,
            PrefixMoved,
            PrefixMoveFlap,
            PrefixOriginConflict,
        ],
        effects: KERNEL_ROUTES,
        join: Join::AffectedPrefix,
        window: Window::After(secs(3)),
        grade: Grade::Certain,
        when: always,
        because: "what BGP withdraws or moves the daemon takes out of the kernel or moves there (C7)",
        absent: "BGP did not withdraw it",
    },
    Rule {
        name: "origin-conflict-moves-paths",
        causes: &[PrefixOriginConflict],
        effects: &[
            PrefixPathOscillation,
            PrefixFlap,
            PrefixMoved,
            PrefixMoveFlap,
            PrefixPathHunting,
            PrefixAttributeOscillation,
        ],
        join: Join::AffectedPrefix,
        window: Window::After(secs(35)),
        grade: Grade::Likely,
        when: always,
        because: "routers change their path when another origin appears or goes",
        absent: "",
    },
    Rule {
        name: "flap-hunts-paths",
        causes: &[PrefixFlap, PrefixMoveFlap],
        effects: &[
            PrefixPathHunting,
            PrefixPathOscillation,
            PrefixAttributeOscillation,
            PrefixMoved,
            PrefixFlap,
        ],
        join: Join::AffectedPrefix,
        window: Window::After(secs(180)),
        grade: Grade::Likely,
        when: always,
        because: "each withdrawal makes the network try other paths before it gives up (RFC 4271 §9.1; convergence is bounded by MRAI)",
        absent: "",
    },
    Rule {
        name: "oscillation-shows-elsewhere",
        causes: &[PrefixPathOscillation, PrefixAttributeOscillation],
        effects: &[
            PrefixPathOscillation,
            PrefixAttributeOscillation,
            PrefixDuplicateUpdates,
        ],
        join: Join::AffectedPrefix,
        window: Window::After(secs(35)),
        grade: Grade::Likely,
        when: always,
        because: "the same changes are passed on by other speakers, some stripped of what changed",
        absent: "",
    },
    // --- RPKI ---
    Rule {
        name: "vrp-change-invalidates",
        causes: &[RpkiVrpChanged],
        effects: &[PrefixRpkiInvalid],
        join: Join::AffectedPrefix,
        window: Window::After(secs(5)),
        grade: Grade::Certain,
        when: |cause, effect| {
            effect.severity > crate::detect::Severity::Info
                || cause.severity == crate::detect::Severity::Info
        },
        because: "a route's state follows from the ROAs alone (RFC 6811 §2): they changed, it did not",
        absent: "",
    },
    Rule {
        name: "vrp-change-withdraws",
        causes: &[RpkiVrpChanged],
        effects: &[
            PrefixMassWithdrawal,
            PrefixFlap,
            PrefixMoved,
            PrefixMoveFlap,
            PrefixPathHunting,
            PrefixPathOscillation,
        ],
        join: Join::AffectedPrefix,
        window: Window::After(secs(120)),
        grade: Grade::Likely,
        when: always,
        because: "routers that validate judge their routes again and drop what is invalid (RFC 6811 §5, RFC 7115; C34)",
        absent: "",
    },
    Rule {
        name: "vrp-change-removes-kernel-routes",
        causes: &[RpkiVrpChanged],
        effects: KERNEL_ROUTES,
        join: Join::AffectedPrefix,
        window: Window::After(secs(125)),
        grade: Grade::Likely,
        when: always,
        because: "what a validating router drops leaves the kernels behind it (C34, C7)",
        absent: "",
    },
    Rule {
        name: "cache-loss-changes-states",
        causes: &[RpkiCacheLost],
        effects: &[
            PrefixMassWithdrawal,
            PrefixFlap,
            PrefixMoved,
            RpkiVrpChanged,
        ],
        join: Join::AffectedPrefix,
        window: Window::After(secs(120)),
        grade: Grade::Likely,
        when: always,
        because: "without its cache a router knows no ROAs: what was valid is not-found, and policies that want valid routes drop it (C35)",
        absent: "",
    },
    Rule {
        name: "conflict-is-invalid",
        causes: &[PrefixOriginConflict, PrefixMoreSpecific, PrefixLeak],
        effects: &[PrefixRpkiInvalid],
        join: Join::AffectedPrefix,
        window: Window::After(secs(5)),
        grade: Grade::Certain,
        when: |cause, effect| origin_of(cause).is_none() || origin_of(cause) == origin_of(effect),
        because: "the announcement that conflicts is the one that the ROAs forbid",
        absent: "",
    },
    // --- kernel routes ---
    Rule {
        name: "route-loss-takes-default",
        causes: &[
            RouteSilentLoss,
            RouteWithdrawn,
            RouteForeignDelete,
            RouteFlap,
            RouteOwnershipWar,
        ],
        effects: &[
            RouteDefaultLost,
            RouteDefaultFlap,
            RouteWithdrawn,
            RouteSilentLoss,
            RouteEcmpShrunk,
            RouteNexthopChurn,
            RouteFlap,
        ],
        join: Join::Interface,
        window: Window::After(millis(1500)),
        grade: Grade::Likely,
        when: always,
        because: "routes of one interface went together",
        absent: "",
    },
    Rule {
        name: "route-loss-drops-session",
        causes: &[
            RouteSilentLoss,
            RouteWithdrawn,
            RouteDefaultLost,
            RouteFlap,
            RouteDefaultFlap,
            RouteShadowed,
        ],
        effects: &[SessionDown, SessionFlap],
        join: Join::Gateway,
        window: Window::Reach {
            least: secs(5),
            plus: secs(5),
        },
        grade: Grade::Likely,
        when: path_reason,
        because: "a session to a peer that is no longer reachable by a route ends when its hold time runs out (C10)",
        absent: "",
    },
    Rule {
        name: "kernel-route-change-announced",
        causes: &[RouteFlap, RouteWithdrawn, RouteSilentLoss],
        effects: &[PrefixFlap, PrefixMassWithdrawal, PrefixMoved],
        join: Join::AffectedPrefix,
        window: Window::After(secs(5)),
        grade: Grade::Likely,
        when: |cause, effect| cause.first < effect.first,
        because: "a kernel route that is redistributed into BGP is announced and withdrawn with it",
        absent: "",
    },
    Rule {
        name: "one-change-many-views",
        causes: KERNEL_ROUTES,
        effects: KERNEL_ROUTES,
        join: Join::AffectedPrefix,
        window: Window::After(secs(2)),
        grade: Grade::Likely,
        when: |cause, effect| cause.kind != effect.kind,
        because: "two views of the same routes' changes",
        absent: "",
    },
];
