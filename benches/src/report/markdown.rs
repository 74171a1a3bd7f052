//! The Markdown that generated parts of docs/ are written in, as blocks of a page: paragraphs, tables, fenced code.

use common::report::{Align, Block, Table};

/// The blocks of a text.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim().is_empty() || line.starts_with("![") {
            continue;
        }
        if line.starts_with("```") {
            let code: Vec<&str> =
                lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            blocks.push(Block::Code(code.join("\n")));
            continue;
        }
        let is_table = line.starts_with('|');
        let mut run = vec![line];
        while let Some(line) = lines.next_if(|line| {
            !line.trim().is_empty() && !line.starts_with("```") && line.starts_with('|') == is_table
        }) {
            run.push(line);
        }
        blocks.push(match is_table {
            true => Block::Table(table(&run), String::new()),
            false => Block::Text(plain(&run.join(" "))),
        });
    }
    blocks
}

/// A table of at least a header and its rule.
fn table(lines: &[&str]) -> Table {
    let mut rows = lines.iter().map(|line| cells(line));
    let headers = rows.next().unwrap_or_default();
    let rules = rows.next().unwrap_or_default();
    let align = |at: usize| match rules.get(at).is_some_and(|rule| rule.ends_with(':')) {
        true => Align::Right,
        false => Align::Left,
    };
    let columns: Vec<(&str, Align)> =
        headers.iter().enumerate().map(|(at, header)| (header.as_str(), align(at))).collect();
    let mut table = Table::new(&columns);
    for mut row in rows {
        row.resize(columns.len(), String::new());
        table.row(row);
    }
    table
}

/// The cells of a line; a pipe in one is escaped.
fn cells(line: &str) -> Vec<String> {
    const PIPE: &str = "\u{1}";
    let line = line.trim().replace("\\|", PIPE);
    let inner = line.trim_start_matches('|').trim_end_matches('|');
    inner.split('|').map(|cell| plain(&cell.trim().replace(PIPE, "|"))).collect()
}

/// Text without marks: of code, of emphasis, and of links, whose text stays.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        let link = after
            .split_once("](")
            .and_then(|(name, after)| after.split_once(')').map(|(_, after)| (name, after)));
        plain.push_str(before);
        match link.filter(|(name, _)| !name.contains('[')) {
            Some((name, after)) => {
                plain.push_str(name);
                rest = after;
            }
            None => {
                plain.push('[');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain.replace("**", "").replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tables_write_is_read_back() {
        let mut table = Table::new(&[("plan", Align::Left), ("a | b", Align::Right)]);
        table.row(["kivi-2", "1"]).row(["f16 | f32", ""]);
        let text = format!("Some\nwords.\n\n{}\n`a command`, 3 s\n", table.to_markdown());
        let expected = [
            Block::Text("Some words.".to_owned()),
            Block::Table(table, String::new()),
            Block::Text("a command, 3 s".to_owned()),
        ];
        assert_eq!(blocks(&text), expected);
    }

    #[test]
    fn marks_go_and_code_stays() {
        assert_eq!(plain("see [the **page**](docs/a.md) of `x[1]`"), "see the page of x[1]");
        let text = "```\n$ a | b\n\n| c |\n```\n![plot](a.svg)\n";
        assert_eq!(blocks(text), [Block::Code("$ a | b\n\n| c |".to_owned())]);
    }
}
