//! `flapscope analyze`: files in, incidents out. No runtime, no clock.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Context;

use super::inputs::{self, Progress};
use crate::cli::{AnalyzeOptions, ReportFormat};
use crate::correlate::Told;
use crate::decode::Decoder;
use crate::detect::{Settings, Severity};
use crate::engine::Engine;
use crate::event::Timestamp;
use crate::input::merge::InputSet;
use crate::input::vrps;
use crate::output::alert::{Alert, Host};
use crate::output::report::Style;
use crate::output::{json, report};

/// Analyses the files and prints the report. 1 with `--exit-code` when an incident of warning or above was found.
pub fn run(files: &[PathBuf], options: &AnalyzeOptions) -> anyhow::Result<u8> {
    let mut inputs = InputSet::open(files, &super::open_options(&options.cut)?)?;
    let settings = Settings {
        own_prefixes: options.own_prefix.clone(),
        own_as: options.own_as.clone(),
        dhcp_servers: options.dhcp_server.clone(),
    };
    let vrps = options.vrps.as_deref().map(vrps::json::read).transpose();
    let vrps = vrps.context("cannot use --vrps")?;
    let mut vrps = vrps.as_ref();
    let mut engine = Engine::new(&settings);
    let mut decoder = Decoder::new();
    let mut told: Vec<Told> = Vec::new();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let host = Host {
        name: inputs::host_name(&inputs),
    };
    let mut progress = Progress::new(&inputs);
    while let Some(item) = inputs.next() {
        if let (Some(at), Some(file)) = (item.at(), vrps) {
            vrps = None;
            load(file, at, &mut engine, &mut told)?;
        }
        decoder.item(&item, &mut |event| engine.handle(event, &mut told));
        if !told.is_empty() {
            tell(&mut told, options.format, &host, &mut out)?;
        }
        progress.moved(&inputs);
    }
    progress.done();
    decoder.finish(&mut |event| engine.handle(event, &mut told));
    if let Some(until) = inputs.watched_until() {
        engine.advance(until, &mut told);
    }
    engine.finish(&mut told);
    tell(&mut told, options.format, &host, &mut out)?;
    inputs::check_readable(&inputs)?;

    let incidents = engine.incidents();
    let views = inputs::views(&inputs);
    match options.format {
        ReportFormat::Ndjson => {}
        ReportFormat::Json => {
            let document = json::report(
                &engine,
                &incidents,
                views,
                inputs::records(&inputs),
                options.top,
            );
            serde_json::to_writer_pretty(&mut out, &document)?;
            out.write_all(b"\n")?;
        }
        ReportFormat::Text => out.write_all(
            report::render(&engine, &incidents, &views, options.top, style()).as_bytes(),
        )?,
    }
    out.flush()?;
    let loud = incidents
        .iter()
        .any(|incident| incident.severity >= Severity::Warning);
    Ok(u8::from(options.exit_code && loud))
}

/// The VRPs hold from the input's begin on.
fn load(
    file: &vrps::json::VrpFile,
    at: Timestamp,
    engine: &mut Engine,
    told: &mut Vec<Told>,
) -> io::Result<()> {
    let (events, expired) = vrps::events(file, at);
    for event in &events {
        engine.handle(event, told);
    }
    if expired > 0 {
        let (all, at) = (file.vrps.len(), at);
        writeln!(
            io::stderr(),
            "flapscope: {expired} of the {all} VRPs of --vrps had run out at {at}, when the input begins, and are not used"
        )?;
    }
    Ok(())
}

/// Alerts go out as they become known.
fn tell(
    told: &mut Vec<Told>,
    format: ReportFormat,
    host: &Host,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    for said in told.drain(..) {
        if format == ReportFormat::Ndjson {
            serde_json::to_writer(&mut *out, &Alert::new(&said, host))?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// How to paint on standard output: plain and 100 columns when piped; NO_COLOR and TERM=dumb are honoured (no-color.org).
pub fn style() -> Style {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return Style::default();
    }
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    let utf8 = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|n| std::env::var(n).ok().filter(|v| !v.is_empty()))
        .is_none_or(|locale| {
            let locale = locale.to_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
    let width =
        ratatui::crossterm::terminal::size().map_or(100, |(columns, _)| usize::from(columns));
    Style {
        width: width.clamp(60, 160),
        color: !set("NO_COLOR") && !dumb,
        ascii: !utf8,
    }
}
