//! Commands that pages show, held against the programs' own trees of commands without running them.

use super::words::{Word, commands};
use crate::docs::reference::programs;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};
use std::path::{Path, PathBuf};

/// Folders of the repository whose files pages name in code.
const FOLDERS: [&str; 7] = ["kvquant", "unicron", "longnn", "common", "benches", "docs", ".ci"];

/// What commands and paths are held against.
pub struct Workspace {
    root: PathBuf,
    programs: Vec<Command>,
}

impl Workspace {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), programs: programs().to_vec() }
    }

    /// A line of a block, which a reader types as it is. One that was run here (`is_run`) may have values that the
    /// program refuses: it shows how.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_line(&self, line: &str, is_run: bool) -> Result<(), String> {
        for words in commands(line) {
            self.check(&words, |program, words| {
                let is_exact = !is_run && !words.iter().any(Word::is_placeholder);
                if is_exact { parse(program, words) } else { walk(program, words) }
            })?;
        }
        Ok(())
    }

    /// Code within a sentence, which may be a part of a command: `unicron submit`, `kvquant search --budget-bits`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_mention(&self, code: &str) -> Result<(), String> {
        commands(code).iter().try_for_each(|words| self.check(words, walk))
    }

    /// Whether code names a file or folder of the repository that isn't there.
    pub fn lacks_file(&self, code: &str) -> bool {
        let is_path = code.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
        let is_ours = code.split_once('/').is_some_and(|(first, _)| FOLDERS.contains(&first));
        is_path && is_ours && !self.root.join(code).exists()
    }

    fn check(
        &self,
        words: &[Word],
        check: impl Fn(&Command, &[Word]) -> Result<(), String>,
    ) -> Result<(), String> {
        let text = |at: usize| words.get(at).map_or("", |word| word.text.as_str());
        match (text(0), text(1)) {
            ("cargo", "reproduce") => check(self.program("cargo reproduce")?, &words[1..]),
            ("cargo", "run" | "bench" | "test" | "build" | "doc") => {
                match self.check_cargo(&words[1..])? {
                    Some((package, rest)) => check(self.program(package)?, rest),
                    None => Ok(()),
                }
            }
            (name, _) => match self.programs.iter().find(|one| one.get_name() == name) {
                Some(program) => check(program, words),
                None => Ok(()),
            },
        }
    }

    fn program(&self, name: &str) -> Result<&Command, String> {
        let found = self.programs.iter().find(|one| one.get_name() == name);
        found.ok_or_else(|| format!("{name} is no program"))
    }

    /// What cargo is told; gives the program that is run with words of its own, `--` in place of the
    /// program's name.
    fn check_cargo<'a>(&self, words: &'a [Word]) -> Result<Option<(&'a str, &'a [Word])>, String> {
        let end = words.iter().position(|word| word.text == "--");
        let of_cargo = &words[..end.unwrap_or(words.len())];
        let value = |names: &[&str]| {
            let at = of_cargo.iter().position(|word| names.contains(&word.text.as_str()))?;
            Some(of_cargo.get(at + 1)?).filter(|word| !word.is_placeholder())
        };
        let Some(package) = value(&["-p", "--package"]).map(|word| word.text.as_str()) else {
            return Ok(None);
        };
        let folder = self.root.join(package);
        if !folder.join("Cargo.toml").exists() {
            return Err(format!("there is no package {package}"));
        }
        for (option, below) in [("--example", "examples"), ("--bench", "benches")] {
            if let Some(name) = value(&[option])
                && !folder.join(below).join(&name.text).with_extension("rs").exists()
            {
                return Err(format!("{package} has no {option} {}", name.text));
            }
        }
        let is_program = words[0].text == "run" && value(&["--example"]).is_none();
        let program = if package == env!("CARGO_PKG_NAME") { "cargo reproduce" } else { package };
        Ok(end.filter(|_| is_program).map(|end| (program, &words[end..])))
    }
}

/// As the program would.
fn parse(program: &Command, words: &[Word]) -> Result<(), String> {
    let name = [program.get_name()].into_iter();
    let words_after = words[1..].iter().map(|word| word.text.as_str());
    let Err(error) = program.clone().try_get_matches_from(name.chain(words_after)) else {
        return Ok(());
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(()),
        // A file of the reader's.
        ErrorKind::ValueValidation
            if matches!(
                error.get(ContextKind::InvalidValue),
                Some(ContextValue::String(value)) if value.contains(".toml")
            ) =>
        {
            walk(program, words)
        }
        _ => {
            let message = error.to_string();
            let lines =
                message.lines().map(str::trim).take_while(|line| !line.starts_with("Usage"));
            let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
            Err(lines.join(" ").trim_start_matches("error: ").to_owned())
        }
    }
}

/// Only that subcommands and options exist, and values where there are few.
fn walk(program: &Command, words: &[Word]) -> Result<(), String> {
    let mut command = program;
    let mut words = words[1..].iter();
    while let Some(word) = words.next() {
        let text = word.text.as_str();
        if text == "--" {
            break;
        }
        let name = text.split('=').next().unwrap_or(text);
        if word.is_placeholder() && !text.starts_with('-') {
            continue;
        } else if let Some(long) = name.strip_prefix("--") {
            let option = by_long(command, long)
                .ok_or_else(|| format!("{} has no option {name}", called(command)))?;
            if option.get_action().takes_values()
                && option.get_num_args().is_none_or(|n| n.min_values() > 0)
            {
                let given = text.split_once('=').map(|(_, value)| value.to_owned());
                let given = given.or_else(|| {
                    Some(words.next()?).filter(|w| !w.is_placeholder()).map(|w| w.text.clone())
                });
                check_value(option, given.as_deref())?;
            }
        } else if let Some(short) = text.strip_prefix('-').and_then(|rest| rest.chars().next()) {
            let option = by_short(command, short)
                .ok_or_else(|| format!("{} has no option -{short}", called(command)))?;
            if option.get_action().takes_values() && text.len() == 2 {
                words.next();
            }
        } else if let Some(below) = command.find_subcommand(text) {
            command = below;
        } else if command.has_subcommands() && command.get_positionals().next().is_none() {
            let below = command.get_subcommands().filter(|one| !one.is_hide_set());
            let names: Vec<&str> = below.map(Command::get_name).collect();
            return Err(format!(
                "{} has no command {text}, but {}",
                called(command),
                names.join(", ")
            ));
        } else if command.get_positionals().any(Arg::is_trailing_var_arg_set) {
            break;
        }
    }
    Ok(())
}

fn called(command: &Command) -> &str {
    command.get_bin_name().unwrap_or_else(|| command.get_name())
}

fn by_long<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|one| {
        let aliases = one.get_all_aliases().unwrap_or_default();
        one.get_long() == Some(name) || aliases.contains(&name)
    })
}

fn by_short(command: &Command, name: char) -> Option<&Arg> {
    command.get_arguments().find(|one| one.get_short() == Some(name))
}

fn check_value(option: &Arg, given: Option<&str>) -> Result<(), String> {
    let possible = option.get_possible_values();
    let Some(given) = given.filter(|_| !possible.is_empty()) else { return Ok(()) };
    let split = option.get_value_delimiter().map_or(vec![given], |by| given.split(by).collect());
    match split.into_iter().find(|one| !possible.iter().any(|value| value.matches(one, false))) {
        None => Ok(()),
        Some(unknown) => {
            let names: Vec<&str> = possible.iter().map(|value| value.get_name()).collect();
            Err(format!("{option} has no value {unknown}, but {}", names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::command::workspace_root;

    fn workspace() -> Workspace {
        Workspace::new(&workspace_root().expect("tests run in the workspace"))
    }

    #[test]
    fn commands_that_are_there_pass() {
        let workspace = workspace();
        for line in [
            "kvquant memory --model llama-2-7b --kv asymkv-16/0 --against kivi-2 --budget 80GiB",
            "kvquant perplexity --kv plan.toml --windows 4 # a file of yours",
            "KVQUANT_ISA=avx2 kvquant generate --kv small --prompt \"The capital of France?\"",
            "cargo run --release -p kvquant -- eval needle --kv balanced --lengths 1024,4096",
            "cargo run --release -p longnn --example own_filter",
            "cargo reproduce --full --records DIR",
            "cargo reproduce docs --check",
            "cargo test --workspace",
            "unicron run --standalone --nproc-per-node 2 -- python3 train.py --no-such-option",
            "unicron events --json > events.json",
            "longnn train csbm:n=2000,phi=-0.5 --model lon --seeds 10 --output runs/mine",
            "unicron --help",
            "pip install ./unicron/python",
        ] {
            assert_eq!(workspace.check_line(line, false), Ok(()), "{line}");
        }
        for code in [
            "unicron run … -- python3 train.py",
            "unicron drain NODE",
            "kvquant bench",
            "unicron.Trainer",
        ] {
            assert_eq!(workspace.check_mention(code), Ok(()), "{code}");
        }
    }

    /// `--help` ends with examples, some with words about them.
    #[test]
    fn examples_of_the_help_are_commands() {
        fn check(workspace: &Workspace, command: &Command) {
            let help = command.get_after_help().map_or_else(String::new, ToString::to_string);
            let examples = help.split("Example").skip(1).flat_map(str::lines);
            for line in examples.filter(|line| line.starts_with("  ")) {
                let line = line.trim().split("   ").next().unwrap_or_default();
                assert_eq!(workspace.check_line(line, false), Ok(()), "{line}");
            }
            command.get_subcommands().for_each(|below| check(workspace, below));
        }
        let workspace = workspace();
        workspace.programs.iter().for_each(|program| check(&workspace, program));
    }

    #[test]
    fn stale_commands_are_found() {
        let workspace = workspace();
        let line = |line: &str, expected: &str| {
            let error = workspace.check_line(line, false).expect_err(line);
            assert!(error.contains(expected), "{line}: {error}");
        };
        line("kvquant memroy --kv kivi-2", "unrecognized subcommand 'memroy'");
        line("kvquant memory --kv kivi-2 --batches 3", "unexpected argument '--batches'");
        line("kvquant memory --kv kivi-3", "kivi-3");
        line("kvquant eval nedle --kv FILE", "kvquant eval has no command nedle, but");
        line("echo 1 | unicron submit FILE --now", "unicron submit has no option --now");
        line("cargo reproduce --system UNKNOWN --fast", "cargo reproduce has no option --fast");
        line("cargo reproduce --system bert", "'bert'");
        line("cargo run --release -p kvcache -- memory", "no package kvcache");
        line("cargo run -p longnn --example my_filter", "longnn has no --example my_filter");
        line("cargo bench -p benches --bench none", "benches has no --bench none");
        line(
            "cargo run --release -p unicron -- plans cluster.toml",
            "unrecognized subcommand 'plans'",
        );
        let mention = |code: &str, expected: &str| {
            let error = workspace.check_mention(code).expect_err(code);
            assert!(error.contains(expected), "{code}: {error}");
        };
        mention("unicron suspend", "unicron has no command suspend, but coordinator, agent");
        mention("kvquant search --bits", "kvquant search has no option --bits");
        mention("cargo reproduce --system bert", "has no value bert, but kvquant, longnn, unicron");
    }

    /// What was run here may be refused, but for options that aren't there.
    #[test]
    fn what_was_run_may_show_a_refusal() {
        let workspace = workspace();
        assert_eq!(workspace.check_line("kvquant memory --kv asymkv-4/x-16/0", true), Ok(()));
        assert!(workspace.check_line("kvquant memory --kvs f16", true).is_err());
    }

    #[test]
    fn files_that_are_named_are_there() {
        let workspace = workspace();
        for code in
            ["kvquant/presets", "benches/runs/<date>-<host>", "keys/values", "unicron/src/train/"]
        {
            assert!(!workspace.lacks_file(code), "{code}");
        }
        assert!(workspace.lacks_file("kvquant/no_such_folder"));
    }
}
