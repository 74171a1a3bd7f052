//! One self-contained HTML page: it opens from a disk, offline, on a phone and on paper.
//!
//! Every text is escaped; the only markup that enters a page unescaped is an [`Svg`], whose type
//! says that it was made by us. There is no script. What stands in backticks is set as code, in
//! paragraphs, captions and tables.

use std::fmt::Write as _;

use super::{Align, Svg, Table};

const STYLE: &str = include_str!("page.css");

/// A page of titled sections.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    title: String,
    lead: String,
    sections: Vec<Section>,
}

/// A titled part of a page.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    title: String,
    blocks: Vec<Block>,
}

/// What a section is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// A paragraph.
    Text(String),
    /// Lines in a fixed-width font: a command, a configuration.
    Code(String),
    /// A table with its caption; the caption may be empty.
    Table(Table, String),
    /// A figure with its caption; the caption may be empty.
    Figure(Svg, String),
}

impl Page {
    /// A page without sections; `lead` says below the title what it shows.
    #[must_use]
    pub fn new(title: impl Into<String>, lead: impl Into<String>) -> Self {
        Self { title: title.into(), lead: lead.into(), sections: Vec::new() }
    }

    /// Adds a section.
    #[must_use]
    pub fn section(mut self, section: Section) -> Self {
        self.sections.push(section);
        self
    }

    /// The page's HTML.
    #[must_use]
    pub fn to_html(&self) -> String {
        let (title, lead) = (escape(&self.title), escape(&self.lead));
        let mut html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <h1>{title}</h1>\n"
        );
        if !lead.is_empty() {
            let _ = writeln!(html, "<p class=\"lead\">{lead}</p>");
        }
        for section in &self.sections {
            section.render(&mut html);
        }
        html.push_str("</main>\n</body>\n</html>\n");
        html
    }
}

impl Section {
    /// A section without blocks.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), blocks: Vec::new() }
    }

    /// Adds a paragraph.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.block(Block::Text(text.into()))
    }

    /// Adds lines in a fixed-width font.
    #[must_use]
    pub fn code(self, code: impl Into<String>) -> Self {
        self.block(Block::Code(code.into()))
    }

    /// Adds a table.
    #[must_use]
    pub fn table(self, table: Table, caption: impl Into<String>) -> Self {
        self.block(Block::Table(table, caption.into()))
    }

    /// Adds a figure.
    #[must_use]
    pub fn figure(self, svg: Svg, caption: impl Into<String>) -> Self {
        self.block(Block::Figure(svg, caption.into()))
    }

    /// Adds a block.
    #[must_use]
    pub fn block(mut self, block: Block) -> Self {
        self.blocks.push(block);
        self
    }

    fn render(&self, html: &mut String) {
        let _ = writeln!(html, "<section>\n<h2>{}</h2>", escape(&self.title));
        for block in &self.blocks {
            let _ = match block {
                Block::Text(text) => writeln!(html, "<p>{}</p>", inline(text)),
                Block::Code(code) => writeln!(html, "<pre><code>{}</code></pre>", escape(code)),
                Block::Table(table, caption) => {
                    render_table(html, table, caption);
                    Ok(())
                }
                Block::Figure(svg, caption) => writeln!(
                    html,
                    "<figure>\n{}\n<figcaption>{}</figcaption>\n</figure>",
                    svg.as_str(),
                    inline(caption)
                ),
            };
        }
        html.push_str("</section>\n");
    }
}

fn render_table(html: &mut String, table: &Table, caption: &str) {
    // The wrapper scrolls, so that a wide table doesn't widen the page on a phone.
    html.push_str("<div class=\"scroll\">\n<table>\n");
    if !caption.is_empty() {
        let _ = writeln!(html, "<caption>{}</caption>", inline(caption));
    }
    html.push_str("<thead><tr>");
    for (header, &align) in table.headers().iter().zip(table.aligns()) {
        let _ = write!(html, "<th scope=\"col\"{}>{}</th>", class(align), inline(header));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in table.rows() {
        html.push_str("<tr>");
        for (cell, &align) in row.iter().zip(table.aligns()) {
            let _ = write!(html, "<td{}>{}</td>", class(align), inline(cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table>\n</div>\n");
}

fn class(align: Align) -> &'static str {
    match align {
        Align::Left => "",
        Align::Right => " class=\"number\"",
    }
}

/// `text` escaped, and what is in backticks as code.
fn inline(text: &str) -> String {
    let pieces: Vec<&str> = text.split('`').collect();
    if pieces.len().is_multiple_of(2) {
        return escape(text);
    }
    let piece = |(at, piece): (usize, &&str)| match at % 2 {
        0 => escape(piece),
        _ => format!("<code>{}</code>", escape(piece)),
    };
    pieces.iter().enumerate().map(piece).collect()
}

/// `text` with the characters that mean something to HTML replaced, in quoted attributes too.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOSTILE: &str = "<script>alert('x')</script> & \"more\"";

    fn page() -> String {
        let mut table = Table::new(&[(HOSTILE, Align::Left), ("n", Align::Right)]);
        table.row([HOSTILE, "1"]);
        let section = Section::new(HOSTILE).text(HOSTILE).code(HOSTILE).table(table, HOSTILE);
        Page::new(HOSTILE, HOSTILE).section(section).to_html()
    }

    #[test]
    fn everything_is_escaped() {
        let html = page();
        assert!(!html.contains("<script"), "{html}");
        // Title twice, lead, section title, text, code, caption, header and cell.
        assert_eq!(html.matches("&lt;script&gt;alert(&#39;x&#39;)").count(), 9);
    }

    #[test]
    fn the_page_needs_nothing_from_outside() {
        let html = page();
        for outside in ["http:", "https:", "src=", "href=", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
        for needed in ["prefers-color-scheme: dark", "@media print", "name=\"viewport\""] {
            assert!(html.contains(needed), "{needed}");
        }
    }

    #[test]
    fn code_is_set_as_code() {
        let expected = "run <code>a &lt;b&gt;</code>, <code>c</code>";
        assert_eq!(inline("run `a <b>`, `c`"), expected);
        assert_eq!(inline("a ` alone"), "a ` alone");
    }

    #[test]
    fn numbers_stand_to_the_right() {
        assert!(page().contains("<td class=\"number\">1</td>"));
    }

    proptest! {
        #[test]
        fn escaped_text_has_no_markup_and_loses_nothing(text in ".*") {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            let back = escaped
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&#39;", "'")
                .replace("&amp;", "&");
            prop_assert_eq!(back, text);
        }
    }
}
