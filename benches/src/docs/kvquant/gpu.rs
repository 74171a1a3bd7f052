//! Attention and a whole model on a GPU.

use super::{FOLDER, percent};
use crate::docs::part::Part;
use crate::docs::{Generated, pending};
use crate::experiment::{Experiment, read};
use crate::kvquant::{DecodeRow, GpuAttention, GpuAttentionMetrics, GpuModel, GpuModelMetrics};
use common::report::{Align, Axis, Claim, Plot, Series, Table};
use std::path::Path;

/// The batch whose speed is drawn.
const DRAWN_BATCH: usize = 8;

pub fn generate(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let mut claims = attention(runs, generated)?;
    claims.extend(model(runs, generated)?);
    Ok(claims)
}

fn attention(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let Some((record, metrics)) = read(&GpuAttention, runs)? else {
        return Ok(pending(&GpuAttention, generated, &["kvquant-gpu-attention"]));
    };
    let pytorch = metrics.pytorch.as_ref().map_or_else(
        || "PyTorch was not installed.".to_owned(),
        |version| format!("PyTorch {version}, the fastest of its kernels, rightmost."),
    );
    let text = format!(
        "{}, whose memory reads at {:.0} GB/s. {pytorch}",
        metrics.gpu,
        metrics.read_bytes_per_s / 1e9,
    );
    let part = Part::from(text).table(attention_table(&metrics)).source(&record);
    generated.parts.insert("kvquant-gpu-attention", part);
    Ok(GpuAttention.judged(&metrics))
}

fn attention_table(metrics: &GpuAttentionMetrics) -> Table {
    let columns = [
        "head",
        "queries",
        "context",
        "batch",
        "f16, us",
        "of the bandwidth",
        "8 bits",
        "4 bits",
        "2 bits",
        "of the bandwidth",
        "1 bit",
        "of the bandwidth",
        "PyTorch f16, us",
        "2 bits over it",
    ];
    let mut table = Table::new(&columns.map(|name| (name, Align::Right)));
    for row in &metrics.rows {
        let share = |bits| {
            row.format(bits).map_or_else(String::new, |format| {
                let speed = format.bytes as f64 / format.seconds;
                format!("{:.0} %", 100.0 * speed / metrics.read_bytes_per_s)
            })
        };
        let ratio = |bits| row.against_f16(bits).map_or_else(String::new, times);
        let us = |seconds: f64| format!("{:.1}", 1e6 * seconds);
        table.row([
            row.head_dim.to_string(),
            row.group_size.to_string(),
            row.context.to_string(),
            row.batch.to_string(),
            row.format(16).map_or_else(String::new, |format| us(format.seconds)),
            share(16),
            ratio(8),
            ratio(4),
            ratio(2),
            share(2),
            ratio(1),
            share(1),
            row.pytorch.as_ref().map_or_else(|| "-".to_owned(), |time| us(time.seconds)),
            row.pytorch
                .as_ref()
                .zip(row.format(2))
                .map_or_else(String::new, |(f16, ours)| times(f16.seconds / ours.seconds)),
        ]);
    }
    table
}

fn times(ratio: f64) -> String {
    format!("{ratio:.2}x")
}

fn model(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let Some((record, metrics)) = read(&GpuModel, runs)? else {
        let parts = ["kvquant-gpu-perplexity", "kvquant-gpu-decode"];
        return Ok(pending(&GpuModel, generated, &parts));
    };
    let mut perplexities = Table::new(&[
        ("plan", Align::Left),
        ("CPU", Align::Right),
        ("GPU", Align::Right),
        ("difference", Align::Right),
    ]);
    for one in &metrics.perplexities {
        perplexities.row([
            format!("`{}`", one.plan),
            format!("{:.4}", one.cpu),
            format!("{:.4}", one.gpu),
            percent(one.gpu / one.cpu - 1.0, 3),
        ]);
    }
    let decode = Part::from(decode_table(&metrics)).source(&record);
    generated.parts.insert("kvquant-gpu-perplexity", perplexities.into());
    generated.parts.insert("kvquant-gpu-decode", decode);
    let plot = decode_plot(&metrics).to_svg()?.into_string();
    generated.files.insert(Path::new(FOLDER).join("gpu-decode.svg"), plot);
    Ok(GpuModel.judged(&metrics))
}

/// Plans in columns.
fn decode_table(metrics: &GpuModelMetrics) -> Table {
    let plans: Vec<&str> = metrics.perplexities.iter().map(|one| one.plan.as_str()).collect();
    let mut columns =
        vec![("context".to_owned(), Align::Right), ("batch".to_owned(), Align::Right)];
    columns.extend(plans.iter().map(|plan| (format!("`{plan}`"), Align::Right)));
    columns.push(("reads `f16`, `balanced`".to_owned(), Align::Right));
    columns.push(("MiB of `f16`, `balanced`".to_owned(), Align::Right));
    let columns: Vec<(&str, Align)> =
        columns.iter().map(|(name, align)| (name.as_str(), *align)).collect();
    let mut table = Table::new(&columns);
    for (context, batch) in shapes(metrics) {
        let find = |plan: &str| {
            let mut rows = metrics.rows.iter();
            rows.find(|row| (row.context, row.batch) == (context, batch) && row.plan == plan)
        };
        let pair = ["f16", "balanced"].map(find);
        let both = |text: &dyn Fn(&DecodeRow) -> String| {
            pair.iter().flatten().map(|row| text(row)).collect::<Vec<_>>().join(", ")
        };
        let mut cells = vec![context.to_string(), batch.to_string()];
        cells.extend(plans.iter().map(|plan| {
            find(plan).map_or_else(String::new, |row| format!("{:.0}", row.tokens_per_s))
        }));
        cells.push(both(&|row| {
            row.prefill_tokens_per_s.map_or_else(|| "-".to_owned(), |speed| format!("{speed:.0}"))
        }));
        cells.push(both(&|row| format!("{:.1}", row.cache_bytes as f64 / f64::from(1 << 20))));
        table.row(cells);
    }
    table
}

/// Contexts and batches, in order.
fn shapes(metrics: &GpuModelMetrics) -> Vec<(usize, usize)> {
    let mut shapes: Vec<(usize, usize)> =
        metrics.rows.iter().map(|row| (row.context, row.batch)).collect();
    shapes.dedup();
    shapes
}

fn decode_plot(metrics: &GpuModelMetrics) -> Plot {
    let mut plot = Plot::new(
        format!("Decoding {DRAWN_BATCH} sequences of {} on {}", metrics.model, metrics.gpu),
        Axis::linear("tokens of context"),
        Axis::linear("tokens/s"),
    );
    for one in &metrics.perplexities {
        let rows =
            metrics.rows.iter().filter(|row| row.plan == one.plan && row.batch == DRAWN_BATCH);
        let points = rows.map(|row| (row.context as f64, row.tokens_per_s)).collect();
        plot = plot.series(Series::new(&one.plan, points));
    }
    plot
}
