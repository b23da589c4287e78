//! Small work that comes back: ticks, sealing.

use super::{footprint, pulse::Pulse, submit::Submitter};
use geophone_proto::{RecordBody, Signal, seam::Clock, time::SECOND_NS};
use geophone_store::Store;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;

/// Retention is looked at this often.
const RETAIN_NS: u64 = 60 * SECOND_NS;

/// While nothing comes, the program's own pages are given back this often, in seconds.
const QUIET_SECONDS: u64 = 60;

/// The log is followed this closely while many records come, and this closely else. Columns wait in memory for it.
const BUSY: Duration = Duration::from_millis(2);
const CALM: Duration = Duration::from_millis(100);
const BUSY_RECORDS: u64 = 8;

/// A tick a second into the log, so that silence can be noticed, until told to stop.
pub async fn tick(submitter: Submitter, pulse: Arc<Pulse>, mut stop: watch::Receiver<bool>, mut upkeep: impl FnMut() + Send) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = seconds.tick() => {}
        }
        pulse.second();
        upkeep();
        if submitter.submit(RecordBody::Tick).await.is_err() {
            metrics::counter!("geophone_ticks_lost_total").increment(1);
        }
    }
}

/// Gives back what start-up has mapped of the program once it is over, and whatever else was used once nothing has come
/// for a while, until told to stop.
pub async fn rest(pulse: Arc<Pulse>, mut stop: watch::Receiver<bool>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut quiet, mut items, mut has_started) = (0, 0, false);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = seconds.tick() => {}
        }
        let now = Signal::ALL.iter().map(|signal| pulse.items(*signal)).sum();
        quiet = if std::mem::replace(&mut items, now) == now { quiet + 1 } else { 0 };
        let is_over = !has_started && pulse.is_caught_up();
        if is_over || quiet >= QUIET_SECONDS {
            (quiet, has_started) = (0, true);
            match tokio::task::spawn_blocking(footprint::let_go).await {
                Ok(Ok(bytes)) => metrics::counter!("geophone_program_bytes_given_back_total").increment(bytes),
                Ok(Err(error)) => tracing::debug!("the program keeps its pages: {error}"),
                Err(_) => return,
            }
        }
    }
}

/// Hop 9: closed segments become Parquet, what is too old goes.
pub fn seal(store: &Store, clock: &dyn Clock, stop: &AtomicBool) {
    let (mut retained_at, mut patience) = (0, CALM);
    while !stop.load(Ordering::Acquire) {
        match store.follow(patience) {
            Ok(records) => patience = if records > BUSY_RECORDS { BUSY } else { CALM },
            // What was pressed is gone, the log still has it: sealing begins again from there.
            Err(error) => {
                metrics::counter!("geophone_seal_failures_total").increment(1);
                tracing::error!("rows were not pressed ahead: {error}");
                wait(stop, Duration::from_secs(5));
            }
        }
        if store.wait_closed(Duration::ZERO) {
            match store.seal() {
                Ok(report) => tracing::debug!(?report, "sealed"),
                Err(error) => {
                    metrics::counter!("geophone_seal_failures_total").increment(1);
                    tracing::error!("sealing failed and will be tried again; the log keeps the rows: {error}");
                    // Nothing is lost; the next closed segment, or the next round, brings us here again.
                    wait(stop, Duration::from_secs(5));
                }
            }
        }
        let now = clock.now();
        if now.0.saturating_sub(retained_at) >= RETAIN_NS {
            retained_at = now.0;
            if let Err(error) = store.retain(now) {
                metrics::counter!("geophone_retain_failures_total").increment(1);
                tracing::error!("old files were not deleted: {error}");
            }
        }
    }
}

/// Waits, but not past the stop sign.
fn wait(stop: &AtomicBool, most: Duration) {
    let step = Duration::from_millis(100);
    let mut waited = Duration::ZERO;
    while waited < most && !stop.load(Ordering::Acquire) {
        std::thread::park_timeout(step);
        waited += step;
    }
}
