//! Who asked under which transaction id, and where: by this an answer finds its question.
//!
//! Servers need not echo the client identifier (RFC 6842 came late), and a frame may come back in another VLAN than it left: the pair of
//! hardware address and transaction id is what both sides always repeat (RFC 2131 §4.1).

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::fixed_hash;
use super::message::{ClientId, Message};
use super::scope::ScopeId;
use crate::event::Timestamp;

/// Talks remembered. A flood of questions only shortens the memory.
const MAX_TALKS: usize = 8192;
/// Scopes in which one question was heard: a port and its VLAN interface, the two sides of a relay.
const MAX_SCOPES: usize = 4;
/// Boot ROMs use one transaction id for ever: a question older than twice the longest back-off (64 s, RFC 2131 §4.1) is another's.
const FRESH: Duration = Duration::from_secs(130);

/// A question.
#[derive(Clone, Debug)]
pub struct Talk {
    pub at: Timestamp,
    pub client: ClientId,
    /// Where it was heard, the first place first.
    pub scopes: SmallVec<[ScopeId; 2]>,
}

/// The questions, newest last.
#[derive(Clone, Default)]
pub struct Talks {
    known: HashMap<u64, Talk, RandomState>,
    order: VecDeque<u64>,
}

fn key(m: &Message) -> u64 {
    fixed_hash(&(m.v6, m.client.octets(), m.xid))
}

/// The same by the station that asked, for answers that name another client than they are sent to.
fn station(addr: Option<IpAddr>, m: &Message) -> Option<u64> {
    let addr = addr.filter(|_| m.v6 && m.is_direct())?;
    Some(fixed_hash(&(addr, m.xid)))
}

impl Talks {
    /// Remembers a question.
    pub fn ask(&mut self, m: &Message, scope: ScopeId, at: Timestamp) {
        self.remember(key(m), m, scope, at);
        if let Some(key) = station(m.frame.ip_src, m) {
            self.remember(key, m, scope, at);
        }
    }

    fn remember(&mut self, key: u64, m: &Message, scope: ScopeId, at: Timestamp) {
        if let Some(talk) = self.known.get_mut(&key) {
            if at.since(talk.at) > FRESH || talk.client != m.client {
                talk.scopes.clear();
            }
            talk.at = at;
            talk.client = m.client.clone();
            if !talk.scopes.contains(&scope) && talk.scopes.len() < MAX_SCOPES {
                talk.scopes.push(scope);
            }
            return;
        }
        if self.order.len() >= MAX_TALKS
            && let Some(old) = self.order.pop_front()
        {
            self.known.remove(&old);
        }
        self.order.push_back(key);
        let talk = Talk {
            at,
            client: m.client.clone(),
            scopes: SmallVec::from_slice(&[scope]),
        };
        self.known.insert(key, talk);
    }

    /// The question that a message belongs to, if it was heard lately.
    pub fn of(&self, m: &Message, at: Timestamp) -> Option<&Talk> {
        self.known
            .get(&key(m))
            .filter(|talk| at.since(talk.at) <= FRESH)
    }

    /// The question of the station that an answer is sent to.
    pub fn at_station(&self, m: &Message, at: Timestamp) -> Option<&Talk> {
        self.known
            .get(&station(m.frame.ip_dst, m)?)
            .filter(|talk| at.since(talk.at) <= FRESH)
    }
}
