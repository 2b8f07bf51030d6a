//! Bytes to events: pure, total, without clock or I/O.

pub mod arp;
pub mod bfd;
pub mod bgp;
pub mod bmp;
pub mod checksum;
pub mod defrag;
pub mod dhcp4;
pub mod dhcp6;
pub mod frame;
pub mod framing;
pub mod mrt;
pub mod nd;
pub mod netlink;
pub mod tcp;
