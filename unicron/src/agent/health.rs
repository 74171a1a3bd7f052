//! A node's health, by a command of its owner: exit code 0 is healthy, 1 and 2 are not (as for Nagios'
//! checks, warning and critical), everything else says nothing.
//!
//! A check that can't be run doesn't make a node unhealthy: unavailable is not unhealthy.

use crate::proto::v1::Health;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::mpsc::UnboundedSender;

/// A command that says whether a node is healthy.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    /// Run by the shell.
    pub command: String,
    /// How often.
    pub interval: Duration,
}

/// A check that takes longer says nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of its output that are told.
const MOST_TEXT_BYTES: usize = 400;

impl HealthCheck {
    /// Runs the check again and again.
    pub async fn run(self, results: UnboundedSender<Health>) {
        loop {
            if let Some(health) = self.once().await
                && results.send(health).is_err()
            {
                return;
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    /// What the check says; `None` if nothing.
    async fn once(&self) -> Option<Health> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(&self.command).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await.ok()?.ok()?;
        let is_healthy = match output.status.code()? {
            0 => true,
            1 | 2 => false,
            _ => return None,
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let text = text.trim();
        let text = text[..text.floor_char_boundary(MOST_TEXT_BYTES)].to_owned();
        Some(Health { is_healthy, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_check_that_cannot_be_run_says_nothing() {
        let check = |command: &str| HealthCheck {
            command: command.to_owned(),
            interval: Duration::from_secs(1),
        };
        assert!(check("exit 0").once().await.unwrap().is_healthy);
        let sick = check("echo ' fan 3 is dead '; exit 2").once().await.unwrap();
        assert_eq!((sick.is_healthy, sick.text.as_str()), (false, "fan 3 is dead"));
        assert_eq!(check("no-such-command-anywhere").once().await, None);
    }
}
