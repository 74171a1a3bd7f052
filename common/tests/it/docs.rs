//! The documentation holds together: links lead somewhere, and every page is in the summary.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Markdown page below a folder.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages.extend(self::pages(&path));
        } else if path.extension().is_some_and(|end| end == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    pages
}

/// Where the links of a page lead, those of the web left out.
fn links(text: &str) -> Vec<&str> {
    let ends = text.match_indices("](").map(|(at, _)| &text[at + 2..]);
    let targets = ends.filter_map(|rest| rest.split([')', '\n']).next());
    let is_ours = |target: &&str| !target.contains("://") && !target.starts_with('#');
    targets.filter(is_ours).map(|target| target.split('#').next().unwrap_or(target)).collect()
}

#[test]
fn every_link_leads_to_a_file() {
    let mut pages = pages(&root().join("docs"));
    pages.extend(["README.md", "ARCHITECTURE.md"].map(|name| root().join(name)));
    let mut dead = Vec::new();
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        let folder = page.parent().unwrap();
        let missing = links(&text).into_iter().filter(|link| !folder.join(link).exists());
        dead.extend(missing.map(|link| format!("{}: {link}", page.display())));
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn every_page_is_in_the_summary() {
    let docs = root().join("docs");
    let summary = std::fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let listed: Vec<PathBuf> = links(&summary).iter().map(|link| docs.join(link)).collect();
    for page in pages(&docs) {
        let is_listed = page.ends_with("SUMMARY.md") || listed.contains(&page);
        assert!(is_listed, "{} is not in SUMMARY.md", page.display());
    }
}
