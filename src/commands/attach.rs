//! `flapscope attach`, and bare `flapscope` where a service runs: its screen over the control socket, so that nothing is captured twice.
//!
//! One thread reads pictures and answers into the screen's slot, this one hands its questions on. The service decides everything; when it
//! goes away the screen keeps what it said last, says so, and comes back to it. Files are written here, with the rights of who looks.

mod asking;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde_json::Value;

use self::asking::Asking;
use super::{ask, evidence, live};
use crate::cli::At;
use crate::control::bridge::{Last, Line, SCREEN};
use crate::control::client::{Client, Heard};
use crate::control::protocol::Request;
use crate::engine::snapshot::{self, Away, Mode, Snapshot};
use crate::event::Timestamp;
use crate::event::text::sanitized;
use crate::input::live::now;
use crate::tui::Tui;
use crate::tui::link::{Publisher, Reply, link};

/// A service that is well sends a picture each second; one that misses three is stuck or stopped, and the screen must not look alive.
const SILENCE: Duration = Duration::from_secs(3);
/// Between two looks whether it says something, and between two tries to reach one that went away.
const TRY: Duration = Duration::from_secs(1);
const OURS: &str = env!("CARGO_PKG_VERSION");

/// A connection to a service that shows us what it knows.
pub struct Attached {
    client: Client,
    path: PathBuf,
    service: snapshot::Attached,
}

/// What bare `flapscope` finds on this host.
pub enum Found {
    Service(Box<Attached>),
    /// None to attach to; a sentence where there is one all the same.
    Nobody(Option<String>),
}

/// Why a service cannot be attached to.
enum Missed {
    /// It cannot be reached, or not now.
    Away(anyhow::Error),
    /// It never will be: it is another version's.
    Foreign(anyhow::Error),
    /// It says why not.
    Refused(anyhow::Error),
}

impl Missed {
    fn into_error(self) -> anyhow::Error {
        let (Missed::Away(error) | Missed::Foreign(error) | Missed::Refused(error)) = self;
        error
    }
}

/// `flapscope attach`.
pub fn run(at: &At) -> anyhow::Result<u8> {
    if !has_terminal() {
        bail!("a screen needs a terminal; `flapscope incidents` prints what the service knows");
    }
    let path = ask::socket(at);
    Attached::to(&path).map_err(Missed::into_error)?.show()
}

/// The service of this host, if one runs and there is a terminal to show it on. One that runs and shows us nothing is an error: to
/// capture beside it unasked is what nobody wants.
pub fn found() -> anyhow::Result<Found> {
    if !has_terminal() {
        return Ok(Found::Nobody(None));
    }
    let socket = std::env::var_os("FLAPSCOPE_SOCKET").map(PathBuf::from);
    let path = ask::socket(&At { socket });
    if !path.exists() {
        return Ok(Found::Nobody(None));
    }
    match Attached::to(&path) {
        Ok(attached) => Ok(Found::Service(Box::new(attached))),
        // Nobody behind it any more, or not ours to use.
        Err(Missed::Away(error)) => {
            let denied = error
                .chain()
                .filter_map(|cause| cause.downcast_ref::<io::Error>())
                .any(|error| error.kind() == io::ErrorKind::PermissionDenied);
            let note = denied.then(|| format!("watching beside a service: {error}"));
            Ok(Found::Nobody(note))
        }
        Err(Missed::Foreign(error) | Missed::Refused(error)) => Err(error.context(
            "a service watches this host already (`flapscope --no-attach` watches beside it)",
        )),
    }
}

fn has_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// A time to the second.
fn moment(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => time.to_owned(),
    }
}

impl Attached {
    fn to(path: &Path) -> Result<Attached, Missed> {
        let mut client = Client::connect(path).map_err(Missed::Away)?;
        let hello = client.ask(&Request::Hello).map_err(Missed::Away)?;
        let name = sanitized(&path.to_string_lossy());
        let says = |key: &str| sanitized(hello[key].as_str().unwrap_or("?"));
        let version = says("version");
        if version != OURS {
            return Err(Missed::Foreign(anyhow!(
                "the service at {name} is flapscope {version} and this is {OURS}: screens need the same version, so restart the service"
            )));
        }
        let attach = Request::Attach { screen: SCREEN };
        client.ask(&attach).map_err(Missed::Refused)?;
        let pid = match &hello["pid"] {
            Value::Number(pid) => format!(" (pid {pid})"),
            _ => String::new(),
        };
        let who = format!(
            "attached to the service flapscope {version}{pid} of {}, watching since {}, at {name}",
            says("host"),
            moment(&says("since")),
        );
        Ok(Attached {
            client,
            path: path.to_owned(),
            service: snapshot::Attached {
                socket: name,
                who,
                away: None,
            },
        })
    }

    /// Shows it until the screen is left.
    pub fn show(self) -> anyhow::Result<u8> {
        let (publisher, mut requests, link) = link();
        let tui = Tui::start(link, live::look()).context("cannot use the terminal")?;
        let asking = Arc::new(Asking::default());
        let (leave, left) = channel();
        let mut follower = Follower {
            publisher: publisher.clone(),
            asking: asking.clone(),
            left,
            service: self.service.clone(),
            shown: Snapshot::default(),
        };
        let reader = thread::Builder::new()
            .name("service".to_owned())
            .spawn(move || {
                let ended = follower.follow(self);
                follower.publisher.end();
                ended
            })?;
        while let Some(request) = requests.blocking_recv() {
            asking.ask(request, &publisher);
        }
        drop::<std::sync::mpsc::Sender<()>>(leave);
        asking.close();
        let ended = reader.join();
        tui.join().context("the screen")?;
        match ended {
            Ok(ended) => ended.map(|()| 0),
            // The panic hook has told.
            Err(_) => bail!("the thread that listens to the service failed"),
        }
    }
}

/// Reads what services at a socket say, one after the other.
struct Follower {
    publisher: Publisher,
    asking: Arc<Asking>,
    /// Closed when the screen was left.
    left: Receiver<()>,
    service: snapshot::Attached,
    /// What the service said last.
    shown: Snapshot,
}

impl Follower {
    fn follow(&mut self, first: Attached) -> anyhow::Result<()> {
        let mut attached = first;
        loop {
            self.service = attached.service;
            if !self.asking.open(attached.client.handle()?) {
                return Ok(());
            }
            let how = self.read(&mut attached.client)?;
            let since = now();
            self.asking.lost();
            attached = loop {
                self.away(how, since);
                match self.left.recv_timeout(TRY) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
                match Attached::to(&attached.path) {
                    Ok(again) => break again,
                    Err(Missed::Foreign(error)) => return Err(error),
                    // It begins, or has no place for us yet.
                    Err(Missed::Away(_) | Missed::Refused(_)) => {}
                }
            };
            let text = "attached again; what the service knew before is gone with it".to_owned();
            self.publisher.reply(Reply::Said(text));
        }
    }

    /// Takes what the service says until it goes; how it went.
    fn read(&mut self, client: &mut Client) -> anyhow::Result<&'static str> {
        let mut last = Last::default();
        // Pictures are counted on: the screen asks for pages by their number.
        let before = self.shown.seq;
        let mut heard = now();
        loop {
            let line = match client.hear(TRY) {
                Ok(Heard::Line(line)) => line,
                Ok(Heard::Silence) => {
                    if now().since(heard) >= SILENCE {
                        self.away("silent", heard);
                    }
                    continue;
                }
                Ok(Heard::End) | Err(_) => return Ok("gone"),
            };
            heard = now();
            match serde_json::from_slice(&line).context("the service speaks another language")? {
                Line::Picture(picture) => {
                    let lost = "the service lost count of its incidents";
                    let snapshot = last.snapshot(*picture).context(lost)?;
                    self.show(snapshot, before);
                }
                Line::Reply(reply) => self.reply(*reply),
                Line::End => return Ok("ended"),
            }
        }
    }

    fn show(&mut self, mut snapshot: Snapshot, before: u64) {
        snapshot.seq = snapshot.seq.saturating_add(before);
        snapshot.mode = Mode::Attached(self.service.clone());
        snapshot.watched.insert(0, self.service.who.clone());
        self.shown = snapshot.clone();
        self.publisher.publish(snapshot);
    }

    fn reply(&self, reply: Reply) {
        self.asking.answered(&reply);
        let reply = match reply {
            Reply::Parcel(parcel) => Reply::Said(
                evidence::unpack(&parcel, Path::new("."))
                    .unwrap_or_else(|error| format!("cannot write the bundle here: {error}")),
            ),
            reply => reply,
        };
        self.publisher.reply(reply);
    }

    /// Shows what was said last, and that there is no news since.
    fn away(&mut self, how: &str, since: Timestamp) {
        let away = Away {
            how: how.to_owned(),
            seconds: now().since(since).as_secs(),
        };
        let mode = snapshot::Attached {
            away: Some(away),
            ..self.service.clone()
        };
        self.shown.mode = Mode::Attached(mode);
        self.publisher.publish(self.shown.clone());
    }
}
