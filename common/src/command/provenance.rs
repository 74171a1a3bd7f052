//! Where a result comes from, asked of git, of the machine and of the command line.

use std::env;
use std::path::Path;
use std::process::Command;

use sysinfo::System;

use super::workspace_root;
use crate::device;
use crate::report::{Host, Provenance, Versions};

/// Asks for changes of the source. Records are what runs leave, not what they are made from: with them, whatever came
/// after the first record of a run would count as made from changed source, and nothing that was interrupted could go on.
const CHANGES: [&str; 7] = [
    "status",
    "--porcelain",
    // New source is named by source that git knows.
    "--untracked-files=no",
    "--",
    ":/",
    ":(top,exclude)runs",
    ":(top,exclude)benches/runs",
];

/// The provenance of a run of `program`, which is its name and version, e.g.
/// `concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"))`.
#[must_use]
pub fn provenance(program: &str) -> Provenance {
    let root = workspace_root();
    let git = |arguments: &[&str]| root.as_deref().and_then(|root| git(root, arguments));
    Provenance {
        command: command_line(env::args_os().map(|word| word.to_string_lossy().into_owned())),
        commit: git(&["rev-parse", "HEAD"]),
        // Of a tree that git can't describe, nobody can say that it is clean.
        dirty: git(&CHANGES).is_none_or(|changes| !changes.is_empty()),
        host: Host::new(&device::discover(), operating_system()),
        versions: Versions {
            program: program.to_owned(),
            rustc: env!("COMMON_RUSTC_VERSION").to_owned(),
        },
    }
}

/// What git says, without the line end; `None` where it can't.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn operating_system() -> String {
    System::long_os_version().unwrap_or_else(|_| env::consts::OS.to_owned())
}

/// The command line as a shell would take it. The program goes by its name only: where it was
/// built says nothing about the result.
fn command_line(mut words: impl Iterator<Item = String>) -> String {
    let program = words.next().unwrap_or_default();
    let name = Path::new(&program).file_stem().map(|name| name.to_string_lossy().into_owned());
    let words = std::iter::once(name.unwrap_or(program)).chain(words);
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(word: String) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_=./,:+@%".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_can_be_typed_again() {
        let words = ["/build/kvquant", "generate", "--prompt", "it's on", "--n=3", ""];
        let line = command_line(words.into_iter().map(str::to_owned));
        assert_eq!(line, r"kvquant generate --prompt 'it'\''s on' --n=3 ''");
    }

    #[test]
    fn the_provenance_names_commit_compiler_and_host() {
        let provenance = provenance("common 0.1.0");
        if let Some(commit) = &provenance.commit {
            assert!(commit.len() >= 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()));
        }
        assert!(provenance.versions.rustc.starts_with("rustc "), "{:?}", provenance.versions);
        assert!(!provenance.host.os.is_empty() && !provenance.command.contains('/'));
    }

    #[test]
    fn outside_a_repository_nothing_is_clean() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(git(folder.path(), &["rev-parse", "HEAD"]), None);
    }

    #[test]
    fn records_are_no_changes_of_the_source() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let changes = || git(root, &CHANGES).unwrap();
        write("src/lib.rs", "1");
        write("benches/runs/a.json", "1");
        git(root, &["init", "--quiet"]).unwrap();
        git(root, &["add", "."]).unwrap();
        let author = ["-c", "user.name=a", "-c", "user.email=a@b"];
        git(root, &[&author[..], &["commit", "--quiet", "-m", "first"]].concat()).unwrap();
        assert_eq!(changes(), "");
        for record in ["benches/runs/a.json", "benches/runs/b.json", "mine/c.json"] {
            write(record, "2");
            assert_eq!(changes(), "", "{record}");
        }
        write("src/lib.rs", "2");
        assert!(changes().contains("src/lib.rs"));
    }
}
