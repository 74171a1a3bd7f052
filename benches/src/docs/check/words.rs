//! A line of a shell, as far as documentation needs it: words, quotes, comments and what joins commands.

/// A word, and whether it was in quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    pub is_quoted: bool,
}

impl Word {
    /// Whether a reader puts something else in its place: `FILE`, `<name>`, `…`, `$NAME`, `[--quick]`.
    pub fn is_placeholder(&self) -> bool {
        let text = self.text.as_str();
        let is_shouted = |text: &str| {
            text.len() > 1 && text.chars().all(|c| c.is_ascii_uppercase() || "_-:,".contains(c))
        };
        ["…", "...", "$", "<", "["].iter().any(|mark| text.contains(mark))
            || (!self.is_quoted
                && text.split(['/', '=', '.']).any(is_shouted)
                && !text.starts_with('-'))
    }
}

/// The simple commands of a line: what stands between pipes and other joints, without variables that are set
/// before a command and without redirections.
pub fn commands(line: &str) -> Vec<Vec<Word>> {
    let mut all = vec![Vec::new()];
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '#' {
            break;
        } else if "|&;".contains(first) {
            all.push(Vec::new());
            rest = rest.trim_start_matches(['|', '&', ';']);
        } else if "<>".contains(first) && !starts_with_placeholder(rest) {
            rest = word(rest.trim_start_matches(['<', '>', '&']).trim_start()).1;
        } else {
            let (word, after) = word(rest);
            all.last_mut().expect("there is one from the start").push(word);
            rest = after;
        }
        rest = rest.trim_start();
    }
    for command in &mut all {
        let is_set = |word: &Word| {
            let name = word.text.split_once('=').map_or("", |(name, _)| name);
            !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        };
        let n_set = command.iter().take_while(|word| is_set(word)).count();
        command.drain(..n_set);
    }
    all.retain(|command| !command.is_empty());
    all
}

/// `<name>`, which a reader replaces, and no redirection.
fn starts_with_placeholder(text: &str) -> bool {
    text.split_once('>').is_some_and(|(start, _)| {
        let name = start.strip_prefix('<').unwrap_or_default();
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_-".contains(c))
    })
}

/// The first word of a text that begins with one, and what follows it.
fn word(text: &str) -> (Word, &str) {
    let mut word = Word { text: String::new(), is_quoted: false };
    let (mut quote, mut is_in_placeholder) = (None, false);
    for (at, c) in text.char_indices() {
        let starts_placeholder = || starts_with_placeholder(&text[at..]);
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => word.text.push(c),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.is_quoted = true;
            }
            None if is_in_placeholder || (c == '<' && starts_placeholder()) => {
                is_in_placeholder = c != '>';
                word.text.push(c);
            }
            None if c.is_whitespace() || "|;&<>".contains(c) => return (word, &text[at..]),
            None => word.text.push(c),
        }
    }
    (word, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &[&[&str]]) {
        let found = commands(line);
        let found: Vec<Vec<&str>> = found
            .iter()
            .map(|command| command.iter().map(|word| word.text.as_str()).collect())
            .collect();
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn lines_are_split_as_a_shell_does() {
        check("a 'b c' \"d;e\"f   # comment", &[&["a", "b c", "d;ef"]]);
        check(
            "A=1 B_C=x a --o=1 | b && c; d > out 2>&1",
            &[&["a", "--o=1"], &["b"], &["c"], &["d", "2"]],
        );
        check("a '' --plans \"x;y\"", &[&["a", "", "--plans", "x;y"]]);
        check("a --records runs/<date>-<host> <in", &[&["a", "--records", "runs/<date>-<host>"]]);
        check("# nothing", &[]);
    }

    #[test]
    fn placeholders_are_told_from_words() {
        let is = |text: &str| Word { text: text.to_owned(), is_quoted: false }.is_placeholder();
        let placeholders =
            ["FILE", "HOST:PORT", "PLAN.toml", "<file>", "…", "$X", "runs/DATE", "MIN:MAX"];
        for text in placeholders {
            assert!(is(text), "{text}");
        }
        for text in ["file", "3", "--kv", "N1b", "80GiB", "f16", "X", "-h"] {
            assert!(!is(text), "{text}");
        }
    }
}
