//! The raw stream for a screen: the last events as lines, bounded, numbered, filtered when asked.
//!
//! Formatting costs more than deciding, so a flood is not written out whole: of each turn only so many events are kept and the rest is
//! counted, and the log says where.

mod ladder;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::line::Lines;
use crate::engine::Engine;
use crate::engine::snapshot::case::Place;
use crate::event::{Event, EventKind, Prefix, SourceId, SourceInfo, Timestamp};
use crate::filter::events::Seen;
use crate::filter::kept::Kept;
use crate::filter::{Fact, Facts, Filter, Key};

/// Lines kept: a few MB, hours of a quiet host.
pub const MAX_LINES: usize = 20_000;
/// Events written out of one turn ([`Log::turn`], ten or twenty a second): 0.5 µs–3 µs each, so at most a tenth of a core in a flood.
pub const MAX_PER_TURN: u32 = 2_000;
/// The same while nobody looks: all of a quiet host, and under a hundredth of a core in a flood.
const ASLEEP_PER_TURN: u32 = 100;
/// Sources whose kind and host can be asked for; a feed that opens more connections is known by its lines.
const MAX_SOURCES: usize = 4096;
/// Longest line kept, in octets: an UPDATE shows eight prefixes, a DHCP packet all its options.
const MAX_LINE: usize = 600;

/// One event.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Counts all events, kept or not.
    pub number: u64,
    pub at: Timestamp,
    pub place: Place,
    /// `netlink`, `dhcp` … as the lanes name it.
    pub plane: String,
    /// Interface or kind of the source.
    pub source: String,
    pub text: String,
    /// The exchange that it is part of, and the message in it.
    pub exchange: Option<String>,
    pub rung: Option<Rung>,
    /// What it is about, as a subject: `link:up1`, `peer:192.0.2.1`.
    pub subject: Option<String>,
    /// Events before this one that were not written out.
    pub skipped: u64,
    /// What it can be filtered by; stays with the log.
    #[serde(skip)]
    facts: Kept,
}

/// A message between two parties.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rung {
    /// The party at the left of the ladder: the client, the speaker with the lower address.
    pub left: String,
    pub right: String,
    /// From left to right.
    pub forth: bool,
    /// `DISCOVER`, `OPEN`.
    pub label: String,
    /// What matters of it.
    pub note: String,
}

/// Properties of an event that filters ask for.
const KEYS: [Key; 6] = [
    Key::If,
    Key::Prefix,
    Key::Peer,
    Key::Asn,
    Key::Mac,
    Key::Src,
];
/// Facts kept of one event: a whole UPDATE has more, but its line shows no more either.
const MAX_FACTS: usize = 24;

impl Facts for Entry {
    fn any(&self, key: Key, test: &mut dyn FnMut(Fact<'_>) -> bool) -> bool {
        match key {
            Key::Kind => test(Fact::Word(&self.plane)),
            Key::Subject => self
                .subject
                .as_ref()
                .is_some_and(|subject| test(Fact::Word(subject))),
            Key::Src if test(Fact::Word(&self.source)) => true,
            _ => self.facts.any(key, test),
        }
    }

    fn text(&self, test: &mut dyn FnMut(Fact<'_>) -> bool) -> bool {
        [&self.text, &self.plane, &self.source]
            .into_iter()
            .any(|text| test(Fact::Word(text)))
    }

    fn has(&self, key: Key) -> bool {
        !matches!(key, Key::Sev | Key::State)
    }
}

/// Which part of the log is asked for.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct LogQuery {
    /// In the filter language; empty takes all.
    pub filter: String,
    /// Entries up to this time; `None` is the end.
    pub until: Option<Timestamp>,
    /// Matching entries to leave out at the end, and how many to give before them.
    pub back: u32,
    pub limit: u16,
}

/// A part of the log, oldest first.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct LogPage {
    pub entries: Vec<Entry>,
    /// Entries that match, and entries there are.
    pub matched: u64,
    pub kept: u64,
    /// Entries left out at the end.
    pub back: u32,
    /// Time of the oldest entry: the log's reach.
    pub reach: Option<Timestamp>,
}

/// The log.
#[derive(Default)]
pub struct Log {
    lines: Lines,
    sources: BTreeMap<SourceId, SourceInfo>,
    /// Shared with logs of other moments.
    entries: VecDeque<Arc<Entry>>,
    number: u64,
    this_turn: u32,
    skipped: u64,
    /// Entries written out in all, those no longer kept too.
    written: u64,
    /// Entries up to this one are only counted: whoever winds to a later moment knows that they would be gone by then.
    pub from: u64,
    /// Entries that do not fit any more are only counted: they are written out by going back when it is known which are the last.
    pub lazy: bool,
    /// Nobody looks: less is written out.
    pub asleep: bool,
}

impl Log {
    /// A new turn: so many events may be written out again.
    pub fn turn(&mut self) {
        self.this_turn = 0;
    }

    /// Keeps an event.
    /// `engine` knows the names of interfaces.
    pub fn keep(&mut self, event: &Event, engine: &Engine) {
        if let EventKind::Source(info) = &event.kind {
            self.lines.learn(event);
            if self.sources.len() < MAX_SOURCES {
                self.sources.insert(info.id, (**info).clone());
            }
            return;
        }
        self.number += 1;
        // Losses are always told.
        let most = if self.asleep {
            ASLEEP_PER_TURN
        } else {
            MAX_PER_TURN
        };
        if self.this_turn >= most && !matches!(event.kind, EventKind::Gap(_)) {
            self.skipped += 1;
            return;
        }
        self.this_turn += 1;
        self.written += 1;
        let skipped = std::mem::take(&mut self.skipped);
        if self.written <= self.from || (self.lazy && self.written > MAX_LINES as u64) {
            return;
        }
        if self.entries.len() >= MAX_LINES {
            self.entries.pop_front();
        }
        let (source, mut text) = self.lines.parts(event);
        let interface = interface(&event.kind).map(|index| engine.net().links.name(index));
        let seen = Seen {
            event,
            line: &text,
            source: self.sources.get(&event.source),
            interface: interface.as_deref(),
        };
        let facts = Kept::of(&seen, &KEYS, MAX_FACTS);
        if text.len() > MAX_LINE {
            let end = (0..=MAX_LINE).rev().find(|at| text.is_char_boundary(*at));
            text.truncate(end.unwrap_or(0));
            text.push('…');
        }
        self.entries.push_back(Arc::new(Entry {
            number: self.number,
            at: event.at,
            place: Place::of(&event.locator),
            plane: plane(&event.kind).to_owned(),
            source,
            subject: subject(&event.kind),
            text,
            skipped,
            facts,
            exchange: exchange(&event.kind),
            rung: ladder::of(&event.kind),
        }));
    }

    /// Forgets all entries; the names of sources stay.
    pub fn clear(&mut self) {
        *self = Log {
            lines: std::mem::take(&mut self.lines),
            sources: std::mem::take(&mut self.sources),
            ..Log::default()
        };
    }

    /// A log that goes on from here. What was kept so far is in it only while nothing had to go: then it is shared, and costs nothing.
    pub fn seed(&self) -> Log {
        Log {
            lines: self.lines.clone(),
            sources: self.sources.clone(),
            entries: match self.is_whole() {
                true => self.entries.clone(),
                false => VecDeque::new(),
            },
            ..*self
        }
    }

    /// Entries were only counted that should be there.
    pub fn is_behind(&self) -> bool {
        self.lazy && self.written > MAX_LINES as u64
    }

    /// All that was ever written out is in it.
    pub fn is_whole(&self) -> bool {
        self.entries.len() as u64 == self.written
    }

    /// Entries written out in all, those no longer kept too.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Entries kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Nothing kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter().map(AsRef::as_ref)
    }

    /// The last entries that match, and how many do. With `exact` those that name this prefix itself.
    pub fn history(&self, filter: &Filter, exact: Option<Prefix>, limit: u16) -> LogPage {
        let names = |entry: &Entry| match exact {
            Some(prefix) => entry.facts.any(
                Key::Prefix,
                &mut |fact| matches!(fact, Fact::Prefix(named) if named == prefix),
            ),
            None => filter.matches(entry),
        };
        let mut page = LogPage {
            kept: self.entries.len() as u64,
            reach: self.entries.front().map(|entry| entry.at),
            ..LogPage::default()
        };
        for entry in self.entries.iter().rev().filter(|entry| names(entry)) {
            page.matched += 1;
            if page.entries.len() < usize::from(limit) {
                page.entries.push(Entry::clone(entry));
            }
        }
        page.entries.reverse();
        page
    }

    /// A part of the log. What is no filter takes all: who asks has checked it.
    pub fn page(&self, query: &LogQuery) -> LogPage {
        let filter: Filter = query.filter.parse().unwrap_or_default();
        let end = match query.until {
            Some(until) => self.entries.partition_point(|entry| entry.at <= until),
            None => self.entries.len(),
        };
        let mut page = LogPage {
            kept: self.entries.len() as u64,
            back: query.back,
            reach: self.entries.front().map(|entry| entry.at),
            ..LogPage::default()
        };
        for entry in self
            .entries
            .iter()
            .take(end)
            .rev()
            .filter(|e| filter.matches(e.as_ref()))
        {
            page.matched += 1;
            if page.matched > u64::from(query.back) && page.entries.len() < usize::from(query.limit)
            {
                page.entries.push(Entry::clone(entry));
            }
        }
        page.entries.reverse();
        page
    }
}

/// The interface that an event of the kernel's is about.
fn interface(kind: &EventKind) -> Option<u32> {
    match kind {
        EventKind::Link(link) => Some(link.ifindex),
        EventKind::Address(address) => Some(address.ifindex),
        EventKind::Neighbor(neighbor) => Some(neighbor.ifindex),
        EventKind::Route(route) => route.hops.first()?.ifindex,
        _ => None,
    }
}

/// What an event is about, where that is one thing.
fn subject(kind: &EventKind) -> Option<String> {
    Some(match kind {
        EventKind::Link(link) => format!("link:{}", crate::event::text::sanitized(&link.name)),
        EventKind::Address(address) => format!("address:{}", address.addr),
        EventKind::Neighbor(neighbor) => format!("neighbor:{}", neighbor.addr?),
        EventKind::Route(route) => format!("prefix:{}", route.prefix),
        EventKind::Arp(arp) => format!("mac:{}", arp.sender_mac),
        EventKind::Nd(nd) => format!("router:{}", nd.frame.ip_src?),
        EventKind::Dhcp4(dhcp) => format!("client:{}", dhcp.client_mac()?),
        EventKind::Dhcp6(dhcp) => format!("client:{}", dhcp.client.as_ref()?),
        EventKind::Bgp(bgp) => format!("peer:{}", bgp.session.from),
        EventKind::Bmp(bmp) => format!("peer:{}", bmp.peer.as_ref()?.addr),
        EventKind::Vrrp(vrrp) => format!("router:{}", vrrp.frame.ip_src?),
        EventKind::Bfd(bfd) => format!("peer:{}", bfd.frame.ip_src?),
        EventKind::Tcp(tcp) => format!("peer:{}", tcp.src.ip()),
        _ => return None,
    })
}

/// The name of the exchange that an event is part of, where it is one.
pub fn exchange(kind: &EventKind) -> Option<String> {
    ladder::exchange(kind)
}

/// A message as an entry of its own, where it is part of an exchange.
pub fn rung(event: &Event, lines: &Lines) -> Option<Entry> {
    let rung = ladder::of(&event.kind)?;
    let (source, text) = lines.parts(event);
    Some(Entry {
        number: 0,
        at: event.at,
        place: Place::of(&event.locator),
        plane: plane(&event.kind).to_owned(),
        source,
        text,
        exchange: exchange(&event.kind),
        rung: Some(rung),
        subject: subject(&event.kind),
        skipped: 0,
        facts: Kept::default(),
    })
}

/// The plane that an event belongs to: what the lanes and the event screen name it.
pub fn plane(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::Link(_) => "link",
        EventKind::Address(_) => "address",
        EventKind::Neighbor(_) | EventKind::Arp(_) | EventKind::Vrrp(_) => "neighbor",
        EventKind::Nd(_) => "nd",
        EventKind::Route(_) | EventKind::Rule(_) | EventKind::Nexthop(_) => "route",
        EventKind::Dhcp4(_) | EventKind::Dhcp6(_) => "dhcp",
        EventKind::Bgp(_) => "bgp",
        EventKind::Bmp(_) => "bmp",
        EventKind::Bfd(_) => "bfd",
        EventKind::Tcp(_) => "tcp",
        EventKind::Gap(_) => "gap",
        EventKind::Malformed(_) => "damage",
        _ => "-",
    }
}
