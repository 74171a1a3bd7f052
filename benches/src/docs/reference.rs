//! Reference pages: every command with its options, as the program itself knows them.
//!
//! Written from clap's tree of commands, of which `--help` is made as well, so that the pages can't say anything
//! else than the programs do.

use anyhow::Context;
use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory};
use std::fmt::Write;
use std::path::Path;

/// The programs of the workspace and `cargo reproduce`.
pub fn programs() -> [Command; 4] {
    let all = [
        kvquant::commands::command(),
        longnn::commands::command(),
        unicron::commands::command(),
        crate::Cli::command(),
    ];
    all.map(|mut command| {
        command.build();
        command
    })
}

/// The parts of the pages, one a program, in Markdown.
pub fn parts() -> impl Iterator<Item = (&'static str, String)> {
    let parts =
        ["kvquant-reference", "longnn-reference", "unicron-reference", "reproduce-reference"];
    parts.into_iter().zip(programs().map(|program| markdown(&program)))
}

/// A file of the repository, verbatim, in a fence of its kind.
pub fn file(root: &Path, path: &str) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(root.join(path)).with_context(|| format!("a page shows {path}"))?;
    let kind = Path::new(path).extension().and_then(|kind| kind.to_str()).unwrap_or("text");
    Ok(format!("```{kind}\n{}\n```", text.trim_end()))
}

/// The command and all below it, each under a heading.
fn markdown(command: &Command) -> String {
    let mut text = section(command);
    for command in shown_below(command) {
        text += &markdown(command);
    }
    text
}

fn shown_below(command: &Command) -> impl Iterator<Item = &Command> {
    let below = command.get_subcommands();
    below.filter(|one| !one.is_hide_set() && one.get_name() != "help")
}

/// What every command has.
fn is_everywhere(argument: &Arg) -> bool {
    ["help", "version"].contains(&argument.get_id().as_str())
}

/// A link to its heading, and what it is for.
fn link_to(command: &Command) -> String {
    let name = called(command);
    let about = command.get_about().map_or_else(Vec::new, sentences);
    format!("[`{name}`](#{}): {}", name.replace(' ', "-"), about.first().map_or("", String::as_str))
}

fn called(command: &Command) -> &str {
    command.get_bin_name().unwrap_or_else(|| command.get_name())
}

fn section(command: &Command) -> String {
    let name = called(command);
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let mut text = format!("### `{name}`\n\n");
    // Writing to a string can't fail.
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        let _ = writeln!(text, "{}\n", sentences(about).join("\n\n"));
    }
    let below: Vec<&Command> = shown_below(command).collect();
    if below.is_empty() || command.get_arguments().any(|argument| !is_everywhere(argument)) {
        let _ = writeln!(text, "```text\n{}\n```\n", unindented(usage));
    }
    for command in &below {
        let _ = writeln!(text, "- {}", link_to(command));
    }
    if !below.is_empty() {
        text.push('\n');
    }
    let arguments = command.get_arguments();
    let arguments =
        arguments.filter(|argument| !argument.is_hide_set() && !is_everywhere(argument));
    let lines: String = arguments.map(line_of).collect();
    if !lines.is_empty() {
        let _ = writeln!(text, "{lines}");
    }
    if let Some(more) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        let _ = writeln!(text, "```text\n{}\n```\n", more.to_string().trim_end());
    }
    text
}

/// What it is called, what it means, what it is by default and what it may be.
fn line_of(argument: &Arg) -> String {
    let short = argument.get_short().filter(|_| !argument.is_positional());
    let short = short.map_or(String::new(), |short| format!("-{short}, "));
    let mut line = format!("- `{short}{argument}`");
    if let Some(help) = argument.get_long_help().or_else(|| argument.get_help()) {
        line += &format!(": {}", sentences(help).join(" "));
    }
    let takes_values = argument.get_action().takes_values();
    if argument.is_required_set() && !argument.is_positional() {
        line += " Required.";
    }
    let defaults = argument.get_default_values().iter().map(|value| value.to_string_lossy());
    let defaults = defaults.collect::<Vec<_>>().join(",");
    if takes_values && !defaults.is_empty() && !argument.is_hide_default_value_set() {
        line += &format!(" Default: `{defaults}`.");
    }
    let possible = argument.get_possible_values();
    let possible: Vec<_> = possible.iter().filter(|value| !value.is_hide_set()).collect();
    if takes_values && !possible.is_empty() && !argument.is_hide_possible_values_set() {
        let values = possible.iter().map(|value| match value.get_help() {
            Some(help) => {
                let help = help.to_string();
                format!("`{}` ({})", value.get_name(), escape(help.trim_end_matches('.')))
            }
            None => format!("`{}`", value.get_name()),
        });
        line += &format!(" One of {}.", values.collect::<Vec<_>>().join(", "));
    }
    line + "\n"
}

/// The paragraphs of a help, each in a line that ends as a sentence does.
fn sentences(help: &StyledStr) -> Vec<String> {
    let help = help.to_string();
    let paragraphs = help.split("\n\n").map(|paragraph| {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        let text = escape(&words.join(" "));
        let ends = text.ends_with(['.', '!', '?', ':']);
        if ends { text } else { text + "." }
    });
    paragraphs.collect()
}

/// What Markdown would take for markup, outside of code.
fn escape(text: &str) -> String {
    let pieces = text.split('`').enumerate().map(|(at, piece)| match at % 2 {
        0 => piece.replace('<', "\\<").replace('*', "\\*").replace('|', "\\|"),
        _ => piece.to_owned(),
    });
    pieces.collect::<Vec<_>>().join("`")
}

/// Usages below the first are indented beneath the word "Usage:".
fn unindented(usage: &str) -> String {
    usage.lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::builder::PossibleValue;

    #[test]
    fn commands_are_described_with_all_their_options() {
        let bits = Arg::new("bits").long("bits").short('b').value_name("N").default_value("2");
        let rule = Arg::new("rule").long("rule").help("By which <rule>").required(true);
        let rule = rule.value_parser([PossibleValue::new("all").help("Every one."), "half".into()]);
        let json =
            Arg::new("json").long("json").action(clap::ArgAction::SetTrue).help("One object");
        let below = Command::new("store").about("Keep it").args([bits, rule, json]);
        let hidden = Command::new("secret").hide(true);
        let mut command = Command::new("tool").subcommands([below, hidden]);
        command.build();
        let text = markdown(&command);
        let expected = "### `tool store`\n\nKeep it.\n\n\
             ```text\ntool store [OPTIONS] --rule <rule>\n```\n\n\
             - `-b, --bits <N>` Default: `2`.\n\
             - `--rule <rule>`: By which \\<rule>. Required. One of `all` (Every one), `half`.\n\
             - `--json`: One object.\n";
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("secret") && !text.contains("help"), "{text}");
    }

    #[test]
    fn every_program_is_there() {
        for program in programs() {
            let text = markdown(&program);
            assert!(text.contains(&format!("### `{}`", program.get_name())), "{text}");
            assert!(text.contains("- `--"), "{text}");
        }
    }
}
