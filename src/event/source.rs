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

/// What the name of a namespace begins with ([`SourceInfo::namespace`]): one that was named or found by a process, one known by its id only.
pub const NETNS: &str = "netns ";
/// See [`NETNS`].
pub const NSID: &str = "nsid ";

impl SourceInfo {
    /// The network namespace whose kernel it is, where that is not the host's own.
    pub fn namespace(&self) -> Option<&str> {
        let name = self.interface.as_deref()?;
        let is_one = name.starts_with(NETNS) || name.starts_with(NSID);
        (self.kind == SourceKind::Netlink && is_one).then_some(name)
    }

    /// The station of ours that made this source's packets, if one did.
    pub fn own_feed(&self) -> Option<OwnFeed> {
        OwnFeed::of(self.kind, self.interface.as_deref())
    }
}

/// A station of ours that routers feed. Its connections are written as packets of an interface that bears its name and a number, live
/// and in recordings, and are known by that name again.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnFeed {
    /// The BMP station.
    Bmp,
    /// The BGP listener.
    Bgp,
    /// The RTR client: here we are the router, and caches feed us.
    Rtr,
    /// A file of VRPs, told as if a cache sent it.
    Vrps,
    /// The control socket: what operators say.
    Operator,
}

impl OwnFeed {
    /// Every one.
    pub const ALL: [OwnFeed; 5] = [
        OwnFeed::Bmp,
        OwnFeed::Bgp,
        OwnFeed::Rtr,
        OwnFeed::Vrps,
        OwnFeed::Operator,
    ];

    /// The station that made a source of this kind and interface name.
    pub fn of(kind: SourceKind, interface: Option<&str>) -> Option<OwnFeed> {
        let name = interface.filter(|_| kind == SourceKind::Packets)?;
        OwnFeed::ALL.into_iter().find(|feed| {
            name.strip_prefix(feed.name())
                .is_some_and(|rest| rest.starts_with('-'))
        })
    }

    /// Whether it speaks RTR.
    pub const fn is_rtr(self) -> bool {
        matches!(self, OwnFeed::Rtr | OwnFeed::Vrps)
    }

    /// What its sources' interface names begin with, before a hyphen and a number.
    pub const fn name(self) -> &'static str {
        match self {
            OwnFeed::Bmp => "flapscope-bmp",
            OwnFeed::Bgp => "flapscope-bgp",
            OwnFeed::Rtr => "flapscope-rtr",
            OwnFeed::Vrps => "flapscope-vrps",
            OwnFeed::Operator => "flapscope-operator",
        }
    }
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
