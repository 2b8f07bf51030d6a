//! The ports by which traffic is known: one table for the kernel's filter, the filter over files and the decoders.

/// BGP (RFC 4271 §8).
pub const BGP: u16 = 179;
/// RTR (RFC 8210 §13.1), and the defaults of Routinator and StayRTR, which need no privilege.
pub const RTR: [u16; 3] = [323, 3323, 8282];
/// DHCPv4 server (also relay) and client (RFC 2131 §4.1).
pub const DHCP4_SERVER: u16 = 67;
pub const DHCP4_CLIENT: u16 = 68;
/// DHCPv6 client and server (also relay; RFC 8415 §7.2).
pub const DHCP6_CLIENT: u16 = 546;
pub const DHCP6_SERVER: u16 = 547;
/// BFD: single hop (RFC 5881), multihop (RFC 5883), on members of an aggregate (RFC 7130).
pub const BFD: [u16; 3] = [3784, 4784, 6784];
/// Seamless BFD (RFC 7881) is recorded and not decoded: its reflector has no session that could go down.
pub const SEAMLESS_BFD: u16 = 7784;

/// Whether these UDP ports may carry something for a decoder. A server's answers to a relay may go to any port (RFC 8357).
pub fn is_udp_for_us(source: u16, destination: u16) -> bool {
    matches!(
        destination,
        DHCP4_SERVER | DHCP4_CLIENT | DHCP6_CLIENT | DHCP6_SERVER
    ) || matches!(source, DHCP4_SERVER | DHCP6_SERVER)
        || BFD.contains(&destination)
}
