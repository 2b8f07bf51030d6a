//! Words for an incident: title, impact, rejected causes, blind spots, what to try. One place for text, JSON and screen.

use std::collections::BTreeSet;

use super::changes::Changes;
use super::denial::{Denial, Look};
use super::incident::{Incident, Rejected};
use super::rules::{Grade, RULES};
use crate::detect::finding::Finding;
use crate::detect::subject::Subject;
use crate::detect::{Kind, Reason, Severity};
use crate::event::loss::Gap;
use crate::event::{Prefix, SourceId};
use crate::state::NetState;
use crate::state::sessions::State;

/// What was watched: which evidence could have been seen at all.
#[derive(Clone, Debug, Default)]
pub struct Visibility {
    /// rtnetlink of the analysed host.
    pub kernel: bool,
    /// Any packets.
    pub packets: bool,
    pub dhcp: bool,
    /// ARP or neighbor discovery.
    pub lan: bool,
    pub bgp_packets: bool,
    pub bmp: bool,
    pub mrt: bool,
    pub bfd: bool,
    pub router_advertisements: bool,
    /// A BGP session was already up when the watching began (no OPEN seen).
    pub mid_session: bool,
    /// Anything that says something of a network: not only sources, losses and damage.
    pub anything: bool,
}

impl Visibility {
    /// What is missing to see it, and what it would have changed.
    fn blind_to(&self, kind: Kind) -> Option<&'static str> {
        match kind.layer() {
            "link" | "address" | "neighbor" | "route" if !self.kernel => Some(
                "no netlink recording: a link, address or kernel route cause on this host cannot be seen or excluded",
            ),
            "bfd" if !self.bfd => Some("no BFD seen: a BFD cause cannot be excluded"),
            "session" | "prefix" if !(self.bgp_packets || self.bmp || self.mrt) => {
                Some("no BGP or BMP seen: a routing cause cannot be excluded")
            }
            _ => None,
        }
    }
}

/// What surrounds the findings when they are put into words.
#[derive(Clone)]
pub struct Surroundings<'a> {
    pub visibility: &'a Visibility,
    /// The model: timers that the input shows, leases, addresses.
    pub net: &'a NetState,
    /// Losses seen so far.
    pub gaps: &'a [(SourceId, Gap)],
    /// What people announced.
    pub changes: &'a Changes,
}

/// Fills in the words of an incident whose findings are in place.
pub fn complete(incident: &mut Incident, around: &Surroundings<'_>) {
    incident.title = title(incident);
    incident.impact = impact(incident, around.net);
    let mut witnesses = Vec::new();
    incident.rejected = rejected(incident, around.net, &mut witnesses);
    for witness in witnesses {
        if !incident.root.explanations.contains(&witness) {
            incident.root.explanations.push(witness);
        }
    }
    incident.blind = blind(incident, around.visibility);
    incident.advice = advice(incident);
    incident.changes = around.changes.before(incident);
    let (from, to) = incident.span();
    incident.gaps = around
        .gaps
        .iter()
        .filter(|(_, gap)| gap.from <= to && gap.to >= from)
        .take(16)
        .cloned()
        .collect();
}

/// One sentence: what happened to whom, and the worst that followed.
fn title(incident: &Incident) -> String {
    let mut title = headline(&incident.root);
    // The effect a reader asks about first: a session, then a lost route, then prefixes, then addresses.
    let telling = [
        "session", "route", "prefix", "address", "dhcp", "neighbor", "bfd",
    ];
    let effect = telling
        .iter()
        .filter(|layer| **layer != incident.root.kind.layer())
        .find_map(|layer| {
            incident
                .chain
                .iter()
                .find(|e| e.finding.kind.layer() == *layer && e.finding.severity > Severity::Info)
        });
    if let Some(effect) = effect {
        title.push_str("; ");
        title.push_str(&headline(&effect.finding));
        if effect.grade < Grade::Likely {
            title.push_str(" (possibly because of it)");
        }
    }
    title
}

/// A finding in a few words, without its details.
pub fn headline(finding: &Finding) -> String {
    let mut subject = finding.subjects.first().map(name).unwrap_or_default();
    if let (Some(table), Some(Subject::Prefix(_))) = (&finding.table, finding.subjects.first()) {
        subject.push_str(" in ");
        subject.push_str(table);
    }
    let vrf = finding
        .session
        .as_ref()
        .and_then(|ends| ends.vrf.as_deref());
    if let (Some(vrf), Some(Subject::Peer(..))) = (vrf, finding.subjects.first()) {
        subject.push_str(" in VRF ");
        subject.push_str(vrf);
    }
    let n = finding.count;
    let times = if n == 1 {
        String::new()
    } else {
        format!(" {n} times")
    };
    let why = finding
        .reason
        .filter(|r| *r != Reason::Unknown)
        .map(|r| format!(" ({})", reason_words(r)))
        .unwrap_or_default();
    match finding.kind {
        Kind::LinkFlap if finding.reason == Some(Reason::Admin) => {
            format!("{subject} was set down{times}")
        }
        Kind::LinkFlap | Kind::LinkCarrierLost => format!("{subject} lost carrier{times}"),
        Kind::LinkAdminDown => format!("{subject} was set down{times}"),
        Kind::LinkRemoved => format!("{subject} was removed{times}"),
        Kind::PathLoss => format!("packets to {subject} were lost beyond the local link{times}"),
        Kind::AddressRemoved => format!("{subject} was removed{times}"),
        Kind::AddressFlap => format!("{subject} was removed and added{times}"),
        Kind::AddressMoved => format!("{subject} moved to another host"),
        Kind::AddressConflict if finding.reason == Some(Reason::ProxyArp) => {
            format!("{subject} answers for every address that is checked")
        }
        Kind::AddressConflict if finding.reason == Some(Reason::TwoMasters) => {
            format!("two VRRP masters hold {subject} at once")
        }
        Kind::AddressConflict => format!("two hosts claim {subject}"),
        Kind::AddressDadFailed if finding.reason == Some(Reason::Loop) => {
            format!(
                "the host's own probe for {subject} came back to it{times}: the address is unusable"
            )
        }
        Kind::VrrpTwoMasters => format!("the virtual router of {subject} has two masters at once"),
        Kind::VrrpFlap => format!("the virtual router of {subject} changes its master{times}"),
        Kind::VrrpMoved => format!("the virtual router of {subject} has a new master"),
        Kind::AddressArpFlux => format!("one host answers for {subject} from two ports"),
        Kind::LinkMacMove if finding.reason == Some(Reason::Loop) => {
            format!("frames loop on {subject}: MAC addresses move between its ports{times}")
        }
        Kind::LinkMacMove => format!("{subject} moves between ports of a bridge{times}"),
        Kind::NeighborUnreachable => format!("{subject} does not answer any more"),
        Kind::NeighborFlood => format!("ARP or neighbor discovery floods {}", link(finding)),
        Kind::DhcpFlood => format!("DHCP requests flood {}", link(finding)),
        Kind::NeighborMacFlip => format!("the link-layer address of {subject} flips{times}"),
        Kind::SessionDown if finding.reason == Some(Reason::SpeakerGone) => {
            let sessions = finding.affected.sessions.len();
            format!("the BGP speaker here ({subject}) is gone: {sessions} sessions closed at once")
        }
        Kind::SessionUnestablished => format!("session to {subject} does not come up{why}"),
        Kind::RoutePeerPath => format!("packets to peer {subject} take another way"),
        Kind::SessionDown | Kind::SessionFlap => {
            format!("session to {subject} went down{times}{why}")
        }
        Kind::SessionMaxPrefix => format!("session to {subject} exceeded its prefix limit{times}"),
        Kind::BfdDown | Kind::BfdFlap => format!("BFD to {subject} went down{times}"),
        Kind::PrefixFlap => match finding.affected.prefixes.len() {
            0 | 1 => format!("{subject} flaps: withdrawn{times}"),
            many => format!("{many} prefixes flap together, first {subject}: withdrawn{times}"),
        },
        Kind::PrefixMassWithdrawal => {
            format!(
                "{} prefixes were withdrawn at once by {subject}{times}",
                finding.affected.prefixes.len() as u64 + finding.affected.more_prefixes
            )
        }
        Kind::PrefixPathOscillation => format!("the path of {subject} alternates{times}"),
        Kind::PrefixAttributeOscillation => format!("attributes of {subject} alternate{times}"),
        Kind::PrefixDuplicateUpdates => {
            format!("{subject} repeats its announcements unchanged{times}")
        }
        Kind::PrefixOriginConflict => {
            let origin = finding.subjects.iter().find_map(|s| {
                if let Subject::Origin(asn) = s {
                    Some(*asn)
                } else {
                    None
                }
            });
            match origin {
                Some(asn) => format!("AS{asn} originates {subject}, which belongs to another AS"),
                None => format!("two hosts announce {subject} at once"),
            }
        }
        Kind::RouteFlap | Kind::RouteWithdrawn => match finding.affected.routes.len() {
            many if many > 1 && !matches!(finding.subjects.first(), Some(Subject::Prefix(_))) => {
                format!("{many} kernel routes via {subject} were deleted{times}")
            }
            _ => format!("kernel route {subject} was deleted{times}"),
        },
        Kind::RouteForeignDelete => match finding.affected.routes.len() {
            0 | 1 => format!("{subject} was deleted by somebody who does not own it{times}"),
            many => format!(
                "{many} kernel routes were deleted by somebody who does not own them{times}, first {subject}"
            ),
        },
        Kind::RouteSilentLoss => {
            let prefixes = finding
                .subjects
                .iter()
                .filter(|s| matches!(s, Subject::Prefix(_)));
            let (n, first) = (
                finding.affected.routes.len().max(1),
                prefixes.map(name).next().unwrap_or(subject),
            );
            format!(
                "{n} kernel {} vanished silently, first {first}",
                if n == 1 { "route" } else { "routes" }
            )
        }
        Kind::RouteDefaultLost => format!("default route {subject} was lost{times}"),
        Kind::RouteDefaultFlap => format!("default route {subject} changed{times}"),
        Kind::RouteShadowed => format!("{subject} is shadowed by another route"),
        Kind::DhcpRogueServer => format!("unexpected DHCP server {subject}"),
        Kind::DhcpServerUnresponsive => format!("DHCP server {subject} stopped answering{times}"),
        Kind::DhcpLeaseExpired => format!("lease of {subject} ran out"),
        Kind::DhcpNakStorm => format!("{subject} was refused{times}"),
        Kind::DhcpDeclineLoop => format!("{subject} declined its address{times}"),
        Kind::DhcpClientChurn => format!("{subject} takes its lease anew in a loop{times}"),
        Kind::DhcpRouteInjection => format!("{subject} hands out routes that take over traffic"),
        Kind::DhcpGatewayChanged => format!("{subject} handed out another gateway{times}"),
        Kind::DhcpStarvation => format!("{subject} takes addresses in the name of {n} clients"),
        Kind::DhcpMalformed => format!("{subject} sends DHCP packets that break the rules{times}"),
        Kind::DhcpHostileText => {
            format!("{subject} sends DHCP text that would act on a terminal or log{times}")
        }
        Kind::DhcpRelaySpoofed => {
            format!("{subject} is no relay but sends relayed requests{times}")
        }
        Kind::DhcpPoolExhausted if finding.reason == Some(Reason::NoPrefix) => {
            format!("DHCP server {subject} has no prefix left to delegate")
        }
        Kind::DhcpPoolExhausted => format!("DHCP server {subject} has no address left"),
        Kind::DhcpOfferIgnored if matches!(finding.subjects.first(), Some(Subject::Server(_))) => {
            format!("{n} clients take none of the addresses that {subject} offers{why}")
        }
        Kind::DhcpOfferIgnored => {
            format!("{subject} is offered addresses and takes none{why}: it asked again{times}")
        }
        Kind::DhcpNoServer => format!("no DHCP server answers {subject}"),
        Kind::DhcpClientRefused => {
            format!("DHCP leaves {subject} without an answer while others are served{why}")
        }
        Kind::DhcpRenewalUnanswered => {
            format!("renewals to {subject} are not answered{times}{why}")
        }
        Kind::DhcpRelayDeaf => {
            format!("clients behind relay {subject} never get the answers sent to it{why}")
        }
        Kind::DhcpRequestStorm => format!("{subject} asks for a lease again and again{times}"),
        Kind::DhcpDuplicateLease => format!("{subject} is leased to two clients at once"),
        Kind::DhcpIdentityConflict if finding.reason == Some(Reason::ManyIdentities) => {
            format!("several DHCP clients on {subject} hold a lease each")
        }
        Kind::DhcpIdentityConflict if finding.severity == Severity::Info => {
            format!("{subject} shares a name or link-layer address with others")
        }
        Kind::DhcpIdentityConflict => format!("two machines use the DHCP identity {subject}"),
        Kind::RaSpoofed => {
            format!("router advertisements in the name of {subject} are forged{times}")
        }
        Kind::RaRogueRouter => format!("unexpected router {subject} advertises itself"),
        Kind::RaFlap => format!("router {subject} withdraws itself and returns{times}"),
        Kind::RaRouterWithdrawn => format!("router {subject} withdrew itself"),
        Kind::RaExpired => format!("the advertisement of router {subject} ran out"),
        Kind::NeighborFlap => format!("{subject} stopped answering and came back{times}"),
        Kind::RouteNexthopChurn => {
            format!("next hops of kernel routes changed, first {subject}{times}")
        }
        Kind::RouteEcmpShrunk => format!("multipath route {subject} lost members{times}"),
        Kind::SessionOpenRejected => {
            format!("session to {subject} is refused while opening{times}")
        }
        Kind::SessionMtuBlackhole => {
            format!("session to {subject} dies at its first full-size packet{times}")
        }
        Kind::SessionSpeakerRestarted => format!("all sessions of {subject} restarted at once"),
        Kind::PrefixNexthopUnresolved => format!("next hop {subject} cannot be resolved{times}"),
        Kind::PrefixBlackholed => format!("{subject} is announced here and ends nowhere{times}"),
        Kind::AddressUnannounced => {
            format!("{subject} is configured here and not announced{times}")
        }
        Kind::RouteFibMissing => format!("the kernel lacks {subject}, which BGP has{times}"),
        Kind::RouteRuleLost => {
            let table = finding.table.as_deref().unwrap_or("a table");
            format!("the policy rule into {table} was deleted{times}")
        }
        Kind::RouteFibStale => match finding.affected.routes.len() {
            0 | 1 => format!("the kernel keeps {subject}, which BGP lost{times}"),
            many => format!("the kernel keeps {many} routes, first {subject}, which BGP lost"),
        },
        Kind::PrefixZombie => format!("{subject} stays although it was withdrawn{times}"),
        Kind::PrefixPathHunting => {
            format!("the network hunted for paths to {subject} before it was withdrawn")
        }
        Kind::PrefixTableTransfer => format!("{subject} sent its whole table{times}"),
        Kind::PrefixMoved => format!("{subject} moved, once"),
        Kind::PrefixMoveFlap => format!("{subject} moves between hosts{times}"),
        Kind::EvpnMacMove => format!("{subject} moved to another VTEP{times}"),
        Kind::EvpnDuplicateMac => {
            format!("{subject} is announced by two VTEPs in turns: it moved{times}")
        }
        // The kind's own sentence after the subject; only its first letter is lowered, and no acronym is.
        _ => {
            let meaning = finding.kind.meaning().trim().trim_end_matches('.');
            let mut letters = meaning.chars();
            let (first, second) = (letters.next(), letters.next());
            let acronym = second.is_some_and(char::is_uppercase);
            let start: String = match first {
                Some(c) if !acronym => c.to_lowercase().chain(second).collect(),
                _ => first.into_iter().chain(second).collect(),
            };
            format!("{subject}: {start}{}{times}", letters.as_str())
        }
    }
}

/// A subject's value without its type, for sentences.
fn name(subject: &Subject) -> String {
    let text = subject.to_string();
    text.split_once(':')
        .map(|(_, value)| value.to_owned())
        .unwrap_or(text)
}

/// The link that a finding is about; a classic capture file names none.
fn link(finding: &Finding) -> String {
    match finding.subjects.first() {
        Some(Subject::Link(name)) => name.to_string(),
        _ => "the captured link".into(),
    }
}

/// A reason in words.
pub fn reason_words(reason: Reason) -> &'static str {
    match reason {
        Reason::LinkDown => "the link under it went down",
        Reason::AddressLost => "its local address was lost",
        Reason::NeighborUnreachable => "the neighbor does not answer",
        Reason::NexthopLost => "no route to the peer",
        Reason::HoldTimerExpired => "hold timer expired",
        Reason::SendHoldExpired => "send hold timer expired",
        Reason::BfdDown => "BFD went down",
        Reason::AdminShutdown => "shut down by an administrator",
        Reason::AdminReset => "reset by an administrator",
        Reason::MaxPrefix => "too many prefixes",
        Reason::PeerDeconfigured => "peer de-configured",
        Reason::ConfigChange => "configuration change",
        Reason::Rejected => "connection rejected",
        Reason::Collision => "connection collision",
        Reason::Resources => "out of resources",
        Reason::OpenError => "error in the OPEN",
        Reason::UpdateError => "error in an UPDATE",
        Reason::HeaderError => "error in a message header",
        Reason::FsmError => "state machine error",
        Reason::TcpClosed => "TCP connection closed",
        Reason::TcpReset => "TCP connection reset",
        Reason::GracefulRestart => "graceful restart",
        Reason::Auth => "authentication failure",
        Reason::ProcessHung => "the BGP process hung",
        Reason::ProcessLate => "the BGP process was late",
        Reason::SpeakerGone => "the BGP speaker is gone",
        Reason::Unanswered => "nobody answers",
        Reason::Refused => "nobody listens",
        Reason::Unknown => "reason unknown",
        Reason::Carrier => "loss of carrier",
        Reason::Loop => "frames loop",
        Reason::TwoMasters => "two masters at once",
        Reason::ProxyArp => "one machine answers for all",
        Reason::Admin => "set down",
        Reason::DetectionExpired => "detection time expired",
        Reason::PeerSignaled => "signalled by the other end",
        Reason::Checksum => "wrong UDP checksum",
        Reason::Destination => "sent to somebody else",
        Reason::Vlan => "in another VLAN",
        Reason::Identity => "not who it says",
        Reason::NoAddress => "NoAddrsAvail",
        Reason::NoPrefix => "NoPrefixAvail",
        Reason::NoBinding => "NoBinding",
        Reason::NotOnLink => "NotOnLink",
        Reason::ManyIdentities => "one machine under many identities",
        Reason::Recreated => "created anew by one end",
    }
}

/// What is broken or was, with numbers.
fn impact(incident: &Incident, net: &NetState) -> String {
    let all = || std::iter::once(&incident.root).chain(incident.chain.iter().map(|e| &e.finding));
    let mut parts: Vec<String> = Vec::new();
    if all().any(|f| f.ended.is_none() && f.broken.default_route && default_missing(f, net)) {
        parts.push("the default route is still missing".to_owned());
    } else if let Some(lost) =
        all().find(|f| matches!(f.kind, Kind::RouteDefaultLost | Kind::RouteDefaultFlap))
    {
        let down = longest_outage(lost);
        parts.push(match down {
            Some(seconds) => format!(
                "default route disturbed {} (longest {seconds:.1} s)",
                times(lost.count)
            ),
            None => format!("default route disturbed {}", times(lost.count)),
        });
    }
    let down: BTreeSet<String> = all()
        .filter(|f| f.kind.layer() == "session" && f.ended.is_none() && f.broken.subject)
        // A speaker that is gone is none of its own sessions.
        .filter(|f| f.reason != Some(Reason::SpeakerGone))
        .filter(|f| still_down(f, net))
        .filter_map(|f| Some(f.subjects.first()?.to_string()))
        .collect();
    let sessions_down = down.len();
    if sessions_down > 0 {
        parts.push(format!(
            "{sessions_down} {} still down",
            if sessions_down == 1 {
                "session is"
            } else {
                "sessions are"
            }
        ));
    }
    let mut affected: Vec<String> = Vec::new();
    for (n, one, many) in [
        (incident.affected.prefix_count(), "prefix", "prefixes"),
        (
            incident.affected.routes.len() as u64,
            "kernel route",
            "kernel routes",
        ),
        (
            incident.affected.sessions.union(&down).count() as u64,
            "session",
            "sessions",
        ),
        (
            incident.affected.clients.len() as u64,
            "DHCP client",
            "DHCP clients",
        ),
    ] {
        if n > 0 {
            affected.push(format!("{n} {}", if n == 1 { one } else { many }));
        }
    }
    if let Some(last) = affected.pop() {
        parts.push(match affected.as_slice() {
            [] => format!("{last} affected"),
            more => format!("{} and {last} affected", more.join(", ")),
        });
    }
    if parts.is_empty() {
        parts.push(match incident.severity {
            Severity::Info => "nothing is broken".to_owned(),
            _ => "no affected prefix, session or client seen".to_owned(),
        });
    }
    parts.join("; ")
}

/// Whether a default route of the finding's family is missing in the kernel now. What the kernel's tables never showed is as the finding says.
fn default_missing(finding: &Finding, net: &NetState) -> bool {
    let families: BTreeSet<bool> = super::join::prefixes(finding)
        .filter(Prefix::is_default)
        .map(|prefix| prefix.is_ipv6())
        .collect();
    if net.routes.is_empty() || families.is_empty() {
        return true;
    }
    families.into_iter().any(|v6| {
        let all = if v6 {
            Prefix::v6([0; 16], 0)
        } else {
            Prefix::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0)
        };
        net.routes.best(all).is_none()
    })
}

/// Whether the session of a finding is down now, as the model has it.
fn still_down(finding: &Finding, net: &NetState) -> bool {
    let session = finding.session.as_ref().and_then(|ends| {
        let (id, _) = net.sessions.between(ends.local, ends.remote)?;
        net.sessions.get(id)
    });
    session.is_none_or(|session| session.state != State::Established)
}

/// "once" or "4 times".
pub(super) fn times(n: u64) -> String {
    if n == 1 {
        "once".to_owned()
    } else {
        format!("{n} times")
    }
}

fn longest_outage(finding: &Finding) -> Option<f64> {
    finding
        .occurrences
        .iter()
        .filter_map(|o| o.until.map(|until| until.since(o.at).as_secs_f64()))
        .reduce(f64::max)
}

/// Causes that were looked for and do not hold: those the detectors rejected, and those whose evidence would have been seen.
/// What speaks for a cause instead is added to `witnesses`.
fn rejected(incident: &Incident, net: &NetState, witnesses: &mut Vec<String>) -> Vec<Rejected> {
    let mut rejected: Vec<Rejected> = Vec::new();
    let members =
        || std::iter::once(&incident.root).chain(incident.chain.iter().map(|e| &e.finding));
    for (kind, reason, because) in members().flat_map(|f| &f.rejected) {
        if !rejected
            .iter()
            .any(|r| r.kind == *kind && r.reason == *reason)
        {
            rejected.push(Rejected {
                kind: *kind,
                reason: *reason,
                because: because.clone(),
            });
        }
    }
    let present: BTreeSet<Kind> = members().map(|f| f.kind).collect();
    let mut asked: Vec<Look> = Vec::new();
    for rule in RULES
        .iter()
        .filter(|rule| rule.effects.contains(&incident.root.kind))
    {
        let Some(look) = rule.absent.filter(|look| !asked.contains(look)) else {
            continue;
        };
        let kind = look.kind();
        let named = rejected.iter().any(|r| r.kind.layer() == kind.layer());
        if named || rule.causes.iter().any(|cause| present.contains(cause)) {
            continue;
        }
        asked.push(look);
        match look.ask(&incident.root, rule.window.least(&incident.root), net) {
            Denial::Denied(because) => rejected.push(Rejected {
                kind,
                reason: None,
                because,
            }),
            Denial::Seen(Some(witness)) => witnesses.push(witness),
            Denial::Seen(None) | Denial::Unknown => {}
        }
    }
    rejected.truncate(6);
    rejected
}

/// Whether seeing such a cause could have changed the verdict: a NOTIFICATION that says why a session ended leaves nothing open below it,
/// unless it names BFD itself or only says that a timer ran out, which a dead link does too.
fn would_matter(cause: Kind, root: &Finding) -> bool {
    // A process that hung while its kernel acknowledged, or is gone, was no matter of the path.
    let of_a_process = matches!(
        root.reason,
        Some(Reason::ProcessHung | Reason::ProcessLate | Reason::SpeakerGone)
    );
    if of_a_process && cause.layer() == "bfd" {
        return false;
    }
    let Some((notification, _)) = &root.notification else {
        return true;
    };
    match notification.cause() {
        // RFC 9384: Cease/BFD Down.
        (6, 10) => true,
        // A timer of the wire: a link below may have died; BFD, where it ran, would have told first.
        (4, _) => cause.layer() != "bfd",
        _ => !matches!(
            cause.layer(),
            "link" | "address" | "neighbor" | "route" | "bfd"
        ),
    }
}

/// What could not be seen, where it would have mattered for this root.
fn blind(incident: &Incident, visibility: &Visibility) -> Vec<String> {
    let mut blind: Vec<String> = Vec::new();
    for rule in RULES
        .iter()
        .filter(|rule| rule.effects.contains(&incident.root.kind))
    {
        for text in rule
            .causes
            .iter()
            .filter(|kind| would_matter(**kind, &incident.root))
            .filter_map(|kind| visibility.blind_to(*kind))
        {
            if !blind.iter().any(|known| known == text) {
                blind.push(text.to_owned());
            }
        }
    }
    let routing = matches!(incident.root.kind.layer(), "session" | "prefix" | "bfd");
    if routing && visibility.mid_session {
        blind.push(
            "the watching began in mid-session: no OPEN seen, timers and capabilities are inferred"
                .to_owned(),
        );
    }
    if routing && !visibility.bmp && !visibility.mrt {
        blind.push("no BMP: what other routers received is unknown".to_owned());
    }
    blind
}

/// Read-only commands that help next, root first.
fn advice(incident: &Incident) -> Vec<String> {
    let mut advice: Vec<String> = Vec::new();
    for command in std::iter::once(&incident.root)
        .chain(incident.chain.iter().map(|e| &e.finding))
        .flat_map(|f| &f.advice)
    {
        if !advice.contains(command) {
            advice.push(command.clone());
        }
    }
    advice.truncate(5);
    advice
}
