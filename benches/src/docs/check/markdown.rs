//! As much of Markdown as the checks need: headings, links, code in lines and in blocks.

/// Where a page's things are, by line from 1.
#[derive(Debug, Default)]
pub struct Markdown {
    pub headings: Vec<String>,
    pub links: Vec<Found>,
    /// Code within lines.
    pub inline: Vec<Found>,
    /// Lines of fenced blocks, continued ones joined.
    pub fenced: Vec<Found>,
}

/// A text of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub line: usize,
    pub text: String,
    /// What marks the generated part that it is in, if any.
    pub part: Option<String>,
}

impl Markdown {
    pub fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut part: Option<String> = None;
        let mut paragraph = String::new();
        let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line)).peekable();
        let mut start = 1;
        while let Some((number, line)) = lines.next() {
            let trimmed = line.trim();
            if let Some(info) = trimmed.strip_prefix("```") {
                page.paragraph(start, &std::mem::take(&mut paragraph), part.as_ref());
                let block: Vec<_> =
                    lines.by_ref().take_while(|(_, line)| line.trim() != "```").collect();
                page.block(info, &block, part.as_ref());
                start = block.last().map_or(number, |(last, _)| *last) + 2;
                continue;
            }
            let mark =
                trimmed.strip_prefix(crate::docs::BEGIN).map(|rest| rest.split(" -->").next());
            if trimmed.is_empty() || mark.is_some() || trimmed == crate::docs::END {
                page.paragraph(start, &std::mem::take(&mut paragraph), part.as_ref());
                start = number + 1;
            } else {
                paragraph += line;
                paragraph.push('\n');
            }
            if let Some(mark) = mark {
                part = mark.map(str::to_owned);
            } else if trimmed == crate::docs::END {
                part = None;
            }
            if let Some(heading) = trimmed.strip_prefix('#') {
                page.headings.push(heading.trim_start_matches('#').trim().to_owned());
            }
        }
        page.paragraph(start, &paragraph, part.as_ref());
        page
    }

    /// What links to the page's headings say behind `#`.
    pub fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> = Vec::new();
        for heading in &self.headings {
            let slug: String = heading
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect();
            let is_numbered = |anchor: &&String| {
                let rest = anchor.strip_prefix(&slug);
                rest.is_some_and(|rest| {
                    let number = rest.strip_prefix('-').map(str::parse::<usize>);
                    rest.is_empty() || matches!(number, Some(Ok(_)))
                })
            };
            let before = anchors.iter().filter(is_numbered).count();
            anchors.push(if before == 0 { slug } else { format!("{slug}-{before}") });
        }
        anchors
    }

    /// Code and links between blank lines.
    fn paragraph(&mut self, start: usize, text: &str, part: Option<&String>) {
        let line_at = |at: usize| start + text[..at].matches('\n').count();
        let found = |at: usize, text: &str| Found {
            line: line_at(at),
            text: text.to_owned(),
            part: part.cloned(),
        };
        let mut at = 0;
        while let Some(offset) = text[at..].find(['`', ']', '"']) {
            let from = at + offset;
            let rest = &text[from..];
            at = from + 1;
            if rest.starts_with('`') {
                let ticks = rest.len() - rest.trim_start_matches('`').len();
                let (open, rest) = rest.split_at(ticks);
                if let Some(end) = rest.find(open) {
                    self.inline.push(found(from, rest[..end].replace('\n', " ").trim()));
                    at = from + ticks + end + ticks;
                }
            } else if let Some((target, _)) =
                rest.strip_prefix("](").and_then(|rest| rest.split_once(')'))
            {
                let target = target.split_whitespace().next().unwrap_or_default();
                self.links.push(found(from, target));
            } else if let Some((target, _)) =
                rest.strip_prefix('"').and_then(|rest| rest.split_once('"'))
                && ["src=", "href="].iter().any(|name| text[..from].ends_with(name))
            {
                self.links.push(found(from, target));
            }
        }
    }

    /// Of a block that is none of another language. Where some lines begin with `$`, the others are output.
    fn block(&mut self, info: &str, lines: &[(usize, &str)], part: Option<&String>) {
        if !["", "sh", "bash", "console"].contains(&info.trim()) {
            return;
        }
        let has_prompts = lines.iter().any(|(_, line)| line.starts_with("$ "));
        let mut joined: Option<(usize, String)> = None;
        for &(number, line) in lines {
            let line = match (line.strip_prefix("$ "), joined.is_some()) {
                (Some(command), false) => command,
                (None, false) if has_prompts => continue,
                _ => line,
            };
            let (first, mut all) = joined.take().unwrap_or((number, String::new()));
            match line.trim_end().strip_suffix('\\') {
                Some(continued) => {
                    all += continued;
                    joined = Some((first, all));
                }
                None => {
                    all += line;
                    self.fenced.push(Found { line: first, text: all, part: part.cloned() });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(found: &[Found]) -> Vec<(usize, &str)> {
        found.iter().map(|found| (found.line, found.text.as_str())).collect()
    }

    #[test]
    fn links_code_and_blocks_have_their_lines() {
        let page = Markdown::read(
            "# One `two`, three!\n\n[a](b.md#c) and `x [y](z)` and\n[d](e.md \"title\"), `f\ng`.\n\n\
             ```\n$ kvquant a \\\n  b\noutput\n```\n\n<img src=\"h.svg\" alt=\"i\">\n\n```toml\nj = 1\n```\n\
             ## One two three\n`k`\n",
        );
        assert_eq!(texts(&page.links), [(3, "b.md#c"), (4, "e.md"), (13, "h.svg")]);
        assert_eq!(texts(&page.inline), [(1, "two"), (3, "x [y](z)"), (4, "f g"), (19, "k")]);
        assert_eq!(texts(&page.fenced), [(8, "kvquant a   b")]);
        assert_eq!(page.anchors(), ["one-two-three", "one-two-three-1"]);
    }

    #[test]
    fn generated_parts_are_known() {
        let text =
            format!("`a`\n{}b -->\n\n`c`\n\n{}\n`d`\n", crate::docs::BEGIN, crate::docs::END);
        let page = Markdown::read(&text);
        let parts: Vec<_> = page.inline.iter().map(|found| found.part.as_deref()).collect();
        assert_eq!(parts, [None, Some("b"), None]);
        assert_eq!(texts(&page.inline), [(1, "a"), (4, "c"), (7, "d")]);
    }
}
