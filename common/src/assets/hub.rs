//! Files of the Hugging Face hub, by `hf:owner/repository/file`.
//!
//! They live in the hub's own cache, in its own layout, so that a model which another program
//! fetched is found and ours is found by others. There is no registered checksum for them; the
//! hub's length is checked.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::thread;

use hf_hub::api::Progress as HubProgress;
use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo};

use super::{AssetError, Transport};
use crate::progress::{Bar, Progress, Unit};

/// A file of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HubFile {
    /// `owner/repository`.
    repository: String,
    /// The file in it, with `/` between folders.
    file: String,
}

impl HubFile {
    /// Reads `owner/repository/file`, the part of `spec` behind `hf:`.
    pub(super) fn parse(spec: &str, rest: &str) -> Result<Self, AssetError> {
        let bad = |reason| AssetError::BadHubName { spec: spec.to_owned(), reason };
        let mut parts = rest.splitn(3, '/');
        let (Some(owner), Some(name), Some(file)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(bad("it has fewer than three parts"));
        };
        // These become parts of paths and addresses.
        let plain = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(&b))
        };
        if !plain(owner) || !plain(name) {
            return Err(bad(
                "the owner or the repository has a character that the hub doesn't allow",
            ));
        }
        if !file.split('/').all(plain) {
            return Err(bad("the file's name has a part that is empty, `..` or not plain"));
        }
        Ok(Self { repository: format!("{owner}/{name}"), file: file.to_owned() })
    }

    /// The file in the hub's cache, fetched if it isn't there yet.
    pub(super) fn obtain(
        &self,
        transport: &Transport,
        progress: &Progress,
    ) -> Result<PathBuf, AssetError> {
        let cache = Cache::new(transport.hub_cache.clone());
        let repository = Repo::model(self.repository.clone());
        if let Some(path) = cache.repo(repository.clone()).get(&self.file) {
            return Ok(path);
        }
        let mut builder =
            ApiBuilder::from_cache(cache).with_endpoint(transport.hub_endpoint.clone());
        if transport.hub_token.is_some() {
            builder = builder.with_token(transport.hub_token.clone());
        }
        let api = builder.build().map_err(|error| self.failed(transport, error.to_string()))?;
        let repository = api.repo(repository);
        let mut failures = 0;
        loop {
            // The crate's own retries lose their place in a part that an earlier run left; a new
            // call finds it by the part's length.
            let outcome = self.attempt(&repository, progress);
            failures += 1;
            match outcome {
                Ok(path) => return Ok(path),
                Err(reason) if reason.passing && failures < transport.attempts.max(1) => {
                    thread::sleep(transport.pause(failures));
                }
                Err(reason) => return Err(self.failed(transport, reason.text)),
            }
        }
    }

    fn attempt(
        &self,
        repository: &hf_hub::api::sync::ApiRepo,
        progress: &Progress,
    ) -> Result<PathBuf, Reason> {
        let total = Rc::new(Cell::new(None));
        let watch =
            Watch { bar: progress.bar(&self.file, None, Unit::Bytes), total: total.clone() };
        let path = repository.download_with_progress(&self.file, watch).map_err(Reason::of)?;
        let length = fs::metadata(&path).map_or(0, |file| file.len());
        match total.get() {
            Some(total) if total != length => {
                // What the cache has is no file of the hub: it must not be found the next time.
                for path in [fs::canonicalize(&path).ok(), Some(path)].into_iter().flatten() {
                    let _ = fs::remove_file(path);
                }
                let text = format!("{length} of {total} bytes arrived");
                Err(Reason { text, passing: true })
            }
            _ => Ok(path),
        }
    }

    fn failed(&self, transport: &Transport, reason: String) -> AssetError {
        AssetError::Hub {
            repository: self.repository.clone(),
            file: self.file.clone(),
            endpoint: transport.hub_endpoint.clone(),
            reason,
        }
    }
}

/// Why an attempt failed, and whether another may go better.
struct Reason {
    text: String,
    passing: bool,
}

impl Reason {
    fn of(error: ApiError) -> Self {
        let status = match &error {
            ApiError::RequestError(error) => match **error {
                ureq::Error::StatusCode(status) => Some(status),
                _ => None,
            },
            _ => None,
        };
        let text = match status {
            Some(404) => "HTTP status 404: check the owner, the repository and the file".to_owned(),
            Some(401 | 403) => format!(
                "HTTP status {}: the repository doesn't exist or wants an access token (HF_TOKEN) \
                 that may read it",
                status.unwrap_or_default()
            ),
            _ => {
                format!("{error}; where the hub can't be reached, give the path of a file instead")
            }
        };
        let passing = status.is_none_or(|status| status >= 500 || status == 429)
            && matches!(error, ApiError::RequestError(_) | ApiError::IoError(_));
        Self { text, passing }
    }
}

/// Passes the hub crate's progress on to our bar, and keeps the length that the hub announced.
struct Watch {
    bar: Bar,
    total: Rc<Cell<Option<u64>>>,
}

impl HubProgress for Watch {
    fn init(&mut self, size: usize, _filename: &str) {
        self.total.set(Some(size as u64));
        self.bar.set_total(size as u64);
        self.bar.set_position(0);
    }

    fn update(&mut self, size: usize) {
        self.bar.advance(size as u64);
    }

    fn finish(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::super::test_server::{Answer, Server, quick_transport};
    use super::*;

    fn file() -> HubFile {
        HubFile::parse("hf:owner/repo/folder/model.gguf", "owner/repo/folder/model.gguf").unwrap()
    }

    fn hub(
        answer: impl FnMut(&str) -> Answer + Send + 'static,
    ) -> (Server, Transport, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::serve(answer);
        let mut transport = quick_transport();
        transport.hub_endpoint = server.endpoint();
        transport.hub_cache = folder.path().join("hub");
        (server, transport, folder)
    }

    fn answer(body: &[u8]) -> Answer {
        Answer::ranged(body).header("ETag", "\"abc123\"").header("X-Repo-Commit", "c0ffee")
    }

    #[test]
    fn a_file_is_fetched_once_and_then_found() {
        let body = vec![5; 50_000];
        let expected = body.clone();
        let (server, mut transport, _folder) = hub(move |_| answer(&body));
        transport.hub_token = Some("token".to_owned());
        let path = file().obtain(&transport, &Progress::silent()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), expected);
        assert!(path.ends_with("folder/model.gguf"), "{}", path.display());
        let requests = server.requests();
        let asked: Vec<&str> = requests.iter().map(|request| request.path.as_str()).collect();
        assert_eq!(asked, ["/owner/repo/resolve/main/folder/model.gguf"; 2]);
        assert_eq!(requests[0].authorization.as_deref(), Some("Bearer token"));

        assert_eq!(file().obtain(&transport, &Progress::silent()).unwrap(), path);
        assert_eq!(server.requests().len(), 2, "the cache answers the second time");
    }

    #[test]
    fn a_broken_connection_is_resumed() {
        let body = vec![6; 50_000];
        let expected = body.clone();
        let mut n = 0;
        let (server, transport, _folder) = hub(move |_| {
            n += 1;
            // The second request is the first one for the body.
            if n == 2 { answer(&body).cut_after(20_000) } else { answer(&body) }
        });
        let path = file().obtain(&transport, &Progress::silent()).unwrap();
        assert_eq!(fs::read(path).unwrap(), expected);
        assert_eq!(server.requests().last().unwrap().range.as_deref(), Some("bytes=20000-"));
    }

    #[test]
    fn a_missing_file_names_the_place() {
        let (server, transport, _folder) = hub(|_| Answer::status(404));
        let text = file().obtain(&transport, &Progress::silent()).unwrap_err().to_string();
        assert!(text.contains("hf:owner/repo/folder/model.gguf"), "{text}");
        assert!(text.contains(&server.endpoint()) && text.contains("404"), "{text}");
        assert_eq!(server.requests().len(), 1);
    }

    #[test]
    fn names_that_are_not_plain_are_refused() {
        for rest in
            ["", "owner", "owner/repo", "owner/repo/", "o/r/../x", "o/r/a//b", "../r/x", "o/r/x?y"]
        {
            let outcome = HubFile::parse("hf:…", rest);
            assert!(matches!(outcome, Err(AssetError::BadHubName { .. })), "{rest}: {outcome:?}");
        }
    }
}
