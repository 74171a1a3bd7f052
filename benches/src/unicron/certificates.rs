//! Certificates of an authority that lives as long as an experiment.

use anyhow::Context;
use std::path::Path;
use unicron::local_cluster::Encryption;
use unicron::rpc::TlsFiles;

/// Writes certificates for a coordinator and for those who talk to it into a folder.
pub fn written_into(folder: &Path) -> anyhow::Result<Encryption> {
    let mut parameters = rcgen::CertificateParams::new([])?;
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?;
    let issuer = rcgen::Issuer::new(parameters, key);
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
        anyhow::Ok(path)
    };
    let ca = write("authority.pem", certificate.pem())?;
    let issue = |name: &str| {
        let key = rcgen::KeyPair::generate()?;
        let names = [name.to_owned(), "127.0.0.1".to_owned()];
        let certificate = rcgen::CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        let certificate = Some(write(&format!("{name}.pem"), certificate.pem())?);
        let key = Some(write(&format!("{name}-key.pem"), key.serialize_pem())?);
        anyhow::Ok(TlsFiles { ca: ca.clone(), certificate, key })
    };
    Ok(Encryption { coordinator: issue("coordinator")?, client: issue("client")? })
}
