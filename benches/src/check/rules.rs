//! What is compared of each experiment's metrics, and how far it may be from the baseline.
//!
//! Bytes and counts that arithmetic gives are the same everywhere. Sums of floating-point numbers depend on the vector
//! instructions that a machine has, and through 30 layers at 1 bit such a difference grows; models that are trained
//! depend on it even more. So a value may move by what that does to it, and no further.

use std::fmt;

/// How far a value may be from the baseline's.
#[derive(Debug, Clone, Copy)]
pub enum Allowed {
    /// It is the same.
    Nothing,
    /// By this part of it, in any direction.
    Relative(f64),
    /// It may rise by this part of it, as errors do; a fall is good news.
    Rise(f64),
    /// It may rise by so much.
    RiseBy(f64),
    /// It may fall by this part of it, as ratios of efficiency do; a rise is good news.
    Fall(f64),
    /// It may fall by so much, as accuracies do.
    FallBy(f64),
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Allowed::Nothing => f.write_str("the same"),
            Allowed::Relative(part) => write!(f, "within {} %", 100.0 * part),
            Allowed::Rise(part) => write!(f, "{} % more", 100.0 * part),
            Allowed::RiseBy(distance) => write!(f, "{distance} more"),
            Allowed::Fall(part) => write!(f, "{} % less", 100.0 * part),
            Allowed::FallBy(distance) => write!(f, "{distance} less"),
        }
    }
}

/// Values and what is allowed to them.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Names of fields with dots between; `*` is any index.
    pub path: &'static str,
    pub allowed: Allowed,
}

const fn rule(path: &'static str, allowed: Allowed) -> Rule {
    Rule { path, allowed }
}

/// Experiments by how their names begin; the first that fits. One that has none measures times only.
const RULES: [(&str, &[Rule]); 22] = [
    (
        "kvquant-memory",
        &[
            rule("savings.*.cache_bytes", Allowed::Nothing),
            rule("savings.*.kivi_bytes", Allowed::Nothing),
            rule("savings.*.f16_bytes", Allowed::Nothing),
        ],
    ),
    (
        "kvquant-anchors",
        &[
            rule("windows.*.here", Allowed::Relative(0.002)),
            rule("formats.*.score.perplexity", Allowed::Relative(0.005)),
            rule("formats.*.score.k_bytes", Allowed::Nothing),
            rule("formats.*.score.v_bytes", Allowed::Nothing),
        ],
    ),
    ("kvquant-asymmetry", SCORES),
    ("kvquant-ablations", SCORES),
    (
        "kvquant-plans",
        &[
            rule("families.*.scores.*.perplexity", Allowed::Rise(0.02)),
            rule("families.*.scores.*.k_bytes", Allowed::Rise(0.0)),
            rule("families.*.scores.*.v_bytes", Allowed::Rise(0.0)),
        ],
    ),
    (
        "kvquant-errors",
        &[
            rule("heads.*.errors.theorem", Allowed::RiseBy(1e-6)),
            rule("heads.*.errors.keys", Allowed::Rise(0.02)),
            rule("heads.*.errors.values", Allowed::Rise(0.02)),
        ],
    ),
    (
        "kvquant-fused",
        &[
            rule("plans.*.fused", Allowed::Relative(0.02)),
            rule("plans.*.by_reference", Allowed::Relative(0.02)),
        ],
    ),
    ("kvquant-needles", &[rule("plans.*.found.*.*", Allowed::FallBy(1.0))]),
    ("kvquant-tasks", &[rule("tasks.*.scores.*.*.mean", Allowed::FallBy(0.25))]),
    (
        "kvquant-resident",
        &[
            rule("weights_bytes", Allowed::Rise(0.0)),
            rule("loaded", Allowed::Rise(0.1)),
            rule("long.planned", Allowed::Rise(0.0)),
            rule("long.by_process", Allowed::Rise(0.15)),
        ],
    ),
    ("kvquant-attention", &[rule("rows.*.formats.*.bytes", Allowed::Rise(0.0))]),
    (
        "kvquant-decode",
        &[
            rule("weights_bytes", Allowed::Rise(0.0)),
            rule("rows.*.cache_bytes", Allowed::Rise(0.0)),
        ],
    ),
    ("longnn-bases", &[rule("orders.*.error", Allowed::RiseBy(1e-9))]),
    ("longnn-filters", &[rule("rows.*.ratio", Allowed::Rise(0.1))]),
    (
        "longnn-accuracy",
        &[
            rule("rows.*.test_accuracy_mean", Allowed::FallBy(3.0)),
            rule("rows.*.diverged", Allowed::Rise(0.0)),
        ],
    ),
    (
        "unicron-calibration",
        &[
            rule("fitted.*.predicted", Allowed::Relative(1e-6)),
            rule("checks.*.predicted", Allowed::Relative(1e-6)),
        ],
    ),
    (
        "unicron-planning",
        &[
            rule("rows.*.entries", Allowed::Rise(0.0)),
            rule("rows.*.table_bytes", Allowed::Rise(0.0)),
        ],
    ),
    (
        "unicron-efficiency",
        &[
            rule("allocations.*.waf", Allowed::Fall(1e-6)),
            rule("traces.*.rows.*.ratio.0", Allowed::Relative(0.01)),
            rule("traces.*.rows.*.of_bound", Allowed::Fall(0.01)),
        ],
    ),
    (
        "unicron-real-traces",
        &[
            rule("traces.*.rows.*.ratio.0", Allowed::Relative(0.01)),
            rule("traces.*.rows.*.of_bound", Allowed::Fall(0.01)),
        ],
    ),
    (
        "unicron-hangs",
        &[
            // The first series is recorded from what runs at that time.
            rule("series.1.rows.*.false_alarms", Allowed::Rise(0.0)),
            rule("series.1.rows.*.missed_of_2", Allowed::Rise(0.01)),
            rule("series.2.rows.*.false_alarms", Allowed::Rise(0.0)),
            rule("series.2.rows.*.missed_of_2", Allowed::Rise(0.01)),
        ],
    ),
    ("unicron-detection", &[rule("rows.*.iterations_back", Allowed::Rise(0.0))]),
    (
        "unicron-reduction",
        &[
            rule("rows.*.tree.sent_bytes", Allowed::Rise(0.0)),
            rule("rows.*.tree_equals_one", Allowed::Nothing),
        ],
    ),
];

/// Plans, scored on a text.
const SCORES: &[Rule] = &[
    rule("scores.*.perplexity", Allowed::Rise(0.05)),
    rule("scores.*.k_bytes", Allowed::Nothing),
    rule("scores.*.v_bytes", Allowed::Nothing),
];

/// The rules of an experiment; none if it only measures times.
pub fn rules_of(experiment: &str) -> &'static [Rule] {
    RULES.iter().find(|(name, _)| experiment.starts_with(name)).map_or(&[], |(_, rules)| rules)
}
