//! The clerk: takes what is posted, writes it to the spool, hands it to the sinks it is for, and says what went wrong with one of them
//! through the others.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::open::Open;
use super::plan::Plan;
use super::queue::{Entry, Kept};
use super::sink::Sink;
use super::spool::{Cursor, Spool};
use super::worker::{Hand, Record, Status, Trial};
use super::{Notice, Stage, Urgency};

/// Notices between whoever posts and the clerk. Taking one out costs a write to the page cache, so this is what may come while a disk
/// takes half a minute for an fsync; 4 kB each.
const CHANNEL: usize = 4096;
/// Notices that one fsync is for.
const BATCH: usize = 256;
/// What is not critical may be lost to a power cut for so long.
const SYNC: Duration = Duration::from_secs(1);
/// A receiver that takes nothing for so long is told to be dead. Shorter is a restart.
const DEAD: Duration = Duration::from_secs(15 * 60);
/// Octets kept in memory while there is no spool or the disk takes nothing.
const MEMORY: usize = 16 << 20;
/// Octets of a spool, unless the configuration says otherwise: some 15,000 alerts.
pub const SPOOL: u64 = 64 << 20;

/// What a delivery needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Without one, what is not delivered is lost with the process.
    pub spool: Option<PathBuf>,
    pub limit: u64,
    pub host: Option<String>,
    /// A receiver is dead after this.
    pub dead: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            spool: None,
            limit: SPOOL,
            host: None,
            dead: DEAD,
        }
    }
}

enum Order {
    Post(Box<Notice>, Vec<String>),
    Reopen,
    /// Other sinks from now on: those that stay are named.
    Sinks(BTreeSet<String>, Vec<(Plan, Box<dyn Sink>)>),
    End(Duration),
}

/// The way in. Dropped, it leaves what is not delivered in the spool.
pub struct Delivery {
    orders: SyncSender<Order>,
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
    /// Sentences for whoever runs the program.
    pub news: Receiver<String>,
    /// What a run before told and did not end.
    pub left: Vec<Record>,
}

/// A second way in, for who only asks.
#[derive(Clone)]
pub struct Inquiry(Arc<Desk>);

/// What clerk and callers share.
struct Desk {
    hands: Mutex<Vec<Arc<Hand>>>,
    /// Notices that found the channel full.
    overrun: AtomicU64,
    /// Octets on disk.
    spooled: AtomicU64,
}

impl Desk {
    fn hands(&self) -> Vec<Arc<Hand>> {
        self.hands
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

struct Clerk {
    settings: Settings,
    spool: Option<Spool>,
    open: Open,
    /// The disk takes nothing.
    stuck: bool,
    /// Number of the next notice.
    number: u64,
    desk: Arc<Desk>,
    news: Sender<String>,
    /// What is in memory because no spool took it.
    memory: Vec<Weak<str>>,
    last_sync: Instant,
    last_open: Instant,
    ending: bool,
    /// Lost already when it was last said, by sink.
    said: Vec<(String, u64)>,
    said_overrun: u64,
    words: u32,
}

/// The only clock of these rooms.
#[expect(clippy::disallowed_methods, reason = "receivers answer in time or not")]
pub fn now() -> Instant {
    Instant::now()
}

impl Delivery {
    /// Opens the spool and starts the sinks. Each takes up what it did not deliver before.
    pub fn start(settings: Settings, sinks: Vec<(Plan, Box<dyn Sink>)>) -> io::Result<Delivery> {
        let (orders, taken) = mpsc::sync_channel(CHANNEL);
        let (tell, news) = mpsc::channel();
        let desk = Arc::new(Desk {
            hands: Mutex::default(),
            overrun: AtomicU64::new(0),
            spooled: AtomicU64::new(0),
        });
        let mut clerk = Clerk {
            spool: None,
            open: Open::default(),
            stuck: false,
            number: 1,
            desk: Arc::clone(&desk),
            news: tell,
            memory: Vec::new(),
            last_sync: now(),
            last_open: now(),
            ending: false,
            said: Vec::new(),
            said_overrun: 0,
            words: 0,
            settings,
        };
        clerk.open(sinks)?;
        let left = clerk.open.all();
        let thread = std::thread::Builder::new()
            .name("deliver".to_owned())
            .spawn(move || clerk.run(&taken))?;
        Ok(Delivery {
            orders,
            desk,
            thread: Some(thread),
            news,
            left,
        })
    }

    /// Posts a notice to the sinks named. Never waits: where the disk is so slow that the channel is full, the notice is counted as lost.
    pub fn post(&self, notice: Notice, to: Vec<String>) {
        if let Err(TrySendError::Full(_)) = self.orders.try_send(Order::Post(Box::new(notice), to))
        {
            self.desk.overrun.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Files may have been renamed.
    pub fn reopen(&self) {
        let _ = self.orders.send(Order::Reopen); // it has ended
    }

    /// From now on only sinks in `stay` and those in `new`.
    pub fn change(&self, stay: BTreeSet<String>, new: Vec<(Plan, Box<dyn Sink>)>) {
        let _ = self.orders.send(Order::Sinks(stay, new)); // as above
    }

    /// For who only asks.
    pub fn inquiry(&self) -> Inquiry {
        Inquiry(Arc::clone(&self.desk))
    }

    /// Lets the sinks go on for `patience` with what they have, then ends. What is left is in the spool.
    pub fn end(mut self, patience: Duration) -> Vec<String> {
        let _ = self.orders.send(Order::End(patience)); // it has ended
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it panicked: nothing more to save
        }
        self.news.try_iter().collect()
    }
}

impl Inquiry {
    /// How each sink does.
    pub fn status(&self) -> Vec<Status> {
        self.0.hands().iter().map(|hand| hand.status()).collect()
    }

    /// Octets of the spool on disk.
    pub fn spooled(&self) -> u64 {
        self.0.spooled.load(Ordering::Relaxed)
    }

    /// Notices that were lost before the spool.
    pub fn overrun(&self) -> u64 {
        self.0.overrun.load(Ordering::Relaxed)
    }

    /// Hands `notice` to the sink `name` (all, if `None`) past its queue; what each answered, as far as it did within `patience`.
    pub fn try_out(
        &self,
        name: Option<&str>,
        notice: &Notice,
        patience: Duration,
    ) -> Vec<(String, Result<String, String>)> {
        let hands: Vec<Arc<Hand>> = self
            .0
            .hands()
            .into_iter()
            .filter(|hand| name.is_none_or(|name| hand.name == name))
            .collect();
        let (tell, heard) = mpsc::channel();
        for hand in &hands {
            hand.try_out(Trial {
                notice: notice.clone(),
                heard: tell.clone(),
            });
        }
        drop(tell);
        let end = now() + patience;
        let mut answers = Vec::new();
        while answers.len() < hands.len() {
            match heard.recv_timeout(end.saturating_duration_since(now())) {
                Ok(answer) => answers.push(answer),
                Err(_) => break,
            }
        }
        for hand in hands {
            if !answers.iter().any(|(name, _)| *name == hand.name) {
                let late = format!("no answer within {} s", patience.as_secs());
                answers.push((hand.name.clone(), Err(late)));
            }
        }
        answers.sort_by(|a, b| a.0.cmp(&b.0));
        answers
    }
}

impl Clerk {
    fn open(&mut self, sinks: Vec<(Plan, Box<dyn Sink>)>) -> io::Result<()> {
        let cursors = sinks.iter().map(|(plan, _)| {
            let folder = self.settings.spool.as_deref();
            folder.and_then(|folder| Cursor::read(folder, &plan.name))
        });
        let cursors: Vec<Option<Cursor>> = cursors.collect();
        let mut found: Vec<(Entry, Vec<String>)> = Vec::new();
        // What everybody has is not remembered. A sink without a cursor is new and begins with what comes.
        let known = cursors.iter().flatten().map(|cursor| cursor.next);
        let oldest = known.min().unwrap_or(u64::MAX);
        let (mut open, upto) = Open::read(self.settings.spool.as_deref());
        if let Some(folder) = self.settings.spool.clone() {
            let (mut spool, damaged) =
                Spool::open(&folder, self.settings.limit, &mut |number, place, text| {
                    if number < oldest && number < upto {
                        return;
                    }
                    if let Ok(record) = serde_json::from_str::<Record>(text) {
                        if number >= upto {
                            open.heard(number, &record);
                        }
                        if number < oldest {
                            return;
                        }
                        let Record { to, notice } = record;
                        let entry = Entry {
                            number,
                            id: notice.id.into(),
                            rev: notice.rev,
                            stage: notice.stage,
                            posted: now(),
                            kept: Kept::Disk(place),
                        };
                        found.push((entry, to));
                    }
                })?;
            if damaged > 0 {
                self.say(format!(
                    "{damaged} octets of the spool {} cannot be read: a crash tore what was being written",
                    folder.display()
                ));
            }
            let ahead = cursors.iter().flatten().map(|cursor| cursor.next).max();
            spool.begin_at(ahead.unwrap_or(1));
            self.number = spool.next();
            self.spool = Some(spool);
            open.keep(self.number);
            self.open = open;
        }
        for ((plan, sink), cursor) in sinks.into_iter().zip(cursors) {
            let hand = self.hire(plan, sink, cursor)?;
            let from = hand.state().cursor.next;
            for (entry, to) in &found {
                if entry.number >= from && to.contains(&hand.name) {
                    hand.push(entry.clone());
                }
            }
        }
        Ok(())
    }

    /// Starts a sink.
    fn hire(
        &mut self,
        plan: Plan,
        sink: Box<dyn Sink>,
        cursor: Option<Cursor>,
    ) -> io::Result<Arc<Hand>> {
        let cursor = cursor.unwrap_or(Cursor {
            next: self.number,
            dead: None,
        });
        let folder = self.settings.spool.clone();
        let to = plan.target.to_string();
        if let Some(folder) = &folder
            && let Err(error) = cursor.write(folder, &plan.name)
        {
            // Written at once: a sink that never delivers anything must not begin anew with each start.
            self.say(format!(
                "the spool does not keep where {} is: {error}",
                plan.name
            ));
        }
        let hand = Arc::new(Hand::new(plan.name, to, folder, plan.bound, cursor));
        let (its, news) = (Arc::clone(&hand), self.news.clone());
        std::thread::Builder::new()
            // The kernel shows fifteen octets of it.
            .name(format!("to {:.12}", hand.name))
            .spawn(move || its.run(sink, &news))?;
        self.desk
            .hands
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&hand));
        Ok(hand)
    }

    fn run(mut self, orders: &Receiver<Order>) {
        let patience = loop {
            // Idle it sleeps for as long as nothing could become due.
            let wait = if self.spool.as_ref().is_some_and(Spool::is_dirty) || self.stuck {
                SYNC
            } else {
                self.settings.dead.min(Duration::from_secs(10))
            };
            let mut critical = false;
            let mut end = None;
            match orders.recv_timeout(wait) {
                Ok(order) => {
                    let more = std::iter::once(order).chain(orders.try_iter()).take(BATCH);
                    for order in more {
                        match order {
                            Order::Post(notice, to) => critical |= self.post(*notice, to),
                            Order::Reopen => self.reopen(),
                            Order::Sinks(stay, new) => self.change(&stay, new),
                            Order::End(patience) => end = Some(patience),
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => end = Some(Duration::ZERO),
            }
            self.tend(critical);
            if let Some(patience) = end {
                break patience;
            }
        };
        self.ending = true;
        self.tend(true);
        let end_at = now() + patience;
        let hands = self.desk.hands();
        for hand in &hands {
            hand.state().end_at = Some(end_at);
            hand.wake();
        }
        // A sink in the middle of a try that takes longer is left behind.
        while now() < end_at && !hands.iter().all(|hand| hand.state().gone) {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let left: usize = hands.iter().map(|hand| hand.state().queue.len()).sum();
        if left > 0 {
            let what = match self.spool {
                Some(_) => "wait in the spool for the next start",
                None => "are lost: there is no spool ([delivery] spool)",
            };
            self.say(format!("{left} undelivered notices {what}"));
        }
        self.tend(true);
    }

    /// Whether it must be on disk at once.
    fn post(&mut self, notice: Notice, to: Vec<String>) -> bool {
        let critical = notice.urgency == Urgency::Critical;
        let (id, rev, stage): (Arc<str>, _, _) =
            (notice.id.as_str().into(), notice.rev, notice.stage);
        let record = Record { to, notice };
        let Ok(text) = serde_json::to_string(&record) else {
            return false; // strings and numbers: cannot fail
        };
        let hands = self.desk.hands();
        let (number, kept) = self.keep(&text);
        let Some(kept) = kept else {
            for hand in hands.iter().filter(|hand| record.to.contains(&hand.name)) {
                hand.state().queue.dropped += 1;
            }
            return false;
        };
        self.open.heard(number, &record);
        let posted = now();
        for hand in hands.iter().filter(|hand| record.to.contains(&hand.name)) {
            hand.push(Entry {
                number,
                id: Arc::clone(&id),
                rev,
                stage,
                posted,
                kept: kept.clone(),
            });
        }
        critical
    }

    /// On disk, else in memory, else nowhere.
    fn keep(&mut self, text: &str) -> (u64, Option<Kept>) {
        if let Some(spool) = &mut self.spool {
            match spool.append(text) {
                Ok((number, place)) => {
                    self.number = number + 1;
                    if std::mem::take(&mut self.stuck) {
                        self.say("the spool takes notices again".to_owned());
                    }
                    return (number, Some(Kept::Disk(place)));
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.stuck, true) {
                        self.say(format!(
                            "the spool takes nothing ({error}): notices are kept in memory, {} MB of them",
                            MEMORY >> 20
                        ));
                    }
                }
            }
        }
        let number = self.number;
        self.number += 1;
        if let Some(spool) = &mut self.spool {
            spool.begin_at(self.number);
        }
        self.memory.retain(|kept| kept.strong_count() > 0);
        let held: usize = self
            .memory
            .iter()
            .filter_map(Weak::upgrade)
            .map(|k| k.len())
            .sum();
        if held + text.len() > MEMORY {
            return (number, None);
        }
        let kept: Arc<str> = text.into();
        self.memory.push(Arc::downgrade(&kept));
        (number, Some(Kept::Memory(kept)))
    }

    fn reopen(&mut self) {
        for hand in self.desk.hands() {
            hand.state().reopen = true;
            hand.wake();
        }
    }

    fn change(&mut self, stay: &BTreeSet<String>, new: Vec<(Plan, Box<dyn Sink>)>) {
        let mut hands = self
            .desk
            .hands
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        hands.retain(|hand| {
            let stays = stay.contains(&hand.name);
            if !stays {
                hand.state().end_at = Some(now());
                hand.wake();
            }
            stays
        });
        drop(hands);
        for (plan, sink) in new {
            let name = plan.name.clone();
            if let Err(error) = self.hire(plan, sink, None) {
                self.say(format!("sink {name} cannot be started: {error}"));
            }
        }
    }

    /// What is to be done now and then.
    fn tend(&mut self, at_once: bool) {
        let hands = self.desk.hands();
        if self.ending || self.last_open + SYNC <= now() {
            self.last_open = now();
            self.open.keep(self.number);
        }
        if let Some(spool) = &mut self.spool {
            if at_once || self.last_sync + SYNC <= now() {
                self.last_sync = now();
                if let Err(error) = spool.sync()
                    && !std::mem::replace(&mut self.stuck, true)
                {
                    let _ = self
                        .news
                        .send(format!("the spool cannot be written: {error}")); // nobody listens any more
                }
            }
            if let Some(number) = spool.over_limit() {
                for hand in &hands {
                    hand.state().queue.lose_before(number);
                }
                spool.forget_before(number);
            }
            let behind = hands
                .iter()
                .map(|hand| hand.state().queue.front().map(|entry| entry.number));
            // Nor what only the spool knows to be open.
            let known = self.open.upto();
            spool.forget_before(behind.flatten().min().unwrap_or(self.number).min(known));
            self.desk.spooled.store(spool.octets(), Ordering::Relaxed);
        }
        // One that has nothing to deliver is at the end, whoever the last notices were for.
        for hand in &hands {
            let mut state = hand.state();
            if state.queue.is_empty() && state.cursor.next < self.number {
                state.moved_to(self.number);
            }
            drop(state);
            hand.keep_cursor();
        }
        self.report_losses(&hands);
        self.report_deaths(&hands);
    }

    /// What a sink lost is said through the others; what was lost before the spool, through all.
    fn report_losses(&mut self, hands: &[Arc<Hand>]) {
        let overrun = self.desk.overrun.load(Ordering::Relaxed);
        let more = overrun - std::mem::replace(&mut self.said_overrun, overrun);
        if more > 0 {
            let title = format!("{more} alerts were lost: the spool's disk was too slow");
            self.tell(hands, None, "delivery.dropped", Stage::Opened, None, title);
        }
        for hand in hands {
            let dropped = hand.state().queue.dropped;
            let before = match self.said.iter_mut().find(|(name, _)| *name == hand.name) {
                Some((_, said)) => std::mem::replace(said, dropped),
                None => {
                    self.said.push((hand.name.clone(), dropped));
                    0
                }
            };
            if dropped > before {
                let title = format!(
                    "{} alerts for {} ({}) were dropped: it takes nothing and its queue is full",
                    dropped - before,
                    hand.name,
                    hand.to
                );
                self.tell(
                    hands,
                    Some(hand),
                    "delivery.dropped",
                    Stage::Opened,
                    None,
                    title,
                );
            }
        }
    }

    /// A receiver that takes nothing for long is told once; and when it is back.
    fn report_deaths(&mut self, hands: &[Arc<Hand>]) {
        for hand in hands {
            let (failing, dead, why) = {
                let state = hand.state();
                let score = &state.score;
                let failing = score
                    .failing_since
                    .map(|since| now().saturating_duration_since(since));
                (
                    failing,
                    state.cursor.dead.clone(),
                    score.last_failure.clone(),
                )
            };
            match (failing, dead) {
                (Some(since), None) if since >= self.settings.dead => {
                    let title = format!(
                        "alerts do not reach {} ({}) for {} minutes: {}",
                        hand.name,
                        hand.to,
                        since.as_secs() / 60,
                        why.unwrap_or_default()
                    );
                    let id = self.tell(
                        hands,
                        Some(hand),
                        "delivery.dead",
                        Stage::Opened,
                        None,
                        title,
                    );
                    hand.mark_dead(Some(id));
                }
                // Known to work only when something was delivered.
                (None, Some(id)) if hand.state().score.delivered > 0 => {
                    hand.mark_dead(None);
                    let title = format!("alerts reach {} ({}) again", hand.name, hand.to);
                    self.tell(
                        hands,
                        Some(hand),
                        "delivery.dead",
                        Stage::Resolved,
                        Some(id),
                        title,
                    );
                }
                _ => {}
            }
        }
    }

    /// Words of our own, to all sinks but one. The id under which it is known.
    fn tell(
        &mut self,
        hands: &[Arc<Hand>],
        about: Option<&Arc<Hand>>,
        kind: &str,
        stage: Stage,
        id: Option<String>,
        title: String,
    ) -> String {
        let at = wall();
        self.words += 1;
        let (rev, id) = match id {
            Some(id) => (2, id),
            None => (1, format!("d-{at}-{}", self.words)),
        };
        self.say(title.clone());
        let body = json!({
            "schema": "flapscope.delivery/1",
            "type": format!("{kind}.{}", stage.as_str()),
            "id": id,
            "rev": rev,
            "at": at,
            "host": {"name": self.settings.host},
            "sink": about.map(|hand| &hand.name),
            "title": title,
        });
        let notice = Notice {
            id: id.clone(),
            rev,
            stage,
            urgency: Urgency::Warning,
            kind: kind.to_owned(),
            title,
            text: "look at `flapscope deliver status`".to_owned(),
            steps: Vec::new(),
            advice: vec!["flapscope deliver status".to_owned()],
            host: self.settings.host.clone(),
            at: at.clone(),
            opened_at: at,
            facts: about
                .map(|hand| ("sink".to_owned(), hand.name.clone()))
                .into_iter()
                .collect(),
            link: None,
            body: body.to_string(),
            test: false,
        };
        let others = hands
            .iter()
            .filter(|hand| about.is_none_or(|about| about.name != hand.name))
            .map(|hand| hand.name.clone())
            .collect();
        self.post(notice, others);
        id
    }

    fn say(&self, sentence: String) {
        let _ = self.news.send(sentence); // nobody listens any more
    }
}

/// Now as RFC 3339.
#[expect(
    clippy::disallowed_methods,
    reason = "stamps what happens to delivery itself"
)]
fn wall() -> String {
    let now = std::time::SystemTime::now();
    jiff::Timestamp::try_from(now).map_or_else(|_| String::new(), |at| format!("{at:.9}"))
}
