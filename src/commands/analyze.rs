//! `flapscope analyze`: files in, incidents out. No runtime, no clock.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Context;

use super::annotations;
use super::inputs::{self, Progress};
use crate::cli::{AnalyzeOptions, ReportFormat};
use crate::config::Config;
use crate::correlate::incident::Incident;
use crate::detect::Severity;
use crate::engine::rooms::{Room, Rooms, ToldIn};
use crate::engine::{Prepared, blind};
use crate::event::Timestamp;
use crate::filter::Filter;
use crate::input::merge::InputSet;
use crate::input::vrps;
use crate::output::alert::{Alert, Host};
use crate::output::report::Style;
use crate::output::selection::Selection;
use crate::output::{html, json, report};

/// Analyses the files and prints the report. 1 with `--exit-code` when an incident of warning or above was found.
pub fn run(files: &[PathBuf], options: &AnalyzeOptions) -> anyhow::Result<u8> {
    if options.tui {
        return super::replay::run(files, options);
    }
    let mut inputs = InputSet::open(files, &super::open_options(&options.cut)?)?;
    let vrps = options.vrps.as_deref().map(vrps::json::read).transpose();
    let vrps = vrps.context("cannot use --vrps")?;
    let mut vrps = vrps.as_ref();
    let config = Config::load(&options.mine)?;
    let mut settings = config.settings(&options.mine);
    let mut known: Vec<String> = config.sentence().into_iter().collect();
    // Only one that was named for this analysis: a file from elsewhere must not teach this host's service.
    let state = options.mine.state.as_ref();
    if let Some(path) = state {
        known.push(super::state::take(path, &mut settings));
    }
    let mut rooms = Rooms::new(&settings);
    rooms.prepare(prepared(&config, known, options)?);
    let mut told: Vec<ToldIn> = Vec::new();
    let mut writer = Writer::new(options);
    let mut out = io::BufWriter::new(io::stdout().lock());
    let host = Host {
        name: inputs::host_name(&inputs),
    };
    let mut progress = Progress::new(&inputs);
    while let Some(item) = inputs.next() {
        if let (Some(at), Some(file)) = (item.at(), vrps) {
            vrps = None;
            load(file, at, &mut rooms, &mut told);
        }
        rooms.item(&item, &mut told);
        if !told.is_empty() {
            writer.tell(&mut told, &host, &rooms, &mut out)?;
        }
        progress.moved(&inputs);
    }
    progress.done();
    rooms.conclude(inputs.watched_until(), &mut told);
    writer.tell(&mut told, &host, &rooms, &mut out)?;
    inputs::check_readable(&inputs)?;

    let judged: Vec<(&Room, Vec<Incident>)> = rooms
        .all()
        .iter()
        .map(|room| (room, room.engine.incidents()))
        .collect();
    let selection = Selection {
        filter: options.filter.clone().unwrap_or_default(),
        top: options.top,
    };
    let views = inputs::views(&inputs);
    match options.format {
        // The lines say nothing of what is not among them.
        ReportFormat::Ndjson if !selection.filter.is_empty() => {
            let all = judged.iter().flat_map(|(_, incidents)| incidents).cloned();
            super::say(&selection.sentence(&all.collect::<Vec<_>>()));
        }
        ReportFormat::Ndjson => {}
        ReportFormat::Json | ReportFormat::Html | ReportFormat::Svg => {
            let records = inputs::records(&inputs);
            let of_each = judged.iter().map(|(room, incidents)| {
                let mut report =
                    json::report(&room.engine, incidents, views.clone(), records, &selection);
                if !room.engine.saw_anything() {
                    report.blind.insert(0, blind::NOTHING.to_owned());
                }
                (room.label.as_deref().map(str::to_owned), report)
            });
            let report = json::together(of_each.collect());
            match (options.format, &report) {
                (ReportFormat::Html, Some(report)) => {
                    out.write_all(html::page(report).as_bytes())?
                }
                (ReportFormat::Svg, Some(report)) => match html::worst(report) {
                    Some(incident) => out.write_all(html::svg(incident).as_bytes())?,
                    None => super::say("no incident: there is nothing to draw"),
                },
                _ => {
                    serde_json::to_writer_pretty(&mut out, &report)?;
                    out.write_all(b"\n")?;
                }
            }
        }
        ReportFormat::Text => {
            for (n, (room, incidents)) in judged.iter().enumerate() {
                if judged.len() > 1 {
                    let name = room.label.as_deref();
                    let name = name.unwrap_or("the host's own network namespace");
                    writeln!(out, "{}{name}", if n > 0 { "\n" } else { "" })?;
                }
                let page = report::render(&room.engine, incidents, &views, &selection, style());
                out.write_all(page.as_bytes())?;
            }
        }
    }
    out.flush()?;
    if let Some(path) = state {
        let mut baseline = settings.baseline.clone();
        for room in rooms.all() {
            room.engine.learn(&mut baseline);
        }
        super::state::keep(path, &baseline)?;
    }
    let loud = judged
        .iter()
        .flat_map(|(_, incidents)| selection.incidents(incidents))
        .any(|incident| incident.severity >= Severity::Warning);
    Ok(u8::from(options.exit_code && loud))
}

/// What is known before the first record.
fn prepared(
    config: &Config,
    known: Vec<String>,
    options: &AnalyzeOptions,
) -> anyhow::Result<Prepared> {
    Ok(Prepared {
        maintenance: config.maintenance.clone(),
        annotations: match &options.annotations {
            Some(path) => annotations::read(path)?,
            None => Vec::new(),
        },
        known,
    })
}

/// The VRPs hold from the input's begin on.
fn load(file: &vrps::json::VrpFile, at: Timestamp, rooms: &mut Rooms, told: &mut Vec<ToldIn>) {
    let (events, expired) = vrps::events(file, at);
    rooms.facts(&events, told);
    if expired > 0 {
        super::say(&format!(
            "{expired} of the {} VRPs of --vrps had run out at {at}, when the input begins, and are not used",
            file.vrps.len()
        ));
    }
}

/// Alerts go out as they become known.
struct Writer {
    format: ReportFormat,
    filter: Filter,
    /// Incidents that matched once: whoever heard of one hears how it ends, too.
    known: BTreeSet<String>,
}

impl Writer {
    fn new(options: &AnalyzeOptions) -> Writer {
        Writer {
            format: options.format,
            filter: options.filter.clone().unwrap_or_default(),
            known: BTreeSet::new(),
        }
    }

    fn tell(
        &mut self,
        told: &mut Vec<ToldIn>,
        host: &Host,
        rooms: &Rooms,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        for (room, said) in told.drain(..) {
            if self.format != ReportFormat::Ndjson {
                continue;
            }
            let incident = said.incident();
            if !self.filter.is_empty() && !self.known.contains(&incident.id) {
                if !self.filter.matches(incident) {
                    continue;
                }
                self.known.insert(incident.id.clone());
            }
            let host = host.inside(rooms.label(room));
            serde_json::to_writer(&mut *out, &Alert::new(&said, &host))?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }
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
