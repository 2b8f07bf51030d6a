//! Plain rows for the report's `servers` and `clients` tables.

use std::net::IpAddr;

use serde::Serialize;

use super::client::{Client, Counts};
use super::identity::{self, Identifier};
use super::server::Server;
use super::{Leases, message};
use crate::event::frame::Mac;
use crate::event::{Prefix, Timestamp, WireText};
use crate::state::oui;

/// One server of one scope.
#[derive(Clone, Debug, Serialize)]
pub struct ServerRow {
    pub address: Option<IpAddr>,
    pub mac: Option<Mac>,
    /// Option 54 or the DUID.
    pub id: String,
    pub first: Timestamp,
    pub last: Timestamp,
    pub offers: u64,
    pub acks: u64,
    pub naks: u64,
    /// Leases it holds at the end of what was seen.
    pub leases: u64,
    /// Seconds.
    pub lease_time: Option<u32>,
    pub routers: Vec<IpAddr>,
    pub dns: Vec<IpAddr>,
    /// VLANs of the network it serves, from the outermost.
    pub vlans: Vec<u16>,
}

/// The lease a client holds.
#[derive(Clone, Debug, Serialize)]
pub struct LeaseRow {
    pub address: IpAddr,
    /// The whole delegated prefix, where it is one.
    pub prefix: Option<Prefix>,
    pub server: String,
    pub from: Timestamp,
    /// `None` is forever.
    pub until: Option<Timestamp>,
}

/// What a server gave or offered it last, besides the address.
#[derive(Clone, Debug, Serialize)]
pub struct GivenRow {
    pub server: String,
    pub mask: Option<IpAddr>,
    pub routers: Vec<IpAddr>,
    pub dns: Vec<IpAddr>,
    /// Options 121, 249 and 33: prefix and gateway.
    pub routes: Vec<(Prefix, IpAddr)>,
}

/// Messages with one transaction id.
#[derive(Clone, Debug, Serialize)]
pub struct ExchangeRow {
    pub xid: u32,
    pub began: Timestamp,
    pub asked: &'static str,
    /// How often it asked that since it was last answered.
    pub tries: u32,
    /// Address of the last offer, and who made it.
    pub offered: Option<IpAddr>,
    pub server: Option<String>,
    pub answered: Option<Timestamp>,
}

/// One client of one scope.
#[derive(Clone, Debug, Serialize)]
pub struct ClientRow {
    /// MAC or DUID.
    pub id: String,
    /// `dhcpv4` or `dhcpv6`.
    pub protocol: &'static str,
    pub mac: Option<Mac>,
    /// Who made its interface: a name, or the first three octets.
    pub oui: Option<String>,
    /// Option 61, or DUID and IAID, where it differs from the id.
    pub identity: Option<String>,
    /// The same taken apart.
    pub identifier: Option<Identifier>,
    /// What runs on it, and by what that was told.
    pub class: Option<&'static str>,
    pub class_by: Option<&'static str>,
    /// Option 60, or DHCPv6's option 16.
    pub vendor_class: Option<WireText>,
    /// DHCPv6: whose vendor class it is, by name where it is a known one.
    pub enterprise: Option<String>,
    /// Option 77.
    pub user_class: Option<WireText>,
    /// Option 93.
    pub architecture: Option<u16>,
    pub hostname: Option<WireText>,
    /// Option 55 (or the option request option) in wire order, with commas.
    pub fingerprint: String,
    /// Option 82's circuit id, or the relay's interface id: the port.
    pub circuit_id: Option<String>,
    pub remote_id: Option<String>,
    /// Relays on the way, the one next to it first.
    pub relays: Vec<IpAddr>,
    /// VLANs in which it was heard, from the outermost.
    pub vlans: Vec<u16>,
    /// What it asked last, for which address, and what it got.
    pub asked: Option<&'static str>,
    pub wanted: Option<IpAddr>,
    pub got: Option<&'static str>,
    pub first: Timestamp,
    pub last: Timestamp,
    pub discovers: u64,
    pub offers: u64,
    pub requests: u64,
    pub acks: u64,
    pub naks: u64,
    pub declines: u64,
    pub releases: u64,
    pub informs: u64,
    pub lease: Option<LeaseRow>,
    pub given: Option<GivenRow>,
    /// Its last exchanges, oldest first.
    pub exchanges: Vec<ExchangeRow>,
}

/// A port's name as its switch or relay wrote it; most write numbers, which only hexadecimal shows as they are.
fn port(id: &WireText) -> String {
    let octets = id.octets();
    if octets.iter().all(|c| c.is_ascii_graphic() || *c == b' ') {
        return id.to_string();
    }
    let hex: Vec<String> = octets.iter().map(|c| format!("{c:02x}")).collect();
    format!("0x{}", hex.concat())
}

fn given(server: &message::ServerId, config: &message::Config) -> GivenRow {
    GivenRow {
        server: server.to_string(),
        mask: config.mask,
        routers: config.routers.to_vec(),
        dns: config.dns.to_vec(),
        routes: config.routes.to_vec(),
    }
}

impl Leases {
    /// All servers, by scope and id.
    pub fn server_rows(&self) -> Vec<ServerRow> {
        let row = |server: &Server| ServerRow {
            vlans: self.scopes.vlans(server.scope).collect(),
            ..ServerRow::of(server)
        };
        self.servers.iter().map(row).collect()
    }

    /// All clients, by id and scope.
    pub fn client_rows(&self) -> Vec<ClientRow> {
        self.clients
            .sorted()
            .into_iter()
            .map(|client| self.client_row(client))
            .collect()
    }

    /// One client.
    pub fn client_row(&self, client: &Client) -> ClientRow {
        let Counts {
            discovers,
            offers,
            requests,
            acks,
            naks,
            declines,
            releases,
            informs,
        } = client.counts;
        let codes: Vec<String> = client.fingerprint.iter().map(u16::to_string).collect();
        let lease = client.lease.and_then(|address| {
            let (prefix, lease) = self.held_at(client.scope, address)?;
            Some(LeaseRow {
                address,
                prefix: Some(prefix).filter(|prefix| *prefix != Prefix::host(address)),
                server: lease.server.to_string(),
                from: lease.granted,
                until: (lease.until < Timestamp::MAX).then_some(lease.until),
            })
        });
        let identity = client.identity.as_ref();
        let identifier = if client.v6 {
            Some(Identifier::of_duid(
                client.id.octets(),
                identity.map(message::ClientId::octets),
            ))
        } else {
            identity.map(|identity| Identifier::of_option(identity.octets()))
        };
        // A DUID that holds a link-layer address tells it, be it from behind a relay.
        let inside = identifier.as_ref().and_then(|id| id.mac);
        let mac = client.mac.or(inside.filter(|_| client.v6));
        let (class, class_by) = identity::class(client).unzip();
        let latest = client.configs.iter().max_by_key(|(.., seen)| *seen);
        let (asked, wanted) = client.asked.unzip();
        let exchanges = client.exchanges.iter().map(|exchange| {
            let (server, offered) = exchange.offered.clone().unzip();
            ExchangeRow {
                xid: exchange.xid,
                began: exchange.began,
                asked: exchange.verb.name(client.v6),
                tries: exchange.tries,
                offered,
                server: server.map(|server| server.to_string()),
                answered: exchange.answered,
            }
        });
        ClientRow {
            id: client.id.to_string(),
            protocol: if client.v6 { "dhcpv6" } else { "dhcpv4" },
            mac,
            oui: mac.map(|mac| oui::vendor(mac).map_or_else(|| oui::block(mac), str::to_owned)),
            identity: identity.map(ToString::to_string),
            identifier,
            class,
            class_by,
            vendor_class: client.vendor_class.clone(),
            enterprise: client.enterprise.map(|number| {
                identity::maker(number).map_or_else(|| number.to_string(), str::to_owned)
            }),
            user_class: client.user_class.clone(),
            architecture: client.architecture,
            hostname: client.host_name.clone(),
            fingerprint: codes.join(","),
            circuit_id: client.circuit_id.as_ref().map(port),
            remote_id: client.remote_id.as_ref().map(port),
            relays: client.relays.to_vec(),
            vlans: self.scopes.vlans(client.scope).collect(),
            asked: asked.map(|verb| verb.name(client.v6)),
            wanted: wanted.flatten(),
            got: client.got.map(|verb| verb.name(client.v6)),
            first: client.first,
            last: client.last,
            discovers,
            offers,
            requests,
            acks,
            naks,
            declines,
            releases,
            informs,
            lease,
            given: latest.map(|(server, config, _)| given(server, config)),
            exchanges: exchanges.collect(),
        }
    }
}

impl ServerRow {
    /// From a server.
    pub fn of(server: &Server) -> ServerRow {
        ServerRow {
            address: server.addr,
            mac: server.macs.last().copied(),
            id: server.id.to_string(),
            first: server.first,
            last: server.last,
            offers: server.offers,
            acks: server.acks,
            naks: server.naks,
            leases: server.leases,
            lease_time: server.lease_time,
            routers: server.config.routers.to_vec(),
            dns: server.config.dns.to_vec(),
            vlans: Vec::new(),
        }
    }
}
