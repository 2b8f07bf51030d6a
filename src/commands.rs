//! The commands: the only code that wires the rooms together.

pub mod analyze;
pub mod annotations;
pub mod ask;
pub mod attach;
pub mod check;
pub mod config;
pub mod decode;
pub mod deliver;
pub mod doctor;
pub mod evidence;
pub mod explain;
pub mod inputs;
pub mod live;
pub mod replay;
pub mod screen;
pub mod state;

use std::io::{self, Write};

use anyhow::{Context, bail};
use clap::CommandFactory;

use crate::cli::{Cli, Command, Cut, Live, SchemaOf};
use crate::config::ConfigError;
use crate::event::{Timestamp, text};
use crate::input::file::OpenOptions;
use crate::output::json;

/// Runs a command; the exit code of a run without error.
pub fn run(cli: Cli) -> anyhow::Result<u8> {
    // Before any file is opened: none is opened with more rights than whoever started us has.
    crate::privilege::set_aside().context("cannot set rights aside")?;
    match cli.command {
        Some(Command::Analyze(analyze)) => analyze::run(&analyze.files, &analyze.options),
        Some(Command::Decode(decode)) => decode::run(&decode),
        Some(Command::Live(options)) => live::run(&options, live::Mode::Tell),
        Some(Command::Record(options)) => live::run(&options, live::Mode::Record),
        Some(Command::Doctor(options)) => doctor::run(&options),
        Some(Command::Incidents {
            at,
            format,
            filter,
            follow,
        }) => ask::incidents(&at, format, filter.as_ref(), follow),
        Some(Command::Show { id, at, format }) => ask::show(&at, &id, format),
        Some(Command::Check {
            at,
            filter,
            max_age,
        }) => check::run(&at, filter.as_ref(), max_age),
        Some(Command::Attach(at)) => attach::run(&at),
        Some(Command::Annotate(what)) => ask::annotate(&what),
        Some(Command::Deliver { what }) => deliver::run(&what),
        Some(Command::ExecHelper { arguments }) => deliver::help(&arguments),
        Some(Command::Config { what }) => config::run(&what),
        Some(Command::Explain { kind }) => explain::run(kind.as_deref()),
        Some(Command::Schema { of }) => {
            let schema = match of {
                SchemaOf::Alert => json::alert_schema(),
                SchemaOf::Report => json::report_schema(),
                SchemaOf::Doctor => crate::output::doctor::schema(),
            };
            let mut out = io::stdout().lock();
            serde_json::to_writer_pretty(&mut out, &schema)?;
            writeln!(out)?;
            Ok(0)
        }
        Some(Command::Catalog) => {
            io::stdout().write_all(explain::journal_catalog().as_bytes())?;
            Ok(0)
        }
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "flapscope", &mut script);
            io::stdout().write_all(&script)?;
            Ok(0)
        }
        Some(Command::Man) => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            io::stdout().write_all(&page)?;
            Ok(0)
        }
        None if !cli.read.is_empty() => analyze::run(&cli.read, &cli.analyze),
        // Bare: the service that watches this host, else this host, as it is.
        None => {
            let found = match cli.no_attach {
                true => attach::Found::Nobody(None),
                false => attach::found()?,
            };
            let note = match found {
                attach::Found::Service(service) => return service.show(),
                attach::Found::Nobody(note) => note,
            };
            let live = Live {
                notes: note.into_iter().collect(),
                netlink_buffer: crate::input::netlink::BUFFER,
                ..Live::default()
            };
            live::run(&live, live::Mode::Tell)
        }
    }
}

/// Whether an error is only that the reader of our output is gone.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
            || cause
                .downcast_ref::<serde_json::Error>()
                .is_some_and(|e| e.io_error_kind() == Some(io::ErrorKind::BrokenPipe))
    })
}

/// Says what went wrong, in one line, on stderr.
pub fn complain(error: &anyhow::Error) {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    // Nobody is left to tell when stderr is gone too.
    let _ = writeln!(
        io::stderr(),
        "flapscope: {}",
        text::sanitized(&causes.join(": "))
    );
    if let Some(caret) = error
        .downcast_ref::<ConfigError>()
        .and_then(ConfigError::caret)
    {
        let _ = writeln!(io::stderr(), "\n{caret}");
    }
}

/// A sentence for whoever runs the program, on stderr.
pub fn say(sentence: &str) {
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(io::stderr(), "flapscope: {}", text::sanitized(sentence));
}

/// Options for opening inputs, from the command line.
fn open_options(cut: &Cut) -> anyhow::Result<OpenOptions> {
    let options = OpenOptions {
        roles: cut
            .role
            .iter()
            .map(|role| role.parse())
            .collect::<Result<_, _>>()?,
        since: cut.since.as_deref().map(time).transpose()?,
        until: cut.until.as_deref().map(time).transpose()?,
        ..OpenOptions::default()
    };
    if let (Some(since), Some(until)) = (options.since, options.until)
        && since >= until
    {
        bail!("--since {since} is not before --until {until}: nothing is left");
    }
    Ok(options)
}

/// A time on the command line: RFC 3339 with any offset, or `@SECONDS`.
fn time(given: &str) -> anyhow::Result<Timestamp> {
    if let Some(seconds) = given.strip_prefix('@') {
        let seconds: f64 = seconds
            .parse()
            .with_context(|| format!("{given:?} is not @SECONDS since the epoch"))?;
        return Ok(Timestamp((seconds * 1e9) as i64));
    }
    let zoned: jiff::Timestamp = given.parse().map_err(|_| {
        anyhow::anyhow!("{:?} is not a time: write RFC 3339 like 2026-01-31T03:04:05Z, or @SECONDS since the epoch", text::sanitized(given))
    })?;
    i64::try_from(zoned.as_nanosecond())
        .map(Timestamp)
        .map_err(|_| anyhow::anyhow!("{given:?} is too far away"))
}
