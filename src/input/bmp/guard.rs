//! What a router may send: whole BMP messages, the first of them an Initiation, each begun one finished in time.
//!
//! Sans-IO: octets and time in, a verdict out. It holds one message header and no octet more.

use std::fmt;
use std::time::Duration;

/// Version, length, type (RFC 7854 §4.1).
const HEADER: usize = 6;
const VERSION: u8 = 3;
const INITIATION: u8 = 4;
/// Per-peer header (RFC 7854 §4.2), which all messages but Initiation and Termination have.
const PER_PEER_HEADER: usize = 42;
const TERMINATION: u8 = 5;
/// Longest message admitted, as in the decoder: two extended BGP messages and as much again for TLVs.
const MAX_MESSAGE: usize = 4 * 65_536;
/// Longest Initiation: three TLVs of text. It is all that is held of somebody who has not proved to be a router.
const MAX_INITIATION: usize = 16 * 1024;
/// From connection to the end of the Initiation: routers send it with the handshake's last segment, after that comes only a slow link.
const INITIATION_WITHIN: Duration = Duration::from_secs(10);
/// From a message's first octet to its last, when nothing else is wrong: 64 KiB take that long at 17 kbit/s.
const MESSAGE_WITHIN: Duration = Duration::from_secs(30);

/// Why a connection is cut off.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Fault {
    NotBmp,
    NotInitiation(u8),
    NoInitiation,
    /// The stream's octet at which no message can begin.
    Garbage(u64),
    Length(u32),
    Slow,
    NoPlace,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotBmp => f.write_str("it does not speak BMP version 3"),
            Fault::NotInitiation(kind) => write!(
                f,
                "its first message has type {kind}, not 4, Initiation (RFC 7854, section 4.3)"
            ),
            Fault::NoInitiation => write!(
                f,
                "no Initiation came within {} s",
                INITIATION_WITHIN.as_secs()
            ),
            Fault::Garbage(at) => write!(f, "octet {at} of the stream begins no BMP message"),
            Fault::Length(length) => write!(f, "a BMP message cannot have {length} octets"),
            Fault::Slow => write!(
                f,
                "a message was not complete after {} s",
                MESSAGE_WITHIN.as_secs()
            ),
            Fault::NoPlace => f.write_str("the station serves as many routers as it can"),
        }
    }
}

/// Watches one connection.
#[derive(Debug)]
pub struct Guard {
    head: [u8; HEADER],
    /// Octets of `head` that came.
    have: usize,
    /// Octets of the message's body that are to come.
    left: usize,
    /// When the message at hand began.
    begun: Option<Duration>,
    connected: Duration,
    /// The Initiation is complete.
    router: bool,
    /// Octets so far.
    octets: u64,
}

impl Guard {
    pub fn new(now: Duration) -> Guard {
        Guard {
            head: [0; HEADER],
            have: 0,
            left: 0,
            begun: None,
            connected: now,
            router: false,
            octets: 0,
        }
    }

    /// It has sent its Initiation.
    pub fn is_router(&self) -> bool {
        self.router
    }

    /// Until when more octets must come. Between messages a router may be silent for ever.
    pub fn deadline(&self) -> Option<Duration> {
        if !self.router {
            return Some(self.connected + INITIATION_WITHIN);
        }
        self.begun.map(|begun| begun + MESSAGE_WITHIN)
    }

    /// What is wrong when [`deadline`](Self::deadline) has passed.
    pub fn overdue(&self) -> Fault {
        if self.router {
            Fault::Slow
        } else {
            Fault::NoInitiation
        }
    }

    /// Takes the next octets.
    pub fn octets(&mut self, mut octets: &[u8], now: Duration) -> Result<(), Fault> {
        while !octets.is_empty() {
            if self.begun.is_none() {
                self.begun = Some(now);
            }
            if self.have < HEADER {
                let (part, rest) = octets.split_at(octets.len().min(HEADER - self.have));
                if let Some(space) = self.head.get_mut(self.have..self.have + part.len()) {
                    space.copy_from_slice(part);
                }
                self.have += part.len();
                octets = rest;
                if self.head[0] != VERSION {
                    return Err(if self.router {
                        Fault::Garbage(self.octets)
                    } else {
                        Fault::NotBmp
                    });
                }
                self.octets += part.len() as u64;
                if self.have < HEADER {
                    break;
                }
                self.left = self.body()?;
            }
            let taken = self.left.min(octets.len());
            octets = octets.get(taken..).unwrap_or_default();
            self.octets += taken as u64;
            self.left -= taken;
            if self.left == 0 {
                self.router = true;
                self.have = 0;
                self.begun = None;
            }
        }
        match self.deadline() {
            Some(deadline) if now >= deadline => Err(self.overdue()),
            _ => Ok(()),
        }
    }

    /// Length of the body that the header announces.
    fn body(&self) -> Result<usize, Fault> {
        let [_, a, b, c, d, kind] = self.head;
        if !self.router && kind != INITIATION {
            return Err(Fault::NotInitiation(kind));
        }
        let length = u32::from_be_bytes([a, b, c, d]);
        let least = match kind {
            INITIATION | TERMINATION => HEADER,
            _ => HEADER + PER_PEER_HEADER,
        };
        let most = if self.router {
            MAX_MESSAGE
        } else {
            MAX_INITIATION
        };
        usize::try_from(length)
            .ok()
            .filter(|length| (least..=most).contains(length))
            .and_then(|length| length.checked_sub(HEADER))
            .ok_or(Fault::Length(length))
    }
}

/// Length of the message at the begin of `octets`, as its header says.
pub fn first_message(octets: &[u8]) -> usize {
    match octets.first_chunk::<HEADER>() {
        Some(&[_, a, b, c, d, _]) => {
            usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX)
        }
        None => octets.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, length: u32) -> Vec<u8> {
        let mut message = vec![VERSION];
        message.extend_from_slice(&length.to_be_bytes());
        message.push(kind);
        message.resize((length as usize).max(HEADER), 0);
        message
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn messages_pass_in_any_cut() {
        let mut stream = message(INITIATION, 20);
        stream.extend(message(0, 100));
        stream.extend(message(TERMINATION, 6));
        for size in 1..stream.len() {
            let mut guard = Guard::new(s(0));
            for piece in stream.chunks(size) {
                assert_eq!(guard.octets(piece, s(1)), Ok(()));
            }
            assert!(guard.is_router());
            assert_eq!(guard.deadline(), None);
        }
    }

    #[test]
    fn strangers_are_told_apart_by_their_first_octets() {
        let first = |octets: &[u8]| Guard::new(s(0)).octets(octets, s(0));
        assert_eq!(first(b"GET / HTTP/1.1\r\n"), Err(Fault::NotBmp));
        assert_eq!(first(&message(0, 100)), Err(Fault::NotInitiation(0)));
        assert_eq!(first(&message(INITIATION, 5)), Err(Fault::Length(5)));
        assert_eq!(
            first(&message(INITIATION, 20_000)),
            Err(Fault::Length(20_000))
        );
    }

    #[test]
    fn garbage_after_a_good_begin_is_found_at_its_octet() {
        let mut guard = Guard::new(s(0));
        guard.octets(&message(INITIATION, 20), s(0)).unwrap();
        assert_eq!(guard.octets(&[9], s(0)), Err(Fault::Garbage(20)));
        let mut guard = Guard::new(s(0));
        guard.octets(&message(INITIATION, 20), s(0)).unwrap();
        let endless = message(0, 48);
        let mut endless = endless[..HEADER].to_vec();
        endless[1] = 0x7f;
        assert_eq!(
            guard.octets(&endless, s(0)),
            Err(Fault::Length(0x7f00_0030))
        );
    }

    #[test]
    fn an_octet_a_second_does_not_keep_a_connection_open() {
        let mut guard = Guard::new(s(0));
        let initiation = message(INITIATION, 100);
        let cut = initiation
            .iter()
            .enumerate()
            .find_map(|(at, octet)| guard.octets(&[*octet], s(at as u64)).err());
        assert_eq!(cut, Some(Fault::NoInitiation));

        let mut guard = Guard::new(s(0));
        guard.octets(&initiation, s(1)).unwrap();
        let routes = message(0, 100);
        let (at, fault) = routes
            .iter()
            .enumerate()
            .find_map(|(at, octet)| Some((at, guard.octets(&[*octet], s(100 + at as u64)).err()?)))
            .unwrap();
        assert_eq!((at, fault), (30, Fault::Slow));
    }

    #[test]
    fn a_half_open_connection_has_a_deadline_and_a_silent_router_has_none() {
        let mut guard = Guard::new(s(5));
        assert_eq!(
            (guard.deadline(), guard.overdue()),
            (Some(s(15)), Fault::NoInitiation)
        );
        guard.octets(&message(INITIATION, 20), s(6)).unwrap();
        assert_eq!(guard.deadline(), None);
        guard.octets(&[VERSION, 0], s(500)).unwrap();
        assert_eq!(
            (guard.deadline(), guard.overdue()),
            (Some(s(530)), Fault::Slow)
        );
    }
}
