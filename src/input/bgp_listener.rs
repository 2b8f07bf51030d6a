//! The BGP listener, for daemons without BMP: a speaker that accepts sessions and listens. It never announces a route and calls nobody.
//!
//! One task for each connection drives a [`Session`]; octets of both directions go on as packets of port 179 ([`super::synthetic`]), so
//! that live and from a recording the decoder sees one session. A router becomes a feed with a good OPEN; who has none only leaves a
//! note. The loss of such a session is a loss of sight, which the state knows by the source's name.

pub mod config;
mod md5;
mod open;
mod session;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout_at;

use super::live::{LiveItem, LiveSender, SourceIds, Stop, now};
use super::station::tap::{Gone, Tap};
use super::station::{self, Desk, Place, Serve};
use super::synthetic::{SEGMENT, Sender};
use crate::event::source::OwnFeed;
use config::Config;
pub use md5::{has_ao, has_md5};
use session::{Action, Notification, Session, Speaker};

/// The port that the packets show, wherever the listener really is: what makes them BGP to every reader.
const BGP_PORT: u16 = crate::event::ports::BGP;
/// Octets read at once before the router's OPEN was accepted.
const FIRST_READ: usize = 4096;
/// Our messages are small: a router whose window stays closed this long reads nothing at all.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// Listening sockets that wait for BGP speakers.
#[derive(Debug)]
pub struct BgpListener {
    listeners: Vec<TcpListener>,
    config: Config,
    /// What could not be done, for the reader.
    pub notes: Vec<String>,
}

impl BgpListener {
    /// Opens the sockets. No runtime is needed; privileges may be dropped afterwards.
    pub fn bind(addresses: &[SocketAddr], config: Config) -> io::Result<BgpListener> {
        let listeners = station::bind(addresses)?;
        for listener in &listeners {
            for peer in &config.peers {
                if let Some(password) = &peer.password {
                    md5::expect(listener, peer.addr, password)?;
                }
            }
        }
        Ok(BgpListener {
            listeners,
            config,
            notes: Vec::new(),
        })
    }

    /// Where it listens, with the real ports.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }

    /// Serves routers until `stop`, or until the pipeline is gone.
    pub async fn run(self, ids: SourceIds, out: LiveSender, stop: Stop) -> io::Result<()> {
        let room = Room {
            desk: Desk::new(OwnFeed::Bgp.name(), ids, out),
            config: self.config,
            sessions: Mutex::default(),
        };
        station::serve_all(self.listeners, room, stop).await
    }
}

/// What all connections share.
struct Room {
    desk: Desk,
    config: Config,
    /// The session of each router, by its connection's number: a router that opens another one has lost the first.
    sessions: Mutex<BTreeMap<IpAddr, (u32, Arc<Notify>)>>,
}

impl Room {
    /// Registers a session and ends the router's earlier one.
    fn register(&self, router: IpAddr, connection: u32) -> Arc<Notify> {
        let replaced = Arc::new(Notify::new());
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, old)) = sessions.insert(router, (connection, replaced.clone())) {
            old.notify_one();
        }
        replaced
    }

    fn forget(&self, router: IpAddr, connection: u32) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions
            .get(&router)
            .is_some_and(|(current, _)| *current == connection)
        {
            sessions.remove(&router);
        }
    }

    /// How we introduce ourselves at this address.
    fn speaker(&self, local: IpAddr) -> Speaker {
        Speaker {
            asn: self.config.asn,
            router_id: self.config.router_id.unwrap_or_else(|| identifier(local)),
            hold: self.config.hold,
        }
    }
}

/// A BGP identifier where none was given: the address that the router called, or the end of it.
fn identifier(local: IpAddr) -> Ipv4Addr {
    match local.to_canonical() {
        IpAddr::V4(addr) => addr,
        IpAddr::V6(addr) => {
            let [.., a, b, c, d] = addr.octets();
            Ipv4Addr::new(a, b, c, d | 1) // never zero (RFC 6286 §2.1)
        }
    }
}

impl Serve for Room {
    fn desk(&self) -> &Desk {
        &self.desk
    }

    fn welcomes(&self, remote: SocketAddr, local: SocketAddr) -> Result<(), &'static str> {
        self.config
            .admits(remote.ip())
            .and_then(|()| distinct(remote, local))
    }

    async fn serve(&self, stream: TcpStream, ends: (SocketAddr, SocketAddr), stop: Stop) {
        serve(stream, ends.0, ends.1, self, stop).await;
    }
}

/// A session has two ends: with one address for both, nobody could tell who announced what.
fn distinct(remote: SocketAddr, local: SocketAddr) -> Result<(), &'static str> {
    if remote.ip() == local.ip() {
        return Err(
            "it calls from the address that it calls; give the listener its own, like 127.0.0.2",
        );
    }
    Ok(())
}

/// How a connection ended.
enum Over {
    /// Nobody listens to us any more.
    Stopped,
    /// The router closed it.
    Closed,
    Broken(String),
    /// A NOTIFICATION told, ours or the router's.
    Ended(session::End),
}

/// One router: reads, answers, hands on.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    remote: SocketAddr,
    local: SocketAddr,
    room: &Room,
    stop: Stop,
) {
    let mut feed = Feed {
        remote,
        local: SocketAddr::new(local.ip(), BGP_PORT),
        room,
        sent: Vec::new(),
        received: Vec::new(),
        live: None,
    };
    let over = match feed.drive(&mut stream, stop).await {
        Ok(over) => over,
        Err(Gone) => Over::Stopped,
    };
    let _ = stream.shutdown().await; // it is over either way
    feed.close(over).await;
}

/// A connection that the pipeline hears of.
struct Told {
    place: Place,
    tap: Tap,
    replaced: Arc<Notify>,
}

struct Feed<'a> {
    remote: SocketAddr,
    local: SocketAddr,
    room: &'a Room,
    /// Before the router's OPEN was accepted: our messages, and the octets that came.
    sent: Vec<u8>,
    received: Vec<u8>,
    live: Option<Told>,
}

/// What woke a connection up.
enum Woken {
    Read(io::Result<usize>),
    Time,
    Stop,
    Replaced,
}

impl Feed<'_> {
    async fn drive(
        &mut self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        mut stop: Stop,
    ) -> Result<Over, Gone> {
        let clock = self.room.desk.clock;
        let mut actions = Vec::new();
        let mut session = Session::start(
            self.room.speaker(self.local.ip()),
            self.room.config.as_of(self.remote.ip()),
            clock.now(),
            &mut actions,
        );
        let mut buffer = vec![0; FIRST_READ];
        loop {
            if let Some(over) = self.act(stream, &mut actions).await? {
                return Ok(over);
            }
            if self.live.is_some() && buffer.len() == FIRST_READ {
                buffer = vec![0; SEGMENT];
            }
            let replaced = self.live.as_ref().map(|told| told.replaced.clone());
            let promise = self
                .live
                .as_ref()
                .map(|_| clock.now() + self.room.desk.promise_every());
            let read = async {
                match session.deadline().into_iter().chain(promise).min() {
                    Some(due) => match timeout_at(clock.at(due), stream.read(&mut buffer)).await {
                        Ok(read) => Woken::Read(read),
                        Err(_) => Woken::Time,
                    },
                    None => Woken::Read(stream.read(&mut buffer).await),
                }
            };
            let woken = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => Woken::Stop,
                () = notified(replaced) => Woken::Replaced,
                woken = read => woken,
            };
            let cease = |subcode| Notification::new(session::CEASE, subcode);
            match woken {
                Woken::Read(Ok(0)) => return Ok(Over::Closed),
                Woken::Read(Ok(length)) => {
                    let octets = buffer.get(..length).unwrap_or_default();
                    session.receive(octets, clock.now(), &mut actions);
                    match &mut self.live {
                        Some(told) => told.tap.data(now(), Sender::Remote, octets).await?,
                        None => self.received.extend_from_slice(octets), // one OPEN at most: act() takes it
                    }
                }
                Woken::Read(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Woken::Read(Err(error)) => return Ok(Over::Broken(error.to_string())),
                Woken::Time => {
                    if let Some(told) = &self.live {
                        told.tap.idle(now());
                    }
                    session.tick(clock.now(), &mut actions);
                }
                Woken::Replaced => session.end(cease(session::COLLISION), &mut actions),
                Woken::Stop => {
                    // The router shall know at once. The pipeline needs no word of it: the input ends.
                    session.end(cease(session::ADMINISTRATIVE_SHUTDOWN), &mut actions);
                    for action in actions.drain(..) {
                        if let Action::Send(message) = action {
                            let _ = self.write(stream, &message).await; // it goes either way
                        }
                    }
                    return Ok(Over::Stopped);
                }
            }
        }
    }

    async fn write(
        &self,
        stream: &mut (impl AsyncWrite + Unpin),
        message: &[u8],
    ) -> Result<(), String> {
        let clock = self.room.desk.clock;
        let due = clock.at(clock.now() + WRITE_WITHIN);
        match timeout_at(due, stream.write_all(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!(
                "the router read nothing for {} s",
                WRITE_WITHIN.as_secs()
            )),
        }
    }

    /// Does what the session wants; `Some` when it is over.
    async fn act(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        actions: &mut Vec<Action>,
    ) -> Result<Option<Over>, Gone> {
        for action in actions.drain(..) {
            match action {
                Action::Send(message) => {
                    if let Err(why) = self.write(stream, &message).await {
                        return Ok(Some(Over::Broken(why)));
                    }
                    match &mut self.live {
                        Some(told) => told.tap.data(now(), Sender::Local, &message).await?,
                        None => self.sent.extend_from_slice(&message),
                    }
                }
                Action::Accepted(_) => {
                    if !self.accepted().await? {
                        let why = Notification::new(session::CEASE, session::OUT_OF_RESOURCES);
                        return Ok(Some(Over::Ended(session::End::Sent(why))));
                    }
                }
                Action::Close(end) => return Ok(Some(Over::Ended(end))),
            }
        }
        Ok(None)
    }

    /// The router's OPEN is good: the pipeline hears of the connection. False when there is no place.
    async fn accepted(&mut self) -> Result<bool, Gone> {
        let desk = &self.room.desk;
        let Some(mut place) = desk.take_place(self.remote.ip()) else {
            return Ok(false);
        };
        desk.note(self.remote, "is connected").await;
        let at = now();
        let out = desk.out.clone();
        if let Some(info) = place.announce.take() {
            out.send(LiveItem::Source(info)).await.map_err(|_| Gone)?;
        }
        let ends = (self.remote, self.local);
        let mut tap = Tap::open(ends, place.source, place.number, at, out).await?;
        tap.data(at, Sender::Local, &std::mem::take(&mut self.sent))
            .await?;
        tap.data(at, Sender::Remote, &std::mem::take(&mut self.received))
            .await?;
        let replaced = self.room.register(self.remote.ip(), place.connection);
        self.live = Some(Told {
            place,
            tap,
            replaced,
        });
        Ok(true)
    }

    async fn close(self, over: Over) {
        let desk = &self.room.desk;
        let Some(Told { place, tap, .. }) = self.live else {
            match over {
                Over::Ended(end) => desk.refused(self.remote, &end.to_string()).await,
                Over::Closed if !self.received.is_empty() => {
                    let why = "it closed the connection before its OPEN was complete";
                    desk.refused(self.remote, why).await;
                }
                // A probe of the port, or our own end.
                Over::Closed | Over::Broken(_) | Over::Stopped => {}
            }
            return;
        };
        self.room.forget(self.remote.ip(), place.connection);
        let at = now();
        let (by, why) = match over {
            Over::Stopped => return,
            Over::Closed => (Sender::Remote, None),
            Over::Broken(why) => (Sender::Remote, Some(why)),
            Over::Ended(end @ session::End::Sent(_)) => (Sender::Local, Some(end.to_string())),
            Over::Ended(end @ session::End::Received(_)) => (Sender::Remote, Some(end.to_string())),
        };
        let number = tap.close(at, by, why.as_deref()).await;
        let why = why.unwrap_or_else(|| "it closed the connection".to_owned());
        desk.note(self.remote, &format!("is lost: {why}")).await;
        if let Ok(number) = number {
            desk.leave_place(&place, number);
        }
    }
}

/// Never, where nothing notifies.
async fn notified(notify: Option<Arc<Notify>>) {
    match notify {
        Some(notify) => notify.notified().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
