//! Any text as a trace in each of its formats, and as the name of one: an error is fine; a panic, an
//! endless loop or a trace that isn't read back as it was written is a find.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use unicron::trace::live::LiveRun;
use unicron::trace::{Description, InfiniteHbd, Source, Trace};

fuzz_target!(|text: &str| {
    let path = Path::new("fuzz.csv");
    if let Ok(trace) = Trace::parse(text, path) {
        examine(&trace);
    }
    let recipe = InfiniteHbd { process_failures: 2.0, ..InfiniteHbd::default() };
    if let Ok(trace) = recipe.parse(text, path) {
        examine(&trace);
    }
    if let Ok(run) = LiveRun::parse(text, path) {
        examine(&run.trace);
    }
    // Options may be NaN until they are used, so spellings are compared and not sources.
    if let Ok(source) = Source::parse(text) {
        let spelling = source.to_string();
        let again = Source::parse(&spelling).expect("printed sources parse");
        assert_eq!(again.to_string(), spelling);
    }
});

fn examine(trace: &Trace) {
    let again = Trace::parse(&trace.to_string(), Path::new("again.csv"));
    assert_eq!(&again.expect("printed traces parse"), trace);
    assert!(trace.events().len() >= trace.failures().len());
    let description = Description::of(trace);
    assert!((0.0..=1.0 + 1e-9).contains(&description.node_time_lost));
    let _ = description.plot().to_svg().expect("every trace has a picture");
}
