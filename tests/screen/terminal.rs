//! A real terminal for the program: a tmux server of its own, whose screen is read as text.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Longest time for anything to appear: the merge's patience, the correlator's settling and a machine shared with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// A terminal; ends with its test.
pub struct Terminal {
    socket: String,
}

/// Whether tmux is there. Without, tests say SKIPPED; with `REQUIRE_ALL=1` that is a failure.
pub fn possible() -> bool {
    let there = Command::new("tmux").arg("-V").output().is_ok();
    if !there {
        assert!(
            std::env::var_os("REQUIRE_ALL").is_none(),
            "REQUIRE_ALL is set, but there is no tmux"
        );
        eprintln!("SKIPPED: no tmux");
    }
    there
}

impl Terminal {
    /// A shell in a terminal of this size.
    pub fn new(name: &str, columns: u16, rows: u16) -> Terminal {
        let socket = format!("flapscope-{name}-{}", std::process::id());
        let terminal = Terminal { socket };
        let size = [columns.to_string(), rows.to_string()];
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-s",
            "s",
            "-x",
            &size[0],
            "-y",
            &size[1],
            "env PS1='shell> ' LANG=C.UTF-8 TERM=screen-256color sh",
        ]);
        terminal.until("the shell", |text| text.contains("shell>"));
        terminal
    }

    fn tmux(&self, args: &[&str]) -> Output {
        let done = Command::new("tmux")
            .args(["-L", &self.socket])
            .args(args)
            .output()
            .expect("tmux");
        assert!(
            done.status.success(),
            "tmux {args:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        done
    }

    /// Types text as it is.
    pub fn type_in(&self, text: &str) {
        self.tmux(&["send-keys", "-t", "s", "-l", text]);
    }

    /// Presses a key by its name.
    pub fn press(&self, key: &str) {
        self.tmux(&["send-keys", "-t", "s", key]);
    }

    /// Runs a command line.
    pub fn run(&self, command: &str) {
        self.type_in(command);
        self.press("Enter");
    }

    /// What is on the screen.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p", "-t", "s"]).stdout).into_owned()
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        let size = [columns.to_string(), rows.to_string()];
        self.tmux(&["resize-window", "-t", "s", "-x", &size[0], "-y", &size[1]]);
    }

    /// Whether a program has switched to the alternate screen.
    pub fn alternate(&self) -> bool {
        self.flag("alternate_on")
    }

    /// Whether a program wants to hear of the mouse.
    pub fn mouse(&self) -> bool {
        self.flag("mouse_any_flag")
    }

    fn flag(&self, name: &str) -> bool {
        let name = format!("#{{{name}}}");
        let out = self
            .tmux(&["display-message", "-p", "-t", "s", &name])
            .stdout;
        String::from_utf8_lossy(&out).trim() == "1"
    }

    /// A mouse event as terminals report it (SGR, xterm's ctlseqs): button, column and row from 1, and whether it is pressed.
    pub fn mouse_event(&self, button: u8, column: u16, row: u16, pressed: bool) {
        let end = if pressed { 'M' } else { 'm' };
        let text = format!("\x1b[<{button};{column};{row}{end}");
        let octets: Vec<String> = text.bytes().map(|octet| format!("{octet:02x}")).collect();
        let mut args = vec!["send-keys", "-t", "s", "-H"];
        args.extend(octets.iter().map(String::as_str));
        self.tmux(&args);
    }

    /// Presses and releases the left button.
    pub fn click(&self, column: u16, row: u16) {
        self.mouse_event(0, column, row, true);
        self.mouse_event(0, column, row, false);
    }

    /// The process that the shell runs in the foreground.
    pub fn child(&self, name: &str) -> Option<u32> {
        let out = self
            .tmux(&["display-message", "-p", "-t", "s", "#{pane_pid}"])
            .stdout;
        let shell = String::from_utf8_lossy(&out).trim().to_owned();
        let all = Command::new("ps")
            .args(["-eo", "pid=,ppid=,comm="])
            .output()
            .expect("ps")
            .stdout;
        let all = String::from_utf8_lossy(&all).into_owned();
        all.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let (pid, parent, command) = (words.next()?, words.next()?, words.next()?);
            (parent == shell && command == name).then(|| pid.parse().ok())?
        })
    }

    /// Waits until the screen is as it should be; what is on it then.
    pub fn until(&self, what: &str, done: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let text = self.text();
            if done(&text) {
                return text;
            }
            assert!(begun.elapsed() < PATIENCE, "{what} did not appear:\n{text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .args(["-L", &self.socket, "kill-server"])
            .output();
    }
}
