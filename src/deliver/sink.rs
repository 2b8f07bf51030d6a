//! What a receiver looks like from here: it takes a notice, wants it again later, or never will take it.

pub mod alertmanager;
pub mod exec;
pub mod file;
pub mod journald;
pub mod syslog;
pub mod webhook;

use std::time::{Duration, Instant};

use super::Notice;

/// A way to one receiver. It runs on a thread of its own and may block, within a minute.
pub trait Sink: Send {
    /// Hands a notice over.
    fn deliver(&mut self, notice: &Notice) -> Outcome;

    /// When it wants to be tended though nothing new came; `None`: never.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Does what is due.
    fn tend(&mut self) -> Outcome {
        Outcome::Done(String::new())
    }

    /// Files may have been renamed.
    fn reopen(&mut self) {}
}

/// How a try went.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Outcome {
    /// The receiver has it; its answer, for who wants to know.
    Done(String),
    /// Not now; perhaps not before some time.
    Again(Failure, Option<Duration>),
    /// This one never: the receiver does not want it.
    Never(Failure),
}

/// Why a try failed.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Failure {
    pub reason: Reason,
    /// In a few words, without secrets.
    pub why: String,
}

/// Why, as a metric's label says it; the words are Alertmanager's for its own notifications (0.34), so that one alert rule fits both.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Reason {
    Auth,
    RateLimited,
    Client,
    Server,
    Timeout,
    Other,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 6] = [
        Reason::Auth,
        Reason::RateLimited,
        Reason::Client,
        Reason::Server,
        Reason::Timeout,
        Reason::Other,
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Auth => "authError",
            Reason::RateLimited => "rateLimited",
            Reason::Client => "clientError",
            Reason::Server => "serverError",
            Reason::Timeout => "contextDeadlineExceeded",
            Reason::Other => "other",
        }
    }
}

impl Failure {
    /// With its reason.
    pub fn new(reason: Reason, why: impl Into<String>) -> Failure {
        Failure {
            reason,
            why: why.into(),
        }
    }
}

impl Outcome {
    /// Of a system call: files and sockets come back.
    pub fn of_io(error: &std::io::Error, what: &str) -> Outcome {
        use std::io::ErrorKind::{TimedOut, WouldBlock};
        let reason = match error.kind() {
            TimedOut | WouldBlock => Reason::Timeout,
            _ => Reason::Other,
        };
        Outcome::Again(Failure::new(reason, format!("{what}: {error}")), None)
    }
}
