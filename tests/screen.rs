//! The program in a real terminal (tmux): a live link flap in a network namespace whose verdict is read off the screen, a replay that is
//! wound back and forth, and every way to leave, after which the terminal is as it was.
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

use std::process::Command;
use std::time::{Duration, Instant};

use host::Host;
use terminal::{Terminal, possible};

const PROGRAM: &str = env!("CARGO_BIN_EXE_flapscope");

fn capture() -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/captures/link-flap-under-bgp");
    format!("{folder}/h.nl.pcap.gz {folder}/h.pcapng.gz")
}

/// The part of the screen behind a word of its first line.
fn at_of(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    words.last().copied().unwrap_or_default().to_owned()
}

#[test]
fn a_link_flap_is_read_off_the_live_screen() {
    if !possible() || !host::possible() {
        return;
    }
    let host = Host::new("screen");
    host.uplink("up1", "192.0.2.1/24", "2001:db8:1::1/64");
    host.ip("route add default via 192.0.2.254");
    let terminal = Terminal::new("live", 80, 24);
    let begun = Instant::now();
    terminal.run(&format!("ip netns exec {} {PROGRAM}", host.name));
    terminal.until("the first screen", |text| text.contains("1 Incidents"));
    let first = begun.elapsed();
    assert!(first < Duration::from_secs(5), "{first:?}");
    terminal.until("that all is well", |text| {
        text.contains("Nothing wrong yet")
    });
    for _ in 0..3 {
        host.far("link set up1 down");
        std::thread::sleep(Duration::from_millis(700));
        host.far("link set up1 up");
        std::thread::sleep(Duration::from_millis(700));
    }
    let text = terminal.until("the verdict", |text| {
        text.contains("ROOT") && text.contains("up1 lost carrier 3 times")
    });
    assert!(text.contains("TRY"), "{text}");
    assert!(text.contains("● LIVE"), "{text}");
    // The subject of the row narrows every view.
    terminal.press("f");
    terminal.press("5");
    let text = terminal.until("only its events", |text| {
        text.contains("subject") && text.contains("LINK") && text.contains("up1")
    });
    assert!(text.contains("link:up1"), "{text}");
    terminal.press("F");
    terminal.press("1");
    // Frozen, the screen does not move; what happens meanwhile is counted.
    terminal.press("Space");
    terminal.until("the ice", |text| text.contains("FROZEN"));
    host.ip("route add 203.0.113.0/24 via 192.0.2.9");
    terminal.until("what is new", |text| {
        text.contains("FROZEN") && !text.contains("· 0 new")
    });
    terminal.press("Space");
    terminal.until("life", |text| text.contains("● LIVE"));
    terminal.press("q");
    terminal.until("the shell", |text| text.contains("shell>"));
    assert!(!terminal.alternate());
}

#[test]
fn a_replay_is_wound_back_and_forth_and_says_the_same_again() {
    if !possible() {
        return;
    }
    let terminal = Terminal::new("replay", 100, 30);
    terminal.run(&format!("{PROGRAM} analyze --tui {}", capture()));
    let end = terminal.until("the verdict", |text| {
        text.contains("END") && text.contains("pe0 lost carrier 3 times")
    });
    // Before the first carrier loss there is nothing.
    terminal.press("t");
    terminal.type_in("16:30:27");
    terminal.press("Enter");
    let text = terminal.until("the time before", |text| text.contains("PAUSED"));
    assert!(at_of(&text).starts_with("16:30:27"), "{text}");
    assert!(text.contains("No incidents"), "{text}");
    // After the second it lost it twice.
    terminal.press("t");
    terminal.type_in("16:30:39");
    terminal.press("Enter");
    terminal.until("two losses", |text| {
        text.contains("pe0 lost carrier 2 times")
    });
    // One event on, and back.
    let before = at_of(&terminal.text());
    terminal.press("]");
    let text = terminal.until("a step", |text| at_of(text) != before);
    let stepped = at_of(&text);
    terminal.press("[");
    terminal.until("a step back", |text| at_of(text) != stepped);
    // Fast forward to the end: the same verdict as before, to the letter.
    for _ in 0..6 {
        terminal.press("+");
    }
    terminal.press("Space");
    terminal.until("playing", |text| {
        text.contains("PLAY") || text.contains("END")
    });
    let again = terminal.until("the end", |text| {
        text.contains("END") && text.contains("3 times")
    });
    assert_eq!(again, end);
    terminal.press("q");
    terminal.until("the shell", |text| text.contains("shell>"));
}

#[test]
fn however_the_screen_is_left_the_terminal_is_as_it_was() {
    if !possible() {
        return;
    }
    let terminal = Terminal::new("leave", 80, 24);
    let start = || {
        terminal.run(&format!("clear; {PROGRAM} analyze --tui {}", capture()));
        terminal.until("the screen", |text| {
            text.contains("END") && text.contains("WHY")
        });
        assert!(terminal.alternate());
    };
    let left = |how: &str| {
        terminal.until(how, |text| text.contains("shell>") && !text.contains("WHY"));
        assert!(!terminal.alternate(), "{how}");
        // The shell echoes again: the terminal is in no raw mode.
        terminal.run(&format!("echo after {how}"));
        terminal.until(how, |text| {
            text.lines()
                .any(|line| line.ends_with(&format!("after {how}")) && !line.contains("echo"))
        });
    };
    for key in ["q", "C-c"] {
        start();
        terminal.press(key);
        left(key);
    }
    for signal in ["TERM", "HUP", "INT"] {
        start();
        let pid = terminal.child("flapscope").expect("it runs").to_string();
        Command::new("kill")
            .args([&format!("-{signal}"), &pid])
            .status()
            .unwrap();
        left(signal);
    }
    // ^Z gives the shell its terminal, fg brings the screen back.
    start();
    terminal.press("C-z");
    terminal.until("the shell", |text| {
        text.contains("shell>") && !text.contains("WHY")
    });
    assert!(!terminal.alternate());
    terminal.run("fg");
    terminal.until("the screen again", |text| text.contains("WHY"));
    assert!(terminal.alternate());
    // Resized, it is laid out anew; too small, it says so; large again, it is all there.
    terminal.resize(120, 40);
    terminal.until("three panes", |text| text.contains("EVIDENCE"));
    terminal.resize(50, 10);
    terminal.until("why not", |text| text.contains("needs 60×16"));
    terminal.resize(80, 24);
    terminal.until("all of it", |text| {
        text.contains("WHY") && text.contains("EFFECTS")
    });
    terminal.press("q");
    left("fg");
}

/// A program of its own for the test below, in its terminal: it takes the terminal as `flapscope` does, and panics.
#[test]
fn a_program_that_panics_on_purpose() {
    let Some(how) = std::env::var_os("FLAPSCOPE_TEST_PANIC") else {
        return;
    };
    let (publisher, requests, link) = flapscope::tui::link::link();
    let tui = flapscope::tui::Tui::start(link, Default::default()).unwrap();
    publisher.publish(Default::default());
    // Until somebody presses a key that asks something.
    std::thread::sleep(Duration::from_secs(1));
    if how == "thread" {
        let died = std::thread::spawn(|| panic!("on purpose")).join();
        assert!(died.is_err());
        for _ in 0..20 {
            publisher.publish(Default::default());
            std::thread::sleep(Duration::from_millis(10));
        }
        let error = tui.join().expect_err("the screen ends with it");
        println!("joined: {error}");
        drop(requests);
        return;
    }
    panic!("on purpose");
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_is_told() {
    if !possible() {
        return;
    }
    let program = std::env::current_exe().unwrap();
    for how in ["main", "thread"] {
        let terminal = Terminal::new(&format!("panic-{how}"), 100, 30);
        terminal.run(&format!(
            "clear; FLAPSCOPE_TEST_PANIC={how} {} --exact a_program_that_panics_on_purpose --nocapture",
            program.display()
        ));
        terminal.until("the screen", |text| text.contains("1 Incidents"));
        assert!(terminal.alternate());
        terminal.press("M");
        terminal.until("the mouse", |_| terminal.mouse());
        let text = terminal.until("the panic", |text| {
            text.contains("on purpose") && text.contains("test result")
        });
        assert!(!text.contains("1 Incidents"), "{text}");
        assert!(how == "main" || text.contains("joined: "), "{text}");
        assert!(!terminal.alternate());
        assert!(!terminal.mouse(), "the mouse is still reported");
        terminal.run("echo after");
        terminal.until("an echo", |text| {
            text.lines().any(|line| line.ends_with("echo after"))
        });
    }
}

#[test]
fn the_mouse_is_off_until_it_is_asked_for_and_then_points() {
    if !possible() {
        return;
    }
    let terminal = Terminal::new("mouse", 100, 30);
    terminal.run(&format!("{PROGRAM} analyze --tui {}", capture()));
    terminal.until("the screen", |text| {
        text.contains("END") && text.contains("WHY")
    });
    assert!(!terminal.mouse(), "the terminal's own selection must work");
    terminal.press("M");
    terminal.until("that it is on", |text| text.contains("mouse on"));
    assert!(terminal.mouse());
    // A click on a tab shows its view.
    let column = |text: &str, name: &str| {
        let line = text.lines().next().unwrap_or_default();
        let at = line
            .find(name)
            .unwrap_or_else(|| panic!("no {name}: {line}"));
        u16::try_from(line[..at].chars().count() + 2).unwrap()
    };
    terminal.click(column(&terminal.text(), "5 Events"), 1);
    let text = terminal.until("the events", |text| {
        text.contains("EVENTS ") && text.contains('▌')
    });
    assert!(!text.contains("newer ones below"), "{text}");
    // The wheel goes back in them, a click puts the cursor on a row.
    let row = |text: &str| text.lines().position(|line| line.contains('▌')).unwrap();
    terminal.mouse_event(64, 10, 10, true);
    terminal.until("three events back", |text| {
        text.contains("3 newer ones below")
    });
    terminal.click(column(&terminal.text(), "2 Routes"), 1);
    let text = terminal.until("the routes", |text| {
        text.lines().filter(|line| line.contains('/')).count() > 3 && text.contains('▌')
    });
    let wanted = row(&text) + 2;
    terminal.click(20, u16::try_from(wanted + 1).unwrap());
    terminal.until("the row that was clicked", |text| {
        text.contains('▌') && row(text) == wanted
    });
    terminal.press("M");
    terminal.until("that it is off", |_| !terminal.mouse());
    terminal.press("q");
    terminal.until("the shell", |text| text.contains("shell>"));
    assert!(!terminal.mouse());
}

#[test]
fn help_is_searched_while_typing_and_a_bundle_is_written() {
    if !possible() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("flapscope-bundle-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let terminal = Terminal::new("bundle", 120, 40);
    terminal.run(&format!(
        "cd {} && {PROGRAM} analyze --tui {}",
        folder.display(),
        capture()
    ));
    terminal.until("the screen", |text| text.contains("END"));
    terminal.press("?");
    terminal.until("the help", |text| text.contains("HELP"));
    terminal.type_in("osc 52");
    terminal.until("one line", |text| {
        text.contains("Copy as JSON") && !text.contains("Redraw")
    });
    terminal.press("Escape");
    // From the chain to the frames to the exchange.
    terminal.press("Enter");
    terminal.press("Enter");
    terminal.until("the frames", |text| text.contains("fields"));
    terminal.press("Escape");
    terminal.until("the chain", |text| text.contains("WHY"));
    terminal.press("w");
    terminal.until("the bundle", |text| text.contains("wrote "));
    terminal.press("q");
    terminal.until("the shell", |text| {
        text.contains("shell>") && !text.contains("WHY")
    });
    let bundle = std::fs::read_dir(&folder)
        .unwrap()
        .next()
        .expect("a bundle")
        .unwrap()
        .path();
    let alert = std::fs::read_to_string(bundle.join("alert.json")).unwrap();
    let alert: serde_json::Value = serde_json::from_str(&alert).unwrap();
    assert_eq!(alert["schema"], "flapscope.alert/1");
    assert_eq!(alert["incident"]["kind"], "link.flap");
    assert!(
        std::fs::read_to_string(bundle.join("story.txt"))
            .unwrap()
            .contains("ROOT")
    );
    let slice = bundle.join("packets.pcapng");
    match Command::new("tshark")
        .args([
            "-r",
            slice.to_str().unwrap(),
            "-T",
            "fields",
            "-e",
            "frame.number",
        ])
        .output()
    {
        Ok(read) => {
            assert!(
                read.status.success(),
                "{}",
                String::from_utf8_lossy(&read.stderr)
            );
            assert!(String::from_utf8_lossy(&read.stdout).lines().count() > 100);
        }
        Err(_) => eprintln!("SKIPPED: no tshark"),
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
