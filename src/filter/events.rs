//! Decoded events as something to filter: addresses, prefixes and AS numbers of each message, by the same keys as incidents.

use super::{Fact, Facts, Key};
use crate::event::bgp::{BgpMessage, Direction, Update};
use crate::event::bmp::BmpMessage;
use crate::event::frame::Frame;
use crate::event::lan::NdMessage;
use crate::event::{Event, EventKind, Prefix, SourceInfo, SourceKind};

/// An event with what is known around it.
#[derive(Copy, Clone, Debug)]
pub struct Seen<'a> {
    pub event: &'a Event,
    /// As the reader sees it: one line.
    pub line: &'a str,
    pub source: Option<&'a SourceInfo>,
    /// The name of the interface that it is about, where the reader's model knows one.
    pub interface: Option<&'a str>,
}

type Test<'t> = dyn FnMut(Fact<'_>) -> bool + 't;

impl Facts for Seen<'_> {
    fn any(&self, key: Key, test: &mut Test<'_>) -> bool {
        let kind = &self.event.kind;
        match key {
            Key::Kind => test(Fact::Word(name(kind))),
            Key::Subject => self.text(test),
            Key::If => self.interface_any(test),
            Key::Prefix => prefixes(kind, test),
            Key::Peer => peers(kind, test),
            Key::Asn => numbers(kind, test),
            Key::Mac => macs(kind, test),
            Key::Src => self.source.is_some_and(|source| {
                test(Fact::Word(kind_of(source.kind)))
                    || source
                        .own_feed()
                        .is_some_and(|feed| test(Fact::Word(feed.name())))
                    || words([&source.interface, &source.host], test)
            }),
            Key::Sev | Key::State => false,
        }
    }

    fn text(&self, test: &mut Test<'_>) -> bool {
        test(Fact::Word(self.line)) || test(Fact::Word(name(&self.event.kind)))
    }

    fn has(&self, key: Key) -> bool {
        !matches!(key, Key::Sev | Key::State)
    }
}

impl Seen<'_> {
    fn interface_any(&self, test: &mut Test<'_>) -> bool {
        let told = match &self.event.kind {
            EventKind::Link(link) => words([&Some(link.name.clone())], test),
            EventKind::Rule(rule) => words([&rule.iif, &rule.oif], test),
            _ => false,
        };
        told || self.interface.is_some_and(|name| test(Fact::Word(name)))
            || self.source.is_some_and(|source| {
                source.kind == SourceKind::Packets && words([&source.interface], test)
            })
    }
}

fn words<const N: usize>(all: [&Option<Box<str>>; N], test: &mut Test<'_>) -> bool {
    all.into_iter().flatten().any(|word| test(Fact::Word(word)))
}

/// What an event is called in `kind:`.
pub fn name(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::Source(_) => "source",
        EventKind::Link(_) => "link",
        EventKind::Address(_) => "address",
        EventKind::Route(_) => "route",
        EventKind::Neighbor(_) => "neighbor",
        EventKind::Rule(_) => "rule",
        EventKind::Nexthop(_) => "nexthop",
        EventKind::Netconf(_) => "netconf",
        EventKind::Mdb(_) => "mdb",
        EventKind::DumpDone(_) => "dump-done",
        EventKind::Actor(_) => "actor",
        EventKind::Arp(_) => "arp",
        EventKind::Vrrp(_) => "vrrp",
        EventKind::Nd(_) => "nd",
        EventKind::Dhcp4(_) => "dhcp4",
        EventKind::Dhcp6(_) => "dhcp6",
        EventKind::Bgp(bgp) => match bgp.message {
            BgpMessage::Open(_) => "bgp.open",
            BgpMessage::Update(_) => "bgp.update",
            BgpMessage::Notification(_) => "bgp.notification",
            BgpMessage::Keepalive => "bgp.keepalive",
            BgpMessage::RouteRefresh { .. } => "bgp.route-refresh",
            BgpMessage::StateChange { .. } => "bgp.state-change",
            BgpMessage::TableEntry(_) => "bgp.table-entry",
            BgpMessage::Unknown(_) => "bgp.unknown",
        },
        EventKind::Bmp(_) => "bmp",
        EventKind::Bfd(_) => "bfd",
        EventKind::Rtr(_) => "rtr",
        EventKind::Tcp(_) => "tcp",
        EventKind::Gap(_) => "gap",
        EventKind::Malformed(_) => "malformed",
        EventKind::Annotation(_) => "annotation",
        EventKind::Deadline => "deadline",
    }
}

fn kind_of(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Netlink => "netlink",
        SourceKind::Packets => "packets",
        SourceKind::Bmp => "bmp",
        SourceKind::Mrt => "mrt",
    }
}

fn frame(kind: &EventKind) -> Option<&Frame> {
    Some(match kind {
        EventKind::Arp(arp) => &arp.frame,
        EventKind::Vrrp(vrrp) => &vrrp.frame,
        EventKind::Nd(nd) => &nd.frame,
        EventKind::Dhcp4(dhcp) => &dhcp.frame,
        EventKind::Dhcp6(dhcp) => &dhcp.frame,
        EventKind::Bgp(bgp) => &bgp.frame,
        EventKind::Bfd(bfd) => &bfd.frame,
        EventKind::Tcp(tcp) => &tcp.frame,
        _ => return None,
    })
}

fn update(kind: &EventKind) -> Option<&Update> {
    match kind {
        EventKind::Bgp(bgp) => match &bgp.message {
            BgpMessage::Update(update) | BgpMessage::TableEntry(update) => Some(update),
            _ => None,
        },
        EventKind::Bmp(bmp) => match &bmp.message {
            BmpMessage::RouteMonitoring(update) => Some(update),
            _ => None,
        },
        _ => None,
    }
}

fn prefixes(kind: &EventKind, test: &mut Test<'_>) -> bool {
    let mut host =
        |addr: std::net::IpAddr| !addr.is_unspecified() && test(Fact::Prefix(Prefix::host(addr)));
    match kind {
        EventKind::Address(address) => host(address.addr),
        EventKind::Route(route) => test(Fact::Prefix(route.prefix)),
        EventKind::Neighbor(neighbor) => neighbor.addr.is_some_and(host),
        EventKind::Rule(rule) => [rule.src, rule.dst]
            .into_iter()
            .flatten()
            .any(|prefix| test(Fact::Prefix(prefix))),
        EventKind::Nexthop(nexthop) => nexthop.gateway.is_some_and(host),
        EventKind::Vrrp(vrrp) => {
            let all = vrrp.addresses.iter().copied();
            all.chain(vrrp.frame.ip_src).any(host)
        }
        EventKind::Arp(arp) => host(arp.sender_ip.into()) || host(arp.target_ip.into()),
        EventKind::Nd(nd) => match &nd.message {
            NdMessage::RouterAdvertisement(ra) => {
                let announced = ra.prefixes.iter().map(|information| information.prefix);
                announced
                    .chain(ra.routes.iter().map(|(prefix, _, _)| *prefix))
                    .any(|prefix| test(Fact::Prefix(prefix)))
                    || nd
                        .frame
                        .ip_src
                        .is_some_and(|router| test(Fact::Prefix(Prefix::host(router))))
            }
            NdMessage::NeighborSolicitation { target }
            | NdMessage::NeighborAdvertisement { target, .. }
            | NdMessage::Redirect { target, .. } => host((*target).into()),
            NdMessage::RouterSolicitation => false,
        },
        EventKind::Dhcp4(dhcp) => {
            host(dhcp.yiaddr.into())
                || host(dhcp.ciaddr.into())
                || dhcp.requested_ip.is_some_and(|addr| host(addr.into()))
                || dhcp.server_id.is_some_and(|addr| host(addr.into()))
                || dhcp
                    .routes
                    .iter()
                    .any(|(_, prefix, _)| test(Fact::Prefix(*prefix)))
        }
        EventKind::Dhcp6(dhcp) => {
            dhcp.addresses.iter().any(|ia| host(ia.addr.into()))
                || dhcp.prefixes.iter().any(|ia| test(Fact::Prefix(ia.prefix)))
        }
        _ => update(kind).is_some_and(|update| {
            let keys = update.withdrawn.iter().chain(&update.announced);
            keys.into_iter().any(|nlri| test(Fact::Prefix(nlri.prefix)))
        }),
    }
}

fn peers(kind: &EventKind, test: &mut Test<'_>) -> bool {
    match kind {
        EventKind::Bgp(bgp) => {
            let Direction { from, to, .. } = bgp.session;
            test(Fact::Address(from)) || test(Fact::Address(to))
        }
        EventKind::Bmp(bmp) => bmp
            .peer
            .as_ref()
            .is_some_and(|peer| test(Fact::Address(peer.addr))),
        EventKind::Bfd(_) | EventKind::Tcp(_) => frame(kind).is_some_and(|frame| {
            [frame.ip_src, frame.ip_dst]
                .into_iter()
                .flatten()
                .any(|addr| test(Fact::Address(addr)))
        }),
        _ => false,
    }
}

fn numbers(kind: &EventKind, test: &mut Test<'_>) -> bool {
    let told = match kind {
        EventKind::Bgp(bgp) => {
            let open = match &bgp.message {
                BgpMessage::Open(open) => open.asn,
                _ => 0,
            };
            [bgp.session.from_as, bgp.session.to_as, open]
                .into_iter()
                .any(|asn| asn != 0 && test(Fact::As(asn)))
        }
        EventKind::Bmp(bmp) => bmp
            .peer
            .as_ref()
            .is_some_and(|peer| test(Fact::As(peer.asn))),
        _ => false,
    };
    told || update(kind).is_some_and(|update| {
        let segments = update.attributes.as_path.segments();
        segments
            .flat_map(|(_, numbers)| numbers)
            .any(|asn| test(Fact::As(*asn)))
    })
}

fn macs(kind: &EventKind, test: &mut Test<'_>) -> bool {
    let own = match kind {
        EventKind::Link(link) => [link.mac, None],
        EventKind::Neighbor(neighbor) => [neighbor.mac, None],
        EventKind::Arp(arp) => [Some(arp.sender_mac), Some(arp.target_mac)],
        EventKind::Nd(nd) => [nd.source_mac, nd.target_mac],
        EventKind::Dhcp4(dhcp) => [dhcp.client_mac(), None],
        _ => [None, None],
    };
    let ends = frame(kind).map_or([None, None], |frame| [frame.eth_src, frame.eth_dst]);
    own.into_iter()
        .chain(ends)
        .flatten()
        .any(|mac| test(Fact::Mac(mac)))
}
