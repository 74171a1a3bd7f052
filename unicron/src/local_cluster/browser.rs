//! A browser without a window, to see what a page shows: Chromium, driven over the pipes of its DevTools
//! protocol.

use crate::{Error, Result};
use base64::Engine;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A page in a browser of its own, which ends with this.
#[derive(Debug)]
pub struct Browser {
    process: Child,
    commands: ChildStdin,
    answers: Receiver<Value>,
    /// Of the page.
    session: String,
    next: u64,
    /// Its profile.
    _folder: tempfile::TempDir,
}

/// A busy machine takes seconds to start a browser.
const PATIENCE: Duration = Duration::from_secs(60);

/// The protocol's messages end with a NUL. Shells can hand on the pipes that it wants, without code of ours
/// between fork and exec.
const START: &str = "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1";

/// What the page does is on this machine; so no sandbox is needed, which root has no right to.
const OPTIONS: [&str; 8] = [
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "about:blank",
];

impl Browser {
    /// Opens a page in a window of so many pixels. `before` is a script that runs before the page's own.
    ///
    /// # Errors
    /// If the browser doesn't start, or doesn't answer.
    pub fn open(program: &Path, url: &str, size: (u32, u32), before: &str) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(Error::io(program))?;
        let mut process = Command::new("/bin/sh")
            .args(["-c", START])
            .arg(program)
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .args(OPTIONS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io(program))?;
        let commands = process.stdin.take().expect("it is a pipe");
        let output = process.stdout.take().expect("it is a pipe");
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(output).split(0) {
                let Ok(message) = message.map(|bytes| serde_json::from_slice(&bytes)) else {
                    return;
                };
                // What isn't JSON isn't for us; who doesn't listen any more needs nothing.
                if message.is_ok_and(|message| sender.send(message).is_err()) {
                    return;
                }
            }
        });
        let session = String::new();
        let mut browser = Self { process, commands, answers, session, next: 0, _folder: folder };
        let page = browser.ask("Target.createTarget", json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = browser.ask("Target.attachToTarget", attach)?;
        browser.session = attached["sessionId"].as_str().unwrap_or_default().to_owned();
        browser.resize(size)?;
        browser.ask("Page.enable", json!({}))?;
        let script = json!({ "source": before });
        browser.ask("Page.addScriptToEvaluateOnNewDocument", script)?;
        browser.ask("Page.navigate", json!({ "url": url }))?;
        Ok(browser)
    }

    /// Makes the window so many pixels large.
    ///
    /// # Errors
    /// If the browser doesn't answer.
    pub fn resize(&mut self, (width, height): (u32, u32)) -> Result<()> {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.ask("Emulation.setDeviceMetricsOverride", size).map(|_| ())
    }

    /// The value of an expression on the page.
    ///
    /// # Errors
    /// If it throws, or the browser doesn't answer.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let wanted =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.ask("Runtime.evaluate", wanted)?;
        match answer.get("exceptionDetails") {
            Some(thrown) => Err(unreachable(&format!("{expression}: {thrown}"))),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    /// Waits until an expression on the page is true.
    ///
    /// # Errors
    /// If it isn't within `patience`; with the page's text.
    pub fn until(&mut self, expression: &str, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        // While a page is being loaded there may be nothing to ask.
        while !matches!(self.evaluate(expression), Ok(Value::Bool(true))) {
            if Instant::now() > deadline {
                let text = self.evaluate("document.body.innerText.slice(0, 500)")?;
                return Err(unreachable(&format!("{expression} isn't so on the page: {text}")));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Presses a key, by its name: `ArrowRight`, `Tab`.
    ///
    /// # Errors
    /// If the browser doesn't answer.
    pub fn press(&mut self, key: &str, code: u32) -> Result<()> {
        for kind in ["keyDown", "keyUp"] {
            let event = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code,
            });
            self.ask("Input.dispatchKeyEvent", event)?;
        }
        Ok(())
    }

    /// The window's picture, as PNG.
    ///
    /// # Errors
    /// If the browser doesn't answer.
    pub fn screenshot(&mut self) -> Result<Vec<u8>> {
        let answer = self.ask("Page.captureScreenshot", json!({ "format": "png" }))?;
        let text = answer["data"].as_str().unwrap_or_default();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        bytes.map_err(|error| unreachable(&error.to_string()))
    }

    /// Sends a command and waits for its answer.
    fn ask(&mut self, method: &str, parameters: Value) -> Result<Value> {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).map_err(|error| unreachable(&error.to_string()))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut answer = self.answers.recv_timeout(left).map_err(|error| match error {
                RecvTimeoutError::Timeout => unreachable(&format!("no answer to {method}")),
                RecvTimeoutError::Disconnected => unreachable("it has ended"),
            })?;
            // The rest are events.
            if answer["id"] != json!(self.next) {
                continue;
            }
            return match answer.get("error") {
                Some(error) => Err(unreachable(&format!("{method}: {error}"))),
                None => Ok(answer["result"].take()),
            };
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It closes its own processes; if it can't, it is killed.
        self.session.clear();
        let _ = self.ask("Browser.close", json!({}));
        for _ in 0..50 {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn unreachable(problem: &str) -> Error {
    Error::Unreachable { what: "browser".to_owned(), problem: problem.to_owned() }
}
