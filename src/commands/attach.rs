//! `flapscope attach`, and bare `flapscope` where a service runs: its screen over the control socket, so that nothing is captured twice.
//!
//! One thread reads pictures and answers into the screen's slot, this one hands its questions on. The service decides everything; when it
//! goes away the terminal is given back and one line says so.

use std::io::{self, IsTerminal, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};

use super::{ask, live};
use crate::cli::At;
use crate::control::bridge::{Last, Line, SCREEN};
use crate::control::client::Client;
use crate::control::protocol::Request;
use crate::engine::snapshot::Mode;
use crate::event::text::sanitized;
use crate::tui::Tui;
use crate::tui::link::{Publisher, link};

/// A service that is well sends a picture each second; one that is silent for so long is stuck or stopped, and the screen would lie.
const SILENCE: Duration = Duration::from_secs(30);

/// A connection to a service that shows us what it knows.
pub struct Attached {
    client: Client,
    path: PathBuf,
}

/// `flapscope attach`.
pub fn run(at: &At) -> anyhow::Result<u8> {
    if !has_terminal() {
        bail!("a screen needs a terminal; `flapscope incidents` prints what the service knows");
    }
    Attached::to(&ask::socket(at))?.show()
}

/// The service of this host, if one runs that shows us something and there is a terminal to show it on.
pub fn found() -> Option<Attached> {
    if !has_terminal() {
        return None;
    }
    let socket = std::env::var_os("FLAPSCOPE_SOCKET").map(PathBuf::from);
    let path = ask::socket(&At { socket });
    path.exists().then(|| Attached::to(&path).ok()).flatten()
}

fn has_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

impl Attached {
    fn to(path: &Path) -> anyhow::Result<Attached> {
        let mut client = Client::connect(path)?;
        client.ask(&Request::Attach { screen: SCREEN })?;
        Ok(Attached {
            client,
            path: path.to_owned(),
        })
    }

    /// Shows it until the screen is left, or the service goes away.
    pub fn show(self) -> anyhow::Result<u8> {
        let name = sanitized(&self.path.to_string_lossy());
        let mut asking = self.client.handle()?;
        let (publisher, mut requests, link) = link();
        let tui = Tui::start(link, live::look()).context("cannot use the terminal")?;
        let (client, socket) = (self.client, name.clone());
        let reader = thread::Builder::new()
            .name("service".to_owned())
            .spawn(move || {
                let ended = read(client, &publisher, &socket);
                publisher.end();
                ended
            })?;
        let mut left = true;
        while let Some(request) = requests.blocking_recv() {
            let mut line = serde_json::to_string(&request)?;
            line.push('\n');
            if asking.write_all(line.as_bytes()).is_err() {
                left = false;
                break;
            }
        }
        // The reader went first when the service did: then it has something to say.
        left &= !reader.is_finished();
        let _ = asking.shutdown(Shutdown::Both); // it may be gone
        let ended = reader.join();
        tui.join().context("the screen")?;
        match ended {
            _ if left => Ok(0),
            Ok(Err(error)) => Err(error.context(format!("the service at {name}"))),
            _ => bail!("the service at {name} has ended; `flapscope` watches without it"),
        }
    }
}

/// Takes what the service says until it ends.
fn read(mut client: Client, publisher: &Publisher, socket: &str) -> anyhow::Result<()> {
    let mut last = Last::default();
    while let Some(line) = client.next_within(SILENCE)? {
        match serde_json::from_str(&line).context("speaks another language")? {
            Line::Picture(picture) => {
                let mut snapshot = last.snapshot(*picture).context("lost count of incidents")?;
                snapshot.mode = Mode::Attached(socket.to_owned());
                publisher.publish(snapshot);
            }
            Line::Reply(reply) => publisher.reply(*reply),
            Line::End => return Ok(()),
        }
    }
    Ok(())
}
