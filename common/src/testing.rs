//! For the tests of all crates: real data, real models and GPUs where there are any, and the
//! assertion by which kernels are held to their oracle.
//!
//! A test that needs what isn't there prints that it was skipped. `REQUIRE_DATA=1`, `REQUIRE_GPU=1`,
//! `REQUIRE_ETCD=1`, `REQUIRE_TORCH=1`, `REQUIRE_BROWSER=1`, `REQUIRE_SHELLCHECK=1` and
//! `REQUIRE_KUBERNETES_SCHEMA=1` turn the absence into a failure, so that a gate can't pass by skipping.

// Tests read their gates from the environment and say on stdout that they were skipped.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::env;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::assets::{Kind, find};
use crate::command;
use crate::device::{Gpu, GpuProbe};
use crate::progress::Progress;
use crate::tensor::nmse;
use serde_json::Value;

/// The file or folder `relative` of the data folder: `$RESEARCH_DATA`, or `../shared/data` beside
/// the workspace. `None`, with a printed line, where it is missing.
///
/// # Panics
/// If it is missing and `REQUIRE_DATA=1`.
#[must_use]
pub fn shared_data(relative: &str) -> Option<PathBuf> {
    let store = command::store(None);
    let places = store.search_path();
    let found = [&places.research_data, &places.workspace_data]
        .into_iter()
        .flatten()
        .map(|folder| folder.join(relative))
        .find(|path| path.exists());
    if found.is_none() {
        skip(
            "REQUIRE_DATA",
            &format!("{relative} is neither in $RESEARCH_DATA nor in ../shared/data"),
        );
    }
    found
}

/// The registered model `id`, downloaded where it is missing. `None`, with a printed line, where
/// it can't be had.
///
/// # Panics
/// If `id` isn't registered, or it can't be had and `REQUIRE_DATA=1`.
#[must_use]
pub fn model(id: &str) -> Option<PathBuf> {
    let asset = find(id).filter(|asset| asset.kind == Kind::Model);
    let asset = asset.expect("tests ask for registered models only");
    match command::store(None).obtain(asset, &Progress::silent()) {
        Ok(path) => Some(path),
        Err(error) => {
            skip("REQUIRE_DATA", &error.to_string());
            None
        }
    }
}

/// The first GPU. `None`, with a printed line, where there is none.
///
/// # Panics
/// If there is none and `REQUIRE_GPU=1`.
#[must_use]
pub fn gpu() -> Option<Gpu> {
    match GpuProbe::probe() {
        GpuProbe::Found(gpus) => gpus.into_iter().next(),
        GpuProbe::Absent(why) => {
            skip("REQUIRE_GPU", &why);
            None
        }
    }
}

/// The Python that Debian's PyTorch belongs to. `None`, with a printed line, where it isn't installed.
///
/// # Panics
/// If it isn't and `REQUIRE_TORCH=1`.
#[must_use]
pub fn python_with_torch() -> Option<PathBuf> {
    let python = PathBuf::from("/usr/bin/python3");
    let imports = Command::new(&python).args(["-c", "import torch.distributed"]).output();
    if imports.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    skip("REQUIRE_TORCH", "PyTorch isn't installed (on Debian: apt-get install python3-torch)");
    None
}

/// The program `etcd`. `None`, with a printed line, where it isn't installed.
///
/// # Panics
/// If it isn't and `REQUIRE_ETCD=1`.
#[must_use]
pub fn etcd() -> Option<PathBuf> {
    installed("etcd", "etcd-server", "REQUIRE_ETCD")
}

/// The browser `chromium`. `None`, with a printed line, where it isn't installed.
///
/// # Panics
/// If it isn't and `REQUIRE_BROWSER=1`.
#[must_use]
pub fn chromium() -> Option<PathBuf> {
    installed("chromium", "chromium", "REQUIRE_BROWSER")
}

/// The program `shellcheck`. `None`, with a printed line, where it isn't installed.
///
/// # Panics
/// If it isn't and `REQUIRE_SHELLCHECK=1`.
#[must_use]
pub fn shellcheck() -> Option<PathBuf> {
    installed("shellcheck", "shellcheck", "REQUIRE_SHELLCHECK")
}

/// A folder for `PYTHONPATH` that has the validator of Kubernetes's schemas, which it brings: as
/// `name==version` of PyPI, installed where it is missing. `None`, with a printed line, where that can't be.
///
/// # Panics
/// If it can't and `REQUIRE_KUBERNETES_SCHEMA=1`.
#[must_use]
pub fn kubernetes_schemas(requirement: &str) -> Option<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOLDER.get_or_init(|| python_package(requirement)) {
        Ok(folder) => Some(folder.clone()),
        Err(problem) => {
            skip("REQUIRE_KUBERNETES_SCHEMA", problem);
            None
        }
    }
}

/// A folder below the target folder with a package of PyPI and what it depends on.
fn python_package(requirement: &str) -> Result<PathBuf, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let deps = program.parent().ok_or("a test has no folder")?;
    let folder = deps.with_file_name("python").join(requirement);
    if folder.exists() {
        return Ok(folder);
    }
    // Whoever is interrupted leaves a folder that nobody takes for the whole.
    let partial = folder.with_extension(std::process::id().to_string());
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--no-compile", "--target"]);
    let output = pip.arg(&partial).arg(requirement).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{requirement} can't be installed: {}", stderr.trim()));
    }
    // Another test may have been quicker.
    match std::fs::rename(&partial, &folder) {
        Err(error) if !folder.exists() => Err(error.to_string()),
        _ => Ok(folder),
    }
}

/// A program that a package of Debian's brings.
#[track_caller]
fn installed(program: &str, package: &str, gate: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found =
        env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
    if found.is_none() {
        skip(gate, &format!("{program} isn't installed (Debian: apt-get install {package})"));
    }
    found
}

/// Asserts that the normalised mean squared error of `approximation` is at most `bound`.
///
/// # Panics
/// If it is larger or NaN, with `label` and the worst value's place.
#[track_caller]
pub fn assert_nmse(reference: &[f32], approximation: &[f32], bound: f64, label: &str) {
    let error = nmse(reference, approximation);
    // A NaN error compares false: written this way it fails.
    if error <= bound {
        return;
    }
    let difference = |i: usize| {
        let difference = (f64::from(reference[i]) - f64::from(approximation[i])).abs();
        if difference.is_nan() { f64::INFINITY } else { difference }
    };
    let worst = (0..reference.len()).max_by(|&a, &b| difference(a).total_cmp(&difference(b)));
    let worst = worst.expect("an error above its bound has a value that causes it");
    panic!(
        "{label}: NMSE {error:.3e} is above {bound:.3e}; the worst of {} values is at {worst}: {} \
         instead of {}",
        reference.len(),
        approximation[worst],
        reference[worst],
    );
}

/// Asserts that the example of a TOML file says every key that its parser names as expected, given the `message` in
/// which it refuses an unknown one. A key that is optional may stand in a comment.
///
/// # Panics
/// If a key is missing, or the message names none.
#[track_caller]
pub fn assert_says_expected_keys(example: &str, message: &str) {
    let (_, known) = message.split_once("expected").expect("a message that names what it expected");
    for key in known.split('`').skip(1).step_by(2) {
        let starts = [format!("{key} = "), format!("[{key}]"), format!("[[{key}]]")];
        let mut lines = example.lines().map(|line| line.trim_start_matches("# "));
        let is_said = lines.any(|line| starts.iter().any(|start| line.starts_with(start)));
        assert!(is_said, "the example doesn't say {key}");
    }
}

/// Says that a test was skipped, or fails it where the variable `gate` is 1.
///
/// # Panics
/// If it is.
#[track_caller]
pub fn skip(gate: &str, why: &str) {
    skip_unless(env::var_os(gate).is_some_and(|value| value == "1"), gate, why);
}

#[track_caller]
fn skip_unless(required: bool, gate: &str, why: &str) {
    assert!(!required, "{gate}=1, but {why}");
    println!("skipped: {why}");
}

/// A binary under test, as a user or a script meets it: `Program(env!("CARGO_BIN_EXE_name"))`.
#[derive(Debug, Clone, Copy)]
pub struct Program(pub &'static str);

impl Program {
    /// Runs it.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    pub fn run(self, arguments: &[&str]) -> Output {
        let output = Command::new(self.0).args(arguments).output();
        output.unwrap_or_else(|error| panic!("{}: {error}", self.0))
    }

    /// What it prints where it works.
    ///
    /// # Panics
    /// If it fails, or prints what isn't text.
    pub fn stdout(self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        String::from_utf8(output.stdout).expect("a command prints text")
    }

    /// The one JSON object that it prints.
    ///
    /// # Panics
    /// If it fails, or prints something else.
    #[must_use]
    pub fn json(self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.stdout(arguments)).expect("stdout is one JSON object")
    }

    /// It fails with this exit code, says this on stderr and nothing on stdout.
    ///
    /// # Panics
    /// If it does otherwise.
    pub fn fails(self, arguments: &[&str], code: i32, expected: &str) {
        let output = self.run(arguments);
        let stderr = String::from_utf8(output.stderr).expect("a command says text");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_be_said_in_comments() {
        let message = "unknown field `c`, expected one of `a`, `b`, `t`";
        assert_says_expected_keys("a = 1\n# b = 2\n[[t]]\n", message);
    }

    #[test]
    #[should_panic(expected = "the example doesn't say b")]
    fn a_key_that_is_not_said_is_named() {
        assert_says_expected_keys("a = 1\nab = 2\n", "unknown field `c`, expected `a` or `b`");
    }

    #[test]
    fn a_small_error_passes() {
        assert_nmse(&[1.0, 2.0], &[1.0, 2.001], 1e-6, "close");
        assert_nmse(&[], &[], 0.0, "empty");
    }

    #[test]
    #[should_panic(
        expected = "far: NMSE 2.000e-1 is above 1.000e-6; the worst of 2 values is at 0"
    )]
    fn a_large_error_fails_with_its_place() {
        assert_nmse(&[1.0, 2.0], &[2.0, 2.0], 1e-6, "far");
    }

    #[test]
    #[should_panic(expected = "the worst of 3 values is at 1: NaN instead of 2")]
    fn a_nan_fails() {
        assert_nmse(&[1.0, 2.0, 3.0], &[9.0, f32::NAN, 3.0], f64::MAX, "nan");
    }

    #[test]
    fn data_is_found_or_the_test_says_that_it_was_skipped() {
        if let Some(path) = shared_data("graphs/cora.npz") {
            assert!(path.is_file());
        }
    }

    #[test]
    fn a_gate_that_is_not_set_lets_a_test_be_skipped() {
        skip("NO_SUCH_GATE", "an example of a skipped test");
    }

    #[test]
    #[should_panic(expected = "REQUIRE_GPU=1, but there is no GPU")]
    fn a_gate_that_is_set_fails_the_test() {
        skip_unless(true, "REQUIRE_GPU", "there is no GPU");
    }
}
