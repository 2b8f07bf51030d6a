//! Episodes of unstable prefixes: one finding for all copies (packets, BMP, other peers) of one prefix's instability, and for all
//! prefixes that are unstable together.
//!
//! The count is that of the copy that saw most, never a sum. Findings are brought up to date at most every two seconds; the first report is immediate.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::time::Duration;

use crate::detect::finding::Period;
use hashbrown::HashMap;

use crate::detect::{Board, Fidelity, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::{Locator, Prefix, Timestamp};
use crate::state::NetState;
use crate::state::rib::RibId;
use crate::state::rib::hot::Hot;
use crate::state::rib::table::Slot;

use super::Scene;
use super::weather::Weather;

/// Open episodes of one kind: beyond it the world itself is unstable, and the peers' own findings say so.
const MAX_EPISODES: usize = 1024;
/// From so many on, the Internet's weather opens no further ones: the table of unstable prefixes has them all, and what is ours must
/// find room.
const MAX_WEATHER: usize = 256;
/// Prefixes named in a finding besides the first.
const MAX_NAMED: usize = 16;
/// Between two updates of a finding.
const REFRESH: Duration = Duration::from_secs(2);
/// The same for the Internet's weather, which nobody waits for; there can be thousands of such episodes.
const REFRESH_WEATHER: Duration = Duration::from_secs(300);
/// An episode is over after this much quiet (the survey's hysteresis: at least 5 min).
const QUIET: Duration = Duration::from_secs(300);
/// Prefixes of one origin that go within this are one episode: one announcement interval of FRR (1 s).
const TOGETHER: Duration = Duration::from_secs(1);
/// Prefixes of different origins must go in the same burst of UPDATEs.
const SAME_BURST: Duration = Duration::from_millis(50);
/// Occurrences kept between two updates of a finding.
const MAX_PENDING: usize = 64;
/// Copies of one prefix that are told apart.
const MAX_COPIES: usize = 32;

/// What a detector has to say about a route.
pub(super) struct Report<'a> {
    pub scene: &'a Scene<'a>,
    pub slot: Slot,
    pub hot: &'a Hot,
    /// Occurrences in this copy so far.
    pub count: u32,
    /// Since when.
    pub first: Timestamp,
}

#[derive(Clone)]
struct Episode {
    key: FindingKey,
    lead: Prefix,
    prefixes: BTreeSet<Prefix>,
    named: Vec<Prefix>,
    /// The copy that gives occurrences and evidence.
    primary: RibId,
    slot: Slot,
    origin: u32,
    /// Counts of the lead prefix by copy.
    copies: BTreeMap<RibId, u32>,
    first: Timestamp,
    last: Timestamp,
    last_stroke: Timestamp,
    pending: Vec<(Timestamp, Locator, Option<Timestamp>)>,
    /// Frames of other copies, one each.
    witnesses: Vec<(Timestamp, Locator)>,
    recovered: Option<Timestamp>,
    exact: bool,
    count: u32,
    /// Prefixes and copies changed since the last refresh.
    dirty: bool,
    /// When its finding was brought up to date last.
    refreshed: Timestamp,
    /// Above info.
    loud: bool,
}

/// Episodes of one kind.
#[derive(Clone)]
pub(super) struct Book {
    kind: Kind,
    weather: Weather,
    episodes: BTreeMap<u32, Episode>,
    next: u32,
    /// Never iterated, so its order is never seen; a sender can choose prefixes, so it is seeded.
    by_prefix: HashMap<Prefix, u32, foldhash::fast::RandomState>,
    /// Says of most prefixes that they have no episode, without a look at memory that is far away.
    filter: Filter,
    refresh_at: Option<Timestamp>,
    quiet: BTreeSet<(Timestamp, u32)>,
}

/// Episodes that end between two renewals of the filter.
const REBUILD: u32 = 64;
/// Words of the filter: 8 kB stay in the first-level cache, and with as many as [`MAX_EPISODES`] prefixes 1 in 64 of the others asks in vain.
const FILTER: usize = 1024;

/// A Bloom filter with one bit for each prefix.
#[derive(Clone)]
struct Filter {
    bits: Box<[u64; FILTER]>,
    hasher: foldhash::fast::RandomState,
    /// Episodes that ended since it was filled.
    removed: u32,
}

impl Default for Filter {
    fn default() -> Filter {
        Filter {
            bits: Box::new([0; FILTER]),
            hasher: foldhash::fast::RandomState::default(),
            removed: 0,
        }
    }
}

impl Filter {
    fn place(&self, prefix: &Prefix) -> (usize, u64) {
        let hash = self.hasher.hash_one(prefix);
        ((hash >> 6) as usize % FILTER, 1 << (hash & 63))
    }

    fn add(&mut self, prefix: &Prefix) {
        let (word, bit) = self.place(prefix);
        self.bits[word] |= bit;
    }

    fn may_hold(&self, prefix: &Prefix) -> bool {
        let (word, bit) = self.place(prefix);
        self.bits[word] & bit != 0
    }

    fn clear(&mut self) {
        self.bits.fill(0);
        self.removed = 0;
    }
}

impl Book {
    pub fn new(kind: Kind, weather: Weather) -> Book {
        Book {
            kind,
            weather,
            episodes: BTreeMap::new(),
            next: 0,
            by_prefix: HashMap::default(),
            filter: Filter::default(),
            refresh_at: None,
            quiet: BTreeSet::new(),
        }
    }

    /// Whether there is any episode.
    pub fn any(&self) -> bool {
        !self.by_prefix.is_empty()
    }

    /// Whether a prefix has an episode.
    pub fn has(&self, prefix: &Prefix) -> bool {
        self.filter.may_hold(prefix) && self.by_prefix.contains_key(prefix)
    }

    /// The route is unstable: opens an episode, joins one, or counts.
    pub fn raise(&mut self, report: &Report<'_>, board: &mut Board) {
        let scene = report.scene;
        let Some(prefix) = scene.rib.prefix(report.slot) else {
            return;
        };
        if self.has(&prefix) {
            return self.known(report);
        }
        let now = scene.event.at;
        let severity = self
            .weather
            .severity(scene.net, prefix, report.hot.origin_as);
        if severity == Severity::Info && self.episodes.len() >= MAX_WEATHER {
            return;
        }
        // What is ours is not one of many foreign prefixes that happen to share its fate.
        let loud = severity > Severity::Info;
        let companion = self
            .companion(report, now)
            .filter(|at| self.episodes.get(at).is_some_and(|e| e.loud || !loud));
        if let Some(at) = companion {
            if let Some(episode) = self.episodes.get_mut(&at) {
                if episode.prefixes.len() < crate::detect::finding::MAX_PREFIXES {
                    episode.prefixes.insert(prefix);
                    self.filter.add(&prefix);
                    self.by_prefix.insert(prefix, at);
                }
                if episode.named.len() < MAX_NAMED {
                    episode.named.push(prefix);
                }
                episode.last = now;
                episode.dirty = true;
            }
            return self.schedule(now, severity > Severity::Info);
        }
        if self.episodes.len() >= MAX_EPISODES {
            return;
        }
        let mut finding = Finding::at(
            self.kind,
            severity,
            Subject::Prefix(prefix),
            report.first.min(now),
        );
        finding.evidence.add(scene.event.locator);
        finding.last = now;
        // Occurrences before this one are known by their times only.
        finding.occurrences.clear();
        for at in report
            .hot
            .times()
            .iter()
            .filter(|_| self.kind == Kind::PrefixFlap)
        {
            finding.occurrences.push(crate::detect::Occurrence {
                at: *at,
                until: None,
            });
        }
        let mut episode = Episode {
            key: FindingKey(0),
            lead: prefix,
            prefixes: BTreeSet::from([prefix]),
            named: Vec::new(),
            primary: scene.id,
            slot: report.slot,
            origin: report.hot.origin_as,
            copies: BTreeMap::from([(scene.id, report.count)]),
            first: report.first.min(now),
            last: now,
            last_stroke: now,
            pending: Vec::new(),
            witnesses: Vec::new(),
            recovered: None,
            exact: scene.rib.kind.is_exact(),
            count: report.count,
            dirty: false,
            refreshed: now,
            loud: finding.severity > Severity::Info,
        };
        describe(&mut finding, self.kind, &episode, scene.net, now);
        episode.key = board.raise(finding);
        let at = self.next;
        self.next += 1;
        self.filter.add(&prefix);
        self.by_prefix.insert(prefix, at);
        self.episodes.insert(at, episode);
        self.quiet.insert((now + QUIET, at));
    }

    /// Counts an occurrence of a prefix that has an episode already.
    pub fn known(&mut self, report: &Report<'_>) {
        if self.by_prefix.is_empty() {
            return;
        }
        let scene = report.scene;
        let Some(prefix) = scene.rib.prefix(report.slot) else {
            return;
        };
        if !self.filter.may_hold(&prefix) {
            return;
        }
        let Some(episode) = self
            .by_prefix
            .get(&prefix)
            .and_then(|at| self.episodes.get_mut(at))
        else {
            return;
        };
        let now = scene.event.at;
        let loud = episode.loud;
        episode.last = episode.last.max(now);
        episode.dirty = true;
        if prefix == episode.lead {
            if !episode.copies.contains_key(&scene.id) && episode.copies.len() < MAX_COPIES {
                episode.witnesses.push((now, scene.event.locator));
                episode.exact |= scene.rib.kind.is_exact();
                episode.copies.insert(scene.id, 0);
            }
            if let Some(count) = episode.copies.get_mut(&scene.id) {
                *count = report.count;
            }
            episode.count = episode.count.max(report.count);
            if scene.id == episode.primary {
                episode.last_stroke = now;
                if episode.pending.len() < MAX_PENDING {
                    episode.pending.push((now, scene.event.locator, None));
                }
            }
        }
        self.schedule(now, loud);
    }

    /// The prefix is back.
    pub fn recovered(&mut self, report: &Report<'_>) {
        if self.by_prefix.is_empty() {
            return;
        }
        let scene = report.scene;
        let Some(prefix) = scene.rib.prefix(report.slot) else {
            return;
        };
        if !self.filter.may_hold(&prefix) {
            return;
        }
        let Some(episode) = self
            .by_prefix
            .get(&prefix)
            .and_then(|at| self.episodes.get_mut(at))
        else {
            return;
        };
        if prefix == episode.lead && scene.id == episode.primary {
            let now = scene.event.at;
            let loud = episode.loud;
            match episode.pending.last_mut() {
                Some(last) => last.2 = Some(now),
                None => episode.recovered = Some(now),
            }
            episode.dirty = true;
            self.schedule(now, loud);
        }
    }

    /// An open episode of the same copy that this route belongs to.
    fn companion(&self, report: &Report<'_>, now: Timestamp) -> Option<u32> {
        let alike = |a: u32, b: u32| a.abs_diff(b) <= 2.max(a.max(b) / 5);
        self.episodes
            .iter()
            .rev()
            .take(64)
            .find(|(_, episode)| {
                let near = if episode.origin != 0 && episode.origin == report.hot.origin_as {
                    TOGETHER
                } else {
                    SAME_BURST
                };
                episode.primary == report.scene.id
                    && now.since(episode.last_stroke) <= near
                    && alike(episode.count, report.count)
            })
            .map(|(at, _)| *at)
    }

    fn schedule(&mut self, now: Timestamp, loud: bool) {
        let at = now + if loud { REFRESH } else { REFRESH_WEATHER };
        self.refresh_at = Some(self.refresh_at.map_or(at, |known| known.min(at)));
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        [self.refresh_at, self.quiet.first().map(|(at, _)| *at)]
            .into_iter()
            .flatten()
            .min()
    }

    pub fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        if self.refresh_at.is_some_and(|at| at <= now) {
            self.flush(now, false, net, board);
        }
        while let Some((due, at)) = self.quiet.first().copied().filter(|(due, _)| *due <= now) {
            self.quiet.remove(&(due, at));
            let Some(episode) = self.episodes.get(&at) else {
                continue;
            };
            let over = episode.last + QUIET;
            if over > now {
                self.quiet.insert((over, at));
                continue;
            }
            let (key, last) = (episode.key, episode.last);
            board.update(key, |finding| finding.ended = Some(last));
            for prefix in &episode.prefixes {
                self.by_prefix.remove(prefix);
            }
            self.episodes.remove(&at);
            if self.by_prefix.is_empty() {
                self.filter.clear();
            } else {
                self.filter.removed += 1;
            }
            if self.filter.removed >= REBUILD {
                self.filter.clear();
                self.by_prefix
                    .keys()
                    .for_each(|prefix| self.filter.add(prefix));
            }
        }
    }

    /// Brings findings up to date.
    pub fn flush(&mut self, now: Timestamp, all: bool, net: &NetState, board: &mut Board) {
        self.refresh_at = None;
        let due = |episode: &Episode| {
            let wait = if episode.loud {
                REFRESH
            } else {
                REFRESH_WEATHER
            };
            episode.dirty && (all || episode.refreshed + wait <= now)
        };
        for episode in self.episodes.values_mut().filter(|episode| due(episode)) {
            episode.dirty = false;
            episode.refreshed = now;
            let pending = std::mem::take(&mut episode.pending);
            let witnesses = std::mem::take(&mut episode.witnesses);
            let recovered = episode.recovered.take();
            let kind = self.kind;
            let severity = self.weather.severity(net, episode.lead, episode.origin);
            episode.loud = severity > Severity::Info;
            board.update(episode.key, |finding| {
                if let Some(at) = recovered {
                    finding.recovered(at);
                }
                for (at, locator) in witnesses {
                    finding.evidence.add(locator);
                    finding.last = finding.last.max(at);
                }
                for (at, locator, until) in pending {
                    finding.again_at(at);
                    finding.evidence.add(locator);
                    if let Some(until) = until {
                        finding.recovered(until);
                    }
                }
                finding.last = finding.last.max(episode.last_stroke);
                finding.severity = severity;
                describe(finding, kind, episode, net, now);
            });
        }
    }
}

fn describe(finding: &mut Finding, kind: Kind, episode: &Episode, net: &NetState, now: Timestamp) {
    finding.count = u64::from(episode.count);
    finding.fidelity = if episode.exact {
        Fidelity::Exact
    } else {
        Fidelity::Compressed
    };
    finding.subjects.truncate(1);
    for prefix in &episode.named {
        finding.also(Subject::Prefix(*prefix));
    }
    for prefix in episode.named.iter().chain([&episode.lead]) {
        finding.touch(Touch::Prefix(*prefix));
    }
    for prefix in &episode.prefixes {
        finding.affected.prefix(*prefix);
    }
    if episode.origin != 0 {
        finding.also(Subject::Origin(episode.origin));
        finding.touch(Touch::As(episode.origin));
    }
    for id in episode.copies.keys() {
        let Some(session) = net
            .rib
            .get(*id)
            .and_then(|rib| Some((rib, net.sessions.get(rib.session)?)))
        else {
            continue;
        };
        let (rib, session) = session;
        let sender = &session.ends[rib.sender];
        finding.touch(Touch::Peer(sender.addr));
        if *id == episode.primary {
            finding.also(Subject::Peer(sender.addr, None));
            if sender.asn != 0 {
                finding.touch(Touch::As(sender.asn));
            }
        }
    }
    let span = finding.last.since(episode.first).as_secs_f64();
    let every = Period::of(&finding.occurrences)
        .map(|p| format!(", every {:.1} s", p.seconds))
        .unwrap_or_default();
    let others = match episode.prefixes.len() {
        1 => String::new(),
        n => format!(" and {} more prefixes together with it", n - 1),
    };
    let origin = if episode.origin == 0 {
        String::new()
    } else {
        format!(" (origin AS{})", episode.origin)
    };
    let copies = episode.copies.len();
    let seen = if copies > 1 {
        format!("; seen in {copies} copies, counted once")
    } else {
        String::new()
    };
    let hot = net
        .rib
        .get(episode.primary)
        .and_then(|rib| rib.cold(episode.slot))
        .and_then(|cold| net.rib.hot_records().get(cold.hot.checked_sub(1)?));
    let store = net.rib.hot_records();
    finding.explain = match kind {
        Kind::PrefixFlap => {
            let damped = hot
                .and_then(|hot| {
                    let (penalty, profile) = (&hot.penalties[0], &store.profiles()[0]);
                    let reuse = penalty.reuse_at(profile, now)?;
                    Some(format!(
                        "; FRR's default damping would suppress it (penalty {}) until {} UTC",
                        penalty.value(profile, now),
                        reuse.clock_from(now)
                    ))
                })
                .unwrap_or_default();
            format!(
                "{}{origin}{others} was withdrawn {} times in {span:.1} s{every}{damped}{seen}",
                episode.lead, episode.count
            )
        }
        Kind::PrefixPathOscillation => {
            format!(
                "The AS path of {}{origin}{others} changed {} times in {span:.1} s between the same paths, and it was never withdrawn{seen}",
                episode.lead, episode.count
            )
        }
        _ => {
            let what = hot
                .map(|hot| hot.what.names())
                .filter(|names| !names.is_empty())
                .unwrap_or_else(|| "attributes".to_owned());
            format!(
                "{}{origin}{others} changed its {what} {} times in {span:.1} s back and forth; path and reachability stayed{seen}",
                episode.lead, episode.count
            )
        }
    };
    let family = if episode.lead.is_ipv6() {
        "ipv6"
    } else {
        "ipv4"
    };
    finding.advice = vec![
        format!("vtysh -c 'show bgp {family} unicast {}'", episode.lead),
        format!("birdc 'show route for {} all'", episode.lead),
    ];
}
