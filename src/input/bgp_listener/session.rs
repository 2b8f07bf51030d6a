//! One BGP session of a speaker that only listens: the state machine of RFC 4271 §8 as far as a passive one needs it, sans-IO.
//!
//! Octets and time in, [`Action`]s out. It never announces a route, never restarts gracefully and never calls anybody. Of messages it
//! holds what it must read (OPEN, NOTIFICATION) and nothing of UPDATEs, so its memory does not depend on what is sent.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::open::{self, HEADER, Theirs, message};

pub const UPDATE: u8 = 2;
pub const NOTIFICATION: u8 = 3;
pub const KEEPALIVE: u8 = 4;
pub const ROUTE_REFRESH: u8 = 5;

/// RFC 4271 §4.1 and, when both ends offered it, RFC 8654 §4.
const MAX_MESSAGE: usize = 4096;
const MAX_EXTENDED: usize = 65_535;
/// From connection to OPEN. RFC 4271 §8.2.2 suggests four minutes for speakers that call; one that is called hears the OPEN with the
/// handshake, and until then a stranger holds the connection.
const OPEN_WITHIN: Duration = Duration::from_secs(30);
/// From a message's first octet to its last where no hold timer runs.
const MESSAGE_WITHIN: Duration = Duration::from_secs(60);
/// KEEPALIVEs in a hold time (RFC 4271 §10).
const KEEPALIVES_PER_HOLD: u32 = 3;

const HEADER_ERROR: u8 = 1;
const HOLD_TIMER_EXPIRED: u8 = 4;
const FSM_ERROR: u8 = 5;
pub const CEASE: u8 = 6;
/// RFC 4486 §3.
pub const ADMINISTRATIVE_SHUTDOWN: u8 = 2;
pub const CONNECTION_REJECTED: u8 = 5;
pub const COLLISION: u8 = 7;
pub const OUT_OF_RESOURCES: u8 = 8;

/// Who we are.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Speaker {
    pub asn: u32,
    pub router_id: Ipv4Addr,
    /// Hold time offered, seconds.
    pub hold: u16,
}

/// A NOTIFICATION.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Notification {
    pub code: u8,
    pub subcode: u8,
    pub data: Vec<u8>,
}

impl Notification {
    pub fn new(code: u8, subcode: u8) -> Notification {
        Notification {
            code,
            subcode,
            data: Vec::new(),
        }
    }

    fn message(&self) -> Vec<u8> {
        let mut body = vec![self.code, self.subcode];
        body.extend_from_slice(&self.data);
        message(NOTIFICATION, &body)
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (self.code, self.subcode) {
            (HEADER_ERROR, 1) => "connection not synchronised",
            (HEADER_ERROR, 2) => "bad message length",
            (HEADER_ERROR, 3) => "bad message type",
            (open::OPEN_ERROR, 1) => "unsupported version",
            (open::OPEN_ERROR, 2) => "bad peer AS",
            (open::OPEN_ERROR, 3) => "bad BGP identifier",
            (open::OPEN_ERROR, 4) => "unsupported optional parameter",
            (open::OPEN_ERROR, 6) => "unacceptable hold time",
            (open::OPEN_ERROR, 7) => "unsupported capability",
            (open::OPEN_ERROR, _) => "malformed OPEN",
            (3, _) => "UPDATE error",
            (HOLD_TIMER_EXPIRED, _) => "hold timer expired",
            (FSM_ERROR, _) => "unexpected message",
            (CEASE, ADMINISTRATIVE_SHUTDOWN) => "administrative shutdown",
            (CEASE, 3) => "peer de-configured",
            (CEASE, CONNECTION_REJECTED) => "connection rejected",
            (CEASE, COLLISION) => "connection collision",
            (CEASE, OUT_OF_RESOURCES) => "out of resources",
            (CEASE, _) => "cease",
            _ => "an unknown reason",
        };
        write!(f, "NOTIFICATION {}/{}, {what}", self.code, self.subcode)
    }
}

/// RFC 4271 §8.2.2; Idle, Connect and Active are the socket's matter.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum State {
    OpenSent,
    OpenConfirm,
    Established,
    Closed,
}

/// Why a session is over.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum End {
    /// We said so.
    Sent(Notification),
    /// The router said so.
    Received(Notification),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Sent(notification) => write!(f, "we sent {notification}"),
            End::Received(notification) => write!(f, "it sent {notification}"),
        }
    }
}

/// What the driver has to do, in this order.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Action {
    Send(Vec<u8>),
    /// The router's OPEN is good: from here on it is a feed.
    Accepted(Theirs),
    Close(End),
}

/// Reads messages from octets in any cut.
#[derive(Debug, Default)]
struct Reader {
    head: Vec<u8>,
    body: Vec<u8>,
    /// Octets of the body to come.
    left: usize,
    begun: Option<Duration>,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    us: Speaker,
    expected_as: Option<u32>,
    state: State,
    reader: Reader,
    extended: bool,
    /// Negotiated; zero is no timer.
    hold: Duration,
    hold_due: Option<Duration>,
    keepalive_due: Option<Duration>,
}

impl Session {
    /// The router is connected: our OPEN goes out.
    pub fn start(
        us: Speaker,
        expected_as: Option<u32>,
        now: Duration,
        out: &mut Vec<Action>,
    ) -> Session {
        out.push(Action::Send(open::ours(&us)));
        Session {
            us,
            expected_as,
            state: State::OpenSent,
            reader: Reader::default(),
            extended: false,
            hold: Duration::ZERO,
            hold_due: Some(now + OPEN_WITHIN),
            keepalive_due: None,
        }
    }

    /// The state, for tests.
    #[cfg(test)]
    fn state(&self) -> State {
        self.state
    }

    /// When [`tick`](Self::tick) is wanted.
    pub fn deadline(&self) -> Option<Duration> {
        let message = self
            .reader
            .begun
            .filter(|_| self.hold.is_zero() && self.state != State::OpenSent)
            .map(|begun| begun + MESSAGE_WITHIN);
        [self.hold_due, self.keepalive_due, message]
            .into_iter()
            .flatten()
            .min()
            .filter(|_| self.state != State::Closed)
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration, out: &mut Vec<Action>) {
        if self.state == State::Closed {
            return;
        }
        let held = self.hold_due.is_some_and(|due| now >= due);
        let slow = self.hold.is_zero()
            && self
                .reader
                .begun
                .is_some_and(|begun| now >= begun + MESSAGE_WITHIN);
        if held || slow {
            self.end(Notification::new(HOLD_TIMER_EXPIRED, 0), out);
        } else if self.keepalive_due.is_some_and(|due| now >= due) {
            self.keepalive(now, out);
        }
    }

    /// Ends the session from our side.
    pub fn end(&mut self, why: Notification, out: &mut Vec<Action>) {
        if self.state != State::Closed {
            self.state = State::Closed;
            out.push(Action::Send(why.message()));
            out.push(Action::Close(End::Sent(why)));
        }
    }

    /// Takes the next octets from the router.
    pub fn receive(&mut self, mut octets: &[u8], now: Duration, out: &mut Vec<Action>) {
        while !octets.is_empty() && self.state != State::Closed {
            self.reader.begun.get_or_insert(now);
            let missing = HEADER.saturating_sub(self.reader.head.len());
            if missing > 0 {
                let (part, rest) = octets.split_at(missing.min(octets.len()));
                self.reader.head.extend_from_slice(part);
                octets = rest;
                if missing > part.len() {
                    // A stranger shows with its first octets.
                    if self.reader.head.iter().take(16).any(|octet| *octet != 0xff) {
                        self.end(Notification::new(HEADER_ERROR, 1), out);
                    }
                    break;
                }
                match self.header() {
                    Ok(length) => self.reader.left = length,
                    Err(why) => return self.end(why, out),
                }
            }
            let (part, rest) = octets.split_at(self.reader.left.min(octets.len()));
            octets = rest;
            self.reader.left -= part.len();
            let kind = self.reader.head.get(HEADER - 1).copied().unwrap_or(0);
            if matches!(kind, open::OPEN | NOTIFICATION) {
                self.reader.body.extend_from_slice(part);
            }
            if self.reader.left == 0 {
                self.reader.head.clear();
                self.reader.begun = None;
                let body = std::mem::take(&mut self.reader.body);
                self.message(kind, &body, now, out);
            }
        }
    }

    /// Checks a whole header; the length of the body.
    fn header(&self) -> Result<usize, Notification> {
        let Some(&[ref marker @ .., high, low, kind]) = self.reader.head.first_chunk::<HEADER>()
        else {
            return Err(Notification::new(HEADER_ERROR, 1));
        };
        if marker.iter().any(|octet| *octet != 0xff) {
            return Err(Notification::new(HEADER_ERROR, 1));
        }
        let most = if self.extended {
            MAX_EXTENDED
        } else {
            MAX_MESSAGE
        };
        let range = match kind {
            // RFC 8654 §4: OPEN and KEEPALIVE stay short.
            open::OPEN => 29..=MAX_MESSAGE,
            UPDATE => 23..=most,
            // Read as far as one needs: it is held.
            NOTIFICATION => 21..=most,
            KEEPALIVE => HEADER..=HEADER,
            ROUTE_REFRESH => 23..=most,
            _ => {
                return Err(Notification {
                    code: HEADER_ERROR,
                    subcode: 3,
                    data: vec![kind],
                });
            }
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        range
            .contains(&length)
            .then(|| length - HEADER)
            .ok_or_else(|| Notification {
                code: HEADER_ERROR,
                subcode: 2,
                data: vec![high, low],
            })
    }

    fn message(&mut self, kind: u8, body: &[u8], now: Duration, out: &mut Vec<Action>) {
        match (self.state, kind) {
            (State::Closed, _) => {}
            (_, NOTIFICATION) => {
                let (code, subcode) = match body {
                    [code, subcode, ..] => (*code, *subcode),
                    _ => (0, 0),
                };
                self.state = State::Closed;
                let data = body.get(2..).unwrap_or_default().to_vec();
                out.push(Action::Close(End::Received(Notification {
                    code,
                    subcode,
                    data,
                })));
            }
            (State::OpenSent, open::OPEN) => match open::theirs(body, &self.us, self.expected_as) {
                Ok(theirs) => self.accept(theirs, now, out),
                Err(why) => self.end(why, out),
            },
            (State::OpenConfirm, KEEPALIVE) => {
                self.state = State::Established;
                self.alive(now);
            }
            (State::Established, KEEPALIVE | UPDATE) => self.alive(now),
            // Nothing of ours is to be repeated.
            (State::Established, ROUTE_REFRESH) => {}
            // RFC 6608 §3: the subcode names the state.
            (State::OpenSent, _) => self.end(Notification::new(FSM_ERROR, 1), out),
            (State::OpenConfirm, _) => self.end(Notification::new(FSM_ERROR, 2), out),
            (State::Established, _) => self.end(Notification::new(FSM_ERROR, 3), out),
        }
    }

    fn accept(&mut self, theirs: Theirs, now: Duration, out: &mut Vec<Action>) {
        self.extended = theirs.extended_messages;
        self.hold = Duration::from_secs(u64::from(theirs.hold.min(self.us.hold)));
        self.state = State::OpenConfirm;
        self.hold_due = Some(now + OPEN_WITHIN);
        self.alive(now);
        out.push(Action::Accepted(theirs));
        self.keepalive(now, out);
    }

    fn alive(&mut self, now: Duration) {
        if !self.hold.is_zero() {
            self.hold_due = Some(now + self.hold);
        } else if self.state == State::Established {
            self.hold_due = None;
        }
    }

    fn keepalive(&mut self, now: Duration, out: &mut Vec<Action>) {
        out.push(Action::Send(message(KEEPALIVE, &[])));
        self.keepalive_due = (!self.hold.is_zero()).then(|| now + self.hold / KEEPALIVES_PER_HOLD);
    }
}

#[cfg(test)]
mod tests;
