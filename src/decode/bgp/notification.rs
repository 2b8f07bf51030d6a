//! The NOTIFICATION message: codes, shutdown texts (RFC 9003), hard resets (RFC 8538), maximum prefixes (RFC 4486).

use super::Cursor;
use crate::event::WireText;
use crate::event::bgp::{Family, Notification};

const CEASE: u8 = 6;
const MAX_PREFIXES: u8 = 1;
const ADMIN_SHUTDOWN: u8 = 2;
const ADMIN_RESET: u8 = 4;
const HARD_RESET: u8 = 9;
/// Octets of the data field that are kept: enough for every field with a meaning; the rest is text, kept apart, or an attribute.
const DATA_KEPT: usize = 64;

/// Reads the body (behind the header).
pub(super) fn body(body: &[u8]) -> Option<Notification> {
    let mut cursor = Cursor(body);
    let (code, subcode) = (cursor.u8()?, cursor.u8()?);
    let kept = cursor.0.iter().take(DATA_KEPT).copied().collect();
    let mut notification = Notification {
        code,
        subcode,
        inner: None,
        text: None,
        max_prefix: None,
        data: kept,
    };
    if (code, subcode) == (CEASE, HARD_RESET)
        && let Some(&[code, subcode]) = cursor.array()
    {
        notification.inner = Some((code, subcode));
    }
    match notification.cause() {
        (CEASE, ADMIN_SHUTDOWN | ADMIN_RESET) => {
            notification.text = cursor
                .counted8()
                .filter(|text| !text.is_empty())
                .map(WireText::new);
        }
        (CEASE, MAX_PREFIXES) => {
            notification.max_prefix = (|| {
                let afi = cursor.u16()?;
                let safi = cursor.u8()?;
                Some((Family { afi, safi }, cursor.u32()?))
            })();
        }
        _ => {}
    }
    Some(notification)
}
