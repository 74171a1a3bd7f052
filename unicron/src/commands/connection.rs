//! What the commands that talk to a coordinator have in common.

use crate::rpc::{Endpoints, TlsFiles};
use clap::Args;
use std::path::PathBuf;

/// Where the coordinator is, and how it knows us.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// The coordinator's host:port; several, separated by commas, where several share the work
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7100")]
    pub coordinator: String,
    #[command(flatten)]
    pub security: Security,
}

/// Certificates and token.
#[derive(Debug, Clone, Args)]
pub struct Security {
    /// Whom to trust: certificates of authorities, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// One's own certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_ca", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// A file with the token that the coordinator asks for
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

impl Connection {
    /// The coordinators' addresses with certificates and token.
    pub fn endpoints(&self) -> crate::Result<Endpoints> {
        let token = self.security.token()?;
        let tls = self.security.tls_files().map(|files| files.read()).transpose()?;
        Endpoints::new(&self.coordinator, tls, token.as_deref())
    }
}

impl Security {
    /// The files, if TLS is wanted.
    pub fn tls_files(&self) -> Option<TlsFiles> {
        let Self { tls_ca, tls_cert, tls_key, .. } = self.clone();
        Some(TlsFiles { ca: tls_ca?, certificate: tls_cert, key: tls_key })
    }

    /// The token, if there is one.
    pub fn token(&self) -> crate::Result<Option<String>> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let read = std::fs::read_to_string(path);
        let text = read.map_err(|source| crate::Error::Io { path: path.clone(), source })?;
        Ok(Some(text.trim().to_owned()))
    }
}

/// As [`wait_for`], on this thread alone: what hands one message after the other on gains nothing from a second
/// one but the time to wake it.
pub fn wait_on_one_thread<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Runs to the end what waits for others.
pub fn wait_for<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(work)
}
