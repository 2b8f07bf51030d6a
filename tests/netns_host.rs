//! The live program as a process of this host: what it keeps of its rights, and how it ends. Needs root, as tests/netns.rs does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods
)] // a test's helpers fail loudly, say what they skip, and measure on the wall

mod netns {
    #[expect(dead_code, reason = "tests/netns.rs uses the rest of it")]
    pub mod host;
}

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use netns::host::{Host, possible};
use nix::fcntl::{FcntlArg, fcntl};
use serde_json::Value;

const FLAPSCOPE: &str = env!("CARGO_BIN_EXE_flapscope");
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(15);
/// Who has no rights of its own: Debian's `nobody`.
const NOBODY: &str = "65534";

/// A namespace with uplinks `up1` … and a folder for files, which nobody may write.
struct Lab {
    host: Host,
    folder: PathBuf,
}

impl Lab {
    fn new(name: &str, uplinks: u8) -> Option<Lab> {
        if !possible() {
            return None;
        }
        let host = Host::new(name);
        for n in 1..=uplinks {
            host.uplink(
                &format!("up{n}"),
                &format!("192.0.2.{}/28", u16::from(n) * 16 + 1),
                &format!("2001:db8:{n}::1/64"),
            );
            host.ip(&format!("route add 203.0.113.{n}/32 dev up{n} proto bgp"));
        }
        let folder = std::env::temp_dir().join(&host.name);
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        Some(Lab { host, folder })
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// Runs it inside, through `prefix` (like setpriv), and waits until it says what it gave up.
    fn start(&self, prefix: &[&str], program: &str, arguments: &[&str]) -> Program {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.host.name])
            .args(prefix)
            .args([program, "live", "--format", "json"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, said) = mpsc::channel();
        let err = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in err.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let over = Arc::new(AtomicBool::new(false));
        watch_dog(child.id(), Arc::clone(&over));
        let mut program = Program {
            out: child.stdout.take(),
            child,
            said,
            heard: Vec::new(),
            over,
        };
        program.wait_for("onfined");
        program
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A test that waits for an alert which does not come shall fail, not hang: the program is killed, its output ends.
fn watch_dog(pid: u32, over: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        std::thread::sleep(2 * PATIENCE);
        if !over.load(Ordering::Relaxed) {
            let _ = Command::new("kill")
                .args(["-KILL", &pid.to_string()])
                .status();
        }
    });
}

struct Program {
    over: Arc<AtomicBool>,
    child: Child,
    out: Option<ChildStdout>,
    said: Receiver<String>,
    heard: Vec<String>,
}

impl Program {
    /// The line of standard error with this text, heard already or to come.
    #[track_caller]
    fn wait_for(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.heard.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.said.recv_timeout(left) {
                Ok(line) => self.heard.push(line),
                Err(_) => panic!("{text:?} was never said, but:\n{}", self.heard.join("\n")),
            }
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Its exit code; fails when it does not end.
    #[track_caller]
    fn code(&mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end; it said:\n{}", self.heard.join("\n"));
    }

    /// All alerts that are still to come, until it ends.
    fn alerts(&mut self) -> Vec<Value> {
        let out = BufReader::new(self.out.take().unwrap());
        out.lines()
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect()
    }

    /// Fields of each thread's status, by the thread's name.
    fn threads(&self) -> BTreeMap<String, Status> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        tasks
            .filter_map(|task| {
                // It may have ended since the folder was read.
                let fields = status(&task.unwrap().path())?;
                Some((fields["Name"].clone(), fields))
            })
            .collect()
    }

    /// As [`Program::threads`], once these are there and each thread has no other rights than `expected` of its name: a thread names
    /// itself when it first runs, and lets go of what it may not keep a moment later.
    fn settled_threads(
        &self,
        names: &[&str],
        expected: impl Fn(&str) -> u64,
    ) -> BTreeMap<String, Status> {
        let end = Instant::now() + PATIENCE;
        loop {
            let threads = self.threads();
            let settled = threads
                .iter()
                .all(|(name, status)| capabilities(&status["CapPrm"]) == expected(name));
            if settled && names.iter().all(|name| threads.contains_key(*name)) {
                return threads;
            }
            let rights: Vec<_> = threads.iter().map(|(n, s)| (n, &s["CapPrm"])).collect();
            assert!(Instant::now() < end, "{rights:?}");
        }
    }

    /// The main thread's status.
    fn main(&self) -> Status {
        status(Path::new(&format!("/proc/{0}/task/{0}", self.child.id()))).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Status = BTreeMap<String, String>;

fn status(task: &Path) -> Option<Status> {
    let text = fs::read_to_string(task.join("status")).ok()?;
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.trim().to_owned());
    Some(fields.map(own).collect())
}

fn capabilities(hex: &str) -> u64 {
    u64::from_str_radix(hex, 16).unwrap()
}

fn bits(all: &[u8]) -> u64 {
    all.iter().map(|bit| 1 << bit).sum()
}

/// Bits of linux/capability.h.
const DAC_OVERRIDE: u8 = 1;
const DAC_READ_SEARCH: u8 = 2;
const NET_RAW: u8 = 13;
const SYS_PTRACE: u8 = 19;

#[test]
fn a_running_watch_keeps_the_rights_that_it_names_and_no_others() {
    let Some(lab) = Lab::new("rights", 1) else {
        return;
    };
    let ring = lab.file("ring.pcapng");
    let mut live = lab.start(&[], FLAPSCOPE, &["-w", &ring, "-b", "duration:1"]);
    live.wait_for("capturing on up1");
    let told = live.wait_for("confined:");
    for word in ["no_new_privs", "cap_net_raw", "cap_sys_ptrace"] {
        assert!(told.contains(word), "{told}");
    }
    let expected = |name: &str| match name {
        "netlink" => bits(&[SYS_PTRACE, DAC_READ_SEARCH]),
        "capture" => bits(&[NET_RAW]),
        _ => 0,
    };
    let threads = live.settled_threads(&["netlink", "capture", "capture up1"], expected);
    for (name, status) in &threads {
        assert_eq!(capabilities(&status["CapEff"]), expected(name), "{name}");
        assert_eq!(capabilities(&status["CapBnd"]), 0, "{name}");
        assert_eq!(status["NoNewPrivs"], "1", "{name}");
        if told.contains(" seccomp") && !told.contains("no seccomp") {
            assert_eq!(status["Seccomp"], "2", "{name}");
        }
    }
    // Confined, it still sees, names who acted, and turns its ring.
    lab.host.far("link set up1 down");
    linkwatch();
    live.signal("-TERM");
    let alerts = live.alerts();
    assert_eq!(live.code(), Some(0));
    let text = serde_json::to_string(&alerts).unwrap();
    assert!(text.contains("link.carrier-lost"), "{text}");
    let files = fs::read_dir(&lab.folder).unwrap().count();
    assert!(files >= 1, "no segment of the ring");
}

#[test]
fn interfaces_that_come_later_are_captured_by_a_confined_program_too() {
    let Some(lab) = Lab::new("later", 1) else {
        return;
    };
    let mut live = lab.start(&[], FLAPSCOPE, &[]);
    lab.host
        .uplink("up2", "198.51.100.1/24", "2001:db8:9::1/64");
    live.wait_for("up2: captured from now on");
}

#[test]
fn a_ring_in_somebody_elses_folder_keeps_the_right_to_write_there_and_says_so() {
    let Some(lab) = Lab::new("folder", 1) else {
        return;
    };
    let folder = lab.folder.join("private");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&folder, Some(65_534), Some(65_534)).unwrap();
    let ring = folder.join("r.pcapng");
    let arguments = ["-w", ring.to_str().unwrap(), "-b", "duration:1"];
    let mut live = lab.start(&[], FLAPSCOPE, &arguments);
    assert!(live.wait_for("confined:").contains("cap_dac_override"));
    assert_eq!(capabilities(&live.main()["CapEff"]), bits(&[DAC_OVERRIDE]),);
    lab.host.far("link set up1 down");
    linkwatch();
    live.signal("-TERM");
    assert_eq!(live.code(), Some(0));
    assert!(fs::read_dir(&folder).unwrap().count() >= 1);
    assert!(!live.heard.iter().any(|line| line.contains("denied")));
}

/// `setpriv`, as nobody.
fn as_nobody() -> Vec<&'static str> {
    vec![
        "setpriv",
        "--reuid",
        NOBODY,
        "--regid",
        NOBODY,
        "--clear-groups",
        "--inh-caps=-all",
    ]
}

/// The program where nobody may run it.
fn copy(lab: &Lab, capabilities: Option<&str>) -> String {
    let program = lab.file("flapscope");
    fs::copy(FLAPSCOPE, &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    if let Some(capabilities) = capabilities {
        let set = Command::new("setcap")
            .args([capabilities, &program])
            .status()
            .unwrap();
        assert!(set.success());
    }
    program
}

/// The first alert that opens an incident.
fn first_opened(live: &mut Program) -> Value {
    let out = BufReader::new(live.out.as_mut().unwrap());
    out.lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
        .find(|alert| alert["type"] == "incident.opened")
        .unwrap()
}

#[test]
fn with_capabilities_on_its_file_the_program_needs_no_root() {
    let Some(lab) = Lab::new("fcaps", 1) else {
        return;
    };
    let program = copy(&lab, Some("cap_net_raw,cap_net_admin=ep"));
    let mut live = lab.start(&as_nobody(), &program, &[]);
    let handle = live.wait_for("capturing on up1");
    assert!(!handle.contains("no right"), "{handle}");
    assert!(!live.heard.iter().any(|line| line.contains("setcap")));
    assert!(live.wait_for("confined:").contains("cap_net_raw"));
    let expected = |name: &str| match name {
        "capture" => bits(&[NET_RAW]),
        _ => 0,
    };
    let threads = live.settled_threads(&["netlink", "capture", "capture up1"], expected);
    assert_eq!(capabilities(&threads["netlink"]["CapPrm"]), 0);
    assert_eq!(
        threads["capture"]["Uid"].split_whitespace().next(),
        Some(NOBODY)
    );
    // What comes later is captured too.
    lab.host
        .uplink("up2", "198.51.100.1/24", "2001:db8:9::1/64");
    live.wait_for("up2: captured from now on");
    lab.host.far("link set up1 down");
    let alert = first_opened(&mut live);
    assert_eq!(alert["incident"]["kind"], "link.carrier-lost");
}

#[test]
fn without_any_right_it_watches_what_it_may_and_says_what_is_missing_and_how_to_get_it() {
    let Some(lab) = Lab::new("plain", 1) else {
        return;
    };
    let program = copy(&lab, None);
    let mut live = lab.start(&as_nobody(), &program, &["--headless"]);
    let lack = live.wait_for("no right to capture");
    assert!(lack.contains("setcap cap_net_raw"), "{lack}");
    assert!(live.wait_for("confined:").contains("no capabilities"));
    lab.host.far("link set up1 down");
    let alert = first_opened(&mut live);
    assert_eq!(alert["incident"]["kind"], "link.carrier-lost");
}

/// A pipe that holds little, so that a reader who does not read is felt.
fn narrow(out: &ChildStdout) {
    fcntl(out, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
}

/// Links lose their carrier one after the other: an incident each.
fn trouble(lab: &Lab, uplinks: u8) {
    for n in 1..=uplinks {
        lab.host.far(&format!("link set up{n} down"));
    }
    linkwatch();
}

/// The kernel tells of carriers at most once a second (net/core/link_watch.c).
fn linkwatch() {
    std::thread::sleep(Duration::from_millis(1200));
}

/// Without the host, which a file does not know.
fn anonymous(mut alerts: Vec<Value>) -> Vec<Value> {
    for alert in &mut alerts {
        alert.as_object_mut().unwrap().remove("host");
    }
    alerts
}

fn analyzed(file: &str) -> Vec<Value> {
    let out = Command::new(FLAPSCOPE)
        .args(["analyze", "--format", "ndjson", file])
        .output()
        .unwrap();
    assert!(out.status.success());
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn sigterm_amid_an_incident_loses_no_alert_however_slowly_they_are_read() {
    const UPLINKS: u8 = 12;
    let Some(lab) = Lab::new("slow", UPLINKS) else {
        return;
    };
    let file = lab.file("run.pcapng");
    let mut live = lab.start(&[], FLAPSCOPE, &["--no-packets", "-w", &file]);
    narrow(live.out.as_ref().unwrap());
    std::thread::sleep(Duration::from_millis(300)); // the baseline
    trouble(&lab, UPLINKS);
    live.signal("-TERM");
    // Nobody reads for longer than collectors are waited for.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(
        live.child.try_wait().unwrap(),
        None,
        "it did not wait for its reader"
    );
    let mut text = String::new();
    let mut out = live.out.take().unwrap();
    let mut piece = [0; 512];
    loop {
        let read = out.read(&mut piece).unwrap();
        if read == 0 {
            break;
        }
        text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(live.code(), Some(0));
    let told: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(text.len() > 4096, "the pipe was never full: {}", text.len());
    for n in 1..=UPLINKS {
        assert!(text.contains(&format!("\"link:up{n}\"")), "up{n} was lost");
    }
    assert_eq!(anonymous(told), anonymous(analyzed(&file)));
}

#[test]
fn a_second_interrupt_ends_at_once_though_nobody_reads() {
    const UPLINKS: u8 = 6;
    let Some(lab) = Lab::new("twice", UPLINKS) else {
        return;
    };
    let mut live = lab.start(&[], FLAPSCOPE, &["--no-packets"]);
    narrow(live.out.as_ref().unwrap());
    std::thread::sleep(Duration::from_millis(300));
    trouble(&lab, UPLINKS);
    live.signal("-INT");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(
        live.child.try_wait().unwrap(),
        None,
        "it should wait for its reader"
    );
    let asked = Instant::now();
    live.signal("-INT");
    assert_eq!(live.code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_reader_that_goes_away_is_no_error_and_the_recording_is_whole() {
    let Some(lab) = Lab::new("gone", 2) else {
        return;
    };
    let file = lab.file("run.pcapng");
    let mut live = lab.start(&[], FLAPSCOPE, &["--no-packets", "-w", &file]);
    std::thread::sleep(Duration::from_millis(300));
    lab.host.far("link set up1 down");
    first_opened(&mut live);
    drop(live.out.take());
    lab.host.far("link set up2 down");
    assert_eq!(live.code(), Some(0));
    live.wait_for("recorded ");
    let text = serde_json::to_string(&analyzed(&file)).unwrap();
    assert!(
        text.contains("link:up1") && text.contains("link:up2"),
        "{text}"
    );
}

#[test]
fn a_hang_up_of_a_service_reads_again_and_of_a_terminal_ends_in_order() {
    let Some(lab) = Lab::new("hup", 1) else {
        return;
    };
    let mut live = lab.start(&[], FLAPSCOPE, &["--no-packets", "--headless"]);
    live.signal("-HUP");
    live.wait_for("SIGHUP");
    live.signal("-TERM");
    assert_eq!(live.code(), Some(0));

    let file = lab.file("run.pcapng");
    let inner = format!(
        "{FLAPSCOPE} live --no-packets -w {file}; echo $? >{}",
        lab.file("code")
    );
    let mut terminal = Command::new("ip")
        .args(["netns", "exec", &lab.host.name, "script", "-qc", &inner])
        .arg(lab.file("typescript"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let until = |what: &dyn Fn() -> bool| {
        let end = Instant::now() + PATIENCE;
        while !what() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until(&|| fs::metadata(&file).is_ok_and(|found| found.len() > 0));
    std::thread::sleep(Duration::from_millis(500));
    let shell = children(terminal.id())[0];
    let program = children(shell)[0];
    lab.host.far("link set up1 down");
    linkwatch();
    // The terminal goes away under it.
    assert!(
        Command::new("kill")
            .args(["-KILL", &terminal.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    terminal.wait().unwrap();
    until(&|| !Path::new(&format!("/proc/{program}")).exists());
    assert!(
        !Path::new(&format!("/proc/{program}")).exists(),
        "it outlives its terminal"
    );
    let text = serde_json::to_string(&analyzed(&file)).unwrap();
    assert!(text.contains("link.carrier-lost"), "{text}");
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}
