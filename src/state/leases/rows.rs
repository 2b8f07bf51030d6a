//! Plain rows for the report's `servers` and `clients` tables.

use std::net::IpAddr;

use serde::Serialize;

use super::Leases;
use super::client::{Client, Counts};
use super::server::Server;
use crate::event::frame::Mac;
use crate::event::{Timestamp, WireText};

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

/// One client of one scope.
#[derive(Clone, Debug, Serialize)]
pub struct ClientRow {
    /// MAC or DUID.
    pub id: String,
    pub mac: Option<Mac>,
    pub vendor_class: Option<WireText>,
    pub hostname: Option<WireText>,
    /// Option 55 (or the option request option) in wire order, with commas.
    pub fingerprint: String,
    pub circuit_id: Option<WireText>,
    pub remote_id: Option<WireText>,
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
        ClientRow {
            id: client.id.to_string(),
            mac: client.mac,
            vendor_class: client.vendor_class.clone(),
            hostname: client.host_name.clone(),
            fingerprint: codes.join(","),
            circuit_id: client.circuit_id.clone(),
            remote_id: client.remote_id.clone(),
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
