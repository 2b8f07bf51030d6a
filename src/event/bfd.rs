//! BFD control packets (RFC 5880).

use serde::Serialize;

use super::frame::Frame;

/// A BFD control packet.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Bfd {
    pub frame: Frame,
    /// UDP destination port: 3784 single hop (RFC 5881), 4784 multihop (RFC 5883), 6784 micro-BFD (RFC 7130).
    pub port: u16,
    /// RFC 5880 §4.1 diagnostic code.
    pub diag: u8,
    pub state: BfdState,
    pub poll: bool,
    pub is_final: bool,
    pub control_plane_independent: bool,
    pub authentication: bool,
    pub demand: bool,
    pub detect_mult: u8,
    pub my_discriminator: u32,
    pub your_discriminator: u32,
    /// Microseconds.
    pub desired_min_tx_us: u32,
    /// Microseconds.
    pub required_min_rx_us: u32,
    /// Microseconds.
    pub required_min_echo_rx_us: u32,
}

/// Session state as the sender sees it.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BfdState {
    AdminDown,
    Down,
    Init,
    Up,
}
