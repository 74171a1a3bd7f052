//! A random search for a model's settings, by accuracy on validation nodes alone.
//!
//! The baselines' settings are published for few graphs, so all of them are searched for in the same
//! space, with the same trials and the same budget. First every trial is trained for a few epochs on
//! a few seeds; then the best quarter, and the current settings, which have to be beaten like any
//! other, are trained in full on more (one step of successive halving). The seeds are the first of a
//! comparison's: a split's validation nodes are then the ones that its own settings were chosen on.

use crate::Result;
use crate::model::{Architecture, GroupSettings, Problem, Settings};
use crate::train::{Job, Observer, Protocol, train};
use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::fmt;

/// What every model's settings are drawn from. What a model doesn't read has no effect on it.
pub mod space {
    /// Learning rates of the encoder.
    pub const ENCODER_RATES: &[f64] = &[0.005, 0.01, 0.05];
    /// Weight decays of the encoder.
    pub const ENCODER_DECAYS: &[f64] = &[0.0, 5e-5, 5e-4, 1e-3];
    /// Dropouts of the features and of the hidden layer.
    pub const DROPOUTS: &[f64] = &[0.0, 0.2, 0.5, 0.7, 0.8];
    /// Dropouts before propagation.
    pub const PROPAGATION_DROPOUTS: &[f64] = &[0.0, 0.2, 0.5, 0.7];
    /// Learning rates of coefficients, mixing and basis.
    pub const FILTER_RATES: &[f64] = &[0.001, 0.005, 0.01, 0.05];
    /// Their weight decays.
    pub const FILTER_DECAYS: &[f64] = &[0.0, 5e-4];
    /// Teleport probabilities of APPNP and GPRGNN; PCD's scale of the others stays as it is.
    pub const TELEPORTS: &[f64] = &[0.1, 0.2, 0.5, 0.9];
    /// Degrees of ChebNet, whose two layers reach twice as far; other degrees stay as they are.
    pub const CHEBNET_DEGREES: &[usize] = &[1, 2];
    /// ChebNet's hidden width.
    pub const CHEBNET_HIDDEN: usize = 32;
}

/// Runs that are trained at once.
const RUNS_SIDE_BY_SIDE: usize = 20;
/// Epochs of the first round.
const FIRST_EPOCHS: usize = 200;
/// Patience of the first round.
const FIRST_PATIENCE: usize = 50;
/// One of so many trials is trained in full.
const KEPT_OF: usize = 4;
/// The least seeds of the second round.
const FINAL_SEEDS: u64 = 5;

/// How much to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Settings tried, the current ones among them; at least one.
    pub trials: usize,
    /// Seeds of the first round; at least one.
    pub seeds: u64,
    /// The seed of the draws.
    pub draws: u64,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// The settings with the best mean on validation nodes.
    pub settings: Settings,
    /// Which trial they were; 0 is the settings that were current.
    pub trial: usize,
    /// Trials of the first round.
    pub trials: usize,
    /// Its seeds.
    pub seeds: u64,
    /// Trials of the second round.
    pub finalists: usize,
    /// Its seeds.
    pub final_seeds: u64,
    /// Mean metric on the validation nodes in the second round, in percent.
    pub validation: f64,
    /// The same of the settings that were current.
    pub current_validation: f64,
}

impl fmt::Display for Found {
    /// One line that says how the settings were found.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trials, seeds, finalists, final_seeds, validation, trial, .. } = self;
        write!(
            f,
            "Trial {trial} of a random search: {trials} trials of {seeds} seeds, {finalists} again \
             with {final_seeds}; {validation:.2} % on validation nodes."
        )
    }
}

/// Searches for a model's settings on a graph, from the current ones. The protocol is that of the
/// second round.
///
/// # Errors
/// If the current settings are outside their range, or a split doesn't fit the graph.
pub fn search(
    problem: &Problem,
    model: Architecture,
    current: &Settings,
    plan: Plan,
    protocol: &Protocol,
    observer: &mut (impl Observer + Send),
) -> Result<Found> {
    let candidates = candidates(model, current, plan);
    let seeds = plan.seeds.max(1);
    let short = Protocol {
        max_epochs: protocol.max_epochs.min(FIRST_EPOCHS),
        patience: protocol.patience.min(FIRST_PATIENCE),
        ..*protocol
    };
    let all: Vec<&Settings> = candidates.iter().collect();
    let first = validation_means(problem, model, &all, seeds, &short, observer)?;
    let finalists = finalists(&first);
    let kept: Vec<&Settings> = finalists.iter().map(|&trial| &candidates[trial]).collect();
    let final_seeds = seeds.max(FINAL_SEEDS);
    let second = validation_means(problem, model, &kept, final_seeds, protocol, observer)?;
    let (place, trial) = (best_first(&second)[0], finalists[best_first(&second)[0]]);
    Ok(Found {
        settings: candidates[trial].clone(),
        trial,
        trials: candidates.len(),
        seeds,
        finalists: finalists.len(),
        final_seeds,
        validation: second[place],
        // The current settings are the first trial, and the first finalist.
        current_validation: second[0],
    })
}

/// The current settings, and as many different others as the plan asks for.
fn candidates(model: Architecture, current: &Settings, plan: Plan) -> Vec<Settings> {
    /// The space is far larger than any search; a draw that is there already is drawn again.
    const DRAWS_A_TRIAL: usize = 10;
    let mut rng = ChaCha8Rng::seed_from_u64(plan.draws);
    let mut candidates = vec![current.clone()];
    for _ in 0..plan.trials.saturating_mul(DRAWS_A_TRIAL) {
        if candidates.len() >= plan.trials {
            break;
        }
        let drawn = draw(model, current, &mut rng);
        if !candidates.contains(&drawn) {
            candidates.push(drawn);
        }
    }
    candidates
}

fn draw(model: Architecture, current: &Settings, rng: &mut ChaCha8Rng) -> Settings {
    let mut one = |values: &[f64]| *values.choose(rng).expect("the space has no empty list");
    let mut drawn = Settings {
        encoder: GroupSettings {
            learning_rate: one(space::ENCODER_RATES),
            weight_decay: one(space::ENCODER_DECAYS),
        },
        feature_dropout: one(space::DROPOUTS),
        hidden_dropout: one(space::DROPOUTS),
        propagation_dropout: one(space::PROPAGATION_DROPOUTS),
        ..current.clone()
    };
    for group in [&mut drawn.coefficients, &mut drawn.mixing, &mut drawn.basis] {
        group.learning_rate = one(space::FILTER_RATES);
        group.weight_decay = one(space::FILTER_DECAYS);
    }
    // Every model draws the same number of values, so that all are given the same trials.
    let teleport = one(space::TELEPORTS);
    let degree = *space::CHEBNET_DEGREES.choose(rng).expect("the space has no empty list");
    match model {
        Architecture::Appnp | Architecture::GprGnn => drawn.alpha = teleport,
        Architecture::ChebNet => {
            (drawn.degree, drawn.hidden) = (degree, space::CHEBNET_HIDDEN);
        }
        _ => {}
    }
    drawn
}

/// Mean validation of each candidate over the first seeds, in percent.
fn validation_means(
    problem: &Problem,
    model: Architecture,
    candidates: &[&Settings],
    seeds: u64,
    protocol: &Protocol,
    observer: &mut (impl Observer + Send),
) -> Result<Vec<f64>> {
    let mut jobs = Vec::new();
    for candidate in candidates {
        jobs.extend(Job::seeds(problem, candidate, protocol, 0..seeds)?);
    }
    let mut validations = Vec::with_capacity(jobs.len());
    while !jobs.is_empty() {
        let part = jobs.drain(..jobs.len().min(RUNS_SIDE_BY_SIDE)).collect();
        let outcomes = train(problem, model, part, protocol, None, observer)?;
        validations.extend(outcomes.iter().map(|outcome| 100.0 * outcome.validation));
    }
    let mean = |validations: &[f64]| validations.iter().sum::<f64>() / seeds as f64;
    Ok(validations.chunks_exact(seeds as usize).map(mean).collect())
}

/// The trials that are trained in full: the current settings first, then the best quarter.
fn finalists(validations: &[f64]) -> Vec<usize> {
    let n_best = validations.len().div_ceil(KEPT_OF);
    let best = best_first(validations).into_iter().take(n_best).filter(|&trial| trial != 0);
    [0].into_iter().chain(best).collect()
}

/// Places by value, the best first, the earlier of equals before the later.
fn best_first(validations: &[f64]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..validations.len()).collect();
    places.sort_by(|&left, &right| validations[right].total_cmp(&validations[left]));
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::csbm::Csbm;
    use crate::train::Silent;
    use proptest::prelude::*;

    const PLAN: Plan = Plan { trials: 12, seeds: 2, draws: 0 };

    #[test]
    fn trials_are_distinct_sound_and_the_same_for_every_model() {
        let current = Settings { alpha: 1.75, degree: 10, ..Settings::default() };
        let of = |model| candidates(model, &current, PLAN);
        for model in Architecture::ALL {
            let trials = of(model);
            assert_eq!((trials.len(), &trials[0]), (12, &current), "{model}");
            assert!(trials.iter().all(|settings| settings.check().is_ok()), "{model}");
            let encoders = trials.iter().zip(of(Architecture::Gcn));
            assert!(encoders.clone().all(|(left, right)| left.encoder == right.encoder), "{model}");
        }
        assert!(of(Architecture::BernNet)[1..].iter().all(|settings| settings.alpha == 1.75));
        assert!(of(Architecture::Appnp)[1..].iter().all(|settings| settings.alpha < 1.0));
        let chebnet = of(Architecture::ChebNet);
        assert!(chebnet[1..].iter().all(|settings| settings.hidden == 32 && settings.degree < 3));
        let one = candidates(Architecture::Gcn, &current, Plan { trials: 1, ..PLAN });
        assert_eq!(one, std::slice::from_ref(&current));
    }

    proptest! {
        #[test]
        fn the_current_settings_and_the_best_are_always_finalists(
            validations in prop::collection::vec(0.0..100.0f64, 1..40),
        ) {
            let finalists = finalists(&validations);
            let best = best_first(&validations)[0];
            prop_assert!(finalists[0] == 0 && finalists.contains(&best));
            let least = validations.len().div_ceil(KEPT_OF);
            prop_assert!((least..=least + 1).contains(&finalists.len()));
        }
    }

    #[test]
    fn a_search_ends_with_what_is_at_least_as_good_on_validation() {
        let csbm = Csbm { n_nodes: 60, n_features: 8, ..Csbm::default() };
        let problem = Problem::new(csbm.generate().unwrap()).unwrap();
        // Too slow to learn anything, so that any other trial is better.
        let still = GroupSettings { learning_rate: 0.0, weight_decay: 0.0 };
        let current = Settings { encoder: still, ..Settings::default() };
        let protocol = Protocol { max_epochs: 20, ..Protocol::default() };
        let search =
            || search(&problem, Architecture::Mlp, &current, PLAN, &protocol, &mut Silent).unwrap();
        let found = search();
        assert_eq!((found.trials, found.final_seeds), (12, 5));
        assert!((3..=4).contains(&found.finalists));
        assert!(found.validation > found.current_validation && found.trial > 0, "{found:?}");
        assert_eq!(search(), found, "a search can be repeated");
    }
}
