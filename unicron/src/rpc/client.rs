//! Finding the coordinator that leads, and talking to it.

use super::{AUTHORIZATION, LEADER, MOST_MESSAGE_BYTES, Tls};
use crate::proto::v1::coordinator_client::CoordinatorClient;
use crate::{Error, Result};
use std::time::Duration;
use tokio::net::TcpStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// A coordinator's client.
pub type Client = CoordinatorClient<InterceptedService<Channel, Token>>;

/// Where coordinators are, and how they know us.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// `host:port` of each.
    addresses: Vec<String>,
    tls: Option<Tls>,
    token: Token,
}

/// Adds a token to every request.
#[derive(Debug, Clone, Default)]
pub struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert(AUTHORIZATION, token.clone());
        }
        Ok(request)
    }
}

/// Connecting within a machine room takes milliseconds.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);

/// What trying to reach a coordinator has shown.
#[derive(Debug)]
pub enum Reached {
    /// Something listens there.
    Listening(Box<Client>),
    /// The machine says that nothing listens.
    Refused,
    /// Silence, or an error on the way.
    Silent(String),
}

impl Endpoints {
    /// `addresses` are `host:port`, several separated by commas.
    ///
    /// # Errors
    /// If one is no address, or the token can't be sent.
    pub fn new(addresses: &str, tls: Option<Tls>, token: Option<&str>) -> Result<Self> {
        let bad = |problem: String| Error::Setting { setting: "--coordinator".to_owned(), problem };
        let addresses: Vec<String> = addresses.split(',').map(|a| a.trim().to_owned()).collect();
        for address in &addresses {
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none() {
                return Err(bad(format!("{address:?} is not host:port")));
            }
        }
        let token = match token {
            Some(token) => {
                let value = format!("Bearer {token}").parse();
                Some(value.map_err(|_| bad("the token has characters that can't be sent".into()))?)
            }
            None => None,
        };
        Ok(Self { addresses, tls, token: Token(token) })
    }

    /// `host:port` of each.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Tries one address.
    pub async fn reach(&self, address: &str) -> Reached {
        // The kernel's own answer says more than a channel's error does.
        match tokio::time::timeout(CONNECT_PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                return Reached::Refused;
            }
            Ok(Err(error)) => return Reached::Silent(error.to_string()),
            Err(_) => return Reached::Silent("no answer".to_owned()),
        }
        match self.channel(address).await {
            Ok(channel) => {
                let client = CoordinatorClient::with_interceptor(channel, self.token.clone());
                Reached::Listening(Box::new(
                    client
                        .max_decoding_message_size(MOST_MESSAGE_BYTES)
                        .max_encoding_message_size(MOST_MESSAGE_BYTES),
                ))
            }
            Err(error) => Reached::Silent(with_causes(&error)),
        }
    }

    /// A server that doesn't like a certificate closes the connection, often before it can say why.
    fn with_hint(&self, error: Error) -> Error {
        match error {
            Error::Unreachable { what, problem } if self.tls.is_some() => {
                let hint = "is a certificate missing, expired, or of another authority?";
                Error::Unreachable { what, problem: format!("{problem}; {hint}") }
            }
            error => error,
        }
    }

    async fn channel(
        &self,
        address: &str,
    ) -> std::result::Result<Channel, tonic::transport::Error> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))?
            .connect_timeout(CONNECT_PATIENCE)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10));
        if let Some(tls) = &self.tls {
            endpoint = endpoint.tls_config(tls.client())?;
        }
        endpoint.connect().await
    }

    /// The client of the coordinator that leads, for a person's request.
    ///
    /// # Errors
    /// If none can be reached.
    pub async fn client(&self) -> Result<Client> {
        let mut problems = Vec::new();
        for address in &self.addresses {
            match self.reach(address).await {
                Reached::Listening(client) => return Ok(*client),
                Reached::Refused => problems.push(format!("{address}: nothing listens there")),
                Reached::Silent(problem) => problems.push(format!("{address}: {problem}")),
            }
        }
        Err(Error::Unreachable { what: "coordinator".to_owned(), problem: problems.join("; ") })
    }

    /// Asks the coordinator that leads: the one that is reached says who that is, if it isn't itself.
    ///
    /// # Errors
    /// If none can be reached, nobody leads, or the request is refused.
    pub async fn ask<T, F>(&self, request: impl Fn(Client) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<tonic::Response<T>, Status>>,
    {
        let mut client = self.client().await?;
        for _ in 0..3 {
            match request(client).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => match leader(&status) {
                    Some(leader) if !leader.is_empty() => match self.reach(&leader).await {
                        Reached::Listening(other) => client = *other,
                        Reached::Refused => {
                            return Err(unreachable(&leader, "it leads, and is gone"));
                        }
                        Reached::Silent(problem) => return Err(unreachable(&leader, &problem)),
                    },
                    Some(_) => return Err(unreachable("coordinators", "nobody leads at present")),
                    None => return Err(self.with_hint(refused(&status))),
                },
            }
        }
        Err(unreachable("coordinators", "each says that another leads"))
    }
}

/// Who leads, if that is why a coordinator doesn't answer; empty if nobody does.
#[must_use]
pub fn leader(status: &Status) -> Option<String> {
    let value = status.metadata().get(LEADER)?.to_str().ok()?;
    (status.code() == Code::Unavailable).then(|| value.to_owned())
}

/// A request that a coordinator refuses.
#[must_use]
pub fn refused(status: &Status) -> Error {
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled => {
            Error::Unreachable { what: "coordinator".to_owned(), problem: with_causes(status) }
        }
        _ => Error::Refused { problem: status.message().to_owned() },
    }
}

fn unreachable(what: &str, problem: &str) -> Error {
    Error::Unreachable { what: what.to_owned(), problem: problem.to_owned() }
}

/// An error with everything that caused it, each said once.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
