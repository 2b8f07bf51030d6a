//! The hot path itself: one UPDATE against its RIB, route by route, and the hot records of what changed.

use super::attributes::AttrId;
use super::hot::Stroke;
use super::{
    MAX_ROUTES, RibDeltas, RibId, RibKind, Ribs, RouteChange, RouteDelta, from_tenths, tenths,
};
use crate::event::Timestamp;
use crate::event::bgp::{AS_SEQUENCE, AsPath, Attributes, Update};
use crate::state::sessions::{Current, Sessions};

/// The attributes as the peer sent them, where the reporting router put its own AS number before the peer's: FRR 8.4 does so in the BMP views of
/// eBGP sessions (measured), and a path that leads through the receiver would be a loop that it had refused (RFC 4271 §9.1.2).
fn without_reporter(update: &Update, reporter: u32, peer: u32) -> Option<Attributes> {
    let words = &update.attributes.as_path.0;
    let (&head, numbers) = words.split_first()?;
    let count = (head & 0xffff) as usize;
    let sequence = head >> 16 == u32::from(AS_SEQUENCE);
    if !sequence
        || count < 2
        || reporter == 0
        || reporter == peer
        || numbers.get(..2)? != [reporter, peer]
    {
        return None;
    }
    let mut path = AsPath::default();
    path.push_segment(AS_SEQUENCE, count - 1);
    path.0.extend_from_slice(numbers.get(1..)?);
    Some(Attributes {
        as_path: path,
        ..update.attributes.clone()
    })
}

impl Ribs {
    pub(super) fn update(
        &mut self,
        at: Timestamp,
        sessions: &Sessions,
        current: Current,
        kind: RibKind,
        update: &Update,
        out: &mut RibDeltas,
    ) {
        let Some(id) = self.rib(at, sessions, current, kind) else {
            return;
        };
        let repaired = matches!(kind, RibKind::BmpPre | RibKind::BmpPost)
            .then(|| sessions.get(current.session))
            .flatten()
            .and_then(|session| {
                let asn = |end: usize| session.ends.get(end).map_or(0, |end| end.asn);
                without_reporter(update, asn(1 - current.sender), asn(current.sender))
            });
        let attributes = repaired.as_ref().unwrap_or(&update.attributes);
        if !update.withdrawn.is_empty() {
            self.withdraw_all(at, id, update, out);
        }
        if !update.announced.is_empty() {
            self.announce_all(at, id, update, attributes, out);
        }
        if update.end_of_rib.is_some() {
            self.end_of_rib(id);
        }
        self.heat(at, id, out);
    }

    /// Brings the hot records of what changed up to date; a route gets one at its second change.
    fn heat(&mut self, at: Timestamp, id: RibId, out: &mut RibDeltas) {
        for delta in &mut out.routes {
            let counts = match delta.change {
                RouteChange::Withdrawn => true,
                RouteChange::Changed | RouteChange::Reannounced => !delta.transfer,
                _ => false,
            };
            if !counts {
                continue;
            }
            let Some(rib) = self.ribs.get_mut(id.0 as usize) else {
                return;
            };
            let (since, born) = (delta.last, rib.born);
            let Some(cold) = rib.table.cold_mut(delta.slot) else {
                continue;
            };
            let mut gone = None;
            let digest = |attr: AttrId| self.attributes.digest(attr).copied();
            if cold.hot == 0 {
                let seed = match delta.change {
                    RouteChange::Reannounced => Some(RouteChange::Withdrawn),
                    _ if cold.changes > u16::from(delta.change == RouteChange::Changed) => {
                        Some(RouteChange::Changed)
                    }
                    _ if cold.withdrawals > u16::from(delta.change == RouteChange::Withdrawn) => {
                        Some(RouteChange::Withdrawn)
                    }
                    _ => None,
                };
                let Some(seed) = seed else { continue };
                let first = from_tenths(born, since);
                let (made, evicted) = self.hot.make(id, delta.slot, first);
                cold.hot = made + 1;
                let (old, new) = match seed {
                    RouteChange::Changed => (digest(delta.before), digest(delta.old)),
                    _ => (digest(delta.before), None),
                };
                self.hot.strike(
                    made,
                    &Stroke {
                        change: seed,
                        at: first,
                        old,
                        new,
                        before: None,
                    },
                );
                gone = evicted;
            }
            delta.hot = cold.hot;
            let stroke = Stroke {
                change: delta.change,
                at,
                old: digest(delta.old),
                new: digest(delta.new),
                before: digest(delta.before),
            };
            self.hot.strike(delta.hot - 1, &stroke);
            if let Some((rib, slot)) = gone {
                let cold = self
                    .ribs
                    .get_mut(rib.0 as usize)
                    .and_then(|rib| rib.table.cold_mut(slot));
                if let Some(cold) = cold {
                    cold.hot = 0;
                }
            }
        }
    }

    fn withdraw_all(&mut self, at: Timestamp, id: RibId, update: &Update, out: &mut RibDeltas) {
        let Some(rib) = self.ribs.get_mut(id.0 as usize) else {
            return;
        };
        out.rib = Some(id);
        let now = tenths(rib.born, at);
        rib.withdrawals += update.withdrawn.len() as u64;
        for nlri in &update.withdrawn {
            let known = rib.table.find(nlri, &self.hasher);
            let (slot, new) = match known {
                Some(slot) => (slot, false),
                // The begin of this table was not seen: the prefix may well have been there.
                None if !rib.complete => {
                    match rib
                        .table
                        .find_or_insert(nlri, &self.hasher, self.routes < MAX_ROUTES)
                    {
                        Some(made) => made,
                        None => {
                            self.refused += 1;
                            continue;
                        }
                    }
                }
                None => continue,
            };
            self.routes += usize::from(new);
            let valid_from = rib.valid_from;
            let Some(cold) = rib.table.cold_mut(slot) else {
                continue;
            };
            let old = if cold.epoch >= valid_from {
                cold.attrs
            } else {
                AttrId::NONE
            };
            let (before, last) = (cold.before, cold.last);
            // Of a feed that repeats its state: what it has not repeated was gone before, whenever that was. (FRR's post-policy view of a
            // speaker that restarted takes back what it never announced.)
            let unrepeated =
                cold.epoch < rib.epoch && rib.transfer.as_ref().is_some_and(|t| t.why.replaces());
            let counts = (old.is_some() && !unrepeated) || new;
            if unrepeated && old.is_some() {
                cold.attrs = AttrId::NONE;
                cold.epoch = rib.epoch;
                rib.present = rib.present.saturating_sub(1);
            }
            if new {
                cold.first = now;
            }
            if counts {
                cold.withdrawals = cold.withdrawals.saturating_add(1);
                cold.last = now;
                if old.is_some() {
                    cold.before = old;
                    rib.present = rib.present.saturating_sub(1);
                }
                cold.attrs = AttrId::NONE;
                cold.epoch = rib.epoch;
            }
            out.routes.push(RouteDelta {
                slot,
                change: if counts {
                    RouteChange::Withdrawn
                } else {
                    RouteChange::Spurious
                },
                transfer: false,
                old,
                new: AttrId::NONE,
                before,
                last,
                hot: cold.hot,
            });
        }
    }

    pub(super) fn announce_all(
        &mut self,
        at: Timestamp,
        id: RibId,
        update: &Update,
        attributes: &Attributes,
        out: &mut RibDeltas,
    ) {
        let attrs = self.attributes.intern(attributes);
        let Some(rib) = self.ribs.get_mut(id.0 as usize) else {
            return;
        };
        out.rib = Some(id);
        let now = tenths(rib.born, at);
        let (epoch, valid_from) = (rib.epoch, rib.valid_from);
        rib.announcements += update.announced.len() as u64;
        let mut moved = 0u32;
        for nlri in &update.announced {
            let Some((slot, new)) =
                rib.table
                    .find_or_insert(nlri, &self.hasher, self.routes < MAX_ROUTES)
            else {
                self.refused += 1;
                continue;
            };
            self.routes += usize::from(new);
            let Some(cold) = rib.table.cold_mut(slot) else {
                continue;
            };
            let first_in_transfer = rib.transfer.is_some() && (new || cold.epoch < epoch);
            let old = if cold.epoch >= valid_from {
                cold.attrs
            } else {
                AttrId::NONE
            };
            let (before, last) = (cold.before, cold.last);
            let change = if new {
                RouteChange::New
            } else if !old.is_some() {
                if cold.attrs.is_some() {
                    RouteChange::Returned
                } else {
                    RouteChange::Reannounced
                }
            } else if old != attrs {
                RouteChange::Changed
            } else if first_in_transfer {
                RouteChange::Refreshed
            } else {
                RouteChange::Duplicate
            };
            match change {
                RouteChange::Duplicate => {
                    cold.duplicates = cold.duplicates.saturating_add(1);
                    rib.duplicates += 1;
                }
                RouteChange::Changed => cold.changes = cold.changes.saturating_add(1),
                RouteChange::New => cold.first = now,
                _ => {}
            }
            cold.announcements = cold.announcements.saturating_add(1);
            if old != attrs {
                if old.is_some() {
                    cold.before = old;
                } else {
                    rib.present = rib.present.saturating_add(1);
                }
                cold.attrs = attrs;
                cold.last = now;
            }
            cold.epoch = epoch;
            moved += u32::from(first_in_transfer);
            out.routes.push(RouteDelta {
                slot,
                change,
                transfer: first_in_transfer,
                old,
                new: attrs,
                before,
                last,
                hot: cold.hot,
            });
        }
        if moved > 0
            && let Some(transfer) = &mut rib.transfer
        {
            // Only what the table had not brought yet keeps the transfer alive: a flapping prefix does not.
            transfer.progress(at, moved);
        }
    }

    pub(super) fn sweep(&mut self) {
        if !self.attributes.wants_sweep() {
            return;
        }
        let mut used = vec![false; self.attributes.id_space()];
        for rib in &self.ribs {
            rib.table.mark(&mut used);
        }
        self.attributes.sweep(&used);
    }
}
