//! The core as a whole: what it answers to what happens.

use super::*;
use crate::model::LanguageModel;
use crate::plan::{Plan, Present, Unit};
use crate::throughput::Throughput;
use proptest::prelude::*;
use std::sync::Arc;

const DAY_S: f64 = 86_400.0;

fn task(name: &str, model: &str, weight: f64) -> Task {
    let cluster = Cluster::paper();
    let model = LanguageModel::preset(model).unwrap();
    let throughput = Throughput::megatron(
        &model,
        cluster.hardware(),
        cluster.gpus_per_node(),
        cluster.gpus(),
        &Constants::default(),
    );
    Task {
        name: name.to_owned(),
        throughput: Arc::new(throughput),
        weight,
        min_workers: 0,
        guaranteed_workers: None,
        unit: Unit::Worker,
        restart: None,
        model: Some(Arc::new(model)),
        present: Present::default(),
    }
}

/// The paper's cluster with three tasks, all nodes there.
fn started(rule: Rule) -> Core {
    let mut core = Core::new(Cluster::paper(), rule, Config::default(), 0.0);
    for node in 0..16 {
        core.step(0.0, Event::NodeJoined { node, workers: 8 });
    }
    for (name, model, weight) in
        [("a", "gpt3-7b", 1.0), ("b", "gpt3-13b", 1.0), ("c", "gpt3-1.3b", 2.0)]
    {
        core.step(0.0, Event::TaskSubmitted { task: Box::new(task(name, model, weight)) });
    }
    core
}

fn reconfiguration(commands: &[Command]) -> Option<&Reconfiguration> {
    commands.iter().find_map(|command| match command {
        Command::Reconfigure(reconfiguration) => Some(reconfiguration),
        _ => None,
    })
}

/// A node with a task.
fn busy_node(core: &Core) -> (usize, usize) {
    let nodes = core.placement().nodes.iter().enumerate();
    nodes.filter_map(|(node, shares)| Some((node, shares.first()?.0))).next().unwrap()
}

#[test]
fn all_workers_are_used_from_the_start() {
    let core = started(Rule::ours());
    let used: usize = (0..16).map(|node| core.placement().used(node)).sum();
    assert!(used > 120, "{used}");
    assert!(core.tasks().iter().all(|task| task.present.workers > 0));
}

#[test]
fn a_lost_node_is_left_and_its_task_goes_on() {
    let mut core = started(Rule::ours());
    let (node, task) = busy_node(&core);
    let epoch = core.epoch();
    let commands = core.step(DAY_S, Event::NodeLost { node });
    assert_eq!(commands[0], Command::Isolate { node, status: Status::LostConnection });
    let plan = reconfiguration(&commands).unwrap();
    assert!(plan.epoch > epoch && plan.trigger == Trigger::NodeLost);
    let change = plan.changes.iter().find(|change| change.task == task).unwrap();
    assert!(change.size.workers > 0 && change.size.interruption.stopped_s > 0.0);
    assert_eq!(core.placement().used(node), 0);
    assert!(core.step(DAY_S, Event::NodeLost { node }).is_empty(), "old news");
}

#[test]
fn a_node_that_comes_back_is_used_if_that_pays() {
    let mut core = started(Rule::ours());
    let (node, _) = busy_node(&core);
    core.step(DAY_S, Event::NodeLost { node });
    let used =
        |core: &Core| -> usize { core.tasks().iter().map(|task| task.present.workers).sum() };
    let before = used(&core);
    let commands = core.step(2.0 * DAY_S, Event::NodeJoined { node, workers: 8 });
    assert!(reconfiguration(&commands).is_some());
    assert!(used(&core) > before);
}

#[test]
fn a_failure_escalates_one_level_at_a_time() {
    let mut core = started(Rule::ours());
    let (node, task) = busy_node(&core);
    let mut now_s = DAY_S;
    let mut commands = core.step(now_s, Event::Failed { task, node, status: Status::NcclTimeout });
    let mut levels = Vec::new();
    loop {
        let incident = match &commands[0] {
            Command::Reattempt(attempt) => ("reattempt", attempt.incident),
            Command::Restart(attempt) => ("restart", attempt.incident),
            Command::Isolate { .. } => break,
            other => panic!("{other:?}"),
        };
        levels.push(incident.0);
        now_s += 10.0;
        commands = core.step(now_s, Event::Attempted { incident: incident.1, succeeded: false });
    }
    assert_eq!(levels, ["reattempt", "restart", "restart"]);
    assert!(reconfiguration(&commands).is_some());
}

#[test]
fn no_answer_is_a_failure() {
    let mut core = started(Rule::ours());
    let (node, task) = busy_node(&core);
    let commands = core.step(0.0, Event::Failed { task, node, status: Status::ConnectionReset });
    let Command::WakeAt { at_s } = commands[1] else { panic!("{commands:?}") };
    assert!(core.step(at_s - 1.0, Event::Ticked).is_empty());
    let commands = core.step(at_s, Event::Ticked);
    assert!(matches!(commands[0], Command::Restart(_)), "{commands:?}");
}

#[test]
fn many_ranks_tell_one_failure() {
    let mut core = started(Rule::ours());
    let (node, task) = busy_node(&core);
    let failed = |status| Event::Failed { task, node, status };
    assert_eq!(core.step(0.0, failed(Status::ConnectionReset)).len(), 2);
    assert!(core.step(0.1, failed(Status::ConnectionReset)).is_empty());
    assert!(core.step(0.2, failed(Status::NcclTimeout)).is_empty());
    // What is worse is news.
    assert!(matches!(core.step(0.3, failed(Status::CudaError))[0], Command::Restart(_)));
    assert!(matches!(core.step(0.4, failed(Status::EccError))[0], Command::Isolate { .. }));
}

#[test]
fn a_failure_that_comes_back_without_progress_ends_the_task_with_evidence() {
    let mut core = started(Rule::ours());
    let mut answers = Vec::new();
    for round in 0..4 {
        let (node, task) = busy_node(&core);
        let now_s = f64::from(round) * 100.0;
        let commands =
            core.step(now_s, Event::Failed { task, node, status: Status::NonFiniteLoss });
        if let Command::Restart(attempt) = commands[0] {
            core.step(now_s, Event::Attempted { incident: attempt.incident, succeeded: true });
        }
        answers.push(commands);
    }
    let Command::Stop { evidence, .. } = &answers[3][0] else { panic!("{answers:?}") };
    assert_eq!(evidence, "no progress between failures: non-finite-loss 4 times");
}

#[test]
fn workers_that_fail_together_are_one_failure_until_a_restart_does_not_help() {
    let mut core = started(Rule::ours());
    let nodes_of = |task: usize| -> Vec<usize> {
        (0..16).filter(|&node| core.placement().on(node, task) > 0).collect()
    };
    let task = (0..3).max_by_key(|&task| nodes_of(task).len()).unwrap();
    let before = nodes_of(task);
    assert!(before.len() > 3, "{before:?}");
    let status = Status::ExitedAbnormally;
    let mut incidents = Vec::new();
    for &node in &before {
        let commands = core.step(DAY_S, Event::Failed { task, node, status });
        let [Command::Restart(attempt), _] = &commands[..] else { panic!("{commands:?}") };
        incidents.push(attempt.incident);
    }
    // If no restart helps, one node may be at fault; two at once are the task's own fault.
    let failed = |incident| Event::Attempted { incident, succeeded: false };
    core.step(DAY_S, failed(incidents[0]));
    core.step(DAY_S, failed(incidents[1]));
    let commands = core.step(DAY_S, failed(incidents[0]));
    assert_eq!(commands[0], Command::Isolate { node: before[0], status });
    let commands = core.step(DAY_S, failed(incidents[1]));
    assert!(
        matches!(&commands[0], Command::Stop { task: stopped, .. } if *stopped == task),
        "{commands:?}"
    );
}

#[test]
fn progress_makes_a_new_failure_the_first() {
    let mut core = started(Rule::ours());
    let (node, task) = busy_node(&core);
    for _ in 0..10 {
        let commands = core.step(0.0, Event::Failed { task, node, status: Status::NonFiniteLoss });
        let Command::Restart(attempt) = commands[0] else { panic!("{commands:?}") };
        core.step(0.0, Event::Attempted { incident: attempt.incident, succeeded: true });
        core.step(0.0, Event::Progressed { task });
    }
}

#[test]
fn what_no_restart_can_cure_stops_at_once() {
    let mut core = started(Rule::ours());
    let (node, task) = busy_node(&core);
    let commands = core.step(0.0, Event::Failed { task, node, status: Status::ConfigurationError });
    assert!(matches!(commands[0], Command::Stop { .. }));
    assert_eq!(core.tasks()[task].present.workers, 0);
    assert!(reconfiguration(&commands).is_some(), "others get its workers: {commands:?}");
    let ignored = core.step(0.0, Event::Failed { task, node, status: Status::EccError });
    assert!(ignored.is_empty(), "the task isn't there any more");
}

#[test]
fn the_table_has_the_plan_that_solving_finds() {
    let mut with_table = started(Rule::ours()).with_table();
    let mut without = started(Rule::ours());
    let (node, _) = busy_node(&without);
    let table = with_table.build_table(DAY_S);
    with_table.step(DAY_S, Event::TableBuilt { epoch: with_table.epoch(), table });
    let found = with_table.step(DAY_S, Event::NodeLost { node });
    let solved = without.step(DAY_S, Event::NodeLost { node });
    let (found, solved) = (reconfiguration(&found).unwrap(), reconfiguration(&solved).unwrap());
    assert_eq!((found.source, solved.source), (PlanSource::Table, PlanSource::Solved));
    assert_eq!(found.changes, solved.changes);
    let sizes = |plan: &Plan| -> Vec<_> { plan.tasks.iter().map(|task| task.size.step).collect() };
    assert_eq!(sizes(&found.plan), sizes(&solved.plan));
    assert_eq!(found.plan.objective, solved.plan.objective);
    // Until the next table is there, plans are solved for, and say so.
    let next = busy_node(&with_table).0;
    let commands = with_table.step(DAY_S, Event::NodeLost { node: next });
    assert_eq!(reconfiguration(&commands).unwrap().source, PlanSource::SolvedWhileBuilding);
}

#[test]
fn a_drained_node_is_free_afterwards() {
    let mut core = started(Rule::ours());
    let (node, _) = busy_node(&core);
    let commands = core.step(0.0, Event::DrainAsked { node });
    assert_eq!(reconfiguration(&commands).unwrap().trigger, Trigger::NodeDrained);
    assert_eq!(core.placement().used(node), 0);
    core.step(1.0, Event::NodeJoined { node, workers: 8 });
    assert_eq!(core.healthy()[node], 8);
}

#[test]
fn a_core_that_takes_over_leaves_workers_where_they_are() {
    let before = started(Rule::ours());
    let nodes = |task: usize| -> Vec<(usize, usize)> {
        (0..16)
            .map(|node| (node, before.placement().on(node, task)))
            .filter(|(_, workers)| *workers > 0)
            .collect()
    };
    let resumed = (0..3).map(|index| {
        let task = Task { present: Present::default(), ..before.tasks()[index].clone() };
        Resumed { task, nodes: nodes(index), has_ended: false }
    });
    let (cluster, healthy) = (Cluster::paper(), [8; 16]);
    let config = Config::default();
    let mut core = Core::resume(cluster, Rule::ours(), config, 0.0, &healthy, resumed.collect());
    assert_eq!(core.placement(), before.placement());
    // A node that everybody knows of is no news.
    assert!(core.step(1.0, Event::NodeJoined { node: 3, workers: 8 }).is_empty());
    let (node, task) = busy_node(&core);
    let commands = core.step(DAY_S, Event::NodeLost { node });
    assert!(reconfiguration(&commands).unwrap().changes.iter().any(|change| change.task == task));
}

#[test]
fn a_cluster_grows_by_nodes_that_nobody_knew_of() {
    let mut core = started(Rule::ours());
    core.grow(17, 8, DAY_S).unwrap();
    assert_eq!(core.healthy()[16], 0);
    core.step(DAY_S, Event::NodeJoined { node: 16, workers: 8 });
    assert_eq!(core.healthy()[16], 8);
    assert!(core.grow(usize::MAX, 8, DAY_S).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever happens: no node gives more than it has, no task has fewer than it needs, tasks and places
    /// agree, epochs rise, and the same events give the same commands.
    #[test]
    fn it_stays_consistent(
        events in prop::collection::vec((0_usize..7, 0_usize..16, 0_usize..3, 0_usize..26), 0..40),
        is_paper in any::<bool>(),
    ) {
        let rule = if is_paper { Rule::paper() } else { Rule::ours() };
        let (mut core, mut twin) = (started(rule), started(rule));
        let mut incidents = Vec::new();
        for (step, (kind, node, task, status)) in events.into_iter().enumerate() {
            let now_s = 1000.0 * step as f64;
            let event = match kind {
                0 => Event::NodeLost { node },
                1 => Event::NodeJoined { node, workers: 8 },
                2 => Event::DrainAsked { node },
                3 => Event::Progressed { task },
                4 => Event::Ticked,
                5 => match incidents.pop() {
                    Some(incident) => Event::Attempted { incident, succeeded: node % 2 == 0 },
                    None => Event::Ticked,
                },
                _ => Event::Failed { task, node, status: Status::ALL[status] },
            };
            let epoch = core.epoch();
            let commands = core.step(now_s, event.clone());
            prop_assert_eq!(&commands, &twin.step(now_s, event));
            prop_assert!(core.epoch() >= epoch);
            for command in &commands {
                if let Command::Reattempt(attempt) | Command::Restart(attempt) = command {
                    incidents.push(attempt.incident);
                }
            }
            for (node, &healthy) in core.healthy().iter().enumerate() {
                prop_assert!(core.placement().used(node) <= healthy);
            }
            for (index, task) in core.tasks().iter().enumerate() {
                let workers = task.present.workers;
                prop_assert_eq!(core.placement().workers(index), workers);
                prop_assert!(workers == 0 || task.throughput.at(workers) > 0.0);
                prop_assert_eq!(task.present.lost, 0);
            }
        }
    }
}

#[test]
fn a_task_that_ends_while_it_waits_gets_nothing_later() {
    let waits = || Task { min_workers: 128, ..task("waits", "gpt3-7b", 1.0) };
    let mut core = started(Rule::ours());
    core.step(1.0, Event::TaskSubmitted { task: Box::new(waits()) });
    assert_eq!(core.queue(1.0).waiting.iter().map(|w| w.task).collect::<Vec<_>>(), [3]);
    core.step(2.0, Event::TaskEnded { task: 3 });
    assert_eq!(core.queue(2.0).waiting, []);
    for task in 0..3 {
        core.step(3.0, Event::TaskEnded { task });
    }
    assert_eq!(core.tasks()[3].present.workers, 0);
}

#[test]
fn every_task_that_lives_has_a_reason() {
    let mut core = started(Rule::ours());
    core.step(1.0, Event::TaskEnded { task: 1 });
    let reasons = core.reasons(2.0);
    assert_eq!(reasons.iter().map(|(task, _)| *task).collect::<Vec<_>>(), [0, 2]);
    for (task, reason) in reasons {
        assert_eq!(reason.from, core.tasks()[task].present.workers);
        assert!(reason.runner_up.is_some(), "{}", reason.to_text());
    }
    let givers: Vec<usize> = core.queue(2.0).givers.iter().map(|giver| giver.task).collect();
    assert_eq!(givers.len(), 2, "{givers:?}");
}

/// The same cluster under a core that may not act by itself; what it advises about sizes at last.
fn advising() -> Core {
    let config = Config { authority: Authority::Advise, ..Config::default() };
    let mut core = Core::new(Cluster::paper(), Rule::ours(), config, 0.0);
    for node in 0..16 {
        core.step(0.0, Event::NodeJoined { node, workers: 8 });
    }
    for (name, model, weight) in [("a", "gpt3-7b", 1.0), ("b", "gpt3-13b", 1.0)] {
        core.step(0.0, Event::TaskSubmitted { task: Box::new(task(name, model, weight)) });
    }
    core
}

fn advised_plan(commands: &[Command]) -> Option<&Reconfiguration> {
    commands.iter().find_map(|command| match command {
        Command::Advise(Advice::Plan(plan)) => plan.as_deref(),
        _ => None,
    })
}

#[test]
fn who_may_not_act_takes_workers_from_nobody() {
    let mut core = advising();
    let workers = |core: &Core| -> Vec<usize> {
        core.tasks().iter().map(|task| task.present.workers).collect()
    };
    let before = workers(&core);
    assert!(before[0] > 0 && before[1] == 0, "the first had all: {before:?}");
    let commands = core.step(1.0, Event::PlanAsked);
    assert!(reconfiguration(&commands).is_some());
    let shared = workers(&core);
    assert!(shared.iter().all(|&workers| workers > 0), "{shared:?}");

    let (node, loser) = busy_node(&core);
    let commands = core.step(2.0, Event::NodeLost { node });
    let after = workers(&core);
    assert_eq!(after[1 - loser], shared[1 - loser]);
    assert!(after[loser] < shared[loser]);
    assert!(reconfiguration(&commands).is_some());
    core.step(3.0, Event::NodeJoined { node, workers: 8 });
    assert_eq!(workers(&core), after, "nobody grows by itself");
    let commands = core.step(4.0, Event::NodeJoined { node: 0, workers: 4 });
    assert!(advised_plan(&commands).is_some());
    core.step(5.0, Event::PlanAsked);
    assert_ne!(workers(&core), after);
}

#[test]
fn who_may_not_act_restarts_and_says_the_rest() {
    let mut core = advising();
    let (node, task) = busy_node(&core);
    let fail = |core: &mut Core, s: f64| {
        core.step(s, Event::Failed { task, node, status: Status::ExitedAbnormally })
    };
    assert!(matches!(fail(&mut core, 1.0)[0], Command::Restart(_)));
    let commands: Vec<Command> = (0..6)
        .flat_map(|count| {
            let s = 2.0 + f64::from(count);
            let open: Vec<u64> = core.incidents.keys().copied().collect();
            let tried = open
                .into_iter()
                .flat_map(|incident| core.step(s, Event::Attempted { incident, succeeded: false }));
            let mut commands: Vec<Command> = tried.collect();
            commands.extend(fail(&mut core, s));
            commands
        })
        .collect();
    let said = |is_meant: fn(&Advice) -> bool| {
        commands
            .iter()
            .any(|command| matches!(command, Command::Advise(advice) if is_meant(advice)))
    };
    assert!(said(|advice| matches!(advice, Advice::Isolate { .. })), "{commands:?}");
    assert!(said(|advice| matches!(advice, Advice::Stop { .. })), "{commands:?}");
    let acts =
        |command: &Command| matches!(command, Command::Isolate { .. } | Command::Stop { .. });
    assert!(!commands.iter().any(acts));
    assert!(core.tasks()[task].present.workers > 0);
}
