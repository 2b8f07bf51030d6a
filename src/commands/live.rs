//! `flapscope live`: this host under the engine that `analyze` uses.
//!
//! Collectors run as tasks and threads, each with a [`LiveSender`]; one loop receives, merges, records, decodes and judges, and writes
//! alerts out at once. Shutdown is the end of input (law 3): the collectors are told to stop, what they still hand over is merged and
//! judged, then the engine finishes. A second ^C does not wait for that. Whoever reads our output may be slow (everything waits) or gone
//! (the run ends in order, its recording whole). `flapscope record` is the same run, told less.

mod answers;
mod confine;
mod courier;
mod desk;
mod fair;
mod gauges;
mod open;
mod recent;
mod screen;
mod service;
mod signals;
mod told;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::{mpsc, watch as flag};
use tokio::time::MissedTickBehavior;

use self::answers::Office;
use self::courier::Post;
use self::desk::Desk;
use self::fair::Fair;
use self::open::{Collectors, Confined, Opened};
use self::screen::LiveScreen;
use self::service::Service;
use self::signals::{Asked, INTERRUPTED};
use self::told::Teller;
use super::is_broken_pipe;
use super::screen::Screen;
use crate::cli::{Live, LiveFormat};
use crate::config::Config;
use crate::control::DEFAULT_SOCKET;
use crate::control::bridge::Viewing;
use crate::control::server::{self, Server};
use crate::detect::baseline::Baseline;
use crate::engine::Prepared;
use crate::engine::rooms::Rooms;
use crate::event::text::sanitized;
use crate::http;
use crate::input::live::{self, LiveItem, SourceIds, now};
use crate::input::record::{self, Recorder, Ring};
use crate::tui::Tui;
use crate::tui::link::link;
use crate::tui::theme::Look;

/// The exit code when a disk had no room for what was to be recorded.
const UNRECORDED: u8 = 2;

/// How often time goes on without items: alerts that wait for quiet are late by this at most.
const TICK: Duration = Duration::from_millis(50);
/// Items taken from the channel before the merge is asked: enough to sort, few enough to stay prompt.
const TURN: usize = 256;
/// Questions of pages that wait for the run; the next visitor waits with its own.
const WEB: usize = 8;
/// Collectors that do not end within this are left behind: nothing they could still say is worth a hanging ^C.
const PATIENCE: Duration = Duration::from_secs(3);

/// How much is told.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Mode {
    /// Alerts (`flapscope live`).
    Tell,
    /// What was recorded (`flapscope record`).
    Record,
}

/// Watches until ^C, SIGTERM, hang-up or the end of `--for`.
pub fn run(options: &Live, mode: Mode) -> anyhow::Result<u8> {
    let config = Config::load(&options.mine)?;
    let mut completed = options.clone();
    config.complete(&mut completed);
    let options = &completed;
    if mode == Mode::Record && options.write.is_none() {
        bail!("say where to record: -w FILE.pcapng");
    }
    let to_stdout = options
        .write
        .as_deref()
        .is_some_and(|path| path.as_os_str() == "-");
    if mode == Mode::Tell && to_stdout {
        bail!("alerts and -w - both want standard output; `flapscope record -w -` only records");
    }
    let server = control_socket(options)?;
    let pages = options
        .http
        .as_ref()
        .map(|address| {
            http::server::Server::bind(address)
                .with_context(|| format!("cannot listen at {address} (--http)"))
        })
        .transpose()?;
    // Who only records tells nobody.
    let post = match mode {
        Mode::Tell => Post::open(&config, host_name())?,
        Mode::Record => None,
    };
    let served = Live {
        socket: server.as_ref().map(|server| server.path().to_owned()),
        reach: post
            .as_ref()
            .map(|post| post.reach.clone())
            .unwrap_or_default(),
        ..options.clone()
    };
    let options = &served;
    let (stop, stopped) = flag::channel(false);
    let (sender, items) = live::channel();
    let collectors = Collectors {
        sender,
        ids: SourceIds::default(),
        stop: stopped,
    };
    let mut settings = config.settings(&options.mine);
    let mut known: Vec<String> = config.sentence().into_iter().collect();
    if let Some(path) = &options.mine.state {
        known.push(super::state::take(path, &mut settings));
    }
    // What nobody reads need not be judged, unless the ring waits for incidents.
    let judges = mode == Mode::Tell || options.freeze_on_alert.is_some();
    let mut rooms = judges.then(|| Rooms::new(&settings));
    if let Some(rooms) = &mut rooms {
        rooms.prepare(Prepared {
            maintenance: config.maintenance.clone(),
            annotations: Vec::new(),
            known: known.clone(),
        });
    }
    let recorder = recorder(options)?;
    let service = Service::of_environment();
    let opened = Opened::open(options)?;
    let office = Office::new(host_name(), collectors.ids.clone());
    let mut watched = options.notes.clone();
    watched.extend(known);
    let confined = opened.confine(options, &collectors, &mut watched)?;
    let courier = post.map(|post| post.start(&mut watched)).transpose()?;
    // Its threads are born with the rights that are left.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("flapscope")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let teller = Teller::new(options.format, mode, host_name());
    let mut desk = Desk::new(rooms, recorder, teller, office);
    if let Some(courier) = courier {
        desk.deliver_with(courier);
    }
    let run = Run {
        options,
        config,
        mode,
        baseline: settings.baseline,
        desk,
        items,
        stop,
        service,
    };
    let code = runtime.block_on(run.watch(collectors, confined, Doors { server, pages }, watched));
    // Threads that sit in a system call must not keep the program.
    runtime.shutdown_background();
    code
}

/// Where others may ask.
struct Doors {
    server: Option<Server>,
    pages: Option<http::server::Server>,
}

/// A run on its way.
struct Run<'a> {
    options: &'a Live,
    config: Config,
    mode: Mode,
    /// What earlier runs learned.
    baseline: Baseline,
    desk: Desk,
    items: mpsc::Receiver<LiveItem>,
    stop: flag::Sender<bool>,
    service: Service,
}

/// Why the watching ends.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Ended {
    Interrupt,
    InOrder,
    /// Nobody reads our output any more.
    Unread,
}

impl Run<'_> {
    async fn watch(
        mut self,
        collectors: Collectors,
        confined: Confined,
        doors: Doors,
        mut watched: Vec<String>,
    ) -> anyhow::Result<u8> {
        let screen = wants_screen(self.options, self.mode);
        let mut signals = signals::listen(self.options.headless, move || {
            if screen {
                crate::tui::restore();
            }
        })?;
        let tui = self.screen()?;
        confined.run(&collectors, &mut watched);
        // Only collectors may keep the channel open.
        drop(collectors);
        let mut socket = None;
        // The sender that stays here keeps the channel open where nobody serves pages.
        let (asks, mut web) = mpsc::channel(WEB);
        if let Some(pages) = doors.pages {
            watched.push(format!("pages at {}", pages.address()));
            pages.run(asks.clone()).context("cannot serve pages")?;
        }
        if let Some(server) = doors.server {
            watched.push(format!("answering at {}", server.path().display()));
            let desk = server.run().context("cannot serve the control socket")?;
            self.desk.publish(desk.news.clone());
            if tui.is_none() {
                self.desk.show_on(LiveScreen::elsewhere(host_name()));
            }
            socket = Some(desk);
        }
        let begun = self.desk.begin(&watched);
        self.service.ready();
        let ended = match begun {
            Ok(()) => self.judge_all(&mut signals, &mut socket, &mut web).await,
            Err(error) => Err(error),
        };
        // The terminal is given back before anything else is done, so that who quits sees it at once.
        self.desk.without_screen();
        if let Some(tui) = tui
            && !tui.join().context("the screen")?
        {
            self.desk.silence();
        }
        // Nobody reads our output: not an error, but the end.
        let ended = match ended {
            Err(error) if is_broken_pipe(&error) => Ended::Unread,
            ended => ended?,
        };
        if ended == Ended::Unread {
            self.desk.mute();
        }
        self.service.stopping();
        let _ = self.stop.send(true); // no receiver: no collector is left
        let recorded = match self.drain().await.and_then(|()| self.desk.finish()) {
            Err(error) if is_broken_pipe(&error) => true,
            drained => drained?,
        };
        self.keep_state();
        Ok(match ended {
            // A recording that lacks something is an error, whoever ended it: a script must not take it for whole.
            _ if !recorded && ended != Ended::Unread => UNRECORDED,
            Ended::Interrupt => INTERRUPTED,
            Ended::InOrder | Ended::Unread => 0,
        })
    }

    /// Takes the terminal, where there is one and nobody asked for lines.
    fn screen(&mut self) -> anyhow::Result<Option<Tui>> {
        if !wants_screen(self.options, self.mode) {
            return Ok(None);
        }
        let (publisher, requests, link) = link();
        let tui = Tui::start(link, look())
            .context("cannot use the terminal (--headless does without)")?;
        let screen = LiveScreen::new(Screen::new(publisher, requests), host_name());
        self.desk.show_on(screen);
        Ok(Some(tui))
    }

    /// Judges what comes until the end is asked for.
    async fn judge_all(
        &mut self,
        signals: &mut mpsc::Receiver<Asked>,
        socket: &mut Option<server::Desk>,
        web: &mut mpsc::Receiver<server::Asked>,
    ) -> anyhow::Result<Ended> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = tokio::time::sleep_until(end_of(self.options.duration));
        tokio::pin!(end);
        let mut batch = Vec::with_capacity(TURN);
        let mut fair = Fair::default();
        loop {
            let free = self.items.is_empty() || fair.allows();
            tokio::select! {
                biased;
                asked = signals.recv() => match asked {
                    Some(Asked::End { interrupt: true }) => return Ok(Ended::Interrupt),
                    Some(Asked::Reload) => self.reload()?,
                    Some(Asked::End { interrupt: false }) | None => return Ok(Ended::InOrder),
                },
                () = &mut end => return Ok(Ended::InOrder),
                // Before the items, as a flood of items is never over; but only for its share of the time.
                Some(call) = next(socket, web), if free => fair.serve(|| match call {
                    Call::Asked(asked) => self.desk.serve(asked, now()),
                    Call::Viewing(viewing) => self.desk.view(viewing),
                }),
                received = self.items.recv_many(&mut batch, TURN) => {
                    if received == 0 {
                        // Every collector is gone.
                        return Ok(Ended::InOrder);
                    }
                }
                request = self.desk.asked() => match request {
                    Some(request) => fair.serve(|| self.desk.ask(request)),
                    // The screen was left.
                    None => return Ok(Ended::InOrder),
                },
                () = std::future::ready(()), if self.desk.is_busy() => {}
                _ = tick.tick() => {}
                () = self.service.alive() => {}
            }
            self.desk.take(&mut batch)?;
            self.desk.judge(now())?;
            if self.desk.is_busy() && (self.items.is_empty() || fair.allows()) {
                fair.serve(|| self.desk.search());
            }
            self.desk.show(now());
        }
    }

    /// Writes down what was learned (`--state`); that it cannot be is told and ends nothing.
    fn keep_state(&self) {
        let Some(path) = &self.options.mine.state else {
            return;
        };
        let mut baseline = self.baseline.clone();
        self.desk.learn(&mut baseline);
        if let Err(error) = super::state::keep(path, &baseline) {
            super::say(&format!("{error:#}"));
        }
    }

    /// Reads again what was read from files (SIGHUP). A file that is wrong changes nothing.
    fn reload(&mut self) -> anyhow::Result<()> {
        let read = match Config::load(&self.options.mine) {
            Ok(read) => read,
            Err(error) => {
                let error = anyhow::Error::from(error);
                let note = format!("SIGHUP: {error:#}; the settings stay as they were");
                return self.desk.note(&note);
            }
        };
        self.keep_state();
        self.desk.set_maintenance(&read.maintenance);
        let note = match read.sentence() {
            Some(sentence) => format!("SIGHUP: {sentence}"),
            None => "SIGHUP: no configuration file, no maintenance windows".to_owned(),
        };
        self.desk.note(&note)?;
        self.desk.reload_sinks(&read)?;
        let rest = |config: &Config| Config {
            maintenance: Vec::new(),
            sinks: Vec::new(),
            ..config.clone()
        };
        if rest(&read) != rest(&self.config) {
            self.desk.note(
                "SIGHUP: maintenance windows and sinks are in force; the rest of what changed needs a restart",
            )?;
        }
        self.config.maintenance = read.maintenance;
        self.config.sinks = read.sinks;
        Ok(())
    }

    /// Takes what the collectors still hand over until the last one has ended.
    async fn drain(&mut self) -> anyhow::Result<()> {
        let (items, desk) = (&mut self.items, &mut self.desk);
        let mut batch = Vec::with_capacity(TURN);
        let all = async {
            while items.recv_many(&mut batch, TURN).await > 0 {
                desk.take(&mut batch)?;
                desk.judge(now())?;
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(PATIENCE, all).await {
            Ok(result) => result,
            Err(_) => self
                .desk
                .note("a collector did not end in time; what it still had is not judged"),
        }
    }
}

/// The recorder that was asked for; opened first, while there is the right to.
fn recorder(options: &Live) -> anyhow::Result<Option<Recorder>> {
    let Some(path) = &options.write else {
        return Ok(None);
    };
    let settings = record::Settings {
        path: path.clone(),
        ring: Ring::of(&options.ring)?,
        freeze: options.freeze_on_alert,
        host: host_name(),
    };
    let recorder = Recorder::create(&settings)
        .with_context(|| format!("cannot record into {}", path.display()))?;
    Ok(Some(recorder))
}

/// The control socket: where it was asked for, or where a service usually has it and may.
fn control_socket(options: &Live) -> anyhow::Result<Option<Server>> {
    if let Some(path) = &options.socket {
        let server =
            Server::bind(path).with_context(|| format!("cannot listen at {}", path.display()))?;
        return Ok(Some(server));
    }
    if !options.headless {
        return Ok(None);
    }
    let path = Path::new(DEFAULT_SOCKET);
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        let _ = std::fs::create_dir(folder); // not ours to make: then the socket is not ours to open either
    }
    match Server::bind(path) {
        Ok(server) => Ok(Some(server)),
        Err(error) => {
            // Nobody asked for it: watching matters more.
            super::say(&format!("no control socket: {}: {error}", path.display()));
            Ok(None)
        }
    }
}

/// What a client of the control socket wants.
enum Call {
    Asked(server::Asked),
    Viewing(Viewing),
}

/// The next request, or never.
async fn next(
    socket: &mut Option<server::Desk>,
    web: &mut mpsc::Receiver<server::Asked>,
) -> Option<Call> {
    match socket {
        Some(desk) => tokio::select! {
            asked = desk.asked.recv() => asked.map(Call::Asked),
            viewing = desk.views.recv() => viewing.map(Call::Viewing),
            asked = web.recv() => asked.map(Call::Asked),
        },
        None => web.recv().await.map(Call::Asked),
    }
}

/// A screen needs a terminal on both sides, and a reader who did not ask for lines.
fn wants_screen(options: &Live, mode: Mode) -> bool {
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    mode == Mode::Tell && terminal && !options.headless && options.format == LiveFormat::Text
}

/// How a screen is painted on this terminal.
pub fn look() -> Look {
    Look::of(|name| std::env::var(name).ok())
}

/// A day that never comes when no end was asked for.
fn end_of(duration: Option<Duration>) -> tokio::time::Instant {
    const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);
    #[expect(clippy::disallowed_methods, reason = "--for is measured on the wall")]
    let now = tokio::time::Instant::now();
    now + duration.unwrap_or(FAR).min(FAR)
}

/// The kernel's name of this host.
fn host_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?;
    Some(sanitized(&name.to_string_lossy()))
}
