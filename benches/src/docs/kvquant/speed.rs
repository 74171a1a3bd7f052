//! Attention and a whole model on the CPU: speed and memory.

use super::{FOLDER, percent};
use crate::docs::part::Part;
use crate::docs::{Generated, part, pending};
use crate::experiment::{Experiment, read};
use crate::kvquant::{
    Attention, AttentionMetrics, Decode, DecodeMetrics, Fused, FusedMetrics, Plans, PlansMetrics,
    Resident, ResidentMetrics, SMOLLM2,
};
use common::report::{Align, Axis, Claim, Plot, Series, Table};
use std::path::Path;

const MIB: f64 = (1 << 20) as f64;

pub fn generate(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let mut claims = part(&Attention, "kvquant-attention", runs, generated, |record, metrics| {
        let text = format!(
            "{}, memory that one thread reads at {:.1} GB/s:",
            metrics.instructions,
            metrics.read_bytes_per_s / 1e9
        );
        Part::from(text).table(attention_table(metrics)).source(record)
    })?;
    claims.extend(decode(runs, generated)?);
    claims.extend(part(&Fused, "kvquant-fused", runs, generated, |record, metrics| {
        let FusedMetrics { context, windows, .. } = metrics;
        let text = format!(
            "{windows} windows of {context} tokens of WikiText-2 raw's test set, single-precision weights:"
        );
        Part::from(text).table(fused_table(metrics)).source(record)
    })?);
    claims.extend(part(&Resident, "kvquant-held", runs, generated, |record, metrics| {
        Part::from(memory_table(metrics)).source(record)
    })?);
    Ok(claims)
}

/// Times of half precision, and for the others how many times as fast they are.
fn attention_table(metrics: &AttentionMetrics) -> Table {
    let shape = ["head", "queries", "tokens", "threads"].map(|name| (name, Align::Right));
    let numbers = ["of the bandwidth", "over f16", "bits per element"];
    let numbers = numbers.map(|name| (name, Align::Right));
    let cache = [("cache", Align::Left), ("ms", Align::Right)];
    let mut table = Table::new(&[&shape[..], &cache, &numbers].concat());
    for row in &metrics.rows {
        let half = row.format("f16").map_or(f64::NAN, |half| half.bytes as f64);
        for format in &row.formats {
            let share = format.bytes as f64 / format.seconds / metrics.read_bytes_per_s;
            table.row([
                row.head_dim.to_string(),
                row.group_size.to_string(),
                row.context.to_string(),
                row.threads.to_string(),
                format!("`{}`", format.name),
                format!("{:.2}", 1e3 * format.seconds),
                format!("{:.0} %", 100.0 * share / row.threads as f64),
                row.against_f16(&format.name).map_or_else(String::new, |x| format!("{x:.2}x")),
                format!("{:.2}", 16.0 * format.bytes as f64 / half),
            ]);
        }
    }
    table
}

fn fused_table(metrics: &FusedMetrics) -> Table {
    let mut table = Table::new(&[
        ("cache", Align::Left),
        ("plain loops", Align::Right),
        ("fused", Align::Right),
        ("difference", Align::Right),
    ]);
    for row in &metrics.plans {
        table.row([
            format!("`{}`", row.plan),
            format!("{:.3}", row.by_reference),
            format!("{:.3}", row.fused),
            format!("{:+.3} %", row.difference()),
        ]);
    }
    table
}

fn decode(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let Some((record, metrics)) = read(&Decode, runs)? else {
        let parts = ["kvquant-speed", "kvquant-weights"];
        return Ok(pending(&Decode, generated, &parts));
    };
    let quality = read(&Plans { model: SMOLLM2 }, runs)?.map(|(_, quality)| quality);
    generated.parts.extend([
        ("kvquant-speed", speed(&metrics, quality.as_ref()).source(&record)),
        ("kvquant-weights", Part::from(weights_table(&metrics)).source(&record)),
    ]);
    let plot = plot(&metrics).to_svg()?.into_string();
    generated.files.insert(Path::new(FOLDER).join("speed.svg"), plot);
    Ok(Decode.judged(&metrics))
}

fn memory_table(metrics: &ResidentMetrics) -> Table {
    let mut table = Table::new(&[("", Align::Left), ("MiB", Align::Right)]);
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / MIB);
    let mut row = |what: String, bytes: u64| {
        table.row([what, mib(bytes)]);
    };
    row("the file".to_owned(), metrics.file_bytes);
    row("the process before loading it".to_owned(), metrics.before);
    row("and after".to_owned(), metrics.loaded);
    for held in [&metrics.short, &metrics.long] {
        let planned = mib(held.planned);
        row(format!("with {} tokens, planned {planned} for them", held.context), held.by_process);
    }
    if let Some(bytes) = metrics.llama_cpp {
        row(format!("llama.cpp with an f16 cache of {} tokens", metrics.long.context), bytes);
    }
    table
}

fn speed(metrics: &DecodeMetrics, quality: Option<&PlansMetrics>) -> Part {
    let score = |plan: &str| quality.and_then(|quality| quality.score(plan));
    let mut table = Table::new(&[
        ("cache", Align::Left),
        ("context", Align::Right),
        ("tokens/s", Align::Right),
        ("over llama.cpp's f16", Align::Right),
        ("of the bandwidth", Align::Right),
        ("reading, tokens/s", Align::Right),
        ("cache, MiB", Align::Right),
        ("perplexity at 8,192 tokens", Align::Right),
    ]);
    let half = |context| metrics.peers.iter().find(|row| row.kv == "f16" && row.context == context);
    let over = |speed: f64, context| {
        half(context).map_or_else(String::new, |half| format!("{:.2}x", speed / half.tokens_per_s))
    };
    for row in &metrics.rows {
        let bytes = (metrics.weights_bytes + row.cache_bytes) as f64;
        table.row([
            format!("`{}`", row.plan),
            row.context.to_string(),
            format!("{:.1}", row.tokens_per_s),
            over(row.tokens_per_s, row.context),
            format!("{:.0} %", 100.0 * bytes * row.tokens_per_s / metrics.read_bytes_per_s),
            row.prefill_tokens_per_s.map_or_else(String::new, |speed| format!("{speed:.0}")),
            format!("{:.1}", row.cache_bytes as f64 / MIB),
            score(&row.plan).map_or_else(String::new, super::perplexity),
        ]);
    }
    for row in &metrics.peers {
        table.row([
            format!("llama.cpp, {}", row.kv),
            row.context.to_string(),
            format!("{:.1}", row.tokens_per_s),
            over(row.tokens_per_s, row.context),
            String::new(),
            format!("{:.0}", row.prefill_tokens_per_s),
            String::new(),
            String::new(),
        ]);
    }
    let text = format!(
        "{} threads, memory that reads at {:.1} GB/s, weights of {:.1} MiB read for each token:",
        metrics.threads,
        metrics.read_bytes_per_s / 1e9,
        metrics.weights_bytes as f64 / MIB,
    );
    Part::from(text).table(table)
}

fn weights_table(metrics: &DecodeMetrics) -> Table {
    let mut table = Table::new(&[
        ("weights", Align::Left),
        ("tokens/s", Align::Right),
        ("reading, tokens/s", Align::Right),
        ("decoding, against auto", Align::Right),
    ]);
    let default = metrics.weights.first().map_or(f64::NAN, |row| row.tokens_per_s);
    for row in &metrics.weights {
        table.row([
            format!("`{}`", row.weights),
            format!("{:.1}", row.tokens_per_s),
            format!("{:.0}", row.prefill_tokens_per_s),
            percent(row.tokens_per_s / default - 1.0, 0),
        ]);
    }
    table
}

fn plot(metrics: &DecodeMetrics) -> Plot {
    let mut plot = Plot::new(
        format!("Decoding SmolLM2 on {} CPU threads", metrics.threads),
        Axis::linear("tokens of context"),
        Axis::linear("tokens/s"),
    );
    let mut plans: Vec<&str> = metrics.rows.iter().map(|row| row.plan.as_str()).collect();
    plans.sort_unstable();
    plans.dedup();
    for plan in plans {
        let rows = metrics.rows.iter().filter(|row| row.plan == plan);
        let points = rows.map(|row| (row.context as f64, row.tokens_per_s)).collect();
        plot = plot.series(Series::new(plan, points));
    }
    for kv in ["f16", "q4_0"] {
        let rows = metrics.peers.iter().filter(|row| row.kv == kv);
        let points: Vec<(f64, f64)> =
            rows.map(|row| (row.context as f64, row.tokens_per_s)).collect();
        if !points.is_empty() {
            plot = plot.series(Series::new(format!("llama.cpp, {kv}"), points));
        }
    }
    plot
}
