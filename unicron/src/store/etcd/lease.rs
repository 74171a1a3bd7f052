//! A lease that is kept alive in the background, and known to have run out no later than etcd knows: a ttl
//! after the last renewal that was answered, counted from when it was asked for.

use super::Etcd;
use super::client::Client;
use super::wire::lease_client::LeaseClient;
use super::wire::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, LeaseRevokeResponse,
};
use crate::Result;
use crate::store::over::Over;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tonic::{Code, Response, Status};

/// The longest ttl that is asked for, in seconds. Nobody waits for a dead leader longer than a day.
const MOST_TTL_S: u64 = 86_400;

#[derive(Debug)]
pub(super) struct Lease {
    pub id: i64,
    pub ttl: Duration,
    /// Ends when the lease does.
    pub over: Arc<Over>,
    client: Client,
    keeper: JoinHandle<()>,
    is_revoked: AtomicBool,
    left_leases: Arc<Mutex<Vec<i64>>>,
}

impl Lease {
    /// A new lease; etcd may grant a longer ttl than is asked for.
    pub async fn grant(etcd: &Etcd, ttl: Duration) -> Result<Self> {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let ttl = seconds.clamp(1, MOST_TTL_S) as i64;
        let begin = Instant::now();
        let request = LeaseGrantRequest { ttl, id: 0 };
        let granted = etcd
            .client
            .call("grant a lease", |channel| async move {
                LeaseClient::new(channel).lease_grant(request).await
            })
            .await?;
        if granted.id == 0 || granted.ttl <= 0 {
            return Err(etcd.client.error(format!("it grants no lease: {}", granted.error)));
        }
        let ttl = Duration::from_secs(granted.ttl.unsigned_abs().min(MOST_TTL_S));
        let over = Arc::new(Over::new());
        let keeper = keep(etcd.client.clone(), granted.id, ttl, begin, Arc::clone(&over));
        Ok(Self {
            id: granted.id,
            ttl,
            over,
            client: etcd.client.clone(),
            keeper: tokio::spawn(keeper),
            is_revoked: AtomicBool::new(false),
            left_leases: Arc::clone(&etcd.left_leases),
        })
    }

    /// Ends it, and with it the keys that it holds.
    pub async fn revoke(&self, why: &str) -> Result<()> {
        self.over.end(why);
        revoke(&self.client, self.id).await?;
        self.is_revoked.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.keeper.abort();
        if !self.is_revoked.load(Ordering::Relaxed) {
            self.left_leases.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
        }
    }
}

/// Revokes the leases of this store's earlier leaderships, else it would wait for its own to run out.
pub(super) async fn revoke_left(etcd: &Etcd) -> Result<()> {
    let left = || etcd.left_leases.lock().unwrap_or_else(PoisonError::into_inner).last().copied();
    while let Some(id) = left() {
        revoke(&etcd.client, id).await?;
        let mut leases = etcd.left_leases.lock().unwrap_or_else(PoisonError::into_inner);
        leases.retain(|&other| other != id);
    }
    Ok(())
}

async fn revoke(client: &Client, id: i64) -> Result<()> {
    let attempt = |channel| async move {
        match LeaseClient::new(channel).lease_revoke(LeaseRevokeRequest { id }).await {
            // It has run out, or an attempt before this one has worked.
            Err(status) if status.code() == Code::NotFound => {
                Ok(Response::new(LeaseRevokeResponse {}))
            }
            answer => answer,
        }
    };
    client.call("revoke a lease", attempt).await.map(|_| ())
}

/// Renews the lease thrice a ttl until it is over.
async fn keep(client: Client, id: i64, ttl: Duration, granted: Instant, over: Arc<Over>) {
    let mut renewed = granted;
    loop {
        tokio::select! {
            () = sleep_until(renewed + ttl / 3) => {}
            _ = over.wait() => return,
        }
        let begin = Instant::now();
        let left = (renewed + ttl).saturating_duration_since(begin);
        match renew(&client, id, left).await {
            Ok(seconds) if seconds > 0 => renewed = begin,
            Ok(_) => return over.end("etcd has ended its lease"),
            Err(error) => {
                // An answer that is final may come early.
                sleep_until(renewed + ttl).await;
                return over.end(format!("its lease could not be renewed: {error}"));
            }
        }
    }
}

/// Gives the seconds that the lease has from now on; none if there is no such lease.
async fn renew(client: &Client, id: i64, patience: Duration) -> Result<i64> {
    let attempt = |channel| async move {
        let request = tokio_stream::once(LeaseKeepAliveRequest { id });
        let mut answers = LeaseClient::new(channel).lease_keep_alive(request).await?.into_inner();
        let answer = answers.message().await?;
        answer.map(Response::new).ok_or_else(|| Status::unavailable("no answer"))
    };
    client.call_within(patience, "renew a lease", attempt).await.map(|answer| answer.ttl)
}
