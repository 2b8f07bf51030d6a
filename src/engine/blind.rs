//! What was not watched, in words, and what would lift it: the command differs between a host that is watched and files that are read.

/// Files of which nothing was read.
pub const NOTHING: &str =
    "nothing that was given could be read: whether there were incidents is unknown";
/// No netlink at all.
pub const NO_NETLINK: &str =
    "no netlink: links, addresses, neighbors and kernel routes of the host are unknown";
/// A live run that captures nowhere.
pub const NO_PACKETS: &str =
    "no packets are captured: DHCP, RA, ARP, BGP and BFD on the wire are not seen";
/// Nothing that announces routes.
pub const NO_BGP: &str = "no BGP and no BMP: route announcements are unknown";
/// Packets only.
pub const NO_BMP: &str = "no BMP: what other routers received is unknown";
/// No OPENs were seen.
pub const MID_SESSION: &str =
    "the watching began in mid-session: BGP timers and capabilities are inferred";
/// BGP without BFD.
pub const NO_BFD: &str = "no BFD seen: sessions may still rely on it elsewhere";

/// What would lift a blind spot, where something would.
pub fn lift(spot: &str, live: bool) -> Option<&'static str> {
    Some(match (spot, live) {
        (NO_NETLINK, true) => "flapscope doctor   # which right is missing for netlink",
        (NO_NETLINK, false) => {
            "flapscope record -w FILE.pcapng   # on the host: packets and netlink in one file"
        }
        (NO_PACKETS, _) => {
            "sudo setcap cap_net_raw,cap_net_admin=ep $(command -v flapscope)   # or run it as root"
        }
        (NO_BGP, true) => {
            "flapscope live -i IF   # where BGP passes; or --bmp 0.0.0.0:11019, or --bgp-listen ADDR"
        }
        (NO_BGP, false) => {
            "flapscope analyze FILE… updates.mrt   # a capture with TCP port 179, a BMP stream or MRT beside it"
        }
        (NO_BMP, true) => {
            "flapscope live --bmp 0.0.0.0:11019   # and the router's BMP pointed here"
        }
        (NO_BMP, false) => {
            "flapscope analyze FILE… monitor.bmp   # a router's BMP stream beside it"
        }
        (MID_SESSION, true) => "nothing to do: the next OPEN of each session tells",
        (MID_SESSION, false) => {
            "flapscope record -w FILE.pcapng -b duration:3600 -b files:24   # a ring that always runs has the OPENs"
        }
        (NO_BFD, true) => {
            "flapscope live -i IF   # the interface towards the peers (UDP 3784, 4784)"
        }
        (NO_BFD, false) => "tcpdump -i IF -w FILE 'port 179 or port 3784 or port 4784'",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_blind_spot_has_something_that_lifts_it() {
        for spot in [NO_NETLINK, NO_PACKETS, NO_BGP, NO_BMP, MID_SESSION, NO_BFD] {
            for live in [true, false] {
                assert!(lift(spot, live).is_some(), "{spot}");
            }
        }
        assert_eq!(
            lift("3 findings were not kept: too many at once", true),
            None
        );
    }
}
