//! Rooms: a decoder and an engine for each network namespace that was watched. Interface and table numbers repeat between namespaces, so
//! each has its own model.
//!
//! Which room a record belongs to is read from its source's announcement and from nothing else, so that a recording fills the same rooms
//! as the live run did (law 13). What is no namespace's own (packets, BMP, a host's only netlink) belongs to the first room. Deadlines of
//! all rooms fire in the order of time: what is told does not depend on how often time is moved.

use std::collections::BTreeMap;

use super::{Engine, Prepared};
use crate::correlate::Told;
use crate::correlate::maintenance::Window;
use crate::decode::Decoder;
use crate::detect::Settings;
use crate::event::annotation;
use crate::event::{Event, SourceId, SourceInfo, SourceKind, Timestamp};
use crate::input::{Format, Item};

/// Namespaces that are told apart: more than any node runs pods. What later ones say is not judged, as mixing it into another's model
/// would make routes flap that never moved.
pub const MAX_ROOMS: usize = 256;

/// One namespace.
#[derive(Clone)]
pub struct Room {
    /// The namespace, as its source bears it; `None` is the host itself.
    pub label: Option<Box<str>>,
    /// Its decoder.
    pub decoder: Decoder,
    /// Its engine.
    pub engine: Engine,
    /// The host's own netlink was heard here.
    own: bool,
}

/// What a room told, by the room's index.
pub type ToldIn = (usize, Told);

/// All rooms of a run. There is always a first.
#[derive(Clone)]
pub struct Rooms {
    settings: Settings,
    prepared: Prepared,
    rooms: Vec<Room>,
    /// Which room a source belongs to, where that is not the first; `None` is nowhere.
    of: BTreeMap<SourceId, Option<usize>>,
    told: Vec<Told>,
}

impl Rooms {
    /// The first room, empty.
    pub fn new(settings: &Settings) -> Rooms {
        Rooms {
            settings: settings.clone(),
            prepared: Prepared::default(),
            rooms: vec![Room::new(settings)],
            of: BTreeMap::new(),
            told: Vec::new(),
        }
    }

    /// Tells every room, also those to come, what is known before the first event.
    pub fn prepare(&mut self, prepared: Prepared) {
        for room in &mut self.rooms {
            room.engine.prepare(&prepared);
        }
        self.prepared = prepared;
    }

    /// Maintenance windows instead of those before.
    pub fn set_maintenance(&mut self, windows: &[Window]) {
        for room in &mut self.rooms {
            room.engine.set_maintenance(windows.to_vec());
        }
        self.prepared.maintenance = windows.to_vec();
    }

    /// The rooms, in the order in which they were first heard.
    pub fn all(&self) -> &[Room] {
        &self.rooms
    }

    /// The name of a room.
    pub fn label(&self, room: usize) -> Option<&str> {
        self.rooms.get(room)?.label.as_deref()
    }

    /// The room of a newly announced source. The first namespace heard takes the first room, unless that is the host's own.
    fn place(&mut self, info: &SourceInfo) {
        if info.kind != SourceKind::Netlink {
            return;
        }
        let label = info.namespace();
        let known = self.rooms.iter().position(|room| match label {
            Some(_) => room.label.as_deref() == label,
            None => room.label.is_none(),
        });
        let vacant = || {
            self.rooms
                .first()
                .is_some_and(|room| room.label.is_none() && !room.own)
        };
        let room = match known {
            Some(room) => Some(room),
            None if vacant() => Some(0),
            None if self.rooms.len() < MAX_ROOMS => {
                let mut room = Room::new(&self.settings);
                room.engine.prepare(&self.prepared);
                self.rooms.push(room);
                Some(self.rooms.len() - 1)
            }
            None => None,
        };
        if let Some(room) = room.and_then(|room| self.rooms.get_mut(room)) {
            room.label = label.map(Into::into);
            room.own |= label.is_none();
        }
        if room != Some(0) {
            self.of.insert(info.id, room);
        }
    }

    /// Every engine with the name of its namespace.
    pub fn engines(&self) -> Vec<(Option<&str>, &Engine)> {
        let rooms = self.rooms.iter();
        rooms
            .map(|room| (room.label.as_deref(), &room.engine))
            .collect()
    }

    /// Judges one item.
    pub fn item(&mut self, item: &Item<'_>, out: &mut Vec<ToldIn>) {
        self.item_seen(item, out, &mut |_, _| {});
    }

    /// Judges one item; `seen` gets every event decoded from it and the engine that judges it, before it does.
    pub fn item_seen(
        &mut self,
        item: &Item<'_>,
        out: &mut Vec<ToldIn>,
        seen: &mut dyn FnMut(&Event, &Engine),
    ) {
        let source = match item {
            Item::Source(info) => {
                self.place(info);
                info.id
            }
            Item::Record(record) => {
                self.others_advance(record.at, out);
                if record.format == Format::Packet(annotation::LINK_TYPE) {
                    // What an operator says is said to all.
                    for index in 0..self.rooms.len() {
                        self.item_in(index, item, out, seen);
                    }
                    return;
                }
                record.source
            }
            Item::Gap { at, source, .. } => {
                self.others_advance(*at, out);
                *source
            }
        };
        let index = match self.of.get(&source) {
            Some(Some(index)) => *index,
            Some(None) => return,
            None => 0,
        };
        self.item_in(index, item, out, seen);
    }

    fn item_in(
        &mut self,
        index: usize,
        item: &Item<'_>,
        out: &mut Vec<ToldIn>,
        seen: &mut dyn FnMut(&Event, &Engine),
    ) {
        let Some(room) = self.rooms.get_mut(index) else {
            return;
        };
        let (engine, told) = (&mut room.engine, &mut self.told);
        room.decoder.item(item, &mut |event| {
            seen(event, engine);
            engine.handle(event, told);
        });
        collect(index, told, out);
    }

    /// Hands facts that are no record's (VRPs of a file) to the first room, where BGP is.
    pub fn facts(&mut self, events: &[Event], out: &mut Vec<ToldIn>) {
        if let Some(room) = self.rooms.first_mut() {
            for event in events {
                room.engine.handle(event, &mut self.told);
            }
            collect(0, &mut self.told, out);
        }
    }

    /// An item at `at` comes: whatever any room has to say before it is said first.
    fn others_advance(&mut self, at: Timestamp, out: &mut Vec<ToldIn>) {
        if self.rooms.len() > 1 {
            self.advance(at, out);
        }
    }

    /// Time goes on to `to` without items.
    pub fn advance(&mut self, to: Timestamp, out: &mut Vec<ToldIn>) {
        while self.rooms.len() > 1 {
            // The earliest deadline of all, the first room's where two are equal. One that is over already fires as soon as time moves.
            let due = self
                .rooms
                .iter()
                .enumerate()
                .filter_map(|(index, room)| {
                    let soonest = Timestamp(room.engine.now().0.saturating_add(1));
                    Some((room.engine.next_deadline()?.max(soonest), index))
                })
                .min()
                .filter(|(at, _)| *at <= to && *at != Timestamp::MAX);
            let Some((at, index)) = due else { break };
            self.advance_one(index, at, out);
        }
        for index in 0..self.rooms.len() {
            self.advance_one(index, to, out);
        }
    }

    fn advance_one(&mut self, index: usize, to: Timestamp, out: &mut Vec<ToldIn>) {
        if let Some(room) = self.rooms.get_mut(index) {
            room.engine.advance(to, &mut self.told);
            collect(index, &mut self.told, out);
        }
    }

    /// End of input.
    pub fn finish(&mut self, out: &mut Vec<ToldIn>) {
        self.conclude(None, out);
    }

    /// End of input at `until`, up to when who recorded it watched.
    pub fn conclude(&mut self, until: Option<Timestamp>, out: &mut Vec<ToldIn>) {
        self.conclude_seen(until, out, &mut |_, _| {});
    }

    /// The same; `seen` as for [`item_seen`](Self::item_seen).
    pub fn conclude_seen(
        &mut self,
        until: Option<Timestamp>,
        out: &mut Vec<ToldIn>,
        seen: &mut dyn FnMut(&Event, &Engine),
    ) {
        for (index, room) in self.rooms.iter_mut().enumerate() {
            let (engine, told) = (&mut room.engine, &mut self.told);
            room.decoder.finish(&mut |event| {
                seen(event, engine);
                engine.handle(event, told);
            });
            collect(index, told, out);
        }
        if let Some(until) = until {
            self.advance(until, out);
        }
        for (index, room) in self.rooms.iter_mut().enumerate() {
            room.engine.finish(&mut self.told);
            collect(index, &mut self.told, out);
        }
    }
}

fn collect(room: usize, told: &mut Vec<Told>, out: &mut Vec<ToldIn>) {
    out.extend(told.drain(..).map(|said| (room, said)));
}

impl Room {
    fn new(settings: &Settings) -> Room {
        Room {
            label: None,
            decoder: Decoder::new(),
            engine: Engine::new(settings),
            own: false,
        }
    }
}

#[cfg(test)]
mod tests;
