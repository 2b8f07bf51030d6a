//! From findings to incidents: what one fault caused is one incident, with its causal chain.
//!
//! The correlator looks at the board a short while after it changed (by event time, so that live equals offline), keeps the forest
//! of causes, and gives every tree that matters an incident. It owns no detector logic: kinds, joins and windows are in `rules`.

pub mod changes;
pub mod cooccurrence;
pub mod denial;
pub mod explain;
mod facts;
pub mod fold;
pub mod forest;
pub mod incident;
pub mod join;
pub mod maintenance;
pub mod path;
mod picture;
pub mod rule;
pub mod rules;
mod schedule;
pub mod survey;
pub mod timers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::detect::finding::MAX_FINDINGS;
use crate::detect::{Board, FindingKey, Severity};
use crate::event::Timestamp;
use explain::Surroundings;
use forest::Forest;
use incident::{GROW, Incident, Life, QUIET, REOPEN, SETTLE, UPDATE_LEAST, UPDATE_MOST};
use schedule::Schedule;

#[cfg(test)]
mod tests;

/// Findings on the board from which on old ones are let go: three quarters of what it holds.
const ROOM: usize = MAX_FINDINGS / 4 * 3;

/// How long after a change the board is looked at: changes of one burst are judged together.
const LOOK: Duration = Duration::from_millis(250);

/// What the correlator tells.
#[derive(Clone, Debug)]
pub enum Told {
    Opened(Box<Incident>),
    Updated(Box<Incident>),
    Resolved(Box<Incident>),
}

impl Told {
    /// The incident as it stands then.
    pub fn incident(&self) -> &Incident {
        let (Told::Opened(incident) | Told::Updated(incident) | Told::Resolved(incident)) = self;
        incident
    }
}

/// An incident's own record, by number in the order of opening.
#[derive(Clone, Debug)]
struct Case {
    id: String,
    rev: u32,
    /// Told at least once.
    open_since: Option<Timestamp>,
    /// When it may be told first.
    opens_at: Timestamp,
    updated_at: Timestamp,
    resolved_at: Option<Timestamp>,
    merged_into: Option<String>,
    root: FindingKey,
    severity: Severity,
    /// What keeps it at `info`, and until when.
    silenced: Option<(String, Timestamp)>,
    /// The next time a mere growth may be told.
    next_update: Timestamp,
    update_step: Duration,
    changed: bool,
    /// Over for so long that its findings are out of play.
    retired: bool,
    /// The last snapshot told, kept for incidents whose findings left the board.
    last: Option<Box<Incident>>,
}

impl Case {
    /// When what changed about it may be told.
    fn tell_at(&self) -> Timestamp {
        match self.open_since {
            None => self.opens_at,
            Some(_) => self.next_update,
        }
    }
}

/// The correlator.
#[derive(Clone, Default)]
pub struct Correlator {
    forest: Forest,
    paths: path::PathLosses,
    cases: BTreeMap<u32, Case>,
    case_of: BTreeMap<FindingKey, u32>,
    next_case: u32,
    look_at: Option<Timestamp>,
    /// Told cases by the time at which they may resolve; one that is still broken then is asked again when it was told again.
    resolve_check: Schedule,
    /// Resolved cases by the time at which their findings go out of play.
    retire_at: Schedule,
    /// Names that are taken.
    ids: BTreeMap<String, u32>,
    /// When the first silence of a case ends, and when a change was told: open cases are judged again.
    judge_again: Option<Timestamp>,
    /// Cases that wait to be told.
    waiting: Schedule,
    /// Told cases whose root was taken back: what turns out to be behind the same subjects goes on with them.
    orphans: BTreeSet<u32>,
}

impl Correlator {
    /// A correlator that follows this book of rules.
    pub fn new(book: rule::Book) -> Correlator {
        Correlator {
            forest: Forest::new(book),
            ..Correlator::default()
        }
    }

    /// Tells the correlator that the board changed at `now`.
    pub fn board_changed(&mut self, now: Timestamp) {
        self.look_at.get_or_insert(now + LOOK);
    }

    /// Tells the correlator that an annotation came at `now`, or that maintenance windows did: open incidents are judged by them, too.
    pub fn change_told(&mut self, now: Timestamp) {
        let at = now + LOOK;
        self.judge_again = Some(self.judge_again.map_or(at, |other| other.min(at)));
    }

    /// The next time at which [`Correlator::expire`] is wanted.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.look_at
            .into_iter()
            .chain(self.resolve_check.next())
            .chain(self.judge_again)
            .chain(self.waiting.next())
            .min()
    }

    /// Deadlines at `now`.
    pub fn expire(
        &mut self,
        now: Timestamp,
        board: &mut Board,
        around: &Surroundings<'_>,
        out: &mut Vec<Told>,
    ) {
        if self.look_at.is_some_and(|at| at <= now) {
            self.look_at = None;
            self.look(now, board, around, out);
        }
        if self.judge_again.is_some_and(|at| at <= now) {
            self.judge_open(now, board, around, out);
        }
        self.tell_waiting(now, board, around, false, out);
        if self.resolve_check.next().is_some_and(|at| at <= now) {
            self.resolve_quiet(now, board, around, out);
        }
    }

    /// End of input at `now`: judge what is on the board, open what was waiting. Nothing resolves by this.
    pub fn finish(
        &mut self,
        now: Timestamp,
        board: &mut Board,
        around: &Surroundings<'_>,
        out: &mut Vec<Told>,
    ) {
        self.look_at = None;
        self.look(now, board, around, out);
        self.tell_waiting(now, board, around, true, out);
    }

    /// Incident of a finding, if it is in one that was told.
    pub fn incident_of(&self, key: FindingKey) -> Option<&str> {
        let case = self.cases.get(self.case_of.get(&key)?)?;
        case.open_since.map(|_| case.id.as_str())
    }

    /// Every incident told so far, in the order of opening.
    pub fn incidents(&self, board: &Board, around: &Surroundings<'_>) -> Vec<Incident> {
        let roots = self.comparable(board);
        self.cases
            .values()
            .filter(|case| case.open_since.is_some())
            .filter_map(|case| match &case.last {
                // Resolved and merged ones as they were told last; open ones as they are.
                Some(last) if case.resolved_at.is_some() => Some((**last).clone()),
                last => self
                    .snapshot(case, board, &roots, around)
                    .or_else(|| last.as_deref().cloned()),
            })
            .collect()
    }

    fn look(
        &mut self,
        now: Timestamp,
        board: &mut Board,
        around: &Surroundings<'_>,
        out: &mut Vec<Told>,
    ) {
        self.make_room(now, board);
        let mut dirty = board.take_dirty();
        self.paths.update(board, &dirty, around.visibility);
        timers::update(board, &dirty, around.net);
        dirty.extend(board.take_dirty());
        self.note_orphans(board, &dirty);
        for root in self.forest.update(board, &dirty) {
            self.judge(root, now, board, around, out);
        }
    }

    /// Notes the told cases whose root a detector took back because it knows better now.
    fn note_orphans(&mut self, board: &Board, dirty: &[FindingKey]) {
        for key in dirty.iter().filter(|key| board.get(**key).is_none()) {
            let number = self.case_of.get(key).copied();
            let told = number.and_then(|number| Some((number, self.cases.get(&number)?)));
            if let Some((number, _)) = told.filter(|(_, case)| {
                case.root == *key && case.open_since.is_some() && case.resolved_at.is_none()
            }) {
                self.orphans.insert(number);
            }
        }
        self.orphans.retain(|number| {
            self.cases
                .get(number)
                .is_some_and(|case| case.resolved_at.is_none() && board.get(case.root).is_none())
        });
    }

    /// The orphans that are about what this finding is about.
    fn orphans_of<'a>(
        &'a self,
        finding: &'a crate::detect::Finding,
    ) -> impl Iterator<Item = u32> + 'a {
        self.orphans.iter().copied().filter(move |number| {
            let last = self.cases.get(number).and_then(|case| case.last.as_ref());
            last.is_some_and(|told| told.is_about(finding))
        })
    }

    /// Judges every open case again: what people announced may have changed, or ended.
    fn judge_open(
        &mut self,
        now: Timestamp,
        board: &Board,
        around: &Surroundings<'_>,
        out: &mut Vec<Told>,
    ) {
        self.judge_again = None;
        let roots: Vec<FindingKey> = self
            .cases
            .values()
            .filter(|case| case.resolved_at.is_none())
            .map(|case| case.root)
            .collect();
        for root in roots {
            let told = |cases: &BTreeMap<u32, Case>, of: &BTreeMap<FindingKey, u32>| {
                let case = cases.get(of.get(&root)?)?;
                let last = case.last.as_ref()?;
                Some((last.changes.len(), case.severity))
            };
            let before = told(&self.cases, &self.case_of);
            let waits = self
                .case_of
                .get(&root)
                .is_some_and(|number| self.waiting.contains(*number));
            self.judge(root, now, board, around, out);
            let Some(number) = self.case_of.get(&root).copied() else {
                continue;
            };
            let Some(case) = self.cases.get(&number) else {
                continue;
            };
            let after = self
                .bare(case.root, board)
                .map(|incident| (around.changes.before(&incident).len(), case.severity));
            let same = before.is_some() && before == after;
            match self.cases.get_mut(&number) {
                // Nothing new about it; what waited goes on waiting.
                Some(_) if same && waits => {}
                Some(case) if same => {
                    case.changed = false;
                    self.waiting.remove(number);
                }
                Some(case) if case.open_since.is_some() => {
                    case.next_update = now;
                    if self.waiting.contains(number) {
                        self.waiting.set(number, now);
                    }
                }
                _ => {}
            }
        }
        let ends = self
            .cases
            .values()
            .filter(|case| case.resolved_at.is_none());
        let next = ends
            .filter_map(|case| Some(case.silenced.as_ref()?.1))
            .min();
        self.silence_ends(next.filter(|at| *at > now));
    }

    /// Asks to be woken right behind the end of a silence.
    fn silence_ends(&mut self, at: Option<Timestamp>) {
        let behind = at.map(|at| at + Duration::from_nanos(1));
        self.judge_again = self.judge_again.into_iter().chain(behind).min();
    }

    /// Lets findings go that have been over for long and that no open incident holds, when the board fills up: oldest first.
    fn make_room(&mut self, now: Timestamp, board: &mut Board) {
        if board.len() < ROOM {
            return;
        }
        let open = |key: &FindingKey| {
            let case = self
                .case_of
                .get(key)
                .and_then(|number| self.cases.get(number));
            case.is_some_and(|case| case.resolved_at.is_none())
        };
        let mut old: Vec<(Timestamp, FindingKey)> = board
            .iter()
            .filter(|(key, finding)| {
                finding.ended.is_some_and(|at| at + REOPEN <= now) && !open(key)
            })
            .map(|(key, finding)| (finding.last, key))
            .collect();
        old.sort_unstable();
        old.truncate(board.len() - ROOM / 2);
        let gone: Vec<FindingKey> = old.into_iter().map(|(_, key)| key).collect();
        self.forest.retire(&gone);
        for key in gone {
            board.drop_old(key);
            self.case_of.remove(&key);
        }
    }

    /// Gives the tree of `root` its incident.
    fn judge(
        &mut self,
        root: FindingKey,
        now: Timestamp,
        board: &Board,
        around: &Surroundings<'_>,
        out: &mut Vec<Told>,
    ) {
        let tree = self.forest.tree(root);
        let Some(severity) = tree
            .iter()
            .filter_map(|key| {
                Some(judged_severity(
                    board.get(*key)?,
                    self.is_planned(*key, board),
                ))
            })
            .max()
        else {
            return;
        };
        let Some(root_finding) = board.get(root) else {
            return;
        };
        let newest = tree
            .iter()
            .filter_map(|key| board.get(*key))
            .map(|finding| finding.last)
            .max()
            .unwrap_or(now);
        let mut over = false;
        let mut known: BTreeSet<u32> = tree
            .iter()
            .filter_map(|key| self.case_of.get(key).copied())
            .filter(|number| {
                let case = self.cases.get(number);
                let resolved = case.and_then(|case| case.resolved_at);
                // That something was found to be over, or was described better, is no new trouble.
                over |= resolved.is_some_and(|at| newest <= at);
                // What stirs long after its end is another incident.
                resolved.is_none_or(|at| newest <= at + REOPEN)
            })
            .filter(|number| {
                // An incident goes with its root: a finding that left its tree takes no incident along, unless it is the same one's.
                self.cases.get(number).is_some_and(|case| {
                    tree.contains(&case.root)
                        || board.get(case.root).is_none_or(|other| {
                            // Nor does a root that still stands give its incident away: two trees would hold it by turns. What a
                            // prefix does is one trouble, whatever it is called.
                            let stands = other.ended.is_none()
                                && other.kind.layer() != "prefix"
                                && self.forest.edge(case.root).is_none();
                            !stands && other.subjects.first() == root_finding.subjects.first()
                        })
                })
            })
            .collect();
        // What gave its incident away when it was over makes no new one by being described better.
        let gave = self.case_of.get(&root).and_then(|n| self.cases.get(n));
        let given = gave.is_some_and(|case| case.resolved_at.is_none() && case.root != root);
        if known.is_empty() && given && root_finding.ended.is_some() {
            return;
        }
        if over {
            return;
        }
        if severity > Severity::Info {
            known.extend(self.orphans_of(root_finding));
        }
        let number = match known.first() {
            Some(&oldest) => oldest,
            // A quiet tree needs no incident; a planned outage is told at info.
            None if severity == Severity::Info && !root_finding.planned => return,
            None => {
                let number = self.next_case;
                self.next_case += 1;
                let id = self.unused_id(incident::id_of(root_finding));
                *self.ids.entry(id.clone()).or_default() += 1;
                self.cases.insert(
                    number,
                    Case {
                        id,
                        rev: 0,
                        open_since: None,
                        opens_at: (newest + SETTLE).max(now + GROW),
                        updated_at: now,
                        resolved_at: None,
                        merged_into: None,
                        root,
                        severity,
                        silenced: None,
                        next_update: now,
                        update_step: UPDATE_LEAST,
                        changed: true,
                        retired: false,
                        last: None,
                    },
                );
                number
            }
        };
        // A tree is put together only where somebody announced something.
        let silenced = (!around.changes.is_empty())
            .then(|| self.bare(root, board))
            .flatten()
            .and_then(|incident| around.changes.silence(&incident, now));
        let severity = match &silenced {
            Some((_, until)) => {
                self.silence_ends(Some(*until));
                Severity::Info
            }
            None => severity,
        };
        // Findings that hung in this incident and now belong to another tree leave it by being assigned there.
        for key in tree {
            self.case_of.insert(key, number);
        }
        for absorbed in known.into_iter().filter(|other| *other != number) {
            self.absorb(absorbed, number, now, out);
        }
        let Some(case) = self.cases.get_mut(&number) else {
            return;
        };
        // Compared with what was told: a verdict that swings between two looks is no news.
        let louder = case
            .last
            .as_ref()
            .is_none_or(|told| severity > told.severity || root_finding.id() != told.root.id());
        if case.open_since.is_none() {
            // Not told yet: its name follows its root.
            if root != case.root {
                let id = incident::id_of(root_finding);
                *self.ids.entry(id.clone()).or_default() += 1;
                let before = std::mem::replace(&mut case.id, id);
                free(&mut self.ids, &before);
            }
        } else if louder || case.resolved_at.is_some() {
            case.next_update = now;
        } else {
            case.next_update = case.next_update.max(case.updated_at + case.update_step);
        }
        case.root = root;
        case.severity = severity;
        case.silenced = silenced;
        case.changed = true;
        self.waiting.set(number, case.tell_at());
    }

    /// Whether a finding was planned, or surely follows from what a router announced. An address that somebody took away may have been
    /// meant; what broke because of it was not, and a chain of guesses excuses nothing.
    fn is_planned(&self, key: FindingKey, board: &Board) -> bool {
        let mut at = key;
        loop {
            let announced = |finding: &crate::detect::Finding| {
                finding.planned
                    && (at == key || matches!(finding.kind.layer(), "session" | "prefix"))
            };
            if board.get(at).is_some_and(announced) {
                return true;
            }
            match self.forest.edge(at) {
                Some(edge) if edge.grade > rule::Grade::Possible => at = edge.cause,
                _ => return false,
            }
        }
    }

    /// Two incidents on one content hash in one run would share an id; the later one gets a suffix.
    fn unused_id(&self, id: String) -> String {
        let mut candidate = id.clone();
        let mut n = 1;
        while self.ids.contains_key(&candidate) {
            n += 1;
            candidate = format!("{id}.{n}");
        }
        candidate
    }

    /// `number` turned out to be part of `into`.
    fn absorb(&mut self, number: u32, into: u32, now: Timestamp, out: &mut Vec<Told>) {
        self.waiting.remove(number);
        let into_id = self.cases.get(&into).map(|case| case.id.clone());
        let Some(case) = self.cases.get_mut(&number) else {
            return;
        };
        if case.open_since.is_none() {
            free(&mut self.ids, &case.id);
            self.cases.remove(&number);
            return;
        }
        case.merged_into = into_id.clone();
        case.resolved_at = Some(now);
        self.retire_at.set(number, now + REOPEN);
        case.severity = Severity::Info;
        if let Some(mut last) = case.last.take() {
            case.rev += 1;
            last.rev = case.rev;
            last.life = Life::Resolved;
            last.severity = Severity::Info;
            last.resolved_at = Some(now);
            last.updated_at = now;
            last.impact = format!(
                "part of {}",
                into_id.as_deref().unwrap_or("another incident")
            );
            last.merged_into = into_id;
            case.last = Some(last.clone());
            out.push(Told::Resolved(last));
        }
    }

    fn tell_waiting(
        &mut self,
        now: Timestamp,
        board: &Board,
        around: &Surroundings<'_>,
        at_end: bool,
        out: &mut Vec<Told>,
    ) {
        let until = if at_end { Timestamp::MAX } else { now };
        let due = self.waiting.due(until);
        if due.is_empty() {
            return;
        }
        // All that are told at one time are compared with the same others.
        let roots = self.comparable(board);
        for number in due {
            self.tell(number, now, board, &roots, around, out);
        }
    }

    fn tell(
        &mut self,
        number: u32,
        now: Timestamp,
        board: &Board,
        roots: &[(FindingKey, &crate::detect::Finding)],
        around: &Surroundings<'_>,
        out: &mut Vec<Told>,
    ) {
        let Some(case) = self.cases.get_mut(&number) else {
            return;
        };
        if !case.changed {
            return;
        }
        case.changed = false;
        case.rev += 1;
        case.updated_at = now;
        let first_time = case.open_since.is_none();
        case.open_since.get_or_insert(now);
        let reopened = case.resolved_at.take().is_some();
        case.update_step = if first_time || reopened {
            UPDATE_LEAST
        } else {
            (case.update_step * 2).min(UPDATE_MOST)
        };
        case.next_update = now + case.update_step;
        let case = &self.cases[&number];
        let Some(snapshot) = self.snapshot(case, board, roots, around).map(Box::new) else {
            return;
        };
        self.resolve_check.not_later(number, now + QUIET);
        if let Some(case) = self.cases.get_mut(&number) {
            case.last = Some(snapshot.clone());
        }
        out.push(if first_time || reopened {
            Told::Opened(snapshot)
        } else {
            Told::Updated(snapshot)
        });
    }

    /// Resolves incidents whose findings are all over, or quiet for long enough with nothing broken.
    fn resolve_quiet(
        &mut self,
        now: Timestamp,
        board: &Board,
        around: &Surroundings<'_>,
        out: &mut Vec<Told>,
    ) {
        let mut retired = Vec::new();
        for number in self.resolve_check.due(now) {
            let Some(case) = self
                .cases
                .get(&number)
                .filter(|case| case.open_since.is_some() && case.resolved_at.is_none())
            else {
                continue;
            };
            let tree = self.forest.tree(case.root);
            let members = || tree.iter().filter_map(|key| board.get(*key));
            // Taken back, and nothing took its place: it is quiet since it was told.
            let last = members().map(|f| f.last).max().unwrap_or(case.updated_at);
            let broken = members().any(|f| {
                f.ended.is_none()
                    && (f.broken.subject || f.broken.default_route || f.broken.last_path)
            });
            let quiet_at = last + QUIET;
            if broken {
                // Asked again when something about it changes: a session that stays down for a year costs nothing.
                continue;
            }
            if quiet_at > now {
                self.resolve_check.set(number, quiet_at);
            } else {
                self.waiting.remove(number);
                let Some(mut snapshot) = self
                    .snapshot(case, board, &self.comparable(board), around)
                    .map(Box::new)
                    .or_else(|| case.last.clone())
                else {
                    continue;
                };
                self.retire_at.set(number, now + REOPEN);
                if let Some(case) = self.cases.get_mut(&number) {
                    case.rev += 1;
                    case.changed = false;
                    case.resolved_at = Some(now);
                    case.updated_at = now;
                    snapshot.rev = case.rev;
                    snapshot.life = Life::Resolved;
                    snapshot.resolved_at = Some(now);
                    snapshot.updated_at = now;
                    case.last = Some(snapshot.clone());
                }
                out.push(Told::Resolved(snapshot));
            }
        }
        for number in self.retire_at.due(now) {
            let case = self.cases.get_mut(&number);
            if let Some(case) = case.filter(|case| {
                !case.retired && case.resolved_at.is_some_and(|at| at + REOPEN <= now)
            }) {
                case.retired = true;
                retired.extend(self.forest.tree(case.root));
            }
        }
        self.forest.retire(&retired);
    }
}

/// A case that bore this name bears it no more.
fn free(ids: &mut BTreeMap<String, u32>, id: &str) {
    if let Some(count) = ids.get_mut(id) {
        *count -= 1;
        if *count == 0 {
            ids.remove(id);
        }
    }
}

/// A finding's weight in its incident: what was planned, or follows from that, counts one step less, an outage that lasts one step more.
fn judged_severity(finding: &crate::detect::Finding, planned: bool) -> Severity {
    match (finding.severity, planned, finding.is_outage()) {
        (severity, _, true) if severity > Severity::Info => Severity::Critical,
        (Severity::Critical, true, _) => Severity::Warning,
        (Severity::Warning, true, _) => Severity::Info,
        (severity, _, _) => severity,
    }
}
