//! The thread of one sink: takes what waits, one at a time and in order, tries until the receiver has it, and moves the cursor.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Notice;
use super::backoff::{Backoff, random};
use super::clerk::now;
use super::queue::{Entry, Kept, Queue};
use super::sink::{Failure, Outcome, Reason, Sink};
use super::spool::{Cursor, Spool};

/// One side of a sink is its thread, the other the clerk's.
pub(super) struct Hand {
    pub name: String,
    /// Kind of sink and where it leads, without secrets.
    pub to: String,
    /// The spool's folder, where there is one.
    folder: Option<PathBuf>,
    state: Mutex<State>,
    wake: Condvar,
}

pub(super) struct State {
    pub queue: Queue,
    pub cursor: Cursor,
    /// The number behind the last one that was handed over.
    pub handed: u64,
    /// Until then it may go on; afterwards it ends.
    pub end_at: Option<Instant>,
    pub reopen: bool,
    trials: VecDeque<Box<Trial>>,
    /// Its thread is gone.
    pub gone: bool,
    /// The cursor differs from what is on disk.
    moved: bool,
    pub score: Score,
}

/// What happened so far.
#[derive(Clone, Debug, Default)]
pub struct Score {
    pub delivered: u64,
    pub failures: BTreeMap<Reason, u64>,
    /// Notices that the receiver refused for good.
    pub refused: u64,
    pub failing_since: Option<Instant>,
    pub last_failure: Option<String>,
}

/// Somebody wants to know whether a notice arrives.
pub(super) struct Trial {
    pub notice: Notice,
    pub heard: Sender<(String, Result<String, String>)>,
}

/// How a sink does, for whoever asks.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Status {
    pub name: String,
    pub to: String,
    pub waiting: usize,
    /// How long what is at the front waits, seconds.
    pub lag_s: f64,
    pub delivered: u64,
    /// Tries that failed, by reason.
    pub failures: BTreeMap<&'static str, u64>,
    /// Notices that the receiver does not want.
    pub refused: u64,
    /// Notices that found no room.
    pub dropped: u64,
    /// Older revisions that gave way.
    pub superseded: u64,
    /// Since how many seconds nothing arrives.
    pub failing_s: Option<f64>,
    pub last_failure: Option<String>,
    /// Number of the next notice in the spool.
    pub cursor: u64,
}

enum Job {
    Deliver(Entry),
    Try(Box<Trial>),
    Tend,
    Reopen,
}

impl State {
    /// There is nothing for it below `number`.
    pub(super) fn moved_to(&mut self, number: u64) {
        self.handed = number;
        self.cursor.next = number;
        self.moved = true;
    }
}

impl Hand {
    pub(super) fn new(
        name: String,
        to: String,
        folder: Option<PathBuf>,
        bound: usize,
        cursor: Cursor,
    ) -> Hand {
        Hand {
            name,
            to,
            folder,
            state: Mutex::new(State {
                queue: Queue::new(bound),
                handed: cursor.next,
                cursor,
                end_at: None,
                reopen: false,
                trials: VecDeque::new(),
                gone: false,
                moved: false,
                score: Score::default(),
            }),
            wake: Condvar::new(),
        }
    }

    /// The state. A sink that panicked leaves it as whole as it was: nothing is changed halfway.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands an entry over.
    pub(super) fn push(&self, entry: Entry) {
        let mut state = self.state();
        state.handed = entry.number + 1;
        state.queue.push(entry);
        drop(state);
        self.wake.notify_one();
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) fn try_out(&self, trial: Trial) {
        self.state().trials.push_back(Box::new(trial));
        self.wake.notify_one();
    }

    /// Keeps the cursor, if it moved. Whether the disk takes it.
    pub(super) fn keep_cursor(&self) -> bool {
        let (cursor, Some(folder)) = ({
            let mut state = self.state();
            if !std::mem::take(&mut state.moved) {
                return true;
            }
            (state.cursor.clone(), &self.folder)
        }) else {
            return true;
        };
        let kept = cursor.write(folder, &self.name).is_ok();
        if !kept {
            self.state().moved = true;
        }
        kept
    }

    /// The clerk says that its receiver is dead, or no longer.
    pub(super) fn mark_dead(&self, id: Option<String>) {
        let mut state = self.state();
        state.cursor.dead = id;
        state.moved = true;
    }

    pub(super) fn status(&self) -> Status {
        let state = self.state();
        let now = now();
        let seconds = |since: Instant| now.saturating_duration_since(since).as_secs_f64();
        Status {
            name: self.name.clone(),
            to: self.to.clone(),
            waiting: state.queue.len(),
            lag_s: state
                .queue
                .front()
                .map_or(0.0, |entry| seconds(entry.posted)),
            delivered: state.score.delivered,
            failures: Reason::ALL
                .iter()
                .map(|reason| {
                    let count = state.score.failures.get(reason).copied();
                    (reason.as_str(), count.unwrap_or(0))
                })
                .collect(),
            refused: state.score.refused,
            dropped: state.queue.dropped,
            superseded: state.queue.superseded,
            failing_s: state.score.failing_since.map(seconds),
            last_failure: state.score.last_failure.clone(),
            cursor: state.cursor.next,
        }
    }

    /// Runs until it is told to end. `news` are sentences for whoever runs the program.
    pub(super) fn run(self: Arc<Self>, mut sink: Box<dyn Sink>, news: &Sender<String>) {
        let mut backoff = Backoff::default();
        let mut not_before: Option<Instant> = None;
        while let Some(job) = self.next(sink.as_ref(), not_before) {
            match job {
                Job::Reopen => sink.reopen(),
                Job::Try(trial) => {
                    let said = match sink.deliver(&trial.notice) {
                        Outcome::Done(said) => Ok(said),
                        Outcome::Again(failure, _) | Outcome::Never(failure) => Err(failure.why),
                    };
                    let _ = trial.heard.send((self.name.clone(), said)); // it may have left
                }
                Job::Tend => {
                    // What is due will be due again: its failure is only counted.
                    if let Outcome::Again(failure, _) | Outcome::Never(failure) = sink.tend() {
                        self.failed(&failure);
                    }
                }
                Job::Deliver(entry) => {
                    let Some(notice) = self.read(&entry) else {
                        let mut state = self.state();
                        state.queue.dropped += 1;
                        drop(state);
                        self.moved_past(&entry);
                        continue;
                    };
                    match sink.deliver(&notice) {
                        Outcome::Done(_) => {
                            backoff.worked();
                            not_before = None;
                            self.worked();
                            self.moved_past(&entry);
                        }
                        Outcome::Never(failure) => {
                            self.refused(&notice, &failure, news);
                            self.moved_past(&entry);
                        }
                        Outcome::Again(failure, asked) => {
                            if backoff.failures() == 0 {
                                let sentence =
                                    format!("sink {}: {}; trying on", self.name, failure.why);
                                let _ = news.send(sentence); // nobody listens any more
                            }
                            self.failed(&failure);
                            not_before = Some(now() + backoff.failed(random(), asked));
                        }
                    }
                }
            }
        }
        self.keep_cursor();
        self.state().gone = true;
    }

    /// Waits for something to do; `None`: the end.
    fn next(&self, sink: &dyn Sink, not_before: Option<Instant>) -> Option<Job> {
        /// Nothing has to be looked at more often than this.
        const LONG: Duration = Duration::from_secs(3600);
        let mut state = self.state();
        loop {
            let now = now();
            if std::mem::take(&mut state.reopen) {
                return Some(Job::Reopen);
            }
            if let Some(trial) = state.trials.pop_front() {
                return Some(Job::Try(trial));
            }
            let held = not_before.filter(|until| *until > now);
            let front = state.queue.front().cloned();
            match state.end_at {
                // What is left is in the spool; whoever does not answer now would only hold up the end.
                Some(end) if front.is_none() || held.is_some() || end <= now => return None,
                _ => {}
            }
            let due = sink.due();
            if due.is_some_and(|due| due <= now) {
                return Some(Job::Tend);
            }
            if let (Some(entry), None) = (&front, held) {
                return Some(Job::Deliver(entry.clone()));
            }
            let until = [due, held.filter(|_| front.is_some())]
                .into_iter()
                .flatten()
                .min()
                .map_or(LONG, |until| until.saturating_duration_since(now));
            state = self
                .wake
                .wait_timeout(state, until)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn read(&self, entry: &Entry) -> Option<Notice> {
        let text = match (&entry.kept, &self.folder) {
            (Kept::Memory(text), _) => return parse(text),
            (Kept::Disk(place), Some(folder)) => Spool::read(folder, *place).ok()?,
            (Kept::Disk(_), None) => return None,
        };
        parse(&text)
    }

    fn moved_past(&self, entry: &Entry) {
        let mut state = self.state();
        state.queue.done(entry.number);
        let next = state.queue.front().map(|entry| entry.number);
        state.cursor.next = next.unwrap_or(state.handed).max(state.cursor.next);
        state.moved = true;
        drop(state);
        self.keep_cursor();
    }

    fn worked(&self) {
        let score = &mut self.state().score;
        score.delivered += 1;
        score.failing_since = None;
        score.last_failure = None;
    }

    fn failed(&self, failure: &Failure) {
        let score = &mut self.state().score;
        *score.failures.entry(failure.reason).or_default() += 1;
        score.failing_since.get_or_insert_with(now);
        score.last_failure = Some(failure.why.clone());
    }

    fn refused(&self, notice: &Notice, failure: &Failure, news: &Sender<String>) {
        let score = &mut self.state().score;
        *score.failures.entry(failure.reason).or_default() += 1;
        score.refused += 1;
        score.last_failure = Some(failure.why.clone());
        // Once in a row of them: a wrong token refuses everything.
        if score.refused == 1 {
            let sentence = format!(
                "sink {}: {}: {} is not delivered, nor what else is refused so",
                self.name,
                failure.why,
                notice.key()
            );
            let _ = news.send(sentence); // nobody listens any more
        }
    }
}

/// A record of the spool.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Record {
    /// Names of the sinks that it is for.
    pub to: Vec<String>,
    pub notice: Notice,
}

fn parse(text: &str) -> Option<Notice> {
    serde_json::from_str::<Record>(text)
        .ok()
        .map(|record| record.notice)
}
