//! BMP's view of sessions: which router reports which peer, and what of it is news.
//!
//! A router that connects again repeats everything; FRR repeats Peer Down on each failed reconnect. Neither is a change.

use std::net::IpAddr;
use std::time::Duration;

use hashbrown::HashMap;

use super::{Current, DownCause, Observer, Session, SessionDelta, SessionId, Sessions, State};
use crate::event::bmp::{BmpEvent, BmpMessage, PerPeer, Rib};
use crate::event::{Event, SourceId, Timestamp};

/// Peers of all routers together; the same bound as for sessions, with room for Loc-RIB instances.
const MAX_BMP_PEERS: usize = 32_768;

/// A peer of a router: the router's address where known, else the source that carries its stream.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
struct PeerKey {
    router: Result<IpAddr, SourceId>,
    distinguisher: u64,
    addr: IpAddr,
    local_rib: bool,
}

#[derive(Copy, Clone, Debug)]
struct BmpPeer {
    session: SessionId,
    /// The router's own end is known (from Peer Up, or by joining a session seen otherwise).
    anchored: bool,
    /// How many sessions there were when it was last searched for.
    searched: usize,
}

#[derive(Copy, Clone, Debug, Default)]
struct Feed {
    connection: u32,
    connected: bool,
    /// When this connection began.
    since: Option<Timestamp>,
    /// It was seen from its Initiation on (RFC 7854 §4.3: the first message): what it does not say is not there.
    whole: bool,
}

/// A router lists its peers and sends their tables when it connects; what it says later is news. FRR and BIRD list at once.
const LISTING: Duration = Duration::from_secs(5);

/// Peer type of a router's own table (RFC 9069 §4.1).
const LOC_RIB: u8 = 3;

/// A router's own table is reported, or no longer: nothing comes up or goes down by that, and there is no peer (RFC 9069 §4.1).
fn table(
    session: &mut Session,
    router: usize,
    peer: &PerPeer,
    message: &BmpMessage,
    at: Timestamp,
) {
    session.is_table = true;
    let end = &mut session.ends[router];
    (end.asn, end.router_id) = (peer.asn, peer.router_id);
    match message {
        BmpMessage::PeerDown { .. } => session.enter(State::Idle, at),
        BmpMessage::PeerUp { .. } | BmpMessage::RouteMonitoring(_)
            if session.state != State::Established =>
        {
            session.ups = session.ups.saturating_add(1);
            session.up_since = Some(at);
            session.enter(State::Established, at);
        }
        _ => {}
    }
}

/// All BMP feeds.
#[derive(Clone, Default)]
pub struct Feeds {
    peers: HashMap<PeerKey, BmpPeer, foldhash::fast::RandomState>,
    routers: std::collections::BTreeMap<Result<IpAddr, SourceId>, Feed>,
    cached: Option<(PeerKey, BmpPeer)>,
    /// The session of a peer whose other end was not known, when it becomes known.
    renamed: Option<SessionId>,
}

impl Sessions {
    pub(super) fn bmp(&mut self, event: &Event, bmp: &BmpEvent, out: &mut Vec<SessionDelta>) {
        let router = bmp.router.map(|addr| addr.ip());
        let feed_key = router.ok_or(event.source);
        self.feed_contact(event.at, feed_key, bmp, out);
        let Some(peer) = &bmp.peer else { return };
        let local = match &bmp.message {
            BmpMessage::PeerUp { local, .. } if peer.peer_type != LOC_RIB => {
                Some(*local).filter(|l| !l.is_unspecified())
            }
            _ => None,
        };
        let feed = self.feeds.routers.get(&feed_key).copied();
        let whole = feed.is_some_and(|feed| feed.whole);
        let listing = feed
            .and_then(|feed| feed.since)
            .is_some_and(|since| event.at.since(since) <= LISTING);
        let Some((id, sender)) = self.bmp_peer(event, feed_key, peer, local) else {
            return;
        };
        if let Some(old) = self.feeds.renamed.take()
            && self.get(old).is_some_and(|old| old.downs > 0)
        {
            // It was lost before its other end was known, and is back under its full name.
            self.up(old, event.at, Observer::Bmp, out);
        }
        let is_table = peer.peer_type == LOC_RIB;
        // What is in its own table the router itself tells, as what it sends to others.
        let own = is_table || matches!(peer.rib, Rib::AdjOutPre | Rib::AdjOutPost);
        self.current = Some(Current {
            session: id,
            sender: if own { 1 - sender } else { sender },
            observer: Observer::Bmp,
            fresh_feed: listing,
            whole_feed: whole,
        });
        let session = &mut self.sessions[id.0 as usize];
        session.views.of_mut(Observer::Bmp).seen = true;
        session.ends[1 - sender].reports = true;
        if is_table {
            return table(session, 1 - sender, peer, &bmp.message, event.at);
        }
        if peer.asn != 0 {
            session.ends[sender].asn = peer.asn;
        }
        if peer.router_id != 0 {
            session.ends[sender].router_id = peer.router_id;
        }
        match &bmp.message {
            BmpMessage::PeerUp {
                sent_open,
                received_open,
                ..
            } => {
                for (end, open) in [(1 - sender, sent_open), (sender, received_open)] {
                    let end = &mut session.ends[end];
                    // BMP tells of the OPENs of the session that is up; a capture's own are the same.
                    end.asn = open.asn;
                    end.router_id = open.router_id;
                    end.open = Some(open.clone());
                }
                session.negotiate();
                // The first Peer Up of a feed lists what is up already; only its stamp could tell since when, and FRR's lies.
                let news = session.ups > 0 || session.downs > 0 || session.opening();
                if listing && !news && session.state != State::Established {
                    session.views.of_mut(Observer::Bmp).up(event.at, 0);
                    session.mid_stream = true;
                    session.up_since = Some(event.at);
                    session.enter(State::Established, event.at);
                    out.push(SessionDelta::Appeared {
                        id,
                        established: true,
                    });
                    return;
                }
                self.up(id, event.at, Observer::Bmp, out);
            }
            BmpMessage::PeerDown {
                reason,
                fsm_event,
                notification,
                ..
            } => {
                let cause = DownCause::Bmp {
                    reason: *reason,
                    fsm_event: *fsm_event,
                    notification: notification.clone(),
                };
                // RFC 7854 §4.9: 1 was sent by the router that reports, 3 by its peer. One that refuses an OPEN ends no session.
                const OPEN_ERROR: u8 = 2;
                if let Some(refusal) = notification.as_ref().filter(|n| n.code == OPEN_ERROR)
                    && session.state != State::Established
                {
                    let from = if *reason == 3 { sender } else { 1 - sender };
                    let cause = DownCause::Notification {
                        from,
                        notification: refusal.clone(),
                    };
                    out.push(SessionDelta::Refused { id, cause });
                    return;
                }
                let fresh =
                    session.ups == 0 && session.downs == 0 && session.state != State::Established;
                // FRR also says "local, FSM event 0" at each failed attempt of a peer that was not up (measured).
                let means_it = *reason != 2 || fsm_event.is_some_and(|event| event != 0);
                let unsaid = fresh && !session.views.of(Observer::Bmp).told;
                if unsaid && !whole && means_it && !session.opening() {
                    // The feed was joined in its middle: a peer must have been up to go down (RFC 7854 §4.9).
                    session.mid_stream = true;
                    // Since when nobody saw.
                    session.up_since = None;
                    session.views.of_mut(Observer::Bmp).up(event.at, 0);
                    session.enter(State::Established, event.at);
                    out.push(SessionDelta::Appeared {
                        id,
                        established: true,
                    });
                } else if unsaid {
                    // The feed told of no Peer Up: FRR lists as down what never was up, and repeats it at each failed attempt.
                    session.views.of_mut(Observer::Bmp).down(event.at, 0);
                    out.push(SessionDelta::DownSeen {
                        id,
                        observer: Observer::Bmp,
                        cause,
                    });
                    return;
                }
                self.down(id, event.at, Observer::Bmp, cause, out);
            }
            // Statistics are of peers that are up (RFC 7854 §4.8).
            BmpMessage::RouteMonitoring(_) | BmpMessage::Statistics { .. } => {
                let view = session.views.of_mut(Observer::Bmp);
                if !view.up && !view.told {
                    view.up(event.at, session.downs);
                    if session.state != State::Established && session.ups == 0 && session.downs == 0
                    {
                        session.mid_stream = true;
                        session.up_since = Some(event.at);
                        session.enter(State::Established, event.at);
                        out.push(SessionDelta::Appeared {
                            id,
                            established: true,
                        });
                    }
                }
            }
            _ => {}
        }
    }

    fn feed_contact(
        &mut self,
        at: Timestamp,
        key: Result<IpAddr, SourceId>,
        bmp: &BmpEvent,
        out: &mut Vec<SessionDelta>,
    ) {
        // Bounded by the number of TCP connections to a BMP port, each of which is a whole stream.
        const MAX_FEEDS: usize = 4096;
        if self.feeds.routers.len() >= MAX_FEEDS && !self.feeds.routers.contains_key(&key) {
            self.refused += 1;
            return;
        }
        let feed = self.feeds.routers.entry(key).or_default();
        let router = key.ok();
        match bmp.message {
            BmpMessage::Disconnected | BmpMessage::Termination { .. } => {
                if std::mem::replace(&mut feed.connected, false) {
                    out.push(SessionDelta::FeedDown { router });
                }
            }
            _ => {
                let before = feed.connection;
                let again = before != 0 && before != bmp.connection;
                if again || (before == 0 && !feed.connected) {
                    feed.connection = bmp.connection;
                    feed.whole = matches!(
                        bmp.message,
                        BmpMessage::Initiation { .. } | BmpMessage::Connected
                    );
                    feed.since = Some(at);
                    let was_connected = std::mem::replace(&mut feed.connected, true);
                    if again && was_connected {
                        out.push(SessionDelta::FeedDown { router });
                    }
                    out.push(SessionDelta::FeedUp { router, again });
                    if again {
                        self.forget_feed_views(key);
                    }
                } else {
                    feed.connected = true;
                }
            }
        }
    }

    /// A feed starts anew: what it believed is void, what it says next is no change by itself.
    fn forget_feed_views(&mut self, key: Result<IpAddr, SourceId>) {
        let mut ids: Vec<SessionId> = self
            .feeds
            .peers
            .iter()
            .filter(|(k, _)| k.router == key)
            .map(|(_, p)| p.session)
            .collect();
        ids.sort_unstable();
        for id in ids {
            if let Some(session) = self.sessions.get_mut(id.0 as usize) {
                let up = session.state == State::Established;
                let view = session.views.of_mut(Observer::Bmp);
                view.told = false;
                view.up = up;
            }
        }
    }

    fn bmp_peer(
        &mut self,
        event: &Event,
        feed: Result<IpAddr, SourceId>,
        peer: &PerPeer,
        local: Option<IpAddr>,
    ) -> Option<(SessionId, usize)> {
        let key = PeerKey {
            router: feed,
            // Peer types 0 and 2 have no meaningful distinguisher in common implementations, but where one is given it separates.
            distinguisher: peer.distinguisher,
            addr: peer.addr,
            local_rib: peer.peer_type == LOC_RIB,
        };
        let known = match self.feeds.cached {
            Some((cached, known)) if cached == key => Some(known),
            _ => self.feeds.peers.get(&key).copied(),
        };
        if let Some(known) = known {
            // An unknown local end is searched again only when there are new sessions to find.
            let settled = known.anchored || known.searched == self.sessions.len();
            if settled && local.is_none() {
                self.feeds.cached = Some((key, known));
                let sender = self
                    .sessions
                    .get(known.session.0 as usize)?
                    .end_of(peer.addr)?;
                return Some((known.session, sender));
            }
        }
        if self.feeds.peers.len() >= MAX_BMP_PEERS && known.is_none() {
            self.refused += 1;
            return None;
        }
        let unknown = match (peer.addr, feed) {
            (_, Ok(addr)) if peer.peer_type == LOC_RIB => addr,
            // A bare stream has no addresses; the BGP identifier is the router's in the instance's header (RFC 9069 §4.1).
            _ if peer.peer_type == LOC_RIB && peer.router_id != 0 => {
                IpAddr::V4(std::net::Ipv4Addr::from(peer.router_id))
            }
            (IpAddr::V4(_), _) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            (IpAddr::V6(_), _) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        };
        let (session, anchored) = match local {
            Some(local) => (
                self.session(peer.addr, local, peer.distinguisher, event.at)?
                    .0,
                true,
            ),
            None => match self
                .only_session_with(peer.addr, peer.distinguisher)
                .filter(|_| peer.peer_type != LOC_RIB)
            {
                Some(id) => (id, true),
                None => match known {
                    Some(known) => (known.session, false),
                    None => (
                        self.session(peer.addr, unknown, peer.distinguisher, event.at)?
                            .0,
                        peer.peer_type == LOC_RIB,
                    ),
                },
            },
        };
        self.feeds.renamed = known
            .filter(|known| local.is_some() && !known.anchored && known.session != session)
            .map(|known| known.session);
        let entry = BmpPeer {
            session,
            anchored,
            searched: self.sessions.len(),
        };
        self.feeds.peers.insert(key, entry);
        self.feeds.cached = Some((key, entry));
        let sender = self.sessions.get(session.0 as usize)?.end_of(peer.addr)?;
        Some((session, sender))
    }

    /// The session of this peer that packets or another feed know, when there is exactly one.
    fn only_session_with(&self, addr: IpAddr, vrf: u64) -> Option<SessionId> {
        let mut found = self
            .sessions
            .iter()
            .enumerate()
            .filter(|(_, s)| {
                s.vrf == vrf
                    && s.end_of(addr)
                        .is_some_and(|at| !s.ends[1 - at].addr.is_unspecified())
            })
            .map(|(at, _)| SessionId(at as u32));
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }
}
