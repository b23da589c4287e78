//! The service from start to stop: a chain of named steps.
//!
//! ```text
//! senders -> ingest -> [arrivals] -> committer -> log -> thinker (brain) -> [work] -> dispatcher -> store, view, page
//!                                      ^                                                  |-> [actions] -> actor ---.
//!            ticks, decisions ---------+------------- outcomes, stacks -------------------'-> [stacks]  -> profiler-'
//! ```
//! Every channel in brackets is bounded. Readers pull from the log, so the loop cannot deadlock.

use super::{
    committer::Committer,
    dispatcher::{Dispatcher, Work},
    outward::{self, Couriers},
    pulse::Pulse,
    recovery::{self, Recovered},
    submit::Submitter,
    thinker::{MakeModel, Thinker},
    threads, upkeep,
};
use crate::{
    act::{LocalEffector, Past},
    alerts::{Board, Parts},
    api::{self, Answer, Rooms},
    config::{Alerts, Config, Plan},
    error::ServiceError,
    models,
    outgoing::Outgoing,
    telemetry,
    view::{Limits, View},
};
use geophone_engine::Settings;
use geophone_ingest::Listening;
use geophone_proto::{
    Seq,
    action::ActionRequest,
    seam::{Clock, StackSource},
    stacks::StackRequest,
};
use geophone_store::{Log, Store};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

/// Requests between ingest and the committer; their bytes are bounded by the budget.
const ARRIVALS: usize = 4_096;
/// Records of our own that wait for the committer.
const SUBMISSIONS: usize = 1_024;
/// Effects of so many records may wait for the dispatcher.
const WORK: usize = 256;
/// Actions and stack requests that wait.
const ERRANDS: usize = 256;
/// Open requests to the API may take this long after the stop.
const API_GOODBYE: Duration = Duration::from_secs(5);

/// Where the service really listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// OTLP over gRPC.
    pub otlp_grpc: SocketAddr,
    /// OTLP over HTTP.
    pub otlp_http: SocketAddr,
    /// Page and API.
    pub http: SocketAddr,
}

/// A running service. Dropped without `stop`, its threads go on until the process ends.
pub struct Service {
    /// Where it listens.
    pub addresses: Addresses,
    /// What it shows.
    pub view: Arc<View>,
    config: Config,
    stop: watch::Sender<bool>,
    listening: Listening,
    thinker_stop: Arc<AtomicBool>,
    sealer_stop: Arc<AtomicBool>,
    reloads: SyncSender<Settings>,
    couriers: Couriers,
    api: tokio::task::JoinHandle<()>,
    ticker: tokio::task::JoinHandle<()>,
    committer: JoinHandle<()>,
    thinker: JoinHandle<Result<(), ServiceError>>,
    dispatcher: JoinHandle<()>,
    errands: Vec<JoinHandle<()>>,
    sealer: JoinHandle<()>,
}

impl Service {
    /// Recovers what the disk holds, starts every thread, binds every address.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self, ServiceError> {
        let prometheus = telemetry::recorder();
        let (stop, stopped) = watch::channel(false);
        let pulse = Arc::new(Pulse::default());

        // The disk, the model, the read model.
        let Recovered { log, store, memory } = recovery::recover(&config, clock.clone())?;
        let view = Arc::new(View::new(Limits::of_memory(config.memory_limit, config.detection.series_max)));
        recovery::show_kept(&store, &view);
        let model = model_maker(&config);
        let card = model()?.card().clone();

        // Senders -> ingest -> committer -> log.
        let (submitter, submissions) = Submitter::new(SUBMISSIONS);
        let (sink, arrivals) = mpsc::channel(ARRIVALS);
        let api_listener = bind(config.api.endpoint).await?;
        let listening = geophone_ingest::serve(ingest_config(&config), clock.clone(), sink, stopped.clone()).await;
        let listening = listening.map_err(|error| ServiceError::room(error.class(), error))?;
        let addresses = addresses_of(&listening, &api_listener)?;
        pulse.appended(log.head(), clock.now().0);
        pulse.set_storage(true);
        let pressure = listening.pressure.clone();
        let committer = Committer { log: log.clone(), arrivals, submissions, pressure, pulse: pulse.clone(), clock: clock.clone() };
        let committer = threads::plain_async("committer", committer.run())?;

        // Log -> brain -> dispatcher.
        let (work, to_dispatch) = sync_channel::<Work>(WORK);
        let (actions, to_do) = mpsc::channel::<ActionRequest>(ERRANDS);
        let (reloads, new_settings) = sync_channel(4);
        let (stacks, mut errands) = start_stacks(&config, &submitter)?;
        let outgoing = Outgoing::default();
        let effector = LocalEffector {
            runtime: tokio::runtime::Handle::current(),
            outgoing: outgoing.clone(),
            clock: clock.clone(),
            throttle: Some(listening.throttle.clone()),
        };
        errands.push(outward::start_actor(effector, past_of(&log, memory.next), to_do, &submitter)?);
        let dispatcher = Dispatcher {
            work: to_dispatch,
            store: store.clone(),
            log: log.clone(),
            view: view.clone(),
            actions,
            stacks,
            submitter: submitter.clone(),
        };
        let dispatcher = threads::plain("dispatcher", move || dispatcher.run())?;
        let thinker_stop = Arc::new(AtomicBool::new(false));
        let thinker = Thinker {
            caught_up_at: log.head(),
            log,
            settings: config.settings(),
            model,
            work,
            reloads: new_settings,
            pulse: pulse.clone(),
            clock: clock.clone(),
            stop: thinker_stop.clone(),
            quarantine: Some(config.data_dir.join("quarantine")),
        };
        let thinker = threads::plain("thinker", move || thinker.run(memory))?;

        // What comes back by itself.
        let sealer_stop = Arc::new(AtomicBool::new(false));
        let sealer = {
            let (store, clock, stop) = (store.clone(), clock.clone(), sealer_stop.clone());
            threads::plain("sealer", move || upkeep::seal(&store, &*clock, &stop))?
        };
        let tick = upkeep::tick(submitter.clone(), pulse.clone(), stopped.clone(), gauges(view.clone(), prometheus));
        let ticker = threads::task(tick);

        // Alerts, read off the view.
        let board = Arc::new(Board::default());
        let is_ready = pulse.clone();
        let parts = Parts {
            view: view.clone(),
            board: board.clone(),
            outgoing,
            clock: clock.clone(),
            is_ready: Arc::new(move || is_ready.is_caught_up()),
        };
        let couriers = Couriers::start(&alerts_of(&config, addresses), config.data_dir.join("alerts"), parts)?;

        // Page and API.
        let rooms = Rooms {
            query: query_fn(store),
            pulse: pulse.clone(),
            board,
            models: vec![models::shown(&card, "active")],
            metrics: Arc::new(|| prometheus.render()),
            facts: facts(&config, &card, addresses, &*clock),
            allowed_hosts: config.api.allowed_hosts.clone(),
            ..Rooms::new(view.clone(), submitter, stopped.clone())
        };
        let api = threads::task(serve_api(api_listener, Arc::new(rooms), stopped));
        pulse.set_listening(true);
        Ok(Self {
            addresses,
            view,
            config,
            stop,
            listening,
            thinker_stop,
            sealer_stop,
            reloads,
            couriers,
            api,
            ticker,
            committer,
            thinker,
            dispatcher,
            errands,
            sealer,
        })
    }

    /// Takes over what can change while running; says what needs a restart.
    pub async fn reload(&mut self, config: Config) -> Plan {
        let plan = Plan::between(Some(&self.config), &config);
        if plan.has_live() {
            let new = Config { action_mode: config.action_mode, policies: config.policies, alerts: config.alerts, ..self.config.clone() };
            if self.reloads.try_send(new.settings()).is_err() {
                metrics::counter!("geophone_reloads_refused_total").increment(1);
                tracing::error!("the brain is busy with earlier settings; reload again");
                return Plan::default();
            }
            let live: Vec<&'static str> = plan.changes.iter().filter(|change| change.live).map(|change| change.path).collect();
            self.config = new;
            if let Err(error) = self.couriers.replace(&alerts_of(&self.config, self.addresses)).await {
                tracing::error!("alerts stand still: {error}");
            }
            self.config.effective.extend(live.iter().filter_map(|path| Some((*path, config.effective.get(path)?.clone()))));
            tracing::info!("taken over: {}", live.join(", "));
        }
        let restart = plan.needs_restart();
        if !restart.is_empty() {
            tracing::warn!("changed, but in force only after a restart: {}", restart.join(", "));
        }
        plan
    }

    /// Returns once a part has ended that should not have.
    pub async fn failed(&self) {
        let mut look = tokio::time::interval(Duration::from_secs(1));
        while !(self.thinker.is_finished() || self.dispatcher.is_finished() || self.committer.is_finished()) {
            look.tick().await;
        }
    }

    /// Takes nothing new in, brings what is in to its end, and keeps it.
    pub async fn stop(mut self) -> Result<(), ServiceError> {
        self.stop.send_replace(true);
        self.couriers.rest().await;
        // Every open request is answered, hence in the log.
        self.listening.stopped().await;
        let _ = self.ticker.await;
        // The brain reads the log to its end; its last snapshot goes through the dispatcher.
        self.thinker_stop.store(true, Ordering::Release);
        let thought = threads::join("brain", self.thinker).await?;
        threads::join("dispatcher", self.dispatcher).await?;
        for errand in self.errands {
            threads::join("actor", errand).await?;
        }
        // The last holders of a way into the log are gone, so the committer ends by itself.
        if tokio::time::timeout(API_GOODBYE, self.api).await.is_err() {
            tracing::warn!("some clients of the API did not go; their connections are cut");
        }
        self.sealer_stop.store(true, Ordering::Release);
        threads::join("sealer", self.sealer).await?;
        threads::join("committer", self.committer).await?;
        thought
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServiceError> {
    TcpListener::bind(address).await.map_err(ServiceError::io(format!("listen on {address} (choose another with --http-endpoint)")))
}

fn ingest_config(config: &Config) -> geophone_ingest::Config {
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    geophone_ingest::Config {
        grpc: Some(config.otlp_grpc),
        http: Some(config.otlp_http),
        request_bytes_max: bytes(config.request_bytes_max),
        budget_bytes: bytes(config.memory_limit / 4),
        connections_max: bytes(config.connections_max),
    }
}

fn addresses_of(listening: &Listening, api: &TcpListener) -> Result<Addresses, ServiceError> {
    let (Some(otlp_grpc), Some(otlp_http)) = (listening.grpc, listening.http) else { return Err(ServiceError::Stopped("receiver")) };
    let http = api.local_addr().map_err(ServiceError::io("read the address of the API"))?;
    Ok(Addresses { otlp_grpc, otlp_http, http })
}

fn model_maker(config: &Config) -> MakeModel {
    let (wanted, data_dir) = (config.model.clone(), config.data_dir.clone());
    Arc::new(move || models::load(&wanted, &data_dir))
}

type Stacks = (Option<mpsc::Sender<StackRequest>>, Vec<JoinHandle<()>>);

/// A recorded session, where one is configured; the kernel's profiler joins here.
fn start_stacks(config: &Config, submitter: &Submitter) -> Result<Stacks, ServiceError> {
    let Some(path) = &config.profiler.recording else { return Ok((None, Vec::new())) };
    let source = geophone_profiler_ebpf::ReplaySource::open(path).map_err(|error| ServiceError::room(error.class(), error))?;
    let (requests, to_answer) = mpsc::channel(ERRANDS);
    let submitter = submitter.clone();
    let source: Box<dyn StackSource> = Box::new(source);
    let thread = threads::plain("stacks", move || upkeep::answer_stacks(to_answer, source, &submitter))?;
    Ok((Some(requests), vec![thread]))
}

/// Reads what the log tells of actions, so that none is done twice.
fn past_of(log: &Arc<Log>, from: Seq) -> Past {
    let mut past = Past::default();
    recovery::outcomes(log, from, &mut |outcome| past.see(outcome));
    past
}

/// `alerts.external_url`, or our own address.
fn alerts_of(config: &Config, addresses: Addresses) -> Alerts {
    let own = format!("http://{}", addresses.http);
    let external_url = Some(config.alerts.external_url.clone()).filter(|url| !url.is_empty()).unwrap_or(own);
    Alerts { external_url, ..config.alerts.clone() }
}

fn query_fn(store: Arc<Store>) -> api::QueryFn {
    Arc::new(move |sql| {
        let rows = store.query(sql).map_err(|error| ServiceError::room(error.class(), error))?;
        Ok(Answer { columns: rows.columns, rows: rows.rows })
    })
}

/// Once a second: gauges of what is shown, and the recorder's own upkeep.
fn gauges(view: Arc<View>, prometheus: &'static metrics_exporter_prometheus::PrometheusHandle) -> impl FnMut() + Send {
    move || {
        let [incidents, _, anomalies, _, series, points] = view.counts();
        metrics::gauge!("geophone_up").set(1.0);
        metrics::gauge!("geophone_incidents_open").set(incidents as f64);
        metrics::gauge!("geophone_anomalies_open").set(anomalies as f64);
        metrics::gauge!("geophone_series").set(series as f64);
        metrics::gauge!("geophone_view_points").set(points as f64);
        prometheus.run_upkeep();
    }
}

/// What does not change while the service runs, for `/api/v1/status`.
fn facts(config: &Config, card: &geophone_proto::model::ModelCard, addresses: Addresses, clock: &dyn Clock) -> serde_json::Value {
    let runtime = geophone_models::runtime();
    serde_json::json!({
        "started_at": clock.now(),
        "alerts_per_week": config.detection.alerts_per_week,
        "model": {"name": card.name, "version": card.version, "sha256": card.sha256},
        "runtime": runtime.name,
        "runtime_note": runtime.note,
        "durability": config.log.durability,
        "action_mode": config.action_mode,
        "endpoints": {"otlp_grpc": addresses.otlp_grpc.to_string(), "otlp_http": addresses.otlp_http.to_string(), "http": addresses.http.to_string()},
    })
}

async fn serve_api(listener: TcpListener, rooms: Arc<Rooms>, mut stopped: watch::Receiver<bool>) {
    let goodbye = async move {
        // A sender that is gone means the same.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let served = axum::serve(listener, api::router(rooms)).with_graceful_shutdown(goodbye).await;
    if let Err(error) = served {
        tracing::error!("the API has stopped: {error}");
    }
}
