//! Text by columns: cut, padded and wrapped as a terminal counts. Prose may be cut, addresses never are: columns are left out instead.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns that a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text in at most `columns`, with `…` where something was left out.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut left = columns.saturating_sub(1);
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if wide > left {
            break;
        }
        left -= wide;
        out.push(c);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// A sentence in at most `columns`: what does not fit is left out from the last clause on (`; …`, `(…`), so that no word is cut in two, unless
/// that would leave too little.
pub fn clause(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(2);
    let ends = |mark: &str| {
        text.match_indices(mark)
            .map(|(at, _)| at)
            .filter_map(|at| text.get(..at))
            .filter(|part| width(part) <= room)
            .last()
    };
    let best = [ends("; "), ends(" (")]
        .into_iter()
        .flatten()
        .max_by_key(|part| part.len());
    // A clause that fills half of the room says what matters; else words go on as far as they fit.
    let fills = |part: &&str| width(part) * 2 >= room;
    match best.filter(fills).or_else(|| ends(" ").filter(fills)) {
        Some(part) => format!("{} …", part.trim_end_matches([',', ';', ':'])),
        None => cut(text, columns),
    }
}

/// The text in exactly `columns`, at the left.
pub fn left(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let pad = columns.saturating_sub(width(&text));
    text + &" ".repeat(pad)
}

/// The text in exactly `columns`, at the right.
pub fn right(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    " ".repeat(columns.saturating_sub(width(&text))) + &text
}

/// Greedy wrap at spaces; what is longer than a line is broken, for nothing may run out of its pane.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(8);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let wide = width(word);
        if used > 0 && used + 1 + wide > columns {
            lines.push(String::new());
            used = 0;
        }
        if used > 0 {
            push(&mut lines, ' ');
            used += 1;
        }
        for c in word.chars() {
            let wide = c.width().unwrap_or(0);
            if used + wide > columns {
                lines.push(String::new());
                used = 0;
            }
            push(&mut lines, c);
            used += wide;
        }
    }
    lines
}

fn push(lines: &mut [String], c: char) {
    if let Some(line) = lines.last_mut() {
        line.push(c);
    }
}

/// `41s`, `9m`, `3h`, `2d`: an age in few columns.
pub fn age(nanos: i64) -> String {
    let seconds = (nanos / 1_000_000_000).max(0);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `120 ms`, `1.20 s`, `41 s`, `3 m 20 s`, `3 h 12 m`: a length for a sentence.
pub fn length(nanos: i64) -> String {
    let seconds = nanos.max(0) as f64 / 1e9;
    let whole = seconds as u64;
    match whole {
        0 if nanos > 0 => format!("{} ms", (nanos / 1_000_000).max(1)),
        0..=9 => format!("{seconds:.2} s"),
        10..=119 => format!("{whole} s"),
        120..=7_199 => format!("{} m {} s", whole / 60, whole % 60),
        7_200..=172_799 => format!("{} h {} m", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_and_combining_characters_are_counted_as_a_terminal_does() {
        assert_eq!(cut("漢字漢字", 5), "漢字…");
        assert_eq!(width(&left("e\u{301}e\u{301}", 6)), 6);
        assert_eq!(right("7", 3), "  7");
        assert_eq!(cut("abc", 0), "");
    }

    #[test]
    fn nothing_runs_out_of_its_columns() {
        for line in wrap("a verylongwordthatdoesnotfit 漢字漢字漢字 b", 9) {
            assert!(width(&line) <= 9, "{line:?}");
        }
    }

    #[test]
    fn a_sentence_ends_with_a_clause_or_a_word() {
        let text = "session to 192.0.2.1 went down (TCP connection closed); default route lost";
        assert_eq!(clause(text, 40), "session to 192.0.2.1 went down …");
        assert_eq!(
            clause(text, 60),
            "session to 192.0.2.1 went down (TCP connection closed) …"
        );
        assert_eq!(clause(text, 25), "session to 192.0.2.1 …");
        assert_eq!(clause("unbreakable-by-any-means", 10), "unbreakab…");
        for columns in 0..90 {
            assert!(width(&clause(text, columns)) <= columns.max(1));
        }
    }

    #[test]
    fn ages_take_few_columns() {
        let of = |seconds: i64| age(seconds * 1_000_000_000);
        assert_eq!(
            [of(41), of(540), of(7_200), of(200_000)],
            ["41s", "9m", "2h", "2d"]
        );
    }
}
