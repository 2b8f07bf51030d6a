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
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};

use super::bridge::{self, Viewing};
use super::protocol::{Answer, MAX_REQUEST, Request};
use crate::correlate::incident::Incident;
use crate::filter::Filter;

/// Clients at once: scripts and a handful of screens.
const MAX_CLIENTS: usize = 16;
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
    pub fn run(self) -> io::Result<Desk> {
        let listener = tokio::net::UnixListener::from_std(self.listener)?;
        let (asks, asked) = mpsc::channel(QUEUE);
        let (looks, views) = mpsc::channel(QUEUE);
        let (news, _) = broadcast::channel(BEHIND);
        let feed = news.clone();
        tokio::spawn(async move {
            let room = Arc::new(Semaphore::new(MAX_CLIENTS));
            loop {
                let Ok(place) = Arc::clone(&room).acquire_owned().await else {
                    return;
                };
                // Out of descriptors, or a client that left at once: the next one is another matter.
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let (asks, looks, feed) = (asks.clone(), looks.clone(), feed.clone());
                tokio::spawn(async move {
                    let _place = place;
                    // A client that goes away in mid-sentence needs no obituary.
                    let _ = serve(stream, asks, looks, feed).await;
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

/// One client to its end.
async fn serve(
    stream: tokio::net::UnixStream,
    asks: mpsc::Sender<Asked>,
    looks: mpsc::Sender<Viewing>,
    news: broadcast::Sender<News>,
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
        let most = MAX_REQUEST as u64 + 1;
        let mut limited = (&mut lines).take(most);
        let asked = limited.read_until(b'\n', &mut line);
        let Ok(got) = tokio::time::timeout(IDLE, asked).await else {
            return Ok(());
        };
        if got? == 0 {
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
