//! What a causal rule is made of, and the book of rules as the correlator uses it. The table itself is in `rules`.
//!
//! A row never looks at anything but its two findings: what they touch, when they happened, what a discriminator asks. The book exists so
//! that a test can take out any one part ([`Mutation`]) and see that some verdict changes; a run uses it whole.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::denial::Look;
use super::join::{self, Fit};
use super::rules::RULES;
use crate::detect::Kind;
use crate::detect::finding::Finding;

/// How sure a causal link is.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Time or statistics only.
    Possible,
    /// Same path, inside the computed window.
    Likely,
    /// Same object, consequence mandated by the kernel or an RFC.
    Certain,
}

/// What a cause and its effect must have in common.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Join {
    /// The same interface, or the effect's peer, address or gateway is on-link at the cause's interface. Where one of the two does not know
    /// its interface (a classic pcap names none): the same host.
    Interface,
    /// One of the cause's peers or addresses is one of the effect's peers, addresses or gateways.
    Peer,
    /// Two findings about one neighbor: same BGP identifier, MAC, or peer.
    Neighbor,
    /// The effect's prefixes are (mostly) among those that the cause affected, or equal to its prefix.
    AffectedPrefix,
    /// The same prefix, or one covers the other.
    Prefix,
    /// The same address, server, client or MAC.
    Host,
    /// The same next hop or gateway: the cause's server, gateway or router is the effect's gateway.
    Gateway,
    /// The same feed, or the router that it comes from.
    Feed,
    /// No object in common: where the cause is about the whole host (its RPKI cache).
    Everywhere,
}

impl Join {
    /// In words, for `explain` and the docs.
    pub const fn says(self) -> &'static str {
        match self {
            Join::Interface => "the same interface, or a network on it",
            Join::Peer => "the same peer or address",
            Join::Neighbor => "the same neighbor",
            Join::AffectedPrefix => "most of the effect's prefixes",
            Join::Prefix => "the same prefix, or one that covers it",
            Join::Host => "the same address, server, client or MAC",
            Join::Gateway => "the same gateway or next hop",
            Join::Feed => "the same feed or its router",
            Join::Everywhere => "the same host",
        }
    }
}

/// When an effect may begin, counted from an occurrence of the cause (or while it lasts).
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Window {
    /// At most this long after.
    After(Duration),
    /// The longer of the two findings' own timers (hold time, BFD detection time, lease) and the given least time, and this much more.
    Reach { least: Duration, plus: Duration },
    /// Until what was kept of the cause is given up (the restart time of a graceful restart), and this much more.
    Kept { plus: Duration },
}

impl Window {
    /// How long before this effect its cause may lie, with what the effect's own timers say.
    pub fn least(self, effect: &Finding) -> Duration {
        match self {
            Window::After(after) => after,
            Window::Reach { least, plus } => effect.reach.unwrap_or(least).max(least) + plus,
            Window::Kept { plus } => plus,
        }
    }

    /// In words, for `explain` and the docs.
    pub fn says(self) -> String {
        match self {
            Window::After(after) => format!("{:.1} s", after.as_secs_f64()),
            Window::Reach { least, plus } => format!(
                "the negotiated timer, at least {:.0} s, and {:.0} s more",
                least.as_secs_f64(),
                plus.as_secs_f64()
            ),
            Window::Kept { plus } => {
                format!("the restart time and {:.0} s more", plus.as_secs_f64())
            }
        }
    }
}

/// What tells a causal link from a coincidence, besides what both have in common and when they happened.
#[derive(Copy, Clone, Debug)]
pub struct Condition {
    pub name: &'static str,
    /// For `explain` and the docs: what must hold.
    pub says: &'static str,
    pub holds: fn(cause: &Finding, effect: &Finding) -> bool,
}

/// A row of the table.
#[derive(Debug)]
pub struct Rule {
    /// Its name in alerts (`chain[].rule`).
    pub name: &'static str,
    pub causes: &'static [Kind],
    pub effects: &'static [Kind],
    pub join: Join,
    pub window: Window,
    pub grade: Grade,
    /// All must hold as well.
    pub when: &'static [Condition],
    /// Why the cause has this effect, one sentence.
    pub because: &'static str,
    /// What to ask the ledger when no finding of the cause is there: its answer may reject the cause. `None` where nobody would ask.
    pub absent: Option<Look>,
    /// Rows of the project's survey of causal links (C1–C46, L1–L15) that it stands for.
    pub survey: &'static [&'static str],
}

/// One part taken out of the book, to see that a test notices.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Mutation {
    /// The row with this index does not exist.
    Rule(usize),
    /// This row's discriminator with this index always holds.
    Condition(usize, usize),
    /// Cause and effect of this row need nothing in common.
    Join(usize),
    /// The effect of this row may begin at any time after the cause.
    Window(usize),
    /// An effect may happen mostly without its cause.
    Support,
    /// Of two findings that could cause each other the later one may be the cause.
    Order,
    /// What nobody has to act on may be a cause.
    Weather,
}

/// The rules of a run.
#[derive(Copy, Clone, Debug, Default)]
pub struct Book {
    without: Option<Mutation>,
}

impl Book {
    /// The book without one part: for tests of the table.
    pub fn without(part: Mutation) -> Book {
        Book {
            without: Some(part),
        }
    }

    /// Every part that can be taken out.
    pub fn parts() -> Vec<Mutation> {
        let mut parts = vec![Mutation::Support, Mutation::Order, Mutation::Weather];
        for (row, rule) in RULES.iter().enumerate() {
            parts.extend([Mutation::Rule(row), Mutation::Window(row)]);
            if rule.join != Join::Everywhere {
                parts.push(Mutation::Join(row));
            }
            parts.extend((0..rule.when.len()).map(|at| Mutation::Condition(row, at)));
        }
        parts
    }

    /// The rows in force, with their index.
    pub fn rows(&self) -> impl Iterator<Item = (usize, &'static Rule)> + use<> {
        let without = self.without;
        RULES
            .iter()
            .enumerate()
            .filter(move |(row, _)| without != Some(Mutation::Rule(*row)))
    }

    /// Whether this part is in force.
    pub(super) fn has(&self, part: Mutation) -> bool {
        self.without != Some(part)
    }

    /// Whether the two have in common what the row asks for.
    pub(super) fn meets(&self, row: usize, cause: &Finding, effect: &Finding) -> bool {
        RULES
            .get(row)
            .is_some_and(|rule| join::meets(self.join(row, rule), cause, effect))
    }

    /// What the two of this row must have in common.
    pub(super) fn join(&self, row: usize, rule: &Rule) -> Join {
        if self.has(Mutation::Join(row)) {
            rule.join
        } else {
            Join::Everywhere
        }
    }

    /// Whether the row's discriminators hold.
    pub(super) fn holds(&self, row: usize, cause: &Finding, effect: &Finding) -> bool {
        RULES.get(row).is_some_and(|rule| {
            rule.when.iter().enumerate().all(|(at, condition)| {
                (condition.holds)(cause, effect) || !self.has(Mutation::Condition(row, at))
            })
        })
    }

    /// The longest time from an occurrence of the cause to the effect's begin.
    pub(super) fn reach(&self, row: usize, cause: &Finding, effect: &Finding) -> Duration {
        /// As good as for ever, and far from the end of time stamps.
        const ANY: Duration = Duration::from_secs(10 * 365 * 86_400);
        match RULES.get(row) {
            Some(rule) if self.has(Mutation::Window(row)) => {
                join::reach(rule.window, cause, effect)
            }
            Some(_) => ANY,
            None => Duration::ZERO,
        }
    }

    /// Whether the two findings' times can fit at all: the cheap half of [`Book::fit`].
    pub(super) fn overlaps(&self, row: usize, cause: &Finding, effect: &Finding) -> bool {
        join::overlaps(self.reach(row, cause, effect), cause, effect)
    }

    /// Fits the effect's occurrences to the cause's. `None` when most of the effect happened without the cause.
    pub(super) fn fit(&self, row: usize, cause: &Finding, effect: &Finding) -> Option<Fit> {
        let fit = join::fit(self.reach(row, cause, effect), cause, effect)?;
        let mostly = fit.hits * 2 >= fit.of || !self.has(Mutation::Support);
        (fit.hits > 0 && mostly).then_some(fit)
    }
}
