//! How files travel: settings that a command takes from its environment and a test sets itself.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of the network and of the programs that fetch for us.
#[derive(Clone)]
pub struct Transport {
    /// The Python whose pip fetches wheels.
    pub python: String,
    /// Further arguments of `pip download`, e.g. `--no-index --find-links FOLDER`.
    pub pip_arguments: Vec<String>,
    /// Address of the Hugging Face hub, without a slash at its end.
    pub hub_endpoint: String,
    /// The hub's cache folder, shared with every other program that uses it.
    pub hub_cache: PathBuf,
    /// The hub's access token, for repositories that want one.
    pub hub_token: Option<String>,
    /// How often a broken download is tried, the first time included.
    pub attempts: u32,
    /// Pause before the second attempt; it doubles from attempt to attempt.
    pub retry_pause: Duration,
}

impl Transport {
    /// The address of the Hugging Face hub.
    pub const HUB: &'static str = "https://huggingface.co";

    /// Default settings, with the hub's cache in `hub_cache`.
    #[must_use]
    pub fn new(hub_cache: PathBuf) -> Self {
        Self {
            python: "python3".to_owned(),
            pip_arguments: Vec::new(),
            hub_endpoint: Self::HUB.to_owned(),
            hub_cache,
            hub_token: None,
            attempts: 4,
            retry_pause: Duration::from_millis(500),
        }
    }

    /// The pause after `failures` failed attempts.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        self.retry_pause * (1 << failures.saturating_sub(1).min(6))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("python", &self.python)
            .field("pip_arguments", &self.pip_arguments)
            .field("hub_endpoint", &self.hub_endpoint)
            .field("hub_cache", &self.hub_cache)
            // A token must not end in a log.
            .field("hub_token", &self.hub_token.as_ref().map(|_| "set"))
            .field("attempts", &self.attempts)
            .field("retry_pause", &self.retry_pause)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_never_shown() {
        let mut transport = Transport::new(PathBuf::from("cache"));
        transport.hub_token = Some("secret-value".to_owned());
        assert!(!format!("{transport:?}").contains("secret-value"));
    }

    #[test]
    fn pauses_double() {
        let transport = Transport::new(PathBuf::new());
        let pauses: Vec<u128> = (1..4).map(|n| transport.pause(n).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000]);
        assert!(transport.pause(u32::MAX) <= Duration::from_secs(60));
    }
}
