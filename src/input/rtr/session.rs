//! One RTR session from the router's side (RFC 8210 §8), sans-IO: octets and time in, octets to send and verdicts out.
//!
//! It frames what the cache sends as far as the protocol needs it and holds one PDU at most; a cache that breaks the rules is told so and
//! left. What the session learned (its id, the serial, the version) outlives the connection in [`Memory`].

use std::fmt;
use std::time::Duration;

use super::pdu::{self, HEADER, Header, MAX_PDU};
use crate::event::rtr::Timers;

/// Newest version spoken: 8210bis.
pub const NEWEST: u8 = 2;
/// Prefix PDUs in one answer: what the state has room for. All RPKI repositories validate to some 850,000 in 2026.
const MAX_PREFIXES: usize = 2_000_000;
/// From a query to the begin of its answer, and between the PDUs of an answer. Caches answer from memory.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// From the first octet of a PDU to its last.
const PDU_WITHIN: Duration = Duration::from_secs(30);
/// Least time between two queries, whatever the cache notifies: RFC 8210 §8.2 lets it notify once a minute, test set-ups are faster.
const QUERY_GAP: Duration = Duration::from_secs(2);
/// A cache that has no data yet (RFC 8210 §8.4) is asked again so soon: validators need a minute or two to start.
const NO_DATA_PAUSE: Duration = Duration::from_secs(30);

/// What is remembered from connection to connection.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Memory {
    /// Version to begin with.
    pub version: u8,
    /// Session id and serial of the data that we have.
    pub data: Option<(u16, u32)>,
    pub timers: Timers,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            version: NEWEST,
            data: None,
            timers: Timers::DEFAULT,
        }
    }
}

/// Why a connection is ended by us.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Fault {
    /// The cache does not speak our version; `Memory` holds the next one to try.
    Version,
    /// It has another session than the one we know: everything is asked for anew.
    OtherSession,
    /// It reported an error.
    Reported(u16, String),
    /// It breaks the rules.
    Corrupt(String),
    /// It does not answer.
    Silent,
    /// A PDU was not complete in time.
    Slow,
    /// More prefixes than anybody has.
    TooMany,
}

impl Fault {
    /// Whether to call again at once.
    pub fn is_retry(&self) -> bool {
        matches!(self, Fault::Version | Fault::OtherSession)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Version => f.write_str("it speaks another version of RTR"),
            Fault::OtherSession => f.write_str("it began a new session"),
            Fault::Reported(code, text) if text.is_empty() => {
                write!(f, "it reported error {code} (RFC 8210, section 12)")
            }
            Fault::Reported(code, text) => write!(f, "it reported error {code}: {text}"),
            Fault::Corrupt(what) => write!(f, "it does not speak RTR as RFC 8210 says: {what}"),
            Fault::Silent => write!(f, "it did not answer within {} s", ANSWER_WITHIN.as_secs()),
            Fault::Slow => write!(f, "a PDU was not complete after {} s", PDU_WITHIN.as_secs()),
            Fault::TooMany => write!(f, "its answer has more than {MAX_PREFIXES} prefixes"),
        }
    }
}

/// What happened, for the reader.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum News {
    /// An answer is complete, with so many prefix PDUs.
    Complete { prefixes: usize, full: bool },
    /// The cache has no data yet.
    NoData,
}

#[derive(Clone, Eq, PartialEq, Debug)]
enum Phase {
    /// Nothing is asked; the next query is due then.
    Idle { until: Duration },
    /// Asked, at that time.
    Asked { at: Duration, full: bool },
    /// The answer comes.
    Answered {
        session: u16,
        full: bool,
        prefixes: usize,
        last: Duration,
    },
}

/// A connection's session.
#[derive(Debug)]
pub struct Session {
    pub memory: Memory,
    phase: Phase,
    /// Something came from the cache on this connection.
    heard: bool,
    queried_at: Option<Duration>,
    pending: Vec<u8>,
    begun: Option<Duration>,
    send: Vec<u8>,
    news: Vec<News>,
}

impl Session {
    /// A connection that was opened `now`: asks for what it needs.
    pub fn begin(memory: Memory, now: Duration) -> Session {
        let mut session = Session {
            memory,
            phase: Phase::Idle { until: now },
            heard: false,
            queried_at: None,
            pending: Vec::new(),
            begun: None,
            send: Vec::new(),
            news: Vec::new(),
        };
        session.query(now);
        session
    }

    /// Octets to send now.
    pub fn take_send(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.send)
    }

    /// What happened since it was asked last.
    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Whether the cache said anything.
    pub fn heard(&self) -> bool {
        self.heard
    }

    /// The cache hung up without a word: it may not even know how to refuse our version.
    pub fn mute(&mut self) {
        self.memory.version = self.memory.version.checked_sub(1).unwrap_or(NEWEST);
    }

    fn query(&mut self, now: Duration) {
        let version = self.memory.version;
        let full = self.memory.data.is_none();
        let query = match self.memory.data {
            Some((session, serial)) => pdu::serial_query(version, session, serial),
            None => pdu::reset_query(version),
        };
        self.send.extend(query);
        self.queried_at = Some(now);
        self.phase = Phase::Asked { at: now, full };
    }

    /// When [`Session::timeout`] is wanted.
    pub fn deadline(&self) -> Duration {
        let phase = match self.phase {
            Phase::Idle { until } => until,
            Phase::Asked { at, .. } => at + ANSWER_WITHIN,
            Phase::Answered { last, .. } => last + ANSWER_WITHIN,
        };
        self.begun
            .map_or(phase, |begun| phase.min(begun + PDU_WITHIN))
    }

    /// The deadline has passed.
    pub fn timeout(&mut self, now: Duration) -> Result<(), Fault> {
        if self.begun.is_some_and(|begun| now >= begun + PDU_WITHIN) {
            return Err(Fault::Slow);
        }
        match self.phase {
            Phase::Idle { until } if now >= until => self.query(now),
            Phase::Asked { at, .. } if now >= at + ANSWER_WITHIN => return Err(Fault::Silent),
            Phase::Answered { last, .. } if now >= last + ANSWER_WITHIN => {
                return Err(Fault::Silent);
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes what the cache sent.
    pub fn octets(&mut self, octets: &[u8], now: Duration) -> Result<(), Fault> {
        self.heard |= !octets.is_empty();
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(octets);
        let mut at = 0;
        let result = loop {
            let rest = pending.get(at..).unwrap_or_default();
            let Some(header) = Header::read(rest) else {
                break Ok(());
            };
            let length = header.length as usize;
            if !(HEADER..=MAX_PDU).contains(&length) {
                let why = format!("a PDU cannot have {length} octets");
                break Err(self.corrupt(pdu::CORRUPT_DATA, rest, why));
            }
            let Some(pdu) = rest.get(..length) else {
                break Ok(());
            };
            at += length;
            self.begun = None;
            if let Err(fault) = self.pdu(header, pdu, now) {
                break Err(fault);
            }
        };
        pending.drain(..at.min(pending.len()));
        if pending.is_empty() {
            self.begun = None;
        } else {
            self.begun.get_or_insert(now);
        }
        self.pending = pending;
        result
    }

    /// Tells the cache what is wrong (RFC 8210 §5.11), and us.
    fn corrupt(&mut self, code: u16, about: &[u8], why: String) -> Fault {
        let report = pdu::error_report(self.memory.version, code, about, &why);
        self.send.extend(report);
        self.memory.data = None;
        Fault::Corrupt(why)
    }

    fn pdu(&mut self, header: Header, pdu: &[u8], now: Duration) -> Result<(), Fault> {
        if header.kind == pdu::ERROR_REPORT {
            return self.error(header, pdu, now);
        }
        if header.version != self.memory.version {
            // RFC 8210 §7: notifies before the version is agreed mean nothing.
            if header.kind == pdu::SERIAL_NOTIFY {
                return Ok(());
            }
            let first = matches!(self.phase, Phase::Asked { .. });
            if first && header.version < self.memory.version {
                self.memory.version = header.version;
            } else {
                let why = format!(
                    "a PDU of version {} in a session of version {}",
                    header.version, self.memory.version
                );
                return Err(self.corrupt(pdu::UNEXPECTED_VERSION, pdu, why));
            }
        }
        match header.kind {
            pdu::SERIAL_NOTIFY => self.notify(header.field, pdu, now),
            pdu::CACHE_RESPONSE => self.response(header.field, pdu, now),
            pdu::IPV4_PREFIX | pdu::IPV6_PREFIX => match &mut self.phase {
                Phase::Answered { prefixes, last, .. } => {
                    *prefixes += 1;
                    *last = now;
                    if *prefixes > MAX_PREFIXES {
                        self.memory.data = None;
                        return Err(Fault::TooMany);
                    }
                    Ok(())
                }
                _ => Err(self.corrupt(pdu::CORRUPT_DATA, pdu, "a prefix outside an answer".into())),
            },
            pdu::ROUTER_KEY | pdu::ASPA => match &mut self.phase {
                Phase::Answered { last, .. } => {
                    *last = now;
                    Ok(())
                }
                _ => {
                    Err(self.corrupt(pdu::CORRUPT_DATA, pdu, "a payload outside an answer".into()))
                }
            },
            pdu::END_OF_DATA => self.end_of_data(header, pdu, now),
            pdu::CACHE_RESET => {
                self.memory.data = None;
                self.query(now);
                Ok(())
            }
            kind => Err(self.corrupt(
                pdu::UNSUPPORTED_PDU,
                pdu,
                format!("a PDU of type {kind} from a cache"),
            )),
        }
    }

    fn notify(&mut self, session: u16, pdu: &[u8], now: Duration) -> Result<(), Fault> {
        let Phase::Idle { until } = self.phase else {
            return Ok(()); // the answer that is coming brings it, or the next refresh
        };
        match self.memory.data {
            // RFC 8210 §5.2: another session means that the cache restarted.
            Some((known, _)) if known != session => {
                self.memory.data = None;
                Err(Fault::OtherSession)
            }
            Some((_, serial)) if Some(serial) == pdu::number(pdu, HEADER) => Ok(()),
            _ => {
                let gap = self.queried_at.map_or(now, |last| last + QUERY_GAP);
                let until = until.min(gap.max(now));
                self.phase = Phase::Idle { until };
                if until <= now {
                    self.query(now);
                }
                Ok(())
            }
        }
    }

    fn response(&mut self, session: u16, pdu: &[u8], now: Duration) -> Result<(), Fault> {
        let Phase::Asked { full, .. } = self.phase else {
            return Err(self.corrupt(
                pdu::CORRUPT_DATA,
                pdu,
                "a Cache Response that nobody asked for".into(),
            ));
        };
        if !full && self.memory.data.is_some_and(|(known, _)| known != session) {
            self.memory.data = None;
            return Err(Fault::OtherSession);
        }
        self.phase = Phase::Answered {
            session,
            full,
            prefixes: 0,
            last: now,
        };
        Ok(())
    }

    fn end_of_data(&mut self, header: Header, pdu: &[u8], now: Duration) -> Result<(), Fault> {
        let Phase::Answered {
            session,
            full,
            prefixes,
            ..
        } = self.phase
        else {
            return Err(self.corrupt(
                pdu::CORRUPT_DATA,
                pdu,
                "an End of Data without an answer".into(),
            ));
        };
        let Some(serial) = pdu::number(pdu, HEADER).filter(|_| session == header.field) else {
            return Err(self.corrupt(
                pdu::CORRUPT_DATA,
                pdu,
                "an End of Data of another session".into(),
            ));
        };
        self.memory.data = Some((session, serial));
        let numbers = [12, 16, 20].map(|at| pdu::number(pdu, at));
        self.memory.timers = match numbers {
            [Some(refresh), Some(retry), Some(expire)] => Timers {
                refresh,
                retry,
                expire,
            },
            _ => Timers::DEFAULT,
        }
        .bounded();
        let refresh = Duration::from_secs(u64::from(self.memory.timers.refresh)).max(QUERY_GAP);
        self.phase = Phase::Idle {
            until: now + refresh,
        };
        self.news.push(News::Complete { prefixes, full });
        Ok(())
    }

    fn error(&mut self, header: Header, pdu: &[u8], now: Duration) -> Result<(), Fault> {
        match header.field {
            pdu::UNSUPPORTED_VERSION | pdu::UNEXPECTED_VERSION => {
                // RFC 8210 §7: the report's own version is the cache's.
                let lower = self.memory.version.checked_sub(1);
                self.memory.version = match lower {
                    Some(lower) => header.version.min(lower),
                    None => NEWEST,
                };
                let fault = if lower.is_some() {
                    Fault::Version
                } else {
                    Fault::Reported(header.field, text(pdu))
                };
                Err(fault)
            }
            pdu::NO_DATA => {
                self.phase = Phase::Idle {
                    until: now + NO_DATA_PAUSE,
                };
                self.news.push(News::NoData);
                Ok(())
            }
            code => {
                // Whatever it did not like: the next question is the simplest one.
                self.memory.data = None;
                Err(Fault::Reported(code, text(pdu)))
            }
        }
    }
}

/// The text of an Error Report, sanitised.
fn text(report: &[u8]) -> String {
    let text = pdu::number(report, HEADER).and_then(|quoted| {
        let rest = report.get(HEADER + 4..)?.get(quoted as usize..)?;
        rest.get(4..)?.get(..pdu::number(rest, 0)? as usize)
    });
    crate::event::WireText::new(text.unwrap_or_default()).to_string()
}

#[cfg(test)]
mod tests;
