//! Adam with a learning rate and a decay for each group of parameters.

use super::adam::Adam;
use crate::model::{GroupSettings, Settings};
use burn::lr_scheduler::module_lr_scheduler::{ModuleLrScheduler, ModuleLrSchedulerConfig};
use burn::module::ParamGroup;
use burn::optim::ModuleOptimizer;

/// Adam over all groups; what has no group of its own is the encoder's.
pub(super) fn optimizer(settings: &Settings) -> ModuleOptimizer {
    let adam = |group: &GroupSettings| Adam { weight_decay: group.weight_decay as f32 };
    let all = ModuleOptimizer::from(adam(&settings.encoder));
    groups(settings).into_iter().fold(all, |optimizer, (name, group)| {
        optimizer.with_group(ParamGroup::from_predicate(name), adam(group), None)
    })
}

/// The learning rates of all groups, which stay as they are.
pub(super) fn learning_rates(settings: &Settings) -> ModuleLrScheduler {
    let all = ModuleLrSchedulerConfig::new(settings.encoder.learning_rate.into());
    groups(settings)
        .into_iter()
        .fold(all, |rates, (name, group)| {
            rates.with_group(ParamGroup::from_predicate(name), group.learning_rate)
        })
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
