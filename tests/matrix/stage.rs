//! A stage for scenes of hand-made events: one router with neighbors, told by packets, BMP or MRT, in one address family, with what its kernel
//! and an RPKI cache say beside it.

use std::net::IpAddr;

use flapscope::detect::catalogue::Seen;
use flapscope::event::bgp::*;
use flapscope::event::bmp::{BmpEvent, BmpMessage, PerPeer, Rib};
use flapscope::event::frame::Frame;
use flapscope::event::loss::{Gap, GapKind};
use flapscope::event::netlink::{
    Action, AddressEvent, DumpDone, Dumped, Hop, LinkEvent, Meta, RouteEvent,
};
use flapscope::event::rtr::{RtrEvent, RtrMessage, Vrp, VrpChange};
use flapscope::event::source::Unit;
use flapscope::event::{
    Event, EventKind, InputId, Locator, Prefix, SourceId, SourceInfo, SourceKind, Timestamp,
};

/// What stands beside the view that a scene is told by, and the view itself.
pub const BESIDE: SourceId = SourceId(0);
pub const VIEW: SourceId = SourceId(1);
/// The AS of the router that everything is told of.
const HOME: u32 = 64496;
/// `RTPROT_BGP` of FRR.
const BGP: u8 = 186;

pub struct Stage {
    pub view: Seen,
    pub v6: bool,
    pub events: Vec<Event>,
}

/// What an UPDATE says of prefixes.
#[derive(Clone, Default)]
pub struct Says<'a> {
    pub path: &'a [u32],
    pub med: Option<u32>,
    pub otc: Option<u32>,
}

impl Stage {
    pub fn new(view: Seen, v6: bool) -> Stage {
        let mut stage = Stage {
            view,
            v6,
            events: Vec::new(),
        };
        let kind = match view {
            Seen::Mrt => SourceKind::Mrt,
            Seen::Bmp => SourceKind::Bmp,
            Seen::Packets => SourceKind::Packets,
            Seen::Netlink => SourceKind::Netlink,
        };
        for (id, kind) in [(BESIDE, SourceKind::Netlink), (VIEW, kind)] {
            let info = SourceInfo {
                id,
                input: InputId(id.0 as u16),
                kind,
                interface: None,
                host: None,
                role: None,
            };
            stage.at(0.0, id, EventKind::Source(Box::new(info)));
        }
        stage
    }

    pub fn at(&mut self, seconds: f64, source: SourceId, kind: EventKind) {
        let number = self.events.len() as u64 + 1;
        self.events.push(Event {
            at: Timestamp(1_700_000_000_000_000_000 + (seconds * 1e9) as i64),
            origin_at: None,
            source,
            locator: Locator {
                input: InputId(source.0 as u16),
                unit: Unit::Frame,
                number,
                offset: 0,
            },
            kind,
        });
    }

    /// Neighbor `n`, and the router itself.
    pub fn peer(&self, n: u8) -> IpAddr {
        let text = if self.v6 {
            format!("2001:db8:0:1::{n:x}")
        } else {
            format!("192.0.2.{n}")
        };
        text.parse().unwrap()
    }

    pub fn home(&self) -> IpAddr {
        self.peer(254)
    }

    /// Prefix `i` of a table.
    pub fn net(&self, i: u32) -> Prefix {
        let text = if self.v6 {
            format!("3fff:{:x}:{:x}::/48", i >> 16, i & 0xffff)
        } else {
            format!("10.{}.{}.0/24", i >> 8, i & 0xff)
        };
        text.parse().unwrap()
    }

    pub fn nets(&self, range: std::ops::Range<u32>) -> Vec<Prefix> {
        range.map(|i| self.net(i)).collect()
    }

    /// Host route `i`.
    pub fn host(&self, i: u8) -> Prefix {
        let text = if self.v6 {
            format!("2001:db8:f::{i:x}/128")
        } else {
            format!("203.0.113.{i}/32")
        };
        text.parse().unwrap()
    }

    fn say(&mut self, seconds: f64, n: u8, from_peer: bool, message: BgpMessage) {
        let (peer, home, asn) = (self.peer(n), self.home(), 64500 + u32::from(n));
        if self.view == Seen::Bmp {
            let peer_header = PerPeer {
                peer_type: 0,
                rib: Rib::AdjInPre,
                distinguisher: 0,
                addr: peer,
                asn,
                router_id: u32::from(n),
                legacy_as_path: false,
                stamp: Timestamp(0),
            };
            // The far end is a BMP router too where the near end speaks.
            let peer_header = if from_peer {
                peer_header
            } else {
                PerPeer {
                    addr: home,
                    asn: HOME,
                    router_id: 254,
                    ..peer_header
                }
            };
            let message = match message {
                BgpMessage::Update(update) => BmpMessage::RouteMonitoring(update),
                BgpMessage::Notification(notification) => BmpMessage::PeerDown {
                    reason: 3,
                    fsm_event: None,
                    notification: Some(notification),
                    table: None,
                },
                _ => return,
            };
            return self.bmp(seconds, Some(peer_header), message);
        }
        let ports = match (self.view, from_peer) {
            (Seen::Mrt, _) => (0, 0),
            (_, true) => (179, 40000 + u16::from(n)),
            (_, false) => (40000 + u16::from(n), 179),
        };
        let numbers = match (self.view, from_peer) {
            (Seen::Mrt, true) => (asn, HOME),
            (Seen::Mrt, false) => (HOME, asn),
            _ => (0, 0),
        };
        let (from, to) = if from_peer {
            (peer, home)
        } else {
            (home, peer)
        };
        let session = Direction {
            from,
            to,
            from_port: ports.0,
            to_port: ports.1,
            from_as: numbers.0,
            to_as: numbers.1,
        };
        let event = BgpEvent {
            frame: Frame::default(),
            session,
            message,
        };
        self.at(seconds, VIEW, EventKind::Bgp(Box::new(event)));
    }

    pub fn bmp(&mut self, seconds: f64, peer: Option<PerPeer>, message: BmpMessage) {
        let event = BmpEvent {
            router: Some("198.51.100.254:40000".parse().unwrap()),
            connection: 1,
            peer,
            message,
        };
        self.at(seconds, VIEW, EventKind::Bmp(Box::new(event)));
    }

    /// The session with neighbor `n` comes up. `role` is the BGP role that the neighbor tells (RFC 9234), `restart` its restart time.
    pub fn up(&mut self, seconds: f64, n: u8, role: Option<u8>, restart: Option<u16>) {
        let family = if self.v6 {
            Family::IPV6_UNICAST
        } else {
            Family::IPV4_UNICAST
        };
        let open = |asn: u32, router_id: u32, role: Option<u8>| Open {
            version: 4,
            asn,
            // Nobody's silence is meant here (RFC 4271 §4.2: 0 is no hold time).
            hold_time: 0,
            router_id,
            four_octet_as: true,
            families: vec![family],
            role,
            graceful_restart: restart.map(|restart_time| GracefulRestart {
                restart_time,
                families: vec![(family, true)],
                ..GracefulRestart::default()
            }),
            ..Open::default()
        };
        let far = open(64500 + u32::from(n), u32::from(n), role);
        // RFC 9234 §4.1: customer (3) and provider (0).
        let near = open(HOME, 254, role.map(|role| if role == 3 { 0 } else { 3 }));
        match self.view {
            Seen::Bmp => {
                let peer = PerPeer {
                    peer_type: 0,
                    rib: Rib::AdjInPre,
                    distinguisher: 0,
                    addr: self.peer(n),
                    asn: far.asn,
                    router_id: far.router_id,
                    legacy_as_path: false,
                    stamp: Timestamp(0),
                };
                let message = BmpMessage::PeerUp {
                    local: self.home(),
                    local_port: 179,
                    remote_port: 40000,
                    sent_open: Box::new(near),
                    received_open: Box::new(far),
                };
                self.bmp(seconds, Some(peer), message);
            }
            _ => {
                self.say(seconds, n, true, BgpMessage::Open(Box::new(far)));
                self.say(seconds, n, false, BgpMessage::Open(Box::new(near)));
                self.say(seconds, n, true, BgpMessage::Keepalive);
                self.say(seconds, n, false, BgpMessage::Keepalive);
                if self.view == Seen::Mrt {
                    self.say(seconds, n, true, BgpMessage::StateChange { old: 5, new: 6 });
                }
            }
        }
    }

    /// It ends: with a NOTIFICATION (6/4 after an operator), or without a word where it restarts.
    pub fn down(&mut self, seconds: f64, n: u8, silently: bool) {
        match (self.view, silently) {
            (Seen::Mrt, true) => {
                self.say(seconds, n, true, BgpMessage::StateChange { old: 6, new: 1 })
            }
            _ => self.say(
                seconds,
                n,
                true,
                BgpMessage::Notification(Notification {
                    code: 6,
                    subcode: 4,
                    inner: None,
                    text: None,
                    max_prefix: None,
                    data: Vec::new(),
                }),
            ),
        }
    }

    fn update(
        &self,
        says: &Says<'_>,
        announced: &[Prefix],
        withdrawn: &[Prefix],
        next_hop: IpAddr,
    ) -> BgpMessage {
        let mut update = Update {
            announced: announced.iter().copied().map(Nlri::unicast).collect(),
            withdrawn: withdrawn.iter().copied().map(Nlri::unicast).collect(),
            ..Update::default()
        };
        let attributes = &mut update.attributes;
        if !says.path.is_empty() {
            attributes
                .as_path
                .push_segment(AS_SEQUENCE, says.path.len());
            attributes.as_path.0.extend(says.path);
        }
        attributes.origin = Some(0);
        attributes.med = says.med;
        attributes.otc = says.otc;
        attributes.next_hop = Some(next_hop);
        BgpMessage::Update(Box::new(update))
    }

    /// Neighbor `n` announces prefixes with a path; with a neighbor's own AS in front of it, as it must be.
    pub fn announce(&mut self, seconds: f64, n: u8, path: &[u32], prefixes: &[Prefix]) {
        let path: Vec<u32> = std::iter::once(64500 + u32::from(n))
            .chain(path.iter().copied())
            .collect();
        self.tell(
            seconds,
            n,
            &Says {
                path: &path,
                ..Says::default()
            },
            prefixes,
        );
    }

    pub fn tell(&mut self, seconds: f64, n: u8, says: &Says<'_>, prefixes: &[Prefix]) {
        let message = self.update(says, prefixes, &[], self.peer(n));
        self.say(seconds, n, true, message);
    }

    /// The same, with a next hop that is not the neighbor itself.
    pub fn beyond(&mut self, seconds: f64, n: u8, next_hop: IpAddr, prefixes: &[Prefix]) {
        let path = [64500 + u32::from(n), 64999];
        let message = self.update(
            &Says {
                path: &path,
                ..Says::default()
            },
            prefixes,
            &[],
            next_hop,
        );
        self.say(seconds, n, true, message);
    }

    pub fn withdraw(&mut self, seconds: f64, n: u8, prefixes: &[Prefix]) {
        let message = self.update(&Says::default(), &[], prefixes, self.peer(n));
        self.say(seconds, n, true, message);
    }

    /// The router itself announces (or withdraws) prefixes to neighbor `n`.
    pub fn originate(&mut self, seconds: f64, n: u8, announced: &[Prefix], withdrawn: &[Prefix]) {
        let message = self.update(
            &Says {
                path: &[HOME],
                ..Says::default()
            },
            announced,
            withdrawn,
            self.home(),
        );
        self.say(seconds, n, false, message);
    }

    /// Nothing but time passes: neighbor `n` says that it is alive.
    pub fn alive(&mut self, seconds: f64, n: u8) {
        if self.view == Seen::Bmp {
            let message = BmpMessage::Statistics {
                counters: Vec::new(),
                family_counters: Vec::new(),
            };
            return self.bmp(seconds, None, message);
        }
        self.say(seconds, n, true, BgpMessage::Keepalive);
        self.say(seconds, n, false, BgpMessage::Keepalive);
    }

    /// The kernel of the router: an uplink with its addresses, connected and default routes.
    pub fn kernel(&mut self) {
        let link = LinkEvent {
            meta: dumped(),
            action: Action::New,
            family: 0,
            ifindex: 9,
            name: "eth9".into(),
            flags: 0x11043,
            operstate: Some(6),
            carrier: Some(true),
            carrier_changes: None,
            carrier_up_count: None,
            carrier_down_count: None,
            master: None,
            lower: None,
            mac: None,
            mtu: None,
            link_kind: None,
        };
        self.at(0.0, BESIDE, EventKind::Link(Box::new(link)));
        let home = Prefix::host(self.home());
        self.address(0.0, Action::New, home);
        let (all, own): (Prefix, Prefix) = if self.v6 {
            (
                "::/0".parse().unwrap(),
                "2001:db8:0:1::/64".parse().unwrap(),
            )
        } else {
            (
                "0.0.0.0/0".parse().unwrap(),
                "192.0.2.0/24".parse().unwrap(),
            )
        };
        self.route(0.0, Action::New, own, 2, None, dumped());
        self.route(0.0, Action::New, all, 4, Some(self.peer(1)), dumped());
        let done = DumpDone {
            what: Dumped::Routes,
            seq: 1,
            family: None,
        };
        self.at(0.0, BESIDE, EventKind::DumpDone(done));
    }

    pub fn address(&mut self, seconds: f64, action: Action, prefix: Prefix) {
        let network = prefix.addr() == self.home();
        let event = AddressEvent {
            meta: Meta {
                pid: 700,
                ..Meta::default()
            },
            action,
            ifindex: if network { 9 } else { 1 },
            addr: prefix.addr(),
            prefix_len: match (network, self.v6) {
                (true, false) => 24,
                (true, true) => 64,
                _ => prefix.len(),
            },
            flags: 0x80,
            scope: 0,
            preferred: None,
            valid: None,
            protocol: None,
        };
        self.at(seconds, BESIDE, EventKind::Address(Box::new(event)));
    }

    /// A route of the main table; `by` says whose process did it.
    pub fn route(
        &mut self,
        seconds: f64,
        action: Action,
        prefix: Prefix,
        protocol: u8,
        via: Option<IpAddr>,
        by: Meta,
    ) {
        let event = RouteEvent {
            meta: by,
            action,
            table: 254,
            prefix,
            metric: 20,
            tos: 0,
            protocol,
            scope: 0,
            kind: 1,
            flags: 0,
            prefsrc: None,
            hops: vec![Hop {
                gateway: via,
                ifindex: Some(9),
                weight: 1,
                flags: 0,
            }],
            nhid: None,
            expires: None,
        };
        self.at(seconds, BESIDE, EventKind::Route(Box::new(event)));
    }

    /// The routing daemon installs what it heard from a neighbor.
    pub fn installed(&mut self, seconds: f64, via: IpAddr, prefixes: &[Prefix]) {
        for prefix in prefixes {
            self.route(seconds, Action::New, *prefix, BGP, Some(via), by(500));
        }
    }

    /// A process takes the daemon's routes away.
    pub fn taken(&mut self, seconds: f64, via: IpAddr, pid: u32, prefixes: &[Prefix]) {
        for prefix in prefixes {
            self.route(seconds, Action::Del, *prefix, BGP, Some(via), by(pid));
        }
    }

    /// An RPKI cache tells one VRP.
    pub fn vrp(&mut self, prefix: Prefix, asn: u32) {
        let vrp = Vrp {
            prefix,
            max_len: prefix.len(),
            asn,
        };
        for message in [
            RtrMessage::Connected,
            RtrMessage::ResetQuery,
            RtrMessage::CacheResponse { session: 1 },
            RtrMessage::Prefixes(vec![VrpChange {
                vrp,
                announce: true,
            }]),
            RtrMessage::EndOfData {
                session: 1,
                serial: 1,
                timers: None,
            },
        ] {
            let event = RtrEvent {
                cache: "198.51.100.9:323".parse().unwrap(),
                router: None,
                version: 1,
                message,
            };
            self.at(0.0, BESIDE, EventKind::Rtr(Box::new(event)));
        }
    }

    pub fn gap(&mut self, seconds: f64, kind: GapKind) {
        let at = Timestamp(1_700_000_000_000_000_000 + (seconds * 1e9) as i64);
        let gap = Gap {
            kind,
            from: at,
            to: at,
            lost: None,
            detail: "the test's".into(),
        };
        self.at(seconds, VIEW, EventKind::Gap(Box::new(gap)));
    }
}

fn dumped() -> Meta {
    Meta {
        dump: true,
        seq: 1,
        ..Meta::default()
    }
}

pub fn by(pid: u32) -> Meta {
    Meta {
        pid,
        ..Meta::default()
    }
}
