//! A painted screen as SVG: one `text` for each run of cells of one style, on the background of a dark terminal.

use std::fmt::Write;

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

/// Pixels of a cell and of its letters.
const CELL: (f64, f64) = (8.4, 17.0);
const LETTERS: u32 = 14;
/// Around the screen.
const MARGIN: f64 = 12.0;

const BACKGROUND: &str = "#16181d";
const TEXT: &str = "#d7dae0";

pub fn svg(buffer: &Buffer, title: &str) -> String {
    let area = buffer.area;
    let width = f64::from(area.width) * CELL.0 + 2.0 * MARGIN;
    let height = f64::from(area.height) * CELL.1 + 2.0 * MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"ui-monospace,DejaVu Sans Mono,Menlo,Consolas,monospace\" font-size=\"{LETTERS}\">\n<title>{}</title>\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n",
        escaped(title)
    );
    for y in 0..area.height {
        let mut x = 0;
        while x < area.width {
            let style = buffer[(x, y)].style();
            let from = x;
            let mut text = String::new();
            while x < area.width && buffer[(x, y)].style() == style {
                text.push_str(buffer[(x, y)].symbol());
                x += 1;
            }
            run(&mut out, &text, style, (from, x - from, y));
        }
    }
    out.push_str("</svg>\n");
    out
}

fn run(out: &mut String, text: &str, style: Style, (column, columns, row): (u16, u16, u16)) {
    let has = |modifier| style.add_modifier.contains(modifier);
    let reversed = has(Modifier::REVERSED);
    if text.trim().is_empty() && !reversed {
        return;
    }
    let x = f64::from(column) * CELL.0 + MARGIN;
    let y = f64::from(row) * CELL.1 + MARGIN;
    let wide = f64::from(columns) * CELL.0;
    let colour = match style.fg {
        Some(Color::Red) => "#f26d6d",
        Some(Color::Yellow) => "#e5c07b",
        Some(Color::Green) => "#8cc570",
        Some(Color::Cyan) => "#5fc4d0",
        _ => TEXT,
    };
    let fill = if reversed {
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{}\" fill=\"{colour}\"/>",
            CELL.1
        );
        BACKGROUND
    } else {
        colour
    };
    // Leading and trailing blanks are no text.
    let start = text.chars().take_while(|c| *c == ' ').count();
    let trimmed = text.trim();
    let shown = trimmed.chars().count();
    if shown == 0 {
        return;
    }
    let x = x + start as f64 * CELL.0;
    let weight = if has(Modifier::BOLD) {
        " font-weight=\"bold\""
    } else {
        ""
    };
    let dim = if has(Modifier::DIM) {
        " opacity=\"0.6\""
    } else {
        ""
    };
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{:.1}\" textLength=\"{:.1}\" lengthAdjust=\"spacingAndGlyphs\" xml:space=\"preserve\" fill=\"{fill}\"{weight}{dim}>{}</text>",
        y + CELL.1 * 0.76,
        shown as f64 * CELL.0,
        escaped(trimmed)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
