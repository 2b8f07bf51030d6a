//! Route origin validation (RFC 6811) of what is announced: at each announcement whose origin is new, and of all that a change of VRPs
//! touches. It keeps nothing: a route's state is asked for when something about it changes, which costs less than to remember it.

use std::collections::{BTreeMap, btree_map::Entry};
use std::time::Duration;

use super::rib::attributes::{AttrId, Digest, What};
use super::rib::table::Slot;
use super::rib::{Rib, RibDeltas, RibId, Ribs, RouteChange};
use super::sessions::Sessions;
use super::vrps::{Rov, Vrps};
use crate::event::bgp::Safi;
use crate::event::rtr::VrpChange;
use crate::event::{Prefix, Timestamp};

/// Routes told of one change of VRPs; more are counted. Beyond it is a whole table, and one statement about it is enough.
pub const MAX_DELTAS: usize = 16_384;
/// A validating neighbor may withdraw a route before our own cache tells us why: routers poll at most a minute apart (RFC 8210 §8.2 limits
/// notifies to one a minute).
const JUST_WITHDRAWN: Duration = Duration::from_secs(60);

/// A route whose state is, or was, worth telling.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct RovDelta {
    pub prefix: Prefix,
    /// `None`: the path ends in a set.
    pub origin: Option<u32>,
    pub rib: RibId,
    pub slot: Slot,
    /// State until now (of the origin until now, when that changed); `None` when it was not announced or not judged.
    pub before: Option<Rov>,
    pub after: Rov,
    /// It is announced now; else it was withdrawn shortly before.
    pub announced: bool,
    /// Part of a table transfer.
    pub transfer: bool,
    /// It changed by a change of VRPs.
    pub by_vrps: bool,
}

/// What one event changed.
#[derive(Clone, Debug, Default)]
pub struct RovDeltas {
    pub routes: Vec<RovDelta>,
    /// Routes beyond [`MAX_DELTAS`].
    pub more: usize,
    /// All routes were judged for the first time.
    pub first: bool,
}

impl RovDeltas {
    pub fn clear(&mut self) {
        self.routes.clear();
        self.more = 0;
        self.first = false;
    }

    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}

/// The origin for RFC 6811 §2: the last AS of the path; of an empty path the sender's own; `None` ("NONE") when the path ends in a set.
/// Nothing when the sender's AS would count and is not known.
pub fn origin(digest: &Digest, sender_as: u32) -> Option<Option<u32>> {
    match (digest.origin_as, digest.hops) {
        (0, 0) => (sender_as != 0).then_some(Some(sender_as)),
        (0, _) => Some(None),
        (asn, _) => Some(Some(asn)),
    }
}

fn sender_as(sessions: &Sessions, rib: &Rib) -> u32 {
    sessions
        .get(rib.session)
        .map_or(0, |session| session.ends[rib.sender & 1].asn)
}

/// Judges the announcements of one event. Only those are told that are invalid, or no longer.
pub fn judge(
    vrps: &Vrps,
    ribs: &Ribs,
    sessions: &Sessions,
    deltas: &RibDeltas,
    out: &mut RovDeltas,
) {
    let Some((id, rib)) = deltas.rib.and_then(|id| Some((id, ribs.get(id)?))) else {
        return;
    };
    let sender = sender_as(sessions, rib);
    for delta in &deltas.routes {
        // A route with the origin of before is in the state of before.
        let old = match delta.change {
            RouteChange::New | RouteChange::Returned => AttrId::NONE,
            RouteChange::Reannounced => AttrId::NONE,
            RouteChange::Changed if ribs.differences(delta.old, delta.new).has(What::ORIGIN_AS) => {
                delta.old
            }
            _ => continue,
        };
        let Some(nlri) = rib
            .nlri(delta.slot)
            .filter(|nlri| nlri.safi == Safi::Unicast)
        else {
            continue;
        };
        let state = |attrs: AttrId| {
            let origin = origin(ribs.digest(attrs)?, sender)?;
            Some((origin, vrps.validate(&nlri.prefix, origin)))
        };
        let Some((origin, after)) = state(delta.new) else {
            continue;
        };
        let before = state(old).map(|(_, before)| before);
        if after.is_invalid() || before.is_some_and(Rov::is_invalid) {
            out.routes.push(RovDelta {
                prefix: nlri.prefix,
                origin,
                rib: id,
                slot: delta.slot,
                before,
                after,
                announced: true,
                transfer: delta.transfer,
                by_vrps: false,
            });
        }
    }
}

/// The changed VRPs, to be asked which of them cover a prefix.
#[derive(Clone)]
struct Changed {
    by_prefix: BTreeMap<Prefix, Vec<VrpChange>>,
    /// Lengths in use, IPv4 and IPv6.
    lengths: [u128; 2],
    /// Begins (16 bits) of what changed VRPs cover: turns most routes away.
    begins: [Vec<bool>; 2],
    /// All of it is unknown: every route is touched.
    all: bool,
}

impl Changed {
    fn new(changes: &[VrpChange], all: bool) -> Changed {
        let mut index = Changed {
            by_prefix: BTreeMap::new(),
            lengths: [0; 2],
            begins: [vec![false; 1 << 16], vec![false; 1 << 16]],
            all,
        };
        for change in changes {
            let prefix = change.vrp.prefix;
            let family = usize::from(prefix.is_ipv6());
            index.lengths[family] |= 1 << prefix.len().min(127);
            let first = (prefix.bits() >> 112) as usize;
            let many = 1usize << 16u8.saturating_sub(prefix.len());
            for begin in index.begins[family].iter_mut().skip(first).take(many) {
                *begin = true;
            }
            index.by_prefix.entry(prefix).or_default().push(*change);
        }
        index
    }

    #[inline]
    fn may_touch(&self, prefix: &Prefix) -> bool {
        let begin = (prefix.bits() >> 112) as usize;
        self.begins[usize::from(prefix.is_ipv6())]
            .get(begin)
            .is_some_and(|begin| *begin)
    }

    fn covering(&self, prefix: &Prefix) -> impl Iterator<Item = &VrpChange> {
        let lengths = self.lengths[usize::from(prefix.is_ipv6())];
        let (addr, len) = (prefix.addr(), prefix.len());
        (0..=len)
            .filter(move |at| lengths >> (*at).min(127) & 1 == 1)
            .filter_map(move |at| self.by_prefix.get(&Prefix::new(addr, at)))
            .flatten()
    }

    fn touches(&self, prefix: &Prefix) -> bool {
        self.all || self.may_touch(prefix) && self.covering(prefix).next().is_some()
    }
}

/// The state before the last change of VRPs: with what was taken out, without what came in.
fn before(vrps: &Vrps, changed: &Changed, prefix: &Prefix, origin: Option<u32>) -> Rov {
    let mut set: Vec<(u8, u32)> = Vec::new();
    let new: Vec<(Prefix, u8, u32)> = changed
        .covering(prefix)
        .filter(|change| change.announce)
        .map(|change| (change.vrp.prefix, change.vrp.max_len, change.vrp.asn))
        .collect();
    for vrp in vrps.table().list(prefix) {
        if !new.contains(&(vrp.prefix, vrp.max_len, vrp.asn)) {
            set.push((vrp.max_len, vrp.asn));
        }
    }
    let gone = changed.covering(prefix).filter(|change| !change.announce);
    set.extend(gone.map(|change| (change.vrp.max_len, change.vrp.asn)));
    let mut state = Rov::NotFound;
    for (max_len, asn) in set {
        state = match (origin == Some(asn) && asn != 0, prefix.len() <= max_len) {
            (true, true) => return Rov::Valid,
            (true, false) => Rov::InvalidLength,
            (false, _) if state == Rov::NotFound => Rov::InvalidOrigin,
            (false, _) => state,
        };
    }
    state
}

/// Judges what the last change of VRPs touched. `was_usable`: there were VRPs before it; else all is judged for the first time, and only
/// what is invalid is told.
pub fn revalidate(
    now: Timestamp,
    vrps: &Vrps,
    ribs: &Ribs,
    sessions: &Sessions,
    was_usable: bool,
    out: &mut RovDeltas,
) {
    let (listed, more) = vrps.changed();
    if listed.is_empty() || ribs.is_empty() {
        return;
    }
    // More changed than is listed: what a route was before is unknown.
    let changed = Changed::new(listed, more > 0 || !was_usable);
    let known = was_usable && more == 0;
    out.first = !was_usable;
    let mut touched: BTreeMap<(Prefix, Option<u32>), RovDelta> = BTreeMap::new();
    let mut told_so_far = 0;
    for (id, rib) in ribs.iter() {
        let sender = sender_as(sessions, rib);
        for (slot, nlri, cold) in rib.iter() {
            if nlri.safi != Safi::Unicast || !changed.touches(&nlri.prefix) {
                continue;
            }
            let current = rib.current(cold);
            let announced = current.is_some();
            let attrs = if announced {
                current
            } else if was_usable && now.since(rib.last_change(cold)) <= JUST_WITHDRAWN {
                cold.before
            } else {
                continue;
            };
            let Some(origin) = ribs.digest(attrs).and_then(|digest| origin(digest, sender)) else {
                continue;
            };
            match touched.entry((nlri.prefix, origin)) {
                Entry::Occupied(mut known) => {
                    let known = known.get_mut();
                    if announced && !known.announced {
                        (known.rib, known.slot, known.announced) = (id, slot, true);
                    }
                }
                Entry::Vacant(place) => {
                    let after = vrps.validate(&nlri.prefix, origin);
                    let before = known.then(|| before(vrps, &changed, &nlri.prefix, origin));
                    let told = match before {
                        Some(before) => before != after,
                        None => after.is_invalid(),
                    };
                    if !told {
                        continue;
                    }
                    if told_so_far >= MAX_DELTAS {
                        out.more += 1;
                        continue;
                    }
                    told_so_far += 1;
                    place.insert(RovDelta {
                        prefix: nlri.prefix,
                        origin,
                        rib: id,
                        slot,
                        before,
                        after,
                        announced,
                        transfer: false,
                        by_vrps: true,
                    });
                }
            }
        }
    }
    out.routes.extend(touched.into_values());
}
