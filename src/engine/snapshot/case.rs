//! An incident as a reader sees it: sentence, chain, times, grades. Plain and owned, so that it outlives the engine's findings.

use serde::{Deserialize, Serialize};

use crate::correlate::explain::{headline, reason_words};
use crate::correlate::incident::{Effect, Incident, Life};
use crate::correlate::rules::Grade;
use crate::detect::{Fidelity, Finding, Severity};
use crate::event::source::Unit;
use crate::event::{Locator, Timestamp};
use crate::filter::kept::Kept;
use crate::filter::{Fact, Facts, Key};

/// Properties of an incident that do not follow from what a reader sees of it.
const KEYS: [Key; 6] = [
    Key::If,
    Key::Prefix,
    Key::Peer,
    Key::Asn,
    Key::Mac,
    Key::Src,
];
/// Facts kept of one incident: its hosts, sessions and the first thousand of its prefixes.
const MAX_FACTS: usize = 1024;

/// An incident.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Case {
    pub id: String,
    pub rev: u32,
    /// The network namespace it happened in, when it is not the host's own.
    pub room: Option<String>,
    pub severity: Severity,
    pub open: bool,
    pub merged_into: Option<String>,
    pub title: String,
    pub impact: String,
    pub opened_at: Timestamp,
    pub updated_at: Timestamp,
    pub resolved_at: Option<Timestamp>,
    pub root: Step,
    /// Effects in causal order.
    pub chain: Vec<Step>,
    pub affected: Affected,
    /// Causes that were considered and do not hold.
    pub rejected: Vec<Rejected>,
    /// What it keeps following though no rule connects the two, in words.
    #[serde(default)]
    pub maybe: Vec<String>,
    pub gaps: Vec<Hole>,
    pub blind: Vec<String>,
    /// Read-only commands.
    pub advice: Vec<String>,
    /// What it can be filtered by.
    facts: Kept,
}

/// How many were hit.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Affected {
    pub prefixes: u64,
    pub routes: u64,
    pub sessions: u64,
    pub clients: u64,
}

impl Affected {
    /// The largest of the counts.
    pub fn most(&self) -> u64 {
        let Affected {
            prefixes,
            routes,
            sessions,
            clients,
        } = *self;
        prefixes.max(routes).max(sessions).max(clients)
    }
}

/// A finding in the chain.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Step {
    pub id: String,
    pub kind: String,
    pub severity: Severity,
    /// `type:value`, the first one is the subject.
    pub subjects: Vec<String>,
    /// What, in a few words.
    pub headline: String,
    /// What, in a sentence with its numbers.
    pub explain: String,
    pub reason: Option<String>,
    pub count: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    pub ended: Option<Timestamp>,
    /// The subject itself is down now.
    pub down: bool,
    pub fidelity: String,
    pub actor: Option<String>,
    pub period: Option<String>,
    /// Known explanations.
    pub known: Vec<String>,
    /// The text of the NOTIFICATION that closed the session, with its sender.
    pub said: Option<String>,
    /// When it was the case.
    pub spans: Vec<Span>,
    pub evidence: Vec<Place>,
    pub evidence_total: u64,
    pub planned: bool,
    pub truncated: bool,
    /// 0 for the root.
    pub depth: usize,
    /// Why it hangs where it hangs; `None` for the root.
    pub link: Option<Link>,
}

/// One instance of a finding.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Span {
    pub at: Timestamp,
    pub until: Option<Timestamp>,
}

/// Where bytes are found again.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug, Serialize, Deserialize)]
pub struct Place {
    pub input: u16,
    /// A frame as Wireshark counts, else a record.
    pub frame: bool,
    pub number: u64,
    pub offset: u64,
}

/// The edge from a cause.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Link {
    /// Id of the finding that is the cause.
    pub cause: String,
    pub rule: String,
    pub because: String,
    pub grade: Grade,
    pub lag_ns: i64,
    pub hits: u32,
    pub of: u32,
}

/// A cause that does not hold.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rejected {
    pub kind: String,
    pub reason: Option<String>,
    pub because: String,
}

/// A loss that overlaps the incident.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Hole {
    pub from: Timestamp,
    pub to: Timestamp,
    pub detail: String,
}

impl Case {
    /// From the correlator's words.
    pub fn new(incident: &Incident, room: Option<&str>) -> Case {
        Case {
            id: incident.id.clone(),
            rev: incident.rev,
            room: room.map(str::to_owned),
            severity: incident.severity,
            open: incident.life == Life::Open,
            merged_into: incident.merged_into.clone(),
            title: incident.title.clone(),
            impact: incident.impact.clone(),
            opened_at: incident.opened_at,
            updated_at: incident.updated_at,
            resolved_at: incident.resolved_at,
            root: Step::new(&incident.root, None),
            chain: incident
                .chain
                .iter()
                .map(|effect| Step::new(&effect.finding, Some(effect)))
                .collect(),
            affected: Affected {
                prefixes: incident.affected.prefix_count(),
                routes: incident.affected.routes.len() as u64,
                sessions: incident.affected.sessions.len() as u64,
                clients: incident.affected.clients.len() as u64,
            },
            rejected: incident
                .rejected
                .iter()
                .map(|rejected| Rejected {
                    kind: rejected.kind.to_string(),
                    reason: rejected.reason.map(|r| reason_words(r).to_owned()),
                    because: rejected.because.clone(),
                })
                .collect(),
            maybe: incident
                .cooccurring
                .iter()
                .map(|joint| format!("{} {}: {}", joint.kind, joint.subject, joint.because))
                .collect(),
            gaps: incident
                .gaps
                .iter()
                .map(|(_, gap)| Hole {
                    from: gap.from,
                    to: gap.to,
                    detail: gap.detail.to_string(),
                })
                .collect(),
            blind: incident.blind.clone(),
            advice: incident.advice.clone(),
            facts: Kept::of(incident, &KEYS, MAX_FACTS),
        }
    }

    /// Root and effects, causes before effects.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = &Step> {
        std::iter::once(&self.root).chain(&self.chain)
    }

    /// Findings whose subject is down now.
    pub fn still_down(&self) -> usize {
        self.steps().filter(|step| step.down).count()
    }

    /// First and last time of anything in it.
    pub fn span(&self) -> (Timestamp, Timestamp) {
        let ends = |step: &Step| {
            let over = step.spans.iter().filter_map(|s| s.until).max();
            over.into_iter()
                .chain(step.ended)
                .fold(step.last, Timestamp::max)
        };
        (
            self.steps()
                .map(|s| s.first)
                .min()
                .unwrap_or(self.opened_at),
            self.steps().map(ends).max().unwrap_or(self.updated_at),
        )
    }

    /// What it is about, without its type: `up1`, `192.0.2.0/24`.
    pub fn subject(&self) -> &str {
        self.root.subject()
    }
}

impl Facts for Case {
    fn any(&self, key: Key, test: &mut dyn FnMut(Fact<'_>) -> bool) -> bool {
        match key {
            Key::Sev => test(Fact::Severity(self.severity)),
            Key::State => test(Fact::Word(if self.open { "open" } else { "resolved" })),
            Key::Kind => self.steps().any(|step| test(Fact::Word(&step.kind))),
            Key::Subject => self
                .steps()
                .flat_map(|step| &step.subjects)
                .any(|subject| test(Fact::Word(subject))),
            _ => self.facts.any(key, test),
        }
    }

    fn text(&self, test: &mut dyn FnMut(Fact<'_>) -> bool) -> bool {
        let own = [&self.id, &self.title, &self.impact];
        let steps = self.steps().flat_map(|step| {
            let sentences = [&step.kind, &step.headline, &step.explain];
            sentences.into_iter().chain(&step.subjects)
        });
        own.into_iter()
            .chain(steps)
            .any(|text| test(Fact::Word(text)))
    }
}

impl Step {
    fn new(finding: &Finding, effect: Option<&Effect>) -> Step {
        Step {
            id: finding.id(),
            kind: finding.kind.to_string(),
            severity: finding.severity,
            subjects: finding.subjects.iter().map(ToString::to_string).collect(),
            headline: headline(finding),
            explain: finding.explain.clone(),
            reason: finding.reason.map(|r| reason_words(r).to_owned()),
            count: finding.count,
            first: finding.first,
            last: finding.last,
            ended: finding.ended,
            down: finding.ended.is_none() && finding.broken.subject,
            fidelity: match finding.fidelity {
                Fidelity::Exact => "exact",
                Fidelity::Compressed => "compressed",
                Fidelity::Inferred => "inferred",
                Fidelity::Gap => "gap",
            }
            .to_owned(),
            actor: finding.actor.clone(),
            period: finding.period.as_ref().map(|period| {
                let known = period.matches.as_ref();
                let known = known.map(|m| format!(": {m}")).unwrap_or_default();
                if period.is_steady() {
                    format!(
                        "every {:.1} s ± {:.0} %{known}",
                        period.seconds,
                        period.spread * 100.0
                    )
                } else {
                    format!("first after {:.1} s{known}", period.seconds)
                }
            }),
            known: finding.explanations.clone(),
            said: finding
                .notification
                .as_ref()
                .and_then(|(said, from)| Some((said.text.as_ref()?, from)))
                .map(|(text, from)| format!("{from} said: \"{text}\"")),
            spans: finding
                .occurrences
                .iter()
                .map(|o| Span {
                    at: o.at,
                    until: o.until,
                })
                .collect(),
            evidence: finding.evidence.kept().iter().map(Place::of).collect(),
            evidence_total: finding.evidence.total,
            planned: finding.planned,
            truncated: finding.truncated,
            depth: effect.map_or(0, |effect| effect.depth),
            link: effect.map(|effect| Link {
                cause: effect.cause.clone(),
                rule: effect.rule.to_owned(),
                because: effect.because.to_owned(),
                grade: effect.grade,
                lag_ns: effect.lag_ns,
                hits: effect.hits,
                of: effect.of,
            }),
        }
    }

    /// The part of the kind before the dot: `link`, `session` …
    pub fn layer(&self) -> &str {
        self.kind.split('.').next().unwrap_or_default()
    }

    /// What it is about, without its type.
    pub fn subject(&self) -> &str {
        let first = self.subjects.first().map_or("", String::as_str);
        first.split_once(':').map_or(first, |(_, value)| value)
    }
}

impl Place {
    /// From a locator.
    pub fn of(locator: &Locator) -> Place {
        Place {
            input: locator.input.0,
            frame: locator.unit == Unit::Frame,
            number: locator.number,
            offset: locator.offset,
        }
    }
}

/// `input:frame` or `input@record`, as the report prints it.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = if self.frame { ':' } else { '@' };
        write!(f, "{}{mark}{}", self.input, self.number)
    }
}
