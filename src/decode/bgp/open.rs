//! The OPEN message (RFC 4271 §4.2) and its capabilities (RFC 5492, RFC 9072).

use super::Cursor;
use crate::event::WireText;
use crate::event::bgp::{Family, GracefulRestart, Open};

/// Optional parameter type of capabilities (RFC 5492 §4).
const CAPABILITIES: u8 = 2;
/// Length and type that announce the extended format (RFC 9072 §2).
const EXTENDED: u8 = 255;

/// Reads the body (behind the header). Damage inside one capability costs that capability only (RFC 5492 §5 leaves it to us).
pub(super) fn body(body: &[u8]) -> Result<Open, &'static str> {
    let mut cursor = Cursor(body);
    let mut open = Open::default();
    let fixed = |cursor: &mut Cursor<'_>, open: &mut Open| {
        open.version = cursor.u8()?;
        open.asn = u32::from(cursor.u16()?);
        open.hold_time = cursor.u16()?;
        open.router_id = cursor.u32()?;
        cursor.u8()
    };
    let length = fixed(&mut cursor, &mut open).ok_or("OPEN shorter than its fixed part")?;
    let extended = length == EXTENDED && cursor.0.first() == Some(&EXTENDED);
    let parameters = if extended {
        cursor.u8();
        cursor.counted16()
    } else {
        cursor.take(usize::from(length))
    };
    let mut parameters =
        Cursor(parameters.ok_or("optional parameters of the OPEN exceed the message")?);
    while let Some(kind) = parameters.u8() {
        let value = if extended {
            parameters.counted16()
        } else {
            parameters.counted8()
        };
        let value = value.ok_or("an optional parameter of the OPEN exceeds the message")?;
        if kind != CAPABILITIES {
            continue;
        }
        let mut capabilities = Cursor(value);
        while let Some(code) = capabilities.u8() {
            let value = capabilities
                .counted8()
                .ok_or("a capability of the OPEN exceeds its parameter")?;
            open.capabilities.push(code);
            capability(code, Cursor(value), &mut open);
        }
    }
    Ok(open)
}

/// Reads one capability; `None` where its value is too short for its code.
fn capability(code: u8, mut value: Cursor<'_>, open: &mut Open) -> Option<()> {
    match code {
        // Multiprotocol (RFC 4760 §8): AFI, reserved, SAFI.
        1 => {
            let afi = value.u16()?;
            value.u8()?;
            let safi = value.u8()?;
            open.families.push(Family { afi, safi });
        }
        2 | 128 => open.route_refresh = true,
        5 => {
            while let Some(&[a, b, c, d, e, f]) = value.array() {
                let word = |high, low| u16::from_be_bytes([high, low]);
                open.extended_next_hop
                    .push((word(a, b), word(c, d), word(e, f)));
            }
        }
        6 => open.extended_messages = true,
        9 => open.role = Some(value.u8()?),
        // Graceful restart (RFC 4724 §3; the N bit RFC 8538 §2).
        64 => {
            let head = value.u16()?;
            let mut graceful = GracefulRestart {
                restarting: head & 0x8000 != 0,
                notification: head & 0x4000 != 0,
                restart_time: head & 0x0fff,
                families: Vec::new(),
            };
            while let Some(&[a, b, safi, flags]) = value.array() {
                let afi = u16::from_be_bytes([a, b]);
                graceful
                    .families
                    .push((Family { afi, safi }, flags & 0x80 != 0));
            }
            open.graceful_restart = Some(graceful);
        }
        65 => {
            let asn = value.u32()?;
            open.four_octet_as = true;
            open.asn = asn;
        }
        69 => {
            while let Some(&[a, b, safi, mode]) = value.array() {
                let afi = u16::from_be_bytes([a, b]);
                open.add_path.push((Family { afi, safi }, mode));
            }
        }
        70 => open.enhanced_route_refresh = true,
        // Long-lived graceful restart (RFC 9494 §3): AFI, SAFI, flags, 24 bits of seconds.
        71 => {
            while let Some(&[a, b, safi, _, x, y, z]) = value.array() {
                let afi = u16::from_be_bytes([a, b]);
                open.long_lived
                    .push((Family { afi, safi }, u32::from_be_bytes([0, x, y, z])));
            }
        }
        73 => open.host_name = Some(WireText::new(value.counted8()?)),
        _ => {}
    }
    Some(())
}
