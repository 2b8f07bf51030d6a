//! `flapscope analyze`: files in, incidents out. No runtime, no clock.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use super::inputs::{self, Progress};
use crate::cli::{AnalyzeOptions, ReportFormat};
use crate::detect::{Settings, Severity};
use crate::engine::rooms::{Rooms, ToldIn};
use crate::input::merge::InputSet;
use crate::output::alert::{Alert, Host};
use crate::output::report::Style;
use crate::output::{Judged, json, report};

/// Analyses the files and prints the report. 1 with `--exit-code` when an incident of warning or above was found.
pub fn run(files: &[PathBuf], options: &AnalyzeOptions) -> anyhow::Result<u8> {
    let mut inputs = InputSet::open(files, &super::open_options(&options.cut)?)?;
    let settings = Settings {
        own_prefixes: options.own_prefix.clone(),
        own_as: options.own_as.clone(),
        dhcp_servers: options.dhcp_server.clone(),
    };
    let mut rooms = Rooms::new(&settings);
    let mut told: Vec<ToldIn> = Vec::new();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let host = Host {
        name: inputs::host_name(&inputs),
    };
    let mut progress = Progress::new(&inputs);
    while let Some(item) = inputs.next() {
        rooms.item(&item, &mut told);
        if !told.is_empty() {
            tell(&mut told, options.format, &host, &rooms, &mut out)?;
        }
        progress.moved(&inputs);
    }
    progress.done();
    rooms.conclude(inputs.watched_until(), &mut told);
    tell(&mut told, options.format, &host, &rooms, &mut out)?;
    inputs::check_readable(&inputs)?;

    let views = inputs::views(&inputs);
    let judged: Vec<Judged<'_>> = rooms
        .all()
        .iter()
        .map(|room| Judged {
            namespace: room.label.as_deref(),
            engine: &room.engine,
            incidents: room.engine.incidents(),
        })
        .collect();
    match options.format {
        ReportFormat::Ndjson => {}
        ReportFormat::Json => {
            let records = inputs::records(&inputs);
            let document = json::report(&judged, views, records, options.top);
            serde_json::to_writer_pretty(&mut out, &document)?;
            out.write_all(b"\n")?;
        }
        ReportFormat::Text => {
            out.write_all(report::render_all(&judged, &views, options.top, style()).as_bytes())?
        }
    }
    out.flush()?;
    let loud = judged
        .iter()
        .flat_map(|room| &room.incidents)
        .any(|incident| incident.severity >= Severity::Warning);
    Ok(u8::from(options.exit_code && loud))
}

/// Alerts go out as they become known.
fn tell(
    told: &mut Vec<ToldIn>,
    format: ReportFormat,
    host: &Host,
    rooms: &Rooms,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    for (room, said) in told.drain(..) {
        if format == ReportFormat::Ndjson {
            let host = host.inside(rooms.label(room));
            serde_json::to_writer(&mut *out, &Alert::new(&said, &host))?;
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
