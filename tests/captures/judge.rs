//! What `expect.json` asks of a report. The fields mean what they mean in the labelled corpus: `root`, `effects` in its chain, `findings` anywhere,
//! `affected` at least, `not` above info, `max` incidents above info; and `also`: further incidents of their own, which must not be merged into the first.

use serde_json::Value;

use crate::pattern::Pattern;

/// A finding may begin this much before the injected action: netlink is stamped in user space, packets in the kernel.
const SLACK_S: f64 = 1.0;

pub fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value
        .get(field)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// All wishes of an `expect.json`, for checking them.
pub fn wishes(expect: &Value) -> Vec<&Value> {
    let also = list(expect, "also")
        .iter()
        .flat_map(|a| a.get("root").into_iter().chain(list(a, "effects")));
    let lists = ["effects", "findings", "not"]
        .into_iter()
        .flat_map(|f| list(expect, f));
    expect
        .get("root")
        .into_iter()
        .chain(lists)
        .chain(also)
        .collect()
}

/// Seconds since the epoch at which a phase of `label.json` began.
pub fn phase(label: &Value, name: &str) -> Option<f64> {
    label.get("phases")?.get(name)?.get("t")?.as_f64()
}

fn searched(pattern: &str, value: &str) -> bool {
    Pattern::new(pattern).is_ok_and(|p| p.found_in(value))
}

fn matches(want: &Value, got: &Value) -> bool {
    let kind = list(want, "kinds")
        .iter()
        .any(|k| k.as_str() == Some(text(got, "kind")));
    let subject = want.get("subject").and_then(Value::as_str).is_none_or(|p| {
        list(got, "subjects")
            .iter()
            .filter_map(Value::as_str)
            .any(|s| searched(p, s))
    });
    let reason = want
        .get("reason")
        .and_then(Value::as_str)
        .is_none_or(|p| searched(p, text(got, "reason")));
    let bounds: Vec<u64> = list(want, "count")
        .iter()
        .filter_map(Value::as_u64)
        .collect();
    let count = match bounds[..] {
        [low, high] => {
            (low..=high).contains(&got.get("count").and_then(Value::as_u64).unwrap_or_default())
        }
        _ => true,
    };
    kind && subject && reason && count
}

fn of(incident: &Value) -> impl Iterator<Item = &Value> {
    incident
        .get("root")
        .into_iter()
        .chain(list(incident, "chain"))
}

fn short(want: &Value) -> String {
    let kinds: Vec<&str> = list(want, "kinds")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    format!(
        "{} {} {}",
        kinds.join("/"),
        text(want, "subject"),
        text(want, "reason")
    )
    .trim_end()
    .to_owned()
}

fn seen(incident: &Value) -> String {
    let root = &incident["root"];
    let chain: Vec<&str> = list(incident, "chain")
        .iter()
        .map(|f| text(f, "kind"))
        .collect();
    let subject = list(root, "subjects")
        .first()
        .and_then(Value::as_str)
        .unwrap_or_default();
    format!(
        "{} {subject} {} ×{} → [{}]",
        text(root, "kind"),
        text(root, "reason"),
        root["count"],
        chain.join(", ")
    )
}

/// The one incident that has this root and all effects; else why there is none.
fn whole<'a>(want: &Value, loud: &[&'a Value], label: &Value) -> Result<&'a Value, Vec<String>> {
    let root = &want["root"];
    let roots: Vec<&Value> = loud
        .iter()
        .copied()
        .filter(|i| matches(root, &i["root"]))
        .collect();
    if roots.is_empty() {
        let all: Vec<String> = loud.iter().map(|i| seen(i)).collect();
        return Err(vec![format!(
            "root {} not found; seen: {}",
            short(root),
            if all.is_empty() {
                "none".to_owned()
            } else {
                all.join("; ")
            }
        )]);
    }
    let window = phase(label, "fault_start").zip(phase(label, "record_end"));
    let inside: Vec<&Value> = roots
        .into_iter()
        .filter(|i| {
            window.is_none_or(|(from, to)| {
                epoch(text(&i["root"], "first")).is_some_and(|t| from - SLACK_S <= t && t <= to)
            })
        })
        .collect();
    if inside.is_empty() {
        return Err(vec![format!(
            "root {} begins outside the faulty phase",
            short(root)
        )]);
    }
    let effects = list(want, "effects");
    if let Some(found) = inside
        .iter()
        .copied()
        .find(|i| effects.iter().all(|e| of(i).any(|f| matches(e, f))))
    {
        return Ok(found);
    }
    let missing = effects
        .iter()
        .filter(|e| !inside.iter().any(|i| of(i).any(|f| matches(e, f))));
    let mut problems: Vec<String> = missing
        .map(|e| {
            format!(
                "effect {} not in the root's chain: {}",
                short(e),
                seen(inside[0])
            )
        })
        .collect();
    if problems.is_empty() {
        problems.push("no one incident holds the root and all effects".to_owned());
    }
    Err(problems)
}

/// Everything in which a report falls short of `expect`.
pub fn judge(expect: &Value, label: &Value, report: &Value, alerts: &[Value]) -> Vec<String> {
    let incidents = list(report, "incidents");
    let loud: Vec<&Value> = incidents
        .iter()
        .filter(|i| matches!(text(i, "severity"), "warning" | "critical"))
        .collect();
    let mut problems = Vec::new();

    let mut judged: Vec<&Value> = Vec::new();
    let firsts = expect.get("root").map(|_| expect);
    for want in firsts.into_iter().chain(list(expect, "also")) {
        match whole(want, &loud, label) {
            Err(found) => problems.extend(found),
            Ok(incident) if judged.contains(&incident) => problems.push(format!(
                "{} was merged into another incident",
                short(&want["root"])
            )),
            Ok(incident) => judged.push(incident),
        }
    }
    if let (Some(least), Some(first)) = (
        expect.get("affected").and_then(Value::as_u64),
        judged.first(),
    ) {
        let most = first["affected"]["prefixes"].as_u64().unwrap_or_default();
        if most < least {
            problems.push(format!(
                "{most} affected prefixes, expected at least {least}"
            ));
        }
    }
    for want in list(expect, "findings") {
        let everywhere = list(report, "findings")
            .iter()
            .chain(incidents.iter().flat_map(of));
        if !{ everywhere }.any(|f| matches(want, f)) {
            problems.push(format!("finding {} missing", short(want)));
        }
    }
    for ban in list(expect, "not") {
        if let Some(incident) = loud.iter().find(|i| of(i).any(|f| matches(ban, f))) {
            problems.push(format!(
                "must not be flagged: {}: {}",
                short(ban),
                seen(incident)
            ));
        }
    }
    let most = expect
        .get("max")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    if loud.len() as u64 > most {
        let all: Vec<String> = loud.iter().map(|i| seen(i)).collect();
        problems.push(format!(
            "{} incidents above info, at most {most} expected: {}",
            loud.len(),
            all.join("; ")
        ));
    }
    problems.extend(incidents.iter().flat_map(untidy));

    let mut told: Vec<&str> = alerts.iter().map(|a| text(&a["incident"], "id")).collect();
    let mut reported: Vec<&str> = incidents.iter().map(|i| text(i, "id")).collect();
    told.sort_unstable();
    told.dedup();
    reported.sort_unstable();
    if told != reported {
        problems.push(format!("ndjson tells of {told:?}, json of {reported:?}"));
    }
    problems
}

/// Problems of an incident's own structure: root, evidence, causes.
fn untidy(incident: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    if text(incident, "kind") != text(&incident["root"], "kind") {
        problems.push(format!(
            "{} has a root of another kind",
            text(incident, "id")
        ));
    }
    let ids: Vec<&str> = of(incident).map(|f| text(f, "id")).collect();
    for finding in list(incident, "chain") {
        if !ids.contains(&text(finding, "cause")) {
            problems.push(format!(
                "{}: its cause is not in the chain",
                text(finding, "kind")
            ));
        }
    }
    for finding in of(incident) {
        if list(finding, "evidence").is_empty() && text(finding, "fidelity") != "inferred" {
            problems.push(format!("{} without evidence", text(finding, "kind")));
        }
    }
    problems
}

/// Seconds since the epoch of `2026-01-02T03:04:05.000000006Z`.
fn epoch(stamp: &str) -> Option<f64> {
    let time: jiff::Timestamp = stamp.parse().ok()?;
    Some(time.as_nanosecond() as f64 / 1e9)
}
