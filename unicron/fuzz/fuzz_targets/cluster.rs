//! Any text as a cluster file: an error is fine; a panic, an error without its line, or a plan with more
//! workers than there are is a find.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use unicron::cluster::ClusterFile;
use unicron::plan::{Fleet, Rule};
use unicron::throughput::Constants;

/// Larger ones are planned for, too, but take longer than a fuzzer should.
const MAX_GPUS: usize = 64;
const MAX_TASKS: usize = 4;

fuzz_target!(|text: &str| {
    let file = match ClusterFile::parse(text, Path::new("fuzz.toml")) {
        Ok(file) => file,
        Err(error) => {
            let told = error.to_string();
            let line = told.strip_prefix("fuzz.toml:").and_then(|rest| rest.split_once(": "));
            let line = line.and_then(|(line, _)| line.parse::<usize>().ok());
            assert!(line.is_some_and(|line| line > 0), "{told}");
            return;
        }
    };
    let gpus = file.cluster.gpus();
    if gpus > MAX_GPUS || file.tasks.len() > MAX_TASKS {
        return;
    }
    let Ok(fleet) = Fleet::of(&file, &Constants::default()) else { return };
    for rule in [Rule::ours(), Rule::paper()] {
        let placed = fleet.plan(&rule);
        assert!(placed.plan.workers <= gpus);
        let nodes = 0..file.cluster.nodes();
        let per_node = file.cluster.gpus_per_node();
        assert!(nodes.into_iter().all(|node| placed.placement.used(node) <= per_node));
    }
});
