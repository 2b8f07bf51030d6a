//! Questions on their way to a service that may go away meanwhile: what was not answered is asked again of the next one, because a screen
//! asks for a page only once.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::tui::link::{Publisher, Reply, Request};

/// Questions that wait for an answer: a screen has one of each kind and table under way. Beyond, the oldest has been given up.
const WAITING: usize = 32;

/// The asking side of a connection.
#[derive(Default)]
pub struct Asking {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stream: Option<Arc<UnixStream>>,
    waiting: BTreeMap<u64, Request>,
    /// The screen was left.
    closed: bool,
}

impl Asking {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection is there: what waits is asked. False when the screen was left.
    pub fn open(&self, stream: UnixStream) -> bool {
        let stream = Arc::new(stream);
        let mut state = self.state();
        if state.closed {
            return false;
        }
        state.stream = Some(stream.clone());
        let waiting: Vec<Request> = state.waiting.values().cloned().collect();
        // Nobody waits for the lock while a service takes its time to read.
        drop(state);
        for request in waiting {
            send(&stream, &request);
        }
        true
    }

    /// The connection is gone.
    pub fn lost(&self) {
        self.state().stream = None;
    }

    /// The screen was left: who reads is woken.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        if let Some(stream) = state.stream.take() {
            let _ = stream.shutdown(Shutdown::Both); // it may be gone
        }
    }

    /// Asks now, or when there is somebody to ask.
    pub fn ask(&self, request: Request, screen: &Publisher) {
        let mut state = self.state();
        let stream = state.stream.clone();
        match request.number() {
            Some(number) => {
                state.waiting.insert(number, request.clone());
                if state.waiting.len() > WAITING {
                    state.waiting.pop_first();
                }
            }
            None if stream.is_none() => {
                let text = "the service is away: ask again when it is back".to_owned();
                screen.reply(Reply::Said(text));
            }
            None => {}
        }
        drop(state);
        if let Some(stream) = stream {
            send(&stream, &request);
        }
    }

    /// An answer came.
    pub fn answered(&self, reply: &Reply) {
        if let Some(number) = reply.number() {
            self.state().waiting.remove(&number);
        }
    }
}

fn send(mut stream: &UnixStream, request: &Request) {
    let Ok(mut line) = serde_json::to_string(request) else {
        return;
    };
    line.push('\n');
    let _ = stream.write_all(line.as_bytes()); // who reads hears that it is gone
}
