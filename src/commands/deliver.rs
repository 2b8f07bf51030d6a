//! `flapscope deliver test` and `status`: whether alerts arrive, asked of the running service.

use std::io::{self, Write};

use anyhow::bail;

use crate::cli::{DeliverCommand, LiveFormat};
use crate::control::client::Client;
use crate::control::protocol::Request;
use crate::deliver::sink::exec;

/// Asks and prints. 1: something does not arrive.
pub fn run(what: &DeliverCommand) -> anyhow::Result<u8> {
    let mut out = io::stdout().lock();
    match what {
        DeliverCommand::Test { sink, at } => {
            let request = Request::DeliverTest { sink: sink.clone() };
            let answer = Client::connect(&super::ask::socket(at))?.ask(&request)?;
            let answers = answer["answers"].as_array().map_or(&[][..], Vec::as_slice);
            let mut failed = false;
            for tried in answers {
                let word = |name: &str| tried[name].as_str().unwrap_or("-");
                let ok = tried["ok"].as_bool() == Some(true);
                failed |= !ok;
                writeln!(
                    out,
                    "{:<16} {:<9} {}  {}",
                    word("sink"),
                    word("stage"),
                    if ok { "ok    " } else { "FAILED" },
                    word("said")
                )?;
            }
            Ok(u8::from(failed))
        }
        DeliverCommand::Status { at, format } => {
            let answer = Client::connect(&super::ask::socket(at))?.ask(&Request::DeliverStatus)?;
            if *format == LiveFormat::Json {
                serde_json::to_writer_pretty(&mut out, &answer)?;
                writeln!(out)?;
                return Ok(0);
            }
            let spool = match answer["spool"].as_str() {
                Some(path) => format!("{path}, {} octets", answer["spool_octets"]),
                None => "none: what is not delivered is lost with the process".to_owned(),
            };
            writeln!(out, "spool  {spool}")?;
            let sinks = answer["sinks"].as_array().map_or(&[][..], Vec::as_slice);
            let mut failing = false;
            for sink in sinks {
                let count = |name: &str| sink[name].as_u64().unwrap_or(0);
                writeln!(
                    out,
                    "{}  {}\n       next {}, {} waiting (the first for {:.0} s), {} delivered, {} refused, {} dropped, {} superseded",
                    sink["name"].as_str().unwrap_or("-"),
                    sink["to"].as_str().unwrap_or("-"),
                    count("cursor"),
                    count("waiting"),
                    sink["lag_s"].as_f64().unwrap_or(0.0),
                    count("delivered"),
                    count("refused"),
                    count("dropped"),
                    count("superseded"),
                )?;
                if let Some(since) = sink["failing_s"].as_f64() {
                    failing = true;
                    let why = sink["last_failure"].as_str().unwrap_or("-");
                    writeln!(out, "       FAILING for {since:.0} s: {why}")?;
                }
            }
            Ok(u8::from(failing))
        }
    }
}

/// The helper of an exec sink: the service starts it before it gives up its rights.
pub fn help(arguments: &[String]) -> anyhow::Result<u8> {
    if let Err(error) = crate::privilege::keep_nothing() {
        bail!("cannot give up rights: {error}");
    }
    exec::help(arguments)?;
    Ok(0)
}
