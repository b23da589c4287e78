//! Certificates that change without a restart. Used by the servers here and by the roof's API.
//!
//! Files are read again every two seconds; what cannot be used is said once and the old stays.
//! Connections that are open keep what they began with.

use crate::{error::IngestError, server::tasks};
use ring::digest::{SHA256, digest};
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};
use tokio::{net::TcpStream, sync::watch};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A peer that takes longer to agree on keys is cut off.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Larger files are not certificates.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// What is spoken inside, best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where certificates lie, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificate, followed by those that vouch for it.
    pub cert: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
    /// Who vouches for clients; given, every client must have a certificate.
    pub client_ca: Option<PathBuf>,
    /// The oldest version spoken.
    pub min_version: TlsVersion,
}

/// Versions of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2 and 1.3.
    #[default]
    V12,
    /// 1.3 only.
    V13,
}

/// Certificates in force.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
    /// Hash of the files that were read last, whether they could be used or not.
    read: Mutex<Vec<u8>>,
}

/// The files at one moment.
struct Files {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Files {
    async fn read(files: &TlsFiles) -> Result<Self, IngestError> {
        let client_ca = match &files.client_ca {
            Some(path) => Some(read(path).await?),
            None => None,
        };
        Ok(Self { cert: read(&files.cert).await?, key: read(&files.key).await?, client_ca })
    }

    fn hash(&self) -> Vec<u8> {
        let parts = [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()];
        parts.into_iter().flatten().flat_map(|part| digest(&SHA256, part).as_ref().to_vec()).collect()
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, IngestError> {
    let failed = |why: String| IngestError::Certificate { path: path.to_path_buf(), why };
    let size = tokio::fs::metadata(path).await.map_err(|error| failed(error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(failed(format!("it has {size} bytes, is it the right file?")));
    }
    tokio::fs::read(path).await.map_err(|error| failed(error.to_string()))
}

impl Tls {
    /// Reads the files; whatever is wrong with them is an error here, not at the first connection.
    pub async fn load(files: TlsFiles) -> Result<Self, IngestError> {
        let read = Files::read(&files).await?;
        let config = config(&files, &read)?;
        Ok(Self { files, config: RwLock::new(Arc::new(config)), read: Mutex::new(read.hash()) })
    }

    fn seen(&self) -> MutexGuard<'_, Vec<u8>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the files again; true where something new is in force.
    pub async fn look(&self) -> bool {
        let files = match Files::read(&self.files).await {
            Ok(files) => files,
            Err(error) => {
                // Told once, until the files can be read again.
                if !std::mem::take(&mut *self.seen()).is_empty() {
                    self.kept(&error);
                }
                return false;
            }
        };
        let hash = files.hash();
        if std::mem::replace(&mut *self.seen(), hash.clone()) == hash {
            return false;
        }
        match config(&self.files, &files) {
            Ok(config) => {
                *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                metrics::counter!("geophone_tls_reloads_total", "outcome" => "taken").increment(1);
                tracing::info!(cert = %self.files.cert.display(), "certificates were read again and are in force");
                true
            }
            Err(error) => {
                self.kept(&error);
                false
            }
        }
    }

    fn kept(&self, error: &IngestError) {
        metrics::counter!("geophone_tls_reloads_total", "outcome" => "refused").increment(1);
        tracing::error!("{error}; the old certificates stay in force");
    }

    /// Looks at the files until `stop` turns true.
    pub async fn watch(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            // An error means that the sender is gone, which is a stop as well.
            let stopped = async { drop(stop.wait_for(|stop| *stop).await) };
            if tokio::time::timeout(LOOK_EVERY, stopped).await.is_ok() {
                return;
            }
            self.look().await;
        }
    }

    /// Starts watching.
    pub fn keep_watch(self: &Arc<Self>, stop: watch::Receiver<bool>) {
        drop(tasks::run(Arc::clone(self).watch(stop)));
    }

    /// Agrees on keys with a client.
    pub async fn secure(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        let agreed = tokio::time::timeout(HANDSHAKE_TIME, TlsAcceptor::from(config).accept(stream)).await;
        let stream = agreed.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        if stream.is_err() {
            metrics::counter!("geophone_refused_connections_total", "reason" => "tls").increment(1);
        }
        stream
    }
}

fn config(files: &TlsFiles, read: &Files) -> Result<ServerConfig, IngestError> {
    let wrong = |path: &Path, why: String| IngestError::Certificate { path: path.to_path_buf(), why };
    let chain = certificates(&read.cert).map_err(|why| wrong(&files.cert, why))?;
    let key = PrivateKeyDer::from_pem_slice(&read.key)
        .map_err(|_| wrong(&files.key, "it holds no private key in PEM (encrypted keys are not understood)".into()))?;
    let versions: &[&SupportedProtocolVersion] = match files.min_version {
        TlsVersion::V12 => &[&TLS13, &TLS12],
        TlsVersion::V13 => &[&TLS13],
    };
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions);
    let builder = builder.map_err(|error| wrong(&files.cert, error.to_string()))?;
    let builder = match (&files.client_ca, &read.client_ca) {
        (Some(path), Some(pem)) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(pem).map_err(|why| wrong(path, why))? {
                roots.add(certificate).map_err(|error| wrong(path, error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| wrong(path, error.to_string()))?)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config =
        builder.with_single_cert(chain, key).map_err(|error| wrong(&files.key, format!("key and certificate cannot be used: {error}")))?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| format!("it is not PEM: {error}"))?;
    if all.is_empty() { Err("it holds no certificate in PEM".into()) } else { Ok(all) }
}
