//! OSC 52: the clipboard of whoever sits at the terminal, also over SSH. Base64, so that nothing copied can act on the terminal.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Octets that are copied at most: xterm and tmux drop longer sequences silently (tmux: 1 MiB of input, many terminals 100 kB of base64).
pub const MOST: usize = 74_000;

/// The sequence that sets the clipboard; `None` when the text is too long to arrive.
pub fn sequence(text: &str) -> Option<String> {
    (text.len() <= MOST).then(|| format!("\x1b]52;c;{}\x07", STANDARD.encode(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copied_text_cannot_act_on_the_terminal() {
        let sequence = sequence("a\x07\x1b]0;owned\x07").unwrap();
        let inner = sequence
            .strip_prefix("\x1b]52;c;")
            .unwrap()
            .strip_suffix('\x07')
            .unwrap();
        assert!(
            inner
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
        );
    }

    #[test]
    fn what_would_not_arrive_is_not_sent() {
        assert!(sequence(&"x".repeat(MOST + 1)).is_none());
    }
}
