//! The report as one JSON document, and its schemas.

use super::alert::{
    Alert, AnnotationView, CountsView, FindingView, GapView, IncidentView, InputView,
    ListedFinding, REPORT_SCHEMA, Report, SpanView, severity, time,
};
use super::selection::Selection;
use crate::correlate::incident::Incident;
use crate::engine::Engine;

/// Rows of each table in a report unless `--top` says otherwise.
pub const TOP: usize = 20;

/// The whole analysis, as far as `selection` lets it through. `incidents` are all there are.
pub fn report(
    engine: &Engine,
    incidents: &[Incident],
    inputs: Vec<InputView>,
    records: u64,
    selection: &Selection,
) -> Report {
    let most = selection.top.max(TOP);
    Report {
        schema: REPORT_SCHEMA.to_owned(),
        inputs,
        filter: selection.told(engine, incidents),
        span: SpanView {
            from: time(engine.from()),
            to: time(engine.from().map(|_| engine.now())),
        },
        counts: counts(engine, records),
        incidents: selection
            .incidents(incidents)
            .iter()
            .map(IncidentView::new)
            .collect(),
        findings: selection
            .findings(engine)
            .map(|(finding, incident)| ListedFinding {
                finding: FindingView::new(finding),
                incident: incident.map(str::to_owned),
                namespace: None,
            })
            .collect(),
        prefixes: selection.prefixes(engine).iter().map(row).collect(),
        sessions: selection.sessions(engine, most).iter().map(row).collect(),
        servers: selection.servers(engine).iter().map(row).collect(),
        clients: selection
            .clients(engine)
            .iter()
            .take(most)
            .map(row)
            .collect(),
        gaps: engine
            .gaps()
            .iter()
            .map(|(source, gap)| GapView::new(*source, gap))
            .collect(),
        blind: engine.blind_spots(),
        annotations: engine.annotations().map(AnnotationView::new).collect(),
        known: engine.known().to_vec(),
    }
}

/// The reports of several network namespaces of one host as one: what is listed says in which it is.
pub fn together(reports: Vec<(Option<String>, Report)>) -> Option<Report> {
    let mut all = reports
        .into_iter()
        .map(|(namespace, report)| named(report, namespace))
        .reduce(add)?;
    // Which namespace was heard first is chance: what happened is told in the order of time.
    all.incidents
        .sort_by(|a, b| (&a.opened_at, &a.id).cmp(&(&b.opened_at, &b.id)));
    Some(all)
}

fn named(mut report: Report, namespace: Option<String>) -> Report {
    let Some(namespace) = namespace else {
        return report;
    };
    for incident in &mut report.incidents {
        incident.namespace = Some(namespace.clone());
    }
    for finding in &mut report.findings {
        finding.namespace = Some(namespace.clone());
    }
    let tables = [
        &mut report.prefixes,
        &mut report.sessions,
        &mut report.servers,
        &mut report.clients,
    ];
    for row in tables.into_iter().flatten() {
        if let Some(object) = row.as_object_mut() {
            object.insert("namespace".into(), namespace.as_str().into());
        }
    }
    report
}

fn add(mut all: Report, one: Report) -> Report {
    all.filter = match (all.filter, one.filter) {
        (Some(all), Some(one)) => Some(all.and(&one)),
        (all, one) => all.or(one),
    };
    // Times of one length: their order is that of their digits. A namespace where nothing came has none.
    let span =
        |a: Option<String>, b: Option<String>, pick: fn(String, String) -> String| match (a, b) {
            (Some(a), Some(b)) => Some(pick(a, b)),
            (a, b) => a.or(b),
        };
    all.span.from = span(all.span.from, one.span.from, String::min);
    all.span.to = span(all.span.to, one.span.to, String::max);
    all.counts.add(&one.counts);
    all.incidents.extend(one.incidents);
    all.findings.extend(one.findings);
    all.prefixes.extend(one.prefixes);
    all.sessions.extend(one.sessions);
    all.servers.extend(one.servers);
    all.clients.extend(one.clients);
    all.gaps.extend(one.gaps);
    for spot in one.blind {
        if !all.blind.contains(&spot) {
            all.blind.push(spot);
        }
    }
    all
}

/// How much was seen.
pub fn counts(engine: &Engine, records: u64) -> CountsView {
    let counts = engine.counts();
    CountsView {
        records,
        events: counts.events,
        netlink: counts.netlink,
        bgp: counts.bgp,
        bmp: counts.bmp,
        bfd: counts.bfd,
        dhcp: counts.dhcp,
        lan: counts.lan,
        tcp: counts.tcp,
        malformed: counts.malformed,
        gaps: counts.gaps,
    }
}

fn row(row: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(row).unwrap_or_default()
}

/// JSON Schema of a single alert.
pub fn alert_schema() -> serde_json::Value {
    schemars::schema_for!(Alert).into()
}

/// JSON Schema of a report.
pub fn report_schema() -> serde_json::Value {
    schemars::schema_for!(Report).into()
}

/// "2 critical, 1 warning" for a summary line.
pub fn tally(incidents: &[Incident]) -> String {
    let mut parts = Vec::new();
    for wanted in [
        crate::detect::Severity::Critical,
        crate::detect::Severity::Warning,
        crate::detect::Severity::Info,
    ] {
        let n = incidents
            .iter()
            .filter(|i| i.severity == wanted && i.merged_into.is_none())
            .count();
        if n > 0 {
            parts.push(format!("{n} {}", severity(wanted)));
        }
    }
    parts.join(", ")
}
