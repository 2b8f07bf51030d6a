//! The engine: sync and deterministic. Events in, incidents told out; time only from events.
//!
//! Deadlines at or before t fire before the event at t, each stamped with its own time: first the model's, then the detectors', then
//! the correlator's. That is why inserting [`Engine::advance`] calls anywhere changes nothing, and why live equals offline (law 1).

pub mod blind;
mod facts;
pub mod query;
pub mod rooms;
pub mod snapshot;
mod unfollowed;

use self::snapshot::feed::{Feed, Feeds};
use self::unfollowed::Unfollowed;
use crate::correlate::changes::Changes as ChangesTold;
use crate::correlate::explain::{Surroundings, Visibility};
use crate::correlate::incident::Incident;
use crate::correlate::maintenance::Window;
use crate::correlate::rule::Book;
use crate::correlate::{Correlator, Told};
use crate::detect::baseline::Baseline;
use crate::detect::session::perspective::Perspective;
use crate::detect::{self, Board, Detector, FindingKey, Settings};
use crate::event::annotation::Annotation;
use crate::event::bgp::BgpMessage;
use crate::event::bmp::BmpMessage;
use crate::event::loss::Gap;
use crate::event::{Classes, Event, EventKind, OwnFeed, SourceId, SourceKind, Timestamp};
use crate::state::{Changes, NetState, Observation};

/// Losses remembered for reports; later ones are counted. A capture with more holes than this has no use for the list.
const MAX_GAPS: usize = 1024;

/// Deadlines fired between two events at most: a host that is quiet for a day fires a few hundred.
const MAX_FIRED: u32 = 20_000;

/// What was handled so far.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Counts {
    pub events: u64,
    pub netlink: u64,
    pub bgp: u64,
    pub bmp: u64,
    pub bfd: u64,
    pub dhcp: u64,
    /// ARP and neighbor discovery.
    pub lan: u64,
    pub tcp: u64,
    /// Of RPKI caches.
    pub rtr: u64,
    pub malformed: u64,
    pub gaps: u64,
}

/// What is known before the first event, besides the detectors' settings.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    pub maintenance: Vec<Window>,
    /// From a file beside the inputs; those told meanwhile come as events.
    pub annotations: Vec<Annotation>,
    /// Sentences for reports: where this came from.
    pub known: Vec<String>,
}

#[derive(Clone)]
struct Slot {
    wants: Classes,
    detector: Box<dyn Detector>,
    deadline: Option<Timestamp>,
}

/// Model, detectors and correlator behind one call.
#[derive(Clone)]
pub struct Engine {
    net: NetState,
    slots: Vec<Slot>,
    board: Board,
    correlator: Correlator,
    changes: Changes,
    now: Timestamp,
    from: Option<Timestamp>,
    /// The earliest deadline of all, or `MAX`.
    deadline: Timestamp,
    /// Deadlines fired since the last event.
    fired: u32,
    visibility: Visibility,
    gaps: Vec<(SourceId, Gap)>,
    /// Sentences about what was known before the first event.
    known: Vec<String>,
    /// Annotations and maintenance windows.
    changes_told: ChangesTold,
    counts: Counts,
    feeds: Feeds,
    /// What UPDATEs held that nothing is said about.
    unfollowed: Unfollowed,
    /// Which end of a session is the host's own.
    perspective: Perspective,
}

impl Engine {
    /// An empty engine.
    pub fn new(settings: &Settings) -> Engine {
        Engine::with_rules(settings, Book::default())
    }

    /// An empty engine whose correlator follows this book of rules.
    pub fn with_rules(settings: &Settings, book: Book) -> Engine {
        let slots = detect::all(settings)
            .into_iter()
            .map(|detector| Slot {
                wants: detector.wants(),
                detector,
                deadline: None,
            })
            .collect();
        Engine {
            net: NetState::default(),
            slots,
            board: Board::default(),
            correlator: Correlator::new(book),
            changes: Changes::default(),
            now: Timestamp::MIN,
            from: None,
            deadline: Timestamp::MAX,
            fired: 0,
            visibility: Visibility::default(),
            gaps: Vec::new(),
            known: Vec::new(),
            changes_told: ChangesTold::default(),
            counts: Counts::default(),
            feeds: Feeds::default(),
            unfollowed: Unfollowed::default(),
            perspective: Perspective::default(),
        }
    }

    /// Takes one event. Events must come in the order of time; an earlier one is taken as if it came now.
    pub fn handle(&mut self, event: &Event, out: &mut Vec<Told>) {
        if event.at > self.now {
            if self.deadline <= event.at {
                self.fire(event.at, out);
            }
            self.now = event.at;
        }
        // A source is announced before its first record and has no time of its own.
        if event.kind.class() != Classes::SOURCE {
            self.from.get_or_insert(event.at);
        }
        self.fired = 0;
        self.note(event);
        self.net.apply(event, &mut self.changes);
        let class = event.kind.class();
        let seen = Observation {
            event,
            changes: &self.changes,
        };
        for slot in self.slots.iter_mut().filter(|slot| slot.wants.meets(class)) {
            slot.detector.observe(&seen, &self.net, &mut self.board);
            slot.deadline = slot.detector.next_deadline();
        }
        self.settle();
    }

    /// Fires all deadlines at or before `to`; time stands at `to` then.
    pub fn advance(&mut self, to: Timestamp, out: &mut Vec<Told>) {
        if to > self.now {
            if self.deadline <= to {
                self.fire(to, out);
            }
            self.now = to;
        }
    }

    /// Octets that a copy of it takes, roughly: for who keeps copies. Of each table that can grow big, what an entry of it takes with
    /// the detectors' notes about it.
    pub fn weight(&self) -> usize {
        /// Everything else: empty tables of fixed size, sessions, links.
        const BASE: usize = 2 << 20;
        let net = &self.net;
        let entries = [
            // The bar of design §8 for a pair of peer and prefix, and the attributes that pairs share.
            (net.rib.len(), 120),
            (net.rib.hot_records().len(), 600),
            (net.routes.len(), 500),
            (net.leases.clients.len(), 2_000),
            (net.hosts.len(), 500),
            (net.neighbors.len(), 300),
            (net.vrps.len(), 60),
            (self.board.len(), 4_000),
        ];
        entries.into_iter().fold(BASE, |sum, (count, each)| {
            sum.saturating_add(count.saturating_mul(each))
        })
    }

    /// The next time at which something would happen without an event.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        (self.deadline != Timestamp::MAX).then_some(self.deadline)
    }

    /// End of input: not the end of time (law 3). Detectors conclude, incidents stay open.
    pub fn finish(&mut self, out: &mut Vec<Told>) {
        for slot in &mut self.slots {
            slot.detector.finish(self.now, &self.net, &mut self.board);
        }
        let around = Surroundings {
            visibility: &self.visibility,
            net: &self.net,
            gaps: &self.gaps,
            changes: &self.changes_told,
        };
        self.correlator
            .finish(self.now, &mut self.board, &around, out);
    }

    fn fire(&mut self, to: Timestamp, out: &mut Vec<Told>) {
        // `MAX` is no deadline, also where a damaged stamp says it is that time.
        while self.deadline <= to && self.deadline != Timestamp::MAX {
            self.fired += 1;
            // A stamp from another century must not cost a century of deadlines: the rest fires once, at the end.
            let now = if self.fired > MAX_FIRED {
                to
            } else {
                self.deadline.max(self.now)
            };
            self.now = now;
            if self.net.next_deadline().is_some_and(|at| at <= now) {
                self.net.expire(now, &mut self.changes);
                if !self.changes.is_empty() {
                    let event = Event::deadline(now);
                    let seen = Observation {
                        event: &event,
                        changes: &self.changes,
                    };
                    for slot in &mut self.slots {
                        slot.detector.observe(&seen, &self.net, &mut self.board);
                        slot.deadline = slot.detector.next_deadline();
                    }
                }
            }
            for slot in self
                .slots
                .iter_mut()
                .filter(|slot| slot.deadline.is_some_and(|at| at <= now))
            {
                slot.detector.expire(now, &self.net, &mut self.board);
                slot.deadline = slot.detector.next_deadline();
            }
            if self.board.is_dirty() {
                self.correlator.board_changed(now);
            }
            if self.correlator.next_deadline().is_some_and(|at| at <= now) {
                let around = Surroundings {
                    visibility: &self.visibility,
                    net: &self.net,
                    gaps: &self.gaps,
                    changes: &self.changes_told,
                };
                self.correlator.expire(now, &mut self.board, &around, out);
            }
            // Who asks for a time that is over would stop the world: it is asked again after the next event.
            self.deadline = self.earliest_after(now);
        }
    }

    fn settle(&mut self) {
        if self.board.is_dirty() {
            self.correlator.board_changed(self.now);
        }
        self.deadline = self.earliest();
    }

    fn earliest(&self) -> Timestamp {
        self.earliest_after(Timestamp::MIN)
    }

    /// The earliest deadline behind `now`.
    fn earliest_after(&self, now: Timestamp) -> Timestamp {
        let detectors = self.slots.iter().filter_map(|slot| slot.deadline);
        let others = [self.net.next_deadline(), self.correlator.next_deadline()];
        detectors
            .chain(others.into_iter().flatten())
            .filter(|at| *at > now)
            .min()
            .unwrap_or(Timestamp::MAX)
    }

    fn note(&mut self, event: &Event) {
        self.counts.events += 1;
        match &event.kind {
            EventKind::Source(info) => self.feeds.announce(info),
            EventKind::Gap(gap) => self.feeds.gap(event.source, gap),
            EventKind::Malformed(_) => self.feeds.malformed(event.source),
            _ => {
                self.visibility.anything = true;
                self.feeds.event(event.source, event.at);
            }
        }
        let seen = &mut self.visibility;
        match &event.kind {
            EventKind::Source(info) => {
                seen.kernel |= info.kind == SourceKind::Netlink;
                let own = info.own_feed();
                seen.packets |= info.kind == SourceKind::Packets && own.is_none();
                seen.bmp |= info.kind == SourceKind::Bmp || own == Some(OwnFeed::Bmp);
                seen.mrt |= info.kind == SourceKind::Mrt;
            }
            EventKind::Link(_)
            | EventKind::Address(_)
            | EventKind::Route(_)
            | EventKind::Neighbor(_)
            | EventKind::Rule(_)
            | EventKind::Nexthop(_)
            | EventKind::Netconf(_)
            | EventKind::Mdb(_) => {
                seen.kernel = true;
                self.counts.netlink += 1;
            }
            EventKind::Bgp(bgp) => {
                seen.bgp_packets = true;
                self.counts.bgp += 1;
                if let BgpMessage::Update(update) | BgpMessage::TableEntry(update) = &bgp.message {
                    self.unfollowed.note(update);
                }
            }
            EventKind::Bmp(bmp) => {
                seen.bmp = true;
                self.counts.bmp += 1;
                if let BmpMessage::RouteMonitoring(update) = &bmp.message {
                    self.unfollowed.note(update);
                }
            }
            EventKind::Bfd(_) => {
                seen.bfd = true;
                self.counts.bfd += 1;
            }
            EventKind::Dhcp4(_) | EventKind::Dhcp6(_) => {
                seen.dhcp = true;
                self.counts.dhcp += 1;
            }
            EventKind::Arp(_) | EventKind::Vrrp(_) => {
                seen.lan = true;
                self.counts.lan += 1;
            }
            EventKind::Nd(nd) => {
                seen.lan = true;
                seen.router_advertisements |= matches!(
                    nd.message,
                    crate::event::lan::NdMessage::RouterAdvertisement(_)
                );
                self.counts.lan += 1;
            }
            EventKind::Tcp(_) => self.counts.tcp += 1,
            EventKind::Rtr(_) => self.counts.rtr += 1,
            EventKind::Malformed(_) => self.counts.malformed += 1,
            EventKind::Gap(gap) => {
                self.counts.gaps += 1;
                if self.gaps.len() < MAX_GAPS {
                    self.gaps.push((event.source, (**gap).clone()));
                }
            }
            EventKind::Annotation(annotation) => {
                self.changes_told.add(annotation);
                self.correlator.change_told(event.at);
            }
            EventKind::DumpDone(_) | EventKind::Actor(_) | EventKind::Deadline => {}
        }
    }

    /// Time of the last event (or deadline).
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Time of the first event.
    pub fn from(&self) -> Option<Timestamp> {
        self.from
    }

    /// The model.
    pub fn net(&self) -> &NetState {
        &self.net
    }

    /// Every finding, with the incident it is in.
    pub fn findings(&self) -> impl Iterator<Item = (FindingKey, &detect::Finding, Option<&str>)> {
        self.board
            .iter()
            .map(|(key, finding)| (key, finding, self.correlator.incident_of(key)))
    }

    /// Every incident told so far, as it stands now.
    pub fn incidents(&self) -> Vec<Incident> {
        self.correlator.incidents(
            &self.board,
            &Surroundings {
                visibility: &self.visibility,
                net: &self.net,
                gaps: &self.gaps,
                changes: &self.changes_told,
            },
        )
    }

    /// Losses seen.
    pub fn gaps(&self) -> &[(SourceId, Gap)] {
        &self.gaps
    }

    /// What each source gave.
    pub fn feeds(&self) -> impl Iterator<Item = Feed> {
        self.feeds.iter().cloned()
    }

    /// Which end of each session is the host's own.
    pub fn perspective(&self) -> &Perspective {
        &self.perspective
    }

    /// Annotations told so far.
    pub fn annotations(&self) -> impl Iterator<Item = &Annotation> {
        self.changes_told.annotations()
    }

    /// Adds what this run learned to what was known before.
    pub fn learn(&self, baseline: &mut Baseline) {
        baseline.learn(&self.net, &self.board);
    }

    /// What was known before the first event, and from where: for reports.
    pub fn known(&self) -> &[String] {
        &self.known
    }

    /// Tells what is known before the first event.
    pub fn prepare(&mut self, prepared: &Prepared) {
        self.known.extend(prepared.known.iter().cloned());
        self.set_maintenance(prepared.maintenance.clone());
        for annotation in &prepared.annotations {
            self.changes_told.add(annotation);
        }
    }

    /// The maintenance windows of the configuration, instead of those before. Incidents that are open are judged by them again.
    pub fn set_maintenance(&mut self, windows: Vec<Window>) {
        self.changes_told.set_windows(windows);
        if self.from.is_some() {
            self.correlator.change_told(self.now);
            self.deadline = self.earliest_after(self.now);
        }
    }

    /// What was watched.
    pub fn visibility(&self) -> &Visibility {
        &self.visibility
    }

    /// The `top` least stable prefixes, worst first.
    pub fn prefixes(&self, top: usize) -> Vec<detect::prefix::rows::PrefixRow> {
        detect::prefix::rows::prefixes(&self.net, self.now, top)
    }

    /// BGP sessions seen, at most `top`.
    pub fn sessions(&self, top: usize) -> Vec<detect::prefix::rows::SessionRow> {
        detect::prefix::rows::sessions(&self.net, &self.perspective, top)
    }

    /// DHCP servers seen.
    pub fn servers(&self) -> Vec<crate::state::leases::rows::ServerRow> {
        self.net.leases.server_rows()
    }

    /// DHCP clients seen.
    pub fn clients(&self) -> Vec<crate::state::leases::rows::ClientRow> {
        self.net.leases.client_rows()
    }

    /// What was not watched, as sentences for the whole report.
    pub fn blind_spots(&self) -> Vec<String> {
        let seen = &self.visibility;
        let mut blind = Vec::new();
        if !seen.kernel {
            blind.push(blind::NO_NETLINK.to_owned());
        }
        if !seen.bgp_packets && !seen.bmp && !seen.mrt {
            blind.push(blind::NO_BGP.to_owned());
        } else if !seen.bmp && !seen.mrt {
            blind.push(blind::NO_BMP.to_owned());
        }
        if seen.mid_session {
            blind.push(blind::MID_SESSION.to_owned());
        }
        if seen.bgp_packets && !seen.bfd {
            blind.push(blind::NO_BFD.to_owned());
        }
        blind.extend(self.unfollowed.sentences());
        if self.board.refused > 0 {
            blind.push(format!(
                "{} findings were not kept: too many at once",
                self.board.refused
            ));
        }
        blind
    }

    /// Whether anything was seen that says something of a network: not only sources, losses and damage.
    pub fn saw_anything(&self) -> bool {
        self.visibility.anything
    }

    /// What was handled.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}
