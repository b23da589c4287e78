//! The way into the log for everything but telemetry: ticks, decisions, outcomes, stacks.

use crate::error::ServiceError;
use geophone_proto::{RecordBody, Seq};
use tokio::sync::{mpsc, oneshot};

/// A record on its way into the log.
#[derive(Debug)]
pub struct Submission {
    /// What happened.
    pub body: RecordBody,
    /// Told where it stands once it is durable as configured, or why it is not.
    pub done: oneshot::Sender<Result<Seq, String>>,
}

/// Hands records to the committer. Cheap to clone; waits while the committer is busy.
#[derive(Clone, Debug)]
pub struct Submitter(mpsc::Sender<Submission>);

impl Submitter {
    /// A way in and its other end; at most `waiting` records wait.
    pub fn new(waiting: usize) -> (Self, mpsc::Receiver<Submission>) {
        let (sender, receiver) = mpsc::channel(waiting);
        (Self(sender), receiver)
    }

    /// Appends a record; the answer comes when it is durable as configured.
    pub async fn submit(&self, body: RecordBody) -> Result<Seq, ServiceError> {
        let (done, answer) = oneshot::channel();
        self.0.send(Submission { body, done }).await.map_err(|_| ServiceError::Stopped("committer"))?;
        let seq = answer.await.map_err(|_| ServiceError::Stopped("committer"))?;
        seq.map_err(|message| ServiceError::room(geophone_proto::Class::Retry, message))
    }

    /// The same for a thread that may wait.
    pub fn submit_blocking(&self, body: RecordBody) -> Result<Seq, ServiceError> {
        let (done, answer) = oneshot::channel();
        self.0.blocking_send(Submission { body, done }).map_err(|_| ServiceError::Stopped("committer"))?;
        let seq = answer.blocking_recv().map_err(|_| ServiceError::Stopped("committer"))?;
        seq.map_err(|message| ServiceError::room(geophone_proto::Class::Retry, message))
    }

    /// Hands in a record without waiting for anything; false if there is no room.
    pub fn submit_unwatched(&self, body: RecordBody) -> bool {
        let (done, _) = oneshot::channel();
        self.0.try_send(Submission { body, done }).is_ok()
    }

    /// Records waiting for the committer.
    pub fn waiting(&self) -> usize {
        self.0.max_capacity() - self.0.capacity()
    }
}
