//! What an operator (or a deployment) says about a point in time: "deploy X". A mark on the timeline, and nothing that was observed.

use serde::Serialize;

use super::{Timestamp, WireText};

/// Subjects of one annotation.
pub const MAX_SUBJECTS: usize = 16;

/// `LINKTYPE_WIRESHARK_UPPER_PDU`: how annotations travel through captures. Wireshark shows them as what their header names.
pub const LINK_TYPE: u16 = 252;

/// A change that somebody made, or is making.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Annotation {
    /// When it began; may lie before the time at which it was told.
    pub from: Timestamp,
    /// When it was (or will be) over, where it takes time.
    pub until: Option<Timestamp>,
    pub text: WireText,
    /// What it is about, each a filter like `link:up1`; everything when empty.
    pub subjects: Vec<WireText>,
    /// Who said so.
    pub author: Option<WireText>,
    /// What it explains from `from` to `until` shall wake nobody.
    pub silence: bool,
}
