//! Stacks of flagged spans: the kernel's recorder or a recorded session, and the thread that answers the
//! brain's questions. Without either the service runs just as well.

use super::{
    answerer::{Answerer, Told},
    pulse::Pulse,
    submit::Submitter,
    threads,
};
use crate::{
    config::Profiler,
    error::ServiceError,
    stacks::{Asked, Own, Sent, Shelf, Sources},
};
use geophone_client::{Client, Queue};
use geophone_profiler_ebpf::{Archive, ProfilerError, Recorder, Recording, ReplaySource};
use geophone_proto::{seam::Clock, stacks::StackRequest};
use geophone_store::Store;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};
use tokio::sync::mpsc;

/// What the profiler's end needs of the site.
pub struct Needs<'a> {
    pub settings: &'a Profiler,
    pub data_dir: &'a Path,
    pub store: Arc<Store>,
    pub pulse: Arc<Pulse>,
    pub clock: Arc<dyn Clock>,
    pub submitter: Submitter,
}

/// The profiler's end; empty where there is none.
#[derive(Default)]
pub struct Stacks {
    /// The brain's way to ask.
    pub requests: Option<mpsc::Sender<StackRequest>>,
    /// Everybody else's.
    pub asked: Option<mpsc::Sender<Asked>>,
    /// Answers until nobody can ask any more.
    pub answerer: Option<JoinHandle<()>>,
    /// What the kernel's recorder keeps.
    pub archive: Option<Arc<Archive>>,
    /// Why there is no recorder, in words; empty where there is one.
    pub note: String,
    recorder: Option<(JoinHandle<()>, Arc<AtomicBool>)>,
}

impl Stacks {
    /// Starts what the configuration asks for and the kernel allows. Profiles that others send are attached in any case.
    pub fn start(needs: Needs<'_>, waiting: usize) -> Result<Self, ServiceError> {
        let mut stacks = Self::default();
        let own = stacks.own(&needs)?;
        let (requests, to_answer) = mpsc::channel(waiting);
        let answerer = Answerer {
            sources: Sources::new(own, Sent::new(needs.store.clone(), needs.pulse.clone()), needs.store),
            shelf: Shelf::below(needs.data_dir),
            submitter: needs.submitter,
            export: export_queue(needs.settings)?,
            period_ns: 1_000_000_000 / needs.settings.frequency_hz.max(1),
            told: Told::default(),
        };
        let (asked, also) = mpsc::channel(1);
        stacks.answerer = Some(threads::plain_async("stacks", answerer.run(to_answer, also))?);
        stacks.requests = Some(requests);
        stacks.asked = Some(asked);
        Ok(stacks)
    }

    fn own(&mut self, needs: &Needs<'_>) -> Result<Own, ServiceError> {
        if let Some(path) = &needs.settings.recording {
            self.note = format!("the recorded session {} answers", path.display());
            return ReplaySource::open(path).map(Own::Session).map_err(|error| ServiceError::room(error.class(), error));
        }
        if needs.settings.enabled == "false" {
            "`profiler.enabled` is false".clone_into(&mut self.note);
            return Ok(Own::Nobody);
        }
        let recording = Recording { frequency_hz: needs.settings.frequency_hz, off_cpu: needs.settings.off_cpu, ..Recording::default() };
        match Recorder::start(recording) {
            Ok((recorder, archive)) => {
                let stop = Arc::new(AtomicBool::new(false));
                let sign = stop.clone();
                self.recorder = Some((threads::plain("recorder", move || recorder.run(&sign))?, stop));
                self.archive = Some(archive.clone());
                tracing::info!(hz = needs.settings.frequency_hz, off_cpu = needs.settings.off_cpu, "the flight recorder runs");
                Ok(Own::Recorder(archive, needs.clock.clone()))
            }
            Err(error) => self.go_without(&error, needs),
        }
    }

    fn go_without(&mut self, error: &ProfilerError, needs: &Needs<'_>) -> Result<Own, ServiceError> {
        if needs.settings.enabled == "true" {
            return Err(ServiceError::room(error.class(), format!("profiler.enabled is true, but {error}")));
        }
        tracing::info!("no stacks of our own for flagged spans: {error}");
        self.note = error.to_string();
        Ok(Own::Nobody)
    }

    /// Tells the recorder to end; its thread, to wait for.
    pub fn stop(&mut self) -> Option<JoinHandle<()>> {
        let (thread, sign) = self.recorder.take()?;
        sign.store(true, Ordering::Release);
        Some(thread)
    }
}

/// The way out for profiles, where one is configured.
fn export_queue(settings: &Profiler) -> Result<Option<Arc<Queue>>, ServiceError> {
    let Some(config) = settings.export.clone() else { return Ok(None) };
    let client = Client::new(config).map_err(|error| ServiceError::room(error.class(), error))?;
    let queue = Arc::new(Queue::new(Arc::new(client)));
    let worker = queue.clone();
    drop(threads::task(async move { worker.work().await }));
    Ok(Some(queue))
}
