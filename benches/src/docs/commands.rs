//! What a command of the workspace prints, for pages that show it.

use anyhow::{Context, bail};
use std::env::current_exe;
use std::path::Path;
use std::process::Command;

/// Binaries that pages may run. They lie beside this one.
const PROGRAMS: [&str; 3] = ["kvquant", "longnn", "unicron"];

/// The command line and what it prints in the folder `root`, as a fenced block. Words are split at spaces.
pub fn output(root: &Path, command: &str) -> anyhow::Result<String> {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or_default();
    if !PROGRAMS.contains(&program) {
        bail!("`{command}`: pages run {} only", PROGRAMS.join(", "));
    }
    let path =
        current_exe()?.with_file_name(program).with_extension(std::env::consts::EXE_EXTENSION);
    let output = Command::new(&path).args(words).current_dir(root).output().with_context(|| {
        format!("`{command}` can't be run; build it first, in the same profile: -p {program}")
    })?;
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8(printed).context("a command prints text")?;
    Ok(format!("```\n$ {command}\n{}\n```", printed.trim_end()))
}
