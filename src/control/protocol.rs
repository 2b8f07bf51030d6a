//! What is said over the control socket. Fields are only ever added; a new meaning is a new version.

use serde::{Deserialize, Serialize};

use crate::output::alert::{CountsView, GapView, IncidentView};

/// Version of what follows.
pub const VERSION: u32 = 1;

/// Octets of a request: an annotation with all its texts at their longest.
pub const MAX_REQUEST: usize = crate::decode::annotation::MAX_OCTETS;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Who is there.
    Hello,
    /// Every incident that the service knows, as it stands; `filter` leaves some out.
    Incidents {
        #[serde(default)]
        filter: Option<String>,
    },
    /// One incident: as an object, and as a page of `width` columns.
    Show {
        id: String,
        #[serde(default)]
        width: Option<usize>,
    },
    /// What is watched, with what is missing.
    Sources,
    /// Puts an annotation on the timeline. See `decode::annotation`.
    Annotate { annotation: serde_json::Value },
    /// Be shown what a screen shows, of this version; what follows is [`super::bridge`]'s.
    Attach { screen: u32 },
    /// Everything that is counted.
    Metrics,
    /// How each sink does.
    DeliverStatus,
    /// A test incident to one sink, or to all.
    DeliverTest {
        #[serde(default)]
        sink: Option<String>,
    },
    /// Alerts as they become known, one a line, until either side ends.
    Subscribe {
        #[serde(default)]
        filter: Option<String>,
    },
}

/// An answer. `ok` tells whether `error` or the rest is there.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Answer {
    /// [`VERSION`].
    pub v: u32,
    pub ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(flatten)]
    pub said: Said,
}

/// What an answer says.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(untagged)]
pub enum Said {
    #[default]
    Nothing,
    Hello {
        /// Of the program.
        version: &'static str,
        host: Option<String>,
        pid: u32,
        /// When it began to watch.
        since: String,
    },
    Incidents {
        /// Of how many.
        of: usize,
        incidents: Vec<InRoom>,
    },
    Show {
        incident: Box<InRoom>,
        text: String,
    },
    Sources(Box<Sources>),
    Metrics {
        samples: Vec<crate::http::metrics::Sample>,
    },
    Delivery {
        sinks: Vec<crate::deliver::Status>,
        /// Null: none, what is not delivered is lost with the process.
        spool: Option<String>,
        spool_octets: u64,
        /// Alerts that were lost before the spool.
        lost: u64,
    },
    Tried {
        answers: Vec<Tried>,
    },
    Annotated {
        /// When it stands on the timeline.
        from: String,
    },
}

/// What a receiver said to a test.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    pub sink: String,
    /// `opened` or `resolved`.
    pub stage: &'static str,
    pub ok: bool,
    pub said: String,
}

/// An incident and the network namespace that it is in.
#[derive(Clone, Debug, Serialize)]
pub struct InRoom {
    /// Null for the host's own.
    pub namespace: Option<String>,
    #[serde(flatten)]
    pub incident: IncidentView,
}

/// What a service watches.
#[derive(Clone, Debug, Serialize)]
pub struct Sources {
    /// As sentences, as they were told at the start.
    pub watching: Vec<String>,
    pub rooms: Vec<RoomView>,
}

/// One network namespace.
#[derive(Clone, Debug, Serialize)]
pub struct RoomView {
    pub namespace: Option<String>,
    /// First and last time seen.
    pub from: Option<String>,
    pub to: Option<String>,
    pub counts: CountsView,
    pub gaps: Vec<GapView>,
    pub blind: Vec<String>,
    pub known: Vec<String>,
}

impl Answer {
    /// An answer that says something.
    pub fn of(said: Said) -> Answer {
        Answer {
            v: VERSION,
            ok: true,
            error: None,
            said,
        }
    }

    /// An answer that says what is wrong.
    pub fn wrong(error: impl Into<String>) -> Answer {
        Answer {
            v: VERSION,
            ok: false,
            error: Some(error.into()),
            said: Said::Nothing,
        }
    }

    /// As it goes over the socket.
    pub fn line(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_else(|error| {
            format!("{{\"v\":{VERSION},\"ok\":false,\"error\":\"{error}\"}}")
        });
        line.push('\n');
        line
    }
}
