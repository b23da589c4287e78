//! Whom a client trusts when it connects to an `https` address. No certificates of our own: tokens go in
//! headers. A server's own certificate may be named instead of an authority's: that is what `openssl req -x509`
//! makes, and it marks it as an authority, which no server should be.

use crate::error::ClientError;
use hyper_rustls::ConfigBuilderExt;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
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
        let (mut roots, mut named) = (RootCertStore::empty(), Vec::new());
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))? {
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            named.push(certificate.clone());
            roots.add(certificate).map_err(|error| failed(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(failed("it holds no certificate".to_owned()));
        }
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
        let authorities = authorities.build().map_err(|error| failed(error.to_string()))?;
        let verifier = Arc::new(Named { authorities, named });
        Ok(Self(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
    }

    /// For a connector that says itself which protocols it speaks.
    pub fn into_config(self) -> ClientConfig {
        self.0
    }

    /// For a connection that speaks this protocol and no other.
    pub(crate) fn speaking(&self, protocol: &[u8]) -> Arc<ClientConfig> {
        let mut config = self.0.clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config)
    }
}

/// The authorities of a file; or the very certificate that the file holds, for a name that it is for. All else
/// about it is as strict as ever: name, proof of the private key.
#[derive(Debug)]
struct Named {
    authorities: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.authorities.verify_server_cert(own, between, name, ocsp, now) {
            // What has no word of its own: here, an authority in a server's place.
            Err(Error::InvalidCertificate(CertificateError::Other(_))) if self.named.contains(own) => {
                verify_server_name(&ParsedCertificate::try_from(own)?, name).map(|()| ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}
