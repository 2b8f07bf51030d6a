//! What is delivered: a notice, flat enough for a log line and whole enough for a machine.

use serde::{Deserialize, Serialize};

/// One thing to tell. (id, rev) is its key: whoever gets it twice may forget one.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Notice {
    pub id: String,
    pub rev: u32,
    pub stage: Stage,
    pub urgency: Urgency,
    /// What it is about, from a small fixed vocabulary: `session.down`.
    pub kind: String,
    /// One sentence.
    pub title: String,
    /// What it means, with numbers.
    pub text: String,
    /// How it came about, one step a line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// What helps next, one command each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<String>,
    /// Who says so.
    pub host: Option<String>,
    /// RFC 3339.
    pub at: String,
    pub opened_at: String,
    /// Names and values that tell what it is about: `peer`, `prefix`, `interface`. Never used as an identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<(String, String)>,
    /// Where to read on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// For machines: the whole as one JSON document, unchanged from who made it.
    pub body: String,
    /// Somebody tries whether notices arrive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
}

/// Where in its life what a notice is about stands.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Opened,
    Updated,
    Resolved,
}

/// How urgent.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    Info,
    Warning,
    Critical,
}

impl Stage {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Opened => "opened",
            Stage::Updated => "updated",
            Stage::Resolved => "resolved",
        }
    }
}

impl Urgency {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Urgency::Info => "info",
            Urgency::Warning => "warning",
            Urgency::Critical => "critical",
        }
    }

    /// As syslog and the journal count: err for what must be looked at now, warning, notice.
    pub fn syslog(self) -> u8 {
        match self {
            Urgency::Critical => 2,
            Urgency::Warning => 4,
            Urgency::Info => 6,
        }
    }
}

impl Notice {
    /// (id, rev) in one word, for receivers that know one key.
    pub fn key(&self) -> String {
        format!("{}/{}", self.id, self.rev)
    }

    /// What it is about is over.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Resolved
    }

    /// The value of a fact.
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts
            .iter()
            .find(|(of, _)| of == name)
            .map(|(_, value)| value.as_str())
    }
}

/// For tests of sinks: a notice with everything in it.
#[cfg(test)]
pub(crate) fn sample(id: &str, rev: u32, stage: Stage) -> Notice {
    Notice {
        id: id.to_owned(),
        rev,
        stage,
        urgency: Urgency::Critical,
        kind: "session.down".to_owned(),
        title: "session to 192.0.2.1 (AS64501) went down".to_owned(),
        text: "3 prefixes lost their last path".to_owned(),
        steps: vec!["1. up1 lost carrier".to_owned()],
        advice: vec!["vtysh -c 'show bgp neighbors 192.0.2.1'".to_owned()],
        host: Some("edge1".to_owned()),
        at: "2026-12-01T01:02:03.000000004Z".to_owned(),
        opened_at: "2026-12-01T01:02:00.000000000Z".to_owned(),
        facts: vec![("peer".to_owned(), "192.0.2.1".to_owned())],
        link: None,
        body: format!("{{\"incident\":{{\"id\":\"{id}\",\"rev\":{rev}}}}}"),
        test: false,
    }
}
