//! The service from start to stop: a chain of named steps.
//!
//! ```text
//! senders -> ingest -> [arrivals] -> committer -> log -> thinker (brain) -> [work] -> dispatcher -> store, view, page
//!                                      ^                                                  |-> [actions] -> actor ---.
//!            ticks, decisions ---------+------------- outcomes, stacks -------------------'-> [stacks]  -> profiler-'
//! ```
//! Every channel in brackets is bounded. Readers pull from the log, so the loop cannot deadlock.

use super::{
    outward::Couriers,
    pulse::Pulse,
    recovery::{self, Recovered},
    site::{Addresses, Mind, Site, Stoppable, alerts_of},
    stacks::Stacks,
    submit::Submitter,
    threads,
};
use crate::{
    alerts::Board,
    config::{Config, Plan},
    error::ServiceError,
    models::{self, Registry},
    outgoing::Outgoing,
    telemetry,
    view::{Limits, View},
};
use geophone_ingest::{Access, Listening};
use geophone_proto::{Effect, effect::BudgetState, model::LineUp, seam::Clock};
use std::{
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::{mpsc, watch};

/// Requests between ingest and the committer; their bytes are bounded by the budget.
const ARRIVALS: usize = 4_096;
/// Records of our own that wait for the committer.
const SUBMISSIONS: usize = 1_024;
/// Open requests to the API may take this long after the stop.
const API_GOODBYE: Duration = Duration::from_secs(3);

/// A running service. Dropped without `stop`, its threads go on until the process ends.
pub struct Service {
    /// Where it listens.
    pub addresses: Addresses,
    /// What it shows.
    pub view: Arc<View>,
    access: Access,
    config: Config,
    stop: watch::Sender<bool>,
    last: watch::Sender<bool>,
    listening: Listening,
    mind: Mind,
    couriers: Couriers,
    api: tokio::task::JoinHandle<()>,
    ticker: tokio::task::JoinHandle<()>,
    committer: JoinHandle<()>,
    dispatcher: JoinHandle<()>,
    keeper: JoinHandle<()>,
    errands: Vec<JoinHandle<()>>,
    stacks: Stacks,
    sealer: Stoppable<()>,
}

impl Service {
    /// Recovers what the disk holds, binds every address, starts every thread.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self, ServiceError> {
        telemetry::recorder();
        let (stop, stopped) = watch::channel(false);
        let (last, is_last) = watch::channel(false);
        let (sink, arrivals) = mpsc::channel(ARRIVALS);
        let (submitter, submissions) = Submitter::new(SUBMISSIONS);

        let models = Arc::new(Registry::open(&config.data_dir, config.memory_limit, config.models.trust.clone()));
        let start = models::start(&config.models.active, &models)?.card.model_ref();
        // Said at once rather than by the brain's thread.
        models.prepare(&start)?;
        let Recovered { log, store, memory } = recovery::recover(&config, clock.clone())?;
        let view = Arc::new(View::new(Limits::of_memory(config.data_bytes(), config.detection.series_max)));
        // Until the first window has closed.
        view.apply(&Effect::Budget(BudgetState { promised_per_week: config.detection.alerts_per_week, ..BudgetState::default() }));
        recovery::show_kept(&store, &view);
        let line_up = LineUp { start: start.clone(), active: start.clone(), ..LineUp::default() };
        view.apply(&Effect::LineUp(Box::new(models.kept_line_up().unwrap_or(line_up))));
        let (pulse, outgoing, board) = (Arc::new(Pulse::default()), Outgoing::default(), Arc::new(Board::default()));
        let access = Access::new(config.access.rules.clone());
        let site = Site { config, clock, pulse, log, store, view, access, submitter, outgoing, board, models, stopped };

        let (listening, api, addresses) = site.open_doors(sink).await?;
        let committer = site.commit(arrivals, submissions, listening.pressure.clone(), is_last)?;
        let (actions, actor) = site.act((listening.throttle.clone(), listening.sampling.clone()), &memory)?;
        let mut stacks = site.look_up_stacks()?;
        let (mind, work) = site.think(start, memory)?;
        let [dispatcher, keeper] = site.dispatch(work, actions, stacks.requests.take())?;
        let sealer = site.seal()?;
        let ticker = site.tick();
        let couriers = site.tell(addresses)?;
        let api = site.show(api, addresses, &stacks);

        let Site { config, view, access, .. } = site;
        let errands = std::iter::once(actor).chain(stacks.answerer.take()).collect();
        Ok(Self {
            addresses,
            view,
            access,
            config,
            stop,
            last,
            listening,
            mind,
            couriers,
            api,
            ticker,
            committer,
            dispatcher,
            keeper,
            errands,
            stacks,
            sealer,
        })
    }

    /// Takes over what can change while running; says what needs a restart.
    pub async fn reload(&mut self, config: Config) -> Plan {
        let plan = Plan::between(Some(&self.config), &config);
        // Secrets are not in a plan, and change all the same.
        if plan.has_live() || config.alerts != self.config.alerts || config.access != self.config.access {
            let Config { action_mode, policies, alerts, access, .. } = config;
            let new = Config { action_mode, policies, alerts, access, ..self.config.clone() };
            if self.mind.reloads.try_send(new.settings()).is_err() {
                metrics::counter!("geophone_reloads_refused_total").increment(1);
                tracing::error!("the brain is busy with earlier settings; reload again");
                return Plan::default();
            }
            let live: Vec<&'static str> = plan.changes.iter().filter(|change| change.live).map(|change| change.path).collect();
            self.config = new;
            self.access.replace(self.config.access.rules.clone());
            if let Err(error) = self.couriers.replace(&alerts_of(&self.config, self.addresses)).await {
                tracing::error!("alerts stand still: {error}");
            }
            self.config.effective.extend(live.iter().filter_map(|path| Some((*path, config.effective.get(path)?.clone()))));
            tracing::info!("taken over: {}", if live.is_empty() { "secrets".to_owned() } else { live.join(", ") });
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
        while !(self.mind.thinker.thread.is_finished()
            || self.dispatcher.is_finished()
            || self.keeper.is_finished()
            || self.committer.is_finished())
        {
            look.tick().await;
        }
    }

    /// Takes nothing new in, brings what is in to its end, and keeps it.
    pub async fn stop(mut self) -> Result<(), ServiceError> {
        self.stop.send_replace(true);
        self.couriers.rest().await;
        // Every open request is answered, hence in the log.
        self.listening.stopped().await;
        if let Err(error) = self.ticker.await {
            tracing::error!("the ticker ended badly: {error}");
        }
        // The brain reads the log to its end; its last snapshot goes through the dispatcher.
        self.mind.thinker.stop.store(true, Ordering::Release);
        let thought = threads::join("brain", self.mind.thinker.thread).await?;
        threads::join("dispatcher", self.dispatcher).await?;
        threads::join("keeper", self.keeper).await?;
        // Their outcomes are the last records; the next start steps them.
        for errand in self.errands {
            threads::join("actor", errand).await?;
        }
        if let Some(recorder) = self.stacks.stop() {
            threads::join("recorder", recorder).await?;
        }
        if tokio::time::timeout(API_GOODBYE, self.api).await.is_err() {
            tracing::warn!("some clients of the API did not go; their connections are cut");
        }
        self.last.send_replace(true);
        threads::join("committer", self.committer).await?;
        self.sealer.stop.store(true, Ordering::Release);
        threads::join("sealer", self.sealer.thread).await?;
        thought
    }
}
