//! `--http ADDR`: a few pages for machines that look, and the report for people that follow a link. Off unless asked for, and read-only.

pub mod metrics;
pub mod server;
