//! The report as one JSON document, and its schemas.

use super::Judged;
use super::alert::{
    Alert, CountsView, FindingView, GapView, IncidentView, InputView, ListedFinding, REPORT_SCHEMA,
    Report, SpanView, severity, time,
};
use crate::correlate::incident::Incident;
use crate::engine::{Counts, Engine};

/// Rows of each table in a report unless `--top` says otherwise.
pub const TOP: usize = 20;

/// The whole analysis, of each network namespace that was watched; `top` limits the tables of each.
pub fn report(judged: &[Judged<'_>], inputs: Vec<InputView>, records: u64, top: usize) -> Report {
    let engines = || judged.iter().map(|room| room.engine);
    let sum = |of: fn(&Counts) -> u64| engines().map(|engine| of(engine.counts())).sum();
    let watched = || engines().filter(|engine| engine.from().is_some());
    let mut blind: Vec<String> = Vec::new();
    for spot in engines().flat_map(Engine::blind_spots) {
        if !blind.contains(&spot) {
            blind.push(spot);
        }
    }
    Report {
        schema: REPORT_SCHEMA.to_owned(),
        inputs,
        span: SpanView {
            from: time(watched().filter_map(Engine::from).min()),
            to: time(watched().map(Engine::now).max()),
        },
        counts: CountsView {
            records,
            events: sum(|c| c.events),
            netlink: sum(|c| c.netlink),
            bgp: sum(|c| c.bgp),
            bmp: sum(|c| c.bmp),
            bfd: sum(|c| c.bfd),
            dhcp: sum(|c| c.dhcp),
            lan: sum(|c| c.lan),
            tcp: sum(|c| c.tcp),
            malformed: sum(|c| c.malformed),
            gaps: sum(|c| c.gaps),
        },
        incidents: judged.iter().flat_map(incidents).collect(),
        findings: judged.iter().flat_map(findings).collect(),
        prefixes: rows(judged, |engine| engine.prefixes(top)),
        sessions: rows(judged, |engine| engine.sessions(top.max(TOP))),
        servers: rows(judged, Engine::servers),
        clients: rows(judged, |engine| {
            let mut clients = engine.clients();
            clients.truncate(top.max(TOP));
            clients
        }),
        gaps: engines()
            .flat_map(Engine::gaps)
            .map(|(source, gap)| GapView::new(*source, gap))
            .collect(),
        blind,
    }
}

fn incidents(room: &Judged<'_>) -> Vec<IncidentView> {
    let view = |incident| IncidentView {
        namespace: room.namespace.map(str::to_owned),
        ..IncidentView::new(incident)
    };
    room.incidents.iter().map(view).collect()
}

fn findings(room: &Judged<'_>) -> Vec<ListedFinding> {
    let findings = room.engine.findings();
    findings
        .map(|(_, finding, incident)| ListedFinding {
            finding: FindingView::new(finding),
            incident: incident.map(str::to_owned),
            namespace: room.namespace.map(str::to_owned),
        })
        .collect()
}

/// The rows of a table of all rooms, each with its namespace.
fn rows<T: serde::Serialize>(
    judged: &[Judged<'_>],
    of: impl Fn(&Engine) -> Vec<T>,
) -> Vec<serde_json::Value> {
    let mut all = Vec::new();
    for room in judged {
        for row in of(room.engine) {
            let mut value = serde_json::to_value(&row).unwrap_or_default();
            if let (Some(namespace), Some(object)) = (room.namespace, value.as_object_mut()) {
                object.insert("namespace".into(), namespace.into());
            }
            all.push(value);
        }
    }
    all
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
