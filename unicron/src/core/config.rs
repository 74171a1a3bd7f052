//! What a user may set of how failures are handled. Few numbers, from which every other is derived.

/// Budgets and time-outs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// How often a mild failure is reattempted in place before the process is restarted.
    pub reattempts: usize,
    /// How often a process is restarted on its node before the node is isolated.
    pub restarts: usize,
    /// How often a task may fail for the same reason without having made progress before it is stopped.
    /// Stopping a task that would have recovered costs more than trying once more, so it takes several.
    pub returns: usize,
    /// After so many seconds without an answer an action has failed: a reattempt after this, a restart
    /// after five times as long.
    pub patience_s: f64,
    /// What may be done without anybody asking for it.
    pub authority: Authority,
}

/// What may be done without anybody asking for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Authority {
    /// Whatever the plan and the failures call for.
    #[default]
    Act,
    /// Nothing to what lives: it is said instead. What has ended is started again in its place, as any
    /// launcher does it.
    Advise,
}

impl Default for Config {
    fn default() -> Self {
        // NVRx gives the same root three retries without progress, DLRover three restarts of a node
        // (field notes 3). Sixty seconds is torchft's time-out of a collective operation.
        let authority = Authority::Act;
        Self { reattempts: 1, restarts: 2, returns: 3, patience_s: 60.0, authority }
    }
}

/// A restart takes longer than a reattempt: interpreter, libraries, device, state.
const RESTART_PATIENCE: f64 = 5.0;

impl Config {
    /// How long a restart may take.
    #[must_use]
    pub fn restart_patience_s(&self) -> f64 {
        RESTART_PATIENCE * self.patience_s
    }
}
