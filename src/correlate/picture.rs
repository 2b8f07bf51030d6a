//! An incident as a reader gets it: the tree of a case, put together from the findings as they are now. Changes nothing.

use std::collections::BTreeMap;

use super::explain::{self, Surroundings};
use super::incident::{AffectedTotals, Effect, Incident, Life};
use super::{Case, Correlator, cooccurrence};
use crate::detect::{Board, Finding, FindingKey};

impl Correlator {
    /// What statistics may compare with each other.
    pub(super) fn comparable<'b>(&self, board: &'b Board) -> Vec<(FindingKey, &'b Finding)> {
        cooccurrence::roots(board, |key| self.forest.edge(key).is_none())
    }

    /// The incident of a case as it stands.
    pub(super) fn snapshot(
        &self,
        case: &Case,
        board: &Board,
        roots: &[(FindingKey, &Finding)],
        around: &Surroundings<'_>,
    ) -> Option<Incident> {
        let mut incident = self.bare(case.root, board)?;
        incident.id = case.id.clone();
        incident.rev = case.rev;
        if case.resolved_at.is_some() {
            incident.life = Life::Resolved;
        }
        incident.merged_into = case.merged_into.clone();
        incident.severity = case.severity;
        incident.opened_at = case.open_since.unwrap_or(case.updated_at);
        incident.updated_at = case.updated_at;
        incident.resolved_at = case.resolved_at;
        incident.silenced = case.silenced.as_ref().map(|(name, _)| name.clone());
        incident.cooccurring = cooccurrence::before(&incident.root, roots, explain::headline);
        explain::complete(&mut incident, around);
        Some(incident)
    }

    /// The tree of `root` as an incident, without words and without a life.
    pub(super) fn bare(&self, root: FindingKey, board: &Board) -> Option<Incident> {
        let mut incident = Incident::of(board.get(root)?.clone());
        let tree = self.forest.tree(root);
        let mut depth: BTreeMap<FindingKey, usize> = BTreeMap::from([(root, 0)]);
        for key in tree.iter().skip(1) {
            let (Some(finding), Some(edge)) = (board.get(*key), self.forest.edge(*key)) else {
                continue;
            };
            let Some(cause) = board.get(edge.cause) else {
                continue;
            };
            let level = depth.get(&edge.cause).copied().unwrap_or(0) + 1;
            depth.insert(*key, level);
            incident
                .chain
                .push(Effect::new(finding, edge, cause, level));
        }
        incident.affected = AffectedTotals::of(incident.findings());
        Some(incident)
    }
}
