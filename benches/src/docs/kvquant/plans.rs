//! Presets, searched plans, what their parts are worth, and needles.

use super::{FOLDER, loss, percent, perplexity};
use crate::docs::headlines::Headline;
use crate::docs::part::Part;
use crate::docs::{Generated, pending};
use crate::experiment::{Experiment, Size, read};
use crate::kvquant::{
    AblationMetrics, Ablations, Family, NeedleMetrics, Needles, PAPER_LONG, PAPER_SHORT, PlanScore,
    Plans, PlansMetrics, Retrieval, SMOLLM2, TaskScores, Tasks, evidence,
};
use anyhow::Context;
use common::report::{Align, Axis, Claim, HeatMap, Interval, Plot, Series, Table};
use kvquant::presets::Preset;
use std::path::{Path, PathBuf};

/// What `kvquant --help` says of the presets' costs.
const HELP: &str = "kvquant/presets/measured.txt";
/// What `kvquant bench decode` says of the plans' perplexities.
const PERPLEXITIES: &str = "kvquant/presets/perplexities.toml";
/// Losses below are beyond what a logarithmic axis can tell from nothing.
const LEAST_LOSS: f64 = 0.001;

pub fn generate(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let mut claims = Vec::new();
    let mut curves = Vec::new();
    for plans in Plans::of(Size::Full) {
        let part = match plans.model {
            SMOLLM2 => "kvquant-plans-smollm2",
            _ => "kvquant-plans-qwen",
        };
        let Some((record, metrics)) = read(&plans, runs)? else {
            claims.extend(pending(&plans, generated, &[part]));
            continue;
        };
        generated.parts.insert(part, Part::from(plans_table(&metrics)).source(&record));
        if plans.model == SMOLLM2 {
            let plot = curve(&metrics).to_svg()?.into_string();
            generated.files.insert(Path::new(FOLDER).join("plans.svg"), plot);
        }
        if plans.model == SMOLLM2 {
            generated.headlines.extend(headline(&metrics));
        }
        claims.extend(plans.judged(&metrics));
        curves.push((plans.model, metrics));
    }
    let presets = match curves.is_empty() {
        true => Part::pending(),
        false => presets_table(&curves).into(),
    };
    generated.parts.insert("kvquant-presets", presets);
    generated.files.insert(PathBuf::from(HELP), help(&curves));
    generated.files.insert(PathBuf::from(PERPLEXITIES), perplexities(&curves));
    generated.parts.insert("kvquant-searches", searches()?);
    claims.extend(ablations(runs, generated)?);
    claims.extend(needles(runs, generated)?);
    claims.extend(tasks(runs, generated)?);
    Ok(claims)
}

/// A preset's loss beside that of the paper's baseline.
fn headline(metrics: &PlansMetrics) -> Option<Headline> {
    let (preset, kivi) = (metrics.score("balanced")?, metrics.score("kivi-2")?);
    let bits = |score: &PlanScore| format!("{:.2} bits", score.bits_per_element);
    Some(Headline {
        system: "kvquant",
        what: format!(
            "perplexity of SmolLM2-135M after {} tokens with {} for each number of the cache, against 16 bits",
            metrics.context,
            bits(preset)
        ),
        here: loss(preset),
        beside: format!(
            "KIVI-2, the paper's baseline, with {}: {}",
            bits(kivi),
            percent(kivi.loss, 0)
        ),
    })
}

fn plans_table(metrics: &PlansMetrics) -> Table {
    let mut table = Table::new(&[
        ("kind", Align::Left),
        ("plan", Align::Left),
        ("bits per element", Align::Right),
        ("cache, bytes", Align::Right),
        ("perplexity", Align::Right),
        ("loss, 95 %", Align::Right),
    ]);
    for Family { name, scores } in &metrics.families {
        for score in scores {
            table.row([
                name.clone(),
                score.plan.clone(),
                format!("{:.2}", score.bits_per_element),
                (score.k_bytes + score.v_bytes).to_string(),
                perplexity(score),
                loss(score),
            ]);
        }
    }
    table
}

fn curve(metrics: &PlansMetrics) -> Plot {
    let title = format!("What bits cost: SmolLM2 at {} tokens", metrics.context);
    let plot = Plot::new(
        title,
        Axis::log10("bits per element, all told"),
        Axis::log10("perplexity over f16's, %"),
    );
    metrics.families.iter().skip(1).fold(plot, |plot, Family { name, scores }| {
        let mut scores: Vec<&PlanScore> = scores.iter().collect();
        scores.sort_by(|left, right| left.bits_per_element.total_cmp(&right.bits_per_element));
        let shown = |loss: f64| 100.0 * loss.max(LEAST_LOSS);
        let points =
            scores.iter().map(|score| (score.bits_per_element, shown(score.loss))).collect();
        let bounds =
            scores.iter().map(|score| (shown(score.loss_low), shown(score.loss_high))).collect();
        plot.series(Series::new(name, points).interval(Interval::Bars, bounds))
    })
}

/// Models and their curves.
type Curves = [(&'static str, PlansMetrics)];

fn presets_table(curves: &Curves) -> Table {
    let mut columns = vec![("preset".to_owned(), Align::Left)];
    for (model, metrics) in curves {
        columns.push((format!("{model}: bits at {} tokens", metrics.context), Align::Right));
        columns.push((format!("{model}: perplexity over f16's, 95 %"), Align::Right));
    }
    let columns: Vec<(&str, Align)> =
        columns.iter().map(|(name, align)| (name.as_str(), *align)).collect();
    let mut table = Table::new(&columns);
    for preset in Preset::ALL {
        let of_model = |(_, metrics): &(&str, PlansMetrics)| {
            let name = if preset == Preset::Exact { "f16".to_owned() } else { preset.to_string() };
            let score = metrics.score(&name);
            let cell = |of: &dyn Fn(&PlanScore) -> String| score.map_or_else(String::new, of);
            [cell(&|score| format!("{:.2}", score.bits_per_element)), cell(&loss)]
        };
        table.row([format!("`{preset}`")].into_iter().chain(curves.iter().flat_map(of_model)));
    }
    table
}

/// A line for each preset.
fn help(curves: &Curves) -> String {
    let mut text = String::new();
    for preset in Preset::ALL {
        let Some(budget) = preset.budget() else {
            text += "  exact            half precision: 16 bits\n";
            continue;
        };
        let costs: Vec<String> = curves
            .iter()
            .filter_map(|(model, metrics)| {
                let score = metrics.score(&preset.to_string())?;
                let context = metrics.context;
                Some(format!("{} on {model} ({context} tokens)", percent(score.loss, 1)))
            })
            .collect();
        let costs = match costs.is_empty() {
            true => "not measured yet".to_owned(),
            // Further models on lines of their own, where what is said of a preset begins.
            false => format!("perplexity {}", costs.join(&format!(",\n{:19}", ""))),
        };
        text += &format!(
            "  {:<16} {} bits at {} tokens: {costs}\n",
            preset.to_string(),
            budget.bits,
            budget.context
        );
    }
    text
}

/// A table for each model, and in it a number for each plan.
fn perplexities(curves: &Curves) -> String {
    let mut text = String::new();
    for (model, metrics) in curves {
        text += &format!("[\"{model}\"] # windows of {} tokens\n", metrics.context);
        for score in metrics.families.iter().flat_map(|family| &family.scores) {
            text += &format!("\"{}\" = {:.4}\n", score.plan, score.perplexity);
        }
    }
    text
}

/// What the searches found, and the commands that made them.
fn searches() -> anyhow::Result<Part> {
    let mut table = Table::new(&[
        ("model", Align::Left),
        ("preset", Align::Left),
        ("bits", Align::Right),
        ("divergence, nats", Align::Right),
        ("sum of its parts", Align::Right),
        ("best prefix plan, nats", Align::Right),
        ("its layers, keys/values", Align::Right),
        ("its bits", Align::Right),
        ("whole over sum, changed plans", Align::Right),
        ("tokens", Align::Right),
        ("search, s", Align::Right),
    ]);
    let mut commands = String::new();
    for (model, _) in Preset::models() {
        for preset in Preset::SEARCHED {
            let found = evidence(model, preset)?;
            let ratios = found.random.iter().map(|(sum, whole)| whole / sum);
            let (least, most) = ratios.fold((f64::INFINITY, 0.0_f64), |(least, most), ratio| {
                (least.min(ratio), most.max(ratio))
            });
            let prefix = found.prefix.as_ref();
            table.row([
                model.to_owned(),
                preset.to_string(),
                format!("{:.3}", found.bits),
                format!("{:.4}", found.measured),
                format!("{:.4}", found.expected),
                prefix.map_or_else(String::new, |prefix| format!("{:.4}", prefix.divergence)),
                prefix.map_or_else(String::new, |prefix| {
                    format!("{}/{}", prefix.key_layers, prefix.value_layers)
                }),
                prefix.map_or_else(String::new, |prefix| format!("{:.3}", prefix.bits)),
                format!("{least:.2} to {most:.2}"),
                found.tokens.to_string(),
                format!("{:.0}", found.seconds),
            ]);
            commands += &format!("$ {}\n", found.command);
        }
    }
    Ok(Part::from(table).code(commands))
}

fn ablations(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let parts = ["kvquant-ablations-keys", "kvquant-ablations-values", "kvquant-mixtures"];
    let Some((record, metrics)) = read(&Ablations, runs)? else {
        return Ok(pending(&Ablations, generated, &parts));
    };
    let mut mixtures = Table::new(&[
        ("bits of `small`", Align::Left),
        ("bits per element", Align::Right),
        ("perplexity", Align::Right),
        ("loss, 95 %", Align::Right),
    ]);
    for score in &metrics.mixed {
        let bits = format!("{:.2}", score.bits_per_element);
        mixtures.row([score.plan.clone(), bits, perplexity(score), loss(score)]);
    }
    let texts = [
        Part::from(side_table(&metrics, ["rtn1/f16", "rtn2/f16"])?).source(&record),
        side_table(&metrics, ["f16/rtn1", "f16/rtn2"])?.into(),
        mixtures.into(),
    ];
    generated.parts.extend(parts.into_iter().zip(texts));
    Ok(Ablations.judged(&metrics))
}

/// One side at 1 and at 2 bits, the other exact.
fn side_table(metrics: &AblationMetrics, formats: [&str; 2]) -> anyhow::Result<Table> {
    let mut table = Table::new(&[
        ("the paper's form and", Align::Left),
        ("1 bit: perplexity", Align::Right),
        ("loss, 95 %", Align::Right),
        ("2 bits: perplexity", Align::Right),
        ("loss, 95 %", Align::Right),
    ]);
    let [one, two] = formats.map(|formats| metrics.rows(formats));
    for ((options, one), (other, two)) in one.into_iter().zip(two) {
        anyhow::ensure!(options == other, "rows of 1 and 2 bits differ: {options}, {other}");
        let name =
            if options.is_empty() { "nothing else".to_owned() } else { format!("`{options}`") };
        table.row([name, perplexity(one), loss(one), perplexity(two), loss(two)]);
    }
    Ok(table)
}

fn needles(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let Some((record, metrics)) = read(&Needles, runs)? else {
        return Ok(pending(&Needles, generated, &["kvquant-needles"]));
    };
    let mut table = Table::new(&[
        ("plan", Align::Left),
        ("found", Align::Right),
        ("of", Align::Right),
        ("of f16's", Align::Right),
    ]);
    let exact = metrics.plans.first().context("needles without a plan")?.total();
    let prompts = metrics.lengths.len() * metrics.depths.len() * metrics.texts;
    for retrieval in &metrics.plans {
        let found = retrieval.total();
        table.row([
            format!("`{}`", retrieval.plan),
            found.to_string(),
            prompts.to_string(),
            format!("{:.0} %", 100.0 * found as f64 / exact.max(1) as f64),
        ]);
    }
    generated.parts.insert("kvquant-needles", Part::from(table).source(&record));
    for retrieval in &metrics.plans[..metrics.plans.len().min(2)] {
        let path = Path::new(FOLDER).join(format!("needles-{}.svg", retrieval.plan));
        generated.files.insert(path, heat_map(&metrics, retrieval).to_svg().into_string());
    }
    Ok(Needles.judged(&metrics))
}

fn heat_map(metrics: &NeedleMetrics, retrieval: &Retrieval) -> HeatMap {
    let part = |depth: usize| {
        let found = retrieval.found.iter().map(|found| found[depth]);
        found.map(|found| found as f64 / metrics.texts as f64).collect()
    };
    HeatMap {
        title: format!("Needles found with {}", retrieval.plan),
        columns: ("tokens".to_owned(), metrics.lengths.iter().map(usize::to_string).collect()),
        rows: (
            "depth".to_owned(),
            metrics.depths.iter().map(|depth| format!("{:.0} %", 100.0 * depth)).collect(),
        ),
        parts: (0..metrics.depths.len()).map(part).collect(),
    }
}

fn tasks(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let record = read(&Tasks, runs)?;
    let none = Vec::new();
    let tasks = record.as_ref().map_or(&none, |(_, metrics)| &metrics.tasks);
    let (short, long): (Vec<&TaskScores>, Vec<&TaskScores>) =
        tasks.iter().partition(|task| task.task.starts_with("TruthfulQA"));
    let with_source = |table: Table| match &record {
        Some((record, _)) => Part::from(table).source(record),
        None => Part::from(table).text("No record of ours yet."),
    };
    generated.parts.extend([
        ("kvquant-tasks-short", with_source(short_table(&short))),
        ("kvquant-tasks-long", with_source(long_table(&long))),
    ]);
    Ok(match &record {
        Some((_, metrics)) => Tasks.judged(metrics),
        None => Tasks.open_claims("no record yet"),
    })
}

/// Tables 1, 3, 4 and 5 beside ours.
fn short_table(tasks: &[&TaskScores]) -> Table {
    let paper = ["7B: plan", "TruthfulQA", "CoQA", "13B: plan", "TruthfulQA", "CoQA"];
    let mut table = task_columns(&paper, tasks);
    for (plan, small, scores, large) in PAPER_SHORT {
        let numbers = |scores: [f64; 2]| scores.map(|score| format!("{score:.2}"));
        let [truthful, coqa] = numbers(scores);
        let (large, [large_truthful, large_coqa]) =
            large.map_or_else(Default::default, |(plan, scores)| (plan, numbers(scores)));
        let paper =
            [small.to_owned(), truthful, coqa, large.to_owned(), large_truthful, large_coqa];
        table.row(paper.into_iter().chain(own_cells(plan, tasks)));
    }
    for preset in Preset::SEARCHED {
        let paper = vec![String::new(); paper.len()];
        table.row(paper.into_iter().chain(own_cells(&preset.to_string(), tasks)));
    }
    table
}

/// Tables 2 and 6 beside ours.
fn long_table(tasks: &[&TaskScores]) -> Table {
    let order = "TriviaQA / TREC / SAMSum / RepoBench-P / Qasper";
    let small = format!("7B: {order}");
    let paper = ["7B: plan", &small, "13B: plan", "13B: the same"];
    let mut table = task_columns(&paper, tasks);
    for (plan, sizes) in PAPER_LONG {
        let cells = sizes.into_iter().flat_map(|(plan, scores)| {
            [plan.to_owned(), scores.map(|score| format!("{score:.1}")).join(" / ")]
        });
        table.row(cells.chain(own_cells(plan, tasks)));
    }
    for preset in Preset::SEARCHED {
        let paper = vec![String::new(); paper.len()];
        table.row(paper.into_iter().chain(own_cells(&preset.to_string(), tasks)));
    }
    table
}

/// The paper's columns, our plan, and a column for each task of ours.
fn task_columns(paper: &[&str], tasks: &[&TaskScores]) -> Table {
    let mut columns: Vec<(String, Align)> =
        paper.iter().map(|name| ((*name).to_owned(), Align::Right)).collect();
    columns.push(("here: plan".to_owned(), Align::Left));
    for task in tasks {
        let signal = if task.has_signal { "" } else { ", no signal" };
        let chance = task.scores.first().map_or(0.0, |(_, score)| 100.0 * score.chance);
        columns.push((format!("{} (chance {chance:.1}{signal})", task.task), Align::Right));
    }
    let columns: Vec<(&str, Align)> =
        columns.iter().map(|(name, align)| (name.as_str(), *align)).collect();
    Table::new(&columns)
}

/// Our plan, and its score of each task; where f16 has no signal, f16's only.
fn own_cells(plan: &str, tasks: &[&TaskScores]) -> Vec<String> {
    let mut cells = vec![format!("`{plan}`")];
    for task in tasks {
        let is_shown = task.has_signal || plan == "f16";
        let score = task.score(plan).filter(|_| is_shown);
        cells.push(score.map_or_else(String::new, |score| {
            format!("{:.1} ± {:.1}", 100.0 * score.mean, 100.0 * score.standard_error)
        }));
    }
    cells
}
