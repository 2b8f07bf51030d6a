//! Evidence on which of two contradicting servers is the legitimate one, and its telling.

use std::net::IpAddr;
use std::time::Duration;

use crate::state::leases::server::Server;

/// A server that was alone for so long is established (knowledge G7: learning period).
pub const ESTABLISHED: Duration = Duration::from_secs(900);

/// Offers of two servers for one DISCOVER come within this time (conflict checks by ping take half a second); what answers first this
/// much later was not there before.
const APART: Duration = Duration::from_secs(2);

/// Signs that `server`, and not `other`, is the real one, with their weight.
pub fn legitimacy(server: &Server, other: &Server) -> (i32, Vec<&'static str>) {
    let mut signs = Vec::new();
    let mut score = 0;
    let mut sign = |holds: bool, weight: i32, what: &'static str| {
        if holds {
            score += weight;
            signs.push(what);
        }
    };
    sign(
        server.old_renewals > other.old_renewals,
        3,
        "clients renew with it what it leased them before",
    );
    sign(
        other.first.since(server.first) >= ESTABLISHED,
        3,
        "it served alone for long before the other came",
    );
    sign(
        server.acks > 0 && other.first.since(server.first) >= APART,
        1,
        "it served clients before the other answered any",
    );
    let named_by_other = server.addr.is_some_and(|addr| {
        other.config.routers.contains(&addr) || other.config.dns.contains(&addr)
    });
    sign(
        named_by_other,
        2,
        "the other names it as gateway or name server",
    );
    sign(
        other
            .addr
            .is_some_and(|addr| other.config.routes.iter().any(|(_, gw)| *gw == addr)),
        2,
        "the other adds routes to itself",
    );
    sign(
        server.options > other.options.saturating_add(1),
        1,
        "its answers are complete where the other's are bare",
    );
    let longer = |a: Option<u32>, b: Option<u32>| match (a, b) {
        (Some(a), Some(b)) => a / 4 > b,
        _ => false,
    };
    sign(
        longer(server.lease_time, other.lease_time),
        1,
        "the other's leases are unusually short",
    );
    sign(
        other.foreign_naks > server.foreign_naks,
        2,
        "the other refuses clients that hold its leases",
    );
    sign(
        server.leases > other.leases.saturating_mul(4).saturating_add(4),
        2,
        "it holds most leases",
    );
    (score, signs)
}

/// It makes itself gateway or name server, or adds routes.
pub fn takes_over(server: &Server) -> bool {
    !server.config.routes.is_empty()
        || server.addr.is_some_and(|addr| {
            server.config.routers.contains(&addr) || server.config.dns.contains(&addr)
        })
}

/// The finding's sentence.
pub fn explain(rogue: &Server, real: &Server, signs: &[&str], decided: bool) -> String {
    let says = |server: &Server| {
        let list = |addresses: &[IpAddr]| {
            let names: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            if names.is_empty() {
                "none".into()
            } else {
                names.join(", ")
            }
        };
        format!(
            "gateway {}, DNS {}",
            list(&server.config.routers),
            list(&server.config.dns)
        )
    };
    let mut text = format!(
        "{} and {} give the same clients contradicting answers ({}; {}).",
        rogue.id,
        real.id,
        says(rogue),
        says(real)
    );
    if decided {
        text.push_str(&format!(
            " {} is the unexpected one: of {} it holds that {}.",
            rogue.id,
            real.id,
            signs.join("; ")
        ));
    } else {
        text.push_str(" What was seen does not tell which of them is legitimate.");
    }
    if takes_over(rogue) {
        text.push_str(" It directs traffic or names to itself.");
    }
    text
}
