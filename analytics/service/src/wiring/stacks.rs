//! Stacks of flagged spans: the kernel's recorder or a recorded session, and the thread that answers the
//! brain's questions. Without either the service runs just as well.

use super::{submit::Submitter, threads, upkeep};
use crate::{
    config::Profiler,
    error::ServiceError,
    stacks::{PlacedSource, Shelf},
};
use geophone_profiler_ebpf::{Archive, LiveSource, ProfilerError, Recorder, Recording, ReplaySource};
use geophone_proto::{
    seam::{Clock, StackSource},
    stacks::StackRequest,
};
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
    pub clock: Arc<dyn Clock>,
    pub submitter: Submitter,
}

/// The profiler's end; empty where there is none.
#[derive(Default)]
pub struct Stacks {
    /// The way to ask.
    pub requests: Option<mpsc::Sender<StackRequest>>,
    /// Answers until nobody can ask any more.
    pub answerer: Option<JoinHandle<()>>,
    /// What the kernel's recorder keeps.
    pub archive: Option<Arc<Archive>>,
    /// Why there is no recorder, in words; empty where there is one.
    pub note: String,
    recorder: Option<(JoinHandle<()>, Arc<AtomicBool>)>,
}

impl Stacks {
    /// Starts what the configuration asks for and the kernel allows.
    pub fn start(needs: Needs<'_>, waiting: usize) -> Result<Self, ServiceError> {
        let mut stacks = Self::default();
        let Some(source) = stacks.source(&needs)? else { return Ok(stacks) };
        let (requests, to_answer) = mpsc::channel(waiting);
        let (submitter, shelf) = (needs.submitter.clone(), Shelf::below(needs.data_dir));
        stacks.answerer = Some(threads::plain("stacks", move || upkeep::answer_stacks(to_answer, source, &submitter, &shelf))?);
        stacks.requests = Some(requests);
        Ok(stacks)
    }

    fn source(&mut self, needs: &Needs<'_>) -> Result<Option<Box<dyn StackSource>>, ServiceError> {
        if let Some(path) = &needs.settings.recording {
            self.note = format!("the recorded session {} answers", path.display());
            let source = ReplaySource::open(path).map_err(|error| ServiceError::room(error.class(), error))?;
            return Ok(Some(Box::new(source)));
        }
        if needs.settings.enabled == "false" {
            "`profiler.enabled` is false".clone_into(&mut self.note);
            return Ok(None);
        }
        let recording = Recording { frequency_hz: needs.settings.frequency_hz, off_cpu: needs.settings.off_cpu, ..Recording::default() };
        match Recorder::start(recording) {
            Ok((recorder, archive)) => {
                let stop = Arc::new(AtomicBool::new(false));
                let sign = stop.clone();
                self.recorder = Some((threads::plain("recorder", move || recorder.run(&sign))?, stop));
                self.archive = Some(archive.clone());
                tracing::info!(hz = needs.settings.frequency_hz, off_cpu = needs.settings.off_cpu, "the flight recorder runs");
                Ok(Some(Box::new(PlacedSource::new(LiveSource::new(archive, needs.clock.clone()), needs.store.clone()))))
            }
            Err(error) => self.go_without(&error, needs),
        }
    }

    fn go_without(&mut self, error: &ProfilerError, needs: &Needs<'_>) -> Result<Option<Box<dyn StackSource>>, ServiceError> {
        if needs.settings.enabled == "true" {
            return Err(ServiceError::room(error.class(), format!("profiler.enabled is true, but {error}")));
        }
        tracing::info!("no stacks of flagged spans: {error}");
        self.note = error.to_string();
        Ok(None)
    }

    /// Tells the recorder to end; its thread, to wait for.
    pub fn stop(&mut self) -> Option<JoinHandle<()>> {
        let (thread, sign) = self.recorder.take()?;
        sign.store(true, Ordering::Release);
        Some(thread)
    }
}
