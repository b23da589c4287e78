//! Places for connections, as many as configured. When all are taken, the connection that has been idle
//! longest makes room: idle peers, however many, keep nobody out.
//!
//! Knows requests only as open or not. Called by `listen` (takes places, looks at visits) and by `reply`
//! (a request is open until its answer has left).

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// All places. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    max: usize,
    opened: Instant,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    visits: BTreeMap<u64, Arc<Visit>>,
}

/// What is known of one connection.
#[derive(Debug)]
pub(crate) struct Visit {
    opened: Instant,
    /// Requests whose answer has not left; when that number was last 0 or became less, in ns after `opened`.
    open: AtomicUsize,
    moved_ns: AtomicU64,
    /// The same of answers that were given and have not left.
    unread: AtomicUsize,
    read_ns: AtomicU64,
    leave: Notify,
}

/// A taken place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    places: Places,
    number: u64,
    pub(crate) visit: Arc<Visit>,
}

/// A request of a connection, from its head until its answer has left.
#[derive(Debug)]
pub(crate) struct Turn {
    visit: Arc<Visit>,
    is_answered: bool,
}

impl Places {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, opened: Instant::now(), table: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // The table stays whole whatever panics: each change is one call.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, if need be that of an idle connection, which is told to leave. `None` where every
    /// connection has a request open.
    pub(crate) fn take(&self) -> Option<Seat> {
        let mut table = self.lock();
        if table.visits.len() >= self.max {
            let idle = table.visits.iter().filter(|(_, visit)| visit.open.load(Ordering::Relaxed) == 0);
            let longest = idle.min_by_key(|(_, visit)| visit.moved_ns.load(Ordering::Relaxed)).map(|(number, _)| *number)?;
            if let Some(visit) = table.visits.remove(&longest) {
                metrics::counter!("geophone_refused_connections_total", "reason" => "made_room").increment(1);
                visit.leave.notify_one();
            }
        }
        let number = table.next;
        table.next += 1;
        let visit = Visit {
            opened: self.opened,
            open: AtomicUsize::new(0),
            moved_ns: AtomicU64::new(nanos(self.opened.elapsed())),
            unread: AtomicUsize::new(0),
            read_ns: AtomicU64::new(0),
            leave: Notify::new(),
        };
        let visit = Arc::new(visit);
        table.visits.insert(number, Arc::clone(&visit));
        drop(table);
        Some(Seat { places: self.clone(), number, visit })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.places.lock().visits.remove(&self.number);
    }
}

impl Visit {
    /// Opens a request.
    pub(crate) fn turn(self: &Arc<Self>) -> Turn {
        self.open.fetch_add(1, Ordering::Relaxed);
        Turn { visit: Arc::clone(self), is_answered: false }
    }

    fn since(&self, mark: &AtomicU64, now: Instant) -> Duration {
        now.duration_since(self.opened).saturating_sub(Duration::from_nanos(mark.load(Ordering::Relaxed)))
    }

    fn mark(&self, mark: &AtomicU64) {
        mark.store(nanos(self.opened.elapsed()), Ordering::Relaxed);
    }

    /// The time without a request begins now, if none is open.
    pub(crate) fn rest(&self) {
        self.mark(&self.moved_ns);
    }

    /// How long no request has been open; zero while one is.
    pub(crate) fn idle_for(&self, now: Instant) -> Duration {
        if self.open.load(Ordering::Relaxed) == 0 { self.since(&self.moved_ns, now) } else { Duration::ZERO }
    }

    /// How long answers have been given of which the peer has taken none. The wait for the log is none of
    /// the peer's doing and does not count.
    pub(crate) fn unread_for(&self, now: Instant) -> Duration {
        if self.unread.load(Ordering::Relaxed) > 0 { self.since(&self.read_ns, now) } else { Duration::ZERO }
    }

    /// Resolves when the place is needed.
    pub(crate) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }
}

impl Turn {
    /// The answer is given; from here on it is the peer who takes its time.
    pub(crate) fn answered(mut self) -> Self {
        if self.visit.unread.fetch_add(1, Ordering::Relaxed) == 0 {
            self.visit.mark(&self.visit.read_ns);
        }
        self.is_answered = true;
        self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_answered {
            self.visit.mark(&self.visit.read_ns);
            self.visit.unread.fetch_sub(1, Ordering::Relaxed);
        }
        self.visit.mark(&self.visit.moved_ns);
        self.visit.open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_idle_makes_room_and_the_busy_never_do() {
        let places = Places::new(2);
        let later = |seconds| Instant::now() + Duration::from_secs(seconds);
        let first = places.take().expect("empty");
        let second = places.take().expect("one is left");
        let turn = first.visit.turn();
        assert_eq!(first.visit.idle_for(later(5)), Duration::ZERO);
        assert!(second.visit.idle_for(later(5)) >= Duration::from_secs(5));
        let third = places.take().expect("the second is idle");
        second.visit.told_to_leave().await;
        let busy = third.visit.turn();
        assert!(places.take().is_none(), "both are busy");
        assert_eq!(first.visit.unread_for(later(3)), Duration::ZERO, "there is no answer yet");
        let turn = turn.answered();
        assert!(first.visit.unread_for(later(3)) >= Duration::from_secs(3));
        drop(turn);
        assert_eq!(first.visit.unread_for(later(3)), Duration::ZERO);
        drop(busy);
        drop(second);
        let fourth = places.take().expect("two are idle");
        first.visit.told_to_leave().await;
        assert_eq!(places.lock().visits.len(), 2, "who was told to leave frees no second place");
        drop((first, third, fourth));
        assert_eq!(places.lock().visits.len(), 0);
    }
}
