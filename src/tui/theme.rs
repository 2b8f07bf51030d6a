//! How things look: roles, not colours. Colours are the terminal's own sixteen, so that light and dark backgrounds both work; every state
//! has a word and a glyph too, so that nothing is lost without colour. ASCII is a matter of the last step, not of the views.

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

/// What a piece of text is.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Role {
    Text,
    Critical,
    Warning,
    Ok,
    /// Root, sort column, keys.
    Accent,
    Muted,
    Strong,
    /// The row under the cursor.
    Selected,
    /// The state bar when the screen does not show now.
    Frozen,
}

/// Which colours.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub enum Theme {
    /// The terminal's sixteen on a dark (or unknown) background.
    #[default]
    Dark,
    /// The same where bright colours cannot be read.
    Light,
    /// None: bold, dim and reverse.
    Mono,
}

/// How to paint.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Look {
    pub theme: Theme,
    pub ascii: bool,
}

impl Look {
    /// From the environment: `NO_COLOR` and `TERM=dumb` (no-color.org), the locale, and `COLORFGBG` as rxvt, konsole and others set it.
    pub fn of(get: impl Fn(&str) -> Option<String>) -> Look {
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        let plain = set("NO_COLOR").is_some()
            || set("TERM").is_some_and(|term| term == "dumb" || term == "vt100");
        // White and light grey are light backgrounds.
        let light = set("COLORFGBG")
            .is_some_and(|both| matches!(both.rsplit(';').next(), Some("7" | "15")));
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| set(name));
        let ascii = locale.is_some_and(|locale| {
            let locale = locale.to_lowercase();
            !locale.contains("utf-8") && !locale.contains("utf8")
        });
        Look {
            theme: match (plain, light) {
                (true, _) => Theme::Mono,
                (_, true) => Theme::Light,
                _ => Theme::Dark,
            },
            ascii,
        }
    }

    /// The style of a role.
    pub fn style(self, role: Role) -> Style {
        let plain = Style::default();
        let bold = plain.add_modifier(Modifier::BOLD);
        let color = |dark: Color, light: Color| match self.theme {
            Theme::Dark => plain.fg(dark),
            Theme::Light => plain.fg(light),
            Theme::Mono => plain,
        };
        match role {
            Role::Text => plain,
            Role::Critical => color(Color::Red, Color::Red).add_modifier(Modifier::BOLD),
            Role::Warning => match self.theme {
                Theme::Mono => bold,
                _ => color(Color::Yellow, Color::Magenta),
            },
            Role::Ok => color(Color::Green, Color::Green),
            Role::Accent => match self.theme {
                Theme::Mono => bold,
                _ => color(Color::Cyan, Color::Blue),
            },
            Role::Muted => plain.add_modifier(Modifier::DIM),
            Role::Strong => bold,
            Role::Selected => bold,
            Role::Frozen => plain.add_modifier(Modifier::REVERSED | Modifier::BOLD),
        }
    }
}

/// The characters that ASCII terminals cannot show, and what stands for them, column for column.
const PLAIN: [(&str, &str); 38] = [
    ("├", "|"),
    ("└", "`"),
    ("┌", "."),
    ("┐", "."),
    ("┘", "'"),
    ("┴", "+"),
    ("│", "|"),
    ("┆", ":"),
    ("─", "-"),
    ("┄", "."),
    ("━", "="),
    ("╌", "."),
    ("▶", ">"),
    ("▷", ">"),
    ("◀", "<"),
    ("▌", ">"),
    ("▲", "^"),
    ("▒", "#"),
    ("●", "*"),
    ("↑", "^"),
    ("↓", "v"),
    ("←", "<"),
    ("→", ">"),
    ("⏎", "E"),
    ("·", "-"),
    ("…", "~"),
    ("×", "x"),
    ("−", "-"),
    ("–", "-"),
    ("±", "~"),
    ("▁", "_"),
    ("▂", "_"),
    ("▃", "."),
    ("▄", "-"),
    ("▅", "-"),
    ("▆", "="),
    ("▇", "="),
    ("█", "#"),
];

/// Makes a painted buffer printable in ASCII: known glyphs are replaced, anything else (names from the wire) becomes `?`.
pub fn to_ascii(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if !cell.symbol().is_ascii() {
            let plain = PLAIN.iter().find(|(glyph, _)| *glyph == cell.symbol());
            cell.set_symbol(plain.map_or("?", |(_, plain)| plain));
        }
    }
}
