//! Files on their way through engines: one step an item. What it does depends on the items alone, never on when or how often it is asked,
//! so two runs to the same place agree to the byte, log included.

use std::path::PathBuf;

use crate::detect::Settings;
use crate::engine::Engine;
use crate::engine::rooms::{Rooms, ToldIn};
use crate::event::{Event, Timestamp};
use crate::input::Item;
use crate::input::file::OpenOptions;
use crate::input::merge::InputSet;
use crate::output::log::Log;

/// Items in a turn of the log: of a flood, what its turn has no room for is counted instead of written out.
pub const LOG_TURN: u64 = 2_048;

/// What is replayed, and how.
pub struct Script {
    pub files: Vec<PathBuf>,
    pub opening: OpenOptions,
    pub settings: Settings,
}

/// The files run through an engine, as far as they were.
pub struct Run {
    pub inputs: InputSet,
    pub rooms: Rooms,
    told: Vec<ToldIn>,
    /// All was read, and concluded.
    pub ended: bool,
    /// Items taken so far, and the latest time of theirs: engines know only the times of events.
    pub items: u64,
    pub reached: Timestamp,
}

impl Run {
    pub fn open(script: &Script) -> anyhow::Result<Run> {
        Ok(Run {
            inputs: InputSet::open(&script.files, &script.opening)?,
            rooms: Rooms::new(&script.settings),
            told: Vec::new(),
            ended: false,
            items: 0,
            reached: Timestamp::MIN,
        })
    }

    /// Takes the next record, unless it is later than `until`; whether there was one.
    pub fn step(&mut self, until: Timestamp, log: &mut Log) -> bool {
        if self.ended {
            return false;
        }
        // The screen reads incidents off the engines; what is told in passing is for machines.
        self.told.clear();
        if self.inputs.next_at().is_some_and(|at| at > until) {
            self.rooms.advance(until, &mut self.told);
            return false;
        }
        if self.items.is_multiple_of(LOG_TURN) {
            log.turn();
        }
        let mut seen = |event: &Event, engine: &Engine| log.keep(event, engine);
        match self.inputs.next() {
            Some(item) => {
                self.items += 1;
                if let Item::Record(crate::input::Record { at, .. }) | Item::Gap { at, .. } = item {
                    self.reached = self.reached.max(at);
                }
                self.rooms.item_seen(&item, &mut self.told, &mut seen);
            }
            None => {
                let until = self.inputs.watched_until();
                self.rooms.conclude_seen(until, &mut self.told, &mut seen);
                self.ended = true;
            }
        }
        !self.ended
    }

    /// Reads on to item `count` without judging; false when there are not so many any more.
    pub fn skip_to(&mut self, count: u64) -> bool {
        while self.items < count {
            if self.inputs.next().is_none() {
                return false;
            }
            self.items += 1;
        }
        true
    }

    fn engines(&self) -> impl Iterator<Item = &Engine> {
        self.rooms.all().iter().map(|room| &room.engine)
    }

    /// Time of the last event, whichever room had it.
    pub fn now(&self) -> Timestamp {
        self.engines().map(Engine::now).max().unwrap_or_default()
    }

    pub fn from(&self) -> Option<Timestamp> {
        self.engines().filter_map(Engine::from).min()
    }

    pub fn events(&self) -> u64 {
        self.engines().map(|engine| engine.counts().events).sum()
    }

    /// Octets that a copy of the engines takes, roughly.
    pub fn weight(&self) -> usize {
        self.engines()
            .fold(0, |sum, engine| sum.saturating_add(engine.weight()))
    }
}
