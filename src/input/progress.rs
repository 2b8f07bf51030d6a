//! A progress bar on stderr for long reading, where stderr is a terminal; elsewhere it costs a counter.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::merge::InputSet;

/// Shown only for work that takes longer: a flash of a bar is noise.
const PATIENCE: Duration = Duration::from_millis(500);

/// The clock is looked at once in so many items: a look costs more than an item. Sparse captures give few items, so not too rarely.
const STRIDE: u32 = 256;

/// Redraws a second at most.
const HERTZ: u8 = 10;

/// The bar. Call [`tick`](Self::tick) once for each item and [`clear`](Self::clear) before anything else is written.
pub struct Progress {
    started: Instant,
    count: u32,
    enabled: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// `wanted`: false for `--quiet` and wherever stderr belongs to somebody else (a TUI).
    pub fn new(wanted: bool) -> Progress {
        Progress {
            started: Instant::now(),
            count: 0,
            enabled: wanted && std::io::stderr().is_terminal(),
            bar: None,
        }
    }

    /// An item was read.
    #[inline]
    pub fn tick(&mut self, set: &InputSet) {
        self.count = self.count.wrapping_add(1);
        if self.enabled && self.count.is_multiple_of(STRIDE) {
            self.draw(set);
        }
    }

    fn draw(&mut self, set: &InputSet) {
        if self.started.elapsed() < PATIENCE {
            return;
        }
        let total = set.octets_total();
        let bar = self.bar.get_or_insert_with(|| {
            let target = ProgressDrawTarget::stderr_with_hz(HERTZ);
            let template = match total {
                Some(_) => "{wide_bar} {decimal_bytes} of {decimal_total_bytes}, {eta} left",
                None => "{spinner} {decimal_bytes} read",
            };
            let bar = ProgressBar::with_draw_target(total, target);
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        bar.set_position(set.octets_read());
    }

    /// Removes the bar.
    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
