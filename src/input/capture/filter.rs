//! The kernel's capture filter: what reaches us at all.
//!
//! A filter that is too tight loses evidence without a trace, so it passes everything whose ports or type the kernel cannot see:
//! fragments, extension headers, IP authentication. libpcap's own `icmp6` and `udp port` miss those and every tagged frame. User
//! space (`decode::frame::prefilter`) looks again and is exact.

use crate::event::ports;

/// TCP: BGP and RTR's usual ports. BMP runs on any port, so BMP ports are given by the user.
const TCP_PORTS: [u16; 4] = [ports::BGP, ports::RTR[0], ports::RTR[1], ports::RTR[2]];

/// UDP: DHCPv4 and DHCPv6, and every BFD: what is not decoded is recorded.
const UDP_PORTS: [u16; 8] = [
    ports::DHCP4_SERVER,
    ports::DHCP4_CLIENT,
    ports::DHCP6_CLIENT,
    ports::DHCP6_SERVER,
    ports::BFD[0],
    ports::BFD[1],
    ports::BFD[2],
    ports::SEAMLESS_BFD,
];

/// IPv6 next headers behind which anything may stand: hop-by-hop, routing, fragment, authentication, destination options, VRRP, mobility.
const EXTENSIONS: [u8; 7] = [0, 43, 44, 51, 60, 112, 135];

/// The filter expression (pcap-filter(7)) for a link type. `more_tcp_ports`: ports on which BMP is spoken.
///
/// Tags nest (`vlan and (F or (vlan and F))`): each `vlan` shifts what follows it in the text, even behind an `or`.
pub fn expression(link_type: u16, more_tcp_ports: &[u16]) -> String {
    let plain = untagged(more_tcp_ports);
    if has_tags(link_type) {
        format!("({plain}) or (vlan and (({plain}) or (vlan and ({plain}))))")
    } else {
        plain
    }
}

/// libpcap knows VLAN tags on Ethernet only and refuses to compile `vlan` for the others.
fn has_tags(link_type: u16) -> bool {
    link_type == ETHERNET
}

/// `LINKTYPE_ETHERNET`.
const ETHERNET: u16 = 1;

fn untagged(more_tcp_ports: &[u16]) -> String {
    let mut tcp: Vec<u16> = TCP_PORTS.iter().chain(more_tcp_ports).copied().collect();
    tcp.sort_unstable();
    tcp.dedup();
    let mut terms = vec!["arp".to_owned()];
    terms.extend(tcp.iter().map(|port| format!("tcp port {port}")));
    terms.extend(UDP_PORTS.iter().map(|port| format!("udp port {port}")));
    // Errors that quote a TCP segment (unreachable, too big, time exceeded): where a session's way ends. Those about others stay out.
    terms.push("(icmp and (icmp[0] == 3 or icmp[0] == 11) and icmp[17] == 6)".into());
    terms.push("(ip6 and ip6[6] == 58 and ip6[40] >= 1 and ip6[40] <= 3 and ip6[54] == 6)".into());
    // Neighbor discovery behind no extension header; echo stays out.
    terms.push("(ip6 and ip6[6] == 58 and ip6[40] >= 133 and ip6[40] <= 137)".into());
    let extensions = EXTENSIONS.map(|next| format!("ip6[6] == {next}"));
    terms.push(format!("(ip6 and ({}))", extensions.join(" or ")));
    // VRRP.
    terms.push("ip proto 112".into());
    // Ports behind an authentication header (51), and in another fragment: more-fragments flag or an offset.
    terms.push(
        "(ip and (ip[9] == 51 or ((ip[9] == 6 or ip[9] == 17) and (ip[6:2] & 0x3fff) != 0)))"
            .into(),
    );
    terms.join(" or ")
}

#[cfg(test)]
mod tests {
    use pcap::{BpfProgram, Capture, Linktype};

    use super::*;

    /// The kernel's limit on a socket filter (`BPF_MAXINSNS`).
    const KERNEL_LIMIT: usize = 4096;

    fn compiled(link_type: u16, ports: &[u16]) -> BpfProgram {
        Capture::dead(Linktype(i32::from(link_type)))
            .unwrap()
            .compile(&expression(link_type, ports), true)
            .unwrap()
    }

    fn ethernet(tags: &[u16], ether_type: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0xff; 6];
        frame.extend([0x02, 0, 0, 0, 0, 1]);
        for (index, tag) in tags.iter().enumerate() {
            // 802.1ad outside, 802.1Q inside.
            let outer = tags.len() == 2 && index == 0;
            frame.extend(if outer { [0x88, 0xa8] } else { [0x81, 0x00] });
            frame.extend(tag.to_be_bytes());
        }
        frame.extend(ether_type.to_be_bytes());
        frame.extend(payload);
        frame.resize(frame.len().max(60), 0);
        frame
    }

    fn ipv4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 7];
        packet.extend(fragment.to_be_bytes());
        packet.extend([64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
        packet.extend(payload);
        packet
    }

    fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 255];
        packet.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        packet.extend([0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        packet.extend(payload);
        packet
    }

    fn ports(source: u16, destination: u16) -> Vec<u8> {
        let mut header = source.to_be_bytes().to_vec();
        header.extend(destination.to_be_bytes());
        header.resize(20, 0);
        header
    }

    #[test]
    fn the_filter_compiles_for_every_link_type_that_an_interface_may_have() {
        // Ethernet, cooked 1 and 2, BSD loopback, raw IP, PPP.
        for link_type in [1, 113, 276, 0, 108, 12, 9] {
            let program = compiled(link_type, &[11019]);
            assert!(
                program.get_instructions().len() < KERNEL_LIMIT / 4,
                "{link_type}"
            );
        }
    }

    #[test]
    fn what_the_decoders_want_passes_untagged_tagged_and_doubly_tagged() {
        let filter = compiled(1, &[11019]);
        let wanted: Vec<(&str, u16, Vec<u8>)> = vec![
            ("ARP", 0x0806, vec![0, 1, 8, 0, 6, 4, 0, 1]),
            ("BGP", 0x0800, ipv4(6, 0, &ports(40_000, 179))),
            ("BGP from the server", 0x86dd, ipv6(6, &ports(179, 40_000))),
            ("BMP", 0x0800, ipv4(6, 0, &ports(40_000, 11019))),
            ("DHCP", 0x0800, ipv4(17, 0, &ports(68, 67))),
            ("DHCPv6", 0x86dd, ipv6(17, &ports(546, 547))),
            ("BFD", 0x0800, ipv4(17, 0, &ports(49_152, 3784))),
            ("multihop BFD", 0x86dd, ipv6(17, &ports(49_152, 4784))),
            ("router solicitation", 0x86dd, ipv6(58, &[133, 0, 0, 0])),
            ("redirect", 0x86dd, ipv6(58, &[137, 0, 0, 0])),
            (
                "hop-by-hop",
                0x86dd,
                ipv6(0, &[58, 0, 5, 2, 0, 0, 0, 0, 134]),
            ),
            ("destination options", 0x86dd, ipv6(60, &[58, 0, 0, 0])),
            ("IPv6 fragment", 0x86dd, ipv6(44, &[58, 0, 0, 1])),
            ("first fragment", 0x0800, ipv4(17, 0x2000, &ports(68, 67))),
            ("later fragment", 0x0800, ipv4(17, 0x00b9, &[0xaa; 24])),
            ("fragment of TCP", 0x0800, ipv4(6, 0x00b9, &[0xaa; 24])),
            ("authentication", 0x0800, ipv4(51, 0, &[6, 4, 0, 0])),
        ];
        for (name, ether_type, packet) in &wanted {
            for tags in [&[][..], &[100], &[100, 200]] {
                let frame = ethernet(tags, *ether_type, packet);
                assert!(filter.filter(&frame), "{name} with {} tags", tags.len());
            }
        }
    }

    #[test]
    fn bulk_traffic_stays_out() {
        let filter = compiled(1, &[]);
        let unwanted: Vec<(&str, u16, Vec<u8>)> = vec![
            ("HTTPS", 0x0800, ipv4(6, 0x4000, &ports(40_000, 443))),
            ("DNS", 0x86dd, ipv6(17, &ports(40_000, 53))),
            (
                "BMP when not asked for",
                0x0800,
                ipv4(6, 0, &ports(40_000, 11019)),
            ),
            ("echo", 0x0800, ipv4(1, 0, &[8, 0, 0, 0])),
            ("IPv6 echo", 0x86dd, ipv6(58, &[128, 0, 0, 0])),
            ("an error that quotes DHCP", 0x86dd, ipv6(58, &[1, 4, 0, 0])),
            ("LLDP", 0x88cc, vec![2, 7, 4]),
        ];
        for (name, ether_type, packet) in &unwanted {
            for tags in [&[][..], &[100], &[100, 200]] {
                let frame = ethernet(tags, *ether_type, packet);
                assert!(!filter.filter(&frame), "{name} with {} tags", tags.len());
            }
        }
    }

    #[test]
    fn raw_and_cooked_frames_are_judged_as_ethernet_ones_are() {
        let raw = compiled(12, &[]);
        assert!(raw.filter(&ipv4(6, 0, &ports(40_000, 179))));
        assert!(raw.filter(&ipv6(44, &[58, 0, 0, 1])));
        assert!(!raw.filter(&ipv4(6, 0, &ports(40_000, 443))));
        let cooked = compiled(113, &[]);
        let mut frame = vec![0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0x08, 0x00];
        frame.extend(ipv4(17, 0, &ports(68, 67)));
        assert!(cooked.filter(&frame));
    }
}
