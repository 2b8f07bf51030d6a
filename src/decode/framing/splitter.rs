//! Cuts a byte stream into messages and finds the next begin when it was lost.

use std::mem;

/// What octets at the begin of a message say about it.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Head {
    /// A message of this length, never zero.
    Message(usize),
    /// The header is not complete; this many octets are needed to know more.
    Short(usize),
    /// No message begins so.
    Not,
}

/// Whether a message begins here, asked when the begin was lost: a stricter question than [`Head`].
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Begin {
    Yes,
    No,
    /// More octets are needed.
    Unknown,
}

/// What [`Splitter::feed`] finds.
pub(super) enum Found<'a> {
    Message(&'a [u8]),
    /// The stream does not go on with a message.
    Damage(&'a [u8]),
}

/// The rules of one protocol.
pub(super) trait Rules {
    fn head(&self, bytes: &[u8]) -> Head;
    fn begin(&self, bytes: &[u8]) -> Begin;
}

/// The state of one stream. `pending` holds less than one message, or, while the begin is being looked for, what could be one:
/// bounded by the longest message that `Rules::head` admits plus one segment.
#[derive(Clone, Debug, Default)]
pub(super) struct Splitter {
    pending: Vec<u8>,
    /// The next octet begins a message (as far as we know).
    synced: bool,
}

impl Splitter {
    /// Forgets what is pending and looks for the next begin.
    pub fn lose(&mut self) {
        self.pending.clear();
        self.synced = false;
    }

    /// Takes the next octets and hands out what they complete.
    pub fn feed(&mut self, mut bytes: &[u8], rules: &impl Rules, mut each: impl FnMut(Found<'_>)) {
        loop {
            if !self.synced {
                self.pending.extend_from_slice(bytes);
                bytes = &[];
                if !self.search(rules) {
                    return;
                }
            }
            if self.pending.is_empty() {
                let used = self.split(bytes, rules, &mut each);
                let rest = bytes.get(used..).unwrap_or_default();
                if self.synced {
                    self.pending.extend_from_slice(rest);
                    return;
                }
                bytes = rest;
                continue;
            }
            bytes = self.complete(bytes, rules);
            // Taken out, because `each` must not see it change; its capacity comes back below.
            let mut pending = mem::take(&mut self.pending);
            let used = self.split(&pending, rules, &mut each);
            pending.drain(..used.min(pending.len()));
            self.pending = pending;
            if self.synced && bytes.is_empty() {
                return;
            }
        }
    }

    /// Hands out the whole messages at the begin of `bytes`; returns how many octets they have. Notes damage.
    fn split(
        &mut self,
        bytes: &[u8],
        rules: &impl Rules,
        each: &mut impl FnMut(Found<'_>),
    ) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match rules.head(rest) {
                Head::Message(length) => match rest.get(..length) {
                    Some(message) => {
                        each(Found::Message(message));
                        at += length.max(1);
                    }
                    None => break,
                },
                Head::Short(_) => break,
                Head::Not => {
                    each(Found::Damage(rest));
                    self.synced = false;
                    break;
                }
            }
        }
        at
    }

    /// Moves octets to `pending` until its message is whole; returns those that are left.
    fn complete<'a>(&mut self, mut bytes: &'a [u8], rules: &impl Rules) -> &'a [u8] {
        loop {
            let wanted = match rules.head(&self.pending) {
                Head::Message(length) => length,
                Head::Short(length) => length,
                Head::Not => return bytes,
            };
            let missing = wanted.saturating_sub(self.pending.len());
            if missing == 0 || bytes.is_empty() {
                return bytes;
            }
            let (now, later) = bytes.split_at(missing.min(bytes.len()));
            self.pending.extend_from_slice(now);
            bytes = later;
        }
    }

    /// Drops what is before the first begin in `pending`; true when there is one.
    fn search(&mut self, rules: &impl Rules) -> bool {
        let mut at = 0;
        while let Some(rest) = self.pending.get(at..).filter(|rest| !rest.is_empty()) {
            match rules.begin(rest) {
                Begin::No => at += 1,
                Begin::Yes => {
                    self.synced = true;
                    break;
                }
                Begin::Unknown => break,
            }
        }
        self.pending.drain(..at);
        self.synced
    }
}
