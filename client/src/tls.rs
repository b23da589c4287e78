//! Whom a client trusts when it connects to an `https` address. No certificates of our own: tokens go in
//! headers.

use crate::error::ClientError;
use hyper_rustls::ConfigBuilderExt;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Authorities whose certificates are believed.
#[derive(Clone, Debug)]
pub struct Trust(ClientConfig);

impl Trust {
    /// The authorities of a PEM file, or the public ones.
    pub fn of(ca_file: Option<&Path>) -> Result<Self, ClientError> {
        let failed = |why: String| ClientError::BadTrust { path: ca_file.map(PathBuf::from).unwrap_or_default(), why };
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| failed(error.to_string()))?;
        let Some(path) = ca_file else { return Ok(Self(builder.with_webpki_roots().with_no_client_auth())) };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))? {
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            roots.add(certificate).map_err(|error| failed(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(failed("it holds no certificate".to_owned()));
        }
        Ok(Self(builder.with_root_certificates(roots).with_no_client_auth()))
    }

    /// For a connector that says itself which protocols it speaks.
    pub(crate) fn into_config(self) -> ClientConfig {
        self.0
    }

    /// For a connection that speaks this protocol and no other.
    pub(crate) fn speaking(&self, protocol: &[u8]) -> Arc<ClientConfig> {
        let mut config = self.0.clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config)
    }
}
