//! The configuration: what was typed, else the environment, else a TOML file, else a default; validated before anything starts.
//!
//! A file is read whole or not at all: an unknown key or a wrong value is an error with its line and, where one is near, the word that
//! was meant. There are few keys: what a detector needs to know about a network that it cannot see, what to watch, and when not to wake
//! anybody. Thresholds are not among them: each has its reason beside the detector that uses it.

mod file;
mod sink;

use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::cli::{Live, Mine};
use crate::correlate::maintenance::Window;
use crate::detect::Settings;
use crate::event::Prefix;
use crate::event::text::sanitized;

pub use sink::Wanted;

#[cfg(test)]
mod tests;

/// Read when it is there and nobody named another file.
pub const DEFAULT_PATH: &str = "/etc/flapscope/flapscope.toml";

/// Octets of a configuration file: a hundred times what all keys need.
const MAX_OCTETS: u64 = 1 << 20;

/// What is wrong with a configuration file, with its place.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}")]
    Unreadable {
        path: String,
        #[source]
        error: io::Error,
    },
    #[error("{path}: larger than {MAX_OCTETS} octets: this is no configuration")]
    TooLarge { path: String },
    #[error("{path}: not UTF-8")]
    NotText { path: String },
    #[error("{path}:{line}:{column}: {message}")]
    Wrong {
        path: String,
        line: usize,
        column: usize,
        message: String,
        /// The line with a caret under the mistake.
        shown: String,
    },
}

/// What a file says, checked and typed. Lists are empty and options `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Where it came from; `None`: no file.
    pub path: Option<PathBuf>,
    pub own_prefixes: Vec<Prefix>,
    pub own_as: Vec<u32>,
    pub dhcp_servers: Vec<IpAddr>,
    pub dhcp_relays: Vec<IpAddr>,
    pub routers: Vec<IpAddr>,
    pub gateways: Vec<IpAddr>,
    pub interfaces: Vec<String>,
    pub bmp: Vec<SocketAddr>,
    pub bmp_ports: Vec<u16>,
    pub bgp_listen: Vec<SocketAddr>,
    pub as_number: Option<u32>,
    pub router_id: Option<std::net::Ipv4Addr>,
    pub bgp_peers: Vec<crate::input::bgp_listener::config::Peer>,
    pub rtr: Vec<crate::input::rtr::config::Target>,
    pub rtr_ca: Option<PathBuf>,
    pub vrps: Option<PathBuf>,
    pub socket: Option<PathBuf>,
    /// Where pages are served.
    pub http: Option<crate::http::server::Address>,
    pub state: Option<PathBuf>,
    pub maintenance: Vec<Window>,
    pub sinks: Vec<Wanted>,
    /// Where alerts wait for their sinks.
    pub spool: Option<PathBuf>,
    pub spool_megabytes: Option<u64>,
    /// Where `/report/ID` is, as receivers reach it.
    pub report_url: Option<String>,
}

impl ConfigError {
    /// The line with the mistake and a caret under it.
    pub fn caret(&self) -> Option<&str> {
        match self {
            ConfigError::Wrong { shown, .. } => Some(shown),
            _ => None,
        }
    }
}

impl Config {
    /// The file that was named, or the default one where there is one, or nothing.
    pub fn load(mine: &Mine) -> Result<Config, ConfigError> {
        if mine.no_config {
            return Ok(Config::default());
        }
        match &mine.config {
            Some(path) => Config::read(path),
            None => match Config::read(Path::new(DEFAULT_PATH)) {
                Err(ConfigError::Unreadable { error, .. })
                    if error.kind() == io::ErrorKind::NotFound =>
                {
                    Ok(Config::default())
                }
                read => read,
            },
        }
    }

    /// Reads one file.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let shown = sanitized(&path.to_string_lossy());
        let unreadable = |error| ConfigError::Unreadable {
            path: shown.clone(),
            error,
        };
        let size = fs::metadata(path).map_err(unreadable)?.len();
        if size > MAX_OCTETS {
            return Err(ConfigError::TooLarge { path: shown });
        }
        // A device or a pipe tells no size and may never end.
        let mut octets = Vec::new();
        let file = fs::File::open(path).map_err(unreadable)?;
        let read = file.take(MAX_OCTETS + 1).read_to_end(&mut octets);
        if read.map_err(unreadable)? as u64 > MAX_OCTETS {
            return Err(ConfigError::TooLarge { path: shown });
        }
        let Ok(text) = String::from_utf8(octets) else {
            return Err(ConfigError::NotText { path: shown });
        };
        let mut config = Config::parse(&text, &shown)?;
        config.path = Some(path.to_owned());
        Ok(config)
    }

    /// Parses the text of a file; `path` is only shown.
    pub fn parse(text: &str, path: &str) -> Result<Config, ConfigError> {
        file::parse(text).map_err(|wrong| wrong.placed(text, path))
    }

    /// What detectors and correlator are told: what was typed (or stands in the environment) goes before the file, list by list.
    pub fn settings(&self, mine: &Mine) -> Settings {
        Settings {
            own_prefixes: first(&mine.own_prefix, &self.own_prefixes),
            own_as: first(&mine.own_as, &self.own_as),
            dhcp_servers: first(&mine.dhcp_server, &self.dhcp_servers),
            dhcp_relays: self.dhcp_relays.clone(),
            routers: self.routers.clone(),
            gateways: self.gateways.clone(),
            baseline: Default::default(),
        }
    }

    /// Fills in what was not typed of a live run.
    pub fn complete(&self, live: &mut Live) {
        if !live.no_packets && live.interface.is_empty() && live.netns.is_empty() {
            live.interface = self.interfaces.clone();
        }
        live.bmp = first(&live.bmp, &self.bmp);
        live.bmp_port = first(&live.bmp_port, &self.bmp_ports);
        live.bgp_listen = first(&live.bgp_listen, &self.bgp_listen);
        live.as_number = live.as_number.or(self.as_number);
        live.router_id = live.router_id.or(self.router_id);
        live.bgp_peer = first(&live.bgp_peer, &self.bgp_peers);
        live.mine.state = live.mine.state.take().or_else(|| self.state.clone());
        // A screen beside the service must not take its place.
        if live.headless && live.socket.is_none() {
            live.socket = self.socket.clone();
        }
        if live.headless && live.http.is_none() {
            live.http = self.http.clone();
        }
        live.rtr = first(&live.rtr, &self.rtr);
        live.rtr_ca = live.rtr_ca.take().or_else(|| self.rtr_ca.clone());
        live.vrps = live.vrps.take().or_else(|| self.vrps.clone());
    }

    /// One line for whoever runs the program: where the settings come from.
    pub fn sentence(&self) -> Option<String> {
        let path = self.path.as_ref()?;
        let windows = match self.maintenance.len() {
            0 => String::new(),
            1 => ", 1 maintenance window".to_owned(),
            n => format!(", {n} maintenance windows"),
        };
        Some(format!(
            "settings from {}{windows}",
            sanitized(&path.to_string_lossy())
        ))
    }
}

fn first<T: Clone>(typed: &[T], file: &[T]) -> Vec<T> {
    if typed.is_empty() {
        file.to_vec()
    } else {
        typed.to_vec()
    }
}
