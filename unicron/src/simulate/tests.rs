//! Policies on scenarios: by hand where that can be done, and what holds for all.

use super::allocation;
use super::cases::Case;
use super::managed::Setup;
use super::policy::{self, Policy};
use super::rival::{Blow, Disruption, Job, Rival, Symptom};
use super::*;
use crate::cluster::Cluster;
use crate::detect::{Severity, Status};
use crate::plan::{Present, Rule, Task, Unit};
use crate::throughput::Throughput;
use crate::trace::{Extent, Failure, Preset, PresetKind, Trace};
use proptest::prelude::*;
use std::sync::Arc;

const NODES: usize = 4;
const DURATION_S: f64 = 10_000.0;

/// Restarts in 100 s after 10 s of not noticing (1,000 s of a hang), up to 500 s of work lost; elastic
/// or not.
struct Simple {
    is_elastic: bool,
}

impl Rival for Simple {
    fn name(&self) -> &'static str {
        "simple"
    }

    fn flops(&self, job: &Job, healthy: usize) -> f64 {
        let runs = self.is_elastic || healthy >= job.workers;
        if runs { job.throughput.at(healthy.min(job.workers)) } else { 0.0 }
    }

    fn node_lost(&self, job: &Job, blow: &Blow) -> Disruption {
        self.process_failed(job, blow)
    }

    fn process_failed(&self, _job: &Job, blow: &Blow) -> Disruption {
        let detection_s = if blow.symptom == Symptom::Hang { 1000.0 } else { 10.0 };
        Disruption { detection_s, stopped_s: 100.0, lost_s: blow.trained_s.min(500.0) }
    }

    fn node_joined(&self, _job: &Job, _healthy: usize, was_running: bool) -> Disruption {
        let stopped_s = if was_running { 50.0 } else { 100.0 };
        Disruption { stopped_s, ..Disruption::default() }
    }
}

const RIGID: Simple = Simple { is_elastic: false };
const ELASTIC: Simple = Simple { is_elastic: true };

fn cluster() -> Cluster {
    Cluster::new(NODES, 8, *Cluster::paper().hardware()).unwrap()
}

/// Of a throughput that is linear by nodes, or whatever the points say.
fn task(points: &[(usize, f64)], weight: f64) -> SimulatedTask {
    let task = Task {
        name: "task".to_owned(),
        throughput: Arc::new(Throughput::measured(points).unwrap()),
        weight,
        min_workers: 0,
        guaranteed_workers: None,
        unit: Unit::Node,
        restart: None,
        model: None,
        present: Present::default(),
    };
    SimulatedTask { task, work_flops: None }
}

fn linear(weight: f64) -> SimulatedTask {
    task(&[(8, 1.0), (16, 2.0), (24, 3.0), (32, 4.0)], weight)
}

fn trace(failures: Vec<Failure>) -> Trace {
    let extent = Extent { nodes: NODES, gpus_per_node: 8, duration_s: DURATION_S };
    Trace::new("by hand", extent, failures).unwrap()
}

fn exits(at_s: f64, node: usize) -> Failure {
    Failure::new(at_s, node, Status::ExitedAbnormally, Severity::Sev2)
}

fn goes(at_s: f64, node: usize, repair_s: f64) -> Failure {
    let lost = Failure::new(at_s, node, Status::LostConnection, Severity::Sev1);
    Failure { repair_s: Some(repair_s), ..lost }
}

fn rival(rival: &Simple, spares: usize) -> Policy<'_> {
    Policy::Rival { rival, spares, strategy: allocation::Strategy::Plan }
}

fn outcome(policy: Policy<'_>, tasks: &[SimulatedTask], failures: Vec<Failure>) -> Outcome {
    let (cluster, trace) = (cluster(), trace(failures));
    let scenario = Scenario::new(&cluster, tasks, &trace, 1).unwrap();
    policy.run(&scenario).unwrap()
}

fn bins(outcome: &Outcome) -> [f64; 5] {
    // To the microsecond of a GPU.
    outcome.bins.named().map(|(_, gpu_s)| (gpu_s * 1e6).round() / 1e6)
}

#[test]
fn a_rival_restarts_and_does_again_what_it_lost() {
    let exit = outcome(rival(&RIGID, 0), &[linear(1.0)], vec![exits(2000.0, 1)]);
    // 10 s unnoticed, 100 s restart, 500 s lost, on 32 GPUs that make 4 FLOP/s.
    assert_eq!(bins(&exit), [32.0 * 9390.0, 320.0, 3200.0, 16_000.0, 0.0]);
    assert!((exit.accumulated_waf - 4.0 * 9390.0).abs() < 1e-6);
    // Less than an interval was trained.
    let early = outcome(rival(&RIGID, 0), &[linear(1.0)], vec![exits(200.0, 1)]);
    assert_eq!(bins(&early)[3], 32.0 * 200.0);
}

#[test]
fn a_rigid_rival_waits_for_the_repair_and_an_elastic_one_goes_on() {
    let lost = vec![goes(2000.0, 1, 3000.0)];
    let waits = outcome(rival(&RIGID, 0), &[linear(1.0)], lost.clone());
    // 10 s on the 24 GPUs left, idle to 5,000 s, 100 s restart, 500 s lost.
    let idle = 8.0 * 3000.0 + 24.0 * 2990.0;
    assert_eq!(bins(&waits), [32.0 * 6400.0, 240.0, 3200.0, 16_000.0, idle]);
    assert!((waits.starved_mean - 0.299).abs() < 1e-9);
    let shrinks = outcome(rival(&ELASTIC, 0), &[linear(1.0)], lost);
    // 110 s; what 32 GPUs made in 500 s takes 24 of them 667 s; a restart of 50 s at 5,000 s.
    let redone = 500.0 * 4.0 / 3.0;
    let useful = 32.0 * 2000.0 + 24.0 * (3000.0 - 110.0 - redone) + 32.0 * 4950.0;
    let expected = [useful, 240.0, 2400.0 + 1600.0, 24.0 * redone, 8.0 * 3000.0];
    for (found, expected) in bins(&shrinks).into_iter().zip(expected) {
        assert!((found - expected).abs() < 1e-3, "{shrinks:?}");
    }
    assert_eq!(shrinks.starved_mean, 0.0);
}

#[test]
fn a_spare_takes_over_and_the_repaired_node_is_the_next_spare() {
    let lost = vec![goes(2000.0, 1, 3000.0), goes(6000.0, 2, 1e6)];
    let spared = outcome(rival(&RIGID, 1), &[linear(1.0)], lost);
    // Twice 10 s, 100 s and 500 s on 24 GPUs; a node is idle all the time, spare or away, but not both.
    let expected = [24.0 * 8780.0, 480.0, 4800.0, 24_000.0, 8.0 * DURATION_S];
    assert_eq!(bins(&spared), expected);
}

#[test]
fn a_failure_while_a_rival_restarts_starts_the_restart_again() {
    let during = vec![exits(2000.0, 0), exits(2050.0, 1)];
    let twice = outcome(rival(&RIGID, 0), &[linear(1.0)], during);
    // Noticed at 2,010; fails again at 2,050; noticed at 2,060; trains from 2,160 on.
    assert_eq!(bins(&twice), [32.0 * 9340.0, 640.0, 32.0 * 140.0, 16_000.0, 0.0]);
    // While a hang isn't noticed, a process that ends is.
    let hang = Failure::new(2000.0, 0, Status::TaskHang, Severity::Sev2);
    let cut = outcome(rival(&RIGID, 0), &[linear(1.0)], vec![hang, exits(2300.0, 1)]);
    assert_eq!(bins(&cut), [32.0 * 9090.0, 32.0 * 310.0, 3200.0, 16_000.0, 0.0]);
}

#[test]
fn work_ends_when_it_is_done_and_others_get_the_nodes() {
    let finite = |work: f64| SimulatedTask { work_flops: Some(work), ..linear(1.0) };
    // Two nodes each: the first has 2,000 FLOPs at 2 FLOP/s.
    let tasks = [finite(2000.0), linear(1.0)];
    let setup = Setup::default();
    let healed = outcome(Policy::Managed(&setup), &tasks, vec![]);
    let strategy = allocation::Strategy::Equal;
    let alone = outcome(Policy::Rival { rival: &RIGID, spares: 0, strategy }, &tasks, vec![]);
    assert_eq!(alone.tasks[0].finished_at_s, Some(1000.0));
    assert_eq!(alone.tasks[0].waf, 2000.0);
    assert_eq!(alone.bins.idle, 16.0 * 9000.0);
    assert!((healed.tasks[0].waf - 2000.0).abs() < 1e-9);
    assert!(healed.accumulated_waf > 1.5 * alone.accumulated_waf, "{healed:?}");
    assert_eq!(healed.makespan_s(), None, "the other is endless");
    // A restart of 10 and 100 s and 500 s of lost work puts it off.
    let hit = outcome(rival(&RIGID, 0), &[finite(20_000.0)], vec![exits(2000.0, 0)]);
    assert!((hit.makespan_s().unwrap() - 5610.0).abs() < 1e-6, "{hit:?}");
}

#[test]
fn a_process_that_exits_costs_unicron_a_restart_in_place() {
    let setup = Setup::default();
    let exit = outcome(Policy::Managed(&setup), &[linear(1.0)], vec![exits(2000.0, 1)]);
    // 1.8 s unnoticed, start and new groups 40 s; nothing is known of its state or its iterations.
    assert_eq!(bins(&exit), [32.0 * (DURATION_S - 41.8), 57.6, 1280.0, 0.0, 0.0]);
}

#[test]
fn a_link_that_flaps_is_reattempted_and_escalates_where_that_does_not_help() {
    let setup = Setup::default();
    let fails = |severity| vec![Failure::new(2000.0, 1, Status::OtherNetworkError, severity)];
    let mild = outcome(Policy::Managed(&setup), &[linear(1.0)], fails(Severity::Sev3));
    // 0.3 s, and a second for the operation.
    assert_eq!(bins(&mild)[1..3], [9.6, 32.0]);
    let worse = outcome(Policy::Managed(&setup), &[linear(1.0)], fails(Severity::Sev2));
    // The second that doesn't help, 0.3 s until that shows, a restart of 40 s.
    assert_eq!(bins(&worse)[1..3], [9.6, 32.0 * 41.3]);
    let worst = outcome(Policy::Managed(&setup), &[linear(1.0)], fails(Severity::Sev1));
    // Two restarts don't help, either. The node is isolated and joins again at once.
    assert!(bins(&worst)[2] > 32.0 * (1.3 + 2.0 * 40.3), "{worst:?}");
    assert!(worst.bins.useful > 31.0 * (DURATION_S - 250.0), "{worst:?}");
}

#[test]
fn a_lost_node_costs_unicron_its_lease_and_a_transition_and_the_repair_brings_it_back() {
    let setup = Setup::default();
    let lost = outcome(Policy::Managed(&setup), &[linear(1.0)], vec![goes(2000.0, 1, 3000.0)]);
    // 5.6 s of 24 GPUs, groups and warm-up of 15 s on them; then newcomers start for 30 s while the others
    // train, and 15 s on all.
    let in_transition = 24.0 * 15.0 + 8.0 * 30.0 + 32.0 * 15.0;
    let useful = 32.0 * 2000.0 + 24.0 * (3000.0 - 20.6 + 30.0) + 32.0 * (5000.0 - 45.0);
    assert_eq!(bins(&lost), [useful, 134.4, in_transition, 0.0, 8.0 * 3000.0]);
    let waf = 4.0 * 2000.0 + 3.0 * (3000.0 - 20.6 + 30.0) + 4.0 * (5000.0 - 45.0);
    assert!((lost.accumulated_waf - waf).abs() < 1e-6, "{lost:?}");
}

#[test]
fn a_node_that_is_back_before_it_was_missed_is_lost_all_the_same() {
    let setup = Setup::default();
    let brief = outcome(Policy::Managed(&setup), &[linear(1.0)], vec![goes(2000.0, 1, 1.0)]);
    assert_eq!(bins(&brief)[1], 134.4);
    assert!(brief.bins.useful > 32.0 * (DURATION_S - 120.0), "{brief:?}");
}

#[test]
fn a_failure_during_a_transition_is_handled() {
    let setup = Setup::default();
    // The second node goes while the first isn't missed, and the third while groups are built.
    let failures = vec![goes(2000.0, 1, 4000.0), goes(2003.0, 2, 4000.0), goes(2010.0, 3, 4000.0)];
    let hit = outcome(Policy::Managed(&setup), &[linear(1.0)], failures);
    assert!((hit.bins.total() - 32.0 * DURATION_S).abs() < 1e-6);
    // 24 GPUs wait for 3 s, 16 until 2,008.6 s, and the last 8 from 2,010 s to 2,015.6 s.
    assert_eq!(bins(&hit)[1], 206.4);
    // Groups and warm-up of 15 s, one node until 6,000 s; then the others come back one by one.
    let alone = 32.0 * 2000.0 + 8.0 * (6000.0 - 2030.6);
    let all = alone + 32.0 * 4000.0;
    assert!((all - 32.0 * 100.0..all).contains(&hit.bins.useful), "{hit:?} of {all}");
}

#[test]
fn nobody_loses_anything_without_failures() {
    let tasks = [linear(1.0), linear(2.0)];
    let setups = policy::MANAGED.map(|name| policy::managed(name, Rule::ours()).unwrap());
    let managed = setups.iter().map(Policy::Managed);
    let rest = [Policy::Clairvoyant, rival(&RIGID, 0), rival(&ELASTIC, 0)];
    for policy in managed.chain(rest) {
        let free = outcome(policy, &tasks, vec![]);
        assert!(free.bins.useful > 0.0);
        assert_eq!(free.bins.detecting + free.bins.in_transition + free.bins.redone, 0.0);
    }
    let one = [linear(3.0)];
    let setup = Setup::default();
    for policy in [Policy::Managed(&setup), Policy::Clairvoyant, rival(&RIGID, 0)] {
        assert_eq!(outcome(policy, &one, vec![]).accumulated_waf, 12.0 * DURATION_S);
    }
}

#[test]
fn what_does_not_fit_together_is_told() {
    let (cluster, trace) = (Cluster::paper(), trace(vec![]));
    let error = Scenario::new(&cluster, &[linear(1.0)], &trace, 0).unwrap_err().to_string();
    assert_eq!(
        error,
        "cluster: 16 nodes of 8 GPUs, but the trace by hand is of 4 nodes of 8; give both the same"
    );
    let small = self::cluster();
    assert!(Scenario::new(&small, &[], &trace, 0).is_err());
    let tasks = [linear(1.0)];
    let scenario = Scenario::new(&small, &tasks, &trace, 0).unwrap();
    let error = rival(&RIGID, 4).run(&scenario).unwrap_err().to_string();
    assert_eq!(error, "spares: 4 of 4 nodes leave none to train on");
}

/// All policies of this crate on one trace of the paper, for a few seeds.
#[test]
fn one_plan_for_all_is_worth_more_than_each_task_by_itself() {
    let cluster = Cluster::paper();
    let tasks = Case::Five.tasks(&cluster).unwrap();
    let setups = policy::MANAGED.map(|name| policy::managed(name, Rule::ours()).unwrap());
    let mut sums = [0.0; 5];
    for seed in 0..3 {
        let trace = Preset { kind: PresetKind::B, seed }.generate().unwrap();
        let scenario = Scenario::new(&cluster, &tasks, &trace, seed).unwrap();
        let policies = setups.iter().map(Policy::Managed);
        let policies = policies.chain([Policy::Clairvoyant, rival(&RIGID, 0)]);
        for (sum, policy) in sums.iter_mut().zip(policies) {
            let outcome = policy.run(&scenario).unwrap();
            assert_eq!((outcome.failures.sev1, outcome.failures.other), (26, 80));
            *sum += outcome.accumulated_waf;
        }
    }
    let [unicron, alone, greedy, bound, rigid] = sums;
    assert!(bound >= unicron && bound >= greedy, "{sums:?}");
    assert!(unicron >= alone && alone > rigid, "{sums:?}");
    assert!(unicron > 0.9 * bound, "{sums:?}");
}

fn failures() -> impl Strategy<Value = Vec<Failure>> {
    let failure = (
        0.0..DURATION_S,
        0..NODES,
        prop::option::of(0_usize..8),
        0..Status::ALL.len(),
        0_usize..3,
        prop::option::weighted(0.4, prop_oneof![0.0..20.0, 0.0..4000.0]),
    );
    let failure = failure.prop_map(|(at_s, node, gpu, status, severity, repair_s)| {
        let severity = [Severity::Sev1, Severity::Sev2, Severity::Sev3][severity];
        Failure { gpu, repair_s, ..Failure::new(at_s, node, Status::ALL[status], severity) }
    });
    prop::collection::vec(failure, 0..40)
}

fn tasks() -> impl Strategy<Value = Vec<SimulatedTask>> {
    let parts = (
        prop::collection::vec((1_usize..10, 0.1..3.0_f64), 1..6),
        0.5..2.0_f64,
        prop::option::weighted(0.3, 100.0..20_000.0),
        any::<bool>(),
    );
    let any_task = parts.prop_map(|(steps, weight, work_flops, whole_nodes)| {
        let (mut workers, mut flops) = (0, 0.0);
        let points = steps.into_iter().map(|(more, gain)| {
            workers += more;
            flops += gain;
            (workers, flops)
        });
        let SimulatedTask { task, .. } = task(&points.collect::<Vec<_>>(), weight);
        let unit = if whole_nodes { Unit::Node } else { Unit::Worker };
        SimulatedTask { task: Task { unit, ..task }, work_flops }
    });
    prop::collection::vec(any_task, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens to whom: every GPU-second is in one bin, nobody passes the bound, and once more is
    /// the same to the bit.
    #[test]
    fn gpu_time_is_kept_and_nobody_passes_the_bound(failures in failures(), tasks in tasks()) {
        let (cluster, trace) = (cluster(), trace(failures));
        let scenario = Scenario::new(&cluster, &tasks, &trace, 7).unwrap().with_series();
        let bound = Policy::Clairvoyant.run(&scenario).unwrap();
        let mut setups = policy::MANAGED.map(|name| policy::managed(name, Rule::ours()).unwrap()).to_vec();
        setups.push(Setup { rule: Rule::paper(), ..Setup::default() });
        let managed = setups.iter().map(Policy::Managed);
        let rivals = [rival(&RIGID, 0), rival(&RIGID, 1), rival(&ELASTIC, 0), rival(&ELASTIC, 2)];
        for policy in managed.chain(rivals).chain([Policy::Clairvoyant]) {
            let outcome = policy.run(&scenario).unwrap();
            let gpu_s = cluster.gpus() as f64 * DURATION_S;
            prop_assert!((outcome.bins.total() / gpu_s - 1.0).abs() < 1e-9, "{outcome:?}");
            prop_assert!(outcome.bins.named().iter().all(|(_, gpu_s)| *gpu_s >= 0.0));
            prop_assert!(
                outcome.accumulated_waf <= bound.accumulated_waf * (1.0 + 1e-9),
                "{} of {}", outcome.accumulated_waf, bound.accumulated_waf
            );
            let integral: f64 = outcome
                .series
                .iter()
                .zip(outcome.series.iter().skip(1).map(|next| next.0).chain([DURATION_S]))
                .map(|(&(from_s, waf), to_s)| waf * (to_s - from_s))
                .sum();
            let works = outcome.accumulated_waf.max(1.0);
            let is_capped = outcome.accumulated_waf < integral && outcome == bound;
            prop_assert!(is_capped || (integral - outcome.accumulated_waf).abs() < 1e-6 * works);
            for (task, outcome) in tasks.iter().zip(&outcome.tasks) {
                let work = task.work_flops.map(|work| work * task.task.weight);
                let done = work.unwrap_or(f64::INFINITY);
                if outcome.finished_at_s.is_some() {
                    prop_assert!((outcome.waf - done).abs() <= 1e-9 * done);
                }
            }
            prop_assert_eq!(policy.run(&scenario).unwrap(), outcome);
        }
    }
}
