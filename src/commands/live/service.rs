//! The service manager: when the run is ready, that it is alive, that it ends (sd_notify(3), by its documented protocol).
//!
//! The socket is opened before the program is confined: afterwards no other could be reached. Without a manager nothing is said.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

/// The manager of a run.
pub struct Service {
    socket: Option<UnixDatagram>,
    /// It wants to hear from us at least this often (WatchdogSec=).
    watchdog: Option<Duration>,
    beat: Option<Interval>,
}

impl Service {
    /// From the environment that the manager made.
    pub fn of_environment() -> Service {
        Service {
            socket: socket(),
            watchdog: watchdog(),
            beat: None,
        }
    }

    /// Everything is open and watched.
    pub fn ready(&mut self) {
        self.say("READY=1");
        if self.socket.is_some() {
            // Twice as often as needed, as sd_watchdog_enabled(3) recommends.
            self.beat = self.watchdog.map(|every| {
                let mut beat = tokio::time::interval((every / 2).max(Duration::from_millis(1)));
                beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
                beat
            });
        }
    }

    /// Waits until it is time for the next sign of life, and gives it; for ever where nobody asks for one. Nothing is lost when
    /// this is dropped halfway.
    pub async fn alive(&mut self) {
        match &mut self.beat {
            Some(beat) => {
                beat.tick().await;
                self.say("WATCHDOG=1");
            }
            None => std::future::pending().await,
        }
    }

    /// The run ends.
    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    fn say(&self, what: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(what.as_bytes()); // a manager that does not listen is none
        }
    }
}

fn socket() -> Option<UnixDatagram> {
    let name = env::var_os("NOTIFY_SOCKET")?;
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest).ok()?,
        path @ [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path)).ok()?,
        _ => return None,
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect_addr(&address).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

/// `WATCHDOG_USEC`, where it is meant for this process.
fn watchdog() -> Option<Duration> {
    let meant = env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
    let micros: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (meant && micros > 0).then_some(Duration::from_micros(micros))
}
