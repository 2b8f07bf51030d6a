//! PagerDuty Events API v2: the incident's id is the deduplication key from trigger to resolve.

use serde_json::json;

use super::cut;
use crate::deliver::secret::Secret;
use crate::deliver::{Notice, Urgency};

const SUMMARY: usize = 1024;
const KEY: usize = 255;
/// Steps that go along: an event has 512 kB at most, a reader less.
const STEPS: usize = 15;

pub(super) fn event(notice: &Notice, routing_key: Option<&Secret>) -> String {
    let action = if notice.is_over() {
        "resolve"
    } else {
        "trigger"
    };
    let severity = match notice.urgency {
        Urgency::Critical => "critical",
        Urgency::Warning => "warning",
        Urgency::Info => "info",
    };
    let test = if notice.test { "TEST: " } else { "" };
    let steps: Vec<String> = notice
        .steps
        .iter()
        .take(STEPS)
        .map(|step| cut(step, SUMMARY))
        .collect();
    let links = notice
        .link
        .iter()
        .map(|link| json!({"href": link, "text": "report"}));
    json!({
        "routing_key": routing_key.map(Secret::reveal),
        "event_action": action,
        "dedup_key": cut(&notice.id, KEY),
        "client": "flapscope",
        "links": links.collect::<Vec<_>>(),
        "payload": {
            "summary": cut(&format!("{test}{}", notice.title), SUMMARY),
            "severity": severity,
            "source": notice.host.as_deref().unwrap_or("flapscope"),
            "component": notice.fact("interface").or(notice.fact("peer")),
            "group": notice.fact("prefix"),
            "class": notice.kind,
            "timestamp": notice.at,
            "custom_details": {
                "incident": notice.id,
                "rev": notice.rev,
                "impact": notice.text,
                "chain": steps,
                "try": notice.advice.iter().take(3).collect::<Vec<_>>(),
            },
        },
    })
    .to_string()
}
