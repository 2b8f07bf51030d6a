//! Alertmanager, API v2 (measured on 0.25, read in 0.34's `docs/alerts_api.md`).
//!
//! It wants to be told again and again: an alert that is not resent counts as resolved at its `endsAt`. So this sink is a state, not a log: what
//! fires is resent every minute, a resolve is repeated for a quarter of an hour (a member may be restarted meanwhile), and both survive our
//! own restart. An alert is its label set. When one of the few labels that may change does (severity, kind), the old set ends and the new
//! begins in one post; in two, the old one keeps firing until its `endsAt`: a ghost.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Outcome, Sink};
use crate::deliver::clerk::now;
use crate::deliver::http::{Client, Route, Url};
use crate::deliver::shape::cut;
use crate::deliver::{Notice, spool};

/// Prometheus resends so often, too (`rules.alert.resend-delay`).
const RESEND: Duration = Duration::from_secs(60);
/// `endsAt` of what fires: four times that, as Prometheus has it.
const HOLDS: Duration = Duration::from_secs(240);
/// A resolve is repeated for so long, as Prometheus does.
const RESOLVED: Duration = Duration::from_secs(15 * 60);
/// Alerts in one post.
const BATCH: usize = 64;
/// Alerts that fire at once: correlation folds, so this is two decimal orders more than a bad night has. Resolved ones go first.
const MAX: usize = 2000;
/// Lines of an annotation.
const LINES: usize = 15;
/// Characters of each: what Alertmanager hands on to Slack and pagers is cut there.
const LINE: usize = 300;
const TITLE: usize = 1024;
const PATH: &str = "/api/v2/alerts";

/// Where, and with which labels besides ours.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// Every member of a cluster: no load balancer, they gossip what was notified.
    pub urls: Vec<Url>,
    pub labels: Vec<(String, String)>,
    pub route: Route,
}

/// An alert as it was told last.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Alert {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: String,
    link: Option<String>,
    /// Seconds since the epoch when it was over.
    #[serde(default)]
    over: Option<u64>,
}

/// A cluster.
pub struct Alertmanager {
    client: Client,
    urls: Vec<Url>,
    labels: Vec<(String, String)>,
    keep: Option<PathBuf>,
    /// By incident and label set: the sets that an incident had before are over and are repeated as such.
    alerts: BTreeMap<String, Vec<Alert>>,
    due: Instant,
}

impl Alertmanager {
    /// Goes on with what fired before, if it is kept in `keep`.
    pub fn open(settings: &Settings, keep: Option<PathBuf>) -> io::Result<Alertmanager> {
        let urls = settings.urls.iter().map(|url| {
            let base = url.reveal().trim_end_matches('/');
            format!("{base}{PATH}").parse().map_err(io::Error::other)
        });
        let read = keep.as_ref().and_then(|path| fs::read(path).ok());
        // One that cannot be read is none: what fires is told anew with its next revision.
        let alerts = read.and_then(|octets| serde_json::from_slice(&octets).ok());
        Ok(Alertmanager {
            client: Client::open(&settings.route)?,
            urls: urls.collect::<Result<_, _>>()?,
            labels: settings.labels.clone(),
            keep,
            alerts: alerts.unwrap_or_default(),
            due: now(),
        })
    }

    /// Takes a notice into the state; what must be posted for it.
    fn take(&mut self, notice: &Notice, at: u64) -> Vec<Alert> {
        let alert = Alert {
            labels: labels(notice, &self.labels),
            annotations: annotations(notice),
            starts_at: notice.opened_at.clone(),
            link: notice.link.clone(),
            over: notice.is_over().then_some(at),
        };
        let sets = self.alerts.entry(notice.id.clone()).or_default();
        for old in sets.iter_mut() {
            // The set of before ends in the post in which the new one begins. A resolve ends them all.
            if old.labels != alert.labels || notice.is_over() {
                old.over.get_or_insert(at);
            }
        }
        sets.retain(|old| old.labels != alert.labels);
        sets.push(alert);
        let post = sets.clone();
        self.bound();
        post
    }

    /// What is over for long is forgotten, and the oldest where there are too many.
    fn bound(&mut self) {
        while self.alerts.len() > MAX {
            let over = |sets: &Vec<Alert>| sets.iter().all(|alert| alert.over.is_some());
            let gone = self.alerts.iter().find(|(_, sets)| over(sets));
            let Some(id) = gone.or(self.alerts.iter().next()).map(|(id, _)| id.clone()) else {
                return;
            };
            self.alerts.remove(&id);
        }
    }

    fn save(&self) {
        if let Some(path) = &self.keep
            && let Ok(octets) = serde_json::to_vec(&self.alerts)
        {
            // A full disk: what fires is told anew after a restart.
            let _ = spool::replace(path, &octets, false);
        }
    }

    /// To every member; done when one has it, as they tell each other. A member that is away hears it with the next resend.
    fn post(&self, alerts: &[Alert], at: u64) -> Outcome {
        let mut done = None;
        let mut failed = None;
        for url in &self.urls {
            match self.post_to(url, alerts, at) {
                Outcome::Done(said) => done = Some(format!("{}: {said}", url.shown())),
                other => failed = Some(other),
            }
        }
        match (done, failed) {
            (Some(said), _) => Outcome::Done(said),
            (None, Some(outcome)) => outcome,
            (None, None) => Outcome::Done("nothing to post to".to_owned()),
        }
    }

    fn post_to(&self, url: &Url, alerts: &[Alert], at: u64) -> Outcome {
        let body: Vec<Value> = alerts.iter().map(|alert| alert.json(at)).collect();
        let outcome = self
            .client
            .post(url, &[], &Value::from(body).to_string(), &[]);
        match outcome {
            // Valid ones of a batch are taken, and 400 is said for the rest: find which.
            Outcome::Never(failure) if alerts.len() > 1 => {
                let mut outcome = Outcome::Never(failure);
                for alert in alerts {
                    match self.post_to(url, std::slice::from_ref(alert), at) {
                        Outcome::Never(_) => {}
                        other => outcome = other,
                    }
                }
                outcome
            }
            outcome => outcome,
        }
    }
}

impl Sink for Alertmanager {
    fn deliver(&mut self, notice: &Notice) -> Outcome {
        let at = unix_now();
        let alerts = self.take(notice, at);
        let outcome = self.post(&alerts, at);
        self.save();
        outcome
    }

    fn due(&self) -> Option<Instant> {
        (!self.alerts.is_empty()).then_some(self.due)
    }

    fn tend(&mut self) -> Outcome {
        self.due = now() + RESEND;
        let at = unix_now();
        let before = self.alerts.len();
        self.alerts.retain(|_, sets| {
            sets.retain(|alert| {
                alert
                    .over
                    .is_none_or(|over| at.saturating_sub(over) < RESOLVED.as_secs())
            });
            !sets.is_empty()
        });
        if self.alerts.len() != before {
            self.save();
        }
        let all: Vec<Alert> = self.alerts.values().flatten().cloned().collect();
        let mut outcome = Outcome::Done(String::new());
        for batch in all.chunks(BATCH) {
            match self.post(batch, at) {
                Outcome::Done(_) => {}
                failed => outcome = failed,
            }
        }
        outcome
    }
}

impl Alert {
    fn json(&self, at: u64) -> Value {
        let ends = self.over.unwrap_or(at + HOLDS.as_secs());
        // A clock that was set back: what begins after its end is refused (400), and would be lost.
        let begins: Option<jiff::Timestamp> = self.starts_at.parse().ok();
        let late = begins.is_none_or(|begins| begins.as_second() >= ends as i64);
        let starts = match late {
            true => rfc3339(ends.saturating_sub(1)),
            false => self.starts_at.clone(),
        };
        let mut alert = json!({
            "labels": self.labels,
            "annotations": self.annotations,
            "startsAt": starts,
            "endsAt": rfc3339(ends),
        });
        if let Some(link) = &self.link {
            alert["generatorURL"] = link.as_str().into();
        }
        alert
    }
}

/// Labels: what an alert is. Only severity and kind may change while it lasts.
pub fn labels(notice: &Notice, also: &[(String, String)]) -> BTreeMap<String, String> {
    let camel: String = notice
        .kind
        .split(['.', '-', '_'])
        .filter_map(|word| {
            let mut letters = word.chars();
            Some(
                letters
                    .next()?
                    .to_uppercase()
                    .chain(letters)
                    .collect::<String>(),
            )
        })
        .collect();
    let test = if notice.test { "Test" } else { "" };
    let mut labels: BTreeMap<String, String> = also.iter().cloned().collect();
    labels.extend([
        ("alertname".to_owned(), format!("Flapscope{test}{camel}")),
        ("incident".to_owned(), notice.id.clone()),
        ("kind".to_owned(), notice.kind.clone()),
        ("severity".to_owned(), notice.urgency.as_str().to_owned()),
    ]);
    labels.extend(
        notice
            .host
            .clone()
            .map(|host| ("instance".to_owned(), host)),
    );
    labels
}

/// Annotations: what is said about it. A change of these alone notifies nobody.
pub fn annotations(notice: &Notice) -> BTreeMap<String, String> {
    let lines = |all: &[String]| -> Vec<String> {
        all.iter().take(LINES).map(|line| cut(line, LINE)).collect()
    };
    let (steps, advice) = (lines(&notice.steps), lines(&notice.advice));
    [
        ("summary", cut(&notice.title, TITLE)),
        ("description", cut(&notice.text, TITLE)),
        ("why", steps.join("\n")),
        ("try", advice.join("\n")),
        ("rev", notice.rev.to_string()),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "Alertmanager compares with its own clock"
)]
fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn rfc3339(seconds: u64) -> String {
    let at = i64::try_from(seconds)
        .ok()
        .and_then(|s| jiff::Timestamp::from_second(s).ok());
    at.unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::notice::sample;
    use crate::deliver::{Stage, Urgency};

    fn manager(keep: Option<PathBuf>) -> Alertmanager {
        let settings = Settings {
            urls: vec!["http://192.0.2.1:9093/am/".parse().unwrap()],
            labels: vec![("site".to_owned(), "fra1".to_owned())],
            route: Route::default(),
        };
        Alertmanager::open(&settings, keep).unwrap()
    }

    #[test]
    fn when_the_severity_changes_the_old_set_ends_in_the_post_in_which_the_new_begins() {
        let mut manager = manager(None);
        assert_eq!(
            manager.urls[0].reveal(),
            "http://192.0.2.1:9093/am/api/v2/alerts"
        );
        let mut notice = sample("i-1", 1, Stage::Opened);
        notice.urgency = Urgency::Warning;
        let first = manager.take(&notice, 100);
        assert_eq!((first.len(), first[0].over), (1, None));
        assert_eq!(first[0].labels["site"], "fra1");
        assert_eq!(first[0].labels["alertname"], "FlapscopeSessionDown");
        notice.rev = 2;
        notice.urgency = Urgency::Critical;
        let second = manager.take(&notice, 160);
        let sets: Vec<(&str, Option<u64>)> = second
            .iter()
            .map(|alert| (alert.labels["severity"].as_str(), alert.over))
            .collect();
        assert_eq!(sets, [("warning", Some(160)), ("critical", None)]);
        let over = manager.take(&sample("i-1", 3, Stage::Resolved), 200);
        assert!(over.iter().all(|alert| alert.over.is_some()), "{over:?}");
        let firing = first[0].json(100);
        assert_eq!(firing["endsAt"], "1970-01-01T00:05:40Z");
        // Our clock says 1970: it was set back.
        assert_eq!(firing["startsAt"], "1970-01-01T00:05:39Z");
        let later = first[0].json(2_000_000_000);
        assert_eq!(later["startsAt"], "2026-12-01T01:02:00.000000000Z");
    }

    #[test]
    fn a_restart_goes_on_with_what_fires() {
        let path = std::env::temp_dir().join(format!("flapscope-am-{}.state", std::process::id()));
        let mut before = manager(Some(path.clone()));
        before.take(&sample("i-1", 1, Stage::Opened), 100);
        before.save();
        let after = manager(Some(path.clone()));
        assert_eq!(after.alerts, before.alerts);
        assert!(after.due().is_some());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn many_alerts_are_bounded_and_those_that_are_over_go_first() {
        let mut manager = manager(None);
        manager.take(&sample("i-over", 2, Stage::Resolved), 100);
        for n in 0..=MAX {
            manager.take(&sample(&format!("i-{n}"), 1, Stage::Opened), 100);
        }
        assert_eq!(manager.alerts.len(), MAX);
        assert!(!manager.alerts.contains_key("i-over"));
    }
}
