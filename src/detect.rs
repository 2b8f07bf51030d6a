//! From observations to findings: one file for each family, thresholds and their sources at the top of the file that uses them.
//!
//! Detectors see events with what they changed, and deadlines. They keep no clock and do no I/O; what they keep is bounded.

pub mod address;
pub mod arp;
pub mod audit;
pub mod baseline;
pub mod beside;
pub mod bfd;
pub mod catalogue;
pub mod damping;
pub mod dhcp;
pub mod evpn;
pub mod feed;
pub mod finding;
mod flood;
pub mod kind;
pub mod link;
pub mod mac_move;
pub mod neighbor;
pub mod prefix;
pub mod ra;
pub mod route;
pub mod rpki;
pub mod session;
pub mod subject;
pub mod vrrp;

pub use finding::{Board, Evidence, Fidelity, Finding, FindingKey, Occurrence, Reason, Severity};
pub use kind::Kind;
pub use subject::{Subject, Touch};

use crate::event::{Classes, Timestamp};
use crate::state::{NetState, Observation};

/// Another of the same, as it stands: a replay keeps engines of moments that it may go back to.
#[diagnostic::on_unimplemented(
    message = "the detector `{Self}` cannot be copied",
    note = "derive Clone for it: a replay keeps copies of engines to go back to"
)]
pub trait Copied {
    /// The copy.
    fn copied(&self) -> Box<dyn Detector>;
}

impl<D: Detector + Clone + 'static> Copied for D {
    fn copied(&self) -> Box<dyn Detector> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Detector> {
    fn clone(&self) -> Self {
        // Of what is in the box, not of the box.
        self.as_ref().copied()
    }
}

/// A detector of one family of anomalies.
pub trait Detector: Copied + Send {
    /// For messages about the detector itself.
    fn name(&self) -> &'static str;

    /// The event classes it wants to observe.
    fn wants(&self) -> Classes;

    /// Sees one event and what it changed.
    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board);

    /// The next time at which it wants [`Detector::expire`], if any.
    fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// `now` is the deadline itself, never later: deadlines fire before the event behind them.
    fn expire(&mut self, _now: Timestamp, _net: &NetState, _board: &mut Board) {}

    /// End of input at `now`. Not the end of time: detectors of absence drop what they wait for, others conclude (`truncated`).
    fn finish(&mut self, _now: Timestamp, _net: &NetState, _board: &mut Board) {}
}

/// What detectors need to be told (own prefixes and ASNs, declared servers, profiles).
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `--own-prefix`: the operator's address space.
    pub own_prefixes: Vec<crate::event::Prefix>,
    /// `--own-as`.
    pub own_as: Vec<u32>,
    /// DHCP servers that are legitimate (addresses).
    pub dhcp_servers: Vec<std::net::IpAddr>,
    /// DHCP relays that are meant to be there (giaddr or link address).
    pub dhcp_relays: Vec<std::net::IpAddr>,
    /// Routers that may advertise themselves.
    pub routers: Vec<std::net::IpAddr>,
    /// Gateways that DHCP may hand out.
    pub gateways: Vec<std::net::IpAddr>,
    /// What earlier runs learned (`--state`).
    pub baseline: baseline::Baseline,
}

/// Every detector, in the order of judgement: telemetry first, then from the link upwards.
pub fn all(settings: &Settings) -> Vec<Box<dyn Detector>> {
    let mut detectors: Vec<Box<dyn Detector>> = Vec::new();
    feed::register(settings, &mut detectors);
    link::register(settings, &mut detectors);
    mac_move::register(settings, &mut detectors);
    address::register(settings, &mut detectors);
    neighbor::register(settings, &mut detectors);
    vrrp::register(settings, &mut detectors);
    arp::register(settings, &mut detectors);
    ra::register(settings, &mut detectors);
    dhcp::register(settings, &mut detectors);
    // Behind those that can name more than a flood.
    flood::register(settings, &mut detectors);
    bfd::register(settings, &mut detectors);
    session::register(settings, &mut detectors);
    prefix::register(settings, &mut detectors);
    evpn::register(settings, &mut detectors);
    // After the conflicts of which it says more.
    rpki::register(settings, &mut detectors);
    route::register(settings, &mut detectors);
    audit::register(settings, &mut detectors);
    // After the losses that it explains.
    beside::register(settings, &mut detectors);
    detectors
}
