//! The command line: clap types only, no logic.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Which routes are unstable, since when, and why.
#[derive(Debug, Parser)]
#[command(
    name = "flapscope",
    version,
    about,
    args_conflicts_with_subcommands = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Same as `analyze FILE` (as in tcpdump).
    #[arg(short = 'r', value_name = "FILE", num_args = 1..)]
    pub read: Vec<PathBuf>,
    #[command(flatten)]
    pub analyze: AnalyzeOptions,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell what is unstable in captures, MRT, BMP and rtmon files, and why.
    Analyze(Analyze),
    /// Print what is in the files, one line an event.
    Decode(Decode),
    /// What a kind of incident means: logic, thresholds, sources, known false alarms.
    Explain {
        /// A kind like `link.flap`; without it, all are listed.
        kind: Option<String>,
    },
    /// Print the JSON Schema of the output.
    Schema {
        #[arg(value_enum, default_value_t = SchemaOf::Alert)]
        of: SchemaOf,
    },
    /// Print a completion script for a shell.
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

#[derive(Debug, Args)]
pub struct Analyze {
    /// Any mix of pcap, pcapng, MRT, BMP stream and rtmon files, plain or compressed (gz, bz2, zst, xz); `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub options: AnalyzeOptions,
}

#[derive(Debug, Args)]
pub struct AnalyzeOptions {
    /// text, one JSON document, or one JSON alert a line.
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,
    #[command(flatten)]
    pub cut: Cut,
    /// Rows of each table.
    #[arg(long, value_name = "N", default_value_t = crate::output::json::TOP)]
    pub top: usize,
    /// Exit with 1 when an incident of warning or above was found.
    #[arg(long)]
    pub exit_code: bool,
    /// A prefix of yours (repeatable): its origin, moves and more-specifics are watched closely.
    #[arg(long, value_name = "PREFIX")]
    pub own_prefix: Vec<crate::event::Prefix>,
    /// An AS of yours (repeatable).
    #[arg(long, value_name = "N")]
    pub own_as: Vec<u32>,
    /// A DHCP server that is meant to be there (repeatable).
    #[arg(long, value_name = "ADDRESS")]
    pub dhcp_server: Vec<std::net::IpAddr>,
}

/// Which part of the input, and whose it is.
#[derive(Debug, Args)]
pub struct Cut {
    /// The host a file was taken on, and what that host is: FILE=NAME[:host|router|bmp] (repeatable).
    #[arg(long, value_name = "FILE=NAME[:ROLE]")]
    pub role: Vec<String>,
    /// Skip what is before this time (RFC 3339, or HH:MM[:SS] on the first day).
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Skip what is at or after this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

#[derive(Debug, Args)]
pub struct Decode {
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// text, JSON (one object a line), or the layout of `bgpdump -m`.
    #[arg(long, value_enum, default_value_t = DecodeFormat::Text)]
    pub format: DecodeFormat,
    #[command(flatten)]
    pub cut: Cut,
}

#[derive(Copy, Clone, Eq, PartialEq, Debug, ValueEnum)]
pub enum ReportFormat {
    Text,
    Json,
    Ndjson,
}

#[derive(Copy, Clone, Eq, PartialEq, Debug, ValueEnum)]
pub enum DecodeFormat {
    Text,
    Json,
    Bgpdump,
}

#[derive(Copy, Clone, Eq, PartialEq, Debug, ValueEnum)]
pub enum SchemaOf {
    Alert,
    Report,
}
