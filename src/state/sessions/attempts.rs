//! Facts about one end of a session that tell why it is lost or stays down: what became of its attempts to connect, where its segments
//! go, who could not deliver them, and what it said last.

use std::net::IpAddr;

use super::End;
use crate::event::bgp::{Nlri, Update};
use crate::event::frame::Frame;
use crate::event::tcp::{TcpAuth, TcpEvent};
use crate::event::{Event, Locator, SourceId, Timestamp};

/// What became of an end's attempts to connect.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Opening {
    /// SYNs, repeated ones too.
    pub syns: u32,
    pub first: Option<(Timestamp, Locator)>,
    pub last: Option<(Timestamp, Locator)>,
    /// The other end accepted (SYN-ACK).
    pub answered: u32,
    /// The other end refused (RST to a SYN).
    pub reset: u32,
    /// Somebody could not deliver a SYN (ICMP).
    pub undelivered: u32,
    /// SYNs that were authenticated, and with what.
    pub authenticated: u32,
    pub auth: Option<TcpAuth>,
    /// A SYN waits for its answer.
    waits: bool,
}

impl Opening {
    pub(super) fn asked(&mut self, event: &Event, auth: Option<TcpAuth>) {
        self.syns = self.syns.saturating_add(1);
        self.first.get_or_insert((event.at, event.locator));
        self.last = Some((event.at, event.locator));
        self.authenticated = self.authenticated.saturating_add(u32::from(auth.is_some()));
        self.auth = auth.or(self.auth);
        self.waits = true;
    }

    /// The other end sent RST; whether that answers a SYN.
    pub(super) fn was_reset(&mut self) -> bool {
        let answers = std::mem::take(&mut self.waits);
        self.reset = self.reset.saturating_add(u32::from(answers));
        answers
    }

    /// Nobody ever answered, neither for nor against.
    pub fn unanswered(&self) -> bool {
        self.syns > 0 && self.answered == 0 && self.reset == 0 && self.undelivered == 0
    }
}

/// A place where an end's segments were seen: an interface of a capture.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Via {
    pub source: SourceId,
    /// Interface index inside an `any` capture.
    pub ifindex: Option<u32>,
    pub since: Timestamp,
    pub last: Timestamp,
    pub segments: u32,
    /// The first frame there.
    pub locator: Locator,
    pub hop_limit: Option<u8>,
}

impl Via {
    fn same(&self, source: SourceId, ifindex: Option<u32>) -> bool {
        self.source == source && self.ifindex == ifindex
    }
}

/// Somebody could not deliver segments of an end.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Undelivered {
    /// Who said so, with ICMP type and code in the numbers of his family.
    pub by: Option<IpAddr>,
    pub kind: u8,
    pub code: u8,
    pub first: (Timestamp, Locator),
    pub last: (Timestamp, Locator),
    pub count: u32,
}

impl Undelivered {
    /// A segment was too long for the way: path MTU discovery, which a session survives (RFC 1191, RFC 8201).
    pub fn is_about_size(&self) -> bool {
        let v6 = self.by.is_some_and(|by| by.is_ipv6());
        matches!((v6, self.kind, self.code), (true, 2, _) | (false, 3, 4))
    }

    /// In words (RFC 792, RFC 4443 §3).
    pub fn says(&self) -> &'static str {
        let v6 = self.by.is_some_and(|by| by.is_ipv6());
        match (v6, self.kind, self.code) {
            (false, 11, _) | (true, 3, _) => "time exceeded",
            _ if self.is_about_size() => "packet too big",
            (false, 3, 9 | 10 | 13) | (true, 1, 1) => "prohibited",
            (false, 3, 3) | (true, 1, 4) => "port unreachable",
            (false, 3, 1) | (true, 1, 3) => "host unreachable",
            (false, 3, 0) | (true, 1, 0) => "no route",
            _ => "unreachable",
        }
    }
}

/// The last UPDATE of an end.
#[derive(Copy, Clone, Debug)]
pub struct LastUpdate {
    pub at: Timestamp,
    pub locator: Locator,
    /// One of the routes that it is about.
    pub route: Option<Nlri>,
    /// Routes that it announces or withdraws.
    pub routes: u32,
    /// Its worst flaw: the attribute (0 where it is the message), and what is wrong with it.
    pub flaw: Option<(u8, &'static str)>,
}

impl LastUpdate {
    pub(super) fn of(event: &Event, update: &Update) -> LastUpdate {
        let route = update.lost.as_ref();
        let route = route
            .or(update.announced.first())
            .or(update.withdrawn.first());
        let flaw = update.errors.iter().max_by_key(|error| error.action);
        LastUpdate {
            at: event.at,
            locator: event.locator,
            route: route.copied(),
            routes: (update.announced.len() + update.withdrawn.len()) as u32,
            flaw: flaw.map(|error| (error.attribute, error.why)),
        }
    }
}

impl End {
    /// A segment of this end was seen somewhere.
    pub(super) fn went_by(&mut self, event: &Event, frame: &Frame) {
        if let Some(via) = &mut self.via
            && via.same(event.source, frame.ifindex)
        {
            via.last = event.at;
            via.segments = via.segments.saturating_add(1);
            return;
        }
        let here = Via {
            source: event.source,
            ifindex: frame.ifindex,
            since: event.at,
            last: event.at,
            segments: 1,
            locator: event.locator,
            hop_limit: frame.hop_limit,
        };
        self.via_before = self.via.replace(here).or(self.via_before);
    }

    /// An ICMP error quotes a segment of this end.
    pub(super) fn was_not_delivered(&mut self, event: &Event, tcp: &TcpEvent, kind: u8, code: u8) {
        let here = (event.at, event.locator);
        let by = tcp.frame.ip_src;
        match &mut self.undelivered {
            Some(known) if known.by == by && (known.kind, known.code) == (kind, code) => {
                known.count = known.count.saturating_add(1);
                known.last = here;
            }
            other => {
                *other = Some(Undelivered {
                    by,
                    kind,
                    code,
                    first: here,
                    last: here,
                    count: 1,
                });
            }
        }
        if self.opening.waits {
            self.opening.undelivered = self.opening.undelivered.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;

    fn at(seconds: i64) -> Event {
        let event = Event::deadline(Timestamp(seconds * 1_000_000_000));
        Event {
            locator: Locator {
                number: seconds as u64,
                ..event.locator
            },
            kind: EventKind::Deadline,
            ..event
        }
    }

    #[test]
    fn attempts_are_unanswered_until_somebody_says_no() {
        let mut opening = Opening::default();
        opening.asked(&at(1), Some(TcpAuth::Md5));
        opening.asked(&at(2), Some(TcpAuth::Md5));
        assert!(opening.unanswered());
        assert_eq!((opening.syns, opening.authenticated), (2, 2));
        // The RST that ends an old connection answers no SYN; the next one does, once.
        opening.was_reset();
        opening.was_reset();
        assert_eq!((opening.reset, opening.unanswered()), (1, false));
    }

    #[test]
    fn an_end_whose_segments_change_the_interface_remembers_the_one_before() {
        let mut end = End::new(IpAddr::from([192, 0, 2, 1]));
        let frame = |ifindex| Frame {
            ifindex: Some(ifindex),
            ..Frame::default()
        };
        for second in 1..4 {
            end.went_by(&at(second), &frame(3));
        }
        end.went_by(&at(9), &frame(4));
        let before = end.via_before.expect("it was seen elsewhere before");
        assert_eq!((before.ifindex, before.segments), (Some(3), 3));
        assert_eq!(end.via.map(|via| via.ifindex), Some(Some(4)));
    }
}
