//! A peer: its sessions with their timers, what each end offered and where they differ, why it was lost last, BFD beside it.

use std::net::IpAddr;
use std::time::Duration;

use super::{joined, when};
use crate::detect::prefix::rows;
use crate::engine::Engine;
use crate::engine::query::Mood;
use crate::engine::query::card::{Card, Section};
use crate::event::bgp::Open;
use crate::output::bars::short;
use crate::output::pages::loss;
use crate::state::sessions::{Session, SessionId};

/// Sessions of one peer written out.
const MAX_SESSIONS: usize = 4;
/// Losses written out, the latest.
const MAX_LOSSES: usize = 6;

/// Its sections.
pub fn put(engine: &Engine, peer: IpAddr, card: &mut Card) {
    let net = engine.net();
    let all = net.sessions.iter().filter(|(_, session)| !session.is_table);
    let of_it = all.filter(|(_, session)| session.ends.iter().any(|end| end.addr == peer));
    for (id, session) in of_it.take(MAX_SESSIONS) {
        card.sections.extend(one(engine, id, session));
        let moment = session
            .down_at
            .unwrap_or(session.since.max(session.first_seen));
        let [low, high] = [session.ends[0].addr, session.ends[1].addr];
        let exchange = (format!("bgp {low} {high}"), moment);
        if session.in_packets() {
            card.exchange.get_or_insert(exchange);
        }
    }
    let mut losses: Vec<_> = engine
        .findings()
        .filter(|(_, finding, _)| {
            finding.subjects.iter().any(
                |subject| matches!(subject, crate::detect::Subject::Peer(addr, _) if *addr == peer),
            )
        })
        .filter_map(|(_, finding, incident)| Some((loss(finding)?, finding, incident)))
        .collect();
    losses.sort_by_key(|((at, _), _, _)| std::cmp::Reverse(*at));
    if !losses.is_empty() {
        let mut section = Section::new("LOSSES");
        for ((at, words), finding, _) in losses.iter().take(MAX_LOSSES) {
            let times = match finding.count {
                0 | 1 => String::new(),
                n => format!(" · {n} times"),
            };
            let text = format!("{words}{times}");
            section.put(&when(*at), text, Mood::Warning);
        }
        card.sections.push(section);
    }
    for ((a, b), bfd) in net.sessions.bfd().iter() {
        if *a != peer && *b != peer {
            continue;
        }
        let mut section = Section::new(format!("BFD  {a} – {b}"));
        let mood = if bfd.up { Mood::Good } else { Mood::Critical };
        let state = if bfd.up { "up" } else { "down" };
        let text = format!("{state} since {} · {} losses", when(bfd.since), bfd.downs);
        section.put("state", text, mood);
        for (at, addr) in [(0, a), (1, b)] {
            let Some(end) = bfd.ends.get(at).filter(|end| end.last.is_some()) else {
                section.put(&addr.to_string(), "never heard", Mood::Faded);
                continue;
            };
            let mut parts = Vec::new();
            parts.extend(
                end.last
                    .map(|last| format!("heard {} ago", short(engine.now().minus(last)))),
            );
            parts.push(format!(
                "tx {} ms × {}",
                end.desired_min_tx
                    .max(
                        bfd.ends
                            .get(1 - at)
                            .map_or(Duration::ZERO, |e| e.required_min_rx)
                    )
                    .as_millis(),
                end.detect_mult
            ));
            parts.extend(
                bfd.detection_time(at)
                    .map(|time| format!("lost after {} ms", time.as_millis())),
            );
            if end.longest_gap > Duration::ZERO {
                parts.push(format!(
                    "longest silence {} ms",
                    end.longest_gap.as_millis()
                ));
            }
            if end.diag != 0 {
                parts.push(format!("diag {}", diagnostic(end.diag)));
            }
            section.say(&addr.to_string(), parts.join(" · "));
        }
        card.sections.push(section);
    }
}

/// RFC 5880 §4.1.
fn diagnostic(code: u8) -> String {
    match code {
        1 => "1, detection time expired".to_owned(),
        2 => "2, echo function failed".to_owned(),
        3 => "3, the neighbor signalled it".to_owned(),
        4 => "4, forwarding plane reset".to_owned(),
        5 => "5, path down".to_owned(),
        6 => "6, concatenated path down".to_owned(),
        7 => "7, administratively down".to_owned(),
        8 => "8, reverse concatenated path down".to_owned(),
        other => other.to_string(),
    }
}

fn one(engine: &Engine, id: SessionId, session: &Session) -> Option<Section> {
    let (net, now) = (engine.net(), engine.now());
    let row = rows::session(net, engine.perspective(), id)?;
    let far = engine.perspective().far_end(&net.sessions, session);
    let (remote, local) = (session.ends.get(far)?, session.ends.get(1 - far)?);
    let up = row.state == "established";
    let mut section = Section::new(format!("SESSION  {} – {}", row.local, row.remote));
    let mood = if up { Mood::Good } else { Mood::Critical };
    let begun = if session.mid_stream && session.ups <= 1 {
        ", was up before we looked"
    } else {
        ""
    };
    section.put(
        "state",
        format!("{} since {}{begun}", row.state, when(row.since)),
        mood,
    );
    section.say(
        "losses",
        match session.down_at {
            Some(at) => format!("{} · the last at {}", row.downs, when(at)),
            None => row.downs.to_string(),
        },
    );
    for (name, end, asn) in [
        ("remote", remote, row.remote_as),
        ("local", local, row.local_as),
    ] {
        let mut parts = vec![end.addr.to_string()];
        parts.extend(asn.map(|asn| format!("AS{asn}")));
        if end.router_id != 0 {
            parts.push(format!("id {}", std::net::Ipv4Addr::from(end.router_id)));
        }
        parts.extend(end.mac.map(|mac| mac.to_string()));
        parts.extend(
            end.open
                .as_ref()
                .and_then(|open| open.host_name.as_ref())
                .map(|name| format!("\"{name}\"")),
        );
        section.say(name, parts.join(" · "));
    }
    section.say("vrf", row.vrf.clone().unwrap_or_default());
    timers(session, remote, local, up, now, &mut section);
    section.say(
        "prefixes",
        format!(
            "{} received · {} sent",
            row.prefixes_received, row.prefixes_sent
        ),
    );
    capabilities(remote.open.as_deref(), local.open.as_deref(), &mut section);
    let mut feed = vec![row.observers.join(", ")];
    if session.feed.is_some() {
        feed.push("ends at our own listener".to_owned());
    }
    section.say("seen by", feed.join(" · "));
    Some(section)
}

fn timers(
    session: &Session,
    remote: &crate::state::sessions::End,
    local: &crate::state::sessions::End,
    up: bool,
    now: crate::event::Timestamp,
    section: &mut Section,
) {
    let hold = session.hold_time();
    if let Some(hold) = hold {
        let text = match (hold.is_zero(), session.hold.is_some()) {
            (true, _) => "0: timers are off".to_owned(),
            (false, true) => format!(
                "{} s agreed, KEEPALIVE every {} s",
                hold.as_secs(),
                (hold.as_secs() / 3).max(1)
            ),
            (false, false) => format!("about {} s, by the KEEPALIVEs seen", hold.as_secs()),
        };
        section.say("hold time", text);
    }
    for (name, end) in [("from remote", remote), ("from local", local)] {
        let Some(last) = end.last_message else {
            continue;
        };
        let silence = now.minus(last);
        let mut parts = vec![format!("last message {} ago", short(silence))];
        parts.extend(
            end.last_keepalive
                .map(|at| format!("KEEPALIVE {} ago", short(now.minus(at)))),
        );
        let mut mood = Mood::Plain;
        if let Some(hold) = hold.filter(|hold| up && !hold.is_zero()) {
            let hold = i64::try_from(hold.as_nanos()).unwrap_or(i64::MAX);
            parts.push(format!(
                "expires in {}",
                short(hold.saturating_sub(silence))
            ));
            // Two KEEPALIVEs are missing.
            if silence > hold / 3 * 2 {
                mood = Mood::Warning;
            }
        }
        if end.unanswered.is_some() {
            parts.push(format!(
                "{} segments sent again unanswered",
                end.retransmissions
            ));
            mood = Mood::Warning;
        }
        if let Some(since) = end.zero_window {
            parts.push(format!("window closed since {}", when(since)));
            mood = Mood::Warning;
        }
        section.put(name, parts.join(" · "), mood);
    }
}

/// What both offered, and what only one did: a capability is in use only where both have it (RFC 5492 §3).
fn capabilities(remote: Option<&Open>, local: Option<&Open>, section: &mut Section) {
    let offers = |open: &Open| -> Vec<String> {
        let mut all: Vec<String> = open.families.iter().map(ToString::to_string).collect();
        let named = [
            (open.four_octet_as, "4-octet AS"),
            (open.route_refresh, "route refresh"),
            (open.enhanced_route_refresh, "enhanced route refresh"),
            (open.graceful_restart.is_some(), "graceful restart"),
            (!open.long_lived.is_empty(), "long-lived graceful restart"),
            (open.extended_messages, "extended messages"),
            (!open.extended_next_hop.is_empty(), "extended next hop"),
            (!open.add_path.is_empty(), "ADD-PATH"),
            (open.role.is_some(), "role"),
        ];
        let on = named.into_iter().filter(|(on, _)| *on);
        all.extend(on.map(|(_, name)| name.to_owned()));
        all
    };
    match (remote.map(offers), local.map(offers)) {
        (Some(remote), Some(local)) => {
            let both = remote.iter().filter(|name| local.contains(name));
            section.say("both offer", joined(both));
            let only = remote.iter().filter(|name| !local.contains(name));
            section.put("only remote", joined(only), Mood::Warning);
            let only = local.iter().filter(|name| !remote.contains(name));
            section.put("only local", joined(only), Mood::Warning);
        }
        (Some(remote), None) => section.say("remote offers", joined(remote)),
        (None, Some(local)) => section.say("local offers", joined(local)),
        (None, None) => section.put("offers", "no OPEN was seen", Mood::Faded),
    }
    if let (Some(remote), Some(local)) = (remote, local)
        && remote.hold_time != local.hold_time
    {
        let text = format!("remote {} s, local {} s", remote.hold_time, local.hold_time);
        section.say("hold offered", text);
    }
}
