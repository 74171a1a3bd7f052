//! Simulated days: elements a second are days.

use crate::is_whole;
use criterion::{BenchmarkId, Criterion, Throughput};
use unicron::cluster::Cluster;
use unicron::simulate::cases::Case;
use unicron::simulate::{Choices, Contender, Scenario};
use unicron::trace::{Synthetic, Trace};

const DAYS: f64 = 28.0;

/// Unicron, the same without its solver, the bound that looks ahead, and rivals.
const POLICIES: [&str; 4] = ["unicron", "greedy", "clairvoyant", "megatron"];

/// The paper's fifth case, on its cluster and on larger ones, over failures of published rates.
pub fn days(criterion: &mut Criterion) {
    let (sizes, policies) = match is_whole() {
        true => (vec![16, 128, 1024], Contender::names()),
        false => (vec![16, 128], POLICIES.to_vec()),
    };
    let policies: Vec<String> = policies.into_iter().map(str::to_owned).collect();
    for nodes in sizes {
        let recipe = Synthetic { nodes, days: DAYS, seed: 1, ..Synthetic::default() };
        let trace: Trace = recipe.generate().unwrap();
        let cluster = Cluster::new(nodes, 8, *Cluster::paper().hardware()).unwrap();
        let tasks = Case::Five.tasks(&cluster).unwrap();
        let scenario = Scenario::new(&cluster, &tasks, &trace, 1).unwrap();
        let n_failures = trace.failures().len();
        let mut group =
            criterion.benchmark_group(format!("simulator/{nodes} nodes, {n_failures} failures"));
        group.throughput(Throughput::Elements(DAYS as u64));
        group.bench_function("making the trace", |bencher| bencher.iter(|| recipe.generate()));
        let choices = Choices { spares: Some(0), ..Choices::default() };
        let contenders = Contender::of(&policies, &choices, &scenario, &trace).unwrap();
        for contender in &contenders {
            let id = BenchmarkId::new(&contender.policy, contender.throughput());
            group.bench_function(id, |bencher| {
                bencher.iter(|| contender.policy().run(&scenario).unwrap());
            });
        }
        group.finish();
    }
}
