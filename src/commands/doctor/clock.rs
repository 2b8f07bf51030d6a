//! Whether somebody keeps the clock right: alerts of several hosts are laid side by side by their times.

use std::path::Path;

use super::daemons::processes;
use crate::output::doctor::{Area, Check};

/// What systemd-timesyncd leaves once it has set the clock.
const TIMESYNCD: &str = "/run/systemd/timesync/synchronized";

/// Programs that steer the clock, and how to ask them.
const STEERERS: [(&str, &str); 6] = [
    ("chronyd", "chronyc tracking"),
    ("ntpd", "ntpq -pn"),
    ("ntpd-rs", "ntp-ctl status"),
    ("openntpd", "ntpctl -s status"),
    ("ptp4l", "pmc -u -b 0 'GET TIME_STATUS_NP'"),
    ("phc2sys", "pmc -u -b 0 'GET TIME_STATUS_NP'"),
];

/// The check. The kernel's own word (`adjtimex`) cannot be had without unsafe code; what steers the clock can be seen.
pub fn checks() -> Vec<Check> {
    if Path::new(TIMESYNCD).exists() {
        return vec![Check::ok(
            Area::Clock,
            "clock",
            "systemd-timesyncd has set the clock",
        )];
    }
    let steerer = processes().find_map(|process| {
        STEERERS
            .iter()
            .find(|(name, _)| process.name == *name)
            .copied()
    });
    vec![match steerer {
        Some((name, ask)) => Check::ok(
            Area::Clock,
            "clock",
            format!("{name} steers the clock; `{ask}` tells how well"),
        ),
        None => Check::limited(
            Area::Clock,
            "clock",
            "nobody is seen to steer the clock (a hypervisor may): times of several hosts may not fit together",
            Some("sudo timedatectl set-ntp true".into()),
        ),
    }]
}
