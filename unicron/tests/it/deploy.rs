//! What lies in `deploy/`: manifests are what Kubernetes takes, scripts run, dashboards and rules name
//! metrics that exist.

use super::UNICRON;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Of PyPI; it brings the schemas.
const VALIDATOR: &str = "kubernetes-validate==1.37.0";

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

/// Files of a folder that end so, by name.
fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(deploy(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.to_str().unwrap().ends_with(end)).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} has no {end}");
    files
}

#[test]
fn kubernetes_takes_every_manifest() {
    let Some(validator) = common::testing::kubernetes_schemas(VALIDATOR) else {
        return;
    };
    let manifests = files("kubernetes", ".yaml");
    // Old and new clusters alike.
    for version in ["1.32.0", "1.37.0"] {
        let output = Command::new("python3")
            .env("PYTHONPATH", &validator)
            .args(["-m", "kubernetes_validate", "--strict", "--kubernetes-version", version])
            .args(&manifests)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{version}: {said}{problem}");
    }
}

#[test]
fn the_validator_would_find_a_mistake() {
    let Some(validator) = common::testing::kubernetes_schemas(VALIDATOR) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(deploy("kubernetes/agent.yaml")).unwrap();
    let broken = folder.path().join("agent.yaml");
    let wrong = text.replace("terminationGracePeriodSeconds: 150", "terminationGracePeriod: 150");
    assert_ne!(text, wrong);
    std::fs::write(&broken, wrong).unwrap();
    let status = Command::new("python3")
        .env("PYTHONPATH", &validator)
        .args(["-m", "kubernetes_validate", "--strict", "--kubernetes-version", "1.37.0"])
        .arg(&broken)
        .output()
        .unwrap()
        .status;
    assert!(!status.success());
}

#[test]
fn the_kubelet_waits_longer_than_the_agent() {
    let text = std::fs::read_to_string(deploy("kubernetes/agent.yaml")).unwrap();
    let number = |before: &str| -> u64 {
        let at = text.find(before).unwrap() + before.len();
        let digits = text[at..].chars().take_while(char::is_ascii_digit);
        digits.collect::<String>().parse().unwrap()
    };
    assert!(number("terminationGracePeriodSeconds: ") >= number("--grace=") + 15);
}

#[test]
fn grafana_and_prometheus_name_metrics_in_a_form_that_is_imported() {
    let text = std::fs::read_to_string(deploy("grafana.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    for key in ["title", "uid", "schemaVersion", "panels", "templating", "time"] {
        assert!(!dashboard[key].is_null(), "{key}");
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|v| v["name"] == "datasource" && v["type"] == "datasource"));
    let panels = dashboard["panels"].as_array().unwrap();
    let mut seen = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(panel["description"].as_str().unwrap().len() > 10, "{title}");
        for target in panel["targets"].as_array().unwrap() {
            assert!(target["expr"].as_str().unwrap().contains("unicron_"), "{title}");
        }
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        let place = (at("x"), at("y"), at("w"), at("h"));
        assert!(place.0 + place.2 <= 24, "{title}");
        let overlaps = |other: &&(u64, u64, u64, u64)| {
            place.0 < other.0 + other.2
                && other.0 < place.0 + place.2
                && place.1 < other.1 + other.3
                && other.1 < place.1 + place.3
        };
        assert_eq!(seen.iter().find(overlaps), None, "{title}");
        seen.push(place);
    }
}

/// A folder of programs that stand for Slurm's, on this machine alone.
fn slurm(folder: &Path) {
    let programs = [
        ("scontrol", "case $1 in show) echo localhost ;; *) echo \"$@\" >> \"$CALLS\" ;; esac"),
        (
            "srun",
            "while [ \"${1#--}\" != \"$1\" ]; do shift; done\n\
             SLURMD_NODENAME=localhost SLURM_GPUS_ON_NODE=2 exec \"$@\"",
        ),
    ];
    for (name, text) in programs {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/bash\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::os::unix::fs::symlink(UNICRON.0, folder.join("unicron")).unwrap();
}

/// The exit code of the script for a task, and what was asked of `scontrol`.
fn run_in_slurm(script: &str, toml: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let programs = folder.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    slurm(&programs);
    std::fs::write(folder.path().join("task.toml"), toml).unwrap();
    let calls = folder.path().join("calls");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let path = std::env::join_paths([programs, "/usr/bin".into(), "/bin".into()]).unwrap();
    let output = Command::new("bash")
        .arg(deploy(script))
        .arg("task.toml")
        .current_dir(folder.path())
        .env("PATH", path)
        .env("CALLS", &calls)
        .env("SLURM_JOB_ID", "7")
        .env("SLURM_JOB_NODELIST", "localhost")
        .env("UNICRON_PORT", free.to_string())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code().unwrap_or_else(|| panic!("{stderr}"));
    (code, std::fs::read_to_string(calls).unwrap_or_default())
}

#[test]
fn the_slurm_script_ends_with_its_task_and_says_whether_another_run_helps() {
    let task = |script: &str| {
        format!("name = \"it\"\nworkers = 1\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\n")
    };
    assert_eq!(run_in_slurm("slurm/cluster.sbatch", &task("exit 0")), (0, String::new()));
    let not_a_task = "name = \"it\"\nworkers = 0\ncommand = [\"true\"]\n";
    assert_eq!(run_in_slurm("slurm/cluster.sbatch", not_a_task), (93, String::new()));
}

#[test]
fn shells_understand_the_scripts() {
    for script in files("slurm", ".sbatch") {
        let output = Command::new("bash").arg("-n").arg(&script).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let Some(shellcheck) = common::testing::shellcheck() else { continue };
        let output = Command::new(shellcheck).arg(&script).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
