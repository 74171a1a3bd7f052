//! The lease that a worker lives on.
//!
//! A worker that is cut off from everybody can't be told to stop, so it stops by itself when its lease
//! runs out: after that, others may have its work. A thread of its own watches, because the worker's main
//! thread may be the one that hangs.

use crate::{Error, Result};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// A lease that is watched.
#[derive(Debug)]
pub struct Lease {
    renewals: Sender<Option<Instant>>,
}

/// The longest lease that is counted; a longer one is as good as none.
const MOST_SECONDS: f64 = 1e6;

impl Lease {
    /// Watches from now on, without a limit yet. `run_out` is called when a lease has run out: it is to
    /// end the process.
    ///
    /// # Errors
    /// [`Error::Network`] if there is no thread to be had.
    pub fn watch(run_out: impl FnOnce() + Send + 'static) -> Result<Self> {
        let (renewals, heard) = mpsc::channel();
        let watcher = thread::Builder::new().name("lease".to_owned());
        let watching = watcher.spawn(move || {
            let mut end: Option<Instant> = None;
            loop {
                let renewed = match end {
                    None => heard.recv().map_err(|_| RecvTimeoutError::Disconnected),
                    Some(end) => heard.recv_timeout(end.saturating_duration_since(Instant::now())),
                };
                match renewed {
                    Ok(renewed) => end = renewed,
                    Err(RecvTimeoutError::Timeout) => return run_out(),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        watching.map_err(|error| Error::Network {
            what: "cannot watch the lease".to_owned(),
            problem: error.to_string(),
        })?;
        Ok(Self { renewals })
    }

    /// It lasts so many seconds from now; `None` is without a limit.
    pub fn renew(&self, seconds: Option<f64>) {
        let limit = seconds.filter(|seconds| *seconds <= MOST_SECONDS || seconds.is_nan());
        // `max` makes what is not a number no time at all.
        let end = limit.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds.max(0.0)));
        // The watcher is gone only when the lease had run out.
        let _ = self.renewals.send(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_out_when_it_is_not_renewed() {
        let (sender, ended) = mpsc::channel();
        let clock = Instant::now();
        let lease = Lease::watch(move || sender.send(clock.elapsed()).unwrap()).unwrap();
        lease.renew(Some(0.05));
        lease.renew(None);
        assert!(ended.recv_timeout(Duration::from_millis(100)).is_err());
        lease.renew(Some(10.0));
        lease.renew(Some(0.05));
        let after = ended.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(after >= Duration::from_millis(150), "{after:?}");
    }

    #[test]
    fn a_lease_that_is_given_up_does_not_run_out() {
        let (sender, ended) = mpsc::channel::<()>();
        let lease = Lease::watch(move || sender.send(()).unwrap()).unwrap();
        lease.renew(Some(0.02));
        drop(lease);
        assert_eq!(
            ended.recv_timeout(Duration::from_millis(200)),
            Err(RecvTimeoutError::Disconnected)
        );
    }
}
