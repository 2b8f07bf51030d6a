//! What machines and people get to see: the JSON contract, the text report, decoded events as lines.

pub mod alert;
pub mod bars;
pub mod bgpdump;
pub mod cards;
pub mod doctor;
pub mod html;
pub mod json;
pub mod line;
pub mod log;
pub mod pages;
pub mod report;
pub mod selection;
pub mod tables;
