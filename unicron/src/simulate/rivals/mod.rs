//! The rivals, each by its own published cost model.
//!
//! | rival | what it does about a lost node | file |
//! |---|---|---|
//! | Megatron-LM under torchrun | waits for a spare or the repair, restarts from a checkpoint | [`Megatron`] |
//! | Oobleck | pipelines of other lengths, layers from replicas | [`Oobleck`] |
//! | Varuna | the whole job restarts in another shape | [`Varuna`] |
//! | Bamboo | the neighbour stands in with redundant layers | [`Bamboo`] |
//! | ReCycle | peers take its work into their bubbles | [`ReCycle`] |
//! | torchft | its replica drops out, the batch shrinks | [`TorchFt`] |
//! | NVRx | a spare takes over in process, or fewer equal replicas | [`Nvrx`] |
//! | DLRover | a pod replaces it, or fewer equal replicas | [`DlRover`] |
//!
//! All share one model of throughput (`T` of the job), one way to notice what they leave to PyTorch, one
//! cost of starting and loading, and checkpoints at the interval that suits their cost: what differs is
//! what they publish. Where nothing is published, the choice is in the rival's favour, or the middle of a
//! range; its [`assumptions`](crate::simulate::rival::Rival::assumptions) say which.
//!
//! **Invariant:** no constant comes from the Unicron paper's comparison with them (see [`circular`]).

mod artifact;
mod bamboo;
mod checkpoints;
mod costs;
mod dlrover;
mod megatron;
mod nvrx;
mod oobleck;
mod options;
mod recycle;
mod replicas;
mod steady;
#[cfg(test)]
mod testing;
mod torchft;
mod varuna;

pub use bamboo::Bamboo;
pub use dlrover::DlRover;
pub use megatron::Megatron;
pub use nvrx::Nvrx;
pub use oobleck::Oobleck;
pub use options::{Detection, Options, Steady};
pub use recycle::ReCycle;
pub use steady::{Range, circular};
pub use torchft::TorchFt;
pub use varuna::Varuna;

use crate::simulate::rival::{Assumption, Rival};
use crate::{Error, Result};

/// All rivals with the same choices, the baseline first.
///
/// The numbers of the choices must pass [`Options::check`].
#[must_use]
pub fn all(options: &Options) -> Vec<Box<dyn Rival + Send>> {
    vec![
        Box::new(Megatron::new(*options)),
        Box::new(Oobleck::new(*options)),
        Box::new(Varuna::new(*options)),
        Box::new(Bamboo::new(*options)),
        Box::new(ReCycle::new(*options)),
        Box::new(TorchFt::new(*options)),
        Box::new(Nvrx::new(*options)),
        Box::new(DlRover::new(*options)),
    ]
}

/// The rival of a name, such as `oobleck`.
///
/// # Errors
/// If there is none of this name, the message lists the names; or a choice fails [`Options::check`].
pub fn find(name: &str, options: &Options) -> Result<Box<dyn Rival + Send>> {
    options.check()?;
    let rivals = all(options);
    let names: Vec<&str> = rivals.iter().map(|rival| rival.name()).collect();
    let problem = format!("`{name}` is no rival; there are {}", names.join(", "));
    let found = rivals.into_iter().find(|rival| rival.name() == name);
    found.ok_or_else(|| Error::Setting { setting: "rival".into(), problem })
}

/// What the rivals rest on, as tables in Markdown: the factors of [`Range`], then the assumptions of each.
#[must_use]
pub fn assumptions_markdown() -> String {
    let mut text = String::from("## Throughput beside Megatron-LM's\n\n");
    text += "| rival | low | as published | high | implied by the Unicron paper (unused) |\n";
    text += "|---|---|---|---|---|\n";
    let ranges =
        [("oobleck", Range::oobleck()), ("varuna", Range::varuna()), ("bamboo", Range::bamboo())];
    for (name, Range { low, central, high }) in ranges {
        let implied = circular(name).map_or("-".to_owned(), |(a, b)| format!("{a:.2} to {b:.2}"));
        text += &format!("| {name} | {low:.2} | {central:.2} | {high:.2} | {implied} |\n");
    }
    for rival in all(&Options::default()) {
        text += &format!("\n## {}\n\n| what | value | source |\n|---|---|---|\n", rival.name());
        for Assumption { what, value, source } in rival.assumptions() {
            text += &format!("| {what} | {value} | {source} |\n");
        }
    }
    text
}

#[cfg(test)]
mod tests;
