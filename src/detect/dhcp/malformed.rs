//! `dhcp.malformed`: DHCP packets that break the rules in ways that receivers read differently.
//!
//! One finding for each sender. Habits of honest clients are told apart: a missing END option, trailing octets, servers that repeat
//! option 54 (dnsmasq), fragments and checksums that offloading leaves undone count only when there are many of them. A single broken
//! packet is worth a note, not an alarm.

use std::collections::BTreeSet;
use std::time::Duration;

use super::watch::{Quiet, Watched};
use super::{DHCP, client_subject, interface, touch_all};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::dhcp4::Dhcp4Flaw;
use crate::event::dhcp6::Dhcp6Flaw;
use crate::event::frame::Mac;
use crate::event::loss::Protocol;
use crate::event::{Classes, Event, EventKind, SourceId, Timestamp};
use crate::state::{NetState, Observation};

/// Packets with a grave flaw before it is more than a note; or two with [`KINDS`] different grave flaws.
const PACKETS: u64 = 3;
const KINDS: usize = 2;
/// Packets with a lesser flaw only, within [`WINDOW`], before they are told at all (knowledge D27: 5 a minute).
const LESSER: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);
/// No broken packet for this long: over.
const QUIET: Duration = Duration::from_secs(120);
/// Payloads that were no DHCP at all have no sender; behind a sender's broken packets they are taken for its own.
const NEARBY: Duration = Duration::from_secs(5);

#[derive(Clone, Default)]
struct Sender {
    grave: BTreeSet<String>,
    lesser: BTreeSet<String>,
    recent: Vec<Timestamp>,
    packets: u64,
    key: Option<FindingKey>,
    last: Timestamp,
}

/// The detector.
#[derive(Clone)]
pub struct Malformed {
    senders: Watched<(Option<Mac>, SourceId), Sender>,
    /// The finding that was told last on each source.
    latest: Watched<SourceId, Option<(FindingKey, Timestamp)>>,
    quiet: Quiet,
}

impl Default for Malformed {
    fn default() -> Malformed {
        Malformed {
            senders: Watched::new(QUIET),
            latest: Watched::new(QUIET),
            quiet: Quiet::default(),
        }
    }
}

impl Detector for Malformed {
    fn name(&self) -> &'static str {
        "dhcp.malformed"
    }

    fn wants(&self) -> Classes {
        DHCP.and(Classes::MALFORMED)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let event = seen.event;
        match &event.kind {
            EventKind::Malformed(bad)
                if matches!(bad.protocol, Protocol::Dhcp4 | Protocol::Dhcp6) =>
            {
                if let Some(Some((key, at))) = self.latest.get_mut(&event.source)
                    && event.at.since(*at) <= NEARBY
                {
                    let key = *key;
                    self.quiet.until(key, event.at + QUIET);
                    board.update(key, |f| f.again(event));
                }
            }
            EventKind::Dhcp4(m) if !m.flaws.is_empty() => {
                let names = |weight: Weight| {
                    m.flaws
                        .iter()
                        .filter(|flaw| !(m.op == 2 && is_echo(**flaw)))
                        .filter(|flaw| weigh(**flaw, m.op == 2) == weight)
                        .map(words)
                        .collect::<Vec<_>>()
                };
                let flaws = [Weight::Grave, Weight::Lesser, Weight::Note].map(names);
                self.broken(event, flaws, net, board);
            }
            EventKind::Dhcp6(m) if !m.flaws.is_empty() => {
                let (notes, grave): (Vec<Dhcp6Flaw>, Vec<Dhcp6Flaw>) = m
                    .flaws
                    .iter()
                    .partition(|flaw| **flaw == Dhcp6Flaw::NotAuthenticated);
                let names = |flaws: &[Dhcp6Flaw]| flaws.iter().map(words).collect();
                self.broken(
                    event,
                    [names(&grave), Vec::new(), names(&notes)],
                    net,
                    board,
                );
            }
            _ => {}
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.quiet.next()
    }

    fn expire(&mut self, now: Timestamp, _net: &NetState, board: &mut Board) {
        self.quiet.expire(now, board);
    }
}

impl Malformed {
    fn broken(
        &mut self,
        event: &Event,
        [grave, lesser, notes]: [Vec<String>; 3],
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(heard) = net
            .leases
            .seen()
            .filter(|heard| !(heard.copy || heard.twin))
        else {
            return;
        };
        if grave.is_empty() && lesser.is_empty() && notes.is_empty() {
            return;
        }
        let m = &heard.message;
        let mac = m.frame.eth_src;
        let Some(sender) = self.senders.at((mac, event.source), event.at) else {
            return;
        };
        if event.at.since(sender.last) > QUIET {
            *sender = Sender::default();
        }
        sender.last = event.at;
        let is_grave = !grave.is_empty();
        let at_once = is_grave || !notes.is_empty();
        sender.grave.extend(grave);
        sender.lesser.extend(lesser);
        sender.lesser.extend(notes);
        if !at_once && sender.key.is_none() {
            sender.recent.retain(|at| event.at.since(*at) <= WINDOW);
            sender.recent.push(event.at);
            if sender.recent.len() < LESSER {
                return;
            }
        }
        sender.packets += u64::from(is_grave);
        let key = match sender.key.filter(|key| board.get(*key).is_some()) {
            Some(key) => {
                board.update(key, |f| f.again(event));
                key
            }
            None => {
                let subject = mac.map_or_else(|| client_subject(&m.client), Subject::Mac);
                let mut f = Finding::new(Kind::DhcpMalformed, Severity::Info, subject, event);
                f.advice = vec![
                    "open the frames in Wireshark: filter `dhcp && _ws.malformed || dhcp.option.value`".into(),
                ];
                if let Some(mac) = mac {
                    f.touch(Touch::Mac(mac));
                    f.advice.push(format!("bridge fdb show | grep -i {mac}"));
                }
                board.raise(f)
            }
        };
        sender.key = Some(key);
        self.quiet.until(key, event.at + QUIET);
        let loud = sender.packets >= PACKETS || (sender.packets > 1 && sender.grave.len() >= KINDS);
        let flaws: Vec<String> = sender.grave.iter().chain(&sender.lesser).cloned().collect();
        if let Some(latest) = self.latest.at(event.source, event.at) {
            *latest = Some((key, event.at));
        }
        board.update(key, |f| {
            if f.touches.len() < 32 {
                touch_all(f, event, m, net);
            }
            if let Some(touch) = interface(event, net) {
                f.touch(touch);
            }
            if loud {
                f.severity = Severity::Warning;
            }
            let from = mac.map_or_else(|| "A sender".into(), |mac| mac.to_string());
            f.explain = format!(
                "{from} sent {}: {}.",
                super::plural(f.count, "broken DHCP packet"),
                flaws.join(", ")
            );
        });
    }
}

/// What a flaw weighs.
#[derive(Copy, Clone, Eq, PartialEq)]
enum Weight {
    /// Receivers read the packet differently because of it.
    Grave,
    /// It only shows carelessness: counts when there is much of it.
    Lesser,
    /// Everybody reads it alike, and what it says is wrong: worth a note at once, and never an alarm.
    Note,
}

fn weigh(flaw: Dhcp4Flaw, from_server: bool) -> Weight {
    match flaw {
        _ if flaw.is_readable() => Weight::Note,
        Dhcp4Flaw::NoEnd
        | Dhcp4Flaw::AfterEnd
        | Dhcp4Flaw::Checksum
        | Dhcp4Flaw::Fragmented
        | Dhcp4Flaw::UdpLength => Weight::Lesser,
        // dnsmasq --dhcp-option=54 sends it twice.
        Dhcp4Flaw::DuplicateOption if from_server => Weight::Lesser,
        _ => Weight::Grave,
    }
}

/// What a server repeats from the client's packet (RFC 2131 table 3) is the client's flaw.
fn is_echo(flaw: Dhcp4Flaw) -> bool {
    matches!(
        flaw,
        Dhcp4Flaw::BadHardwareAddress | Dhcp4Flaw::HardwareLength | Dhcp4Flaw::BadRelayAgent
    )
}

/// A flaw's name in words: "option overrun".
fn words(flaw: &impl std::fmt::Debug) -> String {
    let mut out = String::new();
    for c in format!("{flaw:?}").chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.extend(c.to_lowercase());
    }
    out
}
