//! Adam with a learning rate and a decay for each group of parameters.

use crate::model::{GroupSettings, Settings};
use burn::lr_scheduler::module_lr_scheduler::{ModuleLrScheduler, ModuleLrSchedulerConfig};
use burn::module::ParamGroup;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamConfig, ModuleOptimizer};

/// PyTorch's, which burn's default isn't.
const EPSILON: f32 = 1e-8;

/// Adam over all groups; what has no group of its own is the encoder's.
pub(super) fn optimizer(settings: &Settings) -> ModuleOptimizer {
    let adam = |group: &GroupSettings| {
        let decay =
            (group.weight_decay > 0.0).then(|| WeightDecayConfig::new(group.weight_decay as f32));
        AdamConfig::new().with_epsilon(EPSILON).with_weight_decay(decay)
    };
    groups(settings).into_iter().fold(adam(&settings.encoder).init(), |optimizer, (name, group)| {
        optimizer.with_group(ParamGroup::from_predicate(name), adam(group).build(), None)
    })
}

/// The learning rates of all groups, which stay as they are.
pub(super) fn learning_rates(settings: &Settings) -> ModuleLrScheduler {
    groups(settings)
        .into_iter()
        .fold(
            ModuleLrSchedulerConfig::new(settings.encoder.learning_rate.into()),
            |rates, (name, group)| {
                rates.with_group(ParamGroup::from_predicate(name), group.learning_rate)
            },
        )
        .init()
        .expect("settings are checked: rates are finite and not negative")
}

/// The groups beside the encoder, by the names of the parameters' fields.
fn groups(settings: &Settings) -> [(&'static str, &GroupSettings); 3] {
    [
        ("coefficients", &settings.coefficients),
        ("mixing", &settings.mixing),
        ("basis", &settings.basis),
    ]
}
