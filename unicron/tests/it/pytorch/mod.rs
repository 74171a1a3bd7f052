//! PyTorch jobs: the Python package's own tests, and whole clusters that train the example GPT.

mod cluster;
mod hangs;
mod kills;

use common::testing::python_with_torch;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The package in `unicron/python`.
fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python")
}

/// Says that a test was skipped.
// That is said on stdout.
#[allow(clippy::print_stdout)]
fn skipped(why: &str) {
    println!("skipped: {why}");
}

/// Its tests are Python's, with real processes in groups of every kind.
#[test]
fn the_python_package_passes_its_tests() {
    let Some(python) = python_with_torch() else { return };
    let output = Command::new(python)
        .args(["-m", "unittest", "discover", "--start-directory", "tests"])
        .current_dir(package())
        .env("PYTHONPATH", package().join("src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
