//! Incidents: one tree of findings each, with a life cycle (opened once, updated at a bounded rate, resolved after quiet).

use std::collections::BTreeSet;
use std::time::Duration;

use super::forest::Edge;
use super::rules::Grade;
use crate::detect::finding::content_hash;
use crate::detect::{Finding, Severity};
use crate::event::loss::Gap;
use crate::event::{PrefixSet, SourceId, Timestamp};

/// How long after its newest evidence a tree may grow before its incident is opened: effects of one fault arrive within a second or so,
/// and a cause may be recognised after its first effect. Counted from the evidence and not from the finding, since a detector that waited
/// has let the causes speak already. The bar is an alert within 2 s of the evidence; what is left of it is for the merge and the machine.
pub const SETTLE: Duration = Duration::from_millis(1500);

/// But at least so long after it was first seen: what other detectors conclude from the same evidence comes with it.
pub const GROW: Duration = Duration::from_millis(250);

/// Quiet time after which an incident is resolved: twice the longest trigger window of a detector would be too short for slow
/// flaps, FRR's damping half-life too long; 5 min is the survey's choice (routing D, "hysteresis").
pub const QUIET: Duration = Duration::from_secs(300);

/// A resolved incident whose tree stirs again within this time is opened again as the same incident.
pub const REOPEN: Duration = Duration::from_secs(900);

/// Least time between two updates of an incident whose severity and root did not change; doubles up to [`UPDATE_MOST`].
pub const UPDATE_LEAST: Duration = Duration::from_secs(10);
/// See [`UPDATE_LEAST`].
pub const UPDATE_MOST: Duration = Duration::from_secs(300);

/// Where an incident is in its life.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Life {
    Open,
    Resolved,
}

/// What a reader or machine gets to see of an incident: whole, independent of the board.
#[derive(Clone, Debug)]
pub struct Incident {
    pub id: String,
    /// Counts what was told about it; (id, rev) is the idempotency key.
    pub rev: u32,
    pub life: Life,
    /// It turned out to be part of this other incident.
    pub merged_into: Option<String>,
    pub severity: Severity,
    pub opened_at: Timestamp,
    pub updated_at: Timestamp,
    pub resolved_at: Option<Timestamp>,
    pub title: String,
    pub impact: String,
    pub root: Finding,
    /// Effects in causal order.
    pub chain: Vec<Effect>,
    pub affected: AffectedTotals,
    pub rejected: Vec<Rejected>,
    pub gaps: Vec<(SourceId, Gap)>,
    pub blind: Vec<String>,
    pub advice: Vec<String>,
    /// Announced changes that it may follow from, nearest first.
    pub changes: Vec<super::changes::Change>,
    /// Other roots that it keeps following though no rule connects them: possible causes, nothing more.
    pub cooccurring: Vec<super::cooccurrence::Cooccurrence>,
    /// The maintenance window (or annotation) that keeps it at `info`.
    pub silenced: Option<String>,
}

impl Incident {
    /// An incident of one finding, not told yet and without words.
    pub fn of(root: Finding) -> Incident {
        let affected = AffectedTotals::of([&root]);
        Incident {
            id: id_of(&root),
            rev: 0,
            life: Life::Open,
            merged_into: None,
            severity: root.severity,
            opened_at: root.first,
            updated_at: root.last,
            resolved_at: None,
            title: String::new(),
            impact: String::new(),
            root,
            chain: Vec::new(),
            affected,
            rejected: Vec::new(),
            gaps: Vec::new(),
            blind: Vec::new(),
            advice: Vec::new(),
            changes: Vec::new(),
            cooccurring: Vec::new(),
            silenced: None,
        }
    }

    /// Root and effects.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        std::iter::once(&self.root).chain(self.chain.iter().map(|effect| &effect.finding))
    }

    /// Whether a finding has a subject of it, or most of what it is about was affected by it.
    pub fn is_about(&self, finding: &Finding) -> bool {
        let named = |subject| self.findings().any(|own| own.subjects.contains(subject));
        if finding.subjects.iter().any(named) {
            return true;
        }
        let (mut known, mut all) = (0usize, 0usize);
        for prefix in super::join::prefixes(finding) {
            all += 1;
            known += usize::from(
                self.affected.prefixes.contains(&prefix) || self.affected.routes.contains(&prefix),
            );
        }
        known > 0 && known * 2 >= all
    }

    /// First and last time of everything in it.
    pub fn span(&self) -> (Timestamp, Timestamp) {
        (
            self.findings()
                .map(|f| f.first)
                .min()
                .unwrap_or(self.root.first),
            self.findings()
                .map(|f| f.last)
                .max()
                .unwrap_or(self.root.last),
        )
    }

    /// Something of it is broken now.
    pub fn is_broken(&self) -> bool {
        self.findings().any(Finding::is_broken)
    }

    /// A default route or the last path to a prefix is missing now.
    pub fn is_outage(&self) -> bool {
        self.findings().any(Finding::is_outage)
    }
}

/// An effect in the chain.
#[derive(Clone, Debug)]
pub struct Effect {
    pub finding: Finding,
    /// Id of the finding that caused it.
    pub cause: String,
    pub rule: &'static str,
    pub because: &'static str,
    pub grade: Grade,
    pub lag_ns: i64,
    pub hits: u32,
    pub of: u32,
    /// 1 below the root, 2 below that …
    pub depth: usize,
}

/// Prefixes remembered of all members together; more are counted no further.
const MAX_UNION: usize = 1 << 20;

/// Union of what all members affected.
#[derive(Clone, Debug, Default)]
pub struct AffectedTotals {
    pub prefixes: PrefixSet,
    /// The most prefixes that one member affected: not all of them are remembered.
    most: u64,
    pub routes: PrefixSet,
    pub sessions: BTreeSet<String>,
    pub clients: BTreeSet<String>,
}

impl AffectedTotals {
    /// What these findings affected together.
    pub fn of<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> AffectedTotals {
        let mut all = AffectedTotals::default();
        let (mut prefixes, mut routes) = (Vec::new(), Vec::new());
        for finding in findings {
            let own = &finding.affected;
            all.most = all.most.max(own.prefixes.len() as u64 + own.more_prefixes);
            prefixes.push(&own.prefixes);
            routes.push(&own.routes);
            let sessions = own.sessions.iter().map(ToString::to_string);
            all.sessions.extend(sessions);
            all.clients
                .extend(own.clients.iter().map(ToString::to_string));
            if finding.kind.layer() == "session"
                && let Some(subject) = finding.subjects.first()
            {
                all.sessions.insert(subject.to_string());
            }
        }
        all.prefixes = PrefixSet::union(&prefixes, MAX_UNION);
        all.routes = PrefixSet::union(&routes, MAX_UNION);
        all
    }

    /// Number of BGP prefixes, at least: which ones members affected beyond those that they remember is not known.
    pub fn prefix_count(&self) -> u64 {
        self.most.max(self.prefixes.len() as u64)
    }
}

/// A cause that was considered and does not hold.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Rejected {
    pub kind: crate::detect::Kind,
    pub reason: Option<crate::detect::Reason>,
    pub because: String,
}

/// The id of an incident: content of its root, nothing else (law 13).
pub fn id_of(root: &Finding) -> String {
    format!(
        "i-{:08x}",
        content_hash(&(root.kind.as_str(), &root.subjects.first(), root.first)) as u32
    )
}

impl Effect {
    /// When it happened: the first occurrence of its defining event. Its evidence may begin before (renewals that went unanswered), and a
    /// finding without occurrences has only that.
    pub fn at(&self) -> Timestamp {
        let happened = self.finding.occurrences.first();
        happened.map_or(self.finding.first, |occurrence| occurrence.at)
    }

    /// From a finding and its link.
    pub fn new(finding: &Finding, edge: &Edge, cause: &Finding, depth: usize) -> Effect {
        Effect {
            finding: finding.clone(),
            cause: cause.id(),
            rule: edge.row().name,
            because: edge.row().because,
            grade: edge.grade,
            lag_ns: edge.fit.lag_ns,
            hits: edge.fit.hits,
            of: edge.fit.of,
            depth,
        }
    }
}
