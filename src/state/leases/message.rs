//! DHCPv4 and DHCPv6 messages in one form, so that tables and detectors are written once for both.
//!
//! Owns the mapping of RFC 2131 and RFC 8415 message types to the steps of an exchange; keeps nothing and judges nothing.

use std::fmt;
use std::net::IpAddr;

use smallvec::SmallVec;

use crate::event::dhcp4::{Dhcp4, MessageType};
use crate::event::dhcp6::Dhcp6;
use crate::event::frame::{Checksum, Frame, Mac};
use crate::event::{Event, EventKind, Prefix, WireText};

/// Octets of an identity that are kept: a DUID's maximum (RFC 8415 §11.1), which is longer than any chaddr.
const MAX_ID: usize = 130;
/// Addresses and prefixes read from one message: 64 options of one association are far beyond any honest one.
const MAX_GRANTS: usize = 64;

/// A client as its server keeps it: a hardware address with the client identifier it speaks under (DHCPv4, RFC 2131 §2), or a DUID
/// (DHCPv6). Two clients on one interface are two. Prints as the `client:` subject's value: the hardware address or the DUID.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct ClientId {
    octets: SmallVec<[u8; 20]>,
    /// Hash of option 61; 0 where there is none, and for DHCPv6.
    identity: u64,
}

impl ClientId {
    /// From the octets of a hardware address or DUID.
    pub fn new(octets: &[u8]) -> ClientId {
        ClientId {
            octets: octets.iter().copied().take(MAX_ID).collect(),
            identity: 0,
        }
    }

    /// The same hardware under this client identifier.
    pub fn under(mut self, identifier: &[u8]) -> ClientId {
        self.identity = super::fixed_hash(&identifier).max(1);
        self
    }

    /// The octets.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Whether it speaks under a client identifier.
    pub fn is_identified(&self) -> bool {
        self.identity != 0
    }

    /// The hardware alone: what all clients on one interface have in common.
    pub fn machine(&self) -> ClientId {
        ClientId {
            octets: self.octets.clone(),
            identity: 0,
        }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, octet) in self.octets.iter().enumerate() {
            write!(f, "{}{octet:02x}", if at == 0 { "" } else { ":" })?;
        }
        if self.octets.is_empty() {
            f.write_str("unknown")?;
        }
        Ok(())
    }
}

/// A server as the protocol names it: option 54 (DHCPv4) or its DUID (DHCPv6).
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum ServerId {
    V4(IpAddr),
    V6(ClientId),
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerId::V4(addr) => addr.fmt(f),
            ServerId::V6(duid) => duid.fmt(f),
        }
    }
}

/// The step of the exchange that a message is.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Verb {
    /// DISCOVER, SOLICIT.
    Discover,
    /// OFFER, ADVERTISE.
    Offer,
    /// REQUEST for an offer, answering one server's.
    Select,
    /// REQUEST (INIT-REBOOT) or CONFIRM for an address known from before.
    Reboot,
    /// REQUEST (RENEWING, unicast) or RENEW.
    Renew,
    /// REQUEST (REBINDING, broadcast) or REBIND.
    Rebind,
    /// ACK, REPLY.
    Ack,
    /// NAK, or a REPLY or ADVERTISE that refuses with a status code.
    Nak,
    Decline,
    Release,
    /// INFORM, INFORMATION-REQUEST.
    Inform,
    /// FORCERENEW, RECONFIGURE, lease queries, BOOTP, unknown types.
    Other,
}

impl Verb {
    /// The message as its RFC names it, with the state where one message has several meanings (RFC 2131 §4.3.2).
    pub const fn name(self, v6: bool) -> &'static str {
        match (self, v6) {
            (Verb::Discover, false) => "DISCOVER",
            (Verb::Discover, true) => "SOLICIT",
            (Verb::Offer, false) => "OFFER",
            (Verb::Offer, true) => "ADVERTISE",
            (Verb::Select, false) => "REQUEST (selecting)",
            (Verb::Select, true) => "REQUEST",
            (Verb::Reboot, false) => "REQUEST (init-reboot)",
            (Verb::Reboot, true) => "CONFIRM",
            (Verb::Renew, false) => "REQUEST (renewing)",
            (Verb::Renew, true) => "RENEW",
            (Verb::Rebind, false) => "REQUEST (rebinding)",
            (Verb::Rebind, true) => "REBIND",
            (Verb::Ack, false) => "ACK",
            (Verb::Ack, true) => "REPLY",
            (Verb::Nak, false) => "NAK",
            (Verb::Nak, true) => "refusal",
            (Verb::Decline, _) => "DECLINE",
            (Verb::Release, _) => "RELEASE",
            (Verb::Inform, false) => "INFORM",
            (Verb::Inform, true) => "INFORMATION-REQUEST",
            (Verb::Other, _) => "another message",
        }
    }

    /// Whether only servers say it.
    pub fn is_answer(self) -> bool {
        matches!(self, Verb::Offer | Verb::Ack | Verb::Nak)
    }

    /// Whether a client that says it expects an answer.
    pub fn is_question(self) -> bool {
        matches!(
            self,
            Verb::Discover | Verb::Select | Verb::Reboot | Verb::Renew | Verb::Rebind
        )
    }
}

/// An address or prefix with its lifetimes, as a server hands it out.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Grant {
    /// The address, or the delegated prefix.
    pub prefix: Prefix,
    /// Seconds; `u32::MAX` is forever, 0 revokes.
    pub valid: u32,
    /// Seconds until RENEW, as given or by RFC 2131 §4.4.5 (half) / RFC 8415 §21.4 (0: client's choice, half of preferred).
    pub t1: u32,
    /// Seconds until REBIND, as given or seven eighths.
    pub t2: u32,
}

/// The configuration a server gives besides the address; equal for the servers of an HA pair.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Config {
    /// Option 3, sorted.
    pub routers: SmallVec<[IpAddr; 2]>,
    /// Option 6 / 23, sorted: their order is often rotated.
    pub dns: SmallVec<[IpAddr; 2]>,
    /// Options 121, 249, 33, sorted.
    pub routes: SmallVec<[(Prefix, IpAddr); 2]>,
    /// Option 1.
    pub mask: Option<IpAddr>,
}

impl Config {
    /// Whether two servers' configurations for one client contradict each other in what decides where traffic goes. DHCPv6 gives no gateway:
    /// there a name server from one where the other gives none is the whole of an attack (mitm6), and never of an HA pair.
    pub fn contradicts(&self, other: &Config, v6: bool) -> bool {
        self.routers != other.routers
            || self.routes != other.routes
            || (self.mask.is_some() && other.mask.is_some() && self.mask != other.mask)
            || (!self.dns.is_empty()
                && !other.dns.is_empty()
                && !self.dns.iter().any(|dns| other.dns.contains(dns)))
            || (v6 && self.dns.is_empty() != other.dns.is_empty())
    }
}

/// A message in common form.
#[derive(Clone, Debug)]
pub struct Message {
    pub v6: bool,
    pub verb: Verb,
    pub client: ClientId,
    /// The client's link-layer address: chaddr, or the source of a DHCPv6 frame that passed no relay.
    pub client_mac: Option<Mac>,
    /// Option 61, or DUID with the IAIDs: the identity by which a server keeps the lease.
    pub identity: Option<ClientId>,
    pub xid: u32,
    /// The server that sends or is named.
    pub server: Option<ServerId>,
    /// Its address: option 54, or the IP source of an answer, or the destination of a unicast renewal.
    pub server_addr: Option<IpAddr>,
    /// giaddr, or the link address of the relay next to the client.
    pub relay: Option<IpAddr>,
    pub grants: SmallVec<[Grant; 1]>,
    /// Address the client asks for, confirms, uses, declines or gives back.
    pub wanted: Option<IpAddr>,
    /// All of them, delegated prefixes too.
    pub named_prefixes: SmallVec<[Prefix; 1]>,
    pub config: Config,
    /// Options the client asked for, hashed with the vendor class: who it is.
    pub fingerprint: u64,
    /// Why a server refuses: DHCPv6's status code (RFC 8415 §21.13), and its words (or a NAK's option 56).
    pub status: Option<u16>,
    pub says: Option<WireText>,
    /// An answer that names another client than the one it is sent to.
    pub misnamed: bool,
    /// An answer that names its server as it must (option 54, option 2).
    pub names_server: bool,
    /// It is sent to a client's port: an answer on its last leg.
    pub to_client: bool,
    /// The client says itself for how long it has been waiting (RFC 2131 table 1 `secs`, RFC 8415 §21.9).
    pub waits: bool,
    /// The client wants answers broadcast (RFC 2131 §4.1).
    pub broadcast: bool,
    pub checksum: Checksum,
    /// It tells a host name or FQDN.
    pub named: bool,
    /// It is a boot ROM or boot loader (PXE, HTTP boot, iPXE).
    pub boots: bool,
    /// An answer without an address that only adds boot options (ProxyDHCP, PXE specification §2.2).
    pub proxy: bool,
    /// It breaks rules: what it claims is counted with care.
    pub flawed: bool,
    /// Number of options: rogue servers' answers tend to be bare.
    pub options: usize,
    pub frame: Frame,
}

impl Message {
    /// The common form of a DHCP event; `None` for other events.
    pub fn of(event: &Event) -> Option<Message> {
        match &event.kind {
            EventKind::Dhcp4(message) => Some(Message::v4(message)),
            EventKind::Dhcp6(message) => Some(Message::v6(message)),
            _ => None,
        }
    }

    /// Whether the sender can be heard on the link itself: it passed no relay.
    pub fn is_direct(&self) -> bool {
        self.relay.is_none()
    }

    fn v4(m: &Dhcp4) -> Message {
        let broadcast = match m.frame.ip_dst {
            Some(IpAddr::V4(addr)) => addr.is_broadcast(),
            _ => true,
        };
        let verb = match m.message_type {
            Some(MessageType::Discover) => Verb::Discover,
            Some(MessageType::Offer) => Verb::Offer,
            Some(MessageType::Request) => {
                if m.server_id.is_some() {
                    Verb::Select
                } else if m.ciaddr.is_unspecified() {
                    Verb::Reboot
                } else if broadcast {
                    Verb::Rebind
                } else {
                    Verb::Renew
                }
            }
            Some(MessageType::Ack) => Verb::Ack,
            Some(MessageType::Nak) => Verb::Nak,
            Some(MessageType::Decline) => Verb::Decline,
            Some(MessageType::Release) => Verb::Release,
            Some(MessageType::Inform) => Verb::Inform,
            _ => Verb::Other,
        };
        let answer = verb.is_answer();
        let address = |a: std::net::Ipv4Addr| (!a.is_unspecified()).then_some(IpAddr::V4(a));
        let server_addr = m.server_id.and_then(address).or(if answer {
            m.frame
                .ip_src
                .filter(|_| !m.is_relayed() || m.dst_port == 68)
        } else if matches!(verb, Verb::Renew | Verb::Release) && !broadcast {
            m.frame.ip_dst
        } else {
            None
        });
        let mut config = Config {
            mask: m.subnet_mask.map(IpAddr::V4),
            ..Config::default()
        };
        config
            .routers
            .extend(m.routers.iter().copied().map(IpAddr::V4));
        config.dns.extend(m.dns.iter().copied().map(IpAddr::V4));
        config
            .routes
            .extend(m.routes.iter().map(|(_, p, gw)| (*p, IpAddr::V4(*gw))));
        sort(&mut config);
        let mut grants = SmallVec::new();
        if let (Verb::Offer | Verb::Ack, Some(addr)) = (verb, address(m.yiaddr)) {
            // Without option 51 (an answer to INFORM, BOOTP) there is no lease.
            if let Some(valid) = m.lease_time {
                grants.push(Grant {
                    prefix: Prefix::host(addr),
                    valid,
                    t1: m.t1.unwrap_or(valid / 2),
                    t2: m.t2.unwrap_or(valid - valid / 8),
                });
            }
        }
        let class = m.vendor_class.as_ref().map_or(&[][..], |t| t.octets());
        let user = m.user_class.as_ref().map_or(&[][..], |t| t.octets());
        let identity = m.client_id.as_deref().filter(|id| id.len() >= 2);
        let mut client = ClientId::new(&m.chaddr);
        if client.octets.is_empty() {
            // InfiniBand sends hlen 0 (RFC 4390): option 61 is all there is.
            client = ClientId::new(m.client_id.as_deref().unwrap_or_default());
        } else if let Some(identity) = identity {
            client = client.under(identity);
        }
        let wanted = m
            .requested_ip
            .and_then(address)
            .or_else(|| address(m.ciaddr));
        Message {
            v6: false,
            verb,
            client,
            client_mac: m.client_mac(),
            identity: identity.map(ClientId::new),
            xid: m.xid,
            server: server_addr.map(ServerId::V4),
            server_addr,
            relay: address(m.giaddr),
            grants,
            wanted,
            named_prefixes: wanted.map(Prefix::host).into_iter().collect(),
            config,
            fingerprint: super::fixed_hash(&(&m.parameters, class)),
            status: None,
            says: m.message.clone(),
            misnamed: false,
            names_server: m.server_id.is_some(),
            to_client: m.dst_port == 68,
            waits: m.secs > 0,
            broadcast: m.broadcast,
            checksum: m.checksum,
            named: m.host_name.is_some() || m.fqdn.is_some(),
            boots: class.starts_with(b"PXEClient")
                || class.starts_with(b"HTTPClient")
                || user.starts_with(b"iPXE")
                || m.architecture.is_some(),
            proxy: answer
                && m.yiaddr.is_unspecified()
                && verb != Verb::Nak
                && (class.starts_with(b"PXEClient") || class.starts_with(b"HTTPClient")),
            flawed: m.flaws.iter().any(|flaw| !flaw.is_readable()),
            options: m.options.len(),
            frame: m.frame,
        }
    }

    fn v6(m: &Dhcp6) -> Message {
        // Success (0) is no refusal; UseMulticast (5) is an instruction (RFC 8415 §21.13).
        let refusal = m.status.iter().find(|(code, _)| !matches!(code, 0 | 5));
        let refused = refusal.is_some();
        let given =
            m.addresses.iter().any(|a| a.valid > 0) || m.prefixes.iter().any(|p| p.valid > 0);
        let verb = match m.message_type {
            1 => Verb::Discover,
            2 | 7 if refused && !given => Verb::Nak,
            2 => Verb::Offer,
            3 => Verb::Select,
            4 => Verb::Reboot,
            5 => Verb::Renew,
            6 => Verb::Rebind,
            7 => Verb::Ack,
            8 => Verb::Release,
            9 => Verb::Decline,
            11 => Verb::Inform,
            _ => Verb::Other,
        };
        let answer = verb.is_answer();
        let client = m
            .client
            .as_ref()
            .map(|duid| ClientId::new(&duid.0))
            .unwrap_or_else(|| match m.frame.ip_src {
                Some(IpAddr::V6(addr)) if !answer => ClientId::new(&addr.octets()),
                _ => ClientId::new(&[]),
            });
        let mut config = Config::default();
        config.dns.extend(m.dns.iter().copied().map(IpAddr::V6));
        sort(&mut config);
        let life = |preferred: u32, valid: u32, t1: u32, t2: u32| {
            let t1 = if t1 == 0 { preferred / 2 } else { t1 };
            let t2 = if t2 == 0 {
                preferred - preferred / 5
            } else {
                t2
            };
            (valid, t1, t2)
        };
        let mut grants: SmallVec<[Grant; 1]> = SmallVec::new();
        if matches!(verb, Verb::Offer | Verb::Ack) {
            let addresses = m.addresses.iter().map(|a| {
                let ip = Prefix::host(IpAddr::V6(a.addr));
                (ip, life(a.preferred, a.valid, a.t1, a.t2))
            });
            let prefixes = m
                .prefixes
                .iter()
                .map(|p| (p.prefix, life(p.preferred, p.valid, p.t1, p.t2)));
            grants.extend(addresses.chain(prefixes).take(MAX_GRANTS).map(
                |(prefix, (valid, t1, t2))| Grant {
                    prefix,
                    valid,
                    t1,
                    t2,
                },
            ));
        }
        let addresses = m.addresses.iter().map(|a| Prefix::host(a.addr.into()));
        let named_prefixes = addresses
            .chain(m.prefixes.iter().map(|p| p.prefix))
            .take(MAX_GRANTS)
            .collect::<SmallVec<[Prefix; 1]>>();
        let relay = m.relays.last().map(|relay| IpAddr::V6(relay.link_address));
        let mut identity = m.client.as_ref().map(|duid| duid.0.to_vec());
        if let Some(identity) = &mut identity {
            let iaids = m.addresses.iter().map(|a| a.iaid);
            for iaid in iaids.chain(m.prefixes.iter().map(|p| p.iaid)).take(1) {
                identity.extend_from_slice(&iaid.to_be_bytes());
            }
        }
        let class = m.vendor_class.as_ref().map_or(&[][..], |t| t.octets());
        Message {
            v6: true,
            verb,
            client,
            client_mac: m.frame.eth_src.filter(|_| !answer && relay.is_none()),
            identity: identity
                .filter(|_| !m.addresses.is_empty() || !m.prefixes.is_empty())
                .map(|id| ClientId::new(&id)),
            xid: m.xid,
            server: m
                .server
                .as_ref()
                .map(|duid| ServerId::V6(ClientId::new(&duid.0))),
            server_addr: m.frame.ip_src.filter(|_| answer),
            relay,
            grants,
            wanted: named_prefixes.first().map(Prefix::addr),
            named_prefixes,
            config,
            fingerprint: super::fixed_hash(&(&m.requested, class)),
            status: refusal.map(|(code, _)| *code),
            says: refusal.map(|(_, text)| text.clone()),
            misnamed: false,
            names_server: m.server.is_some(),
            to_client: m.relays.is_empty(),
            waits: m.elapsed_ms.is_some_and(|elapsed| elapsed > 0),
            broadcast: false,
            checksum: m.checksum,
            named: m.fqdn.is_some(),
            boots: m.options.contains(&61), // OPTION_CLIENT_ARCH_TYPE (RFC 5970)
            proxy: false,
            flawed: !m.flaws.is_empty(),
            options: m.options.len(),
            frame: m.frame,
        }
    }
}

fn sort(config: &mut Config) {
    config.routers.sort_unstable();
    config.dns.sort_unstable();
    config.routes.sort_unstable();
    config.routes.dedup(); // 121 and 249 usually say the same
}
