//! What several integration tests need: the pipeline over bytes in memory, and the project's own captures.
#![allow(dead_code)] // each test uses its part

use std::io::Cursor;
use std::path::{Path, PathBuf};

use flapscope::correlate::Told;
use flapscope::decode::Decoder;
use flapscope::detect::Settings;
use flapscope::engine::Engine;
use flapscope::event::Event;
use flapscope::input::file::OpenOptions;
use flapscope::input::merge::InputSet;
use flapscope::output::alert::{Alert, Host};

/// Input files of a scenario directory, in the order of their names.
pub fn inputs_of(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.contains(".pcap") || name.contains(".mrt")
        })
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                std::fs::read(&path).unwrap(),
            )
        })
        .collect()
}

/// Scenario directories of the project's own captures.
pub fn own_scenarios() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let mut found: Vec<PathBuf> = std::fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("label.json").exists() || path.join("expect.json").exists())
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no scenarios under {}", root.display());
    found
}

/// What an analysis told: alerts as JSON lines, and the engine as it stands.
pub struct Outcome {
    pub alerts: Vec<String>,
    pub engine: Engine,
}

/// Runs the whole pipeline over files in memory. `between` may advance the engine before each event.
pub fn analyze(
    files: &[(String, Vec<u8>)],
    mut between: impl FnMut(&mut Engine, &Event, &mut Vec<Told>),
) -> Outcome {
    let readers = files
        .iter()
        .map(|(name, bytes)| {
            (
                name.clone(),
                Box::new(Cursor::new(bytes.clone())) as Box<dyn std::io::Read + Send>,
            )
        })
        .collect();
    let mut inputs = InputSet::from_readers(readers, &OpenOptions::default())
        .unwrap_or_else(|error| panic!("{error}"));
    let mut engine = Engine::new(&Settings::default());
    let mut decoder = Decoder::new();
    let mut told = Vec::new();
    while let Some(item) = inputs.next() {
        decoder.item(&item, &mut |event| {
            between(&mut engine, event, &mut told);
            engine.handle(event, &mut told);
        });
    }
    decoder.finish(&mut |event| engine.handle(event, &mut told));
    engine.finish(&mut told);
    let alerts = told
        .iter()
        .map(|t| serde_json::to_string(&Alert::new(t, &Host::default())).unwrap())
        .collect();
    Outcome { alerts, engine }
}

/// Every event that the files hold, in the order in which an engine gets them.
pub fn events(files: &[(String, Vec<u8>)]) -> Vec<Event> {
    let readers = files
        .iter()
        .map(|(name, bytes)| {
            let reader: Box<dyn std::io::Read + Send> = Box::new(Cursor::new(bytes.clone()));
            (name.clone(), reader)
        })
        .collect();
    let mut inputs = InputSet::from_readers(readers, &OpenOptions::default())
        .unwrap_or_else(|error| panic!("{error}"));
    let (mut decoder, mut events) = (Decoder::new(), Vec::new());
    while let Some(item) = inputs.next() {
        decoder.item(&item, &mut |event| events.push(event.clone()));
    }
    decoder.finish(&mut |event| events.push(event.clone()));
    events
}

/// Without anything between.
pub fn plain(files: &[(String, Vec<u8>)]) -> Outcome {
    analyze(files, |_, _, _| {})
}

/// A small deterministic generator (SplitMix64), so that tests need no seed file.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
}
