//! What a live run tells to its sinks: alerts as notices, to whom each is for. The rest is `deliver`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use crate::config::{Config, Wanted};
use crate::control::protocol::{Answer, Request, Said, Tried};
use crate::control::server::Asked;
use crate::correlate::Told;
use crate::correlate::incident::Incident;
use crate::deliver::plan::Reach;
use crate::deliver::sink::Sink;
use crate::deliver::{Delivery, Notice, Plan, Record, Settings, Stage, Urgency};
use crate::detect::Severity;
use crate::event::Timestamp;
use crate::output::alert::{Alert, AlertKind, Host};

/// Incidents whose sinks are remembered: more than a correlator keeps open.
const MAX_HEARD: usize = 4096;
/// Steps of a chain that go along as text; the alert itself has them all.
const STEPS: usize = 20;
/// What was open before a restart is forgotten when it is not seen again within this: as long as a resolved incident may open again.
const FORGET: Duration = crate::correlate::incident::REOPEN;
/// At the end sinks may go on for so long; the rest is in the spool.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// A client of the control socket waits for ten seconds.
const TRIAL: Duration = Duration::from_secs(4);

/// Sinks, open, before the program is confined.
pub struct Post {
    wanted: Vec<Wanted>,
    sinks: Vec<(Plan, Box<dyn Sink>)>,
    settings: Settings,
    report_url: Option<String>,
    pub reach: Reach,
}

/// Takes alerts to their sinks.
pub struct Courier {
    delivery: Delivery,
    wanted: Vec<(Wanted, BTreeSet<String>)>,
    spool: Option<PathBuf>,
    host: Option<String>,
    report_url: Option<String>,
    /// Open since a run before this one, and not seen again yet.
    left: Vec<Left>,
    /// Incidents that go on under the id of a run before, by their own.
    adopted: BTreeMap<String, Before>,
    since: Timestamp,
}

/// An incident that a run before left open.
struct Left {
    record: Record,
    kind: String,
    subject: String,
}

/// What an incident was called before the restart.
#[derive(Clone)]
struct Before {
    id: String,
    rev: u32,
    opened_at: String,
    /// It was over since; what opens then is opened.
    over: bool,
}

impl Post {
    /// Opens what is configured; `None` where nothing is.
    pub fn open(config: &Config, host: Option<String>) -> anyhow::Result<Option<Post>> {
        if config.sinks.is_empty() {
            return Ok(None);
        }
        let mut reach = Reach::default();
        if let Some(spool) = &config.spool {
            let made = fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(spool);
            made.with_context(|| format!("cannot use the spool {}", spool.display()))?;
            reach.write.push(spool.clone());
        }
        let mut sinks = Vec::new();
        for wanted in &config.sinks {
            let name = &wanted.plan.name;
            let more = wanted
                .plan
                .reach()
                .with_context(|| format!("sink {name}"))?;
            reach.write.extend(more.write);
            reach.ports.extend(more.ports);
            reach.names |= more.names;
            let sink = wanted.plan.open(config.spool.as_deref());
            sinks.push((
                wanted.plan.clone(),
                sink.with_context(|| format!("sink {name}"))?,
            ));
        }
        let mut settings = Settings {
            spool: config.spool.clone(),
            host,
            ..Settings::default()
        };
        if let Some(size) = config.spool_megabytes {
            settings.limit = size << 20;
        }
        Ok(Some(Post {
            wanted: config.sinks.clone(),
            sinks,
            settings,
            report_url: config.report_url.clone(),
            reach,
        }))
    }

    /// Starts the threads, which are born with the rights that are left. What is told where goes to `watched`.
    pub fn start(self, watched: &mut Vec<String>) -> anyhow::Result<Courier> {
        for (plan, _) in &self.sinks {
            watched.push(format!("alerts to {}: {}", plan.name, plan.target));
        }
        if self.settings.spool.is_none() {
            let warning = "alerts that are not delivered are lost with the process: there is no spool ([delivery] spool)";
            watched.push(warning.to_owned());
        }
        let (spool, host) = (self.settings.spool.clone(), self.settings.host.clone());
        let delivery =
            Delivery::start(self.settings, self.sinks).context("cannot use the spool")?;
        let left: Vec<Left> = delivery.left.iter().filter_map(Left::of).collect();
        if !left.is_empty() {
            watched.push(format!(
                "{} incidents are open since before this start; what is not seen again within {} minutes is told to be over",
                left.len(),
                FORGET.as_secs() / 60
            ));
        }
        Ok(Courier {
            delivery,
            left,
            adopted: BTreeMap::new(),
            since: crate::input::live::now(),
            wanted: self
                .wanted
                .into_iter()
                .map(|w| (w, BTreeSet::new()))
                .collect(),
            spool,
            host,
            report_url: self.report_url,
        })
    }
}

impl Courier {
    /// Hands what was told to whom it is for; never waits.
    pub fn tell(&mut self, host: &Host, said: &Told) {
        let incident = said.incident();
        let over = matches!(said, Told::Resolved(_));
        if matches!(said, Told::Opened(_)) {
            self.adopt(incident, host);
        }
        let before = self.adopted.get(&incident.id).cloned();
        let id = before.as_ref().map_or(&incident.id, |before| &before.id);
        let mut to = Vec::new();
        for (wanted, heard) in &mut self.wanted {
            let wants = incident.severity >= wanted.floor && wanted.filter.matches(incident);
            // Whoever heard of an incident hears how it goes on and ends.
            if !wants && !heard.contains(id) {
                continue;
            }
            to.push(wanted.plan.name.clone());
            if over {
                heard.remove(id);
            } else if heard.len() < MAX_HEARD {
                heard.insert(id.clone());
            }
        }
        if to.is_empty() {
            return;
        }
        if let Some(notice) = notice(said, host, self.report_url.as_deref(), before.as_ref()) {
            self.delivery.post(notice, to);
        }
        if over && let Some(before) = self.adopted.get_mut(&incident.id) {
            before.over = true;
        }
        // It may open again within a quarter of an hour, as the same: a few names are kept for ever.
        if over && self.adopted.len() > MAX_HEARD {
            self.adopted.remove(&incident.id);
        }
    }

    /// What a run before left open and this one sees again is the same incident: same kind, same subject, same host.
    fn adopt(&mut self, incident: &Incident, host: &Host) {
        let subject = incident.root.subjects.first().map(ToString::to_string);
        let kind = incident.root.kind.to_string();
        let found = self.left.iter().position(|left| {
            left.kind == kind
                && Some(&left.subject) == subject.as_ref()
                && left.record.notice.host == host.name
        });
        let Some(found) = found else {
            return;
        };
        let left = self.left.swap_remove(found);
        for (wanted, heard) in &mut self.wanted {
            if left.record.to.contains(&wanted.plan.name) {
                heard.insert(left.record.notice.id.clone());
            }
        }
        let before = Before {
            id: left.record.notice.id,
            rev: left.record.notice.rev,
            opened_at: left.record.notice.opened_at,
            over: false,
        };
        self.adopted.insert(incident.id.clone(), before);
    }

    /// What was open before and was not seen again is told to be over, and why: nobody watches it any more.
    pub fn tend(&mut self, now: Timestamp) {
        if self.left.is_empty() || now.since(self.since) < FORGET {
            return;
        }
        for left in std::mem::take(&mut self.left) {
            let Record { to, mut notice } = left.record;
            notice.rev += 1;
            notice.stage = Stage::Resolved;
            notice.at = now.to_string();
            notice.text = format!(
                "flapscope was started again at {} and has seen nothing of it since; whether it was repaired is not known",
                self.since
            );
            let Ok(mut body) = serde_json::from_str::<serde_json::Value>(&notice.body) else {
                continue;
            };
            body["type"] = "incident.resolved".into();
            body["at"] = notice.at.clone().into();
            let incident = &mut body["incident"];
            incident["rev"] = notice.rev.into();
            incident["state"] = "resolved".into();
            incident["impact"] = notice.text.clone().into();
            incident["updated_at"] = notice.at.clone().into();
            incident["resolved_at"] = notice.at.clone().into();
            notice.body = body.to_string();
            self.delivery.post(notice, to);
        }
    }

    /// What there is to say about delivery itself.
    pub fn news(&self) -> Vec<String> {
        self.delivery.news.try_iter().collect()
    }

    /// Answers what is about delivery; a trial on a thread of its own, as receivers take their time. What is about something else comes back.
    pub fn answer(&self, asked: Asked, now: Timestamp) -> Option<Asked> {
        let inquiry = self.delivery.inquiry();
        match &asked.request {
            Request::DeliverStatus => {
                let answer = Answer::of(Said::Delivery {
                    sinks: inquiry.status(),
                    spool: self.spool.as_ref().map(|path| path.display().to_string()),
                    spool_octets: inquiry.spooled(),
                    lost: inquiry.overrun(),
                });
                let _ = asked.reply.send(answer); // it may have left
                None
            }
            Request::DeliverTest { sink } => {
                let names: Vec<&str> = self
                    .wanted
                    .iter()
                    .map(|(w, _)| w.plan.name.as_str())
                    .collect();
                if let Some(sink) = sink
                    && !names.contains(&sink.as_str())
                {
                    let wrong = format!("there is no sink {sink:?}: {}", names.join(", "));
                    let _ = asked.reply.send(Answer::wrong(wrong)); // as above
                    return None;
                }
                let (sink, reply) = (sink.clone(), asked.reply);
                let notices =
                    [Stage::Opened, Stage::Resolved].map(|stage| trial(stage, &self.host, now));
                tokio::task::spawn_blocking(move || {
                    let mut answers = Vec::new();
                    for notice in notices {
                        for (name, said) in inquiry.try_out(sink.as_deref(), &notice, TRIAL) {
                            answers.push(Tried {
                                sink: name,
                                stage: notice.stage.as_str(),
                                ok: said.is_ok(),
                                said: said.unwrap_or_else(|why| why),
                            });
                        }
                    }
                    let _ = reply.send(Answer::of(Said::Tried { answers })); // as above
                });
                None
            }
            _ => Some(asked),
        }
    }

    /// Other sinks, after SIGHUP. Those that did not change go on. What could not be opened, as sentences.
    pub fn reload(&mut self, config: &Config) -> Vec<String> {
        let mut troubles = Vec::new();
        let (mut stay, mut new, mut kept) = (BTreeSet::new(), Vec::new(), Vec::new());
        for wanted in &config.sinks {
            let name = wanted.plan.name.clone();
            let heard = match self.wanted.iter().find(|(old, _)| old.plan.name == name) {
                Some((_, heard)) => heard.clone(),
                None => BTreeSet::new(),
            };
            if self.wanted.iter().any(|(old, _)| old.plan == wanted.plan) {
                stay.insert(name);
                kept.push((wanted.clone(), heard));
                continue;
            }
            match wanted.plan.open(self.spool.as_deref()) {
                Ok(sink) => {
                    new.push((wanted.plan.clone(), sink));
                    kept.push((wanted.clone(), heard));
                }
                Err(error) => troubles.push(format!(
                    "sink {name} cannot be opened by a running service ({error}): restart it"
                )),
            }
        }
        self.wanted = kept;
        self.delivery.change(stay, new);
        self.delivery.reopen();
        troubles
    }

    /// For metrics.
    pub fn inquiry(&self) -> crate::deliver::clerk::Inquiry {
        self.delivery.inquiry()
    }

    /// The end. What is said about it.
    pub fn end(self) -> Vec<String> {
        self.delivery.end(LAST_WORDS)
    }
}

impl Left {
    /// Of a record that tells of an incident; words about delivery itself are no incident.
    fn of(record: &Record) -> Option<Left> {
        let body: serde_json::Value = serde_json::from_str(&record.notice.body).ok()?;
        let root = &body["incident"]["root"];
        Some(Left {
            kind: root["kind"].as_str()?.to_owned(),
            subject: root["subjects"][0].as_str()?.to_owned(),
            record: record.clone(),
        })
    }
}

/// An alert as a notice; under the id that it had before a restart.
fn notice(
    said: &Told,
    host: &Host,
    report_url: Option<&str>,
    before: Option<&Before>,
) -> Option<Notice> {
    let incident = said.incident();
    let mut alert = Alert::new(said, host);
    let mut stage = match said {
        Told::Opened(_) => Stage::Opened,
        Told::Updated(_) => Stage::Updated,
        Told::Resolved(_) => Stage::Resolved,
    };
    if let Some(before) = before {
        alert.incident.id.clone_from(&before.id);
        alert.incident.rev += before.rev;
        alert.incident.opened_at.clone_from(&before.opened_at);
        if stage == Stage::Opened && !before.over {
            stage = Stage::Updated;
            alert.kind = AlertKind::Updated;
        }
    }
    let steps = incident
        .findings()
        .take(STEPS)
        .map(|finding| format!("{}: {}", finding.kind, finding.explain))
        .collect();
    Some(Notice {
        id: alert.incident.id.clone(),
        rev: alert.incident.rev,
        stage,
        urgency: urgency(incident.severity),
        kind: incident.root.kind.to_string(),
        title: incident.title.clone(),
        text: incident.impact.clone(),
        steps,
        advice: incident.advice.clone(),
        host: host.name.clone(),
        at: incident.updated_at.to_string(),
        opened_at: alert.incident.opened_at.clone(),
        facts: facts(incident),
        link: report_url.map(|url| format!("{}/report/{}", url.trim_end_matches('/'), incident.id)),
        body: serde_json::to_string(&alert).ok()?,
        test: false,
    })
}

fn urgency(severity: Severity) -> Urgency {
    match severity {
        Severity::Info => Urgency::Info,
        Severity::Warning => Urgency::Warning,
        Severity::Critical => Urgency::Critical,
    }
}

/// The first link, peer, prefix, … that it is about, root first.
fn facts(incident: &Incident) -> Vec<(String, String)> {
    const TYPES: [(&str, &str); 7] = [
        ("link", "interface"),
        ("peer", "peer"),
        ("prefix", "prefix"),
        ("address", "address"),
        ("server", "server"),
        ("client", "client"),
        ("router", "router"),
    ];
    let subjects: Vec<String> = incident
        .findings()
        .flat_map(|finding| &finding.subjects)
        .map(ToString::to_string)
        .collect();
    TYPES
        .iter()
        .filter_map(|(word, name)| {
            let value = subjects
                .iter()
                .find_map(|subject| subject.strip_prefix(word)?.strip_prefix(':'))?;
            Some(((*name).to_owned(), value.to_owned()))
        })
        .collect()
}

/// An alert that says itself that it is none, in the form of a real one.
fn trial(stage: Stage, host: &Option<String>, now: Timestamp) -> Notice {
    let id = format!("i-test-{}", now.0 / 1_000_000_000);
    let at = now.to_string();
    let (rev, state, resolved) = match stage {
        Stage::Resolved => (2, "resolved", Some(&at)),
        _ => (1, "open", None),
    };
    let title = "TEST of flapscope's alerts: nothing is wrong";
    let text = "somebody ran `flapscope deliver test`";
    let kind = "delivery.test";
    let finding = json!({
        "id": "f-test", "kind": kind, "severity": "info", "subjects": ["source:test"], "count": 1, "first": at,
        "last": at, "ended": null, "reason": null, "fidelity": "exact", "evidence": [], "evidence_total": 0,
        "explain": text, "period": null, "actor": null, "explanations": [], "truncated": false, "planned": false,
    });
    let body = json!({
        "schema": crate::output::alert::ALERT_SCHEMA,
        "type": format!("incident.{}", stage.as_str()),
        "test": true,
        "at": at,
        "host": {"name": host},
        "incident": {
            "id": id, "rev": rev, "state": state, "severity": "info", "impact": text, "kind": kind, "title": title,
            "opened_at": at, "updated_at": at, "resolved_at": resolved, "root": finding, "chain": [],
            "affected": {"prefixes": 0, "routes": 0, "sessions": 0, "clients": 0,
                         "sample": {"prefixes": [], "sessions": [], "clients": []}},
            "rejected": [], "gaps": [], "blind": [], "try": [],
        },
    });
    Notice {
        id,
        rev,
        stage,
        urgency: Urgency::Info,
        kind: kind.to_owned(),
        title: title.to_owned(),
        text: text.to_owned(),
        steps: Vec::new(),
        advice: Vec::new(),
        host: host.clone(),
        at: at.clone(),
        opened_at: at,
        facts: Vec::new(),
        link: None,
        body: body.to_string(),
        test: true,
    }
}
