//! TLS to a cache (RFC 8210 §9.2): whom we trust, and errors that say what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// Where distributions keep what they trust: Debian, Fedora, OpenSUSE.
const BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];
/// A bundle of all public CAs has some 150; a file with more is none.
const MAX_CERTIFICATES: usize = 10_000;

/// A connector that trusts the certificates of `ca`, or those of the system. Reads files: before privileges are dropped.
pub fn connector(ca: Option<&Path>) -> io::Result<TlsConnector> {
    let path = match ca {
        Some(path) => path.to_owned(),
        None => BUNDLES
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    "this system has no bundle of trusted certificates: name the cache's own with --rtr-ca FILE",
                )
            })?,
    };
    let wrong = |why: String| {
        let why = format!("{}: {why}", path.display());
        io::Error::new(io::ErrorKind::InvalidData, why)
    };
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(&path).map_err(|error| wrong(error.to_string()))?;
    for certificate in certificates.take(MAX_CERTIFICATES) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        match roots.add(certificate) {
            Ok(()) => {}
            // One odd certificate in a system's bundle is not ours to judge; one that was named is.
            Err(error) if ca.is_some() => return Err(wrong(error.to_string())),
            Err(_) => {}
        }
    }
    if roots.is_empty() {
        return Err(wrong("holds no certificate (PEM)".to_owned()));
    }
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The name that the cache's certificate must bear.
pub fn server_name(host: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{host:?} cannot be the name in a certificate"),
        )
    })
}

/// What an operator can do about a failed handshake.
pub fn explain(error: &io::Error) -> String {
    let text = error.to_string();
    // A signature that does not fit is of somebody with the same name as one whom we trust.
    if text.contains("UnknownIssuer") || text.contains("BadSignature") {
        return "TLS: its certificate is signed by nobody we trust; name the CA with --rtr-ca FILE"
            .to_owned();
    }
    if text.contains("NotValidForName") || text.contains("not valid for name") {
        return format!("TLS: its certificate is for another name ({text})");
    }
    if text.contains("InvalidContentType") || text.contains("corrupt message") {
        return "TLS: it does not speak TLS on this port".to_owned();
    }
    format!("TLS: {text}")
}
