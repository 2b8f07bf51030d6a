//! The fixed names of what can be found, one row each: the table behind alerts, `explain` and `docs/detections.md`.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Kinds of findings and incidents. Names are part of the JSON contract.
        #[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
        pub enum Kind { $($(#[doc = $doc])+ $variant,)+ }

        impl Kind {
            /// Every kind, in layer order (lower layers first).
            pub const ALL: &'static [Kind] = &[$(Kind::$variant,)+];

            /// The name used everywhere a user or machine sees it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Kind::$variant => $name,)+ }
            }

            /// One sentence: what it says.
            pub const fn meaning(self) -> &'static str {
                match self { $(Kind::$variant => concat!($($doc),+),)+ }
            }
        }
    };
}

kinds! {
    /// Our own feed has a hole: what happened in it was not seen.
    FeedGap = "feed.gap",
    /// A feed started again and repeats its whole state; the repetition is no churn.
    FeedRestarted = "feed.restarted",
    /// A feed says what cannot be true (withdrawals of everything without announcements, routes of a peer that never came up).
    FeedImplausible = "feed.implausible",
    /// The clock of a source stepped.
    FeedClockStep = "feed.clock-step",

    /// A link lost its carrier while administratively up.
    LinkCarrierLost = "link.carrier-lost",
    /// A link was set down by an administrator or a program.
    LinkAdminDown = "link.admin-down",
    /// A network interface was removed.
    LinkRemoved = "link.removed",
    /// A link went down and came back repeatedly.
    LinkFlap = "link.flap",
    /// One MAC address moves between ports of a bridge again and again.
    LinkMacMove = "link.mac-move",
    /// Packets to a neighbor are lost although the carrier stays: the loss is beyond the local link.
    PathLoss = "path.loss",

    /// An address disappeared from an interface.
    AddressRemoved = "address.removed",
    /// An address was removed and added repeatedly.
    AddressFlap = "address.flap",
    /// An address moved to another host or interface, once.
    AddressMoved = "address.moved",
    /// Two hosts claim one address.
    AddressConflict = "address.conflict",
    /// One machine answers for several of its addresses with several MACs.
    AddressArpFlux = "address.arp-flux",
    /// Duplicate address detection failed: the address is unusable.
    AddressDadFailed = "address.dad-failed",
    /// An address is configured but its prefix is not announced.
    AddressUnannounced = "address.unannounced",

    /// Two VRRP masters of one virtual router advertise at once.
    VrrpTwoMasters = "vrrp.two-masters",
    /// The master of a virtual router changes again and again.
    VrrpFlap = "vrrp.flap",
    /// A virtual router has another master.
    VrrpMoved = "vrrp.moved",

    /// A neighbor (gateway, BGP peer) no longer answers ARP or neighbor solicitations.
    NeighborUnreachable = "neighbor.unreachable",
    /// A neighbor became unreachable and reachable repeatedly.
    NeighborFlap = "neighbor.flap",
    /// The link-layer address of a neighbor alternates.
    NeighborMacFlip = "neighbor.mac-flip",
    /// ARP or neighbor discovery messages of far more senders than a link has, or far more than one can need.
    NeighborFlood = "neighbor.flood",

    /// A DHCP server that nobody expected answers clients.
    DhcpRogueServer = "dhcp.rogue-server",
    /// A DHCP server stopped answering.
    DhcpServerUnresponsive = "dhcp.server-unresponsive",
    /// One sender takes addresses in the name of many clients.
    DhcpStarvation = "dhcp.starvation",
    /// A server has no address left to give.
    DhcpPoolExhausted = "dhcp.pool-exhausted",
    /// A client is refused again and again.
    DhcpNakStorm = "dhcp.nak-storm",
    /// A client declines the addresses it is given, because somebody uses them.
    DhcpDeclineLoop = "dhcp.decline-loop",
    /// A lease ran out without being renewed.
    DhcpLeaseExpired = "dhcp.lease-expired",
    /// One address is leased to two clients at once.
    DhcpDuplicateLease = "dhcp.duplicate-lease",
    /// A DHCP server hands out routes that take over traffic.
    DhcpRouteInjection = "dhcp.route-injection",
    /// The gateway that DHCP hands out changed.
    DhcpGatewayChanged = "dhcp.gateway-changed",
    /// A client takes and gives back leases in a loop.
    DhcpClientChurn = "dhcp.client-churn",
    /// A client asks far more often than the protocol's back-off allows.
    DhcpRequestStorm = "dhcp.request-storm",
    /// A RELEASE that did not come from the lease's owner.
    DhcpReleaseSpoofed = "dhcp.release-spoofed",
    /// A relayed request from something that is no relay.
    DhcpRelaySpoofed = "dhcp.relay-spoofed",
    /// Two machines use one DHCP identity.
    DhcpIdentityConflict = "dhcp.identity-conflict",
    /// DHCP packets that break the rules in ways that receivers read differently.
    DhcpMalformed = "dhcp.malformed",
    /// Text in DHCP options that would act on the terminal or log that shows it.
    DhcpHostileText = "dhcp.hostile-text",
    /// Many clients booted at once, and were served.
    DhcpBootStorm = "dhcp.boot-storm",
    /// A client is offered addresses and takes none.
    DhcpOfferIgnored = "dhcp.offer-ignored",
    /// A client asks and nobody ever answers.
    DhcpNoServer = "dhcp.no-server",
    /// A server leaves one client without an answer while it serves others.
    DhcpClientRefused = "dhcp.client-refused",
    /// A client's unicast renewals are not answered although its server lives.
    DhcpRenewalUnanswered = "dhcp.renewal-unanswered",
    /// A relay passes questions on and its clients never get the answers.
    DhcpRelayDeaf = "dhcp.relay-deaf",
    /// DHCP requests of far more clients than a link has, or far more than one can need.
    DhcpFlood = "dhcp.flood",

    /// A router advertises that nobody expected.
    RaRogueRouter = "ra.rogue-router",
    /// Advertisements in the name of a router that did not send them.
    RaSpoofed = "ra.spoofed",
    /// A router withdrew itself as default router.
    RaRouterWithdrawn = "ra.router-withdrawn",
    /// A router's advertisement ran out without being repeated.
    RaExpired = "ra.expired",
    /// A router's default-router role goes and comes repeatedly.
    RaFlap = "ra.flap",
    /// Routers of one link contradict each other.
    RaInconsistent = "ra.inconsistent",
    /// Far more advertisements, routers or prefixes than a link can have.
    RaFlood = "ra.flood",

    /// A BFD session went down.
    BfdDown = "bfd.down",
    /// A BFD session went down and up repeatedly.
    BfdFlap = "bfd.flap",
    /// BFD packets came so late that the session nearly went down.
    BfdNearMiss = "bfd.near-miss",
    /// The two ends' BFD settings do not fit each other or the path.
    BfdMismatch = "bfd.mismatch",

    /// A BGP session went down.
    SessionDown = "session.down",
    /// A BGP session went down and up repeatedly.
    SessionFlap = "session.flap",
    /// A BGP session is refused again and again while opening.
    SessionOpenRejected = "session.open-rejected",
    /// A BGP session that never was up is asked for again and again, in vain.
    SessionUnestablished = "session.unestablished",
    /// A BGP session was closed because the peer sent too many prefixes.
    SessionMaxPrefix = "session.max-prefix",
    /// A BGP session came close to its hold time.
    SessionNearMiss = "session.near-miss",
    /// A BGP session is up but its data does not get through.
    SessionStalled = "session.stalled",
    /// A BGP session dies at the first full-size packet, again and again.
    SessionMtuBlackhole = "session.mtu-blackhole",
    /// A BGP session is up but brings no, or far fewer, prefixes.
    SessionEmpty = "session.empty",
    /// A BGP session restarted gracefully.
    SessionRestarted = "session.restarted",
    /// A router's sessions all restarted at once.
    SessionSpeakerRestarted = "session.speaker-restarted",

    /// A whole table is sent: after a session came up, on request, or by a feed that restarts.
    PrefixTableTransfer = "prefix.table-transfer",
    /// A large part of a peer's prefixes was withdrawn at once.
    PrefixMassWithdrawal = "prefix.mass-withdrawal",
    /// A peer suddenly announces far more prefixes.
    PrefixSurge = "prefix.surge",
    /// A prefix is withdrawn and announced repeatedly.
    PrefixFlap = "prefix.flap",
    /// A prefix's path alternates without being withdrawn.
    PrefixPathOscillation = "prefix.path-oscillation",
    /// Attributes other than the path alternate.
    PrefixAttributeOscillation = "prefix.attribute-oscillation",
    /// Announcements are repeated unchanged.
    PrefixDuplicateUpdates = "prefix.duplicate-updates",
    /// Longer and longer paths before a withdrawal: the network searched for another way.
    PrefixPathHunting = "prefix.path-hunting",
    /// A prefix is originated by an AS that did not originate it before, beside the old one.
    PrefixOriginConflict = "prefix.origin-conflict",
    /// An unexpected more specific prefix appeared.
    PrefixMoreSpecific = "prefix.more-specific",
    /// A route that RPKI says must not exist.
    PrefixRpkiInvalid = "prefix.rpki-invalid",
    /// A route came over a relation it must not cross.
    PrefixLeak = "prefix.leak",
    /// A prefix moved to another next hop or host, once.
    PrefixMoved = "prefix.moved",
    /// A prefix moves between hosts again and again.
    PrefixMoveFlap = "prefix.move-flap",
    /// A prefix's next hop cannot be resolved.
    PrefixNexthopUnresolved = "prefix.nexthop-unresolved",
    /// A prefix is announced but its traffic ends nowhere.
    PrefixBlackholed = "prefix.blackholed",
    /// A prefix stays although its origin withdrew it.
    PrefixZombie = "prefix.zombie",

    /// A MAC that EVPN announces moved to another VTEP.
    EvpnMacMove = "evpn.mac-move",
    /// A MAC moves between VTEPs again and again: it is behind two of them, or there is a loop.
    EvpnDuplicateMac = "evpn.duplicate-mac",

    /// The RPKI cache is lost.
    RpkiCacheLost = "rpki.cache-lost",
    /// A change of the validated ROAs made a route valid or invalid.
    RpkiVrpChanged = "rpki.vrp-changed",

    /// A kernel route is deleted and added repeatedly.
    RouteFlap = "route.flap",
    /// A kernel route was deleted.
    RouteWithdrawn = "route.withdrawn",
    /// Kernel routes disappeared without a notification.
    RouteSilentLoss = "route.silent-loss",
    /// The default route is gone.
    RouteDefaultLost = "route.default-lost",
    /// The default route goes and comes, or changes, repeatedly.
    RouteDefaultFlap = "route.default-flap",
    /// The next hops of kernel routes change.
    RouteNexthopChurn = "route.nexthop-churn",
    /// A multipath route lost members.
    RouteEcmpShrunk = "route.ecmp-shrunk",
    /// A route is overridden by a more specific or preferred one from another owner.
    RouteShadowed = "route.shadowed",
    /// Routes were deleted by somebody who does not own them.
    RouteForeignDelete = "route.foreign-delete",
    /// Packets to a BGP peer take another way than the link that they share.
    RoutePeerPath = "route.peer-path",
    /// Two programs fight over a route.
    RouteOwnershipWar = "route.ownership-war",
    /// A route is written again and again without change.
    RouteReassertStorm = "route.reassert-storm",
    /// BGP has a route that the kernel lacks.
    RouteFibMissing = "route.fib-missing",
    /// The kernel has a BGP route that BGP lacks.
    RouteFibStale = "route.fib-stale",
    /// The last policy rule into a routing table was deleted: what stands in it is not used any more.
    RouteRuleLost = "route.rule-lost",
}

impl Kind {
    /// The part before the dot.
    pub fn layer(self) -> &'static str {
        self.as_str().split('.').next().unwrap_or_default()
    }

    /// The kind of this name.
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
