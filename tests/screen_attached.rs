//! The screen of a service that runs elsewhere, in a real terminal (tmux): the verdict, read off it by two readers at once, while
//! nothing is captured twice; the service that stops, ends and comes back; and those that cannot be attached to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    dead_code
)] // a test's helpers fail loudly, say what they skip, and measure on the wall

#[path = "netns/host.rs"]
mod host;
#[path = "screen/terminal.rs"]
mod terminal;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use host::Host;
use terminal::{Terminal, possible};

const PROGRAM: &str = env!("CARGO_BIN_EXE_flapscope");

/// A service in a namespace; its alerts go to a file.
struct Service {
    child: Child,
    socket: PathBuf,
    alerts: PathBuf,
}

fn path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_file(&path);
    path
}

impl Service {
    fn start(host: &Host, name: &str) -> Service {
        let socket = path(&format!("{name}.sock"));
        let alerts = path(&format!("{name}.ndjson"));
        let mut child = Command::new("ip")
            .args(["netns", "exec", &host.name, PROGRAM, "live", "--headless"])
            .args(["--no-config", "--format", "json", "--socket"])
            .arg(&socket)
            .stdout(File::create(&alerts).unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("answering at") {
            assert!(errors.read_line(&mut said).unwrap() > 0, "{said}");
        }
        // What it still says is nobody's matter, but has to be read.
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        Service {
            child,
            socket,
            alerts,
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// A bare `flapscope` in a terminal where this service is the host's.
    fn screen(&self, host: &Host, name: &str, size: (u16, u16), options: &str) -> Terminal {
        let terminal = Terminal::new(name, size.0, size.1);
        terminal.run(&format!(
            "cd {} && FLAPSCOPE_SOCKET={} ip netns exec {} {PROGRAM} {options}",
            env!("CARGO_TARGET_TMPDIR"),
            self.socket.display(),
            host.name
        ));
        terminal
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Sockets in a namespace that capture packets, and that hear of the kernel's routes.
fn listeners(host: &Host) -> (usize, usize) {
    let read = |file: &str| {
        let out = Command::new("ip")
            .args(["netns", "exec", &host.name, "cat", file])
            .output();
        String::from_utf8_lossy(&out.unwrap().stdout).into_owned()
    };
    let packets = read("/proc/net/packet").lines().skip(1).count();
    // Columns: sk Eth Pid Groups; NETLINK_ROUTE is 0.
    let routes = read("/proc/net/netlink")
        .lines()
        .skip(1)
        .filter(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.get(1) == Some(&"0") && words.get(3) != Some(&"00000000")
        })
        .count();
    (packets, routes)
}

fn flap(host: &Host, times: u32) {
    for _ in 0..times {
        host.far("link set up1 down");
        std::thread::sleep(Duration::from_millis(700));
        host.far("link set up1 up");
        std::thread::sleep(Duration::from_millis(700));
    }
}

#[test]
fn two_screens_look_at_one_service_and_nothing_is_captured_twice() {
    if !possible() || !host::possible() {
        return;
    }
    let host = Host::new("att");
    host.uplink("up1", "192.0.2.1/24", "2001:db8:1::1/64");
    let service = Service::start(&host, "attached-two");
    let mode = std::fs::metadata(&service.socket).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o660);
    let alone = listeners(&host);
    assert!(alone.0 >= 1 && alone.1 >= 1, "{alone:?}");

    let first = service.screen(&host, "att-first", (80, 24), "");
    let second = service.screen(&host, "att-second", (120, 40), "");
    let text = first.until("whose screen it is", |text| {
        text.contains("● ATTACHED") && text.contains("attached to the service flapscope")
    });
    assert!(text.contains("watching since"), "{text}");
    second.until("the second screen", |text| text.contains("● ATTACHED"));
    assert_eq!(listeners(&host), alone, "something is captured twice");

    flap(&host, 3);
    let verdict = |text: &str| text.contains("ROOT") && text.contains("up1 lost carrier 3 times");
    let text = first.until("the verdict", verdict);
    assert!(text.contains("TRY"), "{text}");
    second.until("the verdict here too", verdict);
    // Each has its own view: the second looks for what is not there.
    second.press("/");
    second.type_in("kind:route.flap");
    second.press("Enter");
    second.until("nothing of that kind", |text| {
        text.contains("match") && !text.contains("ROOT")
    });
    assert!(verdict(&first.text()));
    // Frames, and the events, come over the socket.
    first.press("Enter");
    first.press("Enter");
    let text = first.until("the frames", |text| {
        text.contains("octets") && text.contains("LINK")
    });
    assert!(text.contains("carrier"), "{text}");
    first.press("Escape");
    first.press("Escape");
    first.until("the chain", |text| text.contains("WHY"));
    // The bundle is written here, not by the service, which may not write.
    first.press("w");
    let text = first.until("the bundle", |text| text.contains("wrote "));
    let folder = text
        .split_whitespace()
        .find(|word| word.starts_with("./flapscope-i-"))
        .expect("its name");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let story = std::fs::read_to_string(folder.join("story.txt")).unwrap();
    assert!(story.contains("up1 lost carrier 3 times"), "{story}");
    let slice = folder.join("packets.pcapng");
    let again = Command::new(PROGRAM)
        .args(["analyze", "--no-config", "--format", "json"])
        .arg(&slice)
        .output()
        .unwrap();
    let again = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(again.contains("up1 lost carrier 3 times"), "{again}");
    std::fs::remove_dir_all(&folder).unwrap();
    // What the screens show is what the alerts said; none of it was told twice.
    let alerts = std::fs::read_to_string(&service.alerts).unwrap();
    let opened = alerts
        .lines()
        .filter(|l| l.contains("incident.opened"))
        .count();
    assert_eq!(opened, 1, "{alerts}");

    // Own eyes, where they are asked for.
    second.press("q");
    second.until("the shell", |text| text.contains("shell>"));
    let own = service.screen(&host, "att-own", (80, 24), "--no-attach");
    own.until("its own screen", |text| text.contains("● LIVE"));
    assert!(listeners(&host).0 > alone.0);
    own.press("q");
    own.until("the shell", |text| text.contains("shell>"));
    first.press("q");
    first.until("the shell", |text| text.contains("shell>"));
    assert!(!first.alternate());
}

#[test]
fn a_service_that_stops_ends_and_returns_is_told_and_found_again() {
    if !possible() || !host::possible() {
        return;
    }
    let host = Host::new("back");
    host.uplink("up1", "192.0.2.1/24", "2001:db8:1::1/64");
    let service = Service::start(&host, "attached-back");
    let screen = service.screen(&host, "att-back", (100, 30), "");
    screen.until("the screen", |text| text.contains("● ATTACHED"));
    flap(&host, 3);
    let known = |text: &str| text.contains("up1 lost carrier 3 times");
    screen.until("the verdict", known);
    // It is stopped: the screen does not look alive.
    service.signal("STOP");
    let text = screen.until("silence", |text| text.contains("SERVICE SILENT"));
    assert!(known(&text), "what was known stays: {text}");
    service.signal("CONT");
    screen.until("life", |text| text.contains("● ATTACHED"));
    // It is killed: nothing says goodbye.
    service.signal("KILL");
    let text = screen.until("that it is gone", |text| text.contains("SERVICE GONE"));
    assert!(known(&text), "what was known stays: {text}");
    screen.press("y");
    screen.press("5");
    screen.until("no answer yet", |text| text.contains("5 Events"));
    drop(service);
    // The next one answers what was asked meanwhile.
    let service = Service::start(&host, "attached-back");
    screen.until("the new service", |text| text.contains("● ATTACHED"));
    screen.until("its events", |text| text.contains("DUMP-DONE"));
    screen.press("1");
    screen.until("that nothing happened to it yet", |text| {
        text.contains("Nothing wrong yet")
    });
    flap(&host, 2);
    screen.until("its verdict", |text| {
        text.contains("up1 lost carrier 2 times")
    });
    // It ends in order.
    service.signal("TERM");
    screen.until("that it ended", |text| text.contains("SERVICE ENDED"));
    screen.press("q");
    screen.until("the shell", |text| text.contains("shell>"));
    assert!(!screen.alternate());
}

#[test]
fn a_service_of_another_version_is_named_in_one_line() {
    if !possible() {
        return;
    }
    let socket = path("attached-foreign.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap())
                .read_line(&mut line)
                .unwrap();
            let hello =
                "{\"v\":1,\"ok\":true,\"version\":\"99.1.0\",\"host\":\"\\u001b]0;x\\u0007h\"}\n";
            let _ = stream.write_all(hello.as_bytes());
        }
    });
    let terminal = Terminal::new("att-foreign", 200, 24);
    terminal.run(&format!("FLAPSCOPE_SOCKET={} {PROGRAM}", socket.display()));
    let text = terminal.until("the two versions", |text| {
        text.contains("restart the service")
    });
    assert!(text.contains("is flapscope 99.1.0 and this is"), "{text}");
    assert!(text.contains("--no-attach"), "{text}");
    assert!(!terminal.alternate());
    terminal.run(&format!(
        "clear; {PROGRAM} attach --socket {}; echo code $?",
        path("attached-nobody.sock").display()
    ));
    terminal.until("that nobody is there", |text| {
        text.contains("no flapscope service at") && text.contains("code 2")
    });
}

#[test]
fn who_attaches_and_never_reads_is_cut_off_and_slows_nobody() {
    if !host::possible() {
        return;
    }
    let host = Host::new("slow");
    host.uplink("up1", "192.0.2.1/24", "2001:db8:1::1/64");
    let service = Service::start(&host, "attached-slow");
    let connect = || std::os::unix::net::UnixStream::connect(&service.socket).unwrap();
    // It asks for everything and reads nothing.
    let greedy = connect();
    let begun = Instant::now();
    let mut writer = greedy.try_clone().unwrap();
    let flood = std::thread::spawn(move || {
        writer
            .write_all(b"{\"do\":\"attach\",\"screen\":1}\n")
            .unwrap();
        let mut sent = 0_u32;
        let ask = "{\"log\":{\"id\":7,\"query\":{\"filter\":\"\",\"until\":null,\"back\":0,\"limit\":65535}}}\n";
        let ask = format!("{ask}{{\"bytes\":{{\"id\":8,\"places\":[]}}}}\n");
        while writer.write_all(ask.as_bytes()).is_ok() {
            sent += 1;
        }
        sent
    });
    // Another asks something nobody can understand.
    let mut rude = connect();
    rude.write_all(b"{\"do\":\"attach\",\"screen\":1}\n\xff\xfe\n")
        .unwrap();
    // Meanwhile the kernel is noisy, and nothing of it is lost or late.
    let mut commands = String::new();
    for i in 0..4000 {
        let prefix = format!("198.18.{}.{}/32", i / 250, i % 250);
        commands.push_str(&format!("route add {prefix} via 192.0.2.9\n"));
    }
    host.batch(&commands);
    flap(&host, 2);
    let ask = |question: &str| {
        let mut stream = connect();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        writeln!(stream, "{question}").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        serde_json::from_str::<serde_json::Value>(&line).unwrap()
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while !std::fs::read_to_string(&service.alerts)
        .unwrap()
        .contains("up1 lost carrier 2 times")
    {
        assert!(Instant::now() < deadline, "the alert does not come");
        std::thread::sleep(Duration::from_millis(50));
    }
    let said = ask("{\"do\":\"sources\"}");
    let room = &said["rooms"][0];
    assert_eq!(room["gaps"], serde_json::json!([]), "{room}");
    assert!(room["counts"]["netlink"].as_u64() > Some(4000), "{room}");
    // Its writes fail once it is cut off.
    let sent = flood.join().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60), "{sent}");
    assert_eq!(ask("{\"do\":\"hello\"}")["ok"], true);
}

/// A terminal whose far end nobody reads: `script` holds it and hands on what it shows to a pipe that is full after 64 kB.
struct Unread(Child);

impl Unread {
    fn new(command: &str) -> Unread {
        let child = Command::new("script")
            .args(["-qfc", command, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script");
        Unread(child)
    }

    fn press(&mut self, keys: &[u8]) {
        let _ = self.0.stdin.as_mut().unwrap().write_all(keys); // it may not take all of them
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_terminal_that_takes_nothing_slows_neither_alerts_nor_the_recording() {
    if !host::possible() {
        return;
    }
    let host = Host::new("stuck");
    host.uplink("up1", "192.0.2.1/24", "2001:db8:1::1/64");
    let (socket, recording, pid) = (path("stuck.sock"), path("stuck.pcapng"), path("stuck.pid"));
    let mut terminal = Unread::new(&format!(
        "stty cols 200 rows 60; echo $$ >{}; exec ip netns exec {} {PROGRAM} live --no-config --socket {} -w {}",
        pid.display(),
        host.name,
        socket.display(),
        recording.display()
    ));
    let soon = |what: &str, done: &mut dyn FnMut() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < deadline, "{what} does not come");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    soon("the socket", &mut || socket.exists());
    // Redrawn until the pipe is full; then nothing takes keys any more either, and what happens fills the terminal.
    for _ in 0..60 {
        terminal.press(b"1\x0c5\x0c");
        std::thread::sleep(Duration::from_millis(30));
    }
    let process = std::fs::read_to_string(&pid).unwrap();
    let tasks = format!("/proc/{}/task", process.trim());
    // Where the kernel has the thread that paints: asleep in a write to the terminal.
    let mut number = 0;
    soon("a screen that is stuck", &mut || {
        number += 1;
        host.ip(&format!("route add 198.51.100.{number}/32 via 192.0.2.9"));
        std::fs::read_dir(&tasks).unwrap().flatten().any(|task| {
            let read = |file: &str| std::fs::read_to_string(task.path().join(file));
            read("comm").is_ok_and(|name| name.trim() == "screen")
                && read("syscall").is_ok_and(|call| call.starts_with("1 0x1 "))
        })
    });
    let ask = |arguments: &[&str]| {
        let out = Command::new(PROGRAM)
            .args(arguments)
            .arg("--socket")
            .arg(&socket)
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let mut commands = String::new();
    for i in 0..3000 {
        let prefix = format!("198.18.{}.{}/32", i / 250, i % 250);
        commands.push_str(&format!("route add {prefix} via 192.0.2.9\n"));
    }
    host.batch(&commands);
    flap(&host, 3);
    let known = "up1 lost carrier 3 times";
    soon("the incident", &mut || ask(&["incidents"]).contains(known));
    // The end is not kept up by it either.
    let begun = Instant::now();
    let killed = Command::new("kill")
        .args(["-TERM", process.trim()])
        .status()
        .unwrap();
    assert!(killed.success());
    soon("the end", &mut || !socket.exists());
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    drop(terminal);
    let again = Command::new(PROGRAM)
        .args(["analyze", "--no-config", "--format", "json"])
        .arg(&recording)
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(report["gaps"], serde_json::json!([]), "nothing was lost");
    assert!(report["counts"]["netlink"].as_u64() > Some(3000));
    assert!(String::from_utf8_lossy(&again.stdout).contains(known));
}
