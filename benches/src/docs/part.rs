//! A generated part of a page: what docs/ writes as Markdown, and the report shows as blocks of its own.

use common::report::{Block, Record, Table};

/// Stands where a record is still to be made.
const PENDING: &str = "No record yet.";

/// Paragraphs, tables and commands, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Part {
    blocks: Vec<Block>,
}

impl Part {
    /// A part whose record is still to be made.
    pub fn pending() -> Part {
        Part::default().text(PENDING)
    }

    /// Whether it still waits for its record.
    pub fn is_pending(&self) -> bool {
        *self == Part::pending()
    }

    /// Adds paragraphs, between which are empty lines.
    pub fn text(mut self, text: impl AsRef<str>) -> Part {
        let paragraphs = text.as_ref().split("\n\n");
        self.blocks.extend(paragraphs.map(|text| Block::Text(text.trim_end().to_owned())));
        self
    }

    pub fn table(mut self, table: Table) -> Part {
        self.blocks.push(Block::Table(table, String::new()));
        self
    }

    /// Adds lines in a fixed-width font.
    pub fn code(mut self, code: impl AsRef<str>) -> Part {
        self.blocks.push(Block::Code(code.as_ref().trim_end().to_owned()));
        self
    }

    /// Adds the run that all this comes from, in a line.
    pub fn source(self, record: &Record) -> Part {
        let Record { command, seconds, started, .. } = record;
        self.text(format!("`{command}`, {seconds:.0} s, {}, {started}", origin(record)))
    }

    pub fn into_blocks(self) -> Vec<Block> {
        self.blocks
    }

    pub fn to_markdown(&self) -> String {
        let markdown = |block: &Block| match block {
            Block::Text(text) => text.clone(),
            Block::Code(code) => format!("```\n{code}\n```"),
            Block::Table(table, _) => table.to_markdown().trim_end().to_owned(),
            // Pictures are files of their own beside the page.
            Block::Figure(..) => String::new(),
        };
        self.blocks.iter().map(markdown).collect::<Vec<_>>().join("\n\n")
    }
}

impl From<Table> for Part {
    fn from(table: Table) -> Part {
        Part::default().table(table)
    }
}

impl From<String> for Part {
    fn from(text: String) -> Part {
        Part::default().text(text)
    }
}

/// Where a record was made, and from what.
pub fn origin(record: &Record) -> String {
    let commit = record.commit.as_deref().map_or("no commit", |commit| &commit[..10]);
    let changes = if record.dirty { " with changes" } else { "" };
    format!("{} ({} cores), commit {commit}{changes}", record.host.cpu, record.host.logical_cores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::report::Align;

    #[test]
    fn blocks_stand_apart() {
        let mut table = Table::new(&[("plan", Align::Left)]);
        table.row(["kivi-2"]);
        let part = Part::from("one\n\ntwo:\n".to_owned()).table(table).code("$ a\n");
        let expected = "one\n\ntwo:\n\n| plan   |\n| ------ |\n| kivi-2 |\n\n```\n$ a\n```";
        assert_eq!(part.to_markdown(), expected);
        assert!(!part.is_pending() && Part::pending().is_pending());
        assert_eq!(part.into_blocks().len(), 4);
    }
}
