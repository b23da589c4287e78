//! Hop 4: everything that the brain may learn is appended to the log, in groups, and only then answered. What waits
//! behind a group that takes too long is taken out by `standstill`.

use super::{pulse::Pulse, submit::Submission};
use geophone_ingest::{Arrival, Pressure, Seldom};
use geophone_proto::{Class, Record, RecordBody, Seq, UnixNanos, seam::Clock};
use geophone_store::{Log, StoreError};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Mutex, mpsc, watch};

/// Requests in one group at most; their bytes are bounded by the budget of open requests.
const GROUP_MAX: usize = 1_024;
/// Records of the brain's own loop in one group at most.
const OWN_MAX: usize = 256;
/// Weight of the newest group in the drain rate.
const NEWEST: f64 = 0.1;

/// Requests on their way to the committer, who lets go of them while it writes.
pub type Arrivals = Arc<Mutex<mpsc::Receiver<Arrival>>>;

/// The one writer of the log.
pub struct Committer {
    /// Where to.
    pub log: Arc<Log>,
    /// Requests of senders; closed once ingest has stopped.
    pub arrivals: Arrivals,
    /// Records of the service itself; closed once nobody is left to submit.
    pub submissions: mpsc::Receiver<Submission>,
    /// Told how fast we are, and while we write.
    pub pressure: Pressure,
    /// A group that takes longer is a standstill.
    pub patience: Duration,
    /// Told how far we are.
    pub pulse: Arc<Pulse>,
    /// Stamps records.
    pub clock: Arc<dyn Clock>,
}

/// What waits for an answer, in the order of the records.
enum Waiting {
    Sender(geophone_ingest::Receipt),
    Own(tokio::sync::oneshot::Sender<Result<Seq, String>>),
}

/// How it goes.
#[derive(Default)]
struct Course {
    /// Request bytes a second, smoothed.
    rate: f64,
    /// Groups that were not appended.
    trouble: Seldom,
}

impl Committer {
    /// Runs until told that no more will come, and both ways in are empty.
    pub async fn run(mut self, mut last: watch::Receiver<bool>) {
        let (mut arrivals, mut own) = (Vec::new(), Vec::new());
        let (mut course, mut is_last) = (Course::default(), false);
        loop {
            let mut waiting = self.arrivals.lock().await;
            tokio::select! {
                biased;
                count = self.submissions.recv_many(&mut own, OWN_MAX), if !is_over(&self.submissions) => debug_assert!(count > 0 || is_over(&self.submissions)),
                count = waiting.recv_many(&mut arrivals, GROUP_MAX), if !is_over(&waiting) => debug_assert!(count > 0 || is_over(&waiting)),
                // A sender that is gone means the same.
                _ = last.wait_for(|last| *last), if !is_last => {
                    is_last = true;
                    self.submissions.close();
                    waiting.close();
                }
                else => return,
            }
            // Whatever else waits joins the group: one write, one flush.
            while own.len() < OWN_MAX
                && let Ok(next) = self.submissions.try_recv()
            {
                own.push(next);
            }
            while arrivals.len() < GROUP_MAX
                && let Ok(next) = waiting.try_recv()
            {
                arrivals.push(next);
            }
            metrics::gauge!("geophone_channel_waiting", "channel" => "arrivals").set(waiting.len() as f64);
            drop(waiting);
            metrics::gauge!("geophone_channel_waiting", "channel" => "submissions").set(self.submissions.len() as f64);
            if !arrivals.is_empty() || !own.is_empty() {
                self.commit(std::mem::take(&mut arrivals), std::mem::take(&mut own), &mut course);
            }
        }
    }

    fn commit(&self, arrivals: Vec<Arrival>, own: Vec<Submission>, course: &mut Course) {
        let started = self.clock.now();
        let bytes: usize = arrivals.iter().map(|arrival| arrival.export.wire.len()).sum();
        let rows: Vec<_> = arrivals.iter().map(|a| (a.export.signal, a.export.decoded.as_ref().map_or(0, |batch| batch.len()))).collect();
        let mut records = Vec::with_capacity(arrivals.len() + own.len());
        let mut waiting = Vec::with_capacity(records.capacity());
        for Submission { body, done } in own {
            records.push(Record { at: started, body });
            waiting.push(Waiting::Own(done));
        }
        for Arrival { at, export, receipt } in arrivals {
            records.push(Record { at, body: RecordBody::Batch(export) });
            waiting.push(Waiting::Sender(receipt));
        }
        let writing = self.pressure.writing(self.patience);
        let appended = self.log.append(records);
        drop(writing);
        match appended {
            Ok(first) => {
                rows.into_iter().for_each(|(signal, rows)| self.pulse.accepted(signal, rows));
                self.answer(first, waiting);
                self.measure(started, bytes, &mut course.rate);
                if let Some(groups) = course.trouble.stayed_away(started) {
                    tracing::warn!("the log takes records again; {groups} groups were not appended, their senders were told to come again");
                }
            }
            Err(error) => {
                if let Some(groups) = course.trouble.came(started) {
                    tracing::error!("{groups} groups of records were not appended, the last of {}: {error}", waiting.len());
                }
                self.refuse(&error, waiting);
            }
        }
        self.pulse.set_storage(self.log.is_healthy());
    }

    fn answer(&self, first: Seq, waiting: Vec<Waiting>) {
        self.pulse.appended(Seq(first.0 + waiting.len() as u64), self.clock.now().0);
        for (place, waiting) in waiting.into_iter().enumerate() {
            match waiting {
                Waiting::Sender(receipt) => receipt.ack(),
                // Whoever submitted may have stopped waiting; the record stands all the same.
                Waiting::Own(done) => drop(done.send(Ok(Seq(first.0 + place as u64)))),
            }
        }
    }

    /// Nothing of the group is in the log: senders come again, nothing is lost.
    fn refuse(&self, error: &StoreError, waiting: Vec<Waiting>) {
        metrics::counter!("geophone_commit_failures_total", "reason" => error.class().as_str()).increment(1);
        let class = if error.class() == Class::Busy { Class::Busy } else { Class::Retry };
        for waiting in waiting {
            match waiting {
                Waiting::Sender(receipt) => receipt.nack(class, error.to_string()),
                Waiting::Own(done) => drop(done.send(Err(error.to_string()))),
            }
        }
    }

    /// Tells ingest how fast bytes leave, for the delay that refused senders are told.
    fn measure(&self, started: UnixNanos, bytes: usize, rate: &mut f64) {
        if bytes == 0 {
            return;
        }
        let took = Duration::from_nanos(self.clock.now().since(started).max(1_000));
        *rate += NEWEST * (bytes as f64 / took.as_secs_f64() - *rate);
        self.pressure.drain_rate(*rate as u64);
    }
}

/// Nothing will come out any more.
fn is_over<T>(channel: &mpsc::Receiver<T>) -> bool {
    channel.is_closed() && channel.is_empty()
}
