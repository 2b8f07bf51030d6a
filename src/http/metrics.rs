//! The metrics: one table of what there is, and both text formats of it, written by hand.
//!
//! Two formats, since `promtool check metrics` does not read OpenMetrics (measured on Debian's 2.42: "info" is a parse error, its counters lack
//! their help) and scrapers ask for OpenMetrics. Names by the conventions (prometheus.io/docs/practices/naming). No label holds a prefix, a
//! client, an address or an incident: kinds (about ninety) times severities (three) is the most that there are.

use std::fmt::Write;

use serde::Serialize;

/// What a family's values do.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Type {
    Counter,
    Gauge,
}

/// A family of metrics.
#[derive(Debug)]
pub struct Family {
    /// A counter's ends in `_total`.
    pub name: &'static str,
    pub is: Type,
    pub help: &'static str,
    pub labels: &'static [&'static str],
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family {
        name,
        is: Type::Counter,
        help,
        labels,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family {
        name,
        is: Type::Gauge,
        help,
        labels,
    }
}

/// All of them, in the order in which they are written. docs/metrics.md is this table.
pub const FAMILIES: &[Family] = &[
    gauge(
        "flapscope_build_info",
        &["version"],
        "Always 1; the program's version is the label.",
    ),
    gauge(
        "flapscope_start_time_seconds",
        &[],
        "When the service began to watch, seconds since the epoch.",
    ),
    gauge(
        "flapscope_engine_time_seconds",
        &[],
        "How far the engine has judged, seconds since the epoch; it stands still when the engine does.",
    ),
    counter(
        "flapscope_records_total",
        &[],
        "Records read: packets, kernel messages, messages of routers.",
    ),
    counter(
        "flapscope_events_total",
        &["layer"],
        "Decoded facts, by what they are about.",
    ),
    counter(
        "flapscope_malformed_total",
        &[],
        "Records that are not what they should be.",
    ),
    counter(
        "flapscope_gaps_total",
        &[],
        "Losses of input: what happened inside one was not seen.",
    ),
    gauge(
        "flapscope_blind_spots",
        &[],
        "Things that are not watched and would matter; `flapscope doctor` names them.",
    ),
    counter(
        "flapscope_incidents_total",
        &["kind", "severity"],
        "Incidents opened, by kind and severity at the opening.",
    ),
    gauge(
        "flapscope_incidents_open",
        &["severity"],
        "Incidents that are open.",
    ),
    counter(
        "flapscope_alerts_total",
        &["type"],
        "Alerts told: opened, updated, resolved.",
    ),
    counter(
        "flapscope_delivery_delivered_total",
        &["sink"],
        "Alerts that a receiver took.",
    ),
    counter(
        "flapscope_delivery_failures_total",
        &["sink", "reason"],
        "Tries that failed, by reason.",
    ),
    counter(
        "flapscope_delivery_refused_total",
        &["sink"],
        "Alerts that a receiver refused for good.",
    ),
    counter(
        "flapscope_delivery_dropped_total",
        &["sink"],
        "Alerts that found no room in a sink's queue or in the spool.",
    ),
    counter(
        "flapscope_delivery_superseded_total",
        &["sink"],
        "Undelivered updates that gave way to newer ones.",
    ),
    gauge(
        "flapscope_delivery_waiting",
        &["sink"],
        "Alerts that wait for a receiver.",
    ),
    gauge(
        "flapscope_delivery_lag_seconds",
        &["sink"],
        "For how long the first of them waits.",
    ),
    gauge(
        "flapscope_delivery_failing_seconds",
        &["sink"],
        "For how long a receiver takes nothing; 0 while it does.",
    ),
    counter(
        "flapscope_delivery_lost_total",
        &[],
        "Alerts that were lost before the spool: its disk was too slow.",
    ),
    gauge("flapscope_spool_bytes", &[], "Size of the spool on disk."),
];

/// A value; its labels' values stand in the family's order.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Sample {
    pub name: &'static str,
    pub labels: Vec<String>,
    pub value: f64,
}

impl Sample {
    /// Of a family.
    pub fn of(name: &'static str, labels: &[&str], value: f64) -> Sample {
        Sample {
            name,
            labels: labels.iter().map(ToString::to_string).collect(),
            value,
        }
    }
}

/// A text format.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// What a scraper that sends this Accept header wants.
    pub fn of_accept(accept: &str) -> Format {
        if accept.contains("application/openmetrics-text") {
            Format::OpenMetrics
        } else {
            Format::Prometheus
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All samples of known families, as text.
pub fn text(samples: &[Sample], format: Format) -> String {
    let mut out = String::new();
    for family in FAMILIES {
        let mut own = samples
            .iter()
            .filter(|sample| sample.name == family.name)
            .peekable();
        if own.peek().is_none() {
            continue;
        }
        // OpenMetrics names a counter's family without the suffix of its samples.
        let name = match (format, family.is) {
            (Format::OpenMetrics, Type::Counter) => {
                family.name.strip_suffix("_total").unwrap_or(family.name)
            }
            _ => family.name,
        };
        let is = match family.is {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP {name} {}\n# TYPE {name} {is}", family.help);
        for sample in own {
            let labels: Vec<String> = family
                .labels
                .iter()
                .zip(&sample.labels)
                .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
                .collect();
            let labels = match labels.as_slice() {
                [] => String::new(),
                some => format!("{{{}}}", some.join(",")),
            };
            let _ = writeln!(out, "{}{labels} {}", family.name, sample.value);
        }
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// docs/metrics.md.
pub fn page() -> String {
    let mut out = String::from(
        "# Metrics\n\n\
         `flapscope live --http 127.0.0.1:9799` (or `--http unix:/run/flapscope/http.sock`) serves `/metrics`: OpenMetrics where `Accept` asks for it, else \
         the Prometheus text format. The host is the scraper's label. No label holds a prefix, an address or an incident. This page is made \
         from the program's own table.\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for family in FAMILIES {
        let is = match family.is {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
        };
        let labels: Vec<String> = family
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let _ = writeln!(
            out,
            "| `{}` | {is} | {} | {} |",
            family.name,
            labels.join(", "),
            family.help
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_say_the_same_and_values_cannot_leave_their_quotes() {
        let samples = [
            Sample::of("flapscope_build_info", &["1.0\"\n\\"], 1.0),
            Sample::of("flapscope_gaps_total", &[], 3.0),
        ];
        let plain = text(&samples, Format::Prometheus);
        assert!(
            plain.contains("flapscope_build_info{version=\"1.0\\\"\\n\\\\\"} 1\n"),
            "{plain}"
        );
        assert!(plain.contains("# TYPE flapscope_gaps_total counter\nflapscope_gaps_total 3\n"));
        let open = text(&samples, Format::OpenMetrics);
        assert!(open.contains("# TYPE flapscope_gaps counter\nflapscope_gaps_total 3\n"));
        assert!(open.ends_with("# EOF\n") && !plain.contains("EOF"));
        assert_eq!(
            Format::of_accept("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"),
            Format::OpenMetrics
        );
        assert_eq!(Format::of_accept("*/*"), Format::Prometheus);
    }

    #[test]
    fn names_keep_the_conventions() {
        for family in FAMILIES {
            assert_eq!(
                family.is == Type::Counter,
                family.name.ends_with("_total"),
                "{}",
                family.name
            );
            assert!(family.help.ends_with('.') && family.name.starts_with("flapscope_"));
            let unbounded = ["prefix", "address", "client", "peer", "incident", "mac"];
            assert!(
                !family.labels.iter().any(|label| unbounded.contains(label)),
                "{}",
                family.name
            );
        }
    }
}
