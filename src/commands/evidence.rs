//! From a statement back to its bytes: frames by their places, exchanges by who spoke to whom, and the slice of a recording that shows an
//! incident. Reads items as they come; whether from files or from the minutes that a live run remembers is the caller's matter.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::correlate::incident::Incident;
use crate::decode::Decoder;
use crate::engine::Engine;
use crate::engine::snapshot::case::{Case, Place};
use crate::event::{Event, Timestamp};
use crate::input::Item;
use crate::input::record::{Recorder, Settings};
use crate::output::alert::{Alert, Host};
use crate::output::line::Lines;
use crate::output::log::{Entry, exchange, rung};
use crate::tui::link::{Bytes, Parcel};
use crate::tui::view::chain;

/// Fields shown of one event: a whole UPDATE of the longest kind has more, and nobody reads them on a screen.
const MAX_FIELDS: usize = 400;
/// Octets shown of one frame.
const MAX_OCTETS: usize = 4096;
/// Messages of an exchange: a DHCP exchange has a dozen; of a BGP session the ones around the moment.
const MAX_RUNGS: usize = 200;
/// Time around a moment in which messages belong to its exchange: more than a DHCP client's longest back-off (64 s, RFC 2131 §4.1).
const AROUND: i64 = 90_000_000_000;
/// Time before and after an incident that its slice holds: what led to it, and that it was over.
const MARGIN: i64 = 10_000_000_000;

/// The files of a bundle.
const ALERT: &str = "alert.json";
const STORY: &str = "story.txt";
const PACKETS: &str = "packets.pcapng";
/// Captures hold what others send: for their owner only, as recordings are.
const OWNER_ONLY: u32 = 0o600;

/// Looks for frames.
pub struct Finder {
    wanted: Vec<Place>,
    found: Vec<Bytes>,
    decoder: Decoder,
    lines: Lines,
}

impl Finder {
    /// For these places, in items from the begin.
    pub fn new(wanted: Vec<Place>) -> Finder {
        Finder::with(Decoder::new(), wanted)
    }

    /// For these places, in items from where this decoder stands.
    pub fn with(decoder: Decoder, wanted: Vec<Place>) -> Finder {
        let found = wanted.iter().map(|place| Bytes {
            place: Some(*place),
            missing: Some("not found: these bytes are not kept".to_owned()),
            ..Bytes::default()
        });
        Finder {
            found: found.collect(),
            wanted,
            decoder,
            lines: Lines::default(),
        }
    }

    /// Looks at an item; true when all is found.
    pub fn item(&mut self, item: &Item<'_>) -> bool {
        let Finder {
            wanted,
            found,
            decoder,
            lines,
        } = self;
        if let Item::Record(record) = item {
            let place = Place::of(&record.locator);
            let at = wanted.iter().position(|wanted| *wanted == place);
            if let Some(found) = at.and_then(|at| found.get_mut(at)) {
                found.at = record.at;
                found.missing = None;
                found.octets = record.bytes.iter().take(MAX_OCTETS).copied().collect();
            }
        }
        decoder.item(item, &mut |event| {
            lines.learn(event);
            let place = Place::of(&event.locator);
            let at = wanted.iter().position(|wanted| *wanted == place);
            if let Some(found) = at.and_then(|at| found.get_mut(at)) {
                describe(event, lines, found);
            }
        });
        self.found.iter().all(|found| found.missing.is_none())
    }

    /// What was found, in the order of the places.
    pub fn finish(self) -> Vec<Bytes> {
        self.found
    }
}

fn describe(event: &Event, lines: &Lines, found: &mut Bytes) {
    let (source, text) = lines.parts(event);
    if text.is_empty() {
        return;
    }
    found.lines.push(format!("{source}  {text}"));
    found.exchange = found.exchange.take().or_else(|| exchange(&event.kind));
    if let Ok(value) = serde_json::to_value(&event.kind) {
        flatten("", &value, &mut found.fields);
    }
}

/// Names with dots and their values; what is empty says nothing.
fn flatten(name: &str, value: &serde_json::Value, out: &mut Vec<(String, String)>) {
    use serde_json::Value;
    if out.len() >= MAX_FIELDS {
        return;
    }
    let below = |key: &str| {
        if name.is_empty() {
            key.to_owned()
        } else {
            format!("{name}.{key}")
        }
    };
    match value {
        Value::Null => {}
        Value::Object(map) if name.is_empty() && map.len() == 1 => {
            // The kind of the event is its only member: no part of the names.
            map.values().for_each(|value| flatten("", value, out));
        }
        Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| flatten(&below(key), value, out)),
        Value::Array(all) if all.iter().all(Value::is_null) => {}
        Value::Array(all) if all.iter().all(|v| !v.is_object() && !v.is_array()) => {
            let texts: Vec<String> = all.iter().map(plain).collect();
            out.push((name.to_owned(), texts.join(", ")));
        }
        Value::Array(all) => all
            .iter()
            .enumerate()
            .for_each(|(at, value)| flatten(&below(&at.to_string()), value, out)),
        other => out.push((name.to_owned(), plain(other))),
    }
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Collects the messages of one exchange around a moment.
pub struct Listener {
    wanted: String,
    around: Timestamp,
    rungs: Vec<Entry>,
    decoder: Decoder,
    lines: Lines,
}

impl Listener {
    /// For the exchange of this name.
    pub fn new(wanted: String, around: Timestamp) -> Listener {
        Listener {
            wanted,
            around,
            rungs: Vec::new(),
            decoder: Decoder::new(),
            lines: Lines::default(),
        }
    }

    /// Looks at an item; true when nothing more can belong to it.
    pub fn item(&mut self, item: &Item<'_>) -> bool {
        let Listener {
            wanted,
            around,
            rungs,
            decoder,
            lines,
        } = self;
        let mut over = false;
        decoder.item(item, &mut |event| {
            lines.learn(event);
            let distance = event.at.minus(*around);
            over |= distance > AROUND;
            if distance.abs() <= AROUND && exchange(&event.kind).as_deref() == Some(wanted.as_str())
            {
                rungs.extend(rung(event, lines));
            }
        });
        over || self.rungs.len() >= MAX_RUNGS * 4
    }

    /// The messages, oldest first: the ones nearest to the moment where there are too many.
    pub fn finish(mut self) -> Vec<Entry> {
        nearest(&mut self.rungs, self.around);
        self.rungs
    }
}

/// Keeps the messages that are nearest to a moment, in their order.
pub fn nearest(rungs: &mut Vec<Entry>, around: Timestamp) {
    rungs.retain(|entry| entry.at.minus(around).abs() <= AROUND);
    if rungs.len() > MAX_RUNGS {
        let begin = rungs.partition_point(|entry| entry.at < around);
        let begin = begin
            .saturating_sub(MAX_RUNGS / 2)
            .min(rungs.len() - MAX_RUNGS);
        rungs.drain(..begin);
        rungs.truncate(MAX_RUNGS);
    }
}

/// Everything about an incident in one folder: `alert.json`, `story.txt` and `packets.pcapng`.
pub struct Bundle {
    folder: PathBuf,
    slice: Slice,
}

/// What is known of an incident, as it stands in files.
struct Papers {
    alert: String,
    story: String,
}

impl Papers {
    fn of(incident: &Incident, room: Option<&str>, host: Option<&str>) -> io::Result<Papers> {
        let name = Host {
            name: host.map(str::to_owned),
        };
        let alert = Alert::new(
            &crate::correlate::Told::Updated(Box::new(incident.clone())),
            &name.inside(room),
        );
        let json = serde_json::to_string_pretty(&alert).map_err(io::Error::other)?;
        Ok(Papers {
            alert: json + "\n",
            story: chain::story(&Case::new(incident, room)),
        })
    }
}

/// The name of an incident's folder.
fn folder_name(id: &str, rev: u64) -> String {
    format!("flapscope-{id}-{rev}")
}

/// The part of a recording that belongs to an incident.
struct Slice {
    recorder: Recorder,
    from: Timestamp,
    to: Timestamp,
    frames: u64,
}

impl Slice {
    fn of(incident: &Incident, recorder: Recorder) -> Slice {
        let (from, to) = Case::new(incident, None).span();
        Slice {
            recorder,
            from: Timestamp(from.0.saturating_sub(MARGIN)),
            to: Timestamp(to.0.saturating_add(MARGIN)),
            frames: 0,
        }
    }

    /// Records an item that lies in the incident's time; sources always, as they name what follows.
    fn item(&mut self, item: &Item<'_>) {
        let at = match item {
            Item::Source(_) => None,
            Item::Record(record) => Some(record.at),
            Item::Gap { at, .. } => Some(*at),
        };
        if at.is_some_and(|at| at < self.from || at > self.to) {
            return;
        }
        if self.recorder.write(item).is_some() && matches!(item, Item::Record(_)) {
            self.frames += 1;
        }
    }
}

/// A bundle for a screen elsewhere: nothing is written here.
pub fn parcel<'i>(
    incident: &Incident,
    room: Option<&str>,
    host: Option<&str>,
    items: impl Iterator<Item = Item<'i>>,
) -> io::Result<Parcel> {
    let papers = Papers::of(incident, room, host)?;
    let mut slice = Slice::of(incident, Recorder::in_memory(host));
    items.for_each(|item| slice.item(&item));
    slice.recorder.finish();
    Ok(Parcel {
        id: incident.id.clone(),
        rev: incident.rev.into(),
        alert: papers.alert,
        story: papers.story,
        packets: BASE64_STANDARD.encode(slice.recorder.into_octets()),
        frames: slice.frames,
    })
}

/// Writes a bundle that a service sent into a folder below `place`; a sentence about it.
pub fn unpack(parcel: &Parcel, place: &Path) -> io::Result<String> {
    // It comes from another process: no path of its choosing is written to.
    let is_id = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if parcel.id.is_empty() || !parcel.id.chars().all(is_id) {
        return Err(io::Error::other("the service's incident has no proper id"));
    }
    let packets = BASE64_STANDARD
        .decode(&parcel.packets)
        .map_err(io::Error::other)?;
    let folder = place.join(folder_name(&parcel.id, parcel.rev));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(ALERT), &parcel.alert)?;
    std::fs::write(folder.join(STORY), &parcel.story)?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(OWNER_ONLY)
        .open(folder.join(PACKETS))?;
    io::Write::write_all(&mut file, &packets)?;
    Ok(wrote(parcel.frames, &folder))
}

fn wrote(frames: u64, folder: &Path) -> String {
    let folder = crate::event::text::sanitized(&folder.display().to_string());
    format!("wrote {frames} frames, the alert and its story into {folder}/")
}

impl Bundle {
    /// Makes the folder below `place` and writes what is known; the slice follows, item by item.
    pub fn begin(
        place: &Path,
        incident: &Incident,
        room: Option<&str>,
        host: Option<&str>,
    ) -> io::Result<Bundle> {
        let folder = place.join(folder_name(&incident.id, incident.rev.into()));
        std::fs::create_dir_all(&folder)?;
        let papers = Papers::of(incident, room, host)?;
        std::fs::write(folder.join(ALERT), papers.alert)?;
        std::fs::write(folder.join(STORY), papers.story)?;
        let recorder = Recorder::create(&Settings {
            path: folder.join(PACKETS),
            host: host.map(str::to_owned),
            ..Settings::default()
        })?;
        Ok(Bundle {
            folder,
            slice: Slice::of(incident, recorder),
        })
    }

    /// Records an item if it belongs to the incident.
    pub fn item(&mut self, item: &Item<'_>) {
        self.slice.item(item);
    }

    /// The end of the time that belongs to it.
    pub fn until(&self) -> Timestamp {
        self.slice.to
    }

    /// Closes the slice; a sentence about what was written.
    pub fn finish(mut self) -> String {
        let summary = self.slice.recorder.finish();
        match summary.trouble {
            Some(trouble) => {
                let folder = crate::event::text::sanitized(&self.folder.display().to_string());
                format!("{folder}: {trouble}")
            }
            None => wrote(summary.frames, &self.folder),
        }
    }
}

/// The incident of this id, with the name of its namespace.
pub fn incident(rooms: &[(Option<&str>, &Engine)], id: &str) -> Option<(Option<String>, Incident)> {
    rooms.iter().find_map(|(label, engine)| {
        let incident = engine.incidents().into_iter().find(|i| i.id == id)?;
        Some((label.map(str::to_owned), incident))
    })
}
