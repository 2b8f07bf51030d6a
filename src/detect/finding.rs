//! A detector's statement about subjects, with its evidence; and the board on which detectors put and update them.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::subject::{Subject, Touch};
use crate::event::bgp::Notification;
use crate::event::{Event, Locator, Prefix, PrefixSet, Timestamp};

/// Evidence kept of one finding: the contract allows 8.
pub const MAX_EVIDENCE: usize = 8;
/// Occurrences kept of one finding; older ones in the middle are dropped, the count goes on. 256 cycles are far more than any rule needs.
pub const MAX_OCCURRENCES: usize = 256;
/// Prefixes remembered of one finding for joins; the number affected is counted beyond it. A BGP session's worth of ElasticIPs.
pub const MAX_PREFIXES: usize = 4096;
/// Findings on the board at once; a flood of distinct subjects ends here and is counted in [`Board::refused`].
pub const MAX_FINDINGS: usize = 8192;

/// How much is broken.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

/// How faithful a count is (law 5). Ordered from best to worst.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fidelity {
    /// Packets, MRT updates, kernel notifications.
    Exact,
    /// BMP Route Monitoring collapses intermediate states; carrier counters jump further than the events seen.
    Compressed,
    /// Found by re-dump, or implied by kernel rules.
    Inferred,
    /// A gap overlaps.
    Gap,
}

/// Proximate reasons of `session.*`, as a speaker would log them, and of some other kinds. Names are part of the JSON contract.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    LinkDown,
    AddressLost,
    NeighborUnreachable,
    NexthopLost,
    HoldTimerExpired,
    SendHoldExpired,
    BfdDown,
    AdminShutdown,
    AdminReset,
    MaxPrefix,
    PeerDeconfigured,
    ConfigChange,
    Rejected,
    Collision,
    Resources,
    OpenError,
    UpdateError,
    HeaderError,
    FsmError,
    TcpClosed,
    TcpReset,
    GracefulRestart,
    /// The ends' TCP MD5 or TCP-AO keys do not fit.
    Auth,
    /// A kernel acknowledged, and its BGP process said nothing for the hold time.
    ProcessHung,
    /// A message had arrived, and the hold timer ran out all the same: the process did not come to read it.
    ProcessLate,
    /// The BGP speaker here closed all its sessions and is not back.
    SpeakerGone,
    /// session.unestablished: nobody answers.
    Unanswered,
    /// session.unestablished: nobody listens.
    Refused,
    Unknown,
    /// address.*, link.*: frames come back to their sender, or circle.
    Loop,
    /// address.*, vrrp.*: a virtual router has two masters.
    TwoMasters,
    /// address.*: one machine answers for others' addresses.
    ProxyArp,
    /// link.*: loss of carrier.
    Carrier,
    /// link.*: set down.
    Admin,
    /// bfd.*: detection time expired.
    DetectionExpired,
    /// bfd.*: the other end signalled down.
    PeerSignaled,
    /// dhcp.*: the answers' UDP checksum is wrong.
    Checksum,
    /// dhcp.*: the answers go to another address or port than they must.
    Destination,
    /// dhcp.*: the answers come in another VLAN than the questions.
    Vlan,
    /// dhcp.*: who asks or answers is not who it says.
    Identity,
    /// dhcp.*: the server has no address left (NoAddrsAvail).
    NoAddress,
    /// dhcp.*: the server has no prefix to delegate (NoPrefixAvail).
    NoPrefix,
    /// dhcp.*: the server knows no such lease (NoBinding).
    NoBinding,
    /// dhcp.*: the address is of another network (NotOnLink).
    NotOnLink,
    /// dhcp.*: one machine under many identities.
    ManyIdentities,
    /// bfd.*: one end created its session anew.
    Recreated,
}

/// First, last and telling frames.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Evidence {
    kept: Vec<Locator>,
    /// How many there were in all.
    pub total: u64,
}

impl Evidence {
    /// Adds a frame: the first half of the room keeps the first ones, the rest always holds the last ones.
    pub fn add(&mut self, locator: Locator) {
        // Number 0 is the locator of a deadline: no frame.
        if locator.number == 0 || self.kept.contains(&locator) {
            return;
        }
        self.total += 1;
        if self.kept.len() == MAX_EVIDENCE {
            self.kept.remove(MAX_EVIDENCE / 2);
        }
        self.kept.push(locator);
    }

    /// At most [`MAX_EVIDENCE`] locators, in the order of their times.
    pub fn kept(&self) -> &[Locator] {
        &self.kept
    }
}

/// One instance of the defining event: when it began, and when it was over (recovery), if it was.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Occurrence {
    pub at: Timestamp,
    pub until: Option<Timestamp>,
}

/// What a finding did to others, for the incident's `affected`.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Affected {
    /// BGP prefixes (at most [`MAX_PREFIXES`] are remembered).
    pub prefixes: PrefixSet,
    /// Prefixes beyond the remembered ones.
    pub more_prefixes: u64,
    /// Kernel routes.
    pub routes: PrefixSet,
    /// Sessions, as `peer:` subjects.
    pub sessions: std::collections::BTreeSet<Subject>,
    /// DHCP clients, as `client:` subjects.
    pub clients: std::collections::BTreeSet<Subject>,
}

impl Affected {
    /// Remembers a prefix, or counts it when the room is used up.
    pub fn prefix(&mut self, prefix: Prefix) {
        if self.prefixes.len() < MAX_PREFIXES {
            self.prefixes.insert(prefix);
        } else if !self.prefixes.contains(&prefix) {
            self.more_prefixes += 1;
        }
    }
}

/// What is still broken, worst first; decides severity and the impact sentence.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Broken {
    /// A default route is missing now.
    pub default_route: bool,
    /// The last path to some prefix is missing now.
    pub last_path: bool,
    /// The subject itself is down now.
    pub subject: bool,
}

/// A period of occurrences; the correlator's table of timers fills it in.
#[derive(Clone, PartialEq, Debug)]
pub struct Period {
    /// Seconds between occurrences (median).
    pub seconds: f64,
    /// Relative spread (median absolute deviation over median).
    pub spread: f64,
    /// A known timer it matches ("FRR's connect retry (30 s)").
    pub matches: Option<String>,
}

/// Distances that prove a period: the survey asks for three in a row (C33).
const LEAST_GAPS: usize = 3;
/// A relative spread from which on occurrences are not periodic (D3).
const LOOSE: f64 = 0.3;

/// Occurrences closer than this are one burst: no timer of a protocol or daemon fires faster, and BFD's packets are no occurrences.
const LEAST_PERIOD: f64 = 0.05;

impl Period {
    /// Occurrences keep it; a back-off, whose waits double, has none.
    pub fn is_steady(&self) -> bool {
        self.spread < LOOSE
    }

    /// The period of occurrences, where there are enough of them and they keep it. No timer is named yet.
    pub fn of(occurrences: &[Occurrence]) -> Option<Period> {
        let gaps = occurrences.windows(2).filter_map(|pair| match pair {
            [a, b] => Some(b.at.since(a.at).as_secs_f64()),
            _ => None,
        });
        Period::of_gaps(gaps.collect())
    }

    /// The same for distances in seconds.
    pub fn of_gaps(mut gaps: Vec<f64>) -> Option<Period> {
        gaps.retain(|gap| *gap > 0.0);
        if gaps.len() < LEAST_GAPS {
            return None;
        }
        let seconds = median(&mut gaps)?;
        if seconds < LEAST_PERIOD {
            return None;
        }
        // The median forgives outliers; a period that every fourth occurrence breaks is none.
        let near = gaps
            .iter()
            .filter(|gap| (**gap - seconds).abs() <= seconds * LOOSE);
        if near.count() * 4 < gaps.len() * 3 {
            return None;
        }
        let mut off: Vec<f64> = gaps.iter().map(|gap| (gap - seconds).abs()).collect();
        let spread = median(&mut off)? / seconds;
        (spread < LOOSE).then_some(Period {
            seconds,
            spread,
            matches: None,
        })
    }
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Both ends of a BGP session, for `session.*` findings.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct SessionEnds {
    pub local: IpAddr,
    pub remote: IpAddr,
    pub local_as: Option<u32>,
    pub remote_as: Option<u32>,
    pub vrf: Option<String>,
    /// "packets", "bmp", "mrt": who saw it.
    pub observers: Vec<&'static str>,
}

/// A finding. Detectors create it with [`Board::raise`] and change it through [`Board::update`] only.
#[derive(Clone, Debug)]
pub struct Finding {
    pub kind: Kind,
    pub severity: Severity,
    /// The first one is the subject; the others name it further.
    pub subjects: Vec<Subject>,
    /// How often the defining event occurred for the first subject.
    pub count: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    pub reason: Option<Reason>,
    pub fidelity: Fidelity,
    pub evidence: Evidence,
    pub occurrences: Vec<Occurrence>,
    pub period: Option<Period>,
    /// Who acted, where known ("the kernel", "pid 1234 (bird)").
    pub actor: Option<String>,
    /// Known explanations ("VRRP fail-over", "PXE → iPXE → OS").
    pub explanations: Vec<String>,
    /// One sentence about this finding: what, with its numbers.
    pub explain: String,
    /// Keys for joins with causes and effects.
    pub touches: Vec<Touch>,
    /// Longest time after an occurrence in which its effects may begin, where a negotiated timer gives it (hold time, BFD detection time).
    pub reach: Option<Duration>,
    /// How long receivers keep what it took away (the restart time of a graceful restart): its last effects begin then.
    pub keeps: Option<Duration>,
    pub affected: Affected,
    pub broken: Broken,
    pub session: Option<SessionEnds>,
    /// The NOTIFICATION that closed the session, and its sender.
    pub notification: Option<(Notification, IpAddr)>,
    /// Rejected causes known to the detector: kind, reason, and the observation that rejects it.
    pub rejected: Vec<(Kind, Option<Reason>, String)>,
    /// Read-only commands that help next.
    pub advice: Vec<String>,
    /// It concluded at the end of input with what it had.
    pub truncated: bool,
    /// The condition is over since then (recovered, or quiet).
    pub ended: Option<Timestamp>,
    /// The table that its prefixes are in, where that is not the main one ("VRF 65000:11").
    pub table: Option<Box<str>>,
    /// Planned by an operator (6/2 with text, GRACEFUL_SHUTDOWN, maintenance window): severity one step lower.
    pub planned: bool,
}

impl Finding {
    /// A finding that begins with `event`: count 1, its frame as evidence, one occurrence.
    pub fn new(kind: Kind, severity: Severity, subject: Subject, event: &Event) -> Finding {
        let mut finding = Finding::at(kind, severity, subject, event.at);
        finding.evidence.add(event.locator);
        finding
    }

    /// A finding that begins at `at` without a frame of its own (a deadline, an inference): add evidence if there is any.
    pub fn at(kind: Kind, severity: Severity, subject: Subject, at: Timestamp) -> Finding {
        Finding {
            kind,
            severity,
            subjects: vec![subject],
            count: 1,
            first: at,
            last: at,
            reason: None,
            fidelity: Fidelity::Exact,
            evidence: Evidence::default(),
            occurrences: vec![Occurrence { at, until: None }],
            period: None,
            actor: None,
            explanations: Vec::new(),
            explain: String::new(),
            touches: Vec::new(),
            reach: None,
            keeps: None,
            affected: Affected::default(),
            broken: Broken::default(),
            session: None,
            notification: None,
            rejected: Vec::new(),
            advice: Vec::new(),
            truncated: false,
            ended: None,
            table: None,
            planned: false,
        }
    }

    /// Commands that look in the main table look where the prefix is.
    fn look_in_table(&mut self) {
        if self.table.is_none() {
            return;
        }
        // Registries know nothing of customers' tables.
        self.advice.retain(|command| !command.starts_with("whois "));
        for command in &mut self.advice {
            if command.contains("'show bgp ipv") {
                *command = command.replace("'show bgp ipv", "'show bgp vrf all ipv");
            }
        }
    }

    /// Counts another occurrence of the defining event, with its frame.
    pub fn again(&mut self, event: &Event) {
        self.again_at(event.at);
        self.evidence.add(event.locator);
    }

    /// Counts another occurrence at `at`.
    pub fn again_at(&mut self, at: Timestamp) {
        self.count += 1;
        self.last = self.last.max(at);
        if self.occurrences.len() == MAX_OCCURRENCES {
            self.occurrences.remove(MAX_OCCURRENCES / 2);
        }
        self.occurrences.push(Occurrence { at, until: None });
        self.ended = None;
    }

    /// Adds supporting evidence that is no occurrence of its own.
    pub fn support(&mut self, event: &Event) {
        self.last = self.last.max(event.at);
        self.evidence.add(event.locator);
    }

    /// Marks the latest occurrence as over, with the frame that shows it.
    pub fn recovered(&mut self, at: Timestamp) {
        if let Some(last) = self.occurrences.last_mut().filter(|o| o.until.is_none()) {
            last.until = Some(at);
        }
    }

    /// Adds a subject that is not there yet.
    pub fn also(&mut self, subject: Subject) {
        if !self.subjects.contains(&subject) {
            self.subjects.push(subject);
        }
    }

    /// Adds a join key that is not there yet.
    pub fn touch(&mut self, touch: Touch) {
        if !self.touches.contains(&touch) {
            self.touches.push(touch);
        }
    }

    /// What happened, as a sentence with its full stop: detectors write clauses and go on with them.
    pub fn sentence(&self) -> String {
        match self.explain.chars().last() {
            None | Some('.' | '!' | '?') => self.explain.clone(),
            Some(_) => format!("{}.", self.explain),
        }
    }

    /// Something of it is broken now.
    pub fn is_broken(&self) -> bool {
        self.ended.is_none() && self.broken != Broken::default()
    }

    /// A default route or the last path to a prefix is missing now.
    pub fn is_outage(&self) -> bool {
        self.ended.is_none() && (self.broken.default_route || self.broken.last_path)
    }

    /// A short id that depends on content only: kind, first subject, first time.
    pub fn id(&self) -> String {
        format!(
            "f-{:08x}",
            content_hash(&(self.kind.as_str(), &self.subjects.first(), self.first)) as u32
        )
    }
}

/// A hash of content that is the same in every run and on every machine.
pub fn content_hash(value: &impl Hash) -> u64 {
    // A fixed seed: ids must not differ between runs. Nothing here is a table that a sender could attack.
    foldhash::quality::FixedState::with_seed(0x666c_6170_7363_6f70).hash_one(value)
}

/// Handle of a finding on the board; stays valid for the run, and is never reused.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct FindingKey(pub u32);

impl FindingKey {
    /// No key is less.
    pub const FIRST: FindingKey = FindingKey(0);
    /// No key is greater.
    pub const LAST: FindingKey = FindingKey(u32::MAX);
}

/// All findings of a run that still matter. Detectors write, the correlator reads what changed.
#[derive(Clone, Debug, Default)]
pub struct Board {
    findings: BTreeMap<FindingKey, Finding>,
    next: u32,
    dirty: Vec<FindingKey>,
    /// Findings that were not taken because the board was full.
    pub refused: u64,
    /// Old findings that were let go to make room.
    pub evicted: u64,
    /// The table whose prefixes are judged at the moment: findings raised meanwhile are about it.
    pub table: Option<Box<str>>,
}

impl Board {
    /// Puts a finding on the board. When the board is full the finding is counted and its key leads nowhere.
    pub fn raise(&mut self, mut finding: Finding) -> FindingKey {
        finding.table = finding.table.or_else(|| self.table.clone());
        finding.look_in_table();
        let key = FindingKey(self.next);
        self.next += 1;
        if self.findings.len() >= MAX_FINDINGS {
            self.refused += 1;
            return key;
        }
        self.findings.insert(key, finding);
        self.dirty.push(key);
        key
    }

    /// Changes a finding, if it is still there.
    pub fn update(&mut self, key: FindingKey, change: impl FnOnce(&mut Finding)) {
        if let Some(finding) = self.findings.get_mut(&key) {
            change(finding);
            finding.look_in_table();
            if self.dirty.last() != Some(&key) {
                self.dirty.push(key);
            }
        }
    }

    /// Takes a finding back: it turned out to be nothing. Prefer not raising it before it is sure.
    pub fn retract(&mut self, key: FindingKey) {
        if self.findings.remove(&key).is_some() {
            self.dirty.push(key);
        }
    }

    /// Lets an old finding go to make room; counted in [`Board::evicted`].
    pub fn drop_old(&mut self, key: FindingKey) {
        self.evicted += u64::from(self.findings.remove(&key).is_some());
    }

    /// Findings on the board.
    pub fn len(&self) -> usize {
        self.findings.len()
    }

    /// Nothing on the board.
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// A finding by key.
    pub fn get(&self, key: FindingKey) -> Option<&Finding> {
        self.findings.get(&key)
    }

    /// All findings, in the order in which they were raised.
    pub fn iter(&self) -> impl Iterator<Item = (FindingKey, &Finding)> {
        self.findings.iter().map(|(key, finding)| (*key, finding))
    }

    /// Findings of one kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (FindingKey, &Finding)> {
        self.iter().filter(move |(_, finding)| finding.kind == kind)
    }

    /// Whether anything changed since the last [`Board::take_dirty`].
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// What changed since the last call.
    pub fn take_dirty(&mut self) -> Vec<FindingKey> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        dirty.dedup();
        dirty
    }
}
