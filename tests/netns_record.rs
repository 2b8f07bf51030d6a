//! Live capture and the flight recorder against the kernel, in network namespaces of their own. Needs root (or CAP_SYS_ADMIN,
//! CAP_NET_ADMIN and CAP_NET_RAW): without, the tests say SKIPPED; with `REQUIRE_NETNS=1` that is a failure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;

const FLAPSCOPE: &str = env!("CARGO_BIN_EXE_flapscope");

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two namespaces: a host with a bridge over its uplink, and what is at the other end of the cable. Both vanish with it.
struct Lab {
    host: String,
    far: String,
    folder: PathBuf,
}

impl Lab {
    /// `None` where namespaces cannot be made; that fails with `REQUIRE_NETNS=1`.
    fn new(tag: &str) -> Option<Lab> {
        let lab = Lab {
            host: format!("fsr-{tag}-h{}", std::process::id()),
            far: format!("fsr-{tag}-f{}", std::process::id()),
            folder: Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("netns-record-{tag}")),
        };
        if !run("ip", &["netns", "add", &lab.host]) {
            assert!(
                std::env::var("REQUIRE_NETNS").is_err(),
                "namespaces are required and cannot be made"
            );
            println!("SKIPPED: no right to make network namespaces");
            return None;
        }
        let _ = fs::remove_dir_all(&lab.folder);
        fs::create_dir_all(&lab.folder).unwrap();
        assert!(run("ip", &["netns", "add", &lab.far]));
        lab.ip("link set lo up");
        lab.cable();
        Some(lab)
    }

    fn cable(&self) {
        let far = &self.far;
        self.ip(&format!("link add up1 type veth peer name e0 netns {far}"));
        self.ip("link set up1 up");
        self.far_ip("link set e0 up");
    }

    fn bridge(&self) {
        self.ip("link add br0 type bridge");
        self.ip("link set up1 master br0");
        self.ip("link set br0 up");
    }

    fn ip(&self, command: &str) {
        inside(&self.host, &format!("ip {command}"));
    }

    fn far_ip(&self, command: &str) {
        inside(&self.far, &format!("ip {command}"));
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// Starts flapscope in the host's namespace and waits until it captures.
    fn start(&self, arguments: &[&str]) -> Running {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.host, FLAPSCOPE])
            .args(arguments);
        let mut running = Running::spawn(command);
        running.wait_for("capturing on");
        running
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in [&self.host, &self.far] {
            run("ip", &["netns", "del", name]);
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let quiet = command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn inside(namespace: &str, command: &str) {
    let mut arguments = vec!["netns", "exec", namespace];
    arguments.extend(command.split(' '));
    assert!(run("ip", &arguments), "{namespace}: {command}");
}

/// A program whose lines are read as they come; it is killed if the test does not end it.
struct Running {
    child: Child,
    /// Lines of both outputs; standard output's are prefixed with `>`.
    lines: Receiver<String>,
    told: String,
    heard: Vec<String>,
}

impl Running {
    fn spawn(mut command: Command) -> Running {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let outputs: [(&str, Box<dyn Read + Send>); 2] = [
            (">", Box::new(child.stdout.take().unwrap())),
            ("", Box::new(child.stderr.take().unwrap())),
        ];
        for (prefix, output) in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = sender.send(format!("{prefix}{line}"));
                }
            });
        }
        Running {
            child,
            lines,
            told: String::new(),
            heard: Vec::new(),
        }
    }

    fn hear(&mut self, line: String) {
        if let Some(told) = line.strip_prefix('>') {
            self.told.push_str(told);
            self.told.push('\n');
        }
        self.heard.push(line);
    }

    /// Waits for a line that contains `text`, which may have been heard already.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        #[expect(clippy::disallowed_methods, reason = "a real program is waited for")]
        let end = Instant::now() + PATIENCE;
        while !self.heard.iter().any(|line| line.contains(text)) {
            #[expect(clippy::disallowed_methods, reason = "a real program is waited for")]
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.hear(line),
                Err(_) => panic!("{text:?} was never said, but:\n{}", self.heard.join("\n")),
            }
        }
    }

    fn signal(&self, name: &str) {
        assert!(run("kill", &[name, &self.child.id().to_string()]));
    }

    /// ^C, then what it told on standard output.
    fn end(&mut self) -> String {
        self.signal("-INT");
        assert_eq!(self.child.wait().unwrap().code(), Some(130));
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.hear(line);
        }
        std::mem::take(&mut self.told)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn flapscope(arguments: &[&str]) -> String {
    let output = Command::new(FLAPSCOPE).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn opens_in_tshark(path: &str) {
    match Command::new("tshark")
        .args(["-n", "-Y", "_ws.malformed", "-r", path])
        .output()
    {
        Ok(output) => {
            assert!(output.status.success());
            assert_eq!(String::from_utf8_lossy(&output.stdout), "");
        }
        Err(_) => println!("SKIPPED: tshark is not installed"),
    }
}

fn kinds(alerts: &str) -> Vec<String> {
    let mut kinds: Vec<String> = alerts
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|alert| alert["incident"]["kind"].as_str().unwrap().to_owned())
        .collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

#[test]
fn the_analysis_of_a_recording_is_what_the_live_run_told() {
    let Some(lab) = Lab::new("law") else { return };
    lab.bridge();
    lab.far_ip("addr add 192.0.2.1/24 dev e0");
    let judged = lab.file("live.pcapng");
    // The server that answers is not the one that is meant to.
    let meant = ["--dhcp-server", "192.0.2.250"];
    let arguments = [&["live", "--format", "json", "-w", &judged][..], &meant].concat();
    let mut live = lab.start(&arguments);
    let only = lab.file("record.pcapng");
    let mut record = lab.start(&["record", "-w", &only]);

    let script = lab.file("udhcpc.sh");
    fs::write(
        &script,
        "#!/bin/sh\n[ \"$1\" = bound ] && ip addr add $ip/24 dev $interface\nexit 0\n",
    )
    .unwrap();
    assert!(run("chmod", &["+x", &script]));
    let mut server = Command::new("ip");
    server.args([
        "netns",
        "exec",
        &lab.far,
        "dnsmasq",
        "--keep-in-foreground",
        "--port=0",
    ]);
    server.args([
        "--conf-file=/dev/null",
        "--interface=e0",
        "--bind-interfaces",
        "--log-facility=-",
    ]);
    server.args(["--no-ping", "--user=root", "--group=root", "--pid-file="]);
    server.arg("--dhcp-range=192.0.2.100,192.0.2.150,2m");
    server.arg(format!("--dhcp-leasefile={}", lab.file("leases")));
    let mut server = Running::spawn(server);
    server.wait_for("DHCP, IP range");
    inside(
        &lab.host,
        &format!("udhcpc -n -q -f -t 10 -i br0 -s {script}"),
    );
    live.wait_for("dhcp.rogue-server");
    inside(&lab.host, "ping -q -c 3 -i 0.2 192.0.2.1");
    lab.ip("route add 203.0.113.0/24 via 192.0.2.1");
    lab.far_ip("link set e0 down");
    live.wait_for("link.carrier-lost");
    lab.far_ip("link set e0 up");
    lab.ip("link set br0 down");
    live.wait_for("br0");
    lab.ip("link set br0 up");
    inside(&lab.host, "ping -q -c 1 -W 20 192.0.2.1");

    let told = live.end();
    record.end();
    let again = flapscope(&[&["analyze", "--format", "ndjson", &judged][..], &meant].concat());
    assert_eq!(
        again, told,
        "law 13: the recording replays to the same octets"
    );
    // Another process stamps netlink at other nanoseconds, so ids differ there and kinds do not.
    let other = flapscope(&[&["analyze", "--format", "ndjson", &only][..], &meant].concat());
    assert_eq!(kinds(&other), kinds(&told));
    for path in [&judged, &only] {
        opens_in_tshark(path);
        let events = flapscope(&["decode", path]);
        for said in ["DISCOVER", "OFFER", "ACK", "203.0.113.0/24"] {
            assert!(events.contains(said), "{path}: no {said}");
        }
    }
}

#[test]
fn interfaces_may_go_and_come_back_while_they_are_captured() {
    let Some(lab) = Lab::new("come") else { return };
    let path = lab.file("f.pcapng");
    let mut record = lab.start(&["record", "-w", &path, "-i", "up1"]);
    lab.ip("link del up1");
    record.wait_for("up1: capture ended");
    lab.cable();
    record.wait_for("up1: captured from now on");
    // Down is no end.
    lab.ip("link set up1 down");
    lab.ip("link set up1 up");
    lab.ip("addr add 192.0.2.2/24 dev up1");
    lab.far_ip("addr add 192.0.2.1/24 dev e0");
    inside(&lab.host, "ping -q -c 1 -W 20 192.0.2.1");
    record.end();
    let report: Value =
        serde_json::from_str(&flapscope(&["analyze", "--format", "json", &path])).unwrap();
    let gaps = report["gaps"].to_string();
    assert!(gaps.contains("up1 was not captured"), "{gaps}");
    assert!(flapscope(&["decode", &path]).contains("192.0.2.1"));
}

#[test]
fn what_the_kernel_drops_is_counted_to_the_frame() {
    let Some(lab) = Lab::new("drops") else { return };
    let path = lab.file("f.pcapng");
    let mut record = lab.start(&["record", "-w", &path, "-i", "up1"]);
    // While the recorder stands still its buffer fills.
    record.signal("-STOP");
    let sent = 120_000u64;
    let send = format!(
        "import socket\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\ns.bind(('e0',0))\nf=bytes.fromhex('ffffffffffff02000000000a08060001080006040001')+bytes(1200)\nfor _ in range({sent}): s.send(f)\n"
    );
    let script = lab.file("send.py");
    fs::write(&script, send).unwrap();
    inside(&lab.far, &format!("python3 {script}"));
    record.signal("-CONT");
    record.end();
    let line = record
        .heard
        .iter()
        .find(|line| line.contains("up1: "))
        .unwrap();
    let numbers: Vec<u64> = line
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect();
    let [.., frames, lost] = numbers[..] else {
        panic!("{line}")
    };
    assert!(lost > 0, "{line}");
    // Neighbor discovery of the fresh interface may be among them.
    assert!((sent..sent + 20).contains(&(frames + lost)), "{line}");
    let report: Value =
        serde_json::from_str(&flapscope(&["analyze", "--format", "json", &path])).unwrap();
    let told: u64 = report["gaps"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|gap| gap["lost"].as_u64())
        .sum();
    assert_eq!(told, lost);
}
