//! Planning for a core that may not act by itself ([`Authority::Advise`]): what lives is left alone, and
//! what would be done is said.
//!
//! What people ask for is done with as few changes as possible: a task that was submitted gets workers that
//! nobody has, one on a node that is to be free or that is lost gets others as far as there are any without
//! taking them from somebody, and the rest keep what they have. The plan that takes all into account is
//! advice, until somebody asks for it ([`super::Event::PlanAsked`]).

use super::event::{Advice, Command, PlanSource, Reconfiguration, Trigger};
use super::{Authority, Core};
use crate::plan::table::Class;
use crate::plan::value::Size;
use crate::plan::{Plan, Task, hazard};
use std::collections::BTreeSet;

impl Core {
    /// Whether it may say only.
    pub(super) fn advises(&self) -> bool {
        self.config.authority == Authority::Advise
    }

    /// Makes do with what there is, and says what would be better.
    pub(super) fn make_do(
        &mut self,
        now_s: f64,
        trigger: Trigger,
        gone: &BTreeSet<usize>,
    ) -> Vec<Command> {
        let hazards = self.hazards_at(now_s);
        let class = self.class(&self.state(&hazards), trigger, gone);
        let plan = self.least_change(&class, trigger);
        for &node in gone {
            self.healthy[node] = 0;
        }
        self.epoch += 1;
        let done = self.carry_out(plan, PlanSource::Solved, trigger, &class, &hazards);
        let advice = self.better(now_s).map(Box::new);
        let changes = (!done.changes.is_empty()).then_some(Command::Reconfigure(done));
        changes.into_iter().chain([Command::Advise(Advice::Plan(advice))]).collect()
    }

    /// The best plan in which no task that lives changes, but for those that lose workers.
    fn least_change(&self, class: &Class, trigger: Trigger) -> Plan {
        let mut tasks: Vec<Task> = self.tasks.clone();
        for &(task, lost) in &class.losses {
            tasks[task].present.lost = lost;
        }
        if let Some(finished) = class.finished {
            tasks[finished].throughput = Default::default();
        }
        let is_allowed = |task: usize, size: &Size| {
            let present = &tasks[task].present;
            match (present.workers, present.lost) {
                (0, _) => true,
                (now, 0) => size.workers == now,
                // Whoever asks for a node to be free wants its tasks to go on elsewhere.
                (now, _) if trigger == Trigger::NodeDrained => size.workers <= now,
                (now, lost) => size.workers <= now - lost.min(now),
            }
        };
        let hazard = hazard::of_bucket(class.hazard_bucket);
        self.situation(&tasks, class.workers, hazard).plan_within(&self.rule, is_allowed)
    }

    /// What would be changed now, if that were asked for.
    fn better(&self, now_s: f64) -> Option<Reconfiguration> {
        let mut other = self.clone();
        let commands = other.replan(now_s, Trigger::PlanAsked, &BTreeSet::new());
        commands.into_iter().find_map(|command| match command {
            Command::Reconfigure(plan) => Some(plan),
            _ => None,
        })
    }
}
