//! Text that came from the wire. It can only be shown sanitised (law 11), because its only ways out are `Display` and `Serialize`.

use std::fmt::{self, Write};

use serde::{Serialize, Serializer};
use unicode_width::UnicodeWidthChar;

/// Longest text kept from one field, in octets: a DHCP option's maximum, and twice a BGP shutdown communication's old one.
pub const MAX_TEXT: usize = 255;

/// Octets of a text field as they came. Prints with every acting or invisible character as a visible escape.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Default)]
pub struct WireText(Box<[u8]>);

impl WireText {
    /// Keeps at most [`MAX_TEXT`] octets.
    pub fn new(octets: &[u8]) -> WireText {
        WireText(octets[..octets.len().min(MAX_TEXT)].into())
    }

    /// The octets as they came, for matching and for hashing; not for showing.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// No octets at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether showing it unsanitised could act on a terminal or deceive a reader: controls, format and bidi characters,
    /// private or unassigned code points. A trailing NUL is common and harmless, bytes that are not UTF-8 are [not text](Self::is_utf8).
    pub fn is_hostile(&self) -> bool {
        let octets = self.0.strip_suffix(b"\0").unwrap_or(&self.0);
        String::from_utf8_lossy(octets)
            .chars()
            .any(|c| c != char::REPLACEMENT_CHARACTER && acts(c))
    }

    /// Whether the octets are UTF-8.
    pub fn is_utf8(&self) -> bool {
        std::str::from_utf8(&self.0).is_ok()
    }
}

impl From<&str> for WireText {
    fn from(text: &str) -> WireText {
        WireText::new(text.as_bytes())
    }
}

impl fmt::Display for WireText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest: &[u8] = &self.0;
        while !rest.is_empty() {
            let (good, bad) = match std::str::from_utf8(rest) {
                Ok(text) => (text, 0),
                Err(error) => {
                    let good =
                        std::str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default();
                    (
                        good,
                        error
                            .error_len()
                            .unwrap_or(rest.len() - error.valid_up_to()),
                    )
                }
            };
            write_sanitized(f, good, true)?;
            for octet in &rest[good.len()..good.len() + bad] {
                write!(f, "\\x{octet:02x}")?;
            }
            rest = &rest[good.len() + bad..];
        }
        Ok(())
    }
}

impl fmt::Debug for WireText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for WireText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `text` with every acting or invisible character as `\u{…}`; for strings that are not [`WireText`] (file names, interface names).
pub fn sanitized(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let _ = write_sanitized(&mut out, text, false); // writing to a String cannot fail
    out
}

/// `raw`: a backslash of the sender's is doubled, so that nobody can write what looks like an escape of ours. Text that may hold such escapes
/// already keeps them.
fn write_sanitized(out: &mut impl Write, text: &str, raw: bool) -> fmt::Result {
    for c in text.chars() {
        match c {
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\u{1b}' => out.write_str("\\e")?,
            '\\' if raw => out.write_str("\\\\")?,
            c if acts(c) => write!(out, "\\u{{{:x}}}", c as u32)?,
            c => out.write_char(c)?,
        }
    }
    Ok(())
}

/// Characters that act on a terminal, hide, reorder, or that no font need show: general categories Cc, Cf, Cs, Co, Cn, Zl, Zp.
/// Instead of the whole Unicode table (a dependency for one question), letters outside the long-assigned blocks count as acting too:
/// showing a rare letter as an escape is harmless, the reverse is not.
fn acts(c: char) -> bool {
    let u = c as u32;
    match u {
        0x20..=0x7e => false,
        // By property, not by list: what is ignorable by default, joins with its neighbor or has no width shows nothing of its own, and white
        // space but the plain one shows nothing at all.
        _ if c.is_whitespace() || c.is_control() || c.width().is_none_or(|width| width == 0) => {
            true
        }
        // The empty braille cell: a symbol by its property, and blank in every font.
        0x2800 => true,
        0x00..=0x1f | 0x7f..=0xa0 | 0xad => true,
        // Latin-1 to IPA extensions: fully assigned.
        0xa1..=0x36f => false,
        // Greek, Cyrillic, Armenian … have holes; the ranges without holes and without format characters are allowed.
        0x391..=0x3a1 | 0x3a3..=0x52f => false,
        0x5d0..=0x5ea | 0x620..=0x64a => false,
        0x905..=0x939 | 0xe01..=0xe3a => false,
        0x1e00..=0x1f15 => false,
        // General punctuation without zero-width, bidi and separators.
        0x2010..=0x2027 | 0x2030..=0x205e => false,
        0x20a0..=0x20c0 | 0x2100..=0x218b | 0x2190..=0x2426 | 0x2460..=0x2b73 => false,
        0x3041..=0x3096 | 0x30a0..=0x30ff | 0x3001..=0x303f | 0x4e00..=0x9fff | 0xac00..=0xd7a3 => {
            false
        }
        0xfffd => false,
        0x1f300..=0x1f64f => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acting_characters_become_visible_escapes() {
        let text = WireText::new(b"a\x1b[2J\r\n\xe2\x80\xaeb\xff\0");
        assert_eq!(text.to_string(), "a\\e[2J\\r\\n\\u{202e}b\\xff\\u{0}");
        assert!(text.is_hostile());
    }

    #[test]
    fn what_shows_nothing_becomes_visible_whatever_block_it_is_in() {
        for hidden in [
            '\u{34f}',
            '\u{301}',
            '\u{2800}',
            '\u{3000}',
            '\u{a0}',
            '\u{ad}',
            '\u{200b}',
            '\u{2003}',
            '\u{202e}',
            '\u{2060}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{e0041}',
        ] {
            let text = WireText::from(format!("a{hidden}b").as_str());
            assert_eq!(text.to_string(), format!("a\\u{{{:x}}}b", hidden as u32));
            assert!(text.is_hostile(), "{:x}", hidden as u32);
        }
    }

    #[test]
    fn nobody_can_write_what_looks_like_an_escape_of_ours() {
        let forged = WireText::from("\\e[2J").to_string();
        assert_eq!(forged, "\\\\e[2J");
        assert_ne!(forged, WireText::new(b"\x1b[2J").to_string());
        // Shown again it stays what it is.
        assert_eq!(sanitized(&forged), forged);
    }

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["web-01.example", "café", "учет", "名前", "MSFT 5.0"] {
            let text = WireText::from(name);
            assert_eq!(text.to_string(), name);
            assert!(!text.is_hostile());
        }
        assert!(!WireText::new(b"printer\0").is_hostile());
    }
}
