//! `cargo reproduce docs`: the parts of the documentation that are generated from records and from code.
//!
//! A page marks such a part, and only what lies between the marks is written:
//!
//! ```text
//! <!-- generated: kvquant-memory -->
//! ...
//! <!-- end of generated -->
//! ```
//!
//! A part whose name is a command, `$ kvquant memory --kv kivi-2`, holds what that command prints; one whose name
//! is a file, `file kvquant/examples/plan.toml`, holds the file. Plots are files of their own beside the page.
//! `--check` writes nothing and fails where a page or a plot is not what records and code say. What people have
//! written is held against the repository as well: links lead somewhere, commands and their options exist.

mod check;
mod commands;
mod headlines;
mod kvquant;
mod longnn;
mod part;
mod reference;
mod unicron;

use crate::experiment::{self, Experiment};
use anyhow::{Context, bail};
use clap::Args;
use common::command::{print, workspace_root};
use common::report::{Claim, Record};
pub use part::Part;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- generated: ";
const END: &str = "<!-- end of generated -->";

/// Write the generated parts of README.md and docs/ from the committed records and the programs; check the rest
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cargo reproduce docs --check")]
pub struct Docs {
    /// Write nothing; fail if anything is stale, a link is dead or a command unknown
    #[arg(long)]
    check: bool,
}

/// What the records say: text for marked parts by name, and whole files by path.
#[derive(Debug, Default)]
pub struct Generated {
    pub parts: BTreeMap<&'static str, Part>,
    pub files: BTreeMap<PathBuf, String>,
    /// Of all systems.
    claims: Vec<Claim>,
    /// One figure a system.
    headlines: Vec<headlines::Headline>,
}

impl Docs {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let root = workspace_root().context("run this inside the workspace")?;
        let mut generated = from_records(&root.join("benches/runs"))?;
        headlines::generate(&mut generated);
        let parts = generated.parts.iter().map(|(&name, part)| (name, part.to_markdown()));
        let parts: BTreeMap<&str, String> = parts.chain(reference::parts()).collect();
        let mut stale = Vec::new();
        for page in pages(&root)? {
            let text = read(&page)?;
            let fresh =
                replace_parts(&text, &root, &parts).with_context(|| page.display().to_string())?;
            if fresh != text {
                stale.push((page, fresh));
            }
        }
        for (path, fresh) in generated.files {
            let path = root.join(path);
            if read(&path).ok().as_ref() != Some(&fresh) {
                stale.push((path, fresh));
            }
        }
        let name = |path: &Path| path.strip_prefix(&root).unwrap_or(path).display().to_string();
        if self.check && !stale.is_empty() {
            let names: Vec<String> = stale.iter().map(|(path, _)| name(path)).collect();
            let names = names.join(", ");
            bail!("not what records and programs say: {names}; run cargo reproduce docs");
        }
        for (path, fresh) in stale {
            std::fs::write(&path, fresh)
                .with_context(|| format!("can't write {}", path.display()))?;
            print(&format!("wrote {}\n", name(&path)))?;
        }
        check::run(&root)
    }
}

/// What the newest records below `runs` say, or those in it.
///
/// # Errors
/// If a record can't be read.
pub fn from_records(runs: &Path) -> anyhow::Result<Generated> {
    let mut generated = Generated::default();
    kvquant::generate(runs, &mut generated)?;
    longnn::generate(runs, &mut generated)?;
    unicron::generate(runs, &mut generated)?;
    Ok(generated)
}

/// README.md and every Markdown file below docs/.
fn pages(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut pages = vec![root.join("README.md")];
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("can't read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))
}

/// The page with what lies between each pair of marks replaced.
fn replace_parts(
    text: &str,
    root: &Path,
    parts: &BTreeMap<&str, String>,
) -> anyhow::Result<String> {
    let mut fresh = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find(BEGIN) {
        let after = &rest[begin + BEGIN.len()..];
        let (name, after) = after.split_once(" -->").context("a mark without an end: -->")?;
        let (_, after) = after.split_once(END).with_context(|| format!("{name}: no {END}"))?;
        let part = match name.split_once(' ') {
            Some(("$", command)) => commands::output(root, command)?,
            Some(("file", path)) => reference::file(root, path)?,
            _ => parts.get(name).with_context(|| format!("no such part: {name}"))?.clone(),
        };
        fresh.push_str(&rest[..begin]);
        fresh.push_str(&format!("{BEGIN}{name} -->\n\n{}\n\n{END}", part.trim_end()));
        rest = after;
    }
    Ok(fresh + rest)
}

/// Parts of pages that have no record yet; the claims that are open for want of it.
fn pending<E: Experiment>(
    experiment: &E,
    generated: &mut Generated,
    parts: &[&'static str],
) -> Vec<Claim> {
    generated.parts.extend(parts.iter().map(|&part| (part, Part::pending())));
    experiment.open_claims("no record yet")
}

/// The one part of a page that an experiment's newest record below `runs` fills, and its claims.
fn part<E: Experiment>(
    experiment: &E,
    name: &'static str,
    runs: &Path,
    generated: &mut Generated,
    part: impl FnOnce(&Record, &E::Metrics) -> Part,
) -> anyhow::Result<Vec<Claim>> {
    let Some((record, metrics)) = experiment::read(experiment, runs)? else {
        return Ok(pending(experiment, generated, &[name]));
    };
    generated.parts.insert(name, part(&record, &metrics));
    Ok(experiment.judged(&metrics))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marked_parts_change() {
        let parts = BTreeMap::from([("a", "new\n".to_owned())]);
        let page = |part: &str| format!("# T\n{BEGIN}a -->\n\n{part}\n\n{END}\ntail\n");
        assert_eq!(replace_parts(&page("old"), Path::new(""), &parts).unwrap(), page("new"));
        assert_eq!(replace_parts("no marks", Path::new(""), &parts).unwrap(), "no marks");
    }

    #[test]
    fn bad_marks_are_named() {
        let fails = |text: &str, expected: &str| {
            let message =
                replace_parts(text, Path::new(""), &BTreeMap::new()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        fails(&format!("{BEGIN}b -->{END}"), "no such part: b");
        fails(&format!("{BEGIN}b -->"), "b: no <!-- end");
    }
}
