//! What a dashboard shows beyond the present state of tasks and nodes: how the cluster has done so far, the
//! plan in force, and why. Kept in memory by whoever leads; none of it decides anything.
//!
//! | what | file |
//! |---|---|
//! | what is kept, and the whole as it is told | this |
//! | weighted FLOP/s over time | [`history`] |

pub mod history;

use super::brain::accounts::to_wire;
use super::brain::{Brain, Happened, Now};
use crate::core::Authority;
use crate::proto::v1;
use history::{History, Waf};
use std::collections::BTreeMap;

/// What is kept.
#[derive(Debug)]
pub struct Memory {
    history: History,
    /// When it begins, in milliseconds of the Unix epoch.
    from_ms: i64,
    noted_s: f64,
    plan: Option<Happened>,
    reasons: Reasons,
}

/// Why each task has so many workers.
#[derive(Debug, Default)]
struct Reasons {
    /// The core's epoch that they are of.
    epoch: Option<u64>,
    /// Whether some are being worked on.
    are_underway: bool,
    /// When that began last, in seconds.
    began_s: Option<f64>,
    /// By task.
    texts: BTreeMap<usize, String>,
}

/// How often the present is noted, in seconds: what lasts less is in its step's mean by chance.
const NOTE_EVERY_S: f64 = 0.5;

/// Reasons take a solve a task: where plans change all the time, they aren't worked out for each.
const REASONS_EVERY_S: f64 = 5.0;

impl Memory {
    /// Of a leadership that begins.
    #[must_use]
    pub fn new(now: Now) -> Self {
        let history = History::new(now.s);
        let (plan, reasons) = (None, Reasons::default());
        Self { history, from_ms: now.wall_ms, noted_s: f64::NEG_INFINITY, plan, reasons }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now, brain: &Brain) {
        if now.s >= self.noted_s + NOTE_EVERY_S {
            self.noted_s = now.s;
            let (waf, planned) = brain.waf();
            self.history.note(now.s, Waf { now: waf, planned });
        }
    }

    /// Things have happened: the last plan among them is the one in force.
    pub fn note(&mut self, events: &[Happened]) {
        if let Some(plan) = events.iter().rfind(|event| event.kind == "plan") {
            self.plan = Some(plan.clone());
        }
    }

    /// Whether reasons of this epoch of the core are wanted, which are then taken to be worked on.
    pub fn wants_reasons(&mut self, now: Now, epoch: u64) -> bool {
        let Reasons { epoch: known, are_underway, began_s, .. } = &mut self.reasons;
        let is_soon = began_s.is_some_and(|began_s| now.s < began_s + REASONS_EVERY_S);
        let is_wanted = *known != Some(epoch) && !*are_underway && !is_soon;
        if is_wanted {
            (*are_underway, *began_s) = (true, Some(now.s));
        }
        is_wanted
    }

    /// Reasons have been worked out.
    pub fn take_reasons(&mut self, epoch: u64, texts: BTreeMap<usize, String>) {
        let began_s = self.reasons.began_s;
        self.reasons = Reasons { epoch: Some(epoch), are_underway: false, began_s, texts };
    }

    /// Everything, as of now; reasons only if they are of the plan in force.
    #[must_use]
    pub fn overview(&self, now: Now, brain: &Brain, last_event: u64) -> v1::OverviewReply {
        let (bins, uncommitted_s) = brain.bins(now);
        let plan = self.plan.as_ref().map(|event| {
            let is_valid = self.reasons.epoch == Some(brain.core().epoch());
            let reasons = self.reasons.texts.iter().filter(|_| is_valid);
            let reasons = reasons.filter_map(|(&task, text)| {
                let task = brain.tasks().get(task)?.file.name.clone();
                Some(v1::PlanReason { task, text: text.clone() })
            });
            v1::RunningPlan {
                at_ms: event.at_ms,
                text: event.text.clone(),
                source: event.details["source"].as_str().unwrap_or_default().to_owned(),
                total_waf: event.details["total_waf"].as_f64().unwrap_or_default(),
                reasons: reasons.collect(),
            }
        });
        let of_steps = |value: fn(&Waf) -> f64| self.history.steps().iter().map(value).collect();
        v1::OverviewReply {
            term: brain.term(),
            tasks: brain.tasks_reply(now).tasks,
            nodes: brain.nodes_reply(now).nodes,
            worker_seconds: Some(to_wire(bins)),
            uncommitted_worker_seconds: uncommitted_s,
            plan,
            history: Some(v1::History {
                from_ms: self.from_ms,
                step_s: self.history.step_s(),
                waf: of_steps(|waf| waf.now),
                planned: of_steps(|waf| waf.planned),
            }),
            last_event,
            advises: brain.settings().core.authority == Authority::Advise,
            advice: brain.advice_reply(),
        }
    }
}
