//! A whole file of any container through the whole pipeline, and what is told of it: sanitised, and the same each time.
#![no_main]

use std::io::{Cursor, Read};

use flapscope::decode::Decoder;
use flapscope::detect::Settings;
use flapscope::engine::Engine;
use flapscope::input::file::OpenOptions;
use flapscope::input::merge::InputSet;
use flapscope::output::alert::{Alert, Host};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let reader: Box<dyn Read + Send> = Box::new(Cursor::new(bytes.to_vec()));
    let Ok(mut inputs) =
        InputSet::from_readers(vec![("in".to_owned(), reader)], &OpenOptions::default())
    else {
        return;
    };
    let (mut engine, mut decoder) = (Engine::new(&Settings::default()), Decoder::new());
    let mut told = Vec::new();
    while let Some(item) = inputs.next() {
        decoder.item(&item, &mut |event| engine.handle(event, &mut told));
    }
    decoder.finish(&mut |event| engine.handle(event, &mut told));
    engine.finish(&mut told);
    for told in &told {
        let line = serde_json::to_string(&Alert::new(told, &Host::default())).unwrap();
        assert!(!line.chars().any(char::is_control), "{line}");
    }
});
