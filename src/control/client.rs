//! The asking side, for `flapscope incidents`, `show` and `annotate`: one request, one answer; errors that say what to do.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use super::protocol::Request;
use crate::event::text::sanitized;

/// A service that is alive answers within this, even in a flood.
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets of an answer that are believed: thousands of incidents.
const MAX_ANSWER: u64 = 256 << 20;

/// A connection to a service.
pub struct Client {
    stream: BufReader<UnixStream>,
    /// The begin of a line.
    heard: Vec<u8>,
}

/// What a service says.
pub enum Heard {
    Line(Vec<u8>),
    /// Nothing, for as long as one was willing to wait.
    Silence,
    End,
}

impl Client {
    /// Connects to the service at `path`.
    pub fn connect(path: &Path) -> anyhow::Result<Client> {
        let name = sanitized(&path.to_string_lossy());
        let stream = UnixStream::connect(path).map_err(|error| {
            let what = match error.kind() {
                io::ErrorKind::NotFound => "nothing is there",
                io::ErrorKind::ConnectionRefused => "nobody listens there any more",
                io::ErrorKind::PermissionDenied => {
                    let what = format!(
                        "the service's socket {name} is not yours to use: become a member of its group, or root"
                    );
                    return anyhow::Error::from(error).context(what);
                }
                _ => "it cannot be reached",
            };
            anyhow::anyhow!(
                "no flapscope service at {name} ({what}): start one with `flapscope live --headless`, or say with --socket where it listens"
            )
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client {
            stream: BufReader::new(stream),
            heard: Vec::new(),
        })
    }

    /// Whether a service answers at `path`.
    pub fn answers(path: &Path) -> bool {
        Client::connect(path).is_ok_and(|mut client| client.ask(&Request::Hello).is_ok())
    }

    /// Asks, and waits for the answer.
    pub fn ask(&mut self, request: &Request) -> anyhow::Result<Value> {
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        self.stream
            .get_mut()
            .write_all(line.as_bytes())
            .context("the service does not take the request")?;
        let line = self
            .line()?
            .context("the service ended without an answer")?;
        let answer: Value =
            serde_json::from_str(&line).context("the service's answer cannot be read")?;
        if answer["ok"] != Value::Bool(true) {
            let error = answer["error"].as_str().unwrap_or("it says nothing more");
            bail!("the service says: {error}");
        }
        Ok(answer)
    }

    /// What comes next within `patience`. A line that comes in pieces is kept until it is whole.
    pub fn hear(&mut self, patience: Duration) -> io::Result<Heard> {
        self.stream.get_ref().set_read_timeout(Some(patience))?;
        let room = MAX_ANSWER.saturating_sub(self.heard.len() as u64);
        let got = self
            .stream
            .by_ref()
            .take(room)
            .read_until(b'\n', &mut self.heard);
        match got {
            Ok(_) if self.heard.ends_with(b"\n") => {
                Ok(Heard::Line(std::mem::take(&mut self.heard)))
            }
            // The end, or a line that never ends.
            Ok(_) => Ok(Heard::End),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(Heard::Silence),
                _ => Err(error),
            },
        }
    }

    /// Another handle of the connection, for who asks while somebody else waits for answers.
    pub fn handle(&self) -> io::Result<UnixStream> {
        self.stream.get_ref().try_clone()
    }

    /// The next line of a subscription; waits for as long as it takes.
    pub fn following(&mut self) -> anyhow::Result<Option<String>> {
        self.stream.get_ref().set_read_timeout(None)?;
        self.line()
    }

    fn line(&mut self) -> anyhow::Result<Option<String>> {
        let mut line = String::new();
        let got = self
            .stream
            .by_ref()
            .take(MAX_ANSWER)
            .read_line(&mut line)
            .context("the service does not answer")?;
        Ok((got > 0).then_some(line))
    }
}
