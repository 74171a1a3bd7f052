//! Tasks that start again as a whole.

use super::*;

/// A script on nodes of two workers each.
fn script(fewest: usize, more: &str) -> String {
    format!(
        "name = \"ddp\"\nworkers = 4\nmin_workers = {fewest}\nnproc_per_node = 2\nrestart_s = 1.0\n\
         command = [\"train\"]\n{more}\n"
    )
}

fn at_work(fewest: usize, more: &str) -> World {
    let mut world = World::new(&[("a", 2), ("b", 2)]);
    world.submit(&script(fewest, more));
    world.ready_all(0);
    assert_eq!(world.members(0).len(), 4);
    world
}

fn ended(world: &mut World, (worker, node): (u64, usize), code: i32) {
    let (problem, last_lines, at_ms) = (String::new(), Vec::new(), now(world.s).wall_ms);
    world.say(
        node,
        Said::Ended(v1::WorkerEnded { worker, code: Some(code), problem, at_ms, last_lines }),
    );
}

fn texts<'w>(world: &'w World, kind: &str) -> Vec<&'w str> {
    world.events.iter().filter(|event| event.0 == kind).map(|event| event.1.as_str()).collect()
}

#[test]
fn exits_of_one_moment_are_judged_together() {
    let mut world = at_work(2, "");
    let before = world.workers(0);
    // The second falls with the third, and is heard of first.
    let seen = v1::Observation {
        worker: before[1].0,
        at_ms: 0,
        status: "connection-reset".to_owned(),
        role: "cascade".to_owned(),
        text: "Connection closed by peer".to_owned(),
        last_lines: Vec::new(),
    };
    world.say(before[1].1, Said::Observation(seen));
    ended(&mut world, before[1], 1);
    ended(&mut world, before[2], 137);
    assert!(!world.has("failure"));
    world.pass(0.3, &[0, 1]);
    let failures = texts(&world, "failure");
    assert!(failures.len() == 1 && failures[0].contains("SIGKILL"), "{failures:?}");
    let after = world.workers(0);
    assert_eq!(after.len(), 4);
    assert!(after.iter().all(|worker| !before.contains(worker)), "all are new");
    assert!(world.members(0).is_empty(), "they start when all can");
    world.ready_all(0);
    let group = world.brain.tasks()[0].group.as_ref().unwrap();
    assert_eq!((group.members.len(), group.attempt), (4, 2));
}

#[test]
fn those_that_fall_with_another_are_told_to_end_soon() {
    let mut world = at_work(2, "grace_s = 60.0");
    let before = world.workers(0);
    ended(&mut world, before[0], 1);
    world.pass(0.3, &[0, 1]);
    let told = world.brain.tell(&[0, 1].into())[&1].to_wire();
    let ending = told.endings.iter().find(|ending| ending.worker == before[3].0).unwrap();
    assert!(ending.grace_s < 10.0, "{ending:?}");
}

#[test]
fn a_planned_change_is_no_failure_and_says_what_becomes_of_the_batch() {
    let mut world = at_work(2, "batch_per_worker = 8\nmax_restarts = 0");
    world.brain.drain(now(world.s), "b").unwrap();
    world.settle();
    world.ready_all(0);
    assert_eq!(world.members(0).len(), 2);
    assert_eq!(world.brain.tasks()[0].progress.failures, 0);
    let [text] = texts(&world, "world-size")[..] else { panic!("{:?}", world.events) };
    assert!(
        text.contains("from 4 to 2 workers") && text.contains("from 32 to 16 samples"),
        "{text}"
    );
    let told = world.brain.tell(&[1].into())[&1].to_wire();
    assert!(told.workers.is_empty() && told.endings.is_empty(), "each has its own grace: {told:?}");
}

#[test]
fn a_fixed_number_of_nodes_is_never_resized() {
    let mut world = at_work(4, "");
    world.pass(LEASE_S + 1.0, &[0]);
    assert!(world.workers(0).is_empty(), "it waits for the second node");
    world.attend("b", 2, &[]).unwrap();
    world.ready_all(0);
    assert_eq!(world.members(0).len(), 4);
    assert!(texts(&world, "world-size").is_empty());
}

#[test]
fn more_nodes_are_waited_for_before_the_first_start() {
    let mut world = World::new(&[("a", 2)]);
    world.submit(&script(2, "last_call_s = 3.0"));
    world.ready_all(0);
    world.pass(2.0, &[0]);
    assert!(world.members(0).is_empty(), "the last call");
    world.attend("b", 2, &[]).unwrap();
    world.ready_all(0);
    assert_eq!((world.members(0).len(), world.brain.tasks()[0].progress.groups), (4, 1));
    let mut alone = World::new(&[("a", 2)]);
    alone.submit(&script(2, "last_call_s = 3.0"));
    alone.ready_all(0);
    alone.pass(3.2, &[0]);
    assert_eq!(alone.members(0).len(), 2);
}

#[test]
fn running_for_a_while_is_progress_and_failing_too_often_the_end() {
    let fail = |world: &mut World| {
        let first = world.workers(0)[0];
        ended(world, first, 7);
        world.pass(0.3, &[0, 1]);
        world.ready_all(0);
    };
    let mut world = at_work(2, "");
    for _ in 0..8 {
        world.pass(61.0, &[0, 1]);
        fail(&mut world);
    }
    assert_eq!(world.brain.tasks()[0].state(), "running", "each time it had made progress");
    let mut world = at_work(2, "max_restarts = 1");
    fail(&mut world);
    assert_eq!(world.brain.tasks()[0].state(), "running");
    fail(&mut world);
    let task = &world.brain.tasks()[0];
    assert_eq!((task.state(), task.progress.exit_code), ("failed", Some(7)));
    assert!(task.reason.contains("max_restarts is 1"), "{}", task.reason);
}

#[test]
fn a_script_that_fails_on_its_only_node_is_stopped_and_the_node_stays() {
    let mut world = World::new(&[("a", 2)]);
    world.submit(&script(2, "last_call_s = 0.0"));
    world.pass(0.1, &[0]);
    for _ in 0..8 {
        world.ready_all(0);
        world.pass(0.2, &[0]);
        let Some(&first) = world.workers(0).first() else { break };
        ended(&mut world, first, 1);
        world.pass(0.3, &[0]);
    }
    let task = &world.brain.tasks()[0];
    assert_eq!(task.state(), "failed", "{:?}", world.events);
    assert!(task.reason.contains("exited-abnormally"), "{}", task.reason);
    assert!(!world.has("node-isolated"));
}

#[test]
fn who_has_done_its_part_is_started_again_with_the_others() {
    let mut world = at_work(2, "");
    let before = world.workers(0);
    ended(&mut world, before[0], 0);
    assert_eq!(world.brain.tasks()[0].state(), "running");
    ended(&mut world, before[1], 9);
    world.pass(0.3, &[0, 1]);
    assert_eq!(world.workers(0).len(), 4);
    world.ready_all(0);
    for worker in world.workers(0) {
        ended(&mut world, worker, 0);
    }
    assert_eq!(world.brain.tasks()[0].state(), "done");
}
