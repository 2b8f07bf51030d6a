//! Plain rows for the report's `servers` and `clients` tables.

use std::net::IpAddr;

use serde::Serialize;

use super::Leases;
use super::client::{Client, Counts};
use super::server::Server;
use crate::event::frame::Mac;
use crate::event::{Timestamp, WireText};
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
}

/// The lease a client holds.
#[derive(Clone, Debug, Serialize)]
pub struct LeaseRow {
    pub address: IpAddr,
    pub server: String,
    pub from: Timestamp,
    /// `None` is forever.
    pub until: Option<Timestamp>,
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
    /// Option 60, or DHCPv6's option 16.
    pub vendor_class: Option<WireText>,
    pub hostname: Option<WireText>,
    /// Option 55 (or the option request option) in wire order, with commas.
    pub fingerprint: String,
    /// Option 82's circuit id, or the relay's interface id: the port.
    pub circuit_id: Option<WireText>,
    pub remote_id: Option<WireText>,
    /// Relays on the way, the one next to it first.
    pub relays: Vec<IpAddr>,
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
    /// Its last exchanges, oldest first.
    pub exchanges: Vec<ExchangeRow>,
}

/// A DUID that holds a link-layer address tells it (RFC 8415 §11.2, §11.4): type 1 after the time, type 3 at once; hardware type 1 is Ethernet.
fn mac_of_duid(octets: &[u8]) -> Option<Mac> {
    let address = match octets {
        [0, 1, 0, 1, _, _, _, _, address @ ..] | [0, 3, 0, 1, address @ ..] => address,
        _ => return None,
    };
    <[u8; 6]>::try_from(address).ok().map(Mac)
}

impl Leases {
    /// All servers, by scope and id.
    pub fn server_rows(&self) -> Vec<ServerRow> {
        self.servers.iter().map(ServerRow::of).collect()
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
            let lease = self.held_at(client.scope, address)?;
            Some(LeaseRow {
                address,
                server: lease.server.to_string(),
                from: lease.granted,
                until: (lease.until < Timestamp::MAX).then_some(lease.until),
            })
        });
        let mac = client
            .mac
            .or_else(|| mac_of_duid(client.id.octets()).filter(|_| client.v6));
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
            identity: client.identity.as_ref().map(ToString::to_string),
            vendor_class: client.vendor_class.clone(),
            hostname: client.host_name.clone(),
            fingerprint: codes.join(","),
            circuit_id: client.circuit_id.clone(),
            remote_id: client.remote_id.clone(),
            relays: client.relays.to_vec(),
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
        }
    }
}
