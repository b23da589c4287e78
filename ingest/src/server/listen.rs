//! Listening: sockets, connections, stopping.

use super::{
    budget::Budget,
    grpc,
    line::Line,
    orphans::Orphans,
    places::{Places, Visit},
    pressure::Pressure,
    receipt::Arrival,
    reception::{Patience, Reception},
    reply::Reply,
    sampling::Sampling,
    seldom::Seldom,
    tasks,
    throttle::Throttle,
};
use crate::{
    access::{Access, Tls, TlsFiles},
    error::IngestError,
};
use geophone_proto::{Transport, seam::Clock};
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, Interval, interval, sleep},
};

/// An idle HTTP/2 peer is asked for a sign of life so often, and given up after so long.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIME: Duration = Duration::from_secs(20);
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;
/// Flow-control windows: what one stream and one connection may send ahead.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 2 << 20;
const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// A connection that is ended gets so long to hear of it.
const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes that HTTP/1.1 may read ahead on one connection.
const READ_AHEAD_BYTES: usize = 128 << 10;
/// Wait after a failed `accept`, such as when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where to listen and how much to hold.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address for gRPC; port 0 = any.
    pub grpc: Option<SocketAddr>,
    /// Address for HTTP; port 0 = any.
    pub http: Option<SocketAddr>,
    /// Largest request, as sent and decompressed.
    pub request_bytes_max: usize,
    /// Bytes that all open requests may hold together.
    pub budget_bytes: usize,
    /// Open connections, both addresses together; whoever has been idle longest makes room for one more.
    pub connections_max: usize,
    /// Who may send.
    pub access: Access,
    /// Certificates for gRPC; none = plain text.
    pub grpc_tls: Option<TlsFiles>,
    /// Certificates for HTTP; none = plain text.
    pub http_tls: Option<TlsFiles>,
}

impl Default for Config {
    /// The standard ports on loopback, 64 MiB a request, 256 MiB in all, 1024 connections.
    fn default() -> Self {
        Self {
            grpc: Some(SocketAddr::from(([127, 0, 0, 1], 4317))),
            http: Some(SocketAddr::from(([127, 0, 0, 1], 4318))),
            request_bytes_max: 64 << 20,
            budget_bytes: 256 << 20,
            connections_max: 1024,
            access: Access::default(),
            grpc_tls: None,
            http_tls: None,
        }
    }
}

/// The running servers.
#[derive(Debug)]
pub struct Listening {
    /// Real address of gRPC.
    pub grpc: Option<SocketAddr>,
    /// Real address of HTTP.
    pub http: Option<SocketAddr>,
    /// Asks senders to slow down.
    pub throttle: Throttle,
    /// Asks senders to sample more or less.
    pub sampling: Sampling,
    /// Told by the roof how fast the log takes requests.
    pub pressure: Pressure,
    tasks: Vec<JoinHandle<()>>,
}

impl Listening {
    /// Waits until `stop` was told and every open request is answered (or its time is over).
    pub async fn stopped(self) {
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "listening ended badly, please report this");
            }
        }
    }
}

/// Binds the addresses and serves until `stop` turns true.
pub async fn serve(
    config: Config,
    clock: Arc<dyn Clock>,
    sink: mpsc::Sender<Arrival>,
    stop: watch::Receiver<bool>,
) -> Result<Listening, IngestError> {
    serve_with(config, Patience::default(), (clock, sink), stop).await
}

/// `serve` with another patience, for tests.
pub(crate) async fn serve_with(
    config: Config,
    patience: Patience,
    (clock, sink): (Arc<dyn Clock>, mpsc::Sender<Arrival>),
    stop: watch::Receiver<bool>,
) -> Result<Listening, IngestError> {
    let (throttle, sampling, pressure) = (Throttle::default(), Sampling::default(), Pressure::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let reception = Arc::new(Reception {
        request_bytes_max: config.request_bytes_max.min(config.budget_bytes),
        patience,
        budget: Budget::new(config.budget_bytes).shared(config.request_bytes_max),
        access: config.access,
        pressure: pressure.clone(),
        throttle: throttle.clone(),
        sampling: sampling.clone(),
        clock,
        sink,
        orphans: Orphans::default(),
        turns: Arc::new(Semaphore::new(cores)),
    });
    let places = Places::new(config.connections_max);
    let mut listening = Listening { grpc: None, http: None, throttle, sampling, pressure, tasks: Vec::new() };
    let doors = [(config.grpc, config.grpc_tls, Transport::Grpc), (config.http, config.http_tls, Transport::Http)];
    for (address, files, transport) in doors {
        let Some(address) = address else { continue };
        let tls = match files {
            Some(files) => Some(Arc::new(Tls::load(files).await?)),
            None => None,
        };
        let refused = |source| IngestError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let real = listener.local_addr().map_err(refused)?;
        if transport == Transport::Grpc {
            listening.grpc = Some(real);
        } else {
            listening.http = Some(real);
        }
        if let Some(tls) = &tls {
            tls.keep_watch(stop.clone());
        }
        let door = Door { reception: Arc::clone(&reception), places: places.clone(), tls, transport };
        listening.tasks.push(tasks::run(door.accept(listener, stop.clone())));
    }
    Ok(listening)
}

/// One listening address.
struct Door {
    reception: Arc<Reception>,
    places: Places,
    tls: Option<Arc<Tls>>,
    transport: Transport,
}

/// Resolves once `stop` is true, or when nobody can say so any more.
async fn told(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Door {
    async fn accept(self, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let (mut connections, mut trouble) = (JoinSet::new(), Seldom::default());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = told(&mut stop) => break,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, _)) => {
                    if let Some(times) = trouble.stayed_away(self.reception.clock.now()) {
                        tracing::warn!(times, "connections are accepted again");
                    }
                    let Some(seat) = self.places.take() else {
                        refused_connection("connections_max");
                        continue;
                    };
                    let (reception, transport, tls, stop) = (Arc::clone(&self.reception), self.transport, self.tls.clone(), stop.clone());
                    connections.spawn(async move {
                        greet(stream, tls, (reception, transport, &seat.visit), stop).await;
                        drop(seat);
                    });
                }
                Err(error) => {
                    refused_connection("accept");
                    if let Some(times) = trouble.came(self.reception.clock.now()) {
                        tracing::warn!(%error, times, "cannot accept connections, trying again");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        let finished = tokio::time::timeout(self.reception.patience.stop, async { while connections.join_next().await.is_some() {} }).await;
        if finished.is_err() {
            tracing::warn!(open = connections.len(), "requests were still open when the time to stop was over");
        }
    }
}

/// What a connection leads to, and what is known of it.
type Way<'v> = (Arc<Reception>, Transport, &'v Arc<Visit>);

/// Agrees on keys where there are certificates, then serves.
async fn greet(stream: TcpStream, tls: Option<Arc<Tls>>, to: Way<'_>, mut stop: watch::Receiver<bool>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "nodelay cannot be set");
    }
    let Some(tls) = tls else { return connection(stream, to, stop).await };
    let secured = tokio::select! {
        secured = tls.secure(stream) => secured,
        () = told(&mut stop) => return,
        () = to.2.told_to_leave() => return,
    };
    match secured {
        Ok(stream) => connection(stream, to, stop).await,
        Err(error) => tracing::debug!(%error, "no keys were agreed on"),
    }
}

async fn connection<S>(stream: S, (reception, transport, visit): Way<'_>, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let patience = reception.patience;
    let spoke = Arc::new(AtomicBool::new(false));
    let (heard, visited) = (Arc::clone(&spoke), Arc::clone(visit));
    let service = service_fn(move |request| {
        heard.store(true, Ordering::Relaxed);
        let (reception, turn) = (Arc::clone(&reception), visited.turn());
        async move { Ok::<_, Infallible>(answer(&reception, transport, request).await.map(|reply| reply.ending(turn))) }
    });
    let builder = protocols(patience.head);
    let serving = builder.serve_connection(TokioIo::new(Line::new(stream, patience.answer)), service);
    tokio::pin!(serving);
    let (silent, farewell) = (sleep(patience.silence), sleep(patience.silence));
    tokio::pin!(silent, farewell);
    let mut look = interval(patience.answer.min(patience.idle) / 4);
    let mut parting = interval(FAREWELL / 4);
    let (mut is_stopping, mut is_leaving, mut is_watched) = (false, false, true);
    loop {
        tokio::select! {
            result = serving.as_mut() => {
                if let Err(error) = result {
                    metrics::counter!("geophone_broken_connections_total", "transport" => transport.as_str()).increment(1);
                    tracing::debug!(%error, "connection broke");
                }
                return;
            }
            () = told(&mut stop), if !is_stopping => {
                is_stopping = true;
                visit.rest();
                serving.as_mut().graceful_shutdown();
            }
            // A peer that has nothing open and says nothing to our good-bye holds up nobody.
            () = part(visit, &mut parting), if is_stopping => return,
            () = farewell.as_mut(), if is_leaving => return,
            () = silent.as_mut(), if is_watched => {
                is_watched = false;
                if !spoke.load(Ordering::Relaxed) {
                    return refused_connection("silent");
                }
            }
            () = leave(visit, &mut look, patience), if !is_leaving => {
                if visit.unread_for(Instant::now()) >= patience.answer {
                    return refused_connection("slow_reader");
                }
                // Whoever is idle gets a moment to hear that this is the end.
                is_leaving = true;
                farewell.as_mut().reset(Instant::now() + FAREWELL);
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Resolves when a stopping connection has had nothing open for long enough to hear of the end.
async fn part(visit: &Visit, parting: &mut Interval) {
    while visit.idle_for(parting.tick().await) < FAREWELL {}
}

/// Resolves when a connection must end: its place is needed, or it has been idle, or has read no answer, for
/// too long.
async fn leave(visit: &Visit, look: &mut Interval, patience: Patience) {
    let lingers = async {
        loop {
            let now = look.tick().await;
            if visit.unread_for(now) >= patience.answer || visit.idle_for(now) >= patience.idle {
                return;
            }
        }
    };
    tokio::select! {
        () = lingers => {}
        () = visit.told_to_leave() => {}
    }
}

fn refused_connection(reason: &'static str) {
    metrics::counter!("geophone_refused_connections_total", "reason" => reason).increment(1);
}

fn protocols(head_time: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head_time).max_buf_size(READ_AHEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIME);
    builder
}

/// Both transports are understood at both addresses; only the gRPC address refuses plain HTTP.
async fn answer(reception: &Reception, transport: Transport, request: Request<Incoming>) -> Response<Reply> {
    match (grpc::is_grpc(request.headers()), transport) {
        (true, _) => reception.grpc(request).await,
        (false, Transport::Grpc) => reception.not_grpc(),
        (false, Transport::Http | Transport::File | Transport::Own) => reception.http(request).await,
    }
}
