//! The matrix: which kind is seen from which input, for which address family, and what proves it.
//!
//! A row of the catalogue says from which inputs a kind can be seen, [`families`] for which families. `proofs.txt` holds, for every cell that a
//! capture of the repository shows from that input alone, the capture's name; it is written by `BLESS=1 cargo test --test matrix`, which also
//! checks that each of them still holds. What no capture shows is proven by a scene of hand-made events, by a unit test named in
//! [`UNIT_TESTS`], or told as unproven.

use std::fmt;

use super::{Row, Seen};
use crate::detect::Kind;

/// Address families.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Family {
    Ipv4,
    Ipv6,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ipv4 => "IPv4",
            Family::Ipv6 => "IPv6",
        })
    }
}

const NONE: &[Family] = &[];
const IPV4: &[Family] = &[Family::Ipv4];
const IPV6: &[Family] = &[Family::Ipv6];
const BOTH: &[Family] = &[Family::Ipv4, Family::Ipv6];

/// The families in which a kind exists; none where it is about something without addresses.
pub fn families(kind: Kind) -> &'static [Family] {
    match kind {
        // Router advertisements are IPv6's (RFC 4861).
        _ if kind.layer() == "ra" => IPV6,
        _ if matches!(kind.layer(), "feed" | "link" | "rpki" | "evpn") => NONE,
        // ARP is IPv4's; neighbor discovery has no such habit.
        Kind::AddressArpFlux => IPV4,
        // It is said of both families' sessions together.
        Kind::PathLoss => NONE,
        // Options 3, 121 and 249, and giaddr: DHCPv6 hands out no routes (RFC 8415), and its relays are no addresses of clients.
        Kind::DhcpGatewayChanged | Kind::DhcpRouteInjection | Kind::DhcpRelaySpoofed => IPV4,
        // A sender, a client or a link is named, not an address.
        Kind::DhcpMalformed
        | Kind::DhcpHostileText
        | Kind::DhcpStarvation
        | Kind::DhcpBootStorm
        | Kind::DhcpFlood
        | Kind::NeighborFlood => NONE,
        Kind::DhcpClientChurn | Kind::DhcpRequestStorm | Kind::DhcpIdentityConflict => NONE,
        Kind::DhcpOfferIgnored
        | Kind::DhcpNoServer
        | Kind::DhcpClientRefused
        | Kind::DhcpRelayDeaf => NONE,
        // DHCPv6 clients renew by multicast (RFC 8415 §18.2.4).
        Kind::DhcpRenewalUnanswered => IPV4,
        // Duplicate address detection is told by the kernel for IPv6 (RFC 4862 §5.4); IPv4's conflicts are `address.conflict`.
        Kind::AddressDadFailed => IPV6,
        _ => BOTH,
    }
}

/// A cell that a unit test proves: the test's name, as `cargo test` prints it behind the module.
#[derive(Debug)]
pub struct UnitTest {
    pub kind: Kind,
    pub seen: Seen,
    pub family: Option<Family>,
    pub test: &'static str,
}

/// What stands behind a cell.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Proof {
    /// This capture, with nothing but this kind of input.
    Capture(&'static str),
    /// This scene of hand-made events (`tests/matrix/scenes.rs`), and not without what this kind of input says in it.
    Scene(&'static str),
    /// This unit test.
    UnitTest(&'static str),
    /// It should be seen, and nothing shows it yet.
    None,
}

/// The cells of a row: inputs and families in which it should be seen.
pub fn cells(row: &Row) -> impl Iterator<Item = (Seen, Option<Family>)> + use<> {
    let families: Vec<Option<Family>> = match families(row.kind) {
        [] => vec![None],
        some => some.iter().map(|family| Some(*family)).collect(),
    };
    let seen_in = row.seen_in;
    seen_in
        .iter()
        .flat_map(move |seen| families.clone().into_iter().map(|family| (*seen, family)))
}

/// What proves a cell.
pub fn proof(kind: Kind, seen: Seen, family: Option<Family>) -> Proof {
    let wanted = key(kind, seen, family);
    for line in proofs() {
        if let Some(capture) = line.strip_prefix(wanted.as_str()) {
            let shown_by = capture.trim();
            return match shown_by.strip_prefix(SCENE) {
                Some(scene) => Proof::Scene(scene),
                None => Proof::Capture(shown_by),
            };
        }
    }
    let test = UNIT_TESTS
        .iter()
        .find(|t| t.kind == kind && t.seen == seen && t.family == family);
    test.map_or(Proof::None, |test| Proof::UnitTest(test.test))
}

/// What stands before the name of a scene in `proofs.txt`.
pub const SCENE: &str = "scene:";

/// The proven cells, one a line: kind, input, family, capture or scene.
pub fn proofs() -> impl Iterator<Item = &'static str> {
    include_str!("proofs.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// A cell as `proofs.txt` writes it.
pub fn key(kind: Kind, seen: Seen, family: Option<Family>) -> String {
    let family = family.map_or_else(|| "-".to_owned(), |family| family.to_string());
    format!("{kind} {} {family} ", seen.as_str())
}

/// Cells that nothing shows yet, and why; the docs say so.
pub const OPEN: &[(Kind, Seen, &str)] = &[
    (
        Kind::VrrpTwoMasters,
        Seen::Packets,
        "the advertisements of both families go one way and are tested with IPv4",
    ),
    (
        Kind::VrrpFlap,
        Seen::Packets,
        "the advertisements of both families go one way and are tested with IPv4",
    ),
    (
        Kind::VrrpMoved,
        Seen::Packets,
        "the advertisements of both families go one way and are tested with IPv4",
    ),
    (
        Kind::AddressFlap,
        Seen::Netlink,
        "the way of both families is one and is tested with IPv4; the kernel gives a removed IPv6 address back as tentative first",
    ),
    (
        Kind::AddressMoved,
        Seen::Packets,
        "the claims of ARP and neighbor discovery go through one model; only keepalived's IPv4 fail-overs are recorded",
    ),
    (
        Kind::DhcpDeclineLoop,
        Seen::Packets,
        "the clients of the laboratory do not check DHCPv6 addresses before they use them",
    ),
    (
        Kind::DhcpDuplicateLease,
        Seen::Packets,
        "no DHCPv6 server of the laboratory gives one address twice",
    ),
    (
        Kind::DhcpNakStorm,
        Seen::Packets,
        "DHCPv6 refuses by status codes (NotOnLink, NoBinding), which no client of the laboratory provokes again and again",
    ),
    (
        Kind::DhcpPoolExhausted,
        Seen::Packets,
        "the pools of the recorded DHCPv6 servers are too large to be emptied",
    ),
    (
        Kind::DhcpReleaseSpoofed,
        Seen::Packets,
        "only the renewal after a forged RELEASE can show it in DHCPv6, whose clients are known by their DUID alone; none is recorded",
    ),
    (
        Kind::NeighborFlap,
        Seen::Packets,
        "repeated silence on the wire is recorded beside netlink only, which tells it first",
    ),
    (
        Kind::NeighborUnreachable,
        Seen::Packets,
        "the recorded neighbor that stops answering is an IPv4 one",
    ),
    (
        Kind::NeighborMacFlip,
        Seen::Packets,
        "the recorded IPv6 address that two hosts claim is told as address.conflict",
    ),
    (
        Kind::PathLoss,
        Seen::Bmp,
        "FRR 8.4, the laboratory's BMP speaker, gives no reason for an expired hold time, so BMP alone says session.down",
    ),
    (
        Kind::SessionMtuBlackhole,
        Seen::Packets,
        "TCP's facts have no family; the recorded black holes that show their full-size segments are IPv4 ones",
    ),
    (
        Kind::SessionUnestablished,
        Seen::Packets,
        "SYNs have no family for the detector; its unit tests ask by IPv4",
    ),
    (
        Kind::RoutePeerPath,
        Seen::Packets,
        "segments and ICMP errors of IPv6 go the way of IPv4's; the unit tests show IPv4",
    ),
    (
        Kind::RoutePeerPath,
        Seen::Netlink,
        "the table's look-up is one for both families; the unit tests show IPv4",
    ),
    (
        Kind::SessionDown,
        Seen::Mrt,
        "the recorded graceful restart that showed it is recognised now and raises nothing; no other recording has MRT of a loss",
    ),
    (
        Kind::SessionRestarted,
        Seen::Bmp,
        "the recorded graceful restart that showed it is recognised now and raises nothing; no other recording has a restart by BMP alone",
    ),
];

/// Cells that no capture shows and a unit test does.
pub const UNIT_TESTS: &[UnitTest] = &[
    UnitTest {
        kind: Kind::AddressFlap,
        seen: Seen::Netlink,
        family: Some(Family::Ipv4),
        test: "a_second_removal_makes_the_same_finding_a_flap",
    },
    UnitTest {
        kind: Kind::AddressUnannounced,
        seen: Seen::Netlink,
        family: Some(Family::Ipv4),
        test: "an_own_address_whose_announcement_was_withdrawn_is_told_after_half_a_minute",
    },
    UnitTest {
        kind: Kind::DhcpReleaseSpoofed,
        seen: Seen::Packets,
        family: Some(Family::Ipv4),
        test: "a_release_from_another_host_is_forged_and_a_routed_one_is_not",
    },
    UnitTest {
        kind: Kind::DhcpOfferIgnored,
        seen: Seen::Packets,
        family: None,
        test: "offers_that_nobody_takes_are_told_from_the_third_question_behind_one",
    },
    UnitTest {
        kind: Kind::DhcpNoServer,
        seen: Seen::Packets,
        family: None,
        test: "nobody_answers_is_said_only_of_a_port_of_this_host",
    },
    UnitTest {
        kind: Kind::DhcpClientRefused,
        seen: Seen::Packets,
        family: None,
        test: "one_client_that_is_passed_over_while_others_are_served_is_told_and_an_outage_is_not_its",
    },
    UnitTest {
        kind: Kind::DhcpRelayDeaf,
        seen: Seen::Packets,
        family: None,
        test: "a_relay_whose_clients_never_get_their_offers_is_one_finding_and_no_forger",
    },
    UnitTest {
        kind: Kind::DhcpRenewalUnanswered,
        seen: Seen::Packets,
        family: Some(Family::Ipv4),
        test: "renewals_whose_unicast_fails_are_told_when_the_first_broadcast_is_answered_at_once",
    },
    UnitTest {
        kind: Kind::DhcpRequestStorm,
        seen: Seen::Packets,
        family: None,
        test: "a_client_that_asks_without_pause_is_a_storm_unless_it_is_served",
    },
    UnitTest {
        kind: Kind::EvpnMacMove,
        seen: Seen::Packets,
        family: None,
        test: "a_mac_that_moved_once_is_told_and_is_no_alarm",
    },
    UnitTest {
        kind: Kind::EvpnMacMove,
        seen: Seen::Bmp,
        family: None,
        test: "a_mac_that_moved_once_is_told_and_is_no_alarm",
    },
    UnitTest {
        kind: Kind::EvpnMacMove,
        seen: Seen::Mrt,
        family: None,
        test: "a_mac_that_moved_once_is_told_and_is_no_alarm",
    },
    UnitTest {
        kind: Kind::EvpnDuplicateMac,
        seen: Seen::Packets,
        family: None,
        test: "a_mac_that_moves_five_times_in_three_minutes_is_a_duplicate",
    },
    UnitTest {
        kind: Kind::EvpnDuplicateMac,
        seen: Seen::Bmp,
        family: None,
        test: "a_mac_that_moves_five_times_in_three_minutes_is_a_duplicate",
    },
    UnitTest {
        kind: Kind::EvpnDuplicateMac,
        seen: Seen::Mrt,
        family: None,
        test: "a_mac_that_moves_five_times_in_three_minutes_is_a_duplicate",
    },
    UnitTest {
        kind: Kind::LinkCarrierLost,
        seen: Seen::Netlink,
        family: None,
        test: "one_loss_is_a_loss_and_the_second_makes_the_same_finding_a_flap",
    },
    UnitTest {
        kind: Kind::LinkAdminDown,
        seen: Seen::Netlink,
        family: None,
        test: "an_operator_setting_an_unrouted_link_down_is_information",
    },
    UnitTest {
        kind: Kind::NeighborUnreachable,
        seen: Seen::Netlink,
        family: Some(Family::Ipv4),
        test: "a_gateway_that_fails_breaks_the_default_route_until_it_answers",
    },
    UnitTest {
        kind: Kind::PrefixBlackholed,
        seen: Seen::Netlink,
        family: Some(Family::Ipv4),
        test: "an_elastic_ip_announced_without_its_address_is_a_black_hole",
    },
    UnitTest {
        kind: Kind::PrefixMassWithdrawal,
        seen: Seen::Packets,
        family: Some(Family::Ipv4),
        test: "a_mass_withdrawal_is_one_finding_with_the_as_that_its_paths_share",
    },
    UnitTest {
        kind: Kind::PrefixPathHunting,
        seen: Seen::Packets,
        family: Some(Family::Ipv4),
        test: "growing_paths_before_a_withdrawal_are_hunting_and_no_oscillation",
    },
    UnitTest {
        kind: Kind::PrefixNexthopUnresolved,
        seen: Seen::Netlink,
        family: Some(Family::Ipv4),
        test: "a_lost_route_to_a_next_hop_hides_its_prefixes_until_it_returns",
    },
    UnitTest {
        kind: Kind::RaFlap,
        seen: Seen::Packets,
        family: Some(Family::Ipv6),
        test: "a_router_that_goes_and_comes_flaps",
    },
    UnitTest {
        kind: Kind::RaFlood,
        seen: Seen::Packets,
        family: Some(Family::Ipv6),
        test: "a_flood_of_routers_is_one_finding",
    },
    UnitTest {
        kind: Kind::RaInconsistent,
        seen: Seen::Packets,
        family: Some(Family::Ipv6),
        test: "routers_that_disagree_about_the_link_are_noted_once",
    },
    UnitTest {
        kind: Kind::RaRogueRouter,
        seen: Seen::Packets,
        family: Some(Family::Ipv6),
        test: "a_newcomer_that_takes_over_is_rogue_and_one_that_agrees_is_a_note",
    },
    UnitTest {
        kind: Kind::RaExpired,
        seen: Seen::Packets,
        family: Some(Family::Ipv6),
        test: "silence_over_the_whole_lifetime_is_told_when_the_link_is_heard_again",
    },
    UnitTest {
        kind: Kind::RouteFibMissing,
        seen: Seen::Netlink,
        family: Some(Family::Ipv4),
        test: "a_daemons_route_that_somebody_else_took_is_missing_until_it_is_back",
    },
    UnitTest {
        kind: Kind::RouteRuleLost,
        seen: Seen::Netlink,
        family: Some(Family::Ipv4),
        test: "the_rule_into_the_local_table_is_missed_unless_another_leads_there",
    },
    UnitTest {
        kind: Kind::RouteRuleLost,
        seen: Seen::Netlink,
        family: Some(Family::Ipv6),
        test: "the_rule_into_the_local_table_is_missed_unless_another_leads_there",
    },
    UnitTest {
        kind: Kind::RouteFibStale,
        seen: Seen::Netlink,
        family: Some(Family::Ipv4),
        test: "a_withdrawn_route_that_stays_in_the_kernel_is_stale",
    },
    UnitTest {
        kind: Kind::RouteForeignDelete,
        seen: Seen::Netlink,
        family: Some(Family::Ipv4),
        test: "a_sweep_of_anothers_routes_is_told_and_a_daemon_deleting_its_own_is_not",
    },
    UnitTest {
        kind: Kind::RoutePeerPath,
        seen: Seen::Netlink,
        family: Some(Family::Ipv4),
        test: "a_connected_route_that_a_process_deletes_moves_the_peers_path",
    },
    UnitTest {
        kind: Kind::RoutePeerPath,
        seen: Seen::Packets,
        family: Some(Family::Ipv4),
        test: "icmp_errors_that_quote_the_sessions_segments_tell_where_its_way_ends",
    },
    UnitTest {
        kind: Kind::SessionUnestablished,
        seen: Seen::Packets,
        family: Some(Family::Ipv4),
        test: "a_session_that_never_comes_up_says_why_and_one_that_starts_late_is_quiet",
    },
    UnitTest {
        kind: Kind::RouteOwnershipWar,
        seen: Seen::Netlink,
        family: Some(Family::Ipv4),
        test: "two_owners_that_take_a_route_from_each_other_are_at_war",
    },
    UnitTest {
        kind: Kind::RouteReassertStorm,
        seen: Seen::Netlink,
        family: Some(Family::Ipv4),
        test: "writing_a_route_thirty_times_a_minute_is_a_storm_and_a_scan_now_and_then_is_not",
    },
    UnitTest {
        kind: Kind::LinkMacMove,
        seen: Seen::Netlink,
        family: None,
        test: "an_address_that_speaks_behind_two_ports_in_turn_is_one_finding_and_a_migration_is_none",
    },
    UnitTest {
        kind: Kind::AddressArpFlux,
        seen: Seen::Packets,
        family: Some(Family::Ipv4),
        test: "one_host_with_two_ports_answers_for_all_its_addresses_and_two_hosts_for_one",
    },
    UnitTest {
        kind: Kind::VrrpTwoMasters,
        seen: Seen::Packets,
        family: Some(Family::Ipv4),
        test: "two_masters_that_do_not_hear_each_other_are_told_with_the_address_that_both_hold",
    },
    UnitTest {
        kind: Kind::VrrpFlap,
        seen: Seen::Packets,
        family: Some(Family::Ipv4),
        test: "a_master_that_changes_a_third_time_within_minutes_flaps",
    },
    UnitTest {
        kind: Kind::VrrpMoved,
        seen: Seen::Packets,
        family: Some(Family::Ipv4),
        test: "a_preemption_and_a_fail_over_are_moves_and_no_second_master",
    },
    UnitTest {
        kind: Kind::NeighborMacFlip,
        seen: Seen::Netlink,
        family: Some(Family::Ipv4),
        test: "an_alternating_address_is_a_flip_that_counts_every_change_across_flushes",
    },
    UnitTest {
        kind: Kind::NeighborFlood,
        seen: Seen::Packets,
        family: None,
        test: "a_flood_of_invented_senders_is_one_finding_within_three_seconds_and_ends",
    },
    UnitTest {
        kind: Kind::DhcpFlood,
        seen: Seen::Packets,
        family: None,
        test: "a_flood_of_requests_that_nobody_answers_says_so",
    },
];
