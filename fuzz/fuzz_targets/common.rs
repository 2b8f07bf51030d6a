//! What all targets share: a stamp for what has none.

use flapscope::decode::Stamp;
use flapscope::event::source::Unit;
use flapscope::event::{InputId, Locator, SourceId, Timestamp};

pub fn stamp() -> Stamp {
    Stamp {
        at: Timestamp(1),
        source: SourceId(0),
        locator: Locator {
            input: InputId(0),
            unit: Unit::Record,
            number: 1,
            offset: 0,
        },
    }
}
