//! Signals of a live run, on a task of their own: the run may be waiting for whoever reads its output, and a second ^C must not.
//!
//! ^C and SIGTERM end the run in order, once; asked twice, the program ends at once. SIGHUP is a hang-up with a terminal: it ends the run
//! too. Without one (a service, `--headless`) it asks for what was read from files to be read again.

use std::io::{self, IsTerminal};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Exit codes of who was ended by a signal, as shells tell it: 128 and the signal's number.
pub const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// What a signal asks for.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Asked {
    /// To end: by ^C, or otherwise.
    End { interrupt: bool },
    /// To read configuration and data files again.
    Reload,
}

/// The signals, as a channel. `restore` is called before the program ends at once (a screen gives the terminal back).
pub fn listen(
    headless: bool,
    restore: impl FnOnce() + Send + 'static,
) -> io::Result<mpsc::Receiver<Asked>> {
    // Few are ever waiting: the end is told once, reloads are joined.
    let (sender, asked) = mpsc::channel(4);
    let terminal = !headless && (io::stdin().is_terminal() || io::stdout().is_terminal());
    let signals = Signals {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
        hangup: signal(SignalKind::hangup())?,
    };
    tokio::spawn(signals.watch(terminal, sender, restore));
    Ok(asked)
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    async fn watch(
        mut self,
        terminal: bool,
        sender: mpsc::Sender<Asked>,
        restore: impl FnOnce() + Send + 'static,
    ) {
        let mut ending = false;
        loop {
            let (interrupt, code) = tokio::select! {
                _ = self.interrupt.recv() => (true, INTERRUPTED),
                _ = self.terminate.recv() => (false, TERMINATED),
                _ = self.hangup.recv() => {
                    if terminal && !ending {
                        ending = true;
                        let _ = sender.try_send(Asked::End { interrupt: false }); // see below
                    } else if !terminal {
                        let _ = sender.try_send(Asked::Reload); // full: one is waiting already
                    }
                    continue;
                }
            };
            if ending {
                within_reason(restore);
                at_once(code);
            }
            ending = true;
            // A run that reads no more is ending already.
            let _ = sender.send(Asked::End { interrupt }).await;
        }
    }
}

/// A terminal that takes nothing any more (^S) does not keep us.
fn within_reason(restore: impl FnOnce() + Send + 'static) {
    const PATIENCE: Duration = Duration::from_millis(300);
    let (done, over) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        restore();
        let _ = done.send(()); // nobody waits any more: fine
    });
    let _ = over.recv_timeout(PATIENCE);
}

/// What was told is out; the rest is given up.
#[expect(
    clippy::exit,
    reason = "the run may hang in a write to whoever does not read; nothing else ends it"
)]
fn at_once(code: u8) -> ! {
    std::process::exit(code.into())
}
