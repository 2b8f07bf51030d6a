//! `flapscope live`: this host under the engine that `analyze` uses.
//!
//! Collectors run as tasks and threads, each with a [`LiveSender`]; one loop receives, merges, records, decodes and judges, and writes
//! alerts out at once. Shutdown is the end of input (law 3): the collectors are told to stop, what they still hand over is merged and
//! judged, then the engine finishes. A second ^C does not wait for that.

mod told;
mod watch;

use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch as flag};
use tokio::time::MissedTickBehavior;

use self::told::Teller;
use self::watch::Rooms;
use crate::cli::Live;
use crate::detect::Settings;
use crate::event::text::sanitized;
use crate::input::bgp_listener::BgpListener;
use crate::input::bgp_listener::config::Config;
use crate::input::bmp::BmpStation;
use crate::input::live::{self, LiveItem, LiveSender, SourceIds, Stop, now};
use crate::input::merge::live::LiveMerge;
use crate::input::netlink::{self, Namespace};

/// How often time goes on without items: alerts that wait for quiet are late by this at most.
const TICK: Duration = Duration::from_millis(50);
/// Items taken from the channel before the merge is asked: enough to sort, few enough to stay prompt.
const TURN: usize = 256;
/// Collectors that do not end within this are left behind: nothing they could still say is worth a hanging ^C.
const PATIENCE: Duration = Duration::from_secs(3);
/// Exit code after ^C (128 + SIGINT).
const INTERRUPTED: u8 = 130;

/// Watches until ^C, SIGTERM, hang-up or the end of `--for`.
pub fn run(options: &Live) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("flapscope")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let code = runtime.block_on(watch(options));
    // Threads that sit in a system call must not keep the program.
    runtime.shutdown_background();
    code
}

/// What the collectors have in common.
struct Collectors {
    sender: LiveSender,
    ids: SourceIds,
    stop: Stop,
}

async fn watch(options: &Live) -> anyhow::Result<u8> {
    let (stop, stopped) = flag::channel(false);
    let (sender, mut items) = live::channel();
    let mut signals = Signals::new()?;
    let collectors = Collectors {
        sender,
        ids: SourceIds::default(),
        stop: stopped,
    };
    let settings = Settings {
        own_prefixes: options.own_prefix.clone(),
        own_as: options.own_as.clone(),
        dhcp_servers: options.dhcp_server.clone(),
    };
    let mut rooms = Rooms::new(&settings);
    let mut teller = Teller::new(options.format, host_name());
    let watched = open(options, collectors, &mut rooms)?;
    teller.begin(&watched)?;

    let mut merge = LiveMerge::default();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = tokio::time::sleep_until(tick_deadline(options.duration));
    tokio::pin!(end);
    let mut batch = Vec::with_capacity(TURN);
    let mut interrupted = false;
    loop {
        tokio::select! {
            biased;
            ended = signals.next() => {
                interrupted = ended == Ended::Interrupt;
                break;
            }
            () = &mut end => break,
            received = items.recv_many(&mut batch, TURN) => {
                if received == 0 {
                    // Every collector is gone.
                    break;
                }
            }
            _ = tick.tick() => {}
        }
        take(&mut batch, &mut merge, &mut teller)?;
        let now = now();
        while let Some(item) = merge.pop(now) {
            rooms.item(&item, &mut teller)?;
        }
        rooms.advance(merge.horizon(now), &mut teller)?;
        teller.flush()?;
    }
    let _ = stop.send(true); // no receiver: no collector is left
    let drained = tokio::select! {
        biased;
        ended = signals.next() => {
            // Asked twice: what was told is out, the rest is given up.
            return Ok(if ended == Ended::Interrupt { INTERRUPTED } else { 0 });
        }
        drained = drain(&mut items, &mut merge, &mut rooms, &mut teller) => drained,
    };
    drained?;
    rooms.finish(&mut teller)?;
    teller.end(merge.late())?;
    Ok(if interrupted { INTERRUPTED } else { 0 })
}

/// Takes what the collectors still hand over until the last one has ended, then empties the merge.
async fn drain(
    items: &mut mpsc::Receiver<LiveItem>,
    merge: &mut LiveMerge,
    rooms: &mut Rooms,
    teller: &mut Teller,
) -> anyhow::Result<()> {
    let mut batch = Vec::with_capacity(TURN);
    let all = async {
        while items.recv_many(&mut batch, TURN).await > 0 {
            take(&mut batch, merge, teller)?;
            let now = now();
            while let Some(item) = merge.pop(now) {
                rooms.item(&item, teller)?;
            }
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(PATIENCE, all).await {
        Ok(result) => result?,
        Err(_) => {
            teller.note("a collector did not end in time; what it still had is not judged")?
        }
    }
    while let Some(item) = merge.drain() {
        rooms.item(&item, teller)?;
    }
    Ok(())
}

/// Moves received items into the merge; notes go to the reader at once.
fn take(
    batch: &mut Vec<LiveItem>,
    merge: &mut LiveMerge,
    teller: &mut Teller,
) -> anyhow::Result<()> {
    for item in batch.drain(..) {
        match item {
            LiveItem::Note(text) => teller.note(&text)?,
            item => merge.push(item),
        }
    }
    Ok(())
}

/// Opens everything that was asked for, then lets it run; what is watched, as sentences. Each kind of collector has its place here.
fn open(options: &Live, collectors: Collectors, rooms: &mut Rooms) -> anyhow::Result<Vec<String>> {
    let mut watched = Vec::new();
    // 1. Open: all that needs privilege.
    let namespaces = namespaces(&options.netns)?;
    let mut kernels = Vec::new();
    for namespace in namespaces {
        let config = netlink::Config {
            namespace: namespace.clone(),
            all_nsid: options.all_nsid,
            buffer: options.netlink_buffer,
        };
        let collector = netlink::open(&config).with_context(|| match namespace.label() {
            Some(label) => format!("cannot watch the kernel of {label}"),
            None => "cannot watch the kernel".to_owned(),
        })?;
        kernels.push((namespace, collector));
    }
    let station = (!options.bmp.is_empty())
        .then(|| BmpStation::bind(&options.bmp))
        .transpose()
        .context("cannot listen for BMP (--bmp)")?;
    let listener = bgp_listener(options)?;
    if let Some(missing) = not_wired(options) {
        bail!("{missing} is not part of this build");
    }
    // 2. Give privilege up. (Here `privilege` drops what opening needed.)
    // 3. Run.
    for (namespace, mut collector) in kernels {
        let label = namespace.label();
        let notes = std::mem::take(&mut collector.notes);
        let running = collector.spawn(
            collectors.sender.clone(),
            collectors.ids.clone(),
            collectors.stop.clone(),
        )?;
        rooms.add(running.source, label.as_deref());
        let of = label.map_or_else(String::new, |label| format!(" of {label}"));
        watched.push(format!(
            "the kernel's links, addresses, neighbors, rules, nexthops and routes{of}"
        ));
        watched.extend(notes);
    }
    if let Some(station) = station {
        for address in station.addresses() {
            watched.push(format!("BMP at {address}"));
        }
        let (ids, stop) = (collectors.ids.clone(), collectors.stop.clone());
        tokio::spawn(station.run(ids, collectors.sender.clone(), stop));
    }
    if let Some(listener) = listener {
        for address in listener.addresses() {
            watched.push(format!("BGP at {address}, receiving only"));
        }
        let (ids, stop) = (collectors.ids.clone(), collectors.stop.clone());
        tokio::spawn(listener.run(ids, collectors.sender.clone(), stop));
    }
    Ok(watched)
}

/// The BGP listener, where one was asked for.
fn bgp_listener(options: &Live) -> anyhow::Result<Option<BgpListener>> {
    let Some(asn) = options.as_number.filter(|_| !options.bgp_listen.is_empty()) else {
        return Ok(None);
    };
    let mut config = Config::new(asn);
    config.router_id = options.router_id;
    config.peers = options.bgp_peer.clone();
    BgpListener::bind(&options.bgp_listen, config)
        .map(Some)
        .context("cannot listen for BGP (--bgp-listen)")
}

/// What was asked for and has no collector (yet).
fn not_wired(options: &Live) -> Option<&'static str> {
    [
        (!options.interface.is_empty(), "live capture (-i)"),
        (
            options.rtr.is_some() || options.vrps.is_some(),
            "RPKI (--rtr, --vrps)",
        ),
        (options.write.is_some(), "recording (-w)"),
    ]
    .into_iter()
    .find_map(|(asked, what)| asked.then_some(what))
}

fn namespaces(given: &[String]) -> anyhow::Result<Vec<Namespace>> {
    if given.is_empty() {
        return Ok(vec![Namespace::Own]);
    }
    let mut all = Vec::new();
    for name in given {
        let namespace = Namespace::parse(name).map_err(anyhow::Error::msg)?;
        if !all.contains(&namespace) {
            all.push(namespace);
        }
    }
    Ok(all)
}

/// A day that never comes when no end was asked for.
fn tick_deadline(duration: Option<Duration>) -> tokio::time::Instant {
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

/// Why the watching ends.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Ended {
    Interrupt,
    Asked,
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    /// A hang-up of our terminal ends us; without one it is the way to ask for a reload.
    terminal: bool,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            terminal: io::stdin().is_terminal() || io::stdout().is_terminal(),
        })
    }

    async fn next(&mut self) -> Ended {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return Ended::Interrupt,
                _ = self.terminate.recv() => return Ended::Asked,
                _ = self.hangup.recv() => {
                    if self.terminal {
                        return Ended::Asked;
                    }
                }
            }
        }
    }
}
