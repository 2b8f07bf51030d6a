//! The loop around a listening socket: who calls is admitted, served by a task of its own, and waited for at the end.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Desk;
use crate::input::live::Stop;

/// After a failed `accept` (no file descriptors left) the next one waits so long: no event tells when there are some again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// What serves callers.
pub trait Serve: Send + Sync + 'static {
    /// Counts them and gives them places.
    fn desk(&self) -> &Desk;

    /// Whether this caller is wanted at all.
    fn welcomes(&self, remote: SocketAddr, local: SocketAddr) -> Result<(), &'static str> {
        let _ = (remote, local);
        Ok(())
    }

    /// Serves one caller (`ends`: it and us) until it is gone, or `stop`.
    fn serve(
        &self,
        stream: TcpStream,
        ends: (SocketAddr, SocketAddr),
        stop: Stop,
    ) -> impl Future<Output = ()> + Send;
}

/// Serves the callers of all these sockets until `stop`, or until the pipeline is gone.
pub async fn serve_all<S: Serve>(
    listeners: Vec<TcpListener>,
    room: S,
    mut stop: Stop,
) -> io::Result<()> {
    let room = Arc::new(room);
    let mut tasks = JoinSet::new();
    for listener in listeners {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tasks.spawn(accept(listener, Arc::clone(&room), stop.clone()));
    }
    let _ = stop.wait_for(|stop| *stop).await; // an error means the same
    while tasks.join_next().await.is_some() {}
    Ok(())
}

async fn accept<S: Serve>(listener: tokio::net::TcpListener, room: Arc<S>, mut stop: Stop) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, remote)) = accepted else {
            room.desk().clock.pause(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(local) = stream.local_addr() else {
            continue;
        };
        let (remote, local) = (canonical(remote), canonical(local));
        let admitted = room
            .welcomes(remote, local)
            .and_then(|()| room.desk().enter(remote.ip()));
        if let Err(why) = admitted {
            drop(stream);
            room.desk().refused(remote, why).await;
            continue;
        }
        let (room, stop) = (Arc::clone(&room), stop.clone());
        connections.spawn(async move {
            room.serve(stream, (remote, local), stop).await;
            room.desk().leave(remote.ip());
        });
    }
    while connections.join_next().await.is_some() {}
}

/// A socket for both families shows IPv4 addresses inside IPv6 ones.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
