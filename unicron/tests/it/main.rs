//! Integration tests of `unicron`: the command line, as a user or a script meets it.
#![allow(clippy::unwrap_used)]

mod simulate;
mod trace;

use serde_json::Value;
use std::process::{Command, Output};

fn unicron(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unicron")).args(arguments).output().unwrap()
}

/// What a command that works prints.
fn stdout(arguments: &[&str]) -> String {
    let output = unicron(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(arguments)).unwrap()
}

/// Fails with this exit code, says this on stderr and nothing on stdout.
fn fails(arguments: &[&str], code: i32, expected: &str) {
    let output = unicron(arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
}
