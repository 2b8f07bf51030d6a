//! The file's layout, and the way from its text to checked values. A mistake keeps the place of the value that it is about.

use std::net::IpAddr;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

use super::{Config, ConfigError};
use crate::correlate::maintenance::{MAX_LENGTH, MAX_WINDOWS, WeekTime, When, Window};
use crate::event::text::sanitized;
use crate::event::{Prefix, Timestamp};
use crate::filter::{Filter, closest};

/// Prefixes that one range may become; a range of n-bit addresses needs at most 2n.
const MAX_PIECES: usize = 256;

pub(super) type Text = Spanned<String>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct File {
    own: Own,
    declared: Declared,
    watch: Watch,
    service: Service,
    maintenance: Vec<Spanned<Maintenance>>,
    delivery: super::sink::Delivery,
    sink: Vec<Spanned<super::sink::Sink>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Own {
    prefixes: Vec<Text>,
    ranges: Vec<Text>,
    asns: Vec<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Declared {
    dhcp_servers: Vec<Text>,
    dhcp_relays: Vec<Text>,
    routers: Vec<Text>,
    gateways: Vec<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Watch {
    interfaces: Vec<Text>,
    bmp: Vec<Text>,
    bmp_ports: Vec<u16>,
    bgp_listen: Vec<Text>,
    #[serde(rename = "as")]
    as_number: Option<u32>,
    router_id: Option<Text>,
    bgp_peers: Vec<Text>,
    rtr: Vec<Text>,
    rtr_ca: Option<Text>,
    vrps: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Service {
    socket: Option<String>,
    http: Option<Text>,
    state: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Maintenance {
    name: Option<Text>,
    start: Option<Spanned<Datetime>>,
    end: Option<Spanned<Datetime>>,
    every: Option<Text>,
    #[serde(rename = "for")]
    length: Option<Text>,
    subjects: Option<Text>,
}

/// A mistake and the octets that it is about.
pub(super) struct Wrong {
    message: String,
    span: Option<Range<usize>>,
    /// The line holds what nobody should see in a log.
    hidden: bool,
}

impl Wrong {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> Wrong {
        Wrong {
            message: message.into(),
            span: Some(span),
            hidden: false,
        }
    }

    /// About something that is not shown.
    pub(super) fn hidden(span: Range<usize>, message: impl Into<String>) -> Wrong {
        Wrong {
            hidden: true,
            ..Wrong::new(span, message)
        }
    }

    /// With line, column and a caret.
    pub(super) fn placed(self, text: &str, path: &str) -> ConfigError {
        let span = self.span.unwrap_or(0..0);
        let start = span.start.min(text.len());
        let head = text.get(..start).unwrap_or_default();
        let line_start = head.rfind('\n').map_or(0, |at| at + 1);
        let line = text.get(line_start..).unwrap_or_default();
        let line = line.lines().next().unwrap_or_default();
        let before = head.get(line_start..).unwrap_or_default();
        let wrong = text
            .get(start..span.end.min(text.len()))
            .unwrap_or_default();
        let wrong = wrong.lines().next().unwrap_or_default();
        let width = |part: &str| sanitized(part).chars().count();
        let line = if self.hidden { before } else { line };
        ConfigError::Wrong {
            path: path.to_owned(),
            line: head.matches('\n').count() + 1,
            column: before.chars().count() + 1,
            message: sanitized(&self.message),
            shown: format!(
                "{}\n{}{}",
                sanitized(line),
                " ".repeat(width(before)),
                "^".repeat(width(wrong).max(1))
            ),
        }
    }
}

/// Text to checked values.
pub(super) fn parse(text: &str) -> Result<Config, Wrong> {
    let file: File = toml::from_str(text).map_err(|error| Wrong {
        message: explained(error.message()),
        span: error.span(),
        hidden: false,
    })?;
    let mut own_prefixes = all::<Prefix>(&file.own.prefixes)?;
    for given in &file.own.ranges {
        own_prefixes.extend(range(given.as_ref()).map_err(|m| Wrong::new(given.span(), m))?);
    }
    if file.maintenance.len() > MAX_WINDOWS {
        let at = file.maintenance.get(MAX_WINDOWS).map(Spanned::span);
        return Err(Wrong::new(
            at.unwrap_or(0..0),
            format!("at most {MAX_WINDOWS} maintenance windows"),
        ));
    }
    let watch = &file.watch;
    if let (Some(first), None) = (watch.bgp_listen.first(), watch.as_number) {
        return Err(Wrong::new(
            first.span(),
            "bgp-listen needs `as`: the AS number to speak BGP with",
        ));
    }
    Ok(Config {
        path: None,
        own_prefixes,
        own_as: file.own.asns,
        dhcp_servers: all(&file.declared.dhcp_servers)?,
        dhcp_relays: all(&file.declared.dhcp_relays)?,
        routers: all(&file.declared.routers)?,
        gateways: all(&file.declared.gateways)?,
        interfaces: watch
            .interfaces
            .iter()
            .map(|name| name.as_ref().clone())
            .collect(),
        bmp: all(&watch.bmp)?,
        bmp_ports: watch.bmp_ports.clone(),
        bgp_listen: all(&watch.bgp_listen)?,
        as_number: watch.as_number,
        router_id: watch.router_id.as_ref().map(one).transpose()?,
        bgp_peers: all(&watch.bgp_peers)?,
        rtr: all(&watch.rtr)?,
        rtr_ca: watch.rtr_ca.as_ref().map(|path| path.as_ref().into()),
        vrps: watch.vrps.as_ref().map(|path| path.as_ref().into()),
        sinks: super::sink::all(&file.sink)?,
        spool: file.delivery.spool.clone(),
        spool_megabytes: megabytes(file.delivery.spool_megabytes.as_ref())?,
        report_url: file.delivery.report_url.map(Spanned::into_inner),
        http: file.service.http.as_ref().map(one).transpose()?,
        socket: file.service.socket.map(Into::into),
        state: file.service.state.map(Into::into),
        maintenance: file
            .maintenance
            .iter()
            .map(window)
            .collect::<Result<_, _>>()?,
    })
}

/// A spool's size. Too small a one loses alerts in an hour's outage.
fn megabytes(given: Option<&Spanned<u64>>) -> Result<Option<u64>, Wrong> {
    match given {
        Some(size) if !(8..=65_536).contains(size.as_ref()) => Err(Wrong::new(
            size.span(),
            "a spool has between 8 and 65536 megabytes",
        )),
        size => Ok(size.map(|size| *size.as_ref())),
    }
}

/// The parser's own words, with the word that was meant where a key is unknown.
fn explained(message: &str) -> String {
    let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match (message.starts_with("unknown field"), words.split_first()) {
        (true, Some((given, known))) => match closest(given, known.iter().copied()) {
            Some(near) => format!("unknown key `{given}`: did you mean `{near}`?"),
            None => format!("unknown key `{given}`: there are {}", known.join(", ")),
        },
        _ => message.trim_end().replace('\n', "; "),
    }
}

/// A named type in messages of `FromStr` implementations that only say "invalid syntax".
pub(super) fn one<T: FromStr>(given: &Text) -> Result<T, Wrong>
where
    T::Err: std::fmt::Display,
{
    given.as_ref().parse().map_err(|error: T::Err| {
        let said = error.to_string();
        let message = if said.contains(given.as_ref().as_str()) {
            said
        } else {
            format!("{:?}: {said}", given.as_ref())
        };
        Wrong::new(given.span(), message)
    })
}

fn all<T: FromStr>(given: &[Text]) -> Result<Vec<T>, Wrong>
where
    T::Err: std::fmt::Display,
{
    given.iter().map(one).collect()
}

/// `FROM-TO` as the fewest prefixes that are exactly it, or one prefix.
fn range(given: &str) -> Result<Vec<Prefix>, String> {
    let Some((from, to)) = given.split_once('-') else {
        return given.parse().map(|prefix| vec![prefix]);
    };
    let bad = || format!("{given:?} is no range: write 203.0.113.10-203.0.113.99");
    let (from, to): (IpAddr, IpAddr) = (
        from.trim().parse().map_err(|_| bad())?,
        to.trim().parse().map_err(|_| bad())?,
    );
    let number = |addr: IpAddr| match addr {
        IpAddr::V4(addr) => u128::from(u32::from(addr)),
        IpAddr::V6(addr) => u128::from(addr),
    };
    let (mut low, high) = (number(from), number(to));
    let (bits, all) = match (from, to) {
        (IpAddr::V4(_), IpAddr::V4(_)) => (32, u128::from(u32::MAX)),
        (IpAddr::V6(_), IpAddr::V6(_)) => (128, u128::MAX),
        _ => return Err(bad()),
    };
    if low > high {
        return Err(format!("{given:?} ends before it begins"));
    }
    let mut pieces = Vec::new();
    while pieces.len() < MAX_PIECES {
        // The largest block that begins at `low` and ends at or before `high`.
        let mut size = low.trailing_zeros().min(bits);
        let last = |size: u32| low | (all.checked_shr(bits - size).unwrap_or(0));
        while size > 0 && last(size) > high {
            size -= 1;
        }
        let addr = match from {
            IpAddr::V4(_) => IpAddr::V4(u32::try_from(low).unwrap_or(u32::MAX).into()),
            IpAddr::V6(_) => IpAddr::V6(low.into()),
        };
        let length = u8::try_from(bits - size).unwrap_or(u8::MAX);
        pieces.push(Prefix::new(addr, length));
        let end = last(size);
        if end >= high {
            break;
        }
        low = end + 1;
    }
    Ok(pieces)
}

fn window(given: &Spanned<Maintenance>) -> Result<Window, Wrong> {
    let place = given.span();
    let given = given.as_ref();
    let Some(name) = given
        .name
        .as_ref()
        .filter(|name| !name.as_ref().trim().is_empty())
    else {
        return Err(Wrong::new(
            place,
            "a maintenance window needs a name: alerts that it silences bear it",
        ));
    };
    let about = match &given.subjects {
        None => Filter::default(),
        Some(text) => text
            .as_ref()
            .parse()
            .map_err(|error: crate::filter::FilterError| {
                Wrong::new(text.span(), format!("subjects: {error}"))
            })?,
    };
    let when = match (&given.start, &given.end, &given.every, &given.length) {
        (Some(start), Some(end), None, None) => {
            let (from, until) = (moment(start)?, moment(end)?);
            if from >= until {
                return Err(Wrong::new(end.span(), "the end is not behind the start"));
            }
            checked(until.since(from), end.span())?;
            When::Once { from, until }
        }
        (Some(start), None, None, Some(length)) => {
            let from = moment(start)?;
            let length = duration(length)?;
            When::Once {
                from,
                until: from + length,
            }
        }
        (None, None, Some(every), Some(length)) => When::Weekly {
            at: one::<WeekTime>(every)?,
            length: duration(length)?,
        },
        _ => {
            return Err(Wrong::new(
                place,
                "a maintenance window has start and end, start and for, or every and for",
            ));
        }
    };
    Ok(Window {
        name: sanitized(name.as_ref()),
        when,
        about,
    })
}

/// A TOML date-time with its offset; a local one would mean another time on each machine.
fn moment(given: &Spanned<Datetime>) -> Result<Timestamp, Wrong> {
    let text = given.as_ref().to_string();
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    let nanoseconds = parsed.map(jiff::Timestamp::as_nanosecond).ok();
    nanoseconds
        .and_then(|n| i64::try_from(n).ok())
        .map(Timestamp)
        .ok_or_else(|| {
            let message =
                format!("{text} does not say its time zone: write it like 2026-12-01T01:00:00Z");
            Wrong::new(given.span(), message)
        })
}

fn duration(given: &Text) -> Result<Duration, Wrong> {
    let length = crate::cli::duration(given.as_ref())
        .map_err(|message| Wrong::new(given.span(), message))?;
    checked(length, given.span())?;
    Ok(length)
}

fn checked(length: Duration, span: Range<usize>) -> Result<(), Wrong> {
    if length.is_zero() {
        return Err(Wrong::new(span, "a window of no time silences nothing"));
    }
    if length > MAX_LENGTH {
        return Err(Wrong::new(
            span,
            "a window of more than a week is forgotten and silences what nobody planned",
        ));
    }
    Ok(())
}
