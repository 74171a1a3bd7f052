//! A plan as a table and as JSON.

use crate::plan::explain::{Reason, explain};
use crate::plan::placed::Placed;
use crate::plan::{Fleet, Rule};
use common::report::{Align, Table};
use serde_json::{Value, json};

/// A plan as people and scripts see it.
pub(super) struct Report<'a> {
    fleet: &'a Fleet,
    reasons: Vec<String>,
    /// Nodes by task.
    nodes: Vec<Vec<usize>>,
    pub(super) placed: Placed,
    planning_ms: f64,
}

impl<'a> Report<'a> {
    pub(super) fn new(fleet: &'a Fleet, rule: &Rule, placed: Placed, planning_ms: f64) -> Self {
        let situation = fleet.situation();
        let reasons = explain(&situation, rule, &placed.plan).iter().map(Reason::to_text).collect();
        let by_task = placed.placement.by_task(fleet.tasks().len()).into_iter();
        let nodes =
            by_task.map(|nodes| nodes.into_iter().map(|(node, _)| node).collect()).collect();
        Self { fleet, reasons, nodes, placed, planning_ms }
    }

    fn parallel(&self, task: usize) -> String {
        let shape = self.placed.plan.tasks[task].size.step.and_then(|step| step.shape);
        shape.map_or(String::new(), |shape| shape.to_string())
    }

    pub(super) fn json(&self) -> Value {
        let tasks: Vec<Value> = self
            .fleet
            .tasks()
            .iter()
            .zip(&self.placed.plan.tasks)
            .enumerate()
            .map(|(index, (task, assignment))| {
                json!({
                    "name": task.name,
                    "workers": assignment.size.workers,
                    "waf": assignment.waf,
                    "parallel": self.parallel(index),
                    "reason": self.reasons[index],
                    "from": task.present.workers,
                    "nodes": self.nodes[index],
                    "overlapped_s": assignment.size.interruption.overlapped_s,
                    "stopped_s": assignment.size.interruption.stopped_s,
                    "floor_is_dropped": assignment.floor_is_dropped,
                })
            })
            .collect();
        let plan = &self.placed.plan;
        json!({
            "planning_time_ms": self.planning_ms,
            "total_waf": plan.total_waf,
            "objective": plan.objective,
            "workers": plan.workers,
            "horizon_s": plan.horizon_s,
            "placement_loss": self.placed.loss,
            "starved_tasks": plan.tasks.iter().filter(|task| task.is_starved()).count(),
            "tasks": tasks,
        })
    }

    pub(super) fn text(&self) -> String {
        let (left, right) = (|name| (name, Align::Left), |name| (name, Align::Right));
        let mut table = Table::new(&[
            left("task"),
            right("workers"),
            right("nodes"),
            right("PFLOP/s"),
            right("WAF"),
            left("arrangement"),
            left("why"),
        ]);
        for (index, task) in self.fleet.tasks().iter().enumerate() {
            let assignment = &self.placed.plan.tasks[index];
            table.row([
                task.name.clone(),
                assignment.size.workers.to_string(),
                self.nodes[index].len().to_string(),
                format!("{:.2}", assignment.size.flops() / 1e15),
                format!("{:.2}", assignment.waf / 1e15),
                self.parallel(index),
                self.reasons[index].clone(),
            ]);
        }
        let plan = &self.placed.plan;
        let gpus = self.fleet.situation().workers;
        let mut text = table.to_text();
        text.push_str(&format!(
            "\n{:.2} PFLOP/s weighted on {} of {gpus} GPUs, planned in {:.2} ms; expected to hold for {:.1} h\n",
            plan.total_waf / 1e15,
            plan.workers,
            self.planning_ms,
            plan.horizon_s / 3600.0,
        ));
        if self.placed.loss > 0.0 {
            let percent = 100.0 * self.placed.loss / plan.objective.abs().max(f64::MIN_POSITIVE);
            text.push_str(&format!("places cost {percent:.3} % of the best plan by counts\n"));
        }
        text
    }
}
