//! `analyze --filter` as its user sees it, and the table of keys in the documentation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that cannot go on ends here

use std::path::Path;
use std::process::{Command, Output};

use flapscope::filter::Key;
use serde_json::Value;

fn analyze(options: &[&str]) -> Output {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/dual-fault");
    let files = ["h.nl.pcap.gz", "h.pcapng.gz", "mon-bmp.pcap.gz"].map(|name| dir.join(name));
    Command::new(env!("CARGO_BIN_EXE_flapscope"))
        .arg("analyze")
        .args(options)
        .args(files)
        .output()
        .unwrap()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

#[test]
fn the_text_report_shows_what_matches_and_says_how_much_that_is() {
    let whole = text(&analyze(&[]).stdout);
    let part = text(&analyze(&["--filter", "kind:prefix"]).stdout);
    assert!(whole.contains("2 incidents:") && !whole.contains("filter"));
    assert!(part.contains("1 of 2 incidents matches the filter \"kind:prefix\""));
    let incidents = |page: &str| page.lines().filter(|l| l.contains("  IMPACT  ")).count();
    assert_eq!((incidents(&whole), incidents(&part)), (2, 1));
}

#[test]
fn the_document_shows_what_matches_and_says_how_much_that_is() {
    let whole: Value = serde_json::from_slice(&analyze(&["--format", "json"]).stdout).unwrap();
    assert!(whole.get("filter").is_none());
    let part = analyze(&["--format", "json", "--filter", "prefix:203.0.113.240"]);
    let part: Value = serde_json::from_slice(&part.stdout).unwrap();
    assert_eq!(part["filter"]["expression"], "prefix:203.0.113.240");
    assert_eq!(part["filter"]["incidents"]["shown"], 1);
    assert_eq!(part["filter"]["incidents"]["of"], 2);
    assert_eq!(part["incidents"].as_array().unwrap().len(), 1);
    for row in part["prefixes"].as_array().unwrap() {
        assert_eq!(row["prefix"], "203.0.113.240/32");
    }
    assert!(part["sessions"].as_array().unwrap().is_empty());
}

#[test]
fn an_incident_that_matched_once_is_told_to_its_end_and_stderr_counts() {
    let whole = text(&analyze(&["--format", "ndjson"]).stdout);
    let part = analyze(&["--format", "ndjson", "--filter", "kind:dhcp"]);
    let lines = text(&part.stdout);
    let expected: Vec<&str> = whole
        .lines()
        .filter(|line| line.contains("\"kind\":\"dhcp."))
        .collect();
    assert!(!expected.is_empty());
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
    assert!(text(&part.stderr).contains("1 of 2 incidents matches the filter \"kind:dhcp\""));
}

#[test]
fn the_exit_code_counts_what_matches() {
    assert_eq!(
        analyze(&["--exit-code", "--filter", "sev:warn+"])
            .status
            .code(),
        Some(1)
    );
    assert_eq!(
        analyze(&["--exit-code", "--filter", "sev:critical"])
            .status
            .code(),
        Some(0)
    );
}

#[test]
fn a_mistake_ends_with_a_caret_under_it() {
    let out = analyze(&["--filter", "up1 sve:warn"]);
    assert_eq!(out.status.code(), Some(2));
    let said = text(&out.stderr);
    assert!(said.contains("did you mean sev?, at column 5"), "{said}");
    assert!(said.contains("\nup1 sve:warn\n    ^^^\n"), "{said}");
}

#[test]
fn the_documentation_lists_the_keys_that_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/filter.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once("(BLESS=1) -->\n").unwrap();
    let (_, tail) = rest.split_once("<!-- end -->").unwrap();
    let rows: String = Key::ALL
        .iter()
        .map(|(_, word, meaning)| format!("| `{word}` | {meaning} |\n"))
        .collect();
    let expected =
        format!("{head}(BLESS=1) -->\n| key | value |\n|---|---|\n{rows}<!-- end -->{tail}");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    } else {
        assert_eq!(page, expected, "run BLESS=1 cargo test --test filter");
    }
}
