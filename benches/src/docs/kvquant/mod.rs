//! The generated parts of kvquant's pages.

mod gpu;
mod plans;
mod speed;

use super::part::Part;
use super::{Generated, part, pending};
use crate::experiment::{Experiment, Size, read};
use crate::kvquant::{
    AnchorMetrics, Anchors, Asymmetry, AsymmetryMetrics, Errors, Memory, MemoryMetrics, PlanScore,
    SMOLLM2,
};
use common::report::{Align, Axis, Claim, Interval, Plot, Series, Table, claims_table};
use kvquant::analysis::figures::{self, STEPS};
use std::path::Path;

const FOLDER: &str = "docs/kvquant";
const SMALL: Asymmetry = Asymmetry { model: SMOLLM2 };

/// Reads the newest records below `runs` and adds what they say.
pub fn generate(runs: &Path, generated: &mut Generated) -> anyhow::Result<()> {
    let claims: Vec<Claim> = [
        part(&Memory, "kvquant-memory", runs, generated, |record, metrics| {
            Part::from(memory_table(metrics)).source(record)
        })?,
        anchors(runs, generated)?,
        asymmetry(runs, generated)?,
        second_model(runs, generated)?,
        errors(runs, generated)?,
        plans::generate(runs, generated)?,
        speed::generate(runs, generated)?,
        gpu::generate(runs, generated)?,
    ]
    .concat();
    generated.parts.insert("kvquant-claims", claims_table(&claims).into());
    generated.claims.extend(claims);
    Ok(())
}

fn anchors(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let parts = ["kvquant-windows", "kvquant-llama-cpp"];
    let Some((record, metrics)) = read(&Anchors, runs)? else {
        return Ok(pending(&Anchors, generated, &parts));
    };
    let texts = [window_table(&metrics), format_table(&metrics)];
    let texts = texts.map(|table| Part::from(table).source(&record));
    generated.parts.extend(parts.into_iter().zip(texts));
    Ok(Anchors.judged(&metrics))
}

fn asymmetry(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let parts = ["kvquant-asymmetry", "kvquant-asymmetry-verdict", "kvquant-one-side"];
    let Some((record, metrics)) = read(&SMALL, runs)? else {
        return Ok(pending(&SMALL, generated, &parts));
    };
    let texts = [
        Part::from(asymmetry_table(&metrics)).source(&record),
        asymmetry_verdict(&metrics).into(),
        Part::from(one_side_table(&metrics)).source(&record),
    ];
    generated.parts.extend(parts.into_iter().zip(texts));
    let plot = asymmetry_plot(&metrics).to_svg()?.into_string();
    generated.files.insert(Path::new(FOLDER).join("asymmetry.svg"), plot);
    Ok(SMALL.judged(&metrics))
}

/// The same sweep on the second model.
fn second_model(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let mut claims = Vec::new();
    for asymmetry in Asymmetry::of(Size::Full) {
        if asymmetry.model == SMOLLM2 {
            continue;
        }
        let parts = ["kvquant-asymmetry-qwen", "kvquant-asymmetry-qwen-verdict"];
        let Some((record, metrics)) = read(&asymmetry, runs)? else {
            claims.extend(pending(&asymmetry, generated, &parts));
            continue;
        };
        let texts = [
            Part::from(asymmetry_table(&metrics)).source(&record),
            asymmetry_verdict(&metrics).into(),
        ];
        generated.parts.extend(parts.into_iter().zip(texts));
        claims.extend(asymmetry.judged(&metrics));
    }
    Ok(claims)
}

/// Figures 1 and 2.
fn errors(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let Some((record, metrics)) = read(&Errors, runs)? else {
        return Ok(pending(&Errors, generated, &["kvquant-errors"]));
    };
    let mut table = Table::new(&[("", Align::Left), ("squared error over square", Align::Right)]);
    for (name, error) in STEPS {
        table.row([name.to_owned(), format!("{:.4}", metrics.mean(error))]);
    }
    generated.parts.insert("kvquant-errors", Part::from(table).source(&record));
    let mut draw = |name: &str, plot: &Plot| -> anyhow::Result<()> {
        let path = Path::new(FOLDER).join(name);
        generated.files.insert(path, plot.to_svg()?.into_string());
        Ok(())
    };
    draw("errors-by-layer.svg", &figures::by_layer(&metrics.heads))?;
    for (at, plot) in figures::spreads(&metrics.heads).iter().enumerate() {
        draw(&format!("spread-{}.svg", at + 1), plot)?;
    }
    Ok(Errors.judged(&metrics))
}

fn memory_table(metrics: &MemoryMetrics) -> Table {
    let mut table = Table::new(&[
        ("model", Align::Left),
        ("plan", Align::Left),
        ("batch", Align::Right),
        ("paper, GB", Align::Right),
        ("here, GiB", Align::Right),
        ("with the window, GiB", Align::Right),
        ("whole cache, GiB", Align::Right),
        ("KIVI-2, GiB", Align::Right),
        ("f16, GiB", Align::Right),
    ]);
    let gib = |bytes: u64| format!("{:.2}", bytes as f64 / (1u64 << 30) as f64);
    for saving in &metrics.savings {
        table.row([
            saving.model.clone(),
            saving.plan.clone(),
            saving.batch.to_string(),
            format!("{:.1}", saving.paper_gb),
            format!("{:.2}", saving.gib_without_window),
            format!("{:.2}", saving.gib_with_window),
            gib(saving.cache_bytes),
            gib(saving.kivi_bytes),
            gib(saving.f16_bytes),
        ]);
    }
    table
}

fn window_table(metrics: &AnchorMetrics) -> Table {
    let mut table = Table::new(&[
        ("weights", Align::Left),
        ("window", Align::Right),
        ("numpy", Align::Right),
        ("here", Align::Right),
        ("difference", Align::Right),
    ]);
    for window in &metrics.windows {
        table.row([
            window.weights.clone(),
            window.window.to_string(),
            format!("{:.3}", window.reference),
            format!("{:.3}", window.here),
            percent(window.here / window.reference - 1.0, 2),
        ]);
    }
    table
}

fn format_table(metrics: &AnchorMetrics) -> Table {
    let mut table = Table::new(&[
        ("cache K/V", Align::Left),
        ("bits per element", Align::Right),
        ("llama.cpp", Align::Right),
        ("its loss", Align::Right),
        ("here", Align::Right),
        ("loss here", Align::Right),
        ("asked for", Align::Right),
        ("verdict", Align::Left),
    ]);
    for anchor in &metrics.formats {
        table.row([
            anchor.score.plan.clone(),
            format!("{:.1}", anchor.score.bits_per_element),
            format!("{:.3}", anchor.reference),
            percent(anchor.reference_loss, 1),
            format!("{:.3}", anchor.score.perplexity),
            percent(anchor.score.loss, 1),
            format!("within {} points", anchor.tolerance_points),
            (if anchor.holds() { "holds" } else { "differs" }).to_owned(),
        ]);
    }
    table
}

fn asymmetry_table(metrics: &AsymmetryMetrics) -> Table {
    let mut table = Table::new(&[
        ("l", Align::Right),
        ("l/0: perplexity", Align::Right),
        ("loss, 95 %", Align::Right),
        ("K + V, bytes", Align::Right),
        ("0/l: perplexity", Align::Right),
        ("loss, 95 %", Align::Right),
        ("K + V, bytes", Align::Right),
        ("better", Align::Left),
    ]);
    for l in 0..=metrics.n_layers {
        let Some((keys, values)) = metrics.pair(l) else { continue };
        let better = match (metrics.works(keys) || metrics.works(values), l) {
            (_, 0) => "the same plan",
            (false, _) if keys.perplexity < values.perplexity => "(collapsed) l/0",
            (false, _) => "(collapsed) 0/l",
            (true, _) if keys.perplexity < values.perplexity => "l/0",
            (true, _) => "0/l",
        };
        let cells = [keys, values].map(|score| {
            [perplexity(score), loss(score), format!("{} + {}", score.k_bytes, score.v_bytes)]
        });
        let row = [l.to_string()].into_iter().chain(cells.into_iter().flatten());
        table.row(row.chain([better.to_owned()]));
    }
    table
}

fn asymmetry_verdict(metrics: &AsymmetryMetrics) -> String {
    let pairs: Vec<_> =
        (1..=metrics.n_layers).filter_map(|l| Some((l, metrics.pair(l)?))).collect();
    let list = |ls: Vec<usize>| match ls.is_empty() {
        true => "none".to_owned(),
        false => ls.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
    };
    let judged: Vec<_> = pairs
        .iter()
        .filter(|(_, (keys, values))| metrics.works(keys) || metrics.works(values))
        .collect();
    let holding: Vec<usize> = judged
        .iter()
        .filter(|(_, (keys, values))| keys.loss_high < values.loss_low)
        .map(|(l, _)| *l)
        .collect();
    let reversed: Vec<usize> = pairs
        .iter()
        .filter(|(_, (keys, values))| keys.perplexity > values.perplexity)
        .map(|(l, _)| *l)
        .collect();
    format!(
        "Judged, because a side is below 10x the perplexity of f16 ({:.2}): l = {}. There the high \
         bits do more on the keys, beyond the confidence intervals, for l = {}. Reversals, anywhere \
         in the sweep: l = {}.",
        metrics.scores[0].perplexity,
        list(judged.iter().map(|(l, _)| *l).collect()),
        list(holding),
        list(reversed),
    )
}

fn one_side_table(metrics: &AsymmetryMetrics) -> Table {
    let mut table = Table::new(&[
        ("cache", Align::Left),
        ("plan", Align::Left),
        ("perplexity", Align::Right),
        ("loss, 95 %", Align::Right),
        ("bits per element", Align::Right),
    ]);
    for (name, plan) in [
        ("half precision", "f16"),
        ("keys and values 2 bits (KIVI-2)", "kivi-2"),
        ("keys 1 bit, values half precision", "rtn1/f16"),
        ("keys half precision, values 1 bit", "f16/rtn1"),
    ] {
        let Some(score) = metrics.score(plan) else { continue };
        table.row([
            name.to_owned(),
            format!("`{plan}`"),
            perplexity(score),
            loss(score),
            format!("{:.2}", score.bits_per_element),
        ]);
    }
    table
}

fn asymmetry_plot(metrics: &AsymmetryMetrics) -> Plot {
    let f16 = &metrics.scores[0];
    let curve = |label: &str, side: fn((&PlanScore, &PlanScore)) -> PlanScore| {
        let scores: Vec<(usize, PlanScore)> =
            (0..=metrics.n_layers).filter_map(|l| Some((l, side(metrics.pair(l)?)))).collect();
        let points = scores.iter().map(|(l, score)| (*l as f64, score.perplexity)).collect();
        let bounds = scores
            .iter()
            .map(|(_, score)| {
                let base = f16.perplexity;
                (base * (1.0 + score.loss_low), base * (1.0 + score.loss_high))
            })
            .collect();
        Series::new(label, points).interval(Interval::Band, bounds)
    };
    let flat = vec![(0.0, f16.perplexity), (metrics.n_layers as f64, f16.perplexity)];
    Plot::new(
        "Perplexity with 2 bits for the keys or for the values of the first l layers",
        Axis::linear("l, layers with 2 bits on one side (all else 1 bit)"),
        Axis::log10("perplexity, WikiText-2"),
    )
    .series(curve("l/0: 2-bit keys", |(keys, _)| keys.clone()))
    .series(curve("0/l: 2-bit values", |(_, values)| values.clone()))
    .series(Series::new("f16", flat).without_markers())
}

/// Four digits that mean something.
fn perplexity(score: &PlanScore) -> String {
    match score.perplexity {
        small if small < 100.0 => format!("{small:.2}"),
        large => format!("{large:.0}"),
    }
}

/// A loss and its interval: in per cent, or as a multiple where per cent says nothing.
fn loss(score: &PlanScore) -> String {
    let PlanScore { loss, loss_low, loss_high, .. } = *score;
    if loss == 0.0 && loss_low == 0.0 {
        return "-".to_owned();
    }
    match loss < COUNT_IN_MULTIPLES {
        true => {
            format!("{} ({} to {})", percent(loss, 1), percent(loss_low, 1), percent(loss_high, 1))
        }
        false => {
            let times = |loss| format!("x{:.1}", 1.0 + loss);
            format!("{} ({} to {})", times(loss), times(loss_low), times(loss_high))
        }
    }
}

const COUNT_IN_MULTIPLES: f64 = 2.0;

fn percent(fraction: f64, digits: usize) -> String {
    format!("{:+.digits$} %", 100.0 * fraction)
}
