//! Names of the processes behind netlink ports, where the collector told them.
//!
//! A name belongs to a process id that may be used again: the latest one holds.

use std::collections::BTreeMap;

use crate::event::netlink::Actor;

/// Names kept; processes that change routes are few, but each `ip` of a script is a new one. The least id makes room.
const MAX_ACTORS: usize = 4096;

/// The table.
#[derive(Clone, Default)]
pub struct Actors {
    names: BTreeMap<u32, (Box<str>, Option<u32>)>,
}

impl Actors {
    /// Takes a name.
    pub fn learn(&mut self, actor: &Actor) {
        if self.names.len() >= MAX_ACTORS && !self.names.contains_key(&actor.pid) {
            self.names.pop_first();
        }
        self.names
            .insert(actor.pid, (actor.name.clone(), actor.process));
    }

    /// The name behind a netlink port.
    pub fn name(&self, pid: u32) -> Option<&str> {
        self.names.get(&pid).map(|(name, _)| &**name)
    }

    /// The process behind a port that is no process id, where the collector found it.
    pub fn process(&self, port: u32) -> Option<u32> {
        self.names.get(&port).and_then(|(_, process)| *process)
    }
}
