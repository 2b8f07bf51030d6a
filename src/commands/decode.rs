//! `flapscope decode`: what is in the files, one line an event.

use std::io::{self, Write};

use crate::cli::{Decode, DecodeFormat};
use crate::decode::Decoder;
use crate::decode::mrt::record_type;
use crate::event::Event;
use crate::input::merge::InputSet;
use crate::input::{Format, Item};
use crate::output::bgpdump::BgpdumpWriter;
use crate::output::line::Lines;

/// Prints every event of the files.
pub fn run(options: &Decode) -> anyhow::Result<u8> {
    let mut inputs = InputSet::open(&options.files, &super::open_options(&options.cut)?)?;
    let mut decoder = Decoder::new();
    let mut out = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
    match options.format {
        DecodeFormat::Text => {
            let mut lines = Lines::default();
            each(&mut inputs, &mut decoder, |_, event| {
                lines.write(event, &mut out)
            })?;
        }
        DecodeFormat::Json => each(&mut inputs, &mut decoder, |_, event| {
            serde_json::to_writer(&mut out, event)?;
            out.write_all(b"\n")
        })?,
        DecodeFormat::Bgpdump => {
            let mut writer = BgpdumpWriter::new(&mut out);
            each(&mut inputs, &mut decoder, |item, event| {
                writer.mrt_record(item.and_then(mrt_type));
                writer.event(event)
            })?;
            writer.finish()?;
        }
    }
    out.flush()?;
    super::inputs::check_readable(&inputs)?;
    Ok(0)
}

/// Type and subtype of an MRT record: the first column of bgpdump's layout names them.
fn mrt_type(item: &Item<'_>) -> Option<(u16, u16)> {
    match item {
        Item::Record(record) if record.format == Format::Mrt => record_type(record.bytes),
        _ => None,
    }
}

/// Hands every event to `write`, with the item it was decoded from (`None` for what came out at the end); stops at its first error.
fn each(
    inputs: &mut InputSet,
    decoder: &mut Decoder,
    mut write: impl FnMut(Option<&Item<'_>>, &Event) -> io::Result<()>,
) -> io::Result<()> {
    let mut result = Ok(());
    while let Some(item) = inputs.next() {
        decoder.item(&item, &mut |event| {
            if result.is_ok() {
                result = write(Some(&item), event);
            }
        });
        result?;
        result = Ok(());
    }
    decoder.finish(&mut |event| {
        if result.is_ok() {
            result = write(None, event);
        }
    });
    result
}
