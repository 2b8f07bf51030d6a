//! The read model: what a screen needs of the engine, as small plain data that may be shared, kept (a frozen screen) and sent over a socket.
//!
//! Owns its types and how they are read off an engine; decides nothing and never changes the engine. Everything textual in it is already
//! sanitised, because subjects, headlines and sentences are. Big tables are not in it: they are paged ([`super::query`]).

pub mod case;
pub mod feed;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::case::Case;
use self::feed::Feed;
use super::Engine;
use crate::event::Timestamp;

/// Incidents in a snapshot, the newest ones: more are no screen's matter, and each costs a walk over its findings.
pub const MAX_CASES: usize = 500;

/// What is known at one moment.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// Counts snapshots; a later one has a larger number.
    pub seq: u64,
    /// The engine's time.
    pub at: Timestamp,
    /// Time of the first event.
    pub from: Option<Timestamp>,
    pub host: Option<String>,
    /// How it comes to be.
    pub mode: Mode,
    /// Incidents in the order in which they were opened.
    #[serde(with = "shared")]
    pub cases: Vec<Arc<Case>>,
    pub tally: Tally,
    pub feeds: Vec<Feed>,
    /// What is watched, as sentences.
    pub watched: Vec<String>,
    /// What is not watched, as sentences.
    pub blind: Vec<String>,
    /// What the collectors had to say, oldest first.
    pub notes: Vec<String>,
}

/// How a snapshot comes to be.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// This host, now.
    #[default]
    Live,
    /// The host of a service that the screen is attached to.
    Attached(Attached),
    /// Files.
    Replay(Replay),
}

/// The service that a screen looks at.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Attached {
    /// Where it listens.
    pub socket: String,
    /// Who it is, as a sentence: program, process, since when.
    pub who: String,
    /// Why there is no news of it, where there is none.
    pub away: Option<Away>,
}

/// A service that says nothing: what the screen shows is what it said last.
#[derive(Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Away {
    /// `gone`, `ended`, `silent`.
    pub how: String,
    /// For how long, in seconds.
    pub seconds: u64,
}

/// Where a replay stands.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Replay {
    /// Names of the files.
    pub files: Vec<String>,
    /// Begin and end of what is recorded; the end is not known before all was read once.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    pub playing: bool,
    /// Seconds of the recording in a second of the reader's.
    pub speed: f64,
    /// Octets read and to read in all, while the files are read for the first time.
    pub reading: Option<(u64, Option<u64>)>,
    /// It can step back: the input can be read again.
    pub rewinds: bool,
}

/// How much there is.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    pub events: u64,
    pub netlink: u64,
    pub bgp: u64,
    pub bmp: u64,
    pub bfd: u64,
    pub dhcp: u64,
    pub lan: u64,
    pub malformed: u64,
    pub gaps: u64,
    pub links: u64,
    pub routes: u64,
    pub sessions: u64,
    pub established: u64,
    pub bfd_sessions: u64,
    pub servers: u64,
    pub clients: u64,
    /// (Peer, prefix) pairs tracked.
    pub prefixes: u64,
    /// Prefixes that the first damping profile would suppress.
    pub suppressed: u64,
    /// Pairs with a history.
    pub unstable: u64,
    /// Findings that are no part of an incident.
    pub noticed: u64,
}

impl Tally {
    fn add(&mut self, engine: &Engine) {
        let counts = engine.counts();
        self.events += counts.events;
        self.netlink += counts.netlink;
        self.bgp += counts.bgp;
        self.bmp += counts.bmp;
        self.bfd += counts.bfd;
        self.dhcp += counts.dhcp;
        self.lan += counts.lan;
        self.malformed += counts.malformed;
        self.gaps += counts.gaps;
        let net = engine.net();
        self.links += net.links.len() as u64;
        self.routes += net.routes.len() as u64;
        for (_, session) in net.sessions.iter().filter(|(_, s)| !s.is_table) {
            self.sessions += 1;
            self.established +=
                u64::from(session.state == crate::state::sessions::State::Established);
        }
        self.bfd_sessions += net.sessions.bfd().iter().count() as u64;
        self.servers += net.leases.servers.iter().count() as u64;
        self.clients += net.leases.clients.len() as u64;
        self.prefixes += net.rib.len() as u64;
        let store = net.rib.hot_records();
        let now = engine.now();
        let [profile, ..] = store.profiles();
        // Several peers (and copies of what one says) may tell of one prefix.
        let mut suppressed = BTreeSet::new();
        for hot in store.iter() {
            self.unstable += 1;
            let [penalty, ..] = &hot.penalties;
            if penalty.suppressed(profile, now) {
                let rib = net.rib.get(hot.rib);
                suppressed.extend(rib.and_then(|rib| rib.prefix(hot.slot)));
            }
        }
        self.suppressed += suppressed.len() as u64;
    }
}

/// Makes snapshots, and keeps of the last one what did not change: incidents that were not touched are shared, not built again.
#[derive(Default)]
pub struct Camera {
    seq: u64,
    cases: Vec<Arc<Case>>,
    tally: Tally,
}

impl Camera {
    /// Looks at all rooms (a live run has one for each network namespace). With `thorough` incidents and totals are read anew,
    /// which costs a walk over all findings of incidents and all hot records: at most twice a second.
    pub fn shoot(&mut self, rooms: &[(Option<&str>, &Engine)], thorough: bool) -> Snapshot {
        if thorough || self.seq == 0 {
            self.cases = cases(rooms, &self.cases);
            self.tally = Tally::default();
            rooms.iter().for_each(|(_, engine)| self.tally.add(engine));
            let held: usize = rooms
                .iter()
                .map(|(_, e)| e.findings().filter(|(_, _, i)| i.is_none()).count())
                .sum();
            self.tally.noticed = held as u64;
        }
        self.seq += 1;
        let engines = || rooms.iter().map(|(_, engine)| engine);
        let mut blind: Vec<String> = Vec::new();
        for spot in engines().flat_map(|engine| engine.blind_spots()) {
            if !blind.contains(&spot) {
                blind.push(spot);
            }
        }
        Snapshot {
            seq: self.seq,
            at: engines().map(|e| e.now()).max().unwrap_or_default(),
            from: engines().filter_map(|e| e.from()).min(),
            cases: self.cases.clone(),
            tally: self.tally,
            feeds: engines().flat_map(|e| e.feeds()).collect(),
            blind,
            ..Snapshot::default()
        }
    }
}

fn cases(rooms: &[(Option<&str>, &Engine)], before: &[Arc<Case>]) -> Vec<Arc<Case>> {
    let mut all: Vec<Arc<Case>> = Vec::new();
    for (label, engine) in rooms {
        for incident in engine.incidents() {
            let case = Case::new(&incident, *label);
            let same = before
                .iter()
                .find(|b| b.id == case.id && b.room == case.room);
            all.push(match same {
                Some(same) if **same == case => same.clone(),
                _ => Arc::new(case),
            });
        }
    }
    all.sort_by(|a, b| (a.opened_at, &a.id).cmp(&(b.opened_at, &b.id)));
    let old = all.len().saturating_sub(MAX_CASES);
    all.drain(..old);
    all
}

/// Shared incidents travel as a plain list.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<T: Serialize, S: Serializer>(
        all: &[Arc<T>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(all.iter().map(AsRef::as_ref))
    }

    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Arc<T>>, D::Error> {
        Ok(Vec::<T>::deserialize(deserializer)?
            .into_iter()
            .map(Arc::new)
            .collect())
    }
}
