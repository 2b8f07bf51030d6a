//! Whether alerts would arrive: what the service's configuration says of sinks, as far as it is ours to read.

use crate::cli::Mine;
use crate::config::{Config, ConfigError};
use crate::output::doctor::{Area, Check};

/// The checks; none where no configuration names a sink.
pub fn checks() -> Vec<Check> {
    let config = match Config::load(&Mine::default()) {
        Ok(config) => config,
        Err(error @ ConfigError::Wrong { .. }) => {
            let fix = Some("flapscope config check".to_owned());
            let says = format!("the configuration is wrong: {error}");
            return vec![Check::missing(Area::Delivery, "configuration", says, fix)];
        }
        // Not ours to read: the service's matter.
        Err(_) => return Vec::new(),
    };
    if config.sinks.is_empty() {
        return Vec::new();
    }
    let spool = match &config.spool {
        Some(path) => Check::ok(
            Area::Delivery,
            "spool",
            format!("alerts wait in {} until each sink has them", path.display()),
        ),
        None => Check::limited(
            Area::Delivery,
            "spool",
            "alerts that are not delivered are lost with the process: the configuration has no [delivery] spool",
            None,
        ),
    };
    let names: Vec<&str> = config
        .sinks
        .iter()
        .map(|sink| sink.plan.name.as_str())
        .collect();
    let sinks = Check::ok(
        Area::Delivery,
        "sinks",
        format!(
            "{}: `flapscope deliver test` asks each receiver",
            names.join(", ")
        ),
    );
    vec![spool, sinks]
}
