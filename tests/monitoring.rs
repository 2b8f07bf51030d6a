//! Rules and dashboard: they name metrics that exist, fire when they should, stay quiet when they should, and their tests notice a change.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)] // a test that cannot go on ends here

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flapscope::http::metrics::FAMILIES;
use serde_json::Value;

fn packaged(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging")
        .join(name)
}

/// Words of ours in an expression.
fn metrics(text: &str) -> Vec<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("flapscope_"))
        .map(str::to_owned)
        .collect()
}

fn exists(metric: &str) -> bool {
    FAMILIES.iter().any(|family| family.name == metric)
}

#[test]
fn every_metric_of_the_dashboard_and_of_the_rules_exists() {
    let dashboard = fs::read_to_string(packaged("grafana/flapscope.json")).unwrap();
    let parsed: Value = serde_json::from_str(&dashboard).unwrap();
    for panel in parsed["panels"].as_array().unwrap() {
        let query = panel["targets"][0]["expr"].as_str().unwrap();
        assert!(!metrics(query).is_empty(), "{query}");
    }
    // Provisioned from a file: nothing is asked of who imports it.
    assert!(parsed["__inputs"].is_null() && parsed["uid"] == "flapscope");
    let rules = fs::read_to_string(packaged("prometheus/flapscope.rules.yml")).unwrap();
    let named: Vec<String> = metrics(&dashboard)
        .into_iter()
        .chain(metrics(&rules))
        .collect();
    assert!(named.len() > 12);
    for metric in named {
        assert!(exists(&metric), "{metric}");
    }
}

/// Whether the rules' own tests hold with this text of the rules; `None` without promtool.
fn holds(rules: &str) -> Option<bool> {
    let folder = std::env::temp_dir().join(format!("flapscope-rules-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("flapscope.rules.yml"), rules).unwrap();
    let tests = fs::read_to_string(packaged("prometheus/flapscope.test.yml")).unwrap();
    fs::write(folder.join("flapscope.test.yml"), tests).unwrap();
    let done = Command::new("promtool")
        .args(["test", "rules", "flapscope.test.yml"])
        .current_dir(&folder)
        .output();
    let Ok(done) = done else {
        assert!(
            std::env::var_os("REQUIRE_ALL").is_none(),
            "promtool is not installed"
        );
        println!("SKIPPED: promtool is not installed");
        return None;
    };
    Some(done.status.success())
}

#[test]
fn the_rules_fire_stay_quiet_and_wait_as_they_should_and_each_change_of_one_is_noticed() {
    let rules = fs::read_to_string(packaged("prometheus/flapscope.rules.yml")).unwrap();
    let Some(right) = holds(&rules) else {
        return;
    };
    assert!(right, "as they are");
    let lines: Vec<&str> = rules.lines().collect();
    let mut changed = 0;
    for (n, line) in lines.iter().enumerate() {
        let mutants: Vec<String> = if line.trim_start().starts_with("expr:") {
            let turned = line.replace(" > ", " < ").replace(" == 0", " == 3");
            let halves: Vec<String> = line.split(" or ").map(str::to_owned).collect();
            let mut all = vec![turned];
            if let [first, _] = halves.as_slice() {
                all.push(first.clone());
            }
            all
        } else if line.trim_start().starts_with("for:") {
            vec![line.replace("for: ", "for: 1"), String::new()]
        } else if line.trim_start().starts_with("labels:") {
            vec![line.replace("severity: ", "severity: not-")]
        } else {
            continue;
        };
        for mutant in mutants {
            let mut text: Vec<&str> = lines.clone();
            text[n] = &mutant;
            changed += 1;
            assert_eq!(
                holds(&text.join("\n")),
                Some(false),
                "nobody notices: {line} -> {mutant}"
            );
        }
    }
    assert!(changed > 15, "{changed} changes");
}
