//! A prefix: what BGP says of it, peer by peer, what the kernel has, and how unstable it is.

use super::ways::{self, Way};
use super::{joined, when};
use crate::detect::prefix::rows;
use crate::engine::Engine;
use crate::engine::query::Mood;
use crate::engine::query::card::{Card, Section};
use crate::event::Prefix;
use crate::event::netlink::protocol_name;
use crate::output::bars::{bars, second};
use crate::output::pages::{covering, via};
use crate::state::routes::{Route, RouteKey, TABLE_LOCAL, TABLE_MAIN};

/// Ways written out; the rest is counted.
const MAX_WAYS: usize = 16;

/// Its sections.
pub fn put(engine: &Engine, prefix: Prefix, card: &mut Card) {
    let net = engine.net();
    let ways = ways::of(engine, prefix);
    let kernel: Vec<(&RouteKey, &Route)> = net
        .routes
        .tables()
        .into_iter()
        .flat_map(|table| net.routes.of(table, prefix))
        .collect();
    let gateways: Vec<_> = kernel
        .iter()
        .flat_map(|(_, route)| route.gateways())
        .collect();
    if !ways.is_empty() || !net.rib.is_empty() {
        card.sections.push(bgp(engine, &ways, &gateways));
    }
    if !net.routes.is_empty() {
        card.sections.push(routes(engine, prefix, &kernel));
    }
    card.sections.extend(damping(engine, &ways));
}

fn bgp(engine: &Engine, ways: &[Way], gateways: &[std::net::IpAddr]) -> Section {
    let net = engine.net();
    let mut section = Section::new("BGP SAYS");
    for way in ways.iter().take(MAX_WAYS) {
        let mut parts: Vec<String> = Vec::new();
        let here = net
            .rib
            .get(way.rib)
            .and_then(|rib| Some((rib, rib.cold(way.slot)?)));
        let since = here.map(|(rib, cold)| when(rib.last_change(cold)));
        let attrs = net.rib.attributes(way.last);
        let used = attrs
            .and_then(|attrs| attrs.next_hop)
            .is_some_and(|next_hop| gateways.contains(&next_hop));
        match (way.attrs.is_some(), way.best) {
            (false, _) => parts.push(format!("WITHDRAWN since {}", since.unwrap_or_default())),
            (true, true) => parts.push(format!("best, since {}", since.unwrap_or_default())),
            (true, false) if !way.received => {
                parts.push(format!("told by us since {}", since.unwrap_or_default()));
            }
            (true, false) => parts.push(format!("since {}", since.unwrap_or_default())),
        }
        if used && way.attrs.is_some() {
            parts.push("in the kernel".to_owned());
        }
        if let Some(attrs) = attrs {
            parts.extend(
                attrs
                    .next_hop
                    .map(|next_hop| format!("next hop {next_hop}")),
            );
            parts.push(match attrs.as_path.is_empty() {
                true => "own AS".to_owned(),
                false => format!("path {}", attrs.as_path),
            });
            parts.extend(attrs.local_pref.map(|value| format!("pref {value}")));
            parts.extend(attrs.med.map(|value| format!("med {value}")));
            if !attrs.communities.is_empty() {
                let named = attrs.communities.iter().take(8);
                let named = named.map(|c| format!("{}:{}", c >> 16, c & 0xffff));
                parts.push(format!("communities {}", joined(named)));
            }
        }
        let row = rows::prefix(net, way.rib, way.slot, engine.now());
        parts.extend(row.and_then(|row| row.rov).map(|rov| format!("rov {rov}")));
        let id = match way.path_id {
            0 => String::new(),
            id => format!(" #{id}"),
        };
        let name = match way.received {
            true => format!("{}{id}", way.peer),
            false => format!("to {}{id}", way.to),
        };
        let mood = match (way.attrs.is_some(), way.best) {
            (false, _) => Mood::Critical,
            (true, true) => Mood::Good,
            (true, false) => Mood::Plain,
        };
        section.put(&name, parts.join(" · "), mood);
    }
    if ways.is_empty() {
        section.put("", "nobody announces it", Mood::Faded);
    } else if ways.len() > MAX_WAYS {
        let more = format!("and {} ways more", ways.len() - MAX_WAYS);
        section.put("", more, Mood::Faded);
    }
    section
}

fn routes(engine: &Engine, prefix: Prefix, kernel: &[(&RouteKey, &Route)]) -> Section {
    let mut section = Section::new("KERNEL HAS");
    for (key, route) in kernel.iter().filter(|(key, _)| key.table != TABLE_LOCAL) {
        section.say(&protocol_name(route.protocol), words(engine, key, route));
    }
    if section.lines.is_empty() {
        let cover = covering(engine, prefix);
        let text = match cover {
            Some((key, route)) => format!(
                "no such route; {} covers it ({} {})",
                key.prefix,
                protocol_name(route.protocol),
                words(engine, &key, &route)
            ),
            None => "no such route, and none that covers it".to_owned(),
        };
        section.put("", text, Mood::Warning);
    }
    section
}

fn words(engine: &Engine, key: &RouteKey, route: &Route) -> String {
    let net = engine.net();
    let devices = route.hops.iter().filter_map(|hop| hop.ifindex);
    let mut devices: Vec<String> = devices
        .map(|index| net.links.name(index).to_string())
        .collect();
    devices.dedup();
    let mut parts = Vec::new();
    let gateways = via(engine, route);
    match (route.kind, gateways.as_str()) {
        (crate::state::routes::RTN_UNICAST, "") => {}
        (crate::state::routes::RTN_UNICAST, gateways) if gateways.starts_with("dev ") => {
            parts.push(gateways.to_owned());
        }
        (crate::state::routes::RTN_UNICAST, gateways) => {
            parts.push(format!("via {gateways} dev {}", devices.join(",")));
        }
        (6, _) => parts.push("blackhole".to_owned()),
        (7, _) => parts.push("unreachable".to_owned()),
        (8, _) => parts.push("prohibit".to_owned()),
        (kind, _) => parts.push(format!("type {kind} {gateways}")),
    }
    if key.metric != 0 {
        parts.push(format!("metric {}", key.metric));
    }
    if key.table != TABLE_MAIN {
        parts.push(format!("table {}", key.table));
    }
    parts.push(format!("since {}", when(route.since)));
    for hop in &*route.hops {
        if hop.flags & crate::event::netlink::RTNH_F_LINKDOWN != 0 {
            parts.push("LINK DOWN".to_owned());
            break;
        }
    }
    parts.join(" · ")
}

/// The least stable of its ways: churn over time and what each profile would do.
fn damping(engine: &Engine, ways: &[Way]) -> Option<Section> {
    let (net, now) = (engine.net(), engine.now());
    let store = net.rib.hot_records();
    let hottest = ways
        .iter()
        .filter_map(|way| {
            let cold = net.rib.get(way.rib)?.cold(way.slot)?;
            Some((way, cold.hot.checked_sub(1).and_then(|at| store.get(at))?))
        })
        .max_by(|a, b| a.1.rank().total_cmp(&b.1.rank()));
    let Some((way, hot)) = hottest else {
        return (!ways.is_empty()).then(|| {
            let mut section = Section::new("STABILITY");
            section.put("", "did not change twice since we look", Mood::Good);
            section
        });
    };
    let row = rows::prefix(net, way.rib, way.slot, now)?;
    let mut section = Section::new(format!("STABILITY  {}", way.peer));
    section.say(
        "churn",
        format!(
            "{} {} withdrawals, {} changes since {}",
            bars(&hot.churn.until(now, super::SPARK)),
            row.withdrawals,
            row.attr_changes,
            when(row.first)
        ),
    );
    section.say(
        "period",
        row.period
            .map(|period| format!("every {period:.1} s"))
            .unwrap_or_default(),
    );
    section.say("last change", when(row.last));
    for damping in &row.damping {
        let (text, mood) = match damping.reuse_at.filter(|_| damping.suppressed) {
            Some(reuse) => (
                format!(
                    "penalty {}: would be suppressed until {}",
                    damping.penalty,
                    second(now, reuse)
                ),
                Mood::Warning,
            ),
            None => (
                format!("penalty {}: would not be suppressed", damping.penalty),
                Mood::Plain,
            ),
        };
        section.put(damping.profile, text, mood);
    }
    Some(section)
}
