//! Rooms: a decoder and an engine for each network namespace. Interface and table numbers repeat between namespaces, so each has its own
//! model; what is no namespace's (packets, BMP) belongs to the first.

use std::collections::BTreeMap;

use super::told::Teller;
use crate::correlate::Told;
use crate::decode::Decoder;
use crate::detect::Settings;
use crate::engine::Engine;
use crate::event::{SourceId, SourceKind, Timestamp};
use crate::input::live::LiveItem;
use crate::input::record::Recorder;

struct Room {
    /// How alerts name it; `None` for the host itself.
    label: Option<Box<str>>,
    decoder: Decoder,
    engine: Engine,
}

/// All rooms of a live run.
pub struct Rooms {
    /// `None`: nothing is judged.
    settings: Option<Settings>,
    rooms: Vec<Room>,
    /// Which room a source belongs to.
    of: BTreeMap<SourceId, usize>,
    told: Vec<Told>,
}

impl Rooms {
    /// No rooms yet. Without settings there will be none, and nothing is judged.
    pub fn new(settings: Option<Settings>) -> Rooms {
        Rooms {
            settings,
            rooms: Vec::new(),
            of: BTreeMap::new(),
            told: Vec::new(),
        }
    }

    /// A room for the kernel of a namespace, which `source` tells about.
    pub fn add(&mut self, source: SourceId, label: Option<&str>) {
        let Some(settings) = &self.settings else {
            return;
        };
        self.of.insert(source, self.rooms.len());
        self.rooms.push(Room {
            label: label.map(Into::into),
            decoder: Decoder::new(),
            engine: Engine::new(settings),
        });
    }

    fn room_of(&mut self, item: &LiveItem) -> usize {
        if let LiveItem::Source(info) = item
            && info.kind == SourceKind::Netlink
            && !self.of.contains_key(&info.id)
        {
            // Another namespace was heard (--all-nsid).
            self.add(info.id, info.interface.as_deref());
        }
        item.source()
            .and_then(|source| self.of.get(&source).copied())
            .unwrap_or(0)
    }

    /// Every engine with the name of its namespace.
    pub fn engines(&self) -> Vec<(Option<&str>, &Engine)> {
        self.rooms
            .iter()
            .map(|room| (room.label.as_deref(), &room.engine))
            .collect()
    }

    /// Judges one item.
    pub fn item(
        &mut self,
        item: &LiveItem,
        recorder: Option<&mut Recorder>,
        teller: &mut Teller,
    ) -> anyhow::Result<()> {
        let index = self.room_of(item);
        let (Some(room), Some(item)) = (self.rooms.get_mut(index), item.as_item()) else {
            return Ok(());
        };
        let (engine, told) = (&mut room.engine, &mut self.told);
        room.decoder.item(&item, &mut |event| {
            if let Some(log) = teller.log() {
                log.keep(event);
            }
            engine.handle(event, told);
        });
        tell(room, &mut self.told, recorder, teller)
    }

    /// Time goes on to `to` without items.
    pub fn advance(
        &mut self,
        to: Timestamp,
        mut recorder: Option<&mut Recorder>,
        teller: &mut Teller,
    ) -> anyhow::Result<()> {
        for room in &mut self.rooms {
            room.engine.advance(to, &mut self.told);
            tell(room, &mut self.told, recorder.as_deref_mut(), teller)?;
        }
        Ok(())
    }

    /// End of input.
    pub fn finish(
        &mut self,
        mut recorder: Option<&mut Recorder>,
        teller: &mut Teller,
    ) -> anyhow::Result<()> {
        for room in &mut self.rooms {
            let (engine, told) = (&mut room.engine, &mut self.told);
            room.decoder.finish(&mut |event| engine.handle(event, told));
            room.engine.finish(&mut self.told);
            tell(room, &mut self.told, recorder.as_deref_mut(), teller)?;
        }
        Ok(())
    }
}

/// Hands over what a room has to say; the recorder keeps the minutes before an incident.
fn tell(
    room: &Room,
    told: &mut Vec<Told>,
    recorder: Option<&mut Recorder>,
    teller: &mut Teller,
) -> anyhow::Result<()> {
    if told.is_empty() {
        return Ok(());
    }
    if let Some(recorder) = recorder {
        for said in told.iter() {
            let opened = matches!(said, Told::Opened(_));
            let (Told::Opened(incident) | Told::Updated(incident) | Told::Resolved(incident)) =
                said;
            recorder.told(incident.updated_at, opened);
        }
    }
    teller.tell(room.label.as_deref(), told)
}
