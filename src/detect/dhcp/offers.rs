//! Why a client takes none of its offers, as far as the packets show it.

use std::net::Ipv6Addr;
use std::time::Duration;

use crate::detect::Reason;
use crate::event::Event;
use crate::state::NetState;
use crate::state::hosts::Scope;
use crate::state::leases::Seen;
use crate::state::leases::client::Client;
use crate::state::leases::message::{Message, Verb};
use crate::state::leases::quest::{Offers, Quest};

/// Times that a client asks anew although an offer was at hand (knowledge D9) …
const LEFT: u32 = 3;
/// … a boot ROM waits 60 s for an offer with boot options and asks 4 times meanwhile (PXE specification 2.1 §2.2.2).
const LEFT_BOOTING: u32 = 6;
/// … over at least this long: the first back-off of RFC 2131 §4.1; whoever collects offers is done by then.
const LEFT_FOR: Duration = Duration::from_secs(4);

/// What is told.
pub struct Ignored {
    pub reason: Reason,
    /// The whole sentence.
    pub explain: String,
    /// Its reason as a clause, for a sentence about many.
    pub why: String,
    pub advice: Vec<String>,
}

/// Whether a client lets its offers lie, and what they have in common.
pub fn ignored(heard: &Seen, client: &Client, quest: &Quest, net: &NetState) -> Option<Ignored> {
    let m = &heard.message;
    let enough = if m.boots { LEFT_BOOTING } else { LEFT };
    if quest.left < enough || quest.last.since(quest.left_since) < LEFT_FOR {
        return None;
    }
    let offers = &quest.offers;
    let offer = Verb::Offer.name(m.v6);
    let (reason, why) = common(heard, quest, net, offer);
    let explain = format!(
        "Client {} asked {} times in {:.0} s; it was offered an address {} times and took none{why}.",
        client.id,
        quest.asked,
        quest.span().as_secs_f64(),
        offers.heard,
    );
    Some(Ignored {
        reason,
        explain,
        why,
        advice: advice(reason, m),
    })
}

/// What all offers have in common.
fn common(heard: &Seen, quest: &Quest, net: &NetState, offer: &str) -> (Reason, String) {
    let m = &heard.message;
    let offers = &quest.offers;
    if offers.elsewhere == offers.heard {
        return (
            Reason::Vlan,
            format!(
                ": it asks {} and each {offer} for it came {}",
                tags(&m.frame.vlans),
                tags(&offers.vlans)
            ),
        );
    }
    if offers.misdirected == offers.heard {
        let to = offers
            .to
            .map_or_else(|| "somebody else".into(), |to| to.to_string());
        let relay = m.relay.map(|relay| relay.to_string()).unwrap_or_default();
        return (
            Reason::Destination,
            format!(
                ": each {offer} went to {to} instead of port 67 of its relay {relay} (RFC 2131 §4.1)"
            ),
        );
    }
    if let Some(text) = spoiled(heard, quest, net, offer) {
        return (Reason::Checksum, text);
    }
    if offers.nameless == offers.heard {
        let text = format!(": no {offer} names its server, so that it cannot be taken");
        return (Reason::Identity, text);
    }
    if offers.misnamed == offers.heard {
        let text = format!(": each {offer} names another client's DUID, so that it drops them");
        return (Reason::Identity, text);
    }
    let sound = if offers.right == offers.heard {
        format!("; the checksum of each {offer} is right")
    } else {
        String::new()
    };
    (Reason::Unknown, sound)
}

/// Bad checksums. An unfinished one is what offloading leaves on the host that sends: it says something only of frames that came in, to a
/// client that reads them raw (DHCPv4; DHCPv6 clients use sockets, where the kernel knows better), and only where nobody took one like it.
fn spoiled(heard: &Seen, quest: &Quest, net: &NetState, offer: &str) -> Option<String> {
    let m = &heard.message;
    let Offers {
        wrong, unfinished, ..
    } = quest.offers;
    let server = quest.offers.server.as_ref()?;
    let own = quest.offers.mac.is_some_and(|mac| net.links.is_own(mac));
    let known = net.leases.servers.get(heard.scope, server)?;
    let counts = !m.v6 && !own && known.unfinished_taken == 0;
    let bad = wrong + if counts { unfinished } else { 0 };
    if bad == 0 || bad < quest.offers.heard {
        return None;
    }
    let what = if wrong == 0 {
        "an unfinished UDP checksum (left to a network card that never sees it)"
    } else {
        "a wrong UDP checksum"
    };
    let own = if quest.sound == quest.asked {
        ", while those of its own messages are right"
    } else {
        ""
    };
    Some(format!(": each {offer} arrived with {what}{own}"))
}

/// "untagged", "in VLAN 10".
fn tags(vlans: &[Option<u16>; 3]) -> String {
    let tags: Vec<String> = vlans.iter().flatten().map(u16::to_string).collect();
    if tags.is_empty() {
        "untagged".into()
    } else {
        format!("in VLAN {}", tags.join("."))
    }
}

/// A router that promises DHCPv6 on the link of a message.
pub fn promised(event: &Event, m: &Message, net: &NetState) -> Option<Ipv6Addr> {
    let link = Scope::of(event, &m.frame);
    net.routers
        .on_link(link)
        .find(|(_, router)| router.current().is_some_and(|sender| sender.ra.managed))
        .map(|(addr, _)| addr)
}

fn advice(reason: Reason, m: &Message) -> Vec<String> {
    let port = if m.v6 { 547 } else { 67 };
    let mut advice = vec![format!(
        "tcpdump -nvvei any 'udp port {port}'   # checksums, VLANs and destinations of the answers"
    )];
    match reason {
        Reason::Checksum => advice.push(
            "ethtool -k IFACE | grep checksum   # on the server's (or hypervisor's) port: tx-checksumming".into(),
        ),
        Reason::Vlan => advice.push("bridge vlan show".into()),
        Reason::Destination => {
            advice.push("ip route get RELAY   # on the server; which address does it answer to?".into());
        }
        _ => advice.push("nft list ruleset   # on the client: is the answer dropped?".into()),
    }
    advice
}
