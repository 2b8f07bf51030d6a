//! Which interfaces `live` would capture on, why not on the others, and what libpcap can do.

use std::collections::BTreeMap;
use std::fs;

use super::rights::Held;
use crate::input::capture::devices::{self, Choice, Why};
use crate::input::capture::{self, OpenError};
use crate::output::doctor::{Area, Check};

/// Names shown of each reason.
const SHOWN: usize = 6;

/// The checks.
pub fn checks(rights: &Held) -> Vec<Check> {
    let mut checks = vec![library()];
    let devices = match devices::list() {
        Ok(devices) => devices,
        Err(error) => {
            checks.push(Check::missing(
                Area::Interfaces,
                "list",
                format!("the list of interfaces cannot be read: {error}"),
                None,
            ));
            return checks;
        }
    };
    let choice = devices::choose(&devices);
    if rights.captures {
        checks.push(stamps(&choice));
    }
    for name in &choice.chosen {
        checks.push(Check::ok(Area::Interfaces, name, "captured by default"));
    }
    let mut others: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, why) in &choice.left_out {
        if *why == Why::Down {
            checks.push(Check::limited(
                Area::Interfaces,
                name,
                "would be captured, but is down; captured from when it comes up",
                Some(format!("sudo ip link set {name} up")),
            ));
        } else {
            others.entry(why.to_string()).or_default().push(name);
        }
    }
    let waits = choice.left_out.iter().any(|(_, why)| *why == Why::Down);
    if choice.chosen.is_empty() && !waits {
        checks.push(Check::missing(
            Area::Interfaces,
            "none",
            "no interface is captured by default: name those to capture",
            Some("flapscope live -i IF".into()),
        ));
    }
    for (why, names) in others {
        let mut shown = names
            .iter()
            .take(SHOWN)
            .copied()
            .collect::<Vec<_>>()
            .join(" ");
        if names.len() > SHOWN {
            shown = format!("{shown} and {} more", names.len() - SHOWN);
        }
        checks.push(Check::ok(
            Area::Interfaces,
            "left out",
            format!("{shown} ({why}); `-i` captures there too"),
        ));
    }
    checks
}

/// libpcap's version, from the name of the library that is loaded: its own function for it is not bound.
fn library() -> Check {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let says = match version(&maps) {
        Some(version) => format!("libpcap {version}"),
        None => "libpcap is built in".to_owned(),
    };
    Check::ok(Area::Packets, "library", says)
}

fn version(maps: &str) -> Option<&str> {
    maps.lines()
        .find_map(|line| line.split_once("libpcap.so.").map(|(_, version)| version))
        .map(str::trim)
}

/// Opens what would be opened, with nanosecond stamps and the kernel filter, and closes it again.
fn stamps(choice: &Choice) -> Check {
    let name = choice.chosen.first().map_or("lo", String::as_str);
    let options = capture::Options {
        interfaces: vec![name.to_owned()],
        ..capture::Options::default()
    };
    let trouble = match capture::open(&options) {
        Ok(opened) if opened.failed.is_empty() => {
            return Check::ok(
                Area::Packets,
                "handle",
                format!(
                    "{name} opened with nanosecond stamps and a kernel filter that sees VLANs, fragments and extension headers"
                ),
            );
        }
        Ok(mut opened) => opened.failed.pop(),
        Err(error) => Some(error),
    };
    match trouble {
        Some(OpenError::Down(name)) => {
            Check::limited(Area::Packets, "handle", format!("{name} is down"), None)
        }
        Some(error) => Check::missing(Area::Packets, "handle", error.to_string(), None),
        None => Check::limited(Area::Packets, "handle", "nothing could be opened", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_librarys_version_is_in_its_name() {
        let maps = "7f00-7f01 r--p 0 08:01 9 /usr/lib/x86_64-linux-gnu/libpcap.so.1.10.3\n";
        assert_eq!(version(maps), Some("1.10.3"));
        assert_eq!(version("7f00-7f01 r--p 0 0:0 0\n"), None);
    }
}
