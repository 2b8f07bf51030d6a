//! `flapscope check`: a plugin for Nagios, Icinga and their kin (Monitoring Plugins Development Guidelines): one line, performance data, 0 to 3.
//!
//! Never anything else: that no service answers is 3 as well, since nobody knows then.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::Value;

use crate::cli::At;
use crate::control::client::Client;
use crate::control::protocol::Request;
use crate::event::Timestamp;
use crate::event::text::sanitized;
use crate::filter::Filter;
use crate::input::live::now;

/// Exit codes of the guidelines.
pub const UNKNOWN: u8 = 3;
const WORDS: [&str; 4] = ["OK", "WARNING", "CRITICAL", "UNKNOWN"];
/// Ids that the line names besides the worst one's title: a telephone's width.
const NAMED: usize = 3;

/// Asks, and says it in one line.
pub fn run(at: &At, filter: Option<&Filter>, max_age: Duration) -> anyhow::Result<u8> {
    let (code, text) = match ask(at, filter, max_age) {
        Ok(verdict) => verdict,
        Err(error) => {
            let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
            (UNKNOWN, plain(&causes.join(": ")))
        }
    };
    let word = WORDS.get(usize::from(code)).copied().unwrap_or("UNKNOWN");
    writeln!(io::stdout().lock(), "FLAPSCOPE {word} - {text}")?;
    Ok(code)
}

fn ask(at: &At, filter: Option<&Filter>, max_age: Duration) -> anyhow::Result<(u8, String)> {
    let mut client = Client::connect(&super::ask::socket(at))?;
    let sources = client.ask(&Request::Sources)?;
    let answer = client.ask(&Request::Incidents {
        filter: filter.map(|filter| filter.as_str().to_owned()),
    })?;
    Ok(judge(&sources, &answer, now(), max_age))
}

/// The exit code and the rest of the line.
fn judge(sources: &Value, answer: &Value, now: Timestamp, max_age: Duration) -> (u8, String) {
    let rooms = sources["rooms"].as_array().map_or(&[][..], Vec::as_slice);
    // The room that is furthest behind: an engine that stands still finds nothing.
    let age = rooms
        .iter()
        .filter_map(|room| {
            let to: jiff::Timestamp = room["to"].as_str()?.parse().ok()?;
            let to = i64::try_from(to.as_nanosecond()).ok()?;
            Some((now.0 - to).max(0) as f64 / 1e9)
        })
        .fold(0.0, f64::max);
    let all = answer["incidents"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let open: Vec<&Value> = all
        .iter()
        .filter(|incident| incident["state"] == "open")
        .collect();
    let of = |severity: &str| -> Vec<&&Value> {
        open.iter()
            .filter(|incident| incident["severity"] == severity)
            .collect()
    };
    let (critical, warning, info) = (of("critical"), of("warning"), of("info"));
    let data = format!(
        "| critical={};;;0 warning={};;;0 info={};;;0 age={age:.1}s;;{};0",
        critical.len(),
        warning.len(),
        info.len(),
        max_age.as_secs()
    );
    if age > max_age.as_secs_f64() {
        let text = format!("the service judges nothing for {age:.0} s {data}");
        return (UNKNOWN, text);
    }
    let (code, worst) = match (critical.as_slice(), warning.as_slice()) {
        ([], []) => (0, &[][..]),
        ([], warning) => (1, warning),
        (critical, _) => (2, critical),
    };
    let text = match worst {
        [] => match info.len() {
            0 => "no open incidents".to_owned(),
            n => format!("nothing above info ({n} open)"),
        },
        [first, rest @ ..] => {
            let title = first["title"].as_str().unwrap_or("-");
            let id = |incident: &&Value| incident["id"].as_str().unwrap_or("-").to_owned();
            let more: Vec<String> = rest
                .iter()
                .take(NAMED)
                .map(|incident| id(incident))
                .collect();
            let more = match rest.len() {
                0 => String::new(),
                n => format!(" and {n} more: {}", more.join(", ")),
            };
            format!("{title} ({}){more}", id(first))
        }
    };
    (code, format!("{} {data}", plain(&text)))
}

/// What stands before the performance data holds no bar and is one line.
fn plain(text: &str) -> String {
    sanitized(text).replace('|', "/")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp(1_764_550_800_000_000_000);

    fn judged(incidents: Value, behind_s: i64) -> (u8, String) {
        let to = Timestamp(NOW.0 - behind_s * 1_000_000_000).to_string();
        let sources = json!({"rooms": [{"to": to}]});
        judge(
            &sources,
            &json!({"incidents": incidents}),
            NOW,
            Duration::from_secs(120),
        )
    }

    fn incident(id: &str, severity: &str, state: &str) -> Value {
        json!({"id": id, "severity": severity, "state": state, "title": format!("{id} | broke")})
    }

    #[test]
    fn the_worst_open_incident_decides_and_what_is_over_does_not() {
        let (code, line) = judged(json!([]), 1);
        assert_eq!(code, 0);
        assert_eq!(
            line,
            "no open incidents | critical=0;;;0 warning=0;;;0 info=0;;;0 age=1.0s;;120;0"
        );
        assert_eq!(
            judged(
                json!([
                    incident("i-1", "critical", "resolved"),
                    incident("i-2", "info", "open")
                ]),
                1
            )
            .0,
            0
        );
        let (code, line) = judged(
            json!([
                incident("i-1", "warning", "open"),
                incident("i-2", "critical", "open"),
                incident("i-3", "critical", "open")
            ]),
            1,
        );
        assert_eq!(code, 2);
        assert!(
            line.starts_with("i-2 / broke (i-2) and 1 more: i-3 | critical=2"),
            "{line}"
        );
        assert_eq!(line.matches('|').count(), 1);
    }

    #[test]
    fn a_service_that_stands_still_is_unknown_whatever_it_says() {
        let (code, line) = judged(json!([]), 500);
        assert_eq!(
            (
                code,
                line.starts_with("the service judges nothing for 500 s")
            ),
            (UNKNOWN, true)
        );
    }
}
