//! The body of Alertmanager's own webhooks, version 4 (`notify/webhook`, `template.Data` of 0.34).

use serde_json::{Map, Value, json};

use crate::deliver::Notice;
use crate::deliver::sink::alertmanager::{annotations, labels};

/// RFC 3339 for "not yet": Go's zero time, which receivers test for.
const NEVER: &str = "0001-01-01T00:00:00Z";

pub(super) fn body(notice: &Notice) -> String {
    let labels = labels(notice, &[]);
    let annotations: Map<String, Value> = annotations(notice)
        .into_iter()
        .map(|(name, value)| (name, value.into()))
        .collect();
    let (status, ends) = match notice.is_over() {
        true => ("resolved", notice.at.as_str()),
        false => ("firing", NEVER),
    };
    let link = notice.link.clone().unwrap_or_default();
    json!({
        "version": "4",
        "groupKey": format!("{{}}:{{incident=\"{}\"}}", notice.id),
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "flapscope",
        "groupLabels": {"incident": notice.id},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": link,
        "alerts": [{
            "status": status,
            "labels": labels,
            "annotations": annotations,
            "startsAt": notice.opened_at,
            "endsAt": ends,
            "generatorURL": link,
            // Of the incident, not of its labels: these change with its severity.
            "fingerprint": format!("{:016x}", fingerprint(&notice.id)),
        }],
    })
    .to_string()
}

/// FNV-1a, as Alertmanager takes it for its own.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    })
}
