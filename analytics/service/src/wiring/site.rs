//! What every step of the start shares, and the steps themselves. `service` chains them.

use super::{
    committer::Committer,
    dispatcher::{self, Dispatcher, Work},
    outward::{self, Couriers},
    pulse::Pulse,
    recovery,
    stacks::{Needs, Stacks},
    standstill,
    submit::{Submission, Submitter},
    thinker::{Memory, Models, Thinker},
    threads, upkeep,
};
use crate::{
    act::{self, LocalEffector, Past},
    alerts::{Board, Parts},
    api::{self, Answer, Door, Rooms},
    config::{Alerts, Config},
    error::ServiceError,
    models::Registry,
    outgoing::Outgoing,
    stacks::Shelf,
    telemetry,
    view::View,
};
use geophone_engine::Settings;
use geophone_ingest::{Access, Arrival, Listening, Pressure, Sampling, Throttle, Tls};
use geophone_proto::{RecordBody, model::ModelRef, model::ModelStep, seam::Clock, stacks::StackRequest};
use geophone_store::{Log, Store};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::AtomicBool,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, Semaphore, mpsc, watch},
};

/// Effects of so many records may wait for the dispatcher.
const WORK: usize = 256;
/// Actions and stack requests that wait.
const ERRANDS: usize = 256;

/// Where the service really listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// OTLP over gRPC.
    pub otlp_grpc: SocketAddr,
    /// OTLP over HTTP.
    pub otlp_http: SocketAddr,
    /// Page and API.
    pub http: SocketAddr,
    /// Whether the latter has certificates.
    pub is_https: bool,
}

impl Addresses {
    /// Where the page is, as one types it.
    pub fn page(&self) -> String {
        format!("{}://{}", if self.is_https { "https" } else { "http" }, self.http)
    }
}

/// What every step shares.
pub(super) struct Site {
    pub config: Config,
    pub clock: Arc<dyn Clock>,
    pub pulse: Arc<Pulse>,
    pub log: Arc<Log>,
    pub store: Arc<Store>,
    pub view: Arc<View>,
    pub access: Access,
    pub submitter: Submitter,
    pub outgoing: Outgoing,
    pub board: Arc<Board>,
    pub models: Arc<Registry>,
    pub stopped: watch::Receiver<bool>,
}

/// A thread that looks at a stop sign.
pub(super) struct Stoppable<T> {
    pub thread: JoinHandle<T>,
    pub stop: Arc<AtomicBool>,
}

/// A thread that does what is asked of it, and the way to ask.
type Errands<T> = (mpsc::Sender<T>, JoinHandle<()>);

/// The brain's end of the wiring.
pub(super) struct Mind {
    pub thinker: Stoppable<Result<(), ServiceError>>,
    pub reloads: SyncSender<Settings>,
}

impl Site {
    /// Binds every address, the API's first: it is the likeliest to be taken.
    pub async fn open_doors(&self, sink: mpsc::Sender<Arrival>) -> Result<(Listening, Door, Addresses), ServiceError> {
        let wanted = self.config.api.endpoint;
        let failed = || format!("listen on {wanted} (choose another with --http-endpoint)");
        let api = TcpListener::bind(wanted).await.map_err(ServiceError::io(failed()))?;
        let tls = self.api_certificates().await?;
        if let Some(warning) = self.config.shrunk_request_size() {
            tracing::warn!("{warning}");
        }
        let listening =
            geophone_ingest::serve(ingest_config(&self.config, self.access.clone()), self.clock.clone(), sink, self.stopped.clone()).await;
        let listening = listening.map_err(|error| ServiceError::room(error.class(), error))?;
        let http = api.local_addr().map_err(ServiceError::io("read the address of the API"))?;
        let (Some(otlp_grpc), Some(otlp_http)) = (listening.grpc, listening.http) else { return Err(ServiceError::Stopped("receiver")) };
        self.pulse.set_listening(true);
        let addresses = Addresses { otlp_grpc, otlp_http, http, is_https: tls.is_some() };
        Ok((listening, Door::new(api, tls, self.clock.clone()), addresses))
    }

    async fn api_certificates(&self) -> Result<Option<Arc<Tls>>, ServiceError> {
        let Some(files) = self.config.certificates.api.clone() else { return Ok(None) };
        let tls = Tls::load(files).await.map_err(|error| ServiceError::room(error.class(), error))?;
        let tls = Arc::new(tls);
        tls.keep_watch(self.stopped.clone());
        Ok(Some(tls))
    }

    /// Requests and records of our own into the log.
    pub fn commit(
        &self,
        arrivals: mpsc::Receiver<Arrival>,
        submissions: mpsc::Receiver<Submission>,
        pressure: Pressure,
        last: watch::Receiver<bool>,
    ) -> Result<JoinHandle<()>, ServiceError> {
        self.pulse.appended(self.log.head().next(), self.clock.now().0);
        self.pulse.set_storage(true);
        let (log, pulse, clock) = (self.log.clone(), self.pulse.clone(), self.clock.clone());
        let arrivals = Arc::new(Mutex::new(arrivals));
        threads::task(standstill::watch(Arc::downgrade(&arrivals), pressure.clone(), pulse.clone(), standstill::LOOK));
        let committer = Committer { log, arrivals, submissions, pressure, patience: standstill::PATIENCE, pulse, clock };
        threads::plain_async("committer", committer.run(last))
    }

    /// The log through the brain; effects come out of the channel.
    pub fn think(&self, start: ModelRef, memory: Memory) -> Result<(Mind, Receiver<Work>), ServiceError> {
        let (work, to_dispatch) = sync_channel(WORK);
        let (reloads, new_settings) = sync_channel(4);
        let stop = Arc::new(AtomicBool::new(false));
        let (store, log, in_memory) = (self.store.clone(), self.log.clone(), recovery::is_in_memory(&self.config));
        let thinker = Thinker {
            recall: Arc::new(move |saved| recovery::recall(&store, &log, in_memory.then_some(saved))),
            caught_up_at: self.log.head().next(),
            log: self.log.clone(),
            settings: self.config.settings(),
            models: self.models_of(start),
            submitter: self.submitter.clone(),
            work,
            reloads: new_settings,
            pulse: self.pulse.clone(),
            clock: self.clock.clone(),
            stop: stop.clone(),
            quarantine: Some(self.config.data_dir.join("quarantine")),
        };
        let thread = threads::plain("thinker", move || thinker.run(memory))?;
        Ok((Mind { thinker: Stoppable { thread, stop }, reloads }, to_dispatch))
    }

    fn models_of(&self, start: ModelRef) -> Models {
        let registry = self.models.clone();
        let (refuge, kept) = (registry.shipped().card.model_ref(), registry.kept_line_up());
        Models { take: Arc::new(move |model| registry.take(model)), start, refuge, kept }
    }

    /// Effects to those who store, show, do and look up.
    pub fn dispatch(
        &self,
        work: Receiver<Work>,
        actions: mpsc::Sender<act::Errand>,
        stacks: Option<mpsc::Sender<StackRequest>>,
    ) -> Result<[JoinHandle<()>; 2], ServiceError> {
        let (keeper, memories) = sync_channel(1);
        let (store, log) = (self.store.clone(), self.log.clone());
        let keeper_thread = threads::plain("keeper", move || dispatcher::keep(&memories, &store, &log))?;
        let (store, view, pulse) = (self.store.clone(), self.view.clone(), self.pulse.clone());
        let (models, submitter) = (self.models.clone(), self.submitter.clone());
        let dispatcher = Dispatcher { work, store, keeper, view, actions, stacks, pulse, models, submitter };
        Ok([threads::plain("dispatcher", move || dispatcher.run())?, keeper_thread])
    }

    /// Does what the brain decided, never twice: what the log tells of the past is read first.
    pub fn act(&self, (throttle, sampling): (Throttle, Sampling), memory: &Memory) -> Result<Errands<act::Errand>, ServiceError> {
        let (actions, to_do) = mpsc::channel(ERRANDS);
        let mut past = Past::default();
        recovery::outcomes(&self.log, memory.next, &mut |outcome| past.see(outcome));
        let effector = LocalEffector {
            runtime: tokio::runtime::Handle::current(),
            outgoing: self.outgoing.clone(),
            clock: self.clock.clone(),
            throttle,
            sampling,
        };
        Ok((actions, outward::start_actor(effector, past, to_do, &self.submitter)?))
    }

    /// Stacks of flagged spans, back in time, where the kernel or a recorded session gives them.
    pub fn look_up_stacks(&self) -> Result<Stacks, ServiceError> {
        let needs = Needs {
            settings: &self.config.profiler,
            data_dir: &self.config.data_dir,
            store: self.store.clone(),
            pulse: self.pulse.clone(),
            clock: self.clock.clone(),
            submitter: self.submitter.clone(),
        };
        Stacks::start(needs, ERRANDS)
    }

    /// Closed segments to Parquet, old files away.
    pub fn seal(&self) -> Result<Stoppable<()>, ServiceError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (store, clock, sign) = (self.store.clone(), self.clock.clone(), stop.clone());
        let thread = threads::plain("sealer", move || upkeep::seal(&store, &*clock, &sign))?;
        Ok(Stoppable { thread, stop })
    }

    /// A tick a second, and gauges with it.
    pub fn tick(&self) -> tokio::task::JoinHandle<()> {
        let (view, pulse) = (self.view.clone(), self.pulse.clone());
        let slow = self.slow_models();
        let gauges = move || {
            slow();
            let [incidents, _, anomalies, _, series, points] = view.counts();
            metrics::gauge!("geophone_up").set(1.0);
            metrics::gauge!("geophone_brain_lag_seconds").set(pulse.lag_seconds());
            metrics::gauge!("geophone_incidents_open").set(incidents as f64);
            metrics::gauge!("geophone_anomalies_open").set(anomalies as f64);
            metrics::gauge!("geophone_series").set(series as f64);
            metrics::gauge!("geophone_view_points").set(points as f64);
            telemetry::set_budget(&view.budget(), view.maturities());
            telemetry::recorder().run_upkeep();
        };
        threads::task(upkeep::rest(self.pulse.clone(), self.stopped.clone()));
        threads::task(upkeep::tick(self.submitter.clone(), self.pulse.clone(), self.stopped.clone(), gauges))
    }

    /// Takes back models that are too slow. The clock is read here: the engine has none.
    fn slow_models(&self) -> impl Fn() + Send + 'static {
        let (models, view, submitter, bound) =
            (self.models.clone(), self.view.clone(), self.submitter.clone(), self.config.models.latency_max);
        move || {
            let line_up = view.line_up();
            let on_trial = line_up.trials.iter().map(|trial| &trial.model);
            for model in std::iter::once(&line_up.active).chain(on_trial.filter(|model| **model != line_up.active)) {
                let Some(reason) = models.is_slow(model, bound).filter(|_| models.is_to_leave(model)) else { continue };
                tracing::warn!("model {}@{} goes: {reason}", model.name, model.version);
                let step = ModelStep::Rollback { model: model.clone(), reason };
                // Where there is no room, the next second comes here again.
                if !submitter.submit_unwatched(RecordBody::Model(step)) {
                    models.stays(model);
                }
            }
        }
    }

    /// Tells of incidents, read off the view.
    pub fn tell(&self, addresses: Addresses) -> Result<Couriers, ServiceError> {
        let pulse = self.pulse.clone();
        let parts = Parts {
            view: self.view.clone(),
            board: self.board.clone(),
            outgoing: self.outgoing.clone(),
            clock: self.clock.clone(),
            is_ready: Arc::new(move || pulse.is_caught_up()),
        };
        Couriers::start(&alerts_of(&self.config, addresses), self.config.data_dir.join("alerts"), parts)
    }

    /// Page and API.
    pub fn show(&self, door: Door, addresses: Addresses, stacks: &Stacks) -> tokio::task::JoinHandle<()> {
        let prometheus = telemetry::recorder();
        let (store, access) = (self.store.clone(), self.access.clone());
        let rooms = Rooms {
            query: Arc::new(move |sql| {
                let rows = store.query(sql).map_err(|error| ServiceError::room(error.class(), error))?;
                Ok(Answer { columns: rows.columns, rows: rows.rows })
            }),
            stacks: Some(Shelf::below(&self.config.data_dir)),
            archive: stacks.archive.clone(),
            asked: stacks.asked.clone(),
            profiler_note: stacks.note.clone(),
            recordings: (self.config.profiler.enabled != "false").then(|| Arc::new(Semaphore::new(1))),
            pulse: self.pulse.clone(),
            board: self.board.clone(),
            models: self.models.clone(),
            canary_percent: self.config.models.canary_percent,
            metrics: Arc::new(move || telemetry::render(prometheus, &access)),
            access: self.access.clone(),
            facts: self.facts(addresses),
            allowed_hosts: self.config.api.allowed_hosts.clone(),
            ..Rooms::new(self.view.clone(), self.submitter.clone(), self.stopped.clone())
        };
        threads::task(serve_api(door, Arc::new(rooms), self.stopped.clone()))
    }

    /// What does not change while the service runs, for `/api/v1/status`.
    fn facts(&self, addresses: Addresses) -> serde_json::Value {
        let runtime = geophone_models::runtime();
        serde_json::json!({
            "started_at": self.clock.now(),
            "alerts_per_week": self.config.detection.alerts_per_week,
            "runtime": runtime.name,
            "runtime_note": runtime.note,
            "durability": self.config.log.durability,
            "endpoints": {
                "otlp_grpc": addresses.otlp_grpc.to_string(),
                "otlp_http": addresses.otlp_http.to_string(),
                "http": addresses.http.to_string(),
            },
        })
    }
}

/// `alerts.external_url`, or our own address.
pub(super) fn alerts_of(config: &Config, addresses: Addresses) -> Alerts {
    let own = addresses.page();
    let external_url = Some(config.alerts.external_url.clone()).filter(|url| !url.is_empty()).unwrap_or(own);
    Alerts { external_url, ..config.alerts.clone() }
}

fn ingest_config(config: &Config, access: Access) -> geophone_ingest::Config {
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    geophone_ingest::Config {
        grpc: Some(config.otlp_grpc),
        http: Some(config.otlp_http),
        request_bytes_max: bytes(config.request_bytes_max),
        budget_bytes: bytes(config.open_bytes_max()),
        connections_max: bytes(config.connections_max),
        access,
        grpc_tls: config.certificates.grpc.clone(),
        http_tls: config.certificates.http.clone(),
    }
}

async fn serve_api(door: Door, rooms: Arc<Rooms>, mut stopped: watch::Receiver<bool>) {
    let goodbye = async move {
        // A sender that is gone means the same.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let served = axum::serve(door, api::router(rooms)).with_graceful_shutdown(goodbye).await;
    if let Err(error) = served {
        tracing::error!("the API has stopped: {error}");
    }
}
