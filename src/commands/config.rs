//! `flapscope config check`: whether a configuration file is right. `flapscope config sample`: the annotated file.

use std::io::{self, Write};
use std::path::Path;

use anyhow::bail;

use crate::cli::ConfigCommand;
use crate::config::{Config, DEFAULT_PATH};

/// The file that packages install.
pub const SAMPLE: &str = include_str!("../../packaging/flapscope.toml");

/// Checks or prints.
pub fn run(what: &ConfigCommand) -> anyhow::Result<u8> {
    let mut out = io::stdout().lock();
    match what {
        ConfigCommand::Sample => out.write_all(SAMPLE.as_bytes())?,
        ConfigCommand::Check { file } => {
            let path = file.as_deref().unwrap_or(Path::new(DEFAULT_PATH));
            if file.is_none() && !path.exists() {
                bail!(
                    "there is no {DEFAULT_PATH}; `flapscope config sample` prints one to begin with"
                );
            }
            let config = Config::read(path)?;
            writeln!(
                out,
                "{}: right ({} own prefixes, {} declared servers, relays, routers and gateways, {} maintenance windows, {} sinks)",
                crate::event::text::sanitized(&path.to_string_lossy()),
                config.own_prefixes.len(),
                config.dhcp_servers.len()
                    + config.dhcp_relays.len()
                    + config.routers.len()
                    + config.gateways.len(),
                config.maintenance.len(),
                config.sinks.len(),
            )?;
        }
    }
    Ok(0)
}
