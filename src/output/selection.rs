//! What of an analysis is shown: a filter over incidents, findings and rows, and how many rows a table has. Says itself that it is on.

use schemars::JsonSchema;
use serde::Serialize;

use crate::correlate::incident::Incident;
use crate::detect::Finding;
use crate::detect::prefix::rows::{PrefixRow, SessionRow};
use crate::engine::Engine;
use crate::filter::{Facts, Filter};
use crate::state::leases::rows::{ClientRow, ServerRow};

/// Filter and length of the tables.
#[derive(Clone, Debug)]
pub struct Selection {
    pub filter: Filter,
    /// Rows of each table.
    pub top: usize,
}

/// How many of something are shown.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, JsonSchema)]
pub struct ShownOf {
    pub shown: usize,
    pub of: usize,
}

/// The filter that was on (`--filter`). What it left out is not in this report.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FilterView {
    /// As it was given.
    pub expression: String,
    pub incidents: ShownOf,
    pub findings: ShownOf,
    pub sessions: ShownOf,
    pub servers: ShownOf,
    pub clients: ShownOf,
}

impl ShownOf {
    fn and(self, other: ShownOf) -> ShownOf {
        ShownOf {
            shown: self.shown.saturating_add(other.shown),
            of: self.of.saturating_add(other.of),
        }
    }
}

impl FilterView {
    /// What it left of two reports.
    pub fn and(self, other: &FilterView) -> FilterView {
        FilterView {
            incidents: self.incidents.and(other.incidents),
            findings: self.findings.and(other.findings),
            sessions: self.sessions.and(other.sessions),
            servers: self.servers.and(other.servers),
            clients: self.clients.and(other.clients),
            ..self
        }
    }
}

impl Selection {
    /// Everything, with tables of `top` rows.
    pub fn top(top: usize) -> Selection {
        Selection {
            filter: Filter::default(),
            top,
        }
    }

    /// The incidents that the filter leaves.
    pub fn incidents(&self, all: &[Incident]) -> Vec<Incident> {
        all.iter()
            .filter(|incident| self.filter.matches(*incident))
            .cloned()
            .collect()
    }

    /// The findings that the filter leaves, with their incidents.
    pub fn findings<'e>(
        &'e self,
        engine: &'e Engine,
    ) -> impl Iterator<Item = (&'e Finding, Option<&'e str>)> {
        engine
            .findings()
            .map(|(_, finding, incident)| (finding, incident))
            .filter(|(finding, _)| self.filter.matches(*finding))
    }

    /// The least stable prefixes, at most [`Selection::top`].
    pub fn prefixes(&self, engine: &Engine) -> Vec<PrefixRow> {
        self.rows(self.top, |most| engine.prefixes(most))
    }

    /// Sessions, at most `most`.
    pub fn sessions(&self, engine: &Engine, most: usize) -> Vec<SessionRow> {
        self.rows(most, |most| engine.sessions(most))
    }

    /// DHCP servers.
    pub fn servers(&self, engine: &Engine) -> Vec<ServerRow> {
        self.rows(usize::MAX, |_| engine.servers())
    }

    /// DHCP clients.
    pub fn clients(&self, engine: &Engine) -> Vec<ClientRow> {
        self.rows(usize::MAX, |_| engine.clients())
    }

    /// `all` may be asked for few rows only when nothing is left out of them.
    fn rows<T: Facts>(&self, most: usize, all: impl FnOnce(usize) -> Vec<T>) -> Vec<T> {
        if self.filter.is_empty() {
            return all(most);
        }
        let mut rows = all(usize::MAX);
        rows.retain(|row| self.filter.matches(row));
        rows.truncate(most);
        rows
    }

    /// The filter with its numbers, when one is on. `all` are the incidents before it.
    pub fn told(&self, engine: &Engine, all: &[Incident]) -> Option<FilterView> {
        if self.filter.is_empty() {
            return None;
        }
        let of = |shown: usize, of: usize| ShownOf { shown, of };
        let sessions = self.sessions(engine, usize::MAX).len();
        Some(FilterView {
            expression: crate::event::text::sanitized(self.filter.as_str()),
            incidents: self.count(all),
            findings: of(self.findings(engine).count(), engine.findings().count()),
            sessions: of(sessions, engine.sessions(usize::MAX).len()),
            servers: of(self.servers(engine).len(), engine.servers().len()),
            clients: of(self.clients(engine).len(), engine.clients().len()),
        })
    }

    /// How many of the incidents are shown; those that turned out to be part of another one are none of their own.
    pub fn count(&self, all: &[Incident]) -> ShownOf {
        let own = || all.iter().filter(|incident| incident.merged_into.is_none());
        ShownOf {
            shown: own()
                .filter(|incident| self.filter.matches(*incident))
                .count(),
            of: own().count(),
        }
    }

    /// `2 of 13 incidents match "sev:warn+".`
    pub fn sentence(&self, all: &[Incident]) -> String {
        let ShownOf { shown, of } = self.count(all);
        let (incidents, verb) = (
            if of == 1 { "incident" } else { "incidents" },
            if shown == 1 { "matches" } else { "match" },
        );
        format!(
            "{shown} of {of} {incidents} {verb} the filter \"{}\"",
            crate::event::text::sanitized(self.filter.as_str())
        )
    }
}
