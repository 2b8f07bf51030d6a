//! The report as one JSON document, and its schemas.

use super::alert::{
    Alert, CountsView, FindingView, GapView, IncidentView, InputView, ListedFinding, REPORT_SCHEMA,
    Report, SpanView, severity, time,
};
use crate::correlate::incident::Incident;
use crate::engine::Engine;

/// Rows of each table in a report unless `--top` says otherwise.
pub const TOP: usize = 20;

/// The whole analysis. `incidents` are given because `--filter` may have left some out; `top` limits the tables.
pub fn report(
    engine: &Engine,
    incidents: &[Incident],
    inputs: Vec<InputView>,
    records: u64,
    top: usize,
) -> Report {
    let counts = engine.counts();
    Report {
        schema: REPORT_SCHEMA.to_owned(),
        inputs,
        span: SpanView {
            from: time(engine.from()),
            to: time(engine.from().map(|_| engine.now())),
        },
        counts: CountsView {
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
        },
        incidents: incidents.iter().map(IncidentView::new).collect(),
        findings: engine
            .findings()
            .map(|(_, finding, incident)| ListedFinding {
                finding: FindingView::new(finding),
                incident: incident.map(str::to_owned),
            })
            .collect(),
        prefixes: engine.prefixes(top).iter().map(row).collect(),
        sessions: engine.sessions(top.max(TOP)).iter().map(row).collect(),
        servers: engine.servers().iter().map(row).collect(),
        clients: engine
            .clients()
            .iter()
            .take(top.max(TOP))
            .map(row)
            .collect(),
        gaps: engine
            .gaps()
            .iter()
            .map(|(source, gap)| GapView::new(*source, gap))
            .collect(),
        blind: engine.blind_spots(),
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
