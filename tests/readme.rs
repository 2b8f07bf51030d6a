//! The README shows what the program prints: its incident is the golden of the recording it names.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on ends here

use std::path::Path;

#[test]
fn the_incident_in_the_readme_is_the_golden_of_its_recording() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let shown = readme
        .split("```text\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let golden =
        std::fs::read_to_string(root.join("captures/lease-expiry-breaks-bgp/report.txt")).unwrap();
    assert!(
        golden.contains(shown.trim_end()),
        "README.md shows what the program no longer prints: copy the incident from the golden"
    );
}
