//! IPv6 neighbor discovery (RFC 4861): router and neighbor messages, redirects, and the options that make routes.
//!
//! The preference bits of router advertisements (RFC 4191) and the options of RFC 8106 and RFC 8781 are read here because no crate
//! gives them. What a receiver must discard is still returned, with its flaws: forged packets are what we look for.

mod options;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv6Addr};

use super::NdContext;
use crate::event::WireText;
use crate::event::lan::{Nd, NdFlaw, NdMessage, RouterAdvertisement};
use crate::event::loss::{Malformed, Protocol};

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;
/// What a hop limit must be, so that nobody off the link can have sent it (RFC 4861 §6.1, §7.1, §8.1).
const ON_LINK_HOP_LIMIT: u8 = 255;
/// Octets of undecodable bytes that are shown.
const HEAD: usize = 32;

/// Decodes an ICMPv6 message (from its type octet); `None` for types that are not neighbor discovery, and for messages that the capture
/// cut before their fixed part ends.
pub fn decode(icmpv6: &[u8], context: &NdContext) -> Result<Option<Nd>, Malformed> {
    let Some(&message_type) = icmpv6.first() else {
        return Ok(None);
    };
    let fixed = match message_type {
        ROUTER_SOLICITATION => 8,
        ROUTER_ADVERTISEMENT => 16,
        NEIGHBOR_SOLICITATION | NEIGHBOR_ADVERTISEMENT => 24,
        REDIRECT => 40,
        _ => return Ok(None),
    };
    let Some((head, wire)) = icmpv6.split_at_checked(fixed) else {
        if context.truncated {
            return Ok(None);
        }
        return Err(Malformed {
            protocol: Protocol::Nd,
            why: WireText::from("shorter than its fixed part"),
            head: icmpv6.iter().take(HEAD).copied().collect(),
        });
    };
    let octet = |at: usize| head.get(at).copied().unwrap_or_default();
    let address = |at: usize| {
        let octets = head.get(at..).and_then(|rest| rest.first_chunk::<16>());
        Ipv6Addr::from(*octets.unwrap_or(&[0; 16]))
    };
    let message = match message_type {
        ROUTER_SOLICITATION => NdMessage::RouterSolicitation,
        ROUTER_ADVERTISEMENT => {
            NdMessage::RouterAdvertisement(Box::new(router_advertisement(&octet)))
        }
        NEIGHBOR_SOLICITATION => NdMessage::NeighborSolicitation { target: address(8) },
        NEIGHBOR_ADVERTISEMENT => NdMessage::NeighborAdvertisement {
            target: address(8),
            router: octet(4) & 0x80 != 0,
            solicited: octet(4) & 0x40 != 0,
            overriding: octet(4) & 0x20 != 0,
        },
        _ => NdMessage::Redirect {
            target: address(8),
            destination: address(24),
        },
    };
    let mut nd = Nd {
        frame: context.frame,
        message,
        source_mac: None,
        target_mac: None,
        flaws: flaws(message_type, octet(1), context),
    };
    let whole = options::fill(&mut nd, wire);
    if !whole && !context.truncated {
        nd.flaws.push(NdFlaw::Truncated);
    }
    Ok(Some(nd))
}

/// The fixed part of a router advertisement (RFC 4861 §4.2, RFC 4191 §2.2).
fn router_advertisement(octet: &impl Fn(usize) -> u8) -> RouterAdvertisement {
    let word =
        |at: usize| u32::from_be_bytes([octet(at), octet(at + 1), octet(at + 2), octet(at + 3)]);
    RouterAdvertisement {
        cur_hop_limit: octet(4),
        managed: octet(5) & 0x80 != 0,
        other: octet(5) & 0x40 != 0,
        preference: options::preference(octet(5)),
        lifetime: u16::from_be_bytes([octet(6), octet(7)]),
        reachable_ms: word(8),
        retrans_ms: word(12),
        ..RouterAdvertisement::default()
    }
}

/// Broken rules that the layers below and the header show.
fn flaws(message_type: u8, code: u8, context: &NdContext) -> Vec<NdFlaw> {
    let frame = &context.frame;
    let from_router = matches!(message_type, ROUTER_ADVERTISEMENT | REDIRECT);
    let link_local = match frame.ip_src {
        Some(IpAddr::V6(source)) => source.is_unicast_link_local(),
        Some(IpAddr::V4(_)) => false,
        None => true, // not known, not judged
    };
    [
        (
            NdFlaw::HopLimit,
            frame
                .hop_limit
                .is_some_and(|limit| limit != ON_LINK_HOP_LIMIT),
        ),
        (NdFlaw::SourceNotLinkLocal, from_router && !link_local),
        (NdFlaw::Code, code != 0),
        (
            NdFlaw::Checksum,
            context.checksum == Some(false) && !context.truncated,
        ),
        (NdFlaw::Evasive, context.evasive),
    ]
    .into_iter()
    .filter_map(|(flaw, broken)| broken.then_some(flaw))
    .collect()
}
