//! Rows of DHCP.

use super::Seen::Packets;
use super::{Row, detected};
use crate::detect::Kind;

const WIRE: &[&str] = &[
    "tcpdump -veni IFACE 'udp port 67 or udp port 68 or udp port 546 or udp port 547'",
    "journalctl -u isc-kea-dhcp4-server -u dnsmasq --since -1h",
];
const CLIENT: &[&str] = &[
    "ip -d address show dev IFACE",
    "networkctl status IFACE",
    "journalctl -t dhclient -u systemd-networkd --since -1h",
];

pub(super) const ROWS: &[Row] = &[
    detected(
        Kind::DhcpRogueServer,
        &[Packets],
        [
            "A server that is not among the declared ones answers; without a declaration, two servers give one client contradicting gateways, \
             name servers, routes or networks within 600 s. Evidence (renewals of older leases, 30 s of patience) says which one is the rogue. Also two \
             servers that answer one question of a booting machine with different boot files.",
            "RFC 2131 §3.1; who came first proves nothing. Boot files: survey D24, RFC 4578.",
            "Servers of one HA pair agree. When evidence does not decide, both are named. A ProxyDHCP beside a server with a file of its own is a \
             note; what one server says may change from ROM to boot loader.",
        ],
        WIRE,
    ),
    detected(
        Kind::DhcpServerUnresponsive,
        &[Packets],
        [
            "A client transmits 3 times over 4 s or more without an answer of a server that is known to answer; strangers prove it with 5 tries \
             or as two.",
            "RFC 2131 §4.1 (back-off), survey D8.",
            "Any answer, or a loss in the capture, takes the suspicion back; a client that was answered does not repeat itself.",
        ],
        WIRE,
    ),
    detected(
        Kind::DhcpStarvation,
        &[Packets],
        [
            "10 new client addresses of one link-layer source or relay port within 60 s; or a crowd of 16 invented ones with their own sources \
             and 3 clients that find the pool empty behind it.",
            "Survey D6.",
            "Machines that boot at once keep their leases and are dhcp.boot-storm; bridges and access points keep the client's own source.",
        ],
        WIRE,
    ),
    detected(
        Kind::DhcpPoolExhausted,
        &[Packets],
        [
            "DHCPv6: NoAddrsAvail. DHCPv4: 3 new clients get no offer while the server answers others, or right behind a run of 10 newcomers \
             in a minute.",
            "RFC 8415 §18.3.2; RFC 2131 has no word for it.",
            "One or two may be refused by filters. Silence to everybody is dhcp.server-unresponsive.",
        ],
        WIRE,
    ),
    detected(
        Kind::DhcpNakStorm,
        &[Packets],
        [
            "3 NAKs to one client within 600 s.",
            "RFC 2131 §4.3.2.",
            "One NAK is how a roaming client learns that it moved; a restarted authoritative server sends each client one.",
        ],
        WIRE,
    ),
    detected(
        Kind::DhcpDeclineLoop,
        &[Packets],
        [
            "3 DECLINEs of one client within 600 s.",
            "RFC 2131 §4.4.4, RFC 5227, RFC 8415 §18.2.8; dnsmasq keeps a declined address back for 600 s.",
            "One DECLINE is a static address inside the pool, found once.",
        ],
        WIRE,
    ),
    detected(
        Kind::DhcpLeaseExpired,
        &[Packets],
        [
            "The end of a lease, as the last ACK promised it, passes after 2 renewals without an answer.",
            "RFC 2131 §4.4.5: a client must stop using the address.",
            "A client that was switched off does not ask. Nothing is told behind a gap or the end of the input.",
        ],
        CLIENT,
    ),
    detected(
        Kind::DhcpDuplicateLease,
        &[Packets],
        [
            "An ACK gives an address to a client while another client's lease of it has more than 5 % left.",
            "Survey D14.",
            "The same link-layer address under a new identity is one machine; nearly expired leases may be given on.",
        ],
        WIRE,
    ),
    detected(
        Kind::DhcpRouteInjection,
        &[Packets],
        [
            "An answer's options 121, 249 or 33 hold a prefix of length 1 or 2, which overrides the default route; a prefix that takes over a \
             kernel route of a routing daemon; or a public network by way of the server itself beside another gateway.",
            "RFC 3442, CVE-2024-3661.",
            "Judged by content, not presence: default routes in option 121 and host routes of clouds (169.254.169.254, the gateway) are normal.",
        ],
        CLIENT,
    ),
    detected(
        Kind::DhcpGatewayChanged,
        &[Packets],
        [
            "A renewal by the same server gives a client another gateway, or classless routes that change its default route or leave it without \
             one; 2 changes within 3600 s are a fault.",
            "RFC 2132 §3.5; RFC 3442: where option 121 is present, option 3 is ignored.",
            "One change is a planned move and stays information.",
        ],
        CLIENT,
    ),
    detected(
        Kind::DhcpClientChurn,
        &[Packets],
        [
            "5 cycles of lease and RELEASE of one client within 600 s.",
            "Crash loops back off to 5 min (Kubernetes).",
            "PXE, boot loader and installer release at most 4 times; one RELEASE is a shutdown.",
        ],
        WIRE,
    ),
    detected(
        Kind::DhcpRequestStorm,
        &[Packets],
        [
            "16 requests of one client within 60 s, or 21 that ask for options only, without success. 16 lease queries of one asker within 60 s are a \
             note, 1000 a storm.",
            "RFC 2131 §4.1 allows 5, udhcpc makes 9 (survey D4, D30). Lease queries: RFC 4388, RFC 5007, survey D32.",
            "Relays ask for leases after a restart. Refusals, declines, churn and silent servers have their own names and take precedence.",
        ],
        WIRE,
    ),
    detected(
        Kind::DhcpReleaseSpoofed,
        &[Packets],
        [
            "A RELEASE comes from another link-layer source than the owner, who was seen on this link; or its owner renews the lease within \
             3600 s.",
            "RFC 2131 §4.4.6: a released lease is not renewed.",
            "A RELEASE may be routed: another source alone proves nothing.",
        ],
        WIRE,
    ),
    detected(
        Kind::DhcpRelaySpoofed,
        &[Packets],
        [
            "8 clients behind one relay address leave their offers alone for 2 s, and none ever took one.",
            "Measured: real clients take an offer within a second.",
            "A relay's source need not be its giaddr; one client that takes its offer clears the relay.",
        ],
        WIRE,
    ),
    detected(
        Kind::DhcpIdentityConflict,
        &[Packets],
        [
            "The hardware behind one client identifier or DUID changes there and back: 2 changes within 3600 s. Notes: leases under one host name and 3 \
             link-layer addresses, or 3 changes between two, within a day; a client's fifth way of asking (option 55) within a day.",
            "RFC 4361; cloned images share /etc/machine-id. Survey D17, D33, X2.",
            "Names that machines have by default, phones, and several ports of one host at one boot are no sign; boot ROM, loader, installer and system \
             are four faces. One change is a replaced card, a bond's fail-over or a migration.",
        ],
        WIRE,
    ),
    detected(
        Kind::DhcpMalformed,
        &[Packets],
        [
            "A sender's 3 packets with grave flaws, or two different grave flaws, are a fault; a single one is a note. Lesser flaws count from \
             5 within 60 s. What everybody reads alike and is wrong, T1 behind T2 or the end of the lease, FORCERENEW or RECONFIGURE without \
             authentication, stays a note.",
            "RFC 2131 §4.1, §4.4.5, RFC 3396, RFC 3203, RFC 8415 §16.11; survey D18, D27, D31, V7, V8.",
            "Missing END options, trailing octets, repeated option 54 (dnsmasq) and offloaded checksums are lesser flaws.",
        ],
        WIRE,
    ),
    detected(
        Kind::DhcpHostileText,
        &[Packets],
        [
            "A host name, vendor class or similar option holds control characters or sequences that act on a terminal or log.",
            "RFC 1035 §2.3.1 on names; terminals' escape sequences.",
            "What servers echo is not counted again; the sample is shown sanitised.",
        ],
        WIRE,
    ),
    detected(
        Kind::DhcpBootStorm,
        &[Packets],
        [
            "20 new clients within 60 s, of whom 80 % got a lease.",
            "Survey D5.",
            "It is the benign twin of starvation and storms: information only.",
        ],
        WIRE,
    ),
    detected(
        Kind::DhcpOfferIgnored,
        &[Packets],
        [
            "A client asks again 3 times although an offer (ADVERTISE) was at hand each time, over 4 s or more, and takes none; 6 times for a boot ROM. The \
             reason is what all the offers have in common: a wrong UDP checksum, another VLAN than the question's, another destination than the relay, \
             no server named.",
            "RFC 2131 §4.4.1: a client takes an offer within seconds; survey D9, D35.",
            "A boot ROM leaves offers without boot options alone 4 times. An unfinished checksum is what offloading leaves on the sending host: it counts \
             only in DHCPv4, where clients read raw frames, at offers that came in from elsewhere, and only if nobody took one like it.",
        ],
        WIRE,
    ),
    detected(
        Kind::DhcpNoServer,
        &[Packets],
        [
            "A client on one of this host's own ports asks 4 times over 30 s or more, nothing answers, and no server was ever heard on that network. A \
             note where the port has an address, or where no router promises DHCPv6 (M flag).",
            "RFC 2131 §4.1, RFC 8415 §15, RFC 4861 §4.2; 30 s is the forwarding delay of a bridge port that just came up (IEEE 802.1D).",
            "A capture that may show one direction only says nothing: netlink must show that the asking port is this host's own.",
        ],
        CLIENT,
    ),
    detected(
        Kind::DhcpClientRefused,
        &[Packets],
        [
            "A client asks 4 times over 15 s or more without an answer while the server answers others; or its REQUESTs for an offer stay unanswered 3 \
             times while its DISCOVERs are answered.",
            "RFC 2131 §4.3.2: servers refuse in silence. Survey D8.",
            "Only where the capture shows the server's answers to single stations, or the client asks for broadcast ones. Three and more new clients \
             without an offer are dhcp.pool-exhausted, silence to everybody dhcp.server-unresponsive.",
        ],
        WIRE,
    ),
    detected(
        Kind::DhcpRenewalUnanswered,
        &[Packets],
        [
            "3 unicast renewals over 4 s or more get no answer, and the first thing that the client asks of everybody is answered at once; or renewals \
             go to a server identifier from which no answer ever came.",
            "RFC 2131 §4.4.5: renewals are unicast, past the relay; from T2 on the client asks everybody.",
            "When what is asked of everybody stays unanswered too, it is dhcp.server-unresponsive.",
        ],
        WIRE,
    ),
    detected(
        Kind::DhcpRelayDeaf,
        &[Packets],
        [
            "Two or more clients behind one relay ask again 3 times although an offer for them was sent, and nobody behind that relay takes one.",
            "RFC 2131 §4.1: answers go to giaddr, and the relay hands them on.",
            "One such client is dhcp.offer-ignored; a relay whose clients never ask again is dhcp.relay-spoofed.",
        ],
        WIRE,
    ),
    detected(
        Kind::DhcpFlood,
        &[Packets],
        [
            "1024 different senders on one link within 3 s, or 15,000 messages. Looked at each second; over after 10 s below that.",
            "The largest subnets in use for one broadcast domain (/22) have 1,022 addresses; fast scanners send 2,000 messages a second.",
            "What relays pass on comes from many links and is not counted. Where one takes addresses by it, that is dhcp.starvation and said instead.",
        ],
        WIRE,
    ),
];
