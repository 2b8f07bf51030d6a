//! What machines and people get to see: the JSON contract and the text report.

pub mod alert;
pub mod json;
pub mod report;
pub mod tables;
pub mod line;
pub mod bgpdump;
