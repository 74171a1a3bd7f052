//! What failures cost whoever restarts processes, the same for all rivals: noticing, starting, loading.

use super::{Detection, Options};
use crate::simulate::rival::{Blow, Job, Symptom};

/// torchrun's agent polls its processes: a dead one is noticed in about a second (field notes 1.1).
pub(super) const EXIT_S: f64 = 1.0;

/// torchrun's rendezvous misses three keep-alives of 5 s (field notes 1.1).
pub(super) const KEEP_ALIVE_S: f64 = 15.0;

/// NCCL's default time-out of a collective (field notes 0, fact 1).
pub(super) const COLLECTIVE_S: f64 = 600.0;

/// What the watchdog may wait more before it ends the process: one heartbeat (field notes 0, fact 1).
const WATCHDOG_S: f64 = 480.0;

/// The Unicron paper's time-out, as remembered (its notes, 1.4).
const PAPER_TIMEOUT_S: f64 = 1800.0;

/// A lost node without Unicron, as remembered (its notes, 1.4).
const PAPER_NODE_S: f64 = 5.7;

/// From the failure to training again where people run today's tools: the median of OLMo Hybrid, 3 min
/// 42 s (field notes 5.4). Loading is added by the model's size, in which the 7B of OLMo hardly counts.
pub(super) const SET_UP_S: f64 = 222.0;

/// Containers and images of a job that is submitted anew: 5 minutes at Ant (field notes 1.6).
pub(super) const PODS_S: f64 = 300.0;

/// Loading a checkpoint of unknown size: 4 minutes at Ant (field notes 1.6).
pub(super) const LOAD_S: f64 = 240.0;

/// All communicators are built anew: 5 to 15 s at Lazarus (the paper's notes, 7).
pub(super) const REBUILD_S: f64 = 10.0;

/// Weights in 2 bytes, and the optimiser's master weights and two moments in 4 bytes each.
const STATE_BYTES_OF_A_PARAMETER: f64 = 14.0;

/// Seconds until PyTorch and torchrun notice.
pub(super) fn torchrun_s(options: &Options, blow: &Blow) -> f64 {
    match (blow.symptom, options.detection) {
        (Symptom::Hang, _) => hang_s(options, blow),
        (Symptom::Exit, Detection::Torchrun) => EXIT_S,
        (Symptom::Exit, Detection::Paper) => PAPER_TIMEOUT_S,
        (Symptom::NodeGone, Detection::Torchrun) if options.keep_alive => KEEP_ALIVE_S,
        (Symptom::NodeGone, Detection::Torchrun) => COLLECTIVE_S,
        (Symptom::NodeGone, Detection::Paper) => PAPER_NODE_S,
    }
}

/// Seconds until somebody notices who hears at once of a broken connection or a dead process, and of a
/// hang only by PyTorch.
pub(super) fn connection_s(options: &Options, blow: &Blow) -> f64 {
    match blow.symptom {
        Symptom::Hang => hang_s(options, blow),
        Symptom::Exit | Symptom::NodeGone => EXIT_S,
    }
}

/// Seconds until PyTorch ends a job that hangs: 10 to 18 minutes.
fn hang_s(options: &Options, blow: &Blow) -> f64 {
    options.hang_s.unwrap_or(match options.detection {
        Detection::Torchrun => COLLECTIVE_S + WATCHDOG_S * other_draw(blow),
        Detection::Paper => PAPER_TIMEOUT_S,
    })
}

/// A second number from 0 to 1 of the one that is drawn for a failure, as good as independent of it.
pub(super) fn other_draw(blow: &Blow) -> f64 {
    (blow.draw * 1009.0).fract()
}

/// Bytes of weights and optimiser state, each once; `None` of an unknown model.
pub(super) fn state_bytes(job: &Job) -> Option<f64> {
    job.model.as_ref().map(|model| STATE_BYTES_OF_A_PARAMETER * model.parameters())
}

/// Seconds to load all state from the store that the nodes share.
pub(super) fn load_s(job: &Job) -> f64 {
    state_bytes(job).map_or(LOAD_S, |bytes| bytes / job.hardware.storage_bandwidth)
}

/// Seconds until newcomers have their part of the state from peers, each over its own link.
pub(super) fn copy_s(job: &Job, bytes_of_each: f64) -> f64 {
    bytes_of_each / job.hardware.inter_node_bandwidth
}

/// Seconds to start all processes where they were, and to load.
pub(super) fn restart_s(job: &Job) -> f64 {
    SET_UP_S + load_s(job)
}

/// Workers that a job had before it lost a node for which no spare took over.
pub(super) fn workers_before(job: &Job, blow: &Blow) -> usize {
    (blow.healthy + job.gpus_per_node).min(job.workers)
}

/// Whether a spare took over for a lost node. A job that lacks a node has used up its spares.
pub(super) fn is_replaced(job: &Job, blow: &Blow) -> bool {
    blow.healthy >= job.workers
}

/// Nodes that a job was given at the start.
pub(super) fn nodes(job: &Job) -> f64 {
    job.workers.div_ceil(job.gpus_per_node.max(1)).max(1) as f64
}

/// Seconds of an iteration at so many FLOP/s; 0 where that is unknown.
pub(super) fn iteration_s(job: &Job, flops: f64) -> f64 {
    match &job.model {
        Some(model) if flops > 0.0 => model.iteration_flops() / flops,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blow(symptom: Symptom, draw: f64) -> Blow {
        Blow { symptom, healthy: 120, trained_s: 1e6, draw }
    }

    #[test]
    fn torchrun_notices_as_the_notes_say() {
        let options = Options::default();
        assert_eq!(torchrun_s(&options, &blow(Symptom::Exit, 0.5)), 1.0);
        assert_eq!(torchrun_s(&options, &blow(Symptom::NodeGone, 0.5)), 15.0);
        let deaf = Options { keep_alive: false, ..options };
        assert_eq!(torchrun_s(&deaf, &blow(Symptom::NodeGone, 0.5)), 600.0);
        assert_eq!(torchrun_s(&options, &blow(Symptom::Hang, 0.0)), 600.0);
        for draw in 0..100 {
            let hang = torchrun_s(&options, &blow(Symptom::Hang, f64::from(draw) / 100.0));
            assert!((600.0..1080.0).contains(&hang), "{hang}");
        }
    }

    #[test]
    fn the_paper_waits_half_an_hour_for_all_but_a_lost_node() {
        let options = Options::paper();
        let all = [Symptom::Exit, Symptom::Hang, Symptom::NodeGone];
        let noticed = all.map(|symptom| torchrun_s(&options, &blow(symptom, 0.9)));
        assert_eq!(noticed, [1800.0, 1800.0, 5.7]);
    }

    #[test]
    fn a_chosen_time_out_holds_for_hangs() {
        let options = Options { hang_s: Some(60.0), ..Options::paper() };
        assert_eq!(torchrun_s(&options, &blow(Symptom::Hang, 0.9)), 60.0);
        assert_eq!(connection_s(&options, &blow(Symptom::Hang, 0.9)), 60.0);
        assert_eq!(connection_s(&options, &blow(Symptom::Exit, 0.9)), 1.0);
    }

    #[test]
    fn the_second_draw_is_spread_evenly() {
        let draws = (0..10_000).map(|i| other_draw(&blow(Symptom::Exit, f64::from(i) / 10_007.0)));
        let mean = draws.sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }
}
