//! The flight recorder: everything a live run sees, in one pcapng.
