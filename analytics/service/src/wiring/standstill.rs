//! While the disk stands still: what waits behind the write is refused rather than kept waiting, and readiness says so.
//!
//! What is in the write stays there, for it may succeed: refused as well, it would be stored and sent again. Beside the
//! committer, which is held up itself.

use super::{committer::Arrivals, pulse::Pulse};
use geophone_ingest::Pressure;
use geophone_proto::Class;
use std::{
    sync::{Arc, Weak},
    time::Duration,
};

/// A group that takes longer is a standstill: less than half of the 10 s after which SDKs give up, so that who waits for
/// one write and the next still hears of it.
pub const PATIENCE: Duration = Duration::from_secs(4);
/// How often to look.
pub const LOOK: Duration = Duration::from_millis(500);

/// Looks until the committer has ended.
pub async fn watch(arrivals: Weak<<Arrivals as std::ops::Deref>::Target>, pressure: Pressure, pulse: Arc<Pulse>, look: Duration) {
    let mut look = tokio::time::interval(look);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told: Option<(Duration, u64)> = None;
    loop {
        look.tick().await;
        let Some(arrivals) = arrivals.upgrade() else { return };
        let stalled = pressure.stalled_for();
        pulse.set_standing(stalled.is_some());
        match (stalled, &mut told) {
            (None, None) => {}
            (None, Some((longest, refused))) => {
                tracing::warn!(
                    "the disk answers again, after more than {} s; {refused} requests that waited were refused",
                    longest.as_secs()
                );
                told = None;
            }
            (Some(now), told) => {
                if told.is_none() {
                    tracing::error!("the disk has not answered for {} s; senders are told to come again until it does", now.as_secs());
                }
                let (longest, refused) = told.get_or_insert_default();
                *longest = now.max(*longest);
                *refused += refuse(&arrivals, now);
            }
        }
    }
}

/// Refuses what is not being written; says how many requests that was.
fn refuse(arrivals: &Arrivals, stalled: Duration) -> u64 {
    // Whoever holds it is not writing any more.
    let Ok(mut waiting) = arrivals.try_lock() else { return 0 };
    let message = format!("the disk has not answered for {} s, send again after the delay", stalled.as_secs());
    std::iter::from_fn(|| waiting.try_recv().ok()).map(|arrival| arrival.receipt.nack(Class::Busy, message.clone())).count() as u64
}
