//! What leaves the process: decoded events and incidents as text for people and machines.

pub mod bgpdump;
