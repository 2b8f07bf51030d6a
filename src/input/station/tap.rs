//! A station's connection on its way into the pipeline: packets ([`Connection`]) as records of one source.

use crate::event::{SourceId, Timestamp};
use crate::input::Format;
use crate::input::live::{LiveItem, LiveRecord, LiveSender, locator};
use crate::input::synthetic::{Connection, LINK_TYPE, Sender};
use std::net::SocketAddr;

/// The pipeline is gone: nobody listens any more.
#[derive(Debug)]
pub struct Gone;

/// One connection's way into the pipeline. Waits when the pipeline is full (law 12).
#[derive(Debug)]
pub struct Tap {
    connection: Connection,
    source: SourceId,
    /// Records of the source so far, over all its connections.
    number: u64,
    out: LiveSender,
}

impl Tap {
    /// Tells of a connection at `at`. `number` is the source's last record number.
    pub async fn open(
        (remote, local): (SocketAddr, SocketAddr),
        source: SourceId,
        number: u64,
        at: Timestamp,
        out: LiveSender,
    ) -> Result<Tap, Gone> {
        let (connection, handshake) = Connection::open(remote, local, at);
        let mut tap = Tap {
            connection,
            source,
            number,
            out,
        };
        tap.send(at, handshake).await?;
        Ok(tap)
    }

    /// Tells of a connection that came to nothing, and why. Returns the source's last record number.
    pub async fn refused(
        (remote, local): (SocketAddr, SocketAddr),
        source: SourceId,
        number: u64,
        at: Timestamp,
        out: LiveSender,
        why: &str,
    ) -> Result<u64, Gone> {
        let (connection, _) = Connection::open(remote, local, at);
        let mut tap = Tap {
            connection,
            source,
            number,
            out,
        };
        let packets = Connection::refused(remote, local, at, why);
        tap.send(at, packets).await?;
        Ok(tap.number)
    }

    /// Octets that one side sent.
    pub async fn data(&mut self, at: Timestamp, from: Sender, octets: &[u8]) -> Result<(), Gone> {
        let packets = self.connection.data(from, octets);
        self.send(at, packets).await
    }

    /// Whatever comes next is younger than `until`. Not said when the pipeline is full: it has no need to hurry then.
    pub fn idle(&self, until: Timestamp) {
        let source = self.source;
        let _ = self.out.try_send(LiveItem::Idle { source, until });
    }

    /// One side ended the connection; with a reason it is a reset. Returns the source's last record number.
    pub async fn close(
        mut self,
        at: Timestamp,
        from: Sender,
        why: Option<&str>,
    ) -> Result<u64, Gone> {
        let packets = match why {
            Some(why) => self.connection.reset_because(from, why),
            None => self.connection.close(from),
        };
        self.send(at, packets).await?;
        // Nobody waits for a place that nobody has.
        let (source, until) = (self.source, Timestamp::MAX);
        let rest = LiveItem::Idle { source, until };
        self.out.send(rest).await.map_err(|_| Gone)?;
        Ok(self.number)
    }

    async fn send(&mut self, at: Timestamp, packets: Vec<Box<[u8]>>) -> Result<(), Gone> {
        for bytes in packets {
            self.number = self.number.saturating_add(1);
            let record = LiveRecord {
                at,
                source: self.source,
                locator: locator(self.number),
                format: Format::Packet(LINK_TYPE),
                wire_len: bytes.len() as u32,
                bytes,
            };
            let item = LiveItem::Record(record);
            self.out.send(item).await.map_err(|_| Gone)?;
        }
        Ok(())
    }
}
