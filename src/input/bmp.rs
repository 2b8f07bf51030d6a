//! The BMP station: routers connect, their octets go on as they come, and who does not speak BMP is cut off.
//!
//! One task for each connection; it waits when the pipeline is full, and TCP tells the router. The station frames messages only as far as
//! [`Guard`] needs it; what they mean is the decoder's business. What goes on are packets ([`super::synthetic`]): the decoder counts
//! connections and tells their end from those, live as from a recording. A cut connection ends in a reset that says why.

mod guard;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use super::live::{LiveItem, LiveSender, SourceIds, Stop, now};
use super::station::tap::{Gone, Tap};
use super::station::{self, Desk, Place, Serve};
use super::synthetic::{SEGMENT, Sender};
use crate::event::source::OwnFeed;
use guard::{Fault, Guard};

/// Octets read at once before a connection has proved that it is a router's: an Initiation is some 200.
const FIRST_READ: usize = 4096;
/// A router that died without a word is noticed after this and three probes: BMP itself has no keep-alives.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// Listening sockets that wait for routers.
#[derive(Debug)]
pub struct BmpStation {
    listeners: Vec<TcpListener>,
}

impl BmpStation {
    /// Opens the sockets. No runtime is needed; privileges may be dropped afterwards.
    pub fn bind(addresses: &[SocketAddr]) -> io::Result<BmpStation> {
        Ok(BmpStation {
            listeners: station::bind(addresses)?,
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
            desk: Desk::new(OwnFeed::Bmp.name(), ids, out),
        };
        station::serve_all(self.listeners, room, stop).await
    }
}

/// What all connections share.
struct Room {
    desk: Desk,
}

impl Serve for Room {
    fn desk(&self) -> &Desk {
        &self.desk
    }

    async fn serve(&self, stream: TcpStream, ends: (SocketAddr, SocketAddr), stop: Stop) {
        let probes = TcpKeepalive::new()
            .with_time(PROBE_AFTER)
            .with_interval(PROBE_EVERY)
            .with_retries(PROBES);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&probes); // without, a dead router is noticed later
        serve(stream, ends.0, ends.1, &self.desk, stop).await;
    }
}

/// How a connection ended.
enum Over {
    /// Told to stop, or nobody listens any more.
    Stopped,
    /// The router closed it.
    Closed,
    /// It broke.
    Broken(io::Error),
    /// It was cut off.
    Cut(Fault),
}

/// One router: reads, checks, hands on.
async fn serve(
    stream: impl AsyncRead + Unpin,
    remote: SocketAddr,
    local: SocketAddr,
    desk: &Desk,
    stop: Stop,
) {
    let mut feed = Feed {
        remote,
        local,
        desk,
        begin: Vec::new(),
        tap: None,
    };
    let over = match feed.read(stream, stop).await {
        Ok(over) => over,
        Err(Gone) => Over::Stopped,
    };
    feed.close(over).await;
}

/// A connection and its way into the pipeline.
struct Feed<'a> {
    remote: SocketAddr,
    local: SocketAddr,
    desk: &'a Desk,
    /// What came before the first message was whole.
    begin: Vec<u8>,
    tap: Option<(Place, Tap)>,
}

impl Feed<'_> {
    async fn read(
        &mut self,
        mut stream: impl AsyncRead + Unpin,
        mut stop: Stop,
    ) -> Result<Over, Gone> {
        let clock = self.desk.clock;
        let mut guard = Guard::new(clock.now());
        let mut buffer = vec![0; FIRST_READ];
        loop {
            let promise = self
                .tap
                .as_ref()
                .map(|_| clock.now() + self.desk.promise_every());
            let read = async {
                match guard.deadline().into_iter().chain(promise).min() {
                    Some(due) => timeout_at(clock.at(due), stream.read(&mut buffer)).await,
                    None => Ok(stream.read(&mut buffer).await),
                }
            };
            let read = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(Over::Stopped),
                read = read => read,
            };
            let length = match read {
                Ok(Ok(0)) => return Ok(Over::Closed),
                Ok(Ok(length)) => length,
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(Err(error)) => return Ok(Over::Broken(error)),
                Err(_) if guard.deadline().is_some_and(|due| due <= clock.now()) => {
                    return Ok(Over::Cut(guard.overdue()));
                }
                Err(_) => {
                    if let Some((_, tap)) = &self.tap {
                        tap.idle(now());
                    }
                    continue;
                }
            };
            let octets = buffer.get(..length).unwrap_or_default();
            let verdict = guard.octets(octets, clock.now());
            if guard.is_router() {
                if !self.hand_on(octets).await? {
                    return Ok(Over::Cut(Fault::NoPlace));
                }
                if buffer.len() == FIRST_READ {
                    buffer = vec![0; SEGMENT];
                }
            } else {
                self.begin.extend_from_slice(octets); // the guard bounds it
            }
            if let Err(fault) = verdict {
                return Ok(Over::Cut(fault));
            }
        }
    }

    /// Octets of a router. False when there is no place for one more.
    async fn hand_on(&mut self, octets: &[u8]) -> Result<bool, Gone> {
        let at = now();
        match &mut self.tap {
            Some((_, tap)) => tap.data(at, Sender::Remote, octets).await?,
            None => {
                let Some(mut place) = self.desk.take_place(self.remote.ip()) else {
                    return Ok(false);
                };
                self.desk.note(self.remote, "is connected").await;
                let out = self.desk.out.clone();
                if let Some(info) = place.announce.take() {
                    out.send(LiveItem::Source(info)).await.map_err(|_| Gone)?;
                }
                let ends = (self.remote, self.local);
                let tap = Tap::open(ends, place.source, place.number, at, out).await?;
                let (_, tap) = self.tap.insert((place, tap));
                let mut begin = std::mem::take(&mut self.begin);
                begin.extend_from_slice(octets);
                // Apart from what follows: the decoder knows a BMP connection by its first segment.
                let first = guard::first_message(&begin).min(begin.len());
                let (initiation, rest) = begin.split_at(first);
                tap.data(at, Sender::Remote, initiation).await?;
                tap.data(at, Sender::Remote, rest).await?;
            }
        }
        Ok(true)
    }

    async fn close(self, over: Over) {
        let at = now();
        let Some((place, tap)) = self.tap else {
            match over {
                Over::Cut(fault) => self.desk.refused(self.remote, &fault.to_string()).await,
                Over::Closed if !self.begin.is_empty() => {
                    let why = "it closed the connection inside its first message";
                    self.desk.refused(self.remote, why).await;
                }
                // A probe of the port, or our own end.
                Over::Closed | Over::Broken(_) | Over::Stopped => {}
            }
            return;
        };
        let (by, why) = match over {
            Over::Stopped => return,
            Over::Closed => (Sender::Remote, None),
            Over::Broken(error) => (Sender::Remote, Some(error.to_string())),
            Over::Cut(fault) => (Sender::Local, Some(fault.to_string())),
        };
        let number = tap.close(at, by, why.as_deref()).await;
        let why = why.unwrap_or_else(|| "it closed the connection".to_owned());
        self.desk
            .note(self.remote, &format!("is lost: {why}"))
            .await;
        if let Ok(number) = number {
            self.desk.leave_place(&place, number);
        }
    }
}

#[cfg(test)]
mod tests;
