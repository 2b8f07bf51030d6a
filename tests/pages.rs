//! What is generated or served for others: docs/metrics.md is the program's table, and the report page asks nobody for anything.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)] // a test that cannot go on ends here

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use flapscope::http::metrics;

const FLAPSCOPE: &str = env!("CARGO_BIN_EXE_flapscope");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_page_about_metrics_is_the_programs_table() {
    let path = root().join("docs/metrics.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, metrics::page()).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap(),
        metrics::page(),
        "BLESS=1 writes it anew"
    );
}

fn get(port: u16, path: &str, accept: &str) -> (u16, String, String) {
    let mut stream = (0..100)
        .find_map(|_| {
            std::thread::park_timeout(Duration::from_millis(100));
            TcpStream::connect(("127.0.0.1", port)).ok()
        })
        .unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, head.to_ascii_lowercase(), body.to_owned())
}

#[test]
fn a_service_serves_metrics_that_promtool_takes_and_says_that_it_is_ready() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let socket = std::env::temp_dir().join(format!("flapscope-pages-{}.sock", std::process::id()));
    let mut service = Command::new(FLAPSCOPE)
        .args([
            "live",
            "--headless",
            "--no-packets",
            "--no-config",
            "--format",
            "json",
            "--http",
        ])
        .arg(format!("127.0.0.1:{port}"))
        .arg("--socket")
        .arg(&socket)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (code, head, plain) = get(port, "/metrics", "text/plain");
    assert_eq!(code, 200);
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    let (_, head, open) = get(
        port,
        "/metrics",
        "application/openmetrics-text; version=1.0.0",
    );
    assert!(head.contains("application/openmetrics-text") && open.ends_with("# EOF\n"));
    assert_eq!(get(port, "/healthz", "*/*").0, 200);
    let (code, _, said) = get(port, "/readyz", "*/*");
    assert!(code == 200 && said.contains("the kernel"), "{code} {said}");
    assert_eq!(get(port, "/api/v1/incidents", "*/*").0, 200);
    assert_eq!(get(port, "/api/v1/incidents?filter=nokey:x", "*/*").0, 400);
    assert_eq!(get(port, "/report/i-000000", "*/*").0, 404);
    assert_eq!(get(port, "/etc/passwd", "*/*").0, 404);
    let mut check = Command::new(FLAPSCOPE);
    let checked = check
        .arg("check")
        .arg("--socket")
        .arg(&socket)
        .output()
        .unwrap();
    let line = String::from_utf8(checked.stdout).unwrap();
    assert!(
        line.starts_with("FLAPSCOPE ") && line.contains("| critical=") && line.lines().count() == 1,
        "{line}"
    );
    let pid = nix::unistd::Pid::from_raw(service.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    service.wait().unwrap();
    let checked = Command::new(FLAPSCOPE)
        .arg("check")
        .arg("--socket")
        .arg(&socket)
        .output()
        .unwrap();
    assert_eq!(checked.status.code(), Some(3), "nobody answers: UNKNOWN");
    assert_eq!(
        Command::new(FLAPSCOPE)
            .args(["check", "--colour"])
            .output()
            .unwrap()
            .status
            .code(),
        Some(3)
    );
    promtool(&plain);
}

/// Prometheus' own opinion of the text.
fn promtool(text: &str) {
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        assert!(
            std::env::var_os("REQUIRE_ALL").is_none(),
            "promtool is not installed"
        );
        println!("SKIPPED: promtool is not installed");
        return;
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
fn a_report_page_is_whole_asks_nobody_and_says_what_the_text_says() {
    let mut captures: Vec<_> = std::fs::read_dir(root().join("captures"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    captures.sort();
    for folder in captures.iter().take(5) {
        let files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().contains(".pcap"))
            .collect();
        let page = |format: &str| {
            let done = Command::new(FLAPSCOPE)
                .args(["analyze", "--no-config", "--format", format])
                .args(&files)
                .output()
                .unwrap();
            String::from_utf8(done.stdout).unwrap()
        };
        let html = page("html");
        assert_eq!(html, page("html"), "the same octets for the same report");
        assert!(html.len() < 500_000, "{}: {}", folder.display(), html.len());
        for outward in [
            "src=",
            "href=\"http",
            "url(http",
            "@import",
            "<link",
            " style=",
            "onclick",
            "<script>",
        ] {
            assert!(!html.contains(outward), "{}: {outward}", folder.display());
        }
        let report: serde_json::Value = serde_json::from_str(&page("json")).unwrap();
        let data = html
            .split_once("id=\"report\">")
            .unwrap()
            .1
            .split_once("</script>")
            .unwrap()
            .0;
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(data, report, "{}", folder.display());
        for incident in report["incidents"].as_array().unwrap() {
            assert!(html.contains(incident["id"].as_str().unwrap()));
        }
        if report["incidents"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
        {
            assert!(page("svg").starts_with("<svg xmlns="));
        }
    }
}
