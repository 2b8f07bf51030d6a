//! The JSON contract (`flapscope.alert/1`, `flapscope.report/1`) as types. Additive changes keep the version; `docs/alerts.md` and the
//! published JSON Schema are generated from here.

use schemars::JsonSchema;
use serde::Serialize;

use crate::correlate::Told;
use crate::correlate::changes::Change;
use crate::correlate::incident::{Effect, Incident, Life};
use crate::correlate::rules::Grade;
use crate::detect::{Fidelity, Finding, Severity};
use crate::event::annotation::Annotation;
use crate::event::source::Unit;
use crate::event::{Locator, SourceId, Timestamp};

/// Version tag of a single alert.
pub const ALERT_SCHEMA: &str = "flapscope.alert/1";
/// Version tag of a whole report.
pub const REPORT_SCHEMA: &str = "flapscope.report/1";

/// One line of NDJSON: something became known about an incident. (incident.id, incident.rev) is the idempotency key.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Alert {
    /// `flapscope.alert/1`.
    pub schema: String,
    /// `incident.opened`, `incident.updated` or `incident.resolved`.
    #[serde(rename = "type")]
    pub kind: AlertKind,
    /// When it became known: time of the evidence, RFC 3339, UTC, nine digits.
    pub at: String,
    /// The host that watched.
    pub host: Host,
    pub incident: IncidentView,
}

/// Types of alerts.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, JsonSchema)]
pub enum AlertKind {
    #[serde(rename = "incident.opened")]
    Opened,
    #[serde(rename = "incident.updated")]
    Updated,
    #[serde(rename = "incident.resolved")]
    Resolved,
}

/// Who watched.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Host {
    /// Host name, null for an analysis of files without `--role`.
    pub name: Option<String>,
}

impl Host {
    /// The same host, seen from inside one of its network namespaces.
    pub fn inside(&self, namespace: Option<&str>) -> Host {
        let name = match (&self.name, namespace) {
            (Some(host), Some(namespace)) => Some(format!("{host} ({namespace})")),
            (None, Some(namespace)) => Some(namespace.to_owned()),
            (host, None) => host.clone(),
        };
        Host { name }
    }
}

/// An incident: everything that one fault caused.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct IncidentView {
    /// Stable: a hash of the root's kind, subject and first time.
    pub id: String,
    pub rev: u32,
    /// `open` or `resolved`.
    pub state: String,
    /// Set when the incident turned out to be part of another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<String>,
    /// In a report about several network namespaces of one host: the one it is in, unless that is the host's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// What is or was broken, with numbers.
    pub impact: String,
    /// The root's kind.
    pub kind: String,
    /// One sentence.
    pub title: String,
    pub opened_at: String,
    pub updated_at: String,
    pub resolved_at: Option<String>,
    pub root: FindingView,
    /// Effects, causes before effects.
    pub chain: Vec<ChainView>,
    pub affected: AffectedView,
    /// Causes that were considered and do not hold.
    pub rejected: Vec<RejectedView>,
    /// Losses that overlap the incident.
    pub gaps: Vec<GapView>,
    /// What was not watched and would have mattered.
    pub blind: Vec<String>,
    /// Read-only commands that help next.
    #[serde(rename = "try")]
    pub advice: Vec<String>,
    /// Announced changes that it may follow from, nearest first: `possible`, never more. Absent where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ChangeView>,
    /// Incidents that this one keeps following, though no rule connects the two: `possible`, never more. Absent where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cooccurring: Vec<CooccurrenceView>,
    /// Name of the maintenance window (or annotation) that keeps it at `info`; absent where none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silenced: Option<String>,
}

/// Another incident's root that goes before this one again and again.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CooccurrenceView {
    /// Id of that finding.
    pub finding: String,
    pub kind: String,
    pub subject: String,
    /// How often this one began right after it, of so many times.
    pub support: SupportView,
    /// How likely that is by chance.
    pub chance: f64,
    /// Always `possible`: statistics prove nothing.
    pub grade: String,
    pub because: String,
}

/// An announced change before an incident.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ChangeView {
    /// `annotation` or `maintenance`.
    pub kind: String,
    /// The annotation's text or the window's name.
    pub text: String,
    pub from: String,
    pub until: Option<String>,
    pub author: Option<String>,
    /// From the change to the incident's first sign, microseconds.
    pub lag_us: i64,
    /// Always `possible`: time proves nothing.
    pub grade: String,
    pub because: String,
}

/// What somebody announced (`flapscope annotate`, `--annotations`).
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AnnotationView {
    pub text: String,
    pub from: String,
    pub until: Option<String>,
    /// What it is about, as filters; everything when empty.
    pub subjects: Vec<String>,
    pub author: Option<String>,
    /// It silences what it explains.
    pub silence: bool,
}

/// A detector's statement.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FindingView {
    pub id: String,
    pub kind: String,
    pub severity: String,
    /// `type:value`; the first one is the subject.
    pub subjects: Vec<String>,
    /// How often the defining event occurred for the first subject.
    pub count: u64,
    pub first: String,
    pub last: String,
    /// When the condition was over, if it is.
    pub ended: Option<String>,
    pub reason: Option<String>,
    /// `exact`, `compressed`, `inferred` or `gap`.
    pub fidelity: String,
    pub evidence: Vec<EvidenceView>,
    /// Frames that support it in all.
    pub evidence_total: u64,
    /// One sentence with its numbers.
    pub explain: String,
    pub period: Option<PeriodView>,
    /// Who acted, where known.
    pub actor: Option<String>,
    /// Known explanations.
    pub explanations: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notification: Option<NotificationView>,
    /// It concluded at the end of input with what it had.
    pub truncated: bool,
    /// Announced beforehand by an operator.
    pub planned: bool,
}

/// A finding in the report's list, with the incident it belongs to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ListedFinding {
    #[serde(flatten)]
    pub finding: FindingView,
    /// Incident id, or null.
    pub incident: Option<String>,
    /// As in an incident.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// An effect in an incident's chain.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ChainView {
    #[serde(flatten)]
    pub finding: FindingView,
    /// Id of the finding that caused it.
    pub cause: String,
    /// Name of the rule that links them.
    pub rule: String,
    pub because: String,
    /// `certain`, `likely` or `possible`.
    pub grade: String,
    /// From the cause to the effect, microseconds.
    pub lag_us: i64,
    pub support: SupportView,
}

/// How many of the effect's occurrences follow the cause inside the window.
#[derive(Copy, Clone, Debug, Serialize, JsonSchema)]
pub struct SupportView {
    pub hits: u32,
    pub of: u32,
}

/// Where to find the bytes: a frame of an input as Wireshark counts, or a record and its offset.
#[derive(Copy, Clone, Debug, Serialize, JsonSchema)]
pub struct EvidenceView {
    pub input: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// Period of the occurrences.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PeriodView {
    /// Seconds.
    pub s: f64,
    /// Relative spread.
    pub spread: f64,
    /// A known timer it matches.
    #[serde(rename = "match")]
    pub matches: Option<String>,
}

/// Both ends of a session.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SessionView {
    pub local: String,
    pub remote: String,
    pub local_as: Option<u32>,
    pub remote_as: Option<u32>,
    pub vrf: Option<String>,
    /// Who saw it: packets, bmp, mrt.
    pub observers: Vec<String>,
}

/// A NOTIFICATION.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NotificationView {
    pub code: u8,
    pub subcode: u8,
    /// Code and subcode inside a Hard Reset.
    pub inner: Option<[u8; 2]>,
    /// Shutdown communication, sanitised.
    pub text: Option<String>,
    /// Who sent it.
    pub from: String,
}

/// What an incident did to others.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct AffectedView {
    pub prefixes: u64,
    pub routes: u64,
    pub sessions: u64,
    pub clients: u64,
    pub sample: SampleView,
}

/// A few of the affected.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct SampleView {
    pub prefixes: Vec<String>,
    pub sessions: Vec<String>,
    pub clients: Vec<String>,
}

/// A rejected cause.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RejectedView {
    pub kind: String,
    pub reason: Option<String>,
    pub because: String,
}

/// A loss.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct GapView {
    /// Number of the ordered source.
    pub source: u32,
    pub kind: String,
    pub from: String,
    pub to: String,
    pub lost: Option<u64>,
    pub detail: String,
}

/// Shown of each kind of affected thing.
const SAMPLE: usize = 10;

/// A unit-like enum's name as serde writes it.
pub(crate) fn tag(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}

impl Alert {
    /// From what the engine told.
    pub fn new(told: &Told, host: &Host) -> Alert {
        let (kind, incident) = match told {
            Told::Opened(incident) => (AlertKind::Opened, incident),
            Told::Updated(incident) => (AlertKind::Updated, incident),
            Told::Resolved(incident) => (AlertKind::Resolved, incident),
        };
        let host = host.clone();
        Alert {
            schema: ALERT_SCHEMA.to_owned(),
            kind,
            at: incident.updated_at.to_string(),
            host,
            incident: IncidentView::new(incident),
        }
    }
}

impl IncidentView {
    /// From the correlator's snapshot.
    pub fn new(incident: &Incident) -> IncidentView {
        IncidentView {
            id: incident.id.clone(),
            rev: incident.rev,
            state: if incident.life == Life::Open {
                "open"
            } else {
                "resolved"
            }
            .to_owned(),
            namespace: None,
            merged_into: incident.merged_into.clone(),
            severity: severity(incident.severity).to_owned(),
            impact: incident.impact.clone(),
            kind: incident.root.kind.to_string(),
            title: incident.title.clone(),
            opened_at: incident.opened_at.to_string(),
            updated_at: incident.updated_at.to_string(),
            resolved_at: incident.resolved_at.map(|at| at.to_string()),
            root: FindingView::new(&incident.root),
            chain: incident.chain.iter().map(ChainView::new).collect(),
            affected: AffectedView {
                prefixes: incident.affected.prefix_count(),
                routes: incident.affected.routes.len() as u64,
                sessions: incident.affected.sessions.len() as u64,
                clients: incident.affected.clients.len() as u64,
                sample: SampleView {
                    prefixes: incident
                        .affected
                        .prefixes
                        .iter()
                        .take(SAMPLE)
                        .map(ToString::to_string)
                        .collect(),
                    sessions: incident
                        .affected
                        .sessions
                        .iter()
                        .take(SAMPLE)
                        .cloned()
                        .collect(),
                    clients: incident
                        .affected
                        .clients
                        .iter()
                        .take(SAMPLE)
                        .cloned()
                        .collect(),
                },
            },
            rejected: incident
                .rejected
                .iter()
                .map(|r| RejectedView {
                    kind: r.kind.to_string(),
                    reason: r.reason.as_ref().map(tag),
                    because: r.because.clone(),
                })
                .collect(),
            gaps: incident
                .gaps
                .iter()
                .map(|(source, gap)| GapView::new(*source, gap))
                .collect(),
            blind: incident.blind.clone(),
            advice: incident.advice.clone(),
            changes: incident.changes.iter().map(ChangeView::new).collect(),
            cooccurring: incident
                .cooccurring
                .iter()
                .map(|joint| CooccurrenceView {
                    finding: joint.finding.clone(),
                    kind: joint.kind.to_string(),
                    subject: joint.subject.clone(),
                    support: SupportView {
                        hits: joint.hits,
                        of: joint.of,
                    },
                    chance: joint.chance,
                    grade: tag(&Grade::Possible),
                    because: joint.because.clone(),
                })
                .collect(),
            silenced: incident.silenced.clone(),
        }
    }
}

impl ChangeView {
    fn new(change: &Change) -> ChangeView {
        ChangeView {
            kind: change.kind.as_str().to_owned(),
            text: change.text.clone(),
            from: change.from.to_string(),
            until: time(change.until),
            author: change.author.clone(),
            lag_us: change.lag_ns / 1000,
            grade: tag(&Grade::Possible),
            because: change.because(),
        }
    }
}

impl AnnotationView {
    /// From what was told.
    pub fn new(annotation: &Annotation) -> AnnotationView {
        AnnotationView {
            text: annotation.text.to_string(),
            from: annotation.from.to_string(),
            until: time(annotation.until),
            subjects: annotation
                .subjects
                .iter()
                .map(ToString::to_string)
                .collect(),
            author: annotation.author.as_ref().map(ToString::to_string),
            silence: annotation.silence,
        }
    }
}

impl FindingView {
    /// From a finding.
    pub fn new(finding: &Finding) -> FindingView {
        FindingView {
            id: finding.id(),
            kind: finding.kind.to_string(),
            severity: severity(finding.severity).to_owned(),
            subjects: finding.subjects.iter().map(ToString::to_string).collect(),
            count: finding.count,
            first: finding.first.to_string(),
            last: finding.last.to_string(),
            ended: finding.ended.map(|at| at.to_string()),
            reason: finding.reason.as_ref().map(tag),
            fidelity: match finding.fidelity {
                Fidelity::Exact => "exact",
                Fidelity::Compressed => "compressed",
                Fidelity::Inferred => "inferred",
                Fidelity::Gap => "gap",
            }
            .to_owned(),
            evidence: finding
                .evidence
                .kept()
                .iter()
                .map(EvidenceView::new)
                .collect(),
            evidence_total: finding.evidence.total,
            explain: finding.sentence(),
            period: finding.period.as_ref().map(|p| PeriodView {
                s: rounded(p.seconds),
                spread: rounded(p.spread),
                matches: p.matches.clone(),
            }),
            actor: finding.actor.clone(),
            explanations: finding.explanations.clone(),
            session: finding.session.as_ref().map(|s| SessionView {
                local: s.local.to_string(),
                remote: s.remote.to_string(),
                local_as: s.local_as,
                remote_as: s.remote_as,
                vrf: s.vrf.clone(),
                observers: s.observers.iter().map(|o| (*o).to_owned()).collect(),
            }),
            notification: finding
                .notification
                .as_ref()
                .map(|(n, from)| NotificationView {
                    code: n.code,
                    subcode: n.subcode,
                    inner: n.inner.map(|(code, subcode)| [code, subcode]),
                    text: n.text.as_ref().map(ToString::to_string),
                    from: format!("peer:{from}"),
                }),
            truncated: finding.truncated,
            planned: finding.planned,
        }
    }
}

/// Milliseconds are what a period means; more digits would differ between machines for nothing.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

impl ChainView {
    fn new(effect: &Effect) -> ChainView {
        ChainView {
            finding: FindingView::new(&effect.finding),
            cause: effect.cause.clone(),
            rule: effect.rule.to_owned(),
            because: effect.because.to_owned(),
            grade: tag(&effect.grade),
            lag_us: effect.lag_ns / 1000,
            support: SupportView {
                hits: effect.hits,
                of: effect.of,
            },
        }
    }
}

impl EvidenceView {
    fn new(locator: &Locator) -> EvidenceView {
        match locator.unit {
            Unit::Frame => EvidenceView {
                input: locator.input.0,
                frame: Some(locator.number),
                record: None,
                offset: None,
            },
            Unit::Record => EvidenceView {
                input: locator.input.0,
                frame: None,
                record: Some(locator.number),
                offset: Some(locator.offset),
            },
        }
    }
}

impl GapView {
    /// From a loss.
    pub fn new(source: SourceId, gap: &crate::event::loss::Gap) -> GapView {
        GapView {
            source: source.0,
            kind: tag(&gap.kind),
            from: gap.from.to_string(),
            to: gap.to.to_string(),
            lost: gap.lost,
            detail: gap.detail.to_string(),
        }
    }
}

/// The contract's word for a severity.
pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

/// A whole analysis as one document (`--format json`).
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Report {
    /// `flapscope.report/1`.
    pub schema: String,
    pub inputs: Vec<InputView>,
    /// The filter that was on, with what it left; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<super::selection::FilterView>,
    pub span: SpanView,
    pub counts: CountsView,
    pub incidents: Vec<IncidentView>,
    /// Every finding once.
    pub findings: Vec<ListedFinding>,
    /// Least stable prefixes first.
    pub prefixes: Vec<serde_json::Value>,
    pub sessions: Vec<serde_json::Value>,
    pub servers: Vec<serde_json::Value>,
    pub clients: Vec<serde_json::Value>,
    pub gaps: Vec<GapView>,
    pub blind: Vec<String>,
    /// Annotations, in the order in which they were told.
    pub annotations: Vec<AnnotationView>,
    /// Where what was known before came from: configuration file, baselines.
    pub known: Vec<String>,
}

/// An input.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct InputView {
    pub id: u16,
    pub name: String,
    /// Container and compression, as recognised by content.
    pub kind: String,
    pub role: Option<String>,
    pub host: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    pub records: u64,
    pub gaps: u64,
    /// Remarks: another clock, link types not decoded, damage.
    pub notes: Vec<String>,
}

/// Time covered.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SpanView {
    pub from: Option<String>,
    pub to: Option<String>,
}

/// How much was seen.
#[derive(Default, Clone, Debug, Serialize, JsonSchema)]
pub struct CountsView {
    pub records: u64,
    pub events: u64,
    pub netlink: u64,
    pub bgp: u64,
    pub bmp: u64,
    pub bfd: u64,
    pub dhcp: u64,
    pub lan: u64,
    pub tcp: u64,
    pub malformed: u64,
    pub gaps: u64,
}

impl CountsView {
    /// Adds what another namespace's engine saw; `records` are those of the inputs, which are the same.
    pub fn add(&mut self, other: &CountsView) {
        let sums = [
            (&mut self.events, other.events),
            (&mut self.netlink, other.netlink),
            (&mut self.bgp, other.bgp),
            (&mut self.bmp, other.bmp),
            (&mut self.bfd, other.bfd),
            (&mut self.dhcp, other.dhcp),
            (&mut self.lan, other.lan),
            (&mut self.tcp, other.tcp),
            (&mut self.malformed, other.malformed),
            (&mut self.gaps, other.gaps),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }
}

/// RFC 3339 of an optional time.
pub fn time(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}
