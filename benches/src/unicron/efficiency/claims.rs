//! The paper's ratios, and what ours are to them.

use super::metrics::EfficiencyMetrics;
use crate::unicron::SYSTEM;
use common::report::Claim;

/// (Policy, its ratios on trace-a and trace-b in the paper; the notes, 6.2).
const PUBLISHED: [(&str, [f64; 2]); 4] = [
    ("megatron", [1.2, 1.9]),
    ("oobleck", [3.7, 3.8]),
    ("varuna", [4.8, 5.8]),
    ("bamboo", [4.6, 4.8]),
];
/// How near a ratio has to be to the paper's.
const NEAR: f64 = 0.1;

/// Our ratios beside the paper's.
pub(super) fn judged(metrics: &EfficiencyMetrics) -> Vec<Claim> {
    let judged = |(policy, trace, paper): (&str, &str, f64)| {
        let row = metrics.row(trace, policy)?;
        let (ratio, ci95) = row.ratio?;
        let is_near = (ratio / paper - 1.0).abs() <= NEAR;
        let spares = match row.spares {
            0 => String::new(),
            1 => ", 1 spare node".to_owned(),
            spares => format!(", {spares} spare nodes"),
        };
        let repair = match (policy, trace) {
            ("megatron", "b") => metrics.repair_time_of(paper),
            _ => None,
        };
        let repair = repair.map_or(String::new(), |hours| {
            format!("; {paper:.1} without spares and at a mean repair of {hours:.0} h")
        });
        let here = format!("{ratio:.2} ± {ci95:.2}{spares}{repair}");
        Some(claim(policy, trace, paper).judged(here, is_near))
    };
    published().filter_map(judged).collect()
}

/// The paper's ratios.
pub(super) fn claims() -> Vec<Claim> {
    published().map(|(policy, trace, paper)| claim(policy, trace, paper)).collect()
}

/// (Policy, trace, ratio of the paper).
fn published() -> impl Iterator<Item = (&'static str, &'static str, f64)> {
    PUBLISHED.into_iter().flat_map(|(policy, ratios)| {
        ["a", "b"].into_iter().zip(ratios).map(move |(trace, ratio)| (policy, trace, ratio))
    })
}

fn claim(policy: &str, trace: &str, paper: f64) -> Claim {
    Claim::of_paper(
        SYSTEM,
        format!("accumulated WAF over {policy}'s, trace-{trace}, within 10 %"),
        format!("{paper:.1} x (from memory)"),
    )
}
