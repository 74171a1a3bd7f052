//! The figures as Prometheus reads them. What only grows is a counter: time that may yet go to another bin
//! isn't in one.

use super::figures::{Figures, TaskFigures};
use crate::bins::Bins;
use crate::coordinator::account::durations::Durations;
use crate::core::PlanSource;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;

pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// The text; of a coordinator that doesn't lead only that it doesn't.
///
/// # Errors
/// None: writing to memory succeeds.
pub fn text(figures: Option<Figures>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("unicron");
    registry.register_collector(Box::new(Told(figures)));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Told(Option<Figures>);

/// One label, its value.
type Label<'a> = [(&'static str, &'a str); 1];

impl Collector for Told {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let leads = u64::from(self.0.is_some());
        page.gauge("leads", "Whether this coordinator leads", leads as f64)?;
        page.build_info()?;
        match &self.0 {
            Some(figures) => {
                page.cluster(figures)?;
                page.failures(figures)?;
                page.tasks(figures)
            }
            None => Ok(()),
        }
    }
}

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn build_info(&mut self) -> fmt::Result {
        let mut family = self.family("build_info", "Always 1", MetricType::Gauge)?;
        let label: Label<'_> = [("version", env!("CARGO_PKG_VERSION"))];
        family.encode_family(&label)?.encode_gauge(&1_u64)
    }

    fn cluster(&mut self, figures: &Figures) -> fmt::Result {
        self.gauge("term", "The number of this leadership", figures.term as f64)?;
        self.gauge("slots", "Slots of all nodes, away or not", figures.slots as f64)?;
        self.gauges("nodes", "Nodes by state", "state", &figures.nodes)?;
        self.gauges("tasks", "Tasks by state", "state", &figures.task_states)?;
        let help = "Seconds of all slots by what they were spent on";
        let mut family = self.family("worker_seconds", help, MetricType::Counter)?;
        bins(&mut family, &[], &figures.bins)?;
        let help = "Seconds of slots in training that isn't committed: in no bin yet";
        self.gauge("uncommitted_worker_seconds", help, figures.uncommitted_s)?;
        let help = "Weighted FLOP/s that workers achieve now, by the throughput of the plan";
        self.gauge("waf", help, figures.waf)?;
        let help = "Weighted FLOP/s once the transitions of the plan in force are over";
        self.gauge("planned_waf", help, figures.planned_waf)?;
        let help = "Things that Unicron would do, were it not for --advise";
        self.gauge("advice", help, figures.advice as f64)?;
        let mut family =
            self.family("plans", "Plans by where they came from", MetricType::Counter)?;
        for source in SOURCES {
            let count = figures.plans.get(&source).copied().unwrap_or_default();
            let label: Label<'_> = [("source", name_of(source))];
            family.encode_family(&label)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        let driver = &figures.driver;
        let help = "Seconds that the coordinator took for an event that led to a plan";
        let mut histogram = self.family("replanning_seconds", help, MetricType::Histogram)?;
        encode(&mut histogram, &driver.replanning)?;
        self.counter("pushes", "States pushed to agents", driver.pushes)?;
        let help = "Pushed states that a newer one replaced before they were sent";
        self.counter("pushes_coalesced", help, driver.coalesced)
    }

    fn failures(&mut self, figures: &Figures) -> fmt::Result {
        let sorts = || {
            let tasks = figures.tasks.iter();
            tasks.flat_map(|(name, task)| {
                task.account.failures.sorts().iter().map(move |sort| {
                    let severity = sort.severity.map_or("none".to_owned(), |s| s.to_string());
                    let labels = [
                        ("task", name.clone()),
                        ("method", sort.method.to_string().replace(' ', "-")),
                        ("severity", severity.to_lowercase()),
                    ];
                    (labels, sort.detection)
                })
            })
        };
        let help = "Failures by task, by what noticed them, and by severity";
        let mut family = self.family("failures", help, MetricType::Counter)?;
        for (labels, detection) in sorts() {
            let count = detection.count();
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        let help = "Seconds from a failure to its notice";
        let mut family = self.family("detection_seconds", help, MetricType::Histogram)?;
        for (labels, detection) in sorts() {
            encode(&mut family.encode_family(&labels)?, &detection)?;
        }
        let help = "Seconds from a failure's notice to the first iteration after it";
        let mut family = self.family("recovery_seconds", help, MetricType::Histogram)?;
        for (name, task) in &figures.tasks {
            let label: Label<'_> = [("task", name)];
            encode(&mut family.encode_family(&label)?, &task.account.recovery)?;
        }
        Ok(())
    }

    fn tasks(&mut self, figures: &Figures) -> fmt::Result {
        let help = "Seconds of a task's workers by what they were spent on";
        let mut family = self.family("task_worker_seconds", help, MetricType::Counter)?;
        for (name, task) in &figures.tasks {
            bins(&mut family, &[("task", name)], &task.account.bins)?;
        }
        let help = "Seconds of a task's workers in training that isn't committed: in no bin yet";
        let name = "task_uncommitted_worker_seconds";
        self.by_task(name, help, figures, |task| task.account.uncommitted_worker_s())?;
        let help = "Workers of a task";
        self.by_task("task_workers", help, figures, |task| task.workers[0] as f64)?;
        let help = "Workers that a task wants";
        self.by_task("task_workers_wanted", help, figures, |task| task.workers[1] as f64)?;
        let help = "Weighted FLOP/s that a task's workers achieve now";
        self.by_task("task_waf", help, figures, |task| task.waf)?;
        let help = "Place among the tasks that wait for workers, from 1; 0 if it doesn't";
        self.by_task("task_queue_position", help, figures, |task| task.queue_position.into())?;
        let help = "Place among the tasks that would have to give workers up, from 1; 0 without";
        let name = "task_preemption_position";
        self.by_task(name, help, figures, |task| task.preemption_position.into())?;
        let help = "Iterations that are committed";
        self.by_task("task_iteration", help, figures, |task| task.iteration as f64)?;
        let help = "The epoch of the task's group, 0 without one";
        self.by_task("task_epoch", help, figures, |task| task.epoch as f64)?;
        let help =
            "The part of the time since its submission in which a task trained and that counts";
        let name = "task_effective_time_ratio";
        self.by_task(name, help, figures, |task| task.effective_time_ratio)?;
        let help = "Weighted FLOPs of the training that counts, by the throughput of the plan";
        let mut family = self.family("task_accumulated_waf", help, MetricType::Counter)?;
        for (name, task) in &figures.tasks {
            let label: Label<'_> = [("task", name)];
            let waf = task.weight * task.account.flops;
            family.encode_family(&label)?.encode_counter::<NoLabelSet, _, u64>(&waf, None)?;
        }
        Ok(())
    }

    /// A gauge for every task.
    fn by_task(
        &mut self,
        name: &str,
        help: &str,
        figures: &Figures,
        value: impl Fn(&TaskFigures) -> f64,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Gauge)?;
        for (name, task) in &figures.tasks {
            let label: Label<'_> = [("task", name)];
            family.encode_family(&label)?.encode_gauge(&value(task))?;
        }
        Ok(())
    }

    fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        sort: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, sort)
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.family(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut encoder = self.family(name, help, MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn gauges<'s>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl IntoIterator<Item = (&'s &'static str, &'s u64)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Gauge)?;
        for (&value, &count) in values {
            let label: Label<'_> = [(label, value)];
            family.encode_family(&label)?.encode_gauge(&count)?;
        }
        Ok(())
    }
}

fn bins(
    family: &mut MetricEncoder<'_>,
    labels: &[(&'static str, &str)],
    bins: &Bins,
) -> fmt::Result {
    for (bin, seconds) in bins.named() {
        let labels = [labels, &[("bin", bin)]].concat();
        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&seconds, None)?;
    }
    Ok(())
}

fn encode(histogram: &mut MetricEncoder<'_>, durations: &Durations) -> fmt::Result {
    let classes: Vec<(f64, u64)> = durations.classes().collect();
    let (total_s, count) = (durations.total_s(), durations.count());
    histogram.encode_histogram::<NoLabelSet>(total_s, count, &classes, None)
}

const SOURCES: [PlanSource; 4] = [
    PlanSource::Table,
    PlanSource::Solved,
    PlanSource::SolvedWhileBuilding,
    PlanSource::SolvedUnexpected,
];

fn name_of(source: PlanSource) -> &'static str {
    match source {
        PlanSource::Table => "table",
        PlanSource::Solved => "solved",
        PlanSource::SolvedWhileBuilding => "solved-while-building",
        PlanSource::SolvedUnexpected => "solved-unexpected",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::account::Account;
    use crate::detect::Status;
    use std::collections::BTreeSet;

    fn figures_of_one_task() -> Figures {
        let mut account = Account::new(0.0);
        account.failed(1.0, Status::ExitedAbnormally, 0.2);
        account.flops = 5.0;
        let task = TaskFigures {
            weight: 2.0,
            iteration: 7,
            epoch: 3,
            workers: [2, 4],
            waf: 6.0,
            queue_position: 0,
            preemption_position: 1,
            account,
            effective_time_ratio: 0.5,
        };
        let bins = Bins { useful: 1.5, ..Bins::default() };
        let tasks = [("gpt".to_owned(), task)].into();
        Figures {
            bins,
            tasks,
            nodes: [("ready", 2)].into(),
            task_states: [("running", 1)].into(),
            ..Figures::default()
        }
    }

    #[test]
    fn figures_have_names_labels_and_sorts() {
        let text = text(Some(figures_of_one_task())).unwrap();
        for line in [
            "# TYPE unicron_worker_seconds_total counter",
            "unicron_worker_seconds_total{bin=\"useful\"} 1.5",
            "unicron_nodes{state=\"ready\"} 2",
            "unicron_task_iteration{task=\"gpt\"} 7.0",
            "unicron_task_workers_wanted{task=\"gpt\"} 4.0",
            "unicron_task_preemption_position{task=\"gpt\"} 1.0",
            "unicron_task_accumulated_waf_total{task=\"gpt\"} 10.0",
            "unicron_failures_total{task=\"gpt\",method=\"process-supervision\",severity=\"sev2\"} 1",
            "unicron_plans_total{source=\"table\"} 0",
        ] {
            assert!(text.lines().any(|other| other == line), "no {line} in\n{text}");
        }
        assert!(text.contains("unicron_detection_seconds_bucket{"), "{text}");
    }

    #[test]
    fn who_does_not_lead_says_so() {
        let text = text(None).unwrap();
        assert!(text.lines().any(|line| line == "unicron_leads 0.0"), "{text}");
        assert!(!text.contains("unicron_nodes"));
    }

    /// Names of metrics in a text, without what a histogram adds to its own.
    fn names(text: &str) -> BTreeSet<String> {
        let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '_';
        let found = text.match_indices("unicron_").map(|(at, _)| {
            let name = text[at..].split(|letter| !is_part(letter)).next().unwrap();
            let ends = ["_bucket", "_count", "_sum"];
            ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
        });
        found.collect()
    }

    #[test]
    fn dashboards_and_rules_name_what_is_told_and_all_that_is_told() {
        let told: BTreeSet<String> = text(Some(figures_of_one_task()))
            .unwrap()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(names)
            .collect();
        let shown = names(include_str!("../../../deploy/grafana.json"));
        let alerts = names(include_str!("../../../deploy/prometheus/unicron-alerts.yml"));
        for name in shown.union(&alerts) {
            assert!(told.contains(name), "{name} isn't told");
        }
        // What says little in a graph.
        let left_out = [
            "unicron_build_info",
            "unicron_term",
            "unicron_task_epoch",
            "unicron_task_accumulated_waf_total",
            "unicron_task_worker_seconds_total",
            "unicron_task_uncommitted_worker_seconds",
            "unicron_uncommitted_worker_seconds",
        ];
        let not_shown: Vec<&String> =
            told.difference(&shown).filter(|name| !left_out.contains(&name.as_str())).collect();
        assert!(not_shown.is_empty(), "not in the dashboard: {not_shown:?}");
    }
}
