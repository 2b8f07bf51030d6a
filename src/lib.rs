//! flapscope: which routes are unstable, since when, and why.
//!
//! ```text
//!  input ──Record──▶ decode ──Event──▶ state ──Observation──▶ detect ──Finding──▶ correlate ──Incident──▶ output / tui
//! ```
#![forbid(unsafe_code)]

pub mod cli;
pub mod commands;
pub mod config;
pub mod control;
pub mod correlate;
pub mod decode;
pub mod deliver;
pub mod detect;
pub mod engine;
pub mod event;
pub mod filter;
pub mod http;
pub mod input;
pub mod output;
pub mod privilege;
pub mod state;
pub mod tui;
