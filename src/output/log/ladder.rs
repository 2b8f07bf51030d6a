//! Messages as rungs of a ladder: who spoke to whom, what it was, and what matters of it.

use std::net::IpAddr;

use super::Rung;
use crate::event::EventKind;
use crate::event::bgp::{BgpEvent, BgpMessage};
use crate::event::dhcp4::Dhcp4;
use crate::event::dhcp6::Dhcp6;
use crate::event::lan::{Nd, NdMessage};

/// The name of the exchange that an event is part of: the client's (DHCP), or both speakers' (BGP, BFD).
pub fn exchange(kind: &EventKind) -> Option<String> {
    match kind {
        EventKind::Dhcp4(dhcp) => Some(format!("dhcp {}", dhcp.client_mac()?)),
        EventKind::Dhcp6(dhcp) => Some(format!("dhcp {}", dhcp.client.as_ref()?)),
        EventKind::Bgp(bgp) => Some(pair("bgp", bgp.session.from, bgp.session.to)),
        EventKind::Tcp(tcp) => Some(pair("bgp", tcp.src.ip(), tcp.dst.ip())),
        EventKind::Bfd(bfd) => Some(pair("bfd", bfd.frame.ip_src?, bfd.frame.ip_dst?)),
        EventKind::Nd(nd) => Some(format!("nd {}", router(nd)?)),
        _ => None,
    }
}

fn pair(name: &str, a: IpAddr, b: IpAddr) -> String {
    let (low, high) = (a.min(b), a.max(b));
    format!("{name} {low} {high}")
}

/// Advertisements are an exchange of the router with its link.
fn router(nd: &Nd) -> Option<IpAddr> {
    match nd.message {
        NdMessage::RouterAdvertisement(_) => nd.frame.ip_src,
        _ => None,
    }
}

/// An event as a message between two parties. Acknowledgements without data are none.
pub fn of(kind: &EventKind) -> Option<Rung> {
    use crate::event::tcp::TcpFact;
    match kind {
        EventKind::Dhcp4(dhcp) => dhcp4(dhcp),
        EventKind::Dhcp6(dhcp) => dhcp6(dhcp),
        EventKind::Bgp(bgp) => Some(bgp_message(bgp)),
        EventKind::Tcp(tcp) => {
            let (label, note) = match tcp.what {
                TcpFact::Syn => ("SYN", String::new()),
                TcpFact::SynAck => ("SYN ACK", String::new()),
                TcpFact::Fin => ("FIN", String::new()),
                TcpFact::Rst => ("RST", String::new()),
                TcpFact::Retransmission(octets) => ("again", format!("{octets} octets")),
                TcpFact::ZeroWindow => ("window 0", String::new()),
                TcpFact::Hole(octets) => ("not seen", format!("{octets} octets")),
                TcpFact::Icmp { kind, code } => ("ICMP error", format!("{kind}/{code}")),
                TcpFact::FullSize(_) | TcpFact::Ack => return None,
            };
            Some(between(tcp.src.ip(), tcp.dst.ip(), label.to_owned(), note))
        }
        EventKind::Bfd(bfd) => {
            let label = crate::output::alert::tag(&bfd.state).to_uppercase();
            let note = if bfd.diag == 0 {
                String::new()
            } else {
                format!("diag {}", bfd.diag)
            };
            Some(between(bfd.frame.ip_src?, bfd.frame.ip_dst?, label, note))
        }
        EventKind::Nd(nd) => {
            let NdMessage::RouterAdvertisement(ra) = &nd.message else {
                return None;
            };
            Some(Rung {
                left: nd.frame.ip_src?.to_string(),
                right: "the link".to_owned(),
                forth: true,
                label: "RA".to_owned(),
                note: format!("router lifetime {} s", ra.lifetime),
            })
        }
        _ => None,
    }
}

/// The lower address stands at the left.
fn between(from: IpAddr, to: IpAddr, label: String, note: String) -> Rung {
    let forth = from <= to;
    let (left, right) = if forth { (from, to) } else { (to, from) };
    Rung {
        left: left.to_string(),
        right: right.to_string(),
        forth,
        label,
        note,
    }
}

fn dhcp4(dhcp: &Dhcp4) -> Option<Rung> {
    let client = dhcp.client_mac()?.to_string();
    // BOOTREQUEST is 1 (RFC 951).
    let forth = dhcp.op == 1;
    let label = match dhcp.message_type {
        Some(kind) => kind.to_string(),
        None => "BOOTP".to_owned(),
    };
    let mut note = Vec::new();
    let mut put = |name: &str, value: Option<String>| {
        note.extend(value.map(|value| format!("{name} {value}")));
    };
    put("wants", dhcp.requested_ip.map(|addr| addr.to_string()));
    put(
        "address",
        (!dhcp.yiaddr.is_unspecified()).then(|| dhcp.yiaddr.to_string()),
    );
    put(
        "lease",
        dhcp.lease_time.filter(|_| !forth).map(|s| format!("{s} s")),
    );
    put("gateway", dhcp.routers.first().map(ToString::to_string));
    put("says", dhcp.message.as_ref().map(ToString::to_string));
    let server = dhcp
        .server_id
        .map(IpAddr::V4)
        .or(dhcp.frame.ip_src.filter(|_| !forth));
    let right = match server {
        Some(server) => server.to_string(),
        None => "broadcast".to_owned(),
    };
    Some(Rung {
        left: client,
        right,
        forth,
        label,
        note: note.join(", "),
    })
}

fn dhcp6(dhcp: &Dhcp6) -> Option<Rung> {
    let client = dhcp.client.as_ref()?.to_string();
    let label = dhcp.name().to_owned();
    // ADVERTISE, REPLY and RECONFIGURE come from servers (RFC 8415 §7.3).
    let forth = !matches!(dhcp.message_type, 2 | 7 | 10);
    let mut note: Vec<String> = dhcp
        .addresses
        .iter()
        .map(|a| format!("address {} for {} s", a.addr, a.valid))
        .collect();
    note.extend(
        dhcp.prefixes
            .iter()
            .map(|p| format!("prefix {} for {} s", p.prefix, p.valid)),
    );
    note.extend(
        dhcp.status
            .iter()
            .map(|(code, text)| format!("status {code} {text}")),
    );
    let right = match dhcp.frame.ip_src.filter(|_| !forth) {
        Some(server) => server.to_string(),
        None => "servers".to_owned(),
    };
    Some(Rung {
        left: client,
        right,
        forth,
        label,
        note: note.join(", "),
    })
}

fn bgp_message(bgp: &BgpEvent) -> Rung {
    let (label, note) = match &bgp.message {
        BgpMessage::Open(open) => ("OPEN", format!("AS{}, hold {} s", open.asn, open.hold_time)),
        BgpMessage::Update(update) => {
            let mut parts = Vec::new();
            if !update.announced.is_empty() {
                parts.push(format!("+{}", update.announced.len()));
            }
            if !update.withdrawn.is_empty() {
                parts.push(format!("−{}", update.withdrawn.len()));
            }
            let first = update.withdrawn.first().or(update.announced.first());
            parts.extend(first.map(|nlri| nlri.prefix.to_string()));
            if let Some(family) = update.end_of_rib {
                parts.push(format!("end of {family}"));
            }
            ("UPDATE", parts.join(" "))
        }
        BgpMessage::TableEntry(_) => ("TABLE", String::new()),
        BgpMessage::Notification(said) => {
            let text = said.text.as_ref().map(|text| format!(" \"{text}\""));
            let (code, subcode) = said.cause();
            let hard = if said.inner.is_some() {
                "hard reset, "
            } else {
                ""
            };
            let meaning = said.meaning();
            let space = if meaning.is_empty() { "" } else { " " };
            let note = format!(
                "{hard}{code}/{subcode}{space}{meaning}{}",
                text.unwrap_or_default()
            );
            ("NOTIFICATION", note)
        }
        BgpMessage::Keepalive => ("KEEPALIVE", String::new()),
        BgpMessage::RouteRefresh { family, .. } => ("REFRESH", family.to_string()),
        BgpMessage::StateChange { old, new } => ("STATE", format!("{old} to {new}")),
        BgpMessage::Unknown(kind) => ("unknown", format!("type {kind}")),
    };
    between(bgp.session.from, bgp.session.to, label.to_owned(), note)
}
