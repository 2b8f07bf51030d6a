//! `--state FILE`: what was learned, kept over runs. One small JSON document, versioned, written whole or not at all.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::detect::Settings;
use crate::detect::baseline::{Baseline, MAX_EACH};
use crate::event::text::sanitized;

const SCHEMA: &str = "flapscope.state/1";
/// Octets of a state file: every set full of IPv6 addresses, twice.
const MAX_OCTETS: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    schema: String,
    dhcp_servers: BTreeSet<IpAddr>,
    dhcp_relays: BTreeSet<IpAddr>,
    routers: BTreeSet<IpAddr>,
    gateways: BTreeSet<IpAddr>,
}

/// What a state file held.
pub struct Loaded {
    pub baseline: Baseline,
    /// For the report: which baseline is used.
    pub sentence: String,
    /// It could not be used, and why.
    pub trouble: bool,
}

/// Reads a state file. A damaged or missing one is no reason not to run: it says so and begins anew.
pub fn load(path: &Path) -> Loaded {
    let name = sanitized(&path.to_string_lossy());
    match read(path) {
        Ok(baseline) => Loaded {
            sentence: format!(
                "baseline from {name}: {} DHCP servers, {} relays, {} routers, {} gateways",
                baseline.dhcp_servers.len(),
                baseline.dhcp_relays.len(),
                baseline.routers.len(),
                baseline.gateways.len()
            ),
            baseline,
            trouble: false,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Loaded {
            baseline: Baseline::default(),
            sentence: format!("no baseline yet: {name} begins with this run"),
            trouble: false,
        },
        Err(error) => Loaded {
            baseline: Baseline::default(),
            sentence: format!("no baseline: {name} cannot be used ({error}); learning begins anew"),
            trouble: true,
        },
    }
}

/// Reads a state file into the settings; the sentence for reports. Trouble is told at once, too.
pub fn take(path: &Path, settings: &mut Settings) -> String {
    let loaded = load(path);
    settings.baseline = loaded.baseline;
    if loaded.trouble {
        super::say(&loaded.sentence);
    }
    loaded.sentence
}

/// Writes a state file, or says why not.
pub fn keep(path: &Path, baseline: &Baseline) -> anyhow::Result<()> {
    save(path, baseline).with_context(|| {
        let name = sanitized(&path.to_string_lossy());
        format!("cannot keep what was learned in {name}")
    })
}

fn read(path: &Path) -> io::Result<Baseline> {
    let mut text = String::new();
    File::open(path)?
        .take(MAX_OCTETS + 1)
        .read_to_string(&mut text)?;
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    if text.len() as u64 > MAX_OCTETS {
        return Err(invalid(format!("more than {MAX_OCTETS} octets")));
    }
    let written: Written =
        serde_json::from_str(&text).map_err(|error| invalid(sanitized(&error.to_string())))?;
    if written.schema != SCHEMA {
        return Err(invalid(format!(
            "its version is {:?}, not {SCHEMA}",
            sanitized(&written.schema)
        )));
    }
    let some = |set: BTreeSet<IpAddr>| set.into_iter().take(MAX_EACH).collect();
    Ok(Baseline {
        dhcp_servers: some(written.dhcp_servers),
        dhcp_relays: some(written.dhcp_relays),
        routers: some(written.routers),
        gateways: some(written.gateways),
    })
}

/// Writes a state file: beside its place first, then renamed into it, so that no reader and no crash sees half of it.
pub fn save(path: &Path, baseline: &Baseline) -> io::Result<()> {
    let written = Written {
        schema: SCHEMA.to_owned(),
        dhcp_servers: baseline.dhcp_servers.clone(),
        dhcp_relays: baseline.dhcp_relays.clone(),
        routers: baseline.routers.clone(),
        gateways: baseline.gateways.clone(),
    };
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let result = (|| {
        let mut file = File::create(&beside)?;
        serde_json::to_writer_pretty(&mut file, &written)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    if result.is_err() {
        let _ = fs::remove_file(&beside); // not there either, or not ours to remove
    }
    result
}
