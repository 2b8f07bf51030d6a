//! The listening side: accepts few clients, reads short lines, hands requests to the run and writes its answers.
//!
//! Each client is a task. Requests go through one bounded channel to whoever holds the engine; alerts come back through a broadcast of
//! which a client that reads too slowly loses its place, and then its connection.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot};

use super::bridge::{self, Viewing};
use super::protocol::{Answer, MAX_REQUEST, Request};
use crate::correlate::incident::Incident;
use crate::filter::Filter;

/// Clients at once that ask, or may ask: each is a descriptor and some kilobytes.
const MAX_CLIENTS: usize = 128;
/// Clients at once that stay for alerts or pictures. They have no time to end by, so they have places of their own.
const MAX_STAYING: usize = 16;
/// A client that says nothing for so long while others wait for its place gives it up.
const CROWDED: Duration = Duration::from_millis(250);
/// After a failed `accept` (no descriptor is left) the next one waits so long: no event tells when there are some again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// Requests that wait for the run; the next client waits with its own.
const QUEUE: usize = 8;
/// Alerts that a subscriber may be behind.
const BEHIND: usize = 256;
/// Who does not take an answer within this is cut off.
const PATIENCE: Duration = Duration::from_secs(5);
/// Who asks nothing for so long is cut off: a script that forgot its connection takes the place of one that needs it.
const IDLE: Duration = Duration::from_secs(60);
/// Owner and group, as the socket's folder allows.
const MODE: u32 = 0o660;

/// A request on its way to the run.
pub struct Asked {
    pub request: Request,
    /// Who asks: `uid 1000`.
    pub who: String,
    pub reply: oneshot::Sender<Answer>,
}

/// An alert on its way to subscribers.
#[derive(Clone)]
pub struct News {
    /// One line of JSON.
    pub line: Arc<str>,
    pub incident: Arc<Incident>,
}

/// A bound socket.
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

/// The run's side of the socket.
pub struct Desk {
    pub asked: mpsc::Receiver<Asked>,
    pub views: mpsc::Receiver<Viewing>,
    pub news: broadcast::Sender<News>,
    path: PathBuf,
}

impl Drop for Desk {
    fn drop(&mut self) {
        // Somebody else's by now, or out of reach: the next service finds nobody behind it and takes its place.
        let _ = fs::remove_file(&self.path);
    }
}

impl Server {
    /// Binds. A socket that nobody listens to any more is replaced; one that answers is another service's.
    pub fn bind(path: &Path) -> io::Result<Server> {
        Ok(Server {
            listener: bind(path)?,
            path: path.to_owned(),
        })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves from now on, inside a runtime.
    #[expect(
        clippy::disallowed_methods,
        reason = "without descriptors there is nothing to wait for but time"
    )]
    pub fn run(self) -> io::Result<Desk> {
        let listener = tokio::net::UnixListener::from_std(self.listener)?;
        let (asks, asked) = mpsc::channel(QUEUE);
        let (looks, views) = mpsc::channel(QUEUE);
        let (news, _) = broadcast::channel(BEHIND);
        let feed = news.clone();
        tokio::spawn(async move {
            let room = Arc::new(Semaphore::new(MAX_CLIENTS));
            let staying = Arc::new(Semaphore::new(MAX_STAYING));
            loop {
                let Ok(place) = Arc::clone(&room).acquire_owned().await else {
                    return;
                };
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let (asks, looks, feed) = (asks.clone(), looks.clone(), feed.clone());
                let places = Places {
                    mine: Some(place),
                    asking: Arc::clone(&room),
                    staying: Arc::clone(&staying),
                };
                tokio::spawn(async move {
                    // A client that goes away in mid-sentence needs no obituary.
                    let _ = serve(stream, asks, looks, feed, places).await;
                });
            }
        });
        Ok(Desk {
            asked,
            views,
            news,
            path: self.path,
        })
    }
}

/// A socket for owner and group. One that nobody listens to any more is replaced; one that answers is another service's.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Ok(found) = fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is a file of that name that is no socket",
            ));
        }
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another service answers there",
            ));
        }
        fs::remove_file(path)?;
    }
    // Nobody else may slip in before the mode is set: the mask is the whole process's, which has one thread so early.
    let mask = umask(Mode::from_bits_truncate(0o777 & !MODE));
    let bound = UnixListener::bind(path);
    umask(mask);
    let listener = bound?;
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A client's place among those who ask, which it gives back when it stays instead.
struct Places {
    mine: Option<OwnedSemaphorePermit>,
    asking: Arc<Semaphore>,
    staying: Arc<Semaphore>,
}

impl Places {
    /// A place among those who stay; `None` when all are taken.
    fn stay(&mut self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.staying).try_acquire_owned().ok()?;
        self.mine = None;
        Some(place)
    }

    /// Whether somebody may be waiting for a place.
    fn crowded(&self) -> bool {
        self.asking.available_permits() == 0
    }
}

/// Reads on to the end of a line; `false`: the client took too long, counted by the silence that others can bear.
async fn patient(
    lines: &mut BufReader<tokio::net::unix::OwnedReadHalf>,
    line: &mut Vec<u8>,
    places: &Places,
) -> io::Result<bool> {
    let mut silent = Duration::ZERO;
    loop {
        let most = (MAX_REQUEST + 1).saturating_sub(line.len()) as u64;
        let mut limited = (&mut *lines).take(most);
        // What was read so far stays in `line` when the time is over.
        let asked = limited.read_until(b'\n', line);
        match tokio::time::timeout(CROWDED, asked).await {
            Ok(got) => return got.map(|_| true),
            Err(_) => silent += CROWDED,
        }
        if silent >= IDLE || places.crowded() {
            return Ok(false);
        }
    }
}

/// One client to its end.
async fn serve(
    stream: tokio::net::UnixStream,
    asks: mpsc::Sender<Asked>,
    looks: mpsc::Sender<Viewing>,
    news: broadcast::Sender<News>,
    mut places: Places,
) -> io::Result<()> {
    let who = stream.peer_cred().map_or_else(
        |_| "unknown".to_owned(),
        |cred| format!("uid {}", cred.uid()),
    );
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        if !patient(&mut lines, &mut line, &places).await? || line.is_empty() {
            return Ok(());
        }
        if line.len() > MAX_REQUEST {
            let wrong = format!("a request has at most {MAX_REQUEST} octets");
            return send(&mut write, &Answer::wrong(wrong).line()).await;
        }
        let request = match serde_json::from_slice::<Request>(&line) {
            Ok(request) => request,
            Err(error) => {
                send(&mut write, &Answer::wrong(error.to_string()).line()).await?;
                continue;
            }
        };
        let stays = matches!(request, Request::Subscribe { .. } | Request::Attach { .. });
        let place = stays.then(|| places.stay()).flatten();
        if stays && place.is_none() {
            let wrong = format!("{MAX_STAYING} clients follow or watch already");
            return send(&mut write, &Answer::wrong(wrong).line()).await;
        }
        if let Request::Subscribe { filter } = &request {
            return match filter.as_deref().unwrap_or_default().parse() {
                Ok(filter) => follow(&mut lines, &mut write, news.subscribe(), filter).await,
                Err(error) => {
                    send(
                        &mut write,
                        &Answer::wrong(format!("filter: {error}")).line(),
                    )
                    .await
                }
            };
        }
        if let Request::Attach { screen } = request {
            return bridge::serve(&mut lines, &mut write, &looks, screen).await;
        }
        let (reply, answer) = oneshot::channel();
        let asked = Asked {
            request,
            who: who.clone(),
            reply,
        };
        let answer = match asks.send(asked).await {
            Ok(()) => answer.await.ok(),
            Err(_) => None,
        };
        let answer = answer.unwrap_or_else(|| Answer::wrong("the service is ending"));
        send(&mut write, &answer.line()).await?;
    }
}

/// Alerts until the client goes, or falls behind.
async fn follow(
    lines: &mut BufReader<tokio::net::unix::OwnedReadHalf>,
    write: &mut tokio::net::unix::OwnedWriteHalf,
    mut news: broadcast::Receiver<News>,
    filter: Filter,
) -> io::Result<()> {
    send(write, &Answer::of(Default::default()).line()).await?;
    let mut known = std::collections::BTreeSet::new();
    let mut ignored = [0; 64];
    loop {
        let told = tokio::select! {
            told = news.recv() => told,
            // It has nothing more to say; zero octets: it is gone.
            got = lines.read(&mut ignored) => match got? {
                0 => return Ok(()),
                _ => continue,
            },
        };
        match told {
            Ok(News { line, incident }) => {
                // Whoever heard of an incident hears how it ends, too.
                if filter.matches(&*incident) {
                    known.insert(incident.id.clone());
                }
                if known.contains(&incident.id) {
                    send(write, &line).await?;
                }
            }
            Err(broadcast::error::RecvError::Lagged(lost)) => {
                let wrong = format!(
                    "too slow: {lost} alerts were not delivered; ask for the incidents and subscribe again"
                );
                return send(write, &Answer::wrong(wrong).line()).await;
            }
            Err(broadcast::error::RecvError::Closed) => return Ok(()),
        }
    }
}

pub(super) async fn send(
    write: &mut tokio::net::unix::OwnedWriteHalf,
    line: &str,
) -> io::Result<()> {
    match tokio::time::timeout(PATIENCE, write.write_all(line.as_bytes())).await {
        Ok(written) => written,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
