//! `flapscope live`: this host under the engine that `analyze` uses.
//!
//! Collectors run as tasks and threads, each with a [`LiveSender`]; one loop receives, merges, records, decodes and judges, and writes
//! alerts out at once. Shutdown is the end of input (law 3): the collectors are told to stop, what they still hand over is merged and
//! judged, then the engine finishes. A second ^C does not wait for that. `flapscope record` is the same run, told less.

mod desk;
mod told;
mod watch;

use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch as flag};
use tokio::time::MissedTickBehavior;

use self::desk::Desk;
use self::told::Teller;
use self::watch::Rooms;
use crate::cli::Live;
use crate::detect::Settings;
use crate::event::text::sanitized;
use crate::input::bgp_listener::BgpListener;
use crate::input::bgp_listener::config::Config;
use crate::input::bmp::BmpStation;
use crate::input::capture;
use crate::input::live::{self, LiveItem, LiveSender, SourceIds, Stop, now};
use crate::input::netlink::{self, Namespace};
use crate::input::record::{self, Recorder, Ring};
use crate::input::rtr::RtrClient;
use crate::input::vrps;

/// How often time goes on without items: alerts that wait for quiet are late by this at most.
const TICK: Duration = Duration::from_millis(50);
/// Items taken from the channel before the merge is asked: enough to sort, few enough to stay prompt.
const TURN: usize = 256;
/// Collectors that do not end within this are left behind: nothing they could still say is worth a hanging ^C.
const PATIENCE: Duration = Duration::from_secs(3);
/// Exit code after ^C (128 + SIGINT).
const INTERRUPTED: u8 = 130;

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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("flapscope")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let code = runtime.block_on(watch(options, mode));
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

async fn watch(options: &Live, mode: Mode) -> anyhow::Result<u8> {
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
    let recorder = recorder(options)?;
    // What nobody reads need not be judged, unless the ring waits for incidents.
    let judges = mode == Mode::Tell || options.freeze_on_alert.is_some();
    let mut rooms = Rooms::new(judges.then_some(settings));
    let mut teller = Teller::new(options.format, mode, host_name());
    let watched = open(options, collectors, &mut rooms)?;
    teller.begin(&watched)?;
    let mut desk = Desk::new(rooms, recorder, teller);

    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = tokio::time::sleep_until(end_of(options.duration));
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
        desk.take(&mut batch)?;
        desk.judge(now())?;
    }
    let _ = stop.send(true); // no receiver: no collector is left
    let drained = tokio::select! {
        biased;
        ended = signals.next() => {
            // Asked twice: what was told is out, the rest is given up.
            return Ok(if ended == Ended::Interrupt { INTERRUPTED } else { 0 });
        }
        drained = drain(&mut items, &mut desk) => drained,
    };
    drained?;
    desk.finish()?;
    Ok(if interrupted { INTERRUPTED } else { 0 })
}

/// Takes what the collectors still hand over until the last one has ended.
async fn drain(items: &mut mpsc::Receiver<LiveItem>, desk: &mut Desk) -> anyhow::Result<()> {
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
        Err(_) => desk.note("a collector did not end in time; what it still had is not judged"),
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
    let packets = capture::Options {
        interfaces: options.interface.clone(),
        promiscuous: options.promiscuous,
        tcp_ports: options.bmp_port.clone(),
    };
    let captured = open_capture(options, &packets)?;
    let station = (!options.bmp.is_empty())
        .then(|| BmpStation::bind(&options.bmp))
        .transpose()
        .context("cannot listen for BMP (--bmp)")?;
    let listener = bgp_listener(options)?;
    let caches = (!options.rtr.is_empty())
        .then(|| RtrClient::open(&options.rtr, options.rtr_ca.as_deref()))
        .transpose()
        .context("cannot ask RPKI caches (--rtr)")?;
    let vrps = options.vrps.as_deref().map(vrps::Watched::open);
    let vrps = vrps.transpose().context("cannot use --vrps")?;
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
    if let Some(opened) = captured {
        watched.extend(packets_watched(&opened));
        capture::run(
            opened,
            packets,
            collectors.ids.clone(),
            collectors.sender.clone(),
            collectors.stop.clone(),
        )?;
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
    if let Some(client) = caches {
        for target in client.targets() {
            watched.push(format!("RPKI cache {target}"));
        }
        let (ids, stop) = (collectors.ids.clone(), collectors.stop.clone());
        tokio::spawn(client.run(ids, collectors.sender.clone(), stop));
    }
    if let (Some(file), Some(path)) = (vrps, &options.vrps) {
        let count = file.len();
        watched.push(format!(
            "{count} VRPs of {}",
            sanitized(&path.display().to_string())
        ));
        let (ids, stop) = (collectors.ids.clone(), collectors.stop.clone());
        tokio::spawn(file.run(1, ids, collectors.sender.clone(), stop));
    }
    Ok(watched)
}

fn packets_watched(opened: &capture::Opened) -> Vec<String> {
    let mut lines: Vec<String> = opened.choice.iter().map(ToString::to_string).collect();
    let names: Vec<&str> = opened.handles.iter().map(|h| h.name.as_str()).collect();
    if opened.choice.is_none() && !names.is_empty() {
        lines.push(format!("capturing on {}", names.join(", ")));
    }
    lines.extend(opened.failed.iter().map(ToString::to_string));
    lines
}

/// Opens the interfaces named, or the host's uplinks. Interfaces belong to our own namespace, so another namespace's kernel is
/// watched without packets (`ip netns exec NAME flapscope live` sees both).
fn open_capture(
    options: &Live,
    packets: &capture::Options,
) -> anyhow::Result<Option<capture::Opened>> {
    let named = !packets.interfaces.is_empty();
    if options.no_packets || (!named && !options.netns.is_empty()) {
        return Ok(None);
    }
    let mut opened = capture::open(packets)?;
    // What was asked for by name must be there; what the rule chose may be out of reach for us.
    if named
        && opened.handles.is_empty()
        && let Some(error) = opened.failed.pop()
    {
        return Err(error.into());
    }
    Ok(Some(opened))
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
