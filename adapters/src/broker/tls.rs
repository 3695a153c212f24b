//! TLS: who vouches for the broker's certificate.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::BrokerError;

/// What rustls says first of a certificate it does not accept; each client library passes it on in words only.
const NOT_TRUSTED: &str = "invalid peer certificate";

/// The file of the certificates that vouch for the broker's, in PEM; the system's where the URL names none.
///
/// The file is read again for each connection, so it may be renewed while the process runs.
#[derive(Clone, Debug)]
pub(super) struct Ca(Option<PathBuf>);

impl Ca {
    /// Checks the file, so that a mistake is told at the start.
    pub(super) fn new(file: Option<String>) -> Result<Self, BrokerError> {
        if CryptoProvider::get_default().is_none() {
            // Where rustls has several to choose from it would panic; that another was faster is all right.
            let _ = ring::default_provider().install_default();
        }
        let ca = Self(file.map(PathBuf::from));
        ca.certificates()?;
        Ok(ca)
    }

    /// The file that the URL names.
    #[cfg(feature = "nats")]
    pub(super) fn file(&self) -> Option<&Path> {
        self.0.as_deref()
    }

    /// The text of the file.
    pub(super) fn pem(&self) -> Result<Option<Vec<u8>>, BrokerError> {
        let read = |path: &PathBuf| std::fs::read(path).map_err(|error| unusable(path, &error));
        self.0.as_ref().map(read).transpose()
    }

    /// The certificates in the file.
    pub(super) fn certificates(&self) -> Result<Option<Vec<CertificateDer<'static>>>, BrokerError> {
        let (Some(path), Some(pem)) = (&self.0, self.pem()?) else {
            return Ok(None);
        };
        let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|error| unusable(path, &error))?;
        if certificates.is_empty() {
            return Err(unusable(path, &"it holds no certificate in PEM format"));
        }
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            let added = roots.add(certificate.clone());
            added.map_err(|error| unusable(path, &error))?;
        }
        Ok(Some(certificates))
    }

    /// Names the remedy where a connection failed because the certificate is not trusted.
    pub(super) fn explain(&self, error: BrokerError) -> BrokerError {
        match (error, &self.0) {
            (BrokerError::Unavailable(reason), Some(path)) if reason.contains(NOT_TRUSTED) => BrokerError::Refused(
                format!("{reason}; it was checked against the CA file {}", path.display()),
            ),
            (BrokerError::Unavailable(reason), None) if reason.contains(NOT_TRUSTED) => BrokerError::Refused(format!(
                "{reason}; it was checked against the system's CAs, ?ca=/path/to/ca.pem names another"
            )),
            (error, _) => error,
        }
    }
}

fn unusable(path: &Path, problem: &dyn std::fmt::Display) -> BrokerError {
    BrokerError::Refused(format!("cannot use the CA file {}: {problem}", path.display()))
}
