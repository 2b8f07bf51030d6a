//! What gives addresses on a link: a DHCP client, a server, an IPv6 router, a neighbor, the interface itself.

use std::net::{IpAddr, Ipv6Addr};

use super::{joined, when};
use crate::engine::Engine;
use crate::engine::query::Mood;
use crate::engine::query::card::{Card, Section};
use crate::event::Timestamp;
use crate::event::netlink::protocol_name;
use crate::output::bars::{ahead, second, short};
use crate::output::tables;
use crate::state::leases::Lease;
use crate::state::leases::message::ServerId;

/// Things of a kind written out.
const MAX: usize = 12;
/// Routes looked at for those that lead through a neighbor: a few milliseconds of the engine's time. In a full table all do.
const MAX_WALK: usize = 50_000;

fn lease_words(engine: &Engine, lease: &Lease) -> (String, Mood) {
    let now = engine.now();
    if lease.until == Timestamp::MAX {
        return ("forever".to_owned(), Mood::Plain);
    }
    let timer = |name: &str, at: Timestamp| match at > now {
        true => format!("{name} {} ({})", ahead(now, at), second(now, at)),
        false => format!("{name} was at {}", second(now, at)),
    };
    let mood = match () {
        () if lease.until <= now => Mood::Critical,
        () if lease.t2 <= now => Mood::Warning,
        () => Mood::Good,
    };
    let text = [
        timer("renews T1", lease.t1),
        timer("rebinds T2", lease.t2),
        timer("ends", lease.until),
    ];
    (text.join(" · "), mood)
}

/// A DHCP client.
pub fn client(engine: &Engine, wanted: &str, card: &mut Card) {
    let (net, now) = (engine.net(), engine.now());
    let of_it = net
        .leases
        .clients
        .unordered()
        .filter(|client| client.id.to_string() == wanted);
    let mut found: Vec<_> = of_it.collect();
    found.sort_by_key(|client| client.scope);
    for client in found.into_iter().take(MAX) {
        let row = net.leases.client_row(client);
        let mut who = Section::new(format!("CLIENT  {} ({})", row.id, row.protocol));
        who.say(
            "host name",
            row.hostname
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        );
        who.say(
            "vendor class",
            row.vendor_class
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        );
        who.say("made by", row.oui.clone().unwrap_or_default());
        who.say(
            "mac",
            row.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        );
        who.say("identity", row.identity.clone().unwrap_or_default());
        who.say("fingerprint", row.fingerprint.clone());
        who.say("relays", joined(&row.relays));
        who.say(
            "port (82.1)",
            row.circuit_id
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        );
        who.say(
            "remote id (82.2)",
            row.remote_id
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        );
        if client.on_link {
            who.say("seen", "sending from its own address on this link");
        }
        who.say(
            "first, last",
            format!("{} · {}", when(row.first), when(row.last)),
        );
        card.sections.push(who);

        let mut talk = Section::new("ASKED AND GOT");
        let asked = row.asked.map(|verb| match row.wanted {
            Some(addr) => format!("{verb} for {addr}"),
            None => verb.to_owned(),
        });
        talk.say("asked last", asked.unwrap_or_default());
        talk.put(
            "got last",
            row.got.unwrap_or("nothing"),
            if row.got.is_some() {
                Mood::Plain
            } else {
                Mood::Warning
            },
        );
        talk.say(
            "counts",
            format!(
                "{} discover, {} offer, {} request, {} ack, {} nak, {} decline, {} release, {} inform",
                row.discovers, row.offers, row.requests, row.acks, row.naks, row.declines, row.releases, row.informs
            ),
        );
        for exchange in &row.exchanges {
            let mut parts = vec![exchange.asked.to_owned()];
            parts.extend(exchange.offered.map(|addr| {
                format!(
                    "offered {addr} by {}",
                    exchange.server.as_deref().unwrap_or("?")
                )
            }));
            // Tries are counted since the last answer.
            let since = exchange.answered.unwrap_or(exchange.began);
            let (answer, mood) = match (exchange.tries, exchange.answered) {
                (0, Some(at)) => (format!("answered at {}", when(at)), Mood::Plain),
                (tries, _) => (
                    format!(
                        "asked {} since {}, no answer for {}",
                        if tries == 1 {
                            "once".to_owned()
                        } else {
                            format!("{tries} times")
                        },
                        when(since),
                        short(now.minus(since))
                    ),
                    if tries > 1 {
                        Mood::Warning
                    } else {
                        Mood::Plain
                    },
                ),
            };
            parts.push(answer);
            let name = format!("xid 0x{:08x}", exchange.xid);
            talk.put(
                &name,
                format!("{} · began {}", parts.join(" · "), when(exchange.began)),
                mood,
            );
        }
        card.sections.push(talk);

        let mut leases = Section::new("LEASES");
        let held = net
            .leases
            .held()
            .filter(|(scope, _, lease)| *scope == client.scope && lease.client == client.id);
        for (_, prefix, lease) in held.take(MAX) {
            let (text, mood) = lease_words(engine, lease);
            leases.put(
                &prefix.to_string(),
                format!("from {} · {text}", lease.server),
                mood,
            );
        }
        if leases.lines.is_empty() {
            leases.put("", "holds none", Mood::Faded);
        }
        card.sections.push(leases);
        // The ladder's name: the hardware address (DHCPv4), the DUID (DHCPv6).
        let name = match (client.v6, row.mac) {
            (false, Some(mac)) => mac.to_string(),
            _ => row.id.clone(),
        };
        card.exchange
            .get_or_insert((format!("dhcp {name}"), row.last));
    }
}

/// A DHCP server.
pub fn server(engine: &Engine, wanted: &str, card: &mut Card) {
    let net = engine.net();
    let named = |id: &ServerId, addr: Option<IpAddr>| {
        id.to_string() == wanted || addr.is_some_and(|addr| addr.to_string() == wanted)
    };
    for server in net
        .leases
        .servers
        .iter()
        .filter(|s| named(&s.id, s.addr))
        .take(MAX)
    {
        let mut section = Section::new(format!("SERVER  {}", server.id));
        section.say(
            "address",
            server.addr.map(|addr| addr.to_string()).unwrap_or_default(),
        );
        section.say("mac", joined(&server.macs));
        section.say(
            "answers",
            format!(
                "{} offers, {} acks, {} naks",
                server.offers, server.acks, server.naks
            ),
        );
        if server.foreign_naks > 0 {
            let text = format!("{} to clients of other servers", server.foreign_naks);
            section.put("naks", text, Mood::Warning);
        }
        section.say(
            "lease time",
            server.lease_time.map(tables::lease).unwrap_or_default(),
        );
        section.say("gateway", joined(&server.config.routers));
        section.say("dns", joined(&server.config.dns));
        let routes = server
            .config
            .routes
            .iter()
            .map(|(to, via)| format!("{to} via {via}"));
        section.say("routes", joined(routes));
        section.say(
            "mask",
            server
                .config
                .mask
                .map(|mask| mask.to_string())
                .unwrap_or_default(),
        );
        if server.proxy {
            section.say("role", "ProxyDHCP: boot options only");
        }
        section.say(
            "first, last",
            format!("{} · {}", when(server.first), when(server.last)),
        );
        card.sections.push(section);
        let mut leases = Section::new(format!("LEASES  {}", server.leases));
        let held = net
            .leases
            .held()
            .filter(|(scope, _, lease)| *scope == server.scope && lease.server == server.id);
        for (_, prefix, lease) in held.take(MAX) {
            let (text, mood) = lease_words(engine, lease);
            leases.put(
                &prefix.addr().to_string(),
                format!("{} · {text}", lease.client),
                mood,
            );
        }
        if !leases.lines.is_empty() {
            card.sections.push(leases);
        }
    }
}

/// An IPv6 router.
pub fn router(engine: &Engine, wanted: &str, card: &mut Card) {
    let (net, now) = (engine.net(), engine.now());
    let Ok(addr) = wanted.parse::<Ipv6Addr>() else {
        return;
    };
    for (_, _, router) in net.routers.all().filter(|(_, of, _)| *of == addr).take(MAX) {
        let mut section = Section::new(format!("ROUTER  {addr}"));
        let (text, mood) = match router.expires() {
            Some(at) if at > now => (
                format!("default router, ends {}", ahead(now, at)),
                Mood::Good,
            ),
            Some(at) => (
                format!("default router until {}: not renewed", second(now, at)),
                Mood::Critical,
            ),
            None => ("no default router (lifetime 0)".to_owned(), Mood::Faded),
        };
        section.put("role", text, mood);
        section.say(
            "advertised",
            format!(
                "{} times{} · last {}",
                router.seen,
                router
                    .interval
                    .and_then(|gap| i64::try_from(gap.as_nanos()).ok())
                    .map(|gap| format!(", at best every {}", short(gap)))
                    .unwrap_or_default(),
                when(router.last)
            ),
        );
        for sender in &router.senders {
            let ra = &sender.ra;
            let mut parts = vec![format!("{} sent", sender.seen)];
            parts.push(format!("lifetime {} s", ra.lifetime));
            if ra.managed || ra.other {
                parts.push(
                    if ra.managed {
                        "addresses by DHCPv6"
                    } else {
                        "other by DHCPv6"
                    }
                    .to_owned(),
                );
            }
            parts.extend(
                ra.preference
                    .filter(|p| *p != 0)
                    .map(|p| format!("preference {}", if p > 0 { "high" } else { "low" })),
            );
            parts.extend(ra.mtu.map(|mtu| format!("MTU {mtu}")));
            let mood = if router.senders.len() > 1 {
                Mood::Warning
            } else {
                Mood::Plain
            };
            let name = sender
                .mac
                .map_or_else(|| "sender".to_owned(), |mac| mac.to_string());
            section.put(&name, parts.join(" · "), mood);
            for told in ra.prefixes.iter().take(MAX) {
                let mut parts = vec![told.prefix.to_string()];
                parts.extend(told.autonomous.then(|| "SLAAC".to_owned()));
                parts.extend(told.on_link.then(|| "on link".to_owned()));
                parts.push(format!(
                    "valid {}, preferred {}",
                    tables::lease(told.valid),
                    tables::lease(told.preferred)
                ));
                section.say("prefix", parts.join(" · "));
            }
            for (to, _, seconds) in ra.routes.iter().take(MAX) {
                section.say("route", format!("{to} for {seconds} s"));
            }
            for (seconds, servers) in ra.rdnss.iter().take(MAX) {
                section.say("dns", format!("{} for {seconds} s", joined(servers)));
            }
        }
        card.sections.push(section);
        card.exchange
            .get_or_insert((format!("nd {addr}"), router.last));
    }
}

/// A neighbor, and what leads through it.
pub fn neighbor(engine: &Engine, wanted: &str, card: &mut Card) {
    let net = engine.net();
    let Ok(addr) = wanted.parse::<IpAddr>() else {
        return;
    };
    for (index, _, state) in net
        .neighbors
        .iter()
        .filter(|(_, of, _)| *of == addr)
        .take(MAX)
    {
        let mut section = Section::new(format!("NEIGHBOR  {addr}"));
        let mood = if state.failed() {
            Mood::Critical
        } else {
            Mood::Plain
        };
        section.put(
            "state",
            format!("{} on {}", state.word(), net.links.name(index)),
            mood,
        );
        section.say(
            "mac",
            state.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        );
        card.sections.push(section);
    }
    let mut through = Section::new("ROUTES THROUGH IT");
    let routes = net
        .routes
        .iter()
        .take(MAX_WALK)
        .filter(|(_, route)| route.gateways().any(|gateway| gateway == addr));
    for (key, route) in routes.take(MAX) {
        through.say(&key.prefix.to_string(), protocol_name(route.protocol));
    }
    if !through.lines.is_empty() {
        card.sections.push(through);
    }
}

/// An interface.
pub fn link(engine: &Engine, wanted: &str, card: &mut Card) {
    let net = engine.net();
    let Some(link) = net.links.by_name(wanted) else {
        return;
    };
    let mut section = Section::new(format!("INTERFACE  {wanted}"));
    let usable = link.state.usable();
    let mut parts = vec![if link.state.up { "up" } else { "switched off" }.to_owned()];
    parts.push(
        if link.state.carrier {
            "carrier"
        } else {
            "NO CARRIER"
        }
        .to_owned(),
    );
    parts.push(format!("since {}", when(link.since)));
    section.put(
        "state",
        parts.join(" · "),
        if usable { Mood::Good } else { Mood::Critical },
    );
    section.say("kind", link.kind.as_deref().unwrap_or_default());
    section.say(
        "mtu",
        link.mtu.map(|mtu| mtu.to_string()).unwrap_or_default(),
    );
    section.say(
        "losses",
        link.losses
            .map(|n| format!("{n} since boot, by the kernel's count"))
            .unwrap_or_default(),
    );
    let addresses = net.addresses.on(link.ifindex).map(|(addr, _)| addr);
    section.say("addresses", joined(addresses.take(MAX)));
    section.say(
        "master",
        link.state
            .master
            .map(|index| net.links.name(index).to_string())
            .unwrap_or_default(),
    );
    card.sections.push(section);
}
