//! The recording of a live run (`-w`), if there is one: behind the merge, before the engine.

use std::time::Duration;

use anyhow::{Context, bail};

use super::told::Teller;
use crate::cli::Live;
use crate::event::Timestamp;
use crate::input::live::LiveItem;
use crate::input::record::{Recorder, Ring, Settings, Summary};

/// Seconds in a minute of `--freeze-on-alert`.
const MINUTE: u64 = 60;

/// A recorder, or none.
pub struct Recording {
    recorder: Option<Recorder>,
    /// The engine's time.
    now: Timestamp,
}

impl Recording {
    /// Opens what `-w` and `-b` ask for. `quiet`: standard output is free for the recording.
    pub fn open(options: &Live, quiet: bool, host: Option<String>) -> anyhow::Result<Recording> {
        let recorder = match &options.write {
            None => None,
            Some(path) if path.as_os_str() == "-" && !quiet => {
                bail!("-w -: alerts go to standard output; `flapscope record -w -` writes there");
            }
            Some(path) => {
                let minutes = options.freeze_on_alert.map(u64::from);
                let settings = Settings {
                    path: path.clone(),
                    ring: Ring::of(&options.ring)?,
                    freeze: minutes.map(|count| Duration::from_secs(count * MINUTE)),
                    host,
                };
                let recorder = Recorder::create(&settings)
                    .with_context(|| format!("{}: cannot be recorded to", path.display()))?;
                Some(recorder)
            }
        };
        Ok(Recording {
            recorder,
            now: Timestamp::MIN,
        })
    }

    /// Records an item; from then on it is known by its place in the recording, as `analyze` will know it.
    pub fn item(&mut self, item: &mut LiveItem) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        if let Some(at) = item.at() {
            self.now = self.now.max(at);
        }
        let place = item.as_item().and_then(|item| recorder.write(&item));
        if let Some(place) = place {
            match item {
                LiveItem::Record(record) => record.locator = place,
                LiveItem::Gap { locator, .. } => *locator = place,
                _ => {}
            }
        }
    }

    /// The engine's time has come to `at`.
    pub fn advance(&mut self, at: Timestamp) {
        if let Some(recorder) = &mut self.recorder {
            self.now = self.now.max(at);
            recorder.advance(at);
        }
    }

    /// Looks after what the engine told, and tells what the recorder has to say.
    pub fn look(&mut self, teller: &mut Teller) -> std::io::Result<()> {
        let told = teller.news();
        let Some(recorder) = &mut self.recorder else {
            return Ok(());
        };
        if let Some(opened) = told {
            recorder.told(self.now, opened);
        }
        for news in recorder.news() {
            teller.note(&news)?;
        }
        Ok(())
    }

    /// The end, and what was recorded.
    pub fn finish(&mut self, teller: &mut Teller) -> std::io::Result<()> {
        let Some(mut recorder) = self.recorder.take() else {
            return Ok(());
        };
        let summary = recorder.finish();
        for news in recorder.news() {
            teller.note(&news)?;
        }
        for line in lines(&summary) {
            teller.note(&line)?;
        }
        Ok(())
    }
}

fn lines(summary: &Summary) -> Vec<String> {
    let mut lines: Vec<String> = summary
        .sources
        .iter()
        .map(|source| {
            format!(
                "{}: {} frames recorded, {} known to be lost",
                source.name, source.frames, source.lost
            )
        })
        .collect();
    lines.push(match summary.files {
        0 | 1 => format!("{} frames recorded", summary.frames),
        files => format!("{} frames recorded in {files} files", summary.frames),
    });
    lines
}
