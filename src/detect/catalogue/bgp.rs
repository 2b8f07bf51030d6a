//! Rows of BFD, BGP sessions, prefixes and RPKI.

use super::Seen::{Bmp, Mrt, Netlink, Packets};
use super::{Row, detected};
use crate::detect::Kind;

const BFD: &[&str] = &[
    "vtysh -c 'show bfd peers counters'",
    "birdc show bfd sessions all",
    "tcpdump -ni IFACE 'udp port 3784 or udp port 4784'",
];
const SESSION: &[&str] = &[
    "vtysh -c 'show bgp neighbors PEER'",
    "birdc show protocols all PROTOCOL",
    "ss -tnoi 'dport = :179 or sport = :179'",
];
const EVPN: &[&str] = &[
    "vtysh -c 'show evpn mac vni all mac MAC'",
    "vtysh -c 'show bgp l2vpn evpn route type macip'",
    "bridge fdb show | grep -i MAC",
];
const PREFIX: &[&str] = &[
    "vtysh -c 'show bgp PREFIX'",
    "birdc show route for PREFIX all",
    "ip route show PREFIX",
];
const RPKI: &[&str] = &[
    "vtysh -c 'show rpki cache-connection'",
    "vtysh -c 'show rpki prefix PREFIX'",
    "birdc show route for PREFIX all",
];
/// Views of a session's routes.
const ROUTES: &[super::Seen] = &[Packets, Bmp, Mrt];

pub(super) const ROWS: &[Row] = &[
    detected(
        Kind::BfdDown,
        &[Packets],
        [
            "A BFD session that was up is told down by one end (state and diagnostic code), or both ends fall silent beyond the detection time.",
            "RFC 5880 §6.8.4, §6.8.6.",
            "AdminDown is an operator's word (§6.8.16). The end of the capture and gaps are no silence.",
        ],
        BFD,
    ),
    detected(
        Kind::BfdFlap,
        &[Packets],
        [
            "A second loss of one BFD session within 600 s of the last.",
            "Survey D33.",
            "One loss and recovery stays bfd.down.",
        ],
        BFD,
    ),
    detected(
        Kind::BfdNearMiss,
        &[Packets],
        [
            "3 packets within 600 s that came later than two thirds of the detection time, while the session stayed up.",
            "RFC 5880 §6.8.4: with the usual multiplier of 3 the last packet is overdue then; survey D34.",
            "One or two late packets may be the capture's own jitter.",
        ],
        BFD,
    ),
    detected(
        Kind::BfdMismatch,
        &[Packets],
        [
            "The two ends' detection times differ by more than a factor of 4, or one is shorter than 300 ms where pauses of virtual machines are longer.",
            "Survey D35.",
            "Asymmetric timers are allowed (RFC 5880 §6.8.2): information.",
        ],
        BFD,
    ),
    detected(
        Kind::SessionDown,
        &[Packets, Bmp, Mrt],
        [
            "A session leaves Established: at once with a NOTIFICATION, else judged 800 ms later, when kernel, BFD and BMP have spoken; the \
             reason is rebuilt from all of them.",
            "RFC 4271 §6, §8; measured: BMP often names a wrong reason.",
            "Falls within 5 s of the first start are part of opening (collisions), up to 3 of them. Graceful restart is session.restarted. \
             The end of the input is no loss.",
        ],
        SESSION,
    ),
    detected(
        Kind::SessionFlap,
        &[Packets, Bmp, Mrt],
        [
            "A second loss of a session within 15 min of the last; the finding that was session.down becomes it.",
            "Survey D24.",
            "All views of one session (both ends, packets, BMP) are one count.",
        ],
        SESSION,
    ),
    detected(
        Kind::SessionOpenRejected,
        &[Packets],
        [
            "5 NOTIFICATIONs within 600 s to a session that was never up.",
            "RFC 4271 §6.2; survey D28.",
            "Collisions are normal; closed ports while the other end restarts are none.",
        ],
        SESSION,
    ),
    detected(
        Kind::SessionUnestablished,
        &[Packets],
        [
            "A session that was never up is asked for 6 times (SYN) and for 15 s or longer in vain: nobody answers, nobody listens (RST), an ICMP error says \
             why, or segments with the TCP MD5 or TCP-AO option are dropped without an answer. Of a session that was lost its own finding tells it.",
            "RFC 2385 §2, RFC 5925 §7.3 (segments that do not verify are dropped silently); tcp(7) tcp_syn_retries.",
            "A peer that starts later answers within seconds; a reset that ends an old connection answers no SYN.",
        ],
        SESSION,
    ),
    detected(
        Kind::SessionMaxPrefix,
        &[Packets, Bmp],
        [
            "A session closes with Cease, Maximum Number of Prefixes Reached.",
            "RFC 4486 §4 (subcode 1).",
            "None known: the peer says so.",
        ],
        SESSION,
    ),
    detected(
        Kind::SessionNearMiss,
        &[Packets],
        [
            "A peer was silent for more than two thirds of the hold time, and then spoke.",
            "RFC 4271 §4.4: keepalives come each third of the hold time.",
            "Information only; silence inside a gap does not count.",
        ],
        SESSION,
    ),
    detected(
        Kind::SessionStalled,
        &[Packets],
        [
            "One end keeps its TCP window closed for 30 s while the session is up.",
            "RFC 9687 (send hold timer); survey D27.",
            "Closed windows of seconds are load.",
        ],
        SESSION,
    ),
    detected(
        Kind::SessionMtuBlackhole,
        &[Packets],
        [
            "2 deaths of a session within 20 min, each with a block in front of it: the sender repeated a segment of 536 octets or more 3 times \
             without an acknowledgement while the other end talked on; or, seen at the receiver, a small segment arrived behind a hole of 536 \
             octets or more that was never filled. In between the session opened, so small packets passed.",
            "RFC 2923 §2.1, RFC 4821 §1 (black holes); RFC 9293 §3.7.1 (536).",
            "One death may be plain loss that began at an unlucky moment. An acknowledgement that moves on ends the block.",
        ],
        &[
            "ping -M do -s 1472 -c 3 PEER",
            "tracepath -n PEER",
            "ss -tnoi 'dport = :179 or sport = :179'",
        ],
    ),
    detected(
        Kind::SessionEmpty,
        &[Packets, Bmp],
        [
            "60 s after it came up a session has brought less than half of what it held when it was lost, if that were 10 prefixes or more.",
            "Survey D30.",
            "Smaller tables come and go with policies; a session lost meanwhile is not judged.",
        ],
        SESSION,
    ),
    detected(
        Kind::SessionRestarted,
        &[Packets, Bmp],
        [
            "A session went while both ends had agreed to keep forwarding (graceful restart). One that is not back within its restart time becomes \
             session.down.",
            "RFC 4724 §4, RFC 8538.",
            "A second one is no restart any more and counts as session.flap. MRT tells states without reasons: there it is session.down.",
        ],
        SESSION,
    ),
    detected(
        Kind::SessionSpeakerRestarted,
        &[Packets, Bmp],
        [
            "At least 2 sessions of one BGP identifier, and 80 % of those that are seen, are closed by that router within 2 s (FIN or RST without a \
             NOTIFICATION, Cease 6/2 or 6/3, BMP reason 4), and 2 are back within 360 s. They belong to 2 neighbors, or a SYN to the router was \
             answered by RST meanwhile.",
            "Survey D32; measured: FRR sets the Restart State bit (RFC 4724 §3) after a lost link too, so it proves nothing.",
            "A dead path closes nothing, a lost link explains the closing, 'clear bgp *' says 6/4 and keeps the process, one neighbor may be \
             de-configured. Told as planned (6/2, 6/3), or with routes kept by graceful restart, it is information.",
        ],
        SESSION,
    ),
    detected(
        Kind::PrefixTableTransfer,
        ROUTES,
        [
            "A table is sent after a session came up, on request, or by a feed that begins again; those within 10 s are one.",
            "RFC 4271 §9.2, RFC 2918, RFC 4724 §2 (End-of-RIB).",
            "Information: it keeps initial tables from being counted as churn.",
        ],
        SESSION,
    ),
    detected(
        Kind::PrefixMassWithdrawal,
        ROUTES,
        [
            "Within 10 s a peer withdraws 50 prefixes or more and 20 % of its table, while the session stays up. Peers that lose the same at \
             once share one finding.",
            "Survey D7.",
            "What falls with its session is the session's; an oscillating few count once each.",
        ],
        SESSION,
    ),
    detected(
        Kind::PrefixSurge,
        ROUTES,
        [
            "Within 60 s a peer announces 1000 new prefixes or more, and half of what it had.",
            "Survey D9; max-prefix limits are the usual victims.",
            "Transfers of a table after a session's start do not count.",
        ],
        SESSION,
    ),
    detected(
        Kind::PrefixFlap,
        ROUTES,
        [
            "3 withdrawals of a prefix within 60 s, or 4 within 6 h, or 3 that route-flap damping with FRR's defaults would suppress for.",
            "RFC 2439, RFC 7196; survey D1 to D3.",
            "Withdrawals within 60 s of a session's loss or 30 s of its return are its effect. Foreign prefixes in a full table are the \
             Internet's weather: information.",
        ],
        PREFIX,
    ),
    detected(
        Kind::PrefixPathOscillation,
        ROUTES,
        [
            "6 changes of path within 600 s among at most 3 paths, nearly all of them back to a known one, without withdrawals.",
            "RFC 3345; survey D4.",
            "Convergence visits new paths; foreign prefixes are weather.",
        ],
        PREFIX,
    ),
    detected(
        Kind::PrefixAttributeOscillation,
        ROUTES,
        [
            "6 changes of attributes within 600 s among at most 3 states, 20 where only communities change.",
            "Survey D4, D18.",
            "Communities change for harmless reasons; foreign prefixes are weather.",
        ],
        PREFIX,
    ),
    detected(
        Kind::PrefixDuplicateUpdates,
        &[Packets, Mrt],
        [
            "3 unsolicited re-sends of the table (bursts of 20 routes and half of it), or more than 100 duplicates within 300 s that are 30 % \
             of all announcements and last 60 s.",
            "RFC 4271 §9.2; survey D5.",
            "Answers to ROUTE-REFRESH and transfers after a start are asked for. BMP is not judged: routers repeat in it what no speaker sent.",
        ],
        SESSION,
    ),
    detected(
        Kind::PrefixPathHunting,
        ROUTES,
        [
            "3 different paths in a row, growing and never shrinking, before a withdrawal.",
            "Labovitz et al., Delayed Internet Routing Convergence (2000); survey D6.",
            "It is the echo of one failure somewhere: information.",
        ],
        PREFIX,
    ),
    detected(
        Kind::PrefixOriginConflict,
        ROUTES,
        [
            "Another AS begins to originate a prefix that the old origin still originates; on a collector with 6 peers, 3 of them must say so. Two \
             hosts beside their routers may overlap for 5 s while a host route moves. One host route that two hosts announce for more than 30 s, also \
             in one AS: a warning if it moved before, or is in --own-prefix and its hosts share no other address; else information.",
            "RFC 1930 §7; BGPalerter's default of witnesses; survey D10, C39.",
            "Several origins from the start are anycast; a new origin for which the old one made room is a move; a drained site that comes back on \
             a session that was up before the watching began is information. Load balancers share an address: from the start, rolled out within \
             300 s, shared before, drained with GRACEFUL_SHUTDOWN. Foreign prefixes are weather.",
        ],
        PREFIX,
    ),
    detected(
        Kind::PrefixMoreSpecific,
        ROUTES,
        [
            "A more specific prefix of another origin appears inside a known one (looked for up to /8 and /19). It is a warning for prefixes of \
             --own-prefix only.",
            "Survey D11; RFC 7999 for blackhole routes.",
            "Blackhole routes (65535:666) are meant to be more specific; customers' ones are information.",
        ],
        PREFIX,
    ),
    detected(
        Kind::PrefixRpkiInvalid,
        ROUTES,
        [
            "With --rtr or --vrps (or a cache's session in the input): an announced route is covered by VRPs and none matches, because of its \
             origin (also a path that ends in a set, and AS0) or its length. Routes that one origin makes invalid at once are one finding. In \
             the Internet's table, and where it was so before we looked, only --own-prefix and --own-as are told apart; all others are one \
             quiet statement.",
            "RFC 6811 §2; RFC 6483 §4 (AS0); survey D12.",
            "Routes longer than /24 and /48 stay inside a network and are longer than its ROA on purpose; private ASs (RFC 6996) are in no \
             public ROA. Both are information, unless ROAs are made for such routes.",
        ],
        RPKI,
    ),
    detected(
        Kind::PrefixLeak,
        &[Packets, Bmp],
        [
            "On sessions where an OPEN tells the BGP role: a customer (or a route server's client) sends a route with Only-to-Customer, a peer \
             one with another AS's; or a customer sends back, through others, what the receiver originates.",
            "RFC 9234 §5; RFC 7908 §3.1; survey D15.",
            "Without roles nothing is said: who is whose customer cannot be seen in routes. What a router sends itself is no evidence.",
        ],
        PREFIX,
    ),
    detected(
        Kind::PrefixMoved,
        ROUTES,
        [
            "A host route is withdrawn by one speaker and announced by another within 30 s; copies within 5 s are the same move.",
            "Survey C39 (ElasticIP hand-overs).",
            "The speaker's own other sessions are no move. Information.",
        ],
        PREFIX,
    ),
    detected(
        Kind::PrefixMoveFlap,
        ROUTES,
        [
            "3 moves of one host route within 600 s.",
            "Survey C39.",
            "A move and its return are two.",
        ],
        PREFIX,
    ),
    detected(
        Kind::EvpnMacMove,
        ROUTES,
        [
            "A MAC/IP route (EVPN type 2) of another VTEP with a higher sequence number in its MAC Mobility community, or the first one after the old \
             VTEP withdrew its own; only routes with a route target in common are compared.",
            "RFC 7432 §7.7 and §15; RFC 9135 §5.2 for the targets.",
            "Two VTEPs with one sequence number share an Ethernet segment (§15.1); copies of one route over several reflectors are one; what a table \
             transfer repeats is no move. A virtual machine that migrates is no fault: info.",
        ],
        EVPN,
    ),
    detected(
        Kind::EvpnDuplicateMac,
        ROUTES,
        [
            "5 moves of one MAC between VTEPs within 180 s.",
            "RFC 7432 §15.1 (N and M, and their defaults); FRR's `dup-addr-detection max-moves 5 time 180`.",
            "Fewer moves, or slower ones, are `evpn.mac-move`. VTEPs that detect it stop announcing: then the moves end, and the fault does not.",
        ],
        EVPN,
    ),
    detected(
        Kind::PrefixNexthopUnresolved,
        &[Packets, Bmp, Netlink],
        [
            "No route of this host but a default one leads to a next hop that a neighbor announces to it, and prefixes with it have no kernel \
             route: 1.2 s after the route of the next hop went, or 10 s after the next hop was first seen.",
            "RFC 4271 §9.1.2.1; survey C10; measured: FRR removes the prefixes 75 ms after the route.",
            "Prefixes that have a kernel route by another way do not count; link-local next hops are on-link. Needs BGP of this host and a dump \
             of its routes, and no path identifiers.",
        ],
        &[
            "ip route get NEXTHOP",
            "vtysh -c 'show bgp nexthop NEXTHOP'",
            "birdc show route all noexport",
        ],
    ),
    detected(
        Kind::PrefixBlackholed,
        &[Packets, Bmp, Netlink],
        [
            "5 s after this host announced a host route of its own, or lost its address or route, it has no address, route (but a default one) or \
             on-link network for it, or its kernel drops what goes there.",
            "Survey C39, C40.",
            "The BLACKHOLE community (RFC 7999) asks for it: information. Aggregates with a blackhole route are usual and not looked at: host \
             routes only. Needs the host's addresses and routes.",
        ],
        &[
            "ip route get ADDRESS",
            "ip address show to ADDRESS",
            "vtysh -c 'show bgp PREFIX'",
        ],
    ),
    detected(
        Kind::PrefixZombie,
        ROUTES,
        [
            "300 s after the first withdrawal all but one (or a tenth) of at least 3 neighbors that had a prefix have withdrawn it, and what remains \
             is older than that withdrawal, unchanged, and came from the origin by the same first hop as the withdrawn ones. For prefixes that \
             are not the operator's own: 90 % of at least 10 neighbors, 90 minutes.",
            "Fontugne et al., BGP Zombies (PAM 2019); RIPE Labs; survey D21.",
            "A backup path has another first hop or is announced anew. Sessions that are down, and routes with path identifiers, do not count.",
        ],
        PREFIX,
    ),
    detected(
        Kind::RpkiCacheLost,
        &[Packets],
        [
            "The connection to an RPKI cache ends or cannot be opened, or a VRP file cannot be used: information while another cache is there or \
             for 120 s, a warning when it was the last one, and when its data expire; with the age of the data and what becomes not-found.",
            "RFC 8210 §6 (timers of End of Data), §8; survey D14, C35.",
            "A validator restarts within a minute or two, and its data are good for hours. Of routers that are only watched it is information.",
        ],
        RPKI,
    ),
    detected(
        Kind::RpkiVrpChanged,
        &[Packets],
        [
            "A complete answer of a cache changes VRPs so that an announced route (or one withdrawn less than 60 s before) becomes invalid, or, \
             of --own-prefix and --own-as, loses the ROA that made it valid; withdrawals within 120 s are told with it. A fifth of at least \
             1000 VRPs gone at once is a validator's fault.",
            "RFC 6811 §2, §5; BGPalerter's defaults (20 % of a trust anchor); survey D12, D13, C34.",
            "A restart or a roll-over of ROAs that leaves the routes' states as they were; changes in the Internet's table are one quiet statement.",
        ],
        RPKI,
    ),
];
