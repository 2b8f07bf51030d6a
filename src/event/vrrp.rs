//! VRRP advertisements (RFC 3768 version 2, RFC 5798 and RFC 9568 version 3).

use std::net::IpAddr;

use serde::Serialize;

use super::frame::Frame;

/// An advertisement: its sender is master of a virtual router, or gives that up.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Vrrp {
    pub frame: Frame,
    pub version: u8,
    /// The virtual router's number on its link.
    pub vrid: u8,
    /// 255 owns the addresses; 0 gives the mastership up.
    pub priority: u8,
    pub interval_ms: u32,
    /// Version 2's authentication type; 0 is none.
    pub authentication: u8,
    /// The virtual addresses.
    pub addresses: Vec<IpAddr>,
}
