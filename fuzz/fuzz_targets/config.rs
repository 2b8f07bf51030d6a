//! A configuration file, and what is said about a wrong one.
#![no_main]

use flapscope::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = Config::parse(&String::from_utf8_lossy(bytes), "in") {
        let _ = error.to_string();
    }
});
