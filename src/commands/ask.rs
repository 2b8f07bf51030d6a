//! `flapscope incidents`, `show`, `annotate`: questions to the running service, for scripts.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::bail;
use serde_json::{Value, json};

use crate::cli::{Annotate, At, LiveFormat, Mine, duration};
use crate::config::Config;
use crate::control::DEFAULT_SOCKET;
use crate::control::client::Client;
use crate::control::protocol::Request;
use crate::event::Timestamp;
use crate::event::text::sanitized;
use crate::filter::Filter;

/// The socket that was typed, else the one that the configuration names, else the usual one.
pub fn socket(at: &At) -> PathBuf {
    if let Some(path) = &at.socket {
        return path.clone();
    }
    // A configuration that is not ours to read, or wrong, is the service's matter.
    let config = Config::load(&Mine::default()).unwrap_or_default();
    config
        .socket
        .unwrap_or_else(|| Path::new(DEFAULT_SOCKET).to_owned())
}

/// `flapscope incidents`.
pub fn incidents(
    at: &At,
    format: LiveFormat,
    filter: Option<&Filter>,
    follow: bool,
) -> anyhow::Result<u8> {
    let filter = filter.map(|filter| filter.as_str().to_owned());
    let mut client = Client::connect(&socket(at))?;
    let mut out = io::stdout().lock();
    if follow {
        client.ask(&Request::Subscribe { filter })?;
        while let Some(line) = client.following()? {
            if line.starts_with("{\"v\":") {
                let said: Value = serde_json::from_str(&line)?;
                bail!(
                    "the service says: {}",
                    said["error"].as_str().unwrap_or("the end")
                );
            }
            out.write_all(line.as_bytes())?;
            out.flush()?;
        }
        return Ok(0);
    }
    let answer = client.ask(&Request::Incidents {
        filter: filter.clone(),
    })?;
    let all = answer["incidents"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if format == LiveFormat::Json {
        for incident in all {
            serde_json::to_writer(&mut out, incident)?;
            out.write_all(b"\n")?;
        }
        return Ok(0);
    }
    let of = &answer["of"];
    match (all.is_empty(), filter) {
        (true, None) => writeln!(out, "no incidents")?,
        (_, Some(filter)) => writeln!(
            out,
            "{} of {of} incidents match the filter \"{}\"",
            all.len(),
            sanitized(&filter)
        )?,
        _ => {}
    }
    for incident in all {
        let word = |field: &str| incident[field].as_str().unwrap_or("-");
        let place = incident["namespace"]
            .as_str()
            .map(|name| format!(" [{name}]"))
            .unwrap_or_default();
        // `2026-12-01T01:02:03` is enough for a list.
        let since = word("opened_at").get(..19).unwrap_or("-").replace('T', " ");
        writeln!(
            out,
            "{:<8}  {}  {:<8}  {since}  {}{place}",
            word("severity"),
            word("id"),
            word("state"),
            word("title"),
        )?;
    }
    Ok(0)
}

/// `flapscope show ID`.
pub fn show(at: &At, id: &str, format: LiveFormat) -> anyhow::Result<u8> {
    let answer = Client::connect(&socket(at))?.ask(&Request::Show {
        id: id.to_owned(),
        width: Some(super::analyze::style().width),
    })?;
    let mut out = io::stdout().lock();
    if format == LiveFormat::Json {
        serde_json::to_writer_pretty(&mut out, &answer["incident"])?;
        out.write_all(b"\n")?;
    } else {
        out.write_all(answer["text"].as_str().unwrap_or_default().as_bytes())?;
    }
    Ok(0)
}

/// `flapscope annotate`.
pub fn annotate(what: &Annotate) -> anyhow::Result<u8> {
    let now = crate::input::live::now();
    let from = what.at.as_deref().map(super::time).transpose()?;
    let until = what
        .until
        .as_deref()
        .map(|until| end(until, from.unwrap_or(now)))
        .transpose()?;
    for subject in &what.subject {
        if let Err(error) = subject.parse::<Filter>() {
            bail!("--subject: {error}: {}", sanitized(subject));
        }
    }
    let author = what
        .author
        .clone()
        .or_else(|| std::env::var("SUDO_USER").ok())
        .or_else(|| std::env::var("USER").ok())
        .or_else(|| {
            Some(
                nix::unistd::User::from_uid(nix::unistd::getuid())
                    .ok()??
                    .name,
            )
        });
    let mut annotation = json!({
        "text": what.text,
        "subjects": what.subject,
        "silence": what.silence,
    });
    let fields = [
        ("at", from.map(|at| at.to_string())),
        ("until", until.map(|at| at.to_string())),
        ("author", author),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            annotation[name] = value.into();
        }
    }
    let answer =
        Client::connect(&socket(&what.at_socket))?.ask(&Request::Annotate { annotation })?;
    writeln!(
        io::stdout().lock(),
        "\"{}\" stands on the timeline at {}",
        sanitized(&what.text),
        answer["from"].as_str().unwrap_or("-")
    )?;
    Ok(0)
}

/// A time, or how long it takes.
fn end(given: &str, from: Timestamp) -> anyhow::Result<Timestamp> {
    let is_length = given.ends_with(['s', 'm', 'h']) && !given.contains(['T', 'Z', ':']);
    if is_length {
        let length = duration(given).map_err(anyhow::Error::msg)?;
        return Ok(from + length);
    }
    super::time(given)
}
