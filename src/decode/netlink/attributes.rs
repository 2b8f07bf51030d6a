//! A bounded walk over netlink attributes, for the messages that are decoded here.

/// `struct nlattr`: length and type.
const HEADER: usize = 4;
/// `NLA_TYPE_MASK`: without the nested and byte-order bits.
const TYPE_MASK: u16 = 0x3fff;

/// Type and value of each attribute; an error, and the end, where one runs over its message.
pub(super) struct Walk<'a> {
    rest: &'a [u8],
    why: &'static str,
}

impl<'a> Walk<'a> {
    /// `why` is said of an attribute that runs over.
    pub(super) fn new(rest: &'a [u8], why: &'static str) -> Walk<'a> {
        Walk { rest, why }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<(u16, &'a [u8]), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        // Fewer octets than a header are padding.
        let ([l0, l1, k0, k1], _) = self.rest.split_first_chunk::<HEADER>()?;
        let length = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let kind = u16::from_ne_bytes([*k0, *k1]) & TYPE_MASK;
        let Some(value) = self.rest.get(HEADER..length) else {
            self.rest = &[];
            return Some(Err(self.why));
        };
        let next = length.next_multiple_of(4);
        self.rest = self.rest.get(next..).unwrap_or_default();
        Some(Ok((kind, value)))
    }
}

/// A value of four octets.
pub(super) fn word(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
}
