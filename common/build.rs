//! Tells the crate which compiler builds it: records name it, and a program can't ask at run time.

// A build script speaks to cargo by its output and its environment.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).arg("--version").output();
    let version = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let version = String::from_utf8_lossy(&version.unwrap_or_default()).trim().to_owned();
    let version = if version.is_empty() { "unknown" } else { &version };
    println!("cargo::rustc-env=COMMON_RUSTC_VERSION={version}");
    println!("cargo::rerun-if-changed=build.rs");
}
