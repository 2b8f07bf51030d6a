//! The few regular expressions that `expect.json` uses: literals, `.`, `\d`, `[…]`, `(…|…)`, `* + ?`, `^ $`. Found anywhere, as Python's `re.search`.

#[derive(Debug)]
enum Node {
    /// One character out of ranges; `negated` turns it around.
    Class {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
    Group(Vec<Vec<Node>>),
    Repeat {
        node: Box<Node>,
        least: usize,
        most: usize,
    },
    Start,
    End,
}

#[derive(Debug)]
pub struct Pattern(Vec<Vec<Node>>);

impl Pattern {
    pub fn new(text: &str) -> Result<Self, String> {
        let chars: Vec<char> = text.chars().collect();
        let mut at = 0;
        let branches = alternatives(&chars, &mut at)?;
        if at < chars.len() {
            return Err(format!("unexpected {:?} at {at}", chars[at]));
        }
        Ok(Pattern(branches))
    }

    pub fn found_in(&self, text: &str) -> bool {
        let chars: Vec<char> = text.chars().collect();
        (0..=chars.len()).any(|from| {
            self.0
                .iter()
                .any(|branch| walk(branch, &chars, from, &mut |_| true))
        })
    }
}

fn alternatives(chars: &[char], at: &mut usize) -> Result<Vec<Vec<Node>>, String> {
    let mut branches = vec![Vec::new()];
    while let Some(&c) = chars.get(*at) {
        *at += 1;
        let node = match c {
            ')' => {
                *at -= 1;
                break;
            }
            '|' => {
                branches.push(Vec::new());
                continue;
            }
            '^' => Node::Start,
            '$' => Node::End,
            '.' => Node::Class {
                ranges: vec![('\n', '\n')],
                negated: true,
            },
            '(' => {
                if chars[*at..].starts_with(&['?', ':']) {
                    *at += 2;
                }
                let inner = alternatives(chars, at)?;
                if chars.get(*at) != Some(&')') {
                    return Err("a group without its end".to_owned());
                }
                *at += 1;
                Node::Group(inner)
            }
            '[' => class(chars, at)?,
            '\\' => escape(chars, at)?,
            '*' | '+' | '?' => return Err(format!("nothing to repeat before {c:?}")),
            '{' => return Err("counted repetition is not known here".to_owned()),
            literal => Node::Class {
                ranges: vec![(literal, literal)],
                negated: false,
            },
        };
        let node = match chars.get(*at) {
            Some('*') => repeat(node, 0, usize::MAX, at),
            Some('+') => repeat(node, 1, usize::MAX, at),
            Some('?') => repeat(node, 0, 1, at),
            _ => node,
        };
        if let Some(branch) = branches.last_mut() {
            branch.push(node);
        }
    }
    Ok(branches)
}

fn repeat(node: Node, least: usize, most: usize, at: &mut usize) -> Node {
    *at += 1;
    Node::Repeat {
        node: Box::new(node),
        least,
        most,
    }
}

fn escape(chars: &[char], at: &mut usize) -> Result<Node, String> {
    let c = *chars.get(*at).ok_or("an escape of nothing")?;
    *at += 1;
    let (ranges, negated) = match c {
        'd' => (vec![('0', '9')], false),
        'S' => (vec![(' ', ' '), ('\t', '\r')], true),
        c if c.is_ascii_alphanumeric() => {
            return Err(format!("the escape {c:?} is not known here"));
        }
        c => (vec![(c, c)], false),
    };
    Ok(Node::Class { ranges, negated })
}

fn class(chars: &[char], at: &mut usize) -> Result<Node, String> {
    let negated = chars.get(*at) == Some(&'^');
    *at += usize::from(negated);
    let mut ranges = Vec::new();
    loop {
        let low = *chars.get(*at).ok_or("a class without its end")?;
        *at += 1;
        if low == ']' {
            return Ok(Node::Class { ranges, negated });
        }
        let dash = chars.get(*at) == Some(&'-') && chars.get(*at + 1).is_some_and(|c| *c != ']');
        let high = if dash { chars[*at + 1] } else { low };
        *at += if dash { 2 } else { 0 };
        ranges.push((low, high));
    }
}

/// Matches `nodes` from `at` on; calls `done` with each end that they can have until it agrees.
fn walk(nodes: &[Node], text: &[char], at: usize, done: &mut dyn FnMut(usize) -> bool) -> bool {
    let Some((node, rest)) = nodes.split_first() else {
        return done(at);
    };
    match node {
        Node::Start => at == 0 && walk(rest, text, at, done),
        Node::End => at == text.len() && walk(rest, text, at, done),
        Node::Class { ranges, negated } => {
            let hit = text.get(at).is_some_and(|c| {
                ranges.iter().any(|(low, high)| (low..=high).contains(&c)) != *negated
            });
            hit && walk(rest, text, at + 1, done)
        }
        Node::Group(branches) => branches
            .iter()
            .any(|branch| walk(branch, text, at, &mut |end| walk(rest, text, end, done))),
        Node::Repeat { node, least, most } => {
            let once = std::slice::from_ref(&**node);
            let more = *most > 0
                && walk(once, text, at, &mut |end| {
                    // An empty repetition would repeat for ever.
                    end > at
                        && repeated(
                            node,
                            least.saturating_sub(1),
                            most - 1,
                            rest,
                            text,
                            end,
                            done,
                        )
                });
            more || (*least == 0 && walk(rest, text, at, done))
        }
    }
}

fn repeated(
    node: &Node,
    least: usize,
    most: usize,
    rest: &[Node],
    text: &[char],
    at: usize,
    done: &mut dyn FnMut(usize) -> bool,
) -> bool {
    let once = std::slice::from_ref(node);
    let more = most > 0
        && walk(once, text, at, &mut |end| {
            end > at
                && repeated(
                    node,
                    least.saturating_sub(1),
                    most - 1,
                    rest,
                    text,
                    end,
                    done,
                )
        });
    more || (least == 0 && walk(rest, text, at, done))
}

#[test]
fn patterns_find_what_python_finds() {
    for (pattern, text, found) in [
        (
            r"peer:(192\.0\.2\.[01]|fd5a:1f:1::[12])$",
            "peer:fd5a:1f:1::2",
            true,
        ),
        (
            r"peer:(192\.0\.2\.[01]|fd5a:1f:1::[12])$",
            "peer:192.0.2.10",
            false,
        ),
        (r"peer:(192\.0\.2\.[01])$", "peer:192x0.2.1", false),
        (r"198\.18\.10\.0/2[45]$", "prefix:198.18.10.0/25", true),
        (r"fe80::1(%\S+)?$", "router:fe80::1%eth0", true),
        (r"fe80::1(%\S+)?$", "router:fe80::12", false),
        (r"^a.*b\d+$", "a-x-b42", true),
        ("hold-timer-expired|tcp", "tcp-closed", true),
    ] {
        assert_eq!(
            Pattern::new(pattern).map(|p| p.found_in(text)),
            Ok(found),
            "{pattern} in {text}"
        );
    }
    assert!(
        Pattern::new("(").is_err() && Pattern::new("[a").is_err() && Pattern::new("*").is_err()
    );
}
