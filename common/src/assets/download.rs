//! Downloads over HTTP: streamed to a `.part` file, resumed where the server lets us, checked
//! before the file gets its name.
//!
//! Nothing of the server's answer is trusted: its status, the range it says it sends and the
//! length it announces are checked, what arrives is bounded by what is expected, and the sha256
//! decides in the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{Response, StatusCode, header};

use super::checksum::admit;
use super::{AssetError, Transport};
use crate::progress::{Bar, Progress, Unit};

/// No archive that we know of comes near this; it bounds what a server can make us store.
const LARGEST_UNSIZED: u64 = 256 << 20;

/// A file to download.
#[derive(Debug, Clone, Copy)]
pub(super) struct Download<'a> {
    /// Where it is.
    pub url: &'a str,
    /// Its exact size where that is registered.
    pub bytes: Option<u64>,
    /// Its SHA-256.
    pub sha256: &'a str,
    /// The name under which the progress bar shows it.
    pub label: &'a str,
}

/// How one attempt failed.
enum Failure {
    /// It may work the next time: the connection broke or the server is busy.
    Passing(String),
    /// It will never work.
    Final(AssetError),
}

impl Failure {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let error = AssetError::io(action, path);
        move |source| Self::Final(error(source))
    }
}

impl Download<'_> {
    /// Downloads to `destination`; a part that an earlier run left there is resumed. The caller
    /// holds the file's lock.
    pub(super) fn to(
        self,
        destination: &Path,
        transport: &Transport,
        progress: &Progress,
    ) -> Result<(), AssetError> {
        let part = part_of(destination);
        let resumed = fs::metadata(&part).is_ok_and(|part| part.len() > 0);
        self.fill(&part, transport, progress)?;
        match admit(&part, destination, self.sha256, self.url) {
            // The bytes that an earlier run left may be the wrong ones: one clean start.
            Err(AssetError::WrongDownload { .. }) if resumed => {
                self.fill(&part, transport, progress)?;
                admit(&part, destination, self.sha256, self.url)
            }
            outcome => outcome,
        }
    }

    /// Brings `part` to its full length, over as many attempts as it takes and may take.
    fn fill(
        self,
        part: &Path,
        transport: &Transport,
        progress: &Progress,
    ) -> Result<(), AssetError> {
        let agent = agent();
        let bar = progress.bar(self.label, self.bytes, Unit::Bytes);
        let attempts = transport.attempts.max(1);
        let mut reason = String::new();
        for attempt in 1..=attempts {
            match self.attempt(&agent, part, &bar) {
                Ok(()) => return Ok(()),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(why)) => reason = why,
            }
            if attempt < attempts {
                bar.message(format!("attempt {}: {reason}", attempt + 1));
                thread::sleep(transport.pause(attempt));
            }
        }
        Err(AssetError::Transfer { url: self.url.to_owned(), attempts, reason })
    }

    /// One request that goes on where `part` ends.
    fn attempt(self, agent: &Agent, part: &Path, bar: &Bar) -> Result<(), Failure> {
        let start = fs::metadata(part).map_or(0, |part| part.len());
        if self.bytes == Some(start) {
            return Ok(());
        }
        if start > self.limit() {
            return self.start_clean(agent, part, bar);
        }
        let response = self.request(agent, start)?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT if start > 0 => {
                if self.continues_at(&response, start) {
                    self.receive(response, part, start, bar)
                } else {
                    self.start_clean(agent, part, bar)
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE if start > 0 => self.start_clean(agent, part, bar),
            StatusCode::OK => self.receive(response, part, 0, bar),
            status => Err(self.refused(status)),
        }
    }

    /// Throws the part away and asks for the whole file.
    fn start_clean(self, agent: &Agent, part: &Path, bar: &Bar) -> Result<(), Failure> {
        fs::remove_file(part).map_err(Failure::io("delete", part))?;
        let response = self.request(agent, 0)?;
        match response.status() {
            StatusCode::OK => self.receive(response, part, 0, bar),
            status => Err(self.refused(status)),
        }
    }

    fn request(self, agent: &Agent, start: u64) -> Result<Response<ureq::Body>, Failure> {
        // A compressed answer would have other lengths and ranges than the file.
        let mut request = agent.get(self.url).header(header::ACCEPT_ENCODING, "identity");
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        request.call().map_err(|error| Failure::Passing(error.to_string()))
    }

    fn refused(self, status: StatusCode) -> Failure {
        let busy = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        if status.is_server_error() || busy.contains(&status) {
            Failure::Passing(format!("HTTP status {}", status.as_u16()))
        } else {
            let (url, status) = (self.url.to_owned(), status.as_u16());
            Failure::Final(AssetError::Status { url, status })
        }
    }

    /// Whether a partial answer begins where our part ends and belongs to a file of our size.
    fn continues_at<B>(self, response: &Response<B>, start: u64) -> bool {
        let range = response.headers().get(header::CONTENT_RANGE);
        range.and_then(|value| value.to_str().ok()).and_then(parse_content_range).is_some_and(
            |(first, total)| {
                first == start
                    && match (total, self.bytes) {
                        (Some(total), Some(bytes)) => total == bytes,
                        _ => true,
                    }
            },
        )
    }

    /// Writes the body to `part` from `start` on.
    fn receive(
        self,
        response: Response<ureq::Body>,
        part: &Path,
        start: u64,
        bar: &Bar,
    ) -> Result<(), Failure> {
        let body = response.into_body();
        let announced = body.content_length().map(|length| start.saturating_add(length));
        if let Some(announced) = announced.filter(|&announced| !self.accepts(announced)) {
            return Err(Failure::Final(self.wrong_length(announced)));
        }
        let total = self.bytes.or(announced);
        if let Some(total) = total {
            bar.set_total(total);
        }
        bar.set_position(start);
        let mut file = open_part(part, start).map_err(Failure::io("write", part))?;
        // One byte beyond the limit tells a body that is too long from one that fits.
        let mut body = body.into_reader().take(self.limit().saturating_sub(start) + 1);
        let arrived = start + copy(&mut body, &mut file, part, bar)?;
        if total.is_some_and(|total| arrived < total) {
            return Err(Failure::Passing(format!("the connection ended after {arrived} bytes")));
        }
        if !self.accepts(arrived) {
            drop(file);
            fs::remove_file(part).map_err(Failure::io("delete", part))?;
            return Err(Failure::Final(self.wrong_length(arrived)));
        }
        // The data must be on disk before a rename can make it the file.
        file.sync_all().map_err(Failure::io("write", part))
    }

    fn wrong_length(self, actual: u64) -> AssetError {
        let expected = match self.bytes {
            Some(bytes) => bytes.to_string(),
            None => format!("at most {LARGEST_UNSIZED}"),
        };
        AssetError::WrongLength { url: self.url.to_owned(), actual, expected }
    }

    fn limit(self) -> u64 {
        self.bytes.unwrap_or(LARGEST_UNSIZED)
    }

    fn accepts(self, length: u64) -> bool {
        self.bytes.map_or(length <= LARGEST_UNSIZED, |bytes| length == bytes)
    }
}

/// The name under which a file grows until it is whole.
pub(super) fn part_of(destination: &Path) -> PathBuf {
    let mut name = destination.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

fn agent() -> Agent {
    Agent::config_builder()
        // The status is ours to judge: 206 and 416 steer the resumption.
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        // A stalled connection is given up, a slow one isn't.
        .timeout_per_read(Some(Duration::from_secs(60)))
        .build()
        .into()
}

fn open_part(part: &Path, start: u64) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(part)?;
    file.set_len(start)?;
    Ok(file)
}

fn copy(body: &mut impl Read, file: &mut File, part: &Path, bar: &Bar) -> Result<u64, Failure> {
    let mut chunk = vec![0; 1 << 16];
    let mut arrived = 0;
    loop {
        match body.read(&mut chunk) {
            Ok(0) => return Ok(arrived),
            Ok(n) => {
                file.write_all(&chunk[..n]).map_err(Failure::io("write", part))?;
                arrived += n as u64;
                bar.advance(n as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::Passing(error.to_string())),
        }
    }
}

/// First byte and total length of `bytes FIRST-LAST/TOTAL`; the total may be `*`.
fn parse_content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let total = if total == "*" { None } else { Some(total.parse::<u64>().ok()?) };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, total))
}

#[cfg(test)]
mod tests {
    use super::super::test_server::{Answer, Server, digest, quick_transport};
    use super::*;

    fn contents(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i * 7 % 251) as u8).collect()
    }

    /// Downloads `file` from `server` and returns what is in the folder afterwards.
    fn fetch(
        server: &Server,
        file: &[u8],
        part: Option<&[u8]>,
    ) -> (Result<(), AssetError>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let destination = folder.path().join("file");
        if let Some(part) = part {
            fs::write(part_of(&destination), part).unwrap();
        }
        let sha256 = digest(file);
        let url = server.url("/file");
        let download =
            Download { url: &url, bytes: Some(file.len() as u64), sha256: &sha256, label: "file" };
        let outcome = download.to(&destination, &quick_transport(), &Progress::silent());
        if outcome.is_ok() {
            assert_eq!(fs::read(&destination).unwrap(), file);
        }
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        (outcome, names)
    }

    #[test]
    fn a_whole_file_arrives_under_its_name_only() {
        let file = contents(300_000);
        let server = Server::start(vec![Answer::whole(&file)]);
        let (outcome, names) = fetch(&server, &file, None);
        outcome.unwrap();
        assert_eq!(names, ["file"]);
        assert_eq!(server.requests()[0].range, None);
    }

    #[test]
    fn a_cut_connection_is_resumed_where_it_broke() {
        let file = contents(500_000);
        let server =
            Server::start(vec![Answer::whole(&file).cut_after(200_000), Answer::ranged(&file)]);
        let (outcome, names) = fetch(&server, &file, None);
        outcome.unwrap();
        assert_eq!(names, ["file"]);
        let requests = server.requests();
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[1].range.as_deref(), Some("bytes=200000-"));
        assert_eq!(requests[1].sent, 300_000, "only the rest may travel");
    }

    #[test]
    fn a_server_that_ignores_the_range_is_started_clean() {
        let file = contents(100_000);
        let server = Server::start(vec![Answer::whole(&file)]);
        let (outcome, names) = fetch(&server, &file, Some(&file[..40_000]));
        outcome.unwrap();
        assert_eq!(names, ["file"]);
        assert_eq!(server.requests()[0].range.as_deref(), Some("bytes=40000-"));
    }

    #[test]
    fn a_range_that_begins_elsewhere_is_not_appended() {
        let file = contents(100_000);
        let lying = Answer::ranged(&file).claiming("bytes 0-99999/100000");
        let server = Server::start(vec![lying, Answer::whole(&file)]);
        let (outcome, _) = fetch(&server, &file, Some(&file[..40_000]));
        outcome.unwrap();
        assert_eq!(server.requests()[1].range, None);
    }

    #[test]
    fn a_part_of_another_file_costs_one_clean_start() {
        let file = contents(100_000);
        let server = Server::start(vec![Answer::ranged(&file), Answer::whole(&file)]);
        let (outcome, names) = fetch(&server, &file, Some(&[9; 40_000]));
        outcome.unwrap();
        assert_eq!((names, server.requests().len()), (vec!["file".to_owned()], 2));
    }

    #[test]
    fn a_part_that_is_too_long_is_thrown_away() {
        let file = contents(1000);
        let server = Server::start(vec![Answer::whole(&file)]);
        let (outcome, _) = fetch(&server, &file, Some(&[1; 2000]));
        outcome.unwrap();
        assert_eq!(server.requests()[0].range, None);
    }

    #[test]
    fn a_wrong_checksum_names_both_sums_and_leaves_nothing() {
        let (file, other) = (contents(5000), vec![3; 5000]);
        let server = Server::start(vec![Answer::whole(&other)]);
        let (outcome, names) = fetch(&server, &file, None);
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains(&digest(&file)) && text.contains(&digest(&other)), "{text}");
        assert!(names.is_empty(), "{names:?}");
    }

    #[test]
    fn a_wrong_length_is_refused_before_it_travels() {
        let file = contents(5000);
        let server = Server::start(vec![Answer::whole(&file[..4999])]);
        let (outcome, names) = fetch(&server, &file, None);
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains("4999") && text.contains("5000"), "{text}");
        assert!(names.is_empty(), "{names:?}");
    }

    #[test]
    fn a_body_without_a_length_is_bounded() {
        let file = contents(5000);
        let endless = [file.as_slice(), &[0; 70_000]].concat();
        let server = Server::start(vec![Answer::whole(&endless).without_length()]);
        let (outcome, names) = fetch(&server, &file, None);
        assert!(matches!(outcome, Err(AssetError::WrongLength { .. })), "{outcome:?}");
        assert!(names.is_empty(), "{names:?}");
    }

    #[test]
    fn a_missing_file_is_not_asked_for_twice_and_a_busy_server_is() {
        let file = contents(100);
        let server = Server::start(vec![Answer::status(404)]);
        let (outcome, _) = fetch(&server, &file, None);
        assert!(matches!(outcome, Err(AssetError::Status { status: 404, .. })), "{outcome:?}");
        assert_eq!(server.requests().len(), 1);

        let server = Server::start(vec![Answer::status(503), Answer::whole(&file)]);
        fetch(&server, &file, None).0.unwrap();
        assert_eq!(server.requests().len(), 2);
    }

    #[test]
    fn after_all_attempts_the_part_stays_for_the_next_run() {
        let file = contents(9000);
        let cut = || Answer::ranged(&file).cut_after(1000);
        let server = Server::start((0..3).map(|_| cut()).collect());
        let (outcome, names) = fetch(&server, &file, None);
        assert!(matches!(outcome, Err(AssetError::Transfer { attempts: 3, .. })), "{outcome:?}");
        assert_eq!(names, ["file.part"]);
    }

    #[test]
    fn content_ranges() {
        assert_eq!(parse_content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_content_range("bytes 5-9/*"), Some((5, None)));
        for bad in ["", "bytes 5-9", "bytes */10", "bytes 9-5/10", "bytes 5-10/10", "lines 5-9/10"]
        {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
    }
}
