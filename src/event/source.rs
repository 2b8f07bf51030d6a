//! Where an event came from: inputs (files, sockets), the ordered sources inside them, and locators of single frames.

use serde::Serialize;

/// Index of an input in the order of the command line. Shown in evidence; never part of an id or of the order of events.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
pub struct InputId(pub u16);

/// Index of an ordered source: one interface of a capture, one netlink socket, one BMP connection, one MRT file.
/// Within a source time goes backwards only when its clock was stepped.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
pub struct SourceId(pub u32);

/// How to find an event's bytes again.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
pub struct Locator {
    /// The input that holds it.
    pub input: InputId,
    /// What `number` counts.
    pub unit: Unit,
    /// Frame number as Wireshark counts (from 1), or record number (from 1).
    pub number: u64,
    /// Offset of the record in the decompressed input, in octets; 0 for frames.
    pub offset: u64,
}

/// What a locator counts.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Frames of a capture, as Wireshark counts them.
    Frame,
    /// Records of a format that has no frames (MRT, BMP stream, rtmon), or live messages.
    Record,
}

/// What is known about a source before its first record.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct SourceInfo {
    /// Its id.
    pub id: SourceId,
    /// The input it belongs to.
    pub input: InputId,
    /// What it is.
    pub kind: SourceKind,
    /// Interface name where the capture says so (sanitised).
    pub interface: Option<Box<str>>,
    /// The host it was taken on (`--role`), if told.
    pub host: Option<Box<str>>,
    /// What kind of box that host is (`--role`), if told.
    pub role: Option<Role>,
}

/// Kinds of sources, in the order in which ties in time are broken: the kernel's word first.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// rtnetlink messages (rtmon, LINKTYPE_NETLINK, a socket).
    Netlink,
    /// Packets.
    Packets,
    /// A BMP byte stream.
    Bmp,
    /// MRT records.
    Mrt,
}

/// What the host of an input is.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The analysed host.
    Host,
    /// Another router.
    Router,
    /// A BMP station.
    Bmp,
}
