use super::*;

fn ipv4(protocol: u8, fragment: u16, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + body.len() as u16).to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2]);
    packet.extend(body);
    packet
}

fn ipv6(next: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((body.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    packet.extend(body);
    packet
}

fn udp(source: u16, destination: u16) -> Vec<u8> {
    [
        &source.to_be_bytes()[..],
        &destination.to_be_bytes(),
        &[0, 8, 0, 0],
    ]
    .concat()
}

fn tcp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let mut segment = [&source.to_be_bytes()[..], &destination.to_be_bytes()].concat();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
    segment.extend(payload);
    segment
}

fn ethernet(tags: &[u16], ether_type: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 7]);
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(body);
    frame
}

fn passes(link_type: u16, data: &[u8]) -> bool {
    Prefilter::default().passes(link_type, data)
}

#[test]
fn the_ports_of_interest_pass_through_every_framing() {
    let wanted = ipv4(17, 0, &udp(68, 67));
    let other = ipv4(17, 0, &udp(53, 5353));
    type Wrap = Box<dyn Fn(&[u8]) -> (u16, Vec<u8>)>;
    let eth = |tags: &'static [u16]| -> Wrap {
        Box::new(move |ip| (link::ETHERNET, ethernet(tags, 0x0800, ip)))
    };
    let prefix = |link_type: u16, head: &'static [u8]| -> Wrap {
        Box::new(move |ip| (link_type, [head, ip].concat()))
    };
    let wraps: Vec<Wrap> = vec![
        eth(&[]),
        eth(&[0x8100]),
        eth(&[0x88a8, 0x8100]),
        eth(&[0x9100, 0x8100, 0x8100]),
        prefix(link::RAW, &[]),
        prefix(link::RAW_BSD, &[]),
        prefix(link::IPV4, &[]),
        prefix(link::NULL, &[2, 0, 0, 0]),
        prefix(link::LOOP, &[0, 0, 0, 2]),
        prefix(
            link::LINUX_SLL,
            &[0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 8, 0],
        ),
        prefix(
            link::LINUX_SLL2,
            &[8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0],
        ),
        prefix(link::C_HDLC, &[0x0f, 0, 8, 0]),
        prefix(link::PPP, &[0xff, 3, 0, 0x21]),
        prefix(link::PPP, &[0x21]),
        Box::new(|ip| {
            let pppoe = [&[0x11, 0, 0, 1, 0, 30, 0, 0x21][..], ip].concat();
            (link::ETHERNET, ethernet(&[], 0x8864, &pppoe))
        }),
        Box::new(|ip| {
            let mpls = [&[0, 1, 0, 64, 0, 2, 1, 64][..], ip].concat();
            (link::ETHERNET, ethernet(&[], 0x8847, &mpls))
        }),
        Box::new(|ip| {
            let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], ip].concat();
            (link::ETHERNET, ethernet(&[], 500, &snap))
        }),
    ];
    for (index, wrap) in wraps.iter().enumerate() {
        let (link_type, frame) = wrap(&wanted);
        assert!(passes(link_type, &frame), "framing {index} rejects DHCP");
        let (link_type, frame) = wrap(&other);
        assert!(!passes(link_type, &frame), "framing {index} passes DNS");
    }
}

#[test]
fn fragments_extension_headers_and_neighbor_discovery_pass() {
    let raw = |packet: &[u8]| passes(link::RAW, packet);
    assert!(raw(&ipv4(17, 0x2000, &udp(53, 53))));
    assert!(raw(&ipv4(17, 185, b"somewhere inside")));
    assert!(!raw(&ipv4(17, 0x4000, &udp(53, 53))));
    assert!(raw(&ipv6(58, &[135, 0, 0, 0])));
    assert!(!raw(&ipv6(58, &[128, 0, 0, 0])));
    assert!(raw(&ipv6(0, &[58, 0, 0, 0, 0, 0, 0, 0, 143, 0, 0, 0])));
    let through = |next: u8, header: &[u8]| ipv6(next, &[header, &udp(546, 547)].concat());
    assert!(raw(&through(60, &[17, 0, 0, 0, 0, 0, 0, 0])));
    assert!(raw(&through(51, &[17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])));
    assert!(raw(&through(44, &[17, 0, 0, 0, 0, 0, 0, 0])));
    assert!(raw(&ipv6(44, &[17, 0, 0, 1, 0, 0, 0, 0])));
    assert!(raw(&ipv6(17, &udp(49152, 4784))));
    assert!(raw(&ipv4(51, 0, &[17, 4])));
    let nlmon = [
        0, 4, 3, 0x38, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0,
    ];
    assert!(passes(link::LINUX_SLL, &nlmon));
}

#[test]
fn a_bmp_flow_passes_whole_once_it_is_recognised_on_any_port() {
    let mut filter = Prefilter::default();
    let initiation = [3, 0, 0, 0, 6, 4];
    let mut pass = |source: u16, destination: u16, payload: &[u8]| {
        let mut packet = ipv4(6, 0, &tcp(source, destination, payload));
        if source == 11019 || source == 11020 {
            let (from, to) = packet[12..20].split_at_mut(4);
            from.swap_with_slice(to); // the station's direction
        }
        filter.passes(link::RAW, &packet)
    };
    assert!(!pass(40000, 11019, b"the tail of some message"));
    assert!(pass(40000, 11019, &initiation));
    assert!(pass(40000, 11019, b"the tail of some message"));
    assert!(pass(11019, 40000, b""));
    assert!(!pass(11020, 40000, b""));
    // The next connection to the same station.
    assert!(pass(40100, 11019, b""));
    assert!(!pass(40001, 50443, &[0x16, 3, 1, 0, 5]));
    // TPKT (RDP) also begins with a 3.
    assert!(!pass(40001, 50389, &[3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0]));
}

#[test]
fn stations_are_forgotten_before_the_table_grows() {
    let mut filter = Prefilter::default();
    for port in 1..=u16::MAX {
        filter.passes(
            link::RAW,
            &ipv4(6, 0, &tcp(11019, port, &[3, 0, 0, 0, 6, 4])),
        );
    }
    assert!(filter.stations.len() <= MAX_STATIONS && filter.oldest.len() <= MAX_STATIONS);
}

#[test]
fn no_cut_of_any_packet_panics() {
    let packets = [
        ethernet(
            &[0x88a8, 0x8100],
            0x86dd,
            &ipv6(0, &[58, 0, 0, 0, 0, 0, 0, 0, 143]),
        ),
        ethernet(&[], 0x0800, &ipv4(6, 0, &tcp(1, 2, &[3, 0, 0, 0, 6, 4]))),
        ethernet(&[], 0x8847, &[0; 64]),
    ];
    for packet in &packets {
        for cut in 0..packet.len() {
            for link_type in [
                0, 1, 9, 12, 14, 50, 101, 104, 108, 113, 228, 229, 253, 276, 999,
            ] {
                passes(link_type, &packet[..cut]);
            }
        }
    }
}
