//! `--state`: what one run learned the next one knows; damage is told and costs nothing but the baseline.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that cannot go on ends here

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_file(&path);
    path
}

fn analyze(scenario: &str, state: &Path) -> (Value, Output) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("captures")
        .join(scenario);
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains(".pcap"))
        .collect();
    files.sort();
    let out = Command::new(env!("CARGO_BIN_EXE_flapscope"))
        .args(["analyze", "--no-config", "--format", "json", "--state"])
        .arg(state)
        .args(files)
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    (serde_json::from_slice(&out.stdout).unwrap(), out)
}

fn known(report: &Value) -> &str {
    report["known"][0].as_str().unwrap()
}

fn held(state: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(state).unwrap()).unwrap()
}

#[test]
fn what_one_run_learned_the_next_one_knows_and_says_so() {
    let state = path("learned.json");
    let (first, _) = analyze("benign-two-servers", &state);
    assert!(
        known(&first).contains("begins with this run"),
        "{}",
        known(&first)
    );
    let servers = held(&state)["dhcp_servers"].as_array().unwrap().len();
    assert_eq!(servers, 2, "{}", held(&state));
    let before = std::fs::read(&state).unwrap();
    let (second, _) = analyze("benign-two-servers", &state);
    assert!(
        known(&second).contains("2 DHCP servers"),
        "{}",
        known(&second)
    );
    // Nothing new: the same octets, and the same incidents.
    assert_eq!(std::fs::read(&state).unwrap(), before);
    assert_eq!(first["incidents"], second["incidents"]);
    let folder = state.parent().unwrap();
    let beside = std::fs::read_dir(folder).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("learned.json.")
    });
    assert_eq!(beside.count(), 0, "the file beside is left behind");
}

#[test]
fn who_is_accused_is_not_learned() {
    let state = path("accused.json");
    let (report, _) = analyze("rogue-dhcp-server", &state);
    let rogue = report["incidents"]
        .as_array()
        .unwrap()
        .iter()
        .find(|incident| incident["kind"] == "dhcp.rogue-server")
        .unwrap();
    let accused = rogue["root"]["subjects"][0].as_str().unwrap();
    let accused = accused.strip_prefix("server:").unwrap();
    let servers = held(&state)["dhcp_servers"].to_string();
    assert!(!servers.contains(accused), "{accused} in {servers}");
}

#[test]
fn a_server_that_the_baseline_does_not_know_is_noted_once_at_info() {
    let state = path("newcomer.json");
    std::fs::write(
        &state,
        r#"{"schema":"flapscope.state/1","dhcp_servers":["203.0.113.250"],"dhcp_relays":[],"routers":[],"gateways":[]}"#,
    )
    .unwrap();
    let (report, _) = analyze("benign-renewals", &state);
    let noted: Vec<&Value> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["kind"] == "dhcp.rogue-server")
        .collect();
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert_eq!(noted[0]["severity"], "info");
    assert!(
        noted[0]["explain"]
            .as_str()
            .unwrap()
            .contains("not in the baseline")
    );
    assert!(noted[0]["incident"].is_null());
}

#[test]
fn a_damaged_or_foreign_file_is_told_and_learning_begins_anew() {
    for (name, text) in [
        ("cut.json", "{\"schema\":\"flapscope.state/1\",\"dhcp_serv"),
        ("binary.json", "\u{0}\u{1b}[2J"),
        (
            "version.json",
            "{\"schema\":\"flapscope.state/9\",\"dhcp_servers\":[],\"dhcp_relays\":[],\"routers\":[],\"gateways\":[]}",
        ),
        ("empty.json", ""),
    ] {
        let state = path(name);
        std::fs::write(&state, text).unwrap();
        let (report, out) = analyze("benign-renewals", &state);
        assert!(
            known(&report).contains("learning begins anew"),
            "{name}: {}",
            known(&report)
        );
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(said.contains(name) && !said.contains('\u{1b}'), "{said}");
        assert_eq!(held(&state)["schema"], "flapscope.state/1");
    }
}
