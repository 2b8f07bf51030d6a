//! What `flapscope doctor` says: checks with a state, a sentence and a command; daemons; lines to paste. As JSON and as text.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::report::{Style, wrap};
use crate::event::text::sanitized;

/// Version of the document's shape.
pub const SCHEMA: &str = "flapscope.doctor/1";

/// What can be seen on this host, and what cannot.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Doctor {
    /// `flapscope.doctor/1`
    pub schema: String,
    /// flapscope's own version.
    pub version: String,
    pub host: Option<String>,
    /// How many checks came out how.
    pub counts: Counts,
    pub checks: Vec<Check>,
    /// Routing and address daemons that run here.
    pub daemons: Vec<Daemon>,
    /// Lines that make routers feed us.
    pub paste: Vec<Lines>,
}

#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Serialize, JsonSchema)]
pub struct Counts {
    pub ok: usize,
    pub limited: usize,
    pub missing: usize,
}

/// What a check is about; also the order in which they are shown.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    Rights,
    Kernel,
    Packets,
    Interfaces,
    Daemons,
    Feeds,
    Confinement,
    Delivery,
    Clock,
}

impl Area {
    fn title(self) -> &'static str {
        match self {
            Area::Rights => "RIGHTS",
            Area::Kernel => "KERNEL",
            Area::Packets => "PACKETS",
            Area::Interfaces => "INTERFACES",
            Area::Daemons => "DAEMONS",
            Area::Feeds => "FEEDS",
            Area::Confinement => "CONFINEMENT",
            Area::Delivery => "DELIVERY",
            Area::Clock => "CLOCK",
        }
    }
}

/// How a check came out.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As good as it gets.
    Ok,
    /// Works, but sees less than it could.
    Limited,
    /// Does not work.
    Missing,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Limited => "limited",
            State::Missing => "missing",
        }
    }

    /// SGR colours: green, yellow, red.
    fn colour(self) -> u8 {
        match self {
            State::Ok => 32,
            State::Limited => 33,
            State::Missing => 31,
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Check {
    pub area: Area,
    /// What was looked at: `capture`, `buffer`, `eth0` …
    pub name: String,
    pub state: State,
    /// One sentence.
    pub says: String,
    /// The one command that fixes it, where a command does.
    pub fix: Option<String>,
}

impl Check {
    /// As good as it gets.
    pub fn ok(area: Area, name: &str, says: impl Into<String>) -> Check {
        Check::new(area, name, State::Ok, says, None)
    }

    /// Works, but sees less than it could.
    pub fn limited(area: Area, name: &str, says: impl Into<String>, fix: Option<String>) -> Check {
        Check::new(area, name, State::Limited, says, fix)
    }

    /// Does not work.
    pub fn missing(area: Area, name: &str, says: impl Into<String>, fix: Option<String>) -> Check {
        Check::new(area, name, State::Missing, says, fix)
    }

    fn new(
        area: Area,
        name: &str,
        state: State,
        says: impl Into<String>,
        fix: Option<String>,
    ) -> Check {
        Check {
            area,
            name: sanitized(name),
            state,
            says: sanitized(&says.into()),
            fix,
        }
    }
}

/// A daemon that runs here.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Daemon {
    /// As its users call it: `FRR`, `BIRD`, `Kea` …
    pub program: String,
    pub process: String,
    pub pid: u32,
    /// What it does: `BGP`, `DHCP server` …
    pub role: String,
    /// Its version, where it told.
    pub daemon_version: Option<String>,
    /// Whether it lives in our network namespace; `null` when that could not be seen.
    pub own_namespace: Option<bool>,
    /// How its view comes to us: `bmp` or `bgp-listener`; `null` for what the kernel and the wire show anyway.
    pub feed: Option<String>,
}

/// Lines to paste into a router's configuration.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Lines {
    pub program: String,
    /// `bmp` or `bgp-listener`.
    pub feed: String,
    /// Where the lines go.
    pub place: String,
    pub lines: String,
    /// Whether such a daemon runs here.
    pub runs_here: bool,
}

impl Doctor {
    /// From what was found; checks in the order of areas.
    pub fn new(
        host: Option<String>,
        mut checks: Vec<Check>,
        daemons: Vec<Daemon>,
        paste: Vec<Lines>,
    ) -> Doctor {
        checks.sort_by_key(|check| check.area);
        let mut counts = Counts::default();
        for check in &checks {
            match check.state {
                State::Ok => counts.ok += 1,
                State::Limited => counts.limited += 1,
                State::Missing => counts.missing += 1,
            }
        }
        Doctor {
            schema: SCHEMA.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            host,
            counts,
            checks,
            daemons,
            paste,
        }
    }

    /// For people: prose wraps, commands and configuration stay whole.
    pub fn text(&self, style: Style) -> String {
        /// Columns before a check's sentence: state and name.
        const HEAD: usize = 28;
        let paint = |code: &str, text: &str| {
            if style.color {
                format!("\u{1b}[{code}m{text}\u{1b}[0m")
            } else {
                text.to_owned()
            }
        };
        let mut page = String::new();
        let Counts {
            ok,
            limited,
            missing,
        } = self.counts;
        let host = self.host.as_deref().unwrap_or("this host");
        let _ = writeln!(
            page,
            "flapscope {} on {host}: {ok} ok, {limited} limited, {missing} missing",
            self.version
        );
        let mut area = None;
        for check in &self.checks {
            if area != Some(check.area) {
                area = Some(check.area);
                let _ = writeln!(page, "\n{}", paint("1", check.area.title()));
            }
            let state = format!("{:<8}", check.state.word());
            let state = paint(&check.state.colour().to_string(), &state);
            let room = style.width.saturating_sub(HEAD).max(30);
            for (number, line) in wrap(&check.says, room).iter().enumerate() {
                if number == 0 {
                    let _ = writeln!(page, "  {state}  {:<15} {line}", check.name);
                } else {
                    let _ = writeln!(page, "{:HEAD$}{line}", "");
                }
            }
            if let Some(fix) = &check.fix {
                let _ = writeln!(page, "            {}", paint("36", &format!("$ {fix}")));
            }
        }
        let here: Vec<&Lines> = self.paste.iter().filter(|lines| lines.runs_here).collect();
        if !here.is_empty() {
            let _ = writeln!(page, "\n{}", paint("1", "TO PASTE"));
            for lines in here {
                page.push_str(&pasted(lines, style.width));
            }
        }
        page.push_str(
            "\nLines for other routers: flapscope doctor --paste frr|bird|gobgp|ios-xr|junos\n",
        );
        page
    }
}

/// The lines for one program under a heading of their own.
pub fn pasted(lines: &Lines, width: usize) -> String {
    let mut text = String::new();
    let what = match lines.feed.as_str() {
        "bmp" => "BMP",
        _ => "BGP listener",
    };
    let head = format!("{}, {what}: {}", lines.program, lines.place);
    for line in wrap(&head, width.saturating_sub(2)) {
        let _ = writeln!(text, "  {line}");
    }
    for line in lines.lines.lines() {
        let _ = writeln!(text, "      {line}");
    }
    text
}

/// JSON Schema of the document.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Doctor).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_fits_the_screen_and_commands_stay_whole() {
        let fix = "sudo setcap cap_net_raw,cap_net_admin,cap_sys_ptrace,cap_dac_read_search=ep /usr/local/bin/flapscope";
        let says = "packets cannot be captured: the program has no CAP_NET_RAW, so DHCP, RA, ARP, BFD and BGP on the wire are not seen";
        let checks = vec![
            Check::limited(Area::Clock, "clock", "late", None),
            Check::missing(Area::Rights, "capture", says, Some(fix.into())),
        ];
        let doctor = Doctor::new(Some("r1".into()), checks, Vec::new(), Vec::new());
        let style = Style {
            width: 80,
            ..Style::default()
        };
        let text = doctor.text(style);
        assert!(
            text.lines()
                .all(|line| line.len() <= 80 || line.contains(fix)),
            "{text}"
        );
        assert!(text.find("RIGHTS").unwrap() < text.find("CLOCK").unwrap());
        assert_eq!(doctor.counts.missing, 1);
    }
}
