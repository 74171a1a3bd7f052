//! Clusters of any size that share out their workers among tasks of several models.

use crate::is_whole;
use std::fmt::Write;
use std::path::Path;
use unicron::cluster::ClusterFile;
use unicron::plan::Fleet;
use unicron::throughput::Constants;

const GPUS_PER_NODE: usize = 8;
const MODELS: [&str; 3] = ["gpt3-1.3b", "gpt3-7b", "gpt3-13b"];

/// GPUs and tasks: the paper's cluster, and larger ones.
pub fn sizes() -> Vec<(usize, usize)> {
    let mut sizes = vec![(128, 6), (1024, 50)];
    if is_whole() {
        sizes.extend([(10_000, 100), (100_000, 500)]);
    }
    sizes
}

/// All tasks but every seventh run already.
pub fn fleet(gpus: usize, tasks: usize) -> Fleet {
    let nodes = gpus / GPUS_PER_NODE;
    let share = nodes / tasks * GPUS_PER_NODE;
    let mut text = format!("[cluster]\nnodes = {nodes}\ngpus_per_node = {GPUS_PER_NODE}\n");
    for task in 0..tasks {
        let model = MODELS[task % MODELS.len()];
        let weight = 0.5 + ((task * 7919) % 1000) as f64 * 1.5e-3;
        let current = if task % 7 == 6 { 0 } else { share };
        writeln!(
            text,
            "[[tasks]]\nname = \"task-{task}\"\nmodel = \"{model}\"\nweight = {weight}\n\
             current = {current}"
        )
        .unwrap();
    }
    let file = ClusterFile::parse(&text, Path::new("made-up.toml")).unwrap();
    Fleet::of(&file, &Constants::default()).unwrap()
}
