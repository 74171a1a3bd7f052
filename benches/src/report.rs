//! The report of a run: one page with what the claims are held against, plots and tables.
//!
//! Plots and tables are those of docs/, made from the records of this run instead of the committed ones, so that a
//! reader sees the same things in both.

use crate::docs::{self, Generated, Part};
use common::report::{Align, Claim, Page, Provenance, Section, Svg, Table, Timestamp};
use std::path::Path;

/// What the page shows of a result, if the run has it.
struct Topic {
    title: &'static str,
    text: &'static str,
    /// Files of docs/ and their captions.
    figures: &'static [(&'static str, &'static str)],
    /// Generated parts of docs/.
    parts: &'static [&'static str],
}

const SYSTEMS: [&str; 3] = ["kvquant", "unicron", "longnn"];

const TOPICS: [Topic; 9] = [
    Topic {
        title: "kvquant: perplexity against bits",
        text: "A plan says how many bits each layer's keys and values get. Bits are all told: codes, scales, the \
               half-precision window and sinks.",
        figures: &[("docs/kvquant/plans.svg", "Loss over half precision against bits per element")],
        parts: &["kvquant-presets", "kvquant-memory"],
    },
    Topic {
        title: "kvquant: errors of keys and of values along the attention",
        text: "The paper's observation: an error of keys passes through the softmax, one of values doesn't.",
        figures: &[
            ("docs/kvquant/errors-by-layer.svg", "Squared error over square, by layer"),
            (
                "docs/kvquant/asymmetry.svg",
                "Perplexity with high bits on l layers of keys, or of values",
            ),
        ],
        parts: &["kvquant-errors"],
    },
    Topic {
        title: "kvquant: decoding speed against context",
        text: "Beside the same model with its cache in half precision, and llama.cpp where it is at hand.",
        figures: &[("docs/kvquant/speed.svg", "Tokens per second against the tokens before")],
        parts: &["kvquant-speed", "kvquant-attention"],
    },
    Topic {
        title: "unicron: accumulated weighted FLOP/s under failures",
        text: "All policies on the same failures, their own detection and recovery times.",
        figures: &[
            ("docs/unicron/trace-a.svg", "The paper's trace-a"),
            ("docs/unicron/trace-b.svg", "The paper's trace-b"),
        ],
        parts: &["unicron-trace-a", "unicron-trace-b"],
    },
    Topic {
        title: "unicron: failures that real clusters had",
        text: "348 days of 400 servers as they were recorded, and the interruptions of Llama 3's run by their counts.",
        figures: &[
            ("docs/unicron/infinitehbd.svg", "InfiniteHBD's trace"),
            ("docs/unicron/llama3.svg", "Llama 3's interruptions"),
        ],
        parts: &["unicron-infinitehbd", "unicron-llama3"],
    },
    Topic {
        title: "unicron: recovery of a live cluster",
        text: "Real processes, in which faults are injected.",
        figures: &[("docs/unicron/recovery.svg", "From a fault to the next committed iteration")],
        parts: &["unicron-detection", "unicron-pytorch-recovery"],
    },
    Topic {
        title: "longnn: bases and the filters that they fit",
        text: "",
        figures: &[
            ("docs/longnn/bases.svg", "Largest values of the basis"),
            ("docs/longnn/fitted-filters.svg", "Given filters, fitted"),
        ],
        parts: &["longnn-fits"],
    },
    Topic {
        title: "longnn: learned filters over the spectral density",
        text: "What the model made of each graph; the shaded curve is how many eigenvalues there are.",
        figures: &[
            ("docs/longnn/cora.svg", "Cora"),
            ("docs/longnn/chameleon.svg", "Chameleon"),
            ("docs/longnn/squirrel.svg", "Squirrel"),
        ],
        parts: &[],
    },
    Topic {
        title: "longnn: accuracy of all models",
        text: "Mean test accuracy in percent, with its standard deviation over the splits.",
        figures: &[],
        parts: &["longnn-models", "longnn-lon"],
    },
];

/// The page for the records in a folder.
///
/// # Errors
/// If a record in it can't be read.
pub fn page(records: &Path, claims: &[Claim], provenance: &Provenance) -> anyhow::Result<Page> {
    let mut generated = docs::from_records(records)?;
    let lead = "What the papers claim, what came out here, and what it looks like.";
    let mut page = Page::new("Three systems papers, reproduced", lead);
    for system in SYSTEMS {
        if let Some(section) = claims_of(system, claims) {
            page = page.section(section);
        }
        for topic in TOPICS.iter().filter(|topic| topic.title.starts_with(system)) {
            if let Some(section) = topic.section(&mut generated) {
                page = page.section(section);
            }
        }
    }
    Ok(page.section(origin(provenance)))
}

/// The claims of a system that the run speaks to, and how many others there are.
fn claims_of(system: &str, claims: &[Claim]) -> Option<Section> {
    let of_system: Vec<&Claim> = claims.iter().filter(|claim| claim.system == system).collect();
    let is_open = |claim: &&&Claim| claim.here.is_empty();
    // Long cells: all are text.
    let columns = ["claim", "paper", "here", "verdict"].map(|name| (name, Align::Left));
    let mut table = Table::new(&columns);
    for claim in of_system.iter().filter(|claim| !is_open(claim)) {
        table.row([&claim.claim, &claim.promise(), &claim.here, &claim.verdict.to_string()]);
    }
    let n_open = of_system.iter().filter(is_open).count();
    let mut section = Section::new(format!("{system}: claims"));
    if !table.rows().is_empty() {
        section = section
            .table(table, "\"goal:\" marks what this repository has set itself, beyond the paper.");
    }
    if n_open > 0 {
        section = section.text(format!(
            "{n_open} more were not judged: they take a full run, a GPU or another program; docs/claims.md has them all."
        ));
    }
    (!of_system.is_empty()).then_some(section)
}

impl Topic {
    /// Nothing if the run has nothing of it.
    fn section(&self, generated: &mut Generated) -> Option<Section> {
        let mut section = Section::new(self.title);
        if !self.text.is_empty() {
            section = section.text(self.text);
        }
        let mut is_empty = true;
        for (path, caption) in self.figures {
            if let Some(svg) = generated.files.remove(Path::new(path)) {
                section = section.figure(Svg::trusted(svg), *caption);
                is_empty = false;
            }
        }
        for part in self.parts {
            let part = generated.parts.remove(part).filter(|part| !part.is_pending());
            for block in part.into_iter().flat_map(Part::into_blocks) {
                section = section.block(block);
                is_empty = false;
            }
        }
        (!is_empty).then_some(section)
    }
}

/// What the results come from.
fn origin(provenance: &Provenance) -> Section {
    let Provenance { command, commit, dirty, host, versions } = provenance;
    let commit = commit.as_deref().unwrap_or("no commit");
    let changes = if *dirty { ", with changes that are in no commit" } else { "" };
    let gibibytes = host.memory_bytes as f64 / (1u64 << 30) as f64;
    Section::new("Where this comes from").code(command.clone()).text(format!(
        "Commit {commit}{changes}; {}, {}. {}, {} logical cores, {gibibytes:.0} GiB of memory, {}. {}.",
        versions.program,
        versions.rustc,
        host.cpu,
        host.logical_cores,
        host.os,
        Timestamp::now(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::command::workspace_root;
    use common::report::escape;

    fn claims() -> Vec<Claim> {
        vec![Claim::of_paper("unicron", "a <claim>", "1").judged("2", false)]
    }

    fn html(records: &Path) -> String {
        let provenance = common::command::provenance("benches 0.1.0");
        page(records, &claims(), &provenance).unwrap().to_html()
    }

    #[test]
    fn committed_records_fill_every_topic() {
        let html = html(&workspace_root().unwrap().join("benches/runs"));
        for topic in &TOPICS {
            assert!(html.contains(topic.title), "{}", topic.title);
            for (path, caption) in topic.figures {
                assert!(html.contains(&escape(caption)), "{path}");
            }
        }
        assert!(html.contains("a &lt;claim&gt;"));
        // It is one file: nothing is loaded from elsewhere.
        for loads in ["<script", "<link", "<img", "src=", "url(", "@import"] {
            assert!(!html.contains(loads), "{loads}");
        }
    }

    #[test]
    fn a_run_without_records_has_its_claims() {
        let folder = tempfile::tempdir().unwrap();
        let html = html(folder.path());
        assert!(html.contains("a &lt;claim&gt;") && !html.contains(TOPICS[0].title), "{html}");
    }
}
