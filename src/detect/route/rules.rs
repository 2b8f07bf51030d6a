//! `route.rule-lost`: a policy rule is gone, and with it the way into a table.
//!
//! Linux asks the rules which tables to look at (`ip-rule(8)`): a table that no rule names is not there, whatever stands in it. Without `lookup local` the
//! host does not take packets to its own addresses any more, without `lookup main` its routes lead nowhere; a selective rule (`from ADDRESS
//! lookup N`) takes the way back of one uplink. What matters is whether another rule still leads into the table: moving `local` behind the VRFs' rule
//! (Documentation/networking/vrf.rst) is two commands, and no loss. Daemons that manage "foreign" rules (systemd-networkd) delete what others set up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::detect::link::kernel::{actor, placed};
use crate::detect::{Board, Detector, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::netlink::{Action, Dumped, RuleEvent};
use crate::event::{Classes, EventKind, Locator, Prefix, Timestamp};
use crate::state::routes::{TABLE_LOCAL, TABLE_MAIN};
use crate::state::{NetState, Observation};

/// A rule that comes back within this was rewritten by a script in two steps, as with default routes.
const REWRITE: Duration = Duration::from_secs(1);
/// Who takes a table down deletes its rules first and its routes then: what is left after this was not meant.
const TEARDOWN: Duration = Duration::from_secs(5);
/// Rules known at once; hosts with a rule for each tenant have thousands, 100 octets each.
const MAX_RULES: usize = 16_384;
/// Deletions that wait for judgement, and tables that were lost.
const MAX_WAITING: usize = 256;
/// Own addresses named, by which sessions are found that fall with the rule.
const MAX_TOUCHED: usize = 64;
/// `FR_ACT_TO_TBL`.
const TO_TABLE: u8 = 1;

/// What makes a rule another one.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd)]
struct Rule {
    ipv6: bool,
    table: u32,
    priority: u32,
    src: Option<Prefix>,
    dst: Option<Prefix>,
    fwmark: Option<u32>,
    iif: Option<Box<str>>,
    oif: Option<Box<str>>,
}

impl Rule {
    fn of(rule: &RuleEvent) -> Rule {
        let given = |prefix: Option<Prefix>| prefix.filter(|prefix| !prefix.is_default());
        Rule {
            ipv6: rule.ipv6,
            table: rule.table,
            priority: rule.priority,
            src: given(rule.src),
            dst: given(rule.dst),
            fwmark: rule.fwmark.filter(|mark| *mark != 0),
            iif: rule.iif.clone(),
            oif: rule.oif.clone(),
        }
    }

    /// It holds for every packet.
    fn is_for_all(&self) -> bool {
        self.src.is_none()
            && self.dst.is_none()
            && self.fwmark.is_none()
            && self.iif.is_none()
            && self.oif.is_none()
    }

    /// As `ip rule` writes it.
    fn words(&self) -> String {
        let mut words = match self.src {
            Some(src) => format!("from {src}"),
            None => "from all".to_owned(),
        };
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                words.push_str(&format!(" {name} {value}"));
            }
        };
        add("to", self.dst.map(|dst| dst.to_string()));
        add("fwmark", self.fwmark.map(|mark| format!("{mark:#x}")));
        add("iif", self.iif.as_deref().map(str::to_owned));
        add("oif", self.oif.as_deref().map(str::to_owned));
        format!("{words} lookup {}", table_name(self.table))
    }
}

fn table_name(table: u32) -> String {
    match table {
        TABLE_LOCAL => "local".to_owned(),
        TABLE_MAIN => "main".to_owned(),
        253 => "default".to_owned(),
        other => other.to_string(),
    }
}

/// A deletion that waits.
#[derive(Clone)]
struct Deleted {
    rule: Rule,
    at: Timestamp,
    locator: Locator,
    by: u32,
}

/// A table into which no rule leads any more, or did not for a while.
#[derive(Clone)]
struct Lost {
    key: FindingKey,
    since: Timestamp,
    /// A rule leads there again.
    is_back: bool,
    /// Who deleted what.
    what: String,
    /// What the host does not do meanwhile.
    meanwhile: String,
}

#[derive(Clone, Default)]
pub(super) struct RuleDetector {
    rules: BTreeSet<Rule>,
    /// A dump said what is there, for IPv4 and IPv6.
    dumped: [bool; 2],
    waiting: BTreeMap<(Timestamp, Rule), Deleted>,
    lost: BTreeMap<(bool, u32), Lost>,
}

impl Detector for RuleDetector {
    fn name(&self) -> &'static str {
        "route.rules"
    }

    fn wants(&self) -> Classes {
        Classes::RULE.and(Classes::DUMP_DONE)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        match &seen.event.kind {
            EventKind::Rule(rule) if rule.act <= TO_TABLE => {
                self.rule(rule, seen, net, board);
            }
            EventKind::DumpDone(done) if done.what == Dumped::Rules => {
                for (slot, family) in self.dumped.iter_mut().zip([2, 10]) {
                    *slot |= done.family.is_none_or(|of| of == family || of == 0);
                }
            }
            _ => {}
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        while let Some(entry) = self.waiting.first_entry().filter(|e| e.key().0 <= now) {
            let deleted = entry.remove();
            self.judge(&deleted, net, board);
        }
    }
}

impl RuleDetector {
    fn rule(
        &mut self,
        event: &RuleEvent,
        seen: &Observation<'_>,
        net: &NetState,
        board: &mut Board,
    ) {
        let rule = Rule::of(event);
        let (at, table) = (seen.event.at, (rule.ipv6, rule.table));
        if event.action == Action::New {
            self.waiting.retain(|(_, waits), _| *waits != rule);
            if let Some(lost) = self.lost.get_mut(&table)
                && !lost.is_back
                && (rule.is_for_all() || !is_basic(rule.table))
            {
                lost.is_back = true;
                board.update(lost.key, |finding| {
                    finding.support(seen.event);
                    finding.recovered(at);
                    finding.ended = Some(at);
                    finding.broken.subject = false;
                    finding.explain = format!(
                        "{}; {:.1} s later a rule led there again; meanwhile {}",
                        lost.what,
                        at.since(lost.since).as_secs_f64(),
                        lost.meanwhile
                    );
                });
            }
            if self.rules.len() < MAX_RULES {
                self.rules.insert(rule);
            }
            return;
        }
        self.rules.remove(&rule);
        let wait = if is_basic(rule.table) {
            REWRITE
        } else {
            TEARDOWN
        };
        // Nothing that was in a table of which nothing is known can be missed.
        let matters = is_basic(rule.table) || has_routes(net, &rule);
        if matters && self.waiting.len() < MAX_WAITING {
            let deleted = Deleted {
                rule: rule.clone(),
                at,
                locator: seen.event.locator,
                by: event.meta.pid,
            };
            self.waiting.insert((at + wait, rule), deleted);
        }
    }

    /// Whether a rule that is known leads into the table for everything the lost one led there: another of its kind, or one without conditions.
    fn another(&self, lost: &Rule) -> bool {
        self.rules.iter().any(|rule| {
            let same = (rule.ipv6, rule.table) == (lost.ipv6, lost.table);
            same && (rule.is_for_all() || !lost.is_for_all() && rule.src == lost.src)
        })
    }

    fn judge(&mut self, deleted: &Deleted, net: &NetState, board: &mut Board) {
        let rule = &deleted.rule;
        let basic = is_basic(rule.table);
        let table = (rule.ipv6, rule.table);
        if self.another(rule) || (basic && !rule.is_for_all()) {
            return;
        }
        if !basic && !has_routes(net, rule) {
            return;
        }
        let family = if rule.ipv6 { "IPv6" } else { "IPv4" };
        let everything = Prefix::new(
            if rule.ipv6 {
                std::net::Ipv6Addr::UNSPECIFIED.into()
            } else {
                std::net::Ipv4Addr::UNSPECIFIED.into()
            },
            0,
        );
        let severity = if basic {
            Severity::Critical
        } else {
            Severity::Warning
        };
        let by = actor(net, deleted.by, None);
        let known = if self.dumped[usize::from(rule.ipv6)] {
            "no other rule leads into that table"
        } else {
            "no other rule was seen that leads into that table"
        };
        let meanwhile = match rule.table {
            TABLE_LOCAL => {
                format!("the host takes no {family} packets to its own addresses, and answers none")
            }
            TABLE_MAIN => format!("the {family} routes of the main table lead nowhere"),
            other => format!(
                "the {family} routes of table {other} are not looked at, and packets that took them take those of the tables behind"
            ),
        };
        let what = format!(
            "{by} deleted the {family} rule \"{}\" (priority {})",
            rule.words(),
            rule.priority
        );
        let explain = format!("{what}, and it is not back; {known}: {meanwhile}");
        if let Some(lost) = self.lost.get_mut(&table) {
            if lost.is_back {
                board.update(lost.key, |finding| {
                    finding.again(&placed(deleted.at, deleted.locator));
                    finding.broken.subject = true;
                    finding.explain = explain;
                });
                (lost.is_back, lost.since) = (false, deleted.at);
                (lost.what, lost.meanwhile) = (what, meanwhile);
            }
            return;
        }
        if self.lost.len() >= MAX_WAITING {
            return;
        }
        let mut finding = Finding::new(
            Kind::RouteRuleLost,
            severity,
            Subject::Prefix(rule.src.or(rule.dst).unwrap_or(everything)),
            &placed(deleted.at, deleted.locator),
        );
        finding.broken.subject = true;
        finding.table = Some(format!("the {family} table {}", table_name(rule.table)).into());
        finding.explain = explain;
        finding.actor = Some(by);
        finding.advice = vec![
            format!("ip -{} rule show", if rule.ipv6 { 6 } else { 4 }),
            format!(
                "ip -{} route show table {}",
                if rule.ipv6 { 6 } else { 4 },
                table_name(rule.table)
            ),
            "grep -ri ManageForeignRoutingPolicyRules /etc/systemd/networkd.conf*".to_owned(),
        ];
        // What falls with it: whatever ends at the host's own addresses.
        let own = net.addresses.iter().filter(|(_, addr, _)| {
            addr.is_ipv6() == rule.ipv6 && rule.src.is_none_or(|src| src.contains(*addr))
        });
        for (_, addr, _) in own.take(MAX_TOUCHED) {
            finding.touch(Touch::Peer(addr));
            finding.touch(Touch::Address(addr));
        }
        let key = board.raise(finding);
        let lost = Lost {
            key,
            since: deleted.at,
            is_back: false,
            what,
            meanwhile,
        };
        self.lost.insert(table, lost);
    }
}

/// The tables without which a family does not work.
const fn is_basic(table: u32) -> bool {
    matches!(table, TABLE_LOCAL | TABLE_MAIN)
}

/// Whether routes of the rule's family stand in its table.
fn has_routes(net: &NetState, rule: &Rule) -> bool {
    net.routes.has_table(rule.table, rule.ipv6)
}

#[cfg(test)]
mod tests;
