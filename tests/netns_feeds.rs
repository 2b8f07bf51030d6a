//! Real daemons feed the BMP station and the BGP listener on loopback addresses: FRR, BIRD, GoBGP. Each is killed without a word and comes
//! back; that must be a gap and a restart, and nothing else. Configurations are the lines that `doctor` shows. Needs root (FRR) and the
//! daemons: without them tests say SKIPPED, unless REQUIRE_NETNS=1.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stderr)] // a skipped test says so

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use flapscope::decode::Decoder;
use flapscope::detect::{Kind, Settings, Severity};
use flapscope::engine::Engine;
use flapscope::event::bgp::BgpMessage;
use flapscope::event::bmp::BmpMessage;
use flapscope::event::loss::GapKind;
use flapscope::event::{Event, EventKind};
use flapscope::input::bgp_listener::BgpListener;
use flapscope::input::bgp_listener::config::Config;
use flapscope::input::bmp::BmpStation;
use flapscope::input::file::OpenOptions;
use flapscope::input::live::{LiveItem, SourceIds, channel};
use flapscope::input::merge::InputSet;
use flapscope::input::paste::{self, Paste};
use flapscope::input::record::{self, Recorder};
use tokio::sync::{mpsc, watch};

/// Daemons retry within seconds; a slow machine gets a multiple.
const PATIENCE: Duration = Duration::from_secs(40);
const ASN: u32 = 64_512;

/// Where a daemon's program is, when it may run here.
fn program(names: &[&str]) -> Option<PathBuf> {
    let root =
        fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("Uid:\t0\t"));
    let found = names
        .iter()
        .map(PathBuf::from)
        .find(|path| root && path.exists());
    if found.is_none() {
        assert!(
            std::env::var_os("REQUIRE_NETNS").is_none_or(|value| value != "1"),
            "root and one of {names:?} are required"
        );
        eprintln!("SKIPPED: needs root and one of {names:?}");
    }
    found
}

/// A daemon; killed without a word when dropped.
struct Daemon(Child);

impl Daemon {
    fn start(program: &Path, arguments: &[&str], directory: &Path) -> Daemon {
        let log = fs::File::create(directory.join("log")).unwrap();
        let child = Command::new(program)
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Daemon(child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("fsf-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn lines(pastes: &[Paste], program: &str, station: SocketAddr) -> String {
    let paste = pastes
        .iter()
        .find(|paste| paste.program == program)
        .unwrap();
    paste::filled(paste, station, Some(ASN))
}

/// The live pipeline without a host around it.
struct Watch {
    items: mpsc::Receiver<LiveItem>,
    decoder: Decoder,
    engine: Engine,
    seen: Seen,
    recorder: Recorder,
    recording: PathBuf,
    events: Vec<String>,
    _stop: watch::Sender<bool>,
}

#[derive(Default, Debug)]
struct Seen {
    announced: usize,
    opens: usize,
    keepalives: usize,
    initiations: usize,
    gaps: usize,
}

impl Watch {
    fn new(
        name: &str,
    ) -> (
        Watch,
        flapscope::input::live::LiveSender,
        watch::Receiver<bool>,
    ) {
        let (out, items) = channel();
        let (stop, stopped) = watch::channel(false);
        let recording = directory(name).join("feeds.pcapng");
        let watch = Watch {
            recorder: Recorder::create(&record::Settings {
                path: recording.clone(),
                ..record::Settings::default()
            })
            .unwrap(),
            recording,
            events: Vec::new(),
            items,
            decoder: Decoder::new(),
            engine: Engine::new(&Settings::default()),
            seen: Seen::default(),
            _stop: stop,
        };
        (watch, out, stopped)
    }

    fn bmp(name: &str) -> (Watch, SocketAddr) {
        let (watch, out, stopped) = Watch::new(name);
        let station = BmpStation::bind(&["127.0.0.2:0".parse().unwrap()]).unwrap();
        let address = station.addresses()[0];
        tokio::spawn(station.run(SourceIds::default(), out, stopped));
        (watch, address)
    }

    fn listener(name: &str) -> (Watch, SocketAddr) {
        let (watch, out, stopped) = Watch::new(name);
        let address = ["127.0.0.2:0".parse().unwrap()];
        let listener = BgpListener::bind(&address, Config::new(ASN)).unwrap();
        let address = listener.addresses()[0];
        tokio::spawn(listener.run(SourceIds::default(), out, stopped));
        (watch, address)
    }

    /// Judges what comes until `done`.
    async fn until(&mut self, what: &str, done: impl Fn(&Seen) -> bool) {
        let reached = tokio::time::timeout(PATIENCE, async {
            while !done(&self.seen) {
                let item = self.items.recv().await.expect("the station runs");
                self.item(&item);
            }
        });
        assert!(
            reached.await.is_ok(),
            "{what} did not happen: {:?}",
            self.seen
        );
    }

    fn item(&mut self, item: &LiveItem) {
        let Some(item) = item.as_item() else { return };
        self.recorder.write(&item);
        let (engine, seen) = (&mut self.engine, &mut self.seen);
        let events = &mut self.events;
        let mut told = Vec::new();
        self.decoder.item(&item, &mut |event| {
            match &event.kind {
                EventKind::Bgp(bgp) => match &bgp.message {
                    BgpMessage::Update(update) => seen.announced += update.announced.len(),
                    BgpMessage::Open(_) => seen.opens += 1,
                    BgpMessage::Keepalive => seen.keepalives += 1,
                    _ => {}
                },
                EventKind::Bmp(bmp) => match &bmp.message {
                    BmpMessage::RouteMonitoring(update) => seen.announced += update.announced.len(),
                    BmpMessage::Initiation { .. } => seen.initiations += 1,
                    _ => {}
                },
                EventKind::Gap(gap) if gap.kind == GapKind::FeedLost => seen.gaps += 1,
                EventKind::Malformed(malformed) => panic!("{malformed:?}"),
                _ => {}
            }
            events.extend(fact(event));
            engine.handle(event, &mut told);
        });
        assert!(told.is_empty(), "an alert about a feed: {told:?}");
    }

    /// The feed came twice and was lost once, and that is all that may be found.
    fn judge(mut self) {
        self.engine.finish(&mut Vec::new());
        let mut kinds = Vec::new();
        for (_, finding, _) in self.engine.findings() {
            assert_eq!(finding.severity, Severity::Info, "{}", finding.explain);
            kinds.push(finding.kind);
        }
        assert!(kinds.contains(&Kind::FeedGap), "{kinds:?}");
        assert!(kinds.contains(&Kind::FeedRestarted), "{kinds:?}");
        assert!(kinds.len() <= 4, "a flood: {kinds:?}");
        self.replay();
    }

    /// The recording holds the same facts at the same times (law 13).
    fn replay(mut self) {
        self.recorder.finish();
        let mut inputs = InputSet::open(&[self.recording], &OpenOptions::default()).unwrap();
        let mut decoder = Decoder::new();
        let mut replayed = Vec::new();
        while let Some(item) = inputs.next() {
            decoder.item(&item, &mut |event| replayed.extend(fact(event)));
        }
        decoder.finish(&mut |event| replayed.extend(fact(event)));
        assert!(self.events.len() > 4);
        for (live, replayed) in self.events.iter().zip(&replayed) {
            assert_eq!(live, replayed);
        }
        assert_eq!(self.events.len(), replayed.len());
    }
}

/// What an event says, apart from where it is found.
fn fact(event: &Event) -> Option<String> {
    let source = matches!(event.kind, EventKind::Source(_));
    (!source).then(|| format!("{:?} {:?}", event.at, event.kind))
}

/// BIRD with two routes.
fn bird_routes() -> &'static str {
    "log stderr all;\nrouter id 127.0.0.3;\nprotocol device {}\n\
     protocol static s4 { ipv4; route 198.51.100.0/24 blackhole; route 203.0.113.0/24 blackhole; }\n"
}

const BIRD: [&str; 2] = ["/usr/sbin/bird", "/usr/local/sbin/bird"];
const BIRD_ARGUMENTS: [&str; 5] = ["-f", "-c", "bird.conf", "-s", "bird.ctl"];

#[tokio::test]
async fn bird_feeds_the_listener_and_its_death_is_a_gap() {
    let Some(bird) = program(&BIRD) else { return };
    let (mut watch, address) = Watch::listener("bird-recording");
    let directory = directory("bird");
    let fast = "  connect delay time 1; connect retry time 1; error wait time 1, 2;\n  rr client;";
    let session = lines(&paste::LISTENER, "BIRD", address)
        .replace("  rr client;", fast)
        .replace("local as", "local 127.0.0.3 port 1793 as");
    fs::write(
        directory.join("bird.conf"),
        format!("{}{session}", bird_routes()),
    )
    .unwrap();
    let daemon = Daemon::start(&bird, &BIRD_ARGUMENTS, &directory);
    watch.until("a table", |seen| seen.announced >= 2).await;
    drop(daemon);
    watch.until("a gap", |seen| seen.gaps == 1).await;
    let _daemon = Daemon::start(&bird, &BIRD_ARGUMENTS, &directory);
    watch
        .until("the table again", |seen| seen.announced >= 4)
        .await;
    watch.judge();
}

#[tokio::test]
async fn frr_feeds_the_bmp_station_and_its_death_is_a_gap() {
    let Some(bgpd) = program(&["/usr/lib/frr/bgpd"]) else {
        return;
    };
    let Some(bird) = program(&BIRD) else { return };
    let (mut watch, address) = Watch::bmp("frr-bmp-recording");
    let directory = directory("frr-bmp");
    // BIRD is the peer whose routes FRR reports.
    let (far, near) = ("127.0.0.5", "127.0.0.4");
    let port = std::net::TcpListener::bind((near, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    fs::write(
        directory.join("bird.conf"),
        format!(
            "{}protocol bgp frr {{ local {far} port 1795 as 65002; neighbor {near} port {port} as {ASN}; multihop; \
             connect delay time 1; connect retry time 1; error wait time 1, 2; ipv4 {{ import none; export filter {{ bgp_next_hop = 192.0.2.9; accept; }}; }}; }}\n",
            bird_routes()
        ),
    )
    .unwrap();
    let bmp = lines(&paste::BMP, "FRR", address).replace("neighbor PEER soft-reconfiguration inbound", &format!(
        "bgp router-id {near}\n no bgp ebgp-requires-policy\n neighbor {far} remote-as 65002\n neighbor {far} ebgp-multihop 8\n neighbor {far} passive\n address-family ipv4 unicast\n  neighbor {far} soft-reconfiguration inbound\n exit-address-family"
    ));
    fs::write(directory.join("bgpd.conf"), bmp).unwrap();
    let port = port.to_string();
    let home = directory.to_str().unwrap().to_owned();
    let start = || {
        let arguments = [
            "-f",
            "bgpd.conf",
            "-M",
            "bmp",
            "-Z",
            "-n",
            "-S",
            "-i",
            "bgpd.pid",
            "--vty_socket",
            &home,
            "-P",
            "0",
            "-p",
            &port,
            "-l",
            near,
            "--log",
            "stdout",
        ];
        Daemon::start(&bgpd, &arguments, &directory)
    };
    let daemon = start();
    let bird_directory = directory.join("bird");
    fs::create_dir_all(&bird_directory).unwrap();
    fs::rename(
        directory.join("bird.conf"),
        bird_directory.join("bird.conf"),
    )
    .unwrap();
    let _bird = Daemon::start(&bird, &BIRD_ARGUMENTS, &bird_directory);
    watch.until("a table", |seen| seen.announced >= 2).await;
    drop(daemon);
    watch.until("a gap", |seen| seen.gaps == 1).await;
    let _daemon = start();
    watch
        .until("the table again", |seen| {
            seen.initiations == 2 && seen.announced >= 4
        })
        .await;
    watch.judge();
}

#[tokio::test]
async fn frr_feeds_the_listener_and_its_death_is_a_gap() {
    let Some(bgpd) = program(&["/usr/lib/frr/bgpd"]) else {
        return;
    };
    let (mut watch, address) = Watch::listener("frr-recording");
    let directory = directory("frr");
    let session = lines(&paste::LISTENER, "FRR", address)
        .replacen(
            "remote-as 64512\n",
            "remote-as 64512\n neighbor 127.0.0.2 timers connect 1\n neighbor 127.0.0.2 update-source 127.0.0.6\n",
            1,
        )
        .replacen(
            "address-family ipv4 unicast\n",
            "bgp router-id 127.0.0.6\n no bgp network import-check\n address-family ipv4 unicast\n  network 198.51.100.0/24\n  network 203.0.113.0/24\n",
            1,
        );
    fs::write(directory.join("bgpd.conf"), session).unwrap();
    let home = directory.to_str().unwrap().to_owned();
    let start = || {
        let arguments = [
            "-f",
            "bgpd.conf",
            "-Z",
            "-n",
            "-S",
            "-i",
            "bgpd.pid",
            "--vty_socket",
            &home,
            "-P",
            "0",
            "-p",
            "0",
            "--log",
            "stdout",
        ];
        Daemon::start(&bgpd, &arguments, &directory)
    };
    let daemon = start();
    watch.until("a table", |seen| seen.announced >= 2).await;
    drop(daemon);
    watch.until("a gap", |seen| seen.gaps == 1).await;
    let _daemon = start();
    watch
        .until("the table again", |seen| seen.announced >= 4)
        .await;
    watch.judge();
}

#[tokio::test]
async fn gobgp_feeds_both_and_its_death_is_a_gap() {
    let Some(gobgpd) = program(&["/usr/bin/gobgpd", "/usr/local/bin/gobgpd"]) else {
        return;
    };
    let directory = directory("gobgp");
    for bmp in [true, false] {
        let (mut watch, address) = if bmp {
            Watch::bmp("gobgp-bmp-recording")
        } else {
            Watch::listener("gobgp-recording")
        };
        let (pastes, port): (&[Paste], _) = if bmp {
            (&paste::BMP, 0)
        } else {
            (&paste::LISTENER, -1)
        };
        let global = format!(
            "[global.config]\n  as = {ASN}\n  router-id = \"127.0.0.7\"\n  port = {}\n",
            if port == 0 { -1 } else { port }
        );
        let session = lines(pastes, "GoBGP", address)
            .replace("ROUTER-ID", "127.0.0.7")
            .replace(
                "[neighbors.transport.config]",
                "[neighbors.timers.config]\n    connect-retry = 5\n    idle-hold-time-after-reset = 1\n  [neighbors.transport.config]\n    local-address = \"127.0.0.7\"",
            );
        fs::write(directory.join("gobgpd.conf"), global + &session).unwrap();
        let arguments = ["-f", "gobgpd.conf", "--api-hosts", "127.0.0.7:0"];
        let daemon = Daemon::start(&gobgpd, &arguments, &directory);
        let up = |times: usize| {
            move |seen: &Seen| seen.initiations == times || seen.keepalives >= 2 * times
        };
        watch.until("a session", up(1)).await;
        drop(daemon);
        watch.until("a gap", |seen| seen.gaps == 1).await;
        let _daemon = Daemon::start(&gobgpd, &arguments, &directory);
        watch.until("a session again", up(2)).await;
        watch.judge();
    }
}
