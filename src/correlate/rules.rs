//! The cause/effect table: every causal link that flapscope knows, one row each. `explain`, the docs and the correlator read this table.
//!
//! A row says which kinds cause which, what both must have in common, in which window the effect may begin, how sure that makes us,
//! and why. Windows come from negotiated timers where there are any ([`Window::Reach`]). Order matters: of two rows that explain an
//! effect equally well the earlier one wins. Numbers like C5 or L4 name the rows of the project's survey of causal links.

use std::time::Duration;

use super::denial::Look;
pub use super::rule::{Condition, Grade, Join, Rule, Window};
use crate::detect::Kind;
use crate::detect::Kind::*;
use crate::detect::finding::{Finding, Reason};
use crate::detect::subject::{Subject, Touch};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
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

/// A BFD session that a pause of some tenths of a second ended is up again after this: while it is down packets come once a second (RFC 5880
/// §6.8.3) and three of them are needed; BGP follows within its retry time.
const BRIEF_LOSS: Duration = secs(10);

/// Every loss was over within [`BRIEF_LOSS`]; one that lasts is none that tight settings make.
fn brief(loss: &Finding) -> bool {
    loss.occurrences
        .iter()
        .all(|o| o.until.is_some_and(|until| until.since(o.at) <= BRIEF_LOSS))
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

/// See [`path_reason`].
const NOT_ON_PURPOSE: Condition = Condition {
    name: "not-on-purpose",
    says: "nobody closed the session on purpose",
    holds: path_reason,
};
/// See [`bfd_reason`].
const BFD_FITS: Condition = Condition {
    name: "bfd-fits",
    says: "the session's end names BFD, or nothing that contradicts it",
    holds: bfd_reason,
};
/// See [`same_reason`].
const SAME_REASON: Condition = Condition {
    name: "same-reason",
    says: "both ended for the same reason",
    holds: same_reason,
};
/// The address is one end of the session; of a session whose own end nobody saw, any address of the peer's network may be.
const OWN_ADDRESS: Condition = Condition {
    name: "own-address",
    says: "the address is one end of the session",
    holds: |cause, effect| {
        let Some(ends) = &effect.session else {
            return true;
        };
        let unknown = ends.local.is_unspecified() || ends.remote.is_unspecified();
        let own = |touch: &Touch| matches!(touch, Touch::Address(addr) | Touch::Peer(addr) if *addr == ends.local || *addr == ends.remote);
        unknown || cause.touches.iter().any(own)
    },
};
/// All sessions of this host were closed at once, and this is one of them (or what remained of them).
const SPEAKER_IS_GONE: Condition = Condition {
    name: "speaker-is-gone",
    says: "the speaker of this host closed all its sessions and is not back",
    holds: |cause, effect| {
        cause.reason == Some(Reason::SpeakerGone) && effect.reason != Some(Reason::SpeakerGone)
    },
};
/// See [`brief`].
const BRIEF: Condition = Condition {
    name: "brief",
    says: "each loss was over within seconds",
    holds: |_, effect| brief(effect),
};
const OTHER_KIND: Condition = Condition {
    name: "other-kind",
    says: "two different things are seen",
    holds: |cause, effect| cause.kind != effect.kind,
};
const SAME_MACHINE: Condition = Condition {
    name: "same-machine",
    says: "the leases are one machine's, under many identities",
    holds: |cause, effect| {
        let its = |s: &Subject| matches!(s, Subject::Client(_)) && effect.subjects.contains(s);
        effect.reason == Some(Reason::ManyIdentities) && cause.subjects.iter().any(its)
    },
};
const STILL_AWAY: Condition = Condition {
    name: "still-away",
    says: "the cache is not back yet",
    holds: |cause, effect| cause.ended.is_none_or(|back| effect.first < back),
};
const EARLIER: Condition = Condition {
    name: "earlier",
    says: "the cause really came first",
    holds: |cause, effect| cause.first < effect.first,
};

/// A session that is back carries its routes again: what goes later, goes by itself. FRR collects changes for up to a second before it tells
/// them (its advertisement interval), and so do those behind it.
const STILL_TELLING: Duration = secs(2);

/// Most of the effect happened while the cause lasted, or right behind it.
fn while_it_lasted(cause: &Finding, effect: &Finding) -> bool {
    let within = |at: crate::event::Timestamp| {
        cause.occurrences.iter().any(|o| {
            o.at <= at + super::join::lead(cause)
                && o.until.is_none_or(|until| at <= until + STILL_TELLING)
        })
    };
    let hits = effect.occurrences.iter().filter(|o| within(o.at)).count();
    hits * 4 >= effect.occurrences.len() * 3
}
/// See [`while_it_lasted`].
const WHILE_AWAY: Condition = Condition {
    name: "while-away",
    says: "most of it happened while the session was away, or right after it came back",
    holds: while_it_lasted,
};

/// The receiver kept the routes of a lost peer, to flush them later.
const KEPT_ROUTES: Condition = Condition {
    name: "kept-routes",
    says: "the routes were kept for a graceful restart",
    holds: |cause, _| cause.keeps.is_some(),
};
/// Who removed the one removed the other.
const SAME_ACTOR: Condition = Condition {
    name: "same-actor",
    says: "one process did both",
    holds: |cause, effect| cause.actor.is_some() && cause.actor == effect.actor,
};
/// An access server's routes are its clients' addresses.
const HOST_ROUTES: Condition = Condition {
    name: "host-routes",
    says: "the routes are single addresses",
    holds: |_, effect| {
        let mut prefixes = super::join::prefixes(effect).peekable();
        prefixes.peek().is_some() && prefixes.all(|prefix| prefix.is_host())
    },
};

/// A router took lifetimes of a prefix back, and the address is of that prefix.
const IN_CUT_PREFIX: Condition = Condition {
    name: "in-cut-prefix",
    says: "the address belongs to the prefix whose lifetimes were cut",
    holds: |cause, effect| {
        let nets = cause.touches.iter().filter_map(|touch| match touch {
            Touch::OnLink(net) => Some(*net),
            _ => None,
        });
        let within = |net: crate::event::Prefix| {
            effect
                .touches
                .iter()
                .any(|touch| matches!(touch, Touch::Address(addr) if net.contains(*addr)))
        };
        cause.affected.routes.iter().next().is_some() && nets.into_iter().any(within)
    },
};
/// What a router takes back was delegated to it.
const OF_DELEGATION: Condition = Condition {
    name: "of-delegation",
    says: "the prefix whose lifetimes were cut is part of the delegated one",
    holds: |cause, effect| {
        cause.touches.iter().any(|touch| match touch {
            Touch::Prefix(delegated) => {
                !delegated.is_default()
                    && effect
                        .affected
                        .routes
                        .iter()
                        .any(|cut| delegated.covers(cut))
            }
            _ => false,
        })
    },
};

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
    RouteReassertStorm,
];
/// Two writers of one table, and what one of them does to the other's entries.
const WRITERS: &[Kind] = &[RouteOwnershipWar, RouteReassertStorm, RouteForeignDelete];
/// Announcements that should not exist; one announcement can be several of them.
const WRONG: &[Kind] = &[
    PrefixOriginConflict,
    PrefixRpkiInvalid,
    PrefixMoreSpecific,
    PrefixLeak,
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
        when: &[],
        because: "a BMP feed that connects again repeats every route it knows (RFC 7854 §3.3)",
        absent: None,
        survey: &["C46"],
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
        when: &[NOT_ON_PURPOSE],
        because: "a session whose packets leave through a dead link ends at once (fast external fail-over) or when its hold time runs out",
        absent: Some(Look::Carrier),
        survey: &["C2", "C3", "L11"],
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
        when: &[],
        because: "BFD packets no longer arrive, so the detection time runs out (RFC 5880 §6.8.4)",
        absent: Some(Look::Carrier),
        survey: &["C1"],
    },
    Rule {
        name: "link-down-removes-address",
        causes: LINK,
        effects: &[AddressRemoved, AddressFlap],
        join: Join::Interface,
        window: Window::After(secs(2)),
        grade: Grade::Certain,
        when: &[],
        because: "the kernel removes IPv6 addresses of a link that goes down, and daemons remove theirs",
        absent: None,
        survey: &["L10"],
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
        when: &[],
        because: "routes over a dead link are removed by the kernel, silently for IPv4, or moved away by their owner",
        absent: Some(Look::Carrier),
        survey: &["C9", "L10", "C44", "C11"],
    },
    Rule {
        name: "link-down-loses-neighbor",
        causes: LINK,
        effects: &[NeighborUnreachable, NeighborFlap],
        join: Join::Interface,
        window: Window::After(secs(30)),
        grade: Grade::Certain,
        when: &[],
        because: "neighbors behind a dead link do not answer (RFC 4861 §7.3)",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "link-flap-restarts-dhcp",
        causes: LINK,
        effects: &[
            DhcpRequestStorm,
            DhcpClientChurn,
            DhcpLeaseExpired,
            DhcpServerUnresponsive,
            DhcpRenewalUnanswered,
            DhcpNoServer,
        ],
        join: Join::Interface,
        window: Window::After(secs(30)),
        grade: Grade::Likely,
        when: &[],
        because: "clients ask again when their link comes back, and cannot renew while it is down",
        absent: None,
        survey: &["C29"],
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
        when: &[NOT_ON_PURPOSE],
        because: "packets to the neighbor are lost beyond the local link, so its timers run out",
        absent: None,
        survey: &["C3"],
    },
    Rule {
        name: "bfd-down-drops-session",
        causes: BFD,
        effects: SESSION,
        join: Join::Peer,
        window: Window::After(secs(3)),
        grade: Grade::Certain,
        when: &[BFD_FITS],
        because: "a speaker that relies on BFD closes the session when BFD goes down (RFC 5882 §4.3, RFC 9384)",
        absent: Some(Look::Bfd),
        survey: &["C4", "L11"],
    },
    Rule {
        name: "bfd-settings-too-tight",
        causes: &[BfdMismatch],
        effects: BFD,
        join: Join::Neighbor,
        window: Window::After(secs(600)),
        grade: Grade::Likely,
        when: &[BRIEF],
        because: "a detection time shorter than the path's jitter declares a living path dead (RFC 5880 §6.8.4)",
        absent: None,
        survey: &[],
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
        when: &[NOT_ON_PURPOSE],
        because: "packets to the peer go nowhere or to the wrong host, so its timers run out",
        absent: None,
        survey: &["L13", "L14"],
    },
    Rule {
        name: "conflict-flips-neighbor",
        causes: &[AddressConflict, AddressDadFailed],
        // A flipping cache is what a conflict looks like from one host, never its cause: hence a row of its own.
        effects: &[NeighborMacFlip, NeighborUnreachable, NeighborFlap],
        join: Join::Host,
        window: Window::After(secs(30)),
        grade: Grade::Certain,
        when: &[],
        because: "two link-layer addresses claim one IP address, so caches alternate between them",
        absent: None,
        survey: &["L14"],
    },
    Rule {
        name: "conflict-fails-detection",
        causes: &[AddressConflict, AddressDadFailed],
        effects: &[AddressConflict, AddressDadFailed],
        join: Join::Host,
        window: Window::After(secs(30)),
        grade: Grade::Certain,
        when: &[OTHER_KIND],
        because: "duplicate address detection fails because somebody else has the address (RFC 4862 §5.4.3)",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "flip-seen-twice",
        causes: &[NeighborMacFlip],
        effects: &[NeighborMacFlip, NeighborUnreachable, NeighborFlap],
        join: Join::Host,
        window: Window::After(secs(30)),
        grade: Grade::Certain,
        when: &[],
        because: "the wire and the kernel's cache show one change of a link-layer address",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "address-move-flips-neighbor",
        causes: &[AddressMoved, AddressRemoved, AddressFlap],
        effects: &[
            NeighborMacFlip,
            NeighborUnreachable,
            NeighborFlap,
            AddressConflict,
        ],
        join: Join::Host,
        window: Window::After(secs(30)),
        grade: Grade::Likely,
        when: &[],
        because: "an address that moves to another host changes the link-layer address behind it; neighbors see both until their caches follow",
        absent: None,
        survey: &["C23", "C41"],
    },
    Rule {
        name: "conflict-is-two-masters",
        causes: &[AddressConflict],
        effects: &[VrrpTwoMasters, VrrpFlap, VrrpMoved],
        join: Join::Host,
        window: Window::After(secs(30)),
        grade: Grade::Certain,
        when: &[],
        because: "the address is a virtual router's, and its two masters both hold it (RFC 9568 §6.4)",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "mastership-moves-address",
        causes: &[VrrpTwoMasters, VrrpFlap, VrrpMoved],
        effects: &[
            AddressMoved,
            AddressRemoved,
            AddressFlap,
            NeighborMacFlip,
            NeighborUnreachable,
            NeighborFlap,
        ],
        join: Join::Host,
        window: Window::After(secs(30)),
        grade: Grade::Certain,
        when: &[],
        because: "the master of a virtual router has its addresses, and who stops being it gives them up (RFC 9568 §6.4)",
        absent: None,
        survey: &["C23"],
    },
    Rule {
        name: "forged-frames-move-the-entry",
        causes: &[
            RaSpoofed,
            DhcpReleaseSpoofed,
            NeighborMacFlip,
            DhcpStarvation,
        ],
        effects: &[LinkMacMove],
        join: Join::Host,
        window: Window::After(secs(30)),
        grade: Grade::Certain,
        when: &[],
        because: "a frame with somebody else's source address makes the bridge learn that address at the forger's port",
        absent: None,
        survey: &[],
    },
    // --- DHCP ---
    Rule {
        name: "conflict-makes-clients-decline",
        causes: &[AddressConflict],
        effects: &[DhcpDeclineLoop, DhcpDuplicateLease, DhcpPoolExhausted],
        join: Join::Host,
        window: Window::After(secs(15)),
        grade: Grade::Certain,
        when: &[],
        because: "a client that finds its offered address in use declines it (RFC 2131 §4.4.1, RFC 5227)",
        absent: None,
        survey: &["L3"],
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
        when: &[],
        because: "each declined address is in use by somebody and is lost to the pool until its probation ends",
        absent: None,
        survey: &["L3"],
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
            LinkMacMove,
            DhcpClientChurn,
            DhcpRequestStorm,
        ],
        join: Join::Host,
        window: Window::After(secs(600)),
        grade: Grade::Certain,
        when: &[],
        because: "two clients that hold one address both answer for it",
        absent: None,
        survey: &["C30", "L14"],
    },
    Rule {
        name: "one-mac-two-machines",
        causes: &[LinkMacMove],
        effects: &[
            DhcpIdentityConflict,
            DhcpDuplicateLease,
            AddressConflict,
            NeighborMacFlip,
            NeighborUnreachable,
            NeighborFlap,
            DhcpRequestStorm,
            DhcpNakStorm,
            DhcpClientChurn,
        ],
        join: Join::Host,
        window: Window::After(secs(600)),
        grade: Grade::Certain,
        when: &[],
        because: "two machines with one MAC address are one client to a DHCP server, and frames for it reach whoever spoke last",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "starvation-empties-pool",
        causes: &[DhcpStarvation, DhcpBootStorm, DhcpFlood],
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
        when: &[],
        because: "every address that is taken in an invented name is missing from the pool",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "new-identities-empty-pool",
        causes: &[DhcpClientChurn],
        effects: &[DhcpPoolExhausted, DhcpIdentityConflict],
        join: Join::Host,
        window: Window::After(secs(120)),
        grade: Grade::Certain,
        when: &[SAME_MACHINE],
        because: "each time it starts the machine takes another lease under a new identity, and the old ones stay taken until they end",
        absent: None,
        survey: &["C29"],
    },
    Rule {
        name: "unserved-client-insists",
        causes: &[
            DhcpNoServer,
            DhcpClientRefused,
            DhcpOfferIgnored,
            DhcpRelayDeaf,
        ],
        effects: &[DhcpRequestStorm],
        join: Join::Host,
        window: Window::After(secs(130)),
        grade: Grade::Certain,
        when: &[],
        because: "a client that is not served asks again and again",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "pool-exhausted-silences-server",
        causes: &[DhcpPoolExhausted],
        effects: &[DhcpServerUnresponsive, DhcpRequestStorm, DhcpNakStorm],
        join: Join::Host,
        window: Window::After(secs(120)),
        grade: Grade::Likely,
        when: &[],
        because: "a server without free addresses does not answer new clients",
        absent: None,
        survey: &[],
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
        when: &[],
        because: "the server that sent this is one that nobody expected",
        absent: None,
        survey: &["C31"],
    },
    Rule {
        name: "route-injection-by-server",
        causes: &[DhcpRouteInjection],
        effects: &[DhcpRogueServer, DhcpGatewayChanged],
        join: Join::Host,
        window: Window::After(secs(120)),
        grade: Grade::Likely,
        when: &[],
        because: "the injected routes come from this server",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "unanswered-renewal-expires-lease",
        causes: &[DhcpServerUnresponsive, DhcpRenewalUnanswered],
        effects: &[DhcpLeaseExpired, DhcpRequestStorm],
        join: Join::Host,
        window: Window::Reach {
            least: secs(60),
            plus: secs(60),
        },
        grade: Grade::Certain,
        when: &[],
        because: "a client whose renewals go unanswered must give up its address at the end of the lease (RFC 2131 §4.4.5)",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "lease-end-removes-address",
        causes: &[
            DhcpLeaseExpired,
            DhcpNakStorm,
            DhcpServerUnresponsive,
            DhcpRenewalUnanswered,
        ],
        effects: &[AddressRemoved, AddressFlap],
        join: Join::Host,
        window: Window::Reach {
            least: secs(10),
            plus: secs(60),
        },
        grade: Grade::Certain,
        when: &[],
        because: "the client or the kernel removes the address when its lease ends",
        absent: Some(Look::Lease),
        survey: &["C27", "L4"],
    },
    Rule {
        name: "lease-end-drops-session",
        causes: &[DhcpLeaseExpired],
        effects: &[SessionDown, SessionFlap],
        join: Join::Peer,
        window: Window::Reach {
            least: secs(10),
            plus: secs(60),
        },
        grade: Grade::Likely,
        when: &[NOT_ON_PURPOSE],
        because: "the session's local address is a lease that ran out: its packets have no source any more",
        absent: None,
        survey: &[],
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
        when: &[],
        because: "the client installs the routes that DHCP hands out",
        absent: Some(Look::DhcpConfig),
        survey: &["C26", "L2"],
    },
    Rule {
        name: "dhcp-moves-address",
        causes: &[
            DhcpGatewayChanged,
            DhcpRogueServer,
            DhcpClientChurn,
            DhcpDuplicateLease,
            DhcpNakStorm,
        ],
        effects: &[AddressRemoved, AddressFlap],
        join: Join::Host,
        window: Window::After(secs(10)),
        grade: Grade::Likely,
        when: &[],
        because: "a client that is given another address takes the old one off its interface, with everything that hung on it",
        absent: None,
        survey: &["L5", "C28"],
    },
    Rule {
        name: "delegation-end-removes-route",
        causes: &[
            DhcpLeaseExpired,
            DhcpServerUnresponsive,
            DhcpClientChurn,
            DhcpReleaseSpoofed,
        ],
        effects: &[
            RouteWithdrawn,
            RouteFlap,
            RouteSilentLoss,
            PrefixFlap,
            PrefixMoved,
            PrefixBlackholed,
        ],
        join: Join::Prefix,
        window: Window::Reach {
            least: secs(30),
            plus: secs(60),
        },
        grade: Grade::Likely,
        when: &[],
        because: "the route of a delegated prefix or a leased address goes with its lease, and what announces it withdraws it (RFC 8987)",
        absent: None,
        survey: &["L9"],
    },
    Rule {
        name: "request-storm-churns-routes",
        causes: &[DhcpRequestStorm, DhcpStarvation, DhcpBootStorm],
        effects: &[RouteFlap, RouteWithdrawn, RouteReassertStorm],
        join: Join::Interface,
        window: Window::After(secs(5)),
        grade: Grade::Possible,
        when: &[HOST_ROUTES],
        because: "an access server makes and takes away a host route for each client session",
        absent: None,
        survey: &["C28"],
    },
    Rule {
        name: "dhcp-routes-shadow",
        causes: &[DhcpRouteInjection],
        effects: &[RouteShadowed, PrefixBlackholed, RouteOwnershipWar],
        join: Join::Prefix,
        window: Window::After(secs(10)),
        grade: Grade::Certain,
        when: &[],
        because: "a more specific route from DHCP takes the traffic of the covered one (RFC 3442, CVE-2024-3661)",
        absent: None,
        survey: &["L2"],
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
        when: &[OTHER_KIND],
        because: "one sender does both",
        absent: None,
        survey: &[],
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
        when: &[],
        because: "a router lifetime of 0 deletes the default route at once, the next advertisement brings it back (RFC 4861 §6.3.4)",
        absent: Some(Look::Router),
        survey: &["C32", "L6b"],
    },
    Rule {
        name: "ra-expiry-is-collected",
        causes: &[RaExpired],
        effects: &[RouteDefaultLost, RouteDefaultFlap, RouteWithdrawn],
        join: Join::Gateway,
        window: Window::After(secs(60)),
        grade: Grade::Certain,
        when: &[],
        because: "an expired default route stays in the kernel's table until its next garbage collection, up to 60 s later (RFC 4861 §6.3.5)",
        absent: None,
        survey: &["L6c"],
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
        when: &[OTHER_KIND],
        because: "the same advertisements show both",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "router-change-renumbers",
        causes: &[RaRouterWithdrawn, RaExpired, RaRogueRouter, RaSpoofed],
        effects: &[AddressRemoved, AddressFlap, AddressDadFailed],
        join: Join::Interface,
        window: Window::After(secs(10)),
        grade: Grade::Likely,
        when: &[],
        because: "addresses made from a router's prefixes go with its advertisement (RFC 4862 §5.5.4)",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "prefix-cut-removes-address",
        causes: &[RaInconsistent],
        effects: &[AddressRemoved, AddressFlap],
        join: Join::Everywhere,
        window: Window::Reach {
            least: secs(10),
            plus: secs(60),
        },
        grade: Grade::Certain,
        when: &[IN_CUT_PREFIX],
        because: "addresses made from a prefix end with the lifetimes that its router takes back, two hours later at most (RFC 4862 §5.5.3 (e), §5.5.4)",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "prefix-cut-removes-route",
        causes: &[RaInconsistent],
        effects: &[RouteWithdrawn, RouteFlap, RouteSilentLoss],
        join: Join::AffectedPrefix,
        window: Window::Reach {
            least: secs(10),
            plus: secs(60),
        },
        grade: Grade::Certain,
        when: &[],
        because: "the on-link route of a prefix ends with the lifetime that its router gives it (measured: at once, the two-hour rule is for addresses)",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "delegation-cuts-prefix",
        causes: &[
            DhcpLeaseExpired,
            DhcpServerUnresponsive,
            DhcpReleaseSpoofed,
            DhcpClientChurn,
        ],
        effects: &[RaInconsistent],
        join: Join::Everywhere,
        window: Window::Reach {
            least: secs(30),
            plus: secs(60),
        },
        grade: Grade::Likely,
        when: &[OF_DELEGATION],
        because: "a router stops advertising what is no longer delegated to it, and takes its lifetimes back (RFC 9096 §3.5, RFC 8415 §6.3)",
        absent: None,
        survey: &["L9"],
    },
    // --- the way to a peer ---
    Rule {
        name: "route-change-moves-peer-path",
        causes: &[
            RouteForeignDelete,
            RouteShadowed,
            RouteOwnershipWar,
            RouteWithdrawn,
            RouteFlap,
            PrefixMoreSpecific,
            PrefixLeak,
        ],
        effects: &[RoutePeerPath],
        join: Join::Gateway,
        window: Window::After(secs(5)),
        grade: Grade::Certain,
        when: &[],
        because: "packets follow the most specific route: without the connected one, or under a more specific one, they leave by another way",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "peer-path-drops-session",
        causes: &[RoutePeerPath],
        effects: &[
            SessionDown,
            SessionFlap,
            SessionRestarted,
            SessionUnestablished,
            BfdDown,
            BfdFlap,
        ],
        join: Join::Peer,
        window: Window::Reach {
            least: secs(5),
            plus: secs(10),
        },
        grade: Grade::Certain,
        when: &[NOT_ON_PURPOSE],
        because: "a session whose packets take another way than the link to the peer does not reach it, and its hold time runs out",
        absent: None,
        survey: &[],
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
        effects: &[
            SessionDown,
            SessionFlap,
            SessionRestarted,
            SessionMaxPrefix,
            SessionOpenRejected,
        ],
        join: Join::Peer,
        window: Window::Reach {
            least: secs(3),
            plus: secs(5),
        },
        grade: Grade::Certain,
        when: &[NOT_ON_PURPOSE, OWN_ADDRESS],
        because: "a session whose local address is gone ends at once or when its hold time runs out",
        absent: Some(Look::LocalAddress),
        survey: &["L11", "L15"],
    },
    Rule {
        name: "rule-loss-drops-session",
        causes: &[RouteRuleLost],
        effects: &[
            SessionDown,
            SessionFlap,
            SessionRestarted,
            SessionMaxPrefix,
            BfdDown,
            BfdFlap,
        ],
        join: Join::Peer,
        window: Window::Reach {
            least: secs(3),
            plus: secs(5),
        },
        grade: Grade::Likely,
        when: &[NOT_ON_PURPOSE],
        because: "a host whose rules do not lead into its table of local addresses takes no packets, and what was up ends with its hold or detection time",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "one-sweep-of-an-interface",
        causes: &[AddressRemoved, AddressFlap],
        effects: &[AddressRemoved, AddressFlap],
        join: Join::Interface,
        window: Window::After(secs(1)),
        grade: Grade::Likely,
        when: &[EARLIER],
        because: "what takes an interface's own address away takes the others along, and daemons that hold an address there give it up with it",
        absent: None,
        survey: &["C24"],
    },
    Rule {
        name: "address-loss-loses-routes",
        causes: &[AddressRemoved, AddressFlap],
        effects: KERNEL_ROUTES,
        join: Join::Interface,
        window: Window::After(secs(3)),
        grade: Grade::Certain,
        when: &[],
        because: "with the last address of an interface the kernel drops its routes, silently for those without preferred source",
        absent: Some(Look::InterfaceAddress),
        survey: &["C27", "L4", "L5b"],
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
        when: &[],
        because: "a daemon withdraws the prefix of an address that is gone",
        absent: None,
        survey: &["C23", "C38"],
    },
    Rule {
        name: "address-gone-but-announced",
        causes: &[AddressRemoved, AddressFlap, AddressMoved, AddressDadFailed],
        effects: &[PrefixZombie],
        join: Join::Prefix,
        window: Window::After(secs(60)),
        grade: Grade::Certain,
        when: &[],
        because: "the address is gone and its prefix is still announced: the traffic comes and finds nobody",
        absent: None,
        survey: &["C40"],
    },
    Rule {
        name: "withdrawn-address-is-claimed-elsewhere",
        causes: &[
            PrefixFlap,
            PrefixMoved,
            PrefixMoveFlap,
            PrefixMassWithdrawal,
        ],
        effects: &[AddressMoved, NeighborMacFlip],
        join: Join::Prefix,
        window: Window::After(secs(30)),
        grade: Grade::Likely,
        when: &[],
        because: "when one host withdraws an address another one takes it over and says so by ARP or neighbor discovery",
        absent: None,
        survey: &["L12", "C39"],
    },
    // --- BGP against the kernel ---
    Rule {
        name: "link-or-address-loss-hides-nexthop",
        causes: &[
            LinkFlap,
            LinkCarrierLost,
            LinkAdminDown,
            LinkRemoved,
            AddressRemoved,
            AddressFlap,
        ],
        effects: &[PrefixNexthopUnresolved],
        join: Join::Interface,
        window: Window::After(secs(5)),
        grade: Grade::Certain,
        when: &[],
        because: "the connected route to a next hop goes with its interface or address",
        absent: None,
        survey: &["C9", "C10", "L4"],
    },
    Rule {
        name: "route-loss-hides-nexthop",
        causes: &[
            RouteWithdrawn,
            RouteSilentLoss,
            RouteFlap,
            RouteForeignDelete,
            RouteOwnershipWar,
        ],
        effects: &[PrefixNexthopUnresolved],
        join: Join::Prefix,
        window: Window::After(secs(5)),
        grade: Grade::Certain,
        when: &[],
        because: "a BGP route is usable only while a route leads to its next hop (RFC 4271 §9.1.2.1)",
        absent: None,
        survey: &["C10"],
    },
    Rule {
        name: "unresolved-nexthop-removes-routes",
        causes: &[PrefixNexthopUnresolved],
        effects: KERNEL_ROUTES,
        join: Join::AffectedPrefix,
        window: Window::After(secs(3)),
        grade: Grade::Certain,
        when: &[],
        because: "next-hop tracking takes the routes of a next hop that cannot be reached out of the kernel",
        absent: None,
        survey: &["C10"],
    },
    Rule {
        name: "lost-route-is-not-restored",
        causes: &[
            RouteForeignDelete,
            RouteSilentLoss,
            RouteWithdrawn,
            RouteFlap,
            RouteOwnershipWar,
            FeedGap,
        ],
        effects: &[RouteFibMissing],
        join: Join::AffectedPrefix,
        window: Window::After(secs(10)),
        grade: Grade::Certain,
        when: &[],
        because: "a daemon that does not read the kernel's table again never notices that somebody took its route",
        absent: None,
        survey: &["C44"],
    },
    Rule {
        name: "withdrawn-route-stays",
        causes: &[
            SessionDown,
            SessionFlap,
            SessionRestarted,
            SessionSpeakerRestarted,
            PrefixMassWithdrawal,
            PrefixFlap,
        ],
        effects: &[RouteFibStale],
        join: Join::AffectedPrefix,
        window: Window::After(secs(300)),
        grade: Grade::Likely,
        when: &[],
        because: "the daemon did not take out of the kernel what BGP lost",
        absent: None,
        survey: &["C21", "C40"],
    },
    Rule {
        name: "lost-address-blackholes-prefix",
        causes: &[
            AddressRemoved,
            AddressFlap,
            AddressMoved,
            RouteWithdrawn,
            RouteSilentLoss,
            RouteForeignDelete,
            RouteFlap,
        ],
        effects: &[PrefixBlackholed],
        join: Join::Prefix,
        window: Window::After(secs(10)),
        grade: Grade::Certain,
        when: &[],
        because: "a host route that is still announced after its address or route is gone attracts packets that nobody takes",
        absent: None,
        survey: &["C39", "C40"],
    },
    Rule {
        name: "lost-announcement-leaves-address",
        causes: &[
            SessionDown,
            SessionFlap,
            PrefixMassWithdrawal,
            PrefixFlap,
            PrefixMoved,
            PrefixMoveFlap,
        ],
        effects: &[AddressUnannounced],
        join: Join::AffectedPrefix,
        window: Window::After(secs(60)),
        grade: Grade::Likely,
        when: &[],
        because: "the announcement went and the address stayed",
        absent: None,
        survey: &["C40"],
    },
    // --- sessions ---
    Rule {
        name: "full-size-loss-ends-session",
        causes: &[SessionMtuBlackhole],
        effects: &[SessionDown, SessionFlap, SessionStalled, SessionNearMiss],
        join: Join::Peer,
        window: Window::Reach {
            least: secs(10),
            plus: secs(10),
        },
        grade: Grade::Certain,
        when: &[NOT_ON_PURPOSE],
        because: "behind a segment that cannot pass no KEEPALIVE arrives either, so the hold time runs out (RFC 4271 §6.5, RFC 2923 §2.1)",
        absent: None,
        survey: &["C3"],
    },
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
        when: &[SAME_REASON],
        because: "IPv4 and IPv6 sessions to one neighbor, or both ends of one session, show one failure",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "same-settings-other-bfd",
        causes: &[BfdMismatch],
        effects: &[BfdMismatch],
        join: Join::Neighbor,
        window: Window::After(secs(600)),
        grade: Grade::Likely,
        when: &[],
        because: "the BFD sessions to one neighbor run with one profile",
        absent: None,
        survey: &[],
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
        when: &[SAME_REASON],
        because: "BFD sessions to one neighbor show one failure",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "speaker-gone-drops-sessions",
        causes: &[SessionDown],
        effects: &[SessionDown, SessionFlap, SessionRestarted, RouteFibStale],
        join: Join::Peer,
        window: Window::After(secs(5)),
        grade: Grade::Certain,
        when: &[SPEAKER_IS_GONE],
        because: "a process that ends takes all its sessions along, and leaves behind in the kernel what nobody cleans up",
        absent: None,
        survey: &["C15", "C18"],
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
            BfdDown,
            BfdFlap,
            SessionEmpty,
        ],
        join: Join::Neighbor,
        window: Window::After(secs(10)),
        grade: Grade::Certain,
        when: &[],
        because: "a speaker that restarts loses all its sessions and the BFD sessions it keeps for them",
        absent: None,
        survey: &["C15", "C18", "C19"],
    },
    Rule {
        name: "session-down-withdraws-prefixes",
        causes: SESSION,
        effects: PREFIXES,
        join: Join::AffectedPrefix,
        window: Window::After(secs(35)),
        grade: Grade::Certain,
        when: &[WHILE_AWAY],
        because: "every prefix learned over a session is withdrawn with it and sent again when it returns (RFC 4271 §6.7)",
        absent: Some(Look::Session),
        survey: &["C5", "C13", "C14", "C18"],
    },
    Rule {
        name: "restart-gives-up",
        causes: &[SessionRestarted, SessionDown, SessionFlap],
        effects: &[
            PrefixMassWithdrawal,
            PrefixFlap,
            PrefixPathHunting,
            RouteWithdrawn,
            RouteNexthopChurn,
            RouteDefaultLost,
        ],
        join: Join::AffectedPrefix,
        window: Window::Kept { plus: secs(10) },
        grade: Grade::Certain,
        when: &[KEPT_ROUTES],
        because: "routes kept for a peer that restarts are flushed when its restart time ends without it (RFC 4724 §4.2)",
        absent: None,
        survey: &["C6", "C21"],
    },
    Rule {
        name: "session-down-resends-table",
        causes: SESSION,
        effects: &[PrefixTableTransfer, PrefixDuplicateUpdates, PrefixSurge],
        join: Join::Peer,
        window: Window::After(secs(60)),
        grade: Grade::Certain,
        when: &[],
        because: "a session that comes back sends its whole table (RFC 4271 §9.4)",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "session-comes-back-wrong",
        causes: SESSION,
        effects: &[
            SessionEmpty,
            SessionOpenRejected,
            SessionNearMiss,
            SessionStalled,
        ],
        join: Join::Peer,
        window: Window::After(secs(60)),
        grade: Grade::Certain,
        when: &[],
        because: "what was lost does not come back as it was: the new session is refused, stalls or brings less (RFC 4271 §6.2)",
        absent: None,
        survey: &["C22"],
    },
    Rule {
        name: "stalled-session-ends",
        causes: &[SessionStalled],
        effects: &[SessionDown, SessionFlap, SessionStalled, SessionEmpty],
        join: Join::Peer,
        window: Window::Reach {
            least: secs(60),
            plus: secs(60),
        },
        grade: Grade::Certain,
        when: &[NOT_ON_PURPOSE, OTHER_KIND],
        because: "a session whose data does not get through ends when the hold time or the send hold time runs out (RFC 9687)",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "session-down-moves-kernel-routes",
        causes: SESSION,
        effects: KERNEL_ROUTES,
        join: Join::Gateway,
        window: Window::After(secs(5)),
        grade: Grade::Certain,
        when: &[],
        because: "the daemon takes the routes of a lost session out of the kernel or moves them to another next hop",
        absent: Some(Look::Session),
        survey: &["C7"],
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
        when: &[],
        because: "the same prefixes went on several sessions at once: the failure lies where their paths meet (Feldmann et al., SIGCOMM 2004)",
        absent: None,
        survey: &["C11"],
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
        when: &[],
        because: "what BGP withdraws or moves the daemon takes out of the kernel or moves there",
        absent: Some(Look::Withdrawal),
        survey: &["C7", "C17", "C16"],
    },
    Rule {
        name: "neighbor-lost-unresolves-prefix",
        causes: &[NeighborUnreachable, NeighborFlap, RouteDefaultLost],
        effects: &[PrefixNexthopUnresolved, PrefixBlackholed],
        join: Join::Gateway,
        window: Window::Reach {
            least: secs(5),
            plus: secs(30),
        },
        grade: Grade::Certain,
        when: &[],
        because: "a next hop that does not answer, or to which no route leads, takes no packets",
        absent: None,
        survey: &["C10"],
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
        when: &[],
        because: "routers change their path when another origin appears or goes",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "one-announcement-many-faults",
        causes: WRONG,
        effects: WRONG,
        join: Join::Prefix,
        window: Window::After(secs(5)),
        grade: Grade::Likely,
        when: &[OTHER_KIND],
        because: "one announcement is wrong in more than one way",
        absent: None,
        survey: &[],
    },
    Rule {
        name: "vrp-change-turns-routes-invalid",
        causes: &[RpkiVrpChanged, RpkiCacheLost],
        effects: &[
            PrefixRpkiInvalid,
            PrefixMassWithdrawal,
            PrefixFlap,
            PrefixMoved,
            PrefixPathOscillation,
        ],
        join: Join::AffectedPrefix,
        window: Window::After(secs(120)),
        grade: Grade::Likely,
        when: &[],
        because: "routers judge every route again when the validated ROAs change, and drop what became invalid (RFC 6811 §4)",
        absent: None,
        survey: &["C35", "C36"],
    },
    Rule {
        name: "vrp-change-removes-kernel-routes",
        causes: &[RpkiVrpChanged, RpkiCacheLost],
        effects: KERNEL_ROUTES,
        join: Join::AffectedPrefix,
        window: Window::After(secs(125)),
        grade: Grade::Likely,
        when: &[],
        because: "what a validating router drops leaves the kernels behind it (RFC 6811 §4)",
        absent: None,
        survey: &["C35"],
    },
    Rule {
        name: "revalidation-resends-table",
        causes: &[RpkiVrpChanged, RpkiCacheLost],
        effects: &[
            PrefixTableTransfer,
            PrefixDuplicateUpdates,
            PrefixAttributeOscillation,
        ],
        join: Join::Everywhere,
        window: Window::After(secs(60)),
        grade: Grade::Possible,
        when: &[],
        because: "a router that validates anew may send its whole table again without having changed a route",
        absent: None,
        survey: &["C34"],
    },
    Rule {
        name: "cache-loss-changes-roas",
        causes: &[RpkiCacheLost],
        effects: &[RpkiVrpChanged],
        join: Join::Everywhere,
        window: Window::After(secs(7200)),
        grade: Grade::Likely,
        when: &[STILL_AWAY],
        because: "validated ROAs expire when their cache stays away (RFC 8210 §6: 7200 s by default)",
        absent: None,
        survey: &["C35"],
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
        when: &[],
        because: "each withdrawal makes the network try other paths before it gives up (RFC 4271 §9.1; convergence is bounded by MRAI)",
        absent: None,
        survey: &[],
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
        when: &[],
        because: "the same changes are passed on by other speakers, some stripped of what changed",
        absent: None,
        survey: &[],
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
        when: &[],
        because: "routes of one interface went together",
        absent: None,
        survey: &["L8"],
    },
    Rule {
        name: "writers-fight-over-routes",
        causes: WRITERS,
        effects: &[
            RouteFlap,
            RouteWithdrawn,
            RouteNexthopChurn,
            RouteDefaultLost,
            RouteDefaultFlap,
            RouteReassertStorm,
        ],
        join: Join::AffectedPrefix,
        window: Window::After(secs(10)),
        grade: Grade::Certain,
        when: &[OTHER_KIND],
        because: "each writer puts its own route back over the other's",
        absent: None,
        survey: &["C8", "C20", "C24"],
    },
    Rule {
        name: "one-actor-clears-the-interface",
        causes: &[RouteForeignDelete],
        effects: &[AddressRemoved, AddressFlap],
        join: Join::Interface,
        window: Window::After(secs(2)),
        grade: Grade::Likely,
        when: &[SAME_ACTOR],
        because: "one process removes addresses and routes that it did not make",
        absent: None,
        survey: &["C24", "L8"],
    },
    Rule {
        name: "foreign-write-drops-session",
        causes: WRITERS,
        effects: &[SessionDown, SessionFlap, BfdDown, BfdFlap],
        join: Join::Gateway,
        window: Window::Reach {
            least: secs(5),
            plus: secs(5),
        },
        grade: Grade::Likely,
        when: &[NOT_ON_PURPOSE],
        because: "the route to the peer was taken by somebody who does not own it, so the session's packets go nowhere",
        absent: None,
        survey: &["C8"],
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
        when: &[NOT_ON_PURPOSE],
        because: "a session to a peer that is no longer reachable by a route ends when its hold time runs out",
        absent: None,
        survey: &["C10"],
    },
    Rule {
        name: "kernel-route-change-announced",
        causes: &[
            RouteFlap,
            RouteWithdrawn,
            RouteSilentLoss,
            RouteOwnershipWar,
            RouteForeignDelete,
        ],
        effects: &[PrefixFlap, PrefixMassWithdrawal, PrefixMoved],
        join: Join::AffectedPrefix,
        window: Window::After(secs(5)),
        grade: Grade::Likely,
        when: &[EARLIER],
        because: "a kernel route that is redistributed into BGP is announced and withdrawn with it",
        absent: None,
        survey: &["L9"],
    },
    Rule {
        name: "one-change-many-views",
        causes: KERNEL_ROUTES,
        effects: KERNEL_ROUTES,
        join: Join::AffectedPrefix,
        window: Window::After(secs(2)),
        grade: Grade::Likely,
        when: &[OTHER_KIND],
        because: "two views of the same routes' changes",
        absent: None,
        survey: &[],
    },
];
