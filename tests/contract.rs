//! The JSON contract: the published schemas are those of the types, every alert and report is valid by them, and the page that describes
//! the contract names every field. `BLESS=1` writes the schemas again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that cannot go on ends here

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use flapscope::output::{doctor, json};
use serde_json::Value;
use support::own_scenarios;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn schemas() -> [(&'static str, Value); 3] {
    [
        ("alert", json::alert_schema()),
        ("report", json::report_schema()),
        ("doctor", doctor::schema()),
    ]
}

#[test]
fn the_published_schemas_are_those_of_the_types() {
    for (name, schema) in schemas() {
        let path = docs().join("schema").join(format!("{name}.json"));
        let wanted = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &wanted).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            published == wanted,
            "{} is stale: BLESS=1 cargo test --test contract",
            path.display()
        );
    }
}

#[test]
fn the_contracts_page_names_every_field() {
    let page = std::fs::read_to_string(docs().join("alerts.md")).unwrap();
    let mut missing = BTreeSet::new();
    for (_, schema) in schemas() {
        fields(&schema, &mut |field| {
            if !page.contains(&format!("`{field}`")) {
                missing.insert(field.to_owned());
            }
        });
    }
    assert!(
        missing.is_empty(),
        "docs/alerts.md does not mention {missing:?}"
    );
}

#[test]
fn what_doctor_finds_is_valid_and_every_trouble_has_a_sentence() {
    let done = Command::new(env!("CARGO_BIN_EXE_flapscope"))
        .args(["doctor", "--format", "json"])
        .output()
        .unwrap();
    assert!(done.status.success());
    let found: Value = serde_json::from_slice(&done.stdout).unwrap();
    let schema = doctor::schema();
    check(&schema, &schema, &found, "doctor");
    for check in found["checks"].as_array().unwrap() {
        assert!(check["says"].as_str().unwrap().len() > 10, "{check}");
    }
    assert!(found["paste"].as_array().unwrap().len() >= 8);
}

fn fields(schema: &Value, found: &mut impl FnMut(&str)) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                properties.keys().for_each(|name| found(name));
            }
            object.values().for_each(|value| fields(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| fields(value, found)),
        _ => {}
    }
}

fn analyze(directory: &Path, format: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flapscope"));
    command.args(["analyze", "--format", format]);
    for (name, _) in support::inputs_of(directory) {
        command.arg(directory.join(name));
    }
    let done = command.output().unwrap();
    assert!(
        done.status.success(),
        "{}: {}",
        directory.display(),
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn every_alert_and_report_is_valid_and_both_name_the_same_incidents() {
    let [(_, alert), (_, report), _] = schemas();
    for directory in own_scenarios() {
        let document: Value = serde_json::from_str(&analyze(&directory, "json")).unwrap();
        check(&report, &report, &document, "report");
        let mut named = BTreeSet::new();
        for line in analyze(&directory, "ndjson").lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            check(&alert, &alert, &value, "alert");
            named.insert(value["incident"]["id"].as_str().unwrap().to_owned());
        }
        let listed: BTreeSet<String> = document["incidents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(named, listed, "{}", directory.display());
    }
}

/// Validates by the part of JSON Schema that the generator uses; anything else in a schema fails the test.
fn check(root: &Value, schema: &Value, value: &Value, at: &str) {
    let Value::Object(rules) = schema else {
        assert_eq!(schema, &Value::Bool(true), "{at}: schema {schema}");
        return;
    };
    for (rule, wanted) in rules {
        match rule.as_str() {
            "$ref" => {
                let pointer = wanted.as_str().unwrap().trim_start_matches('#');
                check(root, root.pointer(pointer).unwrap(), value, at);
            }
            "type" => {
                let allowed: Vec<&str> = wanted.as_array().map_or_else(
                    || vec![wanted.as_str().unwrap()],
                    |a| a.iter().map(|t| t.as_str().unwrap()).collect(),
                );
                let is = match value {
                    Value::Null => "null",
                    Value::Bool(_) => "boolean",
                    Value::Number(n) if n.is_f64() => "number",
                    Value::Number(_) => "integer",
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                };
                assert!(
                    allowed.contains(&is) || is == "integer" && allowed.contains(&"number"),
                    "{at}: {is} is not {allowed:?}"
                );
            }
            "properties" => {
                if let Value::Object(object) = value {
                    for (name, inner) in object {
                        let schema = wanted
                            .get(name)
                            .unwrap_or_else(|| panic!("{at}.{name} is not in the schema"));
                        check(root, schema, inner, &format!("{at}.{name}"));
                    }
                }
            }
            "required" => {
                for name in wanted.as_array().unwrap() {
                    assert!(
                        value.get(name.as_str().unwrap()).is_some(),
                        "{at} lacks {name}"
                    );
                }
            }
            "items" => {
                for (n, inner) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, wanted, inner, &format!("{at}[{n}]"));
                }
            }
            "enum" => assert!(wanted.as_array().unwrap().contains(value), "{at}: {value}"),
            "const" => assert_eq!(wanted, value, "{at}"),
            "minimum" => assert!(
                value.as_f64().is_none_or(|v| v >= wanted.as_f64().unwrap()),
                "{at}"
            ),
            "maximum" => assert!(
                value.as_f64().is_none_or(|v| v <= wanted.as_f64().unwrap()),
                "{at}"
            ),
            "minItems" | "maxItems" => {
                if let (Some(items), Some(limit)) = (value.as_array(), wanted.as_u64()) {
                    assert!(
                        if rule == "minItems" {
                            items.len() as u64 >= limit
                        } else {
                            items.len() as u64 <= limit
                        },
                        "{at}"
                    );
                }
            }
            "anyOf" | "oneOf" => {
                let fits =
                    wanted.as_array().unwrap().iter().any(|one| {
                        std::panic::catch_unwind(|| check(root, one, value, at)).is_ok()
                    });
                assert!(fits, "{at}: {value} fits none of {wanted}");
            }
            "$schema" | "$defs" | "title" | "description" | "format" | "default" => {}
            other => panic!("{at}: the schema uses {other}, which this test does not check"),
        }
    }
}
