//! The workspace's dependency rule: `kvquant`, `unicron` and `longnn` never depend on each other,
//! and `common` depends on none of them.
//!
//! Development and build dependencies count: a system that borrows another's code in a test is as
//! hard to take out as one that ships it.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

const SYSTEMS: [&str; 3] = ["kvquant", "unicron", "longnn"];

/// The packages of the workspace with the names of all that they depend on, as cargo reads them.
fn packages() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            (name(package), dependencies.iter().map(name).collect())
        })
        .collect()
}

/// The dependencies that break the rule, as `package -> dependency`.
fn violations(packages: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut violations = Vec::new();
    for (package, dependencies) in packages {
        if package != "common" && !SYSTEMS.contains(&package.as_str()) {
            continue;
        }
        for dependency in dependencies {
            if dependency != package && SYSTEMS.contains(&dependency.as_str()) {
                violations.push(format!("{package} -> {dependency}"));
            }
        }
    }
    violations
}

#[test]
fn systems_do_not_depend_on_each_other_and_common_on_none() {
    let packages = packages();
    for name in SYSTEMS.into_iter().chain(["common"]) {
        assert!(packages.contains_key(name), "{name} is not in the workspace");
    }
    assert_eq!(violations(&packages), Vec::<String>::new());
}

#[test]
fn a_forbidden_dependency_would_be_found() {
    let on = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let packages = BTreeMap::from([
        ("common".to_owned(), on(&["serde", "longnn"])),
        ("kvquant".to_owned(), on(&["common", "unicron"])),
        ("benches".to_owned(), on(&["kvquant", "unicron", "longnn"])),
    ]);
    assert_eq!(violations(&packages), ["common -> longnn", "kvquant -> unicron"]);
}
