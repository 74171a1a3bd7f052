//! The conversation with the coordinator that leads, again and again until the agent ends.

use crate::proto::v1::{FromAgent, Hello, ToAgent, from_agent, to_agent};
use crate::rpc::client::{Reached, leader};
use crate::rpc::{Client, Endpoints};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// What the agent hears of the coordinator.
#[derive(Debug)]
pub enum Incoming {
    /// A coordinator listens: what is there to say? The greeting, and what follows it.
    Connecting(oneshot::Sender<(Hello, mpsc::Receiver<FromAgent>)>),
    /// A message.
    Message(to_agent::Message),
    /// The conversation has ended.
    Gone,
    /// Nobody led at this moment.
    NobodyLeads(Instant),
    /// For people: why there is no conversation. Told when it changes.
    Problem(String),
}

/// Pauses between attempts: the first ones short, for a coordinator that is being restarted.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(1000);

/// What an attempt came to.
enum Outcome {
    /// There was a conversation.
    Talked,
    /// This one leads, it is said; empty if nobody.
    Elsewhere(String),
    Refused,
    Failed(String),
}

/// Converses until nobody listens to `incoming` any more.
pub async fn attend(endpoints: Endpoints, incoming: mpsc::Sender<Incoming>) {
    let mut pause = FIRST_PAUSE;
    let mut last_problem = String::new();
    loop {
        let asked = Instant::now();
        let (outcome, problem) = try_all(&endpoints, &incoming).await;
        let report = match outcome {
            Round::Talked => {
                pause = FIRST_PAUSE;
                last_problem.clear();
                None
            }
            Round::NobodyLeads => Some(Incoming::NobodyLeads(asked)),
            Round::Unknown => None,
        };
        if let Some(report) = report
            && incoming.send(report).await.is_err()
        {
            return;
        }
        if !problem.is_empty() && problem != last_problem {
            last_problem.clone_from(&problem);
            if incoming.send(Incoming::Problem(problem)).await.is_err() {
                return;
            }
        }
        if incoming.is_closed() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

/// What asking every coordinator came to.
enum Round {
    Talked,
    NobodyLeads,
    Unknown,
}

async fn try_all(endpoints: &Endpoints, incoming: &mpsc::Sender<Incoming>) -> (Round, String) {
    let mut addresses: Vec<String> = endpoints.addresses().to_vec();
    let mut asked = 0;
    let mut is_certain = true;
    let mut problems = Vec::new();
    // One that leads may be none of those that were named.
    while let Some(address) = addresses.get(asked).cloned() {
        asked += 1;
        match try_one(endpoints, &address, incoming).await {
            Outcome::Talked => return (Round::Talked, String::new()),
            Outcome::Elsewhere(leader) => {
                if !leader.is_empty() && !addresses.contains(&leader) && addresses.len() < 64 {
                    addresses.push(leader);
                }
            }
            Outcome::Refused => problems.push(format!("{address}: nothing listens there")),
            Outcome::Failed(problem) => {
                is_certain = false;
                problems.push(format!("{address}: {problem}"));
            }
        }
    }
    let round = if is_certain { Round::NobodyLeads } else { Round::Unknown };
    (round, problems.join("; "))
}

async fn try_one(
    endpoints: &Endpoints,
    address: &str,
    incoming: &mpsc::Sender<Incoming>,
) -> Outcome {
    match endpoints.reach(address).await {
        Reached::Refused => Outcome::Refused,
        Reached::Silent(problem) => Outcome::Failed(problem),
        Reached::Listening(client) => converse(*client, incoming).await,
    }
}

async fn converse(mut client: Client, incoming: &mpsc::Sender<Incoming>) -> Outcome {
    let (answer, answered) = oneshot::channel();
    if incoming.send(Incoming::Connecting(answer)).await.is_err() {
        return Outcome::Talked;
    }
    let Ok((hello, messages)) = answered.await else { return Outcome::Talked };
    let greeting = FromAgent { message: Some(from_agent::Message::Hello(hello)) };
    let outgoing = tokio_stream::once(greeting).chain(ReceiverStream::new(messages));
    let mut stream = match client.attend(outgoing).await {
        Ok(response) => response.into_inner(),
        Err(status) => {
            return match leader(&status) {
                Some(leader) => Outcome::Elsewhere(leader),
                None => Outcome::Failed(status.message().to_owned()),
            };
        }
    };
    loop {
        let message = match stream.message().await {
            Ok(Some(ToAgent { message: Some(message) })) => message,
            Ok(Some(ToAgent { message: None })) => continue,
            Ok(None) | Err(_) => break,
        };
        if let to_agent::Message::Refused(refused) = &message {
            let _ = incoming.send(Incoming::Gone).await;
            return Outcome::Failed(refused.reason.clone());
        }
        if incoming.send(Incoming::Message(message)).await.is_err() {
            return Outcome::Talked;
        }
    }
    // Nobody listens when the agent ends.
    let _ = incoming.send(Incoming::Gone).await;
    Outcome::Talked
}
