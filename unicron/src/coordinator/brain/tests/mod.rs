//! The brain as a whole: agents and people made up, no process anywhere.

mod accounts;
mod advice;
mod whole;

use super::*;
use crate::coordinator::TaskFile;
use crate::proto::v1::from_agent::Message as Said;
use crate::proto::v1::to_agent;
use crate::worker::protocol::PROTOCOL;
use std::path::Path;

const LEASE_S: f64 = 4.0;

/// A brain and the nodes that attend it.
struct World {
    brain: Brain,
    s: f64,
    /// Every event so far: kind and text.
    events: Vec<(String, String)>,
    answers: Vec<to_agent::Message>,
}

impl World {
    fn new(nodes: &[(&str, u32)]) -> Self {
        let settings = Settings { lease_s: LEASE_S, ..Settings::default() };
        let brain = Brain::new(settings, 1, now(0.0));
        let mut world = Self { brain, s: 0.0, events: Vec::new(), answers: Vec::new() };
        for (name, slots) in nodes {
            world.attend(name, *slots, &[]).unwrap();
        }
        world
    }

    fn attend(
        &mut self,
        name: &str,
        slots: u32,
        running: &[v1::RunningWorker],
    ) -> Result<usize, String> {
        let hello = v1::Hello {
            protocol: PROTOCOL,
            node: name.to_owned(),
            incarnation: format!("{name}-1"),
            slots,
            host: "127.0.0.1".to_owned(),
            workers: running.to_vec(),
            gpus: Vec::new(),
        };
        let attended = self.brain.attend(now(self.s), 1, &hello);
        self.settle();
        attended.map(|(node, _)| node)
    }

    fn submit(&mut self, text: &str) {
        let file = TaskFile::parse(text, Path::new("task.toml")).unwrap();
        self.brain.submit(now(self.s), file, text.to_owned()).unwrap();
        self.settle();
    }

    fn settle(&mut self) {
        let outbox = self.brain.take();
        self.events.extend(outbox.events.into_iter().map(|event| (event.kind, event.text)));
        self.answers.extend(outbox.sends.into_iter().map(|(_, message)| message));
    }

    fn say(&mut self, node: usize, message: Said) {
        self.brain.said(now(self.s), node, message);
        self.settle();
    }

    /// Time passes; only these nodes say that they live.
    fn pass(&mut self, seconds: f64, alive: &[usize]) {
        for _ in 0..(seconds / 0.1).round() as usize {
            self.s += 0.1;
            for &node in alive {
                self.brain.heartbeat(now(self.s), node, 1);
            }
            self.brain.tick(now(self.s));
            self.settle();
        }
    }

    /// All workers that are wanted are started and ready.
    fn ready_all(&mut self, task: usize) {
        let workers = self.workers(task);
        for (worker, node) in workers {
            self.say(node, Said::Started(v1::WorkerStarted { worker, pid: worker as u32 }));
            let address = format!("127.0.0.1:{}", worker & 0xffff);
            let fingerprint = "f".to_owned();
            self.say(node, Said::Ready(v1::WorkerReady { worker, address, fingerprint }));
        }
    }

    fn workers(&self, task: usize) -> Vec<(u64, usize)> {
        let workers = &self.brain.tasks()[task].workers;
        workers.iter().map(|(&number, worker)| (number, worker.node)).collect()
    }

    fn members(&self, task: usize) -> Vec<u64> {
        let group = self.brain.tasks()[task].group.as_ref();
        group.map_or(Vec::new(), |group| group.members.iter().map(|m| m.worker).collect())
    }

    fn commit(&mut self, task: usize, iteration: u64) {
        let epoch = self.brain.tasks()[task].epoch();
        for worker in self.members(task) {
            // Those who leave are dismissed by the first word of the others.
            let Some(known) = self.brain.tasks()[task].workers.get(&worker) else { continue };
            let node = known.node;
            let committed = v1::Committed {
                worker,
                epoch,
                iteration,
                loss: None,
                redone_micro_batches: 0,
                redone_stage_passes: 0,
            };
            self.say(node, Said::Committed(committed));
        }
    }

    /// The first member says that it has lost its connection to the second; the members.
    fn lose_a_connection(&mut self, task: usize) -> Vec<u64> {
        let (members, epoch) = (self.members(task), self.brain.tasks()[task].epoch());
        let (worker, peer) = (members[0], members[1]);
        let error = "reset".to_owned();
        self.say(0, Said::LostPeer(v1::LostPeer { worker, epoch, peer, error }));
        members
    }

    fn kill(&mut self, worker: u64, node: usize) {
        self.say(
            node,
            Said::Ended(v1::WorkerEnded {
                worker,
                code: Some(137),
                problem: String::new(),
                at_ms: 0,
                last_lines: Vec::new(),
            }),
        );
    }

    fn has(&self, kind: &str) -> bool {
        self.events.iter().any(|(other, _)| other == kind)
    }
}

fn now(s: f64) -> Now {
    Now { s, wall_ms: (s * 1e3) as i64 }
}

fn gpt(workers: usize, stages: usize) -> String {
    format!(
        "name = \"gpt\"\nworkers = {workers}\nmin_workers = {stages}\n[train]\npreset = \"nano\"\n\
         iterations = 9\nstages = {stages}\n"
    )
}

/// A task at work, which has committed an iteration.
fn at_work(nodes: &[(&str, u32)], workers: usize, stages: usize) -> World {
    let mut world = World::new(nodes);
    world.submit(&gpt(workers, stages));
    world.ready_all(0);
    world.commit(0, 1);
    world
}

#[test]
fn a_task_gets_workers_and_they_a_group() {
    let world = at_work(&[("a", 2), ("b", 2)], 4, 2);
    assert_eq!(world.members(0).len(), 4);
    let task = &world.brain.tasks()[0];
    let stages = |stage| task.staying(Some(stage)).count();
    assert_eq!((stages(0), stages(1), task.state()), (2, 2, "running"));
}

#[test]
fn survivors_go_on_at_once_and_a_new_process_joins_them() {
    let mut world = at_work(&[("a", 2), ("b", 2)], 4, 2);
    let (victim, node) = world.workers(0)[0];
    let epoch = world.brain.tasks()[0].epoch();
    world.kill(victim, node);
    assert_eq!(world.members(0).len(), 3);
    assert!(world.brain.tasks()[0].epoch() > epoch);
    assert_eq!(world.workers(0).len(), 4, "another is wanted");
    world.ready_all(0);
    assert_eq!(world.members(0).len(), 4);
    world.commit(0, 2);
    assert_eq!(world.brain.tasks()[0].progress.failures, 1);
    assert!(world.has("restart") && !world.has("node-isolated"));
}

#[test]
fn a_stage_without_anybody_is_waited_for() {
    let mut world = at_work(&[("a", 2)], 2, 2);
    let (victim, node) = world.workers(0)[0];
    world.kill(victim, node);
    assert_eq!((world.members(0).len(), world.brain.tasks()[0].state()), (0, "recovering"));
    world.ready_all(0);
    assert_eq!(world.members(0).len(), 2);
}

#[test]
fn a_program_that_fails_on_two_nodes_is_stopped() {
    let mut world = at_work(&[("a", 2), ("b", 2), ("c", 2)], 2, 1);
    for _ in 0..12 {
        let Some(&(worker, node)) = world.workers(0).first() else { break };
        world.kill(worker, node);
    }
    let isolated = world.events.iter().filter(|(kind, _)| kind == "node-isolated").count();
    assert_eq!(isolated, 1);
    assert_eq!(world.brain.tasks()[0].state(), "failed");
    assert!(world.brain.tasks()[0].reason.contains("exited-abnormally"));
}

#[test]
fn a_lease_that_ends_hands_the_work_on() {
    let mut world = at_work(&[("a", 2), ("b", 2)], 2, 1);
    let (_, node) = world.workers(0)[0];
    let other = 1 - node;
    world.pass(LEASE_S - 0.5, &[other]);
    assert!(!world.has("node-lost"));
    world.pass(1.0, &[other]);
    assert!(world.has("node-lost") && world.has("plan"));
    assert!(world.workers(0).iter().all(|&(_, on)| on == other));
    assert_eq!(world.workers(0).len(), 2);
    // What the lost node says now is old news, until it greets.
    assert!(!world.brain.heartbeat(now(world.s), node, 1));
}

#[test]
fn who_is_waited_for_and_waits_for_nobody_hangs() {
    let mut world = at_work(&[("a", 2), ("b", 2)], 2, 1);
    let workers = world.workers(0);
    let epoch = world.brain.tasks()[0].epoch();
    let [(first, on), (second, _)] = workers[..] else { panic!() };
    let waiting = v1::Waiting { worker: first, epoch, for_workers: vec![second] };
    world.say(on, Said::Waiting(waiting));
    for (worker, node) in workers {
        world.say(
            node,
            Said::Hung(v1::Hung {
                worker,
                epoch,
                iteration: 2,
                since_s: 3.0,
                usual_s: 1.0,
                process_state: "S".to_owned(),
            }),
        );
    }
    world.pass(1.0, &[0, 1]);
    let left: Vec<u64> = world.workers(0).iter().map(|&(worker, _)| worker).collect();
    assert!(left.contains(&first) && !left.contains(&second));
    assert_eq!(world.members(0), [first]);
}

/// While one is being started again, another on its node stands still: nobody commits before it is gone.
#[test]
fn who_hangs_where_another_is_started_again_ends_too() {
    let mut world = at_work(&[("a", 2), ("b", 2)], 4, 1);
    let on_a = |world: &World| {
        let workers = world.workers(0).into_iter().filter(|(_, node)| *node == 0);
        workers.map(|(worker, _)| worker).collect::<Vec<_>>()
    };
    let [dies, hangs] = on_a(&world)[..] else { panic!() };
    world.kill(dies, 0);
    world.ready_all(0);
    let epoch = world.brain.tasks()[0].epoch();
    let process_state = "T".to_owned();
    let (iteration, since_s, usual_s) = (2, 3.0, 1.0);
    let hung = v1::Hung { worker: hangs, epoch, iteration, since_s, usual_s, process_state };
    world.say(0, Said::Hung(hung));
    world.pass(1.0, &[0, 1]);
    assert!(!world.members(0).contains(&hangs));
    assert!(!on_a(&world).contains(&hangs) && on_a(&world).len() == 2);
}

#[test]
fn a_connection_between_living_workers_is_tried_again() {
    let mut world = at_work(&[("a", 2), ("b", 2)], 2, 1);
    let epoch = world.brain.tasks()[0].epoch();
    let before = world.lose_a_connection(0);
    world.pass(2.0, &[0, 1]);
    assert!(world.has("reattempt") && !world.has("restart"));
    assert_eq!(world.members(0), before);
    assert!(world.brain.tasks()[0].epoch() > epoch);
}

#[test]
fn a_connection_to_a_dead_worker_is_not_counted() {
    let mut world = at_work(&[("a", 2), ("b", 2)], 2, 1);
    let before = world.lose_a_connection(0);
    let node = world.brain.tasks()[0].workers[&before[1]].node;
    world.kill(before[1], node);
    world.pass(3.0, &[0, 1]);
    assert!(!world.has("reattempt"));
    assert_eq!(world.brain.tasks()[0].progress.failures, 1);
}

#[test]
fn a_checkpoint_of_an_older_epoch_is_refused() {
    let mut world = at_work(&[("a", 2)], 2, 1);
    let (worker, node) = world.workers(0)[0];
    let epoch = world.brain.tasks()[0].epoch();
    let written = |epoch| {
        let path = "there".to_owned();
        Said::Checkpoint(v1::CheckpointWritten { worker, epoch, iteration: 1, path })
    };
    world.say(node, written(epoch));
    world.say(node, written(epoch - 1));
    let refused: Vec<bool> = world
        .answers
        .iter()
        .map(|answer| match answer {
            to_agent::Message::Checkpoint(answer) => !answer.refused.is_empty(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(refused, [false, true]);
    assert_eq!(world.brain.tasks()[0].checkpoint.as_ref().unwrap().iteration, 1);
}

#[test]
fn workers_leave_a_drained_node_once_others_have_their_places() {
    let mut world = at_work(&[("a", 2), ("b", 2)], 2, 1);
    let (_, node) = world.workers(0)[0];
    let name = ["a", "b"][node];
    world.brain.drain(now(1.0), name).unwrap();
    world.settle();
    assert_eq!(world.workers(0).len(), 4, "two leave, two come");
    world.ready_all(0);
    assert_eq!(world.members(0).len(), 4, "state moves from those who leave");
    world.commit(0, 2);
    assert!(world.workers(0).iter().all(|&(_, on)| on != node));
    assert_eq!(world.members(0).len(), 2);
}

#[test]
fn the_result_ends_the_task_not_the_first_who_is_done() {
    let mut world = at_work(&[("a", 2)], 2, 1);
    let workers = world.workers(0);
    let epoch = world.brain.tasks()[0].epoch();
    let done = |worker, file: &str| {
        let (weights_file, weights_sha256) = (file.to_owned(), file.to_owned());
        Said::Done(v1::TaskDone { worker, epoch, iteration: 9, weights_file, weights_sha256 })
    };
    world.say(workers[1].1, done(workers[1].0, ""));
    assert_eq!(world.brain.tasks()[0].state(), "running");
    world.say(workers[0].1, done(workers[0].0, "w"));
    assert_eq!(world.brain.tasks()[0].state(), "done");
    assert_eq!(world.brain.tasks()[0].progress.weights_sha256, "w");
    assert!(world.workers(0).is_empty());
}

#[test]
fn who_takes_over_finds_everything_at_work() {
    let mut world = at_work(&[("a", 2), ("b", 2)], 3, 1);
    let before = &world.brain;
    let nodes = vec![before.node_record(0), before.node_record(1)];
    let tasks = vec![before.task_record(0)];
    let group = before.tasks()[0].group.clone();
    let workers = before.tasks()[0].workers.clone();
    let settings = Settings { lease_s: LEASE_S, ..Settings::default() };
    let brain = Brain::resume(settings, 2, now(0.0), &nodes, &tasks).unwrap();
    let mut after = World { brain, s: 0.0, events: Vec::new(), answers: Vec::new() };
    assert_eq!(after.brain.tasks()[0].group, group);
    for (node, name) in ["a", "b"].into_iter().enumerate() {
        let here = workers.iter().filter(|(_, worker)| worker.node == node);
        let running: Vec<v1::RunningWorker> = here
            .map(|(&worker, known)| v1::RunningWorker {
                worker,
                task: "gpt".to_owned(),
                stage: known.stage,
                pid: known.pid,
                address: known.address.clone().unwrap(),
                fingerprint: "f".to_owned(),
            })
            .collect();
        after.attend(name, 2, &running).unwrap();
    }
    after.pass(2.0 * LEASE_S, &[0, 1]);
    assert_eq!(after.brain.tasks()[0].group, group, "nobody was disturbed");
    assert!(!after.has("node-lost") && !after.has("failure"));
    // New numbers are beyond all old ones.
    world.kill(world.workers(0)[0].0, world.workers(0)[0].1);
    let (victim, node) = after.workers(0)[0];
    after.kill(victim, node);
    assert!(after.brain.tasks()[0].epoch() > world.brain.tasks()[0].epoch());
}

#[test]
fn a_node_whose_hardware_is_at_fault_is_left_with_or_without_a_task() {
    let seen = || {
        Said::Observation(v1::Observation {
            status: "gpu-hardware-error".to_owned(),
            role: "root".to_owned(),
            text: "Xid 79".to_owned(),
            ..v1::Observation::default()
        })
    };
    let mut world = at_work(&[("a", 2), ("b", 2), ("c", 2)], 2, 1);
    let busy = world.workers(0)[0].1;
    let idle = (0..3).find(|node| *node != busy).unwrap();
    world.say(idle, seen());
    assert_eq!(world.brain.nodes()[idle].state(), "isolated");
    world.say(busy, seen());
    assert_eq!(world.brain.nodes()[busy].state(), "isolated");
    let last = 3 - busy - idle;
    assert!(world.workers(0).iter().filter(|&&(_, node)| node == last).count() == 2);
    world.brain.undrain(now(world.s), ["a", "b", "c"][idle]).unwrap();
    assert_eq!(world.brain.nodes()[idle].state(), "ready");
}

#[test]
fn a_second_agent_of_a_name_and_an_unknown_protocol_are_refused() {
    let mut world = World::new(&[("a", 2)]);
    let hello = |protocol, incarnation: &str| v1::Hello {
        protocol,
        node: "a".to_owned(),
        incarnation: incarnation.to_owned(),
        slots: 2,
        ..v1::Hello::default()
    };
    let other = world.brain.attend(now(0.0), 2, &hello(PROTOCOL, "a-2")).unwrap_err();
    assert!(other.starts_with("another agent attends as node a"), "{other}");
    let version = world.brain.attend(now(0.0), 3, &hello(99, "a-1")).unwrap_err();
    assert_eq!(version, "this coordinator speaks protocol 1, the agent 99");
}
