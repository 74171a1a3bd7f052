//! What deployments run is understood. What guides tell people to type is checked with their other pages.

use super::Cli;
use clap::Parser;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files of a folder, however deep.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push(path),
        }
    }
    files.sort();
    files
}

/// What a shell makes of a line, as far as deployments need it: words, quotes, comments; variables are 1.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            (mark, Some(open)) if mark == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            ('$', Some('"') | None) => {
                while letters
                    .next_if(|c| c.is_ascii_alphanumeric() || "_(){}@".contains(*c))
                    .is_some()
                {}
                word.get_or_insert_default().push('1');
            }
            ('#', None) if word.is_none() => break,
            (' ', None) => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// Whether these are arguments of `unicron`, and why not.
fn problem(words: &[String]) -> Option<String> {
    use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
    let error = Cli::try_parse_from(words).err()?;
    let is_help = matches!(error.kind(), DisplayHelp | DisplayVersion);
    (!is_help).then(|| format!("{}: {error}", words.join(" ")))
}

#[test]
fn commands_of_deployments_are_understood() {
    let mut count = 0;
    for path in files(&root().join("unicron/deploy")) {
        let text = std::fs::read_to_string(&path).unwrap().replace("\\\n", " ");
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            let Some(at) = line.find("unicron ") else { continue };
            let is_start = line[..at].is_empty() || line[..at].ends_with([' ', '/']);
            let command = line[at..].split([';', '\'']).next().unwrap();
            let command = command.split(" 2> ").next().unwrap();
            let words: Vec<String> =
                words(command).into_iter().take_while(|word| word != "&" && word != "|").collect();
            // Those whose arguments are variables are tested where they are run.
            let is_spelled = words.get(1).is_some_and(|word| word.starts_with(char::is_alphabetic));
            if is_start && is_spelled && words.len() > 3 {
                count += 1;
                assert_eq!(problem(&words), None, "{}", path.display());
            }
        }
    }
    assert!(count > 1, "{count}");
}

/// Lists below `args:` of a manifest.
fn arguments(manifest: &str) -> Vec<Vec<String>> {
    let mut lists: Vec<Vec<String>> = Vec::new();
    let mut is_list = false;
    for line in manifest.lines().map(str::trim) {
        match line.strip_prefix("- ") {
            _ if line == "args:" => {
                is_list = true;
                lists.push(vec!["unicron".to_owned()]);
            }
            Some(argument) if is_list => {
                lists.last_mut().unwrap().extend(words(argument));
            }
            _ if line.starts_with('#') => {}
            _ => is_list = false,
        }
    }
    lists
}

#[test]
fn arguments_of_manifests_are_understood() {
    let of = |name: &str| {
        let path = root().join("unicron/deploy/kubernetes").join(name);
        arguments(&std::fs::read_to_string(path).unwrap())
    };
    for name in ["coordinator.yaml", "agent.yaml"] {
        let lists = of(name);
        assert_eq!(lists.len(), 1, "{name}");
        assert!(lists[0].len() > 5, "{lists:?}");
        assert_eq!(problem(&lists[0]), None, "{name}");
    }
}

#[test]
fn a_command_that_is_none_would_be_found() {
    let words = words("unicron agent --node 'a b' --slot 2 # a comment");
    assert_eq!(words, ["unicron", "agent", "--node", "a b", "--slot", "2"]);
    assert!(problem(&words).unwrap().contains("--slot"));
}
