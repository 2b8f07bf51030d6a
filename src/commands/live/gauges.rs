//! What a live run says as metrics: read off the rooms and the sinks when a scraper asks, counted where it happens otherwise.

use std::collections::BTreeMap;

use super::courier::Courier;
use crate::correlate::Told;
use crate::correlate::incident::{Incident, Life};
use crate::engine::rooms::Rooms;
use crate::event::Timestamp;
use crate::http::metrics::Sample;
use crate::output::alert::{CountsView, severity};
use crate::output::json;

/// Severities, so that a count of none is told as well: an alert rule cannot see what is absent.
const SEVERITIES: [&str; 3] = ["info", "warning", "critical"];

/// What was told so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// By kind and severity: as many as there are kinds, times three.
    opened: BTreeMap<(String, &'static str), u64>,
    /// Opened, updated, resolved.
    told: [u64; 3],
}

impl Tally {
    /// Counts an alert.
    pub fn count(&mut self, said: &Told) {
        let [opened, updated, resolved] = &mut self.told;
        match said {
            Told::Opened(incident) => {
                *opened += 1;
                let key = (incident.root.kind.to_string(), severity(incident.severity));
                *self.opened.entry(key).or_default() += 1;
            }
            Told::Updated(_) => *updated += 1,
            Told::Resolved(_) => *resolved += 1,
        }
    }
}

/// Everything, as it stands.
pub fn samples(
    rooms: Option<&Rooms>,
    incidents: &[(Option<String>, Incident)],
    tally: &Tally,
    courier: Option<&Courier>,
    since: Timestamp,
) -> Vec<Sample> {
    let seconds = |at: Timestamp| at.0 as f64 / 1e9;
    let mut all = vec![
        Sample::of("flapscope_build_info", &[env!("CARGO_PKG_VERSION")], 1.0),
        Sample::of("flapscope_start_time_seconds", &[], seconds(since)),
    ];
    if let Some(rooms) = rooms {
        of_rooms(rooms, &mut all);
    }
    for ((kind, severity), count) in &tally.opened {
        all.push(Sample::of(
            "flapscope_incidents_total",
            &[kind, severity],
            *count as f64,
        ));
    }
    for word in SEVERITIES {
        let open = incidents.iter().filter(|(_, incident)| {
            incident.life == Life::Open
                && incident.merged_into.is_none()
                && severity(incident.severity) == word
        });
        all.push(Sample::of(
            "flapscope_incidents_open",
            &[word],
            open.count() as f64,
        ));
    }
    for (word, count) in ["opened", "updated", "resolved"]
        .into_iter()
        .zip(tally.told)
    {
        all.push(Sample::of("flapscope_alerts_total", &[word], count as f64));
    }
    if let Some(courier) = courier {
        of_sinks(courier, &mut all);
    }
    all
}

fn of_rooms(rooms: &Rooms, all: &mut Vec<Sample>) {
    // The room that is furthest behind.
    let now = rooms
        .all()
        .iter()
        .filter(|room| room.engine.from().is_some());
    if let Some(now) = now.map(|room| room.engine.now()).min() {
        all.push(Sample::of(
            "flapscope_engine_time_seconds",
            &[],
            now.0 as f64 / 1e9,
        ));
    }
    let mut counts = CountsView::default();
    let (mut records, mut blind) = (0, 0);
    for room in rooms.all() {
        let seen = room.decoder.stats().records;
        records += seen;
        counts.add(&json::counts(&room.engine, seen));
        blind += room.engine.blind_spots().len();
    }
    all.push(Sample::of("flapscope_records_total", &[], records as f64));
    for (layer, count) in [
        ("netlink", counts.netlink),
        ("bgp", counts.bgp),
        ("bmp", counts.bmp),
        ("bfd", counts.bfd),
        ("dhcp", counts.dhcp),
        ("lan", counts.lan),
        ("tcp", counts.tcp),
    ] {
        all.push(Sample::of("flapscope_events_total", &[layer], count as f64));
    }
    for (name, count) in [
        ("flapscope_malformed_total", counts.malformed),
        ("flapscope_gaps_total", counts.gaps),
        ("flapscope_blind_spots", blind as u64),
    ] {
        all.push(Sample::of(name, &[], count as f64));
    }
}

fn of_sinks(courier: &Courier, all: &mut Vec<Sample>) {
    let inquiry = courier.inquiry();
    for sink in inquiry.status() {
        let name = sink.name.as_str();
        for (reason, count) in &sink.failures {
            all.push(Sample::of(
                "flapscope_delivery_failures_total",
                &[name, reason],
                *count as f64,
            ));
        }
        for (metric, value) in [
            ("flapscope_delivery_delivered_total", sink.delivered as f64),
            ("flapscope_delivery_refused_total", sink.refused as f64),
            ("flapscope_delivery_dropped_total", sink.dropped as f64),
            (
                "flapscope_delivery_superseded_total",
                sink.superseded as f64,
            ),
            ("flapscope_delivery_waiting", sink.waiting as f64),
            ("flapscope_delivery_lag_seconds", sink.lag_s),
            (
                "flapscope_delivery_failing_seconds",
                sink.failing_s.unwrap_or(0.0),
            ),
        ] {
            all.push(Sample::of(metric, &[name], value));
        }
    }
    all.push(Sample::of(
        "flapscope_delivery_lost_total",
        &[],
        inquiry.overrun() as f64,
    ));
    all.push(Sample::of(
        "flapscope_spool_bytes",
        &[],
        inquiry.spooled() as f64,
    ));
}
