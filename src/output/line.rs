//! One line for each event: what `decode --format text` prints.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io;

use super::alert::tag;
use crate::event::bgp::{Attributes, BgpMessage, Notification, Open, Rd, Safi, Update};
use crate::event::bmp::BmpMessage;
use crate::event::lan::NdMessage;
use crate::event::netlink::{Action, Group, Hop, Meta, NetconfOf};
use crate::event::rtr::RtrMessage;
use crate::event::source::Unit;
use crate::event::{Event, EventKind, SourceId};

/// NLRI shown of one UPDATE; the rest is counted.
const SHOWN: usize = 8;

/// Writes events as lines, remembering the names of their sources.
#[derive(Clone, Default)]
pub struct Lines {
    names: BTreeMap<SourceId, String>,
    line: String,
}

impl Lines {
    /// Whether the event is a source: no fact of its own, but its name is in every line that follows.
    pub fn learn(&mut self, event: &Event) -> bool {
        let EventKind::Source(info) = &event.kind else {
            return false;
        };
        let kind = tag(&info.kind);
        self.names.insert(
            info.id,
            info.interface.as_deref().map_or(kind, str::to_owned),
        );
        true
    }

    /// The name of an event's source, and what happened.
    pub fn parts(&self, event: &Event) -> (String, String) {
        let name = self.names.get(&event.source).map_or("-", String::as_str);
        let mut text = String::new();
        let _ = what(&mut text, &event.kind); // a String takes all
        (name.to_owned(), text)
    }

    /// Writes one event as a line: time, place, source, protocol, what.
    pub fn write(&mut self, event: &Event, out: &mut impl io::Write) -> io::Result<()> {
        if self.learn(event) {
            return Ok(());
        }
        self.line.clear();
        let place = match event.locator.unit {
            Unit::Frame => ':',
            Unit::Record => '@',
        };
        let name = self.names.get(&event.source).map_or("-", String::as_str);
        // Writing to a String cannot fail.
        let _ = write!(
            self.line,
            "{} {}{place}{} {name} ",
            event.at, event.locator.input.0, event.locator.number
        );
        let _ = what(&mut self.line, &event.kind);
        self.line.push('\n');
        out.write_all(self.line.as_bytes())
    }
}

fn rtr(line: &mut String, message: &RtrMessage) -> fmt::Result {
    match message {
        RtrMessage::Connected => line.write_str("connected"),
        RtrMessage::Disconnected { why } => {
            line.write_str("disconnected")?;
            option(line, ": ", why.as_ref())
        }
        RtrMessage::Lost => line.write_str("octets lost"),
        RtrMessage::SerialNotify { session, serial } => {
            write!(line, "serial notify session {session} serial {serial}")
        }
        RtrMessage::SerialQuery { session, serial } => {
            write!(line, "serial query session {session} serial {serial}")
        }
        RtrMessage::ResetQuery => line.write_str("reset query"),
        RtrMessage::CacheResponse { session } => write!(line, "cache response session {session}"),
        RtrMessage::Prefixes(changes) => {
            line.write_str("prefixes")?;
            for change in changes.iter().take(SHOWN) {
                let sign = if change.announce { '+' } else { '-' };
                write!(line, " {sign}{}", change.vrp)?;
            }
            match changes.len().saturating_sub(SHOWN) {
                0 => Ok(()),
                more => write!(line, " and {more} more"),
            }
        }
        RtrMessage::EndOfData {
            session,
            serial,
            timers,
        } => {
            write!(line, "end of data session {session} serial {serial}")?;
            match timers {
                Some(t) => write!(
                    line,
                    " refresh {} retry {} expire {}",
                    t.refresh, t.retry, t.expire
                ),
                None => Ok(()),
            }
        }
        RtrMessage::CacheReset => line.write_str("cache reset"),
        RtrMessage::RouterKey { announce, asn } => {
            write!(
                line,
                "router key {}AS{asn}",
                if *announce { '+' } else { '-' }
            )
        }
        RtrMessage::Aspa {
            announce,
            customer,
            providers,
        } => {
            let sign = if *announce { '+' } else { '-' };
            write!(
                line,
                "aspa {sign}AS{customer} with {} providers",
                providers.len()
            )
        }
        RtrMessage::ErrorReport {
            from_cache,
            code,
            text,
        } => {
            let by = if *from_cache { "cache" } else { "router" };
            write!(line, "error report from the {by}: code {code} {text:?}")
        }
    }
}

fn what(line: &mut String, kind: &EventKind) -> fmt::Result {
    match kind {
        EventKind::Source(_) | EventKind::Deadline => Ok(()),
        EventKind::Annotation(said) => {
            write!(line, "ANNOTATION {:?} from {}", said.text, said.from)?;
            option(line, " until ", said.until)?;
            option(line, " by ", said.author.as_ref())?;
            said.subjects
                .iter()
                .try_for_each(|subject| write!(line, " {subject}"))
        }
        EventKind::Link(link) => {
            write!(
                line,
                "LINK {}{} {} flags 0x{:x}",
                action(link.action),
                meta(&link.meta),
                link.name,
                link.flags
            )?;
            option(line, " operstate ", link.operstate)?;
            option(line, " carrier ", link.carrier.map(u8::from))?;
            option(line, " carrier-changes ", link.carrier_changes)?;
            option(line, " mac ", link.mac)?;
            option(line, " mtu ", link.mtu)?;
            option(line, " master ", link.master)?;
            option(line, " kind ", link.link_kind.as_deref())
        }
        EventKind::Address(a) => {
            write!(
                line,
                "ADDR {}{} {}/{} dev {} flags 0x{:x}",
                action(a.action),
                meta(&a.meta),
                a.addr,
                a.prefix_len,
                a.ifindex,
                a.flags
            )?;
            option(line, " valid ", a.valid.filter(|v| *v != u32::MAX))
        }
        EventKind::Route(r) => {
            write!(
                line,
                "ROUTE {}{}{} table {}",
                action(r.action),
                meta(&r.meta),
                if r.meta.replace { " replace" } else { "" },
                r.table
            )?;
            write!(
                line,
                " {} metric {} proto {} type {}",
                r.prefix, r.metric, r.protocol, r.kind
            )?;
            option(line, " nhid ", r.nhid)?;
            option(line, " src ", r.prefsrc)?;
            option(line, " expires ", r.expires)?;
            r.hops.iter().try_for_each(|h| hop(line, h))
        }
        EventKind::Neighbor(n) => {
            write!(line, "NEIGH {}{}", action(n.action), meta(&n.meta))?;
            option(line, " ", n.addr)?;
            option(line, " lladdr ", n.mac)?;
            write!(line, " dev {} state {}", n.ifindex, neighbor_state(n.state))
        }
        EventKind::Rule(r) => {
            write!(
                line,
                "RULE {}{} priority {} table {}",
                action(r.action),
                meta(&r.meta),
                r.priority,
                r.table
            )?;
            option(line, " from ", r.src)?;
            option(line, " to ", r.dst)?;
            option(line, " fwmark ", r.fwmark)
        }
        EventKind::Netconf(n) => {
            let family = if n.ipv6 { "IPv6" } else { "IPv4" };
            write!(
                line,
                "NETCONF {}{} {family} ",
                action(n.action),
                meta(&n.meta)
            )?;
            match n.of {
                NetconfOf::All => line.push_str("all"),
                NetconfOf::Default => line.push_str("default"),
                NetconfOf::Link(index) => write!(line, "dev {index}")?,
            }
            let switches = [
                ("forwarding", n.forwarding),
                ("mc_forwarding", n.mc_forwarding),
                ("proxy_neigh", n.proxy_neigh),
                ("ignore_routes_with_linkdown", n.ignore_linkdown),
            ];
            for (name, on) in switches {
                if let Some(on) = on {
                    write!(line, " {name} {}", if on { "on" } else { "off" })?;
                }
            }
            option(line, " rp_filter ", n.rp_filter)
        }
        EventKind::Mdb(m) => {
            write!(line, "MDB {}{} ", action(m.action), meta(&m.meta))?;
            match m.group {
                Group::Address(addr) => write!(line, "{addr}")?,
                Group::Mac(mac) => write!(line, "{mac}")?,
            }
            write!(line, " port {} of {} vlan {}", m.port, m.bridge, m.vlan)
        }
        EventKind::Nexthop(n) => {
            write!(
                line,
                "NEXTHOP {}{} id {} proto {}",
                action(n.action),
                meta(&n.meta),
                n.id,
                n.protocol
            )?;
            option(line, " via ", n.gateway)?;
            option(line, " dev ", n.ifindex)?;
            if !n.group.is_empty() {
                line.push_str(" group");
                n.group
                    .iter()
                    .try_for_each(|(id, weight)| write!(line, " {id}*{weight}"))?;
            }
            Ok(())
        }
        EventKind::Actor(actor) => write!(line, "ACTOR pid {} is {}", actor.pid, actor.name),
        EventKind::DumpDone(done) => write!(line, "DUMP-DONE {}", tag(&done.what)),
        EventKind::Arp(a) => match a.op {
            1 if a.is_probe() => write!(line, "ARP probe {} by {}", a.target_ip, a.sender_mac),
            _ if a.is_gratuitous() => write!(
                line,
                "ARP announcement {} is-at {}",
                a.sender_ip, a.sender_mac
            ),
            1 => write!(
                line,
                "ARP who-has {} tell {} ({})",
                a.target_ip, a.sender_ip, a.sender_mac
            ),
            2 => write!(
                line,
                "ARP {} is-at {} to {}",
                a.sender_ip, a.sender_mac, a.target_ip
            ),
            op => write!(line, "ARP op {op} {} ({})", a.sender_ip, a.sender_mac),
        },
        EventKind::Nd(nd) => {
            line.push_str("ND ");
            match &nd.message {
                NdMessage::RouterSolicitation => line.push_str("router-solicitation"),
                NdMessage::RouterAdvertisement(ra) => {
                    write!(
                        line,
                        "router-advertisement lifetime {}{}{}",
                        ra.lifetime,
                        if ra.managed { " M" } else { "" },
                        if ra.other { " O" } else { "" }
                    )?;
                    ra.prefixes.iter().try_for_each(|p| {
                        write!(
                            line,
                            " prefix {} valid {} preferred {}",
                            p.prefix, p.valid, p.preferred
                        )
                    })?;
                    ra.routes.iter().try_for_each(|(p, _, lifetime)| {
                        write!(line, " route {p} lifetime {lifetime}")
                    })?;
                    option(line, " mtu ", ra.mtu)?;
                }
                NdMessage::NeighborSolicitation { target } => {
                    write!(line, "neighbor-solicitation {target}")?
                }
                NdMessage::NeighborAdvertisement {
                    target,
                    router,
                    solicited,
                    overriding,
                } => {
                    write!(line, "neighbor-advertisement {target}")?;
                    for (set, flag) in [(router, " R"), (solicited, " S"), (overriding, " O")] {
                        if *set {
                            line.push_str(flag);
                        }
                    }
                }
                NdMessage::Redirect {
                    target,
                    destination,
                } => write!(line, "redirect {destination} to {target}")?,
            }
            option(line, " from ", nd.frame.ip_src)?;
            option(line, " source-mac ", nd.source_mac)?;
            option(line, " target-mac ", nd.target_mac)?;
            flaws(line, &nd.flaws)
        }
        EventKind::Dhcp4(d) => {
            match d.message_type {
                Some(kind) => write!(line, "DHCP {kind}")?,
                None => write!(line, "BOOTP op {}", d.op)?,
            }
            write!(line, " xid 0x{:08x}", d.xid)?;
            option(line, " client ", d.client_mac())?;
            for (name, addr) in [
                ("ciaddr", d.ciaddr),
                ("yiaddr", d.yiaddr),
                ("giaddr", d.giaddr),
            ] {
                if !addr.is_unspecified() {
                    write!(line, " {name} {addr}")?;
                }
            }
            option(line, " server ", d.server_id)?;
            option(line, " wants ", d.requested_ip)?;
            option(line, " lease ", d.lease_time)?;
            d.routers
                .iter()
                .try_for_each(|r| write!(line, " router {r}"))?;
            d.routes
                .iter()
                .try_for_each(|(code, p, via)| write!(line, " route({code}) {p} via {via}"))?;
            option(line, " host ", d.host_name.as_ref())?;
            option(line, " vendor ", d.vendor_class.as_ref())?;
            option(line, " message ", d.message.as_ref())?;
            line.push_str(" options ");
            list(line, &d.options)?;
            flaws(line, &d.flaws)
        }
        EventKind::Dhcp6(d) => {
            write!(line, "DHCPv6 {} xid 0x{:06x}", d.name(), d.xid)?;
            option(line, " client ", d.client.as_ref())?;
            option(line, " server ", d.server.as_ref())?;
            d.addresses
                .iter()
                .try_for_each(|a| write!(line, " address {} valid {}", a.addr, a.valid))?;
            d.prefixes
                .iter()
                .try_for_each(|p| write!(line, " prefix {} valid {}", p.prefix, p.valid))?;
            d.status
                .iter()
                .try_for_each(|(code, text)| write!(line, " status {code} {text}"))?;
            if !d.relays.is_empty() {
                write!(line, " relays {}", d.relays.len())?;
            }
            flaws(line, &d.flaws)
        }
        EventKind::Bgp(b) => {
            write!(line, "BGP {} > {} ", b.session.from, b.session.to)?;
            message(line, &b.message)
        }
        EventKind::Bmp(b) => {
            line.push_str("BMP ");
            option(line, "from ", b.router.map(|r| r.ip()))?;
            if let Some(peer) = &b.peer {
                write!(
                    line,
                    " peer {} AS{} {}",
                    peer.addr,
                    peer.asn,
                    tag(&peer.rib)
                )?;
            }
            line.push(' ');
            bmp(line, &b.message)
        }
        EventKind::Rtr(r) => {
            write!(line, "RTR v{} cache {}", r.version, r.cache)?;
            option(line, " router ", r.router)?;
            line.push(' ');
            rtr(line, &r.message)
        }
        EventKind::Vrrp(v) => {
            write!(
                line,
                "VRRP v{} id {} priority {} interval {} ms",
                v.version, v.vrid, v.priority, v.interval_ms
            )?;
            option(line, " from ", v.frame.ip_src)?;
            option(line, " (", v.frame.eth_src)?;
            if v.frame.eth_src.is_some() {
                line.push(')');
            }
            v.addresses
                .iter()
                .try_for_each(|addr| write!(line, " {addr}"))
        }
        EventKind::Bfd(b) => {
            write!(
                line,
                "BFD {} diag {} my 0x{:x} your 0x{:x}",
                tag(&b.state),
                b.diag,
                b.my_discriminator,
                b.your_discriminator
            )?;
            write!(
                line,
                " mult {} tx {} us rx {} us",
                b.detect_mult, b.desired_min_tx_us, b.required_min_rx_us
            )?;
            option(line, " from ", b.frame.ip_src)?;
            option(line, " to ", b.frame.ip_dst)
        }
        EventKind::Tcp(t) => write!(line, "TCP {} > {} {:?}", t.src, t.dst, t.what),
        EventKind::Gap(g) => write!(
            line,
            "GAP {} {} to {}: {}",
            tag(&g.kind),
            g.from,
            g.to,
            g.detail
        ),
        EventKind::Malformed(m) => write!(line, "MALFORMED {}: {}", tag(&m.protocol), m.why),
    }
}

fn message(line: &mut String, message: &BgpMessage) -> fmt::Result {
    match message {
        BgpMessage::Open(o) => open(line, o),
        BgpMessage::Update(u) => update(line, u),
        BgpMessage::TableEntry(u) => {
            line.push_str("TABLE ");
            update(line, u)
        }
        BgpMessage::Notification(n) => notification(line, n),
        BgpMessage::Keepalive => write!(line, "KEEPALIVE"),
        BgpMessage::RouteRefresh { family, subtype } => {
            write!(line, "ROUTE-REFRESH {family} subtype {subtype}")
        }
        BgpMessage::StateChange { old, new } => write!(line, "STATE {old} to {new}"),
        BgpMessage::Unknown(kind) => write!(line, "message type {kind}"),
    }
}

fn bmp(line: &mut String, message: &BmpMessage) -> fmt::Result {
    match message {
        BmpMessage::RouteMonitoring(u) => update(line, u),
        BmpMessage::Statistics {
            counters,
            family_counters,
        } => {
            line.push_str("STATISTICS");
            counters
                .iter()
                .try_for_each(|(kind, value)| write!(line, " {kind}={value}"))?;
            family_counters
                .iter()
                .try_for_each(|(kind, afi, safi, value)| {
                    write!(line, " {kind}({afi}/{safi})={value}")
                })
        }
        BmpMessage::PeerDown {
            reason,
            fsm_event,
            notification: closed,
            table,
        } => {
            write!(line, "PEER-DOWN reason {reason}")?;
            option(line, " fsm ", *fsm_event)?;
            option(line, " table ", table.as_ref())?;
            closed.as_ref().map_or(Ok(()), |n| {
                line.push(' ');
                notification(line, n)
            })
        }
        BmpMessage::PeerUp {
            local,
            local_port,
            remote_port,
            received_open,
            ..
        } => {
            write!(
                line,
                "PEER-UP local {local} ports {local_port} {remote_port} received "
            )?;
            open(line, received_open)
        }
        BmpMessage::Initiation {
            sys_name,
            sys_descr,
            text,
        } => {
            line.push_str("INITIATION");
            option(line, " name ", sys_name.as_ref())?;
            option(line, " descr ", sys_descr.as_ref())?;
            option(line, " text ", text.as_ref())
        }
        BmpMessage::Termination { reason, text } => {
            line.push_str("TERMINATION");
            option(line, " reason ", *reason)?;
            option(line, " text ", text.as_ref())
        }
        BmpMessage::RouteMirroring { bgp_type, lost } => {
            line.push_str("MIRRORING");
            option(line, " bgp type ", *bgp_type)?;
            if *lost {
                line.push_str(" messages lost");
            }
            Ok(())
        }
        BmpMessage::Unknown(kind) => write!(line, "message type {kind}"),
        BmpMessage::Connected => write!(line, "CONNECTED"),
        BmpMessage::Disconnected => write!(line, "DISCONNECTED"),
    }
}

fn open(line: &mut String, o: &Open) -> fmt::Result {
    let id = std::net::Ipv4Addr::from(o.router_id);
    write!(line, "OPEN AS{} hold {} id {id}", o.asn, o.hold_time)?;
    o.families.iter().try_for_each(|f| write!(line, " [{f}]"))?;
    o.add_path
        .iter()
        .try_for_each(|(f, mode)| write!(line, " add-path({f}:{mode})"))?;
    option(
        line,
        " restart-time ",
        o.graceful_restart.as_ref().map(|g| g.restart_time),
    )?;
    option(line, " host ", o.host_name.as_ref())
}

fn update(line: &mut String, u: &Update) -> fmt::Result {
    line.push_str("UPDATE");
    if let Some(family) = u.end_of_rib {
        return write!(line, " end-of-rib {family}");
    }
    for (name, list) in [(" withdraw", &u.withdrawn), (" announce", &u.announced)] {
        if list.is_empty() {
            continue;
        }
        line.push_str(name);
        for nlri in list.iter().take(SHOWN) {
            write!(line, " {}", nlri.prefix)?;
            if nlri.path_id != 0 {
                write!(line, "#{}", nlri.path_id)?;
            }
            match nlri.safi {
                Safi::Evpn2 => line.push_str(" (EVPN MAC/IP)"),
                Safi::Evpn3 => line.push_str(" (EVPN multicast)"),
                Safi::Evpn5 => line.push_str(" (EVPN prefix)"),
                _ => {}
            }
            if let Some(mac) = nlri.mac() {
                write!(line, " mac {mac}")?;
            }
            if nlri.rd != 0 {
                write!(line, " rd {}", Rd(nlri.rd))?;
            }
        }
        if list.len() > SHOWN {
            write!(line, " +{}", list.len() - SHOWN)?;
        }
    }
    if !u.announced.is_empty() {
        attributes(line, &u.attributes)?;
    }
    u.other_families
        .iter()
        .try_for_each(|(family, octets)| write!(line, " [{family}: {octets} octets]"))?;
    u.errors.iter().try_for_each(|e| {
        write!(
            line,
            " ERROR {} attribute {}: {}",
            tag(&e.action),
            e.attribute,
            e.why
        )
    })?;
    if u.inferred {
        line.push_str(" (encoding inferred)");
    }
    Ok(())
}

fn attributes(line: &mut String, a: &Attributes) -> fmt::Result {
    write!(line, " path [{}]", a.as_path)?;
    option(line, " next-hop ", a.next_hop)?;
    option(line, " med ", a.med)?;
    option(line, " local-pref ", a.local_pref)?;
    if !a.communities.is_empty() {
        line.push_str(" communities");
        a.communities
            .iter()
            .try_for_each(|c| write!(line, " {}:{}", c >> 16, c & 0xffff))?;
    }
    a.large_communities
        .iter()
        .try_for_each(|[x, y, z]| write!(line, " large {x}:{y}:{z}"))
}

fn notification(line: &mut String, n: &Notification) -> fmt::Result {
    write!(line, "NOTIFICATION {}/{}", n.code, n.subcode)?;
    if let Some((code, subcode)) = n.inner {
        write!(line, " inner {code}/{subcode}")?;
    }
    option(line, " text ", n.text.as_ref())
}

fn action(action: Action) -> &'static str {
    match action {
        Action::New => "new",
        Action::Del => "del",
    }
}

fn meta(meta: &Meta) -> String {
    match (meta.dump, meta.pid) {
        (true, _) => " (dump)".to_owned(),
        (false, 0) => String::new(),
        (false, pid) => format!(" (pid {pid})"),
    }
}

fn hop(line: &mut String, hop: &Hop) -> fmt::Result {
    line.push_str(" nexthop");
    option(line, " via ", hop.gateway)?;
    option(line, " dev ", hop.ifindex)?;
    if hop.flags != 0 {
        write!(line, " flags 0x{:x}", hop.flags)?;
    }
    Ok(())
}

fn neighbor_state(state: u16) -> String {
    const NAMES: [(u16, &str); 8] = [
        (1, "INCOMPLETE"),
        (2, "REACHABLE"),
        (4, "STALE"),
        (8, "DELAY"),
        (16, "PROBE"),
        (32, "FAILED"),
        (64, "NOARP"),
        (128, "PERMANENT"),
    ];
    let names: Vec<&str> = NAMES
        .iter()
        .filter(|(bit, _)| state & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    if names.is_empty() {
        "NONE".to_owned()
    } else {
        names.join("|")
    }
}

fn option(line: &mut String, label: &str, value: Option<impl fmt::Display>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(line, "{label}{value}"))
}

fn list(line: &mut String, items: &[impl fmt::Display]) -> fmt::Result {
    items
        .iter()
        .enumerate()
        .try_for_each(|(n, item)| write!(line, "{}{item}", if n == 0 { "" } else { "," }))
}

fn flaws(line: &mut String, flaws: &[impl serde::Serialize]) -> fmt::Result {
    flaws
        .iter()
        .try_for_each(|flaw| write!(line, " FLAW {}", tag(flaw)))
}
