//! The environment of a command: where data lies, where the cache is, which hub is used.
//!
//! | variable | meaning |
//! |---|---|
//! | `RESEARCH_DATA` | a data folder that is searched before the workspace's |
//! | `XDG_CACHE_HOME` | where caches are; `~/.cache` without it |
//! | `HF_ENDPOINT` | address of the Hugging Face hub |
//! | `HF_HOME`, `HF_HUB_CACHE` | the hub's folder, its cache |
//! | `HF_TOKEN` | the hub's access token |

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::assets::{SearchPath, Store, Transport};

/// The name of our folder among the caches of a user.
const CACHE_NAME: &str = "neural-systems";

/// The workspace's data folder, relative to its root.
const WORKSPACE_DATA: &str = "../shared/data";

/// The store of this environment. `explicit` is what the user named on the command line: a file,
/// or a folder laid out like the data folder.
#[must_use]
pub fn store(explicit: Option<PathBuf>) -> Store {
    store_from(&variable, workspace_root().as_deref(), explicit)
}

/// The root of the workspace that the current folder belongs to: the nearest folder, upwards,
/// whose `Cargo.toml` has a `[workspace]`.
#[must_use]
pub fn workspace_root() -> Option<PathBuf> {
    root_above(&env::current_dir().ok()?)
}

/// A variable of the environment, for commands that are started by another program: agents tell workers
/// who they are. What isn't text counts as absent.
#[must_use]
pub fn text_variable(name: &str) -> Option<String> {
    variable(name).and_then(|value| value.into_string().ok())
}

/// A variable that is set to something: shells export empty ones by mistake.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn store_from(
    variable: &dyn Fn(&str) -> Option<OsString>,
    workspace: Option<&Path>,
    explicit: Option<PathBuf>,
) -> Store {
    let caches = caches(variable);
    let search_path = SearchPath {
        explicit,
        research_data: variable("RESEARCH_DATA").map(PathBuf::from),
        workspace_data: workspace.map(|root| normal(&root.join(WORKSPACE_DATA))),
        cache: caches.join(CACHE_NAME),
    };
    let text = |name| variable(name).and_then(|value| value.into_string().ok());
    let hub_home = variable("HF_HOME").map_or_else(|| caches.join("huggingface"), PathBuf::from);
    let hub_cache = variable("HF_HUB_CACHE").map_or_else(|| hub_home.join("hub"), PathBuf::from);
    let mut transport = Transport::new(hub_cache);
    if let Some(endpoint) = text("HF_ENDPOINT") {
        transport.hub_endpoint = endpoint.trim_end_matches('/').to_owned();
    }
    transport.hub_token = text("HF_TOKEN");
    Store::new(search_path, transport)
}

/// The folder of the user's caches; where there is no home, one among the temporary files.
fn caches(variable: &dyn Fn(&str) -> Option<OsString>) -> PathBuf {
    let absolute = |path: &PathBuf| path.is_absolute();
    // The XDG specification: a relative path is invalid and is to be ignored.
    variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(absolute)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(env::temp_dir)
}

fn root_above(folder: &Path) -> Option<PathBuf> {
    let is_root = |folder: &&Path| {
        fs::read_to_string(folder.join("Cargo.toml"))
            .is_ok_and(|manifest| manifest.lines().any(|line| line.trim() == "[workspace]"))
    };
    folder.ancestors().find(is_root).map(Path::to_owned)
}

/// `path` without `..` where it can be resolved: messages show it to people.
fn normal(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn store_of(variables: &[(&str, &str)]) -> Store {
        let variables: HashMap<String, OsString> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect();
        store_from(&|name| variables.get(name).cloned(), None, None)
    }

    #[test]
    fn variables_decide_the_places() {
        let store = store_of(&[
            ("RESEARCH_DATA", "/data"),
            ("XDG_CACHE_HOME", "/caches"),
            ("HOME", "/home/me"),
            ("HF_ENDPOINT", "https://mirror.example/"),
            ("HF_TOKEN", "secret"),
        ]);
        assert_eq!(store.search_path().research_data, Some(PathBuf::from("/data")));
        assert_eq!(store.search_path().cache, Path::new("/caches/neural-systems"));
        let shown = format!("{store:?}");
        assert!(shown.contains("\"https://mirror.example\""), "{shown}");
        assert!(shown.contains("/caches/huggingface/hub") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn without_xdg_the_cache_is_below_home() {
        for xdg in [&[("HOME", "/home/me")][..], &[("HOME", "/home/me"), ("XDG_CACHE_HOME", "rel")]]
        {
            let store = store_of(xdg);
            assert_eq!(store.search_path().cache, Path::new("/home/me/.cache/neural-systems"));
        }
    }

    #[test]
    fn the_workspace_is_found_from_below() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = root_above(&here.join("src/command")).unwrap();
        assert_eq!(Some(root.as_path()), here.parent());
        assert_eq!(root_above(tempfile::tempdir().unwrap().path()), None);
    }
}
