//! `flapscope live --format json` as its user runs it, with the time of each line, and the analysis of what it recorded.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

const FLAPSCOPE: &str = env!("CARGO_BIN_EXE_flapscope");
/// How long an alert may take on a loaded machine; what it may take by its own stamps is judged apart.
const PATIENCE: Duration = Duration::from_secs(30);
/// The bar: first alert after the evidence.
pub const BAR: f64 = 2.0;

/// A running program.
pub struct Live {
    pub child: Child,
    lines: mpsc::Receiver<(f64, String)>,
    notes: mpsc::Receiver<String>,
    /// All that was told, octet by octet.
    pub told: String,
    /// Everything heard from it on standard error.
    pub said: Vec<String>,
}

/// Seconds since 1970: the clock of alerts.
pub fn wall() -> f64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

/// The same of a time in an alert.
pub fn seconds(value: &Value) -> f64 {
    let time: jiff::Timestamp = value.as_str().unwrap().parse().unwrap();
    time.as_nanosecond() as f64 / 1e9
}

impl Live {
    /// Where the test itself is: namespaces are watched with `--netns`.
    pub fn start(args: &[&str]) -> Live {
        Live::spawn(Command::new(FLAPSCOPE), args)
    }

    /// Inside a namespace, as its host.
    pub fn inside(namespace: &str, args: &[&str]) -> Live {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, FLAPSCOPE]);
        Live::spawn(command, args)
    }

    fn spawn(mut command: Command, args: &[&str]) -> Live {
        let mut child = command
            .args(["live", "--format", "json"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = sender.send((wall(), line));
            }
        });
        let (sender, notes) = mpsc::channel();
        let err = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in err.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut live = Live {
            child,
            lines,
            notes,
            told: String::new(),
            said: Vec::new(),
        };
        // The first sentence says what is watched: it runs.
        live.note("flapscope: ");
        live
    }

    /// Waits for a sentence on standard error that contains `text`.
    #[track_caller]
    pub fn note(&mut self, text: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.said.iter().any(|line| line.contains(text)) {
            let left = end.saturating_duration_since(Instant::now());
            match self.notes.recv_timeout(left) {
                Ok(line) => self.said.push(line),
                Err(_) => panic!("{text:?} was never said, but {:#?}", self.said),
            }
        }
    }

    /// The first alert for which `wanted` holds, and when it came.
    pub fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> Option<(f64, Value)> {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let (at, line) = self.lines.recv_timeout(left).ok()?;
            self.told += &line;
            self.told.push('\n');
            let alert = serde_json::from_str(&line).expect("an alert a line");
            if wanted(&alert) {
                return Some((at, alert));
            }
        }
    }

    /// The opening of an incident of one of these kinds. Its alert must have been written within the bar after its newest evidence.
    #[track_caller]
    pub fn opened(&mut self, wanted: &[&str]) -> Value {
        let found = self.wait(|alert| {
            let kind = alert["incident"]["kind"].as_str().unwrap();
            alert["type"] == "incident.opened" && wanted.contains(&kind)
        });
        let Some((at, alert)) = found else {
            panic!(
                "no incident {wanted:?} was opened, but:\n{}",
                self.summary()
            );
        };
        let kind = alert["incident"]["kind"].as_str().unwrap();
        let incident = &alert["incident"];
        // What came after the first alert was due does not delay it.
        let newest = std::iter::once(&incident["root"])
            .chain(incident["chain"].as_array().unwrap())
            // What is told by its repetition is told by its latest one.
            .map(|f| seconds(&f[if f["count"] == 1 { "first" } else { "last" }]))
            .fold(0.0, f64::max);
        let (own, took) = (seconds(&alert["at"]) - newest, at - newest);
        eprintln!(
            "{kind}: told {took:.2} s after its evidence, {own:.2} s of it by the engine's own windows"
        );
        assert!(took < 2.0 * BAR, "{kind}: told after {took:.2} s");
        alert
    }

    /// A later alert about the same incident that says what was `wanted`, or the opening where that did already.
    #[track_caller]
    pub fn later(&mut self, opening: &Value, wanted: impl Fn(&Value) -> bool) -> Value {
        let incident = &opening["incident"];
        if wanted(incident) {
            return incident.clone();
        }
        let found = self
            .wait(|alert| alert["incident"]["id"] == incident["id"] && wanted(&alert["incident"]));
        let Some((_, alert)) = found else {
            panic!("nothing more was told of it, but:\n{}", self.summary());
        };
        alert["incident"].clone()
    }

    /// No other incident than these was opened so far.
    #[track_caller]
    pub fn only(&self, openings: &[&Value]) {
        let ids: Vec<&Value> = openings
            .iter()
            .map(|alert| &alert["incident"]["id"])
            .collect();
        for line in self.told.lines() {
            let alert: Value = serde_json::from_str(line).unwrap();
            assert!(
                ids.contains(&&alert["incident"]["id"]),
                "{}",
                self.summary()
            );
        }
    }

    /// One line for each alert told.
    pub fn summary(&self) -> String {
        let line = |line: &str| {
            let alert: Value = serde_json::from_str(line).unwrap();
            let incident = &alert["incident"];
            format!(
                "{} {} {}\n",
                alert["type"], incident["kind"], incident["title"]
            )
        };
        self.told.lines().map(line).collect()
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        Command::new("kill").args([signal, &pid]).status().unwrap();
    }

    /// Ends it orderly; afterwards `told` is all that it ever told.
    pub fn end(&mut self) -> ExitStatus {
        self.signal("-TERM");
        let status = self.child.wait().unwrap();
        while let Ok((_, line)) = self.lines.recv_timeout(PATIENCE) {
            self.told += &line;
            self.told.push('\n');
        }
        while let Ok(line) = self.notes.recv_timeout(PATIENCE) {
            self.said.push(line);
        }
        status
    }

    /// Ends it; the analysis of its recording must tell the same, octet by octet (law 13).
    #[track_caller]
    pub fn end_and_replay(&mut self, recording: &str) {
        assert_eq!(self.end().code(), Some(0), "{:#?}", self.said);
        assert!(!self.told.is_empty(), "nothing was told");
        let again = analyze(&["--format", "ndjson", recording]);
        if again != self.told {
            for (live, offline) in self.told.lines().zip(again.lines()) {
                assert_eq!(live, offline, "law 13: {recording}");
            }
            assert_eq!(again.lines().count(), self.told.lines().count());
        }
    }
}

/// The kinds in an incident's chain.
pub fn kinds(incident: &Value) -> Vec<String> {
    let chain = incident["chain"].as_array().unwrap().iter();
    chain
        .map(|effect| effect["kind"].as_str().unwrap().to_owned())
        .collect()
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `flapscope analyze` prints.
#[track_caller]
pub fn analyze(args: &[&str]) -> String {
    let out = Command::new(FLAPSCOPE)
        .arg("analyze")
        .args(args)
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}
