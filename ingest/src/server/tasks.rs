//! What runs beside a connection: accept loops, work for a core, listening to bodies that were refused.
//!
//! Nothing else of this room spawns, but `listen`, which keeps connections in a set to wait for them.

use super::refusal::Refusal;
use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// A refused sender on HTTP/1.1 is listened to for so long, so that it gets to read the answer.
const LINGER_TIME: Duration = Duration::from_secs(10);

/// Runs work on a thread made for it, at most as many at once as there are turns.
pub(crate) async fn on_a_core<T: Send + 'static>(turns: &Arc<Semaphore>, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let stopping = || Refusal::busy("stopping", Duration::from_secs(1), "the server is stopping, send again later");
    let turn = Arc::clone(turns).acquire_owned().await.map_err(|_| stopping())?;
    let done = tokio::task::spawn_blocking(move || {
        let result = work();
        drop(turn);
        result
    });
    done.await.map_err(|error| {
        tracing::error!(%error, "decoding a request failed, please report this");
        stopping()
    })
}

/// Runs a connection or an accept loop.
pub(crate) fn run(work: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
    tokio::spawn(work)
}

/// Reads and forgets the rest of a refused body, within time and size. Without this, closing the socket
/// (HTTP/1.1) or the stream (HTTP/2) while the sender writes can destroy the answer on its way: `curl`
/// throws an answer away when its stream is reset.
pub(crate) fn linger<B>(mut body: B, bytes_max: usize)
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        let all = async {
            let mut left = bytes_max;
            while let Some(Ok(frame)) = body.frame().await {
                let len = frame.data_ref().map_or(0, Bytes::len);
                let Some(rest) = left.checked_sub(len) else { return };
                left = rest;
            }
        };
        // Either way the body is dropped now, which closes the connection if bytes are left.
        let _ = tokio::time::timeout(LINGER_TIME, all).await;
    });
}
