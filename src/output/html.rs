//! The report as one file that can be mailed: semantic HTML that is readable with scripts and styles blocked, the lanes as SVG whose looks
//! are attributes, one style block whose hash stands in the page's own policy, and the JSON that it was made from. It asks nobody for
//! anything, runs nothing, and is the same octets for the same report.

mod lanes;
mod markup;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use self::markup::Html;
use super::alert::{EvidenceView, FindingView, IncidentView, InputView, Report};

/// Incidents that stand open; the rest is one click away.
const OPEN: usize = 3;
/// Rows of a table; what is left out is said.
const ROWS: usize = 300;
/// Members of a list inside an incident.
const LIST: usize = 40;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1a1c1f;--soft:#5b6168;--line:#d4d8dd;--paper:#fff;--critical:#b3140f;--warning:#8a5a00;--info:#1f5fa8;--fine:#1b6e3c}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ea;--soft:#a2a9b1;--line:#3a3f45;--paper:#15171a;--critical:#ff8078;--warning:#f0b64c;--info:#7db5f5;--fine:#6fce95}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:72rem;margin:0 auto;padding:1rem}\
h1{font-size:1.3rem}h2{font-size:1.15rem;margin:.2rem 0}h3{font-size:.95rem;margin:1rem 0 .3rem}\
article{border:1px solid var(--line);border-radius:6px;padding:.8rem 1rem;margin:1rem 0}\
.critical{color:var(--critical)}.warning{color:var(--warning)}.info{color:var(--info)}.resolved{color:var(--fine)}.soft{color:var(--soft)}\
code,pre,time{font-family:ui-monospace,monospace;font-size:.92em}pre{white-space:pre-wrap;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%;display:block;overflow-x:auto}th,td{text-align:left;padding:.2rem .6rem .2rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
figure{margin:.5rem 0;overflow-x:auto}svg{max-width:100%;height:auto}summary{cursor:pointer}ul,ol{padding-left:1.3rem;margin:.2rem 0}\
@media print{article{break-inside:avoid}details>*{display:block}body{max-width:none}}";

/// A whole report.
pub fn page(report: &Report) -> String {
    let mut html = Html::default();
    let title = title(report);
    head(&mut html, &title);
    html.raw("<header><h1>").text(&title).raw("</h1><p>");
    match (&report.span.from, &report.span.to) {
        (Some(from), Some(to)) => {
            html.time(from).raw(" to ").time(to);
        }
        _ => {
            html.text("nothing was seen");
        }
    }
    html.raw(" · ").text(&format!(
        "{} records, {} events",
        report.counts.records, report.counts.events
    ));
    html.raw("</p></header><main>");
    if let Some(filter) = &report.filter {
        html.raw("<p class=\"soft\">")
            .text(&format!(
                "Only what matches the filter “{}”.",
                filter.expression
            ))
            .raw("</p>");
    }
    for (nth, incident) in by_severity(&report.incidents).into_iter().enumerate() {
        self::incident(&mut html, incident, &report.inputs, nth < OPEN);
    }
    watched(&mut html, report);
    prefixes(&mut html, report);
    findings(&mut html, report);
    html.raw("</main>");
    html.data(report);
    html.raw("</body></html>\n");
    html.into_text()
}

/// One incident, for `/report/ID`.
pub fn incident_page(view: &IncidentView) -> String {
    let mut html = Html::default();
    head(&mut html, &view.title);
    html.raw("<main>");
    incident(&mut html, view, &[], true);
    html.raw("</main>");
    html.data(view);
    html.raw("</body></html>\n");
    html.into_text()
}

/// The incident that a picture is of.
pub fn worst(report: &Report) -> Option<&IncidentView> {
    by_severity(&report.incidents).first().copied()
}

/// The lanes of one incident alone, as an SVG file.
pub fn svg(incident: &IncidentView) -> String {
    lanes::svg(incident, true)
}

/// What a page may do: nothing, but look as it does.
pub fn policy() -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, STYLE.as_bytes());
    format!(
        "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        BASE64.encode(digest)
    )
}

fn head(html: &mut Html, title: &str) {
    html.raw("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" content=\"");
    html.text(&policy());
    html.raw("\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"generator\" content=\"flapscope\"><title>");
    html.text(title)
        .raw("</title><style>")
        .raw(STYLE)
        .raw("</style></head><body>");
}

fn title(report: &Report) -> String {
    let host = report.inputs.iter().find_map(|input| input.host.as_deref());
    let of = host.map(|host| format!(" on {host}")).unwrap_or_default();
    match report.incidents.as_slice() {
        [] => format!("flapscope: nothing unstable{of}"),
        [one] => one.title.clone(),
        many => format!("flapscope: {} incidents{of}", many.len()),
    }
}

fn by_severity(incidents: &[IncidentView]) -> Vec<&IncidentView> {
    let rank = |incident: &IncidentView| match incident.severity.as_str() {
        "critical" => 0,
        "warning" => 1,
        _ => 2,
    };
    let mut sorted: Vec<&IncidentView> = incidents
        .iter()
        .filter(|i| i.merged_into.is_none())
        .collect();
    sorted.sort_by_key(|incident| (rank(incident), incident.opened_at.clone()));
    sorted
}

fn incident(html: &mut Html, incident: &IncidentView, inputs: &[InputView], open: bool) {
    html.raw("<article id=\"")
        .text(&incident.id)
        .raw("\"><details");
    html.raw(if open { " open>" } else { ">" });
    html.raw("<summary><h2><span class=\"")
        .text(&incident.severity)
        .raw("\">");
    html.text(&incident.severity.to_uppercase())
        .raw("</span> ")
        .text(&incident.title)
        .raw("</h2></summary>");
    html.raw("<p><strong>")
        .text(&incident.impact)
        .raw("</strong></p><p class=\"soft\"><code>")
        .text(&incident.id)
        .raw("</code> rev ");
    html.text(&incident.rev.to_string())
        .raw(" · since ")
        .time(&incident.opened_at);
    match &incident.resolved_at {
        Some(at) => html
            .raw(" · <span class=\"resolved\">resolved</span> ")
            .time(at),
        None => html.raw(" · open, last change ").time(&incident.updated_at),
    };
    if let Some(namespace) = &incident.namespace {
        html.raw(" · ").text(namespace);
    }
    html.raw("</p><figure>").raw(&lanes::svg(incident, false)).raw("<figcaption class=\"soft\">What happened when; arrows lead from cause to effect. Silent stretches are cut out (⫽), losses hatched.</figcaption></figure>");
    html.raw("<h3>Why</h3><ol>");
    html.raw("<li><strong>root</strong> ");
    finding(html, &incident.root, inputs);
    html.raw("</li>");
    for effect in incident.chain.iter().take(LIST) {
        html.raw("<li id=\"")
            .text(&effect.finding.id)
            .raw("\"><span class=\"soft\">");
        let cause = if effect.cause == incident.root.id {
            "root".to_owned()
        } else {
            effect.cause.clone()
        };
        html.text(&format!(
            "{} after {cause}, {} ({} of {}): {}",
            lag(effect.lag_us),
            effect.grade,
            effect.support.hits,
            effect.support.of,
            effect.because
        ));
        html.raw("</span><br>");
        finding(html, &effect.finding, inputs);
        html.raw("</li>");
    }
    html.raw("</ol>");
    left_out(html, incident.chain.len(), LIST);
    affected(html, incident);
    let rejected: Vec<String> = incident
        .rejected
        .iter()
        .map(|rejected| format!("{}: {}", rejected.kind, rejected.because))
        .collect();
    list(
        html,
        "Not: what was considered and does not hold",
        &rejected,
    );
    let changes: Vec<String> = incident
        .changes
        .iter()
        .map(|change| change.because.clone())
        .collect();
    list(html, "Possible causes that somebody announced", &changes);
    let gaps: Vec<String> = incident
        .gaps
        .iter()
        .map(|gap| format!("{} {} to {}: {}", gap.kind, gap.from, gap.to, gap.detail))
        .collect();
    list(html, "Losses of input", &gaps);
    list(
        html,
        "Blind: what was not watched and would have mattered",
        &incident.blind,
    );
    if !incident.advice.is_empty() {
        html.raw("<h3>Try</h3><pre>");
        for command in incident.advice.iter().take(LIST) {
            html.text(command).raw("\n");
        }
        html.raw("</pre>");
    }
    html.raw("</details></article>");
}

fn finding(html: &mut Html, finding: &FindingView, inputs: &[InputView]) {
    html.time(&finding.first)
        .raw(" <code>")
        .text(&finding.kind)
        .raw("</code> ")
        .text(&finding.explain);
    if let Some(actor) = &finding.actor {
        html.raw(" <span class=\"soft\">by ")
            .text(actor)
            .raw("</span>");
    }
    if !finding.explanations.is_empty() {
        html.raw(" <span class=\"soft\">")
            .text(&finding.explanations.join("; "))
            .raw("</span>");
    }
    let places: Vec<String> = finding
        .evidence
        .iter()
        .map(|place| named(place, inputs))
        .collect();
    if !places.is_empty() {
        html.raw("<br><span class=\"soft\">evidence ")
            .text(&places.join(", "));
        html.text(&format!(" ({} in all)", finding.evidence_total))
            .raw("</span>");
    }
}

/// `file:frame`, as Wireshark counts.
fn named(place: &EvidenceView, inputs: &[InputView]) -> String {
    let name = inputs
        .iter()
        .find(|input| input.id == place.input)
        .map_or_else(
            || format!("input {}", place.input),
            // The folder is the analyst's; the table of inputs has it.
            |input| input.name.rsplit('/').next().unwrap_or_default().to_owned(),
        );
    match (place.frame, place.record) {
        (Some(frame), _) => format!("{name}:{frame}"),
        (None, Some(record)) => format!("{name}#{record}"),
        (None, None) => name,
    }
}

fn affected(html: &mut Html, incident: &IncidentView) {
    let affected = &incident.affected;
    let sample = &affected.sample;
    let groups = [
        ("prefixes", affected.prefixes, &sample.prefixes),
        ("sessions", affected.sessions, &sample.sessions),
        ("clients", affected.clients, &sample.clients),
    ];
    if groups.iter().all(|(_, count, _)| *count == 0) && affected.routes == 0 {
        return;
    }
    html.raw("<h3>Affected</h3><ul>");
    for (word, count, some) in groups.into_iter().filter(|(_, count, _)| *count > 0) {
        html.raw("<li>")
            .text(&format!("{count} {word}: {}", some.join(", ")));
        if count > some.len() as u64 {
            html.text(&format!(" and {} more", count - some.len() as u64));
        }
        html.raw("</li>");
    }
    if affected.routes > 0 {
        html.raw("<li>")
            .text(&format!("{} routes of the kernel", affected.routes))
            .raw("</li>");
    }
    html.raw("</ul>");
}

fn list(html: &mut Html, heading: &'static str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    html.raw("<h3>").raw(heading).raw("</h3><ul>");
    for line in lines.iter().take(LIST) {
        html.raw("<li>").text(line).raw("</li>");
    }
    html.raw("</ul>");
    left_out(html, lines.len(), LIST);
}

fn left_out(html: &mut Html, all: usize, shown: usize) {
    if all > shown {
        html.raw("<p class=\"soft\">")
            .text(&format!(
                "{} more are in the data of this page.",
                all - shown
            ))
            .raw("</p>");
    }
}

/// Inputs, losses, blind spots: what the verdict rests on.
fn watched(html: &mut Html, report: &Report) {
    html.raw("<section><h2>Watched</h2><table><thead><tr><th>input</th><th>kind</th><th>from</th><th>to</th><th>records</th><th>losses</th></tr></thead><tbody>");
    for input in report.inputs.iter().take(ROWS) {
        html.raw("<tr><td><code>")
            .text(&input.name)
            .raw("</code></td><td>")
            .text(&input.kind)
            .raw("</td><td>");
        html.text(input.from.as_deref().unwrap_or("-"))
            .raw("</td><td>")
            .text(input.to.as_deref().unwrap_or("-"));
        html.raw("</td><td>")
            .text(&input.records.to_string())
            .raw("</td><td>")
            .text(&input.gaps.to_string())
            .raw("</td></tr>");
    }
    html.raw("</tbody></table>");
    list(html, "Blind", &report.blind);
    list(html, "Known before", &report.known);
    html.raw("</section>");
}

fn prefixes(html: &mut Html, report: &Report) {
    if report.prefixes.is_empty() {
        return;
    }
    html.raw("<section><h2>Least stable prefixes</h2><table><thead><tr><th>prefix</th><th>peer</th><th>withdrawn</th><th>announced</th><th>damping would</th></tr></thead><tbody>");
    for row in report.prefixes.iter().take(ROWS) {
        let word = |name: &str| row[name].as_str().unwrap_or("-");
        let profiles = row["damping"].as_array().map_or(&[][..], Vec::as_slice);
        let suppress: Vec<String> = profiles
            .iter()
            .filter(|profile| profile["suppressed"] == true)
            .map(|profile| {
                let until = profile["reuse_at"].as_str().unwrap_or("-");
                format!(
                    "{}: suppress until {until}",
                    profile["profile"].as_str().unwrap_or("-")
                )
            })
            .collect();
        html.raw("<tr><td><code>")
            .text(word("prefix"))
            .raw("</code></td><td>")
            .text(word("peer"))
            .raw("</td><td>");
        html.text(&row["withdrawals"].to_string())
            .raw("</td><td>")
            .text(&row["announcements"].to_string())
            .raw("</td><td>");
        html.text(&suppress.join("; ")).raw("</td></tr>");
    }
    html.raw("</tbody></table></section>");
}

fn findings(html: &mut Html, report: &Report) {
    if report.findings.is_empty() {
        return;
    }
    html.raw("<section><details><summary><h2>All findings</h2></summary><table><thead><tr><th>first</th><th>severity</th><th>kind</th><th>what</th><th>incident</th></tr></thead><tbody>");
    for listed in report.findings.iter().take(ROWS) {
        let finding = &listed.finding;
        html.raw("<tr><td>")
            .time(&finding.first)
            .raw("</td><td class=\"")
            .text(&finding.severity)
            .raw("\">")
            .text(&finding.severity);
        html.raw("</td><td><code>")
            .text(&finding.kind)
            .raw("</code></td><td>")
            .text(&finding.explain)
            .raw("</td><td>");
        if let Some(id) = &listed.incident {
            html.raw("<a href=\"#")
                .text(id)
                .raw("\">")
                .text(id)
                .raw("</a>");
        }
        html.raw("</td></tr>");
    }
    html.raw("</tbody></table>");
    left_out(html, report.findings.len(), ROWS);
    html.raw("</details></section>");
}

fn lag(us: i64) -> String {
    match us {
        0..1000 => format!("{us} µs"),
        1000..1_000_000 => format!("{} ms", us / 1000),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}
