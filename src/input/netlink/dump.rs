//! Which table is dumped when, and how a dump is asked for.
//!
//! [`Dumps`] is a plain state machine over time stamps. One dump runs at a time (the kernel allows one for each socket); what is wanted
//! twice is dumped once. It answers the three reasons for a dump: the baseline, a loss (`ENOBUFS`), and the kernel's silence about the
//! routes it kills with their links and addresses (law 6).

use std::collections::BTreeSet;
use std::time::Duration;

use crate::event::Timestamp;

/// Quiet time after a link or address event before routes are dumped: a fault comes as a burst of them.
pub const DEBOUNCE: Duration = Duration::from_millis(250);
/// Least time between two dumps for link and address events; a longer burst is not waited for beyond it.
pub const REDUMP_LEAST: Duration = Duration::from_secs(2);
/// Longest wait after repeated losses: dumping all tables of a router that drowns us drowns us more.
pub const OVERRUN_MOST: Duration = Duration::from_secs(10);
/// After so long without a loss the next one is the first again.
const OVERRUN_FORGET: Duration = Duration::from_secs(60);
/// Dumping for link and address events may take one part in so many of the time: a full table takes seconds.
const COST: u32 = 20;
/// And is done at least this often when there are such events.
const APART_MOST: Duration = Duration::from_secs(60);
/// A dump of which nothing was heard for so long is given up: the kernel sends the next part when the last one was read.
const STUCK: Duration = Duration::from_secs(10);
/// A table that changes all the time interrupts each dump of it (`NLM_F_DUMP_INTR`): tries in a row.
const MAX_TRIES: u32 = 4;

const NLM_F_REQUEST: u16 = 0x01;
/// `NLM_F_ROOT | NLM_F_MATCH`.
const NLM_F_DUMP: u16 = 0x300;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IFLA_EXT_MASK: u16 = 29;
/// `RTEXT_FILTER_SKIP_STATS`: counters make two thirds of a link's message and are not looked at.
const SKIP_STATS: u32 = 1 << 3;

/// The tables that are dumped, in the order of the baseline: what others refer to comes first.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub enum Table {
    Links,
    Addresses,
    Neighbors,
    Rules4,
    Rules6,
    Netconf4,
    Netconf6,
    Nexthops,
    Routes4,
    Routes6,
}

impl Table {
    /// All tables.
    pub const ALL: [Table; 10] = [
        Table::Links,
        Table::Addresses,
        Table::Neighbors,
        Table::Rules4,
        Table::Rules6,
        Table::Netconf4,
        Table::Netconf6,
        Table::Nexthops,
        Table::Routes4,
        Table::Routes6,
    ];
    /// What the kernel changes without a word.
    const SILENT: [Table; 3] = [Table::Nexthops, Table::Routes4, Table::Routes6];

    /// Message type, family and octets of the fixed header (linux/rtnetlink.h, neighbour.h, fib_rules.h, netconf.h, nexthop.h, if_addr.h).
    fn shape(self) -> (u16, u8, usize) {
        match self {
            Table::Links => (18, 0, 16),
            Table::Addresses => (22, 0, 8),
            Table::Neighbors => (30, 0, 12),
            Table::Rules4 => (34, AF_INET, 12),
            Table::Rules6 => (34, AF_INET6, 12),
            Table::Netconf4 => (82, AF_INET, 4),
            Table::Netconf6 => (82, AF_INET6, 4),
            Table::Nexthops => (106, 0, 8),
            Table::Routes4 => (26, AF_INET, 12),
            Table::Routes6 => (26, AF_INET6, 12),
        }
    }

    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Table::Links => "links",
            Table::Addresses => "addresses",
            Table::Neighbors => "neighbors",
            Table::Rules4 => "IPv4 rules",
            Table::Rules6 => "IPv6 rules",
            Table::Netconf4 => "IPv4 settings of interfaces",
            Table::Netconf6 => "IPv6 settings of interfaces",
            Table::Nexthops => "nexthop objects",
            Table::Routes4 => "IPv4 routes",
            Table::Routes6 => "IPv6 routes",
        }
    }

    /// The request for a whole dump: everything but the family is zero, as strict checking wants it (`NETLINK_GET_STRICT_CHK`).
    pub fn request(self, seq: u32, port: u32) -> Vec<u8> {
        let (kind, family, fixed) = self.shape();
        let mut body = vec![0u8; fixed];
        if let Some(first) = body.first_mut() {
            *first = family;
        }
        if self == Table::Links {
            body.extend_from_slice(&8u16.to_ne_bytes());
            body.extend_from_slice(&IFLA_EXT_MASK.to_ne_bytes());
            body.extend_from_slice(&SKIP_STATS.to_ne_bytes());
        }
        let length = (16 + body.len()) as u32; // at most 40 octets
        let mut message = Vec::with_capacity(16 + body.len());
        message.extend_from_slice(&length.to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
        message.extend_from_slice(&seq.to_ne_bytes());
        message.extend_from_slice(&port.to_ne_bytes());
        message.append(&mut body);
        message
    }
}

struct Running {
    table: Table,
    seq: u32,
    heard: Timestamp,
    tries: u32,
}

/// When to dump what.
#[derive(Default)]
pub struct Dumps {
    wanted: BTreeSet<Table>,
    /// Tables that the kernel refuses to dump.
    refused: BTreeSet<Table>,
    running: Option<Running>,
    seq: u32,
    /// First and last link or address event that no dump has answered yet.
    touched: Option<(Timestamp, Timestamp)>,
    /// When the silent tables were last dumped for such events.
    redumped: Option<Timestamp>,
    /// Least time to the next such dump.
    apart: Duration,
    /// When the tables shall be dumped after a loss.
    resync: Option<Timestamp>,
    /// Last loss, and how long the dump after it waits.
    overrun: Option<(Timestamp, Duration)>,
    /// How often the table at hand was interrupted.
    interrupted: u32,
}

impl Dumps {
    /// Wants all tables now: the baseline.
    pub fn baseline(&mut self) {
        self.wanted.extend(Table::ALL);
    }

    /// A link, its carrier or an address changed.
    pub fn touched(&mut self, at: Timestamp) {
        let first = self.touched.map_or(at, |(first, _)| first);
        self.touched = Some((first, at));
    }

    /// Something was lost: all tables are dumped again, soon at first, later and later when it goes on.
    pub fn overrun(&mut self, at: Timestamp) {
        let wait = match self.overrun {
            Some((last, wait)) if at.since(last) < OVERRUN_FORGET => {
                if self.resync.is_none() {
                    (wait * 2).clamp(REDUMP_LEAST, OVERRUN_MOST)
                } else {
                    wait
                }
            }
            // The first loss is answered as soon as its burst may be over.
            _ => DEBOUNCE,
        };
        self.overrun = Some((at, wait));
        self.resync.get_or_insert(at + wait);
    }

    /// What to ask for at `now`: table and sequence number of the request. The caller sends it.
    pub fn next(&mut self, now: Timestamp) -> Option<(Table, u32)> {
        if self.resync.is_some_and(|at| at <= now) {
            self.resync = None;
            // What runs was begun before the loss: it may lack what came since.
            self.wanted.extend(Table::ALL);
        }
        if self.touched_due().is_some_and(|at| at <= now) {
            self.touched = None;
            self.redumped = Some(now);
            self.wanted.extend(Table::SILENT);
        }
        if let Some(running) = &self.running {
            if now.since(running.heard) < STUCK {
                return None;
            }
            let table = running.table;
            self.running = None;
            self.wanted.insert(table);
        }
        let table = loop {
            let table = self.wanted.pop_first()?;
            if !self.refused.contains(&table) {
                break table;
            }
        };
        // 0 is the sequence number of notifications.
        self.seq = self.seq.wrapping_add(1).max(1);
        self.running = Some(Running {
            table,
            seq: self.seq,
            heard: now,
            tries: self.interrupted,
        });
        Some((table, self.seq))
    }

    /// A part of the dump with this sequence number came.
    pub fn heard(&mut self, seq: u32, at: Timestamp) {
        if let Some(running) = self.running.as_mut().filter(|running| running.seq == seq) {
            running.heard = at;
        }
    }

    /// A dump ended; `interrupted` when the table changed meanwhile: then it is tried again.
    pub fn done(&mut self, seq: u32, interrupted: bool, at: Timestamp) {
        let Some(running) = self.running.take_if(|running| running.seq == seq) else {
            return;
        };
        self.interrupted = 0;
        if interrupted && running.tries + 1 < MAX_TRIES {
            self.interrupted = running.tries + 1;
            self.wanted.insert(running.table);
        }
        if let Some(began) = self.redumped
            && running.table == Table::Routes6
        {
            self.apart = at.since(began).saturating_mul(COST).min(APART_MOST);
        }
    }

    /// The kernel refused a dump; the table, if that was the running one. It is not asked for again.
    pub fn failed(&mut self, seq: u32) -> Option<Table> {
        let running = self.running.take_if(|running| running.seq == seq)?;
        self.refused.insert(running.table);
        Some(running.table)
    }

    fn touched_due(&self) -> Option<Timestamp> {
        let (first, last) = self.touched?;
        let quiet = (last + DEBOUNCE).min(first + REDUMP_LEAST);
        Some(match self.redumped {
            Some(at) => quiet.max(at + REDUMP_LEAST.max(self.apart)),
            None => quiet,
        })
    }

    /// The next time at which [`next`](Self::next) has something to do by itself.
    pub fn deadline(&self) -> Option<Timestamp> {
        let stuck = self.running.as_ref().map(|running| running.heard + STUCK);
        let ready = (self.running.is_none() && !self.wanted.is_empty()).then_some(Timestamp::MIN);
        [stuck, ready, self.resync, self.touched_due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Nothing runs, nothing is wanted, nothing is due.
    pub fn is_settled(&self) -> bool {
        self.running.is_none()
            && self.wanted.is_empty()
            && self.resync.is_none()
            && self.touched.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp(ms * 1_000_000)
    }

    /// Runs all dumps that are due at `ms`; their tables.
    fn run(dumps: &mut Dumps, ms: i64) -> Vec<Table> {
        let mut tables = Vec::new();
        while let Some((table, seq)) = dumps.next(at(ms)) {
            tables.push(table);
            dumps.done(seq, false, at(ms));
        }
        tables
    }

    #[test]
    fn the_baseline_lists_what_others_refer_to_first_and_one_dump_runs_at_a_time() {
        let mut dumps = Dumps::default();
        dumps.baseline();
        let (table, seq) = dumps.next(at(0)).unwrap();
        assert_eq!((table, dumps.next(at(0))), (Table::Links, None));
        dumps.done(seq, false, at(0));
        assert_eq!(run(&mut dumps, 0), Table::ALL[1..]);
        assert!(dumps.is_settled());
    }

    #[test]
    fn a_burst_of_link_events_is_one_dump_after_it_and_a_flood_at_most_one_in_two_seconds() {
        let mut dumps = Dumps::default();
        for ms in [0, 100, 200] {
            dumps.touched(at(ms));
            assert!(run(&mut dumps, ms).is_empty());
        }
        assert!(run(&mut dumps, 449).is_empty());
        assert_eq!(run(&mut dumps, 450), Table::SILENT);
        let mut times = Vec::new();
        for ms in (500..20_000).step_by(50) {
            dumps.touched(at(ms));
            if !run(&mut dumps, ms).is_empty() {
                times.push(ms);
            }
        }
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 2000));
        assert!((8..=10).contains(&times.len()), "{times:?}");
    }

    #[test]
    fn a_loss_is_answered_soon_and_a_flood_of_them_ever_later() {
        let mut dumps = Dumps::default();
        let mut times = Vec::new();
        for ms in (0..60_000).step_by(50) {
            dumps.overrun(at(ms));
            if !run(&mut dumps, ms).is_empty() {
                times.push(ms);
            }
        }
        assert!(times[0] <= 300);
        assert!(times[1] - times[0] >= 2000);
        assert!(times.last().unwrap() - times[times.len() - 2] >= 10_000);
        run(&mut dumps, 100_000);
        dumps.overrun(at(200_000));
        assert!(run(&mut dumps, 200_000).is_empty());
        assert_eq!(run(&mut dumps, 200_250), Table::ALL);
    }

    #[test]
    fn interrupted_dumps_are_repeated_a_few_times_and_refused_ones_never() {
        let mut dumps = Dumps::default();
        dumps.touched(at(0));
        let mut tries = 0;
        while let Some((_, seq)) = dumps.next(at(1000)) {
            tries += 1;
            dumps.done(seq, true, at(1000));
        }
        assert_eq!(tries, 3 * MAX_TRIES);
        dumps.touched(at(10_000));
        let (_, seq) = dumps.next(at(11_000)).unwrap();
        assert_eq!(dumps.failed(seq), Some(Table::Nexthops));
        assert_eq!(run(&mut dumps, 11_000), [Table::Routes4, Table::Routes6]);
        dumps.baseline();
        assert!(!run(&mut dumps, 12_000).contains(&Table::Nexthops));
    }

    #[test]
    fn a_dump_that_falls_silent_is_asked_for_again() {
        let mut dumps = Dumps::default();
        dumps.baseline();
        let (_, seq) = dumps.next(at(0)).unwrap();
        dumps.heard(seq, at(5000));
        assert_eq!(dumps.next(at(14_000)), None);
        let (again, other) = dumps.next(at(15_000)).unwrap();
        assert_eq!(again, Table::Links);
        assert_ne!(seq, other);
        dumps.done(seq, false, at(15_000));
        assert_eq!(dumps.next(at(15_000)), None);
    }
}
