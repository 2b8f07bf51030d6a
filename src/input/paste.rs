//! Lines to paste into routers' configurations so that they feed us: for `doctor` and the documentation.
//!
//! `{addr}` is the station's address, `{port}` its port, `{as}` the router's own AS, where it says so; [`filled`] puts them in. Those of FRR,
//! BIRD and GoBGP are what the tests with these daemons use; those of IOS XR and Junos follow their manuals.

/// Lines for one program.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Paste {
    /// The program, as its users call it.
    pub program: &'static str,
    /// Where the lines go.
    pub place: &'static str,
    pub lines: &'static str,
}

/// For the BMP station. Daemons not listed, or older, need the listener: BIRD has BMP since 2.14.
pub const BMP: [Paste; 5] = [
    Paste {
        program: "FRR",
        place: "vtysh, configure terminal; bgpd must run with `-M bmp` (/etc/frr/daemons: bgpd_options)",
        // Without soft-reconfiguration FRR reports pre-policy withdrawals only (FRR #22588).
        lines: "\
router bgp {as}
 neighbor PEER soft-reconfiguration inbound
 bmp targets flapscope
  bmp stats interval 30000
  bmp monitor ipv4 unicast pre-policy
  bmp monitor ipv6 unicast pre-policy
  bmp connect {addr} port {port} min-retry 1000 max-retry 10000
",
    },
    Paste {
        program: "BIRD 2.14 and later",
        place: "bird.conf, then `birdc configure`; channels need `import table`",
        lines: "\
protocol bmp flapscope {
  station address ip {addr} port {port};
  monitoring rib in pre_policy;
}
",
    },
    Paste {
        program: "GoBGP",
        place: "gobgpd.conf (TOML)",
        lines: "\
[[bmp-servers]]
  [bmp-servers.config]
    address = \"{addr}\"
    port = {port}
    route-monitoring-policy = \"pre-policy\"
    statistics-timeout = 30
",
    },
    Paste {
        program: "IOS XR",
        place: "configure",
        lines: "\
bmp server 1
 host {addr} port {port}
 description flapscope
 initial-delay 5
 stats-reporting-period 30
 initial-refresh delay 30 spread 2
!
router bgp {as}
 neighbor PEER
  bmp-activate server 1
",
    },
    Paste {
        program: "Junos",
        place: "configure",
        lines: "\
set routing-options bmp station flapscope connection-mode active
set routing-options bmp station flapscope station-address {addr}
set routing-options bmp station flapscope station-port {port}
set routing-options bmp station flapscope route-monitoring pre-policy
set routing-options bmp station flapscope statistics-timeout 30
",
    },
];

/// For the BGP listener, started with `--as` and the router's own AS: inside one AS a route reflector passes routes on as it has them.
pub const LISTENER: [Paste; 3] = [
    Paste {
        program: "BIRD",
        place: "bird.conf, then `birdc configure`",
        lines: "\
protocol bgp flapscope {
  local as {as};
  neighbor {addr} port {port} as {as};
  multihop;
  rr client;
  ipv4 { import none; export all; add paths tx; next hop keep; };
  ipv6 { import none; export all; add paths tx; next hop keep; };
}
",
    },
    Paste {
        program: "FRR",
        place: "vtysh, configure terminal",
        lines: "\
router bgp {as}
 neighbor {addr} remote-as {as}
 neighbor {addr} port {port}
 neighbor {addr} description flapscope
 address-family ipv4 unicast
  neighbor {addr} activate
  neighbor {addr} route-reflector-client
  neighbor {addr} addpath-tx-all-paths
 exit-address-family
 address-family ipv6 unicast
  neighbor {addr} activate
  neighbor {addr} route-reflector-client
  neighbor {addr} addpath-tx-all-paths
",
    },
    Paste {
        program: "GoBGP",
        place: "gobgpd.conf (TOML)",
        lines: "\
[[neighbors]]
  [neighbors.config]
    neighbor-address = \"{addr}\"
    peer-as = {as}
  [neighbors.transport.config]
    remote-port = {port}
  [neighbors.route-reflector.config]
    route-reflector-client = true
    route-reflector-cluster-id = \"ROUTER-ID\"
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = \"ipv4-unicast\"
    [neighbors.afi-safis.add-paths.config]
      send-max = 8
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = \"ipv6-unicast\"
    [neighbors.afi-safis.add-paths.config]
      send-max = 8
",
    },
];

/// The lines with a station's address and the router's AS; `None` for the AS leaves a word to replace.
pub fn filled(paste: &Paste, station: std::net::SocketAddr, asn: Option<u32>) -> String {
    let asn = asn.map_or_else(|| "AS".to_owned(), |asn| asn.to_string());
    paste
        .lines
        .replace("{addr}", &station.ip().to_string())
        .replace("{port}", &station.port().to_string())
        .replace("{as}", &asn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_holder_is_left() {
        let station = "192.0.2.1:11019".parse().unwrap();
        for paste in BMP.iter().chain(&LISTENER) {
            let lines = filled(paste, station, Some(64_512));
            for holder in ["{addr}", "{port}", "{as}"] {
                assert!(!lines.contains(holder), "{}", paste.program);
            }
            assert!(lines.contains("192.0.2.1") && lines.contains("11019"));
        }
    }
}
