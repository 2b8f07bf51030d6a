//! Watches over the readers: ticks them, ends them, and follows interfaces that come and go.
//!
//! A thread of its own from before privileges are dropped: capabilities are per thread, so it may keep CAP_NET_RAW to open interfaces
//! that appear later while the rest of the program has none. Without that right newcomers are told about and not captured.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use pcap::BreakLoop;

use super::reader::{Ended, Reader};
use super::{Choice, Handle, OpenError, Opened, Options, Why, devices, open_one, wanted};
use crate::event::{SourceKind, Timestamp};
use crate::input::live::{Confine, Duty, LiveItem, LiveSender, SourceIds, Stop, now};

/// How often readers look up. Promises of silence let the merge move on within its watermark of half a second.
const TICK: Duration = Duration::from_millis(250);

/// Ticks between two looks at the list of interfaces (2 s), when nobody told of a change.
const LOOK_EVERY: u32 = 8;

/// Looks between two full runs of the rule (30 s) although no name came or went: an uplink may have become a port.
const RULE_EVERY: u32 = 15;

enum Message {
    Ended {
        name: String,
        ended: Ended,
    },
    /// Links changed.
    Look,
    Stop,
}

/// Speaks to the supervisor. Cheap to clone.
#[derive(Clone)]
pub struct Control(Sender<Message>);

impl Control {
    /// Links changed (the netlink collector saw it): look at once, not at the next poll.
    pub fn look(&self) {
        let _ = self.0.send(Message::Look);
    }

    /// Ends all readers.
    pub fn stop(&self) {
        let _ = self.0.send(Message::Stop);
    }

    /// Ends all readers when `stop` says so.
    pub async fn stop_with(self, mut stop: Stop) {
        let _ = stop.wait_for(|stop| *stop).await; // an error means the same
        self.stop();
    }
}

struct Running {
    stop: Arc<AtomicBool>,
    breaker: BreakLoop,
}

struct Supervisor {
    options: Options,
    ids: SourceIds,
    /// `None` once stopped: then the channel closes with the last reader.
    sender: Option<LiveSender>,
    inbox: Receiver<Message>,
    outbox: Sender<Message>,
    running: BTreeMap<String, Running>,
    /// When an interface that was captured went away.
    gone: BTreeMap<String, Timestamp>,
    /// Told as not to be opened; once each.
    refused: BTreeSet<String>,
    names: String,
    /// Wanted, but down.
    down: Vec<String>,
    confine: Confine,
}

/// Starts a thread that watches over one thread for each open handle. All end when the [`Control`] says so or is gone, the channel's
/// sender with them.
pub fn run(
    opened: Opened,
    options: Options,
    ids: SourceIds,
    sender: LiveSender,
    confine: Confine,
) -> io::Result<Control> {
    let (outbox, inbox) = mpsc::channel();
    let control = Control(outbox.clone());
    let mut supervisor = Supervisor {
        options,
        ids,
        sender: Some(sender),
        inbox,
        outbox,
        running: BTreeMap::new(),
        gone: BTreeMap::new(),
        refused: BTreeSet::new(),
        names: names().unwrap_or_default(),
        down: Vec::new(),
        confine,
    };
    thread::Builder::new()
        .name("capture".into())
        .spawn(move || match supervisor.confine.enter(Duty::Interfaces) {
            Ok(()) => {
                supervisor.note_down(opened.choice.as_ref(), &opened.failed);
                for handle in opened.handles {
                    let name = handle.name.clone();
                    if let Err(error) = supervisor.start(handle) {
                        supervisor.tell(format!("{name}: {error}"));
                    }
                }
                supervisor.watch();
            }
            Err(error) => supervisor.tell(format!("no packets are captured: {error}")),
        })?;
    Ok(control)
}

impl Supervisor {
    fn start(&mut self, mut handle: Handle) -> io::Result<()> {
        let Some(sender) = self.sender.clone() else {
            return Ok(());
        };
        let name = handle.name.clone();
        let running = Running {
            stop: Arc::new(AtomicBool::new(false)),
            breaker: handle.capture.breakloop_handle(),
        };
        let reader = Reader {
            info: self.ids.announce(SourceKind::Packets, Some(&name)),
            handle,
            sender,
            stop: Arc::clone(&running.stop),
            blind_since: self.gone.remove(&name),
        };
        self.running.insert(name.clone(), running);
        self.refused.remove(&name);
        let outbox = self.outbox.clone();
        let confine = self.confine.clone();
        thread::Builder::new()
            .name(format!("capture {name}"))
            .spawn(move || {
                let ended = match confine.enter(Duty::Packets) {
                    Ok(()) => reader.run(),
                    Err(error) => Ended::Failed(error.to_string()),
                };
                let _ = outbox.send(Message::Ended { name, ended });
            })?;
        Ok(())
    }

    fn watch(mut self) {
        let (mut ticks, mut looks) = (0u32, 0u32);
        while self.sender.is_some() || !self.running.is_empty() {
            if self.sender.as_ref().is_some_and(LiveSender::is_closed) {
                self.sender = None; // nobody listens any more
            }
            match self.inbox.recv_timeout(TICK) {
                Ok(Message::Ended { name, ended }) => self.ended(name, ended),
                Ok(Message::Look) => {
                    ticks = 0;
                    self.follow();
                }
                Ok(Message::Stop) => {
                    self.sender = None;
                    for running in self.running.values() {
                        running.stop.store(true, Ordering::Relaxed);
                        running.breaker.breakloop();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    for running in self.running.values() {
                        running.breaker.breakloop();
                    }
                    ticks += 1;
                    if ticks >= LOOK_EVERY && self.sender.is_some() {
                        ticks = 0;
                        looks += 1;
                        if self.has_news() || looks >= RULE_EVERY {
                            looks = 0;
                            self.follow();
                        }
                    }
                }
                // Cannot be: this struct holds a sender.
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// A sentence for whoever runs the program.
    fn tell(&self, text: String) {
        if let Some(sender) = &self.sender {
            let _ = sender.blocking_send(LiveItem::Note(text));
        }
    }

    fn ended(&mut self, name: String, ended: Ended) {
        self.running.remove(&name);
        if let Ended::Failed(error) = ended {
            self.tell(format!("{name}: capture ended ({error})"));
            self.gone.insert(name.clone(), now());
            // It may be down, not gone: then it is looked after until it is up.
            self.down.push(name);
        }
    }

    /// Whether an interface came or went, or one that was down is up now.
    fn has_news(&mut self) -> bool {
        let names = names().unwrap_or_default();
        let changed = names != self.names;
        self.names = names;
        changed || self.down.iter().any(|name| devices::is_up(name))
    }

    /// Opens what is wanted and not captured, ends what is no longer wanted.
    fn follow(&mut self) {
        if self.sender.is_none() {
            return;
        }
        let Ok(devices) = devices::list() else {
            return;
        };
        let (names, choice) = wanted(&self.options, &devices);
        for (name, running) in &self.running {
            if !names.contains(name) && devices.iter().any(|device| device.name == *name) {
                let why = choice
                    .as_ref()
                    .and_then(|choice| choice.left_out.iter().find(|(left, _)| left == name));
                // Down is no reason to close: it comes back.
                if let Some((_, why)) = why.filter(|(_, why)| *why != Why::Down) {
                    self.tell(format!("{name}: no longer captured ({why})"));
                    running.stop.store(true, Ordering::Relaxed);
                    running.breaker.breakloop();
                }
            }
        }
        let mut failed = Vec::new();
        for name in names {
            if self.running.contains_key(&name) {
                continue;
            }
            match open_one(&name, &self.options) {
                Ok(handle) => {
                    self.tell(format!("{name}: captured from now on"));
                    if let Err(error) = self.start(handle) {
                        self.tell(format!("{name}: {error}"));
                    }
                }
                Err(error) => {
                    if !matches!(error, OpenError::Down(_)) && self.refused.insert(name) {
                        self.tell(error.to_string());
                    }
                    failed.push(error);
                }
            }
        }
        self.note_down(choice.as_ref(), &failed);
    }

    fn note_down(&mut self, choice: Option<&Choice>, failed: &[OpenError]) {
        let by_rule = choice.into_iter().flat_map(|choice| &choice.left_out);
        self.down = by_rule
            .filter(|(_, why)| *why == Why::Down)
            .map(|(name, _)| name.clone())
            .collect();
        for error in failed {
            if let OpenError::Down(name) = error {
                self.down.push(name.clone());
            }
        }
    }
}

/// The names of all interfaces, one a line: cheap to read and to compare, also on a node with a thousand veths.
fn names() -> io::Result<String> {
    let text = fs::read_to_string(devices::TABLE)?;
    Ok(devices::names(&text).collect::<Vec<_>>().join("\n"))
}
