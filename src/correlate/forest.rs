//! Which finding caused which: for every finding the best cause that the rules and the times support, so that findings form trees.

use std::collections::{BTreeMap, BTreeSet};

use super::fold::{self, FOLDS, MAX_FELLOWS, Share};
use super::join::{self, Fit};
use super::rule::{Book, Grade, Join, Mutation, Rule};
use super::rules::RULES;
use crate::detect::finding::MAX_PREFIXES;
use crate::detect::{Board, Finding, FindingKey, Kind, Severity};
use crate::event::Prefix;

/// Prefixes by which one finding can be found: as many as it remembers.
const MAX_INDEXED: usize = MAX_PREFIXES;

/// A causal link: the finding it belongs to was caused by `cause`.
#[derive(Clone, Debug)]
pub struct Edge {
    pub cause: FindingKey,
    /// Index into [`RULES`], and behind them into [`FOLDS`].
    pub rule: usize,
    pub grade: Grade,
    pub fit: Fit,
}

impl Edge {
    /// The row of the table, or the fold.
    pub fn row(&self) -> &'static Rule {
        RULES
            .get(self.rule)
            .unwrap_or_else(|| &FOLDS[self.rule - RULES.len()])
    }

    /// Whether structure made it, no rule.
    fn is_fold(&self) -> bool {
        self.rule >= RULES.len()
    }
}

/// Causal links between the findings on the board, kept up to date as findings change.
#[derive(Clone, Debug, Default)]
pub struct Forest {
    book: Book,
    edges: BTreeMap<FindingKey, Edge>,
    children: BTreeMap<FindingKey, BTreeSet<FindingKey>>,
    /// Findings in play, by kind: the candidates for causes and effects.
    by_kind: BTreeMap<Kind, BTreeSet<FindingKey>>,
    /// Findings by the prefixes they are about: candidates where prefixes are what joins. Never iterated.
    by_prefix: BTreeSet<(Prefix, FindingKey)>,
    /// Findings by what they may share with others.
    by_share: BTreeMap<Share, BTreeSet<FindingKey>>,
    shares: BTreeMap<FindingKey, Vec<Share>>,
    /// What a finding looked like when it was judged last.
    judged: BTreeMap<FindingKey, Look>,
}

/// What of a finding decides about its links. One more occurrence rarely does: links need half of the occurrences, so a finding is
/// judged again when it grew by a quarter, not each time it is counted. That keeps a prefix that flaps all day from costing all day.
#[derive(Clone, PartialEq, Debug)]
struct Look {
    kind: Kind,
    reason: Option<crate::detect::Reason>,
    first: crate::event::Timestamp,
    touches: usize,
    affected: usize,
    occurrences: usize,
    over: bool,
    loud: bool,
    subjects: usize,
}

impl Look {
    fn at(finding: &Finding) -> Look {
        Look {
            kind: finding.kind,
            reason: finding.reason,
            first: finding.first,
            touches: finding.touches.len(),
            affected: finding.affected.prefixes.len() + finding.affected.routes.len(),
            occurrences: finding.occurrences.len(),
            over: finding.ended.is_some(),
            loud: finding.severity > Severity::Info,
            subjects: finding.subjects.len(),
        }
    }

    /// Whether links have to be judged again after this change.
    fn differs(&self, now: &Look) -> bool {
        let grown =
            now.occurrences < self.occurrences || now.occurrences * 4 >= self.occurrences * 5;
        self.kind != now.kind
            || self.reason != now.reason
            || self.first != now.first
            || self.touches != now.touches
            || now.affected * 4 >= self.affected * 5 && now.affected != self.affected
            || grown && now.occurrences != self.occurrences
            || self.over != now.over
            || self.loud != now.loud
            || self.subjects != now.subjects
    }
}

impl Forest {
    /// A forest that follows this book.
    pub fn new(book: Book) -> Forest {
        Forest {
            book,
            ..Forest::default()
        }
    }

    /// Takes changed findings into account. Returns the roots of all trees that may have changed.
    pub fn update(&mut self, board: &Board, dirty: &[FindingKey]) -> BTreeSet<FindingKey> {
        let mut touched: BTreeSet<FindingKey> = BTreeSet::new();
        let mut again: BTreeSet<FindingKey> = BTreeSet::new();
        for &key in dirty {
            touched.insert(self.root(key));
            let Some(finding) = board.get(key) else {
                again.extend(self.remove(key));
                continue;
            };
            if !self
                .by_kind
                .get(&finding.kind)
                .is_some_and(|set| set.contains(&key))
            {
                // New, or a finding that became another kind (a loss that turned into a flap).
                self.by_kind.values_mut().for_each(|set| {
                    set.remove(&key);
                });
                self.by_kind.entry(finding.kind).or_default().insert(key);
            }
            let look = Look::at(finding);
            if self
                .judged
                .get(&key)
                .is_some_and(|judged| !judged.differs(&look))
            {
                continue;
            }
            self.judged.insert(key, look);
            self.index(key, finding);
            self.share(key, fold::shares(finding));
            again.insert(key);
            again.extend(self.fellows(key));
            // What it may have caused is judged again too.
            again.extend(self.children.get(&key).into_iter().flatten());
            if self.is_weather(finding) {
                continue;
            }
            let book = self.book;
            for (row, rule) in book
                .rows()
                .filter(|(_, rule)| rule.causes.contains(&finding.kind))
            {
                let join = book.join(row, rule);
                self.candidates(rule.effects, join, finding, board, |effect, e| {
                    // Only those it could have caused: the cheap questions first, so that a thousand unrelated findings cost little.
                    if effect != key
                        && book.overlaps(row, finding, e)
                        && book.meets(row, finding, e)
                    {
                        again.insert(effect);
                    }
                });
            }
        }
        for &key in &again {
            touched.insert(self.root(key));
            self.link(board, key);
            touched.insert(self.root(key));
        }
        // A root that got a cause is no root any more.
        touched
            .into_iter()
            .map(|key| self.root(key))
            .filter(|key| board.get(*key).is_some())
            .collect()
    }

    /// The root of the tree that `key` is in.
    pub fn root(&self, key: FindingKey) -> FindingKey {
        let mut at = key;
        while let Some(edge) = self.edges.get(&at) {
            at = edge.cause;
        }
        at
    }

    /// Why `key` is in its tree; `None` for a root.
    pub fn edge(&self, key: FindingKey) -> Option<&Edge> {
        self.edges.get(&key)
    }

    /// The tree below `root`, causes before effects, siblings in the order in which they were raised.
    pub fn tree(&self, root: FindingKey) -> Vec<FindingKey> {
        let mut tree = vec![root];
        let mut at = 0;
        while let Some(key) = tree.get(at).copied() {
            at += 1;
            tree.extend(self.children.get(&key).into_iter().flatten());
        }
        tree
    }

    /// Calls `each` for every finding of one of `kinds` that can meet `finding` by `join`: those that share a prefix where prefixes
    /// are what joins, else all of these kinds (links, sessions and servers are few; prefixes are many).
    fn candidates(
        &self,
        kinds: &[Kind],
        join: Join,
        finding: &Finding,
        board: &Board,
        mut each: impl FnMut(FindingKey, &Finding),
    ) {
        if join == Join::AffectedPrefix {
            let mut found: BTreeSet<FindingKey> = BTreeSet::new();
            for prefix in join::prefixes(finding).take(MAX_INDEXED) {
                let of_it = (prefix, FindingKey::FIRST)..=(prefix, FindingKey::LAST);
                found.extend(self.by_prefix.range(of_it).map(|(_, key)| *key));
            }
            for key in found {
                if let Some(other) = board.get(key).filter(|other| kinds.contains(&other.kind)) {
                    each(key, other);
                }
            }
            return;
        }
        for &key in kinds
            .iter()
            .filter_map(|kind| self.by_kind.get(kind))
            .flatten()
        {
            if let Some(other) = board.get(key) {
                each(key, other);
            }
        }
    }

    /// Makes a finding findable by its prefixes.
    fn index(&mut self, key: FindingKey, finding: &Finding) {
        for prefix in join::prefixes(finding).take(MAX_INDEXED) {
            self.by_prefix.insert((prefix, key));
        }
    }

    /// Makes a finding findable by what it may share with others.
    fn share(&mut self, key: FindingKey, shares: Vec<Share>) {
        if self.shares.get(&key).is_some_and(|known| *known == shares) {
            return;
        }
        self.forget_shares(key);
        for share in &shares {
            self.by_share.entry(share.clone()).or_default().insert(key);
        }
        if !shares.is_empty() {
            self.shares.insert(key, shares);
        }
    }

    fn forget_shares(&mut self, key: FindingKey) {
        for share in self.shares.remove(&key).into_iter().flatten() {
            if let Some(fellows) = self.by_share.get_mut(&share) {
                fellows.remove(&key);
                if fellows.is_empty() {
                    self.by_share.remove(&share);
                }
            }
        }
    }

    /// Findings without a cause by the rules that share something with this one: they are judged again with it.
    fn fellows(&self, key: FindingKey) -> Vec<FindingKey> {
        let shares = self.shares.get(&key).into_iter().flatten();
        shares
            .filter_map(|share| self.by_share.get(share))
            .flat_map(|fellows| fellows.iter().rev().take(MAX_FELLOWS).copied())
            .filter(|fellow| *fellow != key && self.edges.get(fellow).is_none_or(Edge::is_fold))
            .collect()
    }

    /// The best fold of a finding that no rule explains: by what proves most, below the finding that leads all others.
    fn fold(&self, board: &Board, key: FindingKey, effect: &Finding) -> Option<Edge> {
        for share in self.shares.get(&key)? {
            let fellows = self.by_share.get(share)?.iter().rev().take(MAX_FELLOWS);
            let best = fellows
                .filter_map(|fellow| Some((*fellow, board.get(*fellow)?)))
                .filter(|(fellow, cause)| {
                    *fellow != key
                        && fold::leads((*fellow, cause), (key, effect))
                        && !self.root_path_contains(*fellow, key)
                })
                .filter_map(|(fellow, cause)| {
                    Some((fellow, cause, fold::fit(share, cause, effect)?))
                })
                .reduce(|a, b| match fold::leads((b.0, b.1), (a.0, a.1)) {
                    true => b,
                    false => a,
                });
            if let Some((cause, _, fit)) = best {
                let rule = RULES.len() + share.row();
                return Some(Edge {
                    cause,
                    rule,
                    grade: FOLDS[share.row()].grade,
                    fit,
                });
            }
        }
        None
    }

    /// Forgets a finding; returns what hung below it.
    fn remove(&mut self, key: FindingKey) -> Vec<FindingKey> {
        self.unlink(key);
        self.judged.remove(&key);
        self.forget_prefixes(&BTreeSet::from([key]));
        self.forget_shares(key);
        self.by_kind.values_mut().for_each(|set| {
            set.remove(&key);
        });
        let orphans: Vec<FindingKey> = self.children.remove(&key).into_iter().flatten().collect();
        for orphan in &orphans {
            self.edges.remove(orphan);
        }
        orphans
    }

    /// Takes findings out of play: they are over and can neither cause nor be caused any more. Their links stay.
    pub fn retire(&mut self, keys: &[FindingKey]) {
        let gone: BTreeSet<FindingKey> = keys.iter().copied().collect();
        self.by_kind
            .values_mut()
            .for_each(|set| set.retain(|key| !gone.contains(key)));
        self.judged.retain(|key, _| !gone.contains(key));
        self.forget_prefixes(&gone);
        gone.iter().for_each(|key| self.forget_shares(*key));
    }

    fn forget_prefixes(&mut self, gone: &BTreeSet<FindingKey>) {
        if !gone.is_empty() {
            self.by_prefix.retain(|(_, key)| !gone.contains(key));
        }
    }

    fn unlink(&mut self, key: FindingKey) {
        if let Some(edge) = self.edges.remove(&key)
            && let Some(siblings) = self.children.get_mut(&edge.cause)
        {
            siblings.remove(&key);
            if siblings.is_empty() {
                self.children.remove(&edge.cause);
            }
        }
    }

    /// Finds the best cause of `key` and hangs it there.
    fn link(&mut self, board: &Board, key: FindingKey) {
        self.unlink(key);
        let Some(effect) = board.get(key) else { return };
        let mut best: Option<(Edge, Rank)> = None;
        let book = self.book;
        for (index, rule) in book
            .rows()
            .filter(|(_, rule)| rule.effects.contains(&effect.kind))
        {
            let join = book.join(index, rule);
            self.candidates(rule.causes, join, effect, board, |candidate, cause| {
                if candidate == key
                    || self.is_weather(cause)
                    || !self.in_order(rule, (candidate, cause), (key, effect))
                    || !book.overlaps(index, cause, effect)
                    || !book.meets(index, cause, effect)
                    || !book.holds(index, cause, effect)
                {
                    return;
                }
                // Where two findings could cause each other by different rows, the surer row decides, not which of them was judged first.
                let reverse = self.edges.get(&candidate).filter(|edge| edge.cause == key);
                if reverse.is_none() && self.root_path_contains(candidate, key) {
                    return;
                }
                let Some(fit) = book.fit(index, cause, effect) else {
                    return;
                };
                let edge = Edge {
                    cause: candidate,
                    rule: index,
                    grade: rule.grade,
                    fit,
                };
                let rank = Rank::of(&edge, index);
                if reverse.is_some_and(|edge| Rank::of(edge, edge.rule) >= rank) {
                    return;
                }
                if best.as_ref().is_none_or(|(_, known)| rank > *known) {
                    best = Some((edge, rank));
                }
            });
        }
        let best = best
            .map(|(edge, _)| edge)
            .or_else(|| self.fold(board, key, effect));
        if let Some(edge) = best {
            let cause = edge.cause;
            let turned = self.edges.get(&cause).is_some_and(|edge| edge.cause == key);
            if turned {
                self.unlink(cause);
            }
            self.children.entry(cause).or_default().insert(key);
            self.edges.insert(key, edge);
            if turned {
                // It may have another cause. It cannot turn back: this row is the surer one.
                self.link(board, cause);
            }
        }
    }

    /// An effect does not begin before its cause (but for skew), and of two findings that could cause each other (siblings) the earlier one
    /// is the cause.
    fn in_order(
        &self,
        rule: &Rule,
        (cause_key, cause): (FindingKey, &Finding),
        (effect_key, effect): (FindingKey, &Finding),
    ) -> bool {
        let mutual = rule.causes.contains(&effect.kind) && rule.effects.contains(&cause.kind);
        if mutual && self.book.has(Mutation::Order) {
            (cause.first, cause_key) < (effect.first, effect_key)
        } else {
            cause.first <= effect.first + join::lead(cause)
        }
    }

    /// An unstable prefix that nobody has to act on explains nothing: the Internet has thousands of them at any time.
    fn is_weather(&self, finding: &Finding) -> bool {
        finding.severity == Severity::Info
            && (Kind::PrefixTableTransfer..=Kind::PrefixZombie).contains(&finding.kind)
            && !finding.planned
            && self.book.has(Mutation::Weather)
    }

    /// Whether `key` is `from` or one of its causes: linking `key` below `from` would then close a circle.
    fn root_path_contains(&self, from: FindingKey, key: FindingKey) -> bool {
        let mut at = from;
        loop {
            if at == key {
                return true;
            }
            match self.edges.get(&at) {
                Some(edge) => at = edge.cause,
                None => return false,
            }
        }
    }
}

/// What makes one explanation better than another: surer, then earlier in the table, then explaining more, then nearer in time.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
struct Rank {
    grade: Grade,
    row: std::cmp::Reverse<usize>,
    explained: f64,
    nearness: std::cmp::Reverse<i64>,
    /// Ties go to the finding that was raised first.
    age: std::cmp::Reverse<u32>,
}

impl Rank {
    fn of(edge: &Edge, row: usize) -> Rank {
        Rank {
            grade: edge.grade,
            row: std::cmp::Reverse(row),
            explained: f64::from(edge.fit.hits) / f64::from(edge.fit.of.max(1)),
            nearness: std::cmp::Reverse(edge.fit.lag_ns),
            age: std::cmp::Reverse(edge.cause.0),
        }
    }
}
