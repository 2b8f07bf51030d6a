//! BMP messages (RFC 7854, RFC 8671, RFC 9069).

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::bgp::{Notification, Open, Update};
use super::{Timestamp, WireText};

/// A BMP message and the router that sent it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BmpEvent {
    /// The router's address on the BMP connection; `None` for a bare byte stream.
    pub router: Option<SocketAddr>,
    /// Counts connections of this source from 1: a new number means that the router connected again.
    pub connection: u32,
    /// The per-peer header, where the message has one.
    pub peer: Option<PerPeer>,
    pub message: BmpMessage,
}

/// The per-peer header.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
pub struct PerPeer {
    /// 0 global, 1 RD, 2 local, 3 Loc-RIB.
    pub peer_type: u8,
    pub rib: Rib,
    /// Peer distinguisher (VRF).
    pub distinguisher: u64,
    pub addr: IpAddr,
    pub asn: u32,
    /// BGP identifier.
    pub router_id: u32,
    /// AS_PATH in the old 2-octet format (A flag).
    pub legacy_as_path: bool,
    /// The router's stamp: FRR's are unusable (`knowledge`), shown only.
    pub stamp: Timestamp,
}

/// Which RIB a message reports.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rib {
    AdjInPre,
    AdjInPost,
    AdjOutPre,
    AdjOutPost,
    Loc,
    LocFiltered,
}

/// The message itself.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BmpMessage {
    RouteMonitoring(Box<Update>),
    /// Counters: type and value (RFC 7854 §4.8); per-family ones have AFI and SAFI in front of the value and are `family_counters`.
    Statistics {
        counters: Vec<(u16, u64)>,
        family_counters: Vec<(u16, u16, u8, u64)>,
    },
    PeerDown {
        /// 1 local with NOTIFICATION, 2 local with FSM event, 3 remote with NOTIFICATION, 4 remote without, 5 de-configured, 6 local TLV.
        reason: u8,
        fsm_event: Option<u16>,
        notification: Option<Notification>,
        /// The VRF or table that is no longer reported (reason 6, RFC 9069 §5.3).
        #[serde(skip_serializing_if = "Option::is_none")]
        table: Option<WireText>,
    },
    PeerUp {
        local: IpAddr,
        local_port: u16,
        remote_port: u16,
        sent_open: Box<Open>,
        received_open: Box<Open>,
    },
    Initiation {
        sys_name: Option<WireText>,
        sys_descr: Option<WireText>,
        text: Option<WireText>,
    },
    Termination {
        /// Reason code of RFC 7854 §4.5.
        reason: Option<u16>,
        text: Option<WireText>,
    },
    /// A mirrored BGP message (its type code), or information code 0/1 (errored PDU, messages lost).
    RouteMirroring {
        bgp_type: Option<u8>,
        lost: bool,
    },
    /// Another type code.
    Unknown(u8),
    /// The TCP connection to this router opened or ended (seen in packets, or told by the listener).
    Connected,
    Disconnected,
}
