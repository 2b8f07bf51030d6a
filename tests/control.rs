//! The control socket as scripts see it, with a live service behind it; its hostile clients; and that a recording replays what was said.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that cannot go on ends here

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// A service with its own socket; killed and waited for at the end.
struct Service {
    child: Child,
    socket: PathBuf,
    errors: BufReader<std::process::ChildStderr>,
}

impl Service {
    fn start(name: &str, options: &[&str]) -> Service {
        let socket = path(&format!("{name}.sock"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_flapscope"))
            .args([
                "live",
                "--headless",
                "--no-packets",
                "--no-sandbox",
                "--format",
                "json",
            ])
            .arg("--socket")
            .arg(&socket)
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let mut service = Service {
            child,
            socket,
            errors,
        };
        service.hears("answering at");
        service
    }

    /// Reads what the service says until a line has `part`.
    fn hears(&mut self, part: &str) -> String {
        let mut said = String::new();
        loop {
            let from = said.len();
            let got = self.errors.read_line(&mut said).unwrap();
            assert!(got > 0, "the service ended before {part:?}: {said}");
            if said[from..].contains(part) {
                return said[from..].to_owned();
            }
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_flapscope"))
            .args(arguments)
            .arg("--socket")
            .arg(&self.socket)
            .output()
            .unwrap()
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    fn end(mut self) {
        self.signal("TERM");
        assert!(self.child.wait().unwrap().success());
        assert!(!self.socket.exists(), "the socket is left behind");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_file(&path);
    path
}

fn ask(stream: &mut UnixStream, request: &str) -> Value {
    stream.write_all(request.as_bytes()).unwrap();
    stream.write_all(b"\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[test]
fn a_service_answers_scripts_and_takes_annotations() {
    let service = Service::start("answers", &["--no-config"]);
    let mode = std::fs::metadata(&service.socket)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    assert!(text(&service.run(&["incidents"]).stdout).contains("no incidents"));
    let out = service.run(&["show", "i-00000000"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("there is no incident \"i-00000000\""));
    let out = service.run(&[
        "annotate",
        "deploy \u{1b}[2JX",
        "--until",
        "10m",
        "--subject",
        "link:lo",
    ]);
    assert!(
        text(&out.stdout).contains("\"deploy \\e[2JX\" stands on the timeline"),
        "{out:?}"
    );
    let out = service.run(&["annotate", "x", "--subject", "linc:lo"]);
    assert!(
        text(&out.stderr).contains("unknown key \"linc\""),
        "{out:?}"
    );
    let sources = ask(&mut service.connect(), r#"{"do":"sources"}"#);
    assert_eq!((&sources["v"], &sources["ok"]), (&1.into(), &true.into()));
    assert!(text(sources["watching"].to_string().as_bytes()).contains("the kernel's links"));
    service.end();
}

#[test]
fn without_a_service_the_message_names_the_path_and_what_to_do() {
    let nobody = path("nobody.sock");
    let out = Command::new(env!("CARGO_BIN_EXE_flapscope"))
        .args(["incidents", "--socket"])
        .arg(&nobody)
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(2));
    let said = text(&out.stderr);
    assert!(
        said.contains("nobody.sock") && said.contains("flapscope live --headless"),
        "{said}"
    );
}

#[test]
fn a_second_service_does_not_take_the_place_of_the_first_and_a_dead_ones_place_is_free() {
    let service = Service::start("second", &["--no-config"]);
    let out = service.run(&["live", "--headless", "--no-packets", "--no-config"]);
    assert!(
        text(&out.stderr).contains("another service answers there"),
        "{out:?}"
    );
    service.signal("KILL");
    let socket = service.socket.clone();
    let mut service = service;
    service.child.wait().unwrap();
    assert!(socket.exists());
    // `start` removes the file, so bind by hand where the dead one was.
    drop(std::os::unix::net::UnixListener::bind(path("third.sock")).unwrap());
    let third = socket.with_file_name("third.sock");
    assert!(third.exists());
    let server = flapscope::control::server::Server::bind(&third).unwrap();
    assert_eq!(server.path(), third);
    let file = path("file.sock");
    std::fs::write(&file, "precious").unwrap();
    assert!(flapscope::control::server::Server::bind(&file).is_err());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn hostile_clients_get_an_error_or_are_cut_off_and_others_are_served() {
    let service = Service::start("hostile", &["--no-config"]);
    for request in [
        "",
        "{",
        "null",
        r#"{"do":"fly"}"#,
        r#"{"do":"incidents","filter":"sve:x"}"#,
        r#"{"do":"subscribe","filter":"sve:x"}"#,
        r#"{"do":"show","id":""}"#,
        r#"{"do":"annotate","annotation":{"text":""}}"#,
        r#"{"do":"annotate","annotation":{"text":"x","silence":true}}"#,
        r#"{"do":"annotate","annotation":[[[[]]]]}"#,
        "\u{0}\u{1b}[2J",
    ] {
        let answer = ask(&mut service.connect(), request);
        assert_eq!(answer["ok"], false, "{request}: {answer}");
        assert!(answer["error"].is_string());
    }
    // A request without end.
    let mut endless = service.connect();
    let chunk = vec![b'x'; 64 << 10];
    let _ = endless
        .write_all(&chunk)
        .and_then(|()| endless.write_all(&chunk));
    let mut rest = String::new();
    let _ = endless.read_to_string(&mut rest); // a reset is an end, too
    assert!(rest.is_empty() || rest.contains("octets"), "{rest}");
    // Silent ones do not keep others out, up to the bound.
    let silent: Vec<UnixStream> = (0..15).map(|_| service.connect()).collect();
    assert_eq!(ask(&mut service.connect(), r#"{"do":"hello"}"#)["ok"], true);
    drop(silent);
    service.end();
}

#[test]
fn a_hang_up_reads_the_windows_again_and_a_wrong_file_changes_nothing() {
    let file = path("reload.toml");
    std::fs::write(&file, "").unwrap();
    let mut service = Service::start("reload", &["--config", file.to_str().unwrap()]);
    std::fs::write(
        &file,
        "[[maintenance]]\nname = \"x\"\nevery = \"day 00:00 UTC\"\nfor = \"24h\"\n",
    )
    .unwrap();
    service.signal("HUP");
    assert!(service.hears("SIGHUP").contains("1 maintenance window"));
    std::fs::write(&file, "[owned]\n").unwrap();
    service.signal("HUP");
    let said = service.hears("SIGHUP");
    assert!(
        said.contains("did you mean `own`?") && said.contains("stay as they were"),
        "{said}"
    );
    service.end();
}

#[test]
fn an_annotation_is_in_the_recording_where_it_was_said() {
    let recording = path("annotated.pcapng");
    let service = Service::start(
        "recorded",
        &["--no-config", "-w", recording.to_str().unwrap()],
    );
    let out = service.run(&[
        "annotate",
        "deploy X",
        "--author",
        "ci",
        "--subject",
        "if:lo",
    ]);
    assert!(out.status.success(), "{out:?}");
    service.end();
    let out = Command::new(env!("CARGO_BIN_EXE_flapscope"))
        .args(["analyze", "--no-config", "--format", "json"])
        .arg(&recording)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    let said = &report["annotations"][0];
    assert_eq!(
        (&said["text"], &said["author"]),
        (&"deploy X".into(), &"ci".into())
    );
    assert_eq!(said["subjects"][0], "if:lo");
}
