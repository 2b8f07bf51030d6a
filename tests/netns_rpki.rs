//! Debian's StayRTR as the cache of the RTR client: VRPs that come and go, a restart with another session, a death; over TCP and TLS. What was
//! recorded replays to the same facts and findings. Needs stayrtr (and openssl): without them tests say SKIPPED, unless REQUIRE_NETNS=1.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stderr)] // a skipped test says so

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use flapscope::decode::Decoder;
use flapscope::detect::{Kind, Settings, Severity};
use flapscope::engine::Engine;
use flapscope::event::bgp::{AS_SEQUENCE, BgpEvent, BgpMessage, Direction, Nlri, Update};
use flapscope::event::frame::Frame;
use flapscope::event::rtr::RtrMessage;
use flapscope::event::source::Unit;
use flapscope::event::{Event, EventKind, InputId, Locator, SourceId, Timestamp};
use flapscope::input::file::OpenOptions;
use flapscope::input::live::{LiveItem, SourceIds, channel};
use flapscope::input::merge::InputSet;
use flapscope::input::record::{self, Recorder};
use flapscope::input::rtr::RtrClient;
use tokio::sync::{mpsc, watch};

/// StayRTR looks at its file each second here; a slow machine gets a multiple.
const PATIENCE: Duration = Duration::from_secs(60);

fn tools(names: &[&str]) -> bool {
    let missing: Vec<&&str> = names
        .iter()
        .filter(|name| !Path::new("/usr/bin").join(name).exists())
        .collect();
    if missing.is_empty() {
        return true;
    }
    assert!(
        std::env::var_os("REQUIRE_NETNS").is_none_or(|value| value != "1"),
        "{missing:?} are required"
    );
    eprintln!("SKIPPED: needs {missing:?}");
    false
}

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("fsr-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// A port that is free now.
fn port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// StayRTR; killed without a word when dropped.
struct Cache {
    child: Option<Child>,
    directory: PathBuf,
    port: u16,
    tls: bool,
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Cache {
    fn new(name: &str, tls: bool) -> Cache {
        Cache {
            child: None,
            directory: directory(name),
            port: port(),
            tls,
        }
    }

    /// The file that it serves, replaced at once.
    fn serve(&self, roas: &[(&str, u32)]) {
        let roas: Vec<String> = roas
            .iter()
            .map(|(prefix, asn)| {
                let length = prefix.split_once('/').unwrap().1;
                format!(
                    r#"{{"prefix":"{prefix}","maxLength":{length},"asn":"AS{asn}","ta":"test"}}"#
                )
            })
            .collect();
        let text = format!(r#"{{"metadata":{{}},"roas":[{}]}}"#, roas.join(","));
        let new = self.directory.join("new.json");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.directory.join("vrps.json")).unwrap();
    }

    fn start(&mut self) {
        let log = fs::File::create(self.directory.join("log")).unwrap();
        let bind = format!("127.0.0.1:{}", self.port);
        let mut arguments = vec![
            "-cache",
            "vrps.json",
            "-refresh",
            "1",
            "-checktime=false",
            "-metrics.addr",
            "",
        ];
        arguments.extend(if self.tls {
            ["-bind", "", "-tls.bind", &bind]
        } else {
            ["-bind", &bind, "-tls.bind", ""]
        });
        if self.tls {
            arguments.extend(["-tls.cert", "cert.pem", "-tls.key", "key.pem"]);
        }
        let child = Command::new("/usr/bin/stayrtr")
            .args(arguments)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// A certificate of its own for 127.0.0.1.
    fn certificate(&self) -> PathBuf {
        let made = Command::new("/usr/bin/openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ])
            .args([
                "-subj",
                "/CN=cache",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
            ])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(&self.directory)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        self.directory.join("cert.pem")
    }

    fn client(&self, ca: Option<&Path>) -> RtrClient {
        let scheme = if self.tls { "tls://" } else { "" };
        let target = format!("{scheme}127.0.0.1:{}", self.port);
        RtrClient::open(&[target.parse().unwrap()], ca).unwrap()
    }
}

/// The live pipeline without a host around it.
struct Run {
    items: mpsc::Receiver<LiveItem>,
    decoder: Decoder,
    engine: Engine,
    recorder: Recorder,
    recording: PathBuf,
    notes: Vec<String>,
    facts: Vec<String>,
    sessions: Vec<u16>,
    _stop: watch::Sender<bool>,
}

impl Run {
    fn of(cache: &Cache, ca: Option<&Path>) -> Run {
        let (out, items) = channel();
        let (stop, stopped) = watch::channel(false);
        let recording = cache.directory.join("rpki.pcapng");
        tokio::spawn(cache.client(ca).run(SourceIds::default(), out, stopped));
        Run {
            items,
            decoder: Decoder::new(),
            engine: Engine::new(&Settings::default()),
            recorder: Recorder::create(&record::Settings {
                path: recording.clone(),
                ..record::Settings::default()
            })
            .unwrap(),
            recording,
            notes: Vec::new(),
            facts: Vec::new(),
            sessions: Vec::new(),
            _stop: stop,
        }
    }

    /// Judges what comes until `done`.
    async fn until(&mut self, what: &str, done: impl Fn(&Run) -> bool) {
        let reached = tokio::time::timeout(PATIENCE, async {
            while !done(self) {
                let mut item = self.items.recv().await.expect("the client runs");
                self.item(&mut item);
            }
        });
        let reached = reached.await.is_ok();
        assert!(
            reached,
            "{what} did not happen: {:#?} {:#?}",
            self.notes, self.facts
        );
    }

    fn item(&mut self, item: &mut LiveItem) {
        if let LiveItem::Note(text) = item {
            self.notes.push(text.clone());
        }
        let place = item.as_item().and_then(|seen| self.recorder.write(&seen));
        if let Some(place) = place {
            item.place(place);
        }
        let Some(item) = item.as_item() else { return };
        let (engine, facts, sessions) = (&mut self.engine, &mut self.facts, &mut self.sessions);
        self.decoder.item(&item, &mut |event| {
            if let EventKind::Rtr(rtr) = &event.kind
                && let RtrMessage::EndOfData { session, .. } = rtr.message
            {
                sessions.push(session);
            }
            facts.extend(fact(event));
            engine.handle(event, &mut Vec::new());
        });
    }

    /// A neighbor announces a prefix now; not recorded.
    fn announce(engine: &mut Engine, at: Timestamp, prefix: &str, origin: u32) {
        let mut update = Update::default();
        update
            .announced
            .push(Nlri::unicast(prefix.parse().unwrap()));
        update.attributes.as_path.push_segment(AS_SEQUENCE, 1);
        update.attributes.as_path.0.push(origin);
        let message = BgpMessage::Update(Box::new(update));
        let session = Direction {
            from: "192.0.2.1".parse().unwrap(),
            to: "192.0.2.2".parse().unwrap(),
            from_port: 179,
            to_port: 40000,
            from_as: 0,
            to_as: 0,
        };
        let frame = Frame::default();
        let event = Event {
            at,
            origin_at: None,
            source: SourceId(77),
            locator: Locator {
                input: InputId(0),
                unit: Unit::Record,
                number: 1,
                offset: 0,
            },
            kind: EventKind::Bgp(Box::new(BgpEvent {
                frame,
                session,
                message,
            })),
        };
        engine.handle(&event, &mut Vec::new());
    }

    fn state(&self, prefix: &str, origin: u32) -> &'static str {
        let vrps = &self.engine.net().vrps;
        vrps.validate(&prefix.parse().unwrap(), Some(origin))
            .as_str()
    }

    fn kinds(&self) -> Vec<(Kind, Severity)> {
        let mut kinds: Vec<_> = self
            .engine
            .findings()
            .map(|(_, finding, _)| (finding.kind, finding.severity))
            .collect();
        kinds.sort_unstable();
        kinds
    }

    /// The recording holds the same facts at the same times, and leads to the same findings (law 13).
    fn replay(mut self, routes: &[(Timestamp, &str, u32)]) {
        self.recorder.finish();
        self.engine.finish(&mut Vec::new());
        let mut inputs = InputSet::open(&[self.recording], &OpenOptions::default()).unwrap();
        let mut decoder = Decoder::new();
        let mut engine = Engine::new(&Settings::default());
        let mut replayed = Vec::new();
        let mut routes = routes.iter().peekable();
        while let Some(item) = inputs.next() {
            decoder.item(&item, &mut |event| {
                while let Some((at, prefix, origin)) = routes.next_if(|(at, ..)| *at < event.at) {
                    Run::announce(&mut engine, *at, prefix, *origin);
                }
                replayed.extend(fact(event));
                engine.handle(event, &mut Vec::new());
            });
        }
        engine.finish(&mut Vec::new());
        assert!(self.facts.len() > 4);
        assert_eq!(self.facts, replayed);
        let of = |engine: &Engine| -> Vec<String> {
            let one = |finding: &flapscope::detect::Finding| {
                format!(
                    "{} {:?} {}",
                    finding.id(),
                    finding.severity,
                    finding.explain
                )
            };
            engine
                .findings()
                .map(|(_, finding, _)| one(finding))
                .collect()
        };
        assert_eq!(of(&self.engine), of(&engine));
    }
}

/// What an event says, apart from where it is found.
fn fact(event: &Event) -> Option<String> {
    let source = matches!(event.kind, EventKind::Source(_));
    (!source).then(|| format!("{:?} {:?}", event.at, event.kind))
}

const ROAS: [(&str, u32); 3] = [
    ("192.0.2.0/24", 64500),
    ("192.0.2.0/23", 64999),
    ("2001:db8::/32", 64501),
];

#[tokio::test]
async fn a_real_caches_changes_restart_and_death_are_told_and_replayed() {
    if !tools(&["stayrtr"]) {
        return;
    }
    let mut cache = Cache::new("tcp", false);
    cache.serve(&ROAS);
    cache.start();
    let mut run = Run::of(&cache, None);
    run.until("the VRPs", |run| run.engine.net().vrps.len() == 3)
        .await;
    assert_eq!(run.state("192.0.2.0/24", 64500), "valid");
    assert_eq!(run.state("2001:db8::/32", 64502), "invalid");
    let announced_at = run.engine.now() + Duration::from_nanos(1);
    Run::announce(&mut run.engine, announced_at, "192.0.2.0/24", 64500);
    let routes = [(announced_at, "192.0.2.0/24", 64500)];

    // A ROA is withdrawn, and what it allowed is invalid under the other one.
    cache.serve(&ROAS[1..]);
    run.until("the withdrawal", |run| run.engine.net().vrps.len() == 2)
        .await;
    assert_eq!(run.state("192.0.2.0/24", 64500), "invalid");
    let loud: Vec<Kind> = run
        .kinds()
        .into_iter()
        .filter(|(_, severity)| *severity == Severity::Warning)
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(loud, [Kind::PrefixRpkiInvalid, Kind::RpkiVrpChanged]);
    // It comes back, and all is well.
    cache.serve(&ROAS);
    run.until("its return", |run| run.engine.net().vrps.len() == 3)
        .await;
    let open = run.engine.findings().filter(|(_, f, _)| {
        f.ended.is_none() && matches!(f.kind, Kind::RpkiVrpChanged | Kind::PrefixRpkiInvalid)
    });
    assert_eq!(open.count(), 0);

    // A restart with the same data: another session, the same VRPs.
    let before = run.sessions.last().copied();
    let lost = (Kind::RpkiCacheLost, Severity::Info);
    let mut told = run.kinds();
    told.retain(|kind| *kind != lost);
    cache.kill();
    cache.start();
    run.until("the new session", |run| {
        run.sessions.last().copied() != before
    })
    .await;
    assert_eq!(run.engine.net().vrps.len(), 3);
    let mut after = run.kinds();
    after.retain(|kind| *kind != lost);
    assert_eq!(after, told, "a restart is no alarm");

    // Its death: information now, a warning in two minutes if nobody helps; the data stay.
    cache.kill();
    run.until("a refused call", |run| {
        run.facts.iter().any(|fact| fact.contains("refused"))
    })
    .await;
    assert_eq!(run.engine.net().vrps.len(), 3);
    assert!(
        run.kinds().contains(&(Kind::RpkiCacheLost, Severity::Info)),
        "{:?}",
        run.kinds()
    );
    run.replay(&routes);
}

#[tokio::test]
async fn a_cache_behind_tls_is_asked_when_its_certificate_is_trusted() {
    if !tools(&["stayrtr", "openssl"]) {
        return;
    }
    let mut cache = Cache::new("tls", true);
    cache.serve(&ROAS);
    let certificate = cache.certificate();
    cache.start();
    let mut run = Run::of(&cache, Some(&certificate));
    run.until("the VRPs", |run| run.engine.net().vrps.len() == 3)
        .await;
    cache.serve(&ROAS[1..]);
    run.until("the withdrawal", |run| run.engine.net().vrps.len() == 2)
        .await;
    run.replay(&[]);

    // Nobody vouches for it: that is said, with the way out, and nothing is believed.
    let mut other = Cache::new("tls-stranger", true);
    let stranger = other.certificate();
    other.port = cache.port;
    let mut run = Run::of(&other, Some(&stranger));
    run.until("a refusal", |run| {
        run.notes.iter().any(|note| note.contains("--rtr-ca"))
    })
    .await;
    assert!(run.engine.net().vrps.is_empty());
    assert!(
        run.facts
            .iter()
            .any(|fact| fact.contains("signed by nobody"))
    );
}
