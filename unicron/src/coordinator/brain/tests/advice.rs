//! A coordinator that may say only.

use super::*;
use crate::core::{Authority, Config};

fn advising(nodes: &[(&str, u32)]) -> World {
    let core = Config { authority: Authority::Advise, ..Config::default() };
    let settings = Settings { lease_s: LEASE_S, core, ..Settings::default() };
    let mut world = World { brain: Brain::new(settings, 1, now(0.0)), ..World::new(&[]) };
    for (name, slots) in nodes {
        world.attend(name, *slots, &[]).unwrap();
    }
    world
}

impl World {
    /// What stands.
    fn commands(&self) -> Vec<String> {
        self.brain.advice_reply().into_iter().map(|advice| advice.command).collect()
    }

    fn count(&self, kind: &str) -> usize {
        self.events.iter().filter(|(other, _)| other == kind).count()
    }
}

/// Two nodes, a task on one of them.
fn at_work() -> World {
    let mut world = advising(&[("a", 2), ("b", 2)]);
    world.submit(&gpt(2, 1));
    world.ready_all(0);
    world.commit(0, 1);
    world
}

#[test]
fn what_has_ended_is_started_again_and_a_node_is_only_said_to_be_left() {
    let mut world = at_work();
    let (_, node) = world.workers(0)[0];
    for _ in 0..12 {
        let Some(&(worker, on)) = world.workers(0).iter().find(|(_, on)| *on == node) else {
            break;
        };
        world.kill(worker, on);
    }
    let name = ["a", "b"][node];
    assert_eq!(world.commands()[0], format!("unicron drain {name}"));
    assert_eq!(world.brain.nodes()[node].state(), "ready");
    assert!(!world.has("node-isolated") && !world.has("task-failed"));
    assert!(world.workers(0).is_empty(), "started again after a pause only");
    world.pass(61.0, &[0, 1]);
    assert_eq!(world.workers(0).len(), 2);
    world.ready_all(0);
    world.commit(0, 2);
    assert_eq!(world.commands(), Vec::<String>::new(), "it has helped");
    assert_eq!(world.count("advice"), world.count("advice-withdrawn"));
}

#[test]
fn what_somebody_has_done_is_taken_back() {
    let mut world = at_work();
    let unhealthy =
        |is_healthy| Said::Health(v1::Health { is_healthy, text: "no disk".to_owned() });
    world.say(1, unhealthy(false));
    world.say(1, unhealthy(false));
    assert_eq!((world.commands(), world.count("advice")), (vec!["unicron drain b".to_owned()], 1));
    world.say(1, unhealthy(true));
    assert!(world.commands().is_empty());
    world.say(1, unhealthy(false));
    world.brain.drain(now(world.s), "b").unwrap();
    world.pass(0.1, &[0, 1]);
    assert!(world.commands().is_empty());
    assert_eq!(world.count("advice-withdrawn"), 2);
}

#[test]
fn a_worker_that_hangs_is_left_alone_and_named() {
    let mut world = at_work();
    let (workers, epoch) = (world.workers(0), world.brain.tasks()[0].epoch());
    for (worker, node) in workers.clone() {
        let hung = v1::Hung {
            worker,
            epoch,
            iteration: 2,
            since_s: 3.0,
            usual_s: 1.0,
            process_state: if worker == workers[0].0 { "T" } else { "S" }.to_owned(),
        };
        for _ in 0..3 {
            world.say(node, Said::Hung(hung.clone()));
        }
        world.pass(1.0, &[0, 1]);
    }
    assert_eq!(world.workers(0), workers, "nobody was ended");
    assert_eq!(world.count("failure"), 1);
    let command = &world.commands()[0];
    assert!(command.starts_with(&format!("kill -9 {}", workers[0].0 as u32)), "{command}");
    world.kill(workers[0].0, workers[0].1);
    world.pass(0.1, &[0, 1]);
    assert!(world.commands().is_empty(), "{:?}", world.commands());
    assert_eq!(world.workers(0).len(), 2, "it is started again");
}

#[test]
fn a_task_that_waits_starts_beside_others_and_the_rest_is_asked_for() {
    let mut world = at_work();
    world.submit(&gpt(2, 1).replace("gpt", "other"));
    assert_eq!(world.workers(1).len(), 2, "there was room");
    world.submit(&gpt(2, 1).replace("gpt", "third"));
    assert_eq!((world.workers(2).len(), world.workers(0).len(), world.workers(1).len()), (0, 2, 2));
    assert_eq!(world.commands(), ["unicron replan"]);
    world.brain.replan(now(world.s));
    world.settle();
    assert_eq!(world.workers(2).len(), 1);
    assert!(world.commands().is_empty());
}
