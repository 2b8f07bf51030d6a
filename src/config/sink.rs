//! `[[sink]]` and `[delivery]`: where alerts go. Secrets are named by where they are, never written here.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::file::{Text, Wrong, one};
use crate::deliver::http::{Route, Url};
use crate::deliver::plan::{Plan, Target};
use crate::deliver::secret::Source;
use crate::deliver::shape::Shape;
use crate::deliver::sink::{alertmanager, exec, file, journald, syslog, webhook};
use crate::detect::Severity;
use crate::filter::{Filter, FilterError, closest};

/// Sinks at once: each is a thread.
const MAX_SINKS: usize = 32;
/// Alerts that may wait for a sink unless it says otherwise: days of a bad network.
const BOUND: usize = 10_000;
/// Each takes a hundred octets of memory; the texts are on disk.
const MAX_BOUND: usize = 1_000_000;
/// A program of the operator's that runs for longer is stuck.
const TIMEOUT: Duration = Duration::from_secs(30);
const TYPES: [&str; 6] = [
    "file",
    "syslog",
    "journald",
    "webhook",
    "alertmanager",
    "exec",
];

/// A sink, and what it wants to hear.
#[derive(Clone, PartialEq, Debug)]
pub struct Wanted {
    pub plan: Plan,
    pub filter: Filter,
    /// What is less severe is not told, unless the sink heard of the incident when it was worse.
    pub floor: Severity,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Delivery {
    pub spool: Option<PathBuf>,
    pub spool_megabytes: Option<Spanned<u64>>,
    pub report_url: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Sink {
    name: Option<Text>,
    #[serde(rename = "type")]
    kind: Option<Text>,
    severity: Option<Text>,
    filter: Option<Text>,
    bound: Option<Spanned<usize>>,
    // file
    path: Option<PathBuf>,
    // syslog
    address: Option<Text>,
    facility: Option<Text>,
    enterprise: Option<u32>,
    // journald
    socket: Option<PathBuf>,
    // webhook, alertmanager
    url: Option<Text>,
    url_secret: Option<Text>,
    urls: Vec<Text>,
    labels: std::collections::BTreeMap<String, String>,
    shape: Option<Text>,
    secret: Option<Text>,
    routing_key: Option<Text>,
    token: Option<Text>,
    template: Option<PathBuf>,
    ca: Option<PathBuf>,
    cert: Option<Text>,
    key: Option<PathBuf>,
    proxy: Option<Text>,
    // exec
    command: Vec<String>,
    timeout: Option<Text>,
}

/// All sinks, checked.
pub(super) fn all(given: &[Spanned<Sink>]) -> Result<Vec<Wanted>, Wrong> {
    if let Some(more) = given.get(MAX_SINKS) {
        return Err(Wrong::new(
            more.span(),
            format!("at most {MAX_SINKS} sinks"),
        ));
    }
    let mut sinks: Vec<Wanted> = Vec::new();
    for sink in given {
        let wanted = checked(sink)?;
        if sinks
            .iter()
            .any(|other| other.plan.name == wanted.plan.name)
        {
            let message = format!("two sinks are named {:?}", wanted.plan.name);
            return Err(Wrong::new(sink.span(), message));
        }
        sinks.push(wanted);
    }
    Ok(sinks)
}

fn checked(given: &Spanned<Sink>) -> Result<Wanted, Wrong> {
    let place = given.span();
    let sink = given.as_ref();
    let Some(name) = &sink.name else {
        return Err(Wrong::new(
            place,
            "a sink needs a name: its place in the spool bears it",
        ));
    };
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.as_ref().is_empty() || name.as_ref().len() > 32 || !name.as_ref().chars().all(good) {
        let message =
            "a sink's name has up to 32 letters, digits, - and _: a file is named after it";
        return Err(Wrong::new(name.span(), message));
    }
    let filter = match &sink.filter {
        None => Filter::default(),
        Some(text) => text
            .as_ref()
            .parse()
            .map_err(|error: FilterError| Wrong::new(text.span(), format!("filter: {error}")))?,
    };
    let floor = match sink
        .severity
        .as_ref()
        .map(|text| (text, text.as_ref().as_str()))
    {
        None | Some((_, "info")) => Severity::Info,
        Some((_, "warning" | "warn")) => Severity::Warning,
        Some((_, "critical")) => Severity::Critical,
        Some((text, other)) => {
            let message = format!("{other:?} is no severity: there are info, warning, critical");
            return Err(Wrong::new(text.span(), message));
        }
    };
    let bound = match &sink.bound {
        None => BOUND,
        Some(bound) if (1..=MAX_BOUND).contains(bound.as_ref()) => *bound.as_ref(),
        Some(bound) => {
            return Err(Wrong::new(
                bound.span(),
                format!("a bound is between 1 and {MAX_BOUND}"),
            ));
        }
    };
    Ok(Wanted {
        plan: Plan {
            name: name.as_ref().clone(),
            bound,
            target: target(given)?,
        },
        filter,
        floor,
    })
}

fn target(given: &Spanned<Sink>) -> Result<Target, Wrong> {
    let place = given.span();
    let sink = given.as_ref();
    let missing = |key: &str| Wrong::new(place.clone(), format!("this sink needs `{key}`"));
    let Some(kind) = &sink.kind else {
        let message = format!("a sink needs a type: {}", TYPES.join(", "));
        return Err(Wrong::new(place, message));
    };
    Ok(match kind.as_ref().as_str() {
        "file" => Target::File(file::Settings {
            path: sink.path.clone().ok_or_else(|| missing("path"))?,
        }),
        "syslog" => Target::Syslog(syslog::Settings {
            address: one(sink.address.as_ref().ok_or_else(|| missing("address"))?)?,
            facility: facility(sink.facility.as_ref())?,
            enterprise: sink.enterprise.unwrap_or(syslog::EXAMPLE_ENTERPRISE),
            ca: sink.ca.clone(),
        }),
        "journald" => Target::Journald(match &sink.socket {
            Some(socket) => journald::Settings {
                socket: socket.clone(),
            },
            None => journald::Settings::default(),
        }),
        "webhook" => {
            let url = match (&sink.url, &sink.url_secret) {
                (Some(url), None) => webhook::Address::Plain(url_of(url)?),
                (None, Some(secret)) => webhook::Address::Secret(secret_of(secret)?),
                (Some(url), Some(_)) => {
                    return Err(Wrong::new(url.span(), "either `url` or `url-secret`"));
                }
                (None, None) => return Err(missing("url")),
            };
            let shape = sink.shape.as_ref().map(one::<Shape>).transpose()?;
            let shape = shape.unwrap_or_default();
            if shape == Shape::PagerDuty && sink.routing_key.is_none() {
                return Err(missing("routing-key"));
            }
            Target::Webhook(Box::new(webhook::Settings {
                url,
                shape,
                route: route(sink)?,
                secret: sink.secret.as_ref().map(secret_of).transpose()?,
                routing_key: sink.routing_key.as_ref().map(secret_of).transpose()?,
                template: sink.template.clone(),
            }))
        }
        "alertmanager" => {
            let urls = sink.urls.iter().chain(&sink.url);
            let urls: Vec<Url> = urls.map(url_of).collect::<Result<_, _>>()?;
            if urls.is_empty() {
                return Err(missing("urls"));
            }
            Target::Alertmanager(Box::new(alertmanager::Settings {
                urls,
                labels: sink.labels.clone().into_iter().collect(),
                route: route(sink)?,
            }))
        }
        "exec" if sink.command.is_empty() => return Err(missing("command")),
        "exec" => Target::Exec(exec::Settings {
            command: sink.command.clone(),
            timeout: match &sink.timeout {
                None => TIMEOUT,
                Some(text) => crate::cli::duration(text.as_ref())
                    .map_err(|message| Wrong::new(text.span(), message))?,
            },
        }),
        other => {
            let message = match closest(other, TYPES.into_iter()) {
                Some(near) => format!("there is no sink of type {other:?}: did you mean {near:?}?"),
                None => format!("there is no sink of type {other:?}: {}", TYPES.join(", ")),
            };
            return Err(Wrong::new(kind.span(), message));
        }
    })
}

fn facility(given: Option<&Text>) -> Result<u8, Wrong> {
    let Some(text) = given else {
        return Ok(3); // daemon
    };
    syslog::facility(text.as_ref()).ok_or_else(|| {
        let message = format!(
            "{:?} is no facility: daemon, local0 … local7, user, …",
            text.as_ref()
        );
        Wrong::new(text.span(), message)
    })
}

fn route(sink: &Sink) -> Result<Route, Wrong> {
    let client = match (&sink.cert, &sink.key) {
        (Some(cert), Some(key)) => Some((cert.as_ref().into(), key.clone())),
        (None, None) => None,
        (Some(cert), None) => return Err(Wrong::new(cert.span(), "`cert` needs its `key`")),
        (None, Some(_)) => return Err(Wrong::new(0..0, "`key` needs its `cert`")),
    };
    Ok(Route {
        ca: sink.ca.clone(),
        client,
        proxy: sink
            .proxy
            .as_ref()
            .map(|text| url_of(text).map(|url| url.reveal().to_owned()))
            .transpose()?,
        token: sink.token.as_ref().map(secret_of).transpose()?,
    })
}

/// An URL; what is wrong with it is told without it.
fn url_of(text: &Text) -> Result<Url, Wrong> {
    text.as_ref()
        .parse()
        .map_err(|why: String| Wrong::new(text.span(), why))
}

/// The place of a secret; a secret that stands here itself is not repeated in the error.
fn secret_of(text: &Text) -> Result<Source, Wrong> {
    text.as_ref()
        .parse()
        .map_err(|why: String| Wrong::hidden(text.span(), why))
}
