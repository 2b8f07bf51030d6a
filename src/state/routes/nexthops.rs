//! Nexthop objects (`ip nexthop`), as far as routes depend on them.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::netlink::{DumpDone, Hop, NexthopEvent};

/// Objects tracked at once: FRR makes one for each distinct set, which is bounded by peers and their combinations.
const MAX_NEXTHOPS: usize = 262_144;

/// A nexthop object.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Nexthop {
    /// The hop of a plain object.
    pub hop: Option<Hop>,
    /// Members (id, weight) of a group.
    pub group: Vec<(u32, u16)>,
}

#[derive(Clone, Default)]
pub(super) struct Nexthops {
    objects: BTreeMap<u32, Nexthop>,
    /// Members and the groups that hold them.
    groups: BTreeSet<(u32, u32)>,
    /// The running dump, and what it or a notification said to exist since it began.
    dump: Option<u32>,
    listed: BTreeSet<u32>,
}

impl Nexthops {
    pub(super) fn get(&self, id: u32) -> Option<&Nexthop> {
        self.objects.get(&id)
    }

    /// Stores an object; the ids whose meaning changed (itself and the groups that hold it), empty when nothing did.
    pub(super) fn learn(&mut self, seen: &NexthopEvent) -> BTreeSet<u32> {
        if seen.meta.dump && self.dump != Some(seen.meta.seq) {
            self.dump = Some(seen.meta.seq);
            self.listed.clear();
        }
        if self.dump.is_some() {
            self.listed.insert(seen.id);
        }
        let plain = seen.group.is_empty() && !seen.blackhole;
        let object = Nexthop {
            hop: plain.then_some(Hop {
                gateway: seen.gateway,
                ifindex: seen.ifindex,
                weight: 1,
                flags: 0,
            }),
            group: seen.group.clone(),
        };
        if self.objects.len() >= MAX_NEXTHOPS && !self.objects.contains_key(&seen.id) {
            self.listed.remove(&seen.id);
            return BTreeSet::new();
        }
        let before = self.objects.insert(seen.id, object.clone());
        if let Some(before) = &before {
            self.leave_groups(seen.id, before);
        }
        for (member, _) in &object.group {
            self.groups.insert((*member, seen.id));
        }
        match before {
            Some(before) if before != object => self.with_groups_of(seen.id),
            _ => BTreeSet::new(),
        }
    }

    /// Drops what a finished dump did not list: the kernel removes objects with their carrier without a word. The routes that used
    /// them are known by their own dump.
    pub(super) fn dump_ended(&mut self, done: &DumpDone) {
        let listed = std::mem::take(&mut self.listed);
        let ran = self.dump.take() == Some(done.seq);
        if done.family.is_some() && (ran || listed.is_empty()) {
            self.objects.retain(|id, _| listed.contains(id));
            let objects = &self.objects;
            self.groups.retain(|(_, group)| objects.contains_key(group));
        }
    }

    /// Deletes an object; the ids that are gone with it: itself and the groups that have no member left.
    pub(super) fn forget(&mut self, id: u32) -> BTreeSet<u32> {
        let mut gone = BTreeSet::from([id]);
        if let Some(object) = self.objects.remove(&id) {
            self.leave_groups(id, &object);
        }
        let groups: Vec<u32> = self.groups_of(id).collect();
        for group in groups {
            self.groups.remove(&(id, group));
            let Some(object) = self.objects.get_mut(&group) else {
                continue;
            };
            object.group.retain(|(member, _)| *member != id);
            if object.group.is_empty() {
                self.objects.remove(&group);
                gone.insert(group);
            }
        }
        gone
    }

    /// The hops behind an id.
    pub(super) fn resolve(&self, id: u32) -> Vec<Hop> {
        let Some(object) = self.objects.get(&id) else {
            return Vec::new();
        };
        let members = object.group.iter().filter_map(|(member, weight)| {
            let hop = self.objects.get(member)?.hop?;
            Some(Hop {
                weight: *weight,
                ..hop
            })
        });
        object.hop.into_iter().chain(members).collect()
    }

    fn with_groups_of(&self, id: u32) -> BTreeSet<u32> {
        self.groups_of(id).chain([id]).collect()
    }

    fn groups_of(&self, id: u32) -> impl Iterator<Item = u32> {
        let all = self.groups.range((id, 0)..=(id, u32::MAX));
        all.map(|(_, group)| *group)
    }

    fn leave_groups(&mut self, id: u32, object: &Nexthop) {
        for (member, _) in &object.group {
            self.groups.remove(&(*member, id));
        }
    }
}
