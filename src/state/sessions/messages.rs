//! What BGP messages (from packets and MRT) and TCP facts do to a session.

use std::net::IpAddr;
use std::time::Duration;

use super::connection;
use super::{
    Current, DownCause, LastUpdate, MAX_SOURCES, Observer, REVIVAL, SeenOn, Session, SessionDelta,
    SessionId, Sessions, State,
};
use crate::event::bgp::{BgpEvent, BgpMessage, Notification};
use crate::event::frame::Frame;
use crate::event::tcp::{TcpEvent, TcpFact};
use crate::event::{Event, Timestamp};

/// Cease, "BFD Down" (RFC 9384 §3).
const CEASE_BFD_DOWN: (u8, u8) = (6, 10);
/// From SYN to the first KEEPALIVE; a session opens in milliseconds, and a speaker that waits for an OPEN waits minutes (RFC 4271 §8.2.2).
const OPENING: Duration = Duration::from_secs(1);

/// An end whose session was closed tries again within this: BIRD after 5 s, GoBGP after 5 s, FRR at once and then every 10 s in its
/// datacenter profile.
const WANTED_BACK: Duration = Duration::from_secs(15);

/// Of a state change (RFC 6396 §4.4.1).
const ESTABLISHED: u16 = 6;

/// NOTIFICATIONs that only an established session can end with, or one about to be: not what refuses a connection (RFC 4271 §6, RFC 4486).
fn ends_established(notification: &Notification) -> bool {
    const UPDATE_ERROR: u8 = 3;
    const HOLD_TIMER_EXPIRED: u8 = 4;
    const CEASE: u8 = 6;
    const SEND_HOLD_EXPIRED: u8 = 8;
    /// Connection rejected, connection collision resolution, out of resources.
    const REFUSALS: [u8; 3] = [5, 7, 8];
    match notification.code {
        UPDATE_ERROR | HOLD_TIMER_EXPIRED | SEND_HOLD_EXPIRED => true,
        CEASE => !REFUSALS.contains(&notification.subcode),
        _ => false,
    }
}

impl Sessions {
    /// Both ends. Collectors write state changes without an address of their own: FRR 8.4 before it has connected, RIPE's of 1999 always.
    /// Then it is the only session with that neighbor, or one that nothing else tells of, if it was or is established; what only tries to
    /// connect is no session.
    fn whose(&self, from: IpAddr, to: IpAddr, message: &BgpMessage) -> Option<(IpAddr, IpAddr)> {
        if !from.is_unspecified() && !to.is_unspecified() {
            return Some((from, to));
        }
        let BgpMessage::StateChange { old, new } = message else {
            return None;
        };
        let neighbor = if from.is_unspecified() { to } else { from };
        let sessions = self.sessions.iter().filter(|session| !session.is_table);
        let mut known = sessions.filter_map(|session| {
            let [one, other] = &session.ends;
            match (session.vrf, one.addr == neighbor, other.addr == neighbor) {
                (0, true, false) => Some(other.addr),
                (0, false, true) => Some(one.addr),
                _ => None,
            }
        });
        match (known.next(), known.next()) {
            (Some(local), None) if from.is_unspecified() => Some((local, to)),
            (Some(local), None) => Some((from, local)),
            (None, _) => (*old == ESTABLISHED || *new == ESTABLISHED).then_some((from, to)),
            (Some(_), Some(_)) => None,
        }
    }

    pub(super) fn bgp(&mut self, event: &Event, bgp: &BgpEvent, out: &mut Vec<SessionDelta>) {
        let ends = &bgp.session;
        let Some((from, to)) = self.whose(ends.from, ends.to, &bgp.message) else {
            return;
        };
        let Some((id, sender)) = self.session(from, to, 0, event.at) else {
            return;
        };
        // MRT has no ports.
        let observer = if ends.from_port == 0 && ends.to_port == 0 {
            Observer::Mrt
        } else {
            Observer::Packets
        };
        self.current = Some(Current {
            session: id,
            sender,
            observer,
            fresh_feed: false,
            whole_feed: false,
        });
        let session = &mut self.sessions[id.0 as usize];
        if ends.from_as != 0 {
            session.ends[sender].asn = ends.from_as;
        }
        if ends.to_as != 0 {
            session.ends[1 - sender].asn = ends.to_as;
        }
        if observer == Observer::Mrt {
            return self.mrt(event, bgp, id, sender, out);
        }
        session.note_feed(&self.listener, event.source, sender, ends.from_port);
        session.note_frame(event, &bgp.frame, sender);
        let first_contact = !session.views.of(Observer::Packets).seen;
        session.views.of_mut(Observer::Packets).seen = true;
        if let Some((gap, hold)) = session.late(sender, event.at) {
            out.push(SessionDelta::Late {
                id,
                end: sender,
                gap,
                hold,
            });
        }
        session.heard(
            sender,
            event.at,
            matches!(bgp.message, BgpMessage::Keepalive),
        );
        if let BgpMessage::Update(update) = &bgp.message {
            session.ends[sender].last_update = Some(LastUpdate::of(event, update));
        }
        let ports = connection::Ports::new(sender, ends.from_port, ends.to_port);
        let step = session.message(ports, sender, event.at, &bgp.message);
        if !self.woken.is_empty() {
            match step {
                connection::Step::AlreadyUp => self.goes_on(id, sender, out),
                _ => drop(self.woken.remove(&id)),
            }
        }
        self.take_step(id, sender, event, &bgp.message, first_contact, step, out);
        self.schedule_hold(id);
    }

    /// Acts on what a message did to its connection.
    #[allow(clippy::too_many_arguments)] // one caller; the arguments are one message's facts
    fn take_step(
        &mut self,
        id: SessionId,
        sender: usize,
        event: &Event,
        message: &BgpMessage,
        first_contact: bool,
        step: connection::Step,
        out: &mut Vec<SessionDelta>,
    ) {
        use connection::Step;
        let session = &mut self.sessions[id.0 as usize];
        match step {
            Step::Nothing => {
                if first_contact && session.views.none_but(Observer::Packets) {
                    out.push(SessionDelta::Appeared {
                        id,
                        established: false,
                    });
                }
            }
            Step::AlreadyUp => {
                session
                    .views
                    .of_mut(Observer::Packets)
                    .up(event.at, session.downs);
                let known = session.state == State::Established;
                if !known {
                    if session.ups == 0 && session.downs == 0 {
                        session.mid_stream = true;
                        session.up_since = Some(event.at);
                        session.enter(State::Established, event.at);
                        out.push(SessionDelta::Appeared {
                            id,
                            established: true,
                        });
                    } else {
                        self.up(id, event.at, Observer::Packets, out);
                    }
                }
            }
            Step::Opened { new_connection } => {
                if session.state == State::Established && new_connection {
                    let (at, cause) = self.unseen_end(id, event.at);
                    self.down(id, at, Observer::Packets, cause, out);
                }
                let session = &mut self.sessions[id.0 as usize];
                if let BgpMessage::Open(open) = message {
                    let end = &mut session.ends[sender];
                    end.asn = open.asn;
                    end.router_id = open.router_id;
                    end.open = Some(open.clone());
                    session.negotiate();
                }
                if session.state != State::Established {
                    session.enter(State::OpenSent, event.at);
                }
            }
            Step::Established => {
                if session.state == State::Established && session.views.of(Observer::Packets).up {
                    let (at, cause) = self.unseen_end(id, event.at);
                    self.down(id, at, Observer::Packets, cause, out);
                }
                self.sessions[id.0 as usize].keep_only_latest_established();
                self.up(id, event.at, Observer::Packets, out);
            }
            Step::Closed { established } => {
                let BgpMessage::Notification(notification) = message else {
                    return;
                };
                let cause = DownCause::Notification {
                    from: sender,
                    notification: notification.clone(),
                };
                self.closed(id, established, event.at, cause, out);
            }
            Step::Dead => {
                // Somebody talks on a connection that was declared dead: a last word, or it lives.
                if let BgpMessage::Notification(notification) = message {
                    let cause = DownCause::Notification {
                        from: sender,
                        notification: notification.clone(),
                    };
                    out.push(SessionDelta::DownSeen {
                        id,
                        observer: Observer::Packets,
                        cause,
                    });
                } else if session.state != State::Established
                    && session
                        .down_at
                        .is_some_and(|down| event.at.since(down) > REVIVAL)
                {
                    session.after_death |= 1 << sender;
                    if session.after_death == 0b11 {
                        session.revive();
                        self.up(id, event.at, Observer::Packets, out);
                    }
                }
            }
        }
    }

    fn closed(
        &mut self,
        id: SessionId,
        established: bool,
        at: Timestamp,
        cause: DownCause,
        out: &mut Vec<SessionDelta>,
    ) {
        if established {
            self.was_up(id, at, &cause, out);
            let bfd_down = match &cause {
                DownCause::Notification { from, notification }
                    if notification.cause() == CEASE_BFD_DOWN =>
                {
                    Some(*from)
                }
                _ => None,
            };
            self.down(id, at, Observer::Packets, cause, out);
            if let (Some(from), Some(session)) = (bfd_down, self.get(id)) {
                let pair = (session.ends[0].addr, session.ends[1].addr);
                self.bfd.told_by_bgp(pair, from, at, out);
            }
        } else {
            out.push(SessionDelta::Refused { id, cause });
        }
    }

    /// The first thing seen of a session is its end: between two KEEPALIVEs of a long hold time a capture shows nothing of it. What only an
    /// established session can end with says that it was.
    fn was_up(
        &mut self,
        id: SessionId,
        at: Timestamp,
        cause: &DownCause,
        out: &mut Vec<SessionDelta>,
    ) {
        let session = &mut self.sessions[id.0 as usize];
        let unknown = session.ups == 0 && session.downs == 0 && session.state != State::Established;
        let proof = match cause {
            DownCause::Notification { notification, .. } => ends_established(notification),
            // The caller asked how old its connection is.
            DownCause::Tcp { .. } => true,
            _ => false,
        };
        if !unknown || !proof {
            return;
        }
        session.mid_stream = true;
        session.up_since = Some(session.first_seen);
        session.views.of_mut(Observer::Packets).up(at, 0);
        session.enter(State::Established, session.first_seen);
        out.push(SessionDelta::Appeared {
            id,
            established: true,
        });
    }

    /// Whether a connection that is closed without that anything of it was seen before carried an established session: this input has
    /// been watching for longer than opening a session takes, and saw neither its SYN nor an OPEN.
    fn was_carrying(&self, id: SessionId, event: &Event) -> bool {
        let watched = self
            .began
            .get(&event.locator.input)
            .is_some_and(|began| event.at.since(*began) >= OPENING);
        watched
            && self
                .get(id)
                .is_some_and(|session| !session.has_connections())
    }

    /// When and how a session ended whose end nobody saw, judged at its reopening.
    fn unseen_end(&self, id: SessionId, now: Timestamp) -> (Timestamp, DownCause) {
        let Some(session) = self.get(id) else {
            return (now, DownCause::Superseded);
        };
        if let (Some(hold), Some((silent, last))) =
            (session.hold_time(), session.before_reopening())
        {
            let deadline = last + hold;
            if !hold.is_zero() && deadline <= now {
                return (deadline, DownCause::Silence { silent, last, hold });
            }
        }
        (now, DownCause::Superseded)
    }

    fn mrt(
        &mut self,
        event: &Event,
        bgp: &BgpEvent,
        id: SessionId,
        sender: usize,
        out: &mut Vec<SessionDelta>,
    ) {
        let session = &mut self.sessions[id.0 as usize];
        let first_contact = !session.views.of(Observer::Mrt).seen;
        session.views.of_mut(Observer::Mrt).seen = true;
        session.ends[1 - sender].reports = true;
        match &bgp.message {
            BgpMessage::StateChange { old, new } => {
                match (*old == ESTABLISHED, *new == ESTABLISHED) {
                    (_, true) => self.up(id, event.at, Observer::Mrt, out),
                    (true, false) => {
                        let fresh = session.ups == 0
                            && session.downs == 0
                            && session.state != State::Established;
                        if fresh {
                            session.enter(State::Established, event.at);
                            session.mid_stream = true;
                            session.views.of_mut(Observer::Mrt).up(event.at, 0);
                        }
                        self.down(
                            id,
                            event.at,
                            Observer::Mrt,
                            DownCause::StateChange { new: *new },
                            out,
                        );
                    }
                    _ => {}
                }
            }
            BgpMessage::Open(open) => {
                let end = &mut session.ends[sender];
                end.asn = open.asn;
                end.router_id = open.router_id;
                end.open = Some(open.clone());
                session.negotiate();
                if session.state != State::Established {
                    session.enter(State::OpenSent, event.at);
                }
            }
            BgpMessage::Notification(notification) => {
                let cause = DownCause::Notification {
                    from: sender,
                    notification: notification.clone(),
                };
                const OPEN_ERROR: u8 = 2;
                if session.state == State::Established {
                    self.down(id, event.at, Observer::Mrt, cause, out);
                } else if session.state == State::OpenSent || notification.code == OPEN_ERROR {
                    // An OPEN was recorded, or meant, and this is the answer.
                    session.enter(State::Idle, event.at);
                    out.push(SessionDelta::Refused { id, cause });
                } else {
                    out.push(SessionDelta::DownSeen {
                        id,
                        observer: Observer::Mrt,
                        cause,
                    });
                }
            }
            BgpMessage::Update(_) | BgpMessage::Keepalive | BgpMessage::RouteRefresh { .. } => {
                if session.state != State::Established {
                    session
                        .views
                        .of_mut(Observer::Mrt)
                        .up(event.at, session.downs);
                    if first_contact && session.ups == 0 && session.downs == 0 {
                        session.mid_stream = true;
                        session.up_since = Some(event.at);
                        session.enter(State::Established, event.at);
                        out.push(SessionDelta::Appeared {
                            id,
                            established: true,
                        });
                    } else {
                        self.up(id, event.at, Observer::Mrt, out);
                    }
                }
            }
            BgpMessage::TableEntry(_) | BgpMessage::Unknown(_) => {}
        }
    }

    pub(super) fn tcp(&mut self, event: &Event, tcp: &TcpEvent, out: &mut Vec<SessionDelta>) {
        /// IANA: bgp. TCP facts of other ports belong to BMP.
        const BGP_PORT: u16 = 179;
        if tcp.src.port() != BGP_PORT && tcp.dst.port() != BGP_PORT {
            return;
        }
        if let TcpFact::Icmp { kind, code } = tcp.what {
            // An error makes no session: it may be forged, and says nothing of what was up.
            let known = self.between(tcp.src.ip(), tcp.dst.ip());
            if let Some((id, sender)) = known {
                self.sessions[id.0 as usize].ends[sender].was_not_delivered(event, tcp, kind, code);
            }
            return;
        }
        let Some((id, sender)) = self.session(tcp.src.ip(), tcp.dst.ip(), 0, event.at) else {
            return;
        };
        let session = &mut self.sessions[id.0 as usize];
        session.note_feed(&self.listener, event.source, sender, tcp.src.port());
        session.note_frame(event, &tcp.frame, sender);
        let first_contact = session.seen_on.is_empty();
        let ports = connection::Ports::new(sender, tcp.src.port(), tcp.dst.port());
        match tcp.what {
            TcpFact::Syn => {
                session.ends[sender].attempts = session.ends[sender].attempts.saturating_add(1);
                session.opened(ports, event.at);
                if session.state == State::Idle {
                    session.enter(State::Connect, event.at);
                }
                session.ends[sender].opening.asked(event, tcp.auth);
                if session.state != State::Established {
                    out.push(SessionDelta::Tried { id, end: sender });
                }
            }
            TcpFact::SynAck => session.ends[1 - sender].opening.answered += 1,
            TcpFact::Fin | TcpFact::Rst => {
                let reset = matches!(tcp.what, TcpFact::Rst);
                let refuses = reset && session.ends[1 - sender].opening.was_reset();
                self.woken.remove(&id);
                let mut ended = session.tcp_closed(ports);
                if ended.is_none() && self.was_carrying(id, event) {
                    self.sessions[id.0 as usize].buried(ports, event.at);
                    ended = Some(true);
                }
                let session = &mut self.sessions[id.0 as usize];
                if ended.is_none() && !reset && !session.has_connections() && session.downs == 0 {
                    session.unseen_end.get_or_insert((event.at, sender));
                }
                // Who closed it refuses the other end, which wants it back: it was a session, and its speaker is gone.
                let refused = refuses && session.state != State::Established;
                let unseen = session.unseen_end.filter(|(at, by)| {
                    refused && *by == sender && event.at.since(*at) <= WANTED_BACK
                });
                if let Some((at, from)) = unseen {
                    session.unseen_end = None;
                    let cause = DownCause::Tcp { from, reset: false };
                    self.closed(id, true, at, cause, out);
                } else if let Some(established) = ended {
                    self.closed(
                        id,
                        established,
                        event.at,
                        DownCause::Tcp {
                            from: sender,
                            reset,
                        },
                        out,
                    );
                } else if reset
                    && self.sessions[id.0 as usize].state != State::Established
                    && !first_contact
                {
                    out.push(SessionDelta::Refused {
                        id,
                        cause: DownCause::Tcp {
                            from: sender,
                            reset,
                        },
                    });
                }
            }
            TcpFact::Retransmission(_) => {
                let end = &mut session.ends[sender];
                end.unanswered.get_or_insert(event.at);
                end.retransmissions = end.retransmissions.saturating_add(1);
            }
            TcpFact::ZeroWindow => {
                if session.ends[sender].zero_window.is_none() {
                    session.ends[sender].zero_window = Some(event.at);
                    out.push(SessionDelta::ZeroWindow { id, end: sender });
                }
            }
            TcpFact::Ack => {
                let other = &mut session.ends[1 - sender];
                other.unanswered = None;
                other.retransmissions = 0;
                session.ends[sender].zero_window = None;
                session.ends[sender].last_ack = Some(event.at);
            }
            TcpFact::Icmp { .. } | TcpFact::FullSize(_) | TcpFact::Hole(_) => {}
        }
    }
}

impl Session {
    /// Notes that the session ends at our listener, which answers at port 179.
    fn note_feed(
        &mut self,
        listener: &std::collections::BTreeSet<crate::event::SourceId>,
        source: crate::event::SourceId,
        sender: usize,
        from_port: u16,
    ) {
        const BGP_PORT: u16 = 179;
        if self.feed.is_none() && listener.contains(&source) {
            self.feed = Some(if from_port == BGP_PORT {
                1 - sender
            } else {
                sender
            });
        }
    }

    fn note_frame(&mut self, event: &Event, frame: &Frame, sender: usize) {
        self.views.of_mut(Observer::Packets).seen = true;
        if let Some(mac) = frame.eth_src {
            self.ends[sender].mac = Some(mac);
        }
        if frame.outgoing == Some(true) {
            self.ends[sender].outgoing = true;
        }
        self.ends[sender].went_by(event, frame);
        if let Some(last) = self.seen_on.last_mut()
            && last.source == event.source
            && last.ifindex == frame.ifindex
        {
            last.last = event.at;
            return;
        }
        self.seen_on
            .retain(|seen| seen.source != event.source || seen.ifindex != frame.ifindex);
        if self.seen_on.len() == MAX_SOURCES {
            self.seen_on.remove(0);
        }
        self.seen_on.push(SeenOn {
            source: event.source,
            input: event.locator.input,
            ifindex: frame.ifindex,
            last: event.at,
        });
    }

    /// The silence that this message ends, when it took more than two thirds of a negotiated hold time (D26: a third is usual).
    fn late(&self, sender: usize, at: Timestamp) -> Option<(Duration, Duration)> {
        let hold = self.hold.filter(|hold| !hold.is_zero())?;
        let last = self.ends[sender].last_message?;
        let gap = at.since(last);
        let inside = self.state == State::Established && self.up_since.is_none_or(|up| last >= up);
        (inside && gap * 3 > hold * 2 && gap < hold).then_some((gap, hold))
    }

    fn heard(&mut self, sender: usize, at: Timestamp, keepalive: bool) {
        let end = &mut self.ends[sender];
        end.last_message = Some(at);
        if keepalive {
            // Gaps across a loss are no interval: only those inside an established session count.
            if let (Some(before), State::Established) = (end.last_keepalive, self.state)
                && self.up_since.is_none_or(|up| before >= up)
            {
                end.keepalive_gap = end.keepalive_gap.max(Some(at.since(before)));
            }
            end.last_keepalive = Some(at);
        }
    }
}
