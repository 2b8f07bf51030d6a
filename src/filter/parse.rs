//! Text to filter. A mistake is told with its place, so that a caret can point at it; lengths are bounded, as filters also come
//! through the control socket.

use std::fmt;

use super::{Filter, Key, Term, Value};
use crate::detect::Severity;
use crate::event::{Prefix, text};

/// Octets of a filter: many lines of a terminal.
pub const MAX_LENGTH: usize = 1024;
/// Terms of a filter, and values of a term: what is asked of each of a million rows must have an end.
pub const MAX_TERMS: usize = 64;

/// Types of subjects that may stand for `subject:` (`link:up1`), as they are shown everywhere. `prefix:` and `peer:` are keys already.
const SUBJECT_TYPES: [&str; 11] = [
    "link",
    "address",
    "neighbor",
    "nexthop",
    "origin",
    "as",
    "router",
    "server",
    "client",
    "source",
    "annotation",
];

/// What is wrong with a filter, and where.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct FilterError {
    /// The whole filter.
    pub given: String,
    /// Octet at which the mistake begins.
    pub at: usize,
    /// Octets that are wrong.
    pub len: usize,
    pub message: String,
}

impl FilterError {
    /// The filter with a caret under the mistake: two lines.
    pub fn caret(&self) -> String {
        let head = self.given.get(..self.at).unwrap_or(&self.given);
        let wrong = self.given.get(self.at..self.at + self.len).unwrap_or("");
        let columns = |part: &str| text::sanitized(part).chars().count();
        format!(
            "{}\n{}{}",
            text::sanitized(&self.given),
            " ".repeat(columns(head)),
            "^".repeat(columns(wrong).max(1))
        )
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at column {}", self.message, self.column())
    }
}

impl FilterError {
    /// The column of the mistake, from 1.
    pub fn column(&self) -> usize {
        let head = self.given.get(..self.at).unwrap_or(&self.given);
        head.chars().count() + 1
    }
}

impl std::error::Error for FilterError {}

/// Where a mistake is, before the whole text is known to it.
struct Wrong {
    at: usize,
    len: usize,
    message: String,
}

type Parsed<T> = Result<T, Wrong>;

fn wrong<T>(at: usize, len: usize, message: impl Into<String>) -> Parsed<T> {
    Err(Wrong {
        at,
        len,
        message: message.into(),
    })
}

/// Parses a whole filter.
pub fn filter(given: &str) -> Result<Filter, FilterError> {
    let terms = terms(given).map_err(|Wrong { at, len, message }| FilterError {
        given: given.chars().take(MAX_LENGTH).collect(),
        at,
        len,
        message,
    })?;
    Ok(Filter {
        text: given.trim().to_owned(),
        terms,
    })
}

fn terms(given: &str) -> Parsed<Vec<Term>> {
    if given.len() > MAX_LENGTH {
        return wrong(
            0,
            1,
            format!(
                "a filter has at most {MAX_LENGTH} octets, this one {}",
                given.len()
            ),
        );
    }
    let mut terms = Vec::new();
    for token in tokens(given)? {
        if terms.len() == MAX_TERMS {
            return wrong(
                token.at,
                token.len,
                format!("a filter has at most {MAX_TERMS} terms"),
            );
        }
        terms.push(term(&token)?);
    }
    Ok(terms)
}

/// One character of a token, with its place and whether it stood in quotes (then it has no meaning of its own).
#[derive(Copy, Clone)]
struct Letter {
    at: usize,
    c: char,
    quoted: bool,
}

struct Token {
    at: usize,
    len: usize,
    letters: Vec<Letter>,
}

/// Splits at spaces outside quotes. A backslash inside quotes takes the next character as it is.
fn tokens(given: &str) -> Parsed<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut letters: Vec<Letter> = Vec::new();
    let mut start: Option<usize> = None;
    let mut quote: Option<usize> = None;
    let mut chars = given.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some(_), '"') => quote = None,
            (Some(_), '\\') => {
                if let Some((at, c)) = chars.next() {
                    letters.push(Letter {
                        at,
                        c,
                        quoted: true,
                    });
                }
            }
            (Some(_), c) => letters.push(Letter {
                at,
                c,
                quoted: true,
            }),
            (None, '"') => {
                start.get_or_insert(at);
                quote = Some(at);
            }
            (None, c) if c.is_whitespace() => {
                if let Some(from) = start.take() {
                    tokens.push(Token {
                        at: from,
                        len: at - from,
                        letters: std::mem::take(&mut letters),
                    });
                }
            }
            (None, c) => {
                start.get_or_insert(at);
                letters.push(Letter {
                    at,
                    c,
                    quoted: false,
                });
            }
        }
    }
    if let Some(at) = quote {
        return wrong(at, 1, "this quote is not closed");
    }
    if let Some(from) = start {
        tokens.push(Token {
            at: from,
            len: given.len() - from,
            letters,
        });
    }
    Ok(tokens)
}

fn term(token: &Token) -> Parsed<Term> {
    let mut letters = token.letters.as_slice();
    let mut negated = false;
    while let Some((first, rest)) = letters.split_first()
        && first.c == '!'
        && !first.quoted
    {
        negated = !negated;
        letters = rest;
    }
    if letters.is_empty() {
        let message = if negated {
            "! needs something to negate"
        } else {
            "an empty term"
        };
        return wrong(token.at, token.len, message);
    }
    let colon = letters.iter().position(|l| l.c == ':' && !l.quoted);
    let (key, value) = match colon {
        Some(colon) => keyed(letters, colon)?,
        None => (None, letters),
    };
    let values = values(key, value, token)?;
    Ok(Term {
        negated,
        key,
        values,
    })
}

/// The key before the colon and what is behind it. `2001:db8::1` and `02:00:5e` are words, `link:up1` is a subject.
fn keyed(letters: &[Letter], colon: usize) -> Parsed<(Option<Key>, &[Letter])> {
    let (head, rest) = letters.split_at(colon);
    let name: String = head.iter().map(|l| l.c.to_ascii_lowercase()).collect();
    let value = rest.get(1..).unwrap_or_default();
    if let Some((key, _, _)) = Key::ALL.iter().find(|(_, word, _)| *word == name) {
        return Ok((Some(*key), value));
    }
    if SUBJECT_TYPES.contains(&name.as_str()) {
        return Ok((Some(Key::Subject), letters));
    }
    if name.chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok((None, letters));
    }
    let at = head.first().map_or(0, |l| l.at);
    let words = || Key::ALL.iter().map(|(_, word, _)| *word);
    let message = match closest(&name, words()) {
        Some(near) => format!("unknown key {name:?}: did you mean {near}?"),
        None => format!(
            "unknown key {name:?}: there are {} (quote a word that holds a colon)",
            words().collect::<Vec<_>>().join(" ")
        ),
    };
    wrong(at, span(head), message)
}

/// The word nearest to a mistyped one, if one is near: at most a third of its letters changed.
pub fn closest<'a>(given: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    words
        .map(|word| (distance(given, word), word))
        .filter(|(far, word)| {
            *far <= word.len().div_ceil(3) || word.starts_with(given) || given.starts_with(*word)
        })
        .min()
        .map(|(_, word)| word)
}

/// Letters to change, add or take away (Levenshtein); only the first [`SHORT_WORD`] letters count.
fn distance(a: &str, b: &str) -> usize {
    const SHORT_WORD: usize = 32;
    let sorted = |word: &str| {
        let mut letters: Vec<char> = word.chars().take(SHORT_WORD).collect();
        letters.sort_unstable();
        letters
    };
    // Letters that changed places are one slip of the fingers.
    if a != b && sorted(a) == sorted(b) {
        return 1;
    }
    let b: Vec<char> = b.chars().take(SHORT_WORD).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(SHORT_WORD).enumerate() {
        let mut before = i;
        let mut left = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(0);
            let here = (before + usize::from(x != *y)).min(above + 1).min(left + 1);
            if let Some(cell) = row.get_mut(j) {
                *cell = left;
            }
            (before, left) = (above, here);
        }
        if let Some(cell) = row.last_mut() {
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

fn values(key: Option<Key>, letters: &[Letter], token: &Token) -> Parsed<Vec<Value>> {
    let mut values = Vec::new();
    let end = token.at + token.len;
    for part in letters.split(|l| l.c == ',' && !l.quoted) {
        let at = part.first().map_or(end, |l| l.at);
        if part.is_empty() {
            let place = letters.first().map_or(token.at, |l| l.at);
            let message = match key {
                Some(key) if letters.is_empty() => {
                    format!("{}: needs a value", key.word())
                }
                _ => "nothing between commas".to_owned(),
            };
            let (at, len) = if letters.is_empty() {
                (token.at, token.len)
            } else {
                (place, end - place)
            };
            return wrong(at, len, message);
        }
        if values.len() == MAX_TERMS {
            return wrong(at, 1, format!("a term has at most {MAX_TERMS} values"));
        }
        let text: String = part.iter().map(|l| l.c).collect();
        let stars = part.iter().any(|l| l.c == '*' && !l.quoted);
        let value = value(key, &text, stars).map_err(|message| Wrong {
            at,
            len: span(part),
            message,
        })?;
        values.push(value);
    }
    Ok(values)
}

/// Octets from the first letter to the end of the last one.
fn span(letters: &[Letter]) -> usize {
    match (letters.first(), letters.last()) {
        (Some(first), Some(last)) => last.at + last.c.len_utf8() - first.at,
        _ => 1,
    }
}

fn value(key: Option<Key>, text: &str, stars: bool) -> Result<Value, String> {
    let lower = || text.to_ascii_lowercase().into_boxed_str();
    Ok(match key {
        Some(Key::Sev) => severity(text)?,
        Some(Key::Asn) => asn(text)?,
        Some(Key::Prefix) => prefix(text)?,
        Some(Key::Peer) => match (text.parse::<Prefix>(), text.parse()) {
            (_, Ok(addr)) => Value::Address(addr),
            (Ok(prefix), _) => Value::Inside(prefix),
            _ if stars => Value::Glob(lower()),
            _ => Value::Start(lower()),
        },
        Some(Key::Mac) => {
            let octets = text.replace('-', ":").to_ascii_lowercase();
            let strange = |c: char| !c.is_ascii_hexdigit() && c != ':' && c != '*';
            if octets.contains(strange) {
                return Err(format!(
                    "{text:?} is no part of a MAC address: write it like 02:00:5e"
                ));
            }
            if stars {
                Value::Glob(octets.into())
            } else {
                Value::Start(octets.into())
            }
        }
        _ if stars => Value::Glob(lower()),
        // A name is whole: `if:up1` is not up10.
        Some(Key::If) => Value::Glob(lower()),
        Some(Key::State) => Value::Start(lower()),
        Some(Key::Kind | Key::Subject | Key::Src) | None => Value::Part(lower()),
    })
}

fn severity(text: &str) -> Result<Value, String> {
    let lower = text.to_ascii_lowercase();
    let (word, above) = match lower.strip_suffix('+') {
        Some(word) => (word, true),
        None => (lower.as_str(), false),
    };
    let from = match word {
        "info" => Severity::Info,
        "warn" | "warning" => Severity::Warning,
        "crit" | "critical" => Severity::Critical,
        _ => {
            return Err(format!(
                "{text:?} is no severity: info, warn, critical, or warn+ for warning and above"
            ));
        }
    };
    Ok(Value::Severity(
        from,
        if above { Severity::Critical } else { from },
    ))
}

fn asn(text: &str) -> Result<Value, String> {
    let number = |part: &str| {
        let digits = part
            .get(..2)
            .filter(|head| head.eq_ignore_ascii_case("as"))
            .map_or(part, |head| part.get(head.len()..).unwrap_or(""));
        digits
            .parse::<u32>()
            .map_err(|_| format!("{part:?} is no AS number: write asn:65001 or asn:64512-65534"))
    };
    match text.split_once('-') {
        Some((from, to)) => Ok(Value::As(number(from)?, number(to)?)),
        None => number(text).map(|asn| Value::As(asn, asn)),
    }
}

fn prefix(text: &str) -> Result<Value, String> {
    if text.eq_ignore_ascii_case("default") {
        return Ok(Value::DefaultRoute);
    }
    match text.parse() {
        Ok(addr) => Ok(Value::Around(addr)),
        Err(_) => text.parse().map(Value::Inside),
    }
}

/// A value as the parser takes it for one: in quotes where it holds what has a meaning.
pub fn quoted(value: &str) -> String {
    let plain = !value.is_empty()
        && !value.contains(|c: char| c.is_whitespace() || matches!(c, '"' | ',' | '*' | '\\'));
    if plain {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
