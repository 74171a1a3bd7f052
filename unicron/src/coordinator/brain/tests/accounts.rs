//! Where the time of slots goes in a cluster whose workers commit an iteration a second.

use super::*;
use crate::bins::Bins;
use crate::detect::{Method, Severity};

impl World {
    /// The group commits iterations, one a second.
    fn train(&mut self, iterations: std::ops::RangeInclusive<u64>) {
        for iteration in iterations {
            self.pass(1.0, &[0, 1]);
            self.commit(0, iteration);
        }
    }

    /// What all slots were used for, with what is uncommitted; it is the time of all slots.
    #[track_caller]
    fn bins(&self, slots: f64) -> (Bins, f64) {
        let (bins, uncommitted_s) = self.brain.bins(now(self.s));
        let sum = bins.total() + uncommitted_s;
        assert!((sum - slots * self.s).abs() < 1e-6, "{sum} of {}: {bins:?}", slots * self.s);
        (bins, uncommitted_s)
    }
}

#[track_caller]
fn close(is: f64, expected: f64) {
    assert!((is - expected).abs() < 1e-9 * expected.abs().max(1e3), "{is} is not {expected}");
}

#[test]
fn slots_train_or_idle_and_what_is_trained_is_worth_what_the_plan_says() {
    let mut world = at_work(&[("a", 2), ("b", 2)], 3, 1);
    world.train(2..=11);
    world.pass(0.5, &[0, 1]);
    let (bins, uncommitted_s) = world.bins(4.0);
    close(bins.useful, 30.0);
    close(bins.idle, 10.5);
    close(uncommitted_s, 1.5);
    let task = &world.brain.tasks()[0];
    close(task.account.flops, 30.0 * task.file.flops_per_worker);
    close(world.brain.account(now(world.s), task).effective_time_ratio(world.s), 10.0 / 10.5);
}

#[test]
fn a_lost_node_is_detecting_for_its_lease_then_away() {
    let mut world = at_work(&[("a", 2), ("b", 2)], 2, 1);
    world.train(2..=6);
    let (_, node) = world.workers(0)[0];
    world.pass(LEASE_S + 0.1, &[1 - node]);
    assert!(world.has("node-lost"));
    let (bins, _) = world.bins(4.0);
    close(bins.detecting, 2.0 * LEASE_S);
    let sorts = world.brain.tasks()[0].account.failures.sorts();
    assert_eq!((sorts[0].method, sorts[0].severity), (Method::NodeHealth, Some(Severity::Sev1)));
    world.pass(2.0, &[1 - node]);
    let (bins, _) = world.bins(4.0);
    // One or two new processes start.
    assert!(bins.in_transition >= 2.0 - 1e-6, "{bins:?}");
    world.ready_all(0);
    world.commit(0, 7);
    assert_eq!(world.brain.tasks()[0].account.recovery.count(), 1);
}

#[test]
fn a_process_that_is_started_again_is_in_transition() {
    let mut world = at_work(&[("a", 2), ("b", 2)], 2, 1);
    world.train(2..=6);
    let (victim, node) = world.workers(0)[0];
    world.kill(victim, node);
    world.pass(2.0, &[0, 1]);
    let (bins, uncommitted_s) = world.bins(4.0);
    close(bins.in_transition, 2.0);
    close(uncommitted_s, 2.0);
    world.ready_all(0);
    world.train(7..=7);
    let (bins, _) = world.bins(4.0);
    // An iteration of two takes a second; another and a half of one were connections and waiting.
    close(bins.useful, 12.0);
    close(bins.in_transition, 4.0);
}

#[test]
fn an_iteration_that_hangs_is_detecting_once_it_should_have_been_over() {
    let mut world = at_work(&[("a", 2), ("b", 2)], 2, 1);
    world.train(2..=6);
    world.pass(3.0, &[0, 1]);
    let epoch = world.brain.tasks()[0].epoch();
    for (worker, node) in world.workers(0) {
        let hung = v1::Hung {
            worker,
            epoch,
            iteration: 7,
            since_s: 3.0,
            usual_s: 1.0,
            process_state: "S".to_owned(),
        };
        world.say(node, Said::Hung(hung));
    }
    world.pass(0.5, &[0, 1]);
    let (bins, _) = world.bins(4.0);
    assert!((4.0..=5.0).contains(&bins.detecting), "{bins:?}");
}

#[test]
fn accounts_outlive_the_coordinator() {
    let mut world = at_work(&[("a", 2), ("b", 2)], 3, 1);
    world.train(2..=11);
    let nodes = vec![world.brain.node_record(0), world.brain.node_record(1)];
    let tasks = vec![world.brain.task_record(0)];
    let (before, _) = world.bins(4.0);
    // Nobody leads for five seconds, in which the workers go on.
    let later = Now { s: 0.0, wall_ms: ((world.s + 5.0) * 1e3).round() as i64 };
    let mut brain = Brain::resume(Settings::default(), 2, later, &nodes, &tasks).unwrap();
    let (bins, uncommitted_s) = brain.bins(later);
    close(bins.useful, before.useful);
    close(uncommitted_s, 15.0);
    let (worker, node) = world.workers(0)[0];
    let epoch = brain.tasks()[0].epoch();
    let committed = v1::Committed { worker, epoch, iteration: 16, ..v1::Committed::default() };
    brain.said(later, node, Said::Committed(committed));
    let (bins, _) = brain.bins(later);
    close(bins.useful, before.useful + 15.0);
    close(bins.total(), 4.0 * (world.s + 5.0));
}
