//! Annotations and maintenance windows as their user sees them: possible causes, silences, and what ends a silence.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that cannot go on ends here

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// A file in the build's own folder, named for its test.
fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn analyze(options: &[&str]) -> Output {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/link-flap-under-bgp");
    let files = ["h.nl.pcap.gz", "h.pcapng.gz", "mon-bmp.pcap.gz"].map(|name| dir.join(name));
    Command::new(env!("CARGO_BIN_EXE_flapscope"))
        .arg("analyze")
        .args(options)
        .args(files)
        .output()
        .unwrap()
}

fn report(options: &[&str]) -> Value {
    let out = analyze(&[options, &["--format", "json"]].concat());
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    serde_json::from_slice(&out.stdout).unwrap()
}

/// First and last sign of the only incident without any configuration, and `seconds` from either.
fn at(of: &str, seconds: i64) -> String {
    let whole = report(&["--no-config"]);
    let incident = &whole["incidents"][0];
    assert_eq!(incident["severity"], "warning");
    let stamp = match of {
        "first" => incident["root"]["first"].as_str().unwrap().to_owned(),
        _ => whole["span"]["to"].as_str().unwrap().to_owned(),
    };
    let stamp: jiff::Timestamp = stamp.parse().unwrap();
    (stamp + jiff::SignedDuration::from_secs(seconds)).to_string()
}

fn window(name: &str, from: &str, to: &str, subjects: &str) -> PathBuf {
    file(
        name,
        &format!(
            "[[maintenance]]\nname = \"edge works\"\nstart = {from}\nend = {to}\nsubjects = \"{subjects}\"\n"
        ),
    )
}

#[test]
fn an_annotation_is_a_possible_cause_and_changes_nothing_else() {
    let whole = report(&["--no-config"]);
    let said = json!({"at": at("first", -2), "text": "deploy \u{1b}[2JX", "author": "ci", "subjects": ["if:pe0"]});
    let other = json!({"at": at("first", -2), "text": "elsewhere", "subjects": ["if:nowhere"]});
    let path = file(
        "annotated.ndjson",
        &format!("# deployments\n{said}\n\n{other}\n"),
    );
    let noted = report(&["--no-config", "--annotations", path.to_str().unwrap()]);
    let changes = noted["incidents"][0]["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0]["grade"], "possible");
    assert_eq!(changes[0]["text"], "deploy \\e[2JX");
    assert_eq!(
        changes[0]["because"],
        "2.0 s after annotation \"deploy \\e[2JX\" by ci"
    );
    assert_eq!(noted["annotations"].as_array().unwrap().len(), 2);
    let mut bare = noted["incidents"][0].clone();
    bare.as_object_mut().unwrap().remove("changes");
    assert_eq!(bare, whole["incidents"][0]);
}

#[test]
fn a_window_that_holds_all_of_an_incident_and_matches_it_silences_it() {
    let (from, to) = (at("first", -10), at("last", 600));
    for (name, subjects, severity) in [
        ("matches.toml", "if:pe0 kind:link", "info"),
        ("matches-not.toml", "if:nowhere", "warning"),
    ] {
        let path = window(name, &from, &to, subjects);
        let told = report(&["--config", path.to_str().unwrap()]);
        let incident = &told["incidents"][0];
        assert_eq!(incident["severity"], severity);
        assert_eq!(incident.get("silenced").is_some(), severity == "info");
        assert!(
            told["known"][0]
                .as_str()
                .unwrap()
                .contains("1 maintenance window")
        );
    }
}

#[test]
fn what_goes_on_behind_its_window_is_loud_again() {
    let path = window("short.toml", &at("first", -10), &at("first", 5), "");
    let config = path.to_str().unwrap();
    let out = analyze(&["--config", config, "--format", "ndjson"]);
    let alerts: Vec<Value> = String::from_utf8(out.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told = |alert: &Value| {
        let incident = &alert["incident"];
        (
            incident["severity"].as_str().unwrap().to_owned(),
            incident.get("silenced").is_some(),
        )
    };
    assert_eq!(told(alerts.first().unwrap()), ("info".into(), true));
    assert_eq!(told(alerts.last().unwrap()), ("warning".into(), false));
    // The change itself is told at once, not with the next growth.
    let loud = alerts.iter().find(|alert| !told(alert).1).unwrap();
    assert_eq!(loud["type"], "incident.updated");
}

#[test]
fn a_wrong_line_is_told_with_its_number() {
    let path = file(
        "wrong.ndjson",
        "{\"at\":\"2026-12-01T01:00:00Z\",\"text\":\"a\"}\n{\"text\":\"b\"}\n",
    );
    let out = analyze(&["--annotations", path.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(2));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("wrong.ndjson:2: no \"at\""), "{said}");
}
