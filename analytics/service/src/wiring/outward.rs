//! Those who tell and do: couriers of alerts, and the actor. Made here from their rooms' parts.

use super::{submit::Submitter, threads};
use crate::{
    act::{self, Errand, LocalEffector, Past},
    alerts::{self, Courier, Parts},
    config::Alerts,
    error::ServiceError,
};
use std::{path::PathBuf, thread::JoinHandle};
use tokio::sync::{mpsc, watch};

/// Actions done at once: of different incidents, since each incident has one at a time.
const AT_ONCE: usize = 8;

/// The couriers at work; started anew when their settings change.
pub struct Couriers {
    parts: Parts,
    folder: PathBuf,
    stop: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Couriers {
    /// Starts one task per receiver; ledgers lie below `folder`.
    pub fn start(settings: &Alerts, folder: PathBuf, parts: Parts) -> Result<Self, ServiceError> {
        let mut couriers = Self { parts, folder, stop: watch::channel(false).0, tasks: Vec::new() };
        couriers.employ(settings)?;
        Ok(couriers)
    }

    /// Lets the present couriers go and employs new ones; the ledgers carry over what was told.
    pub async fn replace(&mut self, settings: &Alerts) -> Result<(), ServiceError> {
        self.rest().await;
        self.employ(settings)
    }

    /// Lets all go. What is under way is finished or tried again after the next start.
    pub async fn rest(&mut self) {
        self.stop.send_replace(true);
        for task in self.tasks.drain(..) {
            // A panicked courier has said so; its ledger is on disk.
            let _ = task.await;
        }
    }

    fn employ(&mut self, settings: &Alerts) -> Result<(), ServiceError> {
        let (stop, stopped) = watch::channel(false);
        self.stop = stop;
        let couriers = Courier::all(settings, &self.folder, &self.parts)?;
        self.tasks = couriers.into_iter().map(|courier| threads::task(alerts::run(courier, stopped.clone()))).collect();
        Ok(())
    }
}

/// Does what the brain decided.
pub fn start_actor(
    effector: LocalEffector,
    past: Past,
    to_do: mpsc::Receiver<Errand>,
    submitter: &Submitter,
) -> Result<JoinHandle<()>, ServiceError> {
    let (submitter, clock) = (submitter.clone(), effector.clock.clone());
    threads::plain("actor", move || act::run(to_do, vec![effector; AT_ONCE], &submitter, past, &*clock))
}
