//! Links within the repository that lead nowhere; nothing is asked of the network.

use super::markdown::Markdown;
use super::{Problem, Report};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// The table of contents.
const SUMMARY: &str = "docs/SUMMARY.md";
/// The folder of which the book is made.
const BOOK: &str = "docs";
/// The book's first page. mdBook calls it `index.html`, so that links to its file lead nowhere there.
const FIRST: &str = "docs/README.md";

/// Every link of every page, by paths from the root.
pub fn check(root: &Path, pages: &BTreeMap<PathBuf, Markdown>, report: &mut Report) {
    for (path, page) in pages {
        for link in &page.links {
            if let Some((what, instead)) = problem(root, pages, path, &link.text) {
                report.push(Problem::new(path, link.line, &link.text, what, instead));
            }
        }
    }
    contents(pages, report);
}

/// What is wrong with a link, and what to do.
fn problem(
    root: &Path,
    pages: &BTreeMap<PathBuf, Markdown>,
    from: &Path,
    target: &str,
) -> Option<(String, String)> {
    if ["http://", "https://", "mailto:"].iter().any(|scheme| target.starts_with(scheme)) {
        return None;
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(f, a)| (f, Some(a)));
    let to = match file {
        "" => from.to_owned(),
        file => normal(&from.parent().unwrap_or(Path::new("")).join(file)),
    };
    if !root.join(&to).exists() {
        let what = format!("there is no {}", to.display());
        return Some((what, "correct the link, or remove it".to_owned()));
    }
    let is_in_book = to.starts_with(BOOK) && (to != Path::new(FIRST) || from == Path::new(SUMMARY));
    if from.starts_with(BOOK) && !is_in_book {
        let what = format!("{} is not in the book, which is made of {BOOK}/", to.display());
        return Some((what, "name the file in `code` without a link".to_owned()));
    }
    let anchor = anchor?;
    let anchors = pages.get(&to)?.anchors();
    if anchors.iter().any(|one| one == anchor) {
        return None;
    }
    let what = format!("{} has no heading #{anchor}", to.display());
    Some((what, format!("link to one of #{}", anchors.join(", #"))))
}

/// The table of contents has every page of the book once.
fn contents(pages: &BTreeMap<PathBuf, Markdown>, report: &mut Report) {
    let Some(summary) = pages.get(Path::new(SUMMARY)) else { return };
    let linked = |path: &Path| -> usize {
        let links = summary.links.iter();
        links.filter(|link| Path::new(BOOK).join(&link.text) == path).count()
    };
    let of_book = pages.keys().filter(|path| path.starts_with(BOOK) && *path != Path::new(SUMMARY));
    for path in of_book {
        let what = match linked(path) {
            1 => continue,
            0 => "is in no chapter".to_owned(),
            times => format!("is {times} chapters; mdBook takes a page once"),
        };
        let name = path.display().to_string();
        report.push(Problem::new(
            Path::new(SUMMARY),
            1,
            &name,
            what,
            "give the page one line of the table of contents".to_owned(),
        ));
    }
}

/// The path without `.` and `..`, which needn't exist.
fn normal(path: &Path) -> PathBuf {
    let mut all = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                all.pop();
            }
            other => all.push(other),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(pages: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let mut read = BTreeMap::new();
        for (path, text) in pages {
            let file = root.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
            read.insert(PathBuf::from(path), Markdown::read(text));
        }
        let mut report = Vec::new();
        check(root.path(), &read, &mut report);
        report.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn good_links_are_silent() {
        let summary = "[B](b/c.md)\n[A](a.md)\n";
        let pages = [
            ("README.md", "[a](docs/a.md#one) [x](https://example.org/none) [top](#up)\n\n# Up\n"),
            ("docs/SUMMARY.md", summary),
            ("docs/a.md", "# One\n\n[c](b/c.md)"),
            ("docs/b/c.md", "[a](../a.md#one)"),
        ];
        assert_eq!(problems(&pages), [""; 0]);
    }

    #[test]
    fn dead_links_are_named_with_page_and_line() {
        let found = problems(&[("README.md", "# T\n\ntext\n![a](docs/none.svg)\n[b](#tee)\n")]);
        assert_eq!(
            found,
            [
                "README.md:4: `docs/none.svg`: there is no docs/none.svg; correct the link, or remove it",
                "README.md:5: `#tee`: README.md has no heading #tee; link to one of #t",
            ]
        );
    }

    #[test]
    fn the_book_is_whole_and_links_to_nothing_else() {
        let found = problems(&[
            ("README.md", ""),
            ("docs/SUMMARY.md", "[A](a.md)\n[Again](a.md)\n"),
            ("docs/a.md", "[readme](../README.md)"),
            ("docs/b.md", ""),
        ]);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("docs/a.md:1: `../README.md`: README.md is not in the book"));
        assert!(found[1].contains("`docs/a.md`: is 2 chapters"), "{found:?}");
        assert!(found[2].contains("`docs/b.md`: is in no chapter"), "{found:?}");
    }
}
