//! What the file commands share: progress on the terminal, the inputs as the report shows them, the check that something was readable.

use std::io::{self, IsTerminal};

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};

use crate::event::source::Role;
use crate::input::merge::InputSet;
use crate::output::alert::{InputView, tag, time};

/// Items between two looks at the progress: often enough for the eye, too rare to cost anything.
const STRIDE: u32 = 256;

/// A progress bar on stderr, when that is a terminal and standard output is not (or the work is long).
pub struct Progress {
    bar: Option<ProgressBar>,
    until_look: u32,
}

impl Progress {
    /// A bar that appears with the first look, so that short work shows none.
    pub fn new(inputs: &InputSet) -> Progress {
        let bar = io::stderr()
            .is_terminal()
            .then(|| match inputs.octets_total() {
                Some(total) => {
                    let style = ProgressStyle::with_template(
                        "{wide_bar} {percent}% {binary_bytes_per_sec} {eta}",
                    );
                    ProgressBar::new(total)
                        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                }
                None => ProgressBar::new_spinner(),
            });
        Progress {
            bar,
            until_look: STRIDE,
        }
    }

    /// One more item was handled.
    pub fn moved(&mut self, inputs: &InputSet) {
        self.until_look -= 1;
        if self.until_look == 0 {
            self.until_look = STRIDE;
            if let Some(bar) = &self.bar {
                bar.set_position(inputs.octets_read());
            }
        }
    }

    /// Takes the bar away.
    pub fn done(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The inputs as the report shows them.
pub fn views(inputs: &InputSet) -> Vec<InputView> {
    inputs
        .inputs()
        .iter()
        .map(|input| InputView {
            id: input.id.0,
            name: crate::event::text::sanitized(&input.name),
            kind: tag(&input.kind),
            role: input.role.as_ref().map(tag),
            host: input.host.as_deref().map(crate::event::text::sanitized),
            from: time(input.from),
            to: time(input.to),
            records: input.records,
            gaps: input.gaps,
            notes: input
                .notes
                .iter()
                .map(|note| crate::event::text::sanitized(note))
                .collect(),
        })
        .collect()
}

/// Records of all inputs.
pub fn records(inputs: &InputSet) -> u64 {
    inputs.inputs().iter().map(|input| input.records).sum()
}

/// The analysed host's name, where `--role` told it.
pub fn host_name(inputs: &InputSet) -> Option<String> {
    let told = |wanted: Option<Role>| {
        inputs
            .inputs()
            .iter()
            .find(|i| i.role == wanted && i.host.is_some())
    };
    told(Some(Role::Host))
        .or_else(|| told(None))
        .and_then(|i| i.host.as_deref().map(str::to_owned))
}

/// Fails when there were inputs but nothing in any of them could be read.
pub fn check_readable(inputs: &InputSet) -> anyhow::Result<()> {
    let all = inputs.inputs();
    if !all.is_empty() && inputs.nothing_readable() {
        let names: Vec<&str> = all.iter().map(|input| input.name.as_str()).collect();
        let notes: Vec<&str> = all
            .iter()
            .flat_map(|input| input.notes.iter().map(String::as_str))
            .collect();
        bail!(
            "nothing could be read from {}: {}",
            names.join(", "),
            notes.join("; ")
        );
    }
    Ok(())
}
