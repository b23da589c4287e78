//! The API's door: plain connections, or such on which keys were agreed. Called by the wiring.
//!
//! Agreeing on keys happens beside accepting: a peer that dawdles keeps nobody out.

use axum::serve::Listener;
use geophone_ingest::{Seldom, Tls};
use geophone_proto::seam::Clock;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

/// Connections on which keys are being agreed at one time.
const HANDSHAKES_MAX: usize = 64;
/// Wait after a failed `accept`, such as when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection, whatever is under it.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

type Ready = (Box<dyn Duplex>, SocketAddr);

/// What `axum` serves on.
pub struct Door {
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    greeted: JoinSet<Option<Ready>>,
    clock: Arc<dyn Clock>,
    trouble: Seldom,
}

impl Door {
    /// A door with certificates, or without.
    pub fn new(listener: TcpListener, tls: Option<Arc<Tls>>, clock: Arc<dyn Clock>) -> Self {
        Self { listener, tls, greeted: JoinSet::new(), clock, trouble: Seldom::default() }
    }

    /// Plain connections are ready at once; the others when keys are agreed on.
    fn greet(&mut self, stream: TcpStream, peer: SocketAddr) -> Option<Ready> {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "nodelay cannot be set");
        }
        let Some(tls) = self.tls.clone() else { return Some((Box::new(stream), peer)) };
        if self.greeted.len() >= HANDSHAKES_MAX {
            metrics::counter!("geophone_refused_connections_total", "reason" => "handshakes").increment(1);
            return None;
        }
        self.greeted.spawn(async move {
            match tls.secure(stream).await {
                Ok(stream) => Some((Box::new(stream) as Box<dyn Duplex>, peer)),
                Err(error) => {
                    tracing::debug!(%error, "no keys were agreed on");
                    None
                }
            }
        });
        None
    }
}

impl Listener for Door {
    type Io = Box<dyn Duplex>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Ready {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(greeted) = self.greeted.join_next() => match greeted {
                    Ok(Some(ready)) => return ready,
                    Ok(None) | Err(_) => continue,
                },
            };
            match accepted {
                Ok((stream, peer)) => {
                    if let Some(times) = self.trouble.stayed_away(self.clock.now()) {
                        tracing::warn!(times, "connections to the API are accepted again");
                    }
                    if let Some(ready) = self.greet(stream, peer) {
                        return ready;
                    }
                }
                Err(error) => {
                    if let Some(times) = self.trouble.came(self.clock.now()) {
                        tracing::warn!(%error, times, "cannot accept connections to the API, trying again");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
