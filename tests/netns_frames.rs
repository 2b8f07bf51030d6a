//! Which interfaces are captured by default, and what of the frames on them comes through, with real frames on real interfaces. Needs
//! root, as tests/netns.rs does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods
)] // a test's helpers fail loudly, say what they skip, and measure on the wall

mod netns {
    #[expect(dead_code, reason = "tests/netns.rs uses the rest of it")]
    pub mod host;
}

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use flapscope::input::file::OpenOptions;
use flapscope::input::merge::InputSet;
use flapscope::input::{Format, Item};
use netns::host::{Host, ip, possible};

const FLAPSCOPE: &str = env!("CARGO_BIN_EXE_flapscope");

/// Puts each frame of standard input (hexadecimal, one a line) on the interface of the argument.
const SEND: &str = "\
import socket, sys
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((sys.argv[1], 0))
for line in sys.stdin:
    out.send(bytes.fromhex(line.strip()))
";

/// `flapscope record` in the host's namespace, capturing when this returns.
struct Recording {
    child: Child,
    file: String,
    /// What it said about the interfaces.
    choice: String,
    rest: BufReader<std::process::ChildStderr>,
}

impl Recording {
    fn start(host: &Host, arguments: &[&str]) -> Recording {
        let file = std::env::temp_dir().join(format!("{}.pcapng", host.name));
        let file = file.to_str().unwrap().to_owned();
        let mut child = Command::new("ip")
            .args([
                "netns", "exec", &host.name, FLAPSCOPE, "record", "-w", &file,
            ])
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut rest = BufReader::new(child.stderr.take().unwrap());
        let (mut choice, mut line) = (String::new(), String::new());
        while !line.contains("confined") {
            line.clear();
            assert!(rest.read_line(&mut line).unwrap() > 0, "it ended");
            if line.contains("capturing on") {
                choice.clone_from(&line);
            }
        }
        Recording {
            child,
            file,
            choice,
            rest,
        }
    }

    /// Ends it; how often each frame is there, by the last octet of its source address.
    fn end(mut self) -> BTreeMap<u8, usize> {
        // What was sent lies in the kernel's ring; a stop hands that over, but the frames must have got there.
        std::thread::sleep(Duration::from_millis(300));
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(self.child.wait().unwrap().success());
        let mut line = String::new();
        while self.rest.read_line(&mut line).unwrap() > 0 {}
        assert!(!line.contains(", 1 known to be lost"), "{line}");
        let reader = Box::new(File::open(&self.file).unwrap()) as Box<dyn std::io::Read + Send>;
        let mut inputs =
            InputSet::from_readers(vec![(self.file.clone(), reader)], &OpenOptions::default())
                .unwrap();
        let mut seen = BTreeMap::new();
        while let Some(item) = inputs.next() {
            if let Item::Record(record) = item
                && record.format == Format::Packet(1)
                && let Some([0x02, 0, 0x5e, 0, 0x53, mark]) = record.bytes.get(6..12)
            {
                *seen.entry(*mark).or_insert(0) += 1;
            }
        }
        let _ = std::fs::remove_file(&self.file);
        seen
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends frames from the far end of a link.
fn send(host: &Host, link: &str, frames: &[Vec<u8>]) {
    let mut sender = Command::new("ip")
        .args(["netns", "exec", &format!("{}-far", host.name)])
        .args(["/usr/bin/python3", "-c", SEND, link])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = sender.stdin.take().unwrap();
    for frame in frames {
        let hex: String = frame.iter().map(|octet| format!("{octet:02x}")).collect();
        writeln!(input, "{hex}").unwrap();
    }
    drop(input);
    assert!(sender.wait().unwrap().success());
}

/// A broadcast frame with this mark, behind these tags (outermost first).
fn ethernet(mark: u8, tags: &[(u16, u16)], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([0x02, 0, 0x5e, 0, 0x53, mark]);
    for (kind, id) in tags {
        frame.extend(kind.to_be_bytes());
        frame.extend(id.to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame.resize(frame.len().max(60), 0);
    frame
}

fn ipv4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0, length[0], length[1], 0, 7];
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 192, 0, 2, 77, 255, 255, 255, 255]);
    packet.extend(payload);
    packet
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next, 255];
    packet.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x77]);
    packet.extend([0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend(payload);
    packet
}

fn ports(source: u16, destination: u16) -> Vec<u8> {
    let mut header = source.to_be_bytes().to_vec();
    header.extend(destination.to_be_bytes());
    header.resize(24, 0);
    header
}

/// A header of eight octets, then a router advertisement.
fn behind(next: u8, header: [u8; 8]) -> Vec<u8> {
    let mut payload = header.to_vec();
    payload.extend([134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    ipv6(next, &payload)
}

type Case = (&'static str, u16, Vec<u8>);

fn wanted() -> Vec<Case> {
    vec![
        ("ARP", 0x0806, vec![0, 1, 8, 0, 6, 4, 0, 1]),
        ("DHCP", 0x0800, ipv4(17, 0, &ports(68, 67))),
        ("DHCPv6", 0x86dd, ipv6(17, &ports(546, 547))),
        ("BGP", 0x0800, ipv4(6, 0, &ports(40_000, 179))),
        ("BFD", 0x86dd, ipv6(17, &ports(49_152, 3784))),
        ("advertisement", 0x86dd, ipv6(58, &[134; 16])),
        ("hop-by-hop", 0x86dd, behind(0, [58, 0, 5, 2, 0, 0, 1, 0])),
        (
            "destination options",
            0x86dd,
            behind(60, [58, 0, 1, 4, 0, 0, 0, 0]),
        ),
        (
            "routing header",
            0x86dd,
            behind(43, [58, 0, 0, 0, 0, 0, 0, 0]),
        ),
        (
            "IPv6 fragment",
            0x86dd,
            behind(44, [58, 0, 0, 1, 0, 0, 0, 9]),
        ),
        ("first fragment", 0x0800, ipv4(17, 0x2000, &ports(68, 67))),
        ("later fragment", 0x0800, ipv4(17, 0x00b9, &[0xaa; 24])),
        (
            "authentication",
            0x0800,
            ipv4(51, 0, &[17, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]),
        ),
    ]
}

fn unwanted() -> Vec<Case> {
    vec![
        ("DNS", 0x0800, ipv4(17, 0, &ports(40_000, 53))),
        ("HTTPS", 0x86dd, ipv6(6, &ports(40_000, 443))),
        ("echo", 0x86dd, ipv6(58, &[128; 16])),
        ("LLDP", 0x88cc, vec![2, 7, 4]),
    ]
}

const TAGS: [&[(u16, u16)]; 4] = [
    &[],
    &[(0x8100, 100)],
    &[(0x88a8, 200), (0x8100, 100)],
    &[(0x8100, 200), (0x8100, 100)],
];

#[test]
fn the_filter_of_a_real_interface_lets_evidence_through_once_whatever_wraps_it() {
    if !possible() {
        return;
    }
    let host = Host::new("frames");
    host.uplink("up1", "192.0.2.1/24", "2001:db8:1::1/64");
    let recording = Recording::start(&host, &[]);
    assert!(
        recording.choice.contains("capturing on up1;"),
        "{}",
        recording.choice
    );
    let (mut frames, mut expected) = (Vec::new(), Vec::new());
    for (cases, count) in [(wanted(), 1), (unwanted(), 0)] {
        for (name, ether_type, packet) in cases {
            for tags in TAGS {
                let mark = u8::try_from(frames.len()).unwrap();
                frames.push(ethernet(mark, tags, ether_type, &packet));
                expected.push((mark, count, name, tags));
            }
        }
    }
    send(&host, "up1", &frames);
    let seen = recording.end();
    for (mark, count, name, tags) in expected {
        let times = seen.get(&mark).copied().unwrap_or(0);
        assert_eq!(times, count, "{name} behind {tags:x?}");
    }
}

#[test]
fn a_bridge_is_captured_and_not_its_ports_nor_what_containers_have() {
    if !possible() {
        return;
    }
    let host = Host::new("bridge");
    host.uplink("up1", "192.0.2.1/24", "2001:db8:1::1/64");
    host.uplink("cali0", "198.51.100.1/24", "2001:db8:2::1/64");
    if !ip(&format!("-n {} link add br0 type bridge", host.name))
        .unwrap()
        .status
        .success()
    {
        eprintln!("SKIPPED: this kernel has no bridges");
        return;
    }
    host.ip("link set up1 master br0");
    host.ip("link set br0 up");
    host.ip("link add docker0 type bridge");
    host.ip("link set docker0 up");
    // A tap of a hypervisor: virtual, and nobody's end.
    let tap = ip(&format!("-n {} tuntap add dev kvm7 mode tap", host.name));
    let tap = tap.unwrap().status.success();
    let recording = Recording::start(&host, &[]);
    let choice = recording.choice.clone();
    assert!(choice.contains("capturing on br0;"), "{choice}");
    let mut left_out = vec![
        "up1 (port of br0)",
        "lo (loopback)",
        "cali0 docker0 (containers')",
    ];
    if tap {
        left_out.push("kvm7 (virtual)");
    }
    for left in left_out {
        assert!(choice.contains(left), "{left}: {choice}");
    }
    let arp = |mark| ethernet(mark, &[], 0x0806, &[0, 1, 8, 0, 6, 4, 0, 1]);
    let tagged = ethernet(2, &[(0x8100, 30)], 0x0800, &ipv4(17, 0, &ports(68, 67)));
    send(&host, "up1", &[arp(1), tagged]);
    send(&host, "cali0", &[arp(3)]);
    assert_eq!(recording.end(), BTreeMap::from([(1, 1), (2, 1)]));
}

#[test]
fn a_bond_is_captured_and_not_its_ports() {
    if !possible() {
        return;
    }
    let host = Host::new("bond");
    let made = ip(&format!(
        "-n {} link add bond0 type bond mode active-backup",
        host.name
    ));
    if !made.unwrap().status.success() {
        eprintln!("SKIPPED: this kernel has no bonds");
        return;
    }
    for port in ["up1", "up2"] {
        host.ip(&format!(
            "link add {port} type veth peer name {port} netns {}-far",
            host.name
        ));
        host.ip(&format!("link set {port} master bond0"));
        host.far(&format!("link set {port} up"));
    }
    host.ip("link set bond0 up");
    let recording = Recording::start(&host, &[]);
    assert!(
        recording.choice.contains("capturing on bond0;"),
        "{}",
        recording.choice
    );
    let arp = ethernet(1, &[], 0x0806, &[0, 1, 8, 0, 6, 4, 0, 1]);
    send(&host, "up1", &[arp]);
    assert_eq!(recording.end(), BTreeMap::from([(1, 1)]));
}
