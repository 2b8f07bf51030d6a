//! The UPDATE message: withdrawn routes, attributes and NLRI folded into one [`Update`].

use super::attributes::{self, Found};
use super::nlri::{self, Layout};
use super::{Cursor, HEADER, Reading};
use crate::event::bgp::{ErrorAction, Family, Nlri, Update, UpdateError};

/// Reads the body (behind the header) into `out`, whose buffers are reused.
pub(super) fn body(body: &[u8], reading: &Reading, out: &mut Update) {
    out.clear();
    out.size = u16::try_from(body.len() + HEADER).unwrap_or(u16::MAX);
    out.inferred = reading.inferred;
    let Some((withdrawn, attributes, announced)) = fields(body) else {
        // RFC 7606 §3 b: where the fields begin is not known, so nothing can be saved.
        error(
            out,
            ErrorAction::SessionReset,
            0,
            "withdrawn or attribute length exceeds the message",
        );
        return;
    };
    if withdrawn.is_empty() && attributes.is_empty() && announced.is_empty() {
        out.end_of_rib = Some(Family::IPV4_UNICAST);
        return;
    }
    let unicast = Layout::of(Family::IPV4_UNICAST);
    let add_path = reading.add_path.contains(Family::IPV4_UNICAST);
    if let Err(why) = nlri::read(withdrawn, unicast, add_path, &mut out.withdrawn) {
        error(out, ErrorAction::SessionReset, 0, why);
    }
    let found = attributes::read(
        attributes,
        reading.as4,
        &mut out.attributes,
        &mut out.errors,
    );
    if let Err(why) = nlri::read(announced, unicast, add_path, &mut out.announced) {
        error(out, ErrorAction::SessionReset, 0, why);
    }
    out.attributes.next_hop = found.next_hop;
    if let Some(value) = found.mp_reach {
        reach(value, reading, announced.is_empty(), out);
    }
    if let Some(value) = found.mp_unreach {
        let alone = found.only_unreach() && withdrawn.is_empty() && announced.is_empty();
        unreach(value, reading, alone, out);
    }
    judge(&found, !announced.is_empty(), reading.reported, out);
}

/// The three variable fields (RFC 4271 §4.3).
pub(super) fn fields(body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut cursor = Cursor(body);
    let withdrawn = cursor.counted16()?;
    let attributes = cursor.counted16()?;
    Some((withdrawn, attributes, cursor.0))
}

/// Family, next hop and NLRI of MP_REACH_NLRI (RFC 4760 §3).
pub(crate) fn split_reach(value: &[u8]) -> Option<(Family, &[u8], &[u8])> {
    let mut cursor = Cursor(value);
    let family = attributes::family(&mut cursor)?;
    let next_hop = cursor.counted8()?;
    cursor.u8()?; // reserved; once the number of SNPAs, which nobody sent
    Some((family, next_hop, cursor.0))
}

fn reach(value: &[u8], reading: &Reading, sets_next_hop: bool, out: &mut Update) {
    let Some((family, next_hop, routes)) = split_reach(value) else {
        error(
            out,
            ErrorAction::SessionReset,
            attributes::MP_REACH,
            "MP_REACH shorter than its fixed part",
        );
        return;
    };
    let layout = Layout::of(family);
    match attributes::next_hops(next_hop) {
        Some((global, link_local)) if sets_next_hop => {
            out.attributes.next_hop = global.or(out.attributes.next_hop);
            out.attributes.next_hop_link_local = link_local;
        }
        Some(_) => {}
        // Families without keys may have next hops of their own shape.
        None if layout == Layout::Other => {}
        // RFC 7606 §7.11.
        None => {
            error(
                out,
                ErrorAction::AfiSafiDisable,
                attributes::MP_REACH,
                "next hop has a wrong length",
            );
            // What it would have announced is read for its name only.
            let mut named = Vec::new();
            let add_path = reading.add_path.contains(family);
            if nlri::read(routes, layout, add_path, &mut named).is_ok() {
                out.lost = named.first().copied();
            }
            return;
        }
    }
    let before = out.announced.len();
    let add_path = reading.add_path.contains(family);
    match nlri::read(routes, layout, add_path, &mut out.announced) {
        Ok(0) => {}
        Ok(keyless) => other(out, family, keyless),
        Err(why) => {
            out.announced.truncate(before);
            error(out, ErrorAction::AfiSafiDisable, attributes::MP_REACH, why);
        }
    }
}

fn unreach(value: &[u8], reading: &Reading, alone: bool, out: &mut Update) {
    let mut cursor = Cursor(value);
    let Some(family) = attributes::family(&mut cursor) else {
        error(
            out,
            ErrorAction::SessionReset,
            attributes::MP_UNREACH,
            "MP_UNREACH shorter than its family",
        );
        return;
    };
    if cursor.is_empty() && alone {
        out.end_of_rib = Some(family);
        return;
    }
    let before = out.withdrawn.len();
    let add_path = reading.add_path.contains(family);
    match nlri::read(cursor.0, Layout::of(family), add_path, &mut out.withdrawn) {
        Ok(0) => {}
        Ok(keyless) => other(out, family, keyless),
        Err(why) => {
            out.withdrawn.truncate(before);
            error(
                out,
                ErrorAction::AfiSafiDisable,
                attributes::MP_UNREACH,
                why,
            );
        }
    }
}

fn other(out: &mut Update, family: Family, octets: u32) {
    out.other_families.push((family, octets));
}

fn error(out: &mut Update, action: ErrorAction, attribute: u8, why: &'static str) {
    out.errors.push(UpdateError {
        action,
        attribute,
        why,
    });
}

/// Lets the worst error decide what becomes of the routes (RFC 7606 §2). Of a table that is reported, no flaw of an attribute takes a route away.
fn judge(found: &Found<'_>, body_nlri: bool, reported: bool, out: &mut Update) {
    if !out.announced.is_empty()
        && let Some(code) = found.missing(body_nlri)
    {
        error(
            out,
            ErrorAction::TreatAsWithdraw,
            code,
            "mandatory attribute is missing",
        );
    }
    if reported {
        for error in &mut out.errors {
            if error.action == ErrorAction::TreatAsWithdraw {
                error.action = ErrorAction::AttributeDiscard;
            }
        }
    }
    match out.errors.iter().map(|error| error.action).max() {
        Some(ErrorAction::SessionReset) => {
            out.lost = out.announced.first().or(out.lost.as_ref()).copied();
            out.announced.clear();
            out.withdrawn.clear();
            out.other_families.clear();
        }
        Some(ErrorAction::TreatAsWithdraw) => withdraw_announced(out),
        // Disabling a family does not cure what another attribute's damage means for the other family.
        Some(ErrorAction::AfiSafiDisable)
            if out
                .errors
                .iter()
                .any(|error| error.action == ErrorAction::TreatAsWithdraw) =>
        {
            withdraw_announced(out);
        }
        _ => {}
    }
}

/// RFC 7606 §2 treat-as-withdraw: as if the announced routes had been listed as withdrawn.
fn withdraw_announced(out: &mut Update) {
    let announced: &mut Vec<Nlri> = &mut out.announced;
    out.withdrawn.append(announced);
}
