//! What UPDATEs held that nothing is said about: families without keys, and flaws. Counted by name, for the report's blind spots.

use std::collections::BTreeMap;

use crate::event::bgp::{ErrorAction, Family, Update};

/// Families that are counted apart; IANA has assigned some thirty.
const MAX_FAMILIES: usize = 32;
/// Flaws that are counted apart: by action, attribute and what is wrong there are a few dozen.
const MAX_FLAWS: usize = 64;
/// Flaws that are told, the most frequent first.
const TOLD: usize = 4;

/// The counts.
#[derive(Clone, Default)]
pub struct Unfollowed {
    families: BTreeMap<Family, u64>,
    flaws: BTreeMap<(ErrorAction, u8, &'static str), u64>,
}

impl Unfollowed {
    /// Takes note of an UPDATE.
    #[inline]
    pub fn note(&mut self, update: &Update) {
        if !update.other_families.is_empty() || !update.errors.is_empty() {
            self.count(update);
        }
    }

    #[cold]
    fn count(&mut self, update: &Update) {
        for (family, _) in &update.other_families {
            add(&mut self.families, *family, MAX_FAMILIES);
        }
        for error in &update.errors {
            let flaw = (error.action, error.attribute, error.why);
            add(&mut self.flaws, flaw, MAX_FLAWS);
        }
    }

    /// One sentence for each.
    pub fn sentences(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (family, count) in &self.families {
            // Of EVPN the MAC/IP, multicast and prefix routes are followed.
            let what = match (family.afi, family.safi) {
                (25, 70) => "other EVPN routes (Ethernet segments and their kin)".to_owned(),
                _ => format!("{family} routes"),
            };
            let carry = if *count == 1 { "carries" } else { "carry" };
            all.push(format!(
                "{} {carry} {what}, which are counted and not followed",
                updates(*count)
            ));
        }
        let mut flaws: Vec<_> = self.flaws.iter().collect();
        flaws.sort_by_key(|(flaw, count)| (std::cmp::Reverse(**count), **flaw));
        for ((action, attribute, why), count) in flaws.into_iter().take(TOLD) {
            let therefore = match action {
                ErrorAction::AttributeDiscard => "the routes count, without what is wrong",
                ErrorAction::TreatAsWithdraw => {
                    "the routes count as withdrawn (RFC 7606 §2), as for the speaker that received them"
                }
                ErrorAction::AfiSafiDisable | ErrorAction::SessionReset => {
                    "the routes in them are unknown"
                }
            };
            all.push(format!(
                "{} {} flawed ({}{why}): {therefore}",
                updates(*count),
                if *count == 1 { "is" } else { "are" },
                attribute_name(*attribute)
            ));
        }
        all
    }
}

fn add<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, most: usize) {
    let room = counts.len() < most;
    match counts.get_mut(&key) {
        Some(count) => *count = count.saturating_add(1),
        None if room => {
            counts.insert(key, 1);
        }
        None => {}
    }
}

fn updates(count: u64) -> String {
    match count {
        1 => "1 UPDATE".to_owned(),
        _ => format!("{count} UPDATEs"),
    }
}

/// IANA, "BGP Path Attributes", those that are judged; nothing for the message itself.
fn attribute_name(code: u8) -> String {
    let name = match code {
        0 => return String::new(),
        1 => "ORIGIN",
        2 => "AS_PATH",
        3 => "NEXT_HOP",
        4 => "MULTI_EXIT_DISC",
        5 => "LOCAL_PREF",
        6 => "ATOMIC_AGGREGATE",
        7 => "AGGREGATOR",
        8 => "COMMUNITIES",
        9 => "ORIGINATOR_ID",
        10 => "CLUSTER_LIST",
        14 => "MP_REACH_NLRI",
        15 => "MP_UNREACH_NLRI",
        16 => "extended communities",
        17 => "AS4_PATH",
        18 => "AS4_AGGREGATOR",
        25 => "IPv6 extended communities",
        26 => "AIGP",
        32 => "large communities",
        35 => "only-to-customer",
        other => return format!("attribute {other}: "),
    };
    format!("{name}: ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::bgp::UpdateError;

    #[test]
    fn families_and_flaws_are_told_by_name_with_what_became_of_the_routes() {
        let mut seen = Unfollowed::default();
        assert!(seen.sentences().is_empty());
        seen.note(&Update::default());
        let flawed = |action| Update {
            errors: vec![UpdateError {
                action,
                attribute: 3,
                why: "mandatory attribute is missing",
            }],
            ..Update::default()
        };
        for _ in 0..3 {
            seen.note(&flawed(ErrorAction::AttributeDiscard));
        }
        seen.note(&flawed(ErrorAction::TreatAsWithdraw));
        seen.note(&Update {
            other_families: vec![(Family { afi: 1, safi: 133 }, 9)],
            ..Update::default()
        });
        assert_eq!(
            seen.sentences(),
            [
                "1 UPDATE carries IPv4 FlowSpec routes, which are counted and not followed",
                "3 UPDATEs are flawed (NEXT_HOP: mandatory attribute is missing): the routes count, without what is wrong",
                "1 UPDATE is flawed (NEXT_HOP: mandatory attribute is missing): the routes count as withdrawn (RFC 7606 §2), as for the speaker \
                 that received them",
            ]
        );
    }
}
