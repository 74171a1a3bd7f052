//! Who may talk to a coordinator.

use super::UNICRON;
use crate::certificates::Authority;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The arguments that use a certificate of an authority, valid until that year.
fn certified(folder: &Path, authority: &Authority, name: &str, until_year: i32) -> Vec<String> {
    let path = |end: &str| folder.join(format!("{name}.{end}"));
    let (certificate, key) = authority.issue_until(name, until_year);
    std::fs::write(path("ca"), authority.pem()).unwrap();
    std::fs::write(path("pem"), certificate).unwrap();
    std::fs::write(path("key"), key).unwrap();
    let pairs = [("--tls-ca", path("ca")), ("--tls-cert", path("pem")), ("--tls-key", path("key"))];
    let words = |(name, path): (&str, PathBuf)| [name.to_owned(), path.display().to_string()];
    pairs.into_iter().flat_map(words).collect()
}

/// A coordinator that ends with the test.
struct Coordinator {
    process: Child,
    address: String,
}

impl Coordinator {
    fn start(folder: &Path, arguments: &[String]) -> Self {
        let data = folder.join("data").display().to_string();
        let mut process = Command::new(UNICRON.0)
            .args(["coordinator", "--listen", "127.0.0.1:0", "--data", &data])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let line = lines.find(|line| line.as_ref().unwrap().contains("listens on ")).unwrap();
        let address = line.unwrap().split_once("listens on ").unwrap().1.to_owned();
        // Until then it says only that nobody leads.
        lines.find(|line| line.as_ref().unwrap().contains("leads in term ")).unwrap().unwrap();
        // What it says later is read, so that it is never blocked.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address }
    }

    /// What `unicron nodes` says with these arguments.
    fn ask(&self, arguments: &[String]) -> (Option<i32>, String) {
        let fixed = ["nodes", "--coordinator", &self.address].map(str::to_owned);
        let all: Vec<String> = fixed.into_iter().chain(arguments.iter().cloned()).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let output = UNICRON.run(&all);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn certificates_and_tokens_are_asked_for_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new(), Authority::new());
    let certified =
        |authority, name, until_year| certified(folder.path(), authority, name, until_year);
    let token = |name: &str, token: &str| -> Vec<String> {
        let path = folder.path().join(name);
        std::fs::write(&path, token).unwrap();
        vec!["--token-file".to_owned(), path.display().to_string()]
    };
    let right = token("right", "open sesame\n");
    let wrong = token("wrong", "open barley");
    let server = [certified(&ours, "server", 2090), right.clone()].concat();
    let coordinator = Coordinator::start(folder.path(), &server);
    let ask = |arguments: Vec<Vec<String>>| coordinator.ask(&arguments.concat());

    let client = certified(&ours, "client", 2090);
    let (code, error) = ask(vec![client.clone(), right.clone()]);
    assert_eq!(code, Some(0), "{error}");

    let (code, error) = ask(vec![client.clone(), wrong]);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("the token is missing or wrong"), "{error}");
    let (code, error) = ask(vec![client]);
    assert!(code == Some(2) && error.contains("token"), "{error}");

    let expired = certified(&ours, "expired", 2021);
    let (code, error) = ask(vec![expired, right.clone()]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.to_lowercase().contains("expired"), "{error}");

    let (code, error) = ask(vec![certified(&theirs, "stranger", 2090), right.clone()]);
    assert_eq!(code, Some(1), "{error}");
    let (code, error) = ask(vec![right]);
    assert_eq!(code, Some(1), "{error}");
}

#[test]
fn certificates_that_are_none_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, "hello").unwrap();
    let path = path.display().to_string();
    UNICRON.fails(&["nodes", "--tls-ca", &path], 2, "there is no PEM block \"CERTIFICATE\" in it");
}
