//! Every thread and task of the service is started here, and nowhere else.
//!
//! | name | what | gives way | ends when |
//! |---|---|---|---|
//! | `io` (a few) | sockets, timers | | the process ends |
//! | `committer` | log append, ack | | both its channels are closed |
//! | `thinker` | brain | somewhat | told to stop and the log is read |
//! | `dispatcher` | effects | | the thinker has ended |
//! | `keeper` | the brain's memory onto the disk | much | the dispatcher has ended |
//! | `actor` | actions | | the dispatcher has ended |
//! | `stacks` | stacks of flagged spans | | the dispatcher has ended |
//! | `recorder` | the kernel's events into the ring | | told to stop |
//! | `sealer` | Parquet, retention | much | told to stop |

use super::niceness::{self, MUCH, NOT_AT_ALL, SOMEWHAT};
use crate::error::ServiceError;
use std::{future::Future, thread};
use tokio::{runtime::Runtime, task::JoinHandle};

/// The small runtime for sockets and timers.
pub fn io_runtime() -> Result<Runtime, ServiceError> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(1, 4))
        .thread_name("io")
        .enable_all()
        .build()
        .map_err(ServiceError::io("start the io threads"))
}

/// A plain thread of our own.
pub fn plain<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<thread::JoinHandle<T>, ServiceError> {
    let nice = match name {
        "thinker" => SOMEWHAT,
        "keeper" | "sealer" => MUCH,
        _ => NOT_AT_ALL,
    };
    let work = move || {
        niceness::give_way(nice);
        work()
    };
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(ServiceError::io(format!("start the thread `{name}`")))
}

/// A plain thread that runs one future to its end: it may block, unlike a task.
pub fn plain_async(name: &str, work: impl Future<Output = ()> + Send + 'static) -> Result<thread::JoinHandle<()>, ServiceError> {
    let runtime = tokio::runtime::Handle::current();
    plain(name, move || runtime.block_on(work))
}

/// A task on the io threads.
pub fn task(work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(work)
}

/// Waits for a plain thread without holding an io thread up.
pub async fn join<T: Send + 'static>(name: &'static str, thread: thread::JoinHandle<T>) -> Result<T, ServiceError> {
    let joined = tokio::task::spawn_blocking(move || thread.join()).await;
    joined.map_err(|_| ServiceError::Stopped(name))?.map_err(|_| ServiceError::Stopped(name))
}
