//! The command line: clap types only, no logic.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::filter::{Filter, FilterError};

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
    /// Watch this host oneself although a service does already, whose screen is shown otherwise.
    #[arg(long, conflicts_with = "read")]
    pub no_attach: bool,
    #[command(flatten)]
    pub analyze: AnalyzeOptions,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell what is unstable in captures, MRT, BMP and rtmon files, and why.
    Analyze(Analyze),
    /// Print what is in the files, one line an event.
    Decode(Decode),
    /// Watch this host: the kernel's links, addresses and routes, and what is asked for besides.
    Live(Live),
    /// Record packets, netlink and BMP of this host into one pcapng (-w FILE).
    Record(Live),
    /// What this host lets us see, what is missing, and the one command that fixes it.
    Doctor(Doctor),
    /// The incidents of the running service.
    Incidents {
        #[command(flatten)]
        at: At,
        /// text, or JSON (one incident a line).
        #[arg(long, value_enum, default_value_t = LiveFormat::Text)]
        format: LiveFormat,
        /// Only what matches (docs/filter.md).
        #[arg(long, value_name = "EXPR", value_parser = filter)]
        filter: Option<Filter>,
        /// Alerts as they become known, one JSON object a line, until ^C.
        #[arg(long)]
        follow: bool,
    },
    /// One incident of the running service, by its id or the begin of it.
    Show {
        id: String,
        #[command(flatten)]
        at: At,
        #[arg(long, value_enum, default_value_t = LiveFormat::Text)]
        format: LiveFormat,
    },
    /// Open incidents as a check for Nagios or Icinga: one line, performance data; 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
    Check {
        #[command(flatten)]
        at: At,
        /// Only what matches (docs/filter.md).
        #[arg(long, value_name = "EXPR", value_parser = filter)]
        filter: Option<Filter>,
        /// A service that judged nothing for so long is UNKNOWN.
        #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "2m")]
        max_age: std::time::Duration,
    },
    /// The screen of the running service, which bare `flapscope` shows too where there is one.
    Attach(At),
    /// Put a change on the timeline of the running service: a possible cause of what follows.
    Annotate(Annotate),
    /// Whether alerts reach their sinks (docs/delivery.md).
    Deliver {
        #[command(subcommand)]
        what: DeliverCommand,
    },
    /// Runs the program of an exec sink for the service.
    #[command(name = crate::deliver::sink::exec::HELPER, hide = true)]
    ExecHelper {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Look at the configuration file without starting anything.
    Config {
        #[command(subcommand)]
        what: ConfigCommand,
    },
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
    /// Print the journal's message catalog: with it, `journalctl -x` explains the alerts of a journald sink.
    Catalog,
    /// Print a completion script for a shell.
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

/// Where the service listens.
#[derive(Clone, Debug, Default, Args)]
pub struct At {
    /// The service's socket; /run/flapscope/flapscope.sock when neither this nor the configuration says so.
    #[arg(
        long,
        value_name = "PATH",
        env = "FLAPSCOPE_SOCKET",
        hide_env_values = true
    )]
    pub socket: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Annotate {
    /// What changes, like "deploy X".
    pub text: String,
    #[command(flatten)]
    pub at_socket: At,
    /// When it began, if not now (RFC 3339, or @SECONDS).
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// When it was or will be over (RFC 3339, @SECONDS, or a duration from its begin like 30m).
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// What it is about, like link:up1 or prefix:192.0.2.0/24 (repeatable); everything when not given.
    #[arg(long, value_name = "SUBJECT")]
    pub subject: Vec<String>,
    /// What lies wholly inside shall wake nobody: a maintenance window. Needs --until.
    #[arg(long, requires = "until")]
    pub silence: bool,
    /// Who says so, if not you.
    #[arg(long, value_name = "NAME")]
    pub author: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum DeliverCommand {
    /// Send a marked test incident (opened, resolved) and say what each receiver answered. Exit code 1: one does not take it.
    Test {
        /// All, when none is named.
        sink: Option<String>,
        #[command(flatten)]
        at: At,
    },
    /// How far each sink is, what waits, what failed. Exit code 1: one is failing.
    Status {
        #[command(flatten)]
        at: At,
        #[arg(long, value_enum, default_value_t = LiveFormat::Text)]
        format: LiveFormat,
    },
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether the file is right, or where it is wrong.
    Check {
        /// /etc/flapscope/flapscope.toml when not given.
        file: Option<PathBuf>,
    },
    /// Print the annotated sample file.
    Sample,
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
    /// text, one JSON document, one JSON alert a line, a page to hand over, or the picture of the worst incident.
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,
    #[command(flatten)]
    pub cut: Cut,
    /// Rows of each table.
    #[arg(long, value_name = "N", default_value_t = crate::output::json::TOP)]
    pub top: usize,
    /// Look at it on a screen: play, speed, back and forth in time.
    #[arg(long, conflicts_with = "format")]
    pub tui: bool,
    /// Show only what matches, like `sev:warn+ prefix:10.0.0.0/8 !kind:dhcp` (docs/filter.md).
    #[arg(long, value_name = "EXPR", value_parser = filter)]
    pub filter: Option<Filter>,
    /// What people changed and when: one JSON object a line with `at`, `text`, and perhaps `until`, `subjects`, `author`, `silence`.
    #[arg(long, value_name = "FILE")]
    pub annotations: Option<PathBuf>,
    /// Exit with 1 when an incident of warning or above was found (and matches the filter).
    #[arg(long)]
    pub exit_code: bool,
    /// Validate route origins with the VRPs of this JSON file of Routinator, rpki-client or StayRTR.
    #[arg(long, value_name = "FILE")]
    pub vrps: Option<PathBuf>,
    #[command(flatten)]
    pub mine: Mine,
}

/// What is yours and meant to be there: typed, in the environment, or in the configuration file, in this order.
#[derive(Clone, Debug, Default, Args)]
pub struct Mine {
    /// Configuration file; /etc/flapscope/flapscope.toml when there is one (docs/config.md).
    #[arg(
        long,
        value_name = "FILE",
        env = "FLAPSCOPE_CONFIG",
        hide_env_values = true
    )]
    pub config: Option<PathBuf>,
    /// Read no configuration file.
    #[arg(long, conflicts_with = "config")]
    pub no_config: bool,
    /// Keep what is learned (DHCP servers, relays, gateways, routers) in this file, and begin with what it holds.
    #[arg(
        long,
        value_name = "FILE",
        env = "FLAPSCOPE_STATE",
        hide_env_values = true
    )]
    pub state: Option<PathBuf>,
    /// A prefix of yours (repeatable): its origin, moves and more-specifics are watched closely.
    #[arg(
        long,
        value_name = "PREFIX",
        value_delimiter = ',',
        env = "FLAPSCOPE_OWN_PREFIX",
        hide_env_values = true
    )]
    pub own_prefix: Vec<crate::event::Prefix>,
    /// An AS of yours (repeatable).
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        env = "FLAPSCOPE_OWN_AS",
        hide_env_values = true
    )]
    pub own_as: Vec<u32>,
    /// A DHCP server that is meant to be there (repeatable).
    #[arg(
        long,
        value_name = "ADDRESS",
        value_delimiter = ',',
        env = "FLAPSCOPE_DHCP_SERVER",
        hide_env_values = true
    )]
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

#[derive(Clone, Debug, Default, Args)]
pub struct Live {
    /// Sentences for the reader, besides what is watched.
    #[arg(skip)]
    pub notes: Vec<String>,
    /// What sinks of the configuration need.
    #[arg(skip)]
    pub reach: crate::deliver::plan::Reach,
    /// Capture on this interface (repeatable).
    #[arg(short, long = "interface", value_name = "IF")]
    pub interface: Vec<String>,
    /// Watch the kernel of this network namespace, by name or process id, instead of ours (repeatable).
    #[arg(long, value_name = "NAME|PID")]
    pub netns: Vec<String>,
    /// Also take what other namespaces notify that have an id here (`ip netns list-id`).
    #[arg(long)]
    pub all_nsid: bool,
    /// Let routers connect with BMP to this address, like 0.0.0.0:11019 (repeatable).
    #[arg(long, value_name = "ADDR")]
    pub bmp: Vec<std::net::SocketAddr>,
    /// Let BGP speakers connect to this address, like 127.0.0.2:1790; we only listen, and announce nothing (repeatable).
    #[arg(long, value_name = "ADDR")]
    pub bgp_listen: Vec<std::net::SocketAddr>,
    /// The AS number to speak BGP with.
    #[arg(long = "as", value_name = "N", id = "as_number")]
    pub as_number: Option<u32>,
    /// The BGP identifier to speak BGP with; the called address when not given.
    #[arg(long, value_name = "ADDR")]
    pub router_id: Option<std::net::Ipv4Addr>,
    /// A BGP speaker that may connect: ADDR[,as=N][,password=TEXT] (repeatable). Without any, all may.
    #[arg(long, value_name = "PEER")]
    pub bgp_peer: Vec<crate::input::bgp_listener::config::Peer>,
    /// Take validated ROA payloads (VRPs) from this RPKI cache: HOST[:PORT], or tls://HOST[:PORT] (repeatable).
    #[arg(long, value_name = "HOST:PORT")]
    pub rtr: Vec<crate::input::rtr::config::Target>,
    /// Trust the certificates in this file for tls:// caches, instead of the system's.
    #[arg(long, value_name = "FILE", requires = "rtr")]
    pub rtr_ca: Option<PathBuf>,
    /// Take VRPs from this JSON file of Routinator, rpki-client or StayRTR; it is read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub vrps: Option<PathBuf>,
    /// Record all that is seen into this pcapng file.
    #[arg(short, long = "write", value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Record into a ring of files, as dumpcap: filesize:KIB, duration:SECONDS, files:N (repeatable).
    #[arg(short = 'b', long = "ring", value_name = "WHAT:N", requires = "write")]
    pub ring: Vec<crate::input::record::RingOption>,
    /// Keep what the ring holds of these minutes before each incident.
    #[arg(long, value_name = "MINUTES", value_parser = minutes, requires = "ring")]
    pub freeze_on_alert: Option<std::time::Duration>,
    /// Capture no packets.
    #[arg(long, conflicts_with = "interface")]
    pub no_packets: bool,
    /// Capture frames for other hosts too.
    #[arg(long)]
    pub promiscuous: bool,
    /// A TCP port on which routers speak BMP past this host to another station (repeatable).
    #[arg(long, value_name = "PORT")]
    pub bmp_port: Vec<u16>,
    /// Let `flapscope incidents`, `show`, `annotate` and the screen ask here; with --headless /run/flapscope/flapscope.sock where that can be.
    #[arg(
        long,
        value_name = "PATH",
        env = "FLAPSCOPE_SOCKET",
        hide_env_values = true
    )]
    pub socket: Option<PathBuf>,
    /// Serve /metrics, /healthz, /readyz, /api/v1/incidents and /report/ID here, like 127.0.0.1:9799 or unix:/PATH; read-only, without passwords.
    #[arg(
        long,
        value_name = "ADDR",
        env = "FLAPSCOPE_HTTP",
        hide_env_values = true
    )]
    pub http: Option<crate::http::server::Address>,
    /// No screen, also on a terminal: the text stream (or `--format json`).
    #[arg(long)]
    pub headless: bool,
    /// text, or one JSON alert a line.
    #[arg(long, value_enum, default_value_t = LiveFormat::Text)]
    pub format: LiveFormat,
    /// End after this time, like 90s, 10m or 2h.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub duration: Option<std::time::Duration>,
    /// Keep all rights and reach after opening, instead of giving up what is no longer needed.
    #[arg(long)]
    pub no_sandbox: bool,
    /// Octets of the kernel's buffer for each netlink socket.
    #[arg(long, value_name = "OCTETS", default_value_t = crate::input::netlink::BUFFER, hide = true)]
    pub netlink_buffer: usize,
    #[command(flatten)]
    pub mine: Mine,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// text, or one JSON document.
    #[arg(long, value_enum, default_value_t = DoctorFormat::Text)]
    pub format: DoctorFormat,
    /// Test whether routers could connect here with BMP (repeatable).
    #[arg(long, value_name = "ADDR")]
    pub bmp: Vec<std::net::SocketAddr>,
    /// Test whether BGP speakers could connect here (repeatable).
    #[arg(long, value_name = "ADDR")]
    pub bgp_listen: Vec<std::net::SocketAddr>,
    /// Test whether this RTR cache answers (repeatable).
    #[arg(long, value_name = "HOST:PORT")]
    pub rtr: Vec<String>,
    /// Only print the lines that make a router of this kind feed us.
    #[arg(long, value_name = "PROGRAM", num_args = 0..=1, default_missing_value = "")]
    pub paste: Option<String>,
}

/// A filter; a mistake is told with a caret under it.
fn filter(given: &str) -> Result<Filter, String> {
    given
        .parse()
        .map_err(|error: FilterError| format!("{error}\n\n{}", error.caret()))
}

/// Minutes, or a time with its unit.
fn minutes(given: &str) -> Result<std::time::Duration, String> {
    let bare = given.bytes().all(|octet| octet.is_ascii_digit());
    duration(&if bare {
        format!("{given}m")
    } else {
        given.to_owned()
    })
}

/// A number with s, m or h behind it (none means seconds).
pub fn duration(given: &str) -> Result<std::time::Duration, String> {
    let (number, unit) = match given.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, given.chars().last()),
        None => (given, None),
    };
    let seconds: f64 = number
        .parse()
        .map_err(|_| "write a number of seconds, or like 90s, 10m, 2h".to_owned())?;
    let factor = match unit {
        Some('m') => 60.0,
        Some('h') => 3600.0,
        _ => 1.0,
    };
    std::time::Duration::try_from_secs_f64(seconds * factor).map_err(|error| error.to_string())
}

#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, ValueEnum)]
pub enum LiveFormat {
    #[default]
    Text,
    #[value(alias = "ndjson")]
    Json,
}

#[derive(Copy, Clone, Eq, PartialEq, Debug, ValueEnum)]
pub enum ReportFormat {
    Text,
    Json,
    Ndjson,
    /// One file to hand over: no request to anywhere, no script.
    Html,
    /// The lanes of the worst incident.
    Svg,
}

#[derive(Copy, Clone, Eq, PartialEq, Debug, ValueEnum)]
pub enum DecodeFormat {
    Text,
    Json,
    Bgpdump,
}

#[derive(Copy, Clone, Eq, PartialEq, Debug, ValueEnum)]
pub enum DoctorFormat {
    Text,
    Json,
}

#[derive(Copy, Clone, Eq, PartialEq, Debug, ValueEnum)]
pub enum SchemaOf {
    Alert,
    Report,
    Doctor,
}
