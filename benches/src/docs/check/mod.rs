//! What pages say that isn't so: links that lead nowhere, commands and files that no longer exist.

mod command_lines;
mod links;
mod markdown;
mod words;

use anyhow::{Context, bail};
use command_lines::Workspace;
use markdown::{Found, Markdown};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A statement of a page that isn't so.
#[derive(Debug)]
pub struct Problem {
    page: PathBuf,
    line: usize,
    part: String,
    what: String,
    instead: String,
}

type Report = Vec<Problem>;

impl Problem {
    /// `part` of a page's line is wrong because of `what`; `instead` is what to do.
    fn new(page: &Path, line: usize, part: &str, what: String, instead: String) -> Self {
        Self { page: page.to_owned(), line, part: part.to_owned(), what, instead }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { page, line, part, what, instead } = self;
        write!(f, "{}:{line}: `{part}`: {what}; {instead}", page.display())
    }
}

/// Checks every Markdown page below the root.
///
/// # Errors
/// Names every statement that isn't so, with page, line and what to do.
pub fn run(root: &Path) -> anyhow::Result<()> {
    let mut pages = BTreeMap::new();
    for path in markdown_files(root)? {
        let text = super::read(&path)?;
        let name = path.strip_prefix(root).unwrap_or(&path).to_owned();
        pages.insert(name, Markdown::read(&text));
    }
    let mut report = Report::new();
    links::check(root, &pages, &mut report);
    let workspace = Workspace::new(root);
    for (path, page) in &pages {
        commands(&workspace, path, page, &mut report);
    }
    if report.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = report.iter().map(ToString::to_string).collect();
    bail!("pages say what isn't so:\n{}", lines.join("\n"))
}

/// Commands of a page, and the files that it names.
fn commands(workspace: &Workspace, path: &Path, page: &Markdown, report: &mut Report) {
    // What records say was so when they were made.
    let is_checked = |found: &&Found| {
        found
            .part
            .as_ref()
            .is_none_or(|part| part.starts_with("$ ") || part.ends_with("-reference"))
    };
    let help = || "write it as `--help` has it".to_owned();
    for found in page.fenced.iter().filter(is_checked) {
        // Parts that run a command may show how it refuses a value.
        let is_run = found.part.is_some();
        if let Err(what) = workspace.check_line(&found.text, is_run) {
            report.push(Problem::new(path, found.line, found.text.trim(), what, help()));
        }
    }
    for found in page.inline.iter().filter(is_checked) {
        if let Err(what) = workspace.check_mention(&found.text) {
            report.push(Problem::new(path, found.line, &found.text, what, help()));
        }
        if found.part.is_none() && workspace.lacks_file(&found.text) {
            let what = "there is no such file or folder".to_owned();
            let instead = "correct the path".to_owned();
            report.push(Problem::new(path, found.line, &found.text, what, instead));
        }
    }
}

/// All Markdown of the repository. What is hidden, built or a run's result isn't of it.
fn markdown_files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut pages, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("can't read {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let is_other =
                name.starts_with('.') || ["target", "runs", "build"].contains(&name.as_ref());
            // Links are followed by nobody, so that there is no circle.
            let kind = entry.file_type()?;
            if kind.is_dir() && !is_other {
                folders.push(path);
            } else if kind.is_file() && name.ends_with(".md") {
                pages.push(path);
            }
        }
    }
    Ok(pages)
}
