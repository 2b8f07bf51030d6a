//! What machines and people get to see: the JSON contract, the text report, decoded events as lines.

pub mod alert;
pub mod bgpdump;
pub mod json;
pub mod line;
pub mod report;
pub mod tables;

use crate::correlate::incident::Incident;
use crate::engine::Engine;

/// What is reported of one engine. Several are several network namespaces of one host.
pub struct Judged<'a> {
    /// The namespace, where it is not the host's own.
    pub namespace: Option<&'a str>,
    /// Its engine.
    pub engine: &'a Engine,
    /// Its incidents, as far as they shall be shown.
    pub incidents: Vec<Incident>,
}
