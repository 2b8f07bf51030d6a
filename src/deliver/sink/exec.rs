//! A program of the operator's, with the alert on its standard input.
//!
//! The sandbox forbids the service to start programs, rightly. So a helper is started before it: this program again, which only knows the
//! command that was configured, keeps no capability, and runs it once for each notice that comes down a socket pair. Exit code 0 is done;
//! 75 (EX_TEMPFAIL) and death by a signal are tried again; every other code is "never", as with HTTP's 4xx.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use serde::{Deserialize, Serialize};

use super::{Failure, Outcome, Reason, Sink};
use crate::deliver::Notice;
use crate::deliver::clerk::now;

/// The word that makes this program the helper.
pub const HELPER: &str = "exec-helper";
/// Octets of what a program says that are kept.
const SAID: u64 = 512;
/// sysexits.h: try again later.
const TEMPFAIL: i32 = 75;
/// Between two looks at a running program.
const LOOK: Duration = Duration::from_millis(20);

/// Which program.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Settings {
    /// The program and its arguments; no shell reads them.
    pub command: Vec<String>,
    /// It is killed after this.
    pub timeout: Duration,
}

/// How a run of the program ended, as the helper tells.
#[derive(Debug, Serialize, Deserialize)]
struct Ended {
    /// `None`: it was killed, by whomever.
    code: Option<i32>,
    said: String,
    late: bool,
}

/// A notice on its way to the helper.
#[derive(Debug, Serialize, Deserialize)]
struct Ask {
    key: String,
    state: String,
    severity: String,
    kind: String,
    test: bool,
    body: String,
}

/// A running helper.
pub struct Exec {
    settings: Settings,
    helper: Child,
    stream: BufReader<UnixStream>,
}

impl Drop for Exec {
    fn drop(&mut self) {
        // The closed socket ends it, too; whoever waits for its program is ended here.
        let _ = self.helper.kill();
        let _ = self.helper.wait();
    }
}

impl Exec {
    /// Starts the helper: before rights are given up.
    pub fn open(settings: &Settings) -> io::Result<Exec> {
        let (ours, theirs) = UnixStream::pair()?;
        let theirs = OwnedFd::from(theirs);
        let helper = Command::new("/proc/self/exe")
            .arg(HELPER)
            .arg(settings.timeout.as_millis().to_string())
            .args(&settings.command)
            .stdin(Stdio::from(theirs.try_clone()?))
            .stdout(Stdio::from(theirs))
            .stderr(Stdio::null())
            // Secrets of other sinks may be there.
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .spawn()?;
        ours.set_read_timeout(Some(settings.timeout + Duration::from_secs(5)))?;
        ours.set_write_timeout(Some(Duration::from_secs(5)))?;
        Ok(Exec {
            settings: settings.clone(),
            helper,
            stream: BufReader::new(ours),
        })
    }

    fn run(&mut self, ask: &Ask) -> io::Result<Ended> {
        let mut line = serde_json::to_string(ask)?;
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes())?;
        let mut answer = String::new();
        let got = (&mut self.stream).take(16 << 10).read_line(&mut answer)?;
        if got == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Sink for Exec {
    fn deliver(&mut self, notice: &Notice) -> Outcome {
        let ask = Ask {
            key: notice.key(),
            state: notice.stage.as_str().to_owned(),
            severity: notice.urgency.as_str().to_owned(),
            kind: notice.kind.clone(),
            test: notice.test,
            body: notice.body.clone(),
        };
        let ended = self.run(&ask);
        let program = self.settings.command.first().map_or("", String::as_str);
        match ended {
            Ok(Ended {
                code: Some(0),
                said,
                ..
            }) => Outcome::Done(format!("exit 0 {said}").trim_end().to_owned()),
            Ok(Ended { late: true, .. }) => {
                let why = format!(
                    "{program}: not done within {} s, killed",
                    self.settings.timeout.as_secs()
                );
                Outcome::Again(Failure::new(Reason::Timeout, why), None)
            }
            Ok(Ended { code, said, .. }) => {
                let how = code.map_or("killed by a signal".to_owned(), |code| {
                    format!("exit {code}")
                });
                let why = format!("{program}: {how} {said}").trim_end().to_owned();
                match code {
                    None => Outcome::Again(Failure::new(Reason::Other, why), None),
                    Some(TEMPFAIL) => Outcome::Again(Failure::new(Reason::Server, why), None),
                    Some(_) => Outcome::Never(Failure::new(Reason::Client, why)),
                }
            }
            Err(error) => Outcome::of_io(&error, &format!("{program}: its helper")),
        }
    }
}

/// The helper: `exec-helper MILLISECONDS COMMAND…`, asked on standard input, answering on standard output, until that is closed.
pub fn help(arguments: &[String]) -> io::Result<()> {
    let [timeout, program, rest @ ..] = arguments else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let timeout = Duration::from_millis(timeout.parse().map_err(io::Error::other)?);
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let ask: Ask = serde_json::from_str(&line?)?;
        let ended = run(program, rest, &ask, timeout).unwrap_or_else(|error| Ended {
            // Not there, not executable: as a shell says it.
            code: Some(127),
            said: error.to_string(),
            late: false,
        });
        serde_json::to_writer(&mut out, &ended)?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(())
}

fn run(program: &str, arguments: &[String], ask: &Ask, timeout: Duration) -> io::Result<Ended> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .env("FLAPSCOPE_KEY", &ask.key)
        .env("FLAPSCOPE_STATE", &ask.state)
        .env("FLAPSCOPE_SEVERITY", &ask.severity)
        .env("FLAPSCOPE_KIND", &ask.kind)
        .env("FLAPSCOPE_TEST", if ask.test { "1" } else { "" })
        // So that what it starts ends with it.
        .process_group(0)
        .spawn()?;
    let (mut input, body) = (child.stdin.take(), format!("{}\n", ask.body));
    // On threads: a program need not read, and may write more than a pipe holds.
    let writer = std::thread::spawn(move || {
        if let Some(input) = &mut input {
            let _ = input.write_all(body.as_bytes()); // it need not read
        }
    });
    let errors = child.stderr.take();
    let (tell, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut octets = Vec::new();
        if let Some(mut errors) = errors {
            let _ = errors.by_ref().take(SAID).read_to_end(&mut octets); // what there is
            let _ = tell.send(octets); // nobody waits any more
            let _ = io::copy(&mut errors, &mut io::sink());
        }
    });
    let end = now() + timeout;
    let mut late = false;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if now() >= end {
            late = true;
            let group = i32::try_from(child.id()).map(nix::unistd::Pid::from_raw);
            if group.is_ok_and(|group| killpg(group, Signal::SIGKILL).is_err()) {
                child.kill()?;
            }
            break child.wait()?;
        }
        std::thread::park_timeout(LOOK);
    };
    if !late {
        let _ = writer.join(); // it cannot panic
    }
    // A child of the program's may hold the pipe; it is not waited for.
    let said = said
        .recv_timeout(Duration::from_millis(200))
        .unwrap_or_default();
    let said: String = String::from_utf8_lossy(&said)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    Ok(Ended {
        code: status.code(),
        said: said.trim().to_owned(),
        late,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(script: &str, timeout: u64) -> Ended {
        let ask = Ask {
            key: "i-1/2".to_owned(),
            state: "opened".to_owned(),
            severity: "critical".to_owned(),
            kind: "link.flap".to_owned(),
            test: false,
            body: "{\"a\":1}".to_owned(),
        };
        let arguments = ["-c".to_owned(), script.to_owned()];
        run("/bin/sh", &arguments, &ask, Duration::from_millis(timeout)).unwrap()
    }

    #[test]
    fn a_program_reads_the_alert_and_its_words_come_back() {
        let done = ended("read line; echo \"$FLAPSCOPE_KEY $line\" >&2; exit 0", 5000);
        assert_eq!(
            (done.code, done.said.as_str()),
            (Some(0), "i-1/2 {\"a\":1}")
        );
        assert_eq!(ended("exit 75", 5000).code, Some(75));
        assert_eq!(
            ended("head -c 1000000 /dev/zero >&2; exit 3", 5000).code,
            Some(3)
        );
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let done = ended("exec sleep 60", 200);
        assert!(done.late && done.code.is_none());
    }
}
