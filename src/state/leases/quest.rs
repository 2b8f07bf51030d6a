//! What a client is after and has not got: how often it asked, what it was offered and let lie, what it was refused.
//!
//! A state, whatever the back-off: it begins with the first question and ends when the client is served, gives its lease back or gives
//! up. One packet changes it in one place; what follows from it is judged elsewhere.

use std::net::IpAddr;
use std::time::Duration;

use smallvec::SmallVec;

use super::message::{Message, ServerId, Verb};
use crate::event::frame::{Checksum, Mac};
use crate::event::{Event, Locator, Timestamp, WireText};

/// A client that is silent for longer than RFC 2131 §4.1's longest back-off (64 s) and once more has given up.
pub const GIVEN_UP: Duration = Duration::from_secs(130);
/// Frames kept of one quest: the first and the last ones tell it.
const MAX_FRAMES: usize = 8;
/// Transactions told apart: more say the same.
const MAX_XIDS: usize = 8;

/// What the offers of one quest had in common that makes clients drop them.
#[derive(Clone, Debug, Default)]
pub struct Offers {
    pub heard: u32,
    /// Their UDP checksum was wrong; unfinished (the sending host's offload left it undone); right.
    pub wrong: u32,
    pub unfinished: u32,
    pub right: u32,
    /// They came in other VLANs than the question, and in which.
    pub elsewhere: u32,
    pub vlans: [Option<u16>; 3],
    /// A relayed question was answered to somebody else than its relay, and to whom.
    pub misdirected: u32,
    pub to: Option<IpAddr>,
    /// They name no server: a client cannot take them (RFC 2131 §4.3.1, RFC 8415 §16.3).
    pub nameless: u32,
    /// They name another client (RFC 8415 §16.3).
    pub misnamed: u32,
    /// Who made the last one, and the link-layer address it came from.
    pub server: Option<ServerId>,
    pub mac: Option<Mac>,
    /// The IP source, where it is not the server identifier.
    pub source: Option<IpAddr>,
}

/// A quest.
#[derive(Clone, Debug)]
pub struct Quest {
    pub since: Timestamp,
    pub last: Timestamp,
    pub verb: Verb,
    /// Questions in all, and by step: DISCOVER, REQUEST for an offer, unicast renewals, what was asked of everybody by a holder.
    pub asked: u32,
    pub discovers: u32,
    pub selects: u32,
    pub renewals: u32,
    pub rebinds: u32,
    /// Transaction ids, up to [`MAX_XIDS`].
    xids: SmallVec<[u32; 2]>,
    pub offers: Offers,
    /// How often it asked anew although an offer was at hand, and since when.
    pub left: u32,
    pub left_since: Timestamp,
    pending: bool,
    /// Refusals, with the last one's status and words.
    pub refusals: u32,
    pub status: Option<u16>,
    pub says: Option<WireText>,
    /// It asks from a link-layer address that is not the one it names (direct questions only).
    pub sender: Option<Mac>,
    /// It wants answers broadcast.
    pub broadcast: bool,
    /// Questions whose own UDP checksum is right.
    pub sound: u32,
    pub frames: SmallVec<[(Timestamp, Locator); 4]>,
}

impl Quest {
    /// Begins with a question.
    pub(super) fn new(event: &Event, m: &Message) -> Quest {
        Quest {
            since: event.at,
            last: event.at,
            verb: m.verb,
            asked: 0,
            discovers: 0,
            selects: 0,
            renewals: 0,
            rebinds: 0,
            xids: SmallVec::new(),
            offers: Offers::default(),
            left: 0,
            left_since: event.at,
            pending: false,
            refusals: 0,
            status: None,
            says: None,
            sender: None,
            broadcast: false,
            sound: 0,
            frames: SmallVec::new(),
        }
    }

    /// Another question.
    pub(super) fn asks(&mut self, event: &Event, m: &Message) {
        self.last = self.last.max(event.at);
        self.verb = m.verb;
        self.asked = self.asked.saturating_add(1);
        let step = match m.verb {
            Verb::Discover => &mut self.discovers,
            Verb::Select => &mut self.selects,
            Verb::Renew => &mut self.renewals,
            _ => &mut self.rebinds,
        };
        *step = step.saturating_add(1);
        if !self.xids.contains(&m.xid) && self.xids.len() < MAX_XIDS {
            self.xids.push(m.xid);
        }
        match m.verb {
            Verb::Discover if std::mem::take(&mut self.pending) => {
                if self.left == 0 {
                    self.left_since = event.at;
                }
                self.left = self.left.saturating_add(1);
            }
            // It takes one: whatever was wrong with the others, they reach it.
            Verb::Select => {
                self.pending = false;
                self.left = 0;
                self.offers = Offers::default();
            }
            _ => {}
        }
        self.sender = m
            .frame
            .eth_src
            .filter(|sender| m.is_direct() && m.client_mac.is_some_and(|mac| mac != *sender));
        self.broadcast = m.broadcast;
        self.sound += u32::from(m.checksum == Checksum::Right);
        self.frame(event);
    }

    /// An offer for it. `elsewhere`: it came in another VLAN than the question; `from_server`: before it reached a relay.
    pub(super) fn offered(
        &mut self,
        event: &Event,
        m: &Message,
        elsewhere: bool,
        from_server: bool,
    ) {
        let offers = &mut self.offers;
        offers.heard = offers.heard.saturating_add(1);
        match m.checksum {
            Checksum::Wrong => offers.wrong += 1,
            Checksum::Unfinished => offers.unfinished += 1,
            Checksum::Right => offers.right += 1,
            Checksum::Absent => {}
        }
        if elsewhere {
            offers.elsewhere += 1;
            offers.vlans = m.frame.vlans;
        }
        // RFC 2131 §4.1: with giaddr set, a server's answers go to port 67 of that address.
        let astray = match (m.relay, m.frame.ip_dst) {
            (Some(relay), Some(to)) if !m.v6 && from_server && (relay != to || m.to_client) => {
                Some(to)
            }
            _ => None,
        };
        if astray.is_some() {
            offers.misdirected += 1;
            offers.to = astray;
        }
        offers.nameless += u32::from(!m.names_server);
        offers.misnamed += u32::from(m.misnamed);
        offers.server.clone_from(&m.server);
        offers.mac = m.frame.eth_src;
        offers.source = m
            .frame
            .ip_src
            .filter(|ip| m.is_direct() && m.server_addr.is_some_and(|server| server != *ip));
        self.pending = true;
        self.frame(event);
    }

    /// A refusal.
    pub(super) fn refused(&mut self, event: &Event, m: &Message) {
        self.refusals = self.refusals.saturating_add(1);
        self.status = m.status;
        self.says.clone_from(&m.says);
        self.frame(event);
    }

    /// How many transactions it took, up to a limit.
    pub fn transactions(&self) -> usize {
        self.xids.len()
    }

    /// For how long it has been asking.
    pub fn span(&self) -> Duration {
        self.last.since(self.since)
    }

    fn frame(&mut self, event: &Event) {
        if self.frames.len() == MAX_FRAMES {
            self.frames.remove(MAX_FRAMES / 2);
        }
        self.frames.push((event.at, event.locator));
    }
}
