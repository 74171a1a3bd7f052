//! Thousands of agents in one process, to see how a coordinator bears them.
//!
//! Each is a node of its own, with its own connection, lease and conversation: the code of a real agent
//! up to there. Its worker is made up (`agent`): it is ready a while after it is wanted, and commits
//! iterations at a slow pace. All agents show the same certificate.

mod agent;

use crate::rpc::Endpoints;
use crate::{Error, Result};
use agent::{Agent, Order};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// What a swarm is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Agents, of one slot each.
    pub agents: usize,
    /// Every so many agents one reads slowly; 0 is none.
    pub slow_every: usize,
    /// How long a slow reader takes over each message.
    pub slow_pause: Duration,
    /// From when a worker is wanted until it is ready.
    pub start: Duration,
    /// Between two iterations of a worker.
    pub pace: Duration,
}

/// Agents that connect at the same time: the rest wait for their turn, as those of a real cluster would be
/// started over minutes.
const AT_ONCE: usize = 32;

/// How often it is looked whether something has come true.
const POLL: Duration = Duration::from_millis(50);

/// Agents at work, until this is dropped.
#[derive(Debug)]
pub struct Swarm {
    orders: Vec<mpsc::UnboundedSender<Order>>,
    shared: Arc<Shared>,
    _agents: JoinSet<()>,
}

/// What an agent was told of the group that it works in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// The task; empty before it has one.
    pub task: String,
    /// The group's epoch; 0 before there is a group.
    pub epoch: u64,
    /// When it was told.
    pub since: Option<Instant>,
    /// Whether this agent reads slowly.
    pub is_slow: bool,
}

/// What all agents have met with, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Greetings that were answered: more than there are agents if connections were lost.
    pub welcomes: u64,
    /// Agents that would have stopped their workers, for want of an answered heartbeat.
    pub leases_ended: u64,
    /// States that were taken in.
    pub states: u64,
    /// The longest that an answer to a heartbeat took, in microseconds.
    pub slowest_answer_us: u64,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    began: Instant,
    connecting: Arc<Semaphore>,
    views: Vec<Mutex<View>>,
    welcomes: AtomicU64,
    leases_ended: AtomicU64,
    states: AtomicU64,
    slowest_answer_us: AtomicU64,
}

impl Swarm {
    /// Starts agents that attend at these endpoints.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn start(endpoints: &Endpoints, options: Options) -> Self {
        crate::rpc::file_limit::raise();
        let is_slow =
            |index: usize| options.slow_every > 0 && index.is_multiple_of(options.slow_every);
        let view = |index| Mutex::new(View { is_slow: is_slow(index), ..View::default() });
        let shared = Arc::new(Shared {
            options,
            began: Instant::now(),
            connecting: Arc::new(Semaphore::new(AT_ONCE)),
            views: (0..options.agents).map(view).collect(),
            welcomes: AtomicU64::new(0),
            leases_ended: AtomicU64::new(0),
            states: AtomicU64::new(0),
            slowest_answer_us: AtomicU64::new(0),
        });
        let mut agents = JoinSet::new();
        let orders = (0..options.agents).map(|index| {
            let (sender, orders) = mpsc::unbounded_channel();
            let agent = Agent::new(index, is_slow(index), Arc::clone(&shared));
            agents.spawn(agent.run(endpoints.clone(), orders));
            sender
        });
        let orders = orders.collect();
        Self { orders, shared, _agents: agents }
    }

    /// Kills the workers of these agents, now.
    pub fn kill(&self, agents: impl IntoIterator<Item = usize>) {
        for index in agents {
            // An agent that has ended has no worker.
            let _ = self.orders[index].send(Order::Kill);
        }
    }

    /// What every agent was told, by index.
    #[must_use]
    pub fn views(&self) -> Vec<View> {
        let view = |view: &Mutex<View>| view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.shared.views.iter().map(view).collect()
    }

    /// What they have met with since the last time that this was asked, but greetings since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        Counts {
            welcomes: self.shared.welcomes.load(Ordering::Relaxed),
            leases_ended: take(&self.shared.leases_ended),
            states: take(&self.shared.states),
            slowest_answer_us: take(&self.shared.slowest_answer_us),
        }
    }

    /// Waits until every agent attends.
    ///
    /// # Errors
    /// If that takes longer than `patience`.
    pub async fn until_all_attend(&self, patience: Duration) -> Result<()> {
        let all = self.shared.options.agents as u64;
        self.until(patience, "agents attend", || {
            self.shared.welcomes.load(Ordering::Relaxed).min(all) as usize
        })
        .await
    }

    /// Waits until every agent has a worker in a group.
    ///
    /// # Errors
    /// If that takes longer than `patience`.
    pub async fn until_all_work(&self, patience: Duration) -> Result<()> {
        let works = |view: &&View| view.epoch > 0;
        self.until(patience, "agents have a group", || self.views().iter().filter(works).count())
            .await
    }

    /// Waits until no agent was told anything new for so long.
    ///
    /// # Errors
    /// If that takes longer than `patience`.
    pub async fn until_quiet(&self, quiet: Duration, patience: Duration) -> Result<()> {
        let is_quiet = |view: &&View| view.since.is_none_or(|since| since.elapsed() >= quiet);
        self.until(patience, "agents have heard the last", || {
            self.views().iter().filter(is_quiet).count()
        })
        .await
    }

    async fn until(&self, patience: Duration, what: &str, count: impl Fn() -> usize) -> Result<()> {
        let (deadline, all) = (Instant::now() + patience, self.shared.options.agents);
        loop {
            let reached = count();
            if reached >= all {
                return Ok(());
            }
            if Instant::now() > deadline {
                let problem = format!("after {patience:?} {reached} of {all} {what}");
                return Err(Error::Unreachable { what: "swarm".to_owned(), problem });
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
