//! The RTR client: connects to RPKI caches, asks, and hands on what both ends say as packets ([`super::synthetic`]).
//!
//! One task and one source for each cache; what a cache says is decoded, kept and judged behind the pipeline, live as from a recording
//! (law 13). [`Session`] holds the protocol; here are sockets, TLS, time and the patience to call again. Also calls that fail are told,
//! as a connection that was refused with its reason.

pub mod config;
pub mod pdu;
mod session;
mod tls;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsConnector;

use super::live::{LiveItem, LiveSender, SourceIds, Stop, now};
use super::station::Clock;
use super::station::tap::{Gone, Tap};
use super::synthetic::Sender;
use crate::event::source::OwnFeed;
use crate::event::{SourceId, SourceKind};
use config::Target;
use session::{Fault, Memory, News, Session};

/// Caches asked at most: the state unites as many, and files are among them.
pub const MAX_TARGETS: usize = 8;
/// Octets read at once: three thousand prefixes.
const READ: usize = 61_440;
/// For a name to be resolved and a connection to be accepted, each. RTR caches are near.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// For the TLS handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// For our few octets to be taken.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// First and longest pause before the next call; it doubles. RFC 8210 §6 retries after 600 s by default, but a cache that restarts
/// should not be missed for ten minutes.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A cache that died without a word is noticed after this and three probes; between refreshes RTR is silent for an hour.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// Caches to ask, with whom to trust.
pub struct RtrClient {
    targets: Vec<Target>,
    tls: Option<TlsConnector>,
}

impl RtrClient {
    /// Reads what must be read: no socket is opened yet. Privileges may be dropped afterwards.
    pub fn open(targets: &[Target], ca: Option<&Path>) -> io::Result<RtrClient> {
        if targets.len() > MAX_TARGETS {
            let why = format!("at most {MAX_TARGETS} caches can be asked");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let wants_tls = targets.iter().any(|target| target.tls);
        for target in targets.iter().filter(|target| target.tls) {
            tls::server_name(&target.host)?;
        }
        Ok(RtrClient {
            targets: targets.to_vec(),
            tls: wants_tls.then(|| tls::connector(ca)).transpose()?,
        })
    }

    /// The caches.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Asks the caches until `stop`, or until the pipeline is gone.
    pub async fn run(self, ids: SourceIds, out: LiveSender, stop: Stop) {
        let mut tasks = JoinSet::new();
        for (index, target) in self.targets.into_iter().enumerate() {
            let name = format!("{}-{}", OwnFeed::Rtr.name(), index + 1);
            let info = ids.announce(SourceKind::Packets, Some(&name));
            let asker = Asker {
                name,
                target,
                tls: self.tls.clone(),
                source: info.id,
                number: 0,
                memory: Memory::default(),
                clock: Clock::start(),
                pause: FIRST_PAUSE,
                told: None,
                out: out.clone(),
            };
            if out.send(LiveItem::Source(info)).await.is_err() {
                return;
            }
            tasks.spawn(asker.run(stop.clone()));
        }
        while tasks.join_next().await.is_some() {}
    }
}

/// Both directions of a connection.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// How a connection ended.
enum Over {
    Stopped,
    /// The cache closed it.
    Closed,
    Broken(String),
    /// We did.
    Left(Fault),
}

/// One cache and the way of its words into the pipeline.
struct Asker {
    name: String,
    target: Target,
    tls: Option<TlsConnector>,
    source: SourceId,
    /// Number of the last record of the source.
    number: u64,
    memory: Memory,
    clock: Clock,
    pause: Duration,
    /// The last thing that the operator was told: not twice.
    told: Option<String>,
    out: LiveSender,
}

impl Asker {
    async fn run(mut self, mut stop: Stop) {
        loop {
            let connected = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                connected = self.connect() => connected,
            };
            let again = match connected {
                Ok((stream, ends)) => self.serve(stream, ends, stop.clone()).await,
                Err((cache, why)) => self.refused(cache, &why).await,
            };
            let Ok(Some(pause)) = again else { return };
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = self.clock.pause(pause) => {}
            }
        }
    }

    /// A connection and its ends (ours, the cache's), or whom it did not reach and why.
    async fn connect(
        &self,
    ) -> Result<(Box<dyn Stream>, (SocketAddr, SocketAddr)), (SocketAddr, String)> {
        let port = self.target.port;
        let nobody = SocketAddr::new(
            self.target
                .addr()
                .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            port,
        );
        let resolved = timeout(
            CONNECT_WITHIN,
            tokio::net::lookup_host((self.target.host.as_str(), port)),
        );
        let addresses: Vec<SocketAddr> = match resolved.await {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(error)) => {
                return Err((
                    nobody,
                    format!("cannot resolve {}: {error}", self.target.host),
                ));
            }
            Err(_) => {
                return Err((
                    nobody,
                    format!("cannot resolve {} in time", self.target.host),
                ));
            }
        };
        let mut last = (nobody, format!("{} has no address", self.target.host));
        for address in addresses {
            let why = match timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => match self.dress(stream).await {
                    Ok(found) => return Ok(found),
                    Err(why) => why,
                },
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {} s", CONNECT_WITHIN.as_secs()),
            };
            last = (address, why);
        }
        Err(last)
    }

    /// TLS, where it is wanted.
    async fn dress(
        &self,
        stream: TcpStream,
    ) -> Result<(Box<dyn Stream>, (SocketAddr, SocketAddr)), String> {
        let text = |error: io::Error| error.to_string();
        let ends = (
            stream.local_addr().map_err(text)?,
            stream.peer_addr().map_err(text)?,
        );
        let probes = TcpKeepalive::new()
            .with_time(PROBE_AFTER)
            .with_interval(PROBE_EVERY)
            .with_retries(PROBES);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&probes); // without, a dead cache is noticed at the next refresh
        let Some(tls) = self.tls.as_ref().filter(|_| self.target.tls) else {
            return Ok((Box::new(stream), ends));
        };
        let name = tls::server_name(&self.target.host).map_err(text)?;
        match timeout(HANDSHAKE_WITHIN, tls.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok((Box::new(stream), ends)),
            Ok(Err(error)) => Err(tls::explain(&error)),
            Err(_) => Err(format!(
                "TLS: no handshake within {} s",
                HANDSHAKE_WITHIN.as_secs()
            )),
        }
    }

    async fn refused(&mut self, cache: SocketAddr, why: &str) -> Result<Option<Duration>, Gone> {
        let us: IpAddr = match cache {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        /// No port was ours: the first of those for nobody in particular (RFC 6335 §6).
        const ANY_PORT: u16 = 49_152;
        let ends = (SocketAddr::new(us, ANY_PORT), cache);
        let out = self.out.clone();
        self.number = Tap::refused(ends, self.source, self.number, now(), out, why).await?;
        self.note(&format!("cannot be reached: {why}")).await;
        Ok(Some(self.next_pause()))
    }

    fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }

    /// One connection, until it ends; how long to wait before the next one, or nothing when the watching ends.
    async fn serve(
        &mut self,
        stream: Box<dyn Stream>,
        ends: (SocketAddr, SocketAddr),
        stop: Stop,
    ) -> Result<Option<Duration>, Gone> {
        // The one who called is "remote" to the tap: here that is us.
        let mut tap = Tap::open(ends, self.source, self.number, now(), self.out.clone()).await?;
        let mut session = Session::begin(self.memory, self.clock.now());
        let over = self.talk(stream, &mut session, &mut tap, stop).await?;
        if matches!(over, Over::Closed) && !session.heard() {
            session.mute();
        }
        self.memory = session.memory;
        let at = now();
        let (by, why) = match &over {
            // The end of the watching is not the cache's: nothing is told.
            Over::Stopped => return Ok(None),
            Over::Closed if session.heard() => (Sender::Local, None),
            Over::Closed => {
                let why = "it closed the connection without an answer".to_owned();
                (Sender::Local, Some(why))
            }
            Over::Broken(why) => (Sender::Local, Some(why.clone())),
            Over::Left(fault) => (Sender::Remote, Some(fault.to_string())),
        };
        self.number = tap.close(at, by, why.as_deref()).await?;
        let retry = matches!(&over, Over::Left(fault) if fault.is_retry());
        if retry && self.pause == FIRST_PAUSE {
            self.next_pause();
            return Ok(Some(Duration::ZERO));
        }
        let why = why.unwrap_or_else(|| "it closed the connection".to_owned());
        self.note(&format!("is lost: {why}")).await;
        Ok(Some(self.next_pause()))
    }

    async fn talk(
        &mut self,
        mut stream: Box<dyn Stream>,
        session: &mut Session,
        tap: &mut Tap,
        mut stop: Stop,
    ) -> Result<Over, Gone> {
        let mut buffer = vec![0; READ];
        loop {
            let send = session.take_send();
            if !send.is_empty() {
                tap.data(now(), Sender::Remote, &send).await?;
                let written = timeout(WRITE_WITHIN, async {
                    stream.write_all(&send).await?;
                    stream.flush().await
                });
                match written.await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Ok(Over::Broken(error.to_string())),
                    Err(_) => return Ok(Over::Broken("it takes nothing".to_owned())),
                }
            }
            let read = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(Over::Stopped),
                read = timeout_at(self.clock.at(session.deadline()), stream.read(&mut buffer)) => read,
            };
            let result = match read {
                Ok(Ok(0)) => return Ok(Over::Closed),
                Ok(Ok(length)) => {
                    let octets = buffer.get(..length).unwrap_or_default();
                    tap.data(now(), Sender::Local, octets).await?;
                    session.octets(octets, self.clock.now())
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                // TLS peers that end without its good-bye are common.
                Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(Over::Closed);
                }
                Ok(Err(error)) => return Ok(Over::Broken(error.to_string())),
                Err(_) => session.timeout(self.clock.now()),
            };
            for news in session.take_news() {
                self.news(&news, session).await;
            }
            if let Err(fault) = result {
                let report = session.take_send();
                if !report.is_empty() {
                    tap.data(now(), Sender::Remote, &report).await?;
                    let _ = timeout(WRITE_WITHIN, stream.write_all(&report)).await; // it is left either way
                }
                return Ok(Over::Left(fault));
            }
        }
    }

    async fn news(&mut self, news: &News, session: &Session) {
        match news {
            News::Complete { prefixes, full } => {
                self.pause = FIRST_PAUSE;
                if *full {
                    let version = session.memory.version;
                    self.note(&format!("sent {prefixes} VRPs (RTR version {version})"))
                        .await;
                }
            }
            News::NoData => self.note("has no data yet").await,
        }
    }

    /// Tells the operator, once for each change.
    async fn note(&mut self, what: &str) {
        if self.told.as_deref() == Some(what) {
            return;
        }
        self.told = Some(what.to_owned());
        let text = format!("{}: {} {what}", self.name, self.target);
        let _ = self.out.send(LiveItem::Note(text)).await; // nobody is left to tell when the channel is gone
    }
}
