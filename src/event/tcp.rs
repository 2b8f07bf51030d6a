//! Facts about TCP connections that carry BGP or BMP, as far as they explain why a session went down.

use std::net::SocketAddr;

use serde::Serialize;

use super::frame::Frame;

/// Something happened on a TCP connection to or from port 179 (or one recognised as BMP).
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct TcpEvent {
    pub frame: Frame,
    /// Sender of the segment.
    pub src: SocketAddr,
    /// Receiver of the segment.
    pub dst: SocketAddr,
    /// What the segment is authenticated with, of a SYN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<TcpAuth>,
    pub what: TcpFact,
}

/// A TCP option that authenticates each segment: a receiver whose key differs, or that has none, drops it without an answer.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TcpAuth {
    /// The MD5 signature option, kind 19 (RFC 2385).
    Md5,
    /// The authentication option, kind 29 (RFC 5925).
    Ao,
}

impl TcpAuth {
    /// As people call it.
    pub const fn name(self) -> &'static str {
        match self {
            TcpAuth::Md5 => "TCP MD5",
            TcpAuth::Ao => "TCP-AO",
        }
    }
}

/// What happened.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TcpFact {
    /// SYN without ACK.
    Syn,
    /// SYN with ACK: the connection was accepted.
    SynAck,
    Fin,
    Rst,
    /// Octets already seen were sent again; the number of them.
    Retransmission(u32),
    /// The receiver's window went to zero.
    ZeroWindow,
    /// A segment was seen that is longer than any before (an MTU hint): payload octets.
    FullSize(u32),
    /// An acknowledgement that moved forward: one without payload, or any after a retransmission or a hole. The peer is alive.
    Ack,
    /// A segment arrived while the octets in front of it are missing; the number of those.
    Hole(u32),
    /// An ICMP error that quotes a segment of this sender: its type and code in the numbers of the sender's family. The frame is the
    /// error's own; its source is who sent it.
    Icmp {
        kind: u8,
        code: u8,
    },
}
