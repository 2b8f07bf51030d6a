//! TCP connections of a session: which of them carries it, which are attempts, which are dead.
//!
//! Collisions (RFC 4271 §6.8) make several connections at once; only the end of the one that was established ends the session.

use std::time::Duration;

use super::{Session, State};
use crate::event::Timestamp;
use crate::event::bgp::BgpMessage;

/// Connections remembered per session: the one in use, two colliding ones, and the last dead one.
const MAX_CONNECTIONS: usize = 4;
/// Ports of a dead connection may be used again after this (a FIN or RST of the old one is long gone): 2 MSL of RFC 9293 at Linux's 30 s.
const REUSE: Duration = Duration::from_secs(60);

/// Ports in the order of the session's ends.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Ports([u16; 2]);

impl Ports {
    pub fn new(sender: usize, from: u16, to: u16) -> Ports {
        Ports(if sender == 0 { [from, to] } else { [to, from] })
    }

    /// The end that opened the connection: the one that does not listen.
    fn initiator(self) -> Option<usize> {
        match (self.0[0] == 179, self.0[1] == 179) {
            (true, false) => Some(1),
            (false, true) => Some(0),
            _ => None,
        }
    }
}

#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Phase {
    /// Opening: OPENs and first KEEPALIVEs.
    Opening,
    Established,
    /// Closed, or its session went down.
    Dead,
}

/// One TCP connection.
#[derive(Clone, Debug)]
pub struct Connection {
    ports: Ports,
    phase: Phase,
    since: Timestamp,
    /// By end.
    opens: [bool; 2],
    keepalives: [bool; 2],
    /// Last message of each end.
    last: [Option<Timestamp>; 2],
}

/// What a message did.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Step {
    Nothing,
    /// It belongs to a connection that must have been established before we looked, or still is.
    AlreadyUp,
    /// An OPEN; `new_connection` when its sender cannot believe that the older connection still is established.
    Opened {
        new_connection: bool,
    },
    /// Both ends confirmed.
    Established,
    /// A NOTIFICATION ended the connection.
    Closed {
        established: bool,
    },
    /// The connection was dead already.
    Dead,
}

impl Session {
    fn connection(&mut self, ports: Ports, at: Timestamp) -> (&mut Connection, bool) {
        if let Some(found) = self.connections.iter().position(|c| c.ports == ports) {
            return (&mut self.connections[found], false);
        }
        if self.connections.len() == MAX_CONNECTIONS {
            let oldest = self.connections.iter().position(|c| c.phase == Phase::Dead);
            let oldest = oldest.or_else(|| {
                self.connections
                    .iter()
                    .position(|c| c.phase == Phase::Opening)
            });
            self.connections.remove(oldest.unwrap_or(0));
        }
        self.connections.push(Connection {
            ports,
            phase: Phase::Opening,
            since: at,
            opens: [false; 2],
            keepalives: [false; 2],
            last: [None; 2],
        });
        let last = self.connections.len() - 1;
        (&mut self.connections[last], true)
    }

    /// A SYN: a new connection, also when its ports were used before.
    pub(super) fn opened(&mut self, ports: Ports, at: Timestamp) {
        let established = |c: &Connection| c.ports == ports && c.phase == Phase::Established;
        // A SYN with the ports of a connection in use is a duplicate or forged (RFC 5961 §4): ignored.
        if !self.connections.iter().any(established) {
            self.connections.retain(|c| c.ports != ports);
            self.connection(ports, at);
        }
    }

    /// FIN or RST. `Some(established)` when it ended a live connection.
    pub(super) fn tcp_closed(&mut self, ports: Ports) -> Option<bool> {
        let connection = self.connections.iter_mut().find(|c| c.ports == ports)?;
        let was = std::mem::replace(&mut connection.phase, Phase::Dead);
        let talked = connection.opens != [false; 2];
        match was {
            Phase::Established => Some(true),
            Phase::Opening if talked => Some(false),
            Phase::Opening | Phase::Dead => None,
        }
    }

    /// Whether any connection of it was seen.
    pub(super) fn has_connections(&self) -> bool {
        !self.connections.is_empty()
    }

    /// A connection of which only the end was seen.
    pub(super) fn buried(&mut self, ports: Ports, at: Timestamp) {
        self.connection(ports, at).0.phase = Phase::Dead;
    }

    /// A BGP message on a connection.
    pub(super) fn message(
        &mut self,
        ports: Ports,
        sender: usize,
        at: Timestamp,
        message: &BgpMessage,
    ) -> Step {
        let settled = self.state == State::Established
            && self
                .connections
                .iter()
                .any(|c| c.phase == Phase::Established);
        let never_packets = self.connections.is_empty();
        // After a loss one end alone may still talk on the old connection, whose ports were forgotten over many attempts.
        let lost = self.downs > 0 && self.state != State::Established;
        let (connection, made) = self.connection(ports, at);
        connection.last[sender] = Some(at);
        if connection.phase == Phase::Dead {
            let reused =
                matches!(message, BgpMessage::Open(_)) && at.since(connection.since) > REUSE;
            if !reused {
                return Step::Dead;
            }
            connection.phase = Phase::Opening;
            connection.opens = [false; 2];
            connection.keepalives = [false; 2];
        }
        match message {
            BgpMessage::Open(_) => {
                connection.opens[sender] = true;
                if connection.phase == Phase::Established {
                    return Step::Nothing; // an error of the sender; a NOTIFICATION will follow
                }
                // A speaker with an established session opens no other one: the old one is dead to it. A passive end answers
                // a collision with its OPEN, which says nothing.
                let by_initiator = ports.initiator() == Some(sender);
                Step::Opened {
                    new_connection: settled && by_initiator,
                }
            }
            BgpMessage::Keepalive => {
                connection.keepalives[sender] = true;
                match connection.phase {
                    Phase::Established => Step::AlreadyUp,
                    _ if connection.keepalives == [true; 2] && connection.opens == [true; 2] => {
                        connection.phase = Phase::Established;
                        connection.since = at;
                        Step::Established
                    }
                    _ if connection.opens == [false; 2]
                        && (made && !lost || connection.keepalives == [true; 2]) =>
                    {
                        // No OPEN was seen: the capture begins inside the session. Unless another connection carries it.
                        if made && !never_packets && settled {
                            return Step::Nothing;
                        }
                        connection.phase = Phase::Established;
                        connection.since = at;
                        Step::AlreadyUp
                    }
                    _ => Step::Nothing,
                }
            }
            BgpMessage::Update(_) | BgpMessage::RouteRefresh { .. } => {
                let opening = connection.phase == Phase::Opening;
                let opened = connection.opens != [false; 2];
                if opening && !opened && lost && connection.last[1 - (sender & 1)].is_none() {
                    return Step::Nothing;
                }
                connection.phase = Phase::Established;
                if opening {
                    connection.since = at;
                }
                if opening && opened {
                    Step::Established
                } else {
                    Step::AlreadyUp
                }
            }
            BgpMessage::Notification(_) => {
                let established = connection.phase == Phase::Established || (made && never_packets);
                connection.phase = Phase::Dead;
                connection.since = at;
                Step::Closed { established }
            }
            BgpMessage::StateChange { .. } | BgpMessage::TableEntry(_) | BgpMessage::Unknown(_) => {
                Step::Nothing
            }
        }
    }

    /// Packets show it being opened.
    pub(super) fn opening(&self) -> bool {
        self.connections.iter().any(|c| c.opens != [false; 2])
    }

    /// A new connection is established: older ones are not, whatever they look like.
    pub(super) fn keep_only_latest_established(&mut self) {
        let latest = self
            .connections
            .iter()
            .filter(|c| c.phase == Phase::Established)
            .map(|c| c.since)
            .max();
        for connection in &mut self.connections {
            if connection.phase == Phase::Established && Some(connection.since) != latest {
                connection.phase = Phase::Dead;
            }
        }
    }

    /// The session is down: what carried it is dead. Attempts live on.
    pub(super) fn bury_connections(&mut self) {
        for connection in &mut self.connections {
            if connection.phase == Phase::Established {
                connection.phase = Phase::Dead;
            }
        }
    }

    /// The last buried connection lives after all.
    pub(super) fn revive(&mut self) {
        let latest = self
            .connections
            .iter_mut()
            .filter(|c| c.phase == Phase::Dead)
            .max_by_key(|c| c.last.iter().flatten().max().copied());
        if let Some(connection) = latest {
            connection.phase = Phase::Established;
        }
    }

    /// The end that fell silent first on the connection that carried the session, and when it was last heard there.
    pub(super) fn before_reopening(&self) -> Option<(usize, Timestamp)> {
        let old = self
            .connections
            .iter()
            .filter(|c| c.phase == Phase::Established)
            .min_by_key(|c| c.since)?;
        let [a, b] = [old.last[0]?, old.last[1]?];
        Some(if a <= b { (0, a) } else { (1, b) })
    }
}
