//! Certificates of servers and clients.

use crate::{Error, Result};
use std::path::{Path, PathBuf};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// Where certificates lie, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Of whom to trust.
    pub ca: PathBuf,
    /// One's own certificate, which both sides need: a server asks every client for one.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// Certificates that were read.
#[derive(Debug, Clone)]
pub struct Tls {
    ca: Certificate,
    identity: Option<Identity>,
}

impl TlsFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// If one can't be read, isn't PEM, or a certificate comes without its key.
    pub fn read(&self) -> Result<Tls> {
        let ca = Certificate::from_pem(read_pem(&self.ca, "CERTIFICATE")?);
        let identity = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some(Identity::from_pem(
                read_pem(certificate, "CERTIFICATE")?,
                read_pem(key, "PRIVATE KEY")?,
            )),
            (None, None) => None,
            _ => {
                return Err(Error::Setting {
                    setting: "--tls-cert and --tls-key".to_owned(),
                    problem: "one without the other".to_owned(),
                });
            }
        };
        Ok(Tls { ca, identity })
    }
}

/// A file that has a block of this sort, so that a mix-up is told here, by the file's name.
fn read_pem(path: &Path, sort: &str) -> Result<Vec<u8>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let is_there = text.lines().any(|line| line.starts_with("-----BEGIN ") && line.contains(sort));
    if is_there {
        return Ok(text.into_bytes());
    }
    Err(Error::line(path, 1, format!("there is no PEM block {sort:?} in it")))
}

impl Tls {
    /// For a server, which asks every client for a certificate.
    ///
    /// # Errors
    /// If the server has no certificate of its own.
    pub fn server(&self) -> Result<ServerTlsConfig> {
        let Some(identity) = self.identity.clone() else {
            return Err(Error::Setting {
                setting: "--tls-cert".to_owned(),
                problem: "a coordinator needs its own certificate, with --tls-key".to_owned(),
            });
        };
        Ok(ServerTlsConfig::new().identity(identity).client_ca_root(self.ca.clone()))
    }

    /// For a client.
    #[must_use]
    pub fn client(&self) -> ClientTlsConfig {
        let config = ClientTlsConfig::new().ca_certificate(self.ca.clone());
        match &self.identity {
            Some(identity) => config.identity(identity.clone()),
            None => config,
        }
    }
}
